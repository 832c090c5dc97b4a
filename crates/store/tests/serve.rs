//! The artifact server over a real socket.

#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc};
use store::{Retention, Store, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use types::Algorithm;

const PATH: &str = "gitrepository/apps/podinfo/one.tar.gz";

struct World {
    folder: tempfile::TempDir,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn world(content: &[u8]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "h", Algorithm::Sha256, Retention::default()).unwrap());
    store.write(PATH, |out| out.write_all(content)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, store, async {
        stopped.await.ok();
    }));
    World { folder, address, stop, served }
}

impl World {
    async fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{request}\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase(), answer[end + 4..].to_vec())
    }
}

#[tokio::test]
async fn files_are_served_whole_in_part_and_as_head() {
    let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let world = world(&content).await;
    let (head, body) = world.ask(&format!("GET /{PATH} HTTP/1.1")).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 300000") && head.contains("last-modified:"), "{head}");
    assert_eq!(body, content);
    let (head, body) = world.ask(&format!("GET /{PATH} HTTP/1.1\r\nRange: bytes=100000-200000")).await;
    assert!(head.starts_with("http/1.1 206") && head.contains("content-range: bytes 100000-200000/300000"), "{head}");
    assert_eq!(body, content[100_000..=200_000]);
    let (head, body) = world.ask(&format!("HEAD /{PATH} HTTP/1.1")).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 300000") && body.is_empty(), "{head}");
    let (head, _) = world.ask(&format!("GET /{PATH} HTTP/1.1\r\nRange: bytes=300000-")).await;
    assert!(head.starts_with("http/1.1 416") && head.contains("content-range: bytes */300000"), "{head}");
    let (head, _) = world.ask(&format!("POST /{PATH} HTTP/1.1")).await;
    assert!(head.starts_with("http/1.1 405"), "{head}");
}

#[tokio::test]
async fn folders_are_listed_and_slashes_put_right() {
    let world = world(b"x").await;
    std::fs::write(world.folder.path().join("gitrepository/apps/podinfo/.tmp-1"), "half").unwrap();
    let (head, body) = world.ask("GET /gitrepository/apps/podinfo/ HTTP/1.1").await;
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"one.tar.gz\">one.tar.gz</a>\n</pre>\n"
    );
    let (head, _) = world.ask("GET /gitrepository HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 301") && head.contains("location: gitrepository/"), "{head}");
    let (head, _) = world.ask(&format!("GET /{PATH}/ HTTP/1.1")).await;
    assert!(head.starts_with("http/1.1 301") && head.contains("location: ../one.tar.gz"), "{head}");
}

#[tokio::test]
async fn nothing_outside_of_the_root_is_served() {
    let world = world(b"x").await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, world.folder.path().join(name)).unwrap();
    link(&outside.path().join("secret"), "link");
    link(outside.path(), "folder");
    link(&world.folder.path().join(PATH), "latest.tar.gz");
    let name = outside.path().file_name().unwrap().to_string_lossy().into_owned();
    for path in [
        format!("/../{name}/secret"),
        format!("/%2e%2e/{name}/secret"),
        "/link".into(),
        "/folder/secret".into(),
        "/folder/".into(),
        "/a%00".into(),
    ] {
        let (head, body) = world.ask(&format!("GET {path} HTTP/1.1")).await;
        assert!(head.starts_with("http/1.1 404") && body == b"404 page not found\n", "{path}: {head}");
    }
    let (head, body) = world.ask("GET /latest.tar.gz HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 200") && body == b"x", "a link inside of the root is followed");
}

#[tokio::test]
async fn a_shutdown_ends_the_server() {
    let world = world(b"x").await;
    world.ask(&format!("GET /{PATH} HTTP/1.1")).await;
    world.stop.send(()).unwrap();
    world.served.await.unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}
