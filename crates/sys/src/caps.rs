//! Capability sets of the calling thread (capabilities(7)), as 64-bit masks.

use std::io;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Reads (permitted, effective, inheritable).
pub fn get() -> io::Result<(u64, u64, u64)> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: version 3 takes two data structs; both pointers are valid.
    if unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), data.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let join = |f: fn(&Data) -> u32| u64::from(f(&data[0])) | u64::from(f(&data[1])) << 32;
    Ok((join(|d| d.permitted), join(|d| d.effective), join(|d| d.inheritable)))
}

/// Sets permitted, effective and inheritable.
pub fn set(permitted: u64, effective: u64, inheritable: u64) -> io::Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: as in `get`.
    if unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_mut(&mut header), data.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn prctl(option: i32, a: u64, b: u64) -> io::Result<i32> {
    // SAFETY: the options used here take integers only.
    let ret = unsafe { libc::prctl(option, a, b, 0 as libc::c_ulong, 0 as libc::c_ulong) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// Drops everything outside `keep` from the bounding set.
pub fn limit_bounding(keep: u64) -> io::Result<()> {
    for cap in (0..64u64).filter(|cap| keep >> cap & 1 == 0) {
        match prctl(libc::PR_CAPBSET_DROP, cap, 0) {
            Ok(_) => {}
            // EINVAL: the kernel knows no capability of this number, nor any above.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            // EPERM: without CAP_SETPCAP; good enough where it was dropped before.
            Err(e) => match prctl(libc::PR_CAPBSET_READ, cap, 0) {
                Ok(0) => {}
                Err(_) => break,
                Ok(_) => return Err(e),
            },
        }
    }
    Ok(())
}

/// Whether a capability is in the bounding set; `None`: the kernel knows none of this number, nor any above.
pub fn in_bounding(cap: u8) -> Option<bool> {
    prctl(libc::PR_CAPBSET_READ, cap.into(), 0).ok().map(|found| found == 1)
}

/// The bounding set.
pub fn bounding() -> u64 {
    (0..64).map_while(|cap| Some(u64::from(in_bounding(cap)?) << cap)).fold(0, |set, bit| set | bit)
}

/// Empties the ambient set, then raises `mask`.
pub fn set_ambient(mask: u64) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for cap in (0..64u64).filter(|c| mask >> c & 1 == 1) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, cap)?;
    }
    Ok(())
}

/// Whether capabilities survive the change to another uid (PR_SET_KEEPCAPS; cleared by execve).
pub fn keep_over_setuid(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, u64::from(keep), 0).map(drop)
}
