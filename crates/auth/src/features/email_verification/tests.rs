//! Mailed links that prove an address, through HTTP. The change of an address is tried in the room `user`.

use portcullis_core::config::Settings;
use portcullis_core::crypto::sign_hs256;
use portcullis_core::error::{Code, Error};
use portcullis_core::hooks::Callback;
use portcullis_core::identity::{Session, User};
use portcullis_core::store::{Filter, Row};
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::features::LIST;

async fn start(settings: Json) -> (TestApp, Told) {
    let told = Told::default();
    let (mail, before, after) = (told.callback(), told.callback(), told.callback());
    let change = move |mut settings: Settings| {
        settings.email_verification.send_verification_email = Some(mail);
        settings.email_verification.before_email_verification = Some(before);
        settings.email_verification.after_email_verification = Some(after);
        settings
    };
    (TestApp::start_with(LIST, settings, change, None).await, told)
}

async fn ask(who: &Actor, name: &str) -> Reply {
    let body = json!({ "email": format!("{name}@example.com"), "callbackURL": "/in?a=b&c=d" });
    who.post("/send-verification-email", body).await
}

fn mailed(told: &Told) -> String {
    let (name, args) = told.last();
    assert_eq!(name, "emailVerification.sendVerificationEmail");
    args[0]["token"].as_str().unwrap().to_owned()
}

fn names(told: &Told) -> Vec<String> {
    told.all().into_iter().map(|(name, _)| name).collect()
}

async fn is_proven(app: &TestApp, name: &str) -> bool {
    let user = User::by_email(&mut app.auth.db(), &format!("{name}@example.com")).await.unwrap();
    user.unwrap().email_verified
}

fn signed(app: &TestApp, claims: Json) -> String {
    let claims = claims.as_object().unwrap().clone();
    sign_hs256(app.auth.config().secrets.current(), &claims, app.auth.clock().now(), 60).unwrap()
}

#[tokio::test]
async fn a_mailed_link_proves_the_address() {
    let (app, told) = start(json!({})).await;
    let ada = app.user("ada").await;
    ask(&ada, "ADA").await.expect(200);
    let token = mailed(&told);
    let mail = told.last().1;
    assert_eq!(
        mail[0]["url"],
        format!(
            "http://localhost:3000/api/auth/verify-email?token={token}&callbackURL=%2Fin%3Fa%3Db%26c%3Dd"
        )
    );
    assert_eq!(mail[0]["user"]["emailVerified"], false);
    assert!(!is_proven(&app, "ada").await);

    let visitor = app.actor();
    let reply = visitor.get(&format!("/verify-email?token={token}")).await;
    assert_eq!(reply.expect(200), json!({ "status": true, "user": null }));
    assert!(reply.set_cookies().is_empty(), "a link alone signs nobody in");
    assert!(is_proven(&app, "ada").await);
    let all = names(&told);
    assert_eq!(
        all[1..],
        ["emailVerification.beforeEmailVerification", "emailVerification.afterEmailVerification"]
    );
    assert_eq!(told.last().1[0]["emailVerified"], true);

    let reply = visitor.get(&format!("/verify-email?token={token}&callbackURL=%2Fin%3Fa%3Db%26c%3Dd")).await;
    reply.expect(302);
    assert_eq!(reply.header("location"), "/in?a=b&c=d");
    assert_eq!(names(&told).len(), 3, "what is proven is not proven again");
}

#[tokio::test]
async fn strangers_hear_the_same_about_every_address_and_no_sooner() {
    let (app, told) = start(json!({})).await;
    app.user("ada").await;
    app.user("bob").await;
    let proven = Row::new().with(User::EMAIL_VERIFIED.key, true);
    app.auth.db().update(User::KEY, &User::EMAIL.is("bob@example.com"), proven).await.unwrap();
    for (name, mails) in [("nobody", 0), ("bob", 0), ("ada", 1)] {
        let before = std::time::Instant::now();
        let reply = ask(&app.actor(), name).await;
        assert_eq!(reply.expect(200), json!({ "status": true }));
        assert!(before.elapsed() >= std::time::Duration::from_millis(500), "{name}: {:?}", before.elapsed());
        assert_eq!(told.all().len(), mails, "{name}");
    }
}

#[tokio::test]
async fn who_is_signed_in_hears_what_is_wrong() {
    let (app, told) = start(json!({})).await;
    let ada = app.user("ada").await;
    ask(&ada, "eve").await.refused(400, "EMAIL_MISMATCH");
    let proven = Row::new().with(User::EMAIL_VERIFIED.key, true);
    app.auth.db().update(User::KEY, &Filter::All, proven).await.unwrap();
    ask(&ada, "ada").await.refused(400, "EMAIL_ALREADY_VERIFIED");
    assert!(told.all().is_empty());
    let off = TestApp::start(LIST, json!({})).await;
    ask(&off.actor(), "ada").await.refused(400, "VERIFICATION_EMAIL_NOT_ENABLED");
}

#[tokio::test]
async fn a_delivery_that_was_asked_for_and_fails_is_said() {
    let change = |mut settings: Settings| {
        let refuse =
            |_: &str, _: Vec<Json>| async { Err(Error::from(Code::new(429, "SLOW_DOWN", "Too many mails"))) };
        settings.email_verification.send_verification_email = Some(Callback::native(refuse));
        settings
    };
    let app = TestApp::start_with(LIST, json!({}), change, None).await;
    let ada = app.user("ada").await;
    ask(&ada, "ada").await.refused(429, "SLOW_DOWN");
    ask(&app.actor(), "ada").await.refused(429, "SLOW_DOWN");
}

#[tokio::test]
async fn the_operator_may_refuse_before_an_address_counts_as_proven() {
    let told = Told::default();
    let mail = told.callback();
    let change = move |mut settings: Settings| {
        let refuse = |_: &str, _: Vec<Json>| async { Err(Error::from(Code::new(403, "NOT_YET", "Not yet"))) };
        settings.email_verification.send_verification_email = Some(mail);
        settings.email_verification.before_email_verification = Some(Callback::native(refuse));
        settings
    };
    let app = TestApp::start_with(LIST, json!({}), change, None).await;
    let ada = app.user("ada").await;
    ask(&ada, "ada").await.expect(200);
    app.actor().get(&format!("/verify-email?token={}", mailed(&told))).await.refused(403, "NOT_YET");
    assert!(!is_proven(&app, "ada").await);
}

#[tokio::test]
async fn a_proof_can_sign_in_once() {
    let (app, told) = start(json!({
        "emailAndPassword": { "requireEmailVerification": true },
        "emailVerification": { "autoSignInAfterVerification": true },
        "plugins": { "bearer": {} },
    }))
    .await;
    let body = json!({ "name": "ada", "email": "ada@example.com", "password": "correct horse" });
    app.actor().post("/sign-up/email", body).await.expect(200);
    let link = format!("/verify-email?token={}", mailed(&told));
    let (first, second) = (app.actor(), app.actor());
    let reply = first.get(&link).await;
    reply.expect(200);
    insta::assert_snapshot!(reply.cookie_shapes(), @"better-auth.session_token=[token].[signature]; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax");
    assert!(!reply.header("set-auth-token").is_empty());
    assert_eq!(first.get("/get-session").await.expect(200)["user"]["emailVerified"], true);
    second.get(&link).await.expect(200);
    assert_eq!(second.get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test]
async fn of_fifty_who_follow_one_link_at_once_one_is_signed_in() {
    let (app, told) = start(json!({
        "emailAndPassword": { "autoSignIn": false },
        "emailVerification": { "autoSignInAfterVerification": true, "sendOnSignUp": true },
    }))
    .await;
    let body = json!({ "name": "ada", "email": "ada@example.com", "password": "correct horse" });
    app.actor().post("/sign-up/email", body).await.expect(200);
    let token = mailed(&told);
    let mut racers = JoinSet::new();
    for _ in 0..50 {
        let (actor, link) = (app.actor(), format!("/verify-email?token={token}"));
        racers.spawn(async move { actor.get(&link).await });
    }
    let replies = racers.join_all().await;
    replies.iter().for_each(|reply| drop(reply.expect(200)));
    assert_eq!(replies.iter().filter(|reply| !reply.set_cookies().is_empty()).count(), 1);
    assert_eq!(app.auth.db().count(Session::KEY, &Filter::All).await.unwrap(), 1);
    let after = names(&told).into_iter().filter(|name| name.ends_with(".afterEmailVerification"));
    assert_eq!(after.count(), 1);
}

#[tokio::test]
async fn who_is_signed_in_keeps_the_session_and_somebody_else_gets_their_own() {
    let (app, told) = start(json!({ "emailVerification": { "autoSignInAfterVerification": true } })).await;
    let ada = app.user("ada").await;
    let eve = app.user("eve").await;
    let before = ada.get("/get-session").await.expect(200);
    ask(&ada, "ada").await.expect(200);
    ada.get(&format!("/verify-email?token={}", mailed(&told))).await.expect(200);
    let now = ada.get("/get-session").await.expect(200);
    assert_eq!(now["session"]["token"], before["session"]["token"]);
    ask(&eve, "eve").await.expect(200);
    ada.get(&format!("/verify-email?token={}", mailed(&told))).await.expect(200);
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "eve");
}

#[tokio::test]
async fn a_link_that_is_late_or_not_of_ours_is_refused_by_code_or_by_parameter() {
    let (app, told) = start(json!({ "emailVerification": { "expiresIn": 10 } })).await;
    let ada = app.user("ada").await;
    ask(&ada, "ada").await.expect(200);
    let late = mailed(&told);
    let visitor = app.actor();
    let session_like = signed(&app, json!({ "session": {}, "user": { "email": "ada@example.com" } }));
    let nobody = signed(&app, json!({ "email": "nobody@example.com" }));
    let odd = signed(&app, json!({ "email": ["ada@example.com"] }));
    app.advance(10);
    for (token, code) in [
        (late.as_str(), "TOKEN_EXPIRED"),
        (&session_like, "INVALID_TOKEN"),
        (&odd, "INVALID_TOKEN"),
        (&nobody, "USER_NOT_FOUND"),
        ("", "INVALID_TOKEN"),
        ("eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFkYUBleGFtcGxlLmNvbSJ9.", "INVALID_TOKEN"),
    ] {
        visitor.get(&format!("/verify-email?token={token}")).await.refused(401, code);
        for (back, location) in [
            ("/in", format!("/in?error={code}")),
            ("/in%3Fa%3Db%23top", format!("/in?a=b&error={code}#top")),
            ("http://localhost:3000/x", format!("http://localhost:3000/x?error={code}")),
        ] {
            let reply = visitor.get(&format!("/verify-email?token={token}&callbackURL={back}")).await;
            reply.expect(302);
            assert_eq!(reply.header("location"), location);
        }
    }
    assert!(!is_proven(&app, "ada").await);
    visitor.get("/verify-email").await.refused(400, "VALIDATION_ERROR");
    visitor.get("/verify-email?token=a&token=b").await.refused(400, "VALIDATION_ERROR");
    for back in ["https://evil.example", "//evil.example"] {
        let link = format!("/verify-email?token={late}&callbackURL={back}");
        visitor.get(&link).await.refused(403, "INVALID_CALLBACK_URL");
    }
}

#[tokio::test]
async fn the_link_of_a_change_names_its_user_and_a_purpose_that_exists() {
    let (app, _) = start(json!({})).await;
    app.user("ada").await;
    let visitor = app.actor();
    let id = User::by_email(&mut app.auth.db(), "ada@example.com").await.unwrap().unwrap().id;
    for claims in [
        json!({ "email": "ada@example.com", "updateTo": "eve@example.com" }),
        json!({ "email": "ada@example.com", "updateTo": "eve@example.com", "requestType": "change-email-verification" }),
        json!({ "email": "ada@example.com", "updateTo": "eve@example.com", "userId": id }),
        json!({ "email": "ada@example.com", "updateTo": "eve@example.com", "userId": id, "requestType": "x" }),
        json!({ "email": "ada@example.com", "updateTo": "eve@example.com", "userId": "somebody", "requestType": "change-email-verification" }),
    ] {
        let token = signed(&app, claims);
        visitor.get(&format!("/verify-email?token={token}")).await.refused(401, "INVALID_TOKEN");
    }
    assert!(User::by_email(&mut app.auth.db(), "eve@example.com").await.unwrap().is_none());
    // A server before 1.7.16 names no user; its links still prove.
    let plain = signed(&app, json!({ "email": "ada@example.com" }));
    visitor.get(&format!("/verify-email?token={plain}")).await.expect(200);
    assert!(is_proven(&app, "ada").await);
}
