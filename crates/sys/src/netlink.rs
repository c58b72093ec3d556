//! rtnetlink: making, moving and raising links (rtnetlink(7)).
//!
//! One socket, requests acknowledged one by one; a whole machine's wiring is a handful of messages.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_IFALIAS: u16 = 20;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_PROP_LIST: u16 = 52;
const VETH_INFO_PEER: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;
const RTM_NEWLINKPROP: u16 = 108;

/// A routing socket in the network namespace it was opened in.
#[derive(Debug)]
pub struct Routing {
    socket: OwnedFd,
    sequence: u32,
}

struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut m = Message(Vec::with_capacity(256));
        m.0.extend_from_slice(&0u32.to_ne_bytes());
        m.0.extend_from_slice(&kind.to_ne_bytes());
        m.0.extend_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        m.0.extend_from_slice(&[0; 8]);
        m
    }
    fn link_header(&mut self, index: i32, flags: u32, change: u32) {
        self.0.extend_from_slice(&[0, 0, 0, 0]);
        self.0.extend_from_slice(&index.to_ne_bytes());
        self.0.extend_from_slice(&flags.to_ne_bytes());
        self.0.extend_from_slice(&change.to_ne_bytes());
    }
    fn attr(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }
    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
    }
}

/// One end of a new veth pair.
#[derive(Debug, Clone, Copy)]
pub struct VethEnd<'a> {
    /// Interface name, at most 15 bytes.
    pub name: &'a str,
    /// Hardware address; `None` = the kernel's choice.
    pub mac: Option<[u8; 6]>,
    /// Alternative name, if the full name was too long.
    pub altname: Option<&'a str>,
}

impl Routing {
    /// Opens a socket in the current network namespace.
    pub fn open() -> io::Result<Self> {
        // SAFETY: integers only.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(fd) }, sequence: 0 })
    }

    /// Makes a veth pair: `host` here, `inside` in the network namespace `netns`.
    pub fn add_veth(&mut self, host: VethEnd<'_>, inside: VethEnd<'_>, netns: BorrowedFd<'_>, alias: &str) -> io::Result<()> {
        let mut m = Message::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        m.link_header(0, 0, 0);
        m.text(IFLA_IFNAME, host.name);
        if let Some(mac) = host.mac {
            m.attr(IFLA_ADDRESS, &mac);
        }
        m.nested(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth");
            m.nested(IFLA_INFO_DATA, |m| {
                m.nested(VETH_INFO_PEER, |m| {
                    m.link_header(0, 0, 0);
                    m.text(IFLA_IFNAME, inside.name);
                    if let Some(mac) = inside.mac {
                        m.attr(IFLA_ADDRESS, &mac);
                    }
                    m.attr(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.ask(m)?;
        // The alias marks the link as ours; it and the long name can only be given to an existing link.
        let index = self.index_of(host.name)?;
        let mut m = Message::new(libc::RTM_NEWLINK, 0);
        m.link_header(index, 0, 0);
        m.text(IFLA_IFALIAS, alias);
        self.ask(m)?;
        if let Some(altname) = host.altname {
            let mut m = Message::new(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL);
            m.link_header(index, 0, 0);
            m.nested(IFLA_PROP_LIST, |m| m.text(IFLA_ALT_IFNAME, altname));
            self.ask(m)?;
        }
        Ok(())
    }

    /// The index of the link called `name`; ENODEV if there is none.
    pub fn index_of(&mut self, name: &str) -> io::Result<i32> {
        let Ok(name) = std::ffi::CString::new(name) else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
        // SAFETY: a NUL-terminated string.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index as i32) }
    }

    /// Sets a link up.
    pub fn set_up(&mut self, index: i32) -> io::Result<()> {
        let mut m = Message::new(libc::RTM_NEWLINK, 0);
        m.link_header(index, libc::IFF_UP as u32, libc::IFF_UP as u32);
        self.ask(m)
    }

    /// Deletes the link called `name`. Takes 15…25 ms for a veth: never wait for it on a user's path.
    pub fn delete(&mut self, name: &str) -> io::Result<()> {
        let mut m = Message::new(libc::RTM_DELLINK, 0);
        m.link_header(0, 0, 0);
        m.text(IFLA_IFNAME, name);
        self.ask(m)
    }

    fn ask(&mut self, mut message: Message) -> io::Result<()> {
        self.sequence += 1;
        let length = message.0.len() as u32;
        message.0[0..4].copy_from_slice(&length.to_ne_bytes());
        message.0[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        // SAFETY: pointer and length of one buffer.
        if unsafe { libc::send(self.socket.as_raw_fd(), message.0.as_ptr().cast(), message.0.len(), 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut reply = [0u8; 4096];
        // SAFETY: the buffer is valid for its length.
        let n = unsafe { libc::recv(self.socket.as_raw_fd(), reply.as_mut_ptr().cast(), reply.len(), 0) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        // nlmsghdr (16 bytes) then the error number of an NLMSG_ERROR; 0 is the acknowledgement.
        match reply[..n as usize].get(16..20) {
            Some(code) => match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
                0 => Ok(()),
                negative => Err(io::Error::from_raw_os_error(-negative)),
            },
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "short netlink reply")),
        }
    }
}

/// Sets the loopback interface of the current network namespace up (127.0.0.1 and ::1 come by themselves).
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: integers only; the descriptor is owned right away.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: a zeroed ifreq is valid; the name fits its 16 bytes.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
