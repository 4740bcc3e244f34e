//! Mailboxes on real shards: bounds by count and by bytes, overflow policies, deadlines, floods.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

#[macro_use]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ninefold_runtime::stats::ShardStats;
use ninefold_runtime::{
    Actor, Address, CallError, Context, Handler, Message, Overflow, SendError, SpawnOptions,
    current_handle, spawn_actor, spawn_local, yield_now,
};
use support::{SECOND, on, on_shards, stat, until};

/// Keeps what it got, in order.
#[derive(Default)]
struct Keeper(Vec<u32>);

/// Counts for as many bytes as it says.
#[derive(Debug, PartialEq)]
struct Blob(u32, usize);
struct Urgent(u32);
struct Kept;
/// Naps begun, by test.
static NAPS: AtomicU64 = AtomicU64::new(0);
static OTHER_NAPS: AtomicU64 = AtomicU64::new(0);
/// Holds the shard for so many milliseconds.
struct Nap(u64, &'static AtomicU64);

impl Actor for Keeper {}
impl Message for Blob {
    type Reply = u32;
    fn bytes(&self) -> usize {
        self.1
    }
}
messages! {
    Urgent => u32, High;
    Kept => Vec<u32>;
    Nap => ();
}
impl Handler<Blob> for Keeper {
    fn handle(&mut self, blob: Blob, _: &mut Context<'_, Self>) -> u32 {
        self.0.push(blob.0);
        blob.0
    }
}
impl Handler<Urgent> for Keeper {
    fn handle(&mut self, urgent: Urgent, _: &mut Context<'_, Self>) -> u32 {
        self.0.push(urgent.0);
        urgent.0
    }
}
impl Handler<Kept> for Keeper {
    fn handle(&mut self, _: Kept, _: &mut Context<'_, Self>) -> Vec<u32> {
        self.0.clone()
    }
}
impl Handler<Nap> for Keeper {
    fn handle(&mut self, nap: Nap, _: &mut Context<'_, Self>) {
        nap.1.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(nap.0));
    }
}

fn keeper(capacity: u32, bytes: u32, overflow: Overflow) -> Address<Keeper> {
    let options = SpawnOptions {
        capacity,
        bytes,
        overflow,
        ..SpawnOptions::default()
    };
    spawn_actor(options, Keeper::default()).unwrap()
}

#[test]
fn bytes_bound_a_mailbox_and_large_messages_leave_room_for_high_ones() {
    on_shards(1, || async {
        let keeper = keeper(100, 1024, Overflow::Refuse);
        for n in 0..4 {
            keeper.cast(Blob(n, 256)).unwrap();
        }
        assert!(matches!(
            keeper.cast(Blob(9, 1)),
            Err(SendError::Full(Blob(9, 1)))
        ));
        // As much again for high messages, in steps of 64 bytes.
        for n in 10..26 {
            keeper.cast(Urgent(n)).unwrap();
        }
        assert!(matches!(keeper.cast(Urgent(26)), Err(SendError::Full(_))));
        assert_eq!(stat(0, |s| s.messages_refused_full.get()), 2);
        yield_now().await;
        let wanted: Vec<u32> = (10..26).chain(0..4).collect();
        assert_eq!(keeper.call(Kept, SECOND).await.unwrap(), wanted);
        keeper.cast(Blob(5, 1024)).unwrap();
    });
}

#[test]
fn bytes_are_counted_beyond_four_gigabytes() {
    on_shards(1, || async {
        let keeper = keeper(2000, u32::MAX, Overflow::Refuse);
        let mut taken = 0;
        while keeper.cast(Blob(taken, 4 << 20)).is_ok() {
            taken += 1;
            assert!(taken <= 1024);
        }
        assert!(taken >= 1023, "{taken}");
    });
}

#[test]
fn a_message_larger_than_the_mailbox_is_refused_as_such_and_blocks_no_lane() {
    on_shards(2, || async {
        let here = keeper(4, 1024, Overflow::DropOldest);
        here.cast(Blob(1, 64)).unwrap();
        let refused = here.cast(Blob(2, 1025));
        assert!(matches!(refused, Err(SendError::TooLarge(Blob(2, 1025)))));
        assert!(matches!(
            here.call(Blob(3, 1025), SECOND).await,
            Err(CallError::TooLarge(Blob(3, 1025)))
        ));
        assert_eq!(
            here.call(Kept, SECOND).await.unwrap(),
            [1],
            "nothing was dropped for it"
        );
        let there = on(1, || async { keeper(4, 1024, Overflow::Refuse) }).await;
        assert_eq!(
            there.call(Blob(4, 1025), SECOND).await,
            Err(CallError::Dropped)
        );
        assert_eq!(there.call(Blob(5, 64), SECOND).await, Ok(5));
        assert_eq!(stat(1, |s| s.messages_dropped.get()), 1);
    });
}

#[test]
fn overflow_gives_up_the_oldest_or_the_newest_and_tells_who_called() {
    on_shards(1, || async {
        let oldest = keeper(3, 1 << 20, Overflow::DropOldest);
        let calls: Vec<_> = (0..5).map(|n| oldest.call(Blob(n, 1), SECOND)).collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await);
        }
        let dropped = || Err(CallError::Dropped);
        assert_eq!(answers, [dropped(), dropped(), Ok(2), Ok(3), Ok(4)]);
        assert_eq!(stat(0, |s| s.messages_dropped.get()), 2);

        let newest = keeper(3, 1 << 20, Overflow::DropNewest);
        for n in 0..4 {
            newest.cast(Blob(n, 1)).unwrap();
        }
        assert_eq!(newest.call(Blob(4, 1), SECOND).await, dropped());
        yield_now().await;
        assert_eq!(newest.call(Kept, SECOND).await.unwrap(), [0, 1, 2]);
        assert_eq!(stat(0, |s| s.messages_dropped.get()), 4);
        assert_eq!(stat(0, |s| s.messages_refused_full.get()), 0);
    });
}

#[test]
fn the_oldest_go_until_a_large_one_fits() {
    on_shards(1, || async {
        let keeper = keeper(100, 1024, Overflow::DropOldest);
        for n in 0..8 {
            keeper.cast(Blob(n, 128)).unwrap();
        }
        keeper.cast(Blob(8, 512)).unwrap();
        keeper.cast(Urgent(9)).unwrap();
        yield_now().await;
        assert_eq!(keeper.call(Kept, SECOND).await.unwrap(), [9, 4, 5, 6, 7, 8]);
    });
}

#[test]
fn every_call_into_an_overflowing_mailbox_of_another_shard_ends_in_one_way() {
    on_shards(2, || async {
        let there = on(1, || async { keeper(8, 1 << 20, Overflow::DropOldest) }).await;
        there.cast(Nap(20, &NAPS)).unwrap();
        until("it naps", || NAPS.load(Ordering::SeqCst) == 1).await;
        let calls: Vec<_> = (0..200)
            .map(|n| there.call(Blob(n, 1), 10 * SECOND))
            .collect();
        let (mut answered, mut dropped, mut full) = (0, 0, 0);
        for call in calls {
            match call.await {
                Ok(_) => answered += 1,
                Err(CallError::Dropped) => dropped += 1,
                Err(CallError::Full(_)) => full += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(answered + dropped + full, 200);
        assert!(dropped > 0, "the mailbox held 8 of 200");
        let kept = there.call(Kept, SECOND).await.unwrap().len();
        assert_eq!(kept as u64, answered);
        assert_eq!(stat(1, |s| s.messages_dropped.get()), dropped);
        assert_eq!(stat(0, |s| s.messages_refused_full.get()), full);
    });
}

#[test]
fn what_is_reached_after_its_deadline_is_not_handled() {
    on_shards(1, || async {
        let keeper = keeper(100, 1 << 20, Overflow::Refuse);
        // Once the type is known to be slow, the clock is read after each of its messages.
        for _ in 0..8 {
            keeper.call(Nap(1, &OTHER_NAPS), SECOND).await.unwrap();
        }
        let soon = Duration::from_millis(2);
        keeper.cast(Nap(10, &OTHER_NAPS)).unwrap();
        keeper.cast_within(Blob(1, 1), soon).unwrap();
        let late = keeper.call(Blob(2, 1), soon);
        keeper.cast_within(Blob(3, 1), 10 * SECOND).unwrap();
        assert_eq!(late.await, Err(CallError::TimedOut));
        assert_eq!(keeper.call(Kept, SECOND).await.unwrap(), [3]);
        assert_eq!(stat(0, |s| s.messages_expired.get()), 2);
    });
}

/// The sender, the lane, and which message of both it is.
struct Numbered(u16, u32);
struct NumberedHigh(u16, u32);
struct Report;

#[derive(Default)]
struct Judge {
    last: Vec<[Option<u32>; 2]>,
    handled: u64,
}
impl Actor for Judge {}
messages! {
    Numbered => ();
    NumberedHigh => ();
    Report => u64;
}
impl Judge {
    fn judge(&mut self, sender: u16, lane: usize, number: u32) {
        let last = &mut self.last[usize::from(sender)][lane];
        assert!(
            last.is_none_or(|last| last < number),
            "{sender}: {number} after {last:?}"
        );
        *last = Some(number);
        self.handled += 1;
    }
}
impl Handler<Numbered> for Judge {
    fn handle(&mut self, m: Numbered, _: &mut Context<'_, Self>) {
        self.judge(m.0, 1, m.1);
    }
}
impl Handler<NumberedHigh> for Judge {
    fn handle(&mut self, m: NumberedHigh, _: &mut Context<'_, Self>) {
        self.judge(m.0, 0, m.1);
    }
}
impl Handler<Report> for Judge {
    fn handle(&mut self, _: Report, _: &mut Context<'_, Self>) -> u64 {
        self.handled
    }
}

/// Sends 40 messages; one that is refused is given up by odd senders and tried again by even ones.
async fn send_all(judge: Address<Judge>, sender: u16) -> [u64; 2] {
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..40 {
        loop {
            let sent = if number % 4 == 0 {
                judge.cast(NumberedHigh(sender, number)).is_ok()
            } else {
                judge.cast(Numbered(sender, number)).is_ok()
            };
            if sent {
                accepted += 1;
                break;
            }
            refused += 1;
            if sender % 2 == 1 {
                break;
            }
            yield_now().await;
        }
    }
    [accepted, refused]
}

async fn send_from_here(judge: Address<Judge>, senders: std::ops::Range<u16>) -> [u64; 2] {
    let total = std::rc::Rc::new(std::cell::Cell::new([0, 0]));
    let left = std::rc::Rc::new(std::cell::Cell::new(senders.len()));
    for sender in senders {
        let (total, left) = (total.clone(), left.clone());
        spawn_local(async move {
            let [accepted, refused] = send_all(judge, sender).await;
            let [a, r] = total.get();
            total.set([a + accepted, r + refused]);
            left.set(left.get() - 1);
        })
        .unwrap();
    }
    until("all senders are done", || left.get() == 0).await;
    total.get()
}

#[test]
fn a_flood_from_a_thousand_senders_stays_in_order_and_is_accounted_for() {
    on_shards(2, || async {
        let options = SpawnOptions {
            capacity: 64,
            ..SpawnOptions::default()
        };
        let judge = Judge {
            last: vec![[None; 2]; 1000],
            handled: 0,
        };
        let judge = spawn_actor(options, judge).unwrap();
        let (done, there) = crossbeam_channel::bounded(1);
        current_handle()
            .unwrap()
            .spawn_on(1, move || async move {
                done.send(send_from_here(judge, 500..1000).await).unwrap();
            })
            .unwrap();
        let here = send_from_here(judge, 0..500).await;
        let mut other = None;
        until("the other shard is done", || {
            other = there.try_recv().ok();
            other.is_some()
        })
        .await;
        let other = other.unwrap();
        let accepted = here[0] + other[0];
        let refused = stat(0, |s| s.messages_refused_full.get());
        let mut handled = 0;
        while handled < accepted {
            // Full while the last ones wait.
            match judge.call(Report, 10 * SECOND).await {
                Ok(found) => handled = found,
                Err(_) => yield_now().await,
            }
        }
        assert_eq!(handled, accepted);
        assert!(here[1] > 0 && other[1] > 0, "{here:?} {other:?}");
        assert_eq!(refused, here[1]);
        // From another shard, credit runs out before the mailbox does.
        let by_any =
            |s: &ShardStats| s.messages_refused_full.get() + s.messages_refused_credit.get();
        assert_eq!(stat(1, by_any), other[1]);
        assert_eq!(stat(0, |s| s.messages_dropped.get() + s.panics.get()), 0);
    });
}
