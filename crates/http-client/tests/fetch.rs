//! Fetching from servers that answer as told.

#![allow(clippy::unwrap_used)]

use http_client::{Client, Error, Options, Retry};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use types::Digest;

/// Answers the n-th request with the n-th text, the last one again and again.
fn server(answers: Vec<String>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let n = counted.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream;
            stream.write_all(answers[n.min(answers.len() - 1)].as_bytes()).ok();
        }
    });
    (address, count)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn client(retries: u32) -> Client {
    let retry = Retry { count: retries, wait_min: Duration::from_millis(1), wait_max: Duration::from_millis(2) };
    Client::new(&Options { retry, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn an_artifact_is_fetched_and_checked() {
    let (address, _) = server(vec![ok("artifact")]);
    let url = format!("http://{address}/a.tar.gz");
    let bytes = client(0).fetch_artifact(&url, &Digest::sha256(b"artifact"), 100).await.unwrap();
    assert_eq!(&bytes[..], b"artifact");
    let wrong = client(5).fetch_artifact(&url, &Digest::sha256(b"other"), 100).await;
    assert!(matches!(wrong, Err(Error::Digest(_))));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let (address, count) = server(vec![status("503 Busy"), status("429 Slow Down\r\nRetry-After: 1000"), String::new(), ok("late")]);
    assert_eq!(&client(3).get(&format!("http://{address}/"), 100).await.unwrap()[..], b"late");
    assert_eq!(count.load(Ordering::SeqCst), 4);

    let (address, count) = server(vec![status("503 Busy")]);
    let error = client(2).get(&format!("http://user:secret@{address}/x?sig=secret"), 100).await.unwrap_err();
    assert_eq!(error.to_string(), format!("failed to download archive from http://{address}/x (status: 503 Service Unavailable)"));
    assert_eq!(count.load(Ordering::SeqCst), 3);

    let (address, count) = server(vec![status("404 Not Found")]);
    assert!(matches!(client(5).get(&format!("http://{address}/"), 100).await, Err(Error::NotFound)));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn more_than_the_limit_is_refused_announced_or_not() {
    let (address, _) = server(vec![ok("0123456789")]);
    assert!(matches!(client(0).get(&format!("http://{address}/"), 9).await, Err(Error::TooLarge(9))));
    let (address, _) = server(vec!["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789".to_owned()]);
    assert!(matches!(client(0).get(&format!("http://{address}/"), 9).await, Err(Error::TooLarge(9))));
}

#[tokio::test]
async fn a_short_body_and_a_closed_port_are_network_errors() {
    let (address, _) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nshort".to_owned()]);
    assert!(matches!(client(0).get(&format!("http://{address}/"), 100).await, Err(Error::Network { .. })));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client(0).get(&format!("http://127.0.0.1:{port}/a?token=secret"), 100).await.unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_to_an_end() {
    let (target, _) = server(vec![ok("there")]);
    let (address, _) = server(vec![status(&format!("302 Found\r\nLocation: http://{target}/x"))]);
    assert_eq!(&client(0).get(&format!("http://{address}/"), 100).await.unwrap()[..], b"there");
    let (address, count) = server(vec![status("302 Found\r\nLocation: /again")]);
    assert!(client(0).get(&format!("http://{address}/"), 100).await.unwrap_err().to_string().contains("too many redirects"));
    assert!(count.load(Ordering::SeqCst) < 15);
}
