//! Streams: one to one, many to one, one to many; and questions one by one.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Backend, Failed, Latch, Role, exactly};
use crate::measure::clock;
use crate::measure::hist::Latency;

/// Messages between two yields of a producer: what the peers were first measured with.
pub(super) const BURST: u64 = 256;
/// Senders of the fan-in, receivers of the fan-out.
const MANY: u64 = 100;
/// Messages between two yields of one of those senders: together they fit a bounded mailbox.
const BURST_EACH: u64 = 10;

/// 24 bytes.
struct Datum([u64; 3]);

/// Counts what it is told; the last of its group to have all of it says when.
struct Sink {
    handled: u64,
    wanted: u64,
    /// Sinks that are still short of messages.
    short: Arc<AtomicU64>,
    all_ns: Latch<u64>,
}

impl Role for Sink {
    type Message = Datum;

    #[inline]
    fn on(&mut self, datum: Datum) -> ControlFlow<()> {
        std::hint::black_box(datum.0);
        self.handled += 1;
        if self.handled == self.wanted && self.short.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all_ns.set(clock::now_ns());
        }
        ControlFlow::Continue(())
    }

    fn answer(&mut self, _: u64) -> u64 {
        self.handled
    }
}

/// Sinks that share a latch, each to get its part of `messages`.
async fn sinks<B: Backend>(
    count: u64,
    messages: u64,
) -> Result<(Vec<B::Address<Sink>>, Latch<u64>), Failed> {
    let (short, all_ns) = (Arc::new(AtomicU64::new(count)), Latch::default());
    let mut sinks = Vec::new();
    for _ in 0..count {
        let sink = Sink {
            handled: 0,
            wanted: messages / count,
            short: short.clone(),
            all_ns: all_ns.clone(),
        };
        sinks.push(B::spawn(sink).await?);
    }
    Ok((sinks, all_ns))
}

/// Tells the sinks in turn, `messages` in all, and yields after every `burst`.
async fn produce<B: Backend>(to: &[B::Address<Sink>], messages: u64, burst: u64) {
    let mut targets = to.iter().cycle();
    let (mut sent, mut refused) = (0, None);
    while sent < messages {
        let end = messages.min(sent + burst);
        while sent < end {
            let Some(target) = refused.take().or_else(|| targets.next()) else {
                return;
            };
            if B::tell(target, Datum([sent, end, burst])).is_err() {
                // Full: this one gets its message after the yield.
                refused = Some(target);
                break;
            }
            sent += 1;
        }
        B::yield_now().await;
    }
}

/// What every sink says it has handled, against its part of `messages`.
async fn check<B: Backend>(
    what: &str,
    sinks: &[B::Address<Sink>],
    messages: u64,
) -> Result<(), Failed> {
    for sink in sinks {
        let handled = B::ask(sink, 0).await.unwrap_or(0);
        exactly(what, messages / sinks.len() as u64, handled)?;
    }
    Ok(())
}

/// One producer, one actor: ns a message until the last was handled.
pub(super) async fn tell<B: Backend>(messages: u64) -> Result<f64, Failed> {
    let (sinks, all_ns) = sinks::<B>(1, messages).await?;
    let start = clock::now_ns();
    produce::<B>(&sinks, messages, BURST).await;
    let end = all_ns.wait().await;
    check::<B>("tell: messages handled", &sinks, messages).await?;
    Ok((end - start) as f64 / messages as f64)
}

/// A hundred producers, one actor.
pub(super) async fn fan_in<B: Backend>(messages: u64) -> Result<f64, Failed> {
    let each = messages / MANY;
    let messages = each * MANY;
    let (sinks, all_ns) = sinks::<B>(1, messages).await?;
    let start = clock::now_ns();
    for _ in 0..MANY {
        let sinks = sinks.clone();
        B::task(async move { produce::<B>(&sinks, each, BURST_EACH).await })?;
    }
    let end = all_ns.wait().await;
    check::<B>("fan-in: messages handled", &sinks, messages).await?;
    Ok((end - start) as f64 / messages as f64)
}

/// One producer, a hundred actors in turn.
pub(super) async fn fan_out<B: Backend>(messages: u64) -> Result<f64, Failed> {
    let messages = messages / MANY * MANY;
    let (sinks, all_ns) = sinks::<B>(MANY, messages).await?;
    let start = clock::now_ns();
    produce::<B>(&sinks, messages, BURST).await;
    let end = all_ns.wait().await;
    check::<B>("fan-out: messages handled", &sinks, messages).await?;
    Ok((end - start) as f64 / messages as f64)
}

/// Answers every question with the next number.
struct Oracle;

impl Role for Oracle {
    type Message = ();

    fn on(&mut self, (): ()) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// `asks` questions, one after the other; each span includes one reading of the counter.
pub(super) async fn ask<B: Backend>(asks: u64) -> Result<Latency, Failed> {
    let oracle = B::spawn(Oracle).await?;
    let mut latency = Latency::new();
    for question in 0..asks {
        let start = clock::ticks();
        let answer = B::ask(&oracle, question).await;
        latency.record(clock::ticks_to_ns(clock::ticks() - start));
        exactly("ask: answer", question + 1, answer.unwrap_or(0))?;
    }
    Ok(latency)
}
