//! The HTTP side of the smart protocol: gix asks for headers and bodies, this answers them over one bounded client.
//!
//! gix's own backends know neither a deadline nor a size, drop the text of an error answer, and hand credentials to helpers.

mod client;
mod exchange;

pub(crate) use client::Clients;

use crate::session::{Service, Shared};
use crate::{Address, Cause};
use exchange::{Body, Exchange, Headers, Outgoing};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::{Transport, http};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::{cell::RefCell, rc::Rc};

/// Redirects of the first request that are followed.
const REDIRECTS_MAX: usize = 10;
/// Bytes of an error answer that are shown.
const ERROR_BODY_MAX: usize = 1024;

/// gix's view of a session.
pub(crate) struct Smart {
    session: Shared,
    /// Given up on the way to another host.
    authorization: Option<HeaderValue>,
    redirected: Option<String>,
}

/// A transport for gix that speaks to a service of `address`.
pub(crate) fn transport(session: &Shared, address: &Address, service: Service) -> Result<Box<dyn Transport>, Cause> {
    let url = gix::url::parse(address.url().as_str()).map_err(|e| Cause::Protocol(e.to_string()))?;
    let authorization = session.borrow().authorization.clone();
    // The newer protocol has no push.
    let protocol = if service == Service::Fetch { Protocol::V2 } else { Protocol::V1 };
    let smart = Smart { authorization, session: session.clone(), redirected: None };
    Ok(Box::new(http::Transport::new_http(smart, url, protocol, false)))
}

impl http::Http for Smart {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = Outgoing;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::error::Result<http::GetResponse<Headers, Body>> {
        let exchange = self.first_request(url, base_url, header_map(headers)).map_err(gix::error::Error::from_error)?;
        Ok(http::GetResponse { headers: Headers::new(exchange.clone()), body: Body::new(exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: http::PostBodyDataKind,
    ) -> gix::error::Result<http::PostResponse<Headers, Body, Outgoing>> {
        let exchange = Exchange::post(self.session.clone(), url, self.authorized(header_map(headers)));
        Ok(http::PostResponse {
            post_body: Outgoing::new(exchange.clone()),
            headers: Headers::new(exchange.clone()),
            body: Body::new(exchange),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::error::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

impl Smart {
    fn authorized(&self, mut headers: HeaderMap) -> HeaderMap {
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers
    }

    /// The request for the references, with redirects. Only this one is followed, as Git does by default;
    /// credentials go along to the same host alone, and never from https to http.
    fn first_request(&mut self, url: &str, base_url: &str, headers: HeaderMap) -> std::io::Result<Rc<RefCell<Exchange>>> {
        let mut at = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let exchange = Exchange::get(self.session.clone(), &at, self.authorized(headers.clone()));
            let Some(next) = exchange.borrow_mut().redirect()? else {
                if at != url
                    && let Some(base) = url.strip_prefix(base_url).and_then(|tail| at.strip_suffix(tail))
                {
                    self.redirected = Some(base.to_owned());
                }
                return Ok(exchange);
            };
            let (from, to) = (reqwest::Url::parse(&at), reqwest::Url::parse(&at).and_then(|base| base.join(&next)));
            let (Ok(from), Ok(to)) = (from, to) else {
                return Err(self.session.borrow_mut().fail(Cause::Redirect("(malformed)".to_owned())));
            };
            let mut session = self.session.borrow_mut();
            if !matches!(to.scheme(), "http" | "https") || !to.username().is_empty() || to.password().is_some() {
                return Err(session.fail(Cause::Redirect(format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default()))));
            }
            if from.host_str() != to.host_str() || (from.scheme() == "https" && to.scheme() == "http") {
                self.authorization = None;
            }
            at = to.to_string();
        }
        Err(self.session.borrow_mut().fail(Cause::Redirect("(too many)".to_owned())))
    }
}

fn header_map(lines: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let parsed =
            line.as_ref().split_once(':').map(|(name, value)| (HeaderName::try_from(name.trim()), HeaderValue::try_from(value.trim())));
        // Credentials of gix's own are never used: ours are added where the request is sent.
        if let Some((Ok(name), Ok(value))) = parsed
            && name != AUTHORIZATION
        {
            map.insert(name, value);
        }
    }
    map
}
