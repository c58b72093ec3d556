//! The verbs about images: what the native verb of that name does, in machinectl's words.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use hostel_image::images::{Image, Places, list};
use serde_json::{Value, json};

use super::options::{Id, Options, Output, spelling};
use crate::cli::{self, Failure, Outcome, Verb};
use crate::{output, transfers};

/// Runs the native verb `native` for the verb `verb`; listings have the original's last line, and its names in JSON.
pub(super) fn run(verb: &str, native: &str, options: &Options, words: &[OsString]) -> Outcome {
    match verb {
        "list-images" => {
            let images = list(Places::host().search, options.all).map_err(hostel_engine::error::Error::from)?;
            return Ok(listing(options, "images", &cli::images::table(&images), &images.iter().map(image).collect::<Vec<_>>()));
        }
        "list-transfers" => {
            let found = transfers::list();
            return Ok(listing(options, "transfers", &cli::transfers::table(&found), &found.iter().map(transfer).collect::<Vec<_>>()));
        }
        _ => {}
    }
    let Some(native) = cli::find(native) else { return Err(Failure::Usage(format!("{verb} is not implemented yet"))) };
    (native.run)(&arguments(verb, native, options, words)?)
}

/// Prints a listing: a table with its heading, or what is in it as objects.
fn listing(options: &Options, what: &str, table: &str, rows: &[Value]) -> u8 {
    match options.output {
        Output::Text => output::show(&text(what, table, rows.len(), !options.no_legend)),
        Output::Json => output::show(&format!("{}\n", Value::from(rows))),
        Output::JsonPretty => output::show_json(&rows),
    }
}

fn text(what: &str, table: &str, rows: usize, legend: bool) -> String {
    match (rows, legend) {
        (0, true) => format!("No {what}.\n"),
        (0, false) => String::new(),
        (_, true) => format!("{table}\n{rows} {what} listed.\n"),
        (_, false) => table.split_once('\n').map_or("", |(_, rest)| rest).to_owned(),
    }
}

/// The columns by their names, times in microseconds after 1970.
fn image(image: &Image) -> Value {
    let time = |time: Option<SystemTime>| time.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map(|d| d.as_micros() as u64);
    json!({
        "name": image.name,
        "type": image.type_word(),
        "ro": image.read_only,
        "usage": image.usage,
        "created": time(image.created),
        "modified": time(image.modified),
    })
}

fn transfer(state: &transfers::State) -> Value {
    json!({ "id": state.id, "percent": cli::transfers::percent(state), "type": state.verb, "local": state.local, "remote": state.remote })
}

/// The words for a native verb. An option that it has not is refused where it would matter.
fn arguments(verb: &str, native: &Verb, options: &Options, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let has =
        |long: &str| native.options.iter().any(|(typed, _)| typed.split([' ', ',', '=', '[']).any(|word| word.strip_prefix("--") == Some(long)));
    let mut args: Vec<OsString> = Vec::new();
    for (id, value) in &options.images {
        let long = spelling(*id);
        if !has(long) {
            return Err(Failure::Usage(format!("{verb} takes no --{long} here")));
        }
        args.push(match value {
            Some(value) => format!("--{long}={value}").into(),
            None => format!("--{long}").into(),
        });
    }
    for property in &options.properties {
        if !has(spelling(Id::Property)) {
            return Err(Failure::Usage(format!("{verb} takes no --property here")));
        }
        args.push(format!("--property={property}").into());
    }
    // These are about looks: left out where there is nothing to look at.
    let looks = [(options.value, "value"), (options.all, "all"), (options.full, "full"), (options.no_legend, "no-legend"), (options.quiet, "quiet")];
    args.extend(looks.into_iter().filter(|(given, long)| *given && has(long)).map(|(_, long)| format!("--{long}").into()));
    if options.output != Output::Text && has("json") {
        args.push("--json".into());
    }
    args.push("--".into());
    args.extend(words.iter().cloned());
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::super::options::{Asked, parse};
    use super::*;

    #[test]
    fn listings() {
        assert_eq!(text("images", "NAME\nweb\n", 1, true), "NAME\nweb\n\n1 images listed.\n");
        assert_eq!(text("images", "NAME\nweb\n", 1, false), "web\n");
        assert_eq!((text("transfers", "ID\n", 0, true), text("transfers", "ID\n", 0, false)), ("No transfers.\n".into(), String::new()));
        let web = Image {
            name: "web".into(),
            kind: hostel_image::open::Kind::Directory,
            path: "/var/lib/machines/web".into(),
            read_only: true,
            created: None,
            modified: Some(UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_001)),
            usage: Some(5),
            usage_exclusive: None,
            limit: None,
            limit_exclusive: None,
        };
        let expected = json!({ "name": "web", "type": "directory", "ro": true, "usage": 5, "created": null, "modified": 1_700_000_000_000_001u64 });
        assert_eq!(image(&web), expected);
    }

    #[test]
    fn words_for_native_verbs() {
        let verb = Verb {
            name: "x",
            args: "",
            about: "",
            options: &[("-f, --force", ""), ("--verify=MODE", ""), ("--json", ""), ("-p, --property NAME", "")],
            examples: &[],
            run: |_| Ok(0),
        };
        let of = |line: &str| match parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>()) {
            Ok(Asked::Verb(options, words)) => {
                arguments("pull-tar", &verb, &options, &words[1..]).map(|a| a.join(" ".as_ref()).into_string().unwrap())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(of("pull-tar --force --verify=no url name -q").unwrap(), "--force --verify=no -- url name");
        assert_eq!(of("-o json-pretty list-images --no-legend -a").unwrap(), "--json --");
        assert_eq!(of("show-image -p Name,Path x").unwrap(), "--property=Name --property=Path -- x");
        assert!(of("pull-tar --format=xz url").is_err());
    }
}
