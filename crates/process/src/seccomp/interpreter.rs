//! Classic BPF as the kernel runs it on a system call, for tests.

use super::Insn;

/// What a filter sees of a call (struct seccomp_data).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    pub(crate) nr: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            8 | 12 => 0x1234_5678, // instruction pointer: no program may depend on it
            16..64 if offset.is_multiple_of(4) => (self.args[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
            _ => panic!("load from {offset}"),
        }
    }
}

/// Value the program returns, and how many instructions that took.
pub(crate) fn run(program: &[Insn], data: &Data) -> (u32, usize) {
    let (mut pc, mut acc, mut steps) = (0, 0u32, 0);
    loop {
        let insn = program[pc];
        pc += 1;
        steps += 1;
        let jump = |yes: bool| usize::from(if yes { insn.jt } else { insn.jf });
        match insn.code {
            0x20 => acc = data.word(insn.k),
            0x54 => acc &= insn.k,
            0x05 => pc += insn.k as usize,
            0x15 => pc += jump(acc == insn.k),
            0x25 => pc += jump(acc > insn.k),
            0x35 => pc += jump(acc >= insn.k),
            0x06 => return (insn.k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}
