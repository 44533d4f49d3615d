//! Sessions without cookies, through HTTP.

use portcullis_core::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};

use crate::features::LIST;

async fn start(options: Json) -> TestApp {
    TestApp::start(LIST, json!({ "plugins": { "bearer": options } })).await
}

/// Somebody who signed up: the bare token, and the signed one from the header.
async fn tokens(app: &TestApp) -> (String, String) {
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    let reply = app.actor().post("/sign-up/email", body).await;
    let bare = reply.expect(200)["token"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-token");
    (bare, reply.header("set-auth-token").to_owned())
}

fn bearer(app: &TestApp, value: &str) -> Actor {
    app.actor().with_header("authorization", value)
}

#[tokio::test]
async fn a_token_from_the_header_is_a_session_signed_or_bare() {
    let app = start(json!({})).await;
    let (bare, signed) = tokens(&app).await;
    assert!(signed.starts_with(&format!("{bare}.")) && signed.len() == 32 + 1 + 44, "{signed}");
    let encoded = portcullis_core::crypto::encode_uri_component(&signed);
    for value in [&bare, &signed, &encoded] {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let session = bearer(&app, &format!("{scheme} {value}")).get("/get-session").await.expect(200);
            assert_eq!(session["session"]["token"], bare.as_str(), "{scheme} {value}");
        }
    }
}

#[tokio::test]
async fn with_require_signature_a_bare_token_is_nobody() {
    let app = start(json!({ "requireSignature": true })).await;
    let (bare, signed) = tokens(&app).await;
    assert_eq!(bearer(&app, &format!("Bearer {bare}")).get("/get-session").await.expect(200), Json::Null);
    assert_ne!(bearer(&app, &format!("Bearer {signed}")).get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test]
async fn what_is_not_a_good_token_is_nobody() {
    let app = start(json!({})).await;
    let (bare, signed) = tokens(&app).await;
    let values = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        format!("Basic {bare}"),
        format!("Bearer{bare}"),
        format!("Bearer {bare}.{}=", "A".repeat(43)),
        format!("Bearer {}", &signed[..signed.len() - 2]),
        format!("Bearer {bare}."),
        "Bearer %FF".to_owned(),
        "Bärer x".to_owned(),
    ];
    for value in values {
        let reply = bearer(&app, &value).get("/get-session").await;
        assert_eq!(reply.expect(200), Json::Null, "{value}");
        bearer(&app, &value).get("/list-sessions").await.refused(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_token_in_the_header_wins_over_a_cookie_and_a_bad_one_does_not() {
    let app = start(json!({})).await;
    let (bare, _) = tokens(&app).await;
    let eve = app.user("eve").await;
    let email = async |actor: &Actor| actor.get("/get-session").await.expect(200)["user"]["email"].clone();
    assert_eq!(email(&eve.with_header("authorization", &format!("Bearer {bare}"))).await, "ada@example.com");
    assert_eq!(email(&eve.with_header("authorization", "Bearer a.b")).await, "eve@example.com");
}

#[tokio::test]
async fn a_session_from_the_header_is_no_cookie_for_the_origin_check() {
    let app = start(json!({})).await;
    let (bare, _) = tokens(&app).await;
    let program = bearer(&app, &format!("Bearer {bare}")).with_header("origin", "");
    program.post("/update-user", json!({ "name": "A" })).await.expect(200);
    // With cookies beside it the browser's rules hold.
    let eve = app.user("eve").await.with_header("authorization", &format!("Bearer {bare}"));
    eve.with_header("origin", "")
        .post("/update-user", json!({ "name": "B" }))
        .await
        .refused(403, "MISSING_OR_NULL_ORIGIN");
}

#[tokio::test]
async fn a_signed_out_token_is_nobody_and_nothing_is_exposed() {
    let app = start(json!({})).await;
    let (bare, _) = tokens(&app).await;
    let ada = bearer(&app, &format!("Bearer {bare}"));
    let reply = ada.post_empty("/sign-out").await;
    reply.expect(200);
    assert_eq!(reply.header("set-auth-token"), "");
    assert_eq!(ada.get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test]
async fn without_the_room_the_header_is_nothing() {
    let app = TestApp::start(LIST, json!({})).await;
    app.user("ada").await;
    let token = app.auth.db().list("session", &portcullis_core::store::Query::all()).await.unwrap().remove(0);
    let token = token.text("token").unwrap().to_owned();
    assert_eq!(bearer(&app, &format!("Bearer {token}")).get("/get-session").await.expect(200), Json::Null);
}
