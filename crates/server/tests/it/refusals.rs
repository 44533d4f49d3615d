//! What keeps the server from starting, and what it says then.

use std::path::Path;

use crate::process::{Server, portcullis, run, run_with};

/// Starts with a config file that cannot stand.
fn refused(config: &str, vars: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), config).unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.envs(vars.iter().copied());
    let said = run_with(command, "");
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    masked(&said.err, dir.path())
}

fn masked(text: &str, directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap();
    text.trim().replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn an_unknown_option_is_named_with_the_nearest_known_one() {
    insta::assert_snapshot!(refused("[session]\nexpiresin = 60", &[]), @"portcullis: DIR/portcullis.toml: session.expiresin: unknown option; did you mean `expiresIn`?");
    insta::assert_snapshot!(refused("", &[("PORTCULLIS__SESSION__EXPIRES", "60")]), @"portcullis: PORTCULLIS__SESSION__EXPIRES: session.expires: unknown option; did you mean `expiresIn`?");
    insta::assert_snapshot!(refused("", &[("PORTCULLIS__PLUGINS__USERNAME__MAX_USERNAME_LENGTH", "hunter2")]), @"portcullis: PORTCULLIS__PLUGINS__USERNAME__MAX_USERNAME_LENGTH: plugins.username.maxUsernameLength: invalid type: string, expected a whole number");
    insta::assert_snapshot!(refused("[plugins.beerer]", &[]), @"portcullis: DIR/portcullis.toml: plugins.beerer: unknown plugin; did you mean `bearer`?");
}

#[test]
fn a_weak_secret_is_refused_behind_https_and_in_production() {
    insta::assert_snapshot!(refused("secret = 'changeme'\nbaseURL = 'https://auth.example.com'", &[]), @"portcullis: DIR/portcullis.toml: secret: is a default or too weak (it needs 32 random characters) for production or an https baseURL; make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET");
    insta::assert_snapshot!(refused("secret = 'changeme'\nbaseURL = 'http://auth.internal'", &[("NODE_ENV", "production")]), @"portcullis: DIR/portcullis.toml: secret: is a default or too weak (it needs 32 random characters) for production or an https baseURL; make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET");
    insta::assert_snapshot!(refused("baseURL = 'https://auth.example.com'", &[]), @"portcullis: DIR/portcullis.toml: secret: is missing; make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET");
}

#[test]
fn production_needs_to_know_its_own_address() {
    insta::assert_snapshot!(refused("secret = 'Zk3vQ8xN1pT6yB0sW5mR2hJ7dF4gL9aC'", &[("PORTCULLIS_ENV", "production")]), @"portcullis: DIR/portcullis.toml: baseURL: is missing; in production write the public URL, e.g. https://auth.example.com");
}

#[test]
fn a_misspelt_environment_is_refused() {
    insta::assert_snapshot!(refused("", &[("PORTCULLIS_ENV", "produciton")]), @"portcullis: PORTCULLIS_ENV: must be `production` or `development`");
    insta::assert_snapshot!(refused("", &[("PORTCULLIS_LOG_FORMAT", "xml")]), @"portcullis: PORTCULLIS_LOG_FORMAT: must be `human` or `json`");
    insta::assert_snapshot!(refused("", &[("PORTCULLIS_LOG", "portcullis=loud")]), @"portcullis: PORTCULLIS_LOG: is not a filter; write a level such as `info` or `debug`, or `portcullis=debug,warn`");
}

#[test]
fn a_directory_that_is_missing_or_not_writable_is_named() {
    insta::assert_snapshot!(refused("database = 'sqlite:data/x.db'", &[]), @"portcullis: the directory DIR/data of database.url is not there; create it or set database.url");
    insta::assert_snapshot!(refused("database = 'sqlite:/proc/x.db'", &[]), @"portcullis: the directory /proc of database.url is not writable (No such file or directory (os error 2)); change its owner or mode, or set database.url");
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let error = refused("database = 'postgres://app:hunter2@127.0.0.1:1/auth'", &[]);
    assert!(error.contains("the database is not available") && error.contains("refused"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    insta::assert_snapshot!(refused("database = 'oracle://x'", &[]), @"portcullis: database: database error: the database URL must start with sqlite:, postgres:// or mysql://");
}

#[test]
fn a_port_in_use_is_named_together_with_the_option() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(dir.path());
    let port = first.address.port().to_string();
    let second = tempfile::tempdir().unwrap();
    let said = run(second.path(), &["--port", &port]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.err.trim().replace(&port, "PORT"), @"portcullis: port PORT on 127.0.0.1 is in use; stop what listens there or choose another one with --port N");
    assert_eq!(std::fs::read_dir(second.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(run(dir.path(), &["--listen", "http://localhost"]).err.trim(), @"portcullis: --listen: `http://localhost` is not an address; write one such as 127.0.0.1:4000, 0.0.0.0:4000 or [::1]:4000");
    insta::assert_snapshot!(refused("http.listen = 'a b'", &[]), @"portcullis: http.listen: `a b` is not an address; write one such as 127.0.0.1:4000, 0.0.0.0:4000 or [::1]:4000");
}

#[test]
fn a_config_file_that_is_missing_or_broken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.json"), "{").unwrap();
    let of = |file: &str| {
        let said = run(dir.path(), &["serve", "--config", file]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
        masked(&said.err, dir.path())
    };
    insta::assert_snapshot!(of("none.toml"), @"portcullis: cannot read the config file DIR/none.toml: No such file or directory (os error 2); name another one with --config FILE");
    insta::assert_snapshot!(of("x.json"), @"portcullis: DIR/x.json is not valid JSON: EOF while parsing an object at line 1 column 1");
}

#[test]
fn a_command_line_that_is_wrong_has_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["--port", "70000"]).code, Some(2));
    assert_eq!(run(dir.path(), &["fly"]).code, Some(2));
    assert_eq!(run(dir.path(), &["--help"]).code, Some(0));
}
