//! Disk images in a plan: what is known of one, and the steps that open it.
//!
//! What is in an image decides part of the plan (the machine's id, who owns its files), and only opening it tells. So the
//! steps that open it come before all others, once, and then the plan is made again, of what was found.
//!
//! ```text
//!  find ──► facts of the tables ──► plan ──► ImageSteps: lock, copy, loop devices, fsck, detached mounts
//!                                             └─► facts of what is inside ──► plan again ──► HostSteps …
//! ```

use std::fmt;
use std::path::PathBuf;

use hostel_image::disk::{Content, Hashes, Part, Protection};
use hostel_spec::{Designator, Ephemeral, MachineSpec, Volatile};
use hostel_sys::mount::Attributes;

use super::steps::{BondStep, HostStep, Missing, PayloadStep, Prepared, Slot};
use super::{Builder, Caller, ownership};
use crate::error::{Error, Result};
use crate::plan::steps::IdChoice;

/// What is known of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The parts of the tree, in the order in which they are mounted.
    pub parts: Vec<Part>,
    /// It is a block device.
    pub device: bool,
    /// Its file or device cannot be written.
    pub locked_down: bool,
    /// It was opened, and the facts of the tree are those of what is inside.
    pub opened: bool,
    /// Where the ESP goes: a directory for it that is there and empty.
    pub esp: Option<&'static str>,
    /// Boot partitions that this kernel cannot mount, by index: a machine does without.
    pub left_out: Vec<usize>,
    /// The system is of the kernel's second architecture.
    pub second_arch: bool,
    /// What the host has to decrypt and verify with.
    pub mapper: Mapper,
    /// What is not as it should be, for people.
    pub notices: Vec<String>,
}

/// What the host has to decrypt and verify with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapper {
    /// The kernel has device-mapper.
    pub present: bool,
    /// cryptsetup(8).
    pub cryptsetup: Option<PathBuf>,
    /// veritysetup(8).
    pub veritysetup: Option<PathBuf>,
}

/// A step of the supervisor that opens an image; done once, also when the machine reboots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageStep {
    /// Keeps others from using it meanwhile.
    Lock {
        /// Others may read it too.
        shared: bool,
    },
    /// Makes a nameless copy for this run.
    Copy,
    /// Looks again at the tables, under the lock: they must be what the plan was made of.
    Confirm,
    /// Makes the device of a part: a loop device, with what decrypts or verifies it over it.
    Device {
        /// Which, as an index of [`ImageFacts::parts`].
        part: usize,
        /// It cannot be written.
        read_only: bool,
    },
    /// Repairs a file system that was not unmounted, by the host's fsck.
    Check(usize),
    /// Mounts a part, detached.
    Mount(usize),
    /// Lets a file system fill its partition.
    Grow(usize),
    /// Looks at what is inside: the plan is made again of it.
    Look,
}

/// An [`ImageStep`] with what it needs to be printed.
pub(super) fn describe(step: &ImageStep, image: &ImageFacts, path: &std::path::Path) -> String {
    let part = |index: usize| image.parts.get(index).map_or_else(String::new, |p| p.designator.to_string());
    match step {
        ImageStep::Lock { shared } => format!("lock image {}{}", path.display(), if *shared { " (shared)" } else { "" }),
        ImageStep::Copy => "copy the image for this run (reflink or copy), without a name".into(),
        ImageStep::Confirm => "look at the image's tables again".into(),
        ImageStep::Device { part, read_only } => match image.parts.get(*part) {
            Some(part) => format!("make a device of {}{}", PartText(part), if *read_only { ", read-only" } else { "" }),
            None => String::new(),
        },
        ImageStep::Check(index) => format!("check {} by fsck", part(*index)),
        ImageStep::Mount(index) => format!("mount {}, detached", part(*index)),
        ImageStep::Grow(index) => format!("let {} fill its partition", part(*index)),
        ImageStep::Look => "look into the image, and plan the rest of what is found".into(),
    }
}

struct PartText<'a>(&'a Part);

impl fmt::Display for PartText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Part { designator, extent, content, protection, .. } = self.0;
        match extent.number {
            0 => write!(f, "{designator}: the whole disk, {content}")?,
            n => write!(f, "{designator}: partition {n}, {} bytes at {}, {content}", extent.size, extent.start)?,
        }
        match protection {
            Protection::None => Ok(()),
            Protection::Luks => f.write_str(", decrypted by cryptsetup"),
            Protection::Verity { hashes: Hashes::Partition(tree), .. } => write!(f, ", verified by dm-verity with partition {}", tree.number),
            Protection::Verity { hashes: Hashes::File(file), .. } => write!(f, ", verified by dm-verity with {}", file.display()),
        }
    }
}

/// Nothing of the image may be written: others may then use it, too.
fn shared(spec: &MachineSpec) -> bool {
    let root = &spec.root;
    let overlay = root.ephemeral == Ephemeral::Overlay || root.volatile == Volatile::Overlay || root.upper.is_some();
    root.read_only || overlay || matches!(root.volatile, Volatile::Yes | Volatile::State)
}

/// The steps that open the image; refused before anything changes is what could not be verified or decrypted.
pub(super) fn steps(spec: &MachineSpec, image: &ImageFacts, caller: &Caller) -> Result<Vec<ImageStep>> {
    if image.opened {
        return Ok(Vec::new());
    }
    let copy = spec.root.ephemeral == Ephemeral::Copy;
    let read_only = shared(spec) || (image.locked_down && !copy);
    let mut steps = vec![ImageStep::Lock { shared: read_only || copy }];
    if copy {
        steps.push(ImageStep::Copy);
    }
    steps.push(ImageStep::Confirm);
    for (index, part) in image.parts.iter().enumerate().filter(|(_, p)| wanted(spec, p.designator)) {
        can_be_opened(part, &image.mapper, spec.root.image.no_ask_password, caller)?;
        let read_only = read_only || part.read_only;
        steps.push(ImageStep::Device { part: index, read_only });
        if !read_only && matches!(part.content, Content::Ext(_) | Content::Vfat | Content::Luks(_)) {
            steps.push(ImageStep::Check(index));
        }
        steps.push(ImageStep::Mount(index));
        if part.growfs && !read_only {
            steps.push(ImageStep::Grow(index));
        }
    }
    steps.push(ImageStep::Look);
    Ok(steps)
}

/// Whether a part is mounted at all: /var of a machine that gets a fresh one is not.
fn wanted(spec: &MachineSpec, designator: Designator) -> bool {
    match spec.root.volatile {
        Volatile::Yes => matches!(designator, Designator::Root | Designator::Usr),
        Volatile::State => !matches!(designator, Designator::Var | Designator::Tmp),
        _ => true,
    }
}

fn can_be_opened(part: &Part, mapper: &Mapper, no_ask_password: bool, caller: &Caller) -> Result<()> {
    let (verb, tool, name) = match part.protection {
        Protection::None => return Ok(()),
        Protection::Luks => ("decrypt", &mapper.cryptsetup, "cryptsetup"),
        Protection::Verity { .. } => ("verify", &mapper.veritysetup, "veritysetup"),
    };
    let object = format!("{} of the image", part.designator);
    if part.protection == Protection::Luks && no_ask_password {
        return Err(Error::new(verb, object, "its passphrase has to be asked for, which --no-ask-password forbids"));
    }
    if !mapper.present {
        let error = Error::new(verb, object, "this kernel has no device-mapper (/dev/mapper/control is missing)");
        return Err(match part.protection {
            Protection::Luks => error,
            _ => error.hint("the image policy root=unprotected:usr=unprotected:=open would use it without verifying it"),
        });
    }
    if tool.is_none() {
        return Err(Error::new(verb, object, format!("{name} is not installed")).hint("install the package cryptsetup-bin, or cryptsetup"));
    }
    if part.protection == Protection::Luks && !caller.stdin_tty {
        return Err(Error::new(verb, object, "its passphrase has to be typed, and standard input is no terminal"));
    }
    Ok(())
}

impl Builder<'_> {
    /// The image's parts besides its root: attached over the assembled root, or each below an overlay of its own.
    ///
    /// Returns the slots to overlay, and where.
    pub(super) fn image_parts(&mut self, image: &ImageFacts, map: bool, overlay: bool) -> Vec<(Slot, PathBuf)> {
        let mut overlaid = Vec::new();
        for (index, part) in image.parts.iter().enumerate() {
            if part.designator == Designator::Root
                || !wanted(self.spec, part.designator)
                || self.spec.root.volatile == Volatile::Yes
                || image.left_out.contains(&index)
            {
                continue;
            }
            let Some(place) = (if part.designator == Designator::Esp { image.esp } else { Some(part.place()) }) else { continue };
            let slot = self.part(index, map);
            if overlay && !matches!(part.designator, Designator::Esp | Designator::Xbootldr) {
                overlaid.push((slot, place.into()));
            } else {
                let missing = if part.designator == Designator::Xbootldr { Missing::Skip } else { Missing::MakeDir };
                let read_only = self.spec.root.read_only || self.spec.root.volatile == Volatile::State;
                self.payload.push(PayloadStep::Attach { slot, target: place.into(), missing, read_only });
            }
        }
        overlaid
    }

    /// The mount of a part, with the machine's ids.
    pub(super) fn part(&mut self, index: usize, map: bool) -> Slot {
        let slot = self.slot();
        self.host.push(HostStep::Prepare(slot, Prepared::Part(index)));
        if map {
            self.bond.push(BondStep::MapTree { slot, chown: false });
        }
        slot
    }

    /// The root: the image's, or an empty one for an image that is only /usr.
    pub(super) fn image_root(&mut self, image: &ImageFacts, map: bool) -> Slot {
        match image.parts.iter().position(|p| p.designator == Designator::Root) {
            Some(index) => self.part(index, map),
            None => {
                let slot = self.slot();
                self.host.push(HostStep::Prepare(
                    slot,
                    Prepared::Tmpfs { options: super::api::options(&[("mode", "0755")]), attributes: Attributes::NONE, nodes: Vec::new() },
                ));
                slot
            }
        }
    }

    /// What of the image's ids is changed: (map by mount, change on disk).
    pub(super) fn image_ownership(&self, ids: Option<IdChoice>) -> Result<(bool, bool)> {
        let (map, chown) = ownership(self.spec, self.tree, ids);
        if chown && !map && self.tree.read_only {
            return Err(Error::new("shift", "the image's ids", "it is used read-only").hint(hostel_spec::Hint::KeepOwners));
        }
        Ok((map, chown))
    }
}
