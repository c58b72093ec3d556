//! Device-mapper: taking a mapped device away, now or when its last user is gone (linux/dm-ioctl.h).

use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags};

const DM_DEV_REMOVE: u64 = 0xc138_fd04;
const DEFERRED_REMOVE: u32 = 1 << 17;

#[repr(C)]
struct Request {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

/// Where device-mapper is controlled; missing on a kernel without it.
pub const CONTROL: &str = "/dev/mapper/control";

/// Removes the mapped device `name` as soon as nobody uses it: now, or when the last descriptor and mount of it are gone.
/// That there is none is success.
pub fn remove(name: &str) -> io::Result<()> {
    let control = match rustix::fs::open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(control) => control,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    // SAFETY: all-zero is a valid Request.
    let mut request: Request = unsafe { std::mem::zeroed() };
    request.version = [4, 0, 0];
    request.data_size = size_of::<Request>() as u32;
    request.flags = DEFERRED_REMOVE;
    let room = request.name.get_mut(..name.len()).filter(|_| name.len() < 128);
    room.ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?.copy_from_slice(name.as_bytes());
    // SAFETY: the argument is a dm_ioctl of the size it says.
    match unsafe { libc::ioctl(control.as_raw_fd(), DM_DEV_REMOVE as _, std::ptr::from_mut(&mut request)) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENXIO) => Ok(()),
            e => Err(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_it_carries() {
        assert_eq!(size_of::<Request>() as u64, (DM_DEV_REMOVE >> 16) & 0x3fff);
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        if rustix::process::geteuid().is_root() {
            remove("hostel-no-such-device").unwrap();
        }
        assert!(remove(&"x".repeat(200)).is_err() || !std::path::Path::new(CONTROL).exists());
    }
}
