//! The other tools: their configuration, and what they leave.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::Result;
use crate::bed::Bed;
use crate::runner::Row;

/// The bridge LXC's cable leads to: as lxcbr0, but of the bench's own network.
const BRIDGE: &str = "benchbr0";

/// Name of the peers' cgroups.
const GROUP: &str = "hostel-bench";

/// Writes an OCI bundle and an LXC configuration for `true` and for `sleep`.
pub(crate) fn configure(bed: &Bed) -> Result<()> {
    for program in ["true", "sleep"] {
        let bundle = bed.work.join(format!("oci-{program}"));
        write(&bundle, "config.json", &oci(&bed.tree, program))?;
        write(&bed.work.join("lxc").join(program), "config", &lxc(&bed.tree, program, "lxc.net.0.type = none"))?;
    }
    let bridged = format!(
        "lxc.net.0.type = veth\nlxc.net.0.link = {BRIDGE}\nlxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.3.2/24\nlxc.net.0.ipv4.gateway = 10.0.3.1"
    );
    write(&bed.work.join("lxc/bridged"), "config", &lxc(&bed.tree, "true", &bridged))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(dir.join(name), text)).map_err(|e| format!("write {}/{name}: {e}", dir.display()))
}

/// The job of `hostel nspawn -D TREE`, as far as the runtimes do it: no system call filter, no user namespace, the host's network.
fn oci(tree: &str, program: &str) -> String {
    let caps = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
    ];
    let mount = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|t| json!({"type": t}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": [format!("/bin/{program}")], "cwd": "/",
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        },
        "root": {"path": tree, "readonly": false},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=4096k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/run", "tmpfs", &["nosuid", "nodev", "mode=755"]),
            mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "cgroupsPath": format!("/{GROUP}/{program}"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    })
    .to_string()
}

fn lxc(tree: &str, program: &str, network: &str) -> String {
    format!(
        "lxc.rootfs.path = dir:{tree}\nlxc.uts.name = bench\n{network}\nlxc.mount.auto = proc:mixed sys:ro\nlxc.autodev = 1\n\
         lxc.pty.max = 1024\nlxc.tty.max = 0\nlxc.apparmor.profile = unconfined\nlxc.init.cmd = /bin/{program}\nlxc.cgroup.dir = {GROUP}/lxc-{program}\n"
    )
}

/// `words` behind the view that the program needs.
fn viewed<'a>(bed: &'a Bed, words: &[&'a str]) -> Vec<&'a str> {
    bed.v1_view.iter().map(String::as_str).chain(words.iter().copied()).collect()
}

/// A row of a program that needs the view without cgroup2.
fn viewed_row(bed: &Bed, name: &'static str, words: &[&str]) -> Row {
    let mut row = Row::of_peer(name, words);
    if row.skipped.is_none() {
        let argv = row.argv.clone();
        row.argv = bed.v1_view.iter().cloned().chain(argv).collect();
    }
    row
}

/// LXC with a cable to a bridge and an address given in its configuration; what lxc-net does for a whole host is done once here.
pub(crate) fn bridged(bed: &Bed) -> Row {
    let script = format!("ip link add {BRIDGE} type bridge && ip addr add 10.0.3.1/24 dev {BRIDGE} && ip link set {BRIDGE} up");
    quietly(&["sh", "-c", &script]);
    let place = bed.at("lxc");
    viewed_row(bed, "lxc-execute on a bridge", &["lxc-execute", "-P", &place, "-n", "bridged", "--", "/bin/true"])
}

/// One start of each peer, the job as near to `hostel nspawn -q -D TREE /bin/true` as each does it.
pub(crate) fn starts(bed: &Bed) -> Vec<Row> {
    let (tree, lxc, oci) = (bed.tree.as_str(), bed.at("lxc"), bed.at("oci-true"));
    vec![
        Row::of_peer("unshare", &["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--cgroup", "--mount-proc", "-R", tree, "/bin/true"]),
        Row::of_peer(
            "bwrap",
            &[
                "bwrap",
                "--unshare-ipc",
                "--unshare-pid",
                "--unshare-uts",
                "--unshare-cgroup",
                "--bind",
                tree,
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--tmpfs",
                "/run",
                "--tmpfs",
                "/tmp",
                "/bin/true",
            ],
        ),
        viewed_row(bed, "crun", &["crun", "run", "--bundle", &oci, "hostel-bench-crun"]),
        viewed_row(bed, "runc", &["runc", "run", "--bundle", &oci, "hostel-bench-runc"]),
        viewed_row(bed, "lxc-execute", &["lxc-execute", "-P", &lxc, "-n", "true", "--", "/bin/true"]),
        Row::of_peer("systemd-nspawn", &["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", tree, "/bin/true"]),
    ]
}

/// Starts an idle container of each peer and returns how `true` is run in it.
pub(crate) fn attaches(bed: &Bed) -> Vec<Row> {
    let (lxc, oci) = (bed.at("lxc"), bed.at("oci-sleep"));
    let crun = viewed_row(bed, "crun exec", &["crun", "exec", "hostel-bench-sleep", "/bin/true"]);
    let runc = viewed_row(bed, "runc exec", &["runc", "exec", "hostel-bench-sleep-runc", "/bin/true"]);
    let lxc_attach = viewed_row(bed, "lxc-attach", &["lxc-attach", "-P", &lxc, "-n", "sleep", "--", "/bin/true"]);
    if crun.skipped.is_none() {
        quietly(&viewed(bed, &["crun", "run", "--detach", "--bundle", &oci, "hostel-bench-sleep"]));
    }
    if runc.skipped.is_none() {
        quietly(&viewed(bed, &["runc", "run", "--detach", "--bundle", &oci, "hostel-bench-sleep-runc"]));
    }
    if lxc_attach.skipped.is_none() {
        quietly(&viewed(bed, &["lxc-start", "-d", "-P", &lxc, "-n", "sleep"]));
    }
    vec![crun, runc, lxc_attach]
}

/// Ends what [`attaches`] started and removes what the peers left.
pub(crate) fn clean(bed: &Bed) {
    let lxc = bed.at("lxc");
    for words in [
        &["crun", "delete", "--force", "hostel-bench-sleep"][..],
        &["runc", "delete", "--force", "hostel-bench-sleep-runc"],
        &["lxc-stop", "-k", "-P", &lxc, "-n", "sleep"],
    ] {
        if crate::runner::find(words[0]).is_some() {
            quietly(&viewed(bed, words));
        }
    }
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        remove_groups(&hierarchy.path().join(GROUP));
    }
    remove_groups(&Path::new("/sys/fs/cgroup").join(GROUP));
}

/// Removes empty groups, the deepest first; what is in use stays.
fn remove_groups(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}

/// Runs a command to its end without a word; that it fails is seen by what it should have made.
fn quietly(words: &[&str]) {
    let path = crate::runner::find(words[0]).unwrap_or_else(|| words[0].to_owned());
    // bench-view takes its program by path.
    let rest = words[1..]
        .iter()
        .enumerate()
        .map(|(i, w)| if i == 1 && words[0].ends_with("bench-view") { crate::runner::find(w).unwrap_or((*w).to_owned()) } else { (*w).to_owned() });
    let _ = Command::new(path).args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}
