//! Machines that others run: the PID 1 of one of systemd-nspawn's or LXC's, by name, out of /proc.
//!
//! Nobody is asked over D-Bus. In this order: what systemd-machined wrote down, the command lines of systemd-nspawn
//! processes, LXC's command sockets and monitors, the cgroups that systemd gives machines. What is found has to be PID 1 of a
//! pid namespace of its own, and is held by descriptor from then on. Names come in as [`MachineName`]: they are compared, and
//! never part of a command.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};

use hostel_engine::enter::Leader;
use hostel_engine::error::{Error, Result};
use hostel_engine::registry::{Liveness, RegistryError};
use hostel_nspawn::options::OptionId;
use hostel_spec::MachineName;

use crate::machine;

/// What runs a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// systemd-nspawn, or something else that systemd-machined knows.
    Nspawn,
    /// LXC.
    Lxc,
}

/// The leader of machine `name`: one of ours, else one of others'.
pub fn leader(name: &MachineName) -> Result<Leader> {
    let registry = machine::open_registry()?;
    match registry.load(name) {
        Ok(found) if found.liveness != Liveness::Dead => {
            let state = crate::cli::look::state(&found)?;
            let starting = || Error::new("enter", format!("machine {name}"), "it is being started").hint("try again in a moment");
            return Leader::from_identity(state.leader.ok_or_else(starting)?);
        }
        Ok(_) | Err(RegistryError::NotRunning { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    match find(name) {
        Some((leader, _)) => Ok(leader),
        None => Err(RegistryError::NotRunning { name: name.clone() }.into()),
    }
}

/// The leader of a machine of this name that we do not run, and who does.
pub fn find(name: &MachineName) -> Option<(Leader, Kind)> {
    let open = |pid: i32| Leader::from_pid(pid).ok().filter(is_first);
    if let Some(leader) = registered(name).and_then(open) {
        return Some((leader, Kind::Nspawn));
    }
    let processes = processes();
    // Both give the supervisor; the machine's PID 1 is its first descendant with a pid namespace of its own.
    let nspawn = processes.iter().filter(|p| is_nspawn_of(p, name)).find_map(|p| first_below(p.pid, &processes)).and_then(open);
    if let Some(leader) = nspawn {
        return Some((leader, Kind::Nspawn));
    }
    let monitors = lxc_by_socket(name).into_iter().chain(processes.iter().filter(|p| is_lxc_monitor(&p.arguments, name)).map(|p| p.pid));
    if let Some(leader) = monitors.into_iter().find_map(|pid| first_below(pid, &processes)).and_then(open) {
        return Some((leader, Kind::Lxc));
    }
    let in_scope = |p: &&Process| cgroups_name(&std::fs::read_to_string(format!("/proc/{}/cgroup", p.pid)).unwrap_or_default(), name);
    let leader = processes.iter().filter(|p| p.first).find(in_scope).map(|p| p.pid).and_then(open)?;
    Some((leader, Kind::Nspawn))
}

fn is_first(leader: &Leader) -> bool {
    leader.facts().is_ok_and(|facts| facts.inner_pid == 1)
}

/// A process as /proc shows it.
#[derive(Debug, Default)]
struct Process {
    pid: i32,
    parent: i32,
    name: String,
    arguments: Vec<OsString>,
    /// It is PID 1 of a pid namespace below ours.
    first: bool,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn process(pid: i32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default();
    let numbers: Vec<&str> = field("NSpid:").split_whitespace().collect();
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    Some(Process {
        pid,
        parent: field("PPid:").parse().unwrap_or(0),
        name: field("Name:").to_owned(),
        arguments: text.split(|b| *b == 0).map(|word| OsString::from_vec(word.to_vec())).collect(),
        first: numbers.len() > 1 && numbers.last() == Some(&"1"),
    })
}

/// The first PID 1 below a process, its children before theirs.
fn first_below(pid: i32, all: &[Process]) -> Option<i32> {
    let mut level = vec![pid];
    // A supervisor, a helper or two, PID 1: nobody nests deeper, and a loop in what was read must end.
    for _ in 0..4 {
        let children: Vec<&Process> = all.iter().filter(|p| level.contains(&p.parent)).collect();
        if let Some(found) = children.iter().find(|p| p.first) {
            return Some(found.pid);
        }
        level = children.iter().map(|p| p.pid).collect();
    }
    None
}

/// What systemd-machined wrote down, readable without asking it.
fn registered(name: &MachineName) -> Option<i32> {
    let text = std::fs::read_to_string(Path::new("/run/systemd/machines").join(name.as_str())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("LEADER="))?.parse().ok()
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

/// A monitor in the background says `[lxc monitor] LXCPATH NAME` of itself; one in the foreground is lxc-start.
fn is_lxc_monitor(arguments: &[OsString], name: &MachineName) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
    if let [title] = words[..]
        && let Some(rest) = title.strip_prefix("[lxc monitor] ")
    {
        return rest.rsplit_once(' ').is_some_and(|(path, found)| path.starts_with('/') && found == name.as_str());
    }
    let is_start = words.first().is_some_and(|w| w.rsplit('/').next() == Some("lxc-start"));
    let follows = |w: &[&str]| matches!(w[0], "-n" | "--name") && w[1] == name.as_str();
    let joined = |w: &&str| w.strip_prefix("--name=").or_else(|| w.strip_prefix("-n")) == Some(name.as_str());
    is_start && (words.windows(2).any(follows) || words.iter().any(joined) || words.last() == Some(&name.as_str()))
}

/// Who listens at the abstract sockets `LXCPATH/NAME/command`.
fn lxc_by_socket(name: &MachineName) -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let mut found = Vec::new();
    for path in command_sockets(&text, name) {
        let Ok(address) = SocketAddr::from_abstract_name(path.as_bytes()) else { continue };
        // The kernel says who called listen(2); nothing is sent.
        let peer = UnixStream::connect_addr(&address).ok().and_then(|socket| hostel_sys::peer::peer(&socket).ok());
        found.extend(peer.filter(|p| p.pid > 1 && p.uid == 0).map(|p| p.pid));
    }
    found
}

fn command_sockets(text: &str, name: &MachineName) -> Vec<String> {
    let end = format!("/{name}/command");
    let mut paths: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7)?.strip_prefix("@/").map(|p| format!("/{p}")))
        .filter(|path| path.ends_with(&end))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Whether a process is in the scope or the service that systemd has for this machine.
fn cgroups_name(cgroups: &str, name: &MachineName) -> bool {
    let escaped = escape(name.as_str());
    let units = [format!("machine-{escaped}.scope"), format!("systemd-nspawn@{escaped}.service")];
    cgroups.lines().any(|line| line.split('/').any(|part| units.iter().any(|unit| unit == part)))
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
        assert!(is_lxc_monitor(&["[lxc monitor] /var/lib/lxc web".into()], &web));
        assert!(is_lxc_monitor(&words("/usr/bin/lxc-start -P /srv/x -n web -F"), &web));
        assert!(is_lxc_monitor(&words("lxc-start --name=web -F"), &web));
        for other in ["[lxc monitor] /var/lib/lxc web2", "[lxc monitor] web", "sleep web", "lxc-stop -n web"] {
            assert!(!is_lxc_monitor(&[other.into()], &web), "{other}");
        }
        assert!(!is_lxc_monitor(&words("lxc-start -n other"), &web));
        let text = "Num Type\n0: 00000002 00000000 00010000 0001 01 20 @/var/lib/lxc/web/command\n\
                    0: 00000002 00000000 00010000 0001 01 21 @/var/lib/lxc/web2/command\n0: 00000002 00000000 00010000 0001 01 22 /run/x\n0: 1\n";
        assert_eq!(command_sockets(text, &web), ["/var/lib/lxc/web/command"]);
    }

    #[test]
    fn units() {
        assert_eq!(escape("my-web_1.x"), "my\\x2dweb_1.x");
        let text = "1:name=systemd:/machine.slice/machine-my\\x2dweb.scope/payload\n0::/x\n";
        assert!(cgroups_name(text, &name("my-web")) && !cgroups_name(text, &name("web")));
        assert!(cgroups_name("0::/machine.slice/systemd-nspawn@web.service/payload\n", &name("web")));
    }

    #[test]
    fn the_first_below() {
        let process = |pid, parent, first| Process { pid, parent, first, ..Process::default() };
        let all = [process(2, 1, false), process(3, 2, false), process(4, 3, true), process(5, 4, true), process(6, 2, false)];
        assert_eq!(first_below(2, &all), Some(4));
        assert_eq!(first_below(6, &all), None);
        assert_eq!(first_below(7, &[process(7, 7, false)]), None);
    }
}
