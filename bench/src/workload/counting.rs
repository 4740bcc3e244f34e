//! Savina's counting actor (`count`): a producer has a counter count to N and asks for the result.
//!
//! Savina sends all increments at once; mailboxes that are bounded do not hold a million, so here
//! the counter asks for each burst, on every runtime alike.

use std::ops::ControlFlow;

use super::stream::BURST;
use super::{Backend, Failed, Latch, Role, exactly, tell_for_sure};
use crate::measure::clock;

struct Producer<B: Backend> {
    counter: B::Address<Counter<B>>,
    left: u64,
    /// When the result was in, and the result.
    done: Latch<(u64, u64)>,
}

struct Counter<B: Backend> {
    producer: Option<B::Address<Producer<B>>>,
    count: u64,
}

enum ToProducer {
    More,
    Result(u64),
}

enum ToCounter<B: Backend> {
    Serve(Box<B::Address<Producer<B>>>),
    Increment,
    EndOfBurst,
    Retrieve,
}

// A burst and its end fit any mailbox, and the producer waits for its sign.
impl<B: Backend> Role for Producer<B> {
    type Message = ToProducer;

    #[inline]
    fn on(&mut self, message: ToProducer) -> ControlFlow<()> {
        match message {
            ToProducer::More if self.left > 0 => {
                let burst = self.left.min(BURST);
                self.left -= burst;
                for _ in 0..burst {
                    let _ = B::tell(&self.counter, ToCounter::Increment);
                }
                let _ = B::tell(&self.counter, ToCounter::EndOfBurst);
            }
            ToProducer::More => {
                let _ = B::tell(&self.counter, ToCounter::Retrieve);
            }
            ToProducer::Result(count) => {
                self.done.set((clock::now_ns(), count));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

impl<B: Backend> Counter<B> {
    fn reply(&self, message: ToProducer) {
        if let Some(producer) = &self.producer {
            let _ = B::tell(producer, message);
        }
    }
}

impl<B: Backend> Role for Counter<B> {
    type Message = ToCounter<B>;

    #[inline]
    fn on(&mut self, message: ToCounter<B>) -> ControlFlow<()> {
        match message {
            ToCounter::Increment => self.count += 1,
            ToCounter::EndOfBurst => self.reply(ToProducer::More),
            ToCounter::Serve(producer) => self.producer = Some(*producer),
            ToCounter::Retrieve => {
                self.reply(ToProducer::Result(self.count));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Counts to `messages`; ns an increment.
pub(super) async fn count<B: Backend>(messages: u64) -> Result<f64, Failed> {
    let counter = B::spawn(Counter::<B> {
        producer: None,
        count: 0,
    })
    .await?;
    let done = Latch::default();
    let producer = Producer::<B> {
        counter: counter.clone(),
        left: messages,
        done: done.clone(),
    };
    let producer = B::spawn(producer).await?;
    tell_for_sure::<B, _>(&counter, ToCounter::Serve(Box::new(producer.clone()))).await;
    let start = clock::now_ns();
    tell_for_sure::<B, _>(&producer, ToProducer::More).await;
    let (end, counted) = done.wait().await;
    exactly("counting: increments", messages, counted)?;
    Ok((end - start) as f64 / messages as f64)
}
