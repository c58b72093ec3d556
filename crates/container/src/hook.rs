//! Hooks: commands that a configuration names for a moment in a container's life.

use std::process::Command;

use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};

/// Where the root is mounted, unless the configuration has another place.
const ROOTFS_MOUNT: &str = "/usr/lib/x86_64-linux-gnu/lxc/rootfs";

impl Container {
    /// Runs the commands of `lxc.hook.KIND` in their order: told by arguments (name, section, kind, `arguments`), or in version 1 by
    /// variables. The first that fails ends it.
    pub(crate) fn run_hooks(&self, kind: &str, arguments: &[String], variables: &[(&str, &str)]) -> Result<()> {
        for hook in self.values(&format!("lxc.hook.{kind}")) {
            let mut command = Command::new("/bin/sh");
            // Words of the hook's own are words; what we add is not looked at by the shell.
            command.args(["-c", &format!("exec {hook} \"$@\""), hook]);
            if self.value("lxc.hook.version") == Some("1") {
                command.envs([("LXC_HOOK_TYPE", kind), ("LXC_HOOK_SECTION", "lxc"), ("LXC_HOOK_VERSION", "1")]);
            } else {
                command.args([&self.name, "lxc", kind]).env("LXC_HOOK_VERSION", "0");
            }
            command.args(arguments).env("LXC_NAME", &self.name).env("LXC_CONFIG_FILE", self.config_file_name());
            command.env("LXC_ROOTFS_MOUNT", self.value("lxc.rootfs.mount").unwrap_or(ROOTFS_MOUNT));
            command.envs(variables.iter().copied());
            command.envs(self.values("lxc.environment.hooks").filter_map(|one| one.split_once('=')));
            let status = command.status().on("run hook", hook)?;
            if !status.success() {
                return Err(self.error(&format!("run {kind} hook {hook} of"), status, Errno::CANCELED));
            }
        }
        Ok(())
    }
}
