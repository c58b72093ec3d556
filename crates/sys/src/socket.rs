//! Internet sockets that `rustix` and `std` cannot make: bound to one interface, or waiting to be connected.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

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

/// `SO_BINDTODEVICE`, socket(7).
fn bind_to_device(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    let name = interface.as_bytes();
    // SAFETY: pointer and length of one buffer.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), name.len() as u32) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
