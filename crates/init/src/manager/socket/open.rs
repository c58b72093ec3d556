//! Makes what a socket unit listens on.

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use hostel_process::userdb;
use hostel_sys::socket::{self, Setting};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use super::address::{Address, Way};
use super::config::{Config, V6Only};

/// Whom files of sockets belong to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

impl Owner {
    /// SocketUser= and SocketGroup= by the tree's files.
    pub(super) fn of(config: &Config) -> Result<Owner, String> {
        if config.user.is_none() && config.group.is_none() {
            return Ok(Owner::default());
        }
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| format!("open /: {e}"))?;
        let mut owner = Owner::default();
        if let Some(name) = &config.user {
            let words = |e: userdb::UserError| {
                let (verb, object, cause) = e.parts();
                format!("{verb} {object}: {cause}")
            };
            let user = userdb::parse_selector(name).and_then(|who| userdb::lookup(root.as_fd(), &who)).map_err(words)?;
            owner = Owner { user: Some(user.uid), group: Some(user.gid) };
        }
        if let Some(name) = &config.group {
            let known = userdb::names(root.as_fd()).map(|names| names.groups).unwrap_or_default();
            let found = userdb::parse_id(name.as_bytes()).or_else(|| known.iter().find(|(n, _)| n == name).map(|(_, gid)| *gid));
            owner.group = Some(found.ok_or_else(|| format!("find group {name:?}: no such group in /etc/group"))?);
        }
        Ok(owner)
    }

    fn give(self, path: &str) -> Result<(), String> {
        if self.user.is_none() && self.group.is_none() {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, self.user, self.group).map_err(|e| format!("change owner of {path}: {e}"))
    }
}

/// Opens one address, bound and listening.
pub(super) fn open(config: &Config, way: Way, address: &Address, owner: Owner) -> Result<OwnedFd, String> {
    let failed = |what: &'static str| move |e: std::io::Error| format!("{what} {address}: {e}");
    match address {
        Address::Fifo(path) => fifo(config, path, owner),
        Address::Special(path) => special(config, path),
        Address::Queue(name) => {
            let c = CString::new(name.as_str()).map_err(|_| "a name has no NUL".to_owned())?;
            socket::message_queue(&c, config.mode, config.queue).map_err(failed("open message queue"))
        }
        Address::Netlink(family, group) => {
            let protocol = u32::try_from(*family).ok().and_then(std::num::NonZeroU32::new).map(Protocol::from_raw);
            let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, FLAGS, protocol).map_err(|e| failed("make socket for")(e.into()))?;
            tune(config, &fd, false)?;
            let groups = group.checked_sub(1).map_or(0, |n| 1u32.checked_shl(n).unwrap_or(0));
            bind(&fd, &rustix::net::netlink::SocketAddrNetlink::new(0, groups)).map_err(|e| failed("bind")(e.into()))?;
            Ok(fd)
        }
        Address::Path(path) => unix(config, way, path, owner),
        Address::Abstract(name) => {
            let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(|e| failed("bind")(e.into()))?;
            let fd = socket_with(AddressFamily::UNIX, kind(way), FLAGS, None).map_err(|e| failed("make socket for")(e.into()))?;
            tune(config, &fd, false)?;
            bind(&fd, &address).map_err(|e| failed("bind")(e.into()))?;
            begin(config, way, &fd).map_err(failed("listen at"))?;
            Ok(fd)
        }
        Address::Inet(at, scope) => {
            let mut at = *at;
            if let (SocketAddr::V6(v6), Some(name)) = (&mut at, scope) {
                let number = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok().and_then(|t| t.trim().parse().ok());
                v6.set_scope_id(number.ok_or_else(|| format!("bind {address}: there is no interface {name}"))?);
            }
            inet(config, way, at).map_err(failed("listen at"))
        }
        Address::AnyHost(port) => {
            let v6 = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, *port, 0, 0));
            match inet(config, way, v6) {
                // a kernel, or a machine, without IPv6
                Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)) => {
                    inet(config, way, SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, *port)))
                }
                other => other,
            }
            .map_err(failed("listen at"))
        }
    }
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn kind(way: Way) -> SocketType {
    match way {
        Way::Datagram => SocketType::DGRAM,
        Way::SequentialPacket => SocketType::SEQPACKET,
        _ => SocketType::STREAM,
    }
}

fn begin(config: &Config, way: Way, fd: &OwnedFd) -> std::io::Result<()> {
    if way == Way::Datagram { Ok(()) } else { Ok(listen(fd, config.backlog)?) }
}

fn inet(config: &Config, way: Way, at: SocketAddr) -> std::io::Result<OwnedFd> {
    let family = if at.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let protocol = config.protocol.and_then(std::num::NonZeroU32::new).map(Protocol::from_raw);
    let fd = socket_with(family, kind(way), FLAGS, protocol)?;
    if at.is_ipv6() && config.v6_only != V6Only::Default {
        socket::set(&fd, Setting::V6Only, i32::from(config.v6_only == V6Only::Only))?;
    }
    // a restart must not wait for old connections
    socket::set(&fd, Setting::ReuseAddress, 1)?;
    if let Some(interface) = &config.interface {
        socket::bind_to_device(&fd, interface)?;
    }
    tune(config, &fd, at.is_ipv6()).map_err(std::io::Error::other)?;
    bind(&fd, &at)?;
    begin(config, way, &fd)?;
    Ok(fd)
}

/// Sets what is asked for, before the socket is bound. What a kind of socket does not have it is not asked to have.
fn tune(config: &Config, fd: &OwnedFd, is_v6: bool) -> Result<(), String> {
    let unfit = |e: &std::io::Error| matches!(Errno::from_io_error(e), Some(Errno::NOPROTOOPT | Errno::OPNOTSUPP | Errno::INVAL));
    for (setting, value) in &config.settings {
        let setting = match (setting, is_v6) {
            (Setting::TransparentV4, true) => Setting::TransparentV6,
            (Setting::PacketInfoV4, true) => Setting::PacketInfoV6,
            (Setting::TimeToLive, true) => Setting::HopsV6,
            (other, _) => *other,
        };
        match socket::set(fd, setting, *value) {
            Err(e) if !unfit(&e) => return Err(format!("set {setting:?} of a socket: {e}")),
            _ => {}
        }
    }
    for (bytes, (force, usual)) in
        config.buffers.iter().zip([(Setting::ReceiveBufferForce, Setting::ReceiveBuffer), (Setting::SendBufferForce, Setting::SendBuffer)])
    {
        // who may not go beyond the kernel's limit gets as much as there is
        if let Some(bytes) = bytes
            && socket::set(fd, force, *bytes).is_err()
        {
            let _ = socket::set(fd, usual, *bytes);
        }
    }
    if let Some(word) = &config.congestion {
        rustix::net::sockopt::set_tcp_congestion(fd, word).map_err(|e| format!("set TCPCongestion={word}: {e}"))?;
    }
    Ok(())
}

/// Makes the directories above a path.
pub(super) fn directories(path: &str, mode: u32) -> Result<(), String> {
    let Some(above) = Path::new(path).parent().filter(|p| !p.is_dir()) else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(above).map_err(|e| format!("make directory {}: {e}", above.display()))
}

fn unix(config: &Config, way: Way, path: &str, owner: Owner) -> Result<OwnedFd, String> {
    let failed = |what: &'static str| move |e: Errno| format!("{what} {path}: {}", std::io::Error::from(e));
    directories(path, config.directory_mode)?;
    let address = SocketAddrUnix::new(path).map_err(failed("bind"))?;
    let fd = socket_with(AddressFamily::UNIX, kind(way), FLAGS, None).map_err(failed("make socket for"))?;
    tune(config, &fd, false)?;
    // never open wider than asked, not for a moment
    let old = rustix::process::umask(Mode::from_raw_mode(0o777 & !config.mode));
    let bound = bind(&fd, &address).or_else(|e| {
        // what an earlier life left; nothing else is removed
        if e == Errno::ADDRINUSE && std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
            std::fs::remove_file(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            return bind(&fd, &address);
        }
        Err(e)
    });
    rustix::process::umask(old);
    bound.map_err(failed("bind"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(config.mode)).map_err(|e| format!("change mode of {path}: {e}"))?;
    owner.give(path)?;
    begin(config, way, &fd).map_err(|e| format!("listen at {path}: {e}"))?;
    Ok(fd)
}

fn fifo(config: &Config, path: &str, owner: Owner) -> Result<OwnedFd, String> {
    directories(path, config.directory_mode)?;
    let old = rustix::process::umask(Mode::from_raw_mode(0o777 & !config.mode));
    let made = rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(config.mode & 0o777), 0);
    rustix::process::umask(old);
    match made {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(format!("make FIFO {path}: {}", std::io::Error::from(e))),
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| format!("open {path}: {}", std::io::Error::from(e)))?;
    let is_fifo = rustix::fs::fstat(&fd).is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Fifo);
    if !is_fifo {
        return Err(format!("open {path}: it is no FIFO"));
    }
    owner.give(path)?;
    if let Some(bytes) = config.pipe_size {
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    Ok(fd)
}

fn special(config: &Config, path: &str) -> Result<OwnedFd, String> {
    let how = if config.writable { OFlags::RDWR } else { OFlags::RDONLY };
    let fd = rustix::fs::open(path, how | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW, Mode::empty());
    let fd = fd.map_err(|e| format!("open {path}: {}", std::io::Error::from(e)))?;
    let kind = rustix::fs::fstat(&fd).map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode));
    if !matches!(kind, Ok(rustix::fs::FileType::RegularFile | rustix::fs::FileType::CharacterDevice)) {
        return Err(format!("open {path}: it is neither a file nor a character device"));
    }
    Ok(fd)
}

/// Links of Symlinks=, in the place of links that were there.
pub(super) fn links(config: &Config) -> Vec<String> {
    let target = config.listens.iter().find_map(|(_, at)| if let Address::Path(p) | Address::Fifo(p) = at { Some(p.as_str()) } else { None });
    let mut faults = Vec::new();
    for link in &config.links {
        let Some(target) = target else {
            faults.push("Symlinks= needs a socket or FIFO in the file system".to_owned());
            break;
        };
        if std::fs::symlink_metadata(link).is_ok_and(|m| m.is_symlink()) {
            let _ = std::fs::remove_file(link);
        }
        let made = directories(link, config.directory_mode)
            .and_then(|()| std::os::unix::fs::symlink(target, link).map_err(|e| format!("make link {link}: {e}")));
        faults.extend(made.err());
    }
    faults
}

/// Removes what was made in the file system, when RemoveOnStop= asks for it.
pub(super) fn remove(config: &Config) {
    if !config.remove {
        return;
    }
    for (_, address) in &config.listens {
        match address {
            Address::Path(path) | Address::Fifo(path) => drop(std::fs::remove_file(path)),
            Address::Queue(name) => drop(CString::new(name.as_str()).map(|c| socket::remove_message_queue(&c))),
            _ => {}
        }
    }
    config.links.iter().for_each(|link| drop(std::fs::remove_file(link)));
}

/// Throws away what has come: connections are taken and closed, data is read.
pub(super) fn flush(fd: BorrowedFd<'_>, way: Way) {
    let mut buffer = [0u8; 1024];
    // a service that had it may have been given one that waits
    let _ = rustix::io::ioctl_fionbio(fd, true);
    for _ in 0..4096 {
        let done = match way {
            Way::Stream | Way::SequentialPacket => rustix::net::accept_with(fd, SocketFlags::CLOEXEC).is_err(),
            _ => rustix::io::read(fd, &mut buffer).map_or(true, |n| n == 0),
        };
        if done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::testing::Tree;

    fn config(text: &str) -> Config {
        let tree = Tree::new("manager-socket-open");
        tree.unit("a.socket", &format!("[Socket]\n{text}\n"));
        let unit = tree.load("a.socket");
        assert!(unit.is_loaded(), "{:?}", unit.state);
        Config::of(&unit)
    }

    fn open_all(config: &Config) -> Result<Vec<OwnedFd>, String> {
        config.listens.iter().map(|(way, address)| open(config, *way, address, Owner::default())).collect()
    }

    #[test]
    fn all_kinds() {
        let directory = std::env::temp_dir().join(format!("hostel-open-{}", std::process::id()));
        let at = directory.to_string_lossy();
        let c = config(&format!(
            "ListenStream={at}/d/s\nListenDatagram={at}/d/g\nListenSequentialPacket=@hostel-{0}\nListenFIFO={at}/d/f\nListenSpecial=/dev/null\nListenStream=127.0.0.1:{1}\n\
             ListenDatagram=127.0.0.1:{1}\nListenNetlink=route 1\nSocketMode=0600\nDirectoryMode=0700\nSymlinks={at}/link\nRemoveOnStop=yes\nKeepAlive=yes\nNoDelay=yes\n\
             KeepAliveTimeSec=7\nPriority=3\nReceiveBuffer=64K\nPassCredentials=yes\nReusePort=yes",
            std::process::id(),
            20_000 + std::process::id() % 20_000
        ));
        assert!(c.faults.is_empty(), "{:?}", c.faults);
        let fds = open_all(&c).unwrap();
        assert_eq!(fds.len(), 8);
        assert!(links(&c).is_empty());
        let mode = |name: &str| std::fs::symlink_metadata(directory.join(name)).map(|m| m.mode() & 0o7777).unwrap_or(0);
        assert_eq!((mode("d"), mode("d/s"), mode("d/g"), mode("d/f")), (0o700, 0o600, 0o600, 0o600));
        std::os::unix::net::UnixStream::connect(directory.join("link")).unwrap();
        flush(fds[0].as_fd(), Way::Stream);
        assert!(rustix::net::accept_with(&fds[0], SocketFlags::CLOEXEC).is_err(), "nothing is left");
        assert_eq!(rustix::net::sockopt::tcp_keepidle(&fds[5]).unwrap().as_secs(), 7);
        // what is there already is taken over
        drop(fds);
        assert!(open_all(&c).is_ok());
        remove(&c);
        assert!(!directory.join("d/s").exists() && std::fs::symlink_metadata(directory.join("link")).is_err());
        // a file that is no socket is left alone
        std::fs::write(directory.join("d/s"), "mine").unwrap();
        assert!(open_all(&c).unwrap_err().contains("Address already in use") || open_all(&c).is_err());
        assert_eq!(std::fs::read_to_string(directory.join("d/s")).unwrap(), "mine");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
