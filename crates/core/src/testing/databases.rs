//! Real databases for tests, from the binaries that are installed: one server per kind and test
//! process, in a folder of its own, started when first asked for.
//!
//! A server ends with the test process however that ends: a shell holds it and waits for its own
//! standard input to close, which the kernel sees to.
//!
//! Where binaries are missing the tests say so and pass; with `CI=true` they fail.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::store::Dialect;

/// A server and the shell that holds it; the shell's standard input is open as long as this lives.
struct Server {
    url: String,
    port: u16,
    _shell: Child,
}

/// How long a server may take to come up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// `postgres://postgres@127.0.0.1:<port>` of a PostgreSQL server; `None` where it is not installed.
pub fn postgres() -> Option<&'static str> {
    postgres_server().map(|server| server.url.as_str())
}

fn postgres_server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let initdb = installed("initdb")?;
            let postgres = installed("postgres")?;
            let openssl = installed("openssl")?;
            start("postgres", |dir, port| {
                (
                    // A certificate of its own for `localhost`, so that TLS can be tried, and refused.
                    format!(
                        "$as {initdb} -D {dir}/data -U postgres -A trust -E UTF8 --locale=C --no-sync\n\
                         $as {openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                         -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                         -keyout {dir}/data/server.key -out {dir}/data/server.crt\n\
                         $as {postgres} -D {dir}/data -p {port} -h 127.0.0.1 -k {dir} -c fsync=off \
                         -c synchronous_commit=off -c full_page_writes=off -c max_connections=300 -c ssl=on",
                        initdb = initdb.display(),
                        openssl = openssl.display(),
                        postgres = postgres.display(),
                    ),
                    format!("postgres://postgres@127.0.0.1:{port}"),
                )
            })
        })
        .as_ref()
}

/// `mysql://root@127.0.0.1:<port>` of a MariaDB server; `None` where it is not installed.
pub fn mysql() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let install = installed("mariadb-install-db")?;
        let mariadbd = installed("mariadbd")?;
        start("mysql", |dir, port| {
            (
                format!(
                    "$as {install} --no-defaults --datadir={dir}/data --auth-root-authentication-method=normal \
                     --skip-test-db\n\
                     $as {mariadbd} --no-defaults --datadir={dir}/data --port={port} --bind-address=127.0.0.1 \
                     --socket={dir}/s --pid-file={dir}/pid --skip-name-resolve --max-connections=300 \
                     --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M",
                    install = install.display(),
                    mariadbd = mariadbd.display(),
                ),
                format!("mysql://root@127.0.0.1:{port}"),
            )
        })
    });
    server.as_ref().map(|server| server.url.as_str())
}

/// `postgres://postgres@127.0.0.1:<port>` of a PgBouncer in transaction mode before
/// [`postgres`]; `None` where one of the two is not installed.
pub fn pgbouncer() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let pgbouncer = installed("pgbouncer")?;
        let behind = postgres_server()?.port;
        start("postgres", |dir, port| {
            (
                format!(
                    "cat > {dir}/ini <<'END'\n\
                     [databases]\n\
                     * = host=127.0.0.1 port={behind} user=postgres\n\
                     [pgbouncer]\n\
                     listen_addr = 127.0.0.1\n\
                     listen_port = {port}\n\
                     unix_socket_dir =\n\
                     auth_type = any\n\
                     pool_mode = transaction\n\
                     default_pool_size = 3\n\
                     max_client_conn = 200\n\
                     END\n\
                     chmod a+r {dir}/ini\n\
                     $as {pgbouncer} {dir}/ini",
                    pgbouncer = pgbouncer.display(),
                ),
                format!("postgres://postgres@127.0.0.1:{port}"),
            )
        })
    });
    server.as_ref().map(|server| server.url.as_str())
}

/// A Redis server of a test's own, which may end and begin again.
pub struct Redis(Server);

impl Redis {
    /// Starts one; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        let redis = installed("redis-server")?;
        start("redis", |dir, port| Self::script(&redis, dir, port)).map(Self)
    }

    fn script(redis: &Path, dir: &str, port: u16) -> (String, String) {
        (
            format!(
                "$as {} --port {port} --bind 127.0.0.1 --dir {dir} --save '' --appendonly no --daemonize no",
                redis.display()
            ),
            format!("redis://127.0.0.1:{port}"),
        )
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Ends it, and comes back when nobody listens there any more.
    pub fn stop(self) -> Gone {
        let port = self.0.port;
        drop(self);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            pause();
        }
        Gone(port)
    }
}

/// Where a Redis server was.
pub struct Gone(u16);

impl Gone {
    /// Starts it again there, empty.
    pub fn start(self) -> Option<Redis> {
        let redis = installed("redis-server")?;
        start_at("redis", Some(self.0), |dir, port| Redis::script(&redis, dir, port)).map(Redis)
    }
}

/// A Redis server that all tests of a process share: each takes a key prefix of its own.
pub fn redis() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Redis>> = OnceLock::new();
    SERVER.get_or_init(Redis::start).as_ref().map(Redis::url)
}

/// The URL of a new empty database; `None` where the server is not installed. SQLite is a file in
/// the temporary folder, which the caller may delete.
pub async fn fresh_database(dialect: Dialect) -> Option<String> {
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let name = format!("t{}_{number}", std::process::id());
    match dialect {
        Dialect::Sqlite => {
            let path = std::env::temp_dir().join(format!("portcullis-{name}.db"));
            Some(format!("sqlite:{}", path.display()))
        }
        Dialect::Postgres => {
            // Starting takes seconds and blocks.
            let base = tokio::task::spawn_blocking(postgres).await.ok().flatten()?;
            create(dialect, &format!("{base}/postgres"), format!("create database {name}")).await;
            Some(format!("{base}/{name}"))
        }
        Dialect::MySql => {
            let base = tokio::task::spawn_blocking(mysql).await.ok().flatten()?;
            create(dialect, base, format!("create database {name} character set utf8mb4")).await;
            Some(format!("{base}/{name}"))
        }
    }
}

/// Settings for an engine with a new empty database, of eight connections where that is a server: in memory
/// for SQLite. `None` where the server is not installed.
pub async fn fresh_settings(dialect: Dialect) -> Option<Json> {
    if dialect == Dialect::Sqlite {
        return Some(json!({}));
    }
    let url = fresh_database(dialect).await?;
    Some(json!({ "database": { "url": url, "maxConnections": 8 } }))
}

/// Tries until the server takes connections, which is a little after it listens.
#[expect(clippy::panic, reason = "a test without its database has failed")]
async fn create(dialect: Dialect, url: &str, sql: String) {
    let start = Instant::now();
    while let Err(error) = execute(dialect, url, sql.clone()).await {
        if start.elapsed() > PATIENCE {
            panic!("the test database does not answer: {error}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs SQL as somebody else would, on a connection of its own.
///
/// # Errors
/// The database's.
pub async fn execute(dialect: Dialect, url: &str, sql: String) -> Result<(), sqlx::Error> {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    if dialect == Dialect::MySql {
        let mut connection = sqlx::MySqlConnection::connect(url).await?;
        sql.execute(&mut connection).await?;
        connection.close().await
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await?;
        sql.execute(&mut connection).await?;
        connection.close().await
    }
}

/// Where a program is: in the folders where servers are installed, or in the search path.
fn installed(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
        // The newest first.
        folders.sort_by(|a, b| b.cmp(a));
    }
    folders.extend(
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/opt/homebrew/bin"]
            .map(PathBuf::from),
    );
    if let Some(path) = env("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        missing(&format!("{program} is not installed"));
    }
    found
}

#[expect(clippy::panic, reason = "a missing database must not look like a passed test where it is promised")]
fn missing(what: &str) {
    if env("CI").as_deref() == Some("true") {
        panic!("{what}, and CI=true");
    }
    eprintln!("\n*** SKIPPED: {what}; tests against it prove nothing on this machine ***\n");
}

#[expect(clippy::disallowed_methods, reason = "tests are told by CI that nothing may be skipped")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Starts a server that `script` (its commands, the last one being the server itself) describes.
fn start(user: &str, script: impl Fn(&str, u16) -> (String, String)) -> Option<Server> {
    start_at(user, None, script)
}

#[expect(clippy::panic, reason = "a test without its database has failed")]
fn start_at(user: &str, port: Option<u16>, script: impl Fn(&str, u16) -> (String, String)) -> Option<Server> {
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("portcullis-{}-{number}", std::process::id()));
    let failed = |what: &str| -> ! {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_else(|error| format!("no log: {error}"));
        panic!("the {user} server for tests {what}: {log}")
    };
    let (shell, text, port, url) = match prepare(user, &dir, port, &script) {
        Ok(prepared) => prepared,
        Err(error) => failed(&error.to_string()),
    };
    let mut shell = shell;
    let spawned =
        shell.args(["-c", &text]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut shell = match spawned {
        Ok(shell) => shell,
        Err(error) => failed(&error.to_string()),
    };
    let started = shell.stdout.take().map(|out| BufReader::new(out).lines().next());
    if !matches!(started, Some(Some(Ok(_)))) {
        failed("did not start");
    }
    let begin = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begin.elapsed() > PATIENCE || !matches!(shell.try_wait(), Ok(None)) {
            failed("does not listen");
        }
        pause();
    }
    Some(Server { url, port, _shell: shell })
}

fn prepare(
    user: &str,
    dir: &Path,
    port: Option<u16>,
    script: &impl Fn(&str, u16) -> (String, String),
) -> std::io::Result<(Command, String, u16, String)> {
    std::fs::create_dir_all(dir)?;
    let port = match port {
        Some(port) => port,
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
    };
    let dir = dir.display().to_string();
    let (commands, url) = script(&dir, port);
    let (prepare, server) = commands.rsplit_once('\n').unwrap_or(("", &commands));
    let mut text = String::new();
    // Servers refuse to run as root. A Ctrl-C reaches the whole group, but the shell has to clean up.
    let wrote = write!(
        text,
        "trap '' INT HUP\n\
         as=\n\
         if [ \"$(id -u)\" = 0 ]; then\n\
         id {user} >/dev/null 2>&1 && user={user} || user=nobody\n\
         chown \"$user\" {dir}\n\
         as=\"setpriv --reuid=$user --regid=$(id -g $user) --clear-groups\"\n\
         fi\n\
         cd {dir}\n\
         exec 3>&1 >{dir}/log 2>&1\n\
         if {{ {prepare}\n}}; then\n\
         {server} </dev/null 3>&- &\n\
         pid=$!\n\
         echo started >&3\n\
         exec 3>&-\n\
         cat >/dev/null\n\
         kill -INT $pid; kill -TERM $pid\n\
         (sleep 5; kill -KILL $pid) 2>/dev/null &\n\
         wait $pid\n\
         cd /\n\
         rm -rf {dir}\n\
         fi\n",
        prepare = if prepare.is_empty() { "true" } else { prepare },
    );
    wrote.map_err(std::io::Error::other)?;
    Ok((Command::new("sh"), text, port, url))
}

#[expect(clippy::disallowed_methods, reason = "a server is being waited for, outside of any async task")]
fn pause() {
    std::thread::sleep(Duration::from_millis(30));
}
