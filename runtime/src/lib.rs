//! Ninefold's runtime: thread-per-core actors over io_uring.
//!
//! One thread a shard, pinned; on it a glommio executor, and in that one task: the shard's loop.
//! Actors and tasks are slots of a shard, scheduled by class and by time; shards talk through a
//! mesh of single-producer rings and share nothing else. `docs/SCHEDULER.md` explains how a message
//! comes to its turn, `docs/ARCHITECTURE.md` lists the invariants with their tests.
//!
//! # Code map
//! - [`runtime`], [`placement`], `seat`, [`blocking`], [`thread`]: threads, where they run, how
//!   they end. [`control`]: a shard apart from all others, which no load of theirs reaches.
//!   [`handle`]: the shards as other threads reach and see them.
//! - `shard`: one shard's state. Its loop (`run`), turns (`turn`, `lap`), mailroom (`post`,
//!   `receive`, `credit`, `signal`), lives and deaths (`end`, `state`, `quarantine`), the rest
//!   between ticks (`house`, `codel`), looks from outside (`inspect`, `trace`).
//! - `sched`: classes, policies, run queues, slots. `region`: storage whose elements stay put.
//! - [`actor`]: messages, mailboxes, calls, handlers that wait, exits, supervision.
//! - [`mesh`]: rings, credits and doorbells between shards.
//! - `driver` and [`net`]: the shard's io_uring, or a simulated one, and sockets on it.
//! - [`stats`], [`accounts`]: what a shard counts, and for whom. [`stall`]: names what holds a
//!   shard for too long. [`panics`]: panics caught and described.
//! - [`registry`], [`groups`]: names and groups. [`mod@place`], [`pool`]: where actors live.
//! - [`timer`], [`task`], [`clock`], [`limits`].
//! - [`sim`]: all of it in one thread, driven by a seed, checked after every step.
//!
//! # Invariants
//! 1. A slot, a mailbox, a socket is touched by one thread only; everything that crosses shards
//!    goes through `mesh` or an injection queue.
//! 2. Messages of one sender to one actor are handled in order within a lane; postponed ones come
//!    again in that order.
//! 3. A message is handled, handed back, or counted as dropped, expired or shed; an answer is never
//!    refused.
//! 4. Nothing of a user's runs in a bare glommio task: every turn catches its panic.
//! 5. A shard never sleeps while a lane, an injection queue or a run queue holds something for it.
//! 6. A credit is at any moment in one place, and each that was taken comes home.
//! 7. A restart keeps slot, address, mailbox and ties; no handler that waits outlives its
//!    incarnation.
//! 8. Every turn is charged to an actor and a type, by the default policy to a class and a group
//!    too, and seen by the stall detector while it lasts.
//! 9. What a shard does follows from what arrives, its `Time`, its driver and its seed.
//! 10. No clock outside `clock`, no thread outside `thread`, no unbounded queue, no unbounded loop.

pub mod accounts;
pub mod actor;
pub mod blocking;
pub mod clock;
pub mod control;
mod driver;
pub mod groups;
pub mod handle;
pub mod limits;
pub mod mesh;
pub mod net;
pub mod panics;
pub mod place;
pub mod placement;
pub mod pool;
mod region;
pub mod registry;
pub mod runtime;
mod sched;
mod seat;
mod service;
mod shard;
pub mod sim;
pub mod stall;
pub mod stats;
mod sync;
pub mod task;
pub mod thread;
pub mod timer;

pub use actor::{
    Actor, ActorId, Address, AsyncHandler, Backoff, CallError, ChildInfo, ChildOptions, Context,
    Down, DynamicSupervisor, Exit, ExitReason, Handler, Intensity, Message, Monitor, NotAChild,
    Overflow, Restart, SendError, SpawnOptions, Strategy, Supervisor, SupervisorBuilder,
    spawn_actor,
};
pub use blocking::{BlockingError, blocking};
pub use control::ControlPlane;
pub use driver::DriverError;
#[cfg(feature = "floor")]
pub use driver::floor;
pub use handle::{ActorPage, Handle, InjectError, current_handle, draining, inspect, is_draining};
pub use place::{Where, spawn_on};
pub use placement::{Placement, Plan};
pub use pool::{Pool, PoolError, PoolOptions, Routing};
pub use registry::{
    RegisterError, lookup, register, register_global, unregister, unregister_global, whereis,
};
pub use runtime::{Config, Runtime, SchedulingGroup, ShutdownReport, StartError, current_shard};
pub use sched::{Class, Policy, UnknownPolicy};
pub use shard::{ActorInfo, MigrateError, Phase, Quarantined, Shedding, migrate};
pub use stall::{StallConfig, StallCounts, StallKind, StallReport};
pub use task::{SpawnError, spawn_local, spawn_local_in, yield_now};
pub use timer::{Elapsed, sleep, timeout};
