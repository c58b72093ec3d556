//! Subhosts of overlay-boot's conf files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Bed, Outcome};

/// What a start or an end may take on a busy machine, three times.
pub const SOON: Duration = Duration::from_secs(30);

/// A subhost's directory with its conf file; `BASE= .` unless the text has another.
pub fn conf(bed: &Bed, text: &str) -> (String, PathBuf) {
    let name = bed.name();
    let base = bed.dir().join(&name);
    std::fs::create_dir_all(&base).expect("make base");
    let file = base.join(format!("{name}.conf"));
    let (own, log) = (if text.contains("BASE=") { "" } else { "BASE= .\n" }, base.join("log"));
    std::fs::write(&file, format!("{own}LOG= {}\n{text}", log.display())).expect("write conf");
    (name, file)
}

/// `overlay-boot FILE`
pub fn boot(bed: &Bed, file: &Path) -> Outcome {
    bed.hostel(["overlay-boot"]).arg(file).limit(SOON * 3).run()
}

/// `overlay-stop FILE`, which succeeds.
#[track_caller]
pub fn stop(bed: &Bed, file: &Path) {
    bed.hostel(["overlay-stop"]).arg(file).limit(SOON * 3).run().exits(0);
}

/// A script in a subhost.
pub fn go(bed: &Bed, name: &str, script: &str) -> Outcome {
    bed.hostel(["overlay-go", name, "sh", "-c", script]).run()
}

/// What its log has.
pub fn log(file: &Path) -> String {
    std::fs::read_to_string(file.with_file_name("log")).unwrap_or_default()
}
