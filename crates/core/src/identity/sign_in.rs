//! The one door to a session. Every gate runs before the row exists, so nothing is made and then
//! unmade: with a second factor pending there is no session, no cookie and no cache to steal.

use serde_json::{Map, Value as Json};

use super::session::{Handed, Session, SessionUser, hand_over};
use super::user::User;
use crate::auth::Auth;
use crate::error::Error;
use crate::events::{Event, Kind, Reason};
use crate::http::{Cookies, Request};
use crate::store::{Agreed, Db, Row};

/// Somebody who has proven who they are and wants a session.
#[derive(Debug)]
pub struct SignIn<'r> {
    /// The request.
    pub request: &'r Request,
    /// Who.
    pub user: User,
    /// How the identity was proven: the room's way in, e.g. `email`, `username`, `sign-up`,
    /// `two-factor`. Gates decide by it.
    pub method: &'static str,
    /// False: one day, ends with the browser.
    pub remember: bool,
    /// Columns of the session that the way in sets.
    pub fields: Row,
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub enum SignedIn {
    /// A session, and the cookies that hand it over.
    Session(Box<SessionUser>, Cookies),
    /// Something is still to be shown; no session exists.
    Challenge(Challenge),
}

/// What a gate asks for instead of letting in.
#[derive(Debug)]
pub struct Challenge {
    /// Cookies that carry the challenge.
    pub cookies: Cookies,
    /// The whole body of the answer, in place of the way in's own.
    pub body: Map<String, Json>,
}

impl Auth {
    /// Makes a session, unless a gate stands in the way.
    ///
    /// `db` may be a transaction: the session is then there when it commits.
    pub async fn sign_in(&self, db: &mut Db<'_>, who: SignIn<'_>) -> Result<SignedIn, Error> {
        let method = who.method;
        let event = who.request.event(Kind::SignedIn).method(method).user(&who.user.id);
        let outcome = self.let_in(db, who).await;
        self.tell_outcome(db, event, method, &outcome).await?;
        outcome
    }

    async fn tell_outcome(
        &self,
        db: &mut Db<'_>,
        mut event: Event,
        method: &'static str,
        outcome: &Result<SignedIn, Error>,
    ) -> Result<(), Error> {
        match outcome {
            Ok(SignedIn::Session(current, _)) => {
                self.tell_after(db, event.session(&current.session.id)).await?
            }
            Ok(SignedIn::Challenge(_)) => {
                event.kind = Kind::Challenged;
                self.tell_after(db, event).await?;
            }
            Err(error) if error.code().is_some_and(|code| !code.status.is_server_error()) => {
                event.kind = Kind::SignInFailed(Reason::Refused);
                self.tell(event);
            }
            Err(_) => self.metrics().sign_in_broke(method),
        }
        Ok(())
    }

    async fn let_in(&self, db: &mut Db<'_>, who: SignIn<'_>) -> Result<SignedIn, Error> {
        let mut along = Cookies::new();
        if let Some(challenge) = self.gates(db, &who, &mut along).await? {
            return Ok(SignedIn::Challenge(challenge));
        }
        let SignIn { request, user, remember, fields, .. } = who;
        let session = Session::create(request, db, &user, remember, fields).await?;
        let current = SessionUser { session, user };
        let mut cookies = hand_over(request, db, &current, Handed { remember: Some(remember) }).await?;
        cookies.extend(along);
        Ok(SignedIn::Session(Box::new(current), cookies))
    }

    /// The same where the operator's hooks have been asked about the session already
    /// ([`Session::ask_create`]): before the user was made, say, whom nobody wants without one.
    pub async fn sign_in_agreed(&self, who: SignIn<'_>, agreed: Agreed) -> Result<SignedIn, Error> {
        let method = who.method;
        let event = who.request.event(Kind::SignedIn).method(method).user(&who.user.id);
        let outcome = self.let_in_agreed(who, agreed).await;
        self.tell_outcome(&mut self.db(), event, method, &outcome).await?;
        outcome
    }

    async fn let_in_agreed(&self, who: SignIn<'_>, agreed: Agreed) -> Result<SignedIn, Error> {
        let mut along = Cookies::new();
        if let Some(challenge) = self.gates(&mut self.db(), &who, &mut along).await? {
            return Ok(SignedIn::Challenge(challenge));
        }
        let SignIn { request, user, remember, fields, .. } = who;
        let mut tx = self.begin_agreed(agreed).await?;
        let session = Session::create(request, &mut tx.db(), &user, remember, fields).await?;
        tx.commit().await?;
        let current = SessionUser { session, user };
        let handed = Handed { remember: Some(remember) };
        let mut cookies = hand_over(request, &mut self.db(), &current, handed).await?;
        cookies.extend(along);
        Ok(SignedIn::Session(Box::new(current), cookies))
    }

    async fn gates(
        &self,
        db: &mut Db<'_>,
        who: &SignIn<'_>,
        along: &mut Cookies,
    ) -> Result<Option<Challenge>, Error> {
        for gate in &self.seams().gate_sign_in {
            if let Some(mut challenge) = gate.gate(db, who, along).await? {
                let mut cookies = std::mem::take(along);
                cookies.extend(std::mem::take(&mut challenge.cookies));
                challenge.cookies = cookies;
                return Ok(Some(challenge));
            }
        }
        Ok(None)
    }
}
