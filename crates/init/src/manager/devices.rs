//! DeviceAllow= and DevicePolicy= of a service: a program of its group that the kernel asks (systemd.resource-control(5)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostel_process::devices::{Allow, of_service, program};
use hostel_spec::{DeviceAccess, DevicePolicy, DeviceRule, DeviceSelector};
use hostel_sys::bpf::{self, Hook};

use super::sandbox::Sandbox;
use crate::load::Settings;

/// Why the keys have no effect where no program can be had.
pub(super) const NO_PROGRAM: &str = "it has no effect: no program that filters devices can be loaded here (that takes the host's CAP_BPF)";
/// The keys.
pub(super) const KEYS: [&str; 2] = ["DeviceAllow", "DevicePolicy"];
/// So many programs are kept for the next start.
const KEPT_MAX: usize = 32;

/// What a service asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    policy: DevicePolicy,
    rules: Vec<DeviceRule>,
}

impl Asked {
    /// Reads the settings, and what PrivateDevices= and ProtectClock= imply. `None`: everything is allowed.
    pub fn of(s: &Settings, section: &str, sandbox: Option<&Sandbox>, complain: &mut dyn FnMut(String)) -> Option<Box<Asked>> {
        let mut rules = Vec::new();
        for setting in s.of(section, "DeviceAllow") {
            match DeviceRule::parse(setting.text()) {
                Ok(rule) => rules.push(rule),
                Err(why) => complain(format!("DeviceAllow={}: {why}, ignoring", hostel_unit::printable(setting.text()))),
            }
        }
        if s.bool(section, "ProtectClock", false) {
            let access = DeviceAccess { read: true, ..DeviceAccess::default() };
            rules.push(DeviceRule { devices: DeviceSelector::CharGroup("rtc".to_owned()), access });
        }
        let policy = s.text(section, "DevicePolicy").map_or(Some(DevicePolicy::Auto), DevicePolicy::parse).unwrap_or_else(|| {
            complain("DevicePolicy=: it is none of auto, closed, strict, ignoring".to_owned());
            DevicePolicy::Auto
        });
        let closed = policy == DevicePolicy::Auto && sandbox.is_some_and(|of| of.devices);
        let asked = Asked { policy: if closed { DevicePolicy::Closed } else { policy }, rules };
        (asked.policy != DevicePolicy::Auto || !asked.rules.is_empty()).then(|| Box::new(asked))
    }
}

/// Programs that were loaded, by what they allow: the kernel takes 0.3 ms to compile one.
#[derive(Debug, Default)]
pub struct Programs(Vec<(Vec<Allow>, OwnedFd)>);

impl Programs {
    /// Puts what is asked for in the place of what was in force in exactly this group.
    pub fn put(&mut self, asked: Option<&Asked>, group: BorrowedFd<'_>) -> io::Result<()> {
        let before = attached(group, Hook::Device)?;
        let Some(list) = asked.and_then(|asked| of_service(asked.policy, &asked.rules)) else { return replace(group, Hook::Device, None, &before) };
        // what may be in force in this group already is not put there twice
        if !before.is_empty() {
            self.0.retain(|(of, _)| *of != list);
        }
        let known = self.0.iter().position(|(of, _)| *of == list);
        if known.is_none() {
            if self.0.len() >= KEPT_MAX {
                self.0.clear();
            }
            let loaded = bpf::load_program(Hook::Device, &program(&list), "hostel_unit")?;
            self.0.push((list, loaded));
        }
        let new = known.map_or(self.0.last(), |at| self.0.get(at)).map(|(_, loaded)| loaded.as_fd());
        replace(group, Hook::Device, new, &before)
    }
}

/// What is in force in exactly this group.
pub(super) fn attached(group: BorrowedFd<'_>, hook: Hook) -> io::Result<Vec<OwnedFd>> {
    bpf::attached_programs(group, hook, usize::MAX)
}

/// Puts a program in the place of others. All of a group's are asked: until the others are gone only what both allow is allowed.
pub(super) fn replace(group: BorrowedFd<'_>, hook: Hook, new: Option<BorrowedFd<'_>>, before: &[OwnedFd]) -> io::Result<()> {
    if let Some(new) = new {
        bpf::attach_program(group, hook, new)?;
    }
    before.iter().try_for_each(|old| bpf::detach_program(group, hook, old.as_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn what_is_asked_for() {
        let tree = Tree::new("devices");
        let mut said = Vec::new();
        let mut asked = |keys: &str| {
            tree.unit("a.service", &format!("[Service]\nExecStart=/bin/a\n{keys}"));
            let unit = tree.load("a.service");
            let sandbox = Sandbox::of(&unit, &mut |_| ());
            let found = Asked::of(&unit.settings, "Service", sandbox.as_deref(), &mut |text| said.push(text));
            found.map(|asked| (asked.policy, asked.rules.len()))
        };
        assert_eq!(asked(""), None);
        assert_eq!(asked("DevicePolicy=auto"), None);
        assert_eq!(asked("PrivateDevices=yes"), Some((DevicePolicy::Closed, 0)));
        assert_eq!(asked("PrivateDevices=yes\nDevicePolicy=strict"), Some((DevicePolicy::Strict, 0)));
        assert_eq!(asked("ProtectClock=yes"), Some((DevicePolicy::Auto, 1)));
        assert_eq!(asked("DeviceAllow=/dev/null rw\nDeviceAllow=\nDeviceAllow=char-pts\nDeviceAllow=/etc/passwd r"), Some((DevicePolicy::Auto, 1)));
        assert_eq!(asked("DevicePolicy=open"), None);
        assert_eq!(said.len(), 2, "{said:?}");
    }
}
