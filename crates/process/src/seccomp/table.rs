//! System calls by name and number, and the architectures a machine may use on this one. Shared with `build.rs`.

/// A system call table of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, as `int 0x80` reaches it from 64-bit programs too.
    I386,
    /// x86-64 with 32-bit pointers: the same audit architecture, numbers from `X32_BIT` on. Few kernels have it.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI).
    Arm,
}

impl Arch {
    /// Name as uname(2) and people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86-64",
            Arch::I386 => "i386",
            Arch::X32 => "x32",
            Arch::Aarch64 => "aarch64",
            Arch::Arm => "arm",
        }
    }

    /// `AUDIT_ARCH_…` (linux/audit.h), what a filter sees.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::I386 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }
}

/// Set in the number of every x32 call (`__X32_SYSCALL_BIT`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// A call that an architecture lacks.
pub(crate) const NONE: u32 = u32::MAX;

/// Architectures with a column at most: the native one first.
pub(crate) const COLUMNS: usize = 3;

/// One system call name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Name as the kernel's tables and libseccomp have it.
    pub(crate) name: &'static str,
    /// Bits of the groups it is in.
    pub(crate) groups: u64,
    /// Number per column (x32 with its bit), or `NONE`.
    pub(crate) numbers: [u32; COLUMNS],
}

/// Where `name` stands in `calls`, which are sorted by name.
pub(crate) fn find(calls: &[Call], name: &str) -> Option<usize> {
    calls.binary_search_by(|call| call.name.cmp(name)).ok()
}
