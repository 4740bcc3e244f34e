//! How large a schema becomes when its references are followed.
//!
//! Forty definitions that each refer twice to the next are a page of text and a million million
//! subschemas: a validator that looks for every mistake would look for ever.

use std::collections::HashMap;

use serde_json::Value as Json;

/// Most subschemas, references followed; a schema beyond it is refused when the server is built.
pub(super) const SUBSCHEMAS_MAX: u64 = 4096;
/// Longest chain of references and nested values that is followed.
const DEPTH_MAX: usize = 512;

/// Subschemas of `schema`, those behind local references counted once for each reference. One that
/// leads back to where it came from counts once: it goes no deeper than the arguments do.
pub(super) fn expansion(schema: &Json) -> u64 {
    let mut anchors = HashMap::new();
    gather(schema, &mut anchors);
    let mut counted = HashMap::new();
    Walk {
        root: schema,
        anchors: &anchors,
        counted: &mut counted,
    }
    .count(schema, 0)
}

/// The subschemas that have a name of their own.
fn gather<'s>(schema: &'s Json, anchors: &mut HashMap<&'s str, &'s Json>) {
    match schema {
        Json::Object(members) => {
            for key in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = members.get(key).and_then(Json::as_str) {
                    anchors.insert(name, schema);
                }
            }
            members.values().for_each(|it| gather(it, anchors));
        }
        Json::Array(elements) => elements.iter().for_each(|it| gather(it, anchors)),
        _ => {}
    }
}

struct Walk<'s, 'w> {
    root: &'s Json,
    anchors: &'w HashMap<&'s str, &'s Json>,
    /// What is behind a reference; 1 while it is being counted.
    counted: &'w mut HashMap<&'s str, u64>,
}

impl<'s> Walk<'s, '_> {
    fn count(&mut self, schema: &'s Json, depth: usize) -> u64 {
        if depth > DEPTH_MAX {
            return u64::MAX;
        }
        match schema {
            Json::Object(members) => members.iter().fold(1, |sum: u64, (key, value)| {
                sum.saturating_add(match (key.as_str(), value) {
                    ("$ref" | "$dynamicRef", Json::String(to)) => self.behind(to, depth),
                    ("const" | "default" | "enum" | "examples", _) => 0,
                    _ => self.count(value, depth + 1),
                })
            }),
            Json::Array(elements) => elements.iter().fold(0, |sum: u64, it| {
                sum.saturating_add(self.count(it, depth + 1))
            }),
            _ => 0,
        }
    }

    fn behind(&mut self, reference: &'s str, depth: usize) -> u64 {
        if let Some(&known) = self.counted.get(reference) {
            return known;
        }
        self.counted.insert(reference, 1);
        let name = reference.strip_prefix('#').unwrap_or(reference);
        let found = self.root.pointer(name);
        let found = found.or_else(|| self.anchors.get(name).copied());
        let count = found.map_or(1, |found| self.count(found, depth + 1));
        self.counted.insert(reference, count);
        count
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_followed_and_circles_are_not() {
        assert_eq!(expansion(&json!({"type": "object"})), 1);
        let twice = json!({"$defs": {"d": {"$anchor": "n", "not": {}}},
            "allOf": [{"$ref": "#/$defs/d"}, {"$ref": "#n"}]});
        // The root, `$defs`, the definition in it (2), and two references to it (3 each).
        assert_eq!(expansion(&twice), 1 + 1 + 2 + 3 + 3);
        let circle = json!({"additionalProperties": {"$ref": "#"}});
        assert!(expansion(&circle) < 10);
        let mut bomb = json!({"$defs": {"d0": {}}, "$ref": "#/$defs/d64"});
        for n in 1..=64 {
            let below = json!({"$ref": format!("#/$defs/d{}", n - 1)});
            bomb["$defs"][format!("d{n}")] = json!({"anyOf": [below, below]});
        }
        assert_eq!(expansion(&bomb), u64::MAX);
    }
}
