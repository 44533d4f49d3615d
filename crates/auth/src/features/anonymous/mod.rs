#![doc = include_str!("README.md")]

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::config::{ConfigError, Settings, read};
use portcullis_core::error::Error;
use portcullis_core::feature::Feature;
use portcullis_core::http::{Cookies, Request, Routes};
use portcullis_core::identity::{SessionUser, User};
use portcullis_core::seams::{Seams, SessionMade};
use portcullis_core::store::{Column, Db, Schema};
use serde_json::Value as Json;

pub mod errors;
mod options;
mod routes;
mod service;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

pub use options::{ColumnNames, FieldNames, Options, TableNames};

/// The room. The list makes it from a configuration; with options of Rust (closures instead of
/// webhooks) it is a `.feature(Anonymous::new(options))`.
#[derive(Debug, Clone)]
pub struct Anonymous(Arc<Options>);

/// Makes the room.
///
/// # Errors
/// An option that does not exist or has the wrong type.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Anonymous::new(read("plugins.anonymous", options)?)))
}

impl Anonymous {
    /// The room with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(options))
    }
}

impl Feature for Anonymous {
    fn id(&self) -> &'static str {
        "anonymous"
    }

    fn lends(&self) -> Vec<(&'static str, Column)> {
        vec![(User::KEY, Column::bool(service::IS_ANONYMOUS.key).default(false).no_input())]
    }

    fn rename(&self, schema: &mut Schema) {
        let names = &self.0.schema.user;
        if let Some(table) = &names.model_name {
            schema.set_table_name(User::KEY, table.as_str());
        }
        if let Some(column) = &names.fields.is_anonymous {
            schema.set_column_name(User::KEY, service::IS_ANONYMOUS.key, column.as_str());
        }
    }

    fn routes(&self) -> Routes {
        routes::routes(&self.0)
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.session_made.push(self);
    }
}

#[async_trait]
impl SessionMade for Anonymous {
    async fn session_made(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        _: &mut Cookies,
    ) -> Result<(), Error> {
        service::leave(&self.0, request, db, current).await
    }
}
