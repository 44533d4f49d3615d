//! The first run, without any configuration, and the second.

use std::os::unix::fs::PermissionsExt;

use crate::client::{get, post};
use crate::process::{Server, portcullis};

const ADA: &str = r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#;

/// Masks what differs from run to run.
fn masked(text: &str, server: &Server, directory: &std::path::Path) -> String {
    let directory = directory.canonicalize().unwrap();
    text.replace(&server.address.port().to_string(), "PORT").replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn the_first_run_says_what_runs_where_the_data_is_and_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let port = server.address.port();
    let said = server.stop();
    let text = said.err.replace(&port.to_string(), "PORT");
    let text = text.replace(dir.path().canonicalize().unwrap().to_str().unwrap(), "DIR");
    let message = text.split("\n\n").filter(|part| !part.contains("INFO")).collect::<Vec<_>>().join("\n\n");
    insta::assert_snapshot!(message.trim(), @r#"
Portcullis 0.1.0 is running (development).

  API       http://localhost:PORT/api/auth
  Page      http://localhost:PORT/
  Mail      http://localhost:PORT/dev/mailbox
  Data      DIR/portcullis.db (SQLite)
  Secret    DIR/portcullis.db.secret (for development only)
  Config    the defaults; portcullis.toml is read when it is there
  Features  e-mail and password, jwt, bearer

Try it:

  curl -i http://localhost:PORT/api/auth/sign-up/email \
    -H 'content-type: application/json' \
    -d '{"name":"Ada","email":"ada@example.com","password":"analytical engine"}'
"#);
    assert_eq!(said.out, "", "one line on standard output, the ready line, and no more");
}

#[test]
fn the_first_request_of_the_message_works_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let page = get(server.address, "/", "").body;
    let shown = page.split("id=\"curl\">").nth(1).unwrap().split("</code>").next().unwrap();
    let shown = shown.replace("&#34;", "\"").replace("&#39;", "'").replace("&quot;", "\"");
    let body = shown.split("-d '").nth(1).unwrap().trim_end_matches('\'');
    assert!(
        shown.starts_with(&format!(
            "curl -i http://localhost:{}/api/auth/sign-up/email",
            server.address.port()
        )),
        "{shown}"
    );
    let answer = post(server.address, "/api/auth/sign-up/email", "", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn the_secret_is_for_this_user_alone_and_outlives_a_restart_together_with_the_users() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("portcullis.db.secret");
    let server = Server::start(dir.path());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&path).unwrap();
    assert!(secret.trim().len() >= 32);
    let answer = post(server.address, "/api/auth/sign-up/email", "", ADA);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let cookie = answer.cookie("better-auth.session_token");
    assert_eq!(server.stop().code, Some(0));

    let server = Server::start(dir.path());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);
    let session = get(server.address, "/api/auth/get-session", &format!("cookie: {cookie}\r\n"));
    assert!(session.body.contains("ada@example.com"), "{}", session.body);
    let again = post(server.address, "/api/auth/sign-up/email", "", ADA);
    assert_eq!(again.status, 422, "{}", again.body);
}

#[test]
fn in_production_no_secret_is_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("PORTCULLIS_ENV", "production").env("BETTER_AUTH_URL", "https://auth.example.com");
    let said = crate::process::run_with(command, "");
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    insta::assert_snapshot!(said.err.trim(), @"portcullis: secret: is missing; make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET");
    assert!(!dir.path().join("portcullis.db.secret").exists());
}

#[test]
fn jwt_and_bearer_are_on_and_a_front_end_on_localhost_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let answer = post(server.address, "/api/auth/sign-up/email", "origin: http://localhost:5173\r\n", ADA);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = answer.header("set-auth-token").unwrap().to_owned();
    let session = get(server.address, "/api/auth/get-session", &format!("authorization: Bearer {token}\r\n"));
    assert!(session.body.contains("ada@example.com"), "{}", session.body);
    assert_eq!(get(server.address, "/api/auth/jwks", "").status, 200);
    let cookie = answer.cookie("better-auth.session_token");
    let from = |origin: &str| {
        post(server.address, "/api/auth/sign-out", &format!("cookie: {cookie}\r\norigin: {origin}\r\n"), "{}")
            .status
    };
    assert_eq!(from("https://evil.example"), 403);
    assert_eq!(from("http://127.0.0.1:8080"), 200);
}

#[test]
fn the_page_says_the_same_to_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let page = get(server.address, "/", "");
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy").unwrap().starts_with("default-src 'none'; script-src 'nonce-")
    );
    let html = masked(&page.body, &server, dir.path());
    for expected in ["http://localhost:PORT/api/auth", "DIR/portcullis.db", "id=\"credentials\"", "curl -i"] {
        assert!(html.contains(expected), "{expected} is missing");
    }
}
