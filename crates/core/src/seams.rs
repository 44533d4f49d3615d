//! The seams: a closed list of small traits, in the order a request meets them. They are the only way
//! in which a room touches a request that is not its own, and rooms meet nowhere else.
//!
//! Change the list when a room needs a seam; never widen one into "anything may change anything".

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};

use crate::auth::Auth;
use crate::error::{Code, Error};
use crate::events::Event;
use crate::http::{Answer, Cookies, Request, SetCookie};
use crate::identity::{Action, CacheSigner, Challenge, Found, SessionUser, SignIn, User};
use crate::store::{Db, Row};

/// Who is asking? Presents a session another way than by cookie (bearer, API keys).
pub trait ReadSession: Send + Sync {
    /// The signed session token (`token.signature`), when the request carries one in this way.
    fn signed_token(&self, request: &Request) -> Option<String>;
}

/// A client's write to the user table (sign-up, update), before anything else is looked at.
#[derive(Debug)]
pub struct UserWrite<'r> {
    /// The request.
    pub request: &'r Request,
    /// New user or change.
    pub action: Action,
    /// Whose; `None` at sign-up.
    pub user: Option<&'r User>,
    /// What the client wrote, by field; may be amended.
    pub body: &'r mut Map<String, Json>,
}

/// May amend or refuse what a client writes to the user table (username).
#[async_trait]
pub trait WriteUser: Send + Sync {
    /// Looks at the client's fields and may amend or refuse them.
    async fn amend(&self, db: &mut Db<'_>, write: &mut UserWrite<'_>) -> Result<(), Error>;

    /// The write of these fields met a unique constraint: the refusal, if it is that of a column which
    /// the room lent. `column` is its key, where the constraint's name tells. Two clients may both have
    /// passed [`WriteUser::amend`] for one value; only the constraint knows who was first, and only the
    /// room knows what the other is told.
    async fn taken(
        &self,
        _db: &mut Db<'_>,
        _fields: &Row,
        _column: Option<&str>,
    ) -> Result<Option<Code>, Error> {
        Ok(None)
    }
}

/// A password that somebody is to have from now on.
pub struct NewPassword<'p> {
    /// As the client wrote it.
    pub password: &'p str,
    /// What the user is called: address, name, user name.
    pub context: &'p [&'p str],
}

impl fmt::Debug for NewPassword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPassword").finish_non_exhaustive()
    }
}

/// Before a new password is accepted, after its length and before its hash: may refuse it (the policy).
///
/// It is asked before anybody looks whether there is such a user, so what it says tells nothing of others.
#[async_trait]
pub trait CheckPassword: Send + Sync {
    /// An error refuses.
    async fn check(&self, new: &NewPassword<'_>) -> Result<(), Error>;
}

/// Identity is proven, no session exists yet (two-factor, bans, lockout).
#[async_trait]
pub trait GateSignIn: Send + Sync {
    /// `Some` asks for more, an error refuses. Cookies in `along` are sent if a session follows.
    async fn gate(
        &self,
        db: &mut Db<'_>,
        who: &SignIn<'_>,
        along: &mut Cookies,
    ) -> Result<Option<Challenge>, Error>;
}

/// A session is being handed over: adds cookies (multi-session).
#[async_trait]
pub trait SessionMade: Send + Sync {
    /// Adds cookies.
    async fn session_made(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        cookies: &mut Cookies,
    ) -> Result<(), Error>;
}

/// Somebody signed in, and the session is being handed over for the first time: adds headers (jwt).
#[async_trait]
pub trait SessionBegun: Send + Sync {
    /// Adds headers.
    async fn session_begun(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        cookies: &mut Cookies,
    ) -> Result<(), Error>;
}

/// Makes and reads access tokens: what the room of tokens (jwt) does for others (token API).
#[async_trait]
pub trait AccessTokens: Send + Sync {
    /// A token for the holder of a session, good for so many seconds.
    async fn issue(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        seconds: i64,
    ) -> Result<String, Error>;

    /// Reads a token that [`AccessTokens::issue`] gave and that is good now; `None` for any other.
    async fn read(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        token: &str,
    ) -> Result<Option<AccessToken>, Error>;
}

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The session's id.
    pub session: String,
    /// The user's id; `None` where the operator's function chooses the subject.
    pub user: Option<String>,
}

/// The session cookie is about to be sent: adds headers that say the same (bearer).
pub trait SessionSent: Send + Sync {
    /// Headers to add.
    fn headers(&self, cookie: &SetCookie) -> Result<Vec<(HeaderName, HeaderValue)>, Error>;
}

/// A client signs out: ends what goes with the session (multi-session).
#[async_trait]
pub trait SignOut: Send + Sync {
    /// Ends it; cookies go along.
    async fn sign_out(&self, request: &Request, db: &mut Db<'_>, cookies: &mut Cookies) -> Result<(), Error>;
}

/// The shape of `/get-session` (the jwt header, custom sessions).
#[async_trait]
pub trait ViewSession: Send + Sync {
    /// May amend the body and add headers.
    async fn view(
        &self,
        request: &Request,
        body: &mut View<'_>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Error>;
}

/// The body of `/get-session`; it is made when somebody amends it.
#[derive(Debug)]
pub struct View<'a> {
    auth: &'a Auth,
    found: &'a Found,
    body: Option<Map<String, Json>>,
}

impl<'a> View<'a> {
    /// Of this session.
    pub fn new(auth: &'a Auth, found: &'a Found) -> Self {
        Self { auth, found, body: None }
    }

    /// The session that it shows.
    pub fn found(&self) -> &'a Found {
        self.found
    }

    /// To change it.
    pub fn amend(&mut self) -> Result<&mut Map<String, Json>, Error> {
        if self.body.is_none() {
            self.body = Some(self.found.current(self.auth)?.view(self.auth));
        }
        Ok(self.body.get_or_insert_default())
    }

    /// The answer that shows it.
    pub fn into_answer(mut self) -> Result<Answer, Error> {
        let whole = if self.body.is_none() { self.found.text(self.auth) } else { None };
        Ok(match whole {
            Some(text) => Answer::shown(text),
            None => Answer::value(Json::Object(std::mem::take(self.amend()?))),
        })
    }
}

/// Told what happened, after the fact: it cannot refuse, and nobody waits for it, so what takes time (a
/// database, HTTP) it puts into a queue of its own.
pub trait Notice: Send + Sync {
    /// Something happened.
    fn notice(&self, event: &Event);
}

/// Everything that rooms attached.
#[derive(Default, Clone)]
pub struct Seams {
    /// See [`ReadSession`].
    pub read_session: Vec<Arc<dyn ReadSession>>,
    /// See [`WriteUser`].
    pub write_user: Vec<Arc<dyn WriteUser>>,
    /// See [`CheckPassword`]; the policy comes first.
    pub check_password: Vec<Arc<dyn CheckPassword>>,
    /// See [`GateSignIn`].
    pub gate_sign_in: Vec<Arc<dyn GateSignIn>>,
    /// See [`SessionMade`].
    pub session_made: Vec<Arc<dyn SessionMade>>,
    /// See [`SessionBegun`].
    pub session_begun: Vec<Arc<dyn SessionBegun>>,
    /// See [`AccessTokens`]; one at most.
    pub access_tokens: Option<Arc<dyn AccessTokens>>,
    /// See [`SessionSent`].
    pub session_sent: Vec<Arc<dyn SessionSent>>,
    /// See [`SignOut`].
    pub sign_out: Vec<Arc<dyn SignOut>>,
    /// See [`ViewSession`].
    pub view_session: Vec<Arc<dyn ViewSession>>,
    /// See [`CacheSigner`]; one at most.
    pub cache_signer: Option<Arc<dyn CacheSigner>>,
    /// See [`Notice`].
    pub notice: Vec<Arc<dyn Notice>>,
}
