//! Keys from a server that is up, down, slow, hostile or confused.

use std::time::Duration;

use portcullis_verify::testing::TestKit;
use portcullis_verify::{Algorithm, Error, Verifier};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::{PATIENCE, Reply, Server, eventually};

fn verifier(kit: &TestKit, server: &Server) -> Verifier {
    kit.builder().jwks_url(server.url("/jwks")).build().unwrap()
}

async fn is_good(verifier: &Verifier, token: &str) -> bool {
    verifier.verify::<Value>(token).await.is_ok()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn keys_are_fetched_when_first_needed_and_then_kept() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    let verifier = verifier(&kit, &server);
    let token = kit.token(&json!({}));
    assert!(matches!(verifier.verify_now::<Value>(&token), Err(Error::KeysUnavailable { .. })));
    assert!(is_good(&verifier, &token).await);
    assert!(verifier.verify_now::<Value>(&token).is_ok());
    assert!(is_good(&verifier.clone(), &token).await);
    assert_eq!(server.hits(), 1);
    assert!(server.last().starts_with("GET /jwks HTTP/1.1\r\n"));
    assert!(!server.last().to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn warming_up_fetches_once_and_says_when_it_failed() {
    let kit = TestKit::new();
    let server = Server::start(Reply::Close).await;
    let verifier = verifier(&kit, &server);
    assert!(matches!(verifier.warm_up().await, Err(Error::KeysUnavailable { .. })));
    server.replies(Reply::ok(&kit.jwks()));
    kit.clock().advance(seconds(1));
    verifier.warm_up().await.unwrap();
    verifier.warm_up().await.unwrap();
    assert!(verifier.verify_now::<Value>(&kit.token(&json!({}))).is_ok());
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn many_first_requests_make_one_fetch() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    let verifier = verifier(&kit, &server);
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (verifier.clone(), kit.token(&json!({})));
        requests.spawn(async move { is_good(&verifier, &token).await });
    }
    assert!(requests.join_all().await.into_iter().all(|good| good));
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn fifty_parallel_requests_with_an_unknown_kid_make_one_fetch() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    let verifier = verifier(&kit, &server);
    verifier.warm_up().await.unwrap();
    kit.clock().advance(seconds(30));
    let mut requests = JoinSet::new();
    for at in 0..50 {
        let stranger = TestKit::new().with_kid(&format!("random {at}"));
        let (verifier, token) = (verifier.clone(), stranger.token(&json!({})));
        requests.spawn(async move { verifier.verify::<Value>(&token).await.unwrap_err() });
    }
    let errors = timeout(PATIENCE, requests.join_all()).await.unwrap();
    assert!(errors.iter().all(|error| matches!(error, Error::UnknownKid(Some(_)))), "{errors:?}");
    assert_eq!(server.hits(), 2);
    // And those that come after it, one by one, make none before their time.
    for at in 0..50 {
        let stranger = TestKit::new().with_kid(&format!("later {at}"));
        assert!(!is_good(&verifier, &stranger.token(&json!({}))).await);
    }
    kit.clock().advance(Duration::from_millis(29_999));
    assert!(!is_good(&verifier, &TestKit::new().token(&json!({}))).await);
    assert_eq!(server.hits(), 2);
    kit.clock().advance(Duration::from_millis(1));
    assert!(!is_good(&verifier, &TestKit::new().token(&json!({}))).await);
    assert_eq!(server.hits(), 3);
}

#[tokio::test]
async fn a_new_key_is_known_after_its_first_token() {
    let (old, new) = (TestKit::new(), TestKit::new());
    let server = Server::start(Reply::ok(&old.jwks())).await;
    let verifier = verifier(&old, &server);
    assert!(is_good(&verifier, &old.token(&json!({}))).await);
    server.replies(Reply::ok(&json!({ "keys": [old.jwk(), new.jwk()] }).to_string()));
    old.clock().advance(seconds(30));
    assert!(is_good(&verifier, &new.token(&json!({}))).await);
    assert!(is_good(&verifier, &old.token(&json!({}))).await);
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_server_that_is_down_leaves_the_last_good_keys() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    let verifier = verifier(&kit, &server);
    verifier.warm_up().await.unwrap();
    let bad = [
        Reply::Close,
        Reply::with(500, &[], "{}"),
        Reply::with(404, &[], &TestKit::new().jwks()),
        Reply::ok("<html>"),
        Reply::ok(r#"{"keys":[]}"#),
        Reply::ok(r#"{"keys":[{"kty":"new"}]}"#),
        Reply::Bytes(b"SSH-2.0-x\r\n".to_vec()),
    ];
    for (at, reply) in bad.into_iter().enumerate() {
        server.replies(reply);
        kit.clock().advance(seconds(3600));
        let token = kit.token(&json!({}));
        assert!(is_good(&verifier, &token).await, "{at}");
        eventually(|| server.hits() == at + 2).await;
        // A stranger's token waits for the fetch that is under way, so it has ended after it.
        assert!(!is_good(&verifier, &TestKit::new().token(&json!({}))).await);
        assert!(is_good(&verifier, &token).await, "{at}");
    }
    drop(server);
    kit.clock().advance(seconds(3600));
    assert!(is_good(&verifier, &kit.token(&json!({}))).await);
}

#[tokio::test]
async fn unknown_kids_do_not_press_a_server_that_is_down() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    let verifier = verifier(&kit, &server);
    verifier.warm_up().await.unwrap();
    server.replies(Reply::Close);
    kit.clock().advance(seconds(30));
    for hits in 2..5 {
        assert!(!is_good(&verifier, &TestKit::new().token(&json!({}))).await);
        assert_eq!(server.hits(), hits);
        kit.clock().advance(seconds(29));
        assert!(!is_good(&verifier, &TestKit::new().token(&json!({}))).await);
        assert_eq!(server.hits(), hits);
        kit.clock().advance(seconds(1));
    }
}

#[tokio::test]
async fn a_key_that_was_taken_away_is_gone_after_the_next_fetch() {
    let (old, new) = (TestKit::new(), TestKit::new());
    let server = Server::start(Reply::with(200, &[("cache-control", "max-age=60")], &old.jwks())).await;
    let verifier = verifier(&old, &server);
    verifier.warm_up().await.unwrap();
    server.replies(Reply::ok(&new.jwks()));
    old.clock().advance(seconds(60));
    let token = old.token(&json!({}));
    assert!(is_good(&verifier, &token).await, "no request waits for a renewal");
    eventually(|| verifier.verify_now::<Value>(&token).is_err()).await;
    assert!(matches!(verifier.verify_now::<Value>(&token), Err(Error::UnknownKid(_))));
}

#[tokio::test]
async fn max_age_is_honoured_within_bounds() {
    for (header, least, fresh) in [
        ("max-age=120", 119, 120),
        ("max-age=0", 29, 30),
        ("no-store", 29, 30),
        ("max-age=315360000", 3599, 3600),
        ("public", 299, 300),
    ] {
        let kit = TestKit::new();
        let server = Server::start(Reply::with(200, &[("cache-control", header)], &kit.jwks())).await;
        let verifier = verifier(&kit, &server);
        verifier.warm_up().await.unwrap();
        kit.clock().advance(seconds(least));
        assert!(is_good(&verifier, &kit.token(&json!({}))).await);
        // Another's fetch, which a renewal by this one would have come before.
        self::verifier(&kit, &server).warm_up().await.unwrap();
        assert_eq!(server.hits(), 2, "{header} was renewed too early");
        kit.clock().advance(seconds(fresh - least));
        assert!(is_good(&verifier, &kit.token(&json!({}))).await);
        eventually(|| server.hits() == 3).await;
    }
}

#[tokio::test]
async fn a_server_that_is_down_at_first_is_asked_again_later() {
    let kit = TestKit::new();
    let server = Server::start(Reply::Close).await;
    let verifier = verifier(&kit, &server);
    let token = kit.token(&json!({}));
    let refused = verifier.verify::<Value>(&token).await.unwrap_err();
    assert_eq!(refused, Error::KeysUnavailable { retry_after: 1 });
    assert!(verifier.verify::<Value>(&token).await.is_err());
    assert_eq!(server.hits(), 1, "not again at once");
    for (pause, hits) in [(1, 2), (2, 3), (4, 4), (8, 5), (16, 6), (30, 7), (30, 8)] {
        kit.clock().advance(Duration::from_millis(pause * 1000 - 1));
        assert!(!is_good(&verifier, &token).await);
        assert_eq!(server.hits(), hits - 1);
        kit.clock().advance(Duration::from_millis(1));
        assert!(!is_good(&verifier, &token).await);
        assert_eq!(server.hits(), hits);
    }
    server.replies(Reply::ok(&kit.jwks()));
    kit.clock().advance(seconds(30));
    assert!(is_good(&verifier, &token).await);
}

#[tokio::test]
async fn a_server_that_never_answers_holds_no_request_for_long() {
    for reply in [Reply::Hang, Reply::HangInBody] {
        let kit = TestKit::new();
        let server = Server::start(reply).await;
        let token = kit.token(&json!({}));
        // The request gives up before the fetch does.
        let impatient = kit
            .builder()
            .jwks_url(server.url("/"))
            .max_wait(Duration::from_millis(50))
            .fetch_timeout(seconds(600))
            .build()
            .unwrap();
        let refused = timeout(PATIENCE, impatient.verify::<Value>(&token)).await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::KeysUnavailable { .. }));
        // The fetch gives up, and another may be tried.
        let verifier = kit
            .builder()
            .jwks_url(server.url("/"))
            .max_wait(seconds(600))
            .fetch_timeout(seconds(1))
            .build()
            .unwrap();
        let refused = timeout(PATIENCE, verifier.verify::<Value>(&token)).await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::KeysUnavailable { .. }));
        server.replies(Reply::ok(&kit.jwks()));
        kit.clock().advance(seconds(1));
        assert!(is_good(&verifier, &token).await);
    }
}

#[tokio::test]
async fn a_request_that_goes_away_does_not_end_the_fetch_of_others() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    let verifier = verifier(&kit, &server);
    let token = kit.token(&json!({}));
    {
        let request = verifier.verify::<Value>(&token);
        tokio::pin!(request);
        // Polled once, which starts the fetch, and dropped.
        std::future::poll_fn(|context| {
            assert!(request.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    eventually(|| verifier.verify_now::<Value>(&token).is_ok()).await;
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let kit = TestKit::new();
    let padding = " ".repeat(300 * 1024);
    for reply in [Reply::Endless, Reply::ok(&format!("{padding}{}", kit.jwks()))] {
        let server = Server::start(reply).await;
        let verifier = kit
            .builder()
            .jwks_url(server.url("/"))
            .max_wait(seconds(600))
            .fetch_timeout(seconds(600))
            .build()
            .unwrap();
        let refused = timeout(PATIENCE, verifier.verify::<Value>(&kit.token(&json!({})))).await.unwrap();
        assert!(matches!(refused.unwrap_err(), Error::KeysUnavailable { .. }));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (kit, forger) = (TestKit::new(), TestKit::new());
    let elsewhere = Server::start(Reply::ok(&forger.jwks())).await;
    for status in [301, 302, 303, 307, 308] {
        let reply = Reply::with(status, &[("location", &elsewhere.url("/"))], "");
        let server = Server::start(reply).await;
        assert!(!is_good(&verifier(&kit, &server), &forger.token(&json!({}))).await);
        assert_eq!(server.hits(), 1);
    }
    assert_eq!(elsewhere.hits(), 0);
}

#[tokio::test]
async fn a_malformed_key_in_a_set_is_passed_over() {
    let kit = TestKit::new();
    let set = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "broken", "x": "!!!" },
        { "kty": "of the future", "kid": "f" },
        null,
        kit.jwk(),
    ]});
    let server = Server::start(Reply::ok(&set.to_string())).await;
    assert!(is_good(&verifier(&kit, &server), &kit.token(&json!({}))).await);
}

#[tokio::test]
async fn a_secret_in_a_published_set_signs_nothing() {
    let (kit, secret) = (TestKit::new(), TestKit::generate(Algorithm::HS256));
    let set = json!({ "keys": [kit.jwk(), secret.jwk()] });
    let server = Server::start(Reply::ok(&set.to_string())).await;
    let verifier = verifier(&kit, &server);
    let refused = verifier.verify::<Value>(&secret.token(&json!({}))).await.unwrap_err();
    assert_eq!(refused, Error::NeedsSecret(Algorithm::HS256));
}

#[tokio::test]
async fn keys_at_hand_need_no_server() {
    let (kit, remote) = (TestKit::new(), TestKit::new());
    let server = Server::start(Reply::Close).await;
    let verifier = kit.builder().jwks_json(&kit.jwks()).jwks_url(server.url("/")).build().unwrap();
    assert!(is_good(&verifier, &kit.token(&json!({}))).await);
    assert_eq!(server.hits(), 0);
    let refused = verifier.verify::<Value>(&remote.token(&json!({}))).await.unwrap_err();
    assert!(matches!(refused, Error::KeysUnavailable { .. }), "not 401: it may be a key of the server's");
}

#[test]
fn verifying_now_outside_of_a_runtime_neither_fetches_nor_panics() {
    let kit = TestKit::new();
    let verifier = kit.builder().jwks_url("http://127.0.0.1:9/").build().unwrap();
    let refused = verifier.verify_now::<Value>(&kit.token(&json!({}))).unwrap_err();
    assert!(matches!(refused, Error::KeysUnavailable { .. }));
}

#[test]
fn a_runtime_that_ends_during_a_fetch_leaves_the_next_one_free() {
    let kit = TestKit::new();
    let token = kit.token(&json!({}));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let server = first.block_on(Server::start(Reply::Hang));
    let verifier =
        kit.builder().jwks_url(server.url("/")).max_wait(Duration::from_millis(50)).build().unwrap();
    assert!(!first.block_on(is_good(&verifier, &token)));
    drop((server, first));
    runtime().block_on(async {
        // The same verifier; its server is gone, and it says so instead of waiting for a dead fetch.
        kit.clock().advance(seconds(1));
        let refused = timeout(PATIENCE, verifier.verify::<Value>(&token)).await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::KeysUnavailable { .. }));
    });
}

#[tokio::test]
async fn a_server_is_all_that_has_to_be_named() {
    let kit = TestKit::new();
    let server = Server::start(Reply::ok(&kit.jwks())).await;
    for (base, path) in [("", "/api/auth/jwks"), ("/", "/api/auth/jwks"), ("/auth/", "/auth/jwks")] {
        let verifier =
            Verifier::builder().server(&server.url(base)).clock(kit.clock().clone()).build().unwrap();
        let origin = server.url("");
        let token = kit.token(&json!({ "iss": origin, "aud": origin }));
        assert!(is_good(&verifier, &token).await);
        assert!(server.last().starts_with(&format!("GET {path} ")), "{}", server.last());
        assert!(!is_good(&verifier, &kit.token(&json!({}))).await, "another issuer");
    }
}
