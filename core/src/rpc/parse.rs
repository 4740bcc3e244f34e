//! Request bodies: validated and indexed by simd-json, copied as a small tree into the arena.
//!
//! The tape and the scratch buffers of simd-json are kept between requests, so parsing allocates
//! nothing in steady state; what a rare large body made them grow is given back afterwards.

use bumpalo::Bump;
use simd_json::{Buffers, ErrorType, Node, StaticNode, Tape};

use super::Value;
use crate::limits::{Limits, PARSER_KEPT_BYTES};

/// A body that is not one JSON document within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// Not JSON.
    #[error("Parse error: the body is not one JSON document in UTF-8")]
    Syntax,
    /// Nested beyond the limit.
    #[error("Parse error: nested deeper than {0} levels")]
    Depth(usize),
    /// More values than the limit.
    #[error("Parse error: more than {0} values")]
    Values(usize),
}

/// The JSON parser of one shard.
pub struct JsonParser {
    buffers: Buffers,
    tape: Tape<'static>,
    depth: usize,
    values: usize,
}

impl std::fmt::Debug for JsonParser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonParser")
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

impl JsonParser {
    /// A parser within the limits `json_depth` and `json_values`.
    pub fn new(limits: &Limits) -> Self {
        let Limits {
            json_depth: depth,
            json_values: values,
            ..
        } = *limits;
        let buffers = Buffers::with_max_depth(4096, depth);
        Self {
            buffers,
            tape: Tape(Vec::with_capacity(256)),
            depth,
            values,
        }
    }

    /// Parses `body`, unescaping its strings in place.
    pub fn parse<'a>(&mut self, body: &'a mut [u8], arena: &'a Bump) -> Result<Value<'a>, NotJson> {
        if body.len() > PARSER_KEPT_BYTES {
            if separators(body) > self.values {
                return Err(NotJson::Values(self.values));
            }
            let mut buffers = Buffers::with_max_depth(body.len(), self.depth);
            let mut tape = Tape(Vec::new());
            return fill(body, &mut buffers, &mut tape, arena, self.depth);
        }
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let value = fill(body, &mut self.buffers, &mut tape, arena, self.depth);
        self.tape = tape.reset();
        value
    }
}

/// Bytes that can separate or open values: never fewer than there are values behind the first.
fn separators(body: &[u8]) -> usize {
    body.iter()
        .filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{'))
        .count()
}

fn fill<'a>(
    body: &'a mut [u8],
    buffers: &mut Buffers,
    tape: &mut Tape<'a>,
    arena: &'a Bump,
    depth: usize,
) -> Result<Value<'a>, NotJson> {
    // [mcp:rpc-utf8]
    match simd_json::fill_tape(body, buffers, tape) {
        Ok(()) => Ok(Cursor {
            nodes: tape.0.iter(),
            arena,
        }
        .value()),
        Err(error) if *error.error() == ErrorType::DepthLimitExceeded => Err(NotJson::Depth(depth)),
        Err(_) => Err(NotJson::Syntax),
    }
}

/// Reads the tape front to back; its recursion is bounded by the depth the tape was built with.
struct Cursor<'t, 'a> {
    nodes: std::slice::Iter<'t, Node<'a>>,
    arena: &'a Bump,
}

impl<'a> Cursor<'_, 'a> {
    fn value(&mut self) -> Value<'a> {
        match self.nodes.next() {
            Some(Node::String(text)) => Value::Str(text),
            Some(&Node::Array { len, .. }) => {
                let arena = self.arena;
                Value::Array(arena.alloc_slice_fill_with(len, |_| self.value()))
            }
            Some(&Node::Object { len, .. }) => {
                let arena = self.arena;
                Value::Object(arena.alloc_slice_fill_with(len, |_| (self.key(), self.value())))
            }
            Some(&Node::Static(node)) => scalar(node),
            None => Value::Null,
        }
    }

    fn key(&mut self) -> &'a str {
        match self.nodes.next() {
            Some(Node::String(text)) => text,
            _ => "",
        }
    }
}

fn scalar<'a>(node: StaticNode) -> Value<'a> {
    match node {
        StaticNode::Null => Value::Null,
        StaticNode::Bool(it) => Value::Bool(it),
        StaticNode::I64(it) => Value::Int(it),
        StaticNode::U64(it) => i64::try_from(it).map_or(Value::Uint(it), Value::Int),
        StaticNode::F64(it) => Value::Float(it),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, NotJson> {
        let arena = Bump::new();
        let mut body = text.as_bytes().to_vec();
        JsonParser::new(&Limits::default())
            .parse(&mut body, &arena)
            .map(|value| format!("{value:?}"))
    }

    #[test]
    fn keeps_every_kind_of_value() {
        let arena = Bump::new();
        let mut body =
            br#" {"a":[null,true,-1,9223372036854775808,1.5,"x\u00e9\n"],"a":{}} "#.to_vec();
        let value = JsonParser::new(&Limits::default())
            .parse(&mut body, &arena)
            .unwrap();
        let inner = [
            Value::Null,
            Value::Bool(true),
            Value::Int(-1),
            Value::Uint(1 << 63),
            Value::Float(1.5),
            Value::Str("xé\n"),
        ];
        assert_eq!(
            value,
            Value::Object(&[("a", Value::Array(&inner)), ("a", Value::Object(&[]))])
        );
    }

    #[test]
    fn refuses_what_is_not_json() {
        // [mcp:rpc-utf8]
        for text in [
            "",
            " ",
            "{",
            "{\"a\":1,}",
            "{} {}",
            "nul",
            "'a'",
            "\"\u{1}\"",
            "01",
            "{\"a\" 1}",
        ] {
            assert_eq!(parse(text), Err(NotJson::Syntax), "{text:?}");
        }
        let mut invalid = b"\"\xff\"".to_vec();
        assert_eq!(
            JsonParser::new(&Limits::default())
                .parse(&mut invalid, &Bump::new())
                .err(),
            Some(NotJson::Syntax)
        );
    }

    #[test]
    fn depth_is_refused_at_the_limit_and_cheaply_far_beyond() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(128)).is_ok());
        assert_eq!(parse(&nested(129)), Err(NotJson::Depth(128)));
        assert_eq!(parse(&nested(10_000)), Err(NotJson::Depth(128)));
        assert_eq!(parse(&"{\"a\":".repeat(10_000)), Err(NotJson::Depth(128)));
    }

    #[test]
    fn a_flood_of_values_is_refused_before_it_takes_memory() {
        let flood = format!("[{}0]", "0,".repeat(2_000_000));
        assert_eq!(parse(&flood), Err(NotJson::Values(1_048_576)));
        let large = format!("[{}0]", "0,".repeat(50_000));
        assert!(parse(&large).is_ok());
    }

    #[test]
    fn a_parser_is_reusable_after_errors_and_large_bodies() {
        let mut parser = JsonParser::new(&Limits::default());
        let large = format!("\"{}\"", "x".repeat(PARSER_KEPT_BYTES));
        for (text, good) in [
            ("{", false),
            ("1", true),
            (large.as_str(), true),
            ("[2]", true),
        ] {
            let arena = Bump::new();
            let mut body = text.as_bytes().to_vec();
            assert_eq!(parser.parse(&mut body, &arena).is_ok(), good);
        }
    }
}
