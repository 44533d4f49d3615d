//! Password hashes, computed on a few threads of their own.
//!
//! A hash takes tens of milliseconds of a core and tens of megabytes, so it must neither run on an
//! async thread nor on as many threads as there are requests: jobs wait in a bounded queue, and when
//! that is full the caller is told at once to come back ([`PasswordError::Busy`]) instead of
//! everybody waiting for minutes.
//!
//! **Formats.** New hashes are Argon2id in the PHC form unless configured otherwise; Better Auth's
//! `salt:key` scrypt, Argon2 (`id`, `i`, `d`) and bcrypt (`$2a$ $2b$ $2y$`) are always verified. A
//! right password under another kind or weaker parameters than configured is
//! [`Verdict::RightButWeak`]: the caller stores a new hash.
//!
//! **Unicode.** One rule: a password is NFKC-normalised before it is hashed, whatever the kind, as
//! Better Auth does for scrypt. Argon2 and bcrypt hashes from elsewhere may be of the text as it was
//! typed, so where normalisation changes a password they are tried with that too.
//!
//! **Time.** An unknown user ([`Passwords::pretend`]) and an unreadable stored hash cost one hash of
//! the configured kind, so that they answer no faster than a wrong password.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use argon2::{Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::queue::{Giver, Refused, Taker, Takers, queue};
use super::sign::{constant_time_eq, hex_encode};
use super::{CryptoError, Random};
use crate::config::PasswordCallbacks;
use crate::error::{self, Error};
use crate::hooks::Callback;
use crate::outbound::Outbound;

/// Better Auth's scrypt: N = 2^14, r = 16, p = 1, 64 bytes.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 16;
const SCRYPT_P: u32 = 1;
const SCRYPT_LEN: usize = 64;
/// Of threads that stand back (nice(2): the weight is 1.25 to the power of it; `man 7 sched`).
#[cfg(target_os = "linux")]
const NICE: i32 = 15;
/// For how long a spare thread stops when others want the processor for as long as itself.
const REST: Duration = Duration::from_secs(1);
/// bcrypt reads no further (and a shorter password ends with a zero byte).
const BCRYPT_MAX: usize = 72;
/// A stored hash beyond these would stop a thread for many seconds; it counts as unreadable.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_TIME: u32 = 64;
const MAX_PARALLELISM: u32 = 64;
const MAX_BCRYPT_COST: u32 = 16;
/// OWASP's Password Storage Cheat Sheet: memory in KiB and passes that count as equally strong.
const ARGON2_FLOOR: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// How new passwords are hashed. Make one with [`HashKind::argon2id`], [`HashKind::bcrypt`] or take
/// [`HashKind::Scrypt`]; the default is Argon2id with 19 MiB and two passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashKind {
    /// Argon2id (RFC 9106), version 19.
    Argon2id {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        time: u32,
        /// Lanes.
        parallelism: u32,
    },
    /// Better Auth's scrypt; the kind for a database that a Node server also writes.
    Scrypt,
    /// bcrypt `$2b$`.
    Bcrypt {
        /// The logarithm of the number of rounds.
        cost: u32,
    },
}

impl Default for HashKind {
    fn default() -> Self {
        Self::Argon2id { memory_kib: 19_456, time: 2, parallelism: 1 }
    }
}

impl HashKind {
    /// Argon2id, at least as strong as one row of OWASP's table.
    ///
    /// # Errors
    /// [`CryptoError::TooWeak`] below that; [`CryptoError::TooStrong`] above 1 GiB, 64 passes or 64
    /// lanes.
    pub fn argon2id(memory_kib: u32, time: u32, parallelism: u32) -> Result<Self, CryptoError> {
        if memory_kib > MAX_MEMORY_KIB || time > MAX_TIME || parallelism > MAX_PARALLELISM {
            return Err(CryptoError::TooStrong);
        }
        if parallelism < 1 || !ARGON2_FLOOR.iter().any(|(m, t)| memory_kib >= *m && time >= *t) {
            return Err(CryptoError::TooWeak);
        }
        Ok(Self::Argon2id { memory_kib, time, parallelism })
    }

    /// bcrypt with a cost of 10 to 16.
    ///
    /// # Errors
    /// [`CryptoError::TooWeak`] or [`CryptoError::TooStrong`].
    pub const fn bcrypt(cost: u32) -> Result<Self, CryptoError> {
        if cost < 10 {
            Err(CryptoError::TooWeak)
        } else if cost > MAX_BCRYPT_COST {
            Err(CryptoError::TooStrong)
        } else {
            Ok(Self::Bcrypt { cost })
        }
    }
}

/// How much may be computed and wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Threads that hash; at least one.
    pub threads: usize,
    /// So many of them go on beside whatever else the process does; the others take what those are not free
    /// for, and processor time that nobody else wants (on Linux, where threads have priorities of their own).
    pub prompt: usize,
    /// Jobs that may wait; beyond them [`PasswordError::Busy`].
    pub queue: usize,
}

/// What a stored hash says about a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another password, or a stored hash that cannot be read.
    Wrong,
    /// The password.
    Right,
    /// The password, and its hash should be replaced by one of the configured kind.
    RightButWeak,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordError {
    /// The queue is full: a 503 with `Retry-After: 1`.
    Busy,
    /// bcrypt is configured and the password has more than 72 bytes.
    TooLong,
    /// The hashing threads could not be started, or a hash failed.
    Failed,
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the password queue is full",
            Self::TooLong => "the password is too long for bcrypt",
            Self::Failed => "the password could not be hashed",
        })
    }
}

impl std::error::Error for PasswordError {}

impl From<PasswordError> for Error {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::from(error::SERVICE_UNAVAILABLE)
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")),
            PasswordError::TooLong => Self::from(error::PASSWORD_TOO_LONG),
            PasswordError::Failed => Self::broken(error),
        }
    }
}

/// The hashing threads; cheap to clone. They end when the last clone is dropped.
#[derive(Clone)]
pub struct Passwords {
    kind: HashKind,
    random: Random,
    queue: Arc<Giver<Job>>,
    load: Arc<Load>,
    /// `emailAndPassword.password`: hashes of the operator's own, and the client that asks for them.
    own: Option<Arc<(PasswordCallbacks, Outbound)>>,
}

/// The longest hash that a function of the operator's may answer, in bytes.
const MAX_OWN_HASH: usize = 1024;

#[derive(Default)]
struct Load {
    queued: AtomicUsize,
    running: AtomicUsize,
    computed: AtomicU64,
    refused: AtomicU64,
}

enum Task {
    Hash { password: Zeroizing<String>, salt: [u8; 16] },
    Verify { password: Zeroizing<String>, stored: String },
    Pretend { password: Zeroizing<String> },
}

enum Outcome {
    Hashed(String),
    Verified(Verdict),
}

struct Job {
    task: Task,
    answer: oneshot::Sender<Result<Outcome, PasswordError>>,
}

impl Passwords {
    /// Starts the threads. Should the system refuse them all, every call gives
    /// [`PasswordError::Failed`]; should it refuse some, the others do the work.
    pub fn new(kind: HashKind, options: PoolOptions, random: Random) -> Self {
        let (queue, jobs) = queue(options.queue);
        let load = Arc::new(Load::default());
        for number in 0..options.threads.max(1) {
            let (takers, load) = (jobs.clone(), Arc::clone(&load));
            let taker = if number < options.prompt { Taker::Prompt } else { Taker::Spare };
            let started = thread::Builder::new().name(format!("password-{number}")).spawn(move || {
                if taker == Taker::Spare {
                    stand_back();
                }
                work(kind, taker, &takers, &load);
            });
            match started {
                Ok(_) => jobs.joined(),
                Err(error) => tracing::error!(%error, "a password hashing thread could not be started"),
            }
        }
        Self { kind, random, queue: Arc::new(queue), load, own: None }
    }

    /// The same with functions of the operator's own in place of hashing or comparing or both.
    #[must_use]
    pub fn calling(mut self, own: PasswordCallbacks, outbound: Outbound) -> Self {
        if own.hash.is_some() || own.verify.is_some() {
            self.own = Some(Arc::new((own, outbound)));
        }
        self
    }

    /// Asks a function of the operator's. What it says when it fails is logged and not answered: it has
    /// been given a password.
    async fn ask(
        callback: &Callback,
        outbound: &Outbound,
        name: &'static str,
        args: Vec<Json>,
    ) -> Result<Json, PasswordError> {
        callback.call(outbound, name, args).await.map_err(|error| match error {
            Error::Refused(refusal) if refusal.code.status == StatusCode::SERVICE_UNAVAILABLE => {
                PasswordError::Busy
            }
            error => {
                tracing::error!(callback = name, %error, "callback failed");
                PasswordError::Failed
            }
        })
    }

    /// Hashes a new password with the configured kind and a fresh salt.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if let Some((PasswordCallbacks { hash: Some(callback), .. }, outbound)) = self.own.as_deref() {
            let name = "emailAndPassword.password.hash";
            return match Self::ask(callback, outbound, name, vec![Json::from(password)]).await? {
                Json::String(hash) if !hash.is_empty() && hash.len() <= MAX_OWN_HASH => Ok(hash),
                _ => {
                    tracing::error!("{name} did not answer a text of 1 to {MAX_OWN_HASH} bytes");
                    Err(PasswordError::Failed)
                }
            };
        }
        let password = normalised(password);
        if matches!(self.kind, HashKind::Bcrypt { .. }) && password.len() > BCRYPT_MAX {
            return Err(PasswordError::TooLong);
        }
        match self.run(Task::Hash { password, salt: self.random.bytes() }).await? {
            Outcome::Hashed(hash) => Ok(hash),
            Outcome::Verified(_) => Err(PasswordError::Failed),
        }
    }

    /// Compares a password with a stored hash of any known format.
    ///
    /// # Errors
    /// See [`PasswordError`]; a hash that cannot be read is no error but [`Verdict::Wrong`].
    pub async fn verify(&self, stored: &str, password: &str) -> Result<Verdict, PasswordError> {
        let own = self.own.as_deref();
        if let Some((PasswordCallbacks { verify: Some(callback), .. }, outbound)) = own {
            let args = vec![json!({ "hash": stored, "password": password })];
            return match Self::ask(callback, outbound, "emailAndPassword.password.verify", args).await? {
                Json::Bool(true) => Ok(Verdict::Right),
                // Nothing but a plain yes lets anybody in.
                _ => Ok(Verdict::Wrong),
            };
        }
        let password = Zeroizing::new(password.to_owned());
        match self.run(Task::Verify { password, stored: stored.to_owned() }).await? {
            // A hash of ours in place of which the operator's would come might not be read back.
            Outcome::Verified(Verdict::RightButWeak) if own.is_some() => Ok(Verdict::Right),
            Outcome::Verified(verdict) => Ok(verdict),
            Outcome::Hashed(_) => Err(PasswordError::Failed),
        }
    }

    /// Takes as long as [`Passwords::verify`] takes for a hash of the configured kind: for users that
    /// do not exist.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn pretend(&self, password: &str) -> Result<(), PasswordError> {
        if self.own.is_some() {
            return self.hash(password).await.map(drop);
        }
        let password = Zeroizing::new(password.to_owned());
        self.run(Task::Pretend { password }).await.map(|_| ())
    }

    /// How many jobs wait (for metrics).
    pub fn queued(&self) -> usize {
        self.load.queued.load(Ordering::Relaxed)
    }

    /// How many jobs are being computed (for metrics).
    pub fn running(&self) -> usize {
        self.load.running.load(Ordering::Relaxed)
    }

    /// How many jobs have been computed since the start (for metrics); cancelled ones do not count.
    pub fn computed(&self) -> u64 {
        self.load.computed.load(Ordering::Relaxed)
    }

    /// How many jobs found the queue full since the start (for metrics).
    pub fn refused(&self) -> u64 {
        self.load.refused.load(Ordering::Relaxed)
    }

    async fn run(&self, task: Task) -> Result<Outcome, PasswordError> {
        let (answer, outcome) = oneshot::channel();
        // Counted before it is sent: a thread may take it, and count it off, at once.
        self.load.queued.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.queue.give(Job { task, answer }) {
            self.load.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(match refused {
                Refused::Full => {
                    self.load.refused.fetch_add(1, Ordering::Relaxed);
                    PasswordError::Busy
                }
                Refused::Nobody => PasswordError::Failed,
            });
        }
        outcome.await.map_err(|_| PasswordError::Failed)?
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The life of one thread: it ends when nobody can give it anything any more.
fn work(kind: HashKind, taker: Taker, jobs: &Takers<Job>, load: &Load) {
    let mut hasher = Hasher { kind, blocks: Vec::new() };
    while let Some(job) = jobs.take(taker) {
        load.queued.fetch_sub(1, Ordering::Relaxed);
        // Nobody waits any more: the request was cancelled while the job was in the queue.
        if job.answer.is_closed() {
            continue;
        }
        load.running.fetch_add(1, Ordering::Relaxed);
        let began = (taker == Taker::Spare).then(Effort::begin).flatten();
        // A panic of a hash crate would otherwise take the thread with it, and the next one the rest.
        let outcome = catch_unwind(AssertUnwindSafe(|| hasher.run(&job.task))).unwrap_or_else(|_| {
            tracing::error!("a password hash panicked");
            Err(PasswordError::Failed)
        });
        load.running.fetch_sub(1, Ordering::Relaxed);
        load.computed.fetch_add(1, Ordering::Relaxed);
        // The receiver may have gone meanwhile; then nobody wants the answer.
        drop(job.answer.send(outcome));
        if began.is_some_and(|began| began.was_hindered()) {
            jobs.rest(REST);
        }
    }
}

/// How much of the time that goes by a thread has the processor for.
struct Effort {
    began: Instant,
    computed: Duration,
}

impl Effort {
    /// `None` where the system does not say.
    fn begin() -> Option<Self> {
        Some(Self { began: Instant::now(), computed: computed()? })
    }

    /// Did others want the processor for as long, too? Those who are served beside the hashes themselves take a
    /// third of it now and then, and a rest for them would cost many hashes.
    fn was_hindered(&self) -> bool {
        let computed = computed().map(|now| now.saturating_sub(self.computed));
        computed.is_some_and(|computed| computed < self.began.elapsed().mul_f64(0.5))
    }
}

/// Processor time of this thread.
#[cfg(target_os = "linux")]
fn computed() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(target_os = "linux"))]
const fn computed() -> Option<Duration> {
    None
}

/// Lets other threads go first: this one has the processor when they rest. A low priority alone is not
/// enough: hashing goes through much memory, which slows what runs beside it, so a spare thread that had the
/// processor for less than half of the time stops for a while ([`REST`]).
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "a password hashing thread keeps its priority; requests may be slow while many sign in");
    }
}

/// NFKC: the same password from another keyboard is the same password.
fn normalised(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

/// What a thread keeps between jobs.
struct Hasher {
    kind: HashKind,
    /// Argon2's memory; 19 MiB that would otherwise be asked of the system for each hash.
    blocks: Vec<Block>,
}

impl Hasher {
    fn run(&mut self, task: &Task) -> Result<Outcome, PasswordError> {
        match task {
            Task::Hash { password, salt } => self.hash(password, *salt).map(Outcome::Hashed),
            Task::Verify { password, stored } => self.verify(stored, password).map(Outcome::Verified),
            Task::Pretend { password } => {
                self.pretend(password)?;
                Ok(Outcome::Verified(Verdict::Wrong))
            }
        }
    }

    fn hash(&mut self, password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
        match self.kind {
            HashKind::Argon2id { memory_kib, time, parallelism } => {
                let stored = Argon2Hash {
                    algorithm: argon2::Algorithm::Argon2id,
                    version: Version::V0x13,
                    memory_kib,
                    time,
                    parallelism,
                    salt: salt.to_vec(),
                    key: vec![0; 32],
                };
                let key = self.argon2(&stored, password)?;
                Ok(format!(
                    "$argon2id$v=19$m={memory_kib},t={time},p={parallelism}${}${}",
                    STANDARD_NO_PAD.encode(salt),
                    STANDARD_NO_PAD.encode(&*key)
                ))
            }
            HashKind::Scrypt => {
                let salt = hex_encode(&salt);
                let key = scrypt_key(password, &salt)?;
                Ok(format!("{salt}:{}", hex_encode(&key)))
            }
            HashKind::Bcrypt { cost } => bcrypt::hash_with_salt(password, cost, salt)
                .map(|parts| parts.to_string())
                .map_err(|_| PasswordError::Failed),
        }
    }

    /// One hash whose result nobody looks at.
    fn pretend(&mut self, password: &str) -> Result<(), PasswordError> {
        let password = normalised(password);
        std::hint::black_box(self.hash(&password, [0; 16])?);
        Ok(())
    }

    fn verify(&mut self, stored: &str, password: &str) -> Result<Verdict, PasswordError> {
        let Some(parsed) = Stored::parse(stored) else {
            tracing::warn!("a stored password hash has no known format; the password counts as wrong");
            self.pretend(password)?;
            return Ok(Verdict::Wrong);
        };
        let normal = normalised(password);
        if self.matches(&parsed, &normal)? {
            return Ok(if self.should_replace(&parsed, &normal) {
                Verdict::RightButWeak
            } else {
                Verdict::Right
            });
        }
        // Better Auth normalises for scrypt; others, for all one knows, do not.
        let foreign = !matches!(parsed, Stored::Scrypt { .. });
        if foreign && *normal != password && self.matches(&parsed, password)? {
            return Ok(if self.can_hash(&normal) { Verdict::RightButWeak } else { Verdict::Right });
        }
        Ok(Verdict::Wrong)
    }

    fn matches(&mut self, stored: &Stored<'_>, password: &str) -> Result<bool, PasswordError> {
        match stored {
            Stored::Argon2(stored) => {
                let key = self.argon2(stored, password)?;
                Ok(constant_time_eq(&key, &stored.key))
            }
            Stored::Scrypt { salt, key } => {
                let computed = Zeroizing::new(hex_encode(&scrypt_key(password, salt)?));
                Ok(constant_time_eq(computed.as_bytes(), key.as_bytes()))
            }
            // Truncates at 72 bytes, as whoever made the hash did.
            Stored::Bcrypt { text, .. } => bcrypt::verify(password, text).map_err(|_| PasswordError::Failed),
        }
    }

    fn can_hash(&self, normal: &str) -> bool {
        !matches!(self.kind, HashKind::Bcrypt { .. }) || normal.len() <= BCRYPT_MAX
    }

    fn should_replace(&self, stored: &Stored<'_>, normal: &str) -> bool {
        let as_good = match (stored, self.kind) {
            (Stored::Argon2(stored), HashKind::Argon2id { memory_kib, time, .. }) => {
                stored.algorithm == argon2::Algorithm::Argon2id
                    && stored.version == Version::V0x13
                    && stored.memory_kib >= memory_kib
                    && stored.time >= time
            }
            (Stored::Scrypt { .. }, HashKind::Scrypt) => true,
            (Stored::Bcrypt { cost: stored, .. }, HashKind::Bcrypt { cost }) => *stored >= cost,
            _ => false,
        };
        !as_good && self.can_hash(normal)
    }

    fn argon2(&mut self, stored: &Argon2Hash, password: &str) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
        let mut key = Zeroizing::new(vec![0u8; stored.key.len()]);
        let params = Params::new(stored.memory_kib, stored.time, stored.parallelism, Some(stored.key.len()))
            .map_err(|_| PasswordError::Failed)?;
        let count = params.block_count();
        let kept = match self.kind {
            HashKind::Argon2id { memory_kib, .. } => usize::try_from(memory_kib).unwrap_or(count),
            _ => 0,
        };
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::new());
        }
        let done = match self.blocks.get_mut(..count) {
            Some(blocks) => Argon2::new(stored.algorithm, stored.version, params)
                .hash_password_into_with_memory(password.as_bytes(), &stored.salt, &mut key, blocks)
                .map_err(|_| PasswordError::Failed),
            None => Err(PasswordError::Failed),
        };
        // A stored hash may have asked for more than the configured kind: give it back.
        if self.blocks.len() > kept {
            self.blocks.truncate(kept);
            self.blocks.shrink_to_fit();
        }
        done.map(|()| key)
    }
}

/// Better Auth's key: the salt is the *text* of the hex, not the bytes that it means.
fn scrypt_key(password: &str, salt: &str) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
    let params = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).map_err(|_| PasswordError::Failed)?;
    let mut key = Zeroizing::new(vec![0u8; SCRYPT_LEN]);
    scrypt::scrypt(password.as_bytes(), salt.as_bytes(), &params, &mut key)
        .map_err(|_| PasswordError::Failed)?;
    Ok(key)
}

struct Argon2Hash {
    algorithm: argon2::Algorithm,
    version: Version,
    memory_kib: u32,
    time: u32,
    parallelism: u32,
    salt: Vec<u8>,
    key: Vec<u8>,
}

enum Stored<'a> {
    Argon2(Argon2Hash),
    Scrypt { salt: &'a str, key: &'a str },
    Bcrypt { text: &'a str, cost: u32 },
}

impl<'a> Stored<'a> {
    fn parse(stored: &'a str) -> Option<Self> {
        if stored.starts_with("$argon2") {
            return Argon2Hash::parse(stored).map(Self::Argon2);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix)) {
            // The crate's reason says only what the warning says anyway.
            let parts: bcrypt::HashParts = stored.parse().ok()?;
            let cost = parts.get_cost();
            return (4..=MAX_BCRYPT_COST).contains(&cost).then_some(Self::Bcrypt { text: stored, cost });
        }
        let (salt, key) = stored.split_once(':')?;
        let hex = key.len() == 2 * SCRYPT_LEN && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && !salt.is_empty()).then_some(Self::Scrypt { salt, key })
    }
}

impl Argon2Hash {
    /// Reads the PHC string format: `$argon2id$v=19$m=…,t=…,p=…$salt$key`. Without `v` it is version
    /// 16, as in the reference implementation; `keyid` and `data` need a key that is not here.
    fn parse(stored: &str) -> Option<Self> {
        let mut fields = stored.strip_prefix('$')?.split('$');
        let algorithm = match fields.next()? {
            "argon2id" => argon2::Algorithm::Argon2id,
            "argon2i" => argon2::Algorithm::Argon2i,
            "argon2d" => argon2::Algorithm::Argon2d,
            _ => return None,
        };
        let mut field = fields.next()?;
        let version = match field.strip_prefix("v=") {
            None => Version::V0x10,
            Some(number) => {
                field = fields.next()?;
                match number {
                    "16" => Version::V0x10,
                    "19" => Version::V0x13,
                    _ => return None,
                }
            }
        };
        let (mut memory, mut time, mut parallelism) = (None, None, None);
        for pair in field.split(',') {
            let (name, value) = pair.split_once('=')?;
            let slot = match name {
                "m" => &mut memory,
                "t" => &mut time,
                "p" => &mut parallelism,
                _ => return None,
            };
            if slot.is_some() || !value.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            // A number beyond u32 is one of the unreadable ones.
            *slot = Some(value.parse::<u32>().ok()?);
        }
        let parsed = Self {
            algorithm,
            version,
            memory_kib: memory?,
            time: time?,
            parallelism: parallelism?,
            salt: STANDARD_NO_PAD.decode(fields.next()?).ok()?,
            key: STANDARD_NO_PAD.decode(fields.next()?).ok()?,
        };
        let bounded = parsed.memory_kib <= MAX_MEMORY_KIB
            && (1..=MAX_TIME).contains(&parsed.time)
            && (1..=MAX_PARALLELISM).contains(&parsed.parallelism)
            && parsed.memory_kib >= parsed.parallelism.saturating_mul(8)
            && (8..=64).contains(&parsed.salt.len())
            && (12..=128).contains(&parsed.key.len());
        (fields.next().is_none() && bounded).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::task::JoinSet;

    use super::*;

    /// Not reachable through the checked constructors: fast, for tests of everything but strength.
    const FAST: HashKind = HashKind::Argon2id { memory_kib: 64, time: 1, parallelism: 1 };

    fn pool(kind: HashKind, threads: usize, queue: usize) -> Passwords {
        Passwords::new(kind, PoolOptions { threads, prompt: threads, queue }, Random::seeded(1))
    }

    /// Hash and password, made by other implementations.
    const FOREIGN: [(&str, &str); 9] = [
        // libargon2 (argon2-cffi)
        (
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AdweBLwcflnNX2HVW8i1Mtu7frrn4Ki7h/rYSGuU7Is",
            "correct horse",
        ),
        (
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$OzOabKwOZFrWPTFAkoJaicZvforQFZqsOvHz18VRDm4",
            "correct horse",
        ),
        (
            "$argon2d$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$UCvUOKJeQoxJom/jSA0LxJ9v5R8vF5pqz40XNIaCdcQ",
            "correct horse",
        ),
        // of the text as typed: with a ligature that NFKC takes apart
        (
            "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$x1B/IFvKRxMZyU/Jj8V7RR+Bywlgk4w/n2rEtH8gNhg",
            "ﬁancé",
        ),
        (
            "$argon2i$v=16$m=1024,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$5rKcm/iGhEItlAIdLee38eLkGDJWj+kD",
            "correct horse",
        ),
        // libxcrypt
        ("$2b$10$abcdefghijklmnopqrstuunYspUDVwxKwnshT7FzjzjwI57RV2KKa", "pässwörd"),
        ("$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", "correct horse"),
        ("$2y$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", "correct horse"),
        (
            "$2a$10$abcdefghijklmnopqrstuuhBb/0dYbuuS1CS8hp30IXhlFBW2VAWG",
            concat!(
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
            ),
        ),
    ];

    #[tokio::test]
    async fn a_password_hash_is_what_better_auth_writes() {
        let key = scrypt_key("password1", "8e63ed7410ad2c2184fcaaf0f8c1fac1").unwrap();
        let vector = concat!(
            "2cc174c233319f09b523e0e4ee33f409aa0f7f3828f9409863f3e590aed82d82",
            "8f3090c6137167eeb251e40e312ad7bba81b53368e9d7763533cd2817be91e70"
        );
        assert_eq!(hex_encode(&key), vector);
        let hash = pool(HashKind::Scrypt, 1, 1).hash("password1").await.unwrap();
        let (salt, key) = hash.split_once(':').unwrap();
        assert_eq!((salt.len(), key.len()), (32, 128));
        assert!(hash.bytes().all(|b| matches!(b, b':' | b'0'..=b'9' | b'a'..=b'f')));
    }

    #[tokio::test]
    async fn hashes_of_node_are_verified_however_the_letters_were_typed() {
        let passwords = pool(HashKind::Scrypt, 2, 8);
        let stored = "0b990d62e509d898580d9318c256be27:315754de5c3eaf1beccb10d1e845d752ab399f36965c015ee04d9bf67a11432bf7d03aae247d0be81b658718221be4eced51ade7b69edec25ba1f05d9b1dc335";
        assert_eq!(passwords.verify(stored, "correct horse").await, Ok(Verdict::Right));
        assert_eq!(passwords.verify(stored, "correct horsE").await, Ok(Verdict::Wrong));
        let stored = "d032391c54454b01a5e580cb089f0010:c2dd12438f891799441d6a9b8e840a647a6f0b7f591ec5abfd0f7fbe438c5da941bd0d62d248860da7c475b5fee1e68284921abbecff9e1a96cc05be5cf144b3";
        for same in ["ﬁancé Å ①", "fiancé Å 1", "fiance\u{301} A\u{30a} 1", "fiancé \u{212b} 1"] {
            assert_eq!(passwords.verify(stored, same).await, Ok(Verdict::Right), "{same}");
        }
        assert_eq!(passwords.verify(stored, "fiance A 1").await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn hashes_from_elsewhere_are_verified_and_marked_for_replacement() {
        let passwords = pool(HashKind::argon2id(19_456, 2, 2).unwrap(), 2, 8);
        for (index, (stored, password)) in FOREIGN.into_iter().enumerate() {
            let expected = if index == 0 { Verdict::Right } else { Verdict::RightButWeak };
            assert_eq!(passwords.verify(stored, password).await, Ok(expected), "{stored}");
            let other = format!("x{password}");
            let verdict = passwords.verify(stored, &other).await;
            // A hundred x and a hundred and one are one password to bcrypt.
            let wrong = if password.len() > BCRYPT_MAX { Verdict::RightButWeak } else { Verdict::Wrong };
            assert_eq!(verdict, Ok(wrong), "{stored}");
        }
    }

    #[tokio::test]
    async fn a_hash_as_strong_as_configured_stays_and_a_weaker_or_other_one_goes() {
        let by = |kind| pool(kind, 1, 4);
        let argon = |m, t| HashKind::argon2id(m, t, 1).unwrap();
        let weak = by(argon(19_456, 2)).hash("p").await.unwrap();
        let strong = by(argon(24_000, 3)).hash("p").await.unwrap();
        let scrypt = by(HashKind::Scrypt).hash("p").await.unwrap();
        let bcrypt = by(HashKind::bcrypt(10).unwrap()).hash("p").await.unwrap();
        assert!(weak.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(bcrypt.starts_with("$2b$10$"));
        let verdict = async |kind, stored: &str| by(kind).verify(stored, "p").await.unwrap();
        assert_eq!(verdict(argon(19_456, 2), &weak).await, Verdict::Right);
        assert_eq!(verdict(argon(19_456, 2), &strong).await, Verdict::Right);
        assert_eq!(verdict(argon(24_000, 3), &weak).await, Verdict::RightButWeak);
        assert_eq!(verdict(argon(19_456, 2), &scrypt).await, Verdict::RightButWeak);
        assert_eq!(verdict(HashKind::Scrypt, &weak).await, Verdict::RightButWeak);
        assert_eq!(verdict(HashKind::Scrypt, &scrypt).await, Verdict::Right);
        assert_eq!(verdict(HashKind::bcrypt(10).unwrap(), &bcrypt).await, Verdict::Right);
        assert_eq!(verdict(HashKind::bcrypt(11).unwrap(), &bcrypt).await, Verdict::RightButWeak);
    }

    #[tokio::test]
    async fn one_password_has_many_hashes() {
        let passwords = pool(FAST, 1, 4);
        assert_ne!(passwords.hash("p").await.unwrap(), passwords.hash("p").await.unwrap());
    }

    #[tokio::test]
    async fn argon2_hashes_are_of_the_normalised_password() {
        let passwords = pool(FAST, 1, 4);
        let stored = passwords.hash("ﬁancé").await.unwrap();
        assert_eq!(passwords.verify(&stored, "fiance\u{301}").await, Ok(Verdict::Right));
    }

    #[tokio::test]
    async fn bcrypt_refuses_to_hash_what_it_would_cut_off() {
        let passwords = pool(HashKind::bcrypt(10).unwrap(), 1, 4);
        let long = "x".repeat(73);
        assert_eq!(passwords.hash(&long).await, Err(PasswordError::TooLong));
        let stored = passwords.hash(&long[..72]).await.unwrap();
        assert_eq!(passwords.verify(&stored, &long[..72]).await, Ok(Verdict::Right));
        assert_eq!(passwords.verify(&stored, &long[..71]).await, Ok(Verdict::Wrong));
        // Right, and not marked for a replacement that could not be made.
        let other = "$2a$10$abcdefghijklmnopqrstuuhBb/0dYbuuS1CS8hp30IXhlFBW2VAWG";
        let stricter = pool(HashKind::bcrypt(11).unwrap(), 1, 4);
        assert_eq!(stricter.verify(other, &"x".repeat(100)).await, Ok(Verdict::Right));
        assert_eq!(stricter.verify(other, &"x".repeat(72)).await, Ok(Verdict::RightButWeak));
    }

    #[tokio::test]
    async fn an_unreadable_hash_is_a_wrong_password() {
        let passwords = pool(FAST, 1, 4);
        let salt_and_key = "c2FsdHNhbHRzYWx0c2FsdA$AdweBLwcflnNX2HVW8i1Mtu7frrn4Ki7h/rYSGuU7Is";
        let mut unreadable = vec![
            String::new(),
            ":".into(),
            "salt:".into(),
            "salt:00".into(),
            format!(":{}", "0".repeat(128)),
            format!("salt:{}", "A".repeat(128)),
            format!("salt:{}:x", "0".repeat(128)),
            "$2b$10$short".into(),
            "$2x$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu".into(),
            "$2b$31$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu".into(),
            "$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3é".into(),
            "x".repeat(1 << 20),
        ];
        for head in [
            "$argon2id$v=19$m=4294967295,t=1,p=1$",
            "$argon2id$v=19$m=99999999999,t=1,p=1$",
            "$argon2id$v=19$m=19456,t=999999,p=1$",
            "$argon2id$v=19$m=7,t=1,p=1$",
            "$argon2id$v=19$m=19456,t=0,p=1$",
            "$argon2id$v=19$m=19456,t=1,p=0$",
            "$argon2id$v=19$m=19456,t=1$",
            "$argon2id$v=19$m=19456,m=19456,t=1,p=1$",
            "$argon2id$v=19$m=+19456,t=1,p=1$",
            "$argon2id$v=19$m=19456,t=1,p=1,keyid=AA$",
            "$argon2id$v=20$m=19456,t=1,p=1$",
            "$argon2x$v=19$m=19456,t=1,p=1$",
        ] {
            unreadable.push(format!("{head}{salt_and_key}"));
        }
        unreadable.push("$argon2id$v=19$m=19456,t=2,p=1$AA$AA".into());
        unreadable.push(format!("$argon2id$v=19$m=19456,t=2,p=1${salt_and_key}$more"));
        for stored in unreadable {
            assert_eq!(passwords.verify(&stored, "p").await, Ok(Verdict::Wrong), "{stored:.60}");
        }
    }

    /// The fastest of a few tries: what the work itself takes.
    async fn fastest(work: impl AsyncFn()) -> Duration {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            work().await;
            best = best.min(start.elapsed());
        }
        best
    }

    #[tokio::test]
    async fn pretending_and_unreadable_hashes_cost_a_hash() {
        let passwords = pool(HashKind::default(), 1, 4);
        let stored = passwords.hash("p").await.unwrap();
        let verified =
            fastest(async || assert_eq!(passwords.verify(&stored, "x").await, Ok(Verdict::Wrong))).await;
        let pretended = fastest(async || assert_eq!(passwords.pretend("x").await, Ok(()))).await;
        let unreadable =
            fastest(async || assert_eq!(passwords.verify("?", "x").await, Ok(Verdict::Wrong))).await;
        assert!(pretended > verified / 3, "{pretended:?} to {verified:?}");
        assert!(unreadable > verified / 3, "{unreadable:?} to {verified:?}");
    }

    #[tokio::test]
    async fn a_full_queue_says_so_at_once_and_the_pool_goes_on() {
        let passwords = pool(HashKind::default(), 2, 8);
        let mut tasks = JoinSet::new();
        for _ in 0..200 {
            let passwords = passwords.clone();
            tasks.spawn(async move { passwords.hash("p").await });
        }
        let (mut done, mut busy) = (0, 0);
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(_) => done += 1,
                Err(error) => {
                    assert_eq!(error, PasswordError::Busy);
                    busy += 1;
                }
            }
        }
        assert_eq!(done + busy, 200);
        assert!((8..100).contains(&done), "{done} were hashed");
        let stored = passwords.hash("p").await.unwrap();
        assert_eq!(passwords.verify(&stored, "p").await, Ok(Verdict::Right));
        assert_eq!((passwords.queued(), passwords.running()), (0, 0));
        assert_eq!(passwords.computed(), done + 2);
    }

    #[tokio::test]
    async fn waiting_for_a_hash_leaves_the_async_thread_free() {
        let passwords = pool(HashKind::default(), 1, 1);
        let hash = tokio::spawn(async move { passwords.hash("p").await });
        let mut turns = 0u32;
        while !hash.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        assert!(turns > 10, "{turns}");
        assert!(hash.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_request_that_went_away_is_not_hashed() {
        let passwords = pool(HashKind::default(), 1, 8);
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let passwords = passwords.clone();
            tasks.spawn(async move { passwords.hash("p").await });
        }
        tokio::task::yield_now().await;
        assert!(passwords.queued() >= 5);
        tasks.shutdown().await;
        assert!(passwords.pretend("p").await.is_ok());
        // The first may have been under way, perhaps even a second one; the rest were skipped.
        assert!(passwords.computed() <= 3, "{}", passwords.computed());
        assert_eq!(passwords.queued(), 0);
    }

    #[tokio::test]
    async fn the_threads_end_with_the_last_clone() {
        let passwords = pool(FAST, 3, 8);
        let other = passwords.clone();
        let load = Arc::downgrade(&passwords.load);
        drop(passwords);
        assert!(other.pretend("p").await.is_ok());
        drop(other);
        let deadline = Instant::now() + Duration::from_secs(20);
        while load.strong_count() > 0 {
            assert!(Instant::now() < deadline, "a thread did not end");
            thread::yield_now();
        }
    }

    #[test]
    fn memory_that_a_foreign_hash_needed_is_given_back() {
        let mut hasher = Hasher { kind: HashKind::default(), blocks: Vec::new() };
        assert_eq!(hasher.verify(FOREIGN[3].0, FOREIGN[3].1), Ok(Verdict::RightButWeak));
        assert_eq!(hasher.blocks.len(), 19_456);
        assert_eq!(hasher.verify(FOREIGN[0].0, FOREIGN[0].1), Ok(Verdict::Right));
        assert_eq!(hasher.blocks.len(), 19_456);
        let mut hasher = Hasher { kind: HashKind::Scrypt, blocks: Vec::new() };
        assert_eq!(hasher.verify(FOREIGN[0].0, FOREIGN[0].1), Ok(Verdict::RightButWeak));
        assert_eq!(hasher.blocks.capacity(), 0);
    }

    #[test]
    fn parameters_below_the_floor_are_refused() {
        for (m, t) in ARGON2_FLOOR {
            assert!(HashKind::argon2id(m, t, 1).is_ok());
            assert!(HashKind::argon2id(m + 1, t + 1, 4).is_ok());
            assert_eq!(HashKind::argon2id(m - 1, t, 1), Err(CryptoError::TooWeak));
            assert_eq!(HashKind::argon2id(m, t, 0), Err(CryptoError::TooWeak));
        }
        assert_eq!(HashKind::argon2id(7_167, 64, 1), Err(CryptoError::TooWeak));
        assert_eq!(HashKind::argon2id(u32::MAX, 1, 1), Err(CryptoError::TooStrong));
        assert_eq!(HashKind::bcrypt(9), Err(CryptoError::TooWeak));
        assert_eq!(HashKind::bcrypt(17), Err(CryptoError::TooStrong));
        assert_eq!(HashKind::default(), HashKind::argon2id(19_456, 2, 1).unwrap());
    }

    #[test]
    fn a_full_queue_is_a_503_with_retry_after() {
        let Error::Refused(refusal) = Error::from(PasswordError::Busy) else { panic!("not a refusal") };
        assert_eq!(refusal.code, error::SERVICE_UNAVAILABLE);
        assert_eq!(refusal.headers, [(header::RETRY_AFTER, HeaderValue::from_static("1"))]);
        let Error::Refused(refusal) = Error::from(PasswordError::TooLong) else { panic!("not a refusal") };
        assert_eq!(refusal.code, error::PASSWORD_TOO_LONG);
        assert!(matches!(Error::from(PasswordError::Failed), Error::Broken(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_was_hashed_is_verified(password in any::<String>(), other in any::<String>()) {
            let mut hasher = Hasher { kind: FAST, blocks: Vec::new() };
            let stored = hasher.hash(&normalised(&password), [9; 16]).unwrap();
            prop_assert_eq!(hasher.verify(&stored, &password), Ok(Verdict::Right));
            let same = normalised(&password) == normalised(&other);
            prop_assert_eq!(hasher.verify(&stored, &other) == Ok(Verdict::Right), same);
        }

        #[test]
        fn no_stored_text_makes_reading_panic(text in "(\\$argon2id?\\$|\\$2b\\$)?[$=,a-z0-9:é]{0,80}") {
            let _ = Stored::parse(&text);
        }
    }
}
