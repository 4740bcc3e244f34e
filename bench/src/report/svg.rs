//! Latency spectra as SVG: a nines axis, intended against sent, the host's floor beneath.

use plotters::prelude::*;

use super::model::Report;
use crate::measure::hiccup::Floor;
use crate::measure::hist::Latency;

const SIZE: (u32, u32) = (860, 420);
/// Points per nine of a curve.
const POINTS_PER_NINE: u32 = 40;
/// Values that must lie beyond the last point of a curve.
const BEYOND_MIN: f64 = 10.0;

/// One curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Legend.
    pub name: String,
    /// (nines, us) pairs; nines = -log10(1 - quantile).
    pub points: Vec<(f64, f64)>,
    /// What it is of.
    pub role: Role,
}

/// What a curve is of; it decides the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Latency from the intended start.
    Intended,
    /// Latency from the send.
    Sent,
    /// What the host alone does.
    Host,
    /// Latency of the control plane.
    Control,
    /// Latency of high-class messages.
    High,
    /// Latency of normal messages.
    Normal,
}

impl Role {
    fn colour(self) -> RGBColor {
        match self {
            Self::Intended => RGBColor(20, 80, 200),
            Self::Sent => RGBColor(230, 140, 20),
            Self::Host => RGBColor(130, 130, 130),
            Self::Control => RGBColor(20, 130, 90),
            Self::High => RGBColor(150, 50, 160),
            Self::Normal => RGBColor(190, 60, 50),
        }
    }
}

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("draw the latency spectrum: {0}")]
pub struct DrawError(String);

impl Curve {
    /// The resolved part of a histogram.
    #[must_use]
    pub fn of_latency(name: &str, latency: &Latency, role: Role) -> Self {
        let end = (latency.n() as f64 / BEYOND_MIN).max(1.0).log10();
        let points = grid(end)
            .map(|(nines, q)| (nines, latency.at(q) as f64 / 1e3))
            .collect();
        Self {
            name: name.into(),
            points,
            role,
        }
    }

    /// The delay that the host alone causes, as far as `nines_max`.
    #[must_use]
    pub fn of_floor(name: &str, floor: &Floor, nines_max: f64, role: Role) -> Self {
        let points = grid(nines_max).map(|(nines, q)| (nines, floor.at(q) as f64 / 1e3));
        // A logarithmic axis has no zero: the floor begins where it is felt.
        let points = points.filter(|&(_, us)| us > 0.0).collect();
        Self {
            name: name.into(),
            points,
            role,
        }
    }
}

/// The spectrum of every histogram `x` that has a companion `x.sent`, by its id.
#[must_use]
pub fn spectra(report: &Report) -> Vec<(&str, Vec<Curve>)> {
    let floor = Floor::slowest(&report.host_floor);
    let paired = report.histograms.iter().filter_map(|(id, intended)| {
        let sent = report.histograms.get(&format!("{id}.sent"))?;
        Some((
            id,
            Latency::from_dump(intended).ok()?,
            Latency::from_dump(sent).ok()?,
        ))
    });
    let curves = paired.map(|(id, intended, sent)| {
        let intended = Curve::of_latency("from the intended start", &intended, Role::Intended);
        let nines_max = intended.points.last().map_or(1.0, |point| point.0);
        let mut curves = vec![
            intended,
            Curve::of_latency("from the send", &sent, Role::Sent),
        ];
        if let Some(floor) = &floor {
            curves.push(Curve::of_floor(
                "the host alone",
                floor,
                nines_max,
                Role::Host,
            ));
        }
        (id.as_str(), curves)
    });
    curves.collect()
}

fn grid(end: f64) -> impl Iterator<Item = (f64, f64)> {
    let step = 1.0 / f64::from(POINTS_PER_NINE);
    (0..POINTS_PER_NINE * 9)
        .map(move |i| f64::from(i) * step)
        .take_while(move |&nines| nines <= end)
        .map(|nines| (nines, 1.0 - 10f64.powf(-nines)))
}

/// Draws the curves into one SVG document.
///
/// # Errors
/// When the backend fails.
pub fn spectrum(title: &str, curves: &[Curve]) -> Result<String, DrawError> {
    let mut svg = String::new();
    draw(title, curves, &mut svg).map_err(|e| DrawError(e.to_string()))?;
    Ok(svg)
}

fn draw(title: &str, curves: &[Curve], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let nines_max = all().map(|p| p.0).fold(1.0, f64::max);
    let low = all()
        .map(|p| p.1)
        .filter(|us| *us > 0.0)
        .fold(f64::INFINITY, f64::min);
    let high = all().map(|p| p.1).fold(1.0, f64::max);
    let low = if low.is_finite() { low * 0.8 } else { 0.1 };
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(
            0.0..nines_max,
            (low..high.max(low * 10.0) * 1.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("latency, us")
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|us| super::model::show(*us))
        .max_light_lines(1)
        .label_style(("sans-serif", 15))
        .draw()?;
    for curve in curves {
        let colour = curve.role.colour();
        chart
            .draw_series(LineSeries::new(
                curve.points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}

/// 0 -> 0 %, 1 -> 90 %, 2 -> 99 %, 2.5 -> 99.68 %.
fn percentile(nines: f64) -> String {
    let share = 100.0 * (1.0 - 10f64.powf(-nines));
    let decimals = (nines - 2.0).ceil().clamp(0.0, 7.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 7"
    )]
    let decimals = decimals as usize;
    format!("{share:.decimals$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_is_one_svg_document_with_every_curve() {
        let mut latency = Latency::new();
        (1..=100_000).for_each(|i| latency.record(i * 100));
        let curve = Curve::of_latency("intended", &latency, Role::Intended);
        assert!(
            (curve.points.last().unwrap().0 - 4.0).abs() < 0.05,
            "10 of 100,000 lie beyond"
        );
        let svg = spectrum("test", &[curve]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("intended") && svg.contains("99.9 %"), "{svg}");
    }

    #[test]
    fn nothing_measured_is_still_a_document() {
        assert!(spectrum("empty", &[]).unwrap().contains("</svg>"));
    }
}
