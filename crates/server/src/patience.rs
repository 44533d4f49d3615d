//! A connection that loses patience. hyper has one limit for "no complete request head yet", which
//! also ends idle keep-alive connections. Proxies keep those for a minute and must not be surprised;
//! a client that sends its head byte by byte (slowloris), or does not read its answer, should go much
//! earlier. So hyper's limit is the long one, and this wrapper holds the two short ones.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// From the first byte (or the connect) to the end of the request head.
pub const HEAD: Duration = Duration::from_secs(10);
/// For the client to take one more byte of an answer.
pub const WRITE: Duration = Duration::from_secs(30);
/// For the next request on a connection; longer than what common proxies keep (60 s).
pub const IDLE: Duration = Duration::from_secs(75);

const READING_HEAD: u8 = 0;
const IN_REQUEST: u8 = 1;
const BETWEEN: u8 = 2;

/// What the connection is doing; shared with the service that answers its requests.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// A head has been read completely.
    pub fn request_begins(&self) {
        self.0.store(IN_REQUEST, Ordering::Relaxed);
    }

    /// The answer is on its way; the next bytes begin a new head.
    pub fn request_ends(&self) {
        self.0.store(BETWEEN, Ordering::Relaxed);
    }
}

/// A stream with [`Progress`] and limits.
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    progress: Progress,
    head: Pin<Box<Sleep>>,
    head_armed: bool,
    write: Pin<Box<Sleep>>,
    write_armed: bool,
}

impl<S> Patient<S> {
    /// Wraps a stream that was just connected: the first head is being waited for.
    pub fn new(stream: S, progress: Progress) -> Self {
        Self {
            stream,
            progress,
            head: Box::pin(tokio::time::sleep(HEAD)),
            head_armed: true,
            write: Box::pin(tokio::time::sleep(WRITE)),
            write_armed: false,
        }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_armed = false;
            return result;
        }
        if !self.write_armed {
            self.write.as_mut().reset(Instant::now() + WRITE);
            self.write_armed = true;
        }
        ready!(self.write.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        match this.progress.0.load(Ordering::Relaxed) {
            BETWEEN if buf.filled().len() > before => {
                this.progress.0.store(READING_HEAD, Ordering::Relaxed);
                this.head.as_mut().reset(Instant::now() + HEAD);
                this.head_armed = true;
            }
            READING_HEAD => {}
            _ => this.head_armed = false,
        }
        if result.is_pending() && this.head_armed {
            ready!(this.head.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_given_up() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Patient::new(server, Progress::default());
        client.write_all(b"GET / ").await.unwrap();
        let mut buf = [0; 16];
        assert_eq!(server.read(&mut buf).await.unwrap(), 6);
        let error = server.read(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_left_to_the_longer_limit() {
        let (mut client, server) = tokio::io::duplex(64);
        let progress = Progress::default();
        let mut server = Patient::new(server, progress.clone());
        progress.request_begins();
        progress.request_ends();
        let mut buf = [0; 16];
        assert!(tokio::time::timeout(HEAD * 3, server.read(&mut buf)).await.is_err());
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read(&mut buf).await.unwrap(), 1);
        assert_eq!(server.read(&mut buf).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_is_given_up() {
        let (_client, server) = tokio::io::duplex(8);
        let mut server = Patient::new(server, Progress::default());
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
