//! What people get wrong, and that the error says so without telling secrets.

use portcullis_verify::testing::{AUDIENCE, ISSUER, TestKit};
use portcullis_verify::{Algorithm, Error, Kind, Verifier};
use serde_json::{Value, json};

fn error(verifier: &Verifier, token: &str) -> Error {
    verifier.verify_now::<Value>(token).unwrap_err()
}

#[test]
fn a_secret_where_public_keys_are_needed_and_the_reverse() {
    let (public, secret) = (TestKit::new(), TestKit::generate(Algorithm::HS256));
    let wrong = error(&secret.verifier(), &public.token(&json!({})));
    assert_eq!(wrong, Error::NeedsPublicKey(Algorithm::EdDSA));
    assert!(wrong.to_string().contains("jwks_url"), "{wrong}");
    let wrong = error(&public.verifier(), &secret.token(&json!({})));
    assert_eq!(wrong, Error::NeedsSecret(Algorithm::HS256));
    assert!(wrong.to_string().contains("secret"), "{wrong}");
}

#[test]
fn a_session_token_in_place_of_a_jwt() {
    let verifier = TestKit::new().verifier();
    for token in [
        "Vb1dT3mGm0mVfUe1hTqk0M6mSPp6zvLk",
        "Vb1dT3mGm0mVfUe1hTqk0M6mSPp6zvLk.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmE=",
        "Vb1dT3mGm0mVfUe1hTqk0M6mSPp6zvLk.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmE%3D",
    ] {
        let wrong = error(&verifier, token);
        assert_eq!(wrong, Error::SessionToken);
        assert!(wrong.to_string().contains("/token"));
    }
}

#[test]
fn an_encrypted_token() {
    let wrong = error(&TestKit::new().verifier(), "eyJh.eyJh.eyJh.eyJh.eyJh");
    assert_eq!(wrong, Error::Encrypted);
    assert!(wrong.to_string().contains("encrypted"));
}

#[test]
fn the_log_names_what_was_expected_and_the_answer_does_not() {
    let kit = TestKit::new();
    let wrong = error(&kit.verifier(), &kit.token(&json!({ "iss": "http://localhost:3000" })));
    let received = "`http://localhost:3000`".to_owned();
    assert_eq!(wrong, Error::WrongIssuer { expected: vec![ISSUER.to_owned()], received });
    assert!(wrong.to_string().contains(ISSUER) && wrong.to_string().contains("localhost:3000"));
    assert!(!wrong.public_description().contains("test"));
    let wrong = error(&kit.verifier(), &kit.token(&json!({ "aud": ["a", "b"] })));
    assert!(wrong.to_string().contains(AUDIENCE) && wrong.to_string().contains("[`a`, `b`]"), "{wrong}");
}

#[test]
fn what_a_token_says_is_repeated_short_and_without_control_characters() {
    let kit = TestKit::new();
    let nasty = format!("x\r\nfake log line\u{1b}[31m{}", "y".repeat(1000));
    for wrong in [
        error(&kit.verifier(), &kit.token(&json!({ "iss": nasty }))),
        error(&kit.verifier(), &kit.token(&json!({ "aud": [nasty, nasty] }))),
        error(&kit.verifier(), &kit.sign(&json!({ "alg": "EdDSA", "kid": nasty }).to_string(), b"{}")),
        error(&kit.verifier(), &kit.sign(&json!({ "alg": nasty }).to_string(), b"{}")),
    ] {
        let text = wrong.to_string();
        assert!(!text.contains(['\r', '\n', '\u{1b}']) && text.len() < 700, "{text}");
    }
}

#[test]
fn an_unknown_key_an_expired_and_an_early_token() {
    let kit = TestKit::new();
    let other = TestKit::new().with_kid("other");
    let wrong = error(&kit.verifier(), &other.token(&json!({})));
    assert_eq!(wrong, Error::UnknownKid(Some("other".to_owned())));
    let wrong = error(&kit.verifier(), &kit.token(&json!({ "exp": 5 })));
    assert_eq!(wrong.kind(), Kind::Expired);
    assert!(wrong.to_string().contains("expired"));
    let wrong = error(&kit.verifier(), &kit.token(&json!({ "nbf": 4_000_000_000_u64 })));
    assert!(wrong.to_string().contains("clocks"));
}

#[test]
fn no_error_and_no_debug_text_has_a_token_or_a_secret_in_it() {
    let secret = b"a secret of at least 32 bytes, no less";
    let kit = TestKit::with_secret(Algorithm::HS256, secret);
    let jwk = kit.jwk();
    let (verifier, key) = (kit.verifier(), portcullis_verify::Key::from_jwk(&jwk).unwrap());
    let builder = kit.builder().jwks_json(&kit.jwks());
    for shown in [format!("{kit:?}"), format!("{verifier:?}"), format!("{key:?}"), format!("{builder:?}")] {
        assert!(!shown.contains(jwk["k"].as_str().unwrap()) && !shown.contains("97, 32, 115"), "{shown}");
    }
    let token = kit.token(&json!({ "sub": "u1", "iss": "x" }));
    let signature = token.rsplit_once('.').unwrap().1;
    let bent = token.replace(signature, "AAAA");
    for token in [token.clone(), bent, format!("{token}.{token}"), format!("{token}x")] {
        let wrong = error(&verifier, &token);
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!format!("{wrong} {wrong:?}").contains(part), "{wrong}");
        }
    }
    let broken = jwk["k"].as_str().unwrap();
    for json in
        [format!("{{\"k\":\"{broken}\""), format!("\"{broken}\""), format!("{{\"keys\":\"{broken}\"}}")]
    {
        let wrong = portcullis_verify::KeySet::from_json(&json).unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains(broken));
        let wrong = portcullis_verify::Key::from_jwk_json(&json).unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains(broken));
    }
}

#[test]
fn public_descriptions_are_what_a_header_may_have() {
    let all = [
        Error::Missing,
        Error::BadHeader,
        Error::SessionToken,
        Error::Encrypted,
        Error::TooLong,
        Error::AlgorithmNone,
        Error::BadSignature,
        Error::Expired { at: 0, now: 1 },
        Error::NotYetValid { at: 1, now: 0 },
        Error::WrongIssuer { expected: vec![], received: String::new() },
        Error::WrongAudience { expected: vec![], received: String::new() },
        Error::KeysUnavailable { retry_after: 1 },
        Error::Revoked,
        Error::MissingScope(vec![]),
        Error::NoLayer,
    ];
    for one in all {
        let text = one.public_description();
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'));
    }
}
