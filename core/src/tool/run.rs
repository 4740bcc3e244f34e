//! The way from tools to the runtime: its timer, its blocking pool.

use std::time::Duration;

use ninefold_runtime::{BlockingError, blocking};

use super::{IntoToolResult, LocalBoxFuture, ToolResult};
use crate::mcp::work::Failed;

/// How this service waits; the runtime's timer unless a simulation puts its own in place.
pub(crate) type Sleep = fn(Duration) -> LocalBoxFuture<'static, ()>;

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

/// Runs `work` on the blocking pool, for what is no tool and so has no result that says it failed.
pub(crate) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failed> {
    blocking(work).await.map_err(|error| match error {
        BlockingError::Panicked(caught) => Failed::Panicked(caught),
        full_or_closed => Failed::saying(full_or_closed.to_string()),
    })
}
