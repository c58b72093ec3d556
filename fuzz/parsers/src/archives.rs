//! What comes from strangers as an image: archives, and servers' answers.

use hostel_image::pull::{http, url::Url, verify};
use hostel_image::tar::{Archive, Kind, header, pax};

use crate::{one_line, text};

/// Entries between carriage returns: name, type, size, link, contents, what replaces the rest of the header from byte 257 on.
pub(crate) const TAR_SEEDS: &[&str] = &[
    "usr/bin/tool|0|00000000004||data|ustar\x0000\rdir/|5|00000000000|||ustar\x0000\rlink|2|00000000000|usr/bin/tool||ustar\x0000",
    "x|x|00000000042||25 path=some/longer/name\n9 size=4\n|ustar\x0000\rx|0|00000000004||data|ustar\x0000",
    "x|L|00000000012||long/name\0|ustar  \0\rx|0|00000000000|||ustar  \0\rhard|1|00000000000|long/name||ustar  \0",
    "s|S|00000000512||data|ustar  \0\r.|5|00000000000|||\r/abs/../x|0|77777777777|||\rn|3|0|||ustar\x0000",
    "x|x|00000000135||22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n22 GNU.sparse.name=ab\n27 GNU.sparse.realsize=100\n|\rx|0|00000001000||1\n7\n0\n|",
    "g|g|00000000017||15 comment=abc\n|ustar\x0000\rV|V|00000000000|||\rz|Z|0|||",
];
pub(crate) const PAX_SEEDS: &[&str] = &[
    "25 path=some/longer/name\n9 size=4\n30 mtime=1234567890.987654321\n",
    "31 SCHILY.xattr.user.key=value\n15 uid=4000000\n21 linkpath=../../..\n",
    "29 GNU.sparse.map=0,1,4096,9\n24 GNU.sparse.size=9999\n22 GNU.sparse.major=1\n23 GNU.sparse.offset=7\n",
    "64 SCHILY.acl.access=user::rw-,user:7:r--,group::r--,other::---\n",
];
pub(crate) const HEAD_SEEDS: &[&str] = &[
    "HTTP/1.1 206 Partial Content\r\nContent-Length: 42\r\nContent-Range: bytes 10-41/42\r\nETag: \"abc\"\r\nLocation: ../x?y",
    "HTTP/1.0 302 Found\r\nlocation: https://[::1]:8443/a/b#c\r\nTransfer-Encoding: chunked\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
];

/// An archive: whatever is in it, names stay below the top and sizes agree.
pub fn tar(data: &[u8]) {
    walk(data);
    walk(&build(data));
}

fn build(data: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for line in data.split(|b| *b == b'\r') {
        let mut fields = line.split(|b| *b == b'|');
        let mut next = || fields.next().unwrap_or_default();
        let mut block = [0u8; header::BLOCK];
        let mut put = |at: usize, room: usize, bytes: &[u8]| {
            let n = bytes.len().min(room);
            block[at..at + n].copy_from_slice(&bytes[..n]);
        };
        put(0, 100, next());
        put(156, 1, next());
        put(124, 12, next());
        put(157, 100, next());
        let contents = next();
        put(257, 255, next());
        put(100, 8, b"0000644\0");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&block);
        archive.extend_from_slice(contents);
        archive.resize(archive.len().next_multiple_of(header::BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * header::BLOCK, 0);
    archive
}

fn walk(bytes: &[u8]) {
    let mut archive = Archive::new(bytes);
    let mut room = [0u8; 4096];
    for _ in 0..10_000 {
        let entry = match archive.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return,
            Err(fault) => return one_line(&hostel_image::Cause::from(fault)),
        };
        for path in [Some(&entry.path), Some(&entry.link).filter(|_| entry.kind == Kind::HardLink)].into_iter().flatten() {
            assert!(path.is_empty() || path.split(|b| *b == b'/').all(|p| !p.is_empty() && p != b"." && p != b".."), "{entry:?}");
            assert!(path.len() < 4096 && !path.contains(&0), "{entry:?}");
        }
        assert!(entry.stored == 0 || entry.kind == Kind::File);
        if let Some((size, pieces)) = &entry.sparse {
            assert_eq!(pieces.iter().map(|p| p.1).sum::<u64>(), entry.stored);
            assert!(pieces.iter().all(|(at, length)| at + length <= *size));
        }
        let mut read = 0;
        while let Ok(n) = archive.read(&mut room) {
            read += n as u64;
            if n == 0 {
                assert_eq!(read, entry.stored);
                break;
            }
        }
    }
}

/// Records of a pax header.
pub fn pax_records(data: &[u8]) {
    match pax::parse(data) {
        Ok(records) => {
            assert!(!records.path.is_some_and(|p| p.is_empty() || p.contains(&0)));
            assert!(records.mtime.is_none_or(|(_, n)| n < 1_000_000_000));
        }
        Err(fault) => one_line(&hostel_image::Cause::from(fault)),
    }
    let _ = pax::check_global(data);
}

/// The head of a server's answer, and where it sends us: nothing in it can become a line of the next request.
pub fn http_head(data: &[u8]) {
    let Ok(head) = http::parse_head(data) else { return };
    let Ok(base) = Url::parse("https://example.org/a/b?c") else { return };
    assert!(!head.validator.is_some_and(|v| v.chars().any(char::is_control)));
    if let Some(Ok(next)) = head.location.map(|location| base.join(&location)) {
        let whole = next.to_string();
        assert!(!whole.contains(['\r', '\n']), "{whole:?}");
    }
}

/// Addresses as typed: what was understood is said such that it is understood again.
pub fn address(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(url) = Url::parse(text) {
        assert_eq!(Url::parse(&url.to_string()), Ok(url));
    }
}

/// A list of sums.
pub fn sums(data: &[u8]) {
    if let Some(text) = text(data) {
        let _ = verify::parse_sums(text, "x.tar");
    }
}
