//! SysV init scripts: their LSB header, and the service that one becomes (systemd-sysv-generator(8), the LSB's "Comment
//! conventions for init scripts").

use std::fmt::Write as _;

use hostel_spec::Arrange as _;
use hostel_unit::{UnitName, escape_name};

use crate::catalogue::Catalogue;
use crate::root::{Entry, Root};

/// Most lines of a script in which a header is looked for.
const LINES_MAX: usize = 2000;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Its names.
    pub provides: Vec<String>,
    /// What must have started before.
    pub required_start: Vec<String>,
    /// What should have, if it is there.
    pub should_start: Vec<String>,
    /// What it should start before.
    pub start_before: Vec<String>,
    /// Runlevels in which it runs.
    pub default_start: Vec<String>,
    /// One line.
    pub short_description: Option<String>,
    /// More lines, joined.
    pub description: Option<String>,
    /// From `# pidfile:` of chkconfig.
    pub pidfile: Option<String>,
    /// Whether `reload` stands in its usage.
    pub reloads: bool,
    /// Whether there was a header at all.
    pub found: bool,
}

/// Reads the header of a script; a script without one has an empty one.
pub fn header(text: &str) -> Header {
    let mut header = Header::default();
    let mut inside = false;
    let mut in_description = false;
    for line in text.lines().take(LINES_MAX) {
        let trimmed = line.trim();
        match trimmed {
            "### BEGIN INIT INFO" => {
                inside = true;
                header.found = true;
                continue;
            }
            "### END INIT INFO" => {
                inside = false;
                in_description = false;
                continue;
            }
            _ => {}
        }
        if let Some(comment) = line.strip_prefix('#') {
            if inside {
                in_description = header_line(&mut header, comment, in_description);
            } else if let Some(path) = comment.trim().strip_prefix("pidfile:") {
                header.pidfile = Some(path.trim().to_owned()).filter(|p| p.starts_with('/'));
            }
        } else if !inside && !header.reloads && trimmed.to_ascii_lowercase().contains("usage") {
            header.reloads = trimmed.contains("|reload") || trimmed.contains("{reload") || trimmed.contains(" reload");
        }
    }
    header
}

/// One line between the marks; whether the next may go on with the description.
fn header_line(header: &mut Header, comment: &str, in_description: bool) -> bool {
    let goes_on = in_description && (comment.starts_with("  ") || comment.starts_with('\t') || comment.starts_with(" \t"));
    if goes_on {
        let more = comment.trim();
        if let (Some(text), false) = (&mut header.description, more.is_empty()) {
            text.push(' ');
            text.push_str(more);
        }
        return true;
    }
    let Some((key, value)) = comment.trim().split_once(':') else { return false };
    let list = || value.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let text = || Some(value.trim().to_owned()).filter(|t| !t.is_empty());
    match key.trim().to_ascii_lowercase().as_str() {
        "provides" => header.provides = list(),
        "required-start" => header.required_start = list(),
        "should-start" => header.should_start = list(),
        "x-start-before" => header.start_before = list(),
        "default-start" => header.default_start = list(),
        "short-description" => header.short_description = text(),
        "description" => {
            header.description = text();
            return true;
        }
        _ => {}
    }
    false
}

/// Runlevels whose directory starts the script of this name: `/etc/rcN.d/SNNname`.
pub fn runlevels(root: &Root, stem: &str) -> Vec<char> {
    "2345".chars().filter(|level| starts(root, *level, stem)).collect()
}

/// Whether a runlevel's directory starts the script of this name; `S` is the one before all others.
pub fn starts(root: &Root, level: char, stem: &str) -> bool {
    links(root, level).iter().any(|name| name == stem)
}

/// Scripts that a target starts, by the links of the runlevels it stands for.
pub fn started_by(root: &Root, target: &str) -> Vec<String> {
    let levels = match target {
        "multi-user.target" => "234",
        "graphical.target" => "5",
        _ => return Vec::new(),
    };
    let mut found: Vec<String> = levels.chars().flat_map(|level| links(root, level)).collect();
    found.arrange();
    found.dedup();
    found
}

/// Names behind the S-links of a runlevel.
fn links(root: &Root, level: char) -> Vec<String> {
    let entries = root.list(&format!("/etc/rc{level}.d")).ok().flatten().unwrap_or_default();
    let of = |name: &str| {
        let rest = name.strip_prefix('S')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (digits == 2).then(|| rest[2..].to_owned()).filter(|n| !n.is_empty())
    };
    entries.iter().filter(|(_, entry)| matches!(entry, Entry::Link(_) | Entry::File)).filter_map(|(name, _)| of(name)).collect()
}

/// The unit of a facility or script name of a header; `None` for those that are always there.
fn unit_of(name: &str, own: &UnitName) -> Option<String> {
    let unit = match name {
        "$local_fs" | "$syslog" => return None,
        "$network" => "network-online.target".to_owned(),
        "$named" => "nss-lookup.target".to_owned(),
        "$portmap" => "rpcbind.target".to_owned(),
        "$remote_fs" => "remote-fs.target".to_owned(),
        "$time" => "time-sync.target".to_owned(),
        _ => match name.strip_prefix('$') {
            Some(facility) => format!("{}.target", escape_name(facility)),
            None => format!("{}.service", plain(name)),
        },
    };
    (unit != own.as_str()).then_some(unit)
}

/// A script's name as a stem, `.sh` gone.
fn plain(name: &str) -> String {
    escape_name(name.strip_suffix(".sh").unwrap_or(name)).replace("\\x2d", "-")
}

/// The service that a script is, as the text of a unit file.
pub fn unit_text(name: &UnitName, path: &str, header: &Header, levels: &[char], catalogue: &Catalogue<'_>) -> String {
    let mut out = String::from("[Unit]\n");
    let line = |out: &mut String, key: &str, value: &str| {
        // one line whatever the script says; writing to a String cannot fail
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(out, "{key}={}", value.trim_end_matches('\\').replace('%', "%%"));
    };
    let what = header.short_description.as_deref().or(header.description.as_deref());
    let description = match what {
        Some(text) if header.found => format!("LSB: {text}"),
        _ => format!("SysV: {}", name.stem()),
    };
    line(&mut out, "Description", &description);
    line(&mut out, "SourcePath", path);
    line(&mut out, "Documentation", "man:systemd-sysv-generator(8)");
    for wanted in header.required_start.iter().chain(&header.should_start) {
        if let Some(unit) = unit_of(wanted, name) {
            line(&mut out, "After", &unit);
            if unit == "network-online.target" {
                line(&mut out, "Wants", &unit);
            }
        }
    }
    for before in &header.start_before {
        if let Some(unit) = unit_of(before, name) {
            line(&mut out, "Before", &unit);
        }
    }
    for provided in header.provides.iter().filter(|p| p.starts_with('$')) {
        if let Some(unit) = unit_of(provided, name) {
            line(&mut out, "Before", &unit);
            line(&mut out, "Wants", &unit);
        }
    }
    if levels.iter().any(|level| "234".contains(*level)) && catalogue.has("multi-user.target") {
        line(&mut out, "Before", "multi-user.target");
    }
    if levels.contains(&'5') && catalogue.has("graphical.target") {
        line(&mut out, "Before", "graphical.target");
    }
    out.push_str("[Service]\nType=forking\nRestart=no\nTimeoutSec=5min\nIgnoreSIGPIPE=no\nKillMode=process\nGuessMainPID=no\n");
    match &header.pidfile {
        Some(pidfile) => line(&mut out, "PIDFile", pidfile),
        None => out.push_str("RemainAfterExit=yes\n"),
    }
    out.push_str("SuccessExitStatus=5 6\n");
    line(&mut out, "ExecStart", &format!("{} start", hostel_unit::quote(path)));
    line(&mut out, "ExecStop", &format!("{} stop", hostel_unit::quote(path)));
    if header.reloads {
        line(&mut out, "ExecReload", &format!("{} reload", hostel_unit::quote(path)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let text = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides:          slapd $ldap\n# Required-Start:    $remote_fs $network\n# Should-Start: krb5-kdc\n\
                    # X-Start-Before: x\n# Default-Start:     2 3 4 5\n# Short-Description: OpenLDAP server\n# Description: a\n#  b\n#\tc\n### END INIT INFO\n\
                    # pidfile: /run/slapd.pid\necho \"Usage: $0 {start|stop|reload}\"\n";
        let header = header(text);
        assert_eq!(header.provides, ["slapd", "$ldap"]);
        assert_eq!(header.required_start, ["$remote_fs", "$network"]);
        assert_eq!(header.default_start.len(), 4);
        assert_eq!(header.description.as_deref(), Some("a b c"));
        assert_eq!(header.pidfile.as_deref(), Some("/run/slapd.pid"));
        assert!(header.reloads && header.found);
        assert_eq!(super::header("#!/bin/sh\n"), Header::default());
    }

    #[test]
    fn facilities() {
        let own = UnitName::parse("me.service").unwrap();
        for (name, unit) in
            [("$network", "network-online.target"), ("$x-y", r"x\x2dy.target"), ("foo-bar", "foo-bar.service"), ("checkroot.sh", "checkroot.service")]
        {
            assert_eq!(unit_of(name, &own).as_deref(), Some(unit));
        }
        assert_eq!(unit_of("me", &own), None);
        assert_eq!(unit_of("$syslog", &own), None);
    }
}
