//! The `verification` table: things that are said once and must come back once.

use std::sync::Arc;

use serde_json::Value as Json;

use super::cache::row_of;
use super::elsewhere::{map_of, map_of_stored, seconds_left};
use super::rows;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::StoreIdentifier;
use crate::crypto::{base64url, sha256};
use crate::error::Error;
use crate::mail::Outgoing;
use crate::secondary::SecondaryStorage;
use crate::store::{Agreed, Db, Filter, Query, Row, StoreError};
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

/// Before the token of a link that resets a password (better-auth 1.7.6).
pub const RESET_PREFIX: &str = "reset-password:";

/// Names of an identifier, as [`names_of`] has them; in a transaction those that were asked for before
/// it began ([`Verification::ask_create`] and its like).
async fn stored_names(
    auth: &Auth,
    db: &mut Db<'_>,
    identifier: &str,
) -> Result<(String, Option<String>), Error> {
    match db.agreed_name(identifier) {
        Some(stored) => Ok((stored, Some(identifier.to_owned()))),
        None => names_of(auth, identifier).await,
    }
}

/// Asks for the name of an identifier before a transaction, where a function of the operator's gives it.
async fn ask_name(auth: &Auth, agreed: &mut Agreed, identifier: &str) -> Result<(), Error> {
    if let (stored, Some(_)) = names_of(auth, identifier).await? {
        agreed.name(identifier, stored);
    }
    Ok(())
}

/// Names of an identifier: the one under which it is stored now, and the plain one under which it was
/// before `verification.storeIdentifier` was set.
async fn names_of(auth: &Auth, identifier: &str) -> Result<(String, Option<String>), Error> {
    let Some(options) = &auth.config().settings.verification.store_identifier else {
        return Ok((identifier.to_owned(), None));
    };
    let fits = options.overrides.iter().find(|(prefix, _)| identifier.starts_with(prefix.as_str()));
    let (place, option) = match fits {
        Some((prefix, option)) => (format!(".overrides.{prefix}"), option),
        None => (String::new(), &options.default),
    };
    let stored = match option {
        StoreIdentifier::Plain => return Ok((identifier.to_owned(), None)),
        StoreIdentifier::Hashed => base64url(&sha256(identifier.as_bytes())),
        StoreIdentifier::Asked(callback) => {
            let name = format!("verification.storeIdentifier{place}.hash");
            match callback.call(auth.outbound(), &name, vec![identifier.into()]).await? {
                Json::String(text) if !text.is_empty() => text,
                _ => return Err(Error::broken(format!("{name} answered no text"))),
            }
        }
    };
    Ok((stored, Some(identifier.to_owned())))
}

fn key_of(stored: &str) -> String {
    format!("verification:{stored}")
}

/// A verification that is to be taken once, with the writes of a transaction that it allows.
///
/// In the database it is taken with them, so that what fails does not cost it. In secondary storage it
/// is taken before: no other server is waited for within a transaction.
#[derive(Debug)]
#[must_use = "a ticket that is not taken proves nothing"]
pub struct Ticket {
    identifier: String,
    taken: Option<Option<Verification>>,
}

impl Ticket {
    /// Takes it; of any number of callers one gets it.
    pub async fn take(self, auth: &Auth, db: &mut Db<'_>) -> Result<Option<Verification>, Error> {
        match self.taken {
            Some(taken) => Ok(taken),
            None => Verification::consume(auth, db, &self.identifier).await,
        }
    }
}

impl Verification {
    /// Throws away what nobody can use any more, now and then: most are never asked for again.
    async fn sweep(auth: &Auth, db: &mut Db<'_>) -> Result<(), Error> {
        // Not in a transaction, where the rows would stay locked for as long as that takes.
        if auth.config().verifications.in_database() && !db.in_transaction() && auth.is_sweep_due() {
            let swept = crate::purge::verifications(auth, db, crate::purge::BATCH).await?;
            if swept == crate::purge::BATCH {
                auth.sweep_again();
            }
        }
        Ok(())
    }

    fn secondary(auth: &Auth) -> Option<Arc<dyn SecondaryStorage>> {
        if auth.config().verifications.in_secondary() { auth.secondary().cloned() } else { None }
    }

    /// From what secondary storage has; `None` when it is none.
    fn parse(auth: &Auth, raw: &str) -> Option<Self> {
        let Ok(Json::Object(mut map)) = serde_json::from_str(raw) else {
            tracing::warn!("a verification in secondary storage cannot be read");
            return None;
        };
        // Better Auth gives them none there, and those that were reserved no dates.
        map.entry("id").or_insert_with(|| "".into());
        for date in [Self::CREATED_AT.key, Self::UPDATED_AT.key] {
            if !map.contains_key(date) {
                let until = map.get(Self::EXPIRES_AT.key).cloned().unwrap_or_default();
                map.insert(date.to_owned(), until);
            }
        }
        let row = row_of(auth.table(Self::KEY), &map)?;
        match Self::from_row(row) {
            Ok(verification) => Some(verification),
            Err(error) => {
                tracing::warn!(%error, "a verification in secondary storage cannot be read");
                None
            }
        }
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
        let (stored, _) = stored_names(auth, db, identifier).await?;
        let row = Self::new_row(auth, &stored, value, expires_at);
        let in_database = auth.config().verifications.in_database();
        let asked = row.clone();
        let written = if in_database {
            rows::create(auth, db, Self::KEY, row).await?
        } else {
            rows::prepared(auth, db, Self::KEY, row).await?
        };
        let nameless = |row: Row| if row.contains("id") { row } else { row.with(Self::ID.key, "") };
        // Where a hook of the operator's says no, nothing is stored and nobody is told: whether there is
        // something to be stored often tells whether an address is known.
        let Some(row) = written else { return Ok(Self::from_row(nameless(asked))?) };
        if let Some(storage) = Self::secondary(auth) {
            let map = if in_database {
                let own = [Self::IDENTIFIER.key, Self::VALUE.key, Self::EXPIRES_AT.key];
                let own: Vec<&str> =
                    own.into_iter().chain([Self::CREATED_AT.key, Self::UPDATED_AT.key]).collect();
                map_of_stored(auth, Self::KEY, &own, row.clone())
            } else {
                // Better Auth's have no id there.
                map_of(row.clone().into_iter().filter(|(key, _)| key != Self::ID.key).collect())
            };
            let text = Json::Object(map).to_string();
            db.after_commit(async move {
                match seconds_left(expires_at, now) {
                    0 => Ok(()),
                    left => storage.set(&key_of(&stored), &text, left).await,
                }
            })
            .await?;
        }
        if !in_database {
            rows::created(auth, db, Self::KEY, row.clone()).await?;
        }
        Ok(Self::from_row(nameless(row))?)
    }

    /// Stores a value and mails what leads to it. In one database it is both or neither; in secondary
    /// storage the value is there before the mail is.
    pub async fn create_and_mail(
        auth: &Auth,
        identifier: &str,
        value: &str,
        expires_at: Timestamp,
        mail: Outgoing,
    ) -> Result<(), Error> {
        let mut agreed = Agreed::new();
        let in_database = auth.config().verifications.in_database();
        if in_database {
            Self::ask_create(auth, &mut agreed, identifier, value, expires_at).await?;
        } else {
            Self::create(auth, &mut auth.db(), identifier, value, expires_at).await?;
        }
        let mut tx = auth.begin_agreed(agreed).await?;
        if in_database {
            Self::create(auth, &mut tx.db(), identifier, value, expires_at).await?;
        }
        auth.send_mail(&mut tx.db(), mail).await?;
        tx.commit().await
    }

    /// Costs what [`Verification::create_and_mail`] costs, fails as it does, and leaves nothing: for an
    /// address that nobody has.
    pub async fn pretend_and_mail(auth: &Auth) -> Result<(), Error> {
        if let Some(storage) = Self::secondary(auth) {
            let key = key_of(&auth.random().id());
            storage.set(&key, "{}", 1).await?;
        }
        auth.pretend_mail().await
    }

    /// Makes a user's links that reset the password worthless. Where identifiers are hashed, or only
    /// secondary storage has them, they cannot be found by their user and end by themselves.
    pub async fn forget_resets(auth: &Auth, db: &mut Db<'_>, user: &str) -> Result<(), Error> {
        if !auth.config().verifications.in_database() {
            return Ok(());
        }
        let resets = Filter::StartsWith(Self::IDENTIFIER.key.into(), RESET_PREFIX.into());
        // Nobody has used them, so no hook hears of it (as of those that expire).
        db.delete(Self::KEY, &resets.and(Self::VALUE.is(user))).await?;
        Ok(())
    }

    /// In the order in which Better Auth writes them into secondary storage.
    fn new_row(auth: &Auth, stored: &str, value: &str, expires_at: Timestamp) -> Row {
        let now = auth.clock().now();
        Row::new()
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now)
            .with(Self::VALUE.key, value)
            .with(Self::IDENTIFIER.key, stored)
            .with(Self::EXPIRES_AT.key, expires_at)
    }

    /// Asks the operator's functions about [`Verification::create`].
    pub async fn ask_create(
        auth: &Auth,
        agreed: &mut Agreed,
        identifier: &str,
        value: &str,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let (stored, plain) = names_of(auth, identifier).await?;
        let row = Self::new_row(auth, &stored, value, expires_at);
        if plain.is_some() {
            agreed.name(identifier, stored);
        }
        rows::ask_create(auth, agreed, Self::KEY, row).await
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
        let (stored, _) = stored_names(auth, db, identifier).await?;
        let row = Row::new()
            .with(Self::ID.key, auth.id_drawn_by(identifier))
            .with(Self::IDENTIFIER.key, stored.as_str())
            .with(Self::VALUE.key, "taken")
            .with(Self::EXPIRES_AT.key, expires_at)
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now);
        if !auth.config().verifications.in_database()
            && let Some(storage) = Self::secondary(auth)
        {
            // Better Auth refuses to reserve here, as its storages cannot set what is absent.
            let text = Json::Object(map_of(row)).to_string();
            let left = seconds_left(expires_at, now).max(1);
            return storage.swap(&key_of(&stored), None, Some((&text, left))).await;
        }
        // A place is taken without hooks (better-auth 1.7.6 reserveVerificationValue).
        match db.insert(Self::KEY, row).await {
            Ok(_) => Ok(true),
            // The primary key decides, not a look beforehand.
            Err(StoreError::Unique { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn latest_row(db: &mut Db<'_>, stored: &str) -> Result<Option<Self>, Error> {
        let newest = Query::from(Self::IDENTIFIER.is(stored)).newest_first(Self::CREATED_AT.key).limit(1);
        let row = db.list(Self::KEY, &newest).await?.into_iter().next();
        Ok(row.map(Self::from_row).transpose()?)
    }

    /// The newest value under an identifier, expired or not.
    pub async fn latest(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let (stored, plain) = stored_names(auth, db, identifier).await?;
        let names = || [Some(&stored), plain.as_ref()].into_iter().flatten();
        if let Some(storage) = Self::secondary(auth) {
            for name in names() {
                if let Some(found) = storage.get(&key_of(name)).await?.and_then(|raw| Self::parse(auth, &raw))
                {
                    return Ok(Some(found));
                }
            }
            if !auth.config().verifications.in_database() {
                return Ok(None);
            }
        }
        for name in names() {
            if let Some(found) = Self::latest_row(db, name).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The newest value under an identifier, if it has not expired.
    pub async fn find(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let now = auth.clock().now();
        Ok(Self::latest(auth, db, identifier).await?.filter(|row| row.expires_at >= now))
    }

    /// A value that is to be taken with the writes of a transaction that is about to begin.
    pub async fn ticket(auth: &Auth, identifier: &str) -> Result<Ticket, Error> {
        let taken = if auth.config().verifications.in_database() {
            None
        } else {
            Some(Self::consume(auth, &mut auth.db(), identifier).await?)
        };
        Ok(Ticket { identifier: identifier.to_owned(), taken })
    }

    /// Takes the newest value under an identifier away; of any number of callers one gets it.
    ///
    /// Older values under the identifier go with it. An expired one counts as absent.
    pub async fn consume(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<Option<Self>, Error> {
        let (stored, plain) = stored_names(auth, db, identifier).await?;
        let names: Vec<String> = std::iter::once(stored).chain(plain).collect();
        let storage = Self::secondary(auth);
        let mut taken = None;
        if auth.config().verifications.in_database() {
            for name in &names {
                taken = Self::consume_row(auth, db, name).await?;
                if taken.is_some() {
                    break;
                }
            }
            // The copy goes too; the row has decided who was first.
            if let (true, Some(storage)) = (taken.is_some(), storage) {
                db.after_commit(async move {
                    for name in &names {
                        storage.delete(&key_of(name)).await?;
                    }
                    Ok(())
                })
                .await?;
            }
        } else if let Some(storage) = storage {
            for name in &names {
                let raw = storage.get_and_delete(&key_of(name)).await?;
                taken = raw.and_then(|raw| Self::parse(auth, &raw));
                if taken.is_some() {
                    for other in names.iter().filter(|other| *other != name) {
                        storage.delete(&key_of(other)).await?;
                    }
                    break;
                }
            }
        }
        Ok(taken.filter(|taken| taken.expires_at >= auth.clock().now()))
    }

    async fn consume_row(auth: &Auth, db: &mut Db<'_>, stored: &str) -> Result<Option<Self>, Error> {
        let Some(newest) = Self::latest_row(db, stored).await? else { return Ok(None) };
        let Some(row) = rows::consume(auth, db, Self::KEY, &Self::ID.is(newest.id.as_str())).await? else {
            return Ok(None);
        };
        let taken = Self::from_row(row)?;
        let siblings = Self::IDENTIFIER.is(stored).and(Self::CREATED_AT.le(taken.created_at));
        // Without hooks: they are told about the value that was used (better-auth 1.7.6).
        db.delete(Self::KEY, &siblings).await?;
        Ok(Some(taken))
    }

    /// Asks the operator's functions about [`Verification::consume`] of what is the newest now.
    pub async fn ask_consume(auth: &Auth, agreed: &mut Agreed, identifier: &str) -> Result<(), Error> {
        ask_name(auth, agreed, identifier).await?;
        if !auth.config().verifications.in_database() {
            return Ok(());
        }
        let (stored, plain) = names_of(auth, identifier).await?;
        for name in std::iter::once(stored).chain(plain) {
            if let Some(newest) = Self::latest_row(&mut auth.db(), &name).await? {
                return rows::ask_delete(auth, agreed, Self::KEY, &Self::ID.is(newest.id.as_str())).await;
            }
        }
        Ok(())
    }

    /// Asks the operator's functions about [`Verification::delete`].
    pub async fn ask_delete(auth: &Auth, agreed: &mut Agreed, identifier: &str) -> Result<(), Error> {
        let (stored, plain) = names_of(auth, identifier).await?;
        if plain.is_some() {
            agreed.name(identifier, stored.clone());
        }
        if !auth.config().verifications.in_database() {
            return Ok(());
        }
        let names: Vec<String> = std::iter::once(stored).chain(plain).collect();
        rows::ask_delete(auth, agreed, Self::KEY, &Self::IDENTIFIER.one_of(names)).await
    }

    /// Forgets everything under an identifier.
    pub async fn delete(auth: &Auth, db: &mut Db<'_>, identifier: &str) -> Result<(), Error> {
        let (stored, plain) = stored_names(auth, db, identifier).await?;
        let names: Vec<String> = std::iter::once(stored).chain(plain).collect();
        if let Some(storage) = Self::secondary(auth) {
            let names = names.clone();
            db.after_commit(async move {
                for name in &names {
                    storage.delete(&key_of(name)).await?;
                }
                Ok(())
            })
            .await?;
        }
        if auth.config().verifications.in_database() {
            rows::delete(auth, db, Self::KEY, &Self::IDENTIFIER.one_of(names)).await?;
        }
        Ok(())
    }

    /// Replaces the value of this very row if it still is what was read; of two writers one wins.
    pub async fn swap_value(&self, auth: &Auth, db: &mut Db<'_>, value: &str) -> Result<bool, Error> {
        let now = auth.clock().now();
        let storage = Self::secondary(auth);
        if auth.config().verifications.in_database() {
            let same = Self::ID.is(self.id.as_str()).and(Self::VALUE.is(self.value.as_str()));
            let changes = Row::new().with(Self::VALUE.key, value).with(Self::UPDATED_AT.key, now);
            if rows::update(auth, db, Self::KEY, &same, changes).await?.is_none() {
                return Ok(false);
            }
            // The copy has the old value; without one the row is asked.
            if let Some(storage) = storage {
                let key = key_of(&self.identifier);
                db.after_commit(async move { storage.delete(&key).await }).await?;
            }
            return Ok(true);
        }
        let Some(storage) = storage else { return Ok(false) };
        let key = key_of(&self.identifier);
        let Some(raw) = storage.get(&key).await? else { return Ok(false) };
        let Ok(Json::Object(mut map)) = serde_json::from_str(&raw) else { return Ok(false) };
        if map.get(Self::VALUE.key).and_then(Json::as_str) != Some(&self.value) {
            return Ok(false);
        }
        map.insert(Self::VALUE.key.to_owned(), value.into());
        map.insert(Self::UPDATED_AT.key.to_owned(), now.to_string().into());
        let text = Json::Object(map).to_string();
        storage.swap(&key, Some(&raw), Some((&text, seconds_left(self.expires_at, now).max(1)))).await
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
