//! Forgotten passwords, through HTTP.

use portcullis_core::hooks::Callback;
use portcullis_core::identity::{Account, Session, User, Verification};
use portcullis_core::store::{Dialect, Filter};
use portcullis_core::testing::databases::{fresh_database, fresh_settings};
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::features::LIST;

const NEW: &str = "another horse";

async fn start(settings: Json) -> (TestApp, Told) {
    let told = Told::default();
    let (mail, reset) = (told.callback(), told.callback());
    let change = move |mut settings: portcullis_core::config::Settings| {
        settings.email_and_password.send_reset_password = Some(mail);
        settings.email_and_password.on_password_reset = Some(reset);
        settings
    };
    (TestApp::start_with(LIST, settings, change, None).await, told)
}

async fn ask(app: &TestApp, name: &str) -> Reply {
    let body = json!({ "email": format!("{name}@example.com"), "redirectTo": "/new-password?from=mail" });
    app.actor().post("/request-password-reset", body).await
}

/// Asks for a link and reads the mail.
async fn token(app: &TestApp, told: &Told) -> String {
    ask(app, "ada").await.expect(200);
    let (name, args) = told.last();
    assert_eq!(name, "emailAndPassword.sendResetPassword");
    args[0]["token"].as_str().unwrap().to_owned()
}

async fn sign_in(actor: &Actor, password: &str) -> Reply {
    actor.post("/sign-in/email", json!({ "email": "ada@example.com", "password": password })).await
}

async fn count(app: &TestApp, table: &str) -> u64 {
    app.auth.db().count(table, &Filter::All).await.unwrap()
}

#[tokio::test]
async fn a_mailed_token_sets_a_new_password_once() {
    let (app, told) = start(json!({})).await;
    let ada = app.user("ada").await;
    let token = token(&app, &told).await;
    assert!(token.len() == 24 && token.chars().all(|c| c.is_ascii_alphanumeric()), "{token}");
    let mail = told.last().1;
    assert_eq!(
        mail[0]["url"],
        format!(
            "http://localhost:3000/api/auth/reset-password/{token}?callbackURL=%2Fnew-password%3Ffrom%3Dmail"
        )
    );
    assert_eq!(
        (&mail[0]["user"]["email"], &mail[1]["$type"]),
        (&json!("ada@example.com"), &json!("Request"))
    );

    let link = format!("/reset-password/{token}?callbackURL=%2Fnew-password%3Ffrom%3Dmail");
    let reply = app.actor().get(&link).await;
    reply.expect(302);
    assert_eq!(
        reply.header("location"),
        format!("http://localhost:3000/new-password?from=mail&token={token}")
    );

    let body = json!({ "newPassword": NEW, "token": token });
    assert_eq!(
        app.actor().post("/reset-password", body.clone()).await.expect(200),
        json!({ "status": true })
    );
    let (name, args) = told.last();
    assert_eq!(
        (name.as_str(), &args[0]["user"]["email"]),
        ("emailAndPassword.onPasswordReset", &json!("ada@example.com"))
    );
    app.actor().post("/reset-password", body).await.refused(400, "INVALID_TOKEN");
    let reply = app.actor().get(&link).await;
    assert_eq!(reply.header("location"), "http://localhost:3000/new-password?from=mail&error=INVALID_TOKEN");
    sign_in(&app.actor(), "correct horse").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    sign_in(&app.actor(), NEW).await.expect(200);
    assert_ne!(ada.get("/get-session").await.expect(200), Json::Null, "sessions stay unless asked for");
    assert_eq!((count(&app, Account::KEY).await, count(&app, Verification::KEY).await), (1, 0));
}

#[tokio::test]
async fn a_token_may_stand_in_the_query_and_gives_a_password_to_who_had_none() {
    let (app, told) = start(json!({})).await;
    app.user("ada").await;
    app.auth.db().delete(Account::KEY, &Filter::All).await.unwrap();
    let token = token(&app, &told).await;
    let path = format!("/reset-password?token={token}");
    app.actor().post(&path, json!({ "newPassword": NEW })).await.expect(200);
    sign_in(&app.actor(), NEW).await.expect(200);
}

#[tokio::test]
async fn an_unknown_address_is_answered_alike_and_no_sooner() {
    let (app, told) = start(json!({})).await;
    app.user("ada").await;
    let before = std::time::Instant::now();
    let unknown = ask(&app, "nobody").await;
    assert!(before.elapsed() >= std::time::Duration::from_millis(500), "{:?}", before.elapsed());
    assert!(told.all().is_empty());
    let known = ask(&app, "ada").await;
    known.expect(200);
    assert_eq!(
        (known.status, &known.text, &known.headers),
        (unknown.status, &unknown.text, &unknown.headers)
    );
    assert_eq!(told.all().len(), 1);
}

#[tokio::test]
async fn a_delivery_that_fails_or_hangs_is_not_seen() {
    for hang in [false, true] {
        let change = move |mut settings: portcullis_core::config::Settings| {
            let deliver = move |_: &str, _: Vec<Json>| async move {
                if hang {
                    std::future::pending::<()>().await;
                }
                Err(portcullis_core::error::Error::broken("no mail today"))
            };
            settings.email_and_password.send_reset_password = Some(Callback::native(deliver));
            settings
        };
        let app = TestApp::start_with(LIST, json!({}), change, None).await;
        app.user("ada").await;
        let known = ask(&app, "ada").await;
        known.expect(200);
        assert_eq!(known.text, ask(&app, "nobody").await.text);
    }
}

#[tokio::test]
async fn of_fifty_resets_at_once_with_one_token_one_succeeds_and_its_password_is_the_one() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(settings) = fresh_settings(dialect).await else { continue };
        let (app, told) = start(settings).await;
        app.user("ada").await;
        let token = token(&app, &told).await;
        let mut racers = JoinSet::new();
        for n in 0..50 {
            let (actor, token) = (app.actor(), token.clone());
            racers.spawn(async move {
                let body = json!({ "newPassword": format!("password {n}"), "token": token });
                (n, actor.post("/reset-password", body).await)
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            racers.join_all().await.into_iter().partition(|(_, reply)| reply.status.as_u16() == 200);
        assert_eq!(won.len(), 1, "{dialect:?}");
        lost.iter().for_each(|(_, reply)| reply.refused(400, "INVALID_TOKEN"));
        sign_in(&app.actor(), &format!("password {}", won[0].0)).await.expect(200);
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn one_connection_is_enough() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(url) = fresh_database(dialect).await else { continue };
        let (app, told) = start(json!({
            "database": { "url": url, "maxConnections": 1 },
            "emailAndPassword": { "revokeSessionsOnPasswordReset": true },
        }))
        .await;
        app.user("ada").await;
        let token = token(&app, &told).await;
        app.actor().post("/reset-password", json!({ "newPassword": NEW, "token": token })).await.expect(200);
        assert_eq!(count(&app, Session::KEY).await, 0);
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn a_reset_ends_every_session_where_the_operator_wants_it() {
    let (app, told) = start(json!({ "emailAndPassword": { "revokeSessionsOnPasswordReset": true } })).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let token = token(&app, &told).await;
    app.actor().post("/reset-password", json!({ "newPassword": NEW, "token": token })).await.expect(200);
    assert_eq!(ada.get("/get-session").await.expect(200), Json::Null);
    assert_ne!(eve.get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test]
async fn lengths_are_looked_at_before_the_token_and_cost_neither_it_nor_a_hash() {
    let (app, told) = start(json!({})).await;
    app.user("ada").await;
    let token = token(&app, &told).await;
    let before = app.auth.passwords().computed();
    for (password, code) in [("x".repeat(7), "PASSWORD_TOO_SHORT"), ("x".repeat(129), "PASSWORD_TOO_LONG")] {
        let body = json!({ "newPassword": password, "token": token });
        app.actor().post("/reset-password", body).await.refused(400, code);
    }
    for token in [json!("x"), json!(""), json!("%"), json!("x".repeat(10_000))] {
        let body = json!({ "newPassword": NEW, "token": token });
        app.actor().post("/reset-password", body).await.refused(400, "INVALID_TOKEN");
    }
    app.actor().post("/reset-password", json!({ "newPassword": NEW })).await.refused(400, "INVALID_TOKEN");
    assert_eq!(app.auth.passwords().computed(), before);
    app.actor().post("/reset-password", json!({ "newPassword": NEW, "token": token })).await.expect(200);
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_user() {
    let (app, told) = start(json!({ "emailAndPassword": { "resetPasswordTokenExpiresIn": 10 } })).await;
    app.user("ada").await;
    let late = token(&app, &told).await;
    app.advance(11);
    let reply = app.actor().get(&format!("/reset-password/{late}?callbackURL=/x")).await;
    assert_eq!(reply.header("location"), "http://localhost:3000/x?error=INVALID_TOKEN");
    let body = |token: &str| json!({ "newPassword": NEW, "token": token });
    app.actor().post("/reset-password", body(&late)).await.refused(400, "INVALID_TOKEN");
    let orphan = token(&app, &told).await;
    app.auth.db().delete(User::KEY, &Filter::All).await.unwrap();
    app.actor().post("/reset-password", body(&orphan)).await.refused(400, "USER_NOT_FOUND");
}

#[tokio::test]
async fn nobody_is_sent_to_a_strangers_page() {
    let (app, told) = start(json!({})).await;
    app.user("ada").await;
    let token = token(&app, &told).await;
    let visitor = app.actor();
    for url in ["https://evil.example/x", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let body = json!({ "email": "ada@example.com", "redirectTo": url });
        visitor.post("/request-password-reset", body).await.refused(403, "INVALID_REDIRECT_URL");
        let back: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        let link = format!("/reset-password/{token}?callbackURL={back}");
        visitor.get(&link).await.refused(403, "INVALID_CALLBACK_URL");
    }
    visitor.get(&format!("/reset-password/{token}")).await.refused(400, "VALIDATION_ERROR");
    let reply = visitor.get(&format!("/reset-password/{token}?callbackURL=")).await;
    assert_eq!(reply.header("location"), "http://localhost:3000/api/auth/error?error=INVALID_TOKEN");
    // A token of the visitor's own choosing stays text.
    let reply = visitor.get("/reset-password/%0d%0ax:y?callbackURL=/x?token=old%23frag").await;
    assert_eq!(reply.header("location"), "http://localhost:3000/x?token=old&error=INVALID_TOKEN#frag");
}

#[tokio::test]
async fn without_a_way_to_mail_it_is_off() {
    let app = TestApp::start(LIST, json!({})).await;
    app.user("ada").await;
    ask(&app, "ada").await.refused(400, "RESET_PASSWORD_DISABLED");
    ask(&app, "nobody").await.refused(400, "RESET_PASSWORD_DISABLED");
    assert_eq!(count(&app, Verification::KEY).await, 0);
}
