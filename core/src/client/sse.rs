//! Server-sent events as they arrive, piece by piece.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::ClientError;

/// The open stream of an answer.
pub(crate) struct Events {
    body: Incoming,
    parser: Parser,
    /// Id of the latest event that had one.
    pub(crate) last_id: Option<String>,
    /// What the server said last about when to come back.
    pub(crate) retry: Option<Duration>,
}

impl Events {
    pub(crate) fn new(body: Incoming, bytes_max: usize) -> Self {
        Self {
            body,
            parser: Parser::new(bytes_max),
            last_id: None,
            retry: None,
        }
    }

    /// Data of the next event that has some; `None` at the end, however it came about.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            while let Some(event) = self.parser.next_event()? {
                self.last_id = event.id.or(self.last_id.take());
                self.retry = event.retry.or(self.retry);
                if !event.data.is_empty() {
                    return Ok(Some(event.data));
                }
            }
            let Some(Ok(frame)) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(bytes) = frame.into_data() {
                self.parser.push(&bytes);
            }
        }
    }
}

/// One event; its name is not kept, since the protocol has only one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What its `data` lines say, joined by LF.
    pub data: Vec<u8>,
    /// Its `id`, for `Last-Event-ID`.
    pub id: Option<String>,
    /// When the server wants to be come back to.
    pub retry: Option<Duration>,
}

/// Cuts bytes into lines and lines into events (HTML, 9.2.6), however they arrive.
#[derive(Debug)]
pub struct Parser {
    bytes: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    /// No line ends before this.
    searched: usize,
    event: Event,
    bytes_max: usize,
    /// A line has ended in CR; an LF that follows belongs to it.
    skip_lf: bool,
    begun: bool,
}

impl Parser {
    /// A parser of a stream whose lines and events hold at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            searched: 0,
            event: Event::default(),
            bytes_max,
            skip_lf: false,
            begun: false,
        }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.searched -= self.at;
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that is whole, or `None` until more has arrived.
    ///
    /// # Errors
    /// [`ClientError::TooMuch`] for a line or an event beyond the bound.
    pub fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        while let Some(line) = self.line()? {
            if line.is_empty() {
                return Ok(Some(std::mem::take(&mut self.event)));
            }
            self.field(&line)?;
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        if self.skip_lf && self.at < self.bytes.len() {
            self.at += usize::from(self.bytes[self.at] == b'\n');
            self.searched = self.searched.max(self.at);
            self.skip_lf = false;
        }
        let Some(end) = memchr::memchr2(b'\n', b'\r', &self.bytes[self.searched..]) else {
            self.searched = self.bytes.len();
            return match self.bytes.len() - self.at > self.bytes_max {
                true => Err(ClientError::TooMuch("message_bytes")),
                false => Ok(None),
            };
        };
        let end = self.searched + end;
        let mut line = &self.bytes[self.at..end];
        if !self.begun {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            self.begun = true;
        }
        let line = line.to_vec();
        self.skip_lf = self.bytes[end] == b'\r';
        self.at = end + 1;
        self.searched = self.at;
        Ok(Some(line))
    }

    fn field(&mut self, line: &[u8]) -> Result<(), ClientError> {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || std::str::from_utf8(value).ok();
        match &line[..colon] {
            b"data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
                if self.event.data.len() > self.bytes_max {
                    return Err(ClientError::TooMuch("message_bytes"));
                }
            }
            b"id" => self.event.id = text().filter(|id| !id.contains('\0')).map(str::to_owned),
            b"retry" => {
                let ms = text().and_then(|ms| ms.parse().ok());
                self.event.retry = ms.map(Duration::from_millis);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&str]) -> Vec<(String, Option<String>, Option<Duration>)> {
        let mut parser = Parser::new(64);
        let mut found = Vec::new();
        for piece in pieces {
            parser.push(piece.as_bytes());
            while let Some(event) = parser.next_event().unwrap() {
                let data = String::from_utf8(event.data).unwrap();
                found.push((data, event.id, event.retry));
            }
        }
        found
    }

    #[test]
    fn events_do_not_depend_on_how_they_are_cut_or_end_their_lines() {
        for end in ["\n", "\r", "\r\n"] {
            let text = "\u{feff}: hello\nevent: message\nid: 7\nretry: 500\ndata: \n\n\
                        data:{\"a\":\ndata: 1}\nid\nretry: soon\nother: x\n\n";
            let text = text.replace('\n', end);
            let wanted = [
                (
                    String::new(),
                    Some("7".to_owned()),
                    Some(Duration::from_millis(500)),
                ),
                ("{\"a\":\n1}".to_owned(), Some(String::new()), None),
            ];
            assert_eq!(events(&[&text]), wanted);
            let pieces: Vec<_> = text.split_inclusive(|_| true).collect();
            assert_eq!(events(&pieces), wanted, "{end:?}");
        }
    }

    #[test]
    fn an_event_without_end_is_too_much() {
        for text in ["x".repeat(65), "data: aaaaaaaaa\n".repeat(9)] {
            let mut parser = Parser::new(64);
            parser.push(text.as_bytes());
            assert_eq!(
                parser.next_event(),
                Err(ClientError::TooMuch("message_bytes"))
            );
        }
    }
}
