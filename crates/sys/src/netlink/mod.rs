//! Netlink: typed requests, one send for a whole batch, every acknowledgement collected (netlink(7), rtnetlink(7)).
//!
//! A [`Request`] is bytes; [`route`] and [`nft`] make them. [`Socket::send`] gives one result per request, in order: the
//! kernel does the requests of one send one after the other and goes on after a failed one (rtnetlink), or does all or
//! none of a transaction (nftables).

mod message;
pub mod nft;
pub mod route;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub use message::{Attributes, Message, Request, attributes, messages};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NETLINK_CAP_ACK: i32 = 10;
const SOL_NETLINK: i32 = 270;
/// The kernel splits dumps into pieces of at most this size.
const BUFFER: usize = 32 << 10;

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes.
    Route,
    /// nftables.
    Netfilter,
}

/// A netlink socket of the network namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check(rc: i32) -> io::Result<i32> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

impl Socket {
    /// Opens a socket in the current network namespace.
    pub fn open(family: Family) -> io::Result<Self> {
        Self::with_groups(family, 0, 0)
    }

    /// A non-blocking socket that is told of addresses that come and go; see [`Socket::receive`].
    pub fn monitor_addresses() -> io::Result<Self> {
        Self::with_groups(Family::Route, (libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32, libc::SOCK_NONBLOCK)
    }

    fn with_groups(family: Family, groups: u32, flags: i32) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => libc::NETLINK_ROUTE,
            Family::Netfilter => libc::NETLINK_NETFILTER,
        };
        // SAFETY: integers only; the descriptor is owned right away.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC | flags, protocol))?) };
        let on: i32 = 1;
        // Without it a refusal carries the request back. Kernels before 4.3 do so whatever we say.
        // SAFETY: pointer and size of one integer.
        unsafe { libc::setsockopt(fd.as_raw_fd(), SOL_NETLINK, NETLINK_CAP_ACK, (&raw const on).cast(), size_of::<i32>() as u32) };
        if groups != 0 {
            // SAFETY: a zeroed address is valid; its size is given.
            unsafe {
                let mut address: libc::sockaddr_nl = std::mem::zeroed();
                address.nl_family = libc::AF_NETLINK as u16;
                address.nl_groups = groups;
                check(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_nl>() as u32))?;
            }
        }
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends all requests at once; one result each, in order. The outer error: the kernel could not be talked to.
    pub fn send(&mut self, requests: &[Request]) -> io::Result<Vec<io::Result<()>>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.sequence.wrapping_add(1);
        self.write(requests)?;
        let mut results: Vec<Option<io::Result<()>>> = requests.iter().map(|r| (!r.is_acknowledged()).then_some(Ok(()))).collect();
        let mut buffer = vec![0u8; BUFFER];
        while results.iter().any(Option::is_none) {
            let n = self.receive(&mut buffer)?;
            for message in messages(&buffer[..n]).filter(|m| m.kind == NLMSG_ERROR) {
                let Some(code) = message.body.get(..4).map(|c| i32::from_ne_bytes([c[0], c[1], c[2], c[3]])) else { continue };
                let result = if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                let at = message.sequence.wrapping_sub(first) as usize;
                match (requests.get(at), result) {
                    // The begin of a transaction is not acknowledged: an answer to it refuses all of it.
                    (Some(request), Err(e)) if !request.is_acknowledged() => return Err(e),
                    (Some(_), result) => results[at] = Some(result),
                    (None, _) => {}
                }
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Sends an nftables transaction: all of it happens, or nothing and the first error is given.
    pub fn transact(&mut self, requests: Vec<Request>) -> io::Result<()> {
        let batch = nft::transaction(requests);
        self.send(&batch)?.into_iter().collect()
    }

    /// Sends one request.
    pub fn ask(&mut self, request: Request) -> io::Result<()> {
        self.send(&[request])?.into_iter().collect()
    }

    /// Sends a dump request and gives every message of the answer to `each`.
    pub fn dump(&mut self, request: Request, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        self.write(&[request])?;
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let n = self.receive(&mut buffer)?;
            for message in messages(&buffer[..n]).filter(|m| m.sequence == self.sequence) {
                let code = || message.body.get(..4).map_or(0, |c| i32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR if code() == 0 => return Ok(()),
                    NLMSG_ERROR => return Err(io::Error::from_raw_os_error(-code())),
                    _ => each(&message),
                }
            }
        }
    }

    fn write(&mut self, requests: &[Request]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(requests.iter().map(|r| r.as_bytes().len()).sum());
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.write(self.sequence, &mut bytes);
        }
        // SAFETY: pointer and length of one buffer.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives one datagram of messages; for a monitor, `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // SAFETY: the buffer is valid for its length.
            let n = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            match n {
                0.. => return Ok(n as usize),
                _ => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e => return Err(e),
                },
            }
        }
    }
}

/// The index of the link called `name` in the current network namespace; ENODEV if there is none.
pub fn index_of(name: &str) -> io::Result<u32> {
    let Ok(name) = std::ffi::CString::new(name) else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
    // SAFETY: a NUL-terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Runs `what` with this thread in the network namespace `netns`, and comes back. The sockets it opens stay there.
pub fn inside<T>(netns: BorrowedFd<'_>, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = std::fs::File::open("/proc/thread-self/ns/net")?;
    enter(netns)?;
    let result = what();
    // A thread that stayed in the machine's network would do everything after this there.
    match enter(own.as_fd()) {
        Ok(()) => result,
        Err(e) => Err(io::Error::other(format!("come back from a network namespace: {e}"))),
    }
}

/// Moves this thread into a network namespace.
pub fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Sets the loopback interface of the current network namespace up (127.0.0.1 and ::1 come by themselves).
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: integers only; the descriptor is owned right away.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?) };
    // SAFETY: a zeroed ifreq is valid; the name fits its 16 bytes.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request)).map(drop)
    }
}
