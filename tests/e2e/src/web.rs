use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

/// What was asked for; names of headers are in lower case.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Arc<Vec<u8>>,
}

impl Answer {
    pub fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Arc::new(body.into()) }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A web server on loopback that answers as a function says, and remembers what it was asked.
pub struct Web {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    /// The function also gets the server's own address. The threads end with the test's process.
    pub fn start(answer: impl Fn(&str, &Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it listens").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (own, seen, answer) = (address.clone(), asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, seen, answer) = (own.clone(), seen.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &seen, |asked| answer(&own, asked)));
            }
        });
        Self { address, asked }
    }

    /// Files by path; everything else is not found.
    pub fn files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let files: BTreeMap<String, Answer> = files.into_iter().map(|(path, bytes)| (path, Answer::of(200, bytes))).collect();
        Self::start(move |_, asked| files.get(&asked.path).cloned().unwrap_or_else(|| Answer::of(404, "")))
    }

    /// The body of what a server answers to a GET; empty when there is none.
    pub fn get(address: &str, path: &str) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            let _ = stream.read_to_string(&mut text);
        }
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: impl Fn(&Asked) -> Answer) {
    let Ok(clone) = stream.try_clone() else { return };
    let mut lines = BufReader::new(clone).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let headers = lines.take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())));
    let asked = Asked { method, path, headers: headers.collect() };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
    let Answer { status, headers, body } = answer(&asked);
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let sent = stream.write_all(format!("{head}\r\n").as_bytes());
    // Whoever asked may have left: a body that is too large is not read to its end.
    if sent.is_ok() && asked.method != "HEAD" {
        let _ = stream.write_all(&body);
    }
}
