//! /etc/fstab as units (systemd.mount(5), "FSTAB"), as far as a machine has anything to do with it.
//!
//! The rule: a tree's table was mostly written for a computer with disks, and never keeps a machine from starting. Lines for the
//! root, for swap, and for devices that are not here are passed over, each with a word in the log. What is left becomes a mount
//! unit that is wanted, never required, and done before its target: what fails is in the log, and the machine is up.

use hostel_unit::escape_path;

/// What a table becomes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Unit files: name and text.
    pub units: Vec<(String, String)>,
    /// Links: below which directory (`local-fs.target.wants`), to which unit.
    pub links: Vec<(String, String)>,
    /// What was passed over, and why.
    pub notices: Vec<String>,
}

/// Blanks and the like are octal numbers in tables of mounts.
pub(crate) fn unescape(text: &str) -> String {
    unescape_bytes(text.as_bytes())
}

/// The same of what may be no text.
pub(crate) fn unescape_bytes(text: &[u8]) -> String {
    String::from_utf8_lossy(&hostel_spec::unescape_octal(text)).into_owned()
}

/// Where a device with a name is to be found.
fn device(what: &str) -> Option<String> {
    let by = |directory: &str, name: &str| format!("/dev/disk/by-{directory}/{}", name.trim_matches('"'));
    match what.split_once('=') {
        Some(("UUID", name)) => Some(by("uuid", &name.to_ascii_lowercase())),
        Some(("LABEL", name)) => Some(by("label", name)),
        Some(("PARTUUID", name)) => Some(by("partuuid", &name.to_ascii_lowercase())),
        Some(("PARTLABEL", name)) => Some(by("partlabel", name)),
        _ => what.starts_with("/dev/").then(|| what.to_owned()),
    }
}

const NETWORK: [&str; 9] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "ncpfs", "sshfs", "fuse.sshfs"];

/// The units of a table. `exists` says which devices are here.
pub fn units(text: &str, exists: &dyn Fn(&str) -> bool) -> Found {
    let mut found = Found::default();
    for (number, line) in text.lines().enumerate() {
        let fields: Vec<String> = line.split_ascii_whitespace().map(unescape).collect();
        if fields.first().is_none_or(|first| first.starts_with('#')) {
            continue;
        }
        if let Err(why) = one(&fields, exists, &mut found) {
            found.notices.push(format!("/etc/fstab:{}: {why}", number + 1));
        }
    }
    found
}

fn one(fields: &[String], exists: &dyn Fn(&str) -> bool, found: &mut Found) -> Result<(), String> {
    let [what, place, kind, ..] = fields else { return Err("it has fewer than three fields; passed over".to_owned()) };
    let options: Vec<&str> = fields.get(3).map_or("defaults", String::as_str).split(',').collect();
    let has = |word: &str| options.contains(&word);
    if kind == "swap" {
        return Err(format!("swap on {what} is the host's; passed over"));
    }
    if !place.starts_with('/') {
        return Err(format!("{place:?} is no place to mount on; passed over"));
    }
    let place = format!("/{}", place.trim_matches('/'));
    if place == "/" || ["/proc", "/sys", "/dev", "/run"].contains(&place.as_str()) {
        return if kind == "ignore" || place != "/" { Ok(()) } else { Err("the machine's root is mounted already; passed over".to_owned()) };
    }
    let is_bind = has("bind") || has("rbind");
    let path = device(what).filter(|_| !is_bind);
    if let Some(path) = path.as_ref().filter(|path| !exists(path)) {
        return Err(format!("there is no device {path} in this machine; {place} is not mounted"));
    }
    let name = escape_path(&place).map_err(|e| format!("{place:?}: {}; passed over", e.why))? + ".mount";
    if found.units.iter().any(|(known, _)| *known == name) {
        return Err(format!("{place} is in the table twice; this line is passed over"));
    }
    let mut unit = String::from("# Made of /etc/fstab.\n\n[Unit]\nDocumentation=man:fstab(5)\nSourcePath=/etc/fstab\n");
    let mut timeout = None;
    let (mut wanted_by, mut required_by) = (Vec::new(), Vec::new());
    let mut more = Vec::new();
    for option in &options {
        let Some((key, value)) = option.strip_prefix("x-systemd.").map(|rest| rest.split_once('=').unwrap_or((rest, ""))) else { continue };
        let target = |value: &str| hostel_unit::UnitName::mangle(value, hostel_unit::Kind::Mount).map(|(name, _)| name.to_string());
        let as_unit = if value.starts_with('/') { escape_path(value).map(|path| path + ".mount").ok() } else { target(value).ok() };
        match (key, as_unit) {
            ("requires", Some(other)) => more.push(format!("After={other}\nRequires={other}\n")),
            ("wants", Some(other)) => more.push(format!("After={other}\nWants={other}\n")),
            ("after", Some(other)) => more.push(format!("After={other}\n")),
            ("before", Some(other)) => more.push(format!("Before={other}\n")),
            ("wanted-by", Some(other)) => wanted_by.push(other),
            ("required-by", Some(other)) => required_by.push(other),
            ("requires-mounts-for", _) => more.push(format!("RequiresMountsFor={}\n", hostel_unit::quote(value))),
            ("wants-mounts-for", _) => more.push(format!("WantsMountsFor={}\n", hostel_unit::quote(value))),
            ("mount-timeout", _) => timeout = Some(value.to_owned()),
            ("automount", _) => found.notices.push(format!("{place}: it is mounted at once, not at the first look")),
            ("makefs" | "growfs" | "verity" | "validatefs", _) => found.notices.push(format!("{place}: x-systemd.{key} is not done in a machine")),
            _ => {}
        }
    }
    let percent = |text: &str| text.replace('%', "%%");
    unit.extend(more.iter().map(|line| percent(line)));
    unit.push_str(&format!("\n[Mount]\nWhat={}\nWhere={}\n", percent(path.as_deref().unwrap_or(what)), percent(&place)));
    if kind != "none" && kind != "auto" {
        unit.push_str(&format!("Type={}\n", percent(kind)));
    }
    unit.push_str(&format!("Options={}\n", percent(&options.join(","))));
    if let Some(timeout) = timeout {
        unit.push_str(&format!("TimeoutSec={}\n", percent(&timeout)));
    }
    if has("x-systemd.rw-only") {
        unit.push_str("ReadWriteOnly=yes\n");
    }
    if !has("noauto") && wanted_by.is_empty() && required_by.is_empty() {
        // that it is done before the target is every mount unit's default, but for `nofail`
        let network = has("_netdev") || NETWORK.contains(&kind.as_str());
        wanted_by.push(if network { "remote-fs.target" } else { "local-fs.target" }.to_owned());
    }
    found.links.extend(wanted_by.into_iter().map(|by| (format!("{by}.wants"), name.clone())));
    found.links.extend(required_by.into_iter().map(|by| (format!("{by}.requires"), name.clone())));
    found.units.push((name, unit));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_computers_and_of_machines() {
        let table = "# comment\nUUID=ABC / ext4 errors=remount-ro 0 1\nUUID=abc /boot/efi vfat umask=0077 0 1\n/swap none swap sw 0 0\n\
                     tmpfs /srv/with\\040blank tmpfs size=1m,x-systemd.mount-timeout=5,x-systemd.after=a.service 0 0\n/dev/here /d ext4 nofail\n\
                     /a /b none bind,x-systemd.automount\nhost:/x /net nfs defaults\n/c /off none bind,noauto\n/e /w none bind,x-systemd.wanted-by=w.service\n\
                     proc /proc proc defaults\nbroken\ntmpfs /b tmpfs\nnonsense relative tmpfs\n";
        let found = units(table, &|path| path == "/dev/here");
        let names: Vec<&str> = found.units.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["srv-with\\x20blank.mount", "d.mount", "b.mount", "net.mount", "off.mount", "w.mount"]);
        let links: Vec<(&str, &str)> = found.links.iter().map(|(by, to)| (by.as_str(), to.as_str())).collect();
        assert_eq!(
            links,
            [
                ("local-fs.target.wants", "srv-with\\x20blank.mount"),
                ("local-fs.target.wants", "d.mount"),
                ("local-fs.target.wants", "b.mount"),
                ("remote-fs.target.wants", "net.mount"),
                ("w.service.wants", "w.mount"),
            ]
        );
        let text = &found.units[0].1;
        assert!(
            text.contains("After=a.service\n") && text.contains("Where=/srv/with blank\nType=tmpfs\n") && text.contains("TimeoutSec=5\n"),
            "{text}"
        );
        assert!(!found.units[2].1.contains("Type="));
        // root, efi, swap, automount, broken, twice, relative
        assert_eq!(found.notices.len(), 7, "{:#?}", found.notices);
        assert!(found.notices[1].contains("/dev/disk/by-uuid/abc") && found.notices[2].contains("swap"));
    }
}
