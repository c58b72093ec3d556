//! The architecture of a tree, by the headers of its programs (elf(5)).

use std::os::fd::BorrowedFd;
use std::path::Path;

use hostel_sys::tree::read_start;

/// Programs that every tree has one of, in the order in which they are looked at.
const PROGRAMS: [&str; 3] = ["bin/sh", "sbin/init", "usr/lib/systemd/systemd"];

/// `e_machine` of the 32-bit programs that this architecture runs as well.
const SECONDARY: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(3) // EM_386
} else if cfg!(target_arch = "aarch64") {
    Some(40) // EM_ARM
} else {
    None
};

/// Whether the programs of the tree are those of the 32-bit partner of this machine's architecture.
pub fn is_secondary(root: BorrowedFd<'_>) -> bool {
    let machine = |path: &&str| {
        let mut head = [0; 20];
        let length = read_start(root, Path::new(path), &mut head).ok()?;
        machine(&head[..length])
    };
    SECONDARY.is_some() && PROGRAMS.iter().find_map(machine) == SECONDARY
}

/// `e_machine` of an ELF file for little-endian machines that begins so.
fn machine(head: &[u8]) -> Option<u16> {
    let head: &[u8; 20] = head.first_chunk()?;
    (head.starts_with(b"\x7fELF") && head[5] == 1).then(|| u16::from_le_bytes([head[18], head[19]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let mut head = *b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0";
        assert_eq!(machine(&head), Some(3));
        assert_eq!(machine(&head[..19]), None);
        head[5] = 2;
        assert_eq!(machine(&head), None);
        assert_eq!(machine(b"#!/bin/sh\nexec /usr/bin/tini"), None);
    }
}
