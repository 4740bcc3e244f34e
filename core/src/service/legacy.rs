//! Messages, batches and verbs of the legacy era, each in its session.

use super::{Answered, Exchange, Refused, Service, of};
use crate::counters::{Kind, bump};
use crate::http::Head;
use crate::http::response::{self, Body};
use crate::mcp::dispatch::Flow;
use crate::mcp::work::Work;
use crate::mcp::{Era, Version, v2025_11_25};
use crate::rest::Rest;
use crate::rpc::{Code, Id, Message, Response, RpcError, Value, write};
use crate::session::{Change, SessionError, SessionView, Sessions};

/// What became of one message of a batch.
enum Batched {
    Nothing,
    Answer(Vec<u8>),
    Goes(Box<Work>),
}

impl Service {
    pub(super) async fn legacy<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        message: Message<'a>,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let sessions = exchange.sessions;
        match message {
            Message::Request(id, request) if request.method == "initialize" => {
                self.initialize(exchange, id, request.params, out).await
            }
            Message::Request(id, request) => {
                let session = session_id(exchange.head).map_err(of(id))?;
                let change = v2025_11_25::change(self, request).map_err(of(id))?;
                let found = self.reach(exchange, session, change.clone()).await;
                let view = found.map_err(of(id))?;
                let start = out.len();
                let body = Body::open(out, 200, exchange.connection);
                if change.is_some() {
                    v2025_11_25::agree(id, out);
                    body.finish(out);
                    return Ok(200);
                }
                let link = || sessions.link(session, exchange.owner());
                let (identity, asked) = (exchange.identity.get(), (id, request));
                let flow = v2025_11_25::answer(self, (session, view), &link, identity, asked, out);
                if let Flow::Goes(work) = flow.map_err(of(id))? {
                    out.truncate(start);
                    let rest = Rest::call(*work, exchange.connection, exchange.chunked(), false);
                    exchange.goes_on(rest.priming(primes(view)));
                } else {
                    body.finish(out);
                }
                Ok(200)
            }
            Message::Notification(note) => {
                let session = session_id(exchange.head)?;
                let change = v2025_11_25::noted(note, self.server.limits());
                self.reach(exchange, session, change).await?;
                Ok(exchange.accepted(out))
            }
            Message::Response(response) => {
                let session = session_id(exchange.head)?;
                self.reach(exchange, session, None).await?;
                self.reply(exchange, session, response).await?;
                Ok(exchange.accepted(out))
            }
        }
    }

    /// Takes the answer of a client to a question.
    async fn reply<S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        session: &str,
        response: Response<'_>,
    ) -> Result<(), RpcError> {
        if let Some((request, reply)) = v2025_11_25::reply(response) {
            let (sessions, owner) = (exchange.sessions, exchange.owner());
            let taken = sessions.reply(session, owner, request, reply).await;
            if !taken.map_err(|e| self.session_error(e))? {
                // A late answer is nobody's fault.
                tracing::debug!("an answer came for a request that nobody waits for");
            }
        }
        Ok(())
    }

    /// Opens a session.
    async fn initialize<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        id: Id<'a>,
        params: Value<'_>,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let facts = v2025_11_25::hello(params, exchange.owner()).map_err(of(id))?;
        let version = facts.version;
        let session = exchange.sessions.open(facts).await;
        let session = session.map_err(|e| of(id)(self.session_error(e)))?;
        let mut body = Body::open(out, 200, exchange.connection);
        v2025_11_25::welcome(self, id, version, out);
        body.insert_field(out, "Mcp-Session-Id", session.as_str());
        body.finish(out);
        Ok(200)
    }

    /// Finds a session of who asks, and changes it. That it is theirs is known before anything is
    /// changed; where nobody has to say who they are, that takes no message of its own.
    async fn reach<S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        session: &str,
        change: Option<Change>,
    ) -> Result<SessionView, RpcError> {
        let sessions = exchange.sessions;
        let view = match change {
            Some(change) => {
                if exchange.owner().is_some() {
                    let found = sessions.check(session).await;
                    let found = found.map_err(|e| self.session_error(e))?;
                    self.owns(exchange, &found)?;
                }
                sessions.change(session, change).await
            }
            None => sessions.check(session).await,
        };
        let view = view.map_err(|e| self.session_error(e))?;
        self.owns(exchange, &view)?;
        Ok(view)
    }

    /// Answers the messages of a batch, which the version 2025-03-26 alone knows.
    pub(super) async fn batch<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        messages: &'a [Value<'a>],
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let refuse = |what: &'static str| Err(RpcError::invalid_request(what).into());
        if Era::of(exchange.head.protocol_version, false) == Era::Modern {
            return refuse("Invalid request: batches are not supported, send one message");
        }
        let Some(_) = exchange.head.session else {
            return refuse("Invalid request: only sessions of 2025-03-26 may send batches");
        };
        let session = session_id(exchange.head)?;
        let view = self.reach(exchange, session, None).await?;
        if view.version != Version::V2025_03_26 {
            return refuse("Invalid request: only sessions of 2025-03-26 may send batches");
        }
        if messages.is_empty() || messages.len() > self.server.limits().batch_count {
            return refuse("Invalid request: a batch is empty, or over its limit");
        }
        self.permit_all(exchange, messages)?;
        let (mut ready, mut works) = (Vec::new(), Vec::new());
        for &message in messages {
            match self.batched(exchange, session, view, message).await? {
                Batched::Nothing => {}
                Batched::Answer(answer) => ready.push(answer),
                Batched::Goes(work) => works.push(*work),
            }
        }
        if ready.is_empty() && works.is_empty() {
            return Ok(exchange.accepted(out));
        }
        if works.is_empty() {
            let body = Body::open(out, 200, exchange.connection);
            out.push(b'[');
            out.extend_from_slice(&ready.join(&b','));
            out.push(b']');
            body.finish(out);
        } else {
            let chunked = exchange.chunked();
            exchange.goes_on(Rest::batch(ready, works, exchange.connection, chunked));
        }
        Ok(200)
    }

    /// Takes one message of a batch.
    async fn batched<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        session: &str,
        view: SessionView,
        message: Value<'a>,
    ) -> Result<Batched, Refused<'a>> {
        let sessions = exchange.sessions;
        let refused = |id: Option<Id<'_>>, error: RpcError| {
            self.counters.error(error.code);
            let mut answer = Vec::new();
            write::refusal(&mut answer, id, &error);
            Ok(Batched::Answer(answer))
        };
        let message = match Message::read(message) {
            Ok(message) => message,
            Err(malformed) => return refused(malformed.id, malformed.error),
        };
        if let Message::Request(id, _) = message
            && let Err(error) = self.check_id(id)
        {
            return refused(None, error);
        }
        self.count(exchange, message);
        match message {
            Message::Request(id, request) => {
                let (identity, bucket) = (exchange.identity.get(), exchange.bucket);
                if let Err(error) = self.ration(identity, bucket, request.method) {
                    return refused(Some(id), error);
                }
                match v2025_11_25::change(self, request) {
                    Ok(None) => {}
                    Ok(Some(change)) => {
                        if let Err(error) = sessions.change(session, change).await {
                            return refused(Some(id), self.session_error(error));
                        }
                        let mut answer = Vec::new();
                        v2025_11_25::agree(id, &mut answer);
                        return Ok(Batched::Answer(answer));
                    }
                    Err(error) => return refused(Some(id), error),
                }
                let mut answer = Vec::new();
                let link = || sessions.link(session, exchange.owner());
                let (identity, asked) = (exchange.identity.get(), (id, request));
                let within = (session, view);
                match v2025_11_25::answer(self, within, &link, identity, asked, &mut answer) {
                    Ok(Flow::Goes(work)) => Ok(Batched::Goes(work)),
                    Ok(_) => Ok(Batched::Answer(answer)),
                    Err(error) => refused(Some(id), error),
                }
            }
            Message::Notification(note) => {
                let change = v2025_11_25::noted(note, self.server.limits());
                self.reach(exchange, session, change).await?;
                Ok(Batched::Nothing)
            }
            Message::Response(response) => {
                self.reply(exchange, session, response).await?;
                Ok(Batched::Nothing)
            }
        }
    }

    /// Opens the stream of a legacy session; the modern era has none.
    // [mcp:http-get]
    pub(super) async fn get<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let head = exchange.head;
        self.guard(head)?;
        self.admit(exchange).await?;
        self.permit(exchange, &[])?;
        if Era::of(head.protocol_version, false) == Era::Modern {
            return Ok(self.not_allowed(exchange, out));
        }
        if !head.accept.event_stream {
            bump(&self.counters.refused_accept);
            let wanted = "Not acceptable: Accept must list text/event-stream";
            return Err(RpcError::new(406, Code::InvalidRequest, wanted).into());
        }
        let session = session_id(head)?;
        self.owns_session(exchange, session).await?;
        let after = head.last_event_id.map(String::from_utf8_lossy);
        let open = self.open_stream()?;
        match exchange.sessions.attach(session, after.as_deref()).await {
            Ok(feed) => {
                let (connection, chunked) = (exchange.connection, exchange.chunked());
                exchange.goes_on(Rest::feed(feed, open, connection, chunked));
                Ok(200)
            }
            Err(SessionError::NoStreams) => Ok(self.not_allowed(exchange, out)),
            Err(error) => Err(self.session_error(error).into()),
        }
    }

    /// Ends a legacy session; the modern era has none to end.
    pub(super) async fn delete<'a, S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let head = exchange.head;
        self.guard(head)?;
        self.admit(exchange).await?;
        self.permit(exchange, &[])?;
        if Era::of(head.protocol_version, false) == Era::Modern {
            return Ok(self.not_allowed(exchange, out));
        }
        exchange.kind.set(Kind::SessionDelete);
        bump(&self.counters.session_delete);
        let session = session_id(head)?;
        self.owns_session(exchange, session).await?;
        exchange
            .sessions
            .close(session)
            .await
            .map_err(|e| self.session_error(e))?;
        response::empty(out, 204, exchange.connection, b"");
        Ok(204)
    }
}

/// Whether a client knows events without a message, which came with 2025-11-25.
fn primes(session: SessionView) -> bool {
    session.version >= Version::V2025_11_25
}

/// The session that a legacy request names.
fn session_id<'h>(head: &Head<'h>) -> Result<&'h str, RpcError> {
    let Some(id) = head.session else {
        let wanted = "Bad request: Mcp-Session-Id is missing, initialize first";
        return Err(RpcError::new(400, Code::Transport, wanted));
    };
    // An id outside ASCII was never issued.
    std::str::from_utf8(id).map_err(|_| {
        RpcError::new(
            404,
            Code::SessionNotFound,
            SessionError::Unknown.to_string(),
        )
    })
}
