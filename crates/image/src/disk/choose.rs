//! Which partitions of a disk make the tree, and how each is protected: the Discoverable Partitions Specification under
//! an image policy. The four layouts that count: a bare file system, an MBR with one bootable Linux partition, a GPT
//! with one Linux data partition, a GPT with partitions typed for their use.

use std::io::{Read, Seek};
use std::path::PathBuf;

use hostel_spec::{Arrange as _, Designator, ImagePolicy, RootHash, RootHashSignature, Rule, Uses};

use super::probe::{Content, probe, read_at};
use super::{Layout, gpt, mbr, types, verity, version};
use crate::Cause;

/// A stretch of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Number of the partition; 0 = the whole disk.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

/// Where a hash tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hashes {
    /// In a partition.
    Partition(Extent),
    /// In a file of its own.
    File(PathBuf),
}

/// What stands between the bytes and the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    None,
    /// dm-verity.
    Verity {
        /// The hash tree.
        hashes: Hashes,
        /// Its root.
        root_hash: RootHash,
        /// The signature that the kernel shall check.
        signature: Option<RootHashSignature>,
    },
    /// LUKS.
    Luks,
}

/// A part of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What for.
    pub designator: Designator,
    /// Where.
    pub extent: Extent,
    /// What it holds: a file system, or LUKS.
    pub content: Content,
    /// Must not be written.
    pub read_only: bool,
    /// The file system is to fill the partition.
    pub growfs: bool,
    /// How it is protected.
    pub protection: Protection,
    /// What the policy says about it.
    pub rule: Rule,
}

/// What is trusted from outside of the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Root hash of the root partition.
    pub root: Option<RootHash>,
    /// Root hash of the /usr partition.
    pub usr: Option<RootHash>,
    /// Signature of `root`.
    pub signature: Option<RootHashSignature>,
    /// Hash tree in a file of its own.
    pub hashes: Option<PathBuf>,
}

/// The parts of a tree, root first if there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// In the order in which they are mounted.
    pub parts: Vec<Part>,
    /// What is not as it should be, for people.
    pub notices: Vec<String>,
    /// The system is of the architecture the kernel runs besides its own.
    pub second_arch: bool,
}

/// A partition found, not yet judged.
#[derive(Clone)]
struct Candidate {
    designator: Designator,
    extent: Extent,
    arch: Option<&'static str>,
    label: String,
    id: [u8; 16],
    flags: u64,
}

/// The order in which parts are mounted: outer ones first.
const ORDER: [Designator; 8] =
    [Designator::Root, Designator::Usr, Designator::Home, Designator::Srv, Designator::Var, Designator::Tmp, Designator::Xbootldr, Designator::Esp];

/// Chooses the parts of the tree out of a disk of `size` bytes.
pub fn choose<R: Read + Seek>(reader: &mut R, size: u64, layout: &Layout, policy: &ImagePolicy, trust: &Trust) -> Result<Chosen, Cause> {
    let mut chosen = Chosen::default();
    let candidates = match layout {
        Layout::Bare(_) => vec![Candidate::of(Designator::Root, Extent { number: 0, start: 0, size })],
        Layout::Mbr(entries) => of_mbr(entries)?,
        Layout::Gpt(table) => {
            chosen.notices.extend(table.backup.as_ref().map(|why| format!("the copy of the partition table is used: {why}")));
            of_gpt(table)?
        }
    };
    if trust.hashes.is_some() && !matches!(layout, Layout::Bare(_)) {
        return Err(Cause::Why("--verity-data= is for an image without partitions; this one has its hash trees in partitions"));
    }
    for designator in ORDER {
        let part = pick(reader, designator, &candidates, policy, trust, &mut chosen)?;
        chosen.parts.extend(part);
    }
    // Never used, so a policy can say of it only that it must not be there.
    if candidates.iter().any(|c| c.designator == Designator::Swap) && policy.rule(Designator::Swap).uses == Uses::ABSENT {
        return Err(Cause::Why("the image policy wants no swap partition, and there is one"));
    }
    if !chosen.parts.iter().any(|p| matches!(p.designator, Designator::Root | Designator::Usr)) {
        return Err(Cause::Why("the image policy leaves neither a root nor a /usr partition"));
    }
    Ok(chosen)
}

impl Candidate {
    fn of(designator: Designator, extent: Extent) -> Candidate {
        Candidate { designator, extent, arch: None, label: String::new(), id: [0; 16], flags: 0 }
    }
}

fn of_mbr(entries: &[mbr::Entry]) -> Result<Vec<Candidate>, Cause> {
    let extent = |e: &mbr::Entry| Extent { number: e.number, start: e.start, size: e.size };
    let root: Vec<&mbr::Entry> = entries.iter().filter(|e| e.kind == mbr::LINUX && e.bootable).collect();
    let [root] = root[..] else {
        return Err(match root.len() {
            0 => Cause::Why("its partition table has no Linux partition that is marked bootable; `sfdisk --activate` marks one"),
            n => Cause::Said(format!("its partition table has {n} bootable Linux partitions; one has to be the root")),
        });
    };
    let boot = entries.iter().find(|e| e.kind == mbr::XBOOTLDR).map(|e| Candidate::of(Designator::Xbootldr, extent(e)));
    Ok([Candidate::of(Designator::Root, extent(root))].into_iter().chain(boot).collect())
}

fn of_gpt(table: &gpt::Table) -> Result<Vec<Candidate>, Cause> {
    let extent = |p: &gpt::Partition| Extent { number: p.number, start: p.start, size: p.size };
    let usable = |p: &&gpt::Partition| p.flags & gpt::NO_AUTO == 0;
    let known = types::architectures();
    let mut found: Vec<Candidate> = Vec::new();
    for p in table.partitions.iter().filter(usable) {
        let Some(meaning) = types::meaning(p.kind) else { continue };
        if meaning.arch.is_some() && !known.contains(&meaning.arch) {
            continue;
        }
        let candidate =
            Candidate { designator: meaning.designator, extent: extent(p), arch: meaning.arch, label: p.label.clone(), id: p.id.0, flags: p.flags };
        found.push(candidate);
    }
    if found.iter().any(|c| matches!(c.designator, Designator::Root | Designator::Usr)) {
        return Ok(found);
    }
    let generic: Vec<&gpt::Partition> = table.partitions.iter().filter(usable).filter(|p| p.kind == types::LINUX_GENERIC).collect();
    match generic[..] {
        [p] => {
            let flags = p.flags;
            found.push(Candidate { flags, id: p.id.0, label: p.label.clone(), ..Candidate::of(Designator::Root, extent(p)) });
            Ok(found)
        }
        [] => Err(foreign(table)),
        _ => Err(Cause::Said(format!("it has {} Linux data partitions and none typed as root; `sfdisk --part-type` types one", generic.len()))),
    }
}

/// Why there is no root: perhaps it is another machine's.
fn foreign(table: &gpt::Table) -> Cause {
    let arch = table.partitions.iter().find_map(|p| types::meaning(p.kind).filter(|m| m.designator == Designator::Root)?.arch);
    match arch {
        Some(arch) if !types::architectures().contains(&Some(arch)) => {
            Cause::Said(format!("its root partition is for {arch}, this is {}", std::env::consts::ARCH))
        }
        Some(_) => Cause::Why("its root partition is marked no-auto"),
        None => Cause::Why("it has no root partition: neither one typed so for this architecture nor a Linux data partition"),
    }
}

/// The candidate of a designator that is used, judged by the policy.
fn pick<R: Read + Seek>(
    reader: &mut R,
    designator: Designator,
    all: &[Candidate],
    policy: &ImagePolicy,
    trust: &Trust,
    chosen: &mut Chosen,
) -> Result<Option<Part>, Cause> {
    let rule = policy.rule(designator);
    let verifiable = matches!(designator, Designator::Root | Designator::Usr);
    let given = match designator {
        Designator::Root => trust.root.as_ref(),
        Designator::Usr => trust.usr.as_ref(),
        _ => None,
    };
    let mut fitting: Vec<&Candidate> = all.iter().filter(|c| c.designator == designator).collect();
    let native = types::architectures()[0];
    if fitting.iter().any(|c| c.arch == native) {
        fitting.retain(|c| c.arch == native);
    }
    // Newest label first; of equal ones the first in the table.
    if verifiable {
        fitting.arrange_by(|a, b| version::compare(&b.label, &a.label));
    }
    let there = !fitting.is_empty();
    let sealed = if verifiable { seal(reader, designator, &mut fitting, all, given, trust, rule)? } else { None };
    let Some(candidate) = fitting.first() else {
        return if there {
            Err(Cause::Said(format!("none of its {designator} partitions has the id that the root hash asks for")))
        } else if given.is_some() {
            Err(Cause::Said(format!("a root hash was given for {designator}, and there is no such partition")))
        } else if rule.uses.has(Uses::ABSENT) {
            Ok(None)
        } else {
            Err(Cause::Said(format!("the image policy wants a {designator} partition, and there is none")))
        };
    };
    if designator == Designator::Root || (designator == Designator::Usr && chosen.parts.is_empty()) {
        chosen.second_arch = candidate.arch.is_some() && candidate.arch != native;
    }
    if verifiable && sealed.is_none() && hash_trees(all, designator).next().is_some() && rule.uses.has(Uses::UNPROTECTED) {
        chosen.notices.push(format!("its {designator} has a hash tree, but no root hash is known: it is used unverified"));
    }
    judge(reader, candidate, rule, sealed)
}

fn hash_trees(all: &[Candidate], of: Designator) -> impl Iterator<Item = &Candidate> {
    let wanted = if of == Designator::Root { Designator::RootVerity } else { Designator::UsrVerity };
    all.iter().filter(move |c| c.designator == wanted)
}

/// What verifies the partition that is used, and cuts `fitting` down to it. `None`: nothing does.
fn seal<R: Read + Seek>(
    reader: &mut R,
    designator: Designator,
    fitting: &mut Vec<&Candidate>,
    all: &[Candidate],
    given: Option<&RootHash>,
    trust: &Trust,
    rule: &Rule,
) -> Result<Option<Protection>, Cause> {
    let partition = |hash: &RootHash| {
        let tree = hash_trees(all, designator).find(|c| c.id == hash.hash_id());
        tree.map(|c| Hashes::Partition(c.extent))
            .ok_or_else(|| Cause::Said(format!("no hash tree for {designator} has the id that the root hash asks for")))
    };
    if let Some(hash) = given {
        let bare = fitting.iter().all(|c| c.extent.number == 0) && !fitting.is_empty();
        let hashes = match (&trust.hashes, bare) {
            (Some(file), true) => Hashes::File(file.clone()),
            (None, true) => {
                return Err(Cause::Why("a root hash was given, but no hash tree: neither --verity-data= nor a .verity file beside the image"));
            }
            (_, false) => {
                fitting.retain(|c| c.id == hash.data_id());
                if fitting.is_empty() {
                    return Ok(None);
                }
                partition(hash)?
            }
        };
        let signature = if designator == Designator::Root { trust.signature.clone() } else { None };
        return Ok(Some(Protection::Verity { hashes, root_hash: hash.clone(), signature }));
    }
    if !rule.uses.has(Uses::VERITY.or(Uses::SIGNED)) {
        return Ok(None);
    }
    let wanted = if designator == Designator::Root { Designator::RootVeritySig } else { Designator::UsrVeritySig };
    for candidate in fitting.clone() {
        for sig in all.iter().filter(|c| c.designator == wanted) {
            let mut room = vec![0u8; sig.extent.size.min(verity::SIGNATURE_MAX) as usize];
            if !read_at(reader, sig.extent.start, &mut room)? {
                return Err(Cause::Why("its verity signature partition is cut off"));
            }
            let found = verity::parse_signature(&room)?;
            if found.root_hash.data_id() == candidate.id {
                fitting.retain(|c| c.extent == candidate.extent);
                let hashes = partition(&found.root_hash)?;
                let signature = Some(RootHashSignature::Bytes(found.signature));
                return Ok(Some(Protection::Verity { hashes, root_hash: found.root_hash, signature }));
            }
        }
    }
    Ok(None)
}

/// Whether and how the policy lets a partition be used. `None`: it is left alone.
fn judge<R: Read + Seek>(reader: &mut R, c: &Candidate, rule: &Rule, sealed: Option<Protection>) -> Result<Option<Part>, Cause> {
    let designator = c.designator;
    let name = if c.extent.number == 0 { "the disk".to_owned() } else { format!("partition {} ({designator})", c.extent.number) };
    let used = Uses::UNPROTECTED.or(Uses::VERITY).or(Uses::SIGNED).or(Uses::ENCRYPTED).or(Uses::INTEGRITY);
    if !rule.uses.has(used) {
        return if rule.uses.has(Uses::UNUSED) { Ok(None) } else { Err(Cause::Said(format!("the image policy does not allow {name} to be there"))) };
    }
    for (flag, bit, wanted) in [("read-only", gpt::READ_ONLY, rule.read_only), ("growfs", gpt::GROWFS, rule.growfs)] {
        if let Some(on) = wanted.filter(|on| (c.flags & bit != 0) != *on) {
            return Err(Cause::Said(format!("the image policy wants the {flag} flag of {name} {}", if on { "on" } else { "off" })));
        }
    }
    let content = probe(reader, c.extent.start, c.extent.size).map_err(|e| Cause::Said(format!("{name}: {e}")))?;
    let content = content.ok_or_else(|| Cause::Said(format!("{name} holds no file system that is known")))?;
    let protection = match (content, sealed) {
        (Content::Luks(_), None) => Protection::Luks,
        (_, Some(sealed)) => sealed,
        (_, None) => Protection::None,
    };
    let permitted = match &protection {
        Protection::None => rule.uses.has(Uses::UNPROTECTED),
        Protection::Luks => rule.uses.has(Uses::ENCRYPTED.or(Uses::INTEGRITY)),
        // A signature that must be checked is one the kernel is given.
        Protection::Verity { signature: Some(_), .. } => rule.uses.has(Uses::VERITY.or(Uses::SIGNED)),
        Protection::Verity { signature: None, .. } => rule.uses.has(Uses::VERITY),
    };
    if !permitted {
        let is = match &protection {
            Protection::None => "unprotected",
            Protection::Luks => "encrypted",
            Protection::Verity { .. } => "verified by dm-verity",
        };
        return if rule.uses.has(Uses::UNUSED) {
            Ok(None)
        } else {
            Err(Cause::Said(format!("the image policy does not allow {name} {is}, only {rule}")))
        };
    }
    if protection != Protection::Luks {
        check_file_system(content, &rule.file_systems).map_err(|e| Cause::Said(format!("{name} {e}")))?;
    }
    let verified = matches!(protection, Protection::Verity { .. });
    Ok(Some(Part {
        designator,
        extent: c.extent,
        content,
        read_only: verified || c.flags & gpt::READ_ONLY != 0 || (protection == Protection::None && !content.is_writable()),
        growfs: c.flags & gpt::GROWFS != 0 && c.flags & gpt::READ_ONLY == 0 && !verified,
        protection,
        rule: rule.clone(),
    }))
}

/// Refuses what is no file system, or none that the policy allows. The text continues the partition's name.
pub fn check_file_system(content: Content, allowed: &[&str]) -> Result<(), String> {
    match content.driver() {
        None => Err(format!("holds {content}, which is no file system of a machine")),
        Some(driver) if !allowed.is_empty() && !allowed.iter().any(|n| n.as_bytes() == driver.to_bytes()) => {
            Err(format!("holds {content}, the image policy allows only {}", allowed.join(", ")))
        }
        Some(_) => Ok(()),
    }
}

impl Part {
    /// Where the machine finds it; the boot loader's partitions go where there is room for them.
    pub fn place(&self) -> &'static str {
        match self.designator {
            Designator::Usr => "/usr",
            Designator::Home => "/home",
            Designator::Srv => "/srv",
            Designator::Var => "/var",
            Designator::Tmp => "/var/tmp",
            Designator::Xbootldr => "/boot",
            Designator::Esp => "/efi",
            _ => "/",
        }
    }
}
