//! What a server says when it refuses: `WWW-Authenticate` (RFC 9110, section 11.6.1; RFC 6750,
//! section 3; RFC 9728, section 5.1).

use http_auth::ParamValue;
use http_auth::parser::ChallengeParser;

/// What of a refusal matters here; what it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Where the metadata of the resource is.
    pub(crate) metadata: Option<String>,
    /// The scopes that are wanted, in the order in which they came.
    pub(crate) scopes: Vec<String>,
    pub(crate) error: Option<String>,
    /// Tokens are to be bound to a key (RFC 9449).
    pub(crate) dpop: bool,
}

/// How a token is sent (RFC 6750; RFC 9449).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

impl Scheme {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "bearer" => Some(Self::Bearer),
            "dpop" => Some(Self::Dpop),
            _ => None,
        }
    }
}

impl Challenge {
    /// Reads the header; parts that are broken or of other schemes are left out. Of several, the
    /// one of the scheme that the refused token was `sent` with is about that token; else it is
    /// one that names an error.
    // [mcp:auth-discovery]
    pub(crate) fn read(header: &str, sent: Option<Scheme>) -> Self {
        let challenges = ChallengeParser::new(header).filter_map(Result::ok);
        let ours: Vec<_> = challenges
            .filter_map(|it| Some((Scheme::named(it.scheme)?, it)))
            .collect();
        let has_error = |params: &[(&str, ParamValue<'_>)]| {
            let mut params = params.iter();
            params.any(|(key, _)| key.eq_ignore_ascii_case("error"))
        };
        let same = ours.iter().find(|(scheme, _)| Some(*scheme) == sent);
        let told = || ours.iter().find(|(_, it)| has_error(&it.params));
        let Some((scheme, first)) = same.or_else(told).or(ours.first()) else {
            return Self::default();
        };
        let param = |name: &str| {
            let mut params = first.params.iter();
            let found = params.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Self {
            metadata: param("resource_metadata"),
            scopes: words(&param("scope").unwrap_or_default()),
            error: param("error"),
            dpop: *scheme == Scheme::Dpop,
        }
    }

    /// Whether a token with more scopes would do.
    pub(crate) fn wants_more(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }

    /// Whether the same token would do with a nonce of the server in its proof (RFC 9449,
    /// section 9).
    pub(crate) fn wants_nonce(&self) -> bool {
        self.error.as_deref() == Some("use_dpop_nonce")
    }
}

/// Scopes as they stand in one parameter, none twice.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_ascii_whitespace() {
        if !words.iter().any(|it| it == word) {
            words.push(word.to_owned());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_challenge_that_is_ours_is_read() {
        let header = "Basic realm=\"x\", bearer error=\"insufficient_scope\", \
                      scope=\"a b  a\", resource_metadata=\"https://h/a\\\"b\", realm=z";
        let wanted = Challenge {
            metadata: Some("https://h/a\"b".to_owned()),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            error: Some("insufficient_scope".to_owned()),
            dpop: false,
        };
        assert_eq!(Challenge::read(header, None), wanted);
        assert!(wanted.wants_more());
        assert!(Challenge::read("DPoP error=\"use_dpop_nonce\"", None).wants_nonce());
    }

    #[test]
    fn of_several_challenges_the_one_about_the_token_is_read() {
        let both = "Bearer scope=a, DPoP error=\"use_dpop_nonce\"";
        assert!(Challenge::read(both, Some(Scheme::Dpop)).wants_nonce());
        assert!(Challenge::read(both, None).wants_nonce());
        let bearer = Challenge::read(both, Some(Scheme::Bearer));
        assert_eq!((bearer.error, bearer.dpop), (None, false));
        let silent = Challenge::read("DPoP algs=ES256, Bearer scope=a", None);
        assert!(silent.dpop);
    }

    #[test]
    fn what_is_broken_says_nothing() {
        for header in [
            "",
            "Bearer",
            ",,,",
            "Bearer scope",
            "\"",
            "Bearer scope=\"",
            "Basic a=b",
        ] {
            assert_eq!(
                Challenge::read(header, None),
                Challenge::default(),
                "{header}"
            );
        }
    }
}
