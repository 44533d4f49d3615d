//! `plugins.jwt`: as written, and checked.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::config::{
    CacheStrategy, Config, ConfigError, Environment, TableNames, is_weak, nearest,
};
use portcullis_core::crypto::{Algorithm, Secret};
use portcullis_core::error::Error;
use portcullis_core::hooks::Callback;
use portcullis_core::identity::{SessionUser, User};
use portcullis_core::store::Schema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::span;
use super::store::Jwk;

/// `plugins.jwt`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// `HS256`: tokens are signed with `secret`, which every service has that verifies them. Ours.
    pub algorithm: Option<String>,
    /// The shared secret of `HS256`; at least 32 bytes. Ours.
    pub secret: Option<Secret>,
    /// `set-auth-jwt` at sign-in already. Ours.
    pub issue_on_sign_in: bool,
    /// The keys.
    pub jwks: JwksOptions,
    /// The tokens.
    pub jwt: TokenOptions,
    /// No `set-auth-jwt` on `/get-session`.
    pub disable_setting_jwt_header: bool,
    /// Sign the session cookie cache with these keys; needs `session.cookieCache.strategy = "jwt"`.
    pub session_cookie_cache: bool,
    /// Keys kept elsewhere.
    pub adapter: AdapterOptions,
    /// Names in the database.
    pub schema: SchemaOptions,
}

/// `plugins.jwt.jwks`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct JwksOptions {
    /// The kind of key that signs. Default EdDSA with Ed25519.
    pub key_pair_config: Option<KeyPairOptions>,
    /// Further kinds, made when first asked for by name.
    pub key_pair_configs: Vec<KeyPairOptions>,
    /// Seconds for which a key signs; 0 or absent: for good.
    pub rotation_interval: Option<i64>,
    /// Seconds for which a key is published after its last signature. Default 2592000.
    pub grace_period: Option<i64>,
    /// Private keys are stored as they are.
    pub disable_private_key_encryption: bool,
    /// The keys are published elsewhere: `/jwks` is a 404.
    pub remote_url: Option<String>,
    /// Where the keys are published. Default `/jwks`.
    pub jwks_path: Option<String>,
}

/// One of `keyPairConfig`, `keyPairConfigs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPairOptions {
    /// `EdDSA`, `ES256`, `ES512`, `PS256`, `RS256`.
    pub alg: String,
    /// The algorithm's own curve, if said at all.
    pub crv: Option<String>,
    /// RSA: 2048 (default), 3072, 4096 or 8192.
    pub modulus_length: Option<u32>,
}

/// `plugins.jwt.jwt`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenOptions {
    /// `iss`. Default: the origin.
    pub issuer: Option<String>,
    /// `aud`: a text or a list. Default: the origin.
    pub audience: Option<Json>,
    /// `exp`: a time span after `iat` (`"15m"`, the default), or a fixed time.
    pub expiration_time: Option<Json>,
    /// The claims. Default: the user.
    pub define_payload: Option<Payload>,
    /// `(session)` gives `sub`. Default: the user's id.
    pub get_subject: Option<Callback>,
    /// `(claims, header, {signingKeyId, signingAlgorithm})` gives the token.
    pub sign: Option<Callback>,
}

/// Says what tokens say, in Rust.
#[async_trait]
pub trait DefinePayload: Send + Sync {
    /// The claims of a token for the holder of this session; `iat`, `exp`, `iss`, `aud` and `sub` are added
    /// where they are not among them (`sub` always).
    ///
    /// # Errors
    /// A refusal is the answer; what breaks is a 500 at `/token`, and no header elsewhere.
    async fn define_payload(&self, auth: &Auth, current: &SessionUser) -> Result<Map<String, Json>, Error>;
}

/// `plugins.jwt.jwt.definePayload`.
#[derive(Clone)]
pub enum Payload {
    /// Gives them.
    Trait(Arc<dyn DefinePayload>),
    /// `(session)` gives them.
    Callback(Callback),
    /// Fields of the user by name, and `sid`: the session's id. Ours.
    Claims(Vec<String>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trait(_) => f.write_str("Payload::Trait"),
            Self::Callback(callback) => callback.fmt(f),
            Self::Claims(names) => names.fmt(f),
        }
    }
}

impl From<Callback> for Payload {
    fn from(callback: Callback) -> Self {
        Self::Callback(callback)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            list @ Json::Array(_) => serde_json::from_value(list).map(Self::Claims),
            object @ Json::Object(_) => serde_json::from_value(object).map(Self::Callback),
            _ => Err(serde::de::Error::custom("must be a list of claims, or `{ webhook = \"…\" }`")),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl TokenOptions {
    /// Have functions of the operator's a say in each token?
    pub(super) fn asks(&self) -> bool {
        let defines = matches!(self.define_payload, Some(Payload::Callback(_) | Payload::Trait(_)));
        defines || self.get_subject.is_some() || self.sign.is_some()
    }
}

/// `plugins.jwt.adapter`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AdapterOptions {
    /// `(ctx)` gives all keys.
    pub get_jwks: Option<Callback>,
    /// `(key, ctx)` keeps a new key and gives it back with its id.
    pub create_jwk: Option<Callback>,
}

/// `plugins.jwt.schema`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaOptions {
    /// The table.
    pub jwks: TableNames,
}

/// The claim of the session's id (OpenID Connect Front-Channel Logout 1.0 §3), among names of `definePayload`.
pub(super) const SESSION_ID: &str = "sid";

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyKind {
    pub alg: Algorithm,
    pub modulus_bits: Option<u32>,
}

/// `expirationTime`, checked.
#[derive(Debug, Clone)]
pub(super) enum Expiry {
    /// Seconds after `iat`.
    After(i64),
    /// This `exp`.
    At(Json),
}

impl Expiry {
    /// For how many seconds `set-auth-jwt` may give the same token again: a sixtieth of its lifetime, and not
    /// longer than services look back that want tokens to be young.
    pub fn reuse(&self) -> i64 {
        match self {
            Self::After(seconds) => (seconds / 60).min(15),
            Self::At(_) => 0,
        }
    }
}

/// The options, checked.
#[derive(Debug)]
pub(super) struct Rules {
    pub primary: KeyKind,
    pub others: Vec<KeyKind>,
    /// `crv` as written: shown for rows without one.
    pub crv: Option<String>,
    pub expiry: Expiry,
    pub jwks_path: String,
    pub rotation: Option<i64>,
    pub grace: i64,
    /// The secret of HS256, in place of all keys.
    pub shared: Option<Secret>,
    pub written: Options,
}

/// What HS256 needs (RFC 7518 §3.2: a key of the hash's size or larger).
const SECRET_BYTES: usize = 32;

fn wrong(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::new(format!("plugins.jwt.{key}"), problem)
}

impl KeyKind {
    fn read(key: &str, options: &KeyPairOptions) -> Result<Self, ConfigError> {
        let alg: Algorithm = options.alg.parse().map_err(|_| {
            wrong(&format!("{key}.alg"), "must be `EdDSA`, `ES256`, `ES512`, `PS256` or `RS256`")
        })?;
        if options.crv.is_some() && options.crv.as_deref() != alg.curve() {
            let problem = match alg.curve() {
                Some(curve) => format!("{alg} has the curve `{curve}`"),
                None => format!("{alg} has no curve; remove it"),
            };
            return Err(wrong(&format!("{key}.crv"), problem));
        }
        let rsa = matches!(alg, Algorithm::PS256 | Algorithm::RS256);
        match options.modulus_length {
            None => {}
            Some(2048 | 3072 | 4096 | 8192) if rsa => {}
            Some(_) if rsa => {
                return Err(wrong(&format!("{key}.modulusLength"), "must be 2048, 3072, 4096 or 8192"));
            }
            Some(_) => return Err(wrong(&format!("{key}.modulusLength"), format!("{alg} has none"))),
        }
        Ok(Self { alg, modulus_bits: options.modulus_length })
    }
}

impl Rules {
    pub fn read(written: Options) -> Result<Self, ConfigError> {
        let shared = shared(&written)?;
        let jwks = &written.jwks;
        if written.jwt.sign.is_some() && jwks.remote_url.is_none() {
            return Err(wrong("jwks.remoteUrl", "must be set when `jwt.sign` is"));
        }
        if jwks.remote_url.is_some() && jwks.key_pair_config.is_none() {
            return Err(wrong("jwks.keyPairConfig.alg", "must be set when `jwks.remoteUrl` is"));
        }
        let primary = match &jwks.key_pair_config {
            None => KeyKind { alg: Algorithm::EdDSA, modulus_bits: None },
            Some(options) => KeyKind::read("jwks.keyPairConfig", options)?,
        };
        let others = jwks
            .key_pair_configs
            .iter()
            .enumerate()
            .map(|(index, options)| KeyKind::read(&format!("jwks.keyPairConfigs.{index}"), options))
            .collect::<Result<_, _>>()?;
        let rotation = jwks.rotation_interval.filter(|seconds| *seconds != 0);
        if rotation.is_some_and(i64::is_negative) {
            return Err(wrong("jwks.rotationInterval", "must be a number of seconds"));
        }
        let grace = jwks.grace_period.unwrap_or(2_592_000);
        if grace.is_negative() {
            return Err(wrong("jwks.gracePeriod", "must be a number of seconds"));
        }
        if written.adapter.create_jwk.is_some() && written.adapter.get_jwks.is_none() {
            return Err(wrong(
                "adapter.getJwks",
                "must be set when `adapter.createJwk` is: what it keeps would never be found",
            ));
        }
        if let Some(field) =
            written.schema.jwks.fields.keys().find(|field| Jwk::table().column(field).is_none())
        {
            return Err(wrong(&format!("schema.jwks.fields.{field}"), "no such field"));
        }
        Ok(Self {
            primary,
            others,
            crv: jwks.key_pair_config.as_ref().and_then(|options| options.crv.clone()),
            expiry: expiry(written.jwt.expiration_time.as_ref())?,
            jwks_path: jwks_path(jwks.jwks_path.as_deref())?,
            rotation,
            grace,
            shared,
            written: audience_is_text(written)?,
        })
    }

    /// Whether they fit everything else.
    pub fn fit(&self, config: &Config, schema: &Schema) -> Result<(), ConfigError> {
        if let Some(secret) = &self.shared {
            fits(secret, config)?;
        }
        let chosen = match &self.written.jwt.define_payload {
            None => None,
            Some(Payload::Callback(_) | Payload::Trait(_)) => Some(&[][..]),
            Some(Payload::Claims(names)) => Some(names.as_slice()),
        };
        known(chosen.unwrap_or_default(), schema)?;
        let mut claims = vec!["iss", "aud", "exp", "nbf", "iat", "jti", SESSION_ID];
        if self.shared.is_some() {
            claims.push("user_id");
        }
        let fields = &config.settings.user.additional_fields.0;
        let shown = |name: &String| chosen.is_none_or(|chosen| chosen.contains(name));
        if let Some((name, _)) = fields.iter().find(|(name, field)| {
            claims.contains(&name.as_str()) && field.input != Some(false) && shown(name)
        }) {
            return Err(ConfigError::new(
                format!("user.additionalFields.{name}"),
                "is a claim of the tokens that `plugins.jwt` makes of users: set `input: false`, or choose the claims with `plugins.jwt.jwt.definePayload`",
            ));
        }
        if !self.written.session_cookie_cache {
            return Ok(());
        }
        if config.session.cache.strategy != CacheStrategy::Jwt {
            return Err(wrong("sessionCookieCache", "needs `session.cookieCache.strategy` to be `jwt`"));
        }
        if self.written.jwt.sign.is_some() {
            return Err(wrong(
                "sessionCookieCache",
                "needs keys of its own and cannot be used with `jwt.sign`",
            ));
        }
        let max_age = config.session.cache.max_age;
        if max_age > self.grace {
            tracing::warn!(
                max_age,
                grace_period = self.grace,
                "session.cookieCache.maxAge exceeds plugins.jwt.jwks.gracePeriod: after a rotation the cookie cache may stop verifying before it expires"
            );
        }
        Ok(())
    }

    /// The kind of key for an algorithm, if it is configured.
    pub fn kind_of(&self, alg: Algorithm) -> Option<KeyKind> {
        let other = self.others.iter().find(|kind| kind.alg == alg);
        other.copied().or_else(|| (self.primary.alg == alg).then_some(self.primary))
    }
}

/// The secret of HS256, if that is what signs.
fn shared(written: &Options) -> Result<Option<Secret>, ConfigError> {
    let how = "set JWT_SECRET, here and for the services that verify; `portcullis secret` makes one";
    match written.algorithm.as_deref() {
        None if written.secret.is_some() => Err(wrong(
            "secret",
            "is for `algorithm = \"HS256\"` only; the keys that sign otherwise are made here",
        )),
        None => Ok(None),
        Some("HS256") => {
            let Some(secret) = &written.secret else {
                return Err(wrong("secret", format!("is missing, and HS256 signs with it: {how}")));
            };
            if secret.expose().len() < SECRET_BYTES {
                return Err(wrong("secret", format!("has fewer than {SECRET_BYTES} bytes: {how}")));
            }
            let keys = [
                ("jwks.keyPairConfig", written.jwks.key_pair_config.is_some()),
                ("jwks.keyPairConfigs", !written.jwks.key_pair_configs.is_empty()),
                ("jwks.rotationInterval", written.jwks.rotation_interval.is_some()),
                ("jwks.gracePeriod", written.jwks.grace_period.is_some()),
                ("jwks.remoteUrl", written.jwks.remote_url.is_some()),
                ("jwt.sign", written.jwt.sign.is_some()),
                ("adapter.getJwks", written.adapter.get_jwks.is_some()),
                ("sessionCookieCache", written.session_cookie_cache),
            ];
            match keys.iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => {
                    Err(wrong(key, "is about keys that are published, and `algorithm = \"HS256\"` has none"))
                }
                None => Ok(Some(secret.clone())),
            }
        }
        Some(other) => Err(wrong(
            "algorithm",
            format!("`{other}` is not `HS256`; the kind of published keys is `jwks.keyPairConfig.alg`"),
        )),
    }
}

/// Whoever verifies HS256 has the secret, and could sign whatever else it signs.
fn fits(secret: &Secret, config: &Config) -> Result<(), ConfigError> {
    let settings = &config.settings;
    let versions = settings.secrets.iter().flatten().map(|one| one.value.as_str());
    if versions.chain(settings.secret.as_deref()).any(|own| own == secret.expose()) {
        return Err(wrong(
            "secret",
            "is the server's own secret: services that verify tokens could make sessions; make another with `portcullis secret`",
        ));
    }
    if config.environment == Environment::Production && is_weak(secret.expose()) {
        let problem = "is a default or too weak for production; make one with `portcullis secret`";
        return Err(wrong("secret", problem));
    }
    Ok(())
}

/// The names in `definePayload` are fields of the user that tokens may show.
fn known(names: &[String], schema: &Schema) -> Result<(), ConfigError> {
    let Some(user) = schema.get(User::KEY) else { return Ok(()) };
    let shown = || user.columns.iter().filter(|column| column.returned).map(|column| &*column.key);
    for (index, name) in names.iter().enumerate() {
        let key = format!("jwt.definePayload.{index}");
        if name == SESSION_ID || shown().any(|known| known == name) {
            continue;
        }
        if user.column(name).is_some() {
            return Err(wrong(
                &key,
                format!("`{name}` is hidden (`returned: false`), and tokens can be read"),
            ));
        }
        let hint = nearest(name, shown().chain([SESSION_ID]));
        return Err(wrong(&key, format!("`{name}` is no field of the user{hint}")));
    }
    Ok(())
}

fn expiry(written: Option<&Json>) -> Result<Expiry, ConfigError> {
    let key = "jwt.expirationTime";
    match written {
        None | Some(Json::Null) => Ok(Expiry::After(900)),
        Some(Json::Number(number)) => Ok(Expiry::At(Json::Number(number.clone()))),
        Some(Json::String(text)) => match span::seconds(text) {
            Some(seconds) => Ok(Expiry::After(seconds)),
            None => Err(wrong(key, "must be a time span such as `15m`, `1 hour` or `7d`")),
        },
        Some(other) => other
            .get("$date")
            .and_then(Json::as_str)
            .and_then(Timestamp::parse)
            .map(|at| Expiry::At(Json::from(at.seconds())))
            .ok_or_else(|| wrong(key, "must be a time span, a number of seconds since 1970, or a date")),
    }
}

fn jwks_path(written: Option<&str>) -> Result<String, ConfigError> {
    let path = written.unwrap_or("/jwks");
    // Letters with a meaning in patterns of routes would make a route of another shape.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if path.len() < 2 || !path.starts_with('/') || path.contains("..") || !path.chars().all(plain) {
        return Err(wrong("jwks.jwksPath", "must be a plain path that starts with `/` and has no `..`"));
    }
    if path == "/token" {
        return Err(wrong("jwks.jwksPath", "is the path of another route"));
    }
    Ok(path.to_owned())
}

fn audience_is_text(written: Options) -> Result<Options, ConfigError> {
    let good = match &written.jwt.audience {
        None | Some(Json::Null | Json::String(_)) => true,
        Some(Json::Array(all)) => all.iter().all(Json::is_string),
        Some(_) => false,
    };
    if good { Ok(written) } else { Err(wrong("jwt.audience", "must be a text or a list of texts")) }
}
