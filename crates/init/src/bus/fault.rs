//! Errors by systemd's names: clients choose their exit status by them.

use hostel_unit::UnitName;

use super::unit::load_error;
use crate::install::Refusal;
use crate::manager::Manager;
use crate::manager::view::JobFault;
use crate::transaction::Fault as Transaction;

const SYSTEMD: &str = "org.freedesktop.systemd1.";
const DBUS: &str = "org.freedesktop.DBus.Error.";

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Name of the error.
    pub(super) name: String,
    /// For people.
    pub(super) text: String,
}

impl Fault {
    /// One of systemd's own.
    pub(super) fn systemd(name: &str, text: impl Into<String>) -> Fault {
        Fault { name: format!("{SYSTEMD}{name}"), text: text.into() }
    }

    /// One that D-Bus itself has.
    pub(super) fn dbus(name: &str, text: impl Into<String>) -> Fault {
        Fault { name: format!("{DBUS}{name}"), text: text.into() }
    }

    /// Something is known and not done here.
    pub(super) fn unsupported(what: &str, why: &str) -> Fault {
        Fault::dbus("NotSupported", format!("{what}: {why}"))
    }

    /// The arguments make no sense.
    pub(super) fn invalid(text: impl Into<String>) -> Fault {
        Fault::dbus("InvalidArgs", text)
    }

    /// It was tried and did not work.
    pub(super) fn failed(text: impl Into<String>) -> Fault {
        Fault::dbus("Failed", text)
    }

    /// A unit that is not in memory.
    pub(super) fn not_loaded(name: &str) -> Fault {
        Fault::systemd("NoSuchUnit", format!("Unit {name} not loaded."))
    }

    /// Why there is no job.
    pub(super) fn of_job(manager: &Manager, fault: &JobFault) -> Fault {
        let fault = match fault {
            JobFault::Ending => return Fault::systemd("TransactionIsDestructive", "The system is being shut down."),
            JobFault::NotLoaded(unit) => return Fault::not_loaded(unit.as_str()),
            JobFault::Fault(fault) => fault,
        };
        let name = match fault {
            Transaction::NotFound(_) => "NoSuchUnit",
            Transaction::Masked(_) => "UnitMasked",
            Transaction::BadSetting(unit) => return of_load(manager, unit).unwrap_or_else(|| Fault::systemd("BadUnitSetting", fault.to_string())),
            Transaction::Load(..) => "LoadFailed",
            Transaction::Refused(_) => "OnlyByDependency",
            Transaction::NoIsolate(_) => "NoIsolation",
            Transaction::NotApplicable(..) => "JobTypeNotApplicable",
            Transaction::Contradiction(..) => "TransactionJobsConflicting",
            Transaction::Cyclic(_) => "TransactionOrderIsCyclic",
            Transaction::Destructive { .. } | Transaction::WouldStop(..) => "TransactionIsDestructive",
        };
        Fault::systemd(name, fault.to_string())
    }

    /// Why unit files were not changed.
    pub(super) fn of_install(refusal: &Refusal) -> Fault {
        let base = |path: &str| path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned();
        match refusal {
            Refusal::Exists(path, None) => Fault::systemd("UnitExists", format!("File {path} already exists.")),
            Refusal::Exists(path, Some(target)) => Fault::systemd("UnitExists", format!("File {path} already exists and is a symlink to {target}.")),
            Refusal::Masked(path) => Fault::systemd("UnitMasked", format!("Unit file {path} is masked.")),
            Refusal::Missing(name) => Fault::dbus("FileNotFound", format!("Unit file {name} does not exist.")),
            Refusal::Dangling(path) => Fault::dbus("FileNotFound", format!("Unit file {} does not exist.", base(path))),
            Refusal::Generated(path) => Fault::systemd("UnitGenerated", format!("Unit {} is transient or generated.", base(path))),
            Refusal::Transient(path) => Fault::systemd("UnitGenerated", format!("Unit {} is transient or generated.", base(path))),
            Refusal::Alias { unit, alias } => Fault::systemd("UnitLinked", format!("Cannot alias {unit} as {alias}.")),
            Refusal::Template { unit, by } => Fault::invalid(format!("{unit}: destination unit {by} is a non-template unit.")),
            Refusal::Name(name) => Fault::invalid(format!("\"{name}\" is not a valid unit name.")),
            Refusal::Wrong(path, why) => Fault::systemd("UnitLinked", format!("Unit {path}: {why}.")),
            Refusal::File(path, errno) => Fault::invalid(format!("File {path}: {errno}")),
            Refusal::Syntax(text) => Fault::systemd("BadUnitSetting", text.as_str()),
            Refusal::Root(error) => Fault::failed(error.to_string()),
        }
    }
}

fn of_load(manager: &Manager, unit: &UnitName) -> Option<Fault> {
    let (name, text) = load_error(manager.unit(unit)?)?;
    Some(Fault::systemd(name, text))
}
