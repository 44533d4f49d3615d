#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use serde_json::Value as Json;

mod change_email;
mod delete;
pub mod errors;
mod routes;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod update;
mod wire;

/// The room.
#[derive(Debug)]
pub struct Users;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Users))
}

impl Feature for Users {
    fn id(&self) -> &'static str {
        "user"
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
