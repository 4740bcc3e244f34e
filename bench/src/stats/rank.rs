//! Rank statistics: a cross-check of the bootstrap that no outlier can move.

use super::median_in_place;

/// Pairs up to which the Mann-Whitney distribution is enumerated instead of approximated.
const EXACT_PAIRS: usize = 400;

/// Hodges-Lehmann shift from `a` to `b`: the median of all pairwise differences.
#[must_use]
pub fn hodges_lehmann(a: &[f64], b: &[f64]) -> f64 {
    let mut differences: Vec<f64> = b
        .iter()
        .flat_map(|y| a.iter().map(move |x| y - x))
        .collect();
    median_in_place(&mut differences)
}

/// Two-sided Mann-Whitney p-value that `a` and `b` come from one distribution: exact without
/// ties for small samples, the normal approximation with tie correction otherwise; `None` when
/// a side is empty.
#[must_use]
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut pooled: Vec<(f64, bool)> = a
        .iter()
        .map(|&x| (x, true))
        .chain(b.iter().map(|&x| (x, false)))
        .collect();
    pooled.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (rank_sum, tie_term) = rank_sum(&pooled);
    let (m, n) = (a.len() as f64, b.len() as f64);
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let smaller = u.min(m * n - u);
    if tie_term == 0.0 && a.len() * b.len() <= EXACT_PAIRS {
        return Some((2.0 * exact_lower_tail(a.len(), b.len(), smaller)).min(1.0));
    }
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - tie_term / (total * (total - 1.0)));
    if variance <= 0.0 {
        return Some(1.0);
    }
    let z = (m * n / 2.0 - smaller - 0.5).max(0.0) / variance.sqrt();
    Some((2.0 * normal_upper_tail(z)).min(1.0))
}

/// Rank sum of the marked side, ties at their mean rank, and the sum of t^3 - t over ties.
fn rank_sum(pooled: &[(f64, bool)]) -> (f64, f64) {
    let (mut sum, mut ties, mut below) = (0.0, 0.0, 0_usize);
    for group in pooled.chunk_by(|x, y| x.0 == y.0) {
        let size = group.len() as f64;
        let mean_rank = below as f64 + (size + 1.0) / 2.0;
        sum += mean_rank * group.iter().filter(|(_, marked)| *marked).count() as f64;
        ties += size.powi(3) - size;
        below += group.len();
    }
    (sum, ties)
}

/// P(U <= u) by counting arrangements: ways(m, n, u) = ways(m-1, n, u-n) + ways(m, n-1, u).
fn exact_lower_tail(m: usize, n: usize, u: f64) -> f64 {
    let cells = m * n + 1;
    let mut rows = vec![vec![0.0; cells]; n + 1];
    for row in &mut rows {
        row[0] = 1.0;
    }
    for _ in 1..=m {
        let mut next = vec![vec![0.0; cells]; n + 1];
        next[0][0] = 1.0;
        for j in 1..=n {
            for cell in 0..cells {
                let taken = if cell >= j { rows[j][cell - j] } else { 0.0 };
                next[j][cell] = taken + next[j - 1][cell];
            }
        }
        rows = next;
    }
    let counts = &rows[n];
    let total: f64 = counts.iter().sum();
    let below: f64 = counts
        .iter()
        .enumerate()
        .filter(|(i, _)| *i as f64 <= u)
        .map(|(_, c)| c)
        .sum();
    below / total
}

/// P(Z > z) for z >= 0 (Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8).
fn normal_upper_tail(z: f64) -> f64 {
    let t = 1.0 / 0.231_641_9_f64.mul_add(z, 1.0);
    let poly = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ]
    .into_iter()
    .fold(0.0, |sum, c| (sum + c) * t);
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_ignores_an_outlier() {
        let shift = hodges_lehmann(
            &[1.0, 2.0, 3.0, 4.0, 900.0],
            &[11.0, 12.0, 13.0, 14.0, 15.0],
        );
        assert!((shift - 10.0).abs() < 1.01, "{shift}");
    }

    /// 3 against 3 fully separated: 2 of 20 arrangements are as extreme.
    #[test]
    fn the_exact_test_counts_arrangements() {
        let p = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert!((p - 0.1).abs() < 1e-12, "{p}");
        let same = mann_whitney(&[1.0, 4.0, 5.0], &[2.0, 3.0, 6.0]).unwrap();
        assert!(same > 0.6, "{same}");
        assert!(mann_whitney(&[], &[1.0]).is_none());
    }

    #[test]
    fn the_approximation_agrees_with_the_exact_test() {
        let a: Vec<f64> = (0..20).map(|i| f64::from(i) * 1.7).collect();
        let b: Vec<f64> = (0..20).map(|i| f64::from(i) * 1.7 + 9.05).collect();
        let exact = mann_whitney(&a, &b).unwrap();
        let (mut tied_a, b2) = (a.clone(), b);
        tied_a.push(tied_a[10]);
        let approximate = mann_whitney(&tied_a, &b2).unwrap();
        assert!((exact - approximate).abs() < 0.02, "{exact} {approximate}");
    }

    #[test]
    fn equal_constants_are_not_different() {
        let p = mann_whitney(&[5.0; 8], &[5.0; 8]).unwrap();
        assert!((p - 1.0).abs() < 1e-12);
    }
}
