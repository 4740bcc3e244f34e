//! Instructions of a call in user mode: from the CPU's own counter where the host has one, else
//! counted one by one under callgrind, else not at all.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::ScenarioError;
use super::http::bytes_of;
use super::sustained_http::CONNECTIONS;
use crate::load::conn::{exchange, read_reply};
use crate::load::spec::LoadError;
use crate::load::wire::{self, Endpoint, ID_BASE, Wire};
use crate::measure::counter::Instructions;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::process::ProcessError;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// The metric.
const ID: &str = "http.instructions_per_call";
/// Calls by the CPU's counter, on each connection.
const ROUNDS_COUNTED: u64 = 200;
/// Calls of the two runs under callgrind, on each connection: the difference of the runs has
/// neither start nor end of the node in it.
const ROUNDS: [u64; 2] = [10, 60];
/// Bound of a node under callgrind, which is fifty times slower, to start or to end.
const WATCHED_WITHIN: Duration = Duration::from_secs(120);
/// How long one answer of it may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Counts the instructions of `node` for a call, or of a node of its own under callgrind.
pub(super) fn instructions(
    plan: &Plan,
    recorder: &mut Recorder,
    node: &NodeProcess,
) -> Result<(), ScenarioError> {
    let refused = match counted(node) {
        Ok((each, calls)) => {
            recorder.metric(ID, each, Unit::Count, calls);
            recorder.note(format!("{ID}: by the CPU's counter, user mode"));
            return Ok(());
        }
        Err(refused) => refused,
    };
    if plan.phase == Phase::Quick {
        recorder.note(format!("{ID}: absent, {refused}; `full` asks callgrind"));
        return Ok(());
    }
    match callgrind(plan) {
        Ok((each, calls)) => {
            recorder.metric(ID, each, Unit::Count, calls);
            recorder.note(format!("{ID}: callgrind's count, user mode; {refused}"));
        }
        Err(why @ ScenarioError::Process(ProcessError::Interrupted { .. })) => return Err(why),
        Err(why) => recorder.note(format!("{ID}: absent, {refused}; callgrind: {why}")),
    }
    Ok(())
}

/// Instructions of a call by the CPU's counter, and the calls that this rests on.
fn counted(node: &NodeProcess) -> Result<(f64, u64), String> {
    let refused = |e: std::io::Error| format!("the host gives no counter of instructions ({e})");
    let mut counter = Instructions::of(node.pid()).map_err(refused)?;
    let mut callers = Callers::open(node).map_err(|e| e.to_string())?;
    let before = counter.read().map_err(refused)?;
    callers.ask(ROUNDS_COUNTED).map_err(|e| e.to_string())?;
    let found = counter.read().map_err(refused)?.saturating_sub(before);
    let calls = ROUNDS_COUNTED * CONNECTIONS as u64;
    if found == 0 {
        return Err("the host's counter of instructions stands still".into());
    }
    Ok((found as f64 / calls as f64, calls))
}

/// Instructions of a call, and the calls that this rests on.
fn callgrind(plan: &Plan) -> Result<(f64, u64), ScenarioError> {
    let totals = [watched(plan, ROUNDS[0])?, watched(plan, ROUNDS[1])?];
    let calls = (ROUNDS[1] - ROUNDS[0]) * CONNECTIONS as u64;
    let more = totals[1].saturating_sub(totals[0]);
    if more == 0 {
        let same = "wanted more instructions for more calls, found no difference";
        return Err(ScenarioError::Host(same.into()));
    }
    Ok((more as f64 / calls as f64, calls))
}

/// Instructions of a whole node from start to end that answers `rounds` calls a connection.
fn watched(plan: &Plan, rounds: u64) -> Result<u64, ScenarioError> {
    let io = |what: &str, e: &std::io::Error| ScenarioError::Host(format!("{what}: {e}"));
    fs::create_dir_all(&plan.out).map_err(|e| io("create the report's directory", &e))?;
    let out = plan.out.join(format!("callgrind.{rounds}.out"));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&plan.exe);
    let spec = NodeSpec::one_shard(plan);
    let node = NodeProcess::start_as(command, plan, &spec, WATCHED_WITHIN)?;
    Callers::open(&node)?.ask(rounds)?;
    node.finish()?;
    let text = fs::read_to_string(&out).map_err(|e| io("read callgrind's count", &e))?;
    let _ = fs::remove_file(&out);
    total(&text).ok_or_else(|| {
        ScenarioError::Host("wanted a line `totals:` in callgrind's file, found none".into())
    })
}

/// The instructions in a file of callgrind (its manual, "file format": `totals:`).
fn total(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("totals:"))?
        .trim()
        .parse()
        .ok()
}

/// Connections that call in step: all send, then all are heard. How many calls there were is
/// known to the last one.
struct Callers {
    to: Endpoint,
    streams: Vec<TcpStream>,
    request: Vec<u8>,
}

impl Callers {
    /// Opens them, each with a first call.
    fn open(node: &NodeProcess) -> Result<Self, LoadError> {
        let to = Endpoint {
            target: node.ready.address,
            path: "/mcp".into(),
        };
        let text = wire::padding(Wire::Modern, bytes_of(Wire::Modern));
        let template = wire::call(Wire::Modern, &to, &text, None);
        let open = |_| {
            let mut stream =
                TcpStream::connect(to.target).map_err(LoadError::io("connect to the node"))?;
            stream
                .set_read_timeout(Some(ANSWER_WITHIN))
                .map_err(LoadError::io("set a read timeout"))?;
            exchange(&mut stream, &to, &template)?;
            Ok(stream)
        };
        let streams = (0..CONNECTIONS)
            .map(open)
            .collect::<Result<_, LoadError>>()?;
        let mut request = Vec::with_capacity(template.len());
        template.stamp(ID_BASE, &mut request);
        Ok(Self {
            to,
            streams,
            request,
        })
    }

    /// `rounds` calls over every connection.
    fn ask(&mut self, rounds: u64) -> Result<(), LoadError> {
        for _ in 0..rounds {
            for stream in &mut self.streams {
                stream
                    .write_all(&self.request)
                    .map_err(LoadError::io("send a call"))?;
            }
            for stream in &mut self.streams {
                let (_, reply) = read_reply(stream, &self.to)?;
                if reply.status != 200 {
                    return Err(LoadError::Handshake {
                        target: self.to.target,
                        reason: format!("wanted status 200, found {}", reply.status),
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_and_nothing_else_is_taken_for_it() {
        let file = "events: Ir\nsummary: 12\nfn=(1) totals: 5\ntotals: 1234567\n";
        assert_eq!(total(file), Some(1_234_567));
        assert_eq!(total("summary: 12\n"), None);
    }
}
