//! `hostel net`: networks of machines. `hostel port`: where a machine's ports are reached.

use std::ffi::OsString;

use hostel_engine::error::Context;
use hostel_engine::network::{NetworkState, hosts, look as networks};
use lexopt::Arg::{Long, Short, Value};
use serde_json::json;

use super::look::{self, Look};
use super::{Failure, Outcome, Verb};
use crate::{machine, output};

/// `hostel net`.
pub(super) const NET: Verb = Verb {
    name: "net",
    args: "ls|status [--json]",
    about: "show the networks of machines: zones, addresses, who gives them",
    options: &[("--json", "an array of objects (ls), or one object (status)")],
    examples: &[
        ("hostel net ls", "a line per machine with a network of its own"),
        ("hostel net status", "the zones of this host, and where names of machines are"),
    ],
    run: net,
};

/// `hostel port`.
pub(super) const PORT: Verb = Verb {
    name: "port",
    args: "NAME [--json]",
    about: "show which ports of this host lead to a machine",
    options: &[("--json", "an array of objects")],
    examples: &[("hostel port web", "tcp 8080 -> 10.208.12.2:80")],
    run: port,
};

fn net(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut what, mut json) = (None, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&NET))),
            Long("json") => json = true,
            Value(word) if what.is_none() => what = Some(word),
            other => return Err(other.unexpected().into()),
        }
    }
    match what.as_deref().and_then(|w| w.to_str()) {
        Some("ls" | "list") => list(json),
        None | Some("status") => status(json),
        Some(other) => Err(Failure::Usage(format!("net: unexpected argument {other:?}: it takes ls or status"))),
    }
}

/// The machines that run on a network of their own.
fn machines() -> Result<Vec<(Look, NetworkState)>, Failure> {
    let all = machine::registry_to_read()?.list()?;
    let looks = all.into_iter().map(Look::at).filter(|l| l.state() != "dead");
    Ok(looks.filter_map(|l| l.machine.known().and_then(|s| s.network.clone()).map(|n| (l, n))).collect())
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |v| output::clean(&v.to_string()))
}

fn list(json: bool) -> Outcome {
    let machines = machines()?;
    if json {
        let rows = machines.iter().map(|(look, n)| json!({ "name": look.machine.name, "addresses": look.addresses, "network": n }));
        return Ok(output::show_json(&rows.collect::<Vec<_>>()));
    }
    if machines.is_empty() {
        return Ok(0);
    }
    let row = |(look, n): &(Look, NetworkState)| {
        let ports: Vec<String> = n.ports.iter().map(|p| format!("{}:{}->{}", p.transport, p.host, p.inside)).collect();
        vec![
            look.machine.name.to_string(),
            text(n.zone.as_ref()),
            text(n.link.as_ref()),
            text(look.addresses.first()),
            text(n.router),
            output::clean(&n.by),
            text(Some(ports.join(" ")).filter(|p| !p.is_empty())),
        ]
    };
    let head = ["NAME", "ZONE", "LINK", "ADDRESS", "ROUTER", "BY", "PORTS"];
    Ok(output::show(&output::table(&head, &machines.iter().map(row).collect::<Vec<_>>())))
}

fn status(json: bool) -> Outcome {
    let zones = networks::zones().context("look at", "bridges of this host")?;
    let machines = machines()?;
    let of =
        |zone: &str| machines.iter().filter(|(_, n)| n.zone.as_deref() == Some(zone)).map(|(l, _)| l.machine.name.to_string()).collect::<Vec<_>>();
    let hosts = hosts::path(&machine::runtime_dir());
    if json {
        let zones: Vec<_> = zones
            .iter()
            .map(|z| json!({ "zone": z.name, "network": z.network, "network6": z.network6, "ports": z.ports, "machines": of(&z.name) }))
            .collect();
        return Ok(output::show_json(&json!({ "zones": zones, "machines": machines.len(), "hosts": hosts.display().to_string() })));
    }
    let mut out = String::new();
    if !zones.is_empty() {
        let row = |z: &networks::Zone| {
            vec![output::clean(&z.name), text(z.network.as_ref()), text(z.network6.as_ref()), z.ports.len().to_string(), of(&z.name).join(" ")]
        };
        out.push_str(&output::table(&["ZONE", "NETWORK", "IPV6", "PORTS", "MACHINES"], &zones.iter().map(row).collect::<Vec<_>>()));
    }
    out.push_str(&format!("machines on networks of their own: {}; their names: {}\n", machines.len(), hosts.display()));
    Ok(output::show(&out))
}

fn port(args: &[OsString]) -> Outcome {
    let mut json = false;
    let flag = |long: &str| {
        json |= long == "json";
        long == "json"
    };
    let Some(name) = look::only_name(&PORT, args, flag)? else { return Ok(0) };
    let found = Look::at(look::running(&machine::registry_to_read()?, &name)?);
    let state = look::state(&found.machine)?;
    let network = state.network.as_ref();
    let ports = network.map(|n| n.ports.as_slice()).unwrap_or_default();
    let address = network.and_then(|n| n.address).map(|a| a.to_string()).or_else(|| found.addresses.first().cloned());
    if json {
        let rows = ports.iter().map(|p| json!({ "transport": p.transport, "host": p.host, "inside": p.inside, "address": address }));
        return Ok(output::show_json(&rows.collect::<Vec<_>>()));
    }
    let to = address.as_deref().unwrap_or("?");
    Ok(output::show(&ports.iter().map(|p| format!("{} {} -> {to}:{}\n", p.transport, p.host, p.inside)).collect::<String>()))
}
