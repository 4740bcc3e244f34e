//! The control plane: one thread with its own glommio executor, on its own CPU where there is one.
//!
//! It takes no lock that a shard takes and reads shard statistics by copy, so that health, metrics
//! and drain answer while the data plane is flooded.
//!
//! It is stopped by a waker and not by a timer that looks now and then: under load glommio 0.9 was
//! seen to sleep through a timer until the next I/O event (about one run in eight).

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::runtime::StartError;
use crate::thread;

/// Given once by any thread, awaited by the control plane. The lock is held for a move only.
#[derive(Default)]
struct StopSignal(Mutex<(bool, Option<Waker>)>);

impl StopSignal {
    fn give(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The running control plane; stops when dropped.
pub struct ControlPlane {
    stop: Arc<StopSignal>,
    thread: Option<JoinHandle<()>>,
}

/// glommio's registered I/O memory for the few connections of the control plane.
const IO_MEMORY: usize = 64 << 10;
/// How often other tasks of the control plane get their turn.
const PREEMPT: Duration = Duration::from_millis(1);

impl ControlPlane {
    /// Starts the future that `make` builds on a thread pinned to `cpu`, and waits until `make` has
    /// returned.
    ///
    /// # Errors
    /// [`StartError`] when the thread or its executor does not come up, or `make`'s own error as
    /// [`StartError::System`].
    pub fn start<F: Future<Output = ()> + 'static>(
        cpu: u32,
        make: impl FnOnce() -> std::io::Result<F> + Send + 'static,
    ) -> Result<Self, StartError> {
        let stop = Arc::new(StopSignal::default());
        let stopped = stop.clone();
        let (ready, started) = crossbeam_channel::bounded(1);
        let body = move || {
            let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
                .name("control")
                .io_memory(IO_MEMORY)
                .preempt_timer(PREEMPT)
                .make();
            let executor = match executor {
                Ok(executor) => executor,
                Err(e) => {
                    let error = StartError::Control(e.to_string());
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            executor.run(async move {
                glommio::timer::sleep(Duration::from_micros(100)).await;
                match make() {
                    Err(e) => {
                        let _ = ready.send(Err(e.into()));
                    }
                    Ok(future) => {
                        glommio::spawn_local(future).detach();
                        let _ = ready.send(Ok(()));
                        stopped.wait().await;
                    }
                }
            });
        };
        let thread = thread::spawn_pinned("control".to_owned(), cpu, body)?;
        let control = ControlPlane {
            stop,
            thread: Some(thread),
        };
        started.recv().unwrap_or_else(|_| {
            Err(StartError::System(std::io::Error::other(
                "the control plane ended at its start",
            )))
        })?;
        Ok(control)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop.give();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control plane ended with a panic");
        }
    }
}
