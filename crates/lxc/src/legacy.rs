//! The names that keys had before LXC 3.0. LXC refuses them; here their files load, with a warning.

const NAMES: &[(&str, &str)] = &[
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.console", "lxc.console.path"),
    ("lxc.devttydir", "lxc.tty.dir"),
    ("lxc.haltsignal", "lxc.signal.halt"),
    ("lxc.id_map", "lxc.idmap"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.init_gid", "lxc.init.gid"),
    ("lxc.init_uid", "lxc.init.uid"),
    ("lxc.kmsg", ""),
    ("lxc.logfile", "lxc.log.file"),
    ("lxc.loglevel", "lxc.log.level"),
    ("lxc.mount", "lxc.mount.fstab"),
    ("lxc.pivotdir", ""),
    ("lxc.pts", "lxc.pty.max"),
    ("lxc.rebootsignal", "lxc.signal.reboot"),
    ("lxc.rootfs", "lxc.rootfs.path"),
    ("lxc.rootfs.backend", ""),
    ("lxc.se_context", "lxc.selinux.context"),
    ("lxc.seccomp", "lxc.seccomp.profile"),
    ("lxc.stopsignal", "lxc.signal.stop"),
    ("lxc.syslog", "lxc.log.syslog"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.utsname", "lxc.uts.name"),
];

/// Today's name; empty: there is none any more. None: it is no name of old.
pub fn modern(key: &str) -> Option<String> {
    if let Some(limit) = key.strip_prefix("lxc.limit.") {
        return Some(format!("lxc.prlimit.{limit}"));
    }
    NAMES.iter().find(|(old, _)| *old == key).map(|(_, new)| (*new).to_owned())
}

/// Today's end of a key of `lxc.network`.
pub(crate) fn network(end: &str) -> &str {
    match end {
        ".ipv4" => ".ipv4.address",
        ".ipv6" => ".ipv6.address",
        other => other,
    }
}

/// A configuration of LXC 2 with the keys of today; what has none any more is left out.
pub fn update(text: &str) -> String {
    let settings = || text.split_terminator('\n').filter_map(crate::setting);
    let backend = settings().find(|(key, _)| *key == "lxc.rootfs.backend").map_or("dir", |(_, value)| value);
    let mut interface: Option<u32> = None;
    let mut out = String::new();
    for line in text.split_terminator('\n') {
        let key = crate::setting(line).map(|(key, _)| key);
        if key == Some("lxc.network.type") {
            interface = Some(interface.map_or(0, |n| n + 1));
        }
        let new = key.and_then(|key| match (key.strip_prefix("lxc.network"), interface) {
            (Some(""), _) => Some("lxc.net".to_owned()),
            (Some(end), Some(n)) => Some(format!("lxc.net.{n}{}", network(end))),
            _ => modern(key),
        });
        match (key, new, line.split_once('=')) {
            (Some("lxc.rootfs"), Some(new), Some((_, value))) if value.trim().starts_with('/') => {
                out.push_str(&format!("{new} = {backend}:{}\n", value.trim()));
            }
            (_, Some(new), _) if new.is_empty() => {}
            (_, Some(new), Some((_, value))) => out.push_str(&format!("{new} ={value}\n")),
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_of_old() {
        let old = "# mine\nlxc.utsname = c\nlxc.rootfs = /r\nlxc.rootfs.backend = btrfs\nlxc.network.type = veth\nlxc.network.ipv4 = 10.0.3.2/24\n\
                   lxc.network.type = empty\nlxc.kmsg = 0\nlxc.cap.drop = sys_time\nother\n";
        let new = "# mine\nlxc.uts.name = c\nlxc.rootfs.path = btrfs:/r\nlxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.3.2/24\n\
                   lxc.net.1.type = empty\nlxc.cap.drop = sys_time\nother\n";
        assert_eq!(super::update(old), new);
        assert_eq!(super::update(new), new);
    }
}
