//! Network errors in the words of Go's HTTP client, which users know from Flux and Helm.

use std::{error::Error as _, io};

/// Why a request to `url` failed.
pub fn explain(error: &reqwest::Error, url: &str) -> String {
    let mut chain: Vec<&(dyn std::error::Error + 'static)> = vec![];
    let mut next = error.source();
    while let Some(source) = next {
        chain.push(source);
        next = source.source();
    }
    let innermost = chain.last().map_or_else(|| error.to_string(), |e| e.to_string());
    let target = reqwest::Url::parse(url)
        .ok()
        .and_then(|u| Some(format!("{}:{}", u.host_str()?, u.port_or_known_default()?)))
        .unwrap_or_else(|| "the server".to_owned());
    let kind = chain.iter().rev().find_map(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        _ if error.is_timeout() => "context deadline exceeded".to_owned(),
        Some(kind) if unreachable(kind).is_some() => format!("dial tcp {target}: connect: {}", unreachable(kind).unwrap_or_default()),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "unexpected EOF".to_owned(),
        _ if chain.iter().any(|e| e.to_string().contains("dns error")) => format!("dial tcp: lookup {target}: {innermost}"),
        _ if innermost.contains("InvalidContentType") => "http: server gave HTTP response to HTTPS client".to_owned(),
        _ => certificate(&innermost).map_or(innermost, |why| format!("tls: failed to verify certificate: x509: {why}")),
    }
}

/// Why no connection to `host:port` came about.
pub fn dial(error: &io::Error, target: &str) -> String {
    match unreachable(error.kind()) {
        Some(why) => format!("dial tcp {target}: connect: {why}"),
        None => format!("dial tcp {target}: {error}"),
    }
}

fn unreachable(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some("connection refused"),
        io::ErrorKind::NetworkUnreachable => Some("network is unreachable"),
        io::ErrorKind::HostUnreachable => Some("no route to host"),
        _ => None,
    }
}

/// What is wrong with a server's certificate, as Go says it; rustls names the reason in one word.
fn certificate(error: &str) -> Option<&'static str> {
    let (_, reason) = error.split_once("invalid peer certificate: ")?;
    let known = [
        (
            "Other(OtherError(CaUsedAsEndEntity))",
            "certificate is that of an authority nobody trusts; give it as a CA, or sign one for the server by it",
        ),
        ("UnknownIssuer", "certificate signed by unknown authority"),
        ("Expired", "certificate has expired or is not yet valid"),
        ("NotValidYet", "certificate has expired or is not yet valid"),
        ("NotValidForName", "certificate is not valid for the name of the server"),
        ("certificate expired", "certificate has expired or is not yet valid"),
        ("certificate not valid for name", "certificate is not valid for the name of the server"),
    ];
    known.into_iter().find(|(word, _)| reason.starts_with(word)).map(|(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::certificate;

    #[test]
    fn certificates_are_judged_in_the_words_of_go() {
        let table = [
            ("invalid peer certificate: UnknownIssuer", Some("certificate signed by unknown authority")),
            ("invalid peer certificate: certificate expired: verified against 2", Some("certificate has expired or is not yet valid")),
            ("invalid peer certificate: certificate not valid for name \"h\"", Some("certificate is not valid for the name of the server")),
            ("invalid peer certificate: BadSignature", None),
            ("connection closed", None),
        ];
        for (error, expected) in table {
            assert_eq!(certificate(error), expected, "{error}");
        }
    }
}
