//! How a token is got, used and renewed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ninefold::client::{AuthError, Client, ClientError, Grant};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::world::{BACK, World, answer, ok, pair, refusal, signing_in};

async fn calls(client: &Client, count: usize) {
    for _ in 0..count {
        client.call("any", json!({})).await.expect("a result");
    }
}

#[test]
// [mcp:auth-registration] [mcp:auth-resource] [mcp:auth-bearer] [mcp:auth-pkce]
fn a_person_signs_in_once_and_the_token_goes_to_the_server_only() {
    let world = World::good();
    let visited = Arc::new(Mutex::new(String::new()));
    let (base, seen) = (world.base.clone(), visited.clone());
    let auth = ninefold::client::Auth::new("test").sign_in_by(BACK, move |url| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = url.clone();
        let state = pair(url.split_once('?').expect("a query").1, "state").expect("a state");
        std::future::ready(Ok(format!("{BACK}?code=the-code&state={state}&iss={base}")))
    });
    let client = world.connect(auth).expect("access");
    client.run(async |client| calls(client, 2).await);
    let url = visited
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let query = url
        .strip_prefix(&format!("{}/authorize?", world.base))
        .expect("the page");
    let token = &world.asked("/token")[..];
    let [token] = token else {
        panic!("{token:?}");
    };
    assert_eq!(
        token.form("grant_type").as_deref(),
        Some("authorization_code")
    );
    assert_eq!(token.form("code").as_deref(), Some("the-code"));
    for name in ["client_id", "redirect_uri", "resource"] {
        assert_eq!(token.form(name), pair(query, name), "{name}");
    }
    assert_eq!(token.form("resource"), Some(world.url()));
    let verifier = token.form("code_verifier").expect("a verifier");
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    assert_eq!(pair(query, "code_challenge"), Some(challenge));
    assert_eq!(
        pair(query, "code_challenge_method").as_deref(),
        Some("S256")
    );
    assert_eq!(pair(query, "scope").as_deref(), Some("basic"));
    let registered = &world.asked("/register")[0].body;
    assert!(
        registered.contains("\"application_type\":\"native\""),
        "{registered}"
    );
    let tokens: Vec<_> = world
        .asked("/mcp")
        .iter()
        .map(|it| it.token().map(str::to_owned))
        .collect();
    let one = Some("token-1".to_owned());
    assert_eq!(tokens, [None, one.clone(), one.clone(), one]);
    for path in [
        "/register",
        "/token",
        "/.well-known/oauth-authorization-server",
    ] {
        assert!(
            world.asked(path).iter().all(|it| it.token().is_none()),
            "{path}"
        );
    }
}

#[test]
// [mcp:auth-resource]
fn an_expired_token_is_refreshed_once_for_all_who_wait() {
    let world = World::bent(|_, asked| {
        (asked.path == "/mcp" && asked.token() == Some("token-1") && asked.body.contains("tools/"))
            .then(|| refusal("401 Unauthorized", "error=\"invalid_token\""))
    });
    let client = world.connect(world.auth()).expect("access");
    client.run(async |client| {
        let four = tokio::join!(
            client.call("a", json!({})),
            client.call("b", json!({})),
            client.call("c", json!({})),
            client.call("d", json!({})),
        );
        for one in [four.0, four.1, four.2, four.3] {
            one.expect("a result");
        }
        calls(client, 2).await;
    });
    let grants: Vec<_> = world
        .asked("/token")
        .iter()
        .map(|it| it.form("grant_type"))
        .collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        grants,
        [named("authorization_code"), named("refresh_token")]
    );
    let refresh = &world.asked("/token")[1];
    assert_eq!(refresh.form("refresh_token").as_deref(), Some("refresh-1"));
    assert_eq!(refresh.form("resource"), Some(world.url()));
}

#[test]
fn a_token_that_is_known_to_be_over_is_not_sent_again() {
    let world = World::bent(|world, asked| {
        (asked.path == "/token").then(|| {
            let n = world.asked("/token").len();
            ok(
                &json!({"access_token": format!("token-{n}"), "token_type": "bearer",
                "expires_in": if n == 1 { 0 } else { 3600 }, "refresh_token": "r"}),
            )
        })
    });
    let client = world.connect(world.auth()).expect("access");
    client.run(async |client| calls(client, 2).await);
    let sent = world
        .asked("/mcp")
        .iter()
        .filter(|it| it.token() == Some("token-1"))
        .count();
    assert_eq!((sent, world.asked("/token").len()), (0, 2));
}

#[test]
fn metadata_that_has_moved_is_looked_for_where_it_is_by_default() {
    let world = World::bent(|world, asked| match asked.path.as_str() {
        "/told" if world.asked("/told").len() == 1 => Some(ok(&world.resource())),
        "/mcp" if asked.token().is_none() => {
            let told = format!("resource_metadata=\"{}/told\"", world.base);
            Some(refusal("401 Unauthorized", &told))
        }
        "/token" => {
            let n = world.asked("/token").len();
            let token = json!({"access_token": format!("token-{n}"), "token_type": "bearer",
                "expires_in": if n == 1 { 0 } else { 3600 }, "refresh_token": "r"});
            Some(ok(&token))
        }
        _ => None,
    });
    let client = world.connect(world.auth()).expect("access");
    client.run(async |client| calls(client, 1).await);
    let asked = [world.asked("/told").len(), world.asked("/token").len()];
    assert_eq!(asked, [2, 2]);
}

#[test]
fn a_renewal_before_its_time_that_fails_fails_no_request() {
    let world = World::bent(|world, asked| {
        (asked.path == "/token").then(|| match world.asked("/token").len() {
            1 => ok(
                &json!({"access_token": "held", "token_type": "bearer", "expires_in": 0,
                "refresh_token": "r"}),
            ),
            _ => answer("503 Service Unavailable", "", &json!({})),
        })
    });
    let client = world.connect(world.auth()).expect("access");
    client.run(async |client| calls(client, 1).await);
    assert!(world.asked("/token").len() > 1);
    let last = world.asked("/mcp").pop().expect("a call");
    assert_eq!(last.token(), Some("held"));
}

#[test]
// [mcp:auth-storage]
fn nobody_signs_in_again_before_the_server_has_refused() {
    let world = World::bent(|_, asked| {
        let token = json!({"access_token": "short", "token_type": "Bearer", "expires_in": 0});
        (asked.path == "/token").then(|| ok(&token))
    });
    let client = world.connect(world.auth()).expect("access");
    client.run(async |client| calls(client, 2).await);
    assert_eq!(world.asked("/token").len(), 1);
}

#[test]
fn more_scopes_are_asked_for_on_top_of_the_earlier_ones() {
    let visits = Arc::new(Mutex::new(Vec::new()));
    let world = World::bent(|_, asked| {
        let call = asked.path == "/mcp" && asked.body.contains("tools/call");
        (call && asked.token() == Some("token-1")).then(|| {
            refusal(
                "403 Forbidden",
                "error=\"insufficient_scope\", scope=\"write\"",
            )
        })
    });
    let (base, seen) = (world.base.clone(), visits.clone());
    let auth = ninefold::client::Auth::new("test").sign_in_by(BACK, move |url| {
        let query = url.split_once('?').expect("a query").1.to_owned();
        let state = pair(&query, "state").expect("a state");
        let scope = pair(&query, "scope").unwrap_or_default();
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(scope);
        std::future::ready(Ok(format!("{BACK}?code=c&state={state}&iss={base}")))
    });
    let client = world.connect(auth).expect("access");
    client.run(async |client| calls(client, 2).await);
    let visits = visits
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    assert_eq!(visits, ["basic", "basic write"]);
}

#[test]
fn endless_refusals_have_an_end() {
    for (status, challenge) in [
        ("401 Unauthorized", "error=\"invalid_token\""),
        (
            "403 Forbidden",
            "error=\"insufficient_scope\", scope=\"more\"",
        ),
        ("403 Forbidden", "error=\"insufficient_scope\""),
    ] {
        let world =
            World::bent(move |_, asked| (asked.path == "/mcp").then(|| refusal(status, challenge)));
        let visits = Arc::new(AtomicUsize::new(0));
        let (base, seen) = (world.base.clone(), visits.clone());
        let auth = signing_in(move |state| {
            seen.fetch_add(1, Ordering::Relaxed);
            format!("code=c&state={state}&iss={base}")
        });
        let error = world.connect(auth).err().expect("no access");
        let known = matches!(
            error,
            ClientError::Unauthorized { .. } | ClientError::Auth(AuthError::StillRefused(_))
        );
        assert!(known, "{challenge}: {error:?}");
        let (visits, sent) = (visits.load(Ordering::Relaxed), world.asked("/mcp").len());
        assert!(
            (1..=2).contains(&visits) && sent <= 3,
            "{challenge}: {visits}, {sent}"
        );
    }
}

#[test]
fn a_refusal_that_is_not_about_the_token_asks_nobody() {
    let world = World::bent(|_, asked| {
        (asked.path == "/mcp").then(|| answer("403 Forbidden", "", &json!({})))
    });
    let error = world.connect(world.auth()).err().expect("no access");
    assert!(
        matches!(error, ClientError::Unauthorized { status: 403, .. }),
        "{error:?}"
    );
    assert!(world.asked("/token").is_empty());
}

#[test]
fn a_client_gets_a_token_for_itself_in_the_way_that_is_taken() {
    for (method, basic) in [("client_secret_basic", true), ("client_secret_post", false)] {
        let world = World::bent(move |world, asked| {
            (asked.path == "/.well-known/oauth-authorization-server").then(|| {
                let mut issuer = world.issuer();
                issuer["token_endpoint_auth_methods_supported"] = json!([method]);
                // Codes are not what it gives.
                issuer["code_challenge_methods_supported"] = json!([]);
                ok(&issuer)
            })
        });
        let auth = ninefold::client::Auth::new("test").grant(Grant::Client);
        let client = world.connect(auth.client_id("an id").client_secret("s&cret"));
        client
            .expect("access")
            .run(async |client| calls(client, 1).await);
        let token = &world.asked("/token")[0];
        assert_eq!(
            token.form("grant_type").as_deref(),
            Some("client_credentials")
        );
        assert_eq!(token.form("scope").as_deref(), Some("basic"));
        let header = token.fields.get("authorization").cloned();
        // Both halves are encoded before they are joined (RFC 6749, section 2.3.1).
        let wanted = format!("Basic {}", STANDARD.encode("an+id:s%26cret"));
        assert_eq!(header, basic.then_some(wanted));
        let secret = token.form("client_secret");
        assert_eq!(secret.as_deref(), (!basic).then_some("s&cret"));
    }
}
