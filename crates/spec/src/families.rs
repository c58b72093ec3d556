//! Families of sockets, by the names of socket(2).

use serde::{Deserialize, Serialize};

/// Which families socket(2) may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFamilies {
    /// These and no others; else all but these.
    pub allow: bool,
    /// Numbers of families (`AF_…`).
    pub families: Vec<u32>,
}

/// Every family of Linux 6.18 by its name without `AF_`, and other names of three.
const NAMES: [(&str, u32); 49] = [
    ("UNSPEC", 0),
    ("UNIX", 1),
    ("LOCAL", 1),
    ("FILE", 1),
    ("INET", 2),
    ("AX25", 3),
    ("IPX", 4),
    ("APPLETALK", 5),
    ("NETROM", 6),
    ("BRIDGE", 7),
    ("ATMPVC", 8),
    ("X25", 9),
    ("INET6", 10),
    ("ROSE", 11),
    ("DECnet", 12),
    ("NETBEUI", 13),
    ("SECURITY", 14),
    ("KEY", 15),
    ("NETLINK", 16),
    ("ROUTE", 16),
    ("PACKET", 17),
    ("ASH", 18),
    ("ECONET", 19),
    ("ATMSVC", 20),
    ("RDS", 21),
    ("SNA", 22),
    ("IRDA", 23),
    ("PPPOX", 24),
    ("WANPIPE", 25),
    ("LLC", 26),
    ("IB", 27),
    ("MPLS", 28),
    ("CAN", 29),
    ("TIPC", 30),
    ("BLUETOOTH", 31),
    ("IUCV", 32),
    ("RXRPC", 33),
    ("ISDN", 34),
    ("PHONET", 35),
    ("IEEE802154", 36),
    ("CAIF", 37),
    ("ALG", 38),
    ("NFC", 39),
    ("VSOCK", 40),
    ("KCM", 41),
    ("QIPCRTR", 42),
    ("SMC", 43),
    ("XDP", 44),
    ("MCTP", 45),
];

impl AddressFamilies {
    /// The number of `AF_INET` and its like.
    pub fn number(name: &str) -> Option<u32> {
        let bare = name.strip_prefix("AF_")?;
        NAMES.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::AddressFamilies;

    #[test]
    fn numbers() {
        for (name, number) in [("AF_UNIX", 1), ("AF_INET", 2), ("AF_INET6", 10), ("AF_NETLINK", 16), ("AF_VSOCK", 40)] {
            assert_eq!(AddressFamilies::number(name), Some(number), "{name}");
        }
        for name in ["INET", "AF_", "AF_inet", "AF_NOSUCH", ""] {
            assert_eq!(AddressFamilies::number(name), None, "{name}");
        }
    }
}
