//! A machine's changes as a shell script: the steps of a commit, in its order, for another host or another day.
//!
//! It needs a POSIX shell, `base64`, `mv -T` and `touch -h` (GNU's or BusyBox's), and `setfattr` where attributes are to be set.
//! Times are whole seconds; sockets are left out.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hostel_image::{Cause, Result};
use rustix::fs::{FileType, Stat};

use crate::commit::{Act, Old, Op, plan};
use crate::layer::{Layer, directory, kind_of, look, parent, target};
use crate::same::{self, Place};
use crate::{Change, On};

/// What all scripts begin with.
const HEAD: &str = "set -euC
umask 077
root=${1:-/}
[ \"$(id -u)\" = 0 ] || { echo 'run it as root' >&2; exit 1; }
cd -- \"$root\"
# a new directory; what else has its name goes
newdir() { [ -d \"$1\" ] && [ ! -L \"$1\" ] || { rm -f -- \"$1\"; mkdir -- \"$1\"; }; }
# owner, mode, time of an entry
dress() { chown -h -- \"$1\" \"$4\"; [ \"$2\" = - ] || chmod -- \"$2\" \"$4\"; touch -h -d \"@$3\" -- \"$4\"; }
# what was made beside its place takes it
settle() { [ ! -d \"$1\" ] || [ -L \"$1\" ] || rmdir -- \"$1\"; mv -fT -- \"$1.#hostel\" \"$1\"; }
# run it while nobody else writes to what it changes: the shell has no way to hold a file while it is made
";

/// What those with attributes ask before anything changes.
const SETFATTR: &str = "command -v setfattr >/dev/null || { echo 'find setfattr: install the package attr' >&2; exit 1; }\n";

/// Writes the script that makes `changes` to a root directory (its first argument, else `/`) like the one `layers` lie over.
/// `about` are lines for its reader.
pub fn script(about: &str, layers: &[Layer], changes: &[Change], out: &mut dyn Write) -> Result<()> {
    let ops = plan::plan(layers, changes)?;
    let stream = Path::new("the script");
    let lines: String = about.lines().map(|l| format!("# {}\n", l.replace(|c: char| c.is_control(), "?"))).collect();
    out.write_all(format!("#!/bin/sh\n{lines}{HEAD}").as_bytes()).on("write", stream)?;
    let named = |op: &Op, e: Cause| e.on("write as a script", &layers[op.layer].shown(op.path()));
    let mut attributes = false;
    for op in &ops {
        attributes |= has_attributes(&layers[op.layer], op).map_err(|e| named(op, e))?;
    }
    if attributes {
        out.write_all(SETFATTR.as_bytes()).on("write", stream)?;
    }
    for op in &ops {
        one(&layers[op.layer], op, &ops, out).map_err(|e| named(op, e))?;
    }
    Ok(())
}

/// A path as one word of the shell, below the root.
fn word(path: &Path) -> Vec<u8> {
    quoted(&[b".", path.as_os_str().as_bytes()].concat())
}

fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => out.extend(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

fn line(out: &mut dyn Write, parts: &[&[u8]]) -> std::result::Result<(), Cause> {
    out.write_all(&parts.join(&b' '))?;
    Ok(out.write_all(b"\n")?)
}

fn one(layer: &Layer, op: &Op, ops: &[Op], out: &mut dyn Write) -> std::result::Result<(), Cause> {
    let shown = layer.shown(op.path());
    let path = word(&shown);
    match op.act {
        Act::MakeDir => line(out, &[b"newdir", &path]),
        Act::Delete if op.old == Old::Directory => line(out, &[b"rmdir --", &path]),
        Act::Delete => line(out, &[b"rm -f --", &path]),
        Act::Dress => {
            let dir = directory(layer.upper(), op.path())?.ok_or(Cause::Why("it is gone"))?;
            let stat = rustix::fs::fstat(&dir)?;
            dress(Place { dir: dir.as_fd(), name: c"", stat: &stat, upper: true }, &path, out)?;
            for gone in lost(layer, op)? {
                line(out, &[b"setfattr -h -x", &quoted(gone.to_bytes()), b"--", &path])?;
            }
            Ok(())
        }
        Act::Put => {
            // The name it has until it is whole.
            let made = word(Path::new(OsStr::from_bytes(&[shown.as_os_str().as_bytes(), b".#hostel"].concat())));
            line(out, &[b"rm -f --", &made])?;
            match op.link {
                Some(first) => line(out, &[b"ln --", &word(&layer.shown(ops[first].path())), &made])?,
                None => {
                    let (dir, name) = parent(layer.upper(), op.path())?.ok_or(Cause::Why("it is gone"))?;
                    let stat = look(dir.as_fd(), &name)?.ok_or(Cause::Why("it is gone"))?;
                    if kind_of(&stat) == FileType::Socket {
                        // Nothing without who listens, and made by that.
                        return line(out, &[b"rm -f --", &path]);
                    }
                    let place = Place { dir: dir.as_fd(), name: &name, stat: &stat, upper: true };
                    contents(place, &made, out)?;
                    dress(place, &made, out)?;
                }
            }
            line(out, &[b"settle", &path])
        }
    }
}

/// Attributes that the directory has below and not in the machine.
fn lost(layer: &Layer, op: &Op) -> std::result::Result<Vec<CString>, Cause> {
    let attributes = |top, upper| -> std::result::Result<_, Cause> {
        let Some(dir) = directory(top, op.path())? else { return Ok(BTreeMap::new()) };
        let stat = rustix::fs::fstat(&dir)?;
        same::attributes(Place { dir: dir.as_fd(), name: c"", stat: &stat, upper })
    };
    let new = attributes(layer.upper(), true)?;
    Ok(attributes(layer.lower(), false)?.into_keys().filter(|name| !new.contains_key(name)).collect())
}

fn has_attributes(layer: &Layer, op: &Op) -> std::result::Result<bool, Cause> {
    if op.act == Act::Delete || op.link.is_some() {
        return Ok(false);
    }
    // The layer's own directory has no parent to be looked at from.
    if op.path().as_os_str().is_empty() {
        return Ok(false);
    }
    let Some((dir, name)) = parent(layer.upper(), op.path())? else { return Ok(false) };
    let Some(stat) = look(dir.as_fd(), &name)? else { return Ok(false) };
    let brings = !same::attributes(Place { dir: dir.as_fd(), name: &name, stat: &stat, upper: true })?.is_empty();
    Ok(brings || op.act == Act::Dress && !lost(layer, op)?.is_empty())
}

fn contents(place: Place<'_>, made: &[u8], out: &mut dyn Write) -> std::result::Result<(), Cause> {
    match kind_of(place.stat) {
        FileType::RegularFile if place.stat.st_size == 0 => line(out, &[b":", b">", made]),
        FileType::RegularFile => {
            line(out, &[b"base64 -d >", made, b"<<'#'"])?;
            let file = same::regular(place)?;
            // a whole number of lines of 76 letters
            let (mut room, mut at) = (vec![0u8; 57 * 1024], 0);
            loop {
                let n = same::fill(file.as_fd(), &mut room, at)?;
                for chunk in room[..n].chunks(57) {
                    out.write_all(base64(chunk).as_bytes())?;
                }
                if n < room.len() {
                    return Ok(out.write_all(b"#\n")?);
                }
                at += n as u64;
            }
        }
        FileType::Symlink => line(out, &[b"ln -s --", &quoted(target(place.dir, place.name)?.as_os_str().as_bytes()), made]),
        FileType::Fifo => line(out, &[b"mkfifo --", made]),
        FileType::BlockDevice => device(place.stat, b"b", made, out),
        FileType::CharacterDevice => device(place.stat, b"c", made, out),
        _ => Err(Cause::Why("it is of no kind that a script can make")),
    }
}

fn device(stat: &Stat, letter: &[u8], made: &[u8], out: &mut dyn Write) -> std::result::Result<(), Cause> {
    let numbers = format!("{} {}", rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    line(out, &[b"mknod --", made, letter, numbers.as_bytes()])
}

/// Attributes last: chown(2) takes capabilities away.
fn dress(place: Place<'_>, path: &[u8], out: &mut dyn Write) -> std::result::Result<(), Cause> {
    let stat = place.stat;
    let owner = format!("{}:{}", stat.st_uid, stat.st_gid);
    let mode = if kind_of(stat) == FileType::Symlink { "-".to_owned() } else { format!("{:o}", stat.st_mode & 0o7777) };
    line(out, &[b"dress", owner.as_bytes(), mode.as_bytes(), stat.st_mtime.to_string().as_bytes(), path])?;
    for (name, value) in same::attributes(place)? {
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        line(out, &[b"setfattr -h -n", &quoted(name.to_bytes()), format!("-v 0x{value} --").as_bytes(), path])?;
    }
    Ok(())
}

/// One line, with its end.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = u32::from(chunk[0]) << 16 | u32::from(*chunk.get(1).unwrap_or(&0)) << 8 | u32::from(*chunk.get(2).unwrap_or(&0));
        for letter in 0..4 {
            let there = letter <= chunk.len();
            out.push(if there { LETTERS[(bits >> (18 - 6 * letter)) as usize & 63] as char } else { '=' });
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (plain, coded) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), format!("{coded}\n"));
        }
        assert_eq!(quoted(b"a'b\n"), b"'a'\\''b\n'");
    }
}
