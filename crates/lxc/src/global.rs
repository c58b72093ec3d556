//! `lxc.conf`: where containers are, and what their storage is made in.

/// Keys of `lxc.conf` with the value that each has when no file says anything, as the super user.
pub const KEYS: [(&str, &str); 9] = [
    ("lxc.bdev.lvm.vg", "lxc"),
    ("lxc.bdev.lvm.thin_pool", "lxc"),
    ("lxc.bdev.zfs.root", "lxc"),
    ("lxc.bdev.rbd.rbdpool", "lxc"),
    ("lxc.bdev.rbd.rbduser", ""),
    ("lxc.lxcpath", "/var/lib/lxc"),
    ("lxc.default_config", "/etc/lxc/default.conf"),
    ("lxc.cgroup.pattern", ""),
    ("lxc.cgroup.use", ""),
];

/// The value of `key` in the text of `lxc.conf`; without a text, or a line of it, the one it has by itself. None: there is no such key.
/// A value is taken up to its first blank, as LXC does; the last line counts.
pub fn item<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, default) = KEYS.iter().find(|(name, _)| *name == key)?;
    let of = |line: &'a str| {
        let (name, value) = line.trim().split_once('=')?;
        (name.trim() == key).then(|| value.split_ascii_whitespace().next().unwrap_or(""))
    };
    Some(text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(of).next_back().unwrap_or(default))
}
