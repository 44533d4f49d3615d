//! A room's routes: one row feeds the router, the API document and the authorization matrix.
//!
//! What Better Auth answers for anything that is not exactly a route (wrong method, `HEAD`, `OPTIONS`,
//! a trailing or doubled slash) is a 404 with an empty body.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request as HttpRequest;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value as Json, json};

use super::answer::{Answer, Content};
use super::body::FromFields;
use super::call::{Access, AlsoTrusted, Call, Request};
use super::cookies::{Cookies, RequestCookies};
use super::{cors, rate_limit};
use crate::auth::Auth;
use crate::config::BaseUrl;
use crate::crypto::decode_lenient;
use crate::database_hooks;
use crate::error::{self, Code, Error, Refusal};
use crate::events::{Event, Kind};

type Handling = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;
type Handler = Arc<dyn Fn(Request, bool) -> Handling + Send + Sync>;

/// What a route is, for documents.
#[derive(Debug, Clone)]
pub struct RouteDoc {
    /// The room it belongs to.
    pub room: &'static str,
    /// `GET` or `POST`.
    pub method: Method,
    /// Path below the base path.
    pub path: String,
    /// Who may call.
    pub access: &'static str,
    /// Body fields with their kinds.
    pub fields: &'static [(&'static str, &'static str)],
    /// May the body be missing?
    pub body_optional: bool,
}

/// Says a refusal in other words than `{message, code}`: status and body of a face for other clients.
pub type Reword = fn(&mut Refusal);

#[derive(Clone)]
struct Route {
    doc: RouteDoc,
    handler: Handler,
    reword: Option<Reword>,
    cookieless: bool,
    /// Form bodies are read and the login-CSRF check applies (sign-in and sign-up by e-mail).
    form: bool,
    csrf: bool,
}

/// The routes of one room, in order.
#[derive(Clone, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn add<B, S, F, Fut>(mut self, method: Method, path: &str, handler: F) -> Self
    where
        B: FromFields + 'static,
        S: Access + 'static,
        F: Fn(Call<B, S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let boxed: Handler = Arc::new(move |request, form| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let mut pending = Cookies::new();
                let outcome = match Call::<B, S>::admit(request, form, &mut pending).await {
                    Ok(call) => handler(call).await,
                    Err(error) => Err(error),
                };
                // Cookies that reading the session asked for come before the handler's own.
                match outcome {
                    Ok(mut answer) => {
                        answer.cookies = pending.overtaken_by(std::mem::take(&mut answer.cookies));
                        Ok(answer)
                    }
                    Err(Error::Refused(mut refusal)) => {
                        refusal.cookies = pending.overtaken_by(std::mem::take(&mut refusal.cookies));
                        Err(Error::Refused(refusal))
                    }
                    Err(broken) => Err(broken),
                }
            })
        });
        let doc = RouteDoc {
            room: "",
            method,
            path: path.to_owned(),
            access: S::NAME,
            fields: B::FIELDS,
            body_optional: B::OPTIONAL,
        };
        self.0.push(Route { doc, handler: boxed, reword: None, cookieless: false, form: false, csrf: false });
        self
    }

    /// A `GET` route.
    #[must_use]
    pub fn get<B, S, F, Fut>(self, path: &str, handler: F) -> Self
    where
        B: FromFields + 'static,
        S: Access + 'static,
        F: Fn(Call<B, S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        self.add(Method::GET, path, handler)
    }

    /// A `POST` route.
    #[must_use]
    pub fn post<B, S, F, Fut>(self, path: &str, handler: F) -> Self
    where
        B: FromFields + 'static,
        S: Access + 'static,
        F: Fn(Call<B, S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        self.add(Method::POST, path, handler)
    }

    /// The last route also takes an HTML form and is checked for login CSRF.
    #[must_use]
    pub fn form(mut self) -> Self {
        if let Some(route) = self.0.last_mut() {
            route.form = true;
            route.csrf = true;
        }
        self
    }

    /// The last route stands at another path, where an option says so.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        if let Some(route) = self.0.last_mut() {
            path.clone_into(&mut route.doc.path);
        }
        self
    }

    /// All of these say their refusals in other words; those of the guards before them, and what is a bare
    /// 500 elsewhere, too.
    #[must_use]
    pub fn rewording(mut self, reword: Reword) -> Self {
        for route in &mut self.0 {
            route.reword = Some(reword);
        }
        self
    }

    /// The last route takes no cookies: those that come are not looked at, so nobody has to say where from.
    #[must_use]
    pub fn cookieless(mut self) -> Self {
        if let Some(route) = self.0.last_mut() {
            route.cookieless = true;
        }
        self
    }

    /// Names the room that all of these belong to.
    pub(crate) fn of(mut self, room: &'static str) -> Self {
        for route in &mut self.0 {
            route.doc.room = room;
        }
        self
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What they are, for documents.
    pub fn docs(&self) -> Vec<RouteDoc> {
        self.0.iter().map(|route| route.doc.clone()).collect()
    }

    /// They by path: one entry for all methods, so that `HEAD` is not answered from `GET` and nothing says
    /// `Allow`.
    pub(crate) fn by_path(self, auth: &Auth, base: &str) -> Api {
        let base_path = &auth.config().base_path;
        let slash = auth.config().settings.advanced.skip_trailing_slashes == Some(true);
        let mut entries: Vec<Entry> = Vec::new();
        for route in self.0 {
            match entries.iter_mut().find(|entry| entry.path == route.doc.path) {
                Some(entry) => entry.routes.push(route),
                None => entries.push(Entry {
                    template: format!("{base_path}{}", route.doc.path).into(),
                    path: route.doc.path.clone(),
                    routes: vec![route],
                }),
            }
        }
        let mut by_path = matchit::Router::new();
        for (at, entry) in entries.iter().enumerate() {
            let other = slash.then(|| format!("{}/", entry.path));
            for path in std::iter::once(entry.path.clone()).chain(other) {
                if let Err(error) = by_path.insert(&path, at) {
                    // Rooms that were built together are tested together, so this is an operator's path.
                    tracing::error!(path, %error, "a route cannot be reached beside another one");
                }
            }
        }
        Api(Arc::new(Inner { auth: auth.clone(), base: base.to_owned(), entries, by_path }))
    }
}

/// The routes, ready to answer; cheap to clone. [`Auth::service`] is the same as an axum router, and what an
/// application uses; this is for a server around it, which has layers of its own.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    auth: Auth,
    base: String,
    entries: Vec<Entry>,
    by_path: matchit::Router<usize>,
}

struct Entry {
    path: String,
    /// With the base path, as metrics and logs name it.
    template: Arc<str>,
    routes: Vec<Route>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base", &self.0.base).finish_non_exhaustive()
    }
}

/// A place in a request's extensions for the route that answers it, e.g. `/api/auth/get-session`.
#[derive(Debug, Clone, Default)]
pub struct MatchedRoute(pub Arc<OnceLock<Arc<str>>>);

impl Api {
    /// Is this path below the base path?
    pub fn has(&self, path: &str) -> bool {
        path.strip_prefix(&self.0.base).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Answers a request; whatever is no route is a 404.
    pub async fn answer(&self, http: HttpRequest) -> Response {
        if self.has(http.uri().path()) { self.guard(http).await } else { not_found() }
    }

    /// As an axum router. It has routes, not only a fallback: those of an application that are less particular
    /// (`/{*path}`) would otherwise come first.
    pub(crate) fn into_router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let answer = move |http: HttpRequest| {
            let api = self.clone();
            async move { api.answer(http).await }
        };
        let any = axum::routing::any(answer.clone());
        Router::new().route("/", any.clone()).route("/{*path}", any).fallback(answer)
    }

    /// What every request meets before it is routed, known path or not.
    async fn guard(&self, mut http: HttpRequest) -> Response {
        let auth = &self.0.auth;
        let mut origin = cors::trusted_origin(auth, http.headers(), &AlsoTrusted::default());
        let preflight = cors::is_preflight(http.method(), http.headers());
        if preflight {
            origin = also_trust(auth, &mut http, origin).await;
        }
        let mut response = if origin.is_some() && preflight {
            // Not counted: it is the browser's question, and would halve what a client may do.
            self.route(http).await
        } else {
            let path = rate_limit::counted_path(&auth.config().base_path, http.uri().path());
            match auth.rate_limits().refuse(auth, http.method(), http.headers(), &path).await {
                Ok(None) => {
                    // After the limits: they bound what a client can make the operator's function do.
                    if !preflight {
                        origin = also_trust(auth, &mut http, origin).await;
                    }
                    self.route(http).await
                }
                Ok(Some(refusal)) => {
                    auth.tell(Event::of_head(Kind::RateLimited, auth, &http));
                    match self.reword(&http) {
                        None => refusal.into_response(),
                        reword => refused(too_many(refusal), reword),
                    }
                }
                Err(error) => refused(error, self.reword(&http)),
            }
        };
        cors::permit(auth, origin, &mut response);
        response
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let Inner { base, entries, by_path, .. } = &*self.0;
        let found = by_path.at(path.strip_prefix(base.as_str()).unwrap_or(path)).ok();
        found.and_then(|found| entries.get(*found.value))
    }

    /// The words of the route that would answer this.
    fn reword(&self, http: &HttpRequest) -> Option<Reword> {
        let mut routes = self.entry(http.uri().path())?.routes.iter();
        routes.find(|route| route.doc.method == *http.method())?.reword
    }

    async fn route(&self, http: HttpRequest) -> Response {
        let auth = &self.0.auth;
        let Some(Entry { template, routes, .. }) = self.entry(http.uri().path()) else {
            return not_found();
        };
        if let Some(MatchedRoute(slot)) = http.extensions().get() {
            // Told once: nobody routes twice.
            let _ = slot.set(Arc::clone(template));
        }
        match routes.iter().find(|route| route.doc.method == *http.method()) {
            Some(route) => serve(route, auth, http).await,
            None if may_ask(auth, routes, &http) => {
                cors::preflight(routes.iter().map(|route| &route.doc.method), http.headers())
            }
            None => not_found(),
        }
    }
}

/// Asks the operator's function about a request, where there is one; the origin that is trusted then.
async fn also_trust(
    auth: &Auth,
    http: &mut HttpRequest,
    origin: Option<http::HeaderValue>,
) -> Option<http::HeaderValue> {
    if auth.config().trusted_origins.asked.is_none() {
        return origin;
    }
    let (parts, body) = std::mem::take(http).into_parts();
    let also = AlsoTrusted::ask(auth, &parts).await;
    *http = HttpRequest::from_parts(parts, body);
    let origin = origin.or_else(|| cors::trusted_origin(auth, http.headers(), &also));
    http.extensions_mut().insert(also);
    origin
}

/// Is this a trusted origin's preflight for a path that is not disabled?
fn may_ask(auth: &Auth, routes: &[Route], http: &HttpRequest) -> bool {
    let path = rate_limit::counted_path(&auth.config().base_path, http.uri().path());
    let also = http.extensions().get::<AlsoTrusted>().cloned().unwrap_or_default();
    let disabled = &auth.config().settings.disabled_paths;
    cors::is_preflight(http.method(), http.headers())
        && cors::trusted_origin(auth, http.headers(), &also).is_some()
        && !disabled.contains(&path)
        && !routes.iter().any(|route| disabled.contains(&route.doc.path))
}

/// The answer to whatever is not a route.
fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

async fn serve(route: &Route, auth: &Auth, http: HttpRequest) -> Response {
    match handle(route, auth, http).await {
        Ok(answer) => answer.into_response(),
        Err(error) => {
            notice_of(auth, &error);
            refused(error, route.reword)
        }
    }
}

/// One request too many, with what the answer's headers say of it.
fn too_many(answer: Answer) -> Error {
    let mut refusal = Refusal::from(error::TOO_MANY_REQUESTS);
    refusal.headers = answer.headers;
    Error::Refused(Box::new(refusal))
}

/// The answer to a refusal, in other words if the route has some. What broke is logged as everywhere.
fn refused(error: Error, reword: Option<Reword>) -> Response {
    let Some(reword) = reword else { return error.into_response() };
    let mut refusal = match error {
        Error::Refused(refusal) => refusal,
        broken => {
            let status = broken.into_response().status();
            let code = Code::message(status, status.canonical_reason().unwrap_or_default());
            Box::new(Refusal::from(code))
        }
    };
    reword(&mut refusal);
    Error::Refused(refusal).into_response()
}

impl Request {
    /// Asks another route of this server, which takes `POST`, on behalf of the same caller, without cookies: for
    /// a room that says the same in other words. Limits of the other path count, and where it is disabled this
    /// is a 404; the check of origins was the first route's.
    ///
    /// # Errors
    /// What the other route refuses.
    pub async fn ask(&self, path: &str, body: Map<String, Json>) -> Result<Answer, Error> {
        let auth = &self.auth;
        let Some(route) = auth.route(path) else {
            return Err(Error::broken(format!("no room has the route POST {path}")));
        };
        if auth.config().settings.disabled_paths.iter().any(|disabled| disabled == path) {
            return Err(Code::bare(StatusCode::NOT_FOUND).into());
        }
        if let Some(refusal) = auth.rate_limits().refuse(auth, &Method::POST, &self.headers, path).await? {
            auth.tell(self.event(Kind::RateLimited));
            return Err(too_many(refusal));
        }
        let request = Self {
            auth: self.auth.clone(),
            method: Method::POST,
            path: path.to_owned(),
            params: Vec::new(),
            headers: self.headers.clone(),
            query: Map::new(),
            body: Some(Json::Object(body)),
            cookies: RequestCookies::default(),
            now: self.now,
            ip: self.ip.clone(),
            id: self.id.clone(),
            had_cookies: false,
            also_trusted: self.also_trusted.clone(),
        };
        (route.handler)(request, false).await
    }
}

impl Auth {
    /// The route that takes a `POST` to this path.
    fn route(&self, path: &str) -> Option<&Route> {
        let mut routes = self.all_routes().0.iter();
        routes.find(|route| route.doc.path == path && route.doc.method == Method::POST)
    }
}

/// Tells `onAPIError.onError` of what went wrong; refusals are answers, not errors (better-auth 1.7.6).
fn notice_of(auth: &Auth, error: &Error) {
    let settings = &auth.config().settings;
    let Some(callback) = &settings.on_api_error.on_error else { return };
    let Error::Broken(source) = error else { return };
    let told = json!({ "name": "Error", "message": source.to_string() });
    let base_url = match (&auth.config().base_url, &auth.config().origin) {
        (BaseUrl::Fixed(_), Some(origin)) => format!("{origin}{}", auth.config().base_path),
        _ => String::new(),
    };
    let context = json!({ "$type": "AuthContext", "baseURL": base_url, "appName": auth.config().app_name });
    callback.notice(auth, "onAPIError.onError", vec![told, context]);
}

/// The values of a path's parameters, decoded where they can be: axum's own would answer a 400 of its
/// own making to what is not UTF-8, before a disabled path is looked at.
fn params(pattern: &str, path: &str) -> Vec<(String, String)> {
    let mut rest = path;
    let mut found = Vec::new();
    for segment in pattern.split('/') {
        let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_prefix('*')) {
            found.push((name.to_owned(), decode_lenient(rest)));
            break;
        }
        let (value, after) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(name) = name {
            found.push((name.to_owned(), decode_lenient(value)));
        }
        rest = after;
    }
    found
}

async fn handle(route: &Route, auth: &Auth, http: HttpRequest) -> Result<Answer, Error> {
    let (parts, body) = http.into_parts();
    let mut request = Request::of_parts(auth, parts);
    let config = auth.config();
    if config.settings.advanced.skip_trailing_slashes == Some(true) {
        if request.path.contains("//") {
            // The router takes a parameter that is empty before the slash.
            return Ok(Answer::empty(StatusCode::NOT_FOUND));
        }
        // From here on the two are one path: for disabled paths, gates and webhooks.
        request.path.truncate(request.path.trim_end_matches('/').len());
    }
    let disabled = &config.settings.disabled_paths;
    if disabled.contains(&request.path) || disabled.contains(&route.doc.path) {
        let mut answer = Answer::empty(StatusCode::NOT_FOUND);
        answer.body = Content::Text("Not Found");
        return Ok(answer);
    }
    request.params = params(&route.doc.path, &request.path);
    if route.cookieless {
        request.cookies = RequestCookies::default();
        request.had_cookies = false;
    }
    if request.method != Method::GET {
        request.body = read_body(&request.headers, body, config.max_body_bytes, route.form).await?;
    }
    let mut said = request.query.values().chain(&request.body);
    if said.any(has_nul) || request.params.iter().any(|(_, value)| value.contains('\0')) {
        return Err(error::BAD_REQUEST.saying("A text with the character U+0000 cannot be stored").into());
    }
    request.check_mutation()?;
    let outcome = if auth.hooks().is_empty() {
        (route.handler)(request, route.csrf).await
    } else {
        let context = request.context_for_webhook();
        database_hooks::during(context, (route.handler)(request, route.csrf)).await
    };
    match outcome {
        Ok(mut answer) => {
            answer.headers.extend(session_headers(auth, &answer.cookies)?);
            Ok(answer)
        }
        Err(Error::Refused(mut refusal)) => {
            refusal.headers.extend(session_headers(auth, &refusal.cookies)?);
            Err(Error::Refused(refusal))
        }
        broken => broken,
    }
}

/// A session cookie on its way out: other forms of it may go along (bearer's `set-auth-token`).
fn session_headers(auth: &Auth, cookies: &Cookies) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let mut headers = Vec::new();
    if let Some(cookie) = cookies.last(&auth.cookies().session_token.name)
        && !cookie.is_removal()
    {
        for seam in &auth.seams().session_sent {
            headers.extend(seam.headers(cookie)?);
        }
    }
    Ok(headers)
}

/// PostgreSQL stores no U+0000, and the others nothing that anybody wants to read. Refused for all, before
/// anything is looked up: where only some writes fail, the failure tells.
fn has_nul(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(all) => all.iter().any(has_nul),
        Json::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// The query as JSON: a repeated name has an array, as better-call reads it.
pub(crate) fn query(text: &str) -> Map<String, Json> {
    let mut map = Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let value = Json::String(value.into_owned());
        match map.get_mut(name.as_ref()) {
            None => {
                map.insert(name.into_owned(), value);
            }
            Some(Json::Array(all)) => all.push(value),
            Some(slot) => *slot = Json::Array(vec![slot.take(), value]),
        }
    }
    map
}

async fn read_body(
    headers: &http::HeaderMap,
    body: axum::body::Body,
    limit: usize,
    form: bool,
) -> Result<Option<Json>, Error> {
    // As better-call's Node adapter: without a content type, or with a length of zero, there is no body.
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let announced = length.is_some() || headers.contains_key(TRANSFER_ENCODING);
    // HTTP/2 and requests made in memory announce nothing and have a body all the same.
    if length == Some("0") || !announced && body.is_end_stream() {
        return Ok(None);
    }
    let written = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
    let base = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let allowed: &[&str] =
        if form { &["application/x-www-form-urlencoded", "application/json"] } else { &["application/json"] };
    if !allowed.iter().any(|kind| base.contains(kind)) {
        let list = allowed.join(", ");
        let message = if written.is_empty() {
            format!("Content-Type is required. Allowed types: {list}")
        } else {
            format!("Content-Type \"{written}\" is not allowed. Allowed types: {list}")
        };
        return Err(error::UNSUPPORTED_MEDIA_TYPE.saying(message).into());
    }
    let bytes = match Limited::new(body, limit).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(error::PAYLOAD_TOO_LARGE.into()),
        // The client went away or broke the transfer; nobody reads the answer.
        Err(_) => return Err(error::BAD_REQUEST.saying("The request body ended early").into()),
    };
    if form && base.contains("application/x-www-form-urlencoded") {
        let map = url::form_urlencoded::parse(&bytes)
            .map(|(name, value)| (name.into_owned(), Json::String(value.into_owned())))
            .collect();
        return Ok(Some(Json::Object(map)));
    }
    let text = String::from_utf8_lossy(&bytes);
    serde_json::from_str(&text).map(Some).map_err(|_| error::BAD_REQUEST.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_decoded_where_they_can_be() {
        let found = |pattern: &str, path: &str| {
            params(pattern, path)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(found("/reset-password/{token}", "/reset-password/a%2Fb"), ["token=a/b"]);
        assert_eq!(found("/reset-password/{token}", "/reset-password/%ff%zz"), ["token=%ff%zz"]);
        assert_eq!(found("/a/{b}/c/{d}", "/a/1/c/2"), ["b=1", "d=2"]);
        assert_eq!(found("/a/{*rest}", "/a/1/c/2"), ["rest=1/c/2"]);
        assert!(found("/ok", "/ok").is_empty());
    }

    #[test]
    fn a_repeated_query_name_becomes_a_list() {
        assert_eq!(
            Json::Object(query("a=1&b=&a=2&a=3&c=%zz")),
            json!({"a": ["1", "2", "3"], "b": "", "c": "%zz"})
        );
    }
}
