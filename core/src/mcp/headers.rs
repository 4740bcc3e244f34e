//! The headers that mirror a modern body, compared as the specification says: names without
//! regard to case (the HTTP parser did that), values exactly, surrounding white space ignored.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rpc::{Code, RpcError, Value};

const PREFIX: &[u8] = b"=?base64?";
const SUFFIX: &[u8] = b"?=";

/// What HTTP carries beside a modern message; absent on transports without headers.
#[derive(Clone, Copy)]
// [mcp:http-header-case]
pub(crate) struct Mirror<'a> {
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) name: Option<&'a [u8]>,
    /// All values of any other field, by its name in lower case.
    pub(crate) fields: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
}

impl Mirror<'_> {
    /// Compares `MCP-Protocol-Version` with the version that `_meta` names.
    // [mcp:http-version-header]
    pub(crate) fn check_version(&self, body: &str) -> Result<(), RpcError> {
        match self.version {
            Some(version) if version == body.as_bytes() => Ok(()),
            _ => Err(mismatch(
                "MCP-Protocol-Version does not match the version in _meta",
            )),
        }
    }

    /// Compares `Mcp-Method`.
    // [mcp:http-mirrors]
    pub(crate) fn check_method(&self, body: &str) -> Result<(), RpcError> {
        match self.method {
            Some(method) if method == body.as_bytes() => Ok(()),
            Some(_) => Err(mismatch("Mcp-Method does not match the method of the body")),
            None => Err(mismatch("Mcp-Method is missing")),
        }
    }

    /// Compares each `Mcp-Param-*` that a tool asks for with the argument that it mirrors. An
    /// argument that is absent or null is mirrored by no header.
    // [mcp:http-param-match]
    pub(crate) fn check_params(
        &self,
        mirrored: &[Mirrored],
        arguments: Value<'_>,
    ) -> Result<(), RpcError> {
        for Mirrored { header, path } in mirrored {
            let argument = path.iter().try_fold(arguments, |it, key| it.get(key));
            let values = (self.fields)(header);
            let same = match (argument.unwrap_or_default(), values.as_slice()) {
                (Value::Null, []) => true,
                (Value::Null, _) | (_, [] | [_, _, ..]) => false,
                (argument, [value]) => equal(argument, &decode(value)?),
            };
            if !same {
                return Err(mismatch("Mcp-Param header does not match its argument"));
            }
        }
        Ok(())
    }

    /// Compares `Mcp-Name` with the member that `method` mirrors, if it mirrors one.
    pub(crate) fn check_name(&self, method: &str, params: Value<'_>) -> Result<(), RpcError> {
        let member = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => return Ok(()),
        };
        let Some(header) = self.name else {
            return Err(mismatch("Mcp-Name is missing"));
        };
        match params.get(member).and_then(Value::as_str) {
            Some(body) if *decode(header)? == *body.as_bytes() => Ok(()),
            _ => Err(mismatch("Mcp-Name does not match the name in the body")),
        }
    }
}

/// Whether the text of a header says what an argument is; integers are compared as numbers.
fn equal(argument: Value<'_>, text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    match argument {
        Value::Str(it) => it == text,
        Value::Bool(it) => text == if it { "true" } else { "false" },
        Value::Int(it) => text.parse() == Ok(it) || text.parse() == Ok(it as f64),
        Value::Uint(it) => text.parse() == Ok(it),
        Value::Float(it) => text.parse() == Ok(it),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// An argument that clients repeat in a header, for the eyes of proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirrored {
    /// Name of the header, in lower case.
    pub(crate) header: String,
    /// Members from the arguments down to the one that is mirrored.
    pub(crate) path: Vec<String>,
}

/// The arguments that `schema` wants mirrored (`x-mcp-header`); the error says what is wrong with
/// such a wish. Only properties of properties can be found, whatever else a schema may hold.
// [mcp:http-param-schema]
pub(crate) fn mirrored(schema: &str) -> Result<Vec<Mirrored>, &'static str> {
    const KEY: &str = "x-mcp-header";
    if !schema.contains(KEY) {
        return Ok(Vec::new());
    }
    let root: serde_json::Value = serde_json::from_str(schema).map_err(|_| "no JSON")?;
    let mut found: Vec<Mirrored> = Vec::new();
    let mut open = vec![(&root, Vec::new())];
    while let Some((object, path)) = open.pop() {
        for (name, property) in object["properties"].as_object().into_iter().flatten() {
            let path: Vec<_> = path.iter().chain([name]).cloned().collect();
            if let Some(wanted) = property.get(KEY) {
                let token = wanted
                    .as_str()
                    .filter(|it| is_token(it))
                    .ok_or("not a token")?;
                let header = format!("mcp-param-{}", token.to_ascii_lowercase());
                if !matches!(
                    property["type"].as_str(),
                    Some("string" | "integer" | "boolean")
                ) {
                    return Err("only strings, integers and booleans can be mirrored");
                }
                if found.iter().any(|it| it.header == header) {
                    return Err("two arguments under one header");
                }
                found.push(Mirrored {
                    header,
                    path: path.clone(),
                });
            }
            open.push((property, path));
        }
    }
    Ok(found)
}

/// Whether `text` can be part of the name of a header (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(valid)
}

pub(crate) fn mismatch(what: &'static str) -> RpcError {
    RpcError::new(
        400,
        Code::HeaderMismatch,
        ["Header mismatch: ", what].concat(),
    )
}

/// The text of a header value: literal, or base64 inside the sentinel.
// [mcp:http-base64] [mcp:http-param-chars]
fn decode(value: &[u8]) -> Result<Cow<'_, [u8]>, RpcError> {
    let encoded = value
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    match encoded {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map(Cow::Owned)
            .map_err(|_| mismatch("the value inside =?base64?...?= is not padded base64")),
        None if value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) => Ok(value.into()),
        None => Err(mismatch("non-ASCII text must be sent as =?base64?...?=")),
    }
}

/// The header value that says `text`: literal where that is possible.
// [mcp:http-encode]
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let edge = |at: Option<&u8>| matches!(at, Some(b' ' | b'\t'));
    let plain = bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let sentinel = bytes.starts_with(PREFIX) && bytes.ends_with(SUFFIX);
    if plain && !sentinel && !edge(bytes.first()) && !edge(bytes.last()) {
        return text.into();
    }
    format!("=?base64?{}?=", STANDARD.encode(text)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, name: &str) -> bool {
        let mirror = Mirror {
            version: None,
            method: None,
            name: Some(header.as_bytes()),
            fields: &|_| Vec::new(),
        };
        let members = [("name", Value::Str(name))];
        mirror
            .check_name("tools/call", Value::Object(&members))
            .is_ok()
    }

    #[test]
    fn names_are_literal_or_base64() {
        // [mcp:http-base64]
        assert!(check("echo", "echo"));
        assert!(check("", ""));
        assert!(check("=?base64?SGVsbG8=?=", "Hello"));
        assert!(check("=?base64?w6k=?=", "é"));
        assert!(check("=?base64??=", ""));
        // Without the whole sentinel the value is literal.
        assert!(check("SGVsbG8=", "SGVsbG8="));
        assert!(check("=?base64?SGVsbG8=", "=?base64?SGVsbG8="));
        assert!(check("SGVsbG8=?=", "SGVsbG8=?="));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in [
            "",
            "echo",
            "a b",
            " a",
            "a\t",
            "é\n",
            "=?base64?SGVsbG8=?=",
            "=?base64?",
        ] {
            assert!(check(&encode(text), text), "{text:?}");
        }
        assert_eq!(encode("a b"), "a b");
    }

    #[test]
    fn doubtful_names_are_refused() {
        assert!(!check("Echo", "echo"));
        assert!(!check("echo", "other"));
        assert!(!check("é", "é"));
        assert!(!check("=?base64?SGVsbG8?=", "Hello"));
        assert!(!check("=?base64?SGVs bG8=?=", "Hello"));
        assert!(!check("=?base64?SGVsbG9=?=", "Hello"));
        assert!(!check("=?BASE64?SGVsbG8=?=", "Hello"));
    }

    #[test]
    fn arguments_and_their_headers_agree() {
        let schema = r#"{"properties":{"region":{"type":"string","x-mcp-header":"Region"},
            "deep":{"properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}"#;
        let mirrored = mirrored(schema).unwrap();
        assert_eq!(mirrored.len(), 2);
        let check = |region: Value<'_>, n: Value<'_>, headers: &[(&str, &'static str)]| {
            let fields = |name: &str| {
                let named = headers.iter().filter(|(it, _)| *it == name);
                named.map(|(_, value)| value.as_bytes()).collect()
            };
            let mirror = Mirror {
                version: None,
                method: None,
                name: None,
                fields: &fields,
            };
            let deep = [("n", n)];
            let arguments = [("region", region), ("deep", Value::Object(&deep))];
            mirror
                .check_params(&mirrored, Value::Object(&arguments))
                .is_ok()
        };
        let (region, n) = ("mcp-param-region", "mcp-param-n");
        let text = Value::Str("Hello");
        assert!(check(text, Value::Null, &[(region, "Hello")]));
        assert!(check(text, Value::Null, &[(region, "=?base64?SGVsbG8=?=")]));
        assert!(check(
            Value::Str(""),
            Value::Int(42),
            &[(region, ""), (n, "42.0")]
        ));
        assert!(check(Value::Null, Value::Null, &[]));
        assert!(!check(text, Value::Null, &[]));
        assert!(!check(text, Value::Null, &[(region, "hello")]));
        assert!(!check(
            text,
            Value::Null,
            &[(region, "Hello"), (region, "Hello")]
        ));
        assert!(!check(text, Value::Null, &[(region, "=?base64?SGVsbG8?=")]));
        assert!(!check(Value::Null, Value::Null, &[(region, "Hello")]));
        assert!(!check(Value::Null, Value::Int(42), &[(n, "43")]));
    }

    #[test]
    fn wishes_that_cannot_be_met_are_named() {
        // [mcp:http-param-schema]
        for (schema, good) in [
            (r#"{"properties":{"a":{"type":"string"}}}"#, true),
            (
                r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
                false,
            ),
            (
                r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
                false,
            ),
            (
                r#"{"properties":{"a":{"type":"string","x-mcp-header":"A B"}}}"#,
                false,
            ),
            (
                r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},
                    "b":{"type":"string","x-mcp-header":"a"}}}"#,
                false,
            ),
        ] {
            assert_eq!(mirrored(schema).is_ok(), good, "{schema}");
        }
    }
}
