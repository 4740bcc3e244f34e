//! What is kept, and who can read it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use ninefold::client::{Auth, AuthError, FileStore, Grant, Store};
use serde_json::json;

use super::world::{World, mcp};

#[test]
// [mcp:auth-storage]
fn a_token_outlives_its_client_in_a_file_of_the_users_own() {
    let world = World::good();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/credentials.json");
    for _ in 0..2 {
        let auth = world.auth().store(FileStore::new(&path));
        world.connect(auth).expect("access").close();
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    }
    assert_eq!(world.asked("/token").len(), 1);
    // Scopes that the token does not have are not hoped for.
    let auth = world.auth().store(FileStore::new(&path)).scopes(&["other"]);
    world.connect(auth).expect("access").close();
    assert_eq!(world.asked("/token").len(), 2);
    // A person's token is not the client's own.
    let auth = Auth::new("test")
        .grant(Grant::Client)
        .client_id("registered");
    let auth = auth.scopes(&["other"]).store(FileStore::new(&path));
    world.connect(auth).expect("access").close();
    let grants = world.asked("/token");
    assert_eq!(grants.len(), 3);
    assert_eq!(
        grants[2].form("grant_type").as_deref(),
        Some("client_credentials")
    );
    // The registration was kept too, and is another's secret than the token.
    assert_eq!(world.asked("/register").len(), 1);
}

#[test]
// [mcp:auth-storage]
fn a_file_that_others_can_read_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("credentials.json");
    let store = FileStore::new(&path);
    store.set("a", Some(json!(1))).expect("a place");
    for mode in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        for outcome in [store.get("a").map(|_| ()), store.set("a", None)] {
            let error = outcome.expect_err("a refusal").to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!(store.get("a"), Ok(Some(json!(1))));
}

#[test]
fn what_is_no_file_of_credentials_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("credentials.json");
    let good = FileStore::new(&path);
    good.set("a", Some(json!(1))).expect("a place");
    let link = folder.path().join("link");
    symlink(&path, &link).expect("a link");
    assert!(matches!(
        FileStore::new(&link).get("a"),
        Err(AuthError::Store(_))
    ));
    fs::write(&path, "nonsense").expect("a file");
    assert!(matches!(good.get("a"), Err(AuthError::Store(_))));
    assert!(matches!(
        FileStore::new(folder.path()).get("a"),
        Err(AuthError::Store(_))
    ));
    let world = World::good();
    let error = world.refused(world.auth().store(good));
    assert!(matches!(error, AuthError::Store(_)), "{error:?}");
    // A server that wants no token is not asked for one, so nothing is missing.
    let open = World::bent(|_, asked| (asked.path == "/mcp").then(|| mcp(&asked.body)));
    let auth = open.auth().store(FileStore::new(&path));
    assert!(open.connect(auth).is_ok());
}

#[test]
fn clients_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("credentials.json");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = FileStore::new(&path);
            scope.spawn(move || {
                for n in 0..10 {
                    let key = format!("{writer} {n}");
                    store.set(&key, Some(json!(n))).expect("a place");
                }
            });
        }
    });
    let store = FileStore::new(&path);
    for (writer, n) in (0..4).flat_map(|writer| (0..10).map(move |n| (writer, n))) {
        assert_eq!(store.get(&format!("{writer} {n}")), Ok(Some(json!(n))));
    }
}
