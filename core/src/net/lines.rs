//! A connection that carries messages as lines, both ways at once: TCP, Unix sockets, and pipes
//! through a pair of sockets.
//!
//! Backpressure is one rule: while enough waits to be sent, or enough calls are under way, nothing
//! is read. What the peer sends then waits in the kernel, and at last at the peer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ninefold_runtime::net::{RecvBuf, TcpStream, recycle_buffer, send_buffer};
use ninefold_runtime::{clock, draining, is_draining, timeout, yield_now};

use super::ShardSeat;
use super::inbox::Inbox;
use super::peers::Place;
use super::seat::OpenConnection;
use crate::counters::bump;
use crate::duplex::{Duplex, OUT_BYTES};
use crate::limits::Limits;
use crate::rate::Bucket;
use crate::rpc::{Code, RpcError};

/// Lines answered before other tasks of the shard get their turn.
const LINES_A_TURN: u32 = 16;

/// Whether a line is the first of an HTTP request: what follows would be its body, which a web page
/// in a browser of this host may have written.
fn begins_http(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first().is_some_and(u8::is_ascii_uppercase)
        && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Far {
    /// Somebody on a network or on this host, who is held to deadlines.
    Socket,
    /// The process that started this one: it may be silent, or not read, for as long as it likes.
    Parent,
}

/// What is next on a connection.
enum Step {
    Received(io::Result<Option<RecvBuf>>),
    Sent(io::Result<()>),
    /// There is something to be sent.
    Said,
    Drains,
}

/// What a connection may not wait for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The rest of a line.
    Line,
    /// The peer, to take what is sent.
    Reader,
    /// Anything at all.
    Word,
    /// Calls that are under way although the peer says no more.
    Calls,
}

/// How the input stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// In the middle of a line that is over its limit and is being dropped.
    Skips,
    /// Nothing more is read.
    Ended,
}

/// The task behind one connection.
pub(crate) struct Lines {
    stream: TcpStream,
    seat: Rc<ShardSeat>,
    duplex: Duplex,
    inbox: Inbox,
    /// Bytes at the front of the inbox that hold no line end.
    searched: usize,
    input: Input,
    out: Vec<u8>,
    far: Far,
    /// When the send in flight began.
    sending_ns: Option<u64>,
    /// When the line that is not whole yet began.
    line_ns: Option<u64>,
    /// When the peer was heard, or was told something, for the last time.
    word_ns: u64,
    /// When the input ended.
    ended_ns: u64,
    /// Whether the channel was told that the node drains.
    drained: bool,
    counted_bytes: usize,
    _open: OpenConnection,
    /// Among the connections of its peer.
    _place: Option<Place>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.seat.count_gathered(self.counted_bytes, 0);
    }
}

impl Lines {
    /// The calls of the peer take from `bucket`, where there is a rate.
    pub(crate) fn new(
        stream: TcpStream,
        seat: Rc<ShardSeat>,
        bucket: Option<Rc<Bucket>>,
        far: Far,
    ) -> Self {
        Self {
            stream,
            duplex: Duplex::new(seat.clone(), bucket),
            inbox: Inbox::default(),
            searched: 0,
            input: Input::Open,
            out: Vec::new(),
            far,
            sending_ns: None,
            line_ns: None,
            word_ns: clock::monotonic_ns(),
            ended_ns: 0,
            drained: false,
            counted_bytes: 0,
            _open: seat.open_connection(),
            _place: None,
            seat,
        }
    }

    /// Counts among the connections of its peer, by `place`.
    pub(super) fn holding(mut self, place: Option<Place>) -> Self {
        self._place = place;
        self
    }

    fn limits(&self) -> &Limits {
        self.seat.service.server().limits()
    }

    /// Serves the peer until it has left, breaks a rule or a deadline, or the node drains.
    pub(crate) async fn serve(mut self) {
        loop {
            self.answer_lines().await;
            if self.send_out().is_err() || self.is_over() {
                break;
            }
            self.settle();
            let step = match self.due() {
                None => Ok(self.step().await),
                Some((left, late)) => timeout(left, self.step()).await.map_err(|_| late),
            };
            let goes_on = match step {
                Ok(Step::Received(received)) => self.received(received),
                Ok(Step::Sent(sent)) => {
                    self.sending_ns = None;
                    sent.is_ok()
                }
                Ok(Step::Said) => {
                    self.word_ns = clock::monotonic_ns();
                    true
                }
                Ok(Step::Drains) => {
                    self.drained = true;
                    self.duplex.drain();
                    if self.input != Input::Ended {
                        self.end_input();
                    }
                    true
                }
                Err(late) => self.late(late),
            };
            if !goes_on {
                break;
            }
        }
        self.stream.shutdown_write();
        if self.far == Far::Socket {
            super::conn::linger(&mut self.stream).await;
        }
    }

    /// Whether all has been said that will be.
    fn is_over(&self) -> bool {
        self.input == Input::Ended
            && self.duplex.calls() == 0
            && self.sending_ns.is_none()
            && self.out.is_empty()
            && (self.duplex.subscriptions() == 0 || !is_draining())
    }

    /// Whether more of what the peer sends may be looked at.
    fn takes_more(&self) -> bool {
        self.input != Input::Ended && self.out.len() < OUT_BYTES && self.duplex.takes_more()
    }

    /// Answers every whole line of the inbox, as far as there is room for answers.
    async fn answer_lines(&mut self) {
        let mut answered = 0;
        while self.takes_more() {
            let from = self.searched;
            let bytes = self.inbox.bytes();
            let rest = bytes.get(from..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest).map(|at| from + at) else {
                self.searched = bytes.len();
                return self.await_line_end();
            };
            self.searched = 0;
            self.line_ns = None;
            let skips = std::mem::replace(&mut self.input, Input::Open) == Input::Skips;
            if !skips && end > self.limits().body_bytes {
                self.refuse_long();
            } else if !skips {
                self.answer(end).await;
            }
            if self.input == Input::Ended {
                return;
            }
            self.inbox.consume(end + 1);
            answered += 1;
            if answered % LINES_A_TURN == 0 {
                yield_now().await;
            }
        }
        // Who is not read cannot be late.
        self.line_ns = None;
    }

    /// Answers the line of `end` bytes at the front of the inbox.
    async fn answer(&mut self, end: usize) {
        let line = self.inbox.bytes().get_mut(..end).unwrap_or_default();
        if line.trim_ascii().is_empty() {
            return;
        }
        if self.far == Far::Socket && self.duplex.is_undecided() && begins_http(line) {
            bump(&self.seat.service.counters().refused_framing);
            self.refuse("Parse error: this is HTTP, and here a message is a line of JSON");
            return self.end_input();
        }
        if self.out.capacity() == 0 {
            self.out = send_buffer();
        }
        let arena = self.seat.arenas.take();
        let take = self.duplex.take(line, &arena, &mut self.out);
        // As for HTTP, what a message needs while it is taken lives in its arena.
        bumpalo::boxed::Box::pin_in(take, &arena).await;
    }

    /// A line has begun and is not whole. What has come of one that is over its limit is dropped,
    /// up to its end, and that is said once.
    fn await_line_end(&mut self) {
        if self.searched == 0 {
            return;
        }
        self.line_ns.get_or_insert(self.word_ns);
        if self.input == Input::Open && self.searched > self.limits().body_bytes {
            self.input = Input::Skips;
            self.refuse_long();
        }
        if self.input == Input::Skips {
            self.inbox.consume(self.searched);
            self.searched = 0;
        }
    }

    fn refuse_long(&mut self) {
        self.refuse("Parse error: the line is over its limit of bytes");
        // Whether it began HTTP is not known, so what follows may be written by a web page.
        if self.far == Far::Socket && self.duplex.is_undecided() {
            self.end_input();
        }
    }

    fn refuse(&mut self, wanted: &'static str) {
        let error = RpcError::new(400, Code::ParseError, wanted);
        self.duplex.refuse_text(error, &mut self.out);
    }

    /// Hands the output to the kernel, unless it still has what came before.
    fn send_out(&mut self) -> io::Result<()> {
        if self.sending_ns.is_some() {
            return Ok(());
        }
        if self.out.is_empty() {
            if self.out.capacity() > 0 {
                recycle_buffer(std::mem::take(&mut self.out));
            }
            return Ok(());
        }
        self.sending_ns = Some(clock::monotonic_ns());
        self.stream.send(std::mem::take(&mut self.out))
    }

    /// Leaves no buffer of the kernel's with a connection that waits.
    fn settle(&mut self) {
        self.inbox.settle();
        let now = self.inbox.gathered_bytes();
        self.seat.count_gathered(self.counted_bytes, now);
        self.counted_bytes = now;
    }

    /// What happens next.
    async fn step(&mut self) -> Step {
        let reads = self.takes_more();
        let sends = self.sending_ns.is_some();
        let drained = self.drained;
        let (stream, duplex, out) = (&mut self.stream, &mut self.duplex, &mut self.out);
        let mut drain = pin!(draining());
        poll_fn(|cx| {
            if sends && let Poll::Ready(sent) = stream.poll_flushed(cx) {
                return Poll::Ready(Step::Sent(sent));
            }
            if out.len() < OUT_BYTES && duplex.poll(cx, out).is_ready() && !sends {
                return Poll::Ready(Step::Said);
            }
            // What waits unread waits in the kernel, or in a few KiB on the heap: the buffers that
            // are received into are the shard's.
            let received = match reads {
                true => stream.poll_receive(cx),
                false => stream.poll_paused(cx),
            };
            if let Poll::Ready(received) = received {
                return Poll::Ready(Step::Received(received));
            }
            if drained {
                return Poll::Pending;
            }
            drain.as_mut().poll(cx).map(|()| Step::Drains)
        })
        .await
    }

    /// Takes in what was received; false when the connection is to end at once.
    fn received(&mut self, received: io::Result<Option<RecvBuf>>) -> bool {
        match received {
            Err(_) => return false,
            Ok(None) => {
                // The last line needs no end.
                if !self.inbox.bytes().is_empty() && self.input == Input::Open {
                    self.inbox.end_line();
                    return true;
                }
                self.end_input();
            }
            // It came before the kernel heard that nothing more is read.
            Ok(Some(_)) if self.input == Input::Ended => {}
            Ok(Some(buffer)) => {
                self.word_ns = clock::monotonic_ns();
                self.inbox.push(buffer);
                self.check_room();
            }
        }
        true
    }

    /// The bytes that connections gather are bounded for the shard as a whole.
    fn check_room(&mut self) {
        let gathered = self.inbox.gathered_bytes();
        self.seat.count_gathered(self.counted_bytes, gathered);
        self.counted_bytes = gathered;
        if gathered > 0 && self.seat.gathered.get() > self.limits().inbox_bytes_per_shard {
            bump(&self.seat.service.counters().refused_memory);
            self.refuse("Overloaded: no room for this line, try again later");
            self.end_input();
        }
    }

    /// Reads no more; calls under way get the time that is left to them.
    fn end_input(&mut self) {
        self.input = Input::Ended;
        self.inbox = Inbox::default();
        self.line_ns = None;
        self.ended_ns = clock::monotonic_ns();
        self.duplex.input_ended();
    }

    /// What comes due first, and how long that is from now; `None` for an end that may wait.
    fn due(&self) -> Option<(Duration, Late)> {
        let limits = self.limits();
        let socket = self.far == Far::Socket;
        let since = |at_ns: u64, ms: u64| at_ns.saturating_add(ms.saturating_mul(1_000_000));
        let reader = self.sending_ns.filter(|_| socket);
        let line = self.line_ns.filter(|_| socket && self.takes_more());
        let unused = socket
            && self.input == Input::Open
            && self.duplex.calls() == 0
            && self.duplex.subscriptions() == 0;
        let idle_ms = match self.duplex.is_undecided() {
            true => limits.keep_alive_idle_ms,
            false => limits.session_idle_ms,
        };
        let ended = self.input == Input::Ended && self.duplex.calls() > 0 && !is_draining();
        let all = [
            reader.map(|at| (since(at, limits.write_deadline_ms), Late::Reader)),
            line.map(|at| (since(at, limits.body_deadline_ms), Late::Line)),
            unused.then(|| (since(self.word_ns, idle_ms), Late::Word)),
            ended.then(|| (since(self.ended_ns, limits.input_end_ms), Late::Calls)),
        ];
        let (at_ns, late) = all.into_iter().flatten().min_by_key(|(at_ns, _)| *at_ns)?;
        let left_ns = at_ns.saturating_sub(clock::monotonic_ns());
        Some((Duration::from_nanos(left_ns), late))
    }

    /// A deadline has passed; false when the connection is to end at once.
    fn late(&mut self, late: Late) -> bool {
        match late {
            Late::Line => {
                bump(&self.seat.service.counters().refused_late);
                self.refuse("Parse error: the line did not end in time");
                self.end_input();
                return true;
            }
            Late::Reader => {
                self.seat.stats.slow_readers.add(1);
                tracing::debug!("a peer did not take its answers in time");
            }
            Late::Word => self.seat.stats.idle_closed.add(1),
            Late::Calls => {
                let calls = self.duplex.calls();
                tracing::info!(calls, "calls end with their client, which says no more");
                self.duplex.end_calls();
                return true;
            }
        }
        false
    }
}
