//! One document per run; everything a person reads is rendered from it.

pub mod chart;
pub mod history;
pub mod html;
pub mod markdown;
pub mod model;
pub mod peers;
pub mod rows;
pub mod svg;
pub mod terminal;
