//! Sessions that are remembered in memory: as good as the database, and without it.

use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::features::LIST;
use portcullis::identity::{Session, User};
use portcullis::store::{Filter, Row, Store};
use portcullis::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};

/// What is known of other processes may be so old, and then a little.
const OTHERS_ARE_SEEN: Duration = Duration::from_millis(10);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("auth.db").display())
    }

    async fn app(&self, session: Json) -> TestApp {
        TestApp::start(LIST, json!({ "database": { "url": self.url() }, "session": session })).await
    }

    /// As another process has it.
    async fn stranger(&self, app: &TestApp) -> Store {
        let options = portcullis::store::ConnectOptions::new(self.url(), app.auth.store().schema().clone());
        Store::connect_with_clock(options, Clock::system()).await.unwrap()
    }
}

async fn name(actor: &Actor) -> Option<String> {
    let session = actor.get("/get-session").await.expect(200);
    session["user"]["name"].as_str().map(str::to_owned)
}

/// The first look at what others have written finds out where to begin, and it waits for nobody.
async fn settle(actor: &Actor) {
    for _ in 0..3 {
        tokio::task::yield_now().await;
        name(actor).await;
    }
}

/// How many statements something costs.
async fn cost<T>(app: &TestApp, what: impl Future<Output = T>) -> u64 {
    let before = app.auth.store().statements();
    what.await;
    app.auth.store().statements() - before
}

#[tokio::test]
async fn a_session_is_one_query_at_first_and_none_afterwards() {
    let place = Place::new();
    for url in ["sqlite::memory:".to_owned(), place.url()] {
        let app = TestApp::start(LIST, json!({ "database": { "url": url } })).await;
        let ada = app.user("ada").await;
        assert_eq!(cost(&app, name(&ada)).await, 1);
        settle(&ada).await;
        assert_eq!(
            cost(&app, async {
                for _ in 0..20 {
                    name(&ada).await;
                }
            })
            .await,
            0
        );
        // Others come and go, and change themselves: nothing is asked again for it.
        let bob = app.user("bob").await;
        bob.post("/update-user", json!({ "name": "Robert" })).await.expect(200);
        bob.post("/sign-out", json!({})).await.expect(200);
        let asked = cost(&app, name(&ada)).await;
        // Two of 1024 slots may be the same one.
        assert!(asked <= 1, "{asked}");
    }
}

#[tokio::test]
async fn with_nothing_to_remember_every_read_is_a_query() {
    let place = Place::new();
    let app = place.app(json!({ "memoryCacheSize": 0 })).await;
    let ada = app.user("ada").await;
    assert_eq!(
        cost(&app, async {
            for _ in 0..5 {
                name(&ada).await;
            }
        })
        .await,
        5
    );
}

#[tokio::test]
async fn no_more_is_remembered_than_allowed() {
    let place = Place::new();
    let app = place.app(json!({ "memoryCacheSize": 10 })).await;
    let mut all = Vec::new();
    for number in 0..40 {
        all.push(app.user(&format!("u{number}")).await);
    }
    let read = async {
        for one in &all {
            name(one).await;
        }
    };
    assert_eq!(cost(&app, read).await, 40);
    let again = async {
        for one in &all {
            name(one).await;
        }
    };
    assert!(cost(&app, again).await >= 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_here_is_seen_by_the_very_next_read() {
    let place = Place::new();
    let app = place.app(json!({})).await;
    let ada = app.user("ada").await;
    // Others ask all the time, so that there is always a read under way that might come too late.
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let ada = ada.copy();
            tokio::spawn(async move {
                loop {
                    ada.get("/get-session").await.expect(200);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 0..100 {
        let other = app.actor();
        let body = json!({ "email": "ada@example.com", "password": "correct horse" });
        other.post("/sign-in/email", body).await.expect(200);
        let called = format!("Ada {round}");
        ada.post("/update-user", json!({ "name": called })).await.expect(200);
        assert_eq!(name(&ada).await.as_ref(), Some(&called));
        assert_eq!(name(&other).await, Some(called));
        match round % 4 {
            0 => drop(ada.post("/revoke-other-sessions", json!({})).await.expect(200)),
            1 => {
                let token = other.get("/get-session").await.expect(200)["session"]["token"].clone();
                ada.post("/revoke-session", json!({ "token": token })).await.expect(200);
            }
            2 => drop(other.copy().post("/sign-out", json!({})).await.expect(200)),
            _ => {
                // Below the routes, by a filter that names nobody.
                let token = other.get("/get-session").await.expect(200)["session"]["token"].clone();
                let others = Session::USER_AGENT
                    .not("nothing of the sort")
                    .and(Session::TOKEN.is(token.as_str().unwrap()));
                assert_eq!(app.auth.db().delete(Session::KEY, &others).await.unwrap(), 1);
            }
        }
        assert_eq!(name(&other).await, None, "round {round}");
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_write_in_a_transaction_counts_from_its_commit_and_one_taken_back_never() {
    let place = Place::new();
    let app = place.app(json!({})).await;
    let ada = app.user("ada").await;
    assert_eq!(name(&ada).await.as_deref(), Some("ada"));
    let renamed = || Row::from([User::NAME.set("Countess")]);
    for commit in [false, true] {
        let mut tx = app.auth.store().begin().await.unwrap();
        tx.db().update(User::KEY, &User::EMAIL.is("ada@example.com"), renamed()).await.unwrap();
        assert_eq!(name(&ada).await.as_deref(), Some("ada"), "not written yet");
        if commit {
            tx.commit().await.unwrap();
            assert_eq!(name(&ada).await.as_deref(), Some("Countess"));
        } else {
            drop(tx);
            assert_eq!(name(&ada).await.as_deref(), Some("ada"));
        }
    }
    // And from then on it is remembered again.
    settle(&ada).await;
    assert_eq!(cost(&app, name(&ada)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_waits_for_any_more_is_seen_all_the_same() {
    let place = Place::new();
    let app = place.app(json!({})).await;
    let ada = app.user("ada").await;
    for round in 0..200 {
        name(&ada).await;
        let called = format!("Ada {round}");
        let auth = app.auth.clone();
        let row = Row::from([User::NAME.set(called.as_str())]);
        let write = tokio::spawn(async move {
            auth.db().update(User::KEY, &User::EMAIL.is("ada@example.com"), row).await
        });
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        write.abort();
        let _ = write.await;
        name(&ada).await;
        // Whatever was sent before this has happened or never will.
        let nobody = User::EMAIL.is("nobody@example.com");
        app.auth.db().delete(User::KEY, &nobody).await.unwrap();
        let stored = app.auth.db().find(User::KEY, &User::EMAIL.is("ada@example.com")).await.unwrap();
        assert_eq!(name(&ada).await, Some(User::from_row(stored.unwrap()).unwrap().name), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_writes_is_seen_within_ten_milliseconds() {
    let place = Place::new();
    let app = place.app(json!({})).await;
    let stranger = place.stranger(&app).await;
    let ada = app.user("ada").await;
    for round in 0..30 {
        assert!(name(&ada).await.is_some());
        let called = format!("Ada {round}");
        let row = Row::from([User::NAME.set(called.as_str())]);
        stranger.db().update(User::KEY, &Filter::All, row).await.unwrap();
        tokio::time::sleep(OTHERS_ARE_SEEN).await;
        assert_eq!(name(&ada).await, Some(called));
    }
    stranger.db().delete(Session::KEY, &Filter::All).await.unwrap();
    tokio::time::sleep(OTHERS_ARE_SEEN).await;
    assert_eq!(name(&ada).await, None);
}
