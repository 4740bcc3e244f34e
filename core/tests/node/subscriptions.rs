//! Changes of what a server offers, as they reach clients of both eras on every shard.

use ninefold::{Features, NoArguments, Resource};
use serde_json::{Value, json};

use crate::client::{Client, get, in_session, modern};
use crate::local::Local;

fn tool(name: &'static str) -> Features {
    Features::new().tool(name, "Comes late", |NoArguments {}| ())
}

fn listen(node: &Local, id: usize, wanted: Value) -> Client {
    let mut client = node.connect();
    client.send(modern(
        id,
        "subscriptions/listen",
        json!({"notifications": wanted}),
    ));
    assert_eq!(client.stream_head().0, 200);
    client
}

#[test]
fn a_listener_hears_what_it_asked_for_and_nothing_else() {
    // [mcp:subscription-id] [mcp:listen-asked] [mcp:listen-ack]
    let node = Local::with(3, |_| {});
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["test://watched"]});
    let mut all: Vec<_> = (0..9).map(|id| listen(&node, id, wanted.clone())).collect();
    let mut prompts = listen(&node, 100, json!({"promptsListChanged": true}));
    let key = "io.modelcontextprotocol/subscriptionId";
    for (id, client) in all.iter_mut().enumerate() {
        let (_, first) = client.event().expect("an acknowledgement");
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(first["params"]["notifications"], wanted);
        assert_eq!(first["params"]["_meta"][key], id);
    }
    prompts.event().expect("an acknowledgement");

    node.server().add(tool("late")).expect("a free name");
    node.server().resource_updated("test://other");
    for (id, client) in all.iter_mut().enumerate() {
        let (_, news) = client.event().expect("news");
        assert_eq!(news["method"], "notifications/tools/list_changed");
        assert_eq!(news["params"]["_meta"][key], id);
    }
    node.server().resource_updated("test://watched");
    for client in &mut all {
        let (_, news) = client.event().expect("news");
        assert_eq!(news["method"], "notifications/resources/updated");
        assert_eq!(news["params"]["uri"], "test://watched");
    }
    assert!(node.server().remove_prompt("hello"));
    let (_, news) = prompts.event().expect("news");
    assert_eq!(news["method"], "notifications/prompts/list_changed");
    drop((all, prompts));
    node.until("answers_under_way", |answers| answers == 0.0);
}

#[test]
fn what_cannot_be_listened_to_is_not_promised_or_refused() {
    let node = Local::with(1, |limits| {
        limits.subscription_count = 2;
        limits.subscription_bytes = 256;
    });
    for (wanted, code) in [
        (json!({"resourceSubscriptions": ["x".repeat(257)]}), -32602),
        (json!(null), -32602),
        (json!({"toolsListChanged": 1}), -32602),
        (json!({"resourceSubscriptions": "test://watched"}), -32602),
        (json!({"resourceSubscriptions": [1]}), -32602),
        (json!({"resourceSubscriptions": ["a", "b", "c"]}), -32602),
    ] {
        let params = json!({"notifications": wanted});
        let answer = node.ask(modern(1, "subscriptions/listen", params));
        assert_eq!(answer.refusal(), (200, Some(code)), "{wanted}");
    }
    let mut nothing = listen(
        &node,
        1,
        json!({"unknown": true, "toolsListChanged": false}),
    );
    let (_, first) = nothing.event().expect("an acknowledgement");
    assert_eq!(first["params"]["notifications"], json!({}));
}

#[test]
fn streams_beyond_the_limit_are_told_to_come_back() {
    let node = Local::with(1, |limits| limits.streams_per_shard = 1);
    let mut held = listen(&node, 1, json!({}));
    held.event().expect("an acknowledgement");
    let refused = node.ask(modern(
        2,
        "subscriptions/listen",
        json!({"notifications": {}}),
    ));
    assert_eq!(
        (refused.status, refused.field("retry-after")),
        (503, Some("1"))
    );
    let refused = node.ask(get(&node.open_session(), None));
    assert_eq!(
        (refused.status, refused.field("retry-after")),
        (503, Some("1"))
    );
}

#[test]
fn a_session_hears_of_lists_and_of_what_it_subscribed_to() {
    // [mcp:http-one-stream]
    let node = Local::with(3, |_| {});
    let subscribe = |session: &str, method: &str, uri: &str| {
        node.ask(in_session(session, method, json!({"uri": uri})))
            .refusal()
    };
    let mut streams: Vec<_> = (0..6)
        .map(|_| {
            let session = node.open_session();
            let watched = "test://watched";
            assert_eq!(
                subscribe(&session, "resources/subscribe", watched),
                (200, None)
            );
            let mut client = node.connect();
            client.send(get(&session, None));
            client.stream_head();
            (session, client)
        })
        .collect();
    for (_, client) in &mut streams {
        client.chunk().expect("a priming event");
    }
    node.server().add(tool("late")).expect("a free name");
    node.server().resource_updated("test://watched");
    for (_, client) in &mut streams {
        let mut methods: Vec<_> = (0..2)
            .map(|_| client.event().expect("news").1["method"].to_string())
            .collect();
        methods.sort();
        assert!(methods[0].contains("resources/updated"), "{methods:?}");
        assert!(methods[1].contains("tools/list_changed"), "{methods:?}");
    }
    let (session, client) = &mut streams[0];
    let watched = "test://watched";
    assert_eq!(
        subscribe(session, "resources/unsubscribe", watched),
        (200, None)
    );
    node.server().resource_updated(watched);
    let added = Features::new().resource(Resource::new("test://new", "New"), || "x");
    node.server().add(added).expect("a free URI");
    let (id, news) = client.event().expect("news");
    assert!(
        news["method"]
            .to_string()
            .contains("resources/list_changed"),
        "{news}"
    );

    // A client that comes back hears what it has missed, from whichever shard it asks.
    let old = id.replace("-3", "-1");
    assert_ne!(old, id);
    let mut again = node.connect();
    again.send(get(session, Some(&old)));
    again.stream_head();
    assert_eq!(again.event().expect("a replay").0, id.replace("-3", "-2"));
    assert_eq!(again.event().expect("a replay").0, id);
    while client.chunk().is_some() {}
}

#[test]
fn a_session_subscribes_to_what_there_is_and_not_to_too_much() {
    let node = Local::with(1, |limits| limits.subscription_count = 2);
    let session = node.open_session();
    for uri in ["test://a", "test://b"] {
        let added = Features::new().resource(Resource::new(uri, uri), || "x");
        node.server().add(added).expect("a free URI");
    }
    for (uri, wanted) in [
        ("test://nothing", Some(-32002)),
        ("test://watched", None),
        ("test://watched", None),
        ("test://a", None),
        ("test://b", Some(-32602)),
    ] {
        let subscribe = in_session(&session, "resources/subscribe", json!({"uri": uri}));
        assert_eq!(node.ask(subscribe).refusal(), (200, wanted), "{uri}");
    }
}
