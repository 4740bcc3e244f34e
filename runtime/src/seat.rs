//! A shard's thread from its first step to its last: driver, executor, shard, loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use glommio::LocalExecutor;

use crate::clock::{self, Time};
use crate::driver::Driver;
use crate::mesh::Mesh;
use crate::panics;
use crate::runtime::{Scheduling, Shared, StartError};
use crate::shard::{self, Entered, Parts, Shard};
use crate::stall::Sentry;

/// glommio's submission queue entries per ring; the shard's own I/O has its own ring.
const GLOMMIO_RING: usize = 32;
/// glommio's registered I/O memory; its default of 10 MiB an executor would be pinned for nothing.
const GLOMMIO_IO_MEMORY: usize = 64 << 10;
/// How often glommio's own sources get their turn while the shard is busy.
const GLOMMIO_PREEMPT: Duration = Duration::from_millis(10);

/// What is done on a shard before it counts as started.
pub(crate) type Begin = Box<dyn FnOnce(&Shard) -> io::Result<()> + Send>;

/// Everything a shard's thread needs to begin.
pub(crate) struct Seat {
    pub(crate) index: usize,
    /// The name of the thread, for who reads why it did not start.
    pub(crate) thread: String,
    pub(crate) mesh: Mesh,
    pub(crate) shared: Arc<Shared>,
    pub(crate) spin: Duration,
    pub(crate) scheduling: Scheduling,
    pub(crate) begin: Begin,
}

impl Seat {
    /// Runs the shard on the calling thread until its runtime stops. `ready` is told when it has
    /// started, or why it has not, and is dropped then.
    pub(crate) fn run(self, ready: Sender<Result<(), StartError>>) {
        let spin_ns = u64::try_from(self.spin.as_nanos()).unwrap_or(0);
        let (driver, executor) = match self.set_up() {
            Ok(both) => both,
            Err(error) => {
                // Who started it may have given up.
                let _ = ready.send(Err(error));
                return;
            }
        };
        executor.run(async move {
            // In this order: the sentry is dropped after the shard and before the executor ends.
            let (_sentry, shard) = match self.enter(driver) {
                Ok(both) => both,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            drop(ready);
            shard::run(&shard, spin_ns).await;
        });
    }

    fn set_up(&self) -> Result<(Driver, LocalExecutor), StartError> {
        let wake_fd = self.shared.ports[self.index].wake_fd();
        let wake_fd = wake_fd.ok_or_else(|| io::Error::other("a simulated shard has no thread"))?;
        // Before glommio, which panics instead of saying that io_uring is forbidden.
        let driver = Driver::new(wake_fd).map_err(|error| StartError::Driver {
            thread: self.thread.clone(),
            error,
        })?;
        let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .name(&self.thread)
            .ring_depth(GLOMMIO_RING)
            .io_memory(GLOMMIO_IO_MEMORY)
            .preempt_timer(GLOMMIO_PREEMPT)
            .make();
        let executor = executor.map_err(|error| StartError::Executor {
            thread: self.thread.clone(),
            error: error.to_string(),
        })?;
        Ok((driver, executor))
    }

    /// Makes the shard, current on this thread from here on, and does what it is to begin with.
    fn enter(self, driver: Driver) -> Result<(Sentry, Entered), StartError> {
        let sentry = self.shared.stalls.clone().enter(self.index);
        let parts = Parts {
            id: u16::try_from(self.index).unwrap_or(u16::MAX),
            shared: self.shared,
            mesh: self.mesh,
            driver: Some(driver),
            time: Time::Tsc,
            seed: clock::cycles(),
        };
        let shard = Shard::enter(Shard::new(parts, &self.scheduling)?);
        let begin = self.begin;
        let begun = panics::catch(|| begin(&shard)).unwrap_or_else(|caught| {
            let (panic, place) = (caught.message, caught.place);
            Err(io::Error::other(format!("panic at {place}: {panic}")))
        });
        if let Err(error) = begun {
            shard.stop_everything();
            return Err(error.into());
        }
        Ok((sentry, shard))
    }
}
