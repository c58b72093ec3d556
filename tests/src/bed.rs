//! One test's place on the machine, and its cleaning up.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::Pid;

use crate::leftovers::{Leftovers, forget_journals, forget_kept_groups};
use crate::{Invocation, Tree};

/// A scratch directory, a state directory and names that no other test has.
pub struct Bed {
    id: String,
    dir: PathBuf,
    /// Its lock says that the bed is in use.
    _held: File,
    next: AtomicU32,
    pub(crate) undo: std::sync::Mutex<Vec<Undo>>,
    allow_leftovers: std::cell::Cell<bool>,
}

/// What the bed itself did to the machine and takes back.
pub(crate) enum Undo {
    Unmount(PathBuf),
}

/// Waits until `yes` is true, asking every 10 ms; false after `limit`.
pub fn eventually(limit: Duration, mut yes: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if yes() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

static BEDS: AtomicU32 = AtomicU32::new(0);

impl Bed {
    /// A fresh bed; `None`, with the reason printed, when this process may not run machines.
    pub fn start() -> Option<Bed> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return None;
        }
        // What a killed supervisor leaves behind becomes our child instead of PID 1's: seen, killed, reaped.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        reap_machines_orphans();
        own_network();
        let id = format!("t{}{}", base36(std::process::id()), base36(BEDS.fetch_add(1, Ordering::Relaxed)));
        let top = std::env::var_os("HOSTEL_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp/hostel-tests"), PathBuf::from);
        let dir = top.join(&id);
        let _ = std::fs::create_dir_all(&top);
        // Nobody sweeps a bed that is not locked yet.
        let all = hold(&top, FlockOperation::LockExclusive).unwrap_or_else(|| panic!("lock {}", top.display()));
        sweep(&top);
        std::fs::create_dir_all(dir.join("run")).unwrap_or_else(|e| panic!("make {}: {e}", dir.display()));
        let _ = std::fs::set_permissions(dir.join("run"), std::fs::Permissions::from_mode(0o700));
        let held = hold(&dir, FlockOperation::NonBlockingLockExclusive).unwrap_or_else(|| panic!("lock {}: it is in use", dir.display()));
        std::fs::write(dir.join(MARK), mark(&id)).unwrap_or_else(|e| panic!("mark {}: {e}", dir.display()));
        drop(all);
        let bed = Bed { id, dir, _held: held, next: AtomicU32::new(0), undo: Default::default(), allow_leftovers: Default::default() };
        Some(bed)
    }

    /// A word no other test uses; every name, directory and cgroup of this test contains it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The scratch directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the machines' state is instead of /run/hostel.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A fresh machine name.
    pub fn name(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}{}", self.id, (b'a' + (n % 26) as u8) as char) + &if n >= 26 { base36(n / 26) } else { String::new() }
    }

    /// A fresh empty directory in the scratch place.
    pub fn fresh(&self, what: &str) -> PathBuf {
        let path = self.dir.join(format!("{what}-{}", self.name()));
        std::fs::create_dir(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        path
    }

    /// `hostel ARGS…` of the binary under test.
    pub fn hostel<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Invocation {
        Invocation::new(binary("hostel", "HOSTEL_BIN"))
            .args(args)
            .env("HOSTEL_RUNTIME_DIR", self.runtime_dir())
            .env("HOSTEL_TEST_SECRET", "this must not reach a machine")
            .dir(&self.dir)
    }

    /// `hostel nspawn -q -D TREE ARGS…`, systemd-nspawn's personality, quiet and without a bus.
    pub fn nspawn<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, tree: &Tree, args: I) -> Invocation {
        self.hostel(["nspawn", "--quiet", "--register=no", "--keep-unit", "-D"]).arg(tree.path()).args(args)
    }

    /// `hostel clean`: what killed supervisors left behind goes.
    #[track_caller]
    pub fn clean(&self) {
        self.hostel(["clean"]).run().exits(0);
    }

    /// The machine's state directory.
    pub fn state_of(&self, name: &str) -> PathBuf {
        self.runtime_dir().join("machines").join(name)
    }

    /// The leftovers are part of what this test does; it has looked at them itself.
    pub fn leftovers_are_expected(&self) {
        self.allow_leftovers.set(true);
    }

    /// Everything of this test's that exists and is not the bed's own.
    fn look(&self) -> Leftovers {
        let undo = self.undo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut found = Leftovers::of(&self.id, &self.dir);
        found.mounts.retain(|m| !undo.iter().any(|Undo::Unmount(own)| m == own));
        if !undo.is_empty() {
            found.loops.clear();
        }
        found
    }

    /// What this test has left on the machine so far, in words; empty when nothing.
    pub fn leftovers(&self) -> Vec<String> {
        self.look().describe()
    }

    /// Asserts that nothing is left over; kernel objects may take a moment to go.
    #[track_caller]
    pub fn assert_clean(&self) {
        let mut left = Vec::new();
        let clean = eventually(Duration::from_secs(3), || {
            left = self.leftovers();
            left.is_empty()
        });
        assert!(clean, "left over: {left:#?}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let mut left = Vec::new();
        if !std::thread::panicking() && !self.allow_leftovers.get() {
            eventually(Duration::from_secs(3), || {
                left = self.leftovers();
                left.is_empty()
            });
        }
        self.look().remove();
        // the bed's own mounts were in use until the machines were gone
        let undo = std::mem::take(&mut *self.undo.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for Undo::Unmount(path) in undo.iter().rev() {
            let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
        }
        Leftovers::of(&self.id, &self.dir).remove();
        forget_kept_groups();
        forget_journals(&self.id);
        if std::env::var_os("HOSTEL_TEST_KEEP").is_none() {
            remove_tree(&self.dir);
        } else {
            let _ = std::fs::write(self.dir.join(KEPT), "");
        }
        if !left.is_empty() && !std::thread::panicking() {
            panic!("the test left over: {left:#?}");
        }
    }
}

/// In beds that are there to be looked at.
const KEPT: &str = "kept";

/// In every bed, and nowhere else: what it is.
const MARK: &str = ".hostel-test-bed";

fn mark(id: &str) -> String {
    format!("bed {id} of hostel's tests: what is here is removed when its test is over\n")
}

/// Locks a directory for as long as the file is open.
fn hold(dir: &Path, how: FlockOperation) -> Option<File> {
    let file = File::open(dir).ok()?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how)).ok()?;
    Some(file)
}

/// Takes away what tests left that were killed (by a time limit, by hand) and so could not clean up.
fn sweep(top: &Path) {
    for entry in std::fs::read_dir(top).into_iter().flatten().flatten() {
        let (dir, id) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // Others have directories here, too.
        if !std::fs::read_to_string(dir.join(MARK)).is_ok_and(|text| text == mark(&id)) || dir.join(KEPT).exists() {
            continue;
        }
        if let Some(_held) = hold(&dir, FlockOperation::NonBlockingLockExclusive) {
            Leftovers::of(&id, &dir).remove();
            forget_journals(&id);
            remove_tree(&dir);
        }
    }
}

/// Removes a directory even when a machine made files in it immutable or the like; never crosses into a mount.
pub(crate) fn remove_tree(dir: &Path) {
    if std::fs::remove_dir_all(dir).is_err() {
        let _ = std::process::Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(dir).stderr(std::process::Stdio::null()).status();
        if let Err(e) = std::fs::remove_dir_all(dir) {
            eprintln!("remove {}: {e}", dir.display());
        }
    }
}

/// Reaps, as a host's PID 1 would, what comes to us out of a machine: until then the machine's PID 1 cannot end.
/// Nothing a test starts itself is in a pid namespace below ours, so no command's status is taken away.
fn reap_machines_orphans() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_millis(50));
                for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                    let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                    for pid in children.split_whitespace().filter_map(|c| c.parse::<i32>().ok()) {
                        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("");
                        if field("State:").trim().starts_with('Z') && field("NSpid:").split_whitespace().count() > 1 {
                            let _ = Pid::from_raw(pid).map(|pid| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG));
                        }
                    }
                }
            }
        });
    });
}

/// Gives this thread, and what it starts, a network of its own: machines with addresses change forwarding and nftables of
/// their host, and that must not be this machine.
fn own_network() {
    use rustix::thread::UnshareFlags;
    // Deprecated for the sake of flags that part threads from descriptors; this one does not.
    #[allow(deprecated)]
    if rustix::thread::unshare(UnshareFlags::NEWNET).is_ok() {
        let _ = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
    }
}

fn base36(mut n: u32) -> String {
    let mut out = Vec::new();
    loop {
        out.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize]);
        n /= 36;
        if n == 0 {
            break;
        }
    }
    out.reverse();
    String::from_utf8(out).unwrap_or_default()
}

/// The program of this name: from the environment, else the newest build in the workspace's target directory.
pub fn binary(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{variable}={}: no such file", path.display());
        return path;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let arch = std::env::consts::ARCH;
    let places = [
        format!("{arch}-unknown-linux-musl/release"),
        format!("{arch}-unknown-linux-musl/debug"),
        format!("{arch}-unknown-linux-gnu/release"),
        "release".into(),
        "debug".into(),
    ];
    let newest = places.iter().map(|p| target.join(p).join(name)).filter_map(|p| Some((p.metadata().ok()?.modified().ok()?, p))).max();
    match newest {
        Some((_, path)) => path.canonicalize().unwrap_or(path),
        None => panic!("no {name} binary is built: run scripts/build.sh --tests, or set {variable}"),
    }
}
