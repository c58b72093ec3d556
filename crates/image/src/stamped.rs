//! Files that hostel writes into a tree at every start, and knows again: once somebody has changed one, it is the tree's own.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::{Cause, inroot};

const HEAD: &[u8] = b"# made by hostel ";
const TAIL: &[u8] = b", until it is changed\n";
/// A resolver file is a few lines.
const LIMIT: usize = 64 << 10;

/// FNV-1a: no more is asked of it than that an edit shows.
fn sum(text: &[u8]) -> [u8; 16] {
    let sum = text.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    std::array::from_fn(|nth| b"0123456789abcdef"[(sum >> (60 - 4 * nth) & 15) as usize])
}

/// `text` below a line (a comment that begins with `#`) by which it is known again as long as nobody has changed it.
pub fn stamp(text: &[u8]) -> Vec<u8> {
    [HEAD, &sum(text), TAIL, text].concat()
}

/// Whether it is as [`stamp`] made it.
pub fn is_stamped(text: &[u8]) -> bool {
    let rest = text.strip_prefix(HEAD).and_then(|rest| rest.split_at_checked(16));
    rest.is_some_and(|(given, rest)| rest.strip_prefix(TAIL).is_some_and(|text| sum(text) == given))
}

/// Whether the upper layer `top` has something of its own at `path`: no file of ours, also not one that says it was deleted. What
/// cannot be looked at counts as its own.
pub fn is_own(top: BorrowedFd<'_>, path: &Path) -> bool {
    let open = |flags| inroot::open_beneath_no_symlinks(top, path, flags | OFlags::NOFOLLOW);
    match open(OFlags::PATH) {
        Err(Cause::Os(Errno::NOENT)) => return false,
        Ok(file) if rustix::fs::fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile) => {}
        _ => return true,
    }
    let mut text = vec![0; LIMIT];
    let read = open(OFlags::RDONLY | OFlags::NONBLOCK).ok().and_then(|file| rustix::io::read(&file, &mut text).ok());
    !read.is_some_and(|n| is_stamped(&text[..n]))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_edit_makes_it_somebodys_own() {
        let ours = stamp(b"nameserver 10.0.0.1\n");
        assert!(is_stamped(&ours) && ours.starts_with(b"# made by hostel ") && is_stamped(&stamp(b"")));
        for at in [0, 20, ours.len() - 2] {
            let mut edited = ours.clone();
            edited[at] ^= 1;
            assert!(!is_stamped(&edited), "{at}");
        }
        assert!(!is_stamped(b"") && !is_stamped(&ours[..25]) && !is_stamped(&[&ours[..], b"x"].concat()));
        let dir = std::env::temp_dir().join(format!("hostel-stamped-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        let top = rustix::fs::open(&dir, OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let own = |what: &str| is_own(top.as_fd(), Path::new(what));
        std::fs::write(dir.join("etc/ours"), &ours).unwrap();
        std::fs::write(dir.join("etc/own"), "nameserver 1.1.1.1\n").unwrap();
        std::os::unix::fs::symlink("ours", dir.join("etc/link")).unwrap();
        assert_eq!(["etc/ours", "etc/own", "etc/link", "etc/none", "no/none"].map(own), [false, true, true, false, false]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
