//! Past holes of Better Auth and its kin, each as a test that finds it again if it comes back, over all
//! routes where that makes sense. Which hole has which test: docs/security-tests.md.

use http::Method;
use portcullis::config::Settings;
use portcullis::database_hooks::{Before, DatabaseHooks, Model, Verb};
use portcullis::error::Error;
use portcullis::features::LIST;
use portcullis::identity::{Account, Session, User};
use portcullis::store::{Filter, Query, Row};
use portcullis::testing::{Actor, Reply, TestApp, Told};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use tokio::task::JoinSet;

fn every_room(settings: Json) -> Json {
    let mut plugins: Map<String, Json> =
        LIST.iter().filter_map(|room| room.plugin).map(|name| (name.to_owned(), json!({}))).collect();
    let mail = json!({
        "skipVerificationOnEnable": true,
        "otpOptions": { "sendOTP": { "webhook": "http://127.0.0.1:9/" } },
    });
    plugins.insert("twoFactor".to_owned(), mail);
    let mut all = json!({
        "plugins": plugins,
        "user": { "deleteUser": { "enabled": true }, "changeEmail": { "enabled": true } },
    });
    if let (Json::Object(all), Json::Object(settings)) = (&mut all, settings) {
        all.extend(settings);
    }
    all
}

/// Every room, and every mail told to the test.
async fn app(settings: Json) -> (TestApp, Told) {
    let told = Told::default();
    let (reset, proof) = (told.callback(), told.callback());
    let change = move |mut settings: Settings| {
        settings.email_and_password.send_reset_password = Some(reset);
        settings.email_verification.send_verification_email = Some(proof);
        settings
    };
    (TestApp::start_with(LIST, every_room(settings), change, None).await, told)
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

async fn call(actor: &Actor, method: &Method, path: &str, body: &Json) -> Reply {
    if *method == Method::GET {
        actor.get(path).await
    } else {
        actor.send(method.clone(), path, Some("application/json"), Some(body.to_string())).await
    }
}

/// A path with something in the place of its parameters.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x1" } else { part }).collect::<Vec<_>>().join("/")
}

/// Other ways to write a path. Servers, proxies and frameworks have taken each of them for the path itself.
fn spellings(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches('/');
    let (first, rest) = inner.split_once('/').unwrap_or((inner, ""));
    let slash = if rest.is_empty() { "" } else { "/" };
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let swapped: String = inner
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    vec![
        format!("{path}/"),
        format!("{path}//"),
        format!("/{path}"),
        format!("//{path}"),
        format!("/.{path}"),
        format!("/./{inner}"),
        format!("/x/..{path}"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("{path}/x/.."),
        format!("/%2e{path}"),
        format!("/x/%2e%2e{path}"),
        format!("{path}%2f"),
        format!("%2f{inner}"),
        format!("/%2f{inner}"),
        format!("/{}", inner.replace('/', "%2f")),
        format!("/{}", inner.replace('/', "%2F")),
        format!("/{}", inner.replace('/', "//")),
        format!("/{}", inner.replace('/', "/./")),
        format!("/{}", inner.replace('/', "%5c")),
        format!("/{}", inner.replace('/', "/;/")),
        format!("{path};"),
        format!("{path};x=1"),
        format!("{path}/;x"),
        format!("/{first};a=b{slash}{rest}"),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path}%09"),
        format!("{path}%23"),
        format!("{path}%3f"),
        format!("{path}%3b"),
        format!("{path}.json"),
        format!("{path}."),
        format!("/{}{slash}{rest}", encoded(first)),
        format!("/{first}{slash}{}", encoded(rest)),
        format!("/{}", encoded(inner)),
        format!("/%25{:02x}{}", inner.bytes().next().unwrap_or(b'a'), inner.get(1..).unwrap_or_default()),
        format!("/{swapped}"),
        format!(
            "/{}{}",
            inner.get(..1).unwrap_or_default().to_uppercase(),
            inner.get(1..).unwrap_or_default()
        ),
        format!("/%ef%bc%8f{inner}"),
        format!("/api/auth{path}"),
        format!("{path}?"),
        format!("{path}?x=1"),
    ]
}

#[tokio::test]
async fn no_spelling_of_any_route_brings_back_a_disabled_path() {
    let routes = app(json!({})).await.0.auth.routes();
    let all: Vec<&str> = routes.iter().map(|route| route.path.as_str()).collect();
    for skip in [false, true] {
        let settings = json!({ "disabledPaths": all, "advanced": { "skipTrailingSlashes": skip } });
        let (app, _) = app(settings).await;
        for route in &routes {
            let path = filled(&route.path);
            for spelling in spellings(&path).into_iter().chain([path.clone()]) {
                let reply = call(&app.actor(), &route.method, &spelling, &json!({})).await;
                assert_eq!(reply.status.as_u16(), 404, "{} {spelling}: {}", route.method, reply.text);
            }
        }
    }
}

#[tokio::test]
async fn no_spelling_of_any_route_has_a_limit_of_its_own() {
    for skip in [false, true] {
        let settings = json!({
            "advanced": { "skipTrailingSlashes": skip },
            "rateLimit": { "enabled": true, "customRules": { "/**": { "window": 60, "max": 1 } } },
        });
        let (app, _) = app(settings).await;
        for (number, route) in app.auth.routes().iter().enumerate() {
            let path = filled(&route.path);
            let somebody = || app.actor().with_header("x-forwarded-for", &format!("203.0.113.{number}"));
            assert_ne!(
                call(&somebody(), &route.method, &path, &json!({})).await.status.as_u16(),
                429,
                "{path}"
            );
            assert_eq!(
                call(&somebody(), &route.method, &path, &json!({})).await.status.as_u16(),
                429,
                "{path}"
            );
            for spelling in spellings(&path) {
                // A parameter of the path is the caller's: another one is another path.
                if route.path.contains('{') && !spelling.contains("x1/") && !spelling.ends_with("x1") {
                    continue;
                }
                let reply = call(&somebody(), &route.method, &spelling, &json!({})).await;
                assert!(
                    matches!(reply.status.as_u16(), 404 | 429),
                    "{} {spelling}: {}",
                    route.method,
                    reply.status
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn no_mixture_of_spellings_reaches_a_disabled_path(
        noise in prop::collection::vec(prop::sample::select(&["", "", "", "/", "/.", "/./", "/x/..", "%2f", "%2e", ";", ";a=b", "%00", "%", "/%2e%2e", "//"][..]), 40),
        encode in prop::collection::vec(prop::bool::weighted(0.1), 400),
        skip in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disabled = ["/sign-in/email", "/sign-up/email", "/get-session", "/reset-password/{token}", "/ok"];
            let (app, _) = app(json!({ "disabledPaths": disabled, "advanced": { "skipTrailingSlashes": skip } })).await;
            let (mut noise, mut encode) = (noise.iter().cycle(), encode.iter().cycle());
            for path in disabled {
                for _ in 0..40 {
                    let mut spelling = String::new();
                    for part in filled(path).split('/').skip(1) {
                        spelling.push('/');
                        for byte in part.bytes() {
                            match encode.next() {
                                Some(true) => spelling.push_str(&format!("%{byte:02X}")),
                                _ => spelling.push(char::from(byte)),
                            }
                        }
                        spelling.push_str(noise.next().unwrap());
                    }
                    for method in [Method::GET, Method::POST] {
                        let reply = call(&app.actor(), &method, &spelling, &json!({})).await;
                        // One that became another route which is not disabled cannot come of these.
                        assert_eq!(reply.status.as_u16(), 404, "{method} {spelling}: {}", reply.text);
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn with_skip_trailing_slashes_one_slash_more_is_the_same_path() {
    let rules = json!({ "enabled": true, "customRules": { "/get-session": { "window": 60, "max": 2 } } });
    let settings = |skip: bool| {
        json!({
            "advanced": { "skipTrailingSlashes": skip }, "disabledPaths": ["/sign-out"], "rateLimit": rules,
        })
    };
    let (off, _) = app(settings(false)).await;
    off.actor().get("/ok/").await.expect(404);
    let (app, _) = app(settings(true)).await;
    let actor = app.actor();
    // As better-auth 1.7.6 answers.
    for (method, path, status) in [
        ("GET", "/ok", 200),
        ("GET", "/ok/", 200),
        ("GET", "/ok//", 404),
        ("GET", "//ok", 404),
        ("POST", "/ok/", 404),
        ("POST", "/sign-in/email/", 400),
        ("GET", "/reset-password/abc/?callbackURL=/x", 302),
        ("GET", "/reset-password//?callbackURL=/x", 404),
        ("GET", "/", 404),
        ("POST", "/sign-out/", 404),
        ("GET", "/get-session/", 200),
        ("POST", "/get-session/", 405),
        ("GET", "/get-session", 429),
        ("GET", "/get-session/", 429),
        ("GET", "/%6fk/", 404),
    ] {
        let method: Method = method.parse().unwrap();
        let reply = call(&actor, &method, path, &json!({})).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}: {}", reply.text);
    }
    // A second factor is asked for on this path, too.
    let ann = app.user("ann").await;
    ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let body = json!({ "email": "ann@example.com", "password": "correct horse" });
    let reply = app.actor().with_header("x-forwarded-for", "203.0.113.9").post("/sign-in/email/", body).await;
    assert_eq!(reply.expect(200)["twoFactorRedirect"], true);
}

/// All that is stored of somebody.
async fn all_of(app: &TestApp, user: &str) -> Vec<Vec<Row>> {
    let mut found = Vec::new();
    for (table, filter) in [
        (User::KEY, User::ID.is(user)),
        (Account::KEY, Account::USER_ID.is(user)),
        (Session::KEY, Session::USER_ID.is(user)),
        ("twoFactor", Filter::Is("userId".into(), user.into())),
    ] {
        found.push(app.auth.db().list(table, &Query::from(filter)).await.unwrap());
    }
    found
}

#[tokio::test]
async fn no_field_of_a_body_or_query_chooses_who_acts() {
    let (app, _) = app(json!({})).await;
    let ada = app.user("ada").await;
    ada.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let session = ada.get("/get-session").await.expect(200);
    let id = session["user"]["id"].as_str().unwrap().to_owned();
    let before = all_of(&app, &id).await;
    assert!(before.iter().all(|rows| !rows.is_empty()), "{before:?}");

    let claims = json!({
        "userId": id, "user_id": id, "user": { "id": id, "email": "ada@example.com" }, "id": id, "sub": id,
        "accountId": id, "session": { "userId": id }, "role": "admin", "isAdmin": true, "emailVerified": true,
        "twoFactorEnabled": false, "name": "Mallory",
    });
    let query = format!("?userId={id}&user={id}&id={id}&email=ada%40example.com&role=admin");
    for route in app.auth.routes() {
        let mallory = app.user(&format!("mallory{}", app.auth.random().id().to_lowercase())).await;
        for who in [app.actor(), mallory] {
            let mut body: Map<String, Json> = claims.as_object().unwrap().clone();
            for (name, kind) in route.fields.iter().filter(|(_, kind)| !kind.ends_with('?')) {
                body.entry((*name).to_owned()).or_insert_with(|| plausible(kind));
            }
            let path = format!("{}{query}", filled(&route.path));
            let reply = call(&who, &route.method, &path, &Json::Object(body)).await;
            let needs = route.access.starts_with("session") || route.access.starts_with("fresh");
            if needs && who.cookies().is_empty() {
                assert!(matches!(reply.status.as_u16(), 400 | 401), "{}: {}", route.path, reply.text);
            }
            assert!(
                !reply.text.contains(&id),
                "{} {} answers of another user: {}",
                route.method,
                route.path,
                reply.text
            );
            assert!(
                all_of(&app, &id).await == before,
                "{} {} changed another user",
                route.method,
                route.path
            );
        }
    }
}

#[tokio::test]
async fn no_endpoint_hashes_a_password_longer_than_any_may_be() {
    let (app, told) = app(json!({})).await;
    let ada = app.user("ada").await;
    ada.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let ask = json!({ "email": "ada@example.com", "redirectTo": "/new" });
    app.actor().post("/request-password-reset", ask).await.expect(200);
    let token = told.last().1[0]["token"].clone();
    let mut tried = 0;
    for route in app.auth.routes() {
        let of_password = |name: &str| name.to_lowercase().contains("password");
        for (field, _) in route.fields.iter().filter(|(name, _)| of_password(name)) {
            tried += 1;
            for length in [129, 4_096, 500_000] {
                let mut body: Map<String, Json> = route
                    .fields
                    .iter()
                    .filter(|(_, kind)| !kind.ends_with('?'))
                    .map(|(name, kind)| ((*name).to_owned(), plausible(kind)))
                    .collect();
                for (name, value) in [
                    ("email", json!("ada@example.com")),
                    ("username", json!("ada")),
                    ("token", token.clone()),
                    ("currentPassword", json!("correct horse")),
                    ("newPassword", json!("correct horse")),
                ] {
                    if route.fields.iter().any(|(known, _)| *known == name) {
                        body.insert(name.to_owned(), value);
                    }
                }
                body.insert((*field).to_owned(), json!("p".repeat(length)));
                let before = app.auth.passwords().computed();
                let reply = call(&ada, &route.method, &route.path, &Json::Object(body)).await;
                let status = reply.status.as_u16();
                assert!((400..500).contains(&status), "{} {field}: {status} {}", route.path, reply.text);
                assert_eq!(app.auth.passwords().computed(), before, "{} hashes {field}", route.path);
            }
        }
    }
    assert!(tried >= 8, "{tried} fields");
}

#[tokio::test]
async fn before_the_second_factor_nothing_that_stands_for_a_session_leaves() {
    let (app, _) = app(json!({ "session": { "cookieCache": { "enabled": true } } })).await;
    let ann = app.user("ann").await;
    ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    ann.post("/sign-out", json!({})).await.expect(200);
    let thief = app.actor();
    let body = json!({ "email": "ann@example.com", "password": "correct horse" });
    let reply = thief.post("/sign-in/email", body).await;
    assert_eq!(reply.expect(200)["twoFactorRedirect"], true);
    for header in ["set-auth-token", "set-auth-jwt"] {
        assert_eq!(reply.header(header), "");
    }
    assert_eq!(thief.cookies().keys().collect::<Vec<_>>(), ["better-auth.two_factor"]);
    assert_eq!(app.auth.db().count(Session::KEY, &Filter::All).await.unwrap(), 0);
    assert_eq!(thief.get("/get-session").await.expect(200), Json::Null);
    for route in app.auth.routes() {
        if route.access.starts_with("session") || route.access.starts_with("fresh") {
            let body: Map<String, Json> = route
                .fields
                .iter()
                .filter(|(_, kind)| !kind.ends_with('?'))
                .map(|(name, kind)| ((*name).to_owned(), plausible(kind)))
                .collect();
            let reply = call(&thief.copy(), &route.method, &route.path, &Json::Object(body)).await;
            assert_eq!(reply.status.as_u16(), 401, "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn mailed_links_go_to_the_configured_address_whatever_headers_say() {
    let hosts = json!(["auth.example.com", "auth.example.com:*", "*.wild.example.com"]);
    let dynamic =
        json!({ "allowedHosts": hosts, "fallback": "https://auth.example.com", "protocol": "https" });
    for (base, own) in [
        (json!("https://auth.example.com"), "https://auth.example.com/api/auth/"),
        (dynamic, "https://auth.example.com/api/auth/"),
    ] {
        let settings = json!({ "baseURL": base, "advanced": { "trustedProxyHeaders": true } });
        let (app, told) = app(settings).await;
        let plain = || app.actor().with_header("origin", "https://auth.example.com");
        let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
        plain().post("/sign-up/email", body).await.expect(200);
        for (header, value) in [
            ("host", "evil.example"),
            ("host", "auth.example.com.evil.example"),
            ("host", "auth.example.com@evil.example"),
            ("host", "evil.example/auth.example.com"),
            ("host", "evil.example/.wild.example.com"),
            ("host", "evil.example?.wild.example.com"),
            ("host", "evil.example#.wild.example.com"),
            ("host", "evil.example\\.wild.example.com"),
            ("host", "x@evil.example/.wild.example.com"),
            ("host", "evil.example:80/.wild.example.com"),
            ("host", "auth.example.com:80@evil.example"),
            ("host", "*.wild.example.com"),
            ("x-forwarded-host", "evil.example/.wild.example.com"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-host", "auth.example.com, evil.example"),
            ("forwarded", "host=evil.example;proto=https"),
            ("x-original-host", "evil.example"),
            ("x-forwarded-server", "evil.example"),
            ("x-original-url", "https://evil.example/"),
        ] {
            let liar = plain().with_header(header, value);
            let sent = told.all().len();
            let ask = json!({ "email": "ada@example.com" });
            liar.post("/request-password-reset", ask.clone()).await.expect(200);
            liar.post("/send-verification-email", ask).await.expect(200);
            let all = told.all();
            let mails = &all[sent..];
            assert_eq!(mails.len(), 2, "{header}: {value}");
            for (name, args) in mails {
                let url = args[0]["url"].as_str().unwrap();
                assert!(url.starts_with(own) && !url.contains("evil"), "{name} {header}: {value}: {url}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_that_only_looks_like_a_known_one_is_nobodys() {
    let (app, told) = app(json!({})).await;
    app.user("kim").await;
    for address in [
        "\u{212a}im@example.com",
        "kim\u{ff20}example.com",
        "kim@ex\u{0430}mple.com",
        "kim@example\u{3002}com",
        "\u{ff4b}im@example.com",
        "k\u{131}m@example.com",
        "kim@example.com\u{0}",
        "kim\u{200b}@example.com",
        "kim@example.com\n",
        " kim@example.com",
        "kim@example.com@evil.example",
        "kim@evil.example,kim@example.com",
        "kim@evil.example;kim@example.com",
        "<kim@example.com>",
        "\"kim\"@example.com",
        "kim@[127.0.0.1]",
    ] {
        let actor = app.actor();
        let body = json!({ "name": "x", "email": address, "password": "correct horse" });
        actor.post("/sign-up/email", body.clone()).await.expect(400);
        actor.post("/sign-in/email", body).await.expect(400);
        for path in ["/request-password-reset", "/send-verification-email"] {
            actor.post(path, json!({ "email": address })).await.expect(400);
        }
        assert!(actor.cookies().is_empty() && told.all().is_empty(), "{address:?}");
    }
    assert_eq!(app.auth.db().count(User::KEY, &Filter::All).await.unwrap(), 1);
}

#[tokio::test]
async fn no_authorization_header_breaks_a_route_or_signs_anybody_in() {
    let (app, _) = app(json!({})).await;
    app.user("ada").await;
    let long = format!("Bearer {}", "a".repeat(20_000));
    for value in [
        "Bearer",
        "Bearer ",
        "bearer x",
        "Bearer  x y",
        "Bearer .",
        "Bearer ..",
        "Bearer %",
        "Bearer %zz.%3D",
        "Bearer undefined",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "Bearer a.b.c",
        "Bearer %00",
        "Basic",
        "Basic OjpA",
        "Basic !!!",
        "Digest username=\"ada\"",
        ",,,",
        ":",
        "Bearer\ttab",
        &long,
    ] {
        for route in app.auth.routes() {
            let actor = app.actor().with_header("authorization", value);
            let reply = call(&actor, &route.method, &filled(&route.path), &json!({})).await;
            let status = reply.status.as_u16();
            assert!(status < 500 || status == 501, "{} {value:.40}: {status}", route.path);
            if route.path == "/get-session" && route.method == Method::GET {
                assert_eq!(reply.expect(200), Json::Null, "{value:.40}");
            }
        }
    }
}

/// Five hundred reads at once, of a session that is due to be extended, against a limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_session_reads_signs_nobody_out() {
    for (storage, cache, max) in
        [("memory", false, 1_000), ("memory", true, 100), ("database", false, 100), ("memory", false, 5)]
    {
        let (app, _) = app(json!({
            "session": { "cookieCache": { "enabled": cache } },
            "rateLimit": { "enabled": true, "storage": storage, "max": max },
        }))
        .await;
        let ada = app.user("ada").await;
        let before = ada.cookies();
        // Just before it is due, just after, and when it is long due: each is a storm, and a limit has ended before.
        for seconds in [86_399, 11, 86_400] {
            app.advance(seconds);
            let mut storm = JoinSet::new();
            for _ in 0..500 {
                // Every tab of the browser sends what the browser had before the storm.
                let tab = ada.copy();
                storm.spawn(async move { tab.get("/get-session").await });
            }
            let (mut read, mut limited) = (0, 0);
            let mut renewed = None;
            for reply in storm.join_all().await {
                match reply.status.as_u16() {
                    200 => {
                        read += 1;
                        assert_eq!(reply.json["user"]["name"], "ada", "signed out: {}", reply.text);
                        let cookies = reply.set_cookies();
                        let last = |name: &str| {
                            cookies
                                .iter()
                                .rev()
                                .find(|cookie| cookie.starts_with(&format!("better-auth.{name}=")))
                        };
                        // An old cache may be taken back in the line before the new one.
                        for name in ["session_token", "session_data", "dont_remember"] {
                            assert!(last(name).is_none_or(|line| !line.contains("Max-Age=0")), "{cookies:?}");
                        }
                        if let Some(cookie) = last("session_token") {
                            renewed = Some(cookie.clone());
                        }
                    }
                    429 => {
                        limited += 1;
                        assert!(reply.set_cookies().is_empty(), "a 429 touches no cookie");
                    }
                    other => panic!("{other}: {}", reply.text),
                }
            }
            assert_eq!(read + limited, 500);
            assert!(read >= max.min(500), "{storage} {cache} {max}: {read} read");
            assert_eq!(renewed.is_some(), seconds != 86_399, "{storage} {cache} {max} after {seconds}");
        }
        app.advance(60);
        assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "ada");
        assert_eq!(ada.cookie("better-auth.session_token"), before.get("better-auth.session_token").cloned());
        assert_eq!(app.auth.db().count(Session::KEY, &Filter::All).await.unwrap(), 1);
    }
}

/// The same work for a known and an unknown address, counted and not timed: hashes, and mails.
#[tokio::test]
async fn a_known_and_an_unknown_address_cost_the_same_hashes_everywhere() {
    for (settings, discreet) in [
        (json!({}), false),
        (json!({ "emailAndPassword": { "enabled": true, "requireEmailVerification": true } }), true),
        (json!({ "emailAndPassword": { "enabled": true, "autoSignIn": false } }), true),
    ] {
        let (app, _) = app(settings).await;
        let known = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
        app.actor().post("/sign-up/email", known).await.expect(200);
        let count = async |path: &str, address: &str, password: &str| {
            let before = app.auth.passwords().computed();
            let mut body = json!({ "email": address, "password": password, "name": "x" });
            if path == "/request-password-reset" {
                body = json!({ "email": address });
            }
            let reply = app.actor().post(path, body).await;
            (app.auth.passwords().computed() - before, reply)
        };
        for path in ["/sign-in/email", "/request-password-reset"] {
            let (known, one) = count(path, "ada@example.com", "wrong password").await;
            let (unknown, other) = count(path, "nobody@example.com", "wrong password").await;
            assert_eq!((known, one.status, one.text), (unknown, other.status, other.text), "{path}");
        }
        if discreet {
            let (known, one) = count("/sign-up/email", "ada@example.com", "another password").await;
            let (unknown, other) = count("/sign-up/email", "eve@example.com", "another password").await;
            assert_eq!((known, one.status), (unknown, other.status));
            let keys =
                |reply: &Reply| reply.json["user"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&one), keys(&other));
            assert_eq!(one.set_cookies(), other.set_cookies());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_sign_ins_with_one_trusted_device_at_most_one_skips_the_second_factor() {
    let (app, _) = app(json!({})).await;
    let ann = app.user("ann").await;
    let enabled = ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let code = enabled["backupCodes"][0].clone();
    let body = json!({ "email": "ann@example.com", "password": "correct horse" });
    let device = app.actor();
    assert_eq!(device.post("/sign-in/email", body.clone()).await.expect(200)["twoFactorRedirect"], true);
    let proof = json!({ "code": code, "trustDevice": true });
    device.post("/two-factor/verify-backup-code", proof).await.expect(200);
    device.drop_cookie("better-auth.session_token");
    let mut racers = JoinSet::new();
    for _ in 0..50 {
        let (thief, body) = (device.copy(), body.clone());
        racers
            .spawn(async move { thief.post("/sign-in/email", body).await.expect(200)["token"].is_string() });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|passed| *passed).count(), 1);
}

#[tokio::test]
async fn a_page_for_errors_is_never_on_another_origin() {
    let (app, _) = app(json!({})).await;
    for page in [
        "/.//evil.example",
        "/..//evil.example",
        "/a/..//evil.example/x",
        "/%2e//evil.example",
        "/.%2e//evil.example",
    ] {
        let path = format!("/verify-email?token=bad&callbackURL={page}");
        let reply = app.actor().get(&path).await;
        let location = reply.headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
        assert!(!location.starts_with("//") && !location.contains("://evil"), "{page}: {location}");
        assert_eq!(reply.status, 403, "{page}");
    }
}

#[tokio::test]
async fn no_text_with_a_nul_gets_anywhere() {
    let (app, _) =
        app(json!({ "emailAndPassword": { "enabled": true, "requireEmailVerification": true } })).await;
    app.user("ada").await;
    for email in ["ada@example.com", "new@example.com"] {
        for (key, value) in [
            ("name", json!("a\u{0}")),
            ("image", json!("\u{0}")),
            ("x\u{0}", json!(1)),
            ("x", json!([{ "y": "\u{0}" }])),
        ] {
            let mut body = json!({ "name": "a", "email": email, "password": "correct horse" });
            body[key] = value;
            app.actor().post("/sign-up/email", body).await.expect(400);
        }
    }
    app.actor().get("/reset-password/a%00b?callbackURL=/x").await.expect(400);
    app.actor().get("/verify-email?token=%00").await.expect(400);
}

/// Does something at the moment when a password has been proven and its session is not yet there.
#[derive(Clone, Default)]
struct Meanwhile(std::sync::Arc<tokio::sync::Mutex<Option<Deed>>>);

type Deed = Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

#[async_trait::async_trait]
impl DatabaseHooks for Meanwhile {
    async fn before(
        &self,
        model: Model,
        verb: Verb,
        _: &Map<String, Json>,
        _: &Json,
    ) -> Result<Before, Error> {
        if (model, verb) == (Model::Session, Verb::Create) {
            let deed = self.0.lock().await.take();
            if let Some(deed) = deed {
                deed().await;
            }
        }
        Ok(Before::Go)
    }
}

#[tokio::test]
async fn a_sign_in_under_way_does_not_outlive_a_reset_or_the_user() {
    for elsewhere in [false, true] {
        for deed in ["reset", "change", "delete"] {
            let meanwhile = Meanwhile::default();
            let told = Told::default();
            let mail = told.callback();
            let settings = json!({
                "plugins": { "username": {}, "jwt": {}, "bearer": {} },
                "user": { "deleteUser": { "enabled": true } },
                "emailAndPassword": { "enabled": true, "revokeSessionsOnPasswordReset": true },
            });
            let change = move |mut settings: Settings| {
                settings.email_and_password.send_reset_password = Some(mail);
                settings
            };
            let hooks = meanwhile.clone();
            let own = move |builder: portcullis::AuthBuilder| {
                let builder = builder.database_hooks(hooks);
                if !elsewhere {
                    return builder;
                }
                let clock = portcullis::clock::Clock::fixed(portcullis::clock::Timestamp::from_millis(
                    1_790_000_000_000,
                ));
                builder.secondary_storage(std::sync::Arc::new(portcullis::secondary::Memory::new(clock)))
            };
            let app = TestApp::start_with(LIST, settings, change, Some(Box::new(own))).await;
            let ada = app.actor();
            let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse", "username": "ada" });
            ada.post("/sign-up/email", body).await.expect(200);
            for path in ["/sign-in/email", "/sign-in/username"] {
                if deed == "delete" && path == "/sign-in/username" {
                    continue;
                }
                let password = if path == "/sign-in/email" { "correct horse" } else { "another horse" };
                let next = if path == "/sign-in/email" { "another horse" } else { "a third horse" };
                let actor = app.actor();
                let known = json!({ "email": "ada@example.com", "password": password });
                actor.post("/sign-in/email", known).await.expect(200);
                let (visitor, told) = (app.actor(), told.clone());
                *meanwhile.0.lock().await = Some(Box::new(move || {
                    Box::pin(async move {
                        match deed {
                            "reset" => {
                                visitor
                                    .post("/request-password-reset", json!({ "email": "ada@example.com" }))
                                    .await
                                    .expect(200);
                                let token = told.last().1[0]["token"].clone();
                                visitor
                                    .post("/reset-password", json!({ "token": token, "newPassword": next }))
                                    .await
                                    .expect(200);
                            }
                            "change" => {
                                let body = json!({ "currentPassword": password, "newPassword": next, "revokeOtherSessions": true });
                                actor.post("/change-password", body).await.expect(200);
                            }
                            _ => drop(
                                actor.post("/delete-user", json!({ "password": password })).await.expect(200),
                            ),
                        }
                    })
                }));
                let thief = app.actor();
                let body = json!({ "email": "ada@example.com", "username": "ada", "password": password });
                let reply = thief.post(path, body).await;
                assert_eq!(reply.status, 401, "{deed} {path} elsewhere={elsewhere}");
                assert_eq!(reply.set_cookies().len(), 0);
                let left =
                    Session::list_active(&app.auth, &mut app.auth.db(), &ada_id(&app).await).await.unwrap();
                // The one that the change itself has made.
                assert_eq!(left.len(), usize::from(deed == "change"), "{deed} {path} elsewhere={elsewhere}");
            }
        }
    }
}

async fn ada_id(app: &TestApp) -> String {
    let user = User::by_email(&mut app.auth.db(), "ada@example.com").await.unwrap();
    user.map_or_else(|| "nobody".to_owned(), |user| user.id)
}

#[tokio::test]
async fn links_that_reset_the_password_end_when_it_or_the_address_changes() {
    for deed in ["reset", "change", "address"] {
        let (app, told) = app(json!({})).await;
        let ada = app.user("ada").await;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            ada.post("/request-password-reset", json!({ "email": "ada@example.com" })).await.expect(200);
            tokens.push(told.last().1[0]["token"].as_str().unwrap().to_owned());
        }
        let body = |token: &str| json!({ "token": token, "newPassword": "another horse" });
        match deed {
            "reset" => drop(app.actor().post("/reset-password", body(&tokens.remove(1))).await.expect(200)),
            "change" => {
                let body = json!({ "currentPassword": "correct horse", "newPassword": "another horse" });
                ada.post("/change-password", body).await.expect(200);
            }
            _ => {
                ada.post("/change-email", json!({ "newEmail": "ada@new.example" })).await.expect(200);
                let token = told.last().1[0]["token"].as_str().unwrap().to_owned();
                ada.get(&format!("/verify-email?token={token}")).await.expect(200);
                // Used up: back to the old address, and the link does not change it again.
                let id = ada.get("/get-session").await.expect(200)["user"]["id"].as_str().unwrap().to_owned();
                let row = Row::from([User::EMAIL.set("ada@example.com")]);
                app.auth.db().update(User::KEY, &User::ID.is(id), row).await.unwrap();
                ada.get(&format!("/verify-email?token={token}")).await.refused(401, "INVALID_TOKEN");
            }
        }
        for token in tokens {
            app.actor().post("/reset-password", body(&token)).await.refused(400, "INVALID_TOKEN");
        }
    }
}

#[tokio::test]
async fn of_fifty_who_agree_to_a_new_address_one_sends_the_mail_to_it() {
    let told = Told::default();
    let (proof, confirm) = (told.callback(), told.callback());
    let change = move |mut settings: Settings| {
        settings.email_verification.send_verification_email = Some(proof);
        settings.user.change_email.enabled = true;
        settings.user.change_email.send_change_email_confirmation = Some(confirm);
        settings
    };
    let app = TestApp::start_with(LIST, json!({}), change, None).await;
    let ada = app.user("ada").await;
    let row = Row::from([User::EMAIL_VERIFIED.set(true)]);
    app.auth.db().update(User::KEY, &Filter::All, row).await.unwrap();
    ada.post("/change-email", json!({ "newEmail": "ada@new.example" })).await.expect(200);
    let token = told.last().1[0]["token"].as_str().unwrap().to_owned();
    let sent = told.all().len();
    let mut tries = JoinSet::new();
    for _ in 0..50 {
        let (ada, path) = (ada.copy(), format!("/verify-email?token={token}"));
        tries.spawn(async move { ada.get(&path).await.status.as_u16() });
    }
    let answers = tries.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(told.all().len(), sent + 1);
}
