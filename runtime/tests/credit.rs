//! Credits between two shards against a model that knows where each one is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![cfg(not(ninefold_loom))]

use std::collections::{HashMap, VecDeque};

use ninefold_runtime::limits::{CREDIT_BATCH, CREDIT_WINDOW};
use ninefold_runtime::mesh::credit::{Batch, Credits, RETURNS, Returns, Target};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Send so many messages to the actor.
    Send(Target, u32),
    /// Handle so many of the messages that wait, oldest first.
    Handle(usize),
    /// The receiver's tick ends.
    Flush,
    /// So many frames of returns arrive.
    Arrive(usize),
}

fn target() -> impl Strategy<Value = Target> {
    // Few, so that runs and generations meet; with (0, 0), which a fresh sender names as its last.
    prop_oneof![
        4 => (0..3_u32, 0..2_u32),
        1 => (0..40_u32, 0..2_u32),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (target(), 1..5_u32).prop_map(|(to, n)| Step::Send(to, n)),
        1 => (target(), 200..400_u32).prop_map(|(to, n)| Step::Send(to, n)),
        3 => (0..150_usize).prop_map(Step::Handle),
        1 => Just(Step::Flush),
        2 => (0..8_usize).prop_map(Step::Arrive),
    ]
}

#[derive(Default)]
struct World {
    credits: Credits,
    queued: VecDeque<Target>,
    returns: Returns,
    flying: VecDeque<Batch>,
    /// The model: messages of each actor sent and not yet given back.
    out: HashMap<Target, u32>,
}

impl World {
    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(to, n) => (0..n).for_each(|_| self.send(to)),
            Step::Handle(n) => (0..n).for_each(|_| self.handle()),
            Step::Flush => self.flush(),
            Step::Arrive(n) => (0..n).for_each(|_| self.arrive()),
        }
        self.check();
    }

    fn send(&mut self, to: Target) {
        let out = self.out.entry(to).or_default();
        assert_eq!(self.credits.take(to), *out < CREDIT_WINDOW);
        if *out < CREDIT_WINDOW {
            *out += 1;
            self.queued.push_back(to);
        }
    }

    fn handle(&mut self) {
        let Some(to) = self.queued.pop_front() else {
            return;
        };
        if self.returns.handled(to) {
            assert_eq!(self.returns.pending(), CREDIT_BATCH);
            self.flush();
        }
        assert!(self.returns.pending() < CREDIT_BATCH);
    }

    fn flush(&mut self) {
        while let Some(batch) = self.returns.next_batch() {
            assert!((1..=RETURNS).contains(&batch.returns().len()));
            assert!(batch.returns().iter().all(|r| r.credits > 0));
            self.flying.push_back(batch);
        }
        assert!(self.returns.is_empty());
    }

    fn arrive(&mut self) {
        let Some(batch) = self.flying.pop_front() else {
            return;
        };
        for given in batch.returns() {
            let out = self.out.get_mut(&given.target).unwrap();
            let was_empty = *out == CREDIT_WINDOW;
            *out = out.checked_sub(given.credits).expect("more than was taken");
            let freed = self.credits.give_back(given.target, given.credits);
            assert_eq!(freed, was_empty);
        }
    }

    fn check(&self) {
        for (&to, &out) in &self.out {
            assert!(out <= CREDIT_WINDOW);
            assert_eq!(self.credits.out(to), out);
        }
        let live = self.out.values().filter(|&&out| out > 0).count();
        assert_eq!(self.credits.targets(), live);
        assert_eq!(self.credits.surplus(), 0);
        // Every credit is in exactly one place.
        let flying = self.flying.iter().flat_map(Batch::returns);
        let flying: u32 = flying.map(|given| given.credits).sum();
        let queued = u32::try_from(self.queued.len()).unwrap();
        let out: u32 = self.out.values().sum();
        assert_eq!(out, queued + self.returns.pending() + flying);
    }

    fn drain(&mut self) {
        while !self.queued.is_empty() {
            self.handle();
        }
        self.flush();
        while !self.flying.is_empty() {
            self.arrive();
        }
        self.check();
        assert_eq!(self.credits.targets(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_credit_is_in_one_place_and_all_come_home(
        steps in proptest::collection::vec(step(), 0..80)
    ) {
        let mut world = World::default();
        for step in &steps {
            world.run(step);
        }
        world.drain();
    }
}

#[test]
fn a_full_window_refuses_one_actor_and_no_other() {
    let mut credits = Credits::new();
    for _ in 0..CREDIT_WINDOW {
        assert!(credits.take((1, 0)));
    }
    assert!(!credits.take((1, 0)));
    assert!(credits.take((2, 0)));
    // A successor in the same slot starts afresh.
    assert!(credits.take((1, 1)));
    assert!(!credits.take((1, 0)));
    assert!(
        credits.give_back((1, 0), 1),
        "the first to come back frees those who wait"
    );
    assert!(!credits.give_back((1, 0), 1));
    assert!(credits.take((1, 0)));
}

#[test]
fn credits_that_were_never_taken_are_counted_and_grant_nothing() {
    let mut credits = Credits::new();
    assert!(!credits.give_back((7, 0), 3));
    assert!(credits.take((1, 0)));
    assert!(!credits.give_back((1, 0), 2));
    assert!(credits.take((2, 0)));
    assert!(credits.take((3, 0)));
    assert!(!credits.give_back((2, 0), 5));
    assert_eq!(credits.surplus(), 3 + 1 + 4);
    assert_eq!((credits.out((1, 0)), credits.out((2, 0))), (0, 0));
    assert_eq!(credits.targets(), 1);
}

#[test]
fn messages_of_one_actor_are_given_back_as_one() {
    let mut returns = Returns::new();
    let due = (0..CREDIT_BATCH)
        .filter(|&n| returns.handled((n % 3, 0)))
        .count();
    assert_eq!(due, 1);
    let batch = returns.next_batch().unwrap();
    assert_eq!(batch.returns().len(), 3);
    assert!(returns.next_batch().is_none());
    for n in 0..5 {
        assert!(!returns.handled((n, 0)));
    }
    assert_eq!(returns.next_batch().unwrap().returns().len(), RETURNS);
    assert_eq!(returns.next_batch().unwrap().returns().len(), 1);
}
