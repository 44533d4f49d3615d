//! File and environment → [`Settings`]. The only reader of the environment, which it takes as a value
//! so that tests pass a map.
//!
//! Precedence: environment over file over defaults. A value never appears in an error, only its key
//! and, when it came from there, the variable's name: the value may be a secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use portcullis::config::{self, ConfigError, Environment, Settings};
use serde_json::{Map, Value as Json, json};

/// The default config file, in the current directory.
pub const DEFAULT_FILE: &str = "portcullis.toml";
/// The default database, in the current directory.
pub const DEFAULT_DATABASE: &str = "sqlite:portcullis.db";
/// Trusted in development only: a front end on any port of this machine.
const LOCAL_ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];
const PREFIX: &str = "PORTCULLIS__";
/// What upstream falls back to under `NODE_ENV=test` (better-auth 1.7.6 utils/constants).
const TEST_SECRET: &str = "better-auth-secret-12345678901234567890";
/// Sections whose keys the operator chooses: a key there that ends in `File` is a name, not a file.
const FREE_KEYS: [&str; 2] = ["fields", "additionalFields"];

/// Why there are no settings. Says what to do; never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError(String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

fn fail<T>(text: impl Into<String>) -> Result<T, LoadError> {
    Err(LoadError(text.into()))
}

/// The environment as a value.
#[derive(Debug, Clone, Default)]
pub struct Vars(BTreeMap<String, OsString>);

impl Vars {
    /// The process's own. A name that is not UTF-8 is none of ours.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect(),
        )
    }

    /// The variable, when it is set and not empty: compose files set what they do not fill.
    fn get(&self, name: &str) -> Result<Option<&str>, LoadError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Some(text) => Ok((!text.trim().is_empty()).then_some(text)),
                None => fail(format!("{name}: is not UTF-8; set it to plain text")),
            },
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Vars {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// `PORTCULLIS_LOG` and `PORTCULLIS_LOG_FORMAT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// A `tracing` filter; `None` = info.
    pub filter: Option<String>,
    /// Form.
    pub format: LogFormat,
}

/// Reads how to log; needed before anything else can be said.
pub fn logging(vars: &Vars) -> Result<Logging, LoadError> {
    let format = match vars.get("PORTCULLIS_LOG_FORMAT")? {
        None | Some("human") => LogFormat::Human,
        Some("json") => LogFormat::Json,
        Some(_) => return fail("PORTCULLIS_LOG_FORMAT: must be `human` or `json`"),
    };
    Ok(Logging { filter: vars.get("PORTCULLIS_LOG")?.map(str::to_owned), format })
}

/// Settings, and where they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// To be checked by the engine.
    pub settings: Settings,
    /// Surroundings.
    pub environment: Environment,
    /// The file, when there is one.
    pub file: Option<PathBuf>,
    /// Said once at start.
    pub warnings: Vec<String>,
    /// What variables wrote into `plugins`, whose options only their rooms can read.
    plugins: Vec<FromEnvironment>,
}

impl Loaded {
    /// Mends what a room did not like about an option that a variable wrote: a number or flag where text
    /// is wanted is the variable's text. True when something changed and another try makes sense.
    pub fn mend(&mut self, error: &ConfigError) -> bool {
        if !error.problem.contains("expected a string") {
            return false;
        }
        let mut root = Json::Object(std::mem::take(&mut self.settings.plugins));
        let mut mended = false;
        for one in self.plugins.iter().filter(|one| one.path.join(".") == error.key) {
            let inside = one.path.get(1..).unwrap_or_default();
            if let Some(value) = root.pointer_mut(&pointer(inside))
                && matches!(value, Json::Number(_) | Json::Bool(_))
            {
                *value = Json::String(one.raw.clone());
                mended = true;
            }
        }
        if let Json::Object(plugins) = root {
            self.settings.plugins = plugins;
        }
        mended
    }

    /// An error of the engine's check with where the option came from, and without its value.
    pub fn describe(&self, error: &ConfigError) -> String {
        let problem = without_value(&error.problem);
        let error = ConfigError::new(error.key.clone(), problem);
        let variable = self.plugins.iter().find(|one| {
            let key = one.path.join(".");
            error.key == key
                || error.key.starts_with(&format!("{key}."))
                || key.starts_with(&format!("{}.", error.key))
        });
        match (variable, &self.file) {
            (Some(one), _) => format!("{}: {error}", one.variable),
            (None, Some(file)) => format!("{}: {error}", file.display()),
            (None, None) => error.to_string(),
        }
    }

    /// May a development secret be made up? Not for people, and not behind an https address, which is
    /// a deployment whatever `PORTCULLIS_ENV` says.
    pub fn may_make_secret(&self) -> bool {
        self.environment == Environment::Development
            && self.settings.secret.is_none()
            && self.settings.secrets.is_none()
            && !base_urls(&self.settings).iter().any(|url| url.starts_with("https:"))
    }

    /// The SQLite file, when the data is in one.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let url = self.settings.database.as_ref()?.url.as_deref()?;
        sqlite_file(url)
    }
}

/// The file of a `sqlite:` URL; `None` for another database and for one in memory.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let memory = path.is_empty() || path == ":memory:" || query.split('&').any(|part| part == "mode=memory");
    (!memory).then(|| PathBuf::from(path))
}

fn base_urls(settings: &Settings) -> Vec<&str> {
    match &settings.base_url {
        None => vec![],
        Some(config::BaseUrlSettings::Fixed(url)) => vec![url],
        Some(config::BaseUrlSettings::Dynamic { fallback, protocol, .. }) => {
            let protocol = (protocol.as_deref() == Some("https")).then_some("https:");
            fallback.as_deref().into_iter().chain(protocol).collect()
        }
    }
}

/// Reads the config file (`explicit`, or `portcullis.toml` in `directory`, or none) and the environment.
pub fn load(explicit: Option<&Path>, directory: &Path, vars: &Vars) -> Result<Loaded, LoadError> {
    let mut warnings = Vec::new();
    let environment = surroundings(vars)?;
    let file = match explicit {
        Some(path) => Some(directory.join(path)),
        None => {
            let path = directory.join(DEFAULT_FILE);
            let there = path
                .try_exists()
                .map_err(|e| LoadError(format!("cannot look for {}: {e}", path.display())))?;
            there.then_some(path)
        }
    };
    let tree = match &file {
        Some(path) => from_file(path, vars)?,
        None => json!({ "emailAndPassword": { "enabled": true }, "plugins": { "jwt": {}, "bearer": {} } }),
    };
    let mut tree = Tree { root: tree, set: Vec::new() };
    tree.environment(directory, vars)?;
    let (mut settings, set) = tree.settings(file.as_deref())?;

    if environment == Environment::Test {
        settings.secret.get_or_insert_with(|| TEST_SECRET.to_owned());
    } else if settings.database.is_none() {
        settings.database = Some(config::DatabaseSettings {
            url: Some(DEFAULT_DATABASE.to_owned()),
            max_connections: None,
            pooler: None,
        });
    } else if let Some(database) = &mut settings.database
        && database.url.is_none()
        && (database.max_connections.is_some() || database.pooler.is_some())
    {
        // `[database] maxConnections = 4` says how, not that nothing is to be stored.
        database.url = Some(DEFAULT_DATABASE.to_owned());
    }
    if environment == Environment::Development && base_urls(&settings).iter().all(|url| is_local(url)) {
        let origins = settings.trusted_origins.get_or_insert_default();
        for origin in LOCAL_ORIGINS {
            if !origins.iter().any(|one| one == origin) {
                origins.push(origin.to_owned());
            }
        }
    }
    stray_variables(vars, &mut warnings);
    let jwt = settings.plugins.get("jwt").filter(|jwt| **jwt != Json::Bool(false));
    if jwt.is_some_and(|jwt| !shares_secret(jwt)) && vars.get("JWT_SECRET")?.is_some() {
        warnings.push(
            "JWT_SECRET is set and has no effect: tokens are signed with keys that are published; \
             plugins.jwt.algorithm = \"HS256\" signs with it"
                .to_owned(),
        );
    }
    let plugins =
        set.into_iter().filter(|one| one.path.first().is_some_and(|key| key == "plugins")).collect();
    Ok(Loaded { settings, environment, file, warnings, plugins })
}

/// Do these settings of `jwt` ask for a secret that services share?
fn shares_secret(jwt: &Json) -> bool {
    jwt.get("algorithm").is_some_and(|algorithm| !algorithm.is_null())
}

fn is_local(url: &str) -> bool {
    match url::Url::parse(url) {
        // Config::check says what is wrong with it; until then nothing extra is trusted.
        Err(_) => false,
        Ok(url) => match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        },
    }
}

fn surroundings(vars: &Vars) -> Result<Environment, LoadError> {
    #[cfg(feature = "test-mode")]
    if vars.get("TEST_CLOCK")? == Some("1") {
        return Ok(Environment::Test);
    }
    let node = vars.get("NODE_ENV")? == Some("production");
    match vars.get("PORTCULLIS_ENV")? {
        Some("production") => Ok(Environment::Production),
        None | Some("development") if node => Ok(Environment::Production),
        None | Some("development") => Ok(Environment::Development),
        // A misspelt `production` must not become development.
        Some(_) => fail("PORTCULLIS_ENV: must be `production` or `development`"),
    }
}

fn stray_variables(vars: &Vars, warnings: &mut Vec<String>) {
    for name in vars.0.keys() {
        #[cfg(not(feature = "test-mode"))]
        if name == "TEST_CLOCK" || name == "TEST_EGRESS" {
            warnings.push(format!("{name} is set and has no effect: this is not a test-mode build"));
        }
        let Some(rest) = name.strip_prefix("PORTCULLIS_") else { continue };
        // Kubernetes sets `PORTCULLIS_SERVICE_…` and `PORTCULLIS_PORT…` for a service of that name.
        let foreign = rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_");
        if rest.starts_with('_') || matches!(rest, "ENV" | "LOG" | "LOG_FORMAT") || foreign {
            continue;
        }
        warnings.push(format!(
            "{name} is set and has no effect; an option is {PREFIX}{rest}, with two underscores between sections"
        ));
    }
}

/// Parses the file, fills in `${NAME}` and loads what `…File` keys point at.
fn from_file(path: &Path, vars: &Vars) -> Result<Json, LoadError> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|e| {
        LoadError(format!("cannot read the config file {shown}: {e}; name another one with --config FILE"))
    })?;
    let text = String::from_utf8(text)
        .map_err(|_| LoadError(format!("the config file {shown} is not UTF-8; save it as UTF-8")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let is_json = match path.extension().and_then(|ext| ext.to_str()) {
        Some("json") => true,
        Some("toml") => false,
        _ => text.trim_start().starts_with('{'),
    };
    let mut tree = if is_json {
        serde_json::from_str(text).map_err(|e| LoadError(format!("{shown} is not valid JSON: {e}")))?
    } else {
        let table: toml::Table = toml::from_str(text).map_err(|e| {
            // Not `e` itself: it shows the line, which may hold a secret.
            let at = e.span().map_or(0, |span| span.start);
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            LoadError(format!("{shown} is not valid TOML (line {line}): {}", e.message()))
        })?;
        from_toml(toml::Value::Table(table), "").map_err(|e| LoadError(format!("{shown}: {e}")))?
    };
    if !tree.is_object() {
        return fail(format!("{shown}: must be an object of options, such as {{\"baseURL\": \"…\"}}"));
    }
    expand(&mut tree, "", vars).map_err(|e| LoadError(format!("{shown}: {e}")))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    load_files(&mut tree, "", beside).map_err(|e| LoadError(format!("{shown}: {e}")))?;
    Ok(tree)
}

fn from_toml(value: toml::Value, key: &str) -> Result<Json, LoadError> {
    Ok(match value {
        toml::Value::String(text) => Json::String(text),
        toml::Value::Integer(number) => Json::from(number),
        toml::Value::Boolean(flag) => Json::Bool(flag),
        toml::Value::Datetime(date) => Json::String(date.to_string()),
        toml::Value::Float(number) => match serde_json::Number::from_f64(number) {
            Some(number) => Json::Number(number),
            None => return fail(format!("{key}: must be a finite number")),
        },
        toml::Value::Array(items) => Json::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| from_toml(item, &dotted(key, &index.to_string())))
                .collect::<Result<_, _>>()?,
        ),
        toml::Value::Table(table) => Json::Object(
            table
                .into_iter()
                .map(|(name, item)| {
                    let item = from_toml(item, &dotted(key, &name))?;
                    Ok((name, item))
                })
                .collect::<Result<_, LoadError>>()?,
        ),
    })
}

fn dotted(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// Visits every member of an object or array with its dotted key.
fn children<'a>(value: &'a mut Json, key: &str) -> Vec<(String, &'a mut Json)> {
    match value {
        Json::Object(map) => map.iter_mut().map(|(name, item)| (dotted(key, name), item)).collect(),
        Json::Array(items) => items
            .iter_mut()
            .enumerate()
            .map(|(index, item)| (dotted(key, &index.to_string()), item))
            .collect(),
        _ => Vec::new(),
    }
}

/// Replaces `${NAME}` in every text by the variable; `$${` stands for `${`.
fn expand(value: &mut Json, key: &str, vars: &Vars) -> Result<(), LoadError> {
    if let Json::String(text) = value {
        if text.contains("${") {
            *text = expanded(text, key, vars)?;
        }
        return Ok(());
    }
    children(value, key).into_iter().try_for_each(|(key, item)| expand(item, &key, vars))
}

fn expanded(text: &str, key: &str, vars: &Vars) -> Result<String, LoadError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return fail(format!("{key}: `${{` has no `}}`; write `$${{` for the characters themselves"));
        };
        match vars.0.get(name).map(|value| value.to_str()) {
            Some(Some(value)) => out.push_str(value),
            Some(None) => return fail(format!("{key}: the environment variable {name} is not UTF-8")),
            None => {
                return fail(format!(
                    "{key}: the environment variable {name} is not set; set it, or write `$${{` for the characters themselves"
                ));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// `secretFile = "x"` becomes `secret = <content of x>`, anywhere.
fn load_files(value: &mut Json, key: &str, beside: &Path) -> Result<(), LoadError> {
    if let Json::Object(map) = value {
        let names: Vec<(String, String)> = map
            .iter()
            .filter(|(_, item)| item.is_string())
            .filter_map(|(name, _)| Some((name.clone(), stem(name)?.to_owned())))
            .collect();
        for (name, stem) in names {
            if map.contains_key(&stem) {
                let (one, other) = (dotted(key, &stem), dotted(key, &name));
                return fail(format!("{other}: {one} is there as well; keep one of them"));
            }
            let Some(Json::String(path)) = map.remove(&name) else { continue };
            let content =
                content(&beside.join(path)).map_err(|e| LoadError(format!("{}: {e}", dotted(key, &name))))?;
            map.insert(stem, Json::String(content));
        }
        return map
            .iter_mut()
            .filter(|(name, _)| !FREE_KEYS.contains(&name.as_str()))
            .try_for_each(|(name, item)| load_files(item, &dotted(key, name), beside));
    }
    children(value, key).into_iter().try_for_each(|(key, item)| load_files(item, &key, beside))
}

fn stem(name: &str) -> Option<&str> {
    name.strip_suffix("File").filter(|stem| !stem.is_empty())
}

fn content(path: &Path) -> Result<String, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        LoadError(format!("cannot read {}: {e}; check the path and its permissions", path.display()))
    })?;
    Ok(text.trim().to_owned())
}

/// The settings as a tree, with a note of what the environment wrote into it.
struct Tree {
    root: Json,
    set: Vec<FromEnvironment>,
}

/// One value that a variable set.
#[derive(Clone)]
struct FromEnvironment {
    variable: String,
    path: Vec<String>,
    raw: String,
}

// `raw` may be a secret.
impl fmt::Debug for FromEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromEnvironment").field("variable", &self.variable).finish_non_exhaustive()
    }
}

/// `key=value,key=value`, the values percent-encoded (OpenTelemetry, "Protocol Exporter").
fn otlp_headers(variable: &str, value: &str) -> Result<Json, LoadError> {
    let mut headers = Map::new();
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, text)) = pair.split_once('=') else {
            return fail(format!("{variable}: must be name=value pairs with commas between them"));
        };
        let decoded = percent_encoding::percent_decode_str(text.trim()).decode_utf8();
        let text = decoded.map_err(|_| LoadError(format!("{variable}: a value is not UTF-8")))?;
        headers.insert(name.trim().to_owned(), Json::String(text.into_owned()));
    }
    Ok(Json::Object(headers))
}

impl Tree {
    fn environment(&mut self, directory: &Path, vars: &Vars) -> Result<(), LoadError> {
        for (name, path) in [
            ("AUTH_SECRET", &["secret"][..]),
            ("BETTER_AUTH_SECRET", &["secret"]),
            ("BETTER_AUTH_URL", &["baseURL"]),
            ("DATABASE_URL", &["database", "url"]),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &["telemetry", "otlpEndpoint"]),
            ("OTEL_SERVICE_NAME", &["telemetry", "serviceName"]),
        ] {
            if let Some((variable, value)) = direct(name, directory, vars)? {
                self.put(variable, path, Json::String(value.clone()), value)?;
            }
        }
        if let Some((variable, value)) = direct("BETTER_AUTH_SECRETS", directory, vars)? {
            let secrets = versioned(&variable, &value)?;
            self.put(variable, &["secrets"], secrets, value)?;
        }
        if let Some((variable, value)) = direct("OTEL_EXPORTER_OTLP_HEADERS", directory, vars)? {
            let headers = otlp_headers(&variable, &value)?;
            self.put(variable, &["telemetry", "otlpHeaders"], headers, value)?;
        }
        if let Some((_, value)) = direct("BETTER_AUTH_TRUSTED_ORIGINS", directory, vars)? {
            // better-auth 1.7.6 context/helpers: added to the option, not instead of it.
            let more = value.split(',').map(str::trim).filter(|origin| !origin.is_empty());
            let more = more.map(|origin| Json::String(origin.to_owned()));
            if let Some(map) = self.root.as_object_mut() {
                match map.get_mut("trustedOrigins") {
                    Some(Json::Array(origins)) => origins.extend(more),
                    _ => drop(map.insert("trustedOrigins".into(), more.collect())),
                }
            }
        }
        for name in vars.0.keys() {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let Some(raw) = vars.get(name)? else { continue };
            let mut path: Vec<String> = rest.split("__").map(camel).collect();
            if path.iter().any(String::is_empty) {
                return fail(format!("{name}: has an empty part; write {PREFIX}SECTION__KEY"));
            }
            let file = path.last_mut().and_then(|last| {
                *last = stem(last)?.to_owned();
                Some(())
            });
            let (raw, value) = if file.is_some() {
                let text = content(&directory.join(raw)).map_err(|e| LoadError(format!("{name}: {e}")))?;
                (text.clone(), Json::String(text))
            } else {
                // Not JSON: then it is the text itself, as everywhere in an environment.
                let value = serde_json::from_str(raw).unwrap_or_else(|_| Json::String(raw.to_owned()));
                (raw.to_owned(), value)
            };
            let twice =
                self.set.iter().find(|one| one.variable.starts_with(PREFIX) && same(&one.path, &path));
            if let Some(other) = twice {
                return fail(format!("{name}: {} sets the same option; keep one of them", other.variable));
            }
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.put(name.clone(), &path, value, raw)?;
        }
        self.shared_secret(directory, vars)
    }

    /// `JWT_SECRET`, where tokens are signed with it. Its name is a common one: where they are not, it may be
    /// meant for somebody else.
    fn shared_secret(&mut self, directory: &Path, vars: &Vars) -> Result<(), LoadError> {
        let jwt = self.root.get("plugins").and_then(|plugins| plugins.get("jwt"));
        if !jwt.is_some_and(shares_secret) {
            return Ok(());
        }
        let Some((variable, value)) = direct("JWT_SECRET", directory, vars)? else { return Ok(()) };
        if vars.get("JWT_SECRET")?.is_some_and(|written| written != value) {
            return fail(
                "JWT_SECRET: has spaces around it, which services may take for a part of the secret",
            );
        }
        self.put(variable, &["plugins", "jwt", "secret"], Json::String(value.clone()), value)
    }

    /// Writes a value at a path; keys that are there already are met in their own spelling.
    fn put(&mut self, variable: String, path: &[&str], value: Json, raw: String) -> Result<(), LoadError> {
        let cannot = || fail(format!("{variable}: cannot be set in this place"));
        let mut at = &mut self.root;
        let mut taken = Vec::with_capacity(path.len());
        for (depth, part) in path.iter().enumerate() {
            if let Ok(index) = part.parse::<usize>()
                && (at.is_array() || at.is_null())
            {
                if at.is_null() {
                    *at = Json::Array(Vec::new());
                }
                let Json::Array(items) = at else { return cannot() };
                if index > items.len() {
                    return fail(format!(
                        "{variable}: the list has no item {}; count from 0 without gaps",
                        items.len()
                    ));
                }
                if index == items.len() {
                    items.push(Json::Null);
                }
                taken.push((*part).to_owned());
                let Some(item) = items.get_mut(index) else { return cannot() };
                at = item;
                continue;
            }
            if !at.is_object() {
                // `database = "sqlite:x"` is short for a table with a `url`.
                let short = matches!(path.get(depth.wrapping_sub(1)), Some(&"database")) && at.is_string();
                let old = at.take();
                *at = if short { json!({ "url": old }) } else { Json::Object(Map::new()) };
            }
            let Json::Object(map) = at else { return cannot() };
            let own = map.keys().find(|key| *key == part).or_else(|| map.keys().find(|key| alike(key, part)));
            let own = own.cloned().unwrap_or_else(|| (*part).to_owned());
            taken.push(own.clone());
            at = map.entry(own).or_insert(Json::Null);
        }
        *at = value;
        self.set.push(FromEnvironment { variable, path: taken, raw });
        Ok(())
    }

    /// Reads the tree. What the environment wrote is corrected where only its spelling (`BASE_URL` for
    /// `baseURL`) or its type (`42` for a text) is off.
    fn settings(mut self, file: Option<&Path>) -> Result<(Settings, Vec<FromEnvironment>), LoadError> {
        // Each round mends one thing that a variable wrote; there are no more things than this.
        let rounds = 1 + self.set.iter().map(|one| 1 + one.path.len()).sum::<usize>();
        for _ in 0..rounds {
            let error = match serde_path_to_error::deserialize::<_, Settings>(self.root.clone()) {
                Ok(settings) => return Ok((settings, self.set)),
                Err(error) => error,
            };
            let mut path: Vec<String> = error
                .path()
                .iter()
                .filter_map(|segment| match segment {
                    serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                    serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                    _ => None,
                })
                .collect();
            let message = error.into_inner().to_string();
            let unknown = config::unknown_field(&message);
            if let Some((field, _)) = &unknown
                && path.last() != Some(field)
            {
                path.push(field.clone());
            }
            let ours: Vec<usize> = (0..self.set.len())
                .filter(|index| self.set.get(*index).is_some_and(|one| one.path.starts_with(&path)))
                .collect();
            let mended = match (&unknown, ours.is_empty()) {
                (_, true) => false,
                (Some((field, known)), _) => match known.iter().find(|name| alike(name, field)) {
                    Some(name) => self.rename(&path, name),
                    None => false,
                },
                (None, _) => message.contains("expected a string") && self.as_text(&ours),
            };
            if mended {
                continue;
            }
            let source = match ours.first().and_then(|index| self.set.get(*index)) {
                Some(one) => one.variable.clone(),
                None => file.map_or_else(|| "settings".to_owned(), |file| file.display().to_string()),
            };
            return config::read::<Settings>("", self.root).map(|settings| (settings, self.set)).map_err(
                |mut error| {
                    error.problem = without_value(&error.problem);
                    LoadError(format!("{source}: {error}"))
                },
            );
        }
        fail("the environment's options contradict each other; unset some PORTCULLIS__ variables")
    }

    /// Gives the key at `path` its proper name; what was set there before gives way.
    fn rename(&mut self, path: &[String], name: &str) -> bool {
        let Some((field, parents)) = path.split_last() else { return false };
        let mut at = &mut self.root;
        for part in parents {
            let next = match at {
                Json::Object(map) => map.get_mut(part),
                Json::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
                _ => None,
            };
            let Some(next) = next else { return false };
            at = next;
        }
        let Json::Object(map) = at else { return false };
        let Some(value) = map.remove(field) else { return false };
        overlay(map.entry(name.to_owned()).or_insert(Json::Null), value);
        for one in &mut self.set {
            if one.path.starts_with(path)
                && let Some(part) = one.path.get_mut(parents.len())
            {
                *part = name.to_owned();
            }
        }
        true
    }

    /// Puts the variable's text where its JSON reading (a number, a flag) was not wanted.
    fn as_text(&mut self, ours: &[usize]) -> bool {
        for one in ours.iter().filter_map(|index| self.set.get(*index)) {
            if let Some(value) = self.root.pointer_mut(&pointer(&one.path))
                && matches!(value, Json::Number(_) | Json::Bool(_))
            {
                *value = Json::String(one.raw.clone());
                return true;
            }
        }
        false
    }
}

/// serde says "invalid type: string "hunter2", expected u32": the kind stays, the value goes.
fn without_value(problem: &str) -> String {
    let Some((what, rest)) = problem.split_once(": ").filter(|(what, _)| what.starts_with("invalid ")) else {
        return problem.to_owned();
    };
    let Some((found, expected)) = rest.rsplit_once(", expected ") else { return what.to_owned() };
    let kind = found.split(['`', '"']).next().unwrap_or_default().trim();
    let expected = match expected {
        "i64" | "u64" | "u32" | "u16" | "u8" | "usize" => "a whole number",
        other => other,
    };
    format!("{what}: {kind}, expected {expected}")
}

/// A path as RFC 6901 writes it.
fn pointer(path: &[String]) -> String {
    path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

fn overlay(under: &mut Json, over: Json) {
    match (under, over) {
        (Json::Object(under), Json::Object(over)) => {
            for (name, item) in over {
                overlay(under.entry(name).or_insert(Json::Null), item);
            }
        }
        (under, over) => *under = over,
    }
}

/// A variable, or the content of the file that `NAME_FILE` points at, and which of the two it was.
fn direct(name: &str, directory: &Path, vars: &Vars) -> Result<Option<(String, String)>, LoadError> {
    let file_name = format!("{name}_FILE");
    match (vars.get(name)?, vars.get(&file_name)?) {
        (Some(_), Some(_)) => fail(format!("{file_name}: {name} is set as well; keep one of them")),
        (Some(value), None) => Ok(Some((name.to_owned(), value.trim().to_owned()))),
        (None, Some(path)) => {
            let text = content(&directory.join(path)).map_err(|e| LoadError(format!("{file_name}: {e}")))?;
            Ok(Some((file_name, text)))
        }
        (None, None) => Ok(None),
    }
}

/// `2:aaa,1:bbb` as the option `secrets`.
fn versioned(variable: &str, text: &str) -> Result<Json, LoadError> {
    let wrong = || LoadError(format!("{variable}: must be `version:secret` pairs, such as `2:new…,1:old…`"));
    text.split(',')
        .map(|pair| {
            let (version, value) = pair.trim().split_once(':').ok_or_else(wrong)?;
            let version: u32 = version.trim().parse().map_err(|_| wrong())?;
            Ok(json!({ "version": version, "value": value.trim() }))
        })
        .collect()
}

/// `MIN_PASSWORD_LENGTH` → `minPasswordLength`; what has a lower-case letter is taken as written.
fn camel(part: &str) -> String {
    if part.chars().any(char::is_lowercase) {
        return part.to_owned();
    }
    let mut out = String::with_capacity(part.len());
    for word in part.split('_').filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        if let Some(first) = letters.next() {
            out.push(if out.is_empty() { first.to_ascii_lowercase() } else { first });
        }
        out.extend(letters.map(|letter| letter.to_ascii_lowercase()));
    }
    out
}

/// Do two names differ in case and underscores only?
fn alike(one: &str, other: &str) -> bool {
    let letters =
        |name: &str| name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    letters(one) == letters(other)
}

fn same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| alike(a, b))
}

#[cfg(test)]
mod tests;
