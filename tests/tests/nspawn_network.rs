//! `--private-network` and `--network-veth`: links, names, stable addresses, and nothing left when it ends.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Wires, eventually};

fn host_link(wires: &Wires, name: &str) -> bool {
    wires.sh(&format!("ip link show {name}")).code == Some(0)
}

fn mac(wires: &Wires, name: &str) -> String {
    wires.sh(&format!("ip -o link show {name} | sed -E 's/.*ether (\\S+).*/\\1/'")).text().trim().to_string()
}

#[test]
fn a_cable_from_ve_name_to_host0() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let running = wires.run(bed.nspawn(&tree, ["-M", &name, "--network-veth", "/probe", "json", "then", "sleep"])).start();
    running.expect("}\r\n");
    assert!(host_link(&wires, &format!("ve-{name}")), "no ve-{name}");
    let view: hostel_tests::Value = running.stdout().lines().next().expect("a line").parse().expect("JSON");
    let names: Vec<_> = view["net"].as_array().expect("links").iter().map(|l| l["name"].as_str().unwrap_or("")).collect();
    assert_eq!(names, ["host0", "lo"]);
    assert!(view["caps"]["bnd"].to_string().contains("net_admin"));
    assert_ne!(view["net"][0]["mac"].as_str().unwrap_or(""), mac(&wires, &format!("ve-{name}")));
    running.signal(hostel_tests::Signal::TERM);
    running.finish(Duration::from_secs(5));
    assert!(eventually(Duration::from_secs(2), || !host_link(&wires, &format!("ve-{name}"))));
}

#[test]
fn addresses_are_derived_from_the_name_and_stay_the_same() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let tree = bed.busybox();
    let (name, other) = (bed.name(), bed.name());
    let inside = |name: &str| {
        let view = wires.run(bed.nspawn(&tree, ["-M", name, "-n", "/probe", "json"])).run().exits(0).view();
        view["net"][0]["mac"].as_str().unwrap_or("").to_string()
    };
    let (first, again, different) = (inside(&name), inside(&name), inside(&other));
    assert_eq!(first, again);
    assert_ne!(first, different);
    let octet = u8::from_str_radix(&first[..2], 16).expect("a MAC address");
    assert_eq!(octet & 3, 2, "{first}: not locally administered unicast");
}

#[test]
fn same_addresses_as_the_original() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    if !Path::new("/usr/bin/systemd-nspawn").exists() {
        return println!("skipped: no systemd-nspawn here");
    }
    let tree = bed.busybox();
    let name = bed.name();
    let ours = wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "/probe", "json"])).run().exits(0).view();
    // a network of its own for the original: on failure its cable goes with it
    let original = Invocation::new("unshare")
        .args(["-n", "systemd-nspawn", "-q", "--register=no", "--keep-unit", "-M", &name, "-n", "-D"])
        .arg(tree.path())
        .args(["/probe", "json"])
        .run();
    if original.code != Some(0) {
        return println!("skipped: the original does not run here: {}", original.errors());
    }
    assert_eq!(ours["net"][0]["mac"], original.view()["net"][0]["mac"]);
}

#[test]
fn a_long_name_gets_a_short_cable_name() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let tree = bed.busybox();
    let name = format!("{}-a-rather-long-machine-name", bed.name());
    let running = wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "/probe", "say", "up", "then", "sleep"])).start();
    running.expect("up");
    let text = wires.sh("ip -o link | sed -E 's/^[0-9]+: //; s/[@:].*//'").exits(0).text();
    let links: Vec<&str> = text.lines().collect();
    let ours: Vec<_> = links.iter().filter(|l| l.starts_with("ve-") && l.contains(bed.id())).collect();
    assert!(ours.len() == 1 && ours[0].len() == 15, "{links:?}");
}

#[test]
fn the_cable_goes_when_the_supervisor_is_killed_and_does_not_stop_the_next_start() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let running = wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "/probe", "say", "up", "then", "sleep"])).start();
    running.expect("up").signal(hostel_tests::Signal::KILL);
    running.finish(Duration::from_secs(5));
    wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "true"])).run().exits(0);
    assert!(eventually(Duration::from_secs(2), || !host_link(&wires, &format!("ve-{name}"))));
}

#[test]
fn a_link_of_the_same_name_on_the_host_refuses_the_start_and_stays() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let link = format!("ve-{name}");
    wires.sh(&format!("ip link add {link} type bridge")).exits(0);
    let outcome = wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "true"])).run().exits(1).fails();
    assert!(host_link(&wires, &link) && outcome.errors().contains(&link), "{}", outcome.describe());
}
