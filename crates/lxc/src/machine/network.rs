//! Interfaces: `lxc.net.N`.

use std::net::IpAddr;

use hostel_spec::{Gateway, HostEnd, InsideLink, LinkPair, Network, NetworkConfig, NetworkMode, PortVlans, VethEnds, VethPair, parse_mac};

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
        for name in ["l2proxy", "veth.n_rxqueues", "veth.n_txqueues"] {
            if let Some(value) = get(name).filter(|value| name != "l2proxy" || value != "0") {
                return Err(refuse(&key(name), &value, "this is not done"));
            }
        }
        let mac = get("hwaddr").map(|text| parse_mac(&text).ok_or_else(|| refuse(&key("hwaddr"), &text, "it is no hardware address"))).transpose()?;
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
                let host = get("veth.pair").unwrap_or_else(|| generated(&facts.random, count));
                let bridge = link.clone().filter(|_| !is_router(config, *n));
                out.host.extend(Some(host_end(config, *n, &host, bridge.as_deref())?).filter(|end| !end.is_plain()));
                let ends = VethEnds { bridge, mac, random: mac.is_none(), vlans: Vec::new() };
                out.veth.push(VethPair { host, inside: inside.clone(), ends: Some(ends) });
            }
            "macvlan" => {
                // The engine's are in mode bridge: containers on one interface see each other, as is mostly wanted.
                if let Some(mode) = get("macvlan.mode").filter(|mode| mode != "bridge") {
                    return Err(refuse(&key("macvlan.mode"), &mode, "this is not done; only bridge"));
                }
                out.macvlan.push(LinkPair { host: needs()?, inside: inside.clone() });
            }
            "vlan" => {
                let id = get("vlan.id").and_then(|id| id.parse().ok()).ok_or_else(|| refuse(&key("vlan.id"), "", "a VLAN has a number"))?;
                out.vlan.push((LinkPair { host: needs()?, inside: inside.clone() }, id));
            }
            "ipvlan" => out.ipvlan.push(LinkPair { host: needs()?, inside: inside.clone() }),
            "phys" => out.interfaces.push(LinkPair { host: needs()?, inside: inside.clone() }),
            _ => return Err(refuse(&key("type"), &kind, "this is not done")),
        }
        count += 1;
        let mac = mac.filter(|_| matches!(kind.as_str(), "macvlan" | "vlan" | "phys"));
        links.push(InsideLink { mac, ..inside_link(config, *n, inside, link)? });
    }
    Ok((out, links))
}

fn is_router(config: &Config, n: u32) -> bool {
    config.value(&format!("lxc.net.{n}.veth.mode")) == Some("router")
}

/// What the host's end of a cable is besides: as a router's it answers for the gateways, and each address inside has a route to it.
fn host_end(config: &Config, n: u32, name: &str, bridge: Option<&str>) -> Result<HostEnd, Refused> {
    let key = |end: &str| format!("lxc.net.{n}.{end}");
    let mut out = HostEnd { name: name.to_owned(), ..HostEnd::default() };
    for family in ["ipv4", "ipv6"] {
        let route = key(&format!("veth.{family}.route"));
        let routes = config.values(&route).map(|text| network(text).ok_or_else(|| refuse(&route, text, "it is no network")));
        out.routes.extend(routes.collect::<Result<Vec<_>, _>>()?);
        if is_router(config, n) {
            let alone = |text| network(text).map(|(address, _)| (address, if address.is_ipv6() { 128 } else { 32 }));
            out.routes.extend(config.values(&key(&format!("{family}.address"))).filter_map(alone));
            out.answers.extend(config.value(&key(&format!("{family}.gateway"))).and_then(|gateway| gateway.parse::<IpAddr>().ok()));
        }
    }
    let number = |text: &str| text.parse::<u16>().ok();
    let untagged = config.value(&key("veth.vlan.id")).map(number);
    let tagged: Vec<u16> = config.values(&key("veth.vlan.tagged.id")).filter_map(number).collect();
    if untagged.is_some() || !tagged.is_empty() {
        let bridge = bridge.ok_or_else(|| refuse(&key("veth.vlan.id"), "", "the VLANs are those of a bridge: name it as link"))?.to_owned();
        out.port = Some(PortVlans { bridge, untagged, tagged });
    }
    Ok(out)
}

/// `ADDRESS[/PREFIX] …`
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let text = text.split(' ').next()?;
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    Some((address, prefix.map_or(Some(if address.is_ipv6() { 64 } else { 32 }), |prefix| prefix.parse().ok())?))
}

fn inside_link(config: &Config, n: u32, name: String, link: Option<String>) -> Result<InsideLink, Refused> {
    let key = |end: &str| format!("lxc.net.{n}.{end}");
    let mut out = InsideLink { name, up: config.value(&key("flags")) == Some("up"), ..InsideLink::default() };
    out.mtu = config.value(&key("mtu")).and_then(|mtu| mtu.parse().ok());
    for family in ["ipv4", "ipv6"] {
        for text in config.values(&key(&format!("{family}.address"))) {
            out.addresses.push(network(text).ok_or_else(|| refuse(&key(&format!("{family}.address")), text, "it is no address"))?);
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
