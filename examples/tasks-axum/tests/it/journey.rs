//! From sign-up to a task and out again, as a client without cookies goes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, on_both};

on_both!(with_published_keys);

async fn with_published_keys(world: World) {
    journey(&world, "EdDSA").await;
}

#[tokio::test]
async fn with_a_shared_secret() {
    let secret = "an-Uncommon-s3cret-0f-services-42";
    let world = World::with(&[("JWT_SECRET", secret)]).await;
    journey(&world, "HS256").await;
    // A key pair that somebody makes at the same database is nobody's.
    let bea = world.person("bea").await;
    let signer = world.signer().await;
    let token = signer.sign(&bea, json!({})).await;
    world.get(&token, "/api/v1/tasks").await.refused(401, "Invalid token");
    // The session's way gives tokens that are signed with the secret, too.
    world.get(&bea.token, "/api/v1/tasks").await.expect(200);
}

#[tokio::test]
async fn with_an_issuer_and_an_audience_of_ones_own() {
    let world = World::with(&[
        ("AUTH_ISSUER", "https://who.example"),
        ("AUTH_AUDIENCE", "tasks"),
        ("BETTER_AUTH_URL", "http://localhost:3000"),
    ])
    .await;
    let signed = world.auth("/signup", "", Some(credentials("ada"))).await.expect(201);
    let token = signed["access_token"].as_str().unwrap();
    let claims = part(token, 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("https://who.example"), &json!("tasks")));
    world.get(token, "/api/v1/tasks").await.expect(200);
}

fn credentials(name: &str) -> Value {
    json!({ "name": name, "email": format!("{name}@example.com"), "password": "correct horse battery" })
}

/// A part of a JWT.
fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn journey(world: &World, algorithm: &str) {
    let auth = async |path: &str, body: Value| world.auth(path, "", Some(body)).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    // Sign up, once, and not with a weak password.
    let signed = auth("/signup", credentials("ada")).await.expect(201);
    let (token, id) = (text(&signed["access_token"]), text(&signed["user"]["id"]));
    assert_eq!(part(&token, 0)["alg"], algorithm);
    auth("/signup", credentials("ada")).await.expect(409);
    let weak = json!({ "name": "x", "email": "x@example.com", "password": "short" });
    auth("/signup", weak).await.expect(422);

    // Sign in, and not with another password.
    let mut wrong = credentials("ada");
    wrong["password"] = "another horse battery".into();
    auth("/signin", wrong).await.expect(401);
    let signed = auth("/signin", credentials("ada")).await.expect(200);
    let (newer, refresh) = (text(&signed["access_token"]), text(&signed["refresh_token"]));

    // The token opens the API. Nothing does not, and neither does the other token.
    let task = world.call(&token, Method::POST, "/api/v1/tasks", Some(json!({ "title": "Buy milk" }))).await;
    assert_eq!(task.expect(201)["user_id"], *id);
    let own = format!("/api/users/{id}/todos");
    assert_eq!(world.get(&newer, &own).await.expect(200).as_array().unwrap().len(), 1);
    let none = world.send(Method::GET, &own, &[], "").await;
    none.refused(401, "Missing or invalid authorization header");
    world.get(&refresh, &own).await.refused(401, "Invalid token");

    // Nor does somebody else's.
    let bob = text(&auth("/signup", credentials("bob")).await.expect(201)["access_token"]);
    world.get(&bob, &own).await.refused(403, "You can only access your own resources");

    // It ends, and is renewed, until the session ends.
    world.advance(15 * 60 + 6);
    world.get(&newer, &own).await.refused(401, "Token expired");
    let renewed = auth("/token/refresh", json!({ "refresh_token": refresh })).await.expect(200);
    let token = text(&renewed["access_token"]);
    assert_eq!(world.get(&token, &own).await.expect(200).as_array().unwrap().len(), 1);
    let last = json!({ "refresh_token": renewed["refresh_token"] });
    auth("/signout", last.clone()).await.expect(204);
    auth("/token/refresh", last).await.expect(401);
}
