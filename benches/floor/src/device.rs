//! The device program of a machine, kept loaded in a cgroup of the floor's own, as hostel keeps its own.

use hostel_sys::bpf::{self, Insn, Reg, device_context as ctx};
use std::os::fd::BorrowedFd;

use crate::kernel::die;

/// Character devices that may be opened and made; no minor = all of them.
const ALLOWED: [(i32, Option<i32>); 10] =
    [(1, Some(3)), (1, Some(5)), (1, Some(7)), (1, Some(8)), (1, Some(9)), (5, Some(0)), (5, Some(2)), (136, None), (10, Some(200)), (10, Some(229))];

fn load() -> std::os::fd::OwnedFd {
    let mut out = vec![
        Insn::load32(Reg::R2, Reg::R1, ctx::ACCESS_TYPE),
        Insn::load32(Reg::R3, Reg::R1, ctx::MAJOR),
        Insn::load32(Reg::R4, Reg::R1, ctx::MINOR),
        Insn::and(Reg::R2, 0xffff),
    ];
    for (major, minor) in ALLOWED {
        let tests = 2 + minor.is_some() as i16;
        out.push(Insn::jump_if_not_equal(Reg::R2, ctx::CHAR, tests + 1));
        out.push(Insn::jump_if_not_equal(Reg::R3, major, tests));
        if let Some(minor) = minor {
            out.push(Insn::jump_if_not_equal(Reg::R4, minor, 2));
        }
        out.extend([Insn::set(Reg::R0, 1), Insn::exit()]);
    }
    out.extend([Insn::set(Reg::R0, 0), Insn::exit()]);
    bpf::load_program(bpf::Hook::Device, &out, "hostel_floor").unwrap_or_else(|_| die("load device program"))
}

/// Attaches the program to `cgroup`, taking it from `keeper`, where the first run puts it.
pub(crate) fn restrict(cgroup: i32, keeper: i32) {
    // SAFETY: both descriptors are open for the length of this call.
    let (cgroup, keeper) = unsafe { (BorrowedFd::borrow_raw(cgroup), BorrowedFd::borrow_raw(keeper)) };
    let program = match bpf::attached_program(keeper, bpf::Hook::Device) {
        Ok(Some(program)) => program,
        _ => {
            let program = load();
            bpf::attach_program(keeper, bpf::Hook::Device, std::os::fd::AsFd::as_fd(&program)).unwrap_or_else(|_| die("keep device program"));
            program
        }
    };
    bpf::attach_program(cgroup, bpf::Hook::Device, std::os::fd::AsFd::as_fd(&program)).unwrap_or_else(|_| die("attach device program"));
}
