//! Prompts: typed functions from arguments to messages.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::content::{Content, Contents, Icon, Meta, Role};
use crate::context::Context;
use crate::mcp::work::Failed;
use crate::rpc::{RpcError, Value};
use crate::tool::{Info, LocalBoxFuture, description_of, elsewhere, schema_of};

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptMessage {
    /// Whose words they are.
    pub role: Role,
    /// The words.
    pub content: Content,
}

impl PromptMessage {
    /// Words of the person.
    pub fn user(content: impl Into<Content>) -> Self {
        Self {
            role: Role::User,
            content: content.into(),
        }
    }

    /// Words of the model.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self {
            role: Role::Assistant,
            content: content.into(),
        }
    }
}

/// What a prompt's function may return.
pub trait IntoMessages {
    /// The messages.
    ///
    /// # Errors
    /// What went wrong, for the client to read.
    fn into_messages(self) -> Result<Vec<PromptMessage>, String>;
}

impl IntoMessages for Vec<PromptMessage> {
    fn into_messages(self) -> Result<Vec<PromptMessage>, String> {
        Ok(self)
    }
}

impl<const N: usize> IntoMessages for [PromptMessage; N] {
    fn into_messages(self) -> Result<Vec<PromptMessage>, String> {
        Ok(self.into())
    }
}

macro_rules! one_message {
    ($($kind:ty)*) => {
        $(impl IntoMessages for $kind {
            fn into_messages(self) -> Result<Vec<PromptMessage>, String> {
                Ok(vec![PromptMessage::user(self)])
            }
        })*
    };
}

one_message! { String &'static str Content Contents }

impl<T: IntoMessages, E: Display> IntoMessages for Result<T, E> {
    fn into_messages(self) -> Result<Vec<PromptMessage>, String> {
        self.map_err(|error| error.to_string())?.into_messages()
    }
}

/// One argument in `prompts/list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Argument {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    required: bool,
}

/// How a prompt presents itself in `prompts/list`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PromptDefinition {
    pub(crate) name: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Cow<'static, str>>,
    pub(crate) description: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<Icon>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) arguments: Vec<Argument>,
    #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
    meta: Meta,
}

/// What came of a prompt.
pub(crate) type Messages = Result<Vec<PromptMessage>, Failed>;

/// A prompt that was begun.
pub(crate) enum Begun {
    Done(Messages),
    Running(LocalBoxFuture<'static, Messages>),
}

type Begin = dyn Fn(Value<'_>, &dyn Fn() -> Context) -> Begun + Send + Sync;

/// A prompt and the function behind it.
pub(crate) struct PromptEntry {
    pub(crate) definition: PromptDefinition,
    begin: Box<Begin>,
}

impl PromptEntry {
    pub(crate) fn now<A, R>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: JsonSchema + DeserializeOwned + 'static,
        R: IntoMessages,
    {
        Self {
            definition: define::<A>(info, description),
            begin: Box::new(move |arguments, _| {
                Begun::Done(match read(arguments) {
                    Ok(arguments) => told(function(arguments)),
                    Err(error) => Err(error.into()),
                })
            }),
        }
    }

    pub(crate) fn later<A, R>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A, Context) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: JsonSchema + DeserializeOwned + 'static,
        R: Future<Output: IntoMessages> + 'static,
    {
        Self {
            definition: define::<A>(info, description),
            begin: Box::new(move |arguments, context| match read(arguments) {
                Ok(arguments) => {
                    let messages = function(arguments, context());
                    Begun::Running(Box::pin(async { told(messages.await) }))
                }
                Err(error) => Begun::Done(Err(error.into())),
            }),
        }
    }

    pub(crate) fn elsewhere<A, R>(
        info: Info,
        description: Cow<'static, str>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: JsonSchema + DeserializeOwned + Send + 'static,
        R: IntoMessages,
    {
        let function = Arc::new(function);
        Self {
            definition: define::<A>(info, description),
            begin: Box::new(move |arguments, _| match read(arguments) {
                Ok(arguments) => {
                    let function = function.clone();
                    let work = move || told(function(arguments));
                    Begun::Running(Box::pin(async { elsewhere(work).await? }))
                }
                Err(error) => Begun::Done(Err(error.into())),
            }),
        }
    }

    /// Begins with `arguments`, an object; `context` makes the context, if one is wanted.
    pub(crate) fn begin(&self, arguments: Value<'_>, context: &dyn Fn() -> Context) -> Begun {
        (self.begin)(arguments, context)
    }
}

fn read<A: DeserializeOwned>(arguments: Value<'_>) -> Result<A, RpcError> {
    A::deserialize(arguments)
        .map_err(|error| RpcError::invalid_params(format!("Invalid params: {error}")))
}

fn told(messages: impl IntoMessages) -> Messages {
    messages.into_messages().map_err(Failed::saying)
}

/// Arguments of a prompt are strings: the properties of `A` are their names.
fn define<A: JsonSchema>(info: Info, description: Cow<'static, str>) -> PromptDefinition {
    #[derive(Deserialize, Default)]
    struct Object {
        #[serde(default)]
        properties: serde_json::Map<String, serde_json::Value>,
        #[serde(default)]
        required: Vec<String>,
    }
    let schema = schema_of::<A>();
    let object: Object = serde_json::from_str(schema.get()).unwrap_or_default();
    let description = match description.is_empty() {
        true => description_of(&schema).into(),
        false => description,
    };
    let argument = |(name, schema): (&String, &serde_json::Value)| Argument {
        name: name.clone(),
        description: schema["description"].as_str().map(str::to_owned),
        required: object.required.contains(name),
    };
    PromptDefinition {
        name: info.name,
        title: info.title,
        description,
        icons: info.icons,
        arguments: object.properties.iter().map(argument).collect(),
        meta: info.meta,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Arguments {
        /// What it is about.
        topic: String,
        tone: Option<String>,
    }

    #[test]
    fn arguments_come_from_the_type() {
        let definition = define::<Arguments>("p".into(), "d".into());
        let wanted = serde_json::json!({"name": "p", "description": "d", "arguments": [
            {"name": "tone", "required": false},
            {"name": "topic", "description": "What it is about.", "required": true},
        ]});
        assert_eq!(serde_json::to_value(definition).unwrap(), wanted);
    }
}
