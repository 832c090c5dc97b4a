//! Connections that are written to once in each turn.
//!
//! ```text
//! hyper ──write──► Outbox (16 KiB) ──at the end of each turn, or when it is full──► TLS ──► socket
//! ```
//!
//! A connection with many streams (watches) writes a small frame for each. One by one, each would be a TLS record and a system call of its
//! own; together they are a few. Flushing is therefore left to the end of the turn that the connection is given.

use std::future::Future;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More than this is not held back; a TLS record holds as much.
const HELD_MAX: usize = 16 * 1024;

/// Why a connection ended, in the words of hyper.
type Ended = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

struct Outbox<S> {
    stream: S,
    held: Vec<u8>,
    /// So much of what is held has been written.
    written: usize,
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written < self.held.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        if !self.held.is_empty() {
            // An idle connection holds no buffer.
            self.held = Vec::new();
            self.written = 0;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_take(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if !self.held.is_empty() && self.held.len() + length > HELD_MAX {
            ready!(self.poll_empty(context))?;
        }
        if self.held.is_empty() && length >= HELD_MAX {
            return Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        }
        parts.iter().for_each(|part| self.held.extend_from_slice(part));
        Poll::Ready(Ok(length))
    }
}

/// The end of a stream that hyper reads and writes.
pub struct Held<S>(Arc<Mutex<Outbox<S>>>);

impl<S> Held<S> {
    fn with<T>(&self, act: impl FnOnce(&mut Outbox<S>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.with(|outbox| Pin::new(&mut outbox.stream).poll_read(context, into))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.with(|outbox| outbox.poll_take(context, &[IoSlice::new(bytes)]))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        self.with(|outbox| outbox.poll_take(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.with(|outbox| {
            ready!(outbox.poll_empty(context))?;
            Pin::new(&mut outbox.stream).poll_shutdown(context)
        })
    }
}

/// A connection, and what it has still to write.
pub struct Turns<S> {
    connection: Pin<Box<dyn Future<Output = Ended> + Send>>,
    outbox: Held<S>,
    /// Others who are ready come first: what they have to say goes out together.
    patient: bool,
    waited: bool,
}

/// Serves a stream: `connect` makes the connection out of it. A `patient` one lets streams that are ready speak first.
pub fn serve<S, F>(stream: S, patient: bool, connect: impl FnOnce(Held<S>) -> F) -> Turns<S>
where
    F: Future<Output = Ended> + Send + 'static,
{
    let outbox = Arc::new(Mutex::new(Outbox { stream, held: Vec::new(), written: 0 }));
    Turns { connection: Box::pin(connect(Held(Arc::clone(&outbox)))), outbox: Held(outbox), patient, waited: false }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Turns<S> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        if self.patient && !std::mem::replace(&mut self.waited, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited = false;
        let ended = self.connection.as_mut().poll(context);
        match (ended, self.outbox.with(|outbox| outbox.poll_empty(context))) {
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (ended, _) => ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Counts how often it is written to.
    struct Counting<S>(S, Arc<Mutex<usize>>);

    impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
        fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.0).poll_read(context, into)
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            *self.1.lock().unwrap() += 1;
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_goes_out_together_and_arrives_whole() {
        let (server, mut client) = tokio::io::duplex(1 << 20);
        let writes = Arc::new(Mutex::new(0));
        let served = serve(Counting(server, Arc::clone(&writes)), true, |mut stream| async move {
            for part in ["small ", "parts ", "together;"] {
                stream.write_all(part.as_bytes()).await?;
                stream.flush().await?;
            }
            // The other side answers what it has read: so it was sent, although nothing more follows.
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await?;
            stream.write_all(&vec![b'x'; 3 * HELD_MAX]).await?;
            stream.write_all(b"end").await?;
            stream.shutdown().await?;
            Ok(())
        });
        let served = tokio::spawn(served);
        let mut seen = vec![0; "small parts together;".len()];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, b"small parts together;");
        assert_eq!(*writes.lock().unwrap(), 1);
        client.write_all(b"ok").await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), 3 * HELD_MAX + 3);
        assert!(rest.ends_with(b"xend"));
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_gets_everything_and_little_is_held_for_it() {
        let (server, mut client) = tokio::io::duplex(1024);
        let served = serve(server, false, |mut stream| async move {
            for at in 0..1000_u32 {
                stream.write_all(format!("{at:0100}\n").as_bytes()).await?;
                assert!(stream.with(|outbox| outbox.held.len()) <= HELD_MAX);
            }
            stream.shutdown().await?;
            Ok(())
        });
        let served = tokio::spawn(served);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        served.await.unwrap().unwrap();
    }
}
