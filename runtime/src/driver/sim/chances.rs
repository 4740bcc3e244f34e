//! How likely each thing is under one seed. Every seed draws its own: a run in which all faults are
//! always on hides what happens only without some of them (Groce et al., swarm testing, 2012).

use fastrand::Rng;

use crate::limits::{SIM_BUFFERS_MIN, SIM_PIPE_BYTES};

/// Chances in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chances {
    /// An operation that can go on does so in this enter.
    pub(super) progress: u8,
    /// A transfer moves fewer bytes than it could.
    pub(super) short: u8,
    /// A multishot operation ends by itself, as it does when completions overflow.
    pub(super) ends: u8,
    /// An accept finds no descriptor free.
    pub(super) no_descriptor: u8,
    /// An operation that is done keeps its completion back for now.
    pub(super) late: u8,
    /// The wake-up read completes though nobody rang.
    pub(super) spurious_wake: u8,
}

impl Chances {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut one_of = |percents: &[u8]| percents[rng.usize(..percents.len())];
        Chances {
            progress: one_of(&[10, 50, 90, 100]),
            short: one_of(&[0, 20, 80]),
            ends: one_of(&[0, 0, 10, 50]),
            no_descriptor: one_of(&[0, 0, 5]),
            late: one_of(&[0, 20, 80]),
            spurious_wake: one_of(&[0, 2]),
        }
    }
}

/// Receive buffers of one simulated driver.
pub(super) fn buffers(rng: &mut Rng) -> u16 {
    SIM_BUFFERS_MIN << rng.u16(0..4)
}

/// Bytes that one direction of a connection holds.
pub(super) fn pipe_bytes(rng: &mut Rng) -> usize {
    SIM_PIPE_BYTES >> rng.u32(0..10)
}
