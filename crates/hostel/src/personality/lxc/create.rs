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
        row("B", "bdev", "TYPE", "what its files are kept in: dir, overlay, btrfs, loop (dir)"),
        row("", "dir", "DIR", "another directory than NAME/rootfs"),
        row("", "fstype", "TYPE", "file system of a loop (ext4)"),
        row("", "fssize", "SIZE[U]", "its size, in MiB or bBkKmMgGtT (1G)"),
        row("", "lvname", "NAME", "refused: there is no LVM"),
        row("", "vgname", "NAME", "refused"),
        row("", "thinpool", "NAME", "refused"),
        row("", "rbdname", "NAME", "refused: there is no RBD"),
        row("", "rbdpool", "NAME", "refused"),
        row("", "zfsroot", "PATH", "refused: there is no ZFS"),
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
    for refused in ["lvname", "vgname", "thinpool", "rbdname", "rbdpool", "zfsroot"] {
        if call.has(refused) {
            return Err(failure(format!("use --{refused}: dir, overlay, btrfs and loop are the backing stores there are")));
        }
    }
    let Some(template) = call.value("template") else {
        return Err(failure("A template must be specified: `none` makes a container without files"));
    };
    let store = Specs {
        kind: call.value("bdev").map(Kind::of).transpose()?,
        dir: call.value("dir").map(PathBuf::from),
        fstype: call.value("fstype").map(str::to_owned),
        size: call.value("fssize").map(size).transpose()?,
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
