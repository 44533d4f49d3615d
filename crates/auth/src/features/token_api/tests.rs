//! The REST face, through HTTP.

use http::Method;
use portcullis_core::config::{Settings, read};
use portcullis_core::crypto::peek;
use portcullis_core::identity::{Session, User};
use portcullis_core::store::{Dialect, Filter};
use portcullis_core::testing::databases::fresh_settings;
use portcullis_core::testing::{Actor, Reply, TestApp};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::store::RefreshToken;
use crate::features::LIST;

const PASSWORD: &str = "correct horse";

async fn app_with(settings: Json) -> TestApp {
    let mut all = json!({ "plugins": { "jwt": {}, "tokenApi": {} } });
    let (all_map, more) = (all.as_object_mut().unwrap(), settings.as_object().unwrap().clone());
    all_map.extend(more);
    TestApp::start(LIST, all).await
}

async fn app() -> TestApp {
    app_with(json!({})).await
}

fn body(name: &str) -> Json {
    json!({ "email": format!("{name}@example.com"), "password": PASSWORD, "name": name })
}

async fn signed_up(app: &TestApp, name: &str) -> Json {
    app.actor().post("/signup", body(name)).await.expect(201)
}

async fn refresh(app: &TestApp, token: &Json) -> Reply {
    app.actor().post("/token/refresh", json!({ "refresh_token": token })).await
}

async fn me(app: &TestApp, pair: &Json) -> Reply {
    bearer(app, &pair["access_token"]).get("/me").await
}

fn bearer(app: &TestApp, token: &Json) -> Actor {
    app.actor().with_header("authorization", &format!("Bearer {}", token.as_str().unwrap()))
}

fn refused(reply: &Reply, detail: &str) {
    assert_eq!(reply.expect(401), json!({ "detail": detail }));
    assert_eq!(reply.header("www-authenticate"), "Bearer");
}

fn no_longer(reply: &Reply) {
    refused(reply, "Invalid refresh token");
}

async fn chains(app: &TestApp) -> Vec<RefreshToken> {
    let rows = app.auth.db().list(RefreshToken::KEY, &Filter::All.into()).await.unwrap();
    rows.into_iter().map(|row| RefreshToken::from_row(row).unwrap()).collect()
}

async fn sessions(app: &TestApp) -> u64 {
    app.auth.db().count(Session::KEY, &Filter::All).await.unwrap()
}

#[tokio::test]
async fn sign_up_and_sign_in_answer_tokens_and_no_cookies() {
    let app = app().await;
    let up = app.actor().post("/signup", body("ada")).await;
    let pair = up.expect(201);
    let names: Vec<_> = pair.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["access_token", "token_type", "expires_in", "refresh_token", "user"]);
    assert_eq!(pair["token_type"], "bearer");
    assert_eq!(pair["expires_in"], 900);
    assert_eq!(pair["user"]["email"], "ada@example.com");
    assert_eq!(up.set_cookies(), Vec::<String>::new());
    assert_eq!(up.header("cache-control"), "no-store");

    let claims = peek(pair["access_token"].as_str().unwrap()).unwrap().1;
    assert_eq!(claims["sub"], pair["user"]["id"]);
    assert_eq!(claims["exp"], claims["iat"].as_i64().unwrap() + 900);
    assert_eq!(me(&app, &pair).await.expect(200), pair["user"]);

    let signed_in = app.actor().post("/signin", body("ada")).await;
    assert_eq!(signed_in.expect(200)["user"], pair["user"]);
    assert_eq!(signed_in.set_cookies(), Vec::<String>::new());
    assert_eq!(sessions(&app).await, 2);
}

#[tokio::test]
async fn what_is_wrong_is_said_as_fastapi_says_it() {
    let app = app().await;
    signed_up(&app, "ada").await;
    let actor = app.actor();
    let detail = async |path: &str, body: Json, status: u16| {
        actor.post(path, body).await.expect(status)["detail"].clone()
    };
    assert_eq!(
        detail("/signup", json!({ "password": 7 }), 422).await,
        json!([
            { "loc": ["body", "email"], "msg": "Field required", "type": "missing" },
            { "loc": ["body", "password"], "msg": "Input should be a valid string", "type": "string_type" },
        ])
    );
    let of =
        |field: &str, text: &str, kind: &str| json!([{ "loc": ["body", field], "msg": text, "type": kind }]);
    let bad = "value is not a valid email address";
    assert_eq!(
        detail("/signup", json!({ "email": "x", "password": PASSWORD }), 422).await,
        of("email", bad, "value_error")
    );
    assert_eq!(
        detail("/signup", json!({ "email": "b@example.com", "password": "short" }), 422).await,
        of("password", "Password too short", "string_too_short")
    );
    assert_eq!(
        detail("/signup", json!({ "email": "b@example.com", "password": "" }), 422).await,
        of("password", "Password too short", "string_too_short")
    );
    assert_eq!(
        detail("/signup", json!({ "email": "b@example.com", "password": "x".repeat(129) }), 422).await,
        of("password", "Password too long", "string_too_long")
    );
    assert_eq!(detail("/signup", body("ada"), 409).await, "User already exists. Use another email.");
    // Who is unknown and who is wrong is not told apart.
    let mut wrong = body("ada");
    wrong["password"] = "wrong horse".into();
    let (unknown, wrong) = (actor.post("/signin", body("nobody")).await, actor.post("/signin", wrong).await);
    refused(&unknown, "Invalid email or password");
    refused(&wrong, "Invalid email or password");
    assert_eq!(
        detail("/token/refresh", json!({}), 422).await,
        of("refresh_token", "Field required", "missing")
    );

    let raw =
        async |text: &str, kind: &str| actor.send(Method::POST, "/signin", Some(kind), Some(text)).await;
    let broken = raw("{", "application/json").await.expect(422);
    assert_eq!(broken["detail"][0]["type"], "json_invalid");
    let list = raw("[]", "application/json").await.expect(422);
    assert_eq!(list["detail"][0]["loc"], json!(["body"]));
    assert!(raw("a=b", "text/plain").await.expect(415)["detail"].is_string());
}

#[tokio::test]
async fn a_refresh_token_is_replaced_and_the_new_pair_is_good() {
    let app = app().await;
    let first = signed_up(&app, "ada").await;
    app.advance(60);
    let second = refresh(&app, &first["refresh_token"]).await.expect(200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(second["user"], first["user"]);
    assert_eq!(me(&app, &second).await.expect(200), first["user"]);
    let third = refresh(&app, &second["refresh_token"]).await.expect(200);
    refresh(&app, &third["refresh_token"]).await.expect(200);
    assert_eq!(chains(&app).await.len(), 1, "a chain is one row");
    assert_eq!(sessions(&app).await, 1);
}

#[tokio::test]
async fn only_hashes_are_stored() {
    let app = app().await;
    let first = signed_up(&app, "ada").await;
    let second = refresh(&app, &first["refresh_token"]).await.expect(200);
    let chain = chains(&app).await.remove(0);
    let stored = format!("{} {} {}", chain.chain, chain.current, chain.used);
    for token in [&first, &second] {
        for part in token["refresh_token"].as_str().unwrap().split('.').skip(1) {
            assert!(!stored.contains(part), "{stored}");
        }
    }
    assert_eq!(chain.current.len(), 64);
    assert!(!format!("{chain:?}").contains(&chain.current));
}

#[tokio::test]
async fn a_lost_answer_is_given_again_for_ten_seconds_and_then_everything_ends() {
    let app = app().await;
    let first = signed_up(&app, "ada").await;
    let second = refresh(&app, &first["refresh_token"]).await.expect(200);
    app.advance(10);
    let again = refresh(&app, &first["refresh_token"]).await.expect(200);
    assert_eq!(again["refresh_token"], second["refresh_token"]);
    assert_eq!(me(&app, &again).await.expect(200), first["user"]);

    let before = app.auth.metrics().count_of(portcullis_core::events::Kind::RefreshTokenReused);
    app.advance(1);
    no_longer(&refresh(&app, &first["refresh_token"]).await);
    let after = app.auth.metrics().count_of(portcullis_core::events::Kind::RefreshTokenReused);
    assert_eq!(after, before + 1);
    // Whoever has the newer one is out as well, and so is the access token here.
    no_longer(&refresh(&app, &second["refresh_token"]).await);
    refused(&me(&app, &second).await, "Invalid token");
    assert_eq!((sessions(&app).await, chains(&app).await.len()), (0, 0));
}

#[tokio::test]
async fn two_tabs_that_lag_behind_by_several_tokens_stay_in() {
    let app = app().await;
    let first = signed_up(&app, "ada").await;
    let second = refresh(&app, &first["refresh_token"]).await.expect(200);
    app.advance(3);
    let third = refresh(&app, &second["refresh_token"]).await.expect(200);
    app.advance(3);
    // The other tab still has the first one: it is walked along the same chain.
    let other = refresh(&app, &first["refresh_token"]).await.expect(200);
    assert_eq!(other["refresh_token"], second["refresh_token"]);
    let other = refresh(&app, &other["refresh_token"]).await.expect(200);
    assert_eq!(other["refresh_token"], third["refresh_token"]);
    // The interval counts from its use, not from the last one of the chain.
    app.advance(5);
    no_longer(&refresh(&app, &first["refresh_token"]).await);
    no_longer(&refresh(&app, &third["refresh_token"]).await);
}

#[tokio::test]
async fn of_fifty_at_once_all_get_one_successor() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(settings) = fresh_settings(dialect).await else { continue };
        let app = app_with(settings).await;
        let first = signed_up(&app, "ada").await;
        let mut racers = JoinSet::new();
        for _ in 0..50 {
            let (actor, body) = (app.actor(), json!({ "refresh_token": first["refresh_token"] }));
            racers.spawn(async move { actor.post("/token/refresh", body).await });
        }
        let replies = racers.join_all().await;
        let mut given: Vec<String> =
            replies.iter().map(|reply| reply.expect(200)["refresh_token"].to_string()).collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 1, "{dialect:?}");
        let chain = chains(&app).await.remove(0);
        assert_eq!(chain.used().unwrap().len(), 1, "{dialect:?}: replaced once");
        assert_eq!(sessions(&app).await, 1);

        // And of fifty too late nobody gets one.
        app.advance(11);
        let mut racers = JoinSet::new();
        for _ in 0..50 {
            let (actor, body) = (app.actor(), json!({ "refresh_token": first["refresh_token"] }));
            racers.spawn(async move { actor.post("/token/refresh", body).await });
        }
        racers.join_all().await.iter().for_each(no_longer);
        assert_eq!((sessions(&app).await, chains(&app).await.len()), (0, 0), "{dialect:?}");
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn a_token_of_nobody_ends_nothing() {
    let app = app().await;
    let pair = signed_up(&app, "ada").await;
    let good = pair["refresh_token"].as_str().unwrap();
    let (chain, rest) = good.split_once('.').unwrap();
    let (_, mark) = rest.split_once('.').unwrap();
    let made_up = format!("{chain}.{}.{mark}", "A".repeat(43));
    for text in [made_up.as_str(), "", "prt_", "x", &good[..good.len() - 1], &"x".repeat(100_000)] {
        no_longer(&refresh(&app, &text.into()).await);
        app.actor().post("/signout", json!({ "refresh_token": text })).await.expect(204);
    }
    refresh(&app, &pair["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn tokens_end_by_themselves() {
    let app = app().await;
    let first = signed_up(&app, "ada").await;
    app.advance(900);
    refused(&me(&app, &first).await, "Invalid token");
    // Seven days unused.
    app.advance(604_800 - 900);
    no_longer(&refresh(&app, &first["refresh_token"]).await);

    // Thirty days, however often it is used.
    let mut pair = signed_up(&app, "bob").await;
    for _ in 0..29 {
        app.advance(86_400);
        pair = refresh(&app, &pair["refresh_token"]).await.expect(200);
    }
    app.advance(86_399);
    pair = refresh(&app, &pair["refresh_token"]).await.expect(200);
    app.advance(1);
    no_longer(&refresh(&app, &pair["refresh_token"]).await);
}

#[tokio::test]
async fn a_session_shorter_than_its_tokens_lives_as_long() {
    let app = app_with(json!({ "session": { "expiresIn": 60 } })).await;
    let pair = signed_up(&app, "ada").await;
    app.advance(3600);
    let pair = refresh(&app, &pair["refresh_token"]).await.expect(200);
    me(&app, &pair).await.expect(200);
}

#[tokio::test]
async fn sign_out_ends_the_session_by_either_token() {
    let app = app().await;
    let [one, two, three] =
        [signed_up(&app, "a").await, signed_up(&app, "b").await, signed_up(&app, "c").await];
    app.actor().post("/signout", json!({ "refresh_token": one["refresh_token"] })).await.expect(204);
    no_longer(&refresh(&app, &one["refresh_token"]).await);
    refused(&me(&app, &one).await, "Invalid token");

    bearer(&app, &two["access_token"]).post("/signout", json!({})).await.expect(204);
    no_longer(&refresh(&app, &two["refresh_token"]).await);
    refused(&bearer(&app, &two["access_token"]).post_empty("/signout").await, "Invalid token");

    refused(&app.actor().post("/signout", json!({})).await, "Missing or invalid authorization header");
    refresh(&app, &three["refresh_token"]).await.expect(200);
    assert_eq!(sessions(&app).await, 1);
}

#[tokio::test]
async fn a_change_or_reset_of_the_password_ends_refresh_tokens_of_that_user() {
    let told = portcullis_core::testing::Told::default();
    let callback = told.callback();
    let app = TestApp::start_with(
        LIST,
        json!({ "plugins": { "jwt": {}, "tokenApi": {} } }),
        |mut settings| {
            settings.email_and_password.send_reset_password = Some(callback);
            settings
        },
        None,
    )
    .await;
    let bob = signed_up(&app, "bob").await;
    let ada = signed_up(&app, "ada").await;
    let browser = app.actor();
    browser.post("/sign-in/email", body("ada")).await.expect(200);
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    browser.post("/change-password", change).await.expect(200);
    no_longer(&refresh(&app, &ada["refresh_token"]).await);

    let login = json!({ "email": "ada@example.com", "password": "another horse" });
    let ada = app.actor().post("/signin", login).await.expect(200);
    app.actor().post("/request-password-reset", json!({ "email": "ada@example.com" })).await.expect(200);
    let token = told.last().1[0]["token"].as_str().unwrap().to_owned();
    let reset = json!({ "newPassword": "third horse of mine", "token": token });
    app.actor().post("/reset-password", reset).await.expect(200);
    no_longer(&refresh(&app, &ada["refresh_token"]).await);
    refresh(&app, &bob["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn the_end_of_sessions_and_of_the_user_ends_refresh_tokens() {
    let app = app_with(json!({ "user": { "deleteUser": { "enabled": true } } })).await;
    let pair = signed_up(&app, "ada").await;
    let browser = app.actor();
    browser.post("/sign-in/email", body("ada")).await.expect(200);
    browser.post("/revoke-other-sessions", json!({})).await.expect(200);
    no_longer(&refresh(&app, &pair["refresh_token"]).await);

    let pair = app.actor().post("/signin", body("ada")).await.expect(200);
    browser.post("/delete-user", json!({ "password": PASSWORD })).await.expect(200);
    no_longer(&refresh(&app, &pair["refresh_token"]).await);
    refused(&me(&app, &pair).await, "Invalid token");
    assert_eq!(chains(&app).await.len(), 0);
}

#[tokio::test]
async fn a_session_that_is_kept_for_the_record_gives_no_tokens() {
    let app = app().await;
    let pair = signed_up(&app, "ada").await;
    // As `preserveSessionInDatabase` ends one: the row stays.
    let ended = portcullis_core::store::Row::new().with(Session::EXPIRES_AT.key, app.auth.clock().now());
    app.auth.db().update(Session::KEY, &Filter::All, ended).await.unwrap();
    no_longer(&refresh(&app, &pair["refresh_token"]).await);
    refused(&me(&app, &pair).await, "Invalid token");
}

#[tokio::test]
async fn what_others_sign_is_no_access_token() {
    let app = app().await;
    let pair = signed_up(&app, "ada").await;
    let browser = app.actor();
    browser.post("/sign-in/email", body("ada")).await.expect(200);
    let token = browser.get("/token").await.expect(200)["token"].clone();
    refused(&bearer(&app, &token).get("/me").await, "Invalid token");
    refused(&bearer(&app, &pair["refresh_token"]).get("/me").await, "Invalid token");
    let session = browser.get("/get-session").await.expect(200)["session"]["token"].clone();
    refused(&bearer(&app, &session).get("/me").await, "Invalid token");
    refused(&browser.get("/me").await, "Missing or invalid authorization header");
    let basic = app.actor().with_header("authorization", "Basic YTpi");
    refused(&basic.get("/me").await, "Missing or invalid authorization header");
    // And an access token is no session.
    let with = bearer(&app, &pair["access_token"]);
    assert_eq!(with.get("/get-session").await.expect(200), Json::Null);
    with.get("/list-sessions").await.expect(401);
}

#[tokio::test]
async fn a_shared_secret_signs_access_tokens_too() {
    let shared = json!({ "algorithm": "HS256", "secret": "a secret that services share, Q7x!" });
    let app = app_with(json!({ "plugins": { "jwt": shared, "tokenApi": {} } })).await;
    let pair = signed_up(&app, "ada").await;
    let (header, claims) = peek(pair["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(header["alg"], "HS256");
    assert_eq!(claims["user_id"], pair["user"]["id"]);
    me(&app, &pair).await.expect(200);
}

#[tokio::test]
async fn before_the_second_factor_there_are_no_tokens_and_after_it_the_session_gives_them() {
    let app = app_with(json!({ "plugins": { "jwt": {}, "tokenApi": {}, "twoFactor": {} } })).await;
    let browser = app.actor();
    browser.post("/sign-up/email", body("ada")).await.expect(200);
    let enabled = browser.post("/two-factor/enable", json!({ "password": PASSWORD })).await.expect(200);
    let on = portcullis_core::store::Row::new().with("twoFactorEnabled", true);
    app.auth.db().update(User::KEY, &Filter::All, on).await.unwrap();

    let phone = app.actor();
    let asked = phone.post("/signin", body("ada")).await;
    assert_eq!(asked.expect(403), json!({ "detail": "Second factor required" }));
    assert_eq!(chains(&app).await.len(), 0);
    refused(&phone.post("/token/exchange", json!({})).await, "Unauthorized");
    let code = json!({ "code": enabled["backupCodes"][0] });
    phone.post("/two-factor/verify-backup-code", code).await.expect(200);
    let pair = phone.post("/token/exchange", json!({})).await.expect(200);
    me(&app, &pair).await.expect(200);
    let next = refresh(&app, &pair["refresh_token"]).await.expect(200);
    // Once more: the older chain of the session ends.
    let other = phone.post("/token/exchange", json!({})).await.expect(200);
    no_longer(&refresh(&app, &next["refresh_token"]).await);
    refresh(&app, &other["refresh_token"]).await.expect(200);
    phone.post("/sign-out", json!({})).await.expect(200);
    no_longer(&refresh(&app, &other["refresh_token"]).await);
}

#[tokio::test]
async fn an_address_to_be_proven_gives_no_tokens_and_tells_nothing() {
    let required = json!({ "enabled": true, "requireEmailVerification": true });
    let app = app_with(json!({ "emailAndPassword": required })).await;
    let first = app.actor().post("/signup", body("ada")).await.expect(201);
    let second = app.actor().post("/signup", body("ada")).await.expect(201);
    for answer in [&first, &second] {
        assert_eq!(answer["access_token"], Json::Null);
        assert_eq!(answer["refresh_token"], Json::Null);
        assert_eq!(answer["user"]["email"], "ada@example.com");
    }
    let in_vain = app.actor().post("/signin", body("ada")).await;
    assert_eq!(in_vain.expect(403), json!({ "detail": "Email not verified" }));
    assert_eq!(sessions(&app).await, 0);
}

#[tokio::test]
async fn too_many_are_told_when_to_come_back() {
    let app = app_with(json!({ "rateLimit": { "enabled": true } })).await;
    let actor = app.actor();
    let mut wrong = body("ada");
    wrong["password"] = "wrong horse".into();
    for _ in 0..3 {
        actor.post("/signin", wrong.clone()).await.expect(401);
    }
    let refused = actor.post("/signin", wrong).await;
    assert_eq!(refused.expect(429), json!({ "detail": "Too many requests. Please try again later." }));
    assert_eq!(refused.header("retry-after"), "10");
    assert_eq!(refused.header("content-type"), "application/json");
    // The tries of both ways in are counted together; elsewhere it is said as it was.
    let refused = actor.post("/sign-in/email", body("bob")).await;
    assert_eq!(refused.expect(429)["message"], "Too many requests. Please try again later.");
}

#[tokio::test]
async fn what_breaks_says_nothing_and_is_a_detail_all_the_same() {
    let failing = portcullis_core::hooks::Callback::native(|_, _| async {
        Err(portcullis_core::error::Error::broken("the webhook is away"))
    });
    let mut options: crate::features::jwt::Options = read("plugins.jwt", json!({})).unwrap();
    options.jwt.define_payload = Some(failing.into());
    let jwt = crate::features::jwt::Jwt::of(options).unwrap();
    let settings = json!({ "plugins": { "jwt": {}, "tokenApi": {} } });
    let own = Box::new(|builder: portcullis_core::auth::AuthBuilder| builder.feature(Swapped(jwt)));
    let app = TestApp::start_with(LIST, settings, |settings| settings, Some(own)).await;
    let reply = app.actor().post("/signup", body("ada")).await;
    assert_eq!(reply.expect(500), json!({ "detail": "Internal Server Error" }));
    app.actor().post("/signin", body("ada")).await.expect(500);
    assert_eq!(sessions(&app).await, 0, "sessions that nobody was given");
}

/// Signs in place of the room of the configuration.
struct Swapped(crate::features::jwt::Jwt);

impl portcullis_core::feature::Feature for Swapped {
    fn id(&self) -> &'static str {
        "swapped"
    }

    fn attach(self: std::sync::Arc<Self>, seams: &mut portcullis_core::seams::Seams) {
        seams.access_tokens = Some(std::sync::Arc::new(self.0.clone()));
    }
}

#[tokio::test]
async fn a_refresh_that_cannot_be_answered_uses_nothing_up() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let away = std::sync::Arc::new(AtomicBool::new(false));
    let asked = std::sync::Arc::clone(&away);
    let payload = portcullis_core::hooks::Callback::native(move |_, _| {
        let away = asked.load(Ordering::Relaxed);
        async move { if away { Err(portcullis_core::error::Error::broken("away")) } else { Ok(json!({})) } }
    });
    let mut options: crate::features::jwt::Options = read("plugins.jwt", json!({})).unwrap();
    options.jwt.define_payload = Some(payload.into());
    let jwt = crate::features::jwt::Jwt::of(options).unwrap();
    let settings = json!({ "plugins": { "jwt": {}, "tokenApi": {} } });
    let own = Box::new(|builder: portcullis_core::auth::AuthBuilder| builder.feature(Swapped(jwt)));
    let app = TestApp::start_with(LIST, settings, |settings| settings, Some(own)).await;
    let pair = signed_up(&app, "ada").await;
    away.store(true, Ordering::Relaxed);
    refresh(&app, &pair["refresh_token"]).await.expect(500);
    app.advance(3600);
    away.store(false, Ordering::Relaxed);
    refresh(&app, &pair["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn the_body_chooses_no_user() {
    let app = app().await;
    let ada = signed_up(&app, "ada").await;
    let bob = signed_up(&app, "bob").await;
    let forged = json!({ "refresh_token": bob["refresh_token"], "user_id": ada["user"]["id"], "userId": ada["user"]["id"] });
    let pair = app.actor().post("/token/refresh", forged).await.expect(200);
    assert_eq!(pair["user"]["id"], bob["user"]["id"]);
    let extra = json!({ "email": "eve@example.com", "password": PASSWORD, "id": ada["user"]["id"], "emailVerified": true, "callbackURL": "https://evil.test" });
    let eve = app.actor().post("/signup", extra).await;
    // A page to come back to is checked as everywhere, before anything else.
    assert_eq!(eve.expect(403), json!({ "detail": "Invalid callbackURL" }));
    let extra =
        json!({ "email": "eve@example.com", "password": PASSWORD, "id": ada["user"]["id"], "createdAt": 0 });
    let eve = app.actor().post("/signup", extra).await.expect(201);
    assert_ne!(eve["user"]["id"], ada["user"]["id"]);
    assert_eq!(eve["user"]["name"], "");
}

#[tokio::test]
async fn what_it_needs_is_said_at_start() {
    let refused = async |plugins: Json, more: Json| {
        let mut settings = json!({ "secret": "0123456789abcdef0123456789abcdef", "database": "sqlite::memory:", "plugins": plugins });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let settings: Settings = read("", settings).unwrap();
        crate::Auth::builder()
            .settings(settings)
            .build()
            .await
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let with = |options: Json| json!({ "jwt": {}, "tokenApi": options });
    assert_eq!(refused(with(json!({})), json!({})).await, "");
    for (plugins, more, says) in [
        (json!({ "tokenApi": {} }), json!({}), "needs `plugins.jwt`"),
        (with(json!({ "accessTokenExpiresIn": 0 })), json!({}), "accessTokenExpiresIn"),
        (with(json!({ "accessTokenExpiresIn": 900_000 })), json!({}), "refreshTokenExpiresIn"),
        (with(json!({ "absoluteExpiresIn": 60 })), json!({}), "absoluteExpiresIn"),
        (with(json!({ "reuseInterval": 61 })), json!({}), "reuseInterval"),
        (with(json!({ "reuseIntervall": 1 })), json!({}), "did you mean `reuseInterval`"),
        (
            json!({
                "jwt": { "jwks": { "remoteUrl": "https://x.test", "keyPairConfig": { "alg": "ES256" } }, "jwt": { "sign": { "webhook": "http://x.test" } } },
                "tokenApi": {},
            }),
            json!({}),
            "keys of its own",
        ),
        (
            with(json!({})),
            json!({ "secondaryStorage": { "url": "redis://127.0.0.1:1" } }),
            "session.storeSessionInDatabase",
        ),
    ] {
        let text = refused(plugins, more).await;
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[tokio::test]
async fn a_ban_ends_tokens_as_it_ends_sessions() {
    // What the end of a user's sessions is to whoever ends them: an operator at the command line, a room of bans.
    let app = app().await;
    let pair = signed_up(&app, "ada").await;
    let id = pair["user"]["id"].as_str().unwrap();
    Session::delete_all(&app.auth, &mut app.auth.db(), id).await.unwrap();
    no_longer(&refresh(&app, &pair["refresh_token"]).await);
    refused(&me(&app, &pair).await, "Invalid token");
}

#[tokio::test]
async fn with_another_secret_among_the_old_ones_tokens_stay_good() {
    let file = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", file.path().join("tokens.db").display());
    let start =
        async |secrets: Json| app_with(json!({ "database": { "url": url }, "secrets": secrets })).await;
    let (old, new) = ("an old secret of many letters 4Kq", "a new secret of many letters 7Zw");
    let app = start(json!([{ "version": 1, "value": old }])).await;
    let pair = signed_up(&app, "ada").await;
    let second = refresh(&app, &pair["refresh_token"]).await.expect(200);
    app.auth.store().close().await;
    let app = start(json!([{ "version": 2, "value": new }, { "version": 1, "value": old }])).await;
    let again = refresh(&app, &pair["refresh_token"]).await.expect(200);
    assert_eq!(again["refresh_token"], second["refresh_token"], "the successor that was given");
    let third = refresh(&app, &second["refresh_token"]).await.expect(200);
    refresh(&app, &third["refresh_token"]).await.expect(200);
}

/// An app with settings that JSON cannot say.
async fn app_of(change: impl FnOnce(&mut Settings)) -> TestApp {
    let settings = json!({ "plugins": { "jwt": {}, "tokenApi": {} } });
    let change = |mut settings: Settings| {
        change(&mut settings);
        settings
    };
    TestApp::start_with(LIST, settings, change, None).await
}

#[tokio::test]
async fn hooks_are_asked_about_sessions_as_everywhere() {
    let told = portcullis_core::testing::Told::default();
    let (before, after) = (told.callback(), told.callback());
    let app = app_of(|settings| {
        settings.session.expires_in = Some(60);
        settings.database_hooks.session.update.before = Some(before);
        settings.database_hooks.session.update.after = Some(after);
    })
    .await;
    let pair = signed_up(&app, "ada").await;
    app.advance(300);
    let pair = refresh(&app, &pair["refresh_token"]).await.expect(200);
    me(&app, &pair).await.expect(200);
    let names: Vec<String> = told.all().into_iter().map(|(name, _)| name).collect();
    let [before, after] = ["before", "after"].map(|when| format!("databaseHooks.session.update.{when}"));
    assert_eq!(names, [before.clone(), after.clone(), before, after]);
}

#[tokio::test]
async fn a_hook_that_keeps_sessions_keeps_no_tokens() {
    let no = portcullis_core::testing::Told::default().answering(json!(false));
    let app = app_of(|settings| settings.database_hooks.session.delete.before = Some(no)).await;
    let first = signed_up(&app, "ada").await;
    let second = refresh(&app, &first["refresh_token"]).await.expect(200);
    app.advance(11);
    no_longer(&refresh(&app, &first["refresh_token"]).await);
    no_longer(&refresh(&app, &second["refresh_token"]).await);
    let pair = app.actor().post("/signin", body("ada")).await.expect(200);
    app.actor().post("/signout", json!({ "refresh_token": pair["refresh_token"] })).await.expect(204);
    no_longer(&refresh(&app, &pair["refresh_token"]).await);
}

#[tokio::test]
async fn a_password_that_another_server_wrote_ends_them_and_one_that_is_hashed_anew_does_not() {
    let app = app().await;
    let ada = signed_up(&app, "ada").await;
    let write = async |hash: String| {
        let row = portcullis_core::store::Row::new().with("password", hash);
        app.auth.db().update("account", &Filter::All, row).await.unwrap();
    };
    let better_auths = app.auth.passwords().hash("another horse").await.unwrap();
    write(better_auths).await;
    no_longer(&refresh(&app, &ada["refresh_token"]).await);

    // As Better Auth keeps it: the first sign-in replaces it, and its tokens are good.
    let scrypt = portcullis_core::crypto::Passwords::new(
        portcullis_core::crypto::HashKind::Scrypt,
        portcullis_core::crypto::PoolOptions { threads: 1, prompt: 1, queue: 4 },
        portcullis_core::crypto::Random::seeded(3),
    );
    write(scrypt.hash(PASSWORD).await.unwrap()).await;
    let pair = app.actor().post("/signin", body("ada")).await.expect(200);
    let stored = app.auth.db().find("account", &Filter::All).await.unwrap().unwrap();
    assert!(stored.text("password").unwrap().starts_with("$argon2id$"));
    refresh(&app, &pair["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn an_exchange_does_not_outlive_thirty_days_after_sign_in_either() {
    let app = app().await;
    let browser = app.actor();
    browser.post("/sign-up/email", body("ada")).await.expect(200);
    let mut pair = browser.post("/token/exchange", json!({})).await.expect(200);
    for _ in 0..5 {
        app.advance(5 * 86_400);
        browser.get("/get-session").await.expect(200);
        pair = browser.post("/token/exchange", json!({})).await.expect(200);
    }
    app.advance(5 * 86_400 - 1);
    browser.get("/get-session").await.expect(200);
    pair = refresh(&app, &pair["refresh_token"]).await.expect(200);
    app.advance(1);
    no_longer(&refresh(&app, &pair["refresh_token"]).await);
    browser.post("/token/exchange", json!({})).await.expect(401);
    browser.get("/get-session").await.expect(200);
}

#[tokio::test]
async fn of_fifty_exchanges_at_once_one_chain_stays() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(settings) = fresh_settings(dialect).await else { continue };
        let app = app_with(settings).await;
        let browser = app.actor();
        browser.post("/sign-up/email", body("ada")).await.expect(200);
        let mut racers = JoinSet::new();
        for _ in 0..50 {
            let actor = browser.copy();
            racers.spawn(async move { actor.post("/token/exchange", json!({})).await });
        }
        let pairs: Vec<Json> = racers.join_all().await.iter().map(|reply| reply.expect(200)).collect();
        assert_eq!(chains(&app).await.len(), 1, "{dialect:?}");
        let mut alive = 0;
        for pair in &pairs {
            alive += u32::from(refresh(&app, &pair["refresh_token"]).await.status.as_u16() == 200);
        }
        assert_eq!(alive, 1, "{dialect:?}");
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn refresh_and_sign_out_at_once_leave_nothing_and_wait_for_nobody() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(settings) = fresh_settings(dialect).await else { continue };
        let app = app_with(settings).await;
        for round in 0..10 {
            let pair = signed_up(&app, &format!("u{round}")).await;
            let token = json!({ "refresh_token": pair["refresh_token"] });
            let mut racers = JoinSet::new();
            for n in 0..8 {
                let (actor, token) = (app.actor(), token.clone());
                let path = if n == 4 { "/signout" } else { "/token/refresh" };
                racers.spawn(async move { actor.post(path, token).await });
            }
            for reply in racers.join_all().await {
                assert!([200, 204, 401].contains(&reply.status.as_u16()), "{dialect:?}: {}", reply.text);
                if reply.status.as_u16() == 200 {
                    no_longer(&refresh(&app, &reply.json["refresh_token"]).await);
                }
            }
            no_longer(&refresh(&app, &pair["refresh_token"]).await);
        }
        assert_eq!((sessions(&app).await, chains(&app).await.len()), (0, 0), "{dialect:?}");
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn a_way_in_that_is_closed_is_closed_here_too() {
    let app = app_with(json!({ "disabledPaths": ["/sign-up/email"] })).await;
    assert_eq!(app.actor().post("/signup", body("ada")).await.expect(404), json!({ "detail": "Not Found" }));
    refused(&app.actor().post("/signin", body("ada")).await, "Invalid email or password");
}

#[tokio::test]
async fn limits_of_the_way_in_count_here_too() {
    let rules = json!({ "enabled": true, "customRules": { "/sign-in/email": { "window": 60, "max": 1 } } });
    let app = app_with(json!({ "rateLimit": rules })).await;
    app.actor().post("/signin", body("ada")).await.expect(401);
    let refused = app.actor().post("/signin", body("ada")).await;
    assert_eq!(refused.expect(429)["detail"], "Too many requests. Please try again later.");
    assert_eq!(refused.header("retry-after"), "60");
}

#[tokio::test]
async fn cookies_of_others_are_in_nobodys_way() {
    let app = app().await;
    signed_up(&app, "ada").await;
    // As a client with a jar behind a load balancer: a cookie, and no `Origin`.
    let post = async |path: &str, body: Json| {
        let actor = app
            .actor()
            .with_header("cookie", "__lb=1; better-auth.session_token=x")
            .with_header("origin", "");
        actor.post(path, body).await
    };
    let pair = post("/signin", body("ada")).await.expect(200);
    let pair = post("/token/refresh", json!({ "refresh_token": pair["refresh_token"] })).await.expect(200);
    post("/signout", json!({ "refresh_token": pair["refresh_token"] })).await.expect(204);
    // What goes by the cookie says where it comes from.
    post("/token/exchange", json!({})).await.expect(403);
}

#[tokio::test]
async fn a_token_for_services_is_none_for_this_api_whatever_it_says() {
    let chosen = json!({ "jwt": { "definePayload": ["sid", "email"] } });
    let app = app_with(json!({ "plugins": { "jwt": chosen, "tokenApi": {} } })).await;
    let browser = app.actor();
    browser.post("/sign-up/email", body("ada")).await.expect(200);
    let token = browser.get("/token").await.expect(200)["token"].clone();
    assert!(peek(token.as_str().unwrap()).unwrap().1["sid"].is_string());
    refused(&bearer(&app, &token).get("/me").await, "Invalid token");
    refused(&bearer(&app, &token).post("/signout", json!({})).await, "Invalid token");
    browser.get("/get-session").await.expect(200);
}

#[tokio::test]
async fn an_access_token_for_another_audience_is_still_read_here() {
    let payload = portcullis_core::testing::Told::default()
        .answering(json!({ "aud": "my-api", "iss": "me", "sid": "x", "exp": 1 }));
    let mut options: crate::features::jwt::Options = read("plugins.jwt", json!({})).unwrap();
    options.jwt.define_payload = Some(payload.into());
    let jwt = crate::features::jwt::Jwt::of(options).unwrap();
    let settings = json!({ "plugins": { "jwt": {}, "tokenApi": {} } });
    let own = Box::new(|builder: portcullis_core::auth::AuthBuilder| builder.feature(Swapped(jwt)));
    let app = TestApp::start_with(LIST, settings, |settings| settings, Some(own)).await;
    let pair = signed_up(&app, "ada").await;
    let (header, claims) = peek(pair["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["aud"], "my-api");
    me(&app, &pair).await.expect(200);
    app.advance(900);
    refused(&me(&app, &pair).await, "Invalid token");
}

#[tokio::test]
async fn an_access_token_of_another_user_in_somebodys_session_is_none() {
    // As whoever shares the secret could sign one.
    let secret = "a secret that services share, Q7x!";
    let shared = json!({ "algorithm": "HS256", "secret": secret });
    let app = app_with(json!({ "plugins": { "jwt": shared, "tokenApi": {} } })).await;
    let (ada, bob) = (signed_up(&app, "ada").await, signed_up(&app, "bob").await);
    let claims = |pair: &Json| peek(pair["access_token"].as_str().unwrap()).unwrap().1;
    let sign = |claims: &serde_json::Map<String, Json>| {
        let typ = serde_json::Map::from_iter([("typ".to_owned(), Json::from("at+jwt"))]);
        Json::from(portcullis_core::crypto::seal_hs256(&secret.into(), typ, claims).unwrap())
    };
    let own = claims(&bob);
    bearer(&app, &sign(&own)).get("/me").await.expect(200);
    for (name, value) in [("sid", claims(&ada)["sid"].clone()), ("exp", Json::Null), ("sub", Json::Null)] {
        let mut forged = own.clone();
        if value.is_null() {
            forged.shift_remove(name)
        } else {
            forged.insert(name.into(), value)
        };
        refused(&bearer(&app, &sign(&forged)).get("/me").await, "Invalid token");
    }
}

#[tokio::test]
async fn fields_of_the_operator_and_of_rooms_are_named_where_they_are_wrong() {
    let app = app_with(json!({
        "user": { "additionalFields": { "plan": { "type": "string", "required": true }, "secret": { "type": "string", "input": false, "required": false } } },
        "plugins": { "jwt": {}, "tokenApi": {}, "username": {} },
    }))
    .await;
    let with = |more: Json| {
        let mut all = body("ada");
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let post = async |more: Json, status: u16| {
        app.actor().post("/signup", with(more)).await.expect(status)["detail"].clone()
    };
    assert_eq!(post(json!({}), 422).await[0]["loc"], json!(["body", "plan"]));
    assert_eq!(post(json!({ "plan": "x", "secret": "y" }), 422).await[0]["loc"], json!(["body", "secret"]));
    assert_eq!(
        post(json!({ "plan": "x", "username": "a" }), 422).await[0]["loc"],
        json!(["body", "username"])
    );
    post(json!({ "plan": "x", "username": "ada", "name": null }), 201).await;
    let taken = json!({ "plan": "x", "username": "ada", "email": "other@example.com" });
    assert!(post(taken, 409).await.is_string());
}

#[tokio::test]
async fn the_table_has_the_name_that_the_operator_gives_it() {
    let names = json!({ "schema": { "refreshToken": { "modelName": "refresh_tokens", "fields": { "sessionId": "session_id" } } } });
    let app = app_with(json!({ "plugins": { "jwt": {}, "tokenApi": names } })).await;
    let pair = signed_up(&app, "ada").await;
    refresh(&app, &pair["refresh_token"]).await.expect(200);
    let wrong = json!({ "schema": { "refreshToken": { "fields": { "token": "t" } } } });
    let refused = super::make(wrong, &Settings::default()).err().unwrap();
    assert_eq!(refused.key, "plugins.tokenApi.schema.refreshToken.fields.token");
}
