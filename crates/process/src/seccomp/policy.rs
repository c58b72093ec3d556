//! What each policy decides about each call: groups, capabilities, the user's changes, argument checks. Shared with
//! `build.rs`, so capabilities are bare kernel masks here.
//!
//! Both policies are allow lists. A call of our tables that is not on the list fails with EPERM, a number outside them
//! with ENOSYS, so that C libraries fall back from calls that are newer than this build.

use super::emit::{Check, Decision, RET_ALLOW, RET_ERRNO, RET_KILL, Rule, Run, Section, Test};
use super::groups::bit;
use super::table::{Arch, Call, NONE, X32_BIT, find};

/// Base policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// systemd-nspawn 262's default list.
    Nspawn,
    /// hostel's machine mode.
    Machine,
}

/// The user's changes, names resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Bits of groups to allow.
    pub(crate) allow_groups: u64,
    /// Calls to allow, as indices.
    pub(crate) allow: Vec<usize>,
    /// Bits of groups to deny.
    pub(crate) deny_groups: u64,
    /// Calls to deny, as indices.
    pub(crate) deny: Vec<usize>,
    /// sync(2) and its like succeed without doing anything.
    pub(crate) suppress_sync: bool,
    /// Families of sockets: these and no others, or all but these.
    pub(crate) families: Option<(bool, Vec<u32>)>,
}

const EPERM: u32 = RET_ERRNO | 1;
const ENOSYS: u32 = RET_ERRNO | 38;
const EINVAL: u32 = RET_ERRNO | 22;
const EAFNOSUPPORT: u32 = RET_ERRNO | 97;

// Fixed places in `Policy::decisions`.
const ALLOW: u8 = 0;
const DENY: u8 = 1;
const UNKNOWN: u8 = 2;
const KILL: u8 = 3;

/// Groups allowed whatever the capabilities are.
#[rustfmt::skip]
const NSPAWN: u64 = bit("@aio") | bit("@basic-io") | bit("@chown") | bit("@default") | bit("@file-system") | bit("@io-event")
    | bit("@ipc") | bit("@keyring") | bit("@mount") | bit("@network-io") | bit("@process") | bit("@resources") | bit("@setuid")
    | bit("@signal") | bit("@sync") | bit("@timer") | bit("+nspawn");

/// As nspawn, but no keyring (not namespaced); memory locks and protection keys, which are harmless, are allowed.
const MACHINE: u64 = (NSPAWN & !bit("@keyring")) | bit("@memlock") | bit("@pkey") | bit("+machine") | bit("+ptrace");

/// Taken out again before the user's changes.
const MACHINE_DENIED: u64 = bit("+machine-denied");

/// Capability number (capabilities(7)) → what holding it adds, to both policies.
const BY_CAPABILITY: [(u8, u64); 10] = [
    (25, bit("@clock")),   // SYS_TIME
    (16, bit("@module")),  // SYS_MODULE
    (17, bit("@raw-io")),  // SYS_RAWIO
    (14, bit("@memlock")), // IPC_LOCK
    (20, bit("+acct")),    // SYS_PACCT
    (19, bit("+ptrace")),  // SYS_PTRACE
    (22, bit("+reboot")),  // SYS_BOOT
    (34, bit("+syslog")),  // SYSLOG
    (26, bit("+vhangup")), // SYS_TTY_CONFIG
    (39, bit("+bpf")),     // BPF
];

/// The same, to the machine policy.
const MACHINE_BY_CAPABILITY: [(u8, u64); 2] = [
    (38, bit("+perf")), // PERFMON
    (23, bit("+numa")), // SYS_NICE
];

/// The part of a capability set that a policy looks at.
pub(crate) fn relevant(base: Base, caps: u64) -> u64 {
    by_capability(base).fold(0, |mask, (cap, _)| mask | caps & 1 << cap)
}

fn by_capability(base: Base) -> impl Iterator<Item = (u8, u64)> {
    let more = if base == Base::Machine { &MACHINE_BY_CAPABILITY[..] } else { &[] };
    BY_CAPABILITY.iter().chain(more).copied()
}

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const AF_PACKET: u32 = 17;
const NETLINK_AUDIT: u32 = 9;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const PER_LINUX32: u32 = 0x0008;
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

const ANY: u32 = u32::MAX;

/// Families of sockets in machine mode: what an init, a package manager or a daemon needs. No VSOCK (a way to the host),
/// no ALG, no exotic protocol whose module a machine could have loaded.
const FAMILIES: [u32; 5] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET];

fn test(arg: u8, mask: u32, values: &[u32]) -> Test {
    Test { arg, mask, values: values.to_vec() }
}
fn rule(tests: Vec<Test>, then: u32) -> Rule {
    Rule { tests, then }
}

/// Audit does not work in containers; programs take EAFNOSUPPORT as "the kernel has none" and go on.
fn no_audit() -> Rule {
    rule(vec![test(0, ANY, &[AF_NETLINK]), test(2, ANY, &[NETLINK_AUDIT])], EAFNOSUPPORT)
}

/// Checks of nspawn; also what remains in machine mode when the user allows the call by its name.
fn nspawn_check(name: &str) -> Option<Check> {
    (name == "socket").then(|| Check { what: "no NETLINK_AUDIT (EAFNOSUPPORT)", rules: vec![no_audit()], otherwise: RET_ALLOW, unseen: RET_ALLOW })
}

fn machine_check(name: &str) -> Option<Check> {
    let families = || rule(vec![test(0, ANY, &FAMILIES)], RET_ALLOW);
    let (what, rules, otherwise) = match name {
        "socket" => {
            let what = "families INET INET6 UNIX NETLINK PACKET, no NETLINK_AUDIT (else EAFNOSUPPORT)";
            (what, vec![no_audit(), families()], EAFNOSUPPORT)
        }
        "socketpair" => ("families INET INET6 UNIX NETLINK PACKET (else EAFNOSUPPORT)", vec![families()], EAFNOSUPPORT),
        // Faked input to, and the selection buffer of, a terminal the machine was handed.
        "ioctl" => ("no TIOCSTI, TIOCLINUX (EPERM)", vec![rule(vec![test(1, ANY, &[TIOCSTI, TIOCLINUX])], EPERM)], RET_ALLOW),
        "personality" => {
            let known = rule(vec![test(0, !(PER_LINUX32 | ADDR_NO_RANDOMIZE), &[0])], RET_ALLOW);
            // All ones asks without setting.
            let ask = rule(vec![test(0, ANY, &[ANY])], RET_ALLOW);
            ("only LINUX, LINUX32, ADDR_NO_RANDOMIZE (else EPERM)", vec![known, ask], EPERM)
        }
        _ => return None,
    };
    Some(Check { what, rules, otherwise, unseen: EPERM })
}

/// Narrows what sockets may be made to the families asked for.
fn restrict(mut check: Check, (allow, families): &(bool, Vec<u32>)) -> Check {
    check.what = "only the families asked for (else EAFNOSUPPORT)";
    check.unseen = EPERM;
    let listed = |values: &[u32]| rule(vec![test(0, ANY, values)], if *allow { RET_ALLOW } else { EAFNOSUPPORT });
    match (allow, check.otherwise) {
        (false, _) if families.is_empty() => {}
        (false, _) => check.rules.insert(0, listed(families)),
        // All were allowed: now these are.
        (true, RET_ALLOW) => {
            check.rules.push(listed(families));
            check.otherwise = EAFNOSUPPORT;
        }
        // Some were: now those of them that are on both lists.
        (true, _) => {
            for rule in check.rules.iter_mut().filter(|rule| rule.then == RET_ALLOW) {
                rule.tests[0].values.retain(|family| families.contains(family));
            }
        }
    }
    check.rules.retain(|rule| rule.tests.iter().all(|test| !test.values.is_empty()));
    check
}

/// Calls that write what is cached to disk.
const SYNC: [&str; 7] = ["sync", "fsync", "fdatasync", "syncfs", "sync_file_range", "sync_file_range2", "arm_sync_file_range"];
/// Part of O_SYNC, too; the same number on every architecture of ours.
const O_DSYNC: u32 = 0o10000;

/// An i386 call that stands for many: the first argument chooses, the rest lies in memory.
struct Multiplexer {
    name: &'static str,
    /// Bits of the first argument that choose.
    mask: u32,
    parts: &'static [(u32, &'static str)],
}

#[rustfmt::skip]
const MULTIPLEXERS: [Multiplexer; 2] = [
    Multiplexer { name: "socketcall", mask: ANY, parts: &[
        (1, "socket"), (2, "bind"), (3, "connect"), (4, "listen"), (5, "accept"), (6, "getsockname"), (7, "getpeername"),
        (8, "socketpair"), (9, "send"), (10, "recv"), (11, "sendto"), (12, "recvfrom"), (13, "shutdown"), (14, "setsockopt"),
        (15, "getsockopt"), (16, "sendmsg"), (17, "recvmsg"), (18, "accept4"), (19, "recvmmsg"), (20, "sendmmsg"),
    ] },
    Multiplexer { name: "ipc", mask: 0xffff, parts: &[
        (1, "semop"), (2, "semget"), (3, "semctl"), (4, "semtimedop"), (11, "msgsnd"), (12, "msgrcv"), (13, "msgget"),
        (14, "msgctl"), (21, "shmat"), (22, "shmdt"), (23, "shmget"), (24, "shmctl"),
    ] },
];

/// All decisions of one filter.
pub(crate) struct Policy<'a> {
    calls: &'a [Call],
    base: Base,
    /// The distinct decisions; at most 256.
    pub(crate) decisions: Vec<Decision>,
    /// Index into `decisions`, per call.
    of_call: Vec<u8>,
    /// The same for the multiplexers on i386, as (call, decision).
    of_i386: Vec<(usize, u8)>,
}

impl<'a> Policy<'a> {
    /// Decides every call.
    pub(crate) fn new(calls: &'a [Call], base: Base, caps: u64, changes: &Changes) -> Self {
        let (granted, withheld) = match base {
            Base::Nspawn => (NSPAWN, 0),
            Base::Machine => (MACHINE, MACHINE_DENIED),
        };
        let held = by_capability(base).filter(|(cap, _)| caps >> cap & 1 == 1);
        let by_caps = held.fold(0, |mask, (_, group)| mask | group);
        let mut of_call = Vec::with_capacity(calls.len());
        for call in calls {
            let listed = call.groups & granted != 0 && call.groups & withheld == 0;
            let allowed = (listed || call.groups & (by_caps | changes.allow_groups) != 0) && call.groups & changes.deny_groups == 0;
            of_call.push(if allowed { ALLOW } else { DENY });
        }
        for &i in &changes.allow {
            if calls[i].groups & changes.deny_groups == 0 {
                of_call[i] = ALLOW;
            }
        }
        for &i in &changes.deny {
            of_call[i] = DENY;
        }
        let fixed = [RET_ALLOW, EPERM, ENOSYS, RET_KILL];
        let mut policy = Self { calls, base, decisions: fixed.map(Decision::Return).to_vec(), of_call, of_i386: Vec::new() };
        policy.check_arguments(changes);
        if changes.suppress_sync {
            policy.suppress_sync();
        }
        policy.open_multiplexers(&changes.allow);
        policy
    }

    /// Puts checks on allowed calls; a call the user allows by its own name keeps only what nspawn checks.
    fn check_arguments(&mut self, changes: &Changes) {
        for name in ["socket", "socketpair", "ioctl", "personality"] {
            let Some(i) = find(self.calls, name).filter(|i| self.of_call[*i] == ALLOW) else { continue };
            let check = match self.base {
                Base::Machine if !changes.allow.contains(&i) => machine_check(name),
                _ => nspawn_check(name),
            };
            let check = match &changes.families {
                Some(families) if name == "socket" => check.map(|check| restrict(check, families)),
                _ => check,
            };
            if let Some(check) = check {
                self.of_call[i] = self.add(Decision::Check(check));
            }
        }
    }

    /// What is written may be lost at a crash, and takes less time; who opens a file for synchronous writing is told that it cannot.
    fn suppress_sync(&mut self) {
        let nothing = self.add(Decision::Return(RET_ERRNO));
        for name in SYNC {
            if let Some(i) = find(self.calls, name).filter(|i| self.of_call[*i] == ALLOW) {
                self.of_call[i] = nothing;
            }
        }
        for (name, argument) in [("open", 1), ("openat", 2)] {
            if let Some(i) = find(self.calls, name).filter(|i| self.of_call[*i] == ALLOW) {
                let rules = vec![rule(vec![test(argument, O_DSYNC, &[O_DSYNC])], EINVAL)];
                self.of_call[i] =
                    self.add(Decision::Check(Check { what: "no O_SYNC, O_DSYNC (EINVAL)", rules, otherwise: RET_ALLOW, unseen: RET_ALLOW }));
            }
        }
    }

    /// On i386, takes out of each allowed multiplexer what its own calls do not allow plainly; one that the user allows by its
    /// name keeps what would be checked, unchecked.
    fn open_multiplexers(&mut self, by_name: &[usize]) {
        for Multiplexer { name, mask, parts } in MULTIPLEXERS {
            let Some(i) = find(self.calls, name).filter(|i| self.of_call[*i] == ALLOW) else { continue };
            let unchecked = by_name.contains(&i);
            let refused: Vec<u32> = parts.iter().filter(|(_, part)| !self.allows_unseen(part, unchecked)).map(|(n, _)| *n).collect();
            if !refused.is_empty() {
                let rules = vec![rule(vec![test(0, mask, &refused)], EPERM)];
                let what = "what is denied or checked under its own number is denied here (EPERM)";
                let check = Check { what, rules, otherwise: RET_ALLOW, unseen: EPERM };
                let decision = self.add(Decision::Check(check));
                self.of_i386.push((i, decision));
            }
        }
    }

    fn allows_unseen(&self, name: &str, unchecked: bool) -> bool {
        match find(self.calls, name).map(|i| &self.decisions[usize::from(self.of_call[i])]) {
            Some(Decision::Return(value)) => *value == RET_ALLOW,
            Some(Decision::Check(check)) => unchecked || check.unseen == RET_ALLOW,
            Some(Decision::Wide(_)) => false,
            // Not a call of any table (`send`, `recv` outside ARM): `sendto` and `recvfrom` can do the same.
            None => true,
        }
    }

    fn add(&mut self, decision: Decision) -> u8 {
        self.decisions.push(decision);
        (self.decisions.len() - 1) as u8
    }

    /// Index of the decision on a call for one architecture.
    pub(crate) fn of(&self, call: usize, arch: Arch) -> u8 {
        if arch == Arch::X32 && self.base == Base::Machine {
            return KILL;
        }
        match self.of_i386.iter().find(|(i, _)| *i == call) {
            Some((_, decision)) if arch == Arch::I386 => *decision,
            _ => self.of_call[call],
        }
    }

    /// The tables of `arches` (columns of the calls, in order) as sections of a program.
    pub(crate) fn sections(&self, arches: &[Arch]) -> Vec<Section> {
        let x32 = arches.iter().position(|a| *a == Arch::X32).filter(|_| self.base == Base::Nspawn);
        let mut sections: Vec<Section> = Vec::with_capacity(arches.len());
        for (column, arch) in arches.iter().enumerate() {
            if *arch != Arch::X32 {
                let twin = x32.filter(|_| *arch == Arch::X86_64);
                let mask = if twin.is_some() { !X32_BIT } else { u32::MAX };
                sections.push(Section { audit: arch.audit(), mask, runs: self.runs(*arch, column, twin) });
            }
        }
        sections
    }

    /// Decisions by number. With `twin`, the column of x32, its numbers come without their bit: where both tables have
    /// a number it is the same call, and where one has it the kernel refuses it in the other by itself.
    fn runs(&self, arch: Arch, column: usize, twin: Option<usize>) -> Vec<Run> {
        let mut numbers: Vec<(u32, u8)> = Vec::with_capacity(self.calls.len());
        self.numbers(arch, column, &mut numbers);
        if let Some(twin) = twin {
            self.numbers(Arch::X32, twin, &mut numbers);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let mut runs = RunList::default();
        for (number, decision) in numbers {
            if number != runs.next {
                runs.push(runs.next, UNKNOWN);
            }
            runs.push(number, decision);
            runs.next = number + 1;
        }
        runs.push(runs.next, UNKNOWN);
        if arch == Arch::X86_64 && twin.is_none() {
            runs.push(X32_BIT, KILL);
        }
        // -1 is no call: a tracer sets it to skip one, and the kernel then leaves the tracer's result alone.
        runs.push(if twin.is_some() { !X32_BIT } else { u32::MAX }, ALLOW);
        runs.runs
    }

    fn numbers(&self, arch: Arch, column: usize, numbers: &mut Vec<(u32, u8)>) {
        for (i, call) in self.calls.iter().enumerate() {
            if call.numbers[column] != NONE {
                numbers.push((call.numbers[column] & !X32_BIT, self.of(i, arch)));
            }
        }
    }
}

/// Runs under construction: neighbours with one decision become one run.
#[derive(Default)]
pub(super) struct RunList {
    pub(super) runs: Vec<Run>,
    /// First number not yet decided.
    pub(super) next: u32,
}

impl RunList {
    pub(super) fn push(&mut self, first: u32, decision: u8) {
        if self.runs.last().is_none_or(|run| run.decision != decision) {
            self.runs.push(Run { first, decision });
        }
    }
}
