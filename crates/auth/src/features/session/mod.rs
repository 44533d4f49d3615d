#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use serde_json::Value as Json;

mod routes;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

/// The room.
#[derive(Debug)]
pub struct Sessions;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Sessions))
}

impl Feature for Sessions {
    fn id(&self) -> &'static str {
        "session"
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
