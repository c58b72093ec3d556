//! Networks (spec/nspawn.md 1.1d).

use super::OptionId as Id;
use super::OptionRow;
use super::Takes::{Nothing, Value};

const LATER: &str = "networks beyond a cable are a later issue";

pub(super) const NETWORK: &[OptionRow] = &[
    OptionRow::new(Id::PrivateNetwork, "", &["private-network"], Nothing, "A network of its own, with nothing but loopback")
        .since(33)
        .trusted_key("[Network] Private="),
    OptionRow::new(Id::NetworkInterface, "", &["network-interface"], Value("HOST[:NAME]"), "Move an interface of the host into the machine")
        .since(209)
        .trusted_key("[Network] Interface=")
        .not_yet(LATER),
    OptionRow::new(Id::NetworkMacvlan, "", &["network-macvlan"], Value("HOST[:NAME]"), "A macvlan on an interface of the host")
        .since(211)
        .trusted_key("[Network] MACVLAN=")
        .not_yet(LATER),
    OptionRow::new(Id::NetworkIpvlan, "", &["network-ipvlan"], Value("HOST[:NAME]"), "An ipvlan on an interface of the host")
        .since(219)
        .trusted_key("[Network] IPVLAN=")
        .not_yet(LATER),
    OptionRow::new(Id::NetworkVeth, "n", &["network-veth"], Nothing, "A cable between host (ve-NAME) and machine (host0)")
        .since(209)
        .trusted_key("[Network] VirtualEthernet="),
    OptionRow::new(Id::NetworkVethExtra, "", &["network-veth-extra"], Value("HOST[:NAME]"), "A further cable")
        .since(228)
        .trusted_key("[Network] VirtualEthernetExtra=")
        .not_yet(LATER),
    OptionRow::new(Id::NetworkBridge, "", &["network-bridge"], Value("BRIDGE"), "A cable whose host end joins an existing bridge")
        .since(209)
        .trusted_key("[Network] Bridge=")
        .not_yet(LATER),
    OptionRow::new(Id::NetworkZone, "", &["network-zone"], Value("NAME"), "A cable whose host end joins a bridge made on demand")
        .since(230)
        .trusted_key("[Network] Zone=")
        .not_yet(LATER),
    OptionRow::new(Id::NetworkNamespacePath, "", &["network-namespace-path"], Value("PATH"), "Join this network namespace")
        .since(236)
        .trusted_key("[Network] NamespacePath=")
        .not_yet(LATER),
    OptionRow::new(Id::Port, "p", &["port"], Value("[PROTO:]PORT[:PORT]"), "Forward a port of the host to the machine")
        .since(219)
        .trusted_key("[Network] Port=")
        .not_yet(LATER),
];
