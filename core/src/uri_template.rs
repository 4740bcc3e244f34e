//! RFC 6570 at level 1, read backwards: which values a URI gives to the variables of a template.

use std::collections::BTreeMap;

use crate::resource::Variables;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// A template such as `file://{host}/{name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UriTemplate(Vec<Part>);

impl UriTemplate {
    /// Reads `text`; `None` beyond level 1 (operators, modifiers), for unbalanced braces and for
    /// two variables without anything between them, which could not be told apart.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let literal = &rest[..rest.find('{').unwrap_or(rest.len())];
            if literal.contains('}') {
                return None;
            }
            rest = &rest[literal.len()..];
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            if let Some(open) = rest.strip_prefix('{') {
                let (name, behind) = open.split_once('}')?;
                let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
                let apart = !matches!(parts.last(), Some(Part::Variable(_)));
                if name.is_empty() || !name.bytes().all(valid) || !apart {
                    return None;
                }
                parts.push(Part::Variable(name.to_owned()));
                rest = behind;
            }
        }
        Some(Self(parts))
    }

    pub(crate) fn has(&self, variable: &str) -> bool {
        let named = |part: &Part| matches!(part, Part::Variable(name) if name == variable);
        self.0.iter().any(named)
    }

    /// The values of the variables in `uri`, if it has this form. A value is one segment: it
    /// holds no `/`, `?` or `#` but percent-encoded.
    pub(crate) fn matches(&self, uri: &str) -> Option<Variables> {
        let (mut found, mut rest) = (BTreeMap::new(), uri);
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Variable(name) => {
                    let end = match parts.peek() {
                        Some(Part::Literal(next)) => rest.find(next.as_str())?,
                        _ => rest.len(),
                    };
                    let (value, behind) = rest.split_at(end);
                    if value.is_empty() || value.contains(['/', '?', '#']) {
                        return None;
                    }
                    found.insert(name.clone(), percent_decoded(value)?);
                    rest = behind;
                }
            }
        }
        rest.is_empty().then_some(Variables(found))
    }
}

pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_gives_its_variables_or_is_of_another_form() {
        let template = UriTemplate::parse("test://template/{id}/data").unwrap();
        let id = |uri| template.matches(uri).map(|it| it.get("id").to_owned());
        assert_eq!(id("test://template/123/data").as_deref(), Some("123"));
        assert_eq!(
            id("test://template/a%2Fb%20c/data").as_deref(),
            Some("a/b c")
        );
        for other in [
            "test://template//data",
            "test://template/1/2/data",
            "test://template/1/data/",
            "test://template/1",
            "test://template/%/data",
            "test://template/%zz/data",
            "test://template/%ff/data",
            "",
        ] {
            assert_eq!(id(other), None, "{other}");
        }
        let two = UriTemplate::parse("{a}-{b.c}")
            .unwrap()
            .matches("x-y-z")
            .unwrap();
        assert_eq!(
            (two.get("a"), two.get("b.c"), two.get("d")),
            ("x", "y-z", "")
        );
    }

    #[test]
    fn what_is_beyond_level_one_is_refused() {
        for text in [
            "{", "}", "{}", "{+a}", "{a*}", "{a,b}", "{a}{b}", "a}b", "{a b}",
        ] {
            assert_eq!(UriTemplate::parse(text), None, "{text}");
        }
    }
}
