//! The outbox: a row per mail that is not delivered yet, and what takes it from there.
//!
//! A row belongs to whoever claimed it until `nextAttemptAt`; the process that writes it has claimed it
//! already. So several processes on one database send a mail once. One that dies while it sends leaves a
//! row that comes due again: then the mail may arrive twice, with the same `Message-ID`, but it arrives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tokio::sync::OwnedSemaphorePermit;

use super::render::About;
use super::transport::Failure;
use super::{Mailer, Outgoing, Signals};
use crate::auth::{Auth, WeakAuth};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::metrics::Mail;
use crate::store::{Db, Filter, Query, Row, StoreError};
use crate::table;

/// Beyond the time for a delivery: for the database, before and after it.
const MARGIN: Duration = Duration::from_secs(6);
/// How often the worker looks for rows that are due.
const PAUSE: Duration = Duration::from_secs(5);
/// Rows read at once.
const PAGE: u64 = 16;
/// How often failures that are too old are thrown away, in milliseconds.
const SWEEP: i64 = 600_000;

table! {
    /// A mail that is not delivered yet, or was given up.
    pub struct Queued in "portcullisMail" {
        /// Id.
        id / ID: String = Column::id(),
        /// Kind.
        kind / KIND: String = Column::text("kind"),
        /// What to say to whom, sealed: links and codes are in it.
        payload / PAYLOAD: Json = Column::json("payload").hidden(),
        /// Tries so far, with the one under way.
        attempts / ATTEMPTS: i64 = Column::int("attempts"),
        /// When it is anybody's to try; `None` when it was given up.
        next_attempt_at / NEXT: Option<Timestamp> = Column::time("nextAttemptAt").indexed(),
        /// When it was written.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt"),
        /// When it was given up.
        failed_at / FAILED_AT: Option<Timestamp> = Column::time("failedAt").indexed(),
        /// Why the last try failed.
        last_error / LAST_ERROR: Option<String> = Column::text("lastError"),
    }
}

/// A row as an operator sees it: nothing of its contents.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Id.
    pub id: String,
    /// Kind.
    pub kind: String,
    /// Tries so far.
    pub attempts: i64,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried again; `None` when it was given up.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// What is sealed in a row.
#[derive(Clone, Serialize, Deserialize)]
struct Payload {
    args: Vec<Json>,
    locale: Option<String>,
    /// Milliseconds; afterwards the mail is good for nothing.
    until: Option<i64>,
}

/// The `webhook-id` of all tries of a mail.
pub(super) fn call_id(id: &str) -> String {
    format!("msg_mail_{id}")
}

impl Mailer {
    fn lease(&self, auth: &Auth) -> Duration {
        auth.config().mail.timeout + MARGIN
    }

    /// The argument of the operator's function, or as much of it as the mailer needs.
    fn reduced(&self, kind: &str, args: Vec<Json>) -> Vec<Json> {
        if self.kinds.get(kind).is_some_and(|kind| kind.callback.is_some()) {
            return args;
        }
        let Some(Json::Object(mut message)) = args.into_iter().next() else { return Vec::new() };
        if let Some(Json::Object(user)) = message.get_mut("user") {
            user.retain(|key, _| key == "email" || key == "name");
        }
        message.remove("token");
        vec![Json::Object(message)]
    }

    /// One try.
    async fn deliver(&self, auth: &Auth, kind: &str, id: &str, payload: &Payload) -> Result<(), Failure> {
        let Some(known) = self.kinds.get(kind) else {
            return Err(Failure::passing("no feature that is switched on has mails of this kind"));
        };
        if let Some((name, callback)) = &known.callback {
            let told = callback.call_as(auth.outbound(), &call_id(id), name, payload.args.clone()).await;
            return told.map(drop).map_err(Failure::of);
        }
        if !known.mailed {
            return Err(Failure::passing("nobody delivers mails of this kind any more"));
        }
        let empty = Map::new();
        let message = payload.args.first().and_then(Json::as_object).unwrap_or(&empty);
        let user = message.get("user").and_then(Json::as_object).unwrap_or(&empty);
        fn text<'a>(of: &'a Map<String, Json>, key: &str) -> Option<&'a str> {
            of.get(key).and_then(Json::as_str)
        }
        let Some(to) = text(user, "email").filter(|to| !to.is_empty()) else {
            return Err(Failure::lasting("the user has no address"));
        };
        let now = auth.clock().now();
        let about = About {
            email: to,
            name: text(user, "name").unwrap_or_default(),
            url: text(message, "url"),
            code: text(message, "otp"),
            new_email: text(message, "newEmail"),
            lasting: payload.until.map(|until| until.saturating_sub(now.millis())),
        };
        let config = &auth.config().mail;
        let mail = self
            .templates
            .render(config, kind, payload.locale.as_deref(), &about)
            .map_err(Failure::passing)?;
        if let Some(mailbox) = &self.mailbox {
            mailbox.put(kind, to, now, mail.clone());
        }
        self.transport.deliver(auth, kind, id, to, &mail).await
    }

    async fn in_time(&self, auth: &Auth, kind: &str, id: &str, payload: &Payload) -> Result<(), Failure> {
        let patience = auth.config().mail.timeout;
        match tokio::time::timeout(patience, self.deliver(auth, kind, id, payload)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::passing(format!("took more than {} s", patience.as_secs()))),
        }
    }

    /// How long to wait after so many tries: twice as long each time, a fifth more or less.
    fn wait(&self, auth: &Auth, attempts: i64) -> Duration {
        let config = &auth.config().mail;
        let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 30)).unwrap_or(0);
        let wait = config.first_wait.saturating_mul(2u32.saturating_pow(doublings)).min(config.longest_wait);
        let [byte] = auth.random().bytes::<1>();
        wait.mul_f64(0.8 + 0.4 * f64::from(byte) / 255.0)
    }
}

/// See [`Auth::send_mail`].
pub(super) async fn send(auth: &Auth, db: &mut Db<'_>, mail: Outgoing) -> Result<(), Error> {
    let mailer = auth.mailer();
    let Outgoing { kind, args, locale, until, beside, said } = mail;
    if !mailer.sends(kind) {
        return Ok(());
    }
    let until = until.map(Timestamp::millis);
    let payload = Payload { args: mailer.reduced(kind, args), locale, until };
    let awaited = mailer.awaits && !beside;
    if !mailer.outbox {
        let auth = auth.clone();
        return db.after_commit(async move { directly(auth, kind, payload, awaited, said).await }).await;
    }
    let plain = serde_json::to_string(&payload).map_err(Error::broken)?;
    let sealed = auth.config().secrets.seal(auth.random(), &plain)?;
    // Without a place in memory the worker takes it from the table.
    let waiting = Arc::clone(&mailer.waiting).try_acquire_owned().ok();
    let now = auth.clock().now();
    let (attempts, next) = match &waiting {
        Some(_) => (1, now + mailer.lease(auth)),
        None => (0, now),
    };
    let row = Row::new()
        .with(Queued::KIND.key, kind)
        .with(Queued::PAYLOAD.key, Json::String(sealed))
        .with(Queued::ATTEMPTS.key, attempts)
        .with(Queued::NEXT.key, next)
        .with(Queued::CREATED_AT.key, now);
    let row = Queued::from_row(db.insert(Queued::KEY, auth.with_new_id(row)).await?)?;
    let auth = auth.clone();
    db.after_commit(async move {
        auth.metrics().mail(Mail::Queued);
        let Some(waiting) = waiting else {
            auth.mailer().signals.look.notify_one();
            return Ok(());
        };
        let claim = Claim { id: row.id, kind: row.kind, attempts, until: next };
        let first = async move {
            let outcome = first_try(&auth, &claim, &payload).await;
            drop(waiting);
            outcome
        };
        if awaited {
            let outcome = first.await;
            return if said { outcome } else { Ok(()) };
        }
        tokio::spawn(first);
        Ok(())
    })
    .await
}

/// Costs what a mail costs and leaves nothing: for an address that nobody has, where the time of an
/// answer must not tell.
pub(super) async fn pretend(auth: &Auth) -> Result<(), Error> {
    if !auth.mailer().outbox {
        return Ok(());
    }
    let now = auth.clock().now();
    let mut tx = auth.begin().await?;
    // The row that the link would point to, and the mail.
    for size in [0, 1024] {
        let sealed = auth.config().secrets.seal(auth.random(), &" ".repeat(size))?;
        let row = Row::new()
            .with(Queued::KIND.key, "nothing")
            .with(Queued::PAYLOAD.key, Json::String(sealed))
            .with(Queued::ATTEMPTS.key, 1)
            .with(Queued::NEXT.key, now)
            .with(Queued::CREATED_AT.key, now);
        tx.db().insert(Queued::KEY, auth.with_new_id(row)).await?;
    }
    Ok(tx.rollback().await?)
}

/// Without a table: one try.
async fn directly(
    auth: Auth,
    kind: &'static str,
    payload: Payload,
    awaited: bool,
    said: bool,
) -> Result<(), Error> {
    let job = async move {
        let mailer = auth.mailer();
        auth.metrics().mail(Mail::Queued);
        let id = auth.random().id();
        match mailer.in_time(&auth, kind, &id, &payload).await {
            Ok(()) => {
                auth.metrics().mail(Mail::Sent);
                Ok(())
            }
            Err(failure) => {
                auth.metrics().mail(Mail::Failed);
                tracing::error!(kind, error = failure.text, "a mail could not be delivered");
                Err(failure.into_error())
            }
        }
    };
    if awaited {
        let outcome = job.await;
        return if said { outcome } else { Ok(()) };
    }
    tokio::spawn(job);
    Ok(())
}

/// A row that is ours until a certain time.
struct Claim {
    id: String,
    kind: String,
    attempts: i64,
    until: Timestamp,
}

impl Claim {
    /// The row, while nobody else has claimed it.
    fn ours(&self) -> Filter {
        Queued::ID.is(self.id.as_str()).and(Queued::ATTEMPTS.is(self.attempts))
    }
}

/// Right after the commit, when a place is free.
async fn first_try(auth: &Auth, claim: &Claim, payload: &Payload) -> Result<(), Error> {
    let mailer = auth.mailer();
    // Nobody closes the semaphore.
    let _place = mailer.places.acquire().await.map_err(Error::broken)?;
    if mailer.signals.stopping.load(Ordering::SeqCst) {
        return Ok(());
    }
    let now = auth.clock().now();
    if now + auth.config().mail.timeout > claim.until {
        // The wait for a place has used up the claim, and somebody else may have it by now.
        let again = Row::new().with(Queued::NEXT.key, now + mailer.lease(auth));
        if auth.db().update(Queued::KEY, &claim.ours(), again).await? == 0 {
            return Ok(());
        }
    }
    attempt(auth, claim, payload).await
}

/// Tries, and writes down what came of it.
async fn attempt(auth: &Auth, claim: &Claim, payload: &Payload) -> Result<(), Error> {
    let mailer = auth.mailer();
    let outcome = mailer.in_time(auth, &claim.kind, &claim.id, payload).await;
    let Err(failure) = outcome else {
        auth.metrics().mail(Mail::Sent);
        if let Err(error) = auth.db().delete(Queued::KEY, &Queued::ID.is(claim.id.as_str())).await {
            tracing::error!(kind = claim.kind, %error, "a mail was delivered but could not be taken from the outbox; it may arrive twice");
        }
        return Ok(());
    };
    let now = auth.clock().now();
    let again = now + mailer.wait(auth, claim.attempts);
    let useless = payload.until.is_some_and(|until| until <= again.millis());
    let over = failure.permanent || useless || claim.attempts >= i64::from(auth.config().mail.attempts);
    let (kind, error) = (claim.kind.as_str(), failure.text.as_str());
    if over {
        auth.metrics().mail(Mail::Failed);
        tracing::error!(
            kind,
            id = claim.id,
            attempts = claim.attempts,
            error,
            "a mail is given up; see `portcullis mail list`"
        );
    } else {
        auth.metrics().mail(Mail::Retried);
        tracing::warn!(
            kind,
            attempts = claim.attempts,
            error,
            "a mail could not be delivered; it is tried again"
        );
    }
    let (next, failed) = if over { (None, Some(now)) } else { (Some(again), None) };
    note(auth, claim, next, failed, error).await;
    Err(failure.into_error())
}

async fn note(auth: &Auth, claim: &Claim, next: Option<Timestamp>, failed: Option<Timestamp>, error: &str) {
    // Only while it is ours still.
    let changes = Row::new()
        .with(Queued::NEXT.key, next)
        .with(Queued::FAILED_AT.key, failed)
        .with(Queued::LAST_ERROR.key, error);
    if let Err(error) = auth.db().update(Queued::KEY, &claim.ours(), changes).await {
        // It comes due again by itself when our claim ends.
        tracing::error!(%error, "the outbox cannot be written");
    }
}

/// Takes the rows that are due, each with a place to deliver it from. How many there were.
pub(super) async fn sweep(auth: &Auth) -> Result<usize, Error> {
    let mailer = auth.mailer();
    let now = auth.clock().now();
    let last = mailer.swept.load(Ordering::Relaxed);
    if now.millis().saturating_sub(last) >= SWEEP {
        mailer.swept.store(now.millis(), Ordering::Relaxed);
        let old = Queued::FAILED_AT.lt(now - auth.config().mail.keep_failed);
        auth.db().delete(Queued::KEY, &old).await?;
    }
    let due = Query::from(Queued::NEXT.le(now)).oldest_first(Queued::NEXT.key).limit(PAGE);
    let rows = auth.db().list(Queued::KEY, &due).await?;
    let found = rows.len();
    for row in rows {
        let place = Arc::clone(&mailer.places).acquire_owned().await.map_err(Error::broken)?;
        if mailer.signals.stopping.load(Ordering::SeqCst) {
            return Ok(0);
        }
        claim(auth, Queued::from_row(row)?, place).await?;
    }
    Ok(found)
}

/// Of any number of processes that want a row one gets it.
async fn claim(auth: &Auth, seen: Queued, place: OwnedSemaphorePermit) -> Result<(), Error> {
    let mailer = auth.mailer();
    let now = auth.clock().now();
    let until = now + mailer.lease(auth);
    let as_seen =
        Queued::ID.is(seen.id.as_str()).and(Queued::ATTEMPTS.is(seen.attempts)).and(Queued::NEXT.le(now));
    let changes = Row::new().with(Queued::NEXT.key, until);
    let Some(row) = auth.db().increment(Queued::KEY, &as_seen, Queued::ATTEMPTS.key, 1, changes).await?
    else {
        return Ok(());
    };
    let row = Queued::from_row(row)?;
    let claim = Claim { id: row.id, kind: row.kind, attempts: row.attempts, until };
    let sealed = row.payload.as_str().unwrap_or_default();
    let opened = auth.config().secrets.open(sealed).map_err(|e| e.to_string());
    let opened =
        opened.and_then(|plain| serde_json::from_str::<Payload>(&plain).map_err(|_| "no mail".to_owned()));
    let problem = match &opened {
        Err(error) => {
            Some(format!("cannot be read ({error}); was the secret replaced without keeping the old one?"))
        }
        Ok(payload) if payload.until.is_some_and(|until| until <= now.millis()) => {
            Some("what it holds has expired".to_owned())
        }
        // Each try ended with the process.
        Ok(_) if claim.attempts > i64::from(auth.config().mail.attempts) => {
            Some("no try came to an end".to_owned())
        }
        Ok(_) => None,
    };
    if let Some(problem) = problem {
        auth.metrics().mail(Mail::Failed);
        tracing::error!(
            kind = claim.kind,
            id = claim.id,
            error = problem,
            "a mail is given up; see `portcullis mail list`"
        );
        note(auth, &claim, None, Some(now), &problem).await;
        return Ok(());
    }
    let Ok(payload) = opened else { return Ok(()) };
    let auth = auth.clone();
    tokio::spawn(async move {
        // Logged and written down there.
        let _ = attempt(&auth, &claim, &payload).await;
        drop(place);
    });
    Ok(())
}

/// See [`Auth::start_mail`].
pub(super) fn start(auth: &Auth) {
    let mailer = auth.mailer();
    let signals = Arc::clone(&mailer.signals);
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !mailer.outbox || mailer.awaits || signals.started.swap(true, Ordering::SeqCst) {
        return;
    }
    runtime.spawn(work(auth.downgrade(), signals));
}

async fn work(auth: WeakAuth, signals: Arc<Signals>) {
    while !signals.stopping.load(Ordering::SeqCst) {
        {
            let Some(auth) = auth.upgrade() else { return };
            loop {
                match sweep(&auth).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%error, "the outbox cannot be read");
                        break;
                    }
                }
            }
        }
        if signals.stopping.load(Ordering::SeqCst) {
            return;
        }
        tokio::select! {
            () = signals.look.notified() => {}
            () = signals.stop.notified() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Auth {
    /// What is in the outbox, the oldest first; at most so many.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn list_mails(&self, most: u64) -> Result<Vec<Listed>, Error> {
        let all = Query::from(Filter::All).oldest_first(Queued::CREATED_AT.key).limit(most);
        let rows = self.db().list(Queued::KEY, &all).await?;
        let listed = rows.into_iter().map(Queued::from_row).map(|row| {
            row.map(|row| Listed {
                id: row.id,
                kind: row.kind,
                attempts: row.attempts,
                created_at: row.created_at,
                next_attempt_at: row.next_attempt_at,
                last_error: row.last_error,
            })
        });
        Ok(listed.collect::<Result<_, StoreError>>()?)
    }

    /// Gives mails that were given up another go: one, or all. How many those are.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn retry_mails(&self, id: Option<&str>) -> Result<u64, Error> {
        let given_up = Queued::FAILED_AT.is_set();
        let these = id.map_or_else(|| given_up.clone(), |id| given_up.clone().and(Queued::ID.is(id)));
        let changes = Row::new()
            .with(Queued::ATTEMPTS.key, 0)
            .with(Queued::NEXT.key, self.clock().now())
            .with(Queued::FAILED_AT.key, crate::store::Value::Null);
        Ok(self.db().update(Queued::KEY, &these, changes).await?)
    }
}
