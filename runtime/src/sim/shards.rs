//! Shards without threads, on a clock that somebody advances.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::blocking::{BlockingPool, Work};
use crate::clock::Time;
use crate::mesh::full_mesh;
use crate::runtime::{Config, Port, Scheduling, Shared};
use crate::shard::{Parts, Shard};
use crate::stall::{StallConfig, Stalls};

/// The runtime id of everything simulated; real runtimes count from zero.
const RUNTIME: u16 = u16::MAX;

/// The shards of a runtime, for one thread to step.
pub(super) struct Shards {
    pub(super) shared: Arc<Shared>,
    pub(super) all: Vec<Rc<Shard>>,
    /// The far end of the blocking pool.
    pub(super) blocking: Receiver<Work>,
}

/// Builds `count` shards with rings of `slots` frames by lane; `seeds` seeds each.
///
/// # Errors
/// The system's, when the address space of the process is limited; a configuration that is none.
pub(super) fn build(
    count: usize,
    slots: [usize; 2],
    config: &Config,
    clock: &Rc<Cell<u64>>,
    mut seeds: impl FnMut() -> u64,
) -> io::Result<Shards> {
    // Nobody watches the shards of a simulation but the simulator.
    let stall = StallConfig {
        threshold: None,
        stuck: None,
    };
    let scheduling = Scheduling::of(config).map_err(io::Error::other)?;
    let (pool, blocking) = BlockingPool::by_hand();
    let ports = (0..count).map(|_| Arc::new(Port::simulated())).collect();
    let shared = Arc::new(Shared::new(
        RUNTIME,
        ports,
        pool,
        Stalls::new(&stall, count),
    ));
    let mut all = Vec::with_capacity(count);
    for (id, mesh) in full_mesh(count, slots).into_iter().enumerate() {
        let parts = Parts {
            id: u16::try_from(id).unwrap_or(0),
            shared: shared.clone(),
            mesh,
            // The place where a network in memory goes, once there is a driver for one.
            driver: None,
            time: Time::Simulated(clock.clone()),
            seed: seeds(),
        };
        all.push(Shard::new(parts, &scheduling)?);
    }
    Ok(Shards {
        shared,
        all,
        blocking,
    })
}
