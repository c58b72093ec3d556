//! What may be called: every method of systemd 252's manager, units and jobs, with its types and what becomes of it here.

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Yes,
    /// It is answered with NotSupported, and why.
    No(&'static str),
}

/// One method: interface by the last part of its name, name, arguments, result.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// `Manager`, `Unit`, …
    pub interface: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Signature of its arguments.
    pub takes: &'static str,
    /// Signature of its result.
    pub gives: &'static str,
    /// What becomes of it.
    pub done: Done,
}

const NOT_YET: Done = Done::No("not implemented yet");
const IMAGES: Done = Done::No("images are not mounted into running units here");
const KERNEL: Done = Done::No("a machine has no kernel of its own");
const ROOT: Done = Done::No("a machine keeps its root");

type Row = (&'static str, &'static str, &'static str, Done);

#[rustfmt::skip]
const MANAGER: &[Row] = &[
    ("GetUnit", "s", "o", Done::Yes), ("GetUnitByPID", "u", "o", Done::Yes), ("GetUnitByInvocationID", "ay", "o", Done::Yes),
    ("GetUnitByControlGroup", "s", "o", Done::Yes), ("LoadUnit", "s", "o", Done::Yes),
    ("StartUnit", "ss", "o", Done::Yes), ("StartUnitWithFlags", "sst", "o", Done::Yes), ("StartUnitReplace", "sss", "o", Done::Yes),
    ("StopUnit", "ss", "o", Done::Yes), ("ReloadUnit", "ss", "o", Done::Yes), ("RestartUnit", "ss", "o", Done::Yes),
    ("TryRestartUnit", "ss", "o", Done::Yes), ("ReloadOrRestartUnit", "ss", "o", Done::Yes), ("ReloadOrTryRestartUnit", "ss", "o", Done::Yes),
    ("EnqueueUnitJob", "sss", "uososa(uosos)", Done::Yes), ("KillUnit", "ssi", "", Done::Yes), ("CleanUnit", "sas", "", Done::Yes),
    ("FreezeUnit", "s", "", Done::Yes), ("ThawUnit", "s", "", Done::Yes), ("ResetFailedUnit", "s", "", Done::Yes),
    ("SetUnitProperties", "sba(sv)", "", Done::Yes), ("BindMountUnit", "sssbb", "", NOT_YET), ("MountImageUnit", "sssbba(ss)", "", IMAGES),
    ("RefUnit", "s", "", Done::Yes), ("UnrefUnit", "s", "", Done::Yes), ("StartTransientUnit", "ssa(sv)a(sa(sv))", "o", Done::Yes),
    ("GetUnitProcesses", "s", "a(sus)", Done::Yes), ("AttachProcessesToUnit", "ssau", "", NOT_YET), ("AbandonScope", "s", "", NOT_YET),
    ("GetJob", "u", "o", Done::Yes), ("GetJobAfter", "u", "a(usssoo)", Done::Yes), ("GetJobBefore", "u", "a(usssoo)", Done::Yes),
    ("CancelJob", "u", "", Done::Yes), ("ClearJobs", "", "", Done::Yes), ("ResetFailed", "", "", Done::Yes), ("SetShowStatus", "s", "", NOT_YET),
    ("ListUnits", "", "a(ssssssouso)", Done::Yes), ("ListUnitsFiltered", "as", "a(ssssssouso)", Done::Yes),
    ("ListUnitsByPatterns", "asas", "a(ssssssouso)", Done::Yes), ("ListUnitsByNames", "as", "a(ssssssouso)", Done::Yes),
    ("ListJobs", "", "a(usssoo)", Done::Yes), ("Subscribe", "", "", Done::Yes), ("Unsubscribe", "", "", Done::Yes), ("Dump", "", "s", Done::Yes),
    ("DumpUnitsMatchingPatterns", "as", "s", Done::Yes), ("Reload", "", "", Done::Yes), ("Reexecute", "", "", Done::Yes),
    ("Exit", "", "", Done::Yes), ("Reboot", "", "", Done::Yes), ("PowerOff", "", "", Done::Yes), ("Halt", "", "", Done::Yes),
    ("KExec", "", "", KERNEL), ("SwitchRoot", "ss", "", ROOT), ("SetEnvironment", "as", "", Done::Yes), ("UnsetEnvironment", "as", "", Done::Yes),
    ("UnsetAndSetEnvironment", "asas", "", Done::Yes), ("EnqueueMarkedJobs", "", "ao", NOT_YET),
    ("ListUnitFiles", "", "a(ss)", Done::Yes), ("ListUnitFilesByPatterns", "asas", "a(ss)", Done::Yes), ("GetUnitFileState", "s", "s", Done::Yes),
    ("EnableUnitFiles", "asbb", "ba(sss)", Done::Yes), ("DisableUnitFiles", "asb", "a(sss)", Done::Yes),
    ("EnableUnitFilesWithFlags", "ast", "ba(sss)", Done::Yes), ("DisableUnitFilesWithFlags", "ast", "a(sss)", Done::Yes),
    ("DisableUnitFilesWithFlagsAndInstallInfo", "ast", "ba(sss)", Done::Yes), ("ReenableUnitFiles", "asbb", "ba(sss)", Done::Yes),
    ("LinkUnitFiles", "asbb", "a(sss)", Done::Yes), ("PresetUnitFiles", "asbb", "ba(sss)", Done::Yes),
    ("PresetUnitFilesWithMode", "assbb", "ba(sss)", Done::Yes), ("MaskUnitFiles", "asbb", "a(sss)", Done::Yes),
    ("UnmaskUnitFiles", "asb", "a(sss)", Done::Yes), ("RevertUnitFiles", "as", "a(sss)", Done::Yes),
    ("SetDefaultTarget", "sb", "a(sss)", Done::Yes), ("GetDefaultTarget", "", "s", Done::Yes),
    ("PresetAllUnitFiles", "sbb", "a(sss)", Done::Yes), ("AddDependencyUnitFiles", "asssbb", "a(sss)", Done::Yes),
    ("GetUnitFileLinks", "sb", "as", Done::Yes), ("SetExitCode", "y", "", Done::Yes),
    ("LookupDynamicUserByName", "s", "u", Done::Yes), ("LookupDynamicUserByUID", "u", "s", Done::Yes), ("GetDynamicUsers", "", "a(us)", Done::Yes),
];

/// Methods of a unit: those of the manager that take its name first.
#[rustfmt::skip]
const UNIT: &[(&str, &str)] = &[
    ("Start", "StartUnit"), ("Stop", "StopUnit"), ("Reload", "ReloadUnit"), ("Restart", "RestartUnit"), ("TryRestart", "TryRestartUnit"),
    ("ReloadOrRestart", "ReloadOrRestartUnit"), ("ReloadOrTryRestart", "ReloadOrTryRestartUnit"), ("EnqueueJob", "EnqueueUnitJob"),
    ("Kill", "KillUnit"), ("ResetFailed", "ResetFailedUnit"), ("SetProperties", "SetUnitProperties"), ("Ref", "RefUnit"), ("Unref", "UnrefUnit"),
    ("Clean", "CleanUnit"), ("Freeze", "FreezeUnit"), ("Thaw", "ThawUnit"),
];

fn row(interface: &'static str, (name, takes, gives, done): Row) -> Method {
    Method { interface, name, takes, gives, done }
}

/// The method of the manager that a unit's own stands for.
pub fn of_manager(unit_method: &str) -> Option<&'static str> {
    UNIT.iter().find(|(own, _)| *own == unit_method).map(|(_, manager)| *manager)
}

/// Every method of every interface.
pub fn all() -> impl Iterator<Item = Method> {
    let manager = MANAGER.iter().map(|r| row("Manager", *r));
    let unit = UNIT.iter().filter_map(|(own, manager)| {
        let (_, takes, gives, done) = *MANAGER.iter().find(|(name, ..)| name == manager)?;
        Some(row("Unit", (own, takes.get(1..)?, gives, done)))
    });
    let kinds = ["Service", "Socket", "Mount", "Swap", "Scope", "Slice"];
    let processes = kinds.into_iter().map(|kind| row(kind, ("GetProcesses", "", "a(sus)", Done::Yes)));
    let job = [("Cancel", "", "", Done::Yes), ("GetAfter", "", "a(usssoo)", Done::Yes), ("GetBefore", "", "a(usssoo)", Done::Yes)];
    manager.chain(unit).chain(processes).chain(job.into_iter().map(|r| row("Job", r)))
}

/// One method.
pub fn find(interface: &str, name: &str) -> Option<Method> {
    all().find(|method| method.interface == interface && method.name == name)
}

#[cfg(test)]
mod tests {
    use hostel_ipc::dbus::Type;

    use super::*;

    #[test]
    fn signatures_are_signatures() {
        for method in all() {
            assert!(Type::all(method.takes).is_ok() && Type::all(method.gives).is_ok(), "{method:?}");
        }
        assert_eq!(find("Unit", "Kill").unwrap().takes, "si");
        assert!(find("Manager", "Kill").is_none());
        assert_eq!(all().filter(|m| m.interface == "Unit").count(), UNIT.len());
    }
}
