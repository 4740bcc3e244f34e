//! A node in this process, with features that talk.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use ninefold::client::{Blocking, EraChoice, Options, Target};
use ninefold::limits::Limits;
use ninefold::server::Builder;
use ninefold::{
    Completing, Context, Elicit, Info, NoArguments, Node, NodeConfig, Resource, Sample, Server,
    TaskSupport,
};
use ninefold_runtime::sleep;
use serde_json::json;

pub(crate) struct Local {
    node: Node,
    server: Server,
}

/// Calls of `ticks` that were not let come to their end.
pub(crate) static CUT_OFF: AtomicUsize = AtomicUsize::new(0);

/// Counts a call that is dropped while it runs.
struct CutOff(bool);

impl Drop for CutOff {
    fn drop(&mut self) {
        CUT_OFF.fetch_add(usize::from(self.0), Ordering::SeqCst);
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Ticks {
    count: u32,
    ms: u64,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Wait {
    ms: u64,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Greet {
    /// Who is greeted.
    name: String,
}

/// Tools that are tasks, and one that sends the person to a page.
fn working(builder: Builder) -> Builder {
    builder
        .with_tasks()
        .context_tool(
            Info::new("works").task_support(TaskSupport::Optional),
            "Is a task",
            |Wait { ms }: Wait, to: Context| async move {
                let task = to.become_task().await;
                sleep(Duration::from_millis(ms)).await;
                task.to_string()
            },
        )
        .context_tool(
            Info::new("confirms").task_support(TaskSupport::Required),
            "Is a task that asks",
            |NoArguments {}, to: Context| async move {
                to.require_task().await;
                let form = Elicit::form_of("Sure?", json!({"type": "object"}));
                match to.elicit("sure", form).await {
                    Ok(answer) => format!("{:?}", answer.action),
                    Err(error) => error.to_string(),
                }
            },
        )
        .context_tool(
            "sends",
            "Sends the person to a page",
            |NoArguments {}, to: Context| async move {
                let page = Elicit::url("Sign in.", "https://example.com/in", "e");
                match to.elicit("page", page).await {
                    Ok(answer) => {
                        for id in ["never asked", "e", "e"] {
                            to.complete_elicitation(id);
                        }
                        format!("{:?}", answer.action)
                    }
                    Err(error) => error.to_string(),
                }
            },
        )
}

impl Local {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        adjust(&mut limits);
        let server = working(Server::builder("test", "1"))
            .limits(limits)
            .builtin_tools(|| UNIX_EPOCH)
            .context_tool(
                "ticks",
                "Tells of each tick",
                |Ticks { count, ms }, to: Context| async move {
                    // Those with fewer ticks are other tests'.
                    let mut cut_off = CutOff(count == 1000);
                    for n in 1..=count {
                        to.progress(n.into(), Some(count.into()), None);
                        sleep(Duration::from_millis(ms)).await;
                    }
                    cut_off.0 = false;
                    format!("{count} ticks")
                },
            )
            .context_tool(
                "asks",
                "Asks for a name",
                |NoArguments {}, of: Context| async move {
                    let form = json!({"type": "object", "properties": {
                    "name": {"type": "string"},
                    "age": {"type": "integer", "default": 30}}});
                    match of.elicit("name", Elicit::form_of("Who?", form)).await {
                        Ok(answer) => {
                            format!("{} {}", answer.content["name"], answer.content["age"])
                        }
                        Err(error) => error.to_string(),
                    }
                },
            )
            .context_tool(
                "thinks",
                "Asks a model",
                |NoArguments {}, of: Context| async move {
                    match of.sample("thought", Sample::new(10).user("Why?")).await {
                        Ok(answer) => answer.text().to_owned(),
                        Err(error) => error.to_string(),
                    }
                },
            )
            .resource(Resource::new("test://watched", "Watched"), || "seen")
            .prompt("hello", "Says hello", |Greet { name }| {
                format!("Hello, {name}!")
            })
            .complete_prompt("hello", "name", |_: Completing| vec!["Ada", "Alan"])
            .build()
            .expect("a server");
        let mut config = NodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            admin: None,
            ..NodeConfig::default()
        };
        config.runtime.shards = Some(2);
        let node = Node::start(server.clone(), &config).unwrap_or_else(|error| panic!("{error}"));
        Self { node, server }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn url(&self) -> String {
        url(self.node.address())
    }

    pub(crate) fn connect(&self, options: Options) -> Blocking {
        let target: Target = self.url().parse().expect("a target");
        Blocking::connect(&target, options).expect("a conversation")
    }
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}

pub(crate) fn options(era: EraChoice) -> Options {
    Options::new("test", "1").era(era)
}

pub(crate) const ERAS: [EraChoice; 2] = [EraChoice::Legacy, EraChoice::Modern];
