#![doc = include_str!("README.md")]

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::config::{Config, ConfigError, Settings, read};
use portcullis_core::error::{Code, Error};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::seams::{Seams, UserWrite, WriteUser};
use portcullis_core::store::{Column, Db, Row, Schema};
use serde_json::Value as Json;

pub mod errors;
mod options;
mod routes;
mod service;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod wire;

pub use options::{ColumnNames, FieldNames, Moment, Normalization, Options, TableNames, ValidationOrder};

/// The room. The list makes it from a configuration; with options of Rust (closures instead of
/// webhooks) it is a `.feature(Username::new(options))`.
#[derive(Debug, Clone)]
pub struct Username(Arc<Options>);

/// Makes the room.
///
/// # Errors
/// An option that does not exist or has the wrong type.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Username::new(read("plugins.username", options)?)))
}

impl Username {
    /// The room with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(options))
    }
}

impl Feature for Username {
    fn id(&self) -> &'static str {
        "username"
    }

    fn lends(&self) -> Vec<(&'static str, Column)> {
        let username = Column::text(service::USERNAME.key).unique().sortable();
        let mut lent = vec![("user", username)];
        if self.0.has_display_username() {
            lent.push(("user", Column::text(service::DISPLAY_USERNAME.key)));
        }
        lent
    }

    fn rename(&self, schema: &mut Schema) {
        self.0.schema.user.apply(schema);
    }

    fn routes(&self) -> Routes {
        routes::routes(&self.0)
    }

    fn check(&self, _: &Config, _: &Schema) -> Result<(), ConfigError> {
        self.0.check()
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.write_user.push(self);
    }
}

#[async_trait]
impl WriteUser for Username {
    async fn amend(&self, db: &mut Db<'_>, write: &mut UserWrite<'_>) -> Result<(), Error> {
        service::amend(&self.0, db, write).await
    }

    async fn taken(
        &self,
        db: &mut Db<'_>,
        fields: &Row,
        column: Option<&str>,
    ) -> Result<Option<Code>, Error> {
        service::taken(db, fields, column).await
    }
}
