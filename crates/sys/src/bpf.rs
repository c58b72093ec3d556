//! Programs of cgroup2 groups that filter devices and packets: instructions, loading, attaching, finding again.
//!
//! The kernel runs one whenever a process of the cgroup opens or makes a device node, and refuses with
//! EPERM when it returns 0 (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15; Documentation/admin-guide/cgroup-v2.rst "Device controller"; bpf(2)),
//! another for every packet that its sockets get or send, and drops it (BPF_PROG_TYPE_CGROUP_SKB, Linux 4.10).
//! All functions need CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN) in the initial user namespace.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One eBPF instruction (`struct bpf_insn`, linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination and source register, one nibble each, in the order of the machine's bit fields.
    pub regs: u8,
    /// Jump distance in instructions, or memory offset in bytes.
    pub off: i16,
    /// Immediate operand.
    pub imm: i32,
}

/// A register of the eBPF machine: r0 is the result, r1 the context at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reg {
    /// Result.
    R0,
    /// Context.
    R1,
    /// Scratch.
    R2,
    /// Scratch.
    R3,
    /// Scratch.
    R4,
    /// Scratch.
    R5,
    /// Kept over calls.
    R6,
    /// Kept over calls.
    R7,
    /// The end of the stack, which grows downwards.
    R10 = 10,
}

impl Insn {
    const fn new(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
        let (low, high) = if cfg!(target_endian = "little") { (dst as u8, src as u8) } else { (src as u8, dst as u8) };
        Insn { code, regs: low | high << 4, off, imm }
    }
    /// `dst = *(u32 *)(src + off)`, the upper half zero.
    pub const fn load32(dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(0x61, dst, src, off, 0)
    }
    /// `dst = src`.
    pub const fn copy(dst: Reg, src: Reg) -> Insn {
        Insn::new(0xbf, dst, src, 0, 0)
    }
    /// `dst = imm`.
    pub const fn set(dst: Reg, imm: i32) -> Insn {
        Insn::new(0xb7, dst, Reg::R0, 0, imm)
    }
    /// `dst &= imm` (the immediate is sign-extended to 64 bits).
    pub const fn and(dst: Reg, imm: i32) -> Insn {
        Insn::new(0x57, dst, Reg::R0, 0, imm)
    }
    /// `dst >>= imm`, zeros coming in.
    pub const fn shift_right(dst: Reg, imm: i32) -> Insn {
        Insn::new(0x77, dst, Reg::R0, 0, imm)
    }
    /// Skips `off` instructions if `dst != imm` (sign-extended).
    pub const fn jump_if_not_equal(dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(0x55, dst, Reg::R0, off, imm)
    }
    /// Skips `off` instructions if `dst & imm` is not zero.
    pub const fn jump_if_any_bit(dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(0x45, dst, Reg::R0, off, imm)
    }
    /// Skips `off` instructions if the lower half of `dst` is not `imm` (Linux 5.1).
    pub const fn jump_if_not_equal32(dst: Reg, imm: u32, off: i16) -> Insn {
        Insn::new(0x56, dst, Reg::R0, off, imm as i32)
    }
    /// Skips `off` instructions.
    pub const fn jump_always(off: i16) -> Insn {
        Insn::new(0x05, Reg::R0, Reg::R0, off, 0)
    }
    /// `dst += imm` (sign-extended).
    pub const fn add(dst: Reg, imm: i32) -> Insn {
        Insn::new(0x07, dst, Reg::R0, 0, imm)
    }
    /// `r0 = bpf_skb_load_bytes(r1 = context, r2 = offset, r3 = where to, r4 = how many)`; not 0: there are not so many.
    pub const fn load_packet() -> Insn {
        Insn::new(0x85, Reg::R0, Reg::R0, 0, 26)
    }
    /// Ends the program with r0 as its result.
    pub const fn exit() -> Insn {
        Insn::new(0x95, Reg::R0, Reg::R0, 0, 0)
    }
}

/// `access_type` bits of `struct bpf_cgroup_dev_ctx` (upper half: access, lower half: kind), then major, then minor; all u32.
pub mod device_context {
    /// Byte offset of `access_type`.
    pub const ACCESS_TYPE: i16 = 0;
    /// Byte offset of `major`.
    pub const MAJOR: i16 = 4;
    /// Byte offset of `minor`.
    pub const MINOR: i16 = 8;
    /// A block device.
    pub const BLOCK: i32 = 1;
    /// A character device.
    pub const CHAR: i32 = 2;
    /// mknod(2).
    pub const MKNOD: i32 = 1;
    /// Opening for reading.
    pub const READ: i32 = 2;
    /// Opening for writing.
    pub const WRITE: i32 = 4;
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;
const F_ALLOW_MULTI: u32 = 2;

/// What a program is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Opening and making of device nodes.
    Device,
    /// Packets that come in.
    Ingress,
    /// Packets that go out.
    Egress,
}

impl Hook {
    fn program_type(self) -> u32 {
        if self == Hook::Device { 15 } else { 8 }
    }

    fn attach_type(self) -> u32 {
        match self {
            Hook::Ingress => 0,
            Hook::Egress => 1,
            Hook::Device => 6,
        }
    }
}

/// Leading part of the BPF_PROG_LOAD attributes, up to the name (Linux 4.15).
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// The BPF_PROG_QUERY attributes with room up to `revision`: Linux 6.17 stores there without asking how much was passed.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
    rest: [u64; 4],
}

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a `repr(C)` prefix of `union bpf_attr` of exactly the size given; every pointer stored in it
    // by the callers below refers to memory that outlives the call and is as long as the count beside it says.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel just returned this descriptor (close-on-exec, as all of bpf(2)'s); nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Checks and compiles a program; `name` (at most 15 of `[A-Za-z0-9_.]`) is what `bpftool prog` shows.
///
/// Costs about 0.3 ms, nearly all of it the kernel's JIT: see [`attached_program`] for how to avoid it.
pub fn load_program(hook: Hook, insns: &[Insn], name: &str) -> io::Result<OwnedFd> {
    let mut attr = LoadAttr {
        prog_type: hook.program_type(),
        insn_cnt: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadAttr::default()
    };
    for (to, from) in attr.prog_name.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

/// Adds a program to a cgroup2 directory (a descriptor with O_PATH will do).
///
/// A device, or packet, must pass every program of its cgroup and of the ones above (BPF_F_ALLOW_MULTI).
pub fn attach_program(cgroup: BorrowedFd<'_>, hook: Hook, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: hook.attach_type(),
        attach_flags: F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &mut attr).map(drop)
}

/// Takes a program off a cgroup2 directory.
pub fn detach_program(cgroup: BorrowedFd<'_>, hook: Hook, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: hook.attach_type(),
        attach_flags: 0,
    };
    bpf(BPF_PROG_DETACH, &mut attr).map(drop)
}

/// The first program of a kind attached to exactly this cgroup2 directory, if there is one.
///
/// Two calls and about 2 µs: a program that stays attached to some cgroup need never be compiled again.
pub fn attached_program(cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<Option<OwnedFd>> {
    attached_programs(cgroup, hook, 1).map(|mut all| all.pop())
}

/// At most so many of the programs of a kind attached to exactly this cgroup2 directory; eight if there are more.
pub fn attached_programs(cgroup: BorrowedFd<'_>, hook: Hook, most: usize) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; 8];
    let mut query = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: hook.attach_type(),
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..QueryAttr::default()
    };
    bpf(BPF_PROG_QUERY, &mut query)?;
    let open = |id: &u32| bpf(BPF_PROG_GET_FD_BY_ID, &mut IdAttr { id: *id, ..IdAttr::default() }).map(owned);
    ids.iter().take(most.min(query.prog_cnt as usize)).map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_eight_bytes() {
        assert_eq!(size_of::<Insn>(), 8);
        assert_eq!(size_of::<LoadAttr>(), 64);
        assert_eq!(size_of::<AttachAttr>(), 16);
        assert_eq!(size_of::<QueryAttr>(), 64);
        let mov = Insn::copy(Reg::R5, Reg::R2);
        assert_eq!((mov.code, mov.regs), (0xbf, if cfg!(target_endian = "little") { 0x25 } else { 0x52 }));
    }

    #[test]
    fn the_kernel_takes_a_program_and_refuses_nonsense() {
        // SAFETY: no arguments, no memory.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: needs root");
            return;
        }
        load_program(Hook::Device, &[Insn::set(Reg::R0, 1), Insn::exit()], "hostel_test").expect("a trivial program");
        // r0 is never set: the verifier must say no.
        assert!(load_program(Hook::Device, &[Insn::exit()], "hostel_test").is_err());
    }
}
