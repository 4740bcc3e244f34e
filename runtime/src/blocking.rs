//! The blocking pool: threads for work that blocks or computes for long, fed by a bounded
//! crossbeam channel. Its threads stay off the CPUs of the shards where there are others.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::limits::BLOCKING_QUEUE;
use crate::panics::{self, Caught};
use crate::shard::Shard;
use crate::thread;

/// A piece of blocking work.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// Why blocking work has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockingError {
    /// The queue holds [`BLOCKING_QUEUE`] jobs.
    #[error(
        "the blocking pool's queue is full ({BLOCKING_QUEUE} jobs); retry later or add threads"
    )]
    Full,
    /// The pool is shutting down, or this thread is the control plane or no shard.
    #[error(
        "there is no blocking pool here: the runtime is shutting down, or this is the control \
         plane or no shard"
    )]
    Closed,
    /// The work panicked.
    #[error("the work panicked: {}", .0.message)]
    Panicked(Caught),
}

/// The sending side of the pool and its threads.
pub(crate) struct BlockingPool {
    queue: Sender<Work>,
}

impl BlockingPool {
    /// Starts `threads` threads on `cpus`.
    pub(crate) fn start(
        threads: usize,
        cpus: &[u32],
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (queue, jobs): (Sender<Work>, Receiver<Work>) =
            crossbeam_channel::bounded(BLOCKING_QUEUE);
        let handles = (0..threads.max(1))
            .map(|n| {
                let jobs = jobs.clone();
                // Ends when the last sender is gone, that is with the runtime.
                thread::spawn_on_set(format!("blocking-{n}"), cpus.to_vec(), move || {
                    jobs.into_iter().for_each(|work| work());
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((BlockingPool { queue }, handles))
    }

    /// A pool without threads: whoever holds the other end runs the jobs, as a simulator does.
    pub(crate) fn by_hand() -> (Self, Receiver<Work>) {
        let (queue, jobs) = crossbeam_channel::bounded(BLOCKING_QUEUE);
        (BlockingPool { queue }, jobs)
    }

    /// No pool: whatever it is given is refused as [`BlockingError::Closed`].
    pub(crate) fn none() -> Self {
        Self::by_hand().0
    }

    /// Jobs that wait for a thread.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }
}

enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, Caught>),
    Taken,
}

/// Resolves to the result of work given to [`blocking`].
pub struct Blocking<T> {
    shared: Result<Arc<Mutex<State<T>>>, BlockingError>,
}

/// Runs `work` on the blocking pool of the current runtime.
///
/// The work is queued at once. Dropping the future forgets the result; the work still runs.
#[must_use = "the result of blocking work arrives only when awaited"]
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    let shared = Arc::new(Mutex::new(State::Waiting(None)));
    let done = shared.clone();
    let job = Box::new(move || {
        let result = panics::catch(work);
        let mut state = done.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, State::Done(result));
        drop(state);
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    });
    let sent = Shard::with(|shard| shard.shared().blocking.queue.try_send(job));
    Blocking {
        shared: match sent {
            Some(Ok(())) => Ok(shared),
            Some(Err(TrySendError::Full(_))) => Err(BlockingError::Full),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(BlockingError::Closed),
        },
    }
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, BlockingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = match &self.shared {
            Ok(shared) => shared,
            Err(why) => return Poll::Ready(Err(why.clone())),
        };
        // Held for a move only, by one shard and one pool thread.
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(result) => Poll::Ready(result.map_err(BlockingError::Panicked)),
            State::Waiting(_) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Taken => Poll::Ready(Err(BlockingError::Closed)),
        }
    }
}
