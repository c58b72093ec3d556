//! Mounts tried in a mount namespace of their own, private, on a directory that goes away.

use crate::attempts::{Row, content, unshare};
use crate::json::Json;
use crate::obj;
use crate::sys::{Ended, c, can_open, check, errno_name, in_child};

/// The rows.
pub const MOUNTS: &[Row] = &[
    ("mount_tmpfs", || mounted("tmpfs", "tmpfs", "", |_| Ok(()))),
    ("mount_proc", || mounted("proc", "proc", "", |_| Ok(()))),
    ("mount_proc_core_pattern", || mounted("proc", "proc", "", |at| can_open(format!("{at}/sys/kernel/core_pattern"), libc::O_WRONLY))),
    ("mount_proc_sysrq", || mounted("proc", "proc", "", |at| can_open(format!("{at}/sysrq-trigger"), libc::O_WRONLY))),
    ("mount_proc_kcore", || mounted("proc", "proc", "", |at| can_open(format!("{at}/kcore"), libc::O_RDONLY))),
    ("mount_sysfs", || mounted("sysfs", "sysfs", "", |_| Ok(()))),
    ("mount_sysfs_uevent_helper", || mounted("sysfs", "sysfs", "", |at| can_open(format!("{at}/kernel/uevent_helper"), libc::O_WRONLY))),
    ("mount_sysfs_power_state", || mounted("sysfs", "sysfs", "", |at| can_open(format!("{at}/power/state"), libc::O_WRONLY))),
    ("mount_cgroup2", || mounted("cgroup2", "cgroup2", "", |_| Ok(()))),
    ("mount_cgroup_v1_memory", || mounted("cgroup", "cgroup", "memory", |_| Ok(()))),
    ("mount_cgroup_v1_release_agent", || mounted("cgroup", "cgroup", "memory", |at| can_open(format!("{at}/release_agent"), libc::O_WRONLY))),
    ("mount_devtmpfs", || mounted("devtmpfs", "devtmpfs", "", |_| Ok(()))),
    ("mount_devpts", || mounted("devpts", "devpts", "", |_| Ok(()))),
    ("mount_mqueue", || mounted("mqueue", "mqueue", "", |_| Ok(()))),
    ("mount_debugfs", || mounted("debugfs", "debugfs", "", |_| Ok(()))),
    ("mount_tracefs", || mounted("tracefs", "tracefs", "", |_| Ok(()))),
    ("mount_securityfs", || mounted("securityfs", "securityfs", "", |_| Ok(()))),
    ("mount_bpffs", || mounted("bpf", "bpf", "", |_| Ok(()))),
    ("mount_configfs", || mounted("configfs", "configfs", "", |_| Ok(()))),
    ("mount_binfmt_misc", || mounted("binfmt_misc", "binfmt_misc", "", |at| can_open(format!("{at}/register"), libc::O_WRONLY))),
    ("mount_overlay", || mounted("overlay", "overlay", "lowerdir=/proc/self:/proc/self", |_| Ok(()))),
    ("mount_ext4_of_nothing", || mounted("/hostel-probe-none", "ext4", "", |_| Ok(()))),
    ("mount_bind", || {
        with_directory(|at| {
            check(i64::from(unsafe { libc::mount(c("/").as_ptr(), c(at).as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()) })).map(drop)
        })
    }),
    ("remount_proc_sys_writable", || {
        remounted("/proc/sys")?;
        can_open("/proc/sys/kernel/core_pattern", libc::O_WRONLY)
    }),
    ("remount_sys_writable", || {
        remounted("/sys")?;
        can_open("/sys/kernel/uevent_helper", libc::O_WRONLY)
    }),
    ("unmount_mask_kcore", || unmasked("/proc/kcore", libc::O_RDONLY)),
    ("unmount_mask_kallsyms", || unmasked("/proc/kallsyms", libc::O_RDONLY).and_then(|()| content("/proc/kallsyms"))),
    ("unmount_mask_sysrq", || unmasked("/proc/sysrq-trigger", libc::O_WRONLY)),
    ("unmount_proc_sys", || unmasked("/proc/sys", libc::O_RDONLY).and_then(|()| can_open("/proc/sys/kernel/core_pattern", libc::O_WRONLY))),
    ("fsopen", || check(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 1) }).map(drop)),
    ("fsmount_bad", || check(unsafe { libc::syscall(libc::SYS_fsmount, -1, 0, 0) }).map(drop)),
    ("open_tree_clone", || check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), 1) }).map(drop)),
    ("move_mount_bad", || check(unsafe { libc::syscall(libc::SYS_move_mount, -1, c"".as_ptr(), -1, c"".as_ptr(), 0x44) }).map(drop)),
    ("mount_setattr_bad", || {
        let attributes = [0u64; 4];
        check(unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0x1000, attributes.as_ptr(), 32) }).map(drop)
    }),
];

/// A private mount namespace; nothing done in it is seen elsewhere.
fn own_mounts() -> Result<(), i32> {
    unshare(libc::CLONE_NEWNS)?;
    check(i64::from(unsafe { libc::mount(std::ptr::null(), c("/").as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) }))
        .map(drop)
}

fn with_directory(act: impl FnOnce(&str) -> Result<(), i32>) -> Result<(), i32> {
    let own = own_mounts();
    let mut at = String::new();
    for dir in ["/tmp", "/run", "/dev/shm", "/mnt"] {
        at = format!("{dir}/.probe-mount-{}", std::process::id());
        if std::fs::create_dir(&at).is_ok() {
            break;
        }
    }
    // without a namespace of its own a mount is still tried, and taken away at once
    let result = act(&at);
    unsafe { libc::umount2(c(&at).as_ptr(), libc::MNT_DETACH) };
    let _ = std::fs::remove_dir(&at);
    match (own, result) {
        (Err(e), Err(_)) => Err(e),
        (_, result) => result,
    }
}

fn mounted(source: &str, kind: &str, data: &str, then: fn(&str) -> Result<(), i32>) -> Result<(), i32> {
    with_directory(|at| {
        let data = c(data);
        check(i64::from(unsafe { libc::mount(c(source).as_ptr(), c(at).as_ptr(), c(kind).as_ptr(), 0, data.as_ptr().cast()) }))?;
        then(at)
    })
}

fn remounted(path: &str) -> Result<(), i32> {
    own_mounts()?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    check(i64::from(unsafe { libc::mount(std::ptr::null(), c(path).as_ptr(), std::ptr::null(), flags, std::ptr::null()) })).map(drop)
}

fn unmasked(path: &str, flags: i32) -> Result<(), i32> {
    own_mounts()?;
    match check(i64::from(unsafe { libc::umount2(c(path).as_ptr(), libc::MNT_DETACH) })) {
        // A locked mount; or no mount at all, then there is nothing in the way.
        Err(libc::EINVAL) if is_mount(path) => return Err(libc::EPERM),
        Err(libc::EINVAL) => {}
        other => drop(other?),
    }
    can_open(path, flags)
}

fn is_mount(path: &str) -> bool {
    let mut seen: libc::statx = unsafe { std::mem::zeroed() };
    let found = unsafe { libc::statx(libc::AT_FDCWD, c(path).as_ptr(), libc::AT_NO_AUTOMOUNT, 0, &raw mut seen) };
    found == 0 && seen.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0
}

/// Tries to take each mask off in the mount namespace as it is, in children that see the effect; says what then opens.
pub fn unmask() -> Json {
    const MASKS: [&str; 8] =
        ["/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger", "/proc/sys", "/proc/irq", "/proc/bus"];
    let tried = |path: &&str| {
        let said = |ended: Ended| match ended {
            Ended::Said(0) => "ok".to_string(),
            Ended::Said(e) | Ended::NoFork(e) => errno_name(e),
            Ended::Killed(s) => format!("signal {s}"),
        };
        let path = *path;
        let flags = libc::MS_REMOUNT | libc::MS_BIND;
        let remount = in_child(move || {
            own_mounts()?;
            check(i64::from(unsafe { libc::mount(std::ptr::null(), c(path).as_ptr(), std::ptr::null(), flags, std::ptr::null()) })).map(drop)
        });
        let unmount = in_child(move || {
            own_mounts()?;
            check(i64::from(unsafe { libc::umount2(c(path).as_ptr(), libc::MNT_DETACH) })).map(drop)
        });
        (path.to_string(), obj! {"remount" => said(remount), "unmount" => said(unmount)})
    };
    Json::Obj(MASKS.iter().map(tried).collect())
}
