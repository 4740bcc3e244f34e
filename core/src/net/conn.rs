//! One connection: receive, frame, answer, in order, each step with a deadline.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bumpalo::Bump;
use ninefold_runtime::net::{RecvBuf, TcpStream, recycle_buffer, send_buffer};
use ninefold_runtime::{clock, draining, is_draining, timeout, yield_now};

use super::ShardSeat;
use super::acceptor::until_drain;
use super::inbox::Inbox;
use super::pair;
use super::peers::Place;
use super::seat::OpenConnection;
use crate::http::response::CONTINUE;
use crate::http::{Awaiting, Frame, HttpError, Parser, Progress};
use crate::limits::{
    LINGER_BYTES, LINGER_MS, Limits, PIPELINED_BYTES, PROBE_COUNT, PROBE_EVERY_MS,
    SEND_BATCH_BYTES, TURN_REQUESTS,
};
use crate::rate::Bucket;
use crate::rest::{Ended, Rest};
use crate::service::Outcome;

/// What a connection does next.
enum Next {
    /// Wait for more bytes.
    Receive(Awaiting),
    /// Let others have their turn: more requests may be there.
    Yield,
    /// Send the rest of an answer that goes on, and close behind it if so asked.
    Finish { rest: Box<Rest>, close: bool },
}

/// Why a connection ends.
enum End {
    /// The peer is done, or nothing more can be said to it.
    Closed,
    /// What is in the output is the last word.
    LastWord,
}

/// How a peer stands while its answer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// It may send more, or go.
    There,
    /// It says no more, but may read; so many probes are left to find out.
    Silent { probes: u8 },
}

/// What happened to an answer that goes on.
enum Step {
    /// There is something to be sent.
    Said,
    /// There was nothing to be sent for a while.
    Quiet,
    Ended(Ended),
    Received(io::Result<Option<RecvBuf>>),
    Drains,
}

/// The task behind one connection.
pub(super) struct Connection {
    stream: TcpStream,
    seat: Rc<ShardSeat>,
    parser: Parser,
    inbox: Inbox,
    out: Vec<u8>,
    /// Whether a send may be in flight.
    sending: bool,
    /// When the current head or body began to be waited for.
    since_ns: u64,
    awaited: Option<bool>,
    /// Bytes that have come since then.
    received: usize,
    /// Requests answered.
    served: usize,
    counted_bytes: usize,
    _open: OpenConnection,
    /// Among the connections of its peer.
    _place: Option<Place>,
    /// What is left of the calls of its peer, where there is a rate.
    bucket: Option<Rc<Bucket>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.seat.count_gathered(self.counted_bytes, 0);
    }
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        seat: Rc<ShardSeat>,
        place: Option<Place>,
        bucket: Option<Rc<Bucket>>,
    ) -> Self {
        Self {
            stream,
            _open: seat.open_connection(),
            seat,
            parser: Parser::new(),
            inbox: Inbox::default(),
            out: Vec::new(),
            sending: false,
            since_ns: 0,
            awaited: None,
            received: 0,
            served: 0,
            counted_bytes: 0,
            _place: place,
            bucket,
        }
    }

    fn limits(&self) -> &Limits {
        self.seat.service.server().limits()
    }

    /// Serves requests until the peer closes, breaks a rule or a deadline, or the node drains.
    #[expect(
        clippy::manual_async_fn,
        reason = "a block keeps `self` where it came in; an async function would hold it twice"
    )]
    pub(super) fn serve(mut self) -> impl Future<Output = ()> {
        async move {
            if let End::LastWord = self.exchange().await
                && self.send_out().await.is_ok()
                && self.flush().await.is_ok()
            {
                self.stream.shutdown_write();
                linger(&mut self.stream).await;
            } else {
                // Closing cuts off a send in flight, and an answer given is an answer owed.
                let _ = self.flush().await;
            }
        }
    }

    /// Receives and answers by turns.
    async fn exchange(&mut self) -> End {
        loop {
            let seat = self.seat.clone();
            let arena = seat.arenas.take();
            // What requests need until they are answered lives in their arena, so that the
            // connection's own state stays small while it is idle.
            let answering = bumpalo::boxed::Box::pin_in(self.answer_what_is_there(&arena), &arena);
            let next = answering.await;
            let emptying = clock::cycles();
            drop(arena);
            let took = clock::cycles().saturating_sub(emptying);
            seat.stats.arena_reset.record(took);
            let next = match next {
                Ok(Next::Receive(awaiting)) => self.receive_more(awaiting).await,
                Ok(Next::Yield) => {
                    yield_now().await;
                    Ok(())
                }
                // Few answers have a rest, and an idle connection must not hold room for it.
                Ok(Next::Finish { rest, close }) => Box::pin(self.finish(*rest, close)).await,
                Err(end) => Err(end),
            };
            if let Err(end) = next {
                return end;
            }
        }
    }

    /// Answers complete requests in the inbox, one after the other, all in `arena`; says what comes
    /// next.
    async fn answer_what_is_there(&mut self, arena: &Bump) -> Result<Next, End> {
        for _ in 0..TURN_REQUESTS {
            let limits = self.seat.service.server().limits();
            let frame = match self.parser.advance(self.inbox.bytes(), limits) {
                Ok(Progress::Incomplete(awaiting)) => return Ok(Next::Receive(awaiting)),
                Ok(Progress::Complete(frame)) => frame,
                Err(error) => return Err(self.refuse(error)),
            };
            let Outcome { rest, close, .. } = self.answer(&frame, arena).await;
            match rest {
                Some(rest) => return Ok(Next::Finish { rest, close }),
                None if close => return Err(End::LastWord),
                None => {}
            }
            if self.out.len() > SEND_BATCH_BYTES {
                self.send_out().await.map_err(|_| End::Closed)?;
            }
        }
        Ok(Next::Yield)
    }

    /// Answers one request, as far as that is done at once.
    async fn answer(&mut self, frame: &Frame, arena: &Bump) -> Outcome {
        if self.out.capacity() == 0 {
            self.out = send_buffer();
        }
        let (mut head, body) = frame.split(self.inbox.bytes());
        let (seat, bucket) = (&*self.seat, self.bucket.as_ref());
        self.served += 1;
        head.keep_alive &= self.served < seat.service.server().limits().requests_per_connection;
        let old = match seat.pairs {
            true => pair::respond(&self.seat, bucket, &head, body, &mut self.out),
            false => None,
        };
        let outcome = match old {
            Some(outcome) => outcome,
            None => {
                let (sessions, out) = (&seat.sessions, &mut self.out);
                let (service, bucket) = (&seat.service, bucket.map(|it| &**it));
                let respond = service.respond_to(bucket, &head, body, arena, sessions, out);
                respond.await
            }
        };
        seat.stats.requests.add(1);
        self.awaited = None;
        self.inbox.consume(frame.consumed());
        self.count_gathered();
        outcome
    }

    /// Sends the rest of an answer as it comes; the connection ends behind it if `close` says so.
    async fn finish(&mut self, mut rest: Rest, close: bool) -> Result<(), End> {
        let _under_way = self.seat.answer_under_way();
        self.settle();
        let (mut peer, mut drained) = (Peer::There, false);
        loop {
            let sent = self.send_out().await;
            // Bytes that nobody takes would pile up while it goes on.
            if sent.is_err() || self.inbox.bytes().len() > PIPELINED_BYTES {
                return Err(self.abandoned(rest));
            }
            self.out = send_buffer();
            let quiet = self.quiet_for(peer);
            let step = self.step(&mut rest, peer, drained);
            let step = timeout(quiet, step).await.unwrap_or(Step::Quiet);
            match step {
                Step::Said => {}
                Step::Quiet => {
                    if let Peer::Silent { probes } = &mut peer {
                        *probes = probes.saturating_sub(1);
                    }
                    rest.keep_alive(&self.seat.service, &mut self.out);
                }
                Step::Ended(ended) => {
                    let close = close || rest.ends_with_connection();
                    if ended == Ended::Early {
                        self.seat.go_on_alone(rest);
                    }
                    return if close { Err(End::LastWord) } else { Ok(()) };
                }
                Step::Received(Ok(Some(buffer))) => {
                    let taken = self.take_in(Ok(Some(buffer)));
                    self.settle();
                    if taken.is_err() || self.inbox.bytes().len() > PIPELINED_BYTES {
                        // Nothing else may be said in the middle of an answer.
                        self.out.clear();
                        return Err(self.abandoned(rest));
                    }
                }
                // Who says no more may still read; that is found out by saying something.
                Step::Received(Ok(None)) => {
                    peer = Peer::Silent {
                        probes: PROBE_COUNT,
                    }
                }
                Step::Received(Err(_)) => return Err(self.abandoned(rest)),
                Step::Drains => {
                    if rest.drain(&self.seat.service, &mut self.out) {
                        return Err(End::LastWord);
                    }
                    drained = true;
                }
            }
        }
    }

    /// How long an answer that goes on may be without a word.
    fn quiet_for(&self, peer: Peer) -> Duration {
        match peer {
            Peer::Silent { probes: 1.. } => Duration::from_millis(PROBE_EVERY_MS),
            _ => Duration::from_millis(self.limits().stream_keep_alive_ms),
        }
    }

    /// The peer has gone before its answer was whole.
    fn abandoned(&self, rest: Rest) -> End {
        if rest.outlives_peer() {
            self.seat.go_on_alone(rest);
        }
        End::Closed
    }

    /// What happens next while an answer goes on.
    async fn step(&mut self, rest: &mut Rest, peer: Peer, drained: bool) -> Step {
        let (stream, out, service) = (&mut self.stream, &mut self.out, &*self.seat.service);
        let mut receive = pin!(stream.receive());
        let mut drain = pin!(draining());
        poll_fn(|cx| {
            if let Poll::Ready(ended) = rest.poll(service, cx, out) {
                return Poll::Ready(Step::Ended(ended));
            }
            if !out.is_empty() {
                return Poll::Ready(Step::Said);
            }
            if peer == Peer::There
                && let Poll::Ready(received) = receive.as_mut().poll(cx)
            {
                return Poll::Ready(Step::Received(received));
            }
            // It is told once; what then still goes on, goes on to its end.
            if drained {
                return Poll::Pending;
            }
            drain.as_mut().poll(cx).map(|()| Step::Drains)
        })
        .await
    }

    fn refuse(&mut self, error: HttpError) -> End {
        self.seat.service.refuse_framing(error, &mut self.out);
        End::LastWord
    }

    /// Leaves no buffer of the kernel's with a connection that waits.
    fn settle(&mut self) {
        self.inbox.settle();
        self.count_gathered();
    }

    /// Waits for more bytes, under the deadline of what is awaited.
    async fn receive_more(&mut self, awaiting: Awaiting) -> Result<(), End> {
        self.settle();
        if let Awaiting::Body {
            send_continue: true,
            ..
        } = awaiting
        {
            self.out.extend_from_slice(CONTINUE);
        }
        let had = self.inbox.bytes().len();
        self.send_out().await.map_err(|_| End::Closed)?;
        if self.inbox.bytes().len() > had {
            // It came while the last answers were on their way, and may be all that will come.
            return Ok(());
        }
        if awaiting == Awaiting::Request && is_draining() {
            return Err(End::LastWord);
        }
        let received = match awaiting {
            Awaiting::Request => {
                let idle = Duration::from_millis(self.limits().keep_alive_idle_ms);
                let received = until_drain(timeout(idle, self.stream.receive())).await;
                match received {
                    None => return Err(End::Closed),
                    Some(Err(_)) => {
                        self.seat.stats.idle_closed.add(1);
                        return Err(End::Closed);
                    }
                    Some(Ok(received)) => received,
                }
            }
            Awaiting::Head | Awaiting::Body { .. } => {
                let left = self.time_left(matches!(awaiting, Awaiting::Body { .. }));
                match timeout(left, self.stream.receive()).await {
                    Ok(received) => received,
                    Err(_) => {
                        self.seat.service.refuse_late(&mut self.out);
                        return Err(End::LastWord);
                    }
                }
            }
        };
        self.take_in(received)
    }

    /// What is left of the deadline of a head or a body, which began when it was first awaited.
    fn time_left(&mut self, body: bool) -> Duration {
        let now_ns = clock::monotonic_ns();
        if self.awaited != Some(body) {
            self.awaited = Some(body);
            self.since_ns = now_ns;
            self.received = 0;
        }
        let limits = self.seat.service.server().limits();
        let allowed_ms = if body {
            body_time_ms(limits, self.received)
        } else {
            limits.header_deadline_ms
        };
        Duration::from_millis(allowed_ms)
            .saturating_sub(Duration::from_nanos(now_ns.saturating_sub(self.since_ns)))
    }

    fn take_in(&mut self, received: io::Result<Option<RecvBuf>>) -> Result<(), End> {
        let Ok(Some(buffer)) = received else {
            return Err(End::Closed);
        };
        self.received += buffer.len();
        self.inbox.push(buffer);
        self.count_gathered();
        if self.seat.gathered.get() > self.limits().inbox_bytes_per_shard
            && self.inbox.gathered_bytes() > 0
        {
            self.seat.service.refuse_overload(&mut self.out);
            return Err(End::LastWord);
        }
        Ok(())
    }

    /// Takes to the heap what the peer sends ahead, and has no more received: one that does not
    /// read must not pin the buffers of the shard by what it sends.
    fn hold_unread(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Ok(Some(buffer))) = self.stream.poll_paused(cx) {
            self.received += buffer.len();
            self.inbox.push(buffer);
        }
        self.settle();
    }

    fn count_gathered(&mut self) {
        let now = self.inbox.gathered_bytes();
        self.seat.count_gathered(self.counted_bytes, now);
        self.counted_bytes = now;
    }

    /// Hands the output to the kernel once it has taken what was sent before.
    async fn send_out(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            if self.out.capacity() > 0 {
                recycle_buffer(std::mem::take(&mut self.out));
            }
            return Ok(());
        }
        self.flush().await?;
        self.sending = true;
        self.stream.send(std::mem::take(&mut self.out))
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.sending) {
            return Ok(());
        }
        let within = Duration::from_millis(self.limits().write_deadline_ms);
        let flushed = poll_fn(|cx| {
            let flushed = self.stream.poll_flushed(cx);
            if flushed.is_pending() {
                self.hold_unread(cx);
            }
            flushed
        });
        match timeout(within, flushed).await {
            Ok(flushed) => flushed,
            Err(_) => {
                self.seat.stats.slow_readers.add(1);
                tracing::debug!("a peer did not take its answer in time");
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

/// How long a body may take of which `received` bytes have come: each byte buys time, up to the
/// deadline.
fn body_time_ms(limits: &Limits, received: usize) -> u64 {
    let bought = (received as u64)
        .saturating_mul(1000)
        .checked_div(limits.body_bytes_per_s as u64);
    // Without a rate there is nothing to buy.
    bought.map_or(limits.body_deadline_ms, |bought| {
        let allowed = limits.body_grace_ms.saturating_add(bought);
        allowed.min(limits.body_deadline_ms)
    })
}

/// Reads and drops what the peer still sends, within bounds.
pub(super) async fn linger(stream: &mut TcpStream) {
    let mut left = LINGER_BYTES;
    let drain = async {
        while let Ok(Some(buffer)) = stream.receive().await {
            left = left.saturating_sub(buffer.len());
            if left == 0 {
                return;
            }
        }
    };
    // However it ends, the connection is over.
    let _ = timeout(Duration::from_millis(LINGER_MS), drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_buys_time_by_its_bytes_up_to_the_deadline() {
        let mut limits = Limits {
            body_grace_ms: 500,
            body_bytes_per_s: 1000,
            body_deadline_ms: 3000,
            ..Limits::default()
        };
        let times = [0, 1, 100, 2500, 2501, 25_000, usize::MAX];
        let allowed = times.map(|received| body_time_ms(&limits, received));
        assert_eq!(allowed, [500, 501, 600, 3000, 3000, 3000, 3000]);
        limits.body_bytes_per_s = 0;
        assert_eq!(body_time_ms(&limits, 0), 3000);
    }
}
