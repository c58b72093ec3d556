//! What a subhost needs before its plan can be made: commands and programs of its conf file are run, once, and its directories looked at.
//!
//! All of it happens in the supervisor, which has the machine's name by then. What programs mount is in a mount namespace of the
//! supervisor's, never on the host; what they set up they take back when the machine has ended, also when its supervisor was killed.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hostel_engine::error::{Context, Error, Result};
use hostel_engine::program::{Program, open_log, shell};
use hostel_engine::registry::{Claim, Undo};
use hostel_engine::supervisor::session::Begun;
use hostel_image::inroot;
use hostel_image::locks::TreeLock;
use hostel_spec::{MachineSpec, OsText, PostMount};
use hostel_subhost::{Assembly, Conf, Lines, Lower, Start, Upper};
use hostel_sys::mount;
use rustix::fs::{Mode, OFlags};

use super::refused;
use crate::machine;

/// What programs are found by.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// `f_type` of an overlay: none can be written to in another.
const OVERLAY: u64 = 0x794c_7630;
/// What INIT may print.
const SCRIPT: usize = 64 << 10;

/// Takes the machine's name and does what has to be done before its plan. What was done is taken back when something fails.
pub fn begin(file: &Path, text: &str) -> Result<(MachineSpec, Begun)> {
    hostel_engine::host::require_root()?;
    let (lines, _) = Lines::parse(text).map_err(|e| refused(file, &e))?;
    let conf = Conf::of(&lines, file).map_err(|e| refused(file, &e))?;
    let claim = machine::open_registry()?.claim(&conf.name)?;
    let mut beginning = Beginning { file, lines, conf, claim, host_mounts: None, locks: Vec::new() };
    match beginning.all() {
        Ok((spec, log)) => Ok((spec, Begun { claim: beginning.claim, log: Some(log), host_mounts: beginning.host_mounts, locks: beginning.locks })),
        Err(error) => {
            beginning.claim.undo_all();
            let _ = beginning.claim.release();
            Err(error)
        }
    }
}

struct Beginning<'a> {
    file: &'a Path,
    lines: Lines,
    conf: Conf,
    claim: Claim,
    host_mounts: Option<OwnedFd>,
    locks: Vec<TreeLock>,
}

impl Beginning<'_> {
    fn all(&mut self) -> Result<(MachineSpec, OwnedFd)> {
        self.base()?;
        // /dev/null has no length.
        let empty = |log: std::fs::File| if log.metadata()?.is_file() { log.set_len(0).map(|()| log) } else { Ok(log) };
        let log = open_log(&self.conf.log).and_then(empty).context("open", format!("log {}", self.conf.log.display()))?;
        self.own_mounts()?;
        self.commands()?;
        self.upper()?;
        self.partition()?;
        self.directories()?;
        self.premount()?;
        let script = self.script()?;
        self.note()?;
        let mut spec = self.conf.spec(script.as_deref()).map_err(|e| refused(self.file, &e))?;
        spec.root.post_mount = self.conf.postmount.clone().map(|command| {
            let upper = self.upper_path().map_or_else(|| self.conf.live.clone(), Path::to_path_buf);
            let (live, directory, log) = (self.conf.live.clone(), self.conf.base.clone(), self.conf.log.clone());
            Box::new(PostMount { command, live, upper, directory, env: self.env("overlay-postmount"), log })
        });
        Ok((spec, log.into()))
    }

    /// BASE has to be there; what is in it by default is made.
    fn base(&self) -> Result<()> {
        is_directory("BASE", &self.conf.base)?;
        let base = &self.conf.base;
        let ours =
            [Some(self.conf.live.clone()), self.conf.work.clone().or_else(|| Some(base.join("work"))), self.upper_path().map(Path::to_path_buf)];
        let default = |path: &PathBuf| ["live", "work", "root"].iter().any(|name| *path == base.join(name));
        ours.iter().flatten().filter(|path| default(path)).try_for_each(|path| make_directory(path))
    }

    fn upper_path(&self) -> Option<&Path> {
        match &self.conf.upper {
            Upper::Path(path, _) => Some(path),
            Upper::Tmpfs(_) => None,
        }
    }

    /// What the host's programs mount for this machine nobody else sees.
    fn own_mounts(&mut self) -> Result<()> {
        let program = self.upper_path().is_some_and(Path::is_file);
        let partition = matches!(self.conf.lower, Lower::Image(_, Some(_), _));
        if self.lines.commands().next().is_none() && !program && !partition && self.conf.premount.is_none() && self.conf.init.is_none() {
            return Ok(());
        }
        self.host_mounts = Some(hostel_sys::tree::own_mounts().context("make", "mount namespace")?);
        Ok(())
    }

    fn env(&self, action: &str) -> Vec<OsText> {
        let conf = &self.conf;
        let lower = match &conf.lower {
            Lower::Directories(list) => list.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(":"),
            Lower::Image(file, ..) => file.display().to_string(),
        };
        let work = conf.work.clone().unwrap_or_else(|| conf.base.join("work"));
        let shown = |path: &Path| path.display().to_string();
        let entries = [
            ("ACTION", action.to_owned()),
            ("CONFIG", shown(self.file)),
            ("NAME", conf.name.to_string()),
            ("BASE", shown(&conf.base)),
            ("LIVE", shown(&conf.live)),
            ("LOWER", lower),
            ("WORK", shown(&work)),
        ];
        entries.iter().map(|(name, value)| format!("{name}={value}").into()).chain([PATH.into()]).collect()
    }

    fn run(&self, words: &[OsText], action: &str) -> Result<String> {
        let env = self.env(action);
        let program = Program { words, directory: &self.conf.base, env: &env, log: &self.conf.log };
        Ok(String::from_utf8_lossy(&program.run()?).into_owned())
    }

    /// What is to be run when the machine has ended, written down before its like is run.
    fn record(&mut self, words: &[OsText], action: &str, more: Option<String>) -> Result<()> {
        let env = self.env(action).into_iter().chain(more.map(OsText::from)).collect();
        let (directory, log) = (self.conf.base.as_os_str().into(), self.conf.log.as_os_str().into());
        Ok(self.claim.journal(&Undo::Program { words: words.to_vec(), directory, env, log })?)
    }

    /// Each `!command` once; those whose value is a place are told of the end, too.
    fn commands(&mut self) -> Result<()> {
        let commands: Vec<(&str, String)> = self.lines.commands().map(|(name, command)| (name, command.to_owned())).collect();
        for (name, command) in commands {
            let words = shell(&command, &[]);
            if matches!(name, "LIVE" | "LOWER" | "UPPER" | "WORK") {
                self.record(&words, "overlay-stop", None)?;
            }
            let failed = |e: Error| Error::new("run", format!("{name}=!{command}"), e.cause);
            let printed = self.run(&words, "overlay-boot").map_err(failed)?;
            let value = printed.lines().next().map(str::trim).filter(|line| !line.is_empty() && !line.contains('\0'));
            let value = value.ok_or_else(|| Error::new("run", format!("{name}=!{command}"), "it printed nothing"))?;
            self.lines.set(name, value);
        }
        self.conf = Conf::of(&self.lines, self.file).map_err(|e| refused(self.file, &e))?;
        // Its name and log are no commands; what was a command may have been one of these.
        self.base()
    }

    /// Runs UPPER if it is a program, which prints the directory.
    fn upper(&mut self) -> Result<()> {
        let Upper::Path(path, args) = self.conf.upper.clone() else { return Ok(()) };
        let Ok(meta) = std::fs::metadata(&path) else { return Ok(()) };
        let premounted = self.conf.assembly() == Assembly::Premounted;
        if !meta.is_file() || (premounted && !self.conf.upper_given) {
            return Ok(());
        }
        let object = || format!("UPPER program {}", path.display());
        if meta.permissions().mode() & 0o111 == 0 {
            return Err(Error::new("use", format!("UPPER {}", path.display()), "it is neither a directory nor a program that can be executed"));
        }
        let words: Vec<OsText> = std::iter::once(path.as_os_str().into()).chain(args.iter().map(|a| a.as_str().into())).collect();
        self.record(&words, "teardown", None)?;
        let printed = self.run(&words, "setup")?;
        if premounted {
            return Ok(());
        }
        let line = printed.lines().map(str::trim).find(|l| !l.is_empty()).filter(|l| !l.contains('\0'));
        let line = line.ok_or_else(|| Error::new("use", object(), "it printed no directory"))?;
        let directory = self.conf.base.join(line);
        is_directory("UPPER", &directory).map_err(|e| Error::new("use", object(), format!("it printed {line}: {}", e.cause)))?;
        let directory = std::fs::canonicalize(&directory).context("find", object())?;
        self.record(&words, "teardown", Some(format!("UPPER_DIR={}", directory.display())))?;
        if self.conf.work.is_none() {
            self.conf.work = Some(self.work_for(&directory)?);
        }
        self.conf.upper = Upper::Path(directory, Vec::new());
        Ok(())
    }

    /// A partition of a disk image is mounted on BASE/lower, where only we see it.
    fn partition(&mut self) -> Result<()> {
        let Lower::Image(file, Some(number), inside) = &self.conf.lower else { return Ok(()) };
        let place = self.conf.base.join("lower");
        make_directory(&place)?;
        is_directory("BASE/lower", &place)?;
        let (mut top, locks) = hostel_engine::supervisor::mount_partition(file, Some(*number), Some(&self.conf.name))?;
        if let Some(inside) = inside {
            let object = || format!("{} of partition {number} of {}", inside.display(), file.display());
            let directory = inroot::directory(top.as_fd(), inside).map_err(|e| Error::new("open", object(), e))?;
            top = mount::clone_tree(directory.as_fd(), c"", false).context("open", object())?;
        }
        let text =
            CString::new(place.as_os_str().as_encoded_bytes()).map_err(|_| Error::new("use", place.display().to_string(), "a NUL byte in it"))?;
        mount::attach(top.as_fd(), rustix::fs::CWD, &text).context("attach", format!("partition {number} of {}", file.display()))?;
        (self.conf.lower, self.locks) = (Lower::Directories(vec![place]), locks);
        Ok(())
    }

    /// BASE/work, or a directory beside the upper layer where that is on another mount.
    fn work_for(&self, upper: &Path) -> Result<PathBuf> {
        let usual = self.conf.base.join("work");
        if mount_of(&usual).ok() == Some(mount_of(upper)?) {
            return Ok(usual);
        }
        let beside = upper.parent().unwrap_or(Path::new("/")).join("work");
        make_directory(&beside)?;
        Ok(beside)
    }

    /// The directories are there, and fit together.
    fn directories(&mut self) -> Result<()> {
        is_directory("LIVE", &self.conf.live)?;
        if let Lower::Directories(list) = &self.conf.lower {
            list.iter().try_for_each(|path| is_directory("LOWER", path))?;
        }
        let assembly = self.conf.assembly();
        let real = |name: &str, path: &Path| std::fs::canonicalize(path).context("find", format!("{name} {}", path.display()));
        if matches!(assembly, Assembly::Overlay | Assembly::Ephemeral) {
            let live = real("LIVE", &self.conf.live)?;
            if mount_of(&live)? != mount_of(live.parent().unwrap_or(&live))? {
                return Err(Error::new("use", format!("LIVE {}", live.display()), "something is mounted there already")
                    .hint("the same directory as LOWER means: that is the root, as it is"));
            }
        }
        let (Assembly::Overlay, Some(upper)) = (assembly, self.upper_path()) else { return Ok(()) };
        is_directory("UPPER", upper)?;
        let upper = real("UPPER", upper)?;
        let work = self.conf.work.clone().unwrap_or_else(|| self.conf.base.join("work"));
        is_directory("WORK", &work)?;
        let work = real("WORK", &work)?;
        let refuse = |why: &str| Err(Error::new("use", format!("WORK {} for UPPER {}", work.display(), upper.display()), why));
        if upper.starts_with(&work) || work.starts_with(&upper) {
            return refuse("one is in the other");
        }
        if mount_of(&upper)? != mount_of(&work)? {
            return refuse("they are on different file systems, or mounts of one");
        }
        let kind = rustix::fs::statfs(&upper).context("look at", format!("UPPER {}", upper.display()))?.f_type as u64;
        if kind == OVERLAY {
            return Err(Error::new(
                "use",
                format!("UPPER {}", upper.display()),
                "it is on an overlay, and Linux puts no layer that is written to there",
            )
            .hint("put it on another file system, or UPPER=tmpfs"));
        }
        (self.conf.upper, self.conf.work) = (Upper::Path(upper, Vec::new()), Some(work));
        Ok(())
    }

    /// The host's settings of interfaces are not for a copy of it.
    fn premount(&self) -> Result<()> {
        let assembly = self.conf.assembly();
        let Some(upper) = self.upper_path().filter(|_| matches!(assembly, Assembly::Overlay | Assembly::Bound)) else { return Ok(()) };
        if let Some(command) = &self.conf.premount {
            let failed = |e: Error| Error::new("run", format!("PREMOUNT={command}"), e.cause);
            return self.run(&shell(command, &[upper]), "overlay-premount").map(drop).map_err(failed);
        }
        if self.conf.hygiene { Ok(()) } else { write_interfaces(upper) }
    }

    /// What INIT prints.
    fn script(&self) -> Result<Option<String>> {
        let Some(command) = &self.conf.init else { return Ok(None) };
        let failed = |why: String| Error::new("run", format!("INIT={command}"), why);
        let printed = self.run(&shell(command, &[]), "overlay-boot").map_err(|e| failed(e.cause))?;
        if printed.trim().is_empty() || printed.len() >= SCRIPT || printed.contains('\0') {
            return Err(failed("it has to print a script for sh(1), of less than 64 KiB".into()));
        }
        Ok(Some(printed))
    }

    /// Says whose conf it is, to who has only the machine's name.
    fn note(&self) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(self.claim.directory(), super::NOTE, flags, Mode::from_raw_mode(0o644)).context("write", "note of the conf file")?;
        rustix::io::write(&file, self.file.as_os_str().as_encoded_bytes()).map(drop).context("write", "note of the conf file")
    }
}

/// Makes a directory unless there is one.
fn make_directory(path: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::new("make", path.display().to_string(), e)),
        _ => Ok(()),
    }
}

fn is_directory(name: &str, path: &Path) -> Result<()> {
    let object = || format!("{name} {}", path.display());
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::new("use", object(), "it is no directory")),
        Err(e) => Err(Error::new("use", object(), hostel_engine::error::io_text(&e))),
    }
}

/// Which mount a path is on.
fn mount_of(path: &Path) -> Result<(u64, u64)> {
    let object = || path.display().to_string();
    let text = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Error::new("use", object(), "a NUL byte in it"))?;
    let device = std::fs::metadata(path).context("look at", object())?.dev();
    Ok((device, mount::mount_id(rustix::fs::CWD, &text).context("look at", object())?))
}

/// Writes /etc/network/interfaces into an upper layer that has none, as overlay-premount does.
pub(crate) fn write_interfaces(upper: &Path) -> Result<()> {
    let object = || format!("etc/network/interfaces in {}", upper.display());
    let top =
        rustix::fs::open(upper, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context("open", upper.display().to_string())?;
    let failed = |e: hostel_image::Cause| Error::new("write", object(), e);
    let directory = inroot::make_directories(top.as_fd(), Path::new("etc/network"), Mode::from_raw_mode(0o755)).map_err(failed)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&directory, "interfaces", flags, Mode::from_raw_mode(0o644)) {
        Ok(file) => rustix::io::write(&file, hostel_engine::plan::hygiene::INTERFACES).map(drop).context("write", object()),
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(e) => Err(e).context("write", object()),
    }
}

/// What INIT's default does, as a script: for who writes one of his own.
pub(crate) fn default_script(conf: &Conf) -> String {
    let mut out = String::from("#!/bin/sh\n");
    if let Start::Services(list) = &conf.start {
        for name in list {
            let line = if name.starts_with('/') { format!("{name} start\n") } else { format!("service {name} start\n") };
            out.push_str(&line);
        }
    }
    out
}
