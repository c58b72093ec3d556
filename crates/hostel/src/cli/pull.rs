//! `hostel pull-tar`, `pull-raw`: images from servers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_engine::error::Error;
use hostel_image::images::Places;
use hostel_image::import::{self, Options};
use hostel_image::pull::http::Agent;
use hostel_image::pull::url::Url;
use hostel_image::pull::verify::{KEYRINGS, Verify};
use hostel_image::pull::{self, Order};
use hostel_image::watch::Watch;
use lexopt::Arg::{Long, Short, Value};

use super::image::hinted;
use super::import::{Request, say_made, say_unpacked};
use super::progress::Bar;
use super::{Failure, Outcome, Verb, look};
use crate::output;
use crate::transfers::Transfer;

const OPTIONS: &[(&str, &str)] = &[
    ("--verify no|checksum|signature", "signature (default): SHA256SUMS signed by a key in /etc/systemd/import-pubring.gpg"),
    ("--keyring FILE", "these keys instead"),
    ("--read-only", "mark the image read-only"),
    ("--force", "replace an image of that name, unless it runs"),
    ("-q, --quiet", "nothing but errors"),
];

/// The verb for archives.
pub(super) const TAR: Verb = Verb {
    name: "pull-tar",
    args: "URL [NAME]",
    about: "download a tar archive, verify it and make an image of it",
    options: OPTIONS,
    examples: &[
        ("hostel pull-tar https://example.org/debian.tar.xz", "goes on where a connection was cut; nothing is kept besides the image"),
        ("hostel pull-tar --verify=checksum URL web", "trusts the server and its SHA256SUMS"),
    ],
    run: |args| run(&TAR, args),
};

/// The verb for disk images.
pub(super) const RAW: Verb = Verb {
    name: "pull-raw",
    args: "URL [NAME]",
    about: "download a raw disk image, verify it and make an image of it",
    options: OPTIONS,
    examples: &[("hostel pull-raw https://example.org/fedora.raw.xz", "an image fedora")],
    run: |args| run(&RAW, args),
};

struct Pull {
    url: Url,
    request: Request,
    verify: Verify,
    keyrings: Vec<PathBuf>,
}

fn parse(verb: &Verb, args: &[OsString]) -> Result<Option<Pull>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut verify, mut keyrings, mut given) = (Verify::Signature, Vec::new(), Vec::new());
    let (mut read_only, mut force, mut quiet) = (false, false, false);
    while let Some(arg) = words.next()? {
        match arg {
            Long("verify") => {
                let word = words.value()?.to_string_lossy().into_owned();
                verify =
                    Verify::of_word(&word).ok_or_else(|| Failure::Usage(format!("parse --verify={word}: it takes no, checksum or signature")))?;
            }
            Long("keyring") => keyrings.push(words.value()?.into()),
            Long("read-only") => read_only = true,
            Long("force") => force = true,
            Short('q') | Long("quiet") => quiet = true,
            Short('h') | Long("help") => {
                output::print(&super::verb_help(verb));
                return Ok(None);
            }
            Value(word) if given.len() < 2 => given.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(text) = given.first().map(|w| w.to_string_lossy().into_owned()) else {
        return Err(Failure::Usage(format!("{} {}: what to download?", verb.name, verb.args)));
    };
    let url = Url::parse(&text).map_err(|why| Failure::Usage(format!("use address {text}: {why}")))?;
    let name = match given.get(1) {
        Some(word) => look::name(word)?,
        None => import::name_from(&url.path).ok_or_else(|| Failure::Usage(format!("{}: a name for the image is needed", verb.name)))?,
    };
    if keyrings.is_empty() {
        keyrings = KEYRINGS.iter().map(PathBuf::from).collect();
    }
    Ok(Some(Pull { url, request: Request { from: text.into(), name, read_only, force, quiet }, verify, keyrings }))
}

fn run(verb: &Verb, args: &[OsString]) -> Outcome {
    let Some(Pull { url, request, verify, keyrings }) = parse(verb, args)? else { return Ok(0) };
    let transfer = Transfer::begin(verb.name, &url.to_string(), request.name.as_str())?;
    let bar = Bar::new(&format!("{} {}", verb.name, request.name), None);
    let total = std::sync::Mutex::new(None);
    let expect = |n: Option<u64>| {
        bar.expect(n);
        if let Ok(mut total) = total.lock() {
            *total = n;
        }
    };
    let progress = |done: u64| {
        bar.set(done);
        transfer.set(done, total.lock().ok().and_then(|t| *t));
    };
    let keyrings: Vec<&Path> = keyrings.iter().map(PathBuf::as_path).collect();
    let authorities = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let agent = Agent { authorities: authorities.as_deref(), proxies: proxies(&url)?, idle: idle(), stop: transfer.stop() };
    let order = Order { agent, verify, keyrings: &keyrings, total: &expect };
    let watch = Watch { progress: &progress, stop: transfer.stop() };
    let options = Options { places: Places::host(), force: request.force, read_only: request.read_only, watch };
    let done = if verb.name == TAR.name {
        pull::tar(&url, &request.name, &order, &options).map(Some)
    } else {
        pull::raw(&url, &request.name, &order, &options).map(|_| None)
    };
    bar.end();
    match done.map_err(|e| Failure::Engine(with_hint(hinted(e.into()))))? {
        Some(report) => say_unpacked(&request, &report),
        None => say_made(&request),
    }
    Ok(0)
}

/// A server may be silent for so long; tests have no half minute.
fn idle() -> Duration {
    let given = std::env::var("HOSTEL_PULL_IDLE_MS").ok().and_then(|v| v.parse().ok());
    Duration::from_millis(given.unwrap_or(30_000))
}

/// The proxies of the environment, as curl(1) reads it; upper case is ignored for http, since a CGI program's client could set that.
fn proxies(url: &Url) -> Result<(Option<Url>, Option<Url>), Failure> {
    let get = |names: &[&str]| names.iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
    let exempt = get(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    if is_exempt(&url.host, &exempt) {
        return Ok((None, None));
    }
    let read = |names: &[&str]| -> Result<Option<Url>, Failure> {
        let Some(text) = get(names) else { return Ok(None) };
        let whole = if text.contains("://") { text.clone() } else { format!("http://{text}") };
        match Url::parse(&whole) {
            Ok(proxy) if !proxy.secure => Ok(Some(proxy)),
            Ok(_) => Err(Failure::Usage(format!("use proxy {text}: proxies reached by TLS are not implemented"))),
            Err(why) => Err(Failure::Usage(format!("use proxy {text}: {why}"))),
        }
    };
    Ok((read(&["http_proxy", "all_proxy", "ALL_PROXY"])?, read(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?))
}

fn is_exempt(host: &str, exempt: &str) -> bool {
    exempt
        .split([',', ' '])
        .map(|e| e.trim_start_matches('.'))
        .filter(|e| !e.is_empty())
        .any(|entry| entry == "*" || host == entry || host.strip_suffix(entry).is_some_and(|before| before.ends_with('.')))
}

fn with_hint(error: Error) -> Error {
    if error.verb != "verify" || error.hint.is_some() {
        return error;
    }
    let cause = error.cause.as_str();
    if cause.contains("gpgv is not installed") || cause.contains("no keys") || cause.contains("not signed") {
        error.hint("--verify=checksum trusts the server and its SHA256SUMS")
    } else if cause.contains("no sum is published") || cause.contains("does not list") {
        error.hint("--verify=no takes it as it is")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemptions() {
        for (host, list, want) in [
            ("example.org", "example.org", true),
            ("a.example.org", ".example.org,other", true),
            ("a.example.org", "example.org", true),
            ("badexample.org", "example.org", false),
            ("x", "", false),
            ("x", "*", true),
        ] {
            assert_eq!(is_exempt(host, list), want, "{host} {list}");
        }
    }
}
