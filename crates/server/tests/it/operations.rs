//! Probes, headers, the log, the environment and the end.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::{connect, get, post, read};
use crate::process::{Server, portcullis};

#[test]
fn the_process_is_healthy_and_the_database_ready() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let health = get(server.address, "/health", "");
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
    let ready = get(server.address, "/ready", "");
    assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"status":"ready"}"#));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
}

#[test]
fn every_answer_has_security_headers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for path in ["/", "/health", "/nowhere", "/api/auth/ok", "/api/auth/error", "/api/auth/nowhere"] {
        let answer = get(server.address, path, "");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("strict-transport-security"), None, "{path}");
        assert_eq!(answer.header("x-request-id").unwrap().len(), 16, "{path}");
    }
}

#[test]
fn behind_https_browsers_are_told_to_stay_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("BETTER_AUTH_URL", "https://auth.example.com");
    command.env("BETTER_AUTH_SECRET", "Zk3vQ8xN1pT6yB0sW5mR2hJ7dF4gL9aC");
    let server = Server::of(command);
    assert_eq!(
        get(server.address, "/api/auth/ok", "").header("strict-transport-security"),
        Some("max-age=31536000")
    );
    let answer = post(
        server.address,
        "/api/auth/sign-up/email",
        "",
        r#"{"name":"a","email":"a@example.com","password":"analytical engine"}"#,
    );
    assert!(answer.cookie("__Secure-better-auth.session_token").len() > 40);
}

#[test]
fn the_environment_goes_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("auth.json"),
        r#"{"basePath":"/file","emailAndPassword":{"enabled":true},"database":{"url":"sqlite:file.db"}}"#,
    )
    .unwrap();
    let mut command = portcullis(dir.path(), &["--config", "auth.json", "--port", "0"]);
    command.env("PORTCULLIS__BASE_PATH", "/environment");
    command.env("PORTCULLIS__EMAIL_AND_PASSWORD__MIN_PASSWORD_LENGTH", "12");
    command.env("DATABASE_URL", "sqlite:environment.db");
    let server = Server::of(command);
    assert_eq!(get(server.address, "/file/ok", "").status, 404);
    assert_eq!(get(server.address, "/environment/ok", "").status, 200);
    let short = r#"{"name":"a","email":"a@example.com","password":"elevenchars"}"#;
    let answer = post(server.address, "/environment/sign-up/email", "", short);
    assert!(answer.body.contains("PASSWORD_TOO_SHORT"), "{}", answer.body);
    assert!(dir.path().join("environment.db").exists() && !dir.path().join("file.db").exists());
}

#[test]
fn the_log_holds_routes_and_never_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("PORTCULLIS_LOG", "trace").env("PORTCULLIS_LOG_FORMAT", "json");
    let server = Server::of(command);
    let body = r#"{"name":"Ada","email":"ada@example.com","password":"hunter2-in-the-body"}"#;
    let answer = post(server.address, "/api/auth/sign-up/email?q=hunter2-in-the-query", "", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.header("x-request-id").unwrap().to_owned();
    let cookie = answer.cookie("better-auth.session_token");
    get(
        server.address,
        "/api/auth/get-session",
        &format!("cookie: {cookie}\r\nx-a: hunter2-in-a-header\r\n"),
    );
    get(server.address, "/api/auth/hunter2-in-the-path", "");
    let said = server.stop();
    for line in said.err.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "not JSON: {line}");
    }
    let session = cookie.split('=').nth(1).unwrap().split('.').next().unwrap();
    let secret = std::fs::read_to_string(dir.path().join("portcullis.db.secret")).unwrap();
    for hidden in ["hunter2", session, secret.trim(), "ada@example.com"] {
        assert!(!said.err.contains(hidden), "{hidden} is in the log");
    }
    let line = said.err.lines().find(|line| line.contains(&id) && line.contains("answered")).unwrap();
    assert!(
        line.contains(r#""route":"/api/auth/sign-up/email""#) && line.contains(r#""status":200"#),
        "{line}"
    );
}

#[test]
fn asked_to_stop_it_finishes_what_is_under_way_and_exits_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let body = r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#;
    let (half, rest) = body.split_at(20);
    let mut stream = connect(server.address);
    let length = body.len();
    let head = format!(
        "POST /api/auth/sign-up/email HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // `100 Continue` comes when the handler reads the body: the request is under way.
    let mut reply = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut reply).unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 100 Continue"));
    stream.write_all(half.as_bytes()).unwrap();
    server.terminate();
    // No new connection is taken once the listener is closed.
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(server.address).is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        std::thread::yield_now();
    }
    stream.write_all(rest.as_bytes()).unwrap();
    let answer = read(&mut stream).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(server.ended(), Some(0));
}

#[cfg(not(feature = "test-mode"))]
#[test]
fn the_test_contract_does_nothing_in_a_normal_build_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("TEST_CLOCK", "1").env("TEST_EGRESS", "http://127.0.0.1:1");
    let server = Server::of(command);
    let body = r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#;
    let answer = post(server.address, "/api/auth/sign-up/email", "x-test-now: 0\r\n", body);
    assert!(!answer.body.contains("1970-01-01"), "{}", answer.body);
    let said = server.stop();
    assert_eq!(said.err.matches("TEST_CLOCK is set and has no effect").count(), 1, "{}", said.err);
    assert_eq!(said.err.matches("TEST_EGRESS is set and has no effect").count(), 1, "{}", said.err);
}
