//! Where keys come from, when they change, and when they do not come.

use std::fs::{Permissions, set_permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ninefold::Server;
use ninefold::auth::{Authorization, Feature};
use ninefold::limits::Limits;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::issuer::{Key, Says, Site, set};
use super::{features, node, oauth, with};
use crate::client::{call, echo};
use crate::local::Local;
use crate::process::{BINARY, ON_FREE_PORTS, Process, run};
use crate::target::eventually;

fn status(node: &Local, token: &str) -> u16 {
    node.ask(with(token, &echo("x"))).status
}

#[test]
fn a_new_key_is_found_and_an_old_one_is_forgotten() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let site = Site::start(Says::Document(set(&[&old])));
    let node = node(oauth().keys_url(site.url()), |limits| {
        limits.jwks_refresh_min_ms = 100;
        limits.jwks_wait_ms = 20_000;
    });
    let before = old.token("me", "");
    eventually(|| status(&node, &before) == 200).expect("keys have come");
    site.say(Says::Document(set(&[&new])));
    let token = new.token("me", "");
    // The first request after the interval brings the key, and waits for it.
    eventually(|| status(&node, &token) == 200).expect("the new key is found");
    // Tokens that were remembered as good are judged by the new keys.
    assert_eq!(status(&node, &before), 401);
}

#[test]
fn unknown_keys_cause_one_fetch_in_an_interval() {
    let (key, unknown) = (Key::new("k"), Key::new("unknown"));
    let site = Site::start(Says::Document(set(&[&key])));
    let node = node(oauth().keys_url(site.url()), |limits| {
        limits.jwks_fetch_ms = 60_000;
        limits.jwks_refresh_min_ms = 3_600_000;
    });
    let good = key.token("me", "");
    eventually(|| status(&node, &good) == 200).expect("keys have come");
    for n in 0..50 {
        assert_eq!(status(&node, &unknown.token(&n.to_string(), "")), 401);
    }
    assert_eq!(site.asked(), 1);
    assert!(node.metric("refused_token_unknown_key") >= 50.0);
}

#[test]
fn an_issuer_that_is_away_is_no_fault_of_the_token() {
    let key = Key::new("k");
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address");
    drop(holder);
    let url = format!("http://{address}/jwks");
    let node = node(oauth().keys_url(url), |limits| {
        limits.jwks_refresh_ms = 100;
        limits.jwks_refresh_min_ms = 100;
    });
    let token = key.token("me", "");
    let answer = node.ask(with(&token, &echo("x")));
    assert_eq!(answer.refusal(), (503, Some(-32000)));
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(answer.field("www-authenticate"), None);
    assert!(node.metric("refused_token_no_keys") > 0.0);
    let listener = TcpListener::bind(address).expect("the port again");
    let site = Site::on(listener, Says::Document(set(&[&key])));
    eventually(|| status(&node, &token) == 200).expect("its keys come");
    // Away again, in each of these ways: what came stays good.
    for says in [
        Says::Status(500),
        Says::Endless,
        Says::Document("{}".to_owned()),
    ] {
        site.say(says);
        let before = site.asked();
        eventually(|| site.asked() > before + 2).expect("it is asked again and again");
        assert_eq!(status(&node, &key.token("another", "")), 200);
    }
}

#[test]
fn keys_without_an_end_or_an_answer_hold_nobody_up() {
    let key = Key::new("k");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keys.toml");
    write_keys(&path, &[("robot", "api-key-of-the-robot")]);
    for says in [Says::Nothing, Says::Endless] {
        let site = Site::start(says);
        let authorization = oauth().keys_url(site.url()).api_keys(&path);
        let node = node(authorization, |limits| {
            limits.jwks_fetch_ms = 200;
            limits.jwks_refresh_min_ms = 100;
            limits.jwks_wait_ms = 20_000;
        });
        let mut waits = node.connect();
        waits.send(with(&key.token("me", ""), &echo("x")));
        for _ in 0..20 {
            assert_eq!(status(&node, "api-key-of-the-robot"), 200);
        }
        assert_eq!(waits.answer().status, 503);
        site.say(Says::Document(set(&[&key])));
        eventually(|| status(&node, &key.token("me", "")) == 200).expect("its keys come");
    }
}

fn write_keys(path: &Path, keys: &[(&str, &str)]) {
    write_keys_as(0o600, path, keys);
}

fn write_keys_as(mode: u32, path: &Path, keys: &[(&str, &str)]) {
    let entry = |(subject, key): &(&str, &str)| {
        let digest: String = (Sha256::digest(key).iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("[[key]]\nsubject = \"{subject}\"\nsha256 = \"{digest}\"\nscopes = [\"a\"]\n")
    };
    let text: String = keys.iter().map(entry).collect();
    // As an editor does it: a new file takes the place of the old one.
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a file");
    set_permissions(&new, Permissions::from_mode(mode)).expect("a mode");
    std::fs::rename(&new, path).expect("a file in its place");
}

#[test]
fn an_api_key_is_good_until_it_is_gone_from_its_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keys.toml");
    write_keys(&path, &[("first", "key-1"), ("second", "key-2")]);
    let shaped = Authorization::new().api_keys(&path);
    let node = node(shaped.require(Feature::Tool, "hash", ["b"]), |_| {});
    let who = |key: &str| node.ask(with(key, &call("who", json!({}))));
    assert_eq!(who("key-1").result_text(), "first a");
    assert_eq!(who("key-2").result_text(), "second a");
    for wrong in ["key-3", "key-", "key-11", "KEY-1", "a.b.c"] {
        let answer = who(wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        let challenge = answer.field("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with(r#"Bearer realm="test", error="invalid_token""#));
    }
    let hash = call("hash", json!({"text": "x", "rounds": 1}));
    let refused = node.ask(with("key-1", &hash));
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .field("www-authenticate")
            .is_some_and(|it| it.contains(r#"scope="b""#))
    );
    write_keys(&path, &[("second", "key-2"), ("third", "key-3")]);
    eventually(|| who("key-1").status == 401).expect("it is withdrawn");
    assert_eq!(who("key-2").result_text(), "second a");
    assert_eq!(who("key-3").result_text(), "third a");
    // A file that is no good any more withdraws nothing and adds nothing.
    write_keys_as(0o644, &path, &[("fourth", "key-4")]);
    eventually(|| crate::local::log().contains("its mode is 644")).expect("it is said");
    assert_eq!((who("key-2").status, who("key-4").status), (200, 401));
    set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    eventually(|| who("key-4").status == 200).expect("it is read again");
}

#[test]
fn a_file_that_others_may_write_or_strangers_may_read_stops_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keys.toml");
    write_keys(&path, &[("a", "key")]);
    let build = |path: &Path| {
        let authorization = Authorization::new().api_keys(path);
        let built: Result<Server, _> = features(Limits::default()).authorize(authorization).build();
        built.err().map(|error| error.to_string())
    };
    for mode in [0o644, 0o620, 0o602, 0o666, 0o604] {
        set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        let why = build(&path).unwrap_or_else(|| panic!("{mode:o} was taken"));
        assert!(
            why.contains(&format!("{mode:o}")) && why.contains("chmod 600"),
            "{why}"
        );
    }
    for mode in [0o600, 0o400, 0o640] {
        set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        assert_eq!(build(&path), None, "{mode:o}");
    }
    let folder = build(dir.path()).expect("a folder is no file");
    assert!(folder.contains("regular file"), "{folder}");
    assert!(build(&dir.path().join("none")).is_some());
}

#[test]
fn the_flags_of_the_node_say_who_may_use_it() {
    let (key, dir) = (Key::new("k"), tempfile::tempdir().expect("a folder"));
    let (keys, jwks) = (dir.path().join("keys.toml"), dir.path().join("jwks.json"));
    write_keys(&keys, &[("robot", "api-key")]);
    std::fs::write(&jwks, set(&[&key])).expect("a file");
    let text = |path: &Path| path.display().to_string();
    let (keys, jwks) = (text(&keys), text(&jwks));
    let flags = [
        "--shards",
        "1",
        "--auth-issuer",
        super::ISSUER,
        "--auth-audience",
        super::AUDIENCE,
        "--auth-jwks-file",
        &jwks,
        "--auth-keys-file",
        &keys,
        "--auth-scope",
        "a",
        "--require-scope",
        "hash=compute,slow",
        "--scope-implies",
        "admin=a,compute,slow",
    ];
    let node = Process::serve(&flags);
    let hash = call("hash", json!({"text": "x", "rounds": 1}));
    let ask = |token: &str, request: &str| node.ask(with(token, request)).status;
    assert_eq!(node.ask(echo("x")).status, 401);
    assert_eq!(ask("api-key", &echo("x")), 200);
    assert_eq!(ask("api-key", &hash), 403);
    assert_eq!(ask(&key.token("me", "admin"), &hash), 200);
    for (flags, code, words) in [
        (
            &["--auth-jwks-url", "https://x/"][..],
            2,
            &["--auth-issuer"][..],
        ),
        (&["--auth-issuer", super::ISSUER], 2, &["--auth-audience"]),
        (
            &["--require-scope", "hash"],
            2,
            &["--require-scope", "NAME=SCOPE"],
        ),
        (&["--auth-scope", "a"], 1, &["nobody could come in"]),
        (&["--auth-keys-file", "none"], 1, &["none", "No such file"]),
        (
            &["--auth-keys-file", &keys, "--require-scope", "hush=a"],
            1,
            &["\"hush\"", "*"],
        ),
        (
            &["--auth-keys-file", &keys, "--auth-algorithm", "none"],
            1,
            &["\"none\"", "ES256"],
        ),
    ] {
        let ended = run(Command::new(BINARY).args(ON_FREE_PORTS).args(flags));
        assert_eq!(ended.code, Some(code), "{flags:?} {}", ended.stderr);
        for word in words {
            assert!(
                ended.stderr.contains(word),
                "{word:?} is not in {}",
                ended.stderr
            );
        }
    }
}
