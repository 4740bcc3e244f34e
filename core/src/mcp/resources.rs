//! `resources/read`.

use std::borrow::Cow;

use ninefold_runtime::panics::catch;

use super::Era;
use super::dispatch::{Asker, Flow, Opener};
use super::work::{Kind, Made, Work, panicked};
use crate::resource::{Reader, Reading};
use crate::rpc::{Id, RpcError, Value, write};
use crate::server::json;
use crate::service::Service;

/// Reads the resource that `params` names, and writes the whole answer if it is read at once.
pub(crate) fn read(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    params: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    let [uri, responses, state] = params
        .pick(["uri", "inputResponses", "requestState"])
        .map_err(|key| RpcError::invalid_params(format!("Invalid params: duplicate {key}")))?;
    // [mcp:resources-uri]
    let Some(Value::Str(uri)) = uri else {
        return Err(RpcError::invalid_params(
            "Invalid params: uri must be a string",
        ));
    };
    let edition = service.edition();
    let Some((reader, variables, mime_type)) = edition.catalog.reader(uri) else {
        return Err(RpcError::no_resource(asker.era, uri));
    };
    let opener = Opener::new(service, asker, "resources/read", params, [responses, state])?;
    let limit = service.server().limits().content_bytes;
    let broken = |caught| panicked(service, Kind::Resource, uri, &caught);
    match reader {
        Reader::Now(read) => {
            let reading = catch(|| read(&variables)).map_err(broken)?;
            let members = members(asker.era, uri, mime_type, limit, reading)?;
            write::open_result(out, id);
            out.extend_from_slice(&members);
            service.server().stamp().close_fresh(asker.era, out);
            out.push(b'}');
            Ok(Flow::Done)
        }
        Reader::Later(read) => {
            let future = catch(|| read(variables, opener.context())).map_err(broken)?;
            let (era, at, mime_type) = (asker.era, uri.to_owned(), mime_type.cloned());
            let future = async move {
                match members(era, &at, mime_type.as_ref(), limit, future.await) {
                    Ok(members) => Made::Members(members),
                    Err(error) => Made::Refused(error),
                }
            };
            let work = Work::new(id, Kind::Resource, uri, &opener, Box::pin(future));
            Ok(Flow::Goes(Box::new(work)))
        }
    }
}

/// The members of the result, the object left open.
fn members(
    era: Era,
    uri: &str,
    mime_type: Option<&Cow<'static, str>>,
    limit: usize,
    reading: Reading,
) -> Result<Vec<u8>, RpcError> {
    // Empty contents would say that the resource is there and holds nothing.
    let contents = reading?.filter(|contents| !contents.is_empty());
    let contents = contents.ok_or_else(|| RpcError::no_resource(era, uri))?;
    let contents: Vec<_> = contents
        .into_iter()
        .map(|it| it.or(uri, mime_type))
        .collect();
    let contents = json(&contents);
    if contents.len() > limit {
        return Err(RpcError::too_large(contents.len(), limit));
    }
    Ok(format!(r#"{{"contents":{contents}"#).into_bytes())
}
