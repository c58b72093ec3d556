//! Who is at the other end of a Unix socket: peer credentials, and datagrams with their sender's.
//!
//! `rustix` has both, but types the process id as non-zero, while the kernel says 0 for a peer that our pid
//! namespace cannot see.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{self, Errno, IoSlice};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A process at the other end of a socket, as seen from our namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id; 0 when our pid namespace does not see it.
    pub pid: i32,
    /// Effective user id; 65534 when our user namespace does not map it.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// `SO_PEERCRED`: who connected, as of connect(2).
pub fn peer<Fd: AsFd>(socket: Fd) -> io::Result<Peer> {
    let mut cred = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` and `len` are live, and `len` is the size of `cred`.
    let rc =
        unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, std::ptr::from_mut(&mut cred).cast(), &mut len) };
    if rc < 0 {
        return Err(last_errno());
    }
    if len as usize != size_of::<libc::ucred>() {
        return Err(Errno::IO);
    }
    Ok(Peer { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes written to the buffer.
    pub len: usize,
    /// The message was longer than the buffer.
    pub truncated: bool,
    /// The sender; `None` when the socket lacks `SO_PASSCRED`.
    pub sender: Option<Peer>,
}

// Room for one SCM_CREDENTIALS and nothing more: descriptors a sender attaches do not fit and are closed by the kernel.
#[repr(C, align(8))]
struct Control([u8; 32]);
// Room for as many descriptors as the kernel lets one message have, too (SCM_MAX_FD, 253).
#[repr(C, align(8))]
struct LongControl([u8; 32 + 16 + 1016]);

/// Receives one datagram with its sender; never blocks (`EAGAIN`). Descriptors sent along are dropped.
pub fn receive_datagram<Fd: AsFd>(socket: Fd, buf: &mut [u8]) -> io::Result<Datagram> {
    receive(socket.as_fd(), buf, &mut Control([0; 32]).0, None)
}

/// As [`receive_datagram`]; descriptors sent along are added to `descriptors`, close-on-exec.
pub fn receive_datagram_with<Fd: AsFd>(socket: Fd, buf: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<Datagram> {
    receive(socket.as_fd(), buf, &mut LongControl([0; 1064]).0, Some(descriptors))
}

/// Sends `parts` as one message with descriptors along; how many bytes of it were taken.
pub fn send_with<Fd: AsFd>(socket: Fd, parts: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(descriptors).size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, parts, &mut control, flags | SendFlags::NOSIGNAL)
}

/// `control`: aligned to 8.
fn receive(socket: BorrowedFd<'_>, buf: &mut [u8], control: &mut [u8], mut descriptors: Option<&mut Vec<OwnedFd>>) -> io::Result<Datagram> {
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: all-zero is a valid msghdr (null pointers, zero lengths); musl's has private padding fields.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let len = loop {
        // SAFETY: `header` points at live buffers with their true lengths.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) };
        if n >= 0 {
            break n as usize;
        }
        match last_errno() {
            Errno::INTR => {}
            e => return Err(e),
        }
    };
    let mut sender = None;
    // SAFETY: the kernel set msg_controllen to what it wrote, at most what `control` holds; CMSG_FIRSTHDR and CMSG_NXTHDR give
    // null when no whole header fits. Data is read unaligned, a ucred only when the length says that one is there, numbers as
    // many as the length says; each number is a descriptor that the kernel made for us alone.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&header);
        while !next.is_null() {
            let length = ((*next).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = libc::CMSG_DATA(next);
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                    let cred = data.cast::<libc::ucred>().read_unaligned();
                    sender = Some(Peer { pid: cred.pid, uid: cred.uid, gid: cred.gid });
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for at in 0..length / size_of::<i32>() {
                        let descriptor = OwnedFd::from_raw_fd(data.cast::<i32>().add(at).read_unaligned());
                        if let Some(list) = &mut descriptors {
                            list.push(descriptor);
                        }
                    }
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(&header, next);
        }
    }
    Ok(Datagram { len, truncated: header.msg_flags & libc::MSG_TRUNC != 0, sender })
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
