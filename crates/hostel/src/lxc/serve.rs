//! The command socket of a running container: what clients of LXC ask, and who is told of its states.
//!
//! One request and one answer per connection; connections stay open that wait for a state, for the end, or that hold a terminal. Nothing
//! blocks: who does not send its request, or take its answer, is in nobody's way, and goes when there are too many.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use hostel_engine::enter::Placement;
use hostel_engine::error::{Context, Error, Result};
use hostel_engine::supervisor::beside::{Asked, Beside, Life};
use hostel_engine::supervisor::run::End;
use hostel_lxc::Config;
use hostel_lxc::wire::{self, Command, HEAD, Head, MOST, News, State};
use hostel_process::event::{Interest, Poller};
use hostel_process::pty::{Pty, open_slave};
use hostel_sys::peer;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSlice};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::monitor::Pidfile;

/// Most connections at once.
const CLIENTS: usize = 512;
/// Most groups that a client is given: what its structure has room for.
const GROUPS: usize = 20;
/// Bytes of that: layout, what else there is, how many, and the descriptors.
const CONTEXT: usize = 12 + 4 * GROUPS;
/// Said to who waits for a state: none of them is there.
const LATER: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Listener,
    Client(u32),
    Visit(u32),
}

/// What a connection is for.
enum Role {
    /// Its request is still to come.
    Asking(Vec<u8>),
    /// Told when the container is in one of these states.
    Watching([bool; 8]),
    /// Closed when the container is gone.
    Waiting,
    /// Holds this terminal.
    Leasing(usize),
    /// Looks at the console: our end of its pty.
    Visiting(OwnedFd),
}

struct Client {
    id: u32,
    fd: OwnedFd,
    role: Role,
}

/// The socket and who is at it.
pub(super) struct Server {
    name: String,
    lxcpath: String,
    config: Config,
    listener: OwnedFd,
    poller: Poller<Token>,
    clients: Vec<Client>,
    next: u32,
    state: State,
    life: Option<Life>,
    /// Text of /proc/PID/cgroup when it began: its init may go deeper.
    groups: String,
    /// The last of what the console showed.
    ring: Vec<u8>,
    /// Bytes that are kept of it; 0: nobody asked for any.
    ring_size: usize,
    asked: Vec<Asked>,
}

/// An answer.
struct Answer<'a> {
    result: i32,
    value: u64,
    bytes: &'a [u8],
    descriptors: Vec<BorrowedFd<'a>>,
}

impl Answer<'_> {
    fn value(value: u64) -> Answer<'static> {
        Answer { result: 0, value, bytes: &[], descriptors: Vec::new() }
    }
    fn errno(errno: Errno) -> Answer<'static> {
        Answer { result: -errno.raw_os_error(), value: 0, bytes: &[], descriptors: Vec::new() }
    }
}

impl Server {
    /// Listens. Somebody listening there: the container runs.
    pub(super) fn listen(lxcpath: &str, name: &str, config: Config) -> Result<Server> {
        let object = || format!("command socket of container {name}");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).context("open", object())?;
        let address = SocketAddrUnix::new_abstract_name(wire::address(lxcpath, name).as_bytes()).context("name", object())?;
        match rustix::net::bind(&listener, &address) {
            Err(Errno::ADDRINUSE) => return Err(Error::new("start", format!("container {name}"), "it is running").busy()),
            other => other.context("bind", object())?,
        }
        rustix::net::listen(&listener, 100).context("listen at", object())?;
        let mut poller = Poller::new().context("open", "epoll")?;
        poller.want(Token::Listener, &listener, Interest::READ).context("watch", object())?;
        let ring_size = config.value("lxc.console.buffer.size").and_then(|size| size.parse().ok()).unwrap_or(0usize).min(16 << 20);
        Ok(Server {
            name: name.to_owned(),
            lxcpath: lxcpath.to_owned(),
            config,
            listener,
            poller,
            clients: Vec::new(),
            next: 0,
            state: State::Stopped,
            life: None,
            groups: String::new(),
            ring: Vec::new(),
            ring_size,
            asked: Vec::new(),
        })
    }

    /// It is in this state from now on: those who wait for it are told, and lxc-monitor.
    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.tell(News::State(state));
        let news = wire::news(&self.name, News::State(state));
        let told: Vec<u32> =
            self.clients.iter().filter(|c| matches!(&c.role, Role::Watching(wanted) if wanted[state as usize])).map(|c| c.id).collect();
        for id in told {
            if let Some(client) = self.clients.iter().find(|c| c.id == id) {
                let _ = rustix::net::send(&client.fd, &news, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            }
            self.close(id);
        }
    }

    /// To lxc-monitord, if it listens.
    fn tell(&self, news: News) {
        let fifo = format!("{}/{}/monitor-fifo", hostel_container::run_directory(), self.lxcpath.trim_start_matches('/'));
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(fd) = rustix::fs::open(fifo, flags, Mode::empty()) {
            let _ = rustix::io::write(fd, &wire::news(&self.name, news));
        }
    }

    fn accept(&mut self) {
        while let Ok(fd) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            if self.clients.len() >= CLIENTS {
                // Who has not asked for anything yet goes first, else the newest.
                match self.clients.iter().find(|c| matches!(c.role, Role::Asking(_))).map(|c| c.id) {
                    Some(id) => self.close(id),
                    None => continue,
                }
            }
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            if self.poller.want(Token::Client(id), &fd, Interest::READ).is_ok() {
                self.clients.push(Client { id, fd, role: Role::Asking(Vec::new()) });
            }
        }
    }

    fn close(&mut self, id: u32) {
        let Some(at) = self.clients.iter().position(|c| c.id == id) else { return };
        let client = self.clients.swap_remove(at);
        self.poller.forget(Token::Client(id), &client.fd);
        if let Role::Visiting(end) = &client.role {
            self.poller.forget(Token::Visit(id), end);
        }
    }

    /// What a client sends; whoever has asked already only hangs up.
    fn read(&mut self, id: u32) {
        let Some(client) = self.clients.iter_mut().find(|c| c.id == id) else { return };
        let mut buffer = [0u8; 1024];
        let got = match rustix::net::recv(&client.fd, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => None,
            Ok((n, _)) => Some(n),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => None,
        };
        let (Some(n), Role::Asking(request)) = (got, &mut client.role) else { return self.close(id) };
        request.extend_from_slice(&buffer[..n]);
        let Some(head) = request.first_chunk::<HEAD>() else { return };
        let Some(head) = Head::of(head, MOST) else { return self.close(id) };
        if request.len() < HEAD + head.length as usize {
            return;
        }
        let request = std::mem::take(request);
        self.answer(id, head, &request[HEAD..HEAD + head.length as usize]);
    }

    /// Whether the one at the other end may ask: root, or who runs the supervisor.
    fn may_ask(&self, client: &Client) -> bool {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        peer::peer(&client.fd).is_ok_and(|peer| peer.uid == 0 || (peer.uid, peer.gid) == own)
    }

    fn answer(&mut self, id: u32, head: Head, bytes: &[u8]) {
        let Some(client) = self.clients.iter().find(|c| c.id == id) else { return };
        if !self.may_ask(client) {
            return self.reply(id, Answer::errno(Errno::PERM));
        }
        let answer = match Command::of(head.number) {
            Some(Command::GetState) => Answer::value(self.state as u64),
            Some(Command::GetInitPid) => match &self.life {
                Some(life) => Answer::value(life.pid as u64),
                None => Answer::errno(Errno::SRCH),
            },
            Some(Command::GetCloneFlags) => Answer::value(self.life.as_ref().map_or(0, |life| life.namespaces)),
            Some(Command::GetName) => return self.reply_text(id, self.name.clone()),
            Some(Command::GetLxcpath) => return self.reply_text(id, self.lxcpath.clone()),
            Some(Command::GetCgroup | Command::GetLimitCgroup) => match self.group(wire::text(bytes).unwrap_or_default()).map(str::to_owned) {
                Some(path) => return self.reply_text(id, path),
                None => Answer::errno(Errno::NOENT),
            },
            Some(Command::GetConfigItem) => match wire::text(bytes).and_then(|key| self.config.get(key).ok()).filter(|value| !value.is_empty()) {
                Some(value) => return self.reply_text(id, value),
                None => Answer { result: -1, ..Answer::value(0) },
            },
            Some(Command::GetInitPidfd) => return self.reply_descriptor(id, |life| Some(&life.pidfd)),
            Some(Command::GetDevptsFd) => return self.reply_descriptor(id, |life| life.devpts.as_ref()),
            Some(Command::GetCgroupCtx) => return self.group_descriptors(id, bytes.len()),
            Some(Command::GetCgroup2Fd | Command::GetLimitCgroup2Fd) => match self.only_v2() {
                Some(group) => return self.reply(id, Answer { descriptors: vec![group.as_fd()], ..Answer::value(0) }),
                None => Answer::errno(Errno::INVAL),
            },
            Some(Command::Stop) => return self.stop(id),
            Some(Command::AddStateClient) => return self.watch(id, bytes),
            Some(Command::ServeStateClients) => match State::of(head.value) {
                Some(state @ (State::Freezing | State::Frozen | State::Thawed | State::Running)) => {
                    self.enter(state);
                    Answer::value(0)
                }
                _ => Answer::errno(Errno::INVAL),
            },
            Some(Command::Freeze) => self.freeze(true),
            Some(Command::Unfreeze) => self.freeze(false),
            Some(Command::GetTtyFd) => return self.terminal(id, head.value as u32 as i32),
            Some(Command::ConsoleLog) => return self.console_log(id, bytes),
            _ => Answer::errno(Errno::NOSYS),
        };
        self.reply(id, answer);
    }

    /// Answers, and lets the client go.
    fn reply(&mut self, id: u32, answer: Answer<'_>) {
        self.send(id, &answer);
        self.close(id);
    }

    /// A copy of something that this life of it has.
    fn reply_descriptor(&mut self, id: u32, of: impl Fn(&Life) -> Option<&OwnedFd>) {
        let copy = match &self.life {
            Some(life) => of(life).ok_or(Errno::BADF).and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3)),
            None => Err(Errno::SRCH),
        };
        match copy {
            Ok(copy) => self.reply(id, Answer { descriptors: vec![copy.as_fd()], ..Answer::value(0) }),
            Err(e) => self.reply(id, Answer::errno(e)),
        }
    }

    fn reply_text(&mut self, id: u32, text: String) {
        let bytes = [text.as_bytes(), b"\0"].concat();
        self.reply(id, Answer { bytes: &bytes, ..Answer::value(0) });
    }

    fn send(&mut self, id: u32, answer: &Answer<'_>) -> bool {
        let Some(client) = self.clients.iter().find(|c| c.id == id) else { return false };
        let whole = Head::with(answer.result, answer.value, answer.bytes);
        peer::send_with(&client.fd, &[IoSlice::new(&whole)], &answer.descriptors, SendFlags::DONTWAIT).is_ok_and(|sent| sent == whole.len())
    }

    /// From now on the connection is for this.
    fn keep(&mut self, id: u32, role: Role) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == id) {
            client.role = role;
        }
    }

    fn stop(&mut self, id: u32) {
        if self.life.is_none() {
            return self.reply(id, Answer::errno(Errno::SRCH));
        }
        let signal = self.config.value("lxc.signal.stop").and_then(|n| n.parse().ok()).unwrap_or(9);
        self.asked.push(Asked::Signal(signal));
        self.keep(id, Role::Waiting);
    }

    fn watch(&mut self, id: u32, bytes: &[u8]) {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if numbers.len() != 8 || !rest.is_empty() {
            return self.reply(id, Answer::errno(Errno::INVAL));
        }
        let wanted: [i32; 8] = std::array::from_fn(|at| i32::from_ne_bytes(numbers[at]));
        // 2: only when it comes to be so.
        if wanted[self.state as usize] == 1 {
            return self.reply(id, Answer::value(self.state as u64));
        }
        if self.send(id, &Answer::value(LATER)) {
            self.keep(id, Role::Watching(wanted.map(|n| n != 0)));
        } else {
            self.close(id);
        }
    }

    /// Its groups: names of controllers (none: version 2), and the path.
    fn groups(&self) -> impl Iterator<Item = (&str, &str)> {
        self.groups.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?.trim_start_matches("name="), fields.next()?))
        })
    }

    /// Path of its group of a controller; of version 2 where that is not among those of version 1.
    fn group(&self, controller: &str) -> Option<&str> {
        let of = |wanted: &str| self.groups().find(|(names, _)| names.split(',').any(|n| n == wanted)).map(|(_, path)| path);
        let controller = if controller == "unified" { "" } else { controller };
        of(controller).or_else(|| of(""))
    }

    /// Its group of version 2, where that is all there is.
    fn only_v2(&self) -> Option<OwnedFd> {
        if self.groups().count() != 1 {
            return None;
        }
        Placement::at(&self.groups).ok()?.v2
    }

    /// All its groups, for who joins them.
    fn group_descriptors(&mut self, id: u32, size: usize) {
        // Aligned to 8 bytes, it is larger.
        if !(CONTEXT..=2 * CONTEXT).contains(&size) {
            return self.reply(id, Answer::errno(Errno::INVAL));
        }
        let place = Placement::at(&self.groups).unwrap_or_default();
        let all: Vec<BorrowedFd<'_>> = place.v2.iter().chain(&place.v1).take(GROUPS).map(AsFd::as_fd).collect();
        let layout: i32 = if self.groups().count() == 1 { 2 } else { 1 };
        let mut context = vec![0; size];
        context[..4].copy_from_slice(&layout.to_ne_bytes());
        context[8..12].copy_from_slice(&(all.len() as u32).to_ne_bytes());
        context[12..CONTEXT].fill(0xff);
        self.reply(id, Answer { result: 0, value: 0, bytes: &context, descriptors: all });
    }

    /// Where version 2 has the freezer, and is all there is.
    fn freeze(&mut self, on: bool) -> Answer<'static> {
        let Some(group) = self.only_v2() else { return Answer::errno(Errno::NOENT) };
        let written = rustix::fs::openat(group, "cgroup.freeze", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::io::write(file, if on { b"1" } else { b"0" }));
        if let Err(e) = written {
            return Answer::errno(e);
        }
        let states = if on { [State::Freezing, State::Frozen] } else { [State::Thawed, State::Running] };
        states.into_iter().for_each(|state| self.enter(state));
        Answer::value(0)
    }

    /// Number 0 is the console; -1 the first that nobody has.
    fn terminal(&mut self, id: u32, number: i32) {
        if number == 0 {
            return match self.visit(id) {
                Ok(()) => {}
                Err(e) => self.reply(id, Answer::errno(e)),
            };
        }
        let taken = |n: usize| self.clients.iter().any(|c| matches!(c.role, Role::Leasing(t) if t == n));
        let count = self.life.as_ref().map_or(0, |life| life.terminals.len());
        let number = match usize::try_from(number) {
            Ok(n) => Some(n).filter(|n| *n <= count && !taken(*n)),
            Err(_) => (1..=count).find(|n| !taken(*n)),
        };
        let master =
            number.and_then(|n| self.life.as_ref()?.terminals.get(n - 1)).and_then(|pty| rustix::io::fcntl_dupfd_cloexec(&pty.master, 3).ok());
        let (Some(number), Some(master)) = (number, master) else { return self.reply(id, Answer::errno(Errno::BUSY)) };
        if self.send(id, &Answer { descriptors: vec![master.as_fd()], ..Answer::value(number as u64) }) {
            self.keep(id, Role::Leasing(number));
        } else {
            self.close(id);
        }
    }

    /// A terminal of its own, joined to the console.
    fn visit(&mut self, id: u32) -> std::result::Result<(), Errno> {
        let devpts = rustix::fs::open("/dev/pts", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let pty = Pty::open(devpts.as_fd()).map_err(|e| e.cause)?;
        let end = open_slave(pty.master.as_fd())?;
        rustix::io::ioctl_fionbio(&end, true)?;
        // A client waits on its end as it likes.
        rustix::io::ioctl_fionbio(&pty.master, false)?;
        let mut modes = rustix::termios::tcgetattr(&end)?;
        modes.make_raw();
        rustix::termios::tcsetattr(&end, rustix::termios::OptionalActions::Now, &modes)?;
        self.poller.want(Token::Visit(id), &end, Interest::READ)?;
        if self.send(id, &Answer { descriptors: vec![pty.master.as_fd()], ..Answer::value(0) }) {
            self.keep(id, Role::Visiting(end));
        } else {
            self.poller.forget(Token::Visit(id), &end);
            self.close(id);
        }
        Ok(())
    }

    fn typed(&mut self, id: u32) {
        let Some(Client { role: Role::Visiting(end), .. }) = self.clients.iter().find(|c| c.id == id) else { return };
        let mut buffer = [0u8; 1024];
        match rustix::io::read(end, &mut buffer) {
            Ok(n @ 1..) => self.asked.push(Asked::Type(buffer[..n].to_vec())),
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.close(id),
        }
    }

    /// `{bool clear, bool read, u64 most, bool write to the file}`
    fn console_log(&mut self, id: u32, bytes: &[u8]) {
        let Some(most) = bytes.get(8..16).and_then(|m| m.first_chunk()).filter(|_| bytes.len() == 24).map(|m| u64::from_ne_bytes(*m)) else {
            return self.reply(id, Answer::errno(Errno::INVAL));
        };
        let (clear, read) = (bytes[0] != 0, bytes[1] != 0);
        if self.ring_size == 0 {
            return self.reply(id, Answer::errno(Errno::FAULT));
        }
        if read && self.ring.is_empty() {
            return self.reply(id, Answer::errno(Errno::NODATA));
        }
        let most = if most == 0 { self.ring.len() } else { usize::try_from(most).unwrap_or(usize::MAX).min(self.ring.len()) };
        let shown = if read { self.ring[..most].to_vec() } else { Vec::new() };
        if clear {
            self.ring.clear();
        }
        if let Some(client) = self.clients.iter().find(|c| c.id == id) {
            // More than a socket's queue takes at once: its room is made as large as the answer.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&client.fd, shown.len() + 4096);
        }
        self.reply(id, Answer { bytes: &shown, ..Answer::value(shown.len() as u64) });
    }
}

impl Drop for Server {
    /// Nothing of the container is left, or there never was one.
    fn drop(&mut self) {
        if self.state == State::Starting {
            self.enter(State::Aborting);
        }
        self.enter(State::Stopped);
    }
}

/// The socket in the supervisor's loop, and what a container's supervisor does besides.
pub(super) struct Spoken {
    /// Goes before the server does, whose end is what clients wait for.
    pub(super) _pidfile: Option<Pidfile>,
    pub(super) server: Server,
    /// `lxc.console.logfile`.
    pub(super) log: Option<File>,
    /// How many bytes it may have; 0: any number.
    pub(super) most: u64,
}

impl Beside for Spoken {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.server.poller.as_fd()
    }

    fn turn(&mut self) -> Vec<Asked> {
        let server = &mut self.server;
        let ready: Vec<Token> = server.poller.wait(Some(Instant::now())).map(|all| all.map(|r| r.token).collect()).unwrap_or_default();
        for token in ready {
            match token {
                Token::Listener => server.accept(),
                Token::Client(id) => server.read(id),
                Token::Visit(id) => server.typed(id),
            }
        }
        std::mem::take(&mut server.asked)
    }

    fn started(&mut self, life: Life) {
        // A user's container is in the user's own groups: nobody is to freeze or to limit those by it.
        let own = std::env::var_os(hostel_container::FOR_USER).is_none();
        let groups = own.then(|| std::fs::read_to_string(format!("/proc/{}/cgroup", life.pid)));
        self.server.groups = groups.and_then(|text| text.ok()).unwrap_or_default();
        self.server.life = Some(life);
        self.server.enter(State::Running);
    }

    fn shown(&mut self, bytes: &[u8]) {
        let server = &mut self.server;
        let skip = bytes.len().saturating_sub(server.ring_size);
        let over = (server.ring.len() + bytes.len() - skip).saturating_sub(server.ring_size);
        server.ring.drain(..over.min(server.ring.len()));
        server.ring.extend_from_slice(&bytes[skip..]);
        for client in &server.clients {
            if let Role::Visiting(end) = &client.role {
                // Who is too slow loses it.
                let _ = rustix::io::write(end, bytes);
            }
        }
        if let Some(file) = &mut self.log {
            let _ = file.write_all(bytes);
            if self.most > 0 && file.metadata().is_ok_and(|m| m.len() > self.most) {
                let _ = file.set_len(0);
            }
        }
    }

    fn ended(&mut self, end: End) {
        let status = match end {
            End::Exited(code) => i32::from(code) << 8,
            End::Killed { signal, .. } => i32::from(signal),
        };
        self.server.life = None;
        self.server.tell(News::Exit(status));
        self.server.enter(State::Stopping);
    }
}
