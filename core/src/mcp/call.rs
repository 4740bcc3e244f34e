//! `tools/call`, which differs between the eras by its stamp and its rounds alone.

use std::fmt::Display;

use ninefold_runtime::panics::catch;

use super::dispatch::{Asker, Flow, Opener};
use super::work::{Kind, Made, Work, panicked};
use crate::counters::bump;
use crate::rpc::{Id, RpcError, Value, write};
use crate::service::Service;
use crate::tool::{Call, ResultWriter, Started};

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
    let opener = Opener::new(service, asker, "tools/call", params, round)?;
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
        Started::Finished => result.finish(),
        Started::Refused => {
            result.finish();
            bump(&service.counters().tool_arguments_refused);
            service.log_refusal(200, &format_args!("arguments of tool {name:?} do not fit"));
        }
        Started::Running(future) => {
            out.truncate(beginning);
            let future = async {
                match future.await.into_members() {
                    Ok(members) => Made::Members(members),
                    Err(caught) => Made::Panicked(caught),
                }
            };
            let work = Work::new(id, Kind::Tool, name, &opener, Box::pin(future));
            return Ok(Flow::Goes(Box::new(work)));
        }
    }
    limit_output(service, name, start, out);
    server.stamp().close(asker.era, out);
    out.push(b'}');
    Ok(Flow::Done)
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

/// Replaces the result that begins at `start` if it is over its limit.
pub(super) fn limit_output(service: &Service, tool: &str, start: usize, out: &mut Vec<u8>) {
    let (found, limit) = (
        out.len() - start,
        service.server().limits().tool_output_bytes,
    );
    if found > limit {
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
    result.finish();
}
