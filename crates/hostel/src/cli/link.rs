//! `hostel link`: the names under which hostel stands in for other tools.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hostel_engine::error::{Context, Error, io_text};
use lexopt::Arg::{Long, Short, Value};

use super::{Failure, Outcome, Verb};
use crate::output;
use crate::personality::{PERSONALITIES, lxc, systemctl};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "link",
    args: "DIR [--hard|--copy] [--force]",
    about: "make links for the tools hostel stands in for",
    options: &[("--hard", "hard links"), ("--copy", "copies"), ("--force", "replace other files of these names")],
    examples: &[
        ("hostel link ~/.local/bin", "try it: they come first in $PATH"),
        ("hostel link /usr/local/sbin", "for everybody; the originals in /usr/bin stay"),
    ],
    run,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Symbolic,
    Hard,
    Copy,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    directory: PathBuf,
    how: How,
    force: bool,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut directory, mut how, mut force) = (None, How::Symbolic, false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("hard") if how != How::Copy => how = How::Hard,
            Long("copy") if how != How::Hard => how = How::Copy,
            Long("hard" | "copy") => return Err(Failure::Usage("link: --hard and --copy exclude each other".into())),
            Long("force") => force = true,
            Short('h') | Long("help") => return Ok(None),
            Value(word) if word.is_empty() => return Err(Failure::Usage("link: the directory's name is empty".into())),
            Value(word) if directory.is_none() => directory = Some(PathBuf::from(word)),
            other => return Err(other.unexpected().into()),
        }
    }
    let directory = directory.ok_or_else(|| Failure::Usage("link: which directory?".into()))?;
    Ok(Some(Request { directory, how, force }))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(request) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let own = std::env::current_exe().context("find", "the hostel binary")?;
    // where systemd is the manager, its own tools must not have others before them
    let shadows = systemctl::systemd_runs();
    let own_name = |name: &&str| *name != "lxc" && (!shadows || !matches!(*name, "systemctl" | "systemd-analyze" | "journalctl"));
    let tools = lxc::TOOLS.iter().map(|tool| tool.name);
    let names: Vec<&str> = PERSONALITIES.iter().map(|p| p.name).filter(own_name).chain(tools).collect();
    let made = link(&own, &request, &names)?;
    Ok(output::show(&made.iter().map(|(path, what)| format!("{} {what}\n", path.display())).collect::<String>()))
}

/// Makes the links, all or none as far as conflicts go; what was done for each, in words.
fn link(own: &Path, request: &Request, names: &[&str]) -> Result<Vec<(PathBuf, String)>, Error> {
    let directory = fs::canonicalize(&request.directory).context("open", format!("directory {}", request.directory.display()))?;
    if !directory.is_dir() {
        return Err(Error::new("open", format!("directory {}", directory.display()), "it is not a directory"));
    }
    let ours = fs::metadata(own).context("look at", own.display().to_string())?;
    let mut plan = Vec::new();
    for name in names {
        let path = directory.join(name);
        let there = found(&path, own, &ours, request.how).context("look at", path.display().to_string())?;
        if there == Found::Foreign && !request.force {
            let error = Error::new("link", path.display().to_string(), "a file of this name exists, and it is not hostel");
            return Err(error.hint("--force replaces it; links in a directory of their own are the better way"));
        }
        if there == Found::Directory {
            return Err(Error::new("link", path.display().to_string(), "it is a directory"));
        }
        plan.push((path, there));
    }
    let mut done = Vec::new();
    for (path, there) in plan {
        let what = if there == Found::AsWanted {
            "is there".to_string()
        } else {
            place(own, &path, request.how).map_err(|e| Error::new("link", path.display().to_string(), io_text(&e)))?;
            match request.how {
                How::Symbolic => format!("-> {}", own.display()),
                How::Hard => format!("= {}", own.display()),
                How::Copy => format!("copied from {}", own.display()),
            }
        };
        done.push((path, what));
    }
    Ok(done)
}

/// What is at the place of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Just what would be made.
    AsWanted,
    /// Hostel, but another kind of link.
    Ours,
    Directory,
    Foreign,
}

fn found(path: &Path, own: &Path, ours: &fs::Metadata, how: How) -> io::Result<Found> {
    let entry = match fs::symlink_metadata(path) {
        Ok(entry) => entry,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(e),
    };
    let same = |m: &fs::Metadata| (m.dev(), m.ino()) == (ours.dev(), ours.ino());
    let kind = if entry.is_dir() {
        return Ok(Found::Directory);
    } else if entry.is_symlink() {
        // A link that leads nowhere is somebody else's.
        match fs::metadata(path) {
            Ok(target) if same(&target) => How::Symbolic,
            _ => return Ok(Found::Foreign),
        }
    } else if same(&entry) {
        How::Hard
    } else if entry.is_file() && entry.len() == ours.len() && fs::read(path)? == fs::read(own)? {
        How::Copy
    } else {
        return Ok(Found::Foreign);
    };
    Ok(if kind == how { Found::AsWanted } else { Found::Ours })
}

/// Makes it under a temporary name and renames it: nobody ever misses the tool.
fn place(own: &Path, path: &Path, how: How) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = path.with_file_name(format!(".#hostel-{name}-{}", std::process::id()));
    let made = match how {
        How::Symbolic => std::os::unix::fs::symlink(own, &temporary),
        How::Hard => fs::hard_link(own, &temporary),
        How::Copy => fs::copy(own, &temporary).and_then(|_| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))),
    };
    let done = made.and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let want = Request { directory: "/x".into(), how: How::Hard, force: true };
        assert_eq!(parse(&["--hard", "/x", "--force"]).unwrap(), Some(want));
        for bad in [&[][..], &[""], &["/a", "/b"], &["/a", "--hard", "--copy"], &["/a", "--soft"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }

    #[test]
    fn links_of_every_kind() {
        let top = std::env::temp_dir().join(format!("hostel-link-{}", std::process::id()));
        let bin = top.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let own = top.join("hostel");
        fs::write(&own, "program").unwrap();
        let names = ["one", "two"];
        let go = |how, force| link(&own, &Request { directory: bin.clone(), how, force }, &names);

        // Each kind, then again (nothing to do), then over another kind of ours.
        for how in [How::Symbolic, How::Hard, How::Copy, How::Symbolic] {
            assert_eq!(go(how, false).unwrap().len(), 2);
            assert!(go(how, false).unwrap().iter().all(|(_, what)| what == "is there"), "{how:?}");
            assert_eq!(fs::read(bin.join("two")).unwrap(), b"program");
            assert_eq!(bin.join("two").is_symlink(), how == How::Symbolic);
        }
        assert_eq!(fs::read_link(bin.join("one")).unwrap(), own);

        // A foreign file, a dangling link: refused before anything is touched.
        for (n, foreign) in ["file", "dangling"].into_iter().enumerate() {
            fs::remove_file(bin.join("one")).unwrap();
            fs::remove_file(bin.join("two")).unwrap();
            if n == 0 {
                fs::write(bin.join("two"), "theirs").unwrap()
            } else {
                std::os::unix::fs::symlink("/nowhere", bin.join("two")).unwrap()
            }
            let error = go(How::Symbolic, false).unwrap_err();
            assert!(error.to_string().ends_with("it is not hostel"), "{error}");
            assert!(!bin.join("one").exists(), "{foreign}");
            go(How::Symbolic, true).unwrap();
            assert_eq!(fs::read_link(bin.join("two")).unwrap(), own);
        }
        // A directory is never replaced.
        fs::remove_file(bin.join("two")).unwrap();
        fs::create_dir(bin.join("two")).unwrap();
        assert!(go(How::Symbolic, true).is_err());
        // Nothing temporary is left, and a missing directory is not made.
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 2);
        assert!(link(&own, &Request { directory: top.join("no"), how: How::Hard, force: false }, &names).is_err());
        fs::remove_dir_all(top).unwrap();
    }
}
