//! `advanced`: every option of it, by what can be seen from outside.

use portcullis::config::{Environment, Settings};
use portcullis::features::LIST;
use portcullis::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};

async fn app(advanced: Json) -> TestApp {
    TestApp::start(LIST, json!({ "advanced": advanced })).await
}

/// The Set-Cookie line of the session of somebody who signs up.
async fn session_cookie(advanced: Json) -> String {
    let app = app(advanced).await;
    let body = json!({ "name": "ada", "email": "ada@example.com", "password": "correct horse" });
    let reply = app.actor().post("/sign-up/email", body).await;
    reply.expect(200);
    let all = reply.set_cookies();
    assert_eq!(all.len(), 1, "{all:?}");
    let (name, rest) = all[0].split_once('=').unwrap();
    format!("{name};{}", rest.split_once(';').unwrap().1)
}

#[tokio::test]
async fn cookies_have_the_names_and_attributes_that_the_operator_gives_them() {
    let usual = "Max-Age=604800; Path=/; HttpOnly; SameSite=Lax";
    for (advanced, expected) in [
        (json!({}), format!("better-auth.session_token; {usual}")),
        (json!({ "cookiePrefix": "shop" }), format!("shop.session_token; {usual}")),
        (
            json!({ "useSecureCookies": true }),
            "__Secure-better-auth.session_token; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Lax".into(),
        ),
        (
            json!({ "crossSubDomainCookies": { "enabled": true, "domain": "example.com",
                "additionalCookies": ["x"] } }),
            "better-auth.session_token; Max-Age=604800; Domain=example.com; Path=/; HttpOnly; SameSite=Lax".into(),
        ),
        (
            // Where no domain is given it is that of baseURL.
            json!({ "crossSubDomainCookies": { "enabled": true } }),
            "better-auth.session_token; Max-Age=604800; Domain=localhost; Path=/; HttpOnly; SameSite=Lax".into(),
        ),
        (
            json!({ "defaultCookieAttributes": { "sameSite": "none", "secure": true, "partitioned": true,
                "path": "/app" } }),
            "better-auth.session_token; Max-Age=604800; Path=/app; HttpOnly; Secure; SameSite=None; Partitioned"
                .into(),
        ),
        (
            json!({ "cookies": { "session_token": { "name": "sid", "attributes": { "sameSite": "strict",
                "httpOnly": false, "domain": "example.com" } } } }),
            "sid; Max-Age=604800; Domain=example.com; Path=/; SameSite=Strict".into(),
        ),
    ] {
        assert_eq!(session_cookie(advanced.clone()).await, expected, "{advanced}");
    }
}

async fn address(advanced: Json, headers: &[(&str, &str)]) -> Json {
    let app = app(advanced).await;
    let mut actor = app.actor();
    for (name, value) in headers {
        actor = actor.with_header(name, value);
    }
    let body = json!({ "name": "ada", "email": "ada@example.com", "password": "correct horse" });
    actor.post("/sign-up/email", body).await.expect(200);
    actor.get("/get-session").await.expect(200)["session"]["ipAddress"].clone()
}

#[tokio::test]
async fn a_clients_address_is_read_where_the_operator_says() {
    let of = |ip: Json| json!({ "ipAddress": ip });
    let one = [("x-forwarded-for", "203.0.113.7")];
    assert_eq!(address(of(json!({})), &one).await, "203.0.113.7");
    assert_eq!(address(of(json!({ "disableIpTracking": true })), &one).await, "");
    let other = [("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "198.51.100.2")];
    assert_eq!(address(of(json!({ "ipAddressHeaders": ["x-real-ip"] })), &other).await, "198.51.100.2");
    let chain = [("x-forwarded-for", "198.51.100.9, 203.0.113.7, 10.0.0.5")];
    assert_ne!(address(of(json!({})), &chain).await, "198.51.100.9", "a chain that nobody vouches for");
    assert_eq!(address(of(json!({ "trustedProxies": ["10.0.0.0/8"] })), &chain).await, "203.0.113.7");
    let six = [("x-forwarded-for", "2001:db8:1:2:3:4:5:6")];
    assert_eq!(address(of(json!({})), &six).await, "2001:0db8:0001:0002:0000:0000:0000:0000");
    assert_eq!(
        address(of(json!({ "ipv6Subnet": 32 })), &six).await,
        "2001:0db8:0000:0000:0000:0000:0000:0000"
    );
}

async fn change(actor: &Actor) -> Reply {
    actor.post("/update-user", json!({ "name": "x" })).await
}

#[tokio::test]
async fn origin_checks_end_only_where_the_operator_ends_them() {
    for (advanced, foreign, callback) in [
        (json!({}), 403, 403),
        (json!({ "disableCSRFCheck": true }), 200, 403),
        // Without trusted origins there is nothing to compare an `Origin` with (better-auth 1.7.6).
        (json!({ "disableOriginCheck": true, "disableCSRFCheck": false }), 200, 200),
        (json!({ "disableOriginCheck": true }), 200, 200),
    ] {
        let app = app(advanced.clone()).await;
        let ada = app.user("ada").await;
        let reply = change(&ada.with_header("origin", "https://evil.example")).await;
        assert_eq!(reply.status, foreign, "{advanced}");
        let body = json!({ "email": "ada@example.com", "password": "correct horse",
            "callbackURL": "https://evil.example/" });
        assert_eq!(app.actor().post("/sign-in/email", body).await.status, callback, "{advanced}");
    }
}

#[tokio::test]
async fn a_proxys_word_for_the_host_counts_only_when_it_is_trusted() {
    // The scheme is the proxy's in any case, as in better-auth's node adapter.
    for (trusted, expected) in [(false, "https://localhost:3000/"), (true, "https://auth.example.com/")] {
        let told = Told::default();
        let mail = told.callback();
        let change = move |mut settings: Settings| {
            settings.base_url = None;
            settings.email_and_password.send_reset_password = Some(mail);
            settings
        };
        let settings = json!({ "advanced": { "trustedProxyHeaders": trusted } });
        let app = TestApp::start_with(LIST, settings, change, None).await;
        app.user("ada").await;
        let actor = app
            .actor()
            .with_header("x-forwarded-host", "auth.example.com")
            .with_header("x-forwarded-proto", "https");
        let body = json!({ "email": "ada@example.com" });
        actor.post("/request-password-reset", body).await.expect(200);
        while told.all().is_empty() {
            tokio::task::yield_now().await;
        }
        let url = told.last().1[0]["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(expected), "{url}");
    }
}

#[tokio::test]
async fn ids_are_of_the_kind_that_the_operator_wants() {
    let id = async |database: Json| {
        let app = app(json!({ "database": database })).await;
        let ada = app.user("ada").await;
        ada.get("/get-session").await.expect(200)["user"]["id"].as_str().unwrap().to_owned()
    };
    let text = id(json!({ "joins": true, "experimentalJoins": true, "defaultFindManyLimit": 5 })).await;
    assert!(text.len() == 32 && text.chars().all(|c| c.is_ascii_alphanumeric()), "{text}");
    let uuid = id(json!({ "generateId": "uuid" })).await;
    assert!(uuid.len() == 36 && uuid.split('-').count() == 5, "{uuid}");
    for serial in [json!({ "generateId": "serial" }), json!({ "useNumberId": true })] {
        assert_eq!(id(serial).await, "1");
    }
}

async fn start_error(settings: Json) -> String {
    let mut all = json!({ "secret": "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4", "baseURL": "http://localhost:3000" });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let settings = match portcullis::config::read::<Settings>("", all) {
        Ok(settings) => settings,
        Err(error) => return error.to_string(),
    };
    let builder = portcullis::AuthBuilder::new(LIST).settings(settings).environment(Environment::Development);
    match builder.build().await {
        Ok(_) => "started".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_at_start_with_a_reason() {
    for (advanced, problem) in [
        (json!({ "backgroundTasks": { "handler": { "webhook": "http://x/" } } }), "goes on running"),
        (json!({ "database": { "generateId": false } }), "cannot be false"),
        (json!({ "database": { "generateId": "cuid" } }), "must be \"uuid\", \"serial\" or a function"),
        (json!({ "databse": {} }), "did you mean `database`?"),
    ] {
        let error = start_error(json!({ "advanced": advanced })).await;
        assert!(error.contains("advanced") && error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn tables_that_are_missing_are_noticed_at_start_when_the_operator_wants_it() {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("portcullis-validate-{}.db", std::process::id()));
    let url = format!("sqlite:{}", file.display());
    let settings = |validate: bool, migrate: bool, fields: Json| {
        json!({
            "database": url, "migrate": migrate, "user": { "additionalFields": fields },
            "advanced": { "database": { "validateSchema": validate } },
        })
    };
    let more = || json!({ "nick": { "type": "string", "required": false } });
    assert_eq!(start_error(settings(true, true, json!({}))).await, "started");
    assert_eq!(start_error(settings(true, false, json!({}))).await, "started");
    assert_eq!(start_error(settings(false, false, more())).await, "started");
    let error = start_error(settings(true, false, more())).await;
    assert!(error.contains("advanced.database.validateSchema"), "{error}");
    assert!(error.contains("portcullis migrate"), "{error}");
    assert_eq!(start_error(settings(true, true, more())).await, "started");
    assert_eq!(start_error(settings(true, false, more())).await, "started");
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
}
