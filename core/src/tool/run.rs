//! Running tools: containment of panics, deadlines, and the way to the runtime.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use ninefold_runtime::panics::{Caught, catch};
use ninefold_runtime::{BlockingError, blocking};

use super::{IntoToolResult, LocalBoxFuture, ToolResult};

/// How this service waits; the runtime's timer unless a simulation puts its own in place.
pub(crate) type Sleep = fn(Duration) -> LocalBoxFuture<'static, ()>;

/// Why a tool gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Panicked(Caught),
    Late,
}

/// Polls `tool` until it is done, it panics or `deadline` has passed; no timer is armed for a
/// tool that is done at once. Returns the members of its result.
pub(crate) async fn to_end(
    mut tool: LocalBoxFuture<'static, ToolResult>,
    deadline: Duration,
    sleep: Sleep,
) -> Result<Vec<u8>, Stopped> {
    let mut timer = None;
    let outcome = poll_fn(|cx| match catch(|| tool.as_mut().poll(cx)) {
        Ok(Poll::Ready(result)) => Poll::Ready(result.into_members().map_err(Stopped::Panicked)),
        Err(caught) => Poll::Ready(Err(Stopped::Panicked(caught))),
        Ok(Poll::Pending) => {
            let timer = timer.get_or_insert_with(|| sleep(deadline));
            timer.as_mut().poll(cx).map(|()| Err(Stopped::Late))
        }
    })
    .await;
    // What the tool holds may panic when it is dropped, too.
    catch(move || drop(tool))
        .map_err(Stopped::Panicked)
        .and(outcome)
}

/// The runtime's timer.
pub(crate) fn runtime_sleep(duration: Duration) -> LocalBoxFuture<'static, ()> {
    Box::pin(ninefold_runtime::sleep(duration))
}

/// Runs `work` on the blocking pool and serialises its result there.
pub(super) async fn on_pool<T, R>(work: T) -> ToolResult
where
    T: FnOnce() -> R + Send + 'static,
    R: IntoToolResult + 'static,
{
    match blocking(move || ToolResult::new(work())).await {
        Ok(result) => result,
        Err(BlockingError::Panicked(caught)) => ToolResult::panicked(caught),
        Err(error) => ToolResult::failure(error),
    }
}
