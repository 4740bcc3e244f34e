//! `tools/call`, which differs between the eras by its stamp and its rounds alone.

use std::fmt::Display;

use ninefold_runtime::panics::catch;

use super::dispatch::{Asker, Flow, Opener};
use super::work::{Kind, Made, Work, panicked};
use super::{Era, tasks};
use crate::counters::{Counters, bump};
use crate::rpc::{Id, RpcError, Value, write};
use crate::service::Service;
use crate::tool::{Call, LocalBoxFuture, Members, ResultWriter, Started, ToolEntry, ToolResult};

/// Calls the tool that `params` names, and writes the whole answer if it is done at once.
pub(crate) fn call(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    params: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    let Named {
        name,
        arguments,
        round,
    } = Named::of(params)?;
    let server = service.server();
    let edition = service.edition();
    let Some(entry) = edition.catalog.tools.find(name) else {
        return Err(unknown("tool", name));
    };
    if let Some(mirror) = &asker.mirror {
        mirror.check_params(&entry.mirrored, arguments)?;
    }
    let support = entry.tool.definition().task_support();
    let wish = tasks::wish(service, asker, name, support, params)?;
    let opener = Opener::new(service, asker, "tools/call", params, round)?;
    if wish.is_some() {
        opener.talk().grant_task(true);
    }
    let beginning = out.len();
    write::open_result(out, id);
    let start = out.len();
    let mut result = ResultWriter::new(out);
    let call = Call {
        arguments,
        make_context: &|| opener.context(),
    };
    let started = catch(|| entry.tool.start(call, &mut result));
    match started.map_err(|caught| panicked(service, Kind::Tool, name, &caught))? {
        Started::Finished => {
            let structure = entry.structure.as_ref();
            if let Some(why) = structure.and_then(|it| result.breaks(it)) {
                return Err(unfit(service.counters(), name, &why));
            }
        }
        Started::Refused => {
            bump(&service.counters().tool_arguments_refused);
            service.log_refusal(200, &format_args!("arguments of tool {name:?} do not fit"));
        }
        Started::Running(future) => {
            out.truncate(beginning);
            let future = made(service, asker.era, name, entry, future);
            if let Some(wish) = wish {
                return tasks::begin(service, asker, id, name, &opener, &wish, future);
            }
            let work = Work::new(id, Kind::Tool, name, &opener, future);
            return Ok(Flow::Goes(Box::new(work)));
        }
    }
    let mut meta = result.finish(asker.era);
    if let Some(wish) = wish {
        // It is done already, and told as one that begins to work.
        let json = out.split_off(start);
        out.truncate(beginning);
        let future = Box::pin(std::future::ready(Made::Members(Members { json, meta })));
        return tasks::begin(service, asker, id, name, &opener, &wish, future);
    }
    limit_output(service, name, start, &mut meta, out);
    server.stamp().close_with(asker.era, &meta, out);
    out.push(b'}');
    Ok(Flow::Done)
}

/// The future of a call, whose result is held to what its tool promised.
fn made(
    service: &Service,
    era: Era,
    name: &str,
    entry: &ToolEntry,
    future: LocalBoxFuture<'static, ToolResult>,
) -> LocalBoxFuture<'static, Made> {
    let held = entry.structure.clone().map(|structure| {
        let (counters, name) = (service.shared_counters(), name.to_owned());
        (structure, counters, name)
    });
    Box::pin(async move {
        let result = future.await;
        if let Some((structure, counters, name)) = held
            && let Some(why) = result.breaks(&structure)
        {
            return Made::Refused(unfit(&counters, &name, &why));
        }
        match result.into_members(era) {
            Ok(members) => Made::Members(members),
            Err(caught) => Made::Panicked(caught),
        }
    })
}

/// The error of a call whose tool has not kept its promise. What it made goes nowhere: the mistake
/// is the server's, and a client that trusts the schema would trip over it.
// [mcp:tools-output]
fn unfit(counters: &Counters, tool: &str, why: &str) -> RpcError {
    bump(&counters.tool_output_unfit);
    tracing::error!(
        tool,
        why,
        "structured content does not fit the tool's outputSchema"
    );
    RpcError::internal()
}

/// The parameters of a call of a tool, and of the like for a prompt.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    /// An object.
    pub(super) arguments: Value<'a>,
    /// `inputResponses` and `requestState`.
    pub(super) round: [Option<Value<'a>>; 2],
}

impl<'a> Named<'a> {
    pub(super) fn of(params: Value<'a>) -> Result<Self, RpcError> {
        let [name, arguments, responses, state] = params
            // [mcp:tasks-ignored]
            .pick(["name", "arguments", "inputResponses", "requestState"])
            .map_err(|key| RpcError::invalid_params(format!("Invalid params: duplicate {key}")))?;
        let Some(Value::Str(name)) = name else {
            return Err(RpcError::invalid_params(
                "Invalid params: name must be a string",
            ));
        };
        Ok(Self {
            name,
            arguments: arguments_of(arguments)?,
            round: [responses, state],
        })
    }
}

/// The refusal of a name that is not on offer; a long one is cut.
pub(super) fn unknown(what: &str, name: &str) -> RpcError {
    let name: String = name.chars().take(64).collect();
    RpcError::invalid_params(format!("Unknown {what}: {name}"))
}

/// The `arguments` of a request: an object, empty if absent.
fn arguments_of(arguments: Option<Value<'_>>) -> Result<Value<'_>, RpcError> {
    match arguments.unwrap_or_default() {
        Value::Null => Ok(Value::Object(&[])),
        object @ Value::Object(_) => Ok(object),
        _ => Err(RpcError::invalid_params(
            "Invalid params: arguments must be an object",
        )),
    }
}

/// Replaces the result that begins at `start` if it is, with its `_meta`, over its limit.
pub(super) fn limit_output(
    service: &Service,
    tool: &str,
    start: usize,
    meta: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let (found, limit) = (
        out.len() - start + meta.len(),
        service.server().limits().tool_output_bytes,
    );
    if found > limit {
        meta.clear();
        bump(&service.counters().tool_output_over_limit);
        tracing::warn!(tool, found, limit, "tool result over the limit of bytes");
        out.truncate(start);
        fail(
            out,
            &format_args!("the result of {found} bytes is over the limit of {limit}"),
        );
    }
}

/// Writes the members of a result that is an error.
pub(super) fn fail(out: &mut Vec<u8>, why: &impl Display) {
    let mut result = ResultWriter::new(out);
    result.fail(why);
    result.finish(Era::Legacy);
}
