//! What users who are not root see of root's machines.

use std::os::unix::fs::PermissionsExt;

use hostel_tests::{Bed, Invocation};

/// The program where everybody can execute it, run by nobody (65534) against root's machines.
fn nobody(bed: &Bed, args: &[&str]) -> Invocation {
    let program = bed.dir().join("hostel");
    if !program.exists() {
        std::fs::copy(bed.hostel(["help"]).program(), &program).expect("copy");
        for path in [bed.dir(), &program] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("open");
        }
    }
    let invocation = Invocation::new(&program).args(args).env("HOSTEL_RUNTIME_DIR", bed.runtime_dir()).dir("/");
    invocation.through_shell("exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"")
}

#[test]
fn others_see_what_runs_and_change_nothing() {
    let Some(bed) = Bed::start() else { return };
    let (tree, name) = (bed.busybox(), bed.name());
    bed.hostel(["run", "-d", "--name", &name, "--tree"]).arg(tree.path()).args(["--", "sleep", "1000"]).run().exits(0);
    nobody(&bed, &["ps"]).run().exits(0).prints_with(&format!("{name}  running"));
    nobody(&bed, &["status", &name]).run().exits(0).prints_with(&name);
    nobody(&bed, &["inspect", &name]).run().exits(0).prints_with("\"running\"");
    nobody(&bed, &["machinectl", "list"]).run().exits(0).prints_with(&name);
    nobody(&bed, &["net", "status"]).run().exits(0);
    for verb in [&["stop", &name][..], &["kill", &name], &["exec", &name, "--", "true"], &["run", "--", "true"]] {
        let outcome = nobody(&bed, verb).run().fails();
        assert!(outcome.errors().contains("sudo"), "{verb:?}: {}", outcome.describe());
    }
    bed.hostel(["kill", &name, "-s", "KILL", "--whom", "supervisor"]).run().exits(0);
    // Dead, whatever its lock says to those who may not look at it.
    assert!(hostel_tests::eventually(std::time::Duration::from_secs(5), || !nobody(&bed, &["ps"]).run().text().contains("running")));
    bed.clean();
}

#[test]
fn others_see_what_a_command_line_would_do() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let path = tree.path().display().to_string();
    let line = ["plan", "run", "--tree", &path, "--", "true"];
    let steps =
        |text: String| text.lines().filter(|l| l.trim_start().starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).collect::<Vec<_>>();
    let (own, others) = (steps(bed.hostel(line).run().exits(0).text()), steps(nobody(&bed, &line).run().exits(0).text()));
    assert!(own.len() > 10);
    assert_eq!(own.len(), others.len(), "{own:#?}\n{others:#?}");
}

#[test]
fn how_a_stopped_command_ended_is_said() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (option, script, said) in [
        ("--kill-signal=SIGTERM", "trap 'exit 7' TERM; sleep 1000 & wait", " ended after "),
        ("--kill-signal=SIGKILL", "sleep 1000", " was killed (SIGKILL) after "),
    ] {
        let name = bed.name();
        bed.hostel(["run", "-d", "--name", &name, option, "--tree"]).arg(tree.path()).args(["--", "sh", "-c", script]).run().exits(0);
        assert!(hostel_tests::eventually(std::time::Duration::from_secs(5), || bed.hostel(["exec", &name, "pidof", "sleep"]).run().code == Some(0)));
        bed.hostel(["stop", "-v", &name]).run().exits(0).says(said);
    }
}
