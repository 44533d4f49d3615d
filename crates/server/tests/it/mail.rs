//! Mail as a developer and an operator see it: the mailbox, the commands, and what refuses to start.

use std::time::{Duration, Instant};

use crate::client::{Answer, get, post};
use crate::process::{Server, portcullis, run};

const ADA: &str = r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#;
const FORGOTTEN: &str = r#"{"email":"ada@example.com","redirectTo":"/new"}"#;
const SECRET: &str = "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4";

fn forget(server: &Server) {
    assert_eq!(post(server.address, "/api/auth/sign-up/email", "", ADA).status, 200);
    assert_eq!(post(server.address, "/api/auth/request-password-reset", "", FORGOTTEN).status, 200);
}

/// Looks until there is a mail: it goes out beside the request.
fn mailbox(server: &Server) -> Answer {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let page = get(server.address, "/dev/mailbox", "");
        if page.body.contains("/dev/mailbox/1") {
            return page;
        }
        assert!(Instant::now() < end, "no mail came: {}", page.body);
        std::thread::yield_now();
    }
}

#[test]
fn without_any_configuration_a_developer_gets_the_mail_and_its_link_works() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert!(get(server.address, "/dev/mailbox", "").body.contains("No mail yet"));
    forget(&server);
    let page = mailbox(&server);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    let mail = get(server.address, "/dev/mailbox/1/html", "");
    let policy = mail.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox ") && !policy.contains("allow-scripts"), "{policy}");
    assert_eq!(mail.header("x-frame-options"), Some("SAMEORIGIN"));
    let token = page.body.split("/reset-password/").nth(1).unwrap().get(..24).unwrap().to_owned();
    assert!(mail.body.contains(&token) && mail.body.contains("Hello Ada,"));
    let body = format!(r#"{{"token":"{token}","newPassword":"difference engine"}}"#);
    assert_eq!(post(server.address, "/api/auth/reset-password", "", &body).status, 200);
    assert_eq!(get(server.address, "/dev/mailbox/99", "").status, 404);
    assert_eq!(get(server.address, "/dev/mailbox/x", "").status, 400);
    let said = server.stop();
    assert!(said.err.contains(&token), "a developer finds the link in the log");
    assert_eq!(run(dir.path(), &["mail", "list"]).out, "");
}

#[test]
fn nobody_else_sees_the_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for header in ["x-forwarded-for: 203.0.113.9\r\n", "forwarded: for=203.0.113.9\r\n"] {
        assert_eq!(get(server.address, "/dev/mailbox", header).status, 404, "{header}");
    }
    let request = "GET /dev/mailbox HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(crate::client::raw(server.address, request.as_bytes()).unwrap().status, 404);
    server.stop();

    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("PORTCULLIS_ENV", "production").env("BETTER_AUTH_SECRET", SECRET);
    command.env("BETTER_AUTH_URL", "http://localhost:3000");
    let server = Server::of(command);
    for path in ["/dev/mailbox", "/dev/mailbox/1", "/dev/mailbox/1/html"] {
        assert_eq!(get(server.address, path, "").status, 404, "{path}");
    }
    let answer = post(
        server.address,
        "/api/auth/request-password-reset",
        "origin: http://localhost:3000\r\n",
        FORGOTTEN,
    );
    assert_eq!(answer.status, 400, "production has no mailer by itself: {}", answer.body);
    assert!(answer.body.contains("Reset password isn't enabled"), "{}", answer.body);
}

#[test]
fn without_the_table_and_the_right_to_make_it_the_start_says_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let hook = r#"[emailAndPassword]
enabled = true
"#;
    std::fs::write(dir.path().join("portcullis.toml"), format!("mail = false\n{hook}")).unwrap();
    assert_eq!(run(dir.path(), &["migrate"]).code, Some(0));
    std::fs::write(dir.path().join("portcullis.toml"), format!("migrate = false\n{hook}")).unwrap();
    let said = run(dir.path(), &["--port", "0"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("portcullisMail") && said.err.contains("run `portcullis migrate`"),
        "{}",
        said.err
    );
    let said = run(dir.path(), &["migrate"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let server = Server::start(dir.path());
    forget(&server);
    mailbox(&server);
}

#[test]
fn an_operator_can_look_at_a_mail_before_anybody_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = run(dir.path(), &["mail", "preview"]).out;
    assert!(kinds.contains("reset-password") && kinds.contains("languages: de en es fr"), "{kinds}");
    let text = run(dir.path(), &["mail", "preview", "reset-password", "--locale", "de"]).out;
    assert!(text.starts_with("Subject: Neues Passwort für") && text.contains("1 Stunde"), "{text}");
    let html = run(dir.path(), &["mail", "preview", "verify-email", "--form", "html"]).out;
    assert!(html.starts_with("<!doctype html>") && html.contains("1 hour"), "{html}");
    for wrong in
        [["preview", "reset-pasword", "--locale", "de"], ["preview", "reset-password", "--locale", "xx"]]
    {
        let said = run(dir.path(), &[&["mail"][..], &wrong].concat());
        assert_eq!(said.code, Some(1), "{said:?}");
    }
    std::fs::create_dir(dir.path().join("mails")).unwrap();
    std::fs::write(dir.path().join("mails/reset-password.html"), "\n{{ ulr }}").unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), "[mail]\ntemplates = \"mails\"\n").unwrap();
    let said = run(dir.path(), &["--port", "0"]);
    assert!(
        said.err.contains("reset-password.html, line 2: there is no variable `ulr`; did you mean `url`?"),
        "{}",
        said.err
    );
}
