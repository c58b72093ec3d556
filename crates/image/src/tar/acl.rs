//! Access control lists as text (acl(5)), in the form the kernel keeps them (linux/posix_acl_xattr.h).

use hostel_spec::Arrange as _;

const VERSION: u32 = 2;
const NOBODY: u32 = u32::MAX;

/// The binary form, and how many entries are of users or groups known by name only, which cannot be looked up in a tree
/// that is not there yet and are left out. `None`: it is no list. An inner `None`: it says no more than the mode does.
pub(super) fn binary(text: &[u8]) -> Option<(Option<Vec<u8>>, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries: Vec<(u16, u16, u32)> = Vec::new();
    let mut unknown = 0;
    for line in text.split(['\n', ',']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let mut fields = line.split(':');
        let (what, who, rights) = (fields.next()?, fields.next()?, fields.next()?);
        // star adds the number behind the name.
        let number = fields.next().or(Some(who)).filter(|w| !w.is_empty());
        let id = number.map(|n| n.parse::<u32>().ok());
        let tag = match (what, who.is_empty()) {
            ("user" | "u", true) => 0x01,
            ("user" | "u", false) => 0x02,
            ("group" | "g", true) => 0x04,
            ("group" | "g", false) => 0x08,
            ("mask" | "m", true) => 0x10,
            ("other" | "o", true) => 0x20,
            _ => return None,
        };
        match (tag, id) {
            (0x02 | 0x08, Some(Some(id))) => entries.push((tag, permissions(rights)?, id)),
            (0x02 | 0x08, _) => unknown += 1,
            _ => entries.push((tag, permissions(rights)?, NOBODY)),
        }
    }
    entries.arrange_by_key(|(tag, _, id)| (*tag, *id));
    let mut tags = entries.iter().map(|e| e.0);
    let needed = |tag| entries.iter().filter(|e| e.0 == tag).count() == 1;
    if !(needed(0x01) && needed(0x04) && needed(0x20)) || entries.windows(2).any(|w| (w[0].0, w[0].2) == (w[1].0, w[1].2)) {
        return None;
    }
    if !tags.any(|tag| matches!(tag, 0x02 | 0x08 | 0x10)) {
        return Some((None, unknown));
    }
    // With a named entry there must be a mask.
    if !entries.iter().any(|e| e.0 == 0x10) {
        return None;
    }
    let mut out = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    Some((Some(out), unknown))
}

fn permissions(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |bits, c| match c {
        'r' => Some(bits | 4),
        'w' => Some(bits | 2),
        'x' => Some(bits | 1),
        '-' => Some(bits),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let (list, unknown) = binary(b"user::rw-\nuser:1234:rw-\nuser:bob:r--\ngroup::r--\ngroup:4321:r--\nmask::rw-\nother::---\n").unwrap();
        let list = list.unwrap();
        assert_eq!((list.len(), unknown), (4 + 6 * 8, 1));
        assert_eq!(&list[..12], [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255]);
        assert_eq!(&list[12..20], [2, 0, 6, 0, 0xd2, 4, 0, 0]);
        assert_eq!(binary(b"user::rw-,group::r--,other::r--"), Some((None, 0)));
        for bad in ["", "user::rw-", "user::rwz,group::r--,other::r--", "user:1:rw-,user::r--,group::r--,other::r--", "\u{ff}:::", "x"] {
            assert_eq!(binary(bad.as_bytes()), None, "{bad}");
        }
    }
}
