//! Browsers on trusted origins may call from there (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! Better Auth leaves this to the framework around it; a server of its own has none. Who is trusted is
//! what `trustedOrigins` says and nothing else: the origin itself is answered, never `*`, because
//! cookies go along. Our own origin needs no permission, and a foreign one gets none.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::call::{AlsoTrusted, own_origin, trusts};
use crate::auth::Auth;

/// Always allowed: what Better Auth's client sends.
const HEADERS: [&str; 2] = ["content-type", "authorization"];

/// Allowed when asked for: what its plugins and tracing add.
const ON_REQUEST: [&str; 15] = [
    "accept",
    "accept-language",
    "baggage",
    "cache-control",
    "content-language",
    "expo-origin",
    "if-none-match",
    "pragma",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-captcha-response",
    "x-requested-with",
    "x-skip-oauth-proxy",
];

/// What a script may read of an answer, beyond the body.
const EXPOSED: [&str; 2] = ["set-auth-token", "set-auth-jwt"];

const WAITS: [&str; 2] = ["x-retry-after", "retry-after"];

/// Seconds that a browser remembers the permission; Chromium takes no more.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The trusted origin, another than ours, that a request comes from.
pub(crate) fn trusted_origin(auth: &Auth, headers: &HeaderMap, also: &AlsoTrusted) -> Option<HeaderValue> {
    if !auth.config().cors {
        return None;
    }
    let mut all = headers.get_all(ORIGIN).iter();
    let origin = all.next()?;
    let text = origin.to_str().ok()?;
    // "null" is everybody's; two origins are nobody's.
    if all.next().is_some() || text == "null" || !trusts(auth, headers, also, text, false) {
        return None;
    }
    (text != own_origin(auth, headers)).then(|| origin.clone())
}

/// Does a browser ask here whether it may ask?
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The permission for a path with these methods; the origin is added by [`permit`].
pub(crate) fn preflight<'m>(methods: impl Iterator<Item = &'m Method>, asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods: Vec<&str> = methods.map(Method::as_str).collect();
    let mut allowed: Vec<String> = HEADERS.map(str::to_owned).into();
    for line in asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|line| line.to_str().ok()) {
        for name in line.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            if ON_REQUEST.contains(&name.as_str()) && !allowed.contains(&name) {
                allowed.push(name);
            }
        }
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, methods.join(", ")),
        (ACCESS_CONTROL_ALLOW_HEADERS, allowed.join(", ")),
    ] {
        // Names of methods and of headers in our own lists are values of headers.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

/// Lets scripts of that origin read the answer. Every answer says that it depends on the origin, or a
/// cache would hand one origin's answer to another.
pub(crate) fn permit(auth: &Auth, origin: Option<HeaderValue>, response: &mut Response) {
    if !auth.config().cors {
        return;
    }
    let headers = response.headers_mut();
    let varies = headers.get_all(VARY).iter().filter_map(|line| line.to_str().ok());
    let mut varies = varies.flat_map(|line| line.split(',')).map(str::trim);
    if !varies.any(|name| name == "*" || name.eq_ignore_ascii_case("origin")) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = origin else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    // A preflight's answer is read by the browser alone.
    if headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS) {
        return;
    }
    let lines = headers.get_all(ACCESS_CONTROL_EXPOSE_HEADERS).iter().filter_map(|line| line.to_str().ok());
    let mut exposed: Vec<String> =
        lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_owned()).collect();
    // How long to wait, where the answer says so.
    let waits = WAITS.iter().filter(|name| headers.contains_key(**name));
    for name in EXPOSED.iter().chain(waits) {
        if !exposed.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            exposed.push((*name).to_owned());
        }
    }
    if let Ok(value) = HeaderValue::try_from(exposed.join(", ")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, value);
    }
}
