//! Drop-ins: `NAME.d/*.conf` in several directories, of which the earlier ones win (systemd.unit(5)).

use std::collections::BTreeMap;

/// Which drop-ins count, and in which order they are read: `(directory, name)`.
///
/// `directories` are the listings, the most important first (/etc before /run before /usr). Of several files of one name only
/// that of the first directory counts; all are ordered by name, whichever directory they are in. An empty file, or a link to
/// /dev/null, counts too: it says nothing, and so hides the less important ones of its name.
pub fn order<S: AsRef<str>>(directories: &[Vec<S>]) -> Vec<(usize, &str)> {
    let mut chosen: BTreeMap<&str, usize> = BTreeMap::new();
    for (directory, names) in directories.iter().enumerate() {
        for name in names.iter().map(AsRef::as_ref).filter(|name| is_dropin(name)) {
            chosen.entry(name).or_insert(directory);
        }
    }
    chosen.into_iter().map(|(name, directory)| (directory, name)).collect()
}

/// Whether a file of this name in a drop-in directory is meant: it ends in `.conf` and is not hidden.
pub fn is_dropin(name: &str) -> bool {
    name.ends_with(".conf") && !name.starts_with('.') && name != ".conf" && !name.contains('/')
}
