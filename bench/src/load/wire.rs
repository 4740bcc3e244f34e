//! Requests as bytes, built once: a send copies the template and writes ten digits of id.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Smallest id: all ids have ten digits, so every message of a run has the same length.
pub(crate) const ID_BASE: u64 = 1_000_000_000;
/// Digits of an id.
const ID_DIGITS: usize = 10;

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// MCP 2026-07-28: stateless, `_meta` in every request.
    Modern,
    /// MCP 2025-11-25: a session per connection.
    Legacy,
    /// MCP 2025-11-25: every request is an `initialize` and opens a session.
    Initialize,
    /// A plain GET, such as a health check.
    Get,
}

/// The bytes of one request with a place for its id.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Server.
    pub(crate) target: SocketAddr,
    /// Path.
    pub(crate) path: String,
}

impl Template {
    /// The request for id `id` appended to `out`.
    #[inline]
    pub(crate) fn stamp(&self, id: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.id_at {
            write_id(id, &mut out[start + at..start + at + ID_DIGITS]);
        }
    }

    /// Length of one request in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A template from a head without its content length, and a JSON body.
    pub(crate) fn new(head: &str, body: &[u8]) -> Self {
        let mut bytes = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        let body_at = bytes.len();
        bytes.extend_from_slice(body);
        let id = ID_BASE.to_string();
        let id_at = memchr::memmem::find(body, id.as_bytes()).map(|at| body_at + at);
        Self { bytes, id_at }
    }
}

/// Writes the low ten digits of `id` over `digits`.
#[inline]
pub(crate) fn write_id(mut id: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        // The remainder of ten fits a byte.
        *digit = b'0' + (id % 10) as u8;
        id /= 10;
    }
}

/// Reads the value of the first numeric `"id"` in `body`.
#[inline]
pub(crate) fn find_id(body: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"id\"";
    let mut rest = body;
    loop {
        let at = memchr::memmem::find(rest, KEY)?;
        rest = &rest[at + KEY.len()..];
        let Some(value) = rest.trim_ascii_start().strip_prefix(b":") else {
            continue;
        };
        let value = value.trim_ascii_start();
        let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
        if (1..=19).contains(&digits) {
            let id = value[..digits]
                .iter()
                .fold(0, |id, b| id * 10 + u64::from(b - b'0'));
            return Some(id);
        }
    }
}

/// The request that carries the load, for one connection; `session` is the legacy session id.
pub(crate) fn call(wire: Wire, to: &Endpoint, text: &str, session: Option<&str>) -> Template {
    match wire {
        Wire::Get => {
            let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", to.path, to.target);
            Template {
                bytes: head.into_bytes(),
                id_at: None,
            }
        }
        Wire::Initialize => initialize(to),
        Wire::Modern => {
            let head = format!(
                "{}MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n\
                 Mcp-Name: echo\r\n",
                post_head(to)
            );
            Template::new(&head, message(wire, text).as_bytes())
        }
        Wire::Legacy => {
            let session = session
                .map(|id| format!("Mcp-Session-Id: {id}\r\n"))
                .unwrap_or_default();
            let head = format!(
                "{}MCP-Protocol-Version: 2025-11-25\r\n{session}",
                post_head(to)
            );
            Template::new(&head, message(wire, text).as_bytes())
        }
    }
}

/// The legacy handshake's first request.
pub(crate) fn initialize(to: &Endpoint) -> Template {
    let body = json!({"jsonrpc": "2.0", "id": ID_BASE, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client_info()}});
    Template::new(&post_head(to), body.to_string().as_bytes())
}

/// The legacy handshake's notification.
pub(crate) fn initialized(to: &Endpoint, session: Option<&str>) -> Template {
    let session = session
        .map(|id| format!("Mcp-Session-Id: {id}\r\n"))
        .unwrap_or_default();
    let head = format!(
        "{}MCP-Protocol-Version: 2025-11-25\r\n{session}",
        post_head(to)
    );
    Template::new(
        &head,
        br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    )
}

/// The GET that opens the stream of a legacy session.
pub(crate) fn stream(to: &Endpoint, session: Option<&str>) -> Template {
    let session = session
        .map(|id| format!("Mcp-Session-Id: {id}\r\n"))
        .unwrap_or_default();
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\
         MCP-Protocol-Version: 2025-11-25\r\n{session}\r\n",
        to.path, to.target
    );
    Template {
        bytes: head.into_bytes(),
        id_at: None,
    }
}

/// Length of the message that echoes a text of `text_bytes`.
pub(crate) fn message_bytes(wire: Wire, text_bytes: usize) -> usize {
    message(wire, "").len() + text_bytes
}

/// The text to echo that makes the whole JSON-RPC message `message_bytes` long, or as short as
/// the message can be.
pub(crate) fn padding(wire: Wire, message_bytes: usize) -> String {
    const WORDS: &str = "the quick brown fox jumps over the lazy dog ";
    let room = message_bytes.saturating_sub(message(wire, "").len());
    WORDS.chars().cycle().take(room).collect()
}

/// The tools/call message itself.
fn message(wire: Wire, text: &str) -> String {
    let mut params = json!({"name": "echo", "arguments": {"text": text}});
    if wire == Wire::Modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": client_info(),
            "io.modelcontextprotocol/clientCapabilities": {}});
    }
    json!({"jsonrpc": "2.0", "id": ID_BASE, "method": "tools/call", "params": params}).to_string()
}

fn client_info() -> Value {
    json!({"name": "ninefold-bench", "version": env!("CARGO_PKG_VERSION")})
}

fn post_head(to: &Endpoint) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n",
        to.path, to.target
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            target: "127.0.0.1:8080".parse().unwrap(),
            path: "/mcp".into(),
        }
    }

    #[test]
    fn a_message_has_exactly_the_wanted_size() {
        for wire in [Wire::Modern, Wire::Legacy] {
            let text = padding(wire, 1024);
            assert_eq!(message(wire, &text).len(), 1024);
        }
        assert_eq!(padding(Wire::Modern, 10), "");
    }

    #[test]
    fn a_stamped_request_is_valid_http_and_carries_its_id() {
        let text = padding(Wire::Modern, 1024);
        let mut out = Vec::new();
        call(Wire::Modern, &endpoint(), &text, None).stamp(1_234_567_890, &mut out);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(body_at) = request.parse(&out).unwrap() else {
            panic!("incomplete head")
        };
        let body: Value = serde_json::from_slice(&out[body_at..]).unwrap();
        assert_eq!(body["id"], 1_234_567_890_u64);
        assert_eq!(body["params"]["arguments"]["text"], text);
        assert_eq!(out.len() - body_at, 1024);
    }

    #[test]
    fn ids_are_found_with_and_without_spaces() {
        assert_eq!(
            find_id(br#"{"jsonrpc":"2.0","id":1000000007,"result":{}}"#),
            Some(1_000_000_007)
        );
        assert_eq!(find_id(br#"{"id" : 42}"#), Some(42));
        assert_eq!(find_id(br#"{"x":"\"id\"","id":7}"#), Some(7));
        assert_eq!(find_id(br#"{"error":{}}"#), None);
    }
}
