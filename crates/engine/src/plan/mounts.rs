//! Mounts asked for on the command line.

use std::ffi::CString;
use std::path::Path;

use hostel_spec::{Arrange as _, Ephemeral, IdMapping, Mount, MountSource};
use hostel_sys::mount::Attributes;

use super::Builder;
use super::steps::{BondStep, HostStep, Missing, PayloadStep, Prepared, Slot, Source};
use crate::error::{Error, Result};

impl Builder<'_> {
    pub(super) fn custom_mounts(&mut self) -> Result<()> {
        let mut mounts: Vec<&Mount> = self.spec.mounts.iter().collect();
        // Outer targets first, so that an inner one is not covered by it; otherwise in the order given.
        mounts.arrange_by_key(|m| m.target().components().count());
        for mount in mounts {
            self.custom_mount(mount)?;
        }
        Ok(())
    }

    fn custom_mount(&mut self, mount: &Mount) -> Result<()> {
        match mount {
            Mount::Bind { source: MountSource::Tree(from), target, read_only, options } => {
                self.payload.push(PayloadStep::BindInside {
                    from: from.clone(),
                    target: target.clone(),
                    read_only: *read_only,
                    recursive: options.recursive,
                });
            }
            Mount::Bind { source, target, read_only, options } => {
                let source = self.source(source);
                let slot = self.slot();
                let attributes = if *read_only { Attributes::RDONLY } else { Attributes::NONE };
                self.host.push(HostStep::Prepare(slot, Prepared::Clone { source, recursive: options.recursive, attributes }));
                if options.mapping != IdMapping::None {
                    self.bond.push(BondStep::MapMount { slot, mapping: options.mapping, target: target.clone() });
                    self.must_wait();
                }
                self.attach(slot, target, Missing::LikeSource);
            }
            Mount::Tmpfs { target, options } => {
                let (options, attributes) = tmpfs_options(options)?;
                let slot = self.slot();
                self.host.push(HostStep::Prepare(slot, Prepared::Tmpfs { options, attributes, nodes: Vec::new() }));
                self.attach(slot, target, Missing::MakeDir);
            }
            Mount::Overlay { lower, upper, target } => {
                let lower = lower.iter().map(|l| self.source(l)).collect();
                let upper = upper.as_ref().map(|u| self.source(u));
                if let (Some(Source::InTree(path)), true) = (&upper, self.tree.marked && self.spec.root.ephemeral != Ephemeral::Copy) {
                    return Err(Error::new("use", format!("{} of the tree as upper layer", path.display()), "the tree is marked read-only")
                        .hint("`hostel read-only NAME no` makes it writable"));
                }
                let slot = self.slot();
                self.host.push(HostStep::Prepare(slot, Prepared::Overlay { lower, upper }));
                self.attach(slot, target, Missing::MakeDir);
            }
            Mount::Inaccessible { target } => self.payload.push(PayloadStep::Inaccessible(target.clone())),
        }
        Ok(())
    }

    fn attach(&mut self, slot: Slot, target: &Path, missing: Missing) {
        self.payload.push(PayloadStep::Attach { slot, target: target.into(), missing, read_only: false });
    }

    fn source(&mut self, source: &MountSource) -> Source {
        match source {
            MountSource::Host(path) => Source::Path(path.clone()),
            // What the machine's root will be, not what the tree's is.
            MountSource::Tree(path) => Source::InTree(match &self.spec.root.pivot {
                Some(pivot) => pivot.new.join(path.strip_prefix("/").unwrap_or(path)),
                None => path.clone(),
            }),
            MountSource::Temporary => {
                self.temporaries += 1;
                let number = self.temporaries - 1;
                self.host.push(HostStep::TemporaryDirectory(number));
                Source::Temporary(number)
            }
        }
    }

    /// The payload must not attach a mount before its ids are mapped.
    pub(super) fn must_wait(&mut self) {
        if !self.payload.contains(&PayloadStep::Wait) {
            self.payload.insert(0, PayloadStep::Wait);
        }
    }
}

/// Splits mount(8)-like options into file system options and mount attributes. Default: `mode=0755`, nodev, strictatime. Of
/// words that exclude each other the last one counts.
pub(crate) fn tmpfs_options(text: &str) -> Result<(Vec<(CString, CString)>, Attributes)> {
    let mut attributes = Attributes::NODEV.or(Attributes::STRICTATIME);
    let mut out: Vec<(CString, CString)> = Vec::new();
    let refuse = |word: &str, why: &str| Err(Error::new("use", format!("tmpfs option {word:?}"), why));
    for word in text.split(',').filter(|w| !w.is_empty()) {
        let bit = |a: Attributes, on: bool, attributes: &mut Attributes| {
            attributes.0 = if on { attributes.0 | a.0 } else { attributes.0 & !a.0 };
        };
        let times = |choice: Attributes, attributes: &mut Attributes| attributes.0 = attributes.0 & !Attributes::ATIME_MASK | choice.0;
        match word {
            "ro" => bit(Attributes::RDONLY, true, &mut attributes),
            "rw" => bit(Attributes::RDONLY, false, &mut attributes),
            "nosuid" => bit(Attributes::NOSUID, true, &mut attributes),
            "suid" => bit(Attributes::NOSUID, false, &mut attributes),
            "nodev" => bit(Attributes::NODEV, true, &mut attributes),
            "dev" => bit(Attributes::NODEV, false, &mut attributes),
            "noexec" => bit(Attributes::NOEXEC, true, &mut attributes),
            "exec" => bit(Attributes::NOEXEC, false, &mut attributes),
            "nosymfollow" => bit(Attributes::NOSYMFOLLOW, true, &mut attributes),
            "symfollow" => bit(Attributes::NOSYMFOLLOW, false, &mut attributes),
            "noatime" => times(Attributes::NOATIME, &mut attributes),
            "relatime" | "nostrictatime" => times(Attributes::NONE, &mut attributes),
            "strictatime" | "norelatime" | "atime" => times(Attributes::STRICTATIME, &mut attributes),
            "nodiratime" => bit(Attributes::NODIRATIME, true, &mut attributes),
            "diratime" => bit(Attributes::NODIRATIME, false, &mut attributes),
            // As for mount(8): what is not said otherwise stays as it is.
            "defaults" => {}
            _ => {
                let (key, value) = word.split_once('=').unwrap_or((word, ""));
                if !matches!(
                    key,
                    "size"
                        | "mode"
                        | "nr_inodes"
                        | "nr_blocks"
                        | "uid"
                        | "gid"
                        | "huge"
                        | "mpol"
                        | "usrquota"
                        | "grpquota"
                        | "noswap"
                        | "inode32"
                        | "inode64"
                        // Of every file system.
                        | "sync"
                        | "async"
                        | "dirsync"
                        | "lazytime"
                        | "nolazytime"
                        | "mand"
                        | "nomand"
                ) {
                    return refuse(word, "tmpfs has no such option, and it is none of mount(8) that says how to mount");
                }
                match (CString::new(key), CString::new(value)) {
                    (Ok(key), Ok(value)) => out.push((key, value)),
                    _ => return refuse(word, "it has a NUL byte"),
                }
            }
        }
    }
    if text.is_empty() {
        out.push((c"mode".into(), c"0755".into()));
    }
    Ok((out, attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_tmpfs() {
        const DEFAULT: u64 = 0x24;
        for (text, attributes, rest) in [
            ("", DEFAULT, "mode=0755"),
            ("size=1M,mode=0700", DEFAULT, "size=1M mode=0700"),
            ("defaults", DEFAULT, ""),
            ("ro,nosuid,noexec", DEFAULT | 0x1 | 0x2 | 0x8, ""),
            ("ro,rw,nosuid,suid,noexec,exec,dev,nosymfollow,symfollow", 0x20, ""),
            ("noatime", 0x14, ""),
            ("relatime", 0x04, ""),
            ("nostrictatime", 0x04, ""),
            ("noatime,strictatime", DEFAULT, ""),
            ("relatime,norelatime", DEFAULT, ""),
            ("noatime,atime", DEFAULT, ""),
            ("strictatime,nodiratime", DEFAULT | 0x80, ""),
            ("nodiratime,diratime,relatime", 0x04, ""),
            ("sync,lazytime", DEFAULT, "sync lazytime"),
        ] {
            let (options, seen) = tmpfs_options(text).unwrap();
            let words = options.iter().map(|(k, v)| {
                let (k, v) = (k.to_str().unwrap(), v.to_str().unwrap());
                if v.is_empty() { k.to_owned() } else { format!("{k}={v}") }
            });
            assert_eq!((seen.0, words.collect::<Vec<_>>().join(" ").as_str()), (attributes, rest), "{text}");
        }
        for text in ["bind", "remount", "noauto", "x-systemd.automount", "sizze=1", "context=x"] {
            assert!(tmpfs_options(text).is_err(), "{text}");
        }
    }
}
