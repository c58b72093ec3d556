//! The device programs, run by a little interpreter, must decide exactly as the rules read.

use hostel_spec::{DeviceAccess, DevicePolicy, DeviceRule, DeviceSelector};
use hostel_sys::bpf::Insn;

use super::{Devices, of_service, resolve};

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// Runs the instructions we emit; panics at any other.
fn run(program: &[Insn], kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut r = [0u64; 11];
    let mut at = 0usize;
    loop {
        let insn = program[at];
        at += 1;
        let low = insn.regs as usize & 15;
        let high = insn.regs as usize >> 4;
        let (dst, src) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        let imm = insn.imm as i64 as u64;
        match insn.code {
            0x61 => r[dst] = u64::from(context[insn.off as usize / 4]),
            0xbf => r[dst] = r[src],
            0xb7 => r[dst] = imm,
            0x57 => r[dst] &= imm,
            0x77 => r[dst] >>= imm,
            0x55 if r[dst] != imm => at += insn.off as usize,
            0x45 if r[dst] & imm != 0 => at += insn.off as usize,
            0x55 | 0x45 => {}
            0x95 => return r[0] == 1,
            code => panic!("unknown instruction {code:#x}"),
        }
    }
}

fn rule(devices: DeviceSelector, letters: &str) -> DeviceRule {
    let has = |c| letters.contains(c);
    DeviceRule { devices, access: DeviceAccess { read: has('r'), write: has('w'), mknod: has('m') } }
}

fn path(path: &str) -> DeviceSelector {
    DeviceSelector::Path(path.into())
}

fn resolved(policy: DevicePolicy, rules: Vec<DeviceRule>) -> (Devices, Vec<String>) {
    let resolved = resolve(policy, &rules).expect("rules");
    (resolved.devices, resolved.absent)
}

#[test]
fn closed_is_what_it_says() {
    let (devices, _) = resolved(DevicePolicy::Closed, Vec::new());
    assert_eq!(devices, Devices::Closed);
    let program = devices.program().expect("a program");
    let allowed =
        |kind, major, minor| kind == CHAR && (matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0 | 2) | (10, 200 | 229)) || major == 136);
    for kind in [BLOCK, CHAR] {
        for major in (0..260).chain([511, u32::MAX]) {
            for minor in (0..260).chain([1 << 20, u32::MAX]) {
                for access in [0, MKNOD, READ, WRITE, READ | WRITE] {
                    assert_eq!(run(&program, kind, access, major, minor), allowed(kind, major, minor), "{kind} {major}:{minor} {access}");
                }
            }
        }
    }
}

#[test]
fn policies() {
    let tun = || vec![rule(path("/dev/char/10:200"), "rw")];
    assert_eq!(resolved(DevicePolicy::Auto, Vec::new()).0, Devices::Everything);
    assert!(resolved(DevicePolicy::Auto, Vec::new()).0.program().is_none());
    let null = |policy, rules| run(&resolved(policy, rules).0.program().expect("a program"), CHAR, READ, 1, 3);
    assert!(null(DevicePolicy::Auto, tun()));
    assert!(null(DevicePolicy::Closed, tun()));
    assert!(!null(DevicePolicy::Strict, tun()));
    assert!(!null(DevicePolicy::Strict, Vec::new()));
    // A rule without effect is still a rule.
    assert_eq!(resolved(DevicePolicy::Auto, vec![rule(path("/dev/no-such"), "rw")]).0, Devices::Closed);
}

#[test]
fn rules_of_every_shape() {
    let rules = vec![
        rule(path("/dev/null"), "r"),
        rule(path("/dev/block/8:1"), "rwm"),
        rule(path("/dev/char/42:7"), "m"),
        rule(DeviceSelector::CharGroup("char-pts".into()), "rw"),
        rule(DeviceSelector::CharGroup("m?m".into()), "w"),
        rule(DeviceSelector::BlockGroup("block-*".into()), "r"),
        rule(DeviceSelector::CharGroup("nothing-like-it*".into()), "r"),
        rule(path("/dev/not/there"), "rw"),
    ];
    let (devices, absent) = resolved(DevicePolicy::Strict, rules);
    assert_eq!(absent, ["char-nothing-like-it*", "/dev/not/there"]);
    let program = devices.program().expect("a program");
    let table = [
        (CHAR, READ, 1, 3, true),
        (CHAR, WRITE, 1, 3, true),         // by the group `mem`
        (CHAR, READ | WRITE, 1, 3, false), // no single rule allows both
        (CHAR, READ, 1, 5, false),
        (CHAR, MKNOD, 1, 3, false),
        (BLOCK, READ | WRITE | MKNOD, 8, 1, true),
        (BLOCK, READ, 8, 2, true),
        (BLOCK, WRITE, 8, 2, false),
        (CHAR, MKNOD, 42, 7, true),
        (CHAR, READ, 42, 7, false),
        (CHAR, MKNOD, 42, 8, false),
        (CHAR, READ | WRITE, 136, 9, true),
        (CHAR, MKNOD, 136, 9, false),
    ];
    for (kind, access, major, minor, want) in table {
        assert_eq!(run(&program, kind, access, major, minor), want, "{kind} {access} {major}:{minor}");
    }
    let v1 = devices.v1_lines();
    for line in ["c 1:3 r", "b 8:1 rwm", "c 42:7 m", "c 136:* rw", "c 1:* w", "b *:* r"] {
        assert!(v1.iter().any(|l| l == line), "{line} in {v1:?}");
    }
}

#[test]
fn what_is_no_device_is_refused() {
    for not_a_device in ["/etc/passwd", "/dev"] {
        let rules = [rule(path(not_a_device), "r")];
        let err = resolve(DevicePolicy::Closed, &rules).expect_err("refused");
        assert_eq!((err.path.to_str(), err.cause), (Some(not_a_device), None));
        assert_eq!(of_service(DevicePolicy::Strict, &rules), Some(Vec::new()));
    }
}

#[test]
fn the_kernel_takes_the_programs() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("passed over: it needs root");
    }
    let many = (0..500).map(|i| rule(path(&format!("/dev/char/{i}:{i}")), "r")).collect();
    for (policy, rules) in [(DevicePolicy::Closed, Vec::new()), (DevicePolicy::Strict, Vec::new()), (DevicePolicy::Closed, many)] {
        let program = resolved(policy, rules).0.program().expect("a program");
        hostel_sys::bpf::load_program(hostel_sys::bpf::Hook::Device, &program, "hostel_test").expect("accepted by the verifier");
    }
}
