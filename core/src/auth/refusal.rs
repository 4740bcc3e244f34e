//! Why a request is not let in: its status, its challenge, its counter.

use ninefold_runtime::stats::Counter;

use crate::counters::Counters;

/// Why a request without a good token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No token, or one of another scheme.
    Missing,
    /// A request that names its token as no request may; and how it is done.
    Malformed(&'static str),
    /// A token that is none of ours, or not any more.
    Invalid(Flaw),
    /// A token that cannot be judged: its issuer's keys are not at hand.
    Unavailable,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Expired,
    NotYetValid,
    Audience,
    Issuer,
    /// The signature does not fit, or is of an algorithm that is not allowed.
    Signature,
    /// Signed by a key that its issuer does not publish.
    UnknownKey,
    /// Neither a JWT with all its claims nor a known API key.
    Unknown,
}

impl Flaw {
    fn says(self) -> &'static str {
        match self {
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Audience => "the token is for another server",
            Self::Issuer => "the token is of another issuer",
            Self::Signature => "the signature of the token is not good here",
            Self::UnknownKey => "the token is signed by an unknown key",
            Self::Unknown => "the token is not known here",
        }
    }
}

impl Refusal {
    /// Status of the answer.
    // [mcp:auth-statuses]
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Missing | Self::Invalid(_) => 401,
            Self::Unavailable => 503,
        }
    }

    /// The error code of RFC 6750, 3.1; a request without a token gets none.
    pub(super) fn error(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Unavailable => None,
            Self::Malformed(_) => Some("invalid_request"),
            Self::Invalid(_) => Some("invalid_token"),
        }
    }

    /// One sentence for people.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Missing => "a Bearer token is required",
            Self::Malformed(how) => how,
            Self::Invalid(flaw) => flaw.says(),
            Self::Unavailable => "the keys of the authorization server are not at hand",
        }
    }

    /// Where it is counted.
    pub(crate) fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Missing => &counters.refused_token_missing,
            Self::Malformed(_) => &counters.refused_token_malformed,
            Self::Unavailable => &counters.refused_token_no_keys,
            Self::Invalid(Flaw::Expired) => &counters.refused_token_expired,
            Self::Invalid(Flaw::NotYetValid) => &counters.refused_token_not_yet_valid,
            Self::Invalid(Flaw::Audience) => &counters.refused_token_audience,
            Self::Invalid(Flaw::Issuer) => &counters.refused_token_issuer,
            Self::Invalid(Flaw::Signature) => &counters.refused_token_signature,
            Self::Invalid(Flaw::UnknownKey) => &counters.refused_token_unknown_key,
            Self::Invalid(Flaw::Unknown) => &counters.refused_token_unknown,
        }
    }
}
