//! What was written when, for whoever remembers what was read.
//!
//! A remembered session is right for as long as nothing that it was read from is written. So a write to
//! `session` or `user` marks what it touches before it begins and stamps it when it has ended; what was
//! read before the stamp, or while the mark was there, does not count any more. A write names what it
//! touches by its filter: a session by its token, a user's sessions by the user. One that names neither
//! touches everything. Inserts touch nothing: that a row is missing is not remembered. Of a table that is
//! [`watched`](super::Table::watched), each write touches all that was read from it.
//!
//! Writes of other processes show in SQLite's `data_version`, which counts what *other* connections have
//! committed. All writes of a [`Store`] go through one connection, so there it counts others alone.
//! PostgreSQL's triggers tell of them (`listen.rs`); MySQL is silent, and nothing is remembered of it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::filter::Filter;
use super::link::Pool;
use super::listen::TRUSTED_FOR;
use super::value::Value;
use super::{Dialect, IdKind, Store, Table};

/// For how long somebody waits for the look of another: whoever looks may have stopped half-way.
const PATIENCE: Duration = Duration::from_millis(100);

/// Two that share a slot are forgotten together, which costs a query.
const SLOTS: u16 = 1024;

/// Which columns name what is touched: sessions by token, sessions and users by the user.
const NAMES: [(&str, &str, Of); 3] =
    [("session", "token", Of::Session), ("session", "userId", Of::User), ("user", "id", Of::User)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Session,
    User,
    Table,
}

/// A moment in the order of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// Where the writes to one session and its user, or to a watched table, leave their stamps.
#[derive(Debug, Clone, Copy)]
pub struct Traces([u16; 2]);

#[derive(Debug, Default)]
struct Slot {
    /// Writes that have begun and not ended.
    under_way: AtomicU32,
    /// When the last one ended.
    last: AtomicU64,
}

/// The stamps of one store, and what is known of other processes.
#[derive(Debug)]
pub(super) struct Written {
    /// The order of writes.
    now: AtomicU64,
    /// The last one of these is for writes that touch everything.
    slots: Box<[Slot]>,
    hasher: RandomState,
    started: Instant,
    /// For how long an answer about other processes is good enough.
    trusted_for: Duration,
    /// When they were last looked at, in microseconds since the start; `u64::MAX`: never.
    looked: AtomicU64,
    looking: AtomicBool,
    /// A look has ended.
    ended: Notify,
    version: AtomicI64,
}

impl Written {
    pub fn new(trusted_for: Duration) -> Self {
        Self {
            now: AtomicU64::new(0),
            slots: (0..=SLOTS).map(|_| Slot::default()).collect(),
            hasher: RandomState::new(),
            started: Instant::now(),
            trusted_for,
            looked: AtomicU64::new(u64::MAX),
            looking: AtomicBool::new(false),
            ended: Notify::new(),
            version: AtomicI64::new(i64::MIN),
        }
    }

    fn slot(&self, of: Of, value: &str) -> u16 {
        u16::try_from(self.hasher.hash_one((of, value)) % u64::from(SLOTS)).unwrap_or(0)
    }

    fn at(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(usize::from(slot))
    }

    /// Microseconds since the start.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
    }

    /// For how long nothing had been heard of others then; `None`: never had been.
    fn age(&self, then: u64) -> Option<Duration> {
        let looked = Some(self.looked.load(Ordering::SeqCst)).filter(|looked| *looked != u64::MAX);
        looked.map(|looked| Duration::from_micros(then.saturating_sub(looked)))
    }

    /// All that others had written then is known.
    pub fn looked_at(&self, then: u64) {
        self.looked.store(then, Ordering::SeqCst);
    }

    /// Nobody tells of others any more.
    pub fn look_away(&self) {
        self.looked.store(u64::MAX, Ordering::SeqCst);
    }

    /// Somebody has written what is this user's; an empty text: anybody's.
    pub fn told(&self, user: &str) {
        self.stamp(if user.is_empty() { SLOTS } else { self.slot(Of::User, user) });
    }

    fn stamp(&self, at: u16) {
        if let Some(slot) = self.at(at) {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            slot.last.fetch_max(now, Ordering::SeqCst);
        }
    }

    /// Has this slot not been written since?
    fn quiet(&self, at: u16, since: Moment) -> bool {
        // First the mark, then the stamp: a write that ends in between has left its stamp already.
        self.at(at).is_some_and(|slot| {
            slot.under_way.load(Ordering::SeqCst) == 0 && slot.last.load(Ordering::SeqCst) <= since.0
        })
    }

    /// The slots of what a write touches; without a filter it is an insert.
    fn touched(&self, table: &Table, filter: Option<&Filter>, uuids: bool) -> Vec<u16> {
        if table.watched {
            return vec![self.slot(Of::Table, &table.key)];
        }
        if !NAMES.iter().any(|(of, ..)| *of == table.key) {
            return Vec::new();
        }
        let parts = match filter {
            None => return Vec::new(),
            Some(Filter::And(parts)) => parts.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        for part in parts {
            let (key, values) = match part {
                Filter::Is(key, value) => (key, std::slice::from_ref(value)),
                Filter::In(key, values) => (key, values.as_slice()),
                _ => continue,
            };
            let Some((.., of)) = NAMES.iter().find(|(of, column, _)| *of == table.key && column == key)
            else {
                continue;
            };
            let named: Option<Vec<u16>> = values
                .iter()
                .map(|value| match value {
                    // An id that the database reads in many spellings is found by each.
                    Value::Text(text) if uuids && *of == Of::User => {
                        Some(self.slot(*of, &uuid::Uuid::try_parse(text).ok()?.to_string()))
                    }
                    Value::Text(text) => Some(self.slot(*of, text)),
                    _ => None,
                })
                .collect();
            if let Some(named) = named {
                return named;
            }
        }
        vec![SLOTS]
    }
}

/// A write that has begun. Dropped before it is [`done`](Writing::done), nobody knows whether it has
/// happened or is about to, so its marks stay until the connection is free again.
#[must_use]
pub(super) struct Writing(Marks);

/// Dropping these leaves them where they are: every read of those slots then goes to the database.
struct Marks {
    store: Store,
    slots: Vec<u16>,
}

impl Marks {
    fn take_off(self) {
        let written = &self.store.0.written;
        for at in self.slots {
            written.stamp(at);
            if let Some(slot) = written.at(at) {
                slot.under_way.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

impl Writing {
    /// It has ended, one way or the other.
    pub fn done(mut self) {
        self.marks().take_off();
    }

    /// Its marks; none are left with it.
    fn marks(&mut self) -> Marks {
        Marks { store: self.0.store.clone(), slots: std::mem::take(&mut self.0.slots) }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.0.slots.is_empty() {
            return;
        }
        let marks = self.marks();
        // A write to PostgreSQL that happens yet will be told of like anybody else's.
        if marks.store.dialect() != Dialect::Sqlite {
            return marks.take_off();
        }
        // A runtime that is shutting down drops this at once, so nothing in it may spawn when dropped.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // What was sent to the connection before is over once it answers this.
            while marks.store.0.pool.data_version(None).await.is_err() {
                if marks.store.0.pool.is_closed() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            marks.take_off();
        });
    }
}

impl Store {
    /// A write begins that changes or deletes the rows that the filter takes, or makes one; `None` where
    /// nobody remembers what they said.
    pub(super) fn writing(&self, table: &Table, filter: Option<&Filter>) -> Option<Writing> {
        if self.dialect() == Dialect::MySql {
            return None;
        }
        let written = &self.0.written;
        let slots = written.touched(table, filter, self.id_kind() == IdKind::Uuid);
        if slots.is_empty() {
            return None;
        }
        for at in &slots {
            if let Some(slot) = written.at(*at) {
                slot.under_way.fetch_add(1, Ordering::SeqCst);
            }
        }
        Some(Writing(Marks { store: self.clone(), slots }))
    }

    /// Now, in the order of writes: to be taken before a read that is to be remembered.
    pub fn moment(&self) -> Moment {
        Moment(self.0.written.now.load(Ordering::SeqCst))
    }

    /// Where to look for writes to a session and its user.
    pub fn traces(&self, token: &str, user: &str) -> Traces {
        let written = &self.0.written;
        Traces([written.slot(Of::Session, token), written.slot(Of::User, user)])
    }

    /// Where to look for writes to a watched table.
    pub fn traces_of(&self, table: &str) -> Traces {
        Traces([self.0.written.slot(Of::Table, table); 2])
    }

    /// Is what was read at that moment still so?
    pub async fn still(&self, since: Moment, traces: Traces) -> bool {
        // First the others: what they have written stamps everything.
        self.knows_others().await && self.unchanged(since, traces)
    }

    /// The same, as far as this process has written.
    pub fn unchanged(&self, since: Moment, Traces(slots): Traces) -> bool {
        let written = &self.0.written;
        slots.into_iter().chain([SLOTS]).all(|at| written.quiet(at, since))
    }

    /// Do we know of what other processes have written, but for the last few milliseconds
    /// ([`ConnectOptions::trusted_for`](super::ConnectOptions))?
    pub async fn knows_others(&self) -> bool {
        let written = &self.0.written;
        if self.0.pool.is_private() {
            return true;
        }
        let asked = written.elapsed();
        if self.dialect() != Dialect::Sqlite {
            return written.age(asked).is_some_and(|age| age < TRUSTED_FOR);
        }
        loop {
            let ended = written.ended.notified();
            let age = written.age(asked);
            // Zero: the look was after the question.
            let within = |time| age.is_some_and(|age| age.is_zero() || age < time);
            if within(written.trusted_for / 2) {
                return true;
            }
            // One looks, ahead of time; the others go on for as long as they may, and then wait for it. On a busy
            // machine it takes a while, and if they asked the database instead, it would take longer.
            if !written.looking.swap(true, Ordering::SeqCst) {
                let _looking = Looking(written);
                return self.look().await || within(written.trusted_for);
            }
            if within(written.trusted_for) {
                return true;
            }
            if tokio::time::timeout(PATIENCE, ended).await.is_err() {
                return false;
            }
        }
    }

    /// Looks at what others have written. False when the connection is busy with a write of our own, for longer
    /// than it takes to come back from the last look: then there is no telling.
    async fn look(&self) -> bool {
        let written = &self.0.written;
        let now = written.elapsed();
        let Ok(version) = self.0.pool.data_version(Some(written.trusted_for / 4)).await else { return false };
        if written.version.swap(version, Ordering::SeqCst) != version {
            written.stamp(SLOTS);
        }
        written.looked_at(now);
        true
    }
}

struct Looking<'a>(&'a Written);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl Pool {
    /// SQLite's `data_version` on the connection that writes. Fails when that is busy for longer than this.
    async fn data_version(&self, patience: Option<Duration>) -> Result<i64, super::StoreError> {
        let Self::Sqlite { writer, .. } = self else {
            return Err(super::StoreError::bug("only SQLite has a data_version"));
        };
        let mut connection = match (writer.try_acquire(), patience) {
            (Some(connection), _) => connection,
            (None, None) => writer.acquire().await?,
            (None, Some(patience)) => match tokio::time::timeout(patience, writer.acquire()).await {
                Ok(connection) => connection?,
                Err(_) => return Err(super::StoreError::Unavailable("busy".into())),
            },
        };
        Ok(sqlx::query_scalar("pragma data_version").fetch_one(&mut *connection).await?)
    }
}
