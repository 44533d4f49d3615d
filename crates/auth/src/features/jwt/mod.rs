#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Settings, read};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::seams::Seams;
use portcullis_core::store::{Schema, Table};
use serde_json::Value as Json;

mod issued;
mod keys;
mod options;
mod routes;
mod seams;
mod service;
mod span;
mod store;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

pub use options::{
    AdapterOptions, DefinePayload, JwksOptions, KeyPairOptions, Options, Payload, SchemaOptions, TokenOptions,
};
pub use store::Jwk;

use issued::Issued;
use keys::Keys;

/// The room. Cheap to clone: an application that signs or verifies tokens itself keeps one.
#[derive(Debug, Clone)]
pub struct Jwt {
    keys: Arc<Keys>,
    issued: Arc<Issued>,
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
        Ok(Self { keys: Arc::new(Keys::new(options::Rules::read(options)?)), issued: Arc::default() })
    }
}

impl Feature for Jwt {
    fn id(&self) -> &'static str {
        "jwt"
    }

    fn tables(&self) -> Vec<Table> {
        vec![store::table()]
    }

    fn rename(&self, schema: &mut Schema) {
        self.keys.rules.written.schema.jwks.apply(schema, Jwk::KEY);
    }

    fn routes(&self) -> Routes {
        routes::routes(&self.keys)
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        let options = &self.keys.rules.written;
        if options.session_cookie_cache {
            seams.cache_signer = Some(self.clone());
        }
        if options.issue_on_sign_in {
            seams.session_begun.push(self.clone());
        }
        seams.access_tokens = Some(self.clone());
        if !options.disable_setting_jwt_header {
            seams.view_session.push(self);
        }
    }

    fn check(&self, config: &Config, schema: &Schema) -> Result<(), ConfigError> {
        self.keys.rules.fit(config, schema)
    }
}
