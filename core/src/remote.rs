//! The commands that speak to another server: call, list, read, prompt and ping.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ninefold::client::{
    AuthError, Blocking, Client, ClientError, EraChoice, Event, Options, Target, accept,
    limits::Limits,
};
use ninefold_runtime::clock::monotonic_ns;
use serde_json::{Map, Value, json};

use crate::access::Access;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 the server cannot be reached, refuses access or breaks the protocol; 2 usage;
3 the server answered with an error; 4 the tool ran and failed; 5 no answer in time.";

#[derive(Debug, Subcommand)]
pub(crate) enum Remote {
    /// Call a tool of a server and print its result.
    #[command(after_help = EXIT_CODES)]
    Call {
        #[command(flatten)]
        server: Server,
        /// Name of the tool.
        tool: String,
        /// Its arguments, a JSON object.
        #[arg(value_name = "JSON", value_parser = object, default_value = "{}")]
        arguments: Map<String, Value>,
    },
    /// List what a server offers.
    #[command(after_help = EXIT_CODES)]
    List {
        #[command(flatten)]
        server: Server,
        /// Only this [default: all that the server says it has].
        #[arg(value_enum)]
        kind: Option<Kind>,
    },
    /// Read a resource of a server and print its contents.
    #[command(after_help = EXIT_CODES)]
    Read {
        #[command(flatten)]
        server: Server,
        /// URI of the resource.
        uri: String,
    },
    /// Get a prompt of a server and print its messages.
    #[command(after_help = EXIT_CODES)]
    Prompt {
        #[command(flatten)]
        server: Server,
        /// Name of the prompt.
        name: String,
        /// Its arguments, a JSON object of texts.
        #[arg(value_name = "JSON", value_parser = object, default_value = "{}")]
        arguments: Map<String, Value>,
    },
    /// Ask a server for a sign of life; print who it is and how long that took.
    #[command(after_help = EXIT_CODES)]
    Ping {
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Where the server is: its URL, or in one argument the command that starts it.
    #[arg(value_name = "URL-OR-COMMAND")]
    target: Target,
    /// Print JSON: what the server answered, or its error under `error`, on one line.
    #[arg(long)]
    json: bool,
    /// How the protocol's era is chosen.
    #[arg(long, value_enum, default_value_t = Era::Auto)]
    era: Era,
    /// Seconds that the server may be silent; its progress starts them again.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    timeout: u64,
    /// Send this header with each HTTP request; may be given more than once.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Accept the server's forms with these values, and with its defaults for the others.
    #[arg(long, value_name = "JSON", value_parser = object)]
    answer: Option<Map<String, Value>>,
    /// Print progress and the server's log to stderr.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    access: Box<Access>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Era {
    /// The modern one if the server knows it.
    Auto,
    /// `initialize`, up to 2025-11-25.
    Legacy,
    /// `server/discover`, from 2026-07-28.
    Modern,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    Tools,
    Resources,
    Templates,
    Prompts,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("wanted a JSON object: {error}"))
}

fn header(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':');
    let parts = parts.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    parts.ok_or_else(|| "wanted `Name: value`".to_owned())
}

fn seconds() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=3600)
}

impl Server {
    fn options(&self) -> Result<Options, ClientError> {
        let era = match self.era {
            Era::Auto => EraChoice::Auto,
            Era::Legacy => EraChoice::Legacy,
            Era::Modern => EraChoice::Modern,
        };
        let (ms, by_default) = (self.timeout * 1000, Limits::default());
        let limits = Limits {
            request_ms: ms,
            request_total_ms: by_default.request_total_ms.max(ms),
            connect_ms: by_default.connect_ms.min(ms),
            probe_ms: by_default.probe_ms.min(ms),
            ..by_default
        };
        let mut options = Options::new("ninefold", env!("CARGO_PKG_VERSION"))
            .era(era)
            .limits(limits);
        for (name, value) in &self.headers {
            options = options.header(name, value);
        }
        if let Some(content) = self.answer.clone() {
            options = options
                .on_elicit(move |asked| std::future::ready(Ok(accept(&asked, content.clone()))));
        }
        if self.verbose {
            options = options.log_level("debug").on_event(tell);
        }
        self.access.apply(options)
    }
}

fn tell(event: Event) {
    match event {
        Event::Progress {
            progress,
            total,
            message,
        } => {
            let total = total.map_or(String::new(), |total| format!(" of {total}"));
            let message = message.unwrap_or_default();
            eprintln!(
                "{}",
                plain(&format!("progress {progress}{total} {message}"))
            );
        }
        Event::Log { level, data } => eprintln!("{}", plain(&format!("{level} {data}"))),
        Event::ListChanged(list) => eprintln!("{} changed", plain(&list)),
        Event::Updated(uri) => eprintln!("{} was updated", plain(&uri)),
        // Nothing else is for people.
        _ => {}
    }
}

/// Text of a server as a terminal may see it: control characters are spelt out.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => plain.extend(c.escape_default()),
            c => plain.push(c),
        }
    }
    plain
}

/// JSON as a terminal may see it: the control characters that JSON lets through are spelt out. They
/// stand within strings only.
fn printable(json: &Value) -> String {
    let mut printable = String::new();
    for c in json.to_string().chars() {
        match c {
            c if c.is_control() => printable.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => printable.push(c),
        }
    }
    printable
}

/// Runs a command to its exit code.
pub(crate) fn run(command: &Remote) -> ExitCode {
    let server = match command {
        Remote::Call { server, .. }
        | Remote::List { server, .. }
        | Remote::Read { server, .. }
        | Remote::Prompt { server, .. }
        | Remote::Ping { server } => server,
    };
    let outcome = server.options().and_then(|options| {
        let client = Blocking::connect(&server.target, options)?;
        let result = client.run(async |client| work(command, client).await);
        client.close();
        result
    });
    match outcome {
        Ok(result) => {
            let failed = result["isError"] == json!(true);
            match server.json {
                true => println!("{}", printable(&result)),
                false => print(command, &result),
            }
            ExitCode::from(if failed { 4 } else { 0 })
        }
        Err(error) => {
            eprintln!("ninefold: {}", plain(&error.to_string()));
            if let (
                true,
                ClientError::Rpc {
                    code,
                    message,
                    data,
                },
            ) = (server.json, &error)
            {
                let error = json!({"code": code, "message": message, "data": data});
                println!("{}", printable(&json!({"error": error})));
            }
            ExitCode::from(match error {
                ClientError::Option(_)
                | ClientError::Auth(AuthError::Option(_) | AuthError::Key(_)) => 2,
                ClientError::Rpc { .. } => 3,
                ClientError::Late { .. } => 5,
                _ => 1,
            })
        }
    }
}

async fn work(command: &Remote, client: &Client) -> Result<Value, ClientError> {
    match command {
        Remote::Call {
            tool, arguments, ..
        } => client.call(tool, arguments.clone().into()).await,
        Remote::List { kind, .. } => list(client, *kind).await,
        Remote::Read { uri, .. } => client.read(uri).await,
        Remote::Prompt {
            name, arguments, ..
        } => client.prompt(name, arguments.clone().into()).await,
        Remote::Ping { .. } => {
            let start = monotonic_ns();
            client.ping().await?;
            let server = client.server();
            Ok(json!({
                "version": server.version.as_str(), "server": server.info,
                "micros": (monotonic_ns() - start) / 1000,
            }))
        }
    }
}

async fn list(client: &Client, wanted: Option<Kind>) -> Result<Value, ClientError> {
    let capabilities = client.server().capabilities;
    let mut lists = json!({});
    for (kind, capability, member) in [
        (Kind::Tools, "tools", "tools"),
        (Kind::Resources, "resources", "resources"),
        (Kind::Templates, "resources", "resourceTemplates"),
        (Kind::Prompts, "prompts", "prompts"),
    ] {
        let unasked = wanted.is_none() && capabilities.get(capability).is_some();
        if wanted == Some(kind) || unasked {
            let entries = match kind {
                Kind::Tools => client.tools().await,
                Kind::Resources => client.resources().await,
                Kind::Templates => client.templates().await,
                Kind::Prompts => client.prompts().await,
            };
            lists[member] = entries?.into();
        }
    }
    Ok(lists)
}

/// Prints for people.
fn print(command: &Remote, result: &Value) {
    let each = |member: &str| result[member].as_array().into_iter().flatten();
    match command {
        Remote::Call { .. } => each("content").for_each(print_content),
        Remote::Read { .. } => each("contents").for_each(print_resource),
        Remote::Prompt { .. } => {
            for message in each("messages") {
                println!("{}:", plain(message["role"].as_str().unwrap_or_default()));
                print_content(&message["content"]);
            }
        }
        Remote::Ping { .. } => {
            let text = |value: &Value| plain(value.as_str().unwrap_or("?"));
            let (name, version) = (&result["server"]["name"], &result["server"]["version"]);
            let (name, version) = (text(name), text(version));
            let micros = &result["micros"];
            println!(
                "{name} {version}, MCP {}, {micros} us",
                text(&result["version"])
            );
        }
        Remote::List { .. } => {
            for (kind, entries) in result.as_object().into_iter().flatten() {
                println!("{kind}:");
                for entry in entries.as_array().into_iter().flatten() {
                    print_entry(entry);
                }
            }
        }
    }
}

fn print_entry(entry: &Value) {
    let name = ["uri", "uriTemplate", "name"].map(|key| entry[key].as_str());
    let name = name.into_iter().flatten().next().unwrap_or("?");
    let about = ["description", "title", "name"].map(|key| entry[key].as_str());
    let about = about.into_iter().flatten().next().unwrap_or_default();
    let about = about.lines().next().unwrap_or_default();
    println!("  {:32} {}", plain(name), plain(about));
}

fn print_content(content: &Value) {
    match content["type"].as_str() {
        Some("text") => println!("{}", plain(content["text"].as_str().unwrap_or_default())),
        Some("resource") => print_resource(&content["resource"]),
        Some("resource_link") => print_entry(content),
        _ => print_data(content, &content["data"]),
    }
}

fn print_resource(resource: &Value) {
    match resource["text"].as_str() {
        Some(text) => println!("{}", plain(text)),
        None => print_data(resource, &resource["blob"]),
    }
}

fn print_data(of: &Value, data: &Value) {
    let kind = of["mimeType"].as_str().unwrap_or("data");
    let length = data.as_str().unwrap_or_default().len();
    println!(
        "[{}, {length} characters of base64: see --json]",
        plain(kind)
    );
}
