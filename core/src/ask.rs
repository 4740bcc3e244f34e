//! Questions that a server may ask of a client, and their answers.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::mcp::Era;
use crate::talk::Need;
use crate::tool::schema_of;
use crate::turns;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The client did not declare that it can be asked this.
    #[error("the client does not support {0}")]
    Unsupported(&'static str),
    /// The client answered with an error.
    #[error("the client answered with error {code}: {message}")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
        /// What it said.
        message: String,
    },
    /// An answer that does not have the form that the specification asks for.
    #[error("the client's answer is malformed: {0}")]
    Malformed(String),
    /// Messages to the client's model that break the order of tool uses and their results; nothing
    /// was asked.
    #[error("these messages cannot be sampled from: {0}")]
    Turns(String),
    /// No answer in time, or the session has ended.
    #[error("the client did not answer in time")]
    Late,
    /// More messages wait for this client than the limit.
    #[error("too many messages wait for this client")]
    Full,
}

/// A question to the person at the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Elicit {
    message: Cow<'static, str>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Form(Value),
    Url { url: String, id: String },
}

impl Elicit {
    /// Asks for the members of `T`, a flat struct.
    pub fn form<T: JsonSchema>(message: impl Into<Cow<'static, str>>) -> Self {
        // A schema that was just written can be read.
        let mut schema: Value = serde_json::from_str(schema_of::<T>().get()).unwrap_or_default();
        flatten(&mut schema);
        Self::form_of(message, schema)
    }

    /// Asks for an object by `schema`, a flat one.
    pub fn form_of(message: impl Into<Cow<'static, str>>, schema: Value) -> Self {
        Self {
            message: message.into(),
            kind: Kind::Form(schema),
        }
    }

    /// Asks to visit `url`. `id` names this elicitation in the legacy era.
    pub fn url(
        message: impl Into<Cow<'static, str>>,
        url: impl Into<String>,
        id: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            kind: Kind::Url {
                url: url.into(),
                id: id.into(),
            },
        }
    }

    pub(crate) fn need(&self) -> Need {
        match self.kind {
            Kind::Form(_) => Need::ElicitForm,
            Kind::Url { .. } => Need::ElicitUrl,
        }
    }

    // [mcp:elicit-shape]
    pub(crate) fn params(self, era: Era) -> Value {
        match (self.kind, era) {
            (Kind::Form(schema), _) => {
                json!({"message": self.message, "requestedSchema": schema})
            }
            (Kind::Url { url, id }, Era::Legacy) => {
                json!({"mode": "url", "message": self.message, "url": url, "elicitationId": id})
            }
            (Kind::Url { url, .. }, Era::Modern) => {
                json!({"mode": "url", "message": self.message, "url": url})
            }
        }
    }
}

/// Says of each field of a form what a client can show: one type, where an `Option` has two, and
/// none of the number formats that only Rust knows. `required` says which fields may be absent.
fn flatten(schema: &mut Value) {
    for field in schema["properties"].as_object_mut().into_iter().flatten() {
        let Some(field) = field.1.as_object_mut() else {
            continue;
        };
        if let Some(Value::Array(types)) = field.get_mut("type") {
            types.retain(|it| it != "null");
            if let [one] = types.as_slice() {
                let one = one.clone();
                field.insert("type".into(), one);
            }
        }
        if field
            .get("type")
            .is_some_and(|it| it == "integer" || it == "number")
        {
            field.remove("format");
        }
    }
}

/// What the person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Gave the input, or consented.
    Accept,
    /// Said no.
    Decline,
    /// Went away.
    Cancel,
}

/// The answer to an [`Elicit`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Elicited {
    /// What the person did.
    pub action: Action,
    /// The input, if a form was accepted.
    #[serde(default)]
    pub content: Map<String, Value>,
}

/// A question to the client's model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    messages: Vec<Value>,
    params: Map<String, Value>,
}

impl Sample {
    /// Asks for at most `max_tokens`.
    pub fn new(max_tokens: u32) -> Self {
        let mut params = Map::new();
        params.insert("maxTokens".into(), max_tokens.into());
        Self {
            messages: Vec::new(),
            params,
        }
    }

    /// Adds words of the person.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message("user", json!({"type": "text", "text": text.into()}))
    }

    /// Adds words of the model.
    #[must_use]
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message("assistant", json!({"type": "text", "text": text.into()}))
    }

    /// Adds a message with any content of the specification, such as `tool_use` and `tool_result`.
    /// A user's message with tool results holds nothing else, and answers every tool use of the
    /// message before it.
    #[must_use]
    pub fn message(mut self, role: &str, content: Value) -> Self {
        self.messages
            .push(json!({"role": role, "content": content}));
        self
    }

    /// Sets the system prompt.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Self {
        self.set("systemPrompt", text.into().into())
    }

    /// Lets the model use tools, given as in `tools/list`; needs `sampling.tools` of the client.
    #[must_use]
    pub fn tools(self, tools: Value) -> Self {
        self.set("tools", tools)
    }

    /// Sets any other parameter of `sampling/createMessage`.
    #[must_use]
    pub fn set(mut self, name: &str, value: Value) -> Self {
        self.params.insert(name.to_owned(), value);
        self
    }

    // [mcp:sampling-tools]
    pub(crate) fn need(&self) -> Need {
        let tools = self.params.contains_key("tools") || self.params.contains_key("toolChoice");
        if tools {
            Need::SampleTools
        } else {
            Need::Sample
        }
    }

    /// Checks the turns of the conversation.
    // [mcp:sampling-turns]
    pub(crate) fn check(&self) -> Result<(), AskError> {
        turns::check(&self.messages).map_err(AskError::Turns)
    }

    pub(crate) fn params(mut self) -> Value {
        self.params.insert("messages".into(), self.messages.into());
        self.params.into()
    }
}

/// The answer to a [`Sample`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sampled {
    /// `assistant`, as a rule.
    pub role: String,
    /// One block, or several.
    pub content: Value,
    /// The model that answered.
    pub model: String,
    /// Why it ended, such as `endTurn` or `toolUse`.
    pub stop_reason: Option<String>,
}

impl Sampled {
    /// All text of the answer.
    pub fn text(&self) -> String {
        let blocks = match &self.content {
            Value::Array(blocks) => blocks.as_slice(),
            block => std::slice::from_ref(block),
        };
        blocks.iter().filter_map(|it| it["text"].as_str()).collect()
    }
}

/// A folder or a file that the client works in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Root {
    /// A `file:` URI.
    pub uri: String,
    /// Its name, for people.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_one_type_a_field() {
        #[derive(JsonSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        struct Form {
            /// Who.
            name: String,
            age: Option<u8>,
            score: f64,
            agreed: Option<bool>,
        }
        let params = Elicit::form::<Form>("Who?").params(Era::Modern);
        let schema = &params["requestedSchema"];
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["required"], json!(["name", "score"]));
        let fields = &schema["properties"];
        assert_eq!(
            fields["name"],
            json!({"type": "string", "description": "Who."})
        );
        assert_eq!(fields["age"]["type"], "integer");
        assert_eq!(fields["score"], json!({"type": "number"}));
        assert_eq!(fields["agreed"]["type"], "boolean");
        assert!(fields["age"].get("format").is_none());
    }

    #[test]
    fn questions_have_the_shapes_of_their_era() {
        // [mcp:elicit-shape]
        let url = || Elicit::url("Sign in", "https://example.com/", "7");
        assert_eq!(url().params(Era::Legacy)["elicitationId"], "7");
        assert!(url().params(Era::Modern).get("elicitationId").is_none());
        let tools = Sample::new(9)
            .user("?")
            .system("Be brief.")
            .tools(json!([]));
        assert_eq!(tools.need(), Need::SampleTools);
        let wanted = json!({"maxTokens": 9, "systemPrompt": "Be brief.", "tools": [],
            "messages": [{"role": "user", "content": {"type": "text", "text": "?"}}]});
        assert_eq!(tools.params(), wanted);
    }
}
