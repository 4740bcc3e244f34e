//! What is left of an answer when a request has been read: calls under way, a subscription, the
//! stream of a session. It owns all it needs, so that the request's buffers are free meanwhile.
//!
//! A call that says nothing before its result is answered by one JSON body; its first message
//! turns the answer into a stream of events.

use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::http::response::{Body, Connection};
use crate::http::sse::Sse;
use crate::mcp::listen::Listening;
use crate::mcp::work::{Finished, Work};
use crate::net::Pair;
use crate::service::{OpenStream, Service};
use crate::session::{Event, Feed, SessionLink};

/// What is left, and how its answer has begun.
pub struct Rest {
    left: Left,
    connection: Connection,
    chunked: bool,
    stream: Option<Sse>,
    /// Whether the answer has become a stream, which may have ended since.
    begun: bool,
    /// Where the events of a legacy stream are kept for replay.
    record: Option<Record>,
    /// Whether this client knows events that carry no message.
    primes: bool,
    /// Whether the answer must be a stream: it may hold several messages.
    many: bool,
}

enum Left {
    Calls {
        /// Messages that are there already, of a batch.
        ready: Vec<Vec<u8>>,
        works: Vec<Work>,
        /// The client that goes away takes its calls along.
        ends_with_peer: bool,
    },
    Listening(
        Listening,
        #[expect(dead_code, reason = "counts while it lives")] OpenStream,
    ),
    Feed(
        Box<dyn Feed>,
        #[expect(dead_code, reason = "counts while it lives")] OpenStream,
    ),
    Pair(
        Pair,
        #[expect(dead_code, reason = "counts while it lives")] OpenStream,
    ),
}

struct Record {
    link: Rc<dyn SessionLink>,
    stream: String,
    next: u64,
    /// Whether its last event has been told, or the session would wait for it for ever.
    ended: bool,
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.link.end_stream(&self.stream);
        }
    }
}

/// How an answer stands after a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of it is in the output.
    Whole,
    /// The stream has ended before its calls have: [`Rest::alone`] finishes them.
    Early,
}

impl Rest {
    /// A call under way.
    pub(crate) fn call(work: Work, connection: Connection, chunked: bool, modern: bool) -> Self {
        let left = Left::Calls {
            ready: Vec::new(),
            works: vec![work],
            ends_with_peer: modern,
        };
        Self::new(left, connection, chunked)
    }

    /// What is left of a batch.
    pub(crate) fn batch(
        ready: Vec<Vec<u8>>,
        works: Vec<Work>,
        connection: Connection,
        chunked: bool,
    ) -> Self {
        let left = Left::Calls {
            ready,
            works,
            ends_with_peer: false,
        };
        Self {
            many: true,
            ..Self::new(left, connection, chunked)
        }
    }

    /// A subscription.
    pub(crate) fn listening(
        listening: Listening,
        open: OpenStream,
        connection: Connection,
        chunked: bool,
    ) -> Self {
        Self::new(Left::Listening(listening, open), connection, chunked)
    }

    /// The stream of a session.
    pub(crate) fn feed(
        feed: Box<dyn Feed>,
        open: OpenStream,
        connection: Connection,
        chunked: bool,
    ) -> Self {
        Self::new(Left::Feed(feed, open), connection, chunked)
    }

    /// The stream of a client of 2024-11-05.
    pub(crate) fn pair(
        pair: Pair,
        open: OpenStream,
        connection: Connection,
        chunked: bool,
    ) -> Self {
        Self::new(Left::Pair(pair, open), connection, chunked)
    }

    fn new(left: Left, connection: Connection, chunked: bool) -> Self {
        Self {
            left,
            connection,
            chunked,
            stream: None,
            begun: false,
            record: None,
            primes: false,
            many: false,
        }
    }

    /// Begins streams with an event that carries no message, for clients that know such.
    pub(crate) fn priming(mut self, primes: bool) -> Self {
        self.primes = primes;
        self
    }

    /// Goes on as far as it can, and appends to `out` what is to be sent.
    pub fn poll(
        &mut self,
        service: &Service,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Ended> {
        match self.left {
            Left::Calls { .. } => self.poll_calls(service, cx, out),
            Left::Listening(..) => self.poll_listening(service, cx, out),
            Left::Feed(..) => self.poll_feed(service, cx, out),
            Left::Pair(..) => self.poll_pair(service, cx, out),
        }
    }

    fn poll_calls(
        &mut self,
        service: &Service,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Ended> {
        let Left::Calls { ready, works, .. } = &mut self.left else {
            return Poll::Pending;
        };
        let (mut works, ready) = (std::mem::take(works), std::mem::take(ready));
        let link = works.first().and_then(|it| it.talk().link().cloned());
        for message in ready {
            self.event(service, link.as_ref(), &message, false, out);
        }
        let (mut early, single) = (false, !self.many);
        works.retain_mut(|work| {
            let finished = work.poll(service, cx);
            let link = work.talk().link().cloned();
            while let Some(message) = work.talk().take_message() {
                self.event(service, link.as_ref(), message.as_bytes(), false, out);
            }
            if let Poll::Ready(finished) = finished {
                self.finished(service, link.as_ref(), finished, single, out);
                return false;
            }
            if work.talk().takes_stream_end() {
                self.begin(service, link.as_ref(), out);
                early = true;
            }
            true
        });
        let done = works.is_empty();
        if let Left::Calls { works: left, .. } = &mut self.left {
            *left = works;
        }
        if !done && !early {
            return Poll::Pending;
        }
        if let Some(stream) = self.stream.take() {
            stream.close(out);
        }
        Poll::Ready(if done { Ended::Whole } else { Ended::Early })
    }

    /// Writes the last message of a call: as an event, or as the whole answer.
    fn finished(
        &mut self,
        service: &Service,
        link: Option<&Rc<dyn SessionLink>>,
        finished: Finished,
        single: bool,
        out: &mut Vec<u8>,
    ) {
        let Finished { status, message } = finished;
        match message {
            Some(message) if single && !self.begun => {
                let body = Body::open(out, status, self.connection);
                out.extend_from_slice(&message);
                body.finish(out);
            }
            Some(message) => self.event(service, link, &message, single, out),
            // A request that was taken back gets no answer; HTTP must have one: an empty stream.
            None => self.begin(service, None, out),
        }
    }

    fn poll_listening(
        &mut self,
        service: &Service,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Ended> {
        self.begin(service, None, out);
        let (Left::Listening(listening, _), Some(stream)) = (&mut self.left, &self.stream) else {
            return Poll::Pending;
        };
        while let Some(message) = listening.next(cx) {
            stream.event(out, None, message.as_bytes());
        }
        Poll::Pending
    }

    fn poll_feed(
        &mut self,
        service: &Service,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Ended> {
        self.begin(service, None, out);
        let (Left::Feed(feed, _), Some(stream)) = (&mut self.left, &self.stream) else {
            return Poll::Pending;
        };
        loop {
            match feed.poll_event(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Event { id, data })) if data.is_empty() => {
                    let retry_ms = service.server().limits().stream_retry_ms;
                    stream.prime(out, &id, retry_ms);
                }
                Poll::Ready(Some(Event { id, data })) => {
                    stream.event(out, Some(&id), data.as_bytes());
                }
            }
        }
        stream.close(out);
        Poll::Ready(Ended::Whole)
    }

    fn poll_pair(
        &mut self,
        service: &Service,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Ended> {
        self.begin(service, None, out);
        let (Left::Pair(pair, _), Some(stream)) = (&mut self.left, &self.stream) else {
            return Poll::Pending;
        };
        std::task::ready!(pair.poll(cx, stream, out));
        stream.close(out);
        Poll::Ready(Ended::Whole)
    }

    /// Turns the answer into a stream, if it is none yet.
    fn begin(&mut self, service: &Service, link: Option<&Rc<dyn SessionLink>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let stream = Sse::open(out, self.connection, self.chunked);
        self.record = link.map(|link| Record {
            link: link.clone(),
            stream: link.name_stream(),
            next: 1,
            ended: false,
        });
        if let Some(record) = self.record.as_ref().filter(|_| self.primes) {
            let id = format!("{}-0", record.stream);
            stream.prime(out, &id, service.server().limits().stream_retry_ms);
        }
        self.stream = Some(stream);
    }

    /// Writes an event, where somebody reads, and keeps it, where somebody may come back for it.
    fn event(
        &mut self,
        service: &Service,
        link: Option<&Rc<dyn SessionLink>>,
        message: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) {
        self.begin(service, link, out);
        let id = self.record.as_mut().map(|record| {
            let id = format!("{}-{}", record.stream, record.next);
            record.next += 1;
            record.ended |= last;
            let event = Event {
                id: id.clone(),
                data: String::from_utf8_lossy(message).into_owned(),
            };
            record.link.record(&record.stream, event, last);
            id
        });
        if let Some(stream) = &self.stream {
            stream.event(out, id.as_deref(), message);
        }
    }

    /// Whether only the end of the connection can end the answer.
    pub fn ends_with_connection(&self) -> bool {
        self.begun && !self.chunked
    }

    /// Appends a sign of life. An answer that has not begun becomes a stream by it: whoever stands
    /// between takes long silence for the end, and to a peer that has gone the next word will fail.
    pub fn keep_alive(&mut self, service: &Service, out: &mut Vec<u8>) {
        let link = match &self.left {
            Left::Calls { works, .. } => works.first().and_then(|it| it.talk().link().cloned()),
            Left::Listening(..) | Left::Feed(..) | Left::Pair(..) => None,
        };
        self.begin(service, link.as_ref(), out);
        if let Some(stream) = &self.stream {
            stream.comment(out);
        }
    }

    /// Whether this goes on when the peer has gone: in the legacy era, leaving is not cancelling.
    // [mcp:cancel-disconnect]
    pub fn outlives_peer(&self) -> bool {
        matches!(
            self.left,
            Left::Calls {
                ends_with_peer: false,
                ..
            }
        )
    }

    /// Calls that are under way.
    pub fn calls(&self) -> usize {
        match &self.left {
            Left::Calls { works, .. } => works.len(),
            Left::Listening(..) | Left::Feed(..) | Left::Pair(..) => 0,
        }
    }

    /// Ends the calls under way behind the first `count`.
    pub fn end_calls_beyond(&mut self, count: usize) {
        if let Left::Calls { works, .. } = &mut self.left {
            works.truncate(count);
        }
    }

    /// Ends what would go on for ever, because the node drains; true when that was the case.
    pub fn drain(&mut self, service: &Service, out: &mut Vec<u8>) -> bool {
        let result = match &self.left {
            // A pair ends by itself, behind its calls.
            Left::Calls { .. } | Left::Pair(..) => return false,
            Left::Listening(listening, _) => Some(listening.end(service)),
            Left::Feed(..) => None,
        };
        if let Some(stream) = self.stream.take() {
            if let Some(result) = result {
                stream.event(out, None, result.as_bytes());
            }
            stream.close(out);
        }
        true
    }

    /// Goes on without a peer: what is said is kept for whoever comes back for it.
    pub async fn alone(mut self, service: impl Deref<Target = Service>) {
        self.stream = None;
        let mut unread = Vec::new();
        std::future::poll_fn(|cx| {
            loop {
                unread.clear();
                match self.poll(&service, cx, &mut unread) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ended::Whole) => return Poll::Ready(()),
                    // There is no stream left that could end early once more.
                    Poll::Ready(Ended::Early) => {}
                }
            }
        })
        .await;
    }
}
