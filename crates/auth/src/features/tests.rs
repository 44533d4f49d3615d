//! What must hold for every room there is, and for every one that comes.

use std::collections::HashSet;

use http::Method;
use portcullis_core::identity::Session;
use portcullis_core::store::Filter;
use portcullis_core::testing::{Actor, Reply, TestApp};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::LIST;

async fn all_rooms() -> TestApp {
    all_rooms_with(json!({})).await
}

async fn all_rooms_with(settings: Json) -> TestApp {
    let mut plugins: Map<String, Json> =
        LIST.iter().filter_map(|room| room.plugin).map(|name| (name.to_owned(), json!({}))).collect();
    // Nobody listens there: what the mail says does not matter here, only that mails can be sent.
    let mail = json!({ "otpOptions": { "sendOTP": { "webhook": "http://127.0.0.1:9/" } } });
    plugins.insert("twoFactor".to_owned(), mail);
    let mut all = json!({ "plugins": plugins });
    if let (Json::Object(all), Json::Object(settings)) = (&mut all, settings) {
        all.extend(settings);
    }
    TestApp::start(LIST, all).await
}

/// A request may be refused in many ways, but it never breaks the server.
#[track_caller]
fn survives(what: &str, reply: &Reply) {
    // 501 and 503 are words, too; everything else above 499 is a fault of ours.
    let status = reply.status.as_u16();
    assert!(status < 500 || status == 501, "{what}: {status} {}", reply.text);
    if status >= 400 && !reply.text.is_empty() && reply.text != "Not Found" {
        assert!(reply.json.is_object(), "{what}: an error is an object: {}", reply.text);
    }
}

fn hostile_bodies() -> Vec<Vec<u8>> {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let many_keys =
        format!("{{{}}}", (0..20_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(","));
    [
        "",
        "{",
        "}",
        "null",
        "true",
        "0",
        "\"\"",
        "[]",
        "[{}]",
        "{}",
        "{\"\":1}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1e999}",
        "{\"__proto__\":{\"isAdmin\":true}}",
        "{\"email\":{\"$ne\":null},\"password\":{\"$ne\":null}}",
        "\u{feff}{}",
        "{\"email\":\"\\ud800\",\"password\":\"\\u0000\"}",
        "{\"token\":\"\\u0000\"}",
        "{\"accountId\":\"' or 1=1 --\"}",
        &deep,
        &deep_object,
        &many_keys,
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([vec![0xff, 0xfe, 0x00], b"{\"email\":\"\xff\xfe\"}".to_vec(), vec![0; 4096]])
    .collect()
}

fn wrong_values() -> Vec<Json> {
    vec![
        Json::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1e308),
        json!(""),
        json!("x"),
        json!("x".repeat(20_000)),
        json!([]),
        json!({}),
        json!({"a": {"b": []}}),
        json!("\u{0}"),
        json!("../../etc/passwd"),
        json!("💥\u{202e}"),
    ]
}

async fn throw(who: &Actor, method: &Method, path: &str, content_type: Option<&str>, body: Vec<u8>) -> Reply {
    who.copy().send(method.clone(), path, content_type, Some(body)).await
}

#[tokio::test]
async fn no_body_of_any_kind_breaks_a_route() {
    let app = all_rooms().await;
    let nobody = app.actor();
    for route in app.auth.routes() {
        let ada = app.user(&format!("ada{}", app.auth.random().id())).await;
        for who in [&nobody, &ada] {
            for body in hostile_bodies() {
                for content_type in [
                    None,
                    Some("application/json"),
                    Some("text/plain"),
                    Some("application/x-www-form-urlencoded"),
                    Some(""),
                ] {
                    let reply = throw(who, &route.method, &route.path, content_type, body.clone()).await;
                    survives(&format!("{} {} {content_type:?}", route.method, route.path), &reply);
                }
            }
            for (field, _) in route.fields {
                for value in wrong_values() {
                    // The other fields are as they should be, so that the wrong one gets far.
                    let mut body: Map<String, Json> = route
                        .fields
                        .iter()
                        .map(|(name, kind)| ((*name).to_owned(), plausible(kind)))
                        .collect();
                    body.insert((*field).to_owned(), value);
                    let text = Json::Object(body).to_string().into_bytes();
                    let reply = throw(who, &route.method, &route.path, Some("application/json"), text).await;
                    survives(&format!("{} {} field {field}", route.method, route.path), &reply);
                }
            }
        }
    }
}

fn plausible(kind: &str) -> Json {
    match kind.trim_end_matches('?') {
        "boolean" => json!(true),
        "number" => json!(1),
        "email" => json!("somebody@example.com"),
        kind => match kind.split_once('|') {
            Some((first, _)) => json!(first),
            None => json!("something"),
        },
    }
}

#[tokio::test]
async fn no_cookie_of_any_kind_breaks_a_route_or_signs_anybody_in() {
    let app = all_rooms().await;
    let names: Vec<String> = [
        "session_token",
        "session_data",
        "session_data.0",
        "dont_remember",
        "two_factor",
        "trust_device",
        "session_token_multi-x",
    ]
    .iter()
    .map(|key| format!("better-auth.{key}"))
    .collect();
    let values = [
        "",
        "x",
        ".",
        "..",
        "%",
        "%zz",
        "a.b",
        "x.%3D",
        "%00",
        "\"",
        "=",
        &"y".repeat(8000),
        "eyJhbGciOiJub25lIn0.e30.",
        "tok.9cDSFHBrMkKTSkj%2FqP9yF4Y6PILGGZGtKFjc4wzuRxs%3D",
    ];
    for route in app.auth.routes() {
        for name in &names {
            for value in values {
                let actor = app.actor();
                actor.set_cookie(name, value);
                let reply =
                    throw(&actor, &route.method, &route.path, Some("application/json"), b"{}".to_vec()).await;
                survives(&format!("{} {} {name}={value}", route.method, route.path), &reply);
                if route.path == "/get-session" && route.method == Method::GET {
                    assert_eq!(reply.expect(200), Json::Null, "{name}={value}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_route_that_needs_a_session_refuses_a_stranger_and_says_nothing_else() {
    let app = all_rooms().await;
    for route in app
        .auth
        .routes()
        .into_iter()
        .filter(|route| route.access.starts_with("session") || route.access.starts_with("fresh"))
    {
        // Only what must be there: an optional field may be one of a few words.
        let required = route.fields.iter().filter(|(_, kind)| !kind.ends_with('?'));
        let body: Map<String, Json> =
            required.map(|(name, kind)| ((*name).to_owned(), plausible(kind))).collect();
        let body = Json::Object(body).to_string().into_bytes();
        let reply = throw(&app.actor(), &route.method, &route.path, Some("application/json"), body).await;
        assert_eq!(reply.status.as_u16(), 401, "{} {}: {}", route.method, route.path, reply.text);
    }
}

/// The routes that a cached copy of a session is enough for: they only show what is the caller's own.
const SHOWN_FROM_THE_CACHE: &[&str] = &["/list-accounts"];

#[tokio::test]
async fn a_revoked_session_changes_nothing_though_its_cached_copy_is_still_good() {
    let app = all_rooms_with(json!({ "session": { "cookieCache": { "enabled": true } } })).await;
    let ada = app.user("ada").await;
    app.auth.db().delete(Session::KEY, &Filter::All).await.unwrap();
    assert_eq!(ada.copy().get("/get-session").await.expect(200)["user"]["name"], "ada", "the cache is on");
    let routes = app.auth.routes().into_iter();
    for route in
        routes.filter(|route| route.access.starts_with("session") || route.access.starts_with("fresh"))
    {
        let mut body: Map<String, Json> = route
            .fields
            .iter()
            .filter(|(_, kind)| !kind.ends_with('?'))
            .map(|(name, kind)| ((*name).to_owned(), plausible(kind)))
            .collect();
        body.insert("name".to_owned(), json!("Mallory"));
        let body = Json::Object(body).to_string().into_bytes();
        let reply = throw(&ada, &route.method, &route.path, Some("application/json"), body).await;
        let expected = if SHOWN_FROM_THE_CACHE.contains(&route.path.as_str()) { 200 } else { 401 };
        assert_eq!(reply.status.as_u16(), expected, "{} {}: {}", route.method, route.path, reply.text);
    }
}

#[tokio::test]
async fn two_origins_are_as_good_as_none() {
    let app = all_rooms().await;
    let ada = app.user("ada").await;
    let both =
        ada.with_header("origin", "http://localhost:3000").with_header("origin", "https://evil.example");
    both.post("/update-user", json!({ "name": "Mallory" })).await.refused(403, "INVALID_ORIGIN");
}

#[tokio::test]
async fn every_route_has_one_room_and_one_row() {
    let app = all_rooms().await;
    let mut seen = HashSet::new();
    for route in app.auth.routes() {
        assert!(!route.room.is_empty());
        assert!(
            seen.insert((route.method.clone(), route.path.clone())),
            "{} {} stands twice",
            route.method,
            route.path
        );
    }
    assert!(seen.len() >= 30);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        ".{0,40}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec(("[a-zA-Z]{0,12}", inner), 0..6)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_json_breaks_no_route(bodies in prop::collection::vec(any_json(), 4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = all_rooms().await;
            for route in app.auth.routes() {
                for body in &bodies {
                    // Under the field names of the route where there are any, and bare.
                    let named: Map<String, Json> = route.fields.iter().map(|(name, _)| ((*name).to_owned(), body.clone())).collect();
                    for body in [body.clone(), Json::Object(named)] {
                        let reply = throw(&app.actor(), &route.method, &route.path, Some("application/json"), body.to_string().into_bytes()).await;
                        survives(&format!("{} {}", route.method, route.path), &reply);
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn options_of_rooms_that_cannot_stand_are_refused_by_name() {
    for (plugin, options, key) in [
        ("multiSession", json!({ "maximumSessions": 0 }), "plugins.multiSession.maximumSessions"),
        (
            "twoFactor",
            json!({ "backupCodeOptions": { "amount": 101 } }),
            "plugins.twoFactor.backupCodeOptions.amount",
        ),
        ("twoFactor", json!({ "totpOptions": { "digits": 9 } }), "plugins.twoFactor.totpOptions.digits"),
        (
            "bearer",
            json!({ "requireSignatur": true }),
            "plugins.bearer.requireSignatur: unknown option; did you mean `requireSignature`?",
        ),
        ("organization", json!({}), "plugins.organization: is a plugin of Better Auth"),
        ("beerer", json!({}), "plugins.beerer: unknown plugin; did you mean `bearer`?"),
    ] {
        let builder =
            crate::Auth::builder().secret("q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4").plugin(plugin, options);
        let error = builder.build().await.map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("configuration: {key}")), "{error}");
    }
    let builder = crate::Auth::builder().secret("q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4");
    let misspelt = builder.configure(|settings| settings.disabled_paths.push("/sign-up/emial".to_owned()));
    let error = misspelt.build().await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("did you mean `/sign-up/email`?"), "{error}");
}
