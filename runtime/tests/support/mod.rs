//! Starts a runtime, runs one future on shard 0, and fails the test when that panicked; reaches
//! other shards and counters from there.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use ninefold_runtime::panics::{Caught, catch};
use ninefold_runtime::stats::ShardStats;
use ninefold_runtime::{Config, Runtime, current_handle, sleep};

/// A deadline that no healthy answer comes near.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Declares message types: `Type => Reply;` or `Type => Reply, Class;`.
#[allow(unused_macros, reason = "not every test file needs it")]
macro_rules! messages {
    ($($name:ty => $reply:ty $(, $class:ident)?;)*) => {$(
        impl ninefold_runtime::Message for $name {
            type Reply = $reply;
            $(const CLASS: ninefold_runtime::Class = ninefold_runtime::Class::$class;)?
        }
    )*};
}

/// Runs `main` on shard 0 of a fresh runtime of `shards` shards, which may outnumber the cores.
pub(crate) fn on_shards<F: Future<Output = ()> + 'static>(
    shards: usize,
    main: impl FnOnce() -> F + Send + 'static,
) {
    let config = Config {
        shards: Some(shards),
        ..Config::default()
    };
    on_config(&config, main);
}

/// Runs `main` on shard 0 of a fresh runtime.
pub(crate) fn on_config<F: Future<Output = ()> + 'static>(
    config: &Config,
    main: impl FnOnce() -> F + Send + 'static,
) {
    let runtime = Runtime::start(config).expect("a runtime starts");
    let ended = runtime.handle().run_on(0, move || told(main()));
    if let Err(caught) = ended.expect("the test's future ran to its end") {
        panic!("{} at {}", caught.message, caught.place);
    }
    let report = runtime.shutdown(Duration::from_millis(100));
    assert_eq!(report.threads_lost, 0);
}

/// The panic of `future`, which its shard would only log.
async fn told(future: impl Future<Output = ()>) -> Result<(), Caught> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(caught) => Poll::Ready(Err(caught)),
    })
    .await
}

/// Runs a future on another shard of this runtime and gives its result back here.
pub(crate) async fn on<T: Send + 'static, F: Future<Output = T> + 'static>(
    shard: usize,
    make: impl FnOnce() -> F + Send + 'static,
) -> T {
    let (result, found) = crossbeam_channel::bounded(1);
    current_handle()
        .expect("this is a shard")
        .spawn_on(shard, move || {
            let future = make();
            async move { result.send(future.await).expect("the test waits") }
        })
        .expect("there is such a shard");
    loop {
        if let Ok(found) = found.try_recv() {
            return found;
        }
        sleep(Duration::from_micros(100)).await;
    }
}

/// Waits until `condition` holds; fails the test when it does not within ten seconds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..50_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_micros(200)).await;
    }
    panic!("waited in vain until {what}");
}

/// One counter of a shard.
pub(crate) fn stat(shard: usize, read: impl FnOnce(&ShardStats) -> u64) -> u64 {
    let handle = current_handle().expect("this is a shard");
    read(handle.stats(shard).expect("there is such a shard"))
}

/// Waits until `holds`, and fails the test when that takes more than a noisy machine explains.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..20_000 {
        if holds().await {
            return;
        }
        sleep(Duration::from_micros(500)).await;
    }
    panic!("never: {what}");
}
