//! How options are spelt, and those that do little.

use crate::scenario::Act::{Pause, Signal, Wait};
use crate::scenario::{Look, Scenario};

pub(super) fn rows() -> Vec<Scenario> {
    [spelling(), small(), callers(), signals()].into_iter().flatten().collect()
}

fn spelling() -> Vec<Scenario> {
    let new = Scenario::new;
    let bare = |name, args: &[&'static str]| Scenario::new(name, args).bare();
    vec![
        bare("help", &["--help"]).look(Look::Nothing),
        bare("help-wins", &["--help", "--no-such-option"]).look(Look::Nothing),
        bare("version", &["--version"]).look(Look::Nothing),
        bare("no-arguments-value", &["-D"]),
        bare("short-cluster", &["-qaD", "{tree}", "--register=no", "--keep-unit", "/probe", "exit", "5"]),
        bare("short-glued", &["-qD{tree}", "--register=no", "--keep-unit", "hostname"]),
        bare("long-apart", &["--quiet", "--directory", "{tree}", "--register", "no", "--keep-unit", "hostname"]),
        bare("long-short", &["--quie", "--direct={tree}", "--regis=n", "--keep", "--hostn", "abc", "hostname"]),
        bare("last-wins", &["-q", "-D", "{dir}/none", "-D", "{tree}", "--register=no", "--keep-unit", "--hostname=a", "--hostname=b", "hostname"]),
        bare(
            "long-names",
            &[
                "--quiet",
                "--directory={tree}",
                "--register=no",
                "--keep-unit",
                "--ephemeral",
                "--as-pid2",
                "--pipe",
                "--user=alice",
                "--machine=given",
                "--setenv=A=b",
                "sh",
                "-c",
                "hostname; id -u; echo $A; touch /home/alice/made && echo wrote; exit 6",
            ],
        ),
        new("words-after-command", &["echo", "-q", "--help", "--", "-D"]),
        new("double-dash", &["--", "echo", "-n", "x"]),
        new("optional-value-apart", &["--volatile", "overlay"]),
        new("empty-words", &["sh", "-c", "echo $#", "sh", "", "a b", ""]),
        new("odd-words", &["printf", "%s|", "a\nb", "ü", "\u{1}", "$HOME", "'"]),
    ]
}

/// Options that do little./// What credentials a payload finds.
const CREDENTIALS: &str =
    "echo $CREDENTIALS_DIRECTORY; stat -c '%a %u %g %n' $CREDENTIALS_DIRECTORY $CREDENTIALS_DIRECTORY/*; tail $CREDENTIALS_DIRECTORY/*";

fn small() -> Vec<Scenario> {
    let view = Scenario::view;
    let new = Scenario::new;
    vec![
        view("old-user-option", &["--user=alice"]),
        view("suppress-sync-no", &["--suppress-sync=no"]),
        view("slice", &["-S", "machine.slice"]),
        view("property", &["--property=TasksMax=1000"]),
        view("no-pager", &["--no-pager"]),
        view("old-chown-option", &["--private-users=1310720", "--private-users-chown"]),
        new("credential", &["--set-credential=one:some\\ttext", "--load-credential=two:{dir}/two", "sh", "-c", CREDENTIALS])
            .before("echo from a file >$D/two"),
        new("credential-users", &["-U", "--set-credential=one:text", "sh", "-c", CREDENTIALS]),
        view("credential-view", &["--set-credential=one:text"]),
        new("credential-missing", &["--load-credential=two:{dir}/none", "sh", "-c", CREDENTIALS]),
        new("bind-user", &["-U", "--bind-user=daemon", "sh", "-c", "ls /run/host/userdb /run/host/home"]),
        new("bind-user-unknown", &["-U", "--bind-user=nobodyatall", "/probe", "exit", "0"]),
        new("selinux-context", &["--selinux-context=system_u:system_r:x_t:s0", "/probe", "exit", "0"]),
        new("selinux-apifs-context", &["--selinux-apifs-context=system_u:object_r:x_t:s0", "/probe", "exit", "0"]),
        view("link-journal-no", &["--link-journal=no"]),
        view("link-journal-auto", &["--link-journal=auto"]),
        view("link-journal-try-guest", &["-j", "--uuid=0c0a1b2c3d4e5f60718293a4b5c6d7e8"]),
        new("share-system", &["--share-system", "readlink", "/proc/self/ns/pid", "/proc/self/ns/uts", "/proc/self/ns/ipc"]),
        view("register-word", &["--register=off"]),
        view("kill-signal-number", &["--kill-signal=10"]),
        view("notify-ready-command", &["--notify-ready=yes"]),
    ]
}

/// Command lines of programs that call systemd-nspawn.
fn callers() -> Vec<Scenario> {
    let view = Scenario::view;
    vec![
        view(
            "all-at-once",
            &[
                "-M",
                "many",
                "--hostname=one",
                "--uuid=33333333-3333-3333-3333-333333333333",
                "-E",
                "A=b",
                "--chdir=/usr",
                "--rlimit=NOFILE=512",
                "--oom-score-adjust=7",
                "--cpu-affinity=0",
                "--no-new-privileges=yes",
                "--drop-capability=CAP_MKNOD",
                "--tmpfs=/mnt",
                "--bind-ro=/usr/share:/opt",
                "--private-network",
                "--resolv-conf=off",
                "--timezone=off",
                "--private-users=1310720",
                "--private-users-ownership=map",
                "-u",
                "alice",
            ],
        ),
        view(
            "mock",
            &[
                "-M",
                "mock-1",
                "-a",
                "-u",
                "alice",
                "--capability=cap_ipc_lock",
                "--bind=/usr/share:/mnt",
                "--rlimit=RLIMIT_NOFILE=10240",
                "--setenv=TERM=vt100",
                "--setenv=SHELL=/bin/sh",
                "--console=pipe",
            ],
        ),
        view("build-service", &["--as-pid2", "--console=pipe", "--timezone=off", "--tmpfs=/tmp", "--bind=/usr/share:/opt"]),
        view(
            "sandbox",
            &[
                "--read-only",
                "--private-users=655360:65536",
                "--private-users-ownership=off",
                "--drop-capability=CAP_SYS_ADMIN",
                "--no-new-privileges=yes",
                "--system-call-filter=~@mount",
            ],
        ),
    ]
}

/// The passive console, and signals to the supervisor.
fn signals() -> Vec<Scenario> {
    let view = Scenario::view;
    let new = Scenario::new;
    vec![
        new("passive", &["--console=passive", "sh", "-c", "echo shown; exit 3"]),
        view("passive-view", &["--console=passive"]).limit(3),
        new("passive-terminal", &["--console=passive", "sh", "-c", "tty; exit 3"]).terminal(&[]),
        new("pid2-term-supervisor", &["-a", "/probe", "catch"]).acts(&[Wait("ready"), Signal(15)]),
        new("pid2-kill-signal", &["-a", "--kill-signal=SIGTERM", "/probe", "catch"]).acts(&[Wait("ready"), Signal(15), Pause(200), Signal(15)]),
        new(
            "pid2-kill-signal-off",
            &["-a", "--kill-signal=SIGRTMIN+3", "sh", "-c", "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
        )
        .acts(&[Wait("ready"), Signal(15)]),
        new(
            "pid2-kill-signal-reboot",
            &["-a", "--kill-signal=SIGINT", "sh", "-c", "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
        )
        .acts(&[Wait("ready"), Signal(15)]),
        new("ignoring-payload", &["/probe", "ignore"]).acts(&[Wait("ready"), Signal(15)]),
        new("window-signal", &["/probe", "catch"]).acts(&[Wait("ready"), Signal(28), Pause(100), Signal(15)]).look(Look::Nothing),
    ]
}
