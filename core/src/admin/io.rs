//! hyper's I/O traits on a stream of the control plane's shard.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use ninefold_runtime::net::{RecvBuf, TcpStream, send_buffer};
use ninefold_runtime::sleep;
use ninefold_runtime::timer::Sleep;

/// Bytes sent at a time: as many as the shard's pool of send buffers keeps.
const SEND_BYTES: usize = ninefold_runtime::limits::SEND_BUFFER_KEEP_BYTES;

/// A stream whose peer may neither send nor take anything for a while, and not longer.
pub(super) struct ShardIo {
    stream: TcpStream,
    /// Received bytes, and how many of them have been handed on.
    received: Option<(RecvBuf, usize)>,
    /// Bytes of the peer are waited for.
    receiving: bool,
    /// A send is in flight, or its end has not been looked at.
    sending: bool,
    silence: Duration,
    /// Runs while the peer is waited for, for either reason.
    waiting: Option<Sleep>,
}

impl ShardIo {
    pub(super) fn new(stream: TcpStream, silence: Duration) -> Self {
        Self {
            stream,
            received: None,
            receiving: false,
            sending: false,
            silence,
            waiting: None,
        }
    }

    /// Waits for the peer, until it has been silent for too long.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let silence = self.silence;
        let waiting = self.waiting.get_or_insert_with(|| sleep(silence));
        ready!(Pin::new(waiting).poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The peer has done something: its time begins anew, if it is still waited for.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        self.waiting = None;
        if self.receiving || self.sending {
            // Not over yet, since it has only begun.
            let _ = self.wait::<()>(cx);
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBuf>>> {
        let received = self.stream.poll_receive(cx);
        self.receiving = received.is_pending();
        if self.receiving {
            return self.wait(cx);
        }
        self.go_on(cx);
        received
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.sending {
            return Poll::Ready(Ok(()));
        }
        let flushed = self.stream.poll_flushed(cx);
        self.sending = flushed.is_pending();
        if self.sending {
            return self.wait(cx);
        }
        self.go_on(cx);
        flushed
    }
}

impl Read for ShardIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (bytes, from) = match this.received.take() {
            Some(rest) => rest,
            None => match ready!(this.receive(cx))? {
                Some(bytes) => (bytes, 0),
                None => return Poll::Ready(Ok(())),
            },
        };
        let to = bytes.len().min(from + into.remaining());
        into.put_slice(&bytes[from..to]);
        if to < bytes.len() {
            this.received = Some((bytes, to));
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for ShardIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.flush(cx))?;
        let some = &bytes[..bytes.len().min(SEND_BYTES)];
        let mut buffer = send_buffer();
        buffer.extend_from_slice(some);
        this.stream.send(buffer)?;
        this.sending = true;
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Closing cuts off a send in flight, and an answer given is an answer owed.
        ready!(this.flush(cx))?;
        this.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
