//! The room's behaviour, through HTTP.

use portcullis_core::clock::Timestamp;
use portcullis_core::config::Settings;
use portcullis_core::crypto::{Secret, base32_decode, base32_nopad, sign_value, totp_at};
use portcullis_core::identity::{Session, User, Verification};
use portcullis_core::store::{Filter, Query, Row};
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};

use super::options::{Options, StoreBackupCodes, StoreOtp};
use super::store::{Factor, is_enabled};
use crate::features::LIST;

const SESSION: &str = "better-auth.session_token";
const CHALLENGE: &str = "better-auth.two_factor";
const TRUST: &str = "better-auth.trust_device";
const MARK: &str = "better-auth.dont_remember";

async fn app(options: Json) -> TestApp {
    TestApp::start(LIST, json!({ "plugins": { "twoFactor": options } })).await
}

/// With sent codes, which are told instead of sent: JSON cannot say native callbacks, so the room is
/// one of the test's own.
async fn app_with_otp(otp: Json, mut options: Json) -> (TestApp, Told) {
    let told = Told::default();
    options["otpOptions"] = otp;
    let mut options: Options = portcullis_core::config::read("", options).unwrap();
    options.otp_options.send_otp = Some(told.callback());
    let room = super::TwoFactor { options: std::sync::Arc::new(options) };
    (TestApp::with_feature(LIST, json!({}), room).await, told)
}

struct Enrolled {
    key: Vec<u8>,
    backup_codes: Vec<String>,
}

impl Enrolled {
    fn of(json: &Json) -> Self {
        let uri = json["totpURI"].as_str().unwrap();
        let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
        Self {
            key: base32_decode(secret).unwrap(),
            backup_codes: serde_json::from_value(json["backupCodes"].clone()).unwrap(),
        }
    }

    fn code(&self, app: &TestApp) -> String {
        totp_at(&self.key, app.clock.now(), 30, 6)
    }

    /// A code that is wrong now and for a step around.
    fn wrong(&self, app: &TestApp) -> String {
        let near: Vec<String> = [-30, 0, 30]
            .iter()
            .map(|by| totp_at(&self.key, app.clock.now().plus_seconds(*by), 30, 6))
            .collect();
        ["000000", "111111", "222222", "333333"]
            .iter()
            .find(|code| !near.iter().any(|good| good == *code))
            .map(|code| (*code).to_owned())
            .unwrap()
    }
}

/// Sets an authenticator up; one step later, so that the code of the setup is another one.
async fn enroll(app: &TestApp, actor: &Actor) -> Enrolled {
    let json = actor.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let enrolled = Enrolled::of(&json);
    actor.post("/two-factor/verify-totp", json!({ "code": enrolled.code(app) })).await.expect(200);
    enrolled
}

async fn sign_in(actor: &Actor, name: &str) -> Reply {
    let email = format!("{name}@example.com");
    actor.post("/sign-in/email", json!({ "email": email, "password": "correct horse" })).await
}

/// Somebody who has shown the password and nothing more.
async fn challenged(app: &TestApp, name: &str) -> Actor {
    let actor = app.actor();
    let json = sign_in(&actor, name).await.expect(200);
    assert_eq!(json["twoFactorRedirect"], true);
    actor
}

async fn verify(actor: &Actor, code: &str) -> Reply {
    actor.post("/two-factor/verify-totp", json!({ "code": code })).await
}

async fn backup(actor: &Actor, code: &str) -> Reply {
    actor.post("/two-factor/verify-backup-code", json!({ "code": code })).await
}

async fn user(app: &TestApp, name: &str) -> User {
    User::by_email(&mut app.auth.db(), &format!("{name}@example.com")).await.unwrap().unwrap()
}

async fn factor(app: &TestApp, name: &str) -> Option<Factor> {
    Factor::of(&mut app.auth.db(), &user(app, name).await.id).await.unwrap()
}

async fn sessions(app: &TestApp, name: &str) -> u64 {
    let id = user(app, name).await.id;
    app.auth.db().count(Session::KEY, &Session::USER_ID.is(id.as_str())).await.unwrap()
}

async fn verifications(app: &TestApp, prefix: &str) -> Vec<Verification> {
    let filter = Filter::StartsWith(Verification::IDENTIFIER.key.into(), prefix.into());
    let rows = app.auth.db().list(Verification::KEY, &Query::from(filter)).await.unwrap();
    rows.into_iter().map(|row| Verification::from_row(row).unwrap()).collect()
}

fn names(reply: &Reply) -> Vec<String> {
    reply
        .set_cookies()
        .iter()
        .map(|line| {
            let (name, rest) = line.split_once('=').unwrap();
            let name = name.strip_prefix("better-auth.").unwrap();
            if rest.contains("Max-Age=0") { format!("-{name}") } else { name.to_owned() }
        })
        .collect()
}

#[tokio::test]
async fn a_password_alone_gives_a_challenge_and_no_session() {
    let app = app(json!({})).await;
    let ann = app.user("ann").await;
    enroll(&app, &ann).await;
    ann.post("/sign-out", json!({})).await.expect(200);
    assert_eq!(sessions(&app, "ann").await, 0);

    let thief = app.actor();
    let reply = sign_in(&thief, "ann").await;
    let json = reply.expect(200);
    assert_eq!(json, json!({ "twoFactorRedirect": true, "twoFactorMethods": ["totp"] }));
    assert_eq!(names(&reply), ["-session_token", "-session_data", "two_factor"]);
    let challenge = reply.set_cookies().pop().unwrap();
    assert!(challenge.ends_with("; Max-Age=600; Path=/; HttpOnly; SameSite=Lax"), "{challenge}");
    assert!(thief.cookie(SESSION).is_none());
    assert_eq!(sessions(&app, "ann").await, 0);
    assert_eq!(thief.get("/get-session").await.expect(200), Json::Null);
    thief.post("/two-factor/disable", json!({ "password": "correct horse" })).await.expect(401);
}

#[tokio::test]
async fn a_session_that_the_browser_had_is_given_up_for_the_challenge() {
    let app = TestApp::start(
        LIST,
        json!({ "plugins": { "twoFactor": {} }, "session": { "cookieCache": { "enabled": true } } }),
    )
    .await;
    let ann = app.user("ann").await;
    enroll(&app, &ann).await;
    let reply = sign_in(&ann, "ann").await;
    reply.expect(200);
    assert_eq!(names(&reply), ["-session_token", "-session_data", "-session_data", "two_factor"]);
    assert_eq!(ann.get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test]
async fn the_code_of_an_authenticator_signs_in() {
    let app = app(json!({})).await;
    let ann = app.user("ann").await;
    let enrolled = enroll(&app, &ann).await;
    app.advance(30);
    let actor = challenged(&app, "ann").await;
    let reply = verify(&actor, &enrolled.code(&app)).await;
    let json = reply.expect(200);
    assert_eq!(names(&reply), ["session_token", "-two_factor"]);
    assert_eq!(json["user"]["twoFactorEnabled"], true);
    let shown = actor.get("/get-session").await.expect(200);
    assert_eq!(shown["session"]["token"], json["token"]);
    assert!(actor.cookie(CHALLENGE).is_none());
}

#[tokio::test]
async fn a_sign_in_that_is_not_remembered_stays_so_through_the_challenge() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    app.advance(30);
    let actor = app.actor();
    let body = json!({ "email": "ann@example.com", "password": "correct horse", "rememberMe": false });
    let reply = actor.post("/sign-in/email", body).await;
    reply.expect(200);
    assert_eq!(names(&reply), ["dont_remember", "-session_token", "-session_data", "two_factor"]);
    let reply = verify(&actor, &enrolled.code(&app)).await;
    reply.expect(200);
    let token = reply.set_cookies().into_iter().find(|line| line.starts_with(SESSION)).unwrap();
    assert!(!token.contains("Max-Age"), "{token}");
    let shown = actor.get("/get-session").await.expect(200);
    let expires = Timestamp::parse(shown["session"]["expiresAt"].as_str().unwrap()).unwrap();
    assert_eq!(expires, app.clock.now().plus_seconds(86_400));
    // The next one is remembered, and says so at the challenge already.
    let reply = sign_in(&actor, "ann").await;
    reply.expect(200);
    assert!(actor.cookie(MARK).is_none());
}

#[tokio::test]
async fn a_code_opens_one_session_and_not_two() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let code = enrolled.code(&app);
    verify(&challenged(&app, "ann").await, &code).await.expect(200);
    verify(&challenged(&app, "ann").await, &code).await.refused(401, "INVALID_CODE");
    app.advance(30);
    // Still within its window.
    verify(&challenged(&app, "ann").await, &code).await.refused(401, "INVALID_CODE");
    verify(&challenged(&app, "ann").await, &enrolled.code(&app)).await.expect(200);
    app.advance(300);
    verify(&challenged(&app, "ann").await, &enrolled.code(&app)).await.expect(200);
    assert_eq!(verifications(&app, "2fa-totp-").await.len(), 1, "steps that are over are forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_sign_ins_with_one_code_at_most_one_succeeds() {
    let app = app(json!({ "accountLockout": { "enabled": false } })).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let code = enrolled.code(&app);
    let before = sessions(&app, "ann").await;
    let mut actors = Vec::new();
    for _ in 0..50 {
        actors.push(challenged(&app, "ann").await);
    }
    let statuses = at_once(actors, move |actor| {
        let code = code.clone();
        async move { verify(&actor, &code).await }
    })
    .await;
    let good = statuses.iter().filter(|status| **status == 200).count();
    assert!(good <= 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
    assert_eq!(sessions(&app, "ann").await, before + u64::try_from(good).unwrap());
}

#[tokio::test]
async fn with_allow_reuse_a_code_is_good_as_long_as_its_step() {
    let app = app(json!({ "totpOptions": { "allowReuse": true } })).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let code = enrolled.code(&app);
    verify(&challenged(&app, "ann").await, &code).await.expect(200);
    verify(&challenged(&app, "ann").await, &code).await.expect(200);
    app.advance(60);
    verify(&challenged(&app, "ann").await, &code).await.refused(401, "INVALID_CODE");
}

/// Runs a request for each actor at once; the statuses.
async fn at_once<F, Fut>(actors: Vec<Actor>, what: F) -> Vec<u16>
where
    F: Fn(Actor) -> Fut,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let running: Vec<_> = actors.into_iter().map(|actor| tokio::spawn(what(actor))).collect();
    let mut statuses = Vec::new();
    for task in running {
        statuses.push(task.await.unwrap().status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn five_wrong_guesses_over_all_factors_end_a_challenge() {
    let (app, told) = app_with_otp(json!({}), json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let actor = challenged(&app, "ann").await;
    let wrong = enrolled.wrong(&app);
    for _ in 0..2 {
        verify(&actor, &wrong).await.refused(401, "INVALID_CODE");
        backup(&actor, "aaaaa-aaaaa").await.refused(401, "INVALID_BACKUP_CODE");
    }
    actor.post("/two-factor/send-otp", json!({})).await.expect(200);
    let sent = told.last().1[0]["otp"].as_str().unwrap().to_owned();
    let other = if sent == "000000" { "111111" } else { "000000" };
    actor.post("/two-factor/verify-otp", json!({ "code": other })).await.refused(401, "INVALID_CODE");
    let reply = verify(&actor, &enrolled.code(&app)).await;
    reply.refused(400, "TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE");
    assert_eq!(names(&reply), ["-two_factor"]);
    assert!(verifications(&app, "2fa-").await.iter().all(|row| row.identifier.starts_with("2fa-otp-")));
    assert_eq!(sessions(&app, "ann").await, 1, "the one that set it up");
}

#[tokio::test]
async fn sending_again_does_not_buy_guesses() {
    let (app, _) = app_with_otp(json!({}), json!({ "accountLockout": { "enabled": false } })).await;
    let ann = app.user("ann").await;
    ann.post("/two-factor/enable", json!({ "password": "correct horse", "method": "otp" })).await.expect(200);
    let actor = challenged(&app, "ann").await;
    for _ in 0..5 {
        actor.post_empty("/two-factor/send-otp").await.expect(200);
        actor.post("/two-factor/verify-otp", json!({ "code": "x" })).await.refused(401, "INVALID_CODE");
    }
    actor.post_empty("/two-factor/send-otp").await.expect(200);
    let reply = actor.post("/two-factor/verify-otp", json!({ "code": "x" })).await;
    reply.refused(400, "TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE");
    actor.post_empty("/two-factor/send-otp").await.refused(401, "INVALID_TWO_FACTOR_COOKIE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_guesses_cannot_exceed_a_challenges_count() {
    let app = app(json!({ "accountLockout": { "enabled": false } })).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let actor = challenged(&app, "ann").await;
    let wrong = enrolled.wrong(&app);
    let mut judged = 0;
    for _ in 0..4 {
        let actors = (0..25).map(|_| actor.copy()).collect();
        let wrong = wrong.clone();
        let running = at_once_replies(actors, move |actor| {
            let wrong = wrong.clone();
            async move { verify(&actor, &wrong).await }
        });
        judged += running.await.iter().filter(|reply| reply.json["code"] == "INVALID_CODE").count();
    }
    assert!(judged <= 5, "{judged} guesses were judged");
}

async fn at_once_replies<F, Fut>(actors: Vec<Actor>, what: F) -> Vec<Reply>
where
    F: Fn(Actor) -> Fut,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let running: Vec<_> = actors.into_iter().map(|actor| tokio::spawn(what(actor))).collect();
    let mut replies = Vec::new();
    for task in running {
        replies.push(task.await.unwrap());
    }
    replies
}

#[tokio::test]
async fn ten_failures_in_a_row_lock_the_account_for_a_quarter_of_an_hour() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    for round in 0..10 {
        let actor = challenged(&app, "ann").await;
        if round % 2 == 0 {
            verify(&actor, &enrolled.wrong(&app)).await.refused(401, "INVALID_CODE");
        } else {
            backup(&actor, "aaaaa-aaaaa").await.refused(401, "INVALID_BACKUP_CODE");
        }
    }
    let row = factor(&app, "ann").await.unwrap();
    assert_eq!(row.failures, Some(10));
    assert_eq!(row.locked_until, Some(app.clock.now().plus_seconds(900)));
    let actor = challenged(&app, "ann").await;
    verify(&actor, &enrolled.code(&app)).await.refused(429, "ACCOUNT_TEMPORARILY_LOCKED");
    backup(&actor, &enrolled.backup_codes[0]).await.refused(429, "ACCOUNT_TEMPORARILY_LOCKED");
    app.advance(901);
    let actor = challenged(&app, "ann").await;
    verify(&actor, &enrolled.code(&app)).await.expect(200);
    let row = factor(&app, "ann").await.unwrap();
    assert_eq!((row.failures, row.locked_until), (Some(0), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_over_many_challenges_cannot_exceed_the_accounts_count() {
    let app = app(json!({ "accountLockout": { "maxFailedAttempts": 3 } })).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let mut actors = Vec::new();
    for _ in 0..50 {
        actors.push(challenged(&app, "ann").await);
    }
    let wrong = enrolled.wrong(&app);
    let replies = at_once_replies(actors, move |actor| {
        let wrong = wrong.clone();
        async move { verify(&actor, &wrong).await }
    })
    .await;
    let judged = replies.iter().filter(|reply| reply.json["code"] == "INVALID_CODE").count();
    let locked = replies.iter().filter(|reply| reply.status == 429).count();
    assert_eq!((judged, locked), (3, 47));
    assert!(factor(&app, "ann").await.unwrap().locked_until.is_some());
}

#[tokio::test]
async fn a_success_forgets_the_failures_and_a_row_without_a_count_counts_from_zero() {
    let app = app(json!({ "accountLockout": { "maxFailedAttempts": 3 } })).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let nothing = Row::new().with(Factor::FAILURES.key, portcullis_core::store::Value::Null);
    app.auth.db().update(Factor::KEY, &Filter::All, nothing).await.unwrap();
    for _ in 0..2 {
        for _ in 0..2 {
            let actor = challenged(&app, "ann").await;
            verify(&actor, &enrolled.wrong(&app)).await.refused(401, "INVALID_CODE");
        }
        verify(&challenged(&app, "ann").await, &enrolled.code(&app)).await.expect(200);
        app.advance(30);
    }
}

#[tokio::test]
async fn a_used_backup_code_is_refused() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    assert_eq!(enrolled.backup_codes.len(), 10);
    for code in &enrolled.backup_codes {
        let (head, tail) = code.split_once('-').unwrap();
        assert!(head.len() == 5 && tail.len() == 5, "{code}");
        assert!((head.to_owned() + tail).chars().all(|c| c.is_ascii_alphanumeric()), "{code}");
    }
    let code = &enrolled.backup_codes[3];
    let actor = challenged(&app, "ann").await;
    let json = backup(&actor, code).await.expect(200);
    assert_eq!(actor.get("/get-session").await.expect(200)["session"]["token"], json["token"]);
    backup(&challenged(&app, "ann").await, code).await.refused(401, "INVALID_BACKUP_CODE");
    backup(&challenged(&app, "ann").await, &enrolled.backup_codes[4]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_uses_of_a_backup_code_exactly_one_succeeds() {
    let app = app(json!({ "accountLockout": { "enabled": false } })).await;
    let ann = app.user("ann").await;
    let enrolled = enroll(&app, &ann).await;
    let before = sessions(&app, "ann").await;
    for (number, with_session) in [(0, true), (1, false)] {
        let mut actors = Vec::new();
        for _ in 0..50 {
            actors.push(if with_session { ann.copy() } else { challenged(&app, "ann").await });
        }
        let code = enrolled.backup_codes[number].clone();
        let statuses = at_once(actors, move |actor| {
            let code = code.clone();
            async move { backup(&actor, &code).await }
        })
        .await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 401, 409].contains(status)), "{statuses:?}");
    }
    assert_eq!(sessions(&app, "ann").await, before + 1);
}

#[tokio::test]
async fn a_backup_code_without_a_session_shows_the_user_only() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let actor = challenged(&app, "ann").await;
    let body = json!({ "code": enrolled.backup_codes[0], "disableSession": true });
    let json = actor.post("/two-factor/verify-backup-code", body).await.expect(200);
    assert!(json.get("token").is_none());
    assert_eq!(json["user"]["email"], "ann@example.com");
    assert!(actor.cookie(SESSION).is_none());
    backup(&challenged(&app, "ann").await, &enrolled.backup_codes[0])
        .await
        .refused(401, "INVALID_BACKUP_CODE");
}

#[tokio::test]
async fn new_backup_codes_replace_the_old_ones_and_need_the_password() {
    let app = app(json!({ "backupCodeOptions": { "amount": 3, "length": 8 } })).await;
    let ann = app.user("ann").await;
    let path = "/two-factor/generate-backup-codes";
    ann.post(path, json!({ "password": "correct horse" })).await.refused(400, "TWO_FACTOR_NOT_ENABLED");
    let enrolled = enroll(&app, &ann).await;
    ann.post(path, json!({ "password": "wrong" })).await.refused(400, "INVALID_PASSWORD");
    ann.post(path, json!({ "password": "x".repeat(129) })).await.refused(400, "PASSWORD_TOO_LONG");
    let json = ann.post(path, json!({ "password": "correct horse" })).await.expect(200);
    assert_eq!(json["status"], true);
    assert_eq!(json["backupCodes"].as_array().unwrap().len(), 3);
    assert_eq!(json["backupCodes"][0].as_str().unwrap().len(), 9);
    backup(&ann, &enrolled.backup_codes[0]).await.refused(401, "INVALID_BACKUP_CODE");
    backup(&ann, json["backupCodes"][0].as_str().unwrap()).await.expect(200);
}

#[tokio::test]
async fn a_sent_code_signs_in_once_and_not_after_its_time() {
    let (app, told) = app_with_otp(json!({}), json!({})).await;
    let ann = app.user("ann").await;
    let enable = json!({ "password": "correct horse", "method": "otp" });
    let before = ann.cookie(SESSION).unwrap();
    let old = ann.copy();
    let reply = ann.post("/two-factor/enable", enable).await;
    assert_eq!(reply.expect(200), json!({ "method": "otp" }));
    assert_ne!(ann.cookie(SESSION).unwrap(), before);
    assert_eq!(old.get("/get-session").await.expect(200), Json::Null);
    assert!(factor(&app, "ann").await.is_none());

    let actor = app.actor();
    assert_eq!(sign_in(&actor, "ann").await.expect(200)["twoFactorMethods"], json!(["otp"]));
    let otp = "/two-factor/verify-otp";
    actor.post(otp, json!({ "code": "000000" })).await.refused(400, "OTP_HAS_EXPIRED");
    actor.post("/two-factor/send-otp", json!({})).await.expect(200);
    let (name, args) = told.last();
    assert_eq!(name, "plugins.twoFactor.otpOptions.sendOTP");
    assert_eq!(args[0]["user"]["email"], "ann@example.com");
    assert_eq!(args[1]["$type"], "Context");
    let code = args[0]["otp"].as_str().unwrap().to_owned();
    assert!(code.len() == 6 && code.chars().all(|c| c.is_ascii_digit()), "{code}");
    // Of another challenge it is none.
    let stranger = challenged(&app, "ann").await;
    stranger.post(otp, json!({ "code": code })).await.refused(400, "OTP_HAS_EXPIRED");
    actor.post(otp, json!({ "code": code })).await.expect(200);
    assert_eq!(actor.get("/get-session").await.expect(200)["user"]["twoFactorEnabled"], true);

    stranger.post("/two-factor/send-otp", json!({})).await.expect(200);
    let code = told.last().1[0]["otp"].clone();
    app.advance(181);
    stranger.post(otp, json!({ "code": code })).await.refused(400, "OTP_HAS_EXPIRED");
}

#[tokio::test]
async fn a_sent_code_in_a_session_switches_the_second_factor_on() {
    let (app, told) = app_with_otp(json!({}), json!({})).await;
    let ann = app.user("ann").await;
    let old = ann.copy();
    ann.post("/two-factor/send-otp", json!({})).await.expect(200);
    let code = told.last().1[0]["otp"].clone();
    let json = ann.post("/two-factor/verify-otp", json!({ "code": code })).await.expect(200);
    assert_eq!(json["user"]["twoFactorEnabled"], true);
    assert_eq!(ann.get("/get-session").await.expect(200)["session"]["token"], json["token"]);
    assert_eq!(old.get("/get-session").await.expect(200), Json::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_uses_of_a_sent_code_exactly_one_succeeds() {
    let (app, told) = app_with_otp(json!({}), json!({})).await;
    let ann = app.user("ann").await;
    ann.post("/two-factor/enable", json!({ "password": "correct horse", "method": "otp" })).await.expect(200);
    let actor = challenged(&app, "ann").await;
    actor.post("/two-factor/send-otp", json!({})).await.expect(200);
    let code = told.last().1[0]["otp"].clone();
    let before = sessions(&app, "ann").await;
    let actors = (0..50).map(|_| actor.copy()).collect();
    let statuses = at_once(actors, move |actor| {
        let body = json!({ "code": code });
        async move { actor.post("/two-factor/verify-otp", body).await }
    })
    .await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(sessions(&app, "ann").await, before + 1);
}

#[tokio::test]
async fn a_sent_code_may_be_guessed_at_so_many_times() {
    let (app, told) = app_with_otp(json!({ "allowedAttempts": 2 }), json!({})).await;
    let ann = app.user("ann").await;
    ann.post("/two-factor/send-otp", json!({})).await.expect(200);
    let code = told.last().1[0]["otp"].clone();
    for _ in 0..2 {
        ann.post("/two-factor/verify-otp", json!({ "code": "x" })).await.refused(401, "INVALID_CODE");
    }
    let reply = ann.post("/two-factor/verify-otp", json!({ "code": code })).await;
    reply.refused(400, "TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE");
    assert!(!is_enabled(&user(&app, "ann").await));
}

#[tokio::test]
async fn sent_codes_are_stored_as_the_options_say() {
    for (kind, plain) in [("plain", true), ("hashed", false), ("encrypted", false)] {
        let (app, told) = app_with_otp(json!({ "storeOTP": kind, "digits": 8 }), json!({})).await;
        let ann = app.user("ann").await;
        ann.post("/two-factor/send-otp", json!({})).await.expect(200);
        let code = told.last().1[0]["otp"].as_str().unwrap().to_owned();
        assert_eq!(code.len(), 8);
        let rows = verifications(&app, "2fa-otp-").await;
        assert_eq!(rows[0].value.contains(&code), plain, "{kind}");
        ann.post("/two-factor/verify-otp", json!({ "code": "x" })).await.refused(401, "INVALID_CODE");
        ann.post("/two-factor/verify-otp", json!({ "code": code })).await.expect(200);
    }
}

#[tokio::test]
async fn without_a_sender_there_are_no_sent_codes() {
    let app = app(json!({})).await;
    let ann = app.user("ann").await;
    let body = json!({ "password": "correct horse", "method": "otp" });
    ann.post("/two-factor/enable", body).await.refused(400, "OTP_NOT_CONFIGURED");
    let reply = app.actor().post("/two-factor/send-otp", json!({})).await;
    reply.refused(400, "OTP_NOT_CONFIGURED");
    assert_eq!(reply.json["message"], "otp isn't configured");
}

#[tokio::test]
async fn a_trusted_device_is_not_asked_again_and_its_cookie_is_good_once() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    enroll(&app, &app.user("bob").await).await;
    let device = challenged(&app, "ann").await;
    let body = json!({ "code": enrolled.code(&app), "trustDevice": true });
    let reply = device.post("/two-factor/verify-totp", body).await;
    reply.expect(200);
    assert_eq!(names(&reply), ["session_token", "-two_factor", "trust_device", "-dont_remember"]);
    let first = device.copy();

    let reply = sign_in(&device, "ann").await;
    assert!(reply.expect(200)["token"].is_string());
    assert_eq!(names(&reply), ["session_token", "trust_device"]);
    assert_ne!(first.cookie(TRUST), device.cookie(TRUST));
    // The old cookie is worthless, and so is the new one for somebody else.
    let reply = sign_in(&first, "ann").await;
    assert_eq!(reply.expect(200)["twoFactorRedirect"], true);
    assert_eq!(names(&reply), ["-trust_device", "-session_token", "-session_data", "two_factor"]);
    let copy = device.copy();
    assert_eq!(sign_in(&copy, "bob").await.expect(200)["twoFactorRedirect"], true);
    assert!(sign_in(&device, "ann").await.expect(200)["token"].is_string());
    app.advance(2_592_001);
    assert_eq!(sign_in(&device, "ann").await.expect(200)["twoFactorRedirect"], true);
}

#[tokio::test]
async fn a_forged_trust_or_challenge_cookie_is_none() {
    let app = app(json!({})).await;
    let ann = app.user("ann").await;
    let enrolled = enroll(&app, &ann).await;
    let id = user(&app, "ann").await.id;
    let other = Secret::from("another secret of another server");
    let own = app.auth.config().secrets.current().clone();
    let now = app.clock.now().plus_seconds(600);
    let db = &mut app.auth.db();
    Verification::create(&app.auth, db, "trust-device-x", &id, now).await.unwrap();
    Verification::create(&app.auth, db, "reset-password:x", &id, now).await.unwrap();
    for value in [
        "x!trust-device-x".to_owned(),
        sign_value(&other, "x!trust-device-x"),
        sign_value(&own, "x!trust-device-x"),
        sign_value(&own, "!trust-device-x"),
        sign_value(&own, "trust-device-x"),
    ] {
        let actor = app.actor();
        actor.set_cookie(TRUST, &portcullis_core::crypto::encode_uri_component(&value));
        assert_eq!(sign_in(&actor, "ann").await.expect(200)["twoFactorRedirect"], true, "{value}");
    }
    let pending = challenged(&app, "ann").await.cookie(CHALLENGE).unwrap();
    let identifier = pending.split('.').next().unwrap().to_owned();
    for value in [
        identifier.clone(),
        sign_value(&other, &identifier),
        sign_value(&own, "2fa-unknown"),
        sign_value(&own, "reset-password:x"),
        sign_value(&own, &format!("2fa-attempts-{identifier}")),
    ] {
        let actor = app.actor();
        actor.set_cookie(CHALLENGE, &portcullis_core::crypto::encode_uri_component(&value));
        verify(&actor, &enrolled.code(&app)).await.refused(401, "INVALID_TWO_FACTOR_COOKIE");
    }
    app.actor().post("/two-factor/verify-otp", json!({ "code": "1" })).await.expect(401);
}

#[tokio::test]
async fn a_challenge_is_over_after_ten_minutes() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let actor = challenged(&app, "ann").await;
    app.advance(601);
    verify(&actor, &enrolled.code(&app)).await.refused(401, "INVALID_TWO_FACTOR_COOKIE");
}

#[tokio::test]
async fn somebody_elses_codes_do_not_answer_a_challenge() {
    let app = app(json!({})).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let of_ann = enroll(&app, &ann).await;
    let of_bob = enroll(&app, &bob).await;
    let actor = challenged(&app, "ann").await;
    verify(&actor, &of_bob.code(&app)).await.refused(401, "INVALID_CODE");
    backup(&actor, &of_bob.backup_codes[0]).await.refused(401, "INVALID_BACKUP_CODE");
    // With a session of his own, Bob answers for himself, whatever challenge his browser also has.
    let before = sessions(&app, "ann").await;
    bob.set_cookie(CHALLENGE, &challenged(&app, "ann").await.cookie(CHALLENGE).unwrap());
    verify(&bob, &of_ann.code(&app)).await.refused(401, "INVALID_CODE");
    let json = verify(&bob, &of_bob.code(&app)).await.expect(200);
    assert_eq!(json["user"]["email"], "bob@example.com");
    assert_eq!(sessions(&app, "ann").await, before);
}

#[tokio::test]
async fn enabling_waits_for_the_first_code_and_replaces_the_session() {
    let app = app(json!({ "issuer": "My App" })).await;
    let ann = app.user("ann").await;
    let enable = "/two-factor/enable";
    app.actor().post(enable, json!({ "password": "x" })).await.expect(401);
    app.actor().post(enable, json!({})).await.refused(400, "VALIDATION_ERROR");
    for password in ["wrong", ""] {
        ann.post(enable, json!({ "password": password })).await.refused(400, "INVALID_PASSWORD");
    }
    ann.post(enable, json!({ "password": "x".repeat(129) })).await.refused(400, "PASSWORD_TOO_LONG");
    let reply = ann.post(enable, json!({ "password": "correct horse", "issuer": "Other" })).await;
    let first = Enrolled::of(&reply.expect(200));
    assert!(reply.json["totpURI"].as_str().unwrap().starts_with("otpauth://totp/Other:ann%40example.com?"));
    let json = ann.post(enable, json!({ "password": "correct horse" })).await.expect(200);
    assert!(json["totpURI"].as_str().unwrap().contains("/My%20App:"), "{json}");
    let second = Enrolled::of(&json);
    let row = factor(&app, "ann").await.unwrap();
    assert_eq!(row.verified, Some(false));
    assert!(!row.secret.contains(std::str::from_utf8(&second.key).unwrap()));
    assert!(!row.backup_codes.contains(&second.backup_codes[0]));
    assert!(!is_enabled(&user(&app, "ann").await));
    assert!(sign_in(&app.actor(), "ann").await.expect(200)["token"].is_string());
    let sessions_before = sessions(&app, "ann").await;

    verify(&ann, &first.code(&app)).await.refused(401, "INVALID_CODE");
    let old = ann.copy();
    let json = verify(&ann, &second.code(&app)).await.expect(200);
    assert_eq!(ann.get("/get-session").await.expect(200)["session"]["token"], json["token"]);
    assert_eq!(ann.get("/get-session").await.expect(200)["user"]["twoFactorEnabled"], true);
    assert_eq!(old.get("/get-session").await.expect(200), Json::Null);
    assert_eq!(sessions(&app, "ann").await, sessions_before);
    ann.post(enable, json!({ "password": "correct horse" })).await.refused(400, "TOTP_ALREADY_ENABLED");
}

#[tokio::test]
async fn without_verification_enabling_counts_at_once() {
    let app = app(json!({ "skipVerificationOnEnable": true })).await;
    let ann = app.user("ann").await;
    let old = ann.copy();
    let json = ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    assert_eq!(old.get("/get-session").await.expect(200), Json::Null);
    let enrolled = Enrolled::of(&json);
    verify(&challenged(&app, "ann").await, &enrolled.code(&app)).await.expect(200);
}

#[tokio::test]
async fn disabling_needs_the_password_replaces_the_session_and_ends_the_trust() {
    let app = app(json!({})).await;
    let enrolled = enroll(&app, &app.user("ann").await).await;
    let ann = challenged(&app, "ann").await;
    let body = json!({ "code": enrolled.code(&app), "trustDevice": true });
    ann.post("/two-factor/verify-totp", body).await.expect(200);
    let disable = "/two-factor/disable";
    ann.post(disable, json!({ "password": "wrong" })).await.refused(400, "INVALID_PASSWORD");
    let old = ann.copy();
    let reply = ann.post(disable, json!({ "password": "correct horse" })).await;
    assert_eq!(reply.expect(200), json!({ "status": true }));
    assert_eq!(names(&reply), ["session_token", "-trust_device"]);
    assert_eq!(old.get("/get-session").await.expect(200), Json::Null);
    assert!(factor(&app, "ann").await.is_none());
    assert!(verifications(&app, "trust-device-").await.is_empty());
    assert!(sign_in(&app.actor(), "ann").await.expect(200)["token"].is_string());
}

#[tokio::test]
async fn a_new_session_keeps_the_fields_of_the_old_one() {
    let app = TestApp::start(
        LIST,
        json!({
            "plugins": { "twoFactor": { "skipVerificationOnEnable": true } },
            "session": { "additionalFields": { "theme": { "type": "string", "required": false } } },
        }),
    )
    .await;
    let ann = app.user("ann").await;
    let theme = Row::new().with("theme", "dark");
    app.auth.db().update(Session::KEY, &Filter::All, theme).await.unwrap();
    ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    assert_eq!(ann.get("/get-session").await.expect(200)["session"]["theme"], "dark");
}

#[tokio::test]
async fn a_revoked_session_in_the_cookie_cache_cannot_make_a_new_one() {
    let app = TestApp::start(
        LIST,
        json!({ "plugins": { "twoFactor": {} }, "session": { "cookieCache": { "enabled": true } } }),
    )
    .await;
    let ann = app.user("ann").await;
    let thief = ann.copy();
    let json = ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let enrolled = Enrolled::of(&json);
    Session::delete_all(&app.auth, &mut app.auth.db(), &user(&app, "ann").await.id).await.unwrap();
    assert!(thief.get("/get-session").await.expect(200).is_object(), "the cache still says so");
    verify(&thief, &enrolled.code(&app)).await.refused(401, "INVALID_TWO_FACTOR_COOKIE");
    assert_eq!(sessions(&app, "ann").await, 0);
}

#[tokio::test]
async fn the_link_is_shown_again_for_the_password() {
    let app = app(json!({ "totpOptions": { "digits": 8, "period": 60 } })).await;
    let ann = app.user("ann").await;
    let path = "/two-factor/get-totp-uri";
    ann.post(path, json!({ "password": "correct horse" })).await.refused(400, "TOTP_NOT_ENABLED");
    let json = ann.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    ann.post(path, json!({ "password": "wrong" })).await.refused(400, "INVALID_PASSWORD");
    let again = ann.post(path, json!({ "password": "correct horse" })).await.expect(200);
    assert_eq!(again["totpURI"], json["totpURI"]);
    assert!(again["totpURI"].as_str().unwrap().ends_with("&digits=8&period=60"));
    let code = totp_at(&Enrolled::of(&json).key, app.clock.now(), 60, 8);
    verify(&ann, &code).await.expect(200);
}

#[tokio::test]
async fn where_authenticators_are_off_none_can_be_set_up_or_used() {
    let app = app(json!({ "totpOptions": { "disable": true } })).await;
    let ann = app.user("ann").await;
    let body = json!({ "password": "correct horse" });
    ann.post("/two-factor/enable", body.clone()).await.refused(400, "TOTP_NOT_CONFIGURED");
    ann.post("/two-factor/get-totp-uri", body).await.refused(400, "TOTP_NOT_CONFIGURED");
    verify(&app.actor(), "000000").await.refused(400, "TOTP_NOT_CONFIGURED");
}

#[tokio::test]
async fn an_authenticator_that_was_imported_and_a_row_of_an_older_version_are_good() {
    let app = app(json!({})).await;
    let ann = app.user("ann").await;
    let enrolled = enroll(&app, &ann).await;
    let key = b"imported-key-of-20-b";
    let secrets = &app.auth.config().secrets;
    let text = format!("base32:{}", base32_nopad(key));
    let row = Row::new()
        .with(Factor::SECRET.key, secrets.seal(app.auth.random(), &text).unwrap())
        .with(Factor::VERIFIED.key, portcullis_core::store::Value::Null);
    app.auth.db().update(Factor::KEY, &Filter::All, row).await.unwrap();
    let imported = Enrolled { key: key.to_vec(), backup_codes: enrolled.backup_codes };
    let actor = challenged(&app, "ann").await;
    verify(&actor, &imported.code(&app)).await.expect(200);
    assert_eq!(factor(&app, "ann").await.unwrap().verified, Some(true));
}

#[tokio::test]
async fn users_without_a_password_need_none_where_the_options_say_so() {
    let app = app(json!({ "allowPasswordless": true })).await;
    let ann = app.user("ann").await;
    ann.post("/two-factor/enable", json!({})).await.refused(400, "INVALID_PASSWORD");
    app.auth.db().delete("account", &Filter::All).await.unwrap();
    let json = ann.post("/two-factor/enable", json!({})).await.expect(200);
    verify(&ann, &Enrolled::of(&json).code(&app)).await.expect(200);
    ann.post("/two-factor/get-totp-uri", json!({})).await.expect(200);
    ann.post("/two-factor/generate-backup-codes", json!({})).await.expect(200);
    ann.post("/two-factor/disable", json!({})).await.expect(200);
}

#[tokio::test]
async fn clients_cannot_write_the_users_mark() {
    let app = app(json!({})).await;
    let ann = app.user("ann").await;
    enroll(&app, &ann).await;
    ann.post("/update-user", json!({ "twoFactorEnabled": false })).await.expect(400);
    assert!(is_enabled(&user(&app, "ann").await));
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (options, says) in [
        (json!({ "totpOptions": { "digits": 9 } }), "plugins.twoFactor.totpOptions.digits"),
        (json!({ "otpOptions": { "digits": 65 } }), "plugins.twoFactor.otpOptions.digits"),
        (json!({ "otpOptions": { "period": -1 } }), "plugins.twoFactor.otpOptions.period"),
        (
            json!({ "schema": { "user": { "fields": { "x": "y" } } } }),
            "plugins.twoFactor.schema.user.fields.x",
        ),
        (json!({ "trustDevice": 1 }), "plugins.twoFactor.trustDevice"),
    ] {
        let error = super::make(options, &Settings::default()).err().unwrap().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn storage_is_named_or_a_pair_of_callbacks() {
    let callback = json!({ "webhook": "http://127.0.0.1:1/" });
    let cipher = json!({ "encrypt": callback, "decrypt": callback });
    assert!(matches!(serde_json::from_value(cipher.clone()).unwrap(), StoreOtp::Cipher { .. }));
    assert!(matches!(serde_json::from_value(json!({ "hash": callback })).unwrap(), StoreOtp::Hash { .. }));
    assert!(matches!(serde_json::from_value(cipher).unwrap(), StoreBackupCodes::Cipher { .. }));
    assert!(serde_json::from_value::<StoreOtp>(json!("rot13")).is_err());
}

#[tokio::test]
async fn tables_and_columns_may_have_other_names() {
    let app = app(json!({
        "twoFactorTable": "second_factor",
        "schema": {
            "user": { "fields": { "twoFactorEnabled": "two_factor_enabled" } },
            "twoFactor": { "fields": { "secret": "totp_secret" } },
        },
    }))
    .await;
    assert_eq!(app.auth.table(Factor::KEY).name, "second_factor");
    let enrolled = enroll(&app, &app.user("ann").await).await;
    verify(&challenged(&app, "ann").await, &enrolled.code(&app)).await.expect(200);
}
