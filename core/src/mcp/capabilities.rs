//! What a client is able to do, as far as a server can make use of it.

use crate::rpc::Value;
use crate::task::EXTENSION;

/// What a client declared, in `initialize` or with its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Its person can be asked by a form.
    pub elicit_form: bool,
    /// Its person can be sent to a URL.
    pub elicit_url: bool,
    /// Its model can be asked.
    pub sample: bool,
    /// Its model can be asked, and use tools meanwhile.
    pub sample_tools: bool,
    /// It can list its roots.
    pub roots: bool,
    /// It knows tasks, of the extension to the modern era.
    pub tasks: bool,
}

impl Capabilities {
    /// Reads a `ClientCapabilities` object; what is unknown says nothing.
    pub(crate) fn read(declared: Value<'_>) -> Self {
        let object = |value: Option<Value<'_>>| value.is_some_and(|it| it.as_object().is_some());
        let elicitation = declared.get("elicitation");
        let sampling = declared.get("sampling");
        let inside = |value: Option<Value<'_>>, key| object(value.and_then(|it| it.get(key)));
        let by_url = inside(elicitation, "url");
        Self {
            // An empty object has meant the form since before there were two modes.
            elicit_form: object(elicitation) && (inside(elicitation, "form") || !by_url),
            elicit_url: by_url,
            sample: object(sampling),
            sample_tools: inside(sampling, "tools"),
            roots: object(declared.get("roots")),
            tasks: inside(declared.get("extensions"), EXTENSION),
        }
    }
}
