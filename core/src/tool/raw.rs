//! Tools whose schema was written by hand: their arguments come as JSON.

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Call, Definition, IntoToolResult, ResultWriter, Started, Tool};

/// A function of any JSON object.
pub(crate) struct RawTool<F> {
    definition: Definition,
    function: F,
}

impl<F> RawTool<F> {
    pub(crate) fn new(definition: Definition, function: F) -> Self {
        Self {
            definition,
            function,
        }
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
        match Json::deserialize(call.arguments) {
            Ok(arguments) => {
                (self.function)(arguments).write_to(result);
                Started::Finished
            }
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}
