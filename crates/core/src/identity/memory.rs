//! Sessions that were read lately, in memory, so that most requests need no query.
//!
//! They are as good as the database: a write of this process is seen by the very next read
//! (`store/written.rs`), one of another process on the same SQLite file within ten milliseconds, and on
//! PostgreSQL as soon as it is told (`store/listen.rs`). MySQL does not tell, so there nothing is remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use quick_cache::sync::Cache;

use super::packed::{Packer, Unpacker};
use super::session::{Session, SessionUser};
use super::user::User;
use crate::auth::Auth;
use crate::store::{Moment, Store, Traces};

/// The sessions; at most so many as `session.memoryCacheSize` allows.
#[derive(Debug)]
pub(crate) struct Memory {
    cache: Option<Cache<Box<str>, Kept>>,
    readings: AtomicU64,
}

#[derive(Debug, Clone)]
struct Kept {
    remembered: Remembered,
    since: Moment,
    traces: Traces,
}

/// What was read of a session and its user at one time.
#[derive(Debug, Clone)]
pub struct Remembered {
    packed: Arc<[u8]>,
    reading: u64,
}

impl Remembered {
    /// Which reading of the database it was: what was made of it once need not be made again.
    pub fn reading(&self) -> u64 {
        self.reading
    }

    fn unpack(&self, auth: &Auth, token: &str) -> Option<SessionUser> {
        let mut rows = Unpacker::new(&self.packed, token);
        let session = Session::from_row(rows.row(auth.table(Session::KEY))?).ok()?;
        let user = User::from_row(rows.row(auth.table(User::KEY))?).ok()?;
        Some(SessionUser { session, user })
    }

    /// What [`SessionUser::view`] says, as text; with the session's token.
    pub(crate) fn view(&self, auth: &Auth, token: &str) -> Option<Bytes> {
        // As text, with the names of its columns, it takes more room than packed; a guess, which may grow.
        let mut out = Vec::with_capacity(self.packed.len() * 2 + 512);
        let mut rows = Unpacker::new(&self.packed, token);
        out.extend(br#"{"session":"#);
        rows.write_json(auth.table(Session::KEY), &mut out)?;
        out.extend(br#","user":"#);
        rows.write_json(auth.table(User::KEY), &mut out)?;
        out.push(b'}');
        Some(out.into())
    }
}

impl Memory {
    pub(crate) fn new(store: &Store, sessions: usize) -> Self {
        let of_use = store.can_remember() && sessions > 0;
        Self { cache: of_use.then(|| Cache::new(sessions)), readings: AtomicU64::new(0) }
    }

    /// What the database would say now.
    pub(super) async fn recall(&self, auth: &Auth, token: &str) -> Option<(SessionUser, Remembered)> {
        let Kept { remembered, since, traces } = self.cache.as_ref()?.get(token)?;
        if !auth.store().still(since, traces).await {
            return None;
        }
        Some((remembered.unpack(auth, token)?, remembered))
    }

    /// Forgets what may be too old to act on.
    pub(super) fn forget(&self, token: &str) {
        if let Some(cache) = &self.cache {
            cache.remove(token);
        }
    }

    /// Remembers what was read after `since`.
    pub(super) fn keep(&self, auth: &Auth, since: Moment, current: &SessionUser) {
        let Some(cache) = &self.cache else { return };
        let SessionUser { session, user } = current.clone();
        let token = session.token.clone();
        let traces = auth.store().traces(&token, &user.id);
        let mut packer = Packer::new(&token);
        packer.push(auth.table(Session::KEY), &session.into_row());
        packer.push(auth.table(User::KEY), &user.into_row());
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        let remembered = Remembered { packed: packer.into_bytes().into(), reading };
        cache.insert(token.into(), Kept { remembered, since, traces });
    }
}
