//! Introspect: what an object has, as XML.

use std::fmt::Write as _;

use super::path::{self, Object};
use super::{methods, properties, table};
use crate::manager::Manager;

const HEAD: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n\
    \"https://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n";
const STANDARD: &str = " <interface name=\"org.freedesktop.DBus.Peer\">\n  <method name=\"Ping\"/>\n  <method name=\"GetMachineId\">\n   \
    <arg type=\"s\" direction=\"out\"/>\n  </method>\n </interface>\n\
    <interface name=\"org.freedesktop.DBus.Introspectable\">\n  <method name=\"Introspect\">\n   <arg type=\"s\" direction=\"out\"/>\n  </method>\n </interface>\n\
    <interface name=\"org.freedesktop.DBus.Properties\">\n  <method name=\"Get\">\n   <arg type=\"s\" direction=\"in\"/>\n   <arg type=\"s\" direction=\"in\"/>\n   \
    <arg type=\"v\" direction=\"out\"/>\n  </method>\n  <method name=\"GetAll\">\n   <arg type=\"s\" direction=\"in\"/>\n   <arg type=\"a{sv}\" direction=\"out\"/>\n  \
    </method>\n  <signal name=\"PropertiesChanged\">\n   <arg type=\"s\"/>\n   <arg type=\"a{sv}\"/>\n   <arg type=\"as\"/>\n  </signal>\n </interface>\n";
/// Signals of the manager and the types of what they carry.
const SIGNALS: &[(&str, &[&str])] = &[
    ("UnitNew", &["s", "o"]),
    ("UnitRemoved", &["s", "o"]),
    ("JobNew", &["u", "o", "s"]),
    ("JobRemoved", &["u", "o", "s", "s"]),
    ("StartupFinished", &["t", "t", "t", "t", "t", "t"]),
    ("UnitFilesChanged", &[]),
    ("Reloading", &["b"]),
];

/// The XML of an object.
pub(super) fn text(manager: &Manager, object: &Object) -> String {
    let mut out = String::from(HEAD);
    out.push_str(STANDARD);
    for interface in properties::interfaces(object) {
        // writing to a String cannot fail
        let _ = writeln!(out, " <interface name=\"org.freedesktop.systemd1.{interface}\">");
        for method in methods::all().filter(|method| method.interface == interface) {
            let _ = writeln!(out, "  <method name=\"{}\">", method.name);
            arguments(&mut out, method.takes, " direction=\"in\"");
            arguments(&mut out, method.gives, " direction=\"out\"");
            out.push_str("  </method>\n");
        }
        for property in table::properties(interface) {
            let _ = writeln!(out, "  <property name=\"{}\" type=\"{}\" access=\"read\"/>", property.name, property.signature);
        }
        for (name, types) in SIGNALS.iter().filter(|_| interface == "Manager") {
            let _ = writeln!(out, "  <signal name=\"{name}\">");
            types.iter().for_each(|of| arguments(&mut out, of, ""));
            out.push_str("  </signal>\n");
        }
        out.push_str(" </interface>\n");
    }
    if *object == Object::Manager {
        for live in manager.lives() {
            let path = path::unit(live.name().as_str());
            let _ = writeln!(out, " <node name=\"{}\"/>", path.strip_prefix(path::MANAGER).unwrap_or_default().trim_start_matches('/'));
        }
        for job in manager.all_jobs() {
            let _ = writeln!(out, " <node name=\"job/{}\"/>", job.id);
        }
    }
    out.push_str("</node>\n");
    out
}

fn arguments(out: &mut String, signature: &str, direction: &str) {
    for of in hostel_ipc::dbus::Type::all(signature).unwrap_or_default() {
        let _ = writeln!(out, "   <arg type=\"{of}\"{direction}/>");
    }
}
