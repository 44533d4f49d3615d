//! An actor: somebody with a cookie jar.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tower::ServiceExt;

use super::app::ORIGIN;

/// Somebody who talks HTTP to the app and keeps cookies as a browser does.
#[derive(Clone)]
pub struct Actor {
    router: Router,
    base: String,
    jar: Arc<Mutex<BTreeMap<String, String>>>,
    headers: Vec<(String, String)>,
}

/// An answer, with its body in memory.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub text: String,
    /// Body as JSON; `null` when it is none.
    pub json: Json,
    what: String,
}

impl Actor {
    pub(super) fn new(router: Router, base: String) -> Self {
        Self { router, base, jar: Arc::default(), headers: Vec::new() }
    }

    /// The same actor with a header on every request; an empty value leaves the header out (the
    /// `Origin` that actors otherwise send). The jar is shared.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((name.to_owned(), value.to_owned()));
        other
    }

    /// The same actor with a jar of its own, filled like this one's: a thief, or a second tab.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut other = self.clone();
        other.jar = Arc::new(Mutex::new(self.cookies()));
        other
    }

    /// The jar, name to raw value.
    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The raw value of a cookie, `None` when it is not there.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies().get(name).cloned()
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.to_owned());
    }

    /// Takes a cookie out of the jar.
    pub fn drop_cookie(&self, name: &str) {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// `GET`, path below the base path.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, None::<Vec<u8>>).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Json) -> Reply {
        self.send(Method::POST, path, Some("application/json"), Some(body.to_string())).await
    }

    /// `POST` without a body.
    pub async fn post_empty(&self, path: &str) -> Reply {
        self.send(Method::POST, path, None, None::<Vec<u8>>).await
    }

    /// Anything.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Option<impl Into<Vec<u8>>>,
    ) -> Reply {
        let body: Vec<u8> = body.map(Into::into).unwrap_or_default();
        let uri = format!("{}{path}", self.base);
        let what = format!("{method} {uri}");
        let mut request = Request::builder().method(method).uri(uri);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", "localhost:3000");
        }
        if !self.headers.iter().any(|(name, _)| name == "origin") {
            request = request.header("origin", ORIGIN);
        }
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        let cookies: Vec<String> =
            self.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type).header("content-length", body.len());
        }
        let request = request.body(Body::from(body)).expect("the test's request");
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let reply = Reply {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or(Json::Null),
            text,
            what,
        };
        self.keep(&reply);
        reply
    }

    fn keep(&self, reply: &Reply) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        for line in reply.set_cookies() {
            let (pair, attributes) = line.split_once(';').unwrap_or((&line, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            if value.is_empty() || attributes.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Reply {
    /// Asserts the status, showing the body when it is another; gives the JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{} answered {}: {}", self.what, self.status, self.text);
        self.json.clone()
    }

    /// Asserts a refusal by status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        let json = self.expect(status);
        assert_eq!(
            json.get("code").and_then(Json::as_str),
            Some(code),
            "{} answered {}",
            self.what,
            self.text
        );
    }

    /// The `Set-Cookie` lines, in order.
    pub fn set_cookies(&self) -> Vec<String> {
        self.headers.get_all("set-cookie").iter().map(|v| v.to_str().expect("ASCII").to_owned()).collect()
    }

    /// The `Set-Cookie` lines for snapshots: what differs from run to run is masked, after its length
    /// and alphabet were looked at. What has no known shape stands there as it is.
    pub fn cookie_shapes(&self) -> String {
        let lines = self.set_cookies().into_iter().map(|line| {
            let (name, rest) = line.split_once('=').expect("a cookie");
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            format!("{}={};{attributes}", mask(name), mask(value))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A header's text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// `token.signature`, a name that ends with a token, a cookie cache.
fn mask(text: &str) -> String {
    let decoded = crate::crypto::decode_uri_component(text).expect("UTF-8");
    let letters =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let segment = |text: &str| {
        text.len() >= 20 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let standard = |text: &str| {
        let body = text.strip_suffix('=').unwrap_or_default();
        body.len() == 43 && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    };
    if let Some((value, signature)) = decoded.rsplit_once('.')
        && standard(signature)
    {
        let value = if letters(value, 32) { "[token]" } else { value };
        return format!("{value}.[signature]");
    }
    if let Some((name, token)) = decoded.rsplit_once('-')
        && letters(token, 32)
    {
        return format!("{name}-[token]");
    }
    let segments: Vec<&str> = decoded.split('.').collect();
    match segments.as_slice() {
        [one] if segment(one) && one.starts_with("eyJ") => "[compact]".into(),
        [head, body, end] if [head, body, end].iter().all(|s| segment(s)) => "[jws]".into(),
        [head, "", iv, body, tag] if [head, iv, body, tag].iter().all(|s| segment(s)) => "[jwe]".into(),
        _ => decoded,
    }
}
