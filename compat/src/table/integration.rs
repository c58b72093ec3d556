//! resolv.conf and localtime: what becomes of the tree's own files.

use crate::scenario::Scenario;

/// What the machine sees.
const RESOLV: &str = "stat -c '%F %a %u' /etc/resolv.conf; readlink /etc/resolv.conf; cat /etc/resolv.conf";
const ZONE: &str = "stat -c '%F' /etc/localtime; readlink /etc/localtime; wc -c </etc/localtime";
/// A tree that knows the host's zone.
const KNOWN: &str = "mkdir -p $T/usr/share/zoneinfo/Etc; echo zone >$T/usr/share/zoneinfo/Etc/UTC";

pub(super) fn rows() -> Vec<Scenario> {
    let mut rows = Vec::new();
    let resolv = |name, option| Scenario::new(name, &[option, "sh", "-c", RESOLV]);
    let old = "echo 'nameserver 192.0.2.1' >$T/etc/resolv.conf";
    for (name, option) in [
        ("resolv-off", "--resolv-conf=off"),
        ("resolv-auto", "--resolv-conf=auto"),
        ("resolv-copy-host", "--resolv-conf=copy-host"),
        ("resolv-replace-host", "--resolv-conf=replace-host"),
        ("resolv-bind-host", "--resolv-conf=bind-host"),
        ("resolv-delete", "--resolv-conf=delete"),
        ("resolv-copy-static", "--resolv-conf=copy-static"),
        ("resolv-bind-stub", "--resolv-conf=bind-stub"),
        ("resolv-copy-uplink", "--resolv-conf=copy-uplink"),
    ] {
        rows.push(resolv(name, option).before(old));
    }
    for (name, option) in [
        ("resolv-auto-link", "--resolv-conf=auto"),
        ("resolv-copy-host-link", "--resolv-conf=copy-host"),
        ("resolv-replace-host-link", "--resolv-conf=replace-host"),
        ("resolv-bind-host-link", "--resolv-conf=bind-host"),
        ("resolv-delete-link", "--resolv-conf=delete"),
    ] {
        rows.push(resolv(name, option).before("rm -f $T/etc/resolv.conf; ln -s ../run/somewhere/resolv.conf $T/etc/resolv.conf"));
    }
    for (name, option) in [
        ("resolv-auto-missing", "--resolv-conf=auto"),
        ("resolv-copy-host-missing", "--resolv-conf=copy-host"),
        ("resolv-bind-host-missing", "--resolv-conf=bind-host"),
        ("resolv-delete-missing", "--resolv-conf=delete"),
    ] {
        rows.push(resolv(name, option).before("rm -f $T/etc/resolv.conf"));
    }
    rows.push(Scenario::new("resolv-private-network", &["--private-network", "sh", "-c", RESOLV]).before(old));
    rows.push(Scenario::new("resolv-read-only", &["--read-only", "sh", "-c", RESOLV]).before(old));
    rows.push(Scenario::new("resolv-read-only-missing", &["--read-only", "sh", "-c", RESOLV]).before("rm -f $T/etc/resolv.conf"));
    rows.push(Scenario::new("resolv-users", &["-U", "sh", "-c", RESOLV]).before(old));
    rows.push(Scenario::new("resolv-without-etc", &["--resolv-conf=copy-host", "/probe", "exit", "0"]).before("rm -r $T/etc"));

    let zone = |name, option| Scenario::new(name, &[option, "sh", "-c", ZONE]);
    for (name, option) in [
        ("zone-off", "--timezone=off"),
        ("zone-auto", "--timezone=auto"),
        ("zone-copy", "--timezone=copy"),
        ("zone-bind", "--timezone=bind"),
        ("zone-symlink", "--timezone=symlink"),
        ("zone-delete", "--timezone=delete"),
    ] {
        rows.push(zone(name, option).before("echo old >$T/etc/localtime"));
    }
    for (name, option) in [
        ("zone-auto-known", "--timezone=auto"),
        ("zone-symlink-known", "--timezone=symlink"),
        ("zone-copy-known", "--timezone=copy"),
        ("zone-bind-known", "--timezone=bind"),
    ] {
        rows.push(zone(name, option).before(KNOWN));
    }
    for (name, option) in [
        ("zone-auto-missing", "--timezone=auto"),
        ("zone-copy-missing", "--timezone=copy"),
        ("zone-bind-missing", "--timezone=bind"),
        ("zone-delete-missing", "--timezone=delete"),
    ] {
        rows.push(zone(name, option).before("rm -f $T/etc/localtime"));
    }
    rows.push(zone("zone-auto-dangling", "--timezone=auto").before("ln -sf ../usr/share/zoneinfo/Mars/Base $T/etc/localtime"));
    rows.push(zone("zone-auto-same", "--timezone=auto").before(
        "mkdir -p $T/usr/share/zoneinfo/Etc; echo zone >$T/usr/share/zoneinfo/Etc/UTC; ln -sf ../usr/share/zoneinfo/Etc/UTC $T/etc/localtime",
    ));
    rows.push(Scenario::new("zone-read-only", &["--read-only", "sh", "-c", ZONE]).before("echo old >$T/etc/localtime"));
    rows.push(Scenario::new("zone-users", &["-U", "sh", "-c", ZONE]).before(KNOWN));
    rows
}
