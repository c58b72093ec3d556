//! The binary people download: one static file, below 5.5 MiB: five tools in one, of which LXC's made it larger than the 5 that four had.

use std::path::PathBuf;

use super::Outcome;

const LIMIT: usize = 11 << 19;

/// Checks `args[0]`, else the musl release build.
pub(crate) fn check(args: &[String]) -> Outcome {
    let path = args.first().map_or_else(default, PathBuf::from);
    let bytes = std::fs::read(&path).map_err(|e| vec![format!("read {}: {e}; scripts/build.sh builds it", path.display())])?;
    let mut faults = Vec::new();
    if bytes.len() > LIMIT {
        faults.push(format!("{}: {} bytes, the limit is {LIMIT}", path.display(), bytes.len()));
    }
    match interpreter(&bytes) {
        Some(false) => {}
        Some(true) => faults.push(format!("{}: wants a dynamic linker", path.display())),
        None => faults.push(format!("{}: not a 64-bit little-endian ELF program", path.display())),
    }
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    if faults.is_empty() { Ok(format!("{}: static, {:.2} MiB of at most {}", path.display(), mib(bytes.len()), mib(LIMIT))) } else { Err(faults) }
}

fn default() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| super::root().join("target"), PathBuf::from);
    target.join(format!("{}-unknown-linux-musl/release/hostel", std::env::consts::ARCH))
}

/// Whether the program names an interpreter (PT_INTERP); `None` when it is no ELF file we know.
fn interpreter(elf: &[u8]) -> Option<bool> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(width)?)?;
        usize::try_from(bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b))).ok()
    };
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    const PT_INTERP: usize = 3;
    (0..count).try_fold(false, |found, i| Some(found || number(table.checked_add(i * entry)?, 4)? == PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_seen() {
        assert_eq!(interpreter(b"#!/bin/sh"), None);
        assert_eq!(interpreter(b"\x7fELF\x02\x01"), None);
        let ours = std::fs::read("/proc/self/exe").unwrap_or_default();
        assert_eq!(interpreter(&ours), Some(cfg!(not(target_feature = "crt-static"))));
    }
}
