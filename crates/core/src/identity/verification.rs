//! The `verification` table: things that are said once and must come back once.

use super::rows;
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
    /// Throws away what nobody can use any more, now and then: most are never asked for again.
    async fn sweep(auth: &Auth, db: &mut Db<'_>) -> Result<(), Error> {
        // Not in a transaction, where the rows would stay locked for as long as that takes.
        if !db.in_transaction() && auth.is_sweep_due() {
            let swept = crate::purge::verifications(auth, db, crate::purge::BATCH).await?;
            if swept == crate::purge::BATCH {
                auth.sweep_again();
            }
        }
        Ok(())
    }

    /// Stores a value under an identifier.
    pub async fn create(
        auth: &Auth,
        db: &mut Db<'_>,
        identifier: &str,
        value: &str,
        expires_at: Timestamp,
    ) -> Result<Self, Error> {
        Self::sweep(auth, db).await?;
        let now = auth.clock().now();
        let row = Row::new()
            .with(Self::IDENTIFIER.key, identifier)
            .with(Self::VALUE.key, value)
            .with(Self::EXPIRES_AT.key, expires_at)
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now);
        Ok(Self::from_row(rows::create(auth, db, Self::KEY, row).await?)?)
    }

    /// Takes a place that one row can have; of any number of callers one gets it (`true`), the others
    /// come too late until it is deleted.
    pub async fn reserve(
        auth: &Auth,
        db: &mut Db<'_>,
        identifier: &str,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        let now = auth.clock().now();
        let row = Row::new()
            .with(Self::ID.key, auth.id_drawn_by(identifier))
            .with(Self::IDENTIFIER.key, identifier)
            .with(Self::VALUE.key, "taken")
            .with(Self::EXPIRES_AT.key, expires_at)
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now);
        match rows::create(auth, db, Self::KEY, row).await {
            Ok(_) => Ok(true),
            // The primary key decides, not a look beforehand.
            Err(error) if error.is_unique() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The newest value under an identifier, expired or not.
    pub async fn latest(_auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let newest = Query::from(Self::IDENTIFIER.is(identifier)).newest_first(Self::CREATED_AT.key).limit(1);
        let row = db.list(Self::KEY, &newest).await?.into_iter().next();
        Ok(row.map(Self::from_row).transpose()?)
    }

    /// The newest value under an identifier, if it has not expired.
    pub async fn find(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let now = auth.clock().now();
        Ok(Self::latest(auth, db, identifier).await?.filter(|row| row.expires_at >= now))
    }

    /// Takes the newest value under an identifier away; of any number of callers one gets it.
    ///
    /// Older values under the identifier go with it. An expired one counts as absent.
    pub async fn consume(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let Some(newest) = Self::latest(auth, db, identifier).await? else { return Ok(None) };
        let Some(row) = rows::consume(auth, db, Self::KEY, &Self::ID.is(newest.id.as_str())).await? else {
            return Ok(None);
        };
        let taken = Self::from_row(row)?;
        let siblings = Self::IDENTIFIER.is(identifier).and(Self::CREATED_AT.le(taken.created_at));
        rows::delete(auth, db, Self::KEY, &siblings).await?;
        Ok((taken.expires_at >= auth.clock().now()).then_some(taken))
    }

    /// Forgets everything under an identifier.
    pub async fn delete(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<(), Error> {
        rows::delete(auth, db, Self::KEY, &Self::IDENTIFIER.is(identifier)).await?;
        Ok(())
    }

    /// Replaces the value of this very row if it still is what was read; of two writers one wins.
    pub async fn swap_value(&self, auth: &Auth, db: &mut Db<'_>, value: &str) -> Result<bool, Error> {
        let same = Self::ID.is(self.id.as_str()).and(Self::VALUE.is(self.value.as_str()));
        let changes = Row::new().with(Self::VALUE.key, value).with(Self::UPDATED_AT.key, auth.clock().now());
        Ok(rows::update(auth, db, Self::KEY, &same, changes).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Filter;
    use crate::testing::TestApp;
    use serde_json::json;

    #[tokio::test]
    async fn of_fifty_who_want_a_value_one_gets_it() {
        let app = TestApp::start(&[], json!({})).await;
        let until = app.auth.clock().now().plus_seconds(60);
        Verification::create(&app.auth, &mut app.auth.db(), "once", "v", until).await.unwrap();
        let tries = (0..50).map(|_| {
            let auth = app.auth.clone();
            tokio::spawn(async move { Verification::consume(&auth, &mut auth.db(), "once").await.unwrap() })
        });
        let mut winners = 0;
        for one in tries.collect::<Vec<_>>() {
            winners += usize::from(one.await.unwrap().is_some());
        }
        assert_eq!(winners, 1);
    }

    #[tokio::test]
    async fn of_fifty_who_reserve_a_place_one_gets_it_whatever_ids_look_like() {
        for kind in [json!({}), json!({ "generateId": "uuid" }), json!({ "generateId": "serial" })] {
            let app = TestApp::start(&[], json!({ "advanced": { "database": kind } })).await;
            let until = app.auth.clock().now().plus_seconds(60);
            let tries = (0..50).map(|_| {
                let auth = app.auth.clone();
                tokio::spawn(async move {
                    Verification::reserve(&auth, &mut auth.db(), "place", until).await.unwrap()
                })
            });
            let mut winners = 0;
            for one in tries.collect::<Vec<_>>() {
                winners += usize::from(one.await.unwrap());
            }
            assert_eq!(winners, 1, "{kind}");
            assert!(Verification::reserve(&app.auth, &mut app.auth.db(), "other", until).await.unwrap());
        }
    }

    #[tokio::test]
    async fn an_expired_value_is_absent_and_used_up_all_the_same() {
        let app = TestApp::start(&[], json!({})).await;
        let mut db = app.auth.db();
        let until = app.auth.clock().now().plus_seconds(60);
        Verification::create(&app.auth, &mut db, "late", "v", until).await.unwrap();
        app.advance(61);
        assert!(Verification::find(&app.auth, &mut db, "late").await.unwrap().is_none());
        assert!(Verification::consume(&app.auth, &mut db, "late").await.unwrap().is_none());
        assert_eq!(db.count(Verification::KEY, &Filter::All).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn expired_values_are_swept_once_a_minute_unless_the_operator_keeps_them() {
        for (keep, left) in [(false, 1), (true, 3)] {
            let app = TestApp::start(&[], json!({ "verification": { "disableCleanup": keep } })).await;
            let mut db = app.auth.db();
            for (identifier, wait) in [("a", 0), ("b", 30), ("c", 60)] {
                app.advance(wait);
                let until = app.auth.clock().now().plus_seconds(10);
                Verification::create(&app.auth, &mut db, identifier, "v", until).await.unwrap();
            }
            assert_eq!(db.count(Verification::KEY, &Filter::All).await.unwrap(), left, "keep {keep}");
        }
    }

    #[tokio::test]
    async fn of_two_who_swap_a_value_one_does() {
        let app = TestApp::start(&[], json!({})).await;
        let mut db = app.auth.db();
        let until = app.auth.clock().now().plus_seconds(60);
        let row = Verification::create(&app.auth, &mut db, "count", "0", until).await.unwrap();
        assert!(row.swap_value(&app.auth, &mut db, "1").await.unwrap());
        assert!(!row.swap_value(&app.auth, &mut db, "2").await.unwrap());
    }
}
