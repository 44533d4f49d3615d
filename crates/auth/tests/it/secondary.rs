//! Sessions, verifications and rate limits in secondary storage, through HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portcullis::clock::{Clock, Timestamp};
use portcullis::config::Settings;
use portcullis::error::Error;
use portcullis::features::LIST;
use portcullis::hooks::Callback;
use portcullis::identity::{Session, Verification};
use portcullis::secondary::{Memory, SecondaryStorage, unavailable};
use portcullis::store::{Filter, Query};
use portcullis::testing::{Actor, Reply, TestApp, Told, databases};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

const WEEK: i64 = 604_800;

/// A storage that can be told to be away, and to lose a session to somebody else between read and write.
struct Trying {
    memory: Memory,
    away: AtomicBool,
    thief: AtomicBool,
}

impl Trying {
    fn here(&self) -> Result<&Memory, Error> {
        if self.away.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(&self.memory) }
    }
}

#[async_trait]
impl SecondaryStorage for Trying {
    async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        let value = self.here()?.get(key).await?;
        if key.len() == 32 && value.is_some() && self.thief.swap(false, Ordering::SeqCst) {
            self.memory.delete(key).await?;
        }
        Ok(value)
    }
    async fn set(&self, key: &str, value: &str, seconds: u64) -> Result<(), Error> {
        self.here()?.set(key, value, seconds).await
    }
    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.here()?.delete(key).await
    }
    async fn get_and_delete(&self, key: &str) -> Result<Option<String>, Error> {
        self.here()?.get_and_delete(key).await
    }
    async fn increment(&self, key: &str, seconds: u64) -> Result<u64, Error> {
        self.here()?.increment(key, seconds).await
    }
    async fn swap(&self, key: &str, was: Option<&str>, value: Option<(&str, u64)>) -> Result<bool, Error> {
        self.here()?.swap(key, was, value).await
    }
}

struct Place {
    app: TestApp,
    storage: Arc<Trying>,
    clock: Clock,
    told: Told,
}

async fn start(settings: Json) -> Place {
    let clock = Clock::fixed(Timestamp::from_millis(1_790_000_000_000));
    let storage = Arc::new(Trying {
        memory: Memory::new(clock.clone()),
        away: AtomicBool::new(false),
        thief: AtomicBool::new(false),
    });
    let told = Told::default();
    let (mail, code) = (told.callback(), told.callback());
    let change = move |mut settings: Settings| {
        settings.email_and_password.send_reset_password = Some(mail);
        let _ = code;
        settings
    };
    let (given, with_clock) = (Arc::clone(&storage), clock.clone());
    let own = move |builder: portcullis::AuthBuilder| builder.clock(with_clock).secondary_storage(given);
    let app = TestApp::start_with(LIST, settings, change, Some(Box::new(own))).await;
    Place { app, storage, clock, told }
}

impl Place {
    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn keys(&self) -> Vec<String> {
        self.storage.memory.all().into_iter().map(|(key, _, _)| key).collect()
    }

    fn tokens(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| key.len() == 32).collect()
    }

    /// The tokens on the lists of active sessions.
    fn listed(&self) -> Vec<String> {
        let all = self.storage.memory.all().into_iter();
        let lists = all.filter(|(key, _, _)| key.starts_with("active-sessions-"));
        let mut tokens: Vec<String> = lists
            .flat_map(|(_, value, _)| serde_json::from_str::<Vec<Json>>(&value).unwrap())
            .map(|entry| entry["token"].as_str().unwrap().to_owned())
            .collect();
        tokens.sort();
        tokens
    }

    async fn rows(&self) -> u64 {
        self.app.auth.db().count(Session::KEY, &Filter::All).await.unwrap()
    }
}

async fn session(actor: &Actor) -> Json {
    actor.get("/get-session").await.expect(200)
}

async fn sign_in(app: &TestApp, name: &str) -> Actor {
    let actor = app.actor();
    let body = json!({ "email": format!("{name}@example.com"), "password": "correct horse" });
    actor.post("/sign-in/email", body).await.expect(200);
    actor
}

#[tokio::test]
async fn a_session_is_two_keys_in_better_auths_form_and_no_row() {
    let place = start(json!({ "user": { "additionalFields": {
        "secretNote": { "type": "string", "required": false, "returned": false, "defaultValue": "x" },
    } } }))
    .await;
    let ada = place.app.user("ada").await;
    let seen = session(&ada).await;
    let (token, user) = (seen["session"]["token"].as_str().unwrap(), seen["user"]["id"].as_str().unwrap());
    let all = place.storage.memory.all();
    assert_eq!(all.len(), 2);
    let (_, value, seconds) = all.iter().find(|(key, _, _)| key == token).unwrap();
    assert_eq!(*seconds, WEEK);
    let stored: Json = serde_json::from_str(value).unwrap();
    let keys = |json: &Json| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&stored), ["session", "user"]);
    let order = ["id", "ipAddress", "userAgent", "expiresAt", "userId", "token", "createdAt", "updatedAt"];
    assert_eq!(keys(&stored["session"]), order);
    assert_eq!(stored["session"]["expiresAt"], "2026-09-28T14:13:20.000Z");
    assert_eq!(stored["user"]["secretNote"], "x", "all of the user is stored");
    assert_eq!(seen["user"].get("secretNote"), None, "and not all of it shown");
    let (_, list, seconds) =
        all.iter().find(|(key, _, _)| *key == format!("active-sessions-{user}")).unwrap();
    assert_eq!(
        *list,
        json!([{ "token": token, "expiresAt": 1_790_000_000_000_i64 + WEEK * 1000 }]).to_string()
    );
    assert_eq!(*seconds, WEEK);
    let error = place.app.auth.db().count(Session::KEY, &Filter::All).await.unwrap_err();
    assert!(error.to_string().contains("no table session"), "{error}");
}

#[tokio::test]
async fn reading_a_session_asks_no_database() {
    let place = start(json!({})).await;
    let ada = place.app.user("ada").await;
    place.app.auth.store().close().await;
    assert_eq!(session(&ada).await["user"]["email"], "ada@example.com");
    // Not even to extend it.
    place.advance(90_000);
    let before = place.listed();
    assert_eq!(session(&ada).await["session"]["expiresAt"], "2026-09-29T15:13:20.000Z");
    assert_eq!(place.listed(), before);
    let left = place.storage.memory.all().into_iter().map(|(_, _, seconds)| seconds).collect::<Vec<_>>();
    assert_eq!(left, [WEEK, WEEK]);
}

#[tokio::test]
async fn what_is_ended_is_refused_by_the_next_request_and_off_the_list() {
    let place = start(json!({})).await;
    let app = &place.app;
    let ada = app.user("ada").await;
    let (second, third) = (sign_in(app, "ada").await, sign_in(app, "ada").await);
    let eve = app.user("eve").await;
    assert_eq!(ada.get("/list-sessions").await.expect(200).as_array().unwrap().len(), 3);
    let token = session(&second).await["session"]["token"].clone();

    // Somebody else's token ends nothing.
    eve.post("/revoke-session", json!({ "token": token })).await.expect(200);
    assert!(!session(&second).await.is_null());
    ada.post("/revoke-session", json!({ "token": token })).await.expect(200);
    assert!(session(&second).await.is_null());
    assert_eq!((place.tokens().len(), place.listed()), (3, place.tokens()));

    ada.post_empty("/revoke-other-sessions").await.expect(200);
    assert!(session(&third).await.is_null() && !session(&ada).await.is_null());
    assert_eq!(place.listed(), place.tokens());

    let fourth = sign_in(app, "ada").await;
    ada.post_empty("/revoke-sessions").await.expect(200);
    assert!(session(&fourth).await.is_null() && session(&ada).await.is_null());

    eve.post_empty("/sign-out").await.expect(200);
    assert_eq!(place.keys(), Vec::<String>::new());
}

/// GHSA-2vg6: a deleted user's sessions went on in secondary storage.
#[tokio::test]
async fn who_is_deleted_has_no_session_left() {
    for also in [false, true] {
        let place = start(json!({
            "session": { "storeSessionInDatabase": also, "preserveSessionInDatabase": also },
            "user": { "deleteUser": { "enabled": true } },
        }))
        .await;
        let ada = place.app.user("ada").await;
        let other = sign_in(&place.app, "ada").await;
        ada.post("/delete-user", json!({ "password": "correct horse" })).await.expect(200);
        assert_eq!(place.keys(), Vec::<String>::new());
        assert!(session(&other).await.is_null());
        if also {
            assert_eq!(place.rows().await, 0);
        }
    }
}

#[tokio::test]
async fn a_user_is_not_deleted_while_their_sessions_cannot_be() {
    let place = start(json!({ "user": { "deleteUser": { "enabled": true } },
        "session": { "cookieCache": { "enabled": true } } }))
    .await;
    let ada = place.app.user("ada").await;
    place.storage.away.store(true, Ordering::SeqCst);
    ada.post("/delete-user", json!({ "password": "correct horse" })).await.expect(503);
    place.storage.away.store(false, Ordering::SeqCst);
    assert!(!session(&ada).await.is_null());
    sign_in(&place.app, "ada").await;
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let place = start(json!({ "emailAndPassword": { "revokeSessionsOnPasswordReset": true } })).await;
    let ada = place.app.user("ada").await;
    let other = sign_in(&place.app, "ada").await;
    let body = json!({ "currentPassword": "correct horse", "newPassword": "another horse",
        "revokeOtherSessions": true });
    ada.post("/change-password", body).await.expect(200);
    assert!(session(&other).await.is_null() && !session(&ada).await.is_null());
    assert_eq!((place.tokens().len(), place.listed()), (1, place.tokens()));

    let token = reset_token(&place).await;
    assert!(place.keys().contains(&format!("verification:reset-password:{token}")));
    let body = json!({ "token": token, "newPassword": "correct horse" });
    place.app.actor().post("/reset-password", body).await.expect(200);
    assert!(session(&ada).await.is_null());
    assert_eq!(place.keys(), Vec::<String>::new());
}

async fn reset_token(place: &Place) -> String {
    let body = json!({ "email": "ada@example.com" });
    place.app.actor().post("/request-password-reset", body).await.expect(200);
    // The mail is sent beside the request.
    let began = Instant::now();
    loop {
        if let Some((_, args)) = place.told.all().pop() {
            return args[0]["token"].as_str().unwrap().to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no mail");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_changed_user_is_changed_in_every_session() {
    let place = start(json!({})).await;
    let ada = place.app.user("ada").await;
    let other = sign_in(&place.app, "ada").await;
    place.advance(1);
    ada.post("/update-user", json!({ "name": "Countess" })).await.expect(200);
    assert_eq!(session(&other).await["user"]["name"], "Countess");
    assert_eq!(session(&ada).await["user"]["name"], "Countess");
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_being_changed_stays_ended() {
    let place = start(json!({ "session": { "additionalFields": {
        "theme": { "type": "string", "required": false },
    } } }))
    .await;
    let ada = place.app.user("ada").await;
    // It is there when the request is let in, and gone before the change is written.
    let changed = {
        place.storage.thief.store(false, Ordering::SeqCst);
        ada.post("/update-session", json!({ "theme": "dark" })).await
    };
    assert_eq!(changed.expect(200)["session"]["theme"], "dark");
    place.advance(90_000);
    place.storage.thief.store(true, Ordering::SeqCst);
    // Extending: read, ended by somebody else, not written back.
    ada.get("/get-session").await.refused(401, "FAILED_TO_GET_SESSION");
    assert_eq!(place.tokens(), Vec::<String>::new());
    assert!(session(&ada).await.is_null());
}

#[tokio::test]
async fn of_thirty_sign_ins_at_once_all_are_on_the_list() {
    let place = start(json!({})).await;
    let first = place.app.user("ada").await;
    let app = Arc::new(place.app);
    let mut all = JoinSet::new();
    for _ in 0..30 {
        let app = Arc::clone(&app);
        all.spawn(async move { sign_in(&app, "ada").await });
    }
    assert_eq!(all.join_all().await.len(), 30);
    assert_eq!(first.get("/list-sessions").await.expect(200).as_array().unwrap().len(), 31);
}

#[tokio::test]
async fn sessions_in_both_places_survive_a_storage_that_forgets() {
    let place = start(json!({ "session": { "storeSessionInDatabase": true } })).await;
    let ada = place.app.user("ada").await;
    let other = sign_in(&place.app, "ada").await;
    assert_eq!((place.tokens().len(), place.rows().await), (2, 2));
    for key in place.keys() {
        place.storage.memory.delete(&key).await.unwrap();
    }
    assert_eq!(session(&ada).await["user"]["email"], "ada@example.com");
    let token = session(&other).await["session"]["token"].clone();
    ada.post("/revoke-session", json!({ "token": token })).await.expect(200);
    assert!(session(&other).await.is_null());
    ada.post_empty("/sign-out").await.expect(200);
    assert!(session(&ada).await.is_null());
    assert_eq!(place.rows().await, 0);
}

#[tokio::test]
async fn a_preserved_session_is_kept_as_ended_and_never_comes_back() {
    let place = start(json!({ "session": {
        "storeSessionInDatabase": true, "preserveSessionInDatabase": true,
    } }))
    .await;
    let ada = place.app.user("ada").await;
    let kept = ada.copy();
    place.advance(5);
    ada.post_empty("/sign-out").await.expect(200);
    let rows = place.app.auth.db().list(Session::KEY, &Query::all()).await.unwrap();
    let ended: Vec<_> = rows.into_iter().map(|row| Session::from_row(row).unwrap().expires_at).collect();
    assert_eq!(ended, [Timestamp::from_millis(1_790_000_005_000)]);
    assert!(session(&kept).await.is_null());
    // Those that have ended are not ended again.
    let again = sign_in(&place.app, "ada").await;
    place.advance(5);
    again.post_empty("/revoke-sessions").await.expect(200);
    let rows = place.app.auth.db().list(Session::KEY, &Query::all()).await.unwrap();
    let mut ended: Vec<i64> =
        rows.into_iter().map(|row| Session::from_row(row).unwrap().expires_at.millis()).collect();
    ended.sort_unstable();
    assert_eq!(ended, [1_790_000_005_000, 1_790_000_010_000]);
}

/// The background job goes round whether or not the database has such tables.
#[tokio::test]
async fn what_is_elsewhere_is_not_looked_for_in_the_database() {
    for (also, purged) in [(false, 0), (true, 1)] {
        let place = start(json!({
            "session": { "storeSessionInDatabase": also }, "verification": { "storeInDatabase": also },
        }))
        .await;
        place.app.user("ada").await;
        reset_token(&place).await;
        place.advance(WEEK.unsigned_abs() + 1);
        let done = place.app.auth.purge_expired(500).await.unwrap();
        assert_eq!((done.sessions, done.verifications), (purged, purged));
    }
}

#[tokio::test]
async fn what_a_token_names_is_a_session_or_nothing() {
    let place = start(json!({ "plugins": { "bearer": {} } })).await;
    let ada = place.app.user("ada").await;
    let user = session(&ada).await["user"]["id"].as_str().unwrap().to_owned();
    let token = reset_token(&place).await;
    for key in [format!("active-sessions-{user}"), format!("verification:reset-password:{token}")] {
        let thief = place.app.actor().with_header("authorization", &format!("Bearer {key}"));
        assert!(session(&thief).await.is_null());
        ada.post("/revoke-session", json!({ "token": key })).await.expect(200);
        assert!(place.keys().contains(&key), "{key}");
    }
    // A session under another's key is nobody's.
    let (own, value, _) = place.storage.memory.all().into_iter().find(|(key, _, _)| key.len() == 32).unwrap();
    let other = own.chars().rev().collect::<String>();
    place.storage.memory.set(&other, &value, 60).await.unwrap();
    let thief = place.app.actor().with_header("authorization", &format!("Bearer {other}"));
    assert!(session(&thief).await.is_null());
}

async fn one_of_fifty_resets(place: Place) {
    let _ada = place.app.user("ada").await;
    let token = reset_token(&place).await;
    let mut tries = JoinSet::new();
    for n in 0..50 {
        let (actor, token) = (place.app.actor(), token.clone());
        tries.spawn(async move {
            let body = json!({ "token": token, "newPassword": format!("horse number {n}") });
            actor.post("/reset-password", body).await.status.as_u16()
        });
    }
    let answers = tries.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 400, 503].contains(status)), "{answers:?}");
}

#[tokio::test]
async fn of_fifty_with_one_reset_token_one_sets_a_password() {
    one_of_fifty_resets(start(json!({})).await).await;
    one_of_fifty_resets(start(json!({ "verification": { "storeInDatabase": true } })).await).await;
}

#[tokio::test]
async fn verifications_are_where_the_operator_says() {
    for also in [false, true] {
        let place = start(json!({ "verification": { "storeInDatabase": also } })).await;
        let auth = &place.app.auth;
        let db = &mut auth.db();
        let until = auth.clock().now().plus_seconds(60);
        Verification::create(auth, db, "a", "1", until).await.unwrap();
        let (key, value, seconds) = place.storage.memory.all().pop().unwrap();
        assert_eq!((key.as_str(), seconds), ("verification:a", 60));
        let stored: Json = serde_json::from_str(&value).unwrap();
        assert_eq!((&stored["value"], &stored["identifier"]), (&json!("1"), &json!("a")));
        let row = Verification::find(auth, db, "a").await.unwrap().unwrap();
        assert!(row.swap_value(auth, db, "2").await.unwrap());
        assert!(!row.swap_value(auth, db, "3").await.unwrap());
        if also {
            assert_eq!(db.count(Verification::KEY, &Filter::All).await.unwrap(), 1);
            // The copy may be lost.
            place.storage.memory.delete("verification:a").await.unwrap();
        }
        assert_eq!(Verification::consume(auth, db, "a").await.unwrap().unwrap().value, "2");
        assert!(Verification::consume(auth, db, "a").await.unwrap().is_none());
        assert!(Verification::find(auth, db, "a").await.unwrap().is_none());
        Verification::create(auth, db, "b", "1", until).await.unwrap();
        Verification::delete(auth, db, "b").await.unwrap();
        assert_eq!(place.keys(), Vec::<String>::new());
        // Of fifty who reserve a place one has it.
        let mut tries = JoinSet::new();
        for _ in 0..50 {
            let auth = auth.clone();
            tries.spawn(async move {
                Verification::reserve(&auth, &mut auth.db(), "place", until).await.unwrap()
            });
        }
        assert_eq!(tries.join_all().await.into_iter().filter(|won| *won).count(), 1);
        Verification::create(auth, db, "late", "1", until).await.unwrap();
        place.advance(61);
        assert!(Verification::find(auth, db, "late").await.unwrap().is_none());
        assert!(Verification::consume(auth, db, "late").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_identifier_is_stored_as_the_operator_says_and_found_as_it_was() {
    // The vector is better-auth's.
    let hashed = "IMUqJ3lXuvod79AbI4EdsWmdAkZeIP5syfKs7-d5fQQ";
    let options = json!({ "verification": { "storeIdentifier": {
        "default": "plain", "overrides": { "reset-password:": "hashed" },
    } } });
    let place = start(options.clone()).await;
    let database = TestApp::start(LIST, options).await;
    for auth in [&place.app.auth, &database.auth] {
        let db = &mut auth.db();
        let until = auth.clock().now().plus_seconds(60);
        let row = Verification::create(auth, db, "reset-password:abc", "1", until).await.unwrap();
        assert_eq!(row.identifier, hashed);
        assert_eq!(
            Verification::create(auth, db, "other:abc", "1", until).await.unwrap().identifier,
            "other:abc"
        );
        assert!(Verification::find(auth, db, "reset-password:abc").await.unwrap().is_some());
        assert!(Verification::find(auth, db, hashed).await.unwrap().is_none_or(|row| row.value == "1"));
        assert!(Verification::consume(auth, db, "reset-password:abc").await.unwrap().is_some());
        assert!(Verification::consume(auth, db, "reset-password:abc").await.unwrap().is_none());
    }
    // What was stored plainly before the option was set is still found.
    let auth = &place.app.auth;
    let until = auth.clock().now().plus_seconds(60);
    let old = json!({ "identifier": "reset-password:old", "value": "v", "expiresAt": until.to_string() });
    place.storage.memory.set("verification:reset-password:old", &old.to_string(), 60).await.unwrap();
    assert!(Verification::find(auth, &mut auth.db(), "reset-password:old").await.unwrap().is_some());
    assert!(Verification::consume(auth, &mut auth.db(), "reset-password:old").await.unwrap().is_some());
    assert!(Verification::consume(auth, &mut auth.db(), "reset-password:old").await.unwrap().is_none());

    let asked = |settings: &mut Settings| {
        settings.verification.store_identifier = Some(portcullis::config::StoreIdentifiers {
            default: portcullis::config::StoreIdentifier::Asked(Callback::native(|name, args| {
                assert_eq!(name, "verification.storeIdentifier.hash");
                let text = args[0].as_str().unwrap_or_default().chars().rev().collect::<String>();
                async move { Ok(Json::String(text)) }
            })),
            overrides: Vec::new(),
        });
    };
    let change = move |mut settings: Settings| {
        asked(&mut settings);
        settings
    };
    let app = TestApp::start_with(LIST, json!({}), change, None).await;
    let row = Verification::create(&app.auth, &mut app.auth.db(), "abc", "1", until).await.unwrap();
    assert_eq!(row.identifier, "cba");
    assert!(Verification::consume(&app.auth, &mut app.auth.db(), "abc").await.unwrap().is_some());
}

async fn guess(actor: &Actor) -> Reply {
    actor.post("/sign-in/email", json!({ "email": "ada@example.com", "password": "wrong horse" })).await
}

#[tokio::test]
async fn limits_count_in_secondary_storage_in_better_auths_way() {
    let place = start(json!({ "rateLimit": { "enabled": true } })).await;
    let actor = place.app.actor().with_header("x-forwarded-for", "203.0.113.1");
    for _ in 0..3 {
        guess(&actor).await.expect(401);
        place.advance(2);
    }
    let refused = guess(&actor).await;
    assert_eq!(refused.expect(429), json!({ "message": "Too many requests. Please try again later." }));
    // Nobody knows when the window began: the wait is a whole one, and it ends ten seconds after the first.
    assert_eq!((refused.header("x-retry-after"), refused.header("retry-after")), ("10", "10"));
    assert_eq!(place.storage.memory.all(), [("203.0.113.1|/sign-in/email".to_owned(), "4".to_owned(), 4)]);
    place.advance(4);
    guess(&actor).await.expect(401);
}

#[tokio::test]
async fn while_the_counter_is_away_this_process_counts() {
    let place = start(json!({ "rateLimit": { "enabled": true } })).await;
    place.storage.away.store(true, Ordering::SeqCst);
    let actor = place.app.actor();
    for _ in 0..3 {
        assert_ne!(guess(&actor).await.status, 429);
    }
    guess(&actor).await.expect(429);
    place.storage.away.store(false, Ordering::SeqCst);
    guess(&actor).await.expect(401);
}

#[tokio::test]
async fn limits_count_by_functions_of_the_operators() {
    let with = |custom: Json| {
        let text = custom.clone();
        move |mut settings: Settings| {
            let consumed = Callback::native(move |name, args| {
                assert_eq!(name, "rateLimit.customStorage.consume");
                assert_eq!(args[0], "203.0.113.1|/sign-in/email");
                assert_eq!(args[1], json!({ "window": 10, "max": 3 }));
                let text = text.clone();
                async move { Ok(text) }
            });
            settings.rate_limit.custom_storage = Some(portcullis::config::RateLimitFunctions {
                consume: Some(consumed),
                get: None,
                set: None,
            });
            settings
        }
    };
    let on = json!({ "rateLimit": { "enabled": true } });
    let from = |app: &TestApp| app.actor().with_header("x-forwarded-for", "203.0.113.1");
    let no = with(json!({ "allowed": false, "retryAfter": 7 }));
    let app = TestApp::start_with(LIST, on.clone(), no, None).await;
    let reply = guess(&from(&app)).await;
    reply.expect(429);
    assert_eq!(reply.header("x-retry-after"), "7");
    let app = TestApp::start_with(LIST, on.clone(), with(json!({ "allowed": true })), None).await;
    for _ in 0..5 {
        guess(&from(&app)).await.expect(401);
    }
    // One that answers nonsense opens nothing.
    let app = TestApp::start_with(LIST, on.clone(), with(json!(null)), None).await;
    for _ in 0..3 {
        guess(&from(&app)).await.expect(401);
    }
    guess(&from(&app)).await.expect(429);

    // Get and set: of twenty at once three come through.
    let kept: Arc<std::sync::Mutex<Json>> = Arc::default();
    let map = Arc::clone(&kept);
    let both = Callback::native(move |name, args| {
        let (map, name) = (Arc::clone(&map), name.to_owned());
        async move {
            tokio::task::yield_now().await;
            let mut map = map.lock().unwrap();
            if name.ends_with(".set") {
                *map = args[1].clone();
                return Ok(Json::Null);
            }
            Ok(map.clone())
        }
    });
    let change = move |mut settings: Settings| {
        settings.rate_limit.custom_storage = Some(portcullis::config::RateLimitFunctions {
            consume: None,
            get: Some(both.clone()),
            set: Some(both),
        });
        settings
    };
    let app = TestApp::start_with(LIST, on, change, None).await;
    let mut tries = JoinSet::new();
    for _ in 0..20 {
        let actor = from(&app);
        tries.spawn(async move { guess(&actor).await.status.as_u16() });
    }
    let answers = tries.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 3, "{answers:?}");
    assert_eq!(kept.lock().unwrap()["key"], "203.0.113.1|/sign-in/email");
    assert_eq!(kept.lock().unwrap()["count"], 3);
}

#[tokio::test]
async fn a_storage_that_is_away_is_a_503_and_never_signs_anybody_out() {
    let place = start(json!({ "plugins": { "multiSession": {} } })).await;
    let ada = place.app.user("ada").await;
    let before = ada.cookies();
    place.storage.away.store(true, Ordering::SeqCst);
    for reply in [
        ada.get("/get-session").await,
        ada.get("/list-sessions").await,
        ada.post("/update-user", json!({ "name": "x" })).await,
        ada.get("/multi-session/list-device-sessions").await,
        ada.post_empty("/sign-out").await,
        ada.post_empty("/revoke-sessions").await,
    ] {
        reply.refused(503, "SERVICE_UNAVAILABLE");
        assert_eq!(reply.header("retry-after"), "1");
        assert_eq!(reply.set_cookies(), Vec::<String>::new());
    }
    assert_eq!(ada.cookies(), before);
    place.storage.away.store(false, Ordering::SeqCst);
    assert_eq!(session(&ada).await["user"]["email"], "ada@example.com");
}

#[tokio::test]
async fn a_redis_that_goes_away_is_a_503_within_about_a_second_and_comes_back_by_itself() {
    let Some(server) = tokio::task::spawn_blocking(databases::Redis::start).await.unwrap() else { return };
    let settings = json!({ "secondaryStorage": { "url": server.url() }, "rateLimit": { "enabled": true } });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.user("ada").await;
    assert!(!session(&ada).await.is_null());
    let gone = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let began = Instant::now();
    let reply = ada.get("/get-session").await;
    reply.refused(503, "SERVICE_UNAVAILABLE");
    assert_eq!((reply.header("retry-after"), reply.set_cookies().len()), ("1", 0));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // This server forgets when it ends, so what comes back is that people can sign in.
    let _server = tokio::task::spawn_blocking(|| gone.start()).await.unwrap().unwrap();
    let began = Instant::now();
    loop {
        let actor = app.actor().with_header("x-forwarded-for", "203.0.113.9");
        let body = json!({ "email": "ada@example.com", "password": "correct horse" });
        app.advance(10);
        if actor.post("/sign-in/email", body).await.status == 200 {
            assert!(!session(&actor).await.is_null());
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not found again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_storage_that_lacks_what_limits_need_is_refused_at_start() {
    let hook = json!({ "webhook": "http://127.0.0.1:9/" });
    let storage = json!({ "get": hook, "set": hook, "delete": hook });
    let check = |settings: Json| {
        let mut all = json!({ "secret": "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4" });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let settings = portcullis::config::read("", all).unwrap();
        portcullis::config::Config::check(settings, portcullis::config::Environment::Development)
    };
    let problem = |settings| check(settings).unwrap_err().to_string();
    assert!(
        problem(json!({ "secondaryStorage": storage })).starts_with("secondaryStorage.increment: is missing")
    );
    assert!(
        problem(json!({ "rateLimit": { "storage": "secondary-storage" } })).starts_with("rateLimit.storage")
    );
    let config = check(json!({ "secondaryStorage": storage, "rateLimit": { "storage": "memory" } })).unwrap();
    assert!(config.warnings.iter().any(|text| text.starts_with("secondaryStorage.getAndDelete")));
    assert!(config.warnings.iter().any(|text| text.starts_with("database: is missing")));
    assert!(!config.stateless && !config.session.cache.enabled);
    let config = check(json!({ "session": { "storeSessionInDatabase": true } })).unwrap();
    assert!(config.warnings.iter().any(|text| text.starts_with("session.storeSessionInDatabase")));
}
