//! Reports for people.

pub(crate) mod experiment;
pub(crate) mod noise;
pub(crate) mod plan;
pub(crate) mod prove;

use std::io::{self, Write};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, LineStyle, Table};
use ninefold_tuning::setting::{Change, Setting};
use ninefold_tuning::{Facts, Finding, Level, Profile, Report, Status};

/// Where standard output is no terminal, as wide as our own source.
const WIDTH_DEFAULT: u16 = 100;

/// The host in two lines, a table of settings, what to do about them, the verdict.
pub(crate) fn report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    host(&report.facts, out)?;
    writeln!(out, "{}", table(report))?;
    remedies(report, out)?;
    verdict(report, out)
}

fn host(facts: &Facts, out: &mut dyn Write) -> io::Result<()> {
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let virt = &facts.virt;
    let layers = match (&virt.container, &virt.hypervisor) {
        (Some(container), Some(hypervisor)) => {
            format!("{container} container in {hypervisor} guest")
        }
        (Some(container), None) => format!("{container} container"),
        (None, Some(hypervisor)) => format!("{hypervisor} guest"),
        (None, None) => "bare metal".to_owned(),
    };
    let topology = &facts.cpu.topology;
    writeln!(
        out,
        "Host: {layers}, kernel {}",
        or_unknown(&facts.kernel.release)
    )?;
    writeln!(
        out,
        "CPUs: {} of {} allowed ({}); cores: {}; NUMA nodes: {}; {}",
        topology.allowed.len(),
        topology.online.len(),
        topology.allowed,
        topology.allowed_cores(),
        topology.node_count(),
        or_unknown(&facts.cpu.model),
    )
}

fn blank_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().copied());
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        table.force_no_tty();
    }
    if table.width().is_none() {
        table.set_width(WIDTH_DEFAULT);
    }
    table
}

fn table(report: &Report) -> Table {
    let mut table = blank_table(&["Setting", "Level", "Status", "Found", "Wanted"]);
    for finding in &report.settings {
        let found = finding
            .found
            .as_deref()
            .or(finding.reason.as_deref())
            .unwrap_or("-");
        table.add_row([
            Cell::new(&finding.id),
            Cell::new(finding.severity.name()),
            status(finding),
            Cell::new(found),
            Cell::new(&finding.wanted),
        ]);
    }
    // Names and states are never broken; values are.
    for column in table.column_iter_mut().take(3) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// Colour says what to look at first; the table leaves it out where there is no terminal.
fn status(finding: &Finding) -> Cell {
    let cell = Cell::new(finding.status.name());
    match (finding.status, finding.severity) {
        (Status::Ok, _) => cell.fg(Color::Green),
        (Status::Unsupported, _) | (_, Level::Ignored) => cell.add_attribute(Attribute::Dim),
        (_, Level::Required) => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        (_, Level::Advised) => cell.fg(Color::Yellow),
    }
}

fn remedies(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for (level, title) in [(Level::Required, "Required"), (Level::Advised, "Advised")] {
        let mut open = report
            .settings
            .iter()
            .filter(|finding| finding.severity == level && !finding.status.settled())
            .peekable();
        if open.peek().is_some() {
            writeln!(out, "\n{title}, and not met:")?;
        }
        for finding in open {
            let remedy = finding
                .remedy
                .as_deref()
                .unwrap_or("nothing can be done here");
            let reboot = if finding.reboot {
                " (takes a reboot)"
            } else {
                ""
            };
            writeln!(out, "  {:<20} {remedy}{reboot}", finding.id)?;
        }
    }
    Ok(())
}

fn verdict(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let profile = report.profile.name();
    let (required, advised) = (
        report.summary.required_unmet.len(),
        report.summary.advised_unmet.len(),
    );
    writeln!(out)?;
    match report.exit {
        0 => write!(out, "Fit for {profile}")?,
        3 => write!(
            out,
            "Fit for {profile}; {advised} advised settings are not met"
        )?,
        _ => write!(
            out,
            "Not fit for {profile}: {required} required and {advised} advised settings are not met"
        )?,
    }
    writeln!(
        out,
        " (shards: {}, exit {}).",
        report.shard_count, report.exit
    )
}

/// All there is to say of one setting.
pub(crate) fn explanation(
    setting: &Setting,
    here: &Finding,
    out: &mut dyn Write,
) -> io::Result<()> {
    let levels = Profile::ALL.map(|profile| {
        format!(
            "{} {}",
            profile.name(),
            profile.level(setting.severity).name()
        )
    });
    let found = here
        .found
        .as_deref()
        .or(here.reason.as_deref())
        .unwrap_or("-");
    writeln!(out, "{}\n\n{}\n", setting.id, setting.why)?;
    for (label, text) in [
        ("Here", format!("{} (found {found})", here.status.name())),
        ("Wanted", here.wanted.clone()),
        ("Read from", setting.source.to_owned()),
        (
            "Remedy",
            here.remedy
                .clone()
                .unwrap_or_else(|| setting.remedy.to_owned()),
        ),
        ("Change", change(setting)),
        ("Risk", setting.risk.to_owned()),
        (
            "Reboot",
            if setting.reboot { "yes" } else { "no" }.to_owned(),
        ),
        ("Levels", levels.join(", ")),
    ] {
        writeln!(out, "{label:<10} {text}")?;
    }
    Ok(())
}

/// By whom, and for files: which.
fn change(setting: &Setting) -> String {
    match &setting.change {
        Change::Files(targets) => {
            let paths: Vec<_> = targets.iter().map(|target| target.path).collect();
            format!("by `apply`, in {}", paths.join(" and "))
        }
        Change::Boot(_) => "by the kernel's command line and a reboot".to_owned(),
        Change::Unit(_) => "by the node's unit".to_owned(),
        Change::Person => "by a person".to_owned(),
    }
}
