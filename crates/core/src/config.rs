//! Settings as the operator writes them ([`Settings`]) become a checked, immutable [`Config`], once,
//! at start. Nobody else looks at settings, and nothing here reads a file or the environment.
//!
//! Names are Better Auth's own, in camelCase and nested the same way, so that an `auth.ts` is carried
//! over by reading it. Our own options have names that Better Auth does not use.
//! An unknown key is an error that names it and the nearest known one: a setting that is accepted and
//! then ignored is worse than one that is refused.

mod mail;
mod operations;
mod password_policy;
mod sanity;
mod storage;
mod webhooks;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use url::Url;

use crate::crypto::{HashKind, Secret, Secrets};
use crate::hooks::Callback;
use crate::http::RateLimit;
use crate::store::Schema;

pub use mail::{
    BrandSettings, Delivery, MailConfig, MailSetting, MailSettings, RetrySettings, SmtpConfig, SmtpSetting,
    SmtpSettings, SmtpTls,
};
pub use operations::{MetricsSettings, PurgeSettings, TelemetrySettings};
pub use password_policy::PasswordPolicySettings;
pub use sanity::nearest;
pub use storage::{
    Kept, RateLimitFunctions, RedisSettings, SecondaryFunctions, SecondaryStorageSettings, StoreIdentifier,
    StoreIdentifiers,
};
pub(crate) use webhooks::is_private_channel;
pub use webhooks::{
    DatabaseHooksSettings, SigningKey, TableHooks, VerbHooks, WebhookConfig, WebhookSettings,
};

/// A setting that cannot stand, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Dotted path of the key, as it stands in the file.
    pub key: String,
    /// What is wrong and what would be right; never a secret's value.
    pub problem: String,
}

impl ConfigError {
    /// An error at a key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.key, self.problem)
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads one section, naming the full path of whatever is wrong in it.
pub fn read<T: DeserializeOwned>(section: &str, value: Json) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let mut key = section.to_owned();
        if inner != "." {
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(&inner);
        }
        let message = error.into_inner().to_string();
        match unknown_field(&message) {
            Some((field, known)) => {
                // serde_path_to_error's path already ends with the unknown key.
                ConfigError::new(
                    key,
                    format!("unknown option{}", nearest(&field, known.iter().map(String::as_str))),
                )
            }
            None if message.contains("expected a sequence") => {
                ConfigError::new(key, format!("{message}; write a list, e.g. [\"a\", \"b\"]"))
            }
            None => ConfigError::new(key, message),
        }
    })
}

/// serde says "unknown field `a`, expected one of `b`, `c`": the names, in that order.
pub fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((field.to_owned(), known))
}

/// Everything an operator can write, at the top level.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Shown as the issuer in authenticator apps. Default `Better Auth`.
    pub app_name: Option<String>,
    /// The public origin, e.g. `https://auth.example.com`, or `{allowedHosts, fallback, protocol}`.
    #[serde(rename = "baseURL")]
    pub base_url: Option<BaseUrlSettings>,
    /// Where the routes are mounted. Default `/api/auth`.
    pub base_path: Option<String>,
    /// Signs cookies and tokens, encrypts what rests; at least 32 characters.
    pub secret: Option<String>,
    /// Secrets by version, the current one first.
    pub secrets: Option<Vec<SecretSettings>>,
    /// Origins that may call with cookies and be redirected to; wildcards as in Better Auth.
    pub trusted_origins: Option<TrustedOrigins>,
    /// Where the data is.
    pub database: Option<DatabaseSettings>,
    /// Create and extend the tables at start. Default true.
    pub migrate: Option<bool>,
    /// Sign-up and sign-in with a password.
    pub email_and_password: EmailAndPasswordSettings,
    /// Proof of an e-mail address.
    pub email_verification: EmailVerificationSettings,
    /// The `user` table and what users may do.
    pub user: UserSettings,
    /// Sessions and their cookies.
    pub session: SessionSettings,
    /// The `account` table.
    pub account: AccountSettings,
    /// The `verification` table.
    pub verification: TableSettings,
    /// Rate limits.
    pub rate_limit: RateLimitSettings,
    /// The rest, as in Better Auth.
    pub advanced: AdvancedSettings,
    /// Paths that answer 404.
    pub disabled_paths: Vec<String>,
    /// Features beyond the base, by name.
    pub plugins: Map<String, Json>,
    /// Ours: the server around the routes.
    pub http: HttpSettings,
    /// Ours: how passwords are hashed.
    pub password_hash: PasswordHashSettings,
    /// Ours: how mails are delivered; false for no mailer.
    pub mail: Option<MailSetting>,
    /// Better Auth's; not part of this version.
    pub social_providers: Option<Json>,
    /// Where sessions, verifications and rate limits are kept instead of the database: a `redis://` URL,
    /// `{url, keyPrefix}`, or `{get, set, delete, getAndDelete, increment}`.
    pub secondary_storage: Option<SecondaryStorageSettings>,
    /// Functions around every write to the four core tables.
    pub database_hooks: DatabaseHooksSettings,
    /// Better Auth's functions around every endpoint; not part of this version.
    pub hooks: Option<Json>,
    /// Ours: how webhooks are called, and signed.
    pub webhooks: WebhookSettings,
    /// Traces for a collector of the operator's (OpenTelemetry).
    pub telemetry: TelemetrySettings,
    /// Ours: numbers for Prometheus.
    pub metrics: MetricsSettings,
    /// Ours: what has expired goes.
    pub purge: PurgeSettings,
    /// Better Auth's; see `PORTCULLIS_LOG`.
    pub logger: Option<Json>,
    /// What `/error` does.
    #[serde(rename = "onAPIError")]
    pub on_api_error: OnApiErrorSettings,
}

/// `baseURL`: one URL, or hosts of which the request chooses.
#[derive(Debug, Clone)]
pub enum BaseUrlSettings {
    /// One public URL.
    Fixed(String),
    /// The request's host decides, among these.
    Dynamic {
        /// Host patterns; `*` stands for any run of characters.
        allowed_hosts: Vec<String>,
        /// The URL when no host matches.
        fallback: Option<String>,
        /// `http`, `https` or `auto`.
        protocol: Option<String>,
    },
}

impl<'de> Deserialize<'de> for BaseUrlSettings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Dynamic {
            allowed_hosts: Vec<String>,
            fallback: Option<String>,
            protocol: Option<String>,
        }
        match Json::deserialize(deserializer)? {
            Json::String(url) => Ok(Self::Fixed(url)),
            other => {
                let Dynamic { allowed_hosts, fallback, protocol } =
                    serde_json::from_value(other).map_err(serde::de::Error::custom)?;
                Ok(Self::Dynamic { allowed_hosts, fallback, protocol })
            }
        }
    }
}

/// One of `secrets`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// Goes into the envelope of what was encrypted with it.
    pub version: u32,
    /// The secret itself.
    pub value: String,
}

/// Where the data is: a URL, or a table with one.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `sqlite:FILE`, `postgres://…`, `mysql://…`; `None` = stateless, nothing is stored.
    pub url: Option<String>,
    /// Most connections of the pool; SQLite has one more, for writes. Default 10 (SQLite: one for each core but
    /// 2 to 4).
    pub max_connections: Option<u32>,
    /// PostgreSQL behind PgBouncer in transaction mode; guessed from the URL when absent.
    pub pooler: Option<bool>,
}

impl<'de> Deserialize<'de> for DatabaseSettings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Table {
            url: Option<String>,
            max_connections: Option<u32>,
            pooler: Option<bool>,
        }
        match Json::deserialize(deserializer)? {
            Json::String(url) => Ok(Self { url: Some(url), max_connections: None, pooler: None }),
            Json::Bool(false) => Ok(Self { url: None, max_connections: None, pooler: None }),
            other => {
                let Table { url, max_connections, pooler } =
                    serde_json::from_value(other).map_err(serde::de::Error::custom)?;
                Ok(Self { url, max_connections, pooler })
            }
        }
    }
}

/// `emailAndPassword`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailAndPasswordSettings {
    /// Default false in the library, true in the binary without a config file.
    pub enabled: Option<bool>,
    /// Only existing users may sign in.
    pub disable_sign_up: bool,
    /// No session before the address is proven.
    pub require_email_verification: bool,
    /// Default 8, in UTF-16 units.
    pub min_password_length: Option<usize>,
    /// Default 128, in UTF-16 units.
    pub max_password_length: Option<usize>,
    /// Ours: what a new password has to be besides.
    pub password_policy: PasswordPolicySettings,
    /// A session at sign-up. Default true.
    pub auto_sign_in: Option<bool>,
    /// Told when somebody signs up with a taken address and the answer must not say so.
    pub on_existing_user_sign_up: Option<Callback>,
    /// Shapes the made-up user of that answer.
    pub custom_synthetic_user: Option<Callback>,
    /// Mails the reset link, `{user, url, token}`; without it passwords cannot be reset.
    pub send_reset_password: Option<Callback>,
    /// Told `{user}` after a reset.
    pub on_password_reset: Option<Callback>,
    /// Lifetime of a reset token in seconds. Default 3600.
    pub reset_password_token_expires_in: Option<i64>,
    /// End all sessions at a reset.
    pub revoke_sessions_on_password_reset: bool,
    /// Better Auth's own `hash` and `verify` functions.
    pub password: Option<PasswordCallbacks>,
}

/// `emailAndPassword.password`: the operator's own hash.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordCallbacks {
    /// `(password) → hash`.
    pub hash: Option<Callback>,
    /// `({hash, password}) → bool`.
    pub verify: Option<Callback>,
}

/// `emailVerification`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailVerificationSettings {
    /// Mails `{user, url, token}`.
    pub send_verification_email: Option<Callback>,
    /// Default: `emailAndPassword.requireEmailVerification`.
    pub send_on_sign_up: Option<bool>,
    /// Mail again when an unproven user signs in.
    pub send_on_sign_in: bool,
    /// A session once the address is proven.
    pub auto_sign_in_after_verification: bool,
    /// Seconds. Default 3600.
    pub expires_in: Option<i64>,
    /// `(user)`: may refuse before an address counts as proven.
    pub before_email_verification: Option<Callback>,
    /// Told `(user)` when an address has been proven.
    pub after_email_verification: Option<Callback>,
}

/// Names of a table and its columns.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TableSettings {
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Column names in the database, by field.
    pub fields: BTreeMap<String, String>,
    /// Fields of the operator's own.
    pub additional_fields: AdditionalFields,
    /// `verification` only: `plain` (default), `hashed`, `{hash}`, or `{default, overrides}` by prefix.
    pub store_identifier: Option<StoreIdentifiers>,
    /// `verification` only: keep expired rows.
    pub disable_cleanup: bool,
    /// `verification` only: also in the database when there is secondary storage. Default false.
    pub store_in_database: Option<bool>,
}

/// A room's `schema` option for one table: its names in the database.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TableNames {
    /// The table's name.
    pub model_name: Option<String>,
    /// Column names by field.
    pub fields: BTreeMap<String, String>,
}

impl TableNames {
    /// Renames the table and its columns.
    pub fn apply(&self, schema: &mut Schema, table: &str) {
        if let Some(name) = &self.model_name {
            schema.set_table_name(table, name.clone());
        }
        for (column, name) in &self.fields {
            schema.set_column_name(table, column, name.clone());
        }
    }
}

/// `additionalFields`, in the order written.
#[derive(Debug, Clone, Default)]
pub struct AdditionalFields(pub Vec<(String, FieldSettings)>);

impl<'de> Deserialize<'de> for AdditionalFields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        // Entry by entry, so that an error names the field it is about.
        impl<'de> serde::de::Visitor<'de> for Fields {
            type Value = AdditionalFields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of fields")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(AdditionalFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// One additional field.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldSettings {
    /// `string`, `number`, `boolean`, `date`, `json`, `string[]`, `number[]`, or a list of texts.
    #[serde(rename = "type")]
    pub kind: Json,
    /// Must be given at sign-up. Default true, as in Better Auth.
    pub required: Option<bool>,
    /// Value when none is given; a function is `{"webhook": …}`.
    pub default_value: Option<Json>,
    /// The same as a function of Rust: asked `()`.
    #[serde(skip)]
    pub default_function: Option<Callback>,
    /// May clients write it? Default true.
    pub input: Option<bool>,
    /// Is it part of answers? Default true.
    pub returned: Option<bool>,
    /// No two rows alike.
    #[serde(default)]
    pub unique: bool,
    /// Has an index.
    #[serde(default)]
    pub index: bool,
    /// Can be sorted by (matters for MySQL's column type).
    #[serde(default)]
    pub sortable: bool,
    /// 64-bit number.
    #[serde(default)]
    pub bigint: bool,
    /// The column's name in the database.
    pub field_name: Option<String>,
    /// Points at another table.
    pub references: Option<ReferenceSettings>,
    /// Value written at every update.
    pub on_update: Option<Callback>,
    /// `{input, output}` functions.
    pub transform: Option<TransformSettings>,
    /// `{input, output}` validators.
    pub validator: Option<ValidatorSettings>,
}

/// `transform` of an additional field.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformSettings {
    /// `(value) → value`, of what a client writes.
    pub input: Option<Callback>,
    /// Not part of this version.
    pub output: Option<Json>,
}

/// `validator` of an additional field.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidatorSettings {
    /// Judges what a client writes.
    pub input: Option<StandardSchema>,
    /// Not part of this version.
    pub output: Option<Json>,
}

/// A validator (<https://standardschema.dev>).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandardSchema {
    /// The standard's one property.
    #[serde(rename = "~standard")]
    pub standard: StandardValidator,
}

/// `~standard` of a validator; the standard's other properties (`version`, `vendor`, …) say nothing here.
#[derive(Debug, Clone, Deserialize)]
pub struct StandardValidator {
    /// `(value) → {value}` or `{issues: [{message}]}`.
    pub validate: Callback,
}

/// `trustedOrigins`: a list, or a function that says which ones a request may also come from.
#[derive(Debug, Clone, Default)]
pub struct TrustedOrigins {
    /// Always trusted.
    pub list: Vec<String>,
    /// `(request) → list`; asked about every request.
    pub asked: Option<Callback>,
}

impl std::ops::Deref for TrustedOrigins {
    type Target = Vec<String>;
    fn deref(&self) -> &Vec<String> {
        &self.list
    }
}

impl std::ops::DerefMut for TrustedOrigins {
    fn deref_mut(&mut self) -> &mut Vec<String> {
        &mut self.list
    }
}

impl From<Vec<String>> for TrustedOrigins {
    fn from(list: Vec<String>) -> Self {
        Self { list, asked: None }
    }
}

impl<'de> Deserialize<'de> for TrustedOrigins {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            value @ Json::Object(_) => {
                let asked = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
                Ok(Self { list: Vec::new(), asked: Some(asked) })
            }
            value => {
                serde_json::from_value::<Vec<String>>(value).map(Self::from).map_err(serde::de::Error::custom)
            }
        }
    }
}

/// Where an additional field points.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReferenceSettings {
    /// Table.
    pub model: String,
    /// Column.
    pub field: String,
    /// `cascade`, `set null`, `restrict`, `no action`.
    pub on_delete: Option<String>,
}

/// `user`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSettings {
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Column names in the database, by field.
    pub fields: BTreeMap<String, String>,
    /// Fields of the operator's own.
    pub additional_fields: AdditionalFields,
    /// Users change their address.
    pub change_email: ChangeEmailSettings,
    /// Users delete themselves.
    pub delete_user: DeleteUserSettings,
    /// `({user, source})`: may refuse a new user with `{error, errorDescription}`.
    pub validate_user_info: Option<Callback>,
}

/// `user.changeEmail`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeEmailSettings {
    /// Default false.
    pub enabled: bool,
    /// An address that was never proven is replaced at once.
    pub update_email_without_verification: bool,
    /// Mails `{user, newEmail, url, token}` to the old address, when that is proven, before the new one is asked.
    pub send_change_email_confirmation: Option<Callback>,
}

/// `user.deleteUser`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteUserSettings {
    /// Default false.
    pub enabled: bool,
    /// Mails `{user, url, token}`; the user is deleted when the link is followed.
    pub send_delete_account_verification: Option<Callback>,
    /// `(user)`: may refuse.
    pub before_delete: Option<Callback>,
    /// Told `(user)` when the user is gone.
    pub after_delete: Option<Callback>,
    /// Lifetime of the mailed link in seconds. Default 86400.
    pub delete_token_expires_in: Option<i64>,
}

/// `session`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionSettings {
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Column names in the database, by field.
    pub fields: BTreeMap<String, String>,
    /// Fields of the operator's own.
    pub additional_fields: AdditionalFields,
    /// Lifetime in seconds. Default 604800 (7 days).
    pub expires_in: Option<i64>,
    /// A session is extended when it was last extended this many seconds ago. Default 86400.
    pub update_age: Option<i64>,
    /// Never extend.
    pub disable_session_refresh: bool,
    /// `GET /get-session` writes nothing; `POST` does.
    pub defer_session_refresh: bool,
    /// Sensitive actions need a session younger than this many seconds. Default 86400; 0 = any.
    pub fresh_age: Option<i64>,
    /// The session as a signed cookie, so that most reads need no database.
    pub cookie_cache: CookieCacheSettings,
    /// Also in the database when there is secondary storage. Default false.
    pub store_session_in_database: Option<bool>,
    /// With the former: sessions that ended stay in the database, as ended. Default false.
    pub preserve_session_in_database: Option<bool>,
    /// Ours: how many sessions are remembered in memory (at most an eighth more), with SQLite and PostgreSQL.
    /// Default 10000; 0 = none.
    pub memory_cache_size: Option<usize>,
}

/// `session.cookieCache`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieCacheSettings {
    /// Default false; true when nothing is stored.
    pub enabled: Option<bool>,
    /// Seconds. Default 300.
    pub max_age: Option<i64>,
    /// `compact` (default), `jwt` or `jwe`.
    pub strategy: Option<String>,
    /// `true` or `{updateAge}`: renew the cookie without a database.
    pub refresh_cache: Option<Json>,
    /// Cookies of another version are not accepted.
    pub version: Option<Json>,
}

/// `session.cookieCache.refreshCache`, when it is a table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshCacheSettings {
    /// Renew the cookie when fewer seconds than this remain. Default a fifth of `maxAge`.
    pub update_age: Option<i64>,
}

/// `account`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountSettings {
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Column names in the database, by field.
    pub fields: BTreeMap<String, String>,
    /// Fields of the operator's own.
    pub additional_fields: AdditionalFields,
    /// `allowUnlinkingAll`; the rest belongs to social sign-in.
    pub account_linking: Option<AccountLinkingSettings>,
    /// Social sign-in; not part of this version.
    pub update_account_on_sign_in: Option<bool>,
    /// Social sign-in; not part of this version.
    #[serde(rename = "encryptOAuthTokens")]
    pub encrypt_oauth_tokens: Option<bool>,
    /// Social sign-in; not part of this version.
    pub store_state_strategy: Option<String>,
    /// Social sign-in; not part of this version.
    pub skip_state_cookie_check: Option<bool>,
    /// Social sign-in; not part of this version.
    pub store_account_cookie: Option<bool>,
}

/// `account.accountLinking`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountLinkingSettings {
    /// Social sign-in.
    pub enabled: Option<bool>,
    /// Social sign-in.
    pub disable_implicit_linking: Option<bool>,
    /// Social sign-in.
    pub trusted_providers: Option<Json>,
    /// Social sign-in.
    pub allow_different_emails: Option<bool>,
    /// A user may remove the last way to sign in.
    pub allow_unlinking_all: bool,
    /// Social sign-in.
    pub update_user_info_on_link: Option<bool>,
    /// Social sign-in.
    pub require_local_email_verified: Option<bool>,
}

/// `advanced`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvancedSettings {
    /// Where the client's address is read from.
    pub ip_address: IpAddressSettings,
    /// `__Secure-` and `Secure`; default: when `baseURL` is https.
    pub use_secure_cookies: Option<bool>,
    /// No `Origin` check.
    #[serde(rename = "disableCSRFCheck")]
    pub disable_csrf_check: Option<bool>,
    /// No check of `Origin` nor of callback URLs.
    pub disable_origin_check: Option<bool>,
    /// Cookies for all subdomains.
    pub cross_sub_domain_cookies: CrossSubDomainSettings,
    /// Name and attributes of single cookies.
    pub cookies: BTreeMap<String, CookieSettings>,
    /// Attributes of all cookies.
    pub default_cookie_attributes: CookieAttributes,
    /// Default `better-auth`.
    pub cookie_prefix: Option<String>,
    /// Ids.
    pub database: AdvancedDatabaseSettings,
    /// Believe `X-Forwarded-Host` and `X-Forwarded-Proto` for a base URL that is not set.
    pub trusted_proxy_headers: bool,
    /// A JavaScript function of hosts that end a process with its answer; there is nothing like it here.
    pub background_tasks: Option<Json>,
    /// A path may end with one slash; otherwise that is a 404. Default false.
    pub skip_trailing_slashes: Option<bool>,
}

/// `advanced.ipAddress`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct IpAddressSettings {
    /// Headers to look at, in order. Default `x-forwarded-for`.
    pub ip_address_headers: Option<Vec<String>>,
    /// Store no address.
    pub disable_ip_tracking: bool,
    /// Bits of an IPv6 address that count as one client. Default 64.
    pub ipv6_subnet: Option<u8>,
    /// Proxies (CIDR) whose entries in the header are believed, from the right.
    pub trusted_proxies: Vec<String>,
}

/// `advanced.crossSubDomainCookies`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CrossSubDomainSettings {
    /// Default false.
    pub enabled: bool,
    /// Better Auth's; accepted and unused there as here.
    pub additional_cookies: Option<Vec<String>>,
    /// Default: the host of `baseURL`.
    pub domain: Option<String>,
}

/// One of `advanced.cookies`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieSettings {
    /// Replaces prefix and key.
    pub name: Option<String>,
    /// Replace the defaults.
    pub attributes: CookieAttributes,
}

/// Cookie attributes; what is absent stays as it was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieAttributes {
    /// `Secure`.
    pub secure: Option<bool>,
    /// `HttpOnly`.
    pub http_only: Option<bool>,
    /// `lax`, `strict` or `none`.
    pub same_site: Option<String>,
    /// `Path`.
    pub path: Option<String>,
    /// `Domain`.
    pub domain: Option<String>,
    /// `Max-Age` in seconds.
    pub max_age: Option<i64>,
    /// `Partitioned`.
    pub partitioned: Option<bool>,
}

/// `advanced.database`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvancedDatabaseSettings {
    /// `"uuid"` or `"serial"`, or a function of `{model}`; without it 32 letters and digits.
    pub generate_id: Option<Json>,
    /// The same as a function of Rust.
    #[serde(skip)]
    pub id_function: Option<Callback>,
    /// Accepted: Better Auth's default page size.
    pub default_find_many_limit: Option<u64>,
    /// The old name of `generateId: "serial"`.
    pub use_number_id: Option<bool>,
    /// Better Auth's; a join is what a session read always is here.
    pub joins: Option<bool>,
    /// The old name of `joins`.
    pub experimental_joins: Option<bool>,
    /// Refuse to start while tables or columns are missing (matters with `migrate: false`).
    pub validate_schema: bool,
}

/// `rateLimit`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitSettings {
    /// Default: in production only.
    pub enabled: Option<bool>,
    /// Seconds after which a client's count of a path begins again. Default 10.
    pub window: Option<u32>,
    /// Requests to a path before the answer is 429. Default 100.
    pub max: Option<u32>,
    /// `memory` (each process counts for itself), `database` or `secondary-storage`. Default: the
    /// secondary storage when there is one, else memory.
    pub storage: Option<String>,
    /// The table's name in the database. Default `rateLimit`.
    pub model_name: Option<String>,
    /// Column names in the database, by field.
    pub fields: BTreeMap<String, String>,
    /// By path (`*` and `**` as in Better Auth): `{window, max}`, false for no limit, or a function.
    pub custom_rules: CustomRules,
    /// Functions that count, instead of `storage`.
    pub custom_storage: Option<RateLimitFunctions>,
}

/// `rateLimit.customRules`, in the order written: the first that matches decides.
#[derive(Debug, Clone, Default)]
pub struct CustomRules(pub Vec<(String, CustomRule)>);

/// One of `rateLimit.customRules`.
#[derive(Debug, Clone)]
pub enum CustomRule {
    /// `false`.
    Unlimited,
    /// `{window, max}`.
    Limit(RateLimit),
    /// Asked with `({method, path}, {window, max})`; answers as a rule is written, or null for no change.
    Asked(Callback),
}

impl<'de> Deserialize<'de> for CustomRules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let rule = |(path, rule): (String, Json)| {
            let wrong = |e: serde_json::Error| D::Error::custom(format!("{path}: {e}"));
            let rule = match rule {
                Json::Bool(false) => CustomRule::Unlimited,
                Json::Object(map) if map.contains_key("webhook") => {
                    CustomRule::Asked(serde_json::from_value(Json::Object(map)).map_err(wrong)?)
                }
                Json::Object(map) => {
                    CustomRule::Limit(serde_json::from_value(Json::Object(map)).map_err(wrong)?)
                }
                _ => {
                    return Err(D::Error::custom(format!(
                        "{path}: must be false, {{ window, max }} or {{ webhook }}"
                    )));
                }
            };
            Ok((path, rule))
        };
        Map::<String, Json>::deserialize(deserializer)?
            .into_iter()
            .map(rule)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Ours: `http`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSettings {
    /// Address to listen on. Default `127.0.0.1:4000`.
    pub listen: Option<String>,
    /// Largest request body in bytes. Default 1 MiB.
    pub max_body_bytes: Option<usize>,
    /// Seconds until a request is given up with 503. Default 30.
    pub timeout: Option<u64>,
    /// Answer browsers on trusted origins (CORS). Default true.
    pub cors: Option<bool>,
}

/// Ours: `passwordHash`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordHashSettings {
    /// `argon2id` (default), `scrypt` (Better Auth's) or `bcrypt`.
    pub algorithm: Option<String>,
    /// argon2id: KiB. Default 19456.
    pub memory_kib: Option<u32>,
    /// argon2id: passes. Default 2.
    pub time: Option<u32>,
    /// argon2id: lanes. Default 1.
    pub parallelism: Option<u32>,
    /// bcrypt: cost. Default 12, at least 10.
    pub cost: Option<u32>,
    /// Threads that hash. Default: one for each core; those beyond half of the cores stand back for whatever
    /// else the process does. (Half of the cores where the system is not Linux.)
    pub threads: Option<usize>,
    /// Hashes that may wait before the answer is 503. Default 64.
    pub queue: Option<usize>,
}

/// `onAPIError`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct OnApiErrorSettings {
    /// Where `/error` sends browsers.
    #[serde(rename = "errorURL")]
    pub error_url: Option<String>,
    /// Better Auth's; here an error is always an answer.
    pub throw: Option<bool>,
    /// Told `(error, context)` of what went wrong, beside the answer that is a 500.
    pub on_error: Option<Callback>,
    /// The default page is also shown in production when present.
    pub customize_default_error_page: Option<Json>,
}

/// In which surroundings the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine: localhost is trusted, a secret is made up.
    Development,
    /// For people: weak secrets are refused.
    Production,
    /// Under the runner's contract (a test-mode build with `TEST_CLOCK=1`): as `NODE_ENV=test`.
    Test,
}

/// How the session cookie cache is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStrategy {
    /// base64url JSON with an HMAC.
    Compact,
    /// An HS256 JWT.
    Jwt,
    /// An encrypted JWT.
    Jwe,
}

/// `session.cookieCache.version`.
#[derive(Debug, Clone)]
pub enum CacheVersion {
    /// A fixed text.
    Fixed(String),
    /// Asked with `(session, user)`.
    Asked(Callback),
}

/// The cookie cache, checked.
#[derive(Debug, Clone)]
pub struct CookieCache {
    /// Is it on?
    pub enabled: bool,
    /// Seconds.
    pub max_age: i64,
    /// Form.
    pub strategy: CacheStrategy,
    /// Renew without a database when fewer seconds than this remain.
    pub refresh_update_age: Option<i64>,
    /// Version.
    pub version: CacheVersion,
}

/// Sessions, checked.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Seconds.
    pub expires_in: i64,
    /// Seconds.
    pub update_age: i64,
    /// Seconds; 0 = never stale.
    pub fresh_age: i64,
    /// Never extend.
    pub disable_refresh: bool,
    /// `GET` writes nothing.
    pub defer_refresh: bool,
    /// Cookie cache.
    pub cache: CookieCache,
    /// Sessions that are remembered in memory.
    pub memory_cache_size: usize,
}

/// The public base URL, checked.
#[derive(Debug, Clone)]
pub enum BaseUrl {
    /// One URL (origin, and path if it has one).
    Fixed(Url),
    /// Of each request, if its host is among these.
    Dynamic {
        /// Host patterns.
        allowed_hosts: Vec<String>,
        /// When none matches.
        fallback: Option<Url>,
        /// `http`, `https`; `None` = as the request came.
        protocol: Option<String>,
    },
    /// Not set: the request's own origin.
    FromRequest,
}

/// Checked settings; immutable.
#[derive(Debug, Clone)]
pub struct Config {
    /// Surroundings.
    pub environment: Environment,
    /// Issuer shown in authenticator apps.
    pub app_name: String,
    /// Base URL.
    pub base_url: BaseUrl,
    /// The origin of `base_url` where it is one: its own, or the one when no host matches.
    pub(crate) origin: Option<String>,
    /// Begins with `/` and does not end with one (or is empty).
    pub base_path: String,
    /// Secrets.
    pub secrets: Secrets,
    /// `trustedOrigins` as written.
    pub trusted_origins: TrustedOrigins,
    /// How webhooks are called.
    pub webhooks: WebhookConfig,
    /// Neither database nor secondary storage: cookies carry the session, memory the rest.
    pub stateless: bool,
    /// Is the database nothing but this process's memory?
    pub in_memory: bool,
    /// Where sessions are.
    pub sessions: Kept,
    /// Sessions that ended stay in the database.
    pub preserve_sessions: bool,
    /// Where verifications are.
    pub verifications: Kept,
    /// Sessions.
    pub session: SessionConfig,
    /// Shortest password, UTF-16 units.
    pub min_password_length: usize,
    /// Longest password, UTF-16 units.
    pub max_password_length: usize,
    /// Hash of new passwords.
    pub hash: HashKind,
    /// Hash threads.
    pub hash_threads: usize,
    /// So many of them go on beside requests; the others wait for processor time that nobody else wants.
    pub prompt_hash_threads: usize,
    /// Hash queue.
    pub hash_queue: usize,
    /// Mail.
    pub mail: MailConfig,
    /// Largest body.
    pub max_body_bytes: usize,
    /// CORS for trusted origins.
    pub cors: bool,
    /// `Secure` cookies.
    pub secure_cookies: bool,
    /// `Domain` of all cookies.
    pub cookie_domain: Option<String>,
    /// No `Origin` check.
    pub skip_csrf: bool,
    /// No check of callback URLs.
    pub skip_origin: bool,
    /// The settings it was made from, for sections that need no checking.
    pub settings: Settings,
    /// What the operator should know, said once at start.
    pub warnings: Vec<String>,
}

const DEFAULT_SECRETS: &[&str] =
    &["better-auth-secret-12345678901234567890", "better-auth-secret-123456789", "secret", "changeme"];

impl Config {
    /// Checks settings. Nothing is read from outside.
    pub fn check(settings: Settings, environment: Environment) -> Result<Self, ConfigError> {
        let mut warnings = Vec::new();
        let test = environment == Environment::Test;
        let base_url = match &settings.base_url {
            // Links in mails would point wherever the request's Host header says.
            None if environment == Environment::Production => {
                return Err(ConfigError::new(
                    "baseURL",
                    "is missing; in production write the public URL, e.g. https://auth.example.com",
                ));
            }
            None => BaseUrl::FromRequest,
            Some(BaseUrlSettings::Fixed(text)) => BaseUrl::Fixed(http_url("baseURL", text)?),
            Some(BaseUrlSettings::Dynamic { allowed_hosts, fallback, protocol }) => {
                if !matches!(protocol.as_deref(), None | Some("http" | "https" | "auto")) {
                    return Err(ConfigError::new("baseURL.protocol", "must be `http`, `https` or `auto`"));
                }
                BaseUrl::Dynamic {
                    allowed_hosts: allowed_hosts.clone(),
                    fallback: fallback
                        .as_deref()
                        .map(|text| http_url("baseURL.fallback", text))
                        .transpose()?,
                    protocol: protocol.clone().filter(|p| p != "auto"),
                }
            }
        };
        let base_path = {
            // A base URL that already has a path keeps it (better-auth 1.7.6 utils/url).
            let own = match &base_url {
                BaseUrl::Fixed(url) => url.path().trim_end_matches('/').to_owned(),
                _ => String::new(),
            };
            let path = if own.is_empty() {
                settings.base_path.clone().unwrap_or_else(|| "/api/auth".into())
            } else {
                own
            };
            let path = path.trim_end_matches('/').to_owned();
            if !path.is_empty() && !path.starts_with('/') {
                return Err(ConfigError::new("basePath", "must start with `/`"));
            }
            path
        };
        let origin = match &base_url {
            BaseUrl::Fixed(url) | BaseUrl::Dynamic { fallback: Some(url), .. } => {
                Some(url.origin().ascii_serialization())
            }
            BaseUrl::Dynamic { fallback: None, .. } | BaseUrl::FromRequest => None,
        };
        let https = matches!(&base_url, BaseUrl::Fixed(url) if url.scheme() == "https");
        let protocol = match &base_url {
            BaseUrl::Dynamic { protocol, .. } => protocol.as_deref(),
            _ => None,
        };
        let fallback = match &base_url {
            BaseUrl::Dynamic { fallback: Some(url), .. } => url.scheme() == "https",
            _ => false,
        };
        let secrets = secrets(&settings, environment, https || fallback || protocol == Some("https"))?;
        let secure_cookies = settings.advanced.use_secure_cookies.unwrap_or(match (&base_url, protocol) {
            (_, Some(protocol)) => protocol == "https",
            (BaseUrl::Fixed(_), _) => https,
            _ => environment == Environment::Production,
        });
        sanity::check(&settings, environment, secure_cookies)?;
        operations::check(&settings.purge, &settings.telemetry)?;
        let cookie_domain = cookie_domain(&settings, &base_url)?;
        // better-auth 1.7.6 create-context: origin checks are off under NODE_ENV=test unless asked for.
        let disable_origin = settings.advanced.disable_origin_check;
        let skip_origin = disable_origin.unwrap_or(test);
        let skip_csrf = settings.advanced.disable_csrf_check.unwrap_or(skip_origin);

        let in_memory = settings.database.as_ref().is_none_or(|database| database.url.is_none());
        let stateless = in_memory && settings.secondary_storage.is_none();
        let kept = |also: Option<bool>| match (&settings.secondary_storage, also) {
            (None, _) => Kept::Database,
            (Some(_), Some(true)) => Kept::Both,
            (Some(_), _) => Kept::Secondary,
        };
        let sessions = kept(settings.session.store_session_in_database);
        let verifications = kept(settings.verification.store_in_database);
        let preserve_sessions =
            sessions == Kept::Both && settings.session.preserve_session_in_database == Some(true);
        secondary_storage(&settings, in_memory, test, &mut warnings)?;
        let session = session(&settings, stateless)?;
        let refreshes = settings.session.cookie_cache.refresh_cache.as_ref();
        if !stateless && refreshes.is_some_and(|written| *written != Json::Bool(false)) {
            warnings.push(
                "session.cookieCache.refreshCache: says nothing where sessions are stored; it is for neither \
                 database nor secondaryStorage"
                    .into(),
            );
        }
        let hash = hash_kind(&settings.password_hash)?;
        let passwords = &settings.email_and_password;
        let min_password_length = passwords.min_password_length.unwrap_or(8);
        let max_password_length = passwords.max_password_length.unwrap_or(128);
        if min_password_length > max_password_length {
            return Err(ConfigError::new(
                "emailAndPassword.minPasswordLength",
                format!("is above emailAndPassword.maxPasswordLength ({max_password_length})"),
            ));
        }
        passwords.password_policy.check()?;
        not_yet(&settings, test, &mut warnings)?;
        let webhooks = settings.webhooks.check()?;
        let app_name = settings.app_name.clone().unwrap_or_else(|| "Better Auth".into());
        // `Better Auth` would mean nothing to who gets a mail.
        let brand = match (&settings.app_name, &base_url) {
            (None, BaseUrl::Fixed(url)) => url.host_str().unwrap_or(&app_name),
            _ => &app_name,
        };
        let mail = MailConfig::check(&settings, environment, brand)?;
        if settings.advanced.background_tasks.is_some() {
            let problem = "is for hosts that end a process with its answer; Portcullis goes on running and \
                           does what comes after an answer by itself; remove it";
            if !test {
                return Err(ConfigError::new("advanced.backgroundTasks", problem));
            }
            warnings.push(format!("advanced.backgroundTasks: {problem}"));
        }
        let cores = cores();
        let prompt_hash_threads = (cores / 2).max(1);
        // Elsewhere threads cannot stand back one by one (`crypto/password.rs`).
        let hash_threads = if cfg!(target_os = "linux") { cores } else { prompt_hash_threads };
        Ok(Self {
            origin,
            environment,
            app_name,
            mail,
            base_url,
            base_path,
            secrets,
            trusted_origins: settings.trusted_origins.clone().unwrap_or_default(),
            webhooks,
            stateless,
            in_memory,
            sessions,
            preserve_sessions,
            verifications,
            session,
            min_password_length,
            max_password_length,
            hash,
            hash_threads: settings.password_hash.threads.unwrap_or(hash_threads).max(1),
            prompt_hash_threads,
            hash_queue: settings.password_hash.queue.unwrap_or(64),
            max_body_bytes: settings.http.max_body_bytes.unwrap_or(1 << 20),
            // Better Auth has none, and answers are compared with its.
            cors: settings.http.cors.unwrap_or(!test),
            secure_cookies,
            cookie_domain,
            skip_csrf,
            skip_origin,
            settings,
            warnings,
        })
    }
}

/// The cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Options of Better Auth that this version does not have yet: refused, so that nobody believes they
/// work. Under the test contract they are only warned about, because upstream's test fixtures always
/// carry some.
fn not_yet(settings: &Settings, test: bool, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let user = &settings.user;
    let account = &settings.account;
    let verification = &settings.verification;
    let fields = |fields: &AdditionalFields| {
        fields.0.iter().any(|(_, f)| {
            f.transform.as_ref().is_some_and(|both| both.output.is_some())
                || f.validator.as_ref().is_some_and(|both| both.output.is_some())
        })
    };
    let linking = account.account_linking.as_ref().is_some_and(|linking| {
        linking.enabled.is_some()
            || linking.disable_implicit_linking.is_some()
            || linking.trusted_providers.is_some()
            || linking.allow_different_emails.is_some()
            || linking.update_user_info_on_link.is_some()
            || linking.require_local_email_verified.is_some()
    });
    let candidates: &[(&str, bool)] = &[
        ("socialProviders", settings.social_providers.is_some()),
        ("hooks", settings.hooks.is_some()),
        (
            "additionalFields.*.transform.output, validator.output",
            [
                &user.additional_fields,
                &settings.session.additional_fields,
                &account.additional_fields,
                &verification.additional_fields,
            ]
            .into_iter()
            .any(fields),
        ),
        ("account.updateAccountOnSignIn", account.update_account_on_sign_in.is_some()),
        ("account.encryptOAuthTokens", account.encrypt_oauth_tokens.is_some()),
        ("account.storeStateStrategy", account.store_state_strategy.is_some()),
        ("account.skipStateCookieCheck", account.skip_state_cookie_check.is_some()),
        ("account.storeAccountCookie", account.store_account_cookie.is_some()),
        ("account.accountLinking (other than allowUnlinkingAll)", linking),
    ];
    for (key, present) in candidates {
        if !present {
            continue;
        }
        let problem = "is an option of Better Auth that this version of Portcullis does not have yet; remove it to start without";
        if !test {
            return Err(ConfigError::new(*key, problem));
        }
        warnings.push(format!("{key}: {problem}"));
    }
    Ok(())
}

/// What goes with a secondary storage, and what cannot be without one.
fn secondary_storage(
    settings: &Settings,
    in_memory: bool,
    test: bool,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let limits = &settings.rate_limit;
    let Some(storage) = &settings.secondary_storage else {
        for (key, present) in [
            ("session.storeSessionInDatabase", settings.session.store_session_in_database),
            ("session.preserveSessionInDatabase", settings.session.preserve_session_in_database),
            ("verification.storeInDatabase", settings.verification.store_in_database),
        ] {
            if present.is_some() {
                warnings.push(format!("{key}: says nothing without secondaryStorage"));
            }
        }
        if limits.storage.as_deref() == Some("secondary-storage")
            && limits.custom_storage.is_none()
            && limits.enabled != Some(false)
        {
            return Err(ConfigError::new(
                "rateLimit.storage",
                "is `secondary-storage`, but there is no secondaryStorage; add it, or use `memory` or `database`",
            ));
        }
        return Ok(());
    };
    if in_memory {
        warnings.push(
            "database: is missing, so users are in the memory of this process and gone with it; \
             secondaryStorage has only sessions, verifications and rate limits"
                .into(),
        );
    }
    if let SecondaryStorageSettings::Functions(functions) = storage {
        let counts = limits.custom_storage.is_none()
            && matches!(limits.storage.as_deref(), None | Some("secondary-storage"));
        if functions.increment.is_none() && counts && limits.enabled != Some(false) {
            let problem = "is missing, and rate limits cannot be counted without it; add it, or set \
                           rateLimit.storage to `memory` or `database`";
            // Upstream's test files have storages without it, and limits that are off.
            if !test {
                return Err(ConfigError::new("secondaryStorage.increment", problem));
            }
            warnings.push(format!("secondaryStorage.increment: {problem}"));
        }
        if functions.get_and_delete.is_none() && settings.verification.store_in_database != Some(true) {
            warnings.push(
                "secondaryStorage.getAndDelete: is missing, so single-use values are single-use only \
                 within one process; add it, or set verification.storeInDatabase, before you run several"
                    .into(),
            );
        }
    }
    Ok(())
}

fn http_url(key: &str, text: &str) -> Result<Url, ConfigError> {
    let wrong = |why: String| ConfigError::new(key, format!("must be an http or https URL: {why}"));
    let url = Url::parse(text).map_err(|e| wrong(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(format!("`{}` is neither", url.scheme())));
    }
    Ok(url)
}

fn secrets(settings: &Settings, environment: Environment, https: bool) -> Result<Secrets, ConfigError> {
    let strict = environment == Environment::Production || https && environment != Environment::Test;
    let check = |key: &str, value: &str| {
        let how = "make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET";
        if value.is_empty() {
            return Err(ConfigError::new(key, format!("is empty; {how}")));
        }
        if strict && is_weak(value) {
            return Err(ConfigError::new(
                key,
                format!(
                    "is a default or too weak (it needs 32 random characters) for production or an https baseURL; {how}"
                ),
            ));
        }
        Ok(())
    };
    if let Some(list) = &settings.secrets {
        if list.is_empty() {
            return Err(ConfigError::new("secrets", "is an empty list"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (index, one) in list.iter().enumerate() {
            check(&format!("secrets.{index}.value"), &one.value)?;
            if !seen.insert(one.version) {
                return Err(ConfigError::new(format!("secrets.{index}.version"), "stands there twice"));
            }
        }
        if let Some(legacy) = &settings.secret {
            check("secret", legacy)?;
        }
        let versions = list.iter().map(|one| (one.version, Secret::new(one.value.clone()))).collect();
        return Secrets::versioned(versions, settings.secret.clone().map(Secret::new))
            .map_err(|e| ConfigError::new("secrets", e.to_string()));
    }
    match &settings.secret {
        Some(secret) => {
            check("secret", secret)?;
            Ok(Secrets::single(Secret::new(secret.clone())))
        }
        None => Err(ConfigError::new(
            "secret",
            "is missing; make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET",
        )),
    }
}

/// Could somebody guess it? Known ones, short ones, few letters, one text over and over, a row of the
/// alphabet. A random secret of 32 characters is none of these.
pub fn is_weak(secret: &str) -> bool {
    let letters: Vec<char> = secret.chars().collect();
    let distinct = letters.iter().collect::<std::collections::BTreeSet<_>>().len();
    let repeats = (1..=letters.len() / 2)
        .any(|period| letters.iter().zip(letters.iter().skip(period)).all(|(a, b)| a == b));
    let next = letters
        .iter()
        .zip(letters.iter().skip(1))
        .filter(|(a, b)| (**b as u32).abs_diff(**a as u32) == 1)
        .count();
    DEFAULT_SECRETS.contains(&secret)
        || letters.len() < 32
        || distinct < 10
        || repeats
        || next > letters.len() / 2
}

fn cookie_domain(settings: &Settings, base_url: &BaseUrl) -> Result<Option<String>, ConfigError> {
    let cross = &settings.advanced.cross_sub_domain_cookies;
    if !cross.enabled {
        return Ok(None);
    }
    match (&cross.domain, base_url) {
        (Some(domain), _) => Ok(Some(domain.clone())),
        (None, BaseUrl::Fixed(url)) => Ok(url.host_str().map(str::to_owned)),
        (None, BaseUrl::Dynamic { .. }) => Ok(None),
        (None, BaseUrl::FromRequest) => Err(ConfigError::new(
            "advanced.crossSubDomainCookies",
            "needs `domain` beside it, or a `baseURL` to take the domain from",
        )),
    }
}

fn session(settings: &Settings, stateless: bool) -> Result<SessionConfig, ConfigError> {
    let session = &settings.session;
    let cache = &session.cookie_cache;
    let expires_in = session.expires_in.unwrap_or(604_800);
    if expires_in <= 0 {
        return Err(ConfigError::new("session.expiresIn", "must be a positive number of seconds"));
    }
    if expires_in > 34_560_000 {
        // RFC 6265bis: browsers cap Max-Age at 400 days; better-call refuses more.
        return Err(ConfigError::new(
            "session.expiresIn",
            "must be at most 34560000 (400 days), the longest life of a cookie",
        ));
    }
    let strategy = match cache.strategy.as_deref() {
        None if stateless => CacheStrategy::Jwe,
        None | Some("compact") => CacheStrategy::Compact,
        Some("jwt") => CacheStrategy::Jwt,
        Some("jwe") => CacheStrategy::Jwe,
        Some(_) => {
            return Err(ConfigError::new(
                "session.cookieCache.strategy",
                "must be `compact`, `jwt` or `jwe`",
            ));
        }
    };
    let max_age = cache.max_age.unwrap_or(if stateless { expires_in } else { 300 });
    if max_age <= 0 {
        return Err(ConfigError::new("session.cookieCache.maxAge", "must be a positive number of seconds"));
    }
    // Better Auth: refreshCache works only where nothing is stored; a fifth of maxAge by default.
    let fifth = max_age / 5;
    let refresh_update_age = match &cache.refresh_cache {
        None => stateless.then_some(fifth),
        Some(Json::Bool(false)) => None,
        Some(Json::Bool(true)) => stateless.then_some(fifth),
        Some(other) => {
            let written: RefreshCacheSettings = read("session.cookieCache.refreshCache", other.clone())?;
            stateless.then(|| written.update_age.unwrap_or(fifth))
        }
    };
    let version = match &cache.version {
        None => CacheVersion::Fixed("1".into()),
        Some(Json::String(text)) => CacheVersion::Fixed(text.clone()),
        Some(other) => CacheVersion::Asked(read("session.cookieCache.version", other.clone())?),
    };
    Ok(SessionConfig {
        expires_in,
        update_age: session.update_age.unwrap_or(86_400),
        fresh_age: session.fresh_age.unwrap_or(86_400),
        disable_refresh: session.disable_session_refresh,
        defer_refresh: session.defer_session_refresh,
        memory_cache_size: session.memory_cache_size.unwrap_or(10_000),
        cache: CookieCache {
            enabled: cache.enabled.unwrap_or(stateless),
            max_age,
            strategy,
            refresh_update_age,
            version,
        },
    })
}

fn hash_kind(settings: &PasswordHashSettings) -> Result<HashKind, ConfigError> {
    match settings.algorithm.as_deref() {
        None | Some("argon2id") => HashKind::argon2id(
            settings.memory_kib.unwrap_or(19_456),
            settings.time.unwrap_or(2),
            settings.parallelism.unwrap_or(1),
        )
        .map_err(|e| ConfigError::new("passwordHash", e.to_string())),
        Some("scrypt") => Ok(HashKind::Scrypt),
        Some("bcrypt") => HashKind::bcrypt(settings.cost.unwrap_or(12))
            .map_err(|e| ConfigError::new("passwordHash.cost", e.to_string())),
        Some(_) => {
            Err(ConfigError::new("passwordHash.algorithm", "must be `argon2id`, `scrypt` or `bcrypt`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GOOD: &str = "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4";

    fn check_as(environment: Environment, mut settings: Json) -> Result<Config, String> {
        if settings.get("secret").is_none() && settings.get("secrets").is_none() {
            settings["secret"] = json!(GOOD);
        }
        read::<Settings>("", settings)
            .and_then(|settings| Config::check(settings, environment))
            .map_err(|error| error.to_string())
    }

    fn check(settings: Json) -> Result<Config, String> {
        check_as(Environment::Development, settings)
    }

    fn problem(settings: Json) -> String {
        check(settings).expect_err("must be refused")
    }

    #[test]
    fn a_validator_may_say_which_library_it_is_of() {
        let own = json!({ "webhook": "http://127.0.0.1:1/" });
        let standard = json!({ "version": 1, "vendor": "zod", "validate": own });
        let field = json!({ "type": "string", "validator": { "input": { "~standard": standard } } });
        check(json!({"user": {"additionalFields": {"code": field}}})).unwrap();
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        assert_eq!(
            problem(json!({"emailAndPassword": {"minPaswordLength": 9}})),
            "emailAndPassword.minPaswordLength: unknown option; did you mean `minPasswordLength`?"
        );
        assert_eq!(
            problem(json!({"user": {"changeEmail": {"enable": true}}})),
            "user.changeEmail.enable: unknown option; did you mean `enabled`?"
        );
        assert_eq!(
            problem(json!({"user": {"deleteUser": {"enabled": true, "afterDeletion": {}}}})),
            "user.deleteUser.afterDeletion: unknown option; did you mean `afterDelete`?"
        );
        assert_eq!(problem(json!({"baseurl": "x"})), "baseurl: unknown option; did you mean `baseURL`?");
        let fields = json!({ "age": { "type": "number" }, "name": { "type": "string", "requierd": true } });
        assert_eq!(
            problem(json!({"user": {"additionalFields": fields}})),
            "user.additionalFields.name.requierd: unknown option; did you mean `required`?"
        );
        assert_eq!(
            problem(json!({"session": {"cookieCache": {"maxage": 3}}})),
            "session.cookieCache.maxage: unknown option; did you mean `maxAge`?"
        );
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let text = problem(json!({"session": {"expiresIn": "7d"}}));
        assert!(text.starts_with("session.expiresIn: invalid type: string \"7d\""), "{text}");
    }

    #[test]
    fn weak_secrets_are_refused_for_https_and_in_production_and_never_shown() {
        for weak in
            ["better-auth-secret-12345678901234567890", "short", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            assert!(check(json!({"secret": weak})).is_ok(), "development takes {weak}");
            let https = problem(json!({"secret": weak, "baseURL": "https://auth.example.com"}));
            let production =
                check_as(Environment::Production, json!({"secret": weak, "baseURL": "http://auth.internal"}))
                    .expect_err("must be refused");
            for text in [https, production] {
                assert!(text.starts_with("secret: is a default or too weak"), "{text}");
                assert!(!text.contains(weak), "{text}");
            }
        }
        assert!(check(json!({"baseURL": "https://auth.example.com"})).is_ok());
        assert!(problem(json!({"secret": ""})).starts_with("secret: is empty"));
        assert!(
            problem(json!({"secrets": [{"version": 1, "value": GOOD}, {"version": 1, "value": GOOD}]}))
                .starts_with("secrets.1.version")
        );
    }

    #[test]
    fn production_needs_to_know_its_own_url() {
        let text = check_as(Environment::Production, json!({})).expect_err("must be refused");
        assert!(text.starts_with("baseURL: is missing"), "{text}");
    }

    #[test]
    fn a_base_url_with_a_path_keeps_it() {
        let config = check(json!({"baseURL": "http://localhost:3000/auth/", "basePath": "/other"})).unwrap();
        assert_eq!(config.base_path, "/auth");
        assert_eq!(check(json!({"baseURL": "http://localhost:3000"})).unwrap().base_path, "/api/auth");
        assert!(problem(json!({"baseURL": "ftp://x"})).starts_with("baseURL: must be an http or https URL"));
        assert!(problem(json!({"basePath": "api"})).starts_with("basePath: must start with"));
    }

    #[test]
    fn secure_cookies_follow_the_base_url() {
        assert!(check(json!({"baseURL": "https://a.example"})).unwrap().secure_cookies);
        assert!(!check(json!({"baseURL": "http://a.example"})).unwrap().secure_cookies);
        assert!(
            check(json!({"baseURL": "http://a.example", "advanced": {"useSecureCookies": true}}))
                .unwrap()
                .secure_cookies
        );
        let dynamic = json!({"baseURL": {"allowedHosts": ["a.example"], "protocol": "https"}});
        assert!(check(dynamic).unwrap().secure_cookies);
    }

    #[test]
    fn what_this_version_lacks_is_refused_and_only_warned_about_under_test() {
        let google = json!({"socialProviders": {"google": {"clientId": "x"}}});
        assert!(problem(google.clone()).starts_with("socialProviders: is an option of Better Auth"));
        let config = check_as(Environment::Test, google).unwrap();
        assert_eq!(config.warnings.len(), 1);
        assert!(check(json!({"rateLimit": {"enabled": true, "storage": "database"}})).is_ok());
        assert!(problem(json!({"rateLimit": {"maximum": 3}})).starts_with("rateLimit.maximum: unknown"));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for (settings, key) in [
            (json!({"session": {"expiresIn": 0}}), "session.expiresIn"),
            (json!({"session": {"freshAge": -1}}), "session.freshAge"),
            (
                json!({"session": {"cookieCache": {"maxAge": 99_999_999_999_i64}}}),
                "session.cookieCache.maxAge",
            ),
            (
                json!({"session": {"cookieCache": {"refreshCache": {"updateAg": 3}}}}),
                "session.cookieCache.refreshCache.updateAg",
            ),
            (json!({"passwordHash": {"cost": 12}}), "passwordHash.cost"),
            (json!({"http": {"maxBodyBytes": 0}}), "http.maxBodyBytes"),
            (json!({"basePath": "/a/{x}/*y"}), "basePath"),
            (json!({"disabledPaths": ["sign-up/email"]}), "disabledPaths"),
            (
                json!({"advanced": {"cookies": {"session_tokn": {}}}}),
                "advanced.cookies.session_tokn: unknown cookie; did you mean `session_token`?",
            ),
            (json!({"advanced": {"cookiePrefix": "a b;"}}), "advanced.cookiePrefix"),
            (
                json!({"advanced": {"defaultCookieAttributes": {"sameSite": "sometimes"}}}),
                "advanced.defaultCookieAttributes.sameSite",
            ),
            (
                json!({"advanced": {"defaultCookieAttributes": {"sameSite": "none"}}}),
                "advanced.defaultCookieAttributes.sameSite",
            ),
            (
                json!({"advanced": {"crossSubDomainCookies": {"enabled": true, "domain": "a;b"}}}),
                "advanced.crossSubDomainCookies.domain",
            ),
            (
                json!({"advanced": {"ipAddress": {"ipAddressHeaders": ["bad header"]}}}),
                "advanced.ipAddress.ipAddressHeaders",
            ),
            (
                json!({"user": {"additionalFields": {"email": {"type": "string"}}}}),
                "user.additionalFields.email",
            ),
            (json!({"user": {"additionalFields": {"nick": {"typ": "string"}}}}), "user.additionalFields"),
            (json!({"account": {"accountLinking": {"enabled": false}}}), "account.accountLinking"),
            (json!({"trustedOrigins": "https://a.b"}), "trustedOrigins"),
            (json!({"session": {"expiresIn": 34_560_001}}), "session.expiresIn"),
            (json!({"session": {"cookieCache": {"maxAge": -1}}}), "session.cookieCache.maxAge"),
            (json!({"session": {"cookieCache": {"strategy": "jwx"}}}), "session.cookieCache.strategy"),
            (json!({"emailAndPassword": {"minPasswordLength": 200}}), "emailAndPassword.minPasswordLength"),
            (
                json!({"emailAndPassword": {"passwordPolicy": {"minClasses": 5}}}),
                "emailAndPassword.passwordPolicy.minClasses",
            ),
            (
                json!({"emailAndPassword": {"passwordPolicy": {"rejectComon": true}}}),
                "emailAndPassword.passwordPolicy.rejectComon: unknown option; did you mean `rejectCommon`?",
            ),
            (json!({"passwordHash": {"memoryKib": 1024}}), "passwordHash"),
            (json!({"passwordHash": {"algorithm": "bcrypt", "cost": 9}}), "passwordHash.cost"),
            (json!({"passwordHash": {"algorithm": "md5"}}), "passwordHash.algorithm"),
            (
                json!({"advanced": {"crossSubDomainCookies": {"enabled": true}}}),
                "advanced.crossSubDomainCookies",
            ),
        ] {
            let text = problem(settings);
            assert!(text.starts_with(key), "{text}");
        }
    }

    #[test]
    fn origin_checks_are_off_only_under_test_or_when_asked() {
        let skips = |environment, settings| {
            let config = check_as(environment, settings).unwrap();
            (config.skip_origin, config.skip_csrf)
        };
        assert_eq!(skips(Environment::Development, json!({})), (false, false));
        assert_eq!(skips(Environment::Test, json!({})), (true, true));
        assert_eq!(
            skips(Environment::Test, json!({"advanced": {"disableOriginCheck": false}})),
            (false, false)
        );
        assert_eq!(
            skips(
                Environment::Development,
                json!({"advanced": {"disableOriginCheck": true, "disableCSRFCheck": false}})
            ),
            (true, false)
        );
    }
}
