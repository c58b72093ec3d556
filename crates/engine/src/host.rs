//! What this host is and can do, captured once before planning.
//!
//! A plain value: tests plan against made-up hosts. Capturing reads only what the spec at hand needs, because it is on
//! the start path.

use std::fs;
use std::path::{Path, PathBuf};

use hostel_spec::{
    Arrange as _, Cable, CapName, MachineSpec, MachineUuid, NetworkMode, ResolvConf, Rlimit, RlimitName, Timezone, TreeSource, UserNamespace,
};
use hostel_sys::{caps, proc};
use rustix::fs::{Mode, OFlags};

use crate::cgroup::Layout;
use crate::credentials::{self, Loaded};
use crate::error::{Context, Error, Result};
use crate::journal::JournalFacts;
use crate::peers::{self, Systemd};
use crate::users::{self, HostUser};

/// The host as the plan sees it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where cgroups are.
    pub cgroups: Layout,
    /// The host's own name, for machines made of `/`.
    pub hostname: String,
    /// `ID`, `VERSION_ID`, `BUILD_ID`, `VARIANT_ID` of the host's os-release, those that are set, lower case names.
    pub os_release: Vec<(String, String)>,
    /// The host's os-release file.
    pub os_release_content: Option<Vec<u8>>,
    /// The host's resolver configuration, when it is asked for and exists.
    pub resolv_conf: Option<ResolvConfSource>,
    /// The host's time zone, when it is asked for.
    pub timezone: Option<HostTimezone>,
    /// The host's machine id, needed for stable hardware addresses.
    pub machine_id: Option<MachineUuid>,
    /// systemd runs the host, and the machine is to be told to it.
    pub systemd: Option<Systemd>,
    /// systemd-networkd gives addresses on the machine's cable.
    pub networkd: bool,
    /// Kernel has user namespaces.
    pub user_namespaces: bool,
    /// A tmpfs keeps `user.*` attributes (Linux 6.6).
    pub tmpfs_user_attributes: bool,
    /// Kernel has seccomp filters.
    pub seccomp: bool,
    /// Permissions of /dev/net/tun, if it exists.
    pub tun: Option<u32>,
    /// Permissions of /dev/fuse, if it exists.
    pub fuse: Option<u32>,
    /// Limits of the host's PID 1 that machines get too: NPROC and SIGPENDING, (soft, hard).
    pub init_limits: Vec<Rlimit>,
    /// Limits asked for that this process may not raise so far, and how far it may.
    pub low_limits: Vec<(RlimitName, u64)>,
    /// What only the plan of an OCI bundle asks.
    pub for_bundle: BundleFacts,
    /// Real file systems mounted below `/` (for machines made of the host): path and type.
    pub submounts: Vec<(PathBuf, String)>,
    /// What there is of the machine's journal; filled in when its id is known.
    pub journal: Option<JournalFacts>,
    /// The users asked for.
    pub users: Vec<HostUser>,
    /// The credentials asked for.
    pub credentials: Vec<Loaded>,
}

/// Facts for machines of OCI bundles.
#[derive(Debug, Clone, Default)]
pub struct BundleFacts {
    /// AppArmor is at work.
    pub apparmor: bool,
    /// SELinux is at work.
    pub selinux: bool,
    /// Capabilities that this process has and so can give.
    pub capabilities: hostel_spec::CapSet,
    /// It is in a user namespace, where nobody makes device nodes.
    pub without_nodes: bool,
}

impl BundleFacts {
    fn capture() -> Self {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        Self {
            apparmor: enabled.is_ok_and(|text| text.trim() == "Y"),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            capabilities: hostel_spec::CapSet(caps::get().map_or(u64::MAX, |(permitted, ..)| permitted)),
            without_nodes: fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])),
        }
    }
}

/// The file that `--resolv-conf=…-host` means, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConfSource {
    /// Where.
    pub path: PathBuf,
    /// Its content, for the copying modes.
    pub content: Vec<u8>,
    /// A resolver stub listens on 127.0.0.53.
    pub stub: bool,
}

/// What the host's /etc/localtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostTimezone {
    /// A link to this zone (`Europe/Berlin`).
    Zone(String),
    /// A regular file.
    File,
    /// Nothing (UTC).
    Missing,
}

/// Refuses to go on as another user than root.
pub fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new("start", "machine", "Need to be root.").hint("run it with sudo; machines without root come later"))
}

/// A label that cannot be applied stops the start.
fn require_selinux(spec: &MachineSpec) -> Result<()> {
    let wanted = spec.process.selinux_label.as_ref().or(spec.security.selinux_files.as_ref());
    match wanted {
        Some(label) if !Path::new("/sys/fs/selinux/enforce").exists() => {
            Err(Error::new("apply", format!("SELinux label {label:?}"), "SELinux is not enabled on this host"))
        }
        _ => Ok(()),
    }
}

impl Host {
    /// Captures what planning `spec` needs.
    pub fn capture(spec: &MachineSpec) -> Result<Host> {
        require_selinux(spec)?;
        let cgroups = Layout::detect_for(&spec.resources).map_err(|e| Error::new("find", "cgroups", e))?;
        let (os_release_content, os_release) = os_release();
        let private = spec.network.mode == NetworkMode::Private;
        let of_host = spec.root.tree == TreeSource::Host;
        Ok(Host {
            cgroups,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            os_release,
            os_release_content,
            resolv_conf: wants_resolver(spec).then(|| resolver(spec.integration.resolv_conf, private)).flatten(),
            timezone: (spec.integration.timezone != Timezone::Off).then(timezone),
            machine_id: if spec.network.has_links() { machine_id() } else { None },
            systemd: peers::look(&spec.unit),
            networkd: spec.network.is_addressed() && crate::network::networkd_serves(matches!(spec.network.cable, Some(Cable::Zone(_)))),
            user_namespaces: spec.namespaces.user == UserNamespace::Host || Path::new("/proc/self/ns/user").exists(),
            tmpfs_user_attributes: kernel_at_least(6, 6),
            seccomp: true,
            tun: device_mode(c"/dev/net/tun"),
            fuse: device_mode(c"/dev/fuse"),
            init_limits: init_limits(),
            low_limits: low_limits(&spec.process.rlimits),
            for_bundle: if spec.bundle.is_some() { BundleFacts::capture() } else { BundleFacts::default() },
            submounts: if of_host {
                submounts(&fs::read_to_string("/proc/self/mountinfo").context("read", "/proc/self/mountinfo")?)
            } else {
                Vec::new()
            },
            journal: None,
            users: users::of_host(&spec.bind_users.names)?,
            credentials: credentials::load(&spec.credentials)?,
        })
    }
}

/// Reads a file that is rarely longer than 4 KiB: open, read, close, where std also asks for its size, twice for its end, and
/// once for the close-on-exec flag it has just set.
fn read_small(path: &str) -> std::io::Result<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = vec![0; 4096];
    let length = rustix::io::read(&file, &mut text)?;
    if length == text.len() {
        return fs::read(path);
    }
    text.truncate(length);
    Ok(text)
}

/// Whether this kernel is of that version or newer; one that does not say counts as old.
fn kernel_at_least(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    let mut numbers = name
        .release()
        .to_bytes()
        .split(|b| !b.is_ascii_digit())
        .map(|n| std::str::from_utf8(n).ok().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

fn device_mode(path: &std::ffi::CStr) -> Option<u32> {
    let stat = rustix::fs::stat(path).ok()?;
    (rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice).then_some(stat.st_mode & 0o777)
}

fn init_limits() -> Vec<Rlimit> {
    [RlimitName::Nproc, RlimitName::Sigpending]
        .into_iter()
        .filter_map(|name| {
            let (soft, hard) = proc::get_rlimit(1, name as u32).ok()?;
            Some(Rlimit { name, soft, hard })
        })
        .collect()
}

/// Raising a hard limit takes CAP_SYS_RESOURCE, which root in a container often lacks.
fn low_limits(wanted: &[Rlimit]) -> Vec<(RlimitName, u64)> {
    if wanted.is_empty() || caps::get().is_ok_and(|(_, effective, _)| effective >> CapName::SYS_RESOURCE.0 & 1 == 1) {
        return Vec::new();
    }
    let limit = |l: &Rlimit| match (proc::get_rlimit(0, l.name as u32), l.hard) {
        (Ok((_, Some(most))), hard) if hard.is_none_or(|h| h > most) => Some((l.name, most)),
        _ => None,
    };
    wanted.iter().filter_map(limit).collect()
}

fn wants_resolver(spec: &MachineSpec) -> bool {
    match spec.integration.resolv_conf {
        ResolvConf::Off | ResolvConf::Delete => false,
        ResolvConf::Auto => spec.network.mode != NetworkMode::Private && spec.root.tree != TreeSource::Host,
        _ => true,
    }
}

fn machine_id() -> Option<MachineUuid> {
    MachineUuid::parse(fs::read_to_string("/etc/machine-id").ok()?.trim()).ok()
}

/// Reads the host's os-release: (content, fields).
fn os_release() -> (Option<Vec<u8>>, Vec<(String, String)>) {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Ok(text) = read_small(path) {
            let fields = parse_os_release(&String::from_utf8_lossy(&text));
            return (Some(text), fields);
        }
    }
    (None, Vec::new())
}

/// The four fields that go into the payload's environment, in a fixed order.
pub fn parse_os_release(text: &str) -> Vec<(String, String)> {
    let field = |key: &str| {
        text.lines().find_map(|line| {
            let value = line.strip_prefix(key)?.strip_prefix('=')?.trim();
            let quoted = |q: char| value.strip_prefix(q).and_then(|v| v.strip_suffix(q));
            Some(quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_string())
        })
    };
    [("ID", "id"), ("VERSION_ID", "version_id"), ("BUILD_ID", "build_id"), ("VARIANT_ID", "variant_id")]
        .into_iter()
        .filter_map(|(key, name)| Some((name.to_string(), field(key)?)))
        .collect()
}

fn resolver(mode: ResolvConf, private: bool) -> Option<ResolvConfSource> {
    use ResolvConf::*;
    let _ = private;
    let stub_path = "/run/systemd/resolve/stub-resolv.conf";
    let uplink_path = "/run/systemd/resolve/resolv.conf";
    let stub = Path::new("/run/systemd/resolve/io.systemd.Resolve").exists();
    let path = match mode {
        CopyStatic | ReplaceStatic | BindStatic => "/usr/lib/systemd/resolv.conf",
        CopyUplink | ReplaceUplink | BindUplink => uplink_path,
        CopyStub | ReplaceStub | BindStub => stub_path,
        Auto if stub => stub_path,
        _ => "/etc/resolv.conf",
    };
    let content = read_small(path).ok()?;
    Some(ResolvConfSource { path: path.into(), content, stub })
}

fn timezone() -> HostTimezone {
    match fs::read_link("/etc/localtime") {
        Ok(target) => {
            let target = target.to_string_lossy().into_owned();
            match target.split_once("zoneinfo/") {
                Some((_, zone)) if !zone.is_empty() && !zone.split('/').any(|part| part == ".." || part == "." || part.is_empty()) => {
                    HostTimezone::Zone(zone.into())
                }
                _ => HostTimezone::File,
            }
        }
        Err(_) if Path::new("/etc/localtime").exists() => HostTimezone::File,
        Err(_) => HostTimezone::Missing,
    }
}

/// Disk file systems mounted below `/`, outermost first. Pseudo file systems, /run, /tmp, /dev, /proc, /sys and media are not part of a system.
pub fn submounts(mountinfo: &str) -> Vec<(PathBuf, String)> {
    const DISK: [&str; 10] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "squashfs", "erofs", "bcachefs"];
    const NOT_SYSTEM: [&str; 10] = ["/dev", "/proc", "/sys", "/run", "/tmp", "/mnt", "/media", "/var/lib/docker", "/var/lib/containers", "/snap"];
    let mut out: Vec<(PathBuf, String)> = mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let target = String::from_utf8_lossy(&hostel_spec::unescape_octal(left.split(' ').nth(4)?.as_bytes())).into_owned();
            let kind = right.split(' ').next()?;
            let below = |dir: &&str| target == **dir || target.starts_with(&format!("{dir}/"));
            (target != "/" && DISK.contains(&kind) && !NOT_SYSTEM.iter().any(below)).then(|| (PathBuf::from(&target), kind.to_string()))
        })
        .filter(|(path, _)| path.is_dir())
        .collect();
    out.arrange();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_fields() {
        let text = "NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nVARIANT_ID='x y'\n";
        let got = parse_os_release(text);
        assert_eq!(got, [("id".into(), "debian".into()), ("version_id".into(), "12".into()), ("variant_id".into(), "x y".into())]);
    }
}
