//! Tasks, typed changes, pages to visit and promises about results, as the client meets them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ninefold::ask::Action;
use ninefold::client::limits::Limits;
use ninefold::client::{
    Called, Change, Client, ClientError, EraCache, EraChoice, Listen, Options, Target, Visit,
    accept,
};
use ninefold::mcp::Era;
use ninefold::{Features, NoArguments};
use serde_json::{Map, Value, json};

use crate::bad_servers::{JSON, http, serve};
use crate::node::{ERAS, Local, options};

/// Begins a task of `tool`; the test is over where it is none.
async fn begin<'a>(client: &'a Client, tool: &str, arguments: Value) -> ninefold::client::Task<'a> {
    let ttl = Some(Duration::from_secs(600));
    match client.start(tool, arguments, ttl).await {
        Ok(Called::Task(task)) => task,
        other => panic!("{other:?}"),
    }
}

fn asked(options: Options) -> Options {
    options
        .tasks()
        .on_elicit(|asked| std::future::ready(Ok(accept(&asked, Map::new()))))
}

// [mcp:cancel-task] [mcp:tasks-declared] [mcp:tasks-patience]
#[test]
fn tasks_are_begun_polled_answered_and_cancelled_in_both_eras() {
    let node = Local::start();
    for era in ERAS {
        let client = node.connect(asked(options(era)));
        client.run(async |client| {
            let works = begin(client, "works", json!({"ms": 50})).await;
            let done = works.result().await.expect("a result");
            assert_eq!(done["content"][0]["text"], "true", "{era:?}");
            assert_eq!(works.state().await.expect("a state")["status"], "completed");
            let confirms = begin(client, "confirms", json!({})).await;
            let done = confirms.result().await.expect("a result");
            assert_eq!(done["content"][0]["text"], "Accept", "{era:?}");

            let long = begin(client, "works", json!({"ms": 600_000})).await;
            let again = client.task(long.id());
            again.cancel().await.expect("its end");
            assert_eq!(again.result().await, Err(ClientError::TaskCancelled));
            let unknown = client.task("nothing").state().await;
            assert!(matches!(
                unknown,
                Err(ClientError::Rpc { code: -32602, .. })
            ));
            // What is no task answers at once, and a call waits for its task.
            match client.start("add", json!({"a": 1, "b": 2}), None).await {
                Ok(Called::Done(sum)) => assert_eq!(sum["content"][0]["text"], "3"),
                Err(ClientError::NoTask(_)) => assert_eq!(era, EraChoice::Legacy),
                other => panic!("{other:?}"),
            }
            let called = client.call("works", json!({"ms": 1})).await;
            let is_task = (era == EraChoice::Modern).to_string();
            assert_eq!(called.expect("a result")["content"][0]["text"], is_task);
            let called = client.call("confirms", json!({})).await;
            let text = &called.expect("a result")["content"][0]["text"];
            assert_eq!(text, "Accept", "{era:?}");
        });
        client.close();
    }
}

/// A legacy server with tasks; keeps the bodies of the calls that it hears.
fn lister(calls: Arc<Mutex<Vec<String>>>) -> Target {
    let tool = |name: &str, execution: Value| {
        let schema = json!({"type": "object"});
        json!({"name": name, "inputSchema": schema, "execution": execution})
    };
    let tools = json!([
        tool("silent", json!({})),
        tool("never", json!({"taskSupport": "forbidden"})),
        tool("odd", json!({"taskSupport": "sometimes"})),
        tool("may", json!({"taskSupport": "optional"})),
        tool("must", json!({"taskSupport": "required"})),
    ]);
    serve(move |asked| match asked {
        _ if asked.contains("\"initialize\"") => result(
            asked,
            &json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "s", "version": "1"},
                "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}}),
        ),
        _ if asked.contains("tools/list") => result(asked, &json!({"tools": tools})),
        _ if asked.contains("tools/call") => {
            let body = asked.split_once("\r\n\r\n").expect("a body").1;
            let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push(body.to_owned());
            result(
                asked,
                &match body.contains("\"task\"") {
                    true => json!({"task": {"taskId": "t", "status": "working"}}),
                    false => json!({"content": ["called"]}),
                },
            )
        }
        _ if asked.contains("tasks/get") => {
            result(asked, &json!({"taskId": "t", "status": "completed"}))
        }
        _ if asked.contains("tasks/result") => result(asked, &json!({"content": ["waited for"]})),
        _ => http("202 Accepted", "text/plain", ""),
    })
}

// [mcp:tasks-asked]
#[test]
fn a_tool_is_a_task_only_where_it_can_be_and_always_where_it_must() {
    let calls = Arc::<Mutex<Vec<String>>>::default();
    let heard = || std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
    let server = lister(calls.clone());
    let client = ninefold::client::Blocking::connect(&server, options(EraChoice::Legacy));
    client.expect("a session").run(async |client| {
        for tool in ["silent", "never", "odd", "unlisted"] {
            let started = client.start(tool, json!({}), None).await;
            let wanted = ClientError::NoTask(tool.to_owned());
            assert_eq!(started.expect_err("no task"), wanted);
        }
        assert_eq!(heard(), [""; 0], "refused before it is called");
        let task = begin(client, "may", json!({})).await;
        assert_eq!(task.id(), "t");
        let [call] = heard().try_into().expect("one call");
        assert!(call.contains("\"ttl\":600000"), "{call}");
        for (tool, wanted, as_task) in [
            ("silent", "called", false),
            ("may", "called", false),
            ("must", "waited for", true),
        ] {
            let result = client.call(tool, json!({})).await.expect("a result");
            assert_eq!(result, json!({"content": [wanted]}), "{tool}");
            let [call] = heard().try_into().expect("one call");
            assert_eq!(call.contains("\"task\""), as_task, "{call}");
        }
    });
}

#[test]
fn changes_come_typed_and_a_slow_listener_is_told_that_it_missed_some() {
    let node = Local::start();
    for era in ERAS {
        let limits = Limits {
            change_count: 2,
            ..Limits::default()
        };
        let client = node.connect(options(era).tasks().limits(limits));
        client.run(async |client| {
            let to = Listen {
                tools: true,
                uris: vec!["test://watched".to_owned()],
                ..Listen::default()
            };
            let mut listening = client.listen(&to).await.expect("a subscription");
            let late = Features::new().tool("late", "Came late", |NoArguments {}| "late");
            node.server().add(late).expect("a new tool");
            assert_eq!(listening.next().await, Ok(Change::Tools));
            node.server().resource_updated("test://watched");
            let uri = "test://watched".to_owned();
            assert_eq!(listening.next().await, Ok(Change::Resource(uri)));
            // More than may wait, each told before the next comes.
            for n in 0..6 {
                assert!(n > 0 || node.server().remove_tool("late"));
                let name = format!("late-{n}");
                let late = Features::new().tool(name, "Came late", |NoArguments {}| "late");
                node.server().add(late).expect("a new tool");
                for _ in 0..5 {
                    client.ping().await.expect("a sign of life");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            let mut seen = Vec::new();
            while seen.last() != Some(&Change::Missed) {
                seen.push(listening.next().await.expect("a change"));
            }
            assert_eq!(seen, [Change::Tools, Change::Tools, Change::Missed]);
            for n in 0..6 {
                assert!(node.server().remove_tool(&format!("late-{n}")));
            }
        });
        client.close();
    }
}

#[test]
fn a_subscription_tells_how_a_task_stands() {
    let node = Local::start();
    for era in ERAS {
        let client = node.connect(asked(options(era)));
        client.run(async |client| {
            let task = begin(client, "works", json!({"ms": 600_000})).await;
            let to = Listen {
                tasks: vec![task.id().to_owned()],
                ..Listen::default()
            };
            let mut listening = client.listen(&to).await.expect("a subscription");
            task.cancel().await.expect("its end");
            loop {
                match listening.next().await.expect("a change") {
                    Change::Task(state) if state["status"] == "cancelled" => break,
                    Change::Task(state) => assert_eq!(state["status"], "working"),
                    other => panic!("{other:?}"),
                }
            }
        });
        client.close();
    }
}

/// A child that speaks the modern era: it agrees to a subscription, tells of a change, and notes
/// the cancellation in the file that it is given.
const CHILD: &str = r#"
head='{"jsonrpc":"2.0"'
meta='"_meta":{"io.modelcontextprotocol/subscriptionId":'
told() { echo $head',"method":"notifications/'$1'","params":{'$meta$id'}}}'; }
found='"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}'
while read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *server/discover*) echo $head',"id":'$id',"result":{'$found'}}';;
    *subscriptions/listen*) told subscriptions/acknowledged; told tools/list_changed;;
    *notifications/cancelled*) echo cancelled > "$0";;
  esac
done
"#;

// [mcp:listen-correlate]
#[test]
fn a_child_process_is_listened_to_and_told_when_nobody_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("note");
    let note_name = note.to_str().expect("a path").to_owned();
    let child = Target::Command(
        ["sh", "-c", CHILD]
            .map(str::to_owned)
            .into_iter()
            .chain([note_name])
            .collect(),
    );
    let client = ninefold::client::Blocking::connect(&child, options(EraChoice::Modern));
    client.expect("a conversation").run(async |client| {
        let to = Listen {
            tools: true,
            ..Listen::default()
        };
        let mut listening = client.listen(&to).await.expect("a subscription");
        assert_eq!(listening.next().await, Ok(Change::Tools));
        // Each subscription hears what was told to it, and nothing of the other.
        let mut second = client.listen(&to).await.expect("a subscription");
        assert_eq!(second.next().await, Ok(Change::Tools));
        let twice = tokio::time::timeout(Duration::ZERO, listening.next()).await;
        assert!(twice.is_err(), "{twice:?}");
        drop(listening);
        let start = Instant::now();
        while !note.exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "no cancellation");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// The id of a request, as the client wrote it.
fn id_of(asked: &str) -> u64 {
    let id = asked.split("\"id\":").nth(1).expect("an id");
    let id = id.split([',', '}']).next().expect("an id");
    id.parse().expect("a number")
}

fn result(asked: &str, result: &Value) -> Vec<u8> {
    let answer = json!({"jsonrpc": "2.0", "id": id_of(asked), "result": result});
    http("200 OK", JSON, &answer.to_string())
}

/// A legacy server whose tool works once a page was visited; counts what it is asked.
fn gated(url: &'static str, probes: Arc<AtomicUsize>) -> Target {
    let calls = AtomicUsize::new(0);
    serve(move |asked| {
        if asked.contains("server/discover") {
            probes.fetch_add(1, Ordering::SeqCst);
            return http("400 Bad Request", "text/plain", "");
        }
        if asked.contains("\"initialize\"") {
            return result(
                asked,
                &json!({"protocolVersion": "2025-11-25", "capabilities": {},
                "serverInfo": {"name": "s", "version": "1"}}),
            );
        }
        if asked.contains("tools/call") {
            if calls.fetch_add(1, Ordering::SeqCst) > 0 {
                return result(asked, &json!({"content": []}));
            }
            let pages = json!([{"mode": "url", "url": url, "message": "Sign in.",
                "elicitationId": "e"}]);
            let error = json!({"code": -32042, "message": "visit", "data":
                {"elicitations": pages}});
            let answer = json!({"jsonrpc": "2.0", "id": id_of(asked), "error": error});
            return http("200 OK", JSON, &answer.to_string());
        }
        http("202 Accepted", "text/plain", "")
    })
}

#[test]
fn a_person_is_sent_to_pages_of_allowed_schemes_only() {
    for (url, schemes, goes) in [
        ("https://example.com/in", &["https"][..], true),
        ("http://example.com/in", &["https"], false),
        ("http://example.com/in", &["https", "HTTP"], true),
        ("javascript:alert(1)", &["https"], false),
        ("https://example.com/\nin", &["https"], false),
    ] {
        let visits: Arc<Mutex<Vec<Visit>>> = Arc::default();
        let seen = visits.clone();
        let options = options(EraChoice::Legacy)
            .url_schemes(schemes)
            .on_visit(move |visit| {
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(visit);
                std::future::ready(Action::Accept)
            });
        let target = gated(url, Arc::default());
        let client = ninefold::client::Blocking::connect(&target, options).expect("a session");
        let called = client.run(async |client| client.call("gate", json!({})).await);
        let visits = visits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if goes {
            assert_eq!(called, Ok(json!({"content": []})), "{url}");
            let wanted = Visit {
                message: "Sign in.".to_owned(),
                url: url.to_owned(),
                id: Some("e".to_owned()),
            };
            assert_eq!(visits, [wanted]);
        } else {
            assert!(
                matches!(called, Err(ClientError::Rpc { code: -32042, .. })),
                "{url}"
            );
            assert_eq!(visits, []);
        }
    }
}

#[test]
fn visits_are_asked_for_in_both_eras() {
    let node = Local::start();
    for era in ERAS {
        let options = options(era).on_visit(|visit| {
            assert_eq!(visit.url, "https://example.com/in");
            std::future::ready(Action::Accept)
        });
        let client = node.connect(options);
        let result = client.run(async |client| client.call("sends", json!({})).await);
        assert_eq!(
            result.expect("a result")["content"][0]["text"],
            "Accept",
            "{era:?}"
        );
        client.close();
    }
}

#[test]
fn a_legacy_origin_is_asked_once_whether_it_is_modern() {
    let probes = Arc::new(AtomicUsize::new(0));
    let target = gated("https://example.com/", probes.clone());
    let cache = EraCache::new();
    for _ in 0..3 {
        let options = options(EraChoice::Auto).era_cache(&cache);
        let client = ninefold::client::Blocking::connect(&target, options).expect("a session");
        assert_eq!(client.run(async |client| client.era()), Era::Legacy);
    }
    assert_eq!(probes.load(Ordering::SeqCst), 1);
}

#[test]
fn a_result_is_held_to_what_its_tool_promised_when_it_was_listed() {
    let server = serve(|asked| {
        let tool = json!({"name": "t", "inputSchema": {"type": "object"},
            "outputSchema": {"type": "object", "required": ["n"]}});
        result(
            asked,
            &match asked {
                _ if asked.contains("server/discover") => json!({"resultType": "complete",
                    "supportedVersions": ["2026-07-28"], "capabilities": {}}),
                _ if asked.contains("tools/list") => {
                    json!({"resultType": "complete", "tools": [tool]})
                }
                _ => json!({"resultType": "complete", "content": [], "structuredContent": {}}),
            },
        )
    });
    let client = ninefold::client::Blocking::connect(&server, options(EraChoice::Modern));
    client.expect("a conversation").run(async |client| {
        // Nothing is known of it yet.
        client.call("t", json!({})).await.expect("a result");
        client.tools().await.expect("tools");
        let called = client.call("t", json!({})).await;
        assert!(
            matches!(called, Err(ClientError::Structure { .. })),
            "{called:?}"
        );
    });
}

#[test]
fn the_progress_of_a_call_reaches_who_made_it() {
    let node = Local::start();
    for era in ERAS {
        let client = node.connect(options(era));
        let (told, heard) = std::sync::mpsc::channel();
        let arguments = json!({"count": 3, "ms": 1});
        let done = client.run(async |client| {
            let told = Mutex::new(told);
            let tell = move |progress: ninefold::client::Progress| {
                let told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.send(progress.progress).expect("somebody who hears");
            };
            client.call_with_progress("ticks", arguments, tell).await
        });
        done.expect("a result");
        assert_eq!(heard.iter().collect::<Vec<_>>(), [1.0, 2.0, 3.0], "{era:?}");
    }
}
