use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What a path answers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

pub(crate) type Answers = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

const CONNECTIONS_MAX: usize = 64;
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
const CONNECTION_WITHIN: Duration = Duration::from_secs(300);

/// Reads an address as Go does: `:8080` is every interface. `0` and the empty text turn a server off.
pub(crate) fn address(text: &str) -> Result<Option<String>, String> {
    match text.trim() {
        "" | "0" => Ok(None),
        port if port.starts_with(':') => Ok(Some(format!("0.0.0.0{port}"))),
        full if full.contains(':') => Ok(Some(full.to_owned())),
        other => Err(format!("address {other:?} has no port")),
    }
}

/// Opens the port; returns where it listens, which tells the port when 0 was asked for.
pub(crate) async fn bind(address: &str) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

/// Answers GET and HEAD until told to stop.
pub(crate) async fn serve(listener: TcpListener, answers: Answers, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: it passes.
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (answers, stop) = (answers.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&answers, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // How a client ends its connection is its own affair.
            tokio::select! {
                _ = connection => {}
                () = stop.cancelled() => {}
                () = tokio::time::sleep(CONNECTION_WITHIN) => {}
            }
            drop(place);
        });
    }
}

fn answer(answers: &Answers, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let answer = match *request.method() {
        Method::GET | Method::HEAD => answers(request.uri().path()),
        _ => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(answer.content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_in_go() {
        assert_eq!(address(":8080"), Ok(Some("0.0.0.0:8080".into())));
        assert_eq!(address("127.0.0.1:0"), Ok(Some("127.0.0.1:0".into())));
        assert_eq!(address("[::1]:80"), Ok(Some("[::1]:80".into())));
        assert_eq!((address("0"), address("")), (Ok(None), Ok(None)));
        assert!(address("8080").is_err());
    }
}
