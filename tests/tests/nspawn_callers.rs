//! Command lines of programs that call systemd-nspawn (spec/nspawn.md section 4), word for word but for the names of files.

use std::time::Duration;

use hostel_tests::{Bed, Signal, Tree, Wires};

fn words<'a>(line: &'a str, tree: &'a Tree) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace("TREE", &tree.path().display().to_string()).replace("MACHINE", &tree.name())).collect()
}

/// Without `-D` of the bed's own.
fn nspawn(bed: &Bed, line: Vec<String>) -> hostel_tests::Invocation {
    bed.hostel(["nspawn"].into_iter().map(String::from).chain(line))
}

/// mock(1), Fedora's tool that builds packages.
#[test]
fn mock() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let passwd = std::fs::read_to_string(tree.at("/etc/passwd")).expect("passwd");
    tree.write("/etc/passwd", passwd + "mockbuild:x:1000:135::/builddir:/bin/sh\n").write("/builddir/x", "");
    let resolv = bed.fresh("mock").join("mock-resolv.x");
    std::fs::write(&resolv, "nameserver 192.0.2.7\n").expect("write");
    let mut line = words(
        "-q -M MACHINE -D TREE -a -u mockbuild --capability=cap_ipc_lock --suppress-sync=yes --bind=RESOLV:/etc/resolv.conf \
         --rlimit=RLIMIT_NOFILE=10240 --console=pipe --setenv=TERM=vt100 --setenv=SHELL=/bin/bash --setenv=HOME=/builddir \
         --setenv=HOSTNAME=mock --setenv=PATH=/usr/bin:/bin:/usr/sbin:/sbin --setenv=LANG=C.UTF-8 --resolv-conf=off",
        &tree,
    );
    line.iter_mut().for_each(|word| *word = word.replace("RESOLV", &resolv.display().to_string()));
    line.push(r#"--setenv=PROMPT_COMMAND=printf "\033]0;<mock-chroot>\007""#.into());
    line.push(r"--setenv=PS1=<mock-chroot> \s-\v\$ ".into());
    let script = "id -u; ulimit -n; cat /etc/resolv.conf; echo $HOME $HOSTNAME $TERM; /probe syncs; echo \"$PS1\" | wc -c; exit 3";
    line.extend(["sh", "-c", script].map(String::from));
    let syncs = "done done done EINVAL EINVAL done";
    let out = nspawn(&bed, line).run().exits(3);
    out.says_nothing().prints(&format!("1000\n10240\nnameserver 192.0.2.7\n/builddir mock vt100\n{syncs}\n23"));
}

/// Containers of NixOS, without a cable.
#[test]
fn nixos_containers() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let nix = bed.fresh("nix");
    for dir in ["store", "var/nix/db", "var/nix/daemon-socket", "var/nix/profiles/per-container/c", "var/nix/gcroots/per-container/c"] {
        std::fs::create_dir_all(nix.join(dir)).expect("mkdir");
    }
    std::fs::write(nix.join("var/nix/profiles/per-container/c/who"), "profile").expect("write");
    let socket_path = bed.fresh("manager").join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket_path).expect("bind");
    manager.set_nonblocking(true).expect("nonblocking");
    let line = words(
        &"--keep-unit -M MACHINE -D TREE --notify-ready=yes --kill-signal=SIGRTMIN+3 --bind-ro=NIX/store:/nix/store --bind-ro=NIX/var/nix/db:/nix/var/nix/db \
         --bind-ro=NIX/var/nix/daemon-socket:/nix/var/nix/daemon-socket --bind=NIX/var/nix/profiles/per-container/c:/nix/var/nix/profiles:idmap \
         --bind=NIX/var/nix/gcroots/per-container/c:/nix/var/nix/gcroots:idmap --link-journal=try-guest --private-network --private-users=pick \
         --tmpfs=/var/cache:size=1M --capability=CAP_NET_ADMIN --setenv PRIVATE_NETWORK=1 --setenv HOST_ADDRESS= --setenv PATH=/bin"
            .replace("NIX", &nix.display().to_string()),
        &tree,
    );
    let script = "cat /nix/var/nix/profiles/who; echo; touch /nix/store/x 2>/dev/null || echo read-only; stat -c %u /nix/var/nix/profiles; \
        echo made > /nix/var/nix/profiles/made; echo $PRIVATE_NETWORK; exec /probe notify READY=1 then reboot";
    let out = nspawn(&bed, line.into_iter().chain(["sh", "-c", script].map(String::from)).collect())
        .env("NOTIFY_SOCKET", &socket_path)
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .run()
        // what the unit of a container restarts it for
        .exits(133);
    out.prints("profile\nread-only\n0\n1\nnotified");
    let made = std::fs::metadata(nix.join("var/nix/profiles/per-container/c/made")).expect("made");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);
    let mut all = String::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = manager.recv(&mut buffer) {
        all.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(all.starts_with("STATUS=Machine running.") && all.contains("READY=1\n"), "{all}");
}

/// Containers of NixOS with networks: the module sets up both ends of the cable by hand, and stops at the first thing that fails.
#[test]
fn nixos_networks() {
    let Some(bed) = Bed::start() else { return };
    let Some(wires) = Wires::start() else { return };
    let (tree, before) = (bed.busybox(), wires.picture());
    let inside = "set -e; trap 'exit 0' TERM; ip link set host0 name eth0; ip link set dev eth0 up; ip addr add 10.233.1.2 dev eth0; \
        ip route add 10.233.1.1 dev eth0; ip route add default via 10.233.1.1; mkdir -p /run/www; echo served > /run/www/x; \
        httpd -p 80 -h /run/www; echo ready; sleep 60 & wait";
    let line = "--keep-unit -M MACHINE -D TREE --notify-ready=yes --kill-signal=SIGTERM --link-journal=try-guest --private-network --network-veth \
        --port=tcp:8080:80 --setenv PRIVATE_NETWORK=1 --setenv HOST_ADDRESS=10.233.1.1 --setenv LOCAL_ADDRESS=10.233.1.2 --ephemeral";
    let words = words(line, &tree).into_iter().chain(["sh", "-c", inside].map(String::from)).collect();
    let running = wires.run(nspawn(&bed, words)).start();
    running.expect("ready");
    let name = tree.name();
    wires.sh(&format!("ip link set dev ve-{name} up; ip addr add 10.233.1.1 dev ve-{name}; ip route add 10.233.1.2 dev ve-{name}")).exits(0);
    let busybox = tree.at("/bin/busybox").display().to_string();
    let by_hand = format!("{busybox} ping -c 1 -W 5 10.233.1.2 >/dev/null && {busybox} wget -qO- http://10.233.1.2/x");
    wires.sh(&by_hand).exits(0).prints("served");
    wires.sh(&format!("{busybox} wget -qO- http://127.0.0.1:8080/x")).exits(0).prints("served");
    running.signal(Signal::TERM);
    running.finish(Duration::from_secs(10)).exits(0);
    wires.assert_back_to(&before);

    // Its other links, one machine for all of them.
    wires.sh("ip link add br0 type bridge && ip link set br0 up && ip link add spare type veth peer name rest && ip link set up0 up").exits(0);
    let before = wires.picture();
    let line =
        "--keep-unit -M MACHINE -D TREE --private-network --network-bridge=br0 --network-interface=spare --network-macvlan=up0 --kill-signal=SIGTERM";
    let inside = "set -e; ip link set host0 name eth0; ip link set dev eth0 up; ip addr add 10.233.2.2/24 dev eth0; ip link show spare >/dev/null; \
        ip link show mv-up0 >/dev/null; trap 'exit 0' TERM; echo ready; sleep 60 & wait";
    let words = self::words(line, &tree).into_iter().chain(["sh", "-c", inside].map(String::from)).collect();
    let running = wires.run(nspawn(&bed, words)).start();
    running.expect("ready");
    wires.sh(&format!("ip addr add 10.233.2.1/24 dev br0 && {busybox} ping -c 1 -W 5 10.233.2.2 >/dev/null && ip addr flush dev br0")).exits(0);
    running.signal(Signal::TERM);
    running.finish(Duration::from_secs(10)).exits(0);
    wires.assert_back_to(&before);
}

/// Arch Linux's devtools (arch-nspawn).
#[test]
fn devtools() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let cache = bed.fresh("cache");
    std::fs::write(cache.join("package"), "x").expect("write");
    let line = words(
        &"-q -D TREE -E PATH=/usr/local/sbin:/usr/local/bin:/usr/bin --register=no --slice=devtools-arch.slice --machine=MACHINE --keep-unit \
         --as-pid2 --console=autopipe --timezone=off --tmpfs=/tmp --bind-ro=CACHE:/var/cache/pacman/pkg --bind=CACHE:/startdir"
            .replace("CACHE", &cache.display().to_string()),
        &tree,
    );
    let script = "cat /var/cache/pacman/pkg/package; echo; touch /startdir/built; stat -f -c %T /tmp; read word; echo \"got $word\"; exit 4";
    let out = nspawn(&bed, line.into_iter().chain(["sh", "-c", script].map(String::from)).collect()).input("stdin\n").run().exits(4);
    out.says_nothing().prints("x\ntmpfs\ngot stdin");
    assert!(cache.join("built").exists());
}

/// debos, which makes images of Debian.
#[test]
fn debos() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let (artifacts, recipe) = (bed.fresh("artifacts"), bed.fresh("recipe"));
    std::fs::write(recipe.join("script"), "echo from the recipe; touch /root/done").expect("write");
    let line = words(
        &"-q --resolv-conf=off --timezone=off --register=no --keep-unit --console=pipe --setenv=DEBIAN_FRONTEND=noninteractive \
         --bind ART:/artifacts --bind REC:/recipe -D TREE sh /recipe/script"
            .replace("ART", &artifacts.display().to_string())
            .replace("REC", &recipe.display().to_string()),
        &tree,
    );
    nspawn(&bed, line).run().exits(0).says_nothing().prints("from the recipe");
    assert!(tree.at("/root/done").exists() && tree.at("/artifacts").is_dir());
}

/// A kiosk's sandbox.
#[test]
fn kiosk() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let line = "-q --volatile=overlay --private-users=655360:65536 --private-users-ownership=off --drop-capability=CAP_SYS_ADMIN,CAP_MKNOD \
        --no-new-privileges=yes --system-call-filter=~@mount -M MACHINE -D TREE";
    let script = "mount -t tmpfs none /mnt 2>&1; grep NoNewPrivs /proc/self/status | tr -d '\\t'; cat /proc/self/uid_map | tr -s ' '";
    let out = nspawn(&bed, words(line, &tree).into_iter().chain(["sh", "-c", script].map(String::from)).collect()).run().exits(0);
    out.prints_with("NoNewPrivs:1").prints_with("655360 65536").prints_with("permission denied");
}
