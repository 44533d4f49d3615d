//! The keys: which one signs, how one is made, and what of them is kept in memory.
//!
//! Invariants:
//! - Which key signs by default is remembered for as long as nobody writes the table
//!   (`Store::still`), so that a key made or removed here counts at once, and one of another process as soon
//!   as it is seen. Where the store cannot say, it is asked every time (one query). Parsed key material is
//!   remembered under the row's id.
//! - Outside transactions one request at a time makes a key, and looks again before it does. Inside one
//!   nobody is waited for, because the transaction may hold the pool's only connection: then two keys
//!   may come to be, which both sign and verify.
//! - A private key is in memory as the library's own key; its text is never kept, logged or shown.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::config::BaseUrl;
use portcullis_core::crypto::{Algorithm, CryptoError, KeyPair, sha256};
use portcullis_core::error::Error;
use portcullis_core::http::Request;
use portcullis_core::store::{Db, Moment, Row, Traces};
use secrecy::ExposeSecret;
use serde_json::{Map, Value as Json};
use tokio::sync::Semaphore;

use super::options::{KeyKind, Rules};
use super::store::{self, Jwk};

/// How many keys are remembered; there are a handful, unless somebody rotates by the minute.
const KEPT: usize = 64;
/// How long a public key is believed without asking the store, in seconds: so long a key that was
/// removed still verifies.
const SEEN_SECONDS: i64 = 5;

/// On whose behalf keys are used.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub auth: &'a Auth,
    pub now: Timestamp,
    pub request: Option<&'a Request>,
}

impl<'a> Asker<'a> {
    pub fn of(request: &'a Request) -> Self {
        Self { auth: &request.auth, now: request.now, request: Some(request) }
    }

    /// The application itself, without a request.
    pub fn app(auth: &'a Auth) -> Self {
        Self { auth, now: auth.clock().now(), request: None }
    }

    /// Default issuer and audience; empty when it depends on a request and there is none.
    pub fn origin(&self) -> String {
        match (self.request, &self.auth.config().base_url) {
            (Some(request), _) => request.origin().into_owned(),
            (None, BaseUrl::Fixed(url)) => url.origin().ascii_serialization(),
            (None, _) => String::new(),
        }
    }

    fn for_webhook(&self) -> Json {
        self.request.map_or(Json::Null, Request::for_webhook)
    }
}

/// A key that signs.
#[derive(Debug, Clone)]
pub(super) struct SigningKey {
    pub kid: String,
    pub pair: Arc<KeyPair>,
}

/// A key that verifies.
#[derive(Debug)]
pub(super) struct PublicKey {
    pub alg: Algorithm,
    pub jwk: Map<String, Json>,
    /// Past this it is not believed any more.
    until: Option<Timestamp>,
}

struct Kept {
    /// SHA-256 of algorithm and stored private key: a row that changes is read anew.
    mark: [u8; 32],
    /// `None`: cannot be used, which was said once.
    pair: Option<Arc<KeyPair>>,
}

/// Which key signs, and for how long that is so.
#[derive(Clone)]
struct Sure {
    key: SigningKey,
    until: Option<Timestamp>,
    since: Moment,
    traces: Traces,
}

#[derive(Default)]
struct Memory {
    private: HashMap<String, Kept>,
    public: HashMap<String, (Timestamp, Arc<PublicKey>)>,
    /// The key that signs by default.
    sure: Option<Sure>,
    complained: HashSet<String>,
}

pub(super) struct Keys {
    pub rules: Rules,
    memory: Mutex<Memory>,
    /// One request at a time makes a key.
    making: Semaphore,
    /// One thread at a time searches primes.
    generating: Arc<Semaphore>,
    /// RSA keys whose request went away before they were ready: the next one takes them.
    stock: Arc<Mutex<Vec<(KeyKind, KeyPair)>>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("rules", &self.rules).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keys {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            memory: Mutex::default(),
            making: Semaphore::new(1),
            generating: Arc::new(Semaphore::new(1)),
            stock: Arc::default(),
        }
    }

    /// The key that signs with this algorithm, or by default; made when there is none.
    pub async fn signing(
        &self,
        asker: Asker<'_>,
        db: &mut Db<'_>,
        alg: Option<Algorithm>,
    ) -> Result<SigningKey, Error> {
        // A transaction sees what it has written itself, and may yet be taken back.
        let remembers = alg.is_none() && !db.in_transaction();
        let store = asker.auth.store();
        let sure = if remembers { lock(&self.memory).sure.clone() } else { None };
        if let Some(Sure { key, until, since, traces }) = sure
            && until.is_none_or(|until| until > asker.now)
            && store.still(since, traces).await
        {
            return Ok(key);
        }
        let since = store.moment();
        if let Some((key, until)) = self.find(asker, db, alg).await? {
            // Who keeps keys elsewhere does not tell of them.
            if remembers && self.rules.written.adapter.get_jwks.is_none() {
                let sure = Sure { key: key.clone(), until, since, traces: store.traces_of(Jwk::KEY) };
                lock(&self.memory).sure = Some(sure);
            }
            return Ok(key);
        }
        let kind = match alg {
            None => self.rules.primary,
            Some(alg) => self.rules.kind_of(alg).ok_or_else(|| {
                Error::broken(format!("jwt: no key for {alg}, and it is not among jwks.keyPairConfigs"))
            })?,
        };
        if db.in_transaction() {
            return self.make(asker, db, kind).await;
        }
        let _turn = self.making.acquire().await.map_err(Error::broken)?;
        if let Some((key, _)) = self.find(asker, db, alg).await? {
            return Ok(key);
        }
        self.make(asker, db, kind).await
    }

    /// The newest live key that can be used, and until when it signs (better-auth 1.7.6 `plugins/jwt/sign` resolveSigningKey).
    async fn find(
        &self,
        asker: Asker<'_>,
        db: &mut Db<'_>,
        alg: Option<Algorithm>,
    ) -> Result<Option<(SigningKey, Option<Timestamp>)>, Error> {
        let wanted = alg.unwrap_or(self.rules.primary.alg);
        let of_alg = self.live(asker, db, Some(wanted)).await?;
        if !of_alg.is_empty() || alg.is_some() {
            return Ok(self.first_usable(asker.auth, &of_alg));
        }
        let any = self.live(asker, db, None).await?;
        Ok(self.first_usable(asker.auth, &any))
    }

    async fn live(
        &self,
        asker: Asker<'_>,
        db: &mut Db<'_>,
        alg: Option<Algorithm>,
    ) -> Result<Vec<Jwk>, Error> {
        let of = alg.map(|alg| (alg.name(), alg == self.rules.primary.alg));
        let Some(mut keys) = self.adapted(asker).await? else {
            return store::live(db, asker.now, of).await;
        };
        keys.retain(|key| {
            key.expires_at.is_none_or(|at| at > asker.now)
                && of.is_none_or(|(name, or_none)| {
                    key.alg.as_deref() == Some(name) || or_none && key.alg.is_none()
                })
        });
        keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
        Ok(keys)
    }

    /// The keys that sign or are within their grace; the first one is made when there was never any.
    pub async fn published(&self, asker: Asker<'_>, db: &mut Db<'_>) -> Result<Vec<Jwk>, Error> {
        if let Some(keys) = self.in_grace(asker, db).await? {
            return Ok(keys);
        }
        let _turn = self.making.acquire().await.map_err(Error::broken)?;
        if let Some(keys) = self.in_grace(asker, db).await? {
            return Ok(keys);
        }
        self.make(asker, db, self.rules.primary).await?;
        let made = self.in_grace(asker, db).await?;
        made.ok_or_else(|| Error::broken("jwt: a key that was made is not there"))
    }

    /// `None` when there is no key at all.
    async fn in_grace(&self, asker: Asker<'_>, db: &mut Db<'_>) -> Result<Option<Vec<Jwk>>, Error> {
        let since = asker.now.plus_seconds(self.rules.grace.saturating_neg());
        let Some(mut keys) = self.adapted(asker).await? else {
            return store::since(db, since).await;
        };
        if keys.is_empty() {
            return Ok(None);
        }
        keys.retain(|key| key.expires_at.is_none_or(|at| at > since));
        Ok(Some(keys))
    }

    /// A key as verifiers see it; `None` for a row that is not one, which is said once.
    pub fn public(&self, row: &Jwk) -> Option<PublicKey> {
        let alg = self.alg_of(row);
        let jwk = serde_json::from_str::<Map<String, Json>>(&row.public_key);
        let (Some(alg), Ok(mut jwk)) = (alg, jwk) else {
            self.complain(&row.id, "its public half cannot be read");
            return None;
        };
        // RFC 7518 §6.2.2, §6.3.2, §6.4.1: whatever else went wrong, what is private is not shown.
        jwk.retain(|member, _| !["d", "p", "q", "dp", "dq", "qi", "oth", "k"].contains(&member.as_str()));
        let until = row.expires_at.map(|at| at.plus_seconds(self.rules.grace));
        Some(PublicKey { alg, jwk, until })
    }

    /// The public key of a `kid`, unless it is unknown or past its grace.
    pub async fn verifying(
        &self,
        asker: Asker<'_>,
        db: &mut Db<'_>,
        kid: &str,
    ) -> Result<Option<Arc<PublicKey>>, Error> {
        let believed = |key: &Arc<PublicKey>| key.until.is_none_or(|until| until > asker.now);
        let seen = lock(&self.memory).public.get(kid).cloned();
        if let Some((at, key)) = seen
            && at <= asker.now
            && asker.now < at.plus_seconds(SEEN_SECONDS)
        {
            return Ok(Some(key).filter(believed));
        }
        let row = match self.adapted(asker).await? {
            Some(keys) => keys.into_iter().find(|key| key.id == kid),
            None => store::by_id(db, kid).await?,
        };
        let Some(key) = row.and_then(|row| self.public(&row)).map(Arc::new) else { return Ok(None) };
        // A key of a transaction that may yet be taken back is not remembered.
        if !db.in_transaction() {
            let mut memory = lock(&self.memory);
            if memory.public.len() >= KEPT {
                memory.public.clear();
            }
            memory.public.insert(kid.to_owned(), (asker.now, Arc::clone(&key)));
        }
        Ok(Some(key).filter(believed))
    }

    fn alg_of(&self, row: &Jwk) -> Option<Algorithm> {
        match &row.alg {
            None => Some(self.rules.primary.alg),
            // Written by somebody else: that it is none of ours is all there is to know.
            Some(name) => Algorithm::from_str(name).ok(),
        }
    }

    fn first_usable(&self, auth: &Auth, rows: &[Jwk]) -> Option<(SigningKey, Option<Timestamp>)> {
        rows.iter().find_map(|row| Some((self.usable(auth, row)?, row.expires_at)))
    }

    /// The row's key, opened and parsed once.
    fn usable(&self, auth: &Auth, row: &Jwk) -> Option<SigningKey> {
        let stored = row.private_key.expose_secret();
        let mark = sha256(format!("{}\n{stored}", row.alg.as_deref().unwrap_or_default()));
        let known = {
            let memory = lock(&self.memory);
            memory.private.get(&row.id).filter(|kept| kept.mark == mark).map(|kept| kept.pair.clone())
        };
        let pair = match known {
            Some(pair) => pair,
            None => {
                let pair = match self.open(auth, row) {
                    Ok(pair) => Some(Arc::new(pair)),
                    Err(why) => {
                        self.complain(&row.id, &why);
                        None
                    }
                };
                let mut memory = lock(&self.memory);
                if memory.private.len() >= KEPT {
                    memory.private.clear();
                }
                memory.private.insert(row.id.clone(), Kept { mark, pair: pair.clone() });
                pair
            }
        };
        pair.map(|pair| SigningKey { kid: row.id.clone(), pair })
    }

    fn open(&self, auth: &Auth, row: &Jwk) -> Result<KeyPair, String> {
        let alg = self.alg_of(row).ok_or("its algorithm is unknown")?;
        // serde's own message could show a part of the key.
        let written: Json = serde_json::from_str(row.private_key.expose_secret())
            .map_err(|_| "its private half is not JSON".to_owned())?;
        let jwk = match written {
            Json::Object(jwk) => jwk,
            Json::String(sealed) => {
                let plain = auth.config().secrets.open(&sealed).map_err(|error| error.to_string())?;
                serde_json::from_str(&plain).map_err(|_| "its private half is not a JWK".to_owned())?
            }
            _ => return Err("its private half is neither sealed nor a JWK".to_owned()),
        };
        KeyPair::from_private_jwk(alg, &jwk).map_err(|error| error.to_string())
    }

    fn complain(&self, kid: &str, why: &str) {
        let first = {
            let mut memory = lock(&self.memory);
            if memory.complained.len() >= KEPT {
                memory.complained.clear();
            }
            memory.complained.insert(kid.to_owned())
        };
        if first {
            tracing::error!(
                kid,
                why,
                "jwt: a key of `jwks` cannot be used and is passed over; if the secret was changed, put the old one into `secrets`"
            );
        }
    }

    async fn make(&self, asker: Asker<'_>, db: &mut Db<'_>, kind: KeyKind) -> Result<SigningKey, Error> {
        let auth = asker.auth;
        let pair = self.generate(kind).await?;
        let private = Json::Object(pair.private_jwk()).to_string();
        let stored = if self.rules.written.jwks.disable_private_key_encryption {
            private
        } else {
            // A JSON text within the column: so Better Auth writes it (1.7.6 `plugins/jwt/utils`).
            Json::String(auth.config().secrets.seal(auth.random(), &private)?).to_string()
        };
        let public = Json::Object(pair.public_jwk()).to_string();
        let expires_at = self.rules.rotation.map(|seconds| asker.now.plus_seconds(seconds));
        let row = match (&self.rules.written.adapter.get_jwks, &self.rules.written.adapter.create_jwk) {
            (None, _) => {
                let row = Row::new()
                    .with(Jwk::PUBLIC_KEY.key, public)
                    .with(Jwk::PRIVATE_KEY.key, stored)
                    .with(Jwk::CREATED_AT.key, asker.now)
                    .with(Jwk::EXPIRES_AT.key, expires_at)
                    .with(Jwk::ALG.key, kind.alg.name())
                    .with(Jwk::CRV.key, kind.alg.curve());
                Jwk::from_row(db.insert(Jwk::KEY, auth.with_new_id(row)).await?)?
            }
            (Some(_), None) => {
                return Err(Error::broken(
                    "jwt: adapter.getJwks has no key that can sign, and there is no adapter.createJwk",
                ));
            }
            (Some(_), Some(create)) => {
                let mut key = Map::new();
                key.insert("alg".into(), kind.alg.name().into());
                if let Some(curve) = kind.alg.curve() {
                    key.insert("crv".into(), curve.into());
                }
                key.insert("publicKey".into(), public.into());
                key.insert("privateKey".into(), stored.into());
                key.insert("createdAt".into(), asker.now.to_string().into());
                if let Some(at) = expires_at {
                    key.insert("expiresAt".into(), at.to_string().into());
                }
                let args = vec![Json::Object(key), asker.for_webhook()];
                let answer = create.call(auth.outbound(), "plugins.jwt.adapter.createJwk", args).await?;
                row_of("createJwk", &answer)?
            }
        };
        self.usable(auth, &row).ok_or_else(|| Error::broken("jwt: a key cannot be read back as it was made"))
    }

    /// Prime numbers take their time: on a thread of their own, one search at a time.
    async fn generate(&self, kind: KeyKind) -> Result<KeyPair, Error> {
        if !matches!(kind.alg, Algorithm::PS256 | Algorithm::RS256) {
            return Ok(KeyPair::generate(kind.alg, None)?);
        }
        loop {
            let turn = Arc::clone(&self.generating).acquire_owned().await.map_err(Error::broken)?;
            if let Some(pair) = self.in_stock(kind) {
                return Ok(pair);
            }
            let stock = Arc::clone(&self.stock);
            let search = tokio::task::spawn_blocking(move || {
                let pair = KeyPair::generate(kind.alg, kind.modulus_bits)?;
                lock(&stock).push((kind, pair));
                drop(turn);
                Ok::<_, CryptoError>(())
            });
            search.await.map_err(Error::broken)??;
            if let Some(pair) = self.in_stock(kind) {
                return Ok(pair);
            }
        }
    }

    fn in_stock(&self, kind: KeyKind) -> Option<KeyPair> {
        let mut stock = lock(&self.stock);
        let at = stock.iter().position(|(made, _)| *made == kind)?;
        Some(stock.swap_remove(at).1)
    }

    /// The operator's keys, where the operator keeps them.
    async fn adapted(&self, asker: Asker<'_>) -> Result<Option<Vec<Jwk>>, Error> {
        let Some(get) = &self.rules.written.adapter.get_jwks else { return Ok(None) };
        let args = vec![asker.for_webhook()];
        match get.call(asker.auth.outbound(), "plugins.jwt.adapter.getJwks", args).await? {
            Json::Null => Ok(Some(Vec::new())),
            Json::Array(all) => {
                all.iter().map(|one| row_of("getJwks", one)).collect::<Result<_, _>>().map(Some)
            }
            _ => Err(Error::broken("adapter.getJwks: the answer is not a list")),
        }
    }
}

/// A key as a webhook tells it.
fn row_of(callback: &str, json: &Json) -> Result<Jwk, Error> {
    let missing = |name: &str| Error::broken(format!("adapter.{callback}: `{name}` is missing or wrong"));
    let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
    let time = |name: &str| match json.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Timestamp::parse(text).map(Some).ok_or_else(|| missing(name)),
        Some(Json::Number(ms)) => {
            ms.as_i64().map(|ms| Some(Timestamp::from_millis(ms))).ok_or_else(|| missing(name))
        }
        Some(_) => Err(missing(name)),
    };
    Ok(Jwk {
        id: text("id").ok_or_else(|| missing("id"))?,
        public_key: text("publicKey").ok_or_else(|| missing("publicKey"))?,
        private_key: text("privateKey").ok_or_else(|| missing("privateKey"))?.into(),
        created_at: time("createdAt")?.ok_or_else(|| missing("createdAt"))?,
        expires_at: time("expiresAt")?,
        alg: text("alg"),
        crv: text("crv"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_rsa_key_whose_request_went_away_is_kept_for_the_next() {
        let options = json!({ "jwks": { "keyPairConfig": { "alg": "RS256" } } });
        let keys = Arc::new(Keys::new(Rules::read(serde_json::from_value(options).unwrap()).unwrap()));
        let kind = keys.rules.primary;
        let gone = tokio::spawn({
            let keys = Arc::clone(&keys);
            async move { keys.generate(kind).await.map(|pair| pair.public_jwk()) }
        });
        while keys.generating.available_permits() == 1 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        while keys.generating.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        let kept = lock(&keys.stock)[0].1.public_jwk();
        assert_eq!(keys.generate(kind).await.unwrap().public_jwk(), kept);
        assert!(lock(&keys.stock).is_empty());
    }
}
