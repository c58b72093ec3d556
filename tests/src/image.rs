//! Disk images for one test, made by the real mkfs and sfdisk out of a tree.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Bed, Tree};

/// A partition to be made: a line of sfdisk's script, and what is copied into it.
pub struct Part<'a> {
    /// `type=…, name=…`, without size and start.
    pub script: &'a str,
    /// A file system image.
    pub content: &'a Path,
}

/// Whether a program that makes images is installed.
pub fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(program).exists())
}

#[track_caller]
fn run(program: &str, args: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("run {program}: {e}"));
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).unwrap_or_else(|e| panic!("write to {program}: {e}"));
    }
    let out = child.wait_with_output().unwrap_or_else(|e| panic!("run {program}: {e}"));
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&said));
}

impl Bed {
    /// A file of this length, all zero, in the scratch place.
    #[track_caller]
    pub fn zeros(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.dir().join(name);
        File::create(&path).and_then(|f| f.set_len(bytes)).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        path
    }

    /// A file system of this kind with the tree in it; `None`, with the reason printed, when it cannot be made here.
    #[track_caller]
    pub fn file_system(&self, kind: &str, tree: &Path, mib: u64) -> Option<PathBuf> {
        let program = if kind == "squashfs" { "mksquashfs".to_owned() } else { format!("mkfs.{kind}") };
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default().lines().any(|l| l.split_whitespace().last() == Some(kind));
        if !has(&program) || (kind != "vfat" && !known) {
            println!("skipped: {kind} cannot be made or mounted here");
            return None;
        }
        let image = self.zeros(&format!("{kind}-{}.raw", self.name()), mib << 20);
        let (file, tree) = (image.to_str().unwrap_or_default(), tree.to_str().unwrap_or_default());
        match kind {
            "ext4" => run(&program, &["-q", "-d", tree, file], ""),
            "btrfs" => run(&program, &["-q", "-r", tree, file], ""),
            "erofs" => run(&program, &[file, tree], ""),
            "squashfs" => {
                // It would append to the empty file.
                let _ = std::fs::remove_file(&image);
                run(&program, &[tree, file, "-noappend", "-quiet"], "");
            }
            "xfs" => {
                run(&program, &["-q", file], "");
                let place = self.fresh("mount");
                let place = place.to_str().unwrap_or_default();
                // In a mount namespace of its own: whatever happens, nothing stays mounted.
                run(
                    "unshare",
                    &["-m", "sh", "-ec", "mount -o loop \"$1\" \"$3\"; cp -a \"$2\"/. \"$3\"; umount \"$3\"", "sh", file, tree, place],
                    "",
                );
            }
            _ => run(&program, &[file], ""),
        }
        Some(image)
    }

    /// A disk with a partition table: `gpt` or `dos`.
    #[track_caller]
    pub fn disk(&self, label: &str, parts: &[Part<'_>]) -> PathBuf {
        let length = |p: &Part<'_>| std::fs::metadata(p.content).map_or(0, |m| m.len()).div_ceil(1 << 20);
        let total: u64 = parts.iter().map(length).sum::<u64>() + 2;
        let disk = self.zeros(&format!("{}.raw", self.name()), total << 20);
        let mut script = format!("label: {label}\n");
        // With their places: on a disk of up to 4 MiB sfdisk would begin at sector 34.
        let mut at = 1u64;
        for part in parts {
            script.push_str(&format!("start={at}MiB, size={}MiB, {}\n", length(part), part.script));
            at += length(part);
        }
        run("sfdisk", &["-q", disk.to_str().unwrap_or_default()], &script);
        let mut at = 1u64;
        for part in parts {
            let mut from = File::open(part.content).unwrap_or_else(|e| panic!("open {}: {e}", part.content.display()));
            let mut to = OpenOptions::new().write(true).open(&disk).unwrap_or_else(|e| panic!("open {}: {e}", disk.display()));
            to.seek(SeekFrom::Start(at << 20)).and_then(|_| std::io::copy(&mut from, &mut to)).unwrap_or_else(|e| panic!("fill disk: {e}"));
            at += length(part);
        }
        disk
    }

    /// `hostel nspawn -q -i IMAGE ARGS…`.
    pub fn nspawn_image<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, image: &Path, args: I) -> crate::Invocation {
        self.hostel(["nspawn", "--quiet", "--register=no", "-i"]).arg(image).args(args)
    }

    /// A little system with this machine id, to be put into images.
    #[track_caller]
    pub fn system(&self) -> Tree {
        let tree = self.little();
        tree.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        for name in ["ls", "touch", "mount", "reboot", "rm", "stat", "sleep", "true"] {
            let _ = std::os::unix::fs::symlink("busybox", tree.at(&format!("/usr/bin/{name}")));
        }
        tree
    }

    /// Loop devices over files of this test.
    pub fn loop_devices(&self) -> usize {
        self.leftovers().iter().filter(|l| l.starts_with("loop device")).count()
    }
}
