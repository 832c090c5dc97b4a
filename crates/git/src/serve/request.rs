//! Requests of protocol version 2.

use crate::pkt::{self, Line};
use gix::ObjectId;

/// Wants and haves of one request, each.
const OBJECTS_MAX: usize = 10_000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    ListRefs { prefixes: Vec<String>, peel: bool, symrefs: bool },
    Fetch(Fetch),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) wants: Vec<ObjectId>,
    pub(crate) haves: Vec<ObjectId>,
    /// Commits whose parents the client does not have.
    pub(crate) shallow: Vec<ObjectId>,
    /// How many commits deep the answer reaches; everything when absent.
    pub(crate) depth: Option<usize>,
    /// The client has told all that it has.
    pub(crate) done: bool,
}

/// Why a request is no request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("malformed request")]
    Malformed,
    #[error("unknown command {0:?}")]
    Command(String),
    #[error("{0:?} is not supported")]
    Argument(String),
    #[error("too many objects are named")]
    TooMany,
}

pub(crate) fn parse(body: &[u8]) -> Result<Request, Error> {
    let mut rest = body;
    let (mut command, mut in_arguments, mut arguments) = (None, false, Vec::new());
    loop {
        match pkt::take(&mut rest).ok_or(Error::Malformed)? {
            Line::Flush => break,
            Line::Delimiter => in_arguments = true,
            Line::Data(line) => {
                let line = std::str::from_utf8(line).map_err(|_| Error::Malformed)?;
                if in_arguments {
                    arguments.push(line);
                } else if let Some(name) = line.strip_prefix("command=") {
                    command = Some(name);
                }
            }
        }
    }
    match command {
        Some("ls-refs") => Ok(list_refs(&arguments)),
        Some("fetch") => fetch(&arguments).map(Request::Fetch),
        Some(other) => Err(Error::Command(other.to_owned())),
        None => Err(Error::Malformed),
    }
}

fn list_refs(arguments: &[&str]) -> Request {
    let prefixes = arguments.iter().filter_map(|a| a.strip_prefix("ref-prefix ")).map(str::to_owned).collect();
    Request::ListRefs { prefixes, peel: arguments.contains(&"peel"), symrefs: arguments.contains(&"symrefs") }
}

fn fetch(arguments: &[&str]) -> Result<Fetch, Error> {
    let mut fetch = Fetch::default();
    for argument in arguments {
        let (name, value) = argument.split_once(' ').unwrap_or((argument, ""));
        let object = || ObjectId::from_hex(value.as_bytes()).map_err(|_| Error::Malformed);
        match name {
            "want" => fetch.wants.push(object()?),
            "have" => fetch.haves.push(object()?),
            "shallow" => fetch.shallow.push(object()?),
            "deepen" => fetch.depth = Some(value.parse().map_err(|_| Error::Malformed)?),
            "done" => fetch.done = true,
            // What a client may take or leave; the answer is right without.
            "thin-pack" | "no-progress" | "include-tag" | "ofs-delta" | "wait-for-done" | "sideband-all" => {}
            other => return Err(Error::Argument(other.to_owned())),
        }
        if fetch.wants.len().max(fetch.haves.len()).max(fetch.shallow.len()) > OBJECTS_MAX {
            return Err(Error::TooMany);
        }
    }
    // Git writes "all of it" as the largest number of 32 bits.
    fetch.depth = fetch.depth.filter(|depth| *depth > 0 && *depth < 0x7fff_ffff);
    Ok(fetch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: &str, arguments: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        pkt::put(&mut out, format!("command={command}\n").as_bytes());
        pkt::put(&mut out, b"agent=test\n");
        out.extend_from_slice(pkt::DELIMITER);
        arguments.iter().for_each(|a| pkt::put(&mut out, format!("{a}\n").as_bytes()));
        out.extend_from_slice(pkt::FLUSH);
        out
    }

    #[test]
    fn commands_and_their_arguments_are_read() {
        let parsed = parse(&request("ls-refs", &["peel", "symrefs", "ref-prefix refs/heads/"]));
        assert_eq!(parsed, Ok(Request::ListRefs { prefixes: vec!["refs/heads/".into()], peel: true, symrefs: true }));
        let id = "1111111111111111111111111111111111111111";
        let parsed = parse(&request("fetch", &[&format!("want {id}"), "thin-pack", "deepen 1", "done"]));
        let id = ObjectId::from_hex(id.as_bytes()).unwrap();
        assert_eq!(parsed, Ok(Request::Fetch(Fetch { wants: vec![id], depth: Some(1), done: true, ..Fetch::default() })));
        let all = parse(&request("fetch", &["deepen 2147483647"]));
        assert_eq!(all, Ok(Request::Fetch(Fetch::default())));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(parse(b"0005"), Err(Error::Malformed));
        assert_eq!(parse(&request("push", &[])), Err(Error::Command("push".into())));
        assert_eq!(parse(&request("fetch", &["want xyz"])), Err(Error::Malformed));
        assert_eq!(parse(&request("fetch", &["filter blob:none"])), Err(Error::Argument("filter".into())));
    }
}
