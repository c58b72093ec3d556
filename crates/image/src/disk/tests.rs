//! Disks made of a few bytes, and of what the real mkfs and sfdisk write.

use std::io::Cursor;
use std::process::{Command, Stdio};

use hostel_spec::{Designator, ImagePolicy, RootHash};
use proptest::prelude::*;

use super::gpt::{GROWFS, NO_AUTO, READ_ONLY, crc32};
use super::types::{LINUX_GENERIC, architectures, type_id};
use super::*;

const MIB: u64 = 1 << 20;

/// One partition to be made: type, id, first and last block, flags, label.
#[derive(Clone)]
struct Entry {
    kind: Guid,
    id: [u8; 16],
    first: u64,
    last: u64,
    flags: u64,
    label: &'static str,
}

fn entry(kind: Guid, first_mib: u64, mib: u64) -> Entry {
    Entry { kind, id: [first_mib as u8; 16], first: first_mib * 2048, last: (first_mib + mib) * 2048 - 1, flags: 0, label: "" }
}

fn native(designator: Designator) -> Guid {
    type_id(designator, architectures()[0].unwrap()).unwrap()
}

fn root(first_mib: u64, mib: u64) -> Entry {
    entry(native(Designator::Root), first_mib, mib)
}

/// An ext4 superblock, enough to be recognised.
fn put_ext4(disk: &mut [u8], at: u64) {
    let at = at as usize + 1024;
    disk[at + 0x38..at + 0x3a].copy_from_slice(&[0x53, 0xef]);
    disk[at + 0x60] = 0x40;
}

fn put32(b: &mut [u8], at: usize, v: u32) {
    b[at..at + 4].copy_from_slice(&v.to_le_bytes());
}
fn put64(b: &mut [u8], at: usize, v: u64) {
    b[at..at + 8].copy_from_slice(&v.to_le_bytes());
}

/// A disk of `mib` MiB with a GPT and its copy; each partition begins with an ext4.
fn disk(mib: u64, entries: &[Entry]) -> Vec<u8> {
    let mut disk = vec![0u8; (mib * MIB) as usize];
    let blocks = mib * 2048;
    disk[446 + 4] = mbr::PROTECTIVE;
    put32(&mut disk, 446 + 8, 1);
    put32(&mut disk, 446 + 12, (blocks - 1) as u32);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut table = vec![0u8; 128 * 128];
    for (raw, e) in table.chunks_exact_mut(128).zip(entries) {
        raw[..16].copy_from_slice(&e.kind.to_disk());
        raw[16..32].copy_from_slice(&Guid(e.id).to_disk());
        put64(raw, 32, e.first);
        put64(raw, 40, e.last);
        put64(raw, 48, e.flags);
        for (to, unit) in raw[56..].chunks_exact_mut(2).zip(e.label.encode_utf16()) {
            to.copy_from_slice(&unit.to_le_bytes());
        }
    }
    for e in entries {
        if e.first * 512 + 2048 <= mib * MIB {
            put_ext4(&mut disk, e.first * 512);
        }
    }
    disk[1024..1024 + table.len()].copy_from_slice(&table);
    let copy = ((blocks - 33) * 512) as usize;
    disk[copy..copy + table.len()].copy_from_slice(&table);
    for (lba, other, entries_at) in [(1, blocks - 1, 2), (blocks - 1, 1, blocks - 33)] {
        let mut h = [0u8; 92];
        h[..8].copy_from_slice(b"EFI PART");
        put32(&mut h, 8, 0x10000);
        put32(&mut h, 12, 92);
        for (at, value) in [(24, lba), (32, other), (40, 34), (48, blocks - 34), (72, entries_at)] {
            put64(&mut h, at, value);
        }
        put32(&mut h, 80, 128);
        put32(&mut h, 84, 128);
        put32(&mut h, 88, crc32(&table));
        let crc = crc32(&h);
        put32(&mut h, 16, crc);
        let at = (lba * 512) as usize;
        disk[at..at + 92].copy_from_slice(&h);
    }
    disk
}

/// Changes a field of both headers and makes their checksums right again.
fn change_headers(disk: &mut [u8], change: impl Fn(&mut [u8])) {
    let last = disk.len() - 512;
    for at in [512, last] {
        let h = &mut disk[at..at + 92];
        change(h);
        put32(h, 16, 0);
        let crc = crc32(h);
        put32(h, 16, crc);
    }
}

fn laid_out(disk: &[u8]) -> Result<Layout, Cause> {
    layout(&mut Cursor::new(disk), disk.len() as u64)
}

fn chosen_by(disk: &[u8], policy: &str, trust: &Trust) -> Result<Chosen, Cause> {
    let policy = if policy.is_empty() { ImagePolicy::nspawn() } else { ImagePolicy::parse(policy).unwrap() };
    let layout = laid_out(disk)?;
    choose(&mut Cursor::new(disk), disk.len() as u64, &layout, &policy, trust)
}

fn chosen(disk: &[u8]) -> Chosen {
    chosen_by(disk, "", &Trust::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(disk: &[u8]) -> String {
    chosen_by(disk, "", &Trust::default()).expect_err("refused").to_string()
}

fn numbers(chosen: &Chosen) -> Vec<(Designator, u32)> {
    chosen.parts.iter().map(|p| (p.designator, p.extent.number)).collect()
}

#[test]
fn crc_of_the_standard() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn the_four_layouts() {
    let mut bare = vec![0u8; 1 << 16];
    put_ext4(&mut bare, 0);
    let part = &chosen(&bare).parts[0];
    assert_eq!((part.designator, part.extent, part.content), (Designator::Root, Extent { number: 0, start: 0, size: 1 << 16 }, Content::Ext(4)));

    let generic = disk(8, &[entry(LINUX_GENERIC, 2, 4)]);
    assert_eq!(chosen(&generic).parts[0].extent, Extent { number: 1, start: 2 * MIB, size: 4 * MIB });

    let home = entry(type_id(Designator::Home, "").unwrap(), 1, 1);
    let typed = disk(8, &[home, entry(LINUX_GENERIC, 2, 1), root(3, 2), entry(native(Designator::Usr), 5, 1)]);
    assert_eq!(numbers(&chosen(&typed)), [(Designator::Root, 3), (Designator::Usr, 4), (Designator::Home, 1)]);

    let mut mbr = vec![0u8; 4 << 20];
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (n, kind, boot, start) in [(0, 0x83u8, 0u8, 2048), (1, 0x83, 0x80, 4096)] {
        let at = 446 + n * 16;
        mbr[at] = boot;
        mbr[at + 4] = kind;
        put32(&mut mbr, at + 8, start);
        put32(&mut mbr, at + 12, 2048);
        put_ext4(&mut mbr, u64::from(start) * 512);
    }
    assert_eq!(chosen(&mbr).parts[0].extent, Extent { number: 2, start: 2 * MIB, size: MIB });
    mbr[446] = 0x80;
    assert!(refused(&mbr).contains("2 bootable"));
    mbr[446] = 0;
    mbr[462] = 0;
    assert!(refused(&mbr).contains("marked bootable"));
}

#[test]
fn the_newest_root_of_this_architecture() {
    let labelled = |first, label| Entry { label, ..root(first, 1) };
    let other = match architectures()[1] {
        Some(second) => type_id(Designator::Root, second).unwrap(),
        None => type_id(Designator::Root, "s390x").unwrap(),
    };
    let foreign = Entry { label: "os_99", ..entry(other, 4, 1) };
    let two = disk(8, &[labelled(1, "os_9"), labelled(2, "os_10"), labelled(3, "os_10~rc1"), foreign.clone()]);
    assert_eq!(numbers(&chosen(&two)), [(Designator::Root, 2)]);
    assert!(!chosen(&two).second_arch);
    let hidden = Entry { flags: NO_AUTO, ..labelled(1, "os_9") };
    let none = disk(8, std::slice::from_ref(&hidden));
    assert!(refused(&none).contains("no-auto"), "{}", refused(&none));
    if architectures()[1].is_some() {
        let second = disk(8, &[hidden, foreign]);
        assert_eq!(numbers(&chosen(&second)), [(Designator::Root, 2)]);
        assert!(chosen(&second).second_arch);
    }
    let strange = disk(8, &[entry(type_id(Designator::Root, "s390x").unwrap(), 1, 1)]);
    assert!(refused(&strange).contains("s390x") || cfg!(target_arch = "s390x"));
}

#[test]
fn flags() {
    let flagged = |flags| chosen(&disk(8, &[Entry { flags, ..root(1, 2) }])).parts[0].clone();
    assert_eq!((flagged(READ_ONLY).read_only, flagged(0).read_only), (true, false));
    assert_eq!((flagged(GROWFS).growfs, flagged(GROWFS | READ_ONLY).growfs), (true, false));
}

#[test]
fn the_copy_of_the_table_is_used_when_the_first_is_damaged() {
    let mut damaged = disk(8, &[root(1, 2)]);
    damaged[700] ^= 1;
    assert!(chosen(&damaged).notices.is_empty(), "a byte behind the header says nothing");
    damaged[512 + 60] ^= 1;
    let got = chosen(&damaged);
    assert_eq!(numbers(&got), [(Designator::Root, 1)]);
    assert!(got.notices[0].contains("checksum of the header"), "{:?}", got.notices);
    let mut entries = disk(8, &[root(1, 2)]);
    entries[1024 + 56] ^= 1;
    assert!(chosen(&entries).notices[0].contains("checksum of the entries"));
}

#[test]
fn hostile_tables_are_refused() {
    let good = || disk(8, &[root(1, 2)]);
    let both = |change: fn(&mut [u8])| {
        let mut d = good();
        change_headers(&mut d, change);
        d
    };
    let mut crc = good();
    let last = crc.len() - 512;
    crc[512 + 60] ^= 1;
    crc[last + 60] ^= 1;
    let overlapping = disk(8, &[root(1, 2), entry(LINUX_GENERIC, 2, 2)]);
    let backwards = disk(8, &[Entry { last: 100, ..root(1, 2) }]);
    let beyond = disk(8, &[root(1, 20)]);
    let mut lying = good();
    lying.truncate(5 << 20);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("zero", vec![0; 1 << 20], "neither a file system nor a partition table"),
        ("tiny", vec![0; 100], "too small"),
        ("empty", vec![], "too small"),
        ("bad CRC", crc, "checksum of the header"),
        ("2^32 entries", both(|h| put32(h, 80, u32::MAX)), "claims 4294967295 entries"),
        ("entries of 1 byte", both(|h| put32(h, 84, 1)), "1 bytes each"),
        ("entries of 2 GiB", both(|h| put32(h, 84, 1 << 31)), "bytes each"),
        ("no entries", both(|h| put32(h, 80, 0)), "claims 0 entries"),
        ("entries nowhere", both(|h| put64(h, 72, u64::MAX)), "beyond the end"),
        ("entries over the end", both(|h| put64(h, 72, 16380)), "beyond the end"),
        ("disk too small", both(|h| put64(h, 48, 1 << 40)), "for a disk of more"),
        ("partition beyond the end", beyond, "beyond the end"),
        ("partition backwards", backwards, "beyond the end"),
        ("overlapping", overlapping, "overlap"),
        ("cut off", lying, "for a disk of more"),
    ];
    for (name, disk, want) in cases {
        let start = std::time::Instant::now();
        let said = refused(&disk);
        assert!(said.contains(want), "{name}: {said}");
        assert!(start.elapsed() < std::time::Duration::from_secs(1), "{name}");
    }
}

#[test]
fn two_things_at_once_are_refused() {
    let mut both = vec![0u8; 1 << 17];
    put_ext4(&mut both, 0);
    both[65536 + 64..65536 + 72].copy_from_slice(b"_BHRfS_M");
    assert!(refused(&both).contains("ext4 and btrfs at the same time"));
    let mut table = disk(8, &[root(1, 2)]);
    table[..4].copy_from_slice(b"XFSB");
    assert!(refused(&table).contains("xfs and has a partition table"));
    let mut qcow = vec![0u8; 1 << 16];
    qcow[..4].copy_from_slice(b"QFI\xfb");
    assert!(refused(&qcow).contains("qemu-img convert"));
}

#[test]
fn ext4_with_its_journal_elsewhere_is_refused() {
    let mut journal = vec![0u8; 1 << 16];
    put_ext4(&mut journal, 0);
    journal[1024 + 0x5c] = 4;
    assert!(refused(&journal).contains("journal is on another device"));
    journal[1024 + 0xe0] = 8;
    assert_eq!(chosen(&journal).parts[0].content, Content::Ext(4));
}

#[test]
fn policies_decide() {
    let var = entry(type_id(Designator::Var, "").unwrap(), 4, 1);
    let swap = entry(type_id(Designator::Swap, "").unwrap(), 6, 1);
    let d = disk(8, &[root(1, 2), var, swap]);
    let by = |policy: &str| chosen_by(&d, policy, &Trust::default()).map(|c| numbers(&c)).map_err(|e| e.to_string());
    assert_eq!(by("root=unprotected"), Ok(vec![(Designator::Root, 1)]));
    assert_eq!(by("*").unwrap().len(), 2);
    for (policy, want) in [
        ("root=verity", "does not allow partition 1 (root) unprotected"),
        ("root=unprotected:home=unprotected", "wants a home partition"),
        ("root=unprotected:var=absent", "does not allow partition 2 (var)"),
        ("~", "does not allow partition 1 (root)"),
        ("-", "neither a root nor a /usr"),
        ("root=unprotected+read-only-on", "read-only flag"),
        ("root=unprotected+erofs", "allows only erofs"),
        ("root=unprotected:swap=absent", "no swap partition"),
    ] {
        assert!(by(policy).unwrap_err().contains(want), "{policy}: {:?}", by(policy));
    }
}

fn verity_disk(hash: &RootHash) -> Vec<u8> {
    let part = |d, id, first| Entry { id, ..entry(native(d), first, 1) };
    disk(8, &[root(1, 1), part(Designator::Root, hash.data_id(), 2), part(Designator::RootVerity, hash.hash_id(), 3), root(4, 1)])
}

#[test]
fn a_root_hash_finds_its_partitions_and_is_never_ignored() {
    let hash = RootHash::parse(&"0123456789abcdef".repeat(4)).unwrap();
    let trust = |hash: &RootHash| Trust { root: Some(hash.clone()), ..Trust::default() };
    let d = verity_disk(&hash);
    let got = chosen_by(&d, "", &trust(&hash)).unwrap();
    assert_eq!(numbers(&got), [(Designator::Root, 2)]);
    let Protection::Verity { hashes: Hashes::Partition(tree), .. } = &got.parts[0].protection else { panic!("{:?}", got.parts[0].protection) };
    assert_eq!((tree.number, got.parts[0].read_only), (3, true));
    let other = RootHash::parse(&"ff".repeat(32)).unwrap();
    assert!(chosen_by(&d, "", &trust(&other)).unwrap_err().to_string().contains("has the id that the root hash asks for"));
    assert!(chosen_by(&d, "root=unprotected", &trust(&hash)).unwrap_err().to_string().contains("verified by dm-verity"));
    assert!(chosen_by(&d, "root=signed", &trust(&hash)).is_err(), "it is not signed");
    let mut bare = vec![0u8; 1 << 16];
    put_ext4(&mut bare, 0);
    assert!(chosen_by(&bare, "", &trust(&hash)).unwrap_err().to_string().contains("no hash tree"));
    let file = Trust { hashes: Some("/x.verity".into()), ..trust(&hash) };
    assert!(matches!(chosen_by(&bare, "", &file).unwrap().parts[0].protection, Protection::Verity { hashes: Hashes::File(_), .. }));
    // Without a root hash it is used as it is, which is said.
    assert!(chosen(&d).notices[0].contains("unverified"));
}

#[test]
fn a_signed_root_hash_in_the_image_is_used() {
    let hash = RootHash::parse(&"0123456789abcdef".repeat(4)).unwrap();
    let part = |d, id, first| Entry { id, ..entry(native(d), first, 1) };
    let entries = [
        root(1, 1),
        part(Designator::Root, hash.data_id(), 2),
        part(Designator::RootVerity, hash.hash_id(), 3),
        entry(native(Designator::RootVeritySig), 4, 1),
    ];
    let mut d = disk(8, &entries);
    let json = format!("{{\"rootHash\":\"{hash}\",\"signature\":\"Zm9v\"}}");
    let at = 4 << 20;
    d[at..at + 4096].fill(0);
    d[at..at + json.len()].copy_from_slice(json.as_bytes());
    let got = chosen(&d);
    assert_eq!(numbers(&got), [(Designator::Root, 2)]);
    assert!(matches!(&got.parts[0].protection, Protection::Verity { signature: Some(_), .. }));
    assert!(chosen_by(&d, "root=signed", &Trust::default()).is_ok());
    // Who says "unprotected" gets that.
    assert_eq!(chosen_by(&d, "root=unprotected", &Trust::default()).unwrap().parts[0].protection, Protection::None);
    d[at] = b'x';
    assert!(refused(&d).contains("no JSON object"));
}

/// Runs a program that makes an image; `false` when it is not installed.
fn make(program: &str, args: &[&str]) -> bool {
    match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(out) => {
            assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
            true
        }
        Err(_) => {
            println!("skipped: no {program}");
            false
        }
    }
}

struct Scratch(std::path::PathBuf);
impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!(".#hostel-disk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }
    fn file(&self, name: &str, bytes: u64) -> String {
        let path = self.0.join(name);
        std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_mkfs_makes_is_recognised() {
    let scratch = Scratch::new("mkfs");
    let tree = scratch.0.join("tree");
    std::fs::create_dir_all(tree.join("usr")).unwrap();
    let tree = tree.to_str().unwrap();
    let cases: [(&str, u64, &str, &[&str], Content); 9] = [
        ("ext2", 4 << 20, "mkfs.ext2", &["-q"], Content::Ext(2)),
        ("ext3", 16 << 20, "mkfs.ext3", &["-q"], Content::Ext(3)),
        ("ext4", 16 << 20, "mkfs.ext4", &["-q"], Content::Ext(4)),
        ("xfs", 300 << 20, "mkfs.xfs", &["-q"], Content::Xfs),
        ("btrfs", 128 << 20, "mkfs.btrfs", &["-q"], Content::Btrfs),
        ("fat32", 40 << 20, "mkfs.vfat", &["-F32"], Content::Vfat),
        ("fat16", 20 << 20, "mkfs.vfat", &["-F16"], Content::Vfat),
        ("fat12", 2 << 20, "mkfs.vfat", &["-F12"], Content::Vfat),
        ("swap", 1 << 20, "mkswap", &["-q"], Content::Swap),
    ];
    for (name, size, program, args, want) in cases {
        let image = scratch.file(name, size);
        if make(program, &[args, &[&image]].concat()) {
            let mut file = std::fs::File::open(&image).unwrap();
            assert_eq!(layout(&mut file, size), Ok(Layout::Bare(want)), "{name}");
        }
    }
    let (erofs, squashfs) = (scratch.file("erofs", 0), scratch.file("squashfs", 0));
    if make("mkfs.erofs", &[&erofs, tree]) {
        let size = std::fs::metadata(&erofs).unwrap().len();
        assert_eq!(layout(&mut std::fs::File::open(&erofs).unwrap(), size), Ok(Layout::Bare(Content::Erofs)));
    }
    if make("mksquashfs", &[tree, &squashfs, "-noappend", "-quiet"]) {
        let size = std::fs::metadata(&squashfs).unwrap().len();
        assert_eq!(layout(&mut std::fs::File::open(&squashfs).unwrap(), size), Ok(Layout::Bare(Content::Squashfs)));
    }
}

#[test]
fn what_sfdisk_makes_is_read() {
    let scratch = Scratch::new("sfdisk");
    for (sector, label, script) in [
        ("512", "gpt", "size=4MiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=\"os_1\", attrs=\"GUID:60,59\"\nsize=2MiB\n"),
        ("512", "dos", "size=4MiB, type=83, bootable\nsize=8MiB, type=5\n5: size=2MiB, type=83\n6: size=2MiB, type=83\n"),
    ] {
        let image = scratch.file(&format!("{label}{sector}"), 32 << 20);
        let input = scratch.0.join("script");
        std::fs::write(&input, format!("label: {label}\n{script}")).unwrap();
        let shell = format!("sfdisk -q {image} < {}", input.display());
        if Command::new("sfdisk").arg("--version").output().is_err() || !make("sh", &["-c", &shell]) {
            return;
        }
        match layout(&mut std::fs::File::open(&image).unwrap(), 32 << 20).unwrap() {
            Layout::Gpt(table) => {
                assert_eq!((table.sector.to_string().as_str(), table.backup), (sector, None));
                let p = &table.partitions[0];
                assert_eq!((p.number, p.start, p.size, p.label.as_str()), (1, MIB, 4 * MIB, "os_1"));
                assert_eq!(p.flags, READ_ONLY | GROWFS);
                assert_eq!(table.partitions[1].kind, LINUX_GENERIC);
            }
            Layout::Mbr(entries) => {
                let got: Vec<_> = entries.iter().map(|e| (e.number, e.bootable, e.start, e.size)).collect();
                assert_eq!(got, [(1, true, MIB, 4 * MIB), (5, false, 6 * MIB, 2 * MIB), (6, false, 9 * MIB, 2 * MIB)]);
            }
            Layout::Bare(content) => panic!("{content}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever bytes of the tables are changed: no panic, and what is accepted lies within the disk, nothing over another.
    #[test]
    fn changed_disks(changes in prop::collection::vec((0usize..20_000, any::<u8>()), 1..6), fix in any::<bool>()) {
        let mut d = disk(4, &[root(1, 1), entry(LINUX_GENERIC, 2, 1)]);
        for (at, value) in changes {
            let end = d.len();
            d[if at < 17_000 { at } else { end - 1 - (at - 17_000) * 8 }] = value;
        }
        if fix {
            let crc = crc32(&d[1024..1024 + 16384]);
            change_headers(&mut d, |h| put32(h, 88, crc));
        }
        if let Ok(Layout::Gpt(table)) = laid_out(&d) {
            let mut all: Vec<_> = table.partitions.iter().map(|p| (p.start, p.start + p.size)).collect();
            all.sort_unstable();
            prop_assert!(all.iter().all(|(a, b)| a < b && *b <= d.len() as u64));
            prop_assert!(all.windows(2).all(|w| w[0].1 <= w[1].0));
        }
        let _ = chosen_by(&d, "*", &Trust::default());
    }

    #[test]
    fn random_sectors(start in prop::collection::vec(any::<u8>(), 2048..4096)) {
        let mut d = start;
        d.resize(1 << 16, 0);
        d[510..512].copy_from_slice(&[0x55, 0xaa]);
        let _ = chosen_by(&d, "*", &Trust::default());
    }
}
