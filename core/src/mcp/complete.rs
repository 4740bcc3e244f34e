//! `completion/complete`.

use ninefold_runtime::panics::catch;

use super::dispatch::{Asker, Flow};
use super::work::{Kind, panicked};
use crate::completion::Completing;
use crate::resource::Variables;
use crate::rpc::{Id, RpcError, Value, write};
use crate::server::json;
use crate::service::Service;

/// Offers values for one argument of a prompt or one variable of a template. What exists but has
/// no one to complete it is offered nothing.
pub(crate) fn complete(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    params: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    let refuse = |what: &'static str| RpcError::invalid_params(what);
    let text = |of: &str, key: &str| params.get(of)?.get(key)?.as_str();
    let (is_prompt, of) = match text("ref", "type") {
        Some("ref/prompt") => (true, text("ref", "name")),
        Some("ref/resource") => (false, text("ref", "uri")),
        _ => {
            return Err(refuse(
                "Invalid params: ref must be ref/prompt or ref/resource",
            ));
        }
    };
    // [mcp:completions-input]
    let of = of.ok_or(refuse("Invalid params: ref must have a name or a uri"))?;
    let (Some(argument), Some(value)) = (text("argument", "name"), text("argument", "value"))
    else {
        return Err(refuse(
            "Invalid params: argument must have a name and a value",
        ));
    };
    let edition = service.edition();
    let features = edition.catalog.features();
    let known = if is_prompt {
        edition.catalog.prompt(of).is_some()
    } else {
        let mut keys = features.templates.iter().map(|it| it.definition.key());
        keys.any(|key| key == of) || edition.catalog.reader(of).is_some()
    };
    if !known {
        return Err(refuse(
            "Invalid params: ref names nothing that this server has",
        ));
    }
    let others = params.get("context").and_then(|it| it.get("arguments"));
    let others = others.and_then(Value::as_object).unwrap_or_default();
    let others = others
        .iter()
        .filter_map(|&(name, value)| Some((name.to_owned(), value.as_str()?.to_owned())));
    let others = Variables(others.collect());
    let mut completers = features.completers.iter();
    let completer =
        completers.find(|it| it.is_prompt == is_prompt && it.of == of && it.argument == argument);
    let asked = Completing {
        value,
        others: &others,
    };
    let completed = catch(|| completer.map(|it| it.complete(asked)).unwrap_or_default())
        .map_err(|caught| panicked(service, Kind::Prompt, of, &caught))?;
    write::open_result(out, id);
    out.extend_from_slice(br#"{"completion":"#);
    out.extend_from_slice(json(&completed).as_bytes());
    service.server().stamp().close(asker.era, out);
    out.push(b'}');
    Ok(Flow::Done)
}
