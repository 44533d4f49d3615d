//! The `verification` table: things that are said once and must come back once.

use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{Db, Query, Row};
use crate::table;

table! {
    /// A value that waits to be used, once, until it expires.
    pub struct Verification in "verification" {
        /// Id.
        id / ID: String = Column::id(),
        /// What it is for; not unique.
        identifier / IDENTIFIER: String = Column::text("identifier").indexed(),
        /// The value.
        value / VALUE: String = Column::text("value"),
        /// Useless after this.
        expires_at / EXPIRES_AT: Timestamp = Column::time("expiresAt"),
        /// When it was made.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt").default_now(),
        /// Last change.
        updated_at / UPDATED_AT: Timestamp = Column::time("updatedAt").default_now(),
        .. extra
    }
}

impl Verification {
    /// Stores a value under an identifier.
    pub async fn create(
        auth: &Auth,
        db: &mut Db<'_>,
        identifier: &str,
        value: &str,
        expires_at: Timestamp,
    ) -> Result<Self, Error> {
        let now = auth.clock().now();
        let row = Row::new()
            .with(Self::IDENTIFIER.key, identifier)
            .with(Self::VALUE.key, value)
            .with(Self::EXPIRES_AT.key, expires_at)
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now);
        Ok(Self::from_row(db.insert(Self::KEY, auth.with_new_id(row)).await?)?)
    }

    /// The newest value under an identifier, expired or not.
    pub async fn latest(db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let newest = Query::from(Self::IDENTIFIER.is(identifier)).newest_first(Self::CREATED_AT.key).limit(1);
        let row = db.list(Self::KEY, &newest).await?.into_iter().next();
        Ok(row.map(Self::from_row).transpose()?)
    }

    /// The newest value under an identifier, if it has not expired.
    pub async fn find(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let now = auth.clock().now();
        Ok(Self::latest(db, identifier).await?.filter(|row| row.expires_at >= now))
    }

    /// Takes the newest value under an identifier away; of any number of callers one gets it.
    ///
    /// Older values under the identifier go with it. An expired one counts as absent.
    pub async fn consume(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let Some(newest) = Self::latest(db, identifier).await? else { return Ok(None) };
        let Some(row) = db.consume(Self::KEY, &Self::ID.is(newest.id.as_str())).await? else {
            return Ok(None);
        };
        let taken = Self::from_row(row)?;
        let siblings = Self::IDENTIFIER.is(identifier).and(Self::CREATED_AT.le(taken.created_at));
        db.delete(Self::KEY, &siblings).await?;
        Ok((taken.expires_at >= auth.clock().now()).then_some(taken))
    }

    /// Forgets everything under an identifier.
    pub async fn delete(db: &mut Db<'_>, identifier: &str) -> Result<(), Error> {
        db.delete(Self::KEY, &Self::IDENTIFIER.is(identifier)).await?;
        Ok(())
    }

    /// Replaces the value of this very row if it still is what was read; of two writers one wins.
    pub async fn swap_value(&self, auth: &Auth, db: &mut Db<'_>, value: &str) -> Result<bool, Error> {
        let same = Self::ID.is(self.id.as_str()).and(Self::VALUE.is(self.value.as_str()));
        let changes = Row::new().with(Self::VALUE.key, value).with(Self::UPDATED_AT.key, auth.clock().now());
        Ok(db.update(Self::KEY, &same, changes).await? == 1)
    }
}
