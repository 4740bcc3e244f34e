//! Latency histograms: three significant digits, 1 ns to one hour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const HIGHEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// Fewest values that must lie beyond a percentile before it is printed.
pub const BEYOND_MIN: f64 = 10.0;

/// The quantiles of a spectrum, densest where the tail is.
const SPECTRUM: [f64; 16] = [
    0.0,
    0.25,
    0.5,
    0.75,
    0.9,
    0.95,
    0.98,
    0.99,
    0.995,
    0.998,
    0.999,
    0.9995,
    0.9999,
    0.99999,
    0.999_999,
    0.999_999_9,
];

/// A latency histogram in ns.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// One point of a spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Quantile, 0 to 1.
    pub q: f64,
    /// Value at that quantile, in ns.
    pub ns: u64,
}

/// A histogram as a report stores it: readable points, and the whole of it to merge later.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Dump {
    /// Values recorded.
    pub n: u64,
    /// Mean, in ns.
    pub mean_ns: f64,
    /// Largest value, in ns.
    pub max_ns: u64,
    /// The resolved part of the spectrum.
    pub spectrum: Vec<Point>,
    /// HdrHistogram V2 encoding, not deflated, in base64.
    pub v2: String,
}

/// A stored histogram could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("wanted a base64 HdrHistogram V2 payload, found {0}; the report file is damaged")]
pub struct DecodeError(String);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty histogram.
    ///
    /// # Panics
    /// Never: the bounds are constants that the library accepts.
    #[must_use]
    pub fn new() -> Self {
        let empty = Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS);
        Self(empty.unwrap_or_else(|_| unreachable!("constant bounds")))
    }

    /// Counts one value; longer than an hour counts as an hour.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Counts one value `count` times.
    pub fn record_n(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        // Equal bounds: addition cannot fail.
        let _ = self.0.add(&other.0);
    }

    /// Values recorded.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.0.len()
    }

    /// Largest value, in ns.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// Mean, in ns.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// The value at quantile `q` whatever the count, in ns: for internal use such as plots.
    #[must_use]
    pub fn at(&self, q: f64) -> u64 {
        self.0.value_at_quantile(q)
    }

    /// The value at quantile `q` in ns, or `None` when fewer than ten values lie beyond it:
    /// such a percentile would be the accident of a few samples.
    #[must_use]
    pub fn resolved(&self, q: f64) -> Option<u64> {
        // A hair of slack: (1 - 0.999) * 10,000 is 9.999... in binary.
        let beyond = (1.0 - q) * self.n() as f64 * (1.0 + 1e-9);
        (beyond >= BEYOND_MIN).then(|| self.at(q))
    }

    /// Distribution-free interval of quantile `q` from order statistics, in ns: the normal
    /// approximation of the binomial ranks with `z` standard deviations (1.96 for 95 %).
    /// Assumes independent values; with clustered stalls it is too narrow.
    #[must_use]
    pub fn interval(&self, q: f64, z: f64) -> Option<(u64, u64)> {
        self.resolved(q)?;
        let n = self.n() as f64;
        let half_width = z * (q * (1.0 - q) / n).sqrt();
        Some((
            self.at((q - half_width).max(0.0)),
            self.at((q + half_width).min(1.0)),
        ))
    }

    /// The resolved points of the standard spectrum.
    #[must_use]
    pub fn spectrum(&self) -> Vec<Point> {
        SPECTRUM
            .iter()
            .filter_map(|&q| {
                Some(Point {
                    q,
                    ns: self.resolved(q)?,
                })
            })
            .collect()
    }

    /// Recorded values with their counts, ascending.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// The histogram as a report stores it.
    #[must_use]
    pub fn dump(&self) -> Dump {
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = V2Serializer::new().serialize(&self.0, &mut bytes);
        Dump {
            n: self.n(),
            mean_ns: self.mean(),
            max_ns: self.max(),
            spectrum: self.spectrum(),
            v2: STANDARD.encode(bytes),
        }
    }

    /// Reads a stored histogram back.
    ///
    /// # Errors
    /// When the payload is not base64 or not a V2 histogram.
    pub fn from_dump(dump: &Dump) -> Result<Self, DecodeError> {
        let bytes = STANDARD
            .decode(&dump.v2)
            .map_err(|e| DecodeError(e.to_string()))?;
        let histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| DecodeError(format!("{e:?}")))?;
        Ok(Self(histogram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(n: u64) -> Latency {
        let mut latency = Latency::new();
        (1..=n).for_each(|i| latency.record(i * 1000));
        latency
    }

    #[test]
    fn a_percentile_needs_ten_values_beyond_it() {
        assert!(uniform(9_999).resolved(0.999).is_none());
        assert!(uniform(10_000).resolved(0.999).is_some());
        assert!(Latency::new().resolved(0.0).is_none());
    }

    #[test]
    fn the_interval_holds_the_true_quantile() {
        let (low, high) = uniform(10_000).interval(0.5, 1.96).unwrap();
        assert!(low < 5_000_000 && high > 5_000_000, "{low} {high}");
        assert!(high - low < 300_000, "{low} {high}");
    }

    #[test]
    fn a_dump_survives_the_way_to_json_and_back() {
        let latency = uniform(5_000);
        let json = serde_json::to_string(&latency.dump()).unwrap();
        let back = Latency::from_dump(&serde_json::from_str(&json).unwrap()).unwrap();
        assert_eq!(back.n(), 5_000);
        assert_eq!(back.at(0.99), latency.at(0.99));
        let broken = Dump {
            v2: "AAAA".into(),
            ..latency.dump()
        };
        assert!(Latency::from_dump(&broken).is_err());
    }
}
