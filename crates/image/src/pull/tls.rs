//! TLS, if it was built in: the host's own certificates vouch for servers.

use std::path::Path;
#[cfg(feature = "tls")]
use std::sync::Arc;

use super::http::Wire;
use crate::Cause;

/// Where distributions keep the certificates they trust.
#[cfg(feature = "tls")]
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[cfg(feature = "tls")]
pub(super) type Stream = Box<rustls::StreamOwned<rustls::ClientConnection, Wire>>;

/// Begins TLS with the server `host`; `authorities` instead of the host's own.
#[cfg(feature = "tls")]
pub(super) fn connect(wire: Wire, host: &str, authorities: Option<&Path>) -> Result<Stream, Cause> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};

    let bundle = match authorities {
        Some(path) => Some(path.to_owned()),
        None => BUNDLES.iter().map(std::path::PathBuf::from).find(|p| p.is_file()),
    };
    let bundle = bundle.ok_or(Cause::Why("no certificates are installed that could vouch for a server (package ca-certificates)"))?;
    let mut roots = rustls::RootCertStore::empty();
    let file = std::fs::read(&bundle)?;
    // One that cannot be read vouches for nobody; the others do.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&file).flatten());
    if roots.is_empty() {
        return Err(Cause::Said(format!("there is no certificate in {}", bundle.display())));
    }
    let fail = |e: rustls::Error| Cause::Said(format!("TLS: {e}"));
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions().map_err(fail)?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Cause::Why("its host is no name"))?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(fail)?;
    Ok(Box::new(rustls::StreamOwned::new(connection, wire)))
}

/// What a client needs to talk to every server of today: no ChaCha20 beside AES-GCM, which all of them have, and no keys of our own.
/// The whole of ring's would be 60 KiB more.
#[cfg(feature = "tls")]
fn provider() -> rustls::crypto::CryptoProvider {
    use rustls::crypto::ring::{cipher_suite as suite, kx_group as group};
    rustls::crypto::CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![group::X25519, group::SECP256R1, group::SECP384R1],
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Kernel,
        key_provider: &Kernel,
    }
}

/// Who vouches, by which signatures: as rustls has them with ring, but what no authority uses.
#[cfg(feature = "tls")]
static SIGNATURES: rustls::crypto::WebPkiSupportedAlgorithms = {
    use rustls::SignatureScheme as scheme;
    use webpki::ring as ours;
    rustls::crypto::WebPkiSupportedAlgorithms {
        all: &[
            ours::ECDSA_P256_SHA256,
            ours::ECDSA_P256_SHA384,
            ours::ECDSA_P384_SHA256,
            ours::ECDSA_P384_SHA384,
            ours::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            ours::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
            ours::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
            ours::RSA_PKCS1_2048_8192_SHA256,
            ours::RSA_PKCS1_2048_8192_SHA384,
            ours::RSA_PKCS1_2048_8192_SHA512,
        ],
        mapping: &[
            (scheme::ECDSA_NISTP384_SHA384, &[ours::ECDSA_P384_SHA384, ours::ECDSA_P256_SHA384]),
            (scheme::ECDSA_NISTP256_SHA256, &[ours::ECDSA_P256_SHA256, ours::ECDSA_P384_SHA256]),
            (scheme::RSA_PSS_SHA512, &[ours::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
            (scheme::RSA_PSS_SHA384, &[ours::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
            (scheme::RSA_PSS_SHA256, &[ours::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
            (scheme::RSA_PKCS1_SHA512, &[ours::RSA_PKCS1_2048_8192_SHA512]),
            (scheme::RSA_PKCS1_SHA384, &[ours::RSA_PKCS1_2048_8192_SHA384]),
            (scheme::RSA_PKCS1_SHA256, &[ours::RSA_PKCS1_2048_8192_SHA256]),
        ],
    }
};

/// Randomness of the kernel's; and nobody to load a private key.
#[cfg(feature = "tls")]
#[derive(Debug)]
struct Kernel;

#[cfg(feature = "tls")]
impl rustls::crypto::SecureRandom for Kernel {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), rustls::crypto::GetRandomFailed> {
        hostel_sys::tree::random(buffer).map_err(|_| rustls::crypto::GetRandomFailed)
    }
}

#[cfg(feature = "tls")]
impl rustls::crypto::KeyProvider for Kernel {
    fn load_private_key(&self, _: rustls::pki_types::PrivateKeyDer<'static>) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
        Err(rustls::Error::General("no private keys are used here".to_owned()))
    }
}

/// Nothing is one of these.
#[cfg(not(feature = "tls"))]
pub(super) type Stream = std::io::Cursor<Vec<u8>>;

/// Refuses: this program has no TLS.
#[cfg(not(feature = "tls"))]
pub(super) fn connect(_wire: Wire, _host: &str, _authorities: Option<&Path>) -> Result<Stream, Cause> {
    Err(Cause::Why("this hostel was built without TLS (cargo feature tls)"))
}
