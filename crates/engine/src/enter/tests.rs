//! Entering machines made with unshare(1): user namespace or not, hostile /proc, planted descriptors.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hostel_spec::UserSelector;
use hostel_sys::clone::WaitStatus;
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

/// A machine whose PID 1 is a shell script; everything in it dies with the value.
pub(crate) struct Guest {
    unshare: Child,
    pub(crate) leader: Leader,
}

impl Guest {
    /// `flags`: of unshare(1), besides pid and mount. The script runs in the host's tree and ends in something that stays.
    pub(crate) fn start(flags: &[&str], script: &str) -> Option<Guest> {
        Self::start_with(flags, &[], script)
    }

    pub(crate) fn start_with(flags: &[&str], wrap: &[&str], script: &str) -> Option<Guest> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let (ready, out) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--propagation", "private"]).args(flags).arg("--").args(wrap);
        // The script ends in reading its standard input: if this test is killed, so is the machine.
        command.args(["sh", "-c", &format!("{script}\n")]).stdin(Stdio::piped()).stdout(out);
        let mut unshare = command.spawn().unwrap();
        drop(command);
        let mut word = [0u8; 6];
        if File::from(ready).read_exact(&mut word).is_err() {
            let _ = unshare.kill();
            let _ = unshare.wait();
            panic!("the machine of this test did not start: unshare {flags:?}, {script}");
        }
        let path = format!("/proc/{0}/task/{0}/children", unshare.id());
        let pid = std::fs::read_to_string(path).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        Some(Guest { unshare, leader: Leader::from_pid(pid).unwrap() })
    }

    /// With a user namespace of its own, as hostel's machines have.
    fn usual() -> Option<Guest> {
        Self::start(&["--user", "--map-root-user", "--net", "--uts", "--ipc", "--cgroup"], &format!("{READY} cat"))
    }
}

/// Part of a guest's script: says that all before is done.
pub(crate) const READY: &str = "echo ready; exec >/dev/null;";

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.leader.signal(9);
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// How to run something: what `Entry` borrows.
pub(crate) struct Order {
    process: ProcessSpec,
    env: Vec<OsText>,
    filter: Vec<Insn>,
    unfiltered: bool,
    selection: Selection,
    bounding: Option<CapSet>,
}

impl Order {
    fn new(argv: &[&str]) -> Self {
        let process = ProcessSpec { argv: argv.iter().map(|a| OsText::from(*a)).collect(), ..ProcessSpec::default() };
        Self {
            process,
            env: environment(None, Some("hostel")),
            filter: Vec::new(),
            unfiltered: false,
            selection: Selection::default(),
            bounding: None,
        }
    }
    fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }
    fn entry<'a>(&'a self, streams: Streams<'a>) -> Entry<'a> {
        Entry {
            selection: self.selection,
            placement: None,
            process: &self.process,
            program: Program::Command,
            env: &self.env,
            bounding: self.bounding,
            known: None,
            filter: &self.filter,
            unfiltered: self.unfiltered,
            streams,
        }
    }
    /// Runs it to its end; its output, both streams.
    fn run(&self, leader: &Leader) -> std::result::Result<(WaitStatus, String), EnterError> {
        let null = File::open("/dev/null").unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let entered = enter(leader, &self.entry(Streams::Given([null.as_fd(), write.as_fd(), write.as_fd()])))?;
        drop(write);
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        Ok((entered.wait().unwrap(), text))
    }
}

fn text(guest: &Guest, script: &str) -> String {
    let (status, text) = Order::sh(script).run(&guest.leader).unwrap();
    assert_eq!(status, WaitStatus::Exited(0), "{script}: {text}");
    text
}

fn link(path: String) -> String {
    std::fs::read_link(path).unwrap().into_os_string().into_string().unwrap()
}

const KINDS: [&str; 7] = ["mnt", "net", "pid", "uts", "ipc", "cgroup", "user"];

#[test]
fn all_namespaces_and_ours_unchanged() {
    let Some(guest) = Guest::usual() else { return };
    let before: Vec<String> = KINDS.iter().map(|k| link(format!("/proc/thread-self/ns/{k}"))).collect();
    let cwd = std::env::current_dir().unwrap();
    for (n, kind) in KINDS.iter().enumerate() {
        let inside = text(&guest, &format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(inside.trim(), link(format!("/proc/{}/ns/{kind}", guest.leader.pid())), "{kind}");
        assert_ne!(inside.trim(), before[n], "{kind}");
    }
    let mut order = Order::sh("readlink /proc/self/ns/net /proc/self/ns/uts; hostname >/dev/null");
    order.selection = Selection { net: false, ..Selection::default() };
    let (_, seen) = order.run(&guest.leader).unwrap();
    assert_eq!(seen.lines().next(), Some(before[1].as_str()));
    assert_ne!(seen.lines().nth(1), Some(before[3].as_str()));
    let after: Vec<String> = KINDS.iter().map(|k| link(format!("/proc/thread-self/ns/{k}"))).collect();
    assert_eq!((before, cwd), (after, std::env::current_dir().unwrap()));
}

#[test]
fn statuses() {
    let Some(guest) = Guest::usual() else { return };
    for (script, status) in
        [("exit 0", WaitStatus::Exited(0)), ("exit 7", WaitStatus::Exited(7)), ("kill -TERM $$", WaitStatus::Signaled { signal: 15, core: false })]
    {
        assert_eq!(Order::sh(script).run(&guest.leader).unwrap().0, status, "{script}");
    }
    for (program, code) in [("/no/such", 127), ("no-such-program", 127), ("/etc/passwd", 126), ("/etc", 126), ("/etc/passwd/x", 127)] {
        let error = Order::new(&[program]).run(&guest.leader).unwrap_err();
        assert_eq!((error.exit_code(), error.verb.as_str()), (code, "execute"), "{program}: {error}");
    }
    for (spec, verb) in [
        (ProcessSpec { cwd: Some("/no/such".into()), ..Order::new(&["true"]).process }, "enter directory"),
        (ProcessSpec { user: Some(UserSelector::Name("no-such-user".into())), ..Order::new(&["true"]).process }, "find"),
    ] {
        let error = Order { process: spec, ..Order::new(&["true"]) }.run(&guest.leader).unwrap_err();
        assert_eq!((error.exit_code(), error.verb.as_str()), (125, verb), "{error}");
    }
    // A leader that has ended.
    let leader = guest.leader.pid();
    let dead = Leader::from_pid(leader).unwrap();
    drop(guest);
    while dead.is_alive() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Order::new(&["true"]).run(&dead).is_err());
}

#[test]
fn nothing_of_the_caller_comes_along() {
    let Some(guest) = Guest::usual() else { return };
    // Planted as a careless program would: host directories, not close-on-exec.
    let planted: Vec<OwnedFd> = (0..20).map(|_| rustix::fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()).collect();
    let env = text(&guest, "cat /proc/self/environ | tr '\\0' '\\n'");
    let mut names: Vec<&str> = env.lines().filter_map(|l| l.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["HOME", "LOGNAME", "PATH", "PWD", "TERM", "USER", "container"].into_iter().filter(|n| names.contains(n)).collect::<Vec<_>>(),
        "{env}"
    );
    assert!(env.contains("HOME=/root") && env.contains("container=hostel"));
    assert_eq!(text(&guest, "ls /proc/self/fd").split_whitespace().count(), 4, "0, 1, 2 and the directory ls reads");
    assert_eq!(text(&guest, "pwd; umask; [ $(cut -d' ' -f6 /proc/self/stat) = $$ ] && echo leads a session").trim(), "/\n0022\nleads a session");
    for fd in planted.iter().map(AsRawFd::as_raw_fd) {
        for suffix in ["", "/../../..", "/etc"] {
            let mut order = Order::new(&["/bin/pwd"]);
            order.process.cwd = Some(PathBuf::from(format!("/proc/self/fd/{fd}{suffix}")));
            let result = order.run(&guest.leader);
            assert!(result.is_err(), "cwd by descriptor {fd}{suffix}: {result:?}");
        }
    }
    // A standard stream that is a directory is a way out.
    let null = File::open("/dev/null").unwrap();
    let order = Order::new(&["true"]);
    let error = enter(&guest.leader, &order.entry(Streams::Given([planted[0].as_fd(), null.as_fd(), null.as_fd()]))).unwrap_err();
    assert_eq!(error.verb, "pass on");
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    for _ in 0..100 {
        let _ = Order::new(&["/bin/true"]).run(&guest.leader);
        let _ = Order::new(&["/no/such"]).run(&guest.leader);
    }
    // Other tests are threads of the same process.
    assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() < open + 100, "descriptors leak in the caller");
}

#[test]
fn streams_in_any_order() {
    let Some(guest) = Guest::usual() else { return };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (back, out) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (back2, err) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let order = Order::sh("cat; echo oops >&2");
    let entered = enter(&guest.leader, &order.entry(Streams::Given([read.as_fd(), out.as_fd(), err.as_fd()]))).unwrap();
    drop((read, out, err));
    File::from(write).write_all(b"through").unwrap();
    let all = |fd: OwnedFd| {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!((all(back), all(back2)), ("through".into(), "oops\n".into()));
    assert_eq!(entered.wait().unwrap(), WaitStatus::Exited(0));
}

fn status_field(text: &str, key: &str) -> String {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

#[test]
fn as_confined_as_asked() {
    let Some(guest) = Guest::usual() else { return };
    let mut order = Order::sh("cat /proc/self/status; mkdir /tmp/hostel-enter-no && echo made");
    order.bounding = Some(CapSet::of(&[hostel_spec::CapName::CHOWN, hostel_spec::CapName::KILL]));
    // mkdir(2), number 83 of x86-64, is EPERM.
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    if cfg!(target_arch = "x86_64") {
        order.filter = vec![insn(0x20, 0, 0, 0), insn(0x15, 0, 1, 83), insn(0x06, 0, 0, 0x0005_0001), insn(0x06, 0, 0, 0x7fff_0000)];
    }
    let (_, seen) = order.run(&guest.leader).unwrap();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&status_field(&seen, set), 16).unwrap(), 0x21, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status_field(&seen, set), 16).unwrap(), 0, "{set}");
    }
    if cfg!(target_arch = "x86_64") {
        assert_eq!(status_field(&seen, "Seccomp"), "2");
        assert!(!seen.contains("made"));
    }
    // Another user keeps nothing.
    let mut order = Order::sh("cat /proc/self/status");
    order.process.user = Some(UserSelector::Id(0));
    let (_, seen) = order.run(&guest.leader).unwrap();
    assert_eq!(status_field(&seen, "Uid").split_whitespace().next(), Some("0"));
}

/// A filter that cannot be had is no reason to go in without one.
#[test]
fn a_filtered_machine_is_not_entered_unfiltered_by_chance() {
    let number = if cfg!(target_arch = "x86_64") { 317 } else { 277 };
    // seccomp(SECCOMP_SET_MODE_FILTER) with one instruction: allow.
    let perl = format!(
        r#"$f = pack("SCCL", 6, 0, 0, 0x7fff0000); $p = pack("S x6 P", 1, $f); syscall({number}, 1, 0, $p) == 0 or die "seccomp: $!"; exec @ARGV"#
    );
    let Some(guest) = Guest::start_with(&["--user", "--map-root-user"], &["perl", "-e", &perl], &format!("{READY} cat")) else { return };
    assert!(guest.leader.facts().unwrap().filtered);
    let filtered = |order: &Order| order.run(&guest.leader).map(|(_, text)| status_field(&text, "Seccomp"));
    let mut order = Order::sh("cat /proc/self/status");
    let error = filtered(&order).unwrap_err();
    assert!(error.to_string().contains("system call filter"), "{error}");
    order.unfiltered = true;
    assert_eq!(filtered(&order).unwrap(), "0");
    order.unfiltered = false;
    order.filter = vec![Insn { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 }];
    assert_eq!(filtered(&order).unwrap(), "2");
}

/// CVE-2015-1334: what a machine shows as /proc decides nothing.
#[test]
fn a_fake_proc_decides_nothing() {
    let script = format!(
        "mount -t tmpfs none /proc; mkdir -p /proc/self /proc/1 /proc/thread-self; echo 'CapBnd: ffffffffffffffff' >/proc/self/status; {READY} cat"
    );
    let flags = ["--user", "--map-root-user", "--net", "--uts", "--ipc"];
    // The bounding set of the leader is what it is, whatever its /proc says.
    let Some(guest) = Guest::start_with(&flags, &["setpriv", "--bounding-set=-sys_module,-sys_boot"], &script) else { return };
    let null = File::open("/dev/null").unwrap();
    let order = Order::new(&["sleep", "60"]);
    let entered = enter(&guest.leader, &order.entry(Streams::Given([null.as_fd(), null.as_fd(), null.as_fd()]))).unwrap();
    let facts = Leader::from_pid(entered.pid).unwrap().facts().unwrap();
    let leader = guest.leader.facts().unwrap();
    assert_eq!(facts.bounding, leader.bounding);
    assert_eq!(facts.bounding >> 16 & 1, 0, "sys_module");
    assert_eq!(facts.effective & !facts.bounding, 0);
    clone::pidfd_send_signal(entered.pidfd.as_fd(), 9).unwrap();
    entered.wait().unwrap();
}

/// CVE-2019-5736: the machine never gets to see which program enters it.
#[test]
fn our_program_is_not_shown() {
    // Fast enough to see it, were it shown: without the protection every tenth entry is.
    let watch = r#"$|=1; while (1) { for (glob "/proc/[0-9]*") { $l = readlink("$_/exe"); if ($l =~ /hostel/) { open(F, ">>/dev/shm/seen"); print F "$l\n"; close F } } }"#;
    let script = format!("mount -t tmpfs none /dev/shm; {READY} exec perl -e '{watch}'");
    let Some(guest) = Guest::start(&["--user", "--map-root-user"], &script) else { return };
    for _ in 0..500 {
        Order::new(&["/bin/true"]).run(&guest.leader).unwrap();
    }
    assert_eq!(text(&guest, "cat /dev/shm/seen 2>/dev/null; true"), "");
}

fn on_terminal(guest: &Guest, script: &str) -> std::result::Result<String, EnterError> {
    let order = Order::sh(script);
    let size = WindowSize { rows: 33, cols: 99 };
    let entered = enter(&guest.leader, &order.entry(Streams::Terminal(Some(size))))?;
    let master = entered.terminal.as_ref().unwrap();
    let mut out = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let mut buffer = [0u8; 4096];
        match rustix::io::read(master, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => break,
            Ok(n) => out.extend_from_slice(&buffer[..n]),
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(entered.wait().unwrap(), WaitStatus::Exited(0));
    Ok(String::from_utf8_lossy(&out).into_owned())
}

pub(crate) const DEVPTS: &str = "mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts;";

#[test]
fn a_terminal_out_of_the_machine() {
    let Some(guest) = Guest::start(&["--user", "--map-root-user", "--ipc"], &format!("{DEVPTS} {READY} cat")) else { return };
    let seen =
        on_terminal(&guest, "tty; stty size; [ -O $(tty) ] && echo mine; echo hi >/dev/tty; ps -o tty= -p $$; ls /proc/self/fd | wc -l").unwrap();
    let lines: Vec<&str> = seen.split("\r\n").map(str::trim).collect();
    assert_eq!(lines, ["/dev/pts/0", "33 99", "mine", "hi", "pts/0", "4", ""], "{seen:?}");
}

#[test]
fn false_terminals_are_refused() {
    let traps = [
        "mount -t tmpfs none /dev/pts",
        "mount -t tmpfs none /dev/pts; : >/dev/pts/ptmx",
        "mount -t tmpfs none /dev/pts; ln -s /proc/1/fd/0 /dev/pts/ptmx",
        "mount -t tmpfs none /dev/pts; mkfifo /dev/pts/ptmx",
        "mount -t tmpfs none /dev/pts; : >/dev/pts/ptmx; mount --bind /dev/null /dev/pts/ptmx",
        "mount -t tmpfs none /dev; ln -s /tmp /dev/pts",
        "mount -t tmpfs none /dev",
    ];
    for trap in traps {
        let Some(guest) = Guest::start(&["--user", "--map-root-user"], &format!("{trap}; {READY} cat")) else { return };
        let started = Instant::now();
        assert!(on_terminal(&guest, "true").is_err(), "{trap}");
        assert!(started.elapsed() < Duration::from_secs(3), "{trap}");
    }
}

/// A leader that changed its root directory after the mount namespace was made.
#[test]
fn the_leaders_own_root() {
    let dir = std::env::temp_dir().join(format!("hostel-enter-root-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.display();
    let script = format!(
        "mount --rbind / {path} && echo here >/dev/null; mount -t tmpfs none {path}/mnt; echo inner >{path}/mnt/mark; {READY} exec chroot {path} sh -c 'cat'"
    );
    if let Some(guest) = Guest::start(&["--user", "--map-root-user"], &script) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::read_link(format!("/proc/{}/root", guest.leader.pid())).is_ok_and(|r| r == std::path::Path::new("/"))
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(text(&guest, "cat /mnt/mark").trim(), "inner");
    }
    std::fs::remove_dir(&dir).unwrap();
}

/// Runs an ignored test of this module in a process of its own, out of `program`; returns what it printed.
fn alone(program: &std::path::Path, test: &str) -> String {
    let out = Command::new(program).args(["--exact", &format!("enter::tests::{test}"), "--ignored", "--nocapture"]).output().unwrap();
    let seen = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && (seen.contains("1 passed") || seen.contains("skipped")), "{seen}");
    seen
}

#[test]
fn a_privileged_machine_gets_a_copy() {
    alone(&std::env::current_exe().unwrap(), "privileged");
}

#[test]
#[ignore = "run by a_privileged_machine_gets_a_copy"]
fn privileged() {
    // libtest has two threads: a child of this one has one.
    let (_, child) = clone::vfork_exec(&clone::CloneArgs::default(), &mut || i32::from(std::panic::catch_unwind(in_one_thread).is_err())).unwrap();
    assert_eq!(clone::wait_pidfd(child.as_fd(), clone::WAIT_EXITED).unwrap(), Some(WaitStatus::Exited(0)));
}

fn in_one_thread() {
    let Some(guest) = Guest::start(&["--net", "--uts", "--ipc", "--cgroup"], &format!("{READY} cat")) else { return };
    assert!(clone::is_single_threaded().unwrap());
    statuses_of(&guest);
    let (_, seen) = Order::sh("cat /proc/self/status; ls /proc/self/fd | wc -l").run(&guest.leader).unwrap();
    let leader = guest.leader.facts().unwrap();
    assert_eq!(u64::from_str_radix(&status_field(&seen, "CapBnd"), 16).unwrap(), leader.bounding);
    assert_eq!(seen.lines().last().map(str::trim), Some("4"));
    let mut order = Order::sh("id -u; id -g");
    order.process.user = Some(UserSelector::Name("nobody".into()));
    assert_eq!(order.run(&guest.leader).unwrap().1.lines().next(), Some("65534"));
}

/// A leader that is another user's but in our user namespace: taken for one of its own namespace first.
#[test]
fn a_leader_that_changed_its_user() {
    alone(&std::env::current_exe().unwrap(), "changed_user");
}

#[test]
#[ignore = "run by a_leader_that_changed_its_user"]
fn changed_user() {
    let flags = ["--net", "--uts", "--ipc", "--cgroup"];
    let Some(guest) = Guest::start_with(&flags, &["setpriv", "--reuid=65534", "--clear-groups"], &format!("{READY} cat")) else { return };
    assert_eq!(guest.leader.facts().unwrap().uid, 65534);
    let status = in_a_copy(|| {
        let null = File::open("/dev/null").unwrap();
        let order = Order::sh("[ $(id -u) = 0 ] && exit 6");
        let entered = enter(&guest.leader, &order.entry(Streams::Given([null.as_fd(), null.as_fd(), null.as_fd()])));
        entered.map_or_else(|e| e.exit_code().into(), |e| e.wait().map_or(98, WaitStatus::shell_code))
    });
    assert_eq!(status, 6);
}

/// Runs `body` in a process of one thread and with a copy of the memory: what it opens and remembers is of its own
/// descriptor table. It is made by a child of this one, which has the threads of libtest.
fn in_a_copy(body: impl Fn() -> i32) -> i32 {
    let status = |pidfd: OwnedFd| clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED).ok().flatten().map_or(97, WaitStatus::shell_code);
    let made = clone::vfork_exec(&clone::CloneArgs::default(), &mut || match clone::clone3(&clone::CloneArgs::default()) {
        Ok(clone::Fork::Child) => clone::exit_now(body()),
        Ok(clone::Fork::Parent { pidfd, .. }) => status(pidfd),
        Err(_) => 96,
    });
    status(made.unwrap().1)
}

fn statuses_of(guest: &Guest) {
    assert_eq!(Order::sh("exit 7").run(&guest.leader).unwrap().0, WaitStatus::Exited(7));
    let error = Order::new(&["/no/such"]).run(&guest.leader).unwrap_err();
    assert_eq!((error.exit_code(), error.verb.as_str(), error.object.as_str()), (127, "execute", "/no/such"));
    assert_eq!(error.why, "No such file or directory");
}

#[test]
fn the_caller_may_go_in_itself() {
    alone(&std::env::current_exe().unwrap(), "for_good");
}

#[test]
#[ignore = "run by the_caller_may_go_in_itself"]
fn for_good() {
    let Some(guest) = Guest::usual() else { return };
    let Some(privileged) = Guest::start(&["--net", "--uts", "--ipc", "--cgroup"], &format!("{READY} cat")) else { return };
    let links = |guest: &Guest| KINDS.map(|k| link(format!("/proc/{}/ns/{k}", guest.leader.pid()))).join("\n");
    let script = |guest: &Guest, code: i32| {
        let all = KINDS.map(|k| format!("/proc/self/ns/{k}")).join(" ");
        format!("[ \"$(readlink {all})\" = \"{}\" ] && [ $(ls /proc/self/fd | wc -l) = 4 ] && exit {code}; exit 1", links(guest))
    };
    let cases = [(&guest, script(&guest, 7), 7), (&privileged, script(&privileged, 8), 8), (&guest, "kill -9 $$".into(), 137)];
    let go_in = |guest: &Guest, order: &Order| {
        // Whoever goes in stays in: each time another child, of one thread.
        in_a_copy(|| {
            let null = File::open("/dev/null").unwrap();
            let entry = order.entry(Streams::Given([null.as_fd(), null.as_fd(), null.as_fd()]));
            let entered = enter_for_good(&guest.leader, &entry);
            entered.map_or_else(|e| e.exit_code().into(), |e| e.wait().map_or(98, WaitStatus::shell_code))
        })
    };
    for (guest, script, want) in &cases {
        assert_eq!(go_in(guest, &Order::sh(script)), *want, "{script}");
    }
    for guest in [&guest, &privileged] {
        assert_eq!(go_in(guest, &Order::new(&["/no/such"])), 127);
    }
}

#[test]
fn a_privileged_machine_is_not_for_threads() {
    let Some(guest) = Guest::start(&["--ipc"], &format!("{READY} cat")) else { return };
    // This test is a thread of its own.
    let error = Order::new(&["true"]).run(&guest.leader).unwrap_err();
    assert!(error.why.contains("threads"), "{error}");
}

#[test]
fn shielded_programs_cannot_be_written() {
    let copy = std::env::temp_dir().join(format!("hostel-enter-shield-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let seen = alone(&copy, "shielded");
    let size = std::fs::metadata(&copy).unwrap().len();
    std::fs::remove_file(&copy).unwrap();
    assert!(seen.contains("skipped") || seen.contains("refused, twice"), "{seen}");
    assert_eq!(size, std::fs::metadata(std::env::current_exe().unwrap()).unwrap().len());
}

#[test]
#[ignore = "run by shielded_programs_cannot_be_written"]
#[allow(clippy::zombie_processes)] // it is to outlive this process
fn shielded() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let argv: Vec<_> = std::env::args_os().collect();
    let env: Vec<_> = std::env::vars_os().collect();
    shield::shield(&argv, &env).unwrap();
    // From here on it is the second life.
    assert!(shield::is_shielded());
    let path = rustix::fs::open("/proc/self/exe", OFlags::PATH, Mode::empty()).unwrap().into_raw_fd();
    // It is tried when nobody executes the file any more.
    let attack = format!("sleep 0.3; for i in 1 2; do ( : >>/proc/self/fd/{path} ) 2>/dev/null && echo written; done; echo refused, twice");
    Command::new("bash").args(["-c", &attack]).spawn().unwrap();
}

#[test]
fn places_of_foreign_machines() {
    let mounts = "35 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n36 24 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  37 24 0:32 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n38 24 0:33 / /sys/fs/cgroup/systemd rw - cgroup none rw,name=systemd\n";
    let own = "5:memory:/lxc/a\n4:cpu,cpuacct:/docker/x/y\n3:cpu,cpuacct:/elsewhere\n2:name=systemd:/m\n1:pids:/none\n0::/machine.slice/a\n";
    let paths: Vec<(bool, String)> = spawn::cgroup_paths(own, mounts).into_iter().map(|(v2, p)| (v2, p.display().to_string())).collect();
    let want = [
        (false, "/sys/fs/cgroup/memory/lxc/a"),
        (false, "/sys/fs/cgroup/cpu/y"),
        (false, "/sys/fs/cgroup/systemd/m"),
        (true, "/sys/fs/cgroup/unified/machine.slice/a"),
    ];
    assert_eq!(paths, want.map(|(v2, p)| (v2, p.to_owned())));
    assert!(spawn::cgroup_paths("0::/../x\njunk\n", mounts).is_empty());
    assert!(spawn::cgroup_paths(own, "").is_empty());
}
