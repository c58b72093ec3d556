//! Values that make no sense: the exit status, that something is said, that nothing changed.

use crate::scenario::Scenario;

pub(super) fn rows() -> Vec<Scenario> {
    [
        ("bad-option", "--no-such-option"),
        ("bad-letter", "-9"),
        ("bad-abbreviation", "--private"),
        ("bad-setenv", "--setenv=1A=b"),
        ("bad-setenv-empty", "--setenv==b"),
        ("bad-machine", "--machine=../x"),
        ("bad-machine-slash", "--machine=a/b"),
        ("bad-machine-long", "--machine=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("bad-hostname", "--hostname=a..b"),
        ("bad-uuid", "--uuid=xyz"),
        ("bad-uuid-zero", "--uuid=00000000-0000-0000-0000-000000000000"),
        ("bad-chdir", "--chdir=relative"),
        ("bad-kill-signal", "--kill-signal=SIGNOTHING"),
        ("bad-volatile", "--volatile=maybe"),
        ("bad-console", "--console=telephone"),
        ("bad-private-users", "--private-users=abc"),
        ("bad-private-users-range", "--private-users=1000:0"),
        ("bad-private-users-big", "--private-users=4294967295"),
        ("bad-ownership", "--private-users-ownership=stolen"),
        ("bad-capability", "--capability=CAP_FLY"),
        ("bad-drop-capability", "--drop-capability=fly"),
        ("bad-no-new-privileges", "--no-new-privileges=perhaps"),
        ("bad-oom", "--oom-score-adjust=2000"),
        ("bad-oom-word", "--oom-score-adjust=x"),
        ("bad-affinity", "--cpu-affinity=x"),
        ("bad-personality", "--personality=vax"),
        ("bad-resolv-conf", "--resolv-conf=phone-book"),
        ("bad-timezone", "--timezone=yesterday"),
        ("bad-link-journal", "--link-journal=x"),
        ("bad-register", "--register=maybe"),
        ("bad-settings", "--settings=maybe"),
        ("bad-bind", "--bind="),
        ("bad-bind-relative-target", "--bind=/tmp:tmp"),
        ("bad-tmpfs", "--tmpfs=relative"),
        ("bad-overlay-one-word", "--overlay=/tmp"),
        ("bad-inaccessible", "--inaccessible=relative"),
        ("bad-slice", "--slice=a b"),
        ("bad-notify-ready", "--notify-ready=x"),
        ("bad-quiet-value", "--quiet=yes"),
        ("help-capability", "--capability=help"),
        ("help-kill-signal", "--kill-signal=help"),
        ("help-console", "--console=help"),
        ("help-volatile", "--volatile=help"),
        ("help-rlimit", "--rlimit=help"),
        ("help-resolv-conf", "--resolv-conf=help"),
        ("help-timezone", "--timezone=help"),
        ("help-ownership", "--private-users-ownership=help"),
    ]
    .into_iter()
    .map(|(name, option)| Scenario::new(name, &[option, "sh", "-c", "echo started"]))
    .chain([
        Scenario::new("bad-link-journal-both", &["--link-journal=host", "-x", "/bin/true"]),
        Scenario::new("bad-ownership-read-only", &["--private-users=655360", "--private-users-ownership=chown", "--read-only", "/bin/true"]),
        Scenario::new("bad-ownership-volatile", &["--private-users=655360", "--private-users-ownership=chown", "--volatile=yes", "/bin/true"]),
        Scenario::new("bad-setenv-secret-name", &["--setenv=NO-NAME=x", "/bin/true"]),
    ])
    .collect()
}
