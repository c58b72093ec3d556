//! Names and hardware addresses of a machine's network interfaces, the same that systemd-nspawn gives.
//!
//! The names are what systemd-networkd's `ve-*` and `vb-*` files match, and the addresses stay the same from start to
//! start, so leases do too. The keys are facts of systemd-nspawn's protocol.

use hostel_spec::MachineUuid;
use siphasher::sip::SipHasher24;

/// An interface name takes 15 bytes in the kernel.
pub const INTERFACE_NAME_MAX: usize = 15;

/// SipHash-2-4 with a 16-byte key.
pub(crate) fn siphash(key: u128, bytes: &[u8]) -> u64 {
    SipHasher24::new_with_key(&key.to_be_bytes()).hash(bytes)
}

/// An interface's name, and the full one as altname when that was too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceName {
    /// At most 15 bytes.
    pub name: String,
    /// The full name, if `name` is a shortened one.
    pub alternative: Option<String>,
}

/// The name of the host's end of a machine's cable: `prefix` is `ve-` or, for a bridge port, `vb-`.
///
/// What is too long keeps its first 11 bytes and gets 4 characters of hash.
pub fn host_end(prefix: &str, machine: &str) -> InterfaceName {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let full = format!("{prefix}{machine}");
    if full.len() <= INTERFACE_NAME_MAX {
        return InterfaceName { name: full, alternative: None };
    }
    let hash = siphash(0xe190_a404_a8ef_4b51_8ccc_c33a_9f11_fca2, full.as_bytes());
    // Machine names are ASCII; a stray other one is cut at a character.
    let mut name: String = full.char_indices().take_while(|(i, c)| i + c.len_utf8() <= INTERFACE_NAME_MAX - 4).map(|(_, c)| c).collect();
    for shift in [18, 12, 6, 0] {
        name.push(char::from(DIGITS[(hash >> shift) as usize & 63]));
    }
    InterfaceName { name, alternative: Some(full) }
}

/// What an address is for: each use has its own hash key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacUse {
    /// Host's end of the machine's cable.
    Host,
    /// `host0` inside.
    Container,
    /// Host's end of an extra cable.
    ExtraHost,
    /// The end inside of an extra cable.
    ExtraContainer,
    /// A macvlan interface inside.
    Macvlan,
}

impl MacUse {
    const fn key(self) -> u128 {
        match self {
            MacUse::Host => 0x1a37_6fc7_46ec_450b_ada3_d531_0660_5db1,
            MacUse::Container => 0xc3c4_f919_b557_b21c_e6cf_1427_039c_eea2,
            MacUse::ExtraHost => 0x48c7_f6b7_ea9d_4c9e_b728_d4de_91d5_bf66,
            MacUse::ExtraContainer => 0xaf50_1761_cef9_4d35_840d_2b20_54be_ce59,
            MacUse::Macvlan => 0x0013_6dbc_6683_4481_bb0c_f951_1f24_a66f,
        }
    }
}

/// A hardware address for `machine` on the host with id `host`; `index` counts the cables of one kind from 0.
pub fn mac(usage: MacUse, host: &MachineUuid, machine: &str, index: u64) -> [u8; 6] {
    let mut bytes = Vec::with_capacity(16 + machine.len() + 8);
    // MachineUuid always prints 32 hexadecimal digits.
    bytes.extend_from_slice(&u128::from_str_radix(&host.plain(), 16).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(machine.as_bytes());
    if index > 0 {
        bytes.extend_from_slice(&index.to_le_bytes());
    }
    let hash = siphash(usage.key(), &bytes).to_le_bytes();
    // Locally administered, unicast.
    [hash[0] & 0xfe | 0x02, hash[1], hash[2], hash[3], hash[4], hash[5]]
}

#[cfg(test)]
mod tests {
    //! The expected values were printed by systemd-nspawn 252 with /etc/machine-id 0123456789abcdef0123456789abcdef.
    use super::*;

    const LONG: &str = "a-very-long-machine-name-indeed";

    fn text(mac: [u8; 6]) -> String {
        mac.map(|b| format!("{b:02x}")).join(":")
    }

    #[test]
    fn interface_names() {
        let x64 = "x".repeat(64);
        for (prefix, machine, want) in [
            ("ve-", "a", "ve-a"),
            ("ve-", "abcdefghijkl", "ve-abcdefghijkl"),
            ("ve-", "abcdefghijklm", "ve-abcdefghyhe5"),
            ("vb-", "abcdefghijklm", "vb-abcdefghgd3w"),
            ("ve-", LONG, "ve-a-very-lF5Cc"),
            ("vb-", LONG, "vb-a-very-l6KC1"),
            ("ve-", &x64, "ve-xxxxxxxxVbH6"),
        ] {
            let got = host_end(prefix, machine);
            assert_eq!(got.name, want);
            assert_eq!(got.alternative, (machine.len() > 12).then(|| format!("{prefix}{machine}")));
        }
        assert!(host_end("ve-", "größer-als-fünfzehn").name.len() <= 15);
    }

    #[test]
    fn hardware_addresses() {
        let host = MachineUuid::parse("0123456789abcdef0123456789abcdef").unwrap();
        let x64 = "x".repeat(64);
        for (usage, machine, index, want) in [
            (MacUse::Host, "a", 0, "fe:a0:8b:c0:5c:28"),
            (MacUse::Container, "a", 0, "f6:34:b0:92:3b:a4"),
            (MacUse::ExtraContainer, "a", 0, "b6:5d:bd:96:51:3a"),
            (MacUse::ExtraContainer, "a", 1, "fe:2f:bf:5b:09:12"),
            (MacUse::ExtraHost, "a", 0, "ca:16:a2:62:41:26"),
            (MacUse::ExtraHost, "a", 1, "be:1d:a0:e9:e9:00"),
            (MacUse::Host, "mymachine", 0, "86:86:14:a7:78:a5"),
            (MacUse::Container, "mymachine", 0, "1e:74:a7:ef:08:dd"),
            (MacUse::ExtraContainer, "mymachine", 1, "ee:47:87:02:51:d5"),
            (MacUse::ExtraHost, "mymachine", 1, "0e:67:19:e8:26:41"),
            (MacUse::Host, "abcdefghijklm", 0, "3e:5d:b8:4d:a9:c1"),
            (MacUse::Container, "abcdefghijklm", 0, "7a:05:f1:85:7f:61"),
            (MacUse::Host, LONG, 0, "d6:ac:80:5b:fb:9d"),
            (MacUse::Container, LONG, 0, "2e:9b:25:53:70:7e"),
            (MacUse::Host, "debian.12-x", 0, "66:d0:a9:97:9c:64"),
            (MacUse::Container, "debian.12-x", 0, "1e:8d:d6:89:ac:dd"),
            (MacUse::Host, &x64, 0, "3a:ec:67:4f:88:f3"),
            (MacUse::Container, &x64, 0, "1a:67:62:7a:f7:48"),
        ] {
            assert_eq!(text(mac(usage, &host, machine, index)), want, "{usage:?} {machine} {index}");
        }
    }
}
