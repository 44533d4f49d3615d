//! What users change about themselves, through HTTP.

use portcullis_core::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};

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
