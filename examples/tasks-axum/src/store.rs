//! The app's own tables, in SQLite or PostgreSQL. Every statement about tasks names the user.

use std::str::FromStr;

use portcullis::clock::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{ColumnIndex, Decode, FromRow, PgPool, Row, SqlitePool, Type, query_as, raw_sql};
use uuid::Uuid;

use crate::auth::Token;

/// `users` is what this app knows of people: what their tokens said last, and whether they may come in.
/// Portcullis's own table is `user`. Times are milliseconds since 1970.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY,
        email TEXT,
        name TEXT,
        role TEXT,
        is_active BOOLEAN NOT NULL DEFAULT TRUE,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        token_iat BIGINT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS tasks (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        title TEXT NOT NULL,
        description TEXT,
        completed BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS tasks_of_user ON tasks (user_id, created_at DESC, id DESC);
";

/// Of several processes that start at once on PostgreSQL one makes the tables: `IF NOT EXISTS` looks
/// first and fails at what another has made since.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(8246912)";

/// A user, as the API shows them.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// `sub` of the token.
    pub id: String,
    /// Their address.
    pub email: Option<String>,
    /// Their name.
    pub name: Option<String>,
    /// Their roles, with commas between.
    pub role: Option<String>,
    /// May they come in?
    pub is_active: bool,
    /// When they first came.
    pub created_at: Timestamp,
    /// When the token was made that the above is from, in seconds.
    #[serde(skip)]
    token_iat: i64,
}

/// A task, as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// What is to be done.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// Is it done?
    pub completed: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a client says about a new task, or one that it replaces.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// What is to be done.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// Is it done?
    pub completed: bool,
}

/// What a client changes of a task; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another title.
    pub title: Option<String>,
    /// Another description, or none.
    pub description: Option<Option<String>>,
    /// Another state.
    pub completed: Option<bool>,
}

/// The database. Copies share their connections.
#[derive(Debug, Clone)]
pub struct Store(Pool);

#[derive(Debug, Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The same statement for either database: both know `$1`, `RETURNING` and `ON CONFLICT`. An app with one
/// database needs none of this.
macro_rules! on {
    ($store:expr, |$pool:ident| $run:expr) => {
        match &$store.0 {
            Pool::Sqlite($pool) => $run.await,
            Pool::Postgres($pool) => $run.await,
        }
    };
}

impl Store {
    /// Connects, and makes the tables that are missing.
    ///
    /// # Errors
    /// The database's, or a URL of another one.
    pub async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = PgPoolOptions::new().max_connections(10).connect(url).await?;
            let mut transaction = pool.begin().await?;
            raw_sql(ONE_AT_A_TIME).execute(&mut *transaction).await?;
            raw_sql(TABLES).execute(&mut *transaction).await?;
            transaction.commit().await?;
            return Ok(Self(Pool::Postgres(pool)));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal);
        // Statements that write wait for one another (five seconds, sqlx's default). None of them reads
        // first and writes later in one transaction, which is what ends in `database is locked`.
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        raw_sql(TABLES).execute(&pool).await?;
        Ok(Self(Pool::Sqlite(pool)))
    }

    /// The user whom a verified token is about, as the newest token has described them; made when they
    /// first come. It is one read, and a write when a token brings news.
    ///
    /// # Errors
    /// The database's.
    pub async fn seen(&self, token: &Token, now: Timestamp) -> Result<User, sqlx::Error> {
        if let Some(user) = self.user(&token.sub).await? {
            let same = user.email == token.email && user.name == token.name && user.role == token.role;
            // A token that is out of date describes nobody who has shown a newer one.
            if user.token_iat > token.iat || (user.token_iat == token.iat && same) {
                return Ok(user);
            }
        }
        // Any number of first requests at once make one row, and of two tokens the newer wins, in whatever
        // order they arrive.
        let written = on!(self, |pool| query_as(
            "INSERT INTO users (id, email, name, role, is_active, created_at, updated_at, token_iat)
             VALUES ($1, $2, $3, $4, TRUE, $5, $5, $6)
             ON CONFLICT (id) DO UPDATE SET
                 email = excluded.email, name = excluded.name, role = excluded.role,
                 updated_at = excluded.updated_at, token_iat = excluded.token_iat
             WHERE users.token_iat <= excluded.token_iat RETURNING *"
        )
        .bind(&token.sub)
        .bind(&token.email)
        .bind(&token.name)
        .bind(&token.role)
        .bind(now.millis())
        .bind(token.iat)
        .fetch_optional(pool))?;
        match written {
            Some(user) => Ok(user),
            // A newer token came in between.
            None => self.user(&token.sub).await?.ok_or(sqlx::Error::RowNotFound),
        }
    }

    async fn user(&self, id: &str) -> Result<Option<User>, sqlx::Error> {
        on!(self, |pool| query_as("SELECT * FROM users WHERE id = $1").bind(id).fetch_optional(pool))
    }

    /// All users, for admins; the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn users(&self, limit: i64, offset: i64) -> Result<Vec<User>, sqlx::Error> {
        on!(self, |pool| query_as("SELECT * FROM users ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2")
            .bind(limit)
            .bind(offset)
            .fetch_all(pool))
    }

    /// Lets a user in, or no longer; for admins.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_active(
        &self,
        id: &str,
        is_active: bool,
        now: Timestamp,
    ) -> Result<Option<User>, sqlx::Error> {
        on!(self, |pool| query_as(
            "UPDATE users SET is_active = $2, updated_at = $3 WHERE id = $1 RETURNING *"
        )
        .bind(id)
        .bind(is_active)
        .bind(now.millis())
        .fetch_optional(pool))
    }

    /// A user's tasks, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn tasks(
        &self,
        user: &User,
        completed: Option<bool>,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<Task>, sqlx::Error> {
        on!(self, |pool| query_as(
            "SELECT * FROM tasks WHERE user_id = $1 AND ($2 IS NULL OR completed = $2)
             ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4"
        )
        .bind(&user.id)
        .bind(completed)
        .bind(limit)
        .bind(offset)
        .fetch_all(pool))
    }

    /// Adds a task.
    ///
    /// # Errors
    /// The database's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this app where chance is asked for an id"
    )]
    pub async fn add(&self, user: &User, task: NewTask, now: Timestamp) -> Result<Task, sqlx::Error> {
        on!(self, |pool| query_as(
            "INSERT INTO tasks (id, user_id, title, description, completed, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING *"
        )
        .bind(Uuid::new_v4().to_string())
        .bind(&user.id)
        .bind(&task.title)
        .bind(&task.description)
        .bind(task.completed)
        .bind(now.millis())
        .fetch_one(pool))
    }

    /// One of a user's tasks.
    ///
    /// # Errors
    /// The database's.
    pub async fn task(&self, user: &User, id: Uuid) -> Result<Option<Task>, sqlx::Error> {
        on!(self, |pool| query_as("SELECT * FROM tasks WHERE id = $1 AND user_id = $2")
            .bind(id.to_string())
            .bind(&user.id)
            .fetch_optional(pool))
    }

    /// Changes one of a user's tasks, and gives it as it is now.
    ///
    /// # Errors
    /// The database's.
    pub async fn change(
        &self,
        user: &User,
        id: Uuid,
        changes: Changes,
        now: Timestamp,
    ) -> Result<Option<Task>, sqlx::Error> {
        on!(self, |pool| query_as(
            "UPDATE tasks SET
                 title = COALESCE($3, title),
                 description = CASE WHEN $4 THEN $5 ELSE description END,
                 completed = COALESCE($6, completed),
                 updated_at = $7
             WHERE id = $1 AND user_id = $2 RETURNING *"
        )
        .bind(id.to_string())
        .bind(&user.id)
        .bind(&changes.title)
        .bind(changes.description.is_some())
        .bind(changes.description.as_ref().and_then(Option::as_ref))
        .bind(changes.completed)
        .bind(now.millis())
        .fetch_optional(pool))
    }

    /// Removes one of a user's tasks. Was it there?
    ///
    /// # Errors
    /// The database's.
    pub async fn remove(&self, user: &User, id: Uuid) -> Result<bool, sqlx::Error> {
        let removed: Option<Task> =
            on!(self, |pool| query_as("DELETE FROM tasks WHERE id = $1 AND user_id = $2 RETURNING *")
                .bind(id.to_string())
                .bind(&user.id)
                .fetch_optional(pool))?;
        Ok(removed.is_some())
    }
}

// An app with one database writes `#[derive(sqlx::FromRow)]`.
impl<'r, R: Row> FromRow<'r, R> for User
where
    &'static str: ColumnIndex<R>,
    String: Type<R::Database> + Decode<'r, R::Database>,
    bool: Type<R::Database> + Decode<'r, R::Database>,
    i64: Type<R::Database> + Decode<'r, R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            email: row.try_get("email")?,
            name: row.try_get("name")?,
            role: row.try_get("role")?,
            is_active: row.try_get("is_active")?,
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            token_iat: row.try_get("token_iat")?,
        })
    }
}

impl<'r, R: Row> FromRow<'r, R> for Task
where
    &'static str: ColumnIndex<R>,
    String: Type<R::Database> + Decode<'r, R::Database>,
    bool: Type<R::Database> + Decode<'r, R::Database>,
    i64: Type<R::Database> + Decode<'r, R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            completed: row.try_get("completed")?,
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        })
    }
}
