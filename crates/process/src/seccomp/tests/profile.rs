//! Profiles of bundles: what their programs return, call by call.

use hostel_spec::{ArgumentOperator as Op, ArgumentTest, FilterAction as Action, ProfileRule, SyscallFilter, SyscallProfile};

use super::super::interpreter::{Data, run};
use super::super::*;

fn rule(names: &[&str], action: Action, tests: &[(u8, Op, u64, u64)]) -> ProfileRule {
    let tests = tests.iter().map(|(index, operator, value, mask)| ArgumentTest { index: *index, operator: *operator, value: *value, mask: *mask });
    ProfileRule { names: names.iter().map(|n| (*n).to_owned()).collect(), action, tests: tests.collect() }
}

fn profile(default: Action, rules: &[ProfileRule]) -> SyscallProfile {
    SyscallProfile { default, architectures: vec!["SCMP_ARCH_X86".into()], rules: rules.to_vec() }
}

fn answer(profile: &SyscallProfile, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let program = program(&SyscallFilter::Profile(profile.clone()), CapSet::EMPTY).unwrap().unwrap();
    let column = ARCHES.iter().position(|a| *a == arch).unwrap();
    let nr = CALLS[find(&CALLS, name).unwrap()].numbers[column];
    run(&program, &Data { nr, arch: arch.audit(), args }).0
}

#[test]
fn comparisons_are_of_64_bits() {
    let big = 0x1_0000_0005u64;
    for (operator, value, mask, holds, fails) in [
        (Op::Equal, big, u64::MAX, vec![big], vec![5, big + 1, 0x2_0000_0005]),
        (Op::NotEqual, big, u64::MAX, vec![5, big + 1, 0x2_0000_0005], vec![big]),
        (Op::Greater, big, u64::MAX, vec![big + 1, 0x2_0000_0000, u64::MAX], vec![big, 5, u64::from(u32::MAX)]),
        (Op::GreaterOrEqual, big, u64::MAX, vec![big, big + 1, 0x2_0000_0000], vec![big - 1, 6]),
        (Op::Less, big, u64::MAX, vec![big - 1, 6, 0], vec![big, big + 1, u64::MAX]),
        (Op::LessOrEqual, big, u64::MAX, vec![big, 6, 0], vec![big + 1, 0x2_0000_0000]),
        (Op::MaskedEqual, 0x1_0000_0001, 0xf_0000_000f, vec![0x1_0000_0001, 0x11_ffff_fff1], vec![1, 0x1_0000_0003]),
    ] {
        let profile = profile(Action::Errno(38), &[rule(&["read"], Action::Allow, &[(2, operator, value, mask)])]);
        let native = ARCHES[0];
        for arg in holds {
            assert_eq!(answer(&profile, native, "read", [9, 9, arg, 9, 9, 9]), RET_ALLOW, "{operator:?} {arg:#x}");
        }
        for arg in fails {
            assert_eq!(answer(&profile, native, "read", [9, 9, arg, 9, 9, 9]), RET_ERRNO | 38, "{operator:?} {arg:#x}");
        }
    }
}

#[test]
fn rules_with_tests_come_first_and_several_tests_are_one_condition() {
    let rules = [
        rule(&["socket"], Action::Allow, &[]),
        rule(&["socket"], Action::Errno(22), &[(0, Op::Equal, 16, u64::MAX), (2, Op::Equal, 9, u64::MAX)]),
        rule(&["no_such_call", "getpid"], Action::KillProcess, &[]),
        rule(&["gettid"], Action::Trap, &[]),
        rule(&["getuid"], Action::KillThread, &[]),
        rule(&["getgid"], Action::Log, &[]),
    ];
    let profile = profile(Action::Errno(1), &rules);
    let native = ARCHES[0];
    let of = |name, args| answer(&profile, native, name, args);
    assert_eq!(of("socket", [16, 3, 9, 0, 0, 0]), RET_ERRNO | 22);
    assert_eq!(of("socket", [16, 3, 8, 0, 0, 0]), RET_ALLOW);
    assert_eq!(of("socket", [2, 3, 9, 0, 0, 0]), RET_ALLOW);
    assert_eq!(of("getpid", [0; 6]), RET_KILL);
    assert_eq!(of("gettid", [0; 6]), 0x0003_0000);
    assert_eq!(of("getuid", [0; 6]), 0);
    assert_eq!(of("getgid", [0; 6]), 0x7ffc_0000);
    assert_eq!(of("write", [0; 6]), RET_ERRNO | 1);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn architectures_that_are_not_named_are_killed() {
    let mut profile = profile(Action::Allow, &[rule(&["read"], Action::Errno(7), &[])]);
    assert_eq!(answer(&profile, Arch::I386, "read", [0; 6]), RET_ERRNO | 7);
    assert_eq!(answer(&profile, Arch::X32, "write", [0; 6]), RET_KILL);
    profile.architectures = vec!["SCMP_ARCH_X32".into(), "SCMP_ARCH_MIPS".into()];
    assert_eq!(answer(&profile, Arch::I386, "read", [0; 6]), RET_KILL);
    assert_eq!(answer(&profile, Arch::X32, "write", [0; 6]), RET_ALLOW);
    assert_eq!(answer(&profile, Arch::X86_64, "read", [0; 6]), RET_ERRNO | 7);
}
