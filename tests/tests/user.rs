//! A demanding user: odd paths, odd places, little room, nobody listening, much data.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Outcome, Signal, Terminal, eventually};

const SOON: Duration = Duration::from_secs(15);

/// Refused in one line and a hint, with this status.
#[track_caller]
fn refused(outcome: Outcome, status: i32) -> String {
    let outcome = outcome.exits(status);
    let errors = outcome.errors();
    let lines: Vec<&str> = errors.lines().collect();
    assert!(matches!(lines[..], [first, hint] if first.starts_with("hostel: ") && hint.starts_with("hint: ")), "{}", outcome.describe());
    errors
}

#[test]
fn trees_by_odd_paths() {
    let Some(bed) = Bed::start() else { return };
    for (n, odd) in ["a b", "new\nline", "co:lon", "com,ma", "per%cent", "ünï", "qu\"ote", "back\\slash", "-dash"].iter().enumerate() {
        let tree = bed.copy("bbinit");
        let place = bed.dir().join(format!("place{n}"));
        std::fs::create_dir(&place).expect("mkdir");
        std::fs::rename(tree.path(), place.join(odd)).expect("rename");
        // Relative to where it is typed, in the background too, whose supervisor is elsewhere.
        let path = format!("./{odd}");
        bed.hostel(["run", "--tree", &path, "--", "sh", "-c", "echo x >/etc/x; cat /etc/x"]).dir(&place).run().exits(0).prints("x");
        bed.hostel(["nspawn", "-q", "-D", &path, "true"]).dir(&place).run().exits(0);
        let name = bed.name();
        bed.hostel(["boot", &path, "-d", "--name", &name]).dir(&place).run().exits(0).prints(&name);
        bed.hostel(["exec", &name, "true"]).run().exits(0);
        let inspected = bed.hostel(["inspect", &name]).run().exits(0).json();
        assert_eq!(inspected["tree"].as_str(), place.join(odd).to_str());
        let status = bed.hostel(["status", &name]).run().exits(0).text();
        assert!(status.lines().filter(|l| l.contains("tree:")).count() == 1, "{status}");
        bed.hostel(["stop", &name]).run().exits(0);
        std::fs::rename(place.join(odd), tree.path()).expect("rename");
    }
}

#[test]
fn trees_that_are_none() {
    let Some(bed) = Bed::start() else { return };
    let empty = bed.fresh("empty");
    let file = bed.dir().join("file");
    std::fs::write(&file, "").expect("write");
    let (empty, file) = (empty.to_string_lossy().into_owned(), file.to_string_lossy().into_owned());
    // A file may be meant as a disk image, for which an error needs no advice.
    let told = bed.hostel(["boot", &file]).run();
    assert_eq!(told.code, Some(1), "{}", told.describe());
    for path in ["/no/such\ntree\x1b[31m", "no-such-name", &empty, "/dev/null", "/"] {
        for background in [&[][..], &["-d"]] {
            let errors = refused(bed.hostel(["boot", path]).args(background).run(), 1);
            assert!(!errors.contains('\x1b'), "{errors:?}");
        }
        if path != "/" {
            refused(bed.hostel(["run", "--tree", path, "--", "true"]).run(), 125);
        }
    }
    for words in [&["boot"][..], &["boot", ""], &["boot", "a", "b"], &["boot", "a", "-a"], &["boot", "../a b", "--tree", "x"], &["run", "-d"]] {
        refused(bed.hostel(words).run(), 2);
    }
    // A directory of that name is not taken for the machine of that name, but told of.
    std::fs::create_dir(bed.dir().join("here")).expect("mkdir");
    for background in [&[][..], &["-d"]] {
        assert!(refused(bed.hostel(["boot", "here"]).args(background).run(), 1).contains("./here"));
    }
}

#[test]
fn values_that_are_none() {
    let Some(bed) = Bed::start() else { return };
    let long = format!("--name={}", "x".repeat(65));
    for option in [
        "--memory=x",
        "--memory=-1",
        "--memory=1Z",
        "--cpus=0",
        "--pids=x",
        "--net=x",
        "--net=",
        "--nest=-1",
        "--privileged-users=x",
        "--name=..",
        "--name=/",
        "--name=",
        &long,
        "--keep=-x",
        "--tree=",
        "--json=x",
        "--bind=",
        "--bind=/etc:rel",
        "--setenv==x",
        "--uid=a:b",
        "--chdir=rel",
        "--rlimit=x",
        "--tmpfs=rel",
        "--hostname=-",
        "--uuid=x",
        "--property=Foo=1",
        "--capability=x",
        "--kill-signal=x",
        "--private-users=x",
        "--console=x",
        "--volatile=x",
        "--nosuch",
    ] {
        refused(bed.hostel(["run", option, "--", "true"]).run(), 2);
    }
    assert!(refused(bed.hostel(["run", "--mem", "1G", "true"]).run(), 2).contains("--memory?"));
    assert!(refused(bed.hostel(["plan", "run", "--tre=x", "true"]).run(), 2).contains("--tree?"));
    let writable = |net: &str| bed.hostel(["run", "--net", net, "true"]).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network").run();
    assert!(refused(writable("host"), 2).contains("--net private"));
    writable("private").exits(0);
    let bytes = std::ffi::OsStr::from_bytes(b"--name=\xff");
    refused(bed.hostel(["run"]).arg(bytes).arg("true").run(), 2);
    // Help wherever it stands before the command, and never after it.
    for words in [&["run", "--name", "x", "--help"][..], &["plan", "run", "--help"], &["spec", "boot", "-h"]] {
        bed.hostel(words).run().exits(0).says_nothing().prints_with("--tree");
    }
    bed.hostel(["run", "echo", "--help", "--", "-h"]).run().exits(0).prints("--help -- -h");
}

#[test]
fn statuses_say_whose_fault() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    for (script, status) in [("exit 0", 0), ("exit 1", 1), ("exit 125", 125), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        bed.hostel(["run", "--", "sh", "-c", script]).run().exits(status);
        bed.hostel(["exec", &name, "sh", "-c", script]).run().exits(status);
        bed.hostel(["enter", &name, "sh", "-c", script]).run().exits(status);
    }
    for (program, status) in [("nosuchprogram", 127), ("/no/such", 127), ("", 127), ("/etc/passwd", 126), ("/etc", 126)] {
        for words in [&["run", "--"][..], &["exec", &name]] {
            let outcome = bed.hostel(words).arg(program).run().exits(status);
            assert!(outcome.errors().starts_with("hostel: execute "), "{}", outcome.describe());
        }
    }
    // Ours.
    bed.hostel(["exec", "nosuchmachine", "true"]).run().exits(125);
    bed.hostel(["shell", "nosuchmachine"]).run().exits(125);
    for words in [&["run", "--uid=nosuch", "true"][..], &["exec", &name, "-u", "nosuch", "true"], &["exec", &name, "-tu", "nosuch", "true"]] {
        let outcome = bed.hostel(words).run().exits(125);
        assert_eq!(outcome.errors(), "hostel: find user \"nosuch\": no such user in the machine's /etc/passwd\n");
    }
    bed.hostel(["exec", &name, "-C", "/nosuch", "true"]).run().exits(125);
    bed.hostel(["pause", &name]).run().exits(0);
    refused(bed.hostel(["exec", &name, "true"]).run(), 125);
    bed.hostel(["resume", &name]).run().exits(0);
    bed.hostel(["stop", &name]).run().exits(0);
}

#[test]
fn streams_that_are_closed() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).through_shell("\"$@\" <&- >&- 2>&-").run().exits(0);
    for words in [&["run", "--"][..], &["exec", &name]] {
        let call = |script: &str| bed.hostel(words).args(["sh", "-c", "cat; echo out; echo err >&2; exit 7"]).through_shell(script).run().exits(7);
        assert_eq!((call("\"$@\" >&-").text(), call("\"$@\" >&-").errors()), (String::new(), "err\n".into()));
        assert_eq!((call("\"$@\" 2>&-").text(), call("\"$@\" 2>&-").errors()), ("out\n".into(), String::new()));
        assert_eq!((call("\"$@\" <&-").text(), call("\"$@\" <&-").errors()), ("out\n".into(), "err\n".into()));
        call("\"$@\" <&- >&- 2>&-");
        // A reader that goes away ends what writes, as without a machine.
        let outcome = bed.hostel(words).arg("yes").through_shell("{ \"$@\"; echo $? >&2; } | head -n 1").run().exits(0);
        assert_eq!((outcome.text().as_str(), outcome.errors().trim()), ("y\n", "141"), "{}", outcome.describe());
    }
    bed.hostel(["stop", &name]).through_shell("\"$@\" <&- >&- 2>&-").run().exits(0);
}

#[test]
fn much_data_arrives_whole() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    let wanted = Invocation::new("/bin/sh").args(["-c", "seq 1 4000000 | md5sum"]).env("PATH", "/usr/bin:/bin").run().exits(0).text();
    for words in [&["run", "--"][..], &["exec", &name]] {
        let out = bed.hostel(words).args(["seq", "1", "4000000"]).through_shell("\"$@\" | md5sum").env("PATH", "/usr/bin:/bin").run();
        assert_eq!(out.exits(0).text(), wanted);
        let into = bed.hostel(words).arg("md5sum").through_shell("seq 1 4000000 | \"$@\"").env("PATH", "/usr/bin:/bin").run();
        assert_eq!(into.exits(0).text(), wanted);
    }
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for words in [&["run", "--"][..], &["exec", &name]] {
        assert!(bed.hostel(words).arg("cat").input(&bytes).run().exits(0).stdout == bytes);
    }
    bed.hostel(["stop", &name]).run().exits(0);
}

#[test]
fn little_room() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    for limit in 4..16 {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        for words in [&["run", "--", "true"][..], &["exec", &name, "true"], &["status", &name], &["ps"], &["clean"], &["kill", &name, "-s", "CHLD"]] {
            let outcome = bed.hostel(words).through_shell(&script).run();
            let errors = outcome.errors();
            let said = outcome.code == Some(0) || (errors.starts_with("hostel: ") && errors.contains(": No file descriptors available"));
            assert!(said && !errors.contains("os error") && !outcome.text().contains("is dead"), "{limit}: {}", outcome.describe());
        }
    }
    bed.hostel(["stop", &name]).run().exits(0);
    bed.clean();
}

#[test]
fn a_place_that_is_gone() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let script = "mkdir gone; cd gone; rmdir ../gone; exec \"$@\"";
    bed.hostel(["run", "--", "pwd"]).through_shell(script).run().exits(0).prints("/");
    bed.hostel(["run", "--tree"]).arg(tree.path()).arg("true").through_shell(script).run().exits(0);
    refused(bed.hostel(["run", "--tree", "./x", "true"]).through_shell(script).run(), 125);
    refused(bed.hostel(["boot", "./x", "-d"]).through_shell(script).run(), 1);
    bed.hostel(["nspawn", "-q", "true"]).through_shell(script).run().exits(1).says("use the current directory as the tree: it is gone");
    bed.hostel(["ps"]).through_shell(script).run().exits(0);
}

#[test]
fn a_machine_in_a_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let hostel = bed.hostel(Vec::<String>::new()).program();
    let inner = |script: &str, options: &[&str]| {
        let bind = format!("--bind-ro={}:/usr/local/bin/hostel-inner", Path::new(&hostel).display());
        bed.hostel(["run", &bind, "--nest", "3"]).args(options).args(["--", "sh", "-c", &format!("unset HOSTEL_RUNTIME_DIR; {script}")]).run()
    };
    // Whether a user namespace may be nested in is the kernel's to say; a default limit without a controller is no obstacle.
    let outcome = inner("hostel-inner run -- echo nested", &[]).ends();
    assert!(outcome.text() == "nested\n" || !outcome.errors().contains("TasksMax"), "{}", outcome.describe());
    let path = tree.path().to_string_lossy().into_owned();
    let outcome = inner(&format!("hostel-inner run --tree '{path}' -- echo nested; hostel-inner ps -a --json >/dev/null && echo listed"), &[]).ends();
    assert!(outcome.text().ends_with("listed\n") && !outcome.errors().contains("panicked"), "{}", outcome.describe());
}

#[test]
fn others_than_root_are_told_so() {
    let Some(bed) = Bed::start() else { return };
    let nobody = |words: &[&str]| {
        let line = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        bed.hostel(words).env("PATH", "/usr/bin:/bin").dir("/").through_shell(line).run()
    };
    if nobody(&["--version"]).code != Some(0) {
        println!("skipped: another user cannot execute {}", bed.hostel(Vec::<String>::new()).program().display());
        return;
    }
    for words in [&["run", "--", "true"][..], &["boot", "/", "-x"]] {
        let status = if words[0] == "run" { 125 } else { 1 };
        assert!(refused(nobody(words), status).starts_with("hostel: start machine: Need to be root.\nhint: run it with sudo"));
    }
    nobody(&["nspawn", "-D", "/usr", "true"]).exits(1).says("Need to be root.");
    for words in [&["ps"][..], &["status", "x"], &["stop", "x"], &["clean"]] {
        assert!(refused(nobody(words), 1).contains("sudo"), "{words:?}");
    }
}

#[test]
fn a_terminal_that_is_left_and_resized() {
    let Some(bed) = Bed::start() else { return };
    let mut terminal =
        Terminal::start_sized(bed.hostel(["run", "--", "sh", "-c", "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"]), 20, 70);
    terminal.expect("up");
    terminal.resize(33, 101);
    terminal.expect("33 101");
    terminal.send("\x03");
    assert_eq!(terminal.wait(SOON), 130);
    assert!(terminal.is_sane());
}

#[test]
fn a_terminal_that_vanishes() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    for words in [&["run", "--name", "x", "--", "sleep", "4711"][..], &["exec", &name, "sleep", "4711"]] {
        let own = bed.name();
        let words: Vec<&str> = words.iter().map(|w| if *w == "x" { own.as_str() } else { w }).collect();
        let terminal = Terminal::start(bed.hostel(&words));
        assert!(eventually(SOON, || running("sleep\u{0}4711")), "{words:?} does not run");
        terminal.hang_up(SOON);
        let gone = eventually(SOON, || !running("sleep\u{0}4711"));
        assert!(gone, "{words:?} outlived its terminal");
    }
    bed.hostel(["stop", &name]).run().exits(0);
}

/// Whether a process with this command line exists.
fn running(line: &str) -> bool {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|text| text.starts_with(line.as_bytes())))
}

#[test]
fn signals_reach_what_runs() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.copy("bbinit");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    for words in [&["run", "--"][..], &["exec", &name]] {
        for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1), (Signal::QUIT, 3), (Signal::USR1, 10)] {
            let plain = bed.hostel(words).args(["sh", "-c", "echo up; exec sleep 60"]).start();
            plain.expect("up").signal(signal);
            let status = plain.finish(SOON).ends();
            assert_eq!(status.code, Some(128 + number), "{words:?} {signal:?}: {}", status.describe());
        }
    }
    bed.hostel(["stop", &name]).run().exits(0);
}
