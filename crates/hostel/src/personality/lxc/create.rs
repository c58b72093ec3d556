//! lxc-create: make a container.

use std::path::{Path, PathBuf};

use hostel_container::store::{Kind, Specs};
use hostel_container::{CreateOptions, Error};

use super::options::{Call, row};
use super::{Outcome, Tool, failure};

pub(super) const TOOL: Tool = Tool {
    name: "lxc-create",
    synopsis: "-n NAME -t TEMPLATE [-- TEMPLATE-OPTIONS]",
    about: "make a container",
    named: true,
    options: &[
        row("f", "config", "FILE", "its configuration, to begin with"),
        row("t", "template", "TEMPLATE", "busybox, local, none; one of /usr/share/lxc/templates; an absolute path"),
        row("B", "bdev", "TYPE", "what its files are kept in: dir, overlay, btrfs, loop, zfs, lvm (dir)"),
        row("", "dir", "DIR", "another directory than NAME/rootfs"),
        row("", "fstype", "TYPE", "file system of a loop or lvm (ext4)"),
        row("", "fssize", "SIZE[U]", "its size, in MiB or bBkKmMgGtT (1G)"),
        row("", "lvname", "NAME", "lvm: name of the volume (the container's)"),
        row("", "vgname", "NAME", "lvm: its group (lxc.bdev.lvm.vg)"),
        row("", "thinpool", "NAME", "lvm: its thin pool (lxc.bdev.lvm.thin_pool, if there is one)"),
        row("", "rbdname", "NAME", "refused: there is no RBD"),
        row("", "rbdpool", "NAME", "refused"),
        row("", "zfsroot", "PATH", "zfs: the dataset that its own is made in (lxc.bdev.zfs.root)"),
    ],
    run,
};

/// `1G`, `512`.
pub(super) fn size(text: &str) -> Result<u64, Error> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "b" | "B" => 0,
        "k" | "K" => 10,
        "" | "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => 64,
    };
    let bytes = digits.parse::<u64>().ok().filter(|n| *n > 0 && unit < 64).and_then(|n| n.checked_mul(1 << unit));
    bytes.filter(|bytes| *bytes < 1 << 60).ok_or_else(|| failure(format!("read size {text}: it is a number and one of bkmgt")))
}

fn run(call: &Call) -> Outcome {
    for refused in ["rbdname", "rbdpool"] {
        if call.has(refused) {
            return Err(failure(format!("use --{refused}: dir, overlay, btrfs, loop, zfs and lvm are the backing stores there are")));
        }
    }
    for (option, kind) in [("zfsroot", "zfs"), ("lvname", "lvm"), ("vgname", "lvm"), ("thinpool", "lvm")] {
        if call.has(option) && call.value("bdev") != Some(kind) {
            return Err(failure(format!("use --{option}: it is for -B {kind}")));
        }
    }
    let Some(template) = call.value("template") else {
        return Err(failure("A template must be specified: `none` makes a container without files"));
    };
    let text = |option: &str| call.value(option).map(str::to_owned);
    let store = Specs {
        kind: call.value("bdev").map(Kind::of).transpose()?,
        dir: call.value("dir").map(PathBuf::from),
        fstype: text("fstype"),
        size: call.value("fssize").map(size).transpose()?,
        zfs_root: text("zfsroot"),
        group: text("vgname"),
        volume: text("lvname"),
        pool: text("thinpool"),
    };
    let mut container = call.container()?;
    if container.is_defined() {
        return Err(failure("Container already exists"));
    }
    if let Some(file) = call.value("config") {
        container.clear_config();
        container.load_config(Some(Path::new(file)))?;
    }
    let quiet = call.has("quiet");
    container.create(&CreateOptions { template: Some(template.to_owned()), store, quiet, arguments: call.words.clone() })?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        let sizes = ["1G", "20", "20M", "4096b", "3k"].map(|text| size(text).unwrap());
        assert_eq!(sizes, [1 << 30, 20 << 20, 20 << 20, 4096, 3072]);
        for bad in ["", "G", "0", "1x", "-1", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
