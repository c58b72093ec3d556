//! Who is at the other end of a Unix socket: peer credentials, and datagrams with their sender's.
//!
//! `rustix` has both, but types the process id as non-zero, while the kernel says 0 for a peer that our pid
//! namespace cannot see.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::{self, Errno};

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

/// Receives one datagram with its sender; never blocks (`EAGAIN`). Descriptors sent along are dropped.
pub fn receive_datagram<Fd: AsFd>(socket: Fd, buf: &mut [u8]) -> io::Result<Datagram> {
    let mut control = Control([0; 32]);
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: all-zero is a valid msghdr (null pointers, zero lengths); musl's has private padding fields.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let len = loop {
        // SAFETY: `header` points at live buffers with their true lengths.
        let n = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut header, flags) };
        if n >= 0 {
            break n as usize;
        }
        match last_errno() {
            Errno::INTR => {}
            e => return Err(e),
        }
    };
    let mut sender = None;
    // SAFETY: the kernel set msg_controllen to what it wrote, at most our 32 bytes; CMSG_FIRSTHDR gives null when
    // no whole header fits, and the data is read unaligned only when its length says a ucred is there.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(&header);
        if !first.is_null()
            && (*first).cmsg_level == libc::SOL_SOCKET
            && (*first).cmsg_type == libc::SCM_CREDENTIALS
            && (*first).cmsg_len as usize >= libc::CMSG_LEN(size_of::<libc::ucred>() as u32) as usize
        {
            let cred = libc::CMSG_DATA(first).cast::<libc::ucred>().read_unaligned();
            sender = Some(Peer { pid: cred.pid, uid: cred.uid, gid: cred.gid });
        }
    }
    Ok(Datagram { len, truncated: header.msg_flags & libc::MSG_TRUNC != 0, sender })
}

// Room for one SCM_CREDENTIALS and one SCM_RIGHTS with a descriptor; what does not fit is closed by the kernel.
#[repr(C, align(8))]
struct WideControl([u8; 56]);

/// [`receive_datagram`], with the first descriptor that the sender attached; others are closed.
pub fn receive_with_descriptor<Fd: AsFd>(socket: Fd, buf: &mut [u8]) -> io::Result<(Datagram, Option<OwnedFd>)> {
    let mut control = WideControl([0; 56]);
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: all-zero is a valid msghdr (null pointers, zero lengths); musl's has private padding fields.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    let len = loop {
        // SAFETY: `header` points at live buffers with their true lengths.
        let n = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut header, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) };
        if n >= 0 {
            break n as usize;
        }
        match last_errno() {
            Errno::INTR => {}
            e => return Err(e),
        }
    };
    let (mut sender, mut file) = (None, None);
    // SAFETY: the kernel set msg_controllen to what it wrote, at most our 56 bytes; the macros give null when no whole header is
    // left; data is read unaligned and only as far as its length says. Descriptors of SCM_RIGHTS are ours alone from here on.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&header);
        while !at.is_null() && (*at).cmsg_level == libc::SOL_SOCKET {
            let data = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            if (*at).cmsg_type == libc::SCM_CREDENTIALS && data >= size_of::<libc::ucred>() {
                let cred = libc::CMSG_DATA(at).cast::<libc::ucred>().read_unaligned();
                sender = Some(Peer { pid: cred.pid, uid: cred.uid, gid: cred.gid });
            }
            if (*at).cmsg_type == libc::SCM_RIGHTS {
                for n in 0..data / size_of::<i32>() {
                    let fd = OwnedFd::from_raw_fd(libc::CMSG_DATA(at).cast::<i32>().add(n).read_unaligned());
                    file.get_or_insert(fd);
                }
            }
            at = libc::CMSG_NXTHDR(&header, at);
        }
    }
    Ok((Datagram { len, truncated: header.msg_flags & libc::MSG_TRUNC != 0, sender }, file))
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
