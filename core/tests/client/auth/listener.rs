//! The listener on this host that a browser comes back to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use ninefold::client::limits::Limits;
use ninefold::client::{Auth, AuthError, Blocking, ClientError, EraChoice, Options};
use serde_json::json;

use super::world::{World, pair};

/// Visits `path` of the listener; the status that it answers with.
fn visit(back: &str, path: &str) -> String {
    let host = back
        .strip_prefix("http://")
        .and_then(|it| it.strip_suffix("/callback"));
    let mut stream = TcpStream::connect(host.expect("a host")).expect("a listener");
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
        .expect("a reader");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[test]
fn strays_are_turned_away_and_the_right_visit_counts() {
    let world = World::good();
    let base = world.base.clone();
    let (told, heard) = mpsc::channel();
    let auth = Auth::new("test").sign_in_here(0, move |url| {
        let query = url.split_once('?').expect("a query").1.to_owned();
        let (told, base) = (told.clone(), base.clone());
        std::thread::spawn(move || {
            let back = pair(&query, "redirect_uri").expect("where to");
            let state = pair(&query, "state").expect("a state");
            let mut statuses = vec![
                visit(&back, "/favicon.ico"),
                visit(&back, "/callback?code=stolen&state=guessed"),
                visit(&back, "/callback?code=stolen"),
            ];
            let right = format!("/callback?code=the-code&state={state}&iss={base}");
            statuses.push(visit(&back, &right));
            told.send(statuses).expect("somebody who waits");
        });
    });
    let client = world.connect(auth).expect("access");
    let result = client.run(async |client| client.call("any", json!({})).await);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        heard.recv().expect("statuses"),
        ["404", "400", "400", "200"]
    );
    assert_eq!(
        world.asked("/token")[0].form("code").as_deref(),
        Some("the-code")
    );
}

#[test]
fn nobody_is_waited_for_longer_than_the_limit() {
    let world = World::good();
    let limits = Limits {
        sign_in_ms: 9000,
        // It is the person that is waited for, not the server.
        request_ms: 4000,
        ..Limits::default()
    };
    let options = Options::new("test", "1")
        .era(EraChoice::Modern)
        .limits(limits);
    let options = options.auth(Auth::new("test").sign_in_here(0, |_| ()));
    let error = Blocking::connect(&world.url().parse().expect("a target"), options).err();
    assert_eq!(error, Some(ClientError::Auth(AuthError::Late)));
}
