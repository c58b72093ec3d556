//! Scratch directories, loop file systems and tree comparison for this crate's tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of its own, removed at the end with all in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(tag: &str) -> Self {
        let random = hostel_sys::tree::random_u64().unwrap();
        let path = std::env::temp_dir().join(format!("hostel-image-{tag}-{random:016x}"));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A file system made for one test, in a scratch directory, taken away at the end.
///
/// It is mounted in a mount namespace of the test's own thread, and mount(8) sets AUTOCLEAR on the loop device: both go
/// when the thread ends, however it ends.
pub(crate) struct FileSystem {
    pub(crate) at: PathBuf,
    _dir: Scratch,
}

impl FileSystem {
    /// `kind`: tmpfs, ext4, xfs, btrfs; `None` with the reason printed when this host cannot.
    pub(crate) fn new(kind: &str, megabytes: u64) -> Option<Self> {
        if !is_root() {
            return None;
        }
        if let Err(e) = own_mounts() {
            eprintln!("skipped: no mount namespace: {e}");
            return None;
        }
        let dir = Scratch::new(kind);
        let at = dir.path().join("mnt");
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        if kind == "tmpfs" {
            mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none"]).arg(&at);
        } else {
            let image = dir.path().join("image");
            std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
            let mut mkfs = Command::new(format!("mkfs.{kind}"));
            mkfs.arg(if kind == "ext4" { "-qF" } else { "-q" }).arg(&image);
            if !run(&mut mkfs) {
                return None;
            }
            mount.args(["-t", kind, "-o", "loop"]).arg(&image).arg(&at);
        }
        run(&mut mount).then_some(FileSystem { at, _dir: dir })
    }
}

/// A private mount namespace for this thread, once.
fn own_mounts() -> std::io::Result<()> {
    thread_local! {
        static DONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !DONE.get() {
        hostel_sys::tree::unshare_mounts()?;
        DONE.set(true);
    }
    Ok(())
}

/// A tree with one of everything: kinds of files, odd names, links, holes, attributes, rights.
pub(crate) fn sample(tree: &Path) {
    std::fs::create_dir(tree).unwrap();
    sh(
        r#"cd "$1"
           mkdir -p etc usr/bin usr/lib/deep/deeper empty mode0 setgid sticky old
           echo passwd > etc/passwd; echo content > usr/bin/tool; cp usr/bin/tool usr/bin/suid; cp usr/bin/tool usr/bin/caps
           chown 1000:1001 usr/bin/tool; chmod 4755 usr/bin/suid; chmod 6711 usr/bin/tool
           setcap cap_net_raw+ep usr/bin/caps
           ln usr/bin/tool usr/lib/deep/hard; ln usr/bin/caps etc/caps2; ln usr/bin/suid usr/lib/suid2
           ln -s /etc/passwd abs; ln -s ../outside/secret rel; ln -s nowhere dangling; ln -s loop loop; ln -s / rootlink
           chown -h 12:34 abs; ln dangling usr/hardlinked-symlink
           mknod null c 1 3; mknod disk b 7 200; chmod 666 null; chown 5:6 disk; mkfifo -m 604 fifo; mknod whiteout c 0 0
           echo x > mode0/inner; chmod 0 mode0 etc/passwd; chmod 2775 setgid; chown 7:8 setgid; echo y > setgid/file; chmod 1777 sticky
           setfacl -m u:1234:rw,g:4321:r etc/passwd; setfacl -m d:u:1234:rwx,u:77:x setgid; echo z > setgid/late
           truncate -s 40M sparse; printf middle | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none
           truncate -s 1M hole; head -c 3000000 /dev/urandom > random; head -c 131073 /dev/urandom > r2; : > zero
           touch -- "-dash" "with space" $'new\nline' $'bad\xff\xfe' "$(printf 'l%.0s' {1..255})" '*' '"' '.hidden' '..x'
           touch -d '1999-01-01 12:34:56.123456789' old etc/passwd usr; touch -h -d 1980-05-05 abs; chown 65534:65534 zero"#,
        &[tree],
    );
    let set = |file: &str, attribute: &std::ffi::CStr, value: &[u8]| {
        use std::os::fd::AsFd;
        let dir = crate::open::directory(tree).unwrap();
        hostel_sys::tree::xattr::set(dir.as_fd(), &std::ffi::CString::new(file).unwrap(), attribute, value).unwrap();
    };
    set("random", c"user.note", b"text");
    set("usr", c"user.dir", b"");
    set("usr", c"trusted.overlay.opaque", b"y");
    set("abs", c"trusted.link", b"on a link");
    set("fifo", c"trusted.fifo", &[7; 300]);
    rustix::fs::mknodat(rustix::fs::CWD, tree.join("socket"), rustix::fs::FileType::Socket, rustix::fs::Mode::from_raw_mode(0o755), 0).unwrap();
}

/// systemd-nspawn, quiet and without a bus, in cgroups of its own that are removed afterwards (it leaves what it makes).
pub(crate) fn nspawn(machine: &str) -> Command {
    let mut command = Command::new("bash");
    command.args([
        "-c",
        r#"name=hostel-image-$1; shift; own=()
           for top in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
             [ -f $top/cgroup.procs ] && mkdir $top/$name && echo $$ > $top/$name/cgroup.procs && own+=($top/$name)
           done
           systemd-nspawn -q --register=no --keep-unit --pipe --private-network "$@" </dev/null; code=$?
           for dir in "${own[@]}"; do
             echo $$ > ${dir%/*}/cgroup.procs; rmdir $dir/payload $dir/supervisor $dir
           done 2>/dev/null; exit $code"#,
        "sh",
        machine,
        "-M",
        machine,
    ]);
    command
}

/// Runs the ignored test `name` of this program in a process of its own, which reads `arguments` by [`arguments`].
pub(crate) fn in_child(name: &str, arguments: &[&Path]) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", name, "--test-threads=1"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.env("HOSTEL_TEST_ARGUMENTS", std::env::join_paths(arguments).unwrap()).spawn().unwrap()
}

/// The arguments of a test run by [`in_child`], `None` when it was not.
pub(crate) fn arguments() -> Option<Vec<PathBuf>> {
    std::env::var_os("HOSTEL_TEST_ARGUMENTS").map(|all| std::env::split_paths(&all).collect())
}

fn run(command: &mut Command) -> bool {
    match command.output() {
        Ok(done) if done.status.success() => true,
        other => {
            eprintln!("skipped: {command:?}: {other:?}");
            false
        }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Runs a shell script that must succeed; `$1`… are `args`.
pub(crate) fn sh(script: &str, args: &[&Path]) -> String {
    let out = Command::new("bash").args(["-ec", script, "sh"]).args(args).output().unwrap();
    assert!(out.status.success(), "{script}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Everything about a tree that a copy must keep, one line per file.
pub(crate) fn describe(tree: &Path) -> String {
    let mut lines = Vec::new();
    visit(tree, Path::new(""), &mut lines);
    lines.sort();
    lines.join("\n")
}

fn visit(top: &Path, below: &Path, lines: &mut Vec<String>) {
    use std::hash::Hasher;
    use std::os::fd::AsFd;
    use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
    let path = top.join(below);
    let meta = std::fs::symlink_metadata(&path).unwrap();
    let mut line = format!("{below:?} {:o} {} {} {:x} {}.{}", meta.mode(), meta.uid(), meta.gid(), meta.rdev(), meta.mtime(), meta.mtime_nsec());
    if meta.is_symlink() {
        line += &format!(" -> {:?}", std::fs::read_link(&path).unwrap());
    } else if meta.is_file() {
        let mut hash = std::hash::DefaultHasher::new();
        hash.write(&std::fs::read(&path).unwrap());
        line += &format!(" {} {:x}", meta.size(), hash.finish());
    }
    if !meta.is_dir() && meta.nlink() > 1 {
        line += &format!(" links {}", meta.nlink());
    }
    let dir = crate::open::directory(path.parent().unwrap()).unwrap();
    let name = std::ffi::CString::new(path.file_name().unwrap().as_bytes()).unwrap();
    let (mut names, mut value) = (Vec::new(), Vec::new());
    if hostel_sys::tree::xattr::list(dir.as_fd(), &name, &mut names).is_ok() {
        let mut attributes: Vec<_> = names.split_inclusive(|b| *b == 0).map(|n| std::ffi::CStr::from_bytes_with_nul(n).unwrap()).collect();
        attributes.sort();
        for attribute in attributes {
            hostel_sys::tree::xattr::get(dir.as_fd(), &name, attribute, &mut value).unwrap();
            line += &format!(" {attribute:?}={value:02x?}");
        }
    }
    lines.push(line);
    if meta.is_dir() {
        for entry in std::fs::read_dir(&path).unwrap() {
            visit(top, &below.join(entry.unwrap().file_name()), lines);
        }
    }
}

/// Repeats `swap` in a thread of its own until `body` is done, also when that fails.
pub(crate) fn while_swapping(swap: impl Fn() + Send, body: impl FnOnce()) {
    use std::sync::atomic::{AtomicBool, Ordering};
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                swap();
            }
        });
        let _stop = Stop(stop);
        body();
    });
}

/// Exchanges two names of `dir`.
pub(crate) fn exchange(dir: &rustix::fd::OwnedFd, a: &str, b: &str) {
    // Fails while one of them is away.
    let _ = rustix::fs::renameat_with(dir, a, dir, b, rustix::fs::RenameFlags::EXCHANGE);
}

/// Names in `dir`.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
