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

/// What following the references of a schema has found.
pub(super) struct Expansion {
    /// Subschemas, those behind local references counted once for each reference. One that leads
    /// back to where it came from counts once: it goes no deeper than the arguments do. Beyond
    /// [`SUBSCHEMAS_MAX`] nobody counts on.
    pub(super) subschemas: u64,
    /// A reference leads back to where it came from, or to where this walk cannot follow: how much
    /// there is to look at depends on the arguments, and may double with each of their levels.
    pub(super) circular: bool,
}

/// Follows the references of `schema`.
pub(super) fn expansion(schema: &Json) -> Expansion {
    let mut anchors = HashMap::new();
    gather(schema, &mut anchors);
    let mut walk = Walk {
        root: schema,
        anchors: &anchors,
        open: Vec::new(),
        found: Expansion {
            subschemas: 0,
            circular: false,
        },
    };
    walk.count(schema, 0);
    walk.found
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
    /// References that are being followed.
    open: Vec<&'s str>,
    found: Expansion,
}

impl<'s> Walk<'s, '_> {
    fn count(&mut self, schema: &'s Json, depth: usize) {
        if depth > DEPTH_MAX {
            self.found.subschemas = u64::MAX;
        }
        if self.found.subschemas > SUBSCHEMAS_MAX {
            return;
        }
        match schema {
            Json::Object(members) => {
                self.found.subschemas += 1;
                for (key, value) in members {
                    match (key.as_str(), value) {
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Json::String(to)) => {
                            self.follow(to, depth);
                        }
                        // References below are relative to it.
                        ("$id", Json::String(_)) if depth > 0 => self.found.circular = true,
                        ("const" | "default" | "enum" | "examples", _) => {}
                        _ => self.count(value, depth + 1),
                    }
                }
            }
            Json::Array(elements) => elements.iter().for_each(|it| self.count(it, depth + 1)),
            _ => {}
        }
    }

    fn follow(&mut self, reference: &'s str, depth: usize) {
        let name = reference.strip_prefix('#').unwrap_or(reference);
        let found = self.root.pointer(name);
        let found = found.or_else(|| self.anchors.get(name).copied());
        match found.filter(|_| !self.open.contains(&reference)) {
            Some(found) => {
                self.open.push(reference);
                self.count(found, depth + 1);
                self.open.pop();
            }
            None => {
                self.found.circular = true;
                self.found.subschemas = self.found.subschemas.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_followed_and_circles_are_not() {
        let plain = expansion(&json!({"type": "object"}));
        assert!(plain.subschemas == 1 && !plain.circular);
        let twice = json!({"$defs": {"d": {"$anchor": "n", "not": {}}},
            "allOf": [{"$ref": "#/$defs/d"}, {"$ref": "#n"}]});
        // The root, `$defs`, the definition in it (2), and two references to it (3 each).
        let twice = expansion(&twice);
        assert_eq!(twice.subschemas, 1 + 1 + 2 + 3 + 3);
        assert!(!twice.circular);
        let circle = expansion(&json!({"additionalProperties": {"$ref": "#"}}));
        assert!(circle.subschemas < 10 && circle.circular);
        // What is not found by its name here may well lead back.
        for reference in ["#/additional%50roperties", "https://h.example/schema"] {
            let elsewhere = json!({"additionalProperties": {"$ref": reference}});
            assert!(expansion(&elsewhere).circular, "{reference}");
        }
        let mut bomb = json!({"$defs": {"d0": {}}, "$ref": "#/$defs/d64"});
        for n in 1..=64 {
            let below = json!({"$ref": format!("#/$defs/d{}", n - 1)});
            bomb["$defs"][format!("d{n}")] = json!({"anyOf": [below, below]});
        }
        assert!(expansion(&bomb).subschemas > SUBSCHEMAS_MAX);
    }
}
