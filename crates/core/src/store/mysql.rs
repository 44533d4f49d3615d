//! MySQL and MariaDB.
//!
//! MySQL has no `returning` and MariaDB has it in part, so verbs that return a changed row lock it,
//! read it and change it, in one transaction; that works on both.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow, MySqlValueRef};
use sqlx::{
    Arguments as _, ConnectOptions as _, Executor as _, MySql, Row as _, TypeInfo as _, ValueRef as _,
};
use time::{Date, OffsetDateTime};

use super::gate::Gate;
use super::link::{Found, Slot, pool_options, why_not};
use super::sql::{Native, Param};
use super::value::Value;
use super::{ConnectOptions, StoreError};
use crate::clock::Timestamp;

/// Every connection reads what is committed (a racer that waited for a lock must see what the
/// winner did), refuses values that do not fit (a text cut short by the database would be another
/// person's address), and waits seconds for a lock rather than most of a minute.
const SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
     SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'); \
     SET SESSION innodb_lock_wait_timeout = 5; \
     SET time_zone = '+00:00'";

pub(super) async fn connect(options: &ConnectOptions) -> Result<(sqlx::MySqlPool, Arc<Gate>), StoreError> {
    let connect = MySqlConnectOptions::from_str(&options.url)
        .map_err(StoreError::other)?
        .charset("utf8mb4")
        .timezone(Some("+00:00".to_owned()))
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let gate = Gate::new();
    let pool = pool_options::<MySql>(options.max_connections, options.acquire_timeout, Some(&gate))
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(sqlx::raw_sql(SETTINGS)).await.map(drop) })
        });
    match pool.connect_with(connect.clone()).await {
        Ok(pool) => Ok((pool, gate)),
        Err(error) => Err(why_not(error, &connect).await),
    }
}

pub(super) fn bind(params: Vec<Param>) -> Result<MySqlArguments, StoreError> {
    let mut arguments = MySqlArguments::default();
    for param in params {
        match param {
            Param::Null(native) => match native {
                Native::Bool | Native::Int => arguments.add(None::<i64>),
                Native::Time => arguments.add(None::<OffsetDateTime>),
                Native::Text | Native::Json | Native::Uuid => arguments.add(None::<String>),
            },
            Param::Bool(flag) => arguments.add(i64::from(flag)),
            Param::Int(number) => arguments.add(number),
            Param::Float(number) => arguments.add(number),
            Param::Text(text) => arguments.add(text),
            Param::Time(at) => arguments.add(OffsetDateTime::from(at)),
            Param::Json(json) => arguments.add(json.to_string()),
            Param::Uuid(uuid) => arguments.add(uuid.to_string()),
        }
        .map_err(StoreError::Other)?;
    }
    Ok(arguments)
}

pub(super) fn read(row: &MySqlRow, at: usize, slot: Slot<'_>) -> Result<Value, StoreError> {
    let raw = row.try_get_raw(at)?;
    slot.value(found(raw).unwrap_or(Found::Other))
}

fn found(raw: MySqlValueRef<'_>) -> Result<Found, sqlx::error::BoxDynError> {
    fn get<'r, T: sqlx::Decode<'r, MySql>>(raw: MySqlValueRef<'r>) -> Result<T, sqlx::error::BoxDynError> {
        T::decode(raw)
    }
    if raw.is_null() {
        return Ok(Found::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        kind if kind.ends_with("UNSIGNED") => {
            i64::try_from(get::<u64>(raw)?).map_or(Found::Other, Found::Int)
        }
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => Found::Int(get(raw)?),
        "FLOAT" => Found::Float(get::<f32>(raw)?.into()),
        "DOUBLE" => Found::Float(get(raw)?),
        "TIMESTAMP" | "DATETIME" => Found::Time(get::<OffsetDateTime>(raw).map(Timestamp::from)?),
        "DATE" => Found::Time(get::<Date>(raw)?.midnight().assume_utc().into()),
        // DECIMAL travels as text, and so does JSON.
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "JSON"
        | "DECIMAL" | "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            String::from_utf8(get::<Vec<u8>>(raw)?).map_or(Found::Other, Found::Text)
        }
        _ => Found::Other,
    })
}
