//! What makes an image's data trusted: a root hash from outside, or a signed one in a partition of its own.

use hostel_spec::{RootHash, base64};

use crate::Cause;

/// The content of a verity signature partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The root hash it is about.
    pub root_hash: RootHash,
    /// PKCS#7 signature of it.
    pub signature: Vec<u8>,
}

/// The most that is read of a signature partition.
pub(crate) const SIGNATURE_MAX: u64 = 1 << 20;

/// Parses a signature partition: a JSON object, then NUL bytes up to its end.
pub fn parse_signature(bytes: &[u8]) -> Result<Signature, Cause> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    if bytes[end..].iter().any(|b| *b != 0) {
        return Err(Cause::Why("something follows the JSON object of the verity signature partition"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(&bytes[..end]).map_err(|_| Cause::Why("the verity signature partition holds no JSON object"))?;
    let field = |name: &str| value.get(name).and_then(|v| v.as_str());
    let root_hash = field("rootHash").ok_or(Cause::Why("the verity signature partition names no root hash"))?;
    let root_hash = RootHash::parse(root_hash).map_err(|e| Cause::Said(e.to_string()))?;
    let signature = field("signature").and_then(base64).filter(|s| !s.is_empty());
    Ok(Signature { root_hash, signature: signature.ok_or(Cause::Why("the verity signature partition has no signature"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        let text = format!("{{\"rootHash\":\"{}\",\"signature\":\"Zm9v\"}}", "ab".repeat(32));
        let mut bytes = text.into_bytes();
        bytes.resize(4096, 0);
        let got = parse_signature(&bytes).unwrap();
        assert_eq!((got.root_hash.bytes().len(), got.signature), (32, b"foo".to_vec()));
        bytes[4095] = b'x';
        assert!(parse_signature(&bytes).is_err());
        for bad in ["", "{}", "[]", "{\"rootHash\":\"ab\",\"signature\":\"Zm9v\"}", "{\"rootHash\":1}"] {
            assert!(parse_signature(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
