//! Timers: a hierarchical wheel per shard, O(1) to start and to cancel.
//!
//! Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987: four levels of 256 slots with
//! a tick of 2^16 ns (65.5 us), so 65 us, 16.8 ms, 4.3 s and 18 min a slot, 78 h in all. A timer
//! never fires early and fires at most one tick late, plus the wait for the shard.
#![expect(
    clippy::cast_possible_truncation,
    reason = "digits of a tick and lists are below 2^10"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::actor::{NoAnswer, ReplyTo};
use crate::limits::TIMERS_DRAIN;
use crate::shard::Shard;
use crate::task::Wakee;

const TICK_BITS: u32 = 16;
const LEVELS: usize = 4;
const SLOTS: usize = 256;
const NIL: u32 = u32::MAX;

/// Names a timer while it waits; harmless afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

enum Action {
    Idle,
    Wake(Wakee),
    /// The deadline of a call.
    Fail(ReplyTo),
    Job(Box<dyn FnOnce()>),
}

struct Entry {
    prev: u32,
    next: u32,
    list: u32,
    generation: u32,
    deadline: u64,
    stage: Stage,
    action: Action,
}

/// Where a timer is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In a slot of the wheel.
    Waiting,
    /// In the list of what is due.
    Due,
    /// Out of both; a future still asks for it.
    Fired,
}

/// The timers of one shard.
pub(crate) struct Wheel {
    entries: Vec<Entry>,
    free: u32,
    /// Heads of the slot lists; list `LEVELS * SLOTS` holds what is due.
    heads: Box<[u32]>,
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// The tick up to which the wheel has turned.
    tick: u64,
    waiting: usize,
    due: VecDeque<u32>,
}

fn to_tick(ns: u64) -> u64 {
    ns.div_ceil(1 << TICK_BITS)
}

impl Wheel {
    pub(crate) fn new(now_ns: u64) -> Self {
        Wheel {
            entries: Vec::new(),
            free: NIL,
            heads: vec![NIL; LEVELS * SLOTS].into_boxed_slice(),
            occupied: [[0; SLOTS / 64]; LEVELS],
            tick: now_ns >> TICK_BITS,
            waiting: 0,
            due: VecDeque::new(),
        }
    }

    fn start(&mut self, deadline_ns: u64, action: Action) -> TimerKey {
        let index = if self.free == NIL {
            let index = u32::try_from(self.entries.len()).unwrap_or(NIL - 1);
            self.entries.push(Entry {
                prev: NIL,
                next: NIL,
                list: NIL,
                generation: 0,
                deadline: 0,
                stage: Stage::Fired,
                action: Action::Idle,
            });
            index
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            index
        };
        let entry = &mut self.entries[index as usize];
        entry.deadline = to_tick(deadline_ns).max(self.tick + 1);
        entry.stage = Stage::Waiting;
        entry.action = action;
        let generation = entry.generation;
        self.waiting += 1;
        self.link(index);
        TimerKey { index, generation }
    }

    fn entry(&mut self, key: TimerKey) -> Option<&mut Entry> {
        self.entries
            .get_mut(key.index as usize)
            .filter(|e| e.generation == key.generation)
    }

    /// Files an entry by the highest digit in which its deadline differs from the present tick.
    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let ahead = (deadline ^ self.tick) | 1;
        let level = (((63 - ahead.leading_zeros()) / 8) as usize).min(LEVELS - 1);
        let slot = (deadline >> (8 * level)) as usize % SLOTS;
        let list = level * SLOTS + slot;
        let head = self.heads[list];
        if head != NIL {
            self.entries[head as usize].prev = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next, entry.list) = (NIL, head, list as u32);
        self.heads[list] = index;
        self.occupied[level][slot / 64] |= 1 << (slot % 64);
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            prev, next, list, ..
        } = self.entries[index as usize];
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
            return;
        }
        let list = list as usize;
        self.heads[list] = next;
        if next == NIL {
            let slot = list % SLOTS;
            self.occupied[list / SLOTS][slot / 64] &= !(1 << (slot % 64));
        }
    }

    fn release(&mut self, index: u32) {
        let free = self.free;
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.action = Action::Idle;
        entry.list = NIL;
        entry.next = free;
        self.free = index;
    }

    fn cancel(&mut self, key: TimerKey) -> Option<Action> {
        let entry = self.entry(key)?;
        let action = std::mem::replace(&mut entry.action, Action::Idle);
        match entry.stage {
            Stage::Waiting => {
                self.unlink(key.index);
                self.waiting -= 1;
                self.release(key.index);
            }
            // The list of what is due releases it.
            Stage::Due => {}
            Stage::Fired => self.release(key.index),
        }
        Some(action)
    }

    /// The first occupied slot of `level` from digit `from` on, as a distance in slots.
    fn next_occupied(&self, level: usize, from: usize) -> Option<usize> {
        let mut skip = from % 64;
        (from / 64..SLOTS / 64).find_map(|word| {
            let bits = self.occupied[level][word] >> skip << skip;
            skip = 0;
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize - from)
        })
    }

    /// The time, in nanoseconds, before which the wheel need not be turned; `None` when empty.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        if !self.due.is_empty() {
            return Some(0);
        }
        if self.waiting == 0 {
            return None;
        }
        for level in 0..LEVELS {
            let digit = (self.tick >> (8 * level)) as usize % SLOTS;
            // What shares the present digit of a level was filed below it.
            if let Some(distance) = self.next_occupied(level, digit + 1) {
                let base = self.tick >> (8 * level);
                return Some(((base + 1 + distance as u64) << (8 * level)) << TICK_BITS);
            }
        }
        // Everything lies beyond the next turn of the top level: come back when that turns.
        let top = 8 * LEVELS as u32;
        Some((((self.tick >> top) + 1) << top) << TICK_BITS)
    }

    /// Turns the wheel to `now_ns` and files what has become due.
    fn turn(&mut self, now_ns: u64) {
        let target = now_ns >> TICK_BITS;
        while self.tick < target {
            if self.waiting == 0 {
                self.tick = target;
                return;
            }
            let next = self.next_ns().map_or(target, |ns| ns >> TICK_BITS);
            self.tick = next.clamp(self.tick + 1, target);
            for level in (1..LEVELS).rev() {
                if self.tick.trailing_zeros() >= 8 * level as u32 {
                    self.cascade(level);
                }
            }
            self.expire(self.tick as usize % SLOTS);
        }
    }

    /// Files the entries of the present slot of `level` anew, one level down or more.
    fn cascade(&mut self, level: usize) {
        let slot = (self.tick >> (8 * level)) as usize % SLOTS;
        let mut index = std::mem::replace(&mut self.heads[level * SLOTS + slot], NIL);
        self.occupied[level][slot / 64] &= !(1 << (slot % 64));
        while index != NIL {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    /// Moves the entries of a slot of the lowest level to the list of what is due.
    fn expire(&mut self, slot: usize) {
        let mut index = std::mem::replace(&mut self.heads[slot], NIL);
        self.occupied[0][slot / 64] &= !(1 << (slot % 64));
        while index != NIL {
            let entry = &mut self.entries[index as usize];
            entry.stage = Stage::Due;
            self.waiting -= 1;
            self.due.push_back(index);
            index = entry.next;
        }
    }

    fn next_due(&mut self) -> Option<Action> {
        let index = self.due.pop_front()?;
        let entry = &mut self.entries[index as usize];
        let action = std::mem::replace(&mut entry.action, Action::Idle);
        entry.stage = Stage::Fired;
        // A waiting future still asks `has_fired`; it releases the entry by cancelling it.
        match action {
            Action::Wake(_) => {}
            Action::Fail(_) | Action::Job(_) | Action::Idle => self.release(index),
        }
        Some(action)
    }
}

/// Fires what is due on `shard`, at most [`TIMERS_DRAIN`] timers.
pub(crate) fn fire(shard: &Shard, now_ns: u64) -> usize {
    shard.timers.borrow_mut().turn(now_ns);
    let mut fired = 0;
    while fired < TIMERS_DRAIN {
        let Some(action) = shard.timers.borrow_mut().next_due() else {
            break;
        };
        match action {
            Action::Wake(wakee) => wakee.wake(),
            Action::Fail(reply) => shard.replies.fail(reply, NoAnswer::TimedOut),
            Action::Job(job) => shard.run_caught("timer", job),
            Action::Idle => continue,
        }
        fired += 1;
    }
    fired
}

pub(crate) fn start(shard: &Shard, delay: Duration, cx: &mut Context<'_>) -> TimerKey {
    let mut wakee = Wakee::None;
    wakee.note(cx);
    start_action(shard, delay, Action::Wake(wakee))
}

/// Puts the deadline of a call on the wheel: `delay` from `now_ns`.
pub(crate) fn start_deadline(
    shard: &Shard,
    now_ns: u64,
    delay: Duration,
    reply: ReplyTo,
) -> TimerKey {
    start_at(shard, now_ns, delay, Action::Fail(reply))
}

/// Runs `job` on the shard after `delay`.
pub(crate) fn start_job(shard: &Shard, delay: Duration, job: impl FnOnce() + 'static) -> TimerKey {
    start_action(shard, delay, Action::Job(Box::new(job)))
}

fn start_action(shard: &Shard, delay: Duration, action: Action) -> TimerKey {
    start_at(shard, shard.now_ns(), delay, action)
}

fn start_at(shard: &Shard, now_ns: u64, delay: Duration, action: Action) -> TimerKey {
    let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    let deadline = now_ns.saturating_add(delay).min(u64::MAX >> 1);
    shard.timers.borrow_mut().start(deadline, action)
}

/// Whether a timer of [`start`] has fired; it must be cancelled all the same.
pub(crate) fn has_fired(shard: &Shard, key: TimerKey) -> bool {
    shard
        .timers
        .borrow_mut()
        .entry(key)
        .is_none_or(|e| e.stage != Stage::Waiting)
}

/// Notes the task that polls now, which may not be the one that started the timer.
pub(crate) fn renote(shard: &Shard, key: TimerKey, cx: &mut Context<'_>) {
    let mut wheel = shard.timers.borrow_mut();
    if let Some(Entry {
        action: Action::Wake(wakee),
        ..
    }) = wheel.entry(key)
    {
        wakee.note(cx);
    }
}

/// Forgets a timer; one that has fired stays fired.
pub(crate) fn cancel(shard: &Shard, key: TimerKey) {
    // The action may own anything, even something that starts timers when dropped: drop it last.
    let action = shard.timers.borrow_mut().cancel(key);
    drop(action);
}

/// Resolves after `delay`, on the wheel of the current shard.
#[must_use = "a sleep does nothing unless awaited"]
pub fn sleep(delay: Duration) -> Sleep {
    Sleep { delay, timer: None }
}

/// The future of [`sleep`].
pub struct Sleep {
    delay: Duration,
    timer: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let delay = self.delay;
        let timer = &mut self.timer;
        let done = Shard::with(|shard| match *timer {
            None => {
                *timer = Some(start(shard, delay, cx));
                false
            }
            Some(key) => {
                renote(shard, key, cx);
                has_fired(shard, key)
            }
        });
        if done == Some(false) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            Shard::with(|shard| cancel(shard, key));
        }
    }
}

/// What a future that was cut off returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not finished within its deadline of {0:?}")]
pub struct Elapsed(pub Duration);

pin_project! {
    /// The future of [`timeout`]. A struct and no `async fn`, which would hold `future` twice: where
    /// it came in, and where it is pinned.
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

/// Runs `future` for at most `deadline`.
///
/// # Errors
/// [`Elapsed`] when the deadline came first; the future is dropped with this one.
#[must_use = "nothing runs unless awaited"]
pub fn timeout<F: Future>(deadline: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep(deadline),
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(out) = this.future.poll(cx) {
            return Poll::Ready(Ok(out));
        }
        let deadline = this.sleep.delay;
        Pin::new(this.sleep)
            .poll(cx)
            .map(|()| Err(Elapsed(deadline)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flag(fired: &std::rc::Rc<std::cell::RefCell<Vec<usize>>>, id: usize) -> Action {
        let fired = fired.clone();
        Action::Job(Box::new(move || fired.borrow_mut().push(id)))
    }

    fn run(wheel: &mut Wheel) {
        while let Some(action) = wheel.next_due() {
            if let Action::Job(job) = action {
                job();
            }
        }
    }

    proptest! {
        #[test]
        fn timers_fire_once_never_early_and_in_time(
            delays in prop::collection::vec(0_u64..40_000_000_000, 1..40),
            cancelled in prop::collection::vec(any::<bool>(), 40),
            steps in prop::collection::vec(1_u64..9_000_000_000, 1..40),
            start in 0_u64..1 << 50,
        ) {
            let fired = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
            let mut wheel = Wheel::new(start);
            let keys: Vec<_> = delays
                .iter()
                .enumerate()
                .map(|(i, d)| wheel.start(start + d, flag(&fired, i)))
                .collect();
            for (key, cancel) in keys.iter().zip(&cancelled) {
                if *cancel {
                    drop(wheel.cancel(*key));
                }
            }
            let mut now = start;
            for step in steps {
                if let Some(next) = wheel.next_ns() {
                    let earliest = delays.iter().zip(&cancelled).enumerate()
                        .filter(|(i, (_, c))| !**c && !fired.borrow().contains(i))
                        .map(|(_, (d, _))| start + d).min();
                    prop_assert!(earliest.is_some_and(|e| next <= e + (2 << TICK_BITS)));
                }
                now += step;
                wheel.turn(now);
                run(&mut wheel);
                for (i, d) in delays.iter().enumerate() {
                    let times = fired.borrow().iter().filter(|&&f| f == i).count();
                    prop_assert!(times <= 1);
                    if cancelled[i] || now < start + d {
                        prop_assert_eq!(times, 0, "timer {} of {} ns at {}", i, d, now - start);
                    } else if now > start + d + (2 << TICK_BITS) {
                        prop_assert_eq!(times, 1, "timer {} of {} ns at {}", i, d, now - start);
                    }
                }
            }
        }
    }
}
