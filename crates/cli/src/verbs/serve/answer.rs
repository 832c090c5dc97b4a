//! One request of a chart repository.

use super::collection::{Collection, File, Folder};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use std::sync::{Arc, Mutex, PoisonError};

type Answer = Response<Full<Bytes>>;

/// Answers from the folder as it is now: it is looked at again when the index is asked for, or an archive that is not known.
pub async fn answer<B>(folder: Arc<Mutex<Folder>>, request: Request<B>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().trim_start_matches('/').to_owned());
    let headers = request.headers().clone();
    drop(request);
    let work = move || respond(&method, &headers, find(&folder, &path).as_ref());
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
}

fn find(folder: &Mutex<Folder>, name: &str) -> Option<File> {
    let mut folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
    let known = |collection: &Collection| collection.get(name).cloned();
    if name != "index.yaml"
        && let Some(file) = known(&folder.collection())
    {
        return Some(file);
    }
    match folder.refresh() {
        Ok(collection) => known(&collection),
        Err(failure) => {
            // What was read before is better than nothing.
            crate::shell::log::warning(failure.message);
            known(&folder.collection())
        }
    }
}

fn respond(method: &Method, headers: &HeaderMap, file: Option<&File>) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Some(file) = file else { return plain(StatusCode::NOT_FOUND, "404 page not found\n") };
    let tag = format!("\"{}\"", file.digest);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged =
        known.flat_map(|value| value.split(',')).any(|one| matches!(one.trim().trim_start_matches("W/"), one if one == tag || one == "*"));
    let response = Response::builder().header(header::ETAG, tag);
    let built = if unchanged {
        response.status(StatusCode::NOT_MODIFIED).body(Full::default())
    } else {
        let response = response.header(header::CONTENT_TYPE, file.media_type).header(header::CONTENT_LENGTH, file.body.len());
        response.body(if *method == Method::HEAD { Full::default() } else { Full::new(file.body.clone()) })
    };
    built.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn ask(folder: &Arc<Mutex<Folder>>, method: Method, path: &str, tag: &str) -> (StatusCode, String, usize) {
        let request = Request::builder().method(method).uri(path).header(header::IF_NONE_MATCH, tag).body(()).unwrap();
        let response = answer(folder.clone(), request).await;
        let tag = response.headers().get(header::ETAG).map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status();
        (status, tag, response.into_body().collect().await.unwrap().to_bytes().len())
    }

    #[tokio::test]
    async fn answers_carry_a_tag_and_are_not_sent_twice() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n").unwrap();
        let folder = Arc::new(Mutex::new(Folder::open(root.path()).unwrap()));
        let (status, tag, size) = ask(&folder, Method::GET, "/index.yaml", "").await;
        assert!(status == StatusCode::OK && tag.len() == 66 && size > 100);
        assert_eq!(ask(&folder, Method::GET, "/index.yaml", &tag).await, (StatusCode::NOT_MODIFIED, tag.clone(), 0));
        assert_eq!(ask(&folder, Method::GET, "/index.yaml", &format!("\"x\", W/{tag}")).await.0, StatusCode::NOT_MODIFIED);
        assert_eq!(ask(&folder, Method::HEAD, "/web-1.0.0.tgz", "").await.2, 0);
        assert_eq!(ask(&folder, Method::GET, "/web-2.0.0.tgz", "").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&folder, Method::POST, "/index.yaml", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}
