//! Keys to verify with, each bound to its algorithm when it is read.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    VerificationAlgorithm,
};
use serde_json::{Map, Value};

use crate::der::{self, without_leading_zeros};
use crate::error::bounded;
use crate::jws::base64url;
use crate::{Algorithm, Error, KeyError};

/// The shortest shared secret: what RFC 7518 §3.2 asks of HS256.
pub const MIN_SECRET_LEN: usize = 32;

/// Keys of one set that are read; a set of an auth server has a handful.
const MAX_KEYS: usize = 64;

/// What a public key of RSA may be for (RFC 7518 §3.1).
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A key that verifies. `Debug` shows its id and its algorithms.
pub struct Key {
    kid: Option<String>,
    material: Material,
}

enum Material {
    Secret(Algorithm, Box<hmac::Key>),
    /// One entry per algorithm that the key is for; more than one only for an RSA key without `alg`.
    Public(Vec<(Algorithm, ParsedPublicKey)>),
}

impl Key {
    /// Reads a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2): a public key, or an `oct` secret that says
    /// its `alg` and is at least as long as the hash. An RSA key without `alg` is good for all of RSA's
    /// algorithms.
    ///
    /// # Errors
    /// When a member is missing or malformed, `alg`, `use` or `key_ops` do not agree with verifying
    /// with this key, the key is weak, private, or of an unknown kind.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        match jwk.get("alg") {
            None => Self::read(jwk, None),
            Some(Value::String(alg)) => Self::read(jwk, Some(known(alg)?)),
            Some(_) => Err(KeyError::Malformed("`alg` is no text")),
        }
    }

    /// Reads a JWK whose algorithm is known from elsewhere, for instance from the row that it is kept
    /// in; an `alg` of its own has to agree.
    ///
    /// # Errors
    /// As [`Key::from_jwk`].
    pub fn from_jwk_for(algorithm: Algorithm, jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        match jwk.get("alg") {
            None => {}
            Some(Value::String(alg)) if known(alg)? == algorithm => {}
            Some(_) => return Err(KeyError::Disagrees("`alg` is not the algorithm that is meant")),
        }
        Self::read(jwk, Some(algorithm))
    }

    /// Reads a JWK from JSON.
    ///
    /// # Errors
    /// As [`Key::from_jwk`].
    pub fn from_jwk_json(json: &str) -> Result<Self, KeyError> {
        // What serde says would repeat the text, which may be a secret.
        let jwk = serde_json::from_str(json).map_err(|_| KeyError::Malformed("no JSON object"))?;
        Self::from_jwk(&jwk)
    }

    /// A shared secret of at least [`MIN_SECRET_LEN`] bytes, for one algorithm.
    ///
    /// # Errors
    /// When it is shorter, or the algorithm is not HMAC.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_LEN {
            return Err(KeyError::Weak("a shared secret has at least 32 bytes"));
        }
        Ok(Self { kid: None, material: hmac_key(algorithm, secret)? })
    }

    /// A public key in PEM (`BEGIN PUBLIC KEY`, RFC 5280 §4.1.2.7), for one algorithm.
    ///
    /// # Errors
    /// When it is something else, or does not fit the algorithm.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let document = der::pem(pem)?;
        let material = match (algorithm.key_type(), der::public_key(&document)?) {
            ("OKP", der::Public::Ed25519(x)) => single(algorithm, parsed(&ED25519, x)?),
            ("EC", der::Public::Ec(curve, point)) if algorithm.curve() == Some(curve) => {
                single(algorithm, parsed(ecdsa(algorithm)?, point)?)
            }
            ("RSA", der::Public::Rsa { n, e }) => rsa(n, e, &[algorithm])?,
            _ => return Err(KeyError::Disagrees("the key is of another kind than its algorithm")),
        };
        Ok(Self { kid: None, material })
    }

    /// The same key under this id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Its id.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it is for.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        let (secret, public) = match &self.material {
            Material::Secret(algorithm, _) => (Some(*algorithm), [].as_slice()),
            Material::Public(keys) => (None, keys.as_slice()),
        };
        secret.into_iter().chain(public.iter().map(|(algorithm, _)| *algorithm))
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|one| one == algorithm)
    }

    fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(..))
    }

    /// The signature of these bytes is one of this key with this algorithm. HMACs are compared in
    /// constant time.
    ///
    /// # Errors
    /// [`Error::WrongAlgorithmForKey`] and [`Error::BadSignature`].
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let fits = match &self.material {
            Material::Secret(own, key) if *own == algorithm => {
                Some(hmac::verify(key, message, signature).is_ok())
            }
            Material::Secret(..) => None,
            Material::Public(keys) => keys
                .iter()
                .find(|(own, _)| *own == algorithm)
                .map(|(_, key)| key.verify_sig(message, signature).is_ok()),
        };
        match fits {
            Some(true) => Ok(()),
            Some(false) => Err(Error::BadSignature),
            None => Err(self.wrong_algorithm(algorithm)),
        }
    }

    fn wrong_algorithm(&self, token: Algorithm) -> Error {
        match self.algorithms().next() {
            Some(key) => Error::WrongAlgorithmForKey { token, key },
            None => Error::AlgorithmNotAllowed(token),
        }
    }

    fn read(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let kty = text("kty").ok_or(KeyError::Malformed("no `kty`"))?;
        if algorithm.is_some_and(|algorithm| algorithm.key_type() != kty) {
            return Err(KeyError::Disagrees("`kty` is not the algorithm's"));
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(KeyError::Malformed("`kid` is no text")),
        };
        for_verifying(jwk)?;
        if kty != "oct" && jwk.contains_key("d") {
            return Err(KeyError::Private);
        }
        let material = match kty {
            "oct" => {
                let algorithm = algorithm.ok_or(KeyError::Malformed("an `oct` key has to say its `alg`"))?;
                let secret = member(jwk, "k", "`k`")?;
                if secret.len() < algorithm.hash_len() {
                    return Err(KeyError::Weak("an `oct` key is at least as long as the hash"));
                }
                hmac_key(algorithm, &secret)?
            }
            "OKP" => {
                if text("crv") != Some("Ed25519") {
                    return Err(KeyError::Unsupported(bounded(text("crv").unwrap_or("OKP without `crv`"))));
                }
                let x = member(jwk, "x", "`x`")?;
                if x.len() != Algorithm::EdDSA.coordinate_len() {
                    return Err(KeyError::Malformed("`x` has the wrong length"));
                }
                single(Algorithm::EdDSA, parsed(&ED25519, &x)?)
            }
            "EC" => {
                let own = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512]
                    .into_iter()
                    .find(|one| one.curve() == text("crv"))
                    .ok_or_else(|| {
                        KeyError::Unsupported(bounded(text("crv").unwrap_or("EC without `crv`")))
                    })?;
                if algorithm.is_some_and(|algorithm| algorithm != own) {
                    return Err(KeyError::Disagrees("`crv` is not the algorithm's"));
                }
                let (x, y) = (member(jwk, "x", "`x`")?, member(jwk, "y", "`y`")?);
                if x.len() != own.coordinate_len() || y.len() != own.coordinate_len() {
                    return Err(KeyError::Malformed("a coordinate has the wrong length"));
                }
                // The uncompressed point (SEC 1 §2.3.3); aws-lc checks that it is on the curve.
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                single(own, parsed(ecdsa(own)?, &point)?)
            }
            "RSA" => {
                let (n, e) = (member(jwk, "n", "`n`")?, member(jwk, "e", "`e`")?);
                match algorithm {
                    Some(algorithm) => rsa(&n, &e, &[algorithm])?,
                    None => rsa(&n, &e, &RSA)?,
                }
            }
            other => return Err(KeyError::Unsupported(bounded(other))),
        };
        Ok(Self { kid, material })
    }

    /// Whether both are the same public key: the same id, and the same bytes for the same algorithms.
    fn is_same_public(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Public(ours), Material::Public(theirs)) => {
                ours.len() == theirs.len()
                    && ours
                        .iter()
                        .zip(theirs)
                        .all(|((a, key), (b, other))| a == b && key.as_ref() == other.as_ref())
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn known(alg: &str) -> Result<Algorithm, KeyError> {
    alg.parse().map_err(|_| KeyError::Unsupported(bounded(alg)))
}

/// `use` and `key_ops` allow verifying (RFC 7517 §4.2, §4.3).
fn for_verifying(jwk: &Map<String, Value>) -> Result<(), KeyError> {
    match jwk.get("use") {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(Value::String(_)) => return Err(KeyError::Disagrees("`use` is not `sig`")),
        Some(_) => return Err(KeyError::Malformed("`use` is no text")),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|one| one == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(KeyError::Disagrees("`key_ops` does not have `verify`")),
        Some(_) => Err(KeyError::Malformed("`key_ops` is no list")),
    }
}

fn member(jwk: &Map<String, Value>, name: &str, shown: &'static str) -> Result<Vec<u8>, KeyError> {
    jwk.get(name).and_then(Value::as_str).and_then(base64url).ok_or(KeyError::Malformed(shown))
}

fn hmac_key(algorithm: Algorithm, secret: &[u8]) -> Result<Material, KeyError> {
    let hash = match algorithm {
        Algorithm::HS256 => hmac::HMAC_SHA256,
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => return Err(KeyError::Disagrees("a shared secret is for HS256, HS384 or HS512")),
    };
    Ok(Material::Secret(algorithm, Box::new(hmac::Key::new(hash, secret))))
}

fn ecdsa(algorithm: Algorithm) -> Result<&'static dyn VerificationAlgorithm, KeyError> {
    match algorithm {
        Algorithm::ES256 => Ok(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Ok(&ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => Ok(&ECDSA_P521_SHA512_FIXED),
        _ => Err(KeyError::Disagrees("the key is of another kind than its algorithm")),
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Result<&'static RsaParameters, KeyError> {
    match algorithm {
        Algorithm::RS256 => Ok(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Ok(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Ok(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Ok(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Ok(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Ok(&RSA_PSS_2048_8192_SHA512),
        _ => Err(KeyError::Disagrees("the key is of another kind than its algorithm")),
    }
}

fn parsed(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    ParsedPublicKey::new(algorithm, bytes).map_err(|_| KeyError::Malformed("not a point of its curve"))
}

fn single(algorithm: Algorithm, key: ParsedPublicKey) -> Material {
    Material::Public(vec![(algorithm, key)])
}

fn rsa(n: &[u8], e: &[u8], algorithms: &[Algorithm]) -> Result<Material, KeyError> {
    let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::Weak("an RSA key has 2048 to 8192 bits"));
    }
    // 1 makes every text its own signature; an even one is no exponent at all.
    if e == [1] || e.len() > 4 || e.last().is_none_or(|last| last % 2 == 0) {
        return Err(KeyError::Weak("the exponent of an RSA key is odd, not 1, and at most 32 bits long"));
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(KeyError::Weak("the modulus of an RSA key is odd"));
    }
    if is_roca(n) {
        return Err(KeyError::Weak("an RSA key of a faulty generator (CVE-2017-15361)"));
    }
    let components = PublicKeyComponents { n, e };
    let mut keys = Vec::with_capacity(algorithms.len());
    for algorithm in algorithms {
        let key = components
            .to_parsed_public_key(rsa_parameters(*algorithm)?)
            .map_err(|_| KeyError::Malformed("not an RSA key"))?;
        keys.push((*algorithm, key));
    }
    Ok(Material::Public(keys))
}

/// Whether a modulus has the mark of the primes of CVE-2017-15361 (ROCA): modulo each small prime it
/// is a power of 65537. One modulus of others in about 2^27 has it by chance (Nemec et al., "The
/// Return of Coppersmith's Attack", CCS 2017, §2.3).
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.into_iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        for _ in 0..prime {
            if power == rest {
                return true;
            }
            power = power * 65537 % prime;
        }
        false
    })
}

/// A key of a set that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its id, bounded and escaped.
    pub kid: Option<String>,
    /// Why.
    pub why: KeyError,
}

/// Keys to choose from by `kid`.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 §5) that an operator wrote down: keys of unknown kinds are passed
    /// over, everything else has to be right. Secrets and public keys do not mix.
    ///
    /// # Errors
    /// When the set or a key is malformed, weak or private, or two keys have one id.
    pub fn from_json(json: &str) -> Result<Self, KeyError> {
        let (keys, skipped) = read_set(json.as_bytes())?;
        if let Some(skipped) = skipped.into_iter().find(|one| !matches!(one.why, KeyError::Unsupported(_))) {
            return Err(skipped.why);
        }
        if keys.iter().any(Key::is_secret) && !keys.iter().all(Key::is_secret) {
            return Err(KeyError::SecretInSet);
        }
        let mut set = Self::default();
        for key in keys {
            if let Some(kid) = key.kid()
                && set.keys.iter().any(|one| one.kid() == Some(kid))
            {
                return Err(KeyError::DuplicateKid(bounded(kid)));
            }
            set.push(key);
        }
        Ok(set)
    }

    /// Reads a JWK set that a server publishes: a key that is not right is passed over and the rest
    /// stays. Secrets are passed over, because what is published is none; of different keys with one
    /// id none is taken, because nothing says which is meant.
    ///
    /// # Errors
    /// When it is no JWK set at all.
    pub fn from_published(json: &[u8]) -> Result<(Self, Vec<Skipped>), KeyError> {
        let (keys, mut skipped) = read_set(json)?;
        let mut set = Self::default();
        let mut ambiguous: Vec<String> = Vec::new();
        for key in keys {
            let kid = key.kid().map(str::to_owned);
            let skip = |why| Skipped { kid: kid.as_deref().map(bounded), why };
            if key.is_secret() {
                skipped.push(skip(KeyError::SecretInSet));
                continue;
            }
            if let Some(id) = &kid {
                let other = set.keys.iter().find(|one| one.kid() == kid.as_deref());
                if other.is_some_and(|other| other.is_same_public(&key)) {
                    continue;
                }
                if other.is_some() || ambiguous.contains(id) {
                    skipped.push(skip(KeyError::DuplicateKid(bounded(id))));
                    ambiguous.push(id.clone());
                    continue;
                }
            }
            set.push(key);
        }
        set.keys.retain(|key| key.kid().is_none_or(|kid| !ambiguous.iter().any(|one| one == kid)));
        Ok((set, skipped))
    }

    /// Adds a key.
    pub fn push(&mut self, key: Key) {
        self.keys.push(Arc::new(key));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What the keys are for.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.keys.iter().flat_map(|key| key.algorithms())
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.keys.extend(other.keys);
    }

    /// The key that a token means: the one of its `kid`, else the only one without an id that is for
    /// its algorithm; a token without `kid` means the only key for its algorithm.
    ///
    /// # Errors
    /// [`Error::WrongAlgorithmForKey`] and [`Error::UnknownKid`].
    pub fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&Arc<Key>, Error> {
        if let Some(kid) = kid {
            let mut named = self.keys.iter().filter(|key| key.kid() == Some(kid)).peekable();
            if let Some(first) = named.peek().copied() {
                return named
                    .find(|key| key.is_for(algorithm))
                    .ok_or_else(|| first.wrong_algorithm(algorithm));
            }
        }
        let mut fitting =
            self.keys.iter().filter(|key| (kid.is_none() || key.kid().is_none()) && key.is_for(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Error::UnknownKid(kid.map(bounded))),
        }
    }
}

fn read_set(json: &[u8]) -> Result<(Vec<Key>, Vec<Skipped>), KeyError> {
    // What serde says would repeat the text, which may have secrets in it.
    let set: Map<String, Value> =
        serde_json::from_slice(json).map_err(|_| KeyError::Malformed("no JSON object"))?;
    let Some(Value::Array(list)) = set.get("keys") else {
        return Err(KeyError::Malformed("no list `keys`"));
    };
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (at, item) in list.iter().enumerate() {
        let read = match item {
            _ if at >= MAX_KEYS => Err(KeyError::Malformed("there are too many keys before it")),
            Value::Object(jwk) => Key::from_jwk(jwk),
            _ => Err(KeyError::Malformed("no JSON object")),
        };
        match read {
            Ok(key) => keys.push(key),
            Err(why) => {
                let kid = item.get("kid").and_then(Value::as_str).map(bounded);
                skipped.push(Skipped { kid, why });
            }
        }
    }
    Ok((keys, skipped))
}
