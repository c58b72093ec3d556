//! What can be said only when every option is known: the environment, what excludes what, and the defaults that follow.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use hostel_spec::{
    CapName, CapSet, ConsoleMode, Ephemeral, Hint, LinkJournal, MachineSpec, Mount, NetworkMode, OsText, Ownership, Payload, Register, SyscallFilter,
    TreeSource, UnitPlace, UserNamespace, Volatile,
};

use super::Draft;
use super::process::is_variable_name;
use crate::error::UsageError;
use crate::settings::Lookup;

impl Draft<'_> {
    /// Whose settings files to look for; as `decide_tree` will have it, but nothing is refused.
    pub(crate) fn lookup(&self) -> Lookup {
        let name = self.spec.identity.name.clone();
        let directory = self.directory.clone().or_else(|| self.template.clone().filter(|_| self.ephemeral));
        let tree = match (directory, &name) {
            _ if self.image.is_some() => TreeSource::Image(self.image.clone().unwrap_or_default()),
            (Some(path), _) => TreeSource::Directory(path),
            (None, Some(name)) => TreeSource::Named(name.clone()),
            (None, None) => TreeSource::Directory(self.env.cwd.clone()),
        };
        Lookup { mode: self.settings, name, tree }
    }

    pub(super) fn finish(mut self, payload: &[OsString]) -> Result<MachineSpec, UsageError> {
        self.environment()?;
        self.check_cleanup()?;
        self.decide_payload(payload)?;
        self.decide_tree()?;
        self.decide_network()?;
        self.decide_users()?;
        self.check_bound_users()?;
        self.decide_privileges()?;
        self.decide_unit();
        if self.spec.console == ConsoleMode::Pipe {
            // what we say would mix with what the payload says
            self.spec.lifecycle.quiet = true;
        }
        Ok(self.spec)
    }

    /// Without namespaces of its own it is no machine that machined could do something with.
    fn decide_unit(&mut self) {
        if !self.spec.namespaces.pid || !self.spec.namespaces.uts {
            self.spec.unit.register = Register::No;
        }
        if self.spec.unit.place == UnitPlace::Keep
            && let Some(slice) = self.spec.unit.slice.take()
        {
            self.notice(format!("--slice={slice} has no effect with --keep-unit"));
        }
    }

    /// The variables of systemd-nspawn's own environment (table in `environment.rs`).
    fn environment(&mut self) -> Result<(), UsageError> {
        let env = self.env;
        self.shared_namespaces()?;
        if let Some(service) = env.text("SYSTEMD_NSPAWN_CONTAINER_SERVICE")? {
            if !service.bytes().all(|b| b.is_ascii_graphic()) || service.len() > 64 {
                return Err(UsageError::variable("SYSTEMD_NSPAWN_CONTAINER_SERVICE", service, "it is no short word"));
            }
            self.spec.identity.container = Some(service.to_owned());
        }
        self.spec.root.keep_tmp = env.flag("SYSTEMD_NSPAWN_TMPFS_TMP")? == Some(false);
        self.spec.root.skip_os_release_check = env.flag("SYSTEMD_NSPAWN_CHECK_OS_RELEASE")? == Some(false);
        self.spec.root.unlocked = env.flag("SYSTEMD_NSPAWN_LOCK")? == Some(false);
        self.spec.security.suppress_sync |= env.flag("SYSTEMD_SUPPRESS_SYNC")? == Some(true);
        self.without_filter()?;
        self.api_writable()?;
        self.hardware_address()?;
        for (name, when, text) in [
            ("SYSTEMD_NSPAWN_USE_CGNS", false, "the machine has its own cgroup namespace all the same"),
            ("SYSTEMD_LOG_SECCOMP", true, "violations are not logged yet"),
        ] {
            if env.flag(name)? == Some(when) {
                self.notice(format!("${name} has no effect: {text}"));
            }
        }
        Ok(())
    }

    fn check_cleanup(&self) -> Result<(), UsageError> {
        if !self.cleanup {
            return Ok(());
        }
        if self.ephemeral {
            return Err(UsageError::Conflict {
                first: "--cleanup",
                second: "--ephemeral",
                why: "a throw-away machine has a name of its own each time",
            });
        }
        if self.spec.identity.name.is_none() && self.directory.is_none() && self.image.is_none() {
            return Err(UsageError::Request { what: "clean up", why: "nothing says which machine", hint: Some(Hint::GiveName) });
        }
        Ok(())
    }

    fn shared_namespaces(&mut self) -> Result<(), UsageError> {
        let env = self.env;
        if env.flag("SYSTEMD_NSPAWN_SHARE_SYSTEM")? == Some(true) {
            self.share_system();
        }
        let namespaces = &mut self.spec.namespaces;
        for (name, own) in [
            ("SYSTEMD_NSPAWN_SHARE_NS_IPC", &mut namespaces.ipc),
            ("SYSTEMD_NSPAWN_SHARE_NS_PID", &mut namespaces.pid),
            ("SYSTEMD_NSPAWN_SHARE_NS_UTS", &mut namespaces.uts),
        ] {
            if env.flag(name)? == Some(true) {
                *own = false;
            }
        }
        Ok(())
    }

    fn without_filter(&mut self) -> Result<(), UsageError> {
        const NAME: &str = "SYSTEMD_SECCOMP";
        if self.env.flag(NAME)? != Some(false) {
            return Ok(());
        }
        let security = &mut self.spec.security;
        security.syscalls = SyscallFilter::Off;
        if security.address_families.is_some() {
            // a restriction must not be ignored
            return Err(UsageError::variable(NAME, "0", "--restrict-address-families= needs a filter"));
        }
        if std::mem::take(&mut security.suppress_sync) {
            self.notice("--suppress-sync=yes has no effect: it needs a system call filter".to_owned());
        }
        Ok(())
    }

    fn api_writable(&mut self) -> Result<(), UsageError> {
        const NAME: &str = "SYSTEMD_NSPAWN_API_VFS_WRITABLE";
        if self.env.get(NAME).is_some_and(|v| v == "network") {
            if self.spec.network.mode != NetworkMode::Private {
                return Err(UsageError::variable(NAME, "network", "it needs a network of the machine's own").with_hint(Hint::OwnNetwork));
            }
            // a machine with its own network may change its own network settings anyway
            return Ok(());
        }
        self.spec.security.api_writable = self.env.flag(NAME)?.unwrap_or(false);
        if self.spec.security.api_writable && self.spec.namespaces.user != UserNamespace::Host {
            return Err(UsageError::Conflict {
                first: "--private-users=",
                second: "$SYSTEMD_NSPAWN_API_VFS_WRITABLE",
                why: "inside a user namespace they cannot be written",
            });
        }
        Ok(())
    }

    fn decide_payload(&mut self, payload: &[OsString]) -> Result<(), UsageError> {
        if self.boot && self.as_pid2 {
            return Err(UsageError::Conflict { first: "--boot", second: "--as-pid2", why: "an init must be PID 1" });
        }
        let namespaces = &self.spec.namespaces;
        if (self.boot || self.as_pid2) && !(namespaces.pid && namespaces.uts) {
            let first = if self.boot { "--boot" } else { "--as-pid2" };
            return Err(UsageError::Conflict { first, second: "shared namespaces", why: "an init needs process ids and a host name of its own" });
        }
        self.spec.payload = match (self.boot, self.as_pid2) {
            (true, _) => Payload::Boot,
            (_, true) => Payload::CommandAsPid2,
            _ => Payload::Command,
        };
        // options after this come later in the list and so win over words for the init
        let mut env = Vec::new();
        if !payload.is_empty() {
            // A bundle has a program of its own.
            self.spec.process.argv.clear();
        }
        for word in payload {
            if word.as_bytes().contains(&0) {
                return Err(UsageError::Request { what: "run the command", why: "one of its arguments contains a NUL byte", hint: None });
            }
            match variable_for_init(word).filter(|_| self.boot) {
                Some(entry) => env.push(entry),
                None => self.spec.process.argv.push(word.as_os_str().into()),
            }
        }
        env.append(&mut self.spec.process.env);
        self.spec.process.env = env;
        Ok(())
    }

    fn decide_tree(&mut self) -> Result<(), UsageError> {
        if self.spec.bundle.is_some() {
            if let Some(path) = self.directory.take() {
                self.spec.root.tree = TreeSource::Directory(path);
            }
            return Ok(());
        }
        let name = self.spec.identity.name.clone();
        self.check_image()?;
        if self.ephemeral && matches!(self.spec.integration.journal, LinkJournal::Guest | LinkJournal::Host) {
            return Err(UsageError::Conflict {
                first: "--ephemeral",
                second: "--link-journal=",
                why: "the journal of a throw-away copy is thrown away with it",
            });
        }
        if self.ephemeral && self.template.is_some() {
            if self.directory.is_some() {
                return Err(UsageError::Conflict {
                    first: "--ephemeral",
                    second: "--template=",
                    why: "a throw-away copy of the template needs no directory",
                });
            }
            // since 262: `-x --template=X` is `-x -D X`
            self.directory = self.template.take();
        }
        if self.template.is_some() && self.directory.is_none() && name.is_none() {
            return Err(UsageError::Request { what: "copy --template=", why: "nothing says where to", hint: Some(Hint::GiveCopy) });
        }
        if self.directory.is_none() && self.image.is_none() && name.is_none() && !self.env.cwd.is_absolute() {
            return Err(UsageError::Request { what: "use the current directory as the tree", why: "it is gone", hint: Some(Hint::GiveTree) });
        }
        let root = &mut self.spec.root;
        root.ephemeral = if self.ephemeral { Ephemeral::Copy } else { Ephemeral::No };
        root.template = self.template.take();
        root.tree = match (self.directory.take(), name) {
            (Some(path), _) => TreeSource::Directory(path),
            _ if self.image.is_some() => TreeSource::Image(self.image.take().unwrap_or_default()),
            (None, Some(name)) => TreeSource::Named(name),
            (None, None) => TreeSource::Directory(self.env.cwd.clone()),
        };
        if root.tree == TreeSource::Directory(Path::new("/").to_path_buf()) {
            match (self.ephemeral, root.volatile) {
                (_, Volatile::Yes | Volatile::State) => {}
                (true, _) => {
                    // nobody wants the running host copied: the same is had by an overlay
                    root.tree = TreeSource::Host;
                    root.ephemeral = Ephemeral::Overlay;
                }
                _ => {
                    return Err(UsageError::Request {
                        what: "use / as the tree",
                        why: "the machine would share the running host's files",
                        hint: Some(Hint::HostRoot),
                    });
                }
            }
        }
        if matches!(self.spec.root.tree, TreeSource::Directory(_)) && self.spec.root.image.policy.is_some() {
            self.notice("--image-policy= has no effect: the tree is a directory".to_owned());
        }
        if self.spec.mounts.iter().any(is_root_mount) {
            self.spec.root.read_only = true;
        }
        Ok(())
    }

    fn decide_users(&mut self) -> Result<(), UsageError> {
        let user = self.spec.namespaces.user;
        let root = &self.spec.root;
        if self.ownership == Some(Ownership::Chown) && (root.read_only || root.volatile != Volatile::No) {
            let first = if root.volatile == Volatile::No { "--read-only" } else { "--volatile=" };
            return Err(UsageError::Conflict {
                first,
                second: "--private-users-ownership=chown",
                why: "a tree that is not written cannot change owners",
            });
        }
        if user != UserNamespace::Host && self.spec.mounts.iter().any(is_root_mount) {
            if !matches!(self.ownership, None | Some(Ownership::Off)) {
                return Err(UsageError::Conflict {
                    first: "a mount on /",
                    second: "--private-users-ownership=",
                    why: "the tree below it is not seen",
                });
            }
            if matches!(user, UserNamespace::FromTree | UserNamespace::Pick) {
                return Err(UsageError::Conflict {
                    first: "a mount on /",
                    second: "--private-users=",
                    why: "the tree's owner does not say which ids to use; name the range",
                });
            }
        }
        self.spec.namespaces.ownership = match (self.ownership, user) {
            (None, _) | (Some(Ownership::Auto), UserNamespace::Pick | UserNamespace::Host) => Ownership::Auto,
            (Some(Ownership::Auto), _) => Ownership::MapOrChown,
            (Some(other), _) => other,
        };
        Ok(())
    }

    fn decide_privileges(&mut self) -> Result<(), UsageError> {
        let security = &mut self.spec.security;
        security.bounding = security.bounding.or(security.added);
        self.bundle_privileges();
        let security = &self.spec.security;
        if !self.ambient_given {
            return Ok(());
        }
        if self.boot {
            return Err(UsageError::Conflict {
                first: "--ambient-capability=",
                second: "--boot",
                why: "an init runs as root and has its capabilities already",
            });
        }
        // as `adjust_net_caps` will have it
        let reachable = match (self.spec.network.mode, self.spec.namespaces.user) {
            (NetworkMode::Private, _) => security.bounding.or(CapSet::of(&[CapName::NET_ADMIN])),
            (_, UserNamespace::Host) => security.bounding,
            _ => security.bounding.without(CapSet::of(&[CapName::NET_BIND_SERVICE])),
        }
        .without(security.dropped);
        if self.spec.process.ambient.without(reachable) != CapSet::EMPTY {
            return Err(UsageError::Request {
                what: "give --ambient-capability=",
                why: "it names a capability outside the machine's bounding set",
                hint: Some(Hint::AlsoCapability),
            });
        }
        Ok(())
    }
}

fn is_root_mount(mount: &Mount) -> bool {
    mount.target() == Path::new("/")
}

/// `KEY=VALUE` without a dot in KEY, which the kernel too gives its init as a variable, `-` written `_` (systemd 262).
/// What begins with a dash is an argument to init and stays one.
fn variable_for_init(word: &OsString) -> Option<OsText> {
    let text = word.to_str()?;
    let (key, value) = text.split_once('=')?;
    if key.starts_with('-') || key.contains('.') {
        return None;
    }
    let name = key.replace('-', "_");
    is_variable_name(&name).then(|| OsText::from(format!("{name}={value}")))
}
