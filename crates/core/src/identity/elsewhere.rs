//! Sessions in secondary storage, under Better Auth's keys and in its JSON: `{token}` has the session
//! with its user, `active-sessions-{user id}` the user's tokens (better-auth 1.7.6
//! `db/internal-adapter`).
//!
//! Both are read, changed and written back, and between the two somebody else may write. So nothing is
//! written that was not compared first ([`SecondaryStorage::swap`]): a session that was ended while it
//! was being extended stays ended, and of two sign-ins at once both are on the list. The order of steps
//! is such that a failure in between leaves an entry that leads nowhere, and never a session that
//! nobody can find to end it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::cache::row_of;
use super::fields::to_json;
use super::session::{Session, SessionUser};
use super::user::User;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::AdditionalFields;
use crate::error::Error;
use crate::secondary::{SecondaryStorage, unavailable};
use crate::store::Row;

/// A change that others keep getting ahead of is tried again this often: as many sign-ins of one user
/// at once, and some more, all come through.
const TRIES: usize = 200;

/// An entry of a user's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reference {
    token: String,
    #[serde(rename = "expiresAt")]
    expires_at: i64,
}

/// Whole seconds that are left, as Better Auth rounds them; 0 = over.
pub(super) fn seconds_left(until: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(until.millis().saturating_sub(now.millis()).div_euclid(1000)).unwrap_or(0)
}

fn list_key(user: &str) -> String {
    format!("active-sessions-{user}")
}

/// A session as it is stored.
struct Stored {
    raw: String,
    session: Map<String, Json>,
    user: Map<String, Json>,
}

/// What is under a token, when it is a session of that token. Anything else is as good as nothing:
/// keys of other things can be asked for by whoever sends tokens.
fn parse(token: &str, raw: String) -> Option<Stored> {
    #[derive(Deserialize)]
    struct Written {
        session: Map<String, Json>,
        user: Map<String, Json>,
    }
    let Ok(Written { session, user }) = serde_json::from_str(&raw) else {
        tracing::debug!("what secondary storage has under a session's token is not a session");
        return None;
    };
    let own = session.get("token").and_then(Json::as_str) == Some(token);
    own.then_some(Stored { raw, session, user })
}

impl Stored {
    fn user_id(&self) -> Option<String> {
        match self.session.get("userId")? {
            Json::String(id) => Some(id.clone()),
            Json::Number(id) => Some(id.to_string()),
            _ => None,
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        time_of(self.session.get("expiresAt")?)
    }

    /// `None` when another version of the schema wrote it: then the user signs in again.
    fn read(&self, auth: &Auth) -> Option<SessionUser> {
        let session = Session::from_row(present(auth, Session::KEY, Session::OWN, &self.session)?);
        let user = User::from_row(present(auth, User::KEY, User::OWN, &self.user)?);
        match (session, user) {
            (Ok(session), Ok(user)) => Some(SessionUser { session, user }),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "a session in secondary storage cannot be read");
                None
            }
        }
    }

    fn text(&self) -> String {
        let mut both = Map::new();
        both.insert("session".into(), Json::Object(self.session.clone()));
        both.insert("user".into(), Json::Object(self.user.clone()));
        Json::Object(both).to_string()
    }
}

fn time_of(json: &Json) -> Option<Timestamp> {
    match json {
        Json::String(text) => Timestamp::parse(text),
        Json::Number(millis) => millis.as_i64().map(Timestamp::from_millis),
        _ => None,
    }
}

/// A row as JSON in its own order.
pub(super) fn map_of(row: Row) -> Map<String, Json> {
    row.into_iter().map(|(key, value)| (key.into_owned(), Json::from(value))).collect()
}

/// A row of what is there. A field that nobody has set is not stored, and not shown as null.
fn present(auth: &Auth, table: &str, own: &[&str], map: &Map<String, Json>) -> Option<Row> {
    let row = row_of(auth.table(table), map)?;
    Some(row.into_iter().filter(|(key, _)| own.contains(&&**key) || map.contains_key(&**key)).collect())
}

/// A row of the database as JSON, in the order in which Better Auth's adapter gives it: its own fields,
/// those of plugins, those of the operator, the id.
pub(super) fn map_of_stored(auth: &Auth, table: &str, own: &[&str], row: Row) -> Map<String, Json> {
    let settings = &auth.config().settings;
    let AdditionalFields(additional) = match table {
        User::KEY => &settings.user.additional_fields,
        Session::KEY => &settings.session.additional_fields,
        _ => &settings.verification.additional_fields,
    };
    let place = |key: &str| match key {
        "id" => 3,
        key if own.contains(&key) => 0,
        key if additional.iter().any(|(name, _)| name == key) => 2,
        _ => 1,
    };
    let mut fields: Vec<_> = to_json(auth.table(table), row, true).into_iter().collect();
    fields.sort_by_key(|(key, _)| place(key));
    fields.into_iter().collect()
}

/// The sessions of an engine whose sessions live in secondary storage.
#[derive(Clone)]
pub(super) struct Elsewhere {
    auth: Auth,
    storage: Arc<dyn SecondaryStorage>,
}

impl Elsewhere {
    /// `None` when sessions live in the database alone.
    pub fn of(auth: &Auth) -> Option<Self> {
        if !auth.config().sessions.in_secondary() {
            return None;
        }
        Some(Self { auth: auth.clone(), storage: Arc::clone(auth.secondary()?) })
    }

    fn now(&self) -> Timestamp {
        self.auth.clock().now()
    }

    async fn stored(&self, token: &str) -> Result<Option<Stored>, Error> {
        Ok(self.storage.get(token).await?.and_then(|raw| parse(token, raw)))
    }

    /// The session of a token with its user.
    pub async fn find(&self, token: &str) -> Result<Option<SessionUser>, Error> {
        Ok(self.stored(token).await?.and_then(|stored| stored.read(&self.auth)))
    }

    /// Of these tokens the sessions that are still good, in the order of the tokens.
    pub async fn find_all(&self, tokens: &[String]) -> Result<Vec<SessionUser>, Error> {
        let now = self.now();
        let values = self.storage.get_all(tokens).await?;
        Ok(tokens
            .iter()
            .zip(values)
            .filter_map(|(token, raw)| parse(token, raw?)?.read(&self.auth))
            .filter(|found| found.session.expires_at > now)
            .collect())
    }

    /// Stores a new session.
    pub async fn store(
        &self,
        session: Map<String, Json>,
        user: Map<String, Json>,
        token: String,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let stored = Stored { raw: String::new(), session, user };
        let Some(owner) = stored.user_id() else { return Err(Error::broken("a session without a user")) };
        let left = seconds_left(expires_at, self.now());
        if left == 0 {
            return Ok(());
        }
        self.storage.set(&token, &stored.text(), left).await?;
        self.list(&owner, &token, expires_at).await
    }

    /// Changes a session that is still there; the whole of it as it is then.
    pub async fn change(&self, token: &str, changes: Row) -> Result<Option<Session>, Error> {
        let changes = map_of(changes);
        for _ in 0..TRIES {
            let Some(mut stored) = self.stored(token).await? else { return Ok(None) };
            stored.session.extend(changes.clone());
            let (Some(read), Some(expires_at)) = (stored.read(&self.auth), stored.expires_at()) else {
                return Ok(None);
            };
            let left = seconds_left(expires_at, self.now());
            if left == 0 {
                return Ok(Some(read.session));
            }
            if self.storage.swap(token, Some(&stored.raw), Some((&stored.text(), left))).await? {
                self.list(&read.session.user_id, token, expires_at).await?;
                return Ok(Some(read.session));
            }
        }
        Err(unavailable())
    }

    /// Ends sessions, whosever they are.
    pub async fn end(&self, tokens: &[String]) -> Result<(), Error> {
        let values = self.storage.get_all(tokens).await?;
        for (token, raw) in tokens.iter().zip(values) {
            // First the session, so that a failure leaves an entry on the list and not a session.
            let Some(stored) = raw.and_then(|raw| parse(token, raw)) else { continue };
            self.storage.delete(token).await?;
            if let Some(owner) = stored.user_id() {
                self.unlist(&owner, std::slice::from_ref(token)).await?;
            }
        }
        Ok(())
    }

    /// Whose session a token is.
    pub async fn owner(&self, token: &str) -> Result<Option<String>, Error> {
        Ok(self.stored(token).await?.and_then(|stored| stored.user_id()))
    }

    /// Ends all sessions of a user, but one if that is to stay.
    pub async fn end_all(&self, user: &str, keep: Option<&str>) -> Result<(), Error> {
        let mut tokens: Vec<String> =
            self.references(user).await?.1.into_iter().map(|reference| reference.token).collect();
        tokens.retain(|token| Some(token.as_str()) != keep);
        for token in &tokens {
            self.storage.delete(token).await?;
        }
        if tokens.is_empty() { Ok(()) } else { self.unlist(user, &tokens).await }
    }

    /// A user's sessions that are still good.
    pub async fn of_user(&self, user: &str) -> Result<Vec<SessionUser>, Error> {
        let now = self.now().millis();
        let mut tokens: Vec<String> = Vec::new();
        for reference in self.references(user).await?.1 {
            if reference.expires_at > now && !tokens.contains(&reference.token) {
                tokens.push(reference.token);
            }
        }
        let mut found = self.find_all(&tokens).await?;
        found.retain(|found| found.session.user_id == user);
        Ok(found)
    }

    /// Writes a changed user into all of their sessions, unless a later change is there already.
    pub async fn refresh(&self, user: User) -> Result<(), Error> {
        let fields = map_of_stored(&self.auth, User::KEY, User::OWN, user.clone().into_row());
        for Reference { token, .. } in self.references(&user.id).await?.1 {
            for attempt in 0.. {
                let Some(mut stored) = self.stored(&token).await? else { break };
                let newer = stored.user.get("updatedAt").and_then(time_of);
                let left = stored.expires_at().map_or(0, |until| seconds_left(until, self.now()));
                if left == 0 || newer.is_some_and(|newer| newer > user.updated_at) {
                    break;
                }
                stored.user = fields.clone();
                if self.storage.swap(&token, Some(&stored.raw), Some((&stored.text(), left))).await? {
                    break;
                }
                if attempt == TRIES {
                    return Err(unavailable());
                }
            }
        }
        Ok(())
    }

    /// The list of a user as it is stored, and what it says.
    async fn references(&self, user: &str) -> Result<(Option<String>, Vec<Reference>), Error> {
        let raw = self.storage.get(&list_key(user)).await?;
        let list = match raw.as_deref().map(serde_json::from_str) {
            None => Vec::new(),
            Some(Ok(list)) => list,
            Some(Err(_)) => {
                tracing::warn!("a list of active sessions in secondary storage cannot be read");
                Vec::new()
            }
        };
        Ok((raw, list))
    }

    async fn list(&self, user: &str, token: &str, expires_at: Timestamp) -> Result<(), Error> {
        self.relist(user, |list| {
            list.retain(|known| known.token != token);
            list.push(Reference { token: token.to_owned(), expires_at: expires_at.millis() });
        })
        .await
    }

    async fn unlist(&self, user: &str, tokens: &[String]) -> Result<(), Error> {
        self.relist(user, |list| list.retain(|known| !tokens.contains(&known.token))).await
    }

    /// Changes a list; what is over goes with it, and the last to end decides how long it stays.
    async fn relist(&self, user: &str, change: impl Fn(&mut Vec<Reference>)) -> Result<(), Error> {
        let key = list_key(user);
        for _ in 0..TRIES {
            let now = self.now();
            let (raw, mut list) = self.references(user).await?;
            list.retain(|known| known.expires_at > now.millis());
            change(&mut list);
            list.sort_by_key(|known| known.expires_at);
            let left =
                list.last().map_or(0, |last| seconds_left(Timestamp::from_millis(last.expires_at), now));
            let text = serde_json::to_string(&list).map_err(Error::broken)?;
            let value = (left > 0).then_some((text.as_str(), left));
            if raw.is_none() && value.is_none() || self.storage.swap(&key, raw.as_deref(), value).await? {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err(unavailable())
    }
}
