//! Runs one side of one scenario under a time limit and gathers its outcome, a flat table of fields.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::groups::{Groups, hierarchies};
use crate::place::Place;
use crate::scenario::{Act, Kind, Look, Scenario, Stdio as Streams};
use crate::side::{Programs, Side};
use crate::{view, wait_until};

/// What came out: field to value. A field that is not there reads as `-`.
pub(crate) type Outcome = BTreeMap<String, String>;

/// Said at every end where /run is not a tmpfs; nothing to do with the scenario.
const NOISE: &str = "Attempted to remove disk file system under \"/run/systemd/nspawn";

fn without_noise(mut text: String) -> String {
    while let Some(at) = text.find(NOISE) {
        let end = text[at..].find('\n').map_or(text.len(), |n| at + n + 1);
        text.replace_range(at..end, "");
    }
    text
}

/// Output as it comes in.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Vec<u8>>>);

impl Stream {
    fn read_from(&self, mut source: impl Read + Send + 'static) -> JoinHandle<()> {
        let into = self.0.clone();
        std::thread::spawn(move || {
            let mut buffer = [0u8; 65536];
            // a terminal whose other side is closed gives EIO
            while let Ok(n @ 1..) = source.read(&mut buffer) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
            }
        })
    }
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Where `text` ends in what came after `from`.
    fn find(&self, text: &str, from: usize) -> Option<usize> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[from.min(all.len())..].windows(text.len().max(1)).position(|w| w == text.as_bytes()).map(|at| from + at + text.len())
    }
}

/// Runs `scenario` on `side`. Everything it leaves behind is looked at, then removed.
pub(crate) fn run(side: Side, scenario: &Scenario, programs: &Programs, dir: &Path, name: &str) -> io::Result<Outcome> {
    let mut place = Place::make(dir.to_path_buf(), name.to_owned(), scenario.tree, &programs.probe)?;
    let outcome = run_in(side, scenario, programs, &mut place);
    clear_runtime(&place);
    place.remove();
    outcome
}

fn run_in(side: Side, scenario: &Scenario, programs: &Programs, place: &mut Place) -> io::Result<Outcome> {
    if !scenario.before.is_empty() {
        let out = place.script(scenario.before, None)?;
        if !out.status.success() {
            return Err(io::Error::other(format!("set-up: {}", String::from_utf8_lossy(&out.stderr))));
        }
    }
    if let Some(text) = scenario.settings {
        let file = settings_dir(place).join("nspawn").join(format!("{}.nspawn", place.name));
        std::fs::create_dir_all(settings_dir(place).join("nspawn"))?;
        std::fs::write(file, filled(text, place))?;
    }
    place.remember();
    let groups = Groups::of_nspawn(&place.name)?;
    let mounts = mounts_of(place);
    let mut outcome = Outcome::new();
    let result = execute(side, scenario, programs, place, &groups, &mut outcome);
    if result.is_ok() {
        leftovers(place, &groups, &mounts, &mut outcome);
        // what a booted system writes into its own tree is its own, and full of random names
        let booted = scenario.look == Look::Nothing && matches!(scenario.tree, Kind::Debian | Kind::DebianCopy);
        let brought_in = ["{tree}/etc/resolv.conf", "{tree}/etc/localtime"];
        for (path, value) in place.changes().into_iter().filter(|(path, _)| !booted || brought_in.contains(&path.as_str())) {
            outcome.insert(format!("tree:{}", normal(&path, place)), normal(&value, place));
        }
        if !scenario.after.is_empty() {
            let out = place.script(scenario.after, None)?;
            outcome.insert("after".into(), normal(&(String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr)), place));
        }
    }
    groups.remove();
    result.map(|()| outcome)
}

/// Names and directories of this run become words.
fn normal(text: &str, place: &Place) -> String {
    text.replace(&*place.dir.to_string_lossy(), "{dir}").replace(&place.name, "{name}")
}

/// What lies on /etc/systemd in a scenario with settings; hidden, so that it is not taken for a part of the outcome.
fn settings_dir(place: &Place) -> PathBuf {
    place.dir.join(".etc")
}

/// Words in braces become names and directories of this run.
fn filled(text: &str, place: &Place) -> String {
    text.replace("{tree}", &place.tree().to_string_lossy()).replace("{dir}", &place.dir.to_string_lossy()).replace("{name}", &place.name)
}

fn command_line(side: Side, scenario: &Scenario, programs: &Programs, place: &Place, groups: &Groups) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["in-groups".into()];
    if scenario.stdio == Streams::Terminal {
        words.push("--terminal".into());
    }
    words.extend(groups.dirs().iter().map(|d| d.clone().into_os_string()));
    words.push("--".into());
    if scenario.own_network {
        words.extend(["unshare", "-n", "--"].map(OsString::from));
    }
    if let Some((before, after)) = scenario.links {
        let script = format!("set -e\n{before}\nset +e\n\"$@\"\nstatus=$?\n{after}\nexit $status");
        words.extend(["sh".into(), "-c".into(), filled(&script, place).into(), "sh".into()]);
    }
    if scenario.settings.is_some() {
        words.extend(["unshare", "-m", "--", "sh", "-ec", "mount --bind \"$1\" /etc/systemd; shift; exec \"$@\"", "sh"].map(OsString::from));
        words.push(settings_dir(place).into());
    }
    if scenario.udev {
        words.extend(["unshare", "-m", "--"].map(OsString::from));
        words.extend(std::env::current_exe().map(OsString::from));
        words.push("with-udev".into());
    }
    words.extend(programs.call(side));
    if scenario.usual {
        words.extend(["-q", "--register=no", "--keep-unit", "-D"].map(OsString::from));
        words.push(place.tree().into());
    }
    words.extend(scenario.args.iter().map(|word| OsString::from(filled(word, place))));
    words
}

fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::termios::tcsetwinsize(&master, Winsize { ws_row: 25, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((master, slave))
}

fn execute(side: Side, scenario: &Scenario, programs: &Programs, place: &Place, groups: &Groups, outcome: &mut Outcome) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(command_line(side, scenario, programs, place, groups)).current_dir(&place.dir).env_clear();
    command
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "vt220");
    command.env("COMPAT_SECRET", "must not reach a machine").envs(scenario.env.iter().copied());
    if side == Side::Theirs {
        // version 2 alone, as hostel gives it and as every later version must; a scenario may say otherwise
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").envs(scenario.env.iter().copied());
    } else {
        let state = place.dir.join(".state");
        std::fs::create_dir_all(&state)?;
        command.env("HOSTEL_RUNTIME_DIR", state);
    }
    let (out, err) = (Stream::default(), Stream::default());
    let mut readers = Vec::new();
    let mut slave_kept = None;
    let mut keyboard = None;
    let mut child = if scenario.stdio == Streams::Terminal {
        let (master, slave) = terminal()?;
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        let child = command.spawn()?;
        readers.push(out.read_from(std::fs::File::from(master.try_clone()?)));
        slave_kept = Some(slave);
        keyboard = Some(std::fs::File::from(master));
        child
    } else {
        command.stdin(if scenario.stdio == Streams::Pipes { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        readers.extend(child.stdout.take().map(|s| out.read_from(s)));
        readers.extend(child.stderr.take().map(|s| err.read_from(s)));
        keyboard = child.stdin.take().map(|s| std::fs::File::from(OwnedFd::from(s))).or(keyboard);
        child
    };
    drop(command); // its copies of the terminal
    let end = Instant::now() + scenario.limit;
    let notes = act(&scenario.acts, place, &mut child, &out, &mut keyboard, end);
    let ended = wait_until(end.saturating_duration_since(Instant::now()), || matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
    outcome.insert("exit".into(), if ended { status(child.wait()?) } else { format!("still running after {:?}", scenario.limit) });
    if let Some(slave) = &slave_kept {
        use rustix::termios::LocalModes;
        let sane = rustix::termios::tcgetattr(slave).is_ok_and(|t| t.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        outcome.insert("terminal-afterwards".into(), if sane { "sane" } else { "raw" }.into());
    }
    // hostel leaves closing sockets, removing bridges to a child that ends by itself.
    let mut processes = processes(groups);
    wait_until(Duration::from_secs(1), || {
        processes = self::processes(groups);
        processes.is_empty()
    });
    outcome.insert("left.processes".into(), if processes.is_empty() { "none".into() } else { format!("{}", processes.len()) });
    groups.kill();
    let _ = child.kill();
    let _ = child.wait();
    drop(slave_kept);
    drop(keyboard);
    for reader in readers {
        // what has been killed closes its end soon; nothing else holds it
        wait_until(Duration::from_secs(2), || reader.is_finished());
    }
    for (at, note) in notes.into_iter().enumerate() {
        outcome.insert(format!("note.{at}"), normal(&note, place));
    }
    output(scenario, &out.bytes(), &err.bytes(), place, outcome);
    Ok(())
}

fn output(scenario: &Scenario, out: &[u8], err: &[u8], place: &Place, outcome: &mut Outcome) {
    let mut text = without_noise(normal(&String::from_utf8_lossy(out), place));
    if scenario.stdio == Streams::Terminal {
        // output that comes when the terminal has its own modes back is changed by them as well
        text = text.replace("\r\r\n", "\r\n");
    }
    let said = without_noise(normal(&String::from_utf8_lossy(err), place));
    outcome.insert("stderr".into(), if said.trim().is_empty() { "silent" } else { "says something" }.into());
    outcome.insert("#stderr".into(), said);
    match scenario.look {
        Look::Nothing => drop(outcome.insert("#stdout".into(), text)),
        Look::Bytes => drop(outcome.insert("stdout".into(), text)),
        Look::View => look_at(&text, outcome),
        Look::ViewFile => {
            let file = place.tree().join("view");
            look_at(&normal(&std::fs::read_to_string(&file).unwrap_or_default(), place), outcome);
            let _ = std::fs::remove_file(file);
        }
    }
}

fn look_at(text: &str, outcome: &mut Outcome) {
    match serde_json::from_str(text.trim()) {
        Ok(value) => view::flatten(&value, outcome),
        Err(e) => drop(outcome.insert("view".into(), format!("no JSON ({e}): {text}"))),
    }
}

/// Does the acts in order; gives what shells printed and what was waited for in vain.
fn act(acts: &[Act], place: &Place, child: &mut Child, out: &Stream, keyboard: &mut Option<std::fs::File>, end: Instant) -> Vec<String> {
    let mut notes = Vec::new();
    let mut seen = 0;
    for act in acts {
        match *act {
            Act::Wait(text) => {
                let mut found = None;
                let left = end.saturating_duration_since(Instant::now());
                wait_until(left, || {
                    found = out.find(text, seen);
                    found.is_some() || matches!(child.try_wait(), Ok(Some(_)))
                });
                if found.is_none() {
                    // it has ended: what it wrote last is still on its way
                    wait_until(Duration::from_secs(2), || {
                        found = out.find(text, seen);
                        found.is_some()
                    });
                }
                match found {
                    Some(at) => seen = at,
                    None => {
                        notes.push(format!("waited in vain for {text:?}"));
                        break;
                    }
                }
            }
            Act::Send(text) => {
                if let Some(file) = keyboard {
                    let _ = file.write_all(text.as_bytes());
                }
            }
            Act::Eof => *keyboard = None,
            Act::Resize(rows, columns) => {
                if let Some(file) = keyboard {
                    let _ = rustix::termios::tcsetwinsize(file, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
                }
            }
            Act::Signal(number) => {
                if let (Some(pid), Some(signal)) =
                    (rustix::process::Pid::from_raw(child.id() as i32), rustix::process::Signal::from_named_raw(number))
                {
                    let _ = rustix::process::kill_process(pid, signal);
                }
            }
            Act::Pause(millis) => std::thread::sleep(Duration::from_millis(millis)),
            Act::Shell(script) => notes.push(match place.script(script, Some(child.id())) {
                Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
                Err(e) => e.to_string(),
            }),
        }
    }
    notes
}

fn status(status: ExitStatus) -> String {
    status.code().map_or_else(|| format!("killed by signal {}", status.signal().unwrap_or(0)), |c| c.to_string())
}

fn processes(groups: &Groups) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = groups.dirs().to_vec();
    while let Some(dir) = todo.pop() {
        found.extend(std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines().map(str::to_owned));
        todo.extend(std::fs::read_dir(&dir).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    found.sort();
    found.dedup();
    found
}

fn mounts_of(place: &Place) -> Vec<String> {
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let (dir, name) = (place.dir.to_string_lossy(), &place.name);
    all.lines().filter(|l| l.contains(&*dir) || l.contains(name)).filter_map(|l| l.split(' ').nth(4)).map(str::to_owned).collect()
}

/// What is on the machine that was not there before.
fn leftovers(place: &Place, groups: &Groups, mounts_before: &[String], outcome: &mut Outcome) {
    let mut cgroups = groups.below();
    for hierarchy in hierarchies().unwrap_or_default() {
        for entry in std::fs::read_dir(&hierarchy.here).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(&place.name) && name != place.name {
                cgroups.push(format!("{}:{name}", hierarchy.controllers));
            }
        }
    }
    let mounts: Vec<String> = mounts_of(place).into_iter().filter(|m| !mounts_before.contains(m)).collect();
    let mut state: Vec<String> = runtime_dirs(place).into_iter().filter(|p| p.exists()).map(|p| p.display().to_string()).collect();
    for below in ["machines", "undo"] {
        let dir = place.dir.join(".state").join(below);
        state.extend(std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path().display().to_string()));
    }
    for (field, list) in [("left.cgroups", cgroups), ("left.mounts", mounts), ("left.state", state)] {
        outcome.insert(field.into(), if list.is_empty() { "none".into() } else { normal(&list.join(" "), place) });
    }
}

fn runtime_dirs(place: &Place) -> Vec<PathBuf> {
    ["/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"].iter().map(|d| Path::new(d).join(&place.name)).collect()
}

/// Removes what systemd-nspawn keeps about this one machine.
fn clear_runtime(place: &Place) {
    for dir in runtime_dirs(place) {
        let _ = rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&dir);
    }
    if let Ok(meta) = std::fs::metadata(place.tree()) {
        let _ = std::fs::remove_file(format!("/run/systemd/nspawn/locks/inode-{}:{}", meta.dev(), meta.ino()));
    }
    let _ = std::fs::remove_file(place.dir.join(format!(".#{}.lck", place.name)));
    // --link-journal=guest leaves a link on the host that leads into the tree
    for entry in std::fs::read_dir("/var/log/journal").into_iter().flatten().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(&place.dir)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
