//! Every key: one row each.

use crate::values;

/// Canonical form of a value that is not empty, or why it is none.
pub type Take = fn(&str) -> Result<String, &'static str>;

/// How often a key may be set, and how its values are shown together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The last value counts.
    No,
    /// Each value on a line, each line with its end.
    Lines,
    /// As lines, without an end of the last.
    Joined,
    /// Several values at once between blanks; each on a line with its end.
    Words,
    /// Several values at once between commas, and shown so.
    Commas,
    /// Of `lxc.mount.auto`: several at once between blanks, and shown so; one of each kind.
    Kinds,
    /// It has no value of its own: getting and clearing it means those below it.
    Below,
    /// It is read when it is met, and keeps no value.
    Include,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The key; with a dot at its end, the beginning of keys that the user names.
    pub name: &'static str,
    /// How often it may be set.
    pub list: List,
    /// What a value may be.
    pub take: Take,
    /// What is got while it is not set.
    pub unset: &'static str,
    /// The value that an empty one means; empty: it is cleared.
    pub empty: &'static str,
    /// One line for people.
    pub help: &'static str,
}

const fn row(name: &'static str, list: List, take: Take, help: &'static str) -> Row {
    Row { name, list, take, unset: "", empty: "", help }
}

const fn one(name: &'static str, take: Take, help: &'static str) -> Row {
    row(name, List::No, take, help)
}

const fn number(name: &'static str, take: Take, help: &'static str) -> Row {
    one(name, take, help).unset("0")
}

const fn lines(name: &'static str, take: Take, help: &'static str) -> Row {
    row(name, List::Lines, take, help)
}

const fn below(name: &'static str, help: &'static str) -> Row {
    row(name, List::Below, values::text, help)
}

impl Row {
    const fn unset(self, unset: &'static str) -> Row {
        Row { unset, ..self }
    }
    const fn empty(self, empty: &'static str) -> Row {
        Row { empty, ..self }
    }
}

/// The keys that are no interface's, in the order in which they are listed.
pub const ROWS: &[Row] = &[
    one("lxc.arch", values::architecture, "architecture that programs are told of"),
    one("lxc.apparmor.profile", values::text, "AppArmor profile"),
    number("lxc.apparmor.allow_incomplete", values::switch, "start although the kernel's AppArmor lacks mediation"),
    number("lxc.apparmor.allow_nesting", values::switch, "a generated profile that allows containers inside"),
    lines("lxc.apparmor.raw", values::text, "lines for a generated profile"),
    one("lxc.autodev.tmpfs.size", values::unsigned, "bytes of the file system on /dev").unset("500000"),
    number("lxc.autodev", values::switch, "a /dev of its own, filled with devices").unset("1").empty("0"),
    row("lxc.cap.drop", List::Words, values::capability, "capabilities taken away"),
    row("lxc.cap.keep", List::Words, values::capability_or_none, "capabilities kept, and no others"),
    below("lxc.cgroup2", "files of the container's cgroup, version 2"),
    lines("lxc.cgroup2.", values::text, "a file of the container's cgroup, version 2"),
    one("lxc.cgroup.dir.monitor.pivot", values::group_path, "cgroup that the supervisor goes to at the end"),
    one("lxc.cgroup.dir.monitor", values::group_path, "cgroup of the supervisor"),
    one("lxc.cgroup.dir.container.inner", values::group_name, "cgroup below the limited one in which the container is"),
    one("lxc.cgroup.dir.container", values::group_path, "cgroup of the container"),
    one("lxc.cgroup.dir", values::group_path, "parent of both cgroups"),
    number("lxc.cgroup.relative", values::switch, "stay below the cgroup that it is started in"),
    below("lxc.cgroup", "files of the container's cgroups, version 1"),
    lines("lxc.cgroup.", values::text, "a file of the container's cgroups, version 1"),
    number("lxc.console.buffer.size", values::buffer_size, "bytes of the console that are kept"),
    one("lxc.console.logfile", values::path, "file that the console is written to"),
    one("lxc.console.path", values::path, "what /dev/console is joined to; none"),
    number("lxc.console.rotate", values::switch, "begin a new log file when it has its size"),
    number("lxc.console.size", values::buffer_size, "bytes of the console's log file"),
    number("lxc.sched.core", values::switch, "share a core with nobody else"),
    lines("lxc.environment", values::assignment, "a variable of init and of attached commands"),
    lines("lxc.environment.runtime", values::assignment, "a variable of init alone"),
    lines("lxc.environment.hooks", values::assignment, "a variable of hooks"),
    number("lxc.ephemeral", values::switch, "destroyed when it stops"),
    one("lxc.execute.cmd", values::text, "command that lxc-execute runs"),
    row("lxc.group", List::Words, values::text, "groups of containers that it belongs to"),
    lines("lxc.hook.autodev", values::text, "run in the container when /dev is filled"),
    lines("lxc.hook.clone", values::text, "run when it has been copied"),
    lines("lxc.hook.destroy", values::text, "run when it is destroyed"),
    lines("lxc.hook.mount", values::text, "run when its file systems are mounted, before the root is changed"),
    lines("lxc.hook.post-stop", values::text, "run on the host when it has stopped"),
    lines("lxc.hook.pre-mount", values::text, "run in its mount namespace, before the root is mounted"),
    lines("lxc.hook.pre-start", values::text, "run on the host before anything is made"),
    lines("lxc.hook.start", values::text, "run in it just before init"),
    lines("lxc.hook.start-host", values::text, "run on the host, in its network, before init"),
    lines("lxc.hook.stop", values::text, "run on the host when it stops, its namespaces still there"),
    number("lxc.hook.version", values::switch, "0: hooks are told by arguments; 1: by variables"),
    below("lxc.hook", "all hooks: to clear them"),
    row("lxc.idmap", List::Joined, values::id_map, "ids of the host that ids inside are: u|g NSID HOSTID RANGE"),
    row("lxc.include", List::Include, values::path, "another file, or the *.conf of a directory"),
    one("lxc.init.cmd", values::text, "command line of init"),
    number("lxc.init.gid", values::id, "group of init"),
    row("lxc.init.groups", List::Commas, values::id, "further groups of init"),
    number("lxc.init.uid", values::id, "user of init"),
    one("lxc.init.cwd", values::path, "directory that init begins in"),
    number("lxc.keyring.session", values::switch, "a session keyring of its own"),
    one("lxc.log.file", values::path, "file that the log is written to"),
    one("lxc.log.level", values::level, "what is logged").unset("NOTSET"),
    one("lxc.log.syslog", values::facility, "facility of syslog that is logged to"),
    number("lxc.monitor.unshare", values::switch, "a mount namespace of the supervisor's own"),
    one("lxc.monitor.signal.pdeath", values::signal, "signal to init when the supervisor dies").unset("9"),
    row("lxc.mount.auto", List::Kinds, values::automatic, "kernel file systems that are mounted by themselves"),
    lines("lxc.mount.entry", values::text, "a line of fstab(5), its target relative to the root"),
    one("lxc.mount.fstab", values::path, "a file of such lines"),
    row("lxc.namespace.clone", List::Words, values::namespace, "namespaces made anew, and no others"),
    row("lxc.namespace.keep", List::Words, values::namespace, "namespaces kept of the host"),
    one("lxc.namespace.share.user", values::text, "user namespace shared: a pid, a container or a path"),
    one("lxc.namespace.share.mnt", values::text, "mount namespace shared"),
    one("lxc.namespace.share.pid", values::text, "PID namespace shared"),
    one("lxc.namespace.share.uts", values::text, "UTS namespace shared"),
    one("lxc.namespace.share.ipc", values::text, "IPC namespace shared"),
    one("lxc.namespace.share.net", values::text, "network namespace shared"),
    one("lxc.namespace.share.cgroup", values::text, "cgroup namespace shared"),
    one("lxc.namespace.share.time", values::text, "time namespace shared"),
    one("lxc.time.offset.boot", values::offset, "what the clock since boot is set off by").unset("0ns"),
    one("lxc.time.offset.monotonic", values::offset, "what the monotonic clock is set off by").unset("0ns"),
    below("lxc.net", "all interfaces: their types, or to clear them"),
    number("lxc.no_new_privs", values::switch, "programs gain no privileges by execve(2)"),
    below("lxc.prlimit", "limits of resources"),
    one("lxc.prlimit.", values::limit, "a limit of init's resources: SOFT[:HARD]"),
    number("lxc.pty.max", values::unsigned, "pseudo terminals; a devpts of its own"),
    number("lxc.rootfs.managed", values::switch, "its storage is destroyed with it").unset("1"),
    one("lxc.rootfs.mount", values::path, "where the root is mounted before it is changed to"),
    one("lxc.rootfs.options", values::root_options, "options of the root's mount"),
    one("lxc.rootfs.path", values::root, "[TYPE:]PATH of the root file system"),
    number("lxc.seccomp.allow_nesting", values::switch, "a filter although there is one already"),
    one("lxc.seccomp.notify.cookie", values::text, "what the one who answers calls is told besides"),
    one("lxc.seccomp.notify.proxy", values::unix_path, "socket of the one who answers calls"),
    one("lxc.seccomp.profile", values::path, "file of system calls that are allowed or denied"),
    one("lxc.selinux.context.keyring", values::text, "SELinux context of its keyring"),
    one("lxc.selinux.context", values::text, "SELinux context"),
    number("lxc.signal.halt", values::signal, "signal that asks init to end"),
    number("lxc.signal.reboot", values::signal, "signal that asks init to begin anew"),
    number("lxc.signal.stop", values::signal, "signal that ends init"),
    number("lxc.start.auto", values::switch, "started by lxc-autostart"),
    number("lxc.start.delay", values::unsigned, "seconds until the next is started"),
    number("lxc.start.order", values::signed, "the higher, the earlier it is started"),
    one("lxc.tty.dir", values::text, "directory below /dev of its terminals"),
    number("lxc.tty.max", values::unsigned, "terminals for lxc-console"),
    one("lxc.uts.name", values::host_name, "host name"),
    below("lxc.sysctl", "settings of its kernel parameters"),
    one("lxc.sysctl.", values::text, "a kernel parameter of its namespaces"),
    below("lxc.proc", "files of /proc of init"),
    one("lxc.proc.", values::text, "a file below /proc/PID of init"),
];

/// What is set of an interface: below `lxc.net.N.`.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    /// The key's end.
    pub row: Row,
    /// The type of interface that has it; empty: every one; `-`: every one that is an interface.
    pub of: &'static str,
}

const fn net(of: &'static str, row: Row) -> Net {
    Net { row, of }
}

/// The keys of an interface, in the order in which they are listed.
pub const NET: &[Net] = &[
    net("", one("type", values::net_type, "none, empty, veth, vlan, macvlan, ipvlan or phys; to be said first")),
    net("", one("script.up", values::text, "run on the host when it is made")),
    net("", one("script.down", values::text, "run on the host when it goes")),
    net("-", one("flags", values::flags, "up")),
    net("-", one("link", values::interface, "interface or bridge of the host")),
    net("-", one("name", values::interface, "its name inside")),
    net("-", one("hwaddr", values::mac, "hardware address; an x is any digit")),
    net("-", one("mtu", values::positive, "largest packet")),
    net("-", row("ipv6.address", List::Joined, values::ipv6, "an address")),
    net("-", one("ipv6.gateway", values::ipv6_gateway, "where the default route leads: an address, auto, dev")),
    net("-", row("ipv4.address", List::Joined, values::ipv4, "an address")),
    net("-", one("ipv4.gateway", values::ipv4_gateway, "where the default route leads: an address, auto, dev")),
    net("-", number("l2proxy", values::switch, "the link answers for its addresses")),
    net("veth", one("veth.pair", values::interface, "name of its end on the host")),
    net("veth", one("veth.mode", values::veth_mode, "bridge or router").unset("bridge")),
    net("veth", row("veth.ipv4.route", List::Joined, values::ipv4_route, "a route of the host to it")),
    net("veth", row("veth.ipv6.route", List::Joined, values::ipv6_route, "a route of the host to it")),
    net("veth", number("veth.vlan.id", values::bridge_vlan_or_none, "VLAN of its port of the bridge")),
    net("veth", row("veth.vlan.tagged.id", List::Joined, values::bridge_vlan, "a VLAN that its port of the bridge has tagged")),
    net("veth", one("veth.n_rxqueues", values::positive, "queues in")),
    net("veth", one("veth.n_txqueues", values::positive, "queues out")),
    net("vlan", number("vlan.id", values::vlan, "number of the VLAN")),
    net("macvlan", one("macvlan.mode", values::macvlan_mode, "private, vepa, bridge or passthru").unset("private")),
    net("ipvlan", one("ipvlan.mode", values::ipvlan_mode, "l3, l3s or l2").unset("l2")),
    net("ipvlan", one("ipvlan.isolation", values::ipvlan_isolation, "bridge, private or vepa").unset("bridge")),
];

/// The row of a key and, of a key that the user names in part, that part.
pub fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter()
        .find(|row| row.name == key)
        .or_else(|| ROWS.iter().find(|row| row.name.ends_with('.') && key.len() > row.name.len() && key.starts_with(row.name)))
}
