//! JSON-RPC answers, serialised straight into the output buffer.

use std::fmt::{Display, Write as _};

use super::{Code, Id, RpcError, Value};

/// Appends `text` as a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    let written = simd_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "a Vec takes every write");
}

/// Appends the text of `value` as a JSON string, without an intermediate `String`.
pub fn display(out: &mut Vec<u8>, value: &impl Display) {
    struct Escaped<'a>(&'a mut Vec<u8>);
    impl std::fmt::Write for Escaped<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            // The quotes of each piece fall on those of its neighbours and are dropped again.
            self.0.pop();
            let at = self.0.len();
            string(self.0, text);
            self.0.remove(at);
            Ok(())
        }
    }
    out.extend_from_slice(b"\"\"");
    let _ = write!(Escaped(out), "{value}");
}

/// Appends a request id.
pub fn id(out: &mut Vec<u8>, id: Id<'_>) {
    let mut digits = itoa::Buffer::new();
    match id {
        Id::Int(it) => out.extend_from_slice(digits.format(it).as_bytes()),
        Id::Uint(it) => out.extend_from_slice(digits.format(it).as_bytes()),
        Id::Str(it) => string(out, it),
    }
}

/// Appends `value` as JSON; with `sorted`, the members of objects in the order of their names, so
/// that equal values are equal texts. The depth of a value is that of the request it came with.
pub fn value(out: &mut Vec<u8>, value: Value<'_>, sorted: bool) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(it) => out.extend_from_slice(if it { b"true" } else { b"false" }),
        Value::Int(it) => id(out, Id::Int(it)),
        Value::Uint(it) => id(out, Id::Uint(it)),
        Value::Float(it) => {
            let written = simd_json::to_writer(&mut *out, &it);
            debug_assert!(written.is_ok(), "a Vec takes every write");
        }
        Value::Str(it) => string(out, it),
        Value::Array(elements) => {
            out.push(b'[');
            for (at, &element) in elements.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                self::value(out, element, sorted);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut order: Vec<_> = members.iter().collect();
            if sorted {
                order.sort_by_key(|(name, _)| *name);
            }
            out.push(b'{');
            for (at, &&(name, member)) in order.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                string(out, name);
                out.push(b':');
                self::value(out, member, sorted);
            }
            out.push(b'}');
        }
    }
}

/// Opens the answer to `request` up to and with `"result":`; the caller appends the result and
/// one closing brace.
// [mcp:rpc-id-echo] [mcp:rpc-result]
pub fn open_result(out: &mut Vec<u8>, request: Id<'_>) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    id(out, request);
    out.extend_from_slice(br#","result":"#);
}

/// Appends a whole error answer; an unknown id is left out, never null.
pub fn error(
    out: &mut Vec<u8>,
    request: Option<Id<'_>>,
    code: Code,
    message: &str,
    data: Option<&str>,
) {
    let mut text = Vec::new();
    if let Some(request) = request {
        id(&mut text, request);
    }
    // An id is ASCII, or a string that was read as UTF-8.
    let text = std::str::from_utf8(&text).ok();
    error_to(out, request.and(text), code, message, data);
}

fn error_to(
    out: &mut Vec<u8>,
    request: Option<&str>,
    code: Code,
    message: &str,
    data: Option<&str>,
) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    if let Some(request) = request {
        out.extend_from_slice(br#","id":"#);
        out.extend_from_slice(request.as_bytes());
    }
    out.extend_from_slice(br#","error":{"code":"#);
    out.extend_from_slice(itoa::Buffer::new().format(code.number()).as_bytes());
    out.extend_from_slice(br#","message":"#);
    string(out, message);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data.as_bytes());
    }
    out.extend_from_slice(b"}}");
}

/// Appends `refusal` as the answer to the request whose id is the JSON `request`.
pub fn refusal_to(out: &mut Vec<u8>, request: Option<&str>, refusal: &RpcError) {
    error_to(
        out,
        request,
        refusal.code,
        &refusal.message,
        refusal.data.as_deref(),
    );
}

/// Appends `error` as the answer to `request`.
// [mcp:rpc-error]
pub fn refusal(out: &mut Vec<u8>, request: Option<Id<'_>>, refusal: &RpcError) {
    error(
        out,
        request,
        refusal.code,
        &refusal.message,
        refusal.data.as_deref(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_survive_a_round_trip() {
        let all: String = (0..0x300)
            .filter_map(char::from_u32)
            .chain("\u{2028}🦀\\\"".chars())
            .collect();
        for text in ["", "plain", &all, &"x\"".repeat(100), &"é\n".repeat(33)] {
            let mut out = b"before".to_vec();
            string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out[6..]).unwrap(), text);
            let mut out = b"before".to_vec();
            display(&mut out, &format_args!("{text}-{text}{}", 7));
            let wanted = format!("{text}-{text}7");
            assert_eq!(serde_json::from_slice::<String>(&out[6..]).unwrap(), wanted);
        }
    }

    #[test]
    fn an_error_without_a_known_id_has_no_id() {
        let mut out = Vec::new();
        error(&mut out, None, Code::ParseError, "no", None);
        assert_eq!(
            out,
            br#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}"#
        );
    }
}
