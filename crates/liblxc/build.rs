//! The library's name for the loader, and the one symbol that is no function.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,liblxc.so.1");
    // rustc exports what Rust defines; `current_config` is assembly's.
    let script = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("exports");
    if std::fs::write(&script, "{ global: current_config; };\n").is_ok() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--version-script={}", script.display());
    }
}
