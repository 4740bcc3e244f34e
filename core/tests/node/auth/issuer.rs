//! An authorization server as a node sees it: keys, tokens, and the place where keys are fetched.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

pub(super) const ISSUER: &str = "https://login.example";
pub(super) const AUDIENCE: &str = "https://mcp.example/mcp";

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// One signing key.
pub(super) struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(super) fn new(id: &str) -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
        Self {
            id: id.to_owned(),
            pair: EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).expect("a key"),
        }
    }

    /// The point of the public key, which everybody can know.
    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public half, as it is published.
    pub(super) fn jwk(&self) -> Value {
        let point = &self.public()[1..];
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig",
            "x": BASE64.encode(&point[..32]), "y": BASE64.encode(&point[32..])})
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.id})
    }

    /// A token with any header and claims, signed by this key.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = signature.expect("a signature");
        format!("{message}.{}", BASE64.encode(signature))
    }

    /// A good token of `subject` with `scope`.
    pub(super) fn token(&self, subject: &str, scope: &str) -> String {
        self.sign(&self.header(), &claims(subject, scope))
    }
}

/// What a signature is of.
pub(super) fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Good claims.
pub(super) fn claims(subject: &str, scope: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": now_s() + 600,
        "iat": now_s(), "client_id": "test", "scope": scope})
}

/// A JWK Set.
pub(super) fn set(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|it| it.jwk()).collect();
    json!({"keys": keys}).to_string()
}

/// What a site answers.
#[derive(Clone)]
pub(super) enum Says {
    Document(String),
    Status(u16),
    /// Bytes without an end.
    Endless,
    /// Nothing, and the connection stays open.
    Nothing,
}

/// The site where an issuer publishes its keys.
pub(super) struct Site {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl Site {
    pub(super) fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::on(listener, says)
    }

    pub(super) fn on(listener: TcpListener, says: Says) -> Self {
        let site = Self {
            address: listener.local_addr().expect("an address"),
            says: Arc::new(Mutex::new(says)),
            asked: Arc::default(),
            ends: Arc::default(),
        };
        let (says, asked) = (site.says.clone(), site.asked.clone());
        let ends = site.ends.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let (says, ends) = (says.lock().expect("words").clone(), ends.clone());
                std::thread::spawn(move || answer(stream, says, &ends));
            }
        });
        site
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// What it answers from now on.
    pub(super) fn say(&self, says: Says) {
        *self.says.lock().expect("words") = says;
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: TcpStream, says: Says, ends: &AtomicBool) {
    // Whoever asks may go whenever it likes.
    let _ = stream.read(&mut [0; 4096]);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\n";
    let _ = match says {
        Says::Document(text) => {
            let length = text.len();
            write!(stream, "{head}Content-Length: {length}\r\n\r\n{text}")
        }
        Says::Status(status) => write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
        Says::Endless => {
            let mut sent = write!(stream, "{head}\r\n{{\"keys\":[");
            while sent.is_ok() && !ends.load(Ordering::SeqCst) {
                sent = stream.write_all(&[b' '; 16 << 10]);
            }
            sent
        }
        Says::Nothing => {
            while !ends.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
    };
}
