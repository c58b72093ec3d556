//! Containers of LXC that hostel runs: what a configuration makes of them, and what the tools of LXC and ours do with them.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use hostel_tests::lxc::Lxcpath;
use hostel_tests::{Bed, Invocation, Signal, Terminal, Tree, eventually, has, kill};

/// A program that ends at SIGPWR, and begins anew at SIGINT.
const INIT: &str = "/bin/sh -c \"trap 'exit 3' PWR; echo up; while :; do sleep 0.05; done\"";

/// A container with busybox in it, in an lxcpath of its own.
struct Container<'a> {
    all: Lxcpath<'a>,
    name: String,
    root: PathBuf,
    _tree: Tree,
}

impl<'a> Container<'a> {
    /// `mapped`: on a copy of the tree, for ids of an overlay cannot be mapped.
    fn new(bed: &'a Bed, settings: &str, mapped: bool) -> Option<Self> {
        let all = Lxcpath::new(bed);
        let name = bed.name();
        let tree = bed.tree("busybox")?;
        let root = if mapped { all.path().join(&name).join("rootfs") } else { tree.path().to_owned() };
        let own = Container { all, name, root, _tree: tree };
        std::fs::create_dir(own.dir()).expect("mkdir");
        if mapped {
            Invocation::new("cp").arg("-a").arg(own._tree.path()).arg(&own.root).run().exits(0);
        }
        own.configure(settings);
        Some(own)
    }
    fn configure(&self, settings: &str) {
        let always = format!("lxc.rootfs.path = dir:{}\nlxc.log.file = {}\n", self.root.display(), self.dir().join("log").display());
        std::fs::write(self.dir().join("config"), always + &settings.replace('@', self.dir().to_str().expect("UTF-8"))).expect("write");
    }
    fn dir(&self) -> PathBuf {
        self.all.path().join(&self.name)
    }
    /// The same line about this container.
    fn named(&self, line: &str) -> String {
        let (tool, rest) = line.split_once(' ').unwrap_or((line, ""));
        if tool == "ls" { line.to_owned() } else { format!("{tool} -n {} {rest}", self.name) }
    }
    fn ours(&self, line: &str) -> Invocation {
        self.all.ours(&self.named(line))
    }
    fn stock(&self, line: &str) -> Invocation {
        self.all.stock(&self.named(line))
    }
    /// A script in the container, by ours.
    fn sh(&self, script: &str) -> Invocation {
        self.ours("attach --clear-env --").args(["/bin/sh", "-c", script])
    }
    fn state(&self) -> String {
        self.ours("info -sH").run().text().trim().to_owned()
    }
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }
}

/// The prefix and `q`, until it has heard: it says that it is connected before it listens.
#[track_caller]
fn leave(console: &Terminal) {
    let heard = eventually(Duration::from_secs(10), || {
        console.send("\u{1}q");
        std::thread::sleep(Duration::from_millis(50));
        console.has_ended()
    });
    assert!(heard, "{}", console.all());
}

/// LXC's own tools find, enter, freeze, limit and end what hostel runs, as they do what LXC runs.
#[test]
fn the_tools_of_lxc_drive_it() {
    let Some(bed) = Bed::start() else { return };
    if !has("lxc-start") {
        println!("skipped: no LXC here");
        return;
    }
    let settings = format!(
        "lxc.init.cmd = {INIT}\nlxc.uts.name = inside\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:mixed cgroup:mixed\n\
         lxc.tty.max = 2\nlxc.group = web\nlxc.console.buffer.size = 4KB\n"
    );
    let Some(c) = Container::new(&bed, &settings, false) else { return };
    c.ours("start -p").arg(c.dir().join("pid")).run().exits(0).prints("");
    let pid: i32 = std::fs::read_to_string(c.dir().join("pid")).expect("pid file").trim().parse().expect("a pid");
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).expect("cmdline");
    let wanted = format!("[lxc monitor] {} {}", c.all.path().display(), c.name);
    assert_eq!(String::from_utf8_lossy(&title).trim_end_matches('\0'), wanted);
    for line in ["ls -f", "ls --running -1", "info -sH", "info -pH", "info -c lxc.group", "wait -s RUNNING -t 0", "cgroup pids.max"] {
        c.all.same(&c.named(line));
    }
    c.stock("attach -- sh -c").args(["hostname; echo $container; exit 7"]).run().exits(7).prints("inside\nlxc\n");
    // What enters is where the limits are.
    let groups = c.stock("attach -- cat /proc/self/cgroup").run().exits(0).text();
    assert!(groups.contains("pids:/\n") && !groups.contains("/.."), "{groups}");
    c.stock("freeze").run().exits(0);
    assert_eq!(c.state(), "FROZEN");
    c.stock("unfreeze").run().exits(0);
    c.stock("cgroup pids.max 77").run().exits(0);
    c.ours("cgroup pids.max").run().exits(0).prints_with("77");
    let mut console = Terminal::start(c.stock("console -t 1"));
    console.expect("Connected to tty 1");
    // The first is taken: without a number there is the second.
    let mut second = Terminal::start(c.stock("console"));
    second.expect("Connected to tty 2");
    leave(&second);
    c.sh("echo for one >/dev/tty1").run().exits(0);
    console.expect("for one");
    leave(&console);
    let mut main = Terminal::start(c.ours("console -t 0"));
    main.expect("leaves it");
    c.sh("echo to all >/dev/console").run().exits(0);
    main.expect("to all");
    leave(&main);
    let watch = c.stock("wait -s STOPPED").start();
    c.stock("stop -t 10").run().exits(0);
    watch.finish(Duration::from_secs(5)).exits(0);
    assert!(!c.dir().join("pid").exists());
    assert_eq!(c.state(), "STOPPED");
}

/// Each setting does what it says, seen from inside.
#[test]
fn what_a_configuration_means() {
    let Some(bed) = Bed::start() else { return };
    let settings = format!(
        "lxc.init.cmd = {INIT}\nlxc.uts.name = inside\nlxc.mount.auto = proc:mixed sys:ro cgroup:ro\n\
         lxc.net.0.type = veth\nlxc.net.0.link = lxcbr\nlxc.net.0.flags = up\nlxc.net.0.name = lan0\nlxc.net.0.hwaddr = 00:16:3e:11:22:33\n\
         lxc.net.0.mtu = 1400\nlxc.net.0.ipv4.address = 10.77.0.5/24\nlxc.net.0.ipv4.gateway = auto\nlxc.net.0.ipv6.address = fd77::5/64\n\
         lxc.net.0.script.up = @/hook up\nlxc.hook.pre-start = @/hook pre\nlxc.hook.mount = @/hook mount\nlxc.hook.start-host = @/hook host\n\
         lxc.hook.stop = @/hook stop\nlxc.hook.post-stop = @/hook post\nlxc.environment = A=b c\nlxc.prlimit.nofile = 1000:2000\nlxc.sysctl.net.ipv4.ip_forward = 1\n\
         lxc.cap.drop = sys_module net_raw\nlxc.no_new_privs = 1\nlxc.proc.oom_score_adj = 7\n\
         lxc.mount.entry = tmpfs mnt tmpfs size=1M,create=dir 0 0\nlxc.mount.entry = @/shared srv/shared none bind,ro,create=dir 0 0\n\
         lxc.mount.entry = /nonexistent srv/none none bind,optional,create=dir 0 0\nlxc.cgroup.pids.max = 55\nlxc.cgroup2.pids.max = 55\n\
         lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c 1:3 rwm\n"
    );
    let Some(c) = Container::new(&bed, &settings, false) else { return };
    std::fs::create_dir(c.dir().join("shared")).expect("mkdir");
    std::fs::write(c.dir().join("shared/file"), "of the host\n").expect("write");
    // One is told of a program that has all but begun, the other of namespaces that outlive it.
    let hook = "#!/bin/sh\nwhat=\"$* $LXC_NAME\"\n[ \"$1\" != host ] || what=\"$what $(cat /proc/$LXC_PID/root/srv/shared/file)\"\n\
        [ \"$1\" != stop ] || what=\"stop $(for w; do echo ${w%%:*}; done | xargs) $LXC_TARGET $(nsenter --net=$LXC_NET_NS ip -o link show lan0 | grep -c 1400)\"\n";
    std::fs::write(c.dir().join("hook"), format!("{hook}echo \"$what\" >>{}\n", c.dir().join("hooks").display())).expect("write");
    std::fs::set_permissions(c.dir().join("hook"), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let network =
        "ip link add lxcbr type bridge && ip addr add 10.77.0.1/24 dev lxcbr && ip addr add fd77::1/64 dev lxcbr nodad && ip link set lxcbr up";
    Invocation::new("sh").args(["-c", network]).run().exits(0);
    c.ours("start").run().exits(0);
    let inside = c.sh(
        "hostname; cat /sys/class/net/lan0/address /sys/class/net/lan0/mtu; ip -4 addr show lan0 | grep -c 10.77.0.5/24; ip -6 addr show lan0 | grep -c fd77::5/64\n\
         ip route | grep -c 'default via 10.77.0.1'; ping -c 1 -w 2 10.77.0.1 >/dev/null; echo ping $?; ulimit -n; cat /proc/sys/net/ipv4/ip_forward\n\
         echo 0 2>/dev/null >/proc/sys/kernel/hostname; echo sys $?; echo 0 >/proc/sys/net/ipv4/ip_forward; echo net $?\n\
         tr '\\0' '\\n' </proc/1/environ | grep -E '^(A|container)='; cat /proc/1/oom_score_adj; grep NoNewPrivs /proc/1/status\n\
         cat /srv/shared/file; touch /srv/shared/new 2>/dev/null; echo ro $?; ls /srv; grep -c ' /mnt tmpfs' /proc/mounts\n\
         cat /dev/null; echo null $?; mknod /dev/loops c 10 237; (: </dev/loops) 2>/dev/null; echo loops $?; mkdir /sys/fs/cgroup/x 2>/dev/null; echo group $?",
    );
    inside.run().exits(0).prints(
        "inside\n00:16:3e:11:22:33\n1400\n1\n1\n1\nping 1\n1000\n1\nsys 1\nnet 0\nA=b c\ncontainer=lxc\n7\nNoNewPrivs:\t1\nof the host\nro 1\nshared\n1\n\
         null 0\nloops 1\ngroup 1\n",
    );
    c.ours("cgroup pids.max").run().exits(0).prints_with("55");
    c.ours("info -iH").run().exits(0).prints_with("10.77.0.5");
    c.ours("stop -t 10").run().exits(0);
    let name = &c.name;
    let hooks = std::fs::read_to_string(c.dir().join("hooks")).expect("hooks");
    let hooks: Vec<&str> = hooks.lines().map(|line| line.split(" veth ").next().unwrap_or(line)).collect();
    assert_eq!(
        hooks,
        [
            format!("pre {name} lxc pre-start {name}"),
            format!("up {name} net up"),
            format!("mount {name} lxc mount {name}"),
            format!("host {name} lxc start-host {name} of the host"),
            format!("stop stop {name} lxc stop mnt pid uts ipc net cgroup stop 1"),
            format!("post {name} lxc post-stop {name}"),
        ]
    );

    // A router's cable: the host answers for a gateway that nobody has, and routes to the address; VLANs where the kernel has them.
    let pair = format!("v{}", c.name);
    let router = format!(
        "lxc.init.cmd = {INIT}\nlxc.net.0.type = veth\nlxc.net.0.veth.mode = router\nlxc.net.0.veth.pair = {pair}\nlxc.net.0.flags = up\n\
         lxc.net.0.ipv4.address = 10.78.0.5/32\nlxc.net.0.ipv4.gateway = 10.77.0.254\nlxc.net.0.ipv6.address = fd78::5/128\n\
         lxc.net.0.ipv6.gateway = fd78::1\nlxc.net.0.veth.ipv4.route = 10.79.0.0/24\n"
    );
    c.configure(&router);
    c.ours("start").run().exits(0);
    c.sh("ping -c 1 -w 5 10.77.0.1 >/dev/null && ping -c 1 -w 5 fd77::1 >/dev/null && ip route && ip -6 route")
        .run()
        .exits(0)
        .prints_with("10.77.0.254 dev eth0");
    Invocation::new("ip").args(["route", "get", "10.79.0.9"]).run().exits(0).prints_with(&pair);
    c.ours("stop -k").run().exits(0);
    for (settings, why) in [
        ("lxc.net.0.link = lxcbr\nlxc.net.0.veth.vlan.id = 7\n", "does not tell them apart"),
        ("lxc.net.1.type = vlan\nlxc.net.1.link = lxcbr\n", "a VLAN has a number"),
    ] {
        c.configure(&format!("lxc.init.cmd = {INIT}\nlxc.net.0.type = veth\n{settings}"));
        c.ours("start").run().exits(1).says(why);
    }
    vlans(&c);
    Invocation::new("ip").args(["link", "del", "lxcbr"]).run().exits(0);
}

/// Interfaces of VLANs, and ports of a bridge that tells VLANs apart; refused by a kernel that has neither.
fn vlans(c: &Container) {
    let sh = |script: &str| Invocation::new("sh").args(["-c", script]).run();
    let (vlan, filter) =
        (sh("ip link add link lxcbr name vlanprobe type vlan id 9 && ip link del vlanprobe"), sh("ip link set lxcbr type bridge vlan_filtering 1"));
    c.configure(&format!("lxc.init.cmd = {INIT}\nlxc.net.0.type = vlan\nlxc.net.0.link = lxcbr\nlxc.net.0.vlan.id = 9\nlxc.net.0.name = v9\n"));
    let started = c.ours("start").run();
    if vlan.code == Some(0) {
        started.exits(0);
        c.sh("ip -d link show v9").run().exits(0).prints_with("vlan protocol 802.1Q id 9");
        c.ours("stop -k").run().exits(0);
    } else {
        started.exits(1).says("vlan v9 on lxcbr");
    }
    if filter.code == Some(0) {
        c.configure(&format!(
            "lxc.init.cmd = {INIT}\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr\nlxc.net.0.veth.pair = vlanport\nlxc.net.0.veth.vlan.id = 7\n\
             lxc.net.0.veth.vlan.tagged.id = 8\n"
        ));
        c.ours("start").run().exits(0);
        let ports = sh("bridge vlan show dev vlanport").exits(0).text();
        assert!(ports.contains("7 PVID Egress Untagged") && ports.contains(" 8") && !ports.contains(" 1 "), "{ports}");
        c.ours("stop -k").run().exits(0);
    } else {
        println!("skipped: VLANs of bridge ports, which this kernel has not");
    }
}

/// Users of its own over a root that belongs to the host's; statuses of commands; copies that go; what is refused.
#[test]
fn users_statuses_and_refusals() {
    let Some(bed) = Bed::start() else { return };
    let users = "lxc.rootfs.options = idmap=container\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    let base = format!("lxc.init.cmd = {INIT}\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed\nlxc.tty.max = 1\n");
    let Some(c) = Container::new(&bed, &(base.clone() + users), true) else { return };
    c.ours("start").run().exits(0);
    c.ours("attach -a i686 -- uname -m").run().exits(0).prints("i686\n");
    c.sh("id -u; stat -c %u /etc; touch /root/new; cat /proc/self/uid_map; echo x >/dev/tty1 && echo tty")
        .run()
        .exits(0)
        .prints("0\n0\n         0     100000      65536\ntty\n");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(c.root.join("root/new")).expect("stat")), 0);
    c.ours("start").run().exits(1).says("it is running");
    // Begins anew, as the same container.
    let before = c.ours("info -pH").run().text();
    c.configure(&base);
    c.ours("stop -k").run().exits(0);

    c.ours("execute --").args(["sh", "-c", "echo out; exit 5"]).run().exits(5).prints("out\n");
    c.ours("start -F --").args(["/bin/sh", "-c", "exit 9"]).run().exits(9);
    c.ours("attach -- true").run().exits(1).says("not running");
    c.ours("start -p /nonexistent/pid").run().exits(1).says("/nonexistent/pid");
    assert_eq!(c.state(), "STOPPED");
    c.ours("attach -g 7 -- true").run().exits(1).says("use --gid");

    let copies = c.ours("copy -e -N").arg(format!("{}x", c.name)).run().exits(0);
    assert!(copies.text().contains("as clone of"), "{}", copies.describe());
    let running = |c: &Container| c.ours("ls --running -1").run().text();
    assert_eq!(running(&c), format!("{}x\n", c.name));
    bed.hostel(["lxc", "stop", "-k", "-P"]).arg(c.all.path()).args(["-n", &format!("{}x", c.name)]).run().exits(0);
    assert!(eventually(Duration::from_secs(5), || !c.all.path().join(format!("{}x", c.name)).exists()), "{}", c.log());
    assert_ne!(before, "");

    for (settings, why) in [
        ("lxc.mount.entry = /nonexistent srv none bind 0 0\n", "its source does not exist"),
        ("lxc.net.0.type = veth\nlxc.net.0.link = nosuch0\n", "nosuch0"),
        ("lxc.hook.pre-start = /bin/false\n", "pre-start hook"),
        ("lxc.hook.start-host = /bin/false\n", "start-host hook \"/bin/false "),
        ("lxc.seccomp.profile = /nonexistent\n", "lxc.seccomp.profile"),
        ("lxc.namespace.share.net = nosuchcontainer\n", "lxc.namespace.share.net"),
        ("lxc.rootfs.path = rbd:/dev/x\n", "backing store rbd"),
        ("lxc.net.1.type = veth\nlxc.net.1.veth.n_rxqueues = 2\n", "this is not done"),
        ("lxc.monitor.signal.pdeath = SIGTERM\n", "a machine ends with its supervisor"),
        ("lxc.init.cmd = /nonexistent\n", "/nonexistent"),
    ] {
        c.configure(&(base.clone() + settings));
        c.ours("start").run().exits(1).says(why);
        assert_eq!(c.state(), "STOPPED", "{settings}");
    }
}

/// A supervisor that is killed takes its container along and leaves no obstacle; at the socket anything may be said.
#[test]
fn killed_and_pestered() {
    let Some(bed) = Bed::start() else { return };
    let Some(c) = Container::new(&bed, &format!("lxc.init.cmd = {INIT}\nlxc.net.0.type = empty\nlxc.console.buffer.size = 4KB\n"), false) else {
        return;
    };
    let both = [c.ours("start").start(), c.ours("start").start()];
    let codes: Vec<Option<i32>> = both.into_iter().map(|start| start.finish(Duration::from_secs(10)).code).collect();
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(1)), "{codes:?}");

    let place = format!("{}/{}", c.all.path().display(), c.name);
    let address = SocketAddr::from_abstract_name(format!("{place}/command")).expect("an address");
    let connect = || UnixStream::connect_addr(&address).expect("connect");
    // Half a request, no request, lengths that are none, commands that are none, from more than there may be at once.
    let idle: Vec<UnixStream> = (0..600).map(|_| connect()).collect();
    for bytes in [
        &[3u8, 0, 0][..],
        &[0xff; 16],
        &[7, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0],
        &[99; 64],
        &[10, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
    ] {
        let mut one = connect();
        let _ = one.write_all(bytes);
    }
    let mut one = connect();
    one.write_all(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).expect("write");
    let mut answer = [0; 16];
    one.read_exact(&mut answer).expect("an answer");
    assert_eq!((answer[0], answer[8]), (0, 2), "running");
    drop(idle);
    if has("python3") {
        let script = "import os, socket, struct, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + sys.argv[1] + '/command')\n\
            s.send(struct.pack('iiQ', 21, 0, 0))\ndata, fds, *_ = socket.recv_fds(s, 16, 1)\n\
            print(struct.unpack('iiQ', data)[0], os.isatty(os.open('ptmx', os.O_RDWR, dir_fd=fds[0])))";
        Invocation::new("python3").args(["-c", script, &place]).run().exits(0).prints("0 True\n");
    }
    if has("setpriv") {
        let script = format!(
            "exec setpriv --reuid=65534 --clear-groups {} lxc info -P {} -n {} -p",
            hostel_tests::binary("hostel", "HOSTEL_BIN").display(),
            c.all.path().display(),
            c.name
        );
        let stranger = Invocation::new("sh").args(["-c", &script]).run();
        assert!(!stranger.text().contains("PID"), "{}", stranger.describe());
    }

    // Its init asks for another life.
    let pid = |c: &Container| c.ours("info -pH").run().text().trim().parse::<i32>().unwrap_or(0);
    let init = pid(&c);
    let monitor =
        std::fs::read_to_string(format!("/proc/{init}/stat")).ok().and_then(|s| s.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse().ok());
    kill(monitor.expect("the parent of init"), Signal::KILL);
    assert!(eventually(Duration::from_secs(5), || c.state() == "STOPPED" && !PathBuf::from(format!("/proc/{init}")).exists()));
    c.ours("start").run().exits(0);
    c.ours("stop -k").run().exits(0);
    bed.clean();
}
