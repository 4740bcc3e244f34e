//! A peer on a channel that carries messages both ways: lines over pipes and sockets, or the pair
//! of HTTP and SSE of 2024-11-05.
//!
//! What a message means is decided where HTTP's are decided ([`crate::mcp`]); here is what a
//! channel adds: its era, its session, the requests under way and how they are cancelled, and that
//! answers come when they are ready. Where the bytes come from and go to is not known here.
//!
//! A channel owns its legacy session: nobody else knows its id, and it ends with the channel.

mod batch;
mod says;
mod under_way;

use std::rc::Rc;
use std::task::{Context, Poll};

use bumpalo::Bump;
use futures_util::stream::{SelectAll, StreamExt};

use self::batch::Batch;
use self::says::Says;
use self::under_way::UnderWay;
use crate::counters::{Kind, bump};
use crate::mcp::dispatch::Flow;
use crate::mcp::work::{Work, json};
use crate::mcp::{Era, META_VERSION, Version, v2025_11_25, v2026_07_28};
use crate::net::ShardSeat;
use crate::rate::Bucket;
use crate::rpc::{Code, Id, Message, Params, Response, RpcError, Value, write};
use crate::session::{Change, SessionError, SessionId, SessionView, Sessions};

/// What waits to be sent on a channel before nothing more is read or polled for it; one message
/// of any size may lie on top.
pub(crate) const OUT_BYTES: usize = 64 << 10;

/// How a channel speaks. The first request decides; `initialize` decides again.
enum Speaks {
    Undecided,
    Modern,
    Legacy(Session),
}

/// The legacy session of a channel.
struct Session {
    id: SessionId,
    view: SessionView,
}

/// Why a message got no result, and of which request.
struct Refused<'a> {
    id: Option<Id<'a>>,
    error: RpcError,
}

impl From<RpcError> for Refused<'_> {
    fn from(error: RpcError) -> Self {
        Self { id: None, error }
    }
}

/// Attaches the id of the request that an error refuses.
fn of<'a>(id: Id<'a>) -> impl Fn(RpcError) -> Refused<'a> {
    move |error| Refused {
        id: Some(id),
        error,
    }
}

/// One end of a channel.
pub(crate) struct Duplex {
    seat: Rc<ShardSeat>,
    speaks: Speaks,
    under_way: Rc<UnderWay>,
    /// What is left of the calls of this peer, where there is a rate.
    bucket: Option<Rc<Bucket>>,
    /// What comes by itself: calls under way, subscriptions, the session's notifications.
    says: SelectAll<Says>,
}

impl Drop for Duplex {
    fn drop(&mut self) {
        if let Speaks::Legacy(session) = &self.speaks {
            self.seat.sessions.forget(session.id.as_str());
        }
    }
}

impl Duplex {
    pub(crate) fn new(seat: Rc<ShardSeat>, bucket: Option<Rc<Bucket>>) -> Self {
        Self {
            seat,
            speaks: Speaks::Undecided,
            under_way: Rc::default(),
            bucket,
            says: SelectAll::new(),
        }
    }

    /// Whether the peer has said nothing yet that decides how it speaks.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.speaks, Speaks::Undecided)
    }

    /// Calls under way.
    pub(crate) fn calls(&self) -> usize {
        self.under_way.calls()
    }

    /// Subscriptions that the peer holds.
    pub(crate) fn subscriptions(&self) -> usize {
        self.under_way.subscriptions()
    }

    /// Whether another message may be taken: beyond the limit of calls only answers can help, and
    /// only where a call waits for one.
    pub(crate) fn takes_more(&self) -> bool {
        let limit = self.seat.service.server().limits().calls_per_channel;
        self.calls() < limit || self.under_way.asks()
    }

    /// The peer says no more: questions that it was or will be asked have no answer.
    pub(crate) fn input_ended(&self) {
        self.under_way.hears_no_more();
        for question in self.under_way.questions() {
            self.seat.sessions.give_up(&question);
        }
    }

    /// The node drains: subscriptions say goodbye.
    pub(crate) fn drain(&self) {
        self.under_way.drain();
    }

    /// Ends all that would still say something.
    pub(crate) fn end_calls(&mut self) {
        self.says.clear();
    }

    /// Takes one message, or a batch, and appends what can be answered at once, each answer a line.
    /// The strings of `text` are unescaped in place.
    pub(crate) async fn take<'a>(
        &'a mut self,
        text: &'a mut [u8],
        arena: &'a Bump,
        out: &'a mut Vec<u8>,
    ) {
        let start = out.len();
        let seat = self.seat.clone();
        match seat.service.parse(text, arena) {
            Ok(Value::Array(messages)) => self.batch(messages, out).await,
            Ok(message) => self.message(message, None, out).await,
            Err(error) => self.refuse(&error.into(), out),
        }
        end_line(out, start);
    }

    /// Answers what is no message at all.
    pub(crate) fn refuse_text(&self, error: RpcError, out: &mut Vec<u8>) {
        let start = out.len();
        self.refuse(&error.into(), out);
        end_line(out, start);
    }

    /// Appends what has come by itself, each message a line, until there is nothing more for now
    /// or enough waits to be sent. Ready when there was something, if only an end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        let (start, said_by) = (out.len(), self.says.len());
        while out.len() < OUT_BYTES {
            let Poll::Ready(Some(message)) = self.says.poll_next_unpin(cx) else {
                break;
            };
            let start = out.len();
            out.extend_from_slice(&message);
            end_line(out, start);
        }
        for notice in self.under_way.take_notices() {
            let start = out.len();
            out.extend_from_slice(notice.as_bytes());
            end_line(out, start);
        }
        if out.len() > start || self.says.len() < said_by {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn refuse(&self, refused: &Refused<'_>, out: &mut Vec<u8>) {
        let service = &self.seat.service;
        service.counters().error(refused.error.code);
        service.log_refusal(refused.error.status, &refused.error.message);
        write::refusal(out, refused.id, &refused.error);
    }

    /// Takes one message; `out` has its answer afterwards, if there is one already.
    async fn message<'a>(
        &mut self,
        message: Value<'a>,
        batch: Option<&Rc<Batch>>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let taken = match Message::read(message) {
            Ok(Message::Request(id, request)) => self.request(id, request, batch, out).await,
            Ok(Message::Notification(note)) => {
                self.note(note).await;
                Ok(())
            }
            Ok(Message::Response(response)) => self.response(response).await.map_err(Into::into),
            Err(malformed) => Err(Refused {
                id: malformed.id,
                error: malformed.error,
            }),
        };
        if let Err(refused) = taken {
            out.truncate(start);
            self.refuse(&refused, out);
        }
    }

    async fn request<'a>(
        &mut self,
        id: Id<'a>,
        request: Params<'a>,
        batch: Option<&Rc<Batch>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused<'a>> {
        let seat = self.seat.clone();
        let service = &*seat.service;
        service.check_id(id)?;
        seat.stats.requests.add(1);
        if self.under_way.holds(id) {
            // With the id, this would be taken for the answer to the request that came first.
            let wanted = "Invalid request: id is in use by a request under way";
            return Err(RpcError::invalid_request(wanted).into());
        }
        let versioned = request
            .meta
            .is_some_and(|meta| meta.get(META_VERSION).is_some());
        let method = request.method;
        let modern = versioned
            || method != "initialize" && matches!(self.speaks, Speaks::Modern)
            || method == "server/discover" && self.is_undecided();
        let era = if modern { Era::Modern } else { Era::Legacy };
        service.counters().request(era, Kind::of(method));
        let counted = service.ration(None, self.bucket.as_deref(), method);
        counted.map_err(of(id))?;
        if modern && batch.is_some() {
            let wanted = "Invalid request: batches are not supported, send one message";
            return Err(of(id)(RpcError::invalid_request(wanted)));
        }
        if modern {
            if self.is_undecided() {
                self.speaks = Speaks::Modern;
            }
            return self.modern(id, request, out).await.map_err(of(id));
        }
        if method == "initialize" {
            return self
                .initialize(id, request.params, out)
                .await
                .map_err(of(id));
        }
        self.legacy(id, request, batch, out).await.map_err(of(id))
    }

    async fn modern(
        &mut self,
        id: Id<'_>,
        request: Params<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let seat = self.seat.clone();
        match v2026_07_28::answer(&seat.service, id, request, None, None, out)? {
            Flow::Done => {}
            Flow::Asks(task, want) => seat.service.ask_task(id, (&task, None), want, out).await?,
            Flow::Goes(mut work) => {
                work.end_when(self.under_way.begin(work.id()));
                self.goes_on(work, None)?;
            }
            Flow::Listens(listening) => {
                if self.subscriptions() >= seat.service.server().limits().calls_per_channel {
                    bump(&seat.service.counters().refused_session_capacity);
                    let wanted = "Too many subscriptions on this connection: cancel one";
                    return Err(RpcError::new(503, Code::Transport, wanted));
                }
                let open = seat.service.open_stream()?;
                self.says
                    .push(Says::listening(&seat, &self.under_way, listening, open));
            }
        }
        Ok(())
    }

    fn goes_on(&mut self, work: Box<Work>, batch: Option<&Rc<Batch>>) -> Result<(), RpcError> {
        let limit = self.seat.service.server().limits().calls_per_channel;
        if self.calls() >= limit {
            let wanted = "Too many calls under way on this connection: wait for an answer";
            return Err(RpcError::failed(wanted));
        }
        let says = Says::call(&self.seat, &self.under_way, work, batch.cloned());
        self.says.push(says);
        Ok(())
    }

    /// Opens the session of this channel.
    async fn initialize(
        &mut self,
        id: Id<'_>,
        params: Value<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let seat = self.seat.clone();
        let service = &*seat.service;
        if matches!(self.speaks, Speaks::Legacy(_)) {
            let wanted = "Invalid request: this connection is initialized already";
            return Err(RpcError::invalid_request(wanted));
        }
        let facts = v2025_11_25::hello(params, None)?;
        let (version, view) = (facts.version, SessionView::opened(&facts));
        let open = service.open_stream()?;
        let refuse = |error: SessionError| service.session_error(error);
        let session = seat.sessions.open(facts).await.map_err(refuse)?;
        self.speaks = Speaks::Legacy(Session {
            id: session.clone(),
            view,
        });
        match seat.sessions.attach(session.as_str(), None).await {
            Ok(feed) => self.says.push(Says::feed(&seat, session, feed, open)),
            Err(error) => {
                seat.sessions.forget(session.as_str());
                self.speaks = Speaks::Undecided;
                return Err(refuse(error));
            }
        }
        v2025_11_25::welcome(service, id, version, out);
        Ok(())
    }

    async fn legacy(
        &mut self,
        id: Id<'_>,
        request: Params<'_>,
        batch: Option<&Rc<Batch>>,
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let seat = self.seat.clone();
        let Speaks::Legacy(session) = &mut self.speaks else {
            if request.method == "ping" {
                v2025_11_25::agree(id, out);
                return Ok(());
            }
            let wanted = "Invalid request: initialize first, or name the protocol version in _meta";
            return Err(RpcError::invalid_request(wanted));
        };
        if let Some(change) = v2025_11_25::change(&seat.service, request)? {
            let changed = seat.sessions.change(session.id.as_str(), change).await;
            session.view = changed.map_err(|error| seat.service.session_error(error))?;
            v2025_11_25::agree(id, out);
            return Ok(());
        }
        let under_way = &self.under_way;
        let link = || {
            let link = seat.sessions.link(session.id.as_str(), None)?;
            Some(under_way.link(link))
        };
        let within = (session.id.as_str(), session.view);
        let flow = v2025_11_25::answer(&seat.service, within, &link, None, (id, request), out)?;
        if let Flow::Goes(work) = flow {
            self.goes_on(work, batch)?;
        }
        Ok(())
    }

    async fn note(&mut self, note: Params<'_>) {
        let service = &self.seat.service;
        let era = match self.speaks {
            Speaks::Modern => Era::Modern,
            Speaks::Legacy(_) | Speaks::Undecided => Era::Legacy,
        };
        service.counters().request(era, Kind::Notification);
        match v2025_11_25::noted(note, service.server().limits()) {
            Some(Change::Cancel(request)) => self.under_way.cancel(&request),
            Some(change) => {
                if let Speaks::Legacy(session) = &mut self.speaks {
                    let seat = self.seat.clone();
                    let changed = seat.sessions.change(session.id.as_str(), change).await;
                    // Nobody can be told of the failure of a notification.
                    session.view = changed.unwrap_or(session.view);
                }
            }
            None => {}
        }
    }

    async fn response(&mut self, response: Response<'_>) -> Result<(), RpcError> {
        let Speaks::Legacy(session) = &self.speaks else {
            let wanted = "Invalid request: this node sends no requests, so takes no responses";
            return Err(RpcError::invalid_request(wanted));
        };
        let seat = self.seat.clone();
        seat.service
            .counters()
            .request(Era::Legacy, Kind::Notification);
        if let Some((request, reply)) = v2025_11_25::reply(response) {
            let id = session.id.as_str();
            let taken = seat.sessions.reply(id, None, request, reply).await;
            if !taken.map_err(|error| seat.service.session_error(error))? {
                // A late answer is nobody's fault.
                tracing::debug!("an answer came for a request that nobody waits for");
            }
        }
        Ok(())
    }

    /// Takes the messages of a batch, which the version 2025-03-26 alone knows.
    async fn batch<'a>(&mut self, messages: &[Value<'a>], out: &mut Vec<u8>) {
        let knows = |it: &Session| it.view.version == Version::V2025_03_26;
        let refusal = match &self.speaks {
            Speaks::Legacy(session) if knows(session) => {
                let limit = self.seat.service.server().limits().batch_count;
                let fits = (1..=limit).contains(&messages.len());
                (!fits).then_some("Invalid request: a batch is empty, or over its limit")
            }
            _ => Some("Invalid request: only sessions of 2025-03-26 may send batches"),
        };
        if let Some(wanted) = refusal {
            return self.refuse(&RpcError::invalid_request(wanted).into(), out);
        }
        let batch = Batch::open();
        for &message in messages {
            let mut answer = Vec::new();
            // A call that goes on has entered the batch meanwhile, and answers it later.
            self.message(message, Some(&batch), &mut answer).await;
            batch.add(&answer);
        }
        if let Some(answers) = batch.close() {
            out.extend_from_slice(&answers);
        }
    }
}

/// Ends the line of the message that begins at `start`, if there is one. JSON has raw line ends
/// between its tokens only, where a space says the same: schemas written by hand may hold some.
fn end_line(out: &mut Vec<u8>, start: usize) {
    let Some(message) = out.get_mut(start..).filter(|it| !it.is_empty()) else {
        return;
    };
    let mut rest = message;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::end_line;

    #[test]
    fn a_message_is_one_line_whatever_it_holds() {
        let mut out = b"{}\n".to_vec();
        end_line(&mut out, 3);
        assert_eq!(out, b"{}\n", "no message, no line");
        out.extend_from_slice(b"{\r\n\"a\":\n1}");
        end_line(&mut out, 3);
        assert_eq!(out, b"{}\n{  \"a\": 1}\n");
    }
}
