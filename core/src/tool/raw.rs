//! Tools whose schema was written by hand: their arguments come as JSON and are checked against it.
//!
//! A typed tool needs no such check: its type is its schema, and serde reads it in one pass.

use serde::Deserialize;
use serde_json::Value as Json;

use super::structure::{Schema, compile, mistakes};
use super::{Call, Definition, IntoToolResult, ResultWriter, Started, Tool};
use crate::server::BuildError;

/// A function of the JSON objects that a schema accepts.
pub(crate) struct RawTool<F> {
    definition: Definition,
    schema: Schema,
    function: F,
}

impl<F> RawTool<F> {
    /// Compiles the schema, once.
    pub(crate) fn new(definition: Definition, function: F) -> Result<Self, BuildError> {
        // [mcp:tools-schema]
        let schema = compile(definition.input_schema.get()).map_err(|why| BuildError::Schema {
            tool: definition.name.clone().into_owned(),
            why,
        })?;
        Ok(Self {
            definition,
            schema,
            function,
        })
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
        // [mcp:tools-input]
        if let Some(mistakes) = mistakes(&self.schema, &arguments) {
            result.fail(&format_args!("arguments do not fit: {mistakes}"));
            return Started::Refused;
        }
        (self.function)(arguments).write_to(result);
        Started::Finished
    }
}
