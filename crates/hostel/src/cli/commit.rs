//! `hostel commit`: a kept machine's changes become the host's.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hostel_engine::error::Error;
use hostel_image::locks;
use hostel_overlay::commit::{Conflict, Record, State, Store, UNDO, conflicts};
use hostel_overlay::{Change, Kind, Layer, What};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::diff::{Found, summary};
use super::{Failure, Outcome, Verb, look};
use crate::native::kept;
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "commit",
    args: "NAME [--only PATH] [--keep] [--force] | NAME [--only PATH] --as-script | --resume | --rollback",
    about: "make a kept machine's changes to what it lies over",
    options: &[
        ("--only PATH", "only what is at or below PATH; may be given again"),
        ("--keep", "keep the machine; else it is forgotten when all its changes were made"),
        ("-f, --force", "also over what was changed meanwhile"),
        ("--as-script", "change nothing; print a shell script that makes the changes, to `/` or to its argument"),
        ("--resume", "finish a commit that was interrupted"),
        ("--rollback", "take back one that was interrupted"),
    ],
    examples: &[
        ("hostel commit try1", "`hostel undo` takes it back"),
        ("hostel commit try1 --only /etc/nginx", "a part of it"),
        ("hostel commit try1 --as-script >apply.sh", "for other hosts: `sh apply.sh`, `sh apply.sh /mnt`"),
    ],
    run,
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    name: Option<MachineName>,
    only: Vec<PathBuf>,
    keep: bool,
    force: bool,
    resume: bool,
    rollback: bool,
    as_script: bool,
}

fn parse(args: &[OsString]) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut request = Request::default();
    while let Some(arg) = words.next()? {
        match arg {
            Long("only") => request.only.push(Path::new("/").join(words.value()?)),
            Long("keep") => request.keep = true,
            Short('f') | Long("force") => request.force = true,
            Long("resume") => request.resume = true,
            Long("rollback") => request.rollback = true,
            Long("as-script") => request.as_script = true,
            Short('h') | Long("help") => return Ok(None),
            Value(word) => look::one(&mut request.name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let finish = request.resume || request.rollback;
    let other = request.name.is_some() || !request.only.is_empty() || request.keep || request.force || request.as_script;
    if finish && (other || request.resume && request.rollback) {
        return Err(Failure::Usage("--resume and --rollback stand alone".into()));
    }
    if request.as_script && (request.keep || request.force) {
        return Err(Failure::Usage("--as-script changes nothing: --keep and --force do not go with it".into()));
    }
    if !finish {
        look::required(request.name.clone())?;
    }
    Ok(Some(request))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(request) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    hostel_engine::host::require_root()?;
    match &request.name {
        Some(name) if request.as_script => script(name, &request.only)?,
        Some(name) => commit(name, &request.only, request.keep, request.force)?,
        None => finish(request.resume)?,
    }
    Ok(0)
}

/// Makes the changes of `name`, or those at and below `only`; the machine is forgotten unless it is kept, or only a part was made.
pub(super) fn commit(name: &MachineName, only: &[PathBuf], keep: bool, force: bool) -> Result<(), Error> {
    let registry = machine::open_registry()?;
    machine::at_rest(&registry, "commit", name, || {
        let said = claimed(name, only, force)?;
        output::tell(format_args!("{said}"));
        // before anybody else can start it, and change more
        if only.is_empty() && !keep { super::rm::forget_claimed(&registry, name) } else { Ok(()) }
    })
}

/// Prints what a commit would do as a shell script.
fn script(name: &MachineName, only: &[PathBuf]) -> Result<(), Error> {
    machine::at_rest(&machine::open_registry()?, "commit", name, || {
        let found = Found::look(name)?;
        let (changes, said) = selected(&found, only)?;
        let about = format!("What machine {name} changed of {}: {said}.", found.lower.display());
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        hostel_overlay::script::script(&about, &found.layers, &changes, &mut out)?;
        std::io::Write::flush(&mut out).map_err(|e| Error::new("write", "standard output", e))
    })
}

/// What was done, in words.
fn claimed(name: &MachineName, only: &[PathBuf], force: bool) -> Result<String, Error> {
    let store = open_store()?;
    refuse_unfinished(&store)?;
    let found = Found::look(name)?;
    // A machine of another name may run on its layers.
    let _held = kept::lock(name)?;
    let _lock = lock(&found.lower, name)?;
    let (changes, said) = selected(&found, only)?;
    if changes.is_empty() {
        return Ok(if only.is_empty() { "Nothing was changed.".to_owned() } else { "Nothing was changed there.".to_owned() });
    }
    if !force {
        let since = kept::since(name)?;
        refuse("commit", &format!("machine {name}"), &conflicts(&found.layers, &changes, since)?)?;
    }
    // An interrupted one is finished from the machine's side.
    hostel_image::kept::sync(hostel_image::open::KEPT.as_ref(), name)?;
    let record = store.commit(name.as_str(), &found.lower, &found.layers, &changes)?;
    Ok(format!("Committed to {}: {said}. `hostel undo {}` takes it back; programs that run are not restarted.", found.lower.display(), record.id))
}

/// The changes at and below `only` (all, when that is empty), with new directories that lead to them; and their summary, which
/// has to be made before they are: afterwards there is nothing to compare.
fn selected(found: &Found, only: &[PathBuf]) -> Result<(Vec<Change>, String), Error> {
    if only.is_empty() {
        return Ok((found.changes.clone(), summary(&found.changes, &found.packages)));
    }
    let changes = at_and_below(&found.changes, only);
    let packages = hostel_overlay::packages::packages(&found.layers, &changes)?;
    let said = summary(&changes, &packages);
    Ok((changes, said))
}

fn at_and_below(changes: &[Change], only: &[PathBuf]) -> Vec<Change> {
    let meant = |c: &Change| only.iter().any(|path| Path::new(c.path.as_os_str()).starts_with(path));
    let leads = |c: &Change| {
        let new = c.kind == Kind::Directory && matches!(c.what, What::Added | What::Changed);
        new && changes.iter().any(|other| meant(other) && Path::new(other.path.as_os_str()).starts_with(Path::new(c.path.as_os_str())))
    };
    changes.iter().filter(|c| meant(c) || leads(c)).cloned().collect()
}

pub(super) fn open_store() -> Result<Store, Error> {
    Ok(Store::open(Path::new(UNDO))?)
}

/// Nothing is begun before what was interrupted is finished.
pub(super) fn refuse_unfinished(store: &Store) -> Result<(), Error> {
    match store.unfinished()? {
        None => Ok(()),
        Some(record) => {
            let error = Error::new("use", format!("undo archive {UNDO}"), format!("commit {} of machine {} was interrupted", record.id, of(&record)));
            Err(error.hint("`hostel commit --resume` finishes it, `hostel commit --rollback` takes it back"))
        }
    }
}

pub(super) fn of(record: &Record) -> String {
    record.machine().unwrap_or("?").to_owned()
}

/// A tree must not be in use while it is changed; the host's own root always is.
pub(super) fn lock(lower: &Path, name: &MachineName) -> Result<Option<locks::TreeLock>, Error> {
    if lower == Path::new("/") {
        return Ok(None);
    }
    let tree = hostel_image::open::directory(lower)?;
    Ok(Some(locks::take(locks::directory(), tree.as_fd(), lower, locks::Lock::Exclusive, name)?))
}

/// Names of conflicts that are told.
const TOLD: usize = 10;

/// Tells them, the first ones by name.
pub(super) fn list_conflicts(conflicts: &[Conflict]) {
    for conflict in conflicts.iter().take(TOLD) {
        output::tell(format_args!("conflict: {}: {}", output::clean(&conflict.path.to_string_lossy()), conflict.why));
    }
    if conflicts.len() > TOLD {
        output::tell(format_args!("conflict: and {} more", conflicts.len() - TOLD));
    }
}

/// Refuses what would write over others' changes.
pub(super) fn refuse(verb: &'static str, object: &str, conflicts: &[Conflict]) -> Result<(), Error> {
    if conflicts.is_empty() {
        return Ok(());
    }
    list_conflicts(conflicts);
    let error = Error::new(verb, object.to_owned(), format!("{} of what would be changed had been changed meanwhile", conflicts.len()));
    Err(error.hint("--force does it all the same"))
}

/// Finishes, or takes back, what was interrupted.
fn finish(resume: bool) -> Result<(), Error> {
    let store = open_store()?;
    let Some(mut record) = store.unfinished()? else {
        return Err(Error::new(if resume { "resume" } else { "take back" }, "a commit", "none was interrupted"));
    };
    if resume && record.state == State::Undoing {
        return Err(Error::new("resume", format!("commit {}", record.id), "it is being taken back").hint("`hostel commit --rollback` finishes that"));
    }
    let name = MachineName::new(of(&record)).map_err(|e| Error::new("read", "journal", e))?;
    let lower = record.lower().unwrap_or(Path::new("/")).to_owned();
    let _lock = lock(&lower, &name)?;
    if resume {
        let (_, layers) = kept::layers(&name)?;
        store.resume(&mut record, &layers)?;
        output::tell(format_args!(
            "Committed {} entries; `hostel undo {}` takes it back. Machine {name} is still kept.",
            record.entries(),
            record.id
        ));
        return Ok(());
    }
    let layers = lowers(&record)?;
    store.take_back(&mut record, &layers)?;
    output::tell(format_args!("Taken back: {} is as it was.", lower.display()));
    Ok(())
}

/// The lower sides of a commit's layers.
pub(super) fn lowers(record: &Record) -> Result<Vec<Layer>, Error> {
    let lower = record.lower().unwrap_or(Path::new("/"));
    let place = |at: &Path| if at == Path::new("/") { lower.to_owned() } else { at.to_owned() };
    Ok(record.places().map(|at| Layer::only_lower(at, &place(at))).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let request = parse(&["a", "--only", "etc", "--only=/usr", "-f"]).unwrap().unwrap();
        assert_eq!((request.only, request.force), (vec!["/etc".into(), "/usr".into()], true));
        for bad in [&[][..], &["a", "b"], &["--resume", "--rollback"], &["a", "--resume"], &["--rollback", "-f"], &["a", "--as-script", "-f"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
