//! Where hostel does not do what systemd-nspawn 252 does, and why. An entry that no scenario needs fails the comparison.

/// What the difference is to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The original is wrong here (by its own documentation, or mended in a later version).
    TheirDefect,
    /// hostel does more, or more safely.
    Better,
    /// A choice; neither is better.
    Differs,
}

/// Differences that are meant. In patterns `*` stands for any text, and `|` parts alternatives of scenarios and fields.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// Which scenarios.
    pub scenarios: &'static str,
    /// Which fields of the outcome.
    pub fields: &'static str,
    /// What systemd-nspawn gives; `-` when it lacks the field.
    pub theirs: &'static str,
    /// What hostel gives.
    pub ours: &'static str,
    /// What this means.
    pub judgement: Judgement,
    /// Why, in a sentence.
    pub reason: &'static str,
}

use Judgement::{Better, Differs, TheirDefect};

const fn row(scenarios: &'static str, fields: &'static str, theirs: &'static str, ours: &'static str, judgement: Judgement, reason: &'static str) -> Accepted {
    Accepted { scenarios, fields, theirs, ours, judgement, reason }
}

/// The ledger.
#[rustfmt::skip] // one difference a line pair reads best
pub const ACCEPTED: &[Accepted] = &[
    row("*", "left.cgroups", "systemd:payload systemd:supervisor unified:payload unified:supervisor", "none", TheirDefect,
        "with --keep-unit it takes over the caller's cgroup and leaves payload and supervisor behind; hostel makes groups of its own and removes them"),
    row("*", "caps.inh", "*", "", Better,
        "an inheritable set gives capabilities to files marked for them (as runc's CVE-2022-24769); hostel keeps it empty"),
    row("*", "mount:/proc/kallsyms|mount:/proc/keys|mount:/proc/timer_list|mount:/proc/mtrr|mount:/proc/kcore|mount:/proc/sysrq-trigger", "-", "tmpfs nodev,noexec,nosuid,ro shared", TheirDefect,
        "its masks of /proc are not in place (systemd issue 40501); hostel verifies them"),
    row("*", "read:/proc/kallsyms|read:/proc/keys|read:/proc/timer_list|read:/proc/mtrr|write:/proc/mtrr", "*", "*", TheirDefect,
        "what the missing masks show"),
    row("*", "mount:/proc/kmsg|mount:/proc/sys/kernel/random/boot_id", "tmpfs nodev,nosuid,rw shared", "tmpfs nodev,noexec,nosuid,ro shared", Better,
        "files that stand for kernel ones cannot be written"),
    row("*", "mount:/run/host/incoming|path:/run/host/incoming", "*", "-", Differs,
        "the way in for `machinectl bind` of 252; hostel attaches mounts by descriptor and needs none"),
    row("*", "mount:/run/host/os-release", "ext4 relatime,rw shared", "-", Differs,
        "252 binds the host's file, writable; hostel shows a copy in the read-only /run/host"),
    row("*", "path:/run/host/os-release|path:/run/host/container-manager|path:/run/host/container-uuid|read:/run/host/os-release", "*644*", "*444*", Better,
        "what nobody may write does not look writable"),
    row("*", "path:/run/host/notify", "socket 755 0:0", "socket 222 0:0", Better,
        "a datagram socket needs nothing but write permission"),
    row("*", "path:/run/host/proc-kmsg|path:/run/host/proc-sys-kernel-random-boot-id", "-", "*", Differs,
        "where the files over /proc/kmsg and boot_id lie, as in 262"),
    row("*", "path:/dev/fuse|read:/dev/fuse", "*", "*", Better,
        "/dev/fuse exists, as since 257"),
    row("*", "path:/dev/core", "-", "link 777 0:0 \"/proc/kcore\"", Differs,
        "252 makes the link only when /proc/kcore can be read while it mounts; 262 as hostel"),
    row("*", "parent_death_signal", "0", "9", Better,
        "PID 1 dies with its supervisor, however that ends"),
    row("*", "seccomp_filters", "5", "1", Better,
        "one program for all architectures instead of a stack of them"),
    row("*", "session_keyring", "EPERM", "has one", Differs,
        "key calls are allowed, on the machine's own session keyring, as since 258"),
    row("exec-*|pid2-exec-*", "stderr", "silent", "says something", Better,
        "why the program could not be started is said on the caller's standard error, not on the machine's console"),
    row("exec-*|pid2-exec-*", "stdout", "execv(*) failed: *", "", Better,
        "why the program could not be started is said on the caller's standard error, not on the machine's console"),
    row("term-*|int-*|kill-signal-*|boot-signal*|boot-interrupt", "stderr", "says something", "silent", Differs,
        "252 tells of the signal it passes on even when --quiet"),
    row("user-number", "env.USER|env.LOGNAME|groups", "*", "*", Better,
        "a uid that the machine's user database knows gets its name and groups"),
    row("user-*", "groups", "*", "*", Differs,
        "the primary group is among the supplementary ones, as initgroups(3) does"),
    row("caller-environment", "env.COLORTERM|env.NO_COLOR", "-", "*", Differs,
        "passed on as since 257"),
    row("pipe|*-pipe", "env.TERM", "vt220", "dumb", Differs,
        "with pipes TERM is dumb, as since 257"),
];
