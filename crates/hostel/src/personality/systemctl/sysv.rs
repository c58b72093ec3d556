//! `enable`, `disable` and `is-enabled` of SysV scripts: what systemctl leaves to the distribution's own tools.

use std::process::{Command, Stdio};

use hostel_init::catalogue::{Catalogue, Found};
use hostel_init::root::{Entry, Root};
use hostel_init::search::Role;
use hostel_init::sysv;
use hostel_unit::{Kind, UnitName};

use super::options::Options;
use super::{catalogue, root, say};
use crate::output;

/// The name of the script that a unit is, when it has no unit file of its own.
pub(super) fn script(root: &Root, catalogue: &Catalogue<'_>, name: &UnitName) -> Option<String> {
    if name.kind() != Kind::Service || name.is_template() || name.is_instance() {
        return None;
    }
    let is_native = match catalogue.find(name) {
        Found::Missing => false,
        Found::File { path, .. } => catalogue.search.place_of(&path).is_none_or(|place| place.role != Role::Generator),
        _ => true,
    };
    let stem = name.stem();
    (!is_native && root.entry(&format!("/etc/init.d/{stem}")).is_some_and(|entry| matches!(entry, Entry::File | Entry::Link(_))))
        .then(|| stem.to_owned())
}

/// Takes the scripts out of the words of `enable` or `disable`, and does that to them.
pub(super) fn redirect(options: &Options, verb: &str, words: &[String]) -> Result<Vec<String>, String> {
    if options.global {
        return Ok(words.to_vec());
    }
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let mut native = Vec::new();
    for word in words {
        let name = if word.contains('/') { None } else { Some(say::name("", word, Kind::Service)?) };
        match name.as_ref().and_then(|name| Some((name, script(&root, &catalogue, name)?))) {
            Some((name, stem)) => run(options, verb, name, &stem)?,
            None => native.push(word.clone()),
        }
    }
    Ok(native)
}

/// Has a script enabled or disabled by what this system has for that.
fn run(options: &Options, verb: &str, name: &UnitName, stem: &str) -> Result<(), String> {
    let is_there = |path: &&str| std::path::Path::new(path).exists();
    let root = options.root.as_ref().map(|path| format!("--root={}", path.display()));
    let mut calls: Vec<(&str, Vec<&str>)> = Vec::new();
    if let Some(tool) = ["/lib/systemd/systemd-sysv-install", "/usr/lib/systemd/systemd-sysv-install"].iter().find(|path| is_there(path)) {
        calls.push((tool, root.as_deref().into_iter().chain([verb, stem]).collect()));
    } else if root.is_none() && is_there(&"/usr/sbin/update-rc.d") {
        calls.push(("/usr/sbin/update-rc.d", vec![stem, "defaults"]));
        calls.push(("/usr/sbin/update-rc.d", vec![stem, verb]));
    } else if root.is_none() && is_there(&"/sbin/chkconfig") {
        calls.push(("/sbin/chkconfig", vec![stem, if verb == "enable" { "on" } else { "off" }]));
    } else {
        return Err(format!(
            "Failed to {verb} {name}: it is a SysV script, and there is no systemd-sysv-install, update-rc.d or chkconfig to {verb} it."
        ));
    }
    if !options.quiet {
        output::tell(format_args!("{name} is not a native service, redirecting to systemd-sysv-install."));
    }
    for (tool, words) in calls {
        if !options.quiet {
            output::tell(format_args!("Executing: {tool} {}", words.join(" ")));
        }
        let ended = Command::new(tool).args(&words).stdin(Stdio::null()).status().map_err(|e| format!("Failed to execute {tool}: {e}"))?;
        if !ended.success() {
            return Err(format!("Failed to {verb} {name}: {tool} ended with {ended}."));
        }
    }
    Ok(())
}

/// Whether a script is started with the system.
pub(super) fn is_enabled(root: &Root, stem: &str) -> bool {
    sysv::starts(root, 'S', stem) || sysv::starts(root, '5', stem)
}
