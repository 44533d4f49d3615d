//! Several sessions on one device, through HTTP.

use portcullis_core::crypto::{Secret, encode_uri_component, sign_value};
use portcullis_core::identity::Session;
use portcullis_core::store::Query;
use portcullis_core::testing::{Actor, Reply, TestApp};
use serde_json::{Value as Json, json};

use crate::features::LIST;

const PASSWORD: &str = "correct horse";

async fn start(options: Json) -> TestApp {
    TestApp::start(LIST, json!({ "plugins": { "multiSession": options } })).await
}

async fn sign_in(actor: &Actor, name: &str) -> Reply {
    let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
    actor.post("/sign-in/email", body).await
}

fn multi(token: &str) -> String {
    format!("better-auth.session_token_multi-{}", token.to_lowercase())
}

async fn token(actor: &Actor) -> String {
    let session = actor.get("/get-session").await.expect(200);
    session["session"]["token"].as_str().unwrap_or_default().to_owned()
}

async fn emails(actor: &Actor) -> Vec<String> {
    let list = actor.get("/multi-session/list-device-sessions").await.expect(200);
    list.as_array().unwrap().iter().map(|one| one["user"]["email"].as_str().unwrap().to_owned()).collect()
}

async fn rows(app: &TestApp) -> usize {
    app.auth.db().list(Session::KEY, &Query::all()).await.unwrap().len()
}

/// One device on which ada and then grace signed in; both tokens.
async fn two(app: &TestApp) -> (Actor, String, String) {
    app.user("grace").await;
    let device = app.user("ada").await;
    let ada = token(&device).await;
    app.advance(1);
    sign_in(&device, "grace").await.expect(200);
    let grace = token(&device).await;
    (device, ada, grace)
}

#[tokio::test]
async fn a_session_is_kept_in_a_cookie_like_the_session_cookie() {
    let app = start(json!({})).await;
    let reply = {
        app.user("ada").await;
        sign_in(&app.actor(), "ada").await
    };
    let body = reply.expect(200);
    let name = multi(body["token"].as_str().unwrap());
    let cookies = reply.set_cookies();
    let own = cookies.iter().find(|c| c.starts_with("better-auth.session_token=")).unwrap();
    let kept = cookies.iter().find(|c| c.starts_with(&name)).unwrap();
    assert_eq!(kept.split_once('=').unwrap().1, own.split_once('=').unwrap().1);
}

#[tokio::test]
async fn a_device_lists_its_sessions_and_switches_between_them() {
    let app = start(json!({})).await;
    let (device, ada, _) = two(&app).await;
    assert_eq!(emails(&device).await, ["ada@example.com", "grace@example.com"]);
    let switched = device.post("/multi-session/set-active", json!({ "sessionToken": ada })).await.expect(200);
    assert_eq!(switched["user"]["email"], "ada@example.com");
    assert_eq!(token(&device).await, ada);
    assert_eq!(emails(&device).await.len(), 2);
    // The kept cookie alone is enough.
    device.drop_cookie("better-auth.session_token");
    device.post("/multi-session/set-active", json!({ "sessionToken": ada })).await.expect(200);
    assert_eq!(token(&device).await, ada);
}

#[tokio::test]
async fn without_cookies_the_list_is_empty() {
    let app = start(json!({})).await;
    assert_eq!(app.actor().get("/multi-session/list-device-sessions").await.expect(200), json!([]));
    let ada = app.user("ada").await;
    ada.drop_cookie(&multi(&token(&ada).await));
    assert!(emails(&ada).await.is_empty());
}

#[tokio::test]
async fn revoking_the_active_session_makes_another_one_active() {
    let app = start(json!({})).await;
    let (device, ada, grace) = two(&app).await;
    device.post("/multi-session/revoke", json!({ "sessionToken": grace })).await.expect(200);
    assert_eq!(token(&device).await, ada);
    assert_eq!(emails(&device).await, ["ada@example.com"]);
    assert!(device.cookie(&multi(&grace)).is_none());
    device.post("/multi-session/revoke", json!({ "sessionToken": ada })).await.expect(200);
    assert!(device.cookies().is_empty(), "{:?}", device.cookies());
    // Grace's first sign-in, on another device, is still there.
    assert_eq!(rows(&app).await, 1);
}

#[tokio::test]
async fn revoking_a_waiting_session_leaves_the_active_one() {
    let app = start(json!({})).await;
    let (device, ada, grace) = two(&app).await;
    let thief = device.copy();
    let reply = device.post("/multi-session/revoke", json!({ "sessionToken": ada })).await;
    reply.expect(200);
    assert_eq!(reply.set_cookies().len(), 1);
    assert_eq!(token(&device).await, grace);
    thief
        .post("/multi-session/set-active", json!({ "sessionToken": ada }))
        .await
        .refused(401, "INVALID_SESSION_TOKEN");
}

#[tokio::test]
async fn revoke_needs_a_session_and_a_body() {
    let app = start(json!({})).await;
    let (device, ada, _) = two(&app).await;
    device.post("/multi-session/revoke", json!({})).await.refused(400, "VALIDATION_ERROR");
    device
        .post("/multi-session/set-active", json!({ "sessionToken": 1 }))
        .await
        .refused(400, "VALIDATION_ERROR");
    device.drop_cookie("better-auth.session_token");
    device.post("/multi-session/revoke", json!({ "sessionToken": ada })).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn signing_in_again_as_the_same_user_replaces_the_session() {
    let app = start(json!({})).await;
    let device = app.user("ada").await;
    let first = token(&device).await;
    let reply = sign_in(&device, "ada").await;
    reply.expect(200);
    let ended = reply.set_cookies().into_iter().find(|c| c.starts_with(&multi(&first))).unwrap();
    assert!(ended.contains("Max-Age=0"), "{ended}");
    assert_eq!(rows(&app).await, 1);
    assert_eq!(emails(&device).await.len(), 1);
    // Elsewhere the same user stays signed in.
    sign_in(&app.actor(), "ada").await.expect(200);
    assert_eq!(rows(&app).await, 2);
    assert_ne!(token(&device).await, "");
}

#[tokio::test]
async fn a_session_that_is_over_gives_way_to_the_users_next_one() {
    let app = start(json!({})).await;
    let device = app.user("ada").await;
    let first = token(&device).await;
    app.advance(700_000);
    let reply = sign_in(&device, "ada").await;
    reply.expect(200);
    let ended = reply.set_cookies().into_iter().find(|c| c.starts_with(&multi(&first))).unwrap();
    assert!(ended.contains("Max-Age=0"), "{ended}");
    assert_eq!(rows(&app).await, 1);
    assert_eq!(emails(&device).await, ["ada@example.com"]);
}

#[tokio::test]
async fn a_full_device_keeps_no_further_session_but_signs_in() {
    let app = start(json!({ "maximumSessions": 2 })).await;
    app.user("third").await;
    let (device, ..) = two(&app).await;
    let reply = sign_in(&device, "third").await;
    reply.expect(200);
    assert!(!reply.set_cookies().iter().any(|c| c.contains("_multi-")));
    assert_eq!(emails(&device).await, ["ada@example.com", "grace@example.com"]);
    let active = device.get("/get-session").await.expect(200);
    assert_eq!(active["user"]["email"], "third@example.com");
    // In place of a session of the same user there is room.
    sign_in(&device, "ada").await.expect(200);
    assert_eq!(emails(&device).await.len(), 2);
}

#[tokio::test]
async fn signing_out_ends_every_session_of_the_device_and_no_other() {
    let app = start(json!({})).await;
    let (device, ..) = two(&app).await;
    let thief = device.copy();
    device.post_empty("/sign-out").await.expect(200);
    assert!(device.cookies().is_empty(), "{:?}", device.cookies());
    assert!(emails(&thief).await.is_empty());
    assert_eq!(rows(&app).await, 1);
}

#[tokio::test]
async fn forged_and_unsigned_cookies_reach_nobodys_session() {
    let app = start(json!({})).await;
    let victim = app.user("victim").await;
    let stolen = token(&victim).await;
    let attacker = app.user("attacker").await;
    let own = attacker.cookie(&multi(&token(&attacker).await)).unwrap();
    let forged = encode_uri_component(&format!("{stolen}.{}=", "A".repeat(43)));
    for value in [stolen.clone(), forged, own] {
        attacker.set_cookie(&multi(&stolen), &value);
        let name = json!({ "sessionToken": stolen });
        attacker.post("/multi-session/set-active", name.clone()).await.refused(401, "INVALID_SESSION_TOKEN");
        attacker.post("/multi-session/revoke", name).await.refused(401, "INVALID_SESSION_TOKEN");
        assert_eq!(emails(&attacker).await, ["attacker@example.com"]);
    }
    attacker.post_empty("/sign-out").await.expect(200);
    assert_eq!(token(&victim).await, stolen);
}

#[tokio::test]
async fn a_thousand_made_up_cookies_do_not_count_and_are_not_looked_up() {
    let app = start(json!({ "maximumSessions": 1 })).await;
    app.user("ada").await;
    let device = app.actor();
    for n in 0..1000 {
        device.set_cookie(&multi(&format!("x{n}")), "made-up");
    }
    assert!(emails(&device).await.is_empty());
    let reply = sign_in(&device, "ada").await;
    reply.expect(200);
    assert_eq!(reply.set_cookies().len(), 2, "{:?}", reply.set_cookies());
}

#[tokio::test]
async fn an_expired_session_is_neither_listed_nor_activated() {
    let app = start(json!({})).await;
    let (device, ada, _) = two(&app).await;
    app.advance(604_800);
    assert!(emails(&device).await.is_empty());
    let reply = device.post("/multi-session/set-active", json!({ "sessionToken": ada })).await;
    reply.refused(401, "INVALID_SESSION_TOKEN");
    assert!(device.cookie(&multi(&ada)).is_none());
}

#[tokio::test]
async fn a_changed_password_that_ends_all_sessions_keeps_the_new_one_on_the_device() {
    let app = start(json!({})).await;
    let (device, ..) = two(&app).await;
    let body =
        json!({ "currentPassword": PASSWORD, "newPassword": "another horse", "revokeOtherSessions": true });
    let renewed = device.post("/change-password", body).await.expect(200)["token"].clone();
    assert_eq!(token(&device).await, renewed);
    assert_eq!(emails(&device).await, ["ada@example.com", "grace@example.com"]);
}

#[tokio::test]
async fn a_token_signed_under_its_name_with_another_secret_is_nothing() {
    let app = start(json!({})).await;
    let victim = app.user("victim").await;
    let stolen = token(&victim).await;
    let signed = sign_value(&Secret::from("another-secret-of-32-characters!"), &stolen);
    let device = app.actor();
    device.set_cookie(&multi(&stolen), &encode_uri_component(&signed));
    device
        .post("/multi-session/set-active", json!({ "sessionToken": stolen }))
        .await
        .refused(401, "INVALID_SESSION_TOKEN");
}
