//! User namespaces: which ids, and what becomes of the owners on disk.

use crate::scenario::{Look, Scenario};

/// What root of the machine owns, and what it can do about others.
const TOUCH: &str =
    "touch /made; mkdir /dir; chown 1000:1000 /dir; stat -c '%u:%g %n' / /etc/passwd /home/alice /made /dir; cat /proc/self/uid_map; exit 5";

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    let mut rows = vec![
        view("users-pick", &["-U"]),
        view("users-no", &["--private-users=no"]),
        view("users-yes", &["--private-users=yes"]),
        view("users-identity", &["--private-users=identity"]),
        view("users-range", &["--private-users=655360:1000"]),
        view("users-base", &["--private-users=655360", "--private-users-ownership=map"]),
        view("users-private-network", &["-U", "--private-network"]),
        view("users-as-pid2", &["-U", "-a"]),
        view("users-user", &["-U", "-u", "alice"]),
        view("users-read-only", &["-U", "--read-only"]),
        view("users-volatile-overlay", &["-U", "--volatile=overlay"]),
        view("users-volatile-state", &["-U", "--volatile=state"]),
        Scenario::new("users-volatile-yes", &["-U", "--volatile=yes", "/usr/bin/probe", "json"])
            .before("cp $T/probe $T/usr/bin/probe")
            .look(Look::View),
        view("users-ephemeral", &["-U", "-x", "-M", "some-user-name"]),
        view("users-capability", &["-U", "--capability=CAP_NET_ADMIN,CAP_SYS_TIME"]),
        Scenario::new("users-of-shifted-tree", &["--private-users=yes", "sh", "-c", TOUCH]).before("chown -R 1310720:1310720 $T"),
        Scenario::new("users-pick-shifted-tree", &["-U", "sh", "-c", TOUCH]).before("chown -R 1310720:1310720 $T"),
        Scenario::new("users-back-to-zero", &["--private-users=0", "--private-users-ownership=chown", "sh", "-c", TOUCH])
            .before("chown -R 1310720:1310720 $T"),
        Scenario::new("users-chown-odd-range", &["--private-users=655360:1000", "--private-users-ownership=chown", "/bin/true"]),
        Scenario::new("users-attempts", &["-U", "/probe", "attempts"]).look(Look::View),
    ];
    for (name, mode, ownership) in [
        ("owners-pick", "pick", ""),
        ("owners-pick-off", "pick", "off"),
        ("owners-pick-map", "pick", "map"),
        ("owners-pick-chown", "pick", "chown"),
        ("owners-pick-auto", "pick", "auto"),
        ("owners-base-off", "1310720", "off"),
        ("owners-base-map", "1310720", "map"),
        ("owners-base-chown", "1310720", "chown"),
        ("owners-base-auto", "1310720", "auto"),
        ("owners-identity-map", "identity", "map"),
        ("owners-identity-auto", "identity", "auto"),
        ("owners-no-chown", "no", "chown"),
        ("owners-no-map", "no", "map"),
    ] {
        let mode: &'static str = match mode {
            "pick" => "--private-users=pick",
            "identity" => "--private-users=identity",
            "no" => "--private-users=no",
            _ => "--private-users=1310720",
        };
        let mut args = vec![mode];
        match ownership {
            "off" => args.push("--private-users-ownership=off"),
            "map" => args.push("--private-users-ownership=map"),
            "chown" => args.push("--private-users-ownership=chown"),
            "auto" => args.push("--private-users-ownership=auto"),
            _ => {}
        }
        args.extend(["sh", "-c", TOUCH]);
        rows.push(Scenario::new(name, &args));
    }
    rows
}
