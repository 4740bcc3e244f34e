//! Charts of the page: SVG whose colours and letters are the page's, so that it is read by day, by
//! night, on paper and on a phone.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::model::{Metric, show};
use super::svg::{Curve, Role};

/// Width of every chart, in its own units; letters are 13 of them high, on a phone 19.
const WIDTH: f64 = 520.0;
/// Height of a spectrum.
const HEIGHT: f64 = 300.0;
/// What is left of a spectrum for the names of its values, and on its other sides.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Height of a bar with its name above it, and of the bar alone.
const ROW: f64 = 46.0;
const BAR: f64 = 12.0;

/// A bar with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// Its value, with the unit, as written beside it.
    pub text: String,
    /// Its length, at least 0.
    pub value: f64,
    /// Least and greatest sample, if it is the median of several.
    pub range: Option<(f64, f64)>,
    /// Whether it is what ours is measured by.
    pub floor: bool,
}

impl Bar {
    /// The bar of a metric.
    #[must_use]
    pub fn of(name: &str, metric: &Metric, floor: bool) -> Self {
        let sorted = |pick: fn(f64, f64) -> f64| metric.samples.iter().copied().reduce(pick);
        Self {
            name: name.into(),
            text: format!("{} {}", show(metric.value), metric.unit.symbol()),
            value: metric.value.max(0.0),
            range: sorted(f64::min).zip(sorted(f64::max)),
            floor,
        }
    }
}

/// Where a spectrum has its values.
struct Scale {
    nines: f64,
    low: f64,
    high: f64,
}

impl Scale {
    /// Whole nines and whole powers of ten around every point.
    fn around(curves: &[Curve]) -> Option<Self> {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let felt = || points().map(|point| point.1).filter(|us| *us > 0.0);
        let low = felt().reduce(f64::min)?.log10().floor();
        let high = felt().reduce(f64::max)?.log10().ceil().max(low + 1.0);
        let nines = points().map(|point| point.0).fold(1.0, f64::max);
        Some(Self { nines, low, high })
    }

    fn x(&self, nines: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * nines / self.nines
    }

    /// Of the power of ten `log`.
    fn y(&self, log: f64) -> f64 {
        let share = (log - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let felt = points.iter().filter(|(_, us)| *us > 0.0);
        for (&(nines, us), first) in felt.zip([true].into_iter().chain(std::iter::repeat(false))) {
            let to = if first { 'M' } else { 'L' };
            let _ = write!(path, "{to}{:.1} {:.1}", self.x(nines), self.y(us.log10()));
        }
        path
    }
}

/// The latency of each curve against the percentile, both axes logarithmic: one more nine of the
/// requests at each line.
#[must_use]
pub fn spectrum(title: &str, curves: &[Curve]) -> Markup {
    let Some(scale) = Scale::around(curves) else {
        return html! { p.none { (title) ": nothing was recorded." } };
    };
    let described = curves.iter().filter_map(end).collect::<Vec<_>>().join("; ");
    html! {
        figure {
            figcaption { (title) }
            svg role="img" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
                title { "Latency spectrum: " (title) }
                desc { (described) }
                @for log in whole(scale.low, scale.high) {
                    @let y = scale.y(log);
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(dot(y)) y2=(dot(y)) {}
                    text.y x=(LEFT - 8.0) y=(dot(y + 4.0)) { (duration(log)) }
                }
                @for nines in whole(0.0, scale.nines) {
                    @let x = dot(scale.x(nines));
                    line.grid x1=(x) x2=(x) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                    text.x x=(x) y=(HEIGHT - 10.0) { (percentile(nines)) }
                }
                @for curve in curves {
                    path class=(class(curve.role)) d=(scale.path(&curve.points)) {}
                }
            }
            ul.legend {
                @for curve in curves { li class=(class(curve.role)) { (curve.name) } }
            }
        }
    }
}

/// Bars of one unit, from zero.
#[must_use]
pub fn bars(title: &str, bars: &[Bar]) -> Markup {
    let ends = bars
        .iter()
        .map(|bar| bar.range.map_or(bar.value, |range| bar.value.max(range.1)));
    let longest = ends.fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| WIDTH * value / longest;
    let described: Vec<_> = bars
        .iter()
        .map(|bar| format!("{}: {}", bar.name, bar.text))
        .collect();
    html! {
        figure {
            figcaption { (title) }
            svg role="img" viewBox=(format!("0 0 {WIDTH} {:.0}", ROW * bars.len() as f64)) {
                title { (title) }
                desc { (described.join("; ")) }
                @for (bar, row) in bars.iter().zip(0_u32..) {
                    @let top = ROW * f64::from(row);
                    text x="0" y=(top + 18.0) { (bar.name) }
                    text.value x=(WIDTH) y=(top + 18.0) { (bar.text) }
                    rect.track x="0" y=(top + 26.0) width=(WIDTH) height=(BAR) {}
                    rect class=(if bar.floor { "bar floor" } else { "bar" }) x="0" y=(top + 26.0)
                        width=(dot(length(bar.value))) height=(BAR) {}
                    @if let Some((least, most)) = bar.range {
                        line.range x1=(dot(length(least))) x2=(dot(length(most)))
                            y1=(top + 26.0 + BAR / 2.0) y2=(top + 26.0 + BAR / 2.0) {}
                    }
                }
            }
        }
    }
}

fn class(role: Role) -> &'static str {
    match role {
        Role::Intended => "intended",
        Role::Sent => "sent",
        Role::Host => "host",
        Role::Control => "control",
        Role::High => "high",
        Role::Normal => "normal",
    }
}

/// The last point of a curve, in words.
fn end(curve: &Curve) -> Option<String> {
    let &(nines, us) = curve.points.last()?;
    let beyond = 100.0 * (1.0 - 10f64.powf(-nines));
    Some(format!("{}: {} us at {beyond:.3} %", curve.name, show(us)))
}

/// Whole numbers from `low` up to `high`.
fn whole(low: f64, high: f64) -> impl Iterator<Item = f64> {
    (0_u32..)
        .map(move |i| low + f64::from(i))
        .take_while(move |&value| value <= high)
}

/// One decimal of a unit is less than anybody sees.
fn dot(value: f64) -> String {
    format!("{value:.1}")
}

/// A power of ten of microseconds: -1 -> 100 ns, 0 -> 1 us, 4 -> 10 ms.
fn duration(log: f64) -> String {
    let us = 10f64.powf(log);
    match us {
        us if us < 0.999 => format!("{:.0} ns", us * 1e3),
        us if us < 999.0 => format!("{us:.0} us"),
        us if us < 999e3 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

/// Whole nines as the percentile they are: 0 -> 0 %, 1 -> 90 %, 3 -> 99.9 %.
fn percentile(nines: f64) -> String {
    match nines {
        nines if nines < 0.5 => "0 %".into(),
        nines if nines < 1.5 => "90 %".into(),
        nines if nines < 2.5 => "99 %".into(),
        nines => {
            let after = whole(3.0, nines).map(|_| '9');
            format!("99.{} %", after.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Unit;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve {
            name: "<b>".into(),
            points: points.to_vec(),
            role: Role::Intended,
        }
    }

    /// 1 us at 0 nines is the lower left corner, 1 ms at 3 nines the upper right one.
    #[test]
    fn the_corners_of_a_spectrum_are_where_they_belong() {
        let svg = spectrum("x", &[curve(&[(0.0, 1.0), (3.0, 1000.0)])]).into_string();
        assert!(svg.contains(r#"d="M80.0 266.0L496.0 12.0""#), "{svg}");
        for tick in [">1 us<", ">10 us<", ">1 ms<", ">0 %<", ">90 %<", ">99.9 %<"] {
            assert!(svg.contains(tick), "{tick} in {svg}");
        }
        assert!(svg.contains("1,000 us at 99.900 %"), "{svg}");
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn a_spectrum_of_nothing_says_so() {
        let nothing = spectrum("x", &[curve(&[(0.0, 0.0)])]).into_string();
        assert!(nothing.contains("nothing was recorded") && !nothing.contains("<svg"));
    }

    /// The longest sample is as wide as the chart; everything else is in proportion.
    #[test]
    fn bars_are_in_proportion() {
        let metric = |samples: [f64; 3]| Metric {
            value: samples[1],
            unit: Unit::Us,
            n: 3,
            samples: samples.to_vec(),
        };
        let ours = Bar::of("ours", &metric([9.0, 10.0, 20.0]), false);
        assert_eq!(ours.range, Some((9.0, 20.0)));
        let floor = Bar::of("floor", &metric([5.0, 5.0, 5.0]), true);
        let svg = bars("x", &[ours, floor]).into_string();
        assert!(
            svg.contains(r#"width="260.0""#) && svg.contains(r#"width="130.0""#),
            "{svg}"
        );
        assert!(svg.contains("ours: 10 us; floor: 5 us"), "{svg}");
    }

    #[test]
    fn axes_are_named_in_units_that_people_use() {
        assert_eq!(
            [-2.0, -1.0, 0.0, 2.0, 3.0, 5.0, 6.0].map(duration),
            ["10 ns", "100 ns", "1 us", "100 us", "1 ms", "100 ms", "1 s"]
        );
        assert_eq!(
            [0.0, 1.0, 2.0, 3.0, 5.0].map(percentile),
            ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]
        );
    }
}
