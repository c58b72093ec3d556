//! Another name for a container.

use crate::clone::CloneOptions;
use crate::container::Container;
use crate::error::Result;
use crate::store::{Kind, Store};

impl Container {
    /// Makes it a container of another name: a copy, and then it is destroyed. Refused while it runs, has snapshots, or clones that
    /// stand on its files.
    ///
    /// ```no_run
    /// let renamed = hostel_container::Container::new("web", None)?.rename("www")?;
    /// assert_eq!(renamed.name, "www");
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn rename(&mut self, name: &str) -> Result<Container> {
        self.refuse_destroy("rename", false)?;
        // What stands on a ZFS original keeps it from being destroyed.
        let maybe_snapshot = !matches!(self.store()?, Some(Store { kind: Kind::Zfs, .. }));
        let options = CloneOptions { keep_mac: true, maybe_snapshot, ..CloneOptions::default() };
        let made = self.clone_to(name, None, &options)?;
        self.destroy()?;
        Ok(made)
    }
}
