#![doc = include_str!("README.md")]

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::config::{Config, ConfigError, Settings, read};
use portcullis_core::crypto::Algorithm;
use portcullis_core::error::Error;
use portcullis_core::feature::Feature;
use portcullis_core::http::{Request, Routes};
use portcullis_core::identity::{CacheSigner, SessionUser};
use portcullis_core::seams::{Seams, ViewSession};
use portcullis_core::store::{Db, Schema, Table};
use serde_json::{Map, Value as Json};

mod keys;
mod options;
mod routes;
mod service;
mod span;
mod store;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

pub use options::{
    AdapterOptions, JwksOptions, KeyPairOptions, Options, SchemaOptions, TableNames, TokenOptions,
};
pub use store::Jwk;

use keys::{Asker, Keys};

/// The room. Cheap to clone: an application that signs or verifies tokens itself keeps one.
#[derive(Debug, Clone)]
pub struct Jwt {
    keys: Arc<Keys>,
}

/// Makes the room.
///
/// # Errors
/// An option that does not exist or cannot stand.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Jwt::new(options)?))
}

impl Jwt {
    /// The room from its options, for `Builder::feature`.
    ///
    /// # Errors
    /// An option that does not exist or cannot stand.
    pub fn new(options: Json) -> Result<Self, ConfigError> {
        Self::of(read("plugins.jwt", options)?)
    }

    /// The same from options that JSON cannot say (closures).
    ///
    /// # Errors
    /// An option that cannot stand.
    pub fn of(options: Options) -> Result<Self, ConfigError> {
        Ok(Self { keys: Arc::new(Keys::new(options::Rules::read(options)?)) })
    }

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
        service::sign(&self.keys, Asker::app(auth), &mut auth.db(), claims, alg).await
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

impl Feature for Jwt {
    fn id(&self) -> &'static str {
        "jwt"
    }

    fn tables(&self) -> Vec<Table> {
        vec![Jwk::table()]
    }

    fn rename(&self, schema: &mut Schema) {
        let names = &self.keys.rules.written.schema.jwks;
        if let Some(name) = &names.model_name {
            schema.set_table_name(Jwk::KEY, name.clone());
        }
        for (field, name) in &names.fields {
            schema.set_column_name(Jwk::KEY, field, name.clone());
        }
    }

    fn routes(&self) -> Routes {
        routes::routes(&self.keys)
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        let options = &self.keys.rules.written;
        if options.session_cookie_cache {
            seams.cache_signer = Some(self.clone());
        }
        if !options.disable_setting_jwt_header {
            seams.view_session.push(self);
        }
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        self.keys.rules.fit(config)
    }
}

#[async_trait]
impl ViewSession for Jwt {
    /// `set-auth-jwt`. A key or webhook that fails leaves the header out: the session itself is good.
    /// What a webhook of the operator's refuses is refused.
    async fn view(
        &self,
        request: &Request,
        current: &SessionUser,
        _: &mut Map<String, Json>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let token = service::token_for(&self.keys, request, &mut request.auth.db(), current).await;
        match token.and_then(|token| HeaderValue::from_str(&token).map_err(Error::broken)) {
            Ok(token) => Ok(vec![
                (HeaderName::from_static("set-auth-jwt"), token),
                (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("set-auth-jwt")),
            ]),
            Err(Error::Broken(source)) => {
                tracing::error!(error = %source, "jwt: /get-session goes without set-auth-jwt");
                Ok(Vec::new())
            }
            Err(refused) => Err(refused),
        }
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
