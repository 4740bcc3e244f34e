//! Answers, written straight into the connection's output buffer.
//!
//! The head goes out first with room for a length, the body is serialised behind it, and
//! [`Body::finish`] patches the length in: one buffer, no copy, no formatting machinery.

use super::{Head, HttpError, Method};

/// Interim answer to `Expect: 100-continue`, for the connection to send.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Digits reserved for Content-Length; the value is right-aligned behind optional white space,
/// which the grammar of header fields allows before any value.
const LENGTH_DIGITS: usize = 10;

/// What the answer says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Kept, as HTTP/1.1 implies.
    Keep,
    /// Kept for an HTTP/1.0 client, which must be told.
    KeepTold,
    /// Closed after this answer.
    Close,
}

impl Connection {
    /// What the client asked for.
    pub fn asked(head: &Head<'_>) -> Self {
        match (head.keep_alive, head.minor_version) {
            (false, _) => Self::Close,
            (true, 0) => Self::KeepTold,
            (true, _) => Self::Keep,
        }
    }

    pub(super) fn field(self) -> &'static [u8] {
        match self {
            Self::Keep => b"",
            Self::KeepTold => b"Connection: keep-alive\r\n",
            Self::Close => b"Connection: close\r\n",
        }
    }
}

/// A head written to the output whose body is being written behind it.
#[derive(Debug)]
#[must_use = "an answer without its length is not an answer"]
pub struct Body {
    fields_end: usize,
    length_end: usize,
    start: usize,
}

impl Body {
    /// Starts an answer with a JSON body.
    pub fn open(out: &mut Vec<u8>, status: u16, connection: Connection) -> Self {
        out.extend_from_slice(status_line(status));
        out.extend_from_slice(b"Content-Type: application/json\r\n");
        out.extend_from_slice(connection.field());
        let fields_end = out.len();
        out.extend_from_slice(b"Content-Length:           ");
        let length_end = out.len();
        out.extend_from_slice(b"\r\n\r\n");
        Self {
            fields_end,
            length_end,
            start: out.len(),
        }
    }

    /// Adds a header field after the fact; moves the body, so it is for rare fields.
    pub fn insert_field(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        let field = [name, ": ", value, "\r\n"].concat();
        out.splice(self.fields_end..self.fields_end, field.bytes());
        self.fields_end += field.len();
        self.length_end += field.len();
        self.start += field.len();
    }

    /// Patches the length of what was written since [`Body::open`].
    pub fn finish(self, out: &mut [u8]) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(out.len() - self.start).as_bytes();
        debug_assert!(digits.len() <= LENGTH_DIGITS);
        out[self.length_end - digits.len()..self.length_end].copy_from_slice(digits);
    }
}

/// Writes an answer without a body; `fields` are complete lines.
pub fn empty(out: &mut Vec<u8>, status: u16, connection: Connection, fields: &[u8]) {
    out.extend_from_slice(status_line(status));
    out.extend_from_slice(fields);
    out.extend_from_slice(connection.field());
    // 204 must not carry a length (RFC 9110, 8.6); everything else needs one to end.
    out.extend_from_slice(if status == 204 {
        b"\r\n"
    } else {
        b"Content-Length: 0\r\n\r\n"
    });
}

/// Writes `405 Method Not Allowed` with `allow` as the list of methods.
pub fn method_not_allowed(out: &mut Vec<u8>, connection: Connection, allow: &str) {
    let field = ["Allow: ", allow, "\r\n"].concat();
    empty(out, 405, connection, field.as_bytes());
}

/// Writes the answer to a request that could not be framed: its status, the reason as a JSON-RPC
/// error without id, and `Connection: close`.
pub fn refuse_framing(out: &mut Vec<u8>, error: HttpError) {
    let body = Body::open(out, error.status(), Connection::Close);
    crate::rpc::write::error(
        out,
        None,
        crate::rpc::Code::InvalidRequest,
        &error.to_string(),
        None,
    );
    body.finish(out);
}

/// Writes `408 Request Timeout` for a request that did not arrive in time.
pub fn refuse_late(out: &mut Vec<u8>) {
    empty(out, 408, Connection::Close, b"");
}

/// Writes `503 Service Unavailable` for a request that there is no room for.
pub fn refuse_overload(out: &mut Vec<u8>) {
    empty(out, 503, Connection::Close, b"Retry-After: 1\r\n");
}

/// Drops the body of the answer that begins at `start` when the request was HEAD.
pub(crate) fn strip_body_for_head(out: &mut Vec<u8>, start: usize, method: Method) {
    if method == Method::Head
        && let Some(end) = memchr::memmem::find(&out[start..], b"\r\n\r\n")
    {
        out.truncate(start + end + 4);
    }
}

fn status_line(status: u16) -> &'static [u8] {
    match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        406 => b"HTTP/1.1 406 Not Acceptable\r\n",
        409 => b"HTTP/1.1 409 Conflict\r\n",
        408 => b"HTTP/1.1 408 Request Timeout\r\n",
        413 => b"HTTP/1.1 413 Content Too Large\r\n",
        414 => b"HTTP/1.1 414 URI Too Long\r\n",
        415 => b"HTTP/1.1 415 Unsupported Media Type\r\n",
        417 => b"HTTP/1.1 417 Expectation Failed\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        431 => b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
        501 => b"HTTP/1.1 501 Not Implemented\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        505 => b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
        _ => b"HTTP/1.1 500 Internal Server Error\r\n",
    }
}
