//! What holds for every route: paths, methods, bodies, origins. Through HTTP.

use http::Method;
use portcullis_core::testing::{Actor, Reply, TestApp};
use serde_json::{Value as Json, json};

use crate::features::LIST;

async fn start(settings: Json) -> TestApp {
    TestApp::start(LIST, settings).await
}

async fn send(actor: &Actor, method: Method, path: &str) -> Reply {
    actor.send(method, path, None, None::<Vec<u8>>).await
}

#[track_caller]
fn not_there(reply: &Reply) {
    reply.expect(404);
    assert_eq!(reply.text, "");
    let names: Vec<&str> = reply.headers.keys().map(http::HeaderName::as_str).collect();
    assert!(!names.contains(&"allow") && !names.contains(&"content-type"), "{names:?}");
}

#[tokio::test]
async fn ok_is_ok() {
    let reply = start(json!({})).await.actor().get("/ok").await;
    assert_eq!(
        (reply.expect(200), reply.header("content-type")),
        (json!({ "ok": true }), "application/json")
    );
}

#[tokio::test]
async fn what_is_not_exactly_a_route_is_an_empty_404() {
    let app = start(json!({})).await;
    let actor = app.actor();
    for path in [
        "",
        "/",
        "/nothing",
        "/ok/",
        "//ok",
        "/ok//",
        "/./ok",
        "/x/../ok",
        "/%6fk",
        "/%2fok",
        "/ok%2f",
        "/ok%00",
        "/OK",
        "/sign-in/email/",
        "/sign-in//email",
        "/sign-in%2femail",
        "/sign-in",
        "/ok;x",
        "/ok.json",
    ] {
        not_there(&send(&actor, Method::GET, path).await);
        not_there(&send(&actor, Method::POST, path).await);
    }
}

#[tokio::test]
async fn another_method_is_an_empty_404_too() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    for (path, method) in [
        ("/ok", Method::POST),
        ("/ok", Method::HEAD),
        ("/ok", Method::OPTIONS),
        ("/get-session", Method::HEAD),
        ("/get-session", Method::PUT),
        ("/sign-in/email", Method::GET),
        ("/sign-in/email", Method::OPTIONS),
        ("/sign-out", Method::GET),
        ("/sign-out", Method::DELETE),
        ("/list-sessions", Method::POST),
        ("/update-user", Method::PATCH),
    ] {
        not_there(&send(&ada, method, path).await);
    }
    assert_ne!(ada.get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test]
async fn a_disabled_path_is_a_404_that_says_so() {
    let app = start(json!({ "disabledPaths": ["/sign-up/email", "/ok"] })).await;
    let body = json!({ "name": "a", "email": "a@example.com", "password": "correct horse" });
    for reply in [app.actor().post("/sign-up/email", body).await, app.actor().get("/ok").await] {
        reply.expect(404);
        assert_eq!(reply.text, "Not Found");
    }
    app.actor().get("/get-session").await.expect(200);
    not_there(&app.actor().get("/ok/").await);
}

#[tokio::test]
async fn only_json_is_a_body() {
    let app = start(json!({})).await;
    let actor = app.actor();
    let body = r#"{"email":"a@example.com","password":"correct horse"}"#;
    let post =
        async |kind: Option<&'static str>| actor.send(Method::POST, "/sign-in/email", kind, Some(body)).await;
    for kind in ["text/plain", "text/json", "multipart/form-data; boundary=x", "application/xml", "x", ""] {
        let reply = post(Some(kind)).await;
        reply.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    for kind in ["application/json", "APPLICATION/JSON; charset=utf-8", "application/json;x"] {
        post(Some(kind)).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    }
    // Without a content type there is no body, as on Node.
    post(None).await.refused(400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_a_400_and_never_a_500() {
    let app = start(json!({})).await;
    let actor = app.actor();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let bad: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"{'a':1}".to_vec(),
        b"{\"a\":1}x".to_vec(),
        b"undefined".to_vec(),
        b"NaN".to_vec(),
        b"{\"a\":1e999}".to_vec(),
        b"\xff\xfe".to_vec(),
        b"\0".to_vec(),
        deep.into_bytes(),
        nested.into_bytes(),
    ];
    for body in bad {
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        let reply = actor.send(Method::POST, "/sign-in/email", Some("application/json"), Some(body)).await;
        assert_eq!(reply.status.as_u16(), 400, "{start}: {}", reply.text);
        assert_eq!(reply.json, json!({ "message": "Invalid JSON in request body", "code": "BAD_REQUEST" }));
    }
    for body in ["[]", "null", "7", "\"x\"", "true"] {
        let reply = actor.send(Method::POST, "/sign-in/email", Some("application/json"), Some(body)).await;
        reply.refused(400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_replaced_as_in_javascript() {
    let app = start(json!({})).await;
    let mut body = br#"{"email":"a@example.com","password":"correct horse","name":""#.to_vec();
    body.extend(b"a\xffb\"}");
    let reply = app.actor().send(Method::POST, "/sign-up/email", Some("application/json"), Some(body)).await;
    assert_eq!(reply.expect(200)["user"]["name"], "a\u{fffd}b");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413() {
    let app = start(json!({ "http": { "maxBodyBytes": 1000 } })).await;
    let body = |size: usize| format!("{{\"email\":\"{}\"}}", "x".repeat(size - 12));
    let send = async |size| {
        app.actor().send(Method::POST, "/sign-in/email", Some("application/json"), Some(body(size))).await
    };
    send(1000).await.refused(400, "VALIDATION_ERROR");
    send(1001).await.refused(413, "PAYLOAD_TOO_LARGE");
    send(10_000_000).await.refused(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn with_cookies_only_trusted_origins_change_anything() {
    let app = start(json!({ "trustedOrigins": ["https://*.example.com", "myapp://"] })).await;
    let ada = app.user("ada").await;
    let change = async |actor: Actor| actor.post("/update-user", json!({ "name": "x" })).await;
    let from = |origin: &str| ada.with_header("origin", origin);
    for good in ["http://localhost:3000", "https://app.example.com", "https://a.b.example.com", "myapp://"] {
        change(from(good)).await.expect(200);
    }
    for bad in [
        "https://evil.example",
        "http://localhost:3001",
        "https://localhost:3000",
        "http://localhost:3000.evil.example",
        "http://localhost:3000@evil.example",
        "https://example.com.evil.io",
        "http://app.example.com",
        "file://",
        "x",
    ] {
        change(from(bad)).await.refused(403, "INVALID_ORIGIN");
    }
    change(from("null")).await.refused(403, "MISSING_OR_NULL_ORIGIN");
    change(from("")).await.refused(403, "MISSING_OR_NULL_ORIGIN");
    change(from("null").with_header("sec-fetch-site", "same-origin")).await.expect(200);
    change(from("null").with_header("sec-fetch-site", "cross-site"))
        .await
        .refused(403, "MISSING_OR_NULL_ORIGIN");
    change(from("").with_header("referer", "http://localhost:3000/page?x")).await.expect(200);
    change(from("").with_header("referer", "https://evil.example/http://localhost:3000"))
        .await
        .refused(403, "INVALID_ORIGIN");
    // Reading is free: browsers keep the answer from other origins.
    assert_ne!(from("https://evil.example").get("/get-session").await.expect(200), Json::Null);
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "x");
}

#[tokio::test]
async fn the_origin_is_looked_at_before_the_body() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await.with_header("origin", "https://evil.example");
    ada.post("/update-user", json!([])).await.refused(403, "INVALID_ORIGIN");
    ada.post("/change-password", json!({})).await.refused(403, "INVALID_ORIGIN");
    // A body that cannot be read comes first.
    ada.send(Method::POST, "/update-user", Some("application/json"), Some("{"))
        .await
        .refused(400, "BAD_REQUEST");
}

#[tokio::test]
async fn origin_checks_can_be_switched_off_by_the_operator_only() {
    let app = start(json!({ "advanced": { "disableCSRFCheck": true } })).await;
    let ada = app.user("ada").await.with_header("origin", "https://evil.example");
    ada.post("/update-user", json!({ "name": "x" })).await.expect(200);
    let body = json!({ "email": "a@b.co", "password": "x", "callbackURL": "https://evil.example" });
    ada.post("/sign-in/email", body).await.refused(403, "INVALID_CALLBACK_URL");
}

#[tokio::test]
async fn a_visitor_is_sent_to_trusted_urls_only() {
    let app = start(json!({ "trustedOrigins": ["https://app.example.com"] })).await;
    app.user("ada").await;
    let send = async |field: &str, url: Json| {
        let body = json!({ "email": "ada@example.com", "password": "correct horse", field: url });
        app.actor().post("/sign-in/email", body).await
    };
    for good in ["/", "/a/b?c=d#e", "http://localhost:3000/x", "https://app.example.com/y"] {
        send("callbackURL", json!(good)).await.expect(200);
    }
    for bad in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%5cevil.example",
        "/%2fevil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example.com.evil.io",
        "https://app.example.com@evil.io",
        "http:evil.example",
        "evil.example",
        " /x",
        "/\n/evil.example",
        "\t//evil.example",
    ] {
        let reply = send("callbackURL", json!(bad)).await;
        reply.refused(403, "INVALID_CALLBACK_URL");
        assert!(reply.set_cookies().is_empty());
    }
    for (field, code) in [
        ("redirectTo", "INVALID_REDIRECT_URL"),
        ("errorCallbackURL", "INVALID_ERROR_CALLBACK_URL"),
        ("newUserCallbackURL", "INVALID_NEW_USER_CALLBACK_URL"),
    ] {
        send(field, json!("https://evil.example")).await.refused(403, code);
    }
    let reply = send("callbackURL", json!(["https://evil.example"])).await;
    assert_eq!(reply.expect(400)["message"], "Invalid callbackURL: expected a string");
    let query = "/sign-out?callbackURL=https://evil.example";
    app.actor().post_empty(query).await.refused(403, "INVALID_CALLBACK_URL");
    let query = "/sign-out?callbackURL=/&callbackURL=https://evil.example";
    app.actor().post_empty(query).await.expect(400);
}

#[tokio::test]
async fn a_trusted_url_that_no_header_can_carry_is_encoded_and_not_a_500() {
    let app = start(json!({})).await;
    app.user("ada").await;
    for (url, header) in [
        ("http://localhost:3000/ä", "http://localhost:3000/%C3%A4"),
        ("http://localhost:3000/a\nb", "http://localhost:3000/a%0Ab"),
        ("/日本", "/%E6%97%A5%E6%9C%AC"),
    ] {
        let body = json!({ "email": "ada@example.com", "password": "correct horse", "callbackURL": url });
        let reply = app.actor().post("/sign-in/email", body).await;
        assert_eq!(reply.expect(200)["url"], url);
        assert_eq!(reply.header("location"), header);
    }
}

#[tokio::test]
async fn the_error_page_runs_nothing_and_shows_what_it_is_given_as_text() {
    let app = start(json!({})).await;
    let actor = app.actor();
    let reply =
        actor.get("/error?error=state_mismatch&error_description=%3Cscript%3Ealert(1)%3C/script%3E").await;
    reply.expect(200);
    assert!(reply.text.contains("state_mismatch") && !reply.text.contains("<script"), "{}", reply.text);
    assert!(reply.header("content-security-policy").starts_with("default-src 'none'"));
    let reply = actor.get("/error?error=%3Cb%3E").await;
    assert!(reply.text.contains("UNKNOWN") && !reply.text.contains("<b>"));
}

#[tokio::test]
async fn errors_go_to_the_operators_page_where_there_is_one() {
    let app = start(json!({ "onAPIError": { "errorURL": "https://app.example.com/oops?x=1#top" } })).await;
    let reply = app.actor().get("/error?error=a'b&error_description=c+d").await;
    reply.expect(302);
    assert_eq!(
        reply.header("location"),
        "https://app.example.com/oops?x=1&error=a%27b&error_description=c+d#top"
    );
}

#[tokio::test]
async fn routes_are_below_the_base_path_only() {
    for (base, prefix) in [("/auth", "/auth"), ("/", "")] {
        let app = start(json!({ "basePath": base })).await;
        assert_eq!(app.auth.config().base_path, prefix);
        app.actor().get("/ok").await.expect(200);
    }
}
