//! The same option given to the installed systemd-nspawn 252: does it take the value?
//!
//! `systemd-nspawn OPTION --version` checks OPTION and then ends, so nothing is started. What may differ stands in
//! [`LEDGER`] with its reason; an entry that no longer differs fails, so that the list stays true.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Options about which we and 252 disagree on purpose; a `*` at the end stands for any rest, and then only some may differ.
const LEDGER: &[(&str, &str)] = &[
    ("--uid=*", "new in 261"),
    ("--system", "new in 261"),
    ("--no-ask-password", "new in 258"),
    ("--register=auto", "new in 259"),
    ("--restrict-address-families=*", "new in 261"),
    ("--background=*", "new in 256"),
    ("--pivot-root=/a:/a", "262 refuses it too"),
    ("--pivot-root=/a:/b:/c", "252 ignores the third"),
    ("--pivot-root=/", "262 and we refuse what changes nothing"),
    ("--memory=*", "ours"),
    ("--cpus=*", "ours"),
    ("--pids=*", "ours"),
    ("--network-config=*", "ours"),
    ("--network-pool=*", "ours"),
    ("--network-zone=", "252 makes a bridge of it that is called vz-"),
    ("--network-interface=*", "252 asks udev about each, and has no name inside"),
    ("--network-macvlan=*", "252 asks udev about each, and has no name inside"),
    ("--network-ipvlan=*", "252 asks udev about each, and has no name inside"),
    ("--rlimit=nofile=0:infinity", "we take names in any case"),
    ("--hostname=a.b.", "we drop a final dot"),
    ("--property=*", "252 leaves the check to systemd, which is asked after the machine has been set up"),
    ("--system-call-filter=*", "252 passes what is no name on to libseccomp and ignores its refusal"),
    ("--ambient-capability=all", "252 checks it when all options are known"),
    ("--bind=/a:/b/../c", "we refuse `..` inside the machine"),
    ("--bind=/..", "we refuse `..` inside the machine"),
    ("--bind=+/../x:/b", "we refuse `..` inside the machine"),
    ("--inaccessible=/a/..", "we refuse `..` inside the machine"),
    ("--tmpfs=/a/../b", "we refuse `..` inside the machine"),
    ("--overlay=/a:/b:/c/..", "we refuse `..` inside the machine"),
    ("--chdir=/a/../b", "262 refuses it too"),
    ("--chdir=/proc/self", "262 refuses it too"),
    ("--chdir=/sys", "262 refuses it too"),
    ("--bind=/a:/b:bogus", "252 finds out while mounting"),
    ("--bind=/a:/b:idmap:x", "252 finds out while mounting"),
    ("--bind=/a:/bb*", "252 finds out while mounting"),
    ("--overlay=/x:/y*", "252 finds out while mounting"),
    ("-D/xx*", "252 finds out while opening it"),
    ("--inaccessible=/", "252 fails while mounting"),
    ("--user=", "252 finds out inside the machine"),
    ("--cpu-affinity=3-1", "252 ignores the range with a warning"),
    ("--load-credential=*", "252 reads it at once"),
    ("--slice=x/y", "252 escapes it"),
    ("--slice=.slice", "252 leaves the check to systemd"),
];

/// Fails when 252 takes what we refuse or the reverse, unless the ledger says why. Does nothing where 252 is not installed.
#[track_caller]
pub(super) fn compare(option: &str, ours: bool) {
    if !installed() {
        return;
    }
    let (theirs, text) = run(&[option, "--version"]);
    let matches = |known: &str| known.strip_suffix('*').map_or(known == option, |start| option.starts_with(start));
    match LEDGER.iter().find(|(known, _)| matches(known)) {
        None => assert_eq!(ours, theirs, "{option}: we take it: {ours}, 252 takes it: {theirs} ({text})"),
        Some((known, reason)) if !known.ends_with('*') => {
            assert_ne!(ours, theirs, "{option}: the ledger says it differs ({reason}), but it does not");
        }
        Some(_) => {}
    }
}

/// Fails when 252 says something else than `expected` after its own name.
#[track_caller]
pub(super) fn compare_text(words: &[&str], expected: &str) {
    // lists of possibilities in which 262 has names that 252 has not, and arguments that do not fit on a line
    let newer = ["'--background'", "'--bind-user-shell'", "'--uid'", "\\n"];
    if installed() && !newer.iter().any(|n| expected.contains(n)) {
        assert_eq!(run(words), (false, format!("systemd-nspawn: {expected}")), "{words:?}");
    }
}

/// Whether it ended well, and the first line it said.
fn run(words: &[&str]) -> (bool, String) {
    let Ok(out) = Command::new("systemd-nspawn").args(words).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output() else {
        return (false, String::new());
    };
    (out.status.success(), String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or_default().to_owned())
}

fn installed() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let found = Command::new("systemd-nspawn").arg("--version").output().is_ok_and(|o| o.stdout.starts_with(b"systemd 252"));
        if !found {
            println!("skipped: systemd-nspawn 252 is not installed, nothing to compare with");
        }
        found
    })
}
