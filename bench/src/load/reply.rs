//! Just enough HTTP/1.1 to frame a reply with a content length.

/// Headers of a reply that are looked at, at most.
const HEADERS_MAX: usize = 48;

/// One framed reply at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// Where the body starts.
    pub(crate) body_at: usize,
    /// Where the next reply starts.
    pub(crate) end: usize,
    /// The server will close the connection.
    pub(crate) closes: bool,
}

/// Frames the first reply in `bytes`: `None` while it is incomplete.
///
/// # Errors
/// Says in words why these bytes can never become a reply this client understands.
#[inline]
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Reply>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(e) => return Err(format!("wanted an HTTP/1.1 reply, found {e}")),
    };
    let status = head.code.unwrap_or(0);
    let (mut length, mut closes) = (None, false);
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value)
                .ok()
                .and_then(|v| v.trim().parse().ok());
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let bodiless = status == 204 || status == 304;
    let length: usize = match length {
        Some(length) => length,
        None if bodiless => 0,
        None => {
            return Err(format!(
                "wanted a Content-Length, found none (status {status})"
            ));
        }
    };
    let end = body_at + length;
    Ok((bytes.len() >= end).then_some(Reply {
        status,
        body_at,
        end,
        closes,
    }))
}

/// The status of the reply at the start of `bytes`, once its head is complete, whatever its body.
///
/// # Errors
/// Says in words why these bytes can never become a head.
pub(crate) fn status(bytes: &[u8]) -> Result<Option<u16>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Ok(head.code),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(e) => Err(format!("wanted an HTTP/1.1 reply, found {e}")),
    }
}

/// The value of header `name` of the reply at the start of `bytes`.
pub(crate) fn header(bytes: &[u8], name: &str) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    head.parse(bytes).ok()?;
    let found = head
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case(name))?;
    String::from_utf8(found.value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_framed_one_by_one() {
        let two = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 503 Busy\r\n\
                    Content-Length: 0\r\nConnection: close\r\n\r\n";
        let first = frame(two).unwrap().unwrap();
        assert_eq!(
            (first.status, &two[first.body_at..first.end]),
            (200, &b"hi"[..])
        );
        let second = frame(&two[first.end..]).unwrap().unwrap();
        assert_eq!((second.status, second.closes), (503, true));
        assert_eq!(frame(&two[..30]).unwrap(), None);
        assert_eq!(frame(&two[..first.end - 1]).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_framed_is_an_error() {
        assert!(frame(b"SSH-2.0-OpenSSH\r\n").is_err());
        assert!(frame(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let reply = b"HTTP/1.1 200 OK\r\nMCP-Session-ID: abc\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(header(reply, "mcp-session-id").as_deref(), Some("abc"));
        assert_eq!(header(reply, "x"), None);
    }
}
