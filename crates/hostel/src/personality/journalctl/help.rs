//! The help text, and journalctl's part of COMPATIBILITY.md.

use std::fmt::Write as _;

use super::options::{ROWS, Row, State, Takes};

fn name(row: &Row) -> String {
    let short = row.short.map_or_else(|| "   ".to_owned(), |s| format!("-{s} "));
    let value = match row.takes {
        Takes::Nothing => String::new(),
        Takes::Value => format!("={}", row.value),
        Takes::Perhaps => format!("[={}]", row.value),
    };
    format!("{short}--{}{value}", row.long)
}

/// `journalctl --help`.
pub fn text() -> String {
    let mut out =
        String::from("journalctl [OPTIONS...] [FIELD=VALUE...]\n\nThe log that hostel init keeps: of this system, of a tree, or of a machine.\n\n");
    for row in ROWS.iter().filter(|row| !matches!(row.state, State::Refused(_))) {
        let _ = writeln!(out, "  {:<32} {}", name(row), row.help);
    }
    out
}

/// Markdown: a table of options.
pub fn markdown() -> String {
    let mut out = String::from(
        "## journalctl\n\nCalled as `journalctl` or `hostel journalctl`: the log of `hostel init`. Files of systemd-journald are neither read nor written; where only those are, \
         that is said. Where systemd is the manager of this system, it points to systemd's own unless `-D`, `--root` or `-M` is given. Options, words and forms are those of 252 by its manual; both have not been run side by side yet.\n\n\
         | option | by its manual |\n|---|---|\n",
    );
    for row in ROWS {
        let short = row.short.map(|s| format!("-{s} ")).unwrap_or_default();
        let compared = match row.state {
            State::Built => "same".to_owned(),
            State::Differs(how) => format!("differs: {how}"),
            State::Always(why) => format!("without effect: {why}"),
            State::Refused(why) => format!("refused: {why}"),
        };
        let _ = writeln!(out, "| `{short}--{}` | {} |", row.long, compared.replace('|', "\\|"));
    }
    out.push_str(
        "\nWhat is kept: all fields that programs send (entries of at most 256 KiB), and of the sender `_PID _UID _GID _COMM _EXE _SYSTEMD_UNIT _SYSTEMD_SLICE _SYSTEMD_CGROUP \
         _SYSTEMD_INVOCATION_ID _TRANSPORT _BOOT_ID _MACHINE_ID _HOSTNAME`; not `_CMDLINE _CAP_EFFECTIVE _AUDIT_… _SELINUX_CONTEXT`. The manager's own entries have \
         `SYSLOG_IDENTIFIER=init`, and systemd's MESSAGE_ID for starts, stops, reloads, failures and restarts. Files are in `/var/log/journal/hostel` when `/var/log/journal` is there, else in \
         `/run/log/hostel`; together they take at most a tenth of the file system and at most 64 MiB; they are root's (0640). A unit may make 10000 entries in 30 s \
         (`LogRateLimit…=`); what it makes more is counted and told. journald.conf is not read. `StandardOutput=kmsg` and `syslog` are `journal`. \
         `LogFilterPatterns=` and `LogNamespace=` are not implemented yet.\n",
    );
    out
}
