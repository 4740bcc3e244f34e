//! Typed Rust functions as tools: arguments through serde, schema through schemars.

use std::borrow::Cow;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Call, Definition, Info, IntoToolResult, ResultWriter, Started, Tool, ToolResult, run};
use crate::context::Context;
use crate::rpc::ArgumentError;

/// A function, its definition and, as a type only, its arguments.
pub(crate) struct Typed<F, A> {
    definition: Definition,
    function: F,
    arguments: PhantomData<fn(A)>,
}

impl<F, A: JsonSchema + DeserializeOwned> Typed<F, A> {
    fn arguments(call: Call<'_>) -> Result<A, ArgumentError> {
        A::deserialize(call.arguments)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident($function:ty);)+) => {
        $($(#[$doc])+
        pub(crate) struct $kind<F, A>(Typed<$function, A>);

        impl<F, A: JsonSchema + DeserializeOwned> $kind<F, A> {
            pub(crate) fn new(
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: F,
            ) -> Self {
                Self(Typed {
                    definition: Definition::of::<A>(info, description),
                    function: function.into(),
                    arguments: PhantomData,
                })
            }
        })+
    };
}

kinds! {
    /// Runs to completion on the shard.
    SyncTool(F);
    /// A future of the shard.
    AsyncTool(F);
    /// A future of the shard that speaks with its client.
    ContextTool(F);
    /// Work for the blocking pool.
    BlockingTool(Arc<F>);
}

impl<F, A, R> Tool for SyncTool<F, A>
where
    F: Fn(A) -> R + Send + Sync,
    A: JsonSchema + DeserializeOwned,
    R: IntoToolResult,
{
    fn definition(&self) -> &Definition {
        &self.0.definition
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        match Typed::<F, A>::arguments(call) {
            Ok(arguments) => {
                (self.0.function)(arguments).write_to(result);
                Started::Finished
            }
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}

impl<F, A, R> Tool for AsyncTool<F, A>
where
    F: Fn(A) -> R + Send + Sync,
    A: JsonSchema + DeserializeOwned,
    R: Future + 'static,
    R::Output: IntoToolResult,
{
    fn definition(&self) -> &Definition {
        &self.0.definition
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        match Typed::<F, A>::arguments(call) {
            Ok(arguments) => {
                let future = (self.0.function)(arguments);
                Started::Running(Box::pin(async { ToolResult::new(future.await) }))
            }
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}

impl<F, A, R> Tool for ContextTool<F, A>
where
    F: Fn(A, Context) -> R + Send + Sync,
    A: JsonSchema + DeserializeOwned,
    R: Future + 'static,
    R::Output: IntoToolResult,
{
    fn definition(&self) -> &Definition {
        &self.0.definition
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        match Typed::<F, A>::arguments(call) {
            Ok(arguments) => {
                let future = (self.0.function)(arguments, call.context());
                Started::Running(Box::pin(async { ToolResult::new(future.await) }))
            }
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}

impl<F, A, R> Tool for BlockingTool<F, A>
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: JsonSchema + DeserializeOwned + Send + 'static,
    R: IntoToolResult + 'static,
{
    fn definition(&self) -> &Definition {
        &self.0.definition
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        match Typed::<F, A>::arguments(call) {
            Ok(arguments) => {
                let function = Arc::clone(&self.0.function);
                Started::Running(Box::pin(run::on_pool(move || function(arguments))))
            }
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}
