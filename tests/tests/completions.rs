//! Completions as somebody at a terminal has them: an interactive bash, the real hostel, the Tab key.

use hostel_tests::{Bed, Invocation, Terminal};

#[test]
fn the_tab_key_completes_verbs_options_and_machines() {
    let Some(bed) = Bed::start() else { return };
    let bash = std::path::Path::new("/bin/bash");
    if !bash.exists() {
        println!("skipped: there is no bash here");
        return;
    }
    let dir = bed.fresh("completions");
    let tree = bed.busybox();
    let name = bed.name();
    let boot = bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-M", &name, "-D"]).arg(tree.path()).args(["sleep", "60"]).start();
    let up = || bed.hostel(["ps", "-q"]).run().text().contains(&name);
    assert!(hostel_tests::eventually(std::time::Duration::from_secs(20), up), "{name} did not come up");

    // `hostel` in PATH is the one under test, with this test's state.
    std::os::unix::fs::symlink(bed.hostel([""; 0]).program(), dir.join("hostel")).expect("link");
    let script = bed.hostel(["generate", "completions", "bash"]).run().exits(0).text();
    std::fs::write(dir.join("rc"), format!("PS1='ready> '\nbind 'set enable-bracketed-paste off'\n{script}")).expect("write");
    let path = format!("{}:/usr/bin:/bin", dir.display());
    let shell = Invocation::new(bash).args(["--noprofile", "--rcfile"]).arg(dir.join("rc")).arg("-i");
    let mut terminal = Terminal::start(shell.env("PATH", path).env("HOSTEL_RUNTIME_DIR", bed.runtime_dir()).env("TERM", "dumb"));
    terminal.expect("ready> ");
    let half = &name[..name.len() - 2];
    for (typed, completed) in [
        ("hostel doct", "hostel doctor "),
        ("hostel kill --who", "hostel kill --whom "),
        ("hostel kill --whom lea", "hostel kill --whom leader "),
        (&format!("hostel stop {half}"), &format!("hostel stop {name} ")),
        (&format!("hostel exec {half}"), &format!("hostel exec {name} ")),
    ] {
        // Ctrl-A and Alt-# make a comment of the line: nothing is executed.
        terminal.send(&format!("{typed}\t"));
        terminal.expect(completed);
        terminal.send("\x01\x1b#");
        terminal.expect("ready> ");
    }
    terminal.send("exit\n");
    terminal.wait(std::time::Duration::from_secs(10));
    bed.hostel(["stop", "--force", &name]).run().exits(0);
    boot.finish(std::time::Duration::from_secs(10));
}
