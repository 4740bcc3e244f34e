//! One document per run; everything a person reads is rendered from it.

pub mod history;
pub mod markdown;
pub mod model;
pub mod peers;
pub mod svg;
pub mod terminal;
