//! Units that this program brings, and units of systemd's own that are nothing here.

/// Targets for trees that have none: `(name, text)`. A file of the tree counts instead.
pub const TARGETS: &[(&str, &str)] = &[
    ("default.target", "[Unit]\nDescription=Default Target\nRequires=multi-user.target\nAfter=multi-user.target\nAllowIsolate=yes\n"),
    ("multi-user.target", "[Unit]\nDescription=Multi-User System\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"),
    ("graphical.target", "[Unit]\nDescription=Graphical Interface\nRequires=multi-user.target\nAfter=multi-user.target\nAllowIsolate=yes\n"),
    (
        "basic.target",
        "[Unit]\nDescription=Basic System\nRequires=sysinit.target\nAfter=sysinit.target\nWants=sockets.target timers.target paths.target slices.target\n\
         After=sockets.target paths.target slices.target\n",
    ),
    ("sysinit.target", "[Unit]\nDescription=System Initialization\nWants=local-fs.target\nAfter=local-fs.target\n"),
    ("rescue.target", "[Unit]\nDescription=Rescue Mode\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n"),
    ("emergency.target", "[Unit]\nDescription=Emergency Mode\nAllowIsolate=yes\n"),
    ("sockets.target", "[Unit]\nDescription=Socket Units\n"),
    ("timers.target", "[Unit]\nDescription=Timer Units\n"),
    ("paths.target", "[Unit]\nDescription=Path Units\n"),
    ("slices.target", "[Unit]\nDescription=Slice Units\n"),
    ("local-fs.target", "[Unit]\nDescription=Local File Systems\nDefaultDependencies=no\nConflicts=shutdown.target\n"),
    ("local-fs-pre.target", "[Unit]\nDescription=Preparation for Local File Systems\n"),
    ("remote-fs.target", "[Unit]\nDescription=Remote File Systems\n"),
    ("network.target", "[Unit]\nDescription=Network\n"),
    ("network-pre.target", "[Unit]\nDescription=Preparation for Network\n"),
    ("network-online.target", "[Unit]\nDescription=Network is Online\nAfter=network.target\n"),
    ("nss-lookup.target", "[Unit]\nDescription=Host and Network Name Lookups\n"),
    ("nss-user-lookup.target", "[Unit]\nDescription=User and Group Name Lookups\n"),
    ("time-sync.target", "[Unit]\nDescription=System Time Synchronized\n"),
    ("time-set.target", "[Unit]\nDescription=System Time Set\n"),
    ("rpcbind.target", "[Unit]\nDescription=RPC Port Mapper\n"),
    ("getty.target", "[Unit]\nDescription=Login Prompts\n"),
    ("shutdown.target", "[Unit]\nDescription=System Shutdown\nDefaultDependencies=no\n"),
];

/// The text of a target that this program brings.
pub fn target(name: &str) -> Option<&'static str> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Targets that are reached when another init has brought the system up; a manager beside that one starts nothing for them.
const BROUGHT_UP: &[&str] = &[
    "sysinit.target",
    "basic.target",
    "sockets.target",
    "timers.target",
    "paths.target",
    "slices.target",
    "swap.target",
    "local-fs.target",
    "local-fs-pre.target",
    "remote-fs.target",
    "remote-fs-pre.target",
    "cryptsetup.target",
    "cryptsetup-pre.target",
    "network.target",
    "network-pre.target",
    "network-online.target",
    "nss-lookup.target",
    "nss-user-lookup.target",
    "time-set.target",
    "time-sync.target",
    "getty.target",
];

/// Whether a target is one that whoever brought the system up has reached.
pub fn is_brought_up(name: &str) -> bool {
    BROUGHT_UP.contains(&name)
}

const DEVICES: &str = "a machine has no devices of its own";
const LOGS: &str = "this manager keeps the output of units itself";

/// Units of systemd that are not run: `(name, or the beginning of one before *; why)`. Who needs them has them.
const PASSED_OVER: &[(&str, &str)] = &[
    ("systemd-journald*", LOGS),
    ("systemd-journal-flush.service", LOGS),
    ("systemd-journal-catalog-update.service", LOGS),
    ("systemd-udev*", DEVICES),
    ("systemd-hwdb-update.service", DEVICES),
    ("systemd-modules-load.service", DEVICES),
    ("systemd-logind*", "sessions are not kept here"),
    ("systemd-initctl*", "nothing writes to /run/initctl here"),
    ("systemd-ask-password*", "no password is asked for"),
    ("systemd-update-utmp*", "utmp is not kept here"),
    ("systemd-remount-fs.service", "the machine's root is mounted as it should be"),
    ("systemd-machine-id-commit.service", "the machine's id comes from outside"),
    ("systemd-binfmt.service", "binary formats are the host's"),
    ("systemd-random-seed.service", "the random generator is the host's"),
    ("systemd-boot-random-seed.service", "the random generator is the host's"),
    ("systemd-pcrphase*", "a machine has no TPM of its own"),
    ("systemd-firstboot.service", "a machine is prepared from outside"),
];

/// Why a unit of this name is passed over: it counts as up without being run.
pub fn passed_over(name: &str) -> Option<&'static str> {
    let fits = |pattern: &str| pattern.strip_suffix('*').map_or(pattern == name, |begin| name.starts_with(begin));
    PASSED_OVER.iter().find(|(pattern, _)| fits(pattern)).map(|(_, why)| *why)
}
