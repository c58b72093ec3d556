//! States of a kept machine: snapshots, a host that is upgraded below it, changes as a script, file systems below `/`, the question.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Outcome, Terminal, Tree};

const SOON: Duration = Duration::from_secs(30);

/// The undo archives are the host's: one test at a time, until what is returned is dropped.
fn alone() -> std::fs::File {
    let file = std::fs::File::create("/run/hostel-subhosts-tests.lock").expect("make lock");
    file.lock().expect("lock");
    file
}

fn keep(bed: &Bed, tree: &Tree, name: &str, script: &str) -> Outcome {
    bed.hostel(["run", "--keep", name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", script]).run().exits(0)
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path.as_ref()).unwrap_or_else(|e| panic!("read {}: {e}", path.as_ref().display()))
}

fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_snapshot_is_gone_back_to() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let name = bed.name();
    keep(&bed, &tree, &name, "echo one >/etc/state; rm /etc/passwd; mkdir -p /opt/d");
    assert_eq!(bed.hostel(["snapshot", &name]).run().exits(0).text(), "snap0\n");
    keep(&bed, &tree, &name, "echo two >/etc/state; rmdir /opt/d; echo x >/opt/d");
    bed.hostel(["snapshot", &name, "second"]).run().exits(0);
    bed.hostel(["snapshot", &name, "second"]).run().exits(1);
    let listed = bed.hostel(["snapshot", &name, "--list"]).run().exits(0).text();
    assert!(listed.contains("snap0") && listed.contains("second"), "{listed}");
    let json = bed.hostel(["snapshot", &name, "--list", "--json"]).run().exits(0).json();
    assert_eq!(json.as_array().map(Vec::len), Some(2), "{json}");

    for _ in 0..2 {
        bed.hostel(["restore", &name, "snap0"]).run().exits(0);
        keep(&bed, &tree, &name, "cat /etc/state; ls /etc/passwd || echo none; ls -d /opt/d/.").prints("one\nnone\n/opt/d/.");
    }
    bed.hostel(["restore", &name, "second"]).run().exits(0);
    keep(&bed, &tree, &name, "cat /etc/state /opt/d").prints("two\nx");
    bed.hostel(["restore", &name, "third"]).run().exits(1).says("there is none");
    keep(&bed, &tree, &name, "cat /etc/state").prints("two");

    let running = bed.hostel(["run", "--keep", &name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", "echo up; read x"]).open_input().start();
    running.expect("up");
    bed.hostel(["restore", &name, "snap0"]).run().exits(3).says("it is running");
    bed.hostel(["snapshot", &name]).run().exits(3).says("it is running");
    running.signal(hostel_tests::Signal::TERM);
    running.finish(SOON);
    bed.hostel(["snapshot", &name, "second", "--forget"]).run().exits(0);
    bed.hostel(["discard", &name]).run().exits(0);
    assert!(!Path::new("/var/lib/hostel/snapshots").join(&name).exists(), "snapshots go with the machine");
    bed.hostel(["snapshot", &name]).run().exits(1).says("no machine is kept");
}

/// dpkg's database with these packages.
fn status(packages: &[(&str, &str)]) -> String {
    packages.iter().map(|(n, v)| format!("Package: {n}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {v}\n\n")).collect()
}

#[test]
fn a_machine_is_made_to_fit_a_host_that_was_upgraded() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = bed.busybox();
    tree.write("/var/lib/dpkg/status", status(&[("libc", "1")]))
        .write("/usr/lib/libc.so", "libc 1")
        .write("/etc/motd", "host\n")
        .write("/usr/share/vendor/data", "1\n")
        .write("/var/log/dpkg.log", "libc 1\n");
    let name = bed.name();
    pause();
    let installed = status(&[("libc", "1"), ("nginx", "5")]);
    tree.write("/root/status", &installed);
    pause();
    let script = "cp /root/status /var/lib/dpkg/status; mkdir -p /var/lib/dpkg/info; printf '/.\\n/usr/sbin/nginx\\n/etc/nginx\\n' >/var/lib/dpkg/info/nginx.list; \
                  mkdir -p /usr/sbin /etc/nginx; echo nginx >/usr/sbin/nginx; echo mine >/etc/nginx/conf; echo mine >/etc/motd; echo patched >/usr/lib/libc.so; \
                  echo mine >/root/notes; rm -r /usr/share/vendor; echo nginx >>/var/log/dpkg.log; mkdir -p /var/log/apt; echo nginx >/var/log/apt/history.log";
    let first = keep(&bed, &tree, &name, script);
    assert!(!first.errors().contains("rebase"), "{}", first.describe());
    bed.hostel(["rebase", &name]).run().exits(0).says("0 of its changes");
    pause();
    tree.write("/var/lib/dpkg/status", status(&[("libc", "2")]))
        .write("/usr/lib/libc.so", "libc 2")
        .write("/etc/motd", "new\n")
        .write("/usr/share/vendor/data", "2\n")
        .write("/var/log/dpkg.log", "libc 2\n");

    keep(&bed, &tree, &name, "true").says("hostel rebase");
    bed.hostel(["commit", &name]).run().exits(1).says("/var/lib/dpkg/status");
    let refused = bed.hostel(["rebase", &name]).run().exits(1).says("/etc/motd").says("--mine");
    assert!(!refused.errors().contains("dpkg.log"), "logs are the package manager's: {}", refused.describe());
    let dry = bed.hostel(["rebase", &name, "--mine", "--dry-run"]).run().exits(0).text();
    for path in ["/var/lib/dpkg/status", "/var/lib/dpkg/info/nginx.list", "/usr/sbin/nginx", "/usr/lib/libc.so", "/var/log/apt/history.log"] {
        assert!(dry.contains(path), "{path}: {dry}");
    }
    assert!(!dry.contains("motd") && !dry.contains("/etc/nginx") && !dry.contains("notes"), "{dry}");
    bed.hostel(["rebase", &name, "--mine"]).run().exits(0).says("install again: nginx").says("hostel restore");
    let seen = "cat /usr/lib/libc.so; echo; cat /usr/share/vendor/data /etc/motd /etc/nginx/conf /root/notes; ls /usr/sbin/nginx || echo none; grep -c nginx /var/lib/dpkg/status; cat /var/log/dpkg.log";
    let after = bed.hostel(["run", "--keep", &name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", seen]).run().ends();
    assert_eq!(after.text(), "libc 2\n2\nmine\nmine\nmine\nnone\n0\nlibc 2\n", "{}", after.describe());
    assert!(!after.errors().contains("rebase"), "{}", after.describe());
    // It fits now, and what it was is still there.
    let done = bed.hostel(["commit", &name, "--keep"]).run().exits(0);
    assert_eq!((read(tree.at("/etc/motd")), read(tree.at("/usr/lib/libc.so"))), ("mine\n".to_owned(), "libc 2".to_owned()), "{}", done.describe());
    bed.hostel(["undo"]).run().exits(0);
    bed.hostel(["restore", &name, "snap1"]).run().exits(0);
    keep(&bed, &tree, &name, "cat /usr/sbin/nginx").prints("nginx");
    bed.hostel(["rebase", &name, "--host"]).run().exits(0);
    keep(&bed, &tree, &name, "cat /etc/motd").prints("new");
    bed.hostel(["discard", &name]).run().exits(0);
}

/// What hostel writes itself does not undo what was made of it inside, nor does it count as a change; what was only touched hides nothing.
#[test]
fn a_machine_s_own_files_stay_and_touched_ones_hide_nothing() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/etc/touched", "1\n").write("/etc/resolv.conf", "nameserver 192.0.2.77\n");
    // A zone that the tree does not have is covered instead, and cannot be changed.
    let zone = std::fs::read_link("/etc/localtime").ok().and_then(|to| to.to_str()?.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned()));
    if let Some(zone) = &zone {
        tree.write(&format!("/usr/share/zoneinfo/{zone}"), "x");
    }
    let name = bed.name();
    let first = keep(&bed, &tree, &name, "touch /etc/touched; cat /etc/resolv.conf");
    if std::fs::metadata("/etc/resolv.conf").is_ok_and(|m| m.len() > 0) {
        first.prints_with("# made by hostel ");
    }
    let listed = bed.hostel(["diff", &name]).run().exits(0).text();
    assert!(!listed.contains("resolv.conf"), "{listed}");
    tree.write("/etc/touched", "2\n");
    keep(&bed, &tree, &name, "cat /etc/touched; echo mine >/etc/resolv.conf").prints("2");
    if zone.is_some() {
        keep(&bed, &tree, &name, "ln -sf ../usr/share/zoneinfo/Mars /etc/localtime");
        keep(&bed, &tree, &name, "readlink /etc/localtime").prints("../usr/share/zoneinfo/Mars");
        assert!(bed.hostel(["diff", &name]).run().exits(0).text().contains("/etc/localtime"));
    }
    keep(&bed, &tree, &name, "cat /etc/resolv.conf; rm /etc/resolv.conf").prints("mine");
    keep(&bed, &tree, &name, "ls /etc/resolv.conf || echo none").prints("none");
    bed.hostel(["discard", &name]).run().exits(0);
}

/// A journal that was left: the machine stays as it is until that is dealt with.
#[test]
fn a_machine_that_is_half_committed_is_left_alone() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = bed.busybox();
    let name = bed.name();
    keep(&bed, &tree, &name, "echo x >/etc/new");
    bed.hostel(["snapshot", &name, "before"]).run().exits(0);
    let number = bed.hostel(["commit", &name, "--keep"]).run().exits(0).errors();
    let number = number.split("`hostel undo ").nth(1).and_then(|rest| rest.split('`').next()).expect("its number").to_owned();
    let state = Path::new("/var/lib/hostel/undo").join(&number).join("state");
    /// Whatever happens, nobody else finds it.
    struct Unfinished<'a>(&'a Bed);
    impl Drop for Unfinished<'_> {
        fn drop(&mut self) {
            self.0.hostel(["commit", "--rollback"]).run();
        }
    }
    let _unfinished = Unfinished(&bed);
    std::fs::write(&state, "applying\n").expect("write state");
    let other = bed.name();
    let again = ["run", "--keep", &name, "--tree", tree.path().to_str().expect("a path"), "--", "true"];
    let words: [&[&str]; 8] = [
        &again,
        &["boot", &name, "-d"],
        &["fork", &name, &other],
        &["snapshot", &name],
        &["restore", &name, "before"],
        &["rebase", &name],
        &["commit", &name],
        &["discard", &name],
    ];
    for words in words {
        bed.hostel(words).run().fails().says(&format!("commit {number} of")).says("hostel commit --rollback");
    }
    bed.hostel(["commit", "--rollback"]).run().exits(0);
    assert!(!tree.at("/etc/new").exists());
    let second = bed.hostel(["commit", &name]).run().exits(0).errors();
    assert!(!second.contains(&format!("`hostel undo {number}`")), "its number is another: {second}");
    bed.hostel(["undo"]).run().exits(0);
}

#[test]
fn a_script_makes_the_same_of_another_tree() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/etc/old", "old\n").write("/etc/motd", "before\n");
    let copy = bed.fresh("copy").join("tree");
    let copied = std::process::Command::new("cp").arg("-a").arg(tree.path()).arg(&copy).status().expect("run cp");
    assert!(copied.success());
    let name = bed.name();
    keep(
        &bed,
        &tree,
        &name,
        "echo 'it''s' >/etc/motd; rm /etc/old; mkdir -p '/opt/a b'; ln -s ../x '/opt/a b/l'; chmod 4711 /etc/motd; head -c 100000 /dev/zero >/opt/big",
    );
    let script = bed.hostel(["commit", &name, "--as-script"]).run().exits(0).text();
    assert_eq!(read(tree.at("/etc/motd")), "before\n", "nothing is changed");
    let file = bed.fresh("script").join("apply.sh");
    std::fs::write(&file, &script).expect("write script");
    let applied = std::process::Command::new("sh").arg(&file).arg(&copy).output().expect("run script");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    assert_eq!(read(copy.join("etc/motd")), "its\n");
    assert!(!copy.join("etc/old").exists() && std::fs::read_link(copy.join("opt/a b/l")).is_ok_and(|t| t == Path::new("../x")));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(copy.join("etc/motd")).expect("stat").permissions().mode() & 0o7777, 0o4711);
    assert_eq!(std::fs::metadata(copy.join("opt/big")).expect("stat").len(), 100_000);
    // To the tree itself: then nothing is left to commit.
    let applied = std::process::Command::new("sh").arg(&file).arg(tree.path()).output().expect("run script");
    assert!(applied.status.success());
    assert_eq!(bed.hostel(["diff", &name]).run().exits(0).text(), "");
    let only = bed.hostel(["commit", &name, "--as-script", "--only", "/no"]).run().exits(0).text();
    assert!(!only.contains("motd"), "{only}");
    bed.hostel(["discard", &name]).run().exits(0);
}

#[test]
fn a_file_system_below_the_root_is_tried_and_committed_too() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let below = bed.own_file_system(64);
    let at = |name: &str| below.join(name);
    std::fs::write(at("kept"), "before\n").expect("write");
    std::fs::write(at("gone"), "before\n").expect("write");
    let name = bed.name();
    pause();
    let script = format!("cd {} && cat kept && echo after >kept && rm gone && mkdir new && echo x >new/file", below.display());
    bed.hostel(["try", "--keep", "--name", &name, "--", "sh", "-c", &script]).run().exits(0).prints("before").says("2 added, 1 deleted");
    assert_eq!(read(at("kept")), "before\n");
    let shown = |letter: &str, name: &str| format!("{letter} {}/{name}\n", below.display());
    let expected = [shown("D", "gone"), shown("M", "kept"), shown("A", "new/"), shown("A", "new/file")].concat();
    assert_eq!(bed.hostel(["diff", &name]).arg(&below).run().exits(0).text(), expected);
    // Only there: whatever else this host does meanwhile is its own.
    bed.hostel(["commit", &name, "--only"]).arg(&below).run().exits(0);
    assert!(read(at("kept")) == "after\n" && !at("gone").exists() && read(at("new/file")) == "x\n");
    bed.hostel(["undo"]).run().exits(0);
    assert!(read(at("kept")) == "before\n" && at("gone").exists() && !at("new").exists());
    bed.hostel(["snapshot", &name]).run().exits(0);
    bed.hostel(["run", "--keep", &name, "--", "rm"]).arg(at("kept")).run().exits(0);
    bed.hostel(["restore", &name, "snap0"]).run().exits(0);
    bed.hostel(["run", "--keep", &name, "--", "cat"]).arg(at("kept")).run().exits(0).prints("after");
    bed.hostel(["discard", &name]).run().exits(0);
}

#[test]
fn on_a_terminal_it_is_asked() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = bed.busybox();
    let start = |name: &str| {
        let invocation = bed.hostel(["try", "--name", name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", "echo x >/etc/added"]);
        let mut terminal = Terminal::start(invocation);
        terminal.expect("[x] discard? ");
        terminal
    };
    let kept = |name: &str| Path::new("/var/lib/hostel/machines").join(name).exists();
    let name = bed.name();
    let mut terminal = start(&name);
    terminal.send("d\n");
    terminal.expect("/etc/added");
    terminal.expect("discard? ");
    terminal.send("what\n");
    terminal.expect("discard? ");
    terminal.send("x\n");
    assert_eq!(terminal.wait(SOON), 0);
    assert!(!kept(&name) && !tree.at("/etc/added").exists());

    let mut terminal = start(&name);
    terminal.send("k\n");
    terminal.expect("is kept");
    terminal.wait(SOON);
    assert!(kept(&name) && !tree.at("/etc/added").exists());
    bed.hostel(["discard", &name]).run().exits(0);

    let mut terminal = start(&name);
    // End of input, as when the terminal goes: nothing is lost.
    terminal.send("\u{4}");
    terminal.expect("is kept");
    terminal.wait(SOON);
    assert!(kept(&name));
    bed.hostel(["discard", &name]).run().exits(0);

    let mut terminal = start(&name);
    terminal.send("c\n");
    terminal.expect("hostel undo");
    terminal.wait(SOON);
    assert!(!kept(&name) && tree.at("/etc/added").exists());
    bed.hostel(["undo"]).run().exits(0);
    assert!(!tree.at("/etc/added").exists());
}
