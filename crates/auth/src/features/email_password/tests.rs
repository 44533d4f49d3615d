//! Sign-up, sign-in and passwords, through HTTP.

use std::collections::BTreeMap;

use http::Method;
use portcullis_core::crypto::{HashKind, Passwords, PoolOptions, Random};
use portcullis_core::identity::{Account, Session, User};
use portcullis_core::store::{Dialect, Filter, Query, Row};
use portcullis_core::testing::databases::{fresh_database, fresh_settings};
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::features::LIST;

const PASSWORD: &str = "correct horse";

async fn start(settings: Json) -> TestApp {
    TestApp::start(LIST, settings).await
}

fn person(name: &str) -> Json {
    json!({ "name": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

fn with(mut body: Json, more: Json) -> Json {
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn sign_in(actor: &Actor, name: &str, password: &str) -> Reply {
    let body = json!({ "email": format!("{name}@example.com"), "password": password });
    actor.post("/sign-in/email", body).await
}

async fn count(app: &TestApp, table: &str) -> usize {
    app.auth.db().list(table, &Query::all()).await.unwrap().len()
}

async fn stored_hash(app: &TestApp) -> String {
    let row = app.auth.db().list(Account::KEY, &Query::all()).await.unwrap().remove(0);
    Account::from_row(row).unwrap().password.unwrap()
}

/// The keys of an object, with the kinds of their values.
fn shape(object: &Json) -> Vec<(String, &'static str)> {
    let kind = |value: &Json| match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    object.as_object().unwrap().iter().map(|(key, value)| (key.clone(), kind(value))).collect()
}

#[tokio::test]
async fn a_sign_up_signs_in_and_answers_token_and_user() {
    let app = start(json!({})).await;
    let ada = app.actor();
    let reply = ada.post("/sign-up/email", with(person("Ada"), json!({ "image": "https://x/y.png" }))).await;
    let body = reply.expect(200);
    assert_eq!(shape(&body), [("token".to_owned(), "string"), ("user".to_owned(), "object")]);
    let user = &body["user"];
    assert_eq!(user["id"].as_str().unwrap().len(), 32);
    assert_eq!(
        *user,
        json!({
            "id": user["id"], "name": "Ada", "email": "ada@example.com", "emailVerified": false,
            "image": "https://x/y.png", "createdAt": "2026-09-21T14:13:20.000Z",
            "updatedAt": "2026-09-21T14:13:20.000Z",
        })
    );
    insta::assert_snapshot!(reply.cookie_shapes(), @"better-auth.session_token=[token].[signature]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    let session = ada.get("/get-session").await.expect(200);
    assert_eq!(session["session"]["token"], body["token"]);
}

#[tokio::test]
async fn a_sign_in_is_found_in_any_case_and_echoes_its_callback_url() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let body = json!({ "email": "ADA@Example.com", "password": PASSWORD, "callbackURL": "/inbox" });
    let reply = app.actor().post("/sign-in/email", body).await;
    let body = reply.expect(200);
    assert_eq!((&body["redirect"], &body["url"]), (&json!(true), &json!("/inbox")));
    assert_eq!(reply.header("location"), "/inbox");
    let empty = json!({ "email": "ada@example.com", "password": PASSWORD, "callbackURL": "" });
    let reply = app.actor().post("/sign-in/email", empty).await;
    assert_eq!(reply.expect(200)["redirect"], false);
    assert_eq!(reply.header("location"), "");
}

#[tokio::test]
async fn a_session_that_is_not_remembered_ends_with_the_browser() {
    let app = start(json!({})).await;
    let reply = app.actor().post("/sign-up/email", with(person("ada"), json!({ "rememberMe": false }))).await;
    reply.expect(200);
    insta::assert_snapshot!(reply.cookie_shapes(), @r"
    better-auth.session_token=[token].[signature]; Path=/; HttpOnly; SameSite=Lax
    better-auth.dont_remember=true.[signature]; Path=/; HttpOnly; SameSite=Lax
    ");
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_not_told_apart_and_cost_a_hash_each() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let hashes = || app.auth.passwords().computed();
    let before = hashes();
    let wrong = sign_in(&app.actor(), "ada", "wrong password").await;
    let between = hashes();
    let unknown = sign_in(&app.actor(), "nobody", "wrong password").await;
    wrong.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    assert_eq!(
        (wrong.status, &wrong.text, &wrong.headers),
        (unknown.status, &unknown.text, &unknown.headers)
    );
    assert_eq!((between - before, hashes() - between), (1, 1));
}

#[tokio::test]
async fn a_user_without_a_password_is_not_told_apart_either() {
    let app = start(json!({})).await;
    app.user("ada").await;
    app.auth.db().delete(Account::KEY, &Filter::All).await.unwrap();
    sign_in(&app.actor(), "ada", PASSWORD).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
}

#[tokio::test]
async fn only_the_account_that_carries_the_users_own_id_counts() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let other = Row::new().with(Account::ACCOUNT_ID.key, "somebody-else");
    app.auth.db().update(Account::KEY, &Filter::All, other).await.unwrap();
    sign_in(&app.actor(), "ada", PASSWORD).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
}

#[tokio::test]
async fn a_taken_address_is_422_unless_the_answer_must_not_tell() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let again = with(person("x"), json!({ "email": "ADA@example.com" }));
    app.actor().post("/sign-up/email", again).await.refused(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
}

#[tokio::test]
async fn a_discreet_sign_up_answers_alike_for_new_and_taken_addresses() {
    for option in [json!({ "autoSignIn": false }), json!({ "requireEmailVerification": true })] {
        let told = Told::default();
        let callback = told.callback();
        let app = TestApp::start_with(
            LIST,
            json!({
                "emailAndPassword": option,
                "user": { "additionalFields": {
                    "plan": { "type": "string", "required": false, "defaultValue": "free" },
                    "secret": { "type": "string", "required": false, "returned": false },
                } },
            }),
            move |mut settings| {
                settings.email_and_password.on_existing_user_sign_up = Some(callback);
                settings
            },
            None,
        )
        .await;
        let hashes = || app.auth.passwords().computed();
        let start = hashes();
        let new = app.actor().post("/sign-up/email", person("ada")).await;
        let middle = hashes();
        let taken = app.actor().post("/sign-up/email", person("ada")).await;
        assert_eq!((middle - start, hashes() - middle), (1, 1));
        let (new_body, taken_body) = (new.expect(200), taken.expect(200));
        assert_eq!(shape(&new_body), [("token".to_owned(), "null"), ("user".to_owned(), "object")]);
        assert_eq!(shape(&new_body["user"]), shape(&taken_body["user"]));
        assert_eq!(new.headers, taken.headers);
        assert_ne!(new_body["user"]["id"], taken_body["user"]["id"]);
        let without_id = |body: &Json| with(body["user"].clone(), json!({ "id": null }));
        assert_eq!(without_id(&new_body), without_id(&taken_body));
        assert!(new.set_cookies().is_empty() && taken.set_cookies().is_empty());
        assert_eq!((count(&app, User::KEY).await, count(&app, Session::KEY).await), (1, 0));
        let (name, args) = told.last();
        assert_eq!(name, "emailAndPassword.onExistingUserSignUp");
        assert_eq!(args[0]["user"]["id"], new_body["user"]["id"]);
        assert_eq!(told.all().len(), 1);
    }
}

#[tokio::test]
async fn the_existing_password_is_not_changed_by_a_discreet_sign_up() {
    let app = start(json!({ "emailAndPassword": { "autoSignIn": false } })).await;
    app.actor().post("/sign-up/email", person("ada")).await.expect(200);
    let theft = with(person("ada"), json!({ "password": "attackers password" }));
    app.actor().post("/sign-up/email", theft).await.expect(200);
    sign_in(&app.actor(), "ada", "attackers password").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    sign_in(&app.actor(), "ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn an_unproven_address_is_told_after_the_right_password_only_and_mailed() {
    let told = Told::default();
    let callback = told.callback();
    let app = TestApp::start_with(
        LIST,
        json!({
            "emailAndPassword": { "requireEmailVerification": true },
            "emailVerification": { "sendOnSignIn": true },
        }),
        move |mut settings| {
            settings.email_verification.send_verification_email = Some(callback);
            settings
        },
        None,
    )
    .await;
    app.actor()
        .post("/sign-up/email", with(person("ada"), json!({ "callbackURL": "/in" })))
        .await
        .expect(200);
    assert_eq!(told.all().len(), 1);
    assert!(told.last().1[0]["url"].as_str().unwrap().ends_with("&callbackURL=%2Fin"));
    sign_in(&app.actor(), "ada", "wrong password").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    assert_eq!(told.all().len(), 1);
    sign_in(&app.actor(), "ada", PASSWORD).await.refused(403, "EMAIL_NOT_VERIFIED");
    assert_eq!(told.all().len(), 2);
    assert!(told.last().1[0]["user"].get("password").is_none());
    assert_eq!(count(&app, Session::KEY).await, 0);
}

#[tokio::test]
async fn lengths_are_utf_16_units_and_looked_at_before_any_hashing() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let before = app.auth.passwords().computed();
    let long = ["x".repeat(129), "😀".repeat(65), "x".repeat(500_000)];
    for password in &long {
        let body = with(person("x"), json!({ "password": password }));
        app.actor().post("/sign-up/email", body).await.refused(400, "PASSWORD_TOO_LONG");
        sign_in(&app.actor(), "ada", password).await.refused(400, "PASSWORD_TOO_LONG");
        sign_in(&app.actor(), "nobody", password).await.refused(400, "PASSWORD_TOO_LONG");
        for body in [
            json!({ "currentPassword": PASSWORD, "newPassword": password }),
            json!({ "currentPassword": password, "newPassword": "a new password" }),
        ] {
            ada.post("/change-password", body).await.refused(400, "PASSWORD_TOO_LONG");
        }
    }
    for password in ["x", "1234567", "😀😀😀"] {
        let body = with(person("x"), json!({ "password": password }));
        app.actor().post("/sign-up/email", body).await.refused(400, "PASSWORD_TOO_SHORT");
    }
    assert_eq!(app.auth.passwords().computed(), before);
    let body = with(person("x"), json!({ "password": "😀".repeat(64) }));
    app.actor().post("/sign-up/email", body).await.expect(200);
}

#[tokio::test]
async fn hashes_of_other_kinds_are_verified_and_replaced_at_sign_in() {
    let kinds = [
        ("$argon2id$", HashKind::argon2id(9_216, 4, 1).unwrap()),
        ("$2b$", HashKind::bcrypt(10).unwrap()),
        ("", HashKind::Scrypt),
    ];
    for (prefix, kind) in kinds {
        let app = start(json!({})).await;
        app.user("ada").await;
        let elsewhere =
            Passwords::new(kind, PoolOptions { threads: 1, prompt: 1, queue: 4 }, Random::seeded(3));
        let old = elsewhere.hash(PASSWORD).await.unwrap();
        assert!(old.starts_with(prefix) && !old.contains("m=19456"), "{old}");
        let row = Row::new().with(Account::PASSWORD.key, old.as_str());
        app.auth.db().update(Account::KEY, &Filter::All, row).await.unwrap();
        sign_in(&app.actor(), "ada", "wrong password").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
        assert_eq!(stored_hash(&app).await, old);
        sign_in(&app.actor(), "ada", PASSWORD).await.expect(200);
        let new = stored_hash(&app).await;
        assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
        sign_in(&app.actor(), "ada", PASSWORD).await.expect(200);
        assert_eq!(stored_hash(&app).await, new);
    }
}

#[tokio::test]
async fn a_hash_that_nobody_can_read_is_a_wrong_password() {
    let app = start(json!({})).await;
    app.user("ada").await;
    for hash in ["", "plain", "$argon2id$v=19$m=4294967295,t=1,p=1$AAAA$AAAA", "a:b", "$2b$31$x"] {
        let row = Row::new().with(Account::PASSWORD.key, hash);
        app.auth.db().update(Account::KEY, &Filter::All, row).await.unwrap();
        for password in [PASSWORD, hash] {
            let reply = sign_in(&app.actor(), "ada", password).await;
            reply.refused(401, "INVALID_EMAIL_OR_PASSWORD");
        }
    }
}

#[tokio::test]
async fn of_fifty_sign_ups_at_once_for_one_address_one_succeeds() {
    let app = start(json!({})).await;
    let mut racers = JoinSet::new();
    for _ in 0..50 {
        let actor = app.actor();
        racers.spawn(async move { actor.post("/sign-up/email", person("ada")).await });
    }
    let mut outcomes: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for reply in racers.join_all().await {
        let code = reply.json["code"].as_str().unwrap_or_default().to_owned();
        *outcomes.entry((reply.status.as_u16(), code)).or_default() += 1;
    }
    let taken = (422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL".to_owned());
    assert_eq!(outcomes, BTreeMap::from([((200, String::new()), 1), (taken, 49)]));
    for table in [User::KEY, Account::KEY, Session::KEY] {
        assert_eq!(count(&app, table).await, 1, "{table}");
    }
}

#[tokio::test]
async fn the_constraint_decides_on_every_database() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(settings) = fresh_settings(dialect).await else { continue };
        let app = start(settings).await;
        let mut racers = JoinSet::new();
        for _ in 0..50 {
            let actor = app.actor();
            racers.spawn(async move { actor.post("/sign-up/email", person("ada")).await });
        }
        let replies = racers.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|reply| reply.status.as_u16() == 200);
        assert_eq!(won.len(), 1, "{dialect}");
        lost.iter().for_each(|reply| reply.refused(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"));
        for table in [User::KEY, Account::KEY, Session::KEY] {
            assert_eq!(count(&app, table).await, 1, "{dialect} {table}");
        }
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn a_pool_of_one_connection_is_enough() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(url) = fresh_database(dialect).await else { continue };
        let settings = json!({
            "database": { "url": url, "maxConnections": 1 },
            "plugins": { "username": {}, "multiSession": {}, "bearer": {} },
        });
        let app = start(settings).await;
        let ada = app.user("ada").await;
        sign_in(&ada, "ada", PASSWORD).await.expect(200);
        let body = json!({ "currentPassword": PASSWORD, "newPassword": "another horse", "revokeOtherSessions": true });
        ada.post("/change-password", body).await.expect(200);
        ada.post("/update-user", json!({ "username": "ada" })).await.expect(200);
        assert_eq!(
            ada.get("/multi-session/list-device-sessions").await.expect(200)[0]["user"]["username"],
            "ada"
        );
        ada.post_empty("/sign-out").await.expect(200);
        assert_eq!(count(&app, Session::KEY).await, 0, "{dialect}");
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn nobody_signs_up_or_in_where_it_is_switched_off() {
    let off = start(json!({ "emailAndPassword": { "enabled": false } })).await;
    off.actor().post("/sign-up/email", person("ada")).await.refused(400, "EMAIL_PASSWORD_SIGN_UP_DISABLED");
    sign_in(&off.actor(), "ada", PASSWORD).await.refused(400, "EMAIL_PASSWORD_DISABLED");
    let closed = start(json!({ "emailAndPassword": { "disableSignUp": true } })).await;
    closed
        .actor()
        .post("/sign-up/email", person("ada"))
        .await
        .refused(400, "EMAIL_PASSWORD_SIGN_UP_DISABLED");
    sign_in(&closed.actor(), "ada", PASSWORD).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
}

#[tokio::test]
async fn a_body_cannot_name_what_is_not_the_clients_to_say() {
    let fields = json!({ "user": { "additionalFields": {
        "role": { "type": "string", "input": false, "defaultValue": "user" },
        "quota": { "type": "number", "input": false, "required": false },
    } } });
    let app = start(fields).await;
    let body = with(
        person("ada"),
        json!({
            "id": "chosen", "userId": "chosen", "emailVerified": true, "role": "admin", "createdAt": "2020-01-01T00:00:00.000Z",
            "token": "chosen", "updatedAt": null, "accounts": [], "isAdmin": true,
        }),
    );
    let user = app.actor().post("/sign-up/email", body).await.expect(200)["user"].clone();
    assert_eq!((&user["role"], &user["emailVerified"]), (&json!("user"), &json!(false)));
    assert_ne!(user["id"], "chosen");
    assert_eq!(user["createdAt"], "2026-09-21T14:13:20.000Z");
    assert!(user.get("isAdmin").is_none());
    let body = with(person("eve"), json!({ "quota": 9000 }));
    app.actor().post("/sign-up/email", body).await.refused(400, "FIELD_NOT_ALLOWED");
}

#[tokio::test]
async fn additional_fields_are_asked_for_and_of_their_type() {
    let app = start(json!({ "user": { "additionalFields": { "age": { "type": "number" } } } })).await;
    let sign_up = async |more: Json| app.actor().post("/sign-up/email", with(person("ada"), more)).await;
    let missing = sign_up(json!({})).await;
    missing.refused(400, "MISSING_FIELD");
    assert_eq!(missing.json["message"], "age is required");
    sign_up(json!({ "age": "seven" })).await.refused(400, "VALIDATION_ERROR");
    assert_eq!(sign_up(json!({ "age": 7 })).await.expect(200)["user"]["age"], 7);
}

#[tokio::test]
async fn complaints_name_every_field_in_zods_words() {
    let app = start(json!({})).await;
    let reply = app.actor().post("/sign-up/email", json!({ "email": "no", "password": "" })).await;
    reply.refused(400, "VALIDATION_ERROR");
    assert_eq!(
        reply.json["message"],
        "[body.name] Invalid input: expected string, received undefined; [body.email] Invalid email address; \
         [body.password] Too small: expected string to have >=1 characters"
    );
    sign_in(&app.actor(), "a b", PASSWORD).await.refused(400, "INVALID_EMAIL");
}

#[tokio::test]
async fn a_changed_password_replaces_the_old_one_and_leaves_other_sessions() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let other = app.actor();
    sign_in(&other, "ada", PASSWORD).await.expect(200);
    let change = |current: &str| json!({ "currentPassword": current, "newPassword": "another horse" });
    ada.post("/change-password", change("wrong password")).await.refused(400, "INVALID_PASSWORD");
    let body = ada.post("/change-password", change(PASSWORD)).await.expect(200);
    assert_eq!((&body["token"], &body["user"]["email"]), (&Json::Null, &json!("ada@example.com")));
    sign_in(&app.actor(), "ada", PASSWORD).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    sign_in(&app.actor(), "ada", "another horse").await.expect(200);
    assert_ne!(other.get("/get-session").await.expect(200), Json::Null);
    app.actor().post("/change-password", change(PASSWORD)).await.refused(401, "UNAUTHORIZED");
    ada.post("/verify-password", json!({ "password": PASSWORD })).await.refused(400, "INVALID_PASSWORD");
    ada.post("/verify-password", json!({ "password": "another horse" })).await.expect(200);
}

#[tokio::test]
async fn a_changed_password_can_end_every_session_but_a_new_one() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let thief = ada.copy();
    let other = app.actor();
    sign_in(&other, "ada", PASSWORD).await.expect(200);
    let body =
        json!({ "currentPassword": PASSWORD, "newPassword": "another horse", "revokeOtherSessions": true });
    let token = ada.post("/change-password", body).await.expect(200)["token"].clone();
    assert_eq!(ada.get("/get-session").await.expect(200)["session"]["token"], token);
    for gone in [thief, other] {
        assert_eq!(gone.get("/get-session").await.expect(200), Json::Null);
    }
    assert_eq!(count(&app, Session::KEY).await, 1);
}

#[tokio::test]
async fn of_twenty_password_changes_at_once_one_wins_and_its_password_is_the_one() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let mut racers = JoinSet::new();
    for n in 0..20 {
        let ada = ada.copy();
        racers.spawn(async move {
            let body = json!({ "currentPassword": PASSWORD, "newPassword": format!("password {n}") });
            (n, ada.post("/change-password", body).await)
        });
    }
    let mut winners = Vec::new();
    for (n, reply) in racers.join_all().await {
        if reply.status.as_u16() == 200 {
            winners.push(n);
        } else {
            reply.refused(400, "INVALID_PASSWORD");
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    sign_in(&app.actor(), "ada", &format!("password {}", winners[0])).await.expect(200);
}

#[tokio::test]
async fn a_form_signs_in_but_not_from_another_site() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let form = format!("email=ada%40example.com&password={}", PASSWORD.replace(' ', "+"));
    let send = async |actor: Actor| {
        actor
            .send(
                Method::POST,
                "/sign-in/email",
                Some("application/x-www-form-urlencoded"),
                Some(form.clone()),
            )
            .await
    };
    send(app.actor()).await.expect(200);
    let foreign = || app.actor().with_header("origin", "https://evil.example");
    send(foreign()).await.refused(403, "INVALID_ORIGIN");
    send(app.actor().with_header("origin", "null")).await.refused(403, "MISSING_OR_NULL_ORIGIN");
    let referred = app.actor().with_header("origin", "").with_header("referer", "https://evil.example/x");
    send(referred).await.refused(403, "INVALID_ORIGIN");
    let navigated =
        foreign().with_header("sec-fetch-site", "cross-site").with_header("sec-fetch-mode", "navigate");
    send(navigated).await.refused(403, "CROSS_SITE_NAVIGATION_LOGIN_BLOCKED");
    let silent = app.actor().with_header("origin", "").with_header("sec-fetch-site", "same-origin");
    send(silent).await.refused(403, "MISSING_OR_NULL_ORIGIN");
    // A program, not a browser.
    send(app.actor().with_header("origin", "")).await.expect(200);
    // Only the two routes that a page's form may call take forms.
    let ada = app.user("grace").await;
    let reply = ada
        .send(Method::POST, "/change-password", Some("application/x-www-form-urlencoded"), Some("a=b"))
        .await;
    reply.refused(415, "UNSUPPORTED_MEDIA_TYPE");
}
