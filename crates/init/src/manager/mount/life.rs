//! Starts, reloads and stops mount units.

use std::time::Instant;

use hostel_sys::clone::{self, WaitStatus};
use hostel_unit::UnitName;

use super::act::{self, Act};
use super::{MountUnit, State, Table};
use crate::command::Command;
use crate::manager::Manager;
use crate::manager::config::{NotifyAccess, Step};
use crate::manager::live::Plain;
use crate::manager::service::{Hands, Order, Role};
use crate::manager::state::{JobResult, Outcome};
use crate::manager::world::{Process, Token, World};
use crate::transaction::JobType;

/// As often as that something is unmounted at one place.
const ROUNDS_MAX: u32 = 32;

impl Manager {
    pub(in crate::manager) fn mount(&mut self, name: &UnitName) -> Option<&mut MountUnit> {
        if let Plain::Mount(mount) = &mut self.units.get_mut(name)?.plain { Some(mount) } else { None }
    }

    /// From now on the table of mounts is watched.
    pub(in crate::manager) fn watch_mounts(&mut self) {
        if self.mounts.is_some() {
            return;
        }
        match Table::watch() {
            Ok(table) => {
                if self.shared.poller.want(Token::Mounts, &table, hostel_process::event::Interest::READ).is_ok() {
                    self.mounts = Some(table);
                }
            }
            Err(e) => self.tell(&format!("watch the table of mounts: {e}")),
        }
    }

    fn set_mount(&mut self, name: &UnitName, state: State, result: Outcome) {
        if let Some(mount) = self.mount(name) {
            mount.state = state;
            mount.result = result;
            if !matches!(state, State::Mounting | State::Remounting | State::Unmounting) {
                mount.deadline = None;
            }
        }
        self.changed.push_back(name.clone());
    }

    /// Begins to mount.
    pub(in crate::manager) fn start_mount(&mut self, name: &UnitName) {
        let Some(mount) = self.mount(name) else { return };
        mount.rounds = 0;
        if mount.config.what.is_empty() {
            self.complain(name, Some("it has no file that says what is to be mounted".to_owned()));
            return self.set_mount(name, State::Failed, Outcome::Resources);
        }
        self.set_mount(name, State::Mounting, Outcome::Success);
        self.mount_act(name, Act::Mount);
    }

    /// Begins to mount it again with its options; false: it is not there.
    pub(in crate::manager) fn remount(&mut self, name: &UnitName) -> bool {
        if self.mount(name).is_none_or(|mount| mount.state != State::Mounted || mount.config.what.is_empty()) {
            return false;
        }
        self.set_mount(name, State::Remounting, Outcome::Success);
        self.mount_act(name, Act::Remount);
        true
    }

    /// Begins to unmount.
    pub(in crate::manager) fn stop_mount(&mut self, name: &UnitName) {
        let Some(mount) = self.mount(name) else { return };
        match mount.state {
            State::Mounted => {
                mount.rounds = 0;
                self.set_mount(name, State::Unmounting, Outcome::Success);
                self.mount_act(name, Act::Unmount);
            }
            State::Mounting | State::Remounting => self.end_mount_process(name, Outcome::Success),
            _ => {}
        }
    }

    /// What mounts is ended; what it has done until then counts.
    fn end_mount_process(&mut self, name: &UnitName, result: Outcome) {
        let Some(mount) = self.mount(name) else { return };
        mount.deadline = None;
        mount.result = if mount.result == Outcome::Success { result } else { mount.result };
        let pid = mount.control;
        if let (Some(pid), Some(live)) = (pid, self.units.get_mut(name)) {
            let mut world = World { rest: &mut live.rest, shared: &mut self.shared, access: NotifyAccess::None };
            world.signal(pid, 9);
        }
    }

    /// It has taken too long.
    pub(in crate::manager) fn mount_late(&mut self, name: &UnitName) {
        self.shared.log.own(Some(name.as_str()), "Mounting timed out. Killing.");
        self.end_mount_process(name, Outcome::Timeout);
    }

    /// Makes the process that does it.
    fn mount_act(&mut self, name: &UnitName, act: Act) {
        let Some(live) = self.units.get_mut(name) else { return };
        let Plain::Mount(mount) = &mut live.plain else { return };
        mount.deadline = mount.config.timeout.and_then(|limit| Instant::now().checked_add(limit));
        mount.rounds += 1;
        let made = if act != Act::Unmount && live.rest.context.is_some() {
            let command = Command { program: "/bin/mount".to_owned(), argv: mount.config.words(act), literal: true, ..Command::default() };
            let mut world = World { rest: &mut live.rest, shared: &mut self.shared, access: NotifyAccess::None };
            world.renew();
            act::prepare(&mount.config).map_err(|(object, e)| format!("mount {object}: {e}")).and_then(|()| {
                let (result, step) = (mount.result, Step::StartPre);
                world.spawn(&Order { role: Role::Control, step, command: &command, confirm: false, main: None, result, ended: None, watchdog: None })
            })
        } else {
            child(act, &mount.config).map(|(pid, process)| {
                self.shared.processes.insert(pid, Process { unit: name.clone(), ..process });
                pid
            })
        };
        match made {
            Ok(pid) => mount.control = Some(pid),
            Err(why) => {
                self.complain(name, Some(why));
                self.mount_failed(name, Outcome::Resources);
            }
        }
    }

    /// The process has ended.
    pub(in crate::manager) fn mount_ended(&mut self, name: &UnitName, pid: i32, end: WaitStatus) {
        let Some(mount) = self.mount(name).filter(|mount| mount.control == Some(pid)) else { return };
        mount.control = None;
        mount.deadline = None;
        let (state, place, rounds) = (mount.state, mount.config.place.clone(), mount.rounds);
        let points = super::points();
        let is_there = points.as_ref().is_ok_and(|points| points.contains(&place));
        let good = matches!(end, WaitStatus::Exited(0));
        let result = match mount.result {
            Outcome::Success if !good => {
                if matches!(end, WaitStatus::Exited(_)) {
                    Outcome::ExitCode
                } else {
                    Outcome::Signal
                }
            }
            // nobody knows whether it is there
            Outcome::Success if points.is_err() => Outcome::Resources,
            Outcome::Success if state == State::Mounting && !is_there => Outcome::Protocol,
            other => other,
        };
        if result != Outcome::Success {
            return self.mount_failed(name, result);
        }
        match state {
            State::Mounting => {
                mount.is_ours = true;
                self.set_mount(name, State::Mounted, result);
            }
            State::Unmounting if is_there && rounds < ROUNDS_MAX => self.mount_act(name, Act::Unmount),
            State::Unmounting if !is_there => {
                mount.is_ours = false;
                self.set_mount(name, State::Dead, result);
            }
            State::Unmounting => self.mount_failed(name, Outcome::Protocol),
            _ => self.set_mount(name, State::Mounted, result),
        }
    }

    /// What was asked for was not done: how it is now is what the table says.
    fn mount_failed(&mut self, name: &UnitName, result: Outcome) {
        let Some(mount) = self.mount(name) else { return };
        let (was, place) = (mount.state, mount.config.place.clone());
        // with no table to read it counts as there still
        let is_there = super::points().map_or(true, |points| points.contains(&place));
        let state = if is_there && was != State::Mounting { State::Mounted } else { State::Failed };
        let job = self.units.get(name).and_then(|live| live.job);
        if let Some(id) = job.filter(|_| state == State::Mounted) {
            // it stays as it was, which is no change that would end the job
            self.finish(id, JobResult::Failed);
        }
        self.set_mount(name, state, result);
    }

    /// The table has changed: units are what it says.
    pub(in crate::manager) fn mounts_changed(&mut self) {
        let Some(table) = &self.mounts else { return };
        table.take();
        let points = match super::points() {
            Ok(points) => points,
            // what is not known changes nothing
            Err(e) => return self.tell(&format!("read the table of mounts: {e}")),
        };
        let mut changes = Vec::new();
        for live in self.units.values_mut() {
            let Plain::Mount(mount) = &mut live.plain else { continue };
            if mount.control.is_some() {
                continue;
            }
            match (mount.state, points.contains(&mount.config.place)) {
                (State::Dead | State::Failed, true) => changes.push((live.rest.unit.name.clone(), State::Mounted)),
                (State::Mounted, false) => {
                    mount.is_ours = false;
                    changes.push((live.rest.unit.name.clone(), State::Dead));
                }
                _ => {}
            }
        }
        for (name, state) in changes {
            self.set_mount(&name, state, Outcome::Success);
        }
    }

    /// Starts what an automount unit would start at the first look: nothing here waits for that.
    pub(in crate::manager) fn start_automount(&mut self, name: &UnitName) {
        let Some(live) = self.units.get_mut(name) else { return };
        live.plain = Plain::Automount(true);
        self.changed.push_back(name.clone());
        let mounts: Vec<UnitName> = self.graph.to(name, crate::depend::Relation::Triggers).cloned().collect();
        for mount in mounts {
            if let Err(fault) = self.enqueue(&mount, JobType::Start, crate::transaction::JobMode::Replace) {
                self.complain(name, Some(format!("mount at once what is to be mounted at the first look: {fault}")));
            }
        }
    }
}

/// A process that does it by itself.
fn child(act: Act, config: &super::Config) -> Result<(i32, Process), String> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (report, tell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|e| format!("make a pipe: {e}"))?;
    let args = clone::CloneArgs { flags: clone::CLEAR_SIGHAND, ..clone::CloneArgs::default() };
    match clone::clone3(&args).map_err(|e| format!("make a process: {e}"))? {
        clone::Fork::Parent { pid, pidfd } => {
            let unit = UnitName::parse("-.mount").map_err(|e| e.why.to_owned())?;
            Ok((pid, Process { unit, role: Role::Control, pidfd, report: Some(report), alien: false, confirm: false }))
        }
        clone::Fork::Child => {
            let done = act::run(act, config);
            if let Err((object, e)) = &done {
                let verb = match act {
                    Act::Mount => "mount",
                    Act::Remount => "remount",
                    Act::Unmount => "unmount",
                };
                let _ = rustix::io::write(&tell, format!("{verb} {object}: {e}").as_bytes());
            }
            clone::exit_now(if done.is_ok() { 0 } else { 32 })
        }
    }
}
