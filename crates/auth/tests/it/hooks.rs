//! The operator's hooks: what they are asked and told, and what a failing or slow one does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::StatusCode;
use portcullis::config::Settings;
use portcullis::crypto::{base32_decode, totp_at};
use portcullis::database_hooks::{Before, DatabaseHooks, Model, Verb};
use portcullis::error::{Code, Error};
use portcullis::features::LIST;
use portcullis::hooks::Callback;
use portcullis::identity::{Account, Session, User, Verification};
use portcullis::secondary::Memory;
use portcullis::store::Filter;
use portcullis::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Map, Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

type Engine = portcullis_core::auth::Auth;
type Answer = dyn Fn(Model, Verb, &Map<String, Json>) -> Result<Before, Error> + Send + Sync;
type AfterAnswer = dyn Fn(Model, Verb) -> Result<(), Error> + Send + Sync;

/// Writes everything down, reads the database while it is asked, and answers as it is told.
#[derive(Clone)]
struct Hook {
    engine: Arc<OnceLock<Engine>>,
    heard: Arc<Mutex<Vec<(String, Json, Json)>>>,
    before: Arc<Answer>,
    after: Arc<AfterAnswer>,
}

impl Hook {
    fn new(
        answer: impl Fn(Model, Verb, &Map<String, Json>) -> Result<Before, Error> + Send + Sync + 'static,
    ) -> Self {
        let (engine, heard) = (Arc::default(), Arc::default());
        Self { engine, heard, before: Arc::new(answer), after: Arc::new(|_, _| Ok(())) }
    }

    fn willing() -> Self {
        Self::new(|_, _, _| Ok(Before::Go))
    }

    fn refusing(model: Model, verb: Verb) -> Self {
        Self::new(move |m, v, _| Ok(if (m, v) == (model, verb) { Before::Stop } else { Before::Go }))
    }

    async fn hear(&self, when: &str, model: Model, verb: Verb, row: &Map<String, Json>, context: &Json) {
        // With one connection in the pool this waits for ever inside a transaction.
        if let Some(engine) = self.engine.get() {
            let mut db = engine.db();
            let count = db.count(User::KEY, &Filter::All);
            tokio::time::timeout(Duration::from_secs(3), count)
                .await
                .expect("a hook was asked inside a transaction")
                .unwrap();
        }
        let name = format!("{} {verb:?} {when}", model.key());
        self.heard.lock().unwrap().push((name, Json::Object(row.clone()), context.clone()));
    }

    fn names(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap()).into_iter().map(|(name, ..)| name).collect()
    }

    fn rows(&self, wanted: &str) -> Vec<Json> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(name, ..)| name == wanted).map(|(_, row, _)| row.clone()).collect()
    }
}

#[async_trait]
impl DatabaseHooks for Hook {
    async fn before(
        &self,
        model: Model,
        verb: Verb,
        data: &Map<String, Json>,
        context: &Json,
    ) -> Result<Before, Error> {
        self.hear("before", model, verb, data, context).await;
        (self.before)(model, verb, data)
    }

    async fn after(
        &self,
        model: Model,
        verb: Verb,
        row: &Map<String, Json>,
        context: &Json,
    ) -> Result<(), Error> {
        self.hear("after", model, verb, row, context).await;
        (self.after)(model, verb)
    }
}

async fn start(hook: &Hook, settings: Json, change: impl FnOnce(Settings) -> Settings) -> TestApp {
    let mut all = json!({ "database": { "url": "sqlite::memory:", "maxConnections": 1 } });
    for (key, value) in settings.as_object().unwrap() {
        all[key] = value.clone();
    }
    let own = hook.clone();
    let add = move |builder: portcullis::AuthBuilder| builder.database_hooks(own);
    let app = TestApp::start_with(LIST, all, change, Some(Box::new(add))).await;
    hook.engine.set(app.auth.clone()).expect("one app for a hook");
    app
}

async fn with(hook: &Hook) -> TestApp {
    start(hook, json!({}), |settings| settings).await
}

async fn sign_up(app: &TestApp, name: &str) -> (Actor, Reply) {
    let actor = app.actor();
    let body = json!({ "name": name, "email": format!("{name}@example.com"), "password": "correct horse" });
    let reply = actor.post("/sign-up/email", body).await;
    (actor, reply)
}

async fn count(app: &TestApp, table: &str) -> u64 {
    app.auth.db().count(table, &Filter::All).await.unwrap()
}

// ---- what is asked, and when ------------------------------------------------------------------------

#[tokio::test]
async fn a_sign_up_asks_about_every_row_and_tells_what_was_written() {
    let hook = Hook::willing();
    let app = with(&hook).await;
    let (_, reply) = sign_up(&app, "ada").await;
    let user = reply.expect(200)["user"].clone();
    let account = &hook.rows("account Create before")[0];
    assert_eq!(account["userId"], user["id"], "the id is known before the user is written");
    assert_eq!((&account["providerId"], &account["accountId"]), (&json!("credential"), &user["id"]));
    assert_eq!(hook.rows("user Create before")[0]["email"], "ada@example.com");
    let stored = &hook.rows("user Create after")[0];
    assert_eq!((&stored["id"], &stored["createdAt"]), (&user["id"], &user["createdAt"]));
    let context = hook.heard.lock().unwrap()[0].2.clone();
    assert_eq!(
        (&context["$type"], &context["path"], &context["method"], context.get("body")),
        (&json!("Context"), &json!("/sign-up/email"), &json!("POST"), None)
    );
    assert_eq!(
        hook.names(),
        [
            "user Create before",
            "account Create before",
            "session Create before",
            "user Create after",
            "account Create after",
            "session Create after",
        ]
    );
}

#[tokio::test]
async fn with_counted_ids_what_is_not_known_yet_is_not_shown() {
    let hook = Hook::willing();
    let settings = json!({ "advanced": { "database": { "generateId": "serial" } } });
    let app = start(&hook, settings, |settings| settings).await;
    sign_up(&app, "ada").await.1.expect(200);
    let account = &hook.rows("account Create before")[0];
    assert_eq!((account.get("userId"), account.get("accountId")), (None, None));
    assert_eq!(hook.rows("account Create after")[0]["userId"], "1");
    assert_eq!(hook.rows("session Create before")[0].get("userId"), None);
    assert_eq!(hook.rows("session Create after")[0]["userId"], "1");
}

/// Every flow that writes core tables, with hooks on all of them that read the database through the one
/// connection there is.
#[tokio::test]
async fn no_flow_asks_a_hook_while_a_transaction_is_open() {
    let (hook, told) = (Hook::willing(), Told::default());
    let (mail, mail2) = (told.callback(), told.callback());
    let change = move |mut settings: Settings| {
        settings.email_and_password.send_reset_password = Some(mail);
        settings.email_and_password.revoke_sessions_on_password_reset = true;
        settings.email_verification.send_verification_email = Some(mail2);
        settings
    };
    let settings = json!({
        "plugins": { "twoFactor": {}, "anonymous": {}, "multiSession": {} },
        "user": { "deleteUser": { "enabled": true }, "changeEmail": { "enabled": true, "updateEmailWithoutVerification": true } },
        "emailVerification": { "autoSignInAfterVerification": true },
        "account": { "accountLinking": { "allowUnlinkingAll": true } },
    });
    let app = start(&hook, settings, change).await;

    // Somebody becomes somebody: the anonymous user goes.
    let ada = app.actor();
    ada.post("/sign-in/anonymous", json!({})).await.expect(200);
    hook.names();
    let body = json!({ "name": "ada", "email": "ada@example.com", "password": "correct horse" });
    ada.post("/sign-up/email", body).await.expect(200);
    let heard = hook.names();
    assert!(heard.contains(&"user Delete before".to_owned()), "{heard:?}");
    assert!(heard.contains(&"user Delete after".to_owned()), "{heard:?}");
    assert_eq!(count(&app, User::KEY).await, 1);

    let change = json!({ "currentPassword": "correct horse", "newPassword": "another horse", "revokeOtherSessions": true });
    ada.post("/change-password", change).await.expect(200);
    assert_eq!(
        hook.names(),
        [
            "account Update before",
            "session Delete before",
            "session Create before",
            "account Update after",
            "session Delete after",
            "session Create after",
        ]
    );

    let enabled = ada.post("/two-factor/enable", json!({ "password": "another horse" })).await.expect(200);
    let uri = enabled["totpURI"].as_str().unwrap().to_owned();
    let key = base32_decode(uri.split("secret=").nth(1).unwrap().split('&').next().unwrap()).unwrap();
    let code = || totp_at(&key, app.clock.now(), 30, 6);
    ada.post("/two-factor/verify-totp", json!({ "code": code() })).await.expect(200);
    let heard = hook.names();
    assert!(heard.contains(&"user Update after".to_owned()), "{heard:?}");
    app.advance(60);
    let other = app.actor();
    let body = json!({ "email": "ada@example.com", "password": "another horse" });
    other.post("/sign-in/email", body).await.expect(200);
    other.post("/two-factor/verify-totp", json!({ "code": code(), "trustDevice": true })).await.expect(200);
    let heard = hook.names();
    assert!(heard.contains(&"verification Delete after".to_owned()), "{heard:?}");
    other.post("/two-factor/disable", json!({ "password": "another horse" })).await.expect(200);

    app.actor()
        .post("/request-password-reset", json!({ "email": "ada@example.com", "redirectTo": "/x" }))
        .await
        .expect(200);
    let mut token = None;
    for _ in 0..200 {
        let all = told.all();
        token = all
            .iter()
            .rfind(|(name, _)| name == "emailAndPassword.sendResetPassword")
            .map(|(_, args)| args[0]["token"].as_str().unwrap().to_owned());
        if token.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hook.names();
    let body = json!({ "newPassword": "third horse", "token": token.expect("a mail") });
    app.actor().post("/reset-password", body).await.expect(200);
    assert_eq!(
        hook.names(),
        [
            "verification Delete before",
            "account Update before",
            "session Delete before",
            "session Delete before",
            "verification Delete after",
            "account Update after",
            "session Delete after",
            "session Delete after",
        ]
    );

    let body = json!({ "email": "ada@example.com", "password": "third horse" });
    ada.post("/sign-in/email", body).await.expect(200);
    ada.post("/update-user", json!({ "name": "Countess" })).await.expect(200);
    ada.post("/change-email", json!({ "newEmail": "countess@example.com" })).await.expect(200);
    app.advance(90_000);
    ada.get("/get-session").await.expect(200);
    let heard = hook.names();
    assert!(heard.contains(&"session Update after".to_owned()), "{heard:?}");
    ada.post("/sign-out", json!({})).await.expect(200);
    assert_eq!(hook.names(), ["session Delete before", "session Delete after"]);
    let body = json!({ "email": "countess@example.com", "password": "third horse" });
    ada.post("/sign-in/email", body).await.expect(200);
    let accounts = ada.get("/list-accounts").await.expect(200);
    hook.names();
    ada.post("/unlink-account", json!({ "accountId": accounts[0]["id"] })).await.expect(200);
    assert_eq!(hook.names(), ["account Delete before", "account Delete after"]);
    ada.post("/delete-user", json!({})).await.expect(200);
    assert_eq!(
        hook.names(),
        ["session Delete before", "user Delete before", "session Delete after", "user Delete after"]
    );
    assert_eq!(count(&app, User::KEY).await, 0);
}

#[tokio::test]
async fn nobody_hears_of_what_was_not_written() {
    let hook = Hook::willing();
    let app = with(&hook).await;
    sign_up(&app, "ada").await.1.expect(200);
    hook.names();
    sign_up(&app, "ada").await.1.expect(422);
    assert_eq!(hook.names(), Vec::<String>::new());
}

#[tokio::test]
async fn of_fifty_who_sign_up_with_one_address_one_is_told_of() {
    let hook = Hook::willing();
    let app = Arc::new(with(&hook).await);
    let tries = (0..50).map(|_| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { sign_up(&app, "ada").await.1.status.as_u16() })
    });
    let mut made = 0;
    for one in tries.collect::<Vec<_>>() {
        made += usize::from(one.await.unwrap() == 200);
    }
    assert_eq!((made, hook.rows("user Create after").len()), (1, 1));
}

#[tokio::test]
async fn the_example_lets_one_company_in() {
    let add = |builder: portcullis::AuthBuilder| builder.database_hooks(crate::database_hooks::OneCompany);
    let app = TestApp::start_with(LIST, json!({}), |settings| settings, Some(Box::new(add))).await;
    let actor = app.actor();
    let body = |email: &str| json!({ "name": " Ada ", "email": email, "password": "correct horse" });
    let reply = actor.post("/sign-up/email", body("ada@elsewhere.example")).await;
    reply.refused(403, "NOT_OF_THE_COMPANY");
    let user = actor.post("/sign-up/email", body("ada@example.com")).await.expect(200)["user"].clone();
    assert_eq!(user["name"], "Ada");
}

// ---- what an answer does ----------------------------------------------------------------------------

#[tokio::test]
async fn what_a_hook_lays_over_is_written_and_what_the_table_lacks_is_passed_over() {
    let hook = Hook::new(|model, verb, data| {
        Ok(match (model, verb) {
            (Model::User, Verb::Create) => {
                let name = data["name"].as_str().unwrap_or_default().to_uppercase();
                let over = json!({ "name": name, "image": "https://x.example/i.png", "nonsense": 1 });
                Before::With(over.as_object().unwrap().clone())
            }
            (Model::User, Verb::Update) => {
                Before::With(json!({ "image": null }).as_object().unwrap().clone())
            }
            _ => Before::Go,
        })
    });
    let app = with(&hook).await;
    let (ada, reply) = sign_up(&app, "ada").await;
    let user = &reply.expect(200)["user"];
    assert_eq!((&user["name"], &user["image"]), (&json!("ADA"), &json!("https://x.example/i.png")));
    ada.post("/update-user", json!({ "name": "Ada" })).await.expect(200);
    let user = ada.get("/get-session").await.expect(200)["user"].clone();
    assert_eq!((&user["name"], &user["image"]), (&json!("Ada"), &Json::Null));
}

#[tokio::test]
async fn a_field_of_another_type_breaks_the_request_and_writes_nothing() {
    let hook = Hook::new(|model, _, _| {
        Ok(if model == Model::Session {
            Before::With(json!({ "expiresAt": "soon" }).as_object().unwrap().clone())
        } else {
            Before::Go
        })
    });
    let app = with(&hook).await;
    sign_up(&app, "ada").await.1.expect(500);
    assert_eq!((count(&app, User::KEY).await, count(&app, Session::KEY).await), (0, 0));
}

#[tokio::test]
async fn no_to_a_user_is_no_user() {
    let app_with = |hook: Hook| async move { (with(&hook).await, hook) };
    let (app, hook) = app_with(Hook::refusing(Model::User, Verb::Create)).await;
    sign_up(&app, "ada").await.1.refused(400, "FAILED_TO_CREATE_USER");
    assert_eq!(hook.names(), ["user Create before"]);
    assert_eq!(count(&app, User::KEY).await, 0);
    // What goes wrong while the user is made is said in the same words as in Better Auth.
    let (app, _) = app_with(Hook::new(|_, _, _| Err(Error::broken("boom")))).await;
    sign_up(&app, "ada").await.1.refused(422, "FAILED_TO_CREATE_USER");
    let own =
        |status| Hook::new(move |_, _, _| Err(Code::new(status, "NOT_HERE", "Not from this domain").into()));
    let (app, _) = app_with(own(409)).await;
    sign_up(&app, "ada").await.1.refused(409, "NOT_HERE");
    assert_eq!(count(&app, User::KEY).await, 0);
}

#[tokio::test]
async fn no_to_a_session_is_no_session_and_at_sign_up_no_user() {
    let asked = AtomicUsize::new(0);
    // Goes on once, so that there is somebody.
    let hook = Hook::new(move |model, verb, _| {
        let session = (model, verb) == (Model::Session, Verb::Create);
        Ok(if session && asked.fetch_add(1, Ordering::SeqCst) > 0 { Before::Stop } else { Before::Go })
    });
    let app = with(&hook).await;
    sign_up(&app, "ada").await.1.expect(200);
    let (eve, reply) = sign_up(&app, "eve").await;
    reply.refused(400, "FAILED_TO_CREATE_SESSION");
    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    eve.post("/sign-in/email", body).await.refused(401, "FAILED_TO_CREATE_SESSION");
    assert!(eve.cookies().is_empty());
    assert_eq!((count(&app, User::KEY).await, count(&app, Session::KEY).await), (1, 1));
}

#[tokio::test]
async fn no_to_an_account_is_a_user_without_a_password() {
    let hook = Hook::refusing(Model::Account, Verb::Create);
    let app = with(&hook).await;
    let (ada, reply) = sign_up(&app, "ada").await;
    reply.expect(200);
    assert_eq!(count(&app, Account::KEY).await, 0);
    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    ada.post("/sign-in/email", body).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
}

#[tokio::test]
async fn no_to_a_change_leaves_the_row_and_goes_on() {
    let hook = Hook::refusing(Model::User, Verb::Update);
    let app = with(&hook).await;
    let (ada, _) = sign_up(&app, "ada").await;
    ada.post("/update-user", json!({ "name": "Countess" })).await.expect(200);
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "ada");
    assert!(!hook.names().contains(&"user Update after".to_owned()));
}

#[tokio::test]
async fn a_user_whom_a_hook_keeps_is_kept_whole() {
    let hook = Hook::refusing(Model::User, Verb::Delete);
    let settings = json!({ "user": { "deleteUser": { "enabled": true } } });
    let app = start(&hook, settings, |settings| settings).await;
    let (ada, _) = sign_up(&app, "ada").await;
    ada.post("/delete-user", json!({})).await.expect(403);
    let left =
        (count(&app, User::KEY).await, count(&app, Account::KEY).await, count(&app, Session::KEY).await);
    assert_eq!(left, (1, 1, 1));
    ada.get("/get-session").await.expect(200);
}

#[tokio::test]
async fn no_to_the_end_of_a_session_keeps_it_and_a_value_that_may_not_go_is_not_given() {
    let hook = Hook::new(|model, verb, _| {
        let kept = verb == Verb::Delete && matches!(model, Model::Session | Model::Verification);
        Ok(if kept { Before::Stop } else { Before::Go })
    });
    let app = with(&hook).await;
    let (ada, _) = sign_up(&app, "ada").await;
    ada.post("/sign-out", json!({})).await.expect(200);
    assert_eq!(count(&app, Session::KEY).await, 1);
    let until = app.auth.clock().now().plus_seconds(60);
    Verification::create(&app.auth, &mut app.auth.db(), "once", "v", until).await.unwrap();
    assert!(Verification::consume(&app.auth, &mut app.auth.db(), "once").await.unwrap().is_none());
    assert_eq!(count(&app, Verification::KEY).await, 1);
}

#[tokio::test]
async fn a_discreet_sign_up_hides_a_403_of_a_hook_as_it_hides_a_taken_address() {
    let hook = Hook::new(|model, _, data| {
        if model == Model::User && data["email"] == "eve@example.com" {
            return Err(Code::message(StatusCode::FORBIDDEN, "no").into());
        }
        Ok(Before::Go)
    });
    let settings = json!({ "emailAndPassword": { "enabled": true, "requireEmailVerification": true } });
    let app = start(&hook, settings, |settings| settings).await;
    sign_up(&app, "ada").await.1.expect(200);
    let shape = |reply: Reply| {
        let json = reply.expect(200);
        json["user"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let taken = shape(sign_up(&app, "ada").await.1);
    assert_eq!(shape(sign_up(&app, "eve").await.1), taken);
    assert_eq!(count(&app, User::KEY).await, 1);
}

#[tokio::test]
async fn what_an_after_hook_says_is_the_answer_and_the_write_lasts() {
    let mut hook = Hook::willing();
    hook.after = Arc::new(|model, _| match model {
        Model::User => Err(Code::new(418, "TEAPOT", "I'm a teapot").into()),
        _ => Ok(()),
    });
    let app = with(&hook).await;
    sign_up(&app, "ada").await.1.refused(418, "TEAPOT");
    assert_eq!((count(&app, User::KEY).await, count(&app, Account::KEY).await), (1, 1));
    // The others have been told all the same.
    assert_eq!(hook.rows("account Create after").len(), 1);
    let mut hook = Hook::willing();
    hook.after = Arc::new(|_, _| Err(Error::broken("boom")));
    let app = with(&hook).await;
    sign_up(&app, "ada").await.1.expect(500);
    assert_eq!(count(&app, User::KEY).await, 1);
}

#[tokio::test]
async fn a_write_in_a_transaction_that_nobody_was_asked_about_is_an_error() {
    let hook = Hook::willing();
    let app = with(&hook).await;
    let (ada, _) = sign_up(&app, "ada").await;
    drop(ada);
    hook.names();
    let user = User::by_email(&mut app.auth.db(), "ada@example.com").await.unwrap().unwrap();
    let mut tx = app.auth.begin().await.unwrap();
    let error = User::delete(&app.auth, &mut tx.db(), &user.id).await.unwrap_err();
    assert!(error.to_string().contains("whoever begins it must ask first"), "{error}");
    drop(tx);
    assert_eq!((hook.names(), count(&app, User::KEY).await), (vec![], 1));
}

// ---- secondary storage ------------------------------------------------------------------------------

async fn with_storage(hook: &Hook, session: Json) -> TestApp {
    let clock = portcullis::clock::Clock::fixed(portcullis::clock::Timestamp::from_millis(1_790_000_000_000));
    let storage = Arc::new(Memory::new(clock));
    let (own, settings) = (hook.clone(), json!({ "session": session }));
    let add = move |builder: portcullis::AuthBuilder| builder.database_hooks(own).secondary_storage(storage);
    let app = TestApp::start_with(LIST, settings, |settings| settings, Some(Box::new(add))).await;
    hook.engine.set(app.auth.clone()).expect("one app for a hook");
    app
}

#[tokio::test]
async fn sessions_that_live_elsewhere_have_hooks_too() {
    let hook = Hook::new(|model, verb, _| {
        let over = match (model, verb) {
            (Model::Session, Verb::Create) => json!({ "userAgent": "laid over", "token": "a".repeat(32) }),
            _ => return Ok(Before::Go),
        };
        Ok(Before::With(over.as_object().unwrap().clone()))
    });
    let app = with_storage(&hook, json!({})).await;
    let (ada, reply) = sign_up(&app, "ada").await;
    assert_eq!(reply.expect(200)["token"], "a".repeat(32));
    assert_eq!(hook.rows("session Create after")[0]["userAgent"], "laid over");
    let current = ada.get("/get-session").await.expect(200);
    assert_eq!(current["session"]["userAgent"], "laid over");
    hook.names();
    app.advance(90_000);
    ada.get("/get-session").await.expect(200);
    assert_eq!(hook.names(), ["session Update before", "session Update after"]);
    // As in Better Auth: what only secondary storage has ends without hooks.
    ada.post("/sign-out", json!({})).await.expect(200);
    assert_eq!(hook.names(), Vec::<String>::new());
    assert!(ada.get("/get-session").await.expect(200).is_null());

    let hook = Hook::refusing(Model::Session, Verb::Create);
    let app = with_storage(&hook, json!({})).await;
    sign_up(&app, "ada").await.1.refused(400, "FAILED_TO_CREATE_SESSION");
}

#[tokio::test]
async fn a_session_that_is_preserved_ends_with_the_hooks_of_a_deletion() {
    let hook = Hook::willing();
    let kept = json!({ "storeSessionInDatabase": true, "preserveSessionInDatabase": true });
    let app = with_storage(&hook, kept).await;
    let (ada, _) = sign_up(&app, "ada").await;
    let change = json!({ "currentPassword": "correct horse", "newPassword": "another horse", "revokeOtherSessions": true });
    hook.names();
    ada.post("/change-password", change).await.expect(200);
    let heard = hook.names();
    assert_eq!(heard.iter().filter(|name| *name == "session Delete after").count(), 1, "{heard:?}");
    ada.post("/sign-out", json!({})).await.expect(200);
    assert_eq!(hook.names(), ["session Delete before", "session Delete after"]);
    assert_eq!(count(&app, Session::KEY).await, 2);
}

// ---- webhooks ---------------------------------------------------------------------------------------

/// What a webhook of these tests does.
#[derive(Clone, Copy)]
enum Does {
    Answer(&'static str),
    Status(u16),
    Redirect,
    Nothing,
    TooMuch,
    HangUp,
}

/// Headers and body of a call.
type Received = (Map<String, Json>, Vec<u8>);

struct Server {
    url: String,
    calls: Arc<Mutex<Vec<Received>>>,
    /// Calls that are open at this moment, and the most there were.
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// Reads one request: headers and body.
async fn read(stream: &mut tokio::net::TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let headers: Map<String, Json> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), Json::from(value)))
        .collect();
    let length: usize = headers["content-length"].as_str()?.parse().ok()?;
    while bytes.len() < end + length {
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
    }
    Some((headers, bytes[end..].to_vec()))
}

async fn webhook(does: Does) -> Server {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/hook?token=sesame", listener.local_addr().unwrap());
    let server = Server { url, calls: Arc::default(), open: Arc::default(), most: Arc::default() };
    let (calls, open, most) = (Arc::clone(&server.calls), Arc::clone(&server.open), Arc::clone(&server.most));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (calls, open, most) = (Arc::clone(&calls), Arc::clone(&open), Arc::clone(&most));
            tokio::spawn(async move {
                let Some(call) = read(&mut stream).await else { return };
                calls.lock().unwrap().push(call);
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let head = |status: u16, more: &str, length: usize| {
                    format!(
                        "HTTP/1.1 {status} X\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n"
                    )
                };
                let answer = match does {
                    Does::Answer(text) => head(200, "", text.len()) + text,
                    Does::Status(status) => head(status, "", 0),
                    Does::Redirect => head(307, "location: /elsewhere\r\n", 0),
                    Does::TooMuch => {
                        let text = format!("{{\"result\":\"{}\"}}", "x".repeat(1 << 20));
                        head(200, "", text.len()) + &text
                    }
                    Does::HangUp => String::new(),
                    Does::Nothing => {
                        // Until the caller gives up.
                        let _ = stream.read(&mut [0; 1]).await;
                        String::new()
                    }
                };
                let _ = stream.write_all(answer.as_bytes()).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    server
}

async fn with_webhook(server: &Server, key: &[&str], more: Json) -> TestApp {
    let mut settings = json!({ "webhooks": { "timeoutSeconds": 1 } });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let mut place = &mut settings;
    for name in key {
        if place.is_null() {
            *place = json!({});
        }
        place = &mut place[*name];
    }
    *place = json!({ "webhook": server.url });
    TestApp::start(LIST, settings).await
}

const BEFORE_SESSION: &[&str] = &["databaseHooks", "session", "create", "before"];
const AFTER_SESSION: &[&str] = &["databaseHooks", "session", "create", "after"];

#[tokio::test]
async fn a_webhook_is_called_by_its_name_with_row_and_context() {
    let server = webhook(Does::Answer(r#"{"result":{"data":{"userAgent":"laid over"}}}"#)).await;
    let app = with_webhook(&server, BEFORE_SESSION, json!({})).await;
    let (_, reply) = sign_up(&app, "ada").await;
    let user = reply.expect(200)["user"]["id"].clone();
    let (headers, body) = server.calls.lock().unwrap()[0].clone();
    let body: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["callback"], "databaseHooks.session.create.before");
    assert_eq!((&body["args"][0]["userId"], &body["args"][1]["path"]), (&user, &json!("/sign-up/email")));
    assert!(body["args"][1]["headers"].get("cookie").is_none());
    assert!(headers["webhook-id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(headers.get("webhook-signature"), None, "unsigned without a secret");
    let session = app.auth.db().list(Session::KEY, &Filter::All.into()).await.unwrap().remove(0);
    assert_eq!(session.text("userAgent"), Some("laid over"));
}

#[tokio::test]
async fn whatever_a_before_webhook_does_wrong_the_write_does_not_happen() {
    for (does, status) in [
        (Does::Answer(r#"{"error":{"message":"boom"}}"#), 500),
        (Does::Answer(r#"{"error":{"status":"FORBIDDEN","message":"no","code":"NO"}}"#), 403),
        (Does::Answer(r#"{"error":{"status":"NO_SUCH_STATUS","message":"no"}}"#), 500),
        (Does::Answer(r#"{"result":false}"#), 400),
        (Does::Answer(r#"{"result":"yes"}"#), 500),
        (Does::Answer(r#"{"result":{"data":[]}}"#), 500),
        (Does::Answer("[]"), 500),
        (Does::Answer("garbage"), 500),
        (Does::Status(404), 500),
        (Does::Redirect, 500),
        (Does::TooMuch, 500),
        (Does::HangUp, 500),
        (Does::Nothing, 500),
    ] {
        let server = webhook(does).await;
        let app = with_webhook(&server, BEFORE_SESSION, json!({})).await;
        let begun = Instant::now();
        let (ada, reply) = sign_up(&app, "ada").await;
        reply.expect(status);
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!((count(&app, Session::KEY).await, ada.cookies().len()), (0, 0));
        assert_eq!(server.calls.lock().unwrap().len(), 1, "a call is made once, and no redirect is followed");
    }
}

#[tokio::test]
async fn whatever_an_after_webhook_does_wrong_the_write_lasts_and_the_answer_says_so() {
    for (does, status) in [
        (Does::Answer(r#"{"result":false}"#), 200),
        (Does::Answer(r#"{"error":{"message":"boom"}}"#), 500),
        (Does::Answer(r#"{"error":{"status":402,"message":"pay","code":"PAY"}}"#), 402),
        (Does::Answer("garbage"), 500),
        (Does::Redirect, 500),
        (Does::TooMuch, 500),
        (Does::Nothing, 500),
    ] {
        let server = webhook(does).await;
        let app = with_webhook(&server, AFTER_SESSION, json!({})).await;
        sign_up(&app, "ada").await.1.expect(status);
        assert_eq!((count(&app, User::KEY).await, count(&app, Session::KEY).await), (1, 1));
    }
}

#[tokio::test]
async fn a_slow_host_gets_so_many_calls_at_a_time_and_the_rest_is_told_to_come_again() {
    let server = webhook(Does::Nothing).await;
    let more = json!({ "webhooks": { "timeoutSeconds": 2, "maxInFlight": 2 } });
    let app = with_webhook(&server, BEFORE_SESSION, more).await;
    let url: url::Url = server.url.parse().unwrap();
    let call = || {
        let (auth, url) = (app.auth.clone(), url.clone());
        tokio::spawn(async move { auth.outbound().webhook(&url, &json!({})).await.unwrap_err() })
    };
    let mut calls = vec![call(), call()];
    while server.open.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    calls.extend((0..6).map(|_| call()));
    let mut busy = 0;
    for one in calls {
        let error = one.await.unwrap();
        match error.code() {
            Some(code) => {
                assert_eq!(code.status, StatusCode::SERVICE_UNAVAILABLE);
                busy += 1;
            }
            None => assert!(error.to_string().contains("in time"), "{error}"),
        }
    }
    assert!(busy >= 4, "two had a turn at first, two at most when those gave up: {busy}");
    assert_eq!(server.most.load(Ordering::SeqCst), 2);
    assert!(begun.elapsed() < Duration::from_secs(20));
    // Who needs no webhook is served.
    app.actor().get("/ok").await.expect(200);
}

#[tokio::test]
async fn calls_are_signed_with_every_secret_and_no_secret_is_shown() {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let (old, new) = ([7u8; 32], [9u8; 24]);
    let secrets = [old.as_slice(), new.as_slice()].map(|key| format!("whsec_{}", base64.encode(key)));
    let server = webhook(Does::Answer("{}")).await;
    let app = with_webhook(&server, BEFORE_SESSION, json!({ "webhooks": { "secrets": secrets } })).await;
    sign_up(&app, "ada").await.1.expect(200);
    let (headers, body) = server.calls.lock().unwrap()[0].clone();
    let text = |name: &str| headers[name].as_str().unwrap();
    let signed =
        [format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes(), &body].concat();
    let expected = [old.as_slice(), new.as_slice()]
        .map(|key| format!("v1,{}", base64.encode(portcullis::crypto::hmac_sha256(key, &signed))));
    assert_eq!(text("webhook-signature"), expected.join(" "));
    assert_eq!(text("webhook-timestamp"), app.clock.now().seconds().to_string());
    let shown = format!("{:?} {:?}", app.auth.config(), app.auth.outbound());
    for secret in &secrets {
        assert!(!shown.contains(&secret[6..]), "a secret in Debug");
    }
    assert!(!shown.contains("sesame"), "a webhook's URL in Debug");
}

// ---- functions that make values ---------------------------------------------------------------------

/// Answers by the callback's name.
fn scripted(
    answer: impl Fn(&str, &[Json]) -> Result<Json, Error> + Send + Sync + Copy + 'static,
) -> Callback {
    Callback::native(move |name, args| {
        let answer = answer(name, &args);
        async move { answer }
    })
}

#[tokio::test]
async fn passwords_are_hashed_and_compared_by_functions_of_the_operators() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let own = Callback::native(move |name, args| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answer = match name {
            "emailAndPassword.password.hash" => json!(format!("own:{}", args[0].as_str().unwrap().len())),
            _ => json!(args[0]["hash"] == format!("own:{}", args[0]["password"].as_str().unwrap().len())),
        };
        async move { Ok(answer) }
    });
    let change = |mut settings: Settings| {
        let (hash, verify) = (Some(own.clone()), Some(own));
        settings.email_and_password.password = Some(portcullis::config::PasswordCallbacks { hash, verify });
        settings
    };
    let app = TestApp::start_with(LIST, json!({}), change, None).await;
    let calls = || asked.swap(0, Ordering::SeqCst);
    let sign_in = |email: &'static str, password: &'static str| {
        let actor = app.actor();
        async move { actor.post("/sign-in/email", json!({ "email": email, "password": password })).await }
    };
    // Nobody is there to be compared with: the same function is asked, once.
    sign_in("nobody@example.com", "correct horse").await.expect(401);
    assert_eq!(calls(), 1);
    let (_, reply) = sign_up(&app, "ada").await;
    reply.expect(200);
    let account = app.auth.db().list(Account::KEY, &Filter::All.into()).await.unwrap().remove(0);
    assert_eq!(account.text("password"), Some("own:13"));
    calls();
    sign_in("ada@example.com", "correct horse").await.expect(200);
    assert_eq!(calls(), 1);
    sign_in("ada@example.com", "wrong").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    assert_eq!(calls(), 1);
    sign_in("nobody@example.com", "wrong one").await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    assert_eq!(calls(), 1);
}

#[tokio::test]
async fn a_hash_that_is_too_long_or_none_at_all_makes_nobody() {
    for answer in [json!("x".repeat(1025)), json!(""), json!(null), json!(7)] {
        let own = Callback::native(move |_, _| {
            let answer = answer.clone();
            async move { Ok(answer) }
        });
        let change = |mut settings: Settings| {
            let password = portcullis::config::PasswordCallbacks { hash: Some(own), verify: None };
            settings.email_and_password.password = Some(password);
            settings
        };
        let app = TestApp::start_with(LIST, json!({}), change, None).await;
        sign_up(&app, "ada").await.1.expect(500);
        assert_eq!(count(&app, User::KEY).await, 0);
    }
}

async fn with_fields() -> TestApp {
    let answer = |name: &str, args: &[Json]| {
        Ok(match name {
            "user.additionalFields.nick.validator.input.~standard.validate" => match args[0].as_str() {
                Some("bad") => json!({ "issues": [{ "message": "not that one" }] }),
                Some(nick) => json!({ "value": nick.to_lowercase() }),
                None => json!({ "issues": [{ "message": "a text" }] }),
            },
            "user.additionalFields.motto.transform.input" => {
                json!(format!("<{}>", args[0].as_str().unwrap()))
            }
            "user.additionalFields.plan.defaultValue" => json!("free"),
            "user.additionalFields.touched.onUpdate" => json!(7),
            "session.additionalFields.device.defaultValue" => json!("unknown"),
            other => panic!("{other}"),
        })
    };
    let settings = json!({
        "user": { "additionalFields": {
            "nick": { "type": "string", "required": false },
            "motto": { "type": "string", "required": false },
            "plan": { "type": "string", "input": false },
            "touched": { "type": "number", "required": false, "input": false },
        } },
        "session": { "additionalFields": { "device": { "type": "string" } } },
    });
    let change = move |mut settings: Settings| {
        use portcullis::config::{StandardSchema, StandardValidator, TransformSettings, ValidatorSettings};
        let own = || scripted(answer);
        for (name, field) in &mut settings.user.additional_fields.0 {
            match name.as_str() {
                "nick" => {
                    let standard = StandardValidator { validate: own() };
                    field.validator =
                        Some(ValidatorSettings { input: Some(StandardSchema { standard }), output: None });
                }
                "motto" => field.transform = Some(TransformSettings { input: Some(own()), output: None }),
                "plan" => field.default_function = Some(own()),
                _ => field.on_update = Some(own()),
            }
        }
        settings.session.additional_fields.0[0].1.default_function = Some(own());
        settings
    };
    TestApp::start_with(LIST, settings, change, None).await
}

#[tokio::test]
async fn functions_of_fields_judge_turn_and_make_values() {
    let app = with_fields().await;
    let body = |nick: &str| json!({ "name": "a", "email": "ada@example.com", "password": "correct horse", "nick": nick, "motto": "hm" });
    let refused = app.actor().post("/sign-up/email", body("bad")).await.expect(400);
    assert_eq!((&refused["message"], &refused["code"]), (&json!("not that one"), &json!("VALIDATION_ERROR")));
    let ada = app.actor();
    let user = ada.post("/sign-up/email", body("ADA")).await.expect(200)["user"].clone();
    assert_eq!(
        (&user["nick"], &user["motto"], &user["plan"], &user["touched"]),
        (&json!("ada"), &json!("<hm>"), &json!("free"), &Json::Null)
    );
    ada.post("/update-user", json!({ "motto": "ha" })).await.expect(200);
    let current = ada.get("/get-session").await.expect(200);
    assert_eq!((&current["user"]["motto"], &current["user"]["touched"]), (&json!("<ha>"), &json!(7)));
    assert_eq!(current["session"]["device"], "unknown");
}

#[tokio::test]
async fn ids_are_made_by_a_function_of_the_operators() {
    let server = webhook(Does::Answer(r#"{"result":"id-of-the-operator"}"#)).await;
    let app = with_webhook(&server, &["advanced", "database", "generateId"], json!({})).await;
    let user = sign_up(&app, "ada").await.1.expect(200)["user"].clone();
    assert_eq!(user["id"], "id-of-the-operator");
    let body: Json = serde_json::from_slice(&server.calls.lock().unwrap()[0].1).unwrap();
    assert_eq!(body, json!({ "callback": "advanced.database.generateId", "args": [{ "model": "user" }] }));
    let server = webhook(Does::Answer(r#"{"result":"0123456789012345678901234567890123456"}"#)).await;
    let app = with_webhook(&server, &["advanced", "database", "generateId"], json!({})).await;
    sign_up(&app, "ada").await.1.expect(422);
    assert_eq!(count(&app, User::KEY).await, 0);
}

#[tokio::test]
async fn origins_are_trusted_by_a_function_and_by_none_when_it_fails() {
    let ask = |app: &TestApp, origin: &str| {
        let actor = app.actor().with_header("origin", origin);
        async move {
            let body = json!({ "email": "ada@example.com", "password": "correct horse" });
            actor.post("/sign-in/email", body).await
        }
    };
    let server = webhook(Does::Answer(r#"{"result":["https://*.friend.example"]}"#)).await;
    let app = with_webhook(&server, &["trustedOrigins"], json!({})).await;
    let reply = ask(&app, "https://a.friend.example").await;
    reply.expect(401);
    assert_eq!(reply.header("access-control-allow-origin"), "https://a.friend.example");
    ask(&app, "https://foe.example").await.refused(403, "INVALID_ORIGIN");
    let body: Json = serde_json::from_slice(&server.calls.lock().unwrap()[0].1).unwrap();
    assert_eq!((&body["callback"], &body["args"][0]["$type"]), (&json!("trustedOrigins"), &json!("Request")));
    for does in
        [Does::Nothing, Does::Answer("garbage"), Does::Answer(r#"{"result":"https://a.friend.example"}"#)]
    {
        let server = webhook(does).await;
        let app = with_webhook(&server, &["trustedOrigins"], json!({})).await;
        ask(&app, "https://a.friend.example").await.refused(403, "INVALID_ORIGIN");
        ask(&app, "http://localhost:3000").await.expect(401);
    }
}

#[tokio::test]
async fn errors_are_told_beside_the_answer_and_refusals_are_not() {
    let server = webhook(Does::Answer("{}")).await;
    // A hook whose server is not there.
    let away = json!({ "session": { "create": { "before": { "webhook": "http://127.0.0.1:9/" } } } });
    let app = with_webhook(&server, &["onAPIError", "onError"], json!({ "databaseHooks": away })).await;
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    app.actor().post("/sign-in/email", body.clone()).await.expect(401);
    app.actor().post("/sign-up/email", body).await.expect(500);
    for _ in 0..500 {
        if !server.calls.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let body: Json = serde_json::from_slice(&server.calls.lock().unwrap()[0].1).unwrap();
    assert_eq!(
        (&body["callback"], &body["args"][0]["name"], server.calls.lock().unwrap().len()),
        (&json!("onAPIError.onError"), &json!("Error"), 1)
    );
}
