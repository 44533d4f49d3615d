//! Keys, tokens and a clock for a service's own tests: they need no server.
//!
//! ```
//! use portcullis_verify::testing::TestKit;
//! use serde_json::json;
//!
//! let kit = TestKit::new();
//! let verifier = kit.verifier();
//! let token = kit.token(&json!({ "sub": "u1", "role": "admin" }));
//! let claims = verifier.verify_now::<serde_json::Value>(&token).unwrap();
//! assert_eq!(claims["sub"], "u1");
//!
//! kit.clock().advance(std::time::Duration::from_secs(3600));
//! assert!(verifier.verify_now::<serde_json::Value>(&token).is_err(), "it has expired");
//! ```
//!
//! What fails here panics: there is nothing that a test could do about it.

#![expect(clippy::panic, reason = "a test kit: a panic is a failed test")]

use std::fmt::{self, Display};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::{Algorithm, Clock, Verifier, VerifierBuilder, der};

/// The time at which a kit's clock stands: 2025-01-01.
pub const START: u64 = 1_735_689_600;
/// The issuer of a kit's tokens.
pub const ISSUER: &str = "https://auth.test";
/// The audience of a kit's tokens.
pub const AUDIENCE: &str = "https://api.test";
/// How long a kit's tokens are good, in seconds, as Better Auth's are.
pub const LIFETIME: u64 = 15 * 60;

/// A signing key with what belongs to it. `Debug` does not show the key.
pub struct TestKit {
    signer: Signer,
    algorithm: Algorithm,
    kid: String,
    clock: Clock,
}

impl fmt::Debug for TestKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestKit")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Secret(Vec<u8>, Box<hmac::Key>),
}

impl Default for TestKit {
    fn default() -> Self {
        Self::new()
    }
}

impl TestKit {
    /// A new Ed25519 key, which is what Better Auth signs with.
    pub fn new() -> Self {
        Self::generate(Algorithm::EdDSA)
    }

    /// A new key for this algorithm; those of RSA take a moment.
    pub fn generate(algorithm: Algorithm) -> Self {
        let signer = match algorithm {
            Algorithm::EdDSA => Signer::Ed25519(must(Ed25519KeyPair::generate())),
            Algorithm::ES256 => Signer::Ecdsa(must(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING))),
            Algorithm::ES384 => Signer::Ecdsa(must(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING))),
            Algorithm::ES512 => Signer::Ecdsa(must(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING))),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let mut secret = vec![0; 64];
                must(rand::fill(&mut secret));
                return Self::with_secret(algorithm, &secret);
            }
            _ => Signer::Rsa(must(RsaKeyPair::generate(KeySize::Rsa2048))),
        };
        Self { signer, algorithm, kid: new_kid(), clock: Clock::manual(START) }
    }

    /// A shared secret.
    pub fn with_secret(algorithm: Algorithm, secret: &[u8]) -> Self {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => panic!("{algorithm} has no shared secret"),
        };
        let signer = Signer::Secret(secret.to_vec(), Box::new(hmac::Key::new(hash, secret)));
        Self { signer, algorithm, kid: new_kid(), clock: Clock::manual(START) }
    }

    /// The same key under this id.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// The clock of the kit and of its verifiers.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public JWK; of a shared secret the secret.
    pub fn jwk(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = match &self.signer {
            Signer::Ed25519(pair) => json!({ "kty": "OKP", "x": text(pair.public_key().as_ref()) }),
            Signer::Ecdsa(pair) => {
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "x": text(x), "y": text(y) })
            }
            Signer::Rsa(pair) => {
                let (n, e) = der::rsa_numbers(pair.public_key().as_ref()).unwrap_or_default();
                json!({ "kty": "RSA", "n": text(n), "e": text(e) })
            }
            Signer::Secret(secret, _) => json!({ "kty": "oct", "k": text(secret) }),
        };
        let Value::Object(mut jwk) = jwk else { return Map::new() };
        if let Some(curve) = self.algorithm.curve() {
            jwk.insert("crv".to_owned(), curve.into());
        }
        jwk.insert("alg".to_owned(), self.algorithm.name().into());
        jwk.insert("kid".to_owned(), self.kid.clone().into());
        jwk
    }

    /// The set that a server would publish.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// A verifier that trusts the kit's key, with its clock, issuer and audience.
    pub fn verifier(&self) -> Verifier {
        must(self.builder().jwks_json(&self.jwks()).build())
    }

    /// The same without the key, for a service that is given its keys otherwise.
    pub fn builder(&self) -> VerifierBuilder {
        Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(self.clock.clone())
    }

    /// A token with these claims. `iss`, `aud`, `iat` and `exp` are added where they are not given;
    /// given as `null`, they are left out.
    pub fn token(&self, claims: &Value) -> String {
        let now = self.clock.unix_seconds();
        let mut all = Map::new();
        all.insert("iat".to_owned(), now.into());
        all.insert("exp".to_owned(), now.saturating_add_unsigned(LIFETIME).into());
        all.insert("iss".to_owned(), ISSUER.into());
        all.insert("aud".to_owned(), AUDIENCE.into());
        for (name, value) in claims.as_object().into_iter().flatten() {
            all.insert(name.clone(), value.clone());
        }
        all.retain(|_, value| !value.is_null());
        let header = json!({ "alg": self.algorithm.name(), "kid": self.kid, "typ": "JWT" });
        self.sign(&header.to_string(), Value::Object(all).to_string().as_bytes())
    }

    /// Any header and any payload, signed: for tests of what must be refused.
    pub fn sign(&self, header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let message = input.as_bytes();
        let signature = match &self.signer {
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Ecdsa(pair) => must(pair.sign(&SystemRandom::new(), message)).as_ref().to_vec(),
            Signer::Rsa(pair) => {
                let encoding: &dyn aws_lc_rs::signature::RsaEncoding = match self.algorithm {
                    Algorithm::PS256 => &RSA_PSS_SHA256,
                    Algorithm::PS384 => &RSA_PSS_SHA384,
                    Algorithm::PS512 => &RSA_PSS_SHA512,
                    Algorithm::RS384 => &RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                must(pair.sign(encoding, &SystemRandom::new(), message, &mut signature));
                signature
            }
            Signer::Secret(_, key) => hmac::sign(key, message).as_ref().to_vec(),
        };
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn new_kid() -> String {
    let mut id = [0; 16];
    must(rand::fill(&mut id));
    URL_SAFE_NO_PAD.encode(id)
}

fn must<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("the test kit: {error}"))
}
