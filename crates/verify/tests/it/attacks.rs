//! Every known way to forge a token, and none gets in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_verify::testing::{AUDIENCE, ISSUER, START, TestKit};
use portcullis_verify::{Algorithm, Error, MAX_TOKEN_LEN, Verifier};
use serde_json::{Value, json};

use crate::server::{Reply, Server};

fn error(verifier: &Verifier, token: &str) -> Error {
    verifier.verify_now::<Value>(token).unwrap_err()
}

fn claims() -> Vec<u8> {
    json!({ "sub": "u1", "iss": ISSUER, "aud": AUDIENCE, "exp": START + 60 }).to_string().into_bytes()
}

#[test]
fn alg_none_is_refused_in_every_spelling() {
    let kit = TestKit::new();
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = json!({ "alg": alg, "kid": kit.kid() }).to_string();
        let token = kit.sign(&header, &claims());
        assert_eq!(error(&kit.verifier(), &token), Error::AlgorithmNone);
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_eq!(error(&kit.verifier(), &format!("{unsigned}.")), Error::AlgorithmNone);
    }
    for header in [r#"{"alg":""}"#, r#"{"alg":"HS256 "}"#, r#"{"alg":"hs256"}"#, r#"{"alg":"none "}"#] {
        assert!(matches!(
            error(&kit.verifier(), &kit.sign(header, &claims())),
            Error::UnsupportedAlgorithm(_)
        ));
    }
    for header in [r#"{"alg":["EdDSA"]}"#, r#"{"alg":null}"#, "{}", "[]", "", "null", r#"{"alg":"EdDSA"}x"#] {
        assert!(
            matches!(error(&kit.verifier(), &kit.sign(header, &claims())), Error::Malformed(_)),
            "{header}"
        );
    }
}

#[test]
fn a_signature_that_is_missing_is_refused() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256] {
        let kit = TestKit::generate(algorithm);
        let token = kit.token(&json!({}));
        let (input, _) = token.rsplit_once('.').unwrap();
        assert_eq!(error(&kit.verifier(), &format!("{input}.")), Error::BadSignature);
    }
}

#[test]
fn the_public_key_as_an_hmac_secret_gets_nobody_in() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let kit = TestKit::generate(algorithm);
        let jwk = kit.jwk();
        let raw = URL_SAFE_NO_PAD.decode(jwk.get("x").or(jwk.get("n")).unwrap().as_str().unwrap()).unwrap();
        let text = Value::Object(jwk.clone()).to_string();
        for secret in [raw.as_slice(), text.as_bytes(), kit.jwks().as_bytes()] {
            let forger = TestKit::with_secret(Algorithm::HS256, secret).with_kid(kit.kid());
            let token = forger.token(&json!({ "sub": "u1" }));
            assert_eq!(error(&kit.verifier(), &token), Error::NeedsSecret(Algorithm::HS256));
            // Not even where a secret is configured, too.
            let both =
                kit.builder().jwks_json(&kit.jwks()).secret(Algorithm::HS256, [9; 32]).build().unwrap();
            let refused = Error::WrongAlgorithmForKey { token: Algorithm::HS256, key: algorithm };
            assert_eq!(error(&both, &token), refused);
            let token = forger.sign(r#"{"alg":"HS256"}"#, &claims());
            assert_eq!(error(&both, &token), Error::BadSignature);
        }
    }
}

#[test]
fn a_key_id_of_another_algorithm_is_refused() {
    let (ed, es) = (TestKit::new(), TestKit::generate(Algorithm::ES256));
    let set = json!({ "keys": [ed.jwk(), es.jwk()] }).to_string();
    let verifier = ed.builder().jwks_json(&set).build().unwrap();
    assert!(verifier.verify_now::<Value>(&ed.token(&json!({}))).is_ok());
    assert!(verifier.verify_now::<Value>(&es.token(&json!({}))).is_ok());
    let token = es.sign(&json!({ "alg": "ES256", "kid": ed.kid() }).to_string(), &claims());
    let refused = Error::WrongAlgorithmForKey { token: Algorithm::ES256, key: Algorithm::EdDSA };
    assert_eq!(error(&verifier, &token), refused);
    let token = es.sign(&json!({ "alg": "EdDSA", "kid": ed.kid() }).to_string(), &claims());
    assert_eq!(error(&verifier, &token), Error::BadSignature);
}

#[test]
fn an_rsa_key_is_good_for_its_own_algorithm_only() {
    let kit = TestKit::generate(Algorithm::RS256);
    let verifier = kit.verifier();
    assert!(verifier.verify_now::<Value>(&kit.token(&json!({}))).is_ok());
    for (name, alg) in [("PS256", Algorithm::PS256), ("RS512", Algorithm::RS512)] {
        let token = kit.sign(&json!({ "alg": name, "kid": kit.kid() }).to_string(), &claims());
        assert_eq!(error(&verifier, &token), Error::AlgorithmNotAllowed(alg));
    }
}

#[tokio::test]
async fn a_key_that_the_token_brings_is_never_used() {
    let kit = TestKit::new();
    let forger = TestKit::new();
    let server = Server::start(Reply::ok(&forger.jwks())).await;
    let verifier = kit.builder().jwks_json(&kit.jwks()).build().unwrap();
    for kid in [Some(kit.kid()), Some(forger.kid()), None] {
        for (name, value) in [
            ("jwk", Value::Object(forger.jwk())),
            ("jku", server.url("/jwks").into()),
            ("x5u", server.url("/cert").into()),
            ("x5c", json!(["MIIB"])),
            ("x5t", "AAAA".into()),
        ] {
            let mut header = json!({ "alg": "EdDSA", name: value });
            if let Some(kid) = kid {
                header["kid"] = kid.into();
            }
            let token = forger.sign(&header.to_string(), &claims());
            let refused = error(&verifier, &token);
            assert!(matches!(refused, Error::BadSignature | Error::UnknownKid(_)), "{name}: {refused}");
            assert!(verifier.verify::<Value>(&token).await.is_err());
            // And a token that is right is right with it, too: it is not looked at.
            let token = kit.sign(&header.to_string().replace(forger.kid(), kit.kid()), &claims());
            if kid == Some(kit.kid()) && name != "jwk" {
                assert!(verifier.verify_now::<Value>(&token).is_ok());
            }
        }
    }
    assert_eq!(server.hits(), 0);
}

#[test]
fn crit_is_refused() {
    let kit = TestKit::new();
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null), json!("x")] {
        let header = json!({ "alg": "EdDSA", "kid": kit.kid(), "crit": crit, "b64": false, "exp": 1 });
        assert_eq!(error(&kit.verifier(), &kit.sign(&header.to_string(), &claims())), Error::Critical);
    }
}

#[test]
fn a_member_that_comes_twice_is_refused() {
    let kit = TestKit::new();
    for header in [r#"{"alg":"none","alg":"EdDSA"}"#, r#"{"alg":"EdDSA","kid":"a","kid":"b"}"#] {
        let refused = error(&kit.verifier(), &kit.sign(header, &claims()));
        assert_eq!(refused, Error::Malformed("the header has a member twice"));
    }
    let payload = format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":1,"exp":{}}}"#, START + 60);
    let header = json!({ "alg": "EdDSA", "kid": kit.kid() }).to_string();
    let refused = error(&kit.verifier(), &kit.sign(&header, payload.as_bytes()));
    assert_eq!(refused, Error::Malformed("the payload has a claim twice"));
}

#[test]
fn one_token_has_one_encoding() {
    let kit = TestKit::new();
    let token = kit.token(&json!({ "sub": "u1" }));
    assert!(kit.verifier().verify_now::<Value>(&token).is_ok());
    // An Ed25519 signature ends in a letter of which two bits are not used.
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = LETTERS.find(&token[token.len() - 1..]).unwrap();
    let mut stray = token[..token.len() - 1].to_owned();
    stray.push_str(&LETTERS[last + 1..last + 2]);
    for other in [
        stray,
        format!("{token}="),
        format!("{token}=="),
        format!("{token}\n"),
        format!(" {token}"),
        token.replacen('.', "=.", 1),
        token.replacen('.', " .", 1),
    ] {
        assert!(matches!(error(&kit.verifier(), &other), Error::Malformed(_)), "{other}");
    }
    for other in [format!("{token}."), format!(".{token}"), format!("{token}.x")] {
        assert!(matches!(error(&kit.verifier(), &other), Error::Malformed(_)));
    }
}

#[test]
fn an_hmac_is_compared_as_a_whole() {
    let kit = TestKit::generate(Algorithm::HS256);
    let token = kit.token(&json!({}));
    let (input, tag) = token.rsplit_once('.').unwrap();
    let tag = URL_SAFE_NO_PAD.decode(tag).unwrap();
    for len in 0..tag.len() {
        let cut = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&tag[..len]));
        assert_eq!(error(&kit.verifier(), &cut), Error::BadSignature);
    }
    for at in 0..tag.len() {
        let mut bent = tag.clone();
        bent[at] ^= 1;
        let bent = format!("{input}.{}", URL_SAFE_NO_PAD.encode(bent));
        assert_eq!(error(&kit.verifier(), &bent), Error::BadSignature);
    }
}

#[test]
fn a_huge_or_deep_token_is_refused_without_harm() {
    let kit = TestKit::new();
    let huge = kit.token(&json!({ "x": "x".repeat(MAX_TOKEN_LEN) }));
    assert_eq!(error(&kit.verifier(), &huge), Error::TooLong);
    assert_eq!(error(&kit.verifier(), &".".repeat(4 << 20)), Error::TooLong);
    let header = json!({ "alg": "EdDSA", "kid": kit.kid() }).to_string();
    let deep = format!("{}{}", r#"{"a":"#.repeat(1000), "}".repeat(1000));
    assert!(matches!(error(&kit.verifier(), &kit.sign(&header, deep.as_bytes())), Error::Malformed(_)));
    assert!(matches!(error(&kit.verifier(), &".".repeat(MAX_TOKEN_LEN)), Error::Malformed(_)));
}

#[test]
fn a_payload_that_is_no_object_is_refused_even_when_signed() {
    let kit = TestKit::new();
    let header = json!({ "alg": "EdDSA", "kid": kit.kid() }).to_string();
    for payload in [&b""[..], b"[]", b"1", b"null", b"\"x\"", b"\xff\xfe", b"{}x", b"{\"exp\":1e999}"] {
        assert!(matches!(error(&kit.verifier(), &kit.sign(&header, payload)), Error::Malformed(_)));
    }
}

#[test]
fn an_algorithm_outside_the_list_is_refused() {
    let (ed, es) = (TestKit::new(), TestKit::generate(Algorithm::ES256));
    let set = json!({ "keys": [ed.jwk(), es.jwk()] }).to_string();
    let verifier = ed.builder().jwks_json(&set).algorithms([Algorithm::EdDSA]).build().unwrap();
    assert!(verifier.verify_now::<Value>(&ed.token(&json!({}))).is_ok());
    assert_eq!(error(&verifier, &es.token(&json!({}))), Error::AlgorithmNotAllowed(Algorithm::ES256));
}

#[test]
fn every_algorithm_signs_and_verifies_and_refuses_the_others_keys() {
    let kits: Vec<TestKit> = Algorithm::ALL.into_iter().map(TestKit::generate).collect();
    for kit in &kits {
        let verifier = kit.verifier();
        assert_eq!(verifier.verify_now::<Value>(&kit.token(&json!({ "sub": "u" }))).unwrap()["sub"], "u");
        for other in &kits {
            if other.kid() != kit.kid() {
                assert!(verifier.verify_now::<Value>(&other.token(&json!({}))).is_err());
            }
        }
    }
}

#[test]
fn ed25519_is_read_by_its_new_name() {
    let kit = TestKit::new();
    let token = kit.sign(&json!({ "alg": "Ed25519", "kid": kit.kid() }).to_string(), &claims());
    assert!(kit.verifier().verify_now::<Value>(&token).is_ok());
    let mut jwk = kit.jwk();
    jwk.insert("alg".to_owned(), "Ed25519".into());
    let verifier = kit.builder().jwk_json(&Value::Object(jwk).to_string()).build().unwrap();
    assert!(verifier.verify_now::<Value>(&kit.token(&json!({}))).is_ok());
}
