//! Dependencies that nobody wrote down.

use hostel_unit::{Kind, UnitName, WordRules, escape_path, words};

use super::{Because, List, Relation};
use crate::search::Scope;
use crate::value::Value;
use Relation::{After, Before, BindsTo, Conflicts, Requires, Triggers, Wants};

pub(super) fn add(list: &mut List<'_>, scope: Scope, known: &dyn Fn(&UnitName) -> bool) {
    triggers(list);
    slice(list);
    mounts_for(list, known);
    if list.unit.name.kind() == Kind::Service {
        service(list, scope, known);
    }
    if list.unit.settings.bool("Unit", "DefaultDependencies", true) {
        defaults(list, scope);
    }
}

/// What a socket, timer, path or automount starts.
fn triggers(list: &mut List<'_>) {
    let unit = list.unit;
    let (section, key, wanted) = match unit.name.kind() {
        Kind::Socket => ("Socket", "Service", Kind::Service),
        Kind::Timer => ("Timer", "Unit", Kind::Service),
        Kind::Path => ("Path", "Unit", Kind::Service),
        Kind::Automount => ("Automount", "", Kind::Mount),
        _ => return,
    };
    if unit.name.is_template() || unit.name.kind() == Kind::Socket && unit.settings.bool("Socket", "Accept", false) {
        return;
    }
    let given = unit.settings.units(section, key).last().map(|(name, _)| name.clone());
    if let Some(to) = given.or_else(|| unit.name.with_kind(wanted).ok()) {
        let because = || Because::Implied("it is what this unit starts");
        list.add(Before, &to, because());
        list.add(Triggers, &to, because());
    }
}

/// Units with processes are in a slice, and slices in each other.
fn slice(list: &mut List<'_>) {
    let unit = list.unit;
    let kind = unit.name.kind();
    if kind == Kind::Slice {
        if unit.name.as_str() != "-.slice" {
            let parent = unit.name.stem().rsplit_once('-').map_or("-", |(parent, _)| parent);
            list.name(&[Requires, After], &format!("{parent}.slice"), Because::Implied("slices are in each other"));
        }
        return;
    }
    let Some(section @ ("Service" | "Socket" | "Mount" | "Swap" | "Scope")) = kind.section() else { return };
    let given = unit.settings.units(section, "Slice").last().map(|(name, _)| name.to_string());
    let usual = || match unit.name.instance() {
        Some(_) if matches!(kind, Kind::Service | Kind::Socket) => format!("system-{}.slice", unit.name.prefix().replace('-', "\\x2d")),
        _ if unit.name.as_str() == "-.mount" || unit.name.as_str() == "init.scope" => "-.slice".to_owned(),
        _ => "system.slice".to_owned(),
    };
    list.name(&[Requires, After], &given.unwrap_or_else(usual), Because::Implied("its slice"));
}

/// Mounts on the way to paths that the unit needs, as far as they have units.
fn mounts_for(list: &mut List<'_>, known: &dyn Fn(&UnitName) -> bool) {
    let unit = list.unit;
    let section = unit.name.kind().section().unwrap_or_default();
    let mut wanted: Vec<(String, bool)> = Vec::new();
    for (key, required) in [("RequiresMountsFor", true), ("WantsMountsFor", false)] {
        for setting in unit.settings.of("Unit", key) {
            for path in words(setting.text(), WordRules::UNIT).unwrap_or_default() {
                wanted.push((path, required));
            }
        }
    }
    for key in ["WorkingDirectory", "RootDirectory", "RootImage"] {
        if let Some(Value::Text(path)) = unit.settings.last(section, key) {
            wanted.push((path.trim_start_matches('-').to_owned(), true));
        }
    }
    for (key, top) in [("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log"), ("RuntimeDirectory", "/run")]
    {
        wanted.extend(unit.settings.words(section, key).map(|name| (format!("{top}/{}", name.split(':').next().unwrap_or_default()), true)));
    }
    if matches!(unit.settings.text(section, "PrivateTmp"), Some(text) if hostel_unit::boolean(text) == Ok(true)) {
        wanted.extend([("/tmp".to_owned(), true), ("/var/tmp".to_owned(), true)]);
    }
    if unit.name.kind() == Kind::Mount
        && let Some((above, _)) =
            hostel_unit::unescape_path(unit.name.stem()).ok().and_then(|p| p.rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())))
    {
        wanted.push((above, true));
    }
    for (path, required) in wanted {
        let mut part = path.as_str();
        while part.starts_with('/') && part.len() > 1 {
            if let Ok(name) = escape_path(part).and_then(|p| UnitName::parse(&format!("{p}.mount")))
                && known(&name)
            {
                list.add(After, &name, Because::Implied("a path that it needs"));
                list.add(if required { Requires } else { Wants }, &name, Because::Implied("a path that it needs"));
            }
            part = part.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

fn service(list: &mut List<'_>, scope: Scope, known: &dyn Fn(&UnitName) -> bool) {
    let unit = list.unit;
    for (socket, _) in unit.settings.units("Service", "Sockets") {
        for relation in [Wants, After] {
            list.add(relation, socket, Because::Implied("Sockets="));
        }
    }
    if let Ok(socket) = unit.name.with_kind(Kind::Socket)
        && known(&socket)
    {
        list.add(After, &socket, Because::Implied("the socket that starts it"));
    }
    if unit.settings.of("Service", "BusName").next().is_some() {
        list.name(&[Requires, After], "dbus.socket", Because::Implied("BusName="));
    }
    let own_output =
        |key: &str| unit.settings.text("Service", key).is_some_and(|out| !["journal", "journal+console", "kmsg", "inherit", "syslog"].contains(&out));
    if scope == Scope::System && !(own_output("StandardOutput") && own_output("StandardError")) {
        list.name(&[After], "systemd-journald.socket", Because::Implied("its output goes to the journal"));
    }
}

/// DefaultDependencies=yes.
fn defaults(list: &mut List<'_>, scope: Scope) {
    let kind = list.unit.name.kind();
    let name = list.unit.name.to_string();
    let add = |list: &mut List<'_>, relations: &[Relation], to: &str| list.name(relations, to, Because::Default);
    let system = scope == Scope::System;
    match kind {
        Kind::Service => {
            if system {
                add(list, &[Requires, After], "sysinit.target");
                add(list, &[After], "basic.target");
            } else {
                add(list, &[Requires, After], "basic.target");
            }
        }
        Kind::Socket | Kind::Timer | Kind::Path => {
            let target = match kind {
                Kind::Socket => "sockets.target",
                Kind::Timer => "timers.target",
                _ => "paths.target",
            };
            add(list, &[Before], target);
            if system {
                add(list, &[Requires, After], "sysinit.target");
            }
            if kind == Kind::Timer && list.unit.settings.of("Timer", "OnCalendar").next().is_some() {
                add(list, &[After], "time-set.target");
                add(list, &[After], "time-sync.target");
            }
        }
        Kind::Mount if name == "-.mount" => {
            add(list, &[Before], "local-fs.target");
            return;
        }
        Kind::Mount => return mount(list),
        Kind::Automount => {
            add(list, &[Before], "local-fs.target");
            add(list, &[After], "local-fs-pre.target");
            add(list, &[Conflicts, Before], "umount.target");
            return;
        }
        Kind::Swap => {
            add(list, &[Before], "swap.target");
            add(list, &[Conflicts, Before], "umount.target");
            return;
        }
        Kind::Device => return,
        Kind::Slice if name == "-.slice" || name == "system.slice" => return,
        Kind::Scope if name == "init.scope" => return,
        Kind::Target | Kind::Slice | Kind::Scope => {}
    }
    if name != "shutdown.target" {
        add(list, &[Conflicts, Before], "shutdown.target");
    }
}

fn mount(list: &mut List<'_>) {
    let settings = &list.unit.settings;
    let kind = settings.text("Mount", "Type").unwrap_or_default();
    let options: Vec<String> = settings.text("Mount", "Options").unwrap_or_default().split(',').map(str::to_owned).collect();
    let has = |option: &str| options.iter().any(|o| o == option);
    let network = has("_netdev") || ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "ncpfs", "sshfs", "fuse.sshfs"].contains(&kind);
    let what = settings.text("Mount", "What").map(str::to_owned);
    let (target, before) = if network { ("remote-fs.target", "remote-fs-pre.target") } else { ("local-fs.target", "local-fs-pre.target") };
    if !has("nofail") {
        list.name(&[Before], target, Because::Default);
    }
    list.name(&[After], before, Because::Default);
    list.name(&[Conflicts, Before], "umount.target", Because::Default);
    if network {
        list.name(&[After], "network.target", Because::Default);
        list.name(&[After, Wants], "network-online.target", Because::Default);
    }
    if let Some(device) = what.filter(|w| w.starts_with("/dev/"))
        && let Ok(path) = escape_path(&device)
    {
        let relation = if has("nofail") { Wants } else { Requires };
        list.name(&[After, relation, BindsTo], &format!("{path}.device"), Because::Implied("What="));
    }
}
