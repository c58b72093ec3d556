//! The filter of a service: several restrictions, each by name, become one program (systemd.exec(5), "System Call Filtering").
//!
//! systemd loads a program per key; the kernel then takes the strictest answer. Here the answers are joined first: a call
//! that a list denies is denied, else its arguments are looked at.

use std::collections::BTreeMap;

use hostel_spec::Arrange as _;

use super::emit::{self, Check, Decision, RET_ALLOW, RET_ERRNO, RET_KILL, Rule, Run, Section, Test};
use super::policy::RunList;
use super::ready::{ARCHES, CALLS};
use super::table::{Arch, NONE, X32_BIT, find};
use super::{FilterError, Insn, group_bit};

const RET_LOG: u32 = 0x7ffc_0000;
const EPERM: u32 = RET_ERRNO | 1;
const ENOSYS: u32 = RET_ERRNO | 38;
const EAFNOSUPPORT: u32 = RET_ERRNO | 97;
const ANY: u32 = u32::MAX;

/// What becomes of a call that is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The process dies.
    Kill,
    /// The call fails with this errno.
    Errno(u16),
}

impl Denial {
    fn value(self) -> u32 {
        match self {
            Denial::Kill => RET_KILL,
            Denial::Errno(number) => RET_ERRNO | u32::from(number),
        }
    }
}

/// One word of a list of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A call or a group.
    pub name: String,
    /// It is put on the list, or taken off it.
    pub on: bool,
    /// What becomes of this one.
    pub denial: Option<Denial>,
}

/// Calls by name: these and no others, or all but these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// These and no others.
    pub allow: bool,
    /// In the order in which they count.
    pub items: Vec<Item>,
}

/// All restrictions of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// SystemCallFilter=
    pub calls: Option<Calls>,
    /// SystemCallErrorNumber=
    pub denial: Option<Denial>,
    /// SystemCallLog=
    pub log: Option<Calls>,
    /// SystemCallArchitectures=
    pub arches: Option<Vec<Arch>>,
    /// RestrictAddressFamilies=: these and no others, or all but these.
    pub families: Option<(bool, Vec<u32>)>,
    /// RestrictNamespaces=: kinds (`CLONE_NEW…`) that may not be made nor joined.
    pub namespaces: u32,
    /// MemoryDenyWriteExecute=
    pub writable_code: bool,
    /// RestrictRealtime=
    pub realtime: bool,
    /// RestrictSUIDSGID=
    pub set_id: bool,
    /// LockPersonality=: the one it stays.
    pub personality: Option<u32>,
    /// Calls and groups that fail with EPERM.
    pub deny: Vec<&'static str>,
}

/// Every kind of namespace, by its name in RestrictNamespaces=.
pub const NAMESPACES: [(&str, u32); 8] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("net", 0x4000_0000),
    ("mnt", 0x0002_0000),
    ("pid", 0x2000_0000),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
    ("time", 0x0000_0080),
];

/// The architecture of a name in SystemCallArchitectures=; `None`: it is none of this machine's.
pub fn architecture(name: &str) -> Option<Arch> {
    let arch = match name {
        "native" => return ARCHES.first().copied(),
        "x86-64" => Arch::X86_64,
        "x86" => Arch::I386,
        "x32" => Arch::X32,
        "arm64" => Arch::Aarch64,
        "arm" => Arch::Arm,
        _ => return None,
    };
    ARCHES.contains(&arch).then_some(arch)
}

impl Restrictions {
    /// Whether there is nothing to restrict.
    pub fn is_empty(&self) -> bool {
        *self == Restrictions { denial: self.denial, ..Restrictions::default() }
    }

    /// The program; loading it is the last that a process does before it executes its own.
    pub fn program(&self) -> Result<Vec<Insn>, FilterError> {
        if ARCHES.is_empty() {
            return Err(FilterError::Architecture);
        }
        let listed = self.calls.as_ref().map(|calls| (calls.allow, resolve(calls)));
        let logged = self.log.as_ref().map(|calls| (calls.allow, resolve(calls)));
        let mut answers = Answers { decisions: [RET_ALLOW, ENOSYS, RET_KILL].map(Decision::Return).to_vec() };
        let mut of_call = Vec::with_capacity(CALLS.len());
        for (call, row) in CALLS.iter().enumerate() {
            let passed = match &logged {
                Some((allow, set)) if set.contains_key(&call) == *allow => RET_LOG,
                _ => RET_ALLOW,
            };
            let decision = match self.denied(call, listed.as_ref()) {
                Some(value) => Decision::Return(value),
                None => match self.rules(row.name) {
                    (rules, otherwise) if !rules.is_empty() || otherwise.is_some() => {
                        let otherwise = otherwise.unwrap_or(passed);
                        Decision::Check(Check { what: "by its arguments", rules, otherwise, unseen: EPERM })
                    }
                    _ => Decision::Return(passed),
                },
            };
            of_call.push(answers.index(decision)?);
        }
        let unknown = u8::from(matches!(listed, Some((true, _))));
        let denied = answers.index(Decision::Return(EPERM))?;
        let sections = self.sections(&of_call, unknown, denied);
        let other = if self.arches.is_some() { RET_KILL } else { RET_ALLOW };
        let code = emit::program(&sections, &answers.decisions, other);
        if code.len() > hostel_sys::seccomp::MAX_INSNS {
            return Err(FilterError::TooLong("the lists need more than the 4096 instructions that the kernel takes"));
        }
        Ok(code)
    }

    /// What a call is answered whatever its arguments are; `None`: they, or nothing, decide.
    fn denied(&self, call: usize, listed: Option<&(bool, BTreeMap<usize, Option<Denial>>)>) -> Option<u32> {
        let general = self.denial.unwrap_or(Denial::Kill);
        if let Some((allow, set)) = listed {
            match (allow, set.get(&call)) {
                (_, Some(Some(own))) => return Some(own.value()),
                (true, None) | (false, Some(None)) => return Some(general.value()),
                _ => {}
            }
        }
        let row = &CALLS[call];
        let is_denied = self.deny.iter().any(|name| match group_bit(name) {
            Some(bit) => row.groups & bit != 0,
            None => row.name == *name,
        });
        if is_denied {
            return Some(EPERM);
        }
        match row.name {
            // flags and modes are in memory, where no filter sees them; C libraries then use the older call
            "clone3" if self.namespaces != 0 => Some(ENOSYS),
            "openat2" if self.set_id => Some(ENOSYS),
            // joining "whatever it is" could be any
            "setns" if self.namespaces == NAMESPACES.iter().fold(0, |all, (_, flag)| all | flag) => Some(EPERM),
            _ => None,
        }
    }

    /// Tests of arguments, and what is answered if none holds, if that is not what passes.
    fn rules(&self, name: &str) -> (Vec<Rule>, Option<u32>) {
        let mut rules = Vec::new();
        let mut otherwise = None;
        let mut deny = |tests: Vec<Test>| rules.push(Rule { tests, then: EPERM });
        if self.namespaces != 0 {
            let argument = match name {
                "clone" | "unshare" => Some(0),
                "setns" => Some(1),
                _ => None,
            };
            for (_, flag) in NAMESPACES.iter().filter(|(_, flag)| argument.is_some() && self.namespaces & flag != 0) {
                // of clone(2) the low byte is a signal
                if *flag > 0xff || name != "clone" {
                    deny(vec![test(argument.unwrap_or(0), *flag, &[*flag])]);
                }
            }
            if name == "setns" {
                deny(vec![test(1, ANY, &[0])]);
            }
        }
        if self.writable_code {
            match name {
                "mmap" | "mmap2" => deny(vec![test(2, 6, &[6])]),
                "mprotect" | "pkey_mprotect" => deny(vec![test(2, 4, &[4])]),
                "shmat" => deny(vec![test(2, 0o100_000, &[0o100_000])]),
                _ => {}
            }
        }
        if self.set_id {
            set_id_rules(name, &mut deny);
        }
        match name {
            "sched_setscheduler" if self.realtime => {
                // OTHER, BATCH, IDLE
                rules.push(Rule { tests: vec![test(1, ANY, &[0, 3, 5])], then: RET_ALLOW });
                otherwise = Some(EPERM);
            }
            "personality" => {
                if let Some(own) = self.personality {
                    rules.push(Rule { tests: vec![test(0, ANY, &[own, ANY])], then: RET_ALLOW });
                    otherwise = Some(EPERM);
                }
            }
            "socket" => match &self.families {
                Some((true, families)) => {
                    if !families.is_empty() {
                        rules.push(Rule { tests: vec![test(0, ANY, families)], then: RET_ALLOW });
                    }
                    otherwise = Some(EAFNOSUPPORT);
                }
                Some((false, families)) if !families.is_empty() => {
                    rules.push(Rule { tests: vec![test(0, ANY, families)], then: EAFNOSUPPORT });
                }
                _ => {}
            },
            _ => {}
        }
        (rules, otherwise)
    }

    fn sections(&self, of_call: &[u8], unknown: u8, denied: u8) -> Vec<Section> {
        let has = |arch: Arch| self.arches.as_ref().is_none_or(|arches| arches.contains(&arch) || ARCHES.first() == Some(&arch));
        let x32 = ARCHES.iter().position(|arch| *arch == Arch::X32);
        let mut sections = Vec::new();
        for (column, arch) in ARCHES.iter().enumerate().filter(|(_, arch)| **arch != Arch::X32 && has(**arch)) {
            let twin = x32.filter(|_| *arch == Arch::X86_64 && has(Arch::X32));
            let mut numbers: Vec<(u32, u8)> = Vec::with_capacity(CALLS.len());
            for (row, decision) in CALLS.iter().zip(of_call) {
                // arguments in memory: what is looked at elsewhere cannot be here
                let blind = *arch == Arch::I386
                    && *decision == 0
                    && (row.name == "mmap" && self.writable_code || row.name == "socketcall" && self.families.is_some());
                let decision = if blind { denied } else { *decision };
                numbers.extend([Some(column), twin].into_iter().flatten().map(|c| (row.numbers[c], decision)).filter(|(n, _)| *n != NONE));
            }
            numbers.arrange();
            let kill_x32 = *arch == Arch::X86_64 && !has(Arch::X32);
            sections.push(Section { audit: arch.audit(), mask: u32::MAX, runs: runs(&numbers, unknown, kill_x32) });
        }
        sections
    }
}

struct Answers {
    /// Allowed, unknown, deadly; then whatever there is.
    decisions: Vec<Decision>,
}

impl Answers {
    fn index(&mut self, decision: Decision) -> Result<u8, FilterError> {
        let at = match self.decisions.iter().position(|known| *known == decision) {
            Some(at) => at,
            None => {
                self.decisions.push(decision);
                self.decisions.len() - 1
            }
        };
        u8::try_from(at).map_err(|_| FilterError::TooLong("there are more than 250 different answers"))
    }
}

fn runs(numbers: &[(u32, u8)], unknown: u8, kill_x32: bool) -> Vec<Run> {
    let mut runs = RunList::default();
    for (number, decision) in numbers {
        if *number != runs.next {
            runs.push(runs.next, unknown);
        }
        runs.push(*number, *decision);
        runs.next = number + 1;
    }
    runs.push(runs.next, unknown);
    if kill_x32 {
        runs.push(X32_BIT, 2);
    }
    // -1 is no call: a tracer sets it to skip one.
    runs.push(u32::MAX, 0);
    runs.runs
}

fn test(arg: u8, mask: u32, values: &[u32]) -> Test {
    Test { arg, mask, values: values.to_vec() }
}

/// Modes with one of the two bits, wherever a call takes a mode.
fn set_id_rules(name: &str, deny: &mut dyn FnMut(Vec<Test>)) {
    const O_CREAT: u32 = 0o100;
    let (mode, flags) = match name {
        "chmod" | "fchmod" | "mkdir" | "mknod" | "creat" => (1, None),
        "fchmodat" | "fchmodat2" | "mkdirat" | "mknodat" => (2, None),
        "open" => (2, Some(1)),
        "openat" => (3, Some(2)),
        _ => return,
    };
    for bit in [0o4000, 0o2000] {
        let created = flags.map(|at| test(at, O_CREAT, &[O_CREAT]));
        deny(created.into_iter().chain([test(mode, bit, &[bit])]).collect());
    }
}

/// The calls of a list. What every program needs is always on a list of allowed ones.
fn resolve(calls: &Calls) -> BTreeMap<usize, Option<Denial>> {
    let mut set = BTreeMap::new();
    let needed = Item { name: "@default".into(), on: true, denial: None };
    for item in calls.allow.then_some(&needed).into_iter().chain(&calls.items) {
        let mut apply = |call: usize| {
            if item.on {
                set.insert(call, item.denial);
            } else {
                set.remove(&call);
            }
        };
        match group_bit(&item.name) {
            Some(bit) => (0..CALLS.len()).filter(|call| CALLS[*call].groups & bit != 0).for_each(&mut apply),
            None => find(&CALLS, &item.name).into_iter().for_each(&mut apply),
        }
    }
    set
}

#[rustfmt::skip]
const ERRNOS: &str = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV \
    ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG \
    ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO \
    EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG \
    EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ \
    EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL \
    ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED \
    EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED \
    ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";

/// `kill`, the name of an errno (of the generic numbering that x86 and ARM have), or its number up to 4095.
pub fn denial(text: &str) -> Option<Denial> {
    if text == "kill" {
        return Some(Denial::Kill);
    }
    let named = match text {
        "EWOULDBLOCK" => Some(11),
        "ENOTSUP" => Some(95),
        "-" => None,
        _ => ERRNOS.split_ascii_whitespace().position(|name| name == text).map(|at| at as u16 + 1),
    };
    named.or_else(|| text.parse().ok().filter(|number| (1..=4095).contains(number))).map(Denial::Errno)
}
