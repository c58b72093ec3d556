//! Interfaces: `lxc.net.N`.

use std::net::IpAddr;

use hostel_spec::{Gateway, InsideLink, LinkPair, Network, NetworkConfig, NetworkMode, VethEnds, VethPair, parse_mac};

use super::{Facts, Rest, refuse};
use crate::{Config, Refused};

/// Digits of names that nobody chose.
const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyzABCDEFG";

/// The network, and what its interfaces are inside.
pub(super) fn compile(config: &Config, facts: &Facts<'_>, rest: &mut Rest) -> Result<(Network, Vec<InsideLink>), Refused> {
    let mut out = Network { mode: NetworkMode::Private, config: NetworkConfig::None, ..Network::default() };
    let mut links = Vec::new();
    let mut count = 0;
    let numbers = config.interfaces();
    for n in &numbers {
        let key = |name: &str| format!("lxc.net.{n}.{name}");
        let get = |name: &str| config.value(&key(name)).map(str::to_owned);
        let kind = get("type").unwrap_or_default();
        let inside = get("name").unwrap_or_else(|| format!("eth{count}"));
        let link = get("link");
        let needs = || link.clone().ok_or_else(|| refuse(&key("link"), "", "an interface of this type lies over one of the host's: name it"));
        for name in ["l2proxy", "veth.vlan.id", "vlan.id"] {
            if let Some(value) = get(name).filter(|value| value != "0" && value != "none") {
                return Err(refuse(&key(name), &value, "this is not done"));
            }
        }
        for name in ["veth.ipv4.route", "veth.ipv6.route", "veth.vlan.tagged.id", "veth.n_rxqueues", "veth.n_txqueues"] {
            if let Some(value) = get(name) {
                return Err(refuse(&key(name), &value, "this is not done"));
            }
        }
        match kind.as_str() {
            "empty" => continue,
            "none" if numbers.len() == 1 => {
                return Ok((Network::default(), Vec::new()));
            }
            "none" => {
                rest.notices.push(format!("lxc.net.{n}.type = none beside other interfaces: the container has a network of its own"));
                continue;
            }
            "veth" => {
                if let Some(mode) = get("veth.mode").filter(|mode| mode != "bridge") {
                    return Err(refuse(&key("veth.mode"), &mode, "this is not done; only bridge"));
                }
                let host = get("veth.pair").unwrap_or_else(|| generated(&facts.random, count));
                let mac = get("hwaddr")
                    .map(|text| parse_mac(&text).ok_or_else(|| refuse(&key("hwaddr"), &text, "it is no hardware address")))
                    .transpose()?;
                let ends = VethEnds { bridge: link.clone(), mac, random: mac.is_none(), vlans: Vec::new() };
                out.veth.push(VethPair { host, inside: inside.clone(), ends: Some(ends) });
            }
            "macvlan" => {
                // The engine's are in mode bridge: containers on one interface see each other, as is mostly wanted.
                if let Some(mode) = get("macvlan.mode").filter(|mode| mode != "bridge") {
                    return Err(refuse(&key("macvlan.mode"), &mode, "this is not done; only bridge"));
                }
                out.macvlan.push(LinkPair { host: needs()?, inside: inside.clone() });
            }
            "ipvlan" => out.ipvlan.push(LinkPair { host: needs()?, inside: inside.clone() }),
            "phys" => out.interfaces.push(LinkPair { host: needs()?, inside: inside.clone() }),
            _ => return Err(refuse(&key("type"), &kind, "this is not done")),
        }
        count += 1;
        links.push(inside_link(config, *n, inside, link)?);
    }
    Ok((out, links))
}

fn inside_link(config: &Config, n: u32, name: String, link: Option<String>) -> Result<InsideLink, Refused> {
    let key = |end: &str| format!("lxc.net.{n}.{end}");
    let mut out = InsideLink { name, up: config.value(&key("flags")) == Some("up"), ..InsideLink::default() };
    out.mtu = config.value(&key("mtu")).and_then(|mtu| mtu.parse().ok());
    for family in ["ipv4", "ipv6"] {
        for text in config.values(&key(&format!("{family}.address"))) {
            let address = text.split(' ').next().unwrap_or_default();
            let (address, prefix) = address.split_once('/').unwrap_or((address, if family == "ipv4" { "32" } else { "64" }));
            let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u8>()) else {
                return Err(refuse(&key(&format!("{family}.address")), text, "it is no address"));
            };
            out.addresses.push((address, prefix));
        }
        let gateway = key(&format!("{family}.gateway"));
        match config.value(&gateway) {
            None | Some("none") => {}
            Some("dev") => out.gateways.push(Gateway::Device { six: family == "ipv6" }),
            Some("auto") => {
                let bridge = link.clone().ok_or_else(|| refuse(&gateway, "auto", "the interface has no link whose address it could be"))?;
                out.gateways.push(Gateway::Of { link: bridge, six: family == "ipv6" });
            }
            Some(text) => out.gateways.push(Gateway::Address(text.parse().map_err(|_| refuse(&gateway, text, "it is no address"))?)),
        }
    }
    Ok(out)
}

/// `vethXXXXXX`.
fn generated(random: &[u8; 16], at: usize) -> String {
    let letter = |n: usize| char::from(LETTERS[usize::from(random[(n + at) % 16].wrapping_add(at as u8)) % LETTERS.len()]);
    format!("veth{}", (0..6).map(letter).collect::<String>())
}
