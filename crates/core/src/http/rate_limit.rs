//! How often one client may ask for one path: Better Auth's rules, its counters and its answer.
//!
//! The counter of a client and path holds the number of requests and the time of the last one that was
//! let through. It begins again when that was a whole window ago, so steady traffic stays limited until
//! it pauses (better-auth 1.7.6 `api/rate-limiter`). Counting and deciding are one step: of any number
//! of requests at once exactly one gets the last place.
//!
//! Precedence: the default, then the special rules for signing in and sending mail, then the first rule
//! of a room, then `rateLimit.customRules`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Content};
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::{
    Config, ConfigError, CustomRule, CustomRules, Environment, RateLimitFunctions, Settings, read,
};
use crate::crypto::{hex_encode, sha256};
use crate::error::Error;
use crate::hooks::Callback;
use crate::store::{Column, Filter, Row, Table};

/// The key of the table that `storage: "database"` needs.
pub const TABLE: &str = "rateLimit";

const KEY: &str = "key";
const COUNT: &str = "count";
pub(crate) const LAST: &str = "lastRequest";

/// The bucket of all clients whose address cannot be believed.
const NOBODY: &str = "no-trusted-ip";

/// Counters that memory holds at most; better-auth 1.7.6 has the same bound.
const MOST: usize = 100_000;

/// The longest key that is stored as it is: MySQL's column has 255 letters, and an index of PostgreSQL
/// refuses some thousand bytes.
const LONGEST: usize = 255;

/// A look at the counter that others keep changing is repeated this often.
const TRIES: usize = 20;

/// So many requests in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Seconds.
    pub window: u32,
    /// Requests.
    pub max: u32,
}

impl RateLimit {
    fn millis(self) -> i64 {
        i64::from(self.window) * 1000
    }

    /// Whole seconds until the window that began with `last` is over.
    fn retry_after(self, last: i64, now: i64) -> i64 {
        let left = last.saturating_add(self.millis()).saturating_sub(now);
        left.saturating_add(999).div_euclid(1000)
    }

    fn checked(self, key: &str) -> Result<Self, ConfigError> {
        for (name, number) in [("window", self.window), ("max", self.max)] {
            if number == 0 {
                return Err(ConfigError::new(format!("{key}.{name}"), "must be at least 1"));
            }
        }
        Ok(self)
    }
}

/// A limit that a room has for paths of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRule {
    path: String,
    prefix: bool,
    limit: RateLimit,
}

impl RateRule {
    /// For one path.
    pub fn exact(path: impl Into<String>, window: u32, max: u32) -> Self {
        Self { path: path.into(), prefix: false, limit: RateLimit { window, max } }
    }

    /// For every path that begins so.
    pub fn starting(path: impl Into<String>, window: u32, max: u32) -> Self {
        Self { path: path.into(), prefix: true, limit: RateLimit { window, max } }
    }

    fn takes(&self, path: &str) -> bool {
        if self.prefix { path.starts_with(&self.path) } else { path == self.path }
    }
}

/// Who counts.
enum Counters {
    /// This process.
    Memory,
    /// A table.
    Database,
    /// Secondary storage: so many in a window that begins with the first, whatever comes after it.
    Secondary,
    /// Functions of the operator's.
    Custom(Box<RateLimitFunctions>),
}

/// All rules and, unless the database has them, the counters.
pub(crate) struct RateLimits {
    enabled: bool,
    default: RateLimit,
    special: Vec<RateRule>,
    rooms: Vec<RateRule>,
    custom: Vec<(String, CustomRule)>,
    counters: Counters,
    memory: Mutex<Memory>,
    /// For functions that cannot count and decide in one step: one request at a time.
    turns: tokio::sync::Mutex<()>,
    /// The longest window so far, in milliseconds: a row older than it counts nowhere.
    longest: AtomicI64,
    warned: AtomicBool,
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

/// The table of `storage: "database"`; Better Auth has it whether limits are on or not.
pub(crate) fn table(settings: &Settings) -> Result<Option<Table>, ConfigError> {
    let rules = &settings.rate_limit;
    if let Some(field) = rules.fields.keys().find(|field| ![KEY, COUNT, LAST].contains(&field.as_str())) {
        return Err(ConfigError::new(format!("rateLimit.fields.{field}"), "no such field"));
    }
    if !in_database(settings) {
        return Ok(None);
    }
    let name = |column: Column| match rules.fields.get(&*column.key) {
        Some(name) => column.named(name.clone()),
        None => column,
    };
    Ok(Some(Table::new(
        TABLE,
        vec![
            Column::id(),
            name(Column::text(KEY).required().unique()),
            name(Column::int(COUNT).required()),
            name(Column::bigint(LAST).required()),
        ],
    )))
}

fn in_database(settings: &Settings) -> bool {
    settings.rate_limit.storage.as_deref() == Some("database")
}

impl RateLimits {
    /// Checks `rateLimit` and takes in what rooms say.
    pub(crate) fn new(config: &Config, rooms: Vec<RateRule>) -> Result<Self, ConfigError> {
        let settings = &config.settings.rate_limit;
        let secondary = config.settings.secondary_storage.is_some();
        let counters = match (&settings.custom_storage, settings.storage.as_deref()) {
            (Some(custom), _) => {
                if custom.consume.is_none() && (custom.get.is_none() || custom.set.is_none()) {
                    let problem = "needs `consume`, or `get` and `set`";
                    return Err(ConfigError::new("rateLimit.customStorage", problem));
                }
                Counters::Custom(Box::new(custom.clone()))
            }
            (None, Some("memory")) => Counters::Memory,
            (None, Some("database")) => Counters::Database,
            (None, None | Some("secondary-storage")) if secondary => Counters::Secondary,
            // Without a secondary storage they are off, or the settings were refused.
            (None, None | Some("secondary-storage")) => Counters::Memory,
            (None, Some(_)) => {
                return Err(ConfigError::new(
                    "rateLimit.storage",
                    "must be `memory`, `database` or `secondary-storage`",
                ));
            }
        };
        let default = RateLimit { window: settings.window.unwrap_or(10), max: settings.max.unwrap_or(100) }
            .checked("rateLimit")?;
        let CustomRules(custom) = settings.custom_rules.clone();
        for (path, rule) in &custom {
            if let CustomRule::Limit(limit) = rule {
                limit.checked(&format!("rateLimit.customRules.{path}"))?;
            }
        }
        let special = special();
        let of_custom = custom.iter().filter_map(|(_, rule)| match rule {
            CustomRule::Limit(limit) => Some(*limit),
            CustomRule::Unlimited | CustomRule::Asked(_) => None,
        });
        let of_rules = special.iter().chain(&rooms).map(|rule| rule.limit);
        let longest = of_custom.chain(of_rules).map(RateLimit::millis).fold(default.millis(), i64::max);
        Ok(Self {
            enabled: settings.enabled.unwrap_or(config.environment == Environment::Production),
            default,
            special,
            rooms,
            custom,
            counters,
            turns: tokio::sync::Mutex::new(()),
            memory: Mutex::default(),
            longest: AtomicI64::new(longest),
            warned: AtomicBool::new(false),
        })
    }

    /// Counts the request; `Some` is the answer to one too many.
    pub(crate) async fn refuse(
        &self,
        auth: &Auth,
        method: &Method,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<Option<Answer>, Error> {
        let ip = auth.client_ip();
        if !self.enabled
            || !ip.is_tracked()
            || auth.config().settings.disabled_paths.iter().any(|disabled| disabled == path)
        {
            return Ok(None);
        }
        let Some(limit) = self.limit(auth, method, path).await? else { return Ok(None) };
        let found = ip.find(headers);
        if found.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "no client address can be believed, so all clients share one rate limit for each path; \
                 set advanced.ipAddress.ipAddressHeaders or advanced.ipAddress.trustedProxies"
            );
        }
        let key = stored_key(found.as_deref().unwrap_or(NOBODY), path);
        let now = auth.clock().now().millis();
        let in_memory =
            |key| self.memory.lock().unwrap_or_else(PoisonError::into_inner).count(key, limit, now);
        let counted = match &self.counters {
            Counters::Memory => Ok(in_memory(key.clone())),
            Counters::Database => Ok(self.count_in_database(auth, &key, limit).await?),
            Counters::Secondary => count_in_secondary(auth, &key, limit).await,
            Counters::Custom(functions) => self.count_by_functions(auth, functions, &key, limit).await,
        };
        // A counter that is away opens no path: this process counts by itself until it is back. So a
        // guesser has as many tries as there are processes times the limit, and nobody is locked out.
        let allowed = counted.unwrap_or_else(|error| {
            tracing::warn!(%error, "rate limit: the storage does not count; this process does meanwhile");
            in_memory(key)
        });
        Ok(allowed.err().map(too_many))
    }

    /// better-auth 1.7.6: `consume` counts and decides. Older storages only get and set; then requests
    /// take turns, within this process.
    async fn count_by_functions(
        &self,
        auth: &Auth,
        functions: &RateLimitFunctions,
        key: &str,
        limit: RateLimit,
    ) -> Result<Result<(), i64>, Error> {
        let call = |name: &'static str, callback: &Callback, args: Vec<Json>| {
            let callback = callback.clone();
            async move {
                let name = format!("rateLimit.customStorage.{name}");
                callback.call(auth.outbound(), &name, args).await
            }
        };
        if let Some(consume) = &functions.consume {
            let rule = json!({ "window": limit.window, "max": limit.max });
            let answer = call("consume", consume, vec![json!(key), rule]).await?;
            return match answer.get("allowed").and_then(Json::as_bool) {
                Some(true) => Ok(Ok(())),
                Some(false) => {
                    let wait = answer.get("retryAfter").and_then(Json::as_i64);
                    Ok(Err(wait.unwrap_or(i64::from(limit.window))))
                }
                None => Err(Error::broken("rateLimit.customStorage.consume did not answer `allowed`")),
            };
        }
        let (Some(get), Some(set)) = (&functions.get, &functions.set) else {
            return Err(Error::broken("rateLimit.customStorage can neither consume nor get and set"));
        };
        let _turn = self.turns.lock().await;
        let kept = call("get", get, vec![json!(key)]).await?;
        let now = auth.clock().now().millis();
        let of_kept = |name: &str| kept.get(name).and_then(Json::as_i64);
        let (count, update) = match (of_kept(COUNT), of_kept(LAST)) {
            (Some(count), Some(last)) if now.saturating_sub(last) < limit.millis() => {
                if count >= i64::from(limit.max) {
                    return Ok(Err(limit.retry_after(last, now)));
                }
                (count.saturating_add(1), true)
            }
            (Some(_), Some(_)) => (1, true),
            _ => (1, false),
        };
        let row = json!({ KEY: key, COUNT: count, LAST: now });
        call("set", set, vec![json!(key), row, json!(update)]).await?;
        Ok(Ok(()))
    }

    async fn limit(&self, auth: &Auth, method: &Method, path: &str) -> Result<Option<RateLimit>, Error> {
        let first = |rules: &[RateRule]| rules.iter().find(|rule| rule.takes(path)).map(|rule| rule.limit);
        let mut limit = first(&self.special).unwrap_or(self.default);
        if let Some(of_room) = first(&self.rooms) {
            limit = of_room;
        }
        let mut custom = self.custom.iter();
        let custom =
            custom.find(
                |(pattern, _)| {
                    if pattern.contains('*') { wildcard(pattern, path) } else { pattern == path }
                },
            );
        match custom {
            None => Ok(Some(limit)),
            Some((_, CustomRule::Unlimited)) => Ok(None),
            Some((_, CustomRule::Limit(limit))) => Ok(Some(*limit)),
            Some((pattern, CustomRule::Asked(callback))) => {
                let name = format!("rateLimit.customRules.{pattern}");
                let request = json!({ "method": method.as_str(), "path": path });
                let rule = json!({ "window": limit.window, "max": limit.max });
                match callback.call(auth.outbound(), &name, vec![request, rule]).await? {
                    Json::Null => Ok(Some(limit)),
                    Json::Bool(false) => Ok(None),
                    answer => {
                        let limit: RateLimit = read(&name, answer).map_err(Error::broken)?;
                        self.longest.fetch_max(limit.millis(), Ordering::Relaxed);
                        Ok(Some(limit))
                    }
                }
            }
        }
    }

    /// `Err` has the seconds to wait. Every step is one guarded statement, and whoever loses looks again.
    async fn count_in_database(
        &self,
        auth: &Auth,
        key: &str,
        limit: RateLimit,
    ) -> Result<Result<(), i64>, Error> {
        let mine = || Filter::Is(KEY.into(), key.into());
        for _ in 0..TRIES {
            let now = auth.clock().now().millis();
            let Some(row) = auth.db().find(TABLE, &mine()).await? else {
                let row = Row::new().with(KEY, key).with(COUNT, 1_i64).with(LAST, now);
                match auth.db().insert(TABLE, auth.with_new_id(row)).await {
                    Ok(_) => return Ok(Ok(())),
                    Err(error) if error.is_unique() => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            let last = number(&row, LAST)?;
            if now.saturating_sub(last) >= limit.millis() {
                let unchanged = mine().and(Filter::Le(LAST.into(), last.into()));
                let anew = Row::new().with(COUNT, 1_i64).with(LAST, now);
                if auth.db().update_one(TABLE, &unchanged, anew).await?.is_some() {
                    self.sweep_database(auth, now).await;
                    return Ok(Ok(()));
                }
                continue;
            }
            if number(&row, COUNT)? >= i64::from(limit.max) {
                return Ok(Err(limit.retry_after(last, now)));
            }
            let free = mine()
                .and(Filter::Gt(LAST.into(), now.saturating_sub(limit.millis()).into()))
                .and(Filter::Lt(COUNT.into(), i64::from(limit.max).into()));
            let touched = Row::new().with(LAST, now);
            if auth.db().increment(TABLE, &free, COUNT, 1, touched).await?.is_some() {
                return Ok(Ok(()));
            }
        }
        // So many others at this very moment are too many by themselves.
        Ok(Err(1))
    }

    /// Rows of the database that are older count nowhere; `None` when the counts are elsewhere.
    pub(crate) fn nobody_looks_before(&self, now: Timestamp) -> Option<i64> {
        matches!(self.counters, Counters::Database)
            .then(|| now.millis().saturating_sub(self.longest.load(Ordering::Relaxed)))
    }

    /// What no rule looks at any more goes. The request that happens to do it is not failed for it.
    async fn sweep_database(&self, auth: &Auth, now: i64) {
        let before = now.saturating_sub(self.longest.load(Ordering::Relaxed));
        if let Err(error) = auth.db().delete(TABLE, &Filter::Lt(LAST.into(), before.into())).await {
            tracing::warn!(%error, "rate limit: old rows were not removed");
        }
    }
}

async fn count_in_secondary(auth: &Auth, key: &str, limit: RateLimit) -> Result<Result<(), i64>, Error> {
    let Some(storage) = auth.secondary() else { return Err(Error::broken("there is no secondary storage")) };
    let count = storage.increment(key, u64::from(limit.window)).await?;
    // better-auth 1.7.6: nobody knows when the window began, so the wait is a whole one.
    Ok(if count <= u64::from(limit.max) { Ok(()) } else { Err(i64::from(limit.window)) })
}

fn number(row: &Row, column: &str) -> Result<i64, Error> {
    let value = row.get(column).and_then(crate::store::Value::as_i64);
    value.ok_or_else(|| Error::broken(format!("{TABLE}.{column} is not a number")))
}

/// better-auth 1.7.6: guesses at passwords, and mail to others.
fn special() -> Vec<RateRule> {
    let mut rules: Vec<RateRule> = ["/sign-in", "/sign-up", "/change-password", "/change-email"]
        .map(|path| RateRule::starting(path, 10, 3))
        .into();
    rules.push(RateRule::starting("/forget-password", 60, 3));
    rules.extend(
        [
            "/request-password-reset",
            "/send-verification-email",
            "/email-otp/send-verification-otp",
            "/email-otp/request-password-reset",
        ]
        .map(|path| RateRule::exact(path, 60, 3)),
    );
    rules
}

/// A 429 says nothing about a session and touches no cookie. Its type is upstream's.
fn too_many(seconds: i64) -> Answer {
    const BODY: &str = "{\"message\":\"Too many requests. Please try again later.\"}";
    let mut answer = Answer::empty(StatusCode::TOO_MANY_REQUESTS);
    answer.body = Content::Text(BODY);
    let seconds = HeaderValue::from(seconds.max(0));
    answer
        .with_header(HeaderName::from_static("x-retry-after"), seconds.clone())
        .with_header(http::header::RETRY_AFTER, seconds)
}

/// A request's path below the base path, in the one form that is counted: letters that need no
/// percent sign have none (RFC 3986 §6.2.2.2), and no slash stands twice or at the end. The router
/// takes only this form or one with other encodings of a parameter, so no spelling of a route has a
/// counter of its own.
pub(crate) fn counted_path(base: &str, uri_path: &str) -> String {
    let path = uri_path.strip_prefix(base).filter(|p| p.starts_with('/')).unwrap_or(uri_path);
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        decoded.push_str(before);
        let code = from.get(1..3).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        let length = match (code, byte) {
            (Some(_), Some(b)) if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') => {
                decoded.push(char::from(b));
                3
            }
            (Some(code), _) => {
                decoded.push('%');
                decoded.push_str(&code.to_ascii_uppercase());
                3
            }
            (None, _) => {
                // Bare, it would make an escape with what a decoded letter leaves behind it (`%%374`).
                decoded.push_str("%25");
                1
            }
        };
        rest = from.get(length..).unwrap_or_default();
    }
    decoded.push_str(rest);
    let mut clean = String::with_capacity(decoded.len());
    for segment in decoded.split('/').filter(|segment| !segment.is_empty()) {
        clean.push('/');
        clean.push_str(segment);
    }
    if clean.is_empty() { "/".to_owned() } else { clean }
}

fn stored_key(ip: &str, path: &str) -> String {
    let key = format!("{ip}|{path}");
    if key.len() <= LONGEST { key } else { format!("{ip}|sha256:{}", hex_encode(&sha256(path.as_bytes()))) }
}

/// Counters in memory.
#[derive(Default)]
struct Memory {
    counters: HashMap<String, Counter>,
    swept: i64,
}

struct Counter {
    count: u32,
    last: i64,
    /// Of no interest from then on.
    over: i64,
}

impl Memory {
    fn count(&mut self, key: String, limit: RateLimit, now: i64) -> Result<(), i64> {
        if self.counters.len() >= MOST || now.abs_diff(self.swept) >= 60_000 {
            self.sweep(now);
        }
        let counter = self.counters.entry(key).or_insert(Counter { count: 0, last: now, over: i64::MIN });
        if now >= counter.over || now.saturating_sub(counter.last) >= limit.millis() {
            counter.count = 0;
        } else if counter.count >= limit.max {
            return Err(limit.retry_after(counter.last, now));
        }
        counter.count = counter.count.saturating_add(1);
        counter.last = now;
        counter.over = now.saturating_add(limit.millis());
        Ok(())
    }

    /// Drops what is over and, where that is not enough, the tenth that has been quiet the longest:
    /// a tenth, so that a full table is not searched at every request.
    fn sweep(&mut self, now: i64) {
        self.swept = now;
        self.counters.retain(|_, counter| now < counter.over);
        if self.counters.len() < MOST {
            return;
        }
        let mut times: Vec<i64> = self.counters.values().map(|counter| counter.last).collect();
        let (older, oldest, _) = times.select_nth_unstable(MOST / 10);
        let oldest = *oldest;
        // Of those that were quiet equally long, as many as make up the tenth.
        let mut left = older.iter().filter(|last| **last == oldest).count();
        self.counters.retain(|_, counter| {
            let goes = counter.last < oldest || counter.last == oldest && left > 0;
            left -= usize::from(goes && counter.last == oldest);
            !goes
        });
    }
}

/// A step of a path pattern.
#[derive(Clone, Copy)]
enum Step {
    Letter(char),
    /// Any letter of a segment.
    One,
    /// Any run within a segment.
    Run,
    /// At least one separator.
    Slash,
    /// Any number of separators.
    Slashes,
    /// Any number of whole segments.
    Deep,
    /// Anything.
    Rest,
}

fn steps(pattern: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let segments: Vec<&str> = pattern.split('/').collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        if segment.is_empty() && at > 0 {
            continue;
        }
        let slash = if last { Step::Slashes } else { Step::Slash };
        if *segment == "**" {
            // Two in a row are one.
            if last || segments.get(at + 1).is_some_and(|next| *next != "**") {
                if at > 0 {
                    steps.push(slash);
                }
                steps.push(if last { Step::Rest } else { Step::Deep });
            }
            continue;
        }
        let mut letters = segment.chars();
        while let Some(letter) = letters.next() {
            steps.push(match letter {
                '*' => Step::Run,
                '?' => Step::One,
                '\\' => match letters.next() {
                    Some(escaped) => Step::Letter(escaped),
                    None => continue,
                },
                other => Step::Letter(other),
            });
        }
        if last || segments.get(at + 1).is_some_and(|next| *next != "**") {
            steps.push(slash);
        }
    }
    steps
}

/// Better Auth's path patterns (`utils/wildcard`): `*` and `?` stay in a segment, `**` does not. Which
/// places of the path each step can end at is carried along, so no pattern takes more than
/// steps times letters.
fn wildcard(pattern: &str, path: &str) -> bool {
    let path: Vec<char> = path.chars().collect();
    let slash = |c: char| matches!(c, '/' | '\\');
    let mut here = vec![false; path.len() + 1];
    if let Some(start) = here.first_mut() {
        *start = true;
    }
    for step in steps(pattern) {
        // Whether the place before was reached: by the step before, by this one, by any.
        let (mut before, mut grown, mut any) = (false, false, false);
        let mut next = Vec::with_capacity(here.len());
        let letters = std::iter::once(None).chain(path.iter().copied().map(Some));
        for (now, letter) in here.iter().copied().zip(letters) {
            let at = |good: &dyn Fn(char) -> bool| letter.is_some_and(good);
            let reached = match step {
                Step::Letter(wanted) => before && at(&|c| c == wanted),
                Step::One => before && at(&|c| !slash(c)),
                Step::Run => now || grown && at(&|c| !slash(c)),
                Step::Slash => (before || grown) && at(&slash),
                Step::Slashes => now || grown && at(&slash),
                Step::Deep => now || any && at(&slash),
                Step::Rest => now || any,
            };
            next.push(reached);
            any |= now;
            before = now;
            grown = reached;
        }
        here = next;
    }
    here.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THREE: RateLimit = RateLimit { window: 10, max: 3 };

    #[test]
    fn the_window_begins_again_only_when_the_last_admitted_request_is_a_window_ago() {
        let mut memory = Memory::default();
        let mut ask = |now| memory.count("a|/b".into(), THREE, now);
        assert_eq!([ask(0), ask(4_000), ask(8_000)], [Ok(()); 3]);
        // Ten seconds after the first, but not after the last.
        assert_eq!(ask(12_000), Err(6));
        assert_eq!(ask(17_999), Err(1), "refused requests do not count");
        assert_eq!(ask(18_000), Ok(()));
        assert_eq!([ask(18_001), ask(18_002)], [Ok(()); 2]);
        assert_eq!(ask(18_003), Err(10));
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_quietest_first() {
        let mut memory = Memory::default();
        let long = RateLimit { window: 1_000_000, max: 1 };
        for n in 0..i64::try_from(MOST).unwrap() {
            assert_eq!(memory.count(format!("{n}"), long, n), Ok(()));
        }
        let now = i64::try_from(MOST).unwrap();
        assert_eq!(memory.count("new".into(), long, now), Ok(()));
        assert_eq!(memory.counters.len(), MOST - MOST / 10 + 1);
        assert!(memory.counters.contains_key("99999") && memory.counters.contains_key("new"));
        assert!(!memory.counters.contains_key("0"));
        // Where all were quiet equally long, some go all the same.
        let mut memory = Memory::default();
        for n in 0..=MOST {
            assert_eq!(memory.count(format!("{n}"), long, 0), Ok(()));
        }
        assert_eq!(memory.counters.len(), MOST - MOST / 10 + 1);
    }

    #[test]
    fn what_is_over_goes_without_being_asked_for() {
        let mut memory = Memory::default();
        assert_eq!(memory.count("a".into(), THREE, 0), Ok(()));
        assert_eq!(memory.count("b".into(), THREE, 60_000), Ok(()));
        assert_eq!(memory.counters.len(), 1);
    }

    #[test]
    fn a_path_is_counted_in_one_form() {
        let counted = |path: &str| counted_path("/api/auth", path);
        for path in [
            "/api/auth/sign-in/email",
            "/api/auth//sign-in/email",
            "/api/auth/sign-in/email/",
            "/api/auth/sign-in//email///",
            "/api/auth/%73ign-in/%65mail",
            "/api/auth/sign%2din/email",
            "/sign-in/email",
        ] {
            assert_eq!(counted(path), "/sign-in/email", "{path}");
        }
        for (path, own) in [
            ("/api/auth", "/api/auth"),
            ("/api/auth/", "/"),
            ("/api/authx", "/api/authx"),
            // An encoded slash, percent sign or letter beyond ASCII is not the letter itself.
            ("/api/auth/a%2fb", "/a%2Fb"),
            ("/api/auth/a%2565", "/a%2565"),
            ("/api/auth/%c3%A4", "/%C3%A4"),
            ("/api/auth/a%", "/a%25"),
            ("/api/auth/a%4", "/a%254"),
            ("/api/auth/%%374", "/%2574"),
            ("/api/auth/%ää%61", "/%25ääa"),
            ("/api/auth/Sign-In", "/Sign-In"),
        ] {
            assert_eq!(counted(path), own, "{path}");
        }
        assert_eq!(counted_path("", "//ok/"), "/ok");
    }

    #[test]
    fn a_long_path_has_a_short_key_of_its_own() {
        let long = |end: &str| stored_key("1.2.3.4", &format!("/{}{end}", "x".repeat(5_000)));
        assert!(long("a").len() <= LONGEST);
        assert_ne!(long("a"), long("b"));
        assert_eq!(stored_key("1.2.3.4", "/ok"), "1.2.3.4|/ok");
    }

    /// What better-auth 1.7.6 answers for the same patterns, quirks included.
    #[test]
    fn wildcards_are_those_of_better_auth() {
        for (pattern, path, matches) in [
            ("/sign-in/*", "/sign-in/email", true),
            ("/sign-in/*", "/sign-in/", true),
            ("/sign-in/*", "/sign-in", false),
            ("/sign-in/*", "/sign-in/a/b", false),
            ("/sign-in/*", "/sign-up/email", false),
            ("*", "/ok", false),
            ("/*", "/ok", true),
            ("/*", "/a/b", false),
            ("/**", "/a/b/c", true),
            ("**", "/a/b", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab", true),
            ("/a/**/d", "/a/b/c/d", true),
            ("/a/**/d", "/a/d", true),
            ("/a/**/d", "/a/b/c", false),
            ("/a/**/**/d", "/a/b/d", true),
            ("/s*-in/e*l", "/sign-in/email", true),
            ("/a?c*", "/abcd", true),
            ("/a?c*", "/a/cd", false),
            ("/a\\*b*", "/a*bc", true),
            ("/a\\*b*", "/axbc", false),
            ("/a.c*", "/abc", false),
        ] {
            assert_eq!(wildcard(pattern, path), matches, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_counted_path_is_its_own_counted_path(path in "/[a-c/%2-6.ä~]{0,24}") {
            let once = counted_path("/api/auth", &path);
            prop_assert!(once.starts_with('/') && !once.contains("//"));
            prop_assert_eq!(counted_path("", &once), once.clone());
            prop_assert_eq!(counted_path("/api/auth", &format!("/{path}/")), once);
        }

        #[test]
        fn a_path_is_matched_by_itself_and_by_a_star_for_each_segment(path in "(/[a-c*?.]{1,3}){1,5}") {
            let itself = path.replace('*', "\\*").replace('?', "\\?");
            let longer = format!("{path}/x");
            prop_assert!(wildcard(&itself, &path) && !wildcard(&itself, &longer));
            let stars = "/*".repeat(path.matches('/').count());
            prop_assert!(wildcard(&stars, &path) && !wildcard(&stars, &longer));
            let (below, deep) = (format!("/**{itself}"), format!("/x/y{path}"));
            prop_assert!(wildcard(&below, &deep) && !wildcard(&itself, &deep));
        }
    }
}
