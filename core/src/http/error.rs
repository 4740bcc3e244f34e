//! Why a request could not be framed, and the status that says so.

/// A request that cannot be framed; the connection is closed after its answer, because where the
/// next request begins is no longer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Request line or header field outside the grammar (bare LF, obs-fold, space before colon).
    #[error("malformed request head: {0}")]
    Head(&'static str),
    /// HTTP version other than 1.0 and 1.1.
    #[error("unsupported HTTP version: send HTTP/1.1")]
    Version,
    /// Request line over its limit.
    #[error("request line over the limit of {0} bytes")]
    RequestLine(usize),
    /// Head over its limit.
    #[error("request head over the limit of {0} bytes")]
    HeadBytes(usize),
    /// More header fields than the limit.
    #[error("more than {0} header fields")]
    HeaderCount(usize),
    /// A field that may be sent once was sent twice.
    #[error("duplicate header field {0}: send it once")]
    Duplicate(&'static str),
    /// HTTP/1.1 without Host.
    #[error("missing Host header field: HTTP/1.1 requires it")]
    NoHost,
    /// Host is not `host[:port]`.
    #[error("invalid Host: wanted host[:port]")]
    Host,
    /// Content-Length is not a plain decimal number.
    #[error("invalid Content-Length: wanted decimal digits")]
    ContentLength,
    /// Both framings at once, or chunked under HTTP/1.0: the classic smuggling forms.
    #[error("ambiguous body framing: send Content-Length or Transfer-Encoding: chunked, not both")]
    Framing,
    /// A transfer coding other than chunked.
    #[error("unsupported Transfer-Encoding: only chunked is implemented")]
    TransferEncoding,
    /// A chunk header, chunk end or trailer outside the grammar.
    #[error("malformed chunked body: {0}")]
    Chunk(&'static str),
    /// Body over its limit.
    #[error("request body over the limit of {0} bytes")]
    BodyBytes(usize),
    /// An expectation other than 100-continue.
    #[error("unknown Expect: only 100-continue is implemented")]
    Expect,
}

impl HttpError {
    /// The HTTP status that answers it.
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::RequestLine(_) => 414,
            Self::HeadBytes(_) | Self::HeaderCount(_) => 431,
            Self::TransferEncoding => 501,
            Self::BodyBytes(_) => 413,
            Self::Expect => 417,
            Self::Head(_)
            | Self::Duplicate(_)
            | Self::NoHost
            | Self::Host
            | Self::ContentLength
            | Self::Framing
            | Self::Chunk(_) => 400,
        }
    }
}
