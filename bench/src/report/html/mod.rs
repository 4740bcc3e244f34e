//! `report.html`: one file, no script, nothing fetched, rendered from the document and nothing
//! else.
//!
//! Whatever the document holds is text: the templates escape it, and the page's own policy forbids
//! scripts and any request.

mod figures;
mod judgement;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::model::Report;
use super::rows::{self, Table};

const STYLE: &str = include_str!("style.css");
/// No script, no request, no form; the style is the page's own.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";

/// The page of a report.
#[must_use]
pub fn render(report: &Report) -> String {
    let title = format!("Ninefold benchmark: {}", report.run.phase);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (judgement::verdict(report))
                    (contents())
                }
                main { (body(report)) }
            }
        }
    };
    page.into_string()
}

/// Id and title of every section, in the order of the page.
const SECTIONS: [(&str, &str); 14] = [
    ("claims", "Claims"),
    ("objectives", "Objectives"),
    ("host", "Host"),
    ("soundness", "Was the measurement sound"),
    ("latency", "Latency"),
    ("isolation", "Isolation under a flood"),
    ("http", "HTTP beside its floor"),
    ("memory", "Memory of a connection"),
    ("peers", "Other runtimes"),
    ("misses", "Misses"),
    ("baseline", "Against the stored baseline"),
    ("reproduce", "Reproduce"),
    ("limits", "What this does not show"),
    ("metrics", "All metrics"),
];

fn contents() -> Markup {
    html! {
        nav aria-label="Sections" {
            @for (id, title) in SECTIONS { a href={ "#" (id) } { (title) } " " }
        }
    }
}

fn body(report: &Report) -> Markup {
    let parts: [fn(&Report) -> Markup; SECTIONS.len()] = [
        judgement::claims,
        judgement::objectives,
        judgement::host,
        judgement::soundness,
        figures::latency,
        figures::isolation,
        figures::http,
        figures::memory,
        figures::peers,
        judgement::misses,
        judgement::baseline,
        judgement::reproduce,
        judgement::limits,
        |report| scrolled("All metrics", &rows::metrics(report, |_| true)),
    ];
    html! {
        @for ((id, title), part) in SECTIONS.into_iter().zip(parts) {
            section id=(id) {
                h2 { (title) }
                (part(report))
            }
        }
    }
}

/// A table in a box that scrolls by itself, so that the page never does sideways.
fn scrolled(name: &str, table: &Table) -> Markup {
    let number = |column: usize| {
        column > 0
            && table.rows.iter().all(|row| {
                let cell = row.get(column).map_or("", String::as_str);
                cell.starts_with(|c: char| c.is_ascii_digit() || c == '-') || cell == "not resolved"
            })
    };
    let class = |column: usize| number(column).then_some("number");
    html! {
        div.scroll tabindex="0" role="region" aria-label=(name) {
            table {
                thead {
                    tr {
                        @for (column, title) in table.header.iter().enumerate() {
                            th scope="col" class=[class(column)] { (title) }
                        }
                    }
                }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                (body_cell(column, table.code == Some(column), class(column), cell))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The first cell names its row; an interval behind a value stays in one piece.
fn body_cell(column: usize, code: bool, class: Option<&str>, text: &str) -> Markup {
    let shown = match text.split_once(" (") {
        Some((value, interval)) if class.is_some() => html! {
            (value) " " span.interval { "(" (interval) }
        },
        _ if code => html! { code { (text) } },
        _ => html! { (text) },
    };
    html! {
        @if column == 0 {
            th scope="row" { (shown) }
        } @else {
            td class=[class] { (shown) }
        }
    }
}

/// What stands where a part was not measured.
fn absent(what: &str) -> Markup {
    html! { p.none { (what) } }
}
