//! The `session` table, and how a session is handed to the client.

use serde_json::{Map, Value as Json, json};

use super::cache;
use super::fields::to_json;
use super::rows;
use super::user::User;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::{Cookies, Request};
use crate::store::{Db, DefaultValue, Query, Row};
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
        let now = request.now;
        let lifetime = if remember { auth.config().session.expires_in } else { 86_400 };
        let mut row = Row::new();
        for column in &auth.table(Self::KEY).columns {
            if let DefaultValue::Value(value) = &column.default {
                row.set(column.key.clone(), value.clone());
            }
        }
        row.extend(fields);
        let row = row
            .with(Self::EXPIRES_AT.key, now.plus_seconds(lifetime))
            .with(Self::TOKEN.key, auth.random().id())
            .with(Self::CREATED_AT.key, now)
            .with(Self::UPDATED_AT.key, now)
            .with(Self::IP_ADDRESS.key, request.ip.as_deref().unwrap_or_default())
            .with(Self::USER_AGENT.key, request.header("user-agent").unwrap_or_default())
            .with(Self::USER_ID.key, user.id.as_str());
        Ok(Self::from_row(rows::create(auth, db, Self::KEY, row).await?)?)
    }

    /// The session of a token with its user, in one query; expired ones too.
    pub async fn find(_auth: &Auth, db: &mut Db<'_>, token: &str) -> Result<Option<SessionUser>, Error> {
        let on = (Self::USER_ID.key, User::ID.key);
        let Some((session, user)) = db.find_with(Self::KEY, &Self::TOKEN.is(token), User::KEY, on).await?
        else {
            return Ok(None);
        };
        Ok(Some(SessionUser { session: Self::from_row(session)?, user: User::from_row(user)? }))
    }

    /// Of these tokens the sessions that are still good, oldest first, with their users.
    pub async fn find_all(
        auth: &Auth,
        db: &mut Db<'_>,
        tokens: &[String],
    ) -> Result<Vec<SessionUser>, Error> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let good = Self::TOKEN.one_of(tokens).and(Self::EXPIRES_AT.gt(auth.clock().now()));
        let rows = db.list(Self::KEY, &Query::from(good).oldest_first(Self::CREATED_AT.key)).await?;
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
        let row = rows::update(auth, db, Self::KEY, &Self::TOKEN.is(token), changes).await?;
        Ok(row.map(Self::from_row).transpose()?)
    }

    /// Ends a session.
    pub async fn delete(auth: &Auth, db: &mut Db<'_>, token: &str) -> Result<(), Error> {
        rows::delete(auth, db, Self::KEY, &Self::TOKEN.is(token)).await?;
        Ok(())
    }

    /// Ends a session if it is this user's; whether it was.
    pub async fn delete_own(auth: &Auth, db: &mut Db<'_>, user: &str, token: &str) -> Result<bool, Error> {
        let own = Self::TOKEN.is(token).and(Self::USER_ID.is(user));
        Ok(rows::delete(auth, db, Self::KEY, &own).await? > 0)
    }

    /// Ends the sessions of these tokens.
    pub async fn delete_each(auth: &Auth, db: &mut Db<'_>, tokens: &[String]) -> Result<(), Error> {
        if !tokens.is_empty() {
            rows::delete(auth, db, Self::KEY, &Self::TOKEN.one_of(tokens)).await?;
        }
        Ok(())
    }

    /// Ends all sessions of a user.
    pub async fn delete_all(auth: &Auth, db: &mut Db<'_>, user: &str) -> Result<(), Error> {
        rows::delete(auth, db, Self::KEY, &Self::USER_ID.is(user)).await?;
        Ok(())
    }

    /// Ends all sessions of a user but one.
    pub async fn delete_others(auth: &Auth, db: &mut Db<'_>, user: &str, keep: &str) -> Result<(), Error> {
        rows::delete(auth, db, Self::KEY, &Self::USER_ID.is(user).and(Self::TOKEN.not(keep))).await?;
        Ok(())
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
