//! Programs in the real kernel: each test loads one into a thread of its own and runs a program from there.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Runs `job` in a thread that has loaded the filter.
fn filtered<T: Send + 'static>(filter: SyscallFilter, caps: CapSet, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: loading a filter without no_new_privs needs root");
        return None;
    }
    assert!(hostel_sys::seccomp::available());
    let thread = std::thread::spawn(move || {
        hostel_sys::seccomp::load(&made(&filter, caps)).unwrap();
        job()
    });
    Some(thread.join().unwrap())
}

/// Results of calls, as perl's syscall() sees them: 0 or the errno.
fn perl(calls: &[(&str, [u64; 3])]) -> Vec<i32> {
    let column = 0;
    let mut script = String::from("use bigint; $| = 1;");
    for (name, args) in calls {
        let nr = CALLS[find(&CALLS, name).unwrap()].numbers[column];
        script.push_str(&format!("$! = 0; print syscall({nr}, 0+{}, 0+{}, 0+{}) < 0 ? 0+$! : 0, \"\\n\";", args[0], args[1], args[2]));
    }
    let script = script.replace("use bigint; ", "");
    let output = Command::new("perl").arg("-e").arg(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "perl: {}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(|l| l.parse().unwrap()).collect()
}

const PERM: i32 = 1;
const BADF: i32 = 9;
const NOTTY: i32 = 25;
const NOFAMILY: i32 = 97;

#[test]
fn machine_calls() {
    let high = 0x7000_0000_0000_0000;
    let cases: &[(&str, [u64; 3], i32)] = &[
        ("getpid", [0, 0, 0], 0),
        ("kexec_load", [0, 0, 0], PERM),
        ("add_key", [0, 0, 0], PERM),
        ("io_uring_setup", [0, 0, 0], PERM),
        ("userfaultfd", [0, 0, 0], PERM),
        ("bpf", [9999, 0, 0], PERM),
        ("socket", [1, 1, 0], 0),
        ("socket", [16, 3, 9], NOFAMILY),
        ("socket", [38, 5, 0], NOFAMILY),
        ("socket", [40, 1, 0], NOFAMILY),
        ("socket", [high | 40, 1, 0], NOFAMILY),
        ("ioctl", [0, 0x5412, 0], PERM),
        ("ioctl", [0, high | 0x5412, 0], PERM),
        ("ioctl", [0, 0x5413, 0], NOTTY),
        ("ioctl", [999, 0x5413, 0], BADF),
        ("personality", [0x0040_0000, 0, 0], PERM),
        ("personality", [0xffff_ffff, 0, 0], 0),
        ("process_mrelease", [999, 0, 0], BADF),
    ];
    let calls: Vec<_> = cases.iter().map(|(name, args, _)| (*name, *args)).collect();
    let Some(seen) = filtered(machine(&[]), CapSet::MACHINE, move || perl(&calls)) else { return };
    for ((name, args, expected), seen) in cases.iter().zip(seen) {
        assert_eq!(seen, *expected, "{name} {args:x?}");
    }
}

#[test]
fn nspawn_calls() {
    let cases: &[(&str, [u64; 3], i32)] = &[
        ("getpid", [0, 0, 0], 0),
        ("kexec_load", [0, 0, 0], PERM),
        ("pkey_alloc", [0, 0, 0], PERM),
        ("socket", [16, 3, 9], NOFAMILY),
        ("socket", [1, 1, 0], 0),
        ("ioctl", [0, 0x5413, 0], NOTTY),
    ];
    let calls: Vec<_> = cases.iter().map(|(name, args, _)| (*name, *args)).collect();
    let Some(seen) = filtered(nspawn(&[]), CapSet::NSPAWN, move || perl(&calls)) else { return };
    for ((name, args, expected), seen) in cases.iter().zip(seen) {
        assert_eq!(seen, *expected, "{name} {args:x?}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn x32_kills_a_machine_program() {
    let run = || Command::new("perl").args(["-e", "exit(syscall(0x40000027) < 0 ? 38 == 0+$! : 2)"]).status().unwrap();
    let Some(status) = filtered(machine(&[]), CapSet::MACHINE, run) else { return };
    assert_eq!(status.signal(), Some(31), "{status}");
    let status = filtered(nspawn(&[]), CapSet::NSPAWN, run).unwrap();
    assert_eq!(status.signal(), None, "{status}");
}

/// A 32-bit program that makes one call by `int 0x80` and exits with its errno.
#[cfg(target_arch = "x86_64")]
fn i386_program(nr: u32, args: [u32; 3]) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    let mut code = Vec::new();
    for (opcode, value) in [(0xb8, nr), (0xbb, args[0]), (0xb9, args[1]), (0xba, args[2])] {
        code.push(opcode); // mov eax, ebx, ecx, edx
        code.extend(value.to_le_bytes());
    }
    code.extend([0xcd, 0x80]); // int 0x80
    code.extend([0x31, 0xdb, 0x85, 0xc0, 0x79, 0x04, 0xf7, 0xd8, 0x89, 0xc3]); // ebx = eax < 0 ? -eax : 0
    code.extend([0xb8, 1, 0, 0, 0, 0xcd, 0x80]); // exit
    let size = 84 + code.len() as u32;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    for word in [1, BASE + 84, 52, 0, 0] {
        elf.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

#[cfg(target_arch = "x86_64")]
#[test]
fn i386_calls() {
    let numbers = |name: &str| CALLS[find(&CALLS, name).unwrap()].numbers[1];
    let cases: &[(&str, [u32; 3], i32)] = &[
        ("getpid", [0, 0, 0], 0),
        ("keyctl", [0, 0, 0], PERM),
        ("vm86", [0, 0, 0], PERM),
        ("ioctl", [0, 0x5412, 0], PERM),
        ("ioctl", [0, 0x5413, 0], NOTTY),
        ("socket", [40, 1, 0], NOFAMILY),
        ("socket", [1, 1, 0], 0),
        ("socketcall", [1, 0, 0], PERM),
        ("socketcall", [3, 0, 0], 14), // EFAULT: connect
        ("swapon", [0, 0, 0], PERM),
    ];
    let directory = std::env::temp_dir().join(format!("hostel-seccomp-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    for (name, args, expected) in cases {
        let path = directory.join(name);
        fs::write(&path, i386_program(numbers(name), *args)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let null = || File::open("/dev/null").unwrap();
        let run = move || -> std::io::Result<ExitStatus> { Command::new(path).stdin(null()).status() };
        match filtered(machine(&[]), CapSet::MACHINE, run) {
            Some(Ok(status)) => assert_eq!(status.code(), Some(*expected), "{name} {args:x?}: {status}"),
            Some(Err(e)) => eprintln!("skipped: this kernel runs no 32-bit programs ({e})"),
            None => {}
        }
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// Median time to load each default program, and to build one with changes.
/// `cargo test -p hostel-process --release -- --ignored --nocapture load_time`
#[test]
#[ignore = "a measurement"]
fn load_time() {
    let one = vec![Insn { code: 6, jt: 0, jf: 0, k: RET_ALLOW }];
    let programs = [
        ("one instruction", one),
        ("nspawn", made(&nspawn(&[]), CapSet::NSPAWN).into_owned()),
        ("machine", made(&machine(&[]), CapSet::MACHINE).into_owned()),
    ];
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / 1000.0
    };
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); programs.len()];
    for _ in 0..500 {
        for ((_, program), times) in programs.iter().zip(&mut times) {
            let program = program.clone();
            let load = move || {
                let start = Instant::now();
                hostel_sys::seccomp::load(&program).unwrap();
                start.elapsed()
            };
            times.push(std::thread::spawn(load).join().unwrap());
        }
    }
    for ((name, program), times) in programs.iter().zip(times) {
        println!("load {name}: {} instructions, {:.1} us", program.len(), median(times));
    }
    for (name, filter) in [("nspawn", nspawn(&[rule(false, &["mount", "@ipc"])])), ("machine", machine(&[rule(true, &["keyctl"])]))] {
        let mut times = Vec::new();
        for _ in 0..500 {
            let start = Instant::now();
            std::hint::black_box(program(&filter, CapSet::NSPAWN)).unwrap();
            times.push(start.elapsed());
        }
        println!("build {name} with changes: {:.1} us", median(times));
    }
}
