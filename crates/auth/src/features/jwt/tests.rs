//! Tokens and keys, through HTTP.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portcullis_core::auth::Auth;
use portcullis_core::config::{Config, Environment, Settings, read};
use portcullis_core::crypto::{
    Algorithm, KeyPair, Secret, Secrets, base64url, hmac_sha256, peek, sign_hs256, verify_jwt,
};
use portcullis_core::error::{Code, Error};
use portcullis_core::hooks::Callback;
use portcullis_core::http::Request;
use portcullis_core::identity::{CacheSigner, SessionUser, User};
use portcullis_core::store::{Filter, Row, Schema};
use portcullis_core::testing::{Actor, TestApp, Told};
use serde_json::{Map, Value as Json, json};

use super::{DefinePayload, Jwk, Jwt, Payload};
use crate::features::LIST;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn app(options: Json) -> TestApp {
    TestApp::start(LIST, json!({ "secret": SECRET, "plugins": { "jwt": options } })).await
}

/// An app whose room the test holds, so that options may be closures and the room may be asked.
async fn app_with(jwt: &Jwt, settings: Json) -> TestApp {
    TestApp::with_feature(LIST, settings, jwt.clone()).await
}

fn map(value: Json) -> Map<String, Json> {
    value.as_object().unwrap().clone()
}

async fn token(actor: &Actor) -> String {
    actor.get("/token").await.expect(200)["token"].as_str().unwrap().to_owned()
}

async fn rows(app: &TestApp) -> Vec<Jwk> {
    let rows = app.auth.db().list(Jwk::KEY, &Filter::All.into()).await.unwrap();
    rows.into_iter().map(|row| Jwk::from_row(row).unwrap()).collect()
}

fn kid(token: &str) -> String {
    peek(token).unwrap().0["kid"].as_str().unwrap().to_owned()
}

/// The claims, verified as another service does: with the published key of the token's `kid`.
async fn verified(app: &TestApp, path: &str, token: &str) -> Option<Map<String, Json>> {
    let jwks = app.actor().get(path).await.expect(200);
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid(token))?.clone();
    let alg: Algorithm = key["alg"].as_str().unwrap().parse().unwrap();
    verify_jwt(alg, &map(key), token)
}

#[tokio::test]
async fn a_token_says_who_the_user_is_in_better_auths_order() {
    let app = app(json!({})).await;
    let ada = app.user("ada").await;
    let token = token(&ada).await;
    let claims = verified(&app, "/jwks", &token).await.unwrap();
    assert_eq!(
        claims.keys().collect::<Vec<_>>(),
        [
            "iat",
            "id",
            "name",
            "email",
            "emailVerified",
            "image",
            "createdAt",
            "updatedAt",
            "sub",
            "exp",
            "iss",
            "aud"
        ]
    );
    assert_eq!(claims["sub"], claims["id"]);
    assert_eq!(claims["iss"], "http://localhost:3000");
    assert_eq!(claims["aud"], "http://localhost:3000");
    assert_eq!(claims["exp"], claims["iat"].as_i64().unwrap() + 900);
    let (header, _) = peek(&token).unwrap();
    assert_eq!(header.keys().collect::<Vec<_>>(), ["alg", "kid"]);
}

#[tokio::test]
async fn without_a_session_there_is_no_token_and_no_header() {
    let app = app(json!({})).await;
    app.actor().get("/token").await.refused(401, "UNAUTHORIZED");
    let reply = app.actor().get("/get-session").await;
    assert_eq!(reply.expect(200), Json::Null);
    assert_eq!(reply.header("set-auth-jwt"), "");
    assert!(rows(&app).await.is_empty());
}

#[tokio::test]
async fn get_session_carries_a_token_that_pages_may_read() {
    let app = app(json!({})).await;
    let ada = app.user("ada").await;
    let reply = ada.get("/get-session").await;
    reply.expect(200);
    assert!(verified(&app, "/jwks", reply.header("set-auth-jwt")).await.is_some());
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-jwt");
    assert_eq!(reply.header("cache-control"), "no-store");

    let quiet =
        TestApp::start(LIST, json!({ "plugins": { "jwt": { "disableSettingJwtHeader": true } } })).await;
    let reply = quiet.user("ada").await.get("/get-session").await;
    assert_eq!(reply.header("set-auth-jwt"), "");
    assert_eq!(reply.header("access-control-expose-headers"), "");
}

#[tokio::test]
async fn fields_that_answers_do_not_show_are_in_no_token() {
    let fields = json!({ "note": { "type": "string", "required": false, "returned": false } });
    let settings = json!({ "user": { "additionalFields": fields }, "plugins": { "jwt": {} } });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.actor();
    let body = json!({ "name": "a", "email": "a@b.co", "password": "correct horse", "note": "hidden" });
    ada.post("/sign-up/email", body).await.expect(200);
    let user = app.auth.db().find("user", &Filter::All).await.unwrap().unwrap();
    assert_eq!(user.text("note"), Some("hidden"));
    let session = ada.get("/get-session").await;
    for token in [session.header("set-auth-jwt").to_owned(), token(&ada).await] {
        let claims = verified(&app, "/jwks", &token).await.unwrap();
        assert_eq!(claims["email"], "a@b.co");
        assert!(!claims.contains_key("note"));
    }
}

#[tokio::test]
async fn when_every_key_is_past_its_grace_none_is_published_until_one_is_needed() {
    let app = app(json!({ "jwks": { "rotationInterval": 10, "gracePeriod": 10 } })).await;
    app.actor().get("/jwks").await.expect(200);
    app.advance(21);
    assert_eq!(app.actor().get("/jwks").await.expect(200), json!({ "keys": [] }));
    assert_eq!(rows(&app).await.len(), 1);
    let ada = app.user("ada").await;
    assert!(verified(&app, "/jwks", &token(&ada).await).await.is_some());
}

#[tokio::test]
async fn the_published_keys_have_better_auths_shape_and_no_private_member() {
    for (alg, members) in [
        ("EdDSA", vec!["alg", "crv", "x", "kty", "kid"]),
        ("ES256", vec!["alg", "crv", "kty", "x", "y", "kid"]),
        ("ES512", vec!["alg", "crv", "kty", "x", "y", "kid"]),
        ("PS256", vec!["alg", "kty", "n", "e", "kid"]),
        ("RS256", vec!["alg", "kty", "n", "e", "kid"]),
    ] {
        let app = app(json!({ "jwks": { "keyPairConfig": { "alg": alg } } })).await;
        let reply = app.actor().get("/jwks").await;
        let keys = reply.expect(200)["keys"].clone();
        assert_eq!(keys.as_array().unwrap().len(), 1);
        assert_eq!(map(keys[0].clone()).keys().collect::<Vec<_>>(), members, "{alg}");
        assert_eq!(keys[0]["alg"], alg);
        assert_eq!(reply.header("cache-control"), "");
        let ada = app.user("ada").await;
        assert!(verified(&app, "/jwks", &token(&ada).await).await.is_some(), "{alg}");
        assert_eq!(rows(&app).await.len(), 1);
    }
}

#[tokio::test]
async fn the_path_of_the_keys_is_configurable_and_a_remote_url_hides_them() {
    let app = app(json!({ "jwks": { "jwksPath": "/.well-known/jwks.json" } })).await;
    let ada = app.user("ada").await;
    assert!(verified(&app, "/.well-known/jwks.json", &token(&ada).await).await.is_some());
    app.actor().get("/jwks").await.expect(404);

    let remote = json!({ "jwks": { "remoteUrl": "https://x.test/k", "keyPairConfig": { "alg": "ES256" } } });
    let app = TestApp::start(LIST, json!({ "plugins": { "jwt": remote } })).await;
    let reply = app.actor().get("/jwks").await;
    reply.expect(404);
    assert_eq!(reply.text, "");
    let ada = app.user("ada").await;
    assert_eq!(peek(&token(&ada).await).unwrap().0["alg"], "ES256");
}

#[tokio::test]
async fn a_private_key_is_a_quoted_sealed_text_or_a_plain_jwk() {
    let app = app(json!({})).await;
    token(&app.user("ada").await).await;
    let row = app.auth.db().find(Jwk::KEY, &Filter::All).await.unwrap().unwrap();
    let Json::String(sealed) = serde_json::from_str(row.text("privateKey").unwrap()).unwrap() else {
        panic!("not a quoted text")
    };
    let plain = Secrets::single(Secret::from(SECRET)).open(&sealed).unwrap();
    let private: Json = serde_json::from_str(&plain).unwrap();
    assert_eq!(map(private).keys().collect::<Vec<_>>(), ["crv", "d", "x", "kty"]);
    assert_eq!(row.text("alg"), Some("EdDSA"));
    assert_eq!(row.text("crv"), Some("Ed25519"));

    let options =
        json!({ "jwks": { "disablePrivateKeyEncryption": true, "keyPairConfig": { "alg": "ES256" } } });
    let app = TestApp::start(LIST, json!({ "plugins": { "jwt": options } })).await;
    let ada = app.user("ada").await;
    assert!(verified(&app, "/jwks", &token(&ada).await).await.is_some());
    let row = app.auth.db().find(Jwk::KEY, &Filter::All).await.unwrap().unwrap();
    let private: Json = serde_json::from_str(row.text("privateKey").unwrap()).unwrap();
    assert_eq!(map(private)["kty"], "EC");
}

/// What better-auth 1.7.6 on Node wrote under [`SECRET`].
const NODE_PUBLIC: &str =
    r#"{"crv":"Ed25519","x":"qg-RApmzU2hK5K7wCVguJAmPlDWzBleuZ2TdQ_HenCo","kty":"OKP"}"#;
const NODE_PRIVATE: &str = concat!(
    "\"ffeac7fc7f4bceeb7b0863e89150436be7545bf27837348e1adbd91f5d60887f5b685f7da49ec83d70c75af15d",
    "baeadad231c4257291f304f33733f5a319c54fbf438ef9b393b9e0f5e4b1e10d24807b8fed255e54a4f4312e6cf2",
    "1ce9a746e0deb520328d86b434eb638b8e289d0df16508b7a2f7924789dd03445d709f24ca71547fff42e436a938",
    "fd4297837944308df73eb51e002bdd7ef6d994baebf3863b614b1e9e8a2294ca\""
);

fn node_row(app: &TestApp) -> Row {
    Row::new()
        .with("id", "ljgqyvUhYucJHgjznHtQm0nHLT33E4zj")
        .with("publicKey", NODE_PUBLIC)
        .with("privateKey", NODE_PRIVATE)
        .with("createdAt", app.clock.now())
}

#[tokio::test]
async fn a_key_that_node_wrote_signs_also_without_an_alg_as_old_versions_wrote_it() {
    for alg in [Some("EdDSA"), None] {
        let app = app(json!({})).await;
        app.auth.db().insert(Jwk::KEY, node_row(&app).with("alg", alg)).await.unwrap();
        let ada = app.user("ada").await;
        let token = token(&ada).await;
        assert_eq!(kid(&token), "ljgqyvUhYucJHgjznHtQm0nHLT33E4zj");
        assert!(verified(&app, "/jwks", &token).await.is_some());
        assert_eq!(rows(&app).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_first_requests_at_once_make_one_key() {
    for settings in [json!({}), json!({ "database": { "url": "sqlite::memory:", "maxConnections": 1 } })] {
        let mut all = json!({ "plugins": { "jwt": { "jwks": { "keyPairConfig": { "alg": "RS256" } } } } });
        all.as_object_mut().unwrap().extend(map(settings));
        let app = TestApp::start(LIST, all).await;
        let ada = app.user("ada").await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..50 {
            let ada = ada.clone();
            tasks.spawn(async move {
                if n % 5 == 0 {
                    ada.get("/jwks").await.expect(200);
                    return None;
                }
                Some(token(&ada).await)
            });
        }
        let tokens: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
        let keys = rows(&app).await;
        assert_eq!(keys.len(), 1);
        assert_eq!(tokens.len(), 40);
        assert!(tokens.iter().all(|token| kid(token) == keys[0].id));
    }
}

#[tokio::test]
async fn a_key_is_rotated_and_the_old_one_stays_published_for_its_grace() {
    let app = app(json!({ "jwks": { "rotationInterval": 100, "gracePeriod": 50 } })).await;
    let ada = app.user("ada").await;
    let old = token(&ada).await;
    app.advance(99);
    assert_eq!(kid(&token(&ada).await), kid(&old));
    app.advance(2);
    let new = token(&ada).await;
    assert_ne!(kid(&new), kid(&old));
    assert!(verified(&app, "/jwks", &old).await.is_some());
    app.advance(47);
    assert!(verified(&app, "/jwks", &old).await.is_some());
    app.advance(2);
    assert!(verified(&app, "/jwks", &old).await.is_none());
    assert!(verified(&app, "/jwks", &new).await.is_some());
}

#[tokio::test]
async fn a_key_that_another_process_made_or_took_away_counts_at_once() {
    let app = app(json!({})).await;
    let ada = app.user("ada").await;
    let ours = token(&ada).await;
    app.advance(1);
    app.auth.db().insert(Jwk::KEY, node_row(&app).with("alg", "EdDSA")).await.unwrap();
    let theirs = token(&ada).await;
    assert_eq!(kid(&theirs), "ljgqyvUhYucJHgjznHtQm0nHLT33E4zj");
    app.auth.db().delete(Jwk::KEY, &Jwk::ID.is(kid(&theirs))).await.unwrap();
    assert_eq!(kid(&token(&ada).await), kid(&ours));
    assert!(verified(&app, "/jwks", &theirs).await.is_none());
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_is_passed_over_and_a_new_one_made() {
    let broken = [
        ("sealed with another secret", {
            let secrets = Secrets::single(Secret::from("another secret, that nobody has now"));
            let sealed = secrets.seal(&portcullis_core::crypto::Random::seeded(1), "{}").unwrap();
            Json::String(sealed).to_string()
        }),
        ("not JSON", "nonsense".to_owned()),
        ("not a key", "{}".to_owned()),
        ("of another shape", "[1]".to_owned()),
    ];
    for (what, private) in broken {
        let app = app(json!({})).await;
        let ada = app.user("ada").await;
        app.auth
            .db()
            .insert(Jwk::KEY, node_row(&app).with("alg", "EdDSA").with("privateKey", private))
            .await
            .unwrap();
        let reply = ada.get("/get-session").await;
        reply.expect(200);
        let header = reply.header("set-auth-jwt").to_owned();
        assert!(verified(&app, "/jwks", &header).await.is_some(), "{what}");
        assert_eq!(kid(&token(&ada).await), kid(&header), "{what}");
        assert_eq!(rows(&app).await.len(), 2, "{what}");
    }
}

#[tokio::test]
async fn a_row_that_is_no_key_at_all_does_not_hide_the_others() {
    let app = app(json!({})).await;
    let ada = app.user("ada").await;
    let good = token(&ada).await;
    app.advance(1);
    for (id, alg, public) in
        [("a", "EdDSA", "nonsense"), ("b", "HS256", r#"{"kty":"oct","k":"c2VjcmV0"}"#), ("c", "EdDSA", "[]")]
    {
        let row = node_row(&app).with("id", id).with("alg", alg).with("publicKey", public);
        app.auth.db().insert(Jwk::KEY, row.with("privateKey", "{}")).await.unwrap();
    }
    let keys = app.actor().get("/jwks").await.expect(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(kid(&token(&ada).await), kid(&good));
}

#[tokio::test]
async fn private_members_in_a_public_column_are_not_published() {
    let app = app(json!({})).await;
    let pair = KeyPair::generate(Algorithm::EdDSA, None).unwrap();
    let private = Json::Object(pair.private_jwk()).to_string();
    let row = node_row(&app).with("alg", "EdDSA").with("publicKey", private);
    app.auth.db().insert(Jwk::KEY, row).await.unwrap();
    let keys = app.actor().get("/jwks").await.expect(200);
    assert_eq!(map(keys["keys"][0].clone()).keys().collect::<Vec<_>>(), ["alg", "crv", "x", "kty", "kid"]);
}

#[tokio::test]
async fn when_a_token_cannot_be_made_the_session_is_answered_all_the_same() {
    let failing = Callback::native(|_, _| async { Err(Error::broken("the webhook is away")) });
    let jwt = room(json!({}), |options| options.jwt.define_payload = Some(failing.into()));
    let app = app_with(&jwt, json!({})).await;
    let ada = app.user("ada").await;
    let reply = ada.get("/get-session").await;
    assert_eq!(reply.expect(200)["user"]["name"], "ada");
    assert_eq!(reply.header("set-auth-jwt"), "");
    ada.get("/token").await.expect(500);
}

/// A room with options that JSON cannot say.
fn room(options: Json, change: impl FnOnce(&mut super::Options)) -> Jwt {
    let mut options = read("plugins.jwt", options).unwrap();
    change(&mut options);
    Jwt::of(options).unwrap()
}

#[tokio::test]
async fn the_operator_defines_payload_and_subject() {
    let told = Told::default();
    let payload = told.answering(json!({ "role": "admin", "exp": "2h", "nbf": null, "aud": ["a", "b"] }));
    let subject = told.answering(json!("ada-1"));
    let jwt = room(json!({ "jwt": { "issuer": "https://me.test", "expirationTime": "1h" } }), |options| {
        options.jwt.define_payload = Some(payload.into());
        options.jwt.get_subject = Some(subject);
    });
    let app = app_with(&jwt, json!({})).await;
    let ada = app.user("ada").await;
    let claims = verified(&app, "/jwks", &token(&ada).await).await.unwrap();
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["iat", "role", "exp", "aud", "sub", "iss"]);
    assert_eq!(claims["sub"], "ada-1");
    assert_eq!(claims["iss"], "https://me.test");
    assert_eq!(claims["aud"], json!(["a", "b"]));
    assert_eq!(claims["exp"], claims["iat"].as_i64().unwrap() + 7200);
    let names: Vec<String> = told.all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["plugins.jwt.jwt.definePayload", "plugins.jwt.jwt.getSubject"]);
    let session = &told.all()[0].1[0];
    assert_eq!(session["user"]["name"], "ada");
    assert!(session["session"]["token"].is_string());
}

struct Plan;

#[async_trait]
impl DefinePayload for Plan {
    async fn define_payload(&self, _: &Auth, current: &SessionUser) -> Result<Map<String, Json>, Error> {
        match current.user.name.as_str() {
            "eve" => Err(Code::new(403, "NO_TOKENS", "no tokens for you").into()),
            name => Ok(map(json!({ "plan": "pro", "who": name, "sub": "somebody else" }))),
        }
    }
}

#[tokio::test]
async fn a_trait_defines_the_payload_too() {
    let jwt = room(json!({}), |options| options.jwt.define_payload = Some(Payload::Trait(Arc::new(Plan))));
    let app = app_with(&jwt, json!({})).await;
    let ada = app.user("ada").await;
    let claims = verified(&app, "/jwks", &token(&ada).await).await.unwrap();
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["iat", "plan", "who", "sub", "exp", "iss", "aud"]);
    assert_eq!(claims["who"], "ada");
    assert_eq!(claims["sub"], ada.get("/get-session").await.expect(200)["user"]["id"]);
    app.user("eve").await.get("/token").await.refused(403, "NO_TOKENS");
}

#[tokio::test]
async fn the_operators_refusal_is_the_answer() {
    let refusing =
        Callback::native(|_, _| async { Err(Error::from(Code::new(403, "NO_TOKENS", "no tokens for you"))) });
    let jwt = room(json!({}), |options| options.jwt.define_payload = Some(refusing.into()));
    let app = app_with(&jwt, json!({})).await;
    let ada = app.user("ada").await;
    ada.get("/token").await.refused(403, "NO_TOKENS");
    ada.get("/get-session").await.refused(403, "NO_TOKENS");
}

#[tokio::test]
async fn a_remote_signer_gets_the_claims_and_its_token_is_the_answer() {
    let told = Told::default();
    let sign = told.answering(json!("a.b.c"));
    let remote = json!({ "jwks": { "remoteUrl": "https://x.test/k", "keyPairConfig": { "alg": "ES256" } } });
    let jwt = room(remote, |options| options.jwt.sign = Some(sign));
    let app = app_with(&jwt, json!({})).await;
    let ada = app.user("ada").await;
    assert_eq!(token(&ada).await, "a.b.c");
    let (name, args) = told.last();
    assert_eq!(name, "plugins.jwt.jwt.sign");
    assert_eq!(args[0]["email"], "ada@example.com");
    assert_eq!(args[0]["aud"], "http://localhost:3000");
    assert_eq!(args[1..], [Json::Null, json!({})]);
    assert!(rows(&app).await.is_empty());
}

#[tokio::test]
async fn keys_may_be_kept_elsewhere() {
    let kept: Arc<Mutex<Vec<Json>>> = Arc::default();
    let (listed, grown) = (Arc::clone(&kept), Arc::clone(&kept));
    let get = Callback::native(move |_, _| {
        let all = listed.lock().unwrap().clone();
        async move { Ok(Json::Array(all)) }
    });
    let create = Callback::native(move |_, args| {
        let mut key = args[0].clone();
        let mut all = grown.lock().unwrap();
        key["id"] = json!(format!("key-{}", all.len()));
        all.push(key.clone());
        async move { Ok(key) }
    });
    let jwt = room(json!({ "jwks": { "rotationInterval": 10, "gracePeriod": 10 } }), |options| {
        options.adapter.get_jwks = Some(get);
        options.adapter.create_jwk = Some(create);
    });
    let app = app_with(&jwt, json!({})).await;
    let ada = app.user("ada").await;
    let first = token(&ada).await;
    assert_eq!(kid(&first), "key-0");
    assert_eq!(kid(&token(&ada).await), "key-0");
    app.advance(11);
    assert_eq!(kid(&token(&ada).await), "key-1");
    assert!(verified(&app, "/jwks", &first).await.is_some());
    app.advance(10);
    assert!(verified(&app, "/jwks", &first).await.is_none());
    assert!(rows(&app).await.is_empty());
    assert_eq!(kept.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_second_algorithm_is_made_when_asked_for_and_the_default_stays() {
    let jwt = Jwt::new(json!({ "jwks": { "keyPairConfigs": [{ "alg": "ES256" }] } })).unwrap();
    let app = app_with(&jwt, json!({})).await;
    let claims = map(json!({ "sub": "x" }));
    let sign = |alg| jwt.sign_jwt(&app.auth, claims.clone(), alg);
    let es = sign(Some(Algorithm::ES256)).await.unwrap();
    assert_eq!(peek(&es).unwrap().0["alg"], "ES256");
    assert_eq!(kid(&sign(Some(Algorithm::ES256)).await.unwrap()), kid(&es));
    assert!(matches!(sign(Some(Algorithm::RS256)).await, Err(Error::Broken(_))));
    // better-auth 1.7.6 resolveSigningKey: any live key comes before a new one of the default kind.
    assert_eq!(kid(&sign(None).await.unwrap()), kid(&es));
    let ed = sign(Some(Algorithm::EdDSA)).await.unwrap();
    assert_eq!(kid(&sign(None).await.unwrap()), kid(&ed));
    assert_eq!(jwt.verify_jwt(&app.auth, &es, None).await.unwrap().unwrap()["sub"], "x");
}

#[tokio::test]
async fn a_token_that_is_not_ours_now_and_for_us_is_not_believed() {
    let jwt = Jwt::new(json!({ "jwt": { "audience": ["api", "other"] } })).unwrap();
    let app = app_with(&jwt, json!({})).await;
    let good = jwt.sign_jwt(&app.auth, map(json!({ "sub": "x" })), None).await.unwrap();
    let ours = rows(&app).await.remove(0);
    let believed = async |token: &str| jwt.verify_jwt(&app.auth, token, None).await.unwrap().is_some();
    assert!(believed(&good).await);

    let pair = |row: &Jwk| {
        let stored = app.auth.config().secrets.clone();
        let Json::String(sealed) =
            serde_json::from_str(secrecy::ExposeSecret::expose_secret(&row.private_key)).unwrap()
        else {
            panic!("not sealed")
        };
        let private: Json = serde_json::from_str(&stored.open(&sealed).unwrap()).unwrap();
        KeyPair::from_private_jwk(Algorithm::EdDSA, &map(private)).unwrap()
    };
    let pair = pair(&ours);
    let now = app.clock.now().seconds();
    let claims = json!({ "sub": "x", "aud": "api", "iss": "http://localhost:3000", "exp": now + 60 });
    let header = map(json!({ "kid": ours.id }));
    let signed = |change: &dyn Fn(&mut Json)| {
        let mut claims = claims.clone();
        change(&mut claims);
        pair.sign_jwt(&header, &map(claims)).unwrap()
    };
    assert!(believed(&signed(&|_| {})).await);
    for (what, token) in [
        ("expired", signed(&|c| c["exp"] = json!(now))),
        ("not yet", signed(&|c| c["nbf"] = json!(now + 1))),
        ("another audience", signed(&|c| c["aud"] = json!("third"))),
        ("no audience", signed(&|c| c["aud"] = json!([]))),
        ("another issuer", signed(&|c| c["iss"] = json!("https://evil.test"))),
        ("no subject", signed(&|c| c["sub"] = json!(""))),
        ("an odd date", signed(&|c| c["exp"] = json!("tomorrow"))),
    ] {
        assert!(!believed(&token).await, "{what}");
    }

    let foreign = KeyPair::generate(Algorithm::EdDSA, None).unwrap();
    assert!(!believed(&foreign.sign_jwt(&header, &map(claims.clone())).unwrap()).await, "another key");
    let unknown = map(json!({ "kid": "nobody" }));
    assert!(!believed(&foreign.sign_jwt(&unknown, &map(claims.clone())).unwrap()).await, "unknown kid");
    assert!(!believed(&pair.sign_jwt(&Map::new(), &map(claims.clone())).unwrap()).await, "no kid");

    let part = |json: &Json| base64url(json.to_string().as_bytes());
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none", "kid": ours.id })), part(&claims));
    assert!(!believed(&unsigned).await, "alg none");
    for (what, secret) in [("public key", ours.public_key.clone()), ("server secret", SECRET.to_owned())] {
        let hs =
            sign_hs256(&Secret::from(secret.as_str()), &map(claims.clone()), app.clock.now(), 60).unwrap();
        let (_, rest) = hs.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        let input = format!("{}.{payload}", part(&json!({ "alg": "HS256", "kid": ours.id })));
        let tag = portcullis_core::crypto::hmac_sha256(secret.as_bytes(), input.as_bytes());
        assert!(!believed(&format!("{input}.{}", base64url(&tag))).await, "HS256 with the {what}");
    }
    for odd in ["", ".", "..", "a.b.c", &good[..good.len() - 4], &format!("{good}.x")] {
        assert!(!believed(odd).await, "{odd}");
    }

    // Taken away: believed for the few seconds that a public key is remembered, then no more.
    app.auth.db().delete(Jwk::KEY, &Filter::All).await.unwrap();
    app.advance(6);
    assert!(!believed(&good).await, "a key that is gone");
}

fn cached() -> Json {
    json!({
        "session": { "cookieCache": { "enabled": true, "strategy": "jwt" } },
        "database": { "url": "sqlite::memory:", "maxConnections": 1 },
    })
}

#[tokio::test]
async fn the_cookie_cache_is_signed_with_the_keys_even_inside_a_sign_up_with_one_connection() {
    let jwt = Jwt::new(json!({ "sessionCookieCache": true })).unwrap();
    let app = app_with(&jwt, cached()).await;
    let ada = app.user("ada").await;
    let cache = ada.cookie("better-auth.session_data").unwrap();
    let (header, claims) = peek(&cache).unwrap();
    assert_eq!(header["typ"], "better-auth.session-cache+jwt");
    assert_eq!(header["kid"], rows(&app).await[0].id.as_str());
    assert_eq!(
        claims.keys().collect::<Vec<_>>(),
        ["session", "user", "updatedAt", "version", "sid", "iat", "exp", "iss", "aud", "sub"]
    );
    assert_eq!(claims["sid"], claims["session"]["token"]);
    assert_eq!(claims["sub"], claims["user"]["id"]);
    assert_eq!(claims["aud"], "better-auth:session-cache");
    assert_eq!(claims["iss"], "http://localhost:3000");
    assert_eq!(claims["exp"], claims["iat"].as_i64().unwrap() + 300);
    assert!(verified(&app, "/jwks", &cache).await.is_some());

    // The cache answers although the session is gone from the store: so it was believed.
    app.auth.db().delete("session", &Filter::All).await.unwrap();
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "ada");
    app.advance(301);
    assert_eq!(ada.get("/get-session").await.expect(200), Json::Null);
    assert_eq!(rows(&app).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_sign_ups_at_once_with_one_connection_all_get_a_cache() {
    let jwt = Jwt::new(json!({ "sessionCookieCache": true })).unwrap();
    let app = Arc::new(app_with(&jwt, cached()).await);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let app = Arc::clone(&app);
        tasks.spawn(async move {
            let user = app.user(&format!("user{n}")).await;
            user.get("/token").await.expect(200);
            user.cookie("better-auth.session_data").unwrap()
        });
    }
    let caches = tasks.join_all().await;
    let keys = rows(&app).await;
    assert!(caches.iter().all(|cache| keys.iter().any(|key| key.id == kid(cache))));
    // SQLite has one writer at a time: the second sign-up sees the key of the first.
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn a_key_of_a_transaction_that_is_taken_back_is_forgotten() {
    let jwt = Jwt::new(json!({ "sessionCookieCache": true })).unwrap();
    let app = app_with(&jwt, cached()).await;
    let request = request(&app);
    let payload = map(json!({ "session": { "token": "t" }, "user": { "id": "u" } }));
    let mut tx = app.auth.begin().await.unwrap();
    let lost = jwt.sign(&request, &mut tx.db(), payload.clone(), 300).await.unwrap();
    assert!(jwt.verify(&request, &mut tx.db(), &lost).await.unwrap().is_some());
    tx.rollback().await.unwrap();
    assert!(jwt.verify(&request, &mut app.auth.db(), &lost).await.unwrap().is_none());
    let kept = jwt.sign(&request, &mut app.auth.db(), payload, 300).await.unwrap();
    assert_ne!(kid(&kept), kid(&lost));
    assert_eq!(rows(&app).await.len(), 1);
}

fn request(app: &TestApp) -> Request {
    let (parts, ()) = http::Request::builder()
        .uri("/api/auth/get-session")
        .header("host", "localhost:3000")
        .body(())
        .unwrap()
        .into_parts();
    Request::of_parts(&app.auth, parts)
}

#[tokio::test]
async fn a_cookie_cache_of_another_make_is_not_believed() {
    let jwt = Jwt::new(json!({ "sessionCookieCache": true })).unwrap();
    let app = app_with(&jwt, cached()).await;
    let ada = app.user("ada").await;
    let good = ada.cookie("better-auth.session_data").unwrap();
    let request = request(&app);
    let believed =
        async |token: &str| jwt.verify(&request, &mut app.auth.db(), token).await.unwrap().is_some();
    assert!(believed(&good).await);

    let (_, claims) = peek(&good).unwrap();
    let key = jwt.keys.signing(super::keys::Asker::of(&request), &mut app.auth.db(), None).await.unwrap();
    let header = map(json!({ "kid": key.kid, "typ": "better-auth.session-cache+jwt" }));
    let signed = |header: &Map<String, Json>, name: &str, value: Json| {
        let mut claims = claims.clone();
        claims.insert(name.into(), value);
        key.pair.sign_jwt(header, &claims).unwrap()
    };
    assert!(believed(&signed(&header, "version", json!("2"))).await);
    let now = request.now.seconds();
    for (name, value) in [
        ("sid", json!("another session")),
        ("sid", Json::Null),
        ("sub", json!("another user")),
        ("aud", json!("http://localhost:3000")),
        ("iss", json!("https://evil.test")),
        ("exp", json!(now - 15)),
        ("exp", Json::Null),
    ] {
        assert!(!believed(&signed(&header, name, value.clone())).await, "{name} {value}");
    }
    for typ in [json!("JWT"), Json::Null] {
        let header = map(json!({ "kid": key.kid, "typ": typ }));
        assert!(!believed(&signed(&header, "version", json!("1"))).await, "{typ}");
    }
    let foreign = KeyPair::generate(Algorithm::EdDSA, None).unwrap();
    assert!(!believed(&foreign.sign_jwt(&header, &claims).unwrap()).await);

    // The form without the room: HS256 under the server's secret, and under the public key.
    let public = rows(&app).await.remove(0).public_key;
    for secret in [SECRET, &public] {
        let part = |json: &Map<String, Json>| base64url(Json::Object(json.clone()).to_string().as_bytes());
        let mut header = header.clone();
        header.insert("alg".into(), json!("HS256"));
        let input = format!("{}.{}", part(&header), part(&claims));
        let tag = portcullis_core::crypto::hmac_sha256(secret.as_bytes(), input.as_bytes());
        assert!(!believed(&format!("{input}.{}", base64url(&tag))).await);
        let hs = sign_hs256(&Secret::from(secret), &claims, request.now, 300).unwrap();
        assert!(!believed(&hs).await);
    }

    // A token for APIs is no session, and the cache is no token.
    let api = token(&ada).await;
    assert!(!believed(&api).await);
    assert!(jwt.verify_jwt(&app.auth, &api, None).await.unwrap().is_some());
    assert!(jwt.verify_jwt(&app.auth, &good, None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_cache_signed_by_a_key_past_its_grace_is_not_believed() {
    let jwt = Jwt::new(
        json!({ "sessionCookieCache": true, "jwks": { "rotationInterval": 10, "gracePeriod": 10 } }),
    )
    .unwrap();
    let app = app_with(&jwt, cached()).await;
    let ada = app.user("ada").await;
    let cache = ada.cookie("better-auth.session_data").unwrap();
    let believed =
        async |token: &str| jwt.verify(&request(&app), &mut app.auth.db(), token).await.unwrap().is_some();
    app.advance(19);
    assert!(believed(&cache).await);
    app.advance(1);
    assert!(!believed(&cache).await);
    assert_eq!(ada.get("/get-session").await.expect(200)["user"]["name"], "ada");
}

#[tokio::test]
async fn the_table_may_have_other_names() {
    let names = json!({ "modelName": "signing_keys", "fields": { "publicKey": "public_key" } });
    let app = app(json!({ "schema": { "jwks": names } })).await;
    let table = app.auth.table(Jwk::KEY);
    assert_eq!(table.name, "signing_keys");
    assert_eq!(table.column("publicKey").unwrap().name, "public_key");
    let ada = app.user("ada").await;
    assert!(verified(&app, "/jwks", &token(&ada).await).await.is_some());
}

#[tokio::test]
async fn every_kind_of_id_is_a_kid() {
    for kind in ["uuid", "serial"] {
        let settings = json!({
            "advanced": { "database": { "generateId": kind } }, "plugins": { "jwt": {} },
        });
        let app = TestApp::start(LIST, settings).await;
        let ada = app.user("ada").await;
        assert!(verified(&app, "/jwks", &token(&ada).await).await.is_some(), "{kind}");
    }
}

#[test]
fn an_option_that_cannot_stand_is_named() {
    for (options, key) in [
        (json!({ "jwksPath": "/x" }), "plugins.jwt.jwksPath"),
        (json!({ "jwks": { "keypairConfig": {} } }), "plugins.jwt.jwks.keypairConfig"),
        (json!({ "jwks": { "keyPairConfig": { "alg": "HS256" } } }), "plugins.jwt.jwks.keyPairConfig.alg"),
        (
            json!({ "jwks": { "keyPairConfig": { "alg": "EdDSA", "crv": "Ed448" } } }),
            "plugins.jwt.jwks.keyPairConfig.crv",
        ),
        (
            json!({ "jwks": { "keyPairConfig": { "alg": "ES256", "modulusLength": 2048 } } }),
            "plugins.jwt.jwks.keyPairConfig.modulusLength",
        ),
        (
            json!({ "jwks": { "keyPairConfigs": [{ "alg": "RS256", "modulusLength": 1024 }] } }),
            "plugins.jwt.jwks.keyPairConfigs.0.modulusLength",
        ),
        (json!({ "jwks": { "jwksPath": "jwks" } }), "plugins.jwt.jwks.jwksPath"),
        (json!({ "jwks": { "jwksPath": "/../jwks" } }), "plugins.jwt.jwks.jwksPath"),
        (json!({ "jwks": { "jwksPath": "/{id}" } }), "plugins.jwt.jwks.jwksPath"),
        (json!({ "jwks": { "jwksPath": "/token" } }), "plugins.jwt.jwks.jwksPath"),
        (json!({ "jwks": { "rotationInterval": -1 } }), "plugins.jwt.jwks.rotationInterval"),
        (json!({ "jwks": { "remoteUrl": "https://x.test" } }), "plugins.jwt.jwks.keyPairConfig.alg"),
        (json!({ "jwt": { "sign": { "webhook": "http://x.test" } } }), "plugins.jwt.jwks.remoteUrl"),
        (json!({ "jwt": { "expirationTime": "soon" } }), "plugins.jwt.jwt.expirationTime"),
        (json!({ "jwt": { "audience": 7 } }), "plugins.jwt.jwt.audience"),
        (
            json!({ "adapter": { "createJwk": { "webhook": "http://x.test" } } }),
            "plugins.jwt.adapter.getJwks",
        ),
        (json!({ "schema": { "jwks": { "fields": { "kid": "k" } } } }), "plugins.jwt.schema.jwks.fields.kid"),
    ] {
        assert_eq!(Jwt::new(options.clone()).unwrap_err().key, key, "{options}");
    }
}

#[tokio::test]
async fn a_path_that_another_route_has_is_refused_at_start() {
    let settings = json!({
        "secret": SECRET, "database": "sqlite::memory:",
        "plugins": { "jwt": { "jwks": { "jwksPath": "/get-session" } } },
    });
    let settings: Settings = read("", settings).unwrap();
    let refused = crate::Auth::builder().settings(settings).build().await.unwrap_err().to_string();
    assert!(refused.contains("`session` and `jwt` both have the route GET /get-session"), "{refused}");
}

#[test]
fn options_that_do_not_fit_the_rest_are_refused() {
    let config = |settings: Json| {
        let mut all = json!({ "secret": SECRET, "database": "sqlite::memory:" });
        all.as_object_mut().unwrap().extend(map(settings));
        let settings: Settings = read("", all).unwrap();
        Config::check(settings, Environment::Development).unwrap()
    };
    let check = |options: Json, settings: Json| {
        let jwt = Jwt::new(options).unwrap();
        let schema = Schema::new(vec![User::table()]);
        portcullis_core::feature::Feature::check(&jwt, &config(settings), &schema).map_err(|error| error.key)
    };
    let strategy = |name: &str| json!({ "session": { "cookieCache": { "strategy": name } } });
    let cache = json!({ "sessionCookieCache": true });
    assert_eq!(check(cache.clone(), strategy("jwt")), Ok(()));
    assert_eq!(check(cache.clone(), strategy("jwe")), Err("plugins.jwt.sessionCookieCache".into()));
    let remote = json!({
        "sessionCookieCache": true,
        "jwks": { "remoteUrl": "https://x.test", "keyPairConfig": { "alg": "ES256" } },
        "jwt": { "sign": { "webhook": "http://x.test" } },
    });
    assert_eq!(check(remote, strategy("jwt")), Err("plugins.jwt.sessionCookieCache".into()));
    let field = |input: bool| json!({ "user": { "additionalFields": { "aud": { "type": "string", "input": input } } } });
    assert_eq!(check(json!({}), field(true)), Err("user.additionalFields.aud".into()));
    assert_eq!(check(json!({}), field(false)), Ok(()));
    let named = |name: &str| json!({ "user": { "additionalFields": { name: { "type": "string", "required": false } } } });
    assert_eq!(check(json!({}), named("sid")), Err("user.additionalFields.sid".into()));
    assert_eq!(check(json!({}), named("user_id")), Ok(()));
    assert_eq!(check(shared(SHARED), named("user_id")), Err("user.additionalFields.user_id".into()));
    let chosen = |names: Json| json!({ "jwt": { "definePayload": names } });
    assert_eq!(check(chosen(json!(["email"])), field(true)), Ok(()));
    assert_eq!(
        check(chosen(json!(["email", "aud"])), field(true)),
        Err("plugins.jwt.jwt.definePayload.1".into())
    );
    assert_eq!(check(shared(SHARED), json!({})), Ok(()));
    assert_eq!(check(shared(SECRET), json!({})), Err("plugins.jwt.secret".into()), "the server's own");
    let versions =
        json!({ "secrets": [{ "version": 2, "value": SHARED }, { "version": 1, "value": SECRET }] });
    assert_eq!(check(shared(SHARED), versions), Err("plugins.jwt.secret".into()));
}

const SHARED: &str = "a secret that services share, Q7x!";

fn shared(secret: &str) -> Json {
    json!({ "algorithm": "HS256", "secret": secret })
}

/// The claims, verified as a service does that has the secret and nothing of ours.
fn by_secret(token: &str) -> Option<Map<String, Json>> {
    let (input, tag) = token.rsplit_once('.')?;
    let good = base64url(&hmac_sha256(SHARED.as_bytes(), input.as_bytes())) == tag;
    good.then(|| peek(token).unwrap().1)
}

#[tokio::test]
async fn a_shared_secret_signs_what_its_holders_verify() {
    let mut options = shared(SHARED);
    options["issueOnSignIn"] = true.into();
    let jwt = Jwt::new(options).unwrap();
    let role = json!({ "user": { "additionalFields": { "role": { "type": "string", "defaultValue": "editor", "input": false } } } });
    let app = app_with(&jwt, role).await;
    let ada = app.user("ada").await;
    let token = token(&ada).await;
    let claims = by_secret(&token).expect("good");
    let id = ada.get("/get-session").await.expect(200)["user"]["id"].clone();
    assert_eq!(claims["sub"], id);
    assert_eq!(claims["user_id"], id);
    assert_eq!(claims["email"], "ada@example.com");
    assert_eq!(claims["name"], "ada");
    assert_eq!(claims["role"], "editor");
    assert_eq!(claims["exp"], claims["iat"].as_i64().unwrap() + 900);
    let (header, _) = peek(&token).unwrap();
    assert_eq!(Json::Object(header), json!({ "alg": "HS256", "typ": "JWT" }));

    // Wherever tokens come from, they are these.
    assert!(by_secret(ada.get("/get-session").await.header("set-auth-jwt")).is_some());
    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    let signed_in = app.actor().post("/sign-in/email", body).await;
    assert!(by_secret(signed_in.header("set-auth-jwt")).is_some());
    let own = jwt.sign_jwt(&app.auth, map(json!({ "sub": "x" })), None).await.unwrap();
    assert!(by_secret(&own).is_some());
    jwt.sign_jwt(&app.auth, Map::new(), Some(Algorithm::ES256)).await.unwrap_err();

    // Nothing is published, and no key is made.
    app.actor().get("/jwks").await.expect(404);
    assert!(rows(&app).await.is_empty());

    // The room believes them, while they are good, and no others.
    assert!(jwt.verify_jwt(&app.auth, &token, None).await.unwrap().is_some());
    let (head, rest) = token.split_once('.').unwrap();
    let (payload, tag) = rest.split_once('.').unwrap();
    let none = base64url(br#"{"alg":"none","typ":"JWT"}"#);
    for forged in
        [format!("{none}.{payload}."), format!("{none}.{payload}.{tag}"), format!("{head}.{payload}.")]
    {
        assert_eq!(jwt.verify_jwt(&app.auth, &forged, None).await.unwrap(), None, "{forged}");
    }
    let by_own = sign_hs256(&Secret::from(SECRET), &claims, app.auth.clock().now(), 60).unwrap();
    assert_eq!(jwt.verify_jwt(&app.auth, &by_own, None).await.unwrap(), None);
    app.advance(900);
    assert_eq!(jwt.verify_jwt(&app.auth, &token, None).await.unwrap(), None);
}

#[test]
fn a_shared_secret_is_long_and_has_no_keys_beside_it() {
    for (more, key) in [
        (json!({ "secret": "thirty-one bytes are one too fe" }), "secret"),
        (json!({ "secret": null }), "secret"),
        (json!({ "algorithm": null }), "secret"),
        (json!({ "algorithm": "HS512" }), "algorithm"),
        (json!({ "algorithm": "EdDSA" }), "algorithm"),
        (json!({ "algorithm": "none" }), "algorithm"),
        (json!({ "jwks": { "keyPairConfig": { "alg": "ES256" } } }), "jwks.keyPairConfig"),
        (json!({ "jwks": { "rotationInterval": 60 } }), "jwks.rotationInterval"),
        (json!({ "jwt": { "sign": { "webhook": "http://x.test" } } }), "jwt.sign"),
        (json!({ "sessionCookieCache": true }), "sessionCookieCache"),
    ] {
        let mut options = map(shared(SHARED));
        options.extend(map(more.clone()));
        let refused = Jwt::new(Json::Object(options)).unwrap_err();
        assert_eq!(refused.key, format!("plugins.jwt.{key}"), "{more}");
        assert!(!refused.to_string().contains(SHARED), "{refused}");
    }
}

#[tokio::test]
async fn a_list_of_claims_is_what_tokens_say() {
    let app = app(json!({ "jwt": { "definePayload": ["email", "sid", "id"] } })).await;
    let ada = app.user("ada").await;
    let claims = verified(&app, "/jwks", &token(&ada).await).await.unwrap();
    let names: Vec<_> = claims.keys().collect();
    assert_eq!(names, ["iat", "email", "sid", "id", "sub", "exp", "iss", "aud"]);
    assert_eq!(claims["sid"], ada.get("/get-session").await.expect(200)["session"]["id"]);

    // In HS256 the id goes along under the name that services look for.
    let mut options = shared(SHARED);
    options["jwt"] = json!({ "definePayload": ["name"] });
    let ada = TestApp::start(LIST, json!({ "plugins": { "jwt": options } })).await.user("ada").await;
    let claims = by_secret(&token(&ada).await).unwrap();
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["iat", "name", "user_id", "sub", "exp", "iss", "aud"]);
}

#[tokio::test]
async fn a_claim_that_no_user_has_or_nobody_may_see_is_refused_at_start() {
    let refused = async |names: Json| {
        let settings = json!({
            "secret": SECRET, "database": "sqlite::memory:",
            "user": { "additionalFields": { "note": { "type": "string", "returned": false } } },
            "plugins": { "username": {}, "jwt": { "jwt": { "definePayload": names } } },
        });
        let settings: Settings = read("", settings).unwrap();
        crate::Auth::builder().settings(settings).build().await.err().map(|error| error.to_string())
    };
    assert_eq!(refused(json!(["email", "username"])).await, None, "a room's field is one");
    let text = refused(json!(["emial"])).await.unwrap();
    assert!(
        text.contains("plugins.jwt.jwt.definePayload.0") && text.contains("did you mean `email`?"),
        "{text}"
    );
    assert!(refused(json!(["note"])).await.unwrap().contains("hidden"));
}

#[tokio::test]
async fn sign_in_and_sign_up_hand_out_a_token_at_once_if_told_to() {
    let app = app(json!({ "issueOnSignIn": true })).await;
    let body = json!({ "email": "ada@example.com", "password": "correct horse", "name": "ada" });
    let ada = app.actor();
    let signed_up = ada.post("/sign-up/email", body.clone()).await;
    signed_up.expect(200);
    let signed_in = app.actor().post("/sign-in/email", body.clone()).await;
    let id = signed_in.expect(200)["user"]["id"].clone();
    for reply in [&signed_up, &signed_in] {
        assert_eq!(verified(&app, "/jwks", reply.header("set-auth-jwt")).await.unwrap()["sub"], id);
        assert_eq!(reply.header("access-control-expose-headers"), "set-auth-jwt");
    }
    let mut wrong = body.clone();
    wrong["password"] = "wrong horse".into();
    assert_eq!(app.actor().post("/sign-in/email", wrong).await.header("set-auth-jwt"), "");

    // A session that is extended is no sign-in: the header of /get-session is there once.
    app.advance(86_400 + 1);
    let reply = ada.get("/get-session").await;
    assert_eq!(reply.headers.get_all("set-auth-jwt").iter().count(), 1);
    assert_eq!(reply.header("access-control-expose-headers"), "set-auth-jwt");

    let without = self::app(json!({})).await;
    without.user("ada").await;
    assert_eq!(without.actor().post("/sign-in/email", body).await.header("set-auth-jwt"), "");
}

#[tokio::test]
async fn before_the_second_factor_there_is_no_token() {
    let settings =
        json!({ "secret": SECRET, "plugins": { "jwt": { "issueOnSignIn": true }, "twoFactor": {} } });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.user("ada").await;
    let password = "correct horse";
    let enabled = ada.post("/two-factor/enable", json!({ "password": password })).await.expect(200);
    let code = enabled["backupCodes"][0].clone();
    app.auth.db().update(User::KEY, &Filter::All, Row::new().with("twoFactorEnabled", true)).await.unwrap();
    let bob = app.actor();
    let body = json!({ "email": "ada@example.com", "password": password });
    let asked = bob.post("/sign-in/email", body).await;
    assert_eq!(asked.expect(200)["twoFactorRedirect"], true);
    assert_eq!(asked.header("set-auth-jwt"), "");
    let proven = bob.post("/two-factor/verify-backup-code", json!({ "code": code })).await;
    proven.expect(200);
    assert!(verified(&app, "/jwks", proven.header("set-auth-jwt")).await.is_some());
}

#[tokio::test]
async fn who_comes_by_another_host_gets_a_token_of_that_issuer() {
    let hosts = json!({ "allowedHosts": ["one.test", "other.test"], "fallback": "http://localhost:3000" });
    let settings = json!({ "secret": SECRET, "baseURL": hosts, "plugins": { "jwt": {} } });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.user("ada").await;
    let issuer = async |host: &str| {
        let token = ada.with_header("host", host).get("/get-session").await.header("set-auth-jwt").to_owned();
        peek(&token).unwrap().1["iss"].clone()
    };
    // Twice each: what was signed for one is at hand when the other asks.
    for host in ["one.test", "one.test", "other.test", "other.test", "one.test"] {
        assert_eq!(issuer(host).await, format!("http://{host}"));
    }
}

#[tokio::test]
async fn a_session_has_one_token_for_a_sixtieth_of_its_lifetime_and_what_changes_makes_another() {
    let app = app(json!({})).await;
    let ada = app.user("ada").await;
    let header = async || ada.get("/get-session").await.header("set-auth-jwt").to_owned();
    let cost = async || {
        let before = app.auth.store().statements();
        let token = header().await;
        (token, app.auth.store().statements() - before)
    };
    // The session is read, and the key is made; then the key is found.
    header().await;
    header().await;
    let (first, queries) = cost().await;
    assert_eq!(queries, 0, "neither for the session nor for the key");
    assert_eq!(header().await, first);
    let of_other = app.user("bob").await.get("/get-session").await.header("set-auth-jwt").to_owned();
    assert_ne!(of_other, first);

    // Of fifteen minutes it is fifteen seconds. Another time, another user's data, another key.
    app.advance(15);
    assert_eq!(header().await, first);
    app.advance(1);
    let second = header().await;
    assert_ne!(second, first);
    ada.post("/update-user", json!({ "name": "Countess" })).await.expect(200);
    let third = header().await;
    assert_eq!(verified(&app, "/jwks", &third).await.unwrap()["name"], "Countess");
    let (kid, _) = peek(&third).unwrap();
    app.auth.db().delete(Jwk::KEY, &Filter::All).await.unwrap();
    let fourth = header().await;
    assert_ne!(peek(&fourth).unwrap().0["kid"], kid["kid"], "a key that is gone signs nothing");
    assert!(verified(&app, "/jwks", &fourth).await.is_some());
    header().await;
    assert_eq!(cost().await.1, 0);
}
