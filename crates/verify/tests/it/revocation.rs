//! Tokens that end before they expire, and what cannot be found out.

use std::time::Duration;

use async_trait::async_trait;
use portcullis_verify::testing::TestKit;
use portcullis_verify::{Error, HttpRevocation, Kind, Revocation, RevocationFailed, Verified};
use serde_json::{Value, json};

use crate::server::{Reply, Server};

struct Listed(Vec<String>);

#[async_trait]
impl Revocation for Listed {
    async fn is_revoked(&self, _token: &str, verified: &Verified) -> Result<bool, RevocationFailed> {
        let id = verified.claims().get("jti").and_then(Value::as_str);
        Ok(id.is_none_or(|id| self.0.iter().any(|one| one == id)))
    }
}

#[tokio::test]
async fn a_service_may_say_itself_what_was_revoked() {
    let kit = TestKit::new();
    let verifier = kit.verifier().with_revocation(Listed(vec!["a".to_owned()]));
    assert_eq!(
        verifier.verify::<Value>(&kit.token(&json!({ "jti": "a" }))).await.unwrap_err(),
        Error::Revoked
    );
    assert!(verifier.verify::<Value>(&kit.token(&json!({ "jti": "b" }))).await.is_ok());
    let token = kit.token(&json!({ "jti": "b" }));
    assert_eq!(verifier.verify_now::<Value>(&token).unwrap_err().kind(), Kind::Unavailable);
    assert!(kit.verifier().verify_now::<Value>(&token).is_ok(), "other routes do not ask");
}

#[tokio::test]
async fn an_endpoint_says_what_was_revoked_and_everything_else_fails_closed() {
    let kit = TestKit::new();
    let server = Server::start(Reply::Close).await;
    let verifier = kit.verifier().with_revocation(HttpRevocation::new(&server.url("/alive")).unwrap());
    let token = kit.token(&json!({}));
    let kind = async |reply: Reply| {
        server.replies(reply);
        verifier.verify::<Value>(&token).await.map(drop).map_err(|error| (error.kind(), error))
    };
    assert_eq!(kind(Reply::ok(r#"{"session":{}}"#)).await, Ok(()));
    assert!(server.last().to_lowercase().contains(&format!("authorization: bearer {token}").to_lowercase()));
    for dead in [Reply::with(401, &[], ""), Reply::ok("null"), Reply::ok(" null\n")] {
        assert_eq!(kind(dead).await, Err((Kind::Invalid, Error::Revoked)));
    }
    let elsewhere = Server::start(Reply::ok("{}")).await;
    for status in [201, 204, 301, 302, 307, 400, 403, 404, 429, 500, 503] {
        let refused = kind(Reply::with(status, &[("location", &elsewhere.url("/"))], "")).await.unwrap_err();
        assert_eq!(refused.0, Kind::Unavailable, "{status}");
        assert!(!refused.1.to_string().contains(&token));
    }
    assert_eq!(elsewhere.hits(), 0, "a token does not follow a redirect");
    for reply in [Reply::Close, Reply::Endless, Reply::Bytes(b"nonsense\r\n\r\n".to_vec())] {
        assert_eq!(kind(reply).await.unwrap_err().0, Kind::Unavailable);
    }
    let hits = server.hits();
    assert!(verifier.verify::<Value>(&kit.token(&json!({ "exp": 1 }))).await.is_err());
    assert_eq!(server.hits(), hits, "a token that is bad anyway is not sent anywhere");
}

#[tokio::test]
async fn an_answer_is_believed_for_its_time_and_failures_are_not() {
    let kit = TestKit::new();
    let server = Server::start(Reply::Close).await;
    let check = HttpRevocation::new(&server.url("/"))
        .unwrap()
        .cache_for(Duration::from_secs(3600))
        .clock(kit.clock().clone());
    let verifier = kit.verifier().with_revocation(check);
    let token = kit.token(&json!({}));
    let good = async || verifier.verify::<Value>(&token).await.is_ok();
    assert!(!good().await);
    server.replies(Reply::ok("{}"));
    assert!(good().await, "a failure is not remembered");
    server.replies(Reply::with(401, &[], ""));
    kit.clock().advance(Duration::from_millis(59_999));
    assert!(good().await);
    assert_eq!(server.hits(), 2);
    kit.clock().advance(Duration::from_millis(1));
    assert!(!good().await, "a minute is the most that is believed");
    assert!(!good().await);
    assert_eq!(server.hits(), 3);
}

#[tokio::test]
async fn without_a_cache_every_request_asks() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok("{}")).await;
    let verifier = kit.verifier().with_revocation(HttpRevocation::new(&server.url("/")).unwrap());
    for hits in 1..=3 {
        assert!(verifier.verify::<Value>(&kit.token(&json!({}))).await.is_ok());
        assert_eq!(server.hits(), hits);
    }
}

#[test]
fn tokens_are_not_sent_in_the_clear_to_other_machines() {
    assert!(HttpRevocation::new("http://auth.example/alive").is_err());
    assert!(HttpRevocation::new_allowing_http("http://auth.example/alive").is_ok());
    assert!(HttpRevocation::new("https://auth.example/alive").is_ok());
}
