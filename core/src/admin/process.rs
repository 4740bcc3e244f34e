//! What the whole process uses, by the kernel's own count.

use std::fmt;

use ninefold_tuning::facts::process::{cpu_time_us, self_locked_bytes, self_rss_bytes};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Writes memory and CPU time; what the kernel does not say is left out.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let levels = [
        (
            "process_resident",
            "Memory of the process that is in memory.",
            self_rss_bytes(),
        ),
        (
            "process_locked",
            "Memory of the process that cannot be paged out.",
            self_locked_bytes(),
        ),
    ];
    for (name, help, bytes) in levels {
        let Some(bytes) = bytes else { continue };
        let gauge = ConstGauge::new(bytes as f64);
        let unit = Some(&Unit::Bytes);
        let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
        gauge.encode(metric)?;
    }
    let Some(cpu) = cpu_time_us(std::process::id()) else {
        return Ok(());
    };
    let counter = ConstCounter::new(cpu.total_us() as f64 / 1e6);
    let help = "CPU time of the process, in user mode and in the kernel.";
    let unit = Some(&Unit::Seconds);
    let metric = encoder.encode_descriptor("process_cpu", help, unit, counter.metric_type())?;
    counter.encode(metric)
}
