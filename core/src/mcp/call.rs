//! `tools/call` and `tools/list`, which differ between the eras by their stamp alone.

use std::fmt::Display;
use std::time::Duration;

use ninefold_runtime::panics::{Caught, catch};

use super::Era;
use crate::counters::bump;
use crate::rpc::{Id, RpcError, Value, write};
use crate::service::Service;
use crate::tool::{Call, LocalBoxFuture, ResultWriter, Started, Stopped, ToolResult, to_end};

/// Calls the tool that `params` names and writes the whole answer.
pub(crate) async fn call(
    service: &Service,
    era: Era,
    id: Id<'_>,
    params: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RpcError> {
    let [name, arguments] = params
        .pick(["name", "arguments"])
        .map_err(|key| RpcError::invalid_params(format!("Invalid params: duplicate {key}")))?;
    let Some(Value::Str(name)) = name else {
        return Err(RpcError::invalid_params(
            "Invalid params: name must be a string",
        ));
    };
    let arguments = match arguments.unwrap_or_default() {
        Value::Null => Value::Object(&[]),
        object @ Value::Object(_) => object,
        _ => {
            return Err(RpcError::invalid_params(
                "Invalid params: arguments must be an object",
            ));
        }
    };
    let server = service.server();
    let Some(tool) = server.registry().find(name) else {
        let name: String = name.chars().take(64).collect();
        return Err(RpcError::invalid_params(format!("Unknown tool: {name}")));
    };
    write::open_result(out, id);
    let start = out.len();
    let mut result = ResultWriter::new(out);
    let started = catch(|| tool.start(Call { arguments }, &mut result));
    match started.map_err(|caught| panicked(service, name, &caught))? {
        Started::Finished => result.finish(),
        Started::Refused => {
            result.finish();
            bump(&service.counters().tool_arguments_refused);
            service.log_refusal(200, &format_args!("arguments of tool {name:?} do not fit"));
        }
        Started::Running(future) => {
            out.truncate(start);
            run(service, name, future, out).await?;
        }
    }
    limit_output(service, name, start, out);
    server.stamp().close(era, out);
    out.push(b'}');
    Ok(())
}

/// Waits for a tool that is a future, within its deadline.
async fn run(
    service: &Service,
    tool: &str,
    future: LocalBoxFuture<'static, ToolResult>,
    out: &mut Vec<u8>,
) -> Result<(), RpcError> {
    let deadline = Duration::from_millis(service.server().limits().tool_deadline_ms);
    match to_end(future, deadline, service.sleep()).await {
        Ok(members) => out.extend_from_slice(&members),
        Err(Stopped::Panicked(caught)) => return Err(panicked(service, tool, &caught)),
        Err(Stopped::Late) => {
            bump(&service.counters().tool_late);
            tracing::warn!(tool, ?deadline, "tool stopped at its deadline");
            fail(
                out,
                &format_args!("the tool did not finish within {deadline:?}"),
            );
        }
    }
    Ok(())
}

/// The cause stays in the log: to a client it would be a look inside.
fn panicked(service: &Service, tool: &str, caught: &Caught) -> RpcError {
    bump(&service.counters().tool_panic);
    let Caught { message, place, .. } = caught;
    tracing::error!(tool, %message, %place, "tool panicked");
    RpcError::internal()
}

fn limit_output(service: &Service, tool: &str, start: usize, out: &mut Vec<u8>) {
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

fn fail(out: &mut Vec<u8>, why: &impl Display) {
    let mut result = ResultWriter::new(out);
    result.fail(why);
    result.finish();
}

/// Writes the list of tools; there is one page, so no cursor can be valid.
pub(crate) fn list(
    service: &Service,
    era: Era,
    id: Id<'_>,
    params: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RpcError> {
    if !matches!(params.get("cursor"), None | Some(Value::Null)) {
        return Err(RpcError::invalid_params("Invalid params: unknown cursor"));
    }
    write::open_result(out, id);
    out.extend_from_slice(service.server().tools_list(era));
    out.push(b'}');
    Ok(())
}
