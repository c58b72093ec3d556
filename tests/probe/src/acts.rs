//! Small payloads: idle, die in a given way, use resources, talk.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::sys::{check, errno, errno_name};

/// Writes all of `text` to standard output; a reader that went away is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Fixed numbers (as glibc counts real-time signals), names without SIG.
pub fn signal_number(name: &str) -> i32 {
    if let Ok(n) = name.parse() {
        return n;
    }
    match name.trim_start_matches("SIG") {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ABRT" => 6,
        "KILL" => 9,
        "USR1" => 10,
        "SEGV" => 11,
        "USR2" => 12,
        "TERM" => 15,
        "CONT" => 18,
        "STOP" => 19,
        "WINCH" => 28,
        "PWR" => 30,
        name => match name.strip_prefix("RTMIN+").and_then(|n| n.parse::<i32>().ok()) {
            Some(n) => 34 + n,
            None => {
                eprintln!("hostel-probe: no signal {name}");
                std::process::exit(2)
            }
        },
    }
}

/// All signals but those that cannot or should not be blocked. The kernel's own call: libc hides some real-time signals.
fn block_all() -> u64 {
    let mask: u64 = !0;
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut::<u64>(), 8usize) };
    mask
}

/// Waits for one of all signals; `None` after `timeout`.
fn wait_signal(timeout: Option<Duration>) -> Option<i32> {
    let mask: u64 = !0;
    let spec = timeout.map(|t| libc::timespec { tv_sec: t.as_secs() as _, tv_nsec: t.subsec_nanos() as _ });
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let n = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const mask, std::ptr::null_mut::<u8>(), spec, 8usize) };
    (n > 0).then_some(n as i32)
}

fn reap() {
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } > 0 {}
}

/// Idles, reaping, until SIGTERM (status 0) or the time is over (goes on).
pub fn sleep(seconds: Option<i64>) {
    block_all();
    let end = seconds.map(|s| Instant::now() + Duration::from_secs(s as u64));
    loop {
        let left = end.map(|e| e.saturating_duration_since(Instant::now()));
        match wait_signal(left) {
            Some(libc::SIGTERM) => std::process::exit(0),
            Some(_) => reap(),
            None if left.is_some_and(|l| l.is_zero()) => return,
            None => {}
        }
    }
}

/// Prints `caught N` for every signal, for ever.
pub fn catch() {
    block_all();
    print("ready\n");
    loop {
        if let Some(n) = wait_signal(None) {
            if n == libc::SIGCHLD {
                reap();
            }
            print(&format!("caught {n}\n"));
        }
    }
}

/// Sleeps for ever with every signal ignored.
pub fn ignore() {
    for n in 1..=64 {
        unsafe { libc::signal(n, libc::SIG_IGN) };
    }
    print("ready\n");
    loop {
        unsafe { libc::pause() };
    }
}

/// Sends a signal, to this process by default.
pub fn kill(name: &str, pid: i32) {
    let signal = signal_number(name);
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    if unsafe { libc::kill(pid, signal) } != 0 {
        eprintln!("kill {pid}: {}", errno_name(errno()));
    }
    std::thread::sleep(Duration::from_millis(100));
}

/// reboot(2). Refuses outside of a pid namespace of its own, where it would take the host down.
pub fn reboot(how: &str) {
    let ns = std::fs::read_link("/proc/self/ns/pid").map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
    if ns.is_empty() || ns == "pid:[4026531836]" {
        eprintln!("hostel-probe: {how}: this is the host's own pid namespace, refusing");
        std::process::exit(3);
    }
    let command = match how {
        "reboot" => libc::LINUX_REBOOT_CMD_RESTART,
        "poweroff" => libc::LINUX_REBOOT_CMD_POWER_OFF,
        _ => libc::LINUX_REBOOT_CMD_HALT,
    };
    unsafe { libc::reboot(command) };
    eprintln!("{how}: {}", errno_name(errno()));
    std::process::exit(4);
}

static WINCH: AtomicI32 = AtomicI32::new(0);
extern "C" fn on_winch(_: i32) {
    WINCH.fetch_add(1, Ordering::Relaxed);
}

/// Rows and columns of the terminal on stdin, or `None`.
pub fn window(fd: i32) -> Option<(u16, u16)> {
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    check(i64::from(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) })).ok().map(|_| (size.ws_row, size.ws_col))
}

/// Prints `size ROWS COLS` now and at each SIGWINCH; ends when a line comes.
pub fn winsize() {
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_winch as *const () as usize;
        libc::sigaction(libc::SIGWINCH, &raw const action, std::ptr::null_mut());
    }
    let mut seen = -1;
    loop {
        let now = WINCH.load(Ordering::Relaxed);
        if now != seen {
            seen = now;
            let (rows, columns) = window(0).unwrap_or((0, 0));
            print(&format!("size {rows} {columns}\n"));
        }
        let mut poll = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
        if unsafe { libc::poll(&raw mut poll, 1, 1000) } > 0 {
            return;
        }
    }
}

/// Copies lines, marked.
pub fn echo() {
    print("ready\n");
    for line in std::io::stdin().lock().split(b'\n') {
        match line {
            Ok(line) => print(&format!("got: {}\n", String::from_utf8_lossy(&line).trim_end_matches('\r'))),
            Err(e) => return print(&format!("error: {e}\n")),
        }
    }
    print("eof\n");
}

/// Starts children that idle and die with this process.
pub fn fork_many(n: i64) {
    let mut made = 0;
    let mut why = 0;
    for _ in 0..n {
        match unsafe { libc::fork() } {
            0 => unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
                libc::_exit(0)
            },
            -1 => {
                why = errno();
                break;
            }
            _ => made += 1,
        }
    }
    print(&format!("forked {made} {}\n", if why == 0 { "all".into() } else { errno_name(why) }));
}

/// Touches memory, MiB by MiB.
pub fn eat(mib: usize) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        held.push(vec![0x5a; 1 << 20]);
    }
    print(&format!("ate {}\n", held.iter().filter(|b| b[4096] == 0x5a).count()));
}

/// Writes lines of 64 bytes.
pub fn flood(bytes: u64) {
    let block = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n".repeat(64);
    let mut out = std::io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let n = left.min(block.len() as u64) as usize;
        if out.write_all(&block.as_bytes()[..n]).is_err() {
            return;
        }
        left -= n as u64;
    }
    let _ = out.flush();
}

/// A grandchild loses its parent and exits: is it gone from /proc soon?
pub fn orphan() {
    let mut pipe = [0i32; 2];
    unsafe { libc::pipe(pipe.as_mut_ptr()) };
    let child = unsafe { libc::fork() };
    if child == 0 {
        let grandchild = unsafe { libc::fork() };
        if grandchild == 0 {
            std::thread::sleep(Duration::from_millis(100));
            unsafe { libc::_exit(0) }
        }
        unsafe {
            libc::write(pipe[1], (&raw const grandchild).cast(), 4);
            libc::_exit(0)
        }
    }
    let mut grandchild = 0i32;
    unsafe {
        libc::waitpid(child, std::ptr::null_mut(), 0);
        libc::read(pipe[0], (&raw mut grandchild).cast(), 4);
    }
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(50));
        if unsafe { libc::kill(grandchild, 0) } == -1 {
            return print("orphan reaped\n");
        }
    }
    print("orphan left a zombie\n");
}

/// One datagram to `$NOTIFY_SOCKET`.
pub fn notify(text: &str) {
    let socket = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|s| s.send_to(text.replace("\\n", "\n").as_bytes(), &socket));
    match sent {
        Ok(_) => print("notified\n"),
        Err(e) => print(&format!("not notified on {socket:?}: {e}\n")),
    }
}

/// Sends a message to `$NOTIFY_SOCKET` with a file that has `text` in it.
pub fn notify_store(message: &str, text: &str) {
    use std::os::fd::{AsRawFd, FromRawFd};
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("socket");
    socket.connect(std::env::var("NOTIFY_SOCKET").unwrap_or_default()).expect("connect");
    let mut file = unsafe { std::fs::File::from_raw_fd(libc::memfd_create(c"kept".as_ptr(), 0)) };
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("write");
    let message = message.replace("\\n", "\n");
    let sent = send_with(socket.as_raw_fd(), message.as_bytes(), &[file]);
    print(if sent { "stored\n" } else { "not stored\n" });
}

/// A stream of lines, as sd_journal_stream_fd(3) begins one, and another that has said the half of its beginning when that is waited for.
pub fn journal_stream(identifier: &str, file: &str) {
    use std::io::Write;
    let connect = || std::os::unix::net::UnixStream::connect("/run/systemd/journal/stdout").expect("connect");
    let (mut half, mut stream) = (connect(), connect());
    half.write_all(b"half\n\n3").expect("write");
    stream.write_all(format!("{identifier}\n\n30\n1\n0\n0\n0\nfirst\n").as_bytes()).expect("write");
    while std::fs::metadata(file).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    half.write_all(b"0\n1\n0\n0\n0\nthird\n").expect("write");
    stream.write_all(b"second\n").expect("write");
    std::thread::sleep(std::time::Duration::from_secs(1000));
}

fn send_with(socket: i32, text: &[u8], files: &[std::fs::File]) -> bool {
    use std::os::fd::AsRawFd;
    let mut control = [0u64; 64];
    let mut iov = libc::iovec { iov_base: text.as_ptr() as *mut _, iov_len: text.len() };
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(4 * files.len() as u32) as _;
        let first = libc::CMSG_FIRSTHDR(&header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(4 * files.len() as u32) as _;
        for (i, file) in files.iter().enumerate() {
            libc::CMSG_DATA(first).cast::<i32>().add(i).write_unaligned(file.as_raw_fd());
        }
        libc::sendmsg(socket, &header, 0) >= 0
    }
}

/// To `$NOTIFY_SOCKET`: what is too long, has NULs, no line, no name; many at once; and with descriptors.
pub fn notify_badly() {
    use std::os::fd::AsRawFd;
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("socket");
    let to = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    socket.connect(&to).expect("connect");
    let long = [b"READY=1\nX=".as_slice(), &[b'x'; 60_000]].concat();
    for message in [&long[..], b"READY=1\0", b"READY=1\0\nSTATUS", b"", b"\0\0\0", b"=", b"\n\n\n", b"READY=11", b" READY=1", &[0xff; 4000]] {
        let _ = socket.send(message);
    }
    let text = b"STATUS=with descriptors";
    let files: Vec<_> = (0..60).filter_map(|_| std::fs::File::open("/dev/null").ok()).collect();
    let sent = (0..3).filter(|_| send_with(socket.as_raw_fd(), text, &files)).count();
    print(&format!("sent {} with {} descriptors\n", if sent > 0 { "some" } else { "none" }, files.len()));
}

/// fsync(2) of no file, and opens that want every write to be on disk.
pub fn syncs() {
    let say = |ret: i32| if ret < 0 { errno_name(errno()) } else { "done".to_string() };
    let mut seen = vec![say(unsafe { libc::fsync(-1) }), say(unsafe { libc::fdatasync(-1) }), say(unsafe { libc::syncfs(-1) })];
    for flags in [libc::O_SYNC, libc::O_DSYNC, 0] {
        seen.push(say(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | flags) }));
    }
    print(&format!("{}\n", seen.join(" ")));
}

/// A datagram socket of each family.
pub fn sockets(families: &[String]) {
    let open = |family: &String| {
        let family = family.parse().unwrap_or(-1);
        let kind = if family == 16 { libc::SOCK_RAW } else { libc::SOCK_DGRAM };
        if unsafe { libc::socket(family, kind, 0) } < 0 { errno_name(errno()) } else { "done".to_string() }
    };
    print(&format!("{}\n", families.iter().map(open).collect::<Vec<_>>().join(" ")));
}

/// Opens /dev/null again and again.
pub fn many_fds(n: i64) {
    let mut held = Vec::new();
    while (held.len() as i64) < n {
        match std::fs::File::open("/dev/null") {
            Ok(f) => held.push(f),
            Err(_) => break,
        }
    }
    print(&format!("opened {}\n", held.len()));
}

/// Sends back every datagram, for ever.
pub fn udp_echo(port: u16) {
    let Ok(socket) = std::net::UdpSocket::bind(("0.0.0.0", port)) else { std::process::exit(1) };
    let mut buffer = [0u8; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
    }
}

/// Counts `backwards`, turned round, in all memory of a process that can be read: the text itself is in nobody's arguments.
pub fn scan(pid: &str, backwards: &str) {
    use std::os::unix::fs::FileExt;
    let needle: Vec<u8> = backwards.bytes().rev().collect();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"));
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"));
    let (maps, memory) = match (maps, memory) {
        (Ok(maps), Ok(memory)) => (maps, memory),
        (Err(e), _) | (_, Err(e)) => return print(&format!("scan {pid}: refused {}\n", errno_name(e.raw_os_error().unwrap_or(0)))),
    };
    let (mut read, mut found) = (0, 0);
    for range in maps.lines().filter_map(|line| line.split(' ').next()?.split_once('-')) {
        let (Ok(start), Ok(end)) = (u64::from_str_radix(range.0, 16), u64::from_str_radix(range.1, 16)) else { continue };
        let mut bytes = vec![0; (end - start) as usize];
        // [vvar] and guard pages cannot be read.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            read += bytes.len();
            found += bytes.windows(needle.len()).filter(|w| *w == needle).count();
        }
    }
    print(&format!(
        "scan {}: {} found {}\n",
        if pid == "1" || pid == "self" { pid } else { "visitor" },
        if read > 1 << 16 { "read" } else { "nothing read" },
        if found > 0 { "yes" } else { "no" }
    ));
}

/// Tries to clear the read-only flag of the mount that `path` is the root of, and to clone it.
pub fn thaw(path: &str) {
    let name = crate::sys::c(path);
    print(&format!("{path} is read-only: {}\n", if is_read_only(path) { "yes" } else { "no" }));
    // struct mount_attr: set, clear (MOUNT_ATTR_RDONLY), propagation, userns
    let attributes = [0u64, 1, 0, 0];
    let say = |call: &str, ret: i64| print(&format!("{call} {path}: {}\n", if ret < 0 { errno_name(errno()) } else { "done".into() }));
    say("mount_setattr", unsafe { libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, name.as_ptr(), 0, attributes.as_ptr(), 32usize) });
    say("open_tree", unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), 1) });
}

fn is_read_only(path: &str) -> bool {
    let mut statistics: libc::statvfs = unsafe { std::mem::zeroed() };
    let known = unsafe { libc::statvfs(crate::sys::c(path).as_ptr(), &raw mut statistics) } == 0;
    known && statistics.f_flag & libc::ST_RDONLY != 0
}

/// Waits for a process whose program is not this one's file, and tries to get hold of that and of its memory.
pub fn visitor(backwards: &str) {
    use std::os::unix::fs::MetadataExt;
    if std::process::id() != 1 {
        return;
    }
    let identity = |path: &str| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let own = identity("/proc/self/exe");
    print("waiting\n");
    loop {
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
        for pid in pids.filter(|pid| pid != "1" && pid.bytes().all(|b| b.is_ascii_digit())) {
            let exe = format!("/proc/{pid}/exe");
            if identity(&exe).is_some_and(|seen| Some(seen) != own) {
                print(&format!("program is read-only: {}\n", if is_read_only(&exe) { "yes" } else { "no" }));
                scan(&pid, backwards);
                return reboot("poweroff");
            }
        }
        reap();
    }
}

/// Poses as somebody who runs a machine: says nothing with its arguments, has a child in namespaces of its own, prints `posed`.
/// Set-uid root, it is root altogether first. `socket`: the name of an abstract one to listen at.
pub fn pose(socket: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let address = SocketAddr::from_abstract_name(socket).ok().filter(|_| socket.starts_with('/'));
    let _listener = address.map(|address| UnixListener::bind_addr(&address).unwrap_or_else(|e| panic!("listen at {socket}: {e}")));
    unsafe {
        if libc::geteuid() == 0 {
            libc::setresgid(0, 0, 0);
            libc::setresuid(0, 0, 0);
        }
        if libc::fork() == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let (uid, gid) = (libc::getuid(), libc::getgid());
            if libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS) != 0 {
                if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS) != 0 {
                    print(&format!("not posed: {}\n", std::io::Error::last_os_error()));
                    std::process::exit(1);
                }
                let _ = std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
                let _ = std::fs::write("/proc/self/setgroups", "deny");
                let _ = std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
            }
            if libc::fork() == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                print("posed\n");
            }
        }
        loop {
            libc::pause();
        }
    }
}
