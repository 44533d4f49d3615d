//! Signing keys of the five algorithms that Better Auth offers, as JWKs.
//!
//! A private JWK of the `jwks` table may come from Node (jose's `exportJWK`) and ours may be read
//! there, so members, their order and their encoding are what Node's WebCrypto writes: numbers of
//! RSA without leading zeros, coordinates of curves with them (RFC 7518 §6.2.1.2, §6.3.1.1).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED,
    ECDSA_P521_SHA512_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256,
    RsaParameters, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::CryptoError;
use super::der::{rsa_numbers, without_leading_zeros};
use super::jwt::{Jws, object, set, signing_input};
use super::sign::{base64url, base64url_decode};

/// The size of RSA keys when none is asked for: jose's default.
const DEFAULT_MODULUS_BITS: u32 = 2048;

/// A signature algorithm for tokens (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519; the default.
    EdDSA,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-521 and SHA-512.
    ES512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
}

impl Algorithm {
    /// All of them, in the order of Better Auth's documentation.
    pub const ALL: [Self; 5] = [Self::EdDSA, Self::ES256, Self::ES512, Self::PS256, Self::RS256];

    /// The `alg` of a token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::ES512 => "ES512",
            Self::PS256 => "PS256",
            Self::RS256 => "RS256",
        }
    }

    /// The `kty` of its keys.
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::EdDSA => "OKP",
            Self::ES256 | Self::ES512 => "EC",
            Self::PS256 | Self::RS256 => "RSA",
        }
    }

    /// The `crv` of its keys, for those that are points.
    pub const fn curve(self) -> Option<&'static str> {
        match self {
            Self::EdDSA => Some("Ed25519"),
            Self::ES256 => Some("P-256"),
            Self::ES512 => Some("P-521"),
            Self::PS256 | Self::RS256 => None,
        }
    }

    /// Bytes of one coordinate, or of the private scalar.
    const fn coordinate_len(self) -> usize {
        match self {
            Self::ES512 => 66,
            _ => 32,
        }
    }

    fn ecdsa(self) -> Option<(&'static EcdsaSigningAlgorithm, &'static dyn VerificationAlgorithm)> {
        match self {
            Self::ES256 => Some((&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED)),
            Self::ES512 => Some((&ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED)),
            _ => None,
        }
    }

    fn rsa(self) -> &'static RsaParameters {
        match self {
            Self::PS256 => &RSA_PSS_2048_8192_SHA256,
            _ => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// Whether a JWK is of this algorithm's type and curve.
    fn fits(self, jwk: &Map<String, Value>) -> bool {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        text("kty") == Some(self.key_type()) && (self.curve().is_none() || text("crv") == self.curve())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = CryptoError;

    fn from_str(name: &str) -> Result<Self, CryptoError> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or(CryptoError::BadKey)
    }
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A private key that signs tokens. `Debug` shows its public half at most.
pub struct KeyPair {
    algorithm: Algorithm,
    signer: Signer,
    public: Map<String, Value>,
    private: Vec<(&'static str, Zeroizing<String>)>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A new key. `modulus_bits` is for RSA: 2048 (the default), 3072, 4096 or 8192; making one takes
    /// from tenths of a second to many, so it does not belong on an async thread.
    ///
    /// The randomness is aws-lc's own: unlike the rest of this module, key generation cannot be seeded.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] for another size.
    pub fn generate(algorithm: Algorithm, modulus_bits: Option<u32>) -> Result<Self, CryptoError> {
        let signer = match algorithm {
            Algorithm::EdDSA => Signer::Ed25519(Ed25519KeyPair::generate()?),
            Algorithm::PS256 | Algorithm::RS256 => {
                let size = match modulus_bits.unwrap_or(DEFAULT_MODULUS_BITS) {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    8192 => KeySize::Rsa8192,
                    _ => return Err(CryptoError::BadKey),
                };
                Signer::Rsa(RsaKeyPair::generate(size)?)
            }
            Algorithm::ES256 | Algorithm::ES512 => {
                let (signing, _) = algorithm.ecdsa().ok_or(CryptoError::BadKey)?;
                Signer::Ecdsa(EcdsaKeyPair::generate(signing)?)
            }
        };
        Self::with_members(algorithm, signer)
    }

    /// Reads a private JWK; public and private members have to belong together.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when members are missing, do not fit the algorithm or contradict each
    /// other.
    pub fn from_private_jwk(algorithm: Algorithm, jwk: &Map<String, Value>) -> Result<Self, CryptoError> {
        if !algorithm.fits(jwk) {
            return Err(CryptoError::BadKey);
        }
        let member = |name: &str| private_member(jwk, name);
        let signer = match algorithm {
            Algorithm::EdDSA => {
                Signer::Ed25519(Ed25519KeyPair::from_seed_and_public_key(&member("d")?, &member("x")?)?)
            }
            Algorithm::ES256 | Algorithm::ES512 => {
                let (signing, _) = algorithm.ecdsa().ok_or(CryptoError::BadKey)?;
                let point = point(algorithm, jwk).ok_or(CryptoError::BadKey)?;
                let d = member("d")?;
                Signer::Ecdsa(EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point)?)
            }
            Algorithm::PS256 | Algorithm::RS256 => {
                let components = KeyPairComponents {
                    public_key: rsa_public(jwk).ok_or(CryptoError::BadKey)?,
                    d: member("d")?,
                    p: member("p")?,
                    q: member("q")?,
                    dP: member("dp")?,
                    dQ: member("dq")?,
                    qInv: member("qi")?,
                };
                Signer::Rsa(RsaKeyPair::from_components(&components)?)
            }
        };
        Self::with_members(algorithm, signer)
    }

    /// Writes down both JWKs once, so that reading them later cannot fail.
    fn with_members(algorithm: Algorithm, signer: Signer) -> Result<Self, CryptoError> {
        let text = |bytes: &[u8]| Zeroizing::new(base64url(bytes));
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let curve = algorithm.curve().unwrap_or_default();
        let (private, public_names): (Vec<(&'static str, Zeroizing<String>)>, &[&str]) = match &signer {
            Signer::Ed25519(pair) => {
                let seed = pair.seed()?;
                let members = vec![
                    ("crv", plain(curve)),
                    ("d", text(seed.as_be_bytes()?.as_ref())),
                    ("x", text(pair.public_key().as_ref())),
                    ("kty", plain("OKP")),
                ];
                (members, &["crv", "x", "kty"])
            }
            Signer::Ecdsa(pair) => {
                let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or(CryptoError::Backend)?;
                let (x, y) =
                    point.split_at_checked(algorithm.coordinate_len()).ok_or(CryptoError::Backend)?;
                let members = vec![
                    ("kty", plain("EC")),
                    ("x", text(x)),
                    ("y", text(y)),
                    ("crv", plain(curve)),
                    ("d", text(pair.private_key().as_be_bytes()?.as_ref())),
                ];
                (members, &["kty", "x", "y", "crv"])
            }
            Signer::Rsa(pair) => {
                let document = pair.as_der()?;
                let numbers = rsa_numbers(document.as_ref()).ok_or(CryptoError::Backend)?;
                let mut members = vec![("kty", plain("RSA"))];
                for (name, number) in ["n", "e", "d", "p", "q", "dp", "dq", "qi"].into_iter().zip(numbers) {
                    members.push((name, text(number)));
                }
                (members, &["kty", "n", "e"])
            }
        };
        let mut public = Map::new();
        for (name, value) in &private {
            if public_names.contains(name) {
                set(&mut public, name, value.as_str());
            }
        }
        Ok(Self { algorithm, signer, public, private })
    }

    /// The algorithm that the key signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public JWK, as jose's `exportJWK` writes it (no `alg`, no `kid`).
    pub fn public_jwk(&self) -> Map<String, Value> {
        self.public.clone()
    }

    /// The private JWK, as jose's `exportJWK` writes it. Seal it before it is stored.
    pub fn private_jwk(&self) -> Map<String, Value> {
        let mut jwk = Map::new();
        for (name, value) in &self.private {
            set(&mut jwk, name, value.as_str());
        }
        jwk
    }

    /// Signs claims as they are. The header is `alg`, then `header_extra` (`kid`, `typ`); an `alg` in
    /// there only gives its place.
    ///
    /// # Errors
    /// [`CryptoError::Backend`] when aws-lc refuses to sign, which is not a matter of the claims.
    pub fn sign_jwt(
        &self,
        header_extra: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String, CryptoError> {
        let mut header = Map::new();
        if !header_extra.contains_key("alg") {
            set(&mut header, "alg", self.algorithm.name());
        }
        for (name, value) in header_extra {
            set(&mut header, name, value.clone());
        }
        set(&mut header, "alg", self.algorithm.name());
        let input = signing_input(&header, claims)?;
        let signature = self.sign(input.as_bytes())?;
        Ok(format!("{input}.{}", base64url(&signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &self.signer {
            Signer::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
            Signer::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
            Signer::Rsa(pair) => {
                let padding = match self.algorithm {
                    Algorithm::PS256 => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0u8; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

/// The claims of a token that this public key signed with this algorithm. Only the signature and the
/// header's `alg` are checked; for times, issuer and audience there is [`Expect`](super::Expect).
pub fn verify_jwt(
    alg: Algorithm,
    public_jwk: &Map<String, Value>,
    token: &str,
) -> Option<Map<String, Value>> {
    let jws = Jws::parse(token)?;
    if jws.alg() != Some(alg.name()) || !alg.fits(public_jwk) {
        return None;
    }
    let (message, signature) = (jws.input.as_bytes(), jws.signature.as_slice());
    let verified = match alg {
        Algorithm::EdDSA => {
            UnparsedPublicKey::new(&ED25519, member(public_jwk, "x")?).verify(message, signature)
        }
        Algorithm::ES256 | Algorithm::ES512 => {
            let (_, verifying) = alg.ecdsa()?;
            UnparsedPublicKey::new(verifying, point(alg, public_jwk)?).verify(message, signature)
        }
        Algorithm::PS256 | Algorithm::RS256 => rsa_public(public_jwk)?.verify(alg.rsa(), message, signature),
    };
    verified.ok()?;
    object(&jws.payload)
}

fn member(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    base64url_decode(jwk.get(name)?.as_str()?)
}

fn private_member(jwk: &Map<String, Value>, name: &str) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    member(jwk, name).map(Zeroizing::new).ok_or(CryptoError::BadKey)
}

/// The uncompressed point `04 ‖ x ‖ y` (SEC 1 §2.3.3).
fn point(alg: Algorithm, jwk: &Map<String, Value>) -> Option<Vec<u8>> {
    let (x, y) = (member(jwk, "x")?, member(jwk, "y")?);
    let len = alg.coordinate_len();
    if x.len() != len || y.len() != len {
        return None;
    }
    Some([&[4], x.as_slice(), y.as_slice()].concat())
}

fn rsa_public(jwk: &Map<String, Value>) -> Option<PublicKeyComponents<Vec<u8>>> {
    let number = |name: &str| member(jwk, name).map(|number| without_leading_zeros(&number).to_vec());
    Some(PublicKeyComponents { n: number("n")?, e: number("e")? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::crypto::{Expect, peek};

    /// Keys and tokens that jose 6.2.17 made on Node 20; used nowhere else.
    fn node(algorithm: Algorithm) -> (Map<String, Value>, Map<String, Value>, String) {
        let all: Value = serde_json::from_str(include_str!("testdata/node_keys.json")).unwrap();
        let one = &all[algorithm.name()];
        (
            one["public"].as_object().unwrap().clone(),
            one["private"].as_object().unwrap().clone(),
            one["token"].as_str().unwrap().to_owned(),
        )
    }

    fn claims() -> Map<String, Value> {
        json!({"sub": "u1", "name": "Zoë", "n": 1, "exp": 5}).as_object().unwrap().clone()
    }

    #[test]
    fn keys_of_node_are_read_and_written_back_member_for_member() {
        for algorithm in Algorithm::ALL {
            let (public, private, token) = node(algorithm);
            let key = KeyPair::from_private_jwk(algorithm, &private).unwrap();
            // As text, so that the order of the members counts.
            assert_eq!(
                serde_json::to_string(&key.public_jwk()).unwrap(),
                serde_json::to_string(&public).unwrap()
            );
            assert_eq!(
                serde_json::to_string(&key.private_jwk()).unwrap(),
                serde_json::to_string(&private).unwrap()
            );
            let read = verify_jwt(algorithm, &public, &token).unwrap();
            assert_eq!(read["name"], "Zoë");
            let expect = Expect {
                issuer: Some(vec!["https://a.example".into()]),
                audience: Some(vec!["https://a.example".into()]),
                now: Timestamp::from_millis(1_700_000_899_999),
                leeway_secs: 0,
            };
            assert_eq!(expect.check(&read), Ok(()));
        }
    }

    #[test]
    fn deterministic_signatures_equal_those_of_node() {
        for algorithm in [Algorithm::EdDSA, Algorithm::RS256] {
            let (_, private, token) = node(algorithm);
            let (header, claims) = peek(&token).unwrap();
            let key = KeyPair::from_private_jwk(algorithm, &private).unwrap();
            assert_eq!(key.sign_jwt(&header, &claims).unwrap(), token);
        }
    }

    #[test]
    fn new_keys_sign_and_survive_their_jwk() {
        for algorithm in Algorithm::ALL {
            let key = KeyPair::generate(algorithm, None).unwrap();
            let again = KeyPair::from_private_jwk(algorithm, &key.private_jwk()).unwrap();
            assert_eq!(key.public_jwk(), again.public_jwk());
            let (public, _, _) = node(algorithm);
            assert_eq!(key.public_jwk().keys().collect::<Vec<_>>(), public.keys().collect::<Vec<_>>());
            let mut extra = Map::new();
            set(&mut extra, "kid", "k");
            let token = again.sign_jwt(&extra, &claims()).unwrap();
            assert_eq!(verify_jwt(algorithm, &key.public_jwk(), &token), Some(claims()));
            let (header, _) = peek(&token).unwrap();
            assert_eq!(
                serde_json::to_string(&header).unwrap(),
                format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#)
            );
        }
    }

    #[test]
    fn coordinates_keep_their_leading_zeros() {
        for algorithm in [Algorithm::ES256, Algorithm::ES512] {
            for _ in 0..300 {
                let jwk = KeyPair::generate(algorithm, None).unwrap().private_jwk();
                for name in ["x", "y", "d"] {
                    assert_eq!(member(&jwk, name).unwrap().len(), algorithm.coordinate_len());
                }
            }
        }
    }

    #[test]
    fn ed25519_agrees_with_rfc_8037_appendix_a() {
        let jwk = json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        });
        let key = KeyPair::from_private_jwk(Algorithm::EdDSA, jwk.as_object().unwrap()).unwrap();
        let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert_eq!(
            base64url(&key.sign(input.as_bytes()).unwrap()),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn es256_and_es512_verify_the_examples_of_rfc_7515() {
        let p256 = json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        });
        let token = concat!(
            "eyJhbGciOiJFUzI1NiJ9",
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        );
        let read = verify_jwt(Algorithm::ES256, p256.as_object().unwrap(), token).unwrap();
        assert_eq!(read["iss"], "joe");
        // Appendix A.4 signs the text "Payload", which is no JWT: the signature alone is compared.
        let p521 = json!({
            "kty": "EC",
            "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"
        });
        let signature = base64url_decode(concat!(
            "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZq",
            "wqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp",
            "EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
        ))
        .unwrap();
        let point = point(Algorithm::ES512, p521.as_object().unwrap()).unwrap();
        UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point)
            .verify(b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA", &signature)
            .unwrap();
    }

    #[test]
    fn another_key_another_algorithm_or_another_text_is_refused() {
        for algorithm in Algorithm::ALL {
            let (public, _, token) = node(algorithm);
            for other in Algorithm::ALL {
                if other != algorithm {
                    assert!(verify_jwt(other, &public, &token).is_none());
                    assert!(verify_jwt(algorithm, &node(other).0, &token).is_none());
                    assert!(verify_jwt(algorithm, &public, &node(other).2).is_none());
                }
            }
            let key = KeyPair::generate(algorithm, None).unwrap();
            assert!(verify_jwt(algorithm, &key.public_jwk(), &token).is_none());
            for end in 0..token.len() {
                assert!(verify_jwt(algorithm, &public, &token[..end]).is_none());
            }
            for at in (0..token.len()).step_by(7) {
                let mut bent = token.clone();
                let letter = if &bent[at..=at] == "A" { "B" } else { "A" };
                bent.replace_range(at..=at, letter);
                assert!(verify_jwt(algorithm, &public, &bent).is_none(), "{algorithm} at {at}");
            }
            let rest = token.split_once('.').unwrap().1;
            for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#] {
                assert!(
                    verify_jwt(algorithm, &public, &format!("{}.{rest}", base64url(header.as_bytes())))
                        .is_none()
                );
            }
        }
    }

    #[test]
    fn a_public_key_used_as_an_hmac_secret_gets_nobody_in() {
        let (public, _, _) = node(Algorithm::RS256);
        let n = crate::crypto::Secret::from(public["n"].as_str().unwrap());
        let token = crate::crypto::sign_hs256(&n, &claims(), Timestamp::from_millis(0), 60).unwrap();
        for algorithm in Algorithm::ALL {
            assert!(verify_jwt(algorithm, &public, &token).is_none());
        }
    }

    #[test]
    fn a_private_jwk_with_a_missing_foreign_or_broken_member_is_refused() {
        for algorithm in Algorithm::ALL {
            let (_, private, _) = node(algorithm);
            for name in private.keys() {
                let mut without = private.clone();
                without.remove(name);
                assert!(
                    KeyPair::from_private_jwk(algorithm, &without).is_err(),
                    "{algorithm} without {name}"
                );
                for bad in [json!(""), json!(1), json!("é"), json!("AAAA"), json!("A".repeat(100_000))] {
                    let mut broken = private.clone();
                    broken[name] = bad;
                    let refused = KeyPair::from_private_jwk(algorithm, &broken);
                    assert_eq!(refused.unwrap_err(), CryptoError::BadKey, "{algorithm} with bad {name}");
                }
            }
            let stranger = KeyPair::generate(algorithm, None).unwrap().public_jwk();
            let mut mixed = private.clone();
            for (name, value) in &stranger {
                mixed[name] = value.clone();
            }
            assert!(KeyPair::from_private_jwk(algorithm, &mixed).is_err(), "{algorithm} of two keys");
        }
        let (_, ec, _) = node(Algorithm::ES256);
        assert!(KeyPair::from_private_jwk(Algorithm::ES512, &ec).is_err());
    }

    #[test]
    fn a_private_key_is_not_shown_by_debug() {
        let key = KeyPair::generate(Algorithm::EdDSA, None).unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains(key.private_jwk()["d"].as_str().unwrap()));
    }

    #[test]
    fn keys_and_hashing_threads_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<KeyPair>();
        shared::<crate::crypto::Passwords>();
        shared::<crate::crypto::Secrets>();
        shared::<crate::crypto::Random>();
    }

    #[test]
    fn an_rsa_size_that_aws_lc_lacks_is_refused() {
        assert_eq!(KeyPair::generate(Algorithm::RS256, Some(1024)).unwrap_err(), CryptoError::BadKey);
        assert_eq!(KeyPair::generate(Algorithm::PS256, Some(2049)).unwrap_err(), CryptoError::BadKey);
        let key = KeyPair::generate(Algorithm::RS256, Some(3072)).unwrap();
        assert_eq!(member(&key.public_jwk(), "n").unwrap().len(), 384);
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        for name in ["none", "eddsa", "HS256", ""] {
            assert_eq!(name.parse::<Algorithm>(), Err(CryptoError::BadKey));
        }
    }
}
