//! `apt install nginx` in a try over a Debian tree, committed and taken back: to the byte.
//!
//! Without a `Bed`: its network leads nowhere, and packages come from a mirror.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What is deleted at the end, whatever happens.
struct Scratch {
    dir: PathBuf,
    name: String,
    program: PathBuf,
}

impl Scratch {
    fn hostel(&self, words: &[&str]) -> Output {
        Command::new(&self.program).args(words).stdin(std::process::Stdio::null()).output().expect("run hostel")
    }

    /// The same, which has to succeed: what it said on both.
    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let out = self.hostel(words);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "hostel {words:?}: {said}");
        said
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.hostel(&["discard", &self.name]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Every entry of the directory `top`: kind, mode, owner, target, digest; times where `times`.
fn digest(times: bool) -> String {
    let time = if times { "|%T@" } else { "" };
    // what is mounted in a machine, and the number of links of directories, are not the tree's
    format!(
        "cd \"$1\" && p='-path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./etc/resolv.conf' && \
         {{ find . \\( $p \\) -prune -o -printf '%p|%y|%m|%U:%G|%l{time}\\n' | LC_ALL=C sort; \
         find . \\( $p \\) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; }}"
    )
}

fn of_tree(tree: &Path, times: bool) -> String {
    let out = Command::new("sh").args(["-c", &digest(times), "sh"]).arg(tree).output().expect("run sh");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[track_caller]
fn same(one: &str, other: &str, what: &str) {
    let (a, b): (std::collections::BTreeSet<&str>, std::collections::BTreeSet<&str>) = (one.lines().collect(), other.lines().collect());
    let differ: Vec<&&str> = a.symmetric_difference(&b).take(10).collect();
    assert!(differ.is_empty(), "{what}: {differ:#?}");
}

#[test]
fn an_installed_package_is_committed_and_taken_back_to_the_byte() {
    if std::env::var_os("HOSTEL_QUICK").is_some() {
        return println!("skipped: HOSTEL_QUICK is set, and this takes a Debian tree and a mirror");
    }
    let trees = std::env::var_os("HOSTEL_TREES").map_or_else(|| PathBuf::from("/var/tmp/hostel-trees"), PathBuf::from);
    if !trees.join("debian").exists() {
        return println!("skipped: no tree {}; scripts/trees.sh builds it", trees.join("debian").display());
    }
    let name = format!("apt-{}", std::process::id());
    let dir = Path::new("/var/tmp").join(format!("hostel-{name}"));
    std::fs::create_dir(&dir).expect("make directory");
    let scratch = Scratch { dir: dir.clone(), name: name.clone(), program: hostel_tests::binary("hostel", "HOSTEL_BIN") };
    let tree = dir.join("tree");
    let copied = Command::new("cp").arg("-a").arg(trees.join("debian")).arg(&tree).status().expect("run cp");
    assert!(copied.success());
    let _alone = std::fs::File::create("/run/hostel-subhosts-tests.lock").and_then(|f| f.lock().map(|()| f)).expect("lock");
    let at = tree.to_str().expect("a plain path");
    let before = of_tree(&tree, true);

    let script = "export DEBIAN_FRONTEND=noninteractive; apt-get -q -o Acquire::Retries=2 update || exit 77; \
                  exec apt-get -y -q -o APT::Install-Recommends=false install nginx-light";
    let out = scratch.hostel(&["try", "--keep", "--name", &name, "--tree", at, "--", "sh", "-c", script]);
    if out.status.code() == Some(77) {
        return println!("skipped: apt-get update failed in the machine: {}", String::from_utf8_lossy(&out.stdout));
    }
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("; packages: ") && said.contains(" new"), "{said}");
    same(&before, &of_tree(&tree, true), "a try leaves the tree alone");
    let packages = scratch.done(&["diff", &name, "--packages"]);
    assert!(packages.lines().any(|l| l.starts_with("A nginx-light ")), "{packages}");

    let seen = scratch.done(&["run", "-q", "--keep", &name, "--tree", at, "--", "sh", "-c", &digest(false), "sh", "/"]);
    scratch.done(&["commit", &name]);
    same(&seen, &of_tree(&tree, false), "the tree is what the machine saw");
    let answer = scratch.done(&["run", "-q", "--tree", at, "--", "dpkg-query", "-W", "-f", "${db:Status-Status}", "nginx-light"]);
    assert_eq!(answer, "installed");
    scratch.done(&["undo"]);
    same(&before, &of_tree(&tree, true), "taken back");
}
