//! Filters of services: what their programs return, call by call.

use super::super::interpreter::{Data, run};
use super::super::service::*;
use super::super::*;

fn words(allow: bool, text: &str) -> Calls {
    let item = |word: &str| {
        let (on, word) = word.strip_prefix('~').map_or((true, word), |rest| (false, rest));
        let (name, own) = word.split_once(':').map_or((word, None), |(name, own)| (name, Some(denial(own).unwrap())));
        Item { name: name.to_owned(), on, denial: own }
    };
    Calls { allow, items: text.split(' ').map(item).collect() }
}

fn answer(of: &Restrictions, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let column = ARCHES.iter().position(|a| *a == arch).unwrap();
    let nr = CALLS[find(&CALLS, name).unwrap()].numbers[column];
    run(&of.program().unwrap(), &Data { nr, arch: arch.audit(), args }).0
}

fn native(of: &Restrictions, name: &str, args: [u64; 6]) -> u32 {
    answer(of, ARCHES[0], name, args)
}

const NONE: [u64; 6] = [0; 6];

#[test]
fn lists() {
    let allow = Restrictions { calls: Some(words(true, "@basic-io getpid:EACCES socket ~writev")), ..Restrictions::default() };
    for (name, value) in
        [("read", RET_ALLOW), ("execve", RET_ALLOW), ("socket", RET_ALLOW), ("writev", RET_KILL), ("mount", RET_KILL), ("getpid", RET_ERRNO | 13)]
    {
        assert_eq!(native(&allow, name, NONE), value, "{name}");
    }
    // a call of no table
    assert_eq!(run(&allow.program().unwrap(), &Data { nr: 9999, arch: ARCHES[0].audit(), args: NONE }).0, RET_ERRNO | 38);
    let soft = Restrictions { denial: Some(Denial::Errno(1)), ..allow };
    assert_eq!(native(&soft, "mount", NONE), RET_ERRNO | 1);
    let deny = Restrictions { calls: Some(words(false, "@mount @swap:ENOSYS ~umount2")), denial: Some(Denial::Errno(1)), ..Restrictions::default() };
    for (name, value) in [("read", RET_ALLOW), ("mount", RET_ERRNO | 1), ("swapon", RET_ERRNO | 38), ("umount2", RET_ALLOW)] {
        assert_eq!(native(&deny, name, NONE), value, "{name}");
    }
    assert_eq!(run(&deny.program().unwrap(), &Data { nr: 9999, arch: ARCHES[0].audit(), args: NONE }).0, RET_ALLOW);
}

#[test]
fn arguments() {
    let eperm = RET_ERRNO | 1;
    let all = Restrictions {
        families: Some((true, vec![1, 2])),
        namespaces: NAMESPACES.iter().fold(0, |all, (_, flag)| all | flag),
        writable_code: true,
        realtime: true,
        set_id: true,
        personality: Some(0),
        deny: vec!["@clock", "syslog"],
        ..Restrictions::default()
    };
    let of = |name, at: usize, value: u64| {
        let mut args = NONE;
        args[at] = value;
        native(&all, name, args)
    };
    assert_eq!((of("socket", 0, 1), of("socket", 0, 2), of("socket", 0, 16)), (RET_ALLOW, RET_ALLOW, RET_ERRNO | 97));
    assert_eq!(
        (of("unshare", 0, 0x200), of("unshare", 0, 0x1000_0000), of("clone", 0, 17), of("clone", 0, 0x2_0011)),
        (RET_ALLOW, eperm, RET_ALLOW, eperm)
    );
    assert_eq!((of("clone3", 0, 0), of("setns", 1, 0x200), of("openat2", 0, 0)), (RET_ERRNO | 38, eperm, RET_ERRNO | 38));
    assert_eq!((of("mmap", 2, 5), of("mmap", 2, 7), of("mprotect", 2, 3), of("mprotect", 2, 5)), (RET_ALLOW, eperm, RET_ALLOW, eperm));
    assert_eq!((of("sched_setscheduler", 1, 3), of("sched_setscheduler", 1, 1), of("sched_setscheduler", 1, 0x4000_0001)), (RET_ALLOW, eperm, eperm));
    assert_eq!((of("chmod", 1, 0o755), of("chmod", 1, 0o4755), of("fchmodat", 2, 0o2755)), (RET_ALLOW, eperm, eperm));
    assert_eq!(native(&all, "openat", [0, 0, 0o100, 0o4755, 0, 0]), eperm);
    assert_eq!(native(&all, "openat", [0, 0, 0, 0o4755, 0, 0]), RET_ALLOW, "nothing is made");
    assert_eq!((of("personality", 0, 0), of("personality", 0, 0xffff_ffff), of("personality", 0, 8)), (RET_ALLOW, RET_ALLOW, eperm));
    assert_eq!((of("clock_settime", 0, 0), of("syslog", 0, 0), of("read", 0, 0)), (eperm, eperm, RET_ALLOW));
    // some kinds only
    let some = Restrictions { namespaces: 0x1000_0000, ..Restrictions::default() };
    assert_eq!(native(&some, "unshare", [0x2_0000, 0, 0, 0, 0, 0]), RET_ALLOW);
    assert_eq!((native(&some, "setns", [3, 0x2_0000, 0, 0, 0, 0]), native(&some, "setns", NONE)), (RET_ALLOW, eperm));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn architectures() {
    let own = Restrictions { arches: Some(vec![Arch::X86_64]), ..Restrictions::default() };
    assert_eq!(answer(&own, Arch::I386, "read", NONE), RET_KILL);
    assert_eq!(answer(&own, Arch::X32, "read", NONE), RET_KILL);
    assert_eq!(native(&own, "read", NONE), RET_ALLOW);
    let any = Restrictions { families: Some((true, vec![1])), calls: Some(words(false, "mount")), ..Restrictions::default() };
    for arch in [Arch::X86_64, Arch::I386, Arch::X32] {
        assert_eq!((answer(&any, arch, "read", NONE), answer(&any, arch, "mount", NONE)), (RET_ALLOW, RET_KILL), "{arch:?}");
    }
    assert_eq!(answer(&any, Arch::I386, "socketcall", [1, 0, 0, 0, 0, 0]), RET_ERRNO | 1);
    assert_eq!((architecture("native"), architecture("x86"), architecture("mips")), (Some(Arch::X86_64), Some(Arch::I386), None));
}

#[test]
fn errnos() {
    for (text, number) in [
        ("EPERM", 1),
        ("ENOSYS", 38),
        ("ELOOP", 40),
        ("ENOMSG", 42),
        ("EDEADLK", 35),
        ("EAFNOSUPPORT", 97),
        ("EHWPOISON", 133),
        ("4095", 4095),
        ("ENOTSUP", 95),
    ] {
        assert_eq!(denial(text), Some(Denial::Errno(number)), "{text}");
    }
    assert_eq!((denial("kill"), denial("-"), denial("EWHAT"), denial("0"), denial("4096")), (Some(Denial::Kill), None, None, None, None));
}
