//! Starts a runtime, runs one future on shard 0, and fails the test when that panicked.

use std::future::Future;
use std::time::Duration;

use ninefold_runtime::{Config, Runtime};

/// A deadline that no healthy answer comes near.
#[allow(dead_code, reason = "not every test file asks")]
pub(crate) const SECOND: Duration = Duration::from_secs(1);

#[allow(dead_code, reason = "not every test file needs it")]
/// Runs `main` on shard 0 of a fresh runtime of `shards` shards, which may outnumber the cores.
pub(crate) fn on_shards<F: Future<Output = ()> + 'static>(
    shards: usize,
    main: impl FnOnce() -> F + Send + 'static,
) {
    let config = Config {
        shards: Some(shards),
        ..Config::default()
    };
    let runtime = Runtime::start(&config).expect("a runtime starts");
    runtime
        .handle()
        .run_on(0, main)
        .expect("the test's future ran to its end");
    let report = runtime.shutdown(Duration::from_millis(100));
    assert_eq!(report.threads_lost, 0);
}
