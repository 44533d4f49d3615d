#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Settings, read};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::store::{Schema, Table};
use serde_json::Value as Json;

pub mod errors;
mod options;
mod routes;
mod service;
mod store;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod token;
mod wire;

pub use options::{Options, SchemaOptions};

/// The room.
#[derive(Debug)]
pub struct TokenApi {
    options: Arc<Options>,
}

/// Makes the room.
///
/// # Errors
/// An option that does not exist or cannot stand.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    let options: Options = read("plugins.tokenApi", options)?;
    Ok(Arc::new(TokenApi { options: Arc::new(options.checked()?) }))
}

impl Feature for TokenApi {
    fn id(&self) -> &'static str {
        "token-api"
    }

    fn tables(&self) -> Vec<Table> {
        vec![store::RefreshToken::table()]
    }

    fn rename(&self, schema: &mut Schema) {
        self.options.schema.refresh_token.apply(schema, store::RefreshToken::KEY);
    }

    fn routes(&self) -> Routes {
        routes::routes(&self.options)
    }

    fn check(&self, config: &Config, _: &Schema) -> Result<(), ConfigError> {
        options::fit(config)
    }
}
