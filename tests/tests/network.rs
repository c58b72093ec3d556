//! Networks that work by themselves: addresses, names, translation, forwarded ports, and nothing left when it ends.
//! Every test has a host network of its own.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Running, Signal, Tree, Wires, eventually};

/// Says "ready", serves /tmp with a file `index.html` of this text on port 80, until it is told to end.
fn server(text: &str) -> String {
    format!("echo {text} > /tmp/index.html; httpd -p 80 -h /tmp; echo ready; trap 'exit 0' TERM; sleep 60 & wait")
}

fn start(bed: &Bed, wires: &Wires, tree: &Tree, args: &[&str], script: &str) -> Running {
    let running = wires.run(bed.nspawn(tree, args).args(["--kill-signal=SIGTERM", "--console=pipe", "/bin/sh", "-c", script])).start();
    running.expect("ready");
    // PID 1 may be ahead of what is written about it.
    let listed = || wires.run(bed.hostel(["ps", "-q"])).run().text().lines().any(|l| args.contains(&l));
    assert!(eventually(Duration::from_secs(5), listed), "{args:?} is not listed");
    running
}

fn stop(running: Running) {
    running.signal(Signal::TERM);
    let outcome = running.finish(Duration::from_secs(10));
    assert!(!outcome.timed_out, "{}", outcome.describe());
}

#[test]
fn a_command_has_address_route_and_names() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name, before) = (bed.busybox(), bed.name(), wires.picture());
    let script = "ip -o -4 addr show host0; ip route; cat /etc/resolv.conf; ping -c1 -W2 gateway && ping -c1 -W2 192.0.2.1 && ping -c1 -W2 192.0.2.2 && nslookup $(hostname)";
    let outcome = wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "--pipe", "/bin/sh", "-c", script])).run().exits(0);
    let text = outcome.text();
    let router = text.lines().find_map(|l| l.strip_prefix("default via ")).and_then(|l| l.split(' ').next()).expect("a default route").to_string();
    assert!(text.contains("/30 ") && text.contains(&format!("nameserver {router}")) && text.contains("search hostel"), "{text}");
    assert!(text.contains(&format!("{name}.hostel")), "{text}");
    wires.assert_back_to(&before);
    // The same address the next time, and with an address pool of one's own another one.
    let address = |args: &[&str]| {
        let show = "ip -o -4 addr show host0 | sed -E 's/.*inet ([0-9.]+).*/\\1/'";
        wires.run(bed.nspawn(&tree, args).args(["-M", &name, "-n", "--pipe", "/bin/sh", "-c", show])).run().exits(0).text()
    };
    assert!(text.contains(address(&[]).trim()), "{text}");
    assert!(address(&["--network-pool=172.20.0.0/16"]).starts_with("172.20."));
    wires.assert_back_to(&before);
}

#[test]
fn without_config_it_is_as_the_original_has_it() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name, before) = (bed.busybox(), bed.name(), wires.picture());
    let running = start(
        &bed,
        &wires,
        &tree,
        &["-M", &name, "-n", "--network-config=none"],
        "ip -o addr show host0; ip route; echo ready; trap 'exit 0' TERM; sleep 60 & wait",
    );
    assert!(!running.stdout().contains("inet "), "{}", running.stdout());
    let link = wires.sh(&format!("ip -o link show ve-{name}; nft list ruleset")).exits(0).text();
    assert!(link.contains("state DOWN") && !link.contains("table"), "{link}");
    stop(running);
    wires.assert_back_to(&before);
}

#[test]
fn machines_of_a_zone_know_each_other_and_nobody_else() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, other_tree, before) = (bed.busybox(), bed.busybox(), wires.picture());
    let (one, two, far) = (bed.name(), bed.name(), bed.name());
    let zone = format!("--network-zone={}", bed.id());
    let running = start(&bed, &wires, &tree, &["-M", &one, &zone], &server("one"));
    let elsewhere = start(&bed, &wires, &bed.busybox(), &["-M", &far, "--network-zone=far"], &server("far"));
    let address = wires.address_of(&bed, &one);
    let script = format!("ping -c1 -W2 {one} && wget -qO- http://{one}.hostel/ && nslookup {address}; nslookup {far} && echo SEEN; echo done");
    let outcome = wires.run(bed.nspawn(&other_tree, ["-M", &two, &zone, "--pipe", "/bin/sh", "-c", &script])).run().exits(0);
    let text = outcome.text();
    assert!(text.contains("1 packets received") && text.contains("\none\n") && text.contains(&format!("name = {one}.hostel")), "{text}");
    assert!(!text.contains("SEEN"), "another zone's name is known: {text}");
    let hosts = std::fs::read_to_string(bed.runtime_dir().join("hosts")).expect("hosts");
    assert!(hosts.contains(&format!("{address}\t{one} ")) && hosts.contains(&far) && !hosts.contains(&two), "{hosts}");
    let list = wires.run(bed.hostel(["net", "ls", "--json"])).run().exits(0).json();
    let row = list.as_array().and_then(|rows| rows.iter().find(|r| r["name"] == one.as_str())).cloned().expect("a row");
    assert_eq!((row["network"]["zone"].as_str(), row["network"]["by"].as_str()), (Some(bed.id()), Some("hostel")));
    wires.run(bed.hostel(["net", "status"])).run().exits(0).prints_with(bed.id());
    stop(running);
    stop(elsewhere);
    wires.assert_back_to(&before);
    assert!(std::fs::read_dir(bed.runtime_dir().join("network")).expect("list").next().is_none(), "an address is still taken");
}

#[test]
fn a_booted_debian_asks_by_dhcp() {
    let Some(bed) = Bed::start() else { return };
    // First the mount, then the namespace that is to have it.
    let Some(tree) = bed.tree("debian") else { return };
    let Some(wires) = Wires::start() else { return };
    let (name, before) = (bed.name(), wires.picture());
    for (link, target) in [("multi-user.target.wants", "systemd-networkd.service"), ("sockets.target.wants", "systemd-networkd.socket")] {
        let dir = tree.at(&format!("/etc/systemd/system/{link}"));
        std::fs::create_dir_all(&dir).expect("make");
        let _ = std::os::unix::fs::symlink(format!("/lib/systemd/system/{target}"), dir.join(target));
    }
    let zone = format!("--network-zone={}", bed.id());
    let running =
        wires.run(bed.nspawn(&tree, ["-b", "-M", &name, &zone, "-p", "2280:80", "--console=read-only"])).limit(Duration::from_secs(60)).start();
    let address = wires.address_of(&bed, &name);
    wires.sh(&format!("ping -c1 -W2 {address} || busybox ping -c1 -W2 {address}")).exits(0);
    // A peer finds it by its name, it finds the peer by its name.
    let peer = bed.name();
    let other = start(&bed, &wires, &bed.busybox(), &["-M", &peer, &zone], &format!("ping -c1 -W2 {name} && {}", server("peer")));
    let seen = wires.run(bed.hostel(["exec", &name, "--", "getent", "ahostsv4", &peer])).run().exits(0).text();
    assert!(seen.contains(&wires.address_of(&bed, &peer)), "{seen}");
    stop(other);
    let lease = wires.run(bed.hostel(["exec", &name, "--", "networkctl", "status", "host0"])).run().text();
    assert!(lease.contains(&format!("{address} (DHCP4 via ")) && lease.contains("routable ("), "{lease}");
    wires.run(bed.hostel(["stop", &name])).limit(Duration::from_secs(60)).run().exits(0);
    running.finish(Duration::from_secs(20));
    wires.assert_back_to(&before);
}

#[test]
fn a_busybox_client_gets_and_renews_its_lease() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name, before) = (bed.busybox(), bed.name(), wires.picture());
    tree.write("/udhcpc.sh", "#!/bin/sh\necho \"$1 $ip/$mask $router $dns $lease $serverid $domain $hostname\"\n[ \"$1\" = bound ] && ip addr add $ip/$mask dev $interface && ip route add default via $router\nexit 0\n")
        .executable("/udhcpc.sh");
    // USR1 makes it renew, over the address it has.
    let script = "ip -o -4 addr show host0; ip link set host0 up; udhcpc -f -i host0 -s /udhcpc.sh & sleep 2; kill -USR1 $!; sleep 2; kill -USR2 $!; sleep 0.5; ping -c1 -W2 192.0.2.1; echo status $?";
    for cable in ["--network-veth".to_string(), format!("--network-zone={}", bed.id())] {
        let args = ["-M", &name, &cable, "--network-config=dhcp", "--hostname=my-host", "--pipe", "/bin/sh", "-c", script];
        let outcome = wires.run(bed.nspawn(&tree, args)).run().exits(0);
        let text = outcome.text();
        let lease = text.lines().find_map(|l| l.strip_prefix("bound ")).unwrap_or_else(|| panic!("no lease: {text}"));
        assert!(lease.ends_with("3600 ") || lease.contains(" 3600 "), "{text}");
        assert!(lease.contains(" hostel my-host"), "{text}");
        assert!(text.contains(&format!("renew {lease}")), "not renewed: {}", outcome.describe());
        assert!(!text.contains(" inet ") && text.contains("status 0"), "{text}");
        wires.assert_back_to(&before);
    }
}

#[test]
fn ports_lead_to_the_machine_from_everywhere() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (name, peer, before) = (bed.name(), bed.name(), wires.picture());
    let zone = format!("--network-zone={}", bed.id());
    let udp = "/probe udp-echo 53 & ";
    let running =
        start(&bed, &wires, &bed.busybox(), &["-M", &name, &zone, "-p", "8080:80", "-p", "udp:5300:53"], &format!("{udp}{}", server("here")));
    let get = |host: &str| format!("curl -gsfm 3 http://{host}:8080/");
    wires.outside(&get("192.0.2.1")).exits(0).prints("here");
    for host in ["127.0.0.1", "[::1]", "192.0.2.1", &wires.address_of(&bed, &name)] {
        let script = if host.starts_with("10.") { format!("curl -gsfm 3 http://{host}/") } else { get(host) };
        wires.sh(&script).exits(0).prints("here");
    }
    let echo = |host: &str| format!("timeout 3 bash -c 'exec 3<>/dev/udp/{host}/5300; echo over-udp >&3; head -1 <&3'");
    for (what, outcome) in [("localhost", wires.sh(&echo("127.0.0.1"))), ("outside", wires.outside(&echo("192.0.2.1")))] {
        assert!(outcome.text().contains("over-udp"), "{what}: {}", outcome.describe());
    }
    // A peer reaches it by the host's address, and so does the machine itself.
    let script = format!("wget -qO- http://192.0.2.1:8080/ && wget -qO- http://{name}/");
    wires.run(bed.nspawn(&bed.busybox(), ["-M", &peer, &zone, "--pipe", "/bin/sh", "-c", &script])).run().exits(0).prints("here\nhere");
    wires.run(bed.hostel(["exec", &name, "--", "wget", "-qO-", "http://192.0.2.1:8080/"])).run().exits(0).prints("here");
    let ports = wires.run(bed.hostel(["port", &name])).run().exits(0).text();
    assert_eq!(ports, format!("tcp 8080 -> {0}:80\nudp 5300 -> {0}:53\n", wires.address_of(&bed, &name)));
    // Nobody outside gets in by another way.
    wires.outside("ip route add 10.208.0.0/12 via 192.0.2.1").exits(0);
    let address = wires.address_of(&bed, &name);
    assert_ne!(wires.outside(&format!("curl -gsfm 2 http://{address}/")).code, Some(0));
    stop(running);
    wires.assert_back_to(&before);
    assert_ne!(wires.sh(&get("127.0.0.1")).code, Some(0));
}

#[test]
fn big_transfers_over_localhost_are_whole() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    let script = format!("dd if=/dev/zero of=/tmp/big bs=1M count=64 2>/dev/null; {}", server("big"));
    let running = start(&bed, &wires, &tree, &["-M", &name, "-n", "-p", "8081:80"], &script);
    let many = "for n in 1 2 3 4; do curl -gsfm 20 http://127.0.0.1:8081/big | wc -c & done; wait";
    assert_eq!(wires.sh(many).exits(0).text().split_whitespace().collect::<Vec<_>>(), ["67108864"; 4]);
    stop(running);
}

#[test]
fn a_killed_supervisor_leaves_nothing_that_clean_does_not_take() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    // A firewall that drops what it does not know, as Docker's: our rules in it have to go, too.
    wires.sh("nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'").exits(0);
    let before = wires.picture();
    for cable in ["-n".to_string(), format!("--network-zone={}", bed.id())] {
        let (tree, name) = (bed.busybox(), bed.name());
        let running = start(&bed, &wires, &tree, &["-M", &name, &cable, "-p", "8082:80"], &server("here"));
        assert_ne!(wires.picture(), before);
        running.signal(Signal::KILL);
        running.finish(Duration::from_secs(5));
        wires.run(bed.hostel(["clean"])).run().exits(0);
        wires.assert_back_to(&before);
        // And the name can be used again at once, and without `clean`.
        let again = start(&bed, &wires, &tree, &["-M", &name, &cable, "-p", "8082:80"], &server("here"));
        again.signal(Signal::KILL);
        again.finish(Duration::from_secs(5));
        stop(start(&bed, &wires, &tree, &["-M", &name, &cable], &server("here")));
        wires.assert_back_to(&before);
    }
}

#[test]
fn firewalls_that_drop_are_passed() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let rules = "table ip filter { chain DOCKER-USER { }; chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }; \
                 chain INPUT { type filter hook input priority 0; policy drop; iifname \"lo\" accept; ct state established accept; }; }";
    wires.sh(&format!("nft '{rules}'")).exits(0);
    let (tree, name, before) = (bed.busybox(), bed.name(), wires.picture());
    let running =
        start(&bed, &wires, &tree, &["-M", &name, "-n", "-p", "8083:80"], &format!("ping -c1 -W2 192.0.2.2 && nslookup gateway && {}", server("in")));
    wires.outside("curl -gsfm 3 http://192.0.2.1:8083/").exits(0).prints("in");
    stop(running);
    wires.assert_back_to(&before);
}

#[test]
fn names_of_the_world_come_from_the_hosts_resolver() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    if !Path::new("/usr/sbin/dnsmasq").exists() {
        return println!("skipped: no dnsmasq here");
    }
    let conf = bed.dir().join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.0.0.53\n").expect("write");
    wires.sh(&format!("mount --bind {} /etc/resolv.conf", conf.display())).exits(0);
    let flags =
        "--no-daemon --no-resolv --no-hosts --user=root --bind-interfaces --listen-address=127.0.0.53 --port=53 --pid-file= --conf-file=/dev/null";
    let resolver = wires.run(Invocation::new("sh").args(["-c", &format!("exec dnsmasq {flags} --address=/example.org/203.0.113.7")])).start();
    assert!(eventually(Duration::from_secs(3), || wires.sh("ss -lnu | grep -q 127.0.0.53").code == Some(0)), "{}", resolver.stderr());
    let script = "nslookup www.example.org; nslookup no-such-machine; wget -T 1 -qO- http://10.255.255.1/; echo end";
    let text = wires.run(bed.nspawn(&bed.busybox(), ["-M", &bed.name(), "-n", "--pipe", "/bin/sh", "-c", script])).run().exits(0).text();
    assert!(text.contains("203.0.113.7") && text.contains("NXDOMAIN"), "{text}");
    resolver.signal(Signal::TERM);
    resolver.finish(Duration::from_secs(5));
}

#[test]
fn a_networkd_that_serves_cables_is_left_in_charge() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    // What PID 1 and the package would have there.
    let units = "mkdir -p /run/systemd/units /etc/systemd && mount -t tmpfs t /run/systemd/units && mount -t tmpfs t /etc/systemd && mkdir /etc/systemd/network \
                 && ln -s x /run/systemd/units/invocation:systemd-networkd.service && echo '[Match]' > /etc/systemd/network/80-container-ve.network";
    wires.sh(units).exits(0);
    let (tree, name) = (bed.busybox(), bed.name());
    let running = start(&bed, &wires, &tree, &["-M", &name, "-n", "-p", "8084:80"], &format!("ip -o -4 addr show host0; {}", server("here")));
    assert!(!running.stdout().contains("inet "), "{}", running.stdout());
    wires.run(bed.hostel(["net", "ls"])).run().exits(0).prints_with("networkd");
    // Ports follow the address that somebody else gives.
    wires.sh(&format!("ip addr add 10.9.9.1/30 dev ve-{name} && ip link set ve-{name} up")).exits(0);
    wires.run(bed.hostel(["exec", &name, "--", "/bin/sh", "-c", "ip addr add 10.9.9.2/30 dev host0 && ip link set host0 up"])).run().exits(0);
    wires.sh("for n in 1 2 3 4 5 6; do curl -gsfm 2 http://127.0.0.1:8084/ && break; sleep 0.3; done").prints("here");
    stop(running);
    // Masked, it is not in charge.
    wires.sh("ln -sf /dev/null /etc/systemd/network/80-container-ve.network").exits(0);
    let outcome = wires.run(bed.nspawn(&tree, ["-M", &name, "-n", "--pipe", "ip", "-4", "addr", "show", "host0"])).run().exits(0);
    assert!(outcome.text().contains("inet 10."), "{}", outcome.describe());
}

#[test]
fn a_pool_that_the_host_uses_is_left_alone() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    wires.sh("ip route add 10.208.0.0/12 via 192.0.2.2").exits(0);
    let (tree, name) = (bed.busybox(), bed.name());
    let show = |args: &[&str]| wires.run(bed.nspawn(&tree, args).args(["-M", &name, "-n", "--pipe", "ip", "-4", "addr", "show", "host0"])).run();
    assert!(show(&[]).exits(0).text().contains("inet 172."), "another pool");
    wires.sh("ip route add 172.20.0.0/23 via 192.0.2.2 && ip route add 172.20.2.0/23 via 192.0.2.2").exits(0);
    show(&["--network-pool=172.20.0.0/22"]).fails().says("none is free in 172.20.0.0/22");
}

#[test]
fn starts_at_once_have_addresses_of_their_own() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, before) = (bed.busybox(), wires.picture());
    let zone = format!("--network-zone={}", bed.id());
    let running: Vec<(String, Running)> = (0..8)
        .map(|n| {
            let name = bed.name();
            let cable = if n % 2 == 0 { zone.clone() } else { "-n".to_string() };
            let args = ["-M", &name, "--read-only", &cable, "--pipe", "/bin/sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 60 & wait"];
            let started = wires.run(bed.nspawn(&tree, args)).start();
            (name, started)
        })
        .collect();
    let mut seen: Vec<String> = Vec::new();
    for (name, machine) in &running {
        machine.expect("ready");
        seen.push(wires.address_of(&bed, name));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "{seen:?}");
    running.into_iter().for_each(|(_, machine)| stop(machine));
    wires.assert_back_to(&before);
}

#[test]
fn native_ways_to_say_it() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, before) = (bed.busybox(), wires.picture());
    let path = tree.path().display().to_string();
    let run = |args: &[&str]| wires.run(bed.hostel(["run", "--tree", &path, "--name", &bed.name()]).args(args)).run();
    let show = ["--", "ip", "-4", "addr", "show", "host0"];
    let with = |args: &[&str]| run(&[args, &show].concat());
    let zone = format!("zone:{}", bed.id());
    for args in [&["--net", "veth"][..], &["--net", &zone], &["-p", "8085:80"], &["--network-veth"]] {
        assert!(with(args).exits(0).text().contains("inet 10."), "{args:?}");
    }
    for args in [
        &["--net", "zone:"][..],
        &["--net", "bridge:a/b"],
        &["--net", "nothing"],
        &["--net", "host", "-p", "80"],
        &["--net", "veth", "-n"],
        &["-p", "0"],
    ] {
        with(args).exits(2).fails();
    }
    // A user namespace is the default here: the interface is set up all the same.
    assert!(run(&["--net", "veth", "--", "/bin/sh", "-c", "ping -c1 -W2 192.0.2.2 && cat /proc/self/uid_map"]).exits(0).text().contains("65536"));
    wires.assert_back_to(&before);
}

/// Two machines, one port of the host: its packets would go to either.
#[test]
fn a_port_leads_to_one_machine() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, other, name, before) = (bed.busybox(), bed.busybox(), bed.name(), wires.picture());
    let first = start(&bed, &wires, &tree, &["-M", &name, "-n", "-p", "18080:80"], &server("one"));
    let line = ["-n", "-p", "18080:80", "--pipe", "true"];
    wires.run(bed.nspawn(&other, line)).run().exits(1).says(&format!("port tcp:18080: it leads to machine {name} already"));
    wires.run(bed.nspawn(&other, ["-n", "-p", "udp:18080:80", "--pipe", "true"])).run().exits(0);
    stop(first);
    wires.run(bed.nspawn(&other, line)).run().exits(0);
    wires.assert_back_to(&before);
}
