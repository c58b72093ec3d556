//! Subhosts of overlay-boot's conf files: the examples of its manuals, what each variable does, and what is left afterwards: nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use hostel_tests::subhost::{SOON, boot, conf, go, log, stop};
use hostel_tests::{Bed, Tree, eventually};

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("write script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
}

/// A busybox tree with a service whose start and stop are written down.
fn tree_with_service(bed: &Bed) -> Tree {
    let tree = bed.busybox();
    let service = "#!/bin/sh\necho $0 $1 >>/var/calls\n[ $1 = start ] && { sleep 4242 & echo $! >/run/pid.${0##*/}; }\n[ $1 = stop ] && kill $(cat /run/pid.${0##*/})\nexit 0\n";
    for name in ["one", "two"] {
        tree.write(&format!("/etc/init.d/{name}"), service).executable(&format!("/etc/init.d/{name}"));
    }
    tree.write("/etc/init.d/bad", "#!/bin/sh\necho no such thing >&2\nexit 3\n").executable("/etc/init.d/bad");
    tree.write("/var/calls", "");
    tree
}

/// What `overlay-boot`'s manual calls the smallest: a copy of this host, entered by overlay-go.
#[test]
fn copy_of_this_host() {
    let Some(bed) = Bed::start() else { return };
    let (name, file) = conf(&bed, "START= none\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    boot(&bed, &file).exits(0);
    bed.hostel(["overlay-boot"]).arg(&file).run().exits(1).says("already running");
    bed.hostel(["overlay-go"]).run().exits(0).prints_with(&name);
    let inside = go(&bed, &name, "hostname; cat /proc/1/comm; readlink /dev/console; touch /etc/only-here /opt/too; ls -d /run/dummy_service");
    inside.exits(0).prints(&format!("{name}\n(hostel-reaper)\npts/0\n/run/dummy_service\n"));
    assert!(!Path::new("/etc/only-here").exists() && file.with_file_name("root").join("etc/only-here").exists());
    // Nothing of it is seen on the host but the name of its network.
    let seen = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    let new: Vec<&str> = seen.lines().filter(|l| l.contains(&name)).collect();
    assert!(new.len() == 1 && new[0].contains(&format!("/run/netns/{name} ")), "{new:?}");
    // No capability that services have no use for, and no device of the host's.
    go(&bed, &name, "mknod /tmp/sda b 8 0 || mount -t tmpfs x /mnt").fails();
    stop(&bed, &file);
    bed.hostel(["overlay-stop"]).arg(&file).run().exits(0).says("does not run");
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").expect("read").contains(&name), mounts.contains(&name));
    assert!(!Path::new("/run/netns").join(&name).exists() && !file.with_file_name("root").join(".reaper").exists());
    // What was written stays.
    boot(&bed, &file).exits(0);
    go(&bed, &name, "ls /etc/only-here").exits(0);
    stop(&bed, &file);
}

#[test]
fn services_start_in_order_stop_in_reverse_and_are_told_of() {
    let Some(bed) = Bed::start() else { return };
    let tree = tree_with_service(&bed);
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= one /etc/init.d/two\n", tree.path().display()));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "cat /var/calls; ls /run/dummy_service").fails().prints("/etc/init.d/one start\n/etc/init.d/two start\n");
    stop(&bed, &file);
    let calls = std::fs::read_to_string(file.with_file_name("root").join("var/calls")).expect("read");
    let words: Vec<&str> = calls.lines().map(|l| l.trim_start_matches("/etc/init.d/")).collect();
    assert_eq!(words, ["one start", "two start", "two stop", "one stop"]);
    assert_eq!(std::fs::read_to_string(tree.at("/var/calls")).expect("read"), "", "the tree is as it was");
    // One that does not start is told, and is not the end of the rest.
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= bad none-such one\n", tree.path().display()));
    boot(&bed, &file).exits(5).says("bad (status 3)").says("none-such (");
    go(&bed, &name, "cat /var/calls").exits(0).prints("/etc/init.d/one start\n");
    assert!(log(&file).contains("no such thing") && log(&file).contains("start bad: status 3"), "{}", log(&file));
    assert_eq!(std::fs::metadata(file.with_file_name("log")).expect("look").permissions().mode() & 0o777, 0o600);
    stop(&bed, &file);
}

#[test]
fn it_ends_when_nobody_is_left() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // A line on the pipe that stands in for a service.
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= none\n", tree.path().display()));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "echo >/run/dummy_service").ends();
    assert!(eventually(SOON, || !bed.state_of(&name).exists()), "it still runs");
    // An orphan keeps it up, and its end is the machine's. A visitor is nobody's child.
    tree.write("/etc/init.d/orphan", "#!/bin/sh\n[ $1 = start ] && { (exec sleep 4343) & echo $! >/run/pid; }\nexit 0\n")
        .executable("/etc/init.d/orphan");
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= orphan\n", tree.path().display()));
    boot(&bed, &file).exits(0);
    std::thread::sleep(Duration::from_millis(300));
    assert!(bed.state_of(&name).exists());
    go(&bed, &name, "kill $(cat /run/pid); sleep 60").ends();
    assert!(eventually(SOON, || !bed.state_of(&name).exists()), "it still runs");
    // A script of INIT's instead of services.
    let (name, file) =
        conf(&bed, &format!("LOWER= {}\nINIT= echo 'echo from init >/var/said; sleep 4444 & exec /.reaper x'\n", tree.path().display()));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "cat /var/said").exits(0).prints("from init\n");
    stop(&bed, &file);
}

#[test]
fn upper_is_a_program() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= none\nUPPER= upper.sh\n", tree.path().display()));
    let base = file.parent().expect("a directory").to_owned();
    let work = "case $ACTION in setup) mount -t tmpfs none mnt && mkdir mnt/u mnt/w && echo; echo mnt/u;; teardown) [ -z $UPPER_DIR ] || [ ! -d mnt/u ] || umount mnt || { echo busy >>calls; exit 1; };; esac; echo $ACTION $NAME ${UPPER_DIR#$BASE/} >>calls; echo said >&2";
    script(&base.join("upper.sh"), work);
    std::fs::create_dir(base.join("mnt")).expect("make mnt");
    let calls = || std::fs::read_to_string(base.join("calls")).unwrap_or_default();
    boot(&bed, &file).exits(0);
    go(&bed, &name, "echo x >/etc/new").exits(0);
    assert!(!base.join("mnt/u").exists(), "what it mounts is not seen on the host");
    assert!(log(&file).contains("said"));
    stop(&bed, &file);
    assert_eq!(calls(), format!("setup {name}\nteardown {name} mnt/u\n"));
    // Its supervisor is killed: the teardown is done all the same, once, by who starts or cleans next.
    boot(&bed, &file).exits(0);
    let state = std::fs::read_to_string(bed.state_of(&name).join("lock")).expect("read");
    let pid = rustix::process::Pid::from_raw(state.trim().parse().expect("a number")).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    let torn_down = || calls().lines().filter(|l| l.starts_with("teardown")).count();
    assert!(eventually(SOON, || bed.hostel(["clean"]).run().code == Some(0) && torn_down() == 2), "{}", calls());
    bed.clean();
    assert_eq!(torn_down(), 2, "{}", calls());
    // What cannot be used is refused, and taken back.
    for (work, why) in [
        ("echo broken >&2; exit 3", "status 3: broken"),
        ("exit 0", "printed no directory"),
        ("echo nowhere", "No such file or directory"),
        ("echo calls", "it is no directory"),
        ("kill -9 $$", "signal"),
    ] {
        std::fs::remove_file(base.join("calls")).expect("remove");
        script(&base.join("upper.sh"), &format!("echo $ACTION >>calls; [ $ACTION = setup ] || exit 0; {work}"));
        boot(&bed, &file).exits(1).says(why);
        assert_eq!(calls(), "setup\nteardown\n", "{work}");
    }
    std::fs::set_permissions(base.join("upper.sh"), std::fs::Permissions::from_mode(0o644)).expect("make it none");
    boot(&bed, &file).exits(1).says("neither a directory nor a program");
}

#[test]
fn commands_are_run_once_and_told_of_the_end() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let text = format!("LOWER= !echo $ACTION >>calls; echo {}\nSTART= !echo list >>calls; echo none\n", tree.path().display());
    let (name, file) = conf(&bed, &text);
    boot(&bed, &file).exits(0);
    go(&bed, &name, "true").exits(0);
    stop(&bed, &file);
    assert_eq!(std::fs::read_to_string(file.with_file_name("calls")).expect("read"), "overlay-boot\nlist\noverlay-stop\n");
    let (_, file) = conf(&bed, "LOWER= !true\nSTART= none\n");
    boot(&bed, &file).exits(1).says("it printed nothing");
}

#[test]
fn roots_without_an_overlay() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let at = tree.path().display();
    let (name, file) = conf(&bed, &format!("LOWER= {at}\nLIVE= {at}\nSTART= none\n"));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "echo x >/etc/premounted; mount -o remount,ro / ; true").exits(0);
    stop(&bed, &file);
    assert!(tree.at("/etc/premounted").exists());
    tree.write("/etc/still", "writable");
    let (name, file) = conf(&bed, &format!("LOWER= {at}\nUPPER= {at}\nSTART= none\n"));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "echo x >/etc/bound").exits(0);
    stop(&bed, &file);
    assert!(tree.at("/etc/bound").exists() && tree.at("/etc/network/interfaces").exists());
    // Thrown away; several layers, the topmost first.
    let top = bed.fresh("top");
    std::fs::create_dir(top.join("etc")).expect("make");
    std::fs::write(top.join("etc/bound"), "top").expect("write");
    let (name, file) = conf(&bed, &format!("LOWER= {}:{at}\nUPPER= tmpfs:1M\nSTART= none\n", top.display()));
    boot(&bed, &file).exits(0);
    go(&bed, &name, "cat /etc/bound /etc/still; dd if=/dev/zero of=/big bs=1M count=2 2>/dev/null").exits(1).prints("topwritable");
    stop(&bed, &file);
    boot(&bed, &file).exits(0);
    go(&bed, &name, "ls /big").fails();
    stop(&bed, &file);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_made() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let at = tree.path().display();
    let other = bed.own_file_system(8);
    for (text, why) in [
        (format!("LOWER= {at}\nSTART= none\nWORK= {}\n", other.display()), "different file systems"),
        (format!("LOWER= {at}\nSTART= none\nUPPER= work/x\nWORK= work\n"), "UPPER"),
        (format!("LOWER= {at}/none\n"), "No such file or directory"),
        (format!("LOWER= {at}\nLIVE= {}\n", other.display()), "something is mounted there"),
        (format!("LOWER= {at}\nCABLES= none-such=\nSTART= none\n"), "none-such"),
        ("STRAT= x\nRAM_SIZE= much\n".to_owned(), "RAM_SIZE"),
    ] {
        let (name, file) = conf(&bed, &text);
        boot(&bed, &file).exits(1).says(why);
        assert!(!bed.state_of(&name).exists() && !Path::new("/run/netns").join(&name).exists(), "{text}");
    }
    // A log that is a link, or has another owner.
    let (_, file) = conf(&bed, &format!("LOWER= {at}\nSTART= none\n"));
    std::os::unix::fs::symlink("/etc/hostname", file.with_file_name("log")).expect("link");
    boot(&bed, &file).exits(1).says("symbolic link");
    // Two subhosts, one upper layer.
    let (_, first) = conf(&bed, &format!("LOWER= {at}\nSTART= none\n"));
    let (_, second) = conf(&bed, &format!("LOWER= {at}\nSTART= none\nUPPER= {0}/root\nWORK= {0}/work\n", first.parent().expect("base").display()));
    boot(&bed, &first).exits(0);
    boot(&bed, &second).fails();
    stop(&bed, &first);
    // Warnings have the line; what is there is taken.
    let (_, file) = conf(&bed, &format!("LOWER= {at}\nSTRAT= none\nSTART= none\nSTART= ssh\n"));
    boot(&bed, &file).exits(0).says(":4: ignored: there is no variable STRAT").says(":6: ignored: START is set in line 5");
    stop(&bed, &file);
}

/// Bridged with a fixed address, a second cable with a VLAN; a size of /run; a shared directory, as in the manual's third example.
#[test]
fn cables_shares_and_sizes() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = hostel_tests::Wires::start() else { return };
    let tree = bed.busybox();
    let share = bed.fresh("share");
    std::fs::write(share.join("file"), "shared").expect("write");
    let text = format!(
        "LOWER= {}\nSTART= none\nCABLES= br0=02:00:00:00:00:11 = =.302\nRAM_SIZE= 20M\nSHARE= {}:/data:ro\n",
        tree.path().display(),
        share.display()
    );
    let (name, file) = conf(&bed, &text);
    wires.sh("ip link add br0 type bridge && ip link set br0 up").exits(0);
    let vlans = wires.sh("ip link add link br0 name br0.7 type vlan id 7 && ip link delete br0.7").code == Some(0);
    if !vlans {
        let before = wires.picture();
        wires.run(bed.hostel(["overlay-boot"]).arg(&file)).limit(SOON * 3).run().exits(1).says("this kernel has no VLANs");
        wires.assert_back_to(&before);
        std::fs::write(&file, std::fs::read_to_string(&file).expect("read").replace(" =.302", "")).expect("write");
    }
    let before = wires.picture();
    let start = || wires.run(bed.hostel(["overlay-boot"]).arg(&file)).limit(SOON * 3).run();
    start().exits(0);
    let inside = go(
        &bed,
        &name,
        "cat /sys/class/net/eth0/address /sys/class/net/eth1/address; cat /data/file; df -m /run | tail -n1 | awk '{print $2}'; echo x >/data/new",
    );
    let seen = inside.fails().text();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!((lines[0], lines[2]), ("02:00:00:00:00:11", "shared20"), "{seen}");
    let vlan = if vlans { format!("ip -d link show {name}1.302 | grep 'id 302'") } else { "true".to_owned() };
    wires.sh(&format!("ip -d link show {name}0 | grep 'master br0' && ip link show {name}1 && {vlan}")).exits(0);
    wires.sh(&format!("ip netns exec {name} ip link show eth0")).exits(0);
    wires.run(bed.hostel(["overlay-stop"]).arg(&file)).limit(SOON * 3).run().exits(0);
    wires.assert_back_to(&before);
    // The address that was not given is the same with each start.
    start().exits(0);
    go(&bed, &name, "cat /sys/class/net/eth1/address").exits(0).prints(&format!("{}\n", lines[1]));
    wires.run(bed.hostel(["overlay-stop"]).arg(&file)).limit(SOON * 3).run().exits(0);
    // A bridge that is none: nothing is left of what came before it.
    let (_, bad) = conf(&bed, &format!("LOWER= {}\nSTART= none\nCABLES= br0= lo=\n", tree.path().display()));
    wires.run(bed.hostel(["overlay-boot"]).arg(&bad)).run().exits(1).says("lo as a bridge");
    wires.assert_back_to(&before);
    assert!(!Path::new("/run/netns").join(&name).exists());
}

/// The last example of the manuals' and ours: a tree that is there already, its own init, stopped as that wants it.
#[test]
fn premounted_with_its_own_init() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("bbinit") else { return };
    let at = tree.path().display();
    let (name, file) = conf(&bed, &format!("LOWER= {at}\nLIVE= {at}\nSTART= init\nHYGIENE= no\nHOSTNAME= other\nMEMORY= 256M\nPIDS= 100\n"));
    boot(&bed, &file).exits(0);
    assert!(eventually(SOON, || go(&bed, &name, "hostname").text() == "other\n"));
    stop(&bed, &file);
    // Commands say so: what they print is known when they have run.
    let (name, file) = conf(&bed, &format!("LOWER= !echo {at}\nLIVE= {at}\nSTART= !echo init\nHYGIENE= no\n"));
    boot(&bed, &file).exits(0);
    assert!(eventually(SOON, || go(&bed, &name, "hostname").text() == format!("{name}\n")));
    stop(&bed, &file);
}

#[test]
fn hygiene_covers_the_host_and_is_in_no_layer_that_is_written_to() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (path, text) in [
        ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("/etc/cron.d/job", "x"),
        ("/etc/ssh/ssh_host_rsa_key", "k"),
        ("/etc/fstab", "/dev/sda"),
        ("/etc/mdadm/mdadm.conf", "x"),
        ("/var/spool/cron/crontabs/root", "x"),
        ("/var/spool/postfix/maildrop/1", "x"),
    ] {
        tree.write(path, text);
    }
    let crontabs = tree.at("/var/spool/cron/crontabs");
    std::os::unix::fs::chown(&crontabs, Some(0), Some(102)).expect("give");
    std::fs::set_permissions(&crontabs, std::fs::Permissions::from_mode(0o1730)).expect("set the mode");
    for more in ["", "USERNS= yes\n", "UPPER= tmpfs\n", "USERNS= yes\nUPPER= tmpfs\n"] {
        let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= none\nHYGIENE= yes\n{more}", tree.path().display()));
        boot(&bed, &file).exits(0);
        go(&bed, &name, "wc -c </etc/machine-id; ls -A /etc/cron.d /etc/ssh; grep -c sda /etc/fstab; grep -c manual /etc/network/interfaces")
            .prints("0\n/etc/cron.d:\n\n/etc/ssh:\n0\n3\n");
        go(&bed, &name, "ls -A /etc/mdadm /var/spool/cron/crontabs /var/spool/postfix; stat -c '%a %g' /var/spool/cron/crontabs")
            .exits(0)
            .prints("/etc/mdadm:\n\n/var/spool/cron/crontabs:\n\n/var/spool/postfix:\n1730 102\n");
        stop(&bed, &file);
        let left: Vec<_> = std::fs::read_dir(file.with_file_name("root")).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        // With a tmpfs there is no such directory.
        assert!(file.with_file_name("root").exists() != more.contains("tmpfs") && !left.iter().any(|name| name == "etc"), "{more}: {left:?}");
    }
    // A log that is no file. What is not there stays so.
    std::fs::remove_dir_all(tree.at("/etc/ssh")).expect("remove");
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= none\nHYGIENE= yes\n", tree.path().display()));
    let text = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, text.replace(&format!("{}", file.with_file_name("log").display()), "/dev/null")).expect("write");
    boot(&bed, &file).exits(0);
    go(&bed, &name, "ls -d /etc/ssh /etc/wireguard; wc -l </etc/network/interfaces").prints("6\n");
    stop(&bed, &file);
}

#[test]
fn helpers() {
    let Some(bed) = Bed::start() else { return };
    let upper = bed.fresh("upper");
    bed.hostel(["overlay-premount"]).arg(&upper).run().exits(0);
    let written = std::fs::read_to_string(upper.join("etc/network/interfaces")).expect("read");
    assert!(written.contains("iface lo inet loopback") && written.contains("iface eth0 inet manual"), "{written}");
    std::fs::write(upper.join("etc/network/interfaces"), "mine").expect("write");
    bed.hostel(["overlay-premount"]).arg(&upper).run().exits(0);
    assert_eq!(std::fs::read_to_string(upper.join("etc/network/interfaces")).expect("read"), "mine");
    let (_, file) = conf(&bed, "START= a /b/c\n");
    bed.hostel(["overlay-init"]).env("CONFIG", &file).run().exits(0).prints("#!/bin/sh\nservice a start\n/b/c start\n");
    bed.hostel(["overlay-postmount", "/", "/nowhere"]).run().exits(1).says("no directory");
    bed.hostel(["overlay-boot", "--help"]).run().exits(0).prints_with("usage: overlay-boot CONF");
    bed.hostel(["overlay-boot", "/nowhere/x.conf"]).run().exits(1).says("No such file");
    bed.hostel(["overlay-go", "nobody-runs", "true"]).run().exits(1).says("nobody-runs");
}

/// /etc/subhosts.conf, as the init scripts of overlay-boot have it.
#[test]
fn started_and_stopped_with_the_host() {
    let Some(bed) = Bed::start() else { return };
    let tree = tree_with_service(&bed);
    let (first, one) = conf(&bed, &format!("LOWER= {}\nSTART= one\n", tree.path().display()));
    let (second, two) = conf(&bed, &format!("LOWER= {}\nSTART= none\n", tree.path().display()));
    let etc = bed.fresh("etc");
    std::fs::write(etc.join("subhosts.conf"), format!("{}\n# {}\nrelative\n\n{}\n", one.display(), one.display(), two.display())).expect("write");
    let autostart = |verb: &str| bed.hostel(["autostart", verb]).env("HOSTEL_CONFIG_DIR", &etc).limit(SOON * 3).run();
    autostart("start").exits(0).says("subhosts.conf:3: ignored");
    autostart("start").exits(0);
    let shown = autostart("status").exits(0).text();
    assert!(shown.contains(&first) && shown.contains(&second) && shown.matches("running").count() == 2, "{shown}");
    go(&bed, &first, "cat /var/calls").exits(0).prints("/etc/init.d/one start\n");
    // One that cannot be read keeps no other from its end.
    std::fs::write(etc.join("subhosts.conf"), format!("{}\n{}\n/nowhere/x.conf\n", one.display(), two.display())).expect("write");
    autostart("stop").exits(1).says("/nowhere/x.conf");
    assert!(!bed.state_of(&first).exists() && !bed.state_of(&second).exists());
    let calls = std::fs::read_to_string(one.with_file_name("root").join("var/calls")).expect("read");
    assert!(calls.ends_with("/etc/init.d/one stop\n"), "{calls}");
}

#[test]
fn programs_around_the_mounts() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let (name, file) = conf(&bed, &format!("LOWER= {}\nSTART= none\nPREMOUNT= ./pre.sh\nPOSTMOUNT= ./post.sh a\n", tree.path().display()));
    let base = file.parent().expect("a directory").to_owned();
    script(&base.join("pre.sh"), "echo $ACTION >$1/from-premount");
    script(
        &base.join("post.sh"),
        "[ $1 = a ] && [ $2 = $BASE/live ] && [ $3 = $BASE/root ] || exit 7; mkdir -p $2/extra $2/run/own && mount -t tmpfs none $2/extra && echo x >$2/extra/file; mount -t tmpfs none $2/run/own",
    );
    boot(&bed, &file).exits(0);
    go(&bed, &name, "cat /from-premount /extra/file; grep -c ' /extra \\| /run/own ' /proc/mounts; ls /live 2>/dev/null | wc -l")
        .exits(0)
        .prints("overlay-premount\nx\n2\n0\n");
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").expect("read").contains(&format!("{name}/live")), "nothing is mounted on the host");
    stop(&bed, &file);
    script(&base.join("post.sh"), "echo does not work >&2; exit 4");
    boot(&bed, &file).exits(1).says("status 4: does not work");
    script(&base.join("pre.sh"), "echo nor this >&2; exit 4");
    boot(&bed, &file).exits(1).says("nor this");
}
