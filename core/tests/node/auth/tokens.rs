//! Every request brings a token, and only one that is for this server, now, is good.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use ninefold::limits::Limits;
use ninefold::stdio::{Stdio, StdioConfig};
use ninefold::{Node, NodeConfig};
use serde_json::{Value, json};
use sha2::Sha256;

use super::issuer::{self, AUDIENCE, ISSUER, Key, claims, message, now_s};
use super::{METADATA, features, node_of, oauth, with, with_field};
use crate::client::{call, delete, echo, get, in_session, initialize, legacy, modern, post};
use crate::target::eventually;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[test]
fn a_token_is_required_on_every_request() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it.require_always("mcp").require_always("base"));
    let token = key.token("me", "mcp base");
    let mut client = node.connect();
    let opened = client.ask(with(&token, &initialize()));
    assert_eq!(opened.status, 200, "{opened:?}");
    let session = opened
        .field("mcp-session-id")
        .expect("a session")
        .to_owned();
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]);
    let requests = [
        echo("x"),
        modern(1, "server/discover", json!({})),
        modern(1, "tools/list", json!({})),
        modern(1, "no/such/method", json!({})),
        modern(1, "subscriptions/listen", json!({"notifications": {}})),
        modern(1, "tasks/get", json!({"taskId": "x"})),
        initialize(),
        in_session(&session, "ping", json!({})),
        legacy(
            Some(&session),
            &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        ),
        legacy(Some(&session), &batch),
        post(&[], "no JSON"),
        get(&session, None),
        get(&session, Some("0.0-1")),
        delete(&session),
    ];
    let before = node.metric("refused_token_missing");
    for request in &requests {
        // A good one before it on the same connection makes no difference.
        assert_eq!(
            client.ask(with(&token, &echo("good"))).result_text(),
            "good"
        );
        let answer = client.ask(request);
        assert_eq!(answer.refusal(), (401, Some(-32600)), "{request}");
        let wanted = format!(r#"Bearer resource_metadata="{METADATA}", scope="base mcp""#);
        assert_eq!(answer.field("www-authenticate"), Some(wanted.as_str()));
        assert!(answer.json().get("id").is_none());
    }
    let count = f64::from(u8::try_from(requests.len()).expect("few"));
    node.until("refused_token_missing", |now| now == before + count);
    // The session that the refusals named is still there.
    let ping = in_session(&session, "ping", json!({}));
    assert_eq!(client.ask(with(&token, &ping)).status, 200);
}

/// The attack on libraries that let the token choose: the public key as a shared secret.
fn by_shared_secret(key: &Key, secret: &[u8]) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": key.header()["kid"]});
    let message = message(&header, &claims("me", ""));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

fn changed(key: &Key, name: &str, value: Value) -> String {
    let mut claims = claims("me", "");
    claims[name] = value;
    key.sign(&key.header(), &claims)
}

fn without(key: &Key, name: &str) -> String {
    let mut claims = claims("me", "");
    claims.as_object_mut().expect("an object").remove(name);
    key.sign(&key.header(), &claims)
}

fn headed(key: &Key, name: &str, value: Value) -> String {
    let mut header = key.header();
    header[name] = value;
    key.sign(&header, &claims("me", ""))
}

/// Tokens whose claims are not good here, and what is wrong with them.
fn bad_claims(key: &Key) -> Vec<(String, &'static str)> {
    let changed = |name, value| changed(key, name, value);
    vec![
        (
            changed("aud", json!("https://other.example/mcp")),
            "audience",
        ),
        (changed("aud", json!(format!("{AUDIENCE}/"))), "audience"),
        (changed("aud", json!(["a", "b"])), "audience"),
        (changed("aud", json!([])), "audience"),
        (changed("aud", json!(7)), "audience"),
        (without(key, "aud"), "audience"),
        (changed("iss", json!("https://evil.example")), "issuer"),
        (changed("iss", json!(format!("{ISSUER}/"))), "issuer"),
        (without(key, "iss"), "issuer"),
        (changed("exp", json!(now_s() - 10)), "expired"),
        (changed("nbf", json!(now_s() + 100)), "not_yet_valid"),
        (changed("nbf", json!("later")), "unknown"),
        (changed("exp", json!("never")), "unknown"),
        (without(key, "exp"), "unknown"),
        (without(key, "sub"), "unknown"),
        (changed("cnf", json!({"jkt": "x"})), "unknown"),
    ]
}

/// Tokens that this key did not sign, or not as tokens are signed.
fn bad_signatures(key: &Key) -> Vec<(String, &'static str)> {
    let good = key.token("me", "");
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let unsigned = message(&json!({"alg": "none", "typ": "JWT"}), &claims("me", ""));
    let other_body = BASE64.encode(claims("you", "").to_string());
    let jwk = key.jwk().to_string();
    vec![
        (format!("{unsigned}."), "unknown"),
        (format!("{unsigned}.AA"), "unknown"),
        (by_shared_secret(key, key.public()), "signature"),
        (by_shared_secret(key, jwk.as_bytes()), "signature"),
        (headed(key, "alg", json!("ES384")), "unknown_key"),
        (headed(key, "alg", json!("RS256")), "unknown_key"),
        (headed(key, "kid", json!("other")), "unknown_key"),
        (headed(key, "typ", json!("logout+jwt")), "unknown"),
        (headed(key, "crit", json!(["b64"])), "unknown"),
        (Key::new("k").token("me", ""), "signature"),
        (format!("{head}.{other_body}.{signature}"), "signature"),
        (format!("{head}.{body}."), "signature"),
        (format!("{head}.{body}"), "unknown"),
        (format!("{good}.x"), "unknown"),
        ("x".repeat(9000), "unknown"),
    ]
}

#[test]
fn only_a_token_for_this_server_is_good() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let mut client = node.connect();
    for (token, reason) in bad_claims(&key).into_iter().chain(bad_signatures(&key)) {
        let counter = format!("refused_token_{reason}");
        let before = node.metric(&counter);
        let answer = client.ask(with(&token, &echo("x")));
        assert_eq!(answer.status, 401, "{reason} {token} {answer:?}");
        let challenge = answer.field("www-authenticate").expect("a challenge");
        let start = format!(r#"Bearer resource_metadata="{METADATA}", error="invalid_token""#);
        assert!(challenge.starts_with(&start), "{challenge}");
        assert!(
            !format!("{answer:?}").contains(&token),
            "the token comes back"
        );
        node.until(&counter, |now| now == before + 1.0);
    }
    let good = key.token("me", "");
    for token in [
        good.clone(),
        changed(&key, "aud", json!(["x", AUDIENCE])),
        changed(&key, "nbf", json!(now_s() - 1)),
        headed(&key, "typ", json!("JWT")),
        headed(&key, "kid", Value::Null),
    ] {
        assert_eq!(
            client.ask(with(&token, &echo("x"))).result_text(),
            "x",
            "{token}"
        );
    }
    let (_, signature) = good.rsplit_once('.').expect("a signature");
    let log = crate::local::log();
    assert!(
        log.contains("admitted") && !log.contains(signature),
        "a token is in the log"
    );
}

#[test]
fn what_names_its_token_as_none_may_is_malformed() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let token = key.token("me", "");
    let field = |value: &str| with_field(&format!("Authorization: {value}"), &echo("x"));
    let good = with(&token, &echo("x"));
    for request in [
        field("Bearer"),
        field("Bearer "),
        field(&format!("Bearer {token} {token}")),
        field(&format!("Bearer {token}, Basic eDp5")),
        field(&format!("Bearer \"{token}\"")),
        with_field("authorization: Basic eDp5", &good),
        with(&token, &good),
        good.replacen("/mcp ", &format!("/mcp?access_token={token} "), 1),
        echo("x").replacen("/mcp ", &format!("/mcp?a=b&access_token={token} "), 1),
    ] {
        let before = node.metric("refused_token_malformed");
        let answer = node.ask(&request);
        assert_eq!(answer.refusal(), (400, Some(-32600)), "{request}");
        let challenge = answer.field("www-authenticate").expect("a challenge");
        assert!(
            challenge.contains(r#"error="invalid_request""#),
            "{challenge}"
        );
        node.until("refused_token_malformed", |now| now == before + 1.0);
    }
    // Another scheme is no token at all; the name of ours is good in any case.
    for value in ["Basic eDp5", "Digest x", "bearerx y", &token] {
        assert_eq!(node.ask(field(value)).status, 401, "{value}");
    }
    for value in [format!("bearer {token}"), format!("BEARER   {token}")] {
        assert_eq!(node.ask(field(&value)).result_text(), "x", "{value}");
    }
}

#[test]
fn a_token_is_good_for_its_time_however_often_it_was_good() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let token = changed(&key, "exp", json!(now_s() + 5));
    let mut client = node.connect();
    assert_eq!(client.ask(with(&token, &echo("x"))).result_text(), "x");
    let mut status = 200;
    eventually(|| {
        status = client
            .ask(with(&token, &call("echo", json!({"text": "x"}))))
            .status;
        status != 200
    })
    .expect("it expires");
    assert_eq!(status, 401);
    node.until("refused_token_expired", |now| now > 0.0);
}

#[test]
fn metadata_is_published_where_clients_look() {
    let key = Key::new("k");
    let node = node_of(&key, |it| {
        it.require_always("mcp").implies("admin", ["mcp"])
    });
    let ask = |verb: &str, path: &str, host: &str| {
        node.ask(format!("{verb} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    for path in [WELL_KNOWN.to_owned(), format!("{WELL_KNOWN}/mcp")] {
        let answer = ask("GET", &path, "localhost");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let wanted = json!({"resource": AUDIENCE, "authorization_servers": [ISSUER],
            "scopes_supported": ["admin", "mcp"], "bearer_methods_supported": ["header"],
            "resource_name": "test"});
        assert_eq!(answer.json(), wanted);
        let refused = ask("POST", &path, "localhost");
        assert_eq!(
            (refused.status, refused.field("allow")),
            (405, Some("GET, HEAD"))
        );
        assert_eq!(ask("GET", &path, "evil.example").status, 403);
    }
    for path in [
        format!("{WELL_KNOWN}/other"),
        "/.well-known/openid-configuration".to_owned(),
    ] {
        assert_eq!(ask("GET", &path, "localhost").status, 404);
    }
    let open = crate::local::Local::start();
    let request = format!("GET {WELL_KNOWN} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        open.ask(request).status,
        404,
        "a node that asks for no token"
    );
}

#[test]
fn nothing_is_served_where_no_token_could_be_asked_for() {
    let key = Key::new("k");
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), issuer::set(&[&key])).expect("a file that can be written");
    let server = || {
        let authorization = oauth().keys_file(keys.path());
        let server = features(Limits::default()).authorize(authorization).build();
        server.unwrap_or_else(|error| panic!("{error}"))
    };
    type Ask = fn(&mut NodeConfig);
    let asks: [(&str, Ask); 3] = [
        ("--listen-lines", |it| it.lines = Some(it.listen)),
        ("--listen-unix", |it| it.unix = Some("socket".into())),
        ("--sse-2024", |it| it.sse_2024 = true),
    ];
    for (flag, ask) in asks {
        let mut config = NodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            admin: None,
            ..NodeConfig::default()
        };
        ask(&mut config);
        let error = Node::start(server(), &config).map(drop).unwrap_err();
        assert!(error.to_string().contains(flag), "{error}");
    }
    let error = Stdio::start(server(), &StdioConfig::default()).map(drop);
    assert!(error.unwrap_err().to_string().contains("--stdio"));
}
