//! hostel's own verbs: run, boot, ps, exec, stop and the rest, as a person uses them.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Running, Signal, Terminal, Tree, Value, eventually};

const SOON: Duration = Duration::from_secs(15);

/// A machine booted in the background from a busybox tree with an inittab; stopped and gone with `end`.
struct Machine<'a> {
    bed: &'a Bed,
    name: String,
    tree: Tree,
}

impl<'a> Machine<'a> {
    #[track_caller]
    fn boot(bed: &'a Bed, options: &[&str]) -> Machine<'a> {
        let tree = bed.copy("bbinit");
        let name = bed.name();
        let outcome = bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).args(options).run().exits(0);
        assert!(!outcome.pipes_held, "the background supervisor holds the caller's output: {}", outcome.describe());
        let machine = Machine { bed, name, tree };
        machine.wait_up();
        machine
    }
    #[track_caller]
    fn wait_up(&self) {
        let up = eventually(SOON, || self.exec(["test", "-e", "/run/hostel-test-up"]).code == Some(0));
        assert!(up, "{} did not come up; log: {}", self.name, self.bed.hostel(["logs", &self.name]).run().describe());
    }
    fn exec<const N: usize>(&self, words: [&str; N]) -> hostel_tests::Outcome {
        self.bed.hostel(["exec", &self.name]).args(words).run()
    }
    #[track_caller]
    fn end(self) {
        self.bed.hostel(["stop", &self.name]).run().exits(0);
        assert!(row(self.bed, &self.name).is_none(), "still listed");
        self.bed.assert_clean();
    }
}

#[track_caller]
fn list(bed: &Bed) -> Vec<Value> {
    bed.hostel(["ps", "--json"]).run().exits(0).json().as_array().expect("an array").clone()
}

#[track_caller]
fn row(bed: &Bed, name: &str) -> Option<Value> {
    list(bed).into_iter().find(|m| m["name"] == name)
}

#[track_caller]
fn state(bed: &Bed, name: &str) -> String {
    row(bed, name).map_or_else(|| "none".into(), |m| m["state"].as_str().unwrap_or("?").to_string())
}

// ---- run

#[test]
fn small_mistakes_are_named() {
    let Some(bed) = Bed::start() else { return };
    bed.hostel(["ps"]).env("HOSTEL_RUNTIME_DIR", "relative").dir(bed.dir()).run().exits(1).says("absolute path");
    assert!(!bed.dir().join("relative").exists());
    bed.hostel(["import-raw", "fedora.tar.gz", "fe"]).run().exits(1).says("hostel import-tar");
    bed.hostel(["run", "--", "pwd"]).dir("/tmp").run().exits(0).prints("/\n").says("it begins in /");
    bed.hostel(["run", "-q", "--", "pwd"]).dir("/tmp").run().exits(0).prints("/\n").says_nothing();
    bed.hostel(["help", "help"]).run().exits(0).prints_with("hostel VERB");
    bed.hostel(["cp", "x", "web:"]).run().exits(2).says("is empty");
    bed.hostel(["exec", "web", "-E", "1x=b", "env"]).run().exits(2).says("1x");
    bed.hostel(["run", "--nest=-1", "--", "true"]).run().exits(2).says("0 to");
    bed.hostel(["machinectl", "shell", "root@no-such-machine", "true"]).run().exits(1).says("machinectl: ");
    let machine = Machine::boot(&bed, &[]);
    let outcome = bed.hostel(["machinectl", "shell", &format!("nosuch@{}", machine.name), "true"]).run().exits(1);
    assert!(outcome.errors().starts_with("machinectl: ") && outcome.errors().contains("nosuch"), "{}", outcome.describe());
    let full = bed.hostel(["logs", &machine.name]).through_shell("exec \"$@\" >/dev/full").run().exits(1);
    full.says("write standard output");
    let size = bed.hostel(["exec", &machine.name, "-t", "stty", "size"]).input("").run();
    assert!(size.text().contains("24 80"), "{}", size.describe());
    machine.end();
}

#[test]
fn what_is_busy_is_no_status_of_the_command() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    bed.hostel(["run", "--name", &machine.name, "--", "true"]).run().exits(125).says(&machine.name);
    // A tree that is being written to: nothing was kept.
    let other = bed.name();
    bed.hostel(["run", "--keep", &other, "--tree"]).arg(machine.tree.path()).args(["--", "true"]).run().exits(125);
    assert!(!kept_directory(&other).exists(), "a failed start left a kept machine");
    machine.end();
}

#[test]
fn run_is_an_overlay_of_the_host() {
    let Some(bed) = Bed::start() else { return };
    let marker = format!("/etc/hostel-test-{}", bed.id());
    let outcome = bed
        .hostel(["run", "--", "sh", "-c", &format!("cat /etc/hostname; echo written >{marker}; cat {marker}; rm /etc/passwd; exit 7")])
        .run()
        .exits(7);
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert_eq!(outcome.text(), format!("{host}written\n"), "{}", outcome.describe());
    assert!(!Path::new(&marker).exists() && Path::new("/etc/passwd").exists());
}

#[test]
fn run_has_namespaces_of_its_own_and_a_private_tmp() {
    let Some(bed) = Bed::start() else { return };
    let probe = hostel_tests::probe();
    let view = bed.hostel(["run", "--"]).arg(&probe).arg("json").run().exits(0).view();
    for kind in ["mnt", "pid", "uts", "ipc", "cgroup", "user"] {
        let host = std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("read").to_string_lossy().into_owned();
        assert!(!host.contains(&view["namespaces"][kind].to_string()), "{kind} is the host's");
    }
    for (path, kind) in [("/tmp", "tmpfs"), ("/run", "tmpfs"), ("/dev", "tmpfs"), ("/", "overlay")] {
        assert_eq!(view.mount_type(path), kind, "{path}");
    }
    assert_eq!(view.number("/uid/0"), 0);
    assert_eq!(view.env("container").as_deref(), Some("hostel"));
    assert!(view.extra_fds().is_empty(), "{:?}", view.extra_fds());
    bed.hostel(["run", "--", "ls", "-A", "/tmp"]).run().exits(0).prints("");
}

#[test]
fn run_keeps_streams_apart_and_reads_input() {
    let Some(bed) = Bed::start() else { return };
    let outcome = bed.hostel(["run", "--", "sh", "-c", "cat; echo error >&2"]).input("through\n").run().exits(0);
    assert_eq!((outcome.stdout.as_slice(), outcome.errors().as_str()), (&b"through\n"[..], "error\n"), "{}", outcome.describe());
    let big = "x".repeat(3_000_000);
    let outcome = bed.hostel(["run", "--", "wc", "-c"]).input(&big).run().exits(0);
    assert_eq!(outcome.text().trim(), "3000000");
}

#[test]
fn run_statuses_are_true() {
    let Some(bed) = Bed::start() else { return };
    for status in [0, 1, 2, 42, 126, 133, 255] {
        bed.hostel(["run", "--", "sh", "-c", &format!("exit {status}")]).run().exits(status);
    }
    let outcome = bed.hostel(["run", "--", "/no/such/program"]).run().fails();
    assert!(outcome.errors().contains("/no/such/program"), "{}", outcome.describe());
}

#[test]
fn run_in_a_terminal_is_a_terminal() {
    let Some(bed) = Bed::start() else { return };
    let mut terminal = Terminal::start_sized(bed.hostel(["run", "--", "sh", "-c", "stty size; read x; echo \"<$x>\"; exit 4"]), 30, 90);
    terminal.expect("30 90");
    terminal.send("typed\r");
    terminal.expect("<typed>");
    assert_eq!(terminal.wait(SOON), 4);
    assert!(terminal.is_sane());
}

#[test]
fn run_over_a_tree_leaves_it_alone() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let watched = hostel_tests::Trap::watch(tree.path().into());
    bed.hostel(["run", "--tree"])
        .arg(tree.path())
        .args(["--", "sh", "-c", "touch /etc/new; rm /etc/hostname; ls /etc/new; stat -c %u /etc"])
        .run()
        .exits(0)
        .prints("/etc/new\n0");
    watched.assert_untouched("hostel run --tree");
}

#[test]
fn run_keep_remembers() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let run = |script: &str| bed.hostel(["run", "--keep", &name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", script]).run();
    run("echo kept >/etc/kept").exits(0);
    run("cat /etc/kept").exits(0).prints("kept");
    assert!(!tree.at("/etc/kept").exists());
    bed.hostel(["rm", &name]).run().exits(0);
    let outcome = run("cat /etc/kept").ends();
    assert!(!outcome.text().contains("kept\n"), "rm did not forget: {}", outcome.describe());
    bed.hostel(["rm", &name]).run().ends();
}

/// What a machine of that name is in the listing of everything that exists.
#[track_caller]
fn stored(bed: &Bed, name: &str) -> Vec<Value> {
    let all = bed.hostel(["ps", "--all", "--json"]).run().exits(0).json();
    all.as_array().expect("an array").iter().filter(|m| m["name"] == name).cloned().collect()
}

fn kept_directory(name: &str) -> std::path::PathBuf {
    Path::new("/var/lib/hostel/machines").join(name)
}

#[test]
fn kept_machines_are_seen() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let over = |script: &str| bed.hostel(["run", "--keep", &name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", script]);
    assert!(stored(&bed, &name).is_empty());
    let running = over("dd if=/dev/zero of=/etc/big bs=1024 count=100 2>/dev/null; rm /etc/hostname; echo up; read x").open_input().start();
    running.expect("up");
    let seen = stored(&bed, &name);
    assert!(seen.len() == 1 && seen[0]["state"] == "running", "{seen:?}");
    running.signal(Signal::TERM);
    running.finish(SOON);

    let seen = stored(&bed, &name);
    assert!(seen.len() == 1 && seen[0]["state"] == "kept" && seen[0]["leader"].is_null(), "{seen:?}");
    assert_eq!(seen[0]["tree"].as_str(), tree.path().to_str());
    assert!(row(&bed, &name).is_none(), "it does not run");
    let line = bed.hostel(["ps", "-a"]).run().exits(0).text();
    assert!(line.lines().any(|l| l.split_whitespace().take(2).eq([name.as_str(), "kept"])), "{line}");
    let status = bed.hostel(["status", &name]).run().exits(0).text();
    assert!(status.contains("kept, it does not run") && status.contains(&format!("lies over: {}", tree.path().display())), "{status}");
    let inspected = bed.hostel(["inspect", &name]).run().exits(0).json();
    assert!(inspected["upper"]["bytes"].as_u64().is_some_and(|n| (100 << 10..1 << 20).contains(&n)), "{inspected}");
    assert!(inspected["upper"]["files"].as_u64().is_some_and(|n| n >= 2), "{inspected}");
    assert_eq!(inspected["tree"].as_str(), tree.path().to_str());
    // Keys are the same for one that runs.
    let running = over("echo up; read x").open_input().start();
    running.expect("up");
    let other = bed.hostel(["inspect", &name]).run().exits(0).json();
    let keys = |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&inspected), keys(&other));
    bed.hostel(["rm", &name]).run().fails().says("it is running");
    running.signal(Signal::TERM);
    running.finish(SOON);

    bed.hostel(["rm", &name]).run().exits(0);
    assert!(stored(&bed, &name).is_empty() && !kept_directory(&name).exists());
    bed.hostel(["status", &name]).run().exits(1).says("does not run");
}

#[test]
fn a_kept_layer_stays_over_its_tree() {
    let Some(bed) = Bed::start() else { return };
    let (tree, other) = (bed.busybox(), bed.busybox());
    let (name, named) = (bed.name(), bed.name());
    // A tree by name.
    std::fs::create_dir_all("/run/machines").expect("make /run/machines");
    let link = Path::new("/run/machines").join(&named);
    std::os::unix::fs::symlink(other.path(), &link).expect("link");
    let keep = |over: &[&str]| bed.hostel(["run", "--keep", &name]).args(over).args(["--", "cat", "/etc/kept"]).run();
    let path = tree.path().to_string_lossy().into_owned();
    bed.hostel(["run", "--keep", &name, "--tree", &path, "--", "sh", "-c", "echo kept >/etc/kept"]).run().exits(0);
    for over in [&["--tree", &*other.path().to_string_lossy()][..], &["--tree", &named], &["--tree", "/"], &[]] {
        let refused = keep(over).exits(125).says("it lies over").says(&format!("--tree {path}"));
        assert_eq!(refused.errors().lines().count(), 2, "{}", refused.describe());
    }
    keep(&["--tree", &path]).exits(0).prints("kept");
    // Another name for the same tree.
    std::fs::remove_file(&link).expect("unlink");
    std::os::unix::fs::symlink(tree.path(), &link).expect("link");
    keep(&["--tree", &named]).exits(0).prints("kept");
    std::fs::remove_file(&link).expect("unlink");
    // `run` leaves a tree as it is: a kept machine is none.
    bed.hostel(["run", "--tree", &name, "--", "true"]).run().exits(125).says(&format!("--keep {name}"));
    for throw_away in ["--ephemeral", "--volatile=yes", "--read-only"] {
        keep(&["--tree", &path, throw_away]).exits(2).says("combine --keep and");
    }

    // A damaged note is said to be one, and does not hide the machine.
    let note = kept_directory(&name).join("machine.json");
    for damage in [Some("{\"lower\":"), Some(""), None] {
        match damage {
            Some(text) => std::fs::write(&note, text).expect("write"),
            None => std::fs::remove_file(&note).expect("remove"),
        }
        let refused = keep(&["--tree", &path]).exits(125).says("machine.json").says(&format!("hostel rm {name}"));
        assert_eq!(refused.errors().lines().count(), 2, "{}", refused.describe());
        assert_eq!(stored(&bed, &name)[0]["state"], "damaged");
    }
    assert!(kept_directory(&name).join("upper/etc/kept").exists());
    bed.hostel(["rm", &name]).run().exits(0);
}

#[test]
fn keeping_nothing_leaves_nothing() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    let path = tree.path().to_string_lossy().into_owned();
    for (words, status) in [
        (&["--tree", "/no/such/tree", "--", "true"][..], 125),
        (&["--tree", &path, "--bind", "/no/such/source:/x", "--", "true"], 125),
        (&["--tree", &path, "--uid=nobodyofthisname", "--", "true"], 125),
        (&["--tree", &path, "--", "/no/such/program"], 127),
        (&["--tree", &path, "-d", "--", "/no/such/program"], 127),
        (&["--", "/etc/hostname"], 126),
    ] {
        bed.hostel(["run", "--keep", &name]).args(words).run().exits(status);
        assert!(!kept_directory(&name).exists(), "{words:?}");
    }
    // What has been kept stays when a later start fails.
    bed.hostel(["run", "--keep", &name, "--tree", &path, "--", "touch", "/etc/kept"]).run().exits(0);
    bed.hostel(["run", "--keep", &name, "--tree", &path, "--", "/no/such/program"]).run().exits(127);
    assert!(kept_directory(&name).join("upper/etc/kept").exists());
    // A command that fails has run.
    let second = bed.name();
    bed.hostel(["run", "--keep", &second, "--tree", &path, "--", "false"]).run().exits(1);
    assert!(kept_directory(&second).exists());
    for name in [name, second] {
        bed.hostel(["rm", &name]).run().exits(0);
    }
}

#[test]
fn run_signals_are_forwarded() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let running = bed.hostel(["run", "--tree"]).arg(tree.path()).args(["--", "/probe", "say", "up", "then", "sleep"]).start();
    running.expect("up").signal(Signal::TERM);
    let outcome = running.finish(Duration::from_secs(10)).ends();
    assert!(outcome.time < Duration::from_secs(8), "{}", outcome.describe());
}

// ---- boot and its life

#[test]
fn boot_list_enter_and_stop() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let seen = row(&bed, &machine.name).expect("listed");
    assert_eq!(seen["state"], "running", "{seen}");
    assert_eq!(seen["init"], "busybox", "{seen}");
    let leader = seen["leader"].as_i64().or_else(|| seen["leader"]["pid"].as_i64()).expect("a leader");
    assert!(std::fs::read_to_string(format!("/proc/{leader}/status")).is_ok_and(|s| s.contains("init")), "leader {leader}");
    let table = bed.hostel(["ps"]).run().exits(0).says_nothing();
    assert!(table.text().lines().any(|l| l.contains(&machine.name) && l.contains("running")), "{}", table.describe());
    bed.hostel(["status", &machine.name]).run().exits(0).prints_with(&machine.name);
    let inspected = bed.hostel(["inspect", &machine.name]).run().exits(0).json();
    assert_eq!(inspected["name"].as_str().or_else(|| inspected["state"]["name"].as_str()), Some(machine.name.as_str()), "{inspected}");
    machine.exec(["hostname"]).exits(0).prints(&machine.name);
    machine.end();
}

#[test]
fn exec_is_inside_with_true_statuses_and_streams() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    for status in [0, 3, 127, 255] {
        machine.exec(["sh", "-c", &format!("exit {status}")]).exits(status);
    }
    let outcome = bed.hostel(["exec", &machine.name, "sh", "-c", "cat; echo e >&2"]).input("in\n").run().exits(0);
    assert_eq!((outcome.stdout.as_slice(), outcome.errors().as_str()), (&b"in\n"[..], "e\n"));
    let view = machine.exec(["/probe", "json"]).exits(0).view();
    let inside = machine.exec(["sh", "-c", "for n in cgroup ipc mnt net pid user uts; do readlink /proc/1/ns/$n; done"]).exits(0).text();
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        assert!(inside.contains(&format!("{kind}:[{}]", view["namespaces"][kind])), "{kind}: {} not in {inside}", view["namespaces"][kind]);
    }
    assert!(view.extra_fds().is_empty(), "{:?}", view.extra_fds());
    assert!(!view["env"].to_string().contains("must not reach"), "{}", view["env"]);
    assert_eq!((view.text("/seccomp"), view.text("/cwd").is_empty()), ("2", false));
    let leader = machine.exec(["cat", "/proc/1/status"]).exits(0).text();
    let bounding = |text: &str| text.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap_or("").trim().to_string();
    assert_eq!(bounding(&leader), view.text("/caps_hex/bnd"), "exec has other capabilities than the machine");
    assert!(view["tty"]["controlling"].is_null());
    let missing = machine.exec(["/no/such/program"]).fails();
    assert!(missing.errors().contains("/no/such/program"), "{}", missing.describe());
    machine.end();
}

#[test]
fn exec_with_a_terminal() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let mut terminal =
        Terminal::start_sized(bed.hostel(["exec", &machine.name, "sh", "-c", "tty; stty size; read x; echo \"<$x>\"; exit 9"]), 28, 88);
    terminal.expect("/dev/pts/");
    terminal.expect("28 88");
    terminal.send("word\r");
    terminal.expect("<word>");
    assert_eq!(terminal.wait(SOON), 9);
    assert!(terminal.is_sane());
    machine.end();
}

#[test]
fn exec_forwards_signals_and_dies_with_its_caller() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let running = bed.hostel(["exec", &machine.name, "sh", "-c", "trap 'exit 21' TERM; echo up; while :; do sleep 0.05; done"]).start();
    running.expect("up").signal(Signal::TERM);
    running.finish(SOON).exits(21);
    let running = bed.hostel(["exec", &machine.name, "sh", "-c", "echo up; exec sleep 4321"]).start();
    running.expect("up").signal(Signal::KILL);
    drop(running);
    let gone = eventually(Duration::from_secs(3), || machine.exec(["sh", "-c", "ps | grep -c '[s]leep 4321'"]).text().trim() == "0");
    assert!(gone, "what exec started outlived it");
    machine.end();
}

#[test]
fn shell_is_a_login_as_root_or_somebody() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    bed.hostel(["shell", &machine.name]).input("id -u; pwd; exit 5\n").run().exits(5).prints_with("0\n").prints_with("/root");
    bed.hostel(["shell", &format!("alice@{}", machine.name)])
        .input("id -un; echo $HOME\n")
        .run()
        .exits(0)
        .prints_with("alice")
        .prints_with("/home/alice");
    bed.hostel(["shell", &format!("nosuchuser@{}", machine.name)]).input("true\n").run().fails().says("nosuchuser");
    machine.end();
}

#[test]
fn enter_chooses_namespaces() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let inside = |flags: &[&str], word: &str| {
        bed.hostel(["enter", &machine.name])
            .args(flags)
            .args(["--", "readlink", &format!("/proc/self/ns/{word}")])
            .run()
            .exits(0)
            .text()
            .trim()
            .to_string()
    };
    let host = |word: &str| std::fs::read_link(format!("/proc/thread-self/ns/{word}")).expect("read").to_string_lossy().into_owned();
    assert_ne!(inside(&[], "net"), host("net"));
    assert_eq!(inside(&["--no-net"], "net"), host("net"));
    assert_eq!(inside(&["--no-uts"], "uts"), host("uts"));
    assert_ne!(inside(&["--no-uts"], "net"), host("net"));
    machine.end();
}

#[test]
fn pause_and_resume() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let leader = row(&bed, &machine.name).and_then(|m| m["leader"].as_i64().or_else(|| m["leader"]["pid"].as_i64())).expect("leader");
    bed.hostel(["pause", &machine.name]).run().exits(0);
    assert_eq!(state(&bed, &machine.name), "paused");
    let condition = || std::fs::read_to_string(format!("/proc/{leader}/wchan")).unwrap_or_default();
    let _ = condition();
    bed.hostel(["resume", &machine.name]).run().exits(0);
    assert_eq!(state(&bed, &machine.name), "running");
    machine.exec(["true"]).exits(0);
    // a paused machine can be stopped
    bed.hostel(["pause", &machine.name]).run().exits(0);
    machine.end();
}

#[test]
fn logs_hold_the_console() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    bed.hostel(["logs", &machine.name]).run().exits(0).prints_with("HOSTEL-TEST-UP");
    let following = bed.hostel(["logs", &machine.name, "-f"]).start();
    following.expect("HOSTEL-TEST-UP");
    machine.exec(["sh", "-c", "echo fresh-words >/dev/console"]).exits(0);
    following.expect("fresh-words");
    following.signal(Signal::INT);
    following.finish(SOON);
    machine.end();
}

#[test]
fn the_log_is_bounded() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let supervisor_memory = |bed: &Bed| -> u64 {
        let pid = row(bed, &machine.name).and_then(|m| m["supervisor"].as_i64().or_else(|| m["supervisor"]["pid"].as_i64())).unwrap_or(0);
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        text.lines().filter(|l| l.starts_with("Private")).filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    let before = supervisor_memory(&bed);
    machine.exec(["sh", "-c", "/probe flood 100000000 >/dev/console"]).exits(0);
    let size: u64 = walk(&bed.state_of(&machine.name));
    assert!(size < 80 << 20, "{size} bytes of state and log");
    let after = supervisor_memory(&bed);
    assert!(after < before + 1024, "supervisor grew from {before} to {after} kB");
    machine.end();
}

fn walk(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.metadata().map_or(0, |m| if m.is_dir() { walk(&e.path()) } else { m.len() }))
        .sum()
}

#[test]
fn console_attaches_and_leaves() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let mut console = Terminal::start(bed.hostel(["console", &machine.name]));
    std::thread::sleep(Duration::from_millis(300));
    console.send("\r");
    console.expect("login:");
    console.send("\x1d\x1d\x1d");
    console.wait(SOON);
    assert!(console.is_sane());
    assert_eq!(state(&bed, &machine.name), "running", "leaving the console ended the machine");
    machine.end();
}

#[test]
fn kill_sends_any_signal() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    bed.hostel(["kill", &machine.name, "-s", "KILL"]).run().exits(0);
    assert!(eventually(SOON, || row(&bed, &machine.name).is_none()), "{:?}", row(&bed, &machine.name));
    bed.assert_clean();
}

#[test]
fn reboot_from_inside_starts_again() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let leader = || row(&bed, &machine.name).and_then(|m| m["leader"].as_i64().or_else(|| m["leader"]["pid"].as_i64()));
    let first = leader().expect("a leader");
    machine.exec(["rm", "-f", "/run/hostel-test-up"]).exits(0);
    machine.exec(["reboot"]).ends();
    assert!(eventually(SOON, || leader().is_some_and(|l| l != first)), "no new leader");
    machine.wait_up();
    machine.end();
}

#[test]
fn power_off_from_inside_ends_it() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    machine.exec(["poweroff"]).ends();
    assert!(eventually(SOON, || row(&bed, &machine.name).is_none()));
    bed.assert_clean();
}

#[test]
fn boot_in_the_foreground_has_a_console() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let mut console = Terminal::start(bed.hostel(["boot"]).arg(tree.path()));
    console.expect("HOSTEL-TEST-UP");
    console.expect("login:");
    console.send("root\r");
    console.expect("#");
    console.send("poweroff\r");
    assert_eq!(console.wait(SOON), 0);
    assert!(console.all().contains("HOSTEL-TEST-DOWN"));
}

#[test]
fn two_of_one_name_and_many_of_many() {
    let Some(bed) = Bed::start() else { return };
    let machine = Machine::boot(&bed, &[]);
    let other = bed.copy("bbinit");
    let refused = bed.hostel(["boot"]).arg(other.path()).args(["-d", "--name", &machine.name]).run().exits(3).fails();
    assert!(refused.errors().contains(&machine.name), "{}", refused.describe());
    let same_tree = bed.hostel(["boot"]).arg(machine.tree.path()).args(["-d", "--name", &bed.name()]).run().fails();
    assert!(same_tree.errors().contains(&machine.name) || same_tree.errors().contains("busy"), "{}", same_tree.describe());
    let second = Machine::boot(&bed, &[]);
    assert_eq!(list(&bed).len(), 2);
    bed.hostel(["stop", &second.name]).run().exits(0);
    assert_eq!(list(&bed).len(), 1);
    machine.end();
}

#[test]
fn the_supervisor_lives_on_when_the_caller_is_gone() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    // a session that ends: SIGHUP to its processes, its terminal gone
    let mut terminal = Terminal::start(
        Invocation::new("/bin/sh")
            .arg("-c")
            .arg("\"$@\"; echo status $?")
            .arg("sh")
            .args(boot_line(&bed, &tree, &name))
            .env("HOSTEL_RUNTIME_DIR", bed.runtime_dir()),
    );
    terminal.expect("status 0");
    terminal.wait(SOON);
    drop(terminal);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(state(&bed, &name), "running");
    bed.hostel(["stop", &name]).run().exits(0);
}

fn boot_line(bed: &Bed, tree: &Tree, name: &str) -> Vec<std::ffi::OsString> {
    let hostel = bed.hostel(Vec::<String>::new());
    let mut line = vec![hostel.program()];
    line.extend(["boot".into(), tree.path().into(), "-d".into(), "--name".into(), name.into()]);
    line
}

// ---- words about machines that are not there, and about nothing

#[test]
fn verbs_on_a_machine_that_is_not_there() {
    let Some(bed) = Bed::start() else { return };
    let name = bed.name();
    for verb in [
        &["status"][..],
        &["inspect"],
        &["exec"],
        &["shell"],
        &["enter"],
        &["console"],
        &["logs"],
        &["stop", "--strict"],
        &["kill"],
        &["pause"],
        &["resume"],
        &["rm"],
    ] {
        let mut call = bed.hostel(verb.iter().copied()).arg(&name);
        if *verb == ["exec"] {
            call = call.arg("true");
        }
        let outcome = call.run().fails();
        assert!(outcome.errors().contains(&name), "{verb:?}: {}", outcome.describe());
    }
    // what is to be true is true already
    bed.hostel(["stop", &name]).run().exits(0).says("does not run");
    bed.hostel(["stop", "--strict", &name]).run().exits(3).says("does not run");
    assert_eq!(list(&bed).len(), 0);
}

#[test]
fn spec_and_plan_print_and_change_nothing() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let watched = hostel_tests::Trap::watch(tree.path().into());
    for verb in ["spec", "plan"] {
        let words = [verb, "run", "--memory=100M", "--tree", &tree.path().to_string_lossy(), "--", "true"].map(str::to_string);
        let text = bed.hostel(&words).run().exits(0);
        assert!(text.text().lines().count() > 5, "{}", text.describe());
        let mut json = words.to_vec();
        json.insert(1, "--json".into());
        assert!(bed.hostel(&json).run().exits(0).json().is_object() || bed.hostel(&json).run().json().is_array());
        bed.hostel([verb, "nspawn", "-b", "-U", "-D"]).arg(tree.path()).run().exits(0);
    }
    watched.assert_untouched("spec and plan");
    assert!(!bed.runtime_dir().join("machines").exists() || std::fs::read_dir(bed.runtime_dir().join("machines")).is_ok_and(|d| d.count() == 0));
    bed.assert_clean();
}

#[test]
fn doctor_and_link_and_clean() {
    let Some(bed) = Bed::start() else { return };
    let text = bed.hostel(["doctor"]).run().ends();
    for word in ["cgroup", "overlay", "seccomp", "namespace"] {
        assert!(text.text().to_lowercase().contains(word), "no {word}: {}", text.describe());
    }
    assert!(bed.hostel(["doctor", "--json"]).run().ends().json().is_object());
    let dir = bed.fresh("links");
    bed.hostel(["link"]).arg(&dir).run().exits(0);
    let nspawn = dir.join("systemd-nspawn");
    assert!(nspawn.exists(), "{:?}", std::fs::read_dir(&dir).map(|d| d.count()));
    let tree = bed.busybox();
    Invocation::new(&nspawn)
        .env("HOSTEL_RUNTIME_DIR", bed.runtime_dir())
        .args(["-q", "--register=no", "--keep-unit", "-D"])
        .arg(tree.path())
        .args(["echo", "by its name"])
        .run()
        .exits(0)
        .prints("by its name");
    bed.hostel(["clean"]).run().exits(0);
}

#[test]
fn a_running_machine_without_ours_is_none_of_our_business() {
    let Some(bed) = Bed::start() else { return };
    let running: Running = Invocation::new("/bin/sleep").arg("30").start();
    bed.hostel(["clean"]).run().exits(0);
    assert!(!running.has_ended());
}
