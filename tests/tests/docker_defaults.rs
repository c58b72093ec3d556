//! Our init where Docker would put it: in containers of crun and runc with Docker's default capabilities, masked paths, read-only
//! cgroups and the calls refused that its default filter refuses. No privilege is given that `docker run IMAGE` does not give.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hostel_tests::init::WAIT;
use hostel_tests::{Bed, Invocation, Tree};
use serde_json::{Value, json};

/// What `docker run` leaves a root of its capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Calls that its default filter refuses without capabilities (docs.docker.com, "Seccomp security profiles for Docker").
const REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "quotactl",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setns",
    "settimeofday",
    "swapon",
    "umount2",
    "unshare",
];

/// Flags of clone(2) that make namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// A bundle with `words` as its command.
struct Container {
    dir: PathBuf,
    name: String,
    runtime: &'static str,
}

fn config(user: u32, words: &[&str], environment: &[&str]) -> Value {
    let caps: Vec<&str> = if user == 0 { CAPABILITIES.to_vec() } else { Vec::new() };
    let env: Vec<&str> = [&["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], environment].concat();
    let mount = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": { "uid": user, "gid": user }, "args": words, "env": env, "cwd": "/", "noNewPrivileges": false,
            "capabilities": { "bounding": CAPABILITIES, "effective": caps, "permitted": caps, "inheritable": [] },
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "box",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ],
        "linux": {
            "namespaces": [{ "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" }, { "type": "cgroup" }],
            "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    { "names": REFUSED, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
                    // what its flags are cannot be seen by a filter
                    { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
                    { "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                      "args": [{ "index": 0, "value": NEW_NAMESPACES, "valueTwo": 0x2000_0000u64, "op": "SCMP_CMP_MASKED_EQ" }] },
                ],
            },
        },
    })
}

impl Container {
    fn new(bed: &Bed, runtime: &'static str, tree: &Tree, user: u32, words: &[&str], environment: &[&str]) -> Container {
        let dir = bed.fresh("bundle");
        std::fs::create_dir_all(&dir).expect("make the bundle");
        std::os::unix::fs::symlink(tree.path(), dir.join("rootfs")).expect("link");
        let mut config = config(user, words, environment);
        config["root"]["path"] = json!(tree.path());
        std::fs::write(dir.join("config.json"), config.to_string()).expect("write config.json");
        Container { dir, name: bed.name(), runtime }
    }

    fn call(&self, words: &[&str]) -> Invocation {
        // crun takes no hybrid hierarchy: it sees the unified one, in a mount namespace of its own, and makes no groups
        let unified = ["--mount", "sh", "-ec", "mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\"", "sh", "crun", "--cgroup-manager=disabled"];
        let invocation = if self.runtime == "crun" { Invocation::new("unshare").args(unified) } else { Invocation::new(self.runtime) };
        let invocation = invocation.arg("--root").arg(self.dir.join("state"));
        invocation.args(words).limit(Duration::from_secs(40))
    }

    fn run(&self) -> Invocation {
        self.call(&["run", "--bundle"]).arg(&self.dir).arg(&self.name)
    }
}

fn runtimes() -> Vec<&'static str> {
    let found = ["crun", "runc"].into_iter().filter(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()));
    let found: Vec<&str> = found.collect();
    if found.is_empty() {
        println!("skipped: neither crun nor runc is installed");
    }
    found
}

fn plant(bed: &Bed, units: &[(&str, &str)]) -> Tree {
    let tree = bed.busybox();
    for (name, text) in units {
        tree.write(&format!("/etc/systemd/system/{name}"), text);
    }
    let program = bed.hostel(["x"]).program();
    tree.write("/usr/bin/hostel", std::fs::read(Path::new(&program)).expect("read hostel")).executable("/usr/bin/hostel");
    for name in ["/usr/bin/systemctl", "/usr/bin/journalctl"] {
        tree.remove(name);
        std::os::unix::fs::symlink("hostel", tree.at(name)).expect("link");
    }
    tree
}

const WANTED: &str = "[Install]\nWantedBy=multi-user.target\n";

#[test]
fn services_run_with_what_docker_gives() {
    let Some(bed) = Bed::start() else { return };
    for runtime in runtimes() {
        let units = [
            (
                "web.service",
                format!(
                    "[Service]\nUser=alice\nExecStart=/bin/sh -c 'id -un; echo colour $COLOUR; exec sleep 1000'\nRestart=always\nRestartSec=20ms\nStateDirectory=web\n{WANTED}"
                ),
            ),
            (
                "fork.service",
                format!("[Service]\nType=forking\nPIDFile=/run/fork.pid\nExecStart=/bin/sh -c 'sleep 1001 & echo $! > /run/fork.pid'\n{WANTED}"),
            ),
            // it has no mark of its unit, as daemons that write over their environment
            (
                "bare.service",
                format!(
                    "[Service]\nType=forking\nPIDFile=/run/bare.pid\nExecStart=/bin/sh -c '/usr/bin/env -i /usr/bin/setsid /bin/sleep 1003 & echo $! > /run/bare.pid'\n{WANTED}"
                ),
            ),
            (
                "tight.service",
                format!(
                    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo tight runs\nProtectSystem=strict\nPrivateTmp=yes\nNoNewPrivileges=yes\nMemoryMax=1G\nLimitNOFILE=512\n{WANTED}"
                ),
            ),
            ("told.service", format!("[Service]\nType=notify\nExecStart=/probe notify READY=1 then sleep\n{WANTED}")),
            ("tick.timer", "[Timer]\nOnActiveSec=50ms\nAccuracySec=1ms\n[Install]\nWantedBy=timers.target\n".to_owned()),
            ("tick.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/ticked\n".to_owned()),
            (
                "last.service",
                format!(
                    "[Unit]\nAfter=web.service bare.service fork.service tight.service told.service\n[Service]\nType=oneshot\nExecStart=/bin/sh /check\n{WANTED}"
                ),
            ),
        ];
        let tree = plant(&bed, &units.each_ref().map(|(name, text)| (*name, text.as_str())));
        std::fs::copy(hostel_tests::binary("hostel-probe", "HOSTEL_PROBE"), tree.at("/probe")).expect("copy the probe");
        tree.write(
            "/check",
            format!(
                "{WAIT}exec > /result 2>&1\nwait_for '[ -e /run/ticked ]'; systemctl is-active web fork tight told bare; systemctl restart bare; systemctl is-active bare\np=$(systemctl show -p MainPID --value web); kill -9 $p\n\
                 wait_for '[ $(systemctl show -p MainPID --value web) != '$p' ] && systemctl -q is-active web'; systemctl is-active web; systemctl show -p NRestarts web\n\
                 systemctl stop fork bare; ps -o args | grep -c 'sleep 100[13]$'; stat -c %U /var/lib/web; systemctl why tight | sed 's/^/why /'; journalctl -q -u web -o cat | head -2\n\
                 logger -t talker of syslog; wait_for 'journalctl -q -t talker | grep -q syslog'; journalctl -q -t talker -o cat; systemctl is-system-running\nsystemctl --no-block exit 7\n"
            ),
        );
        // made where no manager runs, as in a Dockerfile
        let enable = ["/usr/bin/systemctl", "enable", "-q", "web", "fork", "bare", "tight", "told", "tick.timer", "last"];
        Container::new(&bed, runtime, &tree, 0, &enable, &[]).run().run().exits(0);
        let container = Container::new(&bed, runtime, &tree, 0, &["/usr/bin/systemctl"], &["COLOUR=blue"]);
        let outcome = container.run().run();
        let text = std::fs::read_to_string(tree.at("/result")).unwrap_or_default();
        println!("{runtime}: {}\n--- result\n{text}", outcome.describe());
        outcome.exits(7).prints_with("tight runs").prints_with("colour blue");
        assert!(text.starts_with("active\nactive\nactive\nactive\nactive\nactive\nactive\nNRestarts=1\n0\nalice\n"), "{text}");
        assert!(text.contains("why ") && text.contains("ProtectSystem="), "what is not done is shown: {text}");
        assert!(
            text.contains("\nalice\ncolour blue\n") && text.contains("\nof syslog\nrunning\n") || text.contains("\nof syslog\nstarting\n"),
            "{text}"
        );
    }
}

#[test]
fn docker_stop_stops_services() {
    let Some(bed) = Bed::start() else { return };
    for runtime in runtimes() {
        let web = format!("[Service]\nExecStart=/bin/sh -c 'echo up; exec sleep 1000'\nExecStop=/bin/sh -c 'echo going > /gone'\n{WANTED}");
        let tree = plant(&bed, &[("web.service", &web)]);
        // a root that is none: another user, without capabilities
        for user in [0, 1000] {
            tree.write("/gone", "");
            std::os::unix::fs::chown(tree.at("/gone"), Some(user), Some(user)).expect("chown");
            let container = Container::new(&bed, runtime, &tree, user, &["/usr/bin/hostel", "init", "web"], &[]);
            let running = container.run().start();
            running.expect("up");
            container.call(&["kill", &container.name, "TERM"]).run().exits(0);
            let outcome = running.finish(Duration::from_secs(10));
            println!("{runtime} {user}: {}", outcome.describe());
            assert_eq!(std::fs::read_to_string(tree.at("/gone")).unwrap_or_default(), "going\n", "{runtime} {user}: {}", outcome.describe());
            outcome.exits(0);
        }
    }
}
