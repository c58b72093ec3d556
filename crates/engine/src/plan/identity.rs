//! Name, environment, and the few files of the host that are brought in.

use std::path::Path;

use hostel_spec::{ConsoleMode, Ephemeral, Hint, MachineName, MachineSpec, OsText, ResolvConf, Timezone, TreeSource, Volatile};
use hostel_sys::mount::Attributes;

use super::steps::{FileChange, HostStep, PayloadStep, Prepared, Source};
use super::{Builder, TreeFacts};
use crate::error::{Error, Result};
use crate::host::{Host, HostTimezone};

/// The machine's name: as given, else the directory's, else the host's.
pub(super) fn name(spec: &MachineSpec, host: &Host, tree: &TreeFacts, random: [u8; 8]) -> Result<MachineName> {
    if let Some(name) = &spec.identity.name {
        return Ok(name.clone());
    }
    let text = match (&tree.given_name, tree.path.file_name()) {
        (Some(given), _) => given.clone(),
        (None, Some(last)) => last.to_string_lossy().into_owned(),
        (None, None) => host.hostname.clone(),
    };
    let own = MachineName::derive(&text)
        .map_err(|_| Error::new("derive", "machine name", format!("nothing of {text:?} can be used")).hint(Hint::GiveName))?;
    match spec.root.ephemeral {
        Ephemeral::No => Ok(own),
        // Several throw-away copies of one tree run side by side.
        _ => {
            let own = own.as_str();
            let name = format!("{}-{:016x}", &own[..own.len().min(MachineName::MAX - 17)], u64::from_le_bytes(random));
            MachineName::new(name).map_err(|e| Error::new("derive", "machine name", e.why))
        }
    }
}

impl Builder<'_> {
    /// What PID 1 finds in its environment before the spec's own entries.
    pub(super) fn environment(&self, console: ConsoleMode) -> Vec<OsText> {
        let mut env: Vec<OsText> = Vec::with_capacity(16);
        env.push(format!("PATH={}", hostel_process::r#become::DEFAULT_PATH).into());
        env.push(format!("container={}", self.container()).into());
        if matches!(console, ConsoleMode::Interactive | ConsoleMode::Passive | ConsoleMode::ReadOnly) && !self.caller.terminal_env.is_empty() {
            env.extend(self.caller.terminal_env.iter().cloned());
        }
        if console == ConsoleMode::Pipe || !env.iter().any(|e| e.as_bytes().starts_with(b"TERM=")) {
            env.retain(|e| !e.as_bytes().starts_with(b"TERM="));
            env.push("TERM=dumb".into());
        }
        env.push(format!("container_uuid={}", self.uuid.dashed()).into());
        env.push("NOTIFY_SOCKET=/run/host/notify".into());
        if !self.host_facts.credentials.is_empty() {
            env.push("CREDENTIALS_DIRECTORY=/run/host/credentials".into());
        }
        if !self.booting() {
            env.push("LANG=C.UTF-8".into());
        }
        if self.caller.listen_fds > 0 {
            env.push(format!("LISTEN_FDS={}", self.caller.listen_fds).into());
            env.push("LISTEN_PID=1".into());
        }
        for (field, value) in &self.host_facts.os_release {
            env.push(format!("container_host_{field}={value}").into());
        }
        env
    }

    /// What `$container` says.
    pub(super) fn container(&self) -> &str {
        self.spec.identity.container.as_deref().unwrap_or("hostel")
    }

    /// resolv.conf and localtime.
    pub(super) fn integration(&mut self) -> Result<()> {
        if self.own_resolver() {
            // Written from the address the machine gets.
        } else if let Some(change) = self.resolv_conf()? {
            self.payload.push(PayloadStep::ResolvConf(change));
        }
        if let Some(change) = self.timezone() {
            self.payload.push(PayloadStep::Timezone(change));
        }
        Ok(())
    }

    pub(super) fn tree_is_read_only(&self) -> bool {
        self.spec.root.read_only || self.tree.read_only || self.spec.root.volatile == Volatile::State
    }

    fn bind_file(&mut self, path: &Path) -> FileChange {
        let slot = self.slot();
        self.beside.push(HostStep::Prepare(
            slot,
            Prepared::Clone {
                source: Source::Path(path.into()),
                recursive: false,
                attributes: Attributes::RDONLY.or(Attributes::NOSUID).or(Attributes::NODEV),
            },
        ));
        FileChange::Bind(slot)
    }

    fn resolv_conf(&mut self) -> Result<Option<FileChange>> {
        use ResolvConf::*;
        let mode = self.spec.integration.resolv_conf;
        if mode == Off || (mode == Auto && (self.own_network() || self.tree.own.resolver)) {
            return Ok(None);
        }
        if mode == Delete {
            return Ok(Some(FileChange::Delete));
        }
        if mode == Auto && self.spec.root.tree == TreeSource::Host {
            // The tree has the host's file already; a link into the host's /run is led to a copy by the engine.
            return Ok(self.host_facts.resolv_conf.as_ref().map(|r| FileChange::Through(r.content.clone())));
        }
        let Some(source) = self.host_facts.resolv_conf.clone() else {
            return match mode {
                Auto if self.tree_is_read_only() => Ok(None),
                Auto => Ok(Some(FileChange::Delete)),
                _ => {
                    self.notices.push("the host has no resolv.conf of the kind asked for; the tree's own is left".into());
                    Ok(None)
                }
            };
        };
        Ok(Some(match mode {
            CopyHost | CopyStatic | CopyUplink | CopyStub => FileChange::Copy(source.content),
            ReplaceHost | ReplaceStatic | ReplaceUplink | ReplaceStub => FileChange::Replace(source.content),
            BindHost | BindStatic | BindUplink | BindStub => self.bind_file(&source.path),
            _ if self.tree_is_read_only() => self.bind_file(&source.path),
            _ if self.tree.own.kept => FileChange::Marked(source.content),
            _ => FileChange::Copy(source.content),
        }))
    }

    fn timezone(&mut self) -> Option<FileChange> {
        let mode = self.spec.integration.timezone;
        let source = Path::new("/etc/localtime");
        let copy = || std::fs::read(source).ok().map(FileChange::Replace);
        match (mode, self.host_facts.timezone.clone()?) {
            (Timezone::Off, _) => None,
            (Timezone::Delete, _) => Some(FileChange::Delete),
            (Timezone::Auto, _) if self.spec.root.tree == TreeSource::Host || self.tree.own.localtime => None,
            (Timezone::Auto, HostTimezone::Missing) if self.tree_is_read_only() => None,
            (Timezone::Auto, HostTimezone::Missing) => Some(FileChange::Delete),
            (Timezone::Bind, _) => Some(self.bind_file(source)),
            (Timezone::Auto, _) if self.tree_is_read_only() => Some(self.bind_file(source)),
            (Timezone::Copy, _) | (Timezone::Auto, HostTimezone::File) => copy(),
            (Timezone::Symlink | Timezone::Auto, HostTimezone::Zone(zone)) => {
                let fallback = match self.bind_file(source) {
                    FileChange::Bind(slot) => Some(slot),
                    _ => None,
                };
                Some(FileChange::Link(format!("../usr/share/zoneinfo/{zone}"), fallback))
            }
            (Timezone::Symlink, _) => None,
        }
    }
}
