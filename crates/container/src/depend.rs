//! Who stands on whose files: `lxc_snapshots` names those that depend on a container, `lxc_rdepends` those that it depends on.
//!
//! Both are pairs of lines, lxcpath and name.

use std::path::PathBuf;

use crate::container::{Container, write};
use crate::error::{On, Result};
use crate::files::text;
use crate::lock;

type Pair = (String, String);

fn pairs(text: &str) -> Vec<Pair> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

fn lines(pairs: &[Pair]) -> String {
    pairs.iter().map(|(lxcpath, name)| format!("{lxcpath}\n{name}\n")).collect()
}

fn dependents_file(container: &Container) -> PathBuf {
    container.directory().join("lxc_snapshots")
}
fn sources_file(container: &Container) -> PathBuf {
    container.directory().join("lxc_rdepends")
}

fn own(container: &Container) -> Pair {
    (container.lxcpath.clone(), container.name.clone())
}

/// Those that stand on its files, and are there. LXC 1 wrote how many they are: one is one too many.
pub(crate) fn dependents(container: &Container) -> Vec<Pair> {
    let text = text(&dependents_file(container)).unwrap_or_default();
    if let Some(count) = text.trim().parse::<u64>().ok().filter(|count| *count > 0) {
        return vec![(String::new(), count.to_string())];
    }
    let there = |(lxcpath, name): &Pair| PathBuf::from(lxcpath).join(name).exists();
    pairs(&text).into_iter().filter(there).collect()
}

/// Writes down that `container` stands on the files of `source` and, since what it was copied of did, of others.
pub(crate) fn join(container: &Container, source: &Container, direct: bool) -> Result<()> {
    let mut sources = pairs(&text(&sources_file(source)).unwrap_or_default());
    if direct {
        sources.push(own(source));
    }
    if sources.is_empty() {
        return Ok(());
    }
    // first who depends on whom, so that nobody removes it meanwhile
    for source in &sources {
        change(source, |all| {
            if !all.contains(&own(container)) {
                all.push(own(container));
            }
        })?;
    }
    write(&sources_file(container), &lines(&sources))
}

/// `container` stands on nothing any more.
pub(crate) fn leave(container: &Container) -> Result<()> {
    for source in pairs(&text(&sources_file(container)).unwrap_or_default()) {
        change(&source, |all| all.retain(|pair| *pair != own(container)))?;
    }
    Ok(())
}

/// Changes who stands on the files of a container.
fn change((lxcpath, name): &Pair, how: impl FnOnce(&mut Vec<Pair>)) -> Result<()> {
    let source = Container::bare(name, Some(lxcpath))?;
    if !source.directory().exists() {
        return Ok(());
    }
    let _held = lock::take(&source)?;
    let file = dependents_file(&source);
    let mut all = pairs(&text(&file).unwrap_or_default());
    how(&mut all);
    match (all.is_empty(), file.exists()) {
        (true, true) => std::fs::remove_file(&file).on("remove", file.display()),
        (true, false) => Ok(()),
        (false, _) => write(&file, &lines(&all)),
    }
}
