//! Tools whose schema was written by hand: their arguments come as JSON and are checked against it.
//!
//! A typed tool needs no such check: its type is its schema, and serde reads it in one pass.

use jsonschema::{PatternOptions, Validator};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Call, Definition, IntoToolResult, ResultWriter, Started, Tool};
use crate::server::BuildError;

/// Mistakes that a refusal names, and characters of each.
const MISTAKES_SHOWN: usize = 3;
const MISTAKE_CHARS: usize = 200;

/// A function of the JSON objects that a schema accepts.
pub(crate) struct RawTool<F> {
    definition: Definition,
    validator: Validator,
    function: F,
}

impl<F> RawTool<F> {
    /// Compiles the schema, once. A reference to another document is a mistake: nothing is ever
    /// fetched.
    pub(crate) fn new(definition: Definition, function: F) -> Result<Self, BuildError> {
        let refused = |why: String| BuildError::Schema {
            tool: definition.name.clone().into_owned(),
            why,
        };
        let schema: Json = serde_json::from_str(definition.input_schema.get())
            .map_err(|error| refused(error.to_string()))?;
        let validator = jsonschema::options()
            // An engine without backtracking: no input makes a pattern slow.
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            definition,
            validator,
            function,
        })
    }

    fn mistakes(&self, arguments: &Json) -> Option<String> {
        let shown = self.validator.iter_errors(arguments).take(MISTAKES_SHOWN);
        let shown: Vec<_> = shown
            .map(|error| {
                let text: String = error.to_string().chars().take(MISTAKE_CHARS).collect();
                match error.instance_path().as_str() {
                    "" => text,
                    at => format!("`{at}`: {text}"),
                }
            })
            .collect();
        (!shown.is_empty()).then(|| format!("arguments do not fit: {}", shown.join("; ")))
    }
}

impl<F, R> Tool for RawTool<F>
where
    F: Fn(Json) -> R + Send + Sync,
    R: IntoToolResult,
{
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        let arguments = match Json::deserialize(call.arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                result.fail(&error);
                return Started::Refused;
            }
        };
        if let Some(mistakes) = self.mistakes(&arguments) {
            result.fail(&mistakes);
            return Started::Refused;
        }
        (self.function)(arguments).write_to(result);
        Started::Finished
    }
}
