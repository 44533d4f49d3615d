//! A secret is replaced (`secrets`): what was sealed with the old one is still opened, what was signed
//! with it is not believed any more.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::clock::Timestamp;
use portcullis::crypto::{Random, base32_decode, totp_at};
use portcullis::features::LIST;
use portcullis::identity::Session;
use portcullis::store::{Filter, Query};
use portcullis::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};

const OLD: &str = "Ym3kV8rTz1wQx6nLb9cHs4fJd7gPa2eU";
const NEW: &str = "Lw5vH2nQ9xTz4rYc7pKd1mBs8gFj3aUe";
const NEWER: &str = "Xe6tM1bWq3yRk9zVn5hPc8sLd2gJf7aT";
const START: i64 = 1_790_000_000_000;

/// The stages of an operator who replaces a secret twice.
fn stages() -> [Json; 3] {
    [
        json!({ "secret": OLD }),
        json!({ "secret": OLD, "secrets": [{ "version": 2, "value": NEW }] }),
        json!({ "secret": OLD, "secrets": [{ "version": 3, "value": NEWER }, { "version": 2, "value": NEW }] }),
    ]
}

struct Place {
    url: String,
    file: std::path::PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("portcullis-rotation-{name}-{}.db", std::process::id()));
        Self { url: format!("sqlite:{}", file.display()), file }
    }

    async fn at(&self, stage: &Json, strategy: Option<&str>) -> TestApp {
        let mut settings = stage.clone();
        settings["database"] = json!({ "url": self.url });
        settings["plugins"] = json!({ "twoFactor": {}, "jwt": {} });
        if let Some(strategy) = strategy {
            settings["session"] = json!({ "cookieCache": { "enabled": true, "strategy": strategy } });
        }
        // Several apps write one database: no two may draw the same ids.
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let own = move |builder: portcullis::AuthBuilder| builder.random(Random::seeded(seed));
        TestApp::start_with(LIST, settings, |settings| settings, Some(Box::new(own))).await
    }
}

static SEED: AtomicU64 = AtomicU64::new(1000);

impl Drop for Place {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.file.display()));
        }
    }
}

async fn signed_in(app: &TestApp, name: &str) -> Actor {
    let actor = app.actor();
    let body = json!({ "email": format!("{name}@example.com"), "password": "correct horse" });
    actor.post("/sign-in/email", body).await.expect(200);
    actor
}

fn key_of(enabled: &Json) -> Vec<u8> {
    let uri = enabled["totpURI"].as_str().unwrap();
    let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    base32_decode(secret).unwrap()
}

async fn stored(app: &TestApp, table: &str, column: &str) -> Vec<String> {
    let rows = app.auth.db().list(table, &Query::from(Filter::All)).await.unwrap();
    rows.iter().map(|row| row.text(column).unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn what_was_sealed_is_opened_and_sealed_anew_under_the_new_secret() {
    let place = Place::new("sealed");
    let stages = stages();
    let before = place.at(&stages[0], None).await;
    let ada = before.user("ada").await;
    let enabled = ada.post("/two-factor/enable", json!({ "password": "correct horse" })).await.expect(200);
    let key = key_of(&enabled);
    let code = |seconds: i64| totp_at(&key, Timestamp::from_millis(START).plus_seconds(seconds), 30, 6);
    ada.post("/two-factor/verify-totp", json!({ "code": code(0) })).await.expect(200);
    let token = ada.get("/token").await.expect(200)["token"].as_str().unwrap().to_owned();
    let keys = ada.get("/jwks").await.expect(200);
    assert!(!stored(&before, "twoFactor", "secret").await[0].starts_with("$ba$"));

    for (number, stage) in stages.iter().enumerate().skip(1) {
        let after = place.at(stage, None).await;
        let seconds = 60 * i64::try_from(number).unwrap();
        after.advance(seconds.unsigned_abs());
        // An authenticator app from before, a backup code from before, once.
        let actor = signed_in(&after, "ada").await;
        actor.post("/two-factor/verify-totp", json!({ "code": code(seconds) })).await.expect(200);
        let backup = &enabled["backupCodes"][number];
        let other = signed_in(&after, "ada").await;
        other.post("/two-factor/verify-backup-code", json!({ "code": backup })).await.expect(200);
        let again = signed_in(&after, "ada").await;
        again
            .post("/two-factor/verify-backup-code", json!({ "code": backup }))
            .await
            .refused(401, "INVALID_BACKUP_CODE");
        // The codes that are left were sealed anew, by the current secret.
        let mark = format!("$ba${}$", number + 1);
        assert!(stored(&after, "twoFactor", "backupCodes").await[0].starts_with(&mark));
        // The signing key from before is still published, and signs.
        assert_eq!(actor.get("/jwks").await.expect(200), keys);
        let new = actor.get("/token").await.expect(200)["token"].as_str().unwrap().to_owned();
        let header = |token: &str| token.split('.').next().unwrap().to_owned();
        assert_eq!(header(&new), header(&token), "the same key");
    }

    // Without the old secret the authenticator cannot be read: an error, and no way in.
    let only = json!({ "secret": NEWER, "secrets": [{ "version": 3, "value": NEWER }] });
    let without = place.at(&only, None).await;
    without.advance(600);
    let actor = signed_in(&without, "ada").await;
    let reply = actor.post("/two-factor/verify-totp", json!({ "code": code(600) })).await;
    assert!(reply.status.is_server_error(), "{}", reply.status);
    assert!(reply.set_cookies().iter().all(|cookie| !cookie.contains("session_token=")));
}

#[tokio::test]
async fn what_was_signed_with_an_old_secret_is_not_believed() {
    let place = Place::new("signed");
    let stages = stages();
    for strategy in [None, Some("compact"), Some("jwt"), Some("jwe")] {
        let before = place.at(&stages[0], strategy).await;
        let name = strategy.unwrap_or("none");
        let ada = before.user(name).await;
        assert!(!ada.get("/get-session").await.expect(200).is_null());
        let after = place.at(&stages[1], strategy).await;
        let moved = after.actor();
        for (cookie, value) in ada.cookies() {
            moved.set_cookie(&cookie, &value);
        }
        assert!(moved.get("/get-session").await.expect(200).is_null(), "{name}");
        // And whoever signs in again goes on.
        assert!(!signed_in(&after, name).await.get("/get-session").await.expect(200).is_null(), "{name}");
    }
}

/// The session cookie is of the new secret, the cache beside it of the old one, and the row is gone: what
/// is answered then is what the cache is believed to say.
#[tokio::test]
async fn an_encrypted_cache_of_the_old_secret_is_read_and_the_signed_forms_are_not() {
    let stages = stages();
    for (strategy, believed) in [("jwe", true), ("compact", false), ("jwt", false)] {
        let place = Place::new(strategy);
        let before = place.at(&stages[1], Some(strategy)).await;
        let ada = before.user("ada").await;
        let cache = ada.cookie("better-auth.session_data").unwrap();
        let token =
            ada.get("/get-session").await.expect(200)["session"]["token"].as_str().unwrap().to_owned();

        let after = place.at(&stages[2], Some(strategy)).await;
        let moved = after.actor();
        let secret = after.auth.config().secrets.current();
        let signed = after.auth.cookies().session_token.set_signed(secret, &token);
        let (name, value) = (signed.name.clone(), signed.value.clone());
        moved.set_cookie(&name, &value);
        moved.set_cookie("better-auth.session_data", &cache);
        assert!(!moved.copy().get("/get-session").await.expect(200).is_null(), "the row is there");
        after.auth.db().delete(Session::KEY, &Filter::All).await.unwrap();
        assert_eq!(!moved.get("/get-session").await.expect(200).is_null(), believed, "{strategy}");
    }
}
