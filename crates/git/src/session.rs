//! One conversation with a server, over HTTP or SSH: its bounds, its credentials, its first failure.

use crate::ssh::{self, Connection, Login};
use crate::{Address, Cause, Credentials, Scheme, http};
use base64::Engine as _;
use gix_transport::client::blocking_io::Transport;
use reqwest::header::HeaderValue;
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

/// One conversation with a server: what it may cost, and what went wrong in it.
pub(crate) struct Session {
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) client: reqwest::Client,
    pub(crate) authorization: Option<HeaderValue>,
    /// Who asks over SSH.
    pub(crate) login: Option<Login>,
    /// The connection over SSH, once it is needed.
    pub(crate) ssh: Option<Connection>,
    pub(crate) deadline: Instant,
    /// Bytes that may still be received.
    pub(crate) budget: u64,
    pub(crate) limit: u64,
    /// The first failure; gix only learns that there was one.
    pub(crate) failure: Option<Cause>,
    /// Requests made so far.
    pub(crate) requests: usize,
    /// Bytes received so far.
    pub(crate) received: u64,
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Fetch,
    Push,
}

pub(crate) type Shared = Rc<RefCell<Session>>;

impl Session {
    pub(crate) fn authorization(credentials: Option<&Credentials>) -> Result<Option<HeaderValue>, crate::Error> {
        let text = match credentials {
            None | Some(Credentials::Ssh { .. }) => return Ok(None),
            Some(Credentials::Bearer(token)) => format!("Bearer {token}"),
            Some(Credentials::Basic { username, password }) => {
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
            }
        };
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| crate::Error::Tls("credentials hold characters that no header can".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Notes a failure and gives what gix is told instead.
    pub(crate) fn fail(&mut self, cause: Cause) -> std::io::Error {
        let kind = if matches!(cause, Cause::AuthenticationRequired(_)) {
            std::io::ErrorKind::PermissionDenied
        } else {
            std::io::ErrorKind::Other
        };
        let text = cause.to_string();
        self.failure.get_or_insert(cause);
        std::io::Error::new(kind, text)
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> std::io::Result<()> {
        self.received += bytes as u64;
        match self.budget.checked_sub(bytes as u64) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(self.fail(Cause::TooLarge(self.limit))),
        }
    }
}

/// A transport for gix that speaks to a service of `address`.
pub(crate) fn transport(session: &Shared, address: &Address, service: Service) -> Result<Box<dyn Transport>, Cause> {
    match address.scheme() {
        Scheme::Ssh => ssh::transport(session, address, service),
        Scheme::Http | Scheme::Https => http::transport(session, address, service),
    }
}
