//! File trees: reading untrusted files, locks, extended attributes relative to a directory, btrfs subvolumes.

pub mod btrfs;
pub mod xattr;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

fn check(ret: libc::c_long) -> io::Result<libc::c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// How often a lookup that lost a race against a rename is repeated before giving up.
const OPENAT2_TRIES: u32 = 128;

/// openat2(2), repeated while the kernel says that a concurrent rename made its answer unsafe (EAGAIN).
pub fn openat2(dir: BorrowedFd<'_>, path: impl rustix::path::Arg + Copy, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < OPENAT2_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// The way paths inside a tree are resolved: the tree is the root, links stay inside, /proc's magic links are refused.
pub const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Why a file of a tree was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// A system call failed.
    Os(Errno),
    /// It is no regular file.
    NotRegular,
    /// It has more bytes than the limit.
    TooLarge,
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        ReadError::Os(errno)
    }
}

/// Reads a regular file of at most `limit` bytes at `path` inside `root`, never waiting and never opening a device.
///
/// The inode is looked at before it is opened for reading: opening a device or FIFO that an image planted can
/// have effects or block.
pub fn read_regular(root: BorrowedFd<'_>, path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let (file, stat) = open_regular(root, path)?;
    if u64::try_from(stat.st_size).unwrap_or(0) > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    read_to_end(file.as_fd(), stat.st_size as usize, limit)
}

/// [`read_regular`] of a file that a listing of its directory has said is one: it is opened once, and a link in its place is refused.
pub fn read_listed(root: BorrowedFd<'_>, path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let file = openat2(root, path, flags, Mode::empty(), IN_ROOT)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotRegular);
    }
    let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= limit).ok_or(ReadError::TooLarge)?;
    let mut bytes = vec![0u8; size];
    let mut filled = 0;
    while filled < size {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut bytes[filled..]))? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The first bytes of a regular file of any size, opened with the same care; fewer than asked for when it is shorter.
pub fn read_start(root: BorrowedFd<'_>, path: &Path, bytes: &mut [u8]) -> Result<usize, ReadError> {
    let (file, _) = open_regular(root, path)?;
    Ok(rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *bytes))?)
}

fn open_regular(root: BorrowedFd<'_>, path: &Path) -> Result<(OwnedFd, rustix::fs::Stat), ReadError> {
    let seen = openat2(root, path, OFlags::PATH, Mode::empty(), IN_ROOT)?;
    let before = rustix::fs::fstat(&seen)?;
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotRegular);
    }
    let file = openat2(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty(), IN_ROOT)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotRegular);
    }
    Ok((file, stat))
}

fn read_to_end(file: BorrowedFd<'_>, expected: usize, limit: usize) -> Result<Vec<u8>, ReadError> {
    // One byte more than expected, so that a file of the expected size needs one read and one that says "end".
    let mut bytes = vec![0u8; expected.min(limit) + 1];
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            bytes.resize((bytes.len() * 2).min(limit + 1), 0);
        }
        match rustix::io::read(file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if filled > limit {
            return Err(ReadError::TooLarge);
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// An advisory lock over a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Many may hold it together.
    Shared,
    /// One alone.
    Exclusive,
}

/// Takes an open-file-description lock (fcntl F_OFD_SETLK) without waiting; `false` when another holds it.
///
/// The lock belongs to the open file description: children that inherit the descriptor keep it held.
pub fn try_lock(file: BorrowedFd<'_>, lock: Lock) -> io::Result<bool> {
    let kind = match lock {
        Lock::Shared => libc::F_RDLCK,
        Lock::Exclusive => libc::F_WRLCK,
    };
    // SAFETY: all-zero is a valid `flock`.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as _;
    range.l_whence = libc::SEEK_SET as _;
    // SAFETY: `range` is a valid `flock` that outlives the call; l_pid is 0 as OFD locks require.
    match check(libc::c_long::from(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) })) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// 64 bits from the kernel's random generator.
pub fn random_u64() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    random(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Fills `bytes` from the kernel's random generator.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    for part in bytes.chunks_mut(256) {
        loop {
            // SAFETY: `part` is writable and as long as said; up to 256 bytes are never returned in part.
            let n = unsafe { libc::getrandom(part.as_mut_ptr().cast(), part.len(), 0) };
            match check(n as libc::c_long) {
                Ok(_) => break,
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// The calling process goes into a mount namespace of its own: what is mounted there nobody else sees, what the host mounts later comes
/// along. Returns the one that it was in.
pub fn own_mounts() -> io::Result<OwnedFd> {
    let before = rustix::fs::open(c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    crate::proc::unshare_mounts()?;
    rustix::mount::mount_change(c"/", rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC)?;
    Ok(before)
}

/// Gives the calling thread a mount namespace of its own whose mounts do not reach any other.
///
/// The other threads of the process stay where they were (unshare(2) with CLONE_NEWNS also gives the thread its own
/// root and working directory).
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: takes an integer; no memory is shared with the kernel.
    check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))?;
    Ok(rustix::mount::mount_change(c"/", rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC)?)
}
