//! Accounts, through HTTP.

use portcullis_core::identity::Account;
use portcullis_core::store::{Query, Row};
use portcullis_core::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::features::LIST;

/// Links a provider to a user, as social sign-in does; the row's id.
async fn link(app: &TestApp, user: &Json, provider: &str) -> String {
    let now = app.clock.now();
    let row = Row::new()
        .with(Account::ACCOUNT_ID.key, "provider-id")
        .with(Account::PROVIDER_ID.key, provider)
        .with(Account::USER_ID.key, user.as_str().unwrap())
        .with(Account::ACCESS_TOKEN.key, "secret-access-token")
        .with(Account::SCOPE.key, "openid, email,")
        .with(Account::CREATED_AT.key, now)
        .with(Account::UPDATED_AT.key, now);
    let stored = app.auth.db().insert(Account::KEY, app.auth.with_new_id(row)).await.unwrap();
    stored.text("id").unwrap().to_owned()
}

async fn id(actor: &Actor) -> Json {
    actor.get("/get-session").await.expect(200)["user"]["id"].clone()
}

async fn count(app: &TestApp) -> usize {
    app.auth.db().list(Account::KEY, &Query::all()).await.unwrap().len()
}

#[tokio::test]
async fn a_user_sees_their_accounts_without_hash_and_tokens() {
    let app = TestApp::start(LIST, json!({})).await;
    app.user("eve").await;
    let ada = app.user("ada").await;
    let user = id(&ada).await;
    link(&app, &user, "github").await;
    let reply = ada.get("/list-accounts").await;
    let list = reply.expect(200);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let credential = &list[0];
    let now = "2026-09-21T14:13:20.000Z";
    assert_eq!(
        *credential,
        json!({
            "id": credential["id"], "accountId": user, "providerId": "credential", "userId": user,
            "createdAt": now, "updatedAt": now, "scopes": [],
        })
    );
    assert_eq!((&list[1]["providerId"], &list[1]["scopes"]), (&json!("github"), &json!(["openid", "email"])));
    assert!(!reply.text.contains("argon2") && !reply.text.contains("secret-access-token"), "{}", reply.text);
    app.actor().get("/list-accounts").await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_account_can_be_removed_but_not_the_last() {
    let app = TestApp::start(LIST, json!({})).await;
    let ada = app.user("ada").await;
    let github = link(&app, &id(&ada).await, "github").await;
    ada.post("/unlink-account", json!({ "accountId": "unknown" })).await.refused(400, "ACCOUNT_NOT_FOUND");
    ada.post("/unlink-account", json!({})).await.refused(400, "VALIDATION_ERROR");
    ada.post("/unlink-account", json!({ "accountId": github })).await.expect(200);
    let last = ada.get("/list-accounts").await.expect(200)[0]["id"].clone();
    ada.post("/unlink-account", json!({ "accountId": last }))
        .await
        .refused(400, "FAILED_TO_UNLINK_LAST_ACCOUNT");
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn the_last_account_may_go_where_the_operator_says_so() {
    let linking = json!({ "account": { "accountLinking": { "allowUnlinkingAll": true } } });
    let app = TestApp::start(LIST, linking).await;
    let ada = app.user("ada").await;
    let last = ada.get("/list-accounts").await.expect(200)[0]["id"].clone();
    ada.post("/unlink-account", json!({ "accountId": last })).await.expect(200);
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn another_users_account_is_not_found() {
    let app = TestApp::start(LIST, json!({})).await;
    let ada = app.user("ada").await;
    let github = link(&app, &id(&ada).await, "github").await;
    let eve = app.user("eve").await;
    link(&app, &id(&eve).await, "github").await;
    let body = json!({ "accountId": github, "userId": id(&ada).await });
    eve.post("/unlink-account", body).await.refused(400, "ACCOUNT_NOT_FOUND");
    assert_eq!(count(&app).await, 4);
}

#[tokio::test]
async fn two_removals_at_once_leave_one_account() {
    let app = TestApp::start(LIST, json!({})).await;
    let ada = app.user("ada").await;
    link(&app, &id(&ada).await, "github").await;
    let list = ada.get("/list-accounts").await.expect(200);
    let mut racers = JoinSet::new();
    for n in 0..50 {
        let (ada, account) = (ada.copy(), list[n % 2]["id"].clone());
        racers.spawn(async move { ada.post("/unlink-account", json!({ "accountId": account })).await });
    }
    let done = racers.join_all().await.iter().filter(|reply| reply.status.as_u16() == 200).count();
    assert_eq!((done, count(&app).await), (1, 1));
}
