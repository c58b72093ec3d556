//! Kept machines: an upper layer on disk with a note of what it lies over.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use hostel_engine::error::{Error, Result};
use hostel_image::inroot::Durable;
use hostel_image::open::KEPT;
use hostel_image::{kept, locks};
use hostel_overlay::Layer;
use hostel_spec::{Ephemeral, MachineName, MachineSpec, OsText, TreeSource};
use serde::{Deserialize, Serialize};

/// What `machine.json` in a kept machine's directory says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The tree below: `/` is the host.
    lower: OsText,
}

/// The directory of a kept machine.
pub fn directory(name: &MachineName) -> PathBuf {
    PathBuf::from(KEPT).join(name.as_str())
}

/// What the kept machine `name` lies over; `None`: none is kept under that name.
pub fn lower(name: &MachineName) -> Result<Option<PathBuf>> {
    let help = |e: Error| {
        let file = directory(name).join(kept::NOTE);
        e.hint(format!("`hostel rm {name}` forgets the machine; to save it, write {{\"lower\":\"/its/tree\"}} into {}", file.display()))
    };
    let Some(text) = kept::note(KEPT.as_ref(), name).map_err(|e| help(e.into()))? else { return Ok(None) };
    match serde_json::from_slice::<Note>(&text) {
        Ok(note) => Ok(Some(note.lower.0.into())),
        Err(e) => {
            let file = directory(name).join(kept::NOTE).display().to_string();
            Err(help(Error::new("read", file, format!("it is damaged ({e})"))))
        }
    }
}

/// What the kept machine `name` lies over.
pub fn required(name: &MachineName) -> Result<PathBuf> {
    lower(name)?.ok_or_else(|| {
        Error::new("open", format!("machine {name}"), "no machine is kept under this name").hint("`hostel ps --all` lists those that are")
    })
}

/// The layers of the kept machine `name`, and what it lies over.
pub fn layers(name: &MachineName) -> Result<(PathBuf, Vec<Layer>)> {
    let lower = required(name)?;
    if hostel_image::raw::is_image(&lower) {
        let error =
            Error::new("compare", format!("machine {name}"), format!("what it changed of the disk image {} is not compared yet", lower.display()));
        return Err(error.hint(format!("its files are in {}", directory(name).join("upper").display())));
    }
    let directory = directory(name);
    let mut layers = vec![Layer::open("/".as_ref(), &directory.join("upper"), &lower)?];
    let parts = directory.join("parts");
    let entries = match std::fs::read_dir(&parts) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((lower, layers)),
        other => other.map_err(|e| Error::new("list", parts.display().to_string(), e))?,
    };
    for entry in entries.flatten() {
        let place = PathBuf::from(format!("/{}", entry.file_name().to_string_lossy().replace("%2f", "/").replace("%25", "%")));
        layers.push(Layer::open(&place, &entry.path().join("upper"), &place)?);
    }
    Ok((lower, layers))
}

/// Since when what the machine `name` lies over must not have changed: seconds and nanoseconds.
pub fn since(name: &MachineName) -> Result<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let note = directory(name).join(kept::NOTE);
    let meta = std::fs::metadata(&note).map_err(|e| Error::new("read", note.display().to_string(), hostel_engine::error::io_text(&e)))?;
    Ok((meta.mtime(), meta.mtime_nsec()))
}

/// Keeps the layers of the kept machine `name` from being used: a machine of another name may run on them, whose supervisor
/// holds this lock.
pub fn lock(name: &MachineName) -> Result<locks::TreeLock> {
    let path = directory(name);
    let tree = hostel_image::open::directory(&path)?;
    Ok(locks::take(locks::directory(), tree.as_fd(), &path, locks::Lock::Exclusive, name)?)
}

/// Refuses a machine of which a part of the changes is made to what it lies over: it has to be as it is until that is finished, or taken
/// back, and may not run over half of itself.
pub fn refuse_half_done(verb: &'static str, name: &MachineName) -> Result<()> {
    match hostel_overlay::commit::half_done(hostel_overlay::commit::UNDO.as_ref(), name.as_str())? {
        None => Ok(()),
        Some(number) => {
            let error = Error::new(verb, format!("machine {name}"), format!("commit {number} of it was interrupted"));
            Err(error.hint("`hostel commit --resume` finishes it, `hostel commit --rollback` takes it back"))
        }
    }
}

/// The same of the kept machine in the directory `path`, whose lock we have: whoever commits has it until that is done, or never will be.
pub fn refuse_half_done_at(verb: &'static str, path: &std::path::Path) -> Result<()> {
    let name = path.strip_prefix(KEPT).ok().and_then(|name| MachineName::new(name.to_string_lossy()).ok());
    name.map_or(Ok(()), |name| refuse_half_done(verb, &name))
}

/// At the end of the machine whose layers are in `directory`, nobody else in it: what was only touched does not hide what becomes of it
/// on the host. Where that cannot be done it stays as it was.
pub fn tidy(directory: &std::path::Path) {
    let is_empty = |dir: &str| std::fs::read_dir(directory.join(dir)).map_or(true, |mut entries| entries.next().is_none());
    if is_empty("upper") && is_empty("parts") {
        return;
    }
    let name = directory.file_name().and_then(|name| MachineName::new(name.to_string_lossy()).ok());
    let _ = name.and_then(|name| layers(&name).ok()).map(|(_, layers)| hostel_overlay::tidy(&layers));
}

/// What was changed before `moment` is known to the machine.
pub fn renew(name: &MachineName, moment: std::time::SystemTime) -> Result<()> {
    let note = directory(name).join(kept::NOTE);
    let touch = |file: std::fs::File| file.set_modified(moment).and_then(|()| file.sync_all());
    let renewed = std::fs::File::options().write(true).open(&note).and_then(touch);
    renewed.map_err(|e| Error::new("write", note.display().to_string(), hostel_engine::error::io_text(&e)))
}

/// Tells that packages below the machine were changed since it was made, and that it does not know.
fn tell_drift(name: &MachineName, lower: &std::path::Path) {
    let drifted = || hostel_overlay::rebase::drifted(&layers(name).ok()?.1, since(name).ok()?).ok();
    if !hostel_image::raw::is_image(lower) && drifted() == Some(true) {
        let text =
            format_args!("notice: packages of {} were changed since machine {name} was, which has a package database of its own; ", lower.display());
        crate::output::tell(format_args!("{text}`hostel rebase {name}` makes it fit"));
    }
}

/// For `--keep NAME`: makes `spec` use the kept upper layer, which has to lie over the tree of `spec`. Where there is none and
/// `make` says so, it is made (`None`: it is not): its directory (O_PATH), to be taken back if nothing comes of the start.
pub fn keep(spec: &mut MachineSpec, name: &MachineName, make: Option<Durable>) -> Result<Option<OwnedFd>> {
    if let TreeSource::Named(tree) = &spec.root.tree
        && is_kept(tree)
    {
        let error = Error::new("use", format!("kept machine {tree} as a tree"), "its changes would be somebody else's");
        return Err(error.hint(format!("`--keep {tree}` without a tree, or with its own, goes on with it")));
    }
    // Also finds out, before anything is made, whether it is a tree at all.
    let asked = hostel_engine::tree::find(spec)?.0.path;
    let made = loop {
        match lower(name)? {
            Some(found) if found == asked => break None,
            Some(found) => return Err(another(spec, name, &asked, &found)),
            None => {}
        }
        let Some(durable) = make else { break None };
        let note = serde_json::to_vec(&Note { lower: asked.clone().into_os_string().into() }).map_err(|e| Error::new("write", "note", e))?;
        // Somebody else may have made one meanwhile: looked at like any other.
        if let Some(made) = kept::create(KEPT.as_ref(), name, &note, durable)? {
            break Some(made);
        }
    };
    if made.is_none() {
        tell_drift(name, &asked);
    }
    attach(spec, name, asked);
    Ok(made)
}

fn another(spec: &MachineSpec, name: &MachineName, asked: &std::path::Path, found: &std::path::Path) -> Error {
    let error = Error::new("use", format!("kept machine {name} over {}", asked.display()), format!("it lies over {}", found.display()));
    let how = match (&spec.root.tree, found == std::path::Path::new("/")) {
        (_, true) => "without a tree it goes on over this host".to_owned(),
        (_, false) => format!("`--tree {}` goes on with it", found.display()),
    };
    error.hint(format!("{how}; `hostel rm {name}` forgets it"))
}

/// For a kept machine's name in the place of a tree: the machine itself. `false`: there is none of that name.
pub fn reopen(spec: &mut MachineSpec, name: &MachineName) -> Result<bool> {
    let Some(found) = lower(name)? else { return Ok(false) };
    tell_drift(name, &found);
    attach(spec, name, found);
    Ok(true)
}

fn attach(spec: &mut MachineSpec, name: &MachineName, lower: PathBuf) {
    spec.root.tree = match lower {
        root if root == std::path::Path::new("/") => TreeSource::Host,
        image if hostel_image::raw::is_image(&image) => TreeSource::Image(image),
        directory => TreeSource::Directory(directory),
    };
    spec.root.ephemeral = Ephemeral::No;
    spec.root.upper = Some(directory(name));
    spec.identity.name.get_or_insert_with(|| name.clone());
}

/// Whether a named tree is a kept machine.
pub fn is_kept(name: &MachineName) -> bool {
    matches!(hostel_image::open::find(name), Ok(found) if found.kind == hostel_image::open::Kind::KeptOverlay)
}
