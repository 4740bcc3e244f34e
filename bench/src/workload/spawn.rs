//! A crowd of actors with nothing to do: how fast it starts, what each weighs.

use ninefold_tuning::facts::process;
use std::ops::ControlFlow;

use super::{Backend, Failed, Role, exactly};
use crate::measure::clock;

/// Actors started between two yields.
const SPAWN_BURST: u64 = 4096;

/// An actor with a number.
struct Resting(u64);

impl Role for Resting {
    type Message = ();

    fn on(&mut self, (): ()) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn answer(&mut self, _: u64) -> u64 {
        self.0
    }
}

/// What one crowd took.
pub(super) struct Crowd {
    pub(super) per_s: f64,
    /// Growth of this process, in bytes an actor; nothing where the kernel does not say.
    pub(super) bytes: Option<f64>,
}

/// Starts `count` actors and asks the last for its number.
pub(super) async fn crowd<B: Backend>(count: u64) -> Result<Crowd, Failed> {
    // Addresses are kept: without one the actors of some crates end. Their room is touched before
    // the weighing, so that it is not in it.
    let first = B::spawn(Resting(0)).await?;
    let mut crowd = vec![Some(first); usize::try_from(count).unwrap_or(usize::MAX)];
    B::yield_now().await;
    let before = process::self_rss_bytes();
    let start = clock::now_ns();
    for (place, number) in crowd.iter_mut().zip(1..) {
        *place = Some(B::spawn(Resting(number)).await?);
        if number % SPAWN_BURST == 0 {
            B::yield_now().await;
        }
    }
    // The first turn of an actor belongs to its start.
    B::yield_now().await;
    let seconds = (clock::now_ns() - start) as f64 / 1e9;
    let last = crowd.last().and_then(Option::as_ref);
    let answer = match last {
        Some(last) => B::ask(last, 0).await.unwrap_or(0),
        None => 0,
    };
    exactly("spawn: number of the last actor", count, answer)?;
    let grown = process::self_rss_bytes()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Crowd {
        per_s: count as f64 / seconds,
        bytes: grown.map(|bytes| bytes as f64 / count as f64),
    })
}
