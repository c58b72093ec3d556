//! Everything one process can say about itself and its surroundings.

use std::ffi::CStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::json::Json;
use crate::sys::{errno, errno_name};
use crate::{acts, net, obj, paths};

const CAPS: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

fn text(path: &str) -> Json {
    match std::fs::read(path) {
        Ok(b) => Json::bytes(b.trim_ascii_end()),
        Err(e) => obj! {"error" => errno_name(e.raw_os_error().unwrap_or(0))},
    }
}

fn link(path: &str) -> Json {
    match std::fs::read_link(path) {
        Ok(l) => l.to_string_lossy().as_ref().into(),
        Err(e) => obj! {"error" => errno_name(e.raw_os_error().unwrap_or(0))},
    }
}

fn lines(path: &str) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| String::from_utf8_lossy(l).into_owned()).collect()
}

fn numbers(line: &str) -> Vec<i64> {
    line.split_whitespace().filter_map(|w| w.parse().ok()).collect()
}

fn strings(path: &str) -> Vec<Json> {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.split(|b| *b == 0).filter(|s| !s.is_empty()).map(Json::bytes).collect()
}

/// The whole view.
pub fn look() -> Json {
    let fds = descriptors(); // first: what we open ourselves must not be among them
    let status = lines("/proc/self/status");
    let field = |name: &str| status.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim().to_string();
    let cap = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or(0);
    let sets = [("inh", "CapInh"), ("prm", "CapPrm"), ("eff", "CapEff"), ("bnd", "CapBnd"), ("amb", "CapAmb")];
    let cap_names =
        |set: u64| (0..64).filter(|n| set >> n & 1 == 1).map(|n| CAPS.get(n).map_or_else(|| n.to_string(), |s| (*s).to_string())).collect::<Vec<_>>();
    let prctl = |what: i32| unsafe { libc::prctl(what, 0, 0, 0, 0) };
    let ids = |name: &str| numbers(&field(name));
    obj! {
        "pid" => std::process::id(), "ppid" => unsafe { libc::getppid() }, "pgid" => unsafe { libc::getpgrp() }, "sid" => unsafe { libc::getsid(0) },
        "uid" => ids("Uid"), "gid" => ids("Gid"), "groups" => ids("Groups"),
        "uid_map" => lines("/proc/self/uid_map").iter().map(|l| numbers(l)).collect::<Vec<_>>(),
        "gid_map" => lines("/proc/self/gid_map").iter().map(|l| numbers(l)).collect::<Vec<_>>(),
        "setgroups" => text("/proc/self/setgroups"),
        "caps" => Json::Obj(sets.iter().map(|(k, f)| ((*k).to_string(), cap_names(cap(f)).into())).collect()),
        "caps_hex" => Json::Obj(sets.iter().map(|(k, f)| ((*k).to_string(), field(f).into())).collect()),
        "no_new_privs" => field("NoNewPrivs"), "seccomp" => field("Seccomp"), "seccomp_filters" => field("Seccomp_filters"),
        "threads" => field("Threads"), "tracer" => field("TracerPid"), "ns_pid" => field("NSpid"),
        "signals" => obj! {"pending" => field("SigPnd"), "blocked" => field("SigBlk"), "ignored" => field("SigIgn"), "caught" => field("SigCgt")},
        "dumpable" => prctl(libc::PR_GET_DUMPABLE), "securebits" => prctl(libc::PR_GET_SECUREBITS),
        "keep_caps" => prctl(libc::PR_GET_KEEPCAPS), "timer_slack" => prctl(libc::PR_GET_TIMERSLACK),
        "subreaper" => by_pointer(libc::PR_GET_CHILD_SUBREAPER), "parent_death_signal" => by_pointer(libc::PR_GET_PDEATHSIG),
        "namespaces" => namespaces(),
        "cwd" => link("/proc/self/cwd"), "exe" => link("/proc/self/exe"), "root" => link("/proc/self/root"),
        "argv" => strings("/proc/self/cmdline"), "comm" => text("/proc/self/comm"), "env" => environment(),
        "pid1" => obj! {"env" => strings("/proc/1/environ"), "argv" => strings("/proc/1/cmdline"), "exe" => link("/proc/1/exe"), "comm" => text("/proc/1/comm")},
        "fds" => fds, "tty" => terminal(),
        "umask" => format!("{:03o}", unsafe { let m = libc::umask(0); libc::umask(m); m }),
        "rlimits" => rlimits(), "oom_score_adj" => text("/proc/self/oom_score_adj"), "affinity" => affinity(),
        "personality" => unsafe { libc::personality(0xffff_ffff) }, "nice" => unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
        "loginuid" => text("/proc/self/loginuid"),
        "hostname" => uname().0, "domainname" => uname().1, "machine" => uname().2,
        "cgroup" => lines("/proc/self/cgroup"), "mounts" => mounts(),
        "dev" => paths::below("/dev", false), "run_host" => paths::below("/run/host", true),
        "top" => top_level(), "readable" => paths::readable(), "writable" => paths::writable(),
        "net" => net::interfaces(), "session_keyring" => keyring(),
        "machine_id" => text("/etc/machine-id"), "boot_id" => text("/proc/sys/kernel/random/boot_id"),
        "os_release" => lines("/etc/os-release"), "resolv_conf" => lines("/etc/resolv.conf"), "localtime" => link("/etc/localtime"),
        "user_namespaces_max" => text("/proc/sys/user/max_user_namespaces"),
        "pids" => pids(),
    }
}

fn by_pointer(what: i32) -> i32 {
    let mut value = 0i32;
    unsafe { libc::prctl(what, &raw mut value) };
    value
}

/// The environment as the kernel handed it over: bytes, order, duplicates.
fn environment() -> Vec<Json> {
    strings("/proc/self/environ")
}

fn namespaces() -> Json {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let inode = |k: &&str| std::fs::read_link(format!("/proc/self/ns/{k}")).ok().map(|l| l.to_string_lossy().into_owned());
    let number = |l: String| l.split(['[', ']']).nth(1).and_then(|n| n.parse::<u64>().ok());
    Json::Obj(kinds.iter().map(|k| ((*k).to_string(), inode(k).and_then(number).into())).collect())
}

/// Open descriptors but the one used to list them.
fn descriptors() -> Json {
    let own = format!("/proc/{}/fd", std::process::id());
    let mut found: Vec<(i32, String)> = match std::fs::read_dir("/proc/self/fd") {
        Ok(list) => list
            .flatten()
            .filter_map(|e| {
                let fd = e.file_name().to_str()?.parse().ok()?;
                Some((fd, std::fs::read_link(e.path()).map_or_else(|e| e.to_string(), |l| l.to_string_lossy().into_owned())))
            })
            .filter(|(_, target)| *target != own)
            .collect(),
        Err(_) => (0..1024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1).map(|fd| (fd, "?".to_string())).collect(),
    };
    found.sort();
    let describe = |(fd, target): &(i32, String)| {
        let mut st: libc::stat = unsafe { std::mem::zeroed() };
        let mut fs: libc::statfs = unsafe { std::mem::zeroed() };
        unsafe { (libc::fstat(*fd, &raw mut st), libc::fstatfs(*fd, &raw mut fs)) };
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFL) };
        obj! {
            "fd" => *fd, "target" => target.as_str(), "mode" => format!("{:o}", st.st_mode), "dev" => st.st_dev, "inode" => st.st_ino,
            "device" => format!("{}:{}", libc::major(st.st_rdev), libc::minor(st.st_rdev)), "fstype" => format!("{:x}", fs.f_type as u64),
            "flags" => format!("{flags:o}"), "directory" => st.st_mode & libc::S_IFMT == libc::S_IFDIR,
            "cloexec" => unsafe { libc::fcntl(*fd, libc::F_GETFD) } & libc::FD_CLOEXEC != 0,
        }
    };
    Json::Arr(found.iter().map(describe).collect())
}

fn terminal() -> Json {
    let on = |fd: i32| {
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}")).map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        let tty = unsafe { libc::tcgetattr(fd, &raw mut modes) } == 0;
        obj! {
            "tty" => tty, "name" => name, "size" => acts::window(fd).map(|(r, c)| vec![r, c]),
            "foreground" => unsafe { libc::tcgetpgrp(fd) },
            "echo" => modes.c_lflag & libc::ECHO != 0, "canonical" => modes.c_lflag & libc::ICANON != 0,
            "crlf" => modes.c_oflag & libc::ONLCR != 0 && modes.c_oflag & libc::OPOST != 0,
        }
    };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or("");
    let number = after.split_whitespace().nth(4).and_then(|w| w.parse::<i64>().ok()).unwrap_or(0);
    let device = (number != 0).then(|| format!("{}:{}", libc::major(number as _), libc::minor(number as _)));
    let opens = std::fs::File::open("/dev/tty").map_or_else(|e| errno_name(e.raw_os_error().unwrap_or(0)), |_| "ok".into());
    let console = std::fs::metadata("/dev/console").ok().map(|m| format!("{}:{}", libc::major(m.rdev()), libc::minor(m.rdev())));
    let is_char = std::fs::metadata("/dev/console").is_ok_and(|m| m.file_type().is_char_device());
    obj! {"controlling" => device, "dev_tty" => opens, "stdin" => on(0), "stdout" => on(1), "stderr" => on(2), "console" => console, "console_is_char" => is_char}
}

fn rlimits() -> Json {
    let names = [
        "cpu",
        "fsize",
        "data",
        "stack",
        "core",
        "rss",
        "nproc",
        "nofile",
        "memlock",
        "as",
        "locks",
        "sigpending",
        "msgqueue",
        "nice",
        "rtprio",
        "rttime",
    ];
    let value = |n: u64| if n == u64::MAX { Json::from("infinity") } else { Json::from(n) };
    let pair = |i: usize| {
        let mut limit = [0u64; 2];
        unsafe { libc::syscall(libc::SYS_prlimit64, 0, i as i32, std::ptr::null::<u8>(), limit.as_mut_ptr()) };
        Json::Arr(vec![value(limit[0]), value(limit[1])])
    };
    Json::Obj(names.iter().enumerate().map(|(i, n)| ((*n).to_string(), pair(i))).collect())
}

fn affinity() -> Vec<u32> {
    let mut set = [0u64; 16];
    unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, 128usize, set.as_mut_ptr()) };
    (0..1024u32).filter(|n| set[*n as usize / 64] >> (n % 64) & 1 == 1).collect()
}

fn uname() -> (String, String, String) {
    let mut u: libc::utsname = unsafe { std::mem::zeroed() };
    unsafe { libc::uname(&raw mut u) };
    let read = |p: &[libc::c_char]| unsafe { CStr::from_ptr(p.as_ptr()) }.to_string_lossy().into_owned();
    (read(&u.nodename), read(&u.domainname), read(&u.machine))
}

/// /proc/self/mountinfo, one object a line.
pub fn mounts() -> Json {
    let parse = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let dash = words.iter().position(|w| *w == "-").unwrap_or(words.len() - 1);
        let at = |i: usize| words.get(i).copied().unwrap_or("");
        let tags = words.get(6..dash).unwrap_or(&[]);
        let options = |w: &str| w.split(',').map(str::to_string).collect::<Vec<_>>();
        let tag = |name: &str| tags.iter().find_map(|t| t.strip_prefix(name)).map(str::to_string);
        obj! {
            "id" => at(0), "parent" => at(1), "device" => at(2), "root" => unescape(at(3)), "target" => unescape(at(4)), "options" => options(at(5)),
            "shared" => tag("shared:"), "master" => tag("master:"), "type" => at(dash + 1), "source" => unescape(at(dash + 2)), "super" => options(at(dash + 3)),
        }
    };
    Json::Arr(lines("/proc/self/mountinfo").iter().map(parse).collect())
}

fn unescape(word: &str) -> String {
    let mut out = Vec::new();
    let bytes = word.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes.get(i + 1..i + 4).filter(|_| bytes[i] == b'\\').and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match octal {
            Some(b) => {
                out.push(b);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Names, owners and modes of the directories right below the root.
fn top_level() -> Json {
    let mut names: Vec<_> = std::fs::read_dir("/").map(|l| l.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    names.push("/".into());
    names.sort();
    let one = |p: &std::path::PathBuf| {
        let seen = std::fs::symlink_metadata(p).ok();
        let value = obj! {
            "mode" => seen.as_ref().map(|m| format!("{:o}", m.mode())), "uid" => seen.as_ref().map(MetadataExt::uid),
            "gid" => seen.as_ref().map(MetadataExt::gid), "link" => std::fs::read_link(p).ok().map(|l| l.to_string_lossy().into_owned()),
        };
        (p.to_string_lossy().into_owned(), value)
    };
    Json::Obj(names.iter().map(one).collect())
}

/// The id of the session keyring, without creating one; its error when the call is denied.
fn keyring() -> Json {
    let id = unsafe {
        libc::syscall(libc::SYS_keyctl, 0 /* GET_KEYRING_ID */, -3i64, 0)
    };
    if id == -1 { errno_name(errno()).into() } else { id.into() }
}

fn pids() -> Vec<i64> {
    let mut all: Vec<i64> =
        std::fs::read_dir("/proc").map(|l| l.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()).unwrap_or_default();
    all.sort_unstable();
    all
}
