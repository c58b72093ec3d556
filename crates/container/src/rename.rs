//! Another name for a container.

use rustix::io::Errno;

use crate::clone::CloneOptions;
use crate::container::Container;
use crate::error::Result;
use crate::snapshot;

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
        const VERB: &str = "rename";
        self.require_defined(VERB)?;
        self.require_stopped(VERB)?;
        if snapshot::there_are(self) {
            return Err(self.error(VERB, "it has snapshots", Errno::BUSY));
        }
        if !crate::depend::dependents(self).is_empty() {
            return Err(self.error(VERB, "it has clones: they stand on its files", Errno::BUSY));
        }
        let options = CloneOptions { keep_mac: true, maybe_snapshot: true, ..CloneOptions::default() };
        let made = self.clone_to(name, None, &options)?;
        self.destroy()?;
        Ok(made)
    }
}
