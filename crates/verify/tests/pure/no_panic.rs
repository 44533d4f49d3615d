//! No input makes reading panic, and a changed token is never accepted.

use portcullis_verify::{Algorithm, Header, Jws, Key, KeySet, Verifier, peek};
use proptest::prelude::*;
use serde_json::Value;

/// RFC 7515 A.1.
const TOKEN: &str = concat!(
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
);

fn verifier() -> Verifier {
    let secret = r#"{"kty":"oct","alg":"HS256",
        "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    Verifier::builder()
        .jwk_json(secret)
        .issuer("joe")
        .any_audience()
        .clock(portcullis_verify::Clock::manual(1_300_819_370))
        .build()
        .unwrap()
}

fn is_accepted(token: &str) -> bool {
    let _ = Header::of(token);
    let _ = peek(token);
    let _ = Jws::parse(token).map(|jws| (jws.algorithm(), jws.claims()));
    verifier().verify_now::<Value>(token).inspect_err(|error| drop(error.to_string())).is_ok()
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof![
            "RSA", "EC", "OKP", "oct", "sig", "verify", "Ed25519", "P-256", "P-521", "RS256", "HS256"
        ]
        .prop_map(Value::from),
        "[A-Za-z0-9_-]{0,90}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec(
                (prop_oneof!["kty|crv|alg|use|kid|key_ops|k|x|y|n|e|d", "keys", "[a-z]{1,4}",], inner),
                0..9
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn the_token_that_the_others_are_made_of_is_accepted() {
    assert!(is_accepted(TOKEN));
}

#[test]
fn every_changed_letter_and_every_missing_end_is_refused() {
    for (at, was) in TOKEN.char_indices() {
        let mut bent = TOKEN.to_owned();
        bent.replace_range(at..=at, if was == 'A' { "B" } else { "A" });
        assert!(!is_accepted(&bent), "position {at}");
        assert!(!is_accepted(&TOKEN[..at]));
    }
    for extra in ["x", ".", ".x", "=", "A", " ", "\n", "\0"] {
        assert!(!is_accepted(&format!("{TOKEN}{extra}")), "{extra:?} behind");
        assert!(!is_accepted(&format!("{extra}{TOKEN}")), "{extra:?} before");
    }
}

proptest! {
    #[test]
    fn no_text_is_accepted_or_panics(
        text in any::<String>(),
        dotted in "[A-Za-z0-9_é.=-]{0,200}",
        parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}",
    ) {
        for text in [text, dotted, parts] {
            prop_assert!(!is_accepted(&text));
        }
    }

    #[test]
    fn no_bytes_in_place_of_some_letters_are_accepted_or_panic(
        at in 0..TOKEN.len(), len in 0_usize..9, put in "[ -~é]{0,9}",
    ) {
        let end = (at + len).min(TOKEN.len());
        let mut bent = TOKEN.to_owned();
        bent.replace_range(at..end, &put);
        prop_assert!(bent == TOKEN || !is_accepted(&bent));
    }

    #[test]
    fn no_header_and_no_payload_panic(header in json(), payload in json(), tail in "[A-Za-z0-9_-]{0,8}") {
        use base64::Engine as _;
        let encode = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.{tail}", encode(&header), encode(&payload));
        prop_assert!(!is_accepted(&token));
    }

    #[test]
    fn no_json_makes_reading_keys_panic(value in json(), bytes in any::<Vec<u8>>()) {
        let text = value.to_string();
        let _ = Key::from_jwk_json(&text);
        let _ = KeySet::from_json(&text);
        let _ = KeySet::from_published(text.as_bytes());
        let _ = KeySet::from_json(&format!(r#"{{"keys":[{text}]}}"#));
        let _ = KeySet::from_published(&bytes);
        for algorithm in Algorithm::ALL {
            if let Value::Object(jwk) = &value {
                let _ = Key::from_jwk_for(algorithm, jwk);
            }
            let _ = Key::from_pem(algorithm, &text);
        }
    }

    #[test]
    fn no_document_makes_reading_a_pem_panic(bytes in any::<Vec<u8>>(), nested in any::<Vec<u8>>()) {
        use base64::Engine as _;
        let mut document = vec![0x30, 12, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70, 0x03];
        document.extend(nested);
        for document in [bytes, document] {
            let body = base64::engine::general_purpose::STANDARD.encode(&document);
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
            for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
                let _ = Key::from_pem(algorithm, &pem);
            }
        }
    }
}
