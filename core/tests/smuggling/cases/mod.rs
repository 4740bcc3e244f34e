//! The table: families of requests that two readers might cut differently, and for each case what
//! a node must make of it. The node alone and the proxies before it are tested by this one table.

mod chunks;
mod codings;
mod hosts;
mod lengths;
mod lines;
mod names;
mod pipelines;

/// What must happen to one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One answer with this status, which says `Connection: close`, and then the end.
    Refused(u16),
    /// These answers and no others; then the connection goes on.
    Answered(Vec<Heard>),
    /// These answers, and then the end, because HTTP/1.0 or the client said so.
    Last(Vec<Heard>),
    /// No answer until a deadline has passed, then 408 and the end.
    Late,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The result of `echo`: it was called with this text.
    Text(&'static str),
    /// Anything else, by its status.
    Status(u16),
    /// As `Status`, without the body that its fields speak of.
    Bodiless(u16),
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) wanted: Wanted,
}

/// The rows of one family.
pub(crate) struct Family {
    name: &'static str,
    cases: Vec<Case>,
}

impl Family {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            cases: Vec::new(),
        }
    }

    /// Adds a case; each character of `text` is one byte, so that any byte can be written.
    fn add(&mut self, name: &str, text: &str, wanted: Wanted) {
        self.cases.push(Case {
            family: self.name,
            name: name.escape_default().to_string(),
            bytes: latin1(text),
            wanted,
        });
    }

    fn refused(&mut self, name: &str, text: &str, status: u16) {
        self.add(name, text, Wanted::Refused(status));
    }

    /// Adds a case that calls `echo` with the text `first`, and does nothing else.
    fn heard(&mut self, name: &str, text: &str) {
        self.add(name, text, Wanted::Answered(vec![Heard::Text("first")]));
    }
}

/// Every case of every family.
pub(crate) fn all() -> Vec<Case> {
    let families = [
        lengths::values(),
        lengths::twice(),
        lengths::covered(),
        codings::values(),
        codings::twice(),
        codings::beside_a_length(),
        codings::old_versions(),
        names::damaged(),
        names::lookalikes(),
        lines::ends(),
        lines::folds(),
        lines::control_bytes(),
        lines::request_lines(),
        chunks::sizes(),
        chunks::extensions(),
        chunks::ends(),
        chunks::last_chunks(),
        chunks::trailers(),
        hosts::targets(),
        hosts::hosts(),
        pipelines::expectations(),
        pipelines::pipelines(),
        pipelines::verbs_with_bodies(),
        pipelines::beyond_limits(),
    ];
    families.into_iter().flat_map(|it| it.cases).collect()
}

/// What every request here says besides its framing.
pub(crate) const FIELDS: &str = "Host: localhost\r\nContent-Type: application/json\r\n\
    Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
    Mcp-Method: tools/call\r\nMcp-Name: echo\r\n";

/// The body of a call of `echo`.
pub(crate) fn call(text: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\
         \"arguments\":{{\"text\":\"{text}\"}},\"_meta\":{{\
         \"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}"
    )
}

/// A POST with these framing fields (each with its CRLF) and what follows the head.
pub(crate) fn post(framing: &str, rest: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\n{FIELDS}{framing}\r\n{rest}")
}

/// A call of `echo` that leaves no doubt, with more fields.
pub(crate) fn plain(fields: &str, text: &str) -> String {
    let body = call(text);
    post(
        &format!("{fields}Content-Length: {}\r\n", body.len()),
        &body,
    )
}

/// A call of `echo` with a chunked body.
fn chunked(fields: &str, text: &str) -> String {
    let body = call(text);
    let framing = format!("{fields}Transfer-Encoding: chunked\r\n");
    post(
        &framing,
        &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    )
}

/// What a smuggler would like to be heard: a request inside of another.
fn hidden() -> String {
    plain("", "hidden")
}

fn latin1(text: &str) -> Vec<u8> {
    let byte = |c| u8::try_from(u32::from(c)).expect("one byte a character");
    text.chars().map(byte).collect()
}
