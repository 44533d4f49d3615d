//! PostgreSQL, directly or behind PgBouncer.
//!
//! PgBouncer in transaction mode hands every transaction to whichever server connection is free, so
//! nothing may outlive a transaction: no named statements, no `search_path` of a session. In that
//! mode every single verb runs inside a transaction of its own (`begin`, with the `search_path`,
//! is one round trip), its statements are unnamed, and migrations lock with a transaction's advisory
//! lock. It costs two round trips per verb and is right with any version of PgBouncer.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow, PgValueRef};
use sqlx::types::{Json, Uuid};
use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, Postgres, Row as _, TypeInfo as _, ValueRef as _,
};
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::gate::Gate;
use super::link::{Found, Slot, pool_options, why_not};
use super::sql::{Native, Param};
use super::value::Value;
use super::{ConnectOptions, StoreError};
use crate::clock::Timestamp;

/// How the server is reached.
#[derive(Debug, Clone)]
pub(super) enum Pooling {
    /// A connection is a session.
    Direct,
    /// A connection is a transaction; `begin` starts one.
    Transaction { begin: std::sync::Arc<str> },
}

impl Pooling {
    /// Whether a named statement is still there in the next transaction.
    pub fn names_last(&self) -> bool {
        matches!(self, Self::Direct)
    }
}

pub(super) async fn begin(
    pool: &sqlx::PgPool,
    pooling: &Pooling,
) -> Result<sqlx::Transaction<'static, Postgres>, StoreError> {
    Ok(match pooling {
        Pooling::Direct => pool.begin().await?,
        Pooling::Transaction { begin } => {
            pool.begin_with(AssertSqlSafe(std::sync::Arc::clone(begin))).await?
        }
    })
}

/// What the URL says beside what the driver understands.
struct Address {
    url: String,
    search_path: Option<String>,
    pgbouncer: bool,
}

/// Reads `currentSchema`/`search_path`/`schema` (JDBC's and Prisma's names) and `pgbouncer`.
fn address(url: &str) -> Result<Address, StoreError> {
    let mut parsed =
        url::Url::parse(url).map_err(|error| StoreError::other(format!("the database URL: {error}")))?;
    let mut pgbouncer = parsed.host_str().is_some_and(|host| host.contains("-pooler."));
    let mut search_path = None;
    let mut rest = Vec::new();
    for (key, value) in parsed.query_pairs() {
        match &*key {
            "pgbouncer" => pgbouncer = value == "true",
            "currentSchema" | "search_path" | "schema" => search_path = Some(value.into_owned()),
            _ => rest.push((key.into_owned(), value.into_owned())),
        }
    }
    parsed.set_query(None);
    if !rest.is_empty() {
        parsed.query_pairs_mut().extend_pairs(rest);
    }
    Ok(Address { url: parsed.into(), search_path, pgbouncer })
}

/// `a, "b"` as `"a", "b"`, each an identifier and nothing else.
fn quoted_path(path: &str) -> String {
    let names = path.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty());
    names.map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect::<Vec<_>>().join(", ")
}

pub(super) async fn connect(
    options: &ConnectOptions,
) -> Result<(sqlx::PgPool, Pooling, Arc<Gate>), StoreError> {
    let address = address(&options.url)?;
    let pooled = options.pooler.unwrap_or(address.pgbouncer);
    let path = address.search_path.as_deref().map(quoted_path);
    let mut connect = PgConnectOptions::from_str(&address.url)
        .map_err(StoreError::other)?
        // Not among the parameters that poolers let through, and of no use: every server that
        // is still kept up prints floats exactly.
        .extra_float_digits(None)
        .disable_statement_logging();
    let pooling = if pooled {
        connect = connect.statement_cache_capacity(0);
        let begin = match path {
            Some(path) => format!("BEGIN; SET LOCAL search_path TO {path}"),
            None => "BEGIN".to_owned(),
        };
        Pooling::Transaction { begin: begin.into() }
    } else {
        connect = connect.statement_cache_capacity(256);
        if let Some(path) = path {
            connect = connect.options([("search_path", path)]);
        }
        Pooling::Direct
    };
    let gate = Gate::new();
    let pool = pool_options::<Postgres>(options.max_connections, options.acquire_timeout, Some(&gate));
    match pool.connect_with(connect.clone()).await {
        Ok(pool) => Ok((pool, pooling, gate)),
        Err(error) => Err(why_not(error, &connect).await),
    }
}

pub(super) fn bind(params: Vec<Param>) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Param::Null(native) => match native {
                Native::Bool => arguments.add(None::<bool>),
                Native::Int => arguments.add(None::<i64>),
                Native::Text => arguments.add(None::<String>),
                Native::Time => arguments.add(None::<OffsetDateTime>),
                Native::Json => arguments.add(None::<Json<serde_json::Value>>),
                Native::Uuid => arguments.add(None::<Uuid>),
            },
            Param::Bool(flag) => arguments.add(flag),
            Param::Int(number) => arguments.add(number),
            Param::Float(number) => arguments.add(number),
            Param::Text(text) => arguments.add(text),
            Param::Time(at) => arguments.add(OffsetDateTime::from(at)),
            Param::Json(json) => arguments.add(Json(json)),
            Param::Uuid(uuid) => arguments.add(uuid),
        }
        .map_err(StoreError::Other)?;
    }
    Ok(arguments)
}

pub(super) fn read(row: &PgRow, at: usize, slot: Slot<'_>) -> Result<Value, StoreError> {
    let raw = row.try_get_raw(at)?;
    slot.value(found(raw).unwrap_or(Found::Other))
}

/// By the column's actual type, which need not be the one that we would have chosen.
fn found(raw: PgValueRef<'_>) -> Result<Found, sqlx::error::BoxDynError> {
    fn get<'r, T: sqlx::Decode<'r, Postgres>>(raw: PgValueRef<'r>) -> Result<T, sqlx::error::BoxDynError> {
        T::decode(raw)
    }
    if raw.is_null() {
        return Ok(Found::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "BOOL" => Found::Bool(get(raw)?),
        "INT2" => Found::Int(get::<i16>(raw)?.into()),
        "INT4" => Found::Int(get::<i32>(raw)?.into()),
        "INT8" => Found::Int(get(raw)?),
        "FLOAT4" => Found::Float(get::<f32>(raw)?.into()),
        "FLOAT8" => Found::Float(get(raw)?),
        "TIMESTAMPTZ" => Found::Time(get::<OffsetDateTime>(raw).map(Timestamp::from)?),
        "TIMESTAMP" => Found::Time(get::<PrimitiveDateTime>(raw)?.assume_utc().into()),
        "DATE" => Found::Time(get::<Date>(raw)?.midnight().assume_utc().into()),
        "JSON" | "JSONB" => Found::Json(get::<Json<serde_json::Value>>(raw)?.0),
        "UUID" => Found::Text(get::<Uuid>(raw)?.to_string()),
        "TEXT[]" | "VARCHAR[]" => Found::Json(get::<Vec<String>>(raw)?.into()),
        "INT4[]" => Found::Json(get::<Vec<i32>>(raw)?.into()),
        "INT8[]" => Found::Json(get::<Vec<i64>>(raw)?.into()),
        "TEXT" | "VARCHAR" | "CHAR" | "BPCHAR" | "NAME" | "UNKNOWN" => Found::Text(raw.as_str()?.to_owned()),
        // Enumerations and citext travel as text too.
        other if other.eq_ignore_ascii_case("citext") || !other.chars().any(|c| c.is_ascii_uppercase()) => {
            raw.as_str().map_or(Found::Other, |text| Found::Text(text.to_owned()))
        }
        _ => Found::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_is_recognised_by_its_host_or_by_the_url() {
        assert!(address("postgres://u:p@ep-x-pooler.eu.neon.tech/db").unwrap().pgbouncer);
        assert!(address("postgres://u@h/db?pgbouncer=true").unwrap().pgbouncer);
        assert!(!address("postgres://u@h/db").unwrap().pgbouncer);
    }

    #[test]
    fn the_search_path_is_taken_out_of_the_url_and_the_rest_is_kept() {
        let address = address("postgres://u@h/db?currentSchema=auth&sslmode=require").unwrap();
        assert_eq!(address.search_path.as_deref(), Some("auth"));
        assert_eq!(address.url, "postgres://u@h/db?sslmode=require");
    }

    #[test]
    fn a_search_path_can_only_name_schemas() {
        assert_eq!(quoted_path("auth, public"), r#""auth", "public""#);
        assert_eq!(quoted_path(r#"x"; drop table t; --"#), r#""x""; drop table t; --""#);
    }
}
