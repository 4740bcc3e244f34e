//! The one dispatcher: a framed request in, the bytes of its answer out.
//!
//! HTTP is checked here in the order of the specification (verb, Host and Origin, content type,
//! Accept, JSON, era) and nowhere else; what a message means is decided in [`crate::mcp`], which
//! other transports share. A modern call of a synchronous tool never awaits anything pending.

mod admission;
mod legacy;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::Display;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bumpalo::Bump;

use crate::auth::{Gate, Identity, Looking, Owner};
use crate::catalog::Held;
use crate::changes::News;
use crate::counters::{Counters, Kind, bump};
use crate::guard::{Foreign, Guard};
use crate::http::response::{self, Body, Connection};
use crate::http::{ContentType, Head, HttpError, Method};
use crate::mcp::dispatch::Flow;
use crate::mcp::headers::Mirror;
use crate::mcp::listen::Listener;
use crate::mcp::{Era, META_VERSION, v2026_07_28};
use crate::rate::{Bucket, Rates};
use crate::rest::Rest;
use crate::rpc::{Code, Id, JsonParser, Message, Params, RpcError, Value, write};
use crate::server::Server;
use crate::session::{SessionError, Sessions};
use crate::task::{Holder, TaskError, Tasks, Want};
use crate::tool::{LocalBoxFuture, Sleep, runtime_sleep};

/// The one path that is served.
const PATH: &[u8] = b"/mcp";
const ALLOW: &str = "POST, GET, DELETE";
/// Within a second a client beyond its rate may call again, whatever the rate is.
const RETRY_AFTER_S: &str = "1";

/// The service of one shard.
pub struct Service {
    server: Server,
    guard: Guard,
    /// Where tokens are looked at; `None` where none is needed.
    gate: Option<Box<Gate>>,
    counters: Arc<Counters>,
    json: RefCell<JsonParser>,
    sleep: Sleep,
    /// How many calls a client may make in a time; `None` where there is no rate.
    rates: Option<Rates>,
    /// Refusals logged so far.
    refusals: Cell<u64>,
    /// Where calls go on that become tasks; `None` where none can.
    tasks: Option<Rc<dyn Tasks>>,
    /// What this shard knows to be on offer.
    edition: RefCell<Rc<Held>>,
    listeners: RefCell<Vec<Weak<Listener>>>,
    streams: Rc<Cell<usize>>,
}

/// What became of a request.
pub struct Outcome {
    /// The connection is to be closed once the answer is sent.
    pub close: bool,
    /// HTTP status of the answer.
    pub status: u16,
    /// What the request was.
    pub kind: Kind,
    /// What is left of the answer, none of which is in the output yet; `None` when all of it is.
    pub rest: Option<Box<Rest>>,
}

/// A refusal on its way to the output.
struct Refused<'a> {
    id: Option<Id<'a>>,
    error: RpcError,
    /// The value of `WWW-Authenticate`, where a token is at fault.
    challenge: Option<String>,
}

type Answered<'a> = Result<u16, Refused<'a>>;

impl From<RpcError> for Refused<'_> {
    fn from(error: RpcError) -> Self {
        Self {
            id: None,
            error,
            challenge: None,
        }
    }
}

/// Attaches the id of the request that `error` refuses.
fn of<'a>(id: Id<'a>) -> impl FnOnce(RpcError) -> Refused<'a> {
    move |error| Refused {
        id: Some(id),
        error,
        challenge: None,
    }
}

/// One HTTP exchange: everything about it but its body and its output.
struct Exchange<'h, 's, S> {
    head: &'h Head<'h>,
    connection: Connection,
    sessions: &'s S,
    kind: Cell<Kind>,
    rest: Cell<Option<Box<Rest>>>,
    /// What is left of the calls of the peer, where there is a rate.
    bucket: Option<&'s Bucket>,
    /// Who asks, once the gate has let the request in.
    identity: OnceCell<Rc<Identity>>,
}

/// One of the streams that a shard may have open; counts while it lives.
pub(crate) struct OpenStream(Rc<Cell<usize>>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Service {
    /// The service of one shard; `guard` knows what the listener is bound to.
    pub fn new(server: Server, guard: Guard) -> Self {
        let json = RefCell::new(JsonParser::new(server.limits()));
        Self {
            edition: RefCell::new(Rc::new(Held(server.edition()))),
            tasks: None,
            listeners: RefCell::default(),
            streams: Rc::default(),
            gate: admission::gate(&server),
            rates: Rates::of(server.limits()),
            server,
            guard,
            counters: Arc::default(),
            json,
            sleep: runtime_sleep,
            refusals: Cell::new(0),
        }
    }

    /// Counts into `counters`, which the control plane reads.
    #[must_use]
    pub fn with_counters(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    /// Lets the gate, where there is one, ask for newer keys.
    pub(crate) fn with_looking(mut self, looking: Option<Arc<Looking>>) -> Self {
        if let (Some(gate), Some(looking)) = (&mut self.gate, looking) {
            gate.look_by(looking);
        }
        self
    }

    /// Waits for tool deadlines by `sleep` in place of the runtime's timer.
    #[must_use]
    pub fn with_sleep(
        mut self,
        sleep: fn(std::time::Duration) -> LocalBoxFuture<'static, ()>,
    ) -> Self {
        self.sleep = sleep;
        self
    }

    /// Lets calls become tasks of `tasks`, if the server declares that it has tasks.
    pub(crate) fn with_tasks(mut self, tasks: Rc<dyn Tasks>) -> Self {
        self.tasks = self.server.declared().tasks.then_some(tasks);
        self
    }

    pub(crate) fn tasks(&self) -> Option<Rc<dyn Tasks>> {
        self.tasks.clone()
    }

    /// The server behind this service.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What this service has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The same, for what outlives this call.
    pub(crate) fn shared_counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    pub(crate) fn sleep(&self) -> Sleep {
        self.sleep
    }

    /// What is on offer now: one atomic load while nothing has changed.
    pub(crate) fn edition(&self) -> Rc<Held> {
        let mut edition = self.edition.borrow_mut();
        if let Some(newer) = edition.newer() {
            *edition = Rc::new(newer);
        }
        edition.clone()
    }

    /// Tells `listener` of changes from now on, while it lives.
    pub(crate) fn add_listener(&self, listener: &Rc<Listener>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|it| it.strong_count() > 0);
        listeners.push(Rc::downgrade(listener));
    }

    /// Passes changes on to the streams that asked for them.
    pub(crate) fn spread(&self, news: &News) {
        self.edition();
        for listener in self.listeners.borrow().iter().filter_map(Weak::upgrade) {
            listener.hear(news);
        }
    }

    pub(crate) fn open_stream(&self) -> Result<OpenStream, RpcError> {
        let open = self.streams.get();
        if open >= self.server.limits().streams_per_shard {
            bump(&self.counters.refused_session_capacity);
            let wanted = "Too many streams: try again later";
            return Err(RpcError::new(503, Code::Transport, wanted));
        }
        self.streams.set(open + 1);
        Ok(OpenStream(self.streams.clone()))
    }

    /// Answers one request by appending to `out`. The body's strings are unescaped in place;
    /// what else the request needs comes from `arena`, which may be reset afterwards. Where there
    /// is a rate of calls, it holds for subjects of tokens alone: the peer is not known here.
    pub fn respond<'a, S: Sessions>(
        &self,
        head: &Head<'_>,
        body: &'a mut [u8],
        arena: &'a Bump,
        sessions: &S,
        out: &mut Vec<u8>,
    ) -> impl Future<Output = Outcome> {
        self.respond_to(None, head, body, arena, sessions, out)
    }

    /// As [`Service::respond`], to a peer whose calls take from `bucket`.
    pub(crate) async fn respond_to<'a, S: Sessions>(
        &self,
        bucket: Option<&Bucket>,
        head: &Head<'_>,
        body: &'a mut [u8],
        arena: &'a Bump,
        sessions: &S,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let start = out.len();
        let connection = Connection::asked(head);
        let kind = Cell::new(Kind::Refused);
        let exchange = Exchange {
            head,
            connection,
            sessions,
            kind,
            rest: Cell::new(None),
            bucket,
            identity: OnceCell::new(),
        };
        let answered = match self.route(head) {
            Ok(Method::Delete) => self.delete(&exchange, out).await,
            Ok(Method::Get) => self.get(&exchange, out).await,
            Ok(_) => self.post(&exchange, body, arena, out).await,
            Err(404) if self.publishes(head) => self.publish(&exchange, out),
            Err(status) => {
                self.count_route(status);
                refuse_route(status, connection, out);
                Ok(status)
            }
        };
        let status = answered.unwrap_or_else(|refused| {
            out.truncate(start);
            self.refuse(connection, &refused, out)
        });
        response::strip_body_for_head(out, start, head.method);
        Outcome {
            close: connection == Connection::Close,
            status,
            kind: exchange.kind.get(),
            rest: exchange.rest.take(),
        }
    }

    /// Answers a request that could not be framed; the connection must be closed.
    pub fn refuse_framing(&self, error: HttpError, out: &mut Vec<u8>) -> Outcome {
        bump(&self.counters.refused_framing);
        self.counters.error(Code::InvalidRequest);
        self.log_refusal(error.status(), &error);
        response::refuse_framing(out, error);
        Outcome {
            close: true,
            status: error.status(),
            kind: Kind::Refused,
            rest: None,
        }
    }

    /// Answers a request that did not arrive before its deadline; the connection must be closed.
    pub fn refuse_late(&self, out: &mut Vec<u8>) -> Outcome {
        bump(&self.counters.refused_late);
        self.log_refusal(408, &"the request did not arrive in time");
        response::refuse_late(out);
        Outcome {
            close: true,
            status: 408,
            kind: Kind::Refused,
            rest: None,
        }
    }

    /// Answers a request for whose bytes there is no room; the connection must be closed.
    pub fn refuse_overload(&self, out: &mut Vec<u8>) -> Outcome {
        bump(&self.counters.refused_memory);
        self.log_refusal(
            503,
            &"the shard holds its limit of bytes that are not yet requests",
        );
        response::refuse_overload(out);
        Outcome {
            close: true,
            status: 503,
            kind: Kind::Refused,
            rest: None,
        }
    }

    /// Logs a refusal: the first few, then ever more rarely, so that a flood of bad requests is
    /// seen and does not fill the disk; every one is counted, and debug shows them all.
    pub(crate) fn log_refusal(&self, status: u16, why: &dyn Display) {
        let nth = self.refusals.get() + 1;
        self.refusals.set(nth);
        if is_shown(nth) {
            tracing::info!(status, %why, nth, "request refused");
        } else {
            tracing::debug!(status, %why, nth, "request refused");
        }
    }

    /// Path and verb.
    // [mcp:http-endpoint]
    fn route(&self, head: &Head<'_>) -> Result<Method, u16> {
        match head.method {
            _ if head.path != PATH => Err(404),
            method @ (Method::Post | Method::Get | Method::Delete) => Ok(method),
            _ => Err(405),
        }
    }

    fn count_route(&self, status: u16) {
        bump(match status {
            404 => &self.counters.refused_path,
            _ => &self.counters.refused_verb,
        });
        self.log_refusal(status, &"no such path, or the path does not take this verb");
    }

    /// Host and Origin.
    // [mcp:http-origin]
    pub(crate) fn guard(&self, head: &Head<'_>) -> Result<(), RpcError> {
        self.guard.check(head).map_err(|foreign| {
            bump(match foreign {
                Foreign::Host => &self.counters.refused_host,
                Foreign::Origin => &self.counters.refused_origin,
            });
            RpcError::new(403, Code::InvalidRequest, foreign.to_string())
        })
    }

    /// Content-Type.
    pub(crate) fn check_content_type(&self, head: &Head<'_>) -> Result<(), RpcError> {
        if head.content_type == ContentType::Json {
            return Ok(());
        }
        bump(&self.counters.refused_content_type);
        let wanted = "Unsupported media type: Content-Type must be application/json";
        Err(RpcError::new(415, Code::InvalidRequest, wanted))
    }

    /// Content-Type and Accept.
    fn media(&self, head: &Head<'_>) -> Result<(), RpcError> {
        self.check_content_type(head)?;
        if !(head.accept.json && head.accept.event_stream) {
            bump(&self.counters.refused_accept);
            let wanted = "Not acceptable: Accept must list application/json and text/event-stream";
            return Err(RpcError::new(406, Code::InvalidRequest, wanted));
        }
        Ok(())
    }

    /// Reads one JSON document; what it needs beside `body` comes from `arena`.
    pub(crate) fn parse<'a>(
        &self,
        body: &'a mut [u8],
        arena: &'a Bump,
    ) -> Result<Value<'a>, RpcError> {
        let parsed = self.json.borrow_mut().parse(body, arena);
        parsed.map_err(|error| RpcError::new(400, Code::ParseError, error.to_string()))
    }

    /// Refuses an id that is over its limit: it would be kept while its request is under way.
    pub(crate) fn check_id(&self, id: Id<'_>) -> Result<(), RpcError> {
        if id.bytes() > self.server.limits().id_bytes {
            let wanted = "Invalid request: id is over the limit of bytes";
            return Err(RpcError::invalid_request(wanted));
        }
        Ok(())
    }

    async fn post<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        body: &'a mut [u8],
        arena: &'a Bump,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let head = exchange.head;
        self.guard(head)?;
        self.admit(exchange).await?;
        self.media(head)?;
        let root = self.parse(body, arena)?;
        if let Value::Array(messages) = root {
            return self.batch(exchange, messages, out).await;
        }
        let message = Message::read(root).map_err(|malformed| Refused {
            id: malformed.id,
            error: malformed.error,
            challenge: None,
        })?;
        if let Message::Request(id, _) = message {
            self.check_id(id)?;
        }
        let era = self.count(exchange, message);
        self.permit(exchange, &[message])?;
        self.ration_request(exchange, message)?;
        match era {
            Era::Modern => self.modern(exchange, message, out).await,
            Era::Legacy => self.legacy(exchange, message, out).await,
        }
    }

    /// Counts a message and says of which era it is.
    fn count<S>(&self, exchange: &Exchange<'_, '_, S>, message: Message<'_>) -> Era {
        let (kind, meta) = match message {
            Message::Request(_, Params { method, meta, .. }) => (Kind::of(method), meta),
            Message::Notification(Params { meta, .. }) => (Kind::Notification, meta),
            Message::Response(_) => (Kind::Notification, None),
        };
        let names_version = meta.is_some_and(|meta| meta.get(META_VERSION).is_some());
        let era = Era::of(exchange.head.protocol_version, names_version);
        exchange.kind.set(kind);
        self.counters.request(era, kind);
        era
    }

    async fn modern<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        message: Message<'a>,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let head = exchange.head;
        let fields = |name: &str| head.fields(name);
        let mirror = Some(Mirror {
            version: head.protocol_version,
            method: head.mcp_method,
            name: head.mcp_name,
            fields: &fields,
        });
        match message {
            Message::Request(id, request) => {
                let start = out.len();
                let body = Body::open(out, 200, exchange.connection);
                let identity = exchange.identity.get();
                let flow = v2026_07_28::answer(self, id, request, mirror, identity, out);
                let flow = flow.map_err(of(id))?;
                match flow {
                    // [mcp:http-answer-kind]
                    Flow::Done => {
                        body.finish(out);
                        return Ok(200);
                    }
                    Flow::Asks(task, want) => {
                        let asked = self.ask_task(id, (&task, exchange.owner()), want, out);
                        asked.await.map_err(of(id))?;
                        body.finish(out);
                        return Ok(200);
                    }
                    Flow::Goes(work) => {
                        exchange.goes_on(Rest::call(
                            *work,
                            exchange.connection,
                            exchange.chunked(),
                            true,
                        ));
                    }
                    Flow::Listens(listening) => {
                        let open = self.open_stream().map_err(of(id))?;
                        exchange.goes_on(Rest::listening(
                            listening,
                            open,
                            exchange.connection,
                            exchange.chunked(),
                        ));
                    }
                }
                out.truncate(start);
                Ok(200)
            }
            Message::Notification(notification) => {
                v2026_07_28::accept(notification, mirror)?;
                Ok(exchange.accepted(out))
            }
            Message::Response(_) => {
                let wanted = "Invalid request: this node sends no requests, so takes no responses";
                Err(RpcError::invalid_request(wanted).into())
            }
        }
    }

    /// Answers a request that asks a task.
    pub(crate) async fn ask_task(
        &self,
        id: Id<'_>,
        (task, owner): (&str, Option<Owner>),
        want: Want,
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let members = match self.tasks() {
            Some(tasks) => tasks.ask(Holder::modern(owner), task, want).await?,
            None => return Err(TaskError::Unknown.into()),
        };
        write::open_result(out, id);
        let stamp = self.server.stamp();
        if members.is_empty() {
            stamp.agree(out);
        } else {
            out.extend_from_slice(members.as_bytes());
            stamp.close(Era::Modern, out);
        }
        out.push(b'}');
        Ok(())
    }

    /// Refuses a verb that only some clients may use.
    fn not_allowed<S>(&self, exchange: &Exchange<'_, '_, S>, out: &mut Vec<u8>) -> u16 {
        bump(&self.counters.refused_verb);
        self.log_refusal(405, &"GET and DELETE are for legacy sessions only");
        response::method_not_allowed(out, exchange.connection, "POST");
        405
    }

    pub(crate) fn session_error(&self, error: SessionError) -> RpcError {
        let (status, code) = match error {
            // [mcp:http-session-gone]
            SessionError::Unknown => (404, Code::SessionNotFound),
            SessionError::Full | SessionError::Unavailable => {
                bump(&self.counters.refused_session_capacity);
                (503, Code::Transport)
            }
            SessionError::Conflict => (409, Code::Transport),
            SessionError::Subscriptions => (200, Code::InvalidParams),
            SessionError::NoStreams => (405, Code::Transport),
        };
        RpcError::new(status, code, error.to_string())
    }

    /// Answers with `error` and counts it; returns its status.
    pub(crate) fn refuse_with(
        &self,
        connection: Connection,
        error: RpcError,
        out: &mut Vec<u8>,
    ) -> u16 {
        self.refuse(connection, &error.into(), out)
    }

    /// Writes and counts a refusal; returns its status.
    fn refuse(&self, connection: Connection, refused: &Refused<'_>, out: &mut Vec<u8>) -> u16 {
        let RpcError {
            status,
            code,
            ref message,
            ..
        } = refused.error;
        self.counters.error(code);
        self.log_refusal(status, message);
        let mut body = Body::open(out, status, connection);
        write::refusal(out, refused.id, &refused.error);
        if matches!(status, 429 | 503) {
            body.insert_field(out, "Retry-After", RETRY_AFTER_S);
        }
        if let Some(challenge) = &refused.challenge {
            body.insert_field(out, "WWW-Authenticate", challenge);
        }
        body.finish(out);
        status
    }
}

impl<S> Exchange<'_, '_, S> {
    fn accepted(&self, out: &mut Vec<u8>) -> u16 {
        response::empty(out, 202, self.connection, b"");
        202
    }

    fn goes_on(&self, rest: Rest) {
        self.rest.set(Some(Box::new(rest)));
    }

    /// Who asks, as sessions and tasks remember it.
    fn owner(&self) -> Option<Owner> {
        self.identity.get().map(|it| it.owner())
    }

    /// Whether the client knows chunks.
    fn chunked(&self) -> bool {
        self.head.minor_version > 0
    }
}

/// Whether the refusal number `nth` of a shard is logged where people look.
fn is_shown(nth: u64) -> bool {
    const SHOWN: u64 = 32;
    nth <= SHOWN || nth.is_power_of_two()
}

fn refuse_route(status: u16, connection: Connection, out: &mut Vec<u8>) {
    match status {
        405 => response::method_not_allowed(out, connection, ALLOW),
        _ => response::empty(out, status, connection, b""),
    }
}
