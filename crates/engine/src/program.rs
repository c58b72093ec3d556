//! Programs of the host's that a machine has besides: they set something up for it before it starts, or take that back.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hostel_spec::OsText;
use hostel_sys::clone;
use hostel_sys::mount::{self, Attributes, FsOption};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Context, Error, Result, io_text};
use crate::registry::Undo;
use crate::registry::recover::wait_for_end;

/// What a program may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of what it prints is looked at.
const PRINTED: u64 = 64 << 10;
/// How much it can print: what is more it cannot write.
const ROOM: &CStr = c"1m";

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Words; the first is its path.
    pub words: &'a [OsText],
    /// Where.
    pub directory: &'a Path,
    /// `NAME=value`, nothing else.
    pub env: &'a [OsText],
    /// What it says on its standard error is added to this file.
    pub log: &'a Path,
}

/// Words that have sh(1) run a command, with further arguments.
pub fn shell(command: &str, more: &[&Path]) -> Vec<OsText> {
    let command = if more.is_empty() { command.to_owned() } else { format!("{command} \"$@\"") };
    let words = ["/bin/sh".into(), "-c".into(), command.into()];
    let rest = more.iter().map(|path| path.as_os_str().into());
    if more.is_empty() { words.into() } else { words.into_iter().chain(["sh".into()]).chain(rest).collect() }
}

impl Program<'_> {
    /// Runs it to its end, 60 s at most, with nothing to read; returns what it printed. An error has what it said.
    pub fn run(&self) -> Result<Vec<u8>> {
        let name = self.words.first().map_or_else(String::new, |w| w.to_string_lossy().into_owned());
        let (mut printed, mut said) = (memory()?, memory()?);
        let mut command = Command::new(self.words.first().map_or_else(|| "".as_ref(), |w| w.as_os_str()));
        command.args(self.words.iter().skip(1).map(OsText::as_os_str)).current_dir(self.directory).env_clear().process_group(0);
        for entry in self.env {
            let text = entry.to_string_lossy();
            if let Some((key, value)) = text.split_once('=') {
                command.env(key, value);
            }
        }
        let copy = |file: &File| file.try_clone().map(Stdio::from).context("open", "file in memory");
        command.stdin(Stdio::null()).stdout(copy(&printed)?).stderr(copy(&said)?);
        let failed = |why: String| Error::new("run", name.clone(), why);
        let mut child = command.spawn().map_err(|e| failed(io_text(&e)))?;
        let pid = child.id() as i32;
        let ended = clone::pidfd_open(pid).and_then(|pidfd| wait_for_end(pidfd.as_fd(), PATIENCE));
        if !matches!(ended, Ok(true))
            && let Some(group) = Pid::from_raw(pid)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = child.wait().map_err(|e| failed(io_text(&e)))?;
        let words = read_back(&mut said);
        self.note(&words);
        if !matches!(ended, Ok(true)) {
            return Err(failed(format!("it took longer than {} s and was killed", PATIENCE.as_secs())));
        }
        if !status.success() {
            let last = String::from_utf8_lossy(&words).lines().map(str::trim).rfind(|l| !l.is_empty()).map_or_else(String::new, |l| format!(": {l}"));
            return Err(failed(match status.code() {
                Some(code) => format!("status {code}{last}"),
                None => format!("a signal ended it{last}"),
            }));
        }
        Ok(read_back(&mut printed))
    }

    /// Adds to the log. A log that cannot be written keeps nothing from being done.
    fn note(&self, text: &[u8]) {
        if !text.is_empty()
            && let Ok(mut log) = open_log(self.log)
        {
            let _ = log.write_all(text);
        }
    }
}

/// A file in memory that cannot grow beyond [`ROOM`]. No pipe: who is left of the program, a file system's daemon, may write later.
fn memory() -> Result<File> {
    let object = "file in memory";
    let tmpfs = mount::filesystem(c"tmpfs", &[FsOption::Text(c"size", ROOM)], Attributes::NONE).context("make", object)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(&tmpfs, c"printed", flags, Mode::RUSR | Mode::WUSR).map(File::from).context("make", object)
}

fn read_back(file: &mut File) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = file.rewind();
    let _ = file.take(PRINTED).read_to_end(&mut text);
    text
}

/// Runs what takes something back; what comes of it is in its log.
pub(crate) fn take_back(record: &Undo) -> io::Result<()> {
    let Undo::Program { words, directory, env, log } = record else { return Ok(()) };
    let program = Program { words, directory: Path::new(directory.as_os_str()), env, log: Path::new(log.as_os_str()) };
    if let Err(error) = program.run() {
        program.note(format!("hostel: {error}\n").as_bytes());
    }
    Ok(())
}

/// Opens a log for adding to it: made with mode 0600, never through a link in its last part, never somebody else's.
pub fn open_log(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(parent);
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file =
        File::options().append(true).create(true).mode(0o600).custom_flags(flags.bits() as i32).open(path).map_err(|e| match e.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => io::Error::other("it is a symbolic link"),
            _ => e,
        })?;
    let meta = file.metadata()?;
    if !meta.is_file() && path != Path::new("/dev/null") {
        return Err(io::Error::other("it is no regular file"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.nlink() > 1 {
        return Err(io::Error::other("it is somebody else's file, or has another name"));
    }
    Ok(file)
}
