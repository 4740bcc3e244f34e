//! `prompts/get`.

use ninefold_runtime::panics::catch;

use super::call::{Named, unknown};
use super::dispatch::{Asker, Flow, Opener};
use super::work::{Kind, Made, Work, panicked};
use crate::prompt::{Begun, Messages};
use crate::rpc::{Id, RpcError, Value, write};
use crate::server::json;
use crate::service::Service;

/// Writes the prompt that `params` names: the whole answer, if it is done at once.
pub(crate) fn get(
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
    let edition = service.edition();
    // [mcp:prompts-input]
    let Some(prompt) = edition.catalog.prompt(name) else {
        return Err(unknown("prompt", name));
    };
    let opener = Opener::new(service, asker, "prompts/get", params, round)?;
    let begun = catch(|| prompt.begin(arguments, &|| opener.context()));
    let begun = begun.map_err(|caught| panicked(service, Kind::Prompt, name, &caught))?;
    let limit = service.server().limits().content_bytes;
    let description = json(&prompt.definition.description);
    match begun {
        Begun::Done(messages) => {
            let members = members(&description, limit, messages)?;
            write::open_result(out, id);
            out.extend_from_slice(&members);
            service.server().stamp().close(asker.era, out);
            out.push(b'}');
            Ok(Flow::Done)
        }
        Begun::Running(future) => {
            let future = async move {
                match members(&description, limit, future.await) {
                    Ok(members) => Made::Members(members),
                    Err(error) => Made::Refused(error),
                }
            };
            let work = Work::new(id, Kind::Prompt, name, &opener, Box::pin(future));
            Ok(Flow::Goes(Box::new(work)))
        }
    }
}

/// The members of the result, the object left open.
fn members(description: &str, limit: usize, messages: Messages) -> Result<Vec<u8>, RpcError> {
    let messages = json(&messages?);
    if messages.len() > limit {
        return Err(RpcError::too_large(messages.len(), limit));
    }
    Ok(format!(r#"{{"description":{description},"messages":{messages}"#).into_bytes())
}
