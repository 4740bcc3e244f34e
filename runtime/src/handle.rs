//! The shards as other threads reach them: work goes in as a job, what is known comes out.
//!
//! A look at a shard is a job too: it costs the shard less than a message and waits for nothing an
//! actor does. A shard that is stuck in a handler answers nobody, so each look has a deadline.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, TrySendError};

use crate::accounts::Accounts;
use crate::actor::ActorId;
use crate::clock;
use crate::limits::{INJECT_MAX, INSPECT_SLOTS, SHARES_MAX};
use crate::runtime::Shared;
use crate::sched::Class;
use crate::shard::{ActorInfo, Job, Phase, Quarantined, Shard};
use crate::stall::{StallCounts, StallReport};
use crate::stats::ShardStats;
use crate::task;

/// Reaches the shards from any thread.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// Why a job did not reach its shard, or its result not the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// There is no such shard.
    #[error("wanted shard {0}, which does not exist")]
    NoShard(usize),
    /// [`INJECT_MAX`] jobs wait already.
    #[error("the shard's injection queue is full ({INJECT_MAX} jobs)")]
    Full,
    /// The work panicked or its shard stopped before it was done.
    #[error("the work ended without a result: it panicked or the shard stopped")]
    Lost,
    /// The shard did not come to the job within the deadline; the job will not run any more.
    #[error("shard {0} gave no answer within the deadline: it is stuck in a handler, or has ended")]
    Late(usize),
    /// There is no such scheduling group.
    #[error("wanted scheduling group {0}, which Config::groups does not name (0 is the default)")]
    NoGroup(usize),
    /// A weight that no group can have.
    #[error("wanted {0} shares for a scheduling group; give 1 to {SHARES_MAX}")]
    Shares(u32),
}

/// Some actors of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorPage {
    /// The actors found, in the order of their slots.
    pub actors: Vec<ActorInfo>,
    /// Where to go on; `None` when that was the end. A page may be empty and not be the last.
    pub next: Option<u32>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Handle(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.ports.len()
    }

    /// Counters and histograms of one shard, live.
    #[must_use]
    pub fn stats(&self, shard: usize) -> Option<&ShardStats> {
        self.0.ports.get(shard).map(|p| &p.stats)
    }

    /// Time, counts and delays of one shard by actor type and message type, live and without a
    /// lock.
    #[must_use]
    pub fn accounts(&self, shard: usize) -> Option<Arc<Accounts>> {
        self.0.ports.get(shard).map(|port| port.accounts.clone())
    }

    /// Jobs that wait for a thread of the blocking pool.
    #[must_use]
    pub fn blocking_queued(&self) -> usize {
        self.0.blocking.queued()
    }

    /// The last stalls and stuck shards, oldest first.
    #[must_use]
    pub fn stalls(&self) -> Vec<StallReport> {
        self.0.stalls.reports()
    }

    /// How many stalls there were, and how many shards are stuck now.
    #[must_use]
    pub fn stall_counts(&self) -> StallCounts {
        self.0.stalls.counts()
    }

    /// How far the runtime is on its way down.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.phase()
    }

    /// Asks everything to finish: futures of [`draining`] resolve, nothing is stopped yet.
    pub fn drain(&self) {
        self.0.enter_phase(Phase::Draining);
    }

    /// Starts the future that `make` builds as a task of `shard`.
    ///
    /// # Errors
    /// [`InjectError`] when there is no such shard or its queue is full.
    pub fn spawn_on<F: Future<Output = ()> + 'static>(
        &self,
        shard: usize,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<(), InjectError> {
        self.inject(
            shard,
            Box::new(move |shard: &Shard| {
                if let Err(why) = task::spawn(shard, Class::Normal, make()) {
                    tracing::warn!(%why, "a task from outside was not started");
                }
            }),
        )
    }

    /// Runs the future that `make` builds on `shard` and blocks this thread until it is done. Not
    /// for threads that are shards.
    ///
    /// # Errors
    /// [`InjectError`]; `Lost` when the future panicked or the shard stopped first.
    pub fn run_on<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        shard: usize,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, InjectError> {
        let (result, wait) = crossbeam_channel::bounded(1);
        self.spawn_on(shard, move || {
            let future = make();
            async move {
                // The waiting thread may have given up.
                let _ = result.send(future.await);
            }
        })?;
        wait.recv().map_err(|_| InjectError::Lost)
    }

    /// Looks at one actor; `None` when it has ended or is of another runtime. Blocks this thread
    /// for at most `deadline`.
    ///
    /// # Errors
    /// [`InjectError`]; `Late` when the actor's shard is stuck.
    pub fn inspect(
        &self,
        actor: ActorId,
        deadline: Duration,
    ) -> Result<Option<ActorInfo>, InjectError> {
        if actor.runtime != self.0.id {
            return Ok(None);
        }
        let look = move |shard: &Shard| shard.inspect(actor);
        self.ask(usize::from(actor.shard), deadline, look)
    }

    /// At most `max` actors of `shard` from slot `from` on, zero at first. One page looks at
    /// [`INSPECT_SLOTS`] slots at most. Blocks this thread for at most `deadline`.
    ///
    /// # Errors
    /// As [`Handle::inspect`].
    pub fn actors(
        &self,
        shard: usize,
        from: u32,
        max: usize,
        deadline: Duration,
    ) -> Result<ActorPage, InjectError> {
        let max = max.clamp(1, INSPECT_SLOTS as usize);
        self.ask(shard, deadline, move |shard| {
            let (actors, next) = shard.inspect_from(from, max);
            ActorPage { actors, next }
        })
    }

    /// Takes what `shard` has in quarantine, oldest first: whoever asks next finds later ones only.
    /// Blocks this thread for at most `deadline`.
    ///
    /// # Errors
    /// As [`Handle::inspect`]; nothing was taken then.
    pub fn quarantine(
        &self,
        shard: usize,
        deadline: Duration,
    ) -> Result<Vec<Quarantined>, InjectError> {
        self.ask(shard, deadline, Shard::take_quarantine)
    }

    /// Changes the shares of a scheduling group on every shard, 0 being the default group. Has no
    /// effect under policies without groups. Blocks this thread for at most `deadline`.
    ///
    /// # Errors
    /// [`InjectError`]; on `Late` the shards before the one named have changed already.
    pub fn set_shares(
        &self,
        group: usize,
        shares: u32,
        deadline: Duration,
    ) -> Result<(), InjectError> {
        if !(1..=SHARES_MAX).contains(&shares) {
            return Err(InjectError::Shares(shares));
        }
        let until = clock::monotonic_ns().saturating_add(nanoseconds(deadline));
        for shard in 0..self.shards() {
            let left = until.saturating_sub(clock::monotonic_ns());
            let known = self.ask(shard, Duration::from_nanos(left), move |shard| {
                let known = group < shard.groups();
                if known {
                    shard.set_shares(group, shares);
                }
                known
            })?;
            if !known {
                return Err(InjectError::NoGroup(group));
            }
        }
        Ok(())
    }

    /// Runs `look` on `shard`, at once when this thread is that shard. Either the result comes back
    /// or `look` has not run: a look that is given up is not begun any more.
    fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        deadline: Duration,
        look: impl FnOnce(&Shard) -> T + Send + 'static,
    ) -> Result<T, InjectError> {
        if self.is_current(shard) {
            return Shard::with(look).ok_or(InjectError::Lost);
        }
        let (answer, wait) = crossbeam_channel::bounded(1);
        let begun = Arc::new(AtomicBool::new(false));
        let given_up = begun.clone();
        self.inject(
            shard,
            Box::new(move |shard: &Shard| {
                if !given_up.swap(true, Ordering::AcqRel) {
                    // There is room for one, and who asked waits for what has begun.
                    let _ = answer.send(look(shard));
                }
            }),
        )?;
        match wait.recv_timeout(deadline) {
            Ok(found) => Ok(found),
            Err(RecvTimeoutError::Timeout) if !begun.swap(true, Ordering::AcqRel) => {
                Err(InjectError::Late(shard))
            }
            Err(_) => wait.recv().map_err(|_| InjectError::Lost),
        }
    }

    fn is_current(&self, shard: usize) -> bool {
        let here = |current: &Shard| usize::from(current.id()) == shard && current.is_of(&self.0);
        Shard::with(here) == Some(true)
    }

    fn inject(&self, shard: usize, job: Job) -> Result<(), InjectError> {
        let port = self.0.ports.get(shard).ok_or(InjectError::NoShard(shard))?;
        port.injected.fetch_add(1, Ordering::AcqRel);
        port.jobs.0.try_send(job).map_err(|e| {
            port.injected.fetch_sub(1, Ordering::AcqRel);
            match e {
                TrySendError::Full(_) => InjectError::Full,
                TrySendError::Disconnected(_) => InjectError::Lost,
            }
        })?;
        port.ring_injected();
        Ok(())
    }
}

/// Saturates at 292 years.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// The handle of the runtime that this thread is a shard of.
#[must_use]
pub fn current_handle() -> Option<Handle> {
    Shard::with(|shard| Handle(shard.shared().clone()))
}

/// Looks at an actor of the shard that this thread is, without any wait; `None` when it has ended,
/// lives elsewhere, or this thread is no shard. [`Handle::inspect`] reaches the other shards.
#[must_use]
pub fn inspect(actor: ActorId) -> Option<ActorInfo> {
    Shard::with(|shard| {
        let here = (shard.runtime_id(), shard.id()) == (actor.runtime, actor.shard);
        here.then(|| shard.inspect(actor)).flatten()
    })
    .flatten()
}

/// Resolves when the runtime begins to drain: the shard polls every task once then.
pub async fn draining() {
    std::future::poll_fn(|_| {
        if is_draining() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Whether the runtime of this shard drains or has ended.
#[must_use]
pub fn is_draining() -> bool {
    Shard::with(Shard::phase) != Some(Phase::Running)
}
