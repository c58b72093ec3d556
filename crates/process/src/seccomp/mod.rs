//! System call policies as programs: which calls a machine may make, in the form the kernel loads.
//!
//! ```text
//!  groups.rs (names)      policy.rs (who may what)        emit.rs (how the kernel asks)
//!  table.rs  (numbers) ──► one decision per call   ──────► one BPF program for all architectures
//! ```
//! The programs of the default rules are made by `build.rs` and cost nothing here. With changes by the user the same
//! code runs at the start, in some tens of microseconds. Refinements (`--suppress-sync`, address families) are more
//! `emit::Check`s or a return of errno 0 in `policy::Policy`, not another program: every program stacked on top of
//! another costs the payload time at each call that is not plainly allowed.

mod emit;
mod groups;
mod policy;
mod profile;
pub mod service;
mod table;

#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hostel_spec::{AddressFamilies, CapSet, SyscallFilter, SyscallRule};
pub use hostel_sys::seccomp::Insn;

use emit::{Decision, RET_ALLOW, RET_ERRNO, RET_KILL};
use groups::{GROUPS, bit};
use policy::{Base, Changes, Policy};
pub use table::Arch;
use table::{Call, NONE, find};

mod ready {
    use super::Insn;
    use super::policy::Base;
    use super::table::{Arch, Call};
    include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
}
use ready::{ARCHES, CALLS, READY};

/// Why there is no program for a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Ignoring it would leave allowed what was to be denied.
    #[error("deny system calls {0}: there is no group of this name")]
    UnknownGroup(String),
    /// A profile with more different answers than a program of ours can have, or longer than the kernel takes.
    #[error("filter system calls: {0}")]
    TooLong(&'static str),
    /// The tables know x86-64 and aarch64.
    #[error("filter system calls: no tables for this architecture")]
    Architecture,
}

/// What a filter does with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call is made.
    Allow,
    /// The call is made if its arguments pass; the text says which do.
    Checked(&'static str),
    /// The call fails with this errno.
    Fail(u16),
    /// The process dies of SIGSYS.
    Kill,
}

/// What a name in `--system-call-filter=` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// A group of calls, `@…`.
    Group,
    /// One call, of this or another architecture.
    Call,
}

/// The program for `filter` in a payload whose bounding set is `caps`; `None`: no filter.
///
/// Names no table has are left out, since a call without a name has no number and is refused with ENOSYS anyway, and
/// so are unknown groups to allow; [`unknown_names`] tells the user. An unknown group to *deny* is an error. A denied
/// group denies all its calls (systemd-nspawn drops only groups its own list names, so `~@privileged` does nothing there).
pub fn program(filter: &SyscallFilter, caps: CapSet) -> Result<Option<Cow<'static, [Insn]>>, FilterError> {
    refined(filter, caps, &Refinements::default())
}

/// What a filter does besides saying which calls there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refinements<'a> {
    /// sync(2) and its like succeed without doing anything; O_SYNC and O_DSYNC are refused (EINVAL) by open(2) and openat(2).
    pub suppress_sync: bool,
    /// Families of sockets that socket(2) makes, among those the filter lets through.
    pub families: Option<&'a AddressFamilies>,
}

/// [`program`] with refinements. A profile has none: whoever writes one says all of it.
pub fn refined(filter: &SyscallFilter, caps: CapSet, refinements: &Refinements<'_>) -> Result<Option<Cow<'static, [Insn]>>, FilterError> {
    if let SyscallFilter::Profile(profile) = filter {
        return profile::program(profile).map(|program| Some(program.into()));
    }
    let Some((base, rules)) = parts(filter) else { return Ok(None) };
    let mut changes = resolve(rules)?;
    changes.suppress_sync = refinements.suppress_sync;
    changes.families = refinements.families.map(|f| (f.allow, f.families.clone()));
    if ARCHES.is_empty() {
        return Err(FilterError::Architecture);
    }
    let caps = policy::relevant(base, caps.0);
    if changes == Changes::default()
        && let Some((_, _, program)) = READY.iter().find(|(b, c, _)| *b == base && *c == caps)
    {
        return Ok(Some(Cow::Borrowed(program)));
    }
    let policy = Policy::new(&CALLS, base, caps, &changes);
    Ok(Some(Cow::Owned(emit::program(&policy.sections(&ARCHES), &policy.decisions, RET_KILL))))
}

/// The architectures a filter knows here, the native one first.
pub fn arches() -> &'static [Arch] {
    &ARCHES
}

/// Names of all groups users may write, sorted but for `@known`, which comes first.
pub fn known_groups() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name).filter(|name| name.starts_with('@'))
}

/// The call that has this number on the native architecture.
pub fn native_name(number: u32) -> Option<&'static str> {
    CALLS.iter().find(|call| number != NONE && call.numbers[0] == number).map(|call| call.name)
}

/// What `name` stands for, if anything.
pub fn resolve_name(name: &str) -> Option<Name> {
    if name.starts_with('@') {
        return group_bit(name).map(|_| Name::Group);
    }
    find(&CALLS, name).map(|_| Name::Call)
}

/// Names in the rules of `filter` that stand for nothing, in order, to warn about.
///
/// systemd-nspawn 252 (measured) warns of an unknown group to allow, says nothing of all others, and goes on.
pub fn unknown_names(filter: &SyscallFilter) -> Vec<&str> {
    let rules = parts(filter).map_or(&[][..], |(_, rules)| rules);
    let names = rules.iter().flat_map(|rule| rule.names.iter().map(String::as_str));
    names.filter(|name| resolve_name(name).is_none()).collect()
}

/// What `filter` does with the call `name` on `arch`; `None`: `arch` has no such call, or is none of [`arches`].
pub fn allowed(filter: &SyscallFilter, caps: CapSet, arch: Arch, name: &str) -> Result<Option<Verdict>, FilterError> {
    let column = ARCHES.iter().position(|a| *a == arch);
    let call = find(&CALLS, name);
    let (Some(column), Some(call)) = (column, call) else { return Ok(None) };
    if CALLS[call].numbers[column] == NONE {
        return Ok(None);
    }
    if let SyscallFilter::Profile(profile) = filter {
        return profile::verdict(profile, call).map(Some);
    }
    let Some((base, rules)) = parts(filter) else { return Ok(Some(Verdict::Allow)) };
    let changes = resolve(rules)?;
    let policy = Policy::new(&CALLS, base, caps.0, &changes);
    Ok(Some(verdict(&policy, call, arch)))
}

/// One line for people: how many calls of the native architecture are allowed, checked, refused.
pub fn summary(filter: &SyscallFilter, caps: CapSet) -> Result<String, FilterError> {
    if let SyscallFilter::Profile(profile) = filter {
        return Ok(format!("a profile of {} rules; else {:?}", profile.rules.len(), profile.default));
    }
    let Some((base, rules)) = parts(filter) else { return Ok("none: every system call is allowed".to_owned()) };
    let changes = resolve(rules)?;
    let Some(native) = ARCHES.first() else { return Err(FilterError::Architecture) };
    let policy = Policy::new(&CALLS, base, caps.0, &changes);
    let (mut all, mut checked, mut refused) = (0, 0, 0);
    for (i, _) in on(&CALLS, 0) {
        all += 1;
        match verdict(&policy, i, *native) {
            Verdict::Allow => {}
            Verdict::Checked(_) => checked += 1,
            Verdict::Fail(_) | Verdict::Kill => refused += 1,
        }
    }
    let name = match base {
        Base::Nspawn => "nspawn",
        Base::Machine => "machine",
    };
    Ok(format!(
        "{name}: allow {} of {all} {} system calls, {checked} of them by their arguments; refuse {refused} (EPERM), unknown ones (ENOSYS)",
        all - refused,
        native.name()
    ))
}

fn parts(filter: &SyscallFilter) -> Option<(Base, &[SyscallRule])> {
    match filter {
        SyscallFilter::Nspawn(rules) => Some((Base::Nspawn, rules)),
        SyscallFilter::Machine(rules) => Some((Base::Machine, rules)),
        SyscallFilter::Profile(_) | SyscallFilter::Off => None,
    }
}

fn group_bit(name: &str) -> Option<u64> {
    GROUPS.iter().any(|(group, _)| *group == name).then(|| bit(name))
}

fn resolve(rules: &[SyscallRule]) -> Result<Changes, FilterError> {
    let mut changes = Changes::default();
    for rule in rules {
        for name in &rule.names {
            if !name.starts_with('@') {
                let list = if rule.allow { &mut changes.allow } else { &mut changes.deny };
                list.extend(find(&CALLS, name));
            } else if let Some(group) = group_bit(name) {
                *(if rule.allow { &mut changes.allow_groups } else { &mut changes.deny_groups }) |= group;
            } else if !rule.allow {
                return Err(FilterError::UnknownGroup(name.clone()));
            }
        }
    }
    Ok(changes)
}

/// The calls that have a number in `column`.
fn on(calls: &[Call], column: usize) -> impl Iterator<Item = (usize, &Call)> {
    calls.iter().enumerate().filter(move |(_, call)| call.numbers[column] != NONE)
}

fn verdict(policy: &Policy<'_>, call: usize, arch: Arch) -> Verdict {
    match &policy.decisions[usize::from(policy.of(call, arch))] {
        Decision::Return(RET_ALLOW) => Verdict::Allow,
        Decision::Return(RET_KILL) => Verdict::Kill,
        Decision::Return(value) => Verdict::Fail((value & !RET_ERRNO) as u16),
        Decision::Check(check) => Verdict::Checked(check.what),
        Decision::Wide(_) => Verdict::Checked("by its arguments"),
    }
}
