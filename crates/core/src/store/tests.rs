//! The conformance suite on every database, and what is particular to one of them.

use std::time::Duration;

use super::*;
use crate::testing::databases;

fn options(url: String, max_connections: u32) -> ConnectOptions {
    ConnectOptions {
        max_connections,
        acquire_timeout: Duration::from_secs(60),
        ..ConnectOptions::new(url, Schema::default())
    }
}

/// Files of SQLite databases, deleted when the test is over.
struct Files(tempfile::TempDir, std::sync::atomic::AtomicU32);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), std::sync::atomic::AtomicU32::new(0))
    }

    fn url(&self) -> String {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        format!("sqlite:{}", self.0.path().join(format!("{number}.db")).display())
    }
}

async fn conforms(dialect: Dialect, connections: u32) {
    if databases::fresh_database(dialect).await.is_none() {
        return;
    }
    conformance::run(move || async move {
        options(databases::fresh_database(dialect).await.unwrap(), connections)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_a_file_keeps_every_promise() {
    let files = Files::new();
    for connections in [10, 1] {
        conformance::run(|| async { options(files.url(), connections) }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_memory_keeps_every_promise() {
    // Adoption needs a database that outlives a connection, so that part runs on a file above.
    let store = memory().await;
    store.db().insert("thing", Row::from([("id", "1")])).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move { store.db().count("thing", &Filter::All).await.unwrap() }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1, "there is one database, not one per connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_every_promise() {
    conforms(Dialect::Postgres, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_every_promise_with_one_connection() {
    conforms(Dialect::Postgres, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_reached_over_tls_and_a_stranger_s_certificate_is_refused() {
    let Some(url) = databases::fresh_database(Dialect::Postgres).await else { return };
    let encrypted = async |url: String| {
        let store = Store::connect(options(url, 1)).await?;
        store.migrate().await?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let row = match &store.0.pool {
            Pool::Postgres(pool, ..) => sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await,
            _ => unreachable!("a PostgreSQL URL"),
        };
        Ok::<bool, StoreError>(row.unwrap())
    };
    assert!(encrypted(format!("{url}?sslmode=require")).await.unwrap());
    assert!(!encrypted(format!("{url}?sslmode=disable")).await.unwrap());
    // Nobody whom this machine trusts has signed it.
    let stranger = url.replace("127.0.0.1", "localhost") + "?sslmode=verify-full";
    assert!(matches!(encrypted(stranger).await, Err(StoreError::Unavailable(_) | StoreError::Other(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_every_promise() {
    conforms(Dialect::MySql, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_every_promise_with_one_connection() {
    conforms(Dialect::MySql, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_behind_pgbouncer_keeps_every_promise() {
    if databases::fresh_database(Dialect::Postgres).await.is_none() {
        return;
    }
    let Some(bouncer) = tokio::task::spawn_blocking(databases::pgbouncer).await.unwrap() else { return };
    conformance::run(move || async move {
        let direct = databases::fresh_database(Dialect::Postgres).await.unwrap();
        let (_, name) = direct.rsplit_once('/').unwrap();
        options(format!("{bouncer}/{name}?pgbouncer=true"), 10)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_missing_table_is_found_under_another_name_when_none_may_be_made() {
    let files = Files::new();
    let url = files.url();
    let things = |name: &str| {
        let mut table = Table::new("thing", vec![Column::id(), Column::text("text")]);
        table.name = name.to_owned();
        Schema::new(vec![table])
    };
    let connect = async |schema: Schema| {
        let options = ConnectOptions { adopt_names: true, ..ConnectOptions::new(url.clone(), schema) };
        Store::connect(options).await.unwrap()
    };
    let name_of = |store: &Store| store.schema().get("thing").unwrap().name.clone();

    let made = Store::connect(ConnectOptions::new(url.clone(), things("custom_thing"))).await.unwrap();
    made.migrate().await.unwrap();
    let row = Row::from([("id", Value::from("a")), ("text", Value::from("b"))]);
    made.db().insert("thing", row).await.unwrap();

    let adopted = connect(things("thing")).await;
    assert_eq!(name_of(&adopted), "custom_thing");
    assert_eq!(adopted.db().count("thing", &Filter::All).await.unwrap(), 1);

    // Of two that could be meant none is taken.
    let second = Store::connect(ConnectOptions::new(url.clone(), things("other_thing"))).await.unwrap();
    second.migrate().await.unwrap();
    assert_eq!(name_of(&connect(things("thing")).await), "thing");
    // One that is there is never looked for.
    assert_eq!(name_of(&connect(things("other_thing")).await), "other_thing");
}

async fn memory() -> Store {
    let schema = Schema::new(vec![Table::new("thing", vec![Column::id(), Column::text("text")])]);
    let store = Store::connect(ConnectOptions::new("sqlite::memory:", schema)).await.unwrap();
    store.migrate().await.unwrap();
    store
}

#[test]
fn the_futures_of_all_verbs_can_be_spawned() {
    fn send<T: Send>(_: T) {}
    #[expect(dead_code, reason = "compiling it is the test")]
    async fn verbs(store: Store) {
        let mut db = store.db();
        let (all, row) = (Filter::All, Row::new());
        send(db.find("t", &all));
        send(db.list("t", &Query::all()));
        send(db.count("t", &all));
        send(db.find_with("t", &all, "u", ("a", "b")));
        send(db.insert("t", row.clone()));
        send(db.update("t", &all, row.clone()));
        send(db.update_one("t", &all, row.clone()));
        send(db.delete("t", &all));
        send(db.consume("t", &all));
        send(db.increment("t", &all, "c", 1, row));
        send(store.begin());
        send(store.migrate());
        send(store.migration_plan());
        send(store.ping());
        send(Store::connect(ConnectOptions::new("", Schema::default())));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_database_file_and_its_log_can_be_read_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = Files::new();
    let url = files.url();
    let schema = Schema::new(vec![Table::new("thing", vec![Column::id()])]);
    let store = Store::connect(ConnectOptions::new(url.clone(), schema)).await.unwrap();
    store.migrate().await.unwrap();
    let path = url.strip_prefix("sqlite:").unwrap();
    for path in [path.to_owned(), format!("{path}-wal")] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable_and_answers_503_with_retry_after() {
    // Nothing listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://u:hunter2@127.0.0.1:{port}/db");
        let options = ConnectOptions {
            acquire_timeout: Duration::from_millis(300),
            ..ConnectOptions::new(url, Schema::default())
        };
        let error = Store::connect(options).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(!error.to_string().contains("hunter2"));
        let crate::error::Error::Refused(refusal) = crate::error::Error::from(error) else { panic!() };
        assert_eq!(refusal.code.status, http::StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refusal.headers, [(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"))]);
    }
}

#[tokio::test]
async fn a_full_pool_and_a_closed_one_are_unavailable() {
    let schema = Schema::new(vec![Table::new("thing", vec![Column::id()])]);
    let options = ConnectOptions {
        acquire_timeout: Duration::from_millis(100),
        ..ConnectOptions::new("sqlite::memory:", schema)
    };
    let store = Store::connect(options).await.unwrap();
    store.migrate().await.unwrap();
    let tx = store.begin().await.unwrap();
    assert!(matches!(store.db().count("thing", &Filter::All).await, Err(StoreError::Unavailable(_))));
    drop(tx);
    assert_eq!(store.db().count("thing", &Filter::All).await.unwrap(), 0);
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn the_texts_of_statements_do_not_grow_without_bound() {
    let store = memory().await;
    for length in 1..1500 {
        let filter =
            Filter::In("id".into(), (0..length % 1100).map(|n| Value::from(n.to_string())).collect());
        store.0.compiler.find(store.table("thing").unwrap(), &filter, false).unwrap();
    }
    assert!(store.0.compiler.texts() <= 1024);
    store.db().find("thing", &Filter::All).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_has_closed_does_not_fail_the_next_read() {
    for dialect in [Dialect::Postgres, Dialect::MySql] {
        let Some(url) = databases::fresh_database(dialect).await else { continue };
        let schema = Schema::new(vec![Table::new("thing", vec![Column::id()])]);
        let options = ConnectOptions { schema, ..options(url, 1) };
        let store = Store::connect(options.clone()).await.unwrap();
        store.migrate().await.unwrap();
        let killer = Store::connect(options).await.unwrap();
        let mut link = killer.0.pool.link(Purpose::Read).await.unwrap();
        let others = match dialect {
            Dialect::MySql => {
                "select id from information_schema.processlist where db = database() and id <> connection_id()"
            }
            _ => {
                "select pid::int8 from pg_stat_activity where datname = current_database() \
                 and pid <> pg_backend_pid()"
            }
        };
        let others = link.catalogue(others, Vec::new(), &[Kind::Int]).await.unwrap();
        assert_eq!(others.len(), 1);
        let other = others[0][0].as_i64().unwrap();
        let kill = if dialect == Dialect::MySql {
            format!("kill {other}")
        } else {
            format!("select pg_terminate_backend({other})")
        };
        link.raw(kill).await.unwrap();
        assert_eq!(store.db().count("thing", &Filter::All).await.unwrap(), 0, "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_path_of_the_url_is_honoured_directly_and_behind_pgbouncer() {
    let Some(direct) = databases::fresh_database(Dialect::Postgres).await else { return };
    let name = direct.rsplit_once('/').unwrap().1.to_owned();
    let schema = Schema::new(vec![Table::new("thing", vec![Column::id()])]);
    let open = |url: String| Store::connect(ConnectOptions { schema: schema.clone(), ..options(url, 2) });
    let public = open(direct.clone()).await.unwrap();
    let mut link = public.0.pool.link(Purpose::Read).await.unwrap();
    link.raw("create schema \"Auth\"".to_owned()).await.unwrap();
    drop(link);
    let inside = open(format!("{direct}?currentSchema=Auth")).await.unwrap();
    inside.migrate().await.unwrap();
    inside.db().insert("thing", Row::from([("id", "1")])).await.unwrap();
    assert_eq!(public.migrate().await.unwrap().statements.len(), 1, "public has no such table yet");
    assert_eq!(public.db().count("thing", &Filter::All).await.unwrap(), 0);
    let Some(bouncer) = tokio::task::spawn_blocking(databases::pgbouncer).await.unwrap() else { return };
    let pooled = open(format!("{bouncer}/{name}?pgbouncer=true&schema=Auth")).await.unwrap();
    assert!(pooled.migrate().await.unwrap().is_empty());
    assert_eq!(pooled.db().count("thing", &Filter::All).await.unwrap(), 1);
    let mut tx = pooled.begin().await.unwrap();
    assert!(tx.db().consume("thing", &Filter::All).await.unwrap().is_some());
    tx.commit().await.unwrap();
    assert_eq!(inside.db().count("thing", &Filter::All).await.unwrap(), 0);
}

#[test]
fn debug_output_shows_no_secret_and_no_password() {
    let visit = conformance::Visit {
        id: "1".to_owned(),
        token: "hunter2".to_owned(),
        user_id: "2".to_owned(),
        expires_at: crate::clock::Timestamp::from_millis(0),
    };
    let options = ConnectOptions::new("postgres://u:hunter2@h/db", Schema::default());
    let texts = [format!("{visit:?}"), format!("{:?}", visit.into_row()), format!("{options:?}")];
    assert!(texts.iter().all(|text| !text.contains("hunter2")), "{texts:?}");
    assert!(texts[0].contains("user_id: \"2\""), "{}", texts[0]);
}

#[test]
fn sql_text_reaches_the_database_as_written_here() {
    let table = Table::new("user", vec![Column::id(), Column::text("email"), Column::int("count")]);
    let other = Table::new("session", vec![Column::id(), Column::foreign("userId", "user")]);
    let filter = Filter::Is("email".into(), "x".into()).and(Filter::Lt("count".into(), 3.into()));
    let sql = |dialect| {
        let compiler = Compiler::new(dialect, IdKind::Text);
        let like = Filter::Contains("email".into(), "50%!".into()).or(Filter::In("id".into(), vec![]));
        [
            compiler
                .find_with(&other, &Filter::Is("id".into(), "s".into()), &table, ("userId", "id"))
                .unwrap(),
            compiler.update(&table, &filter, &Row::from([("email", "y")]), Some(("count", 1)), true).unwrap(),
            compiler.delete(&table, &filter, true).unwrap(),
            compiler.find(&table, &like, true).unwrap(),
        ]
        .map(|statement| format!("{} {:?}", statement.sql, statement.params))
        .join("\n")
    };
    insta::assert_snapshot!(sql(Dialect::Postgres), @r#"
SELECT "a"."id", "a"."userId", "b"."id", "b"."email", "b"."count" FROM "session" AS "a" INNER JOIN "user" AS "b" ON "a"."userId" = "b"."id" WHERE "a"."id" = $1 LIMIT 1 [Text("s")]
UPDATE "user" SET "email" = $1, "count" = COALESCE("count", 0) + $2 WHERE "id" = (SELECT "id" FROM "user" WHERE "email" = $3 AND "count" < $4 LIMIT 1 FOR UPDATE) RETURNING "id", "email", "count" [Text("y"), Int(1), Text("x"), Int(3)]
DELETE FROM "user" WHERE "id" = (SELECT "id" FROM "user" WHERE "email" = $1 AND "count" < $2 LIMIT 1 FOR UPDATE) RETURNING "id", "email", "count" [Text("x"), Int(3)]
SELECT "id", "email", "count" FROM "user" WHERE "email" LIKE $1 ESCAPE '!' OR (1 = 0) LIMIT 1 FOR UPDATE [Text("%50!%!!%")]
"#);
    insta::assert_snapshot!(sql(Dialect::Sqlite), @r#"
SELECT "a"."id", "a"."userId", "b"."id", "b"."email", "b"."count" FROM "session" AS "a" INNER JOIN "user" AS "b" ON "a"."userId" = "b"."id" WHERE "a"."id" = ? LIMIT 1 [Text("s")]
UPDATE "user" SET "email" = ?, "count" = COALESCE("count", 0) + ? WHERE "id" = (SELECT "id" FROM "user" WHERE "email" = ? AND "count" < ? LIMIT 1) RETURNING "id", "email", "count" [Text("y"), Int(1), Text("x"), Int(3)]
DELETE FROM "user" WHERE "id" = (SELECT "id" FROM "user" WHERE "email" = ? AND "count" < ? LIMIT 1) RETURNING "id", "email", "count" [Text("x"), Int(3)]
SELECT "id", "email", "count" FROM "user" WHERE "email" LIKE ? ESCAPE '!' OR (1 = 0) LIMIT 1  [Text("%50!%!!%")]
"#);
    insta::assert_snapshot!(sql(Dialect::MySql), @r#"
SELECT `a`.`id`, `a`.`userId`, `b`.`id`, `b`.`email`, `b`.`count` FROM `session` AS `a` INNER JOIN `user` AS `b` ON `a`.`userId` = `b`.`id` WHERE `a`.`id` = ? AND CAST(`a`.`id` AS binary) = ? LIMIT 1 [Text("s"), Text("s")]
UPDATE `user` SET `email` = ?, `count` = COALESCE(`count`, 0) + ? WHERE `id` = (SELECT `id` FROM `user` WHERE `email` = ? AND CAST(`email` AS binary) = ? AND `count` < ? LIMIT 1) [Text("y"), Int(1), Text("x"), Text("x"), Int(3)]
DELETE FROM `user` WHERE `id` = (SELECT `id` FROM `user` WHERE `email` = ? AND CAST(`email` AS binary) = ? AND `count` < ? LIMIT 1) [Text("x"), Text("x"), Int(3)]
SELECT `id`, `email`, `count` FROM `user` WHERE `email` LIKE ? ESCAPE '!' OR (1 = 0) LIMIT 1 FOR UPDATE [Text("%50!%!!%")]
"#);
}

#[test]
fn the_name_of_a_constraint_tells_its_column() {
    let columns = vec![
        Column::id(),
        Column::text("name"),
        Column::text("email").unique(),
        Column::text("username").unique().named("user_name"),
        Column::text("nick").unique(),
    ];
    let table = Table::new("user", columns);
    let key = |constraint: &str| table.unique_column(constraint).map(|column| column.key.to_string());
    for name in [
        "user.user_name",
        "user_name",
        "user_user_name_key",
        "user_user_name_uidx",
        "user.user_user_name_uidx",
    ] {
        assert_eq!(key(name).as_deref(), Some("username"), "{name}");
    }
    assert_eq!(key("user_email_unique").as_deref(), Some("email"));
    for name in
        ["", "user_name_of_dog", "nickname", "user.name", "mynick", "PRIMARY", "unknown", "email_0123abcd"]
    {
        assert_eq!(key(name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_column_has_no_room_for_is_known_before_it_is_written() {
    let columns = || {
        vec![
            Column::id(),
            Column::text("email").unique(),
            Column::text("name").sortable(),
            Column::text("image").required_if(false),
        ]
    };
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(url) = databases::fresh_database(dialect).await else { continue };
        let schema = Schema::new(vec![Table::new("thing", columns())]);
        let store = Store::connect(ConnectOptions::new(url, schema)).await.unwrap();
        store.migrate().await.unwrap();
        // What fits, by letters and by bytes, and one more than that.
        for (number, (column, letter, fits)) in [
            ("id", "x", 36),
            ("email", "ä", 255),
            ("name", "x", 255),
            ("image", "x", 65_535),
            ("image", "ä", 32_767),
        ]
        .into_iter()
        .enumerate()
        {
            for (more, refused) in [(0, None), (1, Some(column))] {
                let text = |key: &str| format!("{key}{number}{more}");
                let row = Row::from([("id", text("i")), ("email", text("e")), ("name", text("n"))])
                    .with("image", text("p"));
                let row = row.with(column, letter.repeat(fits + more));
                let expected = refused.filter(|_| dialect == Dialect::MySql);
                assert_eq!(store.overlong("thing", &row), expected, "{dialect} {column}");
                let stored = store.db().insert("thing", row).await;
                assert_eq!(stored.is_err(), expected.is_some(), "{dialect} {column}: {stored:?}");
            }
        }
    }
}

#[test]
fn a_write_under_way_ends_with_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(memory());
    let writing = store.writing(&Table::new("session", vec![]), Some(&Filter::All));
    runtime.spawn(async move {
        let _writing = writing;
        std::future::pending::<()>().await;
    });
    runtime.block_on(tokio::task::yield_now());
    let before = store.moment();
    drop(runtime);
    assert!(!store.unchanged(before, store.traces("t", "u")), "nobody saw the end of that write");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_about_others_at_once_are_all_told() {
    let files = Files::new();
    let trusted_for = Duration::from_millis(300);
    let options = ConnectOptions { trusted_for, ..options(files.url(), 1) };
    let store = Store::connect(options).await.unwrap();
    for _ in 0..3 {
        // What was known is too old now.
        tokio::time::sleep(trusted_for * 2).await;
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.knows_others().await })
            })
            .collect();
        for asked in asked {
            assert!(asked.await.unwrap());
        }
    }
}
