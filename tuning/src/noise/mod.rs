//! How quiet each CPU is: a pinned thread reads the clock in a loop for some seconds, and every
//! gap between two readings is time that somebody else took. What the kernel counted meanwhile
//! says who.

mod gaps;
mod probe;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::gaps::{Bucket, Gaps};

use crate::facts::{self, CpuList, Topology};

/// The name and version of the document's shape.
pub const NOISE_SCHEMA: &str = "ninefold.tune.noise.v1";

/// Gaps shorter than this are the loop itself.
pub const THRESHOLD_NS_DEFAULT: u64 = 1_000;

/// No probe looks for longer.
pub const SECONDS_MAX: u32 = 600;

/// A turn that is held for longer is a stall, and so is a gap.
const GAP_UNFIT_NS: u64 = 1_000_000;
/// Above this a gap shows in the tail of a node's answers.
const GAP_DOUBTFUL_NS: u64 = 200_000;
const LOST_UNFIT_PERCENT: f64 = 1.0;
const LOST_DOUBTFUL_PERCENT: f64 = 0.2;

/// What to probe.
#[derive(Clone, Debug)]
pub struct NoiseOptions {
    /// The CPUs, each by a thread of its own, all at once.
    pub cpus: CpuList,
    /// For how long.
    pub window: Duration,
    /// The shortest gap that counts, in nanoseconds.
    pub threshold_ns: u64,
}

/// What was seen; serialises as the document of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// [`NOISE_SCHEMA`].
    pub schema: String,
    /// The shortest gap that counted, in nanoseconds.
    pub threshold_ns: u64,
    /// How long was asked for, in seconds.
    pub seconds: f64,
    /// Each CPU.
    pub cpus: Vec<CpuNoise>,
    /// CPUs that shards may have, by this.
    pub fit: CpuList,
}

/// What one CPU lost, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuNoise {
    /// The CPU.
    pub cpu: u32,
    /// Whether the thread could be pinned to it; else it ran anywhere.
    pub pinned: bool,
    /// How long it looked, in seconds.
    pub seconds: f64,
    /// Readings of the clock.
    pub reads: u64,
    /// Gaps of at least the threshold.
    pub gaps: Gaps,
    /// Interrupts that the CPU took meanwhile; absent where they are not counted.
    pub interrupts: Option<u64>,
    /// Soft interrupts that it ran meanwhile.
    pub softirqs: Option<u64>,
    /// Time that the hypervisor stole meanwhile, in milliseconds, in steps of 10.
    pub steal_ms: Option<u64>,
    /// How often the scheduler took the CPU from the thread.
    pub involuntary_switches: Option<u64>,
    /// Whether a shard may run there.
    pub verdict: Verdict,
    /// Why not, or why perhaps not.
    pub reasons: Vec<String>,
}

/// Whether a shard may run on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may.
    Fit,
    /// It may, and its tail will show it.
    Doubtful,
    /// Its stalls would not be the node's own.
    Unfit,
}

impl Verdict {
    /// The name in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Doubtful => "doubtful",
            Self::Unfit => "unfit",
        }
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum NoiseError {
    /// CPUs that this process may not use.
    #[error("wanted to probe CPUs {wanted}, may use {allowed}; name some of those with --cpus")]
    NotAllowed {
        /// CPUs asked for.
        wanted: CpuList,
        /// CPUs that may be used.
        allowed: CpuList,
    },
    /// A thread could not be started.
    #[error("wanted a thread for CPU {cpu}: {source}; probe fewer CPUs at once")]
    Thread {
        /// The CPU.
        cpu: u32,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Probes, and calls `progress` about once a second with the seconds that have passed.
///
/// # Errors
/// [`NoiseError`].
pub fn noise(options: &NoiseOptions, progress: &mut dyn FnMut(u64)) -> Result<Noise, NoiseError> {
    let allowed = Topology::host().allowed;
    if options.cpus.is_empty() || !options.cpus.difference(&allowed).is_empty() {
        return Err(NoiseError::NotAllowed {
            wanted: options.cpus.clone(),
            allowed,
        });
    }
    let before = Counters::read();
    let seen = probe::all(options, progress)?;
    let after = Counters::read();
    let cpus: Vec<_> = seen
        .into_iter()
        .map(|seen| {
            let cpu = seen.cpu;
            judged(CpuNoise {
                cpu,
                pinned: seen.pinned,
                seconds: seen.seconds,
                reads: seen.reads,
                gaps: seen.gaps,
                interrupts: grown(&before.interrupts, &after.interrupts, cpu),
                softirqs: grown(&before.softirqs, &after.softirqs, cpu),
                steal_ms: grown(&before.steal_ticks, &after.steal_ticks, cpu)
                    .map(|ticks| ticks * 1_000 / rustix::param::clock_ticks_per_second().max(1)),
                involuntary_switches: seen.involuntary_switches,
                verdict: Verdict::Fit,
                reasons: Vec::new(),
            })
        })
        .collect();
    let fit = cpus.iter().filter(|of| of.verdict == Verdict::Fit);
    Ok(Noise {
        schema: NOISE_SCHEMA.to_owned(),
        threshold_ns: options.threshold_ns,
        seconds: options.window.as_secs_f64(),
        fit: fit.map(|of| of.cpu).collect(),
        cpus,
    })
}

type PerCpu = std::collections::BTreeMap<u32, u64>;

struct Counters {
    interrupts: Option<PerCpu>,
    softirqs: Option<PerCpu>,
    steal_ticks: Option<PerCpu>,
}

impl Counters {
    fn read() -> Self {
        let steal = facts::steal();
        Self {
            interrupts: facts::interrupts(),
            softirqs: facts::softirqs(),
            steal_ticks: steal.map(|cpus| {
                cpus.iter()
                    .map(|(&cpu, ticks)| (cpu, ticks.steal))
                    .collect()
            }),
        }
    }
}

fn grown(before: &Option<PerCpu>, after: &Option<PerCpu>, cpu: u32) -> Option<u64> {
    let (before, after) = (before.as_ref()?.get(&cpu)?, after.as_ref()?.get(&cpu)?);
    Some(after.saturating_sub(*before))
}

/// Says whether a shard may run there, and why not.
fn judged(mut cpu: CpuNoise) -> CpuNoise {
    let (longest, lost) = (cpu.gaps.max_ns, cpu.gaps.lost_percent);
    let mut mark = |verdict: Verdict, reason: String| {
        cpu.verdict = cpu.verdict.max(verdict);
        cpu.reasons.push(reason);
    };
    if !cpu.pinned {
        mark(Verdict::Unfit, "the thread could not be pinned".to_owned());
    }
    let by_gap = match longest {
        GAP_UNFIT_NS.. => Verdict::Unfit,
        GAP_DOUBTFUL_NS.. => Verdict::Doubtful,
        _ => Verdict::Fit,
    };
    if by_gap > Verdict::Fit {
        mark(by_gap, format!("a gap of {} us", longest / 1_000));
    }
    let by_loss = match lost {
        _ if lost >= LOST_UNFIT_PERCENT => Verdict::Unfit,
        _ if lost >= LOST_DOUBTFUL_PERCENT => Verdict::Doubtful,
        _ => Verdict::Fit,
    };
    if by_loss > Verdict::Fit {
        mark(by_loss, format!("{lost:.2} % of the time lost"));
    }
    if cpu.verdict > Verdict::Fit {
        let culprits = [
            (cpu.steal_ms, "ms stolen by the hypervisor"),
            (cpu.involuntary_switches, "preemptions by other tasks"),
        ];
        let named = culprits
            .iter()
            .filter_map(|&(count, what)| Some(format!("{} {what}", count.filter(|&n| n > 0)?)));
        let mut named: Vec<_> = named.collect();
        if named.is_empty() {
            named.push("neither steal nor preemption was counted: interrupts or firmware".into());
        }
        cpu.reasons.append(&mut named);
    }
    cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(max_ns: u64, lost_percent: f64) -> CpuNoise {
        judged(CpuNoise {
            cpu: 3,
            pinned: true,
            seconds: 5.0,
            reads: 1,
            gaps: Gaps {
                max_ns,
                lost_percent,
                ..Gaps::default()
            },
            interrupts: Some(9),
            softirqs: None,
            steal_ms: Some(0),
            involuntary_switches: Some(4),
            verdict: Verdict::Fit,
            reasons: Vec::new(),
        })
    }

    #[test]
    fn a_cpu_is_as_fit_as_its_worst_sign() {
        for (max_ns, lost, verdict) in [
            (20_000, 0.05, Verdict::Fit),
            (200_000, 0.05, Verdict::Doubtful),
            (20_000, 0.5, Verdict::Doubtful),
            (1_000_000, 0.0, Verdict::Unfit),
            (1_000, 2.0, Verdict::Unfit),
        ] {
            assert_eq!(cpu(max_ns, lost).verdict, verdict, "{max_ns} {lost}");
        }
        assert_eq!(cpu(20_000, 0.05).reasons, [""; 0]);
        let reasons = cpu(2_000_000, 0.0).reasons;
        assert_eq!(
            reasons,
            ["a gap of 2000 us", "4 preemptions by other tasks"]
        );
    }

    #[test]
    fn cpus_that_are_not_ours_are_refused_by_name() {
        let options = NoiseOptions {
            cpus: [8_000].into_iter().collect(),
            window: Duration::from_millis(1),
            threshold_ns: 1_000,
        };
        let error = noise(&options, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("CPUs 8000, may use "), "{error}");
    }

    #[test]
    fn this_host_has_a_cpu_that_can_be_probed() {
        let cpu = Topology::host().allowed.iter().next().unwrap();
        let options = NoiseOptions {
            cpus: [cpu].into_iter().collect(),
            window: Duration::from_millis(60),
            threshold_ns: THRESHOLD_NS_DEFAULT,
        };
        let seen = noise(&options, &mut |_| {}).unwrap();
        let one = &seen.cpus[0];
        assert!(
            one.pinned && one.reads > 1_000 && one.seconds >= 0.06,
            "{one:?}"
        );
        assert_eq!(
            one.gaps.count,
            one.gaps.histogram.iter().map(|of| of.count).sum::<u64>()
        );
        let json = serde_json::to_string(&seen).unwrap();
        assert_eq!(
            serde_json::from_str::<Noise>(&json).unwrap().schema,
            NOISE_SCHEMA
        );
    }
}
