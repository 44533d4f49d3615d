//! The `session` table, and how a session is handed to the client.

use serde_json::{Map, Value as Json, json};

use super::cache;
use super::elsewhere::{Elsewhere, map_of, map_of_stored};
use super::fields::to_json;
use super::memory::Found;
use super::rows;
use super::user::User;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::database_hooks::{Model, Verb};
use crate::error::{self, Error};
use crate::http::{Cookies, Request};
use crate::store::{Agreed, Db, DefaultValue, Filter, Query, Row};
use crate::table;

table! {
    /// A sign-in that is still good.
    pub struct Session in "session" {
        /// Id.
        id / ID: String = Column::id(),
        /// Until when.
        expires_at / EXPIRES_AT: Timestamp = Column::time("expiresAt"),
        /// 32 random letters and digits; whoever has it is the user.
        token / TOKEN: String = Column::text("token").unique(),
        /// Since when; freshness counts from here.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt").default_now(),
        /// Last extended.
        updated_at / UPDATED_AT: Timestamp = Column::time("updatedAt"),
        /// From where, `""` when unknown.
        ip_address / IP_ADDRESS: Option<String> = Column::text("ipAddress"),
        /// With what, `""` when unknown.
        user_agent / USER_AGENT: Option<String> = Column::text("userAgent"),
        /// Whose.
        user_id / USER_ID: String = Column::foreign("userId", "user").indexed(),
        .. extra
    }
}

/// A session and its user.
#[derive(Debug, Clone)]
pub struct SessionUser {
    /// The session.
    pub session: Session,
    /// The user.
    pub user: User,
}

impl SessionUser {
    /// As `/get-session` shows it.
    pub fn view(&self, auth: &Auth) -> Map<String, Json> {
        let mut map = Map::new();
        map.insert("session".into(), Json::Object(self.session.view(auth)));
        map.insert("user".into(), Json::Object(self.user.view(auth)));
        map
    }

    /// Did it begin within `session.freshAge`?
    pub fn is_fresh(&self, auth: &Auth, now: Timestamp) -> bool {
        let fresh_age = auth.config().session.fresh_age;
        fresh_age == 0 || now < self.session.created_at.plus_seconds(fresh_age)
    }
}

impl Session {
    /// Better Auth's own fields, which no client writes.
    pub const OWN: &'static [&'static str] =
        &["id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId"];

    /// Begins a session. `remember` false: one day, and never extended.
    pub async fn create(
        request: &Request,
        db: &mut Db<'_>,
        user: &User,
        remember: bool,
        fields: Row,
    ) -> Result<Self, Error> {
        let auth = &request.auth;
        let row = Self::new_row(request, Some(&user.id), remember, fields);
        // A hook of the operator's says no.
        let refused = || Error::from(error::FAILED_TO_CREATE_SESSION);
        // The user was deleted since they were read.
        let orphan = |error: Error| if error.is_orphan() { refused() } else { error };
        let Some(elsewhere) = Elsewhere::of(auth) else {
            let row = rows::create(auth, db, Self::KEY, row).await.map_err(orphan)?.ok_or_else(refused)?;
            return Ok(Self::from_row(row)?);
        };
        let in_database = auth.config().sessions.in_database();
        let row = if in_database {
            rows::create(auth, db, Self::KEY, row).await.map_err(orphan)?.ok_or_else(refused)?
        } else {
            let row = rows::prepared(auth, db, Self::KEY, row).await?.ok_or_else(refused)?;
            // No database counts here (better-auth 1.7.6 createSession).
            let id = row.text(Self::ID.key).map_or_else(|| auth.random().id(), str::to_owned);
            let mut whole = Row::new().with(Self::ID.key, id);
            whole.extend(row);
            whole
        };
        let map = if in_database {
            map_of_stored(auth, Self::KEY, Self::OWN, row.clone())
        } else {
            map_of(row.clone())
        };
        let session = Self::from_row(row.clone())?;
        let user = map_of_stored(auth, User::KEY, User::OWN, user.clone().into_row());
        // As the row has them: a hook may have laid others over.
        let (token, expires_at) = (session.token.clone(), session.expires_at);
        let (engine, owner) = (auth.clone(), session.user_id.clone());
        db.after_commit(async move {
            elsewhere.store(map, user, token.clone(), expires_at).await?;
            // No foreign key stands between a session there and a user who is being deleted. Who deletes
            // ends the sessions last, so either they see this one or this sees that the user is gone.
            if User::by_id(&mut engine.db(), &owner).await?.is_some() {
                return Ok(());
            }
            elsewhere.end(&[token]).await?;
            Err(error::FAILED_TO_CREATE_SESSION.into())
        })
        .await?;
        if !in_database {
            rows::created(auth, db, Self::KEY, row).await?;
        }
        Ok(session)
    }

    /// Asks the operator's hooks about [`Session::create`]. `user`: the id, where it is known before the
    /// user is written.
    ///
    /// # Errors
    /// A hook refuses: in words of its own, or `FAILED_TO_CREATE_SESSION`.
    pub async fn ask_create(
        request: &Request,
        agreed: &mut Agreed,
        user: Option<&str>,
        remember: bool,
        fields: Row,
    ) -> Result<(), Error> {
        let row = Self::new_row(request, user, remember, fields);
        rows::ask_create(&request.auth, agreed, Self::KEY, row).await?;
        if agreed.refuses(Model::Session, Verb::Create) {
            return Err(error::FAILED_TO_CREATE_SESSION.into());
        }
        Ok(())
    }

    fn new_row(request: &Request, user: Option<&str>, remember: bool, fields: Row) -> Row {
        let auth = &request.auth;
        let now = request.now;
        let lifetime = if remember { auth.config().session.expires_in } else { 86_400 };
        // The order in which Better Auth writes them into secondary storage.
        let mut row = Row::new()
            .with(Self::IP_ADDRESS.key, request.ip.as_deref().unwrap_or_default())
            .with(Self::USER_AGENT.key, request.header("user-agent").unwrap_or_default())
            .with(Self::EXPIRES_AT.key, now.plus_seconds(lifetime));
        if let Some(user) = user {
            row.set(Self::USER_ID.key, user);
        }
        let mut row = row
            .with(Self::TOKEN.key, auth.random().id())
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now);
        row.extend(fields.into_iter().filter(|(key, _)| !Self::OWN.contains(&&**key)).collect::<Row>());
        for column in &auth.table(Self::KEY).columns {
            if let DefaultValue::Value(value) = &column.default
                && !row.contains(&column.key)
            {
                row.set(column.key.clone(), value.clone());
            }
        }
        row
    }

    /// The session of a token with its user, in one query at most; expired ones too.
    pub async fn find(auth: &Auth, db: &mut Db<'_>, token: &str) -> Result<Option<SessionUser>, Error> {
        Self::recall(auth, db, token).await?.map(|found| found.into_current(auth)).transpose()
    }

    /// The same, not unpacked if it is remembered.
    pub(super) async fn recall(auth: &Auth, db: &mut Db<'_>, token: &str) -> Result<Option<Found>, Error> {
        if let Some(elsewhere) = Elsewhere::of(auth) {
            let found = elsewhere.find(token).await?;
            // A session that only the database has may have been there before secondary storage was;
            // one that is preserved there has ended.
            let config = auth.config();
            if found.is_some() || !config.sessions.in_database() || config.preserve_sessions {
                return Ok(found.map(Found::from));
            }
        }
        // A transaction sees what it has written itself.
        let remembers = !db.in_transaction();
        if remembers && let Some(found) = auth.memory().recall(auth, token).await {
            return Ok(Some(found));
        }
        let since = auth.store().moment();
        let Some(current) = Self::stored(db, &Self::TOKEN.is(token)).await? else { return Ok(None) };
        if remembers {
            auth.memory().keep(auth, since, &current);
        }
        Ok(Some(current.into()))
    }

    /// A session with its user as the table has them, in one query; an expired one, too.
    pub async fn stored(db: &mut Db<'_>, filter: &Filter) -> Result<Option<SessionUser>, Error> {
        let on = (Self::USER_ID.key, User::ID.key);
        let Some((session, user)) = db.find_with(Self::KEY, filter, User::KEY, on).await? else {
            return Ok(None);
        };
        Ok(Some(SessionUser { session: Self::from_row(session)?, user: User::from_row(user)? }))
    }

    /// Of these tokens the sessions, oldest first, with their users; expired ones too, while they are stored.
    pub async fn find_all(
        auth: &Auth,
        db: &mut Db<'_>,
        tokens: &[String],
    ) -> Result<Vec<SessionUser>, Error> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(elsewhere) = Elsewhere::of(auth) {
            let mut found = elsewhere.find_all(tokens).await?;
            found.sort_by_key(|found| found.session.created_at);
            return Ok(found);
        }
        let these = Query::from(Self::TOKEN.one_of(tokens)).oldest_first(Self::CREATED_AT.key);
        let rows = db.list(Self::KEY, &these).await?;
        let sessions: Vec<Self> = rows.into_iter().map(Self::from_row).collect::<Result<_, _>>()?;
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let owners = User::ID.one_of(sessions.iter().map(|session| &session.user_id));
        let rows = db.list(User::KEY, &owners.into()).await?;
        let users: Vec<User> = rows.into_iter().map(User::from_row).collect::<Result<_, _>>()?;
        Ok(sessions
            .into_iter()
            .filter_map(|session| {
                // A session goes with its user, so one without is just being deleted.
                let user = users.iter().find(|user| user.id == session.user_id)?.clone();
                Some(SessionUser { session, user })
            })
            .collect())
    }

    /// A user's sessions that are still good.
    pub async fn list_active(auth: &Auth, db: &mut Db<'_>, user: &str) -> Result<Vec<Self>, Error> {
        if let Some(elsewhere) = Elsewhere::of(auth) {
            return Ok(elsewhere.of_user(user).await?.into_iter().map(|found| found.session).collect());
        }
        let active = Self::USER_ID.is(user).and(Self::EXPIRES_AT.gt(auth.clock().now()));
        let rows = db.list(Self::KEY, &active.into()).await?;
        rows.into_iter().map(|row| Ok(Self::from_row(row)?)).collect()
    }

    /// Changes a session; `None` when it is gone.
    pub async fn update(
        auth: &Auth,
        db: &mut Db<'_>,
        token: &str,
        changes: Row,
    ) -> Result<Option<Self>, Error> {
        let Some(elsewhere) = Elsewhere::of(auth) else {
            let row = rows::update(auth, db, Self::KEY, &Self::TOKEN.is(token), changes).await?;
            return Ok(row.map(Self::from_row).transpose()?);
        };
        let row = if auth.config().sessions.in_database() {
            let row = rows::update(auth, db, Self::KEY, &Self::TOKEN.is(token), changes.clone()).await?;
            if let Some(row) = &row {
                let token = token.to_owned();
                // As the row has them: a hook may have laid others over, or said no.
                let changes = as_stored(auth, &changes, row);
                db.after_commit(async move { elsewhere.change(&token, changes).await.map(|_| ()) }).await?;
            }
            row
        } else {
            let Some(changes) = rows::changes(auth, db, Self::KEY, changes).await? else {
                // A hook says no: it stays as it is.
                return Ok(elsewhere.find(token).await?.map(|found| found.session));
            };
            let row = elsewhere.change(token, changes).await?.map(Self::into_row);
            rows::changed(auth, db, Self::KEY, row.clone()).await?;
            row
        };
        Ok(row.map(Self::from_row).transpose()?)
    }

    /// Ends a session.
    pub async fn delete(auth: &Auth, db: &mut Db<'_>, token: &str) -> Result<(), Error> {
        Self::delete_each(auth, db, &[token.to_owned()]).await
    }

    /// Ends a session if it is this user's; whether it was.
    pub async fn delete_own(auth: &Auth, db: &mut Db<'_>, user: &str, token: &str) -> Result<bool, Error> {
        let own = Self::TOKEN.is(token).and(Self::USER_ID.is(user));
        let Some(elsewhere) = Elsewhere::of(auth) else {
            return Ok(rows::delete(auth, db, Self::KEY, &own).await? > 0);
        };
        let cached = elsewhere.owner(token).await?.as_deref() == Some(user);
        if cached {
            let token = token.to_owned();
            db.after_commit(async move { elsewhere.end(&[token]).await }).await?;
        }
        Ok(Self::end_rows(auth, db, own).await? > 0 || cached)
    }

    /// Ends the sessions of these tokens.
    pub async fn delete_each(auth: &Auth, db: &mut Db<'_>, tokens: &[String]) -> Result<(), Error> {
        if tokens.is_empty() {
            return Ok(());
        }
        if let Some(elsewhere) = Elsewhere::of(auth) {
            let tokens = tokens.to_vec();
            db.after_commit(async move { elsewhere.end(&tokens).await }).await?;
        }
        Self::end_rows(auth, db, Self::TOKEN.one_of(tokens)).await?;
        Ok(())
    }

    /// Ends all sessions of a user.
    pub async fn delete_all(auth: &Auth, db: &mut Db<'_>, user: &str) -> Result<(), Error> {
        Self::end_elsewhere(auth, db, user, None).await?;
        Self::end_rows(auth, db, Self::USER_ID.is(user)).await?;
        Ok(())
    }

    /// Asks the operator's hooks about [`Session::delete_all`] and [`Session::delete_with_user`].
    pub async fn ask_delete_all(auth: &Auth, agreed: &mut Agreed, user: &str) -> Result<(), Error> {
        Self::ask_end(auth, agreed, Self::USER_ID.is(user)).await
    }

    /// Asks the operator's hooks about [`Session::delete`].
    pub async fn ask_delete(auth: &Auth, agreed: &mut Agreed, token: &str) -> Result<(), Error> {
        Self::ask_end(auth, agreed, Self::TOKEN.is(token)).await
    }

    /// Sessions that the database does not have end without hooks (better-auth 1.7.6 deleteSession).
    async fn ask_end(auth: &Auth, agreed: &mut Agreed, filter: Filter) -> Result<(), Error> {
        let config = auth.config();
        if !config.sessions.in_database() {
            return Ok(());
        }
        let filter = if config.preserve_sessions {
            filter.and(Self::EXPIRES_AT.gt(auth.clock().now()))
        } else {
            filter
        };
        rows::ask_delete(auth, agreed, Self::KEY, &filter).await
    }

    /// Ends all sessions of a user but one.
    pub async fn delete_others(auth: &Auth, db: &mut Db<'_>, user: &str, keep: &str) -> Result<(), Error> {
        Self::end_elsewhere(auth, db, user, Some(keep.to_owned())).await?;
        Self::end_rows(auth, db, Self::USER_ID.is(user).and(Self::TOKEN.not(keep))).await?;
        Ok(())
    }

    /// Ends all sessions of a user who goes too: not even `preserveSessionInDatabase` keeps them.
    pub async fn delete_with_user(auth: &Auth, db: &mut Db<'_>, user: &str) -> Result<(), Error> {
        Self::end_elsewhere(auth, db, user, None).await?;
        if auth.config().sessions.in_database() {
            rows::delete(auth, db, Self::KEY, &Self::USER_ID.is(user)).await?;
        }
        Ok(())
    }

    /// Ends a user's sessions in secondary storage now, ahead of a transaction in which they end
    /// anyway: what would be left, should this process die right after the commit, is then already gone.
    /// Nothing where sessions live in the database alone.
    pub async fn end_ahead(auth: &Auth, user: &str) -> Result<(), Error> {
        match Elsewhere::of(auth) {
            Some(elsewhere) => elsewhere.end_all(user, None).await,
            None => Ok(()),
        }
    }

    async fn end_elsewhere(
        auth: &Auth,
        db: &mut Db<'_>,
        user: &str,
        keep: Option<String>,
    ) -> Result<(), Error> {
        let Some(elsewhere) = Elsewhere::of(auth) else { return Ok(()) };
        let user = user.to_owned();
        db.after_commit(async move { elsewhere.end_all(&user, keep.as_deref()).await }).await
    }

    /// Ends rows of the database, if it has any; how many there were.
    async fn end_rows(auth: &Auth, db: &mut Db<'_>, filter: Filter) -> Result<u64, Error> {
        let config = auth.config();
        if !config.sessions.in_database() {
            return Ok(0);
        }
        if !config.preserve_sessions {
            return rows::delete(auth, db, Self::KEY, &filter).await;
        }
        // Rows that ended before are not ended again.
        let now = auth.clock().now();
        let alive = filter.and(Self::EXPIRES_AT.gt(now));
        rows::end(auth, db, Self::KEY, &alive, Row::new().with(Self::EXPIRES_AT.key, now)).await
    }

    /// The user has changed: so does the copy that secondary storage has with each of their sessions.
    pub(super) async fn refresh_user(auth: &Auth, db: &mut Db<'_>, user: &User) -> Result<(), Error> {
        let Some(elsewhere) = Elsewhere::of(auth) else { return Ok(()) };
        let user = user.clone();
        db.after_commit(async move { elsewhere.refresh(user).await }).await
    }

    /// Columns that the operator or rooms added, to carry over when a session is replaced.
    pub fn lent_fields(&self) -> Row {
        self.extra.clone()
    }

    /// As answers show it: without hidden columns.
    pub fn view(&self, auth: &Auth) -> Map<String, Json> {
        to_json(auth.table(Self::KEY), self.clone().into_row(), false)
    }
}

/// The changes with the values that the row has now, and what hooks and functions have changed besides.
fn as_stored(auth: &Auth, changes: &Row, row: &Row) -> Row {
    let table = auth.table(Session::KEY);
    let own = |key: &str| Session::OWN.contains(&key) && !changes.contains(key);
    let columns = table.columns.iter().filter(|column| !own(&column.key));
    columns.filter_map(|column| Some((column.key.clone(), row.get(&column.key)?.clone()))).collect()
}

/// How a session is handed over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Handed {
    /// `Some(false)`: the cookie ends with the browser; `None`: as the request's own cookies say.
    pub remember: Option<bool>,
}

/// The cookies that give a session to the client, and what rooms add to them.
///
/// Every place that makes, extends or changes a session comes through here.
pub async fn hand_over(
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
    handed: Handed,
) -> Result<Cookies, Error> {
    let auth = &request.auth;
    let specs = auth.cookies();
    let secret = auth.config().secrets.current();
    let carried = request.cookies.signed(&specs.dont_remember, secret).is_some();
    let remember = handed.remember.unwrap_or(!carried);
    let mut cookies = Cookies::new();
    let token = if remember {
        specs.session_token.lasting(Some(auth.config().session.expires_in))
    } else {
        specs.session_token.lasting(None)
    };
    cookies.push(token.set_signed(secret, &current.session.token));
    if !remember {
        cookies.push(specs.dont_remember.set_signed(secret, "true"));
    } else if handed.remember == Some(true) && carried {
        // better-auth 1.7.24: a sign-in that is remembered ends the mark of one that was not.
        cookies.expire(&specs.dont_remember);
    }
    cache::write(request, db, current, remember, &mut cookies).await?;
    let mut late = Cookies::new();
    for seam in &auth.seams().session_made {
        // The session is there. A refusal from here on is the answer to somebody who is signed in.
        if let Err(error) = seam.session_made(request, db, current, &mut late).await {
            cookies.extend(late.late());
            return Err(error.with_cookies(cookies));
        }
    }
    cookies.extend(late.late());
    Ok(cookies)
}

/// The cookies that take a session from the client. `keep_mark` leaves `dont_remember`.
pub fn clear_session_cookies(request: &Request, keep_mark: bool) -> Cookies {
    let specs = request.auth.cookies();
    let mut cookies = Cookies::new();
    cookies.expire(&specs.session_token);
    cookies.expire(&specs.session_data);
    cookies.clean(&specs.session_data, &request.cookies);
    if !keep_mark {
        cookies.expire(&specs.dont_remember);
    }
    cookies
}

impl SessionUser {
    /// For webhooks: everything that is stored.
    pub fn for_webhook(&self, auth: &Auth) -> Json {
        json!({
            "session": to_json(auth.table(Session::KEY), self.session.clone().into_row(), true),
            "user": to_json(auth.table(User::KEY), self.user.clone().into_row(), true),
        })
    }
}
