//! Issuer, audience, times, roles and scopes.

use std::time::Duration;

use portcullis_verify::testing::{AUDIENCE, ISSUER, START, TestKit};
use portcullis_verify::{Claims, ConfigError, Error, Verifier, VerifierBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

fn outcome(builder: VerifierBuilder, kit: &TestKit, claims: Value) -> Result<(), Error> {
    let verifier = builder.jwks_json(&kit.jwks()).build().unwrap();
    verifier.verify_now::<Value>(&kit.token(&claims)).map(drop)
}

#[test]
fn a_token_ends_at_the_edge_of_the_leeway() {
    let kit = TestKit::new();
    let at = |leeway, seconds| {
        let verifier =
            kit.builder().leeway(Duration::from_secs(leeway)).jwks_json(&kit.jwks()).build().unwrap();
        let token = kit.token(&json!({ "exp": START + 100 }));
        kit.clock().set(START + seconds);
        let outcome = verifier.verify_now::<Value>(&token).map(drop);
        kit.clock().set(START);
        outcome
    };
    let expired = |now| Err(Error::Expired { at: (START + 100) as i64, now: (START + now) as i64 });
    assert_eq!(at(0, 99), Ok(()));
    assert_eq!(at(0, 100), expired(100));
    assert_eq!(at(60, 159), Ok(()));
    assert_eq!(at(60, 160), expired(160));
}

#[test]
fn not_before_and_issued_at_count_with_the_leeway() {
    let kit = TestKit::new();
    let with = |claims| outcome(kit.builder().leeway(Duration::from_secs(10)), &kit, claims);
    assert_eq!(with(json!({ "nbf": START + 10 })), Ok(()));
    let (at, now) = ((START + 11) as i64, START as i64);
    assert_eq!(with(json!({ "nbf": START + 11 })), Err(Error::NotYetValid { at, now }));
    assert_eq!(with(json!({ "iat": START + 10 })), Ok(()));
    assert_eq!(with(json!({ "iat": START + 11 })), Err(Error::IssuedInFuture { at, now }));
    assert_eq!(with(json!({ "iat": null })), Ok(()));
}

#[test]
fn a_token_without_expiry_is_refused_unless_it_is_allowed() {
    let kit = TestKit::new();
    assert_eq!(outcome(kit.builder(), &kit, json!({ "exp": null })), Err(Error::MissingClaim("exp")));
    assert_eq!(outcome(kit.builder().allow_missing_expiry(), &kit, json!({ "exp": null })), Ok(()));
    let expired = outcome(kit.builder().allow_missing_expiry(), &kit, json!({ "exp": 5 }));
    assert!(matches!(expired, Err(Error::Expired { .. })));
}

#[test]
fn dates_of_other_types_are_refused_and_decimals_are_not() {
    let kit = TestKit::new();
    for (name, claims) in [
        ("exp", json!({ "exp": "tomorrow" })),
        ("exp", json!({ "exp": [START + 60] })),
        ("nbf", json!({ "nbf": "0" })),
        ("iat", json!({ "iat": {} })),
    ] {
        assert_eq!(outcome(kit.builder(), &kit, claims), Err(Error::InvalidClaim(name)));
    }
    assert_eq!(outcome(kit.builder(), &kit, json!({ "exp": START as f64 + 0.5 })), Ok(()));
    assert_eq!(outcome(kit.builder(), &kit, json!({ "exp": 1e300 })), Ok(()));
    assert!(matches!(outcome(kit.builder(), &kit, json!({ "exp": -1 })), Err(Error::Expired { .. })));
}

#[test]
fn issuer_and_audience_have_to_be_expected_ones() {
    let kit = TestKit::new();
    let base = || Verifier::builder().clock(kit.clock().clone());
    let strict = || base().issuer("https://other.test").issuer(ISSUER).audience("x").audience(AUDIENCE);
    assert_eq!(outcome(strict(), &kit, json!({})), Ok(()));
    assert_eq!(outcome(strict(), &kit, json!({ "aud": ["y", AUDIENCE] })), Ok(()));
    assert_eq!(outcome(strict(), &kit, json!({ "aud": "x" })), Ok(()));
    for aud in [json!("y"), json!(["y"]), json!([]), json!(1), json!({ "0": AUDIENCE }), json!([[AUDIENCE]])]
    {
        let refused = outcome(strict(), &kit, json!({ "aud": aud }));
        assert!(matches!(refused, Err(Error::WrongAudience { .. })));
    }
    for iss in [json!("https://auth.test/"), json!("HTTPS://auth.test"), json!([ISSUER]), json!(1), json!("")]
    {
        let refused = outcome(strict(), &kit, json!({ "iss": iss }));
        assert!(matches!(refused, Err(Error::WrongIssuer { .. })));
    }
    assert_eq!(outcome(strict(), &kit, json!({ "iss": null })), Err(Error::MissingClaim("iss")));
    assert_eq!(outcome(strict(), &kit, json!({ "aud": null })), Err(Error::MissingClaim("aud")));
    let any = base().any_issuer().any_audience();
    assert_eq!(outcome(any, &kit, json!({ "iss": 1, "aud": null })), Ok(()));
}

#[test]
fn a_type_is_compared_where_one_is_expected() {
    let kit = TestKit::new();
    assert_eq!(outcome(kit.builder().typ("application/jwt"), &kit, json!({})), Ok(()));
    assert_eq!(outcome(kit.builder().typ("at+jwt"), &kit, json!({})), Err(Error::WrongType));
}

#[test]
fn a_configuration_that_leaves_a_hole_is_refused() {
    let kit = TestKit::new();
    let with_key = || Verifier::builder().jwks_json(&kit.jwks());
    let refused = |builder: VerifierBuilder| builder.build().unwrap_err();
    assert_eq!(refused(with_key().audience("a")), ConfigError::NoIssuer);
    assert_eq!(refused(with_key().issuer("i")), ConfigError::NoAudience);
    assert_eq!(refused(kit.builder()), ConfigError::NoKeys);
    let minute = kit.builder().jwks_json(&kit.jwks()).leeway(Duration::from_secs(60));
    assert!(minute.build().is_ok());
    let more = kit.builder().jwks_json(&kit.jwks()).leeway(Duration::from_millis(60_001));
    assert_eq!(refused(more), ConfigError::LeewayTooLong);
    let none = kit.builder().jwks_json(&kit.jwks()).algorithms([]);
    assert_eq!(refused(none), ConfigError::NoAlgorithm);
    let other = kit.builder().jwks_json(&kit.jwks()).algorithms([portcullis_verify::Algorithm::ES256]);
    assert_eq!(refused(other), ConfigError::NoAlgorithm);
    for url in ["http://auth.example/jwks", "ftp://x/", "jwks", "https://u:p@x/"] {
        assert!(matches!(refused(kit.builder().jwks_url(url)), ConfigError::Url(_)), "{url}");
    }
}

#[derive(Debug, Deserialize)]
struct User {
    sub: String,
    email: String,
}

#[test]
fn claims_are_read_into_a_type_and_a_misfit_shows_no_value() {
    let kit = TestKit::new();
    let read = |claims| kit.verifier().verify_now::<User>(&kit.token(&claims));
    let user: Claims<User> = read(json!({ "sub": "u1", "email": "a@b.c", "role": "user" })).unwrap();
    assert_eq!((user.sub.as_str(), user.email.as_str()), ("u1", "a@b.c"));
    assert_eq!(user.token().subject(), Some("u1"));
    assert_eq!(user.token().header().kid.as_deref(), Some(kit.kid()));
    assert_eq!(user.into_inner().sub, "u1");
    let missing = read(json!({ "sub": "u1" })).unwrap_err();
    assert_eq!(missing, Error::ClaimsMismatch("missing field `email`".to_owned()));
    let wrong = read(json!({ "sub": "u1", "email": { "secret": 12345 } })).unwrap_err();
    assert!(!wrong.to_string().contains("12345") && !wrong.to_string().contains("secret"));
}

#[test]
fn roles_are_whole_words_of_a_text_or_a_list() {
    let kit = TestKit::new();
    let holds = |role: Value| {
        let claims = kit.verifier().verify_now::<Value>(&kit.token(&json!({ "role": role }))).unwrap();
        claims.token().require_any_role(&["owner", "admin"]).is_ok()
    };
    for role in [json!("admin"), json!("user,admin"), json!(" user , admin "), json!(["user", "owner"])] {
        assert!(holds(role.clone()), "{role}");
    }
    for role in [
        json!("user"),
        json!("administrator"),
        json!("Admin"),
        json!("not admin"),
        json!(""),
        json!(null),
        json!(1),
        json!({ "admin": true }),
        json!([["admin"]]),
        json!(["user,admin"]),
    ] {
        assert!(!holds(role.clone()), "{role}");
    }
}

#[test]
fn scopes_are_whole_words_of_the_first_claim_that_is_there() {
    let kit = TestKit::new();
    let holds = |claims: Value| {
        let claims = kit.verifier().verify_now::<Value>(&kit.token(&claims)).unwrap();
        claims.token().require_scopes(&["notes:read", "notes:write"]).is_ok()
    };
    assert!(holds(json!({ "scope": "notes:write x notes:read" })));
    assert!(holds(json!({ "scopes": ["notes:read", "notes:write"] })));
    assert!(holds(json!({ "scp": ["notes:read", "notes:write"] })));
    assert!(holds(json!({ "scp": "notes:read notes:write" })));
    assert!(!holds(json!({ "scope": "notes:read" })));
    assert!(!holds(json!({ "scope": "notes:read,notes:write" })));
    assert!(!holds(json!({ "scope": "", "scp": ["notes:read", "notes:write"] })));
    assert!(!holds(json!({})));
}
