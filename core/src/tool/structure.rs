//! JSON Schemas that were written by hand, and structured content that is held to them. The schema
//! of a type needs no such check: what serde writes of the type is what its schema says.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value as Json;

use super::Definition;
use super::expansion::{Expansion, SUBSCHEMAS_MAX, expansion};
use crate::server::BuildError;

/// Mistakes that a message names, and characters of each.
const MISTAKES_SHOWN: usize = 3;
const MISTAKE_CHARS: usize = 200;
/// Values in what is looked at for mistakes. To name one the validator gathers them all, which for
/// a million wrong values takes many times the memory of the values.
const EXPLAINED_VALUES_MAX: usize = 256;

/// A schema, compiled.
pub(crate) struct Schema {
    validator: Validator,
    /// It refers to itself. To name the mistakes, branches that lead back are then looked at again
    /// on each level of the value, however often they were looked at before.
    circular: bool,
}

/// Compiles a schema. A reference to another document is a mistake: nothing is ever fetched.
// [mcp:schema-dialect] [mcp:schema-dialect-unknown] [mcp:schema-valid] [mcp:schema-no-fetch]
pub(crate) fn compile(schema: &str) -> Result<Schema, String> {
    let schema: Json = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let Expansion {
        subschemas,
        circular,
    } = expansion(&schema);
    if subschemas > SUBSCHEMAS_MAX {
        return Err(format!(
            "too many subschemas when its references are followed, at most {SUBSCHEMAS_MAX}"
        ));
    }
    let validator = jsonschema::options()
        // An engine without backtracking: no input makes a pattern slow.
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string())?;
    Ok(Schema {
        validator,
        circular,
    })
}

/// What keeps `value` from being accepted, in a few words.
pub(crate) fn mistakes(schema: &Schema, value: &Json) -> Option<String> {
    if schema.validator.is_valid(value) {
        return None;
    }
    if schema.circular {
        return Some("the schema refers to itself: which of them is not looked for".to_owned());
    }
    if !is_small(value, &mut 0) {
        return Some("too many values to say which of them are wrong".to_owned());
    }
    let shown = schema.validator.iter_errors(value).take(MISTAKES_SHOWN);
    let shown: Vec<_> = shown
        .map(|error| {
            let text: String = error.to_string().chars().take(MISTAKE_CHARS).collect();
            match error.instance_path().as_str() {
                "" => text,
                at => format!("`{at}`: {text}"),
            }
        })
        .collect();
    Some(shown.join("; "))
}

/// Whether `value`, with the values counted before it, is within [`EXPLAINED_VALUES_MAX`]. The
/// recursion is bounded by the depth that the parser lets through.
fn is_small(value: &Json, count: &mut usize) -> bool {
    *count += 1;
    *count <= EXPLAINED_VALUES_MAX
        && match value {
            Json::Array(elements) => elements.iter().all(|it| is_small(it, count)),
            Json::Object(members) => members.values().all(|it| is_small(it, count)),
            _ => true,
        }
}

/// The promise of a tool about its structured content.
pub(crate) struct Structure(Schema);

impl Structure {
    /// The promise in `definition`, if it was written by hand.
    pub(crate) fn of(definition: &Definition) -> Result<Option<Arc<Self>>, BuildError> {
        let schema = definition.output_schema.as_ref();
        let Some(schema) = schema.filter(|_| definition.output_by_hand) else {
            return Ok(None);
        };
        let schema = compile(schema.get()).map_err(|why| BuildError::Schema {
            tool: definition.name.clone().into_owned(),
            why: format!("of its output: {why}"),
        })?;
        Ok(Some(Arc::new(Self(schema))))
    }

    /// Why a result with the structured content `json` (empty for none) breaks the promise.
    pub(crate) fn broken_by(&self, json: &[u8]) -> Option<String> {
        if json.is_empty() {
            return Some("there is no structured content".to_owned());
        }
        match serde_json::from_slice(json) {
            Ok(value) => mistakes(&self.0, &value),
            Err(error) => Some(error.to_string()),
        }
    }
}
