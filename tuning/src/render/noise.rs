//! The noise of CPUs, for people.

use std::io::{self, Write};

use comfy_table::ColumnConstraint;
use ninefold_tuning::noise::{Noise, Verdict};

use super::blank_table;

/// A row a CPU, the reasons, and which CPUs may carry shards.
pub(crate) fn table(noise: &Noise, out: &mut dyn Write) -> io::Result<()> {
    let mut table = blank_table(&[
        "CPU",
        "Verdict",
        "Longest",
        "> 10 us, 100 us, 1 ms",
        "Lost",
        "Irqs",
        "Softirqs",
        "Steal",
        "Preempted",
    ]);
    let or_dash = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    for of in &noise.cpus {
        let gaps = &of.gaps;
        table.add_row([
            of.cpu.to_string(),
            of.verdict.name().to_owned(),
            format!("{} us", gaps.max_ns / 1_000),
            format!(
                "{}, {}, {}",
                gaps.over_10_us, gaps.over_100_us, gaps.over_1_ms
            ),
            format!("{:.3} %", gaps.lost_percent),
            or_dash(of.interrupts),
            or_dash(of.softirqs),
            of.steal_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            or_dash(of.involuntary_switches),
        ]);
    }
    for column in table.column_iter_mut().take(2) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    writeln!(out, "{table}")?;
    for of in noise.cpus.iter().filter(|of| of.verdict > Verdict::Fit) {
        writeln!(
            out,
            "CPU {} is {}: {}",
            of.cpu,
            of.verdict.name(),
            of.reasons.join("; ")
        )?;
    }
    match noise.fit.is_empty() {
        true => writeln!(out, "No CPU is fit for a shard, over {} s.", noise.seconds),
        false => writeln!(
            out,
            "Fit for shards, over {} s: {}.",
            noise.seconds, noise.fit
        ),
    }
}
