//! Pseudo terminals out of a given devpts instance, without ever resolving a name inside a machine.
//!
//! The master comes from `ptmx` of a devpts the caller holds by descriptor, the slave from the master
//! (`TIOCGPTPEER`): nothing a hostile tree puts at `/dev/pts/N` or `/dev/console` is followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_sys::{ioctl, tree};
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::{self, Errno};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// `f_type` of devpts, linux/magic.h.
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl From<WindowSize> for Winsize {
    fn from(size: WindowSize) -> Winsize {
        Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// Why a pty could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {object}: {cause}")]
pub struct PtyError {
    /// What was tried.
    pub verb: &'static str,
    /// On what.
    pub object: &'static str,
    /// The kernel's answer.
    pub cause: Errno,
}

fn failed(verb: &'static str, object: &'static str) -> impl FnOnce(Errno) -> PtyError {
    move |cause| PtyError { verb, object, cause }
}

/// A pseudo terminal: both ends, close-on-exec, neither the controlling terminal of anyone yet.
#[derive(Debug)]
pub struct Pty {
    /// The supervisor's end, non-blocking (its file description is ours alone).
    pub master: OwnedFd,
    /// The machine's end.
    pub slave: OwnedFd,
    /// `N` of `/dev/pts/N` in its devpts instance.
    pub number: u32,
}

impl Pty {
    /// Makes a pty in the devpts instance whose root directory is `devpts` (an `O_PATH` or fsmount(2) descriptor will do).
    pub fn open(devpts: BorrowedFd<'_>) -> Result<Pty, PtyError> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let master = io::retry_on_intr(|| rustix::fs::openat2(devpts, c"ptmx", flags, Mode::empty(), resolve))
            .map_err(failed("open", "ptmx of the machine's devpts"))?;
        let magic = rustix::fs::fstatfs(&master).map_err(failed("check", "ptmx of the machine's devpts"))?.f_type;
        if magic as u64 != DEVPTS_SUPER_MAGIC {
            return Err(PtyError { verb: "check", object: "file system of ptmx", cause: Errno::NOTTY });
        }
        let number = ioctl::pty_number(&master).map_err(failed("number", "pty"))?;
        ioctl::pty_unlock(&master).map_err(failed("unlock", "pty"))?;
        let slave = open_slave(master.as_fd()).map_err(failed("open", "slave of the pty"))?;
        Ok(Pty { master, slave, number })
    }

    /// Makes one in the devpts of the root directory that this process is in, which may be hostile.
    pub fn inside() -> Result<Pty, PtyError> {
        let (flags, found) = (OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, || failed("open", "/dev/pts of the machine"));
        let root = rustix::fs::open(c"/", flags, Mode::empty()).map_err(found())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let devpts = tree::openat2(root.as_fd(), c"dev/pts", flags, Mode::empty(), resolve).map_err(found())?;
        Pty::open(devpts.as_fd())
    }

    /// Sets rows and columns.
    pub fn set_size(&self, size: WindowSize) -> Result<(), PtyError> {
        set_size(self.master.as_fd(), size).map_err(failed("resize", "pty"))
    }

    /// Gives the slave to `uid`:`gid`, as the host counts them. The mode stays what the devpts mount options say.
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), PtyError> {
        if uid == u32::MAX || gid == u32::MAX {
            return Err(PtyError { verb: "chown", object: "slave of the pty", cause: Errno::INVAL });
        }
        rustix::fs::fchown(&self.slave, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed("chown", "slave of the pty"))
    }
}

/// The slave that belongs to `master`, by `TIOCGPTPEER`: no path is involved.
pub fn open_slave(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// Sets rows and columns of a terminal; its foreground processes get `SIGWINCH` when that changes something.
pub fn set_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    rustix::termios::tcsetwinsize(terminal, size.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

    #[test]
    fn from_the_hosts_devpts() {
        let Ok(dir) = rustix::fs::openat(CWD, "/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
            println!("skipped: no /dev/pts");
            return;
        };
        let pty = Pty::open(dir.as_fd()).unwrap();
        pty.set_size(WindowSize { rows: 7, cols: 9 }).unwrap();
        let seen = rustix::termios::tcgetwinsize(&pty.slave).unwrap();
        assert_eq!((seen.ws_row, seen.ws_col), (7, 9));
        assert_eq!(rustix::fs::fstat(&pty.slave).unwrap().st_rdev & 0xff, u64::from(pty.number & 0xff));
        rustix::io::write(&pty.slave, b"hi").unwrap();
        let mut buf = [0; 8];
        assert_eq!(rustix::io::read(&pty.master, &mut buf), Ok(2));
        assert_eq!(rustix::io::read(&pty.master, &mut buf), Err(Errno::AGAIN));
    }

    #[test]
    fn from_a_detached_instance() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return;
        }
        let fs = rustix::mount::fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        rustix::mount::fsconfig_set_string(fs.as_fd(), "ptmxmode", "0666").unwrap();
        rustix::mount::fsconfig_set_string(fs.as_fd(), "mode", "0620").unwrap();
        rustix::mount::fsconfig_create(fs.as_fd()).unwrap();
        let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        let pty = Pty::open(mount.as_fd()).unwrap();
        assert_eq!(pty.number, 0, "an instance of its own counts from 0");
        pty.set_owner(123, 45).unwrap();
        let stat = rustix::fs::fstat(&pty.slave).unwrap();
        assert_eq!((stat.st_uid, stat.st_gid, stat.st_mode & 0o777), (123, 45, 0o620));
    }

    #[test]
    fn a_directory_that_is_no_devpts_is_refused() {
        let dir = std::env::temp_dir().join(format!("hostel-pty-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let open = || rustix::fs::openat(CWD, &dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(Pty::open(open().as_fd()).unwrap_err().cause, Errno::NOENT);
        std::os::unix::fs::symlink("/dev/pts/ptmx", dir.join("ptmx")).unwrap();
        assert!(Pty::open(open().as_fd()).is_err());
        std::fs::remove_file(dir.join("ptmx")).unwrap();
        std::fs::write(dir.join("ptmx"), "x").unwrap();
        assert_eq!(Pty::open(open().as_fd()).unwrap_err().cause, Errno::NOTTY);
        std::fs::remove_dir_all(&dir).unwrap();

        // A real ptmx, but a node beside a devpts and not in it.
        let dev = rustix::fs::openat(CWD, "/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        match rustix::fs::readlinkat(&dev, "ptmx", Vec::new()) {
            Ok(_) => println!("skipped: /dev/ptmx is a link here"),
            Err(_) => assert_eq!(Pty::open(dev.as_fd()).unwrap_err().object, "file system of ptmx"),
        }
    }
}
