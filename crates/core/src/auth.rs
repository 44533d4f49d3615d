//! Where the parts are joined, and the only such place: [`AuthBuilder`] makes them, [`Auth`] holds them.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use serde_json::Value as Json;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Environment, SecondaryStorageSettings, Settings, cores, nearest};
use crate::crypto::{Passwords, PoolOptions, Random, base64url, hmac_sha256};
use crate::database_hooks::{DatabaseHooks, Hooks};
use crate::feature::Feature;
use crate::http::rate_limit::{self, RateLimits};
use crate::http::{Api, ClientIp, CookieSpec, RouteDoc, Routes};
use crate::identity::functions::Functions;
use crate::identity::{Memory, Policy, Session, Verification, core_tables};
use crate::mail::{Mailer, Queued, VERIFY_EMAIL};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::seams::{Notice, Seams};
use crate::secondary::{self, SecondaryStorage};
use crate::store::{Agreed, ConnectOptions, Db, IdKind, Plan, Row, Schema, Store, StoreError, Table, Tx};

/// The engine: cheap to clone, shared by every request.
#[derive(Clone)]
pub struct Auth(Arc<Parts>);

struct Parts {
    config: Config,
    store: Store,
    memory: Memory,
    clock: Clock,
    random: Random,
    passwords: Passwords,
    outbound: Outbound,
    metrics: Metrics,
    mailer: Mailer,
    cookies: AuthCookies,
    client_ip: ClientIp,
    hooks: Hooks,
    functions: Functions,
    rate_limits: RateLimits,
    seams: Seams,
    routes: Routes,
    id_kind: IdKind,
    secondary: Option<Arc<dyn SecondaryStorage>>,
    /// Tables that the database has not because their rows are in secondary storage.
    elsewhere: Vec<Table>,
    no_table: Table,
    /// When expired verifications were last thrown away, in milliseconds.
    swept: AtomicI64,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

// Handed to every handler and kept in every app's state: that it can be must not be lost by accident.
const _: fn() = || {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Auth>();
};

/// An [`Auth`] that does not keep the engine alive, for tasks in the background.
#[derive(Clone)]
pub(crate) struct WeakAuth(Weak<Parts>);

impl WeakAuth {
    pub(crate) fn upgrade(&self) -> Option<Auth> {
        self.0.upgrade().map(Auth)
    }
}

/// The cookies of a session.
#[derive(Debug, Clone)]
pub struct AuthCookies {
    /// Who the client is.
    pub session_token: CookieSpec,
    /// The cookie cache.
    pub session_data: CookieSpec,
    /// Marks a session that ends with the browser.
    pub dont_remember: CookieSpec,
}

/// Plugins that Better Auth 1.7 has, by the name of their factory.
const UPSTREAM_PLUGINS: &[&str] = &[
    "admin",
    "anonymous",
    "apiKey",
    "bearer",
    "captcha",
    "customSession",
    "deviceAuthorization",
    "emailOTP",
    "genericOAuth",
    "haveIBeenPwned",
    "i18n",
    "jwt",
    "lastLoginMethod",
    "magicLink",
    "mcp",
    "multiSession",
    "oAuthProxy",
    "oauthDeviceAuthorization",
    "oauthPopup",
    "oauthProvider",
    "oneTap",
    "oneTimeToken",
    "openAPI",
    "organization",
    "passkey",
    "phoneNumber",
    "scim",
    "siwe",
    "sso",
    "stripe",
    "twoFactor",
    "username",
];

/// Makes a room from its options; the settings are there for what it shares with others.
pub type MakeRoom = fn(Json, &Settings) -> Result<Arc<dyn Feature>, ConfigError>;

/// One room of a list of rooms.
#[derive(Clone, Copy)]
pub struct Room {
    /// Its key under `plugins`; `None` = a base room, always there.
    pub plugin: Option<&'static str>,
    /// Makes it from its options.
    pub make: MakeRoom,
}

/// Why the engine did not start, and what to do.
#[derive(Debug)]
pub enum StartError {
    /// A setting cannot stand.
    Config(ConfigError),
    /// The database cannot be used.
    Store(StoreError),
    /// Anything else, e.g. TLS.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "configuration: {error}"),
            Self::Store(error) => write!(f, "database: {error}"),
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Joins settings, rooms and surroundings into an [`Auth`].
#[must_use]
pub struct AuthBuilder {
    settings: Settings,
    environment: Environment,
    rooms: &'static [Room],
    own: Vec<Arc<dyn Feature>>,
    clock: Clock,
    random: Random,
    migrate: Option<bool>,
    notice: Vec<Arc<dyn Notice>>,
    await_mails: bool,
    secondary: Option<Arc<dyn SecondaryStorage>>,
    database_hooks: Vec<Arc<dyn DatabaseHooks>>,
}

impl AuthBuilder {
    /// Begins with a list of rooms.
    pub fn new(rooms: &'static [Room]) -> Self {
        Self {
            settings: Settings::default(),
            environment: Environment::Development,
            rooms,
            own: Vec::new(),
            clock: Clock::system(),
            random: Random::system(),
            migrate: None,
            notice: Vec::new(),
            await_mails: false,
            secondary: None,
            database_hooks: Vec::new(),
        }
    }

    /// All settings at once.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes single settings.
    pub fn configure(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Surroundings; development unless said otherwise.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// A room that is not on the list: one of your own.
    pub fn feature(mut self, feature: impl Feature) -> Self {
        self.own.push(Arc::new(feature));
        self
    }

    /// Somebody who is told what happens to users and sessions.
    pub fn notice(mut self, notice: Arc<dyn Notice>) -> Self {
        self.notice.push(notice);
        self
    }

    /// Hooks around every write to the four core tables, asked after those of the settings.
    pub fn database_hooks(mut self, hooks: impl DatabaseHooks) -> Self {
        self.database_hooks.push(Arc::new(hooks));
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of chance, for tests.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// A secondary storage of your own, in place of what `secondaryStorage` says.
    pub fn secondary_storage(mut self, storage: Arc<dyn SecondaryStorage>) -> Self {
        self.settings.secondary_storage = Some(SecondaryStorageSettings::Given);
        self.secondary = Some(storage);
        self
    }

    /// Connects without touching the tables, whatever the settings say (`portcullis migrate --dry-run`).
    pub fn without_migration(mut self) -> Self {
        self.migrate = Some(false);
        self
    }

    /// Answers wait for the first try of a mail, and nothing is tried again in the background: for tests,
    /// which look for the mail when they have the answer.
    pub fn await_mails(mut self) -> Self {
        self.await_mails = true;
        self
    }

    /// Checks the settings, connects, migrates.
    pub async fn build(self) -> Result<Auth, StartError> {
        let mut features: Vec<Arc<dyn Feature>> = Vec::new();
        let mut missing = Vec::new();
        for (name, _) in &self.settings.plugins {
            if self.rooms.iter().any(|room| room.plugin == Some(name)) {
                continue;
            }
            let key = format!("plugins.{name}");
            if !UPSTREAM_PLUGINS.contains(&name.as_str()) {
                let hint = nearest(name, self.rooms.iter().filter_map(|room| room.plugin));
                return Err(ConfigError::new(key, format!("unknown plugin{hint}")).into());
            }
            let error = ConfigError::new(
                key,
                "is a plugin of Better Auth that this build of Portcullis does not have",
            );
            // Upstream's test files set up plugins side by side; those of other rooms may be missing.
            if self.environment != Environment::Test {
                return Err(error.into());
            }
            missing.push(error.to_string());
        }
        for room in self.rooms {
            let options = match room.plugin {
                None => Json::Object(serde_json::Map::new()),
                Some(name) => match self.settings.plugins.get(name) {
                    None | Some(Json::Bool(false)) => continue,
                    Some(Json::Bool(true) | Json::Null) => Json::Object(serde_json::Map::new()),
                    Some(options) => options.clone(),
                },
            };
            features.push((room.make)(options, &self.settings)?);
        }
        features.extend(self.own);

        let config = Config::check(self.settings, self.environment)?;
        for warning in missing.iter().chain(&config.warnings) {
            tracing::warn!("{warning}");
        }
        let mut schema = core_tables(&config.settings)?;
        for feature in &features {
            for table in feature.tables() {
                schema.add(table);
            }
            for (table, column) in feature.lends() {
                schema.lend(table, column);
            }
        }
        if let Some(table) = rate_limit::table(&config.settings)? {
            schema.add(table);
            if let Some(name) = &config.settings.rate_limit.model_name {
                schema.set_table_name(rate_limit::TABLE, name.clone());
            }
        }
        let kinds = features.iter().flat_map(|feature| feature.mails(&config)).collect();
        let mut mailer = Mailer::new(&config, kinds, self.await_mails)?;
        let required = config.settings.email_and_password.require_email_verification;
        if required && !mailer.sends(VERIFY_EMAIL) && config.environment != Environment::Test {
            tracing::warn!(
                "emailAndPassword.requireEmailVerification is on and nobody mails the links: nobody who signs up can come in; \
                 set mail.smtp, mail.send or emailVerification.sendVerificationEmail"
            );
        }
        if mailer.has_outbox() {
            schema.add(Queued::table());
        }
        let mut routes = Routes::new();
        let mut seams = Seams { notice: self.notice, ..Seams::default() };
        if let Some(policy) = Policy::new(&config) {
            seams.check_password.push(Arc::new(policy));
        }
        let mut limits = Vec::new();
        for feature in &features {
            feature.check(&config, &schema)?;
            limits.extend(feature.rate_limits());
            feature.rename(&mut schema);
            routes.extend(feature.routes().of(feature.id()));
            Arc::clone(feature).attach(&mut seams);
        }

        one_of_each(&routes.docs())?;
        let paths: Vec<String> = routes.docs().into_iter().map(|route| route.path).collect();
        for disabled in &config.settings.disabled_paths {
            if !paths.contains(disabled) && config.environment != Environment::Test {
                let hint = nearest(disabled, paths.iter().map(String::as_str));
                let problem = format!(
                    "`{disabled}` is no route of this build{hint} What is not there needs no disabling"
                );
                return Err(ConfigError::new("disabledPaths", problem).into());
            }
        }

        let id_kind = id_kind(&config)?;
        let forbidden = config.settings.migrate == Some(false) && !config.in_memory;
        // What lives elsewhere has no table in the database, but the columns of one.
        let elsewhere = [(Session::KEY, config.sessions), (Verification::KEY, config.verifications)];
        let elsewhere = elsewhere.into_iter().filter(|(_, kept)| !kept.in_database());
        let elsewhere: Vec<Table> = elsewhere.filter_map(|(key, _)| schema.remove(key)).collect();
        let migrate = self.migrate.unwrap_or(!forbidden);
        let store = connect(&config, schema, id_kind, self.clock.clone(), forbidden).await?;
        if config.settings.advanced.database.validate_schema && !migrate && self.migrate.is_none() {
            let missing = store.migration_plan().await?.statements.len();
            if missing > 0 {
                let problem = format!(
                    "{missing} statements are missing; see `portcullis migrate --dry-run`, then run `portcullis migrate`"
                );
                return Err(ConfigError::new("advanced.database.validateSchema", problem).into());
            }
        }
        if migrate {
            let plan = store.migrate().await?;
            report(&plan);
        } else if self.migrate.is_none() && mailer.has_outbox() {
            // Looked for now: the first mail would be too late.
            if let Err(error) = store.db().count(Queued::KEY, &Queued::ATTEMPTS.lt(0)).await {
                if config.environment != Environment::Test {
                    tracing::error!(%error, "the outbox cannot be read");
                    let problem = format!(
                        "there is no table `{}`, where mails wait until they are delivered, and migrate = false; run `portcullis migrate`",
                        Queued::KEY
                    );
                    return Err(ConfigError::new("migrate", problem).into());
                }
                mailer.without_outbox();
            }
        }
        let metrics = Metrics::new(self.clock.now());
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let outbound = Outbound::new(metrics.clone(), &config.webhooks, clock, random)
            .map_err(|e| StartError::Other(Box::new(e)))?;
        let hooks = Hooks::new(&config.settings.database_hooks, &outbound, self.database_hooks);
        let functions = Functions::new(&config.settings)?;
        let options = PoolOptions {
            threads: config.hash_threads,
            prompt: config.prompt_hash_threads,
            queue: config.hash_queue,
        };
        let own = config.settings.email_and_password.password.clone().unwrap_or_default();
        let passwords =
            Passwords::new(config.hash, options, self.random.clone()).calling(own, outbound.clone());
        let session = &config.session;
        let cookies = AuthCookies {
            session_token: CookieSpec::new(&config, "session_token", Some(session.expires_in)),
            session_data: CookieSpec::new(&config, "session_data", Some(session.cache.max_age)),
            dont_remember: CookieSpec::new(&config, "dont_remember", None),
        };
        let client_ip = ClientIp::new(&config)?;
        let rate_limits = RateLimits::new(&config, limits)?;
        let secondary = match (self.secondary, &config.settings.secondary_storage) {
            (Some(given), _) => Some(given),
            (None, Some(settings)) => secondary::open(settings, &outbound)?,
            (None, None) => None,
        };
        if secondary.is_none() && config.sessions.in_secondary() {
            return Err(ConfigError::new("secondaryStorage", "was not given to the builder").into());
        }
        let memory = Memory::new(&store, config.session.memory_cache_size);
        Ok(Auth(Arc::new(Parts {
            config,
            store,
            memory,
            clock: self.clock,
            random: self.random,
            passwords,
            outbound,
            metrics,
            mailer,
            cookies,
            client_ip,
            hooks,
            functions,
            rate_limits,
            seams,
            routes,
            id_kind,
            secondary,
            elsewhere,
            swept: AtomicI64::new(i64::MIN),
            no_table: Table::new("", Vec::new()),
        })))
    }
}

/// A path may be an operator's choice (`plugins.jwt.jwks.jwksPath`): two routes that are one are said
/// here, where the router would only panic.
fn one_of_each(routes: &[RouteDoc]) -> Result<(), ConfigError> {
    for (at, route) in routes.iter().enumerate() {
        let same = |other: &&RouteDoc| other.method == route.method && other.path == route.path;
        if let Some(first) = routes.iter().take(at).find(same) {
            let problem = format!(
                "`{}` and `{}` both have the route {} {}",
                first.room, route.room, route.method, route.path
            );
            return Err(ConfigError::new("plugins", problem));
        }
    }
    Ok(())
}

fn report(plan: &Plan) {
    for warning in &plan.warnings {
        tracing::warn!("database: {warning}");
    }
    if !plan.statements.is_empty() {
        tracing::info!(statements = plan.statements.len(), "database: tables created or extended");
    }
    if !plan.triggers.is_empty() {
        tracing::info!("database: triggers made that tell of writes to sessions and users");
    }
}

fn id_kind(config: &Config) -> Result<IdKind, ConfigError> {
    let database = &config.settings.advanced.database;
    match &database.generate_id {
        None if database.use_number_id == Some(true) => Ok(IdKind::Serial),
        None => Ok(IdKind::Text),
        Some(Json::String(kind)) if kind == "uuid" => Ok(IdKind::Uuid),
        Some(Json::String(kind)) if kind == "serial" => Ok(IdKind::Serial),
        // A function's ids are texts.
        Some(Json::Object(map)) if map.contains_key("webhook") => Ok(IdKind::Text),
        Some(Json::Bool(false)) => Err(ConfigError::new(
            "advanced.database.generateId",
            "cannot be false: not every database makes ids of texts; \"serial\" and, in PostgreSQL, \"uuid\" \
             are made by the database",
        )),
        Some(_) => Err(ConfigError::new(
            "advanced.database.generateId",
            "must be \"uuid\", \"serial\" or a function ({ \"webhook\": … }); leave it out for Better Auth's 32-character ids",
        )),
    }
}

async fn connect(
    config: &Config,
    schema: Schema,
    id_kind: IdKind,
    clock: Clock,
    adopt_names: bool,
) -> Result<Store, StoreError> {
    let database = config.settings.database.as_ref();
    let url = database.and_then(|d| d.url.clone()).unwrap_or_else(|| "sqlite::memory:".into());
    // SQLite reads with a thread for each connection: more of them than cores are no faster, and two of them
    // keep a megabyte (benches/README.md). Not fewer than two: one may be at a long query.
    let most = if url.starts_with("sqlite") { u32::try_from(cores().clamp(2, 4)).unwrap_or(4) } else { 10 };
    let options = ConnectOptions {
        url,
        max_connections: database.and_then(|d| d.max_connections).unwrap_or(most).max(1),
        schema,
        id_kind,
        pooler: database.and_then(|d| d.pooler),
        acquire_timeout: Duration::from_secs(5),
        adopt_names,
        // Tests write into the tables and ask at once.
        remembers: config.session.memory_cache_size > 0
            && config.sessions.in_database()
            && config.environment != Environment::Test,
        // Tests write into the file and ask at once.
        trusted_for: Duration::from_millis(if config.environment == Environment::Test { 0 } else { 8 }),
    };
    Store::connect_with_clock(options, clock).await
}

impl Auth {
    /// The checked configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The store's verbs, each on a connection of its own.
    pub fn db(&self) -> Db<'_> {
        self.0.store.db()
    }

    /// Begins a transaction; dropping it rolls back.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.0.store.begin().await
    }

    /// Begins a transaction with what the operator's hooks have agreed to.
    pub async fn begin_agreed(&self, agreed: Agreed) -> Result<Tx, StoreError> {
        Ok(self.begin().await?.agreed(agreed))
    }

    /// The operator's hooks around writes.
    pub(crate) fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    /// The operator's functions that make values.
    pub(crate) fn functions(&self) -> &Functions {
        &self.0.functions
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The source of chance.
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    /// The hash pool.
    pub fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// The HTTP client.
    pub fn outbound(&self) -> &Outbound {
        &self.0.outbound
    }

    /// Counts what happens.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Mail.
    pub fn mailer(&self) -> &Mailer {
        &self.0.mailer
    }

    pub(crate) fn downgrade(&self) -> WeakAuth {
        WeakAuth(Arc::downgrade(&self.0))
    }

    /// The session's cookies.
    pub fn cookies(&self) -> &AuthCookies {
        &self.0.cookies
    }

    /// Finds client addresses.
    pub fn client_ip(&self) -> &ClientIp {
        &self.0.client_ip
    }

    /// Counts requests.
    pub(crate) fn rate_limits(&self) -> &RateLimits {
        &self.0.rate_limits
    }

    /// What rooms attached.
    pub fn seams(&self) -> &Seams {
        &self.0.seams
    }

    /// A table of the schema; one without columns when there is none of that key.
    pub fn table(&self, key: &str) -> &Table {
        let elsewhere = || self.0.elsewhere.iter().find(|table| table.key == key);
        self.0.store.schema().get(key).or_else(elsewhere).unwrap_or(&self.0.no_table)
    }

    /// The secondary storage, if there is one.
    pub fn secondary(&self) -> Option<&Arc<dyn SecondaryStorage>> {
        self.0.secondary.as_ref()
    }

    /// Is it time to throw expired verifications away? Says so to one caller a minute
    /// (better-auth 1.7.24), and never with `verification.disableCleanup`.
    pub(crate) fn is_sweep_due(&self) -> bool {
        if self.0.config.settings.verification.disable_cleanup {
            return false;
        }
        let now = self.0.clock.now().millis();
        let last = self.0.swept.load(Ordering::Relaxed);
        now.saturating_sub(last) >= 60_000
            && self.0.swept.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The next caller sweeps, too: there was more than one batch.
    pub(crate) fn sweep_again(&self) {
        self.0.swept.store(i64::MIN, Ordering::Relaxed);
    }

    /// Gives a new row an id, unless it has one or the database makes it.
    pub fn with_new_id(&self, row: Row) -> Row {
        if row.contains("id") {
            return row;
        }
        match self.0.id_kind {
            IdKind::Text => row.with("id", self.0.random.id()),
            IdKind::Uuid => row.with("id", self.0.random.uuid_v4()),
            IdKind::Serial => row,
        }
    }

    /// An id that nobody can foresee but that is always the same for the same text: a place in a table
    /// that one row can take.
    pub fn id_drawn_by(&self, text: &str) -> String {
        let mac = hmac_sha256(
            self.0.config.secrets.current().expose().as_bytes(),
            format!("place:{text}").as_bytes(),
        );
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        match self.0.id_kind {
            IdKind::Uuid => uuid::Builder::from_random_bytes(bytes).into_uuid().to_string(),
            // 32 letters and digits, as other ids; MySQL's column has room for 36.
            IdKind::Text => base64url(&mac).replace('-', "x").replace('_', "y").chars().take(32).collect(),
            // Below zero, where the database's own counter never comes.
            IdKind::Serial => (-1 - i64::try_from(u128::from_be_bytes(bytes) >> 97).unwrap_or(0)).to_string(),
        }
    }

    pub(crate) fn all_routes(&self) -> &Routes {
        &self.0.routes
    }

    /// All routes, for documents.
    pub fn routes(&self) -> Vec<RouteDoc> {
        self.0.routes.docs()
    }

    /// The routes, relative to the base path: `Router::new().nest("/api/auth", auth.router())`. They
    /// have their state, so they fit into an app with any.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        self.api("").into_router()
    }

    /// The routes under the base path; everything else is a 404.
    pub fn service(&self) -> Router {
        self.under_base_path().into_router()
    }

    /// The same for a server that has layers of its own.
    pub fn under_base_path(&self) -> Api {
        self.api(&self.0.config.base_path)
    }

    fn api(&self, base: &str) -> Api {
        self.start_mail();
        self.0.routes.clone().by_path(self, base)
    }
}
