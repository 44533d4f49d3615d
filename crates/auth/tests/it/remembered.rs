//! Sessions that are remembered in memory: as good as the database, and without it.

use std::time::{Duration, Instant};

use portcullis::clock::Clock;
use portcullis::features::LIST;
use portcullis::identity::{Session, User};
use portcullis::store::{Dialect, Filter, Row, Store};
use portcullis::testing::{Actor, TestApp, databases};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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

/// Waits until reading this session costs nothing: connections come back to their pool, and marks of writes
/// go, a moment later than the answer, and a look at what others have written waits for nobody.
async fn settle(app: &TestApp, actor: &Actor) {
    let patience = Instant::now() + Duration::from_secs(20);
    while cost(app, name(actor)).await > 0 {
        assert!(Instant::now() < patience, "every read is a query");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn on(url: &str) -> TestApp {
    TestApp::start(LIST, json!({ "database": { "url": url } })).await
}

/// The same browser at another instance.
fn at(app: &TestApp, actor: &Actor) -> Actor {
    let there = app.actor();
    for (name, value) in actor.cookies() {
        there.set_cookie(&name, &value);
    }
    there
}

/// Waits until a reader sees this. It is told within milliseconds; the seconds are for machines that are busy
/// with other things, and nothing that was not told would be seen after them either.
async fn sees(actor: &Actor, expected: Option<&str>) {
    let patience = Instant::now() + Duration::from_secs(10);
    while name(actor).await.as_deref() != expected {
        assert!(Instant::now() < patience, "{expected:?} is not seen");
        tokio::time::sleep(Duration::from_millis(1)).await;
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
        settle(&app, &ada).await;
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
    seen_by_the_very_next_read(&place.app(json!({})).await).await;
    if let Some(url) = databases::fresh_database(Dialect::Postgres).await {
        let app = on(&url).await;
        settle(&app, &app.user("bob").await).await;
        seen_by_the_very_next_read(&app).await;
    }
}

async fn seen_by_the_very_next_read(app: &TestApp) {
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
    settle(&app, &ada).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn instances_on_one_postgresql_hear_of_each_other_and_of_anybody_else() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    let (app, other) = (on(&url).await, on(&url).await);
    let sql = |sql: &'static str| databases::execute(Dialect::Postgres, &url, sql.to_owned());
    let ada = app.user("ada").await;
    let there = at(&other, &ada);
    for called in ["Countess", "Lovelace"] {
        settle(&app, &ada).await;
        settle(&other, &there).await;
        ada.post("/update-user", json!({ "name": called })).await.expect(200);
        sees(&there, Some(called)).await;
        // A Node server, or an operator.
        settle(&app, &ada).await;
        sql("update \"user\" set name = 'Byron'").await.unwrap();
        sees(&ada, Some("Byron")).await;
        sees(&there, Some("Byron")).await;
    }
    // By row, at a stroke, and by way of the user.
    for ending in ["delete from session", "truncate session", "delete from \"user\""] {
        let bob = app.user("bob").await;
        let there = at(&other, &bob);
        settle(&other, &there).await;
        sql(ending).await.unwrap();
        sees(&there, None).await;
        sql("delete from \"user\"").await.unwrap();
    }
    let eve = app.user("eve").await;
    let there = at(&other, &eve);
    settle(&other, &there).await;
    eve.post("/sign-out", json!({})).await.expect(200);
    assert_eq!(name(&at(&app, &there)).await, None, "here at once");
    sees(&there, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_listens_every_read_is_a_query() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    let app = on(&url).await;
    let sql = |sql: &'static str| databases::execute(Dialect::Postgres, &url, sql.to_owned());
    let ada = app.user("ada").await;
    settle(&app, &ada).await;
    // What was written between the break and the next connection was told to nobody.
    sql("select pg_terminate_backend(pid) from pg_stat_activity \
         where pid <> pg_backend_pid() and query like '%portcullis_wrote%'; \
         update \"user\" set name = 'Countess'")
    .await
    .unwrap();
    sees(&ada, Some("Countess")).await;
    settle(&app, &ada).await;
    // Without the triggers nobody would tell. They are looked for every second.
    sql("drop function portcullis_wrote cascade").await.unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while cost(&app, name(&ada)).await == 0 {
        assert!(Instant::now() < patience, "sessions are remembered that nobody tells of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..5 {
        assert_eq!(cost(&app, name(&ada)).await, 1);
    }
    // The next start makes them again.
    app.auth.store().migrate().await.unwrap();
    settle(&app, &ada).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_in_the_database_where_nothing_is_remembered() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    let settings = json!({ "database": { "url": url }, "session": { "memoryCacheSize": 0 } });
    let app = TestApp::start(LIST, settings).await;
    let ada = app.user("ada").await;
    let made =
        databases::execute(Dialect::Postgres, &url, "drop function portcullis_wrote()".to_owned()).await;
    assert!(made.unwrap_err().to_string().contains("does not exist"));
    assert_eq!(cost(&app, name(&ada)).await, 1);
    assert_eq!(cost(&app, name(&ada)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_may_not_make_triggers_starts_all_the_same() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    drop(on(&url).await);
    let role = format!("guest_{}", url.rsplit('/').next().unwrap());
    let database = url.rsplit('/').next().unwrap();
    let sql = format!(
        "drop function portcullis_wrote cascade; create role {role} login; \
         grant all on database {database} to {role}; grant all on all tables in schema public to {role}"
    );
    databases::execute(Dialect::Postgres, &url, sql).await.unwrap();
    let mut guest = url::Url::parse(&url).unwrap();
    guest.set_username(&role).unwrap();
    let app = on(guest.as_str()).await;
    let ada = app.user("ada").await;
    assert_eq!(cost(&app, name(&ada)).await, 1);
    assert_eq!(cost(&app, name(&ada)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_names_of_ones_own_are_remembered_as_well() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    let settings = json!({
        "database": { "url": url },
        "advanced": { "database": { "generateId": "uuid" } },
        "user": { "modelName": "Person of \"ours\"" },
        "session": { "modelName": "visit", "fields": { "userId": "who's" } },
    });
    let app = TestApp::start(LIST, settings.clone()).await;
    let ada = app.user("ada").await;
    settle(&app, &ada).await;
    let sql = "update visit set \"userAgent\" = 'x'; update \"Person of \"\"ours\"\"\" set name = 'Countess'";
    databases::execute(Dialect::Postgres, &url, sql.to_owned()).await.unwrap();
    sees(&ada, Some("Countess")).await;
    // A uuid may be written in many ways, and finds its row by each.
    settle(&app, &ada).await;
    let id = ada.get("/get-session").await.expect(200)["user"]["id"].as_str().unwrap().to_uppercase();
    let renamed = Row::from([User::NAME.set("Lovelace")]);
    app.auth.db().update(User::KEY, &User::ID.is(id.as_str()), renamed).await.unwrap();
    assert_eq!(name(&ada).await.as_deref(), Some("Lovelace"));
}

/// A way to the same database on which no notification arrives, as through a pooler in transaction mode.
async fn deaf(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let behind = format!("127.0.0.1:{}", url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&behind).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                // A message: its kind, and its length with these four bytes.
                let mut head = [0; 5];
                while from_server.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
                    let mut body = vec![0; length];
                    from_server.read_exact(&mut body).await.unwrap();
                    if head[0] != b'A' && to_client.write_all(&[&head[..], &body].concat()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let mut through = url.clone();
    through.set_port(Some(port)).unwrap();
    through.set_query(Some("sslmode=disable"));
    through.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_heard_nothing_is_remembered() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    let (hears, other) = (on(&url).await, on(&deaf(&url).await).await);
    let ada = hears.user("ada").await;
    settle(&hears, &ada).await;
    let there = at(&other, &ada);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(cost(&other, name(&there)).await, 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
