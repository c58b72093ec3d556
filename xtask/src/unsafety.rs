//! `unsafe` stands where it may, and nowhere else.

use super::{Outcome, source};

/// Directories with unsafe code: the floor, the interface of C, and tools that are no part of the product.
const ALLOWED: [&str; 4] = ["crates/sys/", "crates/liblxc/", "tests/probe/", "benches/"];

/// No word `unsafe` outside [`ALLOWED`]; crates outside must inherit the workspace's lints, which deny it.
pub(crate) fn check() -> Outcome {
    let mut faults = Vec::new();
    let (mut files, mut blocks) = (0, 0);
    for path in source::files()? {
        let name = path.to_string_lossy();
        let code = source::code(&source::read(&path)?);
        let found = source::words(&code).filter(|(_, word)| *word == "unsafe");
        if ALLOWED.iter().any(|dir| name.starts_with(dir)) {
            blocks += usize::from(name.starts_with("crates/")) * found.count();
            continue;
        }
        files += 1;
        faults.extend(found.map(|(line, _)| format!("{name}:{line}: unsafe code belongs into crates/sys")));
    }
    if faults.is_empty() { Ok(format!("none in {files} files; {blocks} in crates/sys and crates/liblxc")) } else { Err(faults) }
}
