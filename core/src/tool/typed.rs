//! Typed Rust functions as tools: arguments through serde, schema through schemars. A function runs
//! at once, as a future of the shard, or on the blocking pool; all else is the same for all.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::run::on_pool;
use super::{Call, Definition, Info, IntoToolResult, ResultWriter, Started, Tool, ToolResult};
use crate::context::Context;

/// Begins a call whose arguments have been read.
type Begin<A> = dyn Fn(A, Call<'_>, &mut ResultWriter<'_>) -> Started + Send + Sync;

/// A function of an `A`.
pub(crate) struct Typed<A> {
    definition: Definition,
    begin: Box<Begin<A>>,
}

impl<A: JsonSchema + DeserializeOwned> Typed<A> {
    fn new(
        info: Info,
        description: Cow<'static, str>,
        begin: impl Fn(A, Call<'_>, &mut ResultWriter<'_>) -> Started + Send + Sync + 'static,
    ) -> Self {
        Self {
            definition: Definition::of::<A>(info, description),
            begin: Box::new(begin),
        }
    }

    /// Runs to completion on the shard.
    pub(crate) fn now<R: IntoToolResult>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::new(info, description, move |arguments, _, result| {
            function(arguments).write_to(result);
            Started::Finished
        })
    }

    /// A future of the shard.
    pub(crate) fn later<R: Future<Output: IntoToolResult> + 'static>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::new(info, description, move |arguments, _, _| {
            running(function(arguments))
        })
    }

    /// A future of the shard that speaks with its client.
    pub(crate) fn talking<R: Future<Output: IntoToolResult> + 'static>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A, Context) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::new(info, description, move |arguments, call, _| {
            running(function(arguments, call.context()))
        })
    }

    /// Work for the blocking pool.
    pub(crate) fn elsewhere<R: IntoToolResult + 'static>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: Send + 'static,
    {
        let function = Arc::new(function);
        Self::new(info, description, move |arguments, _, _| {
            let function = function.clone();
            Started::Running(Box::pin(on_pool(move || function(arguments))))
        })
    }
}

impl<A: DeserializeOwned> Tool for Typed<A> {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started {
        match A::deserialize(call.arguments) {
            Ok(arguments) => (self.begin)(arguments, call, result),
            Err(error) => {
                result.fail(&error);
                Started::Refused
            }
        }
    }
}

fn running(future: impl Future<Output: IntoToolResult> + 'static) -> Started {
    Started::Running(Box::pin(async { ToolResult::new(future.await) }))
}
