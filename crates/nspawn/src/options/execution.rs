//! What runs, as whom, under which name and in which user namespace (spec/nspawn.md 1.1b, 1.1c).

use super::OptionId as Id;
use super::OptionRow;
use super::Takes::{Maybe, Nothing, Value};

pub(super) const EXECUTION: &[OptionRow] = &[
    OptionRow::new(Id::AsPid2, "a", &["as-pid2"], Nothing, "Run the command as PID 2 below a small init").since(229).key("[Exec] ProcessTwo="),
    OptionRow::new(Id::Boot, "b", &["boot"], Nothing, "Boot the tree's init; arguments go to it").since(183).key("[Exec] Boot=").better(
        "also stops sysvinit, OpenRC, runit, s6, finit and busybox cleanly; arguments that begin with a dash stay arguments even with a `=` in them",
    ),
    OptionRow::new(Id::Chdir, "", &["chdir"], Value("PATH"), "Working directory inside the machine").since(229).key("[Exec] WorkingDirectory="),
    OptionRow::new(Id::Setenv, "E", &["setenv"], Value("NAME[=VALUE]"), "Environment variable for PID 1; without a value, the caller's")
        .since(209)
        .key("[Exec] Environment="),
    OptionRow::new(Id::Uid, "u", &["uid"], Value("USER"), "Run the command as this user or uid of the machine")
        .since(30)
        .key("[Exec] User=")
        .better("the machine's user database is read directly; its getent is not needed"),
    OptionRow::new(Id::KillSignal, "", &["kill-signal"], Value("SIGNAL"), "Signal that asks PID 1 to shut down")
        .since(220)
        .key("[Exec] KillSignal=")
        .better("the default of --boot fits the init that is found, not only systemd"),
    OptionRow::new(Id::NotifyReady, "", &["notify-ready"], Value("BOOL"), "Report ready when the machine does, not when it is started")
        .since(231)
        .key("[Exec] NotifyReady="),
    OptionRow::new(Id::SuppressSync, "", &["suppress-sync"], Value("BOOL"), "Make sync(2) and its like do nothing")
        .since(250)
        .key("[Exec] SuppressSync="),
];

pub(super) const IDENTITY: &[OptionRow] = &[
    OptionRow::new(Id::Machine, "M", &["machine"], Value("NAME"), "Name of the machine (default: the directory's)").since(202),
    OptionRow::new(Id::Hostname, "", &["hostname"], Value("NAME"), "Host name inside (default: the machine's name)")
        .since(239)
        .key("[Exec] Hostname="),
    OptionRow::new(Id::Uuid, "", &["uuid"], Value("UUID"), "Machine id for a tree that has none").since(183).trusted_key("[Exec] MachineID="),
];

pub(super) const UNIT: &[OptionRow] = &[
    OptionRow::new(Id::Slice, "S", &["slice"], Value("SLICE"), "Slice of the machine's scope, where systemd runs the host")
        .since(206)
        .differs("on a host that systemd does not run it has no effect, with a notice"),
    OptionRow::new(Id::Property, "", &["property"], Value("NAME=VALUE"), "Limit as in systemd.resource-control(5), for example MemoryMax=1G")
        .since(220)
        .trusted_key("[X-Hostel-Resources] Property=")
        .differs("written to the machine's own cgroup, with --keep-unit and without systemd too, and to its scope where there is one; properties that are no limits are refused by name"),
    OptionRow::new(Id::Register, "", &["register"], Value("BOOL"), "Tell systemd-machined: yes, no, or auto, if it is there (default)")
        .since(209)
        .differs("on a host that systemd does not run nobody is asked, and yes gives a notice; hostel lists its machines all the same"),
    OptionRow::new(Id::KeepUnit, "", &["keep-unit"], Nothing, "Stay in the unit we are in; a reboot ends with status 133 instead of starting again")
        .since(209)
        .better("each machine gets a cgroup of its own, in the unit if that is delegated and nobody else is in it, so that two from one unit do not share one; else beside systemd's, where it cannot be registered"),
];

pub(super) const USERS: &[OptionRow] = &[
    OptionRow::new(Id::PrivateUsers, "", &["private-users"], Maybe("MODE"), "User namespace: no, yes, pick, identity or BASE[:COUNT]")
        .since(220)
        .trusted_key("[Exec] PrivateUsers=")
        .partly("managed is refused: it needs systemd-nsresourced")
        .better("all mounts are locked: root inside cannot take off what is masked or read-only, nor mount a second /proc without it"),
    OptionRow::new(Id::PrivateUsersOwnership, "", &["private-users-ownership"], Value("MODE"), "How files follow the ids: off, chown, map or auto")
        .since(230)
        .trusted_key("[Files] PrivateUsersOwnership=")
        .partly("foreign is refused: it needs systemd-mountfsd"),
    OptionRow::new(Id::PrivateUsersChown, "", &["private-users-chown"], Nothing, "Old spelling of --private-users-ownership=chown")
        .since(230)
        .trusted_key("[Files] PrivateUsersChown="),
    OptionRow::new(Id::PrivateUsersDelegate, "", &["private-users-delegate"], Value("COUNT"), "Further id ranges for nested machines")
        .since(260)
        .trusted_key("[Exec] PrivateUsersDelegate=")
        .never("it needs managed user namespaces, which systemd-nsresourced, a daemon, gives"),
    OptionRow::new(Id::PickUsers, "U", &[], Nothing, "Same as --private-users=pick --private-users-ownership=auto").since(230),
];
