//! `hostel clean-images`: remove hidden images, what killed copies and imports left among them.

use std::ffi::OsString;

use hostel_image::images;
use lexopt::Arg::{Long, Short};
use serde_json::json;

use super::image::{told, with_places};
use super::{Outcome, Verb};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "clean-images",
    args: "[--all] [--json]",
    about: "remove hidden images: left-overs and cached downloads; with --all every image",
    options: &[("-a, --all", "every image in /var/lib/machines that does not run, without asking"), ("--json", "what was done, as an object")],
    examples: &[("hostel clean-images", "after a pull, when its cached download is not needed again")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut all, mut as_json) = (false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('a') | Long("all") => all = true,
            Long("json") => as_json = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            other => return Err(other.unexpected().into()),
        }
    }
    let done = told(with_places(|places| images::clean(places, all)))?;
    let failures: Vec<String> = done.failed.iter().map(ToString::to_string).collect();
    let status = if as_json {
        output::show_json(&json!({ "removed": done.removed, "failures": failures }))
    } else if done.removed.is_empty() && failures.is_empty() {
        output::show("nothing to remove\n")
    } else {
        output::show(&done.removed.iter().map(|n| format!("removed {}\n", output::clean(n))).collect::<String>())
    };
    for failure in &failures {
        output::tell(format_args!("hostel: {}", output::clean(failure)));
    }
    Ok(if failures.is_empty() { status } else { 1 })
}
