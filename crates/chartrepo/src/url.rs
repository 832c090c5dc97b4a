//! Addresses: of repositories, their indexes and their charts.

use reqwest::Url;

/// The address of a repository in the form that two spellings of it share: one slash at the end over HTTP, none for a registry.
pub fn normalize(url: &str) -> Result<String, String> {
    if url.is_empty() {
        return Ok(String::new());
    }
    let mut parsed = Url::parse(url).map_err(|e| format!("parse {:?}: {e}", http_client::redact(url)))?;
    let path = parsed.path().trim_end_matches('/').to_owned();
    if parsed.scheme() == "oci" {
        parsed.set_path(&path);
        return Ok(parsed.as_str().trim_end_matches('/').to_owned());
    }
    parsed.set_path(&format!("{path}/"));
    Ok(parsed.into())
}

/// The address of the index of a repository.
pub(crate) fn index(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/index.yaml", base.path().trim_end_matches('/')));
    url
}

/// The address of a chart, which an index may give relative to the repository. A query of the repository goes along, as it may hold a token.
pub(crate) fn chart(base: &Url, reference: &str) -> Result<Url, String> {
    if let Ok(absolute) = Url::parse(reference) {
        return Ok(absolute);
    }
    let mut folder = base.clone();
    folder.set_path(&format!("{}/", base.path().trim_end_matches('/')));
    let mut url = folder.join(reference).map_err(|e| e.to_string())?;
    url.set_query(base.query());
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_repository_are_one() {
        for (given, normal) in [
            ("https://charts.example.com", "https://charts.example.com/"),
            ("https://charts.example.com//", "https://charts.example.com/"),
            ("http://h:8080/a/b/", "http://h:8080/a/b/"),
            ("https://h/a?token=x", "https://h/a/?token=x"),
            ("oci://h:5000/charts/", "oci://h:5000/charts"),
            ("", ""),
        ] {
            assert_eq!(normalize(given).as_deref(), Ok(normal), "{given}");
        }
        assert!(normalize("no url").is_err());
    }

    #[test]
    fn charts_are_found_beside_the_index_or_where_they_say() {
        let base = |text: &str| Url::parse(text).unwrap();
        let table = [
            ("http://h/stable", "demo-1.0.0.tgz", "http://h/stable/demo-1.0.0.tgz"),
            ("http://h/stable/", "charts/demo.tgz", "http://h/stable/charts/demo.tgz"),
            ("http://h/stable?t=1", "demo.tgz", "http://h/stable/demo.tgz?t=1"),
            ("http://h/stable", "/root.tgz", "http://h/root.tgz"),
            ("http://h/stable", "https://cdn/x.tgz?a=b", "https://cdn/x.tgz?a=b"),
        ];
        for (repository, reference, expected) in table {
            assert_eq!(chart(&base(repository), reference).unwrap().as_str(), expected);
        }
        assert_eq!(index(&base("http://h/stable/?t=1")).as_str(), "http://h/stable/index.yaml?t=1");
    }
}
