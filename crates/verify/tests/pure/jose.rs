//! Keys and tokens that jose 6.2.17 made on Node 20, as Better Auth does; their private halves are
//! used nowhere.

use portcullis_verify::{Algorithm, Error, Expect, Header, KeyError, peek, verify_jwt};
use serde_json::{Map, Value};

fn all() -> Vec<(Algorithm, Map<String, Value>, String)> {
    let file: Map<String, Value> = serde_json::from_str(include_str!("../data/jose.json")).unwrap();
    file.into_iter()
        .map(|(name, one)| {
            let public = one["public"].as_object().unwrap().clone();
            (name.parse().unwrap(), public, one["token"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn tokens_of_jose_are_read() {
    let all = all();
    assert_eq!(all.len(), 5);
    for (algorithm, public, token) in all {
        assert_eq!(Header::of(&token).unwrap().alg, algorithm.name());
        let claims = verify_jwt(algorithm, &public, &token).unwrap();
        assert_eq!(claims["name"], "Zoë");
        assert_eq!(peek(&token).unwrap().1, claims);
        let expect = Expect {
            issuer: Some(vec!["https://a.example".to_owned()]),
            audience: Some(vec!["https://a.example".to_owned()]),
            now: 1_700_000_899,
            leeway_secs: 0,
            require_expiry: true,
            refuse_future_issue: true,
        };
        assert_eq!(expect.check(&claims), Ok(()));
    }
}

#[test]
fn no_other_key_and_no_other_algorithm_reads_them() {
    for (algorithm, public, token) in all() {
        for (other, key, _) in all() {
            if other != algorithm {
                assert!(verify_jwt(other, &public, &token).is_err());
                assert!(verify_jwt(algorithm, &key, &token).is_err());
                assert!(verify_jwt(other, &key, &token).is_err());
            }
        }
        let refused = verify_jwt(Algorithm::HS256, &public, &token).unwrap_err();
        assert!(matches!(refused, Error::BadKey(KeyError::Disagrees(_))));
        for end in 0..token.len() {
            assert!(verify_jwt(algorithm, &public, &token[..end]).is_err());
        }
    }
}
