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
        // Functions that came out the same are one, where Rust brings a linker that can do it.
        if let Some(dir) = linker() {
            println!("cargo::rustc-link-arg-bins=-fuse-ld=lld");
            println!("cargo::rustc-link-arg-bins=-B{dir}");
            println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        }
    }
}

/// The directory of the linker lld that came with the compiler, if one did.
fn linker() -> Option<String> {
    let sysroot = std::process::Command::new(std::env::var_os("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
    let dir = format!("{}/lib/rustlib/{}/bin/gcc-ld", String::from_utf8(sysroot.stdout).ok()?.trim(), std::env::var("HOST").ok()?);
    std::path::Path::new(&dir).join("ld.lld").exists().then_some(dir)
}
