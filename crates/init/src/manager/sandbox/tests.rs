//! Settings to values, values to mounts.

use hostel_process::seccomp::Arch;
use hostel_process::seccomp::service::{Denial, NAMESPACES};

use super::mounts::{Missing, Mounts, Step, What, mounts};
use super::settings::{Access, Home, Sandbox, System};
use super::{Own, place};
use crate::keys::{self, Use};
use crate::testing::Tree;

fn sandbox(text: &str) -> (Option<Box<Sandbox>>, Vec<String>) {
    let tree = Tree::new("sandbox");
    tree.unit("a.service", &format!("[Service]\nExecStart=/bin/a\n{text}\n"));
    let mut said = Vec::new();
    (Sandbox::of(&tree.load("a.service"), &mut |text| said.push(text)), said)
}

fn good(text: &str) -> Sandbox {
    let (found, said) = sandbox(text);
    assert_eq!(said, Vec::<String>::new(), "{text}");
    *found.unwrap()
}

/// A usual tree: /bin and /lib are links, some things are not there.
fn resolve(path: &str) -> Option<String> {
    for (link, to) in [("/bin", "/usr/bin"), ("/lib", "/usr/lib"), ("/var/run", "/run")] {
        if super::mounts::is_within(path, link) {
            return Some(path.replacen(link, to, 1));
        }
    }
    (!["/efi", "/missing", "/proc/acpi"].contains(&path)).then(|| path.to_owned())
}

fn list(text: &str) -> Mounts {
    mounts(&good(text), Some(["/tmp/x/tmp", "/var/tmp/x/tmp"]).filter(|_| text.contains("PrivateTmp")), true, &resolve).unwrap()
}

fn shown(list: &Mounts) -> Vec<String> {
    let word = |step: &Step| match &step.what {
        What::Inaccessible => "hidden".to_owned(),
        What::Bind { source, .. } => format!("<{source}"),
        What::Devices => "devices".to_owned(),
        What::Processes { .. } => "processes".to_owned(),
        What::ReadOnly => "read".to_owned(),
        What::Writable => "write".to_owned(),
        What::Empty(options) => format!("empty {options}"),
        What::Untouched => "untouched".to_owned(),
    };
    list.steps.iter().map(|step| format!("{} {}{}", step.path, word(step), if step.read_only { " ro" } else { "" })).collect()
}

#[test]
fn nothing_asked_is_nothing() {
    assert_eq!(sandbox("User=x\nProtectSystem=no\nPrivateTmp=no\nRestrictNamespaces=no").0, None);
}

#[test]
fn values() {
    let of = good(
        "ProtectSystem=full\nProtectHome=tmpfs\nReadWritePaths=-/a +/b \"/c d\"\nInaccessibleDirectories=/e\nBindPaths=/f:/g:norbind -/h\n\
         TemporaryFileSystem=/i:ro,size=1M\nMountFlags=slave\nProtectClock=yes\nProtectKernelModules=yes\nStateDirectory=s\nRootDirectory=/r\n\
         SetCredential=n:a\\x41\nLoadCredential=m:/p\nLoadCredential=l\n",
    );
    assert_eq!((of.system, of.home, of.propagation, of.lost), (System::Full, Home::Empty, Some("slave"), 1 << 16 | 1 << 25 | 1 << 35));
    let paths: Vec<(Access, &str, bool)> = of.access.iter().map(|(access, place)| (*access, place.path.as_str(), place.optional)).collect();
    assert_eq!(paths, [(Access::None, "/e", false), (Access::Write, "/a", true), (Access::Write, "/b", false), (Access::Write, "/c d", false)]);
    let binds: Vec<_> = of.binds.iter().map(|b| (b.source.path.as_str(), b.source.optional, b.target.as_str(), b.recursive)).collect();
    assert_eq!(binds, [("/f", false, "/g", false), ("/h", true, "/h", true)]);
    assert_eq!((of.own.as_slice(), of.given.as_slice()), (&["/var/lib/s".to_owned()][..], &[("n".to_owned(), b"aA".to_vec())][..]));
    assert_eq!(of.loaded, [("m".to_owned(), "/p".to_owned()), ("l".to_owned(), "l".to_owned())]);
    assert!(of.needs_mounts() && of.insists_on_mounts());
    let own = good(
        "IOSchedulingClass=idle\nIOSchedulingPriority=7\nCPUSchedulingPolicy=rr\nCPUSchedulingPriority=5\nTimerSlackNSec=1us\nSecureBits=noroot noroot-locked\nCoredumpFilter=default\nKeyringMode=shared",
    );
    let expected = Own {
        io: Some(3 << 13),
        scheduler: Some((2, 5, false)),
        slack: Some(1000),
        secure: Some(3),
        dump: Some(0x33),
        keyring: Some(true),
        ..Own::default()
    };
    assert_eq!(own.process, expected);
}

#[test]
fn bad_values_are_told_and_passed_over() {
    let bad = "ProtectSystem=most\nProtectHome=often\nReadOnlyPaths=relative /x/../y /good\nBindPaths=/a:/b:what\nSystemCallFilter=nonsense read:EWHAT read\n\
               RestrictAddressFamilies=AF_NOPE\nRestrictNamespaces=moon\nSystemCallErrorNumber=EWHAT\nIOSchedulingClass=slow\nSetCredential=nothing";
    let (found, said) = sandbox(bad);
    let found = found.unwrap();
    assert_eq!((found.system, found.access.len(), found.binds.len(), found.calls.calls.unwrap().items.len()), (System::No, 1, 0, 1));
    assert_eq!(said.len(), 12, "{said:#?}");
}

#[test]
fn calls() {
    let of = good(
        "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\nSystemCallErrorNumber=EPERM\nSystemCallArchitectures=native\n\
         RestrictAddressFamilies=AF_UNIX AF_INET\nRestrictAddressFamilies=AF_INET6\nRestrictNamespaces=~user mnt\nLockPersonality=yes\nPrivateDevices=yes",
    )
    .calls;
    let list = of.calls.unwrap();
    let items: Vec<(&str, bool)> = list.items.iter().map(|item| (item.name.as_str(), item.on)).collect();
    assert!(list.allow);
    assert_eq!(items, [("@system-service", true), ("@privileged", false), ("@resources", false)]);
    assert_eq!((of.denial, of.families, of.personality), (Some(Denial::Errno(1)), Some((true, vec![1, 2, 10])), Some(0)));
    assert!(of.arches.is_some_and(|arches: Vec<Arch>| arches.len() == 1));
    assert_eq!((of.namespaces, of.deny), (0x1002_0000, vec!["@raw-io"]));
    let all = NAMESPACES.iter().fold(0, |all, (_, flag)| all | flag);
    for (text, denied) in [("yes", all), ("no", 0), ("net", all & !0x4000_0000), ("~net", 0x4000_0000)] {
        let found = sandbox(&format!("NoNewPrivileges=yes\nPrivateIPC=yes\nRestrictNamespaces={text}")).0.unwrap().calls.namespaces;
        assert_eq!(found, denied, "{text}");
    }
    assert_eq!(good("RestrictAddressFamilies=none").calls.families, Some((true, Vec::new())));
    let deny = good("SystemCallFilter=~@mount swapon:ENOSYS").calls.calls.unwrap();
    assert!(!deny.allow && deny.items.iter().all(|item| item.on) && deny.items[1].denial == Some(Denial::Errno(38)));
}

#[test]
fn protected_systems() {
    assert_eq!(shown(&list("ProtectSystem=yes")), ["/boot read ro", "/usr read ro"]);
    assert_eq!(shown(&list("ProtectSystem=full\nReadWritePaths=/etc/x /srv")), ["/boot read ro", "/etc read ro", "/etc/x write", "/usr read ro"]);
    assert_eq!(
        shown(&list("ProtectSystem=strict\nProtectHome=read-only\nStateDirectory=s\nReadWritePaths=/var/run/d")),
        // homes are read-only already
        ["/ read ro", "/dev untouched", "/proc untouched", "/run/d write", "/sys untouched", "/var/lib/s write"]
    );
    // of equal paths read-only counts, as systemd has it
    assert_eq!(shown(&list("ProtectSystem=full\nReadWritePaths=/etc")), ["/boot read ro", "/etc read ro", "/usr read ro"]);
}

#[test]
fn what_is_below_others() {
    assert_eq!(
        shown(&list("InaccessiblePaths=/home\nReadOnlyPaths=/home/x /bin\nBindReadOnlyPaths=/bin:/opt\nTemporaryFileSystem=/var:ro")),
        ["/home hidden ro", "/opt </bin ro", "/usr/bin read ro", "/var empty mode=0755, ro"]
    );
    assert_eq!(shown(&list("PrivateTmp=yes\nReadWritePaths=-/missing")), ["/tmp </tmp/x/tmp", "/var/tmp </var/tmp/x/tmp"]);
    assert_eq!(
        shown(&list("ProtectHome=tmpfs\nBindPaths=/home/u")),
        ["/home empty mode=0755 ro", "/home/u </home/u", "/root empty mode=0755 ro", "/run/user empty mode=0755 ro"]
    );
    assert_eq!(mounts(&good("ReadOnlyPaths=/missing"), None, true, &resolve), Err(Missing("/missing".into())));
    assert_eq!(
        shown(&list("PrivateDevices=yes\nProtectKernelLogs=yes\nProtectProc=invisible")),
        ["/dev devices ro", "/dev/kmsg hidden ro", "/proc processes", "/proc/kmsg hidden ro"]
    );
    let exec = list("NoExecPaths=/\nExecPaths=/bin /lib");
    assert_eq!(exec.exec, [("/".to_owned(), false), ("/usr/bin".to_owned(), true), ("/usr/lib".to_owned(), true)]);
    // read-only with all of /sys
    assert!(list("ProtectKernelTunables=yes\nProtectControlGroups=yes").steps.iter().all(|s| s.path != "/sys/fs/cgroup" || s.read_only));
}

/// The 45 keys for sandboxes and 19 for resources that units of the corpus use.
const CORPUS: &str = "PrivateTmp ProtectSystem ProtectHome NoNewPrivileges CapabilityBoundingSet ProtectControlGroups MemoryDenyWriteExecute \
    SystemCallFilter PrivateDevices ProtectKernelModules RestrictNamespaces LockPersonality SystemCallArchitectures RestrictAddressFamilies \
    ProtectKernelTunables RestrictRealtime ProtectKernelLogs DeviceAllow TasksMax LoadCredential ProtectHostname RestrictSUIDSGID \
    ReadWritePaths IOSchedulingClass ProtectProc ProtectClock PrivateNetwork OOMScoreAdjust AmbientCapabilities Slice SystemCallErrorNumber \
    IPAddressDeny CPUSchedulingPolicy DynamicUser TTYVHangup TTYReset TTYPath UtmpIdentifier PrivateUsers IOSchedulingPriority Delegate \
    DevicePolicy CPUWeight ProcSubset PrivateMounts TTYVTDisallocate SecureBits SELinuxContext ReadOnlyPaths PAMName InaccessiblePaths \
    MountAPIVFS MemoryMax MemoryHigh KeyringMode IPAddressAllow IOWeight BindReadOnlyPaths AppArmorProfile";

#[test]
fn keys_of_the_corpus_are_honoured_or_said_to_be_not() {
    let mut kept = Vec::new();
    for key in CORPUS.split_ascii_whitespace() {
        match keys::usage("Service", key) {
            Some(Use::Counts) => {}
            Some(Use::Kept) => {
                let tree = Tree::new("corpus-key");
                let value = if keys::shape("Service", key) == Some(keys::Shape::Bool) { "yes" } else { "1" };
                tree.unit("a.service", &format!("[Service]\nExecStart=/bin/a\n{key}={value}\n"));
                let found = crate::manager::config::degraded(&tree.load("a.service"));
                assert!(found.iter().any(|d| d.setting == format!("{key}={value}")), "{key} is lost in silence");
                kept.push(key);
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    assert!(kept.len() < 16, "{kept:?}");
}

#[test]
fn a_place_without_powers_says_so() {
    let none =
        place::Here { mounts: false, processes: false, network: false, ipc: false, hostname: false, users: false, keys: false, filters: false };
    let all = place::Here { mounts: true, processes: true, network: true, ipc: true, hostname: true, users: true, keys: true, filters: true };
    for key in ["ProtectSystem", "PrivateNetwork", "PrivateUsers", "SystemCallFilter", "ProtectProc", "BindPaths", "KeyringMode"] {
        assert!(place::lost(key, none).is_some() && place::lost(key, all).is_none() && place::depends(key), "{key}");
    }
    assert!(!place::depends("User"));
}
