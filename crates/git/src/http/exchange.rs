use super::ERROR_BODY_MAX;
use crate::Cause;
use crate::session::Shared;
use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION};
use std::{
    cell::RefCell,
    io::{self, BufRead, Read, Write},
    rc::Rc,
};

/// Bytes of a request: wants and haves, never a pack.
const REQUEST_MAX: usize = 64 << 20;

/// One request and its answer. The request goes out when the first byte of the answer is asked for.
pub(crate) struct Exchange {
    session: Shared,
    url: String,
    headers: HeaderMap,
    /// The body of a POST; a GET has none.
    body: Option<Vec<u8>>,
    answer: Option<reqwest::Response>,
    sent: bool,
    answer_headers: Vec<u8>,
    chunk: Bytes,
}

impl Exchange {
    pub(crate) fn get(session: Shared, url: &str, headers: HeaderMap) -> Rc<RefCell<Self>> {
        Self::new(session, url, headers, None)
    }

    pub(crate) fn post(session: Shared, url: &str, headers: HeaderMap) -> Rc<RefCell<Self>> {
        Self::new(session, url, headers, Some(Vec::new()))
    }

    fn new(session: Shared, url: &str, headers: HeaderMap, body: Option<Vec<u8>>) -> Rc<RefCell<Self>> {
        let exchange = Self {
            session,
            url: url.to_owned(),
            headers,
            body,
            answer: None,
            sent: false,
            answer_headers: Vec::new(),
            chunk: Bytes::new(),
        };
        Rc::new(RefCell::new(exchange))
    }

    fn verb(&self) -> &'static str {
        // As Go's client names them in its errors.
        if self.body.is_some() { "Post" } else { "Get" }
    }

    /// Sends the request and gives where it was redirected to, if it was.
    pub(crate) fn redirect(&mut self) -> io::Result<Option<String>> {
        self.send_raw()?;
        let Some(answer) = &self.answer else { return Ok(None) };
        if answer.status().is_redirection() {
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
            return Ok(Some(to));
        }
        self.check()?;
        Ok(None)
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.sent {
            self.send_raw()?;
            self.check()?;
        }
        Ok(())
    }

    fn send_raw(&mut self) -> io::Result<()> {
        self.sent = true;
        let verb = self.verb();
        let mut session = self.session.borrow_mut();
        let mut request = match self.body.take() {
            Some(body) => session.client.post(&self.url).body(body),
            None => session.client.get(&self.url),
        };
        request = request.headers(std::mem::take(&mut self.headers));
        session.requests += 1;
        let remaining = session.remaining();
        let answer = session.runtime.block_on(async { tokio::time::timeout(remaining, request.send()).await });
        match answer {
            Err(_) => Err(session.fail(Cause::Network { verb, url: self.url.clone(), why: "context deadline exceeded".to_owned() })),
            Ok(Err(error)) => {
                Err(session.fail(Cause::Network { verb, url: self.url.clone(), why: http_client::explain(&error, &self.url) }))
            }
            Ok(Ok(answer)) => {
                self.answer = Some(answer);
                Ok(())
            }
        }
    }

    /// Turns an answer that is no success into the error that it tells.
    fn check(&mut self) -> io::Result<()> {
        let Some(answer) = &self.answer else { return Ok(()) };
        let status = answer.status();
        if status.is_success() {
            for (name, value) in answer.headers() {
                self.answer_headers.extend_from_slice(name.as_str().as_bytes());
                self.answer_headers.extend_from_slice(b": ");
                self.answer_headers.extend_from_slice(value.as_bytes());
                self.answer_headers.push(b'\n');
            }
            return Ok(());
        }
        let mut said = Vec::new();
        while said.len() < ERROR_BODY_MAX && matches!(self.next_chunk(), Ok(true)) {
            said.extend_from_slice(&self.chunk);
        }
        said.truncate(ERROR_BODY_MAX);
        let said = String::from_utf8_lossy(&said).into_owned();
        let cause = match status.as_u16() {
            401 => Cause::AuthenticationRequired(said),
            403 => Cause::AuthorizationFailed(said),
            404 => Cause::NotFound(said),
            status => Cause::Status { url: self.url.clone(), status },
        };
        self.answer = None;
        Err(self.session.borrow_mut().fail(cause))
    }

    /// Reads the next piece of the answer; false at its end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        let verb = self.verb();
        let Some(answer) = &mut self.answer else { return Ok(false) };
        let mut session = self.session.borrow_mut();
        let remaining = session.remaining();
        let chunk = session.runtime.block_on(async { tokio::time::timeout(remaining, answer.chunk()).await });
        match chunk {
            Err(_) => Err(session.fail(Cause::Network { verb, url: self.url.clone(), why: "context deadline exceeded".to_owned() })),
            Ok(Err(error)) => {
                Err(session.fail(Cause::Network { verb, url: self.url.clone(), why: http_client::explain(&error, &self.url) }))
            }
            Ok(Ok(None)) => {
                drop(session);
                self.answer = None;
                Ok(false)
            }
            Ok(Ok(Some(chunk))) => {
                session.spend(chunk.len())?;
                self.chunk = chunk;
                Ok(true)
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.send()?;
        while self.chunk.is_empty() {
            if !self.next_chunk()? {
                break;
            }
        }
        Ok(())
    }
}

/// The head of an answer, line by line.
pub(crate) struct Headers {
    exchange: Rc<RefCell<Exchange>>,
    lines: Option<io::Cursor<Vec<u8>>>,
}

impl Headers {
    pub(crate) fn new(exchange: Rc<RefCell<Exchange>>) -> Self {
        Self { exchange, lines: None }
    }

    fn lines(&mut self) -> io::Result<&mut io::Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let mut exchange = self.exchange.borrow_mut();
            exchange.send()?;
            self.lines = Some(io::Cursor::new(std::mem::take(&mut exchange.answer_headers)));
        }
        Ok(self.lines.get_or_insert_default())
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

/// The body of an answer.
pub(crate) struct Body {
    exchange: Rc<RefCell<Exchange>>,
    chunk: Bytes,
}

impl Body {
    pub(crate) fn new(exchange: Rc<RefCell<Exchange>>) -> Self {
        Self { exchange, chunk: Bytes::new() }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            let mut exchange = self.exchange.borrow_mut();
            exchange.fill()?;
            self.chunk = std::mem::take(&mut exchange.chunk);
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.chunk.len());
        drop(self.chunk.split_to(amount));
    }
}

/// The body of a request.
pub(crate) struct Outgoing {
    exchange: Rc<RefCell<Exchange>>,
}

impl Outgoing {
    pub(crate) fn new(exchange: Rc<RefCell<Exchange>>) -> Self {
        Self { exchange }
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut exchange = self.exchange.borrow_mut();
        let body = exchange.body.get_or_insert_default();
        if body.len() + bytes.len() > REQUEST_MAX {
            return Err(io::Error::other("the request is too large"));
        }
        body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
