//! `completion/complete`.

use ninefold_runtime::panics::catch;

use super::dispatch::{Asker, Flow, Opener};
use super::work::{Kind, Made, Work, panicked};
use crate::completion::{Complete, Completed, Completing, Offered};
use crate::resource::Variables;
use crate::rpc::{Id, RpcError, Value, write};
use crate::server::json;
use crate::service::Service;

/// Offers values for one argument of a prompt or one variable of a template. What exists but has
/// no one to complete it is offered nothing.
// [mcp:completions-input]
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
    let mut completions = features.completions.iter();
    let completion =
        completions.find(|it| it.is_prompt == is_prompt && it.of == of && it.argument == argument);
    let broken = |caught| panicked(service, Kind::Completion, of, &caught);
    let offered = match completion.map(|it| &it.complete) {
        None => Offered::default(),
        Some(Complete::Now(complete)) => {
            let others = &others;
            catch(|| complete(Completing { value, others })).map_err(broken)?
        }
        Some(Complete::Later(complete)) => {
            let value = value.to_owned();
            let future = catch(|| complete(Completed { value, others })).map_err(broken)?;
            let future = async { Made::from(future.await.map(|it| members(&it))) };
            let opener = Opener::new(service, asker, "completion/complete", params, [None; 2])?;
            let work = Work::new(id, Kind::Completion, of, &opener, Box::pin(future));
            return Ok(Flow::Goes(Box::new(work)));
        }
    };
    write::open_result(out, id);
    out.extend_from_slice(&members(&offered));
    service.server().stamp().close(asker.era, out);
    out.push(b'}');
    Ok(Flow::Done)
}

/// The members of the result, the object left open.
fn members(offered: &Offered) -> Vec<u8> {
    format!(r#"{{"completion":{}"#, json(offered)).into_bytes()
}
