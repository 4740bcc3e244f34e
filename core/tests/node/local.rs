//! A node in this process, with tools that misbehave and limits that can be reached.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, UNIX_EPOCH};

use ninefold::limits::Limits;
use ninefold::server::Builder;
use ninefold::{
    Context, Elicit, Info, NoArguments, Node, NodeConfig, Resource, Server, TaskSupport,
};
use ninefold_runtime::sleep;
use serde_json::json;

use crate::target::Target;

/// A running node; stops when dropped.
pub(crate) struct Local {
    target: Target,
    node: Node,
    server: Server,
}

impl Deref for Local {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Local {
    /// One shard under the default limits.
    pub(crate) fn start() -> Self {
        Self::with(1, |_| {})
    }

    pub(crate) fn with(shards: usize, adjust: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        adjust(&mut limits);
        let server = Server::builder("test", "1")
            .limits(limits)
            .builtin_tools(|| UNIX_EPOCH);
        let server = working(talking(misbehaving(server)));
        Self::serving(&server.build().expect("a server"), shards)
    }

    /// A node that serves `server`.
    pub(crate) fn serving(server: &Server, shards: usize) -> Self {
        capture_log();
        let mut config = NodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            admin: Some(([127, 0, 0, 1], 0).into()),
            ..NodeConfig::default()
        };
        config.runtime.shards = Some(shards);
        let node = Node::start(server.clone(), &config).unwrap_or_else(|error| panic!("{error}"));
        let admin = node.admin_address().expect("an admin listener");
        Self {
            target: Target {
                mcp: node.address(),
                admin,
            },
            node,
            server: server.clone(),
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The server that runs, to change what it offers.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Drains the node; how many tasks had to be dropped.
    pub(crate) fn shutdown(self) -> u64 {
        self.node.shutdown().tasks_dropped
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Page {
    id: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Block {
    ms: u64,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Large {
    bytes: usize,
}

fn fall(how: &str) {
    if !how.is_empty() {
        panic!("secret of {how}");
    }
}

fn misbehaving(builder: Builder) -> Builder {
    builder
        .tool("panics", "Panics at once", |NoArguments {}| fall("panics"))
        .async_tool(
            "panics_later",
            "Panics behind an await",
            |NoArguments {}| async {
                ninefold_runtime::yield_now().await;
                fall("panics_later");
            },
        )
        .blocking_tool("panics_elsewhere", "Panics on the pool", |NoArguments {}| {
            fall("panics_elsewhere");
        })
        .tool(
            "blocks",
            "Holds its shard, as no tool should",
            |Block { ms }| {
                std::thread::sleep(Duration::from_millis(ms));
            },
        )
        .blocking_tool(
            "blocks_elsewhere",
            "Holds a thread of the pool",
            |Block { ms }| {
                std::thread::sleep(Duration::from_millis(ms));
            },
        )
        .tool("large", "Answers much", |Large { bytes }| "x".repeat(bytes))
}

/// Calls of `ticks`, of up to 100, that were not let come to their end.
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

fn talking(builder: Builder) -> Builder {
    builder
        .context_tool(
            Info::new("ticks").task_support(TaskSupport::Optional),
            "Tells of each tick",
            |Ticks { count, ms }, to: Context| async move {
                // Those with more ticks are other tests'.
                let mut cut_off = CutOff(count <= 100);
                for n in 1..=count {
                    to.progress(n.into(), Some(count.into()), None);
                    sleep(Duration::from_millis(ms)).await;
                }
                cut_off.0 = false;
                format!("{count} ticks")
            },
        )
        .context_tool(
            "polls",
            "Ends its stream early",
            |Block { ms }, to: Context| async move {
                to.end_stream();
                sleep(Duration::from_millis(ms)).await;
                "late"
            },
        )
        .context_tool(
            "asks",
            "Asks for a name",
            |NoArguments {}, of: Context| async move {
                let form = Elicit::form_of("Who?", json!({"type": "object", "properties": {}}));
                match of.elicit("name", form).await {
                    Ok(answer) => format!("{:?} {}", answer.action, answer.content["name"]),
                    Err(error) => error.to_string(),
                }
            },
        )
        .context_tool(
            Info::new("sends").task_support(TaskSupport::Optional),
            "Sends the person to a page",
            |Page { id }, to: Context| async move {
                let page = Elicit::url("Sign in.", "https://example.com/in", &id);
                match to.elicit("page", page).await {
                    Ok(answer) => {
                        to.complete_elicitation(&id);
                        format!("{:?}", answer.action)
                    }
                    Err(error) => error.to_string(),
                }
            },
        )
        .resource(Resource::new("test://watched", "Watched"), || "seen")
        .prompt("hello", "Says hello", |NoArguments {}| "hello")
}

/// Tools that become tasks.
fn working(builder: Builder) -> Builder {
    builder
        .with_tasks()
        .context_tool(
            Info::new("works").task_support(TaskSupport::Optional),
            "Is a task",
            |Block { ms }, to: Context| async move {
                let mut cut_off = CutOff(true);
                let task = to.become_task().await;
                sleep(Duration::from_millis(ms)).await;
                cut_off.0 = false;
                task.to_string()
            },
        )
        .context_tool(
            Info::new("breaks").task_support(TaskSupport::Optional),
            "Is a task that breaks",
            |NoArguments {}, to: Context| async move {
                to.become_task().await;
                fall("breaks");
            },
        )
        .context_tool(
            Info::new("confirms").task_support(TaskSupport::Required),
            "Is a task that asks",
            |NoArguments {}, to: Context| async move {
                to.require_task().await;
                let form = Elicit::form_of("Sure?", json!({"type": "object", "properties": {}}));
                match to.elicit("sure", form).await {
                    Ok(answer) => format!("{:?}", answer.action),
                    Err(error) => error.to_string(),
                }
            },
        )
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What the nodes of this process have logged so far.
pub(crate) fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().expect("a log")).into_owned()
}

fn capture_log() {
    struct Sink;
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LOG.lock().expect("a log").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Sink);
        log.with_max_level(tracing::Level::DEBUG).init();
    });
}
