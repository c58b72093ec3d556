//! What may be asked of the manager: one type for every front end.

use std::time::{SystemTime, UNIX_EPOCH};

use hostel_sys::clone::WaitStatus;
use hostel_unit::{Gather as _, Kind, UnitName};

use super::config::Step;
use super::live::Live;
use super::service::{Run, Service};
use super::state::{Active, JobResult, Outcome};
use super::view::JobFault;
use super::{End, Manager};
use crate::depend::Relation;
use crate::load::LoadState;
use crate::transaction::{Fault, JobMode, JobType};

/// Which processes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Whom {
    Main,
    Control,
    All,
}

/// A question or a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Jobs of units.
    Job(JobType, JobMode, Vec<UnitName>),
    /// A signal.
    Kill(Whom, i32, Vec<UnitName>),
    /// Processes of units are stopped where they are, or go on.
    Freeze(bool, Vec<UnitName>),
    /// What units that are down have kept is removed: which kinds.
    Clean(Vec<String>, Vec<UnitName>),
    /// Limits of a unit are changed: until the end of the boot only, and how.
    SetProperty(bool, UnitName, Vec<String>),
    /// Failures are forgotten; none named: all.
    ResetFailed(Vec<UnitName>),
    /// Unit files are read again.
    Reload,
    /// The manager is executed anew; what runs goes on.
    Reexecute,
    /// How units are, loaded or not.
    Show(Vec<UnitName>),
    /// How all units in memory are.
    List,
    /// Jobs.
    Jobs,
    /// Jobs are taken back; none named: all.
    Cancel(Vec<u32>),
    /// How the manager is.
    Manager,
    /// Variables that units get.
    Environment,
    /// Some are set.
    SetEnvironment(Vec<String>),
    /// Some are taken away.
    UnsetEnvironment(Vec<String>),
    /// The log begins a new file.
    RotateLog,
    /// The machine ends.
    End(End),
    /// It ends without stopping anything.
    EndNow(End),
    /// It ends at this time, in microseconds since 1970.
    EndAt(End, u64),
    /// It does not end at the time that was said.
    EndNot,
}

impl Request {
    /// Whether it changes something: who may look may not do that.
    pub fn changes(&self) -> bool {
        !matches!(self, Request::Show(_) | Request::List | Request::Jobs | Request::Manager | Request::Environment)
    }
}

/// One thing, as names and values.
pub type Record = Vec<(&'static str, String)>;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// systemctl's exit status.
    pub status: u8,
    /// In words.
    pub text: String,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or will be: nothing more to say.
    Done,
    /// What was asked for.
    Records(Vec<Record>),
    /// For each unit the job that was made, or why none was.
    Jobs(Vec<(UnitName, Result<u32, Refusal>)>),
    /// It was not done, or not all of it.
    Refused(Refusal),
}

impl Manager {
    /// Does what is asked.
    pub fn ask(&mut self, request: Request) -> Answer {
        match request {
            Request::Job(kind, mode, units) => Answer::Jobs(units.into_iter().map(|unit| self.job(kind, mode, unit)).collect()),
            Request::Kill(whom, signal, units) => self.kill(whom, signal, &units),
            Request::Freeze(frozen, units) => self.freeze(frozen, &units),
            Request::Clean(what, units) => self.clean(&what, &units),
            Request::SetProperty(runtime, unit, pairs) => self.set_property(runtime, &unit, &pairs),
            Request::ResetFailed(units) => self.reset_failed(&units),
            Request::Reload => match self.reload() {
                Ok(()) => Answer::Done,
                Err(text) => Answer::Refused(Refusal { status: 1, text }),
            },
            Request::Reexecute => match self.ask_handover() {
                Ok(()) => Answer::Done,
                Err(text) => Answer::Refused(Refusal { status: 1, text }),
            },
            Request::Show(units) => Answer::Records(units.iter().map(|name| self.show(name)).collect()),
            Request::List => {
                let kept = self.kept();
                let one = |live: &Live| {
                    let mut record = self.record(live);
                    if !kept.contains(live.name()) {
                        record.push(("Forgotten", "yes".to_owned()));
                    }
                    record
                };
                Answer::Records(self.units.values().map(one).collect())
            }
            Request::Jobs => Answer::Records(self.jobs.values().map(job_record).collect()),
            Request::Cancel(ids) => {
                let all: Vec<u32> = if ids.is_empty() { self.jobs.keys().copied().collect() } else { ids };
                if let Some(missing) = all.iter().find(|id| !self.jobs.contains_key(id)) {
                    return Answer::Refused(Refusal { status: 1, text: format!("Job {missing} does not exist.") });
                }
                all.into_iter().for_each(|id| self.finish(id, JobResult::Canceled));
                Answer::Done
            }
            Request::Manager => Answer::Records(vec![self.own_record()]),
            Request::Environment => {
                let pairs = self.shared.environment.iter().map(|(name, value)| vec![("Variable", format!("{name}={value}"))]).collect();
                Answer::Records(pairs)
            }
            Request::SetEnvironment(pairs) => {
                if let Some(bad) = pairs.iter().find(|pair| !pair.split_once('=').is_some_and(|(name, _)| super::variables::is_name(name))) {
                    return Answer::Refused(Refusal { status: 1, text: format!("Invalid environment assignment: {bad}") });
                }
                for pair in &pairs {
                    self.shared.environment.assign(pair);
                }
                Answer::Done
            }
            Request::UnsetEnvironment(names) => {
                names.iter().for_each(|name| self.shared.environment.unset(name));
                Answer::Done
            }
            Request::RotateLog => {
                self.shared.log.rotate();
                Answer::Done
            }
            Request::End(end) | Request::EndNow(end) | Request::EndAt(end, _) if self.is_beside && !matches!(end, End::Exit(_)) => {
                let text = "this system has another init: that one ends it (its poweroff, reboot, halt); `exit` ends this manager".to_owned();
                Answer::Refused(Refusal { status: 1, text })
            }
            Request::End(end) => {
                self.shut_down(end);
                Answer::Done
            }
            Request::EndNow(end) => {
                self.at_once = true;
                self.shut_down(end);
                Answer::Done
            }
            Request::EndAt(end, micros) => {
                let at = UNIX_EPOCH + std::time::Duration::from_micros(micros);
                self.planned = Some((end, at));
                Answer::Done
            }
            Request::EndNot => {
                self.planned = None;
                Answer::Done
            }
        }
    }

    fn job(&mut self, kind: JobType, mode: JobMode, unit: UnitName) -> (UnitName, Result<u32, Refusal>) {
        let found = self.try_job(kind, mode, &unit).map_err(|why| match why {
            JobFault::Ending => Refusal { status: 1, text: "the machine is being shut down".to_owned() },
            JobFault::NotLoaded(unit) => Refusal { status: 5, text: format!("Unit {unit} not loaded.") },
            JobFault::Fault(fault) => {
                let status = match &fault {
                    Fault::NotFound(missing) if *missing == unit => 5,
                    Fault::NotApplicable(..) => 3,
                    Fault::NoIsolate(_) | Fault::Refused(_) => 4,
                    _ => 1,
                };
                let mut text = fault.to_string();
                if let Fault::Cyclic(cycle) = &fault {
                    let names: Vec<&str> = cycle.iter().map(UnitName::as_str).collect();
                    text = format!("{text} ({})", names.join(" -> "));
                }
                Refusal { status, text }
            }
        });
        (unit, found)
    }

    fn kill(&mut self, whom: Whom, signal: i32, units: &[UnitName]) -> Answer {
        for name in units {
            let own = self.graph.own(name).clone();
            if self.unit(&own).is_none() {
                return Answer::Refused(Refusal { status: 1, text: format!("Failed to kill unit {name}: Unit {name} not loaded.") });
            }
            let any = self.with(&own, |service, world| {
                use super::service::Hands;
                let main = service.main.filter(|_| whom != Whom::Control);
                let control = service.control.filter(|_| whom != Whom::Main);
                let own: Vec<i32> = main.into_iter().chain(control).collect();
                own.iter().for_each(|pid| world.signal(*pid, signal));
                let others = whom == Whom::All && world.signal_others(&own, signal);
                !own.is_empty() || others
            });
            if any != Some(true) {
                let what = match whom {
                    Whom::Main => "No main process to kill",
                    Whom::Control => "No control process to kill",
                    Whom::All => "No process to kill",
                };
                return Answer::Refused(Refusal { status: 1, text: format!("Failed to kill unit {name}: {what}") });
            }
        }
        Answer::Done
    }

    fn reset_failed(&mut self, units: &[UnitName]) -> Answer {
        let names: Vec<UnitName> = if units.is_empty() { self.units.keys().cloned().collect() } else { units.to_vec() };
        for name in names {
            let own = self.graph.own(&name).clone();
            if self.unit(&own).is_none() {
                return Answer::Refused(Refusal { status: 1, text: format!("Failed to reset failed state of unit {name}: Unit {name} not loaded.") });
            }
            if let Some(live) = self.units.get_mut(&own) {
                live.reset_failed();
                // a failure that is forgotten is no change that others act upon
                live.announced = live.active();
            }
        }
        Answer::Done
    }

    fn show(&self, name: &UnitName) -> Record {
        match self.unit(name) {
            Some(live) => self.record(live),
            None => self.record(&self.look_up(name)),
        }
    }

    /// How the system is, in systemctl's word.
    pub fn system_state(&self) -> &'static str {
        let failed = self.units.values().any(|live| live.announced == Active::Failed);
        match self.end {
            Some(_) => "stopping",
            None if self.settled.is_none() => "starting",
            None if failed => "degraded",
            None => "running",
        }
    }

    fn own_record(&self) -> Record {
        let failed = self.units.values().filter(|live| live.active() == Active::Failed).count();
        let environment: Vec<String> = self.shared.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            ("Version", format!("hostel {}", env!("CARGO_PKG_VERSION"))),
            ("Virtualization", std::env::var("container").unwrap_or_default()),
            ("SystemState", self.system_state().to_owned()),
            ("NNames", self.units.len().to_string()),
            ("NFailedUnits", failed.to_string()),
            ("NJobs", self.jobs.len().to_string()),
            ("Environment", environment.join(" ")),
            ("Tracking", self.shared.members.way().to_owned()),
            ("Planned", self.planned.map_or_else(String::new, |(end, at)| format!("{} {}", micros(at), end.words().join(" ")))),
            ("UserspaceTimestamp", micros(self.began.real)),
            ("FinishTimestamp", self.settled.map_or_else(String::new, micros)),
            ("Log", self.shared.log.way()),
        ]
    }

    fn record(&self, live: &Live) -> Record {
        let unit = &live.rest.unit;
        let mut out: Record = vec![
            ("Id", unit.name.to_string()),
            ("Names", std::iter::once(&unit.name).chain(&unit.aliases).map(UnitName::as_str).collect::<Vec<_>>().join(" ")),
            ("Description", unit.description().to_owned()),
            ("LoadState", unit.state.word().to_owned()),
            ("ActiveState", live.active().word().to_owned()),
            ("SubState", live.sub().to_owned()),
            ("FragmentPath", unit.fragment.clone().filter(|_| !unit.is_script).unwrap_or_default()),
            ("SourcePath", unit.fragment.clone().filter(|_| unit.is_script).unwrap_or_default()),
            ("DropInPaths", unit.dropins.join(" ")),
            ("Job", live.job.unwrap_or(0).to_string()),
            ("InvocationID", live.rest.marks.invocation.clone()),
            ("CanStart", yes(unit.is_loaded() && !unit.settings.bool("Unit", "RefuseManualStart", false))),
            ("CanStop", yes(!unit.settings.bool("Unit", "RefuseManualStop", false))),
            ("CanReload", yes(live.can_reload())),
            ("Tracking", if unit.name.kind() == Kind::Service { self.shared.members.way().to_owned() } else { String::new() }),
            ("ControlGroup", live.service.as_ref().and_then(|_| self.shared.members.path(unit.name.as_str())).unwrap_or_default()),
            ("PassedOver", live.rest.passed_over.unwrap_or_default().to_owned()),
            ("Complaint", live.rest.complaint.clone()),
        ];
        if let LoadState::Error(why) | LoadState::BadSetting(why) = &unit.state {
            out.push(("LoadError", why.clone()));
        }
        let moments = live.rest.moments;
        for (key, at) in [
            ("StateChangeTimestamp", moments.changed),
            ("InactiveExitTimestamp", moments.inactive_exit),
            ("ActiveEnterTimestamp", moments.active_enter),
            ("ActiveExitTimestamp", moments.active_exit),
            ("InactiveEnterTimestamp", moments.inactive_enter),
            ("ConditionTimestamp", moments.condition),
        ] {
            out.push((key, at.map_or_else(String::new, micros)));
        }
        let (met, which) = live.rest.condition.clone().unwrap_or((false, None));
        out.push(("ConditionResult", yes(met)));
        out.push(("ConditionFailed", which.filter(|_| !met).unwrap_or_default()));
        for degraded in &live.rest.degraded {
            let place = if degraded.file.is_empty() { String::new() } else { format!(" ({}:{})", degraded.file, degraded.line) };
            out.push(("Degraded", format!("{}{place}: {}", degraded.setting, degraded.why)));
        }
        let own = self.dependencies(unit);
        for (relation, key) in Relation::ALL {
            let names: Vec<&str> = own.iter().filter(|d| d.relation == relation).map(|d| d.to.as_str()).collect();
            if !names.is_empty() {
                out.push((key, names.join(" ")));
            }
        }
        let by: Vec<&str> = self.graph.from(&unit.name, Relation::Triggers).map(UnitName::as_str).collect();
        if !by.is_empty() {
            out.push(("TriggeredBy", by.join(" ")));
        }
        super::record::add(live, &mut out);
        if let Some(service) = &live.service {
            service_record(service, &mut out);
            let own = service.own();
            let others = if live.active().is_down() { Vec::new() } else { self.shared.members.list(&live.rest.marks) };
            let pids: std::collections::BTreeSet<i32> = own.into_iter().chain(others).gather();
            out.push(("Processes", pids.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")));
        }
        out
    }
}

pub(super) fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// Microseconds since 1970.
pub(super) fn micros(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros()).to_string()
}

fn job_record(job: &super::Job) -> Record {
    vec![
        ("Id", job.id.to_string()),
        ("Unit", job.unit.to_string()),
        ("JobType", job.kind.word().to_owned()),
        ("State", if job.running { "running" } else { "waiting" }.to_owned()),
    ]
}

/// `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED` and the status, as wait(2) numbers them.
pub(crate) fn code(end: WaitStatus) -> (i32, i32) {
    match end {
        WaitStatus::Exited(status) => (1, status),
        WaitStatus::Signaled { signal, core } => (if core { 3 } else { 2 }, signal),
        WaitStatus::Stopped(_) | WaitStatus::Continued => (0, 0),
    }
}

fn run_text(step: Step, run: &Run) -> String {
    let end = run.ended.map_or_else(|| "running".to_owned(), |(_, end)| super::service::described(end));
    format!("{} pid={} {end}", step.key(), run.pid)
}

fn service_record(service: &Service, out: &mut Record) {
    let config = &service.config;
    let span = |limit: Option<std::time::Duration>| {
        limit.map_or_else(|| "infinity".to_owned(), |d| hostel_unit::show_span(u64::try_from(d.as_micros()).unwrap_or(u64::MAX), 1))
    };
    let main = service.main_run;
    let (code, status) = main.and_then(|run| run.ended).map_or((0, 0), |(_, end)| code(end));
    out.extend([
        ("Type", config.kind.word().to_owned()),
        ("Restart", config.restart.word().to_owned()),
        ("RestartUSec", span(Some(config.restart_delay))),
        ("TimeoutStartUSec", span(config.timeout_start)),
        ("TimeoutStopUSec", span(config.timeout_stop)),
        ("RemainAfterExit", yes(config.remain)),
        ("MainPID", service.main.unwrap_or(0).to_string()),
        ("ControlPID", service.control.unwrap_or(0).to_string()),
        ("StatusText", service.status_text.clone()),
        ("StatusErrno", service.errno.to_string()),
        ("Result", service.result.word().to_owned()),
        ("ReloadResult", service.reload_result.word().to_owned()),
        ("NRestarts", service.restarts.to_string()),
        ("ExecMainPID", main.map_or(0, |run| run.pid).to_string()),
        ("ExecMainStartTimestamp", main.map_or_else(String::new, |run| micros(run.began))),
        ("ExecMainExitTimestamp", main.and_then(|run| run.ended).map_or_else(String::new, |(at, _)| micros(at))),
        ("ExecMainCode", code.to_string()),
        ("ExecMainStatus", status.to_string()),
    ]);
    for (step, run) in Step::ALL.iter().zip(&service.runs) {
        if let Some(run) = run {
            out.push(("Run", run_text(*step, run)));
        }
    }
    if service.result != Outcome::Success && service.deadline.is_some() {
        out.push(("Waits", "it is started again after its delay".to_owned()));
    }
}
