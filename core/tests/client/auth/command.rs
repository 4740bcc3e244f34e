//! Access from the command line.

use std::fs;

use super::tls;
use super::world::{World, refusal};
use crate::command::ninefold;

#[test]
fn commands_take_a_token_or_get_one() {
    let world = World::good();
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (secret, kept) = (place("secret"), place("kept"));
    fs::write(&secret, "s3cret\n").expect("a file");
    let url = world.url();
    let call = |more: &[&str]| ninefold(&[&["call", &url, "any"], more].concat());
    let (code, out, errors) = call(&["--token", "mine"]);
    assert_eq!((code, out.as_str()), (Some(0), "done\n"), "{errors}");
    assert!(
        world
            .asked("/mcp")
            .iter()
            .all(|it| it.token() == Some("mine"))
    );
    let client = [
        "--client-credentials",
        "--client-id",
        "me",
        "--client-secret-file",
        &secret,
        "--scope",
        "a",
        "--scope",
        "b",
        "--credentials",
        &kept,
    ];
    for _ in 0..2 {
        let (code, _, errors) = call(&client);
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.contains("--issuer"), "{errors}");
    }
    let [token] = &world.asked("/token")[..] else {
        panic!("{:?}", world.asked("/token"));
    };
    assert_eq!(token.form("scope").as_deref(), Some("a b basic"));
    assert!(
        !fs::read_to_string(&kept)
            .expect("a file")
            .contains("s3cret")
    );
}

#[test]
fn what_is_missing_for_access_is_said() {
    let world = World::good();
    let url = world.url();
    let ping = |more: &[&str]| ninefold(&[&["ping", &url, "--credentials", "none"], more].concat());
    for (more, wanted, text) in [
        (&["--sign-in", "never"][..], 1, "sign in"),
        (&["--sign-in", "never", "--token", ""], 1, "sign in"),
        (&["--client-credentials"], 1, "client"),
        (&["--client-secret-file", "x"], 2, "--client-id"),
        (
            &["--client-id", "x", "--client-secret-file", "./absent"],
            2,
            "./absent",
        ),
        (&["--client-key-file", "./absent"], 2, "./absent"),
        (&["--client-metadata-url", "http://x/"], 2, "https"),
        (&["--ca-file", "./absent"], 2, "./absent"),
        (&["--issuer", "https://x"], 2, "--client-id"),
    ] {
        let (code, _, errors) = ping(more);
        assert_eq!(code, Some(wanted), "{more:?}: {errors}");
        assert!(errors.contains(text), "{more:?}: {errors}");
    }
    let closed = World::bent(|_, asked| {
        (asked.path == "/mcp").then(|| refusal("401 Unauthorized", "error=\"invalid_token\""))
    });
    let (code, _, errors) = ninefold(&["ping", &closed.url(), "--token", "bad"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("401") && errors.contains("invalid_token"),
        "{errors}"
    );
}

#[test]
fn a_root_from_a_file_vouches_for_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root.pem").display().to_string();
    fs::write(&root, tls::ROOT).expect("a file");
    let url = format!("https://localhost:{}/mcp", tls::server());
    let (code, out, errors) = ninefold(&["call", &url, "any", "--ca-file", &root]);
    assert_eq!((code, out.as_str()), (Some(0), "done\n"), "{errors}");
    let (code, _, _) = ninefold(&["call", &url, "any"]);
    assert_eq!(code, Some(1));
}
