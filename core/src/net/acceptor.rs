//! Accepting: one task a shard, one task for each connection it accepts.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ninefold_runtime::net::{TcpListener, TcpStream};
use ninefold_runtime::{clock, draining, sleep, spawn_local};

use super::ShardSeat;
use super::conn::Connection;

/// How often a failing accept is logged.
const LOG_EVERY_NS: u64 = 1_000_000_000;
/// How often the levels of a shard are published to the control plane.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Accepts on `listener` until the runtime drains; beyond the shard's limit a connection is closed
/// at once.
pub(crate) async fn accept(mut listener: TcpListener, seat: Rc<ShardSeat>) {
    let mut logged_ns = 0;
    let publishing = spawn_local(publish(seat.clone()));
    if publishing
        .and_then(|()| spawn_local(listen(seat.clone())))
        .is_err()
    {
        return;
    }
    seat.stats.listening.set(1);
    while let Some(accepted) = until_drain(listener.accept()).await {
        match accepted {
            Ok(stream) => admit(stream, &seat),
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

fn admit(stream: TcpStream, seat: &Rc<ShardSeat>) {
    let limit = seat.service.server().limits().connections_per_shard;
    if seat.open.get() >= limit {
        seat.stats.refused_connections.add(1);
        tracing::debug!(
            limit,
            "connection closed at accept: the shard holds its limit"
        );
        return;
    }
    let connection = Connection::new(stream, seat.clone());
    if spawn_local(connection.serve()).is_err() {
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

/// The output of `future`, or `None` once the runtime drains.
pub(super) async fn until_drain<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut drain = pin!(draining());
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        drain.as_mut().poll(cx).map(|()| None)
    })
    .await
}
