#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use serde_json::Value as Json;

pub mod errors;
mod routes;
mod service;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod wire;

/// The room.
#[derive(Debug)]
pub struct EmailVerification;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(EmailVerification))
}

impl Feature for EmailVerification {
    fn id(&self) -> &'static str {
        "email-verification"
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
