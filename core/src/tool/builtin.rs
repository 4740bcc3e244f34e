//! The tools of a node without configuration: `echo`, `add`, `time`, `sleep`, `hash`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    Call, Definition, IntoToolResult, NoArguments, ResultWriter, Started, Tool, runtime_sleep,
};
use crate::limits::Limits;
use crate::rfc3339::Rfc3339;
use crate::server::Builder;

/// Reads the wall clock; passed in, so that a simulation decides what time it is.
pub type WallClock = fn() -> SystemTime;

#[derive(Deserialize, JsonSchema)]
struct EchoArguments<'a> {
    /// The text to return.
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Copies its text from the request straight into the answer, as only a tool of its own making
/// can: the arguments of a typed function own what they hold.
struct Echo(Definition);

impl Tool for Echo {
    fn definition(&self) -> &Definition {
        &self.0
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        match EchoArguments::deserialize(call.arguments) {
            Ok(arguments) => {
                arguments.text.write_to(result);
                Started::Finished
            }
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct Add {
    /// First addend.
    a: Number,
    /// Second addend.
    b: Number,
}

#[derive(Deserialize, JsonSchema)]
struct Sleep {
    /// How long to sleep, in milliseconds.
    ms: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Hash {
    /// The text to hash.
    text: String,
    /// How often: each further round hashes the digest of the round before.
    #[serde(default = "one")]
    rounds: u64,
}

fn one() -> u64 {
    1
}

/// Adds the builtin tools to `builder`, within its limits.
pub(crate) fn register(builder: Builder, clock: WallClock) -> Builder {
    let Limits {
        sleep_tool_ms,
        hash_tool_rounds,
        ..
    } = *builder.current_limits();
    builder
        .register(Echo(Definition::of::<EchoArguments<'_>>(
            "echo",
            "Returns its text",
        )))
        .tool("add", "Adds two numbers", |Add { a, b }| a.plus(b))
        .tool(
            "time",
            "Tells the time, as RFC 3339 in UTC",
            move |NoArguments {}| Rfc3339(clock()).to_string(),
        )
        .async_tool(
            "sleep",
            "Sleeps for some milliseconds",
            move |Sleep { ms }| async move {
                at_most("ms", ms, sleep_tool_ms)?;
                runtime_sleep(Duration::from_millis(ms)).await;
                Ok::<_, String>(format!("slept {ms} ms"))
            },
        )
        .blocking_tool(
            "hash",
            "Computes SHA-256, in hex",
            move |Hash { text, rounds }| {
                at_most("rounds", rounds, hash_tool_rounds)?;
                Ok::<_, String>(hash(&text, rounds))
            },
        )
}

fn at_most(name: &str, found: u64, limit: u64) -> Result<(), String> {
    if found <= limit {
        return Ok(());
    }
    Err(format!(
        "argument `{name}`: wanted at most {limit}, found {found}"
    ))
}

fn hash(text: &str, rounds: u64) -> String {
    let mut digest = Sha256::digest(text);
    for _ in 1..rounds {
        digest = Sha256::digest(digest);
    }
    digest
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// A JSON number that stays an integer as long as it is one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) if a.checked_add(b).is_some() => Self::Int(a + b),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Int(it) => it as f64,
            Self::Float(it) => it,
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E>(self, it: i64) -> Result<Number, E> {
                Ok(Number::Int(it))
            }

            fn visit_u64<E>(self, it: u64) -> Result<Number, E> {
                Ok(i64::try_from(it).map_or(Number::Float(it as f64), Number::Int))
            }

            fn visit_f64<E>(self, it: f64) -> Result<Number, E> {
                Ok(Number::Float(it))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

impl IntoToolResult for Number {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        match self {
            Self::Int(it) => result.display(&it),
            Self::Float(it) => result.display(&it),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_integers_while_they_fit() {
        assert_eq!(Number::Int(2).plus(Number::Int(3)), Number::Int(5));
        assert_eq!(Number::Int(2).plus(Number::Float(0.5)), Number::Float(2.5));
        assert_eq!(
            Number::Int(i64::MAX).plus(Number::Int(1)),
            Number::Float(2f64.powi(63))
        );
    }

    #[test]
    fn hashes_are_sha256() {
        let once = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc", 1), once);
        assert_eq!(hash("abc", 0), once);
        let twice = "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358";
        assert_eq!(hash("abc", 2), twice);
    }
}
