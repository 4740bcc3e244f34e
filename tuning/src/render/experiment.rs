//! What an experiment has shown: a table, a heat map, a file of flags.

use std::io::{self, Write};

use ninefold_tuning::experiment::effect::Verdict;
use ninefold_tuning::experiment::matrix::{Fitting, Matrix, NotRun};
use ninefold_tuning::experiment::metric::Better;
use ninefold_tuning::experiment::trial::{CellResult, Outcome};
use plotters::prelude::*;

use super::blank_table;

/// Size of a cell of the heat map, and of the room for names, in pixels.
const CELL: (i32, i32) = (150, 56);
const NAMES: (i32, i32) = (170, 70);

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The combinations that would run.
pub(crate) fn fitting(matrix: &Matrix, of: &Fitting, out: &mut dyn Write) -> io::Result<()> {
    let mut table = blank_table(&["Combination", "Flags"]);
    for cell in &of.cells {
        table.add_row([cell.name(), cell.flags(&matrix.factors)]);
    }
    writeln!(out, "{table}")?;
    not_run(&of.not_run, out)?;
    writeln!(
        out,
        "{} combinations, {} rounds and {} to warm up. Nothing was run.",
        of.cells.len(),
        matrix.repeats,
        matrix.warmup
    )
}

fn not_run(all: &[NotRun], out: &mut dyn Write) -> io::Result<()> {
    for of in all {
        writeln!(out, "Not run: {}: {}", of.name, of.why)?;
    }
    Ok(())
}

/// A row a combination, what was not run, and what to use.
pub(crate) fn table(of: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let heat = heats(of);
    let mut table = blank_table(&["", "Combination", "Median", "Change", "Interval", "Shown"]);
    for (at, result) in of.cells.iter().enumerate() {
        let effect = result.effect;
        let percent = |low: f64, high: f64| format!("{low:+.1} to {high:+.1} %");
        let interval = effect.map(|of| percent(of.change_percent.low, of.change_percent.high));
        table.add_row([
            shade(heat[at]).to_owned(),
            result.cell.name(),
            format!("{:.4}", median(&result.samples)),
            effect.map_or("-".to_owned(), |of| {
                format!("{:+.1} %", of.change_percent.mid)
            }),
            interval.unwrap_or("-".to_owned()),
            effect
                .map_or("compared with", |of| shown(of.verdict))
                .to_owned(),
        ]);
    }
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "Darker is worse. {} rounds, seed {}.",
        of.rounds, of.seed
    )?;
    if of.cut_short {
        writeln!(
            out,
            "The time was up before all rounds were run: --for gives it longer."
        )?;
    }
    not_run(&of.not_run, out)?;
    let why = match of.recommended {
        0 => "no other combination is shown to be better",
        _ => "shown to be better than the first",
    };
    writeln!(
        out,
        "Recommended: {} ({why}).",
        of.cells[of.recommended].cell.name()
    )
}

fn shown(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Same => "same",
        Verdict::Unclear => "unclear",
    }
}

/// How bad each cell is, from 0 for the best to 1 for the worst.
fn heats(of: &Outcome) -> Vec<f64> {
    let medians: Vec<_> = of.cells.iter().map(|of| median(&of.samples).ln()).collect();
    let low = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let high = medians.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let share = |of: f64| (of - low) / (high - low).max(1e-9);
    let better = of.matrix.better;
    let heat = |log: f64| match better {
        Better::Lower => share(log),
        Better::Higher => 1.0 - share(log),
    };
    medians.into_iter().map(heat).collect()
}

fn shade(heat: f64) -> &'static str {
    match heat {
        heat if heat < 0.25 => "░░",
        heat if heat < 0.5 => "▒▒",
        heat if heat < 0.75 => "▓▓",
        _ => "██",
    }
}

/// A file for a unit's `EnvironmentFile=`, with `ExecStart=ninefold serve $NINEFOLD_SERVE_FLAGS`.
pub(crate) fn env_file(of: &Outcome) -> String {
    let best = &of.cells[of.recommended].cell;
    format!(
        "# {}: {} of {} combinations, {} rounds, seed {}\n\
         # ExecStart=ninefold serve $NINEFOLD_SERVE_FLAGS\n\
         NINEFOLD_SERVE_FLAGS=\"{}\"\n",
        of.matrix.name,
        best.name(),
        of.cells.len(),
        of.rounds,
        of.seed,
        best.flags(&of.matrix.factors)
    )
}

/// The heat map as SVG: the first factor downwards, the others together across.
pub(crate) fn heat_map(of: &Outcome) -> Result<String, String> {
    let mut svg = String::new();
    draw(of, &mut svg).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(of: &Outcome, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let place = |result: &CellResult| match result.cell.levels.split_first() {
        Some((first, rest)) => (first.clone(), rest.join("/")),
        None => (String::new(), String::new()),
    };
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    for (row, column) in of.cells.iter().map(place) {
        if !rows.contains(&row) {
            rows.push(row);
        }
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let pixels = |count: usize, cell: i32, names: i32| -> Result<i32, Box<dyn std::error::Error>> {
        Ok(names + cell * i32::try_from(count)? + 10)
    };
    let width = pixels(columns.len(), CELL.0, NAMES.0)?;
    let height = pixels(rows.len(), CELL.1, NAMES.1)?;
    let size = (u32::try_from(width)?, u32::try_from(height)?);
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |what: String, at: (i32, i32), size: i32| {
        Text::new(what, at, ("sans-serif", size).into_font().color(&BLACK))
    };
    let title = format!(
        "{}: median, {} rounds; darker is worse",
        of.matrix.name, of.rounds
    );
    area.draw(&text(title, (10, 10), 16))?;
    for (at, row) in (0..).zip(&rows) {
        area.draw(&text(row.clone(), (10, NAMES.1 + at * CELL.1 + 20), 13))?;
    }
    for (at, column) in (0..).zip(&columns) {
        area.draw(&text(
            column.clone(),
            (NAMES.0 + at * CELL.0 + 6, NAMES.1 - 22),
            13,
        ))?;
    }
    for (at, (result, heat)) in of.cells.iter().zip(heats(of)).enumerate() {
        let (row, column) = place(result);
        let index = |all: &[String], one: &str| all.iter().position(|of| of == one).unwrap_or(0);
        let x = NAMES.0 + i32::try_from(index(&columns, &column))? * CELL.0;
        let y = NAMES.1 + i32::try_from(index(&rows, &row))? * CELL.1;
        let corners = [(x, y), (x + CELL.0 - 4, y + CELL.1 - 4)];
        // From nearly white to orange, on which black can still be read.
        let colour = HSLColor(0.08, 0.9, 0.95 - 0.35 * heat);
        area.draw(&Rectangle::new(corners, colour.filled()))?;
        let figure = format!("{:.4}", median(&result.samples));
        area.draw(&text(figure, (x + 8, y + 10), 13))?;
        let note = match result.effect {
            _ if at == of.recommended => "recommended",
            Some(effect) => shown(effect.verdict),
            None => "compared with",
        };
        area.draw(&text(note.to_owned(), (x + 8, y + 30), 11))?;
    }
    area.present()?;
    Ok(())
}
