//! Over TLS: a server whose certificate nobody vouches for is not spoken to.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

use ninefold::client::{Blocking, ClientError, EraChoice, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::world::{mcp, read};

/// Vouches for `server.pem`, which is of localhost and 127.0.0.1, until 2126. Its key was thrown
/// away; that of the server is a secret of nobody.
pub(crate) const ROOT: &str = include_str!("../tls/ca.pem");

/// A server that speaks TLS, and takes any token; its port.
pub(crate) fn server() -> u16 {
    let chain = CertificateDer::from_pem_slice(include_bytes!("../tls/server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![chain.expect("a certificate")], key)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(config.clone()).expect("a session");
            let mut stream = StreamOwned::new(session, stream.expect("a connection"));
            // Who does not believe the certificate says nothing more.
            if let Some(asked) = read(&mut stream) {
                let _ = stream.write_all(mcp(&asked.body).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}

#[test]
fn a_root_that_is_given_vouches_for_the_server() {
    let port = server();
    for host in ["localhost", "127.0.0.1"] {
        let target = format!("https://{host}:{port}/mcp")
            .parse()
            .expect("a target");
        let options = || Options::new("test", "1").era(EraChoice::Modern);
        let known = options()
            .root_certificates(ROOT.as_bytes())
            .expect("a root");
        let client = Blocking::connect(&target, known).expect("a conversation");
        let done = client.run(async |client| client.call("any", json!({})).await);
        assert_eq!(done.expect("a result")["content"][0]["text"], "done");
        let error = Blocking::connect(&target, options()).err();
        assert!(
            matches!(error, Some(ClientError::Unreachable(_))),
            "{error:?}"
        );
    }
}

#[test]
fn what_is_no_root_is_told() {
    for pem in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let error = Options::new("test", "1")
            .root_certificates(pem.as_bytes())
            .err();
        assert!(
            matches!(error, Some(ClientError::Option(_))),
            "{pem}: {error:?}"
        );
    }
}
