//! TLS, if it was built in: the host's own certificates vouch for servers.

use std::path::Path;

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
    use std::sync::Arc;

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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(fail)?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Cause::Why("its host is no name"))?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(fail)?;
    Ok(Box::new(rustls::StreamOwned::new(connection, wire)))
}

/// Nothing is one of these.
#[cfg(not(feature = "tls"))]
pub(super) type Stream = std::io::Cursor<Vec<u8>>;

/// Refuses: this program has no TLS.
#[cfg(not(feature = "tls"))]
pub(super) fn connect(_wire: Wire, _host: &str, _authorities: Option<&Path>) -> Result<Stream, Cause> {
    Err(Cause::Why("this hostel was built without TLS (cargo feature tls)"))
}
