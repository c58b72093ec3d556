//! `hostel rebase`: a kept machine is made to fit a host that was upgraded below it.

use std::ffi::OsString;

use hostel_engine::error::Error;
use hostel_overlay::rebase::{self, Side};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::diff::Found;
use super::{Failure, Outcome, Verb, commit, look};
use crate::native::{kept, snapshots};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "rebase",
    args: "NAME [--mine|--host] [--dry-run]",
    about: "make a kept machine fit what it lies over after that was upgraded; a snapshot of what it was is taken first",
    options: &[
        ("--mine", "what both changed, and is no package's, stays the machine's"),
        ("--host", "it becomes the host's"),
        ("-n, --dry-run", "only list what the machine would lose"),
    ],
    examples: &[("hostel rebase try1 --dry-run", "what would go?"), ("hostel rebase try1 --mine", "the host's packages, the machine's own files")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut side, mut dry) = (None, None, false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("mine") if side.is_none() => side = Some(Side::Machine),
            Long("host") if side.is_none() => side = Some(Side::Host),
            Long("mine" | "host") => return Err(Failure::Usage("--mine and --host: one of them".into())),
            Short('n') | Long("dry-run") => dry = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) => look::one(&mut name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let name = look::required(name)?;
    hostel_engine::host::require_root()?;
    machine::at_rest(&machine::open_registry()?, "rebase", &name, || rebase(&name, side, dry))?;
    Ok(0)
}

fn rebase(name: &MachineName, side: Option<Side>, dry: bool) -> Result<(), Error> {
    let _lock = if dry { None } else { Some(kept::lock(name)?) };
    kept::refuse_half_done("rebase", name)?;
    let moment = std::time::SystemTime::now();
    let found = Found::look(name)?;
    let plan = rebase::plan(&found.layers, &found.changes, &found.packages, kept::since(name)?, side)?;
    if dry {
        for index in &plan.drop {
            let change = &found.changes[*index];
            output::show(&format!("{} {}\n", change.what.letter(), output::clean(&change.path.to_string_lossy())));
        }
    }
    commit::list_conflicts(&plan.open);
    if !plan.open.is_empty() {
        let error = Error::new("rebase", format!("machine {name}"), "both it and what it lies over changed files that are no package's");
        return Err(error.hint("--mine leaves them as the machine has them, --host as the host does"));
    }
    if dry {
        return Ok(());
    }
    let before = snapshots::free_name(name)?;
    snapshots::take(name, &before)?;
    let help = |e: Error| e.hint(format!("it is half done: `hostel restore {name} {before}` takes it back"));
    let stay = rebase::apply(&found.layers, &found.changes, &plan).map_err(|e| help(e.into()))?;
    for path in &stay {
        output::tell(format_args!(
            "notice: {} stays the machine's: the directory it was in was replaced as a whole",
            output::clean(&path.to_string_lossy())
        ));
    }
    kept::renew(name, moment).map_err(help)?;
    output::tell(format_args!(
        "Machine {name} fits {}: {} of its changes went; `hostel restore {name} {before}` brings them back.",
        found.lower.display(),
        plan.drop.len() - stay.len()
    ));
    let lost = |(name, _): &(String, String)| name.clone();
    let packages: Vec<String> = plan.packages.added.iter().map(lost).chain(plan.packages.changed.iter().map(|p| p.0.clone())).collect();
    if !packages.is_empty() {
        output::tell(format_args!("Packages it had and has to install again: {}", output::clean(&packages.join(" "))));
    }
    let removed: Vec<String> = plan.packages.removed.iter().map(lost).collect();
    if !removed.is_empty() {
        output::tell(format_args!("Packages it had removed, which are there again: {}", output::clean(&removed.join(" "))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let run = |words: &[&str]| run(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for bad in [&[][..], &["a", "b"], &["a", "--mine", "--host"], &["a", "--force"]] {
            assert!(matches!(run(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
