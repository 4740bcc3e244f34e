//! Plans, and what became of them, for people and for other tools.

use std::collections::BTreeMap;
use std::io::{self, Write};

use comfy_table::ColumnConstraint;
use ninefold_tuning::{Advice, Applied, By, Plan, RevertOutcome, Reverted, Step, sysctl_name};

use super::blank_table;

/// What to write, what else to do, and what it comes to.
pub(crate) fn table(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    if !plan.steps.is_empty() {
        let mut table = blank_table(&["Setting", "Level", "File", "Holds", "To write"]);
        for group in grouped(&plan.steps) {
            let first = group[0];
            let path = match group.len() {
                1 => first.path.clone(),
                many => format!("{} and {} alike", first.path, many - 1),
            };
            let (severity, found) = (first.severity.name(), first.found.as_str());
            table.add_row([&first.setting, severity, &path, found, &first.write]);
        }
        for column in table.column_iter_mut().take(2) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        writeln!(out, "{table}")?;
    }
    advice(&plan.advice, out)?;
    let profile = plan.profile.name();
    match (plan.steps.is_empty(), plan.advice.is_empty()) {
        (true, true) => write!(out, "Nothing to do for {profile}"),
        (true, false) => write!(out, "\nNo file to write for {profile}"),
        (false, _) => write!(out, "\n{} files to write for {profile}", plan.steps.len()),
    }?;
    writeln!(out, " (shards: {}, exit {}).", plan.shard_count, plan.exit)
}

/// Steps that differ in nothing but the file, as those of every CPU do.
fn grouped(steps: &[Step]) -> Vec<Vec<&Step>> {
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    for step in steps {
        let alike = |group: &&mut Vec<&Step>| {
            let first = group[0];
            (&first.setting, &first.found, &first.write)
                == (&step.setting, &step.found, &step.write)
        };
        match groups.last_mut().filter(alike) {
            Some(group) => group.push(step),
            None => groups.push(vec![step]),
        }
    }
    groups
}

fn advice(advice: &[Advice], out: &mut dyn Write) -> io::Result<()> {
    for (by, title) in [
        (By::Unit, "For the node's unit (plan --format systemd)"),
        (
            By::Boot,
            "For the kernel's command line, then a reboot (plan --format cmdline)",
        ),
        (By::Person, "For you"),
        (By::HostOperator, "For the operator of the host below"),
    ] {
        let mut these = advice.iter().filter(|of| of.by == by).peekable();
        if these.peek().is_some() {
            writeln!(out, "\n{title}:")?;
        }
        for one in these {
            writeln!(
                out,
                "  {:<20} {:<9} {}",
                one.setting,
                one.severity.name(),
                one.what
            )?;
        }
    }
    Ok(())
}

/// After the plan of an apply that was not told to write.
pub(crate) fn not_written(count: usize, out: &mut dyn Write) -> io::Result<()> {
    match count {
        0 => Ok(()),
        _ => writeln!(
            out,
            "Nothing was written: --yes writes it, `revert` undoes it."
        ),
    }
}

/// What was written, and what is left.
pub(crate) fn applied(
    plan: &Plan,
    applied: &Applied,
    after: &Plan,
    out: &mut dyn Write,
) -> io::Result<()> {
    for step in &plan.steps {
        if applied.written.contains(&step.path) {
            writeln!(
                out,
                "written   {:<20} {} = {} (was {})",
                step.setting, step.path, step.write, step.found
            )?;
        }
    }
    for path in &applied.already {
        writeln!(out, "already   {path}")?;
    }
    for (path, why) in &applied.refused {
        writeln!(out, "refused   {path}: {why}")?;
    }
    advice(&after.advice, out)?;
    match applied.journal {
        Some(id) => writeln!(
            out,
            "\n{} files written and verified; `ninefold-tune revert {id} --yes` undoes them \
             (exit {}).",
            applied.written.len(),
            after.exit
        ),
        None => writeln!(out, "\nNothing to write (exit {}).", after.exit),
    }
}

/// What was put back, or would be.
pub(crate) fn reverted(files: &[Reverted], written: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for file in files {
        *counts.entry(file.outcome.name()).or_default() += 1;
        let detail = file.detail.as_deref().map(|text| format!(" ({text})"));
        writeln!(
            out,
            "{:<9} {:<20} {} = {}{}",
            file.outcome.name(),
            file.setting,
            file.path,
            file.to,
            detail.unwrap_or_default()
        )?;
    }
    let all = |outcome| files.iter().all(|of| of.outcome == outcome);
    match files {
        [] => writeln!(out, "Nothing to revert: no apply is in force."),
        _ if all(RevertOutcome::Reset) => {
            writeln!(out, "Nothing to revert: a reboot has reset all of it.")
        }
        _ if all(RevertOutcome::Untouched) => writeln!(
            out,
            "Nothing to revert: every file holds what it held before, none had been written."
        ),
        _ => {
            let counts: Vec<_> = counts
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            match written {
                true => writeln!(out, "Reverted: {}.", counts.join(", ")),
                false => writeln!(
                    out,
                    "Would be: {}. Nothing was written: --yes writes it.",
                    counts.join(", ")
                ),
            }
        }
    }
}

/// The writes as a shell script; what it cannot do stands in it as remarks.
pub(crate) fn script(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "#!/bin/sh\n# ninefold-tune plan --profile {}: run as root.\n\
         # `ninefold-tune apply --yes` does the same with a journal, and so can undo it.\nset -eu",
        plan.profile.name()
    )?;
    for step in &plan.steps {
        let refusable = if step.may_refuse { " || true" } else { "" };
        writeln!(
            out,
            "\n# {} ({}), was {}; risk: {}\nprintf '%s\\n' {} > {}{refusable}",
            step.setting,
            step.severity.name(),
            one_line(&step.found),
            one_line(&step.risk),
            quoted(&step.write),
            quoted(&step.path)
        )?;
    }
    remarks(plan, out)
}

/// A file for /etc/sysctl.d.
pub(crate) fn sysctl(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "# /etc/sysctl.d/90-ninefold.conf, by ninefold-tune plan --profile {}",
        plan.profile.name()
    )?;
    for step in &plan.steps {
        match sysctl_name(&step.path) {
            Some(name) => writeln!(out, "# {}\n{name} = {}", step.setting, step.write)?,
            None => writeln!(
                out,
                "# {} is no sysctl; for /etc/tmpfiles.d: w {} - - - - {}",
                step.setting, step.path, step.write
            )?,
        }
    }
    Ok(())
}

/// A drop-in for the node's unit.
pub(crate) fn systemd(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "# ninefold.service.d/tuning.conf, by ninefold-tune plan --profile {}\n[Service]",
        plan.profile.name()
    )?;
    for one in plan.advice.iter().filter(|of| of.by == By::Unit) {
        writeln!(out, "# {}\n{}", one.setting, one.what)?;
    }
    Ok(())
}

/// Parameters for the kernel's command line.
pub(crate) fn cmdline(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let boot = plan.advice.iter().filter(|of| of.by == By::Boot);
    let parameters: Vec<_> = boot.map(|of| of.what.as_str()).collect();
    writeln!(out, "{}", parameters.join(" "))
}

fn remarks(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    for one in &plan.advice {
        writeln!(
            out,
            "\n# left to the {}: {}: {}",
            one.by.name(),
            one.setting,
            one_line(&one.what)
        )?;
    }
    Ok(())
}

/// What a host says must not end a remark and begin a command.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
