//! One machine from start to end, reboots included: find the tree, plan, claim the name, launch, watch, take away.

use std::os::fd::AsFd;

use hostel_spec::MachineSpec;
use hostel_sys::clone;

use super::launch::{self, Launched};
use super::prepare::Made;
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::plan::{self, Caller, Plan};
use crate::registry::{Claim, MachineState, Origin, Phase, ProcessId, Registry};
use crate::tree;

/// What a session needs besides the spec.
pub struct Session<'a> {
    /// Where machines are registered.
    pub registry: &'a Registry,
    /// What the calling process knows of itself.
    pub caller: Caller,
    /// What started it.
    pub origin: Origin,
    /// The caller's own `$NOTIFY_SOCKET`.
    pub notify_socket: Option<String>,
    /// Keep a console log (machines in the background, and booted ones).
    pub log: bool,
    /// Told what happens, to be printed or not.
    pub talk: &'a mut dyn FnMut(Talk<'_>),
}

/// What a session has to say.
#[derive(Debug)]
pub enum Talk<'a> {
    /// The plan is made; nothing has changed yet.
    Planned(&'a Plan),
    /// PID 1 has been executed.
    Started(&'a Plan, &'a Launched),
    /// Something is not as asked, but the machine runs.
    Notice(&'a str),
    /// It ended, or is about to start again.
    Ended(&'a Plan, &'a str),
    /// Something could not be taken away.
    Left(&'a Error),
}

/// Finds everything out and plans; changes nothing.
pub fn plan_of(spec: &MachineSpec, caller: &Caller) -> Result<(Plan, Host, Option<std::os::fd::OwnedFd>)> {
    let host = Host::capture(spec)?;
    let (facts, tree) = tree::find(spec)?;
    let plan = plan::plan(spec, &host, &facts, caller)?;
    Ok((plan, host, tree))
}

/// Runs a machine to its end. Returns the exit status for the caller.
pub fn run(spec: &MachineSpec, mut session: Session<'_>) -> Result<u8> {
    let (plan, host, tree) = plan_of(spec, &session.caller)?;
    (session.talk)(Talk::Planned(&plan));
    let mut claim = session.registry.claim(&plan.name)?;
    let mut made = Made::with_tree(plan.tree.path.clone(), tree);
    let status = loop {
        match one_life(&plan, &host, &mut session, &mut claim, &mut made) {
            Ok(Ending::Exit(status)) => break status,
            Ok(Ending::Again) => {}
            Err(error) => {
                made.remove_temporary();
                claim.undo_all();
                if let Err(left) = claim.release() {
                    (session.talk)(Talk::Left(&left.into()));
                }
                return Err(error);
            }
        }
    };
    for error in made.remove_temporary() {
        (session.talk)(Talk::Left(&error));
    }
    claim.forget();
    claim.release()?;
    Ok(status)
}

enum Ending {
    Exit(u8),
    Again,
}

fn one_life(plan: &Plan, host: &Host, session: &mut Session<'_>, claim: &mut Claim, made: &mut Made) -> Result<Ending> {
    let launched = launch::launch(plan, &host.cgroups, made, claim)?;
    (session.talk)(Talk::Started(plan, &launched));
    let status = clone::wait_pidfd(launched.pidfd.as_fd(), clone::WAIT_EXITED).context("wait for", "payload")?;
    if let Some(cgroup) = made.cgroup.take() {
        cgroup.remove().map_err(|e| Error::new("remove", "cgroup", e))?;
    }
    let _ = (MachineState::new as fn(_, ProcessId) -> _, Phase::Running);
    made.next_life();
    Ok(Ending::Exit(status.map_or(1, |s| s.shell_code() as u8)))
}
