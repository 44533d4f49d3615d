//! The one door to a session. Every gate runs before the row exists, so nothing is made and then
//! unmade: with a second factor pending there is no session, no cookie and no cache to steal.

use serde_json::{Map, Value as Json};

use super::password::Credential;
use super::session::{Handed, Session, SessionUser, hand_over};
use super::user::User;
use crate::auth::Auth;
use crate::error::{Code, Error};
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
    /// `Some(false)`: one day, and the cookie ends with the browser; `None`: nobody was asked, so the cookie
    /// lasts as the mark of the session before says (`dont_remember`), and the session as usual.
    pub remember: Option<bool>,
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

/// What is told of a sign-in if it succeeds, and the way in.
fn beginning(who: &SignIn<'_>) -> (Event, &'static str) {
    (who.request.event(Kind::SignedIn).method(who.method).user(&who.user.id), who.method)
}

impl Auth {
    /// Makes a session, unless a gate stands in the way.
    ///
    /// `db` may be a transaction: the session is then there when it commits.
    pub async fn sign_in(&self, db: &mut Db<'_>, who: SignIn<'_>) -> Result<SignedIn, Error> {
        let (event, method) = beginning(&who);
        let outcome = self.let_in(db, who, None).await;
        self.tell_outcome(db, event, method, outcome).await
    }

    /// The same for somebody who has proven a password. A session that began while that was changed ends
    /// at once: the session is written first and the password looked at then, so either this sees the
    /// change, or whoever made it sees the session.
    ///
    /// # Errors
    /// `refused` when the password is another one by now.
    pub async fn sign_in_by_password(
        &self,
        who: SignIn<'_>,
        credential: &Credential,
        refused: Code,
    ) -> Result<SignedIn, Error> {
        let (event, method) = beginning(&who);
        let db = &mut self.db();
        let outcome = match self.let_in(db, who, None).await {
            Ok(SignedIn::Session(current, _)) if !credential.holds(self).await? => {
                Session::delete(self, db, &current.session.token).await?;
                Err(refused.into())
            }
            outcome => outcome,
        };
        self.tell_outcome(db, event, method, outcome).await
    }

    /// The same where the operator's hooks have been asked about the session already
    /// ([`Session::ask_create`]): before the user was made, say, whom nobody wants without one.
    pub async fn sign_in_agreed(&self, who: SignIn<'_>, agreed: Agreed) -> Result<SignedIn, Error> {
        let (event, method) = beginning(&who);
        let db = &mut self.db();
        let outcome = self.let_in(db, who, Some(agreed)).await;
        self.tell_outcome(db, event, method, outcome).await
    }

    async fn tell_outcome(
        &self,
        db: &mut Db<'_>,
        mut event: Event,
        method: &'static str,
        outcome: Result<SignedIn, Error>,
    ) -> Result<SignedIn, Error> {
        match &outcome {
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
        outcome
    }

    /// With `agreed` in a transaction of its own, which is over before rooms hear of the session.
    async fn let_in(
        &self,
        db: &mut Db<'_>,
        who: SignIn<'_>,
        agreed: Option<Agreed>,
    ) -> Result<SignedIn, Error> {
        let mut along = Cookies::new();
        if let Some(challenge) = self.gates(db, &who, &mut along).await? {
            return Ok(SignedIn::Challenge(challenge));
        }
        let SignIn { request, user, remember, fields, .. } = who;
        let lasting = remember != Some(false);
        let session = match agreed {
            None => Session::create(request, db, &user, lasting, fields).await?,
            Some(agreed) => {
                let mut tx = self.begin_agreed(agreed).await?;
                let session = Session::create(request, &mut tx.db(), &user, lasting, fields).await?;
                tx.commit().await?;
                session
            }
        };
        let current = SessionUser { session, user };
        let mut cookies = hand_over(request, db, &current, Handed { remember }).await?;
        cookies.extend(along);
        for seam in &self.seams().session_begun {
            if let Err(error) = seam.session_begun(request, db, &current, &mut cookies).await {
                // As a refusal of `SessionMade`: the session is there.
                return Err(error.with_cookies(cookies));
            }
        }
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
