//! Sessions, through HTTP. The clock stands still unless a test moves it.

use portcullis_core::crypto::{Secret, encode_uri_component, sign_value};
use portcullis_core::identity::Session;
use portcullis_core::store::{Filter, Query};
use portcullis_core::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::features::LIST;

const DAY: u64 = 86_400;
const TOKEN: &str = "better-auth.session_token";
const DATA: &str = "better-auth.session_data";
const PASSWORD: &str = "correct horse";

async fn start(session: Json) -> TestApp {
    TestApp::start(LIST, json!({ "session": session })).await
}

async fn cached(strategy: &str) -> TestApp {
    start(json!({ "cookieCache": { "enabled": true, "strategy": strategy } })).await
}

async fn read(actor: &Actor) -> Json {
    actor.get("/get-session").await.expect(200)
}

async fn rows(app: &TestApp) -> Vec<Session> {
    let rows = app.auth.db().list(Session::KEY, &Query::all()).await.unwrap();
    rows.into_iter().map(|row| Session::from_row(row).unwrap()).collect()
}

async fn sign_in(app: &TestApp, name: &str, remember: bool) -> Actor {
    let actor = app.actor();
    let body =
        json!({ "email": format!("{name}@example.com"), "password": PASSWORD, "rememberMe": remember });
    actor.post("/sign-in/email", body).await.expect(200);
    actor
}

async fn end_all(app: &TestApp) {
    app.auth.db().delete(Session::KEY, &Filter::All).await.unwrap();
}

#[tokio::test]
async fn a_session_is_there_until_sign_out() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let session = read(&ada).await;
    assert_eq!(session["user"]["email"], "ada@example.com");
    let thief = ada.copy();
    ada.post_empty("/sign-out").await.expect(200);
    assert!(ada.cookies().is_empty());
    assert_eq!(read(&thief).await, Json::Null);
}

#[tokio::test]
async fn nobody_is_an_answer_that_is_not_stored() {
    let app = start(json!({})).await;
    let reply = app.actor().get("/get-session").await;
    assert_eq!((reply.expect(200), reply.text.as_str()), (Json::Null, "null"));
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    assert!(reply.set_cookies().is_empty());
}

#[tokio::test]
async fn a_sign_out_clears_every_cookie_of_the_session() {
    let app = start(json!({})).await;
    let reply = app.user("ada").await.post_empty("/sign-out").await;
    insta::assert_snapshot!(reply.cookie_shapes(), @r"
    better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    better-auth.dont_remember=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax
    ");
    app.actor().post_empty("/sign-out").await.expect(200);
}

#[tokio::test]
async fn cookies_over_https_are_secure_and_say_so_in_their_name() {
    let settings = json!({
        "baseURL": "https://app.example.com",
        "secret": "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4",
        "advanced": { "cookiePrefix": "my-app" },
    });
    let app = TestApp::start(LIST, settings).await;
    let actor = app.actor().with_header("origin", "https://app.example.com");
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    let reply = actor.post("/sign-up/email", body).await;
    insta::assert_snapshot!(reply.cookie_shapes(), @"__Secure-my-app.session_token=[token].[signature]; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Lax");
}

#[tokio::test]
async fn a_session_is_extended_once_it_is_a_day_old_and_not_before() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let before = read(&ada).await["session"]["expiresAt"].clone();
    app.advance(DAY - 1);
    let reply = ada.get("/get-session").await;
    assert_eq!(reply.expect(200)["session"]["expiresAt"], before);
    assert!(reply.set_cookies().is_empty());
    app.advance(1);
    let reply = ada.get("/get-session").await;
    let session = reply.expect(200)["session"].clone();
    assert_eq!(session["expiresAt"], "2026-09-29T14:13:20.000Z");
    assert_eq!(session["updatedAt"], "2026-09-22T14:13:20.000Z");
    assert_eq!(session["createdAt"], "2026-09-21T14:13:20.000Z");
    insta::assert_snapshot!(reply.cookie_shapes(), @"better-auth.session_token=[token].[signature]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(rows(&app).await[0].expires_at.to_string(), "2026-09-29T14:13:20.000Z");
    // Used every day it never ends.
    for _ in 0..20 {
        app.advance(DAY);
        assert_ne!(read(&ada).await, Json::Null);
    }
}

#[tokio::test]
async fn an_unused_session_ends_after_a_week_and_its_row_goes() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    app.advance(7 * DAY + 1);
    let reply = ada.get("/get-session").await;
    assert_eq!(reply.expect(200), Json::Null);
    assert_eq!(reply.set_cookies().len(), 3);
    assert!(ada.cookies().is_empty());
    assert!(rows(&app).await.is_empty());
    ada.get("/list-sessions").await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn extension_can_be_switched_off_or_skipped() {
    let app = start(json!({ "disableSessionRefresh": true })).await;
    let ada = app.user("ada").await;
    app.advance(2 * DAY);
    assert_eq!(read(&ada).await["session"]["expiresAt"], "2026-09-28T14:13:20.000Z");
    let app = start(json!({ "expiresIn": 1000, "updateAge": 10 })).await;
    let ada = app.user("ada").await;
    app.advance(500);
    let reply = ada.get("/get-session?disableRefresh=true").await;
    assert_eq!(reply.expect(200)["session"]["expiresAt"], "2026-09-21T14:30:00.000Z");
    assert_eq!(read(&ada).await["session"]["expiresAt"], "2026-09-21T14:38:20.000Z");
}

#[tokio::test]
async fn a_session_that_is_not_remembered_lasts_a_day_and_is_never_extended() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let ada = sign_in(&app, "ada", false).await;
    app.advance(DAY);
    let reply = ada.get("/get-session").await;
    assert_eq!(reply.expect(200)["session"]["expiresAt"], "2026-09-22T14:13:20.000Z");
    assert!(reply.set_cookies().is_empty());
    app.advance(1);
    assert_eq!(read(&ada).await, Json::Null);
    assert!(ada.cookies().is_empty());
}

#[tokio::test]
async fn a_remembered_sign_in_ends_the_mark_of_one_that_was_not() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let ada = sign_in(&app, "ada", false).await;
    assert!(ada.cookie("better-auth.dont_remember").is_some());
    ada.post("/sign-in/email", json!({ "email": "ada@example.com", "password": PASSWORD })).await.expect(200);
    assert!(ada.cookie("better-auth.dont_remember").is_none());
}

#[tokio::test]
async fn a_deferred_extension_is_announced_by_get_and_done_by_post() {
    let app = start(json!({ "deferSessionRefresh": true })).await;
    let ada = app.user("ada").await;
    assert_eq!(read(&ada).await["needsRefresh"], false);
    app.advance(DAY);
    let reply = ada.get("/get-session").await;
    assert_eq!(reply.expect(200)["needsRefresh"], true);
    assert_eq!(rows(&app).await[0].expires_at.to_string(), "2026-09-28T14:13:20.000Z");
    let posted = ada.post_empty("/get-session").await.expect(200);
    assert_eq!(posted["session"]["expiresAt"], "2026-09-29T14:13:20.000Z");
    assert!(posted.get("needsRefresh").is_none());
    assert_eq!(read(&ada).await["needsRefresh"], false);
    // An ended session is not written about by GET either.
    app.advance(8 * DAY);
    assert_eq!(read(&ada.copy()).await, Json::Null);
    assert_eq!(rows(&app).await.len(), 1);
    assert_eq!(ada.post_empty("/get-session").await.expect(200), Json::Null);
    assert!(rows(&app).await.is_empty());
}

#[tokio::test]
async fn post_get_session_without_deferral_is_the_one_405() {
    let app = start(json!({})).await;
    let reply = app.user("ada").await.post_empty("/get-session").await;
    reply.refused(405, "METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED");
}

#[tokio::test]
async fn freshness_counts_from_the_sign_in_and_is_not_renewed() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    app.advance(DAY - 1);
    ada.get("/list-sessions").await.expect(200);
    app.advance(1);
    assert_ne!(read(&ada).await, Json::Null);
    ada.get("/list-sessions").await.refused(403, "SESSION_NOT_FRESH");
    ada.post("/unlink-account", json!({ "accountId": "x" })).await.refused(403, "SESSION_NOT_FRESH");
    let app = start(json!({ "freshAge": 0 })).await;
    let ada = app.user("ada").await;
    app.advance(6 * DAY);
    ada.get("/list-sessions").await.expect(200);
}

#[tokio::test]
async fn a_cookie_that_was_changed_or_signed_by_another_is_nobody() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let good = ada.cookie(TOKEN).unwrap();
    let token = rows(&app).await[0].token.clone();
    let other = sign_value(&Secret::from("another-secret-of-32-characters!"), &token);
    let bad = [
        token.clone(),
        format!("{token}."),
        good.replacen(&token[..1], if token.starts_with('x') { "y" } else { "x" }, 1),
        encode_uri_component(&other),
        good[..good.len() - 4].to_owned(),
        "%".to_owned(),
        "%FF%FE".to_owned(),
        ".".repeat(3000),
    ];
    for value in bad {
        let thief = app.actor();
        thief.set_cookie(TOKEN, &value);
        assert_eq!(read(&thief).await, Json::Null, "{value}");
        thief.get("/list-sessions").await.refused(401, "UNAUTHORIZED");
    }
    assert_ne!(read(&ada).await, Json::Null);
}

#[tokio::test]
async fn a_cache_answers_without_the_store_for_five_minutes_in_every_form() {
    for (strategy, form) in [("compact", "[compact]"), ("jwt", "[jws]"), ("jwe", "[jwe]")] {
        let app = cached(strategy).await;
        let ada = app.user("ada").await;
        let reply = ada.get("/get-session?disableCookieCache=true").await;
        assert_eq!(
            reply.cookie_shapes(),
            format!("{DATA}={form}; Max-Age=300; Path=/; HttpOnly; SameSite=Lax"),
            "{strategy}"
        );
        let before = read(&ada).await;
        end_all(&app).await;
        app.advance(299);
        assert_eq!(read(&ada).await, before, "{strategy}");
        app.advance(20);
        assert_eq!(read(&ada).await, Json::Null, "{strategy}");
        assert!(ada.cookies().is_empty(), "{strategy}");
    }
}

#[tokio::test]
async fn a_revoked_session_is_refused_at_once_where_it_matters_and_nothing_is_done() {
    for strategy in ["compact", "jwt", "jwe"] {
        let app = cached(strategy).await;
        app.user("ada").await;
        let thief = sign_in(&app, "ada", true).await;
        let ada = sign_in(&app, "ada", true).await;
        ada.post_empty("/revoke-other-sessions").await.expect(200);
        assert_ne!(read(&thief).await, Json::Null, "the cache still shows it");
        let own = rows(&app).await[0].token.clone();
        let change = json!({ "currentPassword": PASSWORD, "newPassword": "thiefs password" });
        for (path, body) in [
            ("/change-password", change),
            ("/verify-password", json!({ "password": PASSWORD })),
            ("/revoke-session", json!({ "token": own })),
            ("/revoke-sessions", json!({})),
            ("/revoke-other-sessions", json!({})),
        ] {
            thief.copy().post(path, body).await.refused(401, "UNAUTHORIZED");
        }
        let reply = thief.get("/get-session?disableCookieCache=1").await;
        assert_eq!(reply.expect(200), Json::Null);
        assert_ne!(read(&ada).await, Json::Null);
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_believed_is_thrown_away_and_signs_nobody_out() {
    for strategy in ["compact", "jwt", "jwe"] {
        let app = cached(strategy).await;
        let ada = app.user("ada").await;
        let eve = app.user("eve").await;
        let other = TestApp::start(
            LIST,
            json!({
                "secret": "another-secret-of-32-characters!",
                "session": { "cookieCache": { "enabled": true, "strategy": strategy } },
            }),
        )
        .await;
        let foreign = other.user("ada").await.cookie(DATA).unwrap();
        let versioned =
            start(json!({ "cookieCache": { "enabled": true, "strategy": strategy, "version": "2" } })).await;
        let newer = versioned.user("ada").await.cookie(DATA).unwrap();
        let mut changed = ada.cookie(DATA).unwrap();
        let last = changed.pop().unwrap();
        changed.push(if last == 'A' { 'B' } else { 'A' });
        let values =
            [eve.cookie(DATA).unwrap(), foreign, newer, changed, "eyJ9".into(), "a.b.c".into(), "%00".into()];
        for value in values {
            let caller = ada.copy();
            caller.set_cookie(DATA, &value);
            let session = read(&caller).await;
            assert_eq!(session["user"]["email"], "ada@example.com", "{strategy} {value}");
            assert!(caller.cookie(TOKEN).is_some());
            assert_ne!(caller.cookie(DATA), Some(value), "{strategy}");
        }
        // Nor is a cache anybody by itself.
        ada.drop_cookie(TOKEN);
        assert_eq!(read(&ada).await, Json::Null, "{strategy}");
    }
}

#[tokio::test]
async fn the_cache_of_another_version_is_read_again_from_the_store() {
    let old = start(json!({ "cookieCache": { "enabled": true } })).await;
    let new = start(json!({ "cookieCache": { "enabled": true, "version": "2" } })).await;
    // The same seed gives both apps the same user and session.
    let ada = old.user("ada").await;
    let there = new.user("ada").await;
    let session = read(&there).await;
    assert_eq!(read(&ada).await["session"]["token"], session["session"]["token"]);
    end_all(&new).await;
    assert_ne!(read(&there.copy()).await, Json::Null);
    there.set_cookie(DATA, &ada.cookie(DATA).unwrap());
    assert_eq!(read(&there).await, Json::Null);
}

#[tokio::test]
async fn a_large_cache_is_spread_over_cookies_and_gathered_again() {
    for strategy in ["compact", "jwt", "jwe"] {
        let app = TestApp::start(
            LIST,
            json!({
                "session": { "cookieCache": { "enabled": true, "strategy": strategy } },
                "user": { "additionalFields": { "bio": { "type": "string", "required": false } } },
            }),
        )
        .await;
        let ada = app.user("ada").await;
        assert!(ada.cookie(DATA).is_some());
        let bio: String = ('a'..='z').cycle().take(9000).collect();
        let reply = ada.post("/update-user", json!({ "bio": bio })).await;
        reply.expect(200);
        assert!(reply.set_cookies().iter().all(|line| line.len() <= 4096), "{strategy}");
        assert!(ada.cookie(DATA).is_none() && ada.cookie(&format!("{DATA}.2")).is_some(), "{strategy}");
        end_all(&app).await;
        assert_eq!(read(&ada).await["user"]["bio"], bio, "{strategy}");
        // A chunk that is missing is a cache that cannot be believed.
        let torn = ada.copy();
        torn.drop_cookie(&format!("{DATA}.1"));
        assert_eq!(read(&torn).await, Json::Null, "{strategy}");
    }
}

#[tokio::test]
async fn a_shorter_cache_leaves_no_chunks_of_the_longer_one() {
    let settings = json!({
        "session": { "cookieCache": { "enabled": true } },
        "user": { "additionalFields": { "bio": { "type": "string", "required": false } } },
    });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.user("ada").await;
    ada.post("/update-user", json!({ "bio": "x".repeat(9000) })).await.expect(200);
    ada.post("/update-user", json!({ "bio": "short" })).await.expect(200);
    let names: Vec<String> = ada.cookies().into_keys().collect();
    assert_eq!(names, [DATA, TOKEN]);
    assert_eq!(read(&ada).await["user"]["bio"], "short");
}

#[tokio::test]
async fn the_cache_of_a_session_that_is_not_remembered_ends_with_the_browser() {
    let app = cached("compact").await;
    app.user("ada").await;
    let actor = app.actor();
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "rememberMe": false });
    let reply = actor.post("/sign-in/email", body).await;
    insta::assert_snapshot!(reply.cookie_shapes(), @r"
    better-auth.session_token=[token].[signature]; Path=/; HttpOnly; SameSite=Lax
    better-auth.dont_remember=true.[signature]; Path=/; HttpOnly; SameSite=Lax
    better-auth.session_data=[compact]; Path=/; HttpOnly; SameSite=Lax
    ");
}

#[tokio::test]
async fn hidden_fields_are_not_in_the_cache() {
    let settings = json!({
        "session": { "cookieCache": { "enabled": true, "strategy": "jwt" } },
        "user": { "additionalFields": { "note": { "type": "string", "required": false, "returned": false } } },
    });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.user("ada").await;
    ada.post("/update-user", json!({ "note": "do not show" })).await.expect(200);
    let cache = ada.cookie(DATA).unwrap();
    let body = portcullis_core::crypto::base64url_decode(cache.split('.').nth(1).unwrap()).unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("ada@example.com") && !body.contains("note"), "{body}");
    assert!(read(&ada).await["user"].get("note").is_none());
}

#[tokio::test]
async fn a_user_sees_and_ends_only_their_own_sessions() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let ada = sign_in(&app, "ada", true).await;
    let eve = app.user("eve").await;
    let list = ada.get("/list-sessions").await.expect(200);
    let list = list.as_array().unwrap();
    let user = read(&ada).await["user"]["id"].clone();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|session| session["userId"] == user));
    let other = list.iter().find(|one| one["token"] != read_token(&list[0], &list[1])).unwrap();
    // Somebody else's token ends nothing, and the answer does not tell.
    let body = json!({ "token": other["token"] });
    let foreign = eve.post("/revoke-session", body.clone()).await;
    let nonsense = eve.post("/revoke-session", json!({ "token": "nonsense" })).await;
    assert_eq!((foreign.expect(200), &foreign.headers), (nonsense.expect(200), &nonsense.headers));
    assert_eq!(rows(&app).await.len(), 3);
    ada.post("/revoke-session", body).await.expect(200);
    assert_eq!(rows(&app).await.len(), 2);
    assert_ne!(read(&eve).await, Json::Null);
    eve.post("/revoke-sessions", json!({ "userId": user })).await.expect(200);
    assert!(eve.cookies().is_empty());
    assert_eq!(rows(&app).await.len(), 1);
}

/// The token of the newer of two sessions, which is the caller's own.
fn read_token(first: &Json, second: &Json) -> Json {
    let newer = if first["createdAt"].as_str() >= second["createdAt"].as_str() { first } else { second };
    newer["token"].clone()
}

#[tokio::test]
async fn ending_ones_own_session_signs_out() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let token = rows(&app).await[0].token.clone();
    ada.post("/revoke-session", json!({ "token": token })).await.expect(200);
    assert!(ada.cookies().is_empty());
    ada.post("/revoke-session", json!({})).await.refused(400, "VALIDATION_ERROR");
    ada.post("/revoke-session", json!({ "token": token })).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_session_has_fields_of_the_operator_and_none_of_its_own_can_be_written() {
    let app = start(json!({ "additionalFields": {
        "theme": { "type": "string", "required": false, "defaultValue": "light" },
        "level": { "type": "number", "required": false, "input": false },
    } }))
    .await;
    let ada = app.user("ada").await;
    assert_eq!(read(&ada).await["session"]["theme"], "light");
    ada.post("/update-session", json!({ "theme": "dark" })).await.expect(200);
    assert_eq!(read(&ada).await["session"]["theme"], "dark");
    ada.post("/update-session", json!({ "level": 9 })).await.refused(400, "FIELD_NOT_ALLOWED");
    let before = read(&ada).await;
    let own = json!({
        "id": "x", "userId": "x", "token": "x", "expiresAt": "2099-01-01T00:00:00.000Z", "ipAddress": "x",
        "userAgent": "x", "createdAt": "2099-01-01T00:00:00.000Z", "updatedAt": "2099-01-01T00:00:00.000Z",
    });
    let reply = ada.post("/update-session", own).await;
    assert_eq!(reply.expect(400), json!({ "message": "No fields to update" }));
    assert_eq!(read(&ada).await, before);
}

#[tokio::test]
async fn fifty_reads_at_once_extend_a_session_without_a_failure() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    app.advance(DAY);
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        let ada = ada.copy();
        readers.spawn(async move { read(&ada).await["session"]["expiresAt"].clone() });
    }
    for expires in readers.join_all().await {
        assert_eq!(expires, "2026-09-29T14:13:20.000Z");
    }
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_is_read_is_never_made_again() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    app.advance(DAY);
    let mut all = JoinSet::new();
    for n in 0..40 {
        let ada = ada.copy();
        all.spawn(async move {
            if n == 20 {
                ada.post_empty("/sign-out").await.expect(200);
                return;
            }
            let reply = ada.get("/get-session").await;
            assert!([200, 401].contains(&reply.status.as_u16()), "{}", reply.text);
        });
    }
    all.join_all().await;
    assert!(rows(&app).await.is_empty());
}

#[tokio::test]
async fn without_a_store_the_cookie_is_the_session() {
    let app = TestApp::start(LIST, json!({ "database": false })).await;
    let ada = app.user("ada").await;
    let session = read(&ada).await;
    assert_eq!(session["user"]["email"], "ada@example.com");
    let cache = ada.cookie(DATA).unwrap();
    assert_eq!(cache.split('.').count(), 5, "encrypted: {cache}");
    ada.post("/update-user", json!({ "name": "Countess" })).await.expect(200);
    assert_eq!(read(&ada).await["user"]["name"], "Countess");
}
