//! Verdicts and the exit codes they become.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can be said of an objective, a claim, or a whole run. The order is that of gravity.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not measured, and nobody asked for it in this phase; of a run: nothing that gates was.
    NotMeasured,
    /// Met.
    Pass,
    /// Too little was observed to say.
    Inconclusive,
    /// The host alone is slower than the objective.
    Unfit,
    /// Violated.
    Fail,
    /// The measurement itself was not sound.
    Invalid,
}

/// The suite could not run: wrong usage, or the environment lacks something.
pub const EXIT_COULD_NOT_RUN: u8 = 2;

impl Verdict {
    /// The exit code of a run with this verdict.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotMeasured | Self::Pass => 0,
            Self::Fail => 1,
            Self::Inconclusive => 3,
            Self::Invalid => 4,
            Self::Unfit => 5,
        }
    }

    /// The gravest of `verdicts`; `NotMeasured` when there are none.
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().max().unwrap_or(Self::NotMeasured)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotMeasured => "not measured",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Unfit => "host unfit",
            Self::Fail => "FAIL",
            Self::Invalid => "invalid",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, *};

    #[test]
    fn the_gravest_decides() {
        assert_eq!(Verdict::worst([]).exit_code(), 0);
        assert_eq!(Verdict::worst([NotMeasured, Pass]), Pass);
        assert_eq!(Verdict::worst([Pass, Inconclusive]).exit_code(), 3);
        assert_eq!(Verdict::worst([Unfit, Inconclusive]).exit_code(), 5);
        assert_eq!(Verdict::worst([Fail, Unfit]).exit_code(), 1);
        assert_eq!(Verdict::worst([Fail, Invalid]).exit_code(), 4);
    }
}
