//! Whether the database is there. When a connection breaks, or does not come for a while, one task asks the
//! database until it answers; while it does not, nobody else waits for it, so that an outage is an immediate
//! 503 for everybody instead of a queue of requests that all wait for the pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::watch;

use super::StoreError;

/// For one attempt to connect.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// Who waits so long for a connection may be waiting for a database that is away: the driver tries to connect
/// for as long as it is given, and says nothing meanwhile.
const DOUBT: Duration = Duration::from_millis(250);

/// The state of one database.
#[derive(Debug)]
pub(super) struct Gate {
    down: watch::Sender<bool>,
    asking: AtomicBool,
    /// When a connection was last found broken: the idle ones from before are tried out before use.
    suspected: Mutex<Option<Instant>>,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            down: watch::Sender::new(false),
            asking: AtomicBool::new(false),
            suspected: Mutex::new(None),
        })
    }

    pub fn is_down(&self) -> bool {
        *self.down.borrow()
    }

    /// Has a connection that has been idle for so long to be tried out?
    pub fn distrusts(&self, idle: Duration) -> bool {
        let suspected = *self.suspected.lock().unwrap_or_else(PoisonError::into_inner);
        suspected.is_some_and(|at| idle >= at.elapsed())
    }

    /// Waits for a connection, but not for a database that is away; `doubt` is called while it takes long.
    pub async fn pass<T>(
        &self,
        mut waiting: impl Future<Output = Result<T, StoreError>> + Unpin,
        doubt: impl Fn(),
    ) -> Result<T, StoreError> {
        let away = || Err(StoreError::Unavailable("it has gone away and is being asked again".into()));
        let mut down = self.down.subscribe();
        if *down.borrow_and_update() {
            return away();
        }
        loop {
            tokio::select! {
                biased;
                outcome = &mut waiting => return outcome,
                // The sender lives as long as `self`.
                _ = down.wait_for(|down| *down) => return away(),
                () = tokio::time::sleep(DOUBT) => doubt(),
            }
        }
    }

    /// A connection broke: others may be broken, too.
    pub fn suspect(&self) {
        *self.suspected.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Is it the database? One task finds out.
    pub fn ask<O>(self: &Arc<Self>, options: &O)
    where
        O: ConnectOptions,
        O::Connection: Sized,
    {
        if self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (gate, options) = (Arc::downgrade(self), options.clone());
        let me = move || gate.upgrade();
        tokio::spawn(async move {
            loop {
                let answers = answers(&options).await;
                let Some(gate) = me() else { return };
                if answers {
                    if gate.down.send_replace(false) {
                        tracing::info!("the database answers again");
                    }
                    // Where all connections are in use, everybody who waits has doubts. Should the database
                    // go away in this pause, the next one who waits asks again.
                    drop(gate);
                    tokio::time::sleep(PAUSE).await;
                    if let Some(gate) = me() {
                        gate.asking.store(false, Ordering::Release);
                    }
                    return;
                }
                if !gate.down.send_replace(true) {
                    tracing::error!("the database has gone away; requests are answered 503 until it is back");
                }
                drop(gate);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

/// Does it take connections, or at least refuse them for another reason than being away?
async fn answers<O>(options: &O) -> bool
where
    O: ConnectOptions,
    O::Connection: Sized,
{
    match tokio::time::timeout(ATTEMPT, options.connect()).await {
        Err(_) => false,
        Ok(Ok(connection)) => {
            // It has answered; how it takes the farewell is its own affair.
            let _ = connection.close().await;
            true
        }
        // It says no itself, because it is full, say, unless it is coming up or going down. MySQL's code for that
        // begins as the one of "too many connections" does.
        Ok(Err(sqlx::Error::Database(error))) => {
            !error.code().is_some_and(|code| code.starts_with("57P0") || code == "08S01")
        }
        Ok(Err(error)) => !StoreError::from(error).lost_connection(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use sqlx::mysql::MySqlConnectOptions;
    use sqlx::postgres::{PgConnectOptions, PgSslMode};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_waits_when_the_database_goes_away_is_sent_away_at_once() {
        let gate = Gate::new();
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.pass(std::future::pending::<Result<(), _>>(), || ()).await }
        });
        tokio::task::yield_now().await;
        gate.down.send_replace(true);
        assert!(matches!(waiting.await.unwrap(), Err(StoreError::Unavailable(_))));
        assert!(matches!(gate.pass(pin!(async { Ok(()) }), || ()).await, Err(StoreError::Unavailable(_))));
        gate.down.send_replace(false);
        assert!(gate.pass(pin!(async { Ok(()) }), || ()).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_long_has_doubts() {
        let gate = Gate::new();
        let doubt = || gate.down.send_modify(|down| *down = true);
        let waiting = gate.pass(std::future::pending::<Result<(), _>>(), doubt);
        assert!(matches!(waiting.await, Err(StoreError::Unavailable(_))));
    }

    /// A server that says this to everybody, after as much as a client sends first.
    async fn saying(first: usize, words: Vec<u8>) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.read_exact(&mut vec![0; first]).await.unwrap();
                stream.write_all(&words).await.unwrap();
                // Until the client has read it.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn a_database_that_is_full_is_there_and_one_that_is_going_down_is_not() {
        for (number, state, there) in
            [(1040u16, "08004", true), (1129, "HY000", true), (1053, "08S01", false)]
        {
            let mut words = vec![0xff];
            words.extend(number.to_le_bytes());
            words.extend(format!("#{state}no").bytes());
            let mut packet = u32::try_from(words.len()).unwrap().to_le_bytes().to_vec();
            packet.extend(words);
            let options = MySqlConnectOptions::new().host("127.0.0.1").port(saying(0, packet).await);
            assert_eq!(answers(&options).await, there, "{number}");
        }
        for (code, there) in [("53300", true), ("08P01", true), ("57P03", false)] {
            let words = format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0");
            let mut packet = vec![b'E'];
            packet.extend(u32::try_from(words.len() + 4).unwrap().to_be_bytes());
            packet.extend(words.bytes());
            let options = PgConnectOptions::new_without_pgpass()
                .host("127.0.0.1")
                .ssl_mode(PgSslMode::Disable)
                .port(saying(8, packet).await);
            assert_eq!(answers(&options).await, there, "{code}");
        }
    }

    #[tokio::test]
    async fn only_connections_from_before_the_break_are_distrusted() {
        let gate = Gate::new();
        assert!(!gate.distrusts(Duration::from_secs(3600)));
        *gate.suspected.lock().unwrap() = Some(Instant::now());
        assert!(gate.distrusts(Duration::from_secs(1)));
        assert!(!gate.distrusts(Duration::ZERO));
    }
}
