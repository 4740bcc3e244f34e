//! The client of this project against its server, over the pipes of a child process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ninefold::client::{Blocking, EraChoice, Event, Options, Target, accept};
use ninefold::mcp::Version;
use serde_json::{Map, json};

use crate::channel::BINARY;

fn connect(options: Options) -> Blocking {
    let command = [BINARY, "serve", "--stdio", "--fixtures", "conformance"];
    let target = Target::Command(command.map(str::to_owned).to_vec());
    Blocking::connect(&target, options).expect("a conversation")
}

#[test]
fn a_client_uses_all_that_a_child_offers_in_both_eras() {
    for (era, version) in [
        (EraChoice::Legacy, Version::V2025_11_25),
        (EraChoice::Auto, Version::V2026_07_28),
    ] {
        let told = Arc::<Mutex<Vec<Event>>>::default();
        let into = told.clone();
        let mut content = Map::new();
        content.insert("username".to_owned(), "ada".into());
        content.insert("email".to_owned(), "ada@example.com".into());
        let options = Options::new("test", "1")
            .era(era)
            .on_event(move |event| {
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            })
            .on_elicit(move |asked| std::future::ready(Ok(accept(&asked, content.clone()))));
        let client = connect(options);
        client.run(async |client| {
            assert_eq!(client.server().version, version);
            client.ping().await.expect("a sign of life");
            let tools = client.tools().await.expect("tools");
            assert!(tools.iter().any(|it| it["name"] == "test_simple_text"));
            let simple = client.call("test_simple_text", json!({})).await;
            let text = &simple.expect("a result")["content"][0]["text"];
            assert_eq!(text, "This is a simple text response for testing.");
            let read = client
                .read("test://template/7/data")
                .await
                .expect("contents");
            assert!(read.to_string().contains("Data for ID: 7"));
            let prompt = client.prompt("test_simple_prompt", json!({})).await;
            assert!(prompt.expect("a prompt")["messages"].is_array());
            let asked = client
                .call("test_elicitation", json!({"message": "Who?"}))
                .await;
            assert!(
                asked
                    .expect("a result")
                    .to_string()
                    .contains("ada@example.com")
            );
            let steps = client.call("test_tool_with_progress", json!({})).await;
            steps.expect("a result");
        });
        let steps = |events: &[Event]| {
            let is_step = |it: &&Event| matches!(it, Event::Progress { .. });
            events.iter().filter(is_step).count()
        };
        let found = steps(&told.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(found, 3);
        if version == Version::V2025_11_25 {
            client.run(async |client| {
                let changed = client.call("test_trigger_tool_change", json!({})).await;
                changed.expect("a result");
                wait_for_change(&told).await;
            });
        }
        client.close();
    }
}

/// The client reads only while it runs.
async fn wait_for_change(told: &Mutex<Vec<Event>>) {
    let start = Instant::now();
    let wanted = Event::ListChanged("tools".to_owned());
    while !told
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&wanted)
    {
        assert!(start.elapsed() < Duration::from_secs(30), "{told:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
