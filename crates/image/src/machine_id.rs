//! The identity a tree carries: /etc/machine-id (machine-id(5)).

use std::os::fd::BorrowedFd;
use std::path::Path;

use hostel_spec::MachineUuid;
use hostel_sys::tree::read_regular;

/// The tree's machine id; `None` when it has none: file missing, empty, `uninitialized`, garbage, or no regular file.
pub fn read(root: BorrowedFd<'_>) -> Option<MachineUuid> {
    parse(&read_regular(root, Path::new("etc/machine-id"), 64).ok()?)
}

/// The machine id in the bytes of such a file: 32 hexadecimal digits, or dashed, and at most one line end.
pub fn parse(bytes: &[u8]) -> Option<MachineUuid> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    MachineUuid::parse(std::str::from_utf8(line).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let id = "0123456789abcdef0123456789abcdef";
        let dashed = "01234567-89ab-cdef-0123-456789abcdef";
        for good in [id.to_owned(), format!("{id}\n"), format!("{dashed}\n")] {
            assert_eq!(parse(good.as_bytes()).unwrap().plain(), id, "{good}");
        }
        for bad in ["", "\n", "uninitialized\n", "00000000000000000000000000000000\n", &id[1..], &format!("{id}\n\n"), &format!(" {id}"), "ü"] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
