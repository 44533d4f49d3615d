//! The layer, the guards, the extractors, and what a refused request is answered.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use portcullis_verify::testing::TestKit;
use portcullis_verify::{
    Algorithm, Claims, Error, Holds, Rejection, RequireRole, RequireScope, Requirement, Verified,
    VerifyLayer, shape,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::server::{Reply, Server};

#[derive(Deserialize)]
struct User {
    sub: String,
}

struct Admin;
impl Requirement for Admin {
    const ANY_ROLE: &'static [&'static str] = &["admin"];
}

struct Writer;
impl Requirement for Writer {
    const SCOPES: &'static [&'static str] = &["notes:write"];
}

async fn who(user: Claims<User>) -> String {
    user.sub.clone()
}

async fn who_if_any(user: Option<Claims<User>>) -> String {
    user.map_or_else(|| "nobody".to_owned(), |user| user.sub.clone())
}

async fn own_check(claims: Claims) -> Result<&'static str, Rejection> {
    claims.token().require_scopes(&["own"])?;
    Ok("own")
}

fn routes() -> Router {
    Router::new()
        .route("/me", get(who))
        .route("/maybe", get(who_if_any))
        .route("/open", get(|| async { "open" }))
        .route("/admin", get(|_: Holds<Admin>| async { "admin" }))
        .route("/write", get(|_: Holds<Writer>| async { "write" }))
        .route("/own", get(own_check))
        .route("/guarded-role", get(|| async { "role" }).route_layer(RequireRole::any(["admin", "owner"])))
        .route("/guarded-scope", get(|| async { "scope" }).route_layer(RequireScope::all(["a:b", "c"])))
}

struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    retry_after: Option<String>,
    body: String,
}

async fn ask(app: &Router, path: &str, authorization: &[&str]) -> Answer {
    let mut request = Request::get(path);
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (challenge, retry_after) = (header(WWW_AUTHENTICATE), header(RETRY_AFTER));
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, challenge, retry_after, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn with_claims(app: &Router, kit: &TestKit, path: &str, claims: Value) -> Answer {
    ask(app, path, &[&format!("Bearer {}", kit.token(&claims))]).await
}

#[tokio::test]
async fn a_good_token_gets_in_and_its_claims_arrive() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::new(kit.verifier()));
    let token = kit.token(&json!({ "sub": "u1" }));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = ask(&app, "/me", &[&format!("{scheme} {token}")]).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "u1"));
    }
    assert_eq!(ask(&app, "/maybe", &[&format!("Bearer {token}")]).await.body, "u1");
}

#[tokio::test]
async fn without_a_token_the_challenge_is_bearer_alone() {
    let app = routes().layer(VerifyLayer::new(TestKit::new().verifier()));
    for headers in [&[][..], &["Basic dTpw"], &["Bearerx"], &[""]] {
        for path in ["/me", "/maybe", "/open", "/admin", "/guarded-role"] {
            let answer = ask(&app, path, headers).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            assert_eq!(answer.challenge.as_deref(), Some("Bearer"));
        }
    }
}

#[tokio::test]
async fn a_bad_token_is_named_invalid_and_nothing_of_the_configuration_is_told() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::new(kit.verifier()));
    let answer = with_claims(&app, &kit, "/open", json!({ "iss": "https://elsewhere.test" })).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = r#"Bearer error="invalid_token", error_description="The token is from another issuer""#;
    assert_eq!(answer.challenge.as_deref(), Some(challenge));
    assert_eq!(
        answer.body,
        r#"{"error":"invalid_token","error_description":"The token is from another issuer"}"#
    );
    let answer = with_claims(&app, &kit, "/open", json!({ "exp": 1 })).await;
    assert!(answer.challenge.unwrap().contains("expired"));
}

#[tokio::test]
async fn a_header_that_is_not_one_token_is_refused() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::optional(kit.verifier()));
    let good = format!("Bearer {}", kit.token(&json!({ "sub": "u1" })));
    for headers in [
        &["Bearer"][..],
        &["Bearer "],
        &["Bearer a b"],
        &["Bearer a,b"],
        &[good.as_str(), good.as_str()],
        &["Basic dTpw", good.as_str()],
    ] {
        let answer = ask(&app, "/maybe", headers).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert!(answer.challenge.unwrap().starts_with(r#"Bearer error="invalid_request""#));
    }
}

#[tokio::test]
async fn where_a_token_is_optional_a_missing_one_passes_and_a_bad_one_does_not() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::optional(kit.verifier()));
    assert_eq!(ask(&app, "/maybe", &[]).await.body, "nobody");
    assert_eq!(ask(&app, "/maybe", &["Basic dTpw"]).await.body, "nobody");
    assert_eq!(ask(&app, "/open", &[]).await.body, "open");
    assert_eq!(with_claims(&app, &kit, "/maybe", json!({ "sub": "u1" })).await.body, "u1");
    for path in ["/maybe", "/open"] {
        assert_eq!(with_claims(&app, &kit, path, json!({ "exp": 1 })).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&app, path, &["Bearer nonsense"]).await.status, StatusCode::UNAUTHORIZED);
    }
    for path in ["/me", "/admin", "/write", "/own", "/guarded-role", "/guarded-scope"] {
        let answer = ask(&app, path, &[]).await;
        assert_eq!((answer.status, answer.challenge.as_deref()), (StatusCode::UNAUTHORIZED, Some("Bearer")));
    }
}

#[tokio::test]
async fn claims_that_do_not_fit_the_type_are_refused() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::new(kit.verifier()));
    for path in ["/me", "/maybe"] {
        assert_eq!(with_claims(&app, &kit, path, json!({ "sub": 7 })).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_missing_role_or_scope_is_403_and_the_scope_is_named() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::new(kit.verifier()));
    for path in ["/admin", "/guarded-role"] {
        let answer = with_claims(&app, &kit, path, json!({ "role": "user" })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.challenge.unwrap().starts_with(r#"Bearer error="insufficient_scope", "#));
        assert!(!answer.body.contains("admin"), "{}", answer.body);
        let answer = with_claims(&app, &kit, path, json!({ "role": "user,admin" })).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let answer = with_claims(&app, &kit, "/write", json!({ "scope": "notes:read" })).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.challenge.unwrap().ends_with(r#", scope="notes:write""#));
    let answer = with_claims(&app, &kit, "/guarded-scope", json!({ "scope": "a:b" })).await;
    assert!(answer.challenge.unwrap().ends_with(r#", scope="a:b c""#));
    for (path, scope) in [("/write", "notes:write"), ("/guarded-scope", "c a:b"), ("/own", "own")] {
        let answer = with_claims(&app, &kit, path, json!({ "scope": scope })).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(with_claims(&app, &kit, "/own", json!({})).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn extractors_and_guards_without_the_layer_let_nobody_in() {
    let kit = TestKit::new();
    for path in ["/me", "/maybe", "/admin", "/write", "/guarded-role", "/guarded-scope"] {
        let answer = with_claims(&routes(), &kit, path, json!({ "sub": "u1", "role": "admin" })).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert_eq!(answer.challenge, None);
    }
}

#[tokio::test]
async fn while_there_are_no_keys_the_answer_is_503() {
    let kit = TestKit::new();
    let server = Server::start(Reply::Close).await;
    let verifier = kit.builder().jwks_url(server.url("/")).build().unwrap();
    let app = routes().layer(VerifyLayer::new(verifier));
    let answer = with_claims(&app, &kit, "/me", json!({ "sub": "u1" })).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.challenge, None);
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    assert_eq!(
        answer.body,
        r#"{"error":"temporarily_unavailable","error_description":"Tokens cannot be verified at present"}"#
    );
    // Without a token, and with one that is none, there is nothing to wait for.
    assert_eq!(ask(&app, "/me", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&app, "/me", &["Bearer nonsense"]).await.status, StatusCode::UNAUTHORIZED);
    let hmac = TestKit::generate(Algorithm::HS256);
    assert_eq!(with_claims(&app, &hmac, "/me", json!({})).await.status, StatusCode::UNAUTHORIZED);
    server.replies(Reply::ok(&kit.jwks()));
    kit.clock().advance(std::time::Duration::from_secs(1));
    assert_eq!(with_claims(&app, &kit, "/me", json!({ "sub": "u1" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn answers_in_the_shape_of_fastapi() {
    let kit = TestKit::new();
    let app = routes().layer(VerifyLayer::new(kit.verifier()).shape(shape::fastapi));
    for (headers, body) in [
        (vec![], r#"{"detail":"Missing or invalid authorization header"}"#),
        (vec!["Basic x".to_owned()], r#"{"detail":"Missing or invalid authorization header"}"#),
        (vec!["Bearer".to_owned()], r#"{"detail":"Missing or invalid authorization header"}"#),
        (vec!["Bearer x.y.z".to_owned()], r#"{"detail":"Invalid token"}"#),
        (vec![format!("Bearer {}", kit.token(&json!({ "exp": 1 })))], r#"{"detail":"Token expired"}"#),
        (vec![format!("Bearer {}", TestKit::new().token(&json!({})))], r#"{"detail":"Invalid token"}"#),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = ask(&app, "/open", &headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::UNAUTHORIZED, body));
        assert!(answer.challenge.is_some());
    }
    // Guards and extractors answer in the layer's shape.
    for path in ["/admin", "/guarded-scope"] {
        let answer = with_claims(&app, &kit, path, json!({})).await;
        assert_eq!(answer.body, r#"{"detail":"Insufficient permissions"}"#);
    }
}

#[tokio::test]
async fn a_service_may_shape_the_answer_and_cannot_forget_the_challenge() {
    let kit = TestKit::new();
    let shaped = |rejection: &Rejection| match rejection.error() {
        Error::Missing => {
            Response::builder().status(303).header("location", "/sign-in").body(String::new()).unwrap()
        }
        _ => Response::builder().status(rejection.status()).body("no".to_owned()).unwrap(),
    };
    let app = routes().layer(VerifyLayer::new(kit.verifier()).shape(shaped));
    assert_eq!(ask(&app, "/me", &[]).await.status, StatusCode::SEE_OTHER);
    let answer = ask(&app, "/me", &["Bearer x.y.z"]).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::UNAUTHORIZED, "no"));
    assert!(answer.challenge.unwrap().contains("invalid_token"));
}

#[tokio::test]
async fn an_inner_layer_decides_for_itself() {
    let (outer, inner) = (TestKit::new(), TestKit::generate(Algorithm::ES256));
    let app =
        routes().layer(VerifyLayer::optional(inner.verifier())).layer(VerifyLayer::new(outer.verifier()));
    let answer = with_claims(&app, &outer, "/me", json!({ "sub": "u1" })).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "what the outer one accepts is not the inner one's");
}

#[tokio::test]
async fn what_an_outer_layer_verified_is_not_what_an_inner_one_did() {
    let kit = TestKit::new();
    let service = ServiceBuilder::new()
        .layer(VerifyLayer::new(kit.verifier()))
        .map_request(|mut request: Request<()>| {
            request.headers_mut().remove(AUTHORIZATION);
            request
        })
        .layer(VerifyLayer::optional(kit.verifier()))
        .service(service_fn(|request: Request<()>| async move {
            let known = request.extensions().get::<Arc<Verified>>().is_some();
            Ok::<_, Infallible>(Response::new(Full::<axum::body::Bytes>::from(known.to_string())))
        }));
    let token = kit.token(&json!({ "sub": "u1" }));
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}")).body(()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "false");
}

#[tokio::test]
async fn the_layer_works_with_any_tower_service() {
    let kit = TestKit::new();
    let service = ServiceBuilder::new()
        .layer(VerifyLayer::new(kit.verifier()))
        .layer(RequireRole::any(["admin"]))
        .service(service_fn(|request: Request<()>| async move {
            let token = request.extensions().get::<Arc<Verified>>().cloned();
            let subject = token.and_then(|token| token.subject().map(str::to_owned)).unwrap_or_default();
            Ok::<_, Infallible>(Response::new(Full::<axum::body::Bytes>::from(subject)))
        }));
    let call = async |claims: Value| {
        let token = kit.token(&claims);
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}")).body(()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
    };
    assert_eq!(call(json!({ "sub": "u1", "role": "admin" })).await, (200, "u1".into()));
    assert_eq!(call(json!({ "sub": "u1" })).await.0, 403);
    assert_eq!(call(json!({ "sub": "u1", "exp": 1 })).await.0, 401);
}
