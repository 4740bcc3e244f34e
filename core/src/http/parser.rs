//! Incremental framing: when is a request complete, and which bytes are its head and its body.
//!
//! The parser remembers what it has looked at, so a head that arrives byte by byte is scanned
//! once, and a head is parsed once however long its body takes.

use std::ops::Range;

use super::HttpError;
use super::chunked::Chunked;
use super::head::{Framing, Head, HeadIndex};
use crate::limits::Limits;

/// What an incomplete request still lacks; chooses the deadline that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// Nothing of a request has arrived: the connection is idle.
    Request,
    /// The rest of the head.
    Head,
    /// The rest of the body.
    Body {
        /// Bytes of the whole frame when known (Content-Length), so the buffer can grow once.
        frame_bytes: Option<usize>,
        /// The client waits for `100 Continue`; true once per request.
        send_continue: bool,
    },
}

/// One complete request in the receive buffer.
#[derive(Clone, Debug)]
pub struct Frame {
    index: HeadIndex,
    head: Range<usize>,
    body: Range<usize>,
    consumed: usize,
}

impl Frame {
    /// The head and the body of this frame in `buf`, the buffer that was given to
    /// [`Parser::advance`].
    pub fn split<'a>(&self, buf: &'a mut [u8]) -> (Head<'a>, &'a mut [u8]) {
        let (head, rest) = buf.split_at_mut(self.head.end);
        let body = self.body.start - self.head.end..self.body.end - self.head.end;
        (self.index.view(&head[self.head.clone()]), &mut rest[body])
    }

    /// Bytes from the start of the buffer to the end of this request; the next one begins there.
    pub fn consumed(&self) -> usize {
        self.consumed
    }
}

/// What the buffer holds.
#[derive(Clone, Debug)]
pub enum Progress {
    /// More bytes are needed.
    Incomplete(Awaiting),
    /// A request is complete; drop [`Frame::consumed`] bytes once it is answered.
    Complete(Frame),
}

/// The head that was found, while its body is arriving.
#[derive(Clone, Debug)]
struct Pending {
    index: HeadIndex,
    head: Range<usize>,
    chunked: Option<Chunked>,
    said_continue: bool,
}

/// Framing state of one connection; small, and empty between requests.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of blank lines before the request line.
    skipped: usize,
    /// Bytes already searched for the end of the head.
    scanned: usize,
    /// Whether the request line is known to end within its limit.
    line_ended: bool,
    pending: Option<Box<Pending>>,
}

/// Blank lines accepted before a request line (RFC 9112, 2.2 asks for at least one).
const BLANK_LINE_BYTES: usize = 4;

impl Parser {
    /// A parser at the start of a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `buf`, which begins where the current request begins and has only grown since
    /// the last call; after [`Progress::Complete`] the parser is ready for the next request.
    /// An error ends the connection.
    pub fn advance(&mut self, buf: &mut [u8], limits: &Limits) -> Result<Progress, HttpError> {
        let mut pending = match self.pending.take() {
            Some(pending) => *pending,
            None => match self.find_head_end(buf, limits)? {
                Some(end) => Pending::new(buf, self.skipped..end, limits)?,
                None if buf.len() == self.skipped => {
                    return Ok(Progress::Incomplete(Awaiting::Request));
                }
                None => return Ok(Progress::Incomplete(Awaiting::Head)),
            },
        };
        let start = pending.head.end;
        match (pending.index.framing, &mut pending.chunked) {
            (Framing::Length(length), _) if buf.len() - start >= length => {
                let end = start + length;
                Ok(self.complete(pending.frame(start..end, end)))
            }
            (Framing::Length(length), _) => Ok(self.wait(pending, Some(start + length))),
            (Framing::Chunked, chunked) => {
                let decoder = chunked.get_or_insert_with(Chunked::new);
                match decoder.advance(&mut buf[start..], limits.body_bytes)? {
                    Some((decoded, raw)) => {
                        let frame = pending.frame(start..start + decoded, start + raw);
                        Ok(self.complete(frame))
                    }
                    None => Ok(self.wait(pending, None)),
                }
            }
        }
    }

    fn complete(&mut self, frame: Frame) -> Progress {
        *self = Self::default();
        Progress::Complete(frame)
    }

    fn wait(&mut self, mut pending: Pending, frame_bytes: Option<usize>) -> Progress {
        let send_continue = pending.index.expect_continue && !pending.said_continue;
        pending.said_continue |= send_continue;
        self.pending = Some(Box::new(pending));
        Progress::Incomplete(Awaiting::Body {
            frame_bytes,
            send_continue,
        })
    }

    /// Searches the unseen bytes for the blank line; refuses bare LF and lengths over the limits.
    fn find_head_end(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, HttpError> {
        while self.scanned == self.skipped && buf[self.skipped..].starts_with(b"\r\n") {
            self.skipped += 2;
            self.scanned = self.skipped;
            if self.skipped > BLANK_LINE_BYTES {
                return Err(HttpError::Head("blank lines before the request line"));
            }
        }
        let start = self.skipped;
        for at in memchr::memchr_iter(b'\n', &buf[self.scanned..]) {
            let at = self.scanned + at;
            if at == start || buf[at - 1] != b'\r' {
                return Err(HttpError::Head("bare LF"));
            }
            if !self.line_ended {
                if at + 1 - start > limits.request_line_bytes {
                    return Err(HttpError::RequestLine(limits.request_line_bytes));
                }
                self.line_ended = true;
            }
            if at + 1 - start > limits.head_bytes {
                return Err(HttpError::HeadBytes(limits.head_bytes));
            }
            if buf[start..=at].ends_with(b"\r\n\r\n") {
                return Ok(Some(at + 1));
            }
        }
        self.scanned = buf.len().max(start);
        let length = self.scanned - start;
        if !self.line_ended && length > limits.request_line_bytes {
            return Err(HttpError::RequestLine(limits.request_line_bytes));
        }
        if length > limits.head_bytes {
            return Err(HttpError::HeadBytes(limits.head_bytes));
        }
        Ok(None)
    }
}

impl Pending {
    fn new(buf: &[u8], head: Range<usize>, limits: &Limits) -> Result<Self, HttpError> {
        let index = HeadIndex::parse(&buf[head.clone()], limits.header_count)?;
        if matches!(index.framing, Framing::Length(length) if length > limits.body_bytes) {
            return Err(HttpError::BodyBytes(limits.body_bytes));
        }
        Ok(Self {
            index,
            head,
            chunked: None,
            said_continue: false,
        })
    }

    fn frame(self, body: Range<usize>, consumed: usize) -> Frame {
        Frame {
            index: self.index,
            head: self.head,
            body,
            consumed,
        }
    }
}
