//! `plugins.username`, and the operator's functions in it.

use portcullis_core::config::ConfigError;
use portcullis_core::error::Error;
use portcullis_core::hooks::Callback;
use portcullis_core::http::truthy;
use portcullis_core::outbound::Outbound;
use portcullis_core::store::Schema;
use serde::Deserialize;
use serde_json::Value as Json;

/// Shortest user name, when no option says otherwise.
const SHORTEST: usize = 3;
/// Longest user name, when no option says otherwise.
const LONGEST: usize = 30;

/// `plugins.username`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// In UTF-16 units. Default 3; 0 counts as not given.
    pub min_username_length: Option<usize>,
    /// In UTF-16 units. Default 30; 0 counts as not given.
    pub max_username_length: Option<usize>,
    /// `(username) → bool`, in place of letters, digits, `_` and `.`.
    pub username_validator: Option<Callback>,
    /// `(displayUsername) → bool`. Default: everything is good.
    pub display_username_validator: Option<Callback>,
    /// `(username) → text`, or `false`. Default: lower case.
    pub username_normalization: Option<Normalization>,
    /// `(displayUsername) → text`, or `false`. Default: as written.
    pub display_username_normalization: Option<Normalization>,
    /// What the validators look at.
    pub validation_order: ValidationOrder,
    /// A user name that is set stays.
    pub immutable_username: bool,
    /// `false`: there is no `displayUsername`. Default true.
    pub display_username: Option<bool>,
    /// Names in the database.
    pub schema: TableNames,
}

/// How a name is brought into the form in which it is stored and compared.
#[derive(Debug, Clone)]
pub enum Normalization {
    /// As written.
    Off,
    /// The operator's function.
    By(Callback),
}

impl<'de> Deserialize<'de> for Normalization {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Bool(false) => Ok(Self::Off),
            Json::Bool(true) => {
                Err(serde::de::Error::custom("must be `false` or a webhook; leave it out for the default"))
            }
            other => serde_json::from_value(other).map(Self::By).map_err(serde::de::Error::custom),
        }
    }
}

/// `validationOrder`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidationOrder {
    /// For the user name.
    pub username: Option<Moment>,
    /// For the displayed name.
    pub display_username: Option<Moment>,
}

/// When a validator looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// At the name as it was written.
    PreNormalization,
    /// At the name as it will be stored.
    PostNormalization,
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
    /// Name of the column `username`.
    pub username: Option<String>,
    /// Name of the column `displayUsername`.
    pub display_username: Option<String>,
}

impl FieldNames {
    pub(super) fn apply(&self, schema: &mut Schema) {
        if let Some(table) = &self.model_name {
            schema.set_table_name("user", table.as_str());
        }
        let columns =
            [("username", &self.fields.username), ("displayUsername", &self.fields.display_username)];
        for (key, name) in columns {
            if let Some(name) = name {
                schema.set_column_name("user", key, name.as_str());
            }
        }
    }
}

impl Options {
    pub(super) fn has_display_username(&self) -> bool {
        self.display_username != Some(false)
    }

    pub(super) fn shortest(&self) -> usize {
        self.min_username_length.filter(|n| *n > 0).unwrap_or(SHORTEST)
    }

    pub(super) fn longest(&self) -> usize {
        self.max_username_length.filter(|n| *n > 0).unwrap_or(LONGEST)
    }

    /// No name could be short and long enough at once.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.shortest() > self.longest() {
            return Err(ConfigError::new(
                "plugins.username.minUsernameLength",
                format!("is {}, above maxUsernameLength ({})", self.shortest(), self.longest()),
            ));
        }
        Ok(())
    }

    /// The user name as it is stored and looked up.
    pub(super) async fn normal(&self, http: &Outbound, username: &str) -> Result<String, Error> {
        match &self.username_normalization {
            None => Ok(username.to_lowercase()),
            Some(how) => how.apply(http, "plugins.username.usernameNormalization", username).await,
        }
    }

    /// The displayed name as it is stored.
    pub(super) async fn normal_display(&self, http: &Outbound, name: &str) -> Result<String, Error> {
        match &self.display_username_normalization {
            None => Ok(name.to_owned()),
            Some(how) => how.apply(http, "plugins.username.displayUsernameNormalization", name).await,
        }
    }

    /// Is it made of what a user name may be made of?
    pub(super) async fn is_valid(&self, http: &Outbound, username: &str) -> Result<bool, Error> {
        let Some(callback) = &self.username_validator else {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            return Ok(!username.is_empty() && username.chars().all(good));
        };
        asked(callback, http, "plugins.username.usernameValidator", username).await
    }

    /// Is it a good displayed name?
    pub(super) async fn is_valid_display(&self, http: &Outbound, name: &str) -> Result<bool, Error> {
        let Some(callback) = &self.display_username_validator else { return Ok(true) };
        if self.validation_order.display_username == Some(Moment::PostNormalization) {
            let normal = self.normal_display(http, name).await?;
            return asked(callback, http, "plugins.username.displayUsernameValidator", &normal).await;
        }
        asked(callback, http, "plugins.username.displayUsernameValidator", name).await
    }
}

async fn asked(callback: &Callback, http: &Outbound, option: &str, name: &str) -> Result<bool, Error> {
    Ok(truthy(&callback.call(http, option, vec![Json::from(name)]).await?))
}

impl Normalization {
    async fn apply(&self, http: &Outbound, option: &str, name: &str) -> Result<String, Error> {
        match self {
            Self::Off => Ok(name.to_owned()),
            Self::By(callback) => match callback.call(http, option, vec![Json::from(name)]).await? {
                Json::String(normal) => Ok(normal),
                _ => Err(Error::broken(format!("{option} did not answer a text"))),
            },
        }
    }
}
