//! Every flow with a mail in it, by the server's own mailer, through HTTP and a developer's mailbox.

use std::sync::Arc;

use portcullis::features::LIST;
use portcullis::identity::User;
use portcullis::mail::{Queued, Seen};
use portcullis::store::{Filter, Row};
use portcullis::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};

async fn app(mut settings: Json) -> TestApp {
    if settings.get("mail").is_none() {
        settings["mail"] = json!({});
    }
    TestApp::start(LIST, settings).await
}

fn all(app: &TestApp) -> Vec<Arc<Seen>> {
    app.auth.mailer().mailbox().unwrap().list()
}

/// The newest mail. Those beside a request are on their way when it is answered.
async fn newest(app: &TestApp, count: usize) -> Arc<Seen> {
    for _ in 0..10_000 {
        let mut seen = all(app);
        if seen.len() == count {
            return seen.remove(0);
        }
        assert!(seen.len() < count, "{} mails", seen.len());
        tokio::task::yield_now().await;
    }
    panic!("{} mails instead of {count}", all(app).len());
}

/// Where the link of a mail leads, below the base path.
fn path(seen: &Seen) -> String {
    seen.mail.link.strip_prefix("http://localhost:3000/api/auth").unwrap().to_owned()
}

async fn prove(app: &TestApp) {
    let proven = Row::new().with(User::EMAIL_VERIFIED.key, true);
    app.auth.db().update(User::KEY, &Filter::All, proven).await.unwrap();
}

async fn email(actor: &Actor) -> Json {
    actor.get("/get-session").await.expect(200)["user"]["email"].clone()
}

#[tokio::test]
async fn a_new_address_is_proven_by_mail_and_a_taken_one_hears_of_the_attempt() {
    let app = app(json!({ "emailAndPassword": { "requireEmailVerification": true } })).await;
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    app.actor().post("/sign-up/email", body.clone()).await.expect(200);
    let mail = newest(&app, 1).await;
    assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("verify-email", "ada@example.com"));
    let actor = app.actor();
    actor.get(&path(&mail)).await.expect(302);
    actor.post("/sign-in/email", body.clone()).await.expect(200);
    app.actor().post("/sign-up/email", body).await.expect(200);
    let mail = newest(&app, 2).await;
    assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("existing-user-sign-up", "ada@example.com"));
    assert_eq!(app.auth.db().count(Queued::KEY, &Filter::All).await.unwrap(), 0);
}

#[tokio::test]
async fn a_proven_address_is_changed_when_the_old_and_the_new_one_agree() {
    let app = app(json!({ "user": { "changeEmail": { "enabled": true } } })).await;
    let ada = app.user("ada").await;
    prove(&app).await;
    ada.post("/change-email", json!({ "newEmail": "ada@example.org", "callbackURL": "/" })).await.expect(200);
    let mail = newest(&app, 1).await;
    assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("change-email-confirmation", "ada@example.com"));
    assert!(mail.mail.text.contains("ada@example.org"), "{}", mail.mail.text);
    ada.get(&path(&mail)).await.expect(302);
    assert_eq!(email(&ada).await, "ada@example.com");
    let mail = newest(&app, 2).await;
    assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("verify-email", "ada@example.org"));
    ada.get(&path(&mail)).await.expect(302);
    assert_eq!(email(&ada).await, "ada@example.org");
}

#[tokio::test]
async fn with_confirm_change_email_off_the_new_address_alone_is_asked() {
    let app = app(
        json!({ "user": { "changeEmail": { "enabled": true } }, "mail": { "confirmChangeEmail": false } }),
    )
    .await;
    let ada = app.user("ada").await;
    prove(&app).await;
    ada.post("/change-email", json!({ "newEmail": "ada@example.org" })).await.expect(200);
    assert_eq!(newest(&app, 1).await.to, "ada@example.org");
}

#[tokio::test]
async fn an_account_is_deleted_at_once_or_by_a_mailed_link_as_the_operator_has_it() {
    let settings = |confirm: bool| json!({ "user": { "deleteUser": { "enabled": true } }, "mail": { "confirmDeleteUser": confirm } });
    let plain = app(settings(false)).await;
    plain.user("ada").await.post("/delete-user", json!({})).await.expect(200);
    assert_eq!(plain.auth.db().count(User::KEY, &Filter::All).await.unwrap(), 0);
    assert!(all(&plain).is_empty());

    let app = app(settings(true)).await;
    let ada = app.user("ada").await;
    ada.post("/delete-user", json!({ "callbackURL": "/" })).await.expect(200);
    assert_eq!(app.auth.db().count(User::KEY, &Filter::All).await.unwrap(), 1);
    let mail = newest(&app, 1).await;
    assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("delete-account", "ada@example.com"));
    assert!(mail.mail.text.contains("24 hours"), "{}", mail.mail.text);
    ada.get(&path(&mail)).await.expect(302);
    assert_eq!(app.auth.db().count(User::KEY, &Filter::All).await.unwrap(), 0);
}

#[tokio::test]
async fn codes_are_mailed_only_where_the_operator_asked_for_that() {
    let off = app(json!({ "plugins": { "twoFactor": {} } })).await;
    let ada = off.user("ada").await;
    let refused =
        ada.post("/two-factor/enable", json!({ "password": "correct horse", "method": "otp" })).await;
    assert_eq!(refused.status.as_u16(), 400, "{}", refused.text);

    let app = app(json!({ "plugins": { "twoFactor": { "otpOptions": { "sendByMail": true } } } })).await;
    let ada = app.user("ada").await;
    ada.post("/two-factor/enable", json!({ "password": "correct horse", "method": "otp" })).await.expect(200);
    let device = app.actor();
    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    let challenge = device.post("/sign-in/email", body).await.expect(200);
    assert_eq!(challenge["twoFactorMethods"], json!(["otp"]));
    device.post("/two-factor/send-otp", json!({})).await.expect(200);
    let mail = newest(&app, 1).await;
    assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("two-factor-otp", "ada@example.com"));
    assert!(mail.mail.subject.starts_with(&mail.mail.link) && mail.mail.text.contains("3 minutes"));
    device.post("/two-factor/verify-otp", json!({ "code": mail.mail.link })).await.expect(200);
    assert_eq!(email(&device).await, "ada@example.com");
}

#[tokio::test]
async fn whoever_changes_a_password_or_resets_one_is_told_unless_the_operator_says_no() {
    for notify in [true, false] {
        let app = app(json!({ "mail": { "notifyPasswordChanged": notify } })).await;
        let ada = app.user("ada").await;
        let body = json!({ "currentPassword": "correct horse", "newPassword": "another horse" });
        ada.post("/change-password", body).await.expect(200);
        let told = usize::from(notify);
        if notify {
            let mail = newest(&app, 1).await;
            assert_eq!((mail.kind.as_str(), mail.to.as_str()), ("password-changed", "ada@example.com"));
        }
        let ask = json!({ "email": "ada@example.com", "redirectTo": "/new" });
        app.actor().post("/request-password-reset", ask).await.expect(200);
        let mail = newest(&app, told + 1).await;
        let link = path(&mail);
        let token = link.split("/reset-password/").nth(1).unwrap().split('?').next().unwrap();
        let reset = json!({ "token": token, "newPassword": "third horse" });
        app.actor().post("/reset-password", reset).await.expect(200);
        if notify {
            assert_eq!(newest(&app, 3).await.kind, "password-changed");
        } else {
            assert_eq!(all(&app).len(), 1);
        }
    }
}

#[tokio::test]
async fn what_an_unknown_address_costs_leaves_no_row_and_no_mail() {
    let app = app(json!({})).await;
    for (path, body) in [
        ("/request-password-reset", json!({ "email": "nobody@example.com" })),
        ("/send-verification-email", json!({ "email": "nobody@example.com" })),
    ] {
        app.actor().post(path, body).await.expect(200);
    }
    assert!(all(&app).is_empty());
    assert_eq!(app.auth.db().count(Queued::KEY, &Filter::All).await.unwrap(), 0);
    assert_eq!(app.auth.metrics().mails(), [0; 4]);
}
