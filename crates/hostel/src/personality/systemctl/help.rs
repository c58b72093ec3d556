//! The help text, and systemctl's part of COMPATIBILITY.md.

use std::fmt::Write as _;

use super::options::{ROWS, State};
use super::{GROUPS, Kind};

/// `systemctl --help`.
pub fn text() -> String {
    let mut out = String::from(
        "systemctl [OPTIONS...] COMMAND ...\n\nUnit files of a tree at rest (--root=), and units of the manager that runs here (hostel init).\n",
    );
    for (title, rows) in GROUPS {
        if rows.iter().all(|row| matches!(row.kind, Kind::Live)) {
            let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
            let _ = writeln!(out, "\n{title}:\n  {}", crate::output::wrap(&names.join(" "), 2, 100));
            continue;
        }
        let _ = writeln!(out, "\n{title}:");
        for row in rows {
            let _ = writeln!(out, "  {:<32} {}", format!("{} {}", row.name, row.args).trim_end(), row.help);
        }
    }
    out.push_str("\nOptions:\n");
    for row in ROWS.iter().filter(|row| !matches!(row.state, State::Refused(_) | State::Live)) {
        let short = row.short.map_or_else(|| "   ".to_owned(), |s| format!("-{s} "));
        let long = if row.long == "property-value" { String::new() } else { format!("--{}", row.long) };
        let value = row.value.map_or_else(String::new, |v| format!("={v}"));
        let _ = writeln!(out, "  {:<32} {}", format!("{short}{long}{value}"), row.help);
    }
    out
}

/// Which keys of units the manager acts upon, and which only get a note.
fn keys(out: &mut String) {
    use hostel_init::keys::{Use, known, usage, usual};
    for section in ["Unit", "Service", "Socket", "Timer", "Path"] {
        let is = |key: &str| {
            let (section, key) = usual(section, key);
            usage(section, key)
        };
        let of = |wanted: Use| known(section).filter(|(key, _)| is(key) == Some(wanted)).map(|(key, _)| format!("`{key}`")).collect::<Vec<_>>();
        let _ = writeln!(out, "\n**[{section}], acted upon by `hostel init`:** {}.", of(Use::Counts).join(" "));
        let kept = of(Use::Kept).join(" ");
        if !kept.is_empty() {
            let _ = writeln!(out, "\n**[{section}], not yet** (shown as *Degraded* by `status` and `why` of every unit that has it): {kept}.");
        }
    }
    out.push_str(
        "\n`RootImage=` is refused when the unit is started, and so are sockets of USB functions and vsock addresses, and swap units. \
         `DynamicUser=yes` is a number from 61184 to 65519 while the service runs, in no file of the tree: programs see no name for it; \
         `RemoveIPC=` has no effect. What an automount unit is for is mounted when that starts. Of `/etc/fstab`, lines for the root, for swap, and \
         for devices that are not there are passed over with a word in the log; the rest is wanted by its \
         target, never required. Generators in `system-generators` are run but those of systemd (`hostel init --generators=`). \
         `daemon-reexec` is refused while a job runs or a unit that is up no longer loads; \
         Timers that may be late (`AccuracySec=` of a second or more) come together at whole seconds; `OnBootSec=` counts from the start of the \
         machine, as in any container. `Type=dbus` \
         counts as started when its program was executed where no message bus answers (`status` says so); its name is watched by one connection to \
         the tree's bus, and while that is down nobody is told that a name was lost. `DeviceAllow=`, `DevicePolicy=`, what `PrivateDevices=` and \
         `ProtectClock=` mean for them, `IPAddressAllow=` and `IPAddressDeny=` are BPF programs of the service's group: they have an effect where \
         the machine has the host's `CAP_BPF` and no users of its own, else `status` says that they have none. `OOMPolicy=` takes a cgroup2 memory \
         controller. Encrypted credentials are not decrypted: a service with one is not started. Descriptors in the store whose other end has hung up are left out at the next start (but for `FDPOLL=0`), and the manager holds no more \
         of them than its own limit of open files allows. Units of systemd itself that have no part here (journald, \
         udevd, logind, …) are passed over and count as up; `status` says why.\n",
    );
}

/// Markdown: a table of verbs, a table of options.
pub fn markdown() -> String {
    let mut out = String::from(
        "## systemctl\n\nCalled as `systemctl` or `hostel ctl`: unit files of a tree at rest (`--root=`), or units of the manager that runs here (`hostel init`). Compared \
         with `systemctl --root=` of 252 (the default) and 262 (`--compat=262`): the same commands run on both (`tests/tests/systemctl.rs`), \
         statuses, output and links are compared. Where systemd is the manager of this system, every verb without `--root=` is refused and \
         points to systemd's own.\n\n| verb | compared |\n|---|---|\n",
    );
    let cell = |text: &str| text.replace('|', "\\|");
    for row in GROUPS.iter().flat_map(|(_, rows)| rows.iter()).filter(|row| matches!(row.kind, Kind::Files(_))) {
        let compared = if row.differs.is_empty() { "same".to_owned() } else { format!("differs: {}", row.differs) };
        let _ = writeln!(out, "| `{}` | {} |", row.name, cell(&compared));
    }
    for row in GROUPS.iter().flat_map(|(_, rows)| rows.iter()).filter(|row| matches!(row.kind, Kind::Managed(_))) {
        let differs = if row.differs.is_empty() { String::new() } else { format!(", {}", row.differs) };
        let _ = writeln!(out, "| `{}` | of hostel's manager{} |", row.name, cell(&differs));
    }
    let live = GROUPS.iter().flat_map(|(_, rows)| rows.iter()).filter(|row| matches!(row.kind, Kind::Live)).map(|row| format!("`{}`", row.name));
    let _ = writeln!(
        out,
        "\nNot implemented yet, refused with status 1 and the reason, because hostel's manager cannot do that yet: {}.\n\n| option | compared |\n|---|---|",
        live.collect::<Vec<_>>().join(", ")
    );
    for row in ROWS {
        let short = row.short.map(|s| format!("-{s} ")).unwrap_or_default();
        let compared = match row.state {
            State::Built => "same".to_owned(),
            State::Always => format!("without effect: {}", row.help),
            State::Manager => "obeyed by verbs that talk to hostel's manager; without effect on others, as there".to_owned(),
            State::Live => "only of verbs that need a manager; without effect on others, as there".to_owned(),
            State::Refused(why) => format!("refused: {why}"),
            State::Own => "hostel's own".to_owned(),
        };
        let _ = writeln!(out, "| `{short}--{}` | {} |", row.long, cell(&compared));
    }
    out.push_str(
        "\nDiffers besides: the note that there is nothing to enable has other words; a link is never made through a link that leads out of the tree; \
         files of a drop-in directory count for `[Install]` too; `--now` with `--root=` is refused before anything changes.\n",
    );
    super::replaced::rows::markdown(&mut out);
    analyze(&mut out);
    keys(&mut out);
    bus(&mut out);
    out
}

/// systemd-analyze's part.
fn analyze(out: &mut String) {
    use super::analyze::{MISSING, VERBS};
    let quoted = |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
    let _ = writeln!(
        out,
        "\n**systemd-analyze**, also `hostel ctl analyze`: {}. Not implemented yet, refused by name: {}. The output is that of 252; `calendar` and \
         `timespan` are compared with it where it is installed. Zones other than UTC are shown by their offset. `verify` shows each line with carets \
         below what is meant; `--json` is of `time`, `blame` and `critical-chain`.",
        quoted(&mut VERBS.iter().map(|row| row.0)),
        quoted(&mut MISSING.iter().copied())
    );
    let _ = writeln!(
        out,
        "\nWhere ours lies over a tree's systemctl, the links to it are ours, too: {}. `shutdown` tells nobody: no wall message, no /run/nologin; its time is `now`, `+MINUTES` or `HH:MM`.",
        quoted(&mut super::called::NAMES.iter().copied())
    );
}

/// What the tree's own systemctl may ask.
fn bus(out: &mut String) {
    out.push_str(
        "\n### The private bus\n\nAs PID 1 the manager answers on `/run/systemd/private` as systemd 252 does: what the tree's own systemctl calls, with the answers that \
         it waits for (`tests/tests/private_bus.rs`). Every property of 252's units and of its manager is there with its type: as the unit is, as its files say (also of keys \
         that are not acted upon here: `hostel ctl why UNIT`), or as 252 has it by default. Signals: UnitNew, UnitRemoved, JobNew, JobRemoved, PropertiesChanged, Reloading, \
         UnitFilesChanged, StartupFinished; every peer hears all of them. What is not done answers `NotSupported` and why.\n\n\
         Differs: a unit that has ended stays in memory, with its times and results; groups of `SystemCallFilter=` keep their names; of transient units there are services, \
         without auxiliary units; `RefUnit` holds nothing; no property can be set; descriptors are not taken; `Dump` has its own words. Not on this socket, but on the \
         system's message bus, where hostel is not, systemctl looks for `start --wait`, `clean`, `freeze`, `thaw` and `systemd-run --wait`.\n\n| interface | methods that are answered | methods that are refused, and why |\n|---|---|---|\n",
    );
    use hostel_init::bus::methods::{Done, all};
    let mut interfaces: Vec<&str> = all().map(|method| method.interface).collect();
    interfaces.dedup();
    for interface in interfaces {
        let own = || all().filter(|method| method.interface == interface);
        let done: Vec<String> = own().filter(|m| m.done == Done::Yes).map(|m| format!("`{}`", m.name)).collect();
        let refused: Vec<String> =
            own().filter_map(|m| if let Done::No(why) = m.done { Some(format!("`{}` ({why})", m.name)) } else { None }).collect();
        let _ = writeln!(out, "| {interface} | {} | {} |", done.join(" "), refused.join(", "));
    }
}
