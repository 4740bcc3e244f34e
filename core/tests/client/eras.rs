//! What a client and a node do together, in both eras.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ninefold::ask::Action;
use ninefold::client::limits::Limits;
use ninefold::client::{ClientError, EraChoice, Event, Listen, Options, accept};
use ninefold::mcp::{Era, Version};
use ninefold::{Features, NoArguments};
use serde_json::{Map, Value, json};

use crate::node::{CUT_OFF, ERAS, Local, options};

/// What a client was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Event>>>);

impl Told {
    fn by(&self, options: Options) -> Options {
        let told = self.clone();
        options.on_event(move |event| told.events(|events| events.push(event)))
    }

    fn events<T>(&self, look: impl FnOnce(&mut Vec<Event>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn wait_for(&self, wanted: &Event) {
        let start = Instant::now();
        while !self.events(|events| events.contains(wanted)) {
            let patient = start.elapsed() < Duration::from_secs(10);
            assert!(patient, "no {wanted:?} in {:?}", self.0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn code(outcome: Result<Value, ClientError>) -> i64 {
    match outcome {
        Err(ClientError::Rpc { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_eras_list_call_read_prompt_and_complete() {
    // [mcp:http-post] [mcp:http-accept] [mcp:rpc-id-unique] [mcp:cursor-opaque] [mcp:init-agreed]
    // [mcp:http-send-mirrors] [mcp:http-send-version] [mcp:http-send-session] [mcp:tools-list]
    // [mcp:resources-list] [mcp:prompts-list]
    // Pages are so small that every list has several.
    let node = Local::with(|limits| limits.page_entries = 2);
    for era in ERAS {
        let client = node.connect(options(era));
        client.run(async |client| {
            let server = client.server();
            assert_eq!(server.info["name"], "test");
            assert!(server.capabilities["tools"].is_object());
            client.ping().await.expect("a sign of life");
            let tools = client.tools().await.expect("tools");
            let names: Vec<_> = tools.iter().map(|it| it["name"].as_str()).collect();
            assert!(
                names.len() == 11 && names.contains(&Some("add")),
                "{names:?}"
            );
            assert_eq!(client.resources().await.expect("resources").len(), 1);
            assert_eq!(client.templates().await.expect("templates").len(), 0);
            assert_eq!(client.prompts().await.expect("prompts")[0]["name"], "hello");
            let sum = client
                .call("add", json!({"a": 40, "b": 2}))
                .await
                .expect("a sum");
            assert_eq!(sum["content"][0]["text"], "42");
            let failed = client
                .call("add", json!({"a": "x"}))
                .await
                .expect("a result");
            assert_eq!(failed["isError"], true);
            let seen = client.read("test://watched").await.expect("contents");
            assert_eq!(seen["contents"][0]["text"], "seen");
            let hello = client
                .prompt("hello", json!({"name": "Ada"}))
                .await
                .expect("a prompt");
            assert_eq!(hello["messages"][0]["content"]["text"], "Hello, Ada!");
            let of = json!({"type": "ref/prompt", "name": "hello"});
            let completed = client.complete(of, "name", "A").await.expect("values");
            assert_eq!(completed["completion"]["values"], json!(["Ada", "Alan"]));
            assert_eq!(code(client.call("absent", json!({})).await), -32602);
            assert_eq!(code(client.request("absent", json!({})).await), -32601);
            let gone = code(client.read("test://absent").await);
            assert!(matches!(gone, -32002 | -32602), "{gone}");
        });
        client.close();
    }
}

#[test]
fn the_era_is_found_and_can_be_forced() {
    // [mcp:init-first] [mcp:init-version-offer] [mcp:init-done]
    let node = Local::start();
    for (choice, version) in [
        (EraChoice::Auto, Version::V2026_07_28),
        (EraChoice::Modern, Version::V2026_07_28),
        (EraChoice::Legacy, Version::V2025_11_25),
    ] {
        let client = node.connect(options(choice));
        let found = client.run(async |client| client.server().version);
        assert_eq!(found, version);
    }
}

#[test]
fn progress_is_told_and_extends_the_time() {
    // [mcp:progress-token]
    let node = Local::start();
    for era in ERAS {
        let told = Told::default();
        let limits = Limits {
            request_ms: 400,
            ..Limits::default()
        };
        let client = node.connect(told.by(options(era).limits(limits)));
        let arguments = json!({"count": 8, "ms": 100});
        let done = client.run(async |client| client.call("ticks", arguments).await);
        assert_eq!(done.expect("a result")["content"][0]["text"], "8 ticks");
        let ticks = told.events(|events| events.len());
        assert_eq!(ticks, 8, "{:?}", told.0);
        // Silence is not extended, and a client goes on after it.
        client.run(async |client| {
            let late = client.call("sleep", json!({"ms": 5000})).await;
            let Err(ClientError::Late { limit, .. }) = late else {
                panic!("{late:?}");
            };
            assert_eq!(limit, "request_ms");
            client.ping().await.expect("a sign of life");
        });
    }
}

#[test]
fn the_whole_time_of_a_request_has_an_end_too() {
    let node = Local::start();
    for era in ERAS {
        let limits = Limits {
            request_total_ms: 300,
            ..Limits::default()
        };
        let client = node.connect(options(era).limits(limits));
        let arguments = json!({"count": 100, "ms": 50});
        let late = client.run(async |client| client.call("ticks", arguments).await);
        let Err(ClientError::Late { limit, .. }) = late else {
            panic!("{late:?}");
        };
        assert_eq!(limit, "request_total_ms");
    }
}

#[test]
fn questions_are_answered_in_both_eras() {
    // [mcp:mrtr-answer] [mcp:mrtr-echo] [mcp:mrtr-only-retry] [mcp:mrtr-new-id] [mcp:meta-send]
    // [mcp:elicit-declared] [mcp:sampling-declared] [mcp:elicit-no-mode]
    let node = Local::start();
    for era in ERAS {
        let mut content = Map::new();
        content.insert("name".to_owned(), "Ada".into());
        let asked = options(era)
            .on_elicit(move |asked| {
                let answer = accept(&asked, content.clone());
                async move {
                    tokio::task::yield_now().await;
                    Ok(answer)
                }
            })
            .on_sample(|_| {
                let content = json!({"type": "text", "text": "Because."});
                let answer = json!({"role": "assistant", "model": "m", "content": content});
                std::future::ready(Ok(answer))
            });
        let client = node.connect(asked);
        let text = |tool| {
            let result = client.run(async |client| client.call(tool, json!({})).await);
            result.expect("a result")["content"][0]["text"].clone()
        };
        assert_eq!(text("asks"), "\"Ada\" 30");
        assert_eq!(text("thinks"), "Because.");
        // Who cannot be asked is not asked.
        let silent = node.connect(options(era));
        let result = silent.run(async |client| client.call("asks", json!({})).await);
        let told = format!("{result:?}");
        assert!(
            told.contains("support") || told.contains("-32021"),
            "{told}"
        );
    }
}

#[test]
fn changes_are_told_in_both_eras() {
    let node = Local::start();
    for era in ERAS {
        let told = Told::default();
        let client = node.connect(told.by(options(era)));
        client.run(async |client| {
            let to = Listen {
                tools: true,
                uris: vec!["test://watched".to_owned()],
                ..Listen::default()
            };
            let _listening = client.listen(&to).await.expect("a subscription");
            let late = Features::new().tool("late", "Came late", |NoArguments {}| "late");
            node.server().add(late).expect("a new tool");
            told.wait_for(&Event::ListChanged("tools".to_owned())).await;
            assert!(node.server().remove_tool("late"));
            node.server().resource_updated("test://watched");
            told.wait_for(&Event::Updated("test://watched".to_owned()))
                .await;
        });
        client.close();
    }
}

#[test]
fn the_end_of_a_visit_is_told_once_and_only_if_the_visit_was_asked_for() {
    // [mcp:elicit-complete]
    let node = Local::start();
    for (era, action, wanted) in [
        (EraChoice::Legacy, Action::Accept, 1),
        (EraChoice::Legacy, Action::Decline, 0),
        (EraChoice::Modern, Action::Accept, 0),
    ] {
        let told = Told::default();
        let options = told.by(options(era).on_visit(move |_| std::future::ready(action)));
        let client = node.connect(options);
        client.run(async |client| {
            let to = Listen {
                uris: vec!["test://watched".to_owned()],
                ..Listen::default()
            };
            let _listening = client.listen(&to).await.expect("a subscription");
            client.call("sends", json!({})).await.expect("a result");
            let end = Event::Elicited("e".to_owned());
            if wanted > 0 {
                told.wait_for(&end).await;
            }
            // More of it would be told before what is told later.
            node.server().resource_updated("test://watched");
            told.wait_for(&Event::Updated("test://watched".to_owned()))
                .await;
        });
        let ends = told.events(|events| {
            let updated = Event::Updated("test://watched".to_owned());
            events.retain(|event| *event != updated);
            std::mem::take(events)
        });
        assert_eq!(
            ends,
            vec![Event::Elicited("e".to_owned()); wanted],
            "{era:?}"
        );
        client.close();
    }
}

#[test]
fn a_session_that_has_ended_is_opened_again_once() {
    // [mcp:http-session-again]
    let node = Local::with(|limits| limits.session_idle_ms = 1000);
    let client = node.connect(options(EraChoice::Legacy));
    client.run(async |client| {
        assert_eq!(client.era(), Era::Legacy);
        client.ping().await.expect("a sign of life");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let sum = client
            .call("add", json!({"a": 1, "b": 2}))
            .await
            .expect("a sum");
        assert_eq!(sum["content"][0]["text"], "3");
    });
}

#[test]
fn a_call_that_nobody_waits_for_is_cancelled() {
    // [mcp:cancel-known]
    let node = Local::start();
    for (n, era) in ERAS.into_iter().enumerate() {
        let client = node.connect(options(era));
        client.run(async |client| {
            let call = client.call("ticks", json!({"count": 1000, "ms": 20}));
            let cut = tokio::time::timeout(Duration::from_millis(200), call).await;
            assert!(cut.is_err(), "{cut:?}");
            let start = Instant::now();
            while CUT_OFF.load(Ordering::SeqCst) <= n {
                assert!(start.elapsed() < Duration::from_secs(10), "{era:?} goes on");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            client.ping().await.expect("a sign of life");
        });
    }
}
