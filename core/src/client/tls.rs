//! Whose certificates are believed, and the pool of connections over them.

use std::time::Duration;

use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::ClientError;

/// Connections, kept for the next request; `R` finds the addresses of a name.
pub(crate) type Pool<R> = Client<HttpsConnector<HttpConnector<R>>, Full<Bytes>>;

/// The certificates in a text of PEM; an error says what is wrong with it.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("no certificates in PEM: {error}"))?;
    match found.is_empty() {
        true => Err("no certificate in it: wanted PEM, `-----BEGIN CERTIFICATE-----`".to_owned()),
        false => Ok(found),
    }
}

/// Believes the host's roots and `extra` besides. Reads the host's files.
pub(crate) fn roots(extra: &[CertificateDer<'static>]) -> Result<RootCertStore, ClientError> {
    let mut store = RootCertStore::empty();
    let refused = |error: rustls::Error| ClientError::Option(format!("a root: {error}"));
    for root in extra {
        store.add(root.clone()).map_err(refused)?;
    }
    let host = rustls_native_certs::load_native_certs();
    // A host may have roots that are no longer valid; the others still count.
    store.add_parsable_certificates(host.certs);
    match store.is_empty() {
        true => Err(ClientError::Unreachable(format!(
            "this host has no root certificates that could vouch for the server: {:?}",
            host.errors
        ))),
        false => Ok(store),
    }
}

/// Connections for `uri`, whose server is vouched for by the host's roots or by `extra`.
pub(crate) fn pool_for(
    uri: &Uri,
    extra: &[CertificateDer<'static>],
    connect_ms: u64,
) -> Result<Pool<GaiResolver>, ClientError> {
    // The host's roots are read only when somebody's certificate has to be judged.
    let roots = match uri.scheme_str() {
        Some("https") => roots(extra)?,
        _ => RootCertStore::empty(),
    };
    Ok(pool(HttpConnector::new(), roots, connect_ms))
}

/// A pool of connections that are TLS where the URL says so.
pub(crate) fn pool<R>(mut tcp: HttpConnector<R>, roots: RootCertStore, connect_ms: u64) -> Pool<R>
where
    HttpsConnector<HttpConnector<R>>: Connect + Clone,
{
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_millis(connect_ms)));
    let tls = ClientConfig::builder().with_root_certificates(roots);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connector)
}
