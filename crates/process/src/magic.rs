//! No program of a machine is reached through one of /proc's magic links.
//!
//! `/proc/self/exe` is *our* program until the exec has happened. A tree whose `/bin/sh` is a link to it, whose script says
//! `#!/proc/self/exe`, or whose ELF file names it as its interpreter, would run hostel inside; a machine without a user
//! namespace could then keep our file open and write to it once nobody runs it (CVE-2019-5736). So the road to the program
//! and to what the kernel will load with it is walked once before the exec, with RESOLVE_NO_MAGICLINKS.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hostel_sys::tree::openat2;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Scripts whose interpreter is a script: as many as the kernel goes through, and one more.
const LEVELS: u32 = 6;
/// What the kernel looks at to tell what a file is (BINPRM_BUF_SIZE).
const HEAD: usize = 256;
/// Most bytes of program headers, and of an interpreter's name, that the kernel reads.
const HEADERS: usize = 64 << 10;
const NAME: usize = 4096;

/// An error when `path`, or what it is run by, leads through a magic link. What cannot be executed at all is no error: the
/// exec will say so.
pub(crate) fn refuse(path: &[u8]) -> io::Result<()> {
    check(path, 0)
}

fn check(path: &[u8], level: u32) -> io::Result<()> {
    let Ok(name) = CString::new(path) else { return Ok(()) };
    let open = |flags| match openat2(CWD, &*name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NAMETOOLONG) => Ok(None),
        Err(Errno::LOOP) => Err(io::Error::other("it, or what it is run by, is a loop of links or one of /proc's, which lead out of the machine")),
        Err(errno) => Err(errno.into()),
    };
    // Looked at before it is opened for reading: a device or FIFO must not be.
    let Some(seen) = open(OFlags::PATH)? else { return Ok(()) };
    if level == LEVELS || FileType::from_raw_mode(rustix::fs::fstat(&seen)?.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    // A file that may be executed but not read keeps its interpreter for itself: only users other than root meet one.
    let Some(file) = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)? else { return Ok(()) };
    let head = read(&file, 0, HEAD)?;
    if let Some(interpreter) = script(&head) {
        return check(interpreter, level + 1);
    }
    let Some((offset, size, count)) = elf(&head) else { return Ok(()) };
    let headers = read(&file, offset, (size * count).min(HEADERS))?;
    for (at, length) in headers.chunks_exact(size).filter_map(|header| interpreter(header, size)) {
        let name = read(&file, at, length.min(NAME))?;
        // The kernel asks of it only that it is an ELF file.
        check(name.split(|b| *b == 0).next().unwrap_or_default(), LEVELS)?;
    }
    Ok(())
}

fn read(file: &OwnedFd, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::io::pread(file.as_fd(), &mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            // An offset that is none: nor can the kernel read there.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// What a `#!` line names.
fn script(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?;
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = line.iter().position(|b| !blank(b))?;
    let name = &line[start..];
    let end = name.iter().position(|b| blank(b) || matches!(b, b'\n' | 0)).unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_ne_bytes(number(bytes, at)?).into())
}
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_ne_bytes(number(bytes, at)?).into())
}
fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(number(bytes, at)?))
}

/// Size of a program header in 32-bit and in 64-bit files (elf(5)); the kernel takes no other.
const HEADER: [usize; 2] = [32, 56];

/// Where the program headers of an ELF file are, how large each and how many.
fn elf(head: &[u8]) -> Option<(u64, usize, usize)> {
    let rest = head.strip_prefix(b"\x7fELF")?;
    let (offset, size, count) = match rest.first()? {
        1 => (word(head, 28)?, half(head, 42)?, half(head, 44)?),
        2 => (long(head, 32)?, half(head, 54)?, half(head, 56)?),
        _ => return None,
    };
    HEADER.contains(&size).then_some((offset, size, count))
}

/// Where the name of the interpreter is, if that is what a program header is about.
fn interpreter(header: &[u8], size: usize) -> Option<(u64, usize)> {
    const PT_INTERP: u64 = 3;
    if word(header, 0)? != PT_INTERP {
        return None;
    }
    let (at, length) = if size == HEADER[0] { (word(header, 4)?, word(header, 16)?) } else { (long(header, 8)?, long(header, 32)?) };
    Some((at, length.min(NAME as u64) as usize))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn scripts() {
        for (text, name) in [
            (&b"#!/bin/sh\n"[..], Some(&b"/bin/sh"[..])),
            (b"#! \t /bin/sh -e\nx", Some(b"/bin/sh")),
            (b"#!/bin/sh", Some(b"/bin/sh")),
            (b"#!/a\0b", Some(b"/a")),
            (b"#!\n", None),
            (b"#!   ", None),
            (b"#", None),
            (b"", None),
        ] {
            assert_eq!(script(text), name, "{text:?}");
        }
    }

    /// An ELF file of the class with one interpreter.
    fn file(class: u8, name: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 64 + 56];
        out[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
        let size = HEADER[usize::from(class) - 1];
        let length = name.len() as u32 + 1;
        if class == 1 {
            out[28..32].copy_from_slice(&64u32.to_ne_bytes());
            out[42..44].copy_from_slice(&(size as u16).to_ne_bytes());
            out[44..46].copy_from_slice(&1u16.to_ne_bytes());
            out[68..72].copy_from_slice(&120u32.to_ne_bytes());
            out[80..84].copy_from_slice(&length.to_ne_bytes());
        } else {
            out[32..40].copy_from_slice(&64u64.to_ne_bytes());
            out[54..56].copy_from_slice(&(size as u16).to_ne_bytes());
            out[56..58].copy_from_slice(&1u16.to_ne_bytes());
            out[72..80].copy_from_slice(&120u64.to_ne_bytes());
            out[96..104].copy_from_slice(&u64::from(length).to_ne_bytes());
        }
        out[64..68].copy_from_slice(&3u32.to_ne_bytes());
        out.extend_from_slice(name);
        out.push(0);
        out
    }

    #[test]
    fn magic_links_on_every_road() {
        let dir = std::env::temp_dir().join(format!("hostel-magic-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name).into_os_string().into_encoded_bytes();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
        symlink("/proc/self/exe", dir.join("link")).unwrap();
        symlink("link", dir.join("link-to-link")).unwrap();
        symlink("/proc/self/root/bin", dir.join("directory")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        write("script", b"#!/proc/self/exe\n");
        write("script-by-link", &[b"#! ", &at("link")[..], b" -x\n"].concat());
        write("script-of-script", &[b"#!", &at("script")[..], b"\n"].concat());
        write("elf32", &file(1, b"/proc/self/exe"));
        write("elf64", &file(2, b"/proc/thread-self/exe"));
        write("elf-by-link", &file(2, &at("link-to-link")));
        for name in ["link", "link-to-link", "directory/sh", "loop", "script", "script-by-link", "script-of-script", "elf32", "elf64", "elf-by-link"]
        {
            assert!(refuse(&at(name)).is_err(), "{name}");
        }
        symlink("/bin/sh", dir.join("sh")).unwrap();
        write("good", b"#!/bin/sh\n");
        write("good64", &file(2, b"/lib64/ld-linux-x86-64.so.2"));
        write("short", b"\x7fELF\x02");
        write("far", &{
            let mut bytes = file(2, b"/proc/self/exe");
            bytes[32..40].copy_from_slice(&u64::MAX.to_ne_bytes());
            bytes
        });
        write("endless", &[b"#!", &at("endless")[..], b"\n"].concat());
        write("empty", b"");
        for name in ["sh", "good", "good64", "short", "far", "endless", "empty", "missing", ""] {
            assert!(refuse(&at(name)).is_ok(), "{name}");
        }
        assert!(refuse(b"/bin/sh").is_ok() && refuse(b"/etc").is_ok() && refuse(b"/dev/null").is_ok() && refuse(b"").is_ok());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
