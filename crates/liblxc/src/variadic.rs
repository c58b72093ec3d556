//! The three members whose arguments end with NULL. Rust calls such functions but defines none, so a few instructions lay out what the
//! caller passed: registers in their order, and behind them the caller's stack.

use std::ffi::c_int;

use crate::c::{Text, Texts};
use crate::{disk, inside, life};

/// A member whose declaration in C ends with dots; Rust never calls it.
pub(crate) type Variadic = extern "C" fn();

/// Arguments are passed in so many registers first.
#[cfg(target_arch = "x86_64")]
const REGISTERS: usize = 6;
#[cfg(target_arch = "aarch64")]
const REGISTERS: usize = 8;

/// What the caller passed.
#[repr(C)]
struct Passed {
    registers: [usize; REGISTERS],
    stack: *const usize,
}

impl Passed {
    fn word(&self, at: usize) -> usize {
        match self.registers.get(at) {
            Some(word) => *word,
            // SAFETY: the caller passed arguments up to a NULL, and nothing behind that is asked for.
            None => unsafe { *self.stack.add(at - REGISTERS) },
        }
    }
    /// The argument at that place, as what it is.
    ///
    /// # Safety
    /// The caller passed a `T` there, of the size of a register.
    unsafe fn argument<T: Copy>(&self, at: usize) -> T {
        const { assert!(size_of::<T>() == size_of::<usize>()) };
        // SAFETY: the caller's promise.
        unsafe { std::mem::transmute_copy(&self.word(at)) }
    }
    /// Strings from `first` on, with the NULL that ends them.
    fn texts(&self, first: usize) -> Vec<Text<'_>> {
        let mut out = Vec::new();
        for at in first.. {
            // SAFETY: a string, or the NULL behind the last.
            let text: Text<'_> = unsafe { self.argument(at) };
            out.push(text);
            if text.is_null() {
                break;
            }
        }
        out
    }
}

extern "C" fn startl_with(passed: &Passed) -> bool {
    let words = passed.texts(2);
    let argv = if words.len() > 1 { Texts::of(&words) } else { Texts::NONE };
    // SAFETY: as declared.
    life::start(unsafe { passed.argument(0) }, passed.word(1) as c_int, argv)
}

extern "C" fn createl_with(passed: &Passed) -> bool {
    let words = passed.texts(5);
    // SAFETY: as declared.
    let (c, template, kinds, specs) = unsafe { (passed.argument(0), passed.argument(1), passed.argument(2), passed.argument(3)) };
    disk::create(c, template, kinds, specs, passed.word(4) as c_int, Texts::of(&words))
}

extern "C" fn attach_run_waitl_with(passed: &Passed) -> c_int {
    let words = passed.texts(3);
    // SAFETY: as declared.
    let (c, options, program) = unsafe { (passed.argument(0), passed.argument(1), passed.argument(2)) };
    inside::attach_run_wait(c, options, program, Texts::of(&words))
}

macro_rules! variadic {
    ($($name:ident calls $with:ident;)*) => {$(
        #[unsafe(naked)]
        pub(crate) extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            std::arch::naked_asm!(
                "sub rsp, 56",
                "mov [rsp], rdi",
                "mov [rsp + 8], rsi",
                "mov [rsp + 16], rdx",
                "mov [rsp + 24], rcx",
                "mov [rsp + 32], r8",
                "mov [rsp + 40], r9",
                "lea rax, [rsp + 64]",
                "mov [rsp + 48], rax",
                "mov rdi, rsp",
                "call {with}",
                "add rsp, 56",
                "ret",
                with = sym $with,
            );
            #[cfg(target_arch = "aarch64")]
            std::arch::naked_asm!(
                "stp x29, x30, [sp, #-96]!",
                "mov x29, sp",
                "stp x0, x1, [sp, #16]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                "add x8, sp, #96",
                "str x8, [sp, #80]",
                "add x0, sp, #16",
                "bl {with}",
                "ldp x29, x30, [sp], #96",
                "ret",
                with = sym $with,
            );
        }
    )*};
}
variadic! {
    startl calls startl_with;
    createl calls createl_with;
    attach_run_waitl calls attach_run_waitl_with;
}
