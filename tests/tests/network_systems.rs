//! Networks of whole systems: one that asks by busybox's client as it boots, addresses that stay, settings files that say it.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Signal, Tree, Wires, eventually};

/// What Alpine's does, as far as it goes here.
const CLIENT: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev $interface\nip route add default via $router\n\
                      printf 'search %s\\nnameserver %s\\n' \"$domain\" \"$dns\" > /etc/resolv.conf\n";

/// Shows its address.
const SHOW: &str = "ip -o -4 addr show host0 | sed -E 's/.*inet ([0-9.]+).*/\\1/'";

fn beside(tree: &Tree, text: &str) {
    std::fs::write(tree.path().with_file_name(format!("{}.nspawn", tree.name())), text).expect("write");
}

#[test]
fn a_booted_busybox_asks_by_dhcp() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name, before) = (bed.copy("bbinit"), bed.name(), wires.picture());
    tree.write("/etc/udhcpc.script", CLIENT).executable("/etc/udhcpc.script");
    let inittab = std::fs::read_to_string(tree.at("/etc/inittab")).expect("read");
    let start =
        "::sysinit:/bin/sh -c 'ip link set host0 up; udhcpc -b -i host0 -s /etc/udhcpc.script; echo served > /tmp/index.html; httpd -p 80 -h /tmp'";
    tree.write("/etc/inittab", format!("{start}\n{inittab}"));
    let path = tree.path().display().to_string();
    for net in ["veth".to_string(), format!("zone:{}", bed.id())] {
        wires.run(bed.hostel(["boot", &path, "-d", "--name", &name, "--net", &net, "-p", "2281:80"])).run().exits(0);
        let address = wires.address_of(&bed, &name);
        let inside = |script: &str| wires.run(bed.hostel(["exec", &name, "--", "/bin/sh", "-c", script])).run();
        assert!(eventually(Duration::from_secs(10), || inside("cat /etc/resolv.conf").text().contains("search hostel")));
        let text = inside("ip route; ping -c1 -W2 192.0.2.2 && ping -c1 -W2 gateway && nslookup $(hostname)").exits(0).text();
        assert!(text.contains("default via ") && text.contains(&address), "{net}: {text}");
        for host in ["127.0.0.1", "192.0.2.1"] {
            let got = || wires.sh(&format!("curl -gsfm 3 http://{host}:2281/"));
            assert!(eventually(Duration::from_secs(5), || got().code == Some(0)), "{net}: {host}: {}", got().describe());
            got().prints("served");
        }
        wires.outside("curl -gsfm 3 http://192.0.2.1:2281/").exits(0).prints("served");
        wires.run(bed.hostel(["stop", &name])).limit(Duration::from_secs(60)).run().exits(0);
        wires.assert_back_to(&before);
    }
}

#[test]
fn an_address_that_was_had_is_had_again() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    let run = |args: &[&str]| {
        let args = [&["-M", &name, "-n", "--pipe"], args, &["/bin/sh", "-c", SHOW]].concat();
        wires.run(bed.nspawn(&tree, args)).run().exits(0).text().trim().to_string()
    };
    let first = run(&[]);
    let lease = bed.runtime_dir().join("leases").join(&name);
    assert_eq!(std::fs::read_link(&lease).expect("a lease"), Path::new(&first));
    // One that its name alone does not lead to: another machine had the first place when it started for the first time.
    let number = u32::from(first.parse::<std::net::Ipv4Addr>().expect("an address"));
    let other = std::net::Ipv4Addr::from(number ^ 0x40).to_string();
    std::fs::remove_file(&lease).and_then(|()| std::os::unix::fs::symlink(&other, &lease)).expect("another lease");
    assert_eq!((run(&[]), run(&[])), (other.clone(), other.clone()));
    // Who is thrown away at the end leaves no lease, and takes none.
    assert_eq!(run(&["--ephemeral"]), first);
    assert_eq!(std::fs::read_link(&lease).expect("a lease"), Path::new(&other));
    // Not when the host uses that network by now.
    wires.sh(&format!("ip route add {other}/32 via 192.0.2.2")).exits(0);
    assert_eq!(run(&[]), first);
}

#[test]
fn settings_files_say_it_too() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, before) = (bed.busybox(), wires.picture());
    beside(&tree, &format!("[Network]\nZone={}\nPort=tcp:8090:80\n[X-Hostel-Network]\nPool=172.20.0.0/16\n", bed.id()));
    let script = format!("{SHOW}; trap 'exit 0' TERM; echo ready; sleep 60 & wait");
    let args = ["--settings=trusted", "--kill-signal=SIGTERM", "--pipe", "/bin/sh", "-c", &script];
    let running = wires.run(bed.nspawn(&tree, args)).start();
    running.expect("ready");
    assert!(running.stdout().starts_with("172.20."), "{}", running.stdout());
    let list = || wires.run(bed.hostel(["net", "ls"])).run().exits(0).text();
    assert!(eventually(Duration::from_secs(5), || list().contains("tcp:8090->80") && list().contains(bed.id())), "{}", list());
    running.signal(Signal::TERM);
    running.finish(Duration::from_secs(10));
    // A network typed takes the place of the file's; a port in a file is enough for a cable.
    let path = tree.path().display().to_string();
    let native = |net: &[&str]| {
        let args = [&["run", "--tree", &path, "--settings=trusted"], net, &["--", "ip", "-o", "-4", "addr"]].concat();
        wires.run(bed.hostel(args)).run().exits(0).text()
    };
    assert!(native(&[]).contains("inet 172.20."), "{}", native(&[]));
    assert!(!native(&["--net", "private"]).contains("host0"));
    beside(&tree, "[Network]\nPort=tcp:8090:80\n");
    assert!(native(&[]).contains("host0"), "{}", native(&[]));
    beside(&tree, "[Network]\nVirtualEthernet=yes\n[X-Hostel-Network]\nConfig=none\n");
    assert!(!native(&[]).contains("host0"), "no address: {}", native(&[]));
    // Beside a tree and not said to be trusted: nothing of it.
    let plain = wires.run(bed.nspawn(&tree, ["--settings=yes", "--pipe", "ip", "-o", "link"])).run().exits(0);
    assert!(!plain.text().contains("host0"), "{}", plain.describe());
    wires.assert_back_to(&before);
}
