//! `Condition…=` and `Assert…=`: whether a unit may start here and now (systemd.unit(5)).

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use crate::load::Unit;
use crate::value::Value;

/// What they come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may start.
    Met,
    /// It is skipped, which is no failure.
    Skipped,
    /// An assertion does not hold.
    AssertFailed,
}

/// Kinds that can be judged here.
const KINDS: &str = "PathExists PathExistsGlob PathIsDirectory PathIsSymbolicLink PathIsMountPoint PathIsReadWrite PathIsSocket DirectoryNotEmpty \
    FileNotEmpty FileIsExecutable Environment Virtualization Architecture Host KernelCommandLine Capability User FirstBoot NeedsUpdate ACPower \
    Security ControlGroupController";

/// Those of a unit that cannot be judged here, and count as met. Nothing is looked at: they are asked for as soon as a unit is loaded.
pub(super) fn unknown(unit: &Unit) -> impl Iterator<Item = String> {
    unit.settings.iter().filter(|s| s.section == "Unit").filter_map(|setting| {
        let kind = ["Assert", "Condition"].iter().find_map(|prefix| setting.key.strip_prefix(prefix))?;
        let Value::Condition { parameter, .. } = &setting.value else { return None };
        let is_known = KINDS.split(' ').any(|known| known == kind) && (kind != "Capability" || hostel_spec::CapName::parse(parameter).is_ok());
        (!is_known).then(|| format!("{}={}", setting.key, setting.text()))
    })
}

/// Looks at all of a unit's.
pub(super) fn check(unit: &Unit) -> (Verdict, Option<String>) {
    for (prefix, verdict) in [("Assert", Verdict::AssertFailed), ("Condition", Verdict::Skipped)] {
        let mut triggered: Option<bool> = None;
        let mut last = None;
        for setting in unit.settings.iter().filter(|s| s.section == "Unit" && s.key.starts_with(prefix)) {
            let Value::Condition { trigger, negate, parameter } = &setting.value else { continue };
            let kind = setting.key.get(prefix.len()..).unwrap_or_default();
            let Some(found) = holds(kind, parameter) else { continue };
            let holds = found != *negate;
            let text = format!("{}={}", setting.key, setting.text());
            if *trigger {
                triggered = Some(triggered.unwrap_or(false) || holds);
                last = Some(text);
            } else if !holds {
                return (verdict, Some(text));
            }
        }
        if triggered == Some(false) {
            return (verdict, last);
        }
    }
    (Verdict::Met, None)
}

/// Whether one holds; `None` when that cannot be told.
fn holds(kind: &str, parameter: &str) -> Option<bool> {
    let path = Path::new(parameter);
    let metadata = || std::fs::metadata(path).ok();
    Some(match kind {
        "PathExists" => path.exists(),
        "PathExistsGlob" => glob(parameter),
        "PathIsDirectory" => path.is_dir(),
        "PathIsSymbolicLink" => path.is_symlink(),
        "PathIsMountPoint" => is_mount_point(parameter),
        "PathIsReadWrite" => rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok(),
        "PathIsSocket" => metadata().is_some_and(|m| m.file_type().is_socket()),
        "DirectoryNotEmpty" => std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
        "FileNotEmpty" => metadata().is_some_and(|m| m.is_file() && m.len() > 0),
        "FileIsExecutable" => metadata().is_some_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0),
        "Environment" => match parameter.split_once('=') {
            Some((name, value)) => std::env::var(name).is_ok_and(|found| found == value),
            None => std::env::var_os(parameter).is_some(),
        },
        "Virtualization" => virtualization(parameter),
        "Architecture" => parameter == "native" || parameter == architecture(),
        "Host" => host(parameter),
        "KernelCommandLine" => kernel_word(parameter),
        "Capability" => {
            let hostel_spec::CapName(number) = hostel_spec::CapName::parse(parameter).ok()?;
            hostel_sys::caps::in_bounding(number) == Some(true)
        }
        "User" => {
            let own = rustix::process::geteuid().as_raw();
            parameter == own.to_string() || parameter == "root" && own == 0 || parameter == "@system" && own < 1000
        }
        // a machine's first start is prepared from outside, and its /usr is not updated below it
        "FirstBoot" | "NeedsUpdate" => hostel_unit::boolean(parameter) == Ok(false) && kind == "FirstBoot",
        "ACPower" => hostel_unit::boolean(parameter) != Ok(false),
        "Security" => false,
        "ControlGroupController" => {
            Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
                && std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                    .is_ok_and(|all| parameter.split(' ').all(|c| all.split_whitespace().any(|a| a == c)))
        }
        _ => return None,
    })
}

/// We are in a container whenever we are an init: hostel's own word for that is not asked.
fn virtualization(parameter: &str) -> bool {
    let own = std::env::var("container").unwrap_or_else(|_| "container-other".to_owned());
    match parameter {
        "container" => true,
        "vm" => false,
        "private-users" => std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().nth(1) != Some("0")),
        _ if hostel_unit::boolean(parameter).is_ok() => hostel_unit::boolean(parameter) == Ok(true),
        other => other == own,
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn host(parameter: &str) -> bool {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    parameter == id.trim() || matches(parameter, &name)
}

fn kernel_word(parameter: &str) -> bool {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    // the host's command line is not the machine's
    let line = if std::env::var_os("container").is_some() { String::new() } else { line };
    line.split_whitespace().any(|word| word == parameter || word.split_once('=').is_some_and(|(name, _)| name == parameter))
}

/// Whether something is mounted there.
pub(crate) fn is_mount_point(path: &str) -> bool {
    let wanted = path.trim_end_matches('/');
    super::mount::table().is_ok_and(|table| super::mount::points_of(&table).any(|point| point.trim_end_matches('/') == wanted))
}

/// Whether a path with `*` and `?` in its components leads to something.
pub(super) fn glob(pattern: &str) -> bool {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for base in found.iter().take(1024) {
            if !part.contains(['*', '?', '[']) {
                next.push(format!("{base}/{part}"));
                continue;
            }
            let entries = std::fs::read_dir(if base.is_empty() { "/" } else { base }).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            next.extend(names.filter(|name| !name.starts_with('.') && matches(part, name)).map(|name| format!("{base}/{name}")));
        }
        found = next.into_iter().filter(|path| Path::new(path).exists()).collect();
    }
    !found.is_empty()
}

/// A shell pattern of `*` and `?`.
fn matches(pattern: &str, text: &str) -> bool {
    crate::preset::glob(pattern, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn verdicts() {
        #[rustfmt::skip]
        let table = [
            ("", Verdict::Met),
            ("ConditionPathExists=/proc", Verdict::Met),
            ("ConditionPathExists=!/proc", Verdict::Skipped),
            ("ConditionPathExists=/nope", Verdict::Skipped),
            ("AssertPathExists=/nope", Verdict::AssertFailed),
            ("AssertPathExists=/nope\nConditionPathExists=/nope", Verdict::AssertFailed),
            ("ConditionPathExists=|/nope\nConditionPathExists=|/proc", Verdict::Met),
            ("ConditionPathExists=|/nope\nConditionPathExists=|/no", Verdict::Skipped),
            ("ConditionPathExists=|/nope\nConditionPathIsDirectory=/proc", Verdict::Skipped),
            ("ConditionPathExistsGlob=/pro?/se*/stat", Verdict::Met),
            ("ConditionPathExistsGlob=/pro?/zz*", Verdict::Skipped),
            ("ConditionVirtualization=!container", Verdict::Skipped),
            ("ConditionFileIsExecutable=/bin/sh", Verdict::Met),
            ("ConditionFileNotEmpty=/dev/null", Verdict::Skipped),
            ("ConditionDirectoryNotEmpty=/proc", Verdict::Met),
            ("ConditionArchitecture=vax", Verdict::Skipped),
            ("ConditionMemory=>1T", Verdict::Met),
        ];
        for (text, expected) in table {
            let tree = Tree::new("manager-condition");
            tree.unit("a.service", &format!("[Unit]\n{text}\n[Service]\nExecStart=/bin/a\n"));
            assert_eq!(check(&tree.load("a.service")).0, expected, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_what_cannot_be_judged() {
        let tree = Tree::new("manager-unknown");
        let kinds = crate::keys::known("Unit").filter_map(|(key, _)| key.strip_prefix("Condition"));
        for (kind, parameter) in kinds.map(|kind| (kind, if kind == "Capability" { "CAP_KILL" } else { "x" })).chain([("Capability", "x")]) {
            tree.unit("a.service", &format!("[Unit]\nCondition{kind}={parameter}\n[Service]\nExecStart=/bin/a\n"));
            assert_eq!(unknown(&tree.load("a.service")).next().is_some(), holds(kind, parameter).is_none(), "{kind}={parameter}");
        }
    }
}
