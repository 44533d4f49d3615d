//! A request as features see it, and who may make it.
//!
//! Better Auth looks at things in a fixed order, which decides the status codes: content type and
//! syntax of the body, origin, shape of body and query, session, and only then the endpoint's own
//! rules. [`Call`] is what remains when all of that went well; `http::routes` does it in that order.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, Method};
use serde_json::{Map, Value as Json, json};

use super::body::{self, FromFields};
use super::cookies::{Cookies, RequestCookies};
use super::origin;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::{BaseUrl, Environment};
use crate::error::{self, Code, Error};
use crate::events::{Kind, RequestId};
use crate::identity::{How, SessionUser};

/// One request, read once.
#[derive(Debug)]
pub struct Request {
    /// The engine.
    pub auth: Auth,
    /// Method.
    pub method: Method,
    /// Path below the base path, e.g. `/sign-in/email`.
    pub path: String,
    /// Values of the path's parameters.
    pub params: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Query; a repeated name has an array.
    pub query: Map<String, Json>,
    /// Body, when there is one.
    pub body: Option<Json>,
    /// Cookies.
    pub cookies: RequestCookies,
    /// When it came.
    pub now: Timestamp,
    /// The client's address, when it can be believed.
    pub ip: Option<String>,
    /// The id under which the log has it, where the server gave one.
    pub id: Option<RequestId>,
    /// Did the request itself carry a `Cookie` header? (A session from `Authorization` is no cookie.)
    pub had_cookies: bool,
    /// Origins that the operator's function trusts for this request.
    pub(crate) also_trusted: AlsoTrusted,
}

/// Answer of `trustedOrigins` where that is a function; asked once, before the request is routed.
#[derive(Debug, Clone, Default)]
pub(crate) struct AlsoTrusted(pub Arc<[String]>);

impl AlsoTrusted {
    /// Asks. A function that fails trusts nobody, so what hangs on it is refused.
    pub(crate) async fn ask(auth: &Auth, parts: &http::request::Parts) -> Self {
        let Some(callback) = &auth.config().trusted_origins.asked else { return Self::default() };
        let request = Request::of_parts(auth, parts.clone());
        match callback.call(auth.outbound(), "trustedOrigins", vec![request.for_webhook()]).await {
            Ok(Json::Array(all)) => {
                Self(all.into_iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
            }
            Ok(Json::Null) => Self::default(),
            Ok(_) => {
                tracing::error!("trustedOrigins did not answer a list; nobody more is trusted");
                Self::default()
            }
            Err(error) => {
                tracing::error!(%error, "trustedOrigins failed; nobody more is trusted");
                Self::default()
            }
        }
    }
}

impl Request {
    /// A request without a body, from its head: what routes and extractors share.
    pub fn of_parts(auth: &Auth, parts: http::request::Parts) -> Self {
        let full = parts.uri.path();
        let base = auth.config().base_path.as_str();
        let path = full.strip_prefix(base).filter(|p| p.starts_with('/')).unwrap_or(full).to_owned();
        let mut request = Self {
            method: parts.method,
            path,
            params: Vec::new(),
            query: super::routes::query(parts.uri.query().unwrap_or_default()),
            cookies: RequestCookies::parse(&parts.headers),
            body: None,
            now: auth.clock().now(),
            ip: auth.client_ip().find(&parts.headers),
            id: parts.extensions.get().cloned(),
            had_cookies: parts.headers.contains_key(http::header::COOKIE),
            also_trusted: parts.extensions.get::<AlsoTrusted>().cloned().unwrap_or_default(),
            headers: parts.headers,
            auth: auth.clone(),
        };
        for seam in &auth.seams().read_session {
            if let Some(signed) = seam.signed_token(&request) {
                request.cookies.put(&auth.cookies().session_token.name, signed);
                break;
            }
        }
        request
    }

    /// A header's text; `None` when absent or not text.
    pub fn header(&self, name: impl AsHeader) -> Option<&str> {
        name.find(&self.headers)
    }

    /// The origin under which this server is seen, e.g. `https://auth.example.com`.
    pub fn origin(&self) -> Cow<'_, str> {
        own_origin(&self.auth, &self.headers)
    }

    /// Origin and base path: what stands before `/verify-email` in a mailed link.
    pub fn base_url(&self) -> String {
        self.origin().into_owned() + &self.auth.config().base_path
    }

    /// May a visitor be sent to this URL?
    pub fn is_trusted_url(&self, url: &str) -> bool {
        self.trusts(url, true)
    }

    /// The check of a URL to which a `GET` would send its visitor; what changes something has passed it
    /// before its handler.
    ///
    /// # Errors
    /// `INVALID_CALLBACK_URL`.
    pub fn check_callback_url(&self, url: Option<&str>) -> Result<(), Error> {
        match url.filter(|url| !url.is_empty()) {
            Some(url) if !self.auth.config().skip_origin && !self.is_trusted_url(url) => {
                Err(error::INVALID_CALLBACK_URL.into())
            }
            _ => Ok(()),
        }
    }

    /// The query, read as a body is.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`.
    pub fn read_query<Q: FromFields>(&self) -> Result<Q, Error> {
        body::read("query", Some(&Json::Object(self.query.clone())))
    }

    fn trusts(&self, url: &str, allow_relative: bool) -> bool {
        trusts(&self.auth, &self.headers, &self.also_trusted, url, allow_relative)
    }

    /// Checks `Origin` (or `Referer`) when the request carries cookies, or always when forced.
    fn check_origin(&self, force: bool) -> Result<(), Error> {
        let checked = self.judge_origin(force);
        if checked.is_err() {
            self.auth.tell(self.event(Kind::OriginRefused));
        }
        checked
    }

    fn judge_origin(&self, force: bool) -> Result<(), Error> {
        if self.auth.config().skip_csrf || self.auth.config().skip_origin || !(force || self.had_cookies) {
            return Ok(());
        }
        let origin = self.header("origin");
        // Of two, a proxy and we might believe different ones.
        if self.headers.get_all("origin").iter().count() > 1 {
            return Err(error::INVALID_ORIGIN.into());
        }
        // A page in a sandbox has the origin "null"; the browser's own word that it is ours counts.
        if origin == Some("null") && self.header("sec-fetch-site") == Some("same-origin") {
            return Ok(());
        }
        match origin.or_else(|| self.header("referer")) {
            None | Some("" | "null") => Err(error::MISSING_OR_NULL_ORIGIN.into()),
            Some(origin) if self.trusts(origin, false) => Ok(()),
            Some(_) => Err(error::INVALID_ORIGIN.into()),
        }
    }

    /// The router-wide check of `Origin` and of the URL fields, on everything that changes something.
    pub(crate) fn check_mutation(&self) -> Result<(), Error> {
        if self.method == Method::GET {
            return Ok(());
        }
        self.check_origin(false)?;
        if self.auth.config().skip_origin {
            return Ok(());
        }
        let field = |name: &str| self.body.as_ref().and_then(|body| body.get(name));
        let callback = field("callbackURL").filter(|v| truthy(v)).or_else(|| self.query.get("callbackURL"));
        let fields: [(Option<&Json>, &str, Code); 4] = [
            (callback, "callbackURL", error::INVALID_CALLBACK_URL),
            (field("redirectTo"), "redirectURL", error::INVALID_REDIRECT_URL),
            (field("errorCallbackURL"), "errorCallbackURL", error::INVALID_ERROR_CALLBACK_URL),
            (field("newUserCallbackURL"), "newUserCallbackURL", error::INVALID_NEW_USER_CALLBACK_URL),
        ];
        for (value, label, refusal) in fields {
            match value.filter(|v| truthy(v)) {
                None => {}
                Some(Json::String(url)) if self.is_trusted_url(url) => {}
                Some(Json::String(_)) => return Err(refusal.into()),
                Some(_) => {
                    let message = format!("Invalid {label}: expected a string");
                    return Err(Code::message(http::StatusCode::BAD_REQUEST, message).into());
                }
            }
        }
        Ok(())
    }

    /// Sign-in and sign-up are also protected when no cookie is sent yet (login CSRF): by Fetch
    /// Metadata where the browser sends it, by `Origin` wherever there is one.
    pub(crate) fn check_form(&self) -> Result<(), Error> {
        if self.auth.config().skip_csrf {
            return Ok(());
        }
        if self.had_cookies {
            return self.check_origin(false);
        }
        let present = |name: &str| self.header(name).is_some_and(|value| !value.trim().is_empty());
        if ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"].into_iter().any(present) {
            if self.header("sec-fetch-site") == Some("cross-site")
                && self.header("sec-fetch-mode") == Some("navigate")
            {
                self.auth.tell(self.event(Kind::OriginRefused));
                return Err(error::CROSS_SITE_NAVIGATION_LOGIN_BLOCKED.into());
            }
            return self.check_origin(true);
        }
        if present("origin") || present("referer") {
            return self.check_origin(true);
        }
        Ok(())
    }

    /// A text of the query; of several the first.
    pub fn query_text(&self, name: &str) -> Option<&str> {
        match self.query.get(name)? {
            Json::String(text) => Some(text),
            Json::Array(all) => all.first().and_then(Json::as_str),
            _ => None,
        }
    }

    /// `z.coerce.boolean()` of the query: any non-empty text is true.
    pub fn query_truthy(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(truthy)
    }

    /// The session, if there is one; cookies that reading it asks for go into `cookies`.
    pub async fn session(&self, how: How, cookies: &mut Cookies) -> Result<Option<SessionUser>, Error> {
        let reading = crate::identity::read_session(self, how).await?;
        cookies.extend(reading.cookies);
        reading.found.map(|found| found.into_current(&self.auth)).transpose()
    }

    /// What a webhook is told that takes an endpoint's context. The body is left out: it holds passwords.
    pub fn context_for_webhook(&self) -> Json {
        let mut context = self.for_webhook();
        if let Some(map) = context.as_object_mut() {
            map.insert("$type".into(), Json::from("Context"));
            map.insert("path".into(), Json::from(self.path.as_str()));
            map.insert("query".into(), Json::Object(self.query.clone()));
            let params = self.params.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str())));
            map.insert("params".into(), Json::Object(params.collect()));
        }
        context
    }

    /// What a webhook is told about the request: no cookie, no authorization.
    pub fn for_webhook(&self) -> Json {
        let headers: Map<String, Json> = self
            .headers
            .iter()
            .filter(|(name, _)| !["cookie", "authorization", "proxy-authorization"].contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.to_string(), Json::from(value.to_str().ok()?))))
            .collect();
        json!({
            "$type": "Request",
            "url": self.base_url() + &self.path,
            "method": self.method.as_str(),
            "headers": headers,
        })
    }
}

/// What JavaScript calls true.
pub fn truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64().is_some_and(|n| n != 0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(_) | Json::Object(_) => true,
    }
}

/// The origin under which this server is seen by a request with these headers.
pub(crate) fn own_origin<'a>(auth: &'a Auth, headers: &HeaderMap) -> Cow<'a, str> {
    let known = || auth.config().origin.as_deref().unwrap_or_default().into();
    let proxied = auth.config().settings.advanced.trusted_proxy_headers;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = || {
        let forwarded = if proxied { header("x-forwarded-host") } else { None };
        let host = forwarded.or_else(|| header("host"));
        // It becomes part of links, so nothing but a host may be in it (better-auth 1.7.6 `utils/url`).
        host.filter(|host| origin::is_host(host)).map(str::to_ascii_lowercase)
    };
    // Under the test contract, and where nobody has said how we are reached, the header is what there is.
    let believed = proxied
        || auth.config().environment == Environment::Test
        || matches!(auth.config().base_url, BaseUrl::FromRequest);
    let scheme = || match header("x-forwarded-proto").filter(|_| believed) {
        Some("https") => "https",
        _ => "http",
    };
    match &auth.config().base_url {
        BaseUrl::Fixed(_) => known(),
        BaseUrl::FromRequest => format!("{}://{}", scheme(), host().as_deref().unwrap_or("localhost")).into(),
        BaseUrl::Dynamic { allowed_hosts, protocol, .. } => {
            let allowed = |host: &String| {
                allowed_hosts.iter().any(|pattern| origin::wildcard(&pattern.to_ascii_lowercase(), host))
            };
            match host().filter(allowed) {
                Some(host) => format!("{}://{host}", protocol.as_deref().unwrap_or_else(scheme)).into(),
                None => known(),
            }
        }
    }
}

/// Is this URL's origin ours or a trusted one?
pub(crate) fn trusts(
    auth: &Auth,
    headers: &HeaderMap,
    also: &AlsoTrusted,
    url: &str,
    allow_relative: bool,
) -> bool {
    let config = auth.config();
    if origin::matches(url, &own_origin(auth, headers), allow_relative) {
        return true;
    }
    if let BaseUrl::Dynamic { allowed_hosts, protocol, .. } = &config.base_url {
        for host in allowed_hosts {
            let loopback =
                host.starts_with("localhost") || host.starts_with("127.0.0.1") || host.starts_with("[::1]");
            let http = protocol.as_deref() != Some("https") && (loopback || protocol.is_some());
            if protocol.as_deref() != Some("http")
                && origin::matches(url, &format!("https://{host}"), allow_relative)
                || http && origin::matches(url, &format!("http://{host}"), allow_relative)
            {
                return true;
            }
        }
    }
    let mut patterns = config.trusted_origins.iter().chain(also.0.iter()).filter(|one| !one.is_empty());
    patterns.any(|pattern| origin::matches(url, pattern, allow_relative))
}

/// A header's name, as text or as a constant.
pub trait AsHeader {
    /// Looks it up.
    fn find<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str>;
}

impl AsHeader for &str {
    fn find<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        headers.get(*self)?.to_str().ok()
    }
}

impl AsHeader for HeaderName {
    fn find<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        headers.get(self)?.to_str().ok()
    }
}

/// Who may call a route. Asking for one as an argument is the authorization.
#[async_trait]
pub trait Access: Sized + Send {
    /// As the authorization matrix names it.
    const NAME: &'static str;
    /// Lets the caller in or refuses; cookies that reading the session asks for go into `cookies`.
    async fn admit(request: &Request, cookies: &mut Cookies) -> Result<Self, Error>;
}

/// Anyone may call.
#[derive(Debug)]
pub struct Anyone;

/// A session, if there is one.
#[derive(Debug)]
pub struct Optional(pub Option<SessionUser>);

/// A session; the cookie cache may vouch for it.
#[derive(Debug)]
pub struct SignedIn(pub SessionUser);

/// A session, read from the store: a revoked one is refused at once.
#[derive(Debug)]
pub struct Sensitive(pub SessionUser);

/// A session that began recently (`session.freshAge`), read from the store.
#[derive(Debug)]
pub struct Fresh(pub SessionUser);

macro_rules! session_of {
    ($($name:ident),*) => {$(
        impl Deref for $name {
            type Target = SessionUser;
            fn deref(&self) -> &SessionUser {
                &self.0
            }
        }
    )*};
}
session_of!(SignedIn, Sensitive, Fresh);

#[async_trait]
impl Access for Anyone {
    const NAME: &'static str = "anyone";
    async fn admit(_: &Request, _: &mut Cookies) -> Result<Self, Error> {
        Ok(Self)
    }
}

#[async_trait]
impl Access for Optional {
    const NAME: &'static str = "anyone; a session is used";
    async fn admit(request: &Request, cookies: &mut Cookies) -> Result<Self, Error> {
        request.session(How::default(), cookies).await.map(Self)
    }
}

#[async_trait]
impl Access for SignedIn {
    const NAME: &'static str = "session";
    async fn admit(request: &Request, cookies: &mut Cookies) -> Result<Self, Error> {
        let session = request.session(How::default(), cookies).await?;
        session.map(Self).ok_or_else(|| error::UNAUTHORIZED.into())
    }
}

#[async_trait]
impl Access for Sensitive {
    const NAME: &'static str = "session, from the store";
    async fn admit(request: &Request, cookies: &mut Cookies) -> Result<Self, Error> {
        let session = request.session(How::authoritative(&request.auth), cookies).await?;
        session.map(Self).ok_or_else(|| error::UNAUTHORIZED.into())
    }
}

#[async_trait]
impl Access for Fresh {
    const NAME: &'static str = "fresh session, from the store";
    async fn admit(request: &Request, cookies: &mut Cookies) -> Result<Self, Error> {
        let session = request.session(How::authoritative(&request.auth), cookies).await?;
        let session = session.ok_or_else(|| Error::from(error::UNAUTHORIZED))?;
        if session.is_fresh(&request.auth, request.now) {
            Ok(Self(session))
        } else {
            Err(error::SESSION_NOT_FRESH.into())
        }
    }
}

/// A request that passed every check: what a handler gets.
#[derive(Debug)]
pub struct Call<B = (), S = Anyone> {
    /// The request.
    pub request: Request,
    /// Its body, read.
    pub body: B,
    /// Its caller.
    pub session: S,
}

impl<B, S> Call<B, S> {
    /// The engine.
    pub fn auth(&self) -> &Auth {
        &self.request.auth
    }
}

impl<B: FromFields, S: Access> Call<B, S> {
    /// Validates, then admits: in that order (better-auth 1.7.6: an invalid body without a session is
    /// a 400).
    pub(crate) async fn admit(request: Request, form: bool, cookies: &mut Cookies) -> Result<Self, Error> {
        let body = body::read::<B>("body", request.body.as_ref())?;
        if form {
            request.check_form()?;
        }
        let session = S::admit(&request, cookies).await?;
        Ok(Self { request, body, session })
    }
}
