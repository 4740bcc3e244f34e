//! Answers as streams of server-sent events, each event a chunk of its own.

use super::response::Connection;

/// An answer that has begun and goes on.
#[derive(Debug)]
pub(crate) struct Sse {
    /// HTTP/1.0 knows no chunks: the end of the connection is the end of the answer.
    chunked: bool,
}

impl Sse {
    /// Starts the answer.
    pub(crate) fn open(out: &mut Vec<u8>, connection: Connection, chunked: bool) -> Self {
        out.extend_from_slice(
            b"HTTP/1.1 200 OK\r\n\
              Content-Type: text/event-stream\r\n\
              Cache-Control: no-cache\r\n\
              X-Accel-Buffering: no\r\n",
        );
        if chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            out.extend_from_slice(connection.field());
        } else {
            out.extend_from_slice(Connection::Close.field());
        }
        out.extend_from_slice(b"\r\n");
        Self { chunked }
    }

    /// Writes an event called `name` that carries `data`, one line.
    pub(crate) fn named_event(&self, out: &mut Vec<u8>, name: &str, data: &[u8]) {
        let mut event = format!("event: {name}\ndata: ").into_bytes();
        event.extend_from_slice(data);
        event.extend_from_slice(b"\n\n");
        self.chunk(out, &event);
    }

    /// Writes an event that carries `data`, and its `id` if it can be come back to.
    pub(crate) fn event(&self, out: &mut Vec<u8>, id: Option<&str>, data: &[u8]) {
        let mut event = Vec::with_capacity(data.len() + 48);
        if let Some(id) = id {
            event.extend_from_slice(b"id: ");
            event.extend_from_slice(id.as_bytes());
            event.push(b'\n');
        }
        event.extend_from_slice(b"event: message\n");
        for line in data.split(|&byte| byte == b'\n') {
            event.extend_from_slice(b"data: ");
            event.extend_from_slice(line);
            event.push(b'\n');
        }
        event.push(b'\n');
        self.chunk(out, &event);
    }

    /// Writes the event without a message that begins a stream which can be come back to.
    pub(crate) fn prime(&self, out: &mut Vec<u8>, id: &str, retry_ms: u64) {
        self.chunk(
            out,
            format!("id: {id}\nretry: {retry_ms}\ndata: \n\n").as_bytes(),
        );
    }

    /// Writes a comment, a sign of life.
    pub(crate) fn comment(&self, out: &mut Vec<u8>) {
        self.chunk(out, b":\n\n");
    }

    /// Ends the answer.
    pub(crate) fn close(&self, out: &mut Vec<u8>) {
        if self.chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    fn chunk(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        if !self.chunked {
            out.extend_from_slice(bytes);
            return;
        }
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chunks_and_lines() {
        let mut out = Vec::new();
        let stream = Sse::open(&mut out, Connection::Keep, true);
        let head = out.len();
        stream.event(&mut out, Some("s-1"), b"{\n}");
        stream.prime(&mut out, "s-0", 5);
        stream.comment(&mut out);
        stream.close(&mut out);
        let wanted = "28\r\nid: s-1\nevent: message\ndata: {\ndata: }\n\n\r\n\
             19\r\nid: s-0\nretry: 5\ndata: \n\n\r\n3\r\n:\n\n\r\n0\r\n\r\n";
        assert_eq!(String::from_utf8(out.split_off(head)).unwrap(), wanted);
        assert!(out.ends_with(b"Transfer-Encoding: chunked\r\n\r\n"));
    }
}
