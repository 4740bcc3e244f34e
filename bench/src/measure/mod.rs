//! Instruments: the clock, histograms, and the host's own pauses.

pub mod clock;
pub mod counter;
pub mod hiccup;
pub mod hist;
