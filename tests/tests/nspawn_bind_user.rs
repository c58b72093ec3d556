//! `--bind-user=`: users of a host, which is a mount namespace with user databases of its own.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use hostel_tests::{Bed, Invocation, Outcome, Tree};

struct HostUsers {
    dir: PathBuf,
    home: PathBuf,
}

impl HostUsers {
    fn new(bed: &Bed) -> HostUsers {
        let dir = bed.fresh("users");
        let home = dir.join("home");
        std::fs::create_dir(&home).expect("mkdir");
        std::fs::write(home.join("letter"), "dear").expect("write");
        for path in [home.clone(), home.join("letter")] {
            chown(path, Some(1234), Some(2345)).expect("chown");
        }
        let passwd = format!(
            "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\ndaemon:x:2:2::/:/bin/false\n\
             zoe:x:1234:2345:Zoe:{home}:/bin/zsh\nalice:x:1235:2346::{home}:/bin/sh\nlocked:x:1236:2345::{home}:/bin/sh\n",
            home = home.display()
        );
        std::fs::write(dir.join("passwd"), passwd).expect("write");
        std::fs::write(dir.join("group"), "root:x:0:\nnogroup:x:65534:\ndaemon:x:2:\nzoes:x:2345:\nalices:x:2346:\n").expect("write");
        std::fs::write(dir.join("shadow"), "root:*:1::::::\nzoe:$y$j9T$salt$hash:1::::::\nlocked:!:1::::::\n").expect("write");
        HostUsers { dir, home }
    }
    fn run(&self, invocation: Invocation) -> Outcome {
        let script = format!(
            "exec unshare -m sh -c 'for f in passwd group shadow; do mount --bind {}/$f /etc/$f || exit 9; done; exec \"$@\"' sh \"$@\"",
            self.dir.display()
        );
        invocation.through_shell(&script).run()
    }
}

fn words(bed: &Bed, tree: &Tree, options: &[&str], script: &str) -> Invocation {
    bed.nspawn(tree, ["-U"].iter().chain(options).copied().chain(["sh", "-c", script]))
}

#[test]
fn its_home_its_id_and_its_record() {
    let Some(bed) = Bed::start() else { return };
    let (tree, host) = (bed.busybox(), HostUsers::new(&bed));
    let script = "stat -c '%u:%g %n' /run/host/home/zoe /run/host/home/zoe/letter; cat /run/host/home/zoe/letter; echo; \
        echo mine > /run/host/home/zoe/new; chown 60514:60514 /run/host/home/zoe/new; cd /run/host/userdb; ls -1; readlink 60514.user; readlink 60514.group; \
        cat zoe.user zoe.user-privileged zoes.group; stat -c '%a %u' zoe.user zoe.user-privileged; touch x 2>&1; cat /proc/self/uid_map | wc -l";
    let all = host.run(words(&bed, &tree, &["--bind-user=zoe"], script)).exits(0).text();
    let expected = "60514:60514 /run/host/home/zoe\n60514:60514 /run/host/home/zoe/letter\ndear\n\
        60514.group\n60514.user\n60514.user-privileged\nzoe.user\nzoe.user-privileged\nzoes.group\nzoe.user\nzoes.group\n";
    assert!(all.starts_with(expected), "{all}");
    let record = |key: &str| {
        let line = all.lines().find(|line| line.starts_with('{') && line.contains(key)).unwrap_or_else(|| panic!("no {key} in {all}"));
        line.parse::<hostel_tests::Value>().expect("JSON")
    };
    let user = record("userName");
    assert_eq!((user["userName"].as_str(), user["uid"].as_u64(), user["gid"].as_u64()), (Some("zoe"), Some(60514), Some(60514)));
    assert_eq!((user["homeDirectory"].as_str(), user["disposition"].as_str()), (Some("/run/host/home/zoe"), Some("container")));
    assert!(user["shell"].is_null() && user["privileged"].is_null(), "{user}");
    assert_eq!(record("privileged")["privileged"]["hashedPassword"][0], "$y$j9T$salt$hash");
    assert_eq!(record("groupName")["gid"], 60514);
    assert!(all.contains("444 0\n400 0\ntouch: x: Read-only file system\n3\n"), "{all}");
    let new = std::fs::metadata(host.home.join("new")).expect("what the machine wrote");
    assert_eq!((new.uid(), new.gid()), (1234, 2345), "on the host it is the user's own");
}

#[test]
fn shells_groups_and_commands_as_the_user() {
    let Some(bed) = Bed::start() else { return };
    let (tree, host) = (bed.busybox(), HostUsers::new(&bed));
    let shell = |options: &[&str]| {
        let out = host.run(words(&bed, &tree, options, "cat /run/host/userdb/zoe.user")).exits(0).json();
        (out["shell"].as_str().unwrap_or("-").to_owned(), out["memberOf"].to_string())
    };
    assert_eq!(shell(&["--bind-user=zoe", "--bind-user-shell=yes"]).0, "/bin/zsh");
    assert_eq!(shell(&["--bind-user=zoe", "--bind-user-shell=/bin/ash"]).0, "/bin/ash");
    assert_eq!(shell(&["--bind-user=zoe", "--bind-user-shell=no"]).0, "-");
    assert_eq!(shell(&["--bind-user=zoe", "--bind-user-group=wheel", "--bind-user-group=video"]).1, r#"["wheel","video"]"#);
    let members = words(&bed, &tree, &["--bind-user=zoe", "--bind-user-group=wheel"], "ls -1 /run/host/userdb | grep membership");
    host.run(members).exits(0).prints("zoe:wheel.membership");
    let as_user = words(
        &bed,
        &tree,
        &["--bind-user=zoe", "-u", "zoe"],
        "id -u; id -g; echo $HOME $USER; cat $HOME/letter; echo; echo x > $HOME/own && echo wrote",
    );
    host.run(as_user).exits(0).prints("60514\n60514\n/run/host/home/zoe zoe\ndear\nwrote");
    let locked = words(&bed, &tree, &["--bind-user=locked", "--bind-user=zoe"], "ls -1 /run/host/userdb");
    host.run(locked)
        .exits(0)
        .prints("60514.group\n60514.user\n60515.user\n60515.user-privileged\nlocked.user\nzoe.user\nzoe.user-privileged\nzoes.group");
}

#[test]
fn in_disk_images_and_trees_of_a_template() {
    let Some(bed) = Bed::start() else { return };
    let (tree, host) = (bed.system(), HostUsers::new(&bed));
    let look = ["-U", "--bind-user=zoe", "-u", "zoe", "sh", "-c", "id -u; cat $HOME/letter; echo; ls -1 /run/host/userdb | head -1"];
    if let Some(image) = bed.file_system("ext4", tree.path(), 32) {
        host.run(bed.nspawn_image(&image, look)).exits(0).prints("60514\ndear\n60514.group");
        host.run(bed.nspawn_image(&image, ["-U", "--bind-user=alice", "true"])).exits(1).says("the machine has a user of this name");
    }
    let fresh = bed.dir().join(bed.name());
    let template = format!("--template={}", tree.path().display());
    let line = |rest: &[&str]| bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", &template, "-D"]).arg(&fresh).args(rest);
    host.run(line(&["-U", "--bind-user=alice", "true"])).exits(1).says("the machine has a user of this name");
    assert!(!fresh.exists(), "refused before it is copied");
    host.run(line(&look)).exits(0).prints("60514\ndear\n60514.group");
    assert!(fresh.join("etc/passwd").exists());
}

#[test]
fn who_cannot_be_bound() {
    let Some(bed) = Bed::start() else { return };
    let (tree, host) = (bed.busybox(), HostUsers::new(&bed));
    for (options, why) in [
        (&["--bind-user=root"][..], "its own root and nobody"),
        (&["--bind-user=nobody"], "its own root and nobody"),
        (&["--bind-user=daemon"], "a system user's"),
        (&["--bind-user=nosuchuser"], "no such user"),
        (&["--bind-user=alice"], "the machine has a user of this name"),
        (&["--private-users=0", "--bind-user=zoe"], "one of the machine's own"),
        (&["--private-users=655360:1000", "--bind-user=zoe"], "too few ids"),
        (&["--private-users=no", "--bind-user=zoe"], "combine --bind-user="),
    ] {
        host.run(words(&bed, &tree, options, "echo started > /etc/started")).exits(1).says(why);
    }
    assert!(!tree.at("/etc/started").exists());
    tree.write("/etc/group", "root:x:0:\nzoes:x:7:\n");
    host.run(words(&bed, &tree, &["--bind-user=zoe"], "true")).exits(1).says("the machine has a group");
}
