//! The links of systemd-nspawn: names and addresses bit by bit as the original's, moved interfaces come back.

use std::time::Duration;

use hostel_tests::{Bed, Invocation, Signal, Tree, Wires, eventually};

/// What both sides have, without numbers: name, state, hardware address, master, alternative names.
const LOOK: &str = "ip -o link | sed -E 's/^[0-9]+: //; s/@\\S+//; s/ <[^>]*>.*(master \\S+).*ether (\\S+).*/ \\1 \\2/; s/ <[^>]*>.*ether (\\S+).*/ \\1/; s/ <[^>]*>.*loopback.*//' | sort";

/// Runs a machine with these options, and gives what the host and the machine see.
fn views(wires: &Wires, invocation: Invocation) -> (String, String) {
    let inside = format!("{LOOK}; trap 'exit 0' TERM; echo ready; sleep 60 & wait");
    let running = wires.run(invocation.args(["--kill-signal=SIGTERM", "--pipe", "/bin/sh", "-c", &inside])).start();
    running.expect("ready");
    let host = wires.sh(&format!("{LOOK}; ip link | grep altname")).text();
    running.signal(Signal::TERM);
    let outcome = running.finish(Duration::from_secs(10));
    (host, outcome.text())
}

fn original(tree: &Tree, args: &[&str]) -> Invocation {
    Invocation::new("systemd-nspawn").args(["-q", "--register=no", "--keep-unit", "-D"]).arg(tree.path()).args(args)
}

#[test]
fn the_same_names_and_addresses_as_the_original() {
    let Some(bed) = Bed::start() else { return };
    if !std::path::Path::new("/usr/bin/systemd-nspawn").exists() {
        return println!("skipped: no systemd-nspawn here");
    }
    let tree = bed.busybox();
    let long = "a-name-too-long-for-an-interface";
    for args in [
        &["-M", "abc", "-n"][..],
        &["-M", long, "-n"],
        &["-M", "abc", "--network-bridge=br0"],
        &["-M", long, "--network-bridge=br0"],
        &["-M", "abc", "--network-zone=lan"],
        &["-M", "abc", "--network-veth-extra=x0:y0", "--network-veth-extra=z0", "-n"],
        &["-M", "abc", "--network-macvlan=up0", "--network-macvlan=second"],
        &["-M", "abc", "--network-macvlan=rather-long-nam"],
        &["-M", "abc", "--network-interface=second"],
    ] {
        let look = |invocation: Invocation| {
            let wires = Wires::start().expect("networks");
            let prepared = "ip link add br0 address 02:00:00:00:00:01 type bridge && ip link set br0 up && ip link set up0 address 02:00:00:00:00:02 \
                            && ip link add second address 02:00:00:00:00:03 type veth peer name rest address 02:00:00:00:00:04 \
                            && ip link add rather-long-nam address 02:00:00:00:00:05 type bridge";
            wires.sh(prepared).exits(0);
            // The original looks into /sys, which shows the network of who mounted it.
            wires.sh("mount --rbind /sys/fs/cgroup /mnt && mount -t sysfs -o ro sysfs /sys && mount --rbind /mnt /sys/fs/cgroup").exits(0);
            views(&wires, invocation)
        };
        let mut ours = look(bed.nspawn(&tree, args).arg("--network-config=none"));
        let mut theirs = look(original(&tree, args));
        // A zone's bridge has an address of its own here; there it changes with the ports.
        for (host, _) in [&mut ours, &mut theirs] {
            *host = host.lines().map(|l| if l.starts_with("vz-") { "vz-lan" } else { l }.trim()).collect::<Vec<_>>().join("\n");
        }
        assert_eq!(ours, theirs, "{args:?}");
    }
}

#[test]
fn interfaces_are_moved_in_and_come_back() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    wires.sh("ip link add eth7 type veth peer name eth8 && ip link property add dev eth7 altname a-rather-long-name").exits(0);
    let (tree, before) = (bed.busybox(), wires.picture());
    let name = bed.name();
    for (option, inside) in [("eth7", "eth7"), ("eth7:lan0", "lan0"), ("a-rather-long-name:lan0", "lan0"), ("eth7:a0 eth8:b0", "b0")] {
        let args = ["-M", &name, &format!("--network-interface={option}"), "--pipe", "/bin/sh", "-c", "ip -o link; ip link set lan0 up"];
        let outcome = wires.run(bed.nspawn(&tree, args)).run();
        assert!(outcome.text().contains(&format!(": {inside}@")), "{option}: {}", outcome.describe());
        assert_eq!(wires.picture(), before, "{option}: back at the end, not later");
    }
    for (option, why) in
        [("eth9", "find interface eth9: there is none of this name"), ("eth7:lo", "move interface eth7 into the machine: File exists")]
    {
        let args = ["-M", &name, &format!("--network-interface={option}"), "true"];
        wires.run(bed.nspawn(&tree, args)).run().exits(1).fails().says(why);
        wires.assert_back_to(&before);
    }
    // One of several cannot be had: what was moved is back, what was made is gone.
    let args = ["-M", &name, "-n", "--network-veth-extra=x0", "--network-interface=eth7:lan0", "--network-interface=eth8:lo", "true"];
    wires.run(bed.nspawn(&tree, args)).run().exits(1).fails();
    wires.assert_back_to(&before);
}

#[test]
fn what_goes_wrong_is_said() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, before) = (bed.busybox(), wires.picture());
    for (args, why) in [
        (&["--network-bridge=nope"][..], "find interface nope"),
        (&["--network-bridge=up0"], "use interface up0 as a bridge: it is none"),
        (&["--network-bridge=br0", "--network-zone=lan"], "combine --network-bridge= and --network-zone="),
        (&["--network-macvlan=nope"], "find interface nope"),
        (&["--network-veth-extra=up0:x"], "add veth up0"),
        (&["--network-namespace-path=/nope"], "open network namespace /nope"),
        (&["--network-namespace-path=/proc/self/ns/uts"], "join network namespace"),
        (&["--network-namespace-path=/proc/self/ns/net", "-n"], "combine --network-namespace-path="),
        (&["--port=80"], "the machine has no network of its own"),
        (&["-n", "-p", "80", "-p", "80:81"], "leads somewhere already"),
    ] {
        wires.run(bed.nspawn(&tree, ["-M", &bed.name()]).args(args).arg("true")).run().exits(1).fails().says(why);
        wires.assert_back_to(&before);
    }
    // This kernel may have no ipvlan: then it says so, and nothing stays.
    let outcome = wires.run(bed.nspawn(&tree, ["-M", &bed.name(), "--network-ipvlan=up0", "--pipe", "ip", "-o", "link"])).run();
    assert!(outcome.text().contains("iv-up0") || outcome.errors().contains("add ipvlan iv-up0 on up0: "), "{}", outcome.describe());
    wires.assert_back_to(&before);
}

#[test]
fn a_network_namespace_is_joined() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let Some(other) = Wires::start() else { return };
    other.sh("ip link add there type bridge").exits(0);
    let (tree, name) = (bed.busybox(), bed.name());
    let path = format!("--network-namespace-path=/proc/{}/ns/net", other.host_pid());
    let args = ["-M", &name, &path, "--pipe", "/bin/sh", "-c", "ip -o link; ls /sys/class/net; echo ready; sleep 60"];
    let running = wires.run(bed.nspawn(&tree, args)).start();
    running.expect("ready");
    assert_eq!(running.stdout().matches("there").count(), 2, "{}", running.stdout());
    let look = || wires.run(bed.hostel(["exec", &name, "--", "ip", "-o", "link"])).run();
    // PID 1 may be ahead of what is written about it.
    assert!(eventually(Duration::from_secs(5), || look().text().contains("there")), "{}", look().describe());
    running.signal(Signal::TERM);
    running.finish(Duration::from_secs(5));
    other.sh("ip link show there").exits(0);
}

#[test]
fn a_given_hardware_address_is_used() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let show = ["-M", &bed.name(), "-n", "--pipe", "ip", "-o", "link", "show", "host0"].map(str::to_string);
    let run = |mac: &str| wires.run(bed.nspawn(&bed.busybox(), &show).env("SYSTEMD_NSPAWN_NETWORK_MAC", mac)).run();
    run("02:11:22:33:44:55").exits(0).prints_with("02:11:22:33:44:55");
    for bad in ["02:11:22:33:44", "01:00:00:00:00:01", "0x:11:22:33:44:55"] {
        run(bad).exits(1).fails();
    }
}

#[test]
fn a_reboot_keeps_address_and_interface() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    wires.sh("ip link add eth7 type veth peer name eth8").exits(0);
    let before = wires.picture();
    tree.init_is_probe("json then reboot");
    let mark = "/mark";
    // The second life ends: the probe finds other words.
    let args =
        ["boot", &tree.path().display().to_string(), "--name", &name, "--privileged-users=host", "--network-veth", "--network-interface=eth7:lan0"];
    tree.write(mark, "");
    let running = wires.run(bed.hostel(args)).start();
    let lives = || running.stdout().matches("\"lan0\"").count();
    assert!(eventually(Duration::from_secs(10), || lives() >= 2), "{}\n{}", running.stdout(), running.stderr());
    running.signal(Signal::TERM);
    running.finish(Duration::from_secs(10));
    wires.assert_back_to(&before);
}
