//! Where a socket unit listens: the addresses of its `Listen…=` keys (systemd.socket(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket in the file system.
    Path(String),
    /// One in the abstract namespace, without the `@`.
    Abstract(String),
    /// IPv4 or IPv6; the interface that a link-local address is meant on.
    Inet(SocketAddr, Option<String>),
    /// Every address of this host.
    AnyHost(u16),
    /// A FIFO.
    Fifo(String),
    /// A device or another file that is there.
    Special(String),
    /// A netlink family and its multicast group.
    Netlink(i32, u32),
    /// A POSIX message queue.
    Queue(String),
}

/// What kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Way {
    Stream,
    Datagram,
    SequentialPacket,
    Fifo,
    Special,
    Netlink,
    Queue,
}

impl Way {
    /// Of a key.
    pub fn of(key: &str) -> Option<Way> {
        Some(match key {
            "ListenStream" => Way::Stream,
            "ListenDatagram" => Way::Datagram,
            "ListenSequentialPacket" => Way::SequentialPacket,
            "ListenFIFO" => Way::Fifo,
            "ListenSpecial" => Way::Special,
            "ListenNetlink" => Way::Netlink,
            "ListenMessageQueue" => Way::Queue,
            _ => return None,
        })
    }

    /// As `list-sockets --show-types` prints it.
    pub fn word(self) -> &'static str {
        match self {
            Way::Stream => "Stream",
            Way::Datagram => "Datagram",
            Way::SequentialPacket => "SequentialPacket",
            Way::Fifo => "FIFO",
            Way::Special => "Special",
            Way::Netlink => "Netlink",
            Way::Queue => "MessageQueue",
        }
    }
}

/// netlink(7)
const FAMILIES: [(&str, i32); 13] = [
    ("route", 0),
    ("firewall", 3),
    ("inet-diag", 4),
    ("nflog", 5),
    ("xfrm", 6),
    ("selinux", 7),
    ("iscsi", 8),
    ("audit", 9),
    ("fib-lookup", 10),
    ("connector", 11),
    ("netfilter", 12),
    ("kobject-uevent", 15),
    ("generic", 16),
];

impl Address {
    /// Understands a value of `way`.
    pub fn parse(way: Way, text: &str) -> Result<Address, String> {
        let absolute = || if text.starts_with('/') { Ok(text.to_owned()) } else { Err("it is no absolute path".to_owned()) };
        match way {
            Way::Fifo => absolute().map(Address::Fifo),
            Way::Special => absolute().map(Address::Special),
            Way::Queue => {
                let is_name = text.len() > 1 && text.starts_with('/') && !text[1..].contains('/');
                if is_name { Ok(Address::Queue(text.to_owned())) } else { Err("it is no name of a message queue: a slash and a word".to_owned()) }
            }
            Way::Netlink => netlink(text),
            Way::Stream | Way::Datagram | Way::SequentialPacket => socket(text),
        }
    }
}

fn netlink(text: &str) -> Result<Address, String> {
    let mut words = text.split_ascii_whitespace();
    let family = words.next().unwrap_or_default();
    let number = FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, number)| *number);
    let number = number.or_else(|| family.parse().ok()).ok_or_else(|| format!("{family:?} is no netlink family"))?;
    let group = words.next().map_or(Ok(0), |word| word.parse().map_err(|_| format!("{word:?} is no netlink group")))?;
    Ok(Address::Netlink(number, group))
}

fn socket(text: &str) -> Result<Address, String> {
    // sockaddr_un's path with its end
    if (text.starts_with('/') || text.starts_with('@')) && text.len() > 107 {
        return Err("it is longer than a socket's path may be".to_owned());
    }
    if text.starts_with('/') {
        return Ok(Address::Path(text.to_owned()));
    }
    if let Some(name) = text.strip_prefix('@').filter(|name| !name.is_empty()) {
        return Ok(Address::Abstract(name.to_owned()));
    }
    if text.starts_with("vsock:") {
        return Err("vsock addresses are not implemented: a machine has no hypervisor to talk to".to_owned());
    }
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| format!("{text:?} is no port"));
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return port(text).map(Address::AnyHost);
    }
    let (text, scope) = match text.rsplit_once('%') {
        Some((address, scope)) if address.starts_with('[') => (address, Some(scope.to_owned())),
        _ => (text, None),
    };
    let (host, number) = text.rsplit_once(':').ok_or("it is neither a path, a port nor an address with a port")?;
    let number = port(number)?;
    if let Some(host) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let address: Ipv6Addr = host.parse().map_err(|_| format!("{host:?} is no IPv6 address"))?;
        return Ok(Address::Inet(SocketAddr::V6(SocketAddrV6::new(address, number, 0, 0)), scope));
    }
    let address: Ipv4Addr = host.parse().map_err(|_| format!("{host:?} is no IPv4 address"))?;
    Ok(Address::Inet(SocketAddr::V4(SocketAddrV4::new(address, number)), None))
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Path(text) | Address::Fifo(text) | Address::Special(text) | Address::Queue(text) => f.write_str(text),
            Address::Abstract(name) => write!(f, "@{name}"),
            Address::Inet(address, None) => write!(f, "{address}"),
            Address::Inet(address, Some(scope)) => write!(f, "{address}%{scope}"),
            Address::AnyHost(port) => write!(f, "[::]:{port}"),
            Address::Netlink(family, group) => {
                let name = FAMILIES.iter().find(|(_, number)| number == family).map(|(name, _)| *name);
                match name {
                    Some(name) => write!(f, "{name} {group}"),
                    None => write!(f, "{family} {group}"),
                }
            }
        }
    }
}

/// Who is at the other end, as an instance's name has it.
pub fn peer_host(address: SocketAddr) -> IpAddr {
    match address.ip() {
        // an IPv4 client of an IPv6 socket
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |way, text: &str| Address::parse(way, text).map(|a| a.to_string());
        for (text, expected) in [
            ("/run/x", "/run/x"),
            ("@name", "@name"),
            ("80", "[::]:80"),
            ("127.0.0.1:22", "127.0.0.1:22"),
            ("[::1]:22", "[::1]:22"),
            ("[fe80::1]:22%eth0", "[fe80::1]:22%eth0"),
        ] {
            assert_eq!(shown(Way::Stream, text).as_deref(), Ok(expected));
        }
        for bad in ["", "@", "0", "70000", "vsock:2:3", "host:80", "[::1]", "1.2.3:4", "1.2.3.4:0", "x"] {
            assert!(Address::parse(Way::Stream, bad).is_err(), "{bad}");
        }
        assert_eq!(shown(Way::Netlink, "route 1361").as_deref(), Ok("route 1361"));
        assert_eq!(shown(Way::Netlink, "kobject-uevent").as_deref(), Ok("kobject-uevent 0"));
        assert!(Address::parse(Way::Netlink, "nothing 1").is_err());
        assert!(Address::parse(Way::Queue, "/a/b").is_err() && Address::parse(Way::Queue, "/").is_err() && Address::parse(Way::Queue, "/q").is_ok());
        assert!(Address::parse(Way::Fifo, "x").is_err() && Address::parse(Way::Special, "/dev/null").is_ok());
        assert!(Address::parse(Way::Stream, &format!("/{}", "x".repeat(200))).is_err());
        assert_eq!(peer_host("[::ffff:1.2.3.4]:5".parse().unwrap()).to_string(), "1.2.3.4");
    }
}
