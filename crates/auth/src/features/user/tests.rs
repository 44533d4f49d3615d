//! What users change about themselves, through HTTP.

use portcullis_core::config::Settings;
use portcullis_core::error::{Code, Error};
use portcullis_core::hooks::Callback;
use portcullis_core::identity::{Account, Session, User, Verification};
use portcullis_core::store::{Dialect, Filter, Row};
use portcullis_core::testing::databases::fresh_settings;
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::features::LIST;

async fn user(actor: &Actor) -> Json {
    actor.get("/get-session").await.expect(200)["user"].clone()
}

async fn start() -> TestApp {
    TestApp::start(
        LIST,
        json!({ "user": { "additionalFields": {
            "role": { "type": "string", "input": false, "defaultValue": "user" },
            "nick": { "type": "string", "required": false, "unique": true },
            "tags": { "type": "string[]", "required": false },
        } } }),
    )
    .await
}

#[tokio::test]
async fn a_user_changes_name_picture_and_fields_of_the_operator() {
    let app = start().await;
    let ada = app.user("ada").await;
    app.advance(60);
    let body = json!({ "name": "Countess", "image": "https://x/y.png", "tags": ["a", "b"] });
    let reply = ada.post("/update-user", body).await;
    assert_eq!(reply.expect(200), json!({ "status": true }));
    insta::assert_snapshot!(reply.cookie_shapes(), @"better-auth.session_token=[token].[signature]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    let now = user(&ada).await;
    assert_eq!((&now["name"], &now["image"]), (&json!("Countess"), &json!("https://x/y.png")));
    assert_eq!((&now["tags"], &now["updatedAt"]), (&json!(["a", "b"]), &json!("2026-09-21T14:14:20.000Z")));
    ada.post("/update-user", json!({ "image": null })).await.expect(200);
    assert_eq!(user(&ada).await["image"], Json::Null);
}

#[tokio::test]
async fn privileges_cannot_be_written() {
    let app = start().await;
    let ada = app.user("ada").await;
    let eve = app.user("eve").await;
    let (before, of_ada) = (user(&eve).await, user(&ada).await);
    eve.post("/update-user", json!({ "role": "admin" })).await.refused(400, "FIELD_NOT_ALLOWED");
    eve.post("/update-user", json!({ "name": "x", "role": "admin" })).await.refused(400, "FIELD_NOT_ALLOWED");
    eve.post("/update-user", json!({ "email": "ada@example.com" }))
        .await
        .refused(400, "EMAIL_CAN_NOT_BE_UPDATED");
    for body in [
        json!({ "emailVerified": true }),
        json!({ "id": of_ada["id"] }),
        json!({ "userId": of_ada["id"] }),
        json!({ "createdAt": "2000-01-01T00:00:00.000Z", "updatedAt": "2000-01-01T00:00:00.000Z" }),
        json!({ "isAdmin": true, "banned": false, "password": "x", "__proto__": { "role": "admin" } }),
        json!({}),
    ] {
        assert_eq!(
            eve.post("/update-user", body).await.expect(400),
            json!({ "message": "No fields to update" })
        );
    }
    assert_eq!(user(&eve).await, before);
    eve.post("/update-user", json!({ "name": "Eve", "id": of_ada["id"], "userId": of_ada["id"] }))
        .await
        .expect(200);
    assert_eq!(user(&ada).await, of_ada);
    assert_eq!(user(&eve).await["id"], before["id"]);
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused_and_named() {
    let app = start().await;
    let ada = app.user("ada").await;
    for (body, field) in [
        (json!({ "name": 7 }), "name"),
        (json!({ "name": null }), "name"),
        (json!({ "image": {} }), "image"),
        (json!({ "tags": "a" }), "tags"),
        (json!({ "nick": ["a"] }), "nick"),
    ] {
        let reply = ada.post("/update-user", body).await;
        reply.refused(400, "VALIDATION_ERROR");
        assert!(reply.json["message"].as_str().unwrap().contains(field), "{}", reply.text);
    }
    for body in [json!([]), json!("x"), Json::Null, json!(1)] {
        ada.post("/update-user", body).await.refused(400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn without_a_session_nothing_is_changed() {
    let app = start().await;
    app.actor().post("/update-user", json!({ "name": "x" })).await.refused(401, "UNAUTHORIZED");
    let ada = app.user("ada").await;
    let thief = ada.copy();
    ada.post_empty("/sign-out").await.expect(200);
    thief.post("/update-user", json!({ "name": "x" })).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn texts_of_every_kind_come_back_as_they_were() {
    let app = start().await;
    let ada = app.user("ada").await;
    for name in
        ["", "Ærøskøbing", "日本語", "👩‍👩‍👧‍👦", "a\"b'c;--", "<b>&amp;</b>", "\u{202e}rtl", &"x".repeat(10_000)]
    {
        ada.post("/update-user", json!({ "name": name })).await.expect(200);
        assert_eq!(user(&ada).await["name"], name);
    }
}

async fn with_callbacks(settings: Json, more: impl FnOnce(&mut Settings, &Told)) -> (TestApp, Told) {
    let told = Told::default();
    let ours = told.clone();
    let change = |mut settings: Settings| {
        more(&mut settings, &ours);
        settings
    };
    (TestApp::start_with(LIST, settings, change, None).await, told)
}

fn mails(settings: &mut Settings, told: &Told) {
    settings.user.change_email.enabled = true;
    settings.email_verification.send_verification_email = Some(told.callback());
    settings.email_verification.after_email_verification = Some(told.callback());
}

async fn prove(app: &TestApp) {
    let proven = Row::new().with(User::EMAIL_VERIFIED.key, true);
    app.auth.db().update(User::KEY, &Filter::All, proven).await.unwrap();
}

async fn change(who: &Actor, to: &str) -> Reply {
    who.post("/change-email", json!({ "newEmail": to, "callbackURL": "/settings?tab=mail" })).await
}

/// The link of the last mail, below the base path, without where it leads back to.
fn link(told: &Told, name: &str) -> String {
    let all = told.all();
    let (_, args) = all.iter().rev().find(|(told, _)| told == name).unwrap();
    format!("/verify-email?token={}", args[0]["token"].as_str().unwrap())
}

const PROVE: &str = "emailVerification.sendVerificationEmail";
const CONFIRM: &str = "user.changeEmail.sendChangeEmailConfirmation";

#[tokio::test]
async fn a_proven_address_agrees_first_and_the_new_one_then() {
    let (app, told) = with_callbacks(json!({}), |settings, told| {
        mails(settings, told);
        settings.user.change_email.send_change_email_confirmation = Some(told.callback());
    })
    .await;
    let ada = app.user("ada").await;
    prove(&app).await;
    assert_eq!(change(&ada, "New@Example.com").await.expect(200), json!({ "status": true }));
    let (name, args) = told.last();
    assert_eq!(name, CONFIRM);
    assert_eq!(
        (&args[0]["user"]["email"], &args[0]["newEmail"]),
        (&json!("ada@example.com"), &json!("new@example.com"))
    );
    assert!(args[0]["url"].as_str().unwrap().ends_with("&callbackURL=%2Fsettings%3Ftab%3Dmail"));

    let elsewhere = app.actor();
    let confirm = link(&told, CONFIRM);
    assert_eq!(elsewhere.get(&confirm).await.expect(200), json!({ "status": true }));
    let (name, args) = told.last();
    assert_eq!((name.as_str(), &args[0]["user"]["email"]), (PROVE, &json!("new@example.com")));
    assert_eq!(user(&ada).await["email"], "ada@example.com");

    let prove = link(&told, PROVE);
    let reply = ada.get(&prove).await;
    assert_eq!(reply.expect(200)["user"]["email"], "new@example.com");
    assert!(reply.cookie_shapes().starts_with("better-auth.session_token="), "{}", reply.cookie_shapes());
    let now = user(&ada).await;
    assert_eq!((&now["email"], &now["emailVerified"]), (&json!("new@example.com"), &json!(true)));
    assert_eq!(told.last().0, "emailVerification.afterEmailVerification");
    // Neither link does anything twice.
    ada.get(&prove).await.refused(401, "USER_NOT_FOUND");
    ada.get(&confirm).await.refused(401, "USER_NOT_FOUND");
}

#[tokio::test]
async fn an_address_that_is_not_proven_is_not_asked_and_a_change_signs_nobody_in() {
    let (app, told) = with_callbacks(json!({}), |settings, told| {
        mails(settings, told);
        settings.user.change_email.send_change_email_confirmation = Some(told.callback());
    })
    .await;
    let ada = app.user("ada").await;
    let eve = app.user("eve").await;
    change(&ada, "new@example.com").await.expect(200);
    assert_eq!(told.last().1[0]["user"]["email"], "new@example.com");
    let prove = link(&told, PROVE);
    eve.get(&prove).await.refused(401, "INVALID_USER");
    let visitor = app.actor();
    let reply = visitor.get(&prove).await;
    reply.expect(200);
    assert!(reply.set_cookies().is_empty(), "{}", reply.cookie_shapes());
    assert_eq!(user(&ada).await["email"], "new@example.com");
}

#[tokio::test]
async fn a_link_of_a_change_means_nothing_for_the_next_owner_of_the_address() {
    let (app, told) = with_callbacks(json!({}), mails).await;
    let ada = app.user("ada").await;
    change(&ada, "new@example.com").await.expect(200);
    let stale = link(&told, PROVE);
    app.auth.db().delete(User::KEY, &Filter::All).await.unwrap();
    let next = app.user("ada").await;
    next.get(&stale).await.refused(401, "INVALID_TOKEN");
    assert_eq!(user(&next).await["email"], "ada@example.com");
}

#[tokio::test]
async fn an_unproven_address_gives_way_at_once_where_the_operator_wants_it() {
    let (app, told) = with_callbacks(json!({}), |settings, told| {
        mails(settings, told);
        settings.user.change_email.update_email_without_verification = true;
    })
    .await;
    let ada = app.user("ada").await;
    let reply = change(&ada, "new@example.com").await;
    reply.expect(200);
    insta::assert_snapshot!(reply.cookie_shapes(), @"better-auth.session_token=[token].[signature]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    let now = user(&ada).await;
    assert_eq!((&now["email"], &now["emailVerified"]), (&json!("new@example.com"), &json!(false)));
    app.actor().get(&link(&told, PROVE)).await.expect(200);
    assert_eq!(user(&ada).await["emailVerified"], true);
    // Proven by now: the next change has to be proven as well.
    change(&ada, "third@example.com").await.expect(200);
    assert_eq!(user(&ada).await["email"], "new@example.com");
    let body = json!({ "email": "new@example.com", "password": "correct horse" });
    app.actor().post("/sign-in/email", body).await.expect(200);
}

#[tokio::test]
async fn a_taken_address_is_answered_alike_and_nothing_happens() {
    for at_once in [false, true] {
        let (app, told) = with_callbacks(json!({}), |settings, told| {
            mails(settings, told);
            settings.user.change_email.update_email_without_verification = at_once;
        })
        .await;
        let ada = app.user("ada").await;
        app.user("eve").await;
        let before = std::time::Instant::now();
        let taken = change(&ada, "EVE@example.com").await;
        assert!(before.elapsed() >= std::time::Duration::from_millis(500), "{:?}", before.elapsed());
        assert!(told.all().is_empty());
        let free = change(&ada, "free@example.com").await;
        assert_eq!((taken.status, &taken.text), (free.status, &free.text));
        assert_eq!(told.all().len(), 1);
    }
    let (off, _) = with_callbacks(json!({}), |settings, _| settings.user.change_email.enabled = true).await;
    let ada = off.user("ada").await;
    off.user("eve").await;
    for to in ["eve@example.com", "free@example.com"] {
        let refused = change(&ada, to).await.expect(400);
        assert_eq!(refused, json!({ "message": "Verification email isn't enabled" }));
    }
    assert_eq!(change(&ada, "ADA@example.com").await.expect(400), json!({ "message": "Email is the same" }));
}

#[tokio::test]
async fn an_address_that_is_taken_before_the_link_is_followed_stays_its_new_owners() {
    let (app, told) = with_callbacks(json!({}), mails).await;
    let ada = app.user("ada").await;
    change(&ada, "eve@example.com").await.expect(200);
    let prove = link(&told, PROVE);
    app.user("eve").await;
    ada.get(&prove).await.refused(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
    let reply = ada.get(&format!("{prove}&callbackURL=/x")).await;
    assert_eq!(reply.header("location"), "/x?error=USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
    assert_eq!(user(&ada).await["email"], "ada@example.com");
}

#[tokio::test]
async fn changing_the_address_and_deleting_oneself_are_off_unless_switched_on() {
    let app = start().await;
    let ada = app.user("ada").await;
    change(&ada, "new@example.com").await.refused(400, "CHANGE_EMAIL_DISABLED");
    let reply = ada.post("/delete-user", json!({})).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (404, ""));
    ada.get("/delete-user/callback?token=x").await.refused(404, "NOT_FOUND");
    assert_eq!(user(&ada).await["email"], "ada@example.com");
}

fn deletes(settings: &mut Settings, told: &Told) {
    settings.user.delete_user.enabled = true;
    settings.user.delete_user.before_delete = Some(told.callback());
    settings.user.delete_user.after_delete = Some(told.callback());
}

fn deletes_by_mail(settings: &mut Settings, told: &Told) {
    deletes(settings, told);
    settings.user.delete_user.send_delete_account_verification = Some(told.callback());
}

async fn rows(app: &TestApp) -> Vec<u64> {
    let mut db = app.auth.db();
    let mut counts = Vec::new();
    for table in [User::KEY, Account::KEY, Session::KEY, Verification::KEY] {
        counts.push(db.count(table, &Filter::All).await.unwrap());
    }
    counts
}

fn names(told: &Told) -> Vec<String> {
    told.all().into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_fresh_session_or_the_password_deletes_the_user_and_what_is_theirs() {
    let (app, told) = with_callbacks(json!({}), deletes).await;
    app.user("eve").await;
    let ada = app.user("ada").await;
    let thief = ada.copy();
    let reply = ada.post("/delete-user", json!({})).await;
    assert_eq!(reply.expect(200), json!({ "success": true, "message": "User deleted" }));
    assert_eq!(rows(&app).await, [1, 1, 1, 0], "eve stays");
    assert_eq!(thief.get("/get-session").await.expect(200), Json::Null);
    assert_eq!(names(&told), ["user.deleteUser.beforeDelete", "user.deleteUser.afterDelete"]);
    assert_eq!(told.last().1[0]["email"], "ada@example.com");

    let bob = app.user("bob").await;
    app.advance(86_400);
    bob.post("/delete-user", json!({})).await.refused(400, "SESSION_EXPIRED");
    let with = |password: &str| json!({ "password": password });
    bob.post("/delete-user", with("wrong password")).await.refused(400, "INVALID_PASSWORD");
    bob.post("/delete-user", with(&"x".repeat(129))).await.refused(400, "PASSWORD_TOO_LONG");
    bob.post("/delete-user", json!({ "token": "x" })).await.refused(404, "INVALID_TOKEN");
    bob.post("/delete-user", with("correct horse")).await.expect(200);
    app.actor().post("/delete-user", json!({})).await.refused(401, "UNAUTHORIZED");
    assert_eq!(rows(&app).await, [1, 1, 1, 0]);
}

#[tokio::test]
async fn the_operator_may_refuse_a_deletion() {
    let (app, _) = with_callbacks(json!({}), |settings, _| {
        let refuse = |_: &str, _: Vec<Json>| async {
            Err(Error::from(Code::new(403, "OWNER", "The last owner stays")))
        };
        settings.user.delete_user.enabled = true;
        settings.user.delete_user.before_delete = Some(Callback::native(refuse));
    })
    .await;
    let ada = app.user("ada").await;
    ada.post("/delete-user", json!({})).await.refused(403, "OWNER");
    assert_eq!(rows(&app).await, [1, 1, 1, 0]);
}

#[tokio::test]
async fn a_mailed_link_deletes_who_is_signed_in_and_nobody_else() {
    let (app, told) = with_callbacks(json!({}), deletes_by_mail).await;
    let ada = app.user("ada").await;
    let eve = app.user("eve").await;
    let body = json!({ "callbackURL": "/bye?x=1" });
    let reply = ada.post("/delete-user", body).await;
    assert_eq!(reply.expect(200), json!({ "success": true, "message": "Verification email sent" }));
    let (name, args) = told.last();
    let token = args[0]["token"].as_str().unwrap();
    assert_eq!(name, "user.deleteUser.sendDeleteAccountVerification");
    assert!(token.len() == 32 && token.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()));
    assert_eq!(
        args[0]["url"],
        format!(
            "http://localhost:3000/api/auth/delete-user/callback?token={token}&callbackURL=%2Fbye%3Fx%3D1"
        )
    );
    let link = format!("/delete-user/callback?token={token}");
    eve.get(&link).await.refused(404, "INVALID_TOKEN");
    app.actor().get(&link).await.refused(404, "FAILED_TO_GET_USER_INFO");
    ada.get(&format!("{link}&callbackURL=https://evil.example")).await.refused(403, "INVALID_CALLBACK_URL");
    ada.get("/delete-user/callback").await.refused(400, "VALIDATION_ERROR");
    assert_eq!(rows(&app).await[0], 2);
    let reply = ada.get(&format!("{link}&callbackURL=%2Fbye%3Fx%3D1")).await;
    reply.expect(302);
    assert_eq!(reply.header("location"), "/bye?x=1");
    assert!(ada.cookies().is_empty(), "{:?}", ada.cookies());
    assert_eq!(rows(&app).await, [1, 1, 1, 0]);
}

#[tokio::test]
async fn a_link_for_deletion_ends_with_its_time_and_with_the_session() {
    let (app, told) = with_callbacks(
        json!({
            "session": { "cookieCache": { "enabled": true } },
            "user": { "deleteUser": { "deleteTokenExpiresIn": 10 } },
        }),
        deletes_by_mail,
    )
    .await;
    let ada = app.user("ada").await;
    let link = async || {
        ada.post("/delete-user", json!({})).await.expect(200);
        let token = told.last().1[0]["token"].as_str().unwrap().to_owned();
        format!("/delete-user/callback?token={token}")
    };
    let late = link().await;
    app.advance(11);
    ada.get(&late).await.refused(404, "INVALID_TOKEN");
    let cached = link().await;
    app.auth.db().delete(Session::KEY, &Filter::All).await.unwrap();
    ada.get(&cached).await.refused(404, "FAILED_TO_GET_USER_INFO");
    assert_eq!(rows(&app).await[0], 1);
}

#[tokio::test]
async fn of_fifty_deletions_at_once_with_one_token_one_deletes() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(settings) = fresh_settings(dialect).await else { continue };
        let (app, told) = with_callbacks(settings, deletes_by_mail).await;
        let ada = app.user("ada").await;
        ada.post("/delete-user", json!({})).await.expect(200);
        let token = told.last().1[0]["token"].clone();
        let mut racers = JoinSet::new();
        for _ in 0..50 {
            let (ada, body) = (ada.copy(), json!({ "token": token }));
            racers.spawn(async move { ada.post("/delete-user", body).await });
        }
        let replies = racers.join_all().await;
        assert_eq!(replies.iter().filter(|reply| reply.status.as_u16() == 200).count(), 1, "{dialect:?}");
        for lost in replies.iter().filter(|reply| reply.status.as_u16() != 200) {
            assert!(matches!(lost.status.as_u16(), 401 | 404), "{}", lost.text);
        }
        let told = names(&told);
        for name in ["user.deleteUser.beforeDelete", "user.deleteUser.afterDelete"] {
            assert_eq!(told.iter().filter(|told| *told == name).count(), 1, "{name}");
        }
        assert_eq!(rows(&app).await, [0, 0, 0, 0]);
        app.auth.store().close().await;
    }
}
