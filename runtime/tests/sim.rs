//! The runtime under deterministic simulation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use ninefold_runtime::sim::{Fault, Report, SimConfig, buggify, run};

fn simulate(seed: u64, config: &SimConfig) -> Report {
    run(seed, config).expect("address space for a few shards")
}

#[test]
fn no_invariant_is_violated() {
    let config = SimConfig::default();
    for seed in 0..200 {
        let report = simulate(seed, &config);
        let first = report.violations.first().map(ToString::to_string);
        assert_eq!(first, None, "seed {seed}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let config = SimConfig::default();
    for seed in 0..20 {
        assert_eq!(simulate(seed, &config), simulate(seed, &config));
    }
    assert_ne!(simulate(1, &config).hash, simulate(2, &config).hash);
}

/// A check that nothing can violate checks nothing.
#[test]
fn every_fault_is_found() {
    for fault in Fault::ALL {
        let config = SimConfig {
            fault: Some(fault),
            ..SimConfig::default()
        };
        let found = (0..40).find(|seed| !simulate(*seed, &config).violations.is_empty());
        assert!(found.is_some(), "{fault:?} was not noticed");
    }
}

/// What finds a fault is the check for it, and not the debris that it leaves behind.
#[test]
fn faults_are_found_by_their_invariants() {
    let first = |fault, seed| {
        let config = SimConfig {
            fault: Some(fault),
            ..SimConfig::default()
        };
        let mut violations = simulate(seed, &config).violations.into_iter();
        violations.next().map(|violation| violation.invariant)
    };
    for (fault, invariant) in [
        (Fault::LostWakeUp, "nobody sleeps with work waiting"),
        (Fault::DoubledMessage, "order of one sender"),
        (
            Fault::ForgottenActor,
            "what has something to do is in a run queue",
        ),
        (
            Fault::MiscountedBytes,
            "a mailbox counts its messages and bytes",
        ),
        (Fault::EarlyTimer, "a timer is never early"),
        (Fault::SkippedNumber, "order of one sender"),
        (
            Fault::GenerousSupervisor,
            "restarts stay within the intensity",
        ),
        (Fault::WrongAnswer, "an answer is that of its question"),
        (Fault::DoubledDown, "an end is told once to each watcher"),
    ] {
        let found = (0..60).any(|seed| first(fault, seed) == Some(invariant));
        assert!(found, "{fault:?} was never found by: {invariant}");
    }
}

#[test]
fn nothing_is_buggy_outside_a_simulation() {
    assert!(!buggify(1.0));
}
