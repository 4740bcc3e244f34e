//! The headers in which a modern client repeats what a request says.

use std::collections::HashMap;
use std::sync::Mutex;

use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::http::Headers;
use super::limits::SCHEMA_BYTES;
use super::peer::lock;
use crate::mcp::headers::{Mirrored, encode, mirrored};

const KEY: &str = "x-mcp-header";

/// Which arguments of which tools are repeated; known once the tools were listed.
#[derive(Default)]
pub(crate) struct Params(Mutex<HashMap<String, Vec<Mirrored>>>);

impl Params {
    /// Learns from an entry of a list of tools. False for a tool that breaks the rules of
    /// `x-mcp-header`: it must not be used over HTTP.
    // [mcp:http-drop-tools]
    pub(crate) fn learn(&self, tool: &Value) -> bool {
        let schema = &tool["inputSchema"];
        let text = schema.to_string();
        // A schema without wishes is not looked at; of one with them each path is copied.
        if text.contains(KEY) && text.len() > SCHEMA_BYTES {
            return false;
        }
        let Ok(found) = mirrored(&text) else {
            return false;
        };
        if found.len() != wishes(schema, true) {
            return false;
        }
        let name = tool["name"].as_str().unwrap_or_default();
        lock(&self.0).insert(name.to_owned(), found);
        true
    }

    /// The headers of a request.
    // [mcp:http-send-mirrors] [mcp:http-send-params]
    pub(crate) fn headers(&self, method: &str, params: &Value) -> Headers {
        let mut headers = Headers::new();
        let mut add = |name: &str, text: &str| {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&encode(text))) {
                headers.push((name, value));
            }
        };
        add("mcp-method", method);
        let name = match method {
            "tools/call" | "prompts/get" => &params["name"],
            "resources/read" => &params["uri"],
            _ => &Value::Null,
        };
        if let Some(name) = name.as_str() {
            add("mcp-name", name);
        }
        if method == "tools/call" {
            let known = lock(&self.0);
            let known = name.as_str().and_then(|name| known.get(name));
            for it in known.into_iter().flatten() {
                let path = it.path.iter();
                let argument = path.fold(&params["arguments"], |it, key| &it[key.as_str()]);
                match argument {
                    Value::String(text) => add(&it.header, text),
                    Value::Bool(_) | Value::Number(_) => add(&it.header, &argument.to_string()),
                    _ => {}
                }
            }
        }
        headers
    }
}

/// How many places of a schema wish for a header. The name of a property is no wish.
fn wishes(schema: &Value, is_schema: bool) -> usize {
    match schema {
        Value::Array(all) => all.iter().map(|it| wishes(it, true)).sum(),
        Value::Object(members) => {
            let own = usize::from(is_schema && members.contains_key(KEY));
            let inner = members.iter().map(|(name, it)| match name.as_str() {
                "const" | "default" | "enum" | "examples" if is_schema => 0,
                "$defs" | "definitions" | "patternProperties" | "properties" if is_schema => {
                    wishes(it, false)
                }
                _ => wishes(it, true),
            });
            own + inner.sum::<usize>()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_repeated_as_the_schema_wishes() {
        // [mcp:http-send-params] [mcp:http-encode]
        let params = Params::default();
        let of = |kind: &str, header: &str| json!({"type": kind, KEY: header});
        let tool = json!({"name": "t", "inputSchema": {"type": "object", "properties": {
            "a": of("string", "A"), "n": of("integer", "N"), "no": of("boolean", "No"),
            "deep": {"type": "object", "properties": {"x": of("string", "X")}}}}});
        assert!(params.learn(&tool));
        let call = json!({"name": "t", "arguments": {
            "a": "é", "n": 7, "no": null, "deep": {"x": ""}, "other": "o"}});
        let mut found: Vec<_> = params
            .headers("tools/call", &call)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.sort();
        let wanted = [
            "mcp-method: tools/call",
            "mcp-name: t",
            "mcp-param-a: =?base64?w6k=?=",
            "mcp-param-n: 7",
            "mcp-param-x: ",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn tools_that_break_the_rules_are_not_learnt() {
        // [mcp:http-drop-tools]
        let wish = json!({"type": "string", KEY: "A"});
        for (schema, good) in [
            (json!({"properties": {"a": wish}}), true),
            (json!({"properties": {KEY: {"type": "string"}}}), true),
            (
                json!({"properties": {"a": {"type": "string", KEY: ""}}}),
                false,
            ),
            (
                json!({"properties": {"a": {"type": "array", "items": wish}}}),
                false,
            ),
            (json!({"anyOf": [{"properties": {"a": wish}}]}), false),
            (json!({"$defs": {"a": wish}}), false),
        ] {
            let tool = json!({"name": "t", "inputSchema": schema});
            assert_eq!(Params::default().learn(&tool), good, "{tool}");
        }
    }
}
