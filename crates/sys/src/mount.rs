//! The new mount API: detached mounts, attributes, id maps (fsopen(2), mount_setattr(2); Linux 5.12+).
//!
//! Every function takes descriptors plus a path relative to one, so that no path inside a tree is walked twice.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Mount attributes, as bits of `MOUNT_ATTR_*` (linux/mount.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub u64);

impl Attributes {
    /// None.
    pub const NONE: Attributes = Attributes(0);
    /// Read-only.
    pub const RDONLY: Attributes = Attributes(0x1);
    /// Set-user-id bits have no effect.
    pub const NOSUID: Attributes = Attributes(0x2);
    /// Device nodes cannot be opened.
    pub const NODEV: Attributes = Attributes(0x4);
    /// Nothing can be executed.
    pub const NOEXEC: Attributes = Attributes(0x8);
    /// Access times not updated.
    pub const NOATIME: Attributes = Attributes(0x10);
    /// Access times always updated.
    pub const STRICTATIME: Attributes = Attributes(0x20);
    /// Access times of directories not updated.
    pub const NODIRATIME: Attributes = Attributes(0x80);
    /// Links are not followed.
    pub const NOSYMFOLLOW: Attributes = Attributes(0x0020_0000);
    /// The bits of which one is chosen; none: access times are updated when they are older than the file's others (relatime).
    pub const ATIME_MASK: u64 = 0x70;
    const IDMAP: u64 = 0x0010_0000;

    /// Both together.
    pub const fn or(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }
}

/// How mount events travel to and from a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// As it is.
    Keep,
    /// To nobody, from nobody.
    Private,
    /// From the master only.
    Slave,
    /// Both ways.
    Shared,
    /// As private, and cannot be bound elsewhere.
    Unbindable,
}

/// A file system option for [`filesystem`].
#[derive(Debug, Clone, Copy)]
pub enum FsOption<'a> {
    /// A bare word.
    Flag(&'a CStr),
    /// `key=value`.
    Text(&'a CStr, &'a CStr),
    /// A key whose value is a descriptor.
    Fd(&'a CStr, BorrowedFd<'a>),
}

fn check(ret: libc::c_long) -> io::Result<libc::c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn owned(ret: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(ret)?;
    // SAFETY: the kernel just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

const FSCONFIG_SET_FLAG: libc::c_long = 0;
const FSCONFIG_SET_STRING: libc::c_long = 1;
const FSCONFIG_SET_FD: libc::c_long = 5;
const FSCONFIG_CMD_CREATE: libc::c_long = 6;
const FSCONFIG_CMD_RECONFIGURE: libc::c_long = 7;

/// Opens a file system context (fsopen(2)) to be configured and created.
pub fn open_context(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `kind` is a NUL-terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1 as libc::c_long) })
}

/// Sets one option on a context.
pub fn configure(context: BorrowedFd<'_>, option: FsOption<'_>) -> io::Result<()> {
    let fd = libc::c_long::from(context.as_raw_fd());
    let null = std::ptr::null::<libc::c_char>();
    let ret = match option {
        // SAFETY: strings are NUL-terminated and outlive the call; unused arguments are null and 0.
        FsOption::Flag(key) => unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_SET_FLAG, key.as_ptr(), null, 0 as libc::c_long) },
        // SAFETY: as above.
        FsOption::Text(key, value) => unsafe {
            libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0 as libc::c_long)
        },
        // SAFETY: as above; `value` is an open descriptor for the length of the call.
        FsOption::Fd(key, value) => unsafe {
            libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_SET_FD, key.as_ptr(), null, libc::c_long::from(value.as_raw_fd()))
        },
    };
    check(ret).map(drop)
}

/// Creates the configured file system and returns it as a detached mount.
pub fn create(context: BorrowedFd<'_>, attributes: Attributes) -> io::Result<OwnedFd> {
    let fd = libc::c_long::from(context.as_raw_fd());
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: plain integers and null pointers, as fsconfig(2) wants for CMD_CREATE.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, null, null, 0 as libc::c_long) })?;
    // SAFETY: plain integers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, 1 as libc::c_long, attributes.0 as libc::c_long) })
}

/// Applies what was configured since to the file system that [`create`] made of this context.
pub fn reconfigure(context: BorrowedFd<'_>) -> io::Result<()> {
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: plain integers and null pointers, as fsconfig(2) wants for CMD_RECONFIGURE.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, libc::c_long::from(context.as_raw_fd()), FSCONFIG_CMD_RECONFIGURE, null, null, 0 as libc::c_long)
    })
    .map(drop)
}

/// A new file system instance of `kind` as a detached mount.
pub fn filesystem(kind: &CStr, options: &[FsOption<'_>], attributes: Attributes) -> io::Result<OwnedFd> {
    let context = open_context(kind)?;
    for option in options {
        configure(context.as_fd(), *option)?;
    }
    create(context.as_fd(), attributes)
}

/// What the kernel wrote about a failed context (fsopen(2) messages), one line, empty when nothing.
pub fn context_message(context: BorrowedFd<'_>) -> String {
    let mut out = String::new();
    let mut buffer = [0u8; 512];
    // SAFETY: the buffer is valid for its length.
    let n = unsafe { libc::read(context.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    if n > 2 {
        out.push_str(String::from_utf8_lossy(&buffer[2..n as usize]).trim_end());
    }
    out
}

const OPEN_TREE_CLONE: libc::c_long = 1;
const AT_RECURSIVE: libc::c_long = 0x8000;
const AT_EMPTY_PATH: libc::c_long = 0x1000;

/// Clones what is mounted at `dir`/`path` (empty path: `dir` itself) as a detached mount.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE | libc::c_long::from(libc::O_CLOEXEC);
    if recursive {
        flags |= AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= AT_EMPTY_PATH;
    }
    // SAFETY: `path` is NUL-terminated; the rest are integers.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::c_long::from(dir.as_raw_fd()), path.as_ptr(), flags) })
}

/// Attaches a detached mount at `dir`/`path` (empty path: on `dir` itself). The last component is not followed.
pub fn attach(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    const F_EMPTY_PATH: libc::c_long = 0x4;
    const T_EMPTY_PATH: libc::c_long = 0x40;
    let mut flags = F_EMPTY_PATH;
    if path.is_empty() {
        flags |= T_EMPTY_PATH;
    }
    // SAFETY: both strings are NUL-terminated; the rest are integers.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            libc::c_long::from(mount.as_raw_fd()),
            c"".as_ptr(),
            libc::c_long::from(dir.as_raw_fd()),
            path.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes a mount's attributes and propagation; `idmap` is a user namespace whose id map the mount gets.
pub fn change(
    dir: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    set: Attributes,
    clear: Attributes,
    propagation: Propagation,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut clear_bits = clear.0;
    if set.0 & Attributes::ATIME_MASK != 0 {
        clear_bits |= Attributes::ATIME_MASK;
    }
    let attr = MountAttr {
        attr_set: set.0 | if idmap.is_some() { Attributes::IDMAP } else { 0 },
        attr_clr: clear_bits,
        propagation: match propagation {
            Propagation::Keep => 0,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        },
        userns_fd: idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let mut flags = 0;
    if recursive {
        flags |= AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= AT_EMPTY_PATH;
    }
    // SAFETY: `attr` is a valid mount_attr of the size given; `path` is NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::c_long::from(dir.as_raw_fd()),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Makes `.` the root of the mount namespace and drops the old root. The working directory must be a mount's root.
pub fn pivot_to_cwd() -> io::Result<()> {
    // SAFETY: constant NUL-terminated strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // The old root now lies over the new one at "."; this takes it away, with everything below it.
    // SAFETY: constant string and flag.
    check(libc::c_long::from(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }))?;
    // SAFETY: constant string.
    check(libc::c_long::from(unsafe { libc::chdir(c"/".as_ptr()) })).map(drop)
}

/// Takes away the topmost mount at `path`, also when it is busy.
pub fn detach(path: &CStr) -> io::Result<()> {
    // SAFETY: NUL-terminated string and flags; UMOUNT_NOFOLLOW: a planted link is not followed.
    check(libc::c_long::from(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })).map(drop)
}

/// What [`look`] sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The id of the mount it is in.
    pub mount: u64,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
}

/// The mount that `dir`/`path` (empty path: `dir` itself) is in (statx STATX_MNT_ID, Linux 5.8), and what it is.
/// The last component is not followed when it is a link, but what is mounted on it is seen.
pub fn look(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<Seen> {
    let mut out = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    let mask = libc::STATX_MNT_ID | libc::STATX_TYPE | libc::STATX_MODE;
    // SAFETY: `out` is large enough for a statx; `path` is NUL-terminated.
    check(libc::c_long::from(unsafe { libc::statx(dir.as_raw_fd(), path.as_ptr(), flags, mask, out.as_mut_ptr()) }))?;
    // SAFETY: zero-initialised, then filled by the kernel.
    let seen = unsafe { out.assume_init() };
    Ok(Seen { mount: seen.stx_mnt_id, mode: u32::from(seen.stx_mode) })
}

/// The id of the mount at `dir`/`path`; see [`look`].
pub fn mount_id(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<u64> {
    look(dir, path).map(|seen| seen.mount)
}
