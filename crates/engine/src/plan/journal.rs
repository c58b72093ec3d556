//! Where the machine's journal is written, and how the host finds it (spec/nspawn.md 1.13).

use hostel_spec::{Ephemeral, IdMapping, LinkJournal, TreeSource};
use hostel_sys::mount::Attributes;

use super::Builder;
use super::steps::{BondStep, HostStep, Missing, PayloadStep, Prepared, Source};
use crate::error::{Error, Result};
use crate::journal::{JOURNALS, Place, directory};

impl Builder<'_> {
    pub(super) fn journal(&mut self) -> Result<()> {
        let root = &self.spec.root;
        let Some(facts) = self.host_facts.journal.clone() else { return Ok(()) };
        // What is thrown away has no journal that outlives it.
        if root.ephemeral != Ephemeral::No || root.tree == TreeSource::Host {
            return Ok(());
        }
        let mode = self.spec.integration.journal;
        let path = directory(self.uuid);
        if facts.same_id {
            return self.no_journal("host and machine have the same id", true);
        }
        if facts.mounted {
            return self.no_journal(&format!("{} is a mount point", path.display()), false);
        }
        if mode.is_guest() && self.tree.image.is_some() {
            return self.no_journal("a disk image has no path on the host", false);
        }
        let own = self.tree.path.join(path.strip_prefix("/").unwrap_or(&path));
        match facts.place {
            Place::Other => return self.no_journal(&format!("{} is neither a link nor a directory", path.display()), false),
            Place::Link(target, _) if target == own && (mode.is_guest() || mode == LinkJournal::Auto) => {
                self.payload.push(PayloadStep::JournalDirectory(path));
                return Ok(());
            }
            // Of a tree that has the same id, as a copy has: whoever reads that journal here is not to lose it.
            Place::Link(target, leads) if target != own && (mode == LinkJournal::Auto || leads && mode.is_attempt()) => {
                return self.no_journal(&format!("{} leads to {}", path.display(), target.display()), leads);
            }
            _ if !facts.persistent => return self.no_journal(&format!("the host has no {JOURNALS}"), false),
            _ => {}
        }
        let unwritten = mode.is_attempt() && self.tree_is_read_only();
        if mode.is_guest() && unwritten {
            return self.no_journal("the tree is read-only", false);
        }
        if mode.is_guest() {
            self.host.push(HostStep::LinkJournal { link: path.clone(), target: own, attempt: mode.is_attempt() });
            self.payload.push(PayloadStep::JournalDirectory(path));
            return Ok(());
        }
        self.host.push(HostStep::JournalDirectory(path.clone()));
        let slot = self.slot();
        self.host.push(HostStep::Prepare(
            slot,
            Prepared::Clone { source: Source::Path(path.clone()), recursive: false, attributes: Attributes::NOSUID.or(Attributes::NODEV) },
        ));
        if self.user_namespace() {
            self.bond.push(BondStep::MapMount { slot, mapping: IdMapping::Rootidmap, target: path.clone() });
            self.must_wait();
        }
        let missing = if unwritten { Missing::Skip } else { Missing::MakeDir };
        self.payload.push(PayloadStep::Attach { slot, target: path, missing, read_only: false });
        Ok(())
    }

    /// What was only to be tried is left out, and what was demanded is an error.
    fn no_journal(&mut self, why: &str, tell: bool) -> Result<()> {
        if !self.spec.integration.journal.is_attempt() {
            return Err(Error::new("link", "the machine's journal", why));
        }
        if tell {
            self.notices.push(format!("the machine's journal is not linked: {why}"));
        }
        Ok(())
    }
}
