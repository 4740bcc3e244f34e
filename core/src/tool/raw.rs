//! Tools whose schema was written by hand: their arguments come as JSON and are checked against it.
//!
//! A typed tool needs no such check: its type is its schema, and serde reads it in one pass.

use jsonschema::{PatternOptions, Validator};
use serde::Deserialize;
use serde_json::Value as Json;

use super::expansion::{SUBSCHEMAS_MAX, expansion};
use super::{Call, Definition, IntoToolResult, ResultWriter, Started, Tool};
use crate::server::BuildError;

/// Mistakes that a refusal names, and characters of each.
const MISTAKES_SHOWN: usize = 3;
const MISTAKE_CHARS: usize = 200;
/// Values in arguments whose mistakes are looked for. To name one the validator gathers them all,
/// which for a million wrong values takes many times the memory of the arguments.
const EXPLAINED_VALUES_MAX: usize = 256;

/// A function of the JSON objects that a schema accepts.
pub(crate) struct RawTool<F> {
    definition: Definition,
    validator: Validator,
    /// Its mistakes are not gathered: for them the validator walks every way through the schema,
    /// and where references lead back these double with each level of the arguments.
    circular: bool,
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
        let expansion = expansion(&schema);
        if expansion.subschemas > SUBSCHEMAS_MAX {
            return Err(refused(format!(
                "too many subschemas when its references are followed, at most {SUBSCHEMAS_MAX}"
            )));
        }
        // [mcp:schema-dialect] [mcp:schema-dialect-unknown] [mcp:schema-valid]
        // [mcp:schema-no-fetch] [mcp:tools-schema]
        let validator = jsonschema::options()
            // An engine without backtracking: no input makes a pattern slow.
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            definition,
            validator,
            circular: expansion.circular,
            function,
        })
    }

    // [mcp:tools-input]
    fn mistakes(&self, arguments: &Json) -> Option<String> {
        if self.validator.is_valid(arguments) {
            return None;
        }
        if self.circular {
            let why = "arguments do not fit the schema, which refers to itself: which of them is \
                       not looked for";
            return Some(why.to_owned());
        }
        if !is_small(arguments, &mut 0) {
            let why = "arguments do not fit the schema, and are too many to say which of them";
            return Some(why.to_owned());
        }
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
        Some(format!("arguments do not fit: {}", shown.join("; ")))
    }
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
