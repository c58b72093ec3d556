//! The console: what standard input and output are in each mode, and typing at a machine.

use std::time::Duration;

use hostel_tests::{Bed, Signal, Terminal};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn interactive_is_a_terminal_both_ways() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal = Terminal::start_sized(
        bed.nspawn(&tree, ["sh", "-c", "tty; stty size; read line; echo \"<$line>\"; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminals; exit 5"]),
        33,
        101,
    );
    terminal.expect("/dev/");
    terminal.expect("33 101");
    terminal.send("hello\r");
    terminal.expect("<hello>");
    terminal.expect("terminals");
    assert_eq!(terminal.wait(SOON), 5);
    assert!(terminal.is_sane(), "the caller's terminal was left raw");
}

/// Whose mounts are locked has its terminal opened anew: ttyname(3) must find it.
#[test]
fn with_users_of_its_own_the_terminal_has_its_name() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal = Terminal::start(bed.nspawn(&tree, ["-U", "sh", "-c", "tty; readlink /proc/self/fd/0; echo x >/dev/tty; exit 5"]));
    terminal.expect("/dev/pts/0");
    terminal.expect("/dev/pts/0");
    terminal.expect("x");
    assert_eq!(terminal.wait(SOON), 5);
}

#[test]
fn the_console_is_the_machines_controlling_terminal() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal = Terminal::start(bed.nspawn(&tree, ["/probe", "json", "/seen.json"]));
    assert_eq!(terminal.wait(SOON), 0, "{}", terminal.all());
    let seen: hostel_tests::Value = std::fs::read_to_string(tree.at("/seen.json")).expect("the view").parse().expect("JSON");
    assert_eq!(seen["tty"]["stdin"]["tty"], true);
    assert_eq!(seen["tty"]["dev_tty"], "ok", "{}", seen["tty"]);
    assert_eq!(seen["tty"]["console_is_char"], true);
    assert_eq!(seen["tty"]["stdin"]["foreground"], 1, "{}", seen["tty"]);
}

#[test]
fn window_size_follows() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal = Terminal::start_sized(bed.nspawn(&tree, ["/probe", "winsize"]), 20, 70);
    terminal.expect("size 20 70");
    terminal.resize(44, 155);
    terminal.expect("size 44 155");
    terminal.send("\r");
    assert_eq!(terminal.wait(SOON), 0);
}

#[test]
fn keys_make_signals_inside_not_outside() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal =
        Terminal::start(bed.nspawn(&tree, ["sh", "-c", "trap 'echo INTERRUPTED; exit 6' INT; echo ready; while :; do sleep 0.05; done"]));
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("INTERRUPTED");
    assert_eq!(terminal.wait(SOON), 6);
}

#[test]
fn three_times_control_bracket_kills() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal = Terminal::start(bed.nspawn(&tree, ["/probe", "catch"]));
    terminal.expect("ready");
    terminal.send("\x1d\x1d\x1d");
    assert_eq!(terminal.wait(SOON), 1);
    assert!(terminal.is_sane());
}

/// As systemd-nspawn from 258 on: SIGRTMIN+4 and +5 to PID 1, here the stub, which takes both as orders.
#[test]
fn control_brackets_and_a_letter_power_off_or_reboot() {
    let Some(bed) = Bed::start() else { return };
    for (keys, status) in [("\x1d\x1dp", 0), ("\x1d\x1dr", 133)] {
        let tree = bed.busybox();
        let mut terminal = Terminal::start(bed.nspawn(&tree, ["-a", "--keep-unit", "sh", "-c", "echo ready; exec sleep 1000"]));
        terminal.expect("ready");
        terminal.send(keys);
        assert_eq!(terminal.wait(SOON), status, "{keys:?}: {}", terminal.all());
        assert!(terminal.is_sane());
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let outcome = bed.nspawn(&tree, ["yes"]).through_shell("{ \"$@\"; echo \"status $?\" >&2; } | head -n 1").limit(SOON).run();
    let outcome = outcome.exits(0);
    assert_eq!(outcome.text().trim_end(), "y");
    assert!(outcome.errors().contains("status 1"), "{}", outcome.errors());
}

#[test]
fn slow_or_broken_escapes_go_through() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal =
        Terminal::start(bed.nspawn(&tree, ["sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=5 2>/dev/null | od -An -tx1; stty sane"]));
    terminal.expect("ready");
    terminal.send("\x1d");
    terminal.send("a\x1d\x1dz");
    terminal.expect("1d 61 1d 1d 7a");
    assert_eq!(terminal.wait(SOON), 0);
}

#[test]
fn end_of_file_key_reaches_the_payload() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal = Terminal::start(bed.nspawn(&tree, ["/probe", "echo"]));
    terminal.expect("ready");
    terminal.send("one\r");
    terminal.expect("got: one");
    terminal.send("\x04");
    terminal.expect("eof");
    assert_eq!(terminal.wait(SOON), 0);
}

#[test]
fn the_last_output_is_shown_before_the_end() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let mut terminal =
        Terminal::start(bed.nspawn(&tree, ["sh", "-c", "i=0; while [ $i -lt 500 ]; do echo line-$i; i=$((i+1)); done; echo the-very-end"]));
    assert_eq!(terminal.wait(SOON), 0);
    assert!(terminal.all().contains("line-499") && terminal.all().contains("the-very-end"));
}

#[test]
fn pipe_mode_passes_the_streams() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for option in ["--console=pipe", "--pipe", "-P", "--console=autopipe"] {
        let outcome =
            bed.nspawn(&tree, [option, "sh", "-c", "cat; echo to-stderr >&2; [ -t 0 ] || echo not-a-terminal"]).input("line\n").run().exits(0);
        assert_eq!(outcome.stdout, b"line\nnot-a-terminal\n", "{option}: {}", outcome.describe());
        assert_eq!(outcome.errors().trim(), "to-stderr", "{option}");
    }
    let view = bed.nspawn(&tree, ["--pipe", "/probe", "json"]).run().exits(0).view();
    assert_eq!(view.env("TERM").as_deref(), Some("dumb"));
    assert!(view.entry("/dev/console").is_none(), "{:?}", view.entry("/dev/console"));
}

#[test]
fn without_a_terminal_the_console_is_read_only() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let outcome = bed.nspawn(&tree, ["sh", "-c", "[ -t 1 ] && echo terminal; echo both >&2"]).input("never read\n").run().exits(0);
    assert_eq!(outcome.stdout, b"terminal\r\nboth\r\n", "{}", outcome.describe());
    bed.nspawn(&tree, ["--console=read-only", "echo", "x"]).run().exits(0).prints("x");
}

#[test]
fn passive_is_a_terminal_that_reads_nothing() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // systemd-nspawn 252 shows the output, whatever its manual says
    bed.nspawn(&tree, ["--console=passive", "sh", "-c", "[ -t 1 ] && touch /was-a-terminal; echo seen"])
        .input("typed\n")
        .run()
        .exits(0)
        .prints("seen");
    assert!(tree.at("/was-a-terminal").exists());
}

#[test]
fn a_bad_mode_is_refused_and_help_lists_them() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["--console=loud", "true"]).run().exits(1).fails();
    let outcome = bed.nspawn(&tree, ["--console=help"]).run().exits(0);
    for mode in ["interactive", "read-only", "passive", "pipe", "autopipe"] {
        assert!(outcome.text().contains(mode), "{}", outcome.describe());
    }
}

#[test]
fn a_hung_up_terminal_ends_the_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for words in [&["nspawn", "-q", "--register=no", "--keep-unit", "-D"][..], &["run", "--tree"]] {
        let mut terminal = Terminal::start(bed.hostel(words).arg(tree.path()).args(["sh", "-c", "echo ready; sleep 60"]));
        terminal.expect("ready");
        terminal.hang_up(SOON);
        bed.assert_clean();
    }
}

#[test]
fn a_second_machine_types_at_itself_only() {
    let Some(bed) = Bed::start() else { return };
    let (one, two) = (bed.busybox(), bed.busybox());
    let mut first = Terminal::start(bed.nspawn(&one, ["/probe", "echo"]));
    let mut second = Terminal::start(bed.nspawn(&two, ["/probe", "echo"]));
    first.expect("ready");
    second.expect("ready");
    first.send("to-one\r");
    second.send("to-two\r");
    first.expect("got: to-one");
    second.expect("got: to-two");
    assert!(!first.all().contains("to-two") && !second.all().contains("to-one"));
    for terminal in [&mut first, &mut second] {
        terminal.send("\x04");
        assert_eq!(terminal.wait(SOON), 0);
    }
}

#[test]
fn a_stopped_supervisor_reader_does_not_stop_the_machine_forever() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let running = bed.nspawn(&tree, ["sh", "-c", "echo up; dd if=/dev/zero bs=1024 count=2000 2>/dev/null | tr '\\0' x; echo; echo over"]).start();
    running.expect("up").signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::CONT);
    let outcome = running.finish(SOON).exits(0);
    assert!(outcome.text().ends_with("over\n"), "{}", outcome.text().len());
}
