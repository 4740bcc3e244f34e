//! HTTP/1.1 as this node speaks it: bytes of a connection to request frames, answers to bytes.
//!
//! Nothing here reads a socket or a clock. The connection owns a buffer and a [`Parser`]; each
//! time bytes arrive it calls [`Parser::advance`], and once a [`Frame`] is complete it splits the
//! buffer into a [`Head`] and a mutable body and hands both to the service.

mod chunked;
mod error;
mod head;
mod parser;
pub mod response;
pub(crate) mod sse;

pub use error::HttpError;
pub use head::{Accept, ContentType, Head, HeadIndex, Method};
pub use parser::{Awaiting, Frame, Parser, Progress};
