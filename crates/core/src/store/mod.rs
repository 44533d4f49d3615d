//! The store: typed tables over SQLite, PostgreSQL, MySQL and MariaDB. The only place that knows SQL.
//!
//! Rows are those of Better Auth, in its encodings, because the database may be shared with the Node
//! server. Rooms declare tables ([`table!`]), then use a dozen verbs ([`Db`]); the verbs that decide
//! something are decided by the database: [`Db::consume`] gives a row to exactly one of many racers,
//! [`Db::increment`] counts under a guard, a unique constraint says who was first
//! ([`StoreError::Unique`]).
//!
//! Invariants:
//! - A verb holds one connection and never waits for a second one, so a pool of one is enough.
//! - A dropped [`Tx`] leaves nothing behind.
//! - Nothing that a database may contain panics; a wrong type is [`StoreError::Decode`], which names
//!   the column and never shows the value.
//! - Migrations add; they never drop or change what is there.

mod agreed;
mod ddl;
mod error;
mod filter;
mod gate;
mod introspect;
mod link;
mod listen;
mod migrate;
mod mysql;
mod postgres;
mod schema;
mod sql;
mod sqlite;
mod table;
mod value;
mod written;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;

#[cfg(test)]
mod expected;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use agreed::Agreed;
pub(crate) use agreed::Agreement;
pub use error::StoreError;
pub use filter::{Field, Filter, Fits, Key, Order, Query};
pub use link::PoolState;
pub use migrate::Plan;
pub use schema::{Column, DefaultValue, IdKind, Kind, OnDelete, Reference, Schema, Table};
pub use table::table;
pub use value::{Cell, Row, Value};
pub use written::{Moment, Traces};

use crate::clock::Clock;
use crate::database_hooks::{Model, Verb};
use crate::error::Error;
use link::{Link, Pool, Purpose, Slot};
use sql::{Compiler, Statement};
use written::{Writing, Written};

/// Which SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

/// How to reach the database, and what is in it.
#[derive(Clone)]
pub struct ConnectOptions {
    /// `sqlite:/path`, `sqlite::memory:`, `postgres://…`, `postgresql://…` or `mysql://…`.
    pub url: String,
    /// Size of the pool; at least 1.
    pub max_connections: u32,
    /// The tables.
    pub schema: Schema,
    /// Type and maker of ids.
    pub id_kind: IdKind,
    /// Whether PgBouncer in transaction mode stands between; `None` guesses from the URL (a host
    /// with `-pooler.`, or `pgbouncer=true`).
    pub pooler: Option<bool>,
    /// How long a verb waits for a connection before it is [`StoreError::Unavailable`].
    pub acquire_timeout: Duration,
    /// The tables may not be made here (`migrate: false`), so one that is missing is looked for under
    /// another name: the single foreign table that has exactly its columns is taken for it.
    pub adopt_names: bool,
    /// Is what was read remembered for as long as nobody writes it? PostgreSQL then gets triggers that tell
    /// of writes, and a connection that listens.
    pub remembers: bool,
    /// SQLite: for how long what is known of other processes' writes is good enough
    /// ([`Store::knows_others`]).
    pub trusted_for: Duration,
}

impl ConnectOptions {
    /// Ten connections, text ids, five seconds of patience, eight milliseconds of trust.
    pub fn new(url: impl Into<String>, schema: Schema) -> Self {
        Self {
            url: url.into(),
            max_connections: 10,
            schema,
            id_kind: IdKind::Text,
            pooler: None,
            acquire_timeout: Duration::from_secs(5),
            adopt_names: false,
            remembers: false,
            trusted_for: Duration::from_millis(8),
        }
    }
}

/// Without the URL: it may hold a password.
impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("max_connections", &self.max_connections)
            .field("id_kind", &self.id_kind)
            .field("pooler", &self.pooler)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}

/// A database with its schema. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

struct Inner {
    pool: Pool,
    schema: Schema,
    compiler: Compiler,
    clock: Clock,
    /// `account` has the NOT NULL `issuer` of Better Auth 1.7.0–1.7.2. It is filled because
    /// dropping it would be the operator's decision.
    issuer: AtomicBool,
    /// How often somebody was told "not now".
    unavailable: AtomicU64,
    /// Statements sent so far.
    statements: AtomicU64,
    remembers: bool,
    written: Written,
}

impl Store {
    /// Opens the database and looks whether it answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be reached within the timeout.
    pub async fn connect(options: ConnectOptions) -> Result<Self, StoreError> {
        Self::connect_with_clock(options, Clock::system()).await
    }

    /// The same, with the clock that `DefaultValue::Now` reads.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect_with_clock(options: ConnectOptions, clock: Clock) -> Result<Self, StoreError> {
        let scheme = options.url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let (pool, dialect) = match scheme.as_str() {
            "sqlite" => (sqlite::connect(&options).await?, Dialect::Sqlite),
            "postgres" | "postgresql" => {
                let (pool, pooling, gate) = postgres::connect(&options).await?;
                (Pool::Postgres(pool, pooling, gate), Dialect::Postgres)
            }
            "mysql" | "mariadb" => {
                let (pool, gate) = mysql::connect(&options).await?;
                (Pool::MySql(pool, gate), Dialect::MySql)
            }
            _ => {
                return Err(StoreError::other(
                    "the database URL must start with sqlite:, postgres:// or mysql://",
                ));
            }
        };
        let mut schema = options.schema;
        if options.adopt_names {
            migrate::adopt_names(&mut pool.link(Purpose::Read).await?, dialect, &mut schema).await?;
        }
        let store = Self(Arc::new(Inner {
            pool,
            schema,
            compiler: Compiler::new(dialect, options.id_kind),
            clock,
            issuer: AtomicBool::new(false),
            unavailable: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            remembers: options.remembers,
            written: Written::new(options.trusted_for),
        }));
        store.notice_issuer().await?;
        store.listen();
        Ok(store)
    }

    /// The tables.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// Which SQL is spoken.
    pub fn dialect(&self) -> Dialect {
        self.0.compiler.dialect
    }

    /// Type and maker of ids.
    pub fn id_kind(&self) -> IdKind {
        self.0.compiler.ids
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answered = async {
            let mut link = self.0.pool.link(Purpose::Read).await?;
            link.raw("select 1".to_owned()).await?;
            link.commit().await
        };
        self.look_at(answered.await)
    }

    /// Closes all connections; verbs that are under way finish first.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    /// The verbs, each on its own.
    pub fn db(&self) -> Db<'_> {
        Db { store: self, tx: None }
    }

    /// Starts a transaction for writing. In SQLite it is the only writer until it ends: keep slow
    /// things (hashing, mail, HTTP) out of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection came free, or another writer took too long.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let link = self.look_at(self.0.pool.link(Purpose::Transaction).await)?;
        Ok(Tx {
            store: self.clone(),
            link,
            failed: false,
            after: Vec::new(),
            agreed: Agreed::new(),
            writing: Vec::new(),
        })
    }

    /// The pool in numbers.
    pub fn pool(&self) -> PoolState {
        let mut state = self.0.pool.state();
        state.unavailable = self.0.unavailable.load(Ordering::Relaxed);
        state
    }

    /// Writes DDL for this database and schema.
    fn writer(&self) -> ddl::Writer<'_> {
        ddl::Writer { dialect: self.dialect(), ids: self.id_kind(), schema: self.schema() }
    }

    /// The first column of a row whose text is longer than this database can store. MySQL alone has such
    /// columns: Better Auth's `varchar` and `text`.
    pub fn overlong<'r>(&self, table_key: &str, row: &'r Row) -> Option<&'r str> {
        let table = self.0.schema.get(table_key)?;
        let writer = self.writer();
        row.iter().find_map(|(key, value)| match (table.column(key), value) {
            (Some(column), Value::Text(text)) if !writer.has_room(table, column, text) => Some(key),
            _ => None,
        })
    }

    /// Statements sent to the database so far by verbs, but for those that begin and end transactions.
    pub fn statements(&self) -> u64 {
        self.0.statements.load(Ordering::Relaxed)
    }

    /// Counts an outcome that says "not now", and finds out whether the database is away.
    fn look_at<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.pool.look_at(&outcome);
        if matches!(outcome, Err(StoreError::Unavailable(_))) {
            self.0.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn table(&self, key: &str) -> Result<&Table, StoreError> {
        self.0.schema.get(key).ok_or_else(|| StoreError::bug(&format!("there is no table {key}")))
    }
}

/// Several verbs that happen together or not at all. Dropping it takes them back.
#[must_use = "a transaction that is not committed is taken back"]
pub struct Tx {
    store: Store,
    link: Link,
    failed: bool,
    after: Vec<AfterCommit>,
    agreed: Agreed,
    writing: Vec<Writing>,
}

/// What is to happen once a transaction lasts.
type AfterCommit = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Tx {
    /// The same transaction, with what hooks have agreed to.
    pub(crate) fn agreed(mut self, agreed: Agreed) -> Self {
        self.agreed = agreed;
        self
    }

    /// The verbs, inside the transaction.
    pub fn db(&mut self) -> Db<'_> {
        let within = Within {
            link: &mut self.link,
            failed: &mut self.failed,
            after: &mut self.after,
            agreed: &mut self.agreed,
            writing: &mut self.writing,
        };
        Db { store: &self.store, tx: Some(within) }
    }

    /// Makes it last; then does what was to wait for that ([`Db::after_commit`]), in order.
    ///
    /// # Errors
    /// When a verb has failed before: PostgreSQL has given the transaction up by then and would
    /// answer "commit" with a rollback, so none of the databases commits. The first error of what
    /// waited is returned too, though the transaction lasts and the others were done.
    pub async fn commit(self) -> Result<(), Error> {
        if self.failed {
            self.link.rollback().await?;
            return Err(StoreError::bug("commit after a verb failed: the transaction was rolled back").into());
        }
        self.store.look_at(self.link.commit().await)?;
        self.writing.into_iter().for_each(Writing::done);
        let mut outcome = Ok(());
        for job in self.after {
            outcome = outcome.and(job.await);
        }
        outcome
    }

    /// Takes it back now rather than a moment after the drop.
    ///
    /// # Errors
    /// When the connection broke; then the database takes it back by itself.
    pub async fn rollback(self) -> Result<(), StoreError> {
        self.link.rollback().await?;
        self.writing.into_iter().for_each(Writing::done);
        Ok(())
    }
}

/// The verbs. Tables and columns are named by key.
pub struct Db<'a> {
    store: &'a Store,
    tx: Option<Within<'a>>,
}

/// The transaction that verbs are part of.
struct Within<'a> {
    link: &'a mut Link,
    failed: &'a mut bool,
    after: &'a mut Vec<AfterCommit>,
    agreed: &'a mut Agreed,
    writing: &'a mut Vec<Writing>,
}

impl std::fmt::Debug for Db<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("transaction", &self.tx.is_some()).finish_non_exhaustive()
    }
}

/// One verb, ready to run, and to run again when it had to give way to another transaction.
enum Job<'a> {
    /// A statement with an answer.
    Rows { statement: Statement, slots: &'a [Slot<'a>], read_only: bool },
    /// A statement that touches rows.
    Touch(Statement),
    /// MySQL: lock and read a row; then change it by id and, unless it is deleted, read it again.
    Change { lock: Statement, table: &'a Table, slots: &'a [Slot<'a>], change: Change<'a> },
    /// MySQL: insert; then read the row back.
    Insert { statement: Statement, table: &'a Table, slots: &'a [Slot<'a>], id: Option<&'a Value> },
}

enum Change<'a> {
    Delete,
    Update { changes: &'a Row, increment: Option<(&'a str, i64)> },
}

#[derive(Default)]
struct Outcome {
    rows: Vec<Vec<Value>>,
    touched: u64,
}

/// How often a verb that gave way is tried again.
const ATTEMPTS: u32 = 8;

impl Db<'_> {
    /// Whether these verbs are part of a transaction: then nothing may be awaited here that another
    /// request does while it waits for a connection.
    pub fn in_transaction(&self) -> bool {
        self.tx.is_some()
    }

    /// What was agreed with hooks about the next write of this kind.
    pub(crate) fn take_agreed(&mut self, model: Model, verb: Verb) -> Option<Agreement> {
        self.tx.as_mut()?.agreed.take(model, verb)
    }

    /// Under which name an identifier is stored, as was asked before the transaction.
    pub(crate) fn agreed_name(&self, identifier: &str) -> Option<String> {
        self.tx.as_ref()?.agreed.name_of(identifier).map(str::to_owned)
    }

    /// Does something when the writes before it last: after the commit, or at once outside of a
    /// transaction. Dropped undone with a transaction that is taken back.
    ///
    /// # Errors
    /// The job's own, when it runs at once; later, [`Tx::commit`] has them.
    pub async fn after_commit(
        &mut self,
        job: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Result<(), Error> {
        match &mut self.tx {
            Some(within) => {
                within.after.push(Box::pin(job));
                Ok(())
            }
            None => job.await,
        }
    }

    /// The first row that the filter takes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Decode`].
    pub async fn find(&mut self, table_key: &str, filter: &Filter) -> Result<Option<Row>, StoreError> {
        let store = self.store;
        let table = store.table(table_key)?;
        let statement = store.0.compiler.find(table, filter, false)?;
        let rows = self.rows(statement, table, true).await?;
        Ok(first(table, rows))
    }

    /// The rows that the query takes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Decode`].
    pub async fn list(&mut self, table_key: &str, query: &Query) -> Result<Vec<Row>, StoreError> {
        let store = self.store;
        let table = store.table(table_key)?;
        let statement = store.0.compiler.select(table, query, false)?;
        let rows = self.rows(statement, table, true).await?;
        Ok(rows.into_iter().map(|values| row(table, values)).collect())
    }

    /// How many rows the filter takes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn count(&mut self, table_key: &str, filter: &Filter) -> Result<u64, StoreError> {
        let store = self.store;
        let table = store.table(table_key)?;
        let statement = store.0.compiler.count(table, filter)?;
        let slots = [Slot { table: &table.key, column: "count", kind: Kind::BigInt }];
        let outcome = self.run(&Job::Rows { statement, slots: &slots, read_only: true }).await?;
        match outcome.rows.first().and_then(|row| row.first()) {
            Some(Value::Int(count)) => u64::try_from(*count).map_err(StoreError::other),
            _ => Err(StoreError::bug("a count without a number")),
        }
    }

    /// The first row that the filter takes, with the row of another table that it points to, in one
    /// query: `on` is this table's column and the other's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Decode`].
    pub async fn find_with(
        &mut self,
        table_key: &str,
        filter: &Filter,
        other_key: &str,
        on: (&str, &str),
    ) -> Result<Option<(Row, Row)>, StoreError> {
        let store = self.store;
        let (table, other) = (store.table(table_key)?, store.table(other_key)?);
        let statement = store.0.compiler.find_with(table, filter, other, on)?;
        let mut slots = slots(table);
        slots.extend(self::slots(other));
        let outcome = self.run(&Job::Rows { statement, slots: &slots, read_only: true }).await?;
        Ok(outcome.rows.into_iter().next().map(|mut mine| {
            let theirs = mine.split_off(table.columns.len());
            (row(table, mine), row(other, theirs))
        }))
    }

    /// Adds a row and returns it as stored. Columns that it does not mention get their defaults; the
    /// id is the caller's unless the database makes ids.
    ///
    /// # Errors
    /// [`StoreError::Unique`] when one of its values is taken.
    pub async fn insert(&mut self, table_key: &str, mut row: Row) -> Result<Row, StoreError> {
        let store = self.store;
        let table = store.table(table_key)?;
        for column in table.columns.iter().filter(|column| column.default != DefaultValue::None) {
            if !row.contains(&column.key) {
                let value = match &column.default {
                    DefaultValue::Now => store.0.clock.now().into(),
                    DefaultValue::Value(value) => value.clone(),
                    DefaultValue::None => continue,
                };
                row.push(column.key.clone(), value);
            }
        }
        let issuer;
        let extra: &[(&str, Value)] =
            if table_key == migrate::ACCOUNT && store.0.issuer.load(Ordering::Relaxed) {
                issuer = [(migrate::ISSUER, migrate::issuer_of(&row))];
                &issuer
            } else {
                &[]
            };
        let statement = store.0.compiler.insert(table, &row, extra)?;
        let slots = slots(table);
        let job = if store.dialect() == Dialect::MySql {
            Job::Insert { statement, table, slots: &slots, id: row.get("id") }
        } else {
            Job::Rows { statement, slots: &slots, read_only: false }
        };
        match first(table, self.write(table, None, &job).await?.rows) {
            Some(stored) => Ok(stored),
            // Somebody deleted it between MySQL's insert and our reading.
            None => Ok(row),
        }
    }

    /// Changes all rows that the filter takes; how many those were.
    ///
    /// # Errors
    /// [`StoreError::Unique`] when a new value is taken.
    pub async fn update(
        &mut self,
        table_key: &str,
        filter: &Filter,
        changes: Row,
    ) -> Result<u64, StoreError> {
        if changes.is_empty() {
            return self.count(table_key, filter).await;
        }
        let store = self.store;
        let table = store.table(table_key)?;
        let statement = store.0.compiler.update(table, filter, &changes, None, false)?;
        Ok(self.write(table, Some(filter), &Job::Touch(statement)).await?.touched)
    }

    /// Changes one row that the filter takes and returns it as it is then.
    ///
    /// # Errors
    /// [`StoreError::Unique`] when a new value is taken.
    pub async fn update_one(
        &mut self,
        table_key: &str,
        filter: &Filter,
        changes: Row,
    ) -> Result<Option<Row>, StoreError> {
        if changes.is_empty() {
            return self.find(table_key, filter).await;
        }
        self.change(table_key, filter, Change::Update { changes: &changes, increment: None }).await
    }

    /// Deletes all rows that the filter takes; how many those were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete(&mut self, table_key: &str, filter: &Filter) -> Result<u64, StoreError> {
        let store = self.store;
        let table = store.table(table_key)?;
        let statement = store.0.compiler.delete(table, filter, false)?;
        Ok(self.write(table, Some(filter), &Job::Touch(statement)).await?.touched)
    }

    /// Deletes one row that the filter takes and returns it. Of any number of racers for a row,
    /// exactly one gets it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn consume(&mut self, table_key: &str, filter: &Filter) -> Result<Option<Row>, StoreError> {
        self.change(table_key, filter, Change::Delete).await
    }

    /// Adds `by` to a number (NULL counts as 0) of one row that the filter takes, makes the other
    /// changes at once, and returns the row as it is then. The filter is selector and guard: when it
    /// does not take the row any more, nothing happens and nothing is returned.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn increment(
        &mut self,
        table_key: &str,
        filter: &Filter,
        column: &str,
        by: i64,
        changes: Row,
    ) -> Result<Option<Row>, StoreError> {
        self.change(table_key, filter, Change::Update { changes: &changes, increment: Some((column, by)) })
            .await
    }

    async fn change(
        &mut self,
        table_key: &str,
        filter: &Filter,
        change: Change<'_>,
    ) -> Result<Option<Row>, StoreError> {
        let store = self.store;
        let table = store.table(table_key)?;
        let compiler = &store.0.compiler;
        let rows = if store.dialect() == Dialect::MySql {
            let lock = compiler.find(table, filter, true)?;
            let slots = slots(table);
            self.write(table, Some(filter), &Job::Change { lock, table, slots: &slots, change }).await?.rows
        } else {
            let statement = match &change {
                Change::Delete => compiler.delete(table, filter, true)?,
                Change::Update { changes, increment } => {
                    compiler.update(table, filter, changes, *increment, true)?
                }
            };
            let slots = slots(table);
            let job = Job::Rows { statement, slots: &slots, read_only: false };
            self.write(table, Some(filter), &job).await?.rows
        };
        Ok(first(table, rows))
    }

    /// Runs a job that changes or deletes the rows that the filter takes, or makes one.
    async fn write(
        &mut self,
        table: &Table,
        filter: Option<&Filter>,
        job: &Job<'_>,
    ) -> Result<Outcome, StoreError> {
        let Some(writing) = self.store.writing(table, filter) else { return self.run(job).await };
        if let Some(within) = &mut self.tx {
            within.writing.push(writing);
            return self.run(job).await;
        }
        let outcome = self.run(job).await?;
        writing.done();
        Ok(outcome)
    }

    async fn rows(
        &mut self,
        statement: Statement,
        table: &Table,
        read_only: bool,
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let slots = slots(table);
        Ok(self.run(&Job::Rows { statement, slots: &slots, read_only }).await?.rows)
    }

    /// Runs a job: in the transaction, or on a connection of its own and then, when it had to give
    /// way or lost its connection while reading, again.
    async fn run(&mut self, job: &Job<'_>) -> Result<Outcome, StoreError> {
        let store = self.store;
        if let Some(within) = &mut self.tx {
            let outcome = Box::pin(perform(store, within.link, job)).await;
            *within.failed |= outcome.is_err();
            return store.look_at(outcome);
        }
        let purpose = match job {
            Job::Change { .. } => Purpose::Transaction,
            Job::Rows { read_only: true, .. } => Purpose::Read,
            Job::Rows { .. } | Job::Touch(_) | Job::Insert { .. } => Purpose::Write,
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            // Boxed: the drivers' futures are large, and whatever awaits a verb would be as large.
            match Box::pin(alone(store, job, purpose)).await {
                Err(error) if error.gave_way() && attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 5)).await;
                }
                // The connections from before are tried out from here on, so this is a good one or none.
                Err(error) if purpose == Purpose::Read && attempt == 1 && error.lost_connection() => {
                    store.0.pool.look_at(&Err::<(), _>(error));
                }
                outcome => return store.look_at(outcome),
            }
        }
    }
}

async fn alone(store: &Store, job: &Job<'_>, purpose: Purpose) -> Result<Outcome, StoreError> {
    let mut link = store.0.pool.link(purpose).await?;
    let outcome = perform(store, &mut link, job).await?;
    link.commit().await?;
    Ok(outcome)
}

async fn perform(store: &Store, link: &mut Link, job: &Job<'_>) -> Result<Outcome, StoreError> {
    let compiler = &store.0.compiler;
    let statements = match job {
        Job::Rows { .. } | Job::Touch(_) => 1,
        Job::Insert { .. } | Job::Change { change: Change::Delete, .. } => 2,
        Job::Change { .. } => 3,
    };
    store.0.statements.fetch_add(statements, Ordering::Relaxed);
    match job {
        Job::Rows { statement, slots, .. } => {
            Ok(Outcome { rows: link.rows(statement.clone(), slots).await?, touched: 0 })
        }
        Job::Touch(statement) => {
            let (touched, _) = link.execute(statement.clone()).await?;
            Ok(Outcome { rows: Vec::new(), touched })
        }
        Job::Change { lock, table, slots, change } => {
            let rows = link.rows(lock.clone(), slots).await?;
            let at = table.columns.iter().position(|column| column.key == "id");
            let id = at.and_then(|at| rows.first()?.get(at)).cloned();
            let Some(id) = id else { return Ok(Outcome::default()) };
            let this = Filter::Is("id".into(), id);
            match change {
                Change::Delete => {
                    link.execute(compiler.delete(table, &this, false)?).await?;
                    Ok(Outcome { rows, touched: 1 })
                }
                Change::Update { changes, increment } => {
                    link.execute(compiler.update(table, &this, changes, *increment, false)?).await?;
                    let rows = link.rows(compiler.find(table, &this, false)?, slots).await?;
                    Ok(Outcome { rows, touched: 1 })
                }
            }
        }
        Job::Insert { statement, table, slots, id } => {
            let (touched, last) = link.execute(statement.clone()).await?;
            let id = match id {
                Some(id) if !id.is_null() => (*id).clone(),
                _ => Value::Text(last.to_string()),
            };
            let statement = compiler.find(table, &Filter::Is("id".into(), id), false)?;
            Ok(Outcome { rows: link.rows(statement, slots).await?, touched })
        }
    }
}

fn slots(table: &Table) -> Vec<Slot<'_>> {
    table
        .columns
        .iter()
        .map(|column| Slot { table: &table.key, column: &column.key, kind: column.kind })
        .collect()
}

fn row(table: &Table, values: Vec<Value>) -> Row {
    let mut row = Row::with_capacity(values.len());
    for (column, value) in table.columns.iter().zip(values) {
        row.push(column.key.clone(), value);
    }
    row
}

fn first(table: &Table, rows: Vec<Vec<Value>>) -> Option<Row> {
    rows.into_iter().next().map(|values| row(table, values))
}
