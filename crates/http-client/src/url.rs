use crate::Error;
use reqwest::Url;

/// `url` with another host (and port), as `SOURCE_CONTROLLER_LOCALHOST` asks for.
pub fn with_host(url: &str, host: &str) -> Result<String, Error> {
    let mut parsed = Url::parse(url).map_err(|e| Error::Url(redact(url), e.to_string()))?;
    let bad = || Error::Url(redact(url), format!("cannot take the host {host:?}"));
    let authority = Url::parse(&format!("{}://{host}", parsed.scheme())).map_err(|_| bad())?;
    parsed.set_host(authority.host_str()).map_err(|_| bad())?;
    parsed.set_port(authority.port()).map_err(|()| bad())?;
    Ok(parsed.to_string())
}

/// A URL as it may be shown: without user information, query and fragment.
pub fn redact(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) => {
            parsed.set_query(None);
            parsed.set_fragment(None);
            // Fails only for URLs that can hold no user.
            parsed.set_username("").ok();
            parsed.set_password(None).ok();
            parsed.to_string()
        }
        Err(_) => "(malformed URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_replaced_with_its_port() {
        assert_eq!(
            with_host("http://source-controller.flux-system.svc/a/b.tar.gz", "127.0.0.1:9090").unwrap(),
            "http://127.0.0.1:9090/a/b.tar.gz"
        );
        assert_eq!(with_host("http://h:1/a", "other").unwrap(), "http://other/a");
        assert!(with_host("nothing", "other").is_err());
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(redact("https://user:pw@h/p?sig=secret#f"), "https://h/p");
        assert_eq!(redact("secret text"), "(malformed URL)");
    }
}
