//! What the supervisor does: detached mounts, cgroup, console, clone, wait, remove.

use std::ffi::{CStr, c_char};

use crate::kernel::*;
use crate::{Flags, device, inside};

/// What the child needs of what the supervisor made; numbers of descriptors.
pub(crate) struct Made {
    pub(crate) flags: Flags,
    pub(crate) tree: i32,
    pub(crate) dev: i32,
    pub(crate) pts: i32,
    pub(crate) shm: i32,
    pub(crate) run: i32,
    pub(crate) tmp: i32,
    pub(crate) sys: i32,
    pub(crate) terminal: i32,
    pub(crate) go: i32,
    /// The way into a v1 group, and layers on the disk; -1: none.
    pub(crate) door: i32,
    pub(crate) layer: i32,
    pub(crate) command: *const *const c_char,
}

/// First host id of the machine's own.
const BASE: u32 = 0x4242_0000;

struct Cgroup {
    top: i32,
    name: [u8; 96],
    dir: i32,
    payload: i32,
}

/// Where the v2 hierarchy is.
fn cgroup_top() -> i32 {
    for path in [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"] {
        // SAFETY: a path and a buffer for the answer.
        let magic = unsafe {
            let mut fs: libc::statfs = std::mem::zeroed();
            libc::statfs(path.as_ptr(), &mut fs);
            fs.f_type as u64
        };
        if magic == 0x6367_7270 {
            return open(libc::AT_FDCWD, path, libc::O_PATH | libc::O_DIRECTORY);
        }
    }
    die("find cgroup2")
}

fn make_cgroup(pid: u32) -> Cgroup {
    let top = cgroup_top();
    let mut name = [0u8; 96];
    join(&mut name, b"hostel-floor/c", pid, b"");
    if may!(libc::SYS_mkdirat, top, name.as_ptr(), 0o755) < 0 {
        may!(libc::SYS_mkdirat, top, c"hostel-floor".as_ptr(), 0o755);
        may!(libc::SYS_mkdirat, top, c"hostel-floor/.devices".as_ptr(), 0o755);
        ok!("make cgroup", libc::SYS_mkdirat, top, name.as_ptr(), 0o755);
    }
    let path = CStr::from_bytes_until_nul(&name).unwrap_or(c"");
    let dir = open(top, path, libc::O_PATH | libc::O_DIRECTORY);
    ok!("make cgroup", libc::SYS_mkdirat, dir, c"payload".as_ptr(), 0o755);
    let payload = open(dir, c"payload", libc::O_PATH | libc::O_DIRECTORY);
    let keeper = open(top, c"hostel-floor/.devices", libc::O_PATH | libc::O_DIRECTORY);
    device::restrict(dir, keeper);
    close(keeper);
    Cgroup { top, name, dir, payload }
}

fn node(dir: i32, path: &CStr, mode: u32, device: u64, owner: u32) {
    ok!("make node", libc::SYS_mknodat, dir, path.as_ptr(), mode, device);
    own(dir, path, owner);
}

fn own(dir: i32, path: &CStr, owner: u32) {
    if owner != 0 {
        ok!("own", libc::SYS_fchownat, dir, path.as_ptr(), owner, owner, libc::AT_SYMLINK_NOFOLLOW);
    }
}

fn directory(dir: i32, path: &CStr, mode: u32, owner: u32) {
    ok!("make directory", libc::SYS_mkdirat, dir, path.as_ptr(), mode);
    own(dir, path, owner);
}

fn file(dir: i32, path: &CStr, mode: u32, text: &[u8], owner: u32) {
    let fd = ok!("make file", libc::SYS_openat, dir, path.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC, mode);
    if !text.is_empty() {
        ok!("write", libc::SYS_write, fd, text.as_ptr(), text.len());
    }
    close(fd);
    own(dir, path, owner);
}

fn tmpfs(mode: &CStr, size: &CStr, inodes: &CStr, attributes: u64, owner: u32) -> i32 {
    let mut buffer = [0u8; 96];
    let owner_text = join(&mut buffer, b"", owner, b"");
    let all = [(c"mode", mode), (c"size", size), (c"nr_inodes", inodes), (c"uid", owner_text), (c"gid", owner_text)];
    filesystem(c"tmpfs", &all[..if owner == 0 { 3 } else { 5 }], attributes)
}

fn dev(owner: u32) -> i32 {
    let dev = tmpfs(c"0755", c"4m", c"64k", NOSUID | STRICTATIME, owner);
    for (name, major, minor) in [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9), (c"tty", 5, 0)] {
        node(dev, name, libc::S_IFCHR | 0o666, libc::makedev(major, minor), owner);
    }
    directory(dev, c"char", 0o755, owner);
    for (number, name) in [
        (c"char/1:3", c"../null"),
        (c"char/1:5", c"../zero"),
        (c"char/1:7", c"../full"),
        (c"char/1:8", c"../random"),
        (c"char/1:9", c"../urandom"),
        (c"char/5:0", c"../tty"),
        (c"char/10:200", c"../net/tun"),
        (c"char/10:229", c"../fuse"),
    ] {
        ok!("link", libc::SYS_symlinkat, name.as_ptr(), dev, number.as_ptr());
        own(dev, number, owner);
    }
    directory(dev, c"net", 0o755, owner);
    node(dev, c"net/tun", libc::S_IFCHR | 0o600, libc::makedev(10, 200), owner);
    node(dev, c"fuse", libc::S_IFCHR | 0o600, libc::makedev(10, 229), owner);
    for (name, target) in [
        (c"fd", c"/proc/self/fd"),
        (c"stdin", c"/proc/self/fd/0"),
        (c"stdout", c"/proc/self/fd/1"),
        (c"stderr", c"/proc/self/fd/2"),
        (c"core", c"/proc/kcore"),
        (c"ptmx", c"pts/ptmx"),
    ] {
        ok!("link", libc::SYS_symlinkat, target.as_ptr(), dev, name.as_ptr());
        own(dev, name, owner);
    }
    for (name, mode) in [(c"pts", 0o755), (c"shm", 0o1777), (c"mqueue", 0o755)] {
        directory(dev, name, mode, owner);
    }
    dev
}

fn run_directory(owner: u32) -> i32 {
    let run = tmpfs(c"0755", c"20%", c"800k", NOSUID | NODEV | STRICTATIME, owner);
    directory(run, c"host", 0o755, owner);
    directory(run, c"host/inaccessible", 0o755, owner);
    file(run, c"host/inaccessible/reg", 0, b"", owner);
    directory(run, c"host/inaccessible/dir", 0, owner);
    node(run, c"host/inaccessible/fifo", libc::S_IFIFO, 0, owner);
    node(run, c"host/inaccessible/sock", libc::S_IFSOCK, 0, owner);
    node(run, c"host/inaccessible/chr", libc::S_IFCHR, 0, owner);
    node(run, c"host/inaccessible/blk", libc::S_IFBLK, 0, owner);
    file(run, c"host/container-manager", 0o444, b"hostel-floor", owner);
    file(run, c"host/container-uuid", 0o444, b"00000000-0000-4000-8000-000000000000", owner);
    node(run, c"host/proc-kmsg", libc::S_IFIFO | 0o600, 0, owner);
    file(run, c"host/proc-sys-kernel-random-boot-id", 0o444, b"00000000-0000-4000-8000-000000000001", owner);
    directory(run, c"lock", 0o1777, owner);
    let release = open(libc::AT_FDCWD, c"/etc/os-release", libc::O_RDONLY);
    let mut text = [0u8; 2048];
    let length = ok!("read", libc::SYS_read, release, text.as_mut_ptr(), text.len());
    close(release);
    file(run, c"host/os-release", 0o444, &text[..length as usize], owner);
    run
}

/// The socket on which the payload may say that it is ready.
fn notify(run: i32) -> i32 {
    let socket = ok!("socket", libc::SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0);
    let mut buffer = [0u8; 96];
    let path = join(&mut buffer, b"/proc/self/fd/", run as u32, b"/host/notify");
    // SAFETY: zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.to_bytes()) {
        *to = *from as c_char;
    }
    ok!("bind", libc::SYS_bind, socket, &raw const address, size_of::<libc::sockaddr_un>());
    ok!("chmod", libc::SYS_fchmodat, run, c"host/notify".as_ptr(), 0o222);
    socket
}

/// A pty out of the machine's own devpts: (master, slave).
fn console(pts: i32, dev: i32, owner: u32) -> (i32, i32) {
    let master = open(pts, c"ptmx", libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK);
    let (mut number, unlock) = (0u32, 0i32);
    ok!("number pty", libc::SYS_ioctl, master, libc::TIOCGPTN, &raw mut number);
    ok!("unlock pty", libc::SYS_ioctl, master, libc::TIOCSPTLCK, &raw const unlock);
    let slave = ok!("open pty", libc::SYS_ioctl, master, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
    if owner != 0 {
        ok!("own pty", libc::SYS_fchown, slave, owner, owner + 5);
    }
    let mut buffer = [0u8; 96];
    let target = join(&mut buffer, b"pts/", number, b"");
    ok!("link", libc::SYS_symlinkat, target.as_ptr(), dev, c"console".as_ptr());
    (master, slave)
}

/// `struct clone_args`, version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    rest: [u64; 5],
    cgroup: u64,
}

fn spaces(flags: Flags) -> u64 {
    let mut spaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    if flags.network {
        spaces |= libc::CLONE_NEWNET;
    }
    if flags.user {
        spaces |= libc::CLONE_NEWUSER;
    }
    spaces as u64
}

/// Id maps of the child and its tree's mount.
fn map_ids(pid: u32, tree: i32) {
    let mut buffer = [0u8; 96];
    let mut map = [0u8; 96];
    let map = join(&mut map, b"0 ", BASE, b" 65536\n").to_bytes();
    write(libc::AT_FDCWD, join(&mut buffer, b"/proc/", pid, b"/uid_map"), map);
    write(libc::AT_FDCWD, join(&mut buffer, b"/proc/", pid, b"/gid_map"), map);
    let userns = open(libc::AT_FDCWD, join(&mut buffer, b"/proc/", pid, b"/ns/user"), libc::O_RDONLY);
    change(tree, c"", RECURSIVE, IDMAP, 0, userns);
    close(userns);
}

/// The tasks limit: in v2, or in the v1 hierarchy of a host that has the controller there.
struct Tasks {
    v1: [u8; 96],
    /// Where the child puts itself in, for -1: nowhere.
    door: i32,
}

fn limit_tasks(cgroup: &Cgroup, pid: u32) -> Tasks {
    let mut v1 = [0u8; 96];
    let limit = may!(libc::SYS_openat, cgroup.dir, c"pids.max".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC, 0);
    if limit >= 0 {
        ok!("limit tasks", libc::SYS_write, limit, c"16384".as_ptr(), 5);
        close(limit);
        return Tasks { v1, door: -1 };
    }
    join(&mut v1, b"/sys/fs/cgroup/pids/hostel-floor/c", pid, b"");
    if may!(libc::SYS_mkdirat, libc::AT_FDCWD, v1.as_ptr(), 0o755) < 0 {
        may!(libc::SYS_mkdirat, libc::AT_FDCWD, c"/sys/fs/cgroup/pids/hostel-floor".as_ptr(), 0o755);
        ok!("make v1 cgroup", libc::SYS_mkdirat, libc::AT_FDCWD, v1.as_ptr(), 0o755);
    }
    let dir = open(libc::AT_FDCWD, CStr::from_bytes_until_nul(&v1).unwrap_or(c""), libc::O_PATH | libc::O_DIRECTORY);
    write(dir, c"pids.max", b"16384");
    let door = open(dir, c"tasks", libc::O_WRONLY);
    close(dir);
    Tasks { v1, door }
}

/// Layers on the disk: their directory's name, and a mount of it.
struct Layers {
    name: [u8; 96],
    mount: i32,
}

const LAYERS: [&CStr; 2] = [c"upper", c"work"];

fn layers(pid: u32, owner: u32) -> Layers {
    let mut name = [0u8; 96];
    may!(libc::SYS_mkdirat, libc::AT_FDCWD, c"/var/lib/hostel".as_ptr(), 0o755);
    join(&mut name, b"/var/lib/hostel/floor-", pid, b"");
    ok!("make layers", libc::SYS_mkdirat, libc::AT_FDCWD, name.as_ptr(), 0o755);
    let dir = open(libc::AT_FDCWD, CStr::from_bytes_until_nul(&name).unwrap_or(c""), libc::O_PATH | libc::O_DIRECTORY);
    for layer in LAYERS {
        directory(dir, layer, 0o755, owner);
    }
    let mount = open_tree(dir, c"", 0);
    close(dir);
    Layers { name, mount }
}

fn remove_layers(layers: &Layers) {
    let dir = open(libc::AT_FDCWD, CStr::from_bytes_until_nul(&layers.name).unwrap_or(c""), libc::O_PATH | libc::O_DIRECTORY);
    for name in [c"work/work", LAYERS[1], LAYERS[0]] {
        ok!("remove layer", libc::SYS_unlinkat, dir, name.as_ptr(), libc::AT_REMOVEDIR);
    }
    ok!("remove layers", libc::SYS_unlinkat, libc::AT_FDCWD, layers.name.as_ptr(), libc::AT_REMOVEDIR);
}

pub(crate) fn run(flags: Flags, tree: &CStr, command: *const *const c_char) -> i32 {
    // SAFETY: an integer.
    unsafe { libc::umask(0) };
    let own_pid = ok!("getpid", libc::SYS_getpid) as u32;
    let owner = if flags.user { BASE } else { 0 };
    let source = open(libc::AT_FDCWD, tree, libc::O_PATH | libc::O_DIRECTORY);
    let depth = if flags.overlay { 0 } else { RECURSIVE };
    let tree = open_tree(source, c"", depth);
    change(tree, c"", depth, 0, libc::MS_PRIVATE, 0);
    let cgroup = make_cgroup(own_pid);
    let tasks = flags.tasks.then(|| limit_tasks(&cgroup, own_pid));
    let dev = dev(owner);
    let mut buffer = [0u8; 96];
    let group = join(&mut buffer, b"", owner + 5, b"");
    let pts = filesystem(c"devpts", &[(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", group)], NOSUID | NOEXEC);
    let shm = tmpfs(c"1777", c"10%", c"400k", NOSUID | NODEV | STRICTATIME, owner);
    let run = run_directory(owner);
    let notify = notify(run);
    if flags.user {
        own(run, c"host/notify", owner);
    }
    let tmp = tmpfs(c"1777", c"10%", c"400k", NOSUID | NODEV | STRICTATIME, owner);
    let sys = filesystem(c"sysfs", &[], NOSUID | NODEV | NOEXEC | RDONLY);
    let (master, terminal) = if flags.machine { (-1, -1) } else { console(pts, dev, owner) };
    let mut pipe = [-1i32; 2];
    if flags.user {
        ok!("pipe", libc::SYS_pipe2, pipe.as_mut_ptr(), libc::O_CLOEXEC);
    }
    let layers = flags.keep.then(|| layers(own_pid, owner));
    let (door, layer) = (tasks.as_ref().map_or(-1, |tasks| tasks.door), layers.as_ref().map_or(-1, |layers| layers.mount));
    let made = Made { flags, door, layer, tree, dev, pts, shm, run, tmp, sys, terminal, go: pipe[0], command };
    let mut pidfd = -1i32;
    let args = CloneArgs {
        flags: spaces(flags) | 0x1000 | 0x2_0000_0000,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.payload as u64,
        ..CloneArgs::default()
    };
    let child = ok!("clone3", libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
    if child == 0 {
        inside::run(&made);
    }
    if flags.user {
        map_ids(child as u32, tree);
        ok!("go", libc::SYS_write, pipe[1], c"g".as_ptr(), 1);
    }
    if flags.detach {
        println!("{child}");
        return 0;
    }
    let status = watch(pidfd, master, notify);
    close(cgroup.payload);
    ok!("remove cgroup", libc::SYS_unlinkat, cgroup.dir, c"payload".as_ptr(), libc::AT_REMOVEDIR);
    ok!("remove cgroup", libc::SYS_unlinkat, cgroup.top, cgroup.name.as_ptr(), libc::AT_REMOVEDIR);
    if let Some(layers) = &layers {
        remove_layers(layers);
    }
    if let Some(tasks) = &tasks
        && tasks.v1[0] != 0
    {
        ok!("remove v1 cgroup", libc::SYS_unlinkat, libc::AT_FDCWD, tasks.v1.as_ptr(), libc::AT_REMOVEDIR);
    }
    status
}

/// Shows what the console says until PID 1 is dead; returns its status.
fn watch(pidfd: i32, master: i32, notify: i32) -> i32 {
    let mut fds = [pidfd, notify, master].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    loop {
        ok!("poll", libc::SYS_poll, fds.as_mut_ptr(), 3, -1);
        if master >= 0 && fds[2].revents & libc::POLLIN != 0 {
            drain(master);
        }
        if fds[2].revents & libc::POLLHUP != 0 {
            fds[2].fd = -1;
        }
        if fds[0].revents != 0 {
            break;
        }
    }
    if master >= 0 {
        drain(master);
    }
    // SAFETY: zero is a valid siginfo; a child of ours.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PIDFD, pidfd as u32, &mut info, libc::WEXITED);
        if info.si_code == libc::CLD_EXITED { info.si_status() } else { 128 + info.si_status() }
    }
}

fn drain(master: i32) {
    let mut buffer = [0u8; 4096];
    loop {
        let length = may!(libc::SYS_read, master, buffer.as_mut_ptr(), buffer.len());
        if length <= 0 {
            return;
        }
        may!(libc::SYS_write, 1, buffer.as_ptr(), length);
    }
}
