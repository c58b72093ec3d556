//! Internet sockets that `rustix` and `std` cannot make: bound to one interface, or waiting to be connected.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

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

/// `SO_BINDTODEVICE`, socket(7).
fn bind_to_device(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    let name = interface.as_bytes();
    // SAFETY: pointer and length of one buffer.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), name.len() as u32) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
