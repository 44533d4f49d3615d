//! What is told after the fact, and to whom; and what has expired goes.

use std::sync::{Arc, Mutex};

use portcullis::events::{Event, Kind, Reason};
use portcullis::features::LIST;
use portcullis::identity::{Session, User, Verification};
use portcullis::purge::Purged;
use portcullis::seams::Notice;
use portcullis::store::{Dialect, Filter, Row};
use portcullis::testing::databases::fresh_database;
use portcullis::testing::{Actor, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

/// Somebody who keeps what they are told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<Event>>>);

impl Notice for Diary {
    fn notice(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Diary {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn kinds(&self) -> Vec<Kind> {
        self.take().into_iter().map(|event| event.kind).collect()
    }
}

async fn app(settings: Json, callbacks: &Told) -> (TestApp, Diary) {
    let diary = Diary::default();
    let notice = diary.clone();
    let callback = callbacks.callback();
    let change = move |mut settings: portcullis::config::Settings| {
        settings.email_and_password.send_reset_password = Some(callback.clone());
        settings.email_verification.send_verification_email = Some(callback);
        settings
    };
    let own = |builder: portcullis::AuthBuilder| builder.notice(Arc::new(notice));
    (TestApp::start_with(LIST, settings, change, Some(Box::new(own))).await, diary)
}

async fn sign_in(actor: &Actor, email: &str, password: &str) -> Json {
    actor.post("/sign-in/email", json!({ "email": email, "password": password })).await.json
}

#[tokio::test]
async fn every_change_of_a_user_or_a_session_is_told_once_with_their_ids() {
    let (app, diary) = app(json!({ "user": { "deleteUser": { "enabled": true } } }), &Told::default()).await;
    let ada = app.actor().with_header("user-agent", "probe/1").with_header("x-forwarded-for", "203.0.113.7");
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    let id = ada.post("/sign-up/email", body).await.expect(200)["user"]["id"].clone();
    let events = diary.take();
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [Kind::SignedUp, Kind::SignedIn]);
    let session = app.auth.db().find(Session::KEY, &Filter::All).await.unwrap().unwrap();
    for event in &events {
        assert_eq!(Json::from(event.user.clone().unwrap()), id);
        assert_eq!(event.ip.as_deref(), Some("203.0.113.7"));
        assert_eq!(event.user_agent.as_deref(), Some("probe/1"));
        assert_eq!(event.at, app.clock.now());
    }
    assert_eq!(events[1].method, Some("sign-up"));
    assert_eq!(events[1].session.as_deref(), session.text("id"));
    assert_ne!(events[1].session.as_deref(), session.text("token"), "the token is no name");

    ada.get("/get-session").await.expect(200);
    ada.get("/list-sessions").await.expect(200);
    assert_eq!(diary.kinds(), [], "reading is no event");

    let change = json!({ "currentPassword": "correct horse", "newPassword": "battery staple" });
    ada.post("/change-password", change.clone()).await.expect(200);
    ada.post("/change-password", change).await.expect(400);
    assert_eq!(diary.kinds(), [Kind::PasswordChanged]);
    ada.post("/revoke-session", json!({ "token": "somebody else's" })).await.expect(200);
    assert_eq!(diary.kinds(), []);
    ada.post_empty("/revoke-other-sessions").await.expect(200);
    ada.post("/sign-out", json!({})).await.expect(200);
    ada.post("/sign-out", json!({})).await.expect(200);
    let events = diary.take();
    assert_eq!(
        events.iter().map(|event| event.kind).collect::<Vec<_>>(),
        [Kind::SessionsRevoked, Kind::SignedOut]
    );
    assert_eq!(events[1].session.as_deref(), session.text("id"));
    sign_in(&ada, "ada@example.com", "battery staple").await;
    ada.post("/delete-user", json!({ "password": "battery staple" })).await.expect(200);
    assert_eq!(diary.kinds(), [Kind::SignedIn, Kind::UserDeleted]);
}

#[tokio::test]
async fn a_sign_in_that_failed_is_told_with_its_reason_and_an_unknown_address_is_not_kept() {
    let (app, diary) = app(json!({}), &Told::default()).await;
    app.user("ada").await;
    diary.take();
    sign_in(&app.actor(), "nobody@example.com", "correct horse").await;
    sign_in(&app.actor(), "ada@example.com", "wrong horse").await;
    let events = diary.take();
    assert_eq!(events[0].kind, Kind::SignInFailed(Reason::UnknownUser));
    assert_eq!(events[1].kind, Kind::SignInFailed(Reason::WrongPassword));
    assert!(events[0].user.is_none() && events[1].user.is_some());
    assert!(!format!("{events:?}").contains("example.com"));

    let strict = json!({ "emailAndPassword": { "requireEmailVerification": true } });
    let (app, diary) = self::app(strict, &Told::default()).await;
    let body = json!({ "name": "x", "email": "x@example.com", "password": "correct horse" });
    app.actor().post("/sign-up/email", body).await.expect(200);
    assert_eq!(diary.kinds(), [Kind::SignedUp]);
    sign_in(&app.actor(), "x@example.com", "correct horse").await;
    assert_eq!(diary.kinds(), [Kind::SignInFailed(Reason::NotVerified)]);
}

#[tokio::test]
async fn mailed_links_are_told_when_asked_for_and_when_followed() {
    let told = Told::default();
    let (app, diary) = app(json!({}), &told).await;
    app.user("ada").await;
    diary.take();
    for email in ["nobody@example.com", "ada@example.com"] {
        app.actor().post("/request-password-reset", json!({ "email": email })).await.expect(200);
    }
    let events = diary.take();
    assert!(events.iter().all(|event| event.kind == Kind::PasswordResetRequested));
    assert_eq!([events[0].user.is_some(), events[1].user.is_some()], [false, true]);
    let token = loop {
        // The mail is sent beside the request.
        tokio::task::yield_now().await;
        let all = told.all();
        let Some((_, args)) = all.iter().find(|(name, _)| name.ends_with("sendResetPassword")) else {
            continue;
        };
        break args[0]["token"].clone();
    };
    let body = json!({ "token": token, "newPassword": "battery staple" });
    app.actor().post("/reset-password", body.clone()).await.expect(200);
    app.actor().post("/reset-password", body).await.expect(400);
    assert_eq!(diary.kinds(), [Kind::PasswordReset]);
}

#[tokio::test]
async fn a_second_factor_is_told_when_it_comes_when_it_is_asked_for_and_when_it_is_wrong() {
    let (app, diary) =
        app(json!({ "plugins": { "twoFactor": { "skipVerificationOnEnable": true } } }), &Told::default())
            .await;
    let ada = app.user("ada").await;
    diary.take();
    let enabled = ada.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    assert_eq!(diary.kinds(), [Kind::SecondFactorEnabled]);
    let visitor = app.actor();
    sign_in(&visitor, "ada@example.com", "correct horse").await;
    assert_eq!(diary.kinds(), [Kind::Challenged]);
    visitor.post("/two-factor/verify-totp", json!({ "code": "000000" })).await.expect(401);
    let events = diary.take();
    assert_eq!(events[0].kind, Kind::SignInFailed(Reason::SecondFactor));
    assert_eq!((events[0].method, events[0].user.is_some(), events.len()), (Some("two-factor"), true, 1));
    let code = enabled["backupCodes"][0].clone();
    visitor.post("/two-factor/verify-backup-code", json!({ "code": code })).await.expect(200);
    let events = diary.take();
    assert_eq!((events[0].kind, events[0].method, events.len()), (Kind::SignedIn, Some("two-factor"), 1));
    visitor.post("/two-factor/disable", json!({ "password": "correct horse" })).await.expect(200);
    assert_eq!(diary.kinds(), [Kind::SecondFactorDisabled]);
    for name in ["challenged", "success", "second_factor"] {
        let text = app.auth.prometheus();
        assert!(text.contains(&format!("result=\"{name}\"")), "{text}");
    }
}

#[tokio::test]
async fn one_request_too_many_and_a_page_from_elsewhere_are_told() {
    let (app, diary) = app(json!({ "rateLimit": { "enabled": true, "max": 1 } }), &Told::default()).await;
    app.actor().get("/ok").await.expect(200);
    app.actor().get("/ok").await.expect(429);
    assert_eq!(diary.kinds(), [Kind::RateLimited]);
    let evil = app.actor().with_header("origin", "https://evil.example");
    evil.set_cookie("a", "b");
    sign_in(&evil, "ada@example.com", "correct horse").await;
    assert_eq!(diary.kinds(), [Kind::OriginRefused]);
    assert!(app.auth.prometheus().contains("portcullis_rate_limit_refusals_total 1\n"));
}

#[tokio::test]
async fn of_a_transaction_that_is_taken_back_nobody_hears() {
    let (app, diary) = app(json!({}), &Told::default()).await;
    let parts = http::Request::builder().uri("/x").body(()).unwrap().into_parts().0;
    let request = portcullis::http::Request::of_parts(&app.auth, parts);
    let mut tx = app.auth.begin().await.unwrap();
    app.auth.tell_after(&mut tx.db(), request.event(Kind::SignedUp)).await.unwrap();
    drop(tx);
    assert_eq!(diary.kinds(), []);
    let mut tx = app.auth.begin().await.unwrap();
    app.auth.tell_after(&mut tx.db(), request.event(Kind::SignedUp)).await.unwrap();
    assert_eq!(diary.kinds(), [], "not before the commit");
    tx.commit().await.unwrap();
    assert_eq!(diary.kinds(), [Kind::SignedUp]);
}

#[tokio::test]
async fn calls_of_the_operators_functions_are_counted_by_their_name_and_outcome() {
    use portcullis::error::Error;
    use portcullis::hooks::Callback;
    let (app, _) = app(json!({}), &Told::default()).await;
    let call = async |answer: fn() -> Result<Json, Error>| {
        let callback = Callback::native(move |_, _| async move { answer() });
        callback.call(app.auth.outbound(), "user.validateUserInfo", vec![]).await.is_ok()
    };
    assert!(call(|| Ok(Json::Null)).await);
    assert!(!call(|| Err(portcullis::error::UNAUTHORIZED.into())).await);
    assert!(!call(|| Err(Error::broken("away"))).await);
    let text = app.auth.prometheus();
    for result in ["ok", "refused", "failed"] {
        let line = format!(
            "portcullis_callback_calls_total{{callback=\"user.validateUserInfo\",result=\"{result}\"}} 1\n"
        );
        assert!(text.contains(&line), "{text}");
    }
    assert!(
        text.contains("portcullis_callback_duration_seconds_count{callback=\"user.validateUserInfo\"} 3\n")
    );
}

async fn verification(app: &TestApp, number: usize, lasting: i64) {
    let until = app.clock.now().plus_seconds(lasting);
    let name = format!("v{number}");
    Verification::create(&app.auth, &mut app.auth.db(), &name, "x", until).await.unwrap();
}

#[tokio::test]
async fn what_has_expired_goes_in_batches_and_nothing_else() {
    let settings = json!({ "rateLimit": { "enabled": true, "storage": "database", "max": 1000 } });
    let (app, _) = app(settings, &Told::default()).await;
    app.actor().get("/ok").await.expect(200);
    app.user("ada").await;
    for _ in 0..4 {
        app.advance(11);
        sign_in(&app.actor(), "ada@example.com", "correct horse").await;
    }
    for number in 0..3 {
        verification(&app, number, 60).await;
    }
    assert_eq!(app.auth.purge_expired(500).await.unwrap(), Purged { rate_limits: 0, ..Purged::default() });
    app.advance(8 * 24 * 3600);
    let first = app.auth.purge_expired(3).await.unwrap();
    let bob = app.user("bob").await;
    let second = app.auth.purge_expired(3).await.unwrap();
    assert_eq!((first.sessions, second.sessions), (3, 2));
    assert_eq!((first.verifications, second.verifications), (3, 0));
    assert!(first.more && !second.more && first.rate_limits > 0, "{first:?}");
    assert_eq!(app.auth.purge_expired(3).await.unwrap(), Purged::default());
    assert_eq!(bob.get("/get-session").await.expect(200)["user"]["name"], "bob");
    assert_eq!(app.auth.db().count(User::KEY, &Filter::All).await.unwrap(), 2, "users stay");
    let text = app.auth.prometheus();
    assert!(text.contains("portcullis_purged_rows_total{table=\"session\"} 5\n"), "{text}");
}

#[tokio::test]
async fn the_operator_can_keep_what_has_expired() {
    let settings = json!({ "verification": { "disableCleanup": true } });
    let (app, _) = app(settings, &Told::default()).await;
    verification(&app, 0, 60).await;
    app.advance(3600);
    assert_eq!(app.auth.purge_expired(500).await.unwrap(), Purged::default());
    assert_eq!(app.auth.db().count(Verification::KEY, &Filter::All).await.unwrap(), 1);
}

#[tokio::test]
async fn whoever_asks_for_links_clears_away_old_ones_batch_by_batch() {
    let (app, _) = app(json!({}), &Told::default()).await;
    let mut tx = app.auth.begin().await.unwrap();
    for number in 0..1200 {
        let row = Row::new()
            .with(Verification::ID.key, format!("old{number}"))
            .with(Verification::IDENTIFIER.key, "old")
            .with(Verification::VALUE.key, "x")
            .with(Verification::EXPIRES_AT.key, app.clock.now());
        tx.db().insert(Verification::KEY, row).await.unwrap();
    }
    tx.commit().await.unwrap();
    app.advance(120);
    let mut left = Vec::new();
    for number in 0..4 {
        verification(&app, number, 60).await;
        let old = Verification::IDENTIFIER.is("old");
        left.push(app.auth.db().count(Verification::KEY, &old).await.unwrap());
    }
    assert_eq!(left, [700, 200, 0, 0]);
}

/// Fifty purges at once, of one pool on each database: no deadlock, and every row goes exactly once.
async fn purged_by_many(dialect: Dialect) {
    let Some(url) = fresh_database(dialect).await else { return };
    let (app, _) = app(json!({ "database": { "url": url } }), &Told::default()).await;
    let mut tx = app.auth.begin().await.unwrap();
    for number in 0..300 {
        let row = Row::new()
            .with(Verification::ID.key, format!("old{number:03}"))
            .with(Verification::IDENTIFIER.key, "old")
            .with(Verification::VALUE.key, "x")
            .with(Verification::EXPIRES_AT.key, app.clock.now().plus_seconds(-1));
        tx.db().insert(Verification::KEY, row).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let auth = app.auth.clone();
        tasks.spawn(async move {
            let mut gone = 0;
            loop {
                let purged = auth.purge_expired(20).await.unwrap();
                gone += purged.verifications;
                if purged.verifications == 0 {
                    return gone;
                }
            }
        });
    }
    let gone: u64 = tasks.join_all().await.into_iter().sum();
    let left = app.auth.db().count(Verification::KEY, &Filter::All).await.unwrap();
    assert_eq!((gone, left), (300, 0));
}

#[tokio::test]
async fn many_purges_at_once_do_not_hurt_one_another_in_sqlite() {
    purged_by_many(Dialect::Sqlite).await;
}

#[tokio::test]
async fn many_purges_at_once_do_not_hurt_one_another_in_postgresql() {
    purged_by_many(Dialect::Postgres).await;
}

#[tokio::test]
async fn many_purges_at_once_do_not_hurt_one_another_in_mysql() {
    purged_by_many(Dialect::MySql).await;
}
