//! Calls answered by a manager of a tree in which nothing runs.

use hostel_ipc::dbus::{Kind, Message, Type, Value};

use super::call::{Context, answer};
use super::{methods, path, properties, table};
use crate::manager::Manager;
use crate::manager::members::Members;
use crate::manager::variables::Environment;
use crate::root::Root;
use crate::search::{Scope, SearchPath};
use crate::testing::Tree;

const SERVICE: &str = "[Unit]\nDescription=S\nDocumentation=man:s(8) http://s\nConditionPathExists=|!/x\nAssertUser=root\nRequiresMountsFor=/srv\nStartLimitIntervalSec=5\n\
    [Service]\nType=oneshot\nExecStart=-:/bin/a \"b c\"\nExecStart=!/bin/b\nUser=u\nLimitNOFILE=1:2\nLimitCORE=infinity\nEnvironment=A=b\nEnvironmentFile=-/e\nNice=-3\n\
    SystemCallFilter=~@mount bpf\nCapabilityBoundingSet=CAP_KILL\nSuccessExitStatus=3 TERM\nUMask=077\nMemoryMax=1G\nCPUQuota=20%\nTasksMax=10%\nDeviceAllow=/dev/null rw\n\
    BindPaths=/a:/b\nTimeoutStopSec=infinity\nRuntimeDirectory=r\nKillSignal=INT\nOOMScoreAdjust=5\nProtectSystem=strict\nPrivateTmp=yes\nRestrictAddressFamilies=AF_UNIX\n\
    IOSchedulingClass=idle\nCPUSchedulingPolicy=batch\nSyslogLevel=info\nSecureBits=noroot\nMountFlags=shared\nCPUAffinity=0\nRestrictNamespaces=yes\n[Install]\nWantedBy=multi-user.target\n";

fn manager() -> (Tree, Manager) {
    let tree = Tree::new("bus");
    tree.unit("s.service", SERVICE);
    tree.unit("s.socket", "[Socket]\nListenStream=/run/s\nListenDatagram=[::1]:5\nSocketMode=0600\nAccept=yes\nBacklog=7\n");
    tree.unit("s.timer", "[Timer]\nOnCalendar=daily\nOnBootSec=5\nPersistent=yes\n");
    tree.unit("s.path", "[Path]\nPathChanged=/x\nDirectoryNotEmpty=/y\n");
    tree.unit("srv.mount", "[Mount]\nWhat=/dev/x\nWhere=/srv\nType=ext4\nOptions=ro\n");
    tree.unit("srv.automount", "[Automount]\nWhere=/srv\n");
    tree.unit("x.swap", "[Swap]\nWhat=/x\n");
    tree.unit("t.target", "[Unit]\nWants=s.service\n");
    tree.unit("t.slice", "[Slice]\nMemoryMax=5\n");
    tree.unit("bad.service", "[Service]\n");
    let root: &'static Root = Box::leak(Box::new(Root::open(&tree.path).unwrap()));
    let search = SearchPath::new(root, Scope::System, None, true);
    let manager = Manager::new(root, search, Members::without_groups(), Environment::default()).unwrap();
    // only a manager that runs needs it
    let _ = std::fs::remove_dir("/run/log/hostel");
    (tree, manager)
}

fn call(manager: &mut Manager, path: &str, interface: &str, member: &str, body: Vec<Value>) -> Result<Vec<Value>, String> {
    let message = Message { kind: Kind::Call, ..Message::call(None, path, interface, member, body) };
    answer(manager, &mut Context::default(), &message).map_err(|fault| fault.name.rsplit('.').next().unwrap_or_default().to_owned())
}

const SYSTEMD: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

#[test]
fn every_property_is_of_its_type() {
    let (_tree, mut manager) = manager();
    let units = [
        "s.service",
        "s.socket",
        "s.timer",
        "s.path",
        "srv.mount",
        "srv.automount",
        "x.swap",
        "t.target",
        "t.slice",
        "bad.service",
        "no.service",
        "x.device",
        "a.scope",
    ];
    let mut count = 0;
    for unit in units {
        let path = path::unit(unit);
        for interface in properties::interfaces(&path::object(&path)) {
            for property in table::properties(interface) {
                let full = format!("org.freedesktop.systemd1.{interface}");
                let found = call(&mut manager, &path, PROPERTIES, "Get", vec![Value::text(full), Value::text(property.name)]);
                let Ok(Some(Value::Variant(value))) = found.as_ref().map(|values| values.first()) else {
                    panic!("{unit} {}: {found:?}", property.name)
                };
                assert_eq!(value.of(), Type::single(property.signature).unwrap(), "{unit} {interface}.{}: {value:?}", property.name);
                count += 1;
            }
        }
        let all = call(&mut manager, &path, PROPERTIES, "GetAll", vec![Value::text("")]).unwrap();
        // it goes over the wire and comes back
        let sent = Message { reply_to: Some(1), serial: 1, body: all, ..Message::new(Kind::Return) };
        assert_eq!(Message::decode(&sent.encode()).unwrap(), sent, "{unit}");
    }
    assert!(count > 3000, "{count}");
    let all = call(&mut manager, path::MANAGER, PROPERTIES, "GetAll", vec![Value::text(SYSTEMD)]).unwrap();
    assert!(matches!(&all[0], Value::Array(_, list) if list.len() == table::properties("Manager").count()));
}

#[test]
fn values_are_those_of_the_files() {
    let (_tree, mut manager) = manager();
    let mut get = |interface: &str, unit: &str, name: &str| {
        let interface = Value::text(format!("org.freedesktop.systemd1.{interface}"));
        let found = call(&mut manager, &path::unit(unit), PROPERTIES, "Get", vec![interface, Value::text(name)]).unwrap().remove(0);
        if let Value::Variant(value) = found { *value } else { found }
    };
    assert_eq!(get("Unit", "s.service", "Documentation"), Value::texts(["man:s(8)", "http://s"]));
    assert_eq!(get("Service", "s.service", "LimitNOFILE"), Value::Uint64(2));
    assert_eq!(get("Service", "s.service", "LimitNOFILESoft"), Value::Uint64(1));
    assert_eq!(get("Service", "s.service", "MemoryMax"), Value::Uint64(1 << 30));
    assert_eq!(get("Service", "s.service", "UMask"), Value::Uint32(0o77));
    assert_eq!(get("Service", "s.service", "Nice"), Value::Int32(-3));
    assert_eq!(get("Service", "s.service", "TimeoutStopUSec"), Value::Uint64(u64::MAX));
    assert_eq!(get("Service", "s.service", "SystemCallFilter"), Value::Struct(vec![Value::Bool(false), Value::texts(["@mount", "bpf"])]));
    assert_eq!(get("Service", "s.service", "CapabilityBoundingSet"), Value::Uint64(1 << 5));
    assert_eq!(get("Unit", "s.service", "LoadState"), Value::text("loaded"));
    assert_eq!(get("Unit", "no.service", "LoadState"), Value::text("not-found"));
    assert_eq!(get("Unit", "bad.service", "LoadState"), Value::text("bad-setting"));
    assert_eq!(get("Unit", "s.service", "UnitFileState"), Value::text("disabled"));
    assert_eq!(get("Timer", "s.timer", "Unit"), Value::text("s.service"));
    let pair = |a: &str, b: &str| Value::Struct(vec![Value::text(a), Value::text(b)]);
    assert!(matches!(get("Socket", "s.socket", "Listen"), Value::Array(_, list) if list == [pair("Stream", "/run/s"), pair("Datagram", "[::1]:5")]));
    assert!(matches!(get("Path", "s.path", "Paths"), Value::Array(_, list) if list == [pair("PathChanged", "/x"), pair("DirectoryNotEmpty", "/y")]));
}

#[test]
fn faults_have_systemds_names() {
    let (_tree, mut manager) = manager();
    let mut is = |path: &str, interface: &str, member: &str, body: Vec<Value>| call(&mut manager, path, interface, member, body).unwrap_err();
    let text = |text: &str| Value::text(text);
    let manager = path::MANAGER;
    assert_eq!(is(manager, SYSTEMD, "GetUnit", vec![text("no.service")]), "NoSuchUnit");
    assert_eq!(is(manager, SYSTEMD, "GetUnit", vec![text("no name")]), "InvalidArgs");
    assert_eq!(is(manager, SYSTEMD, "GetUnit", vec![]), "InvalidArgs");
    assert_eq!(is(manager, SYSTEMD, "NoMethod", vec![]), "UnknownMethod");
    assert_eq!(is(manager, "a.b", "GetUnit", vec![text("s.service")]), "UnknownMethod");
    assert_eq!(is("/no", SYSTEMD, "GetUnit", vec![text("s.service")]), "UnknownObject");
    assert_eq!(is(manager, SYSTEMD, "StartUnit", vec![text("no.service"), text("replace")]), "NoSuchUnit");
    assert_eq!(is(manager, SYSTEMD, "StartUnit", vec![text("bad.service"), text("replace")]), "BadUnitSetting");
    assert_eq!(is(manager, SYSTEMD, "StartUnit", vec![text("s.service"), text("never")]), "InvalidArgs");
    assert_eq!(is(manager, SYSTEMD, "StopUnit", vec![text("no.service"), text("replace")]), "NoSuchUnit");
    assert_eq!(is(manager, SYSTEMD, "GetJob", vec![Value::Uint32(9)]), "NoSuchJob");
    assert_eq!(is(manager, SYSTEMD, "EnableUnitFiles", vec![Value::texts(["no.service"]), Value::Bool(false), Value::Bool(false)]), "FileNotFound");
    assert_eq!(is(manager, SYSTEMD, "KExec", vec![]), "NotSupported");
    assert_eq!(is(manager, SYSTEMD, "KillUnit", vec![text("s.service"), text("all"), Value::Int32(0)]), "InvalidArgs");
    assert_eq!(is(manager, SYSTEMD, "GetUnitByPID", vec![Value::Uint32(0)]), "NoUnitForPID");
    assert_eq!(is(manager, PROPERTIES, "Set", vec![text(SYSTEMD), text("LogLevel"), text("debug").boxed()]), "PropertyReadOnly");
    assert_eq!(is(manager, PROPERTIES, "Get", vec![text(SYSTEMD), text("Nothing")]), "UnknownProperty");
    assert_eq!(is(manager, PROPERTIES, "GetAll", vec![text("a.b")]), "UnknownInterface");
    assert_eq!(is("/org/freedesktop/systemd1/job/5", PROPERTIES, "GetAll", vec![text("")]), "UnknownObject");
    let refused = is(manager, SYSTEMD, "StartTransientUnit", vec![text("a.scope"), text("fail"), Value::properties(vec![]), aux()]);
    assert_eq!(refused, "NotSupported");
}

/// `a(sa(sv))` without any.
fn aux() -> Value {
    Value::Array(Type::single("(sa(sv))").unwrap(), Vec::new())
}

/// Every method that only looks gives what its signature says, and links of files are made and taken away.
#[test]
fn results_are_of_their_types() {
    let (tree, mut manager) = manager();
    let types = |values: &[Value]| values.iter().map(|value| value.of().to_string()).collect::<String>();
    let (text, no) = (|text: &str| Value::text(text), Value::Bool(false));
    let names = || Value::texts(["s.service"]);
    let looks: &[(&str, Vec<Value>)] = &[
        ("ListUnits", vec![]),
        ("ListUnitsByPatterns", vec![Value::texts::<&str>([]), Value::texts(["*"])]),
        ("ListUnitsByNames", vec![Value::texts(["s.service", "no.service"])]),
        ("ListJobs", vec![]),
        ("ListUnitFiles", vec![]),
        ("GetUnitFileState", vec![text("s.service")]),
        ("EnableUnitFiles", vec![names(), no.clone(), no.clone()]),
        ("GetUnitFileLinks", vec![text("s.service"), no.clone()]),
        ("DisableUnitFilesWithFlagsAndInstallInfo", vec![names(), Value::Uint64(0)]),
        ("EnableUnitFilesWithFlags", vec![names(), Value::Uint64(0)]),
        ("ReenableUnitFiles", vec![names(), no.clone(), no.clone()]),
        ("DisableUnitFiles", vec![names(), no.clone()]),
        ("LoadUnit", vec![text("s.service")]),
        ("SetEnvironment", vec![Value::texts(["A=b"])]),
        ("Dump", vec![]),
        ("Subscribe", vec![]),
        ("Reload", vec![]),
    ];
    for (name, body) in looks {
        let found = call(&mut manager, path::MANAGER, SYSTEMD, name, body.clone()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(types(&found), methods::find("Manager", name).unwrap().gives, "{name}: {found:?}");
        let link = tree.path.join("etc/systemd/system/multi-user.target.wants/s.service");
        match *name {
            "EnableUnitFiles" | "EnableUnitFilesWithFlags" | "ReenableUnitFiles" => assert!(link.is_symlink(), "{name}"),
            "GetUnitFileLinks" => assert_eq!(found, [Value::texts(["/etc/systemd/system/multi-user.target.wants/s.service"])]),
            "DisableUnitFilesWithFlagsAndInstallInfo" | "DisableUnitFiles" => assert!(!link.is_symlink(), "{name}"),
            _ => {}
        }
    }
    let xml = call(&mut manager, path::MANAGER, "org.freedesktop.DBus.Introspectable", "Introspect", vec![]).unwrap();
    assert!(xml[0].as_text().unwrap().contains("<method name=\"StartUnit\">"), "{xml:?}");
}
