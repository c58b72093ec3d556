//! A machine's cgroup: `hostel/NAME` carries the limits and the device program, `hostel/NAME/payload` the machine.
//!
//! ```text
//! <base>/hostel/               controllers are enabled down to here when a limit needs them
//! <base>/hostel/.devices-1/    empty; keeps the loaded device program of the default policy (see `devices`)
//! <base>/hostel/NAME/          limits, device program, freezer, kill: nothing in it but its sub-groups
//! <base>/hostel/NAME/payload/  the machine is cloned into it; the root of its cgroup namespace; all below is the guest's
//! <base>/hostel/NAME/exec/     processes of `hostel exec`: v2 allows none beside the groups the guest makes in payload
//! ```
//! On v1 controllers a machine has `hostel/NAME` in the hierarchies its limits need, no others. Moving a process into
//! those costs 6 to 18 ms on a cold kernel, being cloned into a v2 group nothing: hence none without need.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_spec::{MachineName, Resources};
use hostel_sys::bpf;
use rustix::fs::{AtFlags, Gid, Uid, chownat, mkdirat};
use rustix::io::Errno;
use rustix::process::Pid;

use super::devices::{self, Devices};
use super::error::CgroupError;
use super::files::{self, Base, OURS};
use super::layout::{Controller, Kind, Layout, V1};
use super::limits::{self, Amounts, Write};
use super::tree;

/// What a machine's cgroup needs besides its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Give the payload every controller there is (pure v2 only): for guests whose init manages resources. Costs
    /// some 0.1 ms and memory per controller; without it the payload gets none.
    pub delegate_controllers: bool,
    /// What to do when devices cannot be restricted.
    pub devices: Enforcement,
}

/// Whether the device policy may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// No policy, no machine.
    #[default]
    Required,
    /// Go on without: for users who cannot make or open devices anyway (rootless).
    IfPossible,
}

/// The cgroup of one machine, made or found.
#[derive(Debug)]
pub struct MachineCgroup {
    name: MachineName,
    base: Base,
    /// `<base>/hostel/NAME`, for messages and records.
    path: PathBuf,
    dir: OwnedFd,
    payload: OwnedFd,
    v1: Vec<V1Group>,
    absent: Vec<String>,
    restricted: bool,
}

#[derive(Debug)]
pub(crate) struct V1Group {
    pub(crate) controllers: Vec<Controller>,
    base: Base,
    path: PathBuf,
    pub(crate) dir: OwnedFd,
}

/// The v1 hierarchies in which a machine with these limits gets a directory.
fn v1_needed<'a>(layout: &'a Layout, needed: &[Controller]) -> impl Iterator<Item = &'a V1> {
    layout.v1.iter().filter(move |h| h.controllers.iter().any(|c| needed.contains(c)))
}

/// Every directory that [`MachineCgroup::create`] may make for this machine, to be recorded before it does (pure).
///
/// All are needed by [`super::remove_paths`] alone; some need not come to be (v1 devices, v1 freezer).
pub fn planned_paths(layout: &Layout, name: &MachineName, resources: &Resources) -> Vec<PathBuf> {
    let root = match &layout.v2 {
        super::layout::V2::Mounted(base) => base.clone(),
        super::layout::V2::Private => files::PRIVATE.into(),
    };
    let machine = root.join(OURS).join(name.as_str());
    let payload = machine.join("payload");
    let mut needed = limits::controllers(resources);
    needed.extend([Controller::Devices, Controller::Freezer]);
    let v1 = v1_needed(layout, &needed).map(|h| h.base.join(OURS).join(name.as_str()));
    [machine, payload].into_iter().chain(v1).collect()
}

impl MachineCgroup {
    /// Makes the cgroups of a machine and sets its limits and its device policy.
    ///
    /// After an error nothing of the machine is left. A dead machine's empty groups of that name are taken over.
    pub fn create(layout: &Layout, name: &MachineName, resources: &Resources, options: Options) -> Result<MachineCgroup, CgroupError> {
        let needed = limits::controllers(resources);
        let amounts = if limits::relative(resources) { Amounts::of_host() } else { Amounts { memory: 0, swap: 0, tasks: 0 } };
        let writes = limits::writes(resources, amounts, |c| layout.v1_of(c).is_some())?;
        let devices = devices::resolve(resources)?;
        let base = Base::of(&layout.v2)?;
        let on_v2: Vec<Controller> = needed.iter().copied().filter(|c| layout.v1_of(*c).is_none()).collect();
        let delegate = options.delegate_controllers && layout.kind() == Kind::V2;
        let offered = if on_v2.is_empty() && !delegate { Vec::new() } else { offered(&base, &on_v2, resources)? };

        let path = base.path.join(OURS).join(name.as_str());
        let below = Path::new(OURS).join(name.as_str());
        make(&base, &below, &path)?;
        let mut made = match Self::open_made(name, base, path) {
            Ok(made) => made,
            Err((base, err)) => {
                let _ = base.rmdir(&below);
                return Err(err);
            }
        };
        made.absent = devices.absent;
        let filled = made.fill(layout, &needed, &on_v2, if delegate { &offered } else { &[] }, &writes);
        let restricted = filled.and_then(|()| made.restrict_devices(layout, &devices.devices, options.devices));
        match restricted {
            Ok(()) => Ok(made),
            Err(err) => {
                // The cause matters more than what else may go wrong on the way back.
                let _ = made.remove();
                Err(err)
            }
        }
    }

    /// Opens `NAME`, and stands in for `payload` until that is made.
    fn open_made(name: &MachineName, base: Base, path: PathBuf) -> Result<MachineCgroup, (Base, CgroupError)> {
        let open = base.open(&Path::new(OURS).join(name.as_str()));
        let fds = open.and_then(|dir| Ok((rustix::io::fcntl_dupfd_cloexec(&dir, 0)?, dir)));
        match fds {
            Ok((payload, dir)) => {
                Ok(MachineCgroup { name: name.clone(), base, path, dir, payload, v1: Vec::new(), absent: Vec::new(), restricted: false })
            }
            Err(errno) => Err((base, CgroupError::sys("open cgroup", &path)(errno))),
        }
    }

    fn fill(
        &mut self,
        layout: &Layout,
        needed: &[Controller],
        on_v2: &[Controller],
        delegated: &[Controller],
        writes: &[Write],
    ) -> Result<(), CgroupError> {
        if !on_v2.is_empty() || !delegated.is_empty() {
            self.enable_down(on_v2, delegated)?;
        }
        for hierarchy in v1_needed(layout, needed) {
            self.add_v1(hierarchy)?;
        }
        for write in writes {
            self.set(write)?;
        }
        let payload = self.path.join("payload");
        make_in(self.dir.as_fd(), "payload").map_err(CgroupError::sys("create cgroup", &payload))?;
        self.payload = files::open_below(self.dir.as_fd(), c"payload").map_err(CgroupError::sys("open cgroup", &payload))?;
        Ok(())
    }

    /// Enables v2 controllers from the base down: the wanted ones for the machine, the delegated also for its payload.
    fn enable_down(&self, wanted: &[Controller], delegated: &[Controller]) -> Result<(), CgroupError> {
        let all: Vec<Controller> = wanted.iter().chain(delegated.iter().filter(|c| !wanted.contains(c))).copied().collect();
        for below in ["", OURS] {
            let shown = self.base.path.join(below);
            let dir = self.base.open(Path::new(below)).map_err(CgroupError::sys("open cgroup", &shown))?;
            if let Err(errno) = enable(dir.as_fd(), &all) {
                // What is only to be passed on need not be there.
                let errno = if wanted.is_empty() { None } else { enable(dir.as_fd(), wanted).err().map(|_| errno) };
                errno.map_or(Ok(()), |errno| Err(CgroupError::sys("enable controllers in", &shown)(errno)))?;
            }
        }
        let _ = enable(self.dir.as_fd(), delegated);
        Ok(())
    }

    /// Makes the machine's directory in a v1 hierarchy.
    fn add_v1(&mut self, hierarchy: &V1) -> Result<&V1Group, CgroupError> {
        let base = Base::mounted(&hierarchy.base);
        let below = Path::new(OURS).join(self.name.as_str());
        let path = hierarchy.base.join(&below);
        make(&base, &below, &path)?;
        let opened = base.open(&below).map_err(CgroupError::sys("open cgroup", &path));
        let opened = opened.and_then(|dir| {
            // A process can only be put where there are CPUs and memory nodes, and a new directory has none.
            if hierarchy.controllers.contains(&Controller::Cpuset) {
                fill_cpuset(&base, dir.as_fd()).map_err(CgroupError::sys("fill cpuset of", &path))?;
            }
            Ok(dir)
        });
        match opened {
            Ok(dir) => self.v1.push(V1Group { controllers: hierarchy.controllers.clone(), base, path, dir }),
            Err(err) => {
                let _ = base.rmdir(&below);
                return Err(err);
            }
        }
        Ok(&self.v1[self.v1.len() - 1])
    }

    fn set(&self, write: &Write) -> Result<(), CgroupError> {
        let v1 = self.v1.iter().find(|group| group.controllers.contains(&write.controller));
        let (dir, path) = v1.map_or((self.dir.as_fd(), &self.path), |group| (group.dir.as_fd(), &group.path));
        let tries = [Some((write.file, &write.value)), write.instead.as_ref().map(|(file, value)| (*file, value))];
        for (file, value) in tries.into_iter().flatten() {
            match files::write(dir, file, value) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {}
                Err(cause) => return Err(CgroupError::Refused { option: write.option, value: value.clone(), path: path.join(file), cause }),
            }
        }
        let instead = write.instead.as_ref().map_or(String::new(), |(file, _)| format!(" and no {file}"));
        Err(CgroupError::Unsupported { option: write.option, why: format!("this kernel has no {}{instead}", write.file) })
    }

    fn restrict_devices(&mut self, layout: &Layout, devices: &Devices, enforcement: Enforcement) -> Result<(), CgroupError> {
        let Some(program) = devices.program() else { return Ok(()) };
        let cause = match self.attach(&program, devices.marker()) {
            Ok(()) => {
                self.restricted = true;
                return Ok(());
            }
            Err(cause) => cause,
        };
        // No BPF here: the v1 controller can do the same.
        let full = if layout.v1_of(Controller::Devices).is_some() { Ok(layout.clone()) } else { Layout::detect() };
        if let Some(hierarchy) = full.ok().as_ref().and_then(|full| full.v1_of(Controller::Devices)) {
            let set = self.add_v1(hierarchy).and_then(|group| restrict_v1(group, devices));
            self.restricted = set.is_ok();
            return if enforcement == Enforcement::Required { set } else { Ok(()) };
        }
        match enforcement {
            Enforcement::IfPossible => Ok(()),
            Enforcement::Required => {
                Err(CgroupError::Unsupported { option: "DevicePolicy=", why: format!("load a device program: {cause}; and there is no v1 devices controller") })
            }
        }
    }

    /// Attaches the program, from the marker if it is kept there.
    fn attach(&self, program: &[bpf::Insn], marker: Option<&str>) -> std::io::Result<()> {
        let marker = marker.map(|name| Path::new(OURS).join(name));
        if let Some(marker) = &marker
            && let Ok(dir) = self.base.open(marker)
            && let Ok(Some(kept)) = bpf::attached_device_program(dir.as_fd())
        {
            return bpf::attach_device_program(self.dir.as_fd(), kept.as_fd());
        }
        let loaded = bpf::load_device_program(program, "hostel_devices")?;
        bpf::attach_device_program(self.dir.as_fd(), loaded.as_fd())?;
        if let Some(marker) = &marker
            && matches!(self.base.mkdir(marker), Ok(()) | Err(Errno::EXIST))
            && let Ok(dir) = self.base.open(marker)
        {
            // Only the next start's speed depends on it.
            let _ = bpf::attach_device_program(dir.as_fd(), loaded.as_fd());
        }
        Ok(())
    }

    /// Finds the cgroup of a running machine. Takes a complete layout ([`Layout::detect`]), to find its v1 groups too.
    pub fn open(layout: &Layout, name: &MachineName) -> Result<MachineCgroup, CgroupError> {
        let base = Base::of(&layout.v2)?;
        let below = Path::new(OURS).join(name.as_str());
        let path = base.path.join(&below);
        let missing = |errno| match errno {
            Errno::NOENT => CgroupError::Missing(path.clone()),
            errno => CgroupError::sys("open cgroup", &path)(errno),
        };
        let dir = base.open(&below).map_err(missing)?;
        let payload = files::open_below(dir.as_fd(), c"payload").map_err(missing)?;
        let v1 = layout.v1.iter().filter_map(|hierarchy| {
            let base = Base::mounted(&hierarchy.base);
            let dir = base.open(&below).ok()?;
            Some(V1Group { controllers: hierarchy.controllers.clone(), path: hierarchy.base.join(&below), base, dir })
        });
        let v1 = v1.collect();
        Ok(MachineCgroup { name: name.clone(), base, path, dir, payload, v1, absent: Vec::new(), restricted: false })
    }

    /// The v2 directory to clone the machine into (O_PATH): CLONE_INTO_CGROUP.
    pub fn payload_dir(&self) -> BorrowedFd<'_> {
        self.payload.as_fd()
    }

    /// The v2 directory of the machine itself (O_PATH), which holds no process.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn v1_group(&self, controller: Controller) -> Option<&V1Group> {
        self.v1.iter().find(|group| group.controllers.contains(&controller))
    }

    /// The v2 directory for a process that joins the running machine (O_PATH), made at the first call.
    ///
    /// Limits, device policy, freezing and killing hold there as in the payload. [`MachineCgroup::place_v1`] is also due.
    pub fn exec_dir(&self) -> Result<OwnedFd, CgroupError> {
        let path = self.path.join("exec");
        make_in(self.dir.as_fd(), "exec").map_err(CgroupError::sys("create cgroup", &path))?;
        files::open_below(self.dir.as_fd(), c"exec").map_err(CgroupError::sys("open cgroup", &path))
    }

    /// Does the machine have v1 groups, so that its processes must be placed by [`MachineCgroup::place_v1`]?
    pub fn has_v1(&self) -> bool {
        !self.v1.is_empty()
    }

    /// Moves a process into the machine's v1 groups; nothing to do where there are none.
    pub fn place_v1(&self, pid: Pid) -> Result<(), CgroupError> {
        for group in &self.v1 {
            let text = pid.as_raw_nonzero().to_string();
            files::write(group.dir.as_fd(), "cgroup.procs", &text).map_err(CgroupError::sys("put the machine into", &group.path))?;
        }
        Ok(())
    }

    /// Gives the payload's group to the root of the machine's user namespace (cgroups(7), "Delegation").
    pub fn delegate(&self, uid: Uid, gid: Gid) -> Result<(), CgroupError> {
        let shown = self.path.join("payload");
        let failed = || CgroupError::sys("delegate cgroup", &shown);
        chownat(&self.payload, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(failed())?;
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chownat(&self.payload, file, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
        }
        Ok(())
    }

    /// The machine's directories, in the order of their creation; each holds what it made below.
    pub fn paths(&self) -> Vec<PathBuf> {
        let v2 = [self.path.clone(), self.path.join("payload")];
        v2.into_iter().chain(self.v1.iter().map(|group| group.path.clone())).collect()
    }

    /// Device rules that name nothing on this host and so have no effect. Empty after [`MachineCgroup::open`].
    pub fn absent_devices(&self) -> &[String] {
        &self.absent
    }

    /// Was a device policy put in force by [`MachineCgroup::create`]?
    pub fn devices_restricted(&self) -> bool {
        self.restricted
    }

    /// All processes of the machine, also those in groups the guest made, as our pid namespace numbers them.
    pub fn procs(&self) -> Result<Vec<Pid>, CgroupError> {
        tree::procs(self.dir.as_fd()).map_err(CgroupError::sys("list processes of cgroup", &self.path))
    }

    /// Sends SIGKILL to all processes of the machine at once; does not wait.
    pub fn kill(&self) -> Result<(), CgroupError> {
        tree::kill(self.dir.as_fd()).map_err(CgroupError::sys("kill processes of cgroup", &self.path))
    }

    /// Kills what is left and removes all directories of the machine.
    pub fn remove(self) -> Result<(), CgroupError> {
        drop(self.payload);
        // The usual case: nobody is left, the guest made no groups, nobody came by `exec`.
        let quick = rustix::fs::unlinkat(&self.dir, "payload", AtFlags::REMOVEDIR);
        let below = Path::new(OURS).join(self.name.as_str());
        let mut result = Ok(());
        if quick.is_err() || self.base.rmdir(&below).is_err() {
            result = remove_below(&self.base, self.name.as_str(), &self.path);
        }
        for group in self.v1.iter().rev() {
            let removed = remove_below(&group.base, self.name.as_str(), &group.path);
            // Costs nothing to leave clean: unlike on v2 there is nothing kept in it.
            let _ = group.base.rmdir(Path::new(OURS));
            result = result.and(removed);
        }
        result
    }
}

/// Removes `hostel/NAME` in a hierarchy.
pub(crate) fn remove_below(base: &Base, name: &str, shown: &Path) -> Result<(), CgroupError> {
    match base.open(Path::new(OURS)) {
        Ok(ours) => tree::remove(ours.as_fd(), name, shown, tree::PATIENCE),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(CgroupError::sys("open cgroup", shown)(errno)),
    }
}

/// Makes `hostel/NAME`, and `hostel` first if it is not there. Empty leftovers of a dead machine are replaced.
fn make(base: &Base, below: &Path, shown: &Path) -> Result<(), CgroupError> {
    // Somebody may remove an empty `hostel` between our two calls, or make the leftovers look new: try again.
    for _ in 0..16 {
        match base.mkdir(below) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => match base.mkdir(Path::new(OURS)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(CgroupError::sys("create cgroup", &base.path.join(OURS))(errno)),
            },
            Err(Errno::EXIST) => {
                for leaf in ["payload", "exec"] {
                    let _ = base.rmdir(&below.join(leaf));
                }
                if !matches!(base.rmdir(below), Ok(()) | Err(Errno::NOENT)) {
                    return Err(CgroupError::Busy(shown.to_owned()));
                }
            }
            Err(errno) => return Err(CgroupError::sys("create cgroup", shown)(errno)),
        }
    }
    Err(CgroupError::Busy(shown.to_owned()))
}

fn make_in(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match mkdirat(dir, name, rustix::fs::Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// The controllers that the base has to give; an error if a needed one is not among them.
fn offered(base: &Base, needed: &[Controller], resources: &Resources) -> Result<Vec<Controller>, CgroupError> {
    let dir = base.open(Path::new("")).map_err(CgroupError::sys("open cgroup", &base.path))?;
    let text = files::read(dir.as_fd(), "cgroup.controllers").map_err(CgroupError::sys("read cgroup.controllers of", &base.path))?;
    let has = |c: &Controller| text.split_ascii_whitespace().any(|word| word == c.v2_name());
    if let Some(lacking) = needed.iter().find(|c| !has(c)) {
        let why = format!("the {} controller is neither on cgroup v1 nor offered by {}", lacking.v2_name(), base.path.display());
        return Err(CgroupError::Unsupported { option: limits::option_of(resources, *lacking), why });
    }
    let all = [Controller::Cpu, Controller::Cpuset, Controller::Io, Controller::Memory, Controller::Pids];
    Ok(all.into_iter().filter(has).collect())
}

/// Enables controllers for the children of a v2 directory, unless they are.
fn enable(dir: BorrowedFd<'_>, controllers: &[Controller]) -> Result<(), Errno> {
    let on = files::read(dir, "cgroup.subtree_control")?;
    let off = controllers.iter().map(|c| c.v2_name()).filter(|name| !on.split_ascii_whitespace().any(|word| word == *name));
    let line = off.map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    if line.is_empty() { Ok(()) } else { files::write(dir, "cgroup.subtree_control", &line) }
}

/// Fills cpuset.cpus and cpuset.mems of `hostel` and of the machine's directory from the one above.
fn fill_cpuset(base: &Base, machine: BorrowedFd<'_>) -> Result<(), Errno> {
    let top = base.open(Path::new(""))?;
    let ours = base.open(Path::new(OURS))?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut above = files::read(top.as_fd(), file)?;
        for dir in [ours.as_fd(), machine] {
            let have = files::read(dir, file)?;
            if have.trim().is_empty() {
                files::write(dir, file, above.trim())?;
            } else {
                above = have;
            }
        }
    }
    Ok(())
}

/// Sets the device list of a v1 group: deny all, then allow.
fn restrict_v1(group: &V1Group, devices: &Devices) -> Result<(), CgroupError> {
    let set = |file: &str, value: &str| {
        files::write(group.dir.as_fd(), file, value).map_err(|cause| CgroupError::Refused {
            option: "DevicePolicy=",
            value: value.into(),
            path: group.path.join(file),
            cause,
        })
    };
    set("devices.deny", "a")?;
    devices.v1_lines().iter().try_for_each(|line| set("devices.allow", line))
}
