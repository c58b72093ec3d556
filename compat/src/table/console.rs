//! Terminals, pipes, keys, end of file.

use crate::scenario::Act::{Eof, Pause, Resize, Send, Signal, Wait};
use crate::scenario::{Look, Scenario};

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    let new = Scenario::new;
    let on_streams = |name, option| new(name, &[option, "sh", "-c", "echo out; echo err >&2; tty; echo ready; cat; echo end"]);
    vec![
        view("terminal", &[]).terminal(&[]),
        view("terminal-as-pid2", &["-a"]).terminal(&[]),
        view("terminal-read-only", &["--console=read-only"]).terminal(&[]),
        view("terminal-pipe", &["--console=pipe"]).terminal(&[]),
        view("terminal-autopipe", &["--console=autopipe"]).terminal(&[]),
        view("pipes-autopipe", &["--console=autopipe"]).pipes(&[]),
        view("pipes-interactive", &["--console=interactive"]).pipes(&[]),
        view("pipes-default", &[]).pipes(&[]),
        view("pipes-pipe", &["--pipe"]).pipes(&[]),
        view("size-from-environment", &[]).env("LINES", "33").env("COLUMNS", "111"),
        on_streams("streams-default", "--console=read-only").pipes(&[Send("typed\n"), Wait("ready"), Eof, Pause(300), Signal(15)]),
        on_streams("streams-interactive", "--console=interactive").pipes(&[Wait("ready"), Send("typed\n"), Pause(200), Eof]),
        on_streams("streams-pipe", "--console=pipe").pipes(&[Send("typed\n"), Eof]),
        on_streams("streams-autopipe", "--console=autopipe").pipes(&[Send("typed\n"), Eof]),
        on_streams("streams-terminal-pipe", "--console=pipe").terminal(&[Wait("ready"), Send("typed\n\x04")]),
        on_streams("streams-terminal-interactive", "--console=interactive").terminal(&[Wait("ready"), Send("typed\n\x04")]),
        on_streams("streams-terminal-read-only", "--console=read-only").terminal(&[Wait("ready"), Send("typed\n"), Pause(100), Signal(15)]),
        new("stdin-empty", &["-P", "cat"]),
        new("pipe-stderr-apart", &["-P", "sh", "-c", "echo out; echo err >&2"]),
        new("pipe-binary", &["-P", "sh", "-c", "printf 'a\\r\\nb\\0c\\n'; cat | od -An -tx1"]).pipes(&[Send("x\r\n\u{0}y"), Eof]),
        new("pipe-large", &["-P", "/probe", "flood", "300000"]),
        new("console-large", &["/probe", "flood", "300000"]),
        new("escape", &["/probe", "catch"]).terminal(&[Wait("ready"), Send("\x1d\x1d\x1d")]),
        new("escape-slow", &["/probe", "echo"]).terminal(&[
            Wait("ready"),
            Send("\x1d"),
            Pause(1300),
            Send("\x1d"),
            Pause(100),
            Send("\x1d\n"),
            Wait("got"),
            Send("\x04"),
            Wait("eof"),
        ]),
        new("interrupt-key", &["sh", "-c", "trap 'echo got INT; exit 4' INT; echo ready; while :; do sleep 0.05; done"])
            .terminal(&[Wait("ready"), Send("\x03")]),
        new("interrupt-key-as-pid2", &["-a", "sh", "-c", "trap 'echo got INT; exit 4' INT; echo ready; while :; do sleep 0.05; done"])
            .terminal(&[Wait("ready"), Send("\x03")]),
        new("interrupt-key-child", &["sh", "-c", "trap 'echo parent INT' INT; echo ready; sleep 5; echo after; exit 6"]).terminal(&[
            Wait("ready"),
            Pause(100),
            Send("\x03"),
        ]),
        new("quit-key", &["-a", "sh", "-c", "echo ready; sleep 5; echo after; exit 6"]).terminal(&[Wait("ready"), Pause(100), Send("\x1c")]),
        new("resize", &["/probe", "winsize"]).terminal(&[Wait("size 25 80"), Resize(40, 100), Wait("size 40 100"), Send("\n")]),
        new("end-of-file-key", &["/probe", "echo"]).terminal(&[Wait("ready"), Send("one\n"), Wait("got: one"), Send("\x04"), Wait("eof")]),
        new("hang-up", &["/probe", "catch"]).acts(&[Wait("ready"), Signal(1), Pause(300), Signal(15)]).look(Look::Nothing),
        new("not-quiet", &["--register=no", "--keep-unit", "-D", "{tree}", "echo", "hello"]).bare(),
        new("not-quiet-exit", &["--register=no", "--keep-unit", "-D", "{tree}", "/probe", "exit", "9"]).bare(),
    ]
}
