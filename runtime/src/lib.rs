//! Ninefold's runtime: thread-per-core actors over io_uring.
//!
//! One thread a shard, pinned; on it a glommio executor, and in that one task: the shard's loop.
//! Actors and tasks are slots of a shard, scheduled by class and by time; shards talk through a
//! mesh of single-producer rings and share nothing else.
//!
//! # Code map
//! - [`runtime`], [`placement`], [`control`], [`blocking`]: threads, where they run, how they end.
//! - `shard`: one shard's state, its loop, its turns, its mailroom.
//! - `sched`: classes, slots, run queues. [`actor`]: messages, mailboxes, calls, supervision.
//! - [`mesh`]: rings and doorbells between shards. `driver` and [`net`]: the shard's io_uring.
//! - [`timer`], [`task`], [`registry`], [`stats`], [`clock`], [`limits`].
//!
//! # Invariants
//! 1. A slot, a mailbox, a socket is touched by one thread only; everything that crosses shards
//!    goes through `mesh` or an injection queue.
//! 2. Messages of one sender to one actor are handled in order within a lane.
//! 3. A message is handled, handed back, or counted as dropped; an answer is never refused.
//! 4. Nothing of a user's runs in a bare glommio task: every turn catches its panic.
//! 5. A shard never sleeps while a lane, an injection queue or a run queue holds something for it.
//! 6. No clock outside `clock`, no thread outside `thread`, no unbounded queue, no unbounded loop.

pub mod actor;
pub mod blocking;
mod chunks;
pub mod clock;
pub mod control;
mod driver;
pub mod limits;
pub mod mesh;
pub mod net;
pub mod panics;
pub mod placement;
pub mod registry;
pub mod runtime;
mod sched;
mod shard;
pub mod stats;
mod sync;
pub mod task;
pub mod thread;
pub mod timer;

pub use actor::{
    Actor, ActorId, Address, CallError, Context, Handler, Intensity, Message, SendError,
    SpawnOptions, Supervisor, spawn_actor,
};
pub use blocking::{BlockingError, blocking};
pub use control::ControlPlane;
pub use driver::DriverError;
pub use placement::{Placement, Plan};
pub use registry::{lookup, register, unregister};
pub use runtime::{
    Config, Handle, Runtime, ShutdownReport, StartError, current_handle, current_shard, draining,
    is_draining,
};
pub use sched::Class;
pub use shard::Phase;
pub use task::{SpawnError, spawn_local, spawn_local_in, yield_now};
pub use timer::{Elapsed, sleep, timeout};
