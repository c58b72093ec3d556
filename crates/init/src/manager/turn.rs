//! One turn of the loop: what happened is told to those it is about.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hostel_process::event::{Interest, Ready};
use hostel_sys::clone::{self, WaitStatus};
use hostel_unit::UnitName;

use super::world::{Process, Token};
use super::{Finished, Manager};

/// When nothing has happened for so long, nothing is likely to happen for longer.
const CALM: Duration = Duration::from_millis(100);
/// Longest report of a process that could not execute its program.
const REPORT_MAX: usize = 512;

impl Manager {
    /// Waits until something happens (at most until `until`) and does what is the manager's part; gives what is others': signals,
    /// sockets.
    pub fn turn(&mut self, until: Option<Instant>) -> std::io::Result<Vec<Ready<Token>>> {
        self.do_all();
        let due = self.due().into_iter().chain(until).min();
        let calm = Instant::now() + CALM;
        let ready: Vec<Ready<Token>> = self.shared.poller.wait(due.into_iter().chain([calm]).min())?.collect();
        if ready.is_empty() && due.is_none_or(|due| due > calm) {
            // what there is then, the next turn finds
            self.shared.poller.sleep(due);
        }
        let mut others = Vec::new();
        for event in ready {
            match event.token {
                Token::Output(number) => self.output(number, false),
                Token::Console => {}
                Token::Report(pid) => self.report(pid),
                Token::Alien(pid) => self.alien(pid),
                Token::Port(number, index) => self.port_ready(number, index),
                Token::Watch(number) => self.watch_woke(number),
                Token::Clock => self.clock_woke(),
                Token::Zone => self.zone_woke(),
                Token::Mounts => self.mounts_changed(),
                Token::Memory => self.memory_woke(),
                Token::Names => self.names_woke(),
                _ => others.push(event),
            }
        }
        self.look_for_pid_files();
        self.elapse();
        self.do_all();
        Ok(others)
    }

    /// Everything that follows from what is known now.
    pub fn do_all(&mut self) {
        self.settle_changes();
        self.run_jobs();
        self.settle_changes();
        for unit in std::mem::take(&mut self.shared.empty_groups) {
            self.shared.members.forget(&unit);
        }
        self.set_clock();
        self.watch_zone();
        self.flush_log();
    }

    /// When something is due.
    fn due(&self) -> Option<Instant> {
        let services = || self.units.values().filter_map(|live| live.service.as_ref());
        let soon = services().filter_map(|s| s.look_again()).map(super::world::soon).min();
        self.units
            .values()
            .filter_map(super::live::Live::due)
            .chain(soon)
            .chain(self.timers_due())
            .chain(self.jobs.values().filter_map(|job| job.until))
            .chain(self.planned.map(|(_, at)| Instant::now() + at.duration_since(std::time::SystemTime::now()).unwrap_or_default()))
            .min()
    }

    fn look_for_pid_files(&mut self) {
        let waiting: Vec<UnitName> =
            self.units.values().filter(|l| l.service.as_ref().is_some_and(|s| s.look_again().is_some())).map(|l| l.name().clone()).collect();
        for name in waiting {
            self.with(&name, |service, world| service.look(world));
        }
    }

    /// A process executed its program, or says why not.
    fn report(&mut self, pid: i32) {
        let Some(process) = self.shared.processes.get_mut(&pid) else { return };
        let Some(report) = process.report.take() else { return };
        self.shared.poller.forget(Token::Report(pid), &report);
        let (unit, confirm) = (process.unit.clone(), process.confirm);
        let why = reason(&report);
        if why.is_none() && confirm {
            self.with(&unit, |service, world| service.executed(world));
        }
        self.complain(&unit, why);
    }

    pub(super) fn complain(&mut self, unit: &UnitName, why: Option<String>) {
        let Some(why) = why else { return };
        if let Some(live) = self.units.get_mut(unit) {
            live.rest.complaint.clone_from(&why);
        }
        self.shared.log.own(Some(unit.as_str()), &why);
    }

    /// A process that is no child of ours ended.
    fn alien(&mut self, pid: i32) {
        let Some(process) = self.shared.processes.get(&pid) else { return };
        // how it ended only new kernels tell of another's child
        let end = clone::pidfd_exit(process.pidfd.as_fd()).ok().flatten().unwrap_or(WaitStatus::Exited(0));
        self.ended(pid, end);
    }

    /// Reaps every child that has ended, ours and orphans.
    pub fn reap(&mut self) {
        let mut strangers = false;
        // a fork bomb does not keep us here for ever
        for _ in 0..10_000 {
            match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_nonzero().get();
                    let end = WaitStatus::from_raw(status.as_raw());
                    if self.shared.processes.contains_key(&pid) {
                        self.ended(pid, end);
                    } else {
                        strangers = true;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        if strangers {
            self.strangers_ended();
        }
    }

    fn ended(&mut self, pid: i32, end: WaitStatus) {
        let Some(process) = self.shared.processes.remove(&pid) else { return };
        let Process { unit, role, pidfd, report, alien, .. } = process;
        if alien {
            self.shared.poller.forget(Token::Alien(pid), &pidfd);
        }
        if let Some(report) = report {
            self.shared.poller.forget(Token::Report(pid), &report);
            let why = reason(&report);
            if why.is_none() {
                self.with(&unit, |service, world| {
                    if service.main == Some(pid) {
                        service.executed(world)
                    }
                });
            }
            self.complain(&unit, why);
        }
        let context = self.units.get(&unit).and_then(|live| live.rest.context.as_ref());
        if let Some(record) = context.and_then(|context| context.terminal.record.as_ref()).filter(|_| role == super::service::Role::Main) {
            record.end(pid, end);
        }
        if matches!(end, WaitStatus::Signaled { signal: 9, .. }) {
            self.look_at_memory(&unit);
        }
        // what it wrote last comes before what is said of its end
        self.drain(&unit, pid);
        if self.socket(&unit).is_some() {
            return self.socket_command_ended(&unit, pid, end);
        }
        if self.mount(&unit).is_some() {
            return self.mount_ended(&unit, pid, end);
        }
        self.with(&unit, |service, world| {
            use super::service::Role;
            let is = match role {
                Role::Main => service.main == Some(pid),
                Role::Control => service.control == Some(pid),
            };
            // a control process that became the main one, or one that was given up
            if is {
                service.ended(role, end, world);
            } else if service.main == Some(pid) {
                service.ended(Role::Main, end, world);
            } else {
                service.other_ended(world);
            }
        });
    }

    /// Reads what a unit wrote; its unfinished line, too, when none of its own processes but the one that ended is left.
    fn drain(&mut self, unit: &UnitName, ended: i32) {
        let Some(live) = self.units.get(unit) else { return };
        let others = live.service.as_ref().is_some_and(|s| s.own().iter().any(|pid| *pid != ended));
        self.output(live.rest.number, !others);
    }

    /// Orphans ended: units that wait for the last of theirs look.
    fn strangers_ended(&mut self) {
        let names: Vec<UnitName> =
            self.units.values().filter(|live| live.service.as_ref().is_some_and(|s| !s.state.active().is_down())).map(|l| l.name().clone()).collect();
        for name in names {
            self.with(&name, |service, world| service.other_ended(world));
        }
    }

    /// Jobs that ended since this was asked last.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    /// Watches a descriptor of a front end.
    pub fn watch(&mut self, token: Token, fd: &impl AsFd) -> std::io::Result<()> {
        Ok(self.shared.poller.want(token, fd, Interest::READ)?)
    }
}

/// What a report says; nothing when the program was executed.
fn reason(report: &std::os::fd::OwnedFd) -> Option<String> {
    let mut buffer = [0u8; REPORT_MAX];
    let n = rustix::io::read(report, &mut buffer).unwrap_or(0);
    let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned();
    (!text.is_empty()).then_some(text)
}
