//! The original's own order of options, which shows in one place: getopt's list of possibilities for an ambiguous abbreviation.

/// Long names as systemd-nspawn 252 lists them for `--a`, `--b`, …; only the order within one letter matters. Later ones follow.
const ORIGINAL: [&str; 86] = [
    "as-pid2", "ambient-capability", "boot", "bind", "bind-ro", "bind-user", "capability", "chdir", "cpu-affinity", "console",
    "directory", "drop-capability", "ephemeral", "help", "hostname", "inaccessible", "image", "keep-unit", "kill-signal", "link-journal", "load-credential", "machine",
    "no-new-privileges", "network-interface", "network-macvlan", "network-ipvlan", "network-veth", "network-veth-extra",
    "network-bridge", "network-zone", "network-namespace-path", "notify-ready", "no-pager", "overlay", "overlay-ro", "oom-score-adjust",
    "oci-bundle", "private-network", "personality", "port", "property", "private-users", "private-users-chown",
    "private-users-ownership", "pivot-root", "pipe", "quiet", "read-only", "register", "root-hash", "root-hash-sig", "rlimit", "resolv-conf",
    "slice", "setenv", "selinux-context", "selinux-apifs-context", "share-system", "settings", "system-call-filter", "set-credential",
    "suppress-sync", "template", "tmpfs", "timezone", "uid", "user", "uuid", "version", "volatile", "verity-data",
    // newer than 252
    "background", "bind-user-shell", "bind-user-group", "cleanup", "image-policy", "no-ask-password", "private-users-delegate",
    "restrict-address-families", "mstack", "system", "forward-journal", "forward-journal-max-use", "forward-journal-keep-free",
    "forward-journal-max-file-size", "forward-journal-max-files",
];

/// Position of a long name in the original's table; unknown names come last.
pub(crate) fn original_rank(long: &str) -> usize {
    ORIGINAL.iter().position(|n| *n == long).unwrap_or(usize::MAX)
}
