//! What configurations need of the host: included files, random digits, `lxc.conf`.

use std::io::Read;
use std::path::{Path, PathBuf};

use hostel_lxc::{Files, global};
use hostel_unit::Arrange as _;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{On, Result};

/// More is no configuration.
const SIZE: u64 = 1 << 20;

/// The host as configurations see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl Files for Host {
    fn read(&mut self, path: &str) -> std::result::Result<Vec<(String, String)>, &'static str> {
        let mut files = vec![PathBuf::from(path)];
        if let Ok(entries) = std::fs::read_dir(path) {
            files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| file.extension().is_some_and(|e| e == "conf")).collect();
            files.arrange();
        } else if path.ends_with('/') && !Path::new(path).exists() {
            // a directory that others may fill
            return Ok(Vec::new());
        }
        files.iter().map(|file| Ok((file.display().to_string(), text(file).map_err(|_| "it cannot be read")?))).collect()
    }

    fn digit(&mut self) -> u8 {
        let mut byte = [0];
        // Without a random generator the same digit is as good as any.
        let _ = hostel_sys::tree::random(&mut byte);
        byte[0]
    }
}

/// The text of a regular file; a FIFO in its place makes nobody wait.
pub(crate) fn text(path: &Path) -> Result<String> {
    const VERB: &str = "read";
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty()).on(VERB, path.display())?);
    let mut bytes = Vec::new();
    file.take(SIZE + 1).read_to_end(&mut bytes).on(VERB, path.display())?;
    if bytes.len() as u64 > SIZE {
        return Err(Errno::FBIG).on(VERB, path.display());
    }
    String::from_utf8(bytes).map_err(|_| hostel_image::Cause::Why("it is not UTF-8")).on(VERB, path.display())
}

/// Set where a user's own tools are root of a user namespace: places are that user's.
pub const FOR_USER: &str = "HOSTEL_LXC_FOR_USER";

fn is_root() -> bool {
    rustix::process::geteuid().is_root() && std::env::var_os(FOR_USER).is_none()
}

/// Where locks and the FIFO of lxc-monitor are, below an lxcpath each: `/run/lxc`, of others than root in their own place.
pub fn run_directory() -> String {
    match std::env::var("XDG_RUNTIME_DIR") {
        Ok(own) if !is_root() => format!("{own}/lxc"),
        _ => "/run/lxc".to_owned(),
    }
}

/// A value of `lxc.conf`, or the one that holds without a file; none: there is no such key.
///
/// ```
/// assert!(hostel_container::global_item("lxc.lxcpath").is_some_and(|path| path.starts_with('/')));
/// assert_eq!(hostel_container::global_item("lxc.bogus"), None);
/// ```
pub fn global_item(key: &str) -> Option<String> {
    let root = is_root();
    let home = std::env::var("HOME").unwrap_or_default();
    let file = if root { "/etc/lxc/lxc.conf".to_owned() } else { format!("{home}/.config/lxc/lxc.conf") };
    let text = text(Path::new(&file)).unwrap_or_default();
    let value = global::item(&text, key)?;
    // a user's own places, where no file names others
    let own = match key {
        "lxc.lxcpath" => format!("{home}/.local/share/lxc"),
        "lxc.default_config" => format!("{home}/.config/lxc/default.conf"),
        _ => value.to_owned(),
    };
    let unset = !root && global::item("", key) == Some(value);
    Some(if unset { own } else { value.trim_end_matches('/').to_owned() })
}
