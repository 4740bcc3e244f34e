//! Servers and authorization servers that lie: no token is asked for, and none is sent.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use ninefold::client::{Auth, AuthError, Grant};
use serde_json::{Value, json};

use super::world::{World, answer, ok, refusal, signing_in};

/// A world in which one member of one metadata document is another.
fn with(path: &'static str, name: &'static str, value: Value) -> World {
    World::bent(move |world, asked| {
        (asked.path == path).then(|| {
            let mut document = match path {
                ISSUER => world.issuer(),
                _ => world.resource(),
            };
            document[name] = value.clone();
            ok(&document)
        })
    })
}

const ISSUER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";

/// Nothing was told to anybody: no registration, no code, no token.
fn told_nothing(world: &World) {
    for path in ["/register", "/token"] {
        assert!(
            world.asked(path).is_empty(),
            "{path}: {:?}",
            world.asked(path)
        );
    }
}

#[test]
// [mcp:auth-issuer]
fn metadata_of_somebody_else_is_not_followed() {
    let world = with(RESOURCE, "resource", json!("https://evil.example/mcp"));
    let error = world.refused(world.auth());
    assert!(matches!(error, AuthError::Resource { .. }), "{error:?}");
    told_nothing(&world);
    let world = with(ISSUER, "issuer", json!("https://evil.example"));
    let error = world.refused(world.auth());
    assert!(matches!(error, AuthError::Issuer { .. }), "{error:?}");
    told_nothing(&world);
    // A slash more is another one already.
    let world = World::bent(|world, asked| {
        let mut issuer = world.issuer();
        issuer["issuer"] = format!("{}/", world.base).into();
        (asked.path == ISSUER).then(|| ok(&issuer))
    });
    let error = world.refused(world.auth());
    assert!(matches!(error, AuthError::Issuer { .. }), "{error:?}");
    told_nothing(&world);
}

#[test]
// [mcp:auth-pkce]
fn an_authorization_server_without_s256_gets_no_sign_in() {
    for methods in [Value::Null, json!([]), json!(["plain"]), json!("S256")] {
        let world = with(ISSUER, "code_challenge_methods_supported", methods);
        let error = world.refused(world.auth());
        assert!(matches!(error, AuthError::NoPkce(_)), "{error:?}");
        told_nothing(&world);
    }
}

#[test]
fn unsafe_places_are_not_gone_to() {
    for bad in [
        "http://192.0.2.1/",
        "ftp://127.0.0.1",
        "javascript:alert(1)",
        "https://u@h/",
        "",
    ] {
        for (path, name, value) in [
            (RESOURCE, "authorization_servers", json!([bad])),
            (ISSUER, "registration_endpoint", json!(bad)),
            (ISSUER, "authorization_endpoint", json!(bad)),
            (ISSUER, "token_endpoint", json!(bad)),
        ] {
            let world = with(path, name, value);
            let error = world.refused(world.auth());
            assert!(
                matches!(error, AuthError::Url { .. }),
                "{name} {bad}: {error:?}"
            );
            assert!(world.asked("/token").is_empty());
        }
    }
}

#[test]
fn redirections_are_not_followed() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    other.set_nonblocking(true).expect("a mode");
    let to = other.local_addr().expect("an address");
    for path in [RESOURCE, ISSUER, "/register", "/token"] {
        let world = World::bent(move |_, asked| {
            let line = format!("Location: http://{to}/\r\n");
            (asked.path == path).then(|| answer("307 Temporary Redirect", &line, &json!({})))
        });
        // Where nobody has said that something is, a redirection says only that it is not there:
        // what is wanted is looked for at the next place, here that of the earlier protocol.
        if path == RESOURCE {
            assert!(world.connect(world.auth()).is_ok());
            continue;
        }
        let error = world.refused(world.auth()).to_string();
        let wanted = match path {
            ISSUER => "no metadata of an authorization server",
            _ => "redirects are not followed",
        };
        assert!(error.contains(wanted), "{path}: {error}");
    }
    let world = World::bent(move |world, asked| {
        let line = format!("Location: http://{to}/\r\n");
        let told = format!("resource_metadata=\"{}/told\"", world.base);
        match asked.path.as_str() {
            "/mcp" => Some(refusal("401 Unauthorized", &told)),
            "/told" => Some(answer("302 Found", &line, &json!({}))),
            _ => None,
        }
    });
    let error = world.refused(world.auth()).to_string();
    assert!(error.contains("redirects are not followed"), "{error}");
    assert!(other.accept().is_err(), "somebody went there");
}

#[test]
fn what_is_endless_or_no_answer_is_told() {
    let huge = json!({"issuer": "x".repeat(20_000)});
    for path in [RESOURCE, ISSUER, "/register", "/token"] {
        let text = huge.clone();
        let world = World::bent(move |_, asked| (asked.path == path).then(|| ok(&text)));
        let error = world.refused(world.auth());
        assert!(
            error.to_string().contains("metadata_bytes"),
            "{path}: {error}"
        );
    }
    for body in [
        json!([]),
        json!({}),
        json!({"access_token": "a\nb", "token_type": "Bearer"}),
        json!({"access_token": "a", "token_type": "mac"}),
        json!({"access_token": "a"}),
    ] {
        let world = World::bent(move |_, asked| (asked.path == "/token").then(|| ok(&body)));
        let error = world.refused(world.auth());
        assert!(matches!(error, AuthError::Fetch { .. }), "{error:?}");
    }
}

#[test]
// [mcp:auth-issuer]
fn what_comes_back_must_be_of_this_sign_in_and_of_this_issuer() {
    let world = World::good();
    let base = world.base.clone();
    let cases: [(Auth, &str); 7] = [
        (signing_in(|_| "code=c&state=other".to_owned()), "State"),
        (signing_in(|_| "code=c".to_owned()), "State"),
        (signing_in(|state| format!("code=c&state={state}")), "Iss"),
        (
            signing_in(|state| format!("code=c&state={state}&iss=https://evil.example")),
            "Iss",
        ),
        (
            {
                let base = base.clone();
                signing_in(move |state| format!("code=c&state={state}&iss={base}/"))
            },
            "Iss",
        ),
        // An error that another one sends is not believed either.
        (
            signing_in(|state| format!("error=x&state={state}&iss=https://evil.example")),
            "Iss",
        ),
        (
            signing_in(move |state| format!("error=access_denied&state={state}&iss={base}")),
            "Refused",
        ),
    ];
    for (auth, wanted) in cases {
        let error = world.refused(auth);
        assert!(
            format!("{error:?}").starts_with(wanted),
            "{wanted}: {error:?}"
        );
    }
    assert!(world.asked("/token").is_empty());
}

#[test]
fn an_issuer_that_was_not_promised_is_compared_all_the_same() {
    let world = with(
        ISSUER,
        "authorization_response_iss_parameter_supported",
        Value::Null,
    );
    let error = world.refused(signing_in(|state| {
        format!("code=c&state={state}&iss=https://evil.example")
    }));
    assert!(matches!(error, AuthError::Iss { .. }), "{error:?}");
    let silent = signing_in(|state| format!("code=c&state={state}"));
    assert!(world.connect(silent).is_ok());
}

#[test]
// [mcp:auth-registration]
fn a_client_id_is_not_shown_to_another_authorization_server() {
    let world = World::good();
    let auth = world.auth().client_id("mine").issuer("https://as.example");
    let error = world.refused(auth);
    assert!(
        matches!(error, AuthError::IssuerChanged { .. }),
        "{error:?}"
    );
    told_nothing(&world);
}

#[test]
fn an_assertion_is_shown_to_the_authorization_server_it_is_for() {
    let world = World::good();
    let auth = || {
        let vouched = Grant::Assertion("vouched".to_owned());
        Auth::new("test").client_id("me").grant(vouched)
    };
    let error = world.refused(auth());
    assert!(error.to_string().contains("issuer"), "{error}");
    let error = world.refused(auth().issuer("https://as.example"));
    let wrong = matches!(error, AuthError::IssuerChanged { .. });
    assert!(wrong, "{error:?}");
    told_nothing(&world);
    assert!(world.connect(auth().issuer(&world.base)).is_ok());
    let sent = world.asked("/token")[0].form("assertion");
    assert_eq!(sent.as_deref(), Some("vouched"));
}

#[test]
fn an_identity_provider_must_give_what_was_asked_for() {
    const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
    for (kind, good) in [
        (json!(ID_JAG), true),
        (Value::Null, false),
        (
            json!("urn:ietf:params:oauth:token-type:access_token"),
            false,
        ),
    ] {
        let world = World::bent(move |_, asked| {
            let body = json!({"access_token": "jag", "token_type": "N_A",
                "issued_token_type": kind.clone()});
            (asked.path == "/idp").then(|| ok(&body))
        });
        let auth = Auth::new("test")
            .client_id("me")
            .grant(Grant::Organization {
                token_endpoint: format!("{}/idp", world.base),
                client_id: "there".to_owned(),
                id_token: "person".to_owned(),
            });
        assert_eq!(world.connect(auth).is_ok(), good);
        assert_eq!(world.asked("/token").len(), usize::from(good));
    }
}

#[test]
fn nobody_to_ask_is_told_at_once() {
    let world = World::good();
    let start = Instant::now();
    let error = world.refused(Auth::new("test"));
    assert!(matches!(error, AuthError::NoSignIn(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    let world = with(ISSUER, "registration_endpoint", Value::Null);
    let error = world.refused(world.auth());
    assert!(matches!(error, AuthError::NoClient(_)), "{error:?}");
}
