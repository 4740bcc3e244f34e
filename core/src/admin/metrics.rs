//! `/metrics`: everything the shards count, in the text format that Prometheus scrapes.

use std::fmt;
use std::sync::Arc;

use ninefold_runtime::Class;
use ninefold_runtime::stats::{Kind, Snapshot as Spans};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Status, accounts, process};

/// Renders a snapshot of the node.
pub(super) fn render(status: &Arc<Status>) -> String {
    let mut registry = Registry::with_prefix("ninefold");
    registry.register_collector(Box::new(Snapshot(status.clone())));
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

struct Snapshot(Arc<Status>);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

/// One metric with a value for each shard.
struct Row {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    values: Vec<u64>,
}

/// The percentiles that a scrape carries.
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.99", 0.99), ("0.999", 0.999), ("1", 1.0)];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for row in self.rows() {
            let kind = match row.kind {
                Kind::Counter => ConstCounter::new(0_u64).metric_type(),
                Kind::Gauge => ConstGauge::new(0_i64).metric_type(),
            };
            let mut metric = encoder.encode_descriptor(row.name, row.help, None, kind)?;
            for (shard, value) in row.values.iter().enumerate() {
                let labelled = [("shard", shard.to_string())];
                let value_encoder = metric.encode_family(&labelled)?;
                match row.kind {
                    Kind::Counter => ConstCounter::new(*value).encode(value_encoder)?,
                    Kind::Gauge => gauge(*value as f64, value_encoder)?,
                }
            }
        }
        self.encode_spans(&mut encoder)?;
        self.encode_arena_resets(&mut encoder)?;
        process::encode(&mut encoder)?;
        accounts::encode_stalls(&mut encoder, &self.0.handle)?;
        accounts::encode(&mut encoder, &self.0.handle, self.0.shards.len())
    }
}

fn gauge(value: f64, encoder: MetricEncoder<'_>) -> fmt::Result {
    ConstGauge::new(value).encode(encoder)
}

/// Encodes the percentiles of `spans` under `labels`.
fn quantiles(
    metric: &mut MetricEncoder<'_>,
    spans: &Spans,
    labels: &[(&'static str, String)],
) -> fmt::Result {
    for (label, q) in QUANTILES {
        if let Some(ns) = spans.quantile_ns(q) {
            let mut labels = labels.to_vec();
            labels.push(("quantile", label.to_owned()));
            gauge(ns as f64 / 1e9, metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl Snapshot {
    /// Runtime, connection and protocol counts, in this order.
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (shard, status) in self.0.shards.iter().enumerate() {
            let mut at = 0;
            let mut put = |name, help, kind, value| {
                if shard == 0 {
                    rows.push(Row {
                        name,
                        help,
                        kind,
                        values: vec![value],
                    });
                } else if let Some(row) = rows.get_mut(at) {
                    row.values.push(value);
                }
                at += 1;
            };
            if let Some(stats) = self.0.handle.stats(shard) {
                stats.each(|name, kind, help, value| put(name, help, kind, value));
            }
            status.net.each(&mut |name, is_gauge, help, value| {
                put(
                    name,
                    help,
                    if is_gauge { Kind::Gauge } else { Kind::Counter },
                    value,
                );
            });
            status.counters.each(&mut |name, help, value| {
                put(name, help.trim(), Kind::Counter, value);
            });
        }
        rows
    }

    /// Percentiles since start of how long messages waited and turns lasted.
    fn encode_spans(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let spans = [
            (
                "queue_delay",
                "Time the oldest message of a turn waited for it.",
                true,
            ),
            ("turn", "Time a turn held its shard.", false),
        ];
        for (name, help, is_delay) in spans {
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
            for shard in 0..self.0.shards.len() {
                let Some(stats) = self.0.handle.stats(shard) else {
                    continue;
                };
                for class in Class::ALL {
                    let (delay, turn) = stats.of_class(class);
                    let snapshot = if is_delay { delay } else { turn };
                    let labels = [
                        ("shard", shard.to_string()),
                        ("class", class.name().to_owned()),
                    ];
                    quantiles(&mut metric, &snapshot, &labels)?;
                }
            }
        }
        Ok(())
    }

    /// Percentiles since start of how long the arenas of answered requests took to be emptied.
    fn encode_arena_resets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time the arena of an answered request took to be emptied.";
        let kind = ConstGauge::new(0.0_f64).metric_type();
        let unit = Some(&Unit::Seconds);
        let mut metric = encoder.encode_descriptor("arena_reset", help, unit, kind)?;
        for (shard, status) in self.0.shards.iter().enumerate() {
            let labels = [("shard", shard.to_string())];
            quantiles(&mut metric, &status.net.arena_reset.snapshot(), &labels)?;
        }
        Ok(())
    }
}
