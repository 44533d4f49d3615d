//! The face that applications use: the engine with the list of rooms in it.

use std::ops::Deref;
use std::sync::Arc;

use portcullis_core::auth::{Auth as Engine, AuthBuilder, StartError};
use portcullis_core::clock::Clock;
use portcullis_core::config::{BaseUrlSettings, DatabaseSettings, Environment, Settings};
use portcullis_core::crypto::Random;
use portcullis_core::database_hooks::DatabaseHooks;
use portcullis_core::feature::Feature;
use portcullis_core::seams::Notice;
use portcullis_core::secondary::SecondaryStorage;
use serde_json::{Value as Json, json};

use crate::features;

/// The auth server in your process: cheap to clone, to be kept in your app's state.
#[derive(Clone, Debug)]
pub struct Auth(Engine);

impl Auth {
    /// Begins to configure one. What is not said has Better Auth's default.
    pub fn builder() -> Builder {
        Builder(AuthBuilder::new(features::LIST))
    }
}

impl Deref for Auth {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.0
    }
}

/// Configures an [`Auth`]. Everything Better Auth's `auth.ts` can say goes through
/// [`Builder::settings`] or [`Builder::configure`]; the rest are shorthands.
#[must_use]
pub struct Builder(AuthBuilder);

impl Builder {
    /// All settings at once, e.g. read from a file.
    pub fn settings(self, settings: Settings) -> Self {
        Self(self.0.settings(settings))
    }

    /// Changes single settings.
    pub fn configure(self, change: impl FnOnce(&mut Settings)) -> Self {
        Self(self.0.configure(change))
    }

    /// `secret`: signs and encrypts; 32 random characters.
    pub fn secret(self, secret: impl Into<String>) -> Self {
        let secret = secret.into();
        self.configure(|s| s.secret = Some(secret))
    }

    /// `baseURL`: where browsers see your app.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.configure(|s| s.base_url = Some(BaseUrlSettings::Fixed(url)))
    }

    /// `database.url`: `sqlite:FILE`, `postgres://…`, `mysql://…`.
    pub fn database(self, url: impl Into<String>) -> Self {
        let url = Some(url.into());
        self.configure(|s| s.database = Some(DatabaseSettings { url, max_connections: None, pooler: None }))
    }

    /// `emailAndPassword.enabled`.
    pub fn email_and_password(self) -> Self {
        self.configure(|s| s.email_and_password.enabled = Some(true))
    }

    /// Switches a plugin on with its options: `.plugin("jwt", json!({}))`.
    pub fn plugin(self, name: &str, options: Json) -> Self {
        self.configure(|s| {
            s.plugins.insert(name.to_owned(), if options.is_null() { json!({}) } else { options });
        })
    }

    /// A room of your own.
    pub fn feature(self, feature: impl Feature) -> Self {
        Self(self.0.feature(feature))
    }

    /// Somebody who is told what happens to users and sessions: an audit log, a pager.
    pub fn notice(self, notice: impl Notice + 'static) -> Self {
        Self(self.0.notice(Arc::new(notice)))
    }

    /// Hooks of your own around every write to users, sessions, accounts and verifications.
    pub fn database_hooks(self, hooks: impl DatabaseHooks) -> Self {
        Self(self.0.database_hooks(hooks))
    }

    /// Development unless said otherwise; say [`Environment::Production`] for people.
    pub fn environment(self, environment: Environment) -> Self {
        Self(self.0.environment(environment))
    }

    /// Another clock, for tests.
    pub fn clock(self, clock: Clock) -> Self {
        Self(self.0.clock(clock))
    }

    /// Another source of chance, for tests.
    pub fn random(self, random: Random) -> Self {
        Self(self.0.random(random))
    }

    /// A secondary storage of your own, in place of what `secondaryStorage` says.
    pub fn secondary_storage(self, storage: Arc<dyn SecondaryStorage>) -> Self {
        Self(self.0.secondary_storage(storage))
    }

    /// Connects without touching the tables.
    pub fn without_migration(self) -> Self {
        Self(self.0.without_migration())
    }

    /// Checks the settings, connects, creates or extends the tables.
    ///
    /// # Errors
    /// A [`StartError`] whose text says what is wrong and what to do.
    pub async fn build(self) -> Result<Auth, StartError> {
        self.0.build().await.map(Auth)
    }
}
