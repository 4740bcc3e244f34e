//! Other runtimes beside ours, round by round: ours, theirs, ours, theirs. What the host does to
//! one it does to the other, so the ratio of a pair says more than either value.

use std::path::Path;
use std::time::Duration;

use super::{Scenario, ScenarioError};
use crate::peers::beam::{self, Beam};
use crate::peers::{CRATES, Round};
use crate::plan::{Phase, Plan};
use crate::process::{Child, ProcessError};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::{Better, Unit};
use crate::report::peers::{OURS, RATIO, best, id};
use crate::stats::median;
use crate::workload::Case;

/// How long a round may take, its process included.
const ROUND_WITHIN: Duration = Duration::from_secs(120);

pub(super) struct Peers;

impl Scenario for Peers {
    fn id(&self) -> &'static str {
        "peers"
    }

    fn describe(&self) -> &'static str {
        "the same work on tokio, actix, ractor, kameo and the BEAM, in turn with ours, one CPU"
    }

    fn phases(&self) -> &'static [Phase] {
        &[]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let beam = Beam::find(&plan.out).map_err(ScenarioError::Host)?;
        match &beam {
            Some(beam) => recorder.note(format!(
                "peers: {} OTP {}: {}",
                beam::NAME,
                beam.version,
                beam::MODE
            )),
            None => recorder.note("peers: no BEAM here: erl is not in PATH"),
        }
        for peer in CRATES {
            let (name, version, mode) = (peer.name, peer.version(), peer.mode);
            recorder.note(format!("peers: {name} {version}: {mode}"));
        }
        let cpu = plan.cpus.server.first().copied().unwrap_or(0);
        let mut broken = None;
        for case in Case::ALL {
            let turns = Turns {
                plan,
                cpu,
                case,
                amount: case.amount(plan.depth()),
                rounds: plan.rounds(3, 9),
                beam: beam.as_ref(),
            };
            // A case that ours fails is an error in the end; the others still say something.
            if let Err(why) = turns.record(recorder, progress) {
                broken = broken.or(Some(why));
            }
        }
        broken.map_or(Ok(()), Err)
    }
}

/// One case on all runtimes.
struct Turns<'a> {
    plan: &'a Plan,
    cpu: usize,
    case: Case,
    amount: u64,
    rounds: usize,
    beam: Option<&'a Beam>,
}

/// The rounds of ours and theirs, each the metrics of the case.
type Pairs = Vec<(Vec<f64>, Vec<f64>)>;

impl Turns<'_> {
    fn record(&self, recorder: &mut Recorder, progress: &Progress) -> Result<(), ScenarioError> {
        let crates = CRATES.iter().map(|peer| (peer.name, true));
        let beam = self.beam.map(|_| (beam::NAME, false));
        let mut found = Vec::new();
        for (runtime, is_crate) in crates.chain(beam) {
            progress.doing(format!("peers: {:?} of {runtime}", self.case));
            match self.pairs(runtime)? {
                Ok(pairs) => found.push((runtime, is_crate, pairs)),
                // What fails is theirs, and says something of its own.
                Err(why) => recorder.note(format!("peers: {runtime}, {:?}: {why}", self.case)),
            }
        }
        for (index, &(metric, unit)) in self.case.metrics().iter().enumerate() {
            record_metric(recorder, &found, index, metric, unit);
        }
        Ok(())
    }

    /// Ours, theirs, ours, theirs; what is wrong with ours ends the case.
    fn pairs(&self, runtime: &str) -> Result<Result<Pairs, ProcessError>, ScenarioError> {
        let mut pairs = Vec::new();
        for _ in 0..self.rounds {
            let ours = self.round(OURS)?;
            match self.round(runtime) {
                // It lacks what the case takes.
                Ok(theirs) if theirs.is_empty() => break,
                Ok(theirs) => pairs.push((ours, theirs)),
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(pairs))
    }

    /// One round in a process of its own, on the one CPU.
    fn round(&self, runtime: &str) -> Result<Vec<f64>, ProcessError> {
        if runtime == beam::NAME {
            let round = self
                .beam
                .and_then(|beam| beam.round(self.case, self.amount));
            let Some(command) = round else {
                return Ok(Vec::new());
            };
            let mut child = Child::spawn(runtime, command, &[self.cpu])?;
            return child.read_json(ROUND_WITHIN);
        }
        own_round(&self.plan.exe, self.cpu, runtime, self.case, self.amount)
    }
}

/// A round of a runtime that is built into this program.
fn own_round(
    exe: &Path,
    cpu: usize,
    runtime: &str,
    case: Case,
    amount: u64,
) -> Result<Vec<f64>, ProcessError> {
    let garbled = |reason: String| ProcessError::Garbled {
        name: format!("peer {runtime}"),
        line: format!("{case:?}"),
        reason,
    };
    let round = Round {
        runtime: runtime.into(),
        case,
        amount,
        cpu: u32::try_from(cpu).unwrap_or(0),
    };
    let spec = serde_json::to_string(&round).map_err(|e| garbled(e.to_string()))?;
    let mut child = Child::spawn_own(exe, &["peer", "--spec", &spec], &[cpu])?;
    let answer: Result<Vec<f64>, String> = child.read_json(ROUND_WITHIN)?;
    answer.map_err(garbled)
}

/// What each runtime took, how many times better ours is, and than the best of the crates.
fn record_metric(
    recorder: &mut Recorder,
    found: &[(&str, bool, Pairs)],
    index: usize,
    metric: &str,
    unit: Unit,
) {
    let mut ours: Vec<f64> = Vec::new();
    let mut closest: Option<Vec<f64>> = None;
    for (runtime, is_crate, pairs) in found {
        let both: Vec<(f64, f64)> = pairs
            .iter()
            .filter_map(|(own, their)| Some((*own.get(index)?, *their.get(index)?)))
            .collect();
        if both.is_empty() {
            continue;
        }
        ours.extend(both.iter().map(|pair| pair.0));
        let theirs: Vec<f64> = both.iter().map(|pair| pair.1).collect();
        let n = theirs.len() as u64;
        recorder.samples(&id(runtime, metric), &theirs, unit, n);
        let times: Vec<f64> = both
            .iter()
            .map(|&(own, their)| better(unit, own, their))
            .collect();
        recorder.samples(
            &format!("{}{RATIO}", id(runtime, metric)),
            &times,
            Unit::Ratio,
            n,
        );
        if *is_crate
            && closest
                .as_ref()
                .is_none_or(|all| median(&times) < median(all))
        {
            closest = Some(times);
        }
    }
    if let Some(times) = closest {
        recorder.samples(&best(metric), &times, Unit::Ratio, times.len() as u64);
    }
    if !ours.is_empty() {
        recorder.samples(&id(OURS, metric), &ours, unit, ours.len() as u64);
    }
}

/// How many times better `ours` is than `theirs`.
fn better(unit: Unit, ours: f64, theirs: f64) -> f64 {
    match unit.better() {
        Some(Better::Higher) => ours / theirs,
        _ => theirs / ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_crate_is_the_one_closest_to_ours() {
        let pairs = |ours: f64, theirs: f64| vec![(vec![ours], vec![theirs]); 3];
        let found = [
            ("tokio", true, pairs(10.0, 40.0)),
            ("kameo", true, pairs(10.0, 200.0)),
            // Not a crate, and one that lacks the case.
            ("beam", false, pairs(10.0, 20.0)),
            ("actix", true, Vec::new()),
        ];
        let mut recorder = Recorder::default();
        record_metric(&mut recorder, &found, 0, "mailbox.tell.ns", Unit::Ns);
        let value = |id: &str| recorder.metrics[id].value;
        assert!((value("peers.best.mailbox.tell.ns.ratio") - 4.0).abs() < 1e-9);
        assert!((value("peers.beam.mailbox.tell.ns.ratio") - 2.0).abs() < 1e-9);
        assert_eq!(recorder.metrics["peers.ninefold.mailbox.tell.ns"].n, 9);
        assert!(!recorder.metrics.contains_key("peers.actix.mailbox.tell.ns"));
        assert!((better(Unit::PerSecond, 6.0, 2.0) - 3.0).abs() < 1e-9);
    }
}
