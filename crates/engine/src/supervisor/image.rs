//! Runs the image steps of a plan: from a file to detached mounts that nobody on the host sees.
//!
//! Everything goes with a descriptor: the locks, the nameless copy, the loop devices, the mounts. What the supervisor
//! holds here it holds for the machine's whole life, because a rebooting machine needs its devices again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hostel_image::disk::{self, Content, Extent, Hashes, Part, Protection};
use hostel_image::raw::{self, Raw};
use hostel_image::{Cause, locks, shift};
use hostel_spec::{Designator, MachineName, MachineSpec, Uses};
use hostel_sys::block::{self, LoopDevice, Stretch};
use hostel_sys::mount::{self, Attributes, FsOption};
use rustix::fs::{Mode, OFlags};

use super::mapping::{self, Mapping, Seal};
use super::prepare::Made;
use crate::error::{Context, Error, Result, io_text};
use crate::host::Host;
use crate::image::{choose, look_inside, program};
use crate::journal;
use crate::plan::image::{ImageFacts, ImageStep};
use crate::plan::{self, Caller, Plan};
use crate::registry::Claim;

/// An opened image.
#[derive(Debug)]
pub(super) struct OpenImage {
    path: PathBuf,
    raw: Raw,
    locks: Vec<locks::TreeLock>,
    parts: Vec<OpenPart>,
    notices: Vec<String>,
}

#[derive(Debug)]
struct OpenPart {
    part: Part,
    /// The file system: that of the part, or what is behind its LUKS.
    content: Content,
    read_only: bool,
    device: Option<Device>,
    mount: Option<OwnedFd>,
}

#[derive(Debug)]
enum Device {
    /// The image's own file: some file systems need no block device.
    File,
    Loop(LoopDevice),
    Mapped(Mapping),
}

/// Opens the image of a plan and plans again of what is in it. The plan of a directory comes back as it is.
pub(super) fn open(plan: Plan, host: &mut Host, caller: &Caller, claim: &mut Claim, made: &mut Made, tell: &mut dyn FnMut(&str)) -> Result<Plan> {
    let Some(facts) = plan.tree.image.clone().filter(|f| !f.opened) else { return Ok(plan) };
    let writable = plan.image.iter().any(|s| matches!(s, ImageStep::Lock { shared: false }));
    let path = plan.tree.path.clone();
    let raw = raw::open(&path, writable)?;
    let parts = facts.parts.iter().map(|part| OpenPart { content: part.content, read_only: true, device: None, mount: None, part: part.clone() });
    let mut image = OpenImage { path, raw, locks: Vec::new(), parts: parts.collect(), notices: Vec::new() };
    for step in &plan.image {
        image.run(step, &plan, &facts, claim)?;
    }
    let mut found = look_inside(&plan.spec, &plan.tree, image.mount_of(Designator::Root), image.mount_of(Designator::Usr))?;
    let unmounted = |part: &OpenPart| matches!(part.part.designator, Designator::Esp | Designator::Xbootldr) && part.mount.is_none();
    let left_out = image.parts.iter().enumerate().filter(|(_, p)| unmounted(p)).map(|(index, _)| index).collect();
    found.image = found.image.map(|facts| ImageFacts { left_out, ..facts });
    let mut spec = plan.spec.clone();
    spec.process.linux32 |= facts.second_arch;
    host.journal = journal::look(spec.integration.journal, plan::uuid(&spec, &found, caller));
    let plan = plan::plan(&spec, host, &found, caller)?;
    image.notices.drain(..).for_each(|notice| tell(&notice));
    made.tree = image.mount_of(Designator::Root).map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3)).transpose().context("open", "root of the image")?;
    made.image = Some(image);
    Ok(plan)
}

impl OpenImage {
    fn run(&mut self, step: &ImageStep, plan: &Plan, facts: &ImageFacts, claim: &mut Claim) -> Result<()> {
        match step {
            ImageStep::Lock { shared } => self.lock(plan, *shared),
            ImageStep::Copy => {
                self.raw = self.raw.copy(&self.path)?;
                Ok(())
            }
            ImageStep::Confirm => self.confirm(&plan.spec, facts),
            ImageStep::Device { part, read_only } => self.device(*part, *read_only, plan, facts, claim),
            ImageStep::Check(part) => self.check(*part),
            ImageStep::Mount(part) => {
                match self.mount(*part) {
                    Ok(mount) => self.parts[*part].mount = Some(mount),
                    // A container needs no boot loader, and hosts without FAT are containers' hosts, too.
                    Err(e) if matches!(self.parts[*part].part.designator, Designator::Esp | Designator::Xbootldr) => {
                        self.notices.push(format!("{e}: the machine does without"));
                    }
                    Err(e) => return Err(e),
                }
                Ok(())
            }
            ImageStep::Grow(part) => self.grow(*part),
            ImageStep::Look => Ok(()),
        }
    }

    fn lock(&mut self, plan: &Plan, shared: bool) -> Result<()> {
        let lock = if shared { locks::Lock::Shared } else { locks::Lock::Exclusive };
        let busy = |e: hostel_image::Error| match e.cause {
            Cause::Busy { .. } => Error::from(e).hint(hostel_spec::Hint::TreeInUse),
            _ => e.into(),
        };
        if !self.raw.device {
            self.locks.extend(raw::lock_beside(&self.path, lock, &plan.name).map_err(busy)?);
        }
        let held = locks::take(locks::directory(), self.raw.file.as_fd(), &self.path, lock, &plan.name).map_err(busy)?;
        self.locks.push(held);
        Ok(())
    }

    fn confirm(&self, spec: &MachineSpec, facts: &ImageFacts) -> Result<()> {
        if choose(spec, &self.path, &self.raw)?.parts != facts.parts {
            return Err(Error::new("use", format!("image {}", self.path.display()), "it was changed while the machine was being started"));
        }
        Ok(())
    }

    fn object(&self, index: usize) -> String {
        let part = &self.parts[index].part;
        match part.extent.number {
            0 => format!("{} of {}", part.designator, self.path.display()),
            n => format!("{} (partition {n}) of {}", part.designator, self.path.display()),
        }
    }

    fn attach(&self, extent: Extent, read_only: bool) -> Result<LoopDevice> {
        let size = if extent.number == 0 { 0 } else { extent.size };
        block::attach_loop(self.raw.file.as_fd(), Stretch { offset: extent.start, size, read_only }).map_err(|e| {
            Error::new("make", format!("loop device for {}", self.path.display()), io_text(&e)).hint("the kernel needs loop devices: modprobe loop")
        })
    }

    fn device(&mut self, index: usize, read_only: bool, plan: &Plan, facts: &ImageFacts, claim: &mut Claim) -> Result<()> {
        let part = self.parts[index].part.clone();
        let name = part.designator.name();
        let missing = |tool: &str| Error::new("run", tool, "it is not installed");
        let device = match &part.protection {
            Protection::None if part.content == Content::Erofs && part.extent.number == 0 && !self.raw.device => Device::File,
            Protection::None => Device::Loop(self.attach(part.extent, read_only)?),
            Protection::Luks => {
                let tool = facts.mapper.cryptsetup.as_deref().ok_or_else(|| missing("cryptsetup"))?;
                let mapping = mapping::decrypt(tool, plan.name.as_str(), name, self.attach(part.extent, read_only)?, read_only, claim)?;
                self.parts[index].content = self.behind(&mapping, index)?;
                Device::Mapped(mapping)
            }
            Protection::Verity { hashes, root_hash, signature } => {
                let tool = facts.mapper.veritysetup.as_deref().ok_or_else(|| missing("veritysetup"))?;
                let data = self.attach(part.extent, true)?;
                let hashes = match hashes {
                    Hashes::Partition(extent) => self.attach(*extent, true)?,
                    Hashes::File(file) => {
                        let raw = raw::open(file, false)?;
                        block::attach_loop(raw.file.as_fd(), Stretch { offset: 0, size: 0, read_only: true })
                            .context("make", format!("loop device for {}", file.display()))?
                    }
                };
                let seal = Seal { root_hash, signature: signature.as_ref(), unsigned_will_do: part.rule.uses.has(Uses::VERITY) };
                let (mapping, notice) = mapping::verify(tool, plan.name.as_str(), name, (data, hashes), &seal, claim)?;
                self.notices.extend(notice);
                Device::Mapped(mapping)
            }
        };
        let open = &mut self.parts[index];
        open.read_only = read_only || !open.content.is_writable();
        open.device = Some(device);
        Ok(())
    }

    /// What is behind a LUKS that was opened.
    fn behind(&self, mapping: &Mapping, index: usize) -> Result<Content> {
        let failed = |e: &dyn std::fmt::Display| Error::new("use", self.object(index), e);
        let mut reader = std::fs::File::from(rustix::io::fcntl_dupfd_cloexec(mapping.node(), 3).context("open", mapping.path())?);
        let size = block::size(mapping.node()).context("read", mapping.path())?;
        let content = disk::probe::probe(&mut reader, 0, size).map_err(|e| failed(&e))?;
        let content = content.ok_or_else(|| failed(&"its LUKS holds no file system that is known"))?;
        disk::check_file_system(content, &self.parts[index].part.rule.file_systems).map_err(|e| failed(&e))?;
        Ok(content)
    }

    fn node(&self, device: &Device) -> String {
        match device {
            Device::File => format!("/proc/self/fd/{}", self.raw.file.as_raw_fd()),
            Device::Loop(device) => device.path(),
            Device::Mapped(mapping) => mapping.path(),
        }
    }

    /// Lets the host's fsck repair what was not unmounted. What it cannot repair is not used.
    fn check(&mut self, index: usize) -> Result<()> {
        let open = &self.parts[index];
        let (Some(device), name) = (
            &open.device,
            match open.content {
                Content::Ext(_) => "fsck.ext4",
                Content::Vfat => "fsck.vfat",
                _ => return Ok(()),
            },
        ) else {
            return Ok(());
        };
        let designator = open.part.designator;
        let Some(tool) = program(name) else {
            self.notices.push(format!("{name} is not installed: {designator} of the image is used unchecked"));
            return Ok(());
        };
        let flag = if name == "fsck.ext4" { "-p" } else { "-a" };
        let mut run = Command::new(&tool);
        run.arg(flag).arg(self.node(device)).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").stdin(Stdio::null());
        let out = run.output().context("run", tool.display().to_string())?;
        match out.status.code() {
            Some(0) => {}
            Some(1) => self.notices.push(format!("{name} repaired {designator} of the image")),
            Some(code) if code & (2 | 4) != 0 => {
                return Err(Error::new("check", self.object(index), format!("{name}: {}", mapping::last_words(&out)))
                    .hint(format!("--read-only uses it as it is; repair it with {name} on a copy")));
            }
            _ => self.notices.push(format!("{name} could not check {designator} of the image: {}", mapping::last_words(&out))),
        }
        Ok(())
    }

    fn mount(&mut self, index: usize) -> Result<OwnedFd> {
        let open = &self.parts[index];
        let device = open.device.as_ref().ok_or_else(|| Error::new("mount", self.object(index), "it has no device"))?;
        let failed = |e: String| Error::new("mount", self.object(index), e);
        let kind = open.content.driver().ok_or_else(|| failed("it is no file system".into()))?;
        let options = options(open.content, open.read_only, matches!(device, Device::Loop(_)) && !self.raw.device);
        let attributes = attributes(open.part.designator, open.read_only);
        match mount_device(kind, &self.node(device), &options, attributes) {
            Ok(mount) => Ok(mount),
            // A kernel that wants a block device for it.
            Err(_) if matches!(device, Device::File) => {
                let device = self.attach(open.part.extent, true)?;
                let mounted = mount_device(kind, &device.path(), &options, attributes).map_err(failed)?;
                self.parts[index].device = Some(Device::Loop(device));
                Ok(mounted)
            }
            Err(e) => Err(failed(e)),
        }
    }

    fn grow(&mut self, index: usize) -> Result<()> {
        let open = &self.parts[index];
        let (Some(mount), Some(device)) = (&open.mount, &open.device) else { return Ok(()) };
        let bytes = match device {
            Device::Loop(device) => block::size(device.as_fd()),
            Device::Mapped(mapping) => block::size(mapping.node()),
            Device::File => return Ok(()),
        };
        let bytes = bytes.context("read", format!("size of {}", self.object(index)))?;
        if let Err(e) = disk::grow(mount.as_fd(), open.content, bytes) {
            // It is as large as it was, and as good.
            self.notices.push(format!("grow {}: {e}", self.object(index)));
        }
        Ok(())
    }

    fn mount_of(&self, designator: Designator) -> Option<BorrowedFd<'_>> {
        self.parts.iter().find(|p| p.part.designator == designator)?.mount.as_ref().map(AsFd::as_fd)
    }

    /// The mount of a part for one life of PID 1: the one made when the image was opened, or a new one.
    pub(super) fn take_mount(&mut self, index: usize) -> Result<OwnedFd> {
        match self.parts.get_mut(index).and_then(|p| p.mount.take()) {
            Some(mount) => Ok(mount),
            None => self.mount(index),
        }
    }

    pub(super) fn is_root(&self, index: usize) -> bool {
        self.parts.get(index).is_some_and(|p| p.part.designator == Designator::Root)
    }

    /// Gives all files of all writable parts to an id range.
    pub(super) fn shift(&self, base: u32) -> Result<()> {
        for open in self.parts.iter().filter(|p| !p.read_only) {
            let Some(mount) = &open.mount else { continue };
            if matches!(open.content, Content::Vfat) {
                continue;
            }
            let top = rustix::fs::openat(mount, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .context("open", format!("{} of the image", open.part.designator))?;
            shift::shift(top.as_fd(), &self.path, base, 0)?;
        }
        Ok(())
    }
}

/// Mounts a file system of the disk image `path`, detached: that of a partition by its number, or the only one. For a machine it is
/// read-only, and the locks are to be held as long; else it can be written if the image can. Its loop device goes with the mount.
pub fn mount_partition(path: &Path, number: Option<u32>, machine: Option<&MachineName>) -> Result<(OwnedFd, Vec<locks::TreeLock>)> {
    let object = || number.map_or_else(|| path.display().to_string(), |n| format!("partition {n} of {}", path.display()));
    let failed = |why: &dyn std::fmt::Display| Error::new("mount", object(), why);
    let read_only = machine.is_some() || rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err();
    let raw = raw::open(path, !read_only)?;
    let mut held = Vec::new();
    let tool = MachineName::new("overlay-diskfile").ok();
    if let Some(name) = machine.or(tool.as_ref()) {
        let lock = if read_only { locks::Lock::Shared } else { locks::Lock::Exclusive };
        if !raw.device {
            held.extend(raw::lock_beside(path, lock, name)?);
        }
        held.push(locks::take(locks::directory(), raw.file.as_fd(), path, lock, name)?);
    }
    // The lock of a tool ends with it, its mount does not: two writers, or a reader beside one, would destroy or misread it.
    if !raw.device && is_on_a_loop(path, read_only) {
        return Err(failed(&"it is mounted already, and could be written there").busy());
    }
    let mut reader = raw.reader().map_err(|e| failed(&e))?;
    let all: Vec<(u32, u64, u64)> = match disk::layout(&mut reader, raw.size).map_err(|e| failed(&e))? {
        disk::Layout::Bare(_) => vec![(0, 0, raw.size)],
        disk::Layout::Mbr(entries) => entries.iter().map(|e| (e.number, e.start, e.size)).collect(),
        disk::Layout::Gpt(table) => table.partitions.iter().map(|p| (p.number, p.start, p.size)).collect(),
    };
    let found = match (number, &all[..]) {
        (None, [only]) => Some(only),
        (None, _) => return Err(failed(&"it has several partitions: say which")),
        (Some(number), _) => all.iter().find(|(n, ..)| *n == number),
    };
    let &(number, start, size) = found.ok_or_else(|| {
        let numbers: Vec<String> = all.iter().filter(|(n, ..)| *n > 0).map(|(n, ..)| n.to_string()).collect();
        failed(&if numbers.is_empty() { "the image has no partitions".to_owned() } else { format!("there are {}", numbers.join(", ")) })
    })?;
    let content = disk::probe::probe(&mut reader, start, size).map_err(|e| failed(&e))?;
    let kind = content.and_then(Content::driver).zip(content);
    let (kind, content) = kind.ok_or_else(|| failed(&content.map_or_else(|| "no file system is known there".into(), |c| format!("it is {c}"))))?;
    let read_only = read_only || !content.is_writable();
    let stretch = Stretch { offset: start, size: if number == 0 { 0 } else { size }, read_only };
    let device = block::attach_loop(raw.file.as_fd(), stretch).map_err(|e| failed(&io_text(&e)))?;
    let attributes = if read_only { Attributes::NODEV.or(Attributes::RDONLY) } else { Attributes::NODEV };
    let mount = mount_device(kind, &device.path(), &options(content, read_only, !raw.device), attributes).map_err(|e| failed(&e))?;
    Ok((mount, held))
}

/// Whether a loop device is of that file; where it is only to be read, one that can be written.
fn is_on_a_loop(file: &Path, read_only: bool) -> bool {
    let Ok(file) = std::fs::canonicalize(file) else { return false };
    std::fs::read_dir("/sys/block").into_iter().flatten().flatten().any(|device| {
        let text = |name: &str| std::fs::read_to_string(device.path().join(name)).unwrap_or_default();
        Path::new(text("loop/backing_file").trim_end_matches('\n')) == file && (!read_only || text("ro").trim() == "0")
    })
}

/// What a file system is told. Its superblock may ask for a panic of the host at the first error: here it never gets one.
fn options(content: Content, read_only: bool, on_file: bool) -> Vec<FsOption<'static>> {
    let mut out = Vec::new();
    match (content, read_only) {
        (Content::Ext(_), _) => out.push(FsOption::Text(c"errors", c"remount-ro")),
        // The ids of two copies of one image are equal.
        (Content::Xfs, _) => out.push(FsOption::Flag(c"nouuid")),
        (Content::Vfat, _) => out.push(FsOption::Text(c"umask", c"0077")),
        _ => {}
    }
    if read_only {
        out.push(FsOption::Flag(c"ro"));
        match content {
            // The journal cannot be replayed on a device that cannot be written.
            Content::Ext(_) => out.push(FsOption::Flag(c"noload")),
            Content::Xfs => out.push(FsOption::Flag(c"norecovery")),
            Content::Btrfs => out.push(FsOption::Text(c"rescue", c"nologreplay")),
            _ => {}
        }
    } else if on_file && content != Content::Vfat {
        // What is deleted inside makes the file smaller.
        out.push(FsOption::Flag(c"discard"));
    }
    out
}

fn attributes(designator: Designator, read_only: bool) -> Attributes {
    let base = match designator {
        Designator::Esp | Designator::Xbootldr => Attributes::NODEV.or(Attributes::NOSUID).or(Attributes::NOEXEC).or(Attributes::NOSYMFOLLOW),
        _ => Attributes::NODEV,
    };
    if read_only { base.or(Attributes::RDONLY) } else { base }
}

/// Mounts a device, detached; the cause has the kernel's own words when it has any.
fn mount_device(kind: &std::ffi::CStr, source: &str, options: &[FsOption<'_>], attributes: Attributes) -> std::result::Result<OwnedFd, String> {
    let context = mount::open_context(kind).map_err(|e| match e.raw_os_error() {
        Some(19) => format!("this kernel has no file system {}", kind.to_string_lossy()),
        _ => io_text(&e),
    })?;
    let with_message = |e: io::Error| {
        let message = mount::context_message(context.as_fd());
        if message.is_empty() { io_text(&e) } else { format!("{} ({message})", io_text(&e)) }
    };
    let source = std::ffi::CString::new(source).map_err(|e| e.to_string())?;
    mount::configure(context.as_fd(), FsOption::Text(c"source", &source)).map_err(with_message)?;
    for option in options {
        mount::configure(context.as_fd(), *option).map_err(with_message)?;
    }
    mount::create(context.as_fd(), attributes).map_err(with_message)
}
