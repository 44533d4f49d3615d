#![doc = include_str!("README.md")]

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::auth::Auth;
use portcullis_core::config::{Config, ConfigError, Settings, read};
use portcullis_core::error::Error;
use portcullis_core::feature::Feature;
use portcullis_core::http::{RateRule, Routes};
use portcullis_core::seams::{PasswordReplaced, Seams};
use portcullis_core::store::{Db, Schema, Table};
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

pub use options::Options;

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

    fn routes(&self) -> Routes {
        routes::routes(&self.options)
    }

    fn rate_limits(&self) -> Vec<RateRule> {
        // As of `/sign-in/…` and `/sign-up/…`.
        ["/signin", "/signup"].map(|path| RateRule::exact(path, 10, 3)).into()
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.password_replaced.push(self);
    }

    fn check(&self, config: &Config, _: &Schema) -> Result<(), ConfigError> {
        options::fit(config)
    }
}

#[async_trait]
impl PasswordReplaced for TokenApi {
    async fn password_replaced(&self, _: &Auth, db: &mut Db<'_>, user: &str) -> Result<(), Error> {
        store::end_all_of(db, user).await
    }
}
