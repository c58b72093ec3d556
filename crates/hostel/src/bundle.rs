//! OCI bundles: `config.json` is read with care, and the command line laid over what it describes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hostel_engine::error::{Context, Error, Result};
use hostel_nspawn::{Action, Doc, Environment, UsageError};
use hostel_spec::{Hint, MachineSpec};
use rustix::fs::{FileType, Mode, OFlags};

/// Compiles a command line of systemd-nspawn, over the bundle that it names if it names one.
pub fn compile(doc: &Doc, env: &Environment) -> Result<std::result::Result<Action, UsageError>> {
    let base = match hostel_nspawn::bundle(doc, env) {
        Some(path) => Some(describe(&path)?),
        None => None,
    };
    Ok(hostel_nspawn::compile_over(doc, env, base))
}

/// The machine that the bundle in this directory describes.
fn describe(path: &Path) -> Result<MachineSpec> {
    let text = read(path)?;
    let hint = "config.json is that of the OCI runtime specification; `runc spec` writes one";
    hostel_oci::compile(&text, path).map_err(|error| {
        let shown = path.display().to_string();
        let error = Error::new("use", format!("bundle {shown}"), error);
        if matches!(error.cause.as_str(), cause if cause.starts_with("read")) { error.hint(Hint::from(hint)) } else { error }
    })
}

/// A file that is no file is not waited for, and one without end is not read to it.
fn read(bundle: &Path) -> Result<Vec<u8>> {
    let shown = bundle.join(hostel_oci::FILE).display().to_string();
    let directory = rustix::fs::open(bundle, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context("open", format!("bundle {}", bundle.display()))?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, hostel_oci::FILE, flags, Mode::empty()).context("open", shown.clone())?;
    let stat = rustix::fs::fstat(&file).context("read", shown.clone())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new("read", shown, "it is no regular file"));
    }
    let mut text = Vec::new();
    File::from(file).take(hostel_oci::SIZE_MAX + 1).read_to_end(&mut text).context("read", shown)?;
    Ok(text)
}
