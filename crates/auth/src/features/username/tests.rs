//! User names, through HTTP.

use std::collections::BTreeMap;

use portcullis_core::config::read;
use portcullis_core::error::Error;
use portcullis_core::hooks::Callback;
use portcullis_core::identity::User;
use portcullis_core::store::{Dialect, Filter, Query};
use portcullis_core::testing::databases::fresh_database;
use portcullis_core::testing::{Actor, Reply, TestApp, Told};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::{Moment, Normalization, Options, Username, ValidationOrder};
use crate::features::LIST;

const PASSWORD: &str = "correct horse";

async fn start(options: Json) -> TestApp {
    TestApp::start(LIST, json!({ "plugins": { "username": options } })).await
}

fn person(email: &str, names: Json) -> Json {
    let mut body = json!({ "name": "N", "email": format!("{email}@example.com"), "password": PASSWORD });
    for (key, value) in names.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn sign_up(app: &TestApp, email: &str, names: Json) -> (Actor, Reply) {
    let actor = app.actor();
    let reply = actor.post("/sign-up/email", person(email, names)).await;
    (actor, reply)
}

async fn sign_in(actor: &Actor, username: &str, password: &str) -> Reply {
    actor.post("/sign-in/username", json!({ "username": username, "password": password })).await
}

#[tokio::test]
async fn a_user_signs_in_with_a_name_in_any_case() {
    let app = start(json!({})).await;
    let (_, reply) = sign_up(&app, "ada", json!({ "username": "Ada_L.1" })).await;
    let user = reply.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&json!("ada_l.1"), &json!("Ada_L.1")));
    for name in ["ada_l.1", "ADA_L.1", "Ada_l.1"] {
        let actor = app.actor();
        let body = sign_in(&actor, name, PASSWORD).await.expect(200);
        assert_eq!(body["redirect"], false);
        assert_eq!(body["user"], user);
        assert!(body.get("url").is_none());
        let session = actor.get("/get-session").await.expect(200);
        assert_eq!(session["session"]["token"], body["token"]);
    }
}

#[tokio::test]
async fn a_callback_url_comes_back_with_the_location_and_must_be_trusted() {
    let app = start(json!({})).await;
    sign_up(&app, "ada", json!({ "username": "ada" })).await.1.expect(200);
    let with = |url: &str| json!({ "username": "ada", "password": PASSWORD, "callbackURL": url });
    let reply = app.actor().post("/sign-in/username", with("/ä b")).await;
    let body = reply.expect(200);
    assert_eq!((&body["redirect"], &body["url"]), (&json!(true), &json!("/ä b")));
    assert_eq!(reply.header("location"), "/%C3%A4%20b");
    let reply = app.actor().post("/sign-in/username", with("https://evil.example")).await;
    reply.refused(403, "INVALID_CALLBACK_URL");
    assert!(reply.set_cookies().is_empty());
}

#[tokio::test]
async fn remember_me_false_ends_with_the_browser() {
    let app = start(json!({})).await;
    sign_up(&app, "ada", json!({ "username": "ada" })).await.1.expect(200);
    let body = json!({ "username": "ada", "password": PASSWORD, "rememberMe": false });
    let reply = app.actor().post("/sign-in/username", body).await;
    reply.expect(200);
    let token =
        reply.set_cookies().into_iter().find(|c| c.starts_with("better-auth.session_token=")).unwrap();
    assert!(!token.contains("Max-Age"), "{token}");
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_are_not_told_apart_and_cost_a_hash_each() {
    let app = start(json!({})).await;
    sign_up(&app, "ada", json!({ "username": "ada" })).await.1.expect(200);
    let before = app.auth.passwords().computed();
    let wrong = sign_in(&app.actor(), "ada", "wrong password").await;
    let between = app.auth.passwords().computed();
    let unknown = sign_in(&app.actor(), "grace", "wrong password").await;
    let after = app.auth.passwords().computed();
    wrong.refused(401, "INVALID_USERNAME_OR_PASSWORD");
    assert_eq!((wrong.status, &wrong.text), (unknown.status, &unknown.text));
    assert_eq!((between - before, after - between), (1, 1));
    for (name, password) in [("", PASSWORD), ("ada", "")] {
        sign_in(&app.actor(), name, password).await.refused(401, "INVALID_USERNAME_OR_PASSWORD");
    }
}

#[tokio::test]
async fn the_form_of_a_name_is_400_for_new_ones_and_422_elsewhere() {
    let app = start(json!({ "minUsernameLength": 4, "maxUsernameLength": 6 })).await;
    let ada = app.user("ada").await;
    let cases =
        [("abc", "USERNAME_TOO_SHORT"), ("abcdefg", "USERNAME_TOO_LONG"), ("a b c", "INVALID_USERNAME")];
    for (name, code) in cases {
        sign_up(&app, "x", json!({ "username": name })).await.1.refused(400, code);
        ada.post("/update-user", json!({ "username": name })).await.refused(400, code);
        sign_in(&app.actor(), name, PASSWORD).await.refused(422, code);
        app.actor().post("/is-username-available", json!({ "username": name })).await.refused(422, code);
    }
    // Length is JavaScript's: this is four units of UTF-16, and not a name.
    sign_up(&app, "x", json!({ "username": "😀😀" })).await.1.refused(400, "INVALID_USERNAME");
    sign_up(&app, "x", json!({ "username": "" })).await.1.refused(400, "USERNAME_TOO_SHORT");
    app.actor()
        .post("/is-username-available", json!({ "username": "" }))
        .await
        .refused(422, "INVALID_USERNAME");
    app.actor().post("/is-username-available", json!({})).await.refused(400, "VALIDATION_ERROR");
    sign_in(&app.actor(), "abcd", &"x".repeat(129)).await.refused(400, "PASSWORD_TOO_LONG");
    assert_eq!(app.auth.db().list(User::KEY, &Query::all()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_is_available_until_somebody_has_it_in_any_case() {
    let app = start(json!({})).await;
    let ask = async |name: &str| {
        app.actor().post("/is-username-available", json!({ "username": name })).await.expect(200)["available"]
            .clone()
    };
    assert_eq!(ask("ada").await, true);
    sign_up(&app, "ada", json!({ "username": "Ada" })).await.1.expect(200);
    assert_eq!(ask("aDA").await, false);
    sign_up(&app, "eve", json!({ "username": "ADA" })).await.1.refused(400, "USERNAME_IS_ALREADY_TAKEN");
    let eve = app.user("eve").await;
    eve.post("/update-user", json!({ "username": "aDa" })).await.refused(400, "USERNAME_IS_ALREADY_TAKEN");
}

#[tokio::test]
async fn names_that_differ_in_case_are_different_without_normalization() {
    let app = start(json!({ "usernameNormalization": false })).await;
    sign_up(&app, "a", json!({ "username": "Ada" })).await.1.expect(200);
    sign_up(&app, "b", json!({ "username": "ada" })).await.1.expect(200);
    let body = sign_in(&app.actor(), "Ada", PASSWORD).await.expect(200);
    assert_eq!(body["user"]["email"], "a@example.com");
    sign_in(&app.actor(), "ADA", PASSWORD).await.refused(401, "INVALID_USERNAME_OR_PASSWORD");
}

#[tokio::test]
async fn of_fifty_sign_ups_at_once_for_one_name_one_gets_it() {
    let app = start(json!({})).await;
    let mut racers = JoinSet::new();
    for n in 0..50 {
        let actor = app.actor();
        racers.spawn(async move {
            let body = person(&format!("racer{n}"), json!({ "username": "ada" }));
            let reply = actor.post("/sign-up/email", body).await;
            (reply.status.as_u16(), reply.json["code"].as_str().unwrap_or_default().to_owned())
        });
    }
    let mut outcomes: BTreeMap<(u16, String), usize> = BTreeMap::new();
    while let Some(outcome) = racers.join_next().await {
        *outcomes.entry(outcome.unwrap()).or_default() += 1;
    }
    let taken = (400, "USERNAME_IS_ALREADY_TAKEN".to_owned());
    assert_eq!(outcomes, BTreeMap::from([((200, String::new()), 1), (taken, 49)]));
    assert_eq!(app.auth.db().list(User::KEY, &Query::all()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_constraint_decides_on_every_database() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(url) = fresh_database(dialect).await else { continue };
        let settings =
            json!({ "plugins": { "username": {} }, "database": { "url": url, "maxConnections": 8 } });
        let app = TestApp::start(LIST, settings).await;
        let mut racers = JoinSet::new();
        for n in 0..50 {
            let actor = app.actor();
            racers.spawn(async move {
                let body = person(&format!("racer{n}"), json!({ "username": "Ada" }));
                actor.post("/sign-up/email", body).await
            });
        }
        let replies = racers.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|reply| reply.status.as_u16() == 200);
        assert_eq!(won.len(), 1, "{dialect}");
        lost.iter().for_each(|reply| reply.refused(400, "USERNAME_IS_ALREADY_TAKEN"));
        assert_eq!(app.auth.db().count(User::KEY, &Filter::All).await.unwrap(), 1, "{dialect}");
        sign_in(&app.actor(), "ADA", PASSWORD).await.expect(200);
        app.auth.store().close().await;
    }
}

#[tokio::test]
async fn a_name_that_the_collation_calls_equal_is_taken_but_signs_nobody_in() {
    // MariaDB's default collation knows neither case nor accents.
    let Some(url) = fresh_database(Dialect::MySql).await else { return };
    let settings = json!({
        "plugins": { "username": { "usernameNormalization": false } },
        "database": { "url": url },
    });
    let app = TestApp::start(LIST, settings).await;
    sign_up(&app, "ada", json!({ "username": "Ada" })).await.1.expect(200);
    sign_in(&app.actor(), "ADA", PASSWORD).await.refused(401, "INVALID_USERNAME_OR_PASSWORD");
    sign_in(&app.actor(), "Ada", PASSWORD).await.expect(200);
    sign_up(&app, "eve", json!({ "username": "ADA" })).await.1.refused(400, "USERNAME_IS_ALREADY_TAKEN");
    app.auth.store().close().await;
}

#[tokio::test]
async fn of_twenty_updates_at_once_to_one_name_one_gets_it() {
    let app = start(json!({})).await;
    let mut actors = Vec::new();
    for n in 0..20 {
        actors.push(app.user(&format!("racer{n}")).await);
    }
    let mut racers = JoinSet::new();
    for actor in actors {
        racers.spawn(async move {
            let reply = actor.post("/update-user", json!({ "username": "ada" })).await;
            (reply.status.as_u16(), reply.json["code"] == "USERNAME_IS_ALREADY_TAKEN")
        });
    }
    let outcomes = racers.join_all().await;
    assert_eq!(outcomes.iter().filter(|o| **o == (200, false)).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|o| **o == (400, true)).count(), 19, "{outcomes:?}");
}

#[tokio::test]
async fn a_displayed_name_alone_becomes_the_user_name_if_it_would_do() {
    let app = start(json!({})).await;
    let user = sign_up(&app, "a", json!({ "displayUsername": "Ada_L" })).await.1.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&json!("ada_l"), &json!("Ada_L")));
    let user = sign_up(&app, "b", json!({ "displayUsername": "Ada L" })).await.1.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&Json::Null, &json!("Ada L")));
    let user = sign_up(&app, "c", json!({ "username": "grace", "displayUsername": "Grace H" })).await.1;
    let user = user.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&json!("grace"), &json!("Grace H")));
    sign_up(&app, "d", json!({ "username": "", "displayUsername": "valid" }))
        .await
        .1
        .refused(400, "USERNAME_TOO_SHORT");
    // Neither is asked for.
    sign_up(&app, "e", json!({})).await.1.expect(200);
    sign_up(&app, "f", json!({})).await.1.expect(200);
}

#[tokio::test]
async fn update_user_changes_both_names_and_ones_own_name_is_not_taken() {
    let app = start(json!({})).await;
    let (ada, reply) = sign_up(&app, "ada", json!({ "username": "ada" })).await;
    reply.expect(200);
    ada.post("/update-user", json!({ "username": "ADA" })).await.expect(200);
    ada.post("/update-user", json!({ "username": "Lovelace", "displayUsername": "Lady L" }))
        .await
        .expect(200);
    let user = ada.get("/get-session").await.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&json!("lovelace"), &json!("Lady L")));
    ada.post("/update-user", json!({ "username": "countess" })).await.expect(200);
    let user = ada.get("/get-session").await.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&json!("countess"), &json!("Lady L")));
    ada.post("/update-user", json!({ "username": null })).await.expect(200);
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["username"], Json::Null);
    ada.post("/update-user", json!({ "username": 7 })).await.refused(400, "VALIDATION_ERROR");
    app.actor().post("/update-user", json!({ "username": "x" })).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_immutable_name_can_be_set_once_and_neither_changed_nor_removed() {
    let app = start(json!({ "immutableUsername": true })).await;
    let ada = app.user("ada").await;
    ada.post("/update-user", json!({ "username": "ada" })).await.expect(200);
    ada.post("/update-user", json!({ "username": "ADA", "displayUsername": "A" })).await.expect(200);
    for name in [json!("other"), Json::Null, json!(1), json!("")] {
        let reply = ada.post("/update-user", json!({ "username": name })).await;
        assert_eq!(reply.status.as_u16(), 400, "{}", reply.text);
    }
    ada.post("/update-user", json!({ "username": "other" })).await.refused(400, "USERNAME_IS_IMMUTABLE");
    ada.post("/update-user", json!({ "username": null })).await.refused(400, "USERNAME_IS_IMMUTABLE");
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["username"], "ada");
}

#[tokio::test]
async fn without_display_names_there_is_no_such_column() {
    let app = start(json!({ "displayUsername": false })).await;
    let (ada, reply) =
        sign_up(&app, "ada", json!({ "username": "Ada", "displayUsername": "not looked at" })).await;
    let user = reply.expect(200)["user"].clone();
    assert_eq!(user["username"], "ada");
    assert!(user.get("displayUsername").is_none());
    ada.post("/update-user", json!({ "displayUsername": "x" })).await.expect(400);
}

#[tokio::test]
async fn columns_can_have_other_names_in_the_database() {
    let app = start(json!({ "schema": { "user": { "fields": { "username": "login" } } } })).await;
    let table = app.auth.table("user");
    assert_eq!(table.column("username").unwrap().name, "login");
    sign_up(&app, "ada", json!({ "username": "ada" })).await.1.expect(200);
    sign_in(&app.actor(), "ada", PASSWORD).await.expect(200);
    sign_up(&app, "eve", json!({ "username": "ada" })).await.1.refused(400, "USERNAME_IS_ALREADY_TAKEN");
}

fn function(told: &Told, f: impl Fn(&str) -> Json + Send + Sync + 'static) -> Callback {
    let (note, f) = (told.callback(), std::sync::Arc::new(f));
    Callback::native(move |name, args| {
        let (note, f, name) = (note.clone(), f.clone(), name.to_owned());
        async move {
            let Callback::Native(note) = note else { return Err(Error::broken("not native")) };
            note(&name, args.clone()).await?;
            Ok(f(args[0].as_str().unwrap()))
        }
    })
}

#[tokio::test]
async fn the_operators_functions_decide_and_are_called_by_their_option_names() {
    let told = Told::default();
    let options = Options {
        username_validator: Some(function(&told, |name| json!(name.starts_with("u_")))),
        display_username_validator: Some(function(&told, |name| json!(!name.contains('!')))),
        username_normalization: Some(Normalization::By(function(&told, |name| {
            json!(name.replace(' ', "_").to_lowercase())
        }))),
        display_username_normalization: Some(Normalization::By(function(&told, |name| json!(name.trim())))),
        validation_order: ValidationOrder {
            username: Some(Moment::PostNormalization),
            display_username: None,
        },
        ..Options::default()
    };
    let app = TestApp::with_feature(LIST, json!({}), Username::new(options)).await;
    let user = sign_up(&app, "a", json!({ "username": "U Ada", "displayUsername": " Ada " })).await.1;
    let user = user.expect(200)["user"].clone();
    assert_eq!((&user["username"], &user["displayUsername"]), (&json!("u_ada"), &json!("Ada")));
    sign_up(&app, "b", json!({ "username": "ada" })).await.1.refused(400, "INVALID_USERNAME");
    sign_up(&app, "b", json!({ "username": "u_b", "displayUsername": "B!" }))
        .await
        .1
        .refused(400, "INVALID_DISPLAY_USERNAME");
    // The displayed name that is only taken from the user name is not asked about.
    sign_up(&app, "c", json!({ "username": "u_c" })).await.1.expect(200);
    let names: std::collections::BTreeSet<String> = told.all().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "plugins.username.displayUsernameNormalization",
        "plugins.username.displayUsernameValidator",
        "plugins.username.usernameNormalization",
        "plugins.username.usernameValidator",
    ];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_function_that_fails_or_answers_nonsense_is_a_500_and_makes_no_user() {
    let broken = Callback::native(|_, _| async { Err(Error::broken("the webhook is away")) });
    let nonsense = Callback::native(|_, _| async { Ok(json!(7)) });
    let both = [
        Options { username_validator: Some(broken), ..Options::default() },
        Options { username_normalization: Some(Normalization::By(nonsense)), ..Options::default() },
    ];
    for options in both {
        let app = TestApp::with_feature(LIST, json!({}), Username::new(options)).await;
        sign_up(&app, "ada", json!({ "username": "ada" })).await.1.expect(500);
        sign_in(&app.actor(), "ada", PASSWORD).await.expect(500);
        assert!(app.auth.db().list(User::KEY, &Query::all()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_unproven_address_is_told_only_after_the_right_password_and_mailed_once() {
    let told = Told::default();
    let callback = told.callback();
    let app = TestApp::start_with(
        LIST,
        json!({
            "plugins": { "username": {} },
            "emailAndPassword": { "requireEmailVerification": true },
            "emailVerification": { "sendOnSignUp": false, "sendOnSignIn": true },
        }),
        move |mut settings| {
            settings.email_verification.send_verification_email = Some(callback);
            settings
        },
        None,
    )
    .await;
    sign_up(&app, "ada", json!({ "username": "ada" })).await.1.expect(200);
    sign_in(&app.actor(), "ada", "wrong password").await.refused(401, "INVALID_USERNAME_OR_PASSWORD");
    assert!(told.all().is_empty());
    let body = json!({ "username": "ada", "password": PASSWORD, "callbackURL": "/a?b=c&d" });
    let reply = app.actor().post("/sign-in/username", body).await;
    reply.refused(403, "EMAIL_NOT_VERIFIED");
    assert!(reply.set_cookies().is_empty());
    let (name, args) = told.last();
    assert_eq!(name, "emailVerification.sendVerificationEmail");
    let url = args[0]["url"].as_str().unwrap();
    assert!(url.starts_with("http://localhost:3000/api/auth/verify-email?token=ey"), "{url}");
    assert!(url.ends_with("&callbackURL=%2Fa%3Fb%3Dc%26d"), "{url}");
    assert_eq!(told.all().len(), 1);
}

#[tokio::test]
async fn options_that_do_not_exist_or_contradict_each_other_do_not_start() {
    let wrong = |options: Json| {
        let settings = read("", json!({})).unwrap();
        let made = super::make(options, &settings);
        made.err().map(|error| error.to_string())
    };
    assert_eq!(
        wrong(json!({ "minUserNameLength": 3 })).unwrap(),
        "plugins.username.minUserNameLength: unknown option; did you mean `minUsernameLength`?"
    );
    assert!(
        wrong(json!({ "usernameNormalization": true })).unwrap().contains("must be `false` or a webhook")
    );
    assert!(wrong(json!({ "validationOrder": { "username": "later" } })).is_some());
    assert!(wrong(json!({ "minUsernameLength": 0 })).is_none());
    assert!(super::Options { min_username_length: Some(31), ..Options::default() }.check().is_err());
}
