//! The `refreshToken` table, which is ours alone: one row for a chain of refresh tokens.

use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::error::Error;
use portcullis_core::identity::{Session, SessionUser};
use portcullis_core::store::{Db, Row};
use portcullis_core::table;
use serde::{Deserialize, Serialize};

table! {
    /// A chain of refresh tokens: each is the successor of the one before. It ends with its session.
    pub struct RefreshToken in "refreshToken" {
        /// Row id.
        id / ID: String = Column::id(),
        /// The chain's name; part of each token.
        chain / CHAIN: String = Column::text("chain").unique().hidden(),
        /// Whose session.
        session_id / SESSION_ID: String = Column::foreign("sessionId", "session").unique(),
        /// Whose.
        user_id / USER_ID: String = Column::foreign("userId", "user").indexed(),
        /// What the user's password was: see `password::fingerprint`. Another one ends the chain.
        credential / CREDENTIAL: String = Column::text("credential").hidden(),
        /// SHA-256 of the token that may be used.
        current / CURRENT: String = Column::text("current").hidden(),
        /// The last ones that have been used, as JSON: see [`Used`].
        used / USED: String = Column::text("used").hidden(),
        /// When the current one ends, if nobody uses it.
        expires_at / EXPIRES_AT: Timestamp = Column::time("expiresAt"),
        /// When all end.
        ends_at / ENDS_AT: Timestamp = Column::time("endsAt"),
        /// Since when.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt"),
    }
}

/// A token that has been used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Used {
    /// Its SHA-256.
    pub hash: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// So many are remembered; a client that uses more within the interval is none that lost an answer.
const REMEMBERED: usize = 8;

impl RefreshToken {
    /// The last ones that have been used.
    pub(super) fn used(&self) -> Result<Vec<Used>, Error> {
        serde_json::from_str(&self.used).map_err(Error::broken)
    }

    /// Its session with the user, read from the table: a chain outlives no session.
    pub(super) async fn session(&self, db: &mut Db<'_>) -> Result<Option<SessionUser>, Error> {
        Session::stored(db, &Session::ID.is(self.session_id.as_str())).await
    }

    /// Makes `next` the current one, if what was read still is: of any number of racers one does.
    pub(super) async fn rotate(
        &self,
        db: &mut Db<'_>,
        next: &str,
        now: Timestamp,
        forget_before: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        let mut used = self.used()?;
        used.retain(|one| one.at >= forget_before.millis());
        used.push(Used { hash: self.current.clone(), at: now.millis() });
        let excess = used.len().saturating_sub(REMEMBERED);
        used.drain(..excess);
        let changes = Row::new()
            .with(Self::CURRENT.key, next)
            .with(Self::USED.key, serde_json::to_string(&used).map_err(Error::broken)?)
            .with(Self::EXPIRES_AT.key, expires_at);
        let guard = Self::ID.is(self.id.as_str()).and(Self::CURRENT.is(self.current.as_str()));
        Ok(db.update(Self::KEY, &guard, changes).await? == 1)
    }
}

/// The chain of this name.
pub(super) async fn find(db: &mut Db<'_>, chain: &str) -> Result<Option<RefreshToken>, Error> {
    let row = db.find(RefreshToken::KEY, &RefreshToken::CHAIN.is(chain)).await?;
    Ok(row.map(RefreshToken::from_row).transpose()?)
}

/// Begins a chain, in place of another of the same session: of two at once the later one stays.
pub(super) async fn begin(auth: &Auth, session: &str, chain: Row) -> Result<(), Error> {
    let mut db = auth.db();
    let replaced = RefreshToken::SESSION_ID.is(session);
    // Single statements: nobody waits for anybody who waits for them.
    if db.update(RefreshToken::KEY, &replaced, chain.clone()).await? == 1 {
        return Ok(());
    }
    match db.insert(RefreshToken::KEY, auth.with_new_id(chain.clone())).await.map_err(Error::from) {
        Err(error) if error.is_unique() => {
            db.update(RefreshToken::KEY, &replaced, chain).await?;
            Ok(())
        }
        inserted => inserted.map(|_| ()),
    }
}

/// Ends the chain of a session.
pub(super) async fn end(db: &mut Db<'_>, session: &str) -> Result<(), Error> {
    db.delete(RefreshToken::KEY, &RefreshToken::SESSION_ID.is(session)).await?;
    Ok(())
}
