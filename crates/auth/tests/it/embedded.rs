//! The examples, run.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode, header};
use portcullis::Auth;
use portcullis::clock::{Clock, Timestamp};
use serde_json::{Value as Json, json};
use tower::{Service, ServiceExt};

use super::{embed_axum, embed_tower, own_room};

struct Reply {
    status: StatusCode,
    cookie: String,
    text: String,
}

impl Reply {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap()
    }
}

async fn send<S>(app: &S, request: Request<Body>) -> Reply
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible> + Clone,
{
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let cookie = head
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .map(|line| line.to_str().unwrap().split(';').next().unwrap())
        .collect::<Vec<_>>()
        .join("; ");
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Reply { status: head.status, cookie, text: String::from_utf8(body.to_vec()).unwrap() }
}

fn get(path: &str, cookie: &str) -> Request<Body> {
    Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap()
}

/// Without `Content-Length`, as requests made in memory (and those of HTTP/2) may be.
fn post(path: &str, cookie: &str, body: &Json) -> Request<Body> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ORIGIN, "http://localhost:3000");
    let request = if cookie.is_empty() { request } else { request.header(header::COOKIE, cookie) };
    request.body(Body::from(body.to_string())).unwrap()
}

fn person(name: &str) -> Json {
    json!({ "name": name, "email": format!("{name}@example.com"), "password": "correct horse" })
}

/// The app of the example with a clock that stands still.
async fn axum_app() -> (Router, Auth, Clock) {
    let clock = Clock::fixed(Timestamp::from_millis(1_790_000_000_000));
    let auth = Auth::builder()
        .secret("0123456789abcdef0123456789abcdef")
        .base_url("http://localhost:3000")
        .database("sqlite::memory:")
        .email_and_password()
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    (embed_axum::app(auth.clone()), auth, clock)
}

#[tokio::test]
async fn an_axum_app_knows_who_calls() {
    let (app, _, _) = axum_app().await;
    let ada = send(&app, post("/api/auth/sign-up/email", "", &person("ada"))).await;
    assert_eq!(ada.status, StatusCode::OK, "{}", ada.text);
    assert_eq!(send(&app, get("/me", &ada.cookie)).await.text, "Hello, ada");
    assert_eq!(send(&app, get("/", &ada.cookie)).await.text, "Welcome back, ada");
    let nobody = send(&app, get("/me", "")).await;
    assert_eq!((nobody.status, &nobody.json()["code"]), (StatusCode::UNAUTHORIZED, &json!("UNAUTHORIZED")));
    assert_eq!(send(&app, get("/", "")).await.text, "Hello, whoever you are");
    let forged = send(&app, get("/me", "better-auth.session_token=x.y")).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_expired_session_is_a_401_for_an_extractor() {
    let (app, _, clock) = axum_app().await;
    let ada = send(&app, post("/api/auth/sign-up/email", "", &person("ada"))).await;
    clock.advance(std::time::Duration::from_secs(604_800));
    assert_eq!(send(&app, get("/me", &ada.cookie)).await.status, StatusCode::OK);
    clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(send(&app, get("/me", &ada.cookie)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, get("/", &ada.cookie)).await.text, "Hello, whoever you are");
}

#[tokio::test]
async fn an_extractor_extends_nothing_because_it_cannot_tell_the_client() {
    let (app, _, clock) = axum_app().await;
    let ada = send(&app, post("/api/auth/sign-up/email", "", &person("ada"))).await;
    clock.advance(std::time::Duration::from_secs(3 * 86_400));
    let reply = send(&app, get("/me", &ada.cookie)).await;
    assert_eq!((reply.status, reply.cookie.as_str()), (StatusCode::OK, ""));
    let session = send(&app, get("/api/auth/get-session?disableRefresh=1", &ada.cookie)).await.json();
    assert_eq!(session["session"]["expiresAt"], "2026-09-28T14:13:20.000Z");
}

#[tokio::test]
async fn a_signed_out_session_is_nobody_for_an_extractor_at_once() {
    let (app, _, _) = axum_app().await;
    let ada = send(&app, post("/api/auth/sign-up/email", "", &person("ada"))).await;
    send(&app, post("/api/auth/sign-out", &ada.cookie, &json!({}))).await;
    assert_eq!(send(&app, get("/me", &ada.cookie)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_apps_own_routes_and_the_auth_routes_do_not_mix() {
    let (app, auth, _) = axum_app().await;
    for path in
        ["/ok", "/sign-up/email", "/get-session", "/api/auth/me", "/api/auth", "/api/auth/api/auth/ok"]
    {
        assert_eq!(send(&app, get(path, "")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(send(&app, get("/api/auth/ok", "")).await.json(), json!({ "ok": true }));
    assert!(auth.routes().iter().any(|route| route.path == "/sign-in/email"));
}

#[tokio::test]
async fn a_tower_service_answers_below_its_base_path() {
    let service = embed_tower::service("sqlite::memory:").await.unwrap();
    assert_eq!(send(&service, get("/api/auth/ok", "")).await.text, r#"{"ok":true}"#);
    let ada = send(&service, post("/api/auth/sign-up/email", "", &person("ada"))).await;
    assert_eq!(ada.status, StatusCode::OK, "{}", ada.text);
    let elsewhere = send(&service, get("/ok", "")).await;
    assert_eq!((elsewhere.status, elsewhere.text.as_str()), (StatusCode::NOT_FOUND, ""));
}

#[tokio::test]
async fn a_room_of_ones_own_has_a_table_routes_and_a_seam() {
    let auth = own_room::auth().await.unwrap();
    let app = auth.service();
    let ada = send(&app, post("/api/auth/sign-up/email", "", &person("ada"))).await;
    let eve = send(&app, post("/api/auth/sign-up/email", "", &person("eve"))).await;
    for text in ["first", "second"] {
        let reply = send(&app, post("/api/auth/notes/add", &ada.cookie, &json!({ "text": text }))).await;
        assert_eq!((reply.status, reply.json()["id"].as_str().unwrap().len()), (StatusCode::OK, 32));
    }
    assert_eq!(send(&app, get("/api/auth/notes/list", &ada.cookie)).await.json(), json!(["first", "second"]));
    assert_eq!(send(&app, get("/api/auth/notes/list", &eve.cookie)).await.json(), json!([]));
    assert_eq!(send(&app, get("/api/auth/notes/list", "")).await.status, StatusCode::UNAUTHORIZED);
    let empty = send(&app, post("/api/auth/notes/add", &ada.cookie, &json!({ "text": "" }))).await;
    assert_eq!(empty.json()["code"], "VALIDATION_ERROR");
    let mut foreign = person("mallory");
    foreign["email"] = json!("mallory@elsewhere.org");
    let refused = send(&app, post("/api/auth/sign-up/email", "", &foreign)).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::FORBIDDEN, &json!("NOT_OF_THE_COMPANY"))
    );
    let documented = auth.routes().into_iter().find(|route| route.path == "/notes/add").unwrap();
    assert_eq!(
        (documented.room, documented.access, documented.fields),
        ("notes", "session", &[("text", "string")][..])
    );
}

#[tokio::test]
async fn routes_of_the_app_that_are_less_particular_do_not_come_first() {
    let (_, auth, _) = axum_app().await;
    let app = axum::Router::new()
        .route("/{*path}", axum::routing::get(async || "the app's page"))
        .route("/api/{kind}/{name}", axum::routing::get(async || "the app's thing"))
        .nest("/api/auth", auth.router());
    assert_eq!(send(&app, get("/api/auth/ok", "")).await.text, r#"{"ok":true}"#);
    assert_eq!(send(&app, get("/api/auth/nothing", "")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&app, get("/api/tasks/1", "")).await.text, "the app's thing");
    assert_eq!(send(&app, get("/anything", "")).await.text, "the app's page");
}
