//! From a plan to a running PID 1: prepare, clone, bond, go.
//!
//! ```text
//!  supervisor                                payload (future PID 1)
//!    host steps: tree, ids, cgroup
//!    clone3(pidfd, into cgroup) ───────────►  dies with the supervisor from here on
//!    bond steps: id maps, idmapped tree       (waits, if the plan has a Wait)
//!    one byte on `go` ─────────────────────►  first steps: root, /proc     (both at work)
//!    v1 cgroups, links; steps beside:
//!    /dev, /run, … as detached mounts
//!    their descriptors on `go` ────────────►  (Receive) API mounts, pivot  (both at work)
//!    the locked mounts on `go` ◄───────────►  (LockMounts) moves there
//!    (Network) what serves its network, then
//!    one byte on `go` ─────────────────────►  (Network) interface up
//!    control socket, console, state text
//!    read `report` until it hangs up  ◄─────  one byte, then the exec closes it: success; or verb/object/cause: failure;
//!                                             or hung up without a word: it was killed
//! ```

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use hostel_image::inroot;
use hostel_spec::{Hint, IdMap, IdMapping, NamespaceKind};
use hostel_sys::clone::{self, CloneArgs, Fork, WaitStatus};
use hostel_sys::event::{SignalFd, SignalMask};
use hostel_sys::mount::{self, Attributes, Propagation};
use hostel_sys::netlink;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

use super::netns;
use super::payload::Payload;
use super::prepare::{self, Made};
use super::{bundle, hooks, mount_lock, overlay, parcel};
use crate::cgroup::{Layout, MachineCgroup};
use crate::error::{Context, Error, Result, io_text};
use crate::peers::{self, Registration};
use crate::plan::Plan;
use crate::plan::bind_user::{BoundUser, id_map};
use crate::plan::steps::{BondStep, PayloadStep, Slot};
use crate::registry::recover::wait_for_end;
use crate::registry::{Claim, ProcessId, Undo};

/// A machine whose program has been executed.
#[derive(Debug)]
pub struct Launched {
    /// PID 1 as the host numbers it.
    pub pid: i32,
    /// Its identity, for records; `None` when it ended before it could be read.
    pub id: Option<ProcessId>,
    /// Its descriptor.
    pub pidfd: OwnedFd,
}

/// Runs a plan. When it fails, nothing it made is left but what the claim's journal lists; the caller undoes that.
/// `meanwhile` is what the supervisor prepares while the payload sets itself up: it costs no time of its own. What it
/// makes must not say that the machine runs; that is true only when this returns.
pub fn launch<T>(
    plan: &Plan,
    layout: &Layout,
    made: &mut Made,
    claim: &mut Claim,
    meanwhile: impl FnOnce(&Launched, &mut Made, &Claim) -> Result<T>,
) -> Result<(Launched, T)> {
    clone::assert_single_threaded().context("clone", "payload out of a process with several threads")?;
    let umask = rustix::process::umask(Mode::empty());
    let prepared = prepare::run(plan, layout, claim, made);
    let result = prepared.and_then(|()| fork(plan, made)).and_then(|(mut launched, pipes)| {
        let done = accompany(plan, layout, made, claim, &mut launched, pipes.go.as_fd());
        rustix::process::umask(umask);
        finish(made, claim, launched, pipes, done, meanwhile)
    });
    rustix::process::umask(umask);
    // The payload has its own copies; ours would keep the mounts alive.
    made.slots.clear();
    if result.is_err() {
        if let Some(cgroup) = made.cgroup.take() {
            let _ = cgroup.remove();
        }
        made.remove_temporary();
    }
    result
}

/// Our ends: what the payload reports, and what lets it go on.
struct Pipes {
    report: OwnedFd,
    go: OwnedFd,
}

fn fork(plan: &Plan, made: &Made) -> Result<(Launched, Pipes)> {
    let (report_read, report_write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let (go_read, go_write) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).context("make", "socket pair")?;
    let cgroup = made.cgroup.as_ref().map(|c| c.payload_dir());
    let doors = made.cgroup.as_ref().map(MachineCgroup::v1_doors).transpose().map_err(|e| Error::new("place", "payload into v1 cgroups", e))?;
    let args = CloneArgs { flags: flags(plan), cgroup, ..CloneArgs::default() };
    // The payload is born into the network it joins; we are back in ours when `_network` goes.
    let _network = plan.spec.network.namespace.as_deref().map(join).transpose()?;
    // What a buffer of ours holds must not be written twice.
    let visit = if made.joined.is_empty() { None } else { Some(bundle::Visit::begin(made)?) };
    let (mut ours, mut theirs) = (Some((report_read, go_write)), Some((report_write, go_read)));
    let mut payload = || {
        drop(ours.take());
        theirs.take().map_or(1, |(report, go)| Payload::new(plan, made, report, go).run(doors.as_deref().unwrap_or_default()))
    };
    let cloned = match bundle::joined_users(made) {
        Some(_) => bundle::clone_inside(made, &args, &mut payload),
        None => match clone::clone3(&args) {
            Ok(Fork::Child) => clone::exit_now(payload()),
            Ok(Fork::Parent { pid, pidfd }) => Ok((pid, pidfd)),
            Err(e) => Err(e),
        },
    };
    let back = visit.map_or(Ok(()), bundle::Visit::end);
    let (pid, pidfd) = cloned.map_err(|e| clone_error(plan, &e))?;
    match (back, ours) {
        (Ok(()), Some((report, go))) => Ok((Launched { pid, id: None, pidfd }, Pipes { report, go })),
        (back, _) => {
            let _ = clone::pidfd_send_signal(pidfd.as_fd(), 9);
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            Err(back.err().unwrap_or_else(|| Error::new("start", "machine", "its pipes are gone")))
        }
    }
}

/// What the payload waits for: the bond steps, in two parts, and what is prepared beside its first steps.
fn accompany(plan: &Plan, layout: &Layout, made: &mut Made, claim: &mut Claim, launched: &mut Launched, go: BorrowedFd<'_>) -> Result<()> {
    launched.id = record_leader(claim, launched.pid)?;
    let mut users = None;
    bond(plan, made, claim, launched.pid, go, &mut users)?;
    prepare::beside(plan, layout, claim, made)?;
    parcel::send(go, plan, made).context("send", "prepared mounts to the payload")?;
    made.slots.clear();
    if let Some(bundle) = &plan.spec.bundle {
        made.hooked = true;
        hooks::at_runtime(plan, bundle, launched.pid, go)?;
    }
    let network = plan.payload.iter().any(|step| matches!(step, PayloadStep::Network(_)));
    if network {
        made.network.serve(&plan.network, &plan.hostname, open_namespace(launched.pid, "net")?, claim)?;
    }
    if let Some(users) = users.as_ref().filter(|_| plan.payload.contains(&PayloadStep::LockMounts)) {
        mount_lock::serve(go, launched.pidfd.as_fd(), users.as_fd())?;
    }
    if network {
        let _ = rustix::io::write(go, b"n");
    }
    match &plan.spec.bundle {
        Some(bundle) => hooks::before_program(plan, bundle, launched.pid, go, made),
        None => Ok(()),
    }
}

/// The end of a launch: what goes on meanwhile, and what the payload reports.
fn finish<T>(
    made: &mut Made,
    claim: &Claim,
    launched: Launched,
    pipes: Pipes,
    done: Result<()>,
    meanwhile: impl FnOnce(&Launched, &mut Made, &Claim) -> Result<T>,
) -> Result<(Launched, T)> {
    let result = match done.and_then(|()| meanwhile(&launched, made, claim)) {
        // `go` stays open meanwhile: its hanging up tells the payload that the supervisor is dead.
        Ok(prepared) => heard(pipes.report, launched.pidfd.as_fd()).map(|report| (prepared, report)),
        Err(error) => {
            let _ = clone::pidfd_send_signal(launched.pidfd.as_fd(), 9);
            Err(error)
        }
    };
    match result {
        Ok((prepared, Report::Executed)) => Ok((launched, prepared)),
        Ok((_, Report::Failed(error))) | Err(error) => {
            reap(launched.pidfd.as_fd());
            Err(error)
        }
        Ok((_, Report::Silence)) => Err(killed(clone::wait_pidfd(launched.pidfd.as_fd(), clone::WAIT_EXITED))),
    }
}

/// How long a payload that was killed is waited for: what waits for a file system that does not answer ends only when that does.
const DEATH: Duration = Duration::from_secs(5);
/// How long an order to end waits for a start: a machine that is nearly there is ended as every other.
const NEARLY: Duration = Duration::from_secs(3);

/// What the payload reports, unless we are told to end and hear nothing. Orders are looked at, not taken: they are blocked, and are for
/// whoever comes next.
fn heard(report: OwnedFd, payload: BorrowedFd<'_>) -> Result<Report> {
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM.
    let orders = SignalFd::new(SignalMask::of(&[1, 2, 3, 15])).context("open", "signalfd")?;
    // Asked for nothing, it tells only of the hanging up.
    let mut polled = [PollFd::new(&report, PollFlags::empty()), PollFd::new(&orders, PollFlags::IN)];
    poll(&mut polled, None)?;
    if polled[0].revents().is_empty() && poll(&mut polled[..1], Some(NEARLY))? == 0 {
        let _ = clone::pidfd_send_signal(payload, 9);
        return Err(Error::new("start", "machine", "we were told to end before its program could be executed"));
    }
    read_report(report)
}

fn poll(polled: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    let limit = limit.map(|l| Timespec { tv_sec: l.as_secs() as i64, tv_nsec: 0 });
    loop {
        match rustix::event::poll(polled, limit.as_ref()) {
            Err(Errno::INTR) => {}
            other => return other.context("wait for", "payload"),
        }
    }
}

/// Waits for the end of a payload that is dying.
fn reap(payload: BorrowedFd<'_>) {
    if wait_for_end(payload, DEATH).is_ok_and(|ended| ended) {
        let _ = clone::wait_pidfd(payload, clone::WAIT_EXITED);
    }
}

/// Why nothing was heard of the payload: it does not end without a word by itself.
fn killed(end: std::io::Result<Option<WaitStatus>>) -> Error {
    let error = |why: String| Error::new("start", "machine", why);
    match end {
        Ok(Some(WaitStatus::Signaled { signal: 9, .. })) => error("its first process was killed before it could execute the program".into())
            .hint("was there enough memory? `dmesg` tells whom the kernel kills for want of it"),
        Ok(Some(WaitStatus::Signaled { signal, .. })) => {
            error(format!("signal {signal} ended its first process before it could execute the program"))
        }
        _ => error("its first process ended before it could execute the program".into()),
    }
}

/// `None`: it ended already; the report says why.
fn record_leader(claim: &mut Claim, pid: i32) -> Result<Option<ProcessId>> {
    let id = ProcessId::of(pid).context("read", "identity of the payload")?;
    if let Some(process) = id {
        record(claim, Undo::Leader { process })?;
    }
    Ok(id)
}

/// Writes to the journal what is about to be changed.
pub(super) fn record(claim: &mut Claim, undo: Undo) -> Result<()> {
    claim.journal(&undo).map_err(Error::from)
}

pub(super) fn flags(plan: &Plan) -> u64 {
    let n = &plan.spec.namespaces;
    [
        (clone::NEWNS, true),
        (clone::NEWPID, n.pid),
        (clone::NEWUTS, n.uts),
        (clone::NEWIPC, n.ipc),
        (clone::NEWNET, plan.own_network),
        (clone::NEWUSER, plan.user_namespace && !plan.spec.bundle.as_ref().is_some_and(|b| b.joins(NamespaceKind::User))),
    ]
    .into_iter()
    .filter_map(|(flag, own)| own.then_some(flag))
    .sum()
}

fn clone_error(plan: &Plan, error: &std::io::Error) -> Error {
    let out = Error::new("make", format!("namespaces ({})", plan.namespaces().join(", ")), io_text(error));
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::USERS) => out.hint("a limit of /proc/sys/user/max_*_namespaces is reached"),
        Some(Errno::PERM) => out.hint("this process may not make namespaces; `hostel doctor` says what is missing"),
        Some(Errno::INVAL) => out.hint("the kernel lacks one of these namespaces; `hostel doctor` says which"),
        _ => out,
    }
}

/// What the payload says last before its exec.
pub(super) const READY: u8 = 1;

/// What was heard of the payload.
#[derive(Debug)]
pub(super) enum Report {
    /// It was about to execute its program, and then the pipe hung up: the exec closed it. (Who is killed during the exec
    /// is as good as killed by the first instruction of the program.)
    Executed,
    /// Why it could not.
    Failed(Error),
    /// Nothing.
    Silence,
}

pub(super) fn read_report(report: OwnedFd) -> Result<Report> {
    let mut text = Vec::with_capacity(64);
    std::fs::File::from(report).read_to_end(&mut text).context("read", "report of the payload")?;
    let text = match text.as_slice() {
        [] => return Ok(Report::Silence),
        [READY] => return Ok(Report::Executed),
        [READY, text @ ..] | text => text,
    };
    let text = String::from_utf8_lossy(text);
    let mut parts = text.splitn(3, '\0');
    let (verb, object, cause) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    // Verbs are static words of our own; the leak is one string in a process about to end.
    Ok(Report::Failed(Error::new(Box::leak(verb.to_string().into_boxed_str()), object, cause)))
}

/// Runs the bond steps; `users`: the machine's user namespace, once its ids are mapped.
fn bond(plan: &Plan, made: &mut Made, claim: &mut Claim, pid: i32, go: BorrowedFd<'_>, users: &mut Option<OwnedFd>) -> Result<()> {
    for step in &plan.bond {
        match step {
            BondStep::Bundle(step) => {
                if let Some(mapped) = bundle::bond(step, made, pid, users.as_ref().map(AsFd::as_fd))? {
                    *users = Some(mapped);
                }
            }
            BondStep::MapIds => *users = Some(map_ids(made, pid, &plan.bound)?),
            BondStep::MapTree { slot, chown } => map_tree(made, *slot, *chown, users.as_ref().map(AsFd::as_fd))?,
            BondStep::MapMount { slot, mapping, target } => map_mount(made, *slot, *mapping, target, users.as_ref().map(AsFd::as_fd))?,
            BondStep::StackRoot { lower, submounts } => overlay::stack_for(made, pid, *lower, submounts)?,
            BondStep::Release => {
                if plan.payload.contains(&PayloadStep::Wait) {
                    // EPIPE: it died meanwhile; the report says why.
                    let _ = rustix::io::write(go, b"g");
                }
            }
            BondStep::OomScore(score) => {
                let path = format!("/proc/{pid}/oom_score_adj");
                std::fs::write(&path, score.to_string()).context("write", path)?;
            }
            BondStep::Register { demanded } => register(plan, made, pid, *demanded)?,
            BondStep::NameNetwork(name) => {
                let namespace = netns::name(name, pid, made.host_mounts.as_ref().map(AsFd::as_fd), claim)?;
                made.network_name = Some((name.clone(), namespace));
            }
            BondStep::Wire(wiring) => made.network.wire(wiring, open_namespace(pid, "net")?, claim)?,
        }
    }
    Ok(())
}

/// Tells systemd-machined; a failure is only worth a notice where nobody demands it.
fn register(plan: &Plan, made: &mut Made, pid: i32, demanded: bool) -> Result<()> {
    let facts = peers::Facts {
        name: &plan.name,
        uuid: plan.uuid,
        service: &plan.container,
        leader: pid,
        root: &made.tree_path,
        interfaces: plan.host_links().filter_map(|name| netlink::index_of(name).ok()?.try_into().ok()).collect(),
    };
    match Registration::of(&facts, demanded) {
        Ok(registration) => made.registration = registration,
        Err(error) if demanded => return Err(error),
        Err(error) => made.notices.push(error.to_string()),
    }
    Ok(())
}

/// A stay in another network namespace.
struct Visit(OwnedFd);

impl Drop for Visit {
    fn drop(&mut self) {
        // Entering one's own again takes the same right as leaving it did.
        let _ = netlink::enter(self.0.as_fd());
    }
}

fn join(path: &Path) -> Result<Visit> {
    let object = || format!("network namespace {}", path.display());
    let open = |path: &Path| rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let own = open(Path::new("/proc/thread-self/ns/net")).context("open", "own network namespace")?;
    let other = open(path).context("open", object())?;
    netlink::enter(other.as_fd()).context("join", object())?;
    Ok(Visit(own))
}

pub(super) fn open_namespace(pid: i32, kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/{kind}");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open", path)
}

fn map_ids(made: &Made, pid: i32, bound: &[BoundUser]) -> Result<OwnedFd> {
    let range = made.ids.ok_or_else(|| Error::new("map", "ids", "no range was taken"))?;
    let users: Vec<_> = bound.iter().map(|b| (b.uid, b.user.uid)).collect();
    let groups: Vec<_> = bound.iter().map(|b| (b.gid, b.user.gid)).collect();
    for (file, singles) in [("uid_map", users), ("gid_map", groups)] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, id_map(range.base, range.count, &singles)).context("write", path)?;
    }
    open_namespace(pid, "user")
}

fn map_tree(made: &Made, slot: Slot, chown: bool, userns: Option<BorrowedFd<'_>>) -> Result<()> {
    let fd = made.slot(slot).context("use", "tree mount")?;
    let mapped = mount::change(fd, c"", true, Attributes::NONE, Attributes::NONE, Propagation::Keep, userns)
        // A submount of the tree that cannot be mapped shows its files as nobody's; the tree itself still can.
        .or_else(|_| mount::change(fd, c"", false, Attributes::NONE, Attributes::NONE, Propagation::Keep, userns));
    match mapped {
        Ok(()) => Ok(()),
        Err(e) if chown && matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)) => {
            prepare::shift_tree(made)
        }
        Err(e) => Err(Error::new("map", format!("ids of {}", made.tree_path.display()), io_text(&e)).hint(Hint::NoIdmap)),
    }
}

/// `idmap`: host id N is machine id N. `rootidmap`: the source's owner is machine root. `owneridmap`: the source's owner is the target's owner.
fn map_mount(made: &Made, slot: Slot, mapping: IdMapping, target: &Path, userns: Option<BorrowedFd<'_>>) -> Result<()> {
    let fd = made.slot(slot).context("use", "bind mount")?;
    let stat = rustix::fs::fstat(fd).context("read", format!("source of {}", target.display()))?;
    let base = made.base();
    let one = |inside, host| [IdMap { inside, host, count: 1 }];
    let own;
    let map = match mapping {
        IdMapping::None => return Ok(()),
        // Without a user namespace the ids are equal already.
        IdMapping::Idmap => match userns {
            Some(fd) => fd,
            None => return Ok(()),
        },
        IdMapping::Rootidmap => {
            own = bundle::namespace_of(&one(stat.st_uid, base), &one(stat.st_gid, base))?;
            own.as_fd()
        }
        IdMapping::Owneridmap => {
            let owner = inroot::open(made.tree()?, target, OFlags::PATH | OFlags::CLOEXEC).ok().and_then(|fd| rustix::fs::fstat(fd).ok());
            let (uid, gid) = owner.map_or((0, 0), |s| (s.st_uid % 65536, s.st_gid % 65536));
            own = bundle::namespace_of(&one(stat.st_uid, base + uid), &one(stat.st_gid, base + gid))?;
            own.as_fd()
        }
    };
    mount::change(fd, c"", true, Attributes::NONE, Attributes::NONE, Propagation::Keep, Some(map)).map_err(|e| {
        Error::new("map", format!("ids of the bind mount on {}", target.display()), io_text(&e))
            .hint("its file system does not support idmapped mounts; leave the option out")
    })
}
