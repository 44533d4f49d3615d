//! What must not get through.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::clock::{Clock, Timestamp};
use portcullis_verify::Algorithm;
use portcullis_verify::testing::{AUDIENCE, ISSUER, TestKit};
use reqwest::Method;
use serde_json::{Value, json};
use tasks_axum::config::Config;
use tasks_axum::store::Store;
use tasks_axum::{App, api, auth};
use tower::ServiceExt as _;

use crate::world::{Person, START, World, on_both, own_routes, protected};

on_both!(
    without_a_token_there_is_nothing,
    a_forged_token_opens_no_route,
    an_expired_token_opens_no_route,
    another_user_is_kept_out_of_every_route,
    an_owner_in_a_body_is_refused,
);

const MISSING: &str = "Missing or invalid authorization header";

async fn without_a_token_there_is_nothing(world: World) {
    let ada = world.person("ada").await;
    let id = world.task(&ada, "mine").await;
    let twice = format!("Bearer {}, Bearer {}", ada.token, ada.token);
    let basic = format!("Basic {}", ada.token);
    for (method, path, body) in protected(&ada.id, &id) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let send = async |headers: &[(&str, &str)]| {
            let reply = world.send(method.clone(), &path, headers, body.clone()).await;
            assert!(reply.header("www-authenticate").starts_with("Bearer"), "{reply:?}");
            reply.refused(401, MISSING);
        };
        send(&[]).await;
        // The session is the auth server's; the API takes no cookies, so no other site can ride on them.
        send(&[("cookie", &ada.cookie)]).await;
        for header in ["Bearer", "Bearer ", "", basic.as_str(), ada.token.as_str(), twice.as_str()] {
            send(&[("authorization", header)]).await;
        }
        // In a query it would be in every log.
        let query = format!("{path}?access_token={0}&token={0}", ada.token);
        world.send(method.clone(), &query, &[], body.clone()).await.refused(401, MISSING);
    }
    assert_eq!(world.count("select count(*) from tasks").await, 1);
}

/// Tokens that somebody without the server's keys could make, or that the server made for something else.
async fn forged(world: &World, ada: &Person) -> Vec<(String, String)> {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let parts: Vec<&str> = ada.token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { panic!("no JWT: {}", ada.token) };
    let claims = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let set = world.auth("/jwks", "", None).await.expect(200);
    let jwk = &set["keys"][0];
    let kid = jwk["kid"].as_str().unwrap();
    let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();

    let mut all = vec![
        ("no JWT".to_owned(), "x".to_owned()),
        ("dots alone".to_owned(), "..".to_owned()),
        ("no signature".to_owned(), format!("{header}.{payload}.")),
        ("two parts".to_owned(), format!("{header}.{payload}")),
        ("another padding".to_owned(), format!("{}=", ada.token)),
    ];
    let session = ada.cookie.split('=').nth(1).unwrap();
    all.push(("the session cookie".to_owned(), session.to_owned()));
    for none in ["none", "None", "NONE", ""] {
        let header = part(&json!({ "alg": none, "typ": "JWT" }).to_string());
        all.push((format!("alg `{none}`"), format!("{header}.{payload}.")));
        let header = part(&json!({ "alg": none, "kid": kid }).to_string());
        all.push((format!("alg `{none}` with a signature"), format!("{header}.{payload}.{signature}")));
    }

    // The public key as a shared secret, in all forms in which a library might take it for one.
    let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    spki.extend(&x);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
    let secrets = [
        ("its bytes", x.clone()),
        ("its text", jwk["x"].as_str().unwrap().into()),
        ("its DER", spki),
        ("its PEM", pem.clone().into()),
        ("its PEM without the end", pem.trim_end().into()),
        ("its JWK", jwk.to_string().into()),
        ("its set", set.to_string().into()),
    ];
    for (what, secret) in secrets {
        for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let kit = TestKit::with_secret(alg, &secret);
            for header in [json!({ "alg": alg.name(), "kid": kid }), json!({ "alg": alg.name() })] {
                all.push((format!("{alg} with {what}"), kit.sign(&header.to_string(), &claims)));
            }
        }
    }

    for alg in [Algorithm::EdDSA, Algorithm::ES256] {
        let kit = TestKit::generate(alg);
        let own = kit.jwk();
        for (what, header) in [
            ("a foreign key with the known id", json!({ "alg": alg.name(), "kid": kid })),
            ("a foreign key with the known algorithm", json!({ "alg": "EdDSA", "kid": kid })),
            ("a foreign key", json!({ "alg": alg.name(), "kid": kit.kid() })),
            ("a foreign key without an id", json!({ "alg": alg.name() })),
            ("a foreign key that is there", json!({ "alg": alg.name(), "kid": kid, "jwk": own })),
            (
                "a foreign key elsewhere",
                json!({ "alg": alg.name(), "kid": kid, "jku": "http://127.0.0.1:9/" }),
            ),
        ] {
            all.push((format!("{what}: {alg}"), kit.sign(&header.to_string(), &claims)));
        }
    }

    // Other words under a good signature.
    let mut changed: Value = serde_json::from_slice(&claims).unwrap();
    changed["role"] = "admin".into();
    all.push(("another role".to_owned(), format!("{header}.{}.{signature}", part(&changed.to_string()))));

    // Signed with the server's own key, and not for this API or not by this server.
    let signer = world.signer().await;
    for claims in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": format!("{}/", world.base) }),
        json!({ "iss": [world.base] }),
        json!({ "iss": "" }),
        json!({ "aud": "https://other.example" }),
        json!({ "aud": ["https://other.example", "https://third.example"] }),
        json!({ "aud": format!("{}/", world.base) }),
        json!({ "aud": [] }),
        json!({ "nbf": START + 3600 }),
        json!({ "iat": START + 3600 }),
        json!({ "sub": null }),
        json!({ "sub": 1 }),
        json!({ "email": 1 }),
        json!({ "role": { "admin": true } }),
    ] {
        all.push((claims.to_string(), signer.sign(ada, claims).await));
    }
    all
}

async fn a_forged_token_opens_no_route(world: World) {
    let ada = world.person("ada").await;
    let id = world.task(&ada, "mine").await;
    for (what, token) in forged(&world, &ada).await {
        for (method, path, body) in protected(&ada.id, &id) {
            let reply = world.call(&token, method, &path, body).await;
            assert_eq!(reply.status, 401, "{what}: {reply:?}");
            assert_eq!(reply.json(), json!({ "detail": "Invalid token" }), "{what}");
            let why = reply.header("www-authenticate");
            assert!(why.starts_with("Bearer error=\"invalid_token\""), "{what}: {why}");
        }
    }
    // Nothing of it was done, and nobody was made.
    assert_eq!(world.get(&ada.token, "/api/v1/tasks").await.expect(200)[0]["title"], "mine");
    assert_eq!(world.count("select count(*) from users").await, 1);
    // The signer's tokens are refused for what they say, not for who made them.
    let signer = world.signer().await;
    for claims in [json!({}), json!({ "aud": ["https://other.example", world.base] })] {
        let token = signer.sign(&ada, claims).await;
        world.get(&token, "/api/v1/tasks").await.expect(200);
    }
}

async fn an_expired_token_opens_no_route(world: World) {
    let ada = world.person("ada").await;
    let id = world.task(&ada, "mine").await;
    world.advance(15 * 60 - 1);
    world.get(&ada.token, "/api/v1/tasks").await.expect(200);
    world.advance(7);
    for (method, path, body) in protected(&ada.id, &id) {
        let reply = world.call(&ada.token, method, &path, body).await;
        reply.refused(401, "Token expired");
        assert!(reply.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""), "{reply:?}");
    }
    // The session lives on, and gets a new one.
    let newer = world.token(&ada.cookie).await;
    world.get(&newer, "/api/v1/tasks").await.expect(200);
}

async fn another_user_is_kept_out_of_every_route(world: World) {
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let id = world.task(&ada, "Ada's").await;
    let before = world.get(&ada.token, &format!("/api/v1/tasks/{id}")).await.expect(200);
    world.advance(1);
    for (method, path, body) in own_routes(&ada.id, &id) {
        let reply = world.call(&bob.token, method.clone(), &path, body).await;
        if path.starts_with("/api/users/") {
            reply.refused(403, "You can only access your own resources");
            // Before the body is looked at, and whatever it is.
            let bearer = format!("Bearer {}", bob.token);
            let reply = world.send(method, &path, &[("authorization", &bearer)], "{".repeat(70_000)).await;
            reply.refused(403, "You can only access your own resources");
        } else if path.contains(&id) {
            reply.refused(404, "Task not found");
        } else {
            // The list and what is added are Bob's own.
            assert!(!reply.text.contains("Ada's"), "{reply:?}");
        }
    }
    // Under Bob's own path Ada's task is as little there.
    for (method, path, body) in own_routes(&bob.id, &id) {
        if path.contains(&id) {
            world.call(&bob.token, method, &path, body).await.refused(404, "Task not found");
        }
    }
    // Ways to write another's path.
    for path in [
        format!("/api/users/{}/todos", ada.id.to_ascii_uppercase()),
        format!("/api/users/{}%2F..%2F{}/todos", bob.id, ada.id),
        format!("/api/users/{}%00/todos", bob.id),
        format!("/api/users/%20{}/todos", bob.id),
        "/api/users/nobody/profile".to_owned(),
    ] {
        world.get(&bob.token, &path).await.refused(403, "You can only access your own resources");
    }
    for path in ["/api/users/%FF/todos".to_owned(), format!("/api/users/{}/todos/%FF", bob.id)] {
        world.get(&bob.token, &path).await.refused(404, "Not Found");
    }
    // The right one, written otherwise, is the right one.
    let (first, rest) = bob.id.split_at(1);
    let escaped = format!("/api/users/%{:02X}{rest}/profile", first.as_bytes()[0]);
    world.get(&bob.token, &escaped).await.expect(200);
    assert_eq!(world.get(&ada.token, &format!("/api/v1/tasks/{id}")).await.expect(200), before);
}

async fn an_owner_in_a_body_is_refused(world: World) {
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let id = world.task(&bob, "Bob's").await;
    for (method, path, _) in own_routes(&bob.id, &id) {
        if !matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            continue;
        }
        for name in ["user_id", "userId", "owner", "id", "sub", "created_at"] {
            let body = json!({ "title": "x", name: ada.id });
            let reply = world.call(&bob.token, method.clone(), &path, Some(body)).await.expect(422);
            assert!(reply.to_string().contains("extra_forbidden"), "{reply}");
        }
    }
    assert_eq!(world.get(&ada.token, "/api/v1/tasks").await.expect(200), json!([]));
    assert_eq!(world.get(&bob.token, "/api/v1/tasks").await.expect(200)[0]["title"], "Bob's");
}

/// An API whose tokens are somebody else's: the test's.
async fn alone(
    variables: &[(&str, &str)],
    address: SocketAddr,
    clock: portcullis_verify::Clock,
) -> (axum::Router, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let find = |name: &str| variables.iter().find(|(one, _)| *one == name);
    let config = Config::read(|name| find(name).map(|(_, value)| (*value).to_owned())).unwrap();
    let url = format!("sqlite:{}", folder.path().join("tasks.db").display());
    let store = Store::connect(&url).await.unwrap();
    let app = App { store, clock: Clock::fixed(Timestamp::from_millis(START * 1000)) };
    let verifier = auth::verifier(&config, address, clock).unwrap();
    (api(app, &auth::layer(verifier), &config.origins).unwrap(), folder)
}

async fn ask(router: &axum::Router, token: &str) -> (Response<()>, Value) {
    let request = Request::get("/api/v1/tasks").header("authorization", format!("Bearer {token}"));
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (Response::from_parts(parts, ()), serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn with_a_shared_secret_nothing_else_counts() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let kit = TestKit::with_secret(Algorithm::HS256, SECRET.as_bytes());
    let variables = [("JWT_SECRET", SECRET), ("AUTH_ISSUER", ISSUER), ("AUTH_AUDIENCE", AUDIENCE)];
    // Nobody listens there, and nobody is asked.
    let address = "127.0.0.1:9".parse().unwrap();
    let (router, _folder) = alone(&variables, address, kit.clock().clone()).await;
    let claims = json!({ "sub": "u1", "user_id": "u1", "email": "a@example.com", "name": "a", "role": null });
    let (answer, body) = ask(&router, &kit.token(&claims)).await;
    assert_eq!((answer.status().as_u16(), body), (200, json!([])));

    let header = |alg: &str| json!({ "alg": alg, "typ": "JWT" }).to_string();
    let payload = kit.token(&claims).split('.').nth(1).unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let other = TestKit::with_secret(Algorithm::HS256, b"another-secret-another-secret-an");
    let pair = TestKit::new();
    let stronger = TestKit::with_secret(Algorithm::HS512, SECRET.as_bytes());
    let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header("none")), URL_SAFE_NO_PAD.encode(&payload));
    for token in [
        none,
        other.sign(&header("HS256"), &payload),
        stronger.sign(&header("HS512"), &payload),
        pair.sign(&header("EdDSA"), &payload),
        pair.sign(&header("HS256"), &payload),
        kit.token(
            &json!({ "sub": "u1", "email": "a@example.com", "name": "a", "aud": "https://other.example" }),
        ),
    ] {
        let (answer, body) = ask(&router, &token).await;
        assert_eq!((answer.status().as_u16(), body), (401, json!({ "detail": "Invalid token" })), "{token}");
    }
    kit.clock().advance(std::time::Duration::from_secs(3600));
    let expired = kit.sign(&header("HS256"), &payload);
    assert_eq!(ask(&router, &expired).await.1, json!({ "detail": "Token expired" }));
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_the_client_may_come_back() {
    let kit = TestKit::new();
    let variables = [("AUTH_ISSUER", ISSUER), ("AUTH_AUDIENCE", AUDIENCE)];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (router, _folder) = alone(&variables, address, kit.clock().clone()).await;
    let token = kit.token(&json!({ "sub": "u1", "email": "a@example.com", "name": "a" }));
    let (answer, body) = ask(&router, &token).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(body, json!({ "detail": "Authentication is temporarily unavailable" }));
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
}
