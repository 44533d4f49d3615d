//! One connection, of whichever database, with or without a transaction around it. Everything above
//! speaks of statements and values; everything below is a driver.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, MySql, Postgres, Row as _, Sqlite, Transaction};

use super::gate::Gate;
use super::schema::Kind;
use super::sql::{Param, Statement};
use super::value::Value;
use super::{Dialect, StoreError, mysql, postgres, sqlite};

/// The pool of one database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// SQLite has one writer at a time anyway. With one connection for it, writers of this process wait
    /// in line instead of on a lock, and what others have written can be told from what was written here.
    /// In memory the two pools are one.
    Sqlite {
        readers: sqlx::SqlitePool,
        writer: sqlx::SqlitePool,
        private: bool,
    },
    Postgres(sqlx::PgPool, postgres::Pooling, Arc<Gate>),
    MySql(sqlx::MySqlPool, Arc<Gate>),
}

/// The pool in numbers.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// Connections that lie idle.
    pub idle: u64,
    /// Connections in use.
    pub in_use: u64,
    /// How many there may be.
    pub limit: u64,
    /// How often somebody found no database, no connection or a busy one.
    pub unavailable: u64,
    /// Is the database away?
    pub down: bool,
}

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
    /// Several statements that happen together or not at all.
    Transaction,
}

/// A connection that is held.
pub(super) enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    MySql(PoolConnection<MySql>),
    SqliteTx(Transaction<'static, Sqlite>),
    /// With whether its statements may be kept under names.
    PostgresTx(Transaction<'static, Postgres>, bool),
    MySqlTx(Transaction<'static, MySql>),
}

/// A column of an answer: what it is called in errors and what it should hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub table: &'a str,
    pub column: &'a str,
    pub kind: Kind,
}

impl Pool {
    /// A connection. Behind PgBouncer every statement needs a transaction.
    pub async fn link(&self, purpose: Purpose) -> Result<Link, StoreError> {
        // Once: it is five kilobytes, of everybody who waits for a connection.
        let opening = std::pin::pin!(self.open(purpose));
        let Some(gate) = self.gate() else { return opening.await };
        let opened = gate.pass(opening, || self.ask()).await;
        self.look_at(&opened);
        opened
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres(_, _, gate) | Self::MySql(_, gate) => Some(gate),
        }
    }

    /// An error may mean that the database is away; then somebody has to find out.
    pub fn look_at<T>(&self, outcome: &Result<T, StoreError>) {
        let Err(error) = outcome else { return };
        if error.lost_connection() || error.pool_timed_out() {
            if let Some(gate) = self.gate() {
                gate.suspect();
            }
            self.ask();
        }
    }

    /// Is the database there?
    fn ask(&self) {
        match self {
            Self::Sqlite { .. } => {}
            Self::Postgres(pool, _, gate) => gate.ask(&*pool.connect_options()),
            Self::MySql(pool, gate) => gate.ask(&*pool.connect_options()),
        }
    }

    /// Is the database this process's alone, because it is in its memory?
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Sqlite { private: true, .. })
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Self::Sqlite { writer, .. } => writer.is_closed(),
            Self::Postgres(pool, ..) => pool.is_closed(),
            Self::MySql(pool, _) => pool.is_closed(),
        }
    }

    /// The pool in numbers; those who were sent away are counted elsewhere.
    pub fn state(&self) -> PoolState {
        fn counts<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> (u32, usize, u32) {
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        }
        let (size, idle, limit) = match self {
            Self::Sqlite { readers, private: true, .. } => counts(readers),
            Self::Sqlite { readers, writer, .. } => {
                let (all, one) = (counts(readers), counts(writer));
                (all.0 + one.0, all.1 + one.1, all.2 + one.2)
            }
            Self::Postgres(pool, ..) => counts(pool),
            Self::MySql(pool, _) => counts(pool),
        };
        let idle = u64::try_from(idle).unwrap_or(u64::MAX).min(u64::from(size));
        PoolState {
            idle,
            in_use: u64::from(size).saturating_sub(idle),
            limit: u64::from(limit),
            unavailable: 0,
            down: self.gate().is_some_and(|gate| gate.is_down()),
        }
    }

    async fn open(&self, purpose: Purpose) -> Result<Link, StoreError> {
        let transaction = purpose == Purpose::Transaction;
        Ok(match (self, transaction) {
            (Self::Sqlite { readers, writer, .. }, false) => {
                let pool = if purpose == Purpose::Read { readers } else { writer };
                Link::Sqlite(pool.acquire().await?)
            }
            // A transaction that starts by reading and then writes can find that another writer was
            // faster and must fail; one that starts as a writer waits its turn instead.
            (Self::Sqlite { writer, .. }, true) => {
                Link::SqliteTx(writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            (Self::Postgres(pool, pooling, _), true) => {
                Link::PostgresTx(postgres::begin(pool, pooling).await?, pooling.names_last())
            }
            (Self::Postgres(pool, pooling, _), false) => match pooling {
                postgres::Pooling::Direct => Link::Postgres(pool.acquire().await?),
                postgres::Pooling::Transaction { .. } => {
                    Link::PostgresTx(postgres::begin(pool, pooling).await?, false)
                }
            },
            (Self::MySql(pool, _), false) => Link::MySql(pool.acquire().await?),
            (Self::MySql(pool, _), true) => Link::MySqlTx(pool.begin().await?),
        })
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool, ..) => pool.close().await,
            Self::MySql(pool, _) => pool.close().await,
        }
    }
}

impl Link {
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) | Self::SqliteTx(_) => Dialect::Sqlite,
            Self::Postgres(_) | Self::PostgresTx(..) => Dialect::Postgres,
            Self::MySql(_) | Self::MySqlTx(_) => Dialect::MySql,
        }
    }

    /// Ends the transaction, if there is one.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::SqliteTx(tx) => tx.commit().await?,
            Self::PostgresTx(tx, _) => tx.commit().await?,
            Self::MySqlTx(tx) => tx.commit().await?,
            Self::Sqlite(_) | Self::Postgres(_) | Self::MySql(_) => {}
        }
        Ok(())
    }

    /// Gives the transaction up, if there is one. Dropping does the same, a little later.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::SqliteTx(tx) => tx.rollback().await?,
            Self::PostgresTx(tx, _) => tx.rollback().await?,
            Self::MySqlTx(tx) => tx.rollback().await?,
            Self::Sqlite(_) | Self::Postgres(_) | Self::MySql(_) => {}
        }
        Ok(())
    }

    fn inner(&mut self) -> Driver<'_> {
        match self {
            Self::Sqlite(held) => Driver::Sqlite(held),
            Self::SqliteTx(held) => Driver::Sqlite(held),
            Self::Postgres(held) => Driver::Postgres(held, true),
            Self::PostgresTx(held, named) => Driver::Postgres(held, *named),
            Self::MySql(held) => Driver::MySql(held),
            Self::MySqlTx(held) => Driver::MySql(held),
        }
    }

    /// The rows of a statement, all of them. SQLite's `… returning` is only done when it has been
    /// read to its end.
    pub async fn rows(
        &mut self,
        statement: Statement,
        slots: &[Slot<'_>],
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let Statement { sql, params } = statement;
        let sql = AssertSqlSafe(sql);
        match self.inner() {
            Driver::Sqlite(connection) => {
                let rows = sqlx::query_with(sql, sqlite::bind(params)?).fetch_all(connection).await?;
                rows.iter()
                    .map(|row| decode(slots, row.len(), |at, slot| sqlite::read(row, at, slot)))
                    .collect()
            }
            Driver::Postgres(connection, named) => {
                let query = sqlx::query_with(sql, postgres::bind(params)?).persistent(named);
                let rows = query.fetch_all(connection).await?;
                rows.iter()
                    .map(|row| decode(slots, row.len(), |at, slot| postgres::read(row, at, slot)))
                    .collect()
            }
            Driver::MySql(connection) => {
                let rows = sqlx::query_with(sql, mysql::bind(params)?).fetch_all(connection).await?;
                rows.iter()
                    .map(|row| decode(slots, row.len(), |at, slot| mysql::read(row, at, slot)))
                    .collect()
            }
        }
    }

    /// Runs a statement; how many rows it touched, and MySQL's last id.
    pub async fn execute(&mut self, statement: Statement) -> Result<(u64, u64), StoreError> {
        let Statement { sql, params } = statement;
        let sql = AssertSqlSafe(sql);
        Ok(match self.inner() {
            Driver::Sqlite(connection) => {
                let done = sqlx::query_with(sql, sqlite::bind(params)?).execute(connection).await?;
                (done.rows_affected(), 0)
            }
            Driver::Postgres(connection, named) => {
                let query = sqlx::query_with(sql, postgres::bind(params)?).persistent(named);
                let done = query.execute(connection).await?;
                (done.rows_affected(), 0)
            }
            Driver::MySql(connection) => {
                let done = sqlx::query_with(sql, mysql::bind(params)?).execute(connection).await?;
                (done.rows_affected(), done.last_insert_id())
            }
        })
    }

    /// Runs SQL as it is, without parameters and without preparing it: DDL and settings.
    pub async fn raw(&mut self, sql: String) -> Result<(), StoreError> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self.inner() {
            Driver::Sqlite(connection) => sql.execute(connection).await.map(drop)?,
            Driver::Postgres(connection, _) => sql.execute(connection).await.map(drop)?,
            Driver::MySql(connection) => sql.execute(connection).await.map(drop)?,
        }
        Ok(())
    }

    /// Rows of a query that was written by hand (the catalogues of the databases).
    pub async fn catalogue(
        &mut self,
        sql: &str,
        params: Vec<Param>,
        kinds: &[Kind],
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let slots: Vec<_> =
            kinds.iter().map(|kind| Slot { table: "catalogue", column: "column", kind: *kind }).collect();
        self.rows(Statement { sql: sql.into(), params }, &slots).await
    }
}

enum Driver<'c> {
    Sqlite(&'c mut sqlx::SqliteConnection),
    Postgres(&'c mut sqlx::PgConnection, bool),
    MySql(&'c mut sqlx::MySqlConnection),
}

fn decode(
    slots: &[Slot<'_>],
    columns: usize,
    read: impl Fn(usize, Slot<'_>) -> Result<Value, StoreError>,
) -> Result<Vec<Value>, StoreError> {
    if columns != slots.len() {
        return Err(StoreError::bug("an answer with an unexpected number of columns"));
    }
    slots.iter().enumerate().map(|(at, slot)| read(at, *slot)).collect()
}

/// How long a connection may lie idle before it is tried out ahead of its use.
const FRESH: Duration = Duration::from_secs(5);

/// What the pools have in common. A connection that was used a moment ago is trusted: trying it
/// out first would double the round trips of a session read.
pub(super) fn pool_options<DB: sqlx::Database>(
    max_connections: u32,
    acquire_timeout: Duration,
    gate: Option<&Arc<Gate>>,
) -> sqlx::pool::PoolOptions<DB> {
    use sqlx::Connection as _;
    let gate = gate.cloned();
    sqlx::pool::PoolOptions::new()
        .max_connections(max_connections.max(1))
        .acquire_timeout(acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut DB::Connection, meta| {
            let doubtful =
                meta.idle_for >= FRESH || gate.as_ref().is_some_and(|gate| gate.distrusts(meta.idle_for));
            Box::pin(async move { Ok(!doubtful || connection.ping().await.is_ok()) })
        })
}

/// What a driver found in a column, before the column's kind has a say.
#[derive(Debug)]
pub(super) enum Found {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(crate::clock::Timestamp),
    Json(serde_json::Value),
    /// A type that no column of ours has.
    Other,
}

impl Slot<'_> {
    /// The value of a column from what the driver found. Accepts what other tools write into the
    /// same tables: numbers for booleans, epochs for dates, text for JSON.
    pub fn value(&self, found: Found) -> Result<Value, StoreError> {
        let value = match (self.kind, found) {
            (_, Found::Null) => Some(Value::Null),
            (Kind::Id | Kind::Text, Found::Text(text)) => Some(Value::Text(text)),
            (Kind::Id | Kind::Text, Found::Int(number)) => Some(Value::Text(number.to_string())),
            (Kind::Text, Found::Float(number)) => Some(Value::Text(number.to_string())),
            (Kind::Text, Found::Json(json)) => Some(Value::Text(json.to_string())),
            (Kind::Text, Found::Time(at)) => Some(Value::Text(at.to_string())),
            (Kind::Text, Found::Bool(flag)) => Some(Value::Text(flag.to_string())),
            (Kind::Bool, Found::Bool(flag)) => Some(Value::Bool(flag)),
            (Kind::Bool, Found::Int(number)) => Some(Value::Bool(number == 1)),
            (Kind::Bool, Found::Text(text)) => match text.as_str() {
                "1" | "true" => Some(Value::Bool(true)),
                "0" | "false" => Some(Value::Bool(false)),
                _ => None,
            },
            (Kind::Int | Kind::BigInt, Found::Int(number)) => Some(Value::Int(number)),
            (Kind::Int | Kind::BigInt, Found::Bool(flag)) => Some(Value::Int(i64::from(flag))),
            (Kind::Int | Kind::BigInt, Found::Float(number)) => Some(whole(number)),
            (Kind::Int | Kind::BigInt, Found::Text(text)) => {
                text.parse().map(Value::Int).or_else(|_| text.parse().map(whole)).ok()
            }
            (Kind::Time, Found::Time(at)) => Some(Value::Time(at)),
            (Kind::Time, Found::Int(number)) => Some(Value::Time(epoch(number))),
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and dates are clamped")]
            (Kind::Time, Found::Float(number)) => Some(Value::Time(epoch(number as i64))),
            (Kind::Time, Found::Text(text)) => date(&text).map(Value::Time),
            (Kind::Json, Found::Json(json)) => Some(Value::Json(json)),
            (Kind::Json, Found::Text(text)) => serde_json::from_str(&text).map(Value::Json).ok(),
            (Kind::TextList | Kind::IntList, Found::Json(json)) => list(json),
            (Kind::TextList | Kind::IntList, Found::Text(text)) => {
                serde_json::from_str(&text).ok().and_then(list)
            }
            _ => None,
        };
        value.ok_or_else(|| {
            StoreError::Decode(format!("{}.{}: not a value of kind {:?}", self.table, self.column, self.kind))
        })
    }
}

/// A list, which may have been encoded twice.
fn list(json: serde_json::Value) -> Option<Value> {
    match json {
        serde_json::Value::Array(_) => Some(Value::Json(json)),
        serde_json::Value::Null => Some(Value::Null),
        serde_json::Value::String(text) => match serde_json::from_str(&text) {
            Ok(json @ serde_json::Value::Array(_)) => Some(Value::Json(json)),
            _ => None,
        },
        _ => None,
    }
}

fn whole(number: f64) -> Value {
    // 2^53: beyond it a double is not a count of anything.
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        return Value::Int(number as i64);
    }
    Value::Float(number)
}

/// Seconds or milliseconds: some ORMs write the one, some the other. In seconds, 10^11 is the year
/// 5138; in milliseconds, 1973.
fn epoch(number: i64) -> crate::clock::Timestamp {
    let seconds = number.unsigned_abs() < 100_000_000_000;
    crate::clock::Timestamp::from_millis(if seconds { number.saturating_mul(1000) } else { number })
}

/// ISO-8601, SQLite's `YYYY-MM-DD HH:MM:SS[.mmm]` and `YYYY-MM-DD` (both UTC), or an epoch as text.
fn date(text: &str) -> Option<crate::clock::Timestamp> {
    use crate::clock::Timestamp;
    let zoned = text.replacen(' ', "T", 1);
    Timestamp::parse(&zoned)
        .or_else(|| Timestamp::parse(&format!("{zoned}Z")))
        .or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
        .or_else(|| text.parse().map(epoch).ok())
}

/// Why a pool could not be opened. It tries again until its time is over and then knows only that; one
/// attempt on its own says what is wrong (refused, unknown host, wrong password).
pub(super) async fn why_not<O>(error: sqlx::Error, options: &O) -> StoreError
where
    O: sqlx::ConnectOptions,
    O::Connection: Sized,
{
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error.into();
    }
    let attempt = tokio::time::timeout(std::time::Duration::from_secs(2), options.connect());
    match attempt.await {
        Ok(Err(cause)) => cause.into(),
        Ok(Ok(_)) | Err(_) => error.into(),
    }
}
