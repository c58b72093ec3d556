//! Options of our own beside those of systemd-nspawn that say the same: where the two cannot both hold, nothing is dropped.

use hostel_nspawn::options::OptionId as Id;
use hostel_nspawn::{Doc, Origin};
use hostel_spec::{MachineName, MachineSpec, UserNamespace};

use super::{Own, defaults, usage};
use crate::cli::Failure;

/// Refuses what was typed twice in two spellings; `doc` is the command line and nothing else.
pub(super) fn check(own: &mut Own, doc: &Doc) -> Result<(), Failure> {
    let original = typed_of(doc, &[Id::Directory, Id::Image]);
    match (&own.target, &own.tree, &original) {
        (Some(_), Some(_), _) => return Err(usage("boot: the tree was given twice")),
        (Some(target), None, Some(option)) => return Err(usage(format!("combine boot {target} and {option}: the tree was given twice"))),
        (None, Some(_), Some(option)) => return Err(usage(format!("combine --tree and {option}: the tree was given twice"))),
        _ => {}
    }
    if let (Some(_), Some(option)) = (&own.net, typed_of(doc, &defaults::LINKS)) {
        return Err(usage(format!("combine --net= and {option}: say all of the network in one spelling")));
    }
    name(own, doc)
}

/// `--machine=` is `--name`, also beside `--keep`.
fn name(own: &mut Own, doc: &Doc) -> Result<(), Failure> {
    let given = doc.entries.iter().rfind(|e| e.row.id == Id::Machine && matches!(e.origin, Origin::Argv(_)));
    let Some(given) = given.and_then(|e| e.value.as_deref()).and_then(|value| MachineName::new(value).ok()) else { return Ok(()) };
    match &own.name {
        Some(name) if *name != given => Err(usage(format!("combine --name {name} and --machine={given}: a machine has one name"))),
        Some(_) => Ok(()),
        None => {
            own.name = Some(given);
            Ok(())
        }
    }
}

/// `--privileged-users=host` beside an option that demands a user namespace. `spec`: what the dialect made of it.
pub(super) fn users(own: &Own, doc: &Doc, spec: &MachineSpec) -> Result<(), Failure> {
    match typed_of(doc, &[Id::PrivateUsers, Id::PickUsers]) {
        Some(option) if own.host_users && spec.namespaces.user != UserNamespace::Host => {
            Err(usage(format!("combine --privileged-users=host and {option}: there is a user namespace or there is none")))
        }
        _ => Ok(()),
    }
}

/// The last of these options that was typed, as people know it.
fn typed_of(doc: &Doc, ids: &[Id]) -> Option<String> {
    let entry = doc.entries.iter().rfind(|e| ids.contains(&e.row.id) && matches!(e.origin, Origin::Argv(_)))?;
    Some(entry.row.name().to_string())
}
