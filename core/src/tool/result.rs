//! Results: what a handler returns becomes content, written straight into the answer.

use std::borrow::Cow;
use std::fmt::Display;

use ninefold_runtime::panics::Caught;
use serde::Serialize;

use super::Structure;
use crate::content::{Content, Contents, Meta};
use crate::mcp::Era;
use crate::rpc::write;

/// Writes one tool result; the answer's buffer is the only place it is ever in.
#[derive(Debug)]
pub struct ResultWriter<'a> {
    out: &'a mut Vec<u8>,
    items: usize,
    structured: Vec<u8>,
    meta: Meta,
    is_error: bool,
}

impl<'a> ResultWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(br#"{"content":["#);
        Self {
            out,
            items: 0,
            structured: Vec::new(),
            meta: Meta::new(),
            is_error: false,
        }
    }

    /// Adds a text block.
    pub fn text(&mut self, text: &str) {
        self.block(|out| write::string(out, text));
    }

    /// Adds a text block with the text of `value`.
    pub fn display(&mut self, value: &impl Display) {
        self.block(|out| write::display(out, value));
    }

    /// Adds `value` as a text block of JSON and as structured content, which in the legacy era
    /// only an object can be: of anything else its clients get the text.
    pub fn structured(&mut self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(json) => {
                self.text(&json);
                self.structured = json.into_bytes();
            }
            Err(error) => self.fail(&format_args!("the result is not representable: {error}")),
        }
    }

    /// Marks the result as an error, explained by `why` to the model that called.
    pub fn fail(&mut self, why: &impl Display) {
        self.is_error = true;
        self.display(why);
    }

    /// Adds to the `_meta` of the result, under a key such as `example.com/name`.
    pub fn meta(&mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) {
        self.meta.insert(key.into(), value.into());
    }

    /// Adds any block.
    pub fn content(&mut self, content: &Content) {
        if let Some(text) = content.plain_text() {
            return self.text(text);
        }
        match serde_json::to_vec(content) {
            Ok(json) => {
                self.separate();
                self.out.extend_from_slice(&json);
            }
            Err(error) => self.fail(&format_args!("the result is not representable: {error}")),
        }
    }

    fn block(&mut self, text: impl FnOnce(&mut Vec<u8>)) {
        self.separate();
        self.out.extend_from_slice(br#"{"type":"text","text":"#);
        text(self.out);
        self.out.push(b'}');
    }

    fn separate(&mut self) {
        if self.items > 0 {
            self.out.push(b',');
        }
        self.items += 1;
    }

    /// Why the result breaks the promise `structure`; one that says what went wrong makes none.
    pub(crate) fn breaks(&self, structure: &Structure) -> Option<String> {
        match self.is_error {
            true => None,
            false => structure.broken_by(&self.structured),
        }
    }

    /// Ends the members of the result in the words of its era, and gives the members of its
    /// `_meta`; the object stays open for the stamp of the era.
    pub(crate) fn finish(self, era: Era) -> Vec<u8> {
        close(self.out, &self.structured, self.is_error, era);
        inside(&self.meta)
    }
}

/// Ends the content of a result, and adds what stands behind it.
fn close(out: &mut Vec<u8>, structured: &[u8], is_error: bool, era: Era) {
    out.push(b']');
    let known = match era {
        Era::Legacy => structured.starts_with(b"{"),
        Era::Modern => !structured.is_empty(),
    };
    if known {
        out.extend_from_slice(br#","structuredContent":"#);
        out.extend_from_slice(structured);
    }
    if is_error {
        out.extend_from_slice(br#","isError":true"#);
    }
}

/// The members of `meta`, without its braces.
fn inside(meta: &Meta) -> Vec<u8> {
    if meta.is_empty() {
        return Vec::new();
    }
    let text = serde_json::to_vec(meta).unwrap_or_default();
    match text.as_slice() {
        [b'{', inside @ .., b'}'] => inside.to_vec(),
        _ => Vec::new(),
    }
}

/// The members of a result, its object left open, and those of its `_meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) json: Vec<u8>,
    pub(crate) meta: Vec<u8>,
}

impl From<Vec<u8>> for Members {
    fn from(json: Vec<u8>) -> Self {
        let meta = Vec::new();
        Self { json, meta }
    }
}

/// A finished result on its way from a future or from the blocking pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult(Result<Parts, Caught>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    content: Vec<u8>,
    structured: Vec<u8>,
    meta: Meta,
    is_error: bool,
}

impl ToolResult {
    /// The result that `value` stands for.
    pub fn new(value: impl IntoToolResult) -> Self {
        let mut content = Vec::with_capacity(128);
        let mut writer = ResultWriter::new(&mut content);
        value.write_to(&mut writer);
        let ResultWriter {
            structured,
            meta,
            is_error,
            ..
        } = writer;
        Self(Ok(Parts {
            content,
            structured,
            meta,
            is_error,
        }))
    }

    /// A result with `isError`, explained by `why`.
    pub fn failure(why: impl Display) -> Self {
        Self::new(Err::<(), _>(why))
    }

    /// Stands for a panic on the blocking pool until it reaches the call that it fails.
    pub(super) fn panicked(caught: Caught) -> Self {
        Self(Err(caught))
    }

    /// Why the result breaks the promise `structure`; one that says what went wrong makes none.
    pub(crate) fn breaks(&self, structure: &Structure) -> Option<String> {
        match &self.0 {
            Ok(parts) if !parts.is_error => structure.broken_by(&parts.structured),
            _ => None,
        }
    }

    /// The members of the result in the words of an era.
    pub(crate) fn into_members(self, era: Era) -> Result<Members, Caught> {
        let parts = self.0?;
        let mut json = parts.content;
        close(&mut json, &parts.structured, parts.is_error, era);
        let meta = inside(&parts.meta);
        Ok(Members { json, meta })
    }
}

/// What a tool may return.
pub trait IntoToolResult {
    /// Writes this value as content of `result`.
    fn write_to(self, result: &mut ResultWriter<'_>);

    /// Adds to the `_meta` of the result, under a key such as `example.com/name`.
    fn with_meta(
        self,
        key: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> WithMeta<Self>
    where
        Self: Sized,
    {
        WithMeta(self, key.into(), value.into())
    }
}

/// What a tool returns, with a member of `_meta`; made by [`IntoToolResult::with_meta`].
#[derive(Clone, Debug, PartialEq)]
pub struct WithMeta<T>(T, String, serde_json::Value);

impl<T: IntoToolResult> IntoToolResult for WithMeta<T> {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        self.0.write_to(result);
        result.meta(self.1, self.2);
    }
}

/// A value returned as JSON: a text block and `structuredContent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(
    /// The value to serialise.
    pub T,
);

impl<T: Serialize> IntoToolResult for Json<T> {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        result.structured(&self.0);
    }
}

impl<T: IntoToolResult, E: Display> IntoToolResult for Result<T, E> {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        match self {
            Ok(value) => value.write_to(result),
            Err(error) => result.fail(&error),
        }
    }
}

impl IntoToolResult for Content {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        result.content(&self);
    }
}

impl IntoToolResult for Contents {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        result.content(&self.into());
    }
}

impl IntoToolResult for Vec<Content> {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        self.iter().for_each(|content| result.content(content));
    }
}

impl<const N: usize> IntoToolResult for [Content; N] {
    fn write_to(self, result: &mut ResultWriter<'_>) {
        self.iter().for_each(|content| result.content(content));
    }
}

impl IntoToolResult for () {
    fn write_to(self, _result: &mut ResultWriter<'_>) {}
}

macro_rules! text {
    ($($kind:ty)*) => {
        $(impl IntoToolResult for $kind {
            fn write_to(self, result: &mut ResultWriter<'_>) {
                result.text(&self);
            }
        })*
    };
}

macro_rules! display {
    ($($kind:ty)*) => {
        $(impl IntoToolResult for $kind {
            fn write_to(self, result: &mut ResultWriter<'_>) {
                result.display(&self);
            }
        })*
    };
}

text! { String &str Cow<'_, str> }
display! { bool char i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 }

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl IntoToolResult, era: Era) -> serde_json::Value {
        let mut members = ToolResult::new(value).into_members(era).unwrap().json;
        members.push(b'}');
        serde_json::from_slice(&members).unwrap()
    }

    #[test]
    fn values_become_content() {
        #[derive(Serialize)]
        struct Point {
            x: i32,
        }
        fn written(value: impl IntoToolResult) -> serde_json::Value {
            super::tests::written(value, Era::Legacy)
        }
        let text = |text: &str| serde_json::json!({"content": [{"type": "text", "text": text}]});
        assert_eq!(written("a\"b"), text("a\"b"));
        assert_eq!(written(String::from("é")), text("é"));
        assert_eq!(written(5_i64), text("5"));
        assert_eq!(written(1.5), text("1.5"));
        assert_eq!(written(Ok::<_, String>(true)), text("true"));
        assert_eq!(written(()), serde_json::json!({"content": []}));
        assert_eq!(written(Json([1, 2])), text("[1,2]"));
        let mut point = text("{\"x\":1}");
        point["structuredContent"] = serde_json::json!({"x": 1});
        assert_eq!(written(Json(Point { x: 1 })), point);
        let mut failure = text("out of range");
        failure["isError"] = true.into();
        assert_eq!(written(Err::<(), _>("out of range")), failure);
    }

    #[test]
    fn structured_content_is_of_any_kind_in_the_modern_era_only() {
        for (value, text) in [
            (serde_json::json!([1, 2]), "[1,2]"),
            (serde_json::json!("x"), "\"x\""),
            (serde_json::json!(null), "null"),
        ] {
            let modern = written(Json(value.clone()), Era::Modern);
            assert_eq!(modern.get("structuredContent"), Some(&value));
            let legacy = written(Json(value), Era::Legacy);
            assert_eq!(legacy.get("structuredContent"), None);
            assert_eq!(legacy["content"][0]["text"], text);
        }
    }

    #[test]
    fn members_of_meta_are_kept_apart() {
        let result = "x"
            .with_meta("example.com/a", 1)
            .with_meta("example.com/b", "c");
        let members = ToolResult::new(result).into_members(Era::Modern).unwrap();
        let meta = String::from_utf8(members.meta).unwrap();
        assert_eq!(meta, r#""example.com/a":1,"example.com/b":"c""#);
    }
}
