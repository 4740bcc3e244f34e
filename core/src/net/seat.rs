//! What the connections of one shard share.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ninefold_runtime::spawn_local;
use ninefold_runtime::stats::{Counter, Histogram};

use super::acceptor::until_drain;
use super::arena::Arenas;
use super::peers::Peers;
use crate::handle::ShardSessions;
use crate::rest::Rest;
use crate::service::Service;

/// Counts of a shard's connections, read by the control plane.
#[derive(Debug, Default)]
pub(crate) struct NetStats {
    /// Whether the shard accepts: 0 or 1.
    pub(crate) listening: Counter,
    /// Connections open now.
    pub(crate) connections: Counter,
    /// Connections closed at accept because the shard held its limit.
    pub(crate) refused_connections: Counter,
    /// Connections closed at accept because their peer held its limit.
    pub(crate) refused_peer_connections: Counter,
    /// Requests answered.
    pub(crate) requests: Counter,
    /// Connections that never said a word within their deadline.
    pub(crate) idle_closed: Counter,
    /// Connections whose peer did not take its answer in time.
    pub(crate) slow_readers: Counter,
    /// Answers that go on: calls under way, streams.
    pub(crate) answers: Counter,
    /// Legacy sessions open now.
    pub(crate) sessions: Counter,
    /// Arenas that requests hold now.
    pub(crate) arenas_in_use: Counter,
    /// Bytes in pooled arenas.
    pub(crate) arena_pooled_bytes: Counter,
    /// Time a request's arena took to be emptied.
    pub(crate) arena_reset: Histogram,
}

impl NetStats {
    /// Calls `f` with name, whether it is a gauge, help and value of everything counted.
    pub(crate) fn each(&self, f: &mut dyn FnMut(&'static str, bool, &'static str, u64)) {
        f(
            "listening",
            true,
            "Whether the shard accepts connections.",
            self.listening.get(),
        );
        f(
            "connections_open",
            true,
            "Connections open now.",
            self.connections.get(),
        );
        f(
            "connections_refused",
            false,
            "Connections closed at accept because the shard held its limit.",
            self.refused_connections.get(),
        );
        f(
            "connections_refused_peer",
            false,
            "Connections closed at accept because their peer held its limit.",
            self.refused_peer_connections.get(),
        );
        f("requests", false, "Requests answered.", self.requests.get());
        f(
            "connections_idle_closed",
            false,
            "Idle connections closed.",
            self.idle_closed.get(),
        );
        f(
            "connections_slow_reader",
            false,
            "Connections whose peer did not take its answer in time.",
            self.slow_readers.get(),
        );
        f(
            "answers_under_way",
            true,
            "Answers that go on: calls under way, streams.",
            self.answers.get(),
        );
        f(
            "sessions_open",
            true,
            "Legacy sessions open now.",
            self.sessions.get(),
        );
        f(
            "arenas_in_use",
            true,
            "Arenas that requests hold now.",
            self.arenas_in_use.get(),
        );
        f(
            "arena_pooled_bytes",
            true,
            "Bytes in pooled arenas.",
            self.arena_pooled_bytes.get(),
        );
    }
}

/// The service, the sessions and the arenas of one shard.
pub(crate) struct ShardSeat {
    pub(crate) service: Rc<Service>,
    pub(crate) sessions: ShardSessions,
    pub(crate) arenas: Arenas,
    pub(crate) stats: Arc<NetStats>,
    /// Bytes that connections have gathered on the heap.
    pub(crate) gathered: Cell<usize>,
    /// Connections open now.
    pub(crate) open: Cell<usize>,
    /// The same by peer.
    pub(super) peers: Rc<Peers>,
    /// Whether the transport of 2024-11-05 is served.
    pub(crate) pairs: bool,
    /// Answers that go on.
    answers: Rc<Cell<usize>>,
    /// Calls that go on without their client.
    alone: Rc<Cell<usize>>,
}

impl ShardSeat {
    pub(crate) fn new(service: Service, sessions: ShardSessions, stats: Arc<NetStats>) -> Self {
        Self {
            service: Rc::new(service),
            sessions,
            arenas: Arenas::default(),
            stats,
            gathered: Cell::new(0),
            open: Cell::new(0),
            peers: Rc::default(),
            pairs: false,
            answers: Rc::default(),
            alone: Rc::default(),
        }
    }

    /// Serves the transport of 2024-11-05 too, or does not.
    pub(crate) fn with_pairs(mut self, pairs: bool) -> Self {
        self.pairs = pairs;
        self
    }

    /// Counts an answer that goes on.
    pub(crate) fn answer_under_way(&self) -> Counted {
        Counted::some(&self.answers, 1)
    }

    /// Counts a connection as open while it lives.
    pub(super) fn open_connection(self: &Rc<Self>) -> OpenConnection {
        self.open.set(self.open.get() + 1);
        OpenConnection(self.clone())
    }

    /// A connection has gathered `now` bytes, and not `before` any more.
    pub(super) fn count_gathered(&self, before: usize, now: usize) {
        self.gathered.set(self.gathered.get() + now - before);
    }

    /// Lets the calls of `rest` go on without their client, which may come back for their stream;
    /// beyond the limit they end here.
    pub(super) fn go_on_alone(&self, mut rest: Rest) {
        let limit = self.service.server().limits().calls_alone_per_shard;
        let calls = rest.calls().min(limit.saturating_sub(self.alone.get()));
        if calls < rest.calls() {
            tracing::warn!(
                limit,
                ended = rest.calls() - calls,
                "calls ended with their client: too many go on without one"
            );
            rest.end_calls_beyond(calls);
        }
        if calls == 0 {
            return;
        }
        let counted = Counted::some(&self.alone, calls);
        let service = self.service.clone();
        let started = spawn_local(async move {
            // Nobody can come back to a node that ends.
            until_drain(rest.alone(service)).await;
            drop(counted);
        });
        if let Err(error) = started {
            tracing::warn!(%error, "a call ended with its client");
        }
    }

    /// Copies the levels that only this shard knows to where the control plane reads them.
    pub(crate) fn publish(&self) {
        self.stats.connections.set(self.open.get() as u64);
        self.stats.answers.set(self.answers.get() as u64);
        self.stats.sessions.set(self.sessions.open_count() as u64);
        self.stats.arenas_in_use.set(self.arenas.in_use() as u64);
        self.stats
            .arena_pooled_bytes
            .set(self.arenas.pooled_bytes() as u64);
    }
}

/// One of the shard's open connections.
pub(super) struct OpenConnection(Rc<ShardSeat>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Counts something for as long as it lives, however it ends.
pub(crate) struct Counted {
    count: Rc<Cell<usize>>,
    by: usize,
}

impl Counted {
    fn some(count: &Rc<Cell<usize>>, by: usize) -> Self {
        count.set(count.get() + by);
        let count = count.clone();
        Self { count, by }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.set(self.count.get() - self.by);
    }
}
