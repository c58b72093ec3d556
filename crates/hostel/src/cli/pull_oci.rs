//! `hostel pull-oci`: an image of a registry, and a settings file that says what it runs.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use hostel_image::images::Places;
use hostel_image::pull::oci::{self, Reference};
use hostel_image::pull::verify::Verify;
use hostel_image::{Cause, Error};
use serde_json::Value;

use super::import::{self, Request, say_unpacked};
use super::pull::download;
use super::{Failure, Outcome, Verb};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "pull-oci",
    args: "REF [NAME]",
    about: "download an image of a registry, with a .nspawn file of what it runs",
    options: &[
        ("--read-only", "mark the image read-only"),
        ("--force", "replace an image of that name, unless it runs"),
        ("-q, --quiet", "nothing but errors"),
    ],
    examples: &[
        ("hostel pull-oci nginx", "an image nginx, of docker.io/library/nginx:latest; systemd-nspawn -M nginx runs it"),
        ("hostel pull-oci ghcr.io/org/app:1.2 web", "by https; plain http only to localhost"),
    ],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut reference = None;
    let name_of = |word: &OsStr| {
        let text = word.to_string_lossy();
        let read = Reference::parse(&text).map_err(|why| Failure::Usage(format!("use image {text}: {why}")))?;
        let name = read.name();
        reference = Some(read);
        Ok(name)
    };
    let request = import::parse(&VERB, args, "download", |_, _| Ok(false), name_of)?;
    let Some((request, reference)) = request.zip(reference) else { return Ok(0) };
    let from = request.from.display().to_string();
    let path = Places::host().home.join(format!("{}.nspawn", request.name));
    let old = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Failure::Engine(Error { verb: "read", object: path, cause: e.into() }.into())),
    };
    if old.is_some() && !request.force {
        return Err(Failure::Engine(Error { verb: "write", object: path, cause: Cause::Why("there is one already") }.into()));
    }
    let (mut notices, mut is_written) = (Vec::new(), false);
    let done = download(&VERB, &from, &request, (Verify::No, &[]), &mut |order, options| {
        let mut write = |config: &Value| {
            let text = settings(&from, config, &mut notices);
            put(&path, &text, old.is_some()).map_err(|e| Cause::from(e).on("write", &path))?;
            is_written = true;
            Ok(())
        };
        oci::pull(&reference, &request.name, order, options, &mut write).map(Some)
    });
    if done.is_err() && is_written {
        // Of an image that is not there, or is the one before.
        let _ = match &old {
            Some(text) => put(&path, text, true),
            None => std::fs::remove_file(&path),
        };
    }
    say(&request, done?, &notices);
    Ok(0)
}

fn say(request: &Request, report: Option<hostel_image::tar::Report>, notices: &[String]) {
    for notice in notices.iter().filter(|_| !request.quiet) {
        output::tell(format_args!("notice: {notice}"));
    }
    say_unpacked(request, &report.unwrap_or_default());
}

/// Makes a whole file there; only where it replaces may there be one.
fn put(path: &Path, text: &str, replaces: bool) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".#hostel-import-{}-{name}", std::process::id()));
    let mut file = std::fs::File::create(&half)?;
    let whole = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let placed = whole.and_then(|()| if replaces { std::fs::rename(&half, path) } else { std::fs::hard_link(&half, path) });
    if placed.is_err() || !replaces {
        let _ = std::fs::remove_file(&half);
    }
    placed
}

/// The settings file for an image's configuration (OCI image specification, "Properties": config); what it cannot say is a notice.
fn settings(from: &str, config: &Value, notices: &mut Vec<String>) -> String {
    let mut out = format!("# Of the image {from}, by hostel pull-oci.\n[Exec]\nBoot=no\n");
    let mut left_out = |what: &str, why: &str| notices.push(format!("{what} of the image is not in its .nspawn file: {why}"));
    let list = |key: &str| config[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let mut words = list("Entrypoint");
    words.extend(list("Cmd"));
    match words.iter().map(|w| word(w)).collect::<Option<Vec<_>>>() {
        None => left_out("the command", "a word of it has more than one line"),
        Some(words) if words.is_empty() => {}
        Some(words) => out.push_str(&format!("Parameters={}\n", words.join(" "))),
    }
    for entry in list("Env") {
        match word(entry).filter(|_| entry.contains('=')) {
            Some(entry) => out.push_str(&format!("Environment={entry}\n")),
            None => left_out("a variable", "it has more than one line, or no value"),
        }
    }
    let text = |key: &str| config[key].as_str().filter(|t| !t.is_empty());
    let user = text("User").map(|user| user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group))));
    if user.is_some_and(|(_, group)| group.is_some()) {
        left_out("the group", "a machine has the groups of its user");
    }
    let rows = [("WorkingDirectory", text("WorkingDir")), ("User", user.map(|(user, _)| user)), ("KillSignal", text("StopSignal"))];
    for (key, value) in rows.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        let plain = !value.ends_with('\\') && !value.chars().any(char::is_control) && value.trim() == value;
        match plain && (key != "WorkingDirectory" || value.starts_with('/')) {
            true => out.push_str(&format!("{key}={value}\n")),
            false => left_out(key, "it is no value of one line"),
        }
    }
    out
}

/// A word of a list in such a file, where quotes are all there is (no escapes); `None`: it has more than one line.
fn word(text: &str) -> Option<String> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@+,%~^".contains(&b)) {
        return Some(text.to_owned());
    }
    // Each kind of quote in the other.
    let parts: Vec<String> = text.split('\'').map(|part| format!("'{part}'")).collect();
    Some(parts.join("\"'\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_image_runs() {
        let config = json!({
            "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo \"it's\" $X \\", ""], "Env": ["PATH=/bin", "A=b c", "BROKEN"],
            "WorkingDir": "/srv/a b", "User": "33:www", "StopSignal": "SIGQUIT"
        });
        let mut notices = Vec::new();
        let text = settings("x:1", &config, &mut notices);
        assert_eq!(
            text,
            "# Of the image x:1, by hostel pull-oci.\n[Exec]\nBoot=no\nParameters=/bin/sh -c 'echo \"it'\"'\"'s\" $X \\' ''\nEnvironment=PATH=/bin\n\
             Environment='A=b c'\nWorkingDirectory=/srv/a b\nUser=33\nKillSignal=SIGQUIT\n"
        );
        assert_eq!(notices.len(), 2, "{notices:?}");
        let words = hostel_unit::words("/bin/sh -c 'echo \"it'\"'\"'s\" $X \\' ''", hostel_unit::WordRules::STRINGS).unwrap();
        assert_eq!(words, ["/bin/sh", "-c", "echo \"it's\" $X \\", ""]);
        assert_eq!(settings("x", &Value::Null, &mut notices), "# Of the image x, by hostel pull-oci.\n[Exec]\nBoot=no\n");
        let mut notices = Vec::new();
        let evil =
            settings("x", &json!({"Cmd": ["a\n[Files]\nBind=/"], "User": "a\nBind=/", "WorkingDir": "rel", "Env": ["A=\r\nBind=/"]}), &mut notices);
        assert!(!evil.contains("Bind"), "{evil}");
        assert_eq!(notices.len(), 4, "{notices:?}");
    }
}
