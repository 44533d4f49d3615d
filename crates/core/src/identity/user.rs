//! The `user` table.

use serde_json::{Map, Value as Json};

use super::account::Account;
use super::fields::to_json;
use super::rows;
use super::session::Session;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{Db, Filter, Row};
use crate::table;
use unicode_normalization::UnicodeNormalization;

table! {
    /// A person.
    pub struct User in "user" {
        /// Id; a text on the wire, whatever the column is.
        id / ID: String = Column::id(),
        /// Display name.
        name / NAME: String = Column::text("name").sortable(),
        /// Lower-case address.
        email / EMAIL: String = Column::text("email").unique().sortable(),
        /// Has the address been proven?
        email_verified / EMAIL_VERIFIED: bool = Column::bool("emailVerified").default(false).no_input(),
        /// Picture.
        image / IMAGE: Option<String> = Column::text("image"),
        /// When the user came to be.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt").default_now(),
        /// Last change.
        updated_at / UPDATED_AT: Timestamp = Column::time("updatedAt").default_now(),
        .. extra
    }
}

impl User {
    /// Better Auth's own fields; what else the table has was added by the operator or a room.
    pub const OWN: &'static [&'static str] =
        &["id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt"];

    /// Lower case, as addresses are stored and looked up.
    pub fn normal_email(email: &str) -> String {
        email.to_lowercase()
    }

    /// The user of an address.
    pub async fn by_email(db: &mut Db<'_>, email: &str) -> Result<Option<Self>, Error> {
        let email = Self::normal_email(email);
        let found = db.find(Self::KEY, &Self::EMAIL.is(email.as_str())).await?;
        let Some(user) = found.map(Self::from_row).transpose()? else { return Ok(None) };
        // A collation of the database may call two addresses equal that are not (`ß` and `ss`, accents).
        let same = user.email.nfc().collect::<String>().to_lowercase() == email.nfc().collect::<String>();
        Ok(same.then_some(user))
    }

    /// The user of an id.
    pub async fn by_id(db: &mut Db<'_>, id: &str) -> Result<Option<Self>, Error> {
        Ok(db.find(Self::KEY, &Self::ID.is(id)).await?.map(Self::from_row).transpose()?)
    }

    /// Writes a new user and reads it back as stored.
    pub async fn create(auth: &Auth, db: &mut Db<'_>, fields: Row) -> Result<Self, Error> {
        let now = auth.clock().now();
        let mut row = fields;
        row.set(Self::CREATED_AT.key, now);
        row.set(Self::UPDATED_AT.key, now);
        Ok(Self::from_row(rows::create(auth, db, Self::KEY, row).await?)?)
    }

    /// Changes fields and reads the user back; `None` when the user is gone.
    pub async fn update(auth: &Auth, db: &mut Db<'_>, id: &str, changes: Row) -> Result<Option<Self>, Error> {
        Self::update_if(auth, db, &Self::ID.is(id), changes).await
    }

    /// Changes fields of the user whom the filter takes; `None` when it takes none (any more).
    pub async fn update_if(
        auth: &Auth,
        db: &mut Db<'_>,
        filter: &Filter,
        mut changes: Row,
    ) -> Result<Option<Self>, Error> {
        changes.set(Self::UPDATED_AT.key, auth.clock().now());
        let row = rows::update(auth, db, Self::KEY, filter, changes).await?;
        let user = row.map(Self::from_row).transpose()?;
        if let Some(user) = &user {
            Session::refresh_user(auth, db, user).await?;
        }
        Ok(user)
    }

    /// Deletes a user and what is theirs; `false` when somebody else has.
    pub async fn delete(auth: &Auth, db: &mut Db<'_>, id: &str) -> Result<bool, Error> {
        // Tables that were made elsewhere may not do this by themselves; what rooms keep goes with the
        // user.
        Session::delete_with_user(auth, db, id).await?;
        Account::delete(auth, db, &Account::USER_ID.is(id)).await?;
        Self::delete_if(auth, db, &Self::ID.is(id)).await
    }

    /// Deletes the user whom the filter takes, and nothing else of theirs; `false` when it takes none.
    pub async fn delete_if(auth: &Auth, db: &mut Db<'_>, filter: &Filter) -> Result<bool, Error> {
        Ok(rows::delete(auth, db, Self::KEY, filter).await? > 0)
    }

    /// What a failed write of these fields is to the client: a value that somebody else took between
    /// the look and the write is refused in the words of the room that lent the column.
    pub async fn write_failed(auth: &Auth, db: &mut Db<'_>, fields: &Row, error: Error) -> Error {
        let Some(constraint) = error.unique_constraint() else { return error };
        let column = auth.table(Self::KEY).unique_column(constraint).map(|column| &*column.key);
        for seam in &auth.seams().write_user {
            match seam.taken(db, fields, column).await {
                Ok(None) => {}
                Ok(Some(code)) => return code.into(),
                Err(broken) => return broken,
            }
        }
        error
    }

    /// For webhooks: everything that is stored.
    pub fn for_webhook(&self, auth: &Auth) -> Json {
        Json::Object(to_json(auth.table(Self::KEY), self.clone().into_row(), true))
    }

    /// As answers show it: without hidden columns.
    pub fn view(&self, auth: &Auth) -> Map<String, Json> {
        to_json(auth.table(Self::KEY), self.clone().into_row(), false)
    }
}
