//! Streams: a client's connection in the application's own hands.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A client's connection that was handed over, because its request is for nothing of the endpoint's
/// ([`Builder::fallback`](crate::Builder::fallback)). It begins with that request.
///
/// To be read and written as a `TcpStream`, which blocks; or, with the feature `tokio`, made one for a
/// runtime with [`into_tokio`](Self::into_tokio).
pub struct Stream {
    socket: TcpStream,
    ahead: Ahead,
    peer: SocketAddr,
}

/// What had been received before the connection was handed over.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    read: usize,
}

impl Ahead {
    /// What is still to be read of it.
    fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    fn consume(&mut self, size: usize) {
        self.read += size;
        if self.read == self.bytes.len() {
            *self = Self::default();
        }
    }
}

impl Stream {
    pub(crate) fn new(socket: OwnedFd, ahead: Vec<u8>, peer: SocketAddr) -> Self {
        Self { socket: socket.into(), ahead: Ahead { bytes: ahead, read: 0 }, peer }
    }

    /// The client's address and port.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The address and port that the client has connected to.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// How long a read may block; `None`, as at first, for ever.
    ///
    /// # Errors
    ///
    /// When it is zero; or the kernel's.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    /// How long a write may block; `None`, as at first, for ever.
    ///
    /// # Errors
    ///
    /// As for [`set_read_timeout`](Self::set_read_timeout).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// The same for Tokio's tasks.
    ///
    /// # Errors
    ///
    /// When the runtime can't watch it.
    ///
    /// # Panics
    ///
    /// Outside a runtime with I/O.
    #[cfg(feature = "tokio")]
    pub fn into_tokio(self) -> io::Result<TokioStream> {
        self.socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpStream::from_std(self.socket)?;
        Ok(TokioStream { socket, ahead: self.ahead })
    }

    /// Writes what is little and last, without ever blocking, and hopes for the best.
    pub(crate) fn refuse(mut self, answer: &[u8]) {
        let _ = self.socket.set_nonblocking(true);
        let _ = self.socket.write_all(answer);
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead.rest().is_empty() {
            return self.socket.read(buffer);
        }
        let size = self.ahead.rest().read(buffer)?;
        self.ahead.consume(size);
        Ok(size)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A [`Stream`] for Tokio's tasks.
#[cfg(feature = "tokio")]
pub struct TokioStream {
    socket: tokio::net::TcpStream,
    ahead: Ahead,
}

#[cfg(feature = "tokio")]
mod of_tokio {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::{TokioStream, fmt, io};

    impl AsyncRead for TokioStream {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let rest = self.ahead.rest();
            if rest.is_empty() {
                return Pin::new(&mut self.socket).poll_read(cx, buffer);
            }
            let size = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..size]);
            self.ahead.consume(size);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for TokioStream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.socket).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
        }

        fn is_write_vectored(&self) -> bool {
            self.socket.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_shutdown(cx)
        }
    }

    impl fmt::Debug for TokioStream {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("TokioStream").finish_non_exhaustive()
        }
    }
}
