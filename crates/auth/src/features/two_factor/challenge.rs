//! The second factor at sign-in: the gate that asks for it, who answers it, how often they may guess,
//! and the devices that need not answer.
//!
//! Between the password and the second factor there is no session: only a signed cookie with the name
//! of a row that says whose challenge it is, and a row that counts the guesses.

use async_trait::async_trait;
use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::crypto::{Alphabet, base64url, constant_time_eq, hmac_sha256};
use portcullis_core::error::{self, Error};
use portcullis_core::events::{Kind, Reason};
use portcullis_core::http::call::Access;
use portcullis_core::http::{Answer, CookieSpec, Cookies, Request};
use portcullis_core::identity::{
    Challenge, How, SessionUser, SignIn, SignedIn, User, Verification, clear_session_cookies,
};
use portcullis_core::seams::GateSignIn;
use portcullis_core::store::{Db, Row, Value};
use serde_json::{Map, Value as Json, json};

use super::TwoFactor;
use super::errors;
use super::options::Options;
use super::store::{Factor, is_enabled};

/// The ways in that ask for a second factor: those with a password (better-auth 1.7.6 two-factor).
const METHODS: &[&str] = &["email", "username", "phone-number"];

/// Guesses at one challenge, whatever the factor.
pub(super) const ATTEMPTS: u32 = 5;

fn challenge_cookie(auth: &Auth, lasting: Option<i64>) -> CookieSpec {
    CookieSpec::new(auth.config(), "two_factor", lasting)
}

fn trust_cookie(auth: &Auth, options: &Options) -> CookieSpec {
    CookieSpec::new(auth.config(), "trust_device", Some(options.trust_lasting()))
}

fn no_challenge(auth: &Auth) -> Error {
    let mut cookies = Cookies::new();
    cookies.expire(&challenge_cookie(auth, None));
    Error::from(errors::INVALID_TWO_FACTOR_COOKIE).with_cookies(cookies)
}

#[async_trait]
impl GateSignIn for TwoFactor {
    async fn gate(
        &self,
        db: &mut Db<'_>,
        who: &SignIn<'_>,
        along: &mut Cookies,
    ) -> Result<Option<Challenge>, Error> {
        if !METHODS.contains(&who.method) || !is_enabled(&who.user) {
            return Ok(None);
        }
        let options = &*self.options;
        let request = who.request;
        let auth = &request.auth;
        let mut cookies = Cookies::new();
        let trust = trust_cookie(auth, options);
        if let Some(value) = request.cookies.signed(&trust, auth.config().secrets.current()) {
            if is_trusted(auth, db, &who.user, value).await? {
                trust_device(request, db, options, &who.user, along).await?;
                return Ok(None);
            }
            cookies.expire(&trust);
        }
        challenge(request, db, options, who, cookies).await.map(Some)
    }
}

async fn challenge(
    request: &Request,
    db: &mut Db<'_>,
    options: &Options,
    who: &SignIn<'_>,
    mut cookies: Cookies,
) -> Result<Challenge, Error> {
    let auth = &request.auth;
    let secret = auth.config().secrets.current();
    let mark = &auth.cookies().dont_remember;
    if who.remember == Some(false) {
        cookies.push(mark.set_signed(secret, "true"));
    } else if who.remember == Some(true) && request.cookies.signed(mark, secret).is_some() {
        // better-auth 1.7.24: the mark of an earlier sign-in must not decide over this one.
        cookies.expire(mark);
    }
    cookies.extend(clear_session_cookies(request, true));

    let identifier = format!("2fa-{}", auth.random().text(20, Alphabet::UrlSafe));
    let lasting = options.challenge_lasting();
    let expires_at = request.now.plus_seconds(lasting);
    Verification::create(auth, db, &identifier, &who.user.id, expires_at).await?;
    Verification::create(auth, db, &attempts_of(&identifier), "0", expires_at).await?;
    cookies.push(challenge_cookie(auth, Some(lasting)).set_signed(secret, &identifier));

    let mut methods = Vec::new();
    if !options.totp_options.disable
        && Factor::of(db, &who.user.id).await?.is_some_and(|factor| factor.is_ready())
    {
        methods.push("totp");
    }
    if options.sends_codes() {
        methods.push("otp");
    }
    let mut body = Map::new();
    body.insert("twoFactorRedirect".into(), Json::Bool(true));
    body.insert("twoFactorMethods".into(), json!(methods));
    Ok(Challenge { cookies, body })
}

fn attempts_of(identifier: &str) -> String {
    format!("2fa-attempts-{identifier}")
}

/// Trust is a row that names the user and a cookie that names the row, bound to the user by an HMAC.
fn trust_mac(auth: &Auth, user: &str, identifier: &str) -> String {
    let secret = auth.config().secrets.current().expose().as_bytes();
    base64url(&hmac_sha256(secret, format!("{user}!{identifier}").as_bytes()))
}

/// Is this the cookie of a device that the user trusts? The row is used up: trust is renewed each time.
async fn is_trusted(auth: &Auth, db: &mut Db<'_>, user: &User, cookie: &str) -> Result<bool, Error> {
    let mut parts = cookie.split('!');
    let (Some(mac), Some(identifier)) = (parts.next(), parts.next()) else { return Ok(false) };
    if identifier.is_empty()
        || !constant_time_eq(mac.as_bytes(), trust_mac(auth, &user.id, identifier).as_bytes())
    {
        return Ok(false);
    }
    let of_user = |row: &Verification| row.value == user.id && row.expires_at > auth.clock().now();
    if !Verification::find(auth, db, identifier).await?.is_some_and(|row| of_user(&row)) {
        return Ok(false);
    }
    // Of two sign-ins with one cookie one is trusted; the other answers the challenge.
    Ok(Verification::consume(auth, db, identifier).await?.is_some_and(|row| of_user(&row)))
}

async fn trust_device(
    request: &Request,
    db: &mut Db<'_>,
    options: &Options,
    user: &User,
    cookies: &mut Cookies,
) -> Result<(), Error> {
    let auth = &request.auth;
    let identifier = format!("trust-device-{}", auth.random().text(32, Alphabet::UrlSafe));
    let expires_at = request.now.plus_seconds(options.trust_lasting());
    Verification::create(auth, db, &identifier, &user.id, expires_at).await?;
    let value = format!("{}!{identifier}", trust_mac(auth, &user.id, &identifier));
    cookies.push(trust_cookie(auth, options).set_signed(auth.config().secrets.current(), &value));
    Ok(())
}

/// Ends the trust in the device that sends the request.
pub(super) async fn distrust_device(
    request: &Request,
    db: &mut Db<'_>,
    options: &Options,
    cookies: &mut Cookies,
) -> Result<(), Error> {
    let auth = &request.auth;
    let spec = trust_cookie(auth, options);
    let Some(value) = request.cookies.signed(&spec, auth.config().secrets.current()) else { return Ok(()) };
    if let Some(identifier) = value.split('!').nth(1).filter(|name| name.starts_with("trust-device-")) {
        Verification::delete(auth, db, identifier).await?;
    }
    cookies.expire(&spec);
    Ok(())
}

/// Who answers: somebody with a session, or somebody who is signing in.
#[derive(Debug)]
pub(super) enum Answerer {
    /// With a session.
    Session(Box<SessionUser>),
    /// With a challenge.
    Challenged(Box<Pending>),
}

/// A sign-in that waits for its second factor.
#[derive(Debug)]
pub(super) struct Pending {
    user: User,
    identifier: String,
    expires_at: Timestamp,
    remember: bool,
}

/// A session, or the `two_factor` cookie of a live challenge. The refusal waits until the handler asks,
/// because some refusals of the options come before it (better-auth 1.7.6 verify-two-factor).
pub(super) struct Either(pub Result<Answerer, Error>);

#[async_trait]
impl Access for Either {
    const NAME: &'static str = "two_factor cookie or session";

    async fn admit(request: &Request, cookies: &mut Cookies) -> Result<Self, Error> {
        // From the store: verifying can replace the session, which a revoked one must not achieve.
        if let Some(current) = request.session(How::authoritative(&request.auth), cookies).await? {
            return Ok(Self(Ok(Answerer::Session(Box::new(current)))));
        }
        Ok(Self(match pending(request).await? {
            Some(pending) => Ok(Answerer::Challenged(Box::new(pending))),
            None => Err(errors::INVALID_TWO_FACTOR_COOKIE.into()),
        }))
    }
}

async fn pending(request: &Request) -> Result<Option<Pending>, Error> {
    let auth = &request.auth;
    let secret = auth.config().secrets.current();
    let Some(identifier) = request.cookies.signed(&challenge_cookie(auth, None), secret) else {
        return Ok(None);
    };
    // Signed cookies of other kinds are not challenges, whatever row they name.
    if !identifier.starts_with("2fa-") {
        return Ok(None);
    }
    let mut db = auth.db();
    let Some(row) = Verification::find(auth, &mut db, identifier).await? else { return Ok(None) };
    let Some(user) = User::by_id(&mut db, &row.value).await? else { return Ok(None) };
    Ok(Some(Pending {
        user,
        identifier: identifier.to_owned(),
        expires_at: row.expires_at,
        remember: request.cookies.signed(&auth.cookies().dont_remember, secret).is_none(),
    }))
}

impl Answerer {
    pub(super) fn user(&self) -> &User {
        match self {
            Self::Session(current) => &current.user,
            Self::Challenged(pending) => &pending.user,
        }
    }

    pub(super) fn challenge(&self) -> Option<&Pending> {
        match self {
            Self::Session(_) => None,
            Self::Challenged(pending) => Some(pending),
        }
    }

    /// What a sent code is bound to.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Session(current) => format!("{}!{}", current.user.id, current.session.id),
            Self::Challenged(pending) => pending.identifier.clone(),
        }
    }

    /// The factor was right: at sign-in the session begins here, and nowhere else.
    pub(super) async fn finish(
        self,
        request: &Request,
        options: &Options,
        trust: bool,
    ) -> Result<Answer, Error> {
        let auth = &request.auth;
        let pending = match self {
            Self::Session(current) => return Ok(answer(auth, &current.session.token, &current.user)),
            Self::Challenged(pending) => *pending,
        };
        // Taken away first, by itself: whoever has it makes the one session. Hooks of the operator's and
        // what rooms tell of a session are not waited for inside a transaction; should no session follow,
        // the user begins anew (better-auth 1.7.6 does the same).
        let db = &mut auth.db();
        let taken = Verification::consume(auth, db, &pending.identifier).await?;
        if taken.is_none_or(|row| row.value != pending.user.id) {
            return Err(no_challenge(auth));
        }
        let proven = SignIn {
            request,
            user: pending.user,
            method: "two-factor",
            remember: Some(pending.remember),
            fields: Row::new(),
        };
        let (current, mut cookies) = match auth.sign_in(db, proven).await? {
            SignedIn::Session(current, cookies) => (current, cookies),
            SignedIn::Challenge(challenge) => {
                return Ok(Answer::value(Json::Object(challenge.body)).with_cookies(challenge.cookies));
            }
        };
        cookies.expire(&challenge_cookie(auth, None));
        if trust {
            trust_device(request, db, options, &current.user, &mut cookies).await?;
            cookies.expire(&auth.cookies().dont_remember);
        }
        Ok(answer(auth, &current.session.token, &current.user).with_cookies(cookies))
    }
}

/// `{token, user}`.
pub(super) fn answer(auth: &Auth, token: &str, user: &User) -> Answer {
    Answer::value(json!({ "token": token, "user": user.view(auth) }))
}

/// One guess at a challenge, counted before it is judged: a burst of guesses cannot outrun its count.
#[derive(Debug)]
#[must_use = "a guess that is neither wrong, right nor taken back ends the challenge"]
pub(super) struct Guess {
    identifier: String,
    expires_at: Timestamp,
    /// Guesses at this challenge before this one.
    before: u32,
    /// The account's count, this guess included, and whose it is.
    account: Option<(String, i64)>,
    /// Who is guessed at.
    user: String,
}

struct Lockout {
    most: i64,
    lasting: i64,
}

fn lockout(options: &Options) -> Option<Lockout> {
    let settings = &options.account_lockout;
    (settings.enabled != Some(false)).then(|| Lockout {
        most: settings.max_failed_attempts.unwrap_or(10),
        lasting: settings.duration_seconds.unwrap_or(900),
    })
}

/// Refuses while the account is locked; forgets a lock that is over (NIST SP 800-63B §5.2.2).
pub(super) async fn check_lock(request: &Request, options: &Options, factor: &Factor) -> Result<(), Error> {
    let (Some(_), Some(until)) = (lockout(options), factor.locked_until) else { return Ok(()) };
    if until > request.now {
        failed(request, Reason::Locked, &factor.user_id);
        return Err(errors::ACCOUNT_TEMPORARILY_LOCKED.into());
    }
    let over = Factor::LOCKED_UNTIL.le(request.now);
    factor.change_if_same(&mut request.auth.db(), over, unlocked()).await?;
    Ok(())
}

/// Tells of a sign-in that the second factor did not let through.
fn failed(request: &Request, reason: Reason, user: &str) {
    let event = request.event(Kind::SignInFailed(reason));
    request.auth.tell(event.method("two-factor").user(user));
}

fn unlocked() -> Row {
    Row::new().with(Factor::FAILURES.key, 0i64).with(Factor::LOCKED_UNTIL.key, Value::Null)
}

impl Pending {
    /// Begins a guess; of any number at once, one.
    pub(super) async fn guess(
        &self,
        request: &Request,
        options: &Options,
        factor: Option<&Factor>,
        most: u32,
    ) -> Result<Guess, Error> {
        let auth = &request.auth;
        let mut db = auth.db();
        let counter = attempts_of(&self.identifier);
        let Some(row) = Verification::consume(auth, &mut db, &counter).await? else {
            return Err(errors::INVALID_TWO_FACTOR_COOKIE.into());
        };
        // A count that cannot be read is a count that is used up.
        let before = row.value.parse().unwrap_or(most);
        if before >= most {
            Verification::consume(auth, &mut db, &self.identifier).await?;
            let Error::Refused(refusal) = no_challenge(auth) else { return Err(no_challenge(auth)) };
            return Err(Error::from(errors::TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE).with_cookies(refusal.cookies));
        }
        let mut guess = Guess {
            identifier: self.identifier.clone(),
            expires_at: self.expires_at,
            before,
            account: None,
            user: self.user.id.clone(),
        };
        if let (Some(factor), Some(lockout)) = (factor, lockout(options)) {
            let open = Factor::ID
                .is(factor.id.as_str())
                .and(Factor::FAILURES.lt(lockout.most).or(Factor::FAILURES.is_null()));
            let counted = db.increment(Factor::KEY, &open, Factor::FAILURES.key, 1, Row::new()).await?;
            let Some(counted) = counted.map(Factor::from_row).transpose()? else {
                // Others have used the account's guesses up since it was read.
                lock(request, &mut db, &factor.id, &lockout).await?;
                guess.count(auth, before).await?;
                failed(request, Reason::Locked, &self.user.id);
                return Err(errors::ACCOUNT_TEMPORARILY_LOCKED.into());
            };
            guess.account = Some((factor.id.clone(), counted.failures.unwrap_or(1)));
        }
        Ok(guess)
    }
}

/// Locks an account that has used its guesses up and is not locked yet.
async fn lock(request: &Request, db: &mut Db<'_>, factor: &str, lockout: &Lockout) -> Result<(), Error> {
    let full =
        Factor::ID.is(factor).and(Factor::FAILURES.ge(lockout.most)).and(Factor::LOCKED_UNTIL.is_null());
    let until = Row::new().with(Factor::LOCKED_UNTIL.key, request.now.plus_seconds(lockout.lasting));
    db.update(Factor::KEY, &full, until).await?;
    Ok(())
}

impl Guess {
    async fn count(&self, auth: &Auth, count: u32) -> Result<(), Error> {
        let counter = attempts_of(&self.identifier);
        Verification::create(auth, &mut auth.db(), &counter, &count.to_string(), self.expires_at).await?;
        Ok(())
    }

    /// It was wrong.
    pub(super) async fn wrong(self, request: &Request, options: &Options) -> Result<(), Error> {
        failed(request, Reason::SecondFactor, &self.user);
        self.count(&request.auth, self.before.saturating_add(1)).await?;
        if let (Some((factor, count)), Some(lockout)) = (&self.account, lockout(options))
            && *count >= lockout.most
        {
            lock(request, &mut request.auth.db(), factor, &lockout).await?;
        }
        Ok(())
    }

    /// It could not be judged.
    pub(super) async fn take_back(self, request: &Request) -> Result<(), Error> {
        self.count(&request.auth, self.before).await?;
        if let Some((factor, _)) = &self.account {
            let counted = Factor::ID.is(factor.as_str()).and(Factor::FAILURES.gt(0i64));
            let mut db = request.auth.db();
            db.increment(Factor::KEY, &counted, Factor::FAILURES.key, -1, Row::new()).await?;
        }
        Ok(())
    }

    /// It was right: the account's failures are forgotten.
    pub(super) async fn right(self, request: &Request) -> Result<(), Error> {
        if let Some((factor, _)) = &self.account {
            let this = Factor::ID.is(factor.as_str());
            request.auth.db().update(Factor::KEY, &this, unlocked()).await?;
        }
        Ok(())
    }
}

/// The refusal where a challenge's user has no second factor any more.
pub(super) fn no_session_to_enable() -> Error {
    error::FAILED_TO_CREATE_SESSION.at(StatusCode::BAD_REQUEST).into()
}
