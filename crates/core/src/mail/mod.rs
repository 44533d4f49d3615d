//! Mail: rooms say what is to be said to whom; the operator's function or the mailer delivers it.
//!
//! A mail is a row of the outbox, written in the transaction that causes it, and delivered after the
//! commit, beside the request. So no request waits for a mail or fails with one, and a process that
//! dies in between loses none: whoever runs next finds the row. A row goes when its mail is delivered.
//!
//! The same holds for the operator's own functions (`emailAndPassword.sendResetPassword` and the like),
//! which come before the mailer where they are set.

mod mailbox;
mod outbox;
mod render;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::{Notify, Semaphore};

pub use mailbox::{Mailbox, Seen};
pub use outbox::{Listed, Queued};
pub use render::Rendered;

use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::{Config, ConfigError, Environment};
use crate::error::Error;
use crate::hooks::Callback;
use crate::http::Request;
use crate::store::Db;
use render::Templates;
use transport::Transport;

/// The link that sets a new password.
pub const RESET_PASSWORD: &str = "reset-password";
/// The link that proves an address.
pub const VERIFY_EMAIL: &str = "verify-email";
/// The link by which the owner of the old address agrees to a new one.
pub const CHANGE_EMAIL: &str = "change-email-confirmation";
/// The link that deletes an account.
pub const DELETE_ACCOUNT: &str = "delete-account";
/// A code for signing in.
pub const TWO_FACTOR_OTP: &str = "two-factor-otp";
/// Somebody has tried to sign up with the address.
pub const EXISTING_USER: &str = "existing-user-sign-up";
/// The password is another one now.
pub const PASSWORD_CHANGED: &str = "password-changed";

/// Deliveries at once.
const AT_ONCE: usize = 4;
/// Mails that wait for their first try in memory; the others wait in the table only.
const WAITING: usize = 256;

/// One kind of mail, contributed by the room that has it.
#[derive(Debug, Clone)]
pub struct MailKind {
    name: &'static str,
    texts: &'static str,
    callback: Option<(&'static str, Callback)>,
    mailed: bool,
}

impl MailKind {
    /// A kind by name, with its texts: JSON of `{locale: {subject, title, text, …}}`.
    pub fn new(name: &'static str, texts: &'static str) -> Self {
        Self { name, texts, callback: None, mailed: true }
    }

    /// The operator's function for it, under its dotted option name, when there is one.
    #[must_use]
    pub fn told_to(mut self, name: &'static str, callback: Option<&Callback>) -> Self {
        self.callback = callback.map(|callback| (name, callback.clone()));
        self
    }

    /// The mailer takes it only if the operator has asked for that.
    #[must_use]
    pub fn mailed_if(mut self, wanted: bool) -> Self {
        self.mailed = wanted;
        self
    }
}

/// A mail to be sent.
pub struct Outgoing {
    kind: &'static str,
    args: Vec<Json>,
    locale: Option<String>,
    until: Option<Timestamp>,
    beside: bool,
    said: bool,
}

/// Without its contents: there are links and codes in it.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Outgoing {
    /// A mail of a kind. `message` is the first argument of the operator's function: `{user, url, token}`
    /// or what else Better Auth gives it. The mailer writes to `user.email`.
    pub fn new(kind: &'static str, request: &Request, message: Json) -> Self {
        Self::with_context(kind, request, message, request.for_webhook())
    }

    /// The same where the second argument is not the request.
    pub fn with_context(kind: &'static str, request: &Request, message: Json, context: Json) -> Self {
        // As much as browsers send; the rest is not looked at.
        let locale =
            request.header(http::header::ACCEPT_LANGUAGE).map(|text| text.chars().take(200).collect());
        Self { kind, args: vec![message, context], locale, until: None, beside: false, said: false }
    }

    /// What it holds is good for nothing afterwards, and nor is the mail.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// Never waited for, not even under the test contract: the time of the answer must not tell whether
    /// there was a mail.
    #[must_use]
    pub fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// Under the test contract a first try that fails is the request's failure (better-auth 1.7.6
    /// `/send-verification-email`).
    #[must_use]
    pub fn said(mut self) -> Self {
        self.said = true;
        self
    }
}

/// What tells the worker to look, and to end.
#[derive(Debug, Default)]
struct Signals {
    look: Notify,
    stop: Notify,
    stopping: AtomicBool,
    started: AtomicBool,
}

/// Everything about mail of one [`Auth`].
pub struct Mailer {
    kinds: BTreeMap<&'static str, MailKind>,
    templates: Templates,
    transport: Transport,
    mailbox: Option<Mailbox>,
    outbox: bool,
    /// Answers wait for the first try: for tests.
    awaits: bool,
    /// For deliveries; taken as long as one lasts.
    places: Arc<Semaphore>,
    /// For mails that wait in memory for a place.
    waiting: Arc<Semaphore>,
    signals: Arc<Signals>,
    /// When failures were last thrown away, in milliseconds.
    swept: AtomicI64,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

impl Mailer {
    /// Joins the kinds of all rooms with the configuration; reads and checks the operator's templates.
    pub(crate) fn new(config: &Config, kinds: Vec<MailKind>, awaits: bool) -> Result<Self, ConfigError> {
        let kinds: BTreeMap<_, _> = kinds.into_iter().map(|kind| (kind.name, kind)).collect();
        let templates = Templates::load(&config.mail, kinds.values())?;
        let transport = Transport::new(&config.mail)?;
        let some = kinds
            .values()
            .any(|kind| kind.callback.is_some() || kind.mailed && !matches!(transport, Transport::None));
        let test = config.environment == Environment::Test;
        Ok(Self {
            templates,
            transport,
            mailbox: (config.environment == Environment::Development).then(Mailbox::default),
            // Under the test contract tables are not ours to add to, unless mail is what is tested.
            outbox: some && (!test || config.mail.configured),
            awaits: awaits || test,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            signals: Arc::default(),
            swept: AtomicI64::new(i64::MIN),
            kinds,
        })
    }

    /// Whether mails are kept in the table until they are delivered.
    pub fn has_outbox(&self) -> bool {
        self.outbox
    }

    /// Delivers without the table from now on.
    pub(crate) fn without_outbox(&mut self) {
        self.outbox = false;
    }

    /// Is there a way to deliver mails of this kind? The operator's function or the mailer.
    pub fn sends(&self, kind: &str) -> bool {
        self.kinds.get(kind).is_some_and(|kind| kind.callback.is_some() || self.mails(kind))
    }

    fn mails(&self, kind: &MailKind) -> bool {
        kind.mailed && !matches!(self.transport, Transport::None)
    }

    /// The kinds, in alphabetical order.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.keys().copied()
    }

    /// The languages there are texts in.
    pub fn locales(&self) -> impl Iterator<Item = &str> {
        self.templates.locales()
    }

    /// A mail of a kind with made-up contents, as its reader would get it.
    ///
    /// # Errors
    /// There is no such kind, or its template cannot be rendered.
    pub fn preview(
        &self,
        config: &Config,
        kind: &str,
        locale: Option<&str>,
    ) -> Result<Rendered, ConfigError> {
        self.templates.preview(&config.mail, kind, locale)
    }

    /// What a developer sees at `/dev/mailbox`; `None` outside development.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mailbox.as_ref()
    }

    /// Begins nothing new and lets deliveries under way finish, for so long at most. What is not
    /// delivered stays in the outbox.
    pub async fn finish(&self, patience: Duration) {
        self.signals.stopping.store(true, Ordering::SeqCst);
        self.signals.stop.notify_waiters();
        let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
        if tokio::time::timeout(patience, self.places.acquire_many(all)).await.is_err() {
            tracing::warn!(
                "mails that are being delivered did not finish in time; they are tried again at the next start"
            );
        }
    }
}

impl Auth {
    /// Sends a mail once the writes of this transaction last; at once outside of one. Where nobody
    /// delivers mails of its kind this does nothing.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub async fn send_mail(&self, db: &mut Db<'_>, mail: Outgoing) -> Result<(), Error> {
        outbox::send(self, db, mail).await
    }

    /// Costs about what a mail and the row behind its link cost, and does nothing: for an address that
    /// nobody has, where the time of an answer must not tell.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub async fn pretend_mail(&self) -> Result<(), Error> {
        outbox::pretend(self).await
    }

    /// Starts the task that delivers what an earlier process left behind and tries again what failed.
    /// Once is enough, and [`Auth::router`] does it; it ends with the last `Auth` of this engine, or
    /// with [`Mailer::finish`]. Without a tokio runtime it does nothing.
    pub fn start_mail(&self) {
        outbox::start(self);
    }
}
