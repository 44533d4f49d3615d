//! Anonymous users, through HTTP.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::config::{Settings, read};
use portcullis_core::crypto::{Secret, encode_uri_component, sign_value};
use portcullis_core::error::{Code, Error};
use portcullis_core::hooks::Callback;
use portcullis_core::identity::{Account, Session, User};
use portcullis_core::store::{Query, Row};
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::{Anonymous, Options};
use crate::features::LIST;

const PASSWORD: &str = "correct horse";

async fn start(options: Json) -> TestApp {
    TestApp::start(LIST, json!({ "plugins": { "anonymous": options } })).await
}

async fn start_with(options: Options) -> TestApp {
    TestApp::with_feature(LIST, json!({}), Anonymous::new(options)).await
}

/// An app whose operator hears of links.
async fn listening() -> (TestApp, Told) {
    let told = Told::default();
    let app = start_with(Options { on_link_account: Some(told.callback()), ..Options::default() }).await;
    (app, told)
}

/// Somebody with an anonymous session, and their id.
async fn guest(app: &TestApp) -> (Actor, String) {
    let guest = app.actor();
    let body = guest.post("/sign-in/anonymous", json!({})).await.expect(200);
    (guest, body["user"]["id"].as_str().unwrap().to_owned())
}

async fn sign_in(actor: &Actor, name: &str) -> Reply {
    let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
    actor.post("/sign-in/email", body).await
}

async fn sign_up(actor: &Actor, name: &str) -> Reply {
    let body = json!({ "name": name, "email": format!("{name}@example.com"), "password": PASSWORD });
    actor.post("/sign-up/email", body).await
}

async fn exists(app: &TestApp, user: &str) -> bool {
    User::by_id(&mut app.auth.db(), user).await.unwrap().is_some()
}

async fn rows(app: &TestApp, table: &str) -> usize {
    app.auth.db().list(table, &Query::all()).await.unwrap().len()
}

async fn email(actor: &Actor) -> String {
    actor.get("/get-session").await.expect(200)["user"]["email"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_visitor_gets_a_user_and_a_session() {
    let app = start(json!({})).await;
    let visitor = app.actor();
    let body = visitor.post_empty("/sign-in/anonymous").await.expect(200);
    let user = &body["user"];
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert_eq!((&user["isAnonymous"], &user["emailVerified"]), (&json!(true), &json!(false)));
    assert_eq!((&user["name"], &user["image"]), (&json!("Anonymous"), &Json::Null));
    let (id, domain) = user["email"].as_str().unwrap().split_once('@').unwrap();
    assert_eq!(domain, "anonymous.placeholder.invalid");
    assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()), "{id}");
    let session = visitor.get("/get-session").await.expect(200);
    assert_eq!((&session["session"]["token"], &session["user"]), (&body["token"], user));
    assert_eq!(rows(&app, Account::KEY).await, 0);
}

#[tokio::test]
async fn other_users_are_not_anonymous_and_no_client_can_say_otherwise() {
    let app = start(json!({})).await;
    let ada = app.actor();
    let body =
        json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD, "isAnonymous": true });
    let user = ada.post("/sign-up/email", body).await.expect(200)["user"].clone();
    assert_eq!(user["isAnonymous"], false);
    ada.post("/update-user", json!({ "isAnonymous": true })).await.refused(400, "FIELD_NOT_ALLOWED");
    let (guest, id) = guest(&app).await;
    guest.post("/update-user", json!({ "name": "Visitor", "isAnonymous": false })).await.expect(200);
    let user = guest.get("/get-session").await.expect(200)["user"].clone();
    assert_eq!(
        (&user["id"], &user["name"], &user["isAnonymous"]),
        (&json!(id), &json!("Visitor"), &json!(true))
    );
}

#[tokio::test]
async fn an_anonymous_user_does_not_become_another_one() {
    let app = start(json!({})).await;
    let (guest, id) = guest(&app).await;
    let reply = guest.post("/sign-in/anonymous", json!({})).await;
    reply.refused(400, "ANONYMOUS_USERS_CANNOT_SIGN_IN_AGAIN_ANONYMOUSLY");
    assert_eq!((rows(&app, User::KEY).await, exists(&app, &id).await), (1, true));
}

#[tokio::test]
async fn nobody_was_asked_whether_to_remember_an_anonymous_user_so_the_browser_s_last_word_stands() {
    let app = start(json!({})).await;
    let ada = app.actor();
    sign_up(&ada, "ada").await.expect(200);
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "rememberMe": false });
    ada.post("/sign-in/email", body).await.expect(200);
    let reply = ada.post("/sign-in/anonymous", json!({})).await;
    insta::assert_snapshot!(reply.cookie_shapes(), @r"
    better-auth.session_token=[token].[signature]; Path=/; HttpOnly; SameSite=Lax
    better-auth.dont_remember=true.[signature]; Path=/; HttpOnly; SameSite=Lax
    ");
}

#[tokio::test]
async fn a_real_user_may_go_on_anonymously_and_stays() {
    let (app, told) = listening().await;
    let ada = app.user("ada").await;
    app.advance(1);
    ada.post("/sign-in/anonymous", json!({})).await.expect(200);
    assert!(email(&ada).await.ends_with("@anonymous.placeholder.invalid"));
    assert_eq!(rows(&app, User::KEY).await, 2);
    assert!(told.all().is_empty());
}

#[tokio::test]
async fn a_deleted_anonymous_user_with_a_living_cookie_cache_may_come_again() {
    let settings = json!({
        "plugins": { "anonymous": {} },
        "session": { "cookieCache": { "enabled": true, "maxAge": 300 } },
    });
    let app = TestApp::start(LIST, settings).await;
    let (guest, first) = guest(&app).await;
    let other_tab = guest.copy();
    guest.post("/delete-anonymous-user", json!({})).await.expect(200);
    let second = other_tab.post("/sign-in/anonymous", json!({})).await.expect(200);
    assert_ne!(second["user"]["id"], json!(first));
    assert_eq!(other_tab.get("/get-session").await.expect(200)["user"], second["user"]);
}

#[tokio::test]
async fn signing_in_tells_the_operator_and_deletes_the_anonymous_user() {
    let (app, told) = listening().await;
    app.user("ada").await;
    app.advance(1);
    let (guest, id) = guest(&app).await;
    let anonymous = guest.get("/get-session").await.expect(200);
    app.advance(1);
    let signed_in = sign_in(&guest, "ada").await.expect(200);
    let (name, args) = told.last();
    assert_eq!((name.as_str(), args.len(), told.all().len()), ("plugins.anonymous.onLinkAccount", 1, 1));
    assert_eq!(args[0]["anonymousUser"], anonymous);
    assert_eq!(args[0]["newUser"]["user"], signed_in["user"]);
    assert_eq!(args[0]["newUser"]["session"]["token"], signed_in["token"]);
    assert_eq!(args[0]["ctx"]["path"], "/sign-in/email");
    assert!(!args[0]["ctx"].to_string().contains(PASSWORD));
    assert!(!exists(&app, &id).await);
    // Ada's first session and the new one; the anonymous one went with its user.
    assert_eq!((rows(&app, User::KEY).await, rows(&app, Session::KEY).await), (1, 2));
    assert_eq!(email(&guest).await, "ada@example.com");
}

#[tokio::test]
async fn the_operator_is_told_of_a_sign_up_when_the_new_user_is_there_to_be_seen_and_written_to() {
    let (told, shared) = (Told::default(), Arc::new(OnceLock::<Auth>::new()));
    let (note, there) = (told.callback(), Arc::clone(&shared));
    let callback = Callback::native(move |name, args| {
        let (note, there, name) = (note.clone(), Arc::clone(&there), name.to_owned());
        async move {
            let auth = there.get().unwrap();
            let id = |who: &str| args[0][who]["user"]["id"].as_str().unwrap().to_owned();
            // As an application does that keeps its rows beside ours.
            for who in ["anonymousUser", "newUser"] {
                let changed =
                    User::update(auth, &mut auth.db(), &id(who), Row::new().with("image", "moved")).await?;
                assert!(changed.is_some(), "{who}");
            }
            let Callback::Native(note) = note else { return Err(Error::broken("not native")) };
            note(&name, args.clone()).await
        }
    });
    // In memory there is one connection, which an open transaction would hold.
    let app = start_with(Options { on_link_account: Some(callback), ..Options::default() }).await;
    assert!(shared.set(app.auth.clone()).is_ok());
    let (guest, id) = guest(&app).await;
    app.advance(1);
    sign_up(&guest, "ada").await.expect(200);
    assert_eq!(told.all().len(), 1);
    assert!(!exists(&app, &id).await);
    assert_eq!(guest.get("/get-session").await.expect(200)["user"]["image"], "moved");
}

#[tokio::test]
async fn a_username_signs_the_anonymous_user_away_too() {
    let told = Told::default();
    let options = Options { on_link_account: Some(told.callback()), ..Options::default() };
    let settings = json!({ "plugins": { "username": {} } });
    let app = TestApp::with_feature(LIST, settings, Anonymous::new(options)).await;
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD, "username": "ada" });
    app.actor().post("/sign-up/email", body).await.expect(200);
    let (guest, id) = guest(&app).await;
    guest.post("/sign-in/username", json!({ "username": "ada", "password": PASSWORD })).await.expect(200);
    assert_eq!((told.all().len(), exists(&app, &id).await), (1, false));
}

#[tokio::test]
async fn with_deletion_disabled_anonymous_users_stay_and_the_operator_is_told() {
    let told = Told::default();
    let options = Options {
        on_link_account: Some(told.callback()),
        disable_delete_anonymous_user: true,
        ..Options::default()
    };
    let app = start_with(options).await;
    app.user("ada").await;
    let (guest, id) = guest(&app).await;
    guest.post("/delete-anonymous-user", json!({})).await.refused(400, "DELETE_ANONYMOUS_USER_DISABLED");
    app.advance(1);
    sign_in(&guest, "ada").await.expect(200);
    assert_eq!((told.all().len(), exists(&app, &id).await), (1, true));
}

#[tokio::test]
async fn an_anonymous_user_deletes_themselves_with_everything() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let (guest, id) = guest(&app).await;
    let thief = guest.copy();
    let reply = guest.post("/delete-anonymous-user", json!({})).await;
    assert_eq!(reply.expect(200), json!({ "success": true }));
    assert!(guest.cookies().is_empty(), "{:?}", guest.cookies());
    assert!(!exists(&app, &id).await);
    assert_eq!((rows(&app, User::KEY).await, rows(&app, Session::KEY).await), (1, 1));
    thief.post("/delete-anonymous-user", json!({})).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn real_users_and_strangers_delete_nobody() {
    let app = start(json!({})).await;
    let ada = app.user("ada").await;
    let (_, id) = guest(&app).await;
    let naming = json!({ "userId": id, "id": id });
    ada.post("/delete-anonymous-user", naming.clone()).await.refused(403, "USER_IS_NOT_ANONYMOUS");
    app.actor().post("/delete-anonymous-user", naming).await.refused(401, "UNAUTHORIZED");
    assert_eq!(rows(&app, User::KEY).await, 2);
}

#[tokio::test]
async fn addresses_and_names_are_the_operators() {
    let app = start(json!({ "emailDomainName": "guests.example.com" })).await;
    let (visitor, _) = guest(&app).await;
    let address = email(&visitor).await;
    assert!(address.starts_with("temp-") && address.ends_with("@guests.example.com"), "{address}");
    assert_eq!(address.len(), 5 + 32 + 1 + 18);

    let (emails, names) = (Told::default(), Told::default());
    let app = start_with(Options {
        email_domain_name: Some("guests.example.com".into()),
        generate_random_email: Some(emails.answering(json!("Custom@Example.com"))),
        generate_name: Some(names.answering(json!("Guest 1"))),
        ..Options::default()
    })
    .await;
    let user = app.actor().post("/sign-in/anonymous", json!({})).await.expect(200)["user"].clone();
    assert_eq!((&user["email"], &user["name"]), (&json!("custom@example.com"), &json!("Guest 1")));
    assert_eq!(emails.last(), ("plugins.anonymous.generateRandomEmail".into(), vec![]));
    let (name, args) = names.last();
    assert_eq!(
        (name.as_str(), &args[0]["path"]),
        ("plugins.anonymous.generateName", &json!("/sign-in/anonymous"))
    );
    // The same address again.
    let again = app.actor().post("/sign-in/anonymous", json!({})).await;
    again.refused(500, "FAILED_TO_CREATE_USER");
    assert!(again.set_cookies().is_empty());
}

#[tokio::test]
async fn functions_that_answer_nothing_mean_the_default_and_nonsense_makes_no_user() {
    for nothing in [Json::Null, json!("")] {
        let told = Told::default();
        let app = start_with(Options {
            generate_random_email: Some(told.answering(nothing.clone())),
            generate_name: Some(told.answering(nothing)),
            ..Options::default()
        })
        .await;
        let user = app.actor().post("/sign-in/anonymous", json!({})).await.expect(200)["user"].clone();
        assert_eq!(user["name"], "Anonymous");
        assert_eq!(told.all().len(), 2);
    }
    for wrong in [json!("not-an-email"), json!(7), json!({})] {
        let answering = Some(Told::default().answering(wrong));
        let app = start_with(Options { generate_random_email: answering, ..Options::default() }).await;
        app.actor().post("/sign-in/anonymous", json!({})).await.refused(400, "INVALID_EMAIL_FORMAT");
        assert_eq!(rows(&app, User::KEY).await, 0);
    }
    let answering = Some(Told::default().answering(json!(7)));
    let app = start_with(Options { generate_name: answering, ..Options::default() }).await;
    app.actor().post("/sign-in/anonymous", json!({})).await.expect(500);
    assert_eq!(rows(&app, User::KEY).await, 0);
}

#[tokio::test]
async fn the_operator_may_refuse_anonymous_users() {
    let told = Told::default();
    let callback = told.answering(json!({ "error": "anonymous_blocked", "errorDescription": "No guests" }));
    let change = move |mut settings: Settings| {
        settings.user.validate_user_info = Some(callback);
        settings
    };
    let app = TestApp::start_with(LIST, json!({ "plugins": { "anonymous": {} } }), change, None).await;
    let reply = app.actor().post("/sign-in/anonymous", json!({})).await;
    reply.refused(403, "anonymous_blocked");
    let (_, args) = told.last();
    assert_eq!(args[0]["source"], json!({ "method": "anonymous", "action": "create-user" }));
    assert_eq!((args[0]["user"]["isAnonymous"].clone(), rows(&app, User::KEY).await), (json!(true), 0));
}

#[tokio::test]
async fn the_column_can_have_another_name_in_the_database() {
    let app = start(
        json!({ "schema": { "user": { "modelName": "people", "fields": { "isAnonymous": "is_anon" } } } }),
    )
    .await;
    let table = app.auth.table("user");
    assert_eq!(
        (table.name.as_str(), table.column("isAnonymous").unwrap().name.as_str()),
        ("people", "is_anon")
    );
    app.user("ada").await;
    let (guest, id) = guest(&app).await;
    assert_eq!(guest.get("/get-session").await.expect(200)["user"]["isAnonymous"], true);
    app.advance(1);
    sign_in(&guest, "ada").await.expect(200);
    assert!(!exists(&app, &id).await);
}

#[tokio::test]
async fn options_that_do_not_exist_do_not_start() {
    let settings = read("", json!({})).unwrap();
    for (options, key) in [
        (json!({ "emailDomain": "x" }), "plugins.anonymous.emailDomain"),
        (
            json!({ "schema": { "user": { "fields": { "anonymous": "x" } } } }),
            "plugins.anonymous.schema.user.fields.anonymous",
        ),
    ] {
        let error = super::make(options, &settings).err().unwrap().to_string();
        assert!(error.starts_with(key), "{error}");
    }
}

// What must never happen.

#[tokio::test]
async fn a_refresh_of_the_own_session_and_a_change_of_oneself_are_no_sign_in() {
    let (app, told) = listening().await;
    let (guest, id) = guest(&app).await;
    app.advance(2 * 86_400);
    let reply = guest.get("/get-session").await;
    reply.expect(200);
    assert_eq!(reply.set_cookies().len(), 1, "extended");
    guest.post("/update-user", json!({ "name": "Visitor" })).await.expect(200);
    assert!(exists(&app, &id).await);
    assert!(told.all().is_empty());
}

#[tokio::test]
async fn a_failed_sign_in_or_sign_up_leaves_the_anonymous_user() {
    let (app, told) = listening().await;
    app.user("ada").await;
    let (guest, id) = guest(&app).await;
    let wrong = json!({ "email": "ada@example.com", "password": "wrong horse" });
    guest.post("/sign-in/email", wrong).await.refused(401, "INVALID_EMAIL_OR_PASSWORD");
    sign_up(&guest, "ada").await.refused(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
    assert!(exists(&app, &id).await && told.all().is_empty());
    assert!(email(&guest).await.ends_with(".invalid"));
}

#[tokio::test]
async fn nobody_is_deleted_by_a_cookie_that_is_not_signed_by_us_or_no_longer_good() {
    let (app, told) = listening().await;
    app.user("ada").await;
    let (victim, id) = guest(&app).await;
    let session = victim.get("/get-session").await.expect(200);
    let token = session["session"]["token"].as_str().unwrap();
    let forged = encode_uri_component(&sign_value(&Secret::from("another-secret-of-32-characters!"), token));
    for value in [token.to_owned(), forged] {
        let attacker = app.actor();
        attacker.set_cookie("better-auth.session_token", &value);
        sign_in(&attacker, "ada").await.expect(200);
        assert!(exists(&app, &id).await);
    }
    // What a client says besides is not looked at.
    let naming =
        json!({ "email": "ada@example.com", "password": PASSWORD, "anonymousUserId": id, "userId": id });
    app.actor().post("/sign-in/email", naming).await.expect(200);
    assert!(exists(&app, &id).await);
    // An expired session says nothing about who is asking.
    app.advance(8 * 86_400);
    sign_in(&victim, "ada").await.expect(200);
    assert!(exists(&app, &id).await && told.all().is_empty());
}

#[tokio::test]
async fn the_user_of_a_real_session_is_never_deleted() {
    let (app, told) = listening().await;
    app.user("grace").await;
    let ada = app.user("ada").await;
    app.advance(1);
    sign_in(&ada, "grace").await.expect(200);
    sign_in(&ada, "ada").await.expect(200);
    assert_eq!(rows(&app, User::KEY).await, 2);
    assert!(told.all().is_empty());
}

#[tokio::test]
async fn other_anonymous_users_stay() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let (_, other) = guest(&app).await;
    let (guest, own) = guest(&app).await;
    sign_in(&guest, "ada").await.expect(200);
    assert_eq!((exists(&app, &other).await, exists(&app, &own).await), (true, false));
}

#[tokio::test]
async fn somebody_who_has_become_real_in_the_meantime_is_not_deleted() {
    // The webhook stands for anything that happens between the look and the deletion.
    let shared = Arc::new(OnceLock::<Auth>::new());
    let there = Arc::clone(&shared);
    let callback = Callback::native(move |_, args| {
        let there = Arc::clone(&there);
        async move {
            let auth = there.get().unwrap();
            let id = args[0]["anonymousUser"]["user"]["id"].as_str().unwrap();
            User::update(auth, &mut auth.db(), id, Row::new().with("isAnonymous", false)).await?;
            Ok(Json::Null)
        }
    });
    let app = start_with(Options { on_link_account: Some(callback), ..Options::default() }).await;
    assert!(shared.set(app.auth.clone()).is_ok());
    app.user("ada").await;
    let (guest, id) = guest(&app).await;
    let other_tab = guest.copy();
    sign_in(&guest, "ada").await.expect(200);
    assert!(exists(&app, &id).await);
    assert_eq!(other_tab.get("/get-session").await.expect(200)["user"]["id"], json!(id));
}

#[tokio::test]
async fn switching_between_the_sessions_of_a_device_is_no_sign_in() {
    let told = Told::default();
    let options = Options { on_link_account: Some(told.callback()), ..Options::default() };
    let settings = json!({ "plugins": { "multiSession": {} } });
    let app = TestApp::with_feature(LIST, settings, Anonymous::new(options)).await;
    let device = app.user("ada").await;
    let ada = device.get("/get-session").await.expect(200)["session"]["token"].clone();
    app.advance(1);
    let body = device.post("/sign-in/anonymous", json!({})).await.expect(200);
    let id = body["user"]["id"].as_str().unwrap();
    app.advance(1);
    device.post("/multi-session/set-active", json!({ "sessionToken": ada })).await.expect(200);
    assert_eq!(email(&device).await, "ada@example.com");
    assert!(exists(&app, id).await && told.all().is_empty());
    device.post("/multi-session/set-active", json!({ "sessionToken": body["token"] })).await.expect(200);
    device.post("/multi-session/revoke", json!({ "sessionToken": body["token"] })).await.expect(200);
    assert_eq!(email(&device).await, "ada@example.com");
    assert!(exists(&app, id).await && told.all().is_empty());
}

#[tokio::test]
async fn while_a_second_factor_is_outstanding_nothing_happens() {
    let told = Told::default();
    let options = Options { on_link_account: Some(told.callback()), ..Options::default() };
    let settings = json!({ "plugins": { "twoFactor": { "skipVerificationOnEnable": true } } });
    let app = TestApp::with_feature(LIST, settings, Anonymous::new(options)).await;
    let ada = app.user("ada").await;
    let enabled = ada.post("/two-factor/enable", json!({ "password": PASSWORD })).await.expect(200);
    let (guest, id) = guest(&app).await;
    app.advance(1);
    let half = sign_in(&guest, "ada").await.expect(200);
    assert_eq!(half["twoFactorRedirect"], true);
    assert!(exists(&app, &id).await && told.all().is_empty());
    // The challenge takes the anonymous session from the browser, so nobody is left to be linked.
    assert!(guest.cookie("better-auth.session_token").is_none());
    let code = json!({ "code": enabled["backupCodes"][0] });
    guest.post("/two-factor/verify-backup-code", code).await.expect(200);
    assert!(exists(&app, &id).await && told.all().is_empty());
    assert_eq!(email(&guest).await, "ada@example.com");
}

#[tokio::test]
async fn an_operators_refusal_is_the_answer_and_a_failure_a_500_and_the_anonymous_user_stays() {
    let refusal = || async { Err(Code::new(403, "NO_LINKS", "Not now").at(StatusCode::FORBIDDEN).into()) };
    let refusing = Callback::native(move |_, _| refusal());
    let failing = Callback::native(|_, _| async { Err(Error::broken("the webhook is away")) });
    let app = start_with(Options { on_link_account: Some(refusing), ..Options::default() }).await;
    app.user("ada").await;
    let (visitor, id) = guest(&app).await;
    app.advance(1);
    sign_in(&visitor, "ada").await.refused(403, "NO_LINKS");
    assert!(exists(&app, &id).await);
    assert_eq!(email(&visitor).await, "ada@example.com");
    let (visitor, id) = guest(&app).await;
    sign_up(&visitor, "grace").await.refused(403, "NO_LINKS");
    assert!(exists(&app, &id).await);
    assert_eq!(email(&visitor).await, "grace@example.com");

    let app = start_with(Options { on_link_account: Some(failing), ..Options::default() }).await;
    app.user("ada").await;
    let (visitor, id) = guest(&app).await;
    app.advance(1);
    let reply = sign_in(&visitor, "ada").await;
    reply.expect(500);
    assert!(reply.set_cookies().is_empty() && exists(&app, &id).await);
    assert!(email(&visitor).await.ends_with(".invalid"));
}

#[tokio::test]
async fn of_many_sign_ins_at_once_all_succeed_and_the_anonymous_user_goes_once() {
    let app = start(json!({})).await;
    app.user("ada").await;
    let (guest, id) = guest(&app).await;
    let guest_again = guest.copy();
    app.advance(1);
    let mut tries = JoinSet::new();
    for _ in 0..50 {
        let tab = guest_again.copy();
        tries.spawn(async move {
            let token = sign_in(&tab, "ada").await.expect(200)["token"].as_str().unwrap().to_owned();
            assert_eq!(email(&tab).await, "ada@example.com");
            token
        });
    }
    let tokens: HashSet<String> = tries.join_all().await.into_iter().collect();
    assert_eq!(tokens.len(), 50);
    assert!(!exists(&app, &id).await);
    assert_eq!((rows(&app, User::KEY).await, rows(&app, Session::KEY).await), (1, 51));
    assert_eq!(guest.get("/get-session").await.expect(200), Json::Null);
}
