//! Block devices: loop devices over a stretch of a file (loop(4)), sizes, and telling a mounted file system to grow.
//!
//! A loop device made here is cleared by the kernel when its last user is gone, descriptor or mount: a killed process
//! leaves none.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::tree::btrfs;

/// What of a file becomes a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// First byte, a multiple of 512.
    pub offset: u64,
    /// Length; 0 = to the end.
    pub size: u64,
    /// The device cannot be written.
    pub read_only: bool,
}

/// A loop device; it stays as long as this, or a mount of it, does.
#[derive(Debug)]
pub struct LoopDevice {
    /// N of /dev/loopN.
    pub number: u32,
    device: OwnedFd,
}

impl LoopDevice {
    /// Its node.
    pub fn path(&self) -> String {
        format!("/dev/loop{}", self.number)
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

const LOOP_CONFIGURE: u64 = 0x4c0a;
const LOOP_CTL_GET_FREE: u64 = 0x4c82;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;

#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// How often another process may snatch the free device we were told of.
const TRIES: u32 = 64;

/// Makes a loop device over `file` (LOOP_CONFIGURE, Linux 5.8).
pub fn attach_loop(file: BorrowedFd<'_>, stretch: Stretch) -> io::Result<LoopDevice> {
    let control = rustix::fs::open(c"/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mode = if stretch.read_only { OFlags::RDONLY } else { OFlags::RDWR };
    for attempt in 0..TRIES {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let tried = open_device(number as u32, mode).and_then(|device| configure(device.as_fd(), file, stretch).map(|()| device));
        match tried {
            Ok(device) => return Ok(LoopDevice { number: number as u32, device }),
            // Taken since we were told, going away, its node not there yet, or its cache still being dropped (EAGAIN).
            Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::ENXIO | libc::ENOENT | libc::EAGAIN)) && attempt + 1 < TRIES => {
                if attempt >= 4 {
                    // Not all of the many at once again.
                    let jitter = u64::from(std::process::id().wrapping_mul(2_654_435_761) >> 24);
                    std::thread::sleep(Duration::from_micros(200 + (jitter * u64::from(attempt)) % 4000));
                }
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

fn open_device(number: u32, mode: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(format!("/dev/loop{number}"), mode | OFlags::CLOEXEC, Mode::empty())?)
}

fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, stretch: Stretch) -> io::Result<()> {
    // SAFETY: all-zero is a valid LoopConfig.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd() as u32;
    config.info.offset = stretch.offset;
    config.info.sizelimit = stretch.size;
    config.info.flags = AUTOCLEAR | if stretch.read_only { READ_ONLY } else { 0 };
    // SAFETY: the argument is a loop_config, as LOOP_CONFIGURE reads; `file` is open for the length of the call.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, std::ptr::from_ref(&config)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

const BLKGETSIZE64: u64 = 0x8008_1272;
const BLKROGET: u64 = 0x125e;

/// Bytes of a block device.
pub fn size(device: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64.
    match unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64 as _, std::ptr::from_mut(&mut bytes)) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a block device cannot be written.
pub fn is_read_only(device: BorrowedFd<'_>) -> io::Result<bool> {
    let mut read_only: libc::c_int = 0;
    // SAFETY: BLKROGET writes one int.
    match unsafe { libc::ioctl(device.as_raw_fd(), BLKROGET as _, std::ptr::from_mut(&mut read_only)) } {
        0 => Ok(read_only != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;
const XFS_IOC_FSGEOMETRY: u64 = 0x8100_587e;
const XFS_IOC_FSGROWFSDATA: u64 = 0x4010_586e;

#[repr(C)]
struct XfsGrow {
    blocks: u64,
    inode_percent: u32,
    pad: u32,
}

/// Lets the mounted ext4 at `root` (readable) have this many blocks.
pub fn grow_ext4(root: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64.
    match unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_RESIZE_FS as _, std::ptr::from_ref(&blocks)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the mounted XFS at `root` fill a device of `bytes`.
pub fn grow_xfs(root: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let mut geometry = [0u32; 64];
    // SAFETY: XFS_IOC_FSGEOMETRY writes a structure of 256 bytes, its size being part of the request.
    if unsafe { libc::ioctl(root.as_raw_fd(), XFS_IOC_FSGEOMETRY as _, geometry.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (block, inode_percent) = (u64::from(geometry[0]), geometry[7]);
    let now = u64::from(geometry[8]) | u64::from(geometry[9]) << 32;
    if block == 0 || bytes / block <= now {
        return Ok(());
    }
    let grow = XfsGrow { blocks: bytes / block, inode_percent, pad: 0 };
    // SAFETY: XFS_IOC_FSGROWFSDATA reads a structure of 16 bytes.
    match unsafe { libc::ioctl(root.as_raw_fd(), XFS_IOC_FSGROWFSDATA as _, std::ptr::from_ref(&grow)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the mounted btrfs at `root` fill its device.
pub fn grow_btrfs(root: BorrowedFd<'_>) -> io::Result<()> {
    btrfs::resize(root, c"max")
}

/// A nameless file in `directory`, readable and writable by root alone (O_TMPFILE).
pub fn nameless_file(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: a constant NUL-terminated string and plain integers.
    let fd = unsafe {
        libc::openat(directory.as_raw_fd(), c".".as_ptr(), libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC | libc::O_EXCL, 0o600 as libc::c_uint)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!((size_of::<LoopInfo>(), size_of::<LoopConfig>(), size_of::<XfsGrow>()), (232, 304, 16));
    }

    #[test]
    fn a_loop_device_over_a_stretch_goes_with_its_last_user() {
        if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/loop-control").exists() {
            println!("skipped: no root, or no loop devices");
            return;
        }
        let dir = rustix::fs::open(c"/var/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let file = nameless_file(dir.as_fd()).unwrap();
        rustix::fs::ftruncate(&file, 1 << 20).unwrap();
        rustix::io::pwrite(&file, b"here", 8192).unwrap();
        for read_only in [true, false] {
            let device = attach_loop(file.as_fd(), Stretch { offset: 8192, size: 65536, read_only }).unwrap();
            assert_eq!(size(device.as_fd()).unwrap(), 65536);
            assert_eq!(is_read_only(device.as_fd()).unwrap(), read_only);
            let mut start = [0u8; 4];
            rustix::io::pread(&device, &mut start, 0).unwrap();
            assert_eq!(&start, b"here");
            let backing = format!("/sys/block/loop{}/loop/backing_file", device.number);
            assert!(std::fs::read_to_string(&backing).unwrap().starts_with("/var/tmp/"));
            let mine = || std::fs::read_to_string(&backing).is_ok_and(|b| b.contains("/var/tmp/#"));
            drop(device);
            assert!(
                (0..200).any(|_| !mine() || {
                    std::thread::sleep(Duration::from_millis(10));
                    false
                }),
                "{backing} is still there"
            );
        }
    }

    #[test]
    fn many_at_once_get_different_devices() {
        if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/loop-control").exists() {
            println!("skipped: no root, or no loop devices");
            return;
        }
        let dir = rustix::fs::open(c"/var/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let file = nameless_file(dir.as_fd()).unwrap();
        rustix::fs::ftruncate(&file, 1 << 16).unwrap();
        let stretch = Stretch { offset: 0, size: 0, read_only: true };
        let numbers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..12).map(|_| scope.spawn(|| attach_loop(file.as_fd(), stretch).unwrap())).collect();
            let devices: Vec<LoopDevice> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            devices.iter().map(|d| d.number).collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(numbers.len(), 12);
    }
}
