//! What is drawn of the run: latency, isolation, the floor of HTTP, memory, other runtimes.

use maud::{Markup, html};

use super::{absent, scrolled};
use crate::measure::hiccup::Floor;
use crate::measure::hist::Latency;
use crate::report::chart::{self, Bar};
use crate::report::model::{Metric, Report};
use crate::report::svg::{self, Curve, Role};
use crate::report::{peers as runtimes, rows};

const AXES: &str = "Upwards latency, to the right the share of requests that is at most as late, \
                    one more nine at each line. A curve ends where fewer than ten values lie \
                    beyond.";

pub(super) fn latency(report: &Report) -> Markup {
    // Isolation has a section of its own.
    let here = |id: &str| !id.starts_with("isolation.");
    let spectra = svg::spectra(report);
    let table = rows::latency(report, here);
    if table.rows.is_empty() {
        return absent("No latency was part of this run.");
    }
    html! {
        @if !spectra.is_empty() { p { (AXES) } }
        div.figures {
            @for (id, curves) in spectra.iter().filter(|(id, _)| here(id)) {
                (chart::spectrum(id, curves))
            }
        }
        (scrolled("Latency", &table))
        p {
            "In us; in brackets the 95 % interval from order statistics, for independent values. A \
             percentile with fewer than ten values beyond it is not resolved."
        }
    }
}

pub(super) fn isolation(report: &Report) -> Markup {
    let table = rows::latency(report, |id| id.starts_with("isolation."));
    if table.rows.is_empty() {
        return absent("Isolation was not part of this run.");
    }
    let floor = Floor::slowest(&report.host_floor);
    let drawn = |title: &str, shown: &[(&str, &str, Role)]| {
        let curve = |&(id, name, role): &(&str, &str, Role)| {
            let latency = Latency::from_dump(report.histograms.get(id)?).ok()?;
            Some(Curve::of_latency(name, &latency, role))
        };
        let mut curves: Vec<_> = shown.iter().filter_map(curve).collect();
        let ends = curves.iter().filter_map(|curve| curve.points.last());
        let nines = ends.map(|point| point.0).fold(0.0, f64::max);
        if nines == 0.0 {
            return html! {};
        }
        curves.extend(
            floor
                .as_ref()
                .map(|floor| Curve::of_floor("the host alone", floor, nines, Role::Host)),
        );
        chart::spectrum(title, &curves)
    };
    html! {
        p {
            "While 500 pairs of actors throw 4,000 messages on the shard: a health check of the \
             control plane over TCP, and casts to idle actors of that shard."
        }
        div.figures {
            (drawn("control plane, GET /health", &[
                ("isolation.control", "from the intended start", Role::Control),
            ]))
            (drawn("casts from the shard beside it", &[
                ("isolation.high", "high class", Role::High),
                ("isolation.normal", "normal class", Role::Normal),
            ]))
            (drawn("high class, from inside the flooded shard", &[
                ("isolation.high_inside", "to an idle actor", Role::High),
                ("isolation.busy_inside", "to a flooded actor", Role::Normal),
            ]))
        }
        (scrolled("Isolation", &table))
    }
}

/// The bars of the metrics that were measured.
fn measured(report: &Report, shown: &[(&str, &str, bool)]) -> Vec<Bar> {
    let bar = |&(id, name, floor): &(&str, &str, bool)| {
        Some(Bar::of(name, report.metrics.get(id)?, floor))
    };
    shown.iter().filter_map(bar).collect()
}

const CALLS: [(&str, &str, bool); 5] = [
    ("http.calls_per_s", "tools/call, modern", false),
    ("http.legacy.calls_per_s", "tools/call, legacy", false),
    ("http.floor.calls_per_s", "floor: fixed answer, epoll", true),
    (
        "http.c1024.calls_per_s",
        "tools/call, 1,024 connections",
        false,
    ),
    (
        "http.raw_ring.calls_per_s",
        "floor: raw ring, 1,024 connections",
        true,
    ),
];
const COST: [(&str, &str, bool); 5] = [
    ("http.cpu_us_per_call", "tools/call, modern", false),
    ("http.legacy.cpu_us_per_call", "tools/call, legacy", false),
    (
        "http.floor.cpu_us_per_call",
        "floor: fixed answer, epoll",
        true,
    ),
    (
        "http.c1024.cpu_us_per_call",
        "tools/call, 1,024 connections",
        false,
    ),
    (
        "http.raw_ring.cpu_us_per_call",
        "floor: raw ring, 1,024 connections",
        true,
    ),
];

pub(super) fn http(report: &Report) -> Markup {
    let (calls, cost) = (measured(report, &CALLS), measured(report, &COST));
    if calls.is_empty() && cost.is_empty() {
        return absent("HTTP was not part of this run.");
    }
    html! {
        div.figures {
            @if !calls.is_empty() {
                (chart::bars("calls a second on one core: more is better", &calls))
            }
            @if !cost.is_empty() {
                (chart::bars("CPU time of a call: less is better", &cost))
            }
        }
        p {
            "Grey is the floor: a server that answers the same bytes and does nothing else. The \
             thin line spans the samples, the bar is their median."
        }
        @let ratios = rows::metrics(report, |id| id.starts_with("http.") && id.contains("over_"));
        @if !ratios.rows.is_empty() { (scrolled("HTTP over its floor", &ratios)) }
    }
}

const MEMORY: [(&str, &str, bool); 4] = [
    ("conn.silent.user_bytes", "silent: never spoke", false),
    ("conn.idle.user_bytes", "idle after a call", false),
    (
        "conn.stream.user_bytes",
        "with a session and its stream",
        false,
    ),
    ("conn.node.user_bytes", "in the crowd of c1m", false),
];

pub(super) fn memory(report: &Report) -> Markup {
    let bars = measured(report, &MEMORY);
    if bars.is_empty() {
        return absent("Connections were not part of this run.");
    }
    html! {
        div.figures { (chart::bars("growth of the node's RSS for a connection", &bars)) }
        (scrolled("Connections", &rows::metrics(report, |id| id.starts_with("conn."))))
    }
}

pub(super) fn peers(report: &Report) -> Markup {
    let table = rows::peers(report);
    if table.rows.is_empty() {
        return absent("Other runtimes were not part of this run: run peers, feature peers.");
    }
    let best: Vec<_> = report.metrics.iter().filter_map(times_the_best).collect();
    html! {
        @if !best.is_empty() {
            div.figures { (chart::bars("times better than the best of the crates", &best)) }
        }
        (scrolled("Other runtimes", &table))
        p { "Times in brackets: " (runtimes::LEGEND) "." }
    }
}

/// `peers.best.savina.bank.ns.ratio` as the bar `savina.bank`.
fn times_the_best((id, metric): (&String, &Metric)) -> Option<Bar> {
    let case = id.strip_prefix(runtimes::PREFIX)?.strip_prefix("best.")?;
    let case = case.strip_suffix(runtimes::RATIO)?;
    let mut bar = Bar::of(case, metric, false);
    bar.text = format!("{:.2} times", metric.value);
    Some(bar)
}
