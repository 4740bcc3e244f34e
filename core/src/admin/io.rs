//! hyper's I/O traits on a glommio stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use hyper::rt::{Read, ReadBufCursor, Write};

/// Bytes taken from the socket at a time.
const CHUNK: usize = 4096;

pub(super) struct GlommioIo(TcpStream);

impl GlommioIo {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl Read for GlommioIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's cursor is uninitialised memory: going through a chunk keeps this free of unsafe.
        let mut chunk = [0; CHUNK];
        let room = into.remaining().min(CHUNK);
        let n = ready!(self.stream().poll_read(cx, &mut chunk[..room]))?;
        into.put_slice(&chunk[..n]);
        Poll::Ready(Ok(()))
    }
}

impl Write for GlommioIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_close(cx)
    }
}
