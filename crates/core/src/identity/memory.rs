//! Sessions that were read lately, in memory, so that most requests need no query.
//!
//! They are as good as the database: a write of this process is seen by the very next read
//! (`store/written.rs`), one of another process on the same SQLite file within ten milliseconds, and on
//! PostgreSQL as soon as it is told (`store/listen.rs`). MySQL does not tell, so there nothing is remembered.

use std::sync::Arc;

use axum::body::Bytes;
use quick_cache::sync::Cache;
use serde_json::Value as Json;

use super::session::SessionUser;
use crate::auth::Auth;
use crate::store::{Moment, Store, Traces};

/// The sessions; at most so many as `session.memoryCacheSize` allows.
#[derive(Debug)]
pub(crate) struct Memory(Option<Cache<Box<str>, Remembered>>);

#[derive(Debug, Clone)]
struct Remembered {
    current: Arc<SessionUser>,
    shown: Bytes,
    since: Moment,
    traces: Traces,
}

impl Memory {
    pub(crate) fn new(store: &Store, sessions: usize) -> Self {
        let of_use = store.can_remember() && sessions > 0;
        Self(of_use.then(|| Cache::new(sessions)))
    }

    /// What the database would say now, and how `/get-session` shows it.
    pub(super) async fn recall(&self, store: &Store, token: &str) -> Option<(Arc<SessionUser>, Bytes)> {
        let cache = self.0.as_ref()?;
        let remembered = cache.get(token)?;
        store
            .still(remembered.since, remembered.traces)
            .await
            .then_some((remembered.current, remembered.shown))
    }

    /// Forgets what may be too old to act on.
    pub(super) fn forget(&self, token: &str) {
        if let Some(cache) = &self.0 {
            cache.remove(token);
        }
    }

    /// Remembers what was read after `since`.
    pub(super) fn keep(&self, auth: &Auth, since: Moment, current: &Arc<SessionUser>) {
        let Some(cache) = &self.0 else { return };
        let token = current.session.token.as_str();
        let traces = auth.store().traces(token, &current.user.id);
        let shown = Json::Object(current.view(auth)).to_string().into();
        cache.insert(token.into(), Remembered { current: Arc::clone(current), shown, since, traces });
    }
}
