//! Accepting: one task a shard, one task for each connection it accepts.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ninefold_runtime::net::{TcpListener, TcpStream};
use ninefold_runtime::{SpawnError, clock, is_draining, sleep, spawn_local};
use pin_project_lite::pin_project;

use super::ShardSeat;
use super::conn::Connection;
use super::lines::{Far, Lines};
use super::peers::Place;

/// How often a failing accept is logged.
const LOG_EVERY_NS: u64 = 1_000_000_000;
/// How often the levels of a shard are published to the control plane.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// HTTP.
    Http,
    /// A message a line.
    Lines,
}

/// Starts what a shard does for all its connections.
pub(crate) fn tend(seat: &Rc<ShardSeat>) -> Result<(), SpawnError> {
    spawn_local(publish(seat.clone()))?;
    spawn_local(listen(seat.clone()))
}

/// Accepts on `listener` until the runtime drains; beyond the limit of the shard or of its peer a
/// connection is closed at once.
pub(crate) async fn accept(mut listener: TcpListener, speech: Speech, seat: Rc<ShardSeat>) {
    let mut logged_ns = 0;
    while let Some(accepted) = until_drain(listener.accept()).await {
        match accepted {
            Ok(stream) => admit(stream, speech, &seat),
            Err(error) => {
                let now_ns = clock::monotonic_ns();
                if now_ns - logged_ns > LOG_EVERY_NS {
                    logged_ns = now_ns;
                    tracing::warn!(
                        %error,
                        open = seat.open.get(),
                        "accept failed; if descriptors are short, raise `ulimit -n` or LimitNOFILE"
                    );
                }
            }
        }
    }
    seat.stats.listening.set(0);
}

fn admit(stream: TcpStream, speech: Speech, seat: &Rc<ShardSeat>) {
    let limits = seat.service.server().limits();
    let limit = limits.connections_per_shard;
    if seat.open.get() >= limit {
        seat.stats.refused_connections.add(1);
        tracing::debug!(
            limit,
            "connection closed at accept: the shard holds its limit"
        );
        return;
    }
    let limit = limits.peer_connections_per_shard;
    // Who has no address any more has gone, and is found to be gone by the first receive; a Unix
    // socket has none.
    let peer = stream.peer().map(|it| it.ip());
    let Ok(place) = peer.map(|it| seat.peers.admit(it, limit)).transpose() else {
        seat.stats.refused_peer_connections.add(1);
        tracing::debug!(
            limit,
            ?peer,
            "connection closed at accept: its peer holds its limit"
        );
        return;
    };
    let bucket = seat.service.bucket(place.as_ref().map(Place::peer));
    let seat_of = seat.clone();
    let started = match speech {
        Speech::Http => spawn_local(Connection::new(stream, seat_of, place, bucket).serve()),
        Speech::Lines => {
            let lines = Lines::new(stream, seat_of, bucket, Far::Socket);
            spawn_local(lines.holding(place).serve())
        }
    };
    if started.is_err() {
        seat.stats.refused_connections.add(1);
    }
}

async fn publish(seat: Rc<ShardSeat>) {
    while until_drain(sleep(PUBLISH_EVERY)).await.is_some() {
        seat.publish();
    }
    seat.publish();
}

/// Passes changes of what the server offers on to the streams and sessions of the shard.
async fn listen(seat: Rc<ShardSeat>) {
    let ear = seat.service.server().attach();
    while let Some(news) = until_drain(std::future::poll_fn(|cx| ear.poll(cx))).await {
        seat.service.spread(&news);
        seat.sessions.hear(news);
    }
}

pin_project! {
    /// The future of [`until_drain`].
    pub(super) struct UntilDrain<F> {
        #[pin]
        future: F,
    }
}

/// The output of `future`, or `None` once the runtime drains.
pub(super) fn until_drain<F: Future>(future: F) -> UntilDrain<F> {
    UntilDrain { future }
}

impl<F: Future> Future for UntilDrain<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.project().future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if is_draining() {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}
