//! Where the room meets requests that are not its own, and the calls that an application makes itself.

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::crypto::Algorithm;
use portcullis_core::error::Error;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{CacheSigner, Found, SessionUser};
use portcullis_core::seams::{AccessToken, AccessTokens, SessionBegun, View, ViewSession};
use portcullis_core::store::Db;
use serde_json::{Map, Value as Json};

use super::keys::Asker;
use super::service::{Further, How};
use super::{Jwt, service};

impl Jwt {
    /// Signs claims of the application's own (Better Auth's server-only `signJWT`); `exp`, `iss` and
    /// `aud` have the configured defaults. An algorithm has to be among `jwks.keyPairConfigs`.
    ///
    /// # Errors
    /// A database or webhook that does not answer, an algorithm that is not configured.
    pub async fn sign_jwt(
        &self,
        auth: &Auth,
        claims: Map<String, Json>,
        alg: Option<Algorithm>,
    ) -> Result<String, Error> {
        service::sign(&self.keys, Asker::app(auth), &mut auth.db(), claims, How::Alg(alg)).await
    }

    /// The claims of a token that is good here and now (Better Auth's server-only `verifyJWT`); `None`
    /// for any other. `issuer` in place of the configured one.
    ///
    /// # Errors
    /// A database or webhook that does not answer.
    pub async fn verify_jwt(
        &self,
        auth: &Auth,
        token: &str,
        issuer: Option<&str>,
    ) -> Result<Option<Map<String, Json>>, Error> {
        service::verify(&self.keys, Asker::app(auth), &mut auth.db(), token, issuer).await
    }
}

impl Jwt {
    async fn header(&self, request: &Request, found: &Found) -> Result<HeaderValue, Error> {
        let mut db = request.auth.db();
        // What the operator's functions say may be another thing each time.
        let key = match self.keys.rules.written.jwt.asks() || self.keys.rules.shared.is_some() {
            true => None,
            false => Some(self.keys.signing(Asker::of(request), &mut db, None).await?),
        };
        let reuse = self.keys.rules.expiry.reuse();
        let key_and_reading = key.as_ref().zip(found.reading());
        let known = |(key, reading)| self.issued.find(request, found.token(), reading, key, reuse);
        if let Some(header) = key_and_reading.and_then(known) {
            return Ok(header);
        }
        let further = Further { key: key.clone(), ..Further::default() };
        let token =
            service::token_for(&self.keys, request, &mut db, found.current(&request.auth)?, further).await?;
        let header = HeaderValue::from_str(&token).map_err(Error::broken)?;
        if let Some((key, reading)) = key.zip(found.reading()) {
            self.issued.keep(request, found.token(), reading, key, &header);
        }
        Ok(header)
    }
}

/// `set-auth-jwt`, readable for scripts. A key or webhook that fails leaves the header out: the session
/// itself is good. What a webhook of the operator's refuses is refused.
fn headers(token: Result<HeaderValue, Error>) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    match token {
        Ok(token) => Ok(vec![
            (HeaderName::from_static("set-auth-jwt"), token),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("set-auth-jwt")),
        ]),
        Err(Error::Broken(source)) => {
            tracing::error!(error = %source, "jwt: a session goes without set-auth-jwt");
            Ok(Vec::new())
        }
        Err(refused) => Err(refused),
    }
}

#[async_trait]
impl SessionBegun for Jwt {
    async fn session_begun(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        cookies: &mut Cookies,
    ) -> Result<(), Error> {
        let token = service::token_for(&self.keys, request, db, current, Further::default()).await;
        let token = token.and_then(|token| HeaderValue::from_str(&token).map_err(Error::broken));
        for (name, value) in headers(token)? {
            cookies.push_header(name, value);
        }
        Ok(())
    }
}

#[async_trait]
impl AccessTokens for Jwt {
    async fn issue(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        seconds: i64,
    ) -> Result<String, Error> {
        let further = Further { access: Some(seconds), ..Further::default() };
        service::token_for(&self.keys, request, db, current, further).await
    }

    async fn read(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        token: &str,
    ) -> Result<Option<AccessToken>, Error> {
        service::read_access_token(&self.keys, Asker::of(request), db, token).await
    }
}

#[async_trait]
impl ViewSession for Jwt {
    async fn view(
        &self,
        request: &Request,
        body: &mut View<'_>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        headers(self.header(request, body.found()).await)
    }
}

#[async_trait]
impl CacheSigner for Jwt {
    async fn sign(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        payload: Map<String, Json>,
        max_age: i64,
    ) -> Result<String, Error> {
        service::sign_cache(&self.keys, Asker::of(request), db, payload, max_age).await
    }

    async fn verify(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        token: &str,
    ) -> Result<Option<(Map<String, Json>, Timestamp)>, Error> {
        service::verify_cache(&self.keys, Asker::of(request), db, token).await
    }
}
