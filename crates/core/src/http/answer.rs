//! What a handler gives back, and the only place where an error becomes a response and is logged.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::cookies::Cookies;
use crate::auth::Auth;
use crate::error::{Error, Refusal};
use crate::identity::SessionUser;

/// A response in parts: status, headers, cookies, body.
#[derive(Debug)]
pub struct Answer {
    /// Status, 200 unless said otherwise.
    pub status: StatusCode,
    /// Headers beside `Content-Type` and `Set-Cookie`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies.
    pub cookies: Cookies,
    /// Body.
    pub body: Content,
}

/// The body of an [`Answer`].
#[derive(Debug)]
pub enum Content {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Json),
    /// JSON, as text already.
    Shown(Bytes),
    /// A page.
    Html(String),
    /// Plain text.
    Text(&'static str),
}

impl Answer {
    /// 200 with JSON.
    pub fn json(value: impl Serialize) -> Result<Self, Error> {
        Ok(Self::value(serde_json::to_value(value).map_err(Error::broken)?))
    }

    /// 200 with JSON that is already a value.
    pub fn value(value: Json) -> Self {
        Self { body: Content::Json(value), ..Self::empty(StatusCode::OK) }
    }

    /// 200 with JSON that is text already.
    pub fn shown(text: Bytes) -> Self {
        Self { body: Content::Shown(text), ..Self::empty(StatusCode::OK) }
    }

    /// A page.
    pub fn html(page: String) -> Self {
        Self { body: Content::Html(page), ..Self::empty(StatusCode::OK) }
    }

    /// An empty answer of some status.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), cookies: Cookies::new(), body: Content::Empty }
    }

    /// 302 to a URL.
    pub fn redirect(url: &str) -> Result<Self, Error> {
        let mut answer = Self::empty(StatusCode::FOUND);
        answer.headers.push((http::header::LOCATION, location(url)?));
        // Better Auth's redirects are answers like any other, and say so.
        answer.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        Ok(answer)
    }

    /// Without a content type: Better Auth's error page sends its visitors on that way.
    #[must_use]
    pub fn untyped(mut self) -> Self {
        self.headers.retain(|(name, _)| name != CONTENT_TYPE);
        self
    }

    /// What a sign-in with a password answers. The `Location` goes with a 200: the client follows it,
    /// not the browser.
    pub fn signed_in(
        auth: &Auth,
        current: &SessionUser,
        callback_url: Option<&str>,
        cookies: Cookies,
    ) -> Result<Self, Error> {
        let target = callback_url.filter(|url| !url.is_empty());
        let mut body = Map::new();
        body.insert("redirect".into(), Json::from(target.is_some()));
        body.insert("token".into(), Json::from(current.session.token.as_str()));
        if let Some(url) = callback_url {
            body.insert("url".into(), Json::from(url));
        }
        body.insert("user".into(), Json::Object(current.user.view(auth)));
        let answer = Self::value(Json::Object(body)).with_cookies(cookies);
        let Some(url) = target else { return Ok(answer) };
        Ok(answer.with_header(http::header::LOCATION, location(url)?))
    }

    /// Adds cookies.
    #[must_use]
    pub fn with_cookies(mut self, cookies: Cookies) -> Self {
        self.cookies.extend(cookies);
        self
    }

    /// Adds headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A URL as a header can carry it: what is not visible ASCII is percent-encoded, as browsers do.
fn location(url: &str) -> Result<HeaderValue, Error> {
    const UNSEEN: &AsciiSet = &CONTROLS.add(b' ');
    HeaderValue::from_str(&utf8_percent_encode(url, UNSEEN).to_string()).map_err(Error::broken)
}

/// Headers of an ordinary answer.
const HEADERS: usize = 12;

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (content_type, body) = match self.body {
            Content::Empty => (None, Body::empty()),
            Content::Json(value) => (Some("application/json"), Body::from(value.to_string())),
            Content::Shown(text) => (Some("application/json"), Body::from(text)),
            Content::Html(page) => (Some("text/html; charset=utf-8"), Body::from(page)),
            Content::Text(text) => (Some("text/plain;charset=UTF-8"), Body::from(text)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        // These and the ones that every answer gets, without growing on the way.
        response.headers_mut().reserve(HEADERS);
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        put(&mut response, self.headers, &self.cookies);
        response
    }
}

fn put(response: &mut Response, headers: Vec<(HeaderName, HeaderValue)>, cookies: &Cookies) {
    for (name, value) in headers.into_iter().chain(cookies.headers().iter().cloned()) {
        // Two seams may expose headers of their own; the list is one, and names each once.
        if name == http::header::ACCESS_CONTROL_EXPOSE_HEADERS
            && let Some(old) = response.headers().get(&name).and_then(|v| v.to_str().ok())
            && let Ok(new) = value.to_str()
        {
            let named = old.split(',').any(|one| one.trim().eq_ignore_ascii_case(new));
            if !named && let Ok(both) = HeaderValue::from_str(&format!("{old}, {new}")) {
                response.headers_mut().insert(name, both);
            }
            continue;
        }
        response.headers_mut().insert(name, value);
    }
    for cookie in cookies.iter() {
        match HeaderValue::from_str(&cookie.header()) {
            Ok(value) => {
                response.headers_mut().append(SET_COOKIE, value);
            }
            // Only an operator's cookie name or domain can contain what a header cannot.
            Err(_) => {
                tracing::error!(cookie = %cookie.name, "cookie cannot be written; check advanced.cookies")
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => {
                let Refusal { code, cookies, headers, body } = *refusal;
                let body = body.or_else(|| match (code.message.is_empty(), code.code.is_empty()) {
                    (true, true) => None,
                    (false, true) => Some(json!({ "message": code.message })),
                    _ => Some(json!({ "message": code.message, "code": code.code })),
                });
                let mut response =
                    Response::new(body.map_or_else(Body::empty, |body| Body::from(body.to_string())));
                *response.status_mut() = code.status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                put(&mut response, headers, &cookies);
                response
            }
            Self::Broken(source) => {
                // The chain of causes, once; a cause never holds a secret (see `StoreError`, `CryptoError`).
                let mut text = source.to_string();
                let mut cause = source.source();
                while let Some(next) = cause {
                    text.push_str(": ");
                    text.push_str(&next.to_string());
                    cause = next.source();
                }
                tracing::error!(error = %text, "request failed");
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }
}
