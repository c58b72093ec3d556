//! The examples of overlay-boot's manuals with what they are about: mail and ssh, a tree's own init, a disk's partition, limits.

use std::path::Path;
use std::time::{Duration, Instant};

use hostel_tests::subhost::{SOON, boot, conf, go, log, stop};
use hostel_tests::{Bed, Part, Wires, eventually};

/// A subhost of a Debian tree with a cable, a system log, ssh and a mail server: as the second example, with the real ones.
#[test]
fn mail_and_ssh() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("mta") else { return };
    let Some(wires) = Wires::start() else { return };
    let (name, file) = conf(&bed, &format!("LOWER= {}\nCABLES= =\nSTART= inetutils-syslogd networking ssh postfix\n", tree.path().display()));
    let before = wires.picture();
    wires.run(bed.hostel(["overlay-boot"]).arg(&file)).limit(SOON * 3).run().exits(0);
    wires.sh(&format!("ip link show {name}0 && ip netns exec {name} ip link show eth0")).exits(0);
    let greeting = |port: u16, end: &str| format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r line <&3; echo \"$line\"; printf '{end}' >&3");
    let greeted = |port: u16, end: &str| bed.hostel(["overlay-go", &name, "bash", "-c", &greeting(port, end)]).run().exits(0).text();
    assert!(greeted(22, "").starts_with("SSH-2.0-OpenSSH"), "{}", log(&file));
    let mail = greeted(25, "QUIT\\r\\n");
    assert!(mail.starts_with("220 ") && mail.contains("Postfix"), "{mail}");
    // A mail to a user inside is delivered there.
    go(&bed, &name, "printf 'Subject: it works\\n\\nyes\\n' | sendmail root").exits(0);
    let arrived =
        eventually(SOON, || go(&bed, &name, "grep -rl 'it works' /var/mail /var/spool/mail 2>/dev/null | head -n 1").text().contains("mail"));
    assert!(arrived, "{}", go(&bed, &name, "mailq; tail -n 20 /var/log/mail.log /var/log/syslog").describe());
    go(&bed, &name, "grep -h postfix /var/log/mail.log /var/log/syslog | head -n 1").ends().prints_with("postfix");
    wires.run(bed.hostel(["overlay-stop"]).arg(&file)).limit(SOON * 3).run().exits(0);
    wires.assert_back_to(&before);
    assert!(!tree.at("/var/log/mail.log").exists(), "the tree is as it was");
}

/// `START= init`: it returns when that is up.
#[test]
fn an_init_is_waited_for() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/etc/init.d/rcS", "#!/bin/sh\nsleep 2\n: >/run/up\n").executable("/etc/init.d/rcS");
    let at = tree.path().display();
    let (name, file) = conf(&bed, &format!("LOWER= {at}\nLIVE= {at}\nSTART= init\nHYGIENE= no\n"));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "ls /run/up").exits(0);
    stop(&bed, &file);
    // One that ends at once is told.
    tree.write("/sbin/quits", "#!/bin/sh\nexit 3\n").executable("/sbin/quits");
    let (_, file) = conf(&bed, &format!("LOWER= {at}\nLIVE= {at}\nSTART= init:/sbin/quits\nHYGIENE= no\n"));
    boot(&bed, &file).exits(1).says("ended");
    for kind in ["sysvinit", "openrc-init"] {
        let Some(tree) = bed.tree(kind) else { continue };
        let at = tree.path().display();
        let (name, file) = conf(&bed, &format!("LOWER= {at}\nLIVE= {at}\nSTART= init\nHYGIENE= no\n"));
        let told = boot(&bed, &file).exits(0);
        assert!(!told.errors().contains("does not say"), "{kind}: {}", told.describe());
        // It is one of what comes last.
        assert!(eventually(Duration::from_secs(5), || log(&file).contains("HOSTEL-TEST-UP")), "{kind}: {}", log(&file));
        // Its scripts mount again what we have mounted.
        go(&bed, &name, "touch /run/written").exits(0);
        stop(&bed, &file);
    }
}

#[test]
fn a_partition_of_a_disk_is_the_tree() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    std::fs::create_dir(tree.at("/systems")).expect("make");
    let copied =
        std::process::Command::new("cp").args(["-a", "usr", "etc", "bin", "sbin", "lib", "lib64", "systems"]).current_dir(tree.path()).status();
    assert!(copied.is_ok_and(|s| s.success()));
    tree.write("/systems/etc/which", "inner\n").write("/etc/which", "outer\n");
    std::os::unix::fs::symlink("/", tree.at("/systems/out")).expect("link");
    let (Some(system), Some(other)) = (bed.file_system("ext4", tree.path(), 32), bed.file_system("ext4", bed.fresh("empty").as_path(), 4)) else {
        return;
    };
    let disk = bed.disk("gpt", &[Part { script: "name=other", content: &other }, Part { script: "name=system", content: &system }]);
    let at = disk.display();
    let devices = bed.loop_devices();
    for (part, which) in [("2", "outer\n"), ("2:/systems", "inner\n"), ("2:/systems/out", "outer\n")] {
        let (name, file) = conf(&bed, &format!("LOWER= image:{at}#{part}\nSTART= none\nUSERNS= {}\n", if which == "inner\n" { "yes" } else { "no" }));
        boot(&bed, &file).exits(0);
        go(&bed, &name, "cat /etc/which; echo mine >/etc/which; cat /etc/which").exits(0).prints(&format!("{which}mine\n"));
        let seen = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
        assert!(!seen.contains(&format!("{name}/lower")), "nobody on the host sees it");
        stop(&bed, &file);
        assert!(eventually(SOON, || bed.loop_devices() == devices));
    }
    for (lower, why) in [
        (format!("image:{at}#3"), "there are 1, 2"),
        (format!("image:{}#1", system.display()), "no partitions"),
        (format!("image:{at}#2:/nowhere"), "No such file"),
        (format!("image:{at}#1"), "UPPER"),
    ] {
        let (name, file) = conf(&bed, &format!("LOWER= {lower}\nSTART= none\n"));
        let outcome = boot(&bed, &file).ends();
        if why == "UPPER" {
            // An empty tree has no /usr.
            assert_ne!(outcome.code, Some(0), "{}", outcome.describe());
        } else {
            outcome.exits(1).says(why);
        }
        assert!(!bed.state_of(&name).exists() && bed.loop_devices() == devices, "{lower}");
    }
    // By the program that does it for a command.
    let (name, file) = conf(&bed, &format!("LOWER= !\"$HOSTEL\" overlay-diskfile mnt/systems {at} 2\nSTART= none\n"));
    let text =
        std::fs::read_to_string(&file).expect("read").replace("\"$HOSTEL\"", &hostel_tests::binary("hostel", "HOSTEL_BIN").display().to_string());
    std::fs::write(&file, text).expect("write");
    std::fs::create_dir(file.with_file_name("mnt")).expect("make");
    boot(&bed, &file).exits(0);
    go(&bed, &name, "cat /etc/which").exits(0).prints("inner\n");
    stop(&bed, &file);
    assert!(eventually(SOON, || bed.loop_devices() == devices), "{}", log(&file));
    // By hand, in a mount namespace of its own.
    let script = "mkdir -p m && \"$1\" overlay-diskfile m/systems \"$2\" 2 && cat m/systems/etc/which && ACTION=overlay-stop \"$1\" overlay-diskfile m/systems \"$2\" 2 && \
                  ls m && ACTION=overlay-stop \"$1\" overlay-diskfile m \"$2\" && \"$1\" overlay-diskfile /none \"$2\" 2";
    let done = hostel_tests::Invocation::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(hostel_tests::binary("hostel", "HOSTEL_BIN"))
        .arg(&disk)
        .dir(bed.fresh("by-hand"))
        .run()
        .exits(1);
    assert!(done.text().ends_with("m/systems\ninner\n") && done.errors().contains("no such directory"), "{}", done.describe());
    // A file system that has no device, as it says.
    if let Some(image) = bed.file_system("btrfs", &tree.at("/etc"), 120) {
        let script = "mkdir b && \"$1\" overlay-diskfile b \"$2\" && cat b/which && ACTION=overlay-stop \"$1\" overlay-diskfile b \"$2\" && ls b";
        let by_hand = hostel_tests::Invocation::new("unshare").args(["-m", "sh", "-c", script, "sh"]);
        let by_hand = by_hand.arg(hostel_tests::binary("hostel", "HOSTEL_BIN")).arg(&image).dir(bed.fresh("btrfs")).run().exits(0);
        assert!(by_hand.text().ends_with("/b\nouter\n"), "{}", by_hand.describe());
    }
    assert!(eventually(SOON, || bed.loop_devices() == devices));
}

/// CPUS, an address and the way out, a signal that PID 1 does not hear, and how long its supervisor waits then.
#[test]
fn limits_signals_and_a_way_out() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let tree = bed.busybox();
    let text = "START= none\nCABLES= nat\nCPUS= 0.5\nSTOP_SIGNAL= USR1\nSTOP_TIMEOUT= 1500ms\n";
    let (name, file) = conf(&bed, &format!("LOWER= {}\n{text}", tree.path().display()));
    wires.run(bed.hostel(["overlay-boot"]).arg(&file)).limit(SOON * 3).run().exits(0);
    go(&bed, &name, "ping -c1 -W5 192.0.2.2 >/dev/null && echo mine >/etc/resolv.conf").exits(0);
    let state: hostel_tests::Value =
        serde_json::from_str(&std::fs::read_to_string(bed.state_of(&name).join("state.json")).expect("read")).expect("parse");
    let groups = state["cgroups_v1"].as_array().into_iter().flatten().chain([&state["cgroup"]]).filter_map(|path| path.as_str()).map(Path::new);
    let quotas = groups.flat_map(|at| [at.join("cpu.cfs_quota_us"), at.parent().unwrap_or(at).join("cpu.max")]);
    let quotas: Vec<String> = quotas.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    assert!(quotas.iter().any(|quota| quota.starts_with("50000")), "{quotas:?} of {state}");
    let supervisor = std::fs::read_to_string(bed.state_of(&name).join("lock")).expect("read");
    let pid = rustix::process::Pid::from_raw(supervisor.trim().parse().expect("a number")).expect("a process");
    let begun = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("tell it");
    assert!(eventually(SOON, || !bed.state_of(&name).exists()), "it still runs");
    assert!((Duration::from_millis(1300)..Duration::from_secs(20)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // So it is with whoever else stops it.
    wires.run(bed.hostel(["overlay-boot"]).arg(&file)).limit(SOON * 3).run().exits(0);
    let begun = Instant::now();
    wires.run(bed.hostel(["stop", &name])).limit(SOON).run().exits(4);
    assert!((Duration::from_millis(1300)..Duration::from_secs(20)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // What was written inside stays, and a signal that is heard ends it at once.
    let text = std::fs::read_to_string(&file).expect("read").replace("USR1", "PWR");
    std::fs::write(&file, text).expect("write");
    wires.run(bed.hostel(["overlay-boot"]).arg(&file)).limit(SOON * 3).run().exits(0);
    go(&bed, &name, "cat /etc/resolv.conf").exits(0).prints("mine\n");
    let begun = Instant::now();
    wires.run(bed.hostel(["overlay-stop"]).arg(&file)).limit(SOON).run().exits(0);
    assert!(begun.elapsed() < Duration::from_millis(1300) && !Path::new("/run/netns").join(&name).exists(), "{:?}", begun.elapsed());
}
