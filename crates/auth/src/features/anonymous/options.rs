//! `plugins.anonymous`, and the operator's functions in it.

use portcullis_core::error::Error;
use portcullis_core::hooks::Callback;
use portcullis_core::http::body::is_email;
use portcullis_core::http::{Request, truthy};
use serde::Deserialize;
use serde_json::Value as Json;

use super::errors;

/// Domain of addresses that reach nobody (RFC 2606 §2 reserves `.invalid`).
const NOWHERE: &str = "anonymous.placeholder.invalid";
/// The name of a user without one.
const NAME: &str = "Anonymous";

/// `plugins.anonymous`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Addresses are `temp-{id}@` this. Default: `{id}@anonymous.placeholder.invalid`.
    pub email_domain_name: Option<String>,
    /// `()` → address, in place of the above; nothing means the default.
    pub generate_random_email: Option<Callback>,
    /// `(context)` → name; nothing means "Anonymous".
    pub generate_name: Option<Callback>,
    /// `({anonymousUser, newUser, ctx})`: an anonymous user has signed in as somebody.
    pub on_link_account: Option<Callback>,
    /// Anonymous users stay, also when they have signed in as somebody.
    pub disable_delete_anonymous_user: bool,
    /// Names in the database.
    pub schema: TableNames,
}

/// `schema`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableNames {
    /// The `user` table.
    pub user: FieldNames,
}

/// `schema.user`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldNames {
    /// The table's name.
    pub model_name: Option<String>,
    /// The columns' names.
    pub fields: ColumnNames,
}

/// `schema.user.fields`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnNames {
    /// Name of the column `isAnonymous`.
    pub is_anonymous: Option<String>,
}

impl Options {
    /// An address for a new anonymous user.
    pub(super) async fn email(&self, request: &Request) -> Result<String, Error> {
        let auth = &request.auth;
        if let Some(callback) = &self.generate_random_email {
            let name = "plugins.anonymous.generateRandomEmail";
            let answer = callback.call(auth.outbound(), name, Vec::new()).await?;
            if truthy(&answer) {
                return match answer {
                    Json::String(email) if is_email(&email) => Ok(email),
                    _ => Err(errors::INVALID_EMAIL_FORMAT.into()),
                };
            }
        }
        let id = auth.random().id();
        Ok(match self.email_domain_name.as_deref() {
            None | Some("") => format!("{id}@{NOWHERE}"),
            Some(domain) => format!("temp-{id}@{domain}"),
        })
    }

    /// A name for a new anonymous user.
    pub(super) async fn name(&self, request: &Request) -> Result<String, Error> {
        let Some(callback) = &self.generate_name else { return Ok(NAME.to_owned()) };
        let name = "plugins.anonymous.generateName";
        let args = vec![request.context_for_webhook()];
        match callback.call(request.auth.outbound(), name, args).await? {
            Json::String(name) if !name.is_empty() => Ok(name),
            other if truthy(&other) => Err(Error::broken(format!("{name} did not answer a text"))),
            _ => Ok(NAME.to_owned()),
        }
    }
}
