//! A request head, parsed once into positions and viewed in place afterwards.
//!
//! [`HeadIndex`] holds no reference, so it survives while the body is still arriving and the
//! buffer grows or moves; [`Head`] is the borrowed view that the service reads.

use std::mem::MaybeUninit;

use super::HttpError;

/// Request methods that the node tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `POST`: one JSON-RPC message.
    Post,
    /// `GET`: the stream of a legacy session.
    Get,
    /// `DELETE`: end of a legacy session.
    Delete,
    /// `HEAD`: answered without a body.
    Head,
    /// Any other token.
    Other,
}

/// What the client takes as an answer, from all its Accept fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// `application/json` or a range that holds it.
    pub json: bool,
    /// `text/event-stream` or a range that holds it.
    pub event_stream: bool,
}

/// What the body claims to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentType {
    /// No Content-Type field.
    #[default]
    Absent,
    /// `application/json`, parameters allowed.
    Json,
    /// Anything else.
    Other,
}

/// A range of the head's bytes; `u32::MAX` as the start means absent.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    const ABSENT: Self = Self {
        start: u32::MAX,
        len: 0,
    };

    /// The position of `part` in `whole`, of which it is a slice.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        match (u32::try_from(start), u32::try_from(part.len())) {
            (Ok(start), Ok(len)) => Self { start, len },
            _ => Self::ABSENT,
        }
    }

    fn get(self, head: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        head.get(start..start + self.len as usize)
    }

    fn is_absent(self) -> bool {
        self.start == u32::MAX
    }
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// Positions and facts of one parsed head.
#[derive(Clone, Debug)]
pub struct HeadIndex {
    method: Method,
    minor_version: u8,
    path: Span,
    host: Span,
    origin: Span,
    session: Span,
    protocol_version: Span,
    mcp_method: Span,
    mcp_name: Span,
    last_event_id: Span,
    accept: Accept,
    content_type: ContentType,
    keep_alive: bool,
    pub(super) expect_continue: bool,
    pub(super) framing: Framing,
}

/// One request head, borrowed from the receive buffer; field values are raw bytes without
/// surrounding white space.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// Request method.
    pub method: Method,
    /// Path of the target, without query.
    pub path: &'a [u8],
    /// `Host`, or the authority of an absolute target.
    pub host: Option<&'a [u8]>,
    /// `Origin`.
    pub origin: Option<&'a [u8]>,
    /// `Mcp-Session-Id`.
    pub session: Option<&'a [u8]>,
    /// `MCP-Protocol-Version`.
    pub protocol_version: Option<&'a [u8]>,
    /// `Mcp-Method`.
    pub mcp_method: Option<&'a [u8]>,
    /// `Mcp-Name`.
    pub mcp_name: Option<&'a [u8]>,
    /// What the client accepts.
    pub accept: Accept,
    /// What the body claims to be.
    pub content_type: ContentType,
    /// Whether the client keeps the connection.
    pub keep_alive: bool,
    /// 0 or 1: the x of HTTP/1.x.
    pub minor_version: u8,
    /// `Last-Event-ID`.
    pub last_event_id: Option<&'a [u8]>,
    /// The head as it came.
    raw: &'a [u8],
}

impl<'a> Head<'a> {
    /// The values of every field called `name`, found by reading the head again: for rare fields.
    pub fn fields(&self, name: &str) -> Vec<&'a [u8]> {
        self.values(name).collect()
    }

    /// As [`Head::fields`], one after the other.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.raw.split(|&byte| byte == b'\n').skip(1);
        lines.filter_map(move |line| {
            let colon = memchr::memchr(b':', line)?;
            let named = line[..colon].eq_ignore_ascii_case(name.as_bytes());
            named.then(|| line[colon + 1..].trim_ascii())
        })
    }

    /// The query of the target, without its question mark; empty when there is none.
    pub(crate) fn query(&self) -> &'a [u8] {
        let mut words = self.raw.split(|&byte| byte == b' ');
        let target = words.nth(1).unwrap_or_default();
        let mark = memchr::memchr(b'?', target);
        mark.map_or(&[], |mark| &target[mark + 1..])
    }
}

impl HeadIndex {
    /// The view of this head over `head`, the very bytes it was parsed from.
    pub fn view<'a>(&self, head: &'a [u8]) -> Head<'a> {
        Head {
            method: self.method,
            path: self.path.get(head).unwrap_or_default(),
            host: self.host.get(head),
            origin: self.origin.get(head),
            session: self.session.get(head),
            protocol_version: self.protocol_version.get(head),
            mcp_method: self.mcp_method.get(head),
            mcp_name: self.mcp_name.get(head),
            accept: self.accept,
            content_type: self.content_type,
            keep_alive: self.keep_alive,
            minor_version: self.minor_version,
            last_event_id: self.last_event_id.get(head),
            raw: head,
        }
    }

    /// Parses the complete head `head` (blank line included) of at most `header_count` fields.
    pub(super) fn parse(head: &[u8], header_count: usize) -> Result<Self, HttpError> {
        let mut table = [const { MaybeUninit::uninit() }; 64];
        let room = header_count.min(table.len());
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut table[..room]) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(HttpError::Head("unexpected end")),
            Err(error) => return Err(refuse(error, room)),
        }
        let mut fields = Fields::new(request.version.unwrap_or(1));
        for header in request.headers.iter() {
            fields.take(header, head)?;
        }
        fields.finish(
            request.method.unwrap_or_default(),
            request.path.unwrap_or_default(),
            head,
        )
    }
}

fn refuse(error: httparse::Error, room: usize) -> HttpError {
    match error {
        httparse::Error::TooManyHeaders => HttpError::HeaderCount(room),
        httparse::Error::Version => HttpError::Version,
        httparse::Error::HeaderName => HttpError::Head("header field name"),
        httparse::Error::HeaderValue => HttpError::Head("header field value"),
        httparse::Error::NewLine => HttpError::Head("line end"),
        httparse::Error::Token | httparse::Error::Status => HttpError::Head("request line"),
    }
}

/// The fields seen so far of a head that is being read.
struct Fields {
    index: HeadIndex,
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep: bool,
}

impl Fields {
    fn new(minor_version: u8) -> Self {
        let index = HeadIndex {
            method: Method::Other,
            minor_version,
            path: Span::ABSENT,
            host: Span::ABSENT,
            origin: Span::ABSENT,
            session: Span::ABSENT,
            protocol_version: Span::ABSENT,
            mcp_method: Span::ABSENT,
            mcp_name: Span::ABSENT,
            last_event_id: Span::ABSENT,
            accept: Accept::default(),
            content_type: ContentType::Absent,
            keep_alive: true,
            expect_continue: false,
            framing: Framing::Length(0),
        };
        Self {
            index,
            length: None,
            chunked: false,
            close: false,
            keep: false,
        }
    }

    fn take(&mut self, header: &httparse::Header<'_>, head: &[u8]) -> Result<(), HttpError> {
        let value = header.value;
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let index = &mut self.index;
        // The length is the cheapest discriminator: most fields fail it at once.
        match header.name.len() {
            4 if is("host") => {
                // RFC 9112, 3.2: whom a request is for has one reading too.
                if !is_authority(value) {
                    return Err(HttpError::Host);
                }
                once(&mut index.host, value, head, "Host")?;
            }
            6 if is("origin") => once(&mut index.origin, value, head, "Origin")?,
            6 if is("accept") => accept(&mut index.accept, value),
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HttpError::Expect);
                }
                index.expect_continue = index.minor_version == 1;
            }
            8 if is("mcp-name") => once(&mut index.mcp_name, value, head, "Mcp-Name")?,
            10 if is("mcp-method") => once(&mut index.mcp_method, value, head, "Mcp-Method")?,
            10 if is("connection") => self.connection(value),
            12 if is("content-type") => {
                if index.content_type != ContentType::Absent {
                    return Err(HttpError::Duplicate("Content-Type"));
                }
                index.content_type = content_type(value);
            }
            13 if is("last-event-id") => {
                once(&mut index.last_event_id, value, head, "Last-Event-ID")?;
            }
            14 if is("mcp-session-id") => {
                once(&mut index.session, value, head, "Mcp-Session-Id")?;
            }
            14 if is("content-length") => self.content_length(value)?,
            17 if is("transfer-encoding") => self.transfer_encoding(value)?,
            20 if is("mcp-protocol-version") => {
                once(
                    &mut index.protocol_version,
                    value,
                    head,
                    "MCP-Protocol-Version",
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), HttpError> {
        match self.length.replace(decimal(value)?) {
            Some(_) => Err(HttpError::Duplicate("Content-Length")),
            None => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HttpError> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(HttpError::Duplicate("Transfer-Encoding"));
        }
        let chunked = value.eq_ignore_ascii_case(b"chunked");
        if chunked {
            Ok(())
        } else {
            Err(HttpError::TransferEncoding)
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn finish(mut self, method: &str, target: &str, head: &[u8]) -> Result<HeadIndex, HttpError> {
        let old = self.index.minor_version == 0;
        self.index.framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(HttpError::Framing),
            (None, true) if old => return Err(HttpError::Framing),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        if self.index.host.is_absent() && !old {
            return Err(HttpError::NoHost);
        }
        self.index.keep_alive = !self.close && (!old || self.keep);
        self.index.method = match method {
            "POST" => Method::Post,
            "GET" => Method::Get,
            "DELETE" => Method::Delete,
            "HEAD" => Method::Head,
            _ => Method::Other,
        };
        self.target(target, head)?;
        Ok(self.index)
    }

    /// Splits the target; an absolute one overrides Host (RFC 9112, 3.2.2).
    fn target(&mut self, target: &str, head: &[u8]) -> Result<(), HttpError> {
        let absolute = target
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://"))
            .map(|(_, rest)| rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())));
        let local = match absolute {
            Some((authority, _)) if authority.is_empty() || !is_authority(authority.as_bytes()) => {
                return Err(HttpError::Head("authority of the request target"));
            }
            Some((authority, local)) => {
                self.index.host = Span::of(authority.as_bytes(), head);
                local
            }
            None => target,
        };
        let path = local.split('?').next().unwrap_or_default();
        self.index.path = Span::of(path.as_bytes(), head);
        Ok(())
    }
}

fn once(slot: &mut Span, value: &[u8], head: &[u8], name: &'static str) -> Result<(), HttpError> {
    if !slot.is_absent() {
        return Err(HttpError::Duplicate(name));
    }
    *slot = Span::of(value, head);
    Ok(())
}

/// Whether `byte` may be part of a field name or another token (RFC 9110, 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `text` is `host[:port]`, or nothing (RFC 3986, 3.2.2), without the user that a URI may
/// name before it. A comma is let through by that grammar, but two hosts are not one.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text {
        [b'[', rest @ ..] => match memchr::memchr(b']', rest) {
            Some(end) if rest[..end].iter().all(|&it| is_address_byte(it)) => {
                rest.split_at(end + 1)
            }
            _ => return false,
        },
        _ => text.split_at(memchr::memchr(b':', text).unwrap_or(text.len())),
    };
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let literal = text.first() == Some(&b'[');
    let port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    port && (literal || host.iter().all(named))
}

/// Whether `byte` may be part of an address in brackets.
fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":.-_~".contains(&byte)
}

/// Elements of a comma-separated field value, trimmed.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn decimal(value: &[u8]) -> Result<usize, HttpError> {
    // Nineteen digits hold every usize that a limit could allow, and cannot wrap a u64.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::ContentLength);
    }
    let number = value
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    usize::try_from(number).map_err(|_| HttpError::ContentLength)
}

fn content_type(value: &[u8]) -> ContentType {
    let media = value
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if media.eq_ignore_ascii_case(b"application/json") {
        ContentType::Json
    } else {
        ContentType::Other
    }
}

fn accept(accept: &mut Accept, value: &[u8]) {
    for element in list(value) {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        if parts.any(refused) {
            continue;
        }
        let any = media == b"*/*";
        accept.json |= any
            || media.eq_ignore_ascii_case(b"application/json")
            || media.eq_ignore_ascii_case(b"application/*");
        accept.event_stream |= any
            || media.eq_ignore_ascii_case(b"text/event-stream")
            || media.eq_ignore_ascii_case(b"text/*");
    }
}

/// Whether a parameter is a weight of zero (`q=0`, `q=0.000`).
fn refused(parameter: &[u8]) -> bool {
    let Some((b'q' | b'Q', weight)) = parameter.split_first() else {
        return false;
    };
    weight
        .strip_prefix(b"=0")
        .is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'.' | b'0')))
}
