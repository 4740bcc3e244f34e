//! JSON-RPC 2.0: bytes to a borrowed message, and answers to bytes.

mod de;
mod error;
mod message;
mod parse;
mod value;
pub mod write;

pub use de::ArgumentError;
pub use error::{Code, RpcError};
pub use message::{Id, Malformed, Message, Params, Response};
pub use parse::{JsonParser, NotJson};
pub use value::Value;
