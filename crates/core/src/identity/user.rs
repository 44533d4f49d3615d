//! The `user` table.

use http::StatusCode;
use serde_json::{Map, Value as Json};

use super::account::Account;
use super::fields::to_json;
use super::rows;
use super::session::Session;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::database_hooks::{Model, Verb};
use crate::error::{self, Code, Error};
use crate::store::{Agreed, Db, Filter, Row};
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
        match rows::create(auth, db, Self::KEY, Self::new_row(auth, fields)).await? {
            Some(row) => Ok(Self::from_row(row)?),
            // A hook of the operator's says no.
            None => Err(error::FAILED_TO_CREATE_USER.at(StatusCode::BAD_REQUEST).into()),
        }
    }

    /// Asks the operator's hooks about [`User::create`]; the id that the user will have, where it is
    /// known beforehand. `fields` has it from then on.
    ///
    /// # Errors
    /// A hook refuses: in words of its own, or `FAILED_TO_CREATE_USER`.
    pub async fn ask_create(
        auth: &Auth,
        agreed: &mut Agreed,
        fields: &mut Row,
    ) -> Result<Option<String>, Error> {
        *fields = rows::with_id(auth, Self::KEY, std::mem::take(fields)).await?;
        rows::ask_create(auth, agreed, Self::KEY, Self::new_row(auth, fields.clone())).await?;
        let asked = agreed.0.iter().rfind(|one| one.model == Model::User && one.verb == Verb::Create);
        let row = match asked.map(|asked| &asked.over) {
            Some(Some(row)) => row,
            Some(None) => return Err(error::FAILED_TO_CREATE_USER.at(StatusCode::BAD_REQUEST).into()),
            None => fields,
        };
        Ok(row.text(Self::ID.key).map(str::to_owned))
    }

    /// Has the database room for these fields? To be asked before anybody looks whether the address is
    /// taken, because a write that fails would tell.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, which names the field.
    pub fn check_room(auth: &Auth, fields: &Row) -> Result<(), Error> {
        rows::check_room(auth, Self::KEY, fields)
    }

    fn new_row(auth: &Auth, fields: Row) -> Row {
        let now = auth.clock().now();
        fields.with(Self::CREATED_AT.key, now).with(Self::UPDATED_AT.key, now)
    }

    /// Changes fields and reads the user back; `None` when the user is gone.
    pub async fn update(auth: &Auth, db: &mut Db<'_>, id: &str, changes: Row) -> Result<Option<Self>, Error> {
        Self::update_if(auth, db, &Self::ID.is(id), changes).await
    }

    /// Asks the operator's hooks about [`User::update`].
    pub async fn ask_update(auth: &Auth, agreed: &mut Agreed, changes: Row) -> Result<(), Error> {
        let changes = changes.with(Self::UPDATED_AT.key, auth.clock().now());
        rows::ask_update(auth, agreed, Self::KEY, &changes).await
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

    /// Asks the operator's hooks about [`User::delete`].
    ///
    /// # Errors
    /// A hook refuses. A user whom one wants to keep is kept with everything that is theirs.
    pub async fn ask_delete(auth: &Auth, agreed: &mut Agreed, id: &str) -> Result<(), Error> {
        Session::ask_delete_all(auth, agreed, id).await?;
        Account::ask_delete(auth, agreed, &Account::USER_ID.is(id)).await?;
        rows::ask_delete(auth, agreed, Self::KEY, &Self::ID.is(id)).await?;
        if agreed.refuses(Model::User, Verb::Delete) {
            return Err(Code::message(StatusCode::FORBIDDEN, "The user can not be deleted").into());
        }
        Ok(())
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
