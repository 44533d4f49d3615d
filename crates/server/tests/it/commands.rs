//! The commands besides `serve`.

use std::path::Path;

use crate::client::{get, post};
use crate::process::{Said, Server, portcullis, run, run_with};

fn with_input(directory: &Path, args: &[&str], input: &str) -> Said {
    run_with(portcullis(directory, args), input)
}

#[test]
fn migrate_says_what_it_would_do_and_then_does_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), "migrate = false").unwrap();
    let dry = run(dir.path(), &["migrate", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.err);
    for table in ["user", "session", "account", "verification"] {
        assert!(dry.out.contains(&format!("create table \"{table}\"")), "{}", dry.out);
    }
    assert_eq!(run(dir.path(), &["migrate", "--dry-run"]).out, dry.out, "it changed something");
    let done = run(dir.path(), &["migrate"]);
    assert!(done.out.ends_with(" statements were run\n"), "{done:?}");
    assert_eq!(run(dir.path(), &["migrate", "--dry-run"]).out, "-- the tables are up to date\n");
    assert_eq!(run(dir.path(), &["migrate"]).out, "the tables are up to date\n");
}

#[test]
fn doctor_finds_pending_tables_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let said = run(dir.path(), &["doctor"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "doctor made something");
    insta::assert_snapshot!(said.out, @r#"
ok    config    no file, the defaults (development; PORTCULLIS_ENV=production makes it strict)
warn  secret    none yet; in development the first start makes one in portcullis.db.secret, for production set BETTER_AUTH_SECRET
ok    secret    is long enough
ok    baseURL   is taken from each request; set it for production
ok    cookies   not Secure, as baseURL is not https
ok    tokens    are signed with EdDSA; services verify them with the public keys at /api/auth/jwks
ok    database  portcullis.db is created at the first start
"#);
    assert_eq!(Server::start(dir.path()).stop().code, Some(0));
    let said = run(dir.path(), &["doctor"]);
    assert!(said.out.contains("ok    tables    are up to date"), "{}", said.out);
    std::fs::write(dir.path().join("portcullis.toml"), "migrate = false\n[plugins.bearer]\n[user.additionalFields]\nage = { type = 'number', required = false }").unwrap();
    let said = run(dir.path(), &["doctor"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("FAIL  tables    1 statements are missing"), "{}", said.out);
}

#[test]
fn doctor_says_what_is_wrong_with_a_config() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), "basePth = '/x'").unwrap();
    let said = run(dir.path(), &["doctor"]);
    assert_eq!(said.code, Some(1));
    let out = said.out.replace(dir.path().canonicalize().unwrap().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(out, @"FAIL  config    DIR/portcullis.toml: basePth: unknown option; did you mean `basePath`?");
}

#[test]
fn doctor_finds_what_is_wrong_with_a_plugin_before_there_is_a_database() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), "[plugins.jwt]\nalgorithm = 'HS256'").unwrap();
    let doctor = |secret: &str| {
        let mut command = portcullis(dir.path(), &["doctor"]);
        command.env("JWT_SECRET", secret);
        run_with(command, "")
    };
    let said = doctor("short");
    assert_eq!(said.code, Some(1));
    assert!(
        said.out.contains("FAIL  config    JWT_SECRET: plugins.jwt.secret: has fewer than 32 bytes"),
        "{}",
        said.out
    );
    let said = doctor("a secret that services share, Q7x!");
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(said.out.contains("warn  tokens    are signed with JWT_SECRET (HS256)"), "{}", said.out);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "doctor made something");
}

#[test]
fn secret_prints_another_one_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let one = run(dir.path(), &["secret"]).out;
    let other = run(dir.path(), &["secret"]).out;
    assert!(one.trim_end().len() >= 32 && one.ends_with('\n'));
    assert!(one.trim_end().chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{one}");
    assert_ne!(one, other);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn openapi_describes_the_routes_and_needs_no_database() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), "[plugins.jwt]\n[plugins.tokenApi]\n").unwrap();
    let said = run(dir.path(), &["openapi"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let sign_in = &document["paths"]["/sign-in/email"]["post"];
    assert_eq!(sign_in["operationId"], "postSignInEmail");
    let body = &sign_in["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"]["password"]["type"], "string");
    assert!(body["required"].as_array().unwrap().iter().any(|name| name == "email"));
    assert!(document["paths"]["/change-password"]["post"]["security"].is_array());
    assert!(document["paths"]["/ok"]["get"].is_object());
    assert_eq!(document["paths"]["/me"]["get"]["security"], serde_json::json!([{ "accessToken": [] }]));
}

#[test]
fn users_are_made_and_changed_and_deleted_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let made = with_input(
        here,
        &["user", "create", "Ada@Example.com", "--name", "Ada", "--verified"],
        "analytical engine\n",
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.out.ends_with("\tada@example.com\tAda\n"), "{}", made.out);
    assert_eq!(run(here, &["user", "list"]).out, made.out);

    let server = Server::start(here);
    let sign_in = |password: &str| {
        let body = format!(r#"{{"email":"ada@example.com","password":"{password}"}}"#);
        post(server.address, "/api/auth/sign-in/email", "", &body)
    };
    let answer = sign_in("analytical engine");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(r#""emailVerified":true"#), "{}", answer.body);
    let cookie = format!("cookie: {}\r\n", answer.cookie("better-auth.session_token"));

    let shown: serde_json::Value =
        serde_json::from_str(&run(here, &["user", "show", "ada@example.com"]).out).unwrap();
    assert_eq!((&shown["sessions"], &shown["accounts"][0]), (&1.into(), &"credential".into()));
    assert_eq!(shown["user"]["email"], "ada@example.com");

    let changed = with_input(here, &["user", "set-password", "ada@example.com"], "difference engine");
    assert_eq!(changed.code, Some(0), "{changed:?}");
    assert_eq!(
        get(server.address, "/api/auth/get-session", &cookie).body,
        "null",
        "the session should have ended"
    );
    assert_eq!(sign_in("analytical engine").status, 401);
    assert_eq!(sign_in("difference engine").status, 200);

    assert_eq!(run(here, &["user", "delete", "ada@example.com"]).code, Some(0));
    assert_eq!(run(here, &["user", "list"]).out, "");
    assert_eq!(sign_in("difference engine").status, 401);
}

#[test]
fn what_is_wrong_with_a_user_or_a_password_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let of = |args: &[&str], input: &str| {
        let said = with_input(here, args, input);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
        said.err.trim().to_owned()
    };
    insta::assert_snapshot!(of(&["user", "show", "x@example.com"], ""), @"portcullis: there is no user with the address x@example.com; see `portcullis user list`");
    insta::assert_snapshot!(of(&["user", "create", "x"], "long enough"), @"portcullis: x is not an e-mail address");
    insta::assert_snapshot!(of(&["user", "create", "x@example.com"], "short\n"), @"portcullis: Password too short (it must have 8 to 128 characters)");
    insta::assert_snapshot!(of(&["user", "create", "x@example.com"], ""), @"portcullis: no password came in; write it to standard input, such as with `printf %s … | portcullis user …`");
    with_input(here, &["user", "create", "x@example.com"], "long enough");
    insta::assert_snapshot!(of(&["user", "create", "X@example.com"], "long enough"), @"portcullis: there is a user with the address x@example.com already");
    let policy = "[emailAndPassword]\nenabled = true\n[emailAndPassword.passwordPolicy]\nrejectCommon = true\nrejectContext = true\n[database]\nurl = \"sqlite:portcullis.db\"\n";
    std::fs::write(here.join("portcullis.toml"), policy).unwrap();
    insta::assert_snapshot!(of(&["user", "create", "lovelace@example.com"], "trustno1"), @"portcullis: Password is one of the most common ones. Please choose another.");
    insta::assert_snapshot!(of(&["user", "set-password", "x@example.com"], "example-dot-com"), @"portcullis: Password must not contain parts of your name, your email address or the name of this service");
    // Arguments are visible to every process, so there is none for a password.
    assert_eq!(with_input(here, &["user", "create", "y@example.com", "long enough"], "").code, Some(2));
}
