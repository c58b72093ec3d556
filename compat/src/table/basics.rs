//! Commands, exit statuses, signals, identity, environment.

use crate::scenario::{Act, Scenario};

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    let new = Scenario::new;
    vec![
        view("plain", &[]),
        view("as-pid2", &["-a"]),
        view("pipe", &["-P"]),
        new("exit-0", &["/bin/true"]),
        new("exit-7", &["/probe", "exit", "7"]),
        new("exit-133", &["/probe", "exit", "133"]),
        new("exit-255", &["/probe", "exit", "255"]),
        new("kill-self", &["sh", "-c", "kill -9 $$; echo survived"]),
        new("poweroff", &["/probe", "poweroff"]),
        new("halt", &["/probe", "halt"]),
        new("reboot-keep-unit", &["/probe", "reboot"]),
        new("exec-missing", &["/no/such/program"]),
        new("exec-missing-in-path", &["no-such-program"]),
        new("exec-directory", &["/usr"]),
        new("exec-no-permission", &["/etc/passwd"]),
        new("exec-by-path", &["echo", "found", "it"]),
        new("pid2-exit-7", &["-a", "/probe", "exit", "7"]),
        new("pid2-killed", &["-a", "sh", "-c", "kill -9 $$"]),
        new("pid2-term", &["-a", "sh", "-c", "kill -TERM $$"]),
        new("pid2-exit-133", &["-a", "/probe", "exit", "133"]),
        new("pid2-orphan", &["-a", "/probe", "orphan"]),
        new("pid2-exec-missing", &["-a", "/no/such/program"]),
        new("pid2-poweroff", &["-a", "/probe", "poweroff"]),
        new("pid2-reboot", &["-a", "/probe", "reboot"]),
        new("term-without-kill-signal", &["/probe", "catch"]).acts(&[Act::Wait("ready"), Act::Signal(15)]),
        new("int-without-kill-signal", &["/probe", "catch"]).acts(&[Act::Wait("ready"), Act::Signal(2)]),
        new(
            "term-with-kill-signal",
            &["--kill-signal=SIGUSR1", "sh", "-c", "trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 0.05; done"],
        )
        .acts(&[Act::Wait("ready"), Act::Signal(15)]),
        new("term-twice", &["--kill-signal=SIGUSR1", "/probe", "catch"]).acts(&[
            Act::Wait("ready"),
            Act::Signal(15),
            Act::Wait("caught 10"),
            Act::Pause(100),
            Act::Signal(15),
        ]),
        new("kill-signal-realtime", &["--kill-signal=SIGRTMIN+3", "/probe", "catch"]).acts(&[
            Act::Wait("ready"),
            Act::Signal(15),
            Act::Wait("caught"),
            Act::Pause(100),
            Act::Signal(15),
        ]),
        view("machine", &["-M", "some-name"]),
        view("hostname", &["--hostname=other.name"]),
        view("machine-and-hostname", &["-M", "some-other-name", "--hostname=other"]),
        view("uuid", &["--uuid=11111111-1111-1111-1111-111111111111"]),
        view("uuid-when-set", &["--uuid=11111111-1111-1111-1111-111111111111"]).before("echo 22222222222222222222222222222222 >$T/etc/machine-id"),
        view("uuid-uninitialized", &[]).before("echo uninitialized >$T/etc/machine-id"),
        view("setenv", &["-E", "A=b c", "-E", "EMPTY=", "--setenv=TERM=dumb", "-E", "A=again"]),
        view("setenv-from-caller", &["-E", "FROM_CALLER", "-E", "NOT_SET"]).env("FROM_CALLER", "value"),
        view("setenv-overrides", &["-E", "PATH=/elsewhere", "-E", "HOME=/h", "-E", "container=x", "-E", "LANG=de_DE"]),
        view("caller-environment", &[]).env("COLORTERM", "truecolor").env("NO_COLOR", "1").env("LISTEN_FDS", "0"),
        view("chdir", &["--chdir=/usr/bin"]),
        new("chdir-missing", &["--chdir=/no/where", "/bin/true"]),
        view("user-name", &["-u", "alice"]),
        view("user-number", &["-u", "1000"]),
        view("user-root", &["-u", "root"]),
        new("user-missing", &["-u", "nobody-of-this-name", "/bin/true"]),
    ]
}
