//! Savina's big (`big`), many to many: every worker pings a random worker, waits for its pong, and
//! pings the next.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Backend, Failed, Latch, Role, exactly, tell_for_sure};
use crate::measure::clock;

/// Savina's number of workers.
const WORKERS: u32 = 120;

struct Worker<B: Backend> {
    id: u32,
    peers: Arc<[B::Address<Self>]>,
    sink: B::Address<Sink<B>>,
    /// Whom it waits for.
    pinged: u32,
    pings_left: u64,
    answered: u64,
    rng: fastrand::Rng,
}

/// Counts the workers that are done, and what they did.
struct Sink<B: Backend> {
    workers: Arc<[B::Address<Worker<B>>]>,
    exits: u32,
    answered: u64,
    done: Latch<(u64, u64)>,
}

enum ToWorker<B: Backend> {
    Peers(Arc<[B::Address<Worker<B>>]>),
    Ping(u32),
    Pong(u32),
    Exit,
}

enum ToSink<B: Backend> {
    Workers(Arc<[B::Address<Worker<B>>]>),
    /// A worker is done and has seen this many right pongs.
    Exit(u64),
}

impl<B: Backend> Worker<B> {
    fn tell(&self, to: u32, message: ToWorker<B>) {
        // At most one ping of each worker waits anywhere, so no mailbox is full.
        if let Some(peer) = self.peers.get(to as usize) {
            let _ = B::tell(peer, message);
        }
    }

    fn pong(&mut self, from: u32) {
        if from == self.pinged {
            self.answered += 1;
        }
        if self.pings_left == 0 {
            let _ = B::tell(&self.sink, ToSink::Exit(self.answered));
            return;
        }
        self.pings_left -= 1;
        self.pinged = self.rng.u32(..WORKERS);
        self.tell(self.pinged, ToWorker::Ping(self.id));
    }
}

impl<B: Backend> Role for Worker<B> {
    type Message = ToWorker<B>;

    #[inline]
    fn on(&mut self, message: ToWorker<B>) -> ControlFlow<()> {
        match message {
            ToWorker::Ping(from) => self.tell(from, ToWorker::Pong(self.id)),
            ToWorker::Pong(from) => self.pong(from),
            ToWorker::Peers(peers) => self.peers = peers,
            ToWorker::Exit => {
                // Peers know each other: without this nobody's address would ever be dropped.
                self.peers = Arc::new([]);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

impl<B: Backend> Role for Sink<B> {
    type Message = ToSink<B>;

    fn on(&mut self, message: ToSink<B>) -> ControlFlow<()> {
        match message {
            ToSink::Workers(workers) => self.workers = workers,
            ToSink::Exit(answered) => {
                self.exits += 1;
                self.answered += answered;
                if self.exits == WORKERS {
                    self.done.set((clock::now_ns(), self.answered));
                    for worker in &*self.workers {
                        let _ = B::tell(worker, ToWorker::Exit);
                    }
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// 120 workers, `pings` pings each; ns a message, of which each ping makes two.
pub(super) async fn big<B: Backend>(pings: u64) -> Result<f64, Failed> {
    let done = Latch::default();
    let sink = Sink::<B> {
        workers: Arc::new([]),
        exits: 0,
        answered: 0,
        done: done.clone(),
    };
    let sink = B::spawn(sink).await?;
    let mut workers = Vec::new();
    for id in 0..WORKERS {
        let worker = Worker::<B> {
            id,
            peers: Arc::new([]),
            sink: sink.clone(),
            // The first pong comes from nobody.
            pinged: WORKERS,
            pings_left: pings,
            answered: 0,
            rng: fastrand::Rng::with_seed(id.into()),
        };
        workers.push(B::spawn(worker).await?);
    }
    let peers: Arc<[_]> = workers.into();
    tell_for_sure::<B, _>(&sink, ToSink::Workers(peers.clone())).await;
    for worker in &*peers {
        tell_for_sure::<B, _>(worker, ToWorker::Peers(peers.clone())).await;
    }
    let start = clock::now_ns();
    for worker in &*peers {
        tell_for_sure::<B, _>(worker, ToWorker::Pong(WORKERS)).await;
    }
    let (end, answered) = done.wait().await;
    let all = u64::from(WORKERS) * pings;
    // That first pong counts as a right one.
    exactly("big: right pongs", all + u64::from(WORKERS), answered)?;
    Ok((end - start) as f64 / (2 * all) as f64)
}
