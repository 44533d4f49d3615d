//! Which keys are taken, and which are refused.

use portcullis_verify::testing::TestKit;
use portcullis_verify::{Algorithm, Key, KeyError, KeySet};
use serde_json::{Map, Value, json};

fn jwk(kit: &TestKit, changes: Value) -> Map<String, Value> {
    let mut jwk = kit.jwk();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.remove(name);
        } else {
            jwk.insert(name.clone(), value.clone());
        }
    }
    jwk
}

#[test]
fn alg_use_and_key_ops_that_disagree_are_refused() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256] {
        let kit = TestKit::generate(algorithm);
        let read = |changes| Key::from_jwk(&jwk(&kit, changes));
        for good in
            [json!({}), json!({ "use": "sig" }), json!({ "key_ops": ["sign", "verify"], "use": "sig" })]
        {
            assert!(read(good).is_ok());
        }
        for bad in [
            json!({ "use": "enc" }),
            json!({ "use": "" }),
            json!({ "use": 1 }),
            json!({ "key_ops": [] }),
            json!({ "key_ops": ["sign"] }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "key_ops": "verify" }),
            json!({ "kid": 1 }),
            json!({ "kty": null }),
            json!({ "kty": "XYZ" }),
            json!({ "alg": 1 }),
            json!({ "alg": "none" }),
            json!({ "alg": "RSA-OAEP" }),
            json!({ "alg": "A256GCM" }),
        ] {
            assert!(read(bad.clone()).is_err(), "{algorithm} with {bad}");
        }
        for other in Algorithm::ALL {
            let same_family = algorithm.key_type() == other.key_type()
                && (algorithm.key_type() == "RSA" || algorithm.key_type() == "oct");
            if other != algorithm && !same_family {
                assert!(read(json!({ "alg": other.name() })).is_err(), "{algorithm} as {other}");
            }
            if other != algorithm {
                assert!(Key::from_jwk_for(other, &kit.jwk()).is_err(), "{algorithm} for {other}");
            }
        }
    }
}

#[test]
fn a_key_without_alg_is_bound_by_its_kind() {
    let of = |algorithm, changes| {
        let key = Key::from_jwk(&jwk(&TestKit::generate(algorithm), changes))?;
        Ok::<_, KeyError>(key.algorithms().collect::<Vec<_>>())
    };
    assert_eq!(of(Algorithm::EdDSA, json!({ "alg": null })).unwrap(), [Algorithm::EdDSA]);
    assert_eq!(of(Algorithm::ES384, json!({ "alg": null })).unwrap(), [Algorithm::ES384]);
    assert_eq!(of(Algorithm::PS384, json!({ "alg": null })).unwrap().len(), 6);
    assert!(of(Algorithm::HS256, json!({ "alg": null })).is_err());
}

#[test]
fn a_member_that_is_missing_broken_or_of_the_wrong_length_is_refused() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES512, Algorithm::RS256] {
        let kit = TestKit::generate(algorithm);
        for name in ["x", "y", "n", "e", "crv", "kty"] {
            if !kit.jwk().contains_key(name) {
                continue;
            }
            for bad in
                [json!(null), json!(""), json!(1), json!("é"), json!("AAA="), json!("A".repeat(99_999))]
            {
                let broken = jwk(&kit, json!({ name: bad }));
                assert!(Key::from_jwk(&broken).is_err(), "{algorithm} with {name} = {bad:.20}");
            }
        }
    }
}

#[test]
fn a_key_does_not_verify_for_an_algorithm_that_it_is_not_for() {
    for (own, other) in [
        (Algorithm::HS256, Algorithm::HS512),
        (Algorithm::RS256, Algorithm::PS256),
        (Algorithm::EdDSA, Algorithm::ES256),
        (Algorithm::ES256, Algorithm::HS256),
    ] {
        let kit = TestKit::generate(own);
        let key = Key::from_jwk(&kit.jwk()).unwrap();
        let verify = |alg: Algorithm| {
            let token = kit.sign(&json!({ "alg": alg.name() }).to_string(), b"{}");
            portcullis_verify::Jws::parse(&token).unwrap().verify(&key)
        };
        assert_eq!(verify(own), Ok(()));
        let refused = portcullis_verify::Error::WrongAlgorithmForKey { token: other, key: own };
        assert_eq!(verify(other), Err(refused));
    }
}

#[test]
fn a_point_outside_its_curve_is_refused() {
    let kit = TestKit::generate(Algorithm::ES256);
    let broken = jwk(&kit, json!({ "y": kit.jwk()["x"] }));
    assert!(matches!(Key::from_jwk(&broken), Err(KeyError::Malformed(_))));
}

#[test]
fn a_short_secret_is_refused() {
    assert!(matches!(Key::from_secret(Algorithm::HS256, &[1; 31]), Err(KeyError::Weak(_))));
    assert!(Key::from_secret(Algorithm::HS256, &[1; 32]).is_ok());
    assert!(matches!(Key::from_secret(Algorithm::EdDSA, &[1; 32]), Err(KeyError::Disagrees(_))));
    for (algorithm, least) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        use base64::Engine as _;
        let of = |len| {
            let k = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![1; len]);
            Key::from_jwk_json(&json!({ "kty": "oct", "alg": algorithm, "k": k }).to_string())
        };
        assert!(matches!(of(least - 1), Err(KeyError::Weak(_))));
        assert!(of(least).is_ok());
    }
}

const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

/// RFC 8037 §A.4.
const SIGNED: &str = concat!(
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
);

/// A DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match len {
        0..=127 => out.push(len as u8),
        128..=255 => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(content);
    out
}

fn pem(algorithm: &[u8], key: &[u8]) -> String {
    use base64::Engine as _;
    let info = der(0x30, &[der(0x30, algorithm), der(0x03, &[&[0], key].concat())].concat());
    let body = base64::engine::general_purpose::STANDARD.encode(info);
    format!("-----BEGIN PUBLIC KEY-----\r\n{body}\r\n-----END PUBLIC KEY-----")
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
}

#[test]
fn public_keys_in_pem_verify() {
    let jws = portcullis_verify::Jws::parse(SIGNED).unwrap();
    jws.verify(&Key::from_pem(Algorithm::EdDSA, ED25519).unwrap()).unwrap();

    let ec = TestKit::generate(Algorithm::ES256);
    let oids =
        [der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])];
    let point = [vec![4], bytes(&ec.jwk(), "x"), bytes(&ec.jwk(), "y")].concat();
    let ec_pem = pem(&oids.concat(), &point);
    let rsa = TestKit::generate(Algorithm::PS256);
    let id = [der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), der(5, &[])].concat();
    let n = [vec![0], bytes(&rsa.jwk(), "n")].concat();
    let rsa_pem = pem(&id, &der(0x30, &[der(2, &n), der(2, &bytes(&rsa.jwk(), "e"))].concat()));
    for (kit, algorithm, pem) in [(&ec, Algorithm::ES256, &ec_pem), (&rsa, Algorithm::PS256, &rsa_pem)] {
        let verifier = kit.builder().pem(algorithm, pem).build().unwrap();
        assert!(verifier.verify_now::<Value>(&kit.token(&json!({}))).is_ok());
        for other in Algorithm::ALL {
            if other.key_type() != algorithm.key_type() || (other != algorithm && other.curve().is_some()) {
                assert!(Key::from_pem(other, pem).is_err(), "{algorithm} as {other}");
            }
        }
    }
}

#[test]
fn other_pem_documents_are_refused() {
    let private = ED25519.replace("PUBLIC", "PRIVATE");
    assert_eq!(Key::from_pem(Algorithm::EdDSA, &private).unwrap_err(), KeyError::Private);
    for pem in [
        ED25519.replace("PUBLIC KEY", "CERTIFICATE"),
        ED25519.replace("MCow", "MCo"),
        ED25519.replace("MCow", "!"),
        ED25519.repeat(2),
        String::new(),
    ] {
        assert!(Key::from_pem(Algorithm::EdDSA, &pem).is_err(), "{pem}");
    }
}

#[test]
fn a_published_set_loses_its_bad_keys_and_keeps_the_rest() {
    let good = TestKit::new().with_kid("good");
    let secret = TestKit::generate(Algorithm::HS256).with_kid("secret");
    let mut private = jwk(&TestKit::new().with_kid("private"), json!({}));
    private.insert("d".to_owned(), "AAAA".into());
    let set = json!({ "keys": [
        7,
        { "kty": "new", "kid": "new" },
        { "kty": "OKP", "crv": "X25519", "kid": "agreement", "x": "AAAA" },
        { "kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA" },
        secret.jwk(),
        private,
        good.jwk(),
        good.jwk(),
    ]});
    let (keys, skipped) = KeySet::from_published(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.len(), 1, "the same key twice is one");
    assert!(keys.find(Algorithm::EdDSA, Some("good")).is_ok());
    let mut why: Vec<_> = skipped.iter().map(|one| one.kid.as_deref()).collect();
    why.sort();
    assert_eq!(why, [None, Some("agreement"), Some("new"), Some("private"), Some("secret"), Some("short")]);
    for json in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert!(KeySet::from_published(json.as_bytes()).is_err());
    }
}

#[test]
fn of_two_keys_with_one_id_none_is_taken() {
    let (one, two) = (TestKit::new().with_kid("same"), TestKit::new().with_kid("same"));
    let third = TestKit::generate(Algorithm::ES256).with_kid("same");
    let fine = TestKit::new();
    let set = json!({ "keys": [one.jwk(), fine.jwk(), two.jwk(), third.jwk()] }).to_string();
    let (keys, _) = KeySet::from_published(set.as_bytes()).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(KeySet::from_json(&set).unwrap_err(), KeyError::DuplicateKid("same".to_owned()));
}

#[test]
fn a_set_of_an_operator_has_to_be_right() {
    let kit = TestKit::new();
    let with = |other: Value| KeySet::from_json(&json!({ "keys": [kit.jwk(), other] }).to_string());
    assert_eq!(with(json!({ "kty": "new" })).unwrap().len(), 1);
    assert!(with(json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" })).is_err());
    assert_eq!(
        with(Value::Object(TestKit::generate(Algorithm::HS256).jwk())).unwrap_err(),
        KeyError::SecretInSet
    );
}

#[test]
fn a_token_without_key_id_needs_exactly_one_key_that_fits() {
    let (one, two, es) = (TestKit::new(), TestKit::new(), TestKit::generate(Algorithm::ES256));
    let token = |kit: &TestKit| {
        let token = kit.token(&json!({}));
        let payload = token.split('.').nth(1).unwrap().to_owned();
        use base64::Engine as _;
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
        kit.sign(r#"{"alg":"EdDSA"}"#, &payload)
    };
    let verifier =
        |keys: Value| one.builder().jwks_json(&json!({ "keys": keys }).to_string()).build().unwrap();
    assert!(verifier(json!([one.jwk(), es.jwk()])).verify_now::<Value>(&token(&one)).is_ok());
    let wrong = verifier(json!([one.jwk(), two.jwk()])).verify_now::<Value>(&token(&one)).unwrap_err();
    assert_eq!(wrong, portcullis_verify::Error::UnknownKid(None));
}
