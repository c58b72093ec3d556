//! What becomes of each verb and option of systemctl.py 1.7.

use std::fmt::Write as _;

/// One of its own options.
pub(in super::super) struct Opt {
    pub(super) short: Option<char>,
    /// The first is what it is called here.
    pub(super) long: &'static [&'static str],
    pub(super) takes: bool,
    pub(super) compared: &'static str,
}

const fn opt(short: char, long: &'static [&'static str], takes: bool, compared: &'static str) -> Opt {
    Opt { short: if short == ' ' { None } else { Some(short) }, long, takes, compared }
}

/// Options that only it has.
pub(super) const OPTIONS: &[Opt] = &[
    opt(
        'e',
        &["extra-vars", "environment"],
        true,
        "differs: variables of the manager from then on, not of this call only; a file is one of variables",
    ),
    opt('c', &["config"], true, "differs: `INIT_MODE`, `EXIT_MODE` and `EXTRA_VARS` count; others are told of and have no effect"),
    opt('1', &["init"], false, "same"),
    opt('0', &["exit"], false, "same: ends when no service has a process left, `-00` when none is active; at once and not after a round"),
    opt('v', &["verbose"], false, "without effect: what the manager says is in the log and on its console"),
    opt(' ', &["maxtimeout"], true, "without effect: TimeoutStartSec= and TimeoutStopSec= of units count"),
    opt('4', &["ipv4"], false, "without effect: /etc/hosts stays as it is"),
    opt('6', &["ipv6"], false, "without effect: /etc/hosts stays as it is"),
];

/// Its inner variables that say how often it looks, in capitals and without `_`.
pub(super) const POLLED: &[&str] =
    &["INITLOOPSLEEP", "MINIMUMYIELD", "YIELD", "MINIMUMTIMEOUTSTARTSEC", "MINIMUMTIMEOUTSTOPSEC", "LISTENSELECTTIME", "RESTARTFAILEDUNITS"];

/// Verbs: the name, how it compares.
#[rustfmt::skip]
pub(super) const VERBS: &[(&str, &str)] = &[
    ("init", "same: without units the default target; with units those, until they have ended; `--now` starts nothing. Better: its exit status is that of the unit that failed; children are reaped at once"),
    ("default", "better: the default target with all that it requires and wants; no list of units that are never started"),
    ("start", "better: what a unit requires and wants is started, too; without units 0, as there. With `-1`, or as PID 1: the init of these units"),
    ("stop", "better: what cannot be without the unit is stopped, too"),
    ("restart", "better: as start"),
    ("try-restart", "same"),
    ("reload", "same: 0 also where it does not apply"),
    ("reload-or-restart", "same"),
    ("reload-or-try-restart", "same"),
    ("kill", "better: `-s` and `--kill-who` count"),
    ("is-active", "same: 0 only when all are active, else 3; `unknown`"),
    ("is-failed", "same"),
    ("is-enabled", "better: all of systemd's states; `-q` says nothing"),
    ("status", "better: processes, what services say, the end of the log; 0, 3, 4"),
    ("show", "better: all properties; `-p`, `--value`, `-P`"),
    ("cat", "better: with drop-ins"),
    ("enable", "better: Alias=, Also=, RequiredBy=; 1 for a unit without [Install], as there"),
    ("disable", "better: as enable"),
    ("mask", "same: 5 for an unknown unit"),
    ("unmask", "differs: 0 and a word for an unknown unit, as systemd"),
    ("preset", "better: exit statuses are not the wrong way round"),
    ("preset-all", "better: the same"),
    ("get-preset", "same"),
    ("get-default", "same"),
    ("set-default", "same: 3 when there is no such target"),
    ("list-units", "differs: units in memory, in systemd's table; `list-unit-files` has what is installed"),
    ("list-unit-files", "differs: what is there; no targets are invented"),
    ("list-dependencies", "differs: systemd's tree"),
    ("list-start-dependencies", "differs: the jobs of a start in their order, as `start --dry-run`"),
    ("reset-failed", "same"),
    ("daemon-reload", "differs: units are read again; `verify` looks for faults"),
    ("halt", "same: services are stopped, the container ends"),
    ("listen", "better: the socket listens, and starts its service when somebody comes"),
    ("log", "better: `-f` and `-n` as there, out of the log that journalctl reads"),
    ("logs", "the same as log"),
    ("is-system-running", "better: `degraded` when units have failed"),
    ("default-services", "differs: what a start of the target would start, with what those need; `--all` with systemd's own"),
    ("environment", "same"),
    ("show-environment", "differs: the manager's, as systemd's"),
    ("command", "same"),
    ("reap-zombies", "same, with nothing to do: children are reaped when they end"),
    ("help", "same"),
    ("version", "same"),
];

/// Markdown: its part of COMPATIBILITY.md.
pub(in super::super) fn markdown(out: &mut String) {
    out.push_str(
        "\n### systemctl.py\n\nIn the place of docker-systemctl-replacement's (1.7) `systemctl`: as `systemctl --compat=systemctl.py`, as one of its names (`systemctl.py`, \
         `systemctl3.py`, `journalctl3.py`), and in part whenever `systemctl` is PID 1: without a verb, or with `init`, `default` or `start`, it is the container's init. \
         As there, services have what the container was started with in their environment (`docker run -e`). Verbs and options that it does not have are systemd's; a wrong \
         option ends with 2, as there.\n\n| verb | compared with systemctl.py |\n|---|---|\n",
    );
    for (name, compared) in VERBS {
        // writing to a String cannot fail
        let _ = writeln!(out, "| `{name}` | {compared} |");
    }
    out.push_str(
        "| `clean` | as systemctl's above |\n| `daemon-reexec` | as systemctl's above |\n| `__…` | refused: of its own tests |\n\n| option | compared with systemctl.py |\n|---|---|\n",
    );
    for row in OPTIONS {
        let short = row.short.map(|s| format!("-{s} ")).unwrap_or_default();
        let _ = writeln!(out, "| `{short}--{}` | {} |", row.long.join(" --"), row.compared);
    }
    out.push_str(
        "| `-n --lines`, `-f` of log, `--now`, `--root`, `-t`, `-p`, `-q`, `-a`, `--no-legend`, `--preset-mode`, `--what`, `-s`, `--kill-who` | as systemctl's above |\n\
         | `--user` | refused: user managers are not implemented yet; a PID 1 that is not root runs the system's units as its user |\n\n\
         Differs besides: state is in the manager and not in `/run/UNIT.status`; logs are in one store and not in `/var/log/journal/UNIT.log`; `RestartSec=` is what it says; \
         dependencies are started; `StatusFile=` is unknown; there is no `SYSTEMD_IGNORES…`, mask what is not wanted.\n",
    );
}
