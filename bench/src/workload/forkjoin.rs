//! Savina's fork-join (`fjcreate`): start actors, each of which computes once on its one message
//! and stops.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::stream::BURST;
use super::{Backend, Failed, Latch, Role, tell_for_sure};
use crate::measure::clock;

/// What Savina's actors compute with.
const THETA: f64 = 37.2;

struct Worker {
    left: Arc<AtomicU64>,
    done_ns: Latch<u64>,
}

impl Role for Worker {
    type Message = f64;

    fn on(&mut self, theta: f64) -> ControlFlow<()> {
        std::hint::black_box(theta.sin().powi(2));
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.done_ns.set(clock::now_ns());
        }
        ControlFlow::Break(())
    }
}

/// `actors` actors; ns each, from its start to its end.
pub(super) async fn create<B: Backend>(actors: u64) -> Result<f64, Failed> {
    let (left, done_ns) = (Arc::new(AtomicU64::new(actors)), Latch::default());
    let start = clock::now_ns();
    for number in 1..=actors {
        let worker = Worker {
            left: left.clone(),
            done_ns: done_ns.clone(),
        };
        let worker = B::spawn(worker).await?;
        tell_for_sure::<B, _>(&worker, THETA).await;
        if number % BURST == 0 {
            B::yield_now().await;
        }
    }
    // The count reaches zero once, when each has run exactly once.
    let end = done_ns.wait().await;
    Ok((end - start) as f64 / actors as f64)
}
