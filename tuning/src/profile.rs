//! What a host is meant for, and therefore how much each setting matters.

use serde::{Deserialize, Serialize};

use crate::setting::Severity;

/// What a host is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Report everything, ask for nothing.
    Observe,
    /// A node runs; its latency is nobody's business.
    Dev,
    /// Figures measured here are meant to be believed.
    Bench,
    /// Users depend on a node here.
    #[default]
    Production,
}

/// How much a setting counts under a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The host is unfit without it.
    Required,
    /// The host is better with it.
    Advised,
    /// It is reported and counts for nothing.
    Ignored,
}

impl Profile {
    /// Every profile, the most lenient first.
    pub const ALL: [Self; 4] = [Self::Observe, Self::Dev, Self::Bench, Self::Production];

    /// How much a setting of this severity counts.
    pub fn level(self, severity: Severity) -> Level {
        use Level::{Advised, Ignored, Required};
        match (self, severity) {
            (Self::Observe, _) | (_, Severity::Experiment | Severity::Information) => Ignored,
            (_, Severity::Vital) => Required,
            (Self::Dev, Severity::Production) => Advised,
            (Self::Dev, _) => Ignored,
            (_, Severity::Production) => Required,
            (Self::Bench, Severity::Measurement) => Required,
            (Self::Production, Severity::Measurement) => Advised,
            (_, Severity::Advised) => Advised,
        }
    }

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Dev => "dev",
            Self::Bench => "bench",
            Self::Production => "production",
        }
    }
}

impl Level {
    /// The name in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Advised => "advised",
            Self::Ignored => "ignored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_asks_for_what_it_is_for() {
        use Level::{Advised, Ignored, Required};
        use Severity::{Advised as Better, Measurement, Production, Vital};
        for (profile, levels) in [
            (Profile::Observe, [Ignored, Ignored, Ignored, Ignored]),
            (Profile::Dev, [Required, Advised, Ignored, Ignored]),
            (Profile::Bench, [Required, Required, Required, Advised]),
            (Profile::Production, [Required, Required, Advised, Advised]),
        ] {
            let found = [Vital, Production, Measurement, Better].map(|of| profile.level(of));
            assert_eq!(found, levels, "{}", profile.name());
        }
    }

    #[test]
    fn names_are_those_of_the_reports() {
        for profile in Profile::ALL {
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
        }
        for level in [Level::Required, Level::Advised, Level::Ignored] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }
}
