//! SQLite: the file, its settings, and Better Auth's encodings (ISO text dates, 0/1, JSON text).

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous, SqliteValueRef,
};
use sqlx::{Arguments as _, ConnectOptions as _, Row as _, Sqlite, TypeInfo as _, ValueRef as _};

use super::link::{Found, Pool, Slot, pool_options};
use super::sql::Param;
use super::value::Value;
use super::{ConnectOptions, StoreError};

/// Longer than any transaction of ours should take, shorter than a client waits.
const BUSY: Duration = Duration::from_secs(5);

/// How often opening the file is tried.
const ATTEMPTS: u32 = 20;

pub(super) async fn connect(options: &ConnectOptions) -> Result<Pool, StoreError> {
    let memory = in_memory(&options.url);
    let mut connect = SqliteConnectOptions::from_str(&options.url)
        .map_err(StoreError::other)?
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let mut pool = pool_options::<Sqlite>(options.max_connections, options.acquire_timeout, None);
    if memory {
        // The database lives as long as its one connection.
        pool = pool.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    } else {
        create(connect.get_filename())?;
        // A killed process loses nothing either way. With `Normal` a power cut may take the last commits
        // back, and with them a password that was changed or a session that was ended.
        connect = connect.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        // 128 kB for each connection in place of two megabytes: sessions are remembered above, and the
        // operating system keeps the file's pages once for all of them.
        connect = connect.pragma("cache_size", "-128");
    }
    if memory {
        let only = pool.connect_with(connect).await?;
        return Ok(Pool::Sqlite { readers: only.clone(), writer: only, private: true });
    }
    // The connection that writes stays open: what it has seen of others is counted on it.
    let single = pool.clone().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    let writer = open(single, &connect).await?;
    Ok(Pool::Sqlite { readers: open(pool, &connect).await?, writer, private: false })
}

/// Several processes may open a new file at once; whoever turns the WAL on locks the others out for a
/// moment, and SQLite does not wait for that lock.
async fn open(
    pool: sqlx::pool::PoolOptions<Sqlite>,
    connect: &SqliteConnectOptions,
) -> Result<sqlx::SqlitePool, StoreError> {
    for _ in 0..ATTEMPTS {
        match pool.clone().connect_with(connect.clone()).await.map_err(StoreError::from) {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            opened => return opened,
        }
    }
    Ok(pool.connect_with(connect.clone()).await?)
}

fn in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Makes the file before SQLite would, so that only its owner can read it. SQLite gives the WAL
/// beside it the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    let mut file = std::fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            Err(StoreError::other(format!("cannot create the database file {}: {error}", path.display())))
        }
    }
}

pub(super) fn bind(params: Vec<Param>) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    for param in params {
        match param {
            Param::Null(_) => arguments.add(None::<i64>),
            Param::Bool(flag) => arguments.add(i64::from(flag)),
            Param::Int(number) => arguments.add(number),
            Param::Float(number) => arguments.add(number),
            Param::Text(text) => arguments.add(text),
            Param::Time(at) => arguments.add(at.to_string()),
            Param::Json(json) => arguments.add(json.to_string()),
            Param::Uuid(uuid) => arguments.add(uuid.to_string()),
        }
        .map_err(StoreError::Other)?;
    }
    Ok(arguments)
}

pub(super) fn read(row: &SqliteRow, at: usize, slot: Slot<'_>) -> Result<Value, StoreError> {
    let raw = row.try_get_raw(at)?;
    slot.value(found(raw).unwrap_or(Found::Other))
}

fn found(raw: SqliteValueRef<'_>) -> Result<Found, sqlx::error::BoxDynError> {
    if raw.is_null() {
        return Ok(Found::Null);
    }
    let class = raw.type_info().name().to_owned();
    Ok(match class.as_str() {
        "INTEGER" => Found::Int(<i64 as sqlx::Decode<Sqlite>>::decode(raw)?),
        "REAL" => Found::Float(<f64 as sqlx::Decode<Sqlite>>::decode(raw)?),
        // A text that is not UTF-8 is nothing that we wrote.
        "TEXT" | "BLOB" => String::from_utf8(<Vec<u8> as sqlx::Decode<Sqlite>>::decode(raw)?)
            .map_or(Found::Other, Found::Text),
        _ => Found::Other,
    })
}
