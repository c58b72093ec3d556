//! Disk images: anybody's bytes, read as root.

use std::io::Cursor;

use hostel_image::disk::{self, Layout, Trust, version};
use hostel_spec::{ImagePolicy, RootHash};

use crate::{one_line, text};

/// A protective MBR and the head of a GPT, as far as text can hold them.
pub(crate) const DISK_SEEDS: &[&str] = &["EFI PART", "XFSB\0\0", "hsqs", "verity\0\0\x01", "QFI", "SWAPSPACE2", "\x01\u{53}\u{ef}"];
pub(crate) const POLICY_SEEDS: &[&str] =
    &["root=verity+signed:usr=encrypted+absent:=unused+absent", "*", "-", "~", "var=growfs-on+read-only-off+ext4:=open", "root="];

/// The tables and superblocks of a disk: the bytes are laid where tables are, and the rest is zero. What is accepted
/// lies within the disk, and nothing over another.
pub fn disk_image(data: &[u8]) {
    let mut disk = vec![0u8; 1 << 17];
    // The first byte says where the others go.
    let places = [0usize, 440, 512, 1024, 1080, 4086, 65536, (1 << 17) - 512];
    let (place, data) = data.split_first().map_or((0, data), |(first, rest)| (places[usize::from(*first) % places.len()], rest));
    let length = data.len().min(disk.len() - place);
    disk[place..place + length].copy_from_slice(&data[..length]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[450] = 0xee;
    disk[458] = 0xff;
    let size = disk.len() as u64;
    let mut reader = Cursor::new(disk);
    match disk::layout(&mut reader, size) {
        Err(e) => one_line(&e),
        Ok(layout) => {
            let extents: Vec<(u64, u64)> = match &layout {
                Layout::Bare(_) => Vec::new(),
                Layout::Mbr(entries) => entries.iter().filter(|e| e.kind != disk::mbr::PROTECTIVE).map(|e| (e.start, e.size)).collect(),
                Layout::Gpt(table) => table.partitions.iter().map(|p| (p.start, p.size)).collect(),
            };
            assert!(extents.iter().all(|(start, length)| start + length <= size));
            let policy = ImagePolicy::nspawn();
            if let Err(e) = disk::choose(&mut reader, size, &layout, &policy, &Trust::default()) {
                one_line(&e);
            }
        }
    }
}

/// `--image-policy=`: what is printed means the same.
pub fn image_policy(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match ImagePolicy::parse(text) {
        Ok(policy) => assert_eq!(ImagePolicy::parse(&policy.to_string()), Ok(policy)),
        Err(e) => one_line(&e),
    }
}

/// A verity signature partition, and a root hash.
pub fn verity_signature(data: &[u8]) {
    if let Err(e) = disk::verity::parse_signature(data) {
        one_line(&e);
    }
    if let Some(Ok(hash)) = text(data).map(RootHash::parse) {
        assert_eq!(RootHash::parse(&hash.to_string()), Ok(hash));
    }
}

/// Two labels, separated by NUL: their order is one.
pub fn label_order(data: &[u8]) {
    let Some((a, b)) = text(data).map(|t| t.split_once('\0').unwrap_or((t, ""))) else { return };
    assert_eq!(version::compare(a, b), version::compare(b, a).reverse());
    assert!(version::compare(a, a).is_eq());
}
