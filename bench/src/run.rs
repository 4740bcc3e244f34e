//! From a command to an exit code: run the scenarios, judge, write, print.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ninefold_tuning::Facts;
use sha2::{Digest as _, Sha256};

use crate::cli::Options;
use crate::env::capture::Environment;
use crate::env::fitness::Signs;
use crate::gate::slo::{BUILT_IN, Findings, Policy, SloBook, SloError};
use crate::gate::verdict::Verdict;
use crate::gate::{baseline, claim};
use crate::interrupt;
use crate::measure::clock::{self, DriftWatch};
use crate::measure::hiccup::Floor;
use crate::plan::{CpuPlan, Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::{Report, RunInfo, SCHEMA, Validity};
use crate::report::{history, html, markdown, svg, terminal};
use crate::scenario::{self, Scenario};

/// Deadline against which hiccups are weighed when no claim names one, in ns.
const DEADLINE_DEFAULT_NS: u64 = 5_000_000;

/// Why the suite could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file could not be read or written.
    #[error("{action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A stored report cannot be understood.
    #[error("{path}: wanted a report of schema {SCHEMA}, found {reason}")]
    Report {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The objectives file is wrong.
    #[error(transparent)]
    Slo(#[from] SloError),
    /// An option names something that does not exist.
    #[error("{option}: wanted one of {known}, found {found:?}")]
    Unknown {
        /// The option.
        option: &'static str,
        /// What there is.
        known: String,
        /// What was given.
        found: String,
    },
    /// No scenario could run.
    #[error("no scenario ran: {0}")]
    Nothing(String),
}

/// Runs the scenarios of `phase` and returns the exit code.
///
/// # Errors
/// When nothing could be run, or the report cannot be written.
pub fn suite(phase: Phase, options: &Options) -> Result<u8, RunError> {
    let scenarios = if options.only.is_empty() {
        let mut scenarios = scenario::all();
        scenarios.retain(|scenario| scenario.phases().contains(&phase));
        scenarios
    } else {
        choose("--only", &options.only)?
    };
    let report = conduct(phase, options, &scenarios, !options.only.is_empty())?;
    publish(&to_json(&report), &terminal::summary(&report), options)?;
    Ok(report.exit_code)
}

/// Runs the scenarios and groups that `names` says, as long as those of `phase` take, shows every
/// metric, and returns the exit code.
///
/// # Errors
/// When a name is unknown, nothing could be run, or the report cannot be written.
pub fn named(names: &[String], phase: Phase, options: &Options) -> Result<u8, RunError> {
    let names = [names, &options.only].concat();
    let report = conduct(phase, options, &choose("run", &names)?, true)?;
    let shown = terminal::metrics(&report) + &terminal::summary(&report);
    publish(&to_json(&report), &shown, options)?;
    Ok(report.exit_code)
}

/// Measures, judges, and writes everything into the report's directory.
fn conduct(
    phase: Phase,
    options: &Options,
    scenarios: &[Box<dyn Scenario>],
    partial: bool,
) -> Result<Report, RunError> {
    let book = read_book(options)?;
    let mut report = measure(phase, options, &book, scenarios, partial)?;
    let stored = options.out.join("baseline.json");
    if phase != Phase::Baseline && stored.exists() {
        // Only an explicit `compare` gates: drift of the host since then is not in its intervals.
        report.comparison = Some(baseline::compare(&read_report(&stored)?, &report));
    }
    fs::create_dir_all(&options.out).map_err(file("create", &options.out))?;
    write_renderings(&report, &options.out)?;
    let json = write_document(&report, &options.out.join("report.json"))?;
    if phase == Phase::Baseline {
        write_file(&stored, &json)?;
    }
    history::append(&report, &options.out).map_err(file("append to", &options.out))?;
    Ok(report)
}

/// Compares two stored reports and returns the exit code.
///
/// # Errors
/// When a report cannot be read.
pub fn compare(a: &Path, b: &Path, options: &Options) -> Result<u8, RunError> {
    let comparison = baseline::compare(&read_report(a)?, &read_report(b)?);
    let json = to_json(&comparison);
    publish(&json, &terminal::comparison(&comparison), options)?;
    Ok(comparison.verdict.exit_code())
}

/// Renders a stored report again and returns its exit code; with `page` into that one file only.
///
/// # Errors
/// When the report cannot be read or the renderings cannot be written.
pub fn render(path: &Path, page: Option<&Path>, options: &Options) -> Result<u8, RunError> {
    let report = read_report(path)?;
    if let Some(page) = page {
        write_file(page, &html::render(&report))?;
    } else {
        fs::create_dir_all(&options.out).map_err(file("create", &options.out))?;
        write_renderings(&report, &options.out)?;
    }
    publish(&to_json(&report), &terminal::summary(&report), options)?;
    Ok(report.exit_code)
}

fn choose(option: &'static str, names: &[String]) -> Result<Vec<Box<dyn Scenario>>, RunError> {
    scenario::named(names).map_err(|found| {
        let groups = scenario::GROUPS.iter().map(|(name, _)| *name);
        let all = scenario::all();
        let known = all.iter().map(|scenario| scenario.id()).chain(groups);
        RunError::Unknown {
            option,
            known: known.collect::<Vec<_>>().join(", "),
            found: found.to_owned(),
        }
    })
}

fn read_book(options: &Options) -> Result<SloBook, RunError> {
    let text = match &options.slo {
        Some(path) => fs::read_to_string(path).map_err(file("read", path))?,
        None => BUILT_IN.to_owned(),
    };
    let book = SloBook::parse(&text)?;
    if let Some(found) = &options.profile
        && !book.profiles().any(|name| name == found)
    {
        let known = book.profiles().collect::<Vec<_>>().join(", ");
        return Err(RunError::Unknown {
            option: "--profile",
            known,
            found: found.clone(),
        });
    }
    Ok(book)
}

fn measure(
    phase: Phase,
    options: &Options,
    book: &SloBook,
    scenarios: &[Box<dyn Scenario>],
    partial: bool,
) -> Result<Report, RunError> {
    let exe = std::env::current_exe().map_err(file("find", Path::new("this program")))?;
    if let Err(e) = interrupt::watch() {
        eprintln!("ninefold-bench: Ctrl-C will leave no report: {e}");
    }
    let before = Facts::capture();
    let plan = Plan {
        phase,
        seconds: options.seconds,
        rate: options.rate,
        connections: options.connections,
        seed: options.seed,
        cpus: CpuPlan::of_host(&before),
        exe,
        out: options.out.clone(),
        claims: book.claim.clone(),
    };
    let (watch, started_ns) = (DriftWatch::start(), clock::wall_ns());
    let mut recorder = Recorder::default();
    let (ran, skipped) = run_all(scenarios, &plan, &mut recorder, options)?;
    let drift = watch.finish();
    let run = run_info(&plan, started_ns, drift.elapsed_ns, ran);
    let deadline_ns = book
        .claim
        .iter()
        .map(crate::gate::slo::ClaimTerms::deadline_ns)
        .min();
    let environment = Environment::describe(&Signs {
        before: &before,
        after: &Facts::capture(),
        cpus: &plan.cpus,
        hiccups: &recorder.hiccups,
        quiet_pressure_share: recorder.quiet_pressure_share,
        clock: &drift,
        deadline_ns: deadline_ns.unwrap_or(DEADLINE_DEFAULT_NS),
    });
    let validity = Validity {
        clock: drift,
        clock_cost: recorder.clock,
        checks: std::mem::take(&mut recorder.checks),
    };
    let policy = Policy {
        profile: options.profile.clone(),
        strict: options.strict,
        fit_host: environment.fitness.is_fit(),
        phase,
        partial,
    };
    Ok(judge(
        book,
        &policy,
        recorder,
        Found {
            run,
            environment,
            validity,
            skipped,
        },
    ))
}

/// Runs one scenario after another; one that cannot run does not keep the others from it. Once the
/// run is to end, those that are left are skipped.
fn run_all(
    scenarios: &[Box<dyn Scenario>],
    plan: &Plan,
    recorder: &mut Recorder,
    options: &Options,
) -> Result<(Vec<String>, BTreeMap<String, String>), RunError> {
    let progress = Progress::new(scenarios.len() as u64, !options.no_progress);
    let (mut ran, mut skipped) = (Vec::new(), BTreeMap::new());
    for scenario in scenarios {
        if interrupt::asked() {
            skipped.insert(
                scenario.id().to_owned(),
                "the run was interrupted".to_owned(),
            );
            continue;
        }
        progress.doing(scenario.id());
        match scenario.run(plan, recorder, &progress) {
            Ok(()) => ran.push(scenario.id().to_owned()),
            Err(e) => {
                progress.say(&format!("{}: {e}", scenario.id()));
                skipped.insert(scenario.id().to_owned(), e.to_string());
            }
        }
        progress.step();
    }
    progress.finish();
    if interrupt::asked() {
        recorder.note("interrupted: what was measured until then is all there is");
    } else if ran.is_empty() {
        let reasons: Vec<_> = skipped
            .iter()
            .map(|(id, why)| format!("{id}: {why}"))
            .collect();
        return Err(RunError::Nothing(reasons.join("; ")));
    }
    Ok((ran, skipped))
}

/// What a run found beside its metrics.
struct Found {
    run: RunInfo,
    environment: Environment,
    validity: Validity,
    skipped: BTreeMap<String, String>,
}

fn judge(book: &SloBook, policy: &Policy, recorder: Recorder, found: Found) -> Report {
    let floor = Floor::slowest(&recorder.hiccups);
    let findings = Findings {
        metrics: &recorder.metrics,
        validity: &found.validity,
        floor: floor.as_ref(),
    };
    let slo = book.judge(policy, findings);
    let claims: Vec<_> = book
        .claim
        .iter()
        .filter_map(|terms| {
            let evidence = *recorder.evidence.get(&terms.scenario)?;
            let objection = found.validity.objection(&terms.scenario);
            Some(claim::judge(
                terms,
                evidence,
                objection,
                policy.strict || policy.fit_host,
            ))
        })
        .collect();
    let gating = slo.iter().filter(|row| row.gates).map(|row| row.verdict);
    let mut verdicts: Vec<_> = gating
        .chain(claims.iter().filter(|row| row.gates).map(|row| row.verdict))
        .collect();
    if !found.validity.clock.sound() {
        verdicts.push(Verdict::Invalid);
    }
    if !found.skipped.is_empty() {
        verdicts.push(Verdict::Inconclusive);
    }
    let verdict = Verdict::worst(verdicts);
    Report {
        schema: SCHEMA.into(),
        run: found.run,
        verdict,
        exit_code: verdict.exit_code(),
        metrics: recorder.metrics,
        comparison: None,
        claims,
        slo,
        environment: found.environment,
        validity: found.validity,
        host_floor: recorder.hiccups,
        histograms: recorder.histograms,
        skipped: found.skipped,
        notes: recorder.notes,
    }
}

fn run_info(plan: &Plan, started_ns: u64, elapsed_ns: u64, scenarios: Vec<String>) -> RunInfo {
    let started = jiff::Timestamp::from_nanosecond(started_ns.into()).unwrap_or_default();
    let binary = fs::read(&plan.exe).ok();
    let hash = |bytes: Vec<u8>| {
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        binary_sha256: binary.map(hash),
        started: format!("{started:.0}"),
        seconds: elapsed_ns as f64 / 1e9,
        phase: plan.phase.name().into(),
        scenarios,
        seed: plan.seed,
        build: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
        .into(),
    }
}

/// Writes report.html, report.md and the drawings that it shows.
fn write_renderings(report: &Report, dir: &Path) -> Result<(), RunError> {
    let mut plots = Vec::new();
    for (id, curves) in svg::spectra(report) {
        let file_name = format!("latency-{}.svg", id.replace('.', "-"));
        match svg::spectrum(id, &curves) {
            Ok(drawing) => {
                write_file(&dir.join(&file_name), &drawing)?;
                plots.push((format!("latency spectrum of {id}"), file_name));
            }
            Err(e) => eprintln!("ninefold-bench: {e}"),
        }
    }
    write_file(&dir.join("report.html"), &html::render(report))?;
    write_file(&dir.join("report.md"), &markdown::render(report, &plots))
}

fn write_document(report: &Report, path: &Path) -> Result<String, RunError> {
    let json = to_json(report);
    write_file(path, &json)?;
    Ok(json)
}

/// The document where `--json` wants it; the table on the stream that is left.
pub(crate) fn publish(json: &str, table: &str, options: &Options) -> Result<(), RunError> {
    match &options.json {
        Some(path) if path.as_os_str() == "-" => {
            print!("{json}");
            eprint!("{table}");
        }
        Some(path) => {
            write_file(path, json)?;
            print!("{table}");
        }
        None => print!("{table}"),
    }
    Ok(())
}

fn read_report(path: &Path) -> Result<Report, RunError> {
    let text = fs::read_to_string(path).map_err(file("read", path))?;
    let wrong = |reason: String| RunError::Report {
        path: path.into(),
        reason,
    };
    let report: Report = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if report.schema == SCHEMA {
        Ok(report)
    } else {
        Err(wrong(report.schema))
    }
}

/// A document as text.
pub(crate) fn to_json(document: &impl serde::Serialize) -> String {
    // Documents are maps with string keys: serialising them cannot fail.
    let mut json = serde_json::to_string_pretty(document).unwrap_or_default();
    json.push('\n');
    json
}

fn write_file(path: &Path, text: &str) -> Result<(), RunError> {
    fs::write(path, text).map_err(file("write", path))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
