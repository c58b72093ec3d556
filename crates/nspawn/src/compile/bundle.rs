//! `--oci-bundle=`: a command line over the machine that a bundle describes. What the bundle decides alone is refused.

use std::path::PathBuf;

use super::Draft;
use crate::doc::{Doc, Entry};
use crate::environment::Environment;
use crate::error::UsageError;
use crate::options::OptionId as Id;

/// Options that may stand beside it. All others, those to come included, are refused: the bundle says how its file systems,
/// namespaces and system calls are.
const BESIDE: &[Id] = &[
    Id::AmbientCapability,
    Id::Bind,
    Id::BindRo,
    Id::Capability,
    Id::Chdir,
    Id::Console,
    Id::CpuAffinity,
    Id::Cpus,
    Id::Directory,
    Id::DropCapability,
    Id::DumpDoc,
    Id::Help,
    Id::Hostname,
    Id::Inaccessible,
    Id::KeepUnit,
    Id::KillSignal,
    Id::Machine,
    Id::Memory,
    Id::NoAskPassword,
    Id::NoNewPrivileges,
    Id::NoPager,
    Id::OciBundle,
    Id::OomScoreAdjust,
    Id::Overlay,
    Id::OverlayRo,
    Id::Personality,
    Id::Pids,
    Id::Pipe,
    Id::Property,
    Id::Quiet,
    Id::ReadOnly,
    Id::Register,
    Id::ResolvConf,
    Id::Rlimit,
    Id::Setenv,
    Id::Settings,
    Id::Slice,
    Id::System,
    Id::Timezone,
    Id::Tmpfs,
    Id::Uid,
    Id::Version,
];

/// The bundle's directory, if the command line names one and asks for nothing else to be shown.
pub fn bundle(doc: &Doc, env: &Environment) -> Option<PathBuf> {
    let has = |id| doc.entries.iter().any(|entry| entry.row.id == id);
    if doc.stopped.is_some() || has(Id::Help) || has(Id::Version) || has(Id::DumpDoc) {
        return None;
    }
    let entry = doc.entries.iter().rfind(|entry| entry.row.id == Id::OciBundle)?;
    let path = entry.value.as_deref().filter(|path| !path.is_empty())?;
    Some(env.cwd.join(path).components().collect())
}

impl Draft<'_> {
    /// The option itself: what it names has been read already.
    pub(super) fn oci_bundle(&self, entry: &Entry, value: &str) -> Result<(), UsageError> {
        if value.is_empty() {
            return Err(UsageError::value(entry.row, value, "it names no directory"));
        }
        match self.spec.bundle {
            Some(_) => Ok(()),
            None => Err(UsageError::Request {
                what: "use --oci-bundle= here",
                why: "only systemd-nspawn's own command line has it",
                hint: Some("`hostel nspawn --oci-bundle=PATH` runs it".into()),
            }),
        }
    }

    /// Refuses what a machine of a bundle does not take.
    pub(super) fn beside_bundle(&self, entry: &Entry) -> Result<(), UsageError> {
        if self.spec.bundle.is_none() || BESIDE.contains(&entry.row.id) {
            return Ok(());
        }
        Err(UsageError::BesideBundle { option: entry.row.name() })
    }

    /// Capabilities added on the command line are the program's, not only the machine's.
    pub(super) fn bundle_privileges(&mut self) {
        let Some(exact) = self.spec.process.exact.as_mut().filter(|_| self.spec.bundle.is_some()) else { return };
        for set in [&mut exact.effective, &mut exact.permitted] {
            *set = set.or(self.spec.security.added).without(self.spec.security.dropped);
        }
        exact.inheritable = exact.inheritable.or(self.spec.process.ambient).without(self.spec.security.dropped);
        exact.permitted = exact.permitted.or(self.spec.process.ambient).without(self.spec.security.dropped);
    }
}
