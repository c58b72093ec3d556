//! `hostel rm`: delete a kept machine, or, when asked in so many words, a tree.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use hostel_engine::error::Error;
use hostel_engine::registry::Registry;
use hostel_image::open::KEPT;
use hostel_image::{images, kept, locks, remove};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::image::with_places;
use super::look;
use super::{Failure, Outcome, Verb};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "rm",
    args: "NAME [--tree [--yes]]",
    about: "delete a machine kept by `run --keep`, or a tree",
    options: &[("--tree", "delete the tree /var/lib/machines/NAME itself"), ("-y, --yes", "do not ask before a tree is deleted")],
    examples: &[("hostel rm try1", "forget what `hostel run --keep try1` changed"), ("hostel rm debian --tree", "delete the system, after asking")],
    run,
};

/// Where trees are that may be deleted by name.
const TREES: &str = "/var/lib/machines";

#[derive(Debug, PartialEq, Eq)]
struct Request {
    name: MachineName,
    tree: bool,
    yes: bool,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut tree, mut yes) = (None, false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("tree") => tree = true,
            Short('y') | Long("yes") => yes = true,
            Short('h') | Long("help") => return Ok(None),
            Value(word) => look::one(&mut name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Request { name: look::required(name)?, tree, yes }))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(request) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let registry = machine::open_registry()?;
    let path = here().find(&request.name, request.tree)?;
    if request.tree && !request.yes && !confirmed(&path)? {
        output::tell(format_args!("Nothing was deleted."));
        return Ok(1);
    }
    here().delete(&registry, &request.name, &path, remove::remove_tree)?;
    forget_rest(&registry, &request.name, request.tree);
    Ok(0)
}

/// What is known of a name besides its files.
fn forget_rest(registry: &Registry, name: &MachineName, tree: bool) {
    hostel_engine::network::lease::forget(registry.root(), name);
    if !tree && let Err(error) = crate::native::snapshots::forget_all(name) {
        output::tell(format_args!("notice: {error}"));
    }
    if hostel_image::open::find(name).is_err() {
        with_places(|places| images::forget(places, name, tree));
    }
}

/// Asks on the terminal; without one, `--yes` has to be given.
fn confirmed(path: &Path) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("rm --tree would delete {} and everything in it: say --yes where nobody can be asked", path.display())));
    }
    output::ask(format_args!("Delete {} and everything in it? [y/N] ", path.display()));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Deletes the kept machine `name`.
pub(crate) fn forget(name: &MachineName) -> Result<(), Error> {
    forget_by(name, remove::remove_tree)
}

/// As [`forget`], of one that nobody else has begun to use: if it is as it was made, its layers are the next one's.
pub(crate) fn forget_unused(name: &MachineName) -> Result<(), Error> {
    forget_by(name, kept::remove)
}

fn forget_by(name: &MachineName, remove: Remove) -> Result<(), Error> {
    let registry = machine::open_registry()?;
    here().delete(&registry, name, &here().find(name, false)?, remove)?;
    forget_rest(&registry, name, false);
    Ok(())
}

/// As [`forget`], of a name that the caller has claimed.
pub(crate) fn forget_claimed(registry: &Registry, name: &MachineName) -> Result<(), Error> {
    here().delete_claimed(name, &here().find(name, false)?, remove::remove_tree)?;
    forget_rest(registry, name, false);
    Ok(())
}

/// Deletes the kept machine `name` if it is still the one that `made` holds, and nothing else that goes by its name.
pub(crate) fn take_back(name: &MachineName, made: BorrowedFd<'_>) -> Result<(), Error> {
    here().take_back(&machine::open_registry()?, name, made)
}

/// This host's.
fn here() -> Place<'static> {
    Place { kept: Path::new(KEPT), trees: Path::new(TREES), locks: locks::directory() }
}

/// What deletes a directory.
type Remove = fn(&Path) -> hostel_image::Result<()>;

/// The directories concerned; tests have their own.
struct Place<'a> {
    kept: &'a Path,
    trees: &'a Path,
    locks: &'a Path,
}

impl Place<'_> {
    /// Where a disk image of this name is.
    fn image(&self, name: &MachineName) -> PathBuf {
        self.trees.join(format!("{name}.raw"))
    }

    /// What is meant, if it is there and may be deleted.
    fn find(&self, name: &MachineName, tree: bool) -> Result<PathBuf, Error> {
        let kind = |path: &Path| std::fs::symlink_metadata(path).ok().map(|m| m.file_type());
        let (kept, in_trees) = (self.kept.join(name.as_str()), self.trees.join(name.as_str()));
        if tree {
            return match kind(&in_trees) {
                Some(kind) if kind.is_dir() => Ok(in_trees),
                Some(_) => {
                    Err(Error::new("remove", format!("tree {}", in_trees.display()), "it is not a directory")
                        .hint("delete links and files with rm(1)"))
                }
                None => {
                    let error = Error::new("remove", format!("tree {}", in_trees.display()), "there is none");
                    Err(match kind(&self.image(name)) {
                        Some(_) => error.hint(format!("there is an image {}; `hostel remove {name}` deletes that", self.image(name).display())),
                        None => error,
                    })
                }
            };
        }
        match kind(&kept) {
            Some(kind) if kind.is_dir() => Ok(kept),
            Some(_) => Err(Error::new("remove", kept.display().to_string(), "it is not a directory")),
            None => {
                let error = Error::new("remove", format!("machine {name}"), "no machine is kept under this name");
                Err(if kind(&in_trees).is_some() {
                    error.hint(format!("there is a tree {}; --tree deletes that", in_trees.display()))
                } else if kind(&self.image(name)).is_some() {
                    error.hint(format!("there is an image {}; `hostel remove {name}` deletes that", self.image(name).display()))
                } else {
                    error.hint(format!("kept machines are in {}", self.kept.display()))
                })
            }
        }
    }

    /// Deletes it while nobody can start it.
    fn delete(&self, registry: &Registry, name: &MachineName, path: &Path, remove: Remove) -> Result<(), Error> {
        machine::at_rest(registry, "remove", name, || self.delete_claimed(name, path, remove))
    }

    /// Deletes the kept machine that `made` holds, unless its name has become another's.
    fn take_back(&self, registry: &Registry, name: &MachineName, made: BorrowedFd<'_>) -> Result<(), Error> {
        let path = self.kept.join(name.as_str());
        machine::at_rest(registry, "remove", name, || {
            if kept::is_same(&path, made) { self.delete_claimed(name, &path, remove::remove_tree) } else { Ok(()) }
        })
    }

    /// A machine of another name may run on it; its supervisor holds this lock.
    fn delete_claimed(&self, name: &MachineName, path: &Path, remove: Remove) -> Result<(), Error> {
        let tree = hostel_image::open::directory(path)?;
        let _lock = locks::take(self.locks, std::os::fd::AsFd::as_fd(&tree), path, locks::Lock::Exclusive, name)?;
        crate::native::kept::refuse_half_done_at("remove", path)?;
        Ok(remove(path)?)
    }
}

#[cfg(test)]
mod tests {
    use hostel_spec::Hint;

    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let web = MachineName::new("web").unwrap();
        assert_eq!(parse(&["web"]).unwrap(), Some(Request { name: web.clone(), tree: false, yes: false }));
        assert_eq!(parse(&["--tree", "-y", "web"]).unwrap(), Some(Request { name: web, tree: true, yes: true }));
        for bad in [&[][..], &["a", "b"], &["/etc"], &["."], &["-r", "web"], &["--tree=x", "web"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }

    #[test]
    fn deletes_what_is_meant() {
        let top = std::env::temp_dir().join(format!("hostel-rm-{}", std::process::id()));
        let (kept, trees, locks) = (top.join("kept"), top.join("trees"), top.join("locks"));
        for dir in [kept.join("a/upper/etc"), kept.join("a/work"), trees.join("t/usr"), trees.join("both/usr"), kept.join("both/upper")] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::create_dir_all(&locks).unwrap();
        std::fs::write(kept.join("a/upper/etc/x"), "x").unwrap();
        std::os::unix::fs::symlink(&top, trees.join("link")).unwrap();
        let registry = Registry::open(&top.join("run")).unwrap();
        let place = Place { kept: &kept, trees: &trees, locks: &locks };
        let name = |n: &str| MachineName::new(n).unwrap();

        assert_eq!(place.find(&name("a"), false).unwrap(), kept.join("a"));
        let error = place.find(&name("t"), false).unwrap_err();
        assert!(matches!(&error.hint, Some(Hint::Say(text)) if text.contains("--tree")), "a tree is not deleted by mistake");
        assert_eq!(place.find(&name("both"), false).unwrap(), kept.join("both"));
        assert_eq!(place.find(&name("both"), true).unwrap(), trees.join("both"));
        assert!(place.find(&name("a"), true).is_err() && place.find(&name("link"), true).is_err() && place.find(&name("no"), false).is_err());

        std::fs::write(trees.join("disk.raw"), "").unwrap();
        for tree in [false, true] {
            let error = place.find(&name("disk"), tree).unwrap_err();
            assert!(matches!(&error.hint, Some(Hint::Say(text)) if text.contains("hostel remove disk")), "an image: {error:?}");
        }

        // Running: refused, and nothing is touched.
        let claim = registry.claim(&name("a")).unwrap();
        let error = place.delete(&registry, &name("a"), &kept.join("a"), remove::remove_tree).unwrap_err();
        assert!(error.busy && kept.join("a/upper/etc/x").exists(), "{error}");
        claim.release().unwrap();
        // In use by a machine of another name: likewise.
        let tree = hostel_image::open::directory(&kept.join("a")).unwrap();
        let lock = locks::take(&locks, std::os::fd::AsFd::as_fd(&tree), &kept.join("a"), locks::Lock::Exclusive, &name("other")).unwrap();
        let error = place.delete(&registry, &name("a"), &kept.join("a"), remove::remove_tree).unwrap_err();
        assert!(error.busy && kept.join("a/upper/etc/x").exists(), "{error}");
        drop(lock);
        place.delete(&registry, &name("a"), &kept.join("a"), remove::remove_tree).unwrap();
        assert!(!kept.join("a").exists() && registry.list().unwrap().is_empty());

        // What was made is taken back; what has its name since then is somebody else's.
        use std::os::fd::AsFd;
        let make = || hostel_image::kept::create(&kept, &name("made"), b"{}", hostel_image::inroot::Durable::Yes).unwrap().expect("there is none");
        let first = make();
        place.take_back(&registry, &name("made"), first.as_fd()).unwrap();
        let second = make();
        place.take_back(&registry, &name("made"), first.as_fd()).unwrap();
        assert!(kept.join("made/upper").exists(), "the second one stays");
        place.take_back(&registry, &name("made"), second.as_fd()).unwrap();
        assert!(!kept.join("made").exists() && registry.list().unwrap().is_empty());
        std::fs::remove_dir_all(top).unwrap();
    }
}
