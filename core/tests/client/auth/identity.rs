//! Who a client is to an authorization server, and where its browser may come back to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ninefold::client::{Auth, AuthError, FileStore};
use serde_json::json;

use super::world::{World, answer, ok, refusal, signing_in};

const DOCUMENT: &str = "https://client.example/metadata.json";

/// A world whose authorization server reads the documents of clients, if `taken`.
fn reading(taken: bool) -> World {
    World::bent(move |world, asked| {
        (asked.path == "/.well-known/oauth-authorization-server").then(|| {
            let mut issuer = world.issuer();
            issuer["client_id_metadata_document_supported"] = taken.into();
            ok(&issuer)
        })
    })
}

#[test]
// [mcp:auth-registration] [mcp:auth-client-document]
fn an_id_given_by_hand_comes_first_then_the_document_then_a_registration() {
    let with_document = |auth: Auth| auth.client_metadata_url(DOCUMENT).expect("a URL");
    for (taken, by_hand, wanted, registrations) in [
        (true, true, "mine", 0),
        (true, false, DOCUMENT, 0),
        (false, false, "registered", 1),
    ] {
        let world = reading(taken);
        let mut auth = with_document(world.auth());
        if by_hand {
            auth = auth.client_id("mine");
        }
        world.connect(auth).expect("access").close();
        let id = world.asked("/token")[0].form("client_id");
        assert_eq!(id.as_deref(), Some(wanted));
        assert_eq!(world.asked("/register").len(), registrations, "{wanted}");
    }
}

#[test]
// [mcp:auth-client-document]
fn a_metadata_document_lies_at_an_https_url_with_a_path() {
    for bad in [
        "http://client.example/metadata.json",
        "https://client.example",
        "https://client.example/",
        "https://client.example/metadata.json#x",
        "https://user@client.example/metadata.json",
        "metadata.json",
        "",
    ] {
        let refused = Auth::new("test").client_metadata_url(bad).err();
        let is_told = matches!(&refused, Some(AuthError::Option(why)) if why.contains("https"));
        assert!(is_told, "{bad}: {refused:?}");
    }
}

#[test]
// [mcp:auth-registration]
fn another_authorization_server_gets_nothing_of_what_the_first_one_gave() {
    let moved = Arc::new(AtomicBool::new(false));
    let now = moved.clone();
    let name = |moved: &AtomicBool| match moved.load(Ordering::SeqCst) {
        true => "two",
        false => "one",
    };
    let world = World::bent(move |world, asked| {
        let issuer = format!("{}/{}", world.base, name(&now));
        match asked.path.as_str() {
            "/.well-known/oauth-protected-resource/mcp" => Some(ok(
                &json!({"resource": world.url(), "authorization_servers": [issuer]}),
            )),
            it if it.starts_with("/.well-known/oauth-authorization-server/") => {
                let mut metadata = world.issuer();
                metadata["issuer"] = issuer.into();
                Some(ok(&metadata))
            }
            "/register" => {
                let id = format!("client-of-{}", name(&now));
                Some(answer("201 Created", "", &json!({"client_id": id})))
            }
            "/mcp" if now.load(Ordering::SeqCst) && asked.token() == Some("token-1") => {
                Some(refusal("401 Unauthorized", "error=\"invalid_token\""))
            }
            _ => None,
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let connect = || {
        let issuer = format!("{}/{}", world.base, name(&moved));
        let auth = signing_in(move |state| format!("code=c&state={state}&iss={issuer}"));
        let store = FileStore::new(folder.path().join("credentials.json"));
        world.connect(auth.store(store)).expect("access").close();
    };
    connect();
    moved.store(true, Ordering::SeqCst);
    connect();
    let tokens = world.asked("/token");
    let ids: Vec<_> = tokens.iter().map(|it| it.form("client_id")).collect();
    let wanted = ["client-of-one", "client-of-two"].map(|it| Some(it.to_owned()));
    assert_eq!(ids, wanted);
    assert!(!tokens[1].body.contains("refresh"), "{}", tokens[1].body);
}

#[test]
// [mcp:auth-https]
fn a_browser_comes_back_over_https_or_to_this_host() {
    let connect = |back: &'static str| {
        let world = World::good();
        let auth = Auth::new("test").sign_in_by(back, |_| {
            std::future::ready(Err("the page was shown".to_owned()))
        });
        (world.refused(auth), world)
    };
    for bad in [
        "http://client.example/callback",
        "http://192.0.2.1/callback",
        "ftp://localhost/callback",
        "com.example:/callback",
        "/callback",
        "",
    ] {
        let (error, world) = connect(bad);
        let is_told = matches!(&error, AuthError::Option(why) if why.contains("https"));
        assert!(is_told, "{bad}: {error:?}");
        assert!(world.asked("/register").is_empty(), "{bad}");
    }
    for good in [
        "https://client.example/callback",
        "http://localhost:7/callback",
        "http://127.0.0.1:7/callback",
        "http://[::1]:7/callback",
    ] {
        let (error, _) = connect(good);
        assert_eq!(
            error,
            AuthError::SignIn("the page was shown".to_owned()),
            "{good}"
        );
    }
}
