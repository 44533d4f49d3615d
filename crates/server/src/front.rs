//! What every request passes before the routes and every answer afterwards: request id and log line,
//! security headers, limits on body and time, and a net under panics.
//!
//! The log holds method, route, status and duration. Never a path as it was sent (reset links carry
//! tokens in it), a query, a header or a body.

use std::any::Any;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use portcullis::Auth;
use portcullis::config::{BaseUrl, Environment};
use portcullis::events::RequestId;
use portcullis::http::{Api, MatchedRoute};
use portcullis::metrics::Requests;
use tracing::Instrument;

use crate::listen::Answers;
use crate::telemetry::Tracer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Nothing in an answer that is data may be run, loaded or framed.
const CSP_DATA: &str = "default-src 'none'; frame-ancestors 'none'";
/// For pages of the routes that bring no policy of their own (Better Auth's error page has inline styles).
const CSP_PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The routes count for themselves and have their own answer; this is for whatever does not. It lets one
/// read more through, so that theirs comes first.
const SLACK: usize = 128 << 10;
/// How much of a body that is too large is read and thrown away, so that its sender gets to see the 413
/// instead of a reset connection.
const DRAIN: usize = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Request ids: sixteen hex digits. Each is the keyed hash of a number, so that they do not tell how many
/// there were, and cost no call of the system.
#[derive(Debug, Default)]
struct Ids {
    key: RandomState,
    last: AtomicU64,
}

impl Ids {
    fn next(&self) -> String {
        format!("{:016x}", self.key.hash_one(self.last.fetch_add(1, Ordering::Relaxed)))
    }
}

/// The limits and headers of one server.
#[derive(Debug)]
pub struct Front {
    ids: Ids,
    max_body: usize,
    timeout: Duration,
    https: bool,
    /// The test contract compares headers with upstream's, which has only `nosniff`.
    plain: bool,
    requests: Arc<Requests>,
    tracer: Option<Tracer>,
    /// What is under the base path, and everything else.
    api: Option<Api>,
    routes: Router,
}

impl Front {
    /// From the checked config, around the engine's routes and these others. Requests are counted, and
    /// traced where there is a collector.
    pub fn new(auth: &Auth, routes: Router, requests: Arc<Requests>, tracer: Option<Tracer>) -> Self {
        let config = auth.config();
        let api = auth.under_base_path();
        // Without a base path everything would be the API's; the others come first then.
        let (api, routes) = match config.base_path.is_empty() {
            true => (None, routes.fallback_service(auth.service())),
            false => (Some(api), routes),
        };
        Self {
            api,
            routes: routes.layer(from_fn(note_route)),
            requests,
            tracer,
            ids: Ids::default(),
            max_body: config.max_body_bytes,
            timeout: Duration::from_secs(config.settings.http.timeout.unwrap_or(30).max(1)),
            https: matches!(&config.base_url, BaseUrl::Fixed(url) if url.scheme() == "https"),
            plain: config.environment == Environment::Test,
        }
    }
}

impl Answers for Arc<Front> {
    async fn answer(&self, mut request: Request) -> Response {
        let front = &**self;
        let started = Instant::now();
        let id = front.ids.next();
        let method = request.method().clone();
        let matched = MatchedRoute::default();
        request.extensions_mut().insert(matched.clone());
        request.extensions_mut().insert(RequestId(id.as_str().into()));
        let traced = front.tracer.as_ref().and_then(|tracer| tracer.begin(request.headers()));
        let trace_id = traced.as_ref().map(|context| context.trace_id());
        let span = tracing::info_span!("request", %id, trace_id);
        // A route that panicked answers nobody again: what it was at is gone with it.
        // Boxed: kilobytes that would be copied from layer to layer.
        let answered = AssertUnwindSafe(Box::pin(front.within_limits(request))).catch_unwind();
        let mut response = answered.instrument(span.clone()).await.unwrap_or_else(panicked);
        let _entered = span.entered();
        let took = started.elapsed();
        let status = response.status().as_u16();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let matched = matched.0.get().map(|route| &**route);
        let route = matched.unwrap_or("(no route)");
        // Reads that went well are most of the traffic, and nobody looks for them in a log.
        if method == Method::GET && status < 400 {
            tracing::debug!(%method, route, status, ms, "answered");
        } else {
            tracing::info!(%method, route, status, ms, "answered");
        }
        front.requests.observe(matched, &method, response.status(), took);
        if let (Some(tracer), Some(context)) = (&front.tracer, traced) {
            tracer.end(context, method, matched, response.status(), took, &id);
        }
        security_headers(front, response.headers_mut());
        if !front.plain
            && let Ok(id) = HeaderValue::try_from(id)
        {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
}

/// Tells which of the other routes answered, to the log and the counters; also when the answer does not
/// come from there (a limit of time, a panic). The engine tells its own.
async fn note_route(request: Request, next: Next) -> Response {
    if let (Some(route), Some(MatchedRoute(slot))) =
        (request.extensions().get::<MatchedPath>(), request.extensions().get())
    {
        // Told once: nobody routes twice.
        let _ = slot.set(route.as_str().into());
    }
    next.run(request).await
}

fn security_headers(front: &Front, headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if front.plain {
        return;
    }
    // Not `no-referrer`: with it a browser sends `Origin: null`, which the origin check refuses.
    set(header::REFERRER_POLICY, "same-origin");
    set(header::X_FRAME_OPTIONS, "DENY");
    if front.https {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    let page = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html"));
    let policy = if page { CSP_PAGE } else { CSP_DATA };
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(policy));
}

impl Front {
    async fn within_limits(&self, request: Request) -> Response {
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
            .unwrap_or(0);
        if announced > u64::try_from(self.max_body).unwrap_or(u64::MAX) {
            // A client that asks first (`Expect: 100-continue`) has sent nothing to drain.
            if !request.headers().contains_key(header::EXPECT) {
                let drain = Box::pin(async {
                    let mut body = Limited::new(request.into_body(), DRAIN);
                    while let Some(Ok(_)) = body.frame().await {}
                });
                // Too slow or too much: the answer is the same.
                let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
            }
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "Request body is too large");
        }
        let max = self.max_body.saturating_add(SLACK);
        let request = match request.body().is_end_stream() {
            true => request,
            false => request.map(|body| Body::new(Limited::new(body, max))),
        };
        match tokio::time::timeout(self.timeout, self.route(request)).await {
            Ok(response) => response,
            Err(_) => {
                tracing::warn!("a request was given up after http.timeout");
                unavailable("The service is busy. Please try again.")
            }
        }
    }

    async fn route(&self, request: Request) -> Response {
        match &self.api {
            Some(api) if api.has(request.uri().path()) => api.answer(request).await,
            _ => self.routes.answer(request).await,
        }
    }
}

/// 503 with `Retry-After`.
pub fn unavailable(message: &'static str) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refuse(status: StatusCode, code: &'static str, message: &'static str) -> Response {
    (status, axum::Json(serde_json::json!({ "message": message, "code": code }))).into_response()
}

fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    // What a panic says was written by a programmer; a payload of another kind says nothing.
    let cause = cause.downcast_ref::<&str>().copied().unwrap_or("(see the line before)");
    tracing::error!(cause, "a handler panicked; please report this");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};

    fn front(https: bool, routes: Router) -> Arc<Front> {
        let requests = Arc::new(Requests::new(vec!["/".into()]));
        let timeout = Duration::from_secs(2);
        let routes = routes.layer(from_fn(note_route));
        let (ids, tracer, api, plain) = (Ids::default(), None, None, false);
        Arc::new(Front { ids, max_body: 8, timeout, https, plain, requests, tracer, api, routes })
    }

    async fn ask(front: Arc<Front>, request: Request) -> (StatusCode, HeaderMap, String) {
        let (parts, body) = front.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    fn get_request(path: &str) -> Request {
        Request::get(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_in_a_handler_is_a_500_and_nothing_more() {
        let front =
            front(false, Router::new().route("/", get(async || -> &'static str { panic!("secret detail") })));
        let (status, headers, body) = ask(front, get_request("/")).await;
        assert_eq!(status, 500);
        assert_eq!(body, "");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_a_503_that_says_when_to_come_back() {
        let front = front(false, Router::new().route("/", get(std::future::pending::<()>)));
        let requests = Arc::clone(&front.requests);
        let (status, headers, body) = ask(front, get_request("/")).await;
        let counted = requests.prometheus();
        assert!(counted.contains(r#"{route="/",method="GET",status="5xx"} 1"#), "{counted}");
        assert_eq!(status, 503);
        assert_eq!(headers["retry-after"], "1");
        assert!(body.contains("SERVICE_UNAVAILABLE"));
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_a_413_announced_or_not() {
        let routes = || Router::new().route("/", post(async |body: axum::body::Bytes| body));
        let announced =
            Request::post("/").header("content-length", "9").body(Body::from("123456789")).unwrap();
        assert_eq!(ask(front(false, routes()), announced).await.0, 413);
        let unannounced = Request::post("/").body(Body::from(vec![b'x'; SLACK + 9])).unwrap();
        let (status, _, body) = ask(front(false, routes()), unannounced).await;
        assert_eq!((status.as_u16(), body.contains("xxx")), (413, false));
        let fits = Request::post("/").body(Body::from("12345678")).unwrap();
        assert_eq!(ask(front(false, routes()), fits).await.0, 200);
    }

    #[tokio::test]
    async fn hsts_is_sent_only_behind_an_https_base_url() {
        let routes = || Router::new().route("/", get(async || "x"));
        let (_, plain, _) = ask(front(false, routes()), get_request("/")).await;
        assert!(!plain.contains_key("strict-transport-security"));
        let (_, https, _) = ask(front(true, routes()), get_request("/")).await;
        assert!(https.contains_key("strict-transport-security"));
    }

    #[tokio::test]
    async fn a_header_that_the_answer_has_is_left_alone() {
        let front = front(false, Router::new().route("/", get(async || [("x-frame-options", "SAMEORIGIN")])));
        let (_, headers, _) = ask(front, get_request("/")).await;
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
        assert_eq!(headers["content-security-policy"], CSP_DATA);
    }
}
