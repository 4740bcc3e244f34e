//! A plain blocking client: bytes out, answers in; and the requests that clients send.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// Longer than anything here may take: a read that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and JSON-RPC error code.
    pub(crate) fn refusal(&self) -> (u16, Option<i64>) {
        let code = (!self.body.is_empty()).then(|| self.json()["error"]["code"].as_i64());
        (self.status, code.flatten())
    }

    /// Text of the first block of a tool's result.
    pub(crate) fn result_text(&self) -> String {
        let answer = self.json();
        assert_eq!(self.status, 200, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&to, PATIENCE).expect("a connection"))
    }

    /// A client on a connection that somebody else has made.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a time-out");
        let client = Self {
            stream,
            buffer: Vec::new(),
        };
        client.patience(PATIENCE);
        client
    }

    /// How long a read waits from now on.
    pub(crate) fn patience(&self, time: Duration) {
        self.stream
            .set_read_timeout(Some(time))
            .expect("a time-out");
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("a peer that reads");
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("an open connection");
    }

    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The next answer; an error when the peer closes, resets or stays silent.
    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.buffer) {
                self.buffer.drain(..length);
                return Ok(answer);
            }
            if self.read_some()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The head of an answer whose body is a stream: status and fields.
    pub(crate) fn stream_head(&mut self) -> (u16, HashMap<String, String>) {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                let head: Vec<_> = self.buffer.drain(..end + 4).collect();
                let (answer, _) = parse(&head).expect("a head without a body");
                return (answer.status, answer.fields);
            }
            assert!(
                self.read_some().expect("a head") > 0,
                "closed before a head"
            );
        }
    }

    /// The next chunk of a stream; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.buffer.windows(2).position(|it| it == b"\r\n") {
                let size = std::str::from_utf8(&self.buffer[..line]).expect("text");
                let size = usize::from_str_radix(size, 16).expect("a size");
                let end = line + 2 + size;
                if self.buffer.len() >= end + 2 {
                    let chunk: Vec<_> = self.buffer.drain(..end + 2).collect();
                    let text = String::from_utf8(chunk[line + 2..end].to_vec()).expect("text");
                    return (size > 0).then_some(text);
                }
            }
            assert!(
                self.read_some().expect("a chunk") > 0,
                "closed within a stream"
            );
        }
    }

    /// The next event of a stream with a message, and its id; `None` at the end.
    pub(crate) fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let chunk = self.chunk()?;
            let field = |name: &str| chunk.lines().find_map(|it| it.strip_prefix(name));
            if let Some(data) = field("data: ").filter(|data| !data.is_empty()) {
                let message = serde_json::from_str(data).expect("a message");
                return Some((field("id: ").unwrap_or_default().to_owned(), message));
            }
        }
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        let n = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    /// Reads until the peer closes or resets; how many bytes came before that. Panics when the
    /// peer keeps the connection open.
    pub(crate) fn closed(&mut self) -> usize {
        loop {
            match self.read_some() {
                Ok(0) => return self.buffer.len(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return self.buffer.len();
                }
                Err(error) => panic!("wanted a closed connection, but {error}"),
            }
        }
    }
}

/// The first answer in `bytes` and its length, once it is whole.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let mut table = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut table);
    let httparse::Status::Complete(head) = response.parse(bytes).expect("a well-formed head")
    else {
        return None;
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let fields: HashMap<_, _> = response
        .headers
        .iter()
        .map(|it| (it.name.to_ascii_lowercase(), text(it.value)))
        .collect();
    let length = fields
        .get("content-length")
        .map_or(0, |it| it.parse().expect("a length"));
    let body = bytes.get(head..head + length)?.to_vec();
    let status = response.code.expect("a status");
    Some((
        Answer {
            status,
            fields,
            body,
        },
        head + length,
    ))
}

pub(crate) const META: &str = "io.modelcontextprotocol/protocolVersion";

fn meta() -> Value {
    json!({META: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": "p"})
}

/// A POST of `body` with what every client sends and `fields` besides.
pub(crate) fn post(fields: &[(&str, &str)], body: &str) -> String {
    let mut request = String::from(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n",
    );
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A modern request.
pub(crate) fn modern(id: usize, method: &str, params: Value) -> String {
    modern_with(id, method, params, json!({}))
}

/// A modern request of a client with `capabilities`.
pub(crate) fn modern_with(
    id: usize,
    method: &str,
    mut params: Value,
    capabilities: Value,
) -> String {
    params["_meta"] = meta();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    let name = params["name"].as_str().or(params["taskId"].as_str());
    let name = name.unwrap_or("-").to_owned();
    let fields = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", method),
        ("Mcp-Name", &name),
    ];
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    post(&fields, &body.to_string())
}

/// A modern call of a tool.
pub(crate) fn call(tool: &str, arguments: Value) -> String {
    modern(
        1,
        "tools/call",
        json!({"name": tool, "arguments": arguments}),
    )
}

/// A modern call of `echo`, which answers `text`.
pub(crate) fn echo(text: &str) -> String {
    call("echo", json!({"text": text}))
}

/// A message of the legacy era.
pub(crate) fn legacy(session: Option<&str>, body: &Value) -> String {
    let session = session.map(|id| ("Mcp-Session-Id", id));
    post(session.as_slice(), &body.to_string())
}

pub(crate) fn initialize() -> String {
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}, "roots": {}, "sampling": {}},
        "clientInfo": {"name": "test", "version": "1"}}});
    legacy(None, &body)
}

/// A legacy request in a session.
pub(crate) fn in_session(session: &str, method: &str, params: Value) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    legacy(Some(session), &body)
}

/// Opens the stream of a legacy session, or goes on with one after the event `after`.
pub(crate) fn get(session: &str, after: Option<&str>) -> String {
    let after = after.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         Mcp-Session-Id: {session}\r\n{after}\r\n"
    )
}

/// The end of a legacy session.
pub(crate) fn delete(session: &str) -> String {
    format!("DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {session}\r\n\r\n")
}
