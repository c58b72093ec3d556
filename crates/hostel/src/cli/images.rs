//! `hostel images`: the images that machines can be started from.

use std::ffi::OsString;

use hostel_image::images::{Image, Places, list};
use lexopt::Arg::{Long, Short};
use serde_json::{Value, json};

use super::image::{seconds, told};
use super::{Outcome, Verb};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "images",
    args: "[-a] [-q] [--json]",
    about: "list the images: trees and disk images in /var/lib/machines and its like",
    options: &[
        ("-a, --all", "hidden ones too: cached downloads, left-overs"),
        ("-q, --quiet", "names only"),
        ("--no-legend", "no heading"),
        ("--json", "an array of objects"),
    ],
    examples: &[("hostel images", "what can be booted"), ("hostel images --json | jq '.[] | select(.read_only).name'", "for scripts")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut all, mut quiet, mut legend, mut as_json) = (false, false, true, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('a') | Long("all") => all = true,
            Short('q') | Long("quiet") => quiet = true,
            Long("no-legend") => legend = false,
            Long("json") => as_json = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            other => return Err(other.unexpected().into()),
        }
    }
    let images = told(list(Places::host().search, all))?;
    Ok(if as_json {
        output::show_json(&images.iter().map(json_of).collect::<Vec<_>>())
    } else if quiet {
        output::show(&images.iter().map(|i| format!("{}\n", output::clean(&i.name))).collect::<String>())
    } else if images.is_empty() {
        0
    } else {
        let text = table(&images);
        output::show(if legend { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) })
    })
}

/// With its heading.
pub(crate) fn table(images: &[Image]) -> String {
    output::table(&HEAD, &images.iter().map(row).collect::<Vec<_>>())
}

const HEAD: [&str; 6] = ["NAME", "TYPE", "RO", "USAGE", "CREATED", "MODIFIED"];

fn row(image: &Image) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        output::clean(&image.name),
        image.type_word().to_owned(),
        if image.read_only { "ro" } else { "no" }.to_owned(),
        image.usage.map_or_else(dash, output::bytes),
        image.created.map_or_else(dash, |t| output::date(seconds(t))),
        image.modified.map_or_else(dash, |t| output::date(seconds(t))),
    ]
}

/// An image as an object; what is not known is null.
pub(super) fn json_of(image: &Image) -> Value {
    json!({
        "name": image.name,
        "type": image.type_word(),
        "path": image.path.display().to_string(),
        "read_only": image.read_only,
        "created": image.created.map(seconds),
        "modified": image.modified.map(seconds),
        "usage_bytes": image.usage,
        "usage_exclusive_bytes": image.usage_exclusive,
        "limit_bytes": image.limit,
        "limit_exclusive_bytes": image.limit_exclusive,
    })
}
