//! From figures to verdicts.

pub mod baseline;
pub mod claim;
pub mod slo;
pub mod verdict;
