//! The undo journal: what a start changes on the host, written down *before* it is changed, so that whoever comes after
//! a killed supervisor can take it back.
//!
//! One JSON object per line. The first says which boot the file is of; processes, cgroups, mounts and links of another
//! boot are gone by themselves. A last line without its end was never acted upon and is ignored. Records are data from a
//! file: each is checked against what hostel makes before anything is touched, and taking back twice is success.

use std::net::Ipv4Addr;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use hostel_spec::{MachineName, OsText, is_interface_name};

use super::identity::ProcessId;

/// Names of temporary files and directories that hostel makes begin with one of these.
pub const TEMPORARY_PREFIXES: [&str; 2] = [".#hostel-", ".hostel-"];

/// One change of the host, seen from its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// First line: the boot the records are of.
    Boot {
        /// /proc/sys/kernel/random/boot_id.
        id: String,
    },
    /// Kill this process (a PID 1: everything in its pid namespace goes with it).
    Leader {
        /// Which.
        process: ProcessId,
    },
    /// Kill what is in a cgroup and remove it with all below it. A directory below `…/hostel/`; a relative path
    /// is one of the v2 hierarchy on a host where that is not mounted.
    Cgroup {
        /// Its path.
        path: OsText,
    },
    /// Remove a cgroup above `hostel`, or that, if nobody is in it.
    EmptyCgroup {
        /// Its path.
        path: OsText,
    },
    /// Remove a temporary directory with everything in it; its name begins with one of [`TEMPORARY_PREFIXES`].
    Directory {
        /// Absolute path.
        path: OsText,
    },
    /// The same for a directory where others can put something else in its place: a link, in its place or on the way to it, is
    /// not followed, and means that it is gone.
    Work {
        /// Absolute path.
        path: OsText,
    },
    /// Remove a file: below the state directory, or with a temporary name.
    File {
        /// Absolute path.
        path: OsText,
    },
    /// Detach the mount at a place below the state directory, or with a temporary name in its path.
    Mount {
        /// Absolute path.
        path: OsText,
    },
    /// Remove a mapped device (dm) when its last user is gone; its name begins with `hostel-`.
    Mapping {
        /// Its name.
        name: String,
    },
    /// Delete a network link of the host's network namespace, if it has this alias.
    Link {
        /// Interface name.
        name: String,
        /// `hostel:MACHINE`.
        alias: String,
    },
    /// Give an interface that was in the machine its name back, if the kernel gave it back under the one it had there.
    Interface {
        /// Its name on the host.
        host: String,
        /// Its name in the machine.
        inside: String,
        /// Its hardware address.
        mac: Option<[u8; 6]>,
    },
    /// Remove a zone's bridge, if it has no ports.
    Zone {
        /// The zone.
        zone: String,
    },
    /// Remove the host's address towards a machine from a zone's bridge.
    Address {
        /// The bridge.
        link: String,
        /// The address.
        address: Ipv4Addr,
    },
    /// Take a machine's network out of /run/netns.
    NetworkName {
        /// Its name there.
        name: String,
        /// Inode of the namespace: what else has that name is somebody else's. 0: not known.
        #[serde(default)]
        namespace: u64,
    },
    /// Run a program that takes back what its like has set up: once, whatever comes of it. Of several with the same words only the last.
    Program {
        /// Words; the first is an absolute path.
        words: Vec<OsText>,
        /// Where.
        directory: OsText,
        /// `NAME=value`, nothing else.
        env: Vec<OsText>,
        /// What it says goes to this file.
        log: OsText,
    },
    /// Remove a machine's nftables table, and its rules in those of others.
    Firewall {
        /// The machine.
        machine: MachineName,
    },
    /// Switch forwarding off on an interface, if no other machine needs it.
    Forwarding {
        /// The file that all who need it have locked.
        path: OsText,
        /// The interface.
        link: String,
    },
}

/// A record that is not of the kind hostel writes; nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("undo {what} {object:?}: {why}")]
pub struct Refused {
    /// Kind.
    pub what: &'static str,
    /// Path or name.
    pub object: String,
    /// Why.
    pub why: &'static str,
}

/// What a journal holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The boot it is of; `None`: the first line is damaged.
    pub boot: Option<String>,
    /// Records in the order they were written.
    pub records: Vec<Undo>,
    /// Complete lines that are no records.
    pub damaged: usize,
}

impl Journal {
    /// Parses a journal. Total: any bytes give some journal.
    pub fn parse(text: &[u8]) -> Self {
        let mut journal = Self::default();
        for line in text.split_inclusive(|b| *b == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { continue };
            match serde_json::from_slice(line) {
                Ok(Undo::Boot { id }) if journal.boot.is_none() => journal.boot = Some(id),
                Ok(Undo::Boot { .. }) => {}
                Ok(record) => journal.records.push(record),
                Err(_) => journal.damaged += 1,
            }
        }
        journal
    }
}

impl Undo {
    /// The record as a line.
    pub fn to_line(&self) -> Vec<u8> {
        // Plain data into memory: cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Whether what it names is gone after a reboot of the host.
    pub fn ends_with_boot(&self) -> bool {
        match self {
            Undo::Leader { .. } | Undo::Cgroup { .. } | Undo::Mount { .. } | Undo::Mapping { .. } | Undo::Link { .. } => true,
            Undo::Interface { .. } | Undo::Zone { .. } | Undo::Address { .. } | Undo::Firewall { .. } | Undo::Forwarding { .. } => true,
            Undo::NetworkName { .. } | Undo::EmptyCgroup { .. } => true,
            Undo::Program { .. } | Undo::Boot { .. } | Undo::Directory { .. } | Undo::Work { .. } | Undo::File { .. } => false,
        }
    }

    /// Checks that this is something hostel makes. `state` is the registry's directory (/run/hostel).
    pub fn check(&self, state: &Path) -> Result<(), Refused> {
        let refuse = |what, object: &dyn std::fmt::Debug, why| Err(Refused { what, object: format!("{object:?}"), why });
        match self {
            Undo::Boot { .. } => Ok(()),
            Undo::Leader { process } if process.pid <= 1 => refuse("process", &process.pid, "no machine's leader has this number"),
            Undo::Leader { .. } => Ok(()),
            Undo::Cgroup { path } => {
                let path = Path::new(path.as_os_str());
                if !is_normal(path) && !is_normal_relative(path) {
                    return refuse("cgroup", &path, "it is not a plain path");
                }
                let mut parts = path.components().skip_while(|c| c.as_os_str() != "hostel");
                if parts.next().is_none() || parts.next().is_none() {
                    return refuse("cgroup", &path, "it is not below a cgroup named hostel");
                }
                // That it is in a cgroup file system is looked at when it is opened.
                Ok(())
            }
            // That it is one is looked at when it is removed, and that takes only what is empty.
            Undo::EmptyCgroup { path } if !is_normal(Path::new(path.as_os_str())) => refuse("cgroup", &path, "it is not a plain path"),
            Undo::Directory { path } | Undo::Work { path } => {
                let path = Path::new(path.as_os_str());
                if !is_normal(path) {
                    return refuse("directory", &path, "it is not a plain absolute path");
                }
                if !path.file_name().is_some_and(is_temporary) {
                    return refuse("directory", &path, "it has no name that hostel gives to temporary directories");
                }
                Ok(())
            }
            Undo::File { path } => {
                let path = Path::new(path.as_os_str());
                if !is_normal(path) {
                    return refuse("file", &path, "it is not a plain absolute path");
                }
                if !is_below(path, state) && !path.file_name().is_some_and(is_temporary) {
                    return refuse("file", &path, "it is neither below the state directory nor a temporary file of hostel");
                }
                Ok(())
            }
            Undo::Mount { path } => {
                let path = Path::new(path.as_os_str());
                if !is_normal(path) {
                    return refuse("mount", &path, "it is not a plain absolute path");
                }
                if !is_below(path, state) && !path.iter().any(is_temporary) {
                    return refuse("mount", &path, "it is neither below the state directory nor in a temporary one of hostel");
                }
                Ok(())
            }
            Undo::Mapping { name } => {
                let rest = name.strip_prefix("hostel-").unwrap_or_default();
                if rest.is_empty() || name.len() > 127 || !rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
                    return refuse("mapped device", &name, "it has no name that hostel gives");
                }
                Ok(())
            }
            Undo::Link { name, alias } => {
                if !is_interface_name(name) {
                    return refuse("link", &name, NO_INTERFACE);
                }
                if alias.strip_prefix("hostel:").is_none_or(str::is_empty) {
                    return refuse("link", &name, "its alias is not one that hostel gives");
                }
                Ok(())
            }
            Undo::NetworkName { name, .. } if MachineName::new(name.as_str()).is_err() => refuse("network name", &name, "it is no machine's name"),
            Undo::NetworkName { .. } => Ok(()),
            Undo::Program { words, directory, log, .. } => {
                let program = words.first().map(|word| Path::new(word.as_os_str()));
                let normal = program.is_some_and(is_normal) && is_normal(Path::new(log.as_os_str()));
                let place = Path::new(directory.as_os_str());
                if !normal || !(is_normal(place) || place == Path::new("/")) {
                    return refuse("program", &words, "its paths are not plain absolute ones");
                }
                Ok(())
            }
            Undo::Interface { host, inside, .. } if !is_interface_name(host) || !is_interface_name(inside) => {
                refuse("interface", &host, NO_INTERFACE)
            }
            Undo::Zone { zone } if zone.is_empty() || !is_interface_name(&format!("vz-{zone}")) => refuse("zone", &zone, NO_INTERFACE),
            Undo::Address { link, .. } if !link.starts_with("vz-") || !is_interface_name(link) => {
                refuse("address on", &link, "it is no zone's bridge")
            }
            Undo::Forwarding { path, link } => {
                let path = Path::new(path.as_os_str());
                if !crate::network::forwarding::is_switch(link) {
                    return refuse("forwarding on", &link, NO_INTERFACE);
                }
                if !is_normal(path) || path.parent() != Some(&state.join("network")) {
                    return refuse("forwarding on", &link, "its file is not below the state directory");
                }
                Ok(())
            }
            Undo::EmptyCgroup { .. } | Undo::Interface { .. } | Undo::Zone { .. } | Undo::Address { .. } | Undo::Firewall { .. } => Ok(()),
        }
    }

    /// Verb and object, for messages.
    pub fn describe(&self) -> String {
        match self {
            Undo::Boot { id } => format!("boot {id}"),
            Undo::Leader { process } => format!("kill process {}", process.pid),
            Undo::Cgroup { path } | Undo::EmptyCgroup { path } => format!("remove cgroup {}", path.to_string_lossy()),
            Undo::Directory { path } | Undo::Work { path } => format!("remove directory {}", path.to_string_lossy()),
            Undo::File { path } => format!("remove {}", path.to_string_lossy()),
            Undo::Mount { path } => format!("unmount {}", path.to_string_lossy()),
            Undo::Mapping { name } => format!("remove mapped device {name}"),
            Undo::Link { name, .. } => format!("delete link {name}"),
            Undo::Interface { host, .. } => format!("rename interface {host} back"),
            Undo::Zone { zone } => format!("remove bridge vz-{zone}"),
            Undo::Address { link, address } => format!("remove address {address} from {link}"),
            Undo::NetworkName { name, .. } => format!("remove network name {name}"),
            Undo::Program { words, .. } => format!("run {}", words.first().map_or(std::borrow::Cow::Borrowed(""), |w| w.to_string_lossy())),
            Undo::Firewall { machine } => format!("remove firewall rules of machine {machine}"),
            Undo::Forwarding { link, .. } => format!("switch forwarding off on {link}"),
        }
    }
}

const NO_INTERFACE: &str = "it is no interface name";

fn is_temporary(name: &std::ffi::OsStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    TEMPORARY_PREFIXES.iter().any(|p| name.as_bytes().strip_prefix(p.as_bytes()).is_some_and(|rest| !rest.is_empty()))
}

/// An absolute path without `.`, `..` or a NUL, other than `/`.
fn is_normal(path: &Path) -> bool {
    path.is_absolute() && path != Path::new("/") && path.strip_prefix("/").is_ok_and(is_normal_relative)
}

fn is_normal_relative(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    !bytes.is_empty()
        && !bytes.contains(&0)
        && path.components().all(|c| matches!(c, Component::Normal(_)))
        // `components` hides "/./"; a path of ours has none.
        && !bytes.split(|b| *b == b'/').any(|part| part == b".")
}

fn is_below(path: &Path, dir: &Path) -> bool {
    path != dir && path.starts_with(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> OsText {
        OsText::from(s)
    }

    #[test]
    fn only_what_hostel_makes() {
        let state = Path::new("/run/hostel");
        let cgroup = |p: &str| Undo::Cgroup { path: text(p) }.check(state).is_ok();
        let dir = |p: &str| Undo::Directory { path: text(p) }.check(state).is_ok();
        let file = |p: &str| Undo::File { path: text(p) }.check(state).is_ok();
        let mount = |p: &str| Undo::Mount { path: text(p) }.check(state).is_ok();
        let link = |n: &str, a: &str| Undo::Link { name: n.into(), alias: a.into() }.check(state).is_ok();
        let leader = |pid| Undo::Leader { process: ProcessId { pid, start: 1 } }.check(state).is_ok();

        for good in ["/sys/fs/cgroup/hostel/a", "/sys/fs/cgroup/memory/hostel/a", "/sys/fs/cgroup/unified/user.slice/hostel/a/b", "hostel/a"] {
            assert!(cgroup(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/hostel",
            "/sys/fs/cgroup/hostel/..",
            "/sys/fs/cgroup/hostel/../a",
            "hostel",
            "/sys/fs/cgroup/hostel/a/../../b",
            "/sys/fs/cgroup/xhostel/a",
            "../hostel/a",
            "/sys/fs/cgroup/./hostel/a",
            "/hostel/a\0b",
        ] {
            assert!(!cgroup(bad), "{bad:?}");
        }
        for good in ["/var/lib/machines/.#hostel-0123", "/a/.hostel-x"] {
            assert!(dir(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "/var/lib/machines/x",
            "/a/.#hostel-",
            "/a/.#hostel-x/..",
            "/a/.#hostel-x/b",
            ".#hostel-x",
            "/a/../.#hostel-x",
            "/run/hostel",
            "/run/hostel/machines/a",
        ] {
            assert!(!dir(bad), "{bad:?}");
        }
        for good in ["/run/hostel/uids/1", "/var/lib/x/.#hostel-pin-1"] {
            assert!(file(good), "{good}");
        }
        for bad in ["/etc/passwd", "/run/hostel", "/run/hostelx/a", "/run/hostel/../../etc/passwd", "run/hostel/x", "/run/hostel/./x"] {
            assert!(!file(bad), "{bad:?}");
        }
        assert!(mount("/run/hostel/machines/a/root") && mount("/var/.#hostel-1/root"));
        assert!(!mount("/") && !mount("/home") && !mount("/run/hostel") && !mount("/run/hostel/../x"));
        let mapping = |n: &str| Undo::Mapping { name: n.into() }.check(state).is_ok();
        assert!(mapping("hostel-a-root-0123"));
        assert!(!mapping("") && !mapping("vg-home") && !mapping("hostel-") && !mapping("hostel-../x") && !mapping("hostel-a b"));
        assert!(link("ve-a", "hostel:a"));
        assert!(!link("ve-a", "hostel:") && !link("eth0", "") && !link("", "hostel:a") && !link("a/b", "hostel:a") && !link("..", "hostel:a"));
        assert!(!link("sixteen-letters-", "hostel:a"));
        let ok = |record: Undo| record.check(state).is_ok();
        let interface = |host: &str, inside: &str| Undo::Interface { host: host.into(), inside: inside.into(), mac: None };
        assert!(ok(interface("eth1", "net0")) && !ok(interface("a/b", "net0")) && !ok(interface("eth1", "")));
        assert!(ok(Undo::Zone { zone: "lan".into() }) && !ok(Undo::Zone { zone: "".into() }) && !ok(Undo::Zone { zone: "a/b".into() }));
        let address = |link: &str| Undo::Address { link: link.into(), address: Ipv4Addr::new(10, 1, 2, 3) };
        assert!(ok(address("vz-lan")) && !ok(address("eth0")) && !ok(address("vz-/")));
        let forwarding = |path: &str, link: &str| Undo::Forwarding { path: text(path), link: link.into() };
        assert!(ok(forwarding("/run/hostel/network/forwarding 7 eth0", "eth0")));
        assert!(ok(forwarding("/run/hostel/network/forwarding 7 ipv6 all", "ipv6/all")) && !ok(forwarding("/run/hostel/network/x", "all")));
        for (path, link) in [
            ("/run/hostel/network/x", "../x"),
            ("/run/hostel/network/x", "ipv6/../x"),
            ("/etc/x", "eth0"),
            ("/run/hostel/network/../x", "eth0"),
            ("/run/hostel/x", "eth0"),
        ] {
            assert!(!ok(forwarding(path, link)), "{path} {link}");
        }
        let program = |word: &str, directory: &str, log: &str| Undo::Program {
            words: vec![text(word), text("a b")],
            directory: text(directory),
            env: vec![text("ACTION=teardown")],
            log: text(log),
        };
        assert!(ok(program("/srv/db/upper.sh", "/", "/var/log/x.log")) && ok(program("/bin/sh", "/srv", "/l")));
        for (word, directory, log) in [("sh", "/", "/l"), ("/a/../b", "/", "/l"), ("/a", "x", "/l"), ("/a", "/", "l"), ("/a", "/b/..", "/l")] {
            assert!(!ok(program(word, directory, log)), "{word} {directory} {log}");
        }
        assert!(!ok(Undo::Program { words: vec![], directory: text("/"), env: vec![], log: text("/l") }));
        let network = |name: &str| Undo::NetworkName { name: name.into(), namespace: 7 };
        assert!(ok(network("web")) && !ok(network("../web")));
        assert!(leader(2) && !leader(1) && !leader(0) && !leader(-1));
    }

    #[test]
    fn journals_in_any_condition() {
        let records = [
            Undo::Boot { id: "b".into() },
            Undo::Cgroup { path: text("/sys/fs/cgroup/hostel/a") },
            Undo::Leader { process: ProcessId { pid: 7, start: 9 } },
            Undo::Link { name: "ve-a".into(), alias: "hostel:a".into() },
        ];
        let whole: Vec<u8> = records.iter().flat_map(Undo::to_line).collect();
        let journal = Journal::parse(&whole);
        assert_eq!((journal.boot.as_deref(), &journal.records[..], journal.damaged), (Some("b"), &records[1..], 0));
        // Cut anywhere: complete lines count, the torn one does not, nothing is "damaged".
        for cut in 0..whole.len() {
            let part = Journal::parse(&whole[..cut]);
            let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
            assert_eq!(part.records.len() + usize::from(part.boot.is_some()), lines, "{cut}");
            assert_eq!(part.damaged, 0, "{cut}");
        }
        // One bad byte costs one line, two when it was the end of the first.
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] = 0xff;
            let part = Journal::parse(&bad);
            assert!(part.records.len() + usize::from(part.boot.is_some()) >= 2, "{at}");
        }
        assert_eq!(Journal::parse(b"").records, []);
        assert_eq!(Journal::parse(b"\n\n{}\n[1]\n").damaged, 4);
    }
}
