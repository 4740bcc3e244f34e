//! What a request needs: scopes for every request, and more for some tools, prompts and resources.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::rpc::{Params, Value};
use crate::uri_template::percent_decoded;

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// A tool, by name.
    Tool,
    /// A prompt, by name.
    Prompt,
    /// A resource, by URI; or those of a template, by a pattern of their URIs.
    Resource,
}

impl Feature {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

/// Who uses one feature needs these scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) feature: Feature,
    /// A name or URI; one that ends in `*` stands for all that begin so.
    pub(crate) pattern: Box<str>,
    pub(crate) scopes: Vec<Box<str>>,
}

impl Rule {
    pub(crate) fn matches(&self, feature: Feature, name: &str) -> bool {
        let fits = |name: &str| match self.pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => *name == *self.pattern,
        };
        // A URI can be spelt in several ways; a rule holds for each of them.
        let respelt = || {
            feature == Feature::Resource
                && name.contains('%')
                && percent_decoded(name).is_none_or(|name| fits(&name))
        };
        self.feature == feature && (fits(name) || respelt())
    }
}

/// What requests need, and which scopes hold others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Needed by every request.
    pub(crate) every: Vec<Box<str>>,
    pub(crate) rules: Vec<Rule>,
    /// A scope, and those that whoever has it has too.
    pub(crate) implied: BTreeMap<Box<str>, Vec<Box<str>>>,
}

impl Policy {
    /// The scopes that come with `granted`.
    // [mcp:auth-scopes]
    pub(super) fn expand(&self, granted: Vec<Box<str>>) -> Vec<Box<str>> {
        let mut all = BTreeSet::new();
        let mut left = granted;
        while let Some(scope) = left.pop() {
            if all.contains(&scope) {
                continue;
            }
            left.extend(self.implied.get(&scope).into_iter().flatten().cloned());
            all.insert(scope);
        }
        all.into_iter().collect()
    }

    /// Every scope that something needs, or that holds one, each once and in order.
    pub(super) fn supported(&self) -> Vec<&str> {
        let rules = self.rules.iter().flat_map(|rule| &rule.scopes);
        let holding = self
            .implied
            .iter()
            .flat_map(|(it, held)| held.iter().chain([it]));
        let all: BTreeSet<&str> = (self.every.iter().chain(rules).chain(holding))
            .map(AsRef::as_ref)
            .collect();
        all.into_iter().collect()
    }

    /// What every request needs.
    pub(crate) fn every(&self) -> impl Iterator<Item = &str> {
        self.every.iter().map(AsRef::as_ref)
    }

    /// Calls `need` with each scope that a request needs besides, some perhaps twice.
    pub(crate) fn needs<'a>(&'a self, request: Params<'_>, mut need: impl FnMut(&'a str)) {
        each_feature(request, |feature, name| {
            let rules = self.rules.iter().filter(|rule| rule.matches(feature, name));
            rules
                .flat_map(|rule| &rule.scopes)
                .for_each(|scope| need(scope));
        });
    }
}

/// Calls `used` with each feature that a request uses.
fn each_feature(request: Params<'_>, mut used: impl FnMut(Feature, &str)) {
    let Params { method, params, .. } = request;
    let mut named = |feature, of: Value<'_>, key: &str| {
        // All of one name: which of two members counts is decided elsewhere.
        for (name, value) in of.as_object().unwrap_or_default() {
            if let (true, Value::Str(value)) = (*name == key, value) {
                used(feature, value);
            }
        }
    };
    match method {
        "tools/call" => named(Feature::Tool, params, "name"),
        "prompts/get" => named(Feature::Prompt, params, "name"),
        "resources/read" | "resources/subscribe" => named(Feature::Resource, params, "uri"),
        "completion/complete" => {
            let of = params.get("ref").unwrap_or_default();
            named(Feature::Prompt, of, "name");
            named(Feature::Resource, of, "uri");
        }
        "subscriptions/listen" => {
            let wanted = params.get("notifications").unwrap_or_default();
            if let Some(Value::Array(uris)) = wanted.get("resourceSubscriptions") {
                let uris = uris.iter().filter_map(|uri| uri.as_str());
                uris.for_each(|uri| used(Feature::Resource, uri));
            }
        }
        _ => {}
    }
}

/// Whether `text` is one scope (RFC 6749, 3.3): visible ASCII without quote and backslash.
pub(super) fn is_scope(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

/// The scopes of a claim: separated by spaces (RFC 8693, 4.2).
pub(super) fn split(claim: &str) -> impl Iterator<Item = Box<str>> {
    claim.split(' ').filter(|it| is_scope(it)).map(Into::into)
}

/// Scopes as one challenge names them: each once, in order.
pub(crate) fn joined<'a>(scopes: impl IntoIterator<Item = &'a str>) -> String {
    let all: BTreeSet<_> = scopes.into_iter().collect();
    let all: Vec<Cow<'_, str>> = all.into_iter().map(Cow::Borrowed).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(feature: Feature, pattern: &str, scope: &str) -> Rule {
        Rule {
            feature,
            pattern: pattern.into(),
            scopes: vec![scope.into()],
        }
    }

    /// The scopes that a request needs, as a challenge names them.
    fn needed(policy: &Policy, method: &str, params: Value<'_>) -> String {
        let (mut all, meta) = (Vec::new(), None);
        let request = Params {
            method,
            params,
            meta,
        };
        policy.needs(request, |scope| all.push(scope));
        joined(all)
    }

    #[test]
    fn a_request_needs_what_its_features_need() {
        let policy = Policy {
            every: Vec::new(),
            rules: vec![
                rule(Feature::Tool, "hash", "compute"),
                rule(Feature::Tool, "ha*", "any"),
                rule(Feature::Resource, "file:///private/*", "private"),
                rule(Feature::Prompt, "hash", "prompt"),
            ],
            implied: BTreeMap::new(),
        };
        let name = [("name", Value::Str("hash"))];
        assert_eq!(
            needed(&policy, "tools/call", Value::Object(&name)),
            "any compute"
        );
        assert_eq!(
            needed(&policy, "prompts/get", Value::Object(&name)),
            "prompt"
        );
        assert_eq!(needed(&policy, "tools/list", Value::Object(&name)), "");
        let twice = [("name", Value::Str("x")), ("name", Value::Str("hash"))];
        assert_eq!(
            needed(&policy, "tools/call", Value::Object(&twice)),
            "any compute"
        );
        for uri in [
            "file:///private/a",
            "file:///%70rivate/a",
            "file:///private/%ff",
        ] {
            let read = [("uri", Value::Str(uri))];
            assert_eq!(
                needed(&policy, "resources/read", Value::Object(&read)),
                "private",
                "{uri}"
            );
            assert_eq!(
                needed(&policy, "resources/subscribe", Value::Object(&read)),
                "private"
            );
            let of = [("ref", Value::Object(&read))];
            assert_eq!(
                needed(&policy, "completion/complete", Value::Object(&of)),
                "private"
            );
            let uris = [Value::Str(uri)];
            let wanted = [("resourceSubscriptions", Value::Array(&uris))];
            let wanted = [("notifications", Value::Object(&wanted))];
            assert_eq!(
                needed(&policy, "subscriptions/listen", Value::Object(&wanted)),
                "private"
            );
        }
        let public = [("uri", Value::Str("file:///public"))];
        assert_eq!(
            needed(&policy, "resources/read", Value::Object(&public)),
            ""
        );
    }

    #[test]
    // [mcp:auth-scopes]
    fn a_scope_brings_those_that_it_implies_and_so_on() {
        let mut policy = Policy::default();
        policy.implied.insert("admin".into(), vec!["write".into()]);
        policy
            .implied
            .insert("write".into(), vec!["read".into(), "admin".into()]);
        let expand = |scope: &str| policy.expand(vec![scope.into()]).join(" ");
        assert_eq!(expand("admin"), "admin read write");
        assert_eq!(expand("read"), "read");
        assert_eq!(policy.supported(), ["admin", "read", "write"]);
    }

    #[test]
    fn a_scope_has_no_space_no_quote_and_no_backslash() {
        for (text, wanted) in [("files:read", true), ("", false), ("a b", false)] {
            assert_eq!(is_scope(text), wanted, "{text}");
        }
        assert!(!is_scope("a\"b") && !is_scope("a\\b") && !is_scope("é") && !is_scope("a\r\nb"));
    }
}
