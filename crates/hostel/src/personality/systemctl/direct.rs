//! Where no manager runs one is begun, for as long as it is needed: `systemctl start` works in any container, beside any init.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use hostel_init::control::client::Client;
use hostel_init::pid1::{LaunchLock, READY};

/// Connects to the manager that runs here, or to one that is begun now.
pub(super) fn connect() -> Result<Client, String> {
    if let Some(client) = Client::connect() {
        return Ok(client);
    }
    let _lock = LaunchLock::wait()?;
    if let Some(client) = Client::connect() {
        return Ok(client);
    }
    let failed = |why: &dyn std::fmt::Display| format!("Failed to start a manager: {why}");
    // what our caller has open is not the manager's to keep, or to pass on
    hostel_sys::proc::cloexec_from(3).map_err(|e| failed(&e))?;
    let mut manager = Command::new("/proc/self/exe")
        .arg0("hostel")
        .args(["init", "--on-demand"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(&e))?;
    let mut said = Vec::new();
    if let Some(mut output) = manager.stdout.take() {
        let _ = output.by_ref().take(READY.len() as u64).read_to_end(&mut said);
    }
    if said != READY {
        return Err(failed(&"it ended at once, for the reason above"));
    }
    Client::connect().ok_or_else(|| failed(&"it does not listen"))
}
