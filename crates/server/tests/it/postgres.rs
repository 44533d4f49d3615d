//! A PostgreSQL of the test's own that can be stopped, killed and started again over the same data.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to come up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
    running: Option<Running>,
}

/// The shell that holds the server: should the test process die, its standard input closes, and it ends
/// the server.
struct Running {
    shell: Child,
    pid: String,
}

impl Postgres {
    /// Makes and starts one; `None` where it is not installed, which fails with `CI=true`.
    pub fn start_new() -> Option<Self> {
        let initdb = installed("initdb")?;
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let script = format!(
            "{AS}\n[ -z \"$as\" ] || chown postgres .\n$as {} -D data -U postgres -A trust -E UTF8 --locale=C >log 2>&1",
            initdb.display()
        );
        let made = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).status().unwrap();
        assert!(made.success(), "{}", log(dir.path()));
        let mut server = Self { dir, port, running: None };
        server.start();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it and waits until it listens.
    pub fn start(&mut self) {
        let postgres = installed("postgres").unwrap();
        let script = format!(
            "trap '' INT HUP\n{AS}\n$as {} -D data -p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
             -c max_connections=50 </dev/null >>log 2>&1 3>&- & pid=$!\necho $pid\nexec >&-\ncat >/dev/null\n\
             kill -QUIT $pid 2>/dev/null\nwait $pid",
            postgres.display(),
            self.port
        );
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.running = Some(Running { shell, pid: pid.trim().to_owned() });
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "it does not listen: {}", log(self.dir.path()));
            pause();
        }
    }

    /// Ends it with a signal and waits: `INT` lets clients go in order, `QUIT` is a crash.
    pub fn stop(&mut self, signal: &str) {
        let Some(mut running) = self.running.take() else { return };
        let killed = Command::new("kill").args([&format!("-{signal}"), &running.pid]).status().unwrap();
        assert!(killed.success());
        let begin = Instant::now();
        // Until the server's lock file is gone, or (after a crash) nobody listens.
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "it does not stop");
            pause();
        }
        drop(running.shell.stdin.take());
        running.shell.wait().unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.shell.stdin.take());
            // The folder goes next; the server must be gone by then.
            let _ = running.shell.wait();
        }
    }
}

/// PostgreSQL refuses to run as root.
const AS: &str = "as=; if [ \"$(id -u)\" = 0 ]; then as=\"setpriv --reuid=postgres --regid=$(id -g postgres) --clear-groups\"; fi";

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests look for what is installed, and are told by CI that nothing may be skipped"
)]
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.extend(path.split(':').map(PathBuf::from));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} is not installed, and CI=true");
        eprintln!("\n*** SKIPPED: {name} is not installed; this test proves nothing on this machine ***\n");
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "a process is being waited for, outside of any async task")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(30));
}
