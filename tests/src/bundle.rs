//! OCI bundles for one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Bed, Invocation, Tree, View};

/// A bundle of a busybox tree, and its configuration to be changed.
pub struct Bundle {
    /// Its directory.
    pub path: PathBuf,
    /// What `config.json` will say.
    pub config: Value,
}

impl Bundle {
    /// A bundle whose program is `true`, with the usual mounts and namespaces.
    pub fn new(bed: &Bed) -> Bundle {
        let tree: Tree = bed.busybox();
        let path = bed.fresh("bundle");
        std::fs::rename(tree.path(), path.join("rootfs")).expect("move the tree");
        let caps = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_MKNOD"]);
        let config = json!({
            "ociVersion": "1.0.2-dev",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/true"],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
                "cwd": "/",
                "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
                "noNewPrivileges": true
            },
            "root": {"path": "rootfs"},
            "hostname": "inside",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
            ],
            "linux": {
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/no-such-thing"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/sys", "/no/such"]
            }
        });
        Bundle { path, config }
    }
    /// Replaces what is at a JSON pointer, whose parent exists.
    pub fn set(mut self, pointer: &str, value: Value) -> Bundle {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = self.config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        match parent {
            Value::Array(list) if key == "-" => list.push(value),
            Value::Object(map) => drop(map.insert(key.to_owned(), value)),
            other => panic!("{other} at {pointer}"),
        }
        self
    }
    /// Runs a script.
    pub fn sh(self, script: &str) -> Bundle {
        self.set("/process/args", json!(["/bin/sh", "-c", script]))
    }
    /// New namespaces of these kinds.
    pub fn namespaces(self, kinds: &[&str]) -> Bundle {
        let list: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
        self.set("/linux/namespaces", list.into())
    }
    /// A user namespace with the ids from 700000 on, which the tree has, and the right to mount in it.
    pub fn own_users(self) -> Bundle {
        let map = json!([{"containerID": 0, "hostID": 700_000, "size": 65536}]);
        let chown = Command::new("chown").args(["-R", "700000:700000"]).arg(self.at("")).status().expect("chown");
        assert!(chown.success());
        let caps = json!(["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]);
        self.namespaces(&["pid", "network", "ipc", "uts", "mount", "cgroup", "user"])
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
            .set("/process/capabilities", json!({"bounding": caps, "effective": caps, "permitted": caps}))
    }
    /// Writes `config.json`.
    pub fn write(&self) {
        std::fs::write(self.path.join("config.json"), serde_json::to_vec_pretty(&self.config).expect("JSON")).expect("write config.json");
    }
    /// A path of its tree, on the host.
    pub fn at(&self, inside: &str) -> PathBuf {
        self.path.join("rootfs").join(inside.trim_start_matches('/'))
    }
    /// hostel on it, with further options.
    pub fn run<const N: usize>(&self, bed: &Bed, more: [&str; N]) -> Invocation {
        self.write();
        bed.hostel(["nspawn", "--register=no"])
            .arg(format!("--oci-bundle={}", self.path.display()))
            .arg(format!("--machine={}", bed.name()))
            .args(more)
    }
    /// What the probe sees in it.
    pub fn view(self, bed: &Bed) -> View {
        let bundle = self.set("/process/args", json!(["/probe", "json"]));
        bundle.run(bed, []).run().exits(0).view()
    }
}

/// Writes a shell script that can be executed; its path.
pub fn script(path: &Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("write script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    path.display().to_string()
}
