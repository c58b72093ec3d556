//! machinectl without machined, the native verbs it is made of, and files going into and out of running machines.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Outcome, Terminal, Trap, Value, eventually};

const SOON: Duration = Duration::from_secs(20);

/// A busybox system in /var/lib/machines, removed at the end.
struct Stored {
    name: String,
    path: PathBuf,
}

impl Stored {
    fn new(bed: &Bed) -> Stored {
        let tree = bed.copy("bbinit");
        let name = bed.name();
        let path = PathBuf::from("/var/lib/machines").join(&name);
        std::fs::create_dir_all("/var/lib/machines").expect("make /var/lib/machines");
        std::fs::rename(tree.path(), &path).or_else(|_| copy(tree.path(), &path)).expect("place tree");
        Stored { name, path }
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status()?;
    if done.success() { Ok(()) } else { Err(std::io::Error::other("cp failed")) }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn machinectl(bed: &Bed, words: &[&str]) -> Invocation {
    bed.hostel(["machinectl"]).args(words).env("HOSTEL_CONFIG_DIR", bed.dir().join("etc"))
}

#[track_caller]
fn run(bed: &Bed, words: &[&str]) -> Outcome {
    machinectl(bed, words).run()
}

/// A machine in the background from a busybox tree: `options` as for `hostel boot`.
#[track_caller]
fn boot(bed: &Bed, options: &[&str]) -> String {
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).args(options).run().exits(0);
    wait_up(bed, &name);
    name
}

#[track_caller]
fn wait_up(bed: &Bed, name: &str) {
    let up = || bed.hostel(["exec", name, "test", "-e", "/run/hostel-test-up"]).run().code == Some(0);
    assert!(eventually(SOON, up), "{name} did not come up: {}", bed.hostel(["logs", name]).run().describe());
}

#[track_caller]
fn sh(bed: &Bed, name: &str, script: &str) -> Outcome {
    bed.hostel(["exec", name, "sh", "-c", script]).run()
}

#[track_caller]
fn end(bed: &Bed, name: &str) {
    bed.hostel(["stop", name]).run().exits(0);
    bed.assert_clean();
}

// ---- machinectl

#[test]
fn a_machines_life() {
    let Some(bed) = Bed::start() else { return };
    let stored = Stored::new(&bed);
    let name = stored.name.as_str();
    run(&bed, &[]).exits(0).prints("No machines.");
    run(&bed, &["list", "--no-legend"]).exits(0).prints("");
    run(&bed, &["start", name]).exits(0).prints("");
    run(&bed, &["start", name, "-q"]).exits(0);
    wait_up(&bed, name);
    let list = run(&bed, &["list"]).exits(0).text();
    let lines: Vec<Vec<&str>> = list.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["MACHINE", "CLASS", "SERVICE", "OS", "VERSION", "ADDRESSES"], "{list}");
    assert_eq!(lines[1][..4], [name, "container", "systemd-nspawn", "hostelbox"], "{list}");
    assert_eq!(lines.last().expect("a count").join(" "), "1 machines listed.");
    let json: Value = run(&bed, &["-o", "json", "list"]).exits(0).json();
    assert_eq!(json[0]["machine"], name);
    assert!(run(&bed, &["list", "-a"]).exits(0).text().contains(".host"));
    assert!(!list.contains(".host"), "{list}");
    assert_eq!(run(&bed, &["show", ".host", "-p", "Name,Leader,Class,RootDirectory", "--value"]).exits(0).text(), ".host\n1\nhost\n/\n");
    let both = run(&bed, &["status", ".host", name]).exits(0).text();
    assert!(both.starts_with(".host") && both.contains("Class: host\n") && both.contains(&format!("\n\n{name}(")), "{both}");
    // Defaults of systemd-nspawn@.service: ids of its own, a cable.
    let property = |name: &str, p: &str| run(&bed, &["show", name, "-P", p]).exits(0).text().trim().to_owned();
    assert_eq!(property(name, "State"), "running");
    assert_eq!(property(name, "RootDirectory"), stored.path.display().to_string());
    assert_ne!(property(name, "UIDShift"), "0");
    assert_ne!(property(name, "NetworkInterfaces"), "");
    let leader = property(name, "Leader");
    assert!(PathBuf::from(format!("/proc/{leader}")).exists());
    bed.hostel(["show", name, "-p", "Leader"]).run().exits(0).prints(&format!("Leader={leader}"));
    let status = run(&bed, &["status", name, "--no-pager", "-n", "5"]).exits(0).text();
    for part in [name, "Since: ", "Leader: ", "busybox", "Hostel test box", "UID Shift: ", "└─"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    // The address that it gives itself is seen.
    sh(&bed, name, "ip addr add 10.77.1.2/24 dev host0 && ip link set host0 up").exits(0);
    assert!(run(&bed, &["list"]).exits(0).text().contains("10.77.1.2"));
    // Another life, then the end.
    run(&bed, &["reboot", name]).exits(0);
    assert!(eventually(SOON, || property(name, "Leader") != leader), "no reboot");
    wait_up(&bed, name);
    run(&bed, &["poweroff", name]).exits(0);
    assert!(eventually(SOON, || run(&bed, &["status", name]).code == Some(1)), "it runs on");
    assert!(run(&bed, &["show", name]).exits(1).errors().contains("does not run"));
    bed.hostel(["start", name]).run().exits(0);
    run(&bed, &["terminate", name]).exits(0);
    run(&bed, &["terminate", name]).exits(1);
    drop(stored);
    bed.assert_clean();
}

#[test]
fn signals_and_freezing() {
    let Some(bed) = Bed::start() else { return };
    let name = boot(&bed, &[]);
    sh(&bed, &name, "(trap 'echo got >/run/got' USR1; touch /run/trapped; while :; do sleep 0.1; done) >/dev/null 2>&1 &").exits(0);
    assert!(eventually(SOON, || sh(&bed, &name, "test -e /run/trapped").code == Some(0)));
    run(&bed, &["kill", &name, "-s", "CONT", "--kill-whom=leader"]).exits(0);
    run(&bed, &["kill", "--kill-whom=supervisor", "-sCONT", &name]).exits(0);
    run(&bed, &["pause", &name]).exits(0);
    assert_eq!(bed.hostel(["ps", "--json"]).run().json()[0]["state"], "paused");
    run(&bed, &["resume", &name]).exits(0);
    // Without a word it is SIGTERM, to all of it: busybox' init takes that for a reboot.
    let leader = run(&bed, &["show", &name, "-P", "Leader"]).exits(0).text();
    run(&bed, &["kill", &name]).exits(0);
    assert!(eventually(SOON, || run(&bed, &["show", &name, "-P", "Leader"]).text() != leader), "nothing happened");
    wait_up(&bed, &name);
    end(&bed, &name);
}

#[test]
fn shells_and_their_status() {
    let Some(bed) = Bed::start() else { return };
    let name = boot(&bed, &[]);
    for status in [0, 1, 42, 255] {
        run(&bed, &["shell", "-q", &name, "/bin/sh", "-c", &format!("exit {status}")]).exits(status);
    }
    run(&bed, &["shell", &name, "/no/such"]).exits(127);
    sh(&bed, &name, "echo 'anna:x:500:500::/:/bin/sh' >>/etc/passwd").exits(0);
    run(&bed, &["--uid=anna", "-E", "A=1", "shell", &name, "/bin/sh", "-c", "echo $(id -u) $A"]).exits(0).prints("500 1");
    run(&bed, &["shell", &format!("anna@{name}"), "/bin/sh", "-c", "id -u"]).exits(0).prints("500");
    run(&bed, &["shell", "nobody-there", "true"]).exits(1);
    // On a terminal: a prompt, and the way out of it.
    let mut terminal = Terminal::start(machinectl(&bed, &["shell", &name]));
    terminal.expect("Press ^] three times");
    terminal.send("echo $((6*7))\r");
    terminal.expect("42");
    terminal.send("exit 3\r");
    assert_eq!(terminal.wait(SOON), 3);
    assert!(terminal.is_sane());
    let mut terminal = Terminal::start(machinectl(&bed, &["login", &name]));
    terminal.expect("login: ");
    terminal.send("\x1d\x1d\x1d");
    assert_eq!(terminal.wait(SOON), 0, "to leave is no failure");
    assert!(terminal.is_sane());
    end(&bed, &name);
}

#[test]
fn command_lines_that_are_wrong() {
    let Some(bed) = Bed::start() else { return };
    for words in [
        &["frobnicate"][..],
        &["--bogus"],
        &["kill"],
        &["list", "x"],
        &["-H", "host", "list"],
        &["-M", "web", "list"],
        &["login"],
        &["shell", ".host"],
        &["pull-oci"],
        &["start", "no-such-tree"],
        &["enable", "no-such-tree"],
        &["cat", "no-such-tree"],
    ] {
        let outcome = run(&bed, words).exits(1);
        assert!(outcome.errors().starts_with("machinectl: ") && outcome.text().is_empty(), "{words:?}: {}", outcome.describe());
    }
    assert!(run(&bed, &["--version"]).exits(0).text().starts_with("systemd 252 (hostel "));
    assert!(run(&bed, &["--help"]).exits(0).text().contains("copy-to NAME PATH [PATH]"));
    // Names are names: nothing is run, nothing is made.
    let trap = bed.dir().join("ran");
    for verb in [&["show"][..], &["shell"], &["poweroff"], &["bind"], &["enable"], &["kill"]] {
        let name = format!("x;touch {}", trap.display());
        let outcome = machinectl(&bed, verb).args([&name, "/x"]).run().exits(1);
        assert!(outcome.errors().contains("use name"), "{}", outcome.describe());
    }
    assert!(!trap.exists());
}

#[test]
fn a_list_of_what_starts_with_the_host() {
    let Some(bed) = Bed::start() else { return };
    let (one, two) = (Stored::new(&bed), Stored::new(&bed));
    let autostart = |words: &[&str]| bed.hostel(["autostart"]).args(words).env("HOSTEL_CONFIG_DIR", bed.dir().join("etc")).run();
    autostart(&["status"]).exits(0).prints("");
    run(&bed, &["enable", "--now", &one.name]).exits(0);
    run(&bed, &["enable", &two.name]).exits(0);
    wait_up(&bed, &one.name);
    let status = autostart(&["status"]).exits(0).text();
    assert!(status.contains(&format!("{}  running", one.name)) && status.contains(&format!("{}  -", two.name)), "{status}");
    // A third whose tree has gone keeps no other from starting.
    std::fs::write(bed.dir().join("etc/autostart/gone-away"), "").expect("write");
    let shown = autostart(&[]).exits(0).text();
    let line = shown.lines().find(|line| line.starts_with(&two.name)).unwrap_or_default();
    assert!(line.ends_with(" -"), "without a word it shows, and starts nothing: {shown}");
    let outcome = autostart(&["start"]).exits(1);
    assert!(outcome.errors().contains("gone-away"), "{}", outcome.describe());
    wait_up(&bed, &two.name);
    run(&bed, &["disable", "gone-away", &one.name, "--now"]).exits(0);
    assert!(eventually(SOON, || run(&bed, &["status", &one.name]).code == Some(1)));
    autostart(&["stop"]).exits(0);
    run(&bed, &["disable", &two.name]).exits(0);
    autostart(&["status"]).exits(0).prints("");
    let script = autostart(&["--install=systemd"]).exits(0).text();
    assert!(script.contains("hostel-autostart.service") && script.contains("systemctl enable"), "{script}");
    drop((one, two));
    bed.assert_clean();
}

#[test]
fn settings_files() {
    let Some(bed) = Bed::start() else { return };
    let name = bed.name();
    let path = PathBuf::from(format!("/etc/systemd/nspawn/{name}.nspawn"));
    let editor = bed.dir().join("editor");
    std::fs::write(&editor, "#!/bin/sh\n[ \"$1\" = -x ] && printf '[Exec]\\nBoot=yes\\n' >>\"$2\"\n").expect("write");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    machinectl(&bed, &["edit", &name]).env("EDITOR", format!("{} -x", editor.display())).run().exits(0);
    run(&bed, &["cat", &name]).exits(0).prints(&format!("# {}\n[Exec]\nBoot=yes", path.display()));
    machinectl(&bed, &["edit", &name]).env("SYSTEMD_EDITOR", "false").run().exits(1);
    machinectl(&bed, &["edit", &name]).env("SYSTEMD_EDITOR", "true").run().exits(0);
    let text = std::fs::read_to_string(&path);
    let left = std::fs::read_dir("/etc/systemd/nspawn").expect("list").flatten().filter(|e| e.file_name().to_string_lossy().contains(&name)).count();
    let _ = std::fs::remove_file(&path);
    assert_eq!((text.expect("read").as_str(), left), ("[Exec]\nBoot=yes\n", 1));
}

// ---- files

#[test]
fn bind_mounts() {
    let Some(bed) = Bed::start() else { return };
    let share = bed.fresh("share");
    std::fs::write(share.join("file"), "host data\n").expect("write");
    let shown = share.display().to_string();
    for options in [&[][..], &["--privileged-users=host"]] {
        let name = boot(&bed, options);
        run(&bed, &["bind", &name, &shown, "/mnt"]).exits(0);
        // Root's file there is root's file here, both ways.
        sh(&bed, &name, "stat -c %u /mnt/file; echo new >/mnt/new").exits(0).prints("0");
        assert_eq!(std::fs::metadata(share.join("new")).expect("made inside").uid(), 0);
        run(&bed, &["bind", &name, &shown, "/deep/down", "--mkdir", "--read-only"]).exits(0);
        sh(&bed, &name, "cat /deep/down/file; echo x >/deep/down/y").exits(1).prints("host data");
        if options.is_empty() {
            // What was given read-only stays so, whatever root inside does.
            sh(&bed, &name, "mount -o remount,bind,rw /deep/down; echo x >/deep/down/y").exits(1);
        }
        run(&bed, &["bind", &name, &format!("{shown}/file"), "/tmp/one", "--mkdir", "--read-only"]).exits(0);
        sh(&bed, &name, "cat /tmp/one; mount -o remount,bind,rw /tmp/one 2>/dev/null; true").exits(0).prints("host data");
        for words in [&["bind", &name, &shown, "/no/such"][..], &["bind", &name, "/no/such", "/mnt"], &["bind", &name, &shown, "/etc/passwd"]] {
            run(&bed, words).exits(1);
        }
        bed.hostel(["bind", &name, &shown, "/srv", "--mkdir", "--no-idmap"]).run().exits(0);
        assert!(!share.join("y").exists());
        std::fs::remove_file(share.join("new")).expect("remove");
        bed.hostel(["stop", &name]).run().exits(0);
    }
    bed.assert_clean();
}

#[test]
fn copies_in_and_out() {
    let Some(bed) = Bed::start() else { return };
    let here = bed.fresh("here");
    std::fs::create_dir_all(here.join("dir/sub")).expect("mkdir");
    std::fs::write(here.join("dir/file"), "text").expect("write");
    std::fs::set_permissions(here.join("dir/file"), std::fs::Permissions::from_mode(0o600)).expect("chmod");
    rustix::fs::chown(here.join("dir/file"), Some(rustix::fs::Uid::from_raw(1000)), Some(rustix::fs::Gid::from_raw(1001))).expect("chown");
    symlink("/etc/shadow", here.join("dir/sub/link")).expect("link");
    let at = |path: &str| here.join(path).display().to_string();
    for options in [&[][..], &["--privileged-users=host"]] {
        let name = boot(&bed, options);
        run(&bed, &["copy-to", &name, &at("dir"), "/root/copy"]).exits(0);
        sh(&bed, &name, "cat /root/copy/file; stat -c ' %a %u %g' /root/copy/file; readlink /root/copy/sub/link")
            .exits(0)
            .prints("text 600 1000 1001\n/etc/shadow");
        // Files stay unless told; directories are merged.
        assert!(run(&bed, &["copy-to", &name, &at("dir"), "/root/copy"]).exits(1).errors().contains("File exists"));
        run(&bed, &["copy-to", &name, &at("dir"), "/root/copy", "--force"]).exits(0);
        // A path inside that is relative to nothing.
        for words in [&["copy-to", &name, &at("dir"), "copy"][..], &["copy-from", &name, "root", &at("never")]] {
            assert!(run(&bed, words).exits(1).errors().contains("it is not absolute"), "{words:?}");
        }
        // Into a file system of the machine's own, as well.
        run(&bed, &["copy-to", &name, &at("dir/file"), "/tmp/file"]).exits(0);
        sh(&bed, &name, "cat /tmp/file; cp /bin/busybox /root/suid; chmod 4755 /root/suid; mkfifo /root/fifo; chown 12:34 /root/copy/sub")
            .exits(0)
            .prints("text");
        let out = at("out");
        let outcome = run(&bed, &["copy-from", &name, "/root", &out]).exits(0);
        assert!(outcome.errors().contains("set-user-id"), "{}", outcome.describe());
        assert_eq!(std::fs::metadata(here.join("out/suid")).expect("suid").mode() & 0o7777, 0o755);
        let sub = std::fs::metadata(here.join("out/copy/sub")).expect("sub");
        assert_eq!((sub.uid(), sub.gid()), (12, 34));
        assert_eq!(std::fs::read_link(here.join("out/copy/sub/link")).expect("link"), PathBuf::from("/etc/shadow"));
        std::fs::remove_dir_all(&out).expect("remove");
        // As cp(1) has it, natively.
        bed.hostel(["cp", &format!("{name}:/etc/hostname"), "."]).run().exits(0);
        assert_eq!(std::fs::read_to_string(bed.dir().join("hostname")).expect("copied").trim(), sh(&bed, &name, "cat /etc/hostname").text().trim());
        bed.hostel(["cp", "hostname", &format!("{name}:/no/such/")]).run().exits(1);
        bed.hostel(["cp", "hostname", &format!("{name}:/root/copy/")]).run().exits(0);
        sh(&bed, &name, "test -f /root/copy/hostname").exits(0);
        bed.hostel(["cp", &format!("{name}:/no/such"), "."]).run().exits(1);
        // A file that says that it is empty.
        bed.hostel(["cp", &format!("{name}:/proc/version"), "."]).run().exits(0);
        let version = std::fs::read_to_string(bed.dir().join("version")).expect("copied");
        assert_eq!(version, std::fs::read_to_string("/proc/version").expect("read"));
        std::fs::remove_file(bed.dir().join("version")).expect("remove");
        std::fs::remove_file(bed.dir().join("hostname")).expect("remove");
        bed.hostel(["stop", &name]).run().exits(0);
    }
    bed.assert_clean();
}

/// A machine that moves directories and links about while files go in and out leads nothing to or from the host.
#[test]
fn a_machine_that_moves_things_about_while_they_are_copied() {
    let Some(bed) = Bed::start() else { return };
    let trap = Trap::set(bed.dir().join("trap"));
    let here = bed.fresh("here");
    for n in 0..40 {
        std::fs::create_dir_all(here.join(format!("in/d{n}"))).expect("mkdir");
        std::fs::write(here.join(format!("in/d{n}/core_pattern")), "from the copy").expect("write");
        std::fs::write(here.join(format!("in/d{n}/file")), "from the copy").expect("write");
    }
    for options in [&[][..], &["--privileged-users=host"]] {
        let name = boot(&bed, options);
        let outside = trap.path().display().to_string();
        let script = format!(
            "mkdir -p /data/in /elsewhere /files; echo inside >/files/file; touch /run/swapping; while :; do \
             for d in d1 d5 d20 d39; do mv /data/in/$d /elsewhere/ 2>/dev/null; ln -s {outside} /data/in/$d 2>/dev/null; rm -rf /elsewhere/$d; rm -f /data/in/$d; done; \
             mv /data /data2; ln -s {outside} /data; rm /data; ln -s /proc/1/root{outside} /data; rm /data; mv /data2 /data; \
             ln -sf {outside}/file /files/file; rm /files/file; ln -s /proc/self/root{outside}/file /files/file; rm /files/file; mkfifo /files/file; rm /files/file; echo inside >/files/file; done"
        );
        let mut swapper = bed.hostel(["exec", &name, "sh", "-c", &script]).start();
        assert!(eventually(SOON, || sh(&bed, &name, "test -e /run/swapping").code == Some(0)));
        for n in 0..12 {
            let limit = Duration::from_secs(20);
            let source = here.join("in").display().to_string();
            for words in [&["copy-to", &name, &source, "/data/in", "--force"][..], &["copy-to", &name, &source, "/data", "--force"]] {
                let outcome = machinectl(&bed, words).limit(limit).run();
                assert!(!outcome.timed_out && outcome.signal.is_none(), "{}", outcome.describe());
            }
            let out = here.join(format!("out{n}"));
            let outcome = machinectl(&bed, &["copy-from", &name, "/files", &out.display().to_string()]).limit(limit).run();
            assert!(!outcome.timed_out && outcome.signal.is_none(), "{}", outcome.describe());
            let text =
                std::fs::symlink_metadata(out.join("file")).ok().filter(|m| m.is_file()).and_then(|_| std::fs::read_to_string(out.join("file")).ok());
            assert!(text.is_none_or(|t| t.is_empty() || t == "inside\n"), "a file of the host was copied");
            let outcome = machinectl(&bed, &["bind", &name, &source, "/data/in", "--mkdir"]).limit(limit).run();
            assert!(!outcome.timed_out && outcome.signal.is_none(), "{}", outcome.describe());
        }
        trap.assert_untouched("moving things about");
        swapper.close_input();
        drop(swapper);
        bed.hostel(["stop", "--force", &name]).run().exits(0);
    }
    trap.assert_untouched("moving things about");
    let left: Vec<_> = std::fs::read_dir(&here).expect("list").flatten().filter(|e| e.file_name().to_string_lossy().starts_with(".#")).collect();
    assert!(left.is_empty(), "{left:?}");
    bed.assert_clean();
}

// ---- nspawn-tools

#[test]
fn nspawn_tools_on_our_machines() {
    let Some(bed) = Bed::start() else { return };
    let name = boot(&bed, &[]);
    bed.hostel(["nspawn-enter", &name, "-n"]).input("test -e /run/hostel-test-up && ls /proc/1/exe >/dev/null; exit 9\n").run().exits(9);
    bed.hostel(["nspawn-enter", "-p", &name]).input("exit 0\n").run().exits(0);
    bed.hostel(["nspawn-enter", "no-such"]).run().exits(1);
    bed.hostel(["nspawn-enter"]).run().exits(2);
    bed.hostel(["nspawn-enter", "-x", &name]).run().exits(2);
    let trap = bed.dir().join("ran");
    for tool in ["nspawn-enter", "nspawn-stop"] {
        bed.hostel([tool, &format!("x;touch {}", trap.display())]).run().exits(1);
    }
    assert!(!trap.exists());
    let outcome = bed.hostel(["nspawn-stop", "-v", &name]).run().exits(0);
    assert!(outcome.text().starts_with(&format!("Stopped machine '{name}' after ")), "{}", outcome.describe());
    // Not running is what was wanted.
    bed.hostel(["nspawn-stop", &name]).run().exits(0).prints("");
    bed.assert_clean();
}

#[test]
fn nspawn_stop_does_not_kill() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("ignore");
    let (name, shown) = (bed.name(), tree.path().display().to_string());
    let booted = bed.hostel(["boot", &shown, "-d", "--name", &name]).run();
    if booted.code != Some(0) {
        println!("skipped: {}", booted.describe());
        return;
    }
    bed.hostel(["nspawn-stop", &name, "-t", "1"]).run().exits(5).prints("");
    let outcome = bed.hostel(["nspawn-stop", "-vt1", "--compat-exit", &name]).run().exits(0);
    assert!(outcome.errors().contains(&format!("Failed to stop machine '{name}' after 1 seconds")), "{}", outcome.describe());
    bed.hostel(["stop", "--force", &name]).run().exits(0);
    bed.assert_clean();
}

/// Puts the shell that says it, and what it executes, into cgroups of this name in every hierarchy.
fn in_groups(id: &str) -> String {
    format!(
        "for m in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -e $m/cgroup.procs ] || continue; mkdir -p $m/{id}-g; \
         for f in cpuset.cpus cpuset.mems; do [ -e $m/{id}-g/$f ] && cat $m/$f >$m/{id}-g/$f; done; echo $$ >$m/{id}-g/cgroup.procs; done; exec \"$@\""
    )
}

fn remove_groups(id: &str) {
    let script = format!("find /sys/fs/cgroup -depth -type d -path '*{id}*' -exec rmdir {{}} + 2>/dev/null");
    eventually(Duration::from_secs(5), || {
        let _ = std::process::Command::new("sh").args(["-c", &script]).status();
        !std::process::Command::new("sh")
            .args(["-c", &format!("find /sys/fs/cgroup -type d -name '*{id}*' | grep -q .")])
            .status()
            .is_ok_and(|s| s.success())
    });
}

#[test]
fn machines_of_systemd_nspawn() {
    let Some(bed) = Bed::start() else { return };
    if std::process::Command::new("systemd-nspawn").arg("--version").output().is_err() {
        println!("skipped: systemd-nspawn is not installed");
        return;
    }
    // With the host's ids, and with its own.
    for users in [&[][..], &["--private-users=1234567168:65536", "--private-users-ownership=chown"]] {
        let tree = bed.copy("bbinit");
        let name = tree.name();
        let original =
            Invocation::new("systemd-nspawn").args(["-q", "--register=no", "--keep-unit", "--console=pipe"]).args(users).arg("-bD").arg(tree.path());
        let running = original.open_input().limit(Duration::from_secs(60)).through_shell(&in_groups(bed.id())).start();
        let up = || bed.hostel(["enter", &name, "--", "test", "-e", "/run/hostel-test-up"]).run().code == Some(0);
        assert!(eventually(SOON, up), "{}", bed.hostel(["enter", &name, "--", "true"]).run().describe());
        bed.hostel(["exec", &name, "sh", "-c", "cat /proc/1/comm; exit 6"]).run().exits(6).prints("init");
        bed.hostel(["nspawn-enter", &name]).input("exit 8\n").run().exits(8);
        std::fs::write(bed.dir().join("file"), "in").expect("write");
        bed.hostel(["cp", "file", &format!("{name}:/root/file")])
            .run()
            .exits(0)
            .says(&format!("{name} is a machine of others (systemd-nspawn, process "));
        assert_eq!(std::fs::read_to_string(tree.at("/root/file")).expect("copied"), "in");
        let outcome = bed.hostel(["nspawn-stop", "-v", "-t", "20", &name]).run().exits(0);
        assert!(outcome.text().starts_with("Stopped machine"), "{}", outcome.describe());
        // The leader has ended; the original notices by itself.
        let ended = running.finish(Duration::from_secs(10));
        assert!(!ended.timed_out, "{}", ended.describe());
        bed.hostel(["nspawn-stop", &name]).run().exits(0);
        remove_groups(bed.id());
        let _ = std::fs::remove_dir_all(format!("/run/systemd/nspawn/propagate/{name}"));
    }
    bed.assert_clean();
}

#[test]
fn machines_of_lxc() {
    let Some(bed) = Bed::start() else { return };
    if std::process::Command::new("lxc-start").arg("--version").output().is_err() {
        println!("skipped: lxc is not installed");
        return;
    }
    for base in [None, Some("1234567168")] {
        lxc_machine(&bed, base);
    }
    bed.assert_clean();
}

/// One whose ids are the host's, or begin at `base`.
fn lxc_machine(bed: &Bed, base: Option<&str>) {
    let tree = bed.copy("bbinit");
    let (name, top) = (bed.name(), bed.fresh("lxc"));
    std::fs::create_dir_all(top.join(&name)).expect("mkdir");
    // Its root may mount a sysfs only of a network of its own.
    let network = if base.is_some() { "empty" } else { "none" };
    let mut config = format!(
        "lxc.rootfs.path = dir:{}\nlxc.uts.name = {name}\nlxc.net.0.type = {network}\nlxc.mount.auto = proc:mixed sys:ro\nlxc.autodev = 1\n\
         lxc.pty.max = 64\nlxc.tty.max = 0\nlxc.apparmor.profile = unconfined\nlxc.init.cmd = /sbin/init\nlxc.cgroup.dir = {}-lxc\n",
        tree.path().display(),
        bed.id()
    );
    if let Some(base) = base {
        config.push_str(&format!("lxc.idmap = u 0 {base} 65536\nlxc.idmap = g 0 {base} 65536\n"));
        let owner = format!("{base}:{base}");
        let given = std::process::Command::new("chown").args(["-hR", &owner]).arg(tree.path()).status();
        assert!(given.is_ok_and(|s| s.success()), "chown");
    }
    std::fs::write(top.join(&name).join("config"), config).expect("write");
    let start = Invocation::new("lxc-start")
        .args(["-P"])
        .arg(&top)
        .args(["-n", &name, "-d", "-l", "INFO", "-o"])
        .arg(top.join("log"))
        .limit(Duration::from_secs(30));
    let started = start.through_shell(&in_groups(bed.id())).run();
    if started.code != Some(0) {
        println!("skipped: lxc-start does not start here: {}{}", started.describe(), std::fs::read_to_string(top.join("log")).unwrap_or_default());
        remove_groups(bed.id());
        return;
    }
    let up = || bed.hostel(["enter", &name, "--", "test", "-e", "/run/hostel-test-up"]).run().code == Some(0);
    assert!(eventually(SOON, up), "{}", bed.hostel(["enter", &name, "--", "true"]).run().describe());
    bed.hostel(["nspawn-enter", &name, "--no-network"]).input("exit 5\n").run().exits(5);
    let own_ids = bed.hostel(["exec", &name, "cat", "/proc/self/uid_map"]).run().exits(0).text();
    assert_eq!(own_ids.split_whitespace().nth(1), Some(base.unwrap_or("0")));
    bed.hostel(["nspawn-stop", &name, "-t", "20"]).run().exits(0);
    let gone = || bed.hostel(["enter", &name, "--", "true"]).run().code == Some(125);
    assert!(eventually(SOON, gone), "it is still found");
    remove_groups(bed.id());
}
