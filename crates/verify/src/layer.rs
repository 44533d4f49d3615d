//! The layer that verifies, the guards below it, and what a refused request is answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::{Layer, Service};

use crate::{Error, Verified, Verifier};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The token of `Authorization: Bearer` (RFC 6750 §2.1). Another scheme is none.
///
/// # Errors
/// [`Error::Missing`] and [`Error::BadHeader`].
pub fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Error::Missing)?;
    if values.next().is_some() {
        return Err(Error::BadHeader);
    }
    let value = value.to_str().map_err(|_| Error::BadHeader)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::Missing);
    }
    let token = token.trim_matches(' ');
    if token.is_empty() || token.contains([' ', '\t', ',']) {
        return Err(Error::BadHeader);
    }
    Ok(token)
}

/// A request that is refused, on its way to becoming an answer.
#[derive(Debug, Clone)]
pub struct Rejection {
    error: Error,
    shape: Shape,
}

impl Rejection {
    pub(crate) const fn new(error: Error, shape: Shape) -> Self {
        Self { error, shape }
    }

    /// Why. Its `Display` is for logs: it may name what the service is configured for.
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// 401, 403, 503, or 500 for a service that is put together wrongly.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.error.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// `WWW-Authenticate` (RFC 6750 §3): `Bearer` alone where nothing was presented.
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        let text = match (self.error.code(), self.status()) {
            (Some(code), _) => {
                let description = self.error.public_description();
                let scope = match &self.error {
                    Error::MissingScope(scopes) if scopes.iter().all(|scope| is_scope(scope)) => {
                        format!(", scope=\"{}\"", scopes.join(" "))
                    }
                    _ => String::new(),
                };
                format!("Bearer error=\"{code}\", error_description=\"{description}\"{scope}")
            }
            (None, StatusCode::UNAUTHORIZED) => "Bearer".to_owned(),
            (None, _) => return None,
        };
        // It consists of printable ASCII, so it is a header's value.
        HeaderValue::try_from(text).ok()
    }

    /// An answer with this JSON and the right status; headers that are due are added later.
    pub fn json(&self, body: &serde_json::Value) -> Response<String> {
        let mut response = Response::new(body.to_string());
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The answer: what the shape makes of it, with `WWW-Authenticate` and `Retry-After` where they are
    /// due and the shape did not set them.
    pub fn into_http(self) -> Response<String> {
        let mut response = (self.shape.0)(&self);
        let headers = response.headers_mut();
        if let Some(value) = self.www_authenticate()
            && !headers.contains_key(WWW_AUTHENTICATE)
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if let Error::KeysUnavailable { retry_after } = self.error
            && !headers.contains_key(RETRY_AFTER)
        {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
        }
        response
    }

    fn log(&self) {
        match self.error.code() {
            // Anybody can send a bad token, as often as they like.
            Some(_) => tracing::debug!(reason = %self.error, "a token is refused"),
            // The fetch that failed has warned, and every request would repeat it.
            None if matches!(self.error, Error::KeysUnavailable { .. }) => {
                tracing::debug!(reason = %self.error, "a request cannot be authenticated");
            }
            None if self.status().is_server_error() => {
                tracing::warn!(reason = %self.error, "a request cannot be authenticated");
            }
            None => {}
        }
    }
}

/// For handlers that check something themselves; the answer has the [`shape::oauth`].
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self { error, shape: Shape::default() }
    }
}

/// `scope-token` of RFC 6749 §3.3.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

type Answer = dyn Fn(&Rejection) -> Response<String> + Send + Sync;

/// What the answer to a refused request looks like.
#[derive(Clone)]
pub struct Shape(Arc<Answer>);

impl Default for Shape {
    fn default() -> Self {
        Self(Arc::new(shape::oauth))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shape")
    }
}

/// Shapes that are ready.
pub mod shape {
    use http::Response;
    use serde_json::json;

    use super::Rejection;
    use crate::{Error, Kind};

    /// `{"error": …, "error_description": …}`, with the words of `WWW-Authenticate`. The default.
    pub fn oauth(rejection: &Rejection) -> Response<String> {
        let error = rejection.error();
        let code = error.code().unwrap_or(match error.kind() {
            Kind::Unavailable => "temporarily_unavailable",
            Kind::Misconfigured => "server_error",
            _ => "unauthorized",
        });
        rejection.json(&json!({ "error": code, "error_description": error.public_description() }))
    }

    /// `{"detail": …}`, as FastAPI services answer.
    pub fn fastapi(rejection: &Rejection) -> Response<String> {
        let error = rejection.error();
        let detail = match (error, error.kind()) {
            (Error::BadHeader, _) | (_, Kind::Missing) => "Missing or invalid authorization header",
            (_, Kind::Expired) => "Token expired",
            (_, Kind::Invalid) => "Invalid token",
            (_, Kind::Forbidden) => "Insufficient permissions",
            (_, Kind::Unavailable) => "Authentication is temporarily unavailable",
            (_, Kind::Misconfigured) => "Internal server error",
        };
        rejection.json(&json!({ "detail": detail }))
    }
}

/// What the layer leaves for guards and extractors.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) token: Option<Arc<Verified>>,
    pub(crate) shape: Shape,
}

impl Outcome {
    /// The token that the layer verified, or why there is none.
    pub(crate) fn of(extensions: &http::Extensions) -> Result<Arc<Verified>, Rejection> {
        match extensions.get::<Self>() {
            Some(Self { token: Some(token), .. }) => Ok(Arc::clone(token)),
            Some(Self { token: None, shape }) => Err(refusal(Error::Missing, shape)),
            None => Err(refusal(Error::NoLayer, &Shape::default())),
        }
    }

    pub(crate) fn shape_of(extensions: &http::Extensions) -> Shape {
        extensions.get::<Self>().map(|outcome| outcome.shape.clone()).unwrap_or_default()
    }
}

/// A refusal, told to the log.
pub(crate) fn refusal(error: Error, shape: &Shape) -> Rejection {
    let rejection = Rejection::new(error, shape.clone());
    rejection.log();
    rejection
}

/// Verifies the bearer token of every request. What it found is in the request's extensions as
/// `Arc<Verified>`, for [`Claims`](crate::Claims) and for the guards.
///
/// Works with any service of `http` requests whose body can be made of a text.
#[derive(Debug, Clone)]
pub struct VerifyLayer {
    verifier: Verifier,
    optional: bool,
    shape: Shape,
}

impl VerifyLayer {
    /// A request without a token is refused.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, optional: false, shape: Shape::default() }
    }

    /// A request without a token passes, and handlers decide (`Option<Claims<T>>`). One with a token
    /// that is not accepted is refused all the same.
    pub fn optional(verifier: Verifier) -> Self {
        Self { verifier, optional: true, shape: Shape::default() }
    }

    /// What the answer to a refused request looks like; [`shape::oauth`] without.
    #[must_use]
    pub fn shape(mut self, shape: impl Fn(&Rejection) -> Response<String> + Send + Sync + 'static) -> Self {
        self.shape = Shape(Arc::new(shape));
        self
    }

    async fn look(&self, headers: &HeaderMap) -> Result<Option<Arc<Verified>>, Rejection> {
        let found = match bearer(headers) {
            Ok(token) => self.verifier.verify_token(token).await,
            Err(Error::Missing) if self.optional => return Ok(None),
            Err(error) => Err(error),
        };
        found.map(|token| Some(Arc::new(token))).map_err(|error| refusal(error, &self.shape))
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = VerifyService<S>;

    fn layer(&self, inner: S) -> VerifyService<S> {
        VerifyService { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service of a [`VerifyLayer`].
#[derive(Debug, Clone)]
pub struct VerifyService<S> {
    inner: S,
    layer: Arc<VerifyLayer>,
}

impl<S, B, R> Service<Request<B>> for VerifyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is called, and its copy waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let layer = Arc::clone(&self.layer);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match layer.look(&parts.headers).await {
                Ok(token) => {
                    match &token {
                        Some(token) => parts.extensions.insert(Arc::clone(token)),
                        // One of an outer layer, with other rules, is not this one's.
                        None => parts.extensions.remove::<Arc<Verified>>(),
                    };
                    parts.extensions.insert(Outcome { token, shape: layer.shape.clone() });
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(rejection) => Ok(rejection.into_http().map(R::from)),
            }
        })
    }
}

/// Lets requests pass whose token has one of some roles. Goes inside a [`VerifyLayer`].
#[derive(Debug, Clone)]
pub struct RequireRole(Arc<[String]>);

impl RequireRole {
    /// One of these roles. Roles are read from `role`, a text with commas or a list.
    pub fn any<I: IntoIterator<Item = S>, S: Into<String>>(roles: I) -> Self {
        Self(roles.into_iter().map(Into::into).collect())
    }
}

impl<S> Layer<S> for RequireRole {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, need: Need::AnyRole(Arc::clone(&self.0)) }
    }
}

/// Lets requests pass whose token has all of some scopes. Goes inside a [`VerifyLayer`].
#[derive(Debug, Clone)]
pub struct RequireScope(Arc<[String]>);

impl RequireScope {
    /// All of these scopes. Scopes are read from `scope`, `scopes` or `scp`.
    pub fn all<I: IntoIterator<Item = S>, S: Into<String>>(scopes: I) -> Self {
        Self(scopes.into_iter().map(Into::into).collect())
    }
}

impl<S> Layer<S> for RequireScope {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, need: Need::Scopes(Arc::clone(&self.0)) }
    }
}

#[derive(Debug, Clone)]
enum Need {
    AnyRole(Arc<[String]>),
    Scopes(Arc<[String]>),
}

/// The service of [`RequireRole`] and [`RequireScope`].
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    need: Need,
}

impl<S> Guard<S> {
    fn check(&self, extensions: &http::Extensions) -> Result<(), Rejection> {
        let token = Outcome::of(extensions)?;
        let held = match &self.need {
            Need::AnyRole(roles) => token.require_any_role(roles),
            Need::Scopes(scopes) => token.require_scopes(scopes),
        };
        held.map_err(|error| refusal(error, &Outcome::shape_of(extensions)))
    }
}

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: From<String> + Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.check(request.extensions()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(rejection) => Box::pin(std::future::ready(Ok(rejection.into_http().map(R::from)))),
        }
    }
}
