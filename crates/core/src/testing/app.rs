//! The app.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use serde_json::{Map, Value as Json, json};

use super::actor::Actor;
use crate::auth::{Auth, Room};
use crate::clock::{Clock, Timestamp};
use crate::config::{Environment, read};
use crate::crypto::Random;
use crate::feature::Feature;
use crate::hooks::Callback;

/// What callbacks were told: `(name, arguments)`, in order.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Call>>>);

/// Name and arguments of a callback.
type Call = (String, Vec<Json>);

impl Told {
    /// A callback that remembers and answers `null`.
    pub fn callback(&self) -> Callback {
        self.answering(Json::Null)
    }

    /// A callback that remembers and answers always the same.
    pub fn answering(&self, answer: Json) -> Callback {
        let told = self.0.clone();
        Callback::native(move |name, args| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), args));
            let answer = answer.clone();
            async move { Ok(answer) }
        })
    }

    /// Everything told so far.
    pub fn all(&self) -> Vec<(String, Vec<Json>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last thing told; the test fails when there is none.
    pub fn last(&self) -> (String, Vec<Json>) {
        self.all().pop().expect("no callback was called")
    }
}

/// An app with a database in memory, a fixed clock and seeded chance.
pub struct TestApp {
    /// The engine.
    pub auth: Auth,
    /// Its clock, to be moved.
    pub clock: Clock,
    router: Router,
}

/// The origin that actors come from; it is the app's own.
pub const ORIGIN: &str = "http://localhost:3000";
/// Its secret.
pub const SECRET: &str = "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4";

impl TestApp {
    /// An app with these rooms and settings (Better Auth's JSON) over sensible ones for tests:
    /// e-mail and password on, a fixed base URL, SQLite in memory.
    pub async fn start(rooms: &'static [Room], settings: Json) -> Self {
        Self::start_with(rooms, settings, |settings| settings, None).await
    }

    /// The same with settings that JSON cannot say (native callbacks) and a room of the test's own.
    pub async fn start_with(
        rooms: &'static [Room],
        settings: Json,
        change: impl FnOnce(crate::config::Settings) -> crate::config::Settings,
        own: Option<Box<dyn FnOnce(crate::auth::AuthBuilder) -> crate::auth::AuthBuilder>>,
    ) -> Self {
        let mut all = json!({
            "baseURL": ORIGIN,
            "secret": SECRET,
            "database": { "url": "sqlite::memory:" },
            "emailAndPassword": { "enabled": true },
            "mail": false,
        });
        merge(&mut all, settings);
        let settings = read("", all).expect("the test's settings");
        let clock = Clock::fixed(Timestamp::from_millis(1_790_000_000_000));
        let mut builder = crate::auth::AuthBuilder::new(rooms)
            .settings(change(settings))
            .environment(Environment::Development)
            .clock(clock.clone())
            .random(Random::seeded(7))
            .await_mails();
        if let Some(own) = own {
            builder = own(builder);
        }
        let auth = builder.build().await.expect("the app starts");
        let router = auth.service();
        Self { auth, clock, router }
    }

    /// An app with one room of the test's own and nothing else.
    pub async fn with_feature(rooms: &'static [Room], settings: Json, feature: impl Feature) -> Self {
        Self::start_with(rooms, settings, |s| s, Some(Box::new(|builder| builder.feature(feature)))).await
    }

    /// Somebody with an empty cookie jar.
    pub fn actor(&self) -> Actor {
        Actor::new(self.router.clone(), self.auth.config().base_path.clone())
    }

    /// Somebody who has just signed up as `{name}@example.com` with the password `correct horse`.
    pub async fn user(&self, name: &str) -> Actor {
        let actor = self.actor();
        let body =
            json!({ "name": name, "email": format!("{name}@example.com"), "password": "correct horse" });
        actor.post("/sign-up/email", body).await.expect(200);
        actor
    }

    /// Moves the clock.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

/// Lays one object over another, deeply.
fn merge(under: &mut Json, over: Json) {
    match (under, over) {
        (Json::Object(under), Json::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Json::Object(Map::new())), value);
            }
        }
        (under, over) => *under = over,
    }
}
