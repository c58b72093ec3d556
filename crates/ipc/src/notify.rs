//! sd_notify(3), both sides: what we tell our service manager, and what a payload tells us.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendmsg_addr, socket_with, sockopt,
};

use crate::path_in;

/// Longest message that is read, in bytes; longer ones are dropped whole.
pub const MAX_MESSAGE: usize = 4 << 10;
/// Longest `STATUS=` that is kept, in bytes.
const MAX_STATUS: usize = 512;
const TRIES: u32 = 20;

/// Sends `message` (lines of `NAME=value`) to the socket of a `$NOTIFY_SOCKET` value: an absolute path, or `@name` for
/// an abstract one. A receiver whose queue stays full for 200 ms is given up (`EAGAIN`).
pub fn send(socket: &str, message: &str) -> io::Result<()> {
    send_with(socket, message, &[])
}

/// As [`send`], with descriptors along.
pub fn send_with(socket: &str, message: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![std::mem::MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(descriptors).size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let own = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // Kept until the message is sent: the address goes through its descriptor.
    let mut through = None;
    let address = match socket.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name)?,
        [b'/', ..] => match SocketAddrUnix::new(socket) {
            Err(Errno::NAMETOOLONG) => {
                let fd = rustix::fs::open(socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)))?;
                through = Some(fd);
                address
            }
            other => other?,
        },
        _ => return Err(Errno::AFNOSUPPORT),
    };
    let mut tries = 0;
    let sent = loop {
        match sendmsg_addr(&own, &address, &[IoSlice::new(message.as_bytes())], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            other => break other.map(drop),
        }
    };
    drop(through);
    sent
}

/// What a payload said, the parts a supervisor acts upon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// `READY=1`
    pub ready: bool,
    /// `RELOADING=1`
    pub reloading: bool,
    /// `STOPPING=1`
    pub stopping: bool,
    /// `STATUS=`, without control characters, at most 512 bytes.
    pub status: Option<String>,
    /// `ERRNO=`
    pub errno: Option<i32>,
    /// `EXIT_STATUS=`: what a systemd in the machine will exit with.
    pub exit_status: Option<u8>,
    /// `FDSTORE=1`: keep the descriptors that came along.
    pub store: bool,
    /// `FDSTOREREMOVE=1`: let those of that name go.
    pub store_remove: bool,
    /// `FDNAME=`, as systemd takes it: printable ASCII without a colon, at most 255 bytes.
    pub name: Option<String>,
    /// `FDPOLL=0`: keep them even when they hang up.
    pub unpolled: bool,
    /// `X_SYSTEMD_SIGNALS_LEVEL=`: from 2 on a systemd in the machine understands its shutdown signals.
    pub signals_level: Option<u32>,
}

impl Message {
    /// Reads a message; lines that are not understood are skipped.
    pub fn parse(text: &[u8]) -> Message {
        let mut message = Message::default();
        for line in text.split(|&b| b == b'\n') {
            let Some(equals) = line.iter().position(|&b| b == b'=') else { continue };
            let value = &line[equals + 1..];
            let number = || std::str::from_utf8(value).ok();
            match &line[..equals] {
                b"READY" => message.ready |= value == b"1",
                b"RELOADING" => message.reloading |= value == b"1",
                b"STOPPING" => message.stopping |= value == b"1",
                b"STATUS" => message.status = Some(printable(value)),
                b"FDSTORE" => message.store |= value == b"1",
                b"FDSTOREREMOVE" => message.store_remove |= value == b"1",
                b"FDPOLL" => message.unpolled |= value == b"0",
                b"FDNAME" => message.name = number().filter(|name| is_descriptor_name(name)).map(str::to_owned),
                b"ERRNO" => message.errno = number().and_then(|n| n.parse().ok()),
                b"EXIT_STATUS" => message.exit_status = number().and_then(|n| n.parse().ok()),
                b"X_SYSTEMD_SIGNALS_LEVEL" => message.signals_level = number().and_then(|n| n.parse().ok()),
                _ => {}
            }
        }
        message
    }
}

fn is_descriptor_name(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|b| b == b' ' || b.is_ascii_graphic() && b != b':')
}

/// What may go to a terminal or into our own messages: no control characters, bounded.
fn printable(value: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).collect();
    let end = (0..=MAX_STATUS.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Makes a payload's notify socket at `path`, for a [`Receiver`]; who may write to it is the caller's to say.
pub fn bind(path: &Path) -> io::Result<OwnedFd> {
    let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_passcred(&fd, true)?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    Ok(fd)
}

/// The socket behind a payload's `$NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct Receiver(OwnedFd);

impl Receiver {
    /// Binds `name` in `dir`, for example in the detached file system that becomes the machine's `/run/host`.
    /// Everybody may write to it, as the payload's user is its own affair; only its leader is listened to.
    pub fn bind(dir: BorrowedFd<'_>, name: &str) -> io::Result<Receiver> {
        let fd = bind(&path_in(dir, name))?;
        rustix::fs::chmodat(dir, name, Mode::WUSR | Mode::WGRP | Mode::WOTH, AtFlags::empty())?;
        Ok(Receiver(fd))
    }

    /// A datagram socket that was bound elsewhere.
    pub fn from_socket(fd: OwnedFd) -> io::Result<Receiver> {
        sockopt::set_socket_passcred(&fd, true)?;
        Ok(Receiver(fd))
    }

    /// The next message of process `leader` (as our pid namespace counts); `None` when there is none now. Messages of
    /// others, and those that are too long, are dropped. Never blocks, and stops after a few to let others have a turn.
    pub fn receive(&self, leader: i32) -> io::Result<Option<Message>> {
        self.receive_one(leader, None)
    }

    /// As [`Receiver::receive`], with the descriptors that came along; what others sent is closed.
    pub fn receive_with(&self, leader: i32) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut descriptors = Vec::new();
        Ok(self.receive_one(leader, Some(&mut descriptors))?.map(|message| (message, descriptors)))
    }

    fn receive_one(&self, leader: i32, mut descriptors: Option<&mut Vec<OwnedFd>>) -> io::Result<Option<Message>> {
        let mut buf = [0u8; MAX_MESSAGE];
        for _ in 0..16 {
            let received = match &mut descriptors {
                Some(list) => {
                    list.clear();
                    hostel_sys::peer::receive_datagram_with(&self.0, &mut buf, list)
                }
                None => hostel_sys::peer::receive_datagram(&self.0, &mut buf),
            };
            let datagram = match received {
                Err(Errno::AGAIN) => return Ok(None),
                other => other?,
            };
            if !datagram.truncated && datagram.sender.is_some_and(|peer| peer.pid == leader) {
                return Ok(Some(Message::parse(&buf[..datagram.len])));
            }
        }
        Ok(None)
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests;
