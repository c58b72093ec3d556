//! `hostel image-status` for people, `hostel show-image` for scripts: what is known of an image.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use hostel_image::images::{HOME, Image, of_tree};
use hostel_image::open::{self, Kind};
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::image::{named, seconds, timestamp};
use super::{Outcome, Verb, images, look};
use crate::output;

/// The verb for people.
pub(super) const STATUS: Verb = Verb {
    name: "image-status",
    args: "[NAME...] [--json]",
    about: "what is known of an image: its system, its size, its times; without a name, of the place they are in",
    options: &[("--json", "as objects, without measuring")],
    examples: &[("hostel image-status debian", "which system it is, and how large")],
    run: status,
};

/// The verb for scripts.
pub(super) const SHOW: Verb = Verb {
    name: "show-image",
    args: "[NAME...] [-p PROPERTY]... [--value]",
    about: "properties of an image as KEY=VALUE; without a name those of the place they are in",
    options: &[
        ("-p, --property PROPERTY", "this one only; several with commas or repeated"),
        ("--value", "without the names"),
        ("-a, --all", "empty ones too"),
    ],
    examples: &[("hostel show-image debian -p ReadOnly --value", "yes or no"), ("hostel show-image", "the pool: its path, size and use")],
    run: show,
};

fn status(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut names, mut json) = (Vec::new(), false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("json") => json = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&STATUS))),
            Value(word) => names.push(look::name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    if names.is_empty() {
        let [path, usage, limit] = pool().map(|(_, value)| value);
        if json {
            let number = |text: &str| text.parse::<u64>().ok();
            return Ok(output::show_json(&serde_json::json!({ "path": path, "usage": number(&usage), "limit": number(&limit) })));
        }
        let size = |text: String| text.parse().map_or(text, output::bytes);
        return Ok(output::show(&labelled(&[("path", path), ("usage", size(usage)), ("limit", size(limit))])));
    }
    let found = names.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    if json {
        return Ok(output::show_json(&found.iter().map(images::json_of).collect::<Vec<_>>()));
    }
    Ok(output::show(&found.iter().map(text).collect::<Vec<_>>().join("\n")))
}

fn text(image: &Image) -> String {
    let mut lines = vec![("image", image.name.clone()), ("type", image.type_word().to_owned()), ("path", image.path.display().to_string())];
    lines.extend(system(image).map(|os| ("system", os)));
    lines.push(("access", if image.read_only { "read-only" } else { "writable" }.to_owned()));
    lines.extend(image.created.map(|t| ("created", ago(t))));
    lines.extend(image.modified.map(|t| ("modified", ago(t))));
    let measured = image.usage.or_else(|| if image.kind == Kind::Directory { of_tree(&image.path).ok() } else { None });
    lines.extend(measured.map(|n| ("usage", output::bytes(n))));
    let exclusive = image.usage_exclusive.filter(|n| Some(*n) != image.usage);
    lines.extend(exclusive.map(|n| ("exclusive", output::bytes(n))));
    lines.extend(image.limit.map(|n| (if image.kind == Kind::DiskImage { "size" } else { "limit" }, output::bytes(n))));
    labelled(&lines)
}

fn labelled(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(what, value)| format!("{what:>11}: {}\n", output::clean(value))).collect()
}

fn ago(time: SystemTime) -> String {
    let since = seconds(SystemTime::now()).saturating_sub(seconds(time));
    format!("{} ({} ago)", timestamp(time), output::duration(since))
}

/// The system in a tree, by its own word.
fn system(image: &Image) -> Option<String> {
    if !matches!(image.kind, Kind::Directory | Kind::Subvolume) {
        return None;
    }
    let tree = open::directory(&image.path).ok()?;
    let read = |path: &str| hostel_image::inroot::read(tree.as_fd(), Path::new(path)).ok();
    let text = String::from_utf8(read("etc/os-release").or_else(|| read("usr/lib/os-release"))?).ok()?;
    let get = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    get("PRETTY_NAME").or_else(|| get("NAME")).map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
}

fn show(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let (mut names, mut wanted, mut values, mut all) = (Vec::<MachineName>::new(), Vec::<String>::new(), false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('p') | Long("property") => wanted.extend(words.value()?.to_string_lossy().split(',').map(str::to_owned)),
            Long("value") => values = true,
            Short('a') | Long("all") => all = true,
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&SHOW))),
            Value(word) => names.push(look::name(&word)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut blocks = Vec::new();
    if names.is_empty() {
        blocks.push(pool().into());
    }
    for name in &names {
        blocks.push(properties(&named(name)?));
    }
    let line = |(key, value): &(&str, String)| {
        let value = output::clean(value);
        if values { format!("{value}\n") } else { format!("{key}={value}\n") }
    };
    let shown = |key: &str, value: &str| if wanted.is_empty() { all || !value.is_empty() } else { wanted.iter().any(|w| w == key) };
    let texts: Vec<String> = blocks.iter().map(|block| block.iter().filter(|(k, v)| shown(k, v)).map(line).collect()).collect();
    Ok(output::show(&texts.join("\n")))
}

/// The names and forms machinectl prints, in its order; what is not known is empty.
fn properties(image: &Image) -> Vec<(&'static str, String)> {
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let limit = |n: Option<u64>| n.map_or_else(|| "infinity".to_owned(), |n| n.to_string());
    let time = |t: Option<SystemTime>| t.map_or_else(String::new, timestamp);
    vec![
        ("Name", image.name.clone()),
        ("Path", image.path.display().to_string()),
        ("Type", image.type_word().to_owned()),
        ("ReadOnly", if image.read_only { "yes" } else { "no" }.to_owned()),
        ("CreationTimestamp", time(image.created)),
        ("ModificationTimestamp", time(image.modified)),
        ("Usage", number(image.usage)),
        ("Limit", limit(image.limit)),
        ("UsageExclusive", number(image.usage_exclusive)),
        ("LimitExclusive", limit(image.limit_exclusive)),
    ]
}

/// The place, what is used of its file system, and what that holds; empty: not known.
pub(crate) fn pool() -> [(&'static str, String); 3] {
    let figures = rustix::fs::statvfs(HOME).ok();
    let of = |blocks: fn(&rustix::fs::StatVfs) -> u64| figures.as_ref().map_or_else(String::new, |f| (blocks(f) * f.f_frsize).to_string());
    [("PoolPath", HOME.to_owned()), ("PoolUsage", of(|f| f.f_blocks - f.f_bfree)), ("PoolLimit", of(|f| f.f_blocks))]
}
