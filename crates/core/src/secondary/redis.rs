//! Secondary storage in Redis or Valkey: one connection for all requests, which comes back by itself.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError, cmd};
use secrecy::ExposeSecret;

use super::{Lasting, SecondaryStorage, unavailable};
use crate::config::{ConfigError, RedisSettings};
use crate::error::Error;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(800);

/// How long it may take after one that did not come, so that a request with several commands still
/// ends within about a second.
const LESS_PATIENCE: Duration = Duration::from_millis(150);

/// After so many answers in a row that did not come the connection is made anew: one whose other end
/// is gone without a word would otherwise be believed for as long as TCP does.
const SILENCES: u32 = 3;

/// Redis before 6.2 has no GETDEL.
const GET_AND_DELETE: &str = "local v = redis.call('GET', KEYS[1]) \
     if v then redis.call('DEL', KEYS[1]) end return v";

/// A counter that has no end gets one, whoever made it.
const INCREMENT: &str = "local n = redis.call('INCR', KEYS[1]) \
     if n == 1 or redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end return n";

/// `expected`, `value`, `seconds`; the first letter of the first two says whether there is one.
const SWAP: &str = "local v = redis.call('GET', KEYS[1]) \
     local was = v and ('+' .. v) or '-' \
     if was ~= ARGV[1] then return 0 end \
     if ARGV[2] == '-' then redis.call('DEL', KEYS[1]) \
     else redis.call('SET', KEYS[1], string.sub(ARGV[2], 2), 'EX', ARGV[3]) end return 1";

/// A Redis server.
pub struct Redis {
    client: Client,
    prefix: String,
    connection: Mutex<ConnectionManager>,
    silences: AtomicU32,
}

/// Without the URL: it may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn connect(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        // Every command that finds no connection tries again, so one try is enough at a time.
        .set_number_of_retries(0)
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

impl Redis {
    /// Reads the URL; the connection is made with the first command.
    ///
    /// # Errors
    /// When the URL is none of Redis.
    pub fn new(settings: &RedisSettings) -> Result<Self, ConfigError> {
        // The driver's own words are left out: they may quote the URL.
        let wrong = |_| {
            ConfigError::new(
                "secondaryStorage.url",
                "must be redis://[user:password@]host[:port][/number], rediss:// (TLS) or unix:///path",
            )
        };
        let info = settings.url.expose_secret().into_connection_info().map_err(wrong)?;
        let client = Client::open(info).map_err(wrong)?;
        let connection = Mutex::new(connect(&client).map_err(wrong)?);
        Ok(Self { client, prefix: settings.key_prefix.clone(), connection, silences: AtomicU32::new(0) })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn connection(&self) -> ConnectionManager {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn try_once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let patience = if self.silences.load(Ordering::Relaxed) == 0 { PATIENCE } else { LESS_PATIENCE };
        let mut connection = self.connection();
        let answer = tokio::time::timeout(patience, command.query_async(&mut connection)).await;
        let silent = match &answer {
            Err(_) => true,
            Ok(Err(error)) => error.is_timeout(),
            Ok(Ok(_)) => false,
        };
        if !silent {
            self.silences.store(0, Ordering::Relaxed);
        } else if self.silences.fetch_add(1, Ordering::Relaxed) % SILENCES == SILENCES - 1
            && let Ok(anew) = connect(&self.client)
        {
            *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = anew;
        }
        answer.unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
    }

    /// `again`: the command may be sent twice, so a connection that turns out to have ended while
    /// nobody used it costs no request.
    async fn run<T: FromRedisValue>(&self, command: &Cmd, again: bool) -> Result<T, Error> {
        let mut answer = self.try_once(command).await;
        if again && matches!(&answer, Err(error) if error.is_connection_dropped()) {
            answer = self.try_once(command).await;
        }
        answer.map_err(|error| {
            if passes(&error) {
                // The client is told to try again; the operator is told why.
                tracing::warn!(%error, "the secondary storage is not available");
                unavailable()
            } else {
                Error::broken(format!("secondary storage: {error}"))
            }
        })
    }
}

/// Away, starting, full, or a replica that is not yet a primary: states that pass.
fn passes(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || error.is_unrecoverable_error()
        || matches!(
            error.code(),
            Some("LOADING" | "READONLY" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "OOM")
        )
}

#[async_trait]
impl SecondaryStorage for Redis {
    async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.run(cmd("GET").arg(self.key(key)), true).await
    }

    async fn get_all(&self, keys: &[String]) -> Result<Vec<Option<String>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("MGET");
        for key in keys {
            command.arg(self.key(key));
        }
        self.run(&command, true).await
    }

    async fn set(&self, key: &str, value: &str, seconds: u64) -> Result<(), Error> {
        self.run(cmd("SET").arg(self.key(key)).arg(value).arg("EX").arg(seconds.max(1)), true).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.run(cmd("DEL").arg(self.key(key)), true).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Option<String>, Error> {
        self.run(cmd("EVAL").arg(GET_AND_DELETE).arg(1).arg(self.key(key)), false).await
    }

    async fn increment(&self, key: &str, seconds: u64) -> Result<u64, Error> {
        self.run(cmd("EVAL").arg(INCREMENT).arg(1).arg(self.key(key)).arg(seconds.max(1)), false).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&str>,
        value: Option<Lasting<'_>>,
    ) -> Result<bool, Error> {
        let marked = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |text| format!("+{text}"));
        let seconds = value.map_or(1, |(_, seconds)| seconds.max(1));
        let mut command = cmd("EVAL");
        command.arg(SWAP).arg(1).arg(self.key(key));
        command.arg(marked(expected)).arg(marked(value.map(|(text, _)| text))).arg(seconds);
        self.run(&command, false).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.run::<String>(&cmd("PING"), true).await.map(|_| ())
    }
}
