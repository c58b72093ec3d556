//! The verbs about images: what the native verb of that name does, in machinectl's words.

use std::ffi::OsString;

use super::options::{Id, Options, Output, spelling};
use crate::cli::{self, Failure, Outcome, Verb};

/// Runs the native verb `native` for the verb `verb`.
pub(super) fn run(verb: &str, native: &str, options: &Options, words: &[OsString]) -> Outcome {
    let Some(native) = cli::find(native) else { return Err(Failure::Usage(format!("{verb} is not implemented yet"))) };
    (native.run)(&arguments(verb, native, options, words)?)
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
