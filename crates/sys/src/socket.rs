//! Internet sockets that `rustix` and `std` cannot make: bound to one interface, or waiting to be connected.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A non-blocking UDP socket that hears only what comes in by `interface`. `shared`: others may have the same port there.
pub fn udp_on(interface: &str, address: SocketAddrV4, shared: bool) -> io::Result<UdpSocket> {
    let fd = socket_with(AddressFamily::INET, SocketType::DGRAM, FLAGS, None)?;
    bind_to_device(&fd, interface)?;
    sockopt::set_socket_reuseaddr(&fd, shared)?;
    sockopt::set_socket_broadcast(&fd, true)?;
    bind(&fd, &SocketAddr::V4(address))?;
    Ok(fd.into())
}

/// A non-blocking UDP socket bound to `address`; port 0 = the kernel's choice.
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Begins to connect; the socket gets writable when that is decided.
pub fn tcp_connecting(address: SocketAddrV4) -> io::Result<TcpStream> {
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
    match connect(&fd, &SocketAddr::V4(address)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(fd.into()),
        Err(e) => Err(e.into()),
    }
}

/// A non-blocking raw socket that hears the router solicitations (RFC 4861) that come in by `interface`, number `index`, and
/// sends from its address `source`: the kernel writes the check sum. What it sends and receives are ICMPv6 messages; the
/// ports of addresses are 0.
pub fn router(interface: &str, index: u32, source: Ipv6Addr) -> io::Result<UdpSocket> {
    const ICMP6_FILTER: i32 = 1;
    const SOLICITATION: usize = 133;
    let fd = socket_with(AddressFamily::INET6, SocketType::RAW, FLAGS, Some(ipproto::ICMPV6))?;
    // A set bit keeps a type out.
    let mut filter = [u32::MAX; 8];
    filter[SOLICITATION / 32] &= !(1 << (SOLICITATION % 32));
    // SAFETY: pointer and size of one array.
    let rc = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, filter.as_ptr().cast(), size_of_val(&filter) as u32) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    bind_to_device(&fd, interface)?;
    // A receiver takes only what no router has passed on.
    sockopt::set_ipv6_unicast_hops(&fd, Some(255))?;
    sockopt::set_ipv6_multicast_hops(&fd, 255)?;
    bind(&fd, &SocketAddr::V6(SocketAddrV6::new(source, 0, 0, index)))?;
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    sockopt::set_ipv6_add_membership(&fd, &all_routers, index)?;
    Ok(fd.into())
}

/// Ties a socket to one network interface, or to none when the name is empty: `SO_BINDTODEVICE`, socket(7).
pub fn bind_to_device(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    let name = interface.as_bytes();
    // SAFETY: pointer and length of one buffer.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), name.len() as u32) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A number that a socket has under this name, socket(7), ip(7), ipv6(7), tcp(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Setting {
    ReuseAddress,
    ReusePort,
    KeepAlive,
    KeepAliveTime,
    KeepAliveInterval,
    KeepAliveProbes,
    DeferAccept,
    NoDelay,
    Priority,
    ReceiveBuffer,
    ReceiveBufferForce,
    SendBuffer,
    SendBufferForce,
    Mark,
    PassCredentials,
    PassSecurity,
    Broadcast,
    Timestamp,
    TimestampNanos,
    V6Only,
    FreeBind,
    TransparentV4,
    TransparentV6,
    PacketInfoV4,
    PacketInfoV6,
    PacketInfoNetlink,
    TypeOfService,
    TimeToLive,
    HopsV6,
}

impl Setting {
    fn place(self) -> (i32, i32) {
        match self {
            Setting::ReuseAddress => (libc::SOL_SOCKET, libc::SO_REUSEADDR),
            Setting::ReusePort => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
            Setting::KeepAlive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
            Setting::KeepAliveTime => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
            Setting::KeepAliveInterval => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
            Setting::KeepAliveProbes => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
            Setting::DeferAccept => (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
            Setting::NoDelay => (libc::IPPROTO_TCP, libc::TCP_NODELAY),
            Setting::Priority => (libc::SOL_SOCKET, libc::SO_PRIORITY),
            Setting::ReceiveBuffer => (libc::SOL_SOCKET, libc::SO_RCVBUF),
            Setting::ReceiveBufferForce => (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
            Setting::SendBuffer => (libc::SOL_SOCKET, libc::SO_SNDBUF),
            Setting::SendBufferForce => (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE),
            Setting::Mark => (libc::SOL_SOCKET, libc::SO_MARK),
            Setting::PassCredentials => (libc::SOL_SOCKET, libc::SO_PASSCRED),
            Setting::PassSecurity => (libc::SOL_SOCKET, libc::SO_PASSSEC),
            Setting::Broadcast => (libc::SOL_SOCKET, libc::SO_BROADCAST),
            Setting::Timestamp => (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
            Setting::TimestampNanos => (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
            Setting::V6Only => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
            Setting::FreeBind => (libc::IPPROTO_IP, libc::IP_FREEBIND),
            Setting::TransparentV4 => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
            Setting::TransparentV6 => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
            Setting::PacketInfoV4 => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            Setting::PacketInfoV6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            Setting::PacketInfoNetlink => (libc::SOL_NETLINK, libc::NETLINK_PKTINFO),
            Setting::TypeOfService => (libc::IPPROTO_IP, libc::IP_TOS),
            Setting::TimeToLive => (libc::IPPROTO_IP, libc::IP_TTL),
            Setting::HopsV6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        }
    }
}

/// Changes one of a socket's numbers.
pub fn set<Fd: AsFd>(socket: Fd, setting: Setting, value: i32) -> io::Result<()> {
    let (level, name) = setting.place();
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: pointer and length of one number.
    let rc = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), size) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens a POSIX message queue for reading, and makes it if it is not there; `limits`: most messages, and their size. mq_overview(7).
pub fn message_queue(name: &std::ffi::CStr, mode: u32, limits: Option<(i64, i64)>) -> io::Result<OwnedFd> {
    // the kernel's names have no slash before them
    let bare = name.to_bytes_with_nul();
    let bare = bare.strip_prefix(b"/").unwrap_or(bare);
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_CREAT;
    // mq_flags, mq_maxmsg, mq_msgsize, mq_curmsgs, four reserved: longs of the kernel
    let attributes: Option<[libc::c_long; 8]> = limits.map(|(most, size)| [0, most as libc::c_long, size as libc::c_long, 0, 0, 0, 0, 0]);
    let pointer = attributes.as_ref().map_or(std::ptr::null(), |a| a.as_ptr());
    // SAFETY: a terminated name, and null or a live mq_attr.
    let fd = unsafe { libc::syscall(libc::SYS_mq_open, bare.as_ptr(), flags, mode, pointer) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel gave a new descriptor.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) })
}

/// Removes a message queue.
pub fn remove_message_queue(name: &std::ffi::CStr) -> io::Result<()> {
    let bare = name.to_bytes_with_nul();
    let bare = bare.strip_prefix(b"/").unwrap_or(bare);
    // SAFETY: a terminated name.
    let rc = unsafe { libc::syscall(libc::SYS_mq_unlink, bare.as_ptr()) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
