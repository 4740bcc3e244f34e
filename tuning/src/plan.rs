//! What would make a host fit: files to write now, and what is left to a person, a unit, a boot or
//! the operator of the host below. A plan changes nothing.

use serde::{Deserialize, Serialize};

use crate::check::{CheckOptions, Context, Finding, Status};
use crate::facts::virt::HostKind;
use crate::facts::{Facts, Root};
use crate::profile::{Level, Profile};
use crate::setting::{self, Change, Form, Setting};

/// The name and version of the plan's shape.
pub const PLAN_SCHEMA: &str = "ninefold.tune.plan.v1";

/// The way from what a host is to what a profile wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// What the host is meant for.
    pub profile: Profile,
    /// The shards that were reckoned with.
    pub shard_count: usize,
    /// What kind of host it is, and so what may be written at all.
    pub host: HostKind,
    /// Files to write, in this order.
    pub steps: Vec<Step>,
    /// What no file written now puts right.
    pub advice: Vec<Advice>,
    /// The exit code of `ninefold-tune plan`: 0, 3, 4 or 5.
    pub exit: u8,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The setting that asks for it.
    pub setting: String,
    /// How much that counts under the profile.
    pub severity: Level,
    /// The file.
    pub path: String,
    /// How its values are spelt.
    pub form: Form,
    /// What it holds now.
    pub found: String,
    /// What to write.
    pub write: String,
    /// Whether the kernel may refuse this file and the rest still counts.
    pub may_refuse: bool,
    /// What it costs.
    pub risk: String,
}

/// What somebody must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// The setting that asks for it.
    pub setting: String,
    /// How much that counts under the profile.
    pub severity: Level,
    /// How it stands: `unsupported` counts for nothing, because it is not this host's.
    pub status: Status,
    /// Who can do it, and by what means.
    pub by: By,
    /// A parameter of the kernel, a directive of the unit, or a sentence.
    pub what: String,
    /// What it costs.
    pub risk: String,
}

/// Who puts a setting right that no file written now can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The next boot, by the kernel's command line.
    Boot,
    /// The node's unit, when it starts next.
    Unit,
    /// A person on this host.
    Person,
    /// The operator of the host that this one runs on.
    HostOperator,
}

impl By {
    /// The name in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Unit => "unit",
            Self::Person => "person",
            Self::HostOperator => "host operator",
        }
    }
}

/// Which settings to plan for.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Nothing but these, whatever the profile says of them; empty for what the profile asks for.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
}

/// Plans for the host below `root`, whose facts are `facts`.
///
/// Settings that the profile ignores are left alone, unless `choice` names them.
pub fn plan(root: &Root, facts: &Facts, options: &CheckOptions, choice: &Choice) -> Plan {
    let context = Context::new(facts, options);
    let (mut steps, mut advice) = (Vec::new(), Vec::new());
    for setting in setting::all() {
        let finding = context.judge(setting);
        let named = |ids: &[String]| ids.iter().any(|id| id == setting.id);
        let asked = choice.only.is_empty() && finding.severity != Level::Ignored;
        let wanted = asked || named(&choice.only);
        if !wanted || named(&choice.skip) || finding.status == Status::Ok {
            continue;
        }
        match plan_one(root, &context, setting, &finding) {
            Outcome::Steps(found) => steps.extend(found),
            Outcome::Advice(by, what) => advice.push(Advice {
                setting: finding.id,
                severity: finding.severity,
                status: finding.status,
                by,
                what,
                risk: finding.risk,
            }),
            Outcome::Nothing => {}
        }
    }
    Plan {
        schema: PLAN_SCHEMA.to_owned(),
        profile: options.profile,
        shard_count: context.shard_count,
        host: facts.virt.kind,
        exit: exit(&steps, &advice),
        steps,
        advice,
    }
}

enum Outcome {
    Steps(Vec<Step>),
    Advice(By, String),
    Nothing,
}

fn plan_one(root: &Root, at: &Context<'_>, setting: &Setting, finding: &Finding) -> Outcome {
    let kind = at.facts.virt.kind;
    let to_person = || match &finding.remedy {
        Some(remedy) if kind == HostKind::Container || !setting.scope.covers(kind) => {
            Outcome::Advice(By::HostOperator, remedy.clone())
        }
        Some(remedy) => Outcome::Advice(By::Person, remedy.clone()),
        None => Outcome::Nothing,
    };
    match (&setting.change, finding.status) {
        // The kernel has no such switch, and that is all right.
        (_, Status::Unsupported) if setting.scope.covers(kind) => Outcome::Nothing,
        // A container's files are its host's, and what it may write vanishes with it.
        _ if kind == HostKind::Container || !setting.scope.covers(kind) => to_person(),
        (Change::Files(targets), Status::Drift) => {
            let files = targets.iter().flat_map(|target| {
                let value = (target.value)(at);
                let paths = value.iter().flat_map(|_| target.files(root));
                let paths: Vec<_> = paths.collect();
                paths
                    .into_iter()
                    .filter_map(move |path| Some((target, path, value.clone()?)))
            });
            let steps: Vec<_> = files
                .filter_map(|(target, path, write)| {
                    let found = root.text(&path).ok()?;
                    let differs = !target.form.suffices(&found, &write);
                    differs.then(|| Step {
                        setting: setting.id.to_owned(),
                        severity: finding.severity,
                        path,
                        form: target.form,
                        found: target.form.canonical(&found),
                        write,
                        may_refuse: target.may_refuse,
                        risk: setting.risk.to_owned(),
                    })
                })
                .collect();
            match steps.is_empty() {
                true => to_person(),
                false => Outcome::Steps(steps),
            }
        }
        (Change::Boot(parameters), _) => match (parameters.0)(at) {
            Some(parameters) => Outcome::Advice(By::Boot, parameters),
            None => to_person(),
        },
        (Change::Unit(directive), _) => match (directive.0)(at) {
            Some(directive) => Outcome::Advice(By::Unit, directive),
            None => to_person(),
        },
        _ => to_person(),
    }
}

/// As `check` has it, but 5 when all that stays unmet waits for a boot.
fn exit(steps: &[Step], advice: &[Advice]) -> u8 {
    let counts = |of: &&Advice| !of.status.settled();
    let advice: Vec<_> = advice.iter().filter(counts).collect();
    let required = steps.iter().any(|step| step.severity == Level::Required)
        || advice
            .iter()
            .any(|of| of.severity == Level::Required && of.by != By::Boot);
    match (required, steps.is_empty() && advice.is_empty()) {
        (true, _) => 4,
        (false, true) => 0,
        (false, false) if advice.iter().any(|of| of.by == By::Boot) => 5,
        (false, false) => 3,
    }
}
