//! Completion: what an argument of a prompt or a variable of a template may become.

use serde::Serialize;

use crate::limits::COMPLETION_VALUES;
use crate::resource::Variables;

/// What is to be completed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Completing<'a> {
    /// What the person has typed so far.
    pub value: &'a str,
    /// Values of other arguments, where the client sent them.
    pub others: &'a Variables,
}

/// The values offered, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Completed {
    values: Vec<String>,
    total: usize,
    has_more: bool,
}

impl Completed {
    fn of(mut values: Vec<String>) -> Self {
        let total = values.len();
        values.truncate(COMPLETION_VALUES);
        Self {
            values,
            total,
            has_more: total > COMPLETION_VALUES,
        }
    }
}

type Complete = dyn Fn(Completing<'_>) -> Vec<String> + Send + Sync;

/// Who completes one argument.
pub(crate) struct Completer {
    /// Name of the prompt or URI of the template.
    pub(crate) of: String,
    pub(crate) argument: String,
    pub(crate) is_prompt: bool,
    complete: Box<Complete>,
}

impl Completer {
    pub(crate) fn new<V: Into<String>, I: IntoIterator<Item = V>>(
        of: String,
        argument: String,
        is_prompt: bool,
        complete: impl Fn(Completing<'_>) -> I + Send + Sync + 'static,
    ) -> Self {
        let complete =
            move |asked: Completing<'_>| complete(asked).into_iter().map(Into::into).collect();
        Self {
            of,
            argument,
            is_prompt,
            complete: Box::new(complete),
        }
    }

    pub(crate) fn complete(&self, asked: Completing<'_>) -> Completed {
        Completed::of((self.complete)(asked))
    }
}
