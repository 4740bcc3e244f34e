//! The control plane: one shard apart from all others, on its own CPU where there is one.
//!
//! Its thread runs the same loop on the same driver as every shard's, so that sockets, timers,
//! tasks and panics are what they are there; but as the one shard of a runtime of its own. It
//! shares no queue, no ring and no lock with the others, and reads their statistics by copy. So
//! health and metrics answer while the data plane is flooded.
//!
//! It does without what only data shards need: there is no mesh to it, no blocking pool and no
//! watchdog, and it does not spin before it parks.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::blocking::BlockingPool;
use crate::limits::{BULK_SLOTS, EXPRESS_SLOTS, STOP_WITHIN};
use crate::mesh::full_mesh;
use crate::runtime::{Config, Port, Scheduling, Shared, StartError, fresh_id, prepare_process};
use crate::sched::Class;
use crate::seat::{Begin, Seat};
use crate::shard::{Phase, Shard};
use crate::stall::{StallConfig, Stalls};
use crate::{task, thread};

/// The name of its thread, and the `tracing` span of all that it logs.
const NAME: &str = "control";

/// The running control plane; stops when dropped.
///
/// What runs on it may use timers, sockets, tasks and actors as on any shard, for it is one: shard
/// 0 of a runtime of its own. No message goes from there to other shards, nor the other way.
pub struct ControlPlane {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl ControlPlane {
    /// Starts the future that `make` builds on a thread pinned to `cpu`, and waits until `make` has
    /// returned.
    ///
    /// # Errors
    /// [`StartError`] when the thread, its ring or its executor does not come up, or `make`'s own
    /// error as [`StartError::System`].
    pub fn start<F: Future<Output = ()> + 'static>(
        cpu: u32,
        make: impl FnOnce() -> io::Result<F> + Send + 'static,
    ) -> Result<Self, StartError> {
        prepare_process();
        let begin = move |shard: &Shard| {
            let begun = task::spawn(shard, Class::Normal, make()?);
            begun.map(drop).map_err(io::Error::other)
        };
        let (seat, shared) = seat(Box::new(begin))?;
        let (ready, started) = crossbeam_channel::bounded(1);
        let thread = thread::spawn_pinned(NAME.to_owned(), cpu, move || {
            let _span = tracing::error_span!(NAME).entered();
            seat.run(ready);
        })?;
        let control = ControlPlane {
            shared,
            thread: Some(thread),
        };
        started.recv().unwrap_or_else(|_| {
            Err(io::Error::other("the control plane ended at its start").into())
        })?;
        Ok(control)
    }
}

/// The one seat of a runtime that nobody else is part of.
fn seat(begin: Begin) -> Result<(Seat, Arc<Shared>), StartError> {
    let unwatched = StallConfig {
        threshold: None,
        stuck: None,
    };
    let shared = Arc::new(Shared::new(
        fresh_id(),
        vec![Arc::new(Port::new()?)],
        BlockingPool::none(),
        Stalls::new(&unwatched, 1),
    ));
    let mesh = full_mesh(1, [EXPRESS_SLOTS, BULK_SLOTS]).pop();
    let seat = Seat {
        index: 0,
        thread: NAME.to_owned(),
        mesh: mesh.ok_or_else(|| io::Error::other("no mesh of one shard"))?,
        shared: shared.clone(),
        // It is asked now and then, and its CPU is the one that the kernel's own work gets.
        spin: Duration::ZERO,
        scheduling: Scheduling::of(&Config::default())?,
        begin,
    };
    Ok((seat, shared))
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.shared.enter_phase(Phase::Stopping);
        let threads = self.thread.take().into_iter().collect();
        if thread::join_within(threads, STOP_WITHIN) > 0 {
            tracing::error!("the control plane ended with a panic, or did not end");
        }
    }
}
