//! Every vector of Wycheproof's JOSE files gets a verdict, and every verdict is counted.

use portcullis_verify::{Jws, Key, KeyError, KeySet};
use serde_json::{Map, Value};

const SIGNATURES: &str = include_str!("../data/wycheproof/json_web_signature_test.json");
const KEYS: &str = include_str!("../data/wycheproof/json_web_key_test.json");

/// Vectors whose verdict is not shared here: all are called valid and refused, but two that are called
/// invalid and cannot be.
const NOT_SHARED: [(u64, &str); 8] = [
    (
        346,
        "a PS384 signature for a JWK whose `alg` is PS256: RFC 7517 §4.4; vectors 337 to 340 refuse it, too",
    ),
    (347, "the JWK's `alg` is ES521, which is no algorithm"),
    (350, "as 346"),
    (351, "as 347"),
    (367, "`invalidBase64Padding` is, letter for letter, the valid vector 357"),
    (370, "as 367"),
    (372, "a `?` in the header's base64url: RFC 7515 §2"),
    (373, "a `?` in the payload's base64url: RFC 7515 §2"),
];

struct Vector {
    id: u64,
    jws: String,
    valid: bool,
    /// The public key or keys; for HMAC, the secret.
    key: Map<String, Value>,
}

fn vectors(file: &str) -> Vec<Vector> {
    let file: Value = serde_json::from_str(file).unwrap();
    let mut all = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]).as_object().unwrap();
        for test in group["tests"].as_array().unwrap() {
            let valid = match test["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("a verdict of another kind: {other}"),
            };
            all.push(Vector {
                id: test["tcId"].as_u64().unwrap(),
                jws: test["jws"].as_str().unwrap().to_owned(),
                valid,
                key: key.clone(),
            });
        }
    }
    assert_eq!(all.len() as u64, file["numberOfTests"].as_u64().unwrap());
    all
}

fn is_accepted(key: &Map<String, Value>, jws: &str) -> bool {
    Key::from_jwk(key).is_ok_and(|key| Jws::parse(jws).is_ok_and(|jws| jws.verify(&key).is_ok()))
}

#[test]
fn all_signature_vectors_get_the_right_verdict() {
    let all = vectors(SIGNATURES);
    assert_eq!(all.len(), 401);
    let (mut accepted, mut refused, mut not_shared) = (0, 0, Vec::new());
    for vector in &all {
        let verdict = is_accepted(&vector.key, &vector.jws);
        if verdict != vector.valid {
            not_shared.push(vector.id);
        } else if verdict {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    assert_eq!(not_shared, NOT_SHARED.map(|(id, _)| id));
    assert_eq!((accepted, refused), (40, 353));
}

#[test]
fn the_reasons_for_other_verdicts_hold() {
    let all = vectors(SIGNATURES);
    let of = |id: u64| all.iter().find(|vector| vector.id == id).unwrap();
    // The signatures themselves are right: with an `alg` that agrees they are accepted.
    for (id, alg) in [(346, "PS384"), (350, "PS384"), (347, "ES512"), (351, "ES512")] {
        let mut key = of(id).key.clone();
        key.insert("alg".to_owned(), alg.into());
        assert!(is_accepted(&key, &of(id).jws), "{id}");
    }
    for id in [367, 370] {
        assert_eq!(of(id).jws, of(357).jws);
    }
    for id in [372, 373] {
        assert_eq!(of(id).jws.replace('?', ""), of(357).jws);
    }
}

#[test]
fn all_key_vectors_get_the_right_verdict() {
    let all = vectors(KEYS);
    assert_eq!(all.len(), 26);
    let (mut accepted, mut refused) = (0, 0);
    for vector in &all {
        let set = KeySet::from_json(&Value::Object(vector.key.clone()).to_string());
        let verdict = set.is_ok_and(|set| {
            Jws::parse(&vector.jws).is_ok_and(|jws| {
                jws.algorithm()
                    .and_then(|algorithm| set.find(algorithm, jws.header().kid.as_deref()).cloned())
                    .is_ok_and(|key| jws.verify(&key).is_ok())
            })
        });
        assert_eq!(verdict, vector.valid, "vector {}", vector.id);
        if verdict { accepted += 1 } else { refused += 1 }
    }
    assert_eq!((accepted, refused), (5, 21));
}

#[test]
fn keys_are_refused_for_the_right_reason() {
    let all = vectors(KEYS);
    let refusal = |id: u64| {
        let vector = all.iter().find(|vector| vector.id == id).unwrap();
        KeySet::from_published(Value::Object(vector.key.clone()).to_string().as_bytes())
            .map(|(set, skipped)| (set.len(), skipped.first().map(|one| one.why.clone())))
            .unwrap()
    };
    let weak = |id: u64, word: &str| match refusal(id) {
        (0, Some(KeyError::Weak(why))) => assert!(why.contains(word), "{id}: {why}"),
        other => panic!("{id}: {other:?}"),
    };
    weak(7, "CVE-2017-15361");
    weak(8, "2048");
    weak(9, "exponent");
    for id in [10, 11, 12, 16, 17, 18] {
        weak(id, "hash");
    }
    assert!(matches!(refusal(19), (0, Some(KeyError::Unsupported(_)))));
    assert!(matches!(refusal(21), (0, Some(KeyError::Disagrees(_)))));
    assert!(matches!(refusal(22), (0, Some(KeyError::Malformed(_)))));
}
