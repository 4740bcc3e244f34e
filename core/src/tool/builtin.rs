//! The tools of a node without configuration: `echo`, `add`, `time`, `sleep`, `hash`.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    Call, Definition, IntoToolResult, NoArguments, ResultWriter, Started, Tool, runtime_sleep,
};
use crate::limits::Limits;
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

/// A time of day in UTC as RFC 3339, with milliseconds.
struct Rfc3339(SystemTime);

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 is set wrong; the epoch says so as well as anything.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Howard Hinnant's days_from_civil, inverted: years begin in March, so that the leap
        // day is the last of its year.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let millis = since.subsec_millis();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (millis, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_785_196_800_000, "2026-07-28T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(Rfc3339(at).to_string(), wanted);
        }
    }

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
