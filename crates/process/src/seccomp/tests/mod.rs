//! Programs against the tables they were made from; tables against what is known of the originals.

mod emitted;
mod kernel;
mod profile;
mod service;

use std::borrow::Cow;

use hostel_spec::{CapName, CapSet, SyscallFilter, SyscallRule};

use super::interpreter::{Data, run};
use super::*;

fn rule(allow: bool, names: &[&str]) -> SyscallRule {
    SyscallRule { allow, names: names.iter().map(|n| (*n).to_owned()).collect() }
}

fn nspawn(rules: &[SyscallRule]) -> SyscallFilter {
    SyscallFilter::Nspawn(rules.to_vec())
}

fn machine(rules: &[SyscallRule]) -> SyscallFilter {
    SyscallFilter::Machine(rules.to_vec())
}

fn made(filter: &SyscallFilter, caps: CapSet) -> Cow<'static, [Insn]> {
    program(filter, caps).unwrap().unwrap()
}

/// What the program of `filter` returns for a call by name.
fn returned(filter: &SyscallFilter, caps: CapSet, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let column = ARCHES.iter().position(|a| *a == arch).unwrap();
    let nr = CALLS[find(&CALLS, name).unwrap_or_else(|| panic!("no call {name}"))].numbers[column];
    assert_ne!(nr, NONE, "{name} on {}", arch.name());
    run(&made(filter, caps), &Data { nr, arch: arch.audit(), args }).0
}

const EPERM: u32 = RET_ERRNO | 1;
const ENOSYS: u32 = RET_ERRNO | 38;
const EAFNOSUPPORT: u32 = RET_ERRNO | 97;

#[test]
fn usual_capabilities_need_no_work() {
    let net_admin = CapSet::of(&[CapName::NET_ADMIN]);
    let bind = CapSet::of(&[CapName::NET_BIND_SERVICE]);
    let cases = [
        (nspawn(&[]), CapSet::NSPAWN),
        (nspawn(&[]), CapSet::NSPAWN.or(net_admin)),
        (nspawn(&[]), CapSet::NSPAWN.without(bind)),
        (nspawn(&[]), CapSet::ALL),
        (nspawn(&[rule(true, &["no_such_call"])]), CapSet::NSPAWN),
        (machine(&[]), CapSet::MACHINE),
        (machine(&[]), CapSet::MACHINE.without(net_admin)),
        (machine(&[]), CapSet::ALL),
    ];
    for (filter, caps) in cases {
        let program = made(&filter, caps);
        assert!(matches!(program, Cow::Borrowed(_)), "{filter:?} {caps:?}");
        assert!(program.len() < 400, "{filter:?}: {} instructions", program.len());
    }
    assert!(matches!(made(&nspawn(&[]), CapSet::EMPTY), Cow::Owned(_)));
    assert_eq!(program(&SyscallFilter::Off, CapSet::NSPAWN), Ok(None));
}

#[test]
fn ready_programs_are_what_would_be_built() {
    for (base, caps, ready) in READY {
        let policy = Policy::new(&CALLS, *base, *caps, &Changes::default());
        assert_eq!(emit::program(&policy.sections(&ARCHES), &policy.decisions, RET_KILL), *ready, "{base:?} {caps:#x}");
    }
}

/// The x86-64 calls up to 450 that nspawn refuses with its default capabilities, as read from systemd 262
/// (nfsservctl is unknown to it, so ENOSYS).
#[cfg(target_arch = "x86_64")]
#[test]
fn nspawn_refuses_what_systemd_262_refuses() {
    let expected = "_sysctl acct adjtimex afs_syscall bpf clock_adjtime clock_settime create_module delete_module fanotify_init \
        fanotify_mark finit_module get_kernel_syms getpmsg init_module ioperm iopl kexec_file_load kexec_load lookup_dcookie \
        memfd_secret mlock mlock2 mlockall modify_ldt munlock munlockall open_by_handle_at perf_event_open pidfd_getfd \
        pkey_alloc pkey_free pkey_mprotect process_mrelease putpmsg query_module quotactl quotactl_fd security settimeofday \
        swapoff swapon sysfs syslog tuxcall uselib ustat vserver";
    let refused: Vec<&str> = on(&CALLS, 0)
        .filter(|(_, c)| c.numbers[0] <= 450 && !matches!(c.name, "uprobe"))
        .filter(|(_, c)| allowed(&nspawn(&[]), CapSet::NSPAWN, Arch::X86_64, c.name) == Ok(Some(Verdict::Fail(1))))
        .map(|(_, c)| c.name)
        .collect();
    assert_eq!(refused.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_by_name() {
    use Arch::{I386, X32, X86_64};
    const ALL: CapSet = CapSet::ALL;
    const NS: CapSet = CapSet::NSPAWN;
    const M: CapSet = CapSet::MACHINE;
    const NO: CapSet = CapSet::EMPTY;
    let args = |a: u64, b: u64, c: u64| [a, b, c, 0, 0, 0];
    let high = 0xdead_0000_0000;
    type Case = (SyscallFilter, CapSet, Arch, &'static str, [u64; 6], u32);
    let cases: &[Case] = &[
        // Capabilities open groups and calls.
        (nspawn(&[]), NS, X86_64, "reboot", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), NO, X86_64, "reboot", args(0, 0, 0), EPERM),
        (nspawn(&[]), NO, X86_64, "ptrace", args(0, 0, 0), EPERM),
        (nspawn(&[]), NO, X86_64, "process_vm_readv", args(0, 0, 0), RET_ALLOW), // in @ipc
        (nspawn(&[]), ALL, X86_64, "settimeofday", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), ALL, I386, "init_module", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), ALL, X86_64, "bpf", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), ALL, X86_64, "perf_event_open", args(0, 0, 0), EPERM),
        (machine(&[]), ALL, X86_64, "perf_event_open", args(0, 0, 0), RET_ALLOW),
        (machine(&[]), ALL, X86_64, "mbind", args(0, 0, 0), RET_ALLOW),
        (machine(&[]), M, X86_64, "mbind", args(0, 0, 0), EPERM),
        (machine(&[]), M, X86_64, "rseq_slice_yield", args(0, 0, 0), RET_ALLOW),
        (machine(&[]), NO, X86_64, "ptrace", args(0, 0, 0), RET_ALLOW),
        (machine(&[]), NO, X86_64, "mlock", args(0, 0, 0), RET_ALLOW),
        // What systemd changed after 252.
        (nspawn(&[]), NS, X86_64, "keyctl", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), NS, X86_64, "landlock_create_ruleset", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), NS, X86_64, "mseal", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), NS, X86_64, "futex_wait", args(0, 0, 0), EPERM),
        (nspawn(&[]), NS, X86_64, "io_uring_setup", args(0, 0, 0), RET_ALLOW),
        // Sockets.
        (nspawn(&[]), NS, X86_64, "socket", args(16, 3, 9), EAFNOSUPPORT),
        (nspawn(&[]), NS, X86_64, "socket", args(16, 3, 0), RET_ALLOW),
        (nspawn(&[]), NS, X86_64, "socket", args(2, 3, 9), RET_ALLOW),
        (nspawn(&[]), NS, X86_64, "socket", args(40, 1, 0), RET_ALLOW),
        (nspawn(&[]), NS, I386, "socketcall", args(1, 0, 0), RET_ALLOW),
        (nspawn(&[]), NS, X32, "socket", args(16, 3, 9), EAFNOSUPPORT),
        (machine(&[]), M, X86_64, "socket", args(1, 1, 0), RET_ALLOW),
        (machine(&[]), M, X86_64, "socket", args(17, 3, 0), RET_ALLOW),
        (machine(&[]), M, X86_64, "socket", args(16 | high, 3 | high, 9 | high), EAFNOSUPPORT),
        (machine(&[]), M, X86_64, "socket", args(38, 5, 0), EAFNOSUPPORT), // ALG
        (machine(&[]), M, X86_64, "socket", args(40 | high, 1, 0), EAFNOSUPPORT), // VSOCK
        (machine(&[]), M, X86_64, "socketpair", args(30, 1, 0), EAFNOSUPPORT), // TIPC
        (machine(&[]), M, X86_64, "socketpair", args(1 | high, 1, 0), RET_ALLOW),
        (machine(&[]), M, I386, "socket", args(40, 1, 0), EAFNOSUPPORT),
        (machine(&[]), M, I386, "socketcall", args(1, 0, 0), EPERM),
        (machine(&[]), M, I386, "socketcall", args(8 | high, 0, 0), EPERM),
        (machine(&[]), M, I386, "socketcall", args(3, 0, 0), RET_ALLOW),
        (machine(&[rule(true, &["socket", "socketpair"])]), M, I386, "socketcall", args(1, 0, 0), RET_ALLOW),
        (machine(&[rule(true, &["socketcall"])]), M, I386, "socketcall", args(1, 0, 0), RET_ALLOW),
        (machine(&[rule(true, &["socketcall"])]), M, I386, "socket", args(40, 1, 0), EAFNOSUPPORT),
        (machine(&[rule(true, &["socketcall"]), rule(false, &["socket"])]), M, I386, "socketcall", args(1, 0, 0), EPERM),
        (machine(&[rule(true, &["socket"])]), M, X86_64, "socket", args(40, 1, 0), RET_ALLOW),
        (machine(&[rule(true, &["socket"])]), M, X86_64, "socket", args(16, 1, 9), EAFNOSUPPORT),
        (machine(&[rule(true, &["@network-io"])]), M, X86_64, "socket", args(40, 1, 0), EAFNOSUPPORT),
        // Terminals: the kernel takes the low half of the request only.
        (machine(&[]), M, X86_64, "ioctl", args(0, 0x5412, 0), EPERM),
        (machine(&[]), M, X86_64, "ioctl", args(0, 0x5412 | high, 0), EPERM),
        (machine(&[]), M, X86_64, "ioctl", args(0, 0x541c | high, 0), EPERM),
        (machine(&[]), M, I386, "ioctl", args(0, 0x5412, 0), EPERM),
        (machine(&[]), M, X86_64, "ioctl", args(0x5412, 0x5413, 0x5412), RET_ALLOW),
        (nspawn(&[]), NS, X86_64, "ioctl", args(0, 0x5412, 0), RET_ALLOW),
        // Personalities.
        (machine(&[]), M, X86_64, "personality", args(0, 0, 0), RET_ALLOW),
        (machine(&[]), M, X86_64, "personality", args(0x0004_0008, 0, 0), RET_ALLOW),
        (machine(&[]), M, X86_64, "personality", args(0xffff_ffff, 0, 0), RET_ALLOW),
        (machine(&[]), M, X86_64, "personality", args(0x0040_0000 | high, 0, 0), EPERM), // READ_IMPLIES_EXEC
        (machine(&[]), M, X86_64, "personality", args(0x0008_0008, 0, 0), EPERM),
        // What the machine policy refuses, i386 as x86-64; x32 never.
        (machine(&[]), M, X86_64, "keyctl", args(0, 0, 0), EPERM),
        (machine(&[]), M, I386, "io_uring_setup", args(0, 0, 0), EPERM),
        (machine(&[]), M, I386, "vm86", args(0, 0, 0), EPERM),
        (machine(&[]), M, X86_64, "open_by_handle_at", args(0, 0, 0), EPERM),
        (machine(&[]), M, X86_64, "name_to_handle_at", args(0, 0, 0), RET_ALLOW),
        (machine(&[]), M, X32, "read", args(0, 0, 0), RET_KILL),
        (machine(&[rule(true, &["@known"])]), M, X32, "read", args(0, 0, 0), RET_KILL),
        (nspawn(&[]), NS, X32, "execve", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[]), NS, X32, "swapon", args(0, 0, 0), EPERM),
        // Changes by the user; a denial wins, whatever the order.
        (machine(&[rule(true, &["@aio"])]), M, X86_64, "io_uring_setup", args(0, 0, 0), RET_ALLOW),
        (machine(&[rule(true, &["keyctl"])]), M, X86_64, "keyctl", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[rule(true, &["@clock"])]), NS, I386, "stime", args(0, 0, 0), EPERM), // only in @obsolete
        (nspawn(&[rule(true, &["@obsolete"])]), NS, I386, "stime", args(0, 0, 0), RET_ALLOW),
        (nspawn(&[rule(false, &["mount"]), rule(true, &["@mount"])]), NS, X86_64, "mount", args(0, 0, 0), EPERM),
        (nspawn(&[rule(false, &["@mount"]), rule(true, &["mount"])]), NS, X86_64, "mount", args(0, 0, 0), EPERM),
        (nspawn(&[rule(false, &["@privileged"])]), NS, X86_64, "setuid", args(0, 0, 0), EPERM),
        (nspawn(&[rule(false, &["@system-service"])]), NS, X86_64, "read", args(0, 0, 0), EPERM),
        // Denied calls are denied through the multiplexers too.
        (nspawn(&[rule(false, &["connect"])]), NS, I386, "socketcall", args(3, 0, 0), EPERM),
        (nspawn(&[rule(false, &["connect"])]), NS, I386, "socketcall", args(1, 0, 0), RET_ALLOW),
        (nspawn(&[rule(false, &["shmat"])]), NS, I386, "ipc", args(0x1_0015, 0, 0), EPERM),
        (nspawn(&[rule(false, &["shmat"])]), NS, I386, "ipc", args(0x16, 0, 0), RET_ALLOW),
        (nspawn(&[rule(false, &["@ipc"])]), NS, I386, "ipc", args(0x16, 0, 0), EPERM),
    ];
    for (filter, caps, arch, name, args, expected) in cases {
        let value = returned(filter, *caps, *arch, name, *args);
        assert_eq!(value, *expected, "{name}({:#x}, {:#x}) on {} with {filter:?}: {value:#x}", args[0], args[1], arch.name());
    }
}

#[test]
fn numbers_outside_the_tables() {
    for (filter, x32) in [(nspawn(&[]), ENOSYS), (machine(&[]), RET_KILL)] {
        let program = made(&filter, CapSet::NSPAWN);
        for arch in ARCHES.iter().filter(|a| **a != Arch::X32) {
            let value = |nr| run(&program, &Data { nr, arch: arch.audit(), args: [0; 6] }).0;
            assert_eq!(value(473), ENOSYS, "{}", arch.name());
            assert_eq!(value(0x3fff_ffff), ENOSYS);
            assert_eq!(value(0xffff_ffff), RET_ALLOW, "-1 is how a tracer skips a call");
            let far = if *arch == Arch::X86_64 { x32 } else { ENOSYS };
            assert_eq!(value(0x4000_0000 + 900), far, "{}", arch.name());
            assert_eq!(value(0xffff_fffe), far);
        }
        let foreign = Data { nr: 0, arch: 0xc000_0016, args: [0; 6] };
        assert_eq!(run(&program, &foreign).0, RET_KILL);
    }
}

#[test]
fn names() {
    assert_eq!(resolve_name("@mount"), Some(Name::Group));
    assert_eq!(resolve_name("@known"), Some(Name::Group));
    assert_eq!(resolve_name("openat2"), Some(Name::Call));
    assert_eq!(resolve_name("cacheflush"), Some(Name::Call)); // ARM
    for name in ["", "@", "+reboot", "@nope", "nope", "Mount", "@default ", "mount:EPERM"] {
        assert_eq!(resolve_name(name), None, "{name:?}");
    }
    assert!(known_groups().all(|g| resolve_name(g) == Some(Name::Group)));
    assert_eq!(known_groups().count(), 30);
    assert!(CALLS.is_sorted_by_key(|c| c.name));

    let odd = nspawn(&[rule(true, &["@nope", "nope", "mount"]), rule(false, &["nope2"])]);
    assert_eq!(unknown_names(&odd), ["@nope", "nope", "nope2"]);
    assert_eq!(made(&odd, CapSet::NSPAWN), made(&nspawn(&[]), CapSet::NSPAWN));
    let error = program(&nspawn(&[rule(false, &["@mounts"])]), CapSet::NSPAWN).unwrap_err();
    assert_eq!(error, FilterError::UnknownGroup("@mounts".to_owned()));
    assert_eq!(error.to_string(), "deny system calls @mounts: there is no group of this name");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn words_for_people() {
    let off = SyscallFilter::Off;
    assert_eq!(summary(&off, CapSet::ALL).unwrap(), "none: every system call is allowed");
    assert_eq!(
        summary(&nspawn(&[]), CapSet::NSPAWN).unwrap(),
        "nspawn: allow 328 of 385 x86-64 system calls, 1 of them by their arguments; refuse 57 (EPERM), unknown ones (ENOSYS)"
    );
    assert_eq!(
        summary(&machine(&[]), CapSet::MACHINE).unwrap(),
        "machine: allow 327 of 385 x86-64 system calls, 4 of them by their arguments; refuse 58 (EPERM), unknown ones (ENOSYS)"
    );
    let see = |filter: &SyscallFilter, name| allowed(filter, CapSet::MACHINE, Arch::X86_64, name).unwrap();
    assert_eq!(see(&off, "kexec_load"), Some(Verdict::Allow));
    assert_eq!(see(&machine(&[]), "kexec_load"), Some(Verdict::Fail(1)));
    assert_eq!(see(&machine(&[]), "ioctl"), Some(Verdict::Checked("no TIOCSTI, TIOCLINUX (EPERM)")));
    assert_eq!(see(&machine(&[]), "socketcall"), None);
    assert_eq!(allowed(&machine(&[]), CapSet::MACHINE, Arch::X32, "read"), Ok(Some(Verdict::Kill)));
}

/// What the program of `filter` and `refinements` returns for a call by name.
fn refined_to(filter: &SyscallFilter, refinements: &Refinements<'_>, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let column = ARCHES.iter().position(|a| *a == arch).unwrap();
    let nr = CALLS[find(&CALLS, name).unwrap()].numbers[column];
    let program = refined(filter, CapSet::NSPAWN, refinements).unwrap().unwrap();
    run(&program, &Data { nr, arch: arch.audit(), args }).0
}

#[test]
fn syncs_succeed_and_do_nothing() {
    let suppressed = Refinements { suppress_sync: true, families: None };
    let arch = ARCHES[0];
    for filter in [nspawn(&[]), machine(&[])] {
        let returned = |name: &str, args| refined_to(&filter, &suppressed, arch, name, args);
        for name in ["sync", "fsync", "fdatasync", "syncfs", "sync_file_range"] {
            assert_eq!(returned(name, [0; 6]), RET_ERRNO, "{name}");
        }
        let (o_sync, o_dsync, o_creat) = (0o4010000, 0o10000, 0o100);
        for (flags, expected) in [(0, RET_ALLOW), (o_creat, RET_ALLOW), (o_sync, RET_ERRNO | 22), (o_dsync | o_creat, RET_ERRNO | 22)] {
            assert_eq!(returned("openat", [0, 0, flags, 0, 0, 0]), expected, "{flags:o}");
        }
        assert_eq!(returned("msync", [0; 6]), RET_ALLOW);
    }
    let denied = nspawn(&[rule(false, &["fsync"])]);
    assert_eq!(refined_to(&denied, &suppressed, arch, "fsync", [0; 6]), EPERM, "what is denied stays denied");
}

#[test]
fn families_of_sockets() {
    let (unix, inet, inet6, netlink, vsock) = (1, 2, 10, 16, 40);
    let allow = AddressFamilies { allow: true, families: vec![1, 2, 40] };
    let none = AddressFamilies { allow: true, families: Vec::new() };
    let deny = AddressFamilies { allow: false, families: vec![2] };
    let deny_nothing = AddressFamilies { allow: false, families: Vec::new() };
    let open = |filter: &SyscallFilter, families: &AddressFamilies, family: u64| {
        let refinements = Refinements { suppress_sync: false, families: Some(families) };
        refined_to(filter, &refinements, ARCHES[0], "socket", [family, 1, 0, 0, 0, 0]) == RET_ALLOW
    };
    for (families, base, opened) in [
        (&allow, nspawn(&[]), vec![unix, inet, vsock]),
        (&none, nspawn(&[]), vec![]),
        (&deny, nspawn(&[]), vec![unix, inet6, netlink, vsock]),
        (&deny_nothing, nspawn(&[]), vec![unix, inet, inet6, netlink, vsock]),
        // What the machine's own list does not have is not given back.
        (&allow, machine(&[]), vec![unix, inet]),
        (&none, machine(&[]), vec![]),
        (&deny, machine(&[]), vec![unix, inet6, netlink]),
        (&allow, machine(&[rule(true, &["socket"])]), vec![unix, inet, vsock]),
    ] {
        let seen: Vec<u64> = [unix, inet, inet6, netlink, vsock].into_iter().filter(|f| open(&base, families, *f)).collect();
        assert_eq!(seen, opened, "{families:?} {base:?}");
    }
    let refinements = Refinements { suppress_sync: false, families: Some(&deny) };
    let refused = refined_to(&nspawn(&[]), &refinements, ARCHES[0], "socket", [2, 1, 0, 0, 0, 0]);
    assert_eq!(refused, EAFNOSUPPORT);
    let audit = refined_to(&nspawn(&[]), &refinements, ARCHES[0], "socket", [16, 3, 9, 0, 0, 0]);
    assert_eq!(audit, EAFNOSUPPORT, "still no audit");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(refined_to(&nspawn(&[]), &refinements, Arch::I386, "socketcall", [1, 0, 0, 0, 0, 0]), EPERM, "what cannot be seen is refused");
}
