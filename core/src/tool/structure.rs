//! JSON Schemas that were written by hand, and structured content that is held to them. The schema
//! of a type needs no such check: what serde writes of the type is what its schema says.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value as Json;

use super::Definition;
use crate::server::BuildError;

/// Mistakes that a message names, and characters of each.
const MISTAKES_SHOWN: usize = 3;
const MISTAKE_CHARS: usize = 200;

/// Compiles a schema. A reference to another document is a mistake: nothing is ever fetched.
pub(crate) fn compile(schema: &str) -> Result<Validator, String> {
    let schema: Json = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    jsonschema::options()
        // An engine without backtracking: no input makes a pattern slow.
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string())
}

/// What keeps `value` from being accepted, in a few words.
pub(crate) fn mistakes(validator: &Validator, value: &Json) -> Option<String> {
    let shown = validator.iter_errors(value).take(MISTAKES_SHOWN);
    let shown: Vec<_> = shown
        .map(|error| {
            let text: String = error.to_string().chars().take(MISTAKE_CHARS).collect();
            match error.instance_path().as_str() {
                "" => text,
                at => format!("`{at}`: {text}"),
            }
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

/// The promise of a tool about its structured content.
pub(crate) struct Structure(Validator);

impl Structure {
    /// The promise in `definition`, if it was written by hand.
    pub(crate) fn of(definition: &Definition) -> Result<Option<Arc<Self>>, BuildError> {
        let schema = definition.output_schema.as_ref();
        let Some(schema) = schema.filter(|_| definition.output_by_hand) else {
            return Ok(None);
        };
        let validator = compile(schema.get()).map_err(|why| BuildError::Schema {
            tool: definition.name.clone().into_owned(),
            why: format!("of its output: {why}"),
        })?;
        Ok(Some(Arc::new(Self(validator))))
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
