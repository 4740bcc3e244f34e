//! What pairs of runs show: a run without and a run with, close in time, in an order that is drawn.
//!
//! The interval is a percentile bootstrap over pairs of the Hodges-Lehmann centre of their log
//! ratios: a pair is the unit, and one spoilt run moves little. Few pairs make such intervals too
//! narrow, so a gain counts only when Wilcoxon's signed-rank test agrees; without an effect that
//! one is wrong at most as often as stated, whatever the noise.

use serde::{Deserialize, Serialize};

use super::metric::Better;

/// Resamples of an interval.
const RESAMPLES: usize = 1_000;
/// Pairs up to which every pattern of signs is tried; beyond, as many are drawn.
const EXACT_PAIRS_MAX: usize = 13;
/// Confidence of the intervals of `prove`: without an effect 1 setting in 40 is kept at most.
pub const CONFIDENCE: f64 = 0.95;
/// Fewer pairs show nothing: 2^-6 is the first chance below 1 in 40.
pub const PAIRS_MIN: usize = 6;
/// More pairs than this are a mistake in an argument.
pub const PAIRS_MAX: usize = 200;

/// One of the two states that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// As it was.
    Off,
    /// With the setting.
    On,
}

/// An interval around an estimate, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Estimate.
    pub mid: f64,
    /// Upper end.
    pub high: f64,
}

/// What the pairs show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better, by at least what matters.
    Better,
    /// Worse, by at least what matters.
    Worse,
    /// Any effect is smaller than what matters.
    Same,
    /// Too much noise, or too few pairs.
    Unclear,
}

/// The effect of a change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Pairs.
    pub pairs: usize,
    /// Change of the metric from off to on, in percent.
    pub change_percent: Interval,
    /// Confidence of that interval.
    pub confidence: f64,
    /// Chance of pairs at least as good as these, if the gain were only what matters.
    pub chance: f64,
    /// What that shows.
    pub verdict: Verdict,
}

/// What counts.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Which way the metric gets better.
    pub better: Better,
    /// Least effect that matters, in percent; at least 0 and below 100.
    pub least_percent: f64,
    /// Two-sided confidence of the interval.
    pub confidence: f64,
    /// Seed of the resampling.
    pub seed: u64,
}

/// The order within each of `count` pairs: blocks of two, off-on-on-off or on-off-off-on by a coin
/// of `seed`. A drift that is steady over a block cancels out in it, and no rhythm of the host
/// meets one arm only.
pub fn order(count: usize, seed: u64) -> Vec<[Arm; 2]> {
    let mut coin = fastrand::Rng::with_seed(seed);
    let mut pairs = Vec::with_capacity(count + 1);
    while pairs.len() < count {
        let (first, second) = ([Arm::Off, Arm::On], [Arm::On, Arm::Off]);
        pairs.extend(match coin.bool() {
            true => [first, second],
            false => [second, first],
        });
    }
    pairs.truncate(count);
    pairs
}

/// The effect shown by `(off, on)` pairs of values above zero; none without a pair.
pub fn effect(pairs: &[(f64, f64)], rule: Rule) -> Option<Effect> {
    if pairs.is_empty() {
        return None;
    }
    let logs: Vec<f64> = pairs.iter().map(|(off, on)| (on / off).ln()).collect();
    let mut rng = fastrand::Rng::with_seed(rule.seed);
    let mut drawn = vec![0.0; logs.len()];
    let mut draws: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for slot in &mut drawn {
                *slot = logs[rng.usize(..logs.len())];
            }
            centre(&drawn)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a thousand draws"
    )]
    let cut = ((1.0 - rule.confidence) / 2.0 * draws.len() as f64) as usize;
    let percent = |log: f64| log.exp_m1() * 100.0;
    let change_percent = Interval {
        low: percent(draws[cut]),
        mid: percent(centre(&logs)),
        high: percent(draws[draws.len() - 1 - cut]),
    };
    let chance = chance(&logs, rule, &mut rng);
    Some(Effect {
        pairs: logs.len(),
        change_percent,
        confidence: rule.confidence,
        chance,
        verdict: judge(logs.len(), change_percent, chance, rule),
    })
}

fn judge(pairs: usize, change: Interval, chance: f64, rule: Rule) -> Verdict {
    let least = rule.least_percent;
    let (gain, loss) = match rule.better {
        Better::Lower => (change.high < -least, change.low > least),
        Better::Higher => (change.low > least, change.high < -least),
    };
    match () {
        () if pairs < PAIRS_MIN => Verdict::Unclear,
        () if gain && chance <= (1.0 - rule.confidence) / 2.0 => Verdict::Better,
        () if loss => Verdict::Worse,
        () if change.low > -least && change.high < least => Verdict::Same,
        () => Verdict::Unclear,
    }
}

/// Hodges-Lehmann: the median of the means of all pairs of values, each with itself too.
fn centre(values: &[f64]) -> f64 {
    let mut means = Vec::with_capacity(values.len() * (values.len() + 1) / 2);
    for (index, a) in values.iter().enumerate() {
        means.extend(values[index..].iter().map(|b| f64::midpoint(*a, *b)));
    }
    let middle = means.len() / 2;
    let odd = means.len() % 2 == 1;
    let (below, &mut upper, _) = means.select_nth_unstable_by(middle, f64::total_cmp);
    match odd {
        true => upper,
        false => f64::midpoint(below.iter().copied().fold(f64::MIN, f64::max), upper),
    }
}

/// Wilcoxon's signed-rank test of the gains beyond what matters: the share of sign patterns under
/// which their ranks sum up to as much. By ranks, so that a spoilt run weighs no more than another.
fn chance(logs: &[f64], rule: Rule, rng: &mut fastrand::Rng) -> f64 {
    let least = rule.least_percent / 100.0;
    let beyond = logs.iter().map(|log| match rule.better {
        Better::Lower => -log + (-least).ln_1p(),
        Better::Higher => log - least.ln_1p(),
    });
    let ranks = signed_ranks(&beyond.collect::<Vec<_>>());
    let found: f64 = ranks.iter().sum();
    let reaches = |flipped: &mut dyn FnMut(usize) -> bool| {
        let signed = ranks.iter().enumerate();
        let signed = signed.map(|(at, rank)| if flipped(at) { -rank } else { *rank });
        signed.sum::<f64>() >= found
    };
    let patterns = 1usize << ranks.len().min(EXACT_PAIRS_MAX);
    match ranks.len() <= EXACT_PAIRS_MAX {
        true => {
            let reached = (0..patterns).filter(|of| reaches(&mut |at| of >> at & 1 == 1));
            reached.count() as f64 / patterns as f64
        }
        false => {
            let reached = (0..patterns).filter(|_| reaches(&mut |_| rng.bool()));
            // What was found is one of the patterns too.
            (reached.count() + 1) as f64 / (patterns + 1) as f64
        }
    }
}

/// The rank of each value by size, with its sign; equal sizes share the mean of their ranks.
fn signed_ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|of| of.abs() < value.abs()).count();
        let equal = values.iter().filter(|of| of.abs() == value.abs()).count();
        // Halves are exact, so that equal sums are equal.
        below as f64 + (equal + 1) as f64 / 2.0
    };
    let signed = |value: &f64| match *value {
        0.0 => 0.0,
        of => of.signum() * rank(value),
    };
    values.iter().map(signed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(better: Better, least_percent: f64, seed: u64) -> Rule {
        Rule {
            better,
            least_percent,
            confidence: CONFIDENCE,
            seed,
        }
    }

    /// Runs on a noisy host: 4 % of noise, a drift, and one run in 20 three times as slow.
    fn pairs(count: usize, change: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut run = |at: usize, factor: f64| {
            let noise: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            let spoilt = if rng.u8(..20) == 0 { 3.0 } else { 1.0 };
            100.0 * factor * (0.04 * noise).exp() * spoilt * (1.0 + 0.01 * at as f64)
        };
        let arms = order(count, seed).into_iter().enumerate();
        arms.map(|(pair, [first, _])| {
            let factor = |on: bool| if on { 1.0 + change } else { 1.0 };
            let on_first = first == Arm::On;
            let a = run(pair * 2, factor(on_first));
            let b = run(pair * 2 + 1, factor(!on_first));
            if on_first { (b, a) } else { (a, b) }
        })
        .collect()
    }

    fn count(verdict: Verdict, runs: u64, count: usize, change: f64, least: f64) -> usize {
        (0..runs)
            .filter(|&seed| {
                let shown = effect(
                    &pairs(count, change, seed),
                    rule(Better::Lower, least, seed),
                );
                shown.unwrap().verdict == verdict
            })
            .count()
    }

    /// With no least effect at all the rule is at its weakest: 1 in 40 is stated, 10 of 400; 20
    /// are three standard deviations more.
    #[test]
    fn without_an_effect_few_are_kept() {
        for pair_count in [PAIRS_MIN, 12] {
            let kept = count(Verdict::Better, 400, pair_count, 0.0, 0.0);
            assert!(kept <= 20, "{kept} of 400 with {pair_count} pairs");
        }
        // A gain that is real and does not matter is none.
        let kept = count(Verdict::Better, 200, 12, -0.02, 2.0);
        assert!(kept <= 13, "{kept} of 200 at the boundary");
    }

    #[test]
    fn a_large_effect_is_found_and_a_harmful_one_named() {
        assert!(count(Verdict::Better, 100, 12, -0.2, 2.0) >= 80);
        assert!(count(Verdict::Worse, 100, 12, 0.25, 2.0) >= 80);
        let up = effect(&[(100.0, 130.0); 6], rule(Better::Higher, 2.0, 1)).unwrap();
        assert_eq!(up.verdict, Verdict::Better);
        assert!((up.change_percent.mid - 30.0).abs() < 1e-9, "{up:?}");
    }

    #[test]
    fn too_few_pairs_show_nothing_and_none_no_effect() {
        let few = effect(&[(100.0, 50.0); PAIRS_MIN - 1], rule(Better::Lower, 2.0, 1));
        assert_eq!(few.unwrap().verdict, Verdict::Unclear);
        assert!(effect(&[], rule(Better::Lower, 2.0, 1)).is_none());
        let same = effect(&[(100.0, 100.5); 8], rule(Better::Lower, 2.0, 1)).unwrap();
        assert_eq!(same.verdict, Verdict::Same);
        let many = effect(&[(100.0, 80.0); 40], rule(Better::Lower, 2.0, 1)).unwrap();
        assert_eq!(many.verdict, Verdict::Better);
    }

    #[test]
    fn orders_are_balanced_random_and_repeatable() {
        let first_on = |seed| order(12, seed).iter().filter(|p| p[0] == Arm::On).count();
        assert!((0..50).all(|seed| first_on(seed) == 6));
        assert_eq!(order(12, 5), order(12, 5));
        assert!((0..20).any(|seed| order(12, seed) != order(12, 5)));
        assert_eq!(order(7, 1).len(), 7);
    }
}
