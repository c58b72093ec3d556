//! The machine that a container is, for who looks at it with hostel.

use hostel_lxc::wire;
use hostel_spec::{MachineName, NameError};

/// The lxcpath whose containers are machines of the same name.
const USUAL: &str = "/var/lib/lxc";

/// What the machine of a container is called: as the container, below the usual lxcpath, else with a hash of where it is.
///
/// ```
/// use hostel_container::machine_name;
/// assert_eq!(machine_name("/var/lib/lxc", "web").unwrap().as_str(), "web");
/// assert_ne!(machine_name("/srv", "web").unwrap(), machine_name("/opt", "web").unwrap());
/// ```
pub fn machine_name(lxcpath: &str, name: &str) -> Result<MachineName, NameError> {
    match MachineName::new(name) {
        Ok(own) if lxcpath == USUAL => Ok(own),
        _ => {
            let derived = MachineName::derive(name)?;
            let hash = wire::hash(format!("{lxcpath}/{name}").as_bytes());
            let short: String = derived.as_str().chars().take(50).collect();
            MachineName::new(format!("{}-{:08x}", short.trim_end_matches(['-', '.']), hash as u32))
        }
    }
}
