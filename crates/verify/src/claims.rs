//! What the registered claims must say (RFC 7519 §4.1), and what roles and scopes are read from.

use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::bounded;
use crate::{Error, Header};

/// What the registered claims of a token must say.
#[derive(Debug, Clone)]
pub struct Expect {
    /// `iss` has to be one of these; `None`: not checked.
    pub issuer: Option<Vec<String>>,
    /// `aud` has to be or contain one of these; `None`: not checked.
    pub audience: Option<Vec<String>>,
    /// The time at which the token is used, in seconds since 1970.
    pub now: i64,
    /// How many seconds the clocks may differ.
    pub leeway_secs: i64,
    /// A token without `exp` is refused.
    pub require_expiry: bool,
    /// A token whose `iat` is in the future is refused. RFC 7519 §4.1.6 does not ask for it; it finds
    /// clocks that differ, and a server that makes tokens for later.
    pub refuse_future_issue: bool,
}

impl Expect {
    /// Checks the claims.
    ///
    /// # Errors
    /// The first rule that the claims break.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), Error> {
        check(
            self.issuer.as_deref(),
            self.audience.as_deref(),
            Times {
                now: self.now,
                leeway_secs: self.leeway_secs,
                require_expiry: self.require_expiry,
                refuse_future_issue: self.refuse_future_issue,
            },
            claims,
        )
    }
}

pub(crate) struct Times {
    pub(crate) now: i64,
    pub(crate) leeway_secs: i64,
    pub(crate) require_expiry: bool,
    pub(crate) refuse_future_issue: bool,
}

pub(crate) fn check(
    issuers: Option<&[String]>,
    audiences: Option<&[String]>,
    times: Times,
    claims: &Map<String, Value>,
) -> Result<(), Error> {
    if let Some(issuers) = issuers {
        let value = claims.get("iss").ok_or(Error::MissingClaim("iss"))?;
        if !value.as_str().is_some_and(|iss| issuers.iter().any(|one| one == iss)) {
            return Err(Error::WrongIssuer { expected: issuers.to_vec(), received: shown(value) });
        }
    }
    if let Some(audiences) = audiences {
        let value = claims.get("aud").ok_or(Error::MissingClaim("aud"))?;
        let wanted = |aud: &Value| aud.as_str().is_some_and(|aud| audiences.iter().any(|one| one == aud));
        let found = match value {
            Value::Array(list) => list.iter().any(wanted),
            one => wanted(one),
        };
        if !found {
            return Err(Error::WrongAudience { expected: audiences.to_vec(), received: shown(value) });
        }
    }
    // Whole seconds up to the year 9999 are exact in a double; so they are for JavaScript.
    let now = times.now as f64;
    let leeway = times.leeway_secs as f64;
    let (iat, nbf, exp) = (date(claims, "iat")?, date(claims, "nbf")?, date(claims, "exp")?);
    if let Some(exp) = exp
        && exp <= now - leeway
    {
        return Err(Error::Expired { at: exp as i64, now: times.now });
    }
    if exp.is_none() && times.require_expiry {
        return Err(Error::MissingClaim("exp"));
    }
    if let Some(nbf) = nbf
        && nbf > now + leeway
    {
        return Err(Error::NotYetValid { at: nbf as i64, now: times.now });
    }
    if let Some(iat) = iat
        && times.refuse_future_issue
        && iat > now + leeway
    {
        return Err(Error::IssuedInFuture { at: iat as i64, now: times.now });
    }
    Ok(())
}

/// A NumericDate, which may have decimals (RFC 7519 §2).
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, Error> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Error::InvalidClaim(name)),
    }
}

/// A claim as a log may have it.
fn shown(value: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => format!("`{}`", bounded(text)),
        _ => "something that is no text".to_owned(),
    };
    match value {
        Value::Array(list) => {
            let mut out: Vec<String> = list.iter().take(5).map(text).collect();
            if list.len() > out.len() {
                out.push("…".to_owned());
            }
            format!("[{}]", out.join(", "))
        }
        one => text(one),
    }
}

/// A verified token: its header and its claims.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
}

impl Verified {
    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// All claims, as they came.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// `sub`: whom the token is about.
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// The claims as a type of the service's.
    ///
    /// # Errors
    /// [`Error::ClaimsMismatch`].
    pub fn claims_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.claims).map_err(|error| {
            // serde names the value where a type is wrong; only a member's name is safe to repeat.
            let text = error.to_string();
            Error::ClaimsMismatch(if text.starts_with("missing field") {
                bounded(&text)
            } else {
                "a claim is not of the type that the service expects".to_owned()
            })
        })
    }

    /// The roles in a claim: a text with commas (`"user,admin"`, as Better Auth's `admin` plugin writes
    /// them) or a list of texts.
    pub fn roles_in<'a>(&'a self, claim: &str) -> Vec<&'a str> {
        words(self.claims.get(claim), |c| c == ',')
    }

    /// The roles in `role`.
    pub fn roles(&self) -> Vec<&str> {
        self.roles_in("role")
    }

    /// The scopes of the first of `scope`, `scopes` and `scp` that is there: a text with spaces (RFC
    /// 8693 §4.2) or a list of texts.
    pub fn scopes(&self) -> Vec<&str> {
        let claim = ["scope", "scopes", "scp"].into_iter().find_map(|name| self.claims.get(name));
        words(claim, |c| c == ' ')
    }

    /// One of the roles is there.
    ///
    /// # Errors
    /// [`Error::MissingRole`].
    pub fn require_any_role<S: AsRef<str>>(&self, roles: &[S]) -> Result<(), Error> {
        let held = self.roles();
        if roles.iter().any(|role| held.contains(&role.as_ref())) {
            return Ok(());
        }
        Err(Error::MissingRole(roles.iter().map(|role| role.as_ref().to_owned()).collect()))
    }

    /// All of the scopes are there.
    ///
    /// # Errors
    /// [`Error::MissingScope`].
    pub fn require_scopes<S: AsRef<str>>(&self, scopes: &[S]) -> Result<(), Error> {
        let held = self.scopes();
        if scopes.iter().all(|scope| held.contains(&scope.as_ref())) {
            return Ok(());
        }
        Err(Error::MissingScope(scopes.iter().map(|scope| scope.as_ref().to_owned()).collect()))
    }
}

/// Whole words, never parts of them; letters count as they are.
fn words(claim: Option<&Value>, separator: fn(char) -> bool) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => {
            text.split(separator).map(str::trim).filter(|word| !word.is_empty()).collect()
        }
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The claims of a verified token as a type of the service's; all claims as JSON without one.
///
/// With the feature `axum` it is an extractor: 401 without a token, and `Option<Claims<T>>` where one
/// may be missing.
#[derive(Debug, Clone)]
pub struct Claims<T = Map<String, Value>> {
    value: T,
    token: Arc<Verified>,
}

impl<T: DeserializeOwned> Claims<T> {
    pub(crate) fn of(token: Arc<Verified>) -> Result<Self, Error> {
        Ok(Self { value: token.claims_as()?, token })
    }
}

impl<T> Claims<T> {
    /// The claims alone.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The whole token: header, all claims, roles and scopes.
    pub fn token(&self) -> &Verified {
        &self.token
    }
}

impl<T> Deref for Claims<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
