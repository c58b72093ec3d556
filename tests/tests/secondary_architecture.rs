//! Trees of i386 programs on x86-64: what uname(2) says in them, and the one call that only they need.
#![cfg(target_arch = "x86_64")]

use hostel_tests::{Bed, Tree};

/// Makes a socket by socketcall(2) as glibc for i386 does, tries AF_VSOCK by socket(2), and prints what uname(2) calls the
/// machine. Its status is the errno of the first, or 99 when the second was not refused as it should be.
const PROGRAM: &str = r"
.globl _start
_start:
    mov $102, %eax          # socketcall(SYS_SOCKET, {AF_INET, SOCK_STREAM, 0})
    mov $1, %ebx
    mov $inet, %ecx
    int $0x80
    mov %eax, %ebx
    neg %ebx
    test %eax, %eax
    js end
    mov $359, %eax          # socket(AF_VSOCK, SOCK_STREAM, 0)
    mov $40, %ebx
    mov $1, %ecx
    xor %edx, %edx
    int $0x80
    mov $99, %ebx
    cmp $-97, %eax          # EAFNOSUPPORT
    jne end
    xor %ebx, %ebx
end:
    push %ebx
    mov $122, %eax          # uname(names)
    mov $names, %ebx
    int $0x80
    mov $4, %eax            # write(1, names.machine, 6)
    mov $1, %ebx
    mov $names + 4 * 65, %ecx
    mov $6, %edx
    int $0x80
    mov $1, %eax            # exit
    pop %ebx
    int $0x80
.section .rodata
inet: .long 2, 1, 0
.comm names, 6 * 65
";

/// Assembles it, for want of an i386 compiler.
#[track_caller]
fn assemble(bed: &Bed, tree: &Tree, path: &str) {
    let script = "printf %s \"$1\" | as --32 -o \"$2.o\" - && ld -m elf_i386 -o \"$3\" \"$2.o\"";
    let object = bed.dir().join("i386");
    let target = tree.path().join(path);
    let status = std::process::Command::new("sh").args(["-ec", script, "sh", PROGRAM]).arg(&object).arg(&target).status().expect("run sh");
    assert!(status.success(), "as and ld made no i386 program");
}

fn runs_i386() -> bool {
    let can = std::path::Path::new("/proc/sys/abi/vsyscall32").exists();
    if !can {
        eprintln!("skipped: this kernel runs no i386 programs");
    }
    can
}

#[test]
fn an_i386_tree_says_so_and_has_sockets() {
    let Some(bed) = Bed::start() else { return };
    if !runs_i386() {
        return;
    }
    let tree = bed.copy("busybox");
    tree.remove("/usr/bin/sh");
    assemble(&bed, &tree, "usr/bin/sh");
    bed.hostel(["run", "--tree"]).arg(tree.path()).args(["--", "/bin/sh"]).run().exits(0).prints("i686\0\0");
    // systemd-nspawn changes nothing by itself for a directory, and makes no difference between families
    bed.nspawn(&tree, ["--console=pipe", "/bin/sh"]).run().exits(99).prints("x86_64");
    bed.nspawn(&tree, ["--console=pipe", "--personality=x86", "/bin/sh"]).run().exits(99).prints("i686\0\0");
}

#[test]
fn a_64_bit_tree_makes_no_sockets_that_no_filter_sees() {
    let Some(bed) = Bed::start() else { return };
    if !runs_i386() {
        return;
    }
    let tree = bed.copy("busybox");
    assemble(&bed, &tree, "usr/bin/small");
    bed.hostel(["run", "--tree"]).arg(tree.path()).args(["--", "/usr/bin/small"]).run().exits(1).prints("x86_64");
}
