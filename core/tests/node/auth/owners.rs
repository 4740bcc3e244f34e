//! What was begun by one subject is not there for another: an id is never a proof.

use std::time::Instant;

use serde_json::{Value, json};

use super::issuer::{Key, set};
use super::{node_of, with};
use crate::client::{call, delete, echo, get, in_session, initialize, legacy, modern_with};
use crate::local::Local;
use crate::target::eventually;

fn open(node: &Local, token: &str) -> String {
    let opened = node.ask(with(token, &initialize()));
    opened
        .field("mcp-session-id")
        .expect("a session")
        .to_owned()
}

#[test]
fn a_session_is_there_for_who_opened_it_and_nobody_else() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let (mine, yours) = (key.token("me", ""), key.token("you", ""));
    let session = open(&node, &mine);
    let note = |method: &str| json!({"jsonrpc": "2.0", "method": method, "params": {}});
    let response = json!({"jsonrpc": "2.0", "id": "x", "result": {}});
    let level = json!({"level": "debug"});
    let before = node.metric("refused_owner");
    let stolen = [
        in_session(&session, "ping", json!({})),
        in_session(
            &session,
            "tools/call",
            json!({"name": "echo", "arguments": {"text": "x"}}),
        ),
        in_session(&session, "logging/setLevel", level),
        in_session(
            &session,
            "resources/subscribe",
            json!({"uri": "test://private"}),
        ),
        legacy(Some(&session), &note("notifications/initialized")),
        legacy(Some(&session), &note("notifications/cancelled")),
        legacy(Some(&session), &response),
        legacy(Some(&session), &json!([note("notifications/initialized")])),
        get(&session, None),
        get(&session, Some("0.0-1")),
        delete(&session),
    ];
    for request in &stolen {
        let answer = node.ask(with(&yours, request));
        assert_eq!(answer.refusal(), (404, Some(-32001)), "{request}");
    }
    let count = f64::from(u8::try_from(stolen.len()).expect("few"));
    node.until("refused_owner", |now| now == before + count);
    // A new token of the same subject reaches it, and ends it.
    let again = key.token("me", "more");
    let ping = in_session(&session, "ping", json!({}));
    assert_eq!(node.ask(with(&again, &ping)).status, 200);
    assert_eq!(node.ask(with(&again, &delete(&session))).status, 204);
    assert_eq!(node.ask(with(&mine, &ping)).status, 404);
}

#[test]
// [mcp:elicit-identity]
fn a_question_is_answered_by_who_was_asked() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let (mine, yours) = (key.token("me", ""), key.token("you", ""));
    let (my_session, your_session) = (open(&node, &mine), open(&node, &yours));
    let mut client = node.connect();
    let params = json!({"name": "asks", "arguments": {}});
    client.send(with(&mine, &in_session(&my_session, "tools/call", params)));
    assert_eq!(client.stream_head().0, 200);
    let (_, question) = client.event().expect("a question");
    let id = &question["id"];
    let answer = |action: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"action": action}});
    // The id has leaked, and its finder has a session of its own.
    let forged = legacy(Some(&your_session), &answer("accept"));
    assert_eq!(node.ask(with(&yours, &forged)).status, 202);
    let good = legacy(Some(&my_session), &answer("decline"));
    assert_eq!(node.ask(with(&mine, &good)).status, 202);
    let (_, result) = client.event().expect("a result");
    assert_eq!(
        result["result"]["content"][0]["text"], "Decline",
        "{result}"
    );
}

/// A request of a client that can be asked and knows tasks.
fn able(method: &str, params: Value) -> String {
    let extensions = json!({"io.modelcontextprotocol/tasks": {}});
    modern_with(
        1,
        method,
        params,
        json!({"extensions": extensions, "elicitation": {}}),
    )
}

#[test]
fn a_task_is_there_for_who_began_it_and_nobody_else() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let (mine, yours) = (key.token("me", ""), key.token("you", ""));
    let begun = node.ask(with(&mine, &able("tools/call", json!({"name": "works"}))));
    let id = begun.json()["result"]["taskId"].clone();
    assert!(id.is_string(), "{begun:?}");
    let ask = |token: &str, method: &str| {
        let answers = json!({"sure": {"action": "accept"}});
        let params = json!({"taskId": id, "inputResponses": answers});
        node.ask(with(token, &able(method, params)))
    };
    for (token, watched) in [(&yours, json!([])), (&mine, json!([id]))] {
        let params = json!({"notifications": {"taskIds": [id]}});
        let mut client = node.connect();
        client.send(with(token, &able("subscriptions/listen", params)));
        client.stream_head();
        let (_, agreed) = client.event().expect("what is watched");
        assert_eq!(agreed["params"]["notifications"]["taskIds"], watched);
    }
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        assert_eq!(
            ask(&yours, method).refusal(),
            (200, Some(-32602)),
            "{method}"
        );
    }
    let stands = || ask(&mine, "tasks/get").json()["result"]["status"].clone();
    eventually(|| stands() == "input_required").expect("it asks");
    assert_eq!(ask(&mine, "tasks/cancel").status, 200);
    assert_eq!(stands(), "cancelled");
}

#[test]
// [mcp:elicit-identity]
fn a_state_of_rounds_is_good_for_who_was_asked() {
    let key = Key::new("k");
    let node = node_of(&key, |it| it);
    let (mine, yours) = (key.token("me", ""), key.token("you", ""));
    let asked = node.ask(with(&mine, &able("tools/call", json!({"name": "asks"}))));
    let state = asked.json()["result"]["requestState"].clone();
    assert!(state.is_string(), "{asked:?}");
    let answers = json!({"name": {"action": "accept", "content": {}}});
    let params = json!({"name": "asks", "requestState": state, "inputResponses": answers});
    let again = able("tools/call", params);
    assert_eq!(
        node.ask(with(&yours, &again)).refusal(),
        (200, Some(-32602))
    );
    assert_eq!(node.ask(with(&mine, &again)).result_text(), "Accept");
    assert_eq!(
        node.ask(with(&yours, &call("who", json!({}))))
            .result_text(),
        "you "
    );
}

#[test]
fn a_subject_has_one_rate_whatever_its_tokens_and_takes_nothing_from_others() {
    const CALLS: usize = 60;
    let key = Key::new("k");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), set(&[&key])).expect("a file that can be written");
    let began = Instant::now();
    let node = super::node(super::oauth().keys_file(file.path()), |limits| {
        (limits.calls_per_s, limits.calls_burst) = (1, 40);
    });
    // One connection is on one shard, and may carry the calls of anybody.
    let mut client = node.connect();
    let mut served = |token: &str| {
        client.send(with(token, &echo("x")).repeat(CALLS));
        let answers = (0..CALLS).map(|_| client.answer().status);
        answers.filter(|&status| status == 200).count()
    };
    let mine = served(&key.token("me", "one")) + served(&key.token("me", "two"));
    let by_time = began.elapsed().as_secs() + 1;
    assert!(
        (40..=40 + by_time).contains(&(mine as u64)),
        "{mine} were served"
    );
    let others = served(&key.token("you", "one"));
    assert!((40..CALLS).contains(&others), "{others} of another subject");
}
