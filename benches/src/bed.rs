//! Where measuring happens: static programs, a small tree, a mount namespace whose /run is its own, a network of its own.
//!
//! Everything made here vanishes at the end: the mounts with the namespace, the work directory and the cgroups by `Drop`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, unmount};

use crate::options::Options;
use crate::{Result, peers};

const PROGRAMS: &str = "HOSTEL_BENCH_PROGRAMS";

/// Builds the static programs; returns the directory they are in.
pub(crate) fn build(options: &Options) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--quiet", "--target", &target, "-p", "hostel-floor"]);
    if options.hostel.is_none() {
        command.args(["-p", "hostel"]);
    }
    if !options.dev {
        command.arg("--release");
    }
    let status = command.status().map_err(|e| format!("start cargo: {e}"))?;
    if !status.success() {
        return Err(format!("build static programs: cargo ended with {status} (rustup target add {target})"));
    }
    let target_dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target_dir.join(target).join(if options.dev { "debug" } else { "release" }))
}

/// Whether this is the process that measures.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(PROGRAMS).is_some()
}

/// Runs this program again in a mount and a network namespace of its own.
pub(crate) fn enter(args: &[String], options: &Options, programs: &Path) -> Result<()> {
    let own = std::env::current_exe().map_err(|e| format!("find this program: {e}"))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private"]);
    if options.realtime {
        command.args(["chrt", "--fifo", "1"]);
    }
    command.arg(own).args(args).env(PROGRAMS, programs);
    let status = command.status().map_err(|e| format!("start unshare: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
}

/// The prepared place.
pub(crate) struct Bed {
    /// Work directory, absolute.
    pub(crate) work: PathBuf,
    /// The tree; its name is the machine's.
    pub(crate) tree: String,
    /// Another one, for a second machine at the same time.
    pub(crate) other_tree: String,
    pub(crate) hostel: String,
    pub(crate) floor: String,
    /// A Rust program that does nothing.
    pub(crate) rust_true: String,
    /// Words to put before a peer that wants to see no cgroup2 beside v1; empty where all is v2.
    pub(crate) v1_view: Vec<String>,
    viewer: Option<Child>,
    had_group: bool,
}

impl Bed {
    /// Inside the namespace: prepares everything.
    pub(crate) fn make(options: &Options) -> Result<Bed> {
        let programs = PathBuf::from(std::env::var_os(PROGRAMS).unwrap_or_default());
        let program = |name: &str| programs.join(name).to_string_lossy().into_owned();
        let failed = |what: &'static str| move |e: rustix::io::Errno| format!("{what}: {e}");
        // On every distribution /run is a tmpfs; and what the programs keep there is none of the host's business.
        mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755").map_err(failed("mount tmpfs on /run"))?;
        std::fs::create_dir("/run/lock").map_err(|e| format!("make /run/lock: {e}"))?;
        prefer_us();
        let work = PathBuf::from(format!("/var/tmp/hostel-bench-{}", std::process::id()));
        let tree = work.join(format!("bench-{}", std::process::id()));
        let mut bed = Bed {
            tree: tree.to_string_lossy().into_owned(),
            other_tree: work.join("other").to_string_lossy().into_owned(),
            hostel: options.hostel.clone().unwrap_or_else(|| program("hostel")),
            floor: program("hostel-floor"),
            rust_true: program("bench-rust-true"),
            v1_view: Vec::new(),
            viewer: None,
            had_group: group("hostel").is_some_and(|g| g.exists()),
            work,
        };
        bed.hostel = std::fs::canonicalize(&bed.hostel).map_err(|e| format!("find {}: {e}", bed.hostel))?.to_string_lossy().into_owned();
        own_sysfs(&bed.work)?;
        make_tree(&tree, &programs)?;
        make_tree(Path::new(&bed.other_tree), &programs)?;
        bed.make_view(&program("bench-view"))?;
        peers::configure(&bed)?;
        Ok(bed)
    }

    /// crun refuses hosts that mount cgroup2 beside v1; it gets a namespace in which that is not so.
    fn make_view(&mut self, enter: &str) -> Result<()> {
        if !Path::new("/sys/fs/cgroup/unified").exists() {
            return Ok(());
        }
        let ready = self.work.join("view");
        let script = "umount /sys/fs/cgroup/unified && : >\"$1\"; exec sleep 1000000";
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("start unshare: {e}"))?;
        self.v1_view = vec![enter.to_owned(), format!("/proc/{}/ns/mnt", child.id())];
        self.viewer = Some(child);
        wait_for(2000, || ready.exists().then_some(())).ok_or("make a view without cgroup2: it did not come to be").map_err(str::to_owned)
    }

    /// A path in the work directory.
    pub(crate) fn at(&self, name: &str) -> String {
        self.work.join(name).to_string_lossy().into_owned()
    }

    /// The machine's name when nobody gives it one.
    pub(crate) fn machine(&self) -> &str {
        self.tree.rsplit('/').next().unwrap_or_default()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut viewer) = self.viewer.take() {
            let _ = viewer.kill();
            let _ = viewer.wait();
        }
        peers::clean(self);
        for name in ["hostel-floor/.devices", "hostel-floor"] {
            remove_group(name);
        }
        if !self.had_group {
            for name in ["hostel/.devices-1", "hostel"] {
                remove_group(name);
            }
        }
        let _ = std::fs::remove_dir_all(&self.work);
    }
}

/// The v2 directory of that name.
fn group(name: &str) -> Option<PathBuf> {
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new).find(|p| p.join("cgroup.procs").exists()).map(|p| p.join(name))
}

/// Removes an empty group in every hierarchy.
fn remove_group(name: &str) {
    let _ = group(name).map(std::fs::remove_dir);
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(hierarchy.path().join(name));
    }
}

/// Highest priority, as a group of our own where the kernel groups tasks by session.
fn prefer_us() {
    // What cannot be had costs precision, not truth.
    let _ = rustix::process::setpriority_process(None, -20);
    if rustix::process::setsid().is_ok() {
        let _ = std::fs::write("/proc/self/autogroup", "-20");
    }
}

/// A sysfs of this network namespace, with the cgroups where they were: LXC looks for its bridge below /sys/class/net.
fn own_sysfs(work: &Path) -> Result<()> {
    let failed = |what: &'static str| move |e: rustix::io::Errno| format!("{what}: {e}");
    let new = work.join("sys");
    std::fs::create_dir_all(&new).map_err(|e| format!("make {}: {e}", new.display()))?;
    mount("sysfs", &new, "sysfs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c"").map_err(failed("mount a sysfs"))?;
    mount_bind_recursive("/sys/fs/cgroup", new.join("fs/cgroup")).map_err(failed("bind the cgroups"))?;
    mount_bind_recursive(&new, "/sys").map_err(failed("mount a sysfs on /sys"))?;
    unmount(&new, UnmountFlags::DETACH).map_err(failed("unmount the sysfs"))
}

/// The least that every tool takes for a system tree.
fn make_tree(tree: &Path, programs: &Path) -> Result<()> {
    let failed = |e: std::io::Error| format!("make tree {}: {e}", tree.display());
    for dir in ["usr/bin", "usr/lib", "etc", "var", "root", "proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "run", "tmp", "mnt"] {
        std::fs::create_dir_all(tree.join(dir)).map_err(failed)?;
    }
    for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/bin"), ("lib", "usr/lib")] {
        std::os::unix::fs::symlink(target, tree.join(link)).map_err(failed)?;
    }
    std::fs::write(tree.join("usr/lib/os-release"), "ID=bench\nNAME=bench\n").map_err(failed)?;
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").map_err(failed)?;
    std::fs::write(tree.join("etc/group"), "root:x:0:\n").map_err(failed)?;
    // As a second start finds it: the first one writes it.
    std::fs::copy("/etc/resolv.conf", tree.join("etc/resolv.conf")).map_err(failed)?;
    if let Ok(zone) = std::fs::read_link("/etc/localtime") {
        let file = Path::new("/etc").join(&zone);
        let inside = tree.join(file.strip_prefix("/").unwrap_or(&file));
        let made = inside.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::copy(&file, &inside).map(drop));
        made.and_then(|()| std::os::unix::fs::symlink(zone, tree.join("etc/localtime"))).map_err(failed)?;
    }
    for (from, to) in [("bench-true", "true"), ("bench-sleep", "sleep")] {
        std::fs::copy(programs.join(from), tree.join("usr/bin").join(to)).map_err(failed)?;
    }
    Ok(())
}

/// Asks until there is an answer, at most so many milliseconds.
pub(crate) fn wait_for<T>(milliseconds: u64, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..milliseconds {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    None
}
