//! Chunked request bodies, decoded in place as they arrive.
//!
//! Decoded bytes are moved down over the chunk headers, so the body ends up contiguous where the
//! raw body began. Every line must end in CRLF and hold only visible characters.

use super::HttpError;
use super::head::is_token_byte;
use crate::limits::{CHUNK_LINE_BYTES, CHUNK_OVERHEAD_BYTES, TRAILER_BYTES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Size,
    Data(usize),
    DataEnd,
    Trailer(usize),
}

/// Where decoding stands; positions are relative to the start of the raw body.
#[derive(Clone, Debug)]
pub(super) struct Chunked {
    phase: Phase,
    read: usize,
    written: usize,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Size,
            read: 0,
            written: 0,
        }
    }

    /// Decodes what `raw` holds beyond the last call; `Some((decoded, consumed))` at the end.
    pub(super) fn advance(
        &mut self,
        raw: &mut [u8],
        body_bytes: usize,
    ) -> Result<Option<(usize, usize)>, HttpError> {
        loop {
            if self.read - self.written > self.written + CHUNK_OVERHEAD_BYTES {
                return Err(HttpError::Chunk("more framing than data"));
            }
            self.phase = match self.phase {
                Phase::Size => {
                    let Some(line) = line(&raw[self.read..], CHUNK_LINE_BYTES)? else {
                        return Ok(None);
                    };
                    let size = chunk_size(line)?;
                    self.read += line.len() + 2;
                    if size > body_bytes.saturating_sub(self.written) {
                        return Err(HttpError::BodyBytes(body_bytes));
                    }
                    if size == 0 {
                        Phase::Trailer(0)
                    } else {
                        Phase::Data(size)
                    }
                }
                Phase::Data(left) => {
                    let here = left.min(raw.len() - self.read);
                    raw.copy_within(self.read..self.read + here, self.written);
                    self.read += here;
                    self.written += here;
                    if here < left {
                        self.phase = Phase::Data(left - here);
                        return Ok(None);
                    }
                    Phase::DataEnd
                }
                Phase::DataEnd => match raw[self.read..] {
                    [b'\r', b'\n', ..] => {
                        self.read += 2;
                        Phase::Size
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(HttpError::Chunk("wanted CRLF after the data of a chunk")),
                },
                Phase::Trailer(seen) => {
                    let room = TRAILER_BYTES - seen;
                    let Some(line) = line(&raw[self.read..], room)? else {
                        return Ok(None);
                    };
                    let len = line.len();
                    self.read += len + 2;
                    if len == 0 {
                        return Ok(Some((self.written, self.read)));
                    }
                    if !is_field(line) {
                        return Err(HttpError::Chunk("wanted a trailer field or a blank line"));
                    }
                    Phase::Trailer((seen + len + 2).min(TRAILER_BYTES))
                }
            };
        }
    }
}

/// The first line of `bytes` without its CRLF, or `None` while it is incomplete.
fn line(bytes: &[u8], limit: usize) -> Result<Option<&[u8]>, HttpError> {
    let window = &bytes[..bytes.len().min(limit + 2)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let full = window.len() == limit + 2;
        return if full {
            Err(HttpError::Chunk("line too long"))
        } else {
            Ok(None)
        };
    };
    let Some(line) = window[..end].strip_suffix(b"\r") else {
        return Err(HttpError::Chunk("bare LF"));
    };
    if line
        .iter()
        .any(|&byte| byte != b'\t' && byte.is_ascii_control())
    {
        return Err(HttpError::Chunk("control character"));
    }
    Ok(Some(line))
}

fn chunk_size(line: &[u8]) -> Result<usize, HttpError> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (digits, extension) = line.split_at(digits);
    if !(1..=15).contains(&digits.len()) {
        return Err(HttpError::Chunk("wanted a size in hex digits"));
    }
    if !extension.is_empty() && !is_extension(extension) {
        return Err(HttpError::Chunk(
            "wanted CRLF or an extension after the size of a chunk",
        ));
    }
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|it| usize::from_str_radix(it, 16).ok());
    size.ok_or(HttpError::Chunk("wanted a size in hex digits"))
}

/// Whether `bytes` begin as an extension does: white space, a semicolon, a name (RFC 9112, 7.1.1).
/// The rest means nothing to us, and its line ends where every reader sees it end.
fn is_extension(bytes: &[u8]) -> bool {
    let named = bytes.trim_ascii_start().strip_prefix(b";");
    let name = named.map(<[u8]>::trim_ascii_start).unwrap_or_default();
    name.first().copied().is_some_and(is_token_byte)
}

/// Whether `line` is a field: a name, then the colon at once. A line that folds is none, nor is the
/// next request where trailers should end.
fn is_field(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line).unwrap_or(0);
    colon > 0 && line[..colon].iter().copied().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(raw: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
        let mut raw = raw.to_vec();
        let end = Chunked::new().advance(&mut raw, 1000)?;
        Ok(end.map(|(decoded, consumed)| (raw[..decoded].to_vec(), consumed)))
    }

    #[test]
    fn decodes_extensions_and_trailers() {
        let raw = b"5;a=\"b\"\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\nNEXT";
        let (body, consumed) = whole(raw).unwrap().unwrap();
        assert_eq!(body, b"hello world");
        assert_eq!(&raw[consumed..], b"NEXT");
    }

    #[test]
    fn decodes_one_byte_at_a_time() {
        let raw = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        let mut decoder = Chunked::new();
        let mut buffer = Vec::new();
        for (at, byte) in raw.iter().enumerate() {
            buffer.push(*byte);
            let end = decoder.advance(&mut buffer, 1000).unwrap();
            assert_eq!(end.is_some(), at + 1 == raw.len());
        }
        assert_eq!(&buffer[..6], b"hello!");
    }

    #[test]
    fn refuses_every_doubtful_form() {
        for raw in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\n",
            b"\r\n",
            b"5 5\r\nhello\r\n",
            b"fffffffffffffffff\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5;\r\nhello\r\n",
            b"5;=b\r\nhello\r\n",
            b"0\r\n X: y\r\n",
            b"0\r\nX : y\r\n",
            b"0\r\nGET / HTTP/1.1\r\n",
            b"0\r\nX: y\n\r\n",
        ] {
            let verdict = whole(raw);
            assert!(
                matches!(verdict, Err(HttpError::Chunk(_))),
                "{verdict:?} for {raw:?}"
            );
        }
        assert_eq!(whole(b"3e9\r\n"), Err(HttpError::BodyBytes(1000)));
    }

    #[test]
    fn refuses_a_flood_of_framing() {
        let raw = [b"1;".as_slice(), &[b'x'; 250], b"\r\ny\r\n"]
            .concat()
            .repeat(200);
        let mut buffer = raw;
        let verdict = Chunked::new().advance(&mut buffer, 1_000_000);
        assert_eq!(verdict, Err(HttpError::Chunk("more framing than data")));
    }
}
