//! What happened to users and sessions: told after the fact to the log (target `portcullis::events`), to
//! the counters and to whoever attached a [`Notice`](crate::seams::Notice).
//!
//! An event names users and sessions by id. It never holds an address, a token or a password: addresses
//! that nobody has would otherwise be collected by the log.

use std::sync::Arc;

use http::HeaderMap;

use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::Request;
use crate::store::Db;

/// The log's target of events.
pub const TARGET: &str = "portcullis::events";

/// Letters of a `User-Agent` that are kept.
const AGENT: usize = 200;

/// The id of a request, as `x-request-id` has it. Whoever serves requests puts one into their extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// Why somebody was not signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nobody has this address or name.
    UnknownUser,
    /// The user is there and has another password, or none.
    WrongPassword,
    /// The address has not been proven.
    NotVerified,
    /// A wrong code of a second factor.
    SecondFactor,
    /// Too many wrong codes before this one.
    Locked,
    /// A gate or a function of the operator's said no.
    Refused,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::UnknownUser,
        Self::WrongPassword,
        Self::NotVerified,
        Self::SecondFactor,
        Self::Locked,
        Self::Refused,
    ];

    /// As logs and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::NotVerified => "not_verified",
            Self::SecondFactor => "second_factor",
            Self::Locked => "locked",
            Self::Refused => "refused",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A session began.
    SignedIn,
    /// None did.
    SignInFailed(Reason),
    /// The identity is proven, and more is asked for before there is a session.
    Challenged,
    /// A new user.
    SignedUp,
    /// A client ended its session.
    SignedOut,
    /// A user ended one or several sessions.
    SessionsRevoked,
    /// A user who knew the password replaced it.
    PasswordChanged,
    /// A user who followed a mailed link replaced it.
    PasswordReset,
    /// Somebody asked for that link; without a user when nobody has the address.
    PasswordResetRequested,
    /// The address is proven.
    EmailVerified,
    /// The address is another.
    EmailChanged,
    /// The user is gone.
    UserDeleted,
    /// Sign-in asks for a second factor from now on.
    SecondFactorEnabled,
    /// And no more.
    SecondFactorDisabled,
    /// A request was one too many.
    RateLimited,
    /// A request came from a page that is not trusted.
    OriginRefused,
    /// A refresh token that had been used came again: somebody else has it. Its session has ended.
    RefreshTokenReused,
}

impl Kind {
    /// As logs and metrics have them, in the order of [`Kind::index`].
    pub const NAMES: [&'static str; 17] = [
        "signed_in",
        "sign_in_failed",
        "challenged",
        "signed_up",
        "signed_out",
        "sessions_revoked",
        "password_changed",
        "password_reset",
        "password_reset_requested",
        "email_verified",
        "email_changed",
        "user_deleted",
        "second_factor_enabled",
        "second_factor_disabled",
        "rate_limited",
        "origin_refused",
        "refresh_token_reused",
    ];

    /// A password that was not right: of a user, or of nobody.
    pub const fn wrong_password(known: bool) -> Self {
        Self::SignInFailed(if known { Reason::WrongPassword } else { Reason::UnknownUser })
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::SignedIn => 0,
            Self::SignInFailed(_) => 1,
            Self::Challenged => 2,
            Self::SignedUp => 3,
            Self::SignedOut => 4,
            Self::SessionsRevoked => 5,
            Self::PasswordChanged => 6,
            Self::PasswordReset => 7,
            Self::PasswordResetRequested => 8,
            Self::EmailVerified => 9,
            Self::EmailChanged => 10,
            Self::UserDeleted => 11,
            Self::SecondFactorEnabled => 12,
            Self::SecondFactorDisabled => 13,
            Self::RateLimited => 14,
            Self::OriginRefused => 15,
            Self::RefreshTokenReused => 16,
        }
    }

    /// As logs and metrics have it.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(self.index()).copied().unwrap_or_default()
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// When the request came.
    pub at: Timestamp,
    /// The way in, for sign-ins: `email`, `username`, `two-factor`, …
    pub method: Option<&'static str>,
    /// Whose id.
    pub user: Option<String>,
    /// The session's id, never its token.
    pub session: Option<String>,
    /// The client's address, when it can be believed.
    pub ip: Option<String>,
    /// The beginning of `User-Agent`.
    pub user_agent: Option<String>,
    /// The request.
    pub request: Option<RequestId>,
}

impl Event {
    fn new(kind: Kind, at: Timestamp, headers: &HeaderMap, ip: Option<String>) -> Self {
        let agent = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            kind,
            at,
            method: None,
            user: None,
            session: None,
            ip,
            // A header's text is visible ASCII, so a byte is a letter.
            user_agent: agent.map(|agent| agent.get(..AGENT).unwrap_or(agent).to_owned()),
            request: None,
        }
    }

    /// Of a request that was not let through to a handler.
    pub(crate) fn of_head<B>(kind: Kind, auth: &Auth, request: &http::Request<B>) -> Self {
        let headers = request.headers();
        let mut event = Self::new(kind, auth.clock().now(), headers, auth.client_ip().find(headers));
        event.request = request.extensions().get().cloned();
        event
    }

    /// The way in.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Whose.
    #[must_use]
    pub fn user(mut self, id: &str) -> Self {
        self.user = Some(id.to_owned());
        self
    }

    /// Whose, where that is known.
    #[must_use]
    pub fn of(mut self, user: Option<String>) -> Self {
        self.user = user;
        self
    }

    /// The session's id.
    #[must_use]
    pub fn session(mut self, id: &str) -> Self {
        self.session = Some(id.to_owned());
        self
    }
}

impl Request {
    /// Something happened in this request.
    pub fn event(&self, kind: Kind) -> Event {
        let mut event = Event::new(kind, self.now, &self.headers, self.ip.clone());
        event.request.clone_from(&self.id);
        event
    }
}

impl Auth {
    /// Tells what happened.
    pub fn tell(&self, event: Event) {
        self.metrics().event(&event);
        let Event { kind, method, user, session, ip, user_agent, request, .. } = &event;
        let reason = match kind {
            Kind::SignInFailed(reason) => Some(reason.name()),
            _ => None,
        };
        tracing::info!(
            target: TARGET,
            event = kind.name(),
            reason,
            method,
            user,
            session,
            ip,
            user_agent,
            request_id = request.as_ref().map(|id| &*id.0),
            "auth event"
        );
        for notice in &self.seams().notice {
            notice.notice(&event);
        }
    }

    /// Tells it when what happened lasts: at once, or when the transaction has been committed, or never.
    ///
    /// # Errors
    /// None; it is what [`Db::after_commit`] has.
    pub async fn tell_after(&self, db: &mut Db<'_>, event: Event) -> Result<(), Error> {
        let auth = self.clone();
        db.after_commit(async move {
            auth.tell(event);
            Ok(())
        })
        .await
    }
}
