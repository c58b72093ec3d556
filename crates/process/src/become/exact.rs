//! A process whose ids and capability sets are given by number: nothing is looked up but a home, nothing is added.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use hostel_spec::{ExactProcess, OsText, UserSelector};
use hostel_sys::{caps, clone, proc, seccomp};
use rustix::fs::{Mode, OFlags};

use super::{Failure, Process, Ready, already_root, arguments, enter_directory, find_user, limits, name_of, programs, session, text};
use crate::userdb::{self, User};

/// As [`super::confine`]. The filter comes as late as it can: the profile need not allow what comes before it.
pub(super) fn confine(process: &Process<'_>, exact: &ExactProcess) -> Result<Ready, Failure> {
    let spec = process.spec;
    let user = user(process, exact)?;
    session(process)?;
    // As in `super::confine`: a path of the machine may lead to /proc/self/fd/N.
    clone::close_from_but(3 + process.keep, process.until_exec).map_err(|e| Failure::new("close", "descriptors", e))?;
    limits(process)?;
    scheduling(exact)?;
    let directory = spec.cwd.as_deref().unwrap_or(Path::new("/"));
    enter_directory(directory).map_err(|e| Failure::new("enter directory", directory.display().to_string(), e))?;
    let env = environment(process, &user);
    let programs = programs(process, &user, &env);
    let argv = arguments(process)?;
    proc::cloexec_from(3 + process.keep).map_err(|e| Failure::new("close", "descriptors", e))?;
    become_user(process, exact, &user)?;
    rustix::process::umask(Mode::from_raw_mode(exact.umask.unwrap_or(0o022)));
    if process.die_with_parent {
        proc::set_parent_death_signal(9).map_err(|e| Failure::new("tie", "process to its parent", e))?;
    }
    if spec.no_new_privileges {
        proc::set_no_new_privs().map_err(|e| Failure::new("set", "no-new-privileges", e))?;
        capabilities(process, exact)?;
        load(process)?;
    } else {
        // Without no_new_privs it takes CAP_SYS_ADMIN, which the process may not keep.
        load(process)?;
        capabilities(process, exact)?;
    }
    Ok(Ready { program: process.program, no_magic_links: process.no_magic_links, programs, argv, env })
}

fn load(process: &Process<'_>) -> Result<(), Failure> {
    let log = process.spec.exact.as_ref().is_some_and(|exact| exact.log_calls);
    process.filter.map_or(Ok(()), |filter| seccomp::load_logging(filter, log)).map_err(|e| Failure::new("load", "system call filter", e))
}

/// Ids as given; a user asked for by another road is looked up.
fn user(process: &Process<'_>, exact: &ExactProcess) -> Result<User, Failure> {
    if process.spec.user.is_some() {
        return find_user(process);
    }
    let plain =
        User { name: exact.uid.to_string(), uid: exact.uid, gid: exact.gid, groups: exact.groups.clone(), home: "/".into(), shell: "/bin/sh".into() };
    if process.spec.env.iter().any(|entry| name_of(entry.as_bytes()) == b"HOME") {
        return Ok(plain);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(|e| Failure::new("open", "/", e))?;
    // A database that cannot be read says nothing of a home.
    let home = userdb::lookup(&root, &UserSelector::Id(exact.uid)).map_or(plain.home, |known| known.home);
    Ok(User { home, ..plain })
}

/// Later entries win and keep the place of the earlier one.
fn environment(process: &Process<'_>, user: &User) -> Vec<CString> {
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(process.spec.env.len() + 1);
    for entry in process.spec.env.iter().map(OsText::as_bytes) {
        match out.iter_mut().find(|old| name_of(old) == name_of(entry)) {
            Some(old) => *old = entry.to_vec(),
            None => out.push(entry.to_vec()),
        }
    }
    if !out.iter().any(|entry| name_of(entry) == b"HOME") {
        out.push(format!("HOME={}", user.home).into_bytes());
    }
    out.into_iter().filter_map(text).collect()
}

fn scheduling(exact: &ExactProcess) -> Result<(), Failure> {
    if let Some(priority) = exact.io_priority {
        proc::set_io_priority(priority).map_err(|e| Failure::new("set", "I/O priority", e))?;
    }
    if let Some(s) = &exact.scheduler {
        let attributes = proc::SchedulerAttributes {
            policy: s.policy,
            flags: s.flags,
            nice: s.nice,
            priority: s.priority,
            runtime: s.runtime,
            deadline: s.deadline,
            period: s.period,
        };
        proc::set_scheduler(&attributes).map_err(|e| Failure::new("set", "scheduler", e))?;
    }
    Ok(())
}

/// The ids, and all capabilities there are on top of them.
fn become_user(process: &Process<'_>, exact: &ExactProcess, user: &User) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::new("set", "capabilities", e);
    caps::limit_bounding(process.bounding.0).map_err(|e| Failure::new("set", "bounding capabilities", e))?;
    if process.stdio.is_some() && user.uid != 0 {
        for stream in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
            rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(user.uid)), None)
                .map_err(|e| Failure::new("give", "console to the user", e))?;
        }
    }
    caps::keep_over_setuid(true).map_err(failed)?;
    let changed = proc::set_ids(user.uid, user.gid, &user.groups);
    let same = user.uid == 0 && user.gid == 0 && user.groups.is_empty();
    changed.or_else(|e| if same { already_root(e) } else { Err(e) }).map_err(|e| Failure::new("become user", &user.name, e))?;
    let (permitted, _, inheritable) = caps::get().map_err(failed)?;
    // To be able to give up the rest later.
    caps::set(permitted, permitted, inheritable | exact.inheritable.0 & permitted & process.bounding.0).map_err(failed)
}

/// The sets as given, as far as this process has them to give (of the others the plan has said so).
fn capabilities(process: &Process<'_>, exact: &ExactProcess) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::new("set", "capabilities", e);
    let (permitted, _, _) = caps::get().map_err(failed)?;
    let most = permitted & process.bounding.0;
    let (keep, effective, inheritable) = (exact.permitted.0 & permitted, exact.effective.0 & permitted, exact.inheritable.0 & most);
    let ambient = process.spec.ambient.0 & keep & inheritable;
    caps::set(keep, effective, inheritable).map_err(failed)?;
    caps::set_ambient(ambient).map_err(|e| Failure::new("set", "ambient capabilities", e))
}
