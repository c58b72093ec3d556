//! `hostel pull-tar`, `pull-raw`: images from servers.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_engine::error::Error;
use hostel_image::import::{self, Options};
use hostel_image::pull::http::Agent;
use hostel_image::pull::url::Url;
use hostel_image::pull::verify::{KEYRINGS, Verify};
use hostel_image::pull::{self, Order};
use hostel_image::tar::Report;
use hostel_image::watch::Watch;

use super::image::hinted;
use super::import::{self as import_verb, Request, say_made, say_unpacked};
use super::progress::Work;
use super::{Failure, Outcome, Verb};

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
    let (mut verify, mut keyrings, mut address) = (Verify::Signature, Vec::new(), None);
    let own = |long: &str, words: &mut lexopt::Parser| {
        match long {
            "verify" => {
                let word = words.value()?.to_string_lossy().into_owned();
                verify =
                    Verify::of_word(&word).ok_or_else(|| Failure::Usage(format!("parse --verify={word}: it takes no, checksum or signature")))?;
            }
            "keyring" => keyrings.push(PathBuf::from(words.value()?)),
            _ => return Ok(false),
        }
        Ok(true)
    };
    let name_of = |word: &OsStr| {
        let text = word.to_string_lossy();
        let url = Url::parse(&text).map_err(|why| Failure::Usage(format!("use address {text}: {why}")))?;
        let name = import::name_from(&url.path);
        address = Some(url);
        Ok(name)
    };
    let request = import_verb::parse(verb, args, "download", own, name_of)?;
    let Some((request, url)) = request.zip(address) else { return Ok(None) };
    if keyrings.is_empty() {
        keyrings = KEYRINGS.iter().map(PathBuf::from).collect();
    }
    Ok(Some(Pull { url, request, verify, keyrings }))
}

fn run(verb: &Verb, args: &[OsString]) -> Outcome {
    let Some(Pull { url, request, verify, keyrings }) = parse(verb, args)? else { return Ok(0) };
    let keyrings: Vec<&Path> = keyrings.iter().map(PathBuf::as_path).collect();
    let done = download(verb, &url.to_string(), &request, (verify, &keyrings), &mut |order, options| {
        if verb.name == TAR.name {
            pull::tar(&url, &request.name, order, options).map(Some)
        } else {
            pull::raw(&url, &request.name, order, options).map(|_| None)
        }
    })?;
    match done {
        Some(report) => say_unpacked(&request, &report),
        None => say_made(&request),
    }
    Ok(0)
}

/// What downloads.
pub(super) type Download<'a> = dyn FnMut(&Order<'_>, &Options<'_>) -> hostel_image::Result<Option<Report>> + 'a;

/// Downloads with what the environment says of proxies and certificates, with its bar and its entry among the transfers.
pub(super) fn download(
    verb: &Verb,
    from: &str,
    request: &Request,
    (verify, keyrings): (Verify, &[&Path]),
    make: &mut Download<'_>,
) -> Result<Option<Report>, Failure> {
    let work = Work::begin(verb, from, request.name.as_str(), None)?;
    let progress = |done| work.set(done);
    let authorities = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let exempt = variable(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let direct = |host: &str| is_exempt(host, &exempt);
    let (proxies, stop) = (proxies()?, work.stop());
    let agent = Agent { authorities: authorities.as_deref(), proxies, direct: &direct, idle: idle(), stop, registry: Default::default() };
    let order = Order { agent, verify, keyrings, total: &|n| work.expect(n) };
    let done = make(&order, &request.options(Watch { progress: &progress, stop }));
    work.end();
    done.map_err(|e| Failure::Engine(with_hint(hinted(e.into()))))
}

/// A server may be silent for so long; tests have no half minute.
fn idle() -> Duration {
    let given = std::env::var("HOSTEL_PULL_IDLE_MS").ok().and_then(|v| v.parse().ok());
    Duration::from_millis(given.unwrap_or(30_000))
}

/// The proxies of the environment, as curl(1) reads it; upper case is ignored for http, since a CGI program's client could set that.
fn proxies() -> Result<(Option<Url>, Option<Url>), Failure> {
    let read = |names: &[&str]| -> Result<Option<Url>, Failure> {
        let Some(text) = variable(names) else { return Ok(None) };
        let whole = if text.contains("://") { text.clone() } else { format!("http://{text}") };
        match Url::parse(&whole) {
            Ok(proxy) if !proxy.secure => Ok(Some(proxy)),
            Ok(_) => Err(Failure::Usage(format!("use proxy {text}: proxies reached by TLS are not implemented"))),
            Err(why) => Err(Failure::Usage(format!("use proxy {text}: {why}"))),
        }
    };
    Ok((read(&["http_proxy", "all_proxy", "ALL_PROXY"])?, read(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?))
}

/// The first of these that is set and not empty.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()))
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
