//! Writes `seccomp.rs`: system call tables of the target, and the filter programs of the default policies.
//!
//! The same code that builds a filter at run time runs here, so that a start with default rules does no work at all.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

#[path = "src/seccomp/emit.rs"]
mod emit;
#[path = "src/seccomp/groups.rs"]
mod groups;
#[path = "src/seccomp/policy.rs"]
mod policy;
#[path = "src/seccomp/table.rs"]
mod table;

use groups::{GROUPS, bit};
use policy::{Base, Changes, Policy, relevant};
use table::{Arch, COLUMNS, Call, NONE, X32_BIT};

/// As `hostel_sys::seccomp::Insn`, without building that crate for the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// Later than the tables of the `syscalls` crate (Linux 7.0); numbers are the same everywhere.
const NEWER: [(&str, u32); 3] = [("listns", 470), ("rseq_slice_yield", 471), ("fchroot", 472)];

/// Private calls of 32-bit ARM.
const ARM_PRIVATE: [(&str, u32); 6] =
    [("breakpoint", 0xf_0001), ("cacheflush", 0xf_0002), ("usr26", 0xf_0003), ("usr32", 0xf_0004), ("set_tls", 0xf_0005), ("get_tls", 0xf_0006)];

/// Calls of x86-64 that x32 has under a number of its own: 512 and on, in this order.
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls of x86-64 that x32 lacks.
const X32_LACKS: [&str; 13] = [
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
    "uretprobe",
    "uprobe",
];

/// Capabilities that the policies look at and the usual bounding sets have: SYS_PTRACE, SYS_BOOT, SYS_TTY_CONFIG.
const USUAL: u64 = 1 << 19 | 1 << 22 | 1 << 26;

fn main() -> io::Result<()> {
    for file in ["build.rs", "src/seccomp/emit.rs", "src/seccomp/groups.rs", "src/seccomp/policy.rs", "src/seccomp/table.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let arches: &[Arch] = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => &[Arch::X86_64, Arch::I386, Arch::X32],
        Ok("aarch64") => &[Arch::Aarch64, Arch::Arm],
        // No table: filters are refused at run time.
        _ => &[],
    };
    let calls = calls(arches);
    let mut text = String::new();
    write_tables(&mut text, arches, &calls);
    write_programs(&mut text, arches, &calls);
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo gave no OUT_DIR"))?;
    fs::write(Path::new(&out).join("seccomp.rs"), text)
}

/// Every name of any architecture, sorted, with the numbers of ours.
fn calls(arches: &[Arch]) -> Vec<Call> {
    let all = [Arch::X86_64, Arch::I386, Arch::X32, Arch::Aarch64, Arch::Arm];
    let tables: Vec<(Arch, BTreeMap<&'static str, u32>)> = all.iter().map(|arch| (*arch, numbers(*arch))).collect();
    let mut rows: BTreeMap<&'static str, [u32; COLUMNS]> = BTreeMap::new();
    for (arch, table) in &tables {
        let column = arches.iter().position(|a| a == arch);
        let mut seen = BTreeMap::new();
        for (name, number) in table {
            let row = rows.entry(name).or_insert([NONE; COLUMNS]);
            if let Some(column) = column {
                row[column] = *number;
            }
            if let Some(other) = seen.insert(number, name) {
                panic!("{name} and {other} are both number {number} on {}", arch.name());
            }
        }
    }
    for (group, members) in GROUPS {
        for name in members.split_whitespace().filter(|m| !m.starts_with('@')) {
            assert!(rows.contains_key(name), "group {group} names {name}, which no table has");
        }
    }
    rows.into_iter().map(|(name, numbers)| Call { name, groups: groups_of(name), numbers }).collect()
}

/// One table, by name.
fn numbers(arch: Arch) -> BTreeMap<&'static str, u32> {
    // Not the crate's own iterator: it leaves the last call out.
    let ids = || 0..1024usize;
    let row = |name: &'static str, n: usize| Some((name.trim_start_matches("r#"), n as u32));
    let mut table: BTreeMap<&'static str, u32> = match arch {
        Arch::X86_64 => ids().filter_map(|n| row(syscalls::x86_64::Sysno::new(n)?.name(), n)).collect(),
        Arch::I386 => ids().filter_map(|n| row(syscalls::x86::Sysno::new(n)?.name(), n)).collect(),
        Arch::Arm => ids().filter_map(|n| row(syscalls::arm::Sysno::new(n)?.name(), n)).collect(),
        Arch::Aarch64 => ids().filter_map(|n| row(syscalls::aarch64::Sysno::new(n)?.name(), n)).collect(),
        Arch::X32 => return x32_numbers(),
    };
    table.extend(NEWER);
    // Not a call of any kernel since 3.1, and not among systemd's known names: an unknown number.
    table.remove("nfsservctl");
    // The crate's names are the headers' macros; libseccomp's and everybody's are these.
    if let Some(number) = table.remove("arm_sync_file_range") {
        table.insert("sync_file_range2", number);
    }
    if arch == Arch::Aarch64 {
        // The crate lists the 64-bit-time twins, which only 32-bit architectures have.
        table.retain(|_, number| !(403..=414).contains(number) && !(416..=423).contains(number));
        if let Some(number) = table.remove("fstatat") {
            table.insert("newfstatat", number);
        }
    }
    if arch == Arch::Arm {
        table.extend(ARM_PRIVATE);
    }
    table
}

fn x32_numbers() -> BTreeMap<&'static str, u32> {
    let mut table = numbers(Arch::X86_64);
    table.retain(|name, _| !X32_LACKS.contains(name));
    for (i, name) in X32_OWN.iter().enumerate() {
        table.insert(name, 512 + i as u32);
    }
    table.values_mut().for_each(|number| *number |= X32_BIT);
    table
}

fn groups_of(name: &str) -> u64 {
    let mut mask = bit("@known");
    for (group, members) in GROUPS {
        if members.split_whitespace().any(|m| m == name) {
            mask |= bit(group);
        }
    }
    // Groups in groups, at most three deep; names with `+` hold calls only.
    for _ in 0..3 {
        for (group, members) in GROUPS {
            if members.split_whitespace().any(|m| m.starts_with('@') && mask & bit(m) != 0) {
                mask |= bit(group);
            }
        }
    }
    mask
}

fn write_tables(text: &mut String, arches: &[Arch], calls: &[Call]) {
    let _ = writeln!(text, "/// Columns of the tables, the native one first.\npub(super) static ARCHES: [Arch; {}] = [", arches.len());
    for arch in arches {
        let _ = writeln!(text, "    Arch::{arch:?},");
    }
    let _ = writeln!(text, "];\n/// System calls by name.\npub(super) static CALLS: [Call; {}] = [", calls.len());
    for Call { name, groups, numbers } in calls {
        let _ = writeln!(text, "    Call {{ name: {name:?}, groups: {groups:#x}, numbers: {numbers:?} }},");
    }
    text.push_str("];\n");
}

fn write_programs(text: &mut String, arches: &[Arch], calls: &[Call]) {
    text.push_str("/// Programs without changes by the user, by policy and the capabilities that matter to it.\n");
    text.push_str("pub(super) static READY: &[(Base, u64, &[Insn])] = &[\n");
    let usual = [Base::Nspawn, Base::Machine].map(|base| (base, USUAL));
    let all = [Base::Nspawn, Base::Machine].map(|base| (base, relevant(base, u64::MAX)));
    for (base, caps) in usual.into_iter().chain(all).filter(|_| !arches.is_empty()) {
        let policy = Policy::new(calls, base, caps, &Changes::default());
        let program = emit::program(&policy.sections(arches), &policy.decisions, emit::RET_KILL);
        let _ = writeln!(text, "    (Base::{base:?}, {caps:#x}, &[");
        for Insn { code, jt, jf, k } in program {
            let _ = writeln!(text, "        Insn {{ code: {code:#x}, jt: {jt}, jf: {jf}, k: {k:#x} }},");
        }
        text.push_str("    ]),\n");
    }
    text.push_str("];\n");
}
