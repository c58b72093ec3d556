//! The manager that runs: units as they are, jobs, processes.
//!
//! ```text
//!  request ──► transaction ──► jobs ──► Service (a life) ──► Hands: processes, signals, files
//!  (query.rs)  (of a Graph)   (jobs.rs)      ▲                       │
//!                                  ▲         └── ends, words, time ◄─┘  one epoll (turn.rs)
//!                                  └── changes of states (change.rs)
//! ```
//! One thread, no timers that tick: between events nothing runs. What asks (a socket, later a bus) does so by [`Manager::ask`].

mod actions;
mod announce;
pub mod builtin;
mod care;
mod change;
mod condition;
pub mod config;
pub mod context;
mod devices;
mod discard;
mod dynamic;
pub mod exits;
mod files;
pub mod generators;
pub mod handover;
mod jobs;
pub mod live;
pub mod log;
pub mod members;
mod memory;
pub mod mount;
mod names;
pub mod notify;
mod packets;
pub mod path;
pub mod query;
mod reach;
mod record;
pub mod resources;
pub mod runtime;
pub mod sandbox;
pub mod service;
pub mod socket;
mod spawn;
pub mod state;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod timer;
mod triggers;
mod turn;
mod utmp;
pub mod variables;
pub(crate) mod view;
pub mod world;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::SystemTime;

use hostel_process::event::Poller;
use hostel_unit::{Gather as _, Kind, UnitName};

pub(crate) use condition::is_mount_point as condition_is_mount_point;
pub use jobs::{Finished, Job};

use crate::catalogue::Catalogue;
use crate::depend::Graph;
use crate::load::{LoadState, Unit, load, load_text};
use crate::root::Root;
use crate::search::SearchPath;
use live::Live;
use members::Members;
use service::Service;
use variables::Environment;
use world::{Shared, Token, World};

/// When so many units are in memory, those that do nothing are dropped.
const UNITS_MAX: usize = 4096;

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Off.
    PowerOff,
    /// Again.
    Reboot,
    /// Stands still; in a machine that is off.
    Halt,
    /// With this status of PID 1.
    Exit(u8),
}

impl End {
    /// In words, for another program.
    pub fn words(self) -> Vec<String> {
        match self {
            End::PowerOff => vec!["poweroff".to_owned()],
            End::Reboot => vec!["reboot".to_owned()],
            End::Halt => vec!["halt".to_owned()],
            End::Exit(status) => vec!["exit".to_owned(), status.to_string()],
        }
    }

    /// One that was written so.
    pub fn of_words(words: &mut dyn Iterator<Item = &str>) -> Result<End, String> {
        match words.next() {
            Some("poweroff") => Ok(End::PowerOff),
            Some("reboot") => Ok(End::Reboot),
            Some("halt") => Ok(End::Halt),
            Some("exit") => words.next().and_then(|text| text.parse().ok()).map(End::Exit).ok_or("exit: it is no status from 0 to 255".to_owned()),
            _ => Err("end: it is none of poweroff, reboot, halt, exit".to_owned()),
        }
    }
}

/// All of it.
pub struct Manager {
    root: &'static Root,
    search: SearchPath,
    /// When all that it began with was done, told by its loop: also where there is no bus.
    settled: Option<SystemTime>,
    catalogue: Catalogue<'static>,
    /// Everything in memory, and how it hangs together.
    graph: Graph,
    units: BTreeMap<UnitName, Live>,
    jobs: BTreeMap<u32, Job>,
    next_job: u32,
    next_unit: u32,
    shared: Shared,
    /// Units whose state may have changed.
    changed: VecDeque<UnitName>,
    /// Jobs that ended, for whoever waits.
    finished: Vec<Finished>,
    /// The end, once it was asked for.
    end: Option<End>,
    /// It comes without stopping anything.
    at_once: bool,
    /// It comes at a time that somebody has said.
    planned: Option<(End, SystemTime)>,
    /// Jobs are looked through again.
    run_again: bool,
    /// What happened, while somebody wants to know.
    news: Option<Box<view::News>>,
    /// When this began.
    began: timer::Moment,
    /// Time zones that timers have asked for.
    zones: timer::Zones,
    /// Wakes at moments of the calendar, while a timer waits for one.
    clock: Option<timer::Clock>,
    /// Tells of another local time zone, while a timer cares.
    zone_watch: Option<path::Watch>,
    /// Tells when mounts change, while there are units of them.
    mounts: Option<mount::Table>,
    /// Which generators are run when files are read.
    generators: Option<generators::Which>,
    /// It is to be executed anew.
    handover: bool,
    /// Another init brought the system up: what it has reached is up, and ends with it.
    is_beside: bool,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("units", &self.units.len()).field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

impl Manager {
    /// Reads the catalogue of a tree; nothing is started.
    pub fn new(root: &'static Root, search: SearchPath, members: Members, inherited: Environment) -> Result<Manager, String> {
        let catalogue = Catalogue::scan(root, search.clone()).map_err(|e| format!("read unit files: {e}"))?;
        let environment = beginning(&inherited);
        let poller: Poller<Token> = Poller::new().map_err(|e| format!("make an event loop: {e}"))?;
        let shared = Shared {
            members,
            log: log::Log::open(),
            environment,
            inherited,
            processes: BTreeMap::new(),
            poller,
            notify: None,
            runtimes: std::collections::BTreeMap::new(),
            dynamic: dynamic::Dynamic::default(),
            empty_groups: Vec::new(),
            ports: Vec::new(),
            programs: devices::Programs::default(),
            memory: memory::Watch::default(),
            names: names::Names::default(),
        };
        Ok(Manager {
            root,
            search,
            settled: None,
            catalogue,
            graph: Graph::default(),
            units: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 1,
            next_unit: 1,
            shared,
            changed: VecDeque::new(),
            finished: Vec::new(),
            end: None,
            at_once: false,
            planned: None,
            run_again: false,
            news: None,
            began: timer::Moment::now(),
            zones: timer::Zones::default(),
            clock: None,
            zone_watch: None,
            mounts: None,
            generators: None,
            handover: false,
            is_beside: false,
        })
    }

    /// What the loop waits for; the front ends add theirs.
    pub fn poller(&mut self) -> &mut Poller<Token> {
        &mut self.shared.poller
    }

    /// The system is up by another init's doing: targets of its beginning are up with nothing started for them, and its end is not ours to bring.
    pub fn stand_beside(&mut self) {
        self.is_beside = true;
    }

    /// Whether anything would be lost if this manager ended: something runs, has failed, or was told to it.
    pub fn is_needed(&self) -> bool {
        let counts =
            |live: &&Live| !matches!(live.name().kind(), Kind::Target | Kind::Slice | Kind::Mount | Kind::Scope | Kind::Device | Kind::Automount);
        let is_dead = |live: &Live| matches!(live.active(), state::Active::Inactive);
        !self.jobs.is_empty()
            || self.units.values().filter(counts).any(|live| !is_dead(live))
            || self.shared.environment != beginning(&self.shared.inherited)
    }

    /// Whether any service is there, or is about to be again; those that are up without a process count if `exited` says so.
    pub fn serves(&self, exited: bool) -> bool {
        let counts = |service: &service::Service, live: &Live| !live.active().is_down() && (exited || service.state != state::State::Exited);
        self.units.values().any(|live| live.service.as_ref().is_some_and(|service| counts(service, live)))
    }

    /// Tells something of the manager itself.
    pub fn tell(&mut self, text: &str) {
        self.shared.log.own(None, text);
    }

    /// Where services send their words.
    pub fn set_notify(&mut self, path: String) {
        self.shared.notify = Some(path);
    }

    /// The first jobs are all done; whether that is new.
    pub fn first_quiet(&mut self) -> bool {
        let is_new = self.settled.is_none();
        self.settled.get_or_insert_with(SystemTime::now);
        is_new
    }

    /// When this manager began.
    pub(crate) fn began(&self) -> SystemTime {
        self.began.real
    }

    /// When the first jobs were all done.
    pub(crate) fn settled(&self) -> Option<SystemTime> {
        self.settled
    }

    /// How the machine is to end, once somebody has said so.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether it comes without stopping anything.
    pub fn ends_at_once(&self) -> bool {
        self.at_once
    }

    /// A unit that is in memory.
    pub fn unit(&self, name: &UnitName) -> Option<&Live> {
        self.units.get(self.graph.own(name)).or_else(|| self.units.get(name))
    }

    fn read(&self, name: &UnitName) -> Unit {
        if self.is_beside && builtin::is_brought_up(name.as_str()) {
            return crate::load::load_only(&self.catalogue, name, "[Unit]\nDescription=Reached before\nDefaultDependencies=no\n");
        }
        let unit = load(&self.catalogue, name);
        match builtin::target(name.as_str()) {
            Some(text) if unit.state == LoadState::NotFound => load_text(&self.catalogue, name, text),
            _ => unit,
        }
    }

    /// What a unit depends on, in memory or not.
    fn dependencies(&self, unit: &Unit) -> Vec<crate::depend::Dependency> {
        if let Some(node) = self.graph.node(&unit.name) {
            return node.dependencies.clone();
        }
        let known = |name: &UnitName| self.catalogue.has(name.as_str()) || builtin::target(name.as_str()).is_some();
        if unit.is_loaded() { crate::depend::dependencies(unit, self.search.scope, &known) } else { Vec::new() }
    }

    /// A unit as its files say it is, whether it is in memory or not.
    pub fn look_up(&self, name: &UnitName) -> Live {
        Live::new(self.read(name).into(), 0)
    }

    /// Brings units into memory, with all that they lead to.
    fn bring(&mut self, names: &[UnitName]) {
        if names.iter().all(|name| self.graph.node(name).is_some()) {
            return;
        }
        if self.units.len() > UNITS_MAX {
            self.collect();
        }
        self.grow(names);
    }

    /// Makes the graph of these and all that they lead to anew.
    fn rebuild(&mut self, from: &[UnitName]) {
        self.graph = Graph::default();
        self.jobs.values().for_each(|job| drop(job.blocked.take()));
        self.grow(from);
    }

    /// These come to the graph, and all that they lead to; what is new is loaded.
    fn grow(&mut self, from: &[UnitName]) {
        let mut fresh: BTreeMap<UnitName, Rc<Unit>> = BTreeMap::new();
        let known = |name: &UnitName| self.catalogue.has(name.as_str()) || builtin::target(name.as_str()).is_some();
        let mut graph = std::mem::take(&mut self.graph);
        let mut load = |name: &UnitName| match self.units.get(name) {
            Some(live) => live.rest.unit.clone(),
            None => {
                let unit = Rc::new(self.read(name));
                match self.units.get(&unit.name) {
                    Some(live) => live.rest.unit.clone(),
                    None => fresh.entry(unit.name.clone()).or_insert(unit).clone(),
                }
            }
        };
        graph.grow(from, self.search.scope, &mut load, &known);
        self.graph = graph;
        for (name, unit) in fresh {
            let number = self.next_unit;
            self.next_unit = self.next_unit.wrapping_add(1);
            if unit.name.kind() == Kind::Mount && unit.name.as_str() != "-.mount" {
                self.watch_mounts();
            }
            let mut live = Live::new(unit, number);
            if self.is_beside && builtin::is_brought_up(name.as_str()) {
                live.reached_before();
            }
            if let Some(news) = &mut self.news {
                news.unit(&name, true);
            }
            self.units.insert(name, live);
        }
    }

    /// A unit leaves memory.
    fn let_go(&mut self, name: &UnitName) {
        let Some(live) = self.units.remove(name) else { return };
        if let Some(pipe) = &live.rest.pipe {
            self.shared.poller.forget(Token::Output(live.rest.number), pipe);
        }
        // units of connections come and go without end; what is to be taken away is found by its place once more
        let of_empty = |unit: &String| unit == name.as_str();
        if let Some(at) = self.shared.empty_groups.iter().position(of_empty) {
            self.shared.members.forget(&self.shared.empty_groups.swap_remove(at));
        }
        self.shared.members.let_go(name.as_str());
        if let Some(news) = &mut self.news {
            news.unit(name, false);
        }
    }

    /// Drops what does nothing and nobody needs.
    fn collect(&mut self) {
        let needed: std::collections::BTreeSet<UnitName> = self
            .units
            .values()
            .filter(|live| !live.is_idle())
            .flat_map(|live| {
                let own = live.name().clone();
                let to = self.graph.node(&own).map_or(&[][..], |node| &node.dependencies).iter().map(|d| d.to.clone());
                to.chain(std::iter::once(own.clone())).collect::<Vec<_>>()
            })
            .gather();
        let idle: Vec<UnitName> = self.units.keys().filter(|name| !needed.contains(*name)).cloned().collect();
        idle.iter().for_each(|name| self.let_go(name));
        let from: Vec<UnitName> = self.units.keys().cloned().collect();
        self.rebuild(&from);
    }

    /// Reads all unit files again. What runs goes on.
    pub fn reload(&mut self) -> Result<(), String> {
        self.generate_again();
        self.read_again(|_| true)
    }

    /// The same without programs that make some, of these units: for what one of them asks for.
    fn read_again(&mut self, which: impl Fn(&Unit) -> bool) -> Result<(), String> {
        self.catalogue = self.fresh_catalogue()?;
        let names: Vec<UnitName> = self.units.keys().cloned().collect();
        for name in &names {
            if self.units.get(name).is_some_and(|live| !which(&live.rest.unit)) {
                continue;
            }
            let unit = self.read(name);
            let Some(live) = self.units.get_mut(name) else { continue };
            if unit.name == *name {
                live.reload(unit.into());
            } else if live.is_idle() && live.service.is_none() {
                // a name that led nowhere is an alias now: the unit is loaded by its own
                self.let_go(name);
            }
        }
        self.rebuild(&names);
        self.timers_again();
        Ok(())
    }

    /// Does something with a service, and looks afterwards at what has become of it.
    fn with<T>(&mut self, name: &UnitName, act: impl FnOnce(&mut Service, &mut World<'_>) -> T) -> Option<T> {
        let live = self.units.get_mut(name)?;
        let service = live.service.as_mut()?;
        let access = service.config.notify_access;
        let mut world = World { rest: &mut live.rest, shared: &mut self.shared, access };
        let found = act(service, &mut world);
        self.changed.push_back(name.clone());
        Some(found)
    }

    /// Words of a service: see [`notify`].
    pub fn heard(&mut self, pid: i32, message: &notify::Words, descriptors: Vec<std::os::fd::OwnedFd>) -> Option<UnitName> {
        let name = self.unit_of(pid)?;
        let is_own = {
            let service = self.units.get(&name)?.service.as_ref()?;
            use config::NotifyAccess::{All, Exec, Main, None as Nobody};
            match service.config.notify_access {
                Nobody => return None,
                Main => service.main == Some(pid),
                Exec => service.main == Some(pid) || service.control == Some(pid),
                All => true,
            }
        };
        if !is_own {
            self.shared.log.own(Some(name.as_str()), &format!("Got notification message from PID {pid}, but reception is not permitted for it"));
            return None;
        }
        self.with(&name, |service, world| notify::apply(service, world, message, descriptors));
        Some(name)
    }

    /// Whose process this is.
    pub fn unit_of(&self, pid: i32) -> Option<UnitName> {
        if let Some(process) = self.shared.processes.get(&pid) {
            return Some(process.unit.clone());
        }
        let running = self.units.values().filter(|live| live.service.as_ref().is_some_and(|s| !s.state.active().is_down()));
        let marks: Vec<&members::Marks> = running.map(|live| &live.rest.marks).collect();
        let marks = self.shared.members.whose(pid, &marks)?;
        UnitName::parse(&marks.unit).ok()
    }
}

/// The environment that services have before anybody has changed it.
fn beginning(inherited: &Environment) -> Environment {
    let mut environment = Environment::default();
    environment.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (name, value) in inherited.iter().filter(|(name, _)| *name == "LANG" || *name == "LANGUAGE" || name.starts_with("LC_")) {
        environment.set(name, value);
    }
    environment
}
