//! Throwing away what has expired: sessions, verifications, and counts of requests that no rule looks at
//! any more. All of it counts as absent already, so nobody notices but the database.
//!
//! A batch is a list of ids and a deletion of those that are still expired, each a statement of its own:
//! no long lock, no long transaction, and any number of processes may do it at once.

use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::rate_limit;
use crate::identity::{Session, Verification};
use crate::store::{Db, Field, Filter, Query, Value};

/// Rows of a batch, unless the settings say otherwise.
pub const BATCH: u64 = 500;

/// Rows that one purge removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Expired sessions.
    pub sessions: u64,
    /// Expired verifications.
    pub verifications: u64,
    /// Counts of requests.
    pub rate_limits: u64,
    /// A table had a whole batch: there may be more.
    pub more: bool,
}

impl Purged {
    /// All of them.
    pub fn rows(&self) -> u64 {
        self.sessions + self.verifications + self.rate_limits
    }
}

impl Auth {
    /// Removes expired rows, at most `limit` of each table. The server does this by itself; an app that
    /// embeds the engine calls it now and then, and again while [`Purged::more`] is set.
    ///
    /// `verification.disableCleanup` keeps verifications, `session.preserveSessionInDatabase` sessions.
    ///
    /// # Errors
    /// Those of the database. What was removed before stays removed.
    pub async fn purge_expired(&self, limit: u64) -> Result<Purged, Error> {
        let settings = &self.config().settings;
        let limit = limit.clamp(1, 10_000);
        let now = self.clock().now();
        let mut purged = Purged::default();
        let mut db = self.db();
        // What secondary storage has alone ends there by itself, and the database has no such table.
        let config = self.config();
        if config.sessions.in_database() && !config.preserve_sessions {
            purged.sessions = expired(self, &mut db, Session::KEY, Session::EXPIRES_AT, now, limit).await?;
        }
        if config.verifications.in_database() && !settings.verification.disable_cleanup {
            purged.verifications = verifications(self, &mut db, limit).await?;
        }
        if let Some(before) = self.rate_limits().nobody_looks_before(now) {
            let old = Filter::Lt(rate_limit::LAST.into(), before.into());
            purged.rate_limits = batch(self, &mut db, rate_limit::TABLE, &old, limit).await?;
        }
        purged.more = [purged.sessions, purged.verifications, purged.rate_limits].contains(&limit);
        Ok(purged)
    }
}

/// A batch of expired verifications.
pub(crate) async fn verifications(auth: &Auth, db: &mut Db<'_>, limit: u64) -> Result<u64, Error> {
    let now = auth.clock().now();
    expired(auth, db, Verification::KEY, Verification::EXPIRES_AT, now, limit).await
}

async fn expired(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    expires_at: Field<Timestamp>,
    now: Timestamp,
    limit: u64,
) -> Result<u64, Error> {
    batch(auth, db, table, &expires_at.lt(now), limit).await
}

/// Deletes rows that the filter takes, and still takes when they are deleted: a session may be extended
/// in between.
async fn batch(auth: &Auth, db: &mut Db<'_>, table: &str, filter: &Filter, limit: u64) -> Result<u64, Error> {
    // In the order of their ids, so that two processes lock the same rows in the same order.
    let rows = db.list(table, &Query::from(filter.clone()).oldest_first("id").limit(limit)).await?;
    let ids: Vec<Value> = rows.iter().filter_map(|row| row.get("id").cloned()).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let gone = db.delete(table, &Filter::In("id".into(), ids).and(filter.clone())).await?;
    auth.metrics().purged(table, gone);
    Ok(gone)
}
