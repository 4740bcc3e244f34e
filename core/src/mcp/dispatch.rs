//! The methods that both eras have, and what a request of either era brings to them.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use ninefold_runtime::clock;
use serde_json::Map;

use super::headers::Mirror;
use super::listen::Listening;
use super::rounds::{self, Digest};
use super::work::Work;
use super::{Capabilities, Era, call, complete, prompts, resources};
use crate::auth::Identity;
use crate::catalog::Listed;
use crate::context::{Context, Level};
use crate::rpc::{Id, Params, RpcError, Value, write};
use crate::service::Service;
use crate::session::SessionLink;
use crate::talk::{Opening, Talk};
use crate::task::Want;

/// What is known of who asks, beside the request itself.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) era: Era,
    pub(crate) capabilities: Capabilities,
    /// Least level of log messages that it wants; `None` for none.
    pub(crate) log_level: Option<Level>,
    pub(crate) meta: Option<Value<'a>>,
    /// The headers beside a modern request, on transports that have headers.
    pub(crate) mirror: Option<Mirror<'a>>,
    /// Makes the way back to the session of a legacy request.
    pub(crate) link: &'a dyn Fn() -> Option<Rc<dyn SessionLink>>,
    /// Who asks, where that has to be said.
    pub(crate) identity: Option<&'a Rc<Identity>>,
}

/// What became of a request.
pub(crate) enum Flow {
    /// The whole answer is in the output.
    Done,
    /// It goes on, and nothing of it is in the output.
    Goes(Box<Work>),
    /// It asks a task, and nothing of its answer is in the output.
    Asks(String, Want),
    /// It is a subscription, and nothing of it is in the output.
    Listens(Listening),
}

/// Answers a request of a method that both eras have.
// [mcp:mrtr-methods]
pub(crate) fn answer(
    service: &Service,
    asker: &Asker<'_>,
    id: Id<'_>,
    request: Params<'_>,
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    let declared = service.server().declared();
    let Params { method, params, .. } = request;
    match method {
        "tools/call" => call::call(service, asker, id, params, out),
        "tools/list" => list(service, asker.era, Listed::Tools, id, params, out),
        "resources/list" if declared.resources => {
            list(service, asker.era, Listed::Resources, id, params, out)
        }
        "resources/templates/list" if declared.resources => {
            list(service, asker.era, Listed::Templates, id, params, out)
        }
        "resources/read" if declared.resources => resources::read(service, asker, id, params, out),
        "prompts/list" if declared.prompts => {
            list(service, asker.era, Listed::Prompts, id, params, out)
        }
        "prompts/get" if declared.prompts => prompts::get(service, asker, id, params, out),
        "completion/complete" if declared.completions => {
            complete::complete(service, asker, id, params, out)
        }
        _ => Err(RpcError::no_method(asker.era)),
    }
}

/// Writes one page of a list.
fn list(
    service: &Service,
    era: Era,
    list: Listed,
    id: Id<'_>,
    params: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<Flow, RpcError> {
    let number = match params.get("cursor") {
        None | Some(Value::Null) => Some(0),
        Some(Value::Str(cursor)) => service.server().secrets().page(list, cursor),
        Some(_) => None,
    };
    let edition = service.edition();
    let page = number.and_then(|number| edition.catalog.page(list, era, number));
    let page = page.ok_or_else(|| RpcError::invalid_params("Invalid params: unknown cursor"))?;
    write::open_result(out, id);
    out.extend_from_slice(page);
    out.push(b'}');
    Ok(Flow::Done)
}

/// Makes the conversation of a call when its handler wants one, and not before.
pub(crate) struct Opener<'a, 'v> {
    service: &'a Service,
    asker: &'a Asker<'v>,
    answers: RefCell<Map<String, serde_json::Value>>,
    talk: OnceCell<Rc<Talk>>,
    method: &'static str,
    params: Value<'a>,
}

impl<'a, 'v> Opener<'a, 'v> {
    /// Checks what a round of a modern call brings: its answers and its state.
    pub(crate) fn new(
        service: &'a Service,
        asker: &'a Asker<'v>,
        method: &'static str,
        params: Value<'a>,
        round: [Option<Value<'a>>; 2],
    ) -> Result<Self, RpcError> {
        let [responses, state] = round;
        let mut opener = Self {
            service,
            asker,
            answers: RefCell::default(),
            talk: OnceCell::new(),
            method,
            params,
        };
        if asker.era == Era::Modern && (responses.is_some() || state.is_some()) {
            let server = service.server();
            opener.answers = RefCell::new(rounds::answers(
                server.secrets(),
                server.limits(),
                clock::monotonic_ns(),
                &opener.digest(),
                responses,
                state,
            )?);
        }
        Ok(opener)
    }

    /// The digest of the call.
    pub(crate) fn digest(&self) -> Digest {
        let owner = self.asker.identity.map(|it| it.owner());
        rounds::digest(owner, self.method, self.params)
    }

    /// Era of the call.
    pub(crate) fn era(&self) -> Era {
        self.asker.era
    }

    /// The conversation, made by the first who asks for it.
    pub(crate) fn talk(&self) -> &Rc<Talk> {
        self.talk.get_or_init(|| {
            let Asker {
                era,
                capabilities,
                log_level,
                meta,
                link,
                identity,
                ..
            } = *self.asker;
            let token = match meta.and_then(|meta| meta.get("progressToken")) {
                Some(token @ (Value::Str(_) | Value::Int(_) | Value::Uint(_))) => {
                    let mut text = Vec::new();
                    write::value(&mut text, token, false);
                    let short = text.len() <= self.service.server().limits().id_bytes;
                    short.then(|| String::from_utf8(text).ok()).flatten()
                }
                _ => None,
            };
            let opening = Opening {
                era,
                capabilities,
                log_level,
                token,
                link: link(),
                identity: identity.cloned(),
                answers: self.answers.take(),
            };
            Talk::new(opening, self.service.server().limits())
        })
    }

    /// The context for a handler.
    pub(crate) fn context(&self) -> Context {
        Context::new(self.talk().clone())
    }
}

pub(super) fn bad_level() -> RpcError {
    RpcError::invalid_params(
        "Invalid params: level must be one of debug, info, notice, warning, error, critical, \
         alert, emergency",
    )
}
