//! IPv6 of machines: by set-up, by router advertisement; beyond the host only where the host gets there itself.

use std::time::Duration;

use hostel_tests::{Bed, Running, Signal, Wires, eventually};

/// Serves a text on port 80 until it is told to end.
const SERVER: &str = "echo here > /tmp/index.html; httpd -p 80 -h /tmp; echo ready; trap 'exit 0' TERM; sleep 60 & wait";
/// The addresses of a machine's own network.
const SHOW: &str = "ip -o -6 addr show dev host0 scope global | sed -E 's/.*inet6 (fd[0-9a-f:]+)\\/64.*/\\1/'";

fn wires() -> Option<Wires> {
    let wires = Wires::start()?;
    if wires.sh("grep -q 0 /proc/sys/net/ipv6/conf/all/disable_ipv6").code != Some(0) {
        println!("skipped: no IPv6 here");
        return None;
    }
    // A duplicate is not looked for: what a test gives is there at once.
    wires.sh("ip addr add 2001:db8::1/64 dev up0 nodad").exits(0);
    wires.outside("ip addr add 2001:db8::2/64 dev out0 nodad").exits(0);
    Some(wires)
}

/// As a kernel that hears routers would have made it.
fn default_route(wires: &Wires) {
    wires.sh("ip -6 route add default via 2001:db8::2 dev up0 proto ra").exits(0);
}

fn sysctls(wires: &Wires) -> String {
    wires.sh("cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/up0/accept_ra").exits(0).text().replace('\n', " ")
}

fn start(bed: &Bed, wires: &Wires, args: &[&str], script: &str) -> Running {
    let tree = bed.busybox();
    let running = wires.run(bed.nspawn(&tree, args).args(["--kill-signal=SIGTERM", "--console=pipe", "/bin/sh", "-c", script])).start();
    running.expect("ready");
    running
}

fn stop(running: Running) {
    running.signal(Signal::TERM);
    let outcome = running.finish(Duration::from_secs(10));
    assert!(!outcome.timed_out, "{}", outcome.describe());
}

/// All addresses of a machine as `hostel ps` tells them, once one is of its IPv6 network.
fn six_of(bed: &Bed, wires: &Wires, name: &str) -> String {
    let mut found = None;
    eventually(Duration::from_secs(30), || {
        let rows = wires.run(bed.hostel(["ps", "--json"])).run().json();
        let row = rows.as_array().and_then(|r| r.iter().find(|m| m["name"] == name)).cloned().unwrap_or_default();
        let all = row["addresses"].as_array().cloned().unwrap_or_default();
        found = all.iter().filter_map(|a| a.as_str()).find(|a| a.starts_with("fd")).map(str::to_string);
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("{name} has no IPv6 address"))
}

#[test]
fn a_command_has_an_address_and_the_host_in_reach() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = wires() else { return };
    let (tree, name, before) = (bed.busybox(), bed.name(), wires.picture());
    let run = |args: &[&str], script: &str| wires.run(bed.nspawn(&tree, args).args(["-M", &name, "--pipe", "/bin/sh", "-c", script])).run();
    let script = format!("A=$({SHOW}); echo $A; ping6 -c1 -W2 ${{A%::*}}::1 && nslookup -type=AAAA gateway; ip -6 route | grep default; echo end");
    let text = run(&["-n"], &script).exits(0).text();
    let address = text.lines().next().unwrap_or_default().to_string();
    assert!(address.starts_with("fd") && address.ends_with("::2"), "{text}");
    assert!(text.contains("1 packets received") && text.contains(address.trim_end_matches('2')) && !text.contains("default"), "{text}");
    assert_eq!(sysctls(&wires), "0 1 ", "nothing is forwarded where there is no way out");
    // It stays, another machine has another one, and none is given where none is wanted.
    assert_eq!(run(&["-n"], SHOW).exits(0).text().trim(), address);
    let other = wires.run(bed.nspawn(&tree, ["-M", &bed.name(), "-n", "--pipe", "/bin/sh", "-c", SHOW])).run().exits(0).text();
    assert!(other.starts_with("fd") && other.trim() != address, "{other}");
    let none = run(&["-n", "--network-config=none"], "ip link set host0 up; sleep 2; ip -o addr show dev host0 scope global").exits(0);
    assert_eq!(none.text(), "");
    wires.assert_back_to(&before);
}

#[test]
fn the_world_is_reached_where_the_host_reaches_it() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = wires() else { return };
    default_route(&wires);
    let (name, before) = (bed.name(), wires.picture());
    for cable in ["-n".to_string(), format!("--network-zone={}", bed.id())] {
        let script = format!("ping6 -c1 -W2 2001:db8::2 && {SERVER}");
        let running = start(&bed, &wires, &["-M", &name, &cable, "-p", "8180:80", "-p", "udp:5380:53"], &format!("/probe udp-echo 53 & {script}"));
        assert_eq!(sysctls(&wires), "1 2 ", "forwards, and hears its router all the same");
        wires.sh("ip -6 route show default").exits(0).prints_with("via 2001:db8::2");
        let address = six_of(&bed, &wires, &name);
        wires.sh(&format!("curl -gsfm 3 http://[{address}]/")).exits(0).prints("here");
        // From outside: by a forwarded port, and by no other way.
        wires.outside("curl -gsfm 3 http://[2001:db8::1]:8180/").exits(0).prints("here");
        let echo = "timeout 3 bash -c 'exec 3<>/dev/udp/2001:db8::1/5380; echo over-udp >&3; head -1 <&3'";
        assert!(wires.outside(echo).text().contains("over-udp"), "{}", wires.outside(echo).describe());
        wires.sh("curl -gsfm 3 http://[::1]:8180/").exits(0).prints("here");
        wires.outside("ip -6 route replace fd00::/8 via 2001:db8::1").exits(0);
        assert_ne!(wires.outside(&format!("curl -gsfm 2 http://[{address}]/")).code, Some(0));
        let table = wires.sh(&format!("nft list table ip6 hostel-{name}")).exits(0).text();
        assert!(table.contains("masquerade") && table.contains("type filter hook forward"), "{table}");
        stop(running);
        wires.assert_back_to(&before);
        // A killed supervisor's is taken back, too.
        let killed = start(&bed, &wires, &["-M", &name, &cable], SERVER);
        assert_eq!(sysctls(&wires), "1 2 ");
        killed.signal(Signal::KILL);
        killed.finish(Duration::from_secs(5));
        wires.run(bed.hostel(["clean"])).run().exits(0);
        wires.assert_back_to(&before);
    }
}

#[test]
fn a_booted_busybox_and_a_command_find_each_other() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = wires() else { return };
    default_route(&wires);
    let (tree, name, peer, before) = (bed.copy("bbinit"), bed.name(), bed.name(), wires.picture());
    let inittab = std::fs::read_to_string(tree.at("/etc/inittab")).expect("read");
    let begin = "::sysinit:/bin/sh -c 'ip link set host0 up; echo served > /tmp/index.html; httpd -p 80 -h /tmp'";
    tree.write("/etc/inittab", format!("{begin}\n{inittab}"));
    let (path, zone) = (tree.path().display().to_string(), format!("--network-zone={}", bed.id()));
    wires.run(bed.hostel(["boot", &path, "-d", "--name", &name, "--net", &format!("zone:{}", bed.id())])).run().exits(0);
    let address = six_of(&bed, &wires, &name);
    assert!(address.contains("ff:fe"), "made of its hardware address: {address}");
    // By its name, from a neighbour that was set up; and the other way round.
    let ask = format!("nslookup -type=AAAA {name}; ping6 -c1 -W2 {address} && wget -qO- http://[{address}]/");
    let second = start(&bed, &wires, &["-M", &peer, &zone], &format!("{ask}; {SERVER}"));
    let text = second.stdout();
    assert!(text.contains(&address) && text.contains("1 packets received") && text.contains("\nserved\n"), "{text}");
    let of_peer = six_of(&bed, &wires, &peer);
    let inside = |script: &str| wires.run(bed.hostel(["exec", &name, "--", "/bin/sh", "-c", script])).run();
    let text = inside(&format!("ping6 -c1 -W2 {of_peer} && wget -qO- http://[{of_peer}]/ && ping6 -c1 -W2 2001:db8::2; ip -6 route")).exits(0).text();
    assert!(text.contains("here") && text.contains("default via fe80::1"), "{text}");
    let status = wires.run(bed.hostel(["net", "status"])).run().exits(0).text();
    let network = address.split(':').take(4).collect::<Vec<_>>().join(":");
    assert!(status.contains(&format!("{network}::/64")), "{network}: {status}");
    stop(second);
    wires.run(bed.hostel(["stop", &name])).limit(Duration::from_secs(60)).run().exits(0);
    wires.assert_back_to(&before);
}

#[test]
fn a_booted_debian_takes_the_advertised_network() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    let Some(wires) = wires() else { return };
    default_route(&wires);
    let (name, peer, before) = (bed.name(), bed.name(), wires.picture());
    for (link, target) in [("multi-user.target.wants", "systemd-networkd.service"), ("sockets.target.wants", "systemd-networkd.socket")] {
        let dir = tree.at(&format!("/etc/systemd/system/{link}"));
        std::fs::create_dir_all(&dir).expect("make");
        let _ = std::os::unix::fs::symlink(format!("/lib/systemd/system/{target}"), dir.join(target));
    }
    let zone = format!("--network-zone={}", bed.id());
    let running = wires.run(bed.nspawn(&tree, ["-b", "-M", &name, &zone, "--console=read-only"])).limit(Duration::from_secs(60)).start();
    let address = six_of(&bed, &wires, &name);
    wires.sh(&format!("ping -6 -c1 -W2 {address} || busybox ping6 -c1 -W2 {address}")).exits(0);
    let other = start(&bed, &wires, &["-M", &peer, &zone], &format!("nslookup -type=AAAA {name}; ping6 -c1 -W2 {address} && {SERVER}"));
    assert!(other.stdout().contains(&address), "{}", other.stdout());
    let seen = wires.run(bed.hostel(["exec", &name, "--", "getent", "ahostsv6", &peer])).run().exits(0).text();
    assert!(seen.contains(&six_of(&bed, &wires, &peer)), "{seen}");
    let routes = wires.run(bed.hostel(["exec", &name, "--", "ip", "-6", "route"])).run().text();
    assert!(routes.is_empty() || routes.contains("default via fe80::1"), "{routes}");
    stop(other);
    wires.run(bed.hostel(["stop", &name])).limit(Duration::from_secs(60)).run().exits(0);
    running.finish(Duration::from_secs(20));
    wires.assert_back_to(&before);
}
