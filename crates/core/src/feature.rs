//! A feature ("room"): one folder that brings its tables, routes and seams.

use std::sync::Arc;

use crate::config::ConfigError;
use crate::http::{RateRule, Routes};
use crate::mail::MailKind;
use crate::seams::Seams;
use crate::store::{Column, Schema, Table};

/// A room. `own_room.rs` among the examples is one in a single file.
pub trait Feature: Send + Sync + 'static {
    /// Folder = cargo flag = plugin, in kebab case.
    fn id(&self) -> &'static str;

    /// Tables of its own.
    fn tables(&self) -> Vec<Table> {
        Vec::new()
    }

    /// Columns that it lends to tables of others: `(table key, column)`.
    fn lends(&self) -> Vec<(&'static str, Column)> {
        Vec::new()
    }

    /// Last word on names, after all tables are there (an option that renames its table).
    fn rename(&self, _schema: &mut Schema) {}

    /// Its routes.
    fn routes(&self) -> Routes {
        Routes::new()
    }

    /// Limits for paths of its own, instead of the general one.
    fn rate_limits(&self) -> Vec<RateRule> {
        Vec::new()
    }

    /// Kinds of mail of its own, with their texts; the settings say who delivers which.
    fn mails(&self, _config: &crate::config::Config) -> Vec<MailKind> {
        Vec::new()
    }

    /// Attaches itself where requests pass that are not its own.
    fn attach(self: Arc<Self>, _seams: &mut Seams) {}

    /// A last check that its options fit the whole configuration, and the tables of all rooms.
    fn check(&self, _config: &crate::config::Config, _schema: &Schema) -> Result<(), ConfigError> {
        Ok(())
    }
}
