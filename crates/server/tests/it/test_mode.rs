//! The contract of the differential tests, in a build with `--features test-mode`.

use crate::client::{get, post};
use crate::process::{Server, portcullis};

const ADA: &str = r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#;

fn start(config: &str, clock: bool) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.json"), config).unwrap();
    let mut command = portcullis(dir.path(), &["--config", "c.json", "--port", "0"]);
    if clock {
        command.env("TEST_CLOCK", "1");
    }
    let server = Server::of(command);
    (dir, server)
}

#[test]
fn a_request_brings_its_own_time() {
    let (_dir, server) =
        start(r#"{"emailAndPassword":{"enabled":true},"database":{"url":"sqlite:x.db"}}"#, true);
    let answer = post(server.address, "/api/auth/sign-up/email", "x-test-now: 1700000000007\r\n", ADA);
    assert!(answer.body.contains("2023-11-14T22:13:20.007Z"), "{}", answer.body);
    let cookie = format!("cookie: {}\r\n", answer.cookie("better-auth.session_token"));
    let at = |now: &str| {
        get(server.address, "/api/auth/get-session", &format!("{cookie}x-test-now: {now}\r\n")).body
    };
    assert!(at("1700000100000").contains("ada@example.com"));
    assert_eq!(at("1800000000000"), "null");
}

#[test]
fn without_the_variable_the_header_means_nothing() {
    let (_dir, server) = start(r#"{"emailAndPassword":{"enabled":true}}"#, false);
    let answer = post(server.address, "/api/auth/sign-up/email", "x-test-now: 0\r\n", ADA);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("1970-01-01"), "{}", answer.body);
}

#[test]
fn without_a_database_nothing_is_stored_and_there_is_no_page() {
    let (dir, server) = start(r#"{"emailAndPassword":{"enabled":true}}"#, true);
    assert_eq!(post(server.address, "/api/auth/sign-up/email", "", ADA).status, 200);
    assert_eq!(get(server.address, "/", "").status, 404);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the config file");
    assert_eq!(server.stop().code, Some(0));
}
