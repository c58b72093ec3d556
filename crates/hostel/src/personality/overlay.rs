//! overlay-boot's tools: `hostel overlay` by the names they have there, and the helpers that conf files may name.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use hostel_engine::error::Error;
use hostel_sys::mount;

use super::nspawn_enter::failed;
use crate::cli::{Failure, Outcome, overlay};
use crate::output;
use crate::subhost;

/// How each is called.
const USAGE: [(&str, &str, &str); 8] = [
    ("overlay-boot", "CONF", "start a subhost, and wait until its services are started"),
    ("overlay-stop", "CONF|NAME", "end a subhost: its services in reverse, then the rest"),
    ("overlay-go", "[NAME [CMD...]]", "a shell in a subhost, or a command; without a name those that run"),
    ("overlay-share", "DIR NAME", "show a directory of the host in a subhost"),
    ("overlay-init", "", "for INIT: print the script that starts what START of $CONFIG names"),
    ("overlay-premount", "UPPER", "for PREMOUNT: write etc/network/interfaces into an upper layer that has none"),
    ("overlay-postmount", "LIVE UPPER", "for POSTMOUNT: nothing is left to mount, every machine has it"),
    (
        "overlay-diskfile",
        "DIR[/SUB] IMAGE [PARTITION]",
        "for `!`: mount a partition of a disk image on DIR and print the path; with ACTION=overlay-stop unmount it",
    ),
];

/// Runs one, unless its help is asked for.
fn tool(name: &str, args: &[OsString], run: impl FnOnce(&[OsString]) -> Outcome) -> ExitCode {
    if args.first().is_some_and(|word| word == "--help" || word == "-h") {
        let (_, words, about) = USAGE.iter().find(|(known, ..)| *known == name).copied().unwrap_or_default();
        return output::print(&format!("usage: {name} {words}\n\n{about}\n"));
    }
    match run(args) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let code = failed(name, &failure);
            if let Failure::Engine(Error { hint: Some(hint), .. }) = &failure {
                output::tell(format_args!("hint: {}", output::clean(&crate::hint::words(hint, crate::hint::Voice::Verb("overlay")))));
            }
            code
        }
    }
}

/// overlay-boot
pub fn boot(args: &[OsString]) -> ExitCode {
    tool("overlay-boot", args, overlay::boot)
}

/// overlay-stop
pub fn stop(args: &[OsString]) -> ExitCode {
    tool("overlay-stop", args, overlay::stop)
}

/// overlay-go
pub fn go(args: &[OsString]) -> ExitCode {
    tool("overlay-go", args, overlay::go)
}

/// overlay-share
pub fn share(args: &[OsString]) -> ExitCode {
    tool("overlay-share", args, overlay::share)
}

/// overlay-init
pub fn init(args: &[OsString]) -> ExitCode {
    tool("overlay-init", args, |_| {
        let config = std::env::var("CONFIG").map_err(|_| Failure::Usage("CONFIG names no conf file".into()))?;
        let read = subhost::read(subhost::find(&config)?)?;
        Ok(output::show(&subhost::default_script(&read.conf)))
    })
}

/// overlay-premount
pub fn premount(args: &[OsString]) -> ExitCode {
    tool("overlay-premount", args, |args| {
        let [upper] = args else { return Err(Failure::Usage("it takes UPPER".into())) };
        subhost::write_interfaces(Path::new(upper))?;
        Ok(0)
    })
}

/// overlay-postmount
pub fn postmount(args: &[OsString]) -> ExitCode {
    tool("overlay-postmount", args, |args| {
        let [live, upper] = args else { return Err(Failure::Usage("it takes LIVE and UPPER".into())) };
        match [live, upper].iter().find(|path| !Path::new(path).is_dir()) {
            Some(path) => Err(Error::new("use", Path::new(path).display().to_string(), "it is no directory").into()),
            None => Ok(0),
        }
    })
}

/// overlay-diskfile
pub fn diskfile(args: &[OsString]) -> ExitCode {
    tool("overlay-diskfile", args, |args| {
        let (path, image, number) = match args {
            [path, image] => (path, image, None),
            [path, image, number] => (path, image, Some(number)),
            _ => return Err(Failure::Usage("it takes a directory, an image, and a partition's number".into())),
        };
        let parse = |text: &OsString| text.to_str().and_then(|t| t.parse().ok()).filter(|n| *n > 0);
        let number = number.map(|text| parse(text).ok_or_else(|| Failure::Usage(format!("{text:?} is no partition's number")))).transpose()?;
        hostel_engine::host::require_root()?;
        let path = std::path::absolute(path).map_err(|e| Error::new("find", Path::new(path).display().to_string(), e))?;
        let image = std::fs::canonicalize(image).map_err(|e| Error::new("find", Path::new(image).display().to_string(), e))?;
        if std::env::var("ACTION").is_ok_and(|action| matches!(action.as_str(), "overlay-stop" | "teardown")) {
            if let Some(place) = mounted(&path, &image) {
                mount::detach(&c_path(place)).map_err(|e| Error::new("unmount", place.display().to_string(), e))?;
            }
            return Ok(0);
        }
        // What is not there is in the image.
        let place = path.ancestors().find(|p| p.is_dir()).filter(|p| *p != Path::new("/"));
        let place = place.ok_or_else(|| Error::new("use", path.display().to_string(), "there is no such directory to mount on"))?;
        let (top, _) = hostel_engine::supervisor::mount_partition(&image, number, None)?;
        let inside = path.strip_prefix(place).unwrap_or(Path::new(""));
        let found = hostel_image::inroot::directory(top.as_fd(), inside);
        found.map_err(|e| Error::new("open", format!("{} of {}", inside.display(), image.display()), e))?;
        mount::attach(top.as_fd(), rustix::fs::CWD, &c_path(place)).map_err(|e| Error::new("mount on", place.display().to_string(), e))?;
        Ok(output::show(&format!("{}\n", path.display())))
    })
}

/// Arguments have no NUL bytes.
fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}

/// Which of `path` and the directories above it has a file system of `image` mounted on it.
fn mounted<'a>(path: &'a Path, image: &Path) -> Option<&'a Path> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().rev().find_map(|line| {
        // By its source: what btrfs says is the device is none.
        let device = line.split_once(" - ")?.1.split(' ').nth(1)?.strip_prefix("/dev/")?;
        let at = line.split(' ').nth(4)?;
        let escaped = |p: &Path| p.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012");
        let place = path.ancestors().find(|p| escaped(p) == at)?;
        let backing = std::fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")).ok()?;
        (Path::new(backing.trim_end_matches('\n')) == image).then_some(place)
    })
}
