//! The API's certificate: read once at start.

use std::{path::Path, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::config::spec;

/// What answers TLS handshakes.
///
/// # Errors
///
/// A file cannot be read or holds nothing of its kind, or the key is not the certificate's.
pub(super) fn acceptor(files: &spec::HttpTls) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse("http.tls.cert_file", &files.cert_file, &error))?;
    if chain.is_empty() {
        return Err(refuse(
            "http.tls.cert_file",
            &files.cert_file,
            &"there is no certificate in PEM in it",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| refuse("http.tls.key_file", &files.key_file, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| refuse("http.tls.key_file", &files.key_file, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn refuse(key: &str, file: &Path, reason: &dyn std::fmt::Display) -> String {
    format!("{key} = \"{}\": {reason}", file.display())
}
