//! How the shipped binary is linked: without tables for unwinding (no-unwind.ld).
#![allow(clippy::disallowed_macros)] // cargo is told on standard output

fn main() {
    println!("cargo::rerun-if-changed=no-unwind.ld");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_ENV", "musl") {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/no-unwind.ld");
        // no empty pages between what is read and what is executed: both are read-only
        println!("cargo::rustc-link-arg-bins=-Wl,-z,noseparate-code");
    }
}
