//! A value that is set once by an actor and awaited by whoever measures, on any executor.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Set once, awaited once; clones share it.
#[derive(Debug)]
pub(crate) struct Latch<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waiting: Option<Waker>,
}

impl<T> Clone for Latch<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Latch<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            value: None,
            waiting: None,
        })))
    }
}

impl<T> Latch<T> {
    /// Sets the value and wakes who waits for it.
    pub(crate) fn set(&self, value: T) {
        let waiting = {
            let mut state = self.lock();
            state.value = Some(value);
            state.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Waits for the value.
    pub(crate) async fn wait(&self) -> T {
        poll_fn(|cx| {
            let mut state = self.lock();
            if let Some(value) = state.value.take() {
                return Poll::Ready(value);
            }
            state.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
