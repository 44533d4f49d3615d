//! The database goes away and comes back, and processes are killed in the middle of their work: what was
//! acknowledged is there afterwards, and nothing is there by half.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Answer, get, post};
use crate::postgres::{Postgres, pause};
use crate::process::{Server, portcullis};

const PASSWORD: &str = "analytical engine";
/// Less than the 5 s that a request would wait for a connection, and much less than `http.timeout`.
const AT_ONCE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(180);

fn over(directory: &Path, database: Option<&str>) -> Server {
    let mut command = portcullis(directory, &["--port", "0"]);
    command.env("PORTCULLIS__PASSWORD_HASH__THREADS", "2");
    if let Some(url) = database {
        command.env("DATABASE_URL", url);
    }
    Server::of(command)
}

fn sign_up_body(email: &str) -> String {
    format!(r#"{{"name":"x","email":"{email}","password":"{PASSWORD}"}}"#)
}

fn cookie_header(cookie: &str) -> String {
    format!("cookie: {cookie}\r\norigin: http://localhost:5173\r\n")
}

fn session_of(address: SocketAddr, cookie: &str) -> String {
    let answer = get(address, "/api/auth/get-session", &cookie_header(cookie));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn while_postgresql_is_away_the_answer_is_an_immediate_503_and_then_it_works_again_by_itself() {
    let Some(mut database) = Postgres::start_new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = over(dir.path(), Some(&database.url()));
    let mut cookies = Vec::new();
    for number in 0..3 {
        let body = sign_up_body(&format!("u{number}@example.com"));
        let answer = post(server.address, "/api/auth/sign-up/email", "", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        cookies.push(answer.cookie("better-auth.session_token"));
    }
    for signal in ["INT", "QUIT"] {
        database.stop(signal);
        for round in 0..5 {
            let begin = Instant::now();
            let header = cookie_header(&cookies[0]);
            let body = sign_up_body("nobody@example.com");
            for answer in [
                get(server.address, "/api/auth/get-session", &header),
                post(server.address, "/api/auth/sign-up/email", "", &body),
                get(server.address, "/ready", ""),
            ] {
                assert_eq!(answer.status, 503, "{signal} {round}: {}", answer.body);
                assert_eq!(answer.header("retry-after"), Some("1"), "{signal} {round}");
            }
            assert!(begin.elapsed() < AT_ONCE, "{signal} {round}: {:?}", begin.elapsed());
            assert_eq!(get(server.address, "/health", "").status, 200);
        }
        database.start();
        let begin = Instant::now();
        while get(server.address, "/ready", "").status != 200 {
            assert!(begin.elapsed() < PATIENCE, "it did not recover");
            pause();
        }
        for (number, cookie) in cookies.iter().enumerate() {
            assert!(session_of(server.address, cookie).contains(&format!("u{number}@example.com")));
        }
        let email = format!("after-{signal}@example.com").to_lowercase();
        let answer = post(server.address, "/api/auth/sign-up/email", "", &sign_up_body(&email));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Every address that was tried.
    tried: Vec<String>,
    /// Address and cookie of sessions that began, by a sign-up or a sign-in.
    began: Vec<(String, String)>,
    /// Cookies of sessions that ended. They are not among those that began.
    ended: Vec<String>,
    /// Cookies of sessions whose end was asked for and not acknowledged: they may be either.
    unsure: Vec<String>,
}

/// Clients who sign up, sign in and sign out as fast as they can.
struct Storm {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    clients: Vec<JoinHandle<()>>,
}

impl Storm {
    fn over(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told: Arc<Mutex<Told>> = Arc::default();
        let number = Arc::new(AtomicUsize::new(0));
        let clients = (0..6).map(|_| {
            let (stop, told, number) = (Arc::clone(&stop), Arc::clone(&told), Arc::clone(&number));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let email = format!("s{}@example.com", number.fetch_add(1, Ordering::Relaxed));
                    told.lock().unwrap().tried.push(email.clone());
                    one_client(address, &email, &told);
                }
            })
        });
        let clients = clients.collect();
        Self { stop, clients, told }
    }

    /// Waits until so many sessions have ended, of more that have begun.
    fn wait_for(&self, ended: usize) {
        let begin = Instant::now();
        while self.told.lock().unwrap().ended.len() < ended {
            assert!(begin.elapsed() < PATIENCE, "too little happened: nothing is proven");
            pause();
        }
    }

    fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

/// Signs up, signs in once more, and ends the second session.
fn one_client(address: SocketAddr, email: &str, told: &Mutex<Told>) {
    let began = |answer: Option<Answer>| {
        let cookie = answer.filter(|answer| answer.status == 200)?.cookie("better-auth.session_token");
        Some(cookie)
    };
    let Some(cookie) = began(attempt(address, "/api/auth/sign-up/email", "", &sign_up_body(email))) else {
        // Nobody is there: thousands of further tries in a second would each be looked for afterwards.
        pause();
        return;
    };
    told.lock().unwrap().began.push((email.to_owned(), cookie));
    let body = format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#);
    let Some(second) = began(attempt(address, "/api/auth/sign-in/email", "", &body)) else { return };
    let out = attempt(address, "/api/auth/sign-out", &cookie_header(&second), "{}");
    let mut told = told.lock().unwrap();
    match out {
        Some(answer) if answer.status == 200 => told.ended.push(second),
        _ => told.unsure.push(second),
    }
}

/// A request to somebody who may be dying; `None` when no whole answer came.
fn attempt(address: SocketAddr, path: &str, headers: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(40))).ok()?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned())));
    Some(Answer { status, headers: headers.collect(), body: body.to_owned() })
}

/// Everything acknowledged is there, what was ended is not, and no user is there without a password.
fn holds(address: SocketAddr, told: &Told) {
    for (email, cookie) in &told.began {
        assert!(session_of(address, cookie).contains(email.as_str()), "the session of {email} is lost");
    }
    for cookie in &told.ended {
        assert_eq!(session_of(address, cookie), "null", "a session that was ended is back");
    }
    for cookie in &told.unsure {
        session_of(address, cookie);
    }
    let acknowledged = |email: &String| told.began.iter().any(|(known, _)| known == email);
    for email in &told.tried {
        let body = format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#);
        let answer = post(address, "/api/auth/sign-in/email", "", &body);
        if answer.status == 200 {
            continue;
        }
        assert!(!acknowledged(email), "{email} cannot sign in: {}", answer.body);
        // Not there at all, then: had only half of the user been written, the address would be taken.
        let answer = post(address, "/api/auth/sign-up/email", "", &sign_up_body(email));
        assert_eq!(answer.status, 200, "{email} is there by half: {}", answer.body);
    }
}

#[test]
fn killed_under_load_it_has_lost_nothing_that_it_acknowledged_with_sqlite() {
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let server = over(dir.path(), None);
        let storm = Storm::over(server.address);
        storm.wait_for(4);
        // Dropping it is SIGKILL.
        drop(server);
        let told = storm.end();
        let server = over(dir.path(), None);
        holds(server.address, &told);
    }
}

#[test]
fn killed_under_load_it_has_lost_nothing_that_it_acknowledged_with_postgresql() {
    let Some(database) = Postgres::start_new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = over(dir.path(), Some(&database.url()));
    let storm = Storm::over(server.address);
    storm.wait_for(4);
    drop(server);
    let told = storm.end();
    let server = over(dir.path(), Some(&database.url()));
    holds(server.address, &told);
}

#[test]
fn a_crash_of_postgresql_under_load_loses_nothing_that_was_acknowledged() {
    let Some(mut database) = Postgres::start_new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = over(dir.path(), Some(&database.url()));
    let storm = Storm::over(server.address);
    storm.wait_for(4);
    database.stop("QUIT");
    let told = storm.end();
    database.start();
    let begin = Instant::now();
    while get(server.address, "/ready", "").status != 200 {
        assert!(begin.elapsed() < PATIENCE, "it did not recover");
        pause();
    }
    holds(server.address, &told);
}
