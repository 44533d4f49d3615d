//! The password policy, through HTTP: every way in which a password is set, and what it never tells.

use portcullis::config::Settings;
use portcullis::features::LIST;
use portcullis::store::Filter;
use portcullis::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};

const GOOD: &str = "Correct-horse-7";

async fn with_policy(policy: Json) -> (TestApp, Told) {
    let told = Told::default();
    let mail = told.callback();
    let change = move |mut settings: Settings| {
        settings.email_and_password.send_reset_password = Some(mail);
        settings
    };
    let settings = json!({
        "emailAndPassword": { "passwordPolicy": policy },
        "plugins": { "username": {} },
    });
    (TestApp::start_with(LIST, settings, change, None).await, told)
}

async fn sign_up(actor: &Actor, password: &str) -> Reply {
    let body = json!({
        "name": "Ada Lovelace", "email": "ada@engines.example", "username": "countess", "password": password,
    });
    actor.post("/sign-up/email", body).await
}

#[tokio::test]
async fn without_a_policy_every_password_of_the_right_length_is_taken() {
    let (app, _) = with_policy(json!({})).await;
    sign_up(&app.actor(), "password").await.expect(200);
}

#[tokio::test]
async fn every_rule_has_a_code_and_says_what_is_missing() {
    let (app, _) = with_policy(json!({
        "rejectCommon": true, "rejectContext": true, "minClasses": 3, "requireDigit": true,
    }))
    .await;
    for (password, code, message) in [
        ("short", "PASSWORD_TOO_SHORT", "Password too short"),
        ("no-digit-here", "PASSWORD_NEEDS_DIGIT", "Password must contain a digit"),
        (
            "lower1234",
            "PASSWORD_NEEDS_MORE_KINDS",
            "Password must contain at least 3 of: lowercase letters, uppercase letters, digits, symbols",
        ),
        (
            "P@ssw0rd",
            "PASSWORD_TOO_COMMON",
            "Password is one of the most common ones. Please choose another.",
        ),
        (
            "Countess-1815",
            "PASSWORD_CONTAINS_CONTEXT",
            "Password must not contain parts of your name, your email address or the name of this service",
        ),
    ] {
        let refused = sign_up(&app.actor(), password).await.expect(400);
        assert_eq!(refused, json!({ "code": code, "message": message }), "{password}");
    }
    assert_eq!(app.auth.db().count("user", &Filter::All).await.unwrap(), 0);
    sign_up(&app.actor(), GOOD).await.expect(200);
}

#[tokio::test]
async fn every_way_to_set_a_password_asks_and_signing_in_does_not() {
    let (app, told) = with_policy(json!({ "rejectCommon": true, "rejectContext": true })).await;
    let ada = app.actor();
    sign_up(&ada, "password1").await.refused(400, "PASSWORD_TOO_COMMON");
    sign_up(&ada, "lovelace-7").await.refused(400, "PASSWORD_CONTAINS_CONTEXT");
    sign_up(&ada, GOOD).await.expect(200);

    for (new, code) in [("trustno1", "PASSWORD_TOO_COMMON"), ("my-c0untess!", "PASSWORD_CONTAINS_CONTEXT")] {
        let body = json!({ "newPassword": new, "currentPassword": GOOD });
        ada.post("/change-password", body).await.refused(400, code);
        let ask = json!({ "email": "ada@engines.example", "redirectTo": "/new" });
        app.actor().post("/request-password-reset", ask).await.expect(200);
        let token = told.last().1[0]["token"].as_str().unwrap().to_owned();
        let reset = |password: &str| {
            let body = json!({ "newPassword": password, "token": token });
            let actor = app.actor();
            async move { actor.post("/reset-password", body).await }
        };
        reset(new).await.refused(400, code);
        // The refusal has not cost the token.
        reset(GOOD).await.expect(200);
    }
    let sign_in = |password: &str| {
        let body = json!({ "email": "ada@engines.example", "password": password });
        let actor = app.actor();
        async move { actor.post("/sign-in/email", body).await }
    };
    sign_in(GOOD).await.expect(200);
    // At a sign-in a password is right or wrong, whatever it is.
    sign_in("password1").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
}

#[tokio::test]
async fn what_it_says_does_not_depend_on_whether_the_address_is_taken() {
    let (app, _) = with_policy(json!({ "rejectCommon": true })).await;
    let sign_up = |password: &str| {
        let body = json!({ "name": "Ada", "email": "ada@engines.example", "password": password });
        let actor = app.actor();
        async move { actor.post("/sign-up/email", body).await }
    };
    let before = sign_up("password1").await;
    before.refused(400, "PASSWORD_TOO_COMMON");
    sign_up(GOOD).await.expect(200);
    let after = sign_up("password1").await;
    assert_eq!((before.status, before.text), (after.status, after.text));
    let body = json!({ "newPassword": "password1", "token": "x".repeat(24) });
    app.actor().post("/reset-password", body).await.refused(400, "INVALID_TOKEN");
}
