//! The `account` table: the ways in which users sign in.

use super::rows;
use super::user::User;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{Agreed, Db, Filter, Row};
use crate::table;

/// The provider of accounts with a password; their `accountId` is the user's id.
pub const CREDENTIAL: &str = "credential";

table! {
    /// A way to sign in.
    pub struct Account in "account" {
        /// Id.
        id / ID: String = Column::id(),
        /// The provider's name for the user.
        account_id / ACCOUNT_ID: String = Column::text("accountId"),
        /// `credential`, or the name of a provider.
        provider_id / PROVIDER_ID: String = Column::text("providerId"),
        /// Owner.
        user_id / USER_ID: String = Column::foreign("userId", "user").indexed(),
        /// OAuth.
        access_token / ACCESS_TOKEN: Option<String> = Column::text("accessToken").hidden(),
        /// OAuth.
        refresh_token / REFRESH_TOKEN: Option<String> = Column::text("refreshToken").hidden(),
        /// OpenID Connect.
        id_token / ID_TOKEN: Option<String> = Column::text("idToken").hidden(),
        /// OAuth.
        access_token_expires_at / ACCESS_TOKEN_EXPIRES_AT: Option<Timestamp> = Column::time("accessTokenExpiresAt").hidden(),
        /// OAuth.
        refresh_token_expires_at / REFRESH_TOKEN_EXPIRES_AT: Option<Timestamp> = Column::time("refreshTokenExpiresAt").hidden(),
        /// Comma-joined.
        scope / SCOPE: Option<String> = Column::text("scope"),
        /// Hash, for `credential`.
        password / PASSWORD: Option<String> = Column::text("password").hidden(),
        /// When it was linked.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt").default_now(),
        /// Last change.
        updated_at / UPDATED_AT: Timestamp = Column::time("updatedAt"),
        .. extra
    }
}

impl Account {
    /// The user's password account: provider `credential` and the user's own id as account id.
    pub async fn credential_of(db: &mut Db<'_>, user: &str) -> Result<Option<Self>, Error> {
        let own = Self::USER_ID.is(user).and(Self::PROVIDER_ID.is(CREDENTIAL)).and(Self::ACCOUNT_ID.is(user));
        Ok(db.find(Self::KEY, &own).await?.map(Self::from_row).transpose()?)
    }

    /// Gives a user a password; `None` when a hook of the operator's says no.
    pub async fn create_credential(
        auth: &Auth,
        db: &mut Db<'_>,
        user: &User,
        hash: String,
    ) -> Result<Option<Self>, Error> {
        let row = Self::credential_row(auth, Some(&user.id), hash);
        Ok(rows::create(auth, db, Self::KEY, row).await?.map(Self::from_row).transpose()?)
    }

    /// Asks the operator's hooks about [`Account::create_credential`]. `user`: the id, where it is known
    /// before the user is written.
    pub async fn ask_create_credential(
        auth: &Auth,
        agreed: &mut Agreed,
        user: Option<&str>,
        hash: String,
    ) -> Result<(), Error> {
        rows::ask_create(auth, agreed, Self::KEY, Self::credential_row(auth, user, hash)).await
    }

    fn credential_row(auth: &Auth, user: Option<&str>, hash: String) -> Row {
        let now = auth.clock().now();
        let mut row = Row::new();
        if let Some(user) = user {
            row.set(Self::ACCOUNT_ID.key, user);
        }
        row.set(Self::PROVIDER_ID.key, CREDENTIAL);
        if let Some(user) = user {
            row.set(Self::USER_ID.key, user);
        }
        row.with(Self::PASSWORD.key, hash).with(Self::CREATED_AT.key, now).with(Self::UPDATED_AT.key, now)
    }

    /// A user's ways to sign in.
    pub async fn list_of(db: &mut Db<'_>, user: &str) -> Result<Vec<Self>, Error> {
        let rows = db.list(Self::KEY, &Self::USER_ID.is(user).into()).await?;
        rows.into_iter().map(|row| Ok(Self::from_row(row)?)).collect()
    }

    /// Deletes what the filter takes; how many those were.
    pub async fn delete(auth: &Auth, db: &mut Db<'_>, filter: &Filter) -> Result<u64, Error> {
        rows::delete(auth, db, Self::KEY, filter).await
    }

    /// Asks the operator's hooks about [`Account::delete`].
    pub async fn ask_delete(auth: &Auth, agreed: &mut Agreed, filter: &Filter) -> Result<(), Error> {
        rows::ask_delete(auth, agreed, Self::KEY, filter).await
    }

    /// Asks the operator's hooks about [`Account::set_password`] and [`Account::replace_password`].
    pub async fn ask_password(auth: &Auth, agreed: &mut Agreed, hash: String) -> Result<(), Error> {
        rows::ask_update(auth, agreed, Self::KEY, &Self::password_changes(auth, hash)).await
    }

    fn password_changes(auth: &Auth, hash: String) -> Row {
        Row::new().with(Self::PASSWORD.key, hash).with(Self::UPDATED_AT.key, auth.clock().now())
    }

    /// Replaces the hash, whatever it was.
    pub async fn set_password(&self, auth: &Auth, db: &mut Db<'_>, hash: String) -> Result<(), Error> {
        self.write_password(auth, db, &Self::ID.is(self.id.as_str()), hash).await?;
        Ok(())
    }

    /// Replaces the hash, if it is still the one that was read: of two changes at once one wins.
    pub async fn replace_password(&self, auth: &Auth, db: &mut Db<'_>, hash: String) -> Result<bool, Error> {
        let same = match &self.password {
            Some(old) => Self::PASSWORD.is(old.as_str()),
            None => Self::PASSWORD.is_null(),
        };
        self.write_password(auth, db, &Self::ID.is(self.id.as_str()).and(same), hash).await
    }

    async fn write_password(
        &self,
        auth: &Auth,
        db: &mut Db<'_>,
        filter: &Filter,
        hash: String,
    ) -> Result<bool, Error> {
        let changes = Self::password_changes(auth, hash);
        Ok(rows::update(auth, db, Self::KEY, filter, changes).await?.is_some())
    }
}
