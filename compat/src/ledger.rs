//! Where hostel does not do what systemd-nspawn 252 does, and why. An entry that no scenario needs fails the comparison.

/// What the difference is to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The original is wrong here (by its own documentation, or mended in a later version).
    TheirDefect,
    /// hostel does more, or more safely.
    Better,
    /// A choice; neither is better.
    Differs,
}

/// Differences that are meant. In patterns `*` stands for any text, and `|` parts alternatives of scenarios and fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    /// Which scenarios.
    pub(crate) scenarios: &'static str,
    /// Which fields of the outcome.
    pub(crate) fields: &'static str,
    /// What systemd-nspawn gives; `-` when it lacks the field.
    pub(crate) theirs: &'static str,
    /// What hostel gives.
    pub(crate) ours: &'static str,
    /// What this means.
    pub(crate) judgement: Judgement,
    /// Why, in a sentence.
    pub(crate) reason: &'static str,
    /// Not in every run: a race in the original.
    pub(crate) sometimes: bool,
}

use Judgement::{Better, Differs, TheirDefect};

const fn row(
    scenarios: &'static str,
    fields: &'static str,
    theirs: &'static str,
    ours: &'static str,
    judgement: Judgement,
    reason: &'static str,
) -> Accepted {
    Accepted { scenarios, fields, theirs, ours, judgement, reason, sometimes: false }
}

impl Accepted {
    const fn sometimes(mut self) -> Self {
        self.sometimes = true;
        self
    }
}

/// The ledger.
#[rustfmt::skip] // one difference a line pair reads best
pub(crate) const ACCEPTED: &[Accepted] = &[
    // Left behind.
    row("*", "left.cgroups", "systemd:payload systemd:supervisor unified:payload*unified:supervisor", "none", TheirDefect,
        "with --keep-unit it takes over the caller's cgroup and leaves payload and supervisor behind; hostel makes groups of its own and removes them"),
    row("hang-up", "exit|left.processes|left.state|tree:.#{name}.lck", "*", "*", TheirDefect,
        "a hang-up ends it at once and leaves the machine running; hostel stops the machine first"),

    // Seen in every machine.
    row("*", "caps.inh", "*", "*", Better,
        "an inheritable set gives capabilities to files marked for them (as runc's CVE-2022-24769); hostel keeps it to what --ambient-capability asks for"),
    row("*", "mount:/proc/kallsyms|mount:/proc/keys|mount:/proc/timer_list|mount:/proc/mtrr", "-", "tmpfs nodev,noexec,nosuid,ro shared", TheirDefect,
        "its masks of /proc are not in place (systemd issue 40501); hostel verifies them"),
    row("*", "read:/proc/kallsyms|read:/proc/keys|read:/proc/timer_list|read:/proc/mtrr|write:/proc/mtrr", "*", "*", TheirDefect,
        "what the missing masks show"),
    row("*", "mount:/proc/kmsg|mount:/proc/sys/kernel/random/boot_id", "tmpfs nodev,nosuid,rw shared", "tmpfs nodev,noexec,nosuid,ro shared", Better,
        "files that stand for kernel ones cannot be written"),
    row("*", "mount:/run/host/incoming|path:/run/host/incoming", "*", "-", Differs,
        "the way in for `machinectl bind` of 252; hostel attaches mounts by descriptor and needs none"),
    row("*", "mount:/run/host/os-release", "ext4 relatime,rw shared", "-", Differs,
        "252 binds the host's file, writable; hostel shows a copy in the read-only /run/host"),
    row("*", "path:/run/host/os-release|path:/run/host/container-manager|path:/run/host/container-uuid|read:/run/host/os-release", "*644*", "*444*", Better,
        "what nobody may write does not look writable"),
    row("*", "path:/run/host/notify", "socket 755 0:0", "socket 222 0:0", Better,
        "a datagram socket needs nothing but write permission"),
    row("*", "path:/run/host/proc-kmsg|path:/run/host/proc-sys-kernel-random-boot-id", "-", "*", Differs,
        "where the files over /proc/kmsg and boot_id lie, as in 262"),
    row("*", "write:/run/host/container-manager|write:/run/host/os-release", "E*", "E*", Differs,
        "read-only and not the machine's: either answer is the kernel's, depending on which it checks first"),
    row("*", "path:/dev/fuse|path:/dev/char/10:229|read:/dev/fuse", "*", "*", Better,
        "/dev/fuse exists, as since 257"),
    row("*", "path:/dev/char/*", "link 777 65534:65534 *", "link 777 0:0 *", Differs,
        "what lies in the machine's /dev belongs to its root"),
    row("*", "path:/dev/core", "-", "link 777 * \"/proc/kcore\"", Differs,
        "the link is made without asking what it leads to, as 262 does"),
    row("*", "parent_death_signal", "0", "9", Better,
        "PID 1 dies with its supervisor, however that ends"),
    row("*", "seccomp_filters", "5", "1", Better,
        "one program for all architectures instead of a stack of them"),
    row("*", "session_keyring", "EPERM", "has one", Differs,
        "key calls are allowed, on the machine's own session keyring, as since 258"),
    row("*", "tty.stdin|tty.stdout|tty.stderr", "*size 0 0*", "*size *", TheirDefect,
        "it sets the size of its terminal after the payload was started").sometimes(),
    row("*", "stdout", "*caught 28*", "*", TheirDefect,
        "it sets the size of its terminal after the payload was started, which is a signal to it").sometimes(),
    row("resize", "stdout", "size 0 0*", "*", TheirDefect,
        "it sets the size of its terminal after the payload was started").sometimes(),
    row("hybrid-host", "mount:/sys/fs/cgroup*|mount-from:/sys/fs/cgroup|write:/sys/fs/cgroup/*", "*", "*", Differs,
        "the payload sees cgroup version 2 alone, on every host, as with every later systemd"),
    row("private-network|veth-view|users-private-network|file-network", "mount:/sys*|mount-from:/sys|read:/sys*|write:/sys*|top:/sys", "*", "*", Differs,
        "252 shows a tmpfs with parts of the machine's own sysfs; hostel shows the sysfs read-only and covers firmware, module and power"),

    row("all-at-once", "exit|stderr|view", "*", "*", TheirDefect,
        "with users of the machine's own it may not write the OOM score; hostel's supervisor does"),
    row("oom-score-adjust-lower", "tree:{tree}/etc/*", "*", "-", Better,
        "what the host does not let it do is found out before the tree is changed"),

    // Networks.
    row("veth-*", "note.0", "*<BROADCAST,MULTICAST> *", "*<BROADCAST,MULTICAST,UP,LOWER_UP> *", Better,
        "the cable has an address, a route and names on both sides without systemd-networkd; --network-config=none leaves it down"),
    row("veth-*|zone|port", "stdout|net.host0", "*", "*10.*", Better,
        "the cable has an address, a route and names on both sides without systemd-networkd"),
    row("veth-*|zone|port", "resolv_conf|tree:{tree}/etc/resolv.conf|read:/etc/resolv.conf|write:/etc/resolv.conf", "*", "*", Better,
        "the machine's name server is its supervisor"),
    row("bridge-missing|interface-missing|ipvlan", "stdout|tree:{tree}/etc/*", "*", "*", Better,
        "what is not there is found out before anything is changed, and no cable is left"),

    row("interface-renamed", "exit|stderr|stdout|tree:{tree}/etc/*", "*", "*", Better,
        "an interface may get another name inside, as since 253"),

    // Credentials, labels, other roots.
    row("credential-view", "mount-from:/run/host/credentials|mount:/run/host/credentials", "*", "*ro*", Better,
        "nobody can write to the credentials, and no link in them is followed"),
    row("selinux-*", "tree:{tree}/etc/*", "*", "-", Better,
        "what the host cannot do is found out before anything is changed"),
    row("oci-bundle", "tree:{tree}/dev/*", "-", "*", Better,
        "the devices that the runtime specification asks for are there; where config.json mounts nothing on /dev, as runc has them, in the bundle's own"),
    row("pivot-root-old", "exit|stdout|stderr|tree:{tree}/*", "*", "*", TheirDefect,
        "252 moves the old root to a place on the host's mount of it, which the kernel refuses"),

    // Messages.
    row("filter-unknown-name|rlimit-many", "stderr", "silent", "says something", Better,
        "what is not as asked is told, with --quiet, too"),
    row("exec-*|pid2-exec-*|boot-without-init|volatile|users-volatile-yes|optional-value-apart", "stderr", "silent", "says something", Better,
        "why the program could not be started is said on the caller's standard error, not on the machine's console"),
    row("exec-*|pid2-exec-*|boot-without-init|optional-value-apart", "stdout", "execv(*) failed: *", "", Better,
        "why the program could not be started is said on the caller's standard error, not on the machine's console"),
    row("term-*|int-*|*kill-signal*|boot-signal*|boot-interrupt|streams-default|pid2-term-supervisor|ignoring-payload|window-signal", "stderr", "says something", "silent", Differs,
        "252 tells of the signal it passes on even when --quiet"),
    row("escape|streams-terminal-read-only|debian-escape", "stdout", "*Container {name} terminated by signal KILL.*", "*", Differs,
        "252 tells of the killed machine even when --quiet"),
    row("not-quiet*", "stdout", "*\n", "*", Differs,
        "252 ends its output with an empty line"),
    row("help-*", "stdout", "*", "*", Differs,
        "the same names in another order or without the numbers"),

    row("filter-unknown-group|veth-long-name", "stderr", "says something", "silent", Differs,
        "notices are not given when --quiet"),
    row("streams-interactive", "exit|stderr|stdout", "*", "*", TheirDefect,
        "with --console=interactive and no terminal an end of file on its input kills the machine; hostel passes it on"),

    // Users.
    row("*user*|ambient-as-pid2", "path:/dev/pts/0", "char 620 *", "char 620 *:5 *", Differs,
        "the terminal belongs to the user and, as login(1) leaves it, to the group tty"),
    row("user-number", "env.USER|env.LOGNAME|groups", "*", "*", Better,
        "a uid that the machine's user database knows gets its name and groups"),
    row("*", "groups", "*", "*", Differs,
        "the primary group is among the supplementary ones, as initgroups(3) does"),
    row("users-identity", "caps.bnd|caps.eff|caps.prm", "*net_bind_service*", "*", Differs,
        "a capability over ports counts in the user namespace that owns the network, so with a shared network it would do nothing"),
    row("users-range|owners-*-off|file-users", "tree:{tree}/etc/*|read:/etc/*|write:/etc/*|mount:/etc/localtime|localtime|resolv_conf", "*", "*", Differs,
        "in a tree whose files the machine does not own nothing is written; 252 writes as the host's root"),
    row("bind-idmap-without-users", "*", "*", "*", Better,
        "without a user namespace ids map to themselves; 252 fails"),

    // Environment.
    row("caller-environment", "env.COLORTERM|env.NO_COLOR", "-", "*", Differs,
        "passed on as since 257"),
    row("pipe|*-pipe|*-autopipe|build-service", "env.TERM", "vt220", "dumb", Differs,
        "with pipes TERM is dumb, as since 257"),
    row("*as-pid2|build-service|mock", "pid1.env.*", "*", "-", Better,
        "nothing of the caller's environment can be read in /proc/1"),
    row("*as-pid2|build-service|mock", "pid1.exe|read:/proc/1/exe", "*systemd-nspawn*", "*", Differs,
        "the stub init is a process of the program itself"),
    row("*as-pid2|build-service|mock", "pid1.env.container|pid1.env.container_uuid", "-", "*", Better,
        "/proc/1/environ tells that this is a container, as that of every other init does"),
    row("users-as-pid2|ambient-as-pid2|mock", "pid1.exe|read:/proc/1/cwd|read:/proc/1/environ|read:/proc/1/exe|read:/proc/1/root|write:/proc/1/mem", "*EACCES*", "*", Differs,
        "252's stub is a copy of the host's process, which the command must not look into; hostel's executes itself, has nothing of the host in its memory and no more rights than the command, which may trace it"),
    row("*as-pid2|build-service|mock", "pid1.comm", "*", "hostel", Differs,
        "the stub names itself while the command is already being started").sometimes(),
    row("*as-pid2|build-service|mock", "pid1.argv", "*", "(sd-stubinit) 2*", Differs,
        "the stub hides its arguments while the command is already being started").sometimes(),
    row("ambient-as-pid2|mock", "pid|pids|pgid|sid|ns_pid", "*", "*", Differs,
        "252 starts helpers in the machine to look users up; process numbers are used up"),
    row("settings-no", "rlimits.nofile", "20000 20000", "1024 20000", TheirDefect,
        "with --settings=no it forgets its default limits"),

    // Trees and mounts.
    row("api-network-writable", "exit|view|stderr|tree:{tree}/etc/*", "*", "*", Better,
        "with the host's network its settings cannot be given away: refused unless --private-network"),
    row("api-network-writable-own", "mount:/sys*|mount-from:/sys|read:/sys*|write:/sys*|top:/sys", "*", "*", Differs,
        "252 shows a tmpfs with parts of the machine's own sysfs; hostel shows the sysfs read-only and covers firmware, module and power"),
    row("users-volatile-yes", "exit|view|stderr", "*", "*", TheirDefect,
        "user namespaces with an idmapped tree and --volatile=yes fail"),
    row("users-ephemeral", "mount:/", "ext4 idmapped,*", "overlay *", Better,
        "where the file system cannot share blocks the throw-away copy is a layer over the tree, which costs nothing"),
    row("volatile", "mount:/", "tmpfs rw *", "tmpfs relatime,rw *", Differs,
        "access times need not be written at every read"),
    row("image-without-udev", "exit|stderr", "*", "*", Better,
        "disk images need no udev"),
    row("image-read-only-file", "stdout", "wrote*", "touch: /made: Read-only file system*", Differs,
        "a file that nobody may write is an image that `machinectl read-only` closed; 252 as root writes into it all the same"),
    row("root-hash-without-verity", "exit|stderr|stdout", "*", "*", TheirDefect,
        "without a hash tree nothing can be verified; 252 starts the image in spite of the root hash, unverified"),
    row("missing-directories*", "tree:{tree}/dev|tree:{tree}/proc|tree:{tree}/run|tree:{tree}/sys|tree:{tree}/tmp", "dir 755 0:0", "dir *", Better,
        "missing directories get the modes that file-hierarchy(7) and 262 give them"),
    row("*", "tree:*/var|tree:*/var/log|tree:*/var/log/journal*", "dir *", "-", Differs,
        "a tree gets a directory for its journal when the journal is linked, not always"),
    row("debian-*|volatile-state|users-volatile-state|resolv-*", "read:/etc/resolv.conf|tree:{tree}/etc/resolv.conf", "* 755 *", "* 644 *", Better,
        "the copy is an ordinary file, whatever mode the host's has").sometimes(),
    row("volatile-overlay|users-volatile-overlay|overlay-view|users-ephemeral|bind-view|*ephemeral*", "mount-from:/|mount-from:/mnt|mount-from:/opt", "*", "*", Differs,
        "where temporary layers and copies lie on the host"),
    row("volatile*|users-volatile*", "mount:/var", "tmpfs rw *", "tmpfs relatime,rw *", Differs,
        "access times need not be written at every read"),
    row("tmpfs-users", "stdout", "0:0 700 *", "1000:0 700 *", Better,
        "uid= and gid= of a tmpfs are ids of the machine; 252 always gives it to root"),
    row("zone-auto-dangling", "exit|stdout|stderr|tree:{tree}/etc/localtime", "*", "*", Differs,
        "a link to nowhere is the tree's own; 252 replaces it by a copy of the host's zone"),
    row("*", "tree:{tree}/etc/localtime", "file 644 *", "file 644 *", TheirDefect,
        "in a user namespace the file over which the time zone is mounted belongs to the host's root or to nobody; hostel's belongs to the machine"),
    row("resolv-*|debian-term|slice|property|share-system", "stderr", "says something", "silent", Differs,
        "notices are not given when --quiet"),
    row("sandbox|*read-only*|volatile-state*|file-files", "stderr", "says something", "silent", Differs,
        "252 tells that /etc/localtime and /etc/resolv.conf cannot be made in a tree that is to stay as it is; hostel leaves them away as well, silently"),
    row("debian-user", "top:/nonexistent|tree:{tree}/nonexistent", "*", "-", Differs,
        "252 makes a home directory for a user who has none"),
    row("passive-view", "*", "*", "*", TheirDefect,
        "with --console=passive nobody reads the machine's terminal, so that a long output stops it; hostel reads on"),
    row("pid2-kill-signal-reboot", "exit", "133", "0", Better,
        "a machine that was asked to stop has stopped, even if the signal makes its init ask for a reboot"),
    row("bind-below-proc", "exit|stderr|stdout", "*", "*", Better,
        "a bind below /proc works, as in later versions"),
    row("bind-dot-dot", "exit|stderr|stdout|tree:{tree}/etc/*", "*", "*", Differs,
        "a destination with `..` is refused before anything starts"),
    row("overlay-missing-target", "exit|stderr|stdout|tree:*", "*", "*", Better,
        "a missing destination is made, with its parents"),
    row("inaccessible-*", "exit|stderr|stdout|tree:*", "*", "*", TheirDefect,
        "it takes covering files from the host's /run/systemd, which only systemd as PID 1 makes"),
    row("template-missing-for-existing", "exit|stderr|tree:{tree}/etc/*", "*", "*", Better,
        "a template is not looked at when the directory exists, as documented"),
    row("users-volatile-state", "*", "*", "*", TheirDefect,
        "user namespaces with an idmapped tree and --volatile=state fail"),

    // Settings files.
    row("file-yes-capabilities", "stdout", "*file*", "*file*", TheirDefect,
        "a network of the file comes without its CAP_NET_ADMIN when the command line says something of capabilities"),

    // Signals, limits, system calls.
    row("rlimit-lower", "exit|view|stderr|tree:{tree}/etc/*", "*", "*", Better,
        "names of limits in any case"),
    row("*as-pid2|build-service|mock", "pid1.argv|pid1.comm", "*", "(sd-stubinit)", TheirDefect,
        "its stub names itself only after it has started the command").sometimes(),
    row("ambient-as-pid2", "tty.*", "*foreground 6*", "*foreground 2*", Differs,
        "252 starts helpers in the machine to look users up; process numbers are used up").sometimes(),
    row("*", "signals.ignored", "*", "*", Differs,
        "signals 32 and 33, which C libraries keep for themselves, are passed on as the caller left them").sometimes(),
    row("boot-view*", "tty.*", "*", "*", Differs,
        "the console becomes the controlling terminal of the getty that asks for it, not of the init"),
    row("boot-arguments", "stdout", "*a=b*", "*", Differs,
        "NAME=VALUE among the init's arguments goes into its environment, as the kernel and 262 do"),
    row("reboot-loop", "exit|view|stderr|tree:{tree}/once", "*", "*", Better,
        "hostel needs no bus for a machine that may start again"),
    row("bad-slice", "exit|stdout|stderr|tree:{tree}/etc/*", "*", "*", Differs,
        "a name that is no slice is refused instead of escaped"),
    row("*", "attempt:add_key|attempt:keyctl_*|attempt:request_key", "denied EPERM", "*", Differs,
        "key calls are allowed, on the machine's own session keyring, as since 258"),
    row("*", "attempt:landlock_version|attempt:statmount", "denied *", "*", Differs,
        "calls that the libseccomp beside 252 does not know"),
    row("*", "attempt:read_kallsyms|attempt:read_proc_keys|attempt:read_timer_list|attempt:write_mtrr|attempt:unmount_mask_kallsyms", "*", "*", TheirDefect,
        "the masks of /proc that it lacks; there is nothing to take off"),
    row("*", "attempt:mknod_*|attempt:open_made_*|attempt:open_host_disk", "*", "denied EPERM", Better,
        "without systemd it has no device policy; hostel's cgroup has one"),
    row("*", "attempt:open_dev_fuse", "absent ENOENT", "*", Better,
        "/dev/fuse exists, as since 257"),
    row("*", "attempt:create_in_run_host_incoming", "*", "absent ENOENT", Differs,
        "there is no /run/host/incoming"),
    row("*", "attempt:write_run_host_*", "denied *", "denied *", Differs,
        "read-only and not the machine's: either answer is the kernel's, depending on which it checks first"),
    row("attempts-all-capabilities", "attempt:bpf_*", "denied EPERM", "*", Differs,
        "with CAP_BPF bpf(2) is allowed, as in 262"),
    row("attempts-no-mount", "attempt:open_tree_clone", "denied EPERM", "allowed ", Differs,
        "open_tree is in @file-system, not in @mount, as in 262"),
    row("users-attempts", "attempt:mount_proc*|attempt:remount_proc_*|attempt:unmount_proc_*", "*", "denied EPERM", Better,
        "all mounts are locked, the masks of /proc too: the machine's root cannot take them off, and a second /proc without them is not to be had"),
];
