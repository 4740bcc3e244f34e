//! Pools: workers of one type behind one name, and the rule by which a message finds one.
//!
//! A pool is one shard's view of its workers, which may live on any; other shards make their own
//! with [`Pool::of`]. It sends from the shard that it is used on.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use rustc_hash::FxHasher;

use crate::actor::{
    Actor, Address, CallError, ExitReason, Intensity, Message, Receives, SendError, SpawnOptions,
    Supervisor,
};
use crate::limits::POOL_WORKERS_MAX;
use crate::panics;
use crate::place::{died, not_run, run_there};
use crate::sched::SlotKey;
use crate::shard::Shard;
use crate::task::SpawnError;

/// How a pool chooses the worker of a message without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The worker with the least to do: messages in the mailbox of one that lives here, calls of
    /// this pool that are not answered for any.
    LeastLoaded,
}

/// What a pool is made of.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Workers, at most [`POOL_WORKERS_MAX`].
    pub workers: usize,
    /// Whether they are laid over all shards in turn, beginning with this one; else all live here.
    pub spread: bool,
    /// How messages without a key find a worker.
    pub routing: Routing,
    /// Each worker's mailbox and class.
    pub options: SpawnOptions,
    /// Restarts granted to the workers of one shard together.
    pub intensity: Intensity,
}

impl Default for PoolOptions {
    /// Four workers here.
    fn default() -> Self {
        PoolOptions {
            workers: 4,
            spread: false,
            routing: Routing::default(),
            options: SpawnOptions::default(),
            intensity: Intensity::default(),
        }
    }
}

/// Why there is no pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// None, or more than [`POOL_WORKERS_MAX`].
    #[error("wanted a pool of {wanted} workers; give 1 to {POOL_WORKERS_MAX}")]
    Workers {
        /// Workers wanted.
        wanted: usize,
    },
    /// A worker did not start; those that had are stopped again.
    #[error("a worker did not start: {0}")]
    Spawn(#[from] SpawnError),
}

struct Worker<A> {
    address: Address<A>,
    /// Calls of this pool that wait for the worker's answer.
    calls: Cell<u32>,
}

/// Workers of type `A`, and the way to them.
pub struct Pool<A> {
    workers: Vec<Worker<A>>,
    routing: Routing,
    next: Cell<usize>,
}

impl<A: Actor> Pool<A> {
    /// Starts the workers; `make` builds each, by its number, now and again after each panic. They
    /// are supervised where they live, and a restart keeps the address.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn start(
        options: PoolOptions,
        make: impl Fn(usize) -> A + Clone + Send + 'static,
    ) -> Result<Self, PoolError> {
        let PoolOptions {
            workers, routing, ..
        } = options;
        if workers == 0 || workers > POOL_WORKERS_MAX {
            return Err(PoolError::Workers { wanted: workers });
        }
        let (here, shards) = Shard::with(|shard| (shard.id(), shard.shared().ports.len()))
            .ok_or(SpawnError::OffShard)?;
        let homes = if options.spread {
            shards.min(workers)
        } else {
            1
        };
        let mut started: Vec<Option<Address<A>>> = vec![None; workers];
        for home in 0..homes {
            let to = u16::try_from((usize::from(here) + home) % shards).unwrap_or(here);
            let numbers: Vec<usize> = (home..workers).step_by(homes).collect();
            let make = make.clone();
            let spawn = move |_: &Shard| spawn_here(&numbers, options, &make);
            let spawned = run_there(to, spawn).await;
            let (spawned, failed) = match spawned {
                Ok(outcome) => outcome,
                Err(why) => (Vec::new(), Some(not_run(why, to))),
            };
            for (number, address) in spawned {
                started[number] = Some(address);
            }
            if let Some(why) = failed {
                Self::of(started.into_iter().flatten(), routing)
                    .stop()
                    .await;
                return Err(why.into());
            }
        }
        Ok(Self::of(started.into_iter().flatten(), routing))
    }

    /// A view of workers that there are already: those of another shard's pool, in its order. More
    /// than [`POOL_WORKERS_MAX`] are left out.
    #[must_use]
    pub fn of(workers: impl IntoIterator<Item = Address<A>>, routing: Routing) -> Self {
        let worker = |address| Worker {
            address,
            calls: Cell::default(),
        };
        Pool {
            workers: (workers.into_iter().take(POOL_WORKERS_MAX))
                .map(worker)
                .collect(),
            routing,
            next: Cell::new(0),
        }
    }

    /// The workers, in order: what another shard makes its view of.
    #[must_use]
    pub fn workers(&self) -> Vec<Address<A>> {
        self.workers.iter().map(|worker| worker.address).collect()
    }

    /// Stops the workers in good order and without a restart, wherever they live.
    pub async fn stop(self) {
        for worker in &self.workers {
            let id = worker.address.id();
            let key = SlotKey {
                index: id.index & !SlotKey::FROM_PARTS,
                generation: id.generation,
            };
            let stop = move |shard: &Shard| {
                if let Some(slot) = shard.slots.get(key) {
                    shard.shut_down(slot, &ExitReason::Shutdown);
                }
            };
            if let Err(why) = run_there(id.shard, stop).await {
                tracing::error!(worker = ?id, ?why, "a worker of a pool was not stopped");
            }
        }
    }

    /// Tells a worker by the pool's routing; a full one is passed over for the next.
    ///
    /// # Errors
    /// [`SendError`] hands the message back when every worker has refused it, with the reason of
    /// the last.
    pub fn cast<M: Message, K>(&self, message: M) -> Result<(), SendError<M>>
    where
        A: Receives<M, K>,
    {
        let first = self.choose();
        let mut refused = SendError::Closed(message);
        for worker in self.in_turn(first) {
            match worker.address.cast(refused.into_message()) {
                Ok(()) => return Ok(()),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// Asks a worker by the pool's routing; a full one is passed over for the next.
    ///
    /// # Errors
    /// [`CallError`]; one that hands the message back means that every worker has refused it.
    pub async fn call<M: Message, K>(
        &self,
        message: M,
        deadline: Duration,
    ) -> Result<M::Reply, CallError<M>>
    where
        A: Receives<M, K>,
    {
        let first = self.choose();
        let mut refused = CallError::Closed(message);
        for worker in self.in_turn(first) {
            let message = match refused {
                CallError::Full(m) | CallError::Closed(m) | CallError::Shed(m) => m,
                other => return Err(other),
            };
            let _one_more = Outstanding::new(&worker.calls);
            match worker.address.call(message, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// The worker of `key`: always the same while the workers are; one more worker takes over
    /// about one key in so many as there are workers then.
    #[must_use]
    pub fn worker_of<Q: Hash + ?Sized>(&self, key: &Q) -> Option<Address<A>> {
        let mut hasher = FxHasher::default();
        key.hash(&mut hasher);
        let buckets = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let at = jump(mix(hasher.finish()), buckets) as usize;
        self.workers.get(at).map(|worker| worker.address)
    }

    /// Tells the worker of `key`, and no other: messages of one key stay in order.
    ///
    /// # Errors
    /// [`SendError`] hands the message back when that worker refuses it.
    pub fn cast_by<M: Message, K, Q: Hash + ?Sized>(
        &self,
        key: &Q,
        message: M,
    ) -> Result<(), SendError<M>>
    where
        A: Receives<M, K>,
    {
        match self.worker_of(key) {
            Some(worker) => worker.cast(message),
            None => Err(SendError::Closed(message)),
        }
    }

    /// Asks the worker of `key`, and no other.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_by<M: Message, K, Q: Hash + ?Sized>(
        &self,
        key: &Q,
        message: M,
        deadline: Duration,
    ) -> Result<M::Reply, CallError<M>>
    where
        A: Receives<M, K>,
    {
        match self.worker_of(key) {
            Some(worker) => worker.call(message, deadline).await,
            None => Err(CallError::Closed(message)),
        }
    }

    /// Every worker once, from the one at `first` on.
    fn in_turn(&self, first: usize) -> impl Iterator<Item = &Worker<A>> {
        let (before, after) = self.workers.split_at(first.min(self.workers.len()));
        after.iter().chain(before)
    }

    fn choose(&self) -> usize {
        let next = self.next.get();
        self.next.set((next + 1) % self.workers.len().max(1));
        match self.routing {
            Routing::RoundRobin => next,
            // Of equal ones the next in turn, so that an idle pool is used evenly.
            Routing::LeastLoaded => (0..self.workers.len())
                .map(|step| (next + step) % self.workers.len())
                .min_by_key(|&at| self.workers[at].load())
                .unwrap_or(0),
        }
    }
}

impl<A> Worker<A> {
    fn load(&self) -> u32 {
        let queued = Shard::with(|shard| {
            let id = self.address.id();
            let slot = (id.shard == shard.id()).then(|| shard.slots.get(id.key()));
            slot.flatten().map_or(0, |slot| shard.queued(slot))
        });
        self.calls.get().max(queued.unwrap_or(0))
    }
}

/// Counts a call while it is not answered.
struct Outstanding<'a>(&'a Cell<u32>);

impl<'a> Outstanding<'a> {
    fn new(calls: &'a Cell<u32>) -> Self {
        calls.set(calls.get() + 1);
        Outstanding(calls)
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

type Started<A> = (Vec<(usize, Address<A>)>, Option<SpawnError>);

/// Starts the workers with these numbers under one supervisor, until one fails.
fn spawn_here<A: Actor>(
    numbers: &[usize],
    options: PoolOptions,
    make: &(impl Fn(usize) -> A + Clone + 'static),
) -> Started<A> {
    let supervisor = Supervisor::new("pool", options.intensity);
    let mut started = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let make = make.clone();
        let spawned = panics::catch(|| supervisor.spawn(options.options, move || make(number)));
        match spawned.unwrap_or_else(|caught| Err(died(caught))) {
            Ok(address) => started.push((number, address)),
            Err(why) => return (started, Some(why)),
        }
    }
    (started, None)
}

/// The bucket of `key` among `buckets`, by jump consistent hash (Lamping and Veach 2014): even, and
/// one more bucket takes over one key in `buckets + 1`, none moving between the others. Zero
/// buckets count as one.
#[must_use]
pub fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0_u64);
    // Ends after about ln(buckets) rounds: `next` more than doubles every second one.
    while next < u64::from(buckets.max(1)) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive product below 2^64: the bucket fits 32 bits, the ratio 32"
        )]
        let jumped = ((bucket + 1) as f64 * (2_147_483_648.0 / ((key >> 33) + 1) as f64)) as u64;
        next = jumped;
    }
    u32::try_from(bucket).unwrap_or(0)
}

/// Spreads a fast hash over all bits (Steele, Lea and Flood, splitmix64's finalizer).
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_moves_only_into_the_new_bucket(key in any::<u64>(), buckets in 1..1000_u32) {
            let (before, after) = (jump(key, buckets), jump(key, buckets + 1));
            prop_assert!(before < buckets);
            prop_assert!(after == before || after == buckets);
        }

        #[test]
        fn keys_in_a_row_are_spread_evenly(first in any::<u64>(), buckets in 2..50_u32) {
            let mut counts = vec![0_u32; buckets as usize];
            let each = 400;
            for n in 0..u64::from(each * buckets) {
                let key = mix(first.wrapping_add(n));
                counts[jump(key, buckets) as usize] += 1;
            }
            // Six standard deviations of a binomial with this mean.
            let slack = 6.0 * f64::from(each).sqrt();
            for count in counts {
                prop_assert!((f64::from(count) - f64::from(each)).abs() < slack, "{}", count);
            }
        }
    }

    #[test]
    fn no_bucket_counts_as_one() {
        assert_eq!(jump(7, 0), 0);
        assert_eq!(
            jump(u64::MAX, u32::MAX).min(u32::MAX - 1),
            jump(u64::MAX, u32::MAX)
        );
    }
}
