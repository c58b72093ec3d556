//! Machines that others run: the PID 1 of one of systemd-nspawn's or LXC's, by name, out of /proc.
//!
//! Nobody is asked over D-Bus. In this order: what systemd-machined wrote down, the command lines of systemd-nspawn
//! processes, LXC's command sockets and monitors, the cgroups that systemd gives machines. Each of them is believed only of a
//! [`Supervisor`], a process of root's on this host, and what is found has to be PID 1 of a pid namespace directly below ours that
//! such a one stands above; it is held by descriptor from then on. Names come in as [`MachineName`]: they are compared, and
//! never part of a command.

mod supervisor;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use hostel_engine::enter::Leader;
use hostel_engine::error::{Error, Result};
use hostel_engine::registry::{Liveness, RegistryError};
use hostel_nspawn::options::OptionId;
use hostel_spec::MachineName;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::{machine, output};
use supervisor::{Process, Supervisor};

/// What runs a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// systemd-nspawn, or something else that systemd-machined knows.
    Nspawn,
    /// LXC.
    Lxc,
}

impl Kind {
    /// Its name, as in the variable `container` inside.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Nspawn => "systemd-nspawn",
            Kind::Lxc => "lxc",
        }
    }
}

/// The leader of machine `name`: one of ours, else one of others'.
pub fn leader(name: &MachineName) -> Result<Leader> {
    look(name).map(|(leader, _)| leader)
}

/// The same for what gives or takes files: it says so when the machine is not one of ours.
pub fn leader_for_files(name: &MachineName) -> Result<Leader> {
    let (leader, kind) = look(name)?;
    if let Some(kind) = kind {
        output::tell(format_args!("notice: {name} is a machine of others ({}, process {})", kind.name(), leader.pid()));
    }
    Ok(leader)
}

fn look(name: &MachineName) -> Result<(Leader, Option<Kind>)> {
    let registry = machine::open_registry()?;
    match registry.load(name) {
        Ok(found) if found.liveness != Liveness::Dead => {
            let state = crate::cli::look::state(&found)?;
            let starting = || Error::new("enter", format!("machine {name}"), "it is being started").hint("try again in a moment");
            return Ok((Leader::from_identity(state.leader.ok_or_else(starting)?)?, None));
        }
        Ok(_) | Err(RegistryError::NotRunning { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    match find(name) {
        Some((leader, kind)) => Ok((leader, Some(kind))),
        None => Err(RegistryError::NotRunning { name: name.clone() }.into()),
    }
}

/// The leader of a machine of this name that we do not run, and who does.
pub fn find(name: &MachineName) -> Option<(Leader, Kind)> {
    if let Some(leader) = registered(name).and_then(|record| record.leader()) {
        return Some((leader, Kind::Nspawn));
    }
    let processes = supervisor::processes();
    // Both give the supervisor; the machine's PID 1 is its first descendant with a pid namespace of its own.
    let below = |s: &Supervisor| supervisor::leader(first_below(s.pid(), &processes)?, Some(s));
    // Most processes are neither: those that call themselves so are looked at again, with care.
    let calls = |is: fn(&Process, &MachineName) -> bool| processes.iter().filter(move |p| is(p, name)).filter_map(|p| Supervisor::hold(p.pid));
    if let Some(leader) = calls(is_nspawn_of).filter(|s| s.program == "systemd-nspawn" && is_nspawn_of(&s.process, name)).find_map(|s| below(&s)) {
        return Some((leader, Kind::Nspawn));
    }
    let titled = calls(is_lxc_monitor).filter(|s| is_lxc_monitor(&s.process, name) && (is_titled(&s.process) || s.program == "lxc-start"));
    if let Some(leader) = lxc_by_socket(name).into_iter().chain(titled).find_map(|s| below(&s)) {
        return Some((leader, Kind::Lxc));
    }
    let in_scope = |p: &&Process| cgroups_name(&std::fs::read_to_string(format!("/proc/{}/cgroup", p.pid)).unwrap_or_default(), name);
    let leader = processes.iter().filter(|p| p.is_first()).filter(in_scope).find_map(|p| supervisor::leader(p.pid, None))?;
    Some((leader, Kind::Nspawn))
}

/// The first PID 1 below a process, its children before theirs.
fn first_below(pid: i32, all: &[Process]) -> Option<i32> {
    let mut level = vec![pid];
    // A supervisor, a helper or two, PID 1: nobody nests deeper, and a loop in what was read must end.
    for _ in 0..supervisor::DEPTH {
        let children: Vec<&Process> = all.iter().filter(|p| level.contains(&p.parent)).collect();
        if let Some(found) = children.iter().find(|p| p.is_first()) {
            return Some(found.pid);
        }
        level = children.iter().map(|p| p.pid).collect();
    }
    None
}

/// What systemd-machined wrote down.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    leader: i32,
    /// The number that the kernel gives no other process of this boot, where machined knows it.
    unique: Option<u64>,
}

impl Record {
    /// `None`: it is a machine of an ordinary user, who may register what runs under any name.
    fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        if field("UID=").is_some_and(|uid| uid != "0") {
            return None;
        }
        Some(Self { leader: field("LEADER=")?.parse().ok()?, unique: field("LEADER_PIDFDID=").and_then(|n| n.parse().ok()) })
    }

    fn leader(&self) -> Option<Leader> {
        let leader = supervisor::leader(self.leader, None)?;
        let is = |unique| rustix::fs::fstat(leader.pidfd()).is_ok_and(|stat| stat.st_ino == unique);
        self.unique.is_none_or(is).then_some(leader)
    }
}

/// machined's file for this name, readable without asking it.
fn registered(name: &MachineName) -> Option<Record> {
    registered_in(Path::new("/run/systemd/machines"), name)
}

/// Directory and file have to be root's alone, the file a regular one.
fn registered_in(directory: &Path, name: &MachineName) -> Option<Record> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags | OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let file = rustix::fs::openat(&directory, name.as_str(), flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if !is_roots_alone(&rustix::fs::fstat(&directory).ok()?)
        || !is_roots_alone(&stat)
        || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
    {
        return None;
    }
    let mut text = String::new();
    std::fs::File::from(file).take(64 << 10).read_to_string(&mut text).ok()?;
    Record::parse(&text)
}

fn is_roots_alone(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}

fn is_nspawn_of(process: &Process, name: &MachineName) -> bool {
    let called = process.arguments.first().map(|a| Path::new(a).file_name().unwrap_or_default().to_os_string());
    if process.name != "systemd-nspawn" || called.is_none_or(|c| c != "systemd-nspawn") {
        return false;
    }
    let cwd = || std::fs::read_link(format!("/proc/{}/cwd", process.pid)).ok();
    nspawn_name(process.arguments.get(1..).unwrap_or_default(), cwd).as_deref() == Some(name.as_str())
}

/// The name that a command line of systemd-nspawn gives its machine: `-M`, else after its tree. Options that are not known
/// here end the reading, as they would there.
fn nspawn_name(arguments: &[OsString], cwd: impl Fn() -> Option<PathBuf>) -> Option<String> {
    let doc = hostel_nspawn::fold(arguments);
    let last = |ids: &[OptionId]| doc.entries.iter().rev().find(|e| ids.contains(&e.row.id)).and_then(|e| e.value.clone());
    if let Some(name) = last(&[OptionId::Machine]) {
        return Some(name);
    }
    let tree = match last(&[OptionId::Directory, OptionId::Image, OptionId::Template]) {
        Some(path) if matches!(path.as_str(), "." | "./") => cwd()?,
        Some(path) => PathBuf::from(path),
        None => cwd()?,
    };
    let name = tree.file_name()?.to_str()?;
    Some(name.strip_suffix(".raw").unwrap_or(name).to_owned())
}

/// A monitor in the background says `[lxc monitor] LXCPATH NAME` of itself, whatever program it is.
const TITLE: &str = "[lxc monitor] ";

fn is_titled(process: &Process) -> bool {
    matches!(&process.arguments[..], [title] if title.to_str().is_some_and(|t| t.starts_with(TITLE)))
}

/// By its title; or it is lxc-start in the foreground.
fn is_lxc_monitor(process: &Process, name: &MachineName) -> bool {
    let words: Vec<&str> = process.arguments.iter().filter_map(|a| a.to_str()).collect();
    if let [title] = words[..]
        && let Some(rest) = title.strip_prefix(TITLE)
    {
        return rest.rsplit_once(' ').is_some_and(|(path, found)| path.starts_with('/') && found == name.as_str());
    }
    let is_start = words.first().is_some_and(|w| w.rsplit('/').next() == Some("lxc-start"));
    let follows = |w: &[&str]| matches!(w[0], "-n" | "--name") && w[1] == name.as_str();
    let joined = |w: &&str| w.strip_prefix("--name=").or_else(|| w.strip_prefix("-n")) == Some(name.as_str());
    is_start && (words.windows(2).any(follows) || words.iter().any(joined) || words.last() == Some(&name.as_str()))
}

/// Who listens at the abstract sockets `LXCPATH/NAME/command`.
fn lxc_by_socket(name: &MachineName) -> Vec<Supervisor> {
    let text = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let listener = |(path, inode): (String, u64)| {
        // The kernel says who called listen(2); nothing is sent, and somebody who never accepts is not waited for.
        let address = SocketAddrUnix::new_abstract_name(path.as_bytes()).ok()?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).ok()?;
        connect(&socket, &address).ok()?;
        let peer = hostel_sys::peer::peer(&socket).ok()?;
        // That number may have become another process's: one that has the socket.
        Supervisor::hold(peer.pid).filter(|s| peer.uid == 0 && s.has_socket(inode))
    };
    command_sockets(&text, name).into_iter().filter_map(listener).collect()
}

/// Path and inode of each such socket that listens.
fn command_sockets(text: &str, name: &MachineName) -> Vec<(String, u64)> {
    let end = format!("/{name}/command");
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words.get(7)?.strip_prefix("@/").map(|p| format!("/{p}"))?;
        // __SO_ACCEPTCON: an accepted connection has the listener's address, too.
        let listens = u32::from_str_radix(words.get(3)?, 16).is_ok_and(|flags| flags & 0x1_0000 != 0);
        (listens && path.ends_with(&end)).then_some((path, words.get(6)?.parse().ok()?))
    };
    text.lines().filter_map(socket).collect()
}

/// Whether a process is in the scope or the service that systemd has for this machine. Only root makes cgroups at the top; further
/// down users and machines have cgroups of their own, which they may call as they like.
fn cgroups_name(cgroups: &str, name: &MachineName) -> bool {
    let escaped = escape(name.as_str());
    let units = [format!("/machine.slice/machine-{escaped}.scope"), format!("/machine.slice/systemd-nspawn@{escaped}.service")];
    let path = |line: &'_ str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let below = |path: &str, unit: &str| path.strip_prefix(unit).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    cgroups.lines().filter_map(path).any(|path| units.iter().any(|unit| below(&path, unit)))
}

/// A name as part of a unit's (systemd.unit(5)): what is not alphanumeric, `:`, `_` or `.` is `\xNN`.
fn escape(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MachineName {
        MachineName::new(text).unwrap()
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn names_on_command_lines() {
        let of = |line: &str| nspawn_name(&words(line), || Some("/srv/here".into())).unwrap_or_default();
        for (line, want) in [
            ("-D /srv/web -b", "web"),
            ("-bD/srv/web/ -M other", "other"),
            ("--directory=/srv/web --machine=a --quiet", "a"),
            ("-q -i /srv/disk.raw", "disk"),
            ("-b", "here"),
            ("-D . --register=no", "here"),
            ("-D /srv/web sh -c -M no", "web"),
        ] {
            assert_eq!(of(line), want, "{line}");
        }
    }

    #[test]
    fn monitors_and_sockets() {
        let web = name("web");
        let is = |arguments: &[OsString]| is_lxc_monitor(&Process { arguments: arguments.to_vec(), ..Process::default() }, &web);
        assert!(is(&["[lxc monitor] /var/lib/lxc web".into()]));
        assert!(is(&words("/usr/bin/lxc-start -P /srv/x -n web -F")));
        assert!(is(&words("lxc-start --name=web -F")));
        for other in ["[lxc monitor] /var/lib/lxc web2", "[lxc monitor] web", "sleep web", "lxc-stop -n web"] {
            assert!(!is(&[other.into()]), "{other}");
        }
        assert!(!is(&words("lxc-start -n other")));
        let text = "Num Type\n0: 00000002 00000000 00010000 0001 01 20 @/var/lib/lxc/web/command\n\
                    0: 00000003 00000000 00000000 0001 03 23 @/var/lib/lxc/web/command\n\
                    0: 00000002 00000000 00010000 0001 01 21 @/var/lib/lxc/web2/command\n0: 00000002 00000000 00010000 0001 01 22 /run/x\n0: 1\n";
        assert_eq!(command_sockets(text, &web), [("/var/lib/lxc/web/command".to_owned(), 20)]);
    }

    #[test]
    fn nobody_is_waited_for() {
        let name = name(&format!("full-{}", std::process::id()));
        let address = SocketAddrUnix::new_abstract_name(format!("/x/{name}/command").as_bytes()).unwrap();
        let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).unwrap();
        let listener = socket();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let mut waiting = Vec::new();
        while let (socket, true) = (socket(), waiting.len() < 8) {
            if connect(&socket, &address).is_err() {
                break;
            }
            waiting.push(socket);
        }
        assert!(waiting.len() < 8, "its queue has no end");
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || said.send(lxc_by_socket(&name).len()));
        assert_eq!(heard.recv_timeout(std::time::Duration::from_secs(10)), Ok(0));
    }

    #[test]
    fn units() {
        assert_eq!(escape("my-web_1.x"), "my\\x2dweb_1.x");
        let text = "1:name=systemd:/machine.slice/machine-my\\x2dweb.scope/payload\n0::/x\n";
        assert!(cgroups_name(text, &name("my-web")) && !cgroups_name(text, &name("web")));
        assert!(cgroups_name("0::/machine.slice/systemd-nspawn@web.service/payload\n", &name("web")));
        assert!(cgroups_name("0::/machine.slice/machine-web.scope\n", &name("web")));
        // What users and machines can call so themselves.
        for other in [
            "0::/user.slice/user-1.slice/user@1.service/machine.slice/machine-web.scope",
            "0::/user.slice/user-1.slice/user@1.service/machine-web.scope",
            "0::/machine.slice/other/machine-web.scope",
            "0::/machine.slice/other/machine.slice/machine-web.scope",
            "0::/machine-web.scope",
            "0::/machine.slice/machine-web.scopes",
            "0::/../machine.slice/machine-web.scope",
            "1:name=/machine.slice/machine-web.scope:/x",
        ] {
            assert!(!cgroups_name(other, &name("web")), "{other}");
        }
    }

    #[test]
    fn records() {
        let record = |leader, unique| Some(Record { leader, unique });
        assert_eq!(Record::parse("NAME=web\nSCOPE=machine-web.scope\nLEADER=12\n"), record(12, None));
        assert_eq!(Record::parse("NAME=web\nUID=0\nLEADER=12\nLEADER_PIDFDID=77\n"), record(12, Some(77)));
        for bad in ["", "LEADER=", "LEADER=x", "UID=1000\nLEADER=12", "LEADER=12\nUID=1000", "LEADER=12\nUID=\n"] {
            assert_eq!(Record::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn records_are_roots() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let top = std::env::temp_dir().join(format!("hostel-records-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = |text: &str| registered_in(&top, &name(text)).is_some();
        let file = top.join("web");
        std::fs::write(&file, "LEADER=12\n").unwrap();
        symlink(&file, top.join("link")).unwrap();
        mode(&top, 0o755);
        mode(&file, 0o644);
        assert!(found("web") && !found("link") && !found("other"));
        mode(&file, 0o664);
        assert!(!found("web"));
        mode(&file, 0o644);
        mode(&top, 0o777);
        assert!(!found("web"));
        mode(&top, 0o755);
        chown(&file, Some(65534), None).unwrap();
        assert!(!found("web"));
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn the_first_below() {
        let process = |pid, parent, first| Process { pid, parent, numbers: if first { vec![pid, 1] } else { vec![pid] }, ..Process::default() };
        let all = [process(2, 1, false), process(3, 2, false), process(4, 3, true), process(5, 4, true), process(6, 2, false)];
        assert_eq!(first_below(2, &all), Some(4));
        assert_eq!(first_below(6, &all), None);
        assert_eq!(first_below(7, &[process(7, 7, false)]), None);
    }
}
