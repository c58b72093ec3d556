//! Making a machine's cgroups: directories, limits, device policy; all or nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_process::devices::{self, Devices};
use hostel_spec::{GroupFile, MachineName, Resources};
use hostel_sys::bpf;
use rustix::io::Errno;

use super::error::CgroupError;
use super::files::{self, Base, OURS};
use super::layout::{Controller, Kind, Layout, V1, V2};
use super::limits::{self, Amounts, Write};
use super::machine::{LEAVES, MachineCgroup, V1Group, make_in, remove_below};

/// What a machine's cgroup needs besides its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Give the payload every controller there is (pure v2 only): for guests whose init manages resources. Costs
    /// some 0.1 ms and memory per controller; without it the payload gets none.
    pub delegate_controllers: bool,
    /// The most groups a guest may have made at a time; `None`: the kernel's limit, none.
    pub max_groups: Option<u32>,
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

/// The controllers in whose hierarchies the machine has a group.
pub(crate) fn needed_of(layout: &Layout, resources: &Resources) -> Vec<Controller> {
    let mut needed = limits::controllers(resources);
    if resources.all_controllers {
        needed.extend(layout.v1.iter().flat_map(|h| &h.controllers));
    }
    needed
}

/// The v1 hierarchies in which a machine with these limits gets a directory.
pub(crate) fn v1_needed<'a>(layout: &'a Layout, needed: &[Controller]) -> impl Iterator<Item = &'a V1> {
    layout.v1.iter().filter(move |h| h.controllers.iter().any(|c| needed.contains(c)))
}

/// The directories that [`MachineCgroup::create`] may make for this machine, to be recorded before it does (pure); they
/// hold all others. Relative to the top of the v2 hierarchy where that is not mounted.
///
/// That of the v1 devices controller comes to be only where BPF is missing; a layout of [`Layout::detect_for`] does not
/// know it, so record [`MachineCgroup::paths`] once more if [`MachineCgroup::has_v1`] unexpectedly.
pub fn planned_paths(layout: &Layout, name: &MachineName, resources: &Resources) -> Vec<PathBuf> {
    let root = match &layout.v2 {
        V2::Mounted(base) => base.clone(),
        V2::Private => files::PRIVATE.into(),
    };
    let machine = root.join(OURS).join(name.as_str());
    let mut needed = needed_of(layout, resources);
    needed.push(Controller::Devices);
    let v1 = v1_needed(layout, &needed).map(|h| h.base.join(OURS).join(name.as_str()));
    [machine].into_iter().chain(v1).collect()
}

impl MachineCgroup {
    /// Makes the cgroups of a machine and sets its limits and its device policy.
    ///
    /// After an error nothing of the machine is left. A dead machine's empty groups of that name are taken over.
    pub fn create(layout: &Layout, name: &MachineName, resources: &Resources, options: Options) -> Result<MachineCgroup, CgroupError> {
        let needed = needed_of(layout, resources);
        let amounts = if limits::relative(resources) { Amounts::of_host() } else { Amounts { memory: 0, swap: 0, tasks: 0 } };
        let writes = limits::writes(resources, amounts, |c| layout.v1_of(c).is_some())?;
        let resolved = devices::resolve(resources.device_policy, &resources.devices).map_err(no_device)?;
        let base = Base::of(&layout.v2)?;
        let on_v2: Vec<Controller> = needed.iter().copied().filter(|c| layout.v1_of(*c).is_none()).collect();
        let delegate = options.delegate_controllers && layout.kind() == Kind::V2;
        let offered = if on_v2.is_empty() && !delegate { Vec::new() } else { offered(&base, &on_v2, resources)? };
        let delegated = if delegate { &offered[..] } else { &[] };

        let mut making = Making::begin(base, name)?;
        let payload = making.fill(layout, &needed, &on_v2, delegated, (resources, &writes), options);
        let made = payload.and_then(|payload| Ok((payload, making.restrict_devices(layout, &resolved.devices, options.devices)?)));
        match made {
            Ok((payload, restricted)) => Ok(MachineCgroup {
                name: name.clone(),
                base: making.base,
                path: making.path,
                dir: making.dir,
                payload,
                v1: making.v1,
                absent: resolved.absent,
                restricted,
            }),
            Err(err) => {
                making.undo();
                Err(err)
            }
        }
    }
}

/// A machine's cgroups on the way.
struct Making<'a> {
    name: &'a MachineName,
    base: Base,
    path: PathBuf,
    dir: OwnedFd,
    v1: Vec<V1Group>,
}

impl<'a> Making<'a> {
    /// Makes `hostel/NAME` on v2.
    fn begin(base: Base, name: &'a MachineName) -> Result<Making<'a>, CgroupError> {
        let below = Path::new(OURS).join(name.as_str());
        let path = base.path.join(&below);
        make(&base, &below, &path)?;
        match base.open(&below) {
            Ok(dir) => Ok(Making { name, base, path, dir, v1: Vec::new() }),
            Err(errno) => {
                let _ = base.rmdir(&below);
                Err(CgroupError::sys("open cgroup", &path)(errno))
            }
        }
    }

    /// Takes everything back; the cause of that matters more than what else may go wrong on the way.
    fn undo(self) {
        let _ = remove_below(&self.base, self.name.as_str(), &self.path);
        for group in self.v1 {
            let _ = group.remove(self.name.as_str());
        }
    }

    /// Sets the limits and makes the payload's group.
    fn fill(
        &mut self,
        layout: &Layout,
        needed: &[Controller],
        on_v2: &[Controller],
        delegated: &[Controller],
        (resources, writes): (&Resources, &[Write]),
        options: Options,
    ) -> Result<OwnedFd, CgroupError> {
        if !on_v2.is_empty() || !delegated.is_empty() {
            self.enable_down(on_v2, delegated)?;
        }
        for hierarchy in v1_needed(layout, needed) {
            self.add_v1(hierarchy)?;
        }
        for write in writes {
            self.set(write)?;
        }
        for file in &resources.more {
            self.set_file(file)?;
        }
        self.write_unified(layout, resources)?;
        if let Some(most) = options.max_groups {
            let text = most.to_string();
            files::write(self.dir.as_fd(), "cgroup.max.descendants", &text).map_err(CgroupError::sys("limit groups in", &self.path))?;
        }
        let payload = self.path.join("payload");
        make_in(self.dir.as_fd(), "payload").map_err(CgroupError::sys("create cgroup", &payload))?;
        files::open_below(self.dir.as_fd(), c"payload").map_err(CgroupError::sys("open cgroup", &payload))
    }

    /// Enables v2 controllers from the base down: the wanted ones for the machine, the delegated also for its payload.
    fn enable_down(&self, wanted: &[Controller], delegated: &[Controller]) -> Result<(), CgroupError> {
        let all: Vec<Controller> = wanted.iter().chain(delegated.iter().filter(|c| !wanted.contains(c))).copied().collect();
        for below in ["", OURS] {
            let shown = self.base.path.join(below);
            let dir = self.base.open(Path::new(below)).map_err(CgroupError::sys("open cgroup", &shown))?;
            if enable(dir.as_fd(), &all).is_err() {
                enable(dir.as_fd(), wanted).map_err(CgroupError::sys("enable controllers in", &shown))?;
                enable_each(dir.as_fd(), delegated);
            }
        }
        enable_each(self.dir.as_fd(), delegated);
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
                let open = |below: &str| base.open(Path::new(below)).map_err(CgroupError::sys("open cgroup", &path));
                let (top, ours) = (open("")?, open(OURS)?);
                fill_cpuset(&[top.as_fd(), ours.as_fd(), dir.as_fd()]).map_err(CgroupError::sys("fill cpuset of", &path))?;
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

    /// What is asked of v2 by the names of its files.
    fn write_unified(&self, layout: &Layout, resources: &Resources) -> Result<(), CgroupError> {
        if let Some(hierarchy) = layout.v1.iter().flat_map(|h| &h.controllers).find(|c| limits::unified(resources, **c)) {
            let why = format!("this host has the {} controller on cgroup v1", hierarchy.v2_name());
            return Err(CgroupError::Unsupported { option: "unified", why });
        }
        for (file, value) in &resources.unified {
            files::write(self.dir.as_fd(), file, value).map_err(|cause| CgroupError::Refused {
                option: "unified",
                value: value.clone(),
                path: self.path.join(file),
                cause,
            })?;
        }
        Ok(())
    }

    fn set(&self, write: &Write) -> Result<(), CgroupError> {
        let tries = std::iter::once((write.file, &write.value)).chain(write.instead.iter().map(|(file, value)| (*file, value)));
        let v1 = self.v1.iter().find(|group| group.controllers.contains(&write.controller));
        self.set_first(write.option, v1, &mut tries.map(|(file, value)| (file, value.as_str())))
    }

    /// A limit that only bundles have.
    fn set_file(&self, asked: &GroupFile) -> Result<(), CgroupError> {
        let v1 = self.v1.iter().find(|group| group.controllers.iter().any(|c| c.v2_name() == asked.controller));
        let (tries, version) = if v1.is_some() { (&asked.v1, "v1") } else { (&asked.v2, "v2") };
        if tries.is_empty() {
            let why = format!("this host has the {} controller on cgroup {version}, which has no such limit", asked.controller);
            return Err(CgroupError::Unsupported { option: asked.key, why });
        }
        self.set_first(asked.key, v1, &mut tries.iter().map(|(file, value)| (file.as_str(), value.as_str())))
    }

    /// Writes the first of several files that the kernel has.
    fn set_first(&self, option: &'static str, v1: Option<&V1Group>, tries: &mut dyn Iterator<Item = (&str, &str)>) -> Result<(), CgroupError> {
        let (dir, path) = v1.map_or((self.dir.as_fd(), &self.path), |group| (group.dir.as_fd(), &group.path));
        let mut lacking = Vec::new();
        for (file, value) in tries {
            match files::write(dir, file, value) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => lacking.push(file),
                Err(cause) => return Err(CgroupError::Refused { option, value: value.to_owned(), path: path.join(file), cause }),
            }
        }
        Err(CgroupError::Unsupported { option, why: format!("this kernel has no {}", lacking.join(" and no ")) })
    }

    /// Puts the device policy in force, by BPF or by the v1 controller; tells whether it is.
    fn restrict_devices(&mut self, layout: &Layout, devices: &Devices, enforcement: Enforcement) -> Result<bool, CgroupError> {
        let Some(program) = devices.program() else { return Ok(false) };
        let Err(cause) = self.attach(&program, devices.marker()) else { return Ok(true) };
        // No BPF here: the v1 controller can do the same.
        let full = if layout.v1_of(Controller::Devices).is_some() { Ok(layout.clone()) } else { Layout::detect() };
        if let Some(hierarchy) = full.ok().as_ref().and_then(|full| full.v1_of(Controller::Devices)) {
            let set = self.add_v1(hierarchy).and_then(|group| restrict_v1(group, devices)).map(|()| true);
            return if enforcement == Enforcement::Required { set } else { Ok(set.is_ok()) };
        }
        match enforcement {
            Enforcement::IfPossible => Ok(false),
            Enforcement::Required => {
                let why = format!("load a device program: {cause}; and there is no v1 devices controller");
                Err(CgroupError::Unsupported { option: "DevicePolicy=", why })
            }
        }
    }

    /// Attaches the program, from the marker if it is kept there.
    fn attach(&self, program: &[bpf::Insn], marker: Option<&str>) -> std::io::Result<()> {
        let marker = marker.map(|name| Path::new(OURS).join(name));
        if let Some(marker) = &marker
            && let Ok(dir) = self.base.open(marker)
            && let Ok(Some(kept)) = bpf::attached_program(dir.as_fd(), bpf::Hook::Device)
        {
            return bpf::attach_program(self.dir.as_fd(), bpf::Hook::Device, kept.as_fd());
        }
        let loaded = bpf::load_program(bpf::Hook::Device, program, "hostel_devices")?;
        bpf::attach_program(self.dir.as_fd(), bpf::Hook::Device, loaded.as_fd())?;
        if let Some(marker) = &marker
            && matches!(self.base.mkdir(marker), Ok(()) | Err(Errno::EXIST))
            && let Ok(dir) = self.base.open(marker)
        {
            // Only the next start's speed depends on it.
            let _ = bpf::attach_program(dir.as_fd(), bpf::Hook::Device, loaded.as_fd());
        }
        Ok(())
    }
}

/// Of a rule that names something else.
fn no_device(bad: devices::NoDevice) -> CgroupError {
    match bad.cause {
        Some(errno) => CgroupError::sys("stat device", &bad.path)(errno),
        None => CgroupError::Invalid { option: "DeviceAllow=", why: format!("{} is not a device", bad.path.display()) },
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
                for leaf in LEAVES {
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

/// The controllers that the base has to give; an error if a needed one is not among them.
pub(crate) fn offered(base: &Base, needed: &[Controller], resources: &Resources) -> Result<Vec<Controller>, CgroupError> {
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
pub(crate) fn enable(dir: BorrowedFd<'_>, controllers: &[Controller]) -> Result<(), Errno> {
    let on = files::read(dir, "cgroup.subtree_control")?;
    let off = controllers.iter().map(|c| c.v2_name()).filter(|name| !on.split_ascii_whitespace().any(|word| word == *name));
    let line = off.map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    if line.is_empty() { Ok(()) } else { files::write(dir, "cgroup.subtree_control", &line) }
}

/// Enables what can be enabled: what is only to be passed on to the guest need not be there.
fn enable_each(dir: BorrowedFd<'_>, controllers: &[Controller]) {
    if enable(dir, controllers).is_err() {
        for controller in controllers {
            let _ = enable(dir, &[*controller]);
        }
    }
}

/// Fills cpuset.cpus and cpuset.mems of directories from the one above, the first.
pub(crate) fn fill_cpuset(dirs: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut above = files::read(dirs[0], file)?;
        for dir in &dirs[1..] {
            let have = files::read(*dir, file)?;
            if have.trim().is_empty() {
                files::write(*dir, file, above.trim())?;
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
