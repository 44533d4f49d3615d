//! What every request meets before it is routed: rate limits and CORS, through HTTP.

use http::Method;
use portcullis::config::{CustomRule, CustomRules, Environment, Settings};
use portcullis::features::LIST;
use portcullis::store::{Dialect, Filter, Query};
use portcullis::testing::databases::fresh_database;
use portcullis::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

const FRIEND: &str = "https://app.example.com";

async fn limited(rules: Json) -> TestApp {
    let mut settings = json!({ "rateLimit": { "enabled": true } });
    for (key, value) in rules.as_object().unwrap() {
        settings["rateLimit"][key] = value.clone();
    }
    TestApp::start(LIST, settings).await
}

async fn in_production(settings: Json) -> TestApp {
    let own = |builder: portcullis::AuthBuilder| builder.environment(Environment::Production);
    TestApp::start_with(LIST, settings, |settings| settings, Some(Box::new(own))).await
}

async fn sign_in(actor: &Actor, path: &str) -> Reply {
    actor.post(path, json!({ "email": "ada@example.com", "password": "wrong horse" })).await
}

fn from(app: &TestApp, ip: &str) -> Actor {
    app.actor().with_header("x-forwarded-for", ip)
}

#[tokio::test]
async fn the_fourth_sign_in_in_ten_seconds_waits() {
    let app = limited(json!({})).await;
    let actor = app.actor();
    for _ in 0..3 {
        sign_in(&actor, "/sign-in/email").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
        app.advance(3);
    }
    let reply = sign_in(&actor, "/sign-in/email").await;
    assert_eq!(reply.expect(429), json!({ "message": "Too many requests. Please try again later." }));
    assert_eq!((reply.header("x-retry-after"), reply.header("retry-after")), ("7", "7"));
    assert_eq!(reply.header("content-type"), "text/plain;charset=UTF-8");
    app.advance(6);
    sign_in(&actor, "/sign-in/email").await.expect(429);
    app.advance(1);
    sign_in(&actor, "/sign-in/email").await.expect(401);
}

#[tokio::test]
async fn clients_and_paths_count_apart_and_methods_together() {
    let app = limited(json!({ "max": 2 })).await;
    let ada = from(&app, "203.0.113.1");
    ada.get("/get-session").await.expect(200);
    ada.post("/get-session", json!({})).await;
    ada.get("/get-session").await.expect(429);
    ada.get("/ok").await.expect(200);
    from(&app, "203.0.113.2").get("/get-session").await.expect(200);
    // One /64 is one client.
    for (ip, status) in [("2001:db8::1", 200), ("2001:db8::2", 200), ("2001:db8::3", 429)] {
        from(&app, ip).get("/get-session").await.expect(status);
    }
}

#[tokio::test]
async fn limits_are_on_in_production_only_unless_asked_for() {
    let development = TestApp::start(LIST, json!({})).await;
    let production = in_production(json!({})).await;
    let off = in_production(json!({ "rateLimit": { "enabled": false } })).await;
    for (app, status) in [(development, 401), (production, 429), (off, 401)] {
        let actor = from(&app, "203.0.113.1");
        for _ in 0..3 {
            sign_in(&actor, "/sign-in/email").await.expect(401);
        }
        sign_in(&actor, "/sign-in/email").await.expect(status);
    }
}

#[tokio::test]
async fn clients_without_an_address_share_one_counter_in_production() {
    let app = in_production(json!({ "rateLimit": { "max": 2, "storage": "database" } })).await;
    app.actor().get("/ok").await.expect(200);
    // A chain that nobody vouches for is no address.
    from(&app, "203.0.113.1, 203.0.113.2").get("/ok").await.expect(200);
    app.actor().get("/ok").await.expect(429);
    from(&app, "203.0.113.1").get("/ok").await.expect(200);
    let mut keys: Vec<String> = app
        .auth
        .db()
        .list("rateLimit", &Query::all())
        .await
        .unwrap()
        .iter()
        .map(|row| row.text("key").unwrap().to_owned())
        .collect();
    keys.sort();
    assert_eq!(keys, ["203.0.113.1|/ok", "no-trusted-ip|/ok"]);
}

#[tokio::test]
async fn without_ip_tracking_nobody_is_limited() {
    let app = in_production(json!({ "advanced": { "ipAddress": { "disableIpTracking": true } } })).await;
    for _ in 0..5 {
        sign_in(&app.actor(), "/sign-in/email").await.expect(401);
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_around_its_limit() {
    let spellings = [
        "//sign-in/email",
        "/sign-in//email",
        "/sign-in/email/",
        "/sign-in%2femail",
        "/sign-in%2Femail",
        "/%73ign-in/email",
        "/Sign-In/Email",
        "/sign-in/./email",
        "/x/../sign-in/email",
        "/sign-in/email;x",
    ];
    let app = limited(json!({})).await;
    for spelling in spellings {
        let actor = from(&app, "203.0.113.1");
        let reply = sign_in(&actor, spelling).await;
        // Either it is no route, or it counts with the route.
        assert!(matches!(reply.status.as_u16(), 404 | 429), "{spelling}: {}", reply.status);
    }
    // Some of the spellings were counted as the route itself; none of them added to what is allowed.
    let app = limited(json!({})).await;
    let actor = app.actor();
    for _ in 0..3 {
        sign_in(&actor, "/sign-in/email").await.expect(401);
    }
    for spelling in spellings.iter().chain(&["/sign-in/email", "/sign-in/email?x=1"]) {
        let reply = sign_in(&actor, spelling).await;
        assert!(matches!(reply.status.as_u16(), 404 | 429), "{spelling}: {}", reply.status);
    }
}

#[tokio::test]
async fn paths_that_are_not_there_count_too() {
    let app = limited(json!({ "max": 2 })).await;
    let actor = app.actor();
    for status in [404, 404, 429] {
        actor.get("/nothing").await.expect(status);
    }
    for status in [404, 404, 404] {
        actor.get("/sign-in/nothing").await.expect(status);
    }
    actor.get("/sign-in/nothing").await.expect(429);
}

#[tokio::test]
async fn disabled_paths_answer_404_and_are_not_counted() {
    let settings = json!({ "disabledPaths": ["/ok"], "rateLimit": { "enabled": true, "max": 1 } });
    let app = TestApp::start(LIST, settings).await;
    for _ in 0..3 {
        app.actor().get("/ok").await.expect(404);
    }
}

#[tokio::test]
async fn custom_rules_come_before_all_others() {
    let rules = json!({ "enabled": true, "customRules": {
        "/sign-in/email": false,
        "/sign-*/**": { "window": 5, "max": 2 },
        "/two-factor/*": { "window": 5, "max": 1 },
        "/unreachable": { "webhook": "http://127.0.0.1:9/" },
    } });
    let settings = json!({ "rateLimit": rules, "plugins": { "twoFactor": {} } });
    let told = Told::default();
    let ask = |mut settings: Settings| {
        let CustomRules(rules) = &mut settings.rate_limit.custom_rules;
        for (path, answer) in [
            ("/asked", json!({ "window": 60, "max": 1 })),
            ("/free", json!(false)),
            ("/as-it-was", Json::Null),
        ] {
            rules.push((path.into(), CustomRule::Asked(told.answering(answer))));
        }
        settings
    };
    let app = TestApp::start_with(LIST, settings, ask, None).await;
    let actor = app.actor();
    for _ in 0..6 {
        sign_in(&actor, "/sign-in/email").await.expect(401);
    }
    for status in [404, 404, 429] {
        actor.get("/sign-in/other").await.expect(status);
    }
    actor.post("/two-factor/disable", json!({})).await;
    let reply = actor.post("/two-factor/disable", json!({})).await;
    reply.expect(429);
    assert_eq!(reply.header("x-retry-after"), "5");
    // Where the rule cannot be had, the request is not let through uncounted.
    actor.get("/unreachable").await.expect(500);
    let mut ended = Vec::new();
    for path in ["/asked", "/free", "/as-it-was"] {
        let mut last = 0;
        for _ in 0..4 {
            last = actor.get(path).await.status.as_u16();
        }
        ended.push(last);
    }
    assert_eq!(ended, [429, 404, 404]);
    let (name, args) = told.last();
    assert_eq!(name, "rateLimit.customRules./as-it-was");
    assert_eq!(args, [json!({ "method": "GET", "path": "/as-it-was" }), json!({ "window": 10, "max": 100 })]);
}

#[tokio::test]
async fn a_room_has_limits_for_its_own_paths() {
    let settings = json!({ "rateLimit": { "enabled": true }, "plugins": { "twoFactor": {} } });
    let app = TestApp::start(LIST, settings).await;
    let actor = app.actor();
    for _ in 0..3 {
        assert_ne!(actor.post("/two-factor/verify-totp", json!({})).await.status.as_u16(), 429);
    }
    actor.post("/two-factor/verify-totp", json!({})).await.expect(429);
}

#[tokio::test]
async fn too_many_session_reads_sign_nobody_out() {
    for storage in ["memory", "database"] {
        let app = limited(json!({ "max": 5, "storage": storage })).await;
        let ada = app.user("ada").await;
        let before = ada.cookies();
        assert!(!before.is_empty());
        for n in 0..20 {
            let reply = ada.get("/get-session").await;
            reply.expect(if n < 5 { 200 } else { 429 });
            assert!(n < 5 || reply.set_cookies().is_empty(), "a 429 sets no cookie");
        }
        assert_eq!(ada.cookies().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        app.advance(10);
        assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "ada");
    }
}

async fn race(app: &TestApp, expected: usize) {
    let mut racers = JoinSet::new();
    for _ in 0..50 {
        let actor = app.actor();
        racers.spawn(async move { actor.get("/ok").await.status.as_u16() });
    }
    let statuses = racers.join_all().await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), expected);
}

/// Of fifty at once as many get through as there are places: with no row yet, with one place left, and
/// where a window begins again.
async fn races_are_won_by_as_many_as_there_are_places(url: &str, storage: &str) {
    let settings = json!({
        "rateLimit": { "enabled": true, "max": 4, "storage": storage },
        "database": { "url": url, "maxConnections": 8 },
    });
    let app = TestApp::start(LIST, settings).await;
    race(&app, 4).await;
    app.advance(10);
    for _ in 0..3 {
        app.actor().get("/ok").await.expect(200);
    }
    race(&app, 1).await;
    app.advance(10);
    race(&app, 4).await;
    if storage == "database" {
        assert_eq!(app.auth.db().count("rateLimit", &Filter::All).await.unwrap(), 1);
    }
    app.auth.store().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_had_by_one_racer_in_memory() {
    races_are_won_by_as_many_as_there_are_places("sqlite::memory:", "memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_had_by_one_racer_in_every_database() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(url) = fresh_database(dialect).await else { continue };
        races_are_won_by_as_many_as_there_are_places(&url, "database").await;
        if dialect == Dialect::Sqlite {
            for end in ["", "-wal", "-shm"] {
                let path = format!("{}{end}", url.trim_start_matches("sqlite:"));
                if std::path::Path::new(&path).exists() {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn the_table_has_better_auths_columns_and_old_rows_go() {
    let rules = json!({
        "storage": "database",
        "modelName": "limits",
        "fields": { "lastRequest": "last_request" },
        "customRules": { "/slow": { "window": 120, "max": 1 } },
    });
    let app = limited(rules).await;
    let table = app.auth.table("rateLimit");
    assert_eq!(table.name, "limits");
    assert_eq!(table.column("lastRequest").unwrap().name, "last_request");
    for path in ["/slow", "/old", "/ok"] {
        app.actor().get(path).await;
    }
    let keys = || async {
        let rows = app.auth.db().list("rateLimit", &Query::all()).await.unwrap();
        let mut keys: Vec<_> = rows.iter().map(|row| row.text("key").unwrap().to_owned()).collect();
        keys.sort();
        keys
    };
    // As old as the longest window is not older than it.
    app.advance(120);
    app.actor().get("/ok").await.expect(200);
    assert_eq!(keys().await, ["127.0.0.1|/ok", "127.0.0.1|/old", "127.0.0.1|/slow"]);
    app.advance(60);
    app.actor().get("/ok").await.expect(200);
    assert_eq!(keys().await, ["127.0.0.1|/ok"]);
}

#[tokio::test]
async fn a_path_of_any_length_is_counted_on_every_database() {
    let long = format!("/{}", "x".repeat(6_000));
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(url) = fresh_database(dialect).await else { continue };
        let settings = json!({
            "rateLimit": { "enabled": true, "max": 1, "storage": "database" },
            "database": { "url": url },
        });
        let app = TestApp::start(LIST, settings).await;
        app.actor().get(&long).await.expect(404);
        app.actor().get(&long).await.expect(429);
        app.auth.store().close().await;
    }
}

async fn refused(settings: Json) -> String {
    let settings = match portcullis::config::read("", settings) {
        Ok(settings) => settings,
        Err(error) => return error.to_string(),
    };
    let built = portcullis::AuthBuilder::new(LIST).settings(settings).build().await;
    built.expect_err("must be refused").to_string()
}

#[tokio::test]
async fn rules_that_cannot_stand_are_refused() {
    for (rules, key) in [
        (json!({ "storage": "redis" }), "rateLimit.storage: must be"),
        (json!({ "window": 0 }), "rateLimit.window: must be at least 1"),
        (json!({ "fields": { "ip": "x" } }), "rateLimit.fields.ip: no such field"),
        (json!({ "customRules": { "/a": true } }), "rateLimit.customRules: /a: must be false"),
        (json!({ "customRules": { "/a": { "window": 1, "max": 0 } } }), "rateLimit.customRules./a.max"),
        (json!({ "customRules": { "/a": { "window": 1 } } }), "rateLimit.customRules: /a: missing field"),
    ] {
        let secret = "0123456789abcdef0123456789abcdef";
        let text = refused(json!({ "secret": secret, "rateLimit": rules })).await;
        assert!(text.contains(key), "{text}");
    }
}

fn friendly(settings: Json) -> Json {
    let mut all = json!({ "trustedOrigins": [FRIEND], "plugins": { "bearer": {} } });
    for (key, value) in settings.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

async fn preflight(app: &TestApp, origin: &str, path: &str) -> Reply {
    let actor = app
        .actor()
        .with_header("origin", origin)
        .with_header("access-control-request-method", "POST")
        .with_header("access-control-request-headers", "Content-Type, X-Captcha-Response,x-evil");
    actor.send(Method::OPTIONS, path, None, None::<Vec<u8>>).await
}

fn says_nothing(reply: &Reply) -> bool {
    reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-allow"))
}

#[tokio::test]
async fn a_trusted_origin_may_ask_and_is_told_what_it_may() {
    let app = TestApp::start(LIST, friendly(json!({}))).await;
    let reply = preflight(&app, FRIEND, "/sign-in/email").await;
    reply.expect(204);
    for (name, value) in [
        ("access-control-allow-origin", FRIEND),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type, authorization, x-captcha-response"),
        ("access-control-max-age", "7200"),
        ("vary", "Origin"),
        ("access-control-expose-headers", ""),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    assert_eq!(reply.text, "");
}

#[tokio::test]
async fn foreign_and_null_origins_our_own_and_unknown_paths_get_no_permission() {
    let app = TestApp::start(LIST, friendly(json!({ "disabledPaths": ["/error"] }))).await;
    for origin in
        ["https://evil.example", "null", "http://app.example.com", "https://app.example.com.evil.io", "*"]
    {
        let reply = preflight(&app, origin, "/sign-in/email").await;
        reply.expect(404);
        assert!(says_nothing(&reply), "{origin}");
        let reply = app.actor().with_header("origin", origin).get("/get-session").await;
        reply.expect(200);
        assert!(says_nothing(&reply), "{origin}");
        assert_eq!(reply.header("access-control-expose-headers"), "", "{origin}");
        // A cache must know that another origin's answer looks different.
        assert_eq!(reply.header("vary"), "Origin");
    }
    let own = preflight(&app, "http://localhost:3000", "/sign-in/email").await;
    own.expect(404);
    assert!(says_nothing(&own));
    assert!(says_nothing(&app.actor().get("/get-session").await));
    for path in ["/nothing", "/sign-in/email/", "/error"] {
        preflight(&app, FRIEND, path).await.expect(404);
    }
    // Without the question OPTIONS is no method, as ever.
    let plain = app.actor().with_header("origin", FRIEND);
    plain.send(Method::OPTIONS, "/sign-in/email", None, None::<Vec<u8>>).await.expect(404);
}

#[tokio::test]
async fn scripts_of_trusted_origins_can_read_answers_tokens_and_refusals() {
    let app = TestApp::start(LIST, friendly(json!({ "rateLimit": { "enabled": true } }))).await;
    app.user("ada").await;
    let friend = app.actor().with_header("origin", FRIEND);
    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    let reply = friend.post("/sign-in/email", body).await;
    reply.expect(200);
    assert_eq!(reply.header("access-control-allow-origin"), FRIEND);
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    assert!(!reply.header("set-auth-token").is_empty());
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-token, set-auth-jwt");
    assert_eq!(reply.headers.get_all("vary").iter().count(), 1);

    // Preflights do not count, or a browser would have half of the tries.
    for _ in 0..10 {
        preflight(&app, FRIEND, "/sign-in/email").await.expect(204);
    }
    for _ in 0..2 {
        let reply = sign_in(&friend, "/sign-in/email").await;
        reply.expect(401);
        assert_eq!(reply.header("access-control-allow-origin"), FRIEND);
    }
    let reply = sign_in(&friend, "/sign-in/email").await;
    reply.expect(429);
    assert_eq!(reply.header("access-control-allow-origin"), FRIEND);
    assert!(reply.header("access-control-expose-headers").contains("x-retry-after"));
}

#[tokio::test]
async fn cors_can_be_left_to_others_and_is_off_where_answers_are_compared() {
    let off = TestApp::start(LIST, friendly(json!({ "http": { "cors": false } }))).await;
    let own = |builder: portcullis::AuthBuilder| builder.environment(Environment::Test);
    let test = TestApp::start_with(LIST, friendly(json!({})), |s| s, Some(Box::new(own))).await;
    for app in [off, test] {
        preflight(&app, FRIEND, "/sign-in/email").await.expect(404);
        let reply = app.actor().with_header("origin", FRIEND).get("/get-session").await;
        reply.expect(200);
        assert!(says_nothing(&reply) && reply.header("vary").is_empty());
    }
}
