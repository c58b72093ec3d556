//! What a file on a server has to be: `SHA256SUMS` beside it, and a signature of that, checked by gpgv(1).

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::http::Agent;
use super::url::Url;
use crate::Cause;

/// Most bytes of a list of sums, or of a signature.
const SMALL: u64 = 1 << 20;

/// How a download is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    No,
    /// By the sum the server has beside it: against damage.
    Checksum,
    /// And the sums by a signature: against a server that is not what it seems.
    Signature,
}

impl Verify {
    /// By its word.
    pub fn of_word(word: &str) -> Option<Verify> {
        Some(match word {
            "no" => Verify::No,
            "checksum" => Verify::Checksum,
            "signature" => Verify::Signature,
            _ => return None,
        })
    }
}

/// Where keys are that may sign images; systemd's places.
pub const KEYRINGS: [&str; 4] = [
    "/etc/systemd/import-pubring.gpg",
    "/etc/systemd/import-pubring.pgp",
    "/usr/lib/systemd/import-pubring.gpg",
    "/usr/lib/systemd/import-pubring.pgp",
];

/// The sum the file at `url` has to have.
pub(super) fn wanted(agent: &Agent<'_>, url: &Url, verify: Verify, keyrings: &[&Path]) -> Result<Option<[u8; 32]>, Cause> {
    if verify == Verify::No {
        return Ok(None);
    }
    let name = url.file_name();
    let own = url.sibling(&format!("{name}.sha256"));
    let (list, list_url) = match small(agent, &url.sibling("SHA256SUMS")) {
        Ok(list) => (list, url.sibling("SHA256SUMS")),
        Err(Cause::Os(errno)) => return Err(Cause::Os(errno)),
        Err(_) => {
            (small(agent, &own).map_err(|e| Cause::Said(format!("no sum is published for it (neither SHA256SUMS nor {name}.sha256): {e}")))?, own)
        }
    };
    if verify == Verify::Signature {
        let sign = |suffix: &str| small(agent, &list_url.sibling(&format!("{}{suffix}", list_url.file_name())));
        let signature = sign(".gpg").or_else(|e| if matches!(e, Cause::Os(_)) { Err(e) } else { sign(".asc") });
        let signature = signature.map_err(|e| Cause::Said(format!("its sums are not signed ({}.gpg): {e}", list_url.file_name())))?;
        check_signature(&list, &signature, keyrings)?;
    }
    let text = String::from_utf8_lossy(&list);
    parse_sums(&text, name).map(Some).ok_or_else(|| Cause::Said(format!("{} does not list {name}", list_url.file_name())))
}

fn small(agent: &Agent<'_>, url: &Url) -> Result<Vec<u8>, Cause> {
    whole(agent, url, SMALL)
}

/// What is at `url`, if it has at most so many bytes.
pub(super) fn whole(agent: &Agent<'_>, url: &Url, most: u64) -> Result<Vec<u8>, Cause> {
    let mut bytes = Vec::new();
    agent.get(url, 0, None)?.body.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(Cause::TooLarge) } else { Ok(bytes) }
}

/// The sum of the file `name` in a list as sha256sum(1) writes it: 64 digits, a blank, a blank or an asterisk, the name.
pub fn parse_sums(text: &str, name: &str) -> Option<[u8; 32]> {
    text.lines().find_map(|line| {
        let (digits, rest) = line.trim_end_matches('\r').split_at_checked(64)?;
        let file = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
        let file = file.strip_prefix("./").unwrap_or(file);
        if file != name || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        sum_of(digits)
    })
}

/// A SHA-256 sum written in 64 digits.
pub(super) fn sum_of(digits: &str) -> Option<[u8; 32]> {
    let mut sum = [0u8; 32];
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in sum.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sum)
}

/// Asks gpgv(1), the host's own, whether one of the keys made the signature.
fn check_signature(text: &[u8], signature: &[u8], keyrings: &[&Path]) -> Result<(), Cause> {
    let keyrings: Vec<&Path> = keyrings.iter().copied().filter(|k| k.is_file()).collect();
    if keyrings.is_empty() {
        return Err(Cause::Why("there are no keys that could vouch for it (/etc/systemd/import-pubring.gpg)"));
    }
    let dir = Own::new()?;
    let file = dir.0.join("signature");
    std::fs::write(&file, signature)?;
    let mut gpgv = Command::new("gpgv");
    for keyring in keyrings {
        gpgv.arg("--keyring").arg(keyring);
    }
    let started = gpgv.arg("--").arg(&file).arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = match started {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Cause::Why("gpgv is not installed, which checks signatures"));
        }
        other => other?,
    };
    if let Some(mut input) = child.stdin.take() {
        // That it reads no more shows in its status.
        let _ = input.write_all(text);
    }
    if child.wait()?.success() { Ok(()) } else { Err(Cause::Why("the signature of its sums is not good, or by no key that is trusted here")) }
}

/// A directory for nobody else.
struct Own(PathBuf);

impl Own {
    fn new() -> Result<Own, Cause> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("hostel-verify-{:016x}", hostel_sys::tree::random_u64()?));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Own(path))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let (a, b) = ("0f".repeat(32), "A1".repeat(32));
        let text = format!("{a}  other.tar\n{b} *x.tar\n{a}  sub/x.tar\nshort  y.tar\n{}  z.tar\n{a} w.tar\n{a}  ./v.tar\r\n", "0g".repeat(32));
        assert_eq!(parse_sums(&text, "x.tar"), Some([0xa1; 32]));
        assert_eq!((parse_sums(&text, "other.tar"), parse_sums(&text, "v.tar")), (Some([0x0f; 32]), Some([0x0f; 32])));
        for name in ["y.tar", "z.tar", "w.tar", "none", ""] {
            assert_eq!(parse_sums(&text, name), None, "{name}");
        }
    }
}
