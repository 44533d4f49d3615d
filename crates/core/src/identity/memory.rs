//! Sessions that were read lately, in memory, so that most requests need no query.
//!
//! They are as good as the database: a write of this process is seen by the very next read, one of
//! another process on the same SQLite file within ten milliseconds (`store/written.rs`). Other databases
//! do not say when somebody writes to them, so there nothing is remembered.

use std::sync::Arc;

use quick_cache::sync::Cache;
use serde_json::Value as Json;

use super::session::SessionUser;
use crate::auth::Auth;
use crate::store::{Dialect, Moment, Store, Traces};

/// The sessions; at most so many as `session.memoryCacheSize` allows.
#[derive(Debug)]
pub(crate) struct Memory(Option<Cache<Box<str>, Remembered>>);

#[derive(Debug, Clone)]
struct Remembered {
    current: SessionUser,
    shown: Arc<str>,
    since: Moment,
    traces: Traces,
}

impl Memory {
    pub(crate) fn new(store: &Store, sessions: usize) -> Self {
        let of_use = store.dialect() == Dialect::Sqlite && sessions > 0;
        Self(of_use.then(|| Cache::new(sessions)))
    }

    /// What the database would say now, and how `/get-session` shows it.
    pub(super) async fn recall(&self, store: &Store, token: &str) -> Option<(SessionUser, Arc<str>)> {
        let cache = self.0.as_ref()?;
        let remembered = cache.get(token)?;
        // First the others: what they have written stamps everything.
        if !store.knows_others().await {
            return None;
        }
        if !store.unchanged(remembered.since, remembered.traces) {
            cache.remove(token);
            return None;
        }
        Some((remembered.current, remembered.shown))
    }

    /// Remembers what was read after `since`.
    pub(super) fn keep(&self, auth: &Auth, since: Moment, current: &SessionUser) {
        let Some(cache) = &self.0 else { return };
        let token = current.session.token.as_str();
        let traces = auth.store().traces(token, &current.user.id);
        let shown = Json::Object(current.view(auth)).to_string().into();
        cache.insert(token.into(), Remembered { current: current.clone(), shown, since, traces });
    }
}
