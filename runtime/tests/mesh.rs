//! Messages between shards: order, refusal without loss, answers, wake-ups, death on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

mod support;

use std::time::Duration;

use ninefold_runtime::limits::{CREDIT_WINDOW, EXPRESS_SLOTS};

use ninefold_runtime::{
    Actor, Address, CallError, Class, Context, Handler, Message, SendError, SpawnOptions,
    current_handle, current_shard, sleep, spawn_actor, yield_now,
};
use support::{SECOND, on_shards};

#[derive(Default)]
struct Sink {
    next: u64,
    out_of_order: u64,
    high: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(u64);
#[derive(PartialEq)]
struct Shout;
#[derive(PartialEq)]
struct Report;
#[derive(PartialEq)]
struct Large([u64; 64]);
#[derive(PartialEq)]
struct Die;

impl Message for Number {
    type Reply = ();
}
impl Message for Shout {
    type Reply = u16;
    const CLASS: Class = Class::High;
}
impl Message for Report {
    type Reply = (u64, u64, u64);
}
impl Message for Large {
    type Reply = [u64; 64];
}
impl Message for Die {
    type Reply = ();
}

impl Actor for Sink {}
impl Handler<Number> for Sink {
    fn handle(&mut self, number: Number, _: &mut Context<'_, Self>) {
        self.out_of_order += u64::from(number.0 != self.next);
        self.next = number.0 + 1;
    }
}
impl Handler<Shout> for Sink {
    fn handle(&mut self, _: Shout, context: &mut Context<'_, Self>) -> u16 {
        self.high += 1;
        context.shard()
    }
}
impl Handler<Report> for Sink {
    fn handle(&mut self, _: Report, _: &mut Context<'_, Self>) -> (u64, u64, u64) {
        (self.next, self.out_of_order, self.high)
    }
}
impl Handler<Large> for Sink {
    fn handle(&mut self, large: Large, _: &mut Context<'_, Self>) -> [u64; 64] {
        large.0.map(|n| n + 1)
    }
}
impl Handler<Die> for Sink {
    fn handle(&mut self, _: Die, context: &mut Context<'_, Self>) {
        context.stop();
    }
}

/// Spawns a sink on `shard` and waits for its address.
async fn sink_on(shard: usize, options: SpawnOptions) -> Address<Sink> {
    let (tell, told) = std::sync::mpsc::channel();
    let spawn = move || async move {
        tell.send(spawn_actor(options, Sink::default()).unwrap())
            .unwrap();
    };
    current_handle().unwrap().spawn_on(shard, spawn).unwrap();
    loop {
        match told.try_recv() {
            Ok(address) => return address,
            Err(_) => sleep(Duration::from_micros(100)).await,
        }
    }
}

#[test]
fn a_stream_arrives_whole_and_in_order_through_refusals() {
    const MESSAGES: u64 = 100_000;
    on_shards(2, || async {
        let sink = sink_on(
            1,
            SpawnOptions {
                capacity: 64,
                ..SpawnOptions::default()
            },
        )
        .await;
        let mut refused = 0_u64;
        for n in 0..MESSAGES {
            let mut number = Number(n);
            while let Err(full) = sink.cast(number) {
                assert!(matches!(full, SendError::Full(_)));
                number = full.into_message();
                refused += 1;
                yield_now().await;
            }
        }
        loop {
            let (next, out_of_order, _) = sink.call(Report, SECOND).await.unwrap();
            assert_eq!(out_of_order, 0);
            if next == MESSAGES {
                break;
            }
        }
        assert!(
            refused > 0,
            "a mailbox of 64 never refused {MESSAGES} messages"
        );
    });
}

#[test]
fn calls_cross_and_come_back_whatever_their_size() {
    on_shards(3, || async {
        assert_eq!(current_shard(), Some(0));
        for shard in [1_u16, 2] {
            let sink = sink_on(shard.into(), SpawnOptions::default()).await;
            assert_eq!(sink.call(Shout, SECOND).await, Ok(shard));
            let large = std::array::from_fn(|i| i as u64);
            assert_eq!(
                sink.call(Large(large), SECOND).await,
                Ok(large.map(|n| n + 1))
            );
            for n in 0..1000 {
                sink.cast(Number(n)).unwrap();
                if n % 100 == 99 {
                    // Calls stay behind casts of the same sender and class.
                    assert_eq!(sink.call(Report, SECOND).await.unwrap().0, n + 1);
                }
            }
        }
    });
}

#[test]
fn a_sleeping_shard_is_woken() {
    on_shards(2, || async {
        let sink = sink_on(1, SpawnOptions::default()).await;
        for _ in 0..20 {
            // Longer than any spin: shard 1 is parked in its ring by now.
            sleep(Duration::from_millis(3)).await;
            assert_eq!(sink.call(Shout, SECOND).await, Ok(1));
        }
    });
}

#[test]
fn messages_to_a_dead_actor_are_counted_and_calls_told() {
    on_shards(2, || async {
        let sink = sink_on(1, SpawnOptions::default()).await;
        sink.call(Die, SECOND).await.unwrap();
        let handle = current_handle().unwrap();
        let dropped = handle.stats(1).unwrap().messages_dropped.get();
        sink.cast(Number(0)).unwrap();
        assert_eq!(sink.call(Report, SECOND).await, Err(CallError::Stopped));
        assert_eq!(handle.stats(1).unwrap().messages_dropped.get(), dropped + 2);
    });
}

#[test]
fn answers_are_never_refused_however_many_come_at_once() {
    const CALLS: usize = 2_000;
    const WINDOW: usize = CREDIT_WINDOW as usize;
    const { assert!(WINDOW >= 2 * EXPRESS_SLOTS) };
    on_shards(2, || async {
        let sink = sink_on(
            1,
            SpawnOptions {
                capacity: 4096,
                ..SpawnOptions::default()
            },
        )
        .await;
        let mut waiting = Vec::new();
        while waiting.len() < CALLS {
            let call = sink.call(Report, SECOND * 5);
            waiting.push(call);
            if waiting.len() % 256 == 0 {
                // Let the lane drain, but await nothing: the answers pile up on their way back.
                sleep(Duration::from_millis(1)).await;
            }
        }
        let mut answered = 0;
        for call in waiting {
            match call.await {
                Ok(_) => answered += 1,
                // The question may be refused at once; an accepted one is answered.
                Err(CallError::Full(_)) => {}
                Err(other) => panic!("no answer: {other}"),
            }
        }
        // The first window at least, whatever else runs on this host: twice what the lane holds.
        assert!(answered >= WINDOW, "{answered} of {CALLS} got through");
    });
}

#[test]
fn every_pair_of_many_shards_talks() {
    const SHARDS: usize = 5;
    on_shards(SHARDS, || async {
        let mut sinks = Vec::new();
        for shard in 0..SHARDS {
            sinks.push(sink_on(shard, SpawnOptions::default()).await);
        }
        let (done, all) = std::sync::mpsc::channel();
        for shard in 0..SHARDS {
            let (sinks, done) = (sinks.clone(), done.clone());
            let talk = move || async move {
                for sink in sinks {
                    let reached = sink.call(Shout, SECOND * 5).await.unwrap();
                    done.send(reached).unwrap();
                }
            };
            current_handle().unwrap().spawn_on(shard, talk).unwrap();
        }
        let mut reached = [0; SHARDS];
        for _ in 0..SHARDS * SHARDS {
            let shard = loop {
                match all.try_recv() {
                    Ok(shard) => break shard,
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            };
            reached[shard as usize] += 1;
        }
        assert_eq!(reached, [SHARDS; SHARDS]);
    });
}

/// Sums one counter over all shards.
fn total(shards: usize, count: impl Fn(&ninefold_runtime::stats::ShardStats) -> u64) -> u64 {
    let handle = current_handle().unwrap();
    (0..shards).map(|s| count(handle.stats(s).unwrap())).sum()
}

#[test]
fn lanes_of_many_shards_are_made_for_pairs_that_talk() {
    const SHARDS: usize = 24;
    on_shards(SHARDS, || async {
        assert_eq!(total(SHARDS, |s| s.lanes_made.get()), 0);
        for shard in [5, 23, 5] {
            let sink = sink_on(shard, SpawnOptions::default()).await;
            assert_eq!(
                usize::from(sink.call(Shout, SECOND * 5).await.unwrap()),
                shard
            );
            for n in 0..100 {
                sink.cast(Number(n)).unwrap();
            }
            let (next, out_of_order, _) = sink.call(Report, SECOND * 5).await.unwrap();
            assert_eq!((next, out_of_order), (100, 0));
        }
        // From here to 5 and 23, and back for the answers.
        assert_eq!(total(SHARDS, |s| s.lanes_made.get()), 4);
        let handle = current_handle().unwrap();
        for (shard, made) in [(0, 2), (5, 1), (23, 1)] {
            assert_eq!(handle.stats(shard).unwrap().lanes_made.get(), made);
        }
    });
}

#[test]
fn few_shards_have_every_lane_from_the_start() {
    on_shards(2, || async {
        let sink = sink_on(1, SpawnOptions::default()).await;
        assert_eq!(sink.call(Shout, SECOND).await, Ok(1));
        assert_eq!(total(2, |s| s.lanes_made.get()), 0);
    });
}

#[test]
fn boxes_that_another_shard_frees_are_counted_where_they_were_made() {
    on_shards(2, || async {
        let sink = sink_on(1, SpawnOptions::default()).await;
        sink.call(Shout, SECOND).await.unwrap();
        assert_eq!(total(2, |s| s.foreign_frees.get()), 0);
        sink.call(Large([0; 64]), SECOND).await.unwrap();
        let handle = current_handle().unwrap();
        // The question in one direction, the answer in the other.
        for shard in [0, 1] {
            assert_eq!(handle.stats(shard).unwrap().foreign_frees.get(), 1);
        }
    });
}
