//! Member functions for containers at rest: made, copied, snapshotted, removed.

use std::ffi::{c_char, c_int};
use std::mem::offset_of;
use std::path::Path;
use std::ptr;

use hostel_container::store::{self, Kind};
use hostel_container::{CloneOptions, CreateOptions, Error, Result};

use crate::c::{self, Out, Text, Texts, guard};
use crate::object::{C, LxcContainer, made, missing, read, write};

/// `struct bdev_specs`, as far as it is read: later members are only there in later clients.
#[repr(C)]
pub(crate) struct Specs<'a> {
    fstype: Text<'a>,
    fssize: u64,
    zfsroot: Text<'a>,
    vg: Text<'a>,
    lv: Text<'a>,
    thinpool: Text<'a>,
    dir: Text<'a>,
}
const _: () = assert!(offset_of!(Specs<'_>, fssize) == 8 && offset_of!(Specs<'_>, dir) == 48);

/// The first kind of a list (`btrfs,dir`) that is made here.
fn kind(words: Text<'_>) -> Result<Option<Kind>> {
    let Some(words) = words.filled() else { return Ok(None) };
    let mut last = None;
    for word in words.split(',') {
        match Kind::of(word) {
            Ok(kind) => return Ok(Some(kind)),
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(None), Err)
}

fn words(argv: Texts<'_>) -> Result<Vec<String>> {
    argv.words().unwrap_or(Ok(Vec::new())).map_err(|why| Error { text: format!("take arguments: {why}"), number: libc::EINVAL })
}

const CREATE_QUIET: c_int = 1;

pub(crate) extern "C" fn create(c: C<'_>, template: Text<'_>, kinds: Text<'_>, specs: Option<&Specs<'_>>, flags: c_int, argv: Texts<'_>) -> bool {
    write(c, false, |c| {
        let text = |of: fn(&Specs<'_>) -> Option<String>| specs.and_then(of);
        let store = store::Specs {
            kind: kind(kinds)?,
            dir: specs.and_then(|specs| specs.dir.filled()).map(Into::into),
            fstype: text(|specs| specs.fstype.filled().map(str::to_owned)),
            size: specs.map(|specs| specs.fssize).filter(|size| *size > 0),
            zfs_root: text(|specs| specs.zfsroot.filled().map(str::to_owned)),
            group: text(|specs| specs.vg.filled().map(str::to_owned)),
            volume: text(|specs| specs.lv.filled().map(str::to_owned)),
            pool: text(|specs| specs.thinpool.filled().map(str::to_owned)),
        };
        let template = template.filled().map(str::to_owned);
        c.create(&CreateOptions { template, store, quiet: flags & CREATE_QUIET != 0, arguments: words(argv)? }).map(|()| true)
    })
}

pub(crate) extern "C" fn destroy(c: C<'_>) -> bool {
    write(c, false, |c| c.destroy().map(|()| true))
}

pub(crate) extern "C" fn destroy_with_snapshots(c: C<'_>) -> bool {
    write(c, false, |c| c.destroy_with_snapshots().map(|()| true))
}

/// The client's container keeps its old name, of what is gone.
pub(crate) extern "C" fn rename(c: C<'_>, name: Text<'_>) -> bool {
    write(c, false, |c| c.rename(name.get().ok_or_else(|| missing("name"))?).map(|_| true))
}

const KEEPNAME: c_int = 1;
const KEEPMACADDR: c_int = 2;
const SNAPSHOT: c_int = 4;
const MAYBE_SNAPSHOT: c_int = 16;
const ALLOW_RUNNING: c_int = 64;

#[allow(clippy::too_many_arguments, reason = "the interface")]
pub(crate) extern "C" fn clone(
    c: C<'_>,
    name: Text<'_>,
    lxcpath: Text<'_>,
    flags: c_int,
    kinds: Text<'_>,
    _data: Text<'_>,
    size: u64,
    hooks: Texts<'_>,
) -> *mut LxcContainer {
    read(c, ptr::null_mut(), |c| {
        let is = |flag| flags & flag != 0;
        let options = CloneOptions {
            keep_name: is(KEEPNAME),
            keep_mac: is(KEEPMACADDR),
            snapshot: is(SNAPSHOT),
            maybe_snapshot: is(MAYBE_SNAPSHOT),
            allow_running: is(ALLOW_RUNNING),
            store: store::Specs { kind: kind(kinds)?, size: Some(size).filter(|size| *size > 0), ..store::Specs::default() },
            hook_arguments: words(hooks)?,
        };
        let copy = c.clone_to(name.filled().unwrap_or(&c.name), lxcpath.filled(), &options)?;
        Ok(made(&copy.name, Some(&copy.lxcpath)))
    })
}

pub(crate) extern "C" fn snapshot(c: C<'_>, comment: Text<'_>) -> c_int {
    read(c, -1, |c| c.snapshot(comment.filled().map(Path::new)).map(|number| number as c_int))
}

/// `struct lxc_snapshot`.
#[repr(C)]
pub(crate) struct LxcSnapshot {
    name: *mut c_char,
    comment_pathname: *mut c_char,
    timestamp: *mut c_char,
    lxcpath: *mut c_char,
    free: extern "C" fn(Option<&mut LxcSnapshot>),
}
const _: () = assert!(size_of::<LxcSnapshot>() == 40);

/// The array itself is the client's to free.
extern "C" fn free_snapshot(snapshot: Option<&mut LxcSnapshot>) {
    let Some(all) = snapshot else { return };
    for member in [&mut all.name, &mut all.comment_pathname, &mut all.timestamp, &mut all.lxcpath] {
        // SAFETY: a string of ours that is in no member afterwards.
        unsafe { c::free(std::mem::replace(member, ptr::null_mut())) }
    }
}

pub(crate) extern "C" fn snapshot_list(c: C<'_>, to: Out<*mut LxcSnapshot>) -> c_int {
    read(c, -1, |c| {
        if to.is_null() {
            return Err(missing("snapshots"));
        }
        let of = |snapshot: hostel_container::Snapshot| LxcSnapshot {
            name: c::string(&snapshot.name),
            comment_pathname: c::string(&snapshot.comment_pathname.display().to_string()),
            timestamp: snapshot.timestamp.map_or(ptr::null_mut(), |time| c::string(&time)),
            lxcpath: c::string(&snapshot.lxcpath),
            free: free_snapshot,
        };
        let all: Vec<LxcSnapshot> = c.snapshot_list()?.into_iter().map(of).collect();
        let count = all.len() as c_int;
        to.put(if count == 0 { ptr::null_mut() } else { c::array(all) });
        Ok(count)
    })
}

pub(crate) extern "C" fn snapshot_restore(c: C<'_>, name: Text<'_>, new_name: Text<'_>) -> bool {
    write(c, false, |c| c.snapshot_restore(name.get().ok_or_else(|| missing("name"))?, new_name.filled()).map(|()| true))
}

pub(crate) extern "C" fn snapshot_destroy(c: C<'_>, name: Text<'_>) -> bool {
    read(c, false, |c| c.snapshot_destroy(name.get().ok_or_else(|| missing("name"))?).map(|()| true))
}

pub(crate) extern "C" fn snapshot_destroy_all(c: C<'_>) -> bool {
    read(c, false, |c| c.snapshot_destroy_all().map(|()| true))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_is_valid_storage_type(word: Text<'_>) -> bool {
    guard(false, || word.get().is_some_and(|word| Kind::of(word).is_ok()))
}
