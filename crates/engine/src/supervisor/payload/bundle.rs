//! The payload's steps of a machine of an OCI bundle. Everything in the tree goes by descriptor, as for every machine; /proc
//! is only written through an instance of our own, whatever the bundle mounts there.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_image::inroot;
use hostel_process::r#become::Failure;
use hostel_spec::{BundleMount, BundleSource, DeviceNode, MountPropagation, NodeKind, TimeOffsets};
use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use hostel_sys::proc;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::super::{bundle, hooks};
use super::{Payload, Step, io_of, missing_in_tree};
use crate::plan::bundle_steps::BundleStep;
use crate::plan::steps::{Missing, Slot};

/// Hierarchies of the kernel's own that must not be where a link of the tree leads.
const KERNELS: [&str; 3] = ["proc", "sysfs", "cgroup2"];

impl Payload<'_> {
    pub(super) fn bundle_step(&mut self, step: &BundleStep) -> Step {
        match step {
            BundleStep::Root(slot) => self.bundle_root(*slot),
            BundleStep::CgroupNamespace => proc::unshare_cgroup().map_err(|e| Failure::new("make", "cgroup namespace", e)),
            BundleStep::Time(offsets) => time(offsets),
            BundleStep::Mount(mount) => self.bundle_mount(mount),
            BundleStep::Devices(nodes, prepared) => nodes.iter().enumerate().try_for_each(|(at, node)| self.node(node, *prepared, at)),
            BundleStep::DeviceLinks => self.device_links(),
            BundleStep::Console(pts) => self.bundle_console(*pts),
            BundleStep::Terminals(pts, count, directory) => (1..=*count).try_for_each(|number| self.terminal(*pts, number, directory.as_deref())),
            BundleStep::RuntimeHooks => self.runtime_hooks(),
            BundleStep::CreateContainerHooks => self.create_container_hooks(),
            BundleStep::Sysctl(list) => self.sysctl(list),
            BundleStep::Mask(paths) => self.bundle_mask(paths),
            BundleStep::ReadOnly(paths) => paths.iter().try_for_each(|path| self.read_only(path)),
            BundleStep::Propagation(list) => list.iter().try_for_each(|(path, p, all)| propagate(path, *p, *all)),
            BundleStep::Domainname(name) => proc::set_domainname(name.as_bytes()).map_err(|e| Failure::new("set", "domain name", e)),
            BundleStep::Labels { apparmor, selinux } => self.labels(apparmor.as_deref(), selinux.as_deref()),
        }
    }

    /// At its own place, where hooks that enter the mount namespace look for it; over "/" if that cannot be reached.
    fn bundle_root(&mut self, slot: Slot) -> Step {
        let failed = |e: io::Error| Failure::new("attach", "root", e);
        let tree = self.slot(slot)?;
        let place = rustix::fs::open(&self.plan.tree.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        match place.map_err(io::Error::from).and_then(|place| mount::attach(tree, place.as_fd(), c"")) {
            Ok(()) => {}
            Err(_) => mount::attach(tree, rustix::fs::CWD, c"/").map_err(failed)?,
        }
        rustix::process::fchdir(tree).map_err(|e| Failure::new("enter", "root", e))?;
        self.root = Some(rustix::io::fcntl_dupfd_cloexec(tree, 3).map_err(|e| Failure::new("open", "root", e))?);
        Ok(())
    }

    /// A directory of the tree for a kernel's hierarchy: reached through no link, or `/proc` would be wherever the tree likes.
    fn plain_place(&self, target: &Path) -> Result<OwnedFd, Failure> {
        let object = || format!("mount point {}", target.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match inroot::open_beneath_no_symlinks(self.root()?, target, flags) {
            Err(e) if missing_in_tree(&e) => {}
            Err(hostel_image::Cause::Os(Errno::LOOP)) => {
                return Err(Failure::new("use", object(), io::Error::other("a symbolic link leads to it; a directory is needed there")));
            }
            opened => return opened.map_err(|e| Failure::new("open", object(), io_of(e))),
        }
        inroot::make_directories(self.root()?, target, Mode::from_raw_mode(0o755)).map_err(|e| Failure::new("make", object(), io_of(e)))?;
        inroot::open_beneath_no_symlinks(self.root()?, target, flags).map_err(|e| Failure::new("open", object(), io_of(e)))
    }

    fn bundle_mount(&mut self, asked: &BundleMount) -> Step {
        let BundleSource::Fresh { file_system, source, options, copy_up } = &asked.source else { return Ok(()) };
        let object = || format!("{file_system} on {}", asked.target.display());
        // What is copied up has to be written first.
        let late = if *copy_up { asked.attributes.set & Attributes::RDONLY.0 } else { 0 };
        let fd = match fresh(file_system, source, options, Attributes(asked.attributes.set & !late)) {
            Ok(fd) => fd,
            Err(e) if file_system == "sysfs" && e.kind() == io::ErrorKind::PermissionDenied => {
                host_sys().map_err(|e| Failure::new("mount", object(), e))?
            }
            Err(e) => return Err(Failure::new("mount", object(), e)),
        };
        let place = if KERNELS.contains(&file_system.as_str()) {
            Some(self.plain_place(&asked.target)?)
        } else {
            self.target(&asked.target, Missing::MakeDir, fd.as_fd())?
        };
        let Some(place) = place else { return Ok(()) };
        if *copy_up {
            copy_up_into(fd.as_fd(), place.as_fd(), &asked.target, options)?;
            mount::change(fd.as_fd(), c"", false, Attributes(late), Attributes::NONE, Propagation::Keep, None)
                .map_err(|e| Failure::new("change", object(), e))?;
        }
        mount::attach(fd.as_fd(), place.as_fd(), c"").map_err(|e| Failure::new("attach", object(), e))?;
        if let Some((p, all)) = asked.propagation {
            mount::change(fd.as_fd(), c"", all, Attributes::NONE, Attributes::NONE, bundle::propagation(p), None)
                .map_err(|e| Failure::new("change", format!("propagation of {}", object()), e))?;
        }
        Ok(())
    }

    fn node(&self, node: &DeviceNode, prepared: Option<Slot>, at: usize) -> Step {
        let object = || node.path.display().to_string();
        let failed = |e: Errno| Failure::new("make", object(), e);
        let root = self.root()?;
        let (kind, device) = match node.kind {
            NodeKind::Char => (FileType::CharacterDevice, rustix::fs::makedev(node.major, node.minor)),
            NodeKind::Block => (FileType::BlockDevice, rustix::fs::makedev(node.major, node.minor)),
            NodeKind::Fifo => (FileType::Fifo, 0),
        };
        let is = |fd: BorrowedFd<'_>| {
            rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == kind && (kind == FileType::Fifo || s.st_rdev == device))
        };
        if let Some(slot) = prepared.filter(|_| kind != FileType::Fifo) {
            return self.bind_numbered(slot, at, &node.path, &object);
        }
        let above = node.path.parent().unwrap_or(Path::new("/"));
        inroot::make_directories(root, above, Mode::from_raw_mode(0o755)).map_err(|e| Failure::new("make", above.display().to_string(), io_of(e)))?;
        let (dir, name) = inroot::parent(root, &node.path).map_err(|e| Failure::new("open", object(), io_of(e)))?;
        match rustix::fs::mknodat(&dir, name, kind, Mode::from_raw_mode(node.mode), device) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let present = rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(failed)?;
                // The image's own, or the mount's: as good if it is the same device, else not what was asked for.
                if is(present.as_fd()) {
                    return Ok(());
                }
                return Err(Failure::new("make", object(), io::Error::other("something else is in its place")));
            }
            Err(e) => return Err(failed(e)),
        }
        rustix::fs::chownat(&dir, name, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        // The umask has taken bits, and chown(2) may take the set-id ones.
        rustix::fs::chmodat(&dir, name, Mode::from_raw_mode(node.mode), AtFlags::empty()).map_err(failed)
    }

    /// What is called `number` in a prepared file system, on `path` of the tree.
    fn bind_numbered(&self, of: Slot, number: usize, path: &Path, object: &dyn Fn() -> String) -> Step {
        let failed = |e: io::Error| Failure::new("bind", object(), e);
        let name = CString::new(number.to_string()).unwrap_or_default();
        let fd = mount::clone_tree(self.slot(of)?, &name, false).map_err(failed)?;
        let Some(place) = self.target(path, Missing::MakeFile, fd.as_fd())? else { return Ok(()) };
        mount::attach(fd.as_fd(), place.as_fd(), c"").map_err(failed)
    }

    fn device_links(&self) -> Step {
        let dev = match inroot::directory(self.root()?, Path::new("/dev")) {
            Ok(dev) => dev,
            Err(e) => return Err(Failure::new("open", "/dev", io_of(e))),
        };
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("core", "/proc/kcore"),
            ("ptmx", "pts/ptmx"),
        ] {
            match rustix::fs::symlinkat(target, &dev, name) {
                Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
                Err(e) => return Err(Failure::new("link", format!("/dev/{name}"), e)),
            }
        }
        Ok(())
    }

    /// The terminal, out of the devpts it was opened in; not by any name of the tree.
    fn bundle_console(&self, pts: Slot) -> Step {
        let failed = |e: io::Error| Failure::new("bind", "/dev/console", e);
        let Some(slave) = self.console.as_ref().map(AsFd::as_fd) else { return Err(Failure::new("use", "terminal", Errno::BADF)) };
        let name = rustix::fs::readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&slave)), Vec::new());
        let number = name.ok().and_then(|n| n.to_string_lossy().rsplit('/').next().map(str::to_owned)).unwrap_or_default();
        let number = CString::new(number).unwrap_or_default();
        let fd = mount::clone_tree(self.slot(pts)?, &number, false).map_err(failed)?;
        let (wanted, found) = (rustix::fs::fstat(slave), rustix::fs::fstat(&fd));
        if !matches!((wanted, found), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)) {
            return Err(failed(io::Error::other("it is not the terminal that was opened")));
        }
        let Some(place) = self.target(Path::new("/dev/console"), Missing::MakeFile, fd.as_fd())? else { return Ok(()) };
        mount::attach(fd.as_fd(), place.as_fd(), c"").map_err(failed)
    }

    /// A further terminal: the supervisor has opened those from 1 on in a devpts that nobody else had.
    fn terminal(&self, pts: Slot, number: u32, directory: Option<&str>) -> Step {
        let name = format!("tty{number}");
        let object = || format!("/dev/{name}");
        let path = Path::new("/dev").join(directory.unwrap_or_default()).join(&name);
        if let Some(directory) = directory {
            let above = Path::new("/dev").join(directory);
            inroot::make_directories(self.root()?, &above, Mode::from_raw_mode(0o755)).map_err(|e| Failure::new("make", object(), io_of(e)))?;
            let dev = inroot::directory(self.root()?, Path::new("/dev")).map_err(|e| Failure::new("open", "/dev", io_of(e)))?;
            let _ = rustix::fs::unlinkat(&dev, &name, AtFlags::empty());
            rustix::fs::symlinkat(format!("{directory}/{name}"), &dev, &name).map_err(|e| Failure::new("link", object(), e))?;
        }
        self.bind_numbered(pts, number as usize, &path, &object)
    }

    fn runtime_hooks(&self) -> Step {
        // EPIPE: the supervisor is dead, and we are in a moment.
        let _ = rustix::io::write(&self.go, b"h");
        let mut byte = [0u8; 1];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.go, &mut byte)) {
            Ok(1) => Ok(()),
            _ => hostel_sys::clone::exit_now(1),
        }
    }

    fn create_container_hooks(&self) -> Step {
        let Some(bundle) = &self.plan.spec.bundle else { return Ok(()) };
        let state =
            hooks::state(self.plan, bundle, "creating", Some(std::process::id() as i32)).map_err(|e| Failure::new("write", "state for hooks", e))?;
        hooks::run("createContainer", &bundle.hooks.create_container, state.as_fd(), Path::new("/"))
            .map_err(|e| Failure::new("run", e.object, io::Error::other(e.cause)))
    }

    /// What startContainer hooks are told; to be made before descriptors are closed.
    pub(super) fn start_state(&self) -> Result<Option<OwnedFd>, Failure> {
        let Some(bundle) = self.plan.spec.bundle.as_ref().filter(|b| !b.hooks.start_container.is_empty()) else { return Ok(None) };
        let state = hooks::state(self.plan, bundle, "created", Some(std::process::id() as i32));
        state.map(Some).map_err(|e| Failure::new("write", "state for hooks", e))
    }

    /// In the machine, as limited as its program.
    pub(super) fn start_container_hooks(&self, state: Option<&OwnedFd>) -> Step {
        let (Some(bundle), Some(state)) = (&self.plan.spec.bundle, state) else { return Ok(()) };
        hooks::run("startContainer", &bundle.hooks.start_container, state.as_fd(), Path::new("/"))
            .map_err(|e| Failure::new("run", e.object, io::Error::other(e.cause)))
    }

    fn sysctl(&self, list: &[(String, String)]) -> Step {
        let proc = own_proc()?;
        for (name, value) in list {
            let failed = |e: Errno| Failure::new("set", format!("kernel parameter {name}"), e);
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let path = format!("sys/{name}");
            let file = rustix::fs::openat2(&proc, path.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(failed)?;
            let written = rustix::io::write(&file, value.as_bytes()).map_err(failed)?;
            if written != value.len() {
                return Err(failed(Errno::IO));
            }
        }
        Ok(())
    }

    /// Files are covered by the host's null device, verified to be that; directories by an empty read-only file system.
    fn bundle_mask(&self, paths: &[PathBuf]) -> Step {
        let null = null_device()?;
        for path in paths {
            let object = || path.display().to_string();
            let failed = |e: io::Error| Failure::new("cover", object(), e);
            let place = match inroot::open(self.root()?, path, OFlags::PATH) {
                Ok(place) => place,
                Err(e) if missing_in_tree(&e) || matches!(e, hostel_image::Cause::Os(Errno::NOTDIR)) => continue,
                Err(e) => return Err(Failure::new("open", object(), io_of(e))),
            };
            let before = mount::look(place.as_fd(), c"").map_err(failed)?;
            let cover = if FileType::from_raw_mode(before.mode) == FileType::Directory {
                let options = [FsOption::Text(c"mode", c"0555"), FsOption::Text(c"nr_inodes", c"2"), FsOption::Text(c"source", c"tmpfs")];
                let attributes = Attributes::RDONLY.or(Attributes::NOSUID).or(Attributes::NODEV).or(Attributes::NOEXEC);
                mount::filesystem(c"tmpfs", &options, attributes).map_err(failed)?
            } else {
                mount::clone_tree(null.as_fd(), c"", false).map_err(failed)?
            };
            mount::attach(cover.as_fd(), place.as_fd(), c"").map_err(failed)?;
            // By its name again: a mask that is silently not there is worse than none.
            let now = inroot::open(self.root()?, path, OFlags::PATH).map_err(|e| Failure::new("verify", object(), io_of(e)))?;
            if mount::mount_id(now.as_fd(), c"").map_err(failed)? == before.mount {
                return Err(failed(io::Error::other("the mask is not in place")));
            }
        }
        Ok(())
    }

    fn read_only(&self, path: &Path) -> Step {
        let object = || format!("{} read-only", path.display());
        let failed = |e: io::Error| Failure::new("make", object(), e);
        let place = match inroot::open(self.root()?, path, OFlags::PATH) {
            Ok(place) => place,
            Err(e) if missing_in_tree(&e) || matches!(e, hostel_image::Cause::Os(Errno::NOTDIR)) => return Ok(()),
            Err(e) => return Err(Failure::new("open", path.display().to_string(), io_of(e))),
        };
        let fd = mount::clone_tree(place.as_fd(), c"", true).map_err(failed)?;
        mount::change(fd.as_fd(), c"", true, Attributes::RDONLY, Attributes::NONE, Propagation::Keep, None).map_err(failed)?;
        let keeps = path == Path::new("/proc/sys") && self.plan.spec.bundle.as_ref().is_some_and(|b| b.network_sysctl);
        let net = if keeps { Some(mount::clone_tree(place.as_fd(), c"net", false).map_err(failed)?) } else { None };
        mount::attach(fd.as_fd(), place.as_fd(), c"").map_err(failed)?;
        let Some(net) = net else { return Ok(()) };
        let over =
            inroot::open(self.root()?, Path::new("/proc/sys/net"), OFlags::PATH).map_err(|e| Failure::new("open", "/proc/sys/net", io_of(e)))?;
        mount::attach(net.as_fd(), over.as_fd(), c"").map_err(failed)
    }

    fn labels(&self, apparmor: Option<&str>, selinux: Option<&str>) -> Step {
        let proc = own_proc()?;
        let write = |path: &str, text: &str| -> Result<(), Errno> {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let file = rustix::fs::openat2(&proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
            rustix::io::write(&file, text.as_bytes()).map(drop)
        };
        if let Some(profile) = apparmor {
            let text = format!("exec {profile}");
            write("self/attr/apparmor/exec", &text)
                .or_else(|_| write("self/attr/exec", &text))
                .map_err(|e| Failure::new("set", format!("AppArmor profile {profile}"), e))?;
        }
        if let Some(label) = selinux {
            write("self/attr/exec", label).map_err(|e| Failure::new("set", format!("SELinux label {label}"), e))?;
        }
        Ok(())
    }
}

/// Fills a new file system with what is in the directory that it will cover, whose mode and owner it has unless options say others.
fn copy_up_into(made: BorrowedFd<'_>, covered: BorrowedFd<'_>, path: &Path, options: &[(String, String)]) -> Step {
    let failed = |e: Errno| Failure::new("copy up", path.display().to_string(), e);
    let top = rustix::fs::openat(made, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let own = rustix::fs::fstat(&top).map_err(failed)?;
    hostel_image::copy::copy_contents(covered, path, top.as_fd())
        .map_err(|e| Failure::new("copy up", e.object.display().to_string(), io_of(e.cause)))?;
    let given = |key: &str| options.iter().any(|(name, _)| name == key);
    let uid = given("uid").then(|| Uid::from_raw(own.st_uid));
    let gid = given("gid").then(|| Gid::from_raw(own.st_gid));
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(&top, uid, gid).map_err(failed)?;
    }
    if given("mode") {
        rustix::fs::fchmod(&top, Mode::from_raw_mode(own.st_mode & 0o7777)).map_err(failed)?;
    }
    Ok(())
}

/// The machine's root is ours already.
fn propagate(path: &Path, p: MountPropagation, all: bool) -> Step {
    let object = || format!("propagation of {}", path.display());
    let root =
        rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| Failure::new("open", "root", e))?;
    let place = inroot::open(root.as_fd(), path, OFlags::PATH).map_err(|e| Failure::new("change", object(), io_of(e)))?;
    mount::change(place.as_fd(), c"", all, Attributes::NONE, Attributes::NONE, bundle::propagation(p), None)
        .map_err(|e| Failure::new("change", object(), e))
}

/// A procfs that is attached nowhere: nothing of the machine can be mounted over its files.
fn own_proc() -> Result<OwnedFd, Failure> {
    mount::filesystem(c"proc", &[FsOption::Text(c"source", c"proc")], Attributes::NOSUID.or(Attributes::NODEV).or(Attributes::NOEXEC))
        .map_err(|e| Failure::new("open", "a procfs of our own", e))
}

/// The host's null device, which is still visible.
fn null_device() -> Result<OwnedFd, Failure> {
    let failed = |e: Errno| Failure::new("open", "the host's /dev/null", e);
    let fd = rustix::fs::open(c"/dev/null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&fd).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(Failure::new("use", "the host's /dev/null", io::Error::other("it is not the null device")));
    }
    Ok(fd)
}

/// The host's /sys, read-only with all below: for a user namespace to which the kernel gives no fresh one.
fn host_sys() -> io::Result<OwnedFd> {
    let fd = mount::clone_tree(rustix::fs::CWD, c"/sys", true)?;
    mount::change(fd.as_fd(), c"", true, Attributes::RDONLY, Attributes::NONE, Propagation::Private, None)?;
    Ok(fd)
}

fn fresh(kind: &str, source: &str, options: &[(String, String)], attributes: Attributes) -> io::Result<OwnedFd> {
    let text = |t: &str| CString::new(t.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let context = mount::open_context(&text(kind)?)?;
    let with_message = |e: io::Error| {
        let message = mount::context_message(context.as_fd());
        if message.is_empty() { e } else { io::Error::other(format!("{} ({message})", crate::error::io_text(&e))) }
    };
    mount::configure(context.as_fd(), FsOption::Text(c"source", &text(source)?)).map_err(with_message)?;
    for (key, value) in options {
        let (name, value) = (text(key)?, text(value)?);
        let option = if value.is_empty() { FsOption::Flag(&name) } else { FsOption::Text(&name, &value) };
        mount::configure(context.as_fd(), option).map_err(|e| {
            let said = with_message(e);
            io::Error::other(format!("option {key:?}: {}", crate::error::io_text(&said)))
        })?;
    }
    mount::create(context.as_fd(), attributes).map_err(|e| if e.kind() == io::ErrorKind::PermissionDenied { e } else { with_message(e) })
}

fn time(offsets: &TimeOffsets) -> Step {
    let failed = |e: io::Error| Failure::new("make", "time namespace", e);
    proc::unshare_time().map_err(failed)?;
    for (clock, offset) in [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)] {
        if let Some((seconds, nanoseconds)) = offset {
            std::fs::write("/proc/self/timens_offsets", format!("{clock} {seconds} {nanoseconds}\n"))
                .map_err(|e| Failure::new("set", format!("offset of the {clock} clock"), e))?;
        }
    }
    let own = rustix::fs::open(c"/proc/self/ns/time_for_children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Failure::new("open", "time namespace", e))?;
    proc::join_namespace(own.as_fd(), 0x80).map_err(|e| Failure::new("enter", "time namespace", e))
}
