//! `CABLES=`: virtual cables to the host.

use hostel_spec::VethEnds;

/// Parses the words of `CABLES=`.
pub(crate) fn parse(text: &str) -> Result<Vec<VethEnds>, String> {
    let mut wires: Vec<VethEnds> = Vec::new();
    for word in text.split_whitespace() {
        let (bridge, mac) = word
            .split_once('=')
            .filter(|(_, mac)| !mac.contains('='))
            .ok_or_else(|| format!("{word:?} is no [BRIDGE]=[MAC]: it takes one equal sign"))?;
        if let Some(number) = mac.strip_prefix('.') {
            let number = number
                .parse::<u16>()
                .ok()
                .filter(|n| (1..=4094).contains(n))
                .ok_or_else(|| format!("{word:?}: a VLAN is a number from 1 to 4094"))?;
            let wire = wires
                .last_mut()
                .filter(|_| bridge.is_empty())
                .ok_or_else(|| format!("{word:?}: a VLAN is written =.N and goes on the cable before it"))?;
            if wire.vlans.contains(&number) {
                return Err(format!("{word:?}: that cable has VLAN {number} already"));
            }
            wire.vlans.push(number);
            continue;
        }
        if !bridge.is_empty() && !hostel_spec::is_interface_name(bridge) {
            return Err(format!("{word:?}: {bridge:?} can be no interface's name"));
        }
        let random = mac == "random";
        let address = if mac.is_empty() || random { None } else { Some(self::mac(mac).map_err(|why| format!("{word:?}: {why}"))?) };
        if address.is_some() && wires.iter().any(|w| w.mac == address) {
            return Err(format!("{word:?}: another cable has that address"));
        }
        wires.push(VethEnds { bridge: Some(bridge.to_owned()).filter(|b| !b.is_empty()), mac: address, random, vlans: Vec::new() });
    }
    Ok(wires)
}

fn mac(text: &str) -> Result<[u8; 6], &'static str> {
    let mut out = [0u8; 6];
    let mut parts = text.split(':');
    for byte in &mut out {
        let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
        *byte = part.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or("a hardware address is 02:00:00:00:00:01, or empty, or `random`")?;
    }
    if parts.next().is_some() {
        return Err("a hardware address has six parts");
    }
    if out[0] & 1 == 1 || out == [0; 6] {
        return Err("that is no address of one interface (multicast, or all zero)");
    }
    Ok(out)
}
