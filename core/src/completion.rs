//! Completion: what an argument of a prompt or a variable of a template may become.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use crate::limits::COMPLETION_VALUES;
use crate::mcp::work::Failed;
use crate::resource::Variables;
use crate::tool::{LocalBoxFuture, elsewhere};

/// What is to be completed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Completing<'a> {
    /// What the person has typed so far.
    pub value: &'a str,
    /// Values of other arguments, where the client sent them.
    pub others: &'a Variables,
}

/// The same, for a function that does not answer at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completed {
    /// What the person has typed so far.
    pub value: String,
    /// Values of other arguments, where the client sent them.
    pub others: Variables,
}

/// The values offered, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offered {
    values: Vec<String>,
    total: usize,
    has_more: bool,
}

impl Offered {
    fn of<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut values: Vec<_> = values.into_iter().map(Into::into).collect();
        let total = values.len();
        values.truncate(COMPLETION_VALUES);
        Self {
            values,
            total,
            has_more: total > COMPLETION_VALUES,
        }
    }
}

/// What came of a completion.
pub(crate) type Offer = Result<Offered, Failed>;

type Now = dyn Fn(Completing<'_>) -> Offered + Send + Sync;
type Later = dyn Fn(Completed) -> LocalBoxFuture<'static, Offer> + Send + Sync;

/// A function that completes: at once, or as a future of the shard.
pub(crate) enum Complete {
    Now(Box<Now>),
    Later(Box<Later>),
}

/// Who completes one argument; registered by `completion`.
pub struct Completion {
    /// Name of the prompt or URI of the template.
    pub(crate) of: String,
    pub(crate) argument: String,
    pub(crate) is_prompt: bool,
    pub(crate) complete: Complete,
}

/// An argument that is to be completed, and by nobody yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    of: String,
    argument: String,
    is_prompt: bool,
}

impl Completion {
    /// Of the argument `argument` of the prompt `prompt`.
    pub fn prompt(prompt: impl Into<String>, argument: impl Into<String>) -> Argument {
        Argument {
            of: prompt.into(),
            argument: argument.into(),
            is_prompt: true,
        }
    }

    /// Of the variable `variable` of the resource template `template`.
    pub fn template(template: impl Into<String>, variable: impl Into<String>) -> Argument {
        Argument {
            of: template.into(),
            argument: variable.into(),
            is_prompt: false,
        }
    }
}

impl Argument {
    /// By a function that runs to completion on the shard: it must be short.
    pub fn by<V: Into<String>, I: IntoIterator<Item = V>>(
        self,
        complete: impl Fn(Completing<'_>) -> I + Send + Sync + 'static,
    ) -> Completion {
        let complete = move |asked: Completing<'_>| Offered::of(complete(asked));
        self.with(Complete::Now(Box::new(complete)))
    }

    /// By an async function; its futures stay on the shard that received the request.
    pub fn by_async<V: Into<String>, I: IntoIterator<Item = V>, F: Future<Output = I> + 'static>(
        self,
        complete: impl Fn(Completed) -> F + Send + Sync + 'static,
    ) -> Completion {
        self.with(Complete::Later(Box::new(move |asked| {
            let values = complete(asked);
            Box::pin(async { Ok(Offered::of(values.await)) })
        })))
    }

    /// By a function that blocks or computes for long; it runs on the blocking pool.
    pub fn by_blocking<V: Into<String>, I: IntoIterator<Item = V>>(
        self,
        complete: impl Fn(Completed) -> I + Send + Sync + 'static,
    ) -> Completion {
        let complete = Arc::new(complete);
        self.with(Complete::Later(Box::new(move |asked| {
            let complete = complete.clone();
            Box::pin(elsewhere(move || Offered::of(complete(asked))))
        })))
    }

    fn with(self, complete: Complete) -> Completion {
        Completion {
            of: self.of,
            argument: self.argument,
            is_prompt: self.is_prompt,
            complete,
        }
    }
}
