//! What lies in /dev and /run/host, and which paths can be read or opened for writing.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::json::Json;
use crate::obj;
use crate::sys::{can_open, errno_name};

/// One entry: type, mode, owner, device number or link target.
fn entry(path: &Path) -> Json {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(m) => m,
        Err(e) => return obj! {"path" => path.to_string_lossy().as_ref(), "error" => errno_name(e.raw_os_error().unwrap_or(0))},
    };
    let link = std::fs::read_link(path).ok().map(|l| l.to_string_lossy().into_owned());
    let device = meta.file_type().is_char_device() || meta.file_type().is_block_device();
    obj! {
        "path" => path.to_string_lossy().as_ref(),
        "type" => kind(&meta.file_type()),
        "mode" => format!("{:o}", meta.mode() & 0o7777),
        "uid" => meta.uid(), "gid" => meta.gid(), "size" => meta.size(),
        "device" => device.then(|| format!("{}:{}", libc::major(meta.rdev()), libc::minor(meta.rdev()))),
        "link" => link,
    }
}

fn kind(t: &std::fs::FileType) -> &'static str {
    if t.is_symlink() {
        "link"
    } else if t.is_dir() {
        "dir"
    } else if t.is_file() {
        "file"
    } else if t.is_char_device() {
        "char"
    } else if t.is_block_device() {
        "block"
    } else if t.is_fifo() {
        "fifo"
    } else {
        "socket"
    }
}

/// Everything below `top`, not following links; at most 2000 entries; text of small files when `content`.
pub fn below(top: &str, content: bool) -> Json {
    let mut out = Vec::new();
    let mut todo = vec![std::path::PathBuf::from(top)];
    while let Some(dir) = todo.pop() {
        let Ok(list) = std::fs::read_dir(&dir) else { continue };
        let mut names: Vec<_> = list.flatten().map(|e| e.path()).collect();
        names.sort();
        for path in names {
            let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
            let mut seen = entry(&path);
            if content
                && meta.is_file()
                && meta.len() < 4096
                && let (Json::Obj(pairs), Ok(text)) = (&mut seen, std::fs::read(&path))
            {
                pairs.push(("text".into(), Json::bytes(&text)));
            }
            out.push(seen);
            if meta.is_dir() && out.len() < 2000 {
                todo.push(path);
            }
        }
    }
    Json::Arr(out)
}

const READ: &[&str] = &[
    "/proc/kcore",
    "/proc/kallsyms",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sysrq-trigger",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/slabinfo",
    "/proc/vmallocinfo",
    "/proc/pagetypeinfo",
    "/proc/mtrr",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/asound",
    "/proc/bus",
    "/proc/irq",
    "/proc/fs",
    "/proc/interrupts",
    "/proc/sched_debug",
    "/proc/sys",
    "/proc/sys/kernel/random/boot_id",
    "/proc/1/environ",
    "/proc/1/exe",
    "/proc/1/root",
    "/proc/1/cwd",
    "/sys",
    "/sys/firmware",
    "/sys/firmware/efi",
    "/sys/firmware/dmi",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/power",
    "/sys/fs/cgroup",
    "/sys/fs/bpf",
    "/sys/class/net",
    "/sys/block",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/port",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/loop-control",
    "/dev/vda",
    "/dev/sda",
    "/dev/mqueue",
    "/dev/shm",
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/etc/localtime",
    "/run/host",
    "/run/host/os-release",
];

const WRITE: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/proc/kcore",
    "/proc/mtrr",
    "/proc/irq/default_smp_affinity",
    "/proc/scsi/scsi",
    "/proc/self/oom_score_adj",
    "/proc/self/uid_map",
    "/proc/1/mem",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/profiling",
    "/sys/module/printk/parameters/time",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/cgroup.subtree_control",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/devices/devices.allow",
    "/sys/class/net/lo/mtu",
    "/run/host/os-release",
    "/run/host/container-manager",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/etc/os-release",
    "/usr/lib/os-release",
];

/// For each path that must not be read: `ok`, or why not; with what lies there.
pub fn readable() -> Json {
    let verdict = |path: &&str| {
        let opened = can_open(path, libc::O_RDONLY);
        let empty = opened.is_ok().then(|| first_bytes(path)).flatten().map(|n| n == 0);
        let seen = match entry(Path::new(path)) {
            Json::Obj(mut pairs) => {
                pairs[0] = ("read".into(), Json::Str(opened.err().map_or_else(|| "ok".into(), errno_name)));
                pairs.push(("empty".into(), empty.into()));
                Json::Obj(pairs)
            }
            other => other,
        };
        ((*path).to_string(), seen)
    };
    Json::Obj(READ.iter().map(verdict).collect())
}

/// How many bytes (at most 16) or entries a first look gives; `None` when it cannot be looked at without blocking.
fn first_bytes(path: &str) -> Option<usize> {
    if path == "/proc/kmsg" || path.starts_with("/dev/") || path == "/proc/kcore" {
        return None;
    }
    let meta = std::fs::metadata(path).ok()?;
    if meta.is_dir() {
        return Some(std::fs::read_dir(path).ok()?.take(16).count());
    }
    if !meta.is_file() {
        return None;
    }
    let mut buffer = [0u8; 16];
    std::io::Read::read(&mut std::fs::File::open(path).ok()?, &mut buffer).ok()
}

/// For each path: could it be opened for writing? Nothing is ever written.
pub fn writable() -> Json {
    Json::Obj(WRITE.iter().map(|p| ((*p).to_string(), can_open(p, libc::O_WRONLY).err().map_or_else(|| "ok".into(), errno_name).into())).collect())
}
