//! Where it is looked for who gives out tokens, and for what.

use std::sync::{Arc, Mutex, PoisonError};

use ninefold::client::{Auth, AuthError};
use serde_json::json;

use super::world::{BACK, World, answer, ok, pair, refusal, signing_in};

const ROOT: &str = "/.well-known/oauth-protected-resource";
const LAST: &str = "/tenant/.well-known/openid-configuration";

/// A world whose resource metadata is at `resource` only, and whose authorization server has a path
/// and its metadata at the last place; and all paths in the order in which they were asked.
fn hidden(
    resource: &'static str,
    challenge: impl Fn(&World) -> String + Send + Sync + 'static,
) -> (World, Arc<Mutex<Vec<String>>>) {
    let asked_for = Arc::<Mutex<Vec<String>>>::default();
    let order = asked_for.clone();
    let world = World::bent(move |world, asked| {
        let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
        order.push(asked.path.clone());
        let issuer = format!("{}/tenant", world.base);
        match asked.path.as_str() {
            it if it == resource => Some(ok(&json!({"resource": world.url(),
                "authorization_servers": [issuer], "scopes_supported": ["all", "needed"]}))),
            LAST => {
                let mut metadata = world.issuer();
                metadata["issuer"] = issuer.into();
                Some(ok(&metadata))
            }
            "/mcp" if asked.token().is_none() => {
                Some(refusal("401 Unauthorized", &challenge(world)))
            }
            "/mcp" | "/register" | "/token" => None,
            _ => Some(answer("404 Not Found", "", &json!({}))),
        }
    });
    (world, asked_for)
}

/// Signs in, and gives the scopes that were asked for.
fn scopes_asked(world: &World) -> Option<String> {
    let scopes = Arc::<Mutex<Option<String>>>::default();
    let (seen, issuer) = (scopes.clone(), format!("{}/tenant", world.base));
    let auth = Auth::new("test").sign_in_by(BACK, move |url| {
        let query = url.split_once('?').expect("a query").1;
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = pair(query, "scope");
        let state = pair(query, "state").expect("a state");
        std::future::ready(Ok(format!("{BACK}?code=c&state={state}&iss={issuer}")))
    });
    world.connect(auth).expect("access").close();
    scopes.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What was asked before the registration, without the server itself.
fn looked(order: &Mutex<Vec<String>>) -> Vec<String> {
    let order = order.lock().unwrap_or_else(PoisonError::into_inner);
    let before = order.iter().take_while(|it| *it != "/register");
    before.filter(|it| *it != "/mcp").cloned().collect()
}

const ISSUER_PLACES: [&str; 3] = [
    "/.well-known/oauth-authorization-server/tenant",
    "/.well-known/openid-configuration/tenant",
    LAST,
];

#[test]
// [mcp:auth-discovery] [mcp:auth-challenge]
fn what_a_challenge_says_comes_before_what_is_well_known_and_supported() {
    let (world, order) = hidden("/elsewhere", |world| {
        let place = format!("{}/elsewhere", world.base);
        format!("resource_metadata=\"{place}\", scope=\"needed\"")
    });
    assert_eq!(scopes_asked(&world).as_deref(), Some("needed"));
    let wanted = [&["/elsewhere"], &ISSUER_PLACES[..]].concat();
    assert_eq!(looked(&order), wanted);
    // A scope is not left out because the resource does not name it.
    let (world, _) = hidden("/elsewhere", |world| {
        let place = format!("{}/elsewhere", world.base);
        format!("resource_metadata=\"{place}\", scope=\"unheard-of\"")
    });
    assert_eq!(scopes_asked(&world).as_deref(), Some("unheard-of"));
}

#[test]
// [mcp:auth-discovery]
fn without_a_challenge_the_path_comes_before_the_root() {
    let (world, order) = hidden(ROOT, |_| "realm=\"x\"".to_owned());
    assert_eq!(scopes_asked(&world).as_deref(), Some("all needed"));
    let path = format!("{ROOT}/mcp");
    let wanted = [&[path.as_str(), ROOT], &ISSUER_PLACES[..]].concat();
    assert_eq!(looked(&order), wanted);
}

#[test]
// [mcp:auth-issuer]
fn an_issuer_with_a_path_is_compared_with_its_path() {
    let (world, _) = hidden(ROOT, |_| "realm=\"x\"".to_owned());
    let base = world.base.clone();
    let auth = signing_in(move |state| format!("code=c&state={state}&iss={base}"));
    let error = world.refused(auth);
    assert!(matches!(error, AuthError::Iss { .. }), "{error:?}");
    assert!(world.asked("/token").is_empty());
}
