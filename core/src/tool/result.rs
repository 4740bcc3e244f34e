//! Results: what a handler returns becomes content, written straight into the answer.

use std::borrow::Cow;
use std::fmt::Display;

use ninefold_runtime::panics::Caught;
use serde::Serialize;

use crate::content::{Content, Contents};
use crate::rpc::write;

/// Writes one tool result; the answer's buffer is the only place it is ever in.
#[derive(Debug)]
pub struct ResultWriter<'a> {
    out: &'a mut Vec<u8>,
    items: usize,
    structured: Vec<u8>,
    is_error: bool,
}

impl<'a> ResultWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(br#"{"content":["#);
        Self {
            out,
            items: 0,
            structured: Vec::new(),
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

    /// Adds `value` as a text block of JSON and, if it is an object, as structured content.
    pub fn structured(&mut self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(json) => {
                self.text(&json);
                if json.starts_with('{') {
                    self.structured = json.into_bytes();
                }
            }
            Err(error) => self.fail(&format_args!("the result is not representable: {error}")),
        }
    }

    /// Marks the result as an error, explained by `why` to the model that called.
    pub fn fail(&mut self, why: &impl Display) {
        self.is_error = true;
        self.display(why);
    }

    /// Adds any block.
    pub fn content(&mut self, content: &Content) {
        if let Content::Text(text) = content {
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

    /// Ends the members of the result; the object stays open for the stamp of its era.
    pub(crate) fn finish(self) {
        self.out.push(b']');
        if !self.structured.is_empty() {
            self.out.extend_from_slice(br#","structuredContent":"#);
            self.out.extend_from_slice(&self.structured);
        }
        if self.is_error {
            self.out.extend_from_slice(br#","isError":true"#);
        }
    }
}

/// A finished result on its way from a future or from the blocking pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult(Result<Vec<u8>, Caught>);

impl ToolResult {
    /// The result that `value` stands for.
    pub fn new(value: impl IntoToolResult) -> Self {
        let mut out = Vec::with_capacity(128);
        let mut writer = ResultWriter::new(&mut out);
        value.write_to(&mut writer);
        writer.finish();
        Self(Ok(out))
    }

    /// A result with `isError`, explained by `why`.
    pub fn failure(why: impl Display) -> Self {
        Self::new(Err::<(), _>(why))
    }

    /// Stands for a panic on the blocking pool until it reaches the call that it fails.
    pub(super) fn panicked(caught: Caught) -> Self {
        Self(Err(caught))
    }

    /// The members of the result, its object left open.
    pub(crate) fn into_members(self) -> Result<Vec<u8>, Caught> {
        self.0
    }
}

/// What a tool may return.
pub trait IntoToolResult {
    /// Writes this value as content of `result`.
    fn write_to(self, result: &mut ResultWriter<'_>);
}

/// A value returned as JSON: a text block and, for an object, `structuredContent`.
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

    fn written(value: impl IntoToolResult) -> serde_json::Value {
        let mut bytes = ToolResult::new(value).into_members().unwrap();
        bytes.push(b'}');
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn values_become_content() {
        #[derive(Serialize)]
        struct Point {
            x: i32,
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
}
