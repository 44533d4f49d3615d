//! What can go wrong between us and the database.

use std::fmt;

use super::Dialect;

/// A failure of the database or of what is in it.
#[derive(Debug)]
pub enum StoreError {
    /// A row with these values exists already. The constraint is named as the database names it.
    Unique {
        /// `user.email`, `user_email_key`, `email`, …
        constraint: String,
    },
    /// A row points to one that is not there.
    Orphan,
    /// The database cannot be reached or has no room for us just now; trying again may help.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// A migration that would invent or lose data; the text says what to do.
    Unsafe(String),
    /// A column holds something that it should not, or was given it; names table and column, never
    /// the value.
    Decode(String),
    /// Anything else.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    pub(super) fn other(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(source.into())
    }

    /// A mistake of ours, not of the data.
    pub(super) fn bug(what: &str) -> Self {
        Self::Other(format!("store: {what}").into())
    }

    /// Whether this is a unique violation.
    pub fn is_unique(&self) -> bool {
        matches!(self, Self::Unique { .. })
    }

    fn driver(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Unavailable(source) | Self::Other(source) => source.downcast_ref(),
            _ => None,
        }
    }

    /// Two transactions waited for each other and this one was chosen to give way: doing the same
    /// again is right, because nothing of it happened.
    pub(super) fn gave_way(&self) -> bool {
        let Some(sqlx::Error::Database(error)) = self.driver() else { return false };
        matches!(error.code().as_deref(), Some("40P01" | "40001"))
            || matches!(mysql_number(&**error), Some(1213 | 1205))
    }

    /// No connection came free in time: there are too few, or the database is away.
    pub(super) fn pool_timed_out(&self) -> bool {
        matches!(self.driver(), Some(sqlx::Error::PoolTimedOut))
    }

    /// The connection broke: the statement may or may not have run.
    pub(super) fn lost_connection(&self) -> bool {
        match self.driver() {
            Some(sqlx::Error::Io(_)) => true,
            Some(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("57P0") || code.starts_with("08"))
            }
            _ => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique { constraint } => {
                write!(f, "a row with the same value exists already (unique constraint {constraint})")
            }
            Self::Orphan => f.write_str("a row points to another that does not exist (foreign key)"),
            Self::Unavailable(source) => write!(
                f,
                "the database is not available: {source}. Check that it runs, that the URL is right and that its \
                 connection limit is above `maxConnections`"
            ),
            Self::Unsafe(what) => write!(f, "the migration was refused and nothing was changed: {what}"),
            Self::Decode(what) => {
                write!(f, "unexpected value in {what}. Correct the row, or the column's type, and try again")
            }
            Self::Other(source) => write!(f, "database error: {source}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(source) | Self::Other(source) => Some(source.as_ref()),
            Self::Unique { .. } | Self::Orphan | Self::Unsafe(_) | Self::Decode(_) => None,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        match error {
            Error::Database(database) if database.is_unique_violation() => {
                Self::Unique { constraint: constraint(&*database) }
            }
            Error::Database(database) if database.is_foreign_key_violation() => Self::Orphan,
            Error::Database(database) if unavailable(&*database) => {
                Self::Unavailable(Box::new(Error::Database(database)))
            }
            error @ (Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed) => {
                Self::Unavailable(Box::new(error))
            }
            error => Self::Other(Box::new(error)),
        }
    }
}

impl From<StoreError> for crate::error::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                // The client is told to try again; the operator is told why.
                tracing::warn!(%error, "the database is not available");
                Self::from(crate::error::SERVICE_UNAVAILABLE)
                    .with_header(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"))
            }
            error => Self::broken(error),
        }
    }
}

fn mysql_number(error: &dyn sqlx::error::DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}

/// Shutting down, out of connections, chosen as a deadlock's victim, busy, or a replica that became
/// read-only: states that pass.
fn unavailable(error: &dyn sqlx::error::DatabaseError) -> bool {
    if let Some(number) = mysql_number(error) {
        // 1040 too many connections, 1053 shutdown, 1205/1213 lock wait and deadlock, 1226 user
        // limit, 1290/1836 read-only, 1927 killed, 2006/2013 gone.
        return matches!(number, 1040 | 1053 | 1205 | 1213 | 1226 | 1290 | 1836 | 1927 | 2006 | 2013);
    }
    let Some(code) = error.code() else { return false };
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The low byte of SQLite's extended code: 5 busy, 6 locked.
        return code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    }
    let code: &str = &code;
    // PostgreSQL classes: 08 connection, 53 resources, 57P0x shutdown; 40 gave way; 25006 read-only.
    code.starts_with("08")
        || code.starts_with("53")
        || code.starts_with("57P0")
        || matches!(code, "40001" | "40P01" | "25006" | "55P03")
}

/// The constraint's name. SQLite and MySQL only have it in the message; the rest of the message,
/// which may hold a value, is dropped.
fn constraint(error: &dyn sqlx::error::DatabaseError) -> String {
    if let Some(name) = error.constraint() {
        return name.to_owned();
    }
    let message = error.message();
    let name = match mysql_number(error) {
        // Duplicate entry '…' for key 'name'
        Some(_) => message.rsplit_once(" for key ").map(|(_, name)| name.trim_matches('\'')),
        // UNIQUE constraint failed: table.column
        None => message.rsplit_once("failed: ").map(|(_, name)| name),
    };
    name.unwrap_or("unknown").to_owned()
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        })
    }
}
