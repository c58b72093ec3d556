//! Network: which links can be made, and whether there is nftables; asked in a network namespace of our own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hostel_sys::clone::NEWNET;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, socket_with};

use super::probe::in_child;
use super::{Finding, State};

pub(super) fn findings() -> Vec<Finding> {
    let link = |kind: &'static str, over: bool| in_child(NEWNET, || new_link(kind, over));
    let mut out = vec![
        Finding::of("veth", link("veth", false), "a cable to the host: --network-veth, --net=veth")
            .advise("a kernel with CONFIG_VETH (modprobe veth)"),
        Finding::of("bridge", link("bridge", false), "a switch for machines: --network-bridge, --network-zone")
            .advise("a kernel with CONFIG_BRIDGE (modprobe bridge)"),
        Finding::of("macvlan", link("macvlan", true), "--network-macvlan").advise("a kernel with CONFIG_MACVLAN"),
        Finding::of("ipvlan", link("ipvlan", true), "--network-ipvlan").advise("a kernel with CONFIG_IPVLAN"),
        Finding::of("nftables", in_child(NEWNET, nftables), "address translation and --port")
            .advise("a kernel with CONFIG_NF_TABLES (modprobe nf_tables)"),
    ];
    for (name, device, means) in [("tun", "/dev/net/tun", "VPNs inside machines"), ("fuse", "/dev/fuse", "FUSE file systems inside machines")] {
        let there = Path::new(device).exists();
        let state = if there { State::Ok } else { State::Missing };
        let finding = Finding::new(name, state, if there { device.into() } else { format!("no {device}") }, means);
        out.push(finding.advise(format!("modprobe {name}; in a container: the device has to be passed in")));
    }
    out
}

const REQUEST_ACK: u16 = 1 | 4;
const CREATE_EXCLUSIVE: u16 = 0x400 | 0x200;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18 | 0x8000;
const IFLA_INFO_KIND: u16 = 1;
/// Subsystem nftables, message "which generation": asks for a number and changes nothing.
const NFT_MSG_GETGEN: u16 = 10 << 8 | 16;

/// Makes a link of this kind, on top of a bridge if `over`.
fn new_link(kind: &str, over: bool) -> io::Result<()> {
    let socket = open(None)?;
    if !over {
        return ask(&socket, &link_message(kind, "hostel0", None));
    }
    ask(&socket, &link_message("bridge", "hostel1", None))?;
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .or_else(|_| socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None))?;
    let below = rustix::net::netdevice::name_to_index(&any, "hostel1")?;
    ask(&socket, &link_message(kind, "hostel0", Some(below)))
}

fn nftables() -> io::Result<()> {
    let socket = open(Some(netlink::NETFILTER))?;
    // nfgenmsg: any family, version 0, resource 0.
    ask(&socket, &message(NFT_MSG_GETGEN, 0, &[0; 4]))
}

/// `None` is NETLINK_ROUTE, which is 0.
fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

/// `struct nlmsghdr` and what follows it (netlink(7)).
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + body.len());
    out.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(REQUEST_ACK | flags).to_ne_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(body);
    out
}

fn link_message(kind: &str, name: &str, below: Option<u32>) -> Vec<u8> {
    // struct ifinfomsg: nothing known, nothing changed.
    let mut body = vec![0; 16];
    attribute(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    if let Some(index) = below {
        attribute(&mut body, IFLA_LINK, &index.to_ne_bytes());
    }
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, &[kind.as_bytes(), b"\0"].concat());
    attribute(&mut body, IFLA_LINKINFO, &info);
    message(RTM_NEWLINK, CREATE_EXCLUSIVE, &body)
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Sends a request and reads the answer's error number.
fn ask(socket: &OwnedFd, request: &[u8]) -> io::Result<()> {
    rustix::net::send(socket.as_fd(), request, SendFlags::empty())?;
    let mut answer = [0u8; 4096];
    let (n, _) = rustix::net::recv(socket.as_fd(), &mut answer[..], RecvFlags::empty())?;
    error_of(&answer[..n])
}

/// What an answer says: another kind than an error is the thing asked for.
pub(super) fn error_of(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        (Some(NLMSG_ERROR), None) | (None, _) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        (Some(_), _) => Ok(()),
    }
}
