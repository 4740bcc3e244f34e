//! A server that wants tokens, and the authorization server that gives them, at one address. Both
//! behave; a test bends the one answer that it is about.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use form_urlencoded::parse;
use ninefold::client::limits::Limits;
use ninefold::client::{Auth, AuthError, Blocking, ClientError, EraChoice, Options};
use serde_json::{Value, json};

/// Where browsers come back to here; nobody ever goes there.
pub(crate) const BACK: &str = "http://localhost:1/callback";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: String,
}

impl Asked {
    /// A pair of the form that was sent.
    pub(crate) fn form(&self, name: &str) -> Option<String> {
        pair(&self.body, name)
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.fields.get("authorization")?.strip_prefix("Bearer ")
    }
}

/// A pair of a form or of a query.
pub(crate) fn pair(text: &str, name: &str) -> Option<String> {
    let mut pairs = parse(text.as_bytes());
    let found = pairs.find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

/// Reads one request, head and body.
pub(crate) fn read(stream: &mut impl Read) -> Option<Asked> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ').map(str::to_owned);
        let fields: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = fields.get("content-length").and_then(|it| it.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            let body = body.to_owned();
            return Some(Asked {
                path: first.nth(1)?,
                fields,
                body,
            });
        }
    }
}

/// An answer with a JSON body, and lines of head besides.
pub(crate) fn answer(status: &str, lines: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n{lines}\r\n{body}"
    )
}

pub(crate) fn ok(body: &Value) -> String {
    answer("200 OK", "", body)
}

/// What the MCP half answers to whoever has a token.
pub(crate) fn mcp(body: &str) -> String {
    let asked: Value = serde_json::from_str(body).expect("a message");
    let result = match asked["method"].as_str() {
        Some("server/discover") => json!({"supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}}}),
        _ => json!({"content": [{"type": "text", "text": "done"}]}),
    };
    let mut result = result;
    result["resultType"] = "complete".into();
    ok(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}))
}

/// A refusal with a challenge.
pub(crate) fn refusal(status: &str, challenge: &str) -> String {
    let line = format!("WWW-Authenticate: Bearer {challenge}\r\n");
    answer(status, &line, &json!({}))
}

type Bend = dyn Fn(&World, &Asked) -> Option<String> + Send + Sync;

#[derive(Clone)]
pub(crate) struct World {
    /// Scheme and authority of both.
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    bend: Arc<Bend>,
}

impl World {
    /// Everything behaves.
    pub(crate) fn good() -> Self {
        Self::bent(|_, _| None)
    }

    /// Everything behaves but for what `bend` answers itself.
    pub(crate) fn bent(
        bend: impl Fn(&Self, &Asked) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let world = Self {
            base,
            asked: Arc::default(),
            bend: Arc::new(bend),
        };
        let server = world.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, server) = (stream.expect("a connection"), server.clone());
                std::thread::spawn(move || server.serve(&mut stream));
            }
        });
        world
    }

    fn serve(&self, stream: &mut TcpStream) {
        if let Some(asked) = read(stream) {
            self.log(|log| log.push(asked.clone()));
            let bent = (self.bend)(self, &asked);
            let answer = bent.unwrap_or_else(|| self.behave(&asked));
            // A client that has seen enough closes; that is its right.
            let _ = stream.write_all(answer.as_bytes());
        }
    }

    fn log<T>(&self, look: impl FnOnce(&mut Vec<Asked>) -> T) -> T {
        look(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every request to this path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        self.log(|log| log.iter().filter(|it| it.path == path).cloned().collect())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// The metadata of the resource.
    pub(crate) fn resource(&self) -> Value {
        json!({"resource": self.url(), "authorization_servers": [self.base]})
    }

    /// The metadata of the authorization server.
    pub(crate) fn issuer(&self) -> Value {
        let base = &self.base;
        json!({
            "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "registration_endpoint": format!("{base}/register"),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn behave(&self, asked: &Asked) -> String {
        match asked.path.as_str() {
            "/.well-known/oauth-protected-resource/mcp" => ok(&self.resource()),
            "/.well-known/oauth-authorization-server" => ok(&self.issuer()),
            "/register" => answer("201 Created", "", &json!({"client_id": "registered"})),
            "/token" => {
                let n = self.asked("/token").len();
                ok(
                    &json!({"access_token": format!("token-{n}"), "token_type": "Bearer",
                    "expires_in": 3600, "refresh_token": format!("refresh-{n}")}),
                )
            }
            "/mcp" if asked.token().is_some() => mcp(&asked.body),
            "/mcp" => refusal("401 Unauthorized", "scope=\"basic\""),
            _ => answer("404 Not Found", "", &json!({})),
        }
    }

    /// A way to get tokens with a person who agrees to everything.
    pub(crate) fn auth(&self) -> Auth {
        let base = self.base.clone();
        signing_in(move |state| format!("code=the-code&state={state}&iss={base}"))
    }

    pub(crate) fn connect(&self, auth: Auth) -> Result<Blocking, ClientError> {
        let options = Options::new("test", "1").era(EraChoice::Modern).auth(auth);
        let limits = Limits {
            metadata_bytes: 8192,
            ..Limits::default()
        };
        let target = self.url().parse().expect("a target");
        Blocking::connect(&target, options.limits(limits))
    }

    /// Why no conversation begins.
    pub(crate) fn refused(&self, auth: Auth) -> AuthError {
        match self.connect(auth).err() {
            Some(ClientError::Auth(error)) => error,
            other => panic!("wanted no access, found {other:?}"),
        }
    }
}

/// A way to get tokens with a browser that comes back with the query that `back` makes of a state.
pub(crate) fn signing_in(back: impl Fn(&str) -> String + Send + Sync + 'static) -> Auth {
    Auth::new("test").sign_in_by(BACK, move |url| {
        let (_, query) = url.split_once('?').expect("a query");
        let state = pair(query, "state").expect("a state");
        std::future::ready(Ok(format!("{BACK}?{}", back(&state))))
    })
}
