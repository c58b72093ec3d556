//! The command socket of a container that runs, as a client: what its supervisor says is looked at before it is believed.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hostel_lxc::wire::{self, Command, HEAD, Head, NEWS, News, State};
use hostel_sys::{clone, peer, socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with, sockopt};

use crate::container::Container;
use crate::error::{Error, On, Result};

/// How long an answer may take, where the container has no limit of its own: supervisors answer at once.
const USUAL: Duration = Duration::from_secs(30);
/// Most bytes of an answer; of a console's more.
const MOST: usize = 1 << 20;
const MOST_OF_CONSOLE: usize = 64 << 20;
const VERB: &str = "ask supervisor of container";

/// An answer.
pub(crate) struct Answer {
    /// 0, or a negative errno.
    result: i32,
    value: u64,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// What is kept open while a terminal is used.
    socket: OwnedFd,
}

/// A terminal of a container.
#[derive(Debug)]
pub struct Tty {
    /// Its number; 0 is the console.
    pub number: i32,
    /// Its master.
    pub master: OwnedFd,
    /// Nobody else is given the terminal while this is open.
    pub lease: OwnedFd,
}

/// A connection to who listens at `address`; ECONNREFUSED: nobody.
fn connected(address: &str, object: &str) -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).on(VERB, object)?;
    // one that accepts nothing has a full queue some time
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(USUAL)).on(VERB, object)?;
    // what the supervisor is told of us does not depend on how early it asks for it
    socket::set(&socket, socket::Setting::PassCredentials, 1).on(VERB, object)?;
    let address = SocketAddrUnix::new_abstract_name(address.as_bytes()).on(VERB, object)?;
    connect(&socket, &address).on(VERB, object)?;
    Ok(socket)
}

/// Waits until there is something to be read.
fn wait_readable(socket: &OwnedFd, deadline: Option<Instant>) -> std::result::Result<(), Errno> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| rustix::time::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Fills `buffer`; EPIPE: the other end hung up before that.
fn fill(socket: &OwnedFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>, deadline: Option<Instant>) -> std::result::Result<(), Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        wait_readable(socket, deadline)?;
        match peer::receive_datagram_with(socket, &mut buffer[filled..], descriptors) {
            Ok(received) if received.len == 0 => return Err(Errno::PIPE),
            Ok(received) => filled += received.len,
            Err(Errno::AGAIN) => {}
            Err(Errno::CONNRESET) => return Err(Errno::PIPE),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Asks over a connection.
fn exchange(socket: OwnedFd, command: Command, value: u64, bytes: &[u8], deadline: Option<Instant>, object: &str) -> Result<Answer> {
    let request = Head::with(command as i32, value, bytes);
    let sent = send(&socket, &request, SendFlags::NOSIGNAL).on(VERB, object)?;
    if sent != request.len() {
        return Err(Errno::IO).on(VERB, object);
    }
    let mut descriptors = Vec::new();
    let mut head = [0; HEAD];
    fill(&socket, &mut head, &mut descriptors, deadline).on(VERB, object)?;
    let most = if command == Command::ConsoleLog { MOST_OF_CONSOLE } else { MOST };
    let head = Head::of(&head, most).ok_or(Errno::BADMSG).on(VERB, object)?;
    let mut bytes = vec![0; head.length as usize];
    fill(&socket, &mut bytes, &mut descriptors, deadline).on(VERB, object)?;
    Ok(Answer { result: head.number, value: head.value, bytes, descriptors, socket })
}

impl Answer {
    /// An error, if it is a refusal.
    fn granted(self, object: &str) -> Result<Answer> {
        if self.result >= 0 {
            return Ok(self);
        }
        let errno = self.result.checked_neg().map_or(Errno::BADMSG, Errno::from_raw_os_error);
        Err(errno).on(VERB, object)
    }
    fn text(self, object: &str) -> Result<String> {
        wire::text(&self.bytes).map(str::to_owned).ok_or(Errno::BADMSG).on(VERB, object)
    }
    fn descriptor(&mut self, object: &str) -> Result<OwnedFd> {
        self.descriptors.pop().ok_or(Errno::BADMSG).on(VERB, object)
    }
}

/// A text that who listens at `address` says of itself.
pub(crate) fn text_at(address: &str, command: Command) -> Result<String> {
    let answer = exchange(connected(address, address)?, command, 0, b"", Some(Instant::now() + Duration::from_secs(2)), address)?;
    answer.granted(address)?.text(address)
}

impl Container {
    /// A connection to its supervisor, which has to be root's, ours, or of who owns its directory: anybody can listen at an
    /// abstract address.
    fn connected(&self) -> Result<OwnedFd> {
        let socket = connected(&wire::address(&self.lxcpath, &self.name), &self.name)?;
        let by = peer::peer(&socket).on(VERB, &self.name)?.uid;
        let owns = || rustix::fs::stat(self.directory()).is_ok_and(|stat| stat.st_uid == by);
        if by == 0 || by == rustix::process::geteuid().as_raw() || owns() {
            return Ok(socket);
        }
        Err(Error::new(VERB, &self.name, format_args!("user {by} listens in its place"), Errno::PERM))
    }

    pub(crate) fn ask(&self, command: Command, value: u64, bytes: &[u8]) -> Result<Answer> {
        let deadline = Instant::now() + self.timeout.unwrap_or(USUAL);
        exchange(self.connected()?, command, value, bytes, Some(deadline), &self.name)?.granted(&self.name)
    }

    fn ask_text(&self, command: Command, argument: &str) -> Result<String> {
        let mut bytes = argument.as_bytes().to_vec();
        if !bytes.is_empty() {
            bytes.push(0);
        }
        self.ask(command, 0, &bytes)?.text(&self.name)
    }

    /// Its state: stopped, if nobody listens.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert_eq!(container.state().unwrap().name(), "STOPPED");
    /// ```
    pub fn state(&self) -> Result<State> {
        match self.ask(Command::GetState, 0, b"") {
            Ok(answer) => State::of(answer.value).ok_or(Errno::BADMSG).on(VERB, &self.name),
            Err(e) if e.is(Errno::CONNREFUSED) => Ok(State::Stopped),
            Err(e) => Err(e),
        }
    }
    /// Whether anything runs: also if its supervisor does not answer as it should.
    pub fn is_running(&self) -> bool {
        !matches!(self.state(), Ok(State::Stopped))
    }
    /// Whether its supervisor takes our commands, or there is none.
    pub fn may_control(&self) -> bool {
        !self.state().is_err_and(|e| e.is(Errno::PERM))
    }
    /// Pid of its init, as it is seen here.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.init_pid().is_err());
    /// ```
    pub fn init_pid(&self) -> Result<i32> {
        let pid = self.ask(Command::GetInitPid, 0, b"")?.value;
        i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(Errno::SRCH).on("find init of container", &self.name)
    }
    /// Its init, held: it stays the same whatever becomes of the number.
    pub fn init_pidfd(&self) -> Result<OwnedFd> {
        match self.ask(Command::GetInitPidfd, 0, b"") {
            Ok(mut answer) => answer.descriptor(&self.name),
            Err(e) if e.is(Errno::CONNREFUSED) => Err(e),
            // LXC before 4
            Err(_) => clone::pidfd_open(self.init_pid()?).on("open init of container", &self.name),
        }
    }
    /// What it was started with of a key; none: it is not set.
    pub fn get_running_config_item(&self, key: &str) -> Result<Option<String>> {
        match self.ask_text(Command::GetConfigItem, key) {
            Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            // -1: nothing is set
            Err(e) if e.is(Errno::PERM) => Ok(None),
            Err(e) => Err(e),
        }
    }
    /// Path of the cgroup that limits it, below the mount of a controller; without one in the unified hierarchy.
    pub(crate) fn cgroup_path(&self, controller: &str) -> Result<String> {
        let path = match self.ask_text(Command::GetLimitCgroup, controller) {
            Err(e) if !e.is(Errno::CONNREFUSED) => self.ask_text(Command::GetCgroup, controller),
            other => other,
        }?;
        let plain = path.starts_with('/') && path.split('/').all(|part| part != "..");
        if plain { Ok(path) } else { Err(Errno::BADMSG).on("find cgroup of container", &self.name) }
    }
    /// A terminal: the console is 0, -1 the first that is free.
    pub fn console_getfd(&self, number: i32) -> Result<Tty> {
        // The number stands in for a pointer, sign and all.
        let mut answer = self.ask(Command::GetTtyFd, i64::from(number) as u64, b"")?;
        let master = answer.descriptor(&self.name)?;
        Ok(Tty { number: answer.value as u32 as i32, master, lease: answer.socket })
    }
    /// What its console said and is kept: `most` bytes (0: all), forgotten then if `clear`.
    pub fn console_log(&self, clear: bool, most: u64, write_logfile: bool) -> Result<Vec<u8>> {
        let mut request = [0; 24];
        (request[0], request[1], request[16]) = (u8::from(clear), 1, u8::from(write_logfile));
        request[8..16].copy_from_slice(&most.to_le_bytes());
        Ok(self.ask(Command::ConsoleLog, 0, &request)?.bytes)
    }
    /// Its devpts, mounted nowhere.
    pub fn devpts_fd(&self) -> Result<OwnedFd> {
        self.ask(Command::GetDevptsFd, 0, b"")?.descriptor(&self.name)
    }
    /// Who wants to know its state is told this one.
    pub(crate) fn serve_state(&self, state: State) -> Result<()> {
        self.ask(Command::ServeStateClients, state as u64, b"").map(drop)
    }

    /// Ends it at once, and returns when it has ended. What does not run has.
    ///
    /// ```
    /// hostel_container::Container::new("web", Some("/nonexistent")).unwrap().stop().unwrap();
    /// ```
    pub fn stop(&self) -> Result<()> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let ended = self.connected().and_then(|socket| exchange(socket, Command::Stop, 0, b"", deadline, &self.name)?.granted(&self.name));
        match ended {
            Err(e) if !e.is(Errno::CONNREFUSED) && !e.is(Errno::PIPE) => Err(e),
            _ => Ok(()),
        }
    }

    /// Waits until it is in one of `states`, such as `STOPPED|RUNNING`; false: the time was over (none: never, zero: only look).
    ///
    /// ```
    /// use std::time::Duration;
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.wait("STOPPED", None).unwrap());
    /// assert!(!container.wait("RUNNING", Some(Duration::ZERO)).unwrap());
    /// ```
    pub fn wait(&self, states: &str, timeout: Option<Duration>) -> Result<bool> {
        let wanted = State::set(states).map_err(|why| Error::new("wait for", states, why, Errno::INVAL))?;
        self.wait_for(&wanted, timeout.map(|timeout| Instant::now() + timeout))
    }

    pub(crate) fn wait_for(&self, wanted: &[bool; 8], deadline: Option<Instant>) -> Result<bool> {
        loop {
            let seen = match self.watch(wanted) {
                Ok(None) => return Ok(true),
                Ok(Some(socket)) => told(&socket, deadline),
                Err(e) => Err(e),
            };
            match seen {
                Ok(state) if wanted[state as usize] => return Ok(true),
                Ok(_) => continue,
                Err(e) if e.is(Errno::TIMEDOUT) && deadline.is_some_and(|d| Instant::now() >= d) => return Ok(false),
                // Nobody listens, or not any more: it has stopped, or does not run yet.
                Err(e) if e.is(Errno::CONNREFUSED) || e.is(Errno::PIPE) => {}
                Err(e) => return Err(e),
            }
            if wanted[State::Stopped as usize] {
                return Ok(true);
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    /// One who is told when it is in one of these states; none: it is.
    fn watch(&self, wanted: &[bool; 8]) -> Result<Option<OwnedFd>> {
        let request: Vec<u8> = wanted.iter().flat_map(|&wanted| i32::from(wanted).to_le_bytes()).collect();
        let answer = self.ask(Command::AddStateClient, 0, &request)?;
        Ok(State::of(answer.value).is_none().then_some(answer.socket))
    }

    /// One who is told when it has stopped, asked for before it is told to; none: it does not run.
    pub(crate) fn watch_stop(&self) -> Result<Option<OwnedFd>> {
        match self.watch(&only(State::Stopped)) {
            Err(e) if e.is(Errno::CONNREFUSED) => Ok(None),
            other => other,
        }
    }
}

/// The set of this state alone.
pub(crate) fn only(state: State) -> [bool; 8] {
    std::array::from_fn(|at| at == state as usize)
}

/// The state that one who watches is told; EPIPE: its supervisor is gone.
pub(crate) fn told(socket: &OwnedFd, deadline: Option<Instant>) -> Result<State> {
    let mut news = [0; NEWS];
    fill(socket, &mut news, &mut Vec::new(), deadline).on("wait for", "a state")?;
    match wire::told(&news) {
        Some((_, News::State(state))) => Ok(state),
        _ => Err(Errno::BADMSG).on("wait for", "a state"),
    }
}
