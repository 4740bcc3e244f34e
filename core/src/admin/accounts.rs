//! Who uses the shards: time and counts by actor type and message type, and what held a shard.

use std::fmt;

use ninefold_runtime::Handle;
use ninefold_runtime::accounts::{ActorAccount, MessageAccount};
use ninefold_runtime::clock;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Writes the accounts of `shards` shards.
pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    handle: &Handle,
    shards: usize,
) -> fmt::Result {
    let help = "Messages handled and tasks polled, by type of actor and of message.";
    let counter = ConstCounter::new(0_u64).metric_type();
    let mut metric = encoder.encode_descriptor("handled_by_type", help, None, counter)?;
    each(handle, shards, |labels, message| {
        let family = metric.encode_family(&labels)?;
        ConstCounter::new(message.handled.get()).encode(family)
    })?;
    let help = "CPU time used, by type of actor and of message.";
    let counter = ConstCounter::new(0.0_f64).metric_type();
    let unit = Some(&Unit::Seconds);
    let mut metric = encoder.encode_descriptor("cpu_by_type", help, unit, counter)?;
    each(handle, shards, |labels, message| {
        let family = metric.encode_family(&labels)?;
        let seconds = clock::cycles_to_ns(message.run.sum()) as f64 / 1e9;
        ConstCounter::new(seconds).encode(family)
    })
}

/// Writes what the stall detector has seen.
pub(super) fn encode_stalls(encoder: &mut DescriptorEncoder<'_>, handle: &Handle) -> fmt::Result {
    let seen = handle.stall_counts();
    let counters = [
        (
            "stalls_reported",
            "Stalls and stuck shards reported.",
            seen.reports,
        ),
        (
            "stalls_dropped",
            "Stalls for which there was no room.",
            seen.dropped,
        ),
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(metric)?;
    }
    let stuck = ConstGauge::new(i64::try_from(seen.stuck_shards).unwrap_or(i64::MAX));
    let help = "Shards that are held by one turn for more than a second.";
    let metric = encoder.encode_descriptor("stuck_shards", help, None, stuck.metric_type())?;
    stuck.encode(metric)
}

type Labels = [(&'static str, String); 4];

fn each(
    handle: &Handle,
    shards: usize,
    mut write: impl FnMut(Labels, &MessageAccount) -> fmt::Result,
) -> fmt::Result {
    for shard in 0..shards {
        let Some(accounts) = handle.accounts(shard) else {
            continue;
        };
        for (kind, actor) in accounts.actors().enumerate() {
            for message in actor.messages() {
                write(labels(shard, kind, actor, message), message)?;
            }
        }
    }
    Ok(())
}

/// The number of the type keeps names apart whose arguments are cut.
fn labels(shard: usize, kind: usize, actor: &ActorAccount, message: &MessageAccount) -> Labels {
    [
        ("shard", shard.to_string()),
        ("type", kind.to_string()),
        ("actor", without_arguments(actor.name)),
        ("message", without_arguments(message.name)),
    ]
}

/// A type's name without its type arguments: those of futures have no end.
fn without_arguments(name: &str) -> String {
    name.split('<').next().unwrap_or(name).to_owned()
}
