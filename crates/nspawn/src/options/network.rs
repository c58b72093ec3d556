//! Networks (spec/nspawn.md 1.1d).

use super::OptionId as Id;
use super::OptionRow;
use super::Takes::{Nothing, Value};

/// What the original leaves to systemd-networkd on both sides.
const ADDRESSED: &str = "addresses (IPv4 and IPv6), routes, names and masquerading come by themselves, without networkd; --network-config=none or a networkd that runs leaves it as it was";

pub(super) const NETWORK: &[OptionRow] = &[
    OptionRow::new(Id::PrivateNetwork, "", &["private-network"], Nothing, "A network of its own, with nothing but loopback")
        .since(33)
        .trusted_key("[Network] Private="),
    OptionRow::new(Id::NetworkInterface, "", &["network-interface"], Value("HOST[:NAME]"), "Move an interface of the host into the machine")
        .since(209)
        .trusted_key("[Network] Interface=")
        .better("moved back and renamed also when the supervisor was killed (by the next start or hostel clean), as far as the kernel gave it back"),
    OptionRow::new(Id::NetworkMacvlan, "", &["network-macvlan"], Value("HOST[:NAME]"), "A macvlan on an interface of the host")
        .since(211)
        .trusted_key("[Network] MACVLAN="),
    OptionRow::new(Id::NetworkIpvlan, "", &["network-ipvlan"], Value("HOST[:NAME]"), "An ipvlan on an interface of the host")
        .since(219)
        .trusted_key("[Network] IPVLAN="),
    OptionRow::new(Id::NetworkVeth, "n", &["network-veth"], Nothing, "A cable between host (ve-NAME) and machine (host0)")
        .since(209)
        .trusted_key("[Network] VirtualEthernet=")
        .better(ADDRESSED),
    OptionRow::new(Id::NetworkVethExtra, "", &["network-veth-extra"], Value("HOST[:NAME]"), "A further cable")
        .since(228)
        .trusted_key("[Network] VirtualEthernetExtra="),
    OptionRow::new(Id::NetworkBridge, "", &["network-bridge"], Value("BRIDGE"), "A cable whose host end joins an existing bridge")
        .since(209)
        .trusted_key("[Network] Bridge="),
    OptionRow::new(Id::NetworkZone, "", &["network-zone"], Value("NAME"), "A cable whose host end joins a bridge made on demand")
        .since(230)
        .trusted_key("[Network] Zone=")
        .better(ADDRESSED),
    OptionRow::new(Id::NetworkNamespacePath, "", &["network-namespace-path"], Value("PATH"), "Join this network namespace")
        .since(236)
        .trusted_key("[Network] NamespacePath="),
    OptionRow::new(Id::Port, "p", &["port"], Value("[PROTO:]PORT[:PORT]"), "Forward a port of the host to the machine")
        .since(219)
        .trusted_key("[Network] Port=")
        .better("reaches the machine from localhost too, a listener shows in ss(8), and nothing of it stays behind"),
    OptionRow::new(Id::NetworkConfig, "", &["network-config"], Value("MODE"), "Addresses for -n and zones: auto, dhcp, static, none")
        .trusted_key("[X-Hostel-Network] Config="),
    OptionRow::new(Id::NetworkPool, "", &["network-pool"], Value("NETWORK"), "Take addresses from here instead of 10.208.0.0/12")
        .trusted_key("[X-Hostel-Network] Pool="),
];
