//! What a setting is, what it should be, and whether the one meets the other.

use std::fmt;
use std::mem::discriminant;

/// What a setting holds.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    /// A plain number; `u64::MAX` stands for no limit.
    Count(u64),
    /// A plain number that may be below zero.
    Signed(i64),
    /// Bytes; `u64::MAX` stands for no limit.
    Bytes(u64),
    /// A time in microseconds.
    Micros(u64),
    /// A share in percent.
    Percent(f64),
    /// A major and a minor version.
    Version(u32, u32),
    /// A word of the kernel's.
    Text(String),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<(u32, u32)> for Value {
    fn from((major, minor): (u32, u32)) -> Self {
        Self::Version(major, minor)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match self {
            Self::Count(u64::MAX) | Self::Bytes(u64::MAX) => f.write_str("unlimited"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Signed(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => match UNITS.iter().find(|(unit, _)| bytes >= unit) {
                // Limits and pools are round numbers; a tenth tells when one is not.
                Some((unit, name)) if bytes % unit == 0 => write!(f, "{} {name}", bytes / unit),
                Some((unit, name)) => {
                    write!(f, "{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
                }
                None => write!(f, "{bytes} B"),
            },
            Self::Micros(us) => write!(f, "{us} us"),
            Self::Percent(percent) => write!(f, "{percent:.2} %"),
            Self::Version(major, minor) => write!(f, "{major}.{minor}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What a setting should hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// This or more.
    AtLeast(Value),
    /// This or less.
    AtMost(Value),
    /// Just this.
    Exactly(Value),
    /// Any of these words.
    OneOf(&'static [&'static str]),
}

impl Want {
    /// Whether `found` will do; a value of another kind never does.
    pub fn met_by(&self, found: &Value) -> bool {
        let alike = |want| discriminant(want) == discriminant(found);
        match self {
            Self::AtLeast(least) => alike(least) && found >= least,
            Self::AtMost(most) => alike(most) && found <= most,
            Self::Exactly(want) => found == want,
            Self::OneOf(words) => {
                matches!(found, Value::Text(text) if words.contains(&text.as_str()))
            }
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::Exactly(want) => write!(f, "{want}"),
            Self::OneOf(words) => f.write_str(&words.join(" or ")),
        }
    }
}

/// What came of reading a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// It holds this.
    Found(Value),
    /// Whatever it holds, it cannot matter here, and why.
    Moot(&'static str),
    /// No snapshot can tell, and why.
    Unclear(&'static str),
    /// The snapshot has no value; its gaps say why.
    Absent,
}

impl<T: Into<Value>> From<Option<T>> for Reading {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, |value| Self::Found(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_edge() {
        assert!(Want::AtLeast(Value::Count(4)).met_by(&Value::Count(4)));
        assert!(!Want::AtLeast(Value::Count(4)).met_by(&Value::Count(3)));
        assert!(Want::AtMost(Value::Micros(9)).met_by(&Value::Micros(9)));
        assert!(!Want::AtMost(Value::Micros(9)).met_by(&Value::Micros(10)));
        assert!(Want::AtLeast(Value::Version(6, 1)).met_by(&Value::Version(6, 18)));
        assert!(!Want::AtLeast(Value::Version(6, 1)).met_by(&Value::Version(5, 19)));
        assert!(Want::OneOf(&["tsc"]).met_by(&Value::Text("tsc".into())));
        assert!(!Want::OneOf(&["tsc"]).met_by(&Value::Text("hpet".into())));
    }

    #[test]
    fn values_of_different_kinds_never_meet() {
        assert!(!Want::AtLeast(Value::Count(1)).met_by(&Value::Bytes(9)));
        assert!(!Want::AtMost(Value::Text(String::new())).met_by(&Value::Count(0)));
        assert!(!Want::AtMost(Value::Percent(1.0)).met_by(&Value::Percent(f64::NAN)));
    }

    #[test]
    fn prints_units() {
        for (value, text) in [
            (Value::Bytes(8 << 20), "8 MiB"),
            (Value::Bytes(3 << 19), "1.5 MiB"),
            (Value::Bytes(512), "512 B"),
            (Value::Bytes(u64::MAX), "unlimited"),
            (Value::Count(u64::MAX), "unlimited"),
            (Value::Percent(0.004), "0.00 %"),
            (Value::Version(6, 1), "6.1"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }
}
