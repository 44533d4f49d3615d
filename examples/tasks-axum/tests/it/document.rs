//! What the document says is there is there, and nothing else; and what is around the API.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::World;

const METHODS: [Method; 6] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE];

#[tokio::test]
async fn the_document_has_every_route_and_no_other() {
    let world = World::sqlite().await;
    let reply = world.send(Method::GET, "/openapi.json", &[], "").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let document = reply.expect(200);
    let documented = document["paths"].as_object().unwrap();

    let routes = tasks_axum::protected().into_iter().chain(tasks_axum::public());
    let mut routes: BTreeSet<String> = routes.map(|(path, _)| path).collect();
    assert!(routes.remove("/openapi.json"), "the document does not describe itself");
    assert_eq!(routes, documented.keys().cloned().collect());

    let needing: BTreeSet<String> = tasks_axum::protected().into_iter().map(|(path, _)| path).collect();
    for (path, item) in documented {
        let concrete = path.replace("{user_id}", "u").replace("{id}", "i");
        let mut there = Vec::new();
        for method in METHODS {
            let reply = world.send(method.clone(), &concrete, &[], "").await;
            let operation = &item[method.as_str().to_ascii_lowercase()];
            if operation.is_null() {
                reply.refused(405, "Method Not Allowed");
                assert!(!reply.header("allow").is_empty(), "{reply:?}");
                continue;
            }
            there.push(method);
            assert_eq!(operation["security"].is_null(), !needing.contains(path), "{path}");
            assert_eq!(reply.status, if needing.contains(path) { 401 } else { 200 }, "{path}");
            assert!(operation["responses"][reply.status.to_string()].is_object(), "{path}: {reply:?}");
        }
        let allow = world.send(Method::TRACE, &concrete, &[], "").await.header("allow").to_owned();
        let allow: BTreeSet<&str> = allow.split(',').filter(|one| *one != "HEAD").collect();
        assert_eq!(allow, there.iter().map(Method::as_str).collect(), "{path}");
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_with_and_without_a_token() {
    let world = World::sqlite().await;
    let ada = world.person("ada").await;
    for path in ["/", "/api", "/api/v1", "/api/v1/tasks/x/y", "/api/users", "/api/v1/tasks/", "/docs"] {
        world.get(&ada.token, path).await.refused(404, "Not Found");
        world.send(Method::POST, path, &[], "").await.refused(404, "Not Found");
    }
    assert_eq!(world.send(Method::GET, "/api/health", &[], "").await.text, r#"{"status":"ok"}"#);
    // A bad token is no reason to be unwell.
    assert_eq!(world.get("bad", "/api/health").await.expect(200), json!({ "status": "ok" }));
}

#[tokio::test]
async fn browsers_may_call_from_the_front_end_and_from_nowhere_else() {
    let world = World::sqlite().await;
    let preflight = async |origin: &str, path: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        world.send(Method::OPTIONS, path, &headers, "").await
    };
    let path = "/api/v1/tasks/x";
    let good = preflight("https://app.example", path).await;
    assert_eq!(good.status, 200, "no token is asked for: {good:?}");
    assert_eq!(good.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(good.header("access-control-allow-headers"), "authorization,content-type");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(good.header("access-control-allow-methods").contains(method), "{good:?}");
    }
    // Tokens are sent by scripts, not by browsers on their own.
    assert_eq!(good.header("access-control-allow-credentials"), "");
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        assert_eq!(preflight(origin, path).await.header("access-control-allow-origin"), "", "{origin}");
    }
    // A refusal can be read by the front end, which else sees a network error.
    let headers = [("origin", "https://app.example")];
    let refused = world.send(Method::GET, "/api/v1/tasks", &headers, "").await;
    refused.refused(401, "Missing or invalid authorization header");
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");
    assert!(refused.header("access-control-expose-headers").contains("www-authenticate"), "{refused:?}");
    // The auth server answers for itself, with cookies.
    let auth = preflight("https://app.example", "/api/auth/sign-in/email").await;
    assert_eq!(auth.header("access-control-allow-credentials"), "true", "{auth:?}");
    assert_eq!(auth.headers.get_all("access-control-allow-origin").iter().count(), 1);
}

#[tokio::test]
async fn what_the_database_says_stays_here() {
    let world = World::sqlite().await;
    let ada = world.person("ada").await;
    world.sql("drop table tasks".to_owned()).await;
    let reply = world.get(&ada.token, "/api/v1/tasks").await;
    reply.refused(500, "Internal Server Error");
    let body: Value = reply.json();
    assert_eq!(body.as_object().unwrap().len(), 1);
}
