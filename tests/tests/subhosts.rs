//! Work on an overlay, then look at it, commit it, take it back. The "host" is a scratch tree.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Outcome, Signal, Tree, Value};

const SOON: Duration = Duration::from_secs(30);

/// The undo archives are the host's: one test at a time, until what is returned is dropped.
fn alone() -> std::fs::File {
    let file = std::fs::File::create("/run/hostel-subhosts-tests.lock").expect("make lock");
    file.lock().expect("lock");
    file
}

/// `hostel try` over a tree.
fn attempt(bed: &Bed, tree: &Tree, first: &[&str], script: &str) -> Outcome {
    bed.hostel(["try"]).args(first).arg("--tree").arg(tree.path()).args(["--", "sh", "-c", script]).run()
}

fn kept(name: &str) -> std::path::PathBuf {
    Path::new("/var/lib/hostel/machines").join(name)
}

/// The number that the commit of `outcome` has.
#[track_caller]
fn number(outcome: &Outcome) -> String {
    let said = outcome.errors();
    let at = said.find("`hostel undo ").unwrap_or_else(|| panic!("no commit: {}", outcome.describe()));
    said[at + "`hostel undo ".len()..].split('`').next().unwrap_or_default().to_owned()
}

const SCRIPT: &str = "echo new >/etc/added; echo changed >/etc/hostname; rm /etc/old; mkdir -p /opt/a/b; echo x >/opt/a/b/c; ln /opt/a/b/c /opt/a/link; \
                      chmod 600 /etc/private; cat /etc/same >/etc/same2; rm /etc/same; mv /etc/same2 /etc/same";

fn prepared(bed: &Bed) -> Tree {
    let tree = bed.busybox();
    for name in ["/etc/hostname", "/etc/old", "/etc/private", "/etc/same"] {
        tree.write(name, "before\n");
    }
    tree
}

#[test]
fn what_a_machine_changed_is_shown_committed_and_taken_back() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = prepared(&bed);
    let name = bed.name();
    let said = attempt(&bed, &tree, &["--keep", "--name", &name], SCRIPT).exits(0);
    assert!(said.errors().contains("2 changed, 5 added, 1 deleted") && said.errors().contains("is kept"), "{}", said.describe());
    assert!(!tree.at("/etc/added").exists() && tree.at("/etc/old").exists(), "the tree is as it was");

    let listed = bed.hostel(["diff", &name]).run().exits(0).text();
    let expected = "A /etc/added\nM /etc/hostname\nD /etc/old\nm /etc/private\nA /opt/a/\nA /opt/a/b/\nA /opt/a/b/c\nA /opt/a/link\n";
    let listed: String = listed.lines().filter(|l| !l.ends_with("/opt/")).map(|l| format!("{l}\n")).collect();
    assert_eq!(listed, expected);
    let patch = bed.hostel(["diff", &name, "/etc/hostname", "--patch"]).run().exits(0).text();
    assert_eq!(patch, "# M /etc/hostname\n--- a/etc/hostname\n+++ b/etc/hostname\n@@ -1,1 +1,1 @@\n-before\n+changed\n");
    let json = bed.hostel(["diff", &name, "--json"]).run().exits(0).json();
    assert_eq!(json["lower"].as_str(), tree.path().to_str());
    assert!(json["changes"].as_array().is_some_and(|c| c.iter().any(|c| c["path"] == "/etc/private" && c["differs"]["mode"] == true)), "{json}");

    let committed = bed.hostel(["commit", &name]).run().exits(0);
    assert_eq!(std::fs::read_to_string(tree.at("/etc/hostname")).expect("read"), "changed\n");
    assert!(tree.at("/etc/added").exists() && !tree.at("/etc/old").exists() && tree.at("/opt/a/link").exists());
    assert!(!kept(&name).exists(), "what was committed is forgotten");
    let number = number(&committed);
    assert!(bed.hostel(["undo", "--list"]).run().exits(0).text().contains(&name));
    bed.hostel(["undo", &number]).run().exits(0);
    assert_eq!(std::fs::read_to_string(tree.at("/etc/hostname")).expect("read"), "before\n");
    assert!(!tree.at("/etc/added").exists() && tree.at("/etc/old").exists() && !tree.at("/opt/a").exists());
    bed.hostel(["undo", &number]).run().exits(1).says("there is none");
}

#[test]
fn a_try_ends_as_it_is_told() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = prepared(&bed);
    let name = bed.name();
    // Nobody can be asked: forgotten, and the status is the command's.
    attempt(&bed, &tree, &["--name", &name], "echo x >/etc/added; exit 7").exits(7).says("1 added");
    assert!(!kept(&name).exists() && !tree.at("/etc/added").exists());
    attempt(&bed, &tree, &["--name", &name], "true").exits(0).says("nothing changed");
    assert!(!kept(&name).exists());
    // A command that failed is not committed, unless that is said, too.
    attempt(&bed, &tree, &["--commit", "--name", &name], "echo x >/etc/added; exit 7").exits(7).says("is kept");
    assert!(kept(&name).exists() && !tree.at("/etc/added").exists());
    attempt(&bed, &tree, &["--name", &name], "true").exits(2).says("is kept already");
    bed.hostel(["discard", &name]).run().exits(0);
    assert!(!kept(&name).exists());
    let done = attempt(&bed, &tree, &["--commit", "--yes", "--name", &name], "echo x >/etc/added; exit 7").exits(7);
    assert!(tree.at("/etc/added").exists());
    bed.hostel(["undo", &number(&done)]).run().exits(0);
    assert!(!tree.at("/etc/added").exists());
    attempt(&bed, &tree, &["--name", &name], "exec /no/such/program").ends();
    bed.hostel(["try", "--name", &name, "--tree"]).arg(tree.path()).args(["--", "/no/such/program"]).run().exits(127);
    bed.hostel(["try", "--tree"]).arg(tree.path()).args(["--keep", "--", "true"]).run().exits(2).says("--keep goes before the options of `run`");
    assert!(!kept(&name).exists());
    attempt(&bed, &tree, &["--no-net"], "ls /sys/class/net").exits(0).prints("lo");
}

#[test]
fn what_the_host_changed_meanwhile_is_not_written_over() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = prepared(&bed);
    let name = bed.name();
    std::thread::sleep(Duration::from_millis(50));
    attempt(&bed, &tree, &["--keep", "--name", &name], "echo m >/etc/hostname; echo m >/etc/added; echo m >/etc/private; rm /etc/old").exits(0);
    std::thread::sleep(Duration::from_millis(50));
    tree.write("/etc/hostname", "host\n").write("/etc/added", "host\n");
    let refused = bed.hostel(["commit", &name]).run().exits(1).says("/etc/hostname").says("/etc/added").says("--force");
    assert!(!refused.errors().contains("/etc/private") && !refused.errors().contains("/etc/old"), "{}", refused.describe());
    assert_eq!(std::fs::read_to_string(tree.at("/etc/private")).expect("read"), "before\n");
    // A part of it that nobody touched.
    let part = bed.hostel(["commit", &name, "--only", "/etc/private"]).run().exits(0);
    assert_eq!(std::fs::read_to_string(tree.at("/etc/private")).expect("read"), "m\n");
    assert_eq!(std::fs::read_to_string(tree.at("/etc/hostname")).expect("read"), "host\n");
    assert!(kept(&name).exists());
    // And an undo that would write over a later change.
    std::thread::sleep(Duration::from_millis(50));
    tree.write("/etc/private", "later\n");
    bed.hostel(["undo", &number(&part)]).run().exits(1).says("/etc/private");
    assert_eq!(std::fs::read_to_string(tree.at("/etc/private")).expect("read"), "later\n");
    bed.hostel(["undo", "--force", &number(&part)]).run().exits(0);
    assert_eq!(std::fs::read_to_string(tree.at("/etc/private")).expect("read"), "before\n");
    let forced = bed.hostel(["commit", "--force", &name]).run().exits(0);
    assert_eq!(std::fs::read_to_string(tree.at("/etc/hostname")).expect("read"), "m\n");
    bed.hostel(["undo", "--forget", &number(&forced)]).run().exits(0);
}

#[test]
fn a_machine_that_runs_is_not_committed_and_a_fork_is_its_own() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = prepared(&bed);
    let (name, other) = (bed.name(), bed.name());
    let script = "echo one >/etc/added; echo up; read x";
    let running = bed.hostel(["run", "--keep", &name, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", script]).open_input().start();
    running.expect("up");
    bed.hostel(["commit", &name]).run().exits(3).says("it is running");
    bed.hostel(["fork", &name, &other]).run().exits(3).says("it is running");
    running.signal(Signal::TERM);
    running.finish(SOON);
    bed.hostel(["fork", &name, &other]).run().exits(0);
    bed.hostel(["fork", &name, &other]).run().exits(1);
    let more = bed.hostel(["run", "--keep", &other, "--tree"]).arg(tree.path());
    more.args(["--", "sh", "-c", "cat /etc/added; echo two >/etc/second"]).run().exits(0).prints("one");
    let paths = |name: &str| -> Vec<String> {
        let json = bed.hostel(["diff", name, "--json"]).run().exits(0).json();
        let all = json["changes"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|c: &Value| c["path"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(paths(&name), ["/etc/added"]);
    assert_eq!(paths(&other), ["/etc/added", "/etc/second"]);
    for name in [name, other] {
        bed.hostel(["discard", &name]).run().exits(0);
        bed.hostel(["diff", &name]).run().exits(1).says("no machine is kept");
    }
}

#[test]
fn a_killed_commit_is_finished_or_taken_back() {
    let Some(bed) = Bed::start() else { return };
    let _alone = alone();
    let tree = prepared(&bed);
    tree.write("/etc/first", "before\n");
    let script = "n=0; while [ $n -lt 600 ]; do echo after >/etc/f$n; n=$((n+1)); done; echo after >/etc/first; rm /etc/old";
    let mut interrupted = 0;
    for round in 0..8u64 {
        let name = bed.name();
        attempt(&bed, &tree, &["--keep", "--name", &name], script).exits(0);
        let commit = bed.hostel(["commit", &name]).start();
        std::thread::sleep(Duration::from_millis(20 + round * 30));
        commit.signal(Signal::KILL);
        commit.finish(SOON);
        let text = std::fs::read_to_string(tree.at("/etc/first")).expect("the file is there at any time");
        assert!(text == "before\n" || text == "after\n", "{text:?}");
        let unfinished = bed.hostel(["commit", "--rollback"]).run().ends();
        if unfinished.code == Some(0) {
            interrupted += 1;
        } else if !kept(&name).exists() || bed.hostel(["undo", "--list"]).run().text().contains(&name) {
            bed.hostel(["undo"]).run().exits(0);
        }
        assert_eq!(std::fs::read_to_string(tree.at("/etc/first")).expect("read"), "before\n");
        assert!(!tree.at("/etc/f599").exists() && !tree.at("/etc/f0").exists() && tree.at("/etc/old").exists());
        bed.hostel(["discard", &name]).run().ends();
    }
    println!("{interrupted} of 8 commits were interrupted half-way");
}
