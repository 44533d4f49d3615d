//! What others write to PostgreSQL. Triggers tell it (`NOTIFY`), whoever writes: another instance, a Node
//! server, `psql`. One connection of this process listens, for as long as the store is open.
//!
//! What is told is whose rows were written, never a session's token: every role of the database may
//! listen. What was remembered counts only while the connection answers and the triggers are there, which
//! is asked every second; without them every read goes to the database. That telling works at all is tried
//! first: a pooler that nobody has declared takes `LISTEN` and hears nothing.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::Weak;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::ddl::Writer;
use super::link::{Link, Pool, Purpose};
use super::migrate::LOCK;
use super::schema::{Kind, Schema, Table};
use super::value::Value;
use super::{Inner, Store, StoreError};

/// The channel, the triggers and their function. Another body of the function needs another name, or
/// databases would go on with the old one.
const NAME: &str = "portcullis_wrote";
/// The trigger for `TRUNCATE`, which no rows go through.
const TRUNCATED: &str = "portcullis_wrote_all";
/// How often the connection is asked whether it is still one.
const EVERY: Duration = Duration::from_secs(1);
/// After a connection that has broken.
const AGAIN: Duration = Duration::from_secs(1);
/// After one that never heard anything: a pooler does not go away by itself.
const AGAIN_DEAF: Duration = Duration::from_secs(60);
/// For how long an answer to that counts.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(3);

/// The tables whose rows are remembered, and the column that says whose they are; `None`: anybody's.
fn watched(schema: &Schema) -> impl Iterator<Item = (&Table, Option<&'static str>)> {
    schema.tables().filter_map(|table| match &*table.key {
        "session" => Some((table, Some("userId"))),
        "user" => Some((table, Some("id"))),
        _ => table.watched.then_some((table, None)),
    })
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Tells whose row it was. A payload has room for 8000 bytes; nobody in particular is everybody. Of the row
/// it looks at nothing else, and a column that was renamed since fails nobody's write.
fn function() -> String {
    format!(
        "create or replace function {NAME}() returns trigger language plpgsql set search_path = pg_catalog as $$ \
         declare who text; \
         begin \
         if tg_level = 'ROW' then \
         begin execute format('select ($1).%I::text', tg_argv[0]) into who using old; \
         exception when others then who := null; end; \
         end if; \
         perform pg_notify('{NAME}', case when length(who) < 1000 then who else '' end); \
         return null; \
         end $$"
    )
}

/// A table's triggers: name and what comes after it. Replicated rows count, too (`enable always`).
fn triggers(writer: &Writer<'_>, table: &Table, owner: Option<&str>) -> Vec<(&'static str, String)> {
    let on = writer.quote(&table.name);
    let Some(column) = owner.and_then(|owner| table.column(owner)) else {
        let when = "after insert or update or delete or truncate";
        return vec![(NAME, format!("{when} on {on} for each statement execute function {NAME}()"))];
    };
    let column = literal(&column.name);
    vec![
        (NAME, format!("after update or delete on {on} for each row execute function {NAME}({column})")),
        (TRUNCATED, format!("after truncate on {on} for each statement execute function {NAME}()")),
    ]
}

/// How many of the triggers are there, and how many there are to be. Those of a table that has parts do not
/// see what is written to a part.
fn census(writer: &Writer<'_>) -> (String, i64) {
    let (mut tables, mut expected) = (Vec::new(), 0);
    for (table, owner) in watched(writer.schema) {
        tables.push(format!("to_regclass({})", literal(&writer.quote(&table.name))));
        expected += if owner.is_some() { 2 } else { 1 };
    }
    let sql = format!(
        "select count(*) from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid \
         where t.tgenabled = 'A' and t.tgname in ('{NAME}', '{TRUNCATED}') and c.oid in ({}) \
         and c.relkind = 'r' and not exists (select 1 from pg_catalog.pg_inherits where inhparent = c.oid)",
        tables.join(", ")
    );
    (sql, expected)
}

impl Store {
    /// Can somebody tell us what others write? Behind a pooler nobody listens.
    fn can_listen(&self) -> bool {
        self.0.remembers && matches!(&self.0.pool, Pool::Postgres(_, pooling, _) if pooling.names_last())
    }

    /// Is there a way to know whether what was read is [`still`](Store::still) so?
    pub fn can_remember(&self) -> bool {
        matches!(self.0.pool, Pool::Sqlite { .. }) || self.can_listen()
    }

    /// The statements that would make the triggers; none when they are there or of no use.
    pub(super) async fn missing_triggers(&self, link: &mut Link) -> Result<Vec<String>, StoreError> {
        if !self.can_listen() {
            return Ok(Vec::new());
        }
        let writer = self.writer();
        let (sql, expected) = census(&writer);
        let there = link.catalogue(&sql, Vec::new(), &[Kind::Int]).await?;
        if there.first().and_then(|row| row.first()).and_then(Value::as_i64) == Some(expected) {
            return Ok(Vec::new());
        }
        let mut statements = vec![function()];
        for (table, owner) in watched(self.schema()) {
            let on = writer.quote(&table.name);
            for (name, what) in triggers(&writer, table, owner) {
                let mut all = format!("drop trigger if exists {name} on {on}; ");
                // Writing to a String cannot fail.
                let _ = write!(all, "create trigger {name} {what}; ");
                let _ = write!(all, "alter table {on} enable always trigger {name}");
                statements.push(all);
            }
        }
        Ok(statements)
    }

    /// Makes the triggers that are missing. That they cannot be made (somebody else owns the tables) costs
    /// speed and nothing else.
    pub(super) async fn make_triggers(&self) -> Result<Vec<String>, StoreError> {
        if !self.can_listen() {
            return Ok(Vec::new());
        }
        let made = async {
            let mut link = self.0.pool.link(Purpose::Transaction).await?;
            link.raw(LOCK.to_owned()).await?;
            let statements = self.missing_triggers(&mut link).await?;
            for statement in &statements {
                link.raw(statement.clone()).await?;
            }
            link.commit().await?;
            Ok::<_, StoreError>(statements)
        };
        match made.await {
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "no triggers can be made that tell of writes, so every session is read from the database; \
                     run `portcullis migrate` as the tables' owner, or set session.memoryCacheSize to 0"
                );
                Ok(Vec::new())
            }
            made => made,
        }
    }

    /// Begins to listen, until the store is closed or dropped.
    pub(super) fn listen(&self) {
        if !self.can_listen() {
            return;
        }
        let Pool::Postgres(pool, ..) = &self.0.pool else { return };
        let (store, pool) = (std::sync::Arc::downgrade(&self.0), pool.clone());
        let (census, expected) = census(&self.writer());
        tokio::spawn(async move {
            let options = (*pool.connect_options()).clone();
            let mut closed = pool.close_event();
            let listening = async {
                let mut warned = false;
                loop {
                    let mut wait = AGAIN;
                    match hear(&store, &pool, options.clone(), &census, expected).await {
                        Ok(Ended::Gone) => return,
                        Ok(Ended::Deaf) => {
                            wait = AGAIN_DEAF;
                            if !std::mem::replace(&mut warned, true) {
                                tracing::warn!("{DEAF}");
                            }
                        }
                        Err(error) => tracing::debug!(%error, "nobody tells of writes"),
                    }
                    let Some(store) = store.upgrade() else { return };
                    store.written.look_away();
                    drop(store);
                    tokio::time::sleep(wait).await;
                }
            };
            let _ = closed.do_until(listening).await;
        });
    }
}

/// How listening ended, if not by an error.
enum Ended {
    /// The store is not there any more.
    Gone,
    /// What was said was not heard.
    Deaf,
}

const DEAF: &str = "the database takes LISTEN and nothing is heard, as behind a pooler; every session is read \
    from it. Say database.pooler = true, or set session.memoryCacheSize to 0";

/// Listens on a connection of its own until it breaks.
async fn hear(
    store: &Weak<Inner>,
    pool: &sqlx::PgPool,
    options: sqlx::postgres::PgConnectOptions,
    census: &str,
    expected: i64,
) -> Result<Ended, sqlx::Error> {
    let lone = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(TRUSTED_FOR)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await?;
    let mut listener = PgListener::connect_with(&lone).await?;
    listener.eager_reconnect(false);
    let patience = |_| sqlx::Error::PoolTimedOut;
    tokio::time::timeout(TRUSTED_FOR, listener.listen(NAME)).await.map_err(patience)??;
    let probe = format!("?{:016x}", RandomState::new().hash_one(Instant::now()));
    sqlx::query("select pg_notify($1, $2)").bind(NAME).bind(&probe).execute(pool).await?;
    let heard = async {
        loop {
            match listener.try_recv().await? {
                Some(told) if told.payload() == probe => return Ok::<_, sqlx::Error>(()),
                Some(_) => {}
                None => return Err(sqlx::Error::PoolClosed),
            }
        }
    };
    match tokio::time::timeout(TRUSTED_FOR, heard).await {
        Ok(heard) => heard?,
        Err(_) => return Ok(Ended::Deaf),
    }
    let mut began = true;
    loop {
        let Some(inner) = store.upgrade() else { return Ok(Ended::Gone) };
        let asked = inner.written.elapsed();
        let question = sqlx::query_scalar::<_, i64>(AssertSqlSafe(census)).fetch_one(&mut listener);
        let there = tokio::time::timeout(TRUSTED_FOR, question).await.map_err(patience)??;
        // The answer came behind everything that was told before the question.
        while let Some(told) = listener.next_buffered() {
            inner.written.told(told.payload());
        }
        if there == expected {
            if std::mem::take(&mut began) {
                // What was written before anybody told.
                inner.written.told("");
            }
            inner.written.looked_at(asked);
        } else {
            began = true;
            inner.written.look_away();
        }
        drop(inner);
        let next = Instant::now() + EVERY;
        while let Ok(told) = tokio::time::timeout_at(next.into(), listener.try_recv()).await {
            let Some(told) = told? else { return Err(sqlx::Error::PoolClosed) };
            let Some(inner) = store.upgrade() else { return Ok(Ended::Gone) };
            inner.written.told(told.payload());
        }
    }
}
