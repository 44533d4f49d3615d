//! Sessions that were read lately, in memory, so that most requests need no query.
//!
//! They are as good as the database: a write of this process is seen by the very next read
//! (`store/written.rs`), one of another process on the same SQLite file within ten milliseconds, and on
//! PostgreSQL as soon as it is told (`store/listen.rs`). MySQL does not tell, so there nothing is remembered.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use quick_cache::sync::Cache;

use super::packed::{Packer, Shape, Unpacker};
use super::session::{Session, SessionUser};
use super::user::User;
use crate::auth::Auth;
use crate::cache::cache_of;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{Moment, Store, Traces};

/// The sessions; as many as `session.memoryCacheSize` says, and at most an eighth more.
#[derive(Debug)]
pub(crate) struct Memory {
    cache: Option<Cache<Box<str>, Kept>>,
    readings: AtomicU64,
    session: Shape,
    user: Shape,
}

#[derive(Debug, Clone)]
struct Kept {
    remembered: Remembered,
    since: Moment,
    traces: Traces,
}

/// What was read of a session and its user at one time.
#[derive(Clone)]
struct Remembered {
    packed: Arc<[u8]>,
    expires_at: Timestamp,
    reading: u64,
}

/// Without the rows, of which some columns are hidden.
impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("reading", &self.reading).finish_non_exhaustive()
    }
}

/// A session that was found, with its user. One that is remembered is unpacked when somebody asks for more of
/// it than `/get-session` does.
#[derive(Debug)]
pub struct Found {
    token: String,
    expires_at: Timestamp,
    remembered: Option<Remembered>,
    whole: OnceLock<Box<SessionUser>>,
}

impl From<SessionUser> for Found {
    fn from(current: SessionUser) -> Self {
        let Session { token, expires_at, .. } = &current.session;
        let (token, expires_at) = (token.clone(), *expires_at);
        Self { token, expires_at, remembered: None, whole: OnceLock::from(Box::new(current)) }
    }
}

impl Found {
    /// Its token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Until when.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Is it as it was remembered?
    pub(super) fn is_remembered(&self) -> bool {
        self.remembered.is_some()
    }

    /// Which reading of the database it was, if that is remembered: what was made of it once need not be made
    /// again.
    pub fn reading(&self) -> Option<u64> {
        self.remembered.as_ref().map(|remembered| remembered.reading)
    }

    /// All of it.
    pub fn current(&self, auth: &Auth) -> Result<&SessionUser, Error> {
        match self.whole.get() {
            Some(whole) => Ok(whole),
            None => {
                let unpacked = Box::new(self.unpacked(auth)?);
                Ok(self.whole.get_or_init(|| unpacked))
            }
        }
    }

    /// All of it.
    pub fn into_current(mut self, auth: &Auth) -> Result<SessionUser, Error> {
        match self.whole.take() {
            Some(whole) => Ok(*whole),
            None => self.unpacked(auth),
        }
    }

    fn unpacked(&self, auth: &Auth) -> Result<SessionUser, Error> {
        let unpacked = self.remembered.as_ref().and_then(|remembered| remembered.unpack(auth, &self.token));
        unpacked.ok_or_else(|| {
            // The next request reads it from the database.
            auth.memory().forget(&self.token);
            Error::broken("a remembered session cannot be unpacked")
        })
    }

    /// What [`SessionUser::view`] says, as text, if it is remembered.
    pub(crate) fn text(&self, auth: &Auth) -> Option<Bytes> {
        self.remembered.as_ref()?.text(auth.memory(), &self.token)
    }
}

impl Remembered {
    fn unpack(&self, auth: &Auth, token: &str) -> Option<SessionUser> {
        let mut rows = Unpacker::new(&self.packed, token);
        let session = Session::from_row(rows.row(auth.table(Session::KEY))?).ok()?;
        let user = User::from_row(rows.row(auth.table(User::KEY))?).ok()?;
        Some(SessionUser { session, user })
    }

    fn text(&self, memory: &Memory, token: &str) -> Option<Bytes> {
        // As text, with the names of its columns, it takes more room than packed; a guess, which may grow.
        let mut out = Vec::with_capacity(self.packed.len() * 2 + 512);
        let mut rows = Unpacker::new(&self.packed, token);
        out.extend(br#"{"session":"#);
        rows.write_json(&memory.session, &mut out)?;
        out.extend(br#","user":"#);
        rows.write_json(&memory.user, &mut out)?;
        out.push(b'}');
        Some(out.into())
    }
}

impl Memory {
    pub(crate) fn new(store: &Store, sessions: usize) -> Self {
        let of_use = store.can_remember() && sessions > 0;
        let shape = |table| store.schema().get(table).map(Shape::from).unwrap_or_default();
        Self {
            cache: of_use.then(|| cache_of(sessions)),
            readings: AtomicU64::new(0),
            session: shape(Session::KEY),
            user: shape(User::KEY),
        }
    }

    /// What the database would say now.
    pub(super) async fn recall(&self, auth: &Auth, token: &str) -> Option<Found> {
        let Kept { remembered, since, traces } = self.cache.as_ref()?.get(token)?;
        if !auth.store().still(since, traces).await {
            return None;
        }
        let (token, expires_at) = (token.to_owned(), remembered.expires_at);
        Some(Found { token, expires_at, remembered: Some(remembered), whole: OnceLock::new() })
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
        let (token, expires_at) = (session.token.clone(), session.expires_at);
        let traces = auth.store().traces(&token, &user.id);
        let mut packer = Packer::new(&token);
        packer.push(auth.table(Session::KEY), &session.into_row());
        packer.push(auth.table(User::KEY), &user.into_row());
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        let remembered = Remembered { packed: packer.into_bytes().into(), expires_at, reading };
        cache.insert(token.into(), Kept { remembered, since, traces });
    }
}
