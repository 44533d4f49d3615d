//! Keys that a server publishes: fetched beside requests, one fetch at a time, and kept while the
//! server is away.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::outbound::{Endpoint, Http};
use crate::{Clock, ConfigError, Error, KeySet};

/// The longest set that is read.
const MAX_SET: usize = 256 * 1024;
/// How long keys are fresh when the server says nothing.
const DEFAULT_AGE: Duration = Duration::from_secs(5 * 60);
/// How long keys are fresh at most: a key that was taken away is known for no longer.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// The first pause after a failure while there are no keys; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How keys are fetched.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) url: Option<String>,
    pub(crate) allow_http: bool,
    pub(crate) timeout: Duration,
    pub(crate) max_wait: Duration,
    pub(crate) min_refetch: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: None,
            allow_http: false,
            timeout: Duration::from_secs(10),
            max_wait: Duration::from_secs(5),
            min_refetch: Duration::from_secs(30),
        }
    }
}

/// A server's keys.
pub(crate) struct Remote {
    endpoint: Endpoint,
    http: Http,
    max_wait: Duration,
    min_refetch: Duration,
    clock: Clock,
    /// Held for the time of a copy, never while waiting.
    known: RwLock<Option<Known>>,
    gate: Mutex<Gate>,
    /// Counts fetches that ended.
    ended: watch::Sender<u64>,
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    fresh_until: Duration,
}

/// Who may fetch, and when.
#[derive(Default)]
struct Gate {
    running: bool,
    not_before: Duration,
    failures: u32,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("host", &self.endpoint.host()).finish_non_exhaustive()
    }
}

impl Remote {
    pub(crate) fn new(options: Options, clock: Clock) -> Result<Option<Arc<Self>>, ConfigError> {
        let Some(url) = options.url else { return Ok(None) };
        let endpoint = Endpoint::parse(&url, options.allow_http)?;
        Ok(Some(Arc::new(Self {
            http: Http::new(options.timeout, &endpoint)?,
            endpoint,
            max_wait: options.max_wait,
            min_refetch: options.min_refetch,
            clock,
            known: RwLock::new(None),
            gate: Mutex::default(),
            ended: watch::Sender::new(0),
        })))
    }

    /// The keys, however old.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        self.known().map(|known| known.keys)
    }

    /// The keys, however old; stale ones are renewed in the background.
    pub(crate) fn keys_kept_fresh(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let known = self.known()?;
        if self.clock.elapsed() >= known.fresh_until {
            self.start();
        }
        Some(known.keys)
    }

    /// Starts a fetch, or joins the one that runs, and waits for its end or `max_wait`. Does not wait
    /// where it is too early for another.
    pub(crate) async fn fetched(self: &Arc<Self>) {
        if let Some(mut ended) = self.start() {
            // Whether it ended well, and in time, shows in the keys.
            let _ = timeout(self.max_wait, ended.changed()).await;
        }
    }

    /// There are no keys.
    pub(crate) fn unavailable(&self) -> Error {
        let left = self.gate().not_before.saturating_sub(self.clock.elapsed());
        Error::KeysUnavailable { retry_after: left.as_secs().max(1) }
    }

    /// What tells of the end of the fetch that runs now; `None` when it is too early for one, or no
    /// runtime is there to run it.
    fn start(self: &Arc<Self>) -> Option<watch::Receiver<u64>> {
        let mut gate = self.gate();
        if gate.running {
            return Some(self.ended.subscribe());
        }
        if self.clock.elapsed() < gate.not_before {
            return None;
        }
        // verify_now may be called from anywhere.
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        gate.running = true;
        let ended = self.ended.subscribe();
        drop(gate);
        // Not the request's own future: a client that goes away must not end what others wait for.
        let running = Running { remote: Arc::clone(self), result: Err("it was given up".to_owned()) };
        runtime.spawn(running.run());
        Some(ended)
    }

    async fn fetch(&self) -> Result<Known, String> {
        let answer = self.http.get(&self.endpoint, None, MAX_SET).await?;
        if answer.status != 200 {
            return Err(format!("the server answered {}", answer.status));
        }
        let (keys, skipped) = KeySet::from_published(&answer.body).map_err(|error| error.to_string())?;
        for one in skipped {
            tracing::warn!(host = self.endpoint.host(), kid = one.kid, why = %one.why, "a published key is passed over");
        }
        if keys.is_empty() {
            return Err("no key of the set can be used".to_owned());
        }
        let age = answer.fresh_for.unwrap_or(DEFAULT_AGE).min(MAX_AGE).max(self.min_refetch);
        Ok(Known { keys: Arc::new(keys), fresh_until: self.clock.elapsed() + age })
    }

    fn end(&self, result: Result<Known, String>) {
        let failed = match result {
            Ok(known) => {
                tracing::debug!(host = self.endpoint.host(), keys = known.keys.len(), "keys were fetched");
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
                false
            }
            Err(why) => {
                tracing::warn!(host = self.endpoint.host(), why, "keys could not be fetched");
                true
            }
        };
        let has_keys = self.known().is_some();
        let mut gate = self.gate();
        gate.running = false;
        gate.failures = if failed { gate.failures.saturating_add(1) } else { 0 };
        // Without keys nobody is served, so the next try comes soon; with keys nothing presses.
        let pause = if failed && !has_keys {
            FIRST_PAUSE.saturating_mul(1 << (gate.failures - 1).min(10)).min(self.min_refetch)
        } else {
            self.min_refetch
        };
        gate.not_before = self.clock.elapsed() + pause;
        drop(gate);
        self.ended.send_modify(|count| *count += 1);
    }

    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that runs. Its end is told however it comes: also when its runtime ends before it.
struct Running {
    remote: Arc<Remote>,
    result: Result<Known, String>,
}

impl Running {
    async fn run(mut self) {
        self.result = self.remote.fetch().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Err(String::new()));
        self.remote.end(result);
    }
}
