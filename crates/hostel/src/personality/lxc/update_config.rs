//! lxc-update-config: a configuration of LXC 2 with the keys of today.

use std::fs;

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-update-config",
    synopsis: "-c FILE",
    about: "write a configuration of LXC 2 with the keys of today; the old one stays as FILE.backup",
    named: false,
    options: &[row("c", "config", "FILE", "which")],
    run,
};

fn run(call: &Call) -> Outcome {
    let file = call.value("config").ok_or_else(|| failure("update configuration: which? (-c)"))?;
    let failed = |e: std::io::Error| failure(format!("update configuration {file}: {}", hostel_engine::error::io_text(&e)));
    let text = fs::read_to_string(file).map_err(failed)?;
    fs::copy(file, format!("{file}.backup")).map_err(failed)?;
    let temporary = format!("{file}.new");
    fs::write(&temporary, hostel_lxc::legacy::update(&text)).map_err(failed)?;
    let mode = fs::metadata(file).map_err(failed)?.permissions();
    fs::set_permissions(&temporary, mode).and_then(|()| fs::rename(&temporary, file)).map_err(failed)?;
    Ok(0)
}
