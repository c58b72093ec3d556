//! What the value of a key may be: each function gives the canonical form, or the reason it refuses.

use std::net::{Ipv4Addr, Ipv6Addr};

use hostel_spec::{CapName, Signal};

type Taken = Result<String, &'static str>;

/// Any text.
pub(crate) fn text(value: &str) -> Taken {
    Ok(value.to_owned())
}

/// A path: no doubled slashes, none at the end.
pub(crate) fn path(value: &str) -> Taken {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    if out.len() > 1 && out.ends_with('/') {
        out.pop();
    }
    if out.len() >= 4096 { Err("a path has less than 4096 bytes") } else { Ok(out) }
}

/// A host's name: what uname(2) has room for.
pub(crate) fn host_name(value: &str) -> Taken {
    if value.len() > 64 { Err("a host name has at most 64 bytes") } else { text(value) }
}

/// Name of a network interface: IFNAMSIZ.
pub(crate) fn interface(value: &str) -> Taken {
    if value.len() > 15 { Err("the name of an interface has at most 15 bytes") } else { text(value) }
}

/// A whole number as strtoul(3) with base 0 reads it: decimal, `0x…`, or octal after a `0`.
fn whole(value: &str) -> Option<u64> {
    let value = value.strip_prefix('+').unwrap_or(value);
    let (digits, base) = match value.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&value[2..], 16),
        [b'0', _, ..] => (&value[1..], 8),
        _ => (value, 10),
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, base).ok()
}

const NO_NUMBER: &str = "it is no whole number that fits";

/// 0 to 4294967295.
pub(crate) fn unsigned(value: &str) -> Taken {
    whole(value).filter(|&n| n <= u64::from(u32::MAX)).map(|n| n.to_string()).ok_or(NO_NUMBER)
}

/// 1 to 4294967295.
pub(crate) fn positive(value: &str) -> Taken {
    whole(value).filter(|&n| n > 0 && n <= u64::from(u32::MAX)).map(|n| n.to_string()).ok_or(NO_NUMBER)
}

/// A number of 32 bits with a sign.
pub(crate) fn signed(value: &str) -> Taken {
    let (minus, digits) = value.strip_prefix('-').map_or((1, value), |rest| (-1, rest));
    let n = whole(digits).and_then(|n| i64::try_from(n).ok()).map(|n| n * minus).filter(|&n| i32::try_from(n).is_ok());
    n.map(|n| n.to_string()).ok_or(NO_NUMBER)
}

/// An id of a user or group.
pub(crate) fn id(value: &str) -> Taken {
    whole(value).filter(|&n| n < u64::from(u32::MAX)).map(|n| n.to_string()).ok_or("it is no id, 0 to 4294967294")
}

/// 0 or 1.
pub(crate) fn switch(value: &str) -> Taken {
    if matches!(value, "0" | "1") { text(value) } else { Err("it is neither 0 nor 1") }
}

/// Number of a VLAN on a bridge port.
pub(crate) fn bridge_vlan(value: &str) -> Taken {
    whole(value).filter(|&n| n < 4095).map(|n| n.to_string()).ok_or("it is no number of a VLAN, 0 to 4094")
}

/// Number of a VLAN on a bridge port, or none.
pub(crate) fn bridge_vlan_or_none(value: &str) -> Taken {
    if value == "none" { Ok("-1".to_owned()) } else { bridge_vlan(value) }
}

/// Number of a VLAN.
pub(crate) fn vlan(value: &str) -> Taken {
    whole(value).filter(|&n| n < 4096).map(|n| n.to_string()).ok_or("it is no number of a VLAN, 0 to 4095")
}

/// A signal: its number. `SIGTERM`, `SIGRTMIN+3`, `9`; a name wants its `SIG`.
pub(crate) fn signal(value: &str) -> Taken {
    let upper = value.to_ascii_uppercase();
    let number = match upper.as_str() {
        "SIGRTMIN" | "SIGRTMAX" => None,
        "SIGIOT" => Some(6),
        "SIGCLD" => Some(17),
        "SIGPOLL" => Some(29),
        name if name.starts_with("SIG") => Signal::parse(name).ok().map(|s| s.raw() as u64),
        number => whole(number).filter(|&n| n <= 64),
    };
    number.map(|n| n.to_string()).ok_or("there is no signal of this name or number")
}

/// An architecture: the name of the personality it asks for here, of 32 or of 64 bits.
pub(crate) fn architecture(value: &str) -> Taken {
    const NARROW: &[&str] =
        &["arm", "armel", "armhf", "armv7l", "athlon", "i386", "i486", "i586", "i686", "linux32", "mips", "mipsel", "powerpc", "ppc", "x86"];
    const WIDE: &[&str] =
        &["aarch64", "amd64", "arm64", "linux64", "mips64", "mips64el", "powerpc64", "ppc64", "ppc64el", "ppc64le", "riscv64", "s390x", "x86_64"];
    match value {
        value if NARROW.contains(&value) => Ok(if cfg!(target_arch = "aarch64") { "armv7l" } else { "i686" }.to_owned()),
        value if WIDE.contains(&value) => Ok(if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" }.to_owned()),
        _ => Err("there is no architecture of this name"),
    }
}

/// A capability in small letters without `cap_`, or its number.
pub(crate) fn capability(value: &str) -> Taken {
    let known = match value.parse::<u8>() {
        Ok(number) => number <= CapName::CHECKPOINT_RESTORE.0,
        Err(_) => !value.starts_with("cap_") && CapName::parse(value).is_ok_and(|cap| cap.name()[4..] == *value),
    };
    if known { text(value) } else { Err("there is no capability of this name") }
}

/// A capability, or `none`, which empties the list.
pub(crate) fn capability_or_none(value: &str) -> Taken {
    if value == "none" { text(value) } else { capability(value) }
}

/// The namespaces in the order in which they are listed.
pub(crate) const NAMESPACES: [&str; 8] = ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"];

/// A namespace.
pub(crate) fn namespace(value: &str) -> Taken {
    if NAMESPACES.contains(&value) { text(value) } else { Err("it is none of user, mnt, pid, uts, ipc, net, cgroup, time") }
}

/// `u|g NSID HOSTID RANGE`.
pub(crate) fn id_map(value: &str) -> Taken {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    match words[..] {
        [kind @ ("u" | "g"), inside, outside, count] => {
            let number = |text: &str| text.parse::<u32>().map_err(|_| "an id and a range are numbers of 32 bits");
            Ok(format!("{kind} {} {} {}", number(inside)?, number(outside)?, number(count)?))
        }
        _ => Err("it is not `u|g NSID HOSTID RANGE`"),
    }
}

/// `SOFT[:HARD]`, numbers or `unlimited`.
pub(crate) fn limit(value: &str) -> Taken {
    let one = |text: &str| match text.trim() {
        "" => Some("0".to_owned()),
        "unlimited" => Some("unlimited".to_owned()),
        number => number.parse::<u64>().ok().map(|n| n.to_string()),
    };
    let (soft, hard) = value.split_once(':').map_or((value, None), |(soft, hard)| (soft, Some(hard).filter(|hard| !hard.is_empty())));
    let why = "it is not SOFT[:HARD], numbers or `unlimited`";
    let soft = one(soft).ok_or(why)?;
    match hard {
        None => Ok(soft),
        Some(hard) => Ok(format!("{soft}:{}", one(hard).ok_or(why)?)),
    }
}

/// A span that a clock is set off by: a number and h, m, s, ms, us or ns; in whole seconds or in nanoseconds.
pub(crate) fn offset(value: &str) -> Taken {
    const UNITS: [(&str, i64); 6] = [("ms", 1_000_000), ("us", 1_000), ("ns", 1), ("h", 3_600), ("m", 60), ("s", 1)];
    let why = "it is no number with a unit of h, m, s, ms, us, ns";
    let (unit, factor) = UNITS.iter().find(|(unit, _)| value.ends_with(unit)).ok_or(why)?;
    let digits = value[..value.len() - unit.len()].trim_end();
    let number: i64 = digits.parse().map_err(|_| why)?;
    let span = number.checked_mul(*factor).ok_or("it is too long")?;
    Ok(format!("{span}{}", if unit.len() == 2 { "ns" } else { "s" }))
}

const SIZE: &str = "it is neither `auto` nor a size such as 128KB";

/// A size of a buffer: `auto` (128 KiB), bytes, or KB, MB, GB; a page at least, then the next power of two.
pub(crate) fn buffer_size(value: &str) -> Taken {
    if value == "auto" {
        return Ok((128 * 1024).to_string());
    }
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..end].parse().map_err(|_| SIZE)?;
    let shift = match value[end..].trim_start().to_ascii_uppercase().as_str() {
        "" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return Err(SIZE),
    };
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| bytes <= 1 << 40).ok_or("it is too large")?;
    Ok(bytes.max(4096).next_power_of_two().to_string())
}

/// A level of the log by name or number: its name.
pub(crate) fn level(value: &str) -> Taken {
    const LEVELS: [&str; 9] = ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRIT", "ALERT", "FATAL"];
    let at = LEVELS.iter().position(|name| name.eq_ignore_ascii_case(value)).or_else(|| value.parse().ok());
    at.and_then(|at: usize| LEVELS.get(at)).map(|name| (*name).to_owned()).ok_or("it is none of TRACE to FATAL, 0 to 8")
}

/// A facility of syslog.
pub(crate) fn facility(value: &str) -> Taken {
    let lower = value.to_ascii_lowercase();
    let local = lower.strip_prefix("local").and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| n < 8);
    if lower == "daemon" || local { text(value) } else { Err("it is none of daemon, local0 to local7") }
}

/// `NAME=VALUE`, or from 6.0 on NAME, whose value is the caller's.
pub(crate) fn assignment(value: &str) -> Taken {
    if value.starts_with('=') { Err("a variable has a name") } else { text(value) }
}

/// One thing of `lxc.mount.auto`, with the mode that it has when none is said.
pub(crate) fn automatic(value: &str) -> Taken {
    let (what, mode) = value.split_once(':').unwrap_or((value, ""));
    let known = match what {
        "proc" => matches!(mode, "" | "mixed" | "rw"),
        "sys" => matches!(mode, "" | "mixed" | "ro" | "rw"),
        "cgroup" | "cgroup-full" => matches!(mode, "" | "ro" | "rw" | "mixed" | "force" | "ro:force" | "rw:force" | "mixed:force"),
        "cgroup2" => matches!(mode, "" | "ro" | "rw" | "force" | "ro:force" | "rw:force"),
        "shmounts" => mode.starts_with('/'),
        _ => return Err("it is none of proc, sys, cgroup, cgroup-full, cgroup2, shmounts"),
    };
    match known {
        true if mode.is_empty() && matches!(what, "proc" | "sys") => Ok(format!("{what}:mixed")),
        true => text(value),
        false => Err("it has no such mode"),
    }
}

/// `[TYPE:]PATH` of the root file system; a type that is none stays part of the path.
pub(crate) fn root(value: &str) -> Taken {
    text(value)
}

/// Options of the root's mount; `idmap=` names a user namespace that there is: `container`.
pub(crate) fn root_options(value: &str) -> Taken {
    match value.split(',').find_map(|option| option.strip_prefix("idmap=")) {
        Some(map) if map != "container" && !map.starts_with("/proc/") => Err("idmap= is `container` or a user namespace below /proc"),
        _ => text(value),
    }
}

/// A path below the parent of cgroups.
pub(crate) fn group_path(value: &str) -> Taken {
    if value.starts_with('/') || value.split('/').any(|part| part == "..") { Err("it is no relative path without `..`") } else { path(value) }
}

/// One name of a cgroup.
pub(crate) fn group_name(value: &str) -> Taken {
    if value.contains('/') || matches!(value, "." | "..") { Err("it is no plain name") } else { text(value) }
}

/// `unix:PATH`.
pub(crate) fn unix_path(value: &str) -> Taken {
    value.strip_prefix("unix:").filter(|path| !path.is_empty()).map(str::to_owned).ok_or("it is not `unix:PATH`")
}

/// `up`.
pub(crate) fn flags(value: &str) -> Taken {
    if value == "up" { text(value) } else { Err("the one flag is `up`") }
}

/// `XX:XX:XX:XX:XX:XX`; an `x` is any digit, chosen when the setting is taken.
pub(crate) fn mac(value: &str) -> Taken {
    let parts: Vec<&str> = value.split(':').collect();
    let digit = |b: u8| b.is_ascii_hexdigit() || b.eq_ignore_ascii_case(&b'x');
    if parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(digit)) {
        text(value)
    } else {
        Err("it is no hardware address")
    }
}

/// Type of an interface.
pub(crate) fn net_type(value: &str) -> Taken {
    if matches!(value, "none" | "empty" | "veth" | "vlan" | "macvlan" | "ipvlan" | "phys") {
        text(value)
    } else {
        Err("it is none of none, empty, veth, vlan, macvlan, ipvlan, phys")
    }
}

/// `bridge` or `router`.
pub(crate) fn veth_mode(value: &str) -> Taken {
    if matches!(value, "bridge" | "router") { text(value) } else { Err("it is neither bridge nor router") }
}

/// Mode of a macvlan.
pub(crate) fn macvlan_mode(value: &str) -> Taken {
    if matches!(value, "private" | "vepa" | "bridge" | "passthru") { text(value) } else { Err("it is none of private, vepa, bridge, passthru") }
}

/// Mode of an ipvlan.
pub(crate) fn ipvlan_mode(value: &str) -> Taken {
    if matches!(value, "l3" | "l3s" | "l2") { text(value) } else { Err("it is none of l3, l3s, l2") }
}

/// Isolation of an ipvlan.
pub(crate) fn ipvlan_isolation(value: &str) -> Taken {
    if matches!(value, "bridge" | "private" | "vepa") { text(value) } else { Err("it is none of bridge, private, vepa") }
}

const ADDRESS: &str = "it is no address with a prefix that fits";

fn prefix(text: &str, bits: u8) -> Result<u8, &'static str> {
    text.parse().ok().filter(|&n: &u8| n <= bits).ok_or(ADDRESS)
}

/// `ADDRESS[/PREFIX] [BROADCAST]`: with the prefix of its class where none is said.
pub(crate) fn ipv4(value: &str) -> Taken {
    let mut words = value.split_ascii_whitespace();
    let (address, length) = words.next().unwrap_or("").split_once('/').map_or((value, None), |(address, length)| (address, Some(length)));
    let address: Ipv4Addr = address.trim().parse().map_err(|_| ADDRESS)?;
    let length = match (length, address.octets()[0]) {
        (Some(length), _) => prefix(length, 32)?,
        (None, 0..=127) => 8,
        (None, 128..=191) => 16,
        (None, 192..=223) => 24,
        (None, _) => 32,
    };
    match words.next().map(str::parse::<Ipv4Addr>) {
        None => Ok(format!("{address}/{length}")),
        Some(Ok(broadcast)) if words.next().is_none() => Ok(format!("{address}/{length} {broadcast}")),
        Some(_) => Err("what follows the address is its broadcast address, and nothing more"),
    }
}

/// `ADDRESS[/PREFIX]`: with 64 where none is said.
pub(crate) fn ipv6(value: &str) -> Taken {
    let (address, length) = value.split_once('/').unwrap_or((value, "64"));
    let address: Ipv6Addr = address.parse().map_err(|_| ADDRESS)?;
    Ok(format!("{address}/{}", prefix(length, 128)?))
}

/// `NETWORK/PREFIX`.
pub(crate) fn ipv4_route(value: &str) -> Taken {
    if value.contains('/') && !value.contains(' ') { ipv4(value) } else { Err(ADDRESS) }
}

/// `NETWORK/PREFIX`.
pub(crate) fn ipv6_route(value: &str) -> Taken {
    if value.contains('/') { ipv6(value) } else { Err(ADDRESS) }
}

/// `ADDRESS`, `auto` (the bridge's) or `dev`.
pub(crate) fn ipv4_gateway(value: &str) -> Taken {
    if matches!(value, "auto" | "dev") || value.parse::<Ipv4Addr>().is_ok() { text(value) } else { Err("it is no address, `auto` or `dev`") }
}

/// `ADDRESS`, `auto` (the bridge's) or `dev`.
pub(crate) fn ipv6_gateway(value: &str) -> Taken {
    if matches!(value, "auto" | "dev") || value.parse::<Ipv6Addr>().is_ok() { text(value) } else { Err("it is no address, `auto` or `dev`") }
}
