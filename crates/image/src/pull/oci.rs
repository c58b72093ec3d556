//! Images of registries (OCI distribution specification): a manifest says which layers there are, each by its sum, and they are
//! unpacked over one another.
//!
//! Everything is of the bytes that its sum says, from the manifest on, if that is asked for by its sum; else TLS vouches for that.

use std::path::Path;

use hostel_spec::MachineName;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::download::Download;
use super::http::{Access, Agent};
use super::url::Url;
use super::{Order, verify};
use crate::error::On;
use crate::import::{self, Options, Source};
use crate::tar::{self, Archive, Report, unpack_layer};
use crate::watch::{Watch, Watched};
use crate::{Cause, Result, compress, images};

/// Most bytes of a manifest, of a configuration, of a token's answer.
const TEXT: u64 = 4 << 20;
/// Most layers: what Docker allows, and some.
const LAYERS: usize = 256;
/// The registry of names without one.
const HUB: &str = "registry-1.docker.io";
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";
/// This machine, as images call it.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};
const BAD: Cause = Cause::Why("the registry's answer is not as the specification has it");

/// What an image is called: `[REGISTRY/]NAME[:TAG][@sha256:SUM]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where, without a path.
    pub registry: Url,
    /// `library/nginx`.
    pub repository: String,
    /// Tag, or sum.
    pub version: String,
}

impl Reference {
    /// Reads one as typed.
    pub fn parse(text: &str) -> std::result::Result<Reference, &'static str> {
        let (text, sum) = text.split_once('@').map_or((text, None), |(text, sum)| (text, Some(sum)));
        let (host, path) = match text.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", text),
        };
        let (path, tag) = path.split_once(':').map_or((path, "latest"), |(path, tag)| (path, tag));
        let hub = matches!(host, "docker.io" | "index.docker.io");
        let repository = if hub && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        let word = |text: &str, more: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b))
        };
        if repository.len() > 255 || !repository.split('/').all(|part| word(part, "._-") && part == part.to_ascii_lowercase()) {
            return Err("it names no image: REGISTRY/NAME:TAG, in small letters");
        }
        if tag.len() > 128 || !word(tag, "._-") {
            return Err("what follows its last ':' can be no tag");
        }
        if sum.is_some_and(|sum| digest(sum).is_none()) {
            return Err("its sum is no sha256:…");
        }
        // As docker(1): who listens on this very host needs no certificate.
        let plain = host.split(':').next().is_some_and(|h| h == "localhost" || h.parse::<std::net::Ipv4Addr>().is_ok_and(|a| a.is_loopback()));
        let registry = Url::parse(&format!("{}://{}/", if plain { "http" } else { "https" }, if hub { HUB } else { host }))?;
        Ok(Reference { registry, repository, version: sum.unwrap_or(tag).to_owned() })
    }

    /// The name that an image of it gets.
    pub fn name(&self) -> Option<MachineName> {
        MachineName::new(self.repository.rsplit('/').next()?).ok()
    }

    fn url(&self, kind: &str, version: &str) -> Url {
        Url { path: format!("/v2/{}/{kind}/{version}", self.repository), ..self.registry.clone() }
    }
}

/// The sum in `sha256:…`.
fn digest(text: &str) -> Option<[u8; 32]> {
    verify::sum_of(text.strip_prefix("sha256:")?)
}

/// Makes the image `name`; `settings` gets its configuration (the object `config`) when all is unpacked and before it has its name.
pub fn pull(
    reference: &Reference,
    name: &MachineName,
    order: &Order<'_>,
    options: &Options<'_>,
    settings: &mut dyn FnMut(&Value) -> Result<()>,
) -> Result<Report> {
    let from = format!("{}{}:{}", reference.registry, reference.repository, reference.version);
    let from = Path::new(&from);
    if !options.force {
        images::refuse_taken(&options.places, name)?;
    }
    let access = Access { accept: ACCEPT, registry: reference.registry.clone(), repository: reference.repository.clone(), token: None };
    order.agent.registry.replace(Some(access));
    let (config, layers) = contents(&order.agent, reference).on("download", from)?;
    (order.total)(Some(layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size))));
    import::make_tree(name, options, &mut |dir| {
        let mut report = Report::default();
        let mut before = 0u64;
        for (at, layer) in layers.iter().enumerate() {
            let url = reference.url("blobs", &layer.digest);
            let shown = url.to_string();
            let shown = Path::new(&shown);
            let mut download = Download::of_size(&order.agent, &url, layer.sum, layer.size).on("download", shown)?;
            let progress = |done| (options.watch.progress)(before.saturating_add(done));
            let watch = Watch { progress: &progress, stop: options.watch.stop };
            let (_, stream) = compress::reader(Watched::new(&mut download, watch)).map_err(tar::Fault::Io).on("read archive", shown)?;
            let one = unpack_layer(&mut Archive::new(stream), shown, dir, at > 0)?;
            download.finish().on("verify", shown)?;
            before = before.saturating_add(layer.size);
            report.entries += one.entries;
            report.bytes += one.bytes;
            report.dropped += one.dropped;
        }
        settings(&config["config"])?;
        Ok(report)
    })
}

/// One layer.
struct Layer {
    digest: String,
    sum: [u8; 32],
    size: u64,
}

/// The configuration and the layers, the lowest first.
fn contents(agent: &Agent<'_>, reference: &Reference) -> std::result::Result<(Value, Vec<Layer>), Cause> {
    let mut manifest = manifest(agent, reference, &reference.version)?;
    if let Some(list) = manifest["manifests"].as_array() {
        let ours = |m: &&Value| m["platform"]["os"] == "linux" && m["platform"]["architecture"] == ARCHITECTURE;
        let one = list.iter().find(ours).and_then(|m| m["digest"].as_str());
        let one = one.ok_or_else(|| Cause::Said(format!("there is none for linux on {ARCHITECTURE}")))?.to_owned();
        manifest = self::manifest(agent, reference, &one)?;
    }
    let layers = manifest["layers"].as_array().ok_or(Cause::Why("its manifest is not of the form that registries have since 2017"))?;
    if layers.is_empty() || layers.len() > LAYERS {
        return Err(Cause::Said(format!("it has {} layers, and 1 to {LAYERS} can be had", layers.len())));
    }
    let layer = |given: &Value| {
        let digest = given["digest"].as_str()?;
        Some(Layer { digest: digest.to_owned(), sum: self::digest(digest)?, size: given["size"].as_u64()? })
    };
    let layers = layers.iter().map(layer).collect::<Option<Vec<_>>>().ok_or(BAD)?;
    let config = manifest["config"]["digest"].as_str().ok_or(BAD)?;
    let sum = digest(config).ok_or(BAD)?;
    Ok((text(agent, &reference.url("blobs", config), Some(sum))?, layers))
}

fn manifest(agent: &Agent<'_>, reference: &Reference, version: &str) -> std::result::Result<Value, Cause> {
    if version.contains(':') && digest(version).is_none() {
        return Err(BAD);
    }
    text(agent, &reference.url("manifests", version), digest(version))
}

/// What is at `url`: JSON of that sum.
fn text(agent: &Agent<'_>, url: &Url, sum: Option<[u8; 32]>) -> std::result::Result<Value, Cause> {
    let bytes = verify::whole(agent, url, TEXT)?;
    if sum.is_some_and(|sum| <[u8; 32]>::from(Sha256::digest(&bytes)) != sum) {
        return Err(Cause::Why("its SHA-256 sum is not the one it is asked for by"));
    }
    serde_json::from_slice(&bytes).map_err(|_| BAD)
}

/// A token for nobody in particular, from where the registry's challenge says: `Bearer realm="…",service="…",scope="…"`.
pub(super) fn token(agent: &Agent<'_>, access: &Access, challenge: &str) -> std::result::Result<String, Cause> {
    const WANTS: Cause = Cause::Why("the registry wants to know who we are, and no names and passwords are kept here");
    let part = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    if !challenge.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("bearer ")) {
        return Err(WANTS);
    }
    let mut realm = Url::parse(part("realm").ok_or(BAD)?).map_err(Cause::Why)?;
    if access.registry.secure && !realm.secure {
        return Err(Cause::Why("the registry sends us from https to http"));
    }
    let scope = format!("repository:{}:pull", access.repository);
    let start = if realm.path.contains('?') { '&' } else { '?' };
    realm.path.push(start);
    if let Some(service) = part("service") {
        realm.path.push_str(&format!("service={}&", encoded(service)));
    }
    realm.path.push_str(&format!("scope={}", encoded(&scope)));
    let answer = text(agent, &realm, None).map_err(|cause| Cause::Said(format!("{WANTS} ({cause})")))?;
    let token = answer["token"].as_str().or(answer["access_token"].as_str()).ok_or(BAD)?;
    if token.is_empty() || token.len() > 32 << 10 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(BAD);
    }
    Ok(token.to_owned())
}

/// As a part of a query.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let hub = "https://registry-1.docker.io/";
        let sum = format!("sha256:{}", "ab".repeat(32));
        let by_sum = format!("quay.io/a/b:t@{sum}");
        for (text, registry, repository, version) in [
            ("nginx", hub, "library/nginx", "latest"),
            ("nginx:1.2", hub, "library/nginx", "1.2"),
            ("docker.io/me/it", hub, "me/it", "latest"),
            ("ghcr.io/x/y/z:v1", "https://ghcr.io/", "x/y/z", "v1"),
            ("reg.example:5000/x", "https://reg.example:5000/", "x", "latest"),
            ("localhost:5000/x", "http://localhost:5000/", "x", "latest"),
            ("127.0.0.1:5000/x", "http://127.0.0.1:5000/", "x", "latest"),
            ("127.evil.example/x", "https://127.evil.example/", "x", "latest"),
            (by_sum.as_str(), "https://quay.io/", "a/b", sum.as_str()),
        ] {
            let read = Reference::parse(text).unwrap();
            assert_eq!(
                (read.registry.to_string().as_str(), read.repository.as_str(), read.version.as_str()),
                (registry, repository, version),
                "{text}"
            );
        }
        for bad in ["", ":x", "a/../b", "A/b", "a//b", "a:", "a:b/c", "a@sha256:12", "a@md5:x", "u:p@h.example/x", "a b", "a?b", "h.example/", "-a"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
