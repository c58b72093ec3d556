//! Images from servers: downloaded, verified and unpacked in one go, and in no list before all three are done.

pub mod download;
pub mod http;
pub mod oci;
#[cfg(test)]
mod tests;
mod tls;
pub mod url;
pub mod verify;

use std::path::Path;

use hostel_spec::MachineName;

use crate::error::On;
use crate::import::{self, Options};
use crate::tar::Report;
use crate::{Result, images};

use download::Download;
use http::Agent;
use url::Url;
use verify::Verify;

/// How to get and verify, besides how to import.
pub struct Order<'a> {
    /// How servers are talked to.
    pub agent: Agent<'a>,
    /// What has to vouch for the file.
    pub verify: Verify,
    /// Keys that may sign.
    pub keyrings: &'a [&'a Path],
    /// Told how many bytes will come, if the server says.
    pub total: &'a dyn Fn(Option<u64>),
}

/// Makes the image `name` of the archive at `url`.
pub fn tar(url: &Url, name: &MachineName, order: &Order<'_>, options: &Options<'_>) -> Result<Report> {
    let mut download = begin(url, name, order, options)?;
    import::tar_from(&mut download, Path::new(&url.to_string()), name, options)
}

/// Makes the image `name` of the disk image at `url`. Returns its size.
pub fn raw(url: &Url, name: &MachineName, order: &Order<'_>, options: &Options<'_>) -> Result<u64> {
    let mut download = begin(url, name, order, options)?;
    import::raw_from(&mut download, Path::new(&url.to_string()), name, options)
}

fn begin<'a>(url: &Url, name: &MachineName, order: &'a Order<'_>, options: &Options<'_>) -> Result<Download<'a>> {
    let from = url.to_string();
    if !options.force {
        // Before anything is downloaded.
        images::refuse_taken(&options.places, name)?;
    }
    let wanted = verify::wanted(&order.agent, url, order.verify, order.keyrings).on("verify", Path::new(&from))?;
    let download = Download::begin(&order.agent, url, wanted).on("download", Path::new(&from))?;
    (order.total)(download.total());
    Ok(download)
}

/// Decimal digits and nothing else.
fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}
