use super::*;

fn at(dir: &tempfile::TempDir, file: &str, text: &str) -> PathBuf {
    let path = dir.path().join(file);
    std::fs::write(&path, text).unwrap();
    path
}

fn from(dir: &tempfile::TempDir, vars: impl Into<Vars>) -> Result<Loaded, String> {
    load(None, dir.path(), &vars.into())
        .map_err(|e| e.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

fn toml(text: &str, vars: impl Into<Vars>) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    at(&dir, "portcullis.toml", text);
    from(&dir, vars)
}

fn none() -> Vars {
    Vars::default()
}

#[test]
fn without_a_file_passwords_jwt_and_bearer_are_on_and_data_is_in_portcullis_db() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = from(&dir, none()).unwrap();
    assert_eq!(loaded.settings.email_and_password.enabled, Some(true));
    assert_eq!(loaded.settings.plugins.keys().collect::<Vec<_>>(), ["jwt", "bearer"]);
    assert_eq!(loaded.sqlite_file(), Some("portcullis.db".into()));
    assert_eq!(loaded.settings.trusted_origins.as_deref().unwrap().as_slice(), LOCAL_ORIGINS);
    assert!(loaded.may_make_secret());
}

#[test]
fn a_file_switches_on_only_what_it_says() {
    let loaded = toml("appName = 'X'", none()).unwrap();
    assert_eq!(loaded.settings.email_and_password.enabled, None);
    assert!(loaded.settings.plugins.is_empty());
    assert_eq!(loaded.sqlite_file(), Some("portcullis.db".into()));
}

#[test]
fn in_production_localhost_is_not_trusted_and_no_secret_is_made_up() {
    for vars in [[("PORTCULLIS_ENV", "production")], [("NODE_ENV", "production")]] {
        let loaded = toml("", vars).unwrap();
        assert_eq!(loaded.environment, Environment::Production);
        assert!(loaded.settings.trusted_origins.is_none());
        assert!(!loaded.may_make_secret());
    }
}

#[test]
fn a_misspelt_production_is_refused() {
    assert_eq!(
        toml("", [("PORTCULLIS_ENV", "prod")]).unwrap_err(),
        "PORTCULLIS_ENV: must be `production` or `development`"
    );
}

#[test]
fn a_public_base_url_ends_the_trust_in_localhost_and_the_made_up_secret() {
    let loaded = toml("baseURL = 'https://auth.example.com'", none()).unwrap();
    assert!(loaded.settings.trusted_origins.is_none());
    assert!(!loaded.may_make_secret());
    let loaded = toml("baseURL = 'http://localhost:3000'", none()).unwrap();
    assert!(loaded.settings.trusted_origins.is_some());
    assert!(loaded.may_make_secret());
    let dynamic = "baseURL = { allowedHosts = ['*.example.com'], protocol = 'https' }";
    assert!(!toml(dynamic, none()).unwrap().may_make_secret());
}

#[test]
fn json_is_read_by_its_extension_or_its_first_character() {
    let dir = tempfile::tempdir().unwrap();
    at(&dir, "a.json", r#"{"appName":"A"}"#);
    at(&dir, "b.conf", "\u{feff} {\"appName\":\"B\"}");
    at(&dir, "c.conf", "appName = 'C'");
    for (file, name) in [("a.json", "A"), ("b.conf", "B"), ("c.conf", "C")] {
        let loaded = load(Some(Path::new(file)), dir.path(), &none()).unwrap();
        assert_eq!(loaded.settings.app_name.as_deref(), Some(name));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    at(&dir, "a.json", "{\"secret\": \"hunter2\" \"x\"}");
    at(&dir, "a.toml", "x = 1\nsecret = \"hunter2\" \"x\"\n");
    at(&dir, "b.json", "[1]");
    std::fs::write(dir.path().join("c.toml"), [0xff, 0xfe]).unwrap();
    let of = |file: &str| {
        let error = load(Some(Path::new(file)), dir.path(), &none()).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        error.replace(dir.path().to_str().unwrap(), "DIR")
    };
    insta::assert_snapshot!(of("a.json"), @"DIR/a.json is not valid JSON: expected `,` or `}` at line 1 column 22");
    insta::assert_snapshot!(of("a.toml"), @"DIR/a.toml is not valid TOML (line 2): unexpected key or value, expected newline, `#`");
    insta::assert_snapshot!(of("b.json"), @r#"DIR/b.json: must be an object of options, such as {"baseURL": "…"}"#);
    insta::assert_snapshot!(of("c.toml"), @"the config file DIR/c.toml is not UTF-8; save it as UTF-8");
    insta::assert_snapshot!(of("none.toml"), @"cannot read the config file DIR/none.toml: No such file or directory (os error 2); name another one with --config FILE");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    insta::assert_snapshot!(toml("baseUrl = 'x'", none()).unwrap_err(), @"DIR/portcullis.toml: baseUrl: unknown option; did you mean `baseURL`?");
    insta::assert_snapshot!(toml("[emailAndPassword]\nminPasswordLenght = 9", none()).unwrap_err(), @"DIR/portcullis.toml: emailAndPassword.minPasswordLenght: unknown option; did you mean `minPasswordLength`?");
    let vars = [("PORTCULLIS__EMAIL_AND_PASSWORD__MIN_PASSWORD_LENGHT", "9")];
    insta::assert_snapshot!(toml("", vars).unwrap_err(), @"PORTCULLIS__EMAIL_AND_PASSWORD__MIN_PASSWORD_LENGHT: emailAndPassword.minPasswordLenght: unknown option; did you mean `minPasswordLength`?");
}

#[test]
fn the_environment_goes_over_the_file() {
    let loaded = toml(
        "secret = 'file'\nbaseURL = 'http://file'\n[database]\nurl = 'sqlite:file.db'\nmaxConnections = 3",
        [
            ("AUTH_SECRET", "other"),
            ("BETTER_AUTH_SECRET", "environment"),
            ("BETTER_AUTH_URL", "http://environment"),
            ("DATABASE_URL", "postgres://h/d"),
        ],
    )
    .unwrap();
    assert_eq!(loaded.settings.secret.as_deref(), Some("environment"));
    assert!(
        matches!(&loaded.settings.base_url, Some(config::BaseUrlSettings::Fixed(url)) if url == "http://environment")
    );
    let database = loaded.settings.database.unwrap();
    assert_eq!((database.url.as_deref(), database.max_connections), (Some("postgres://h/d"), Some(3)));
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let loaded =
        toml("secret = 'file'", [("BETTER_AUTH_SECRET", ""), ("PORTCULLIS__APP_NAME", " ")]).unwrap();
    assert_eq!(loaded.settings.secret.as_deref(), Some("file"));
    assert_eq!(loaded.settings.app_name, None);
}

#[test]
fn any_option_can_be_set_by_its_path() {
    let loaded = toml(
        "[database]\nurl = 'sqlite:x.db'",
        [
            ("PORTCULLIS__EMAIL_AND_PASSWORD__MIN_PASSWORD_LENGTH", "12"),
            ("PORTCULLIS__emailAndPassword__enabled", "true"),
            ("PORTCULLIS__TRUSTED_ORIGINS", r#"["https://a.example"]"#),
            ("PORTCULLIS__PLUGINS__TWO_FACTOR", "{}"),
            ("PORTCULLIS__DATABASE__MAX_CONNECTIONS", "7"),
            ("PORTCULLIS__ADVANCED__COOKIES__session_token__NAME", "sid"),
            ("PORTCULLIS__SECRETS__0__VERSION", "2"),
            ("PORTCULLIS__SECRETS__0__VALUE", "new"),
            ("PORTCULLIS__SECRETS__1", r#"{"version":1,"value":"old"}"#),
        ],
    )
    .unwrap()
    .settings;
    assert_eq!(loaded.email_and_password.min_password_length, Some(12));
    assert_eq!(loaded.email_and_password.enabled, Some(true));
    assert_eq!(loaded.trusted_origins.unwrap()[0], "https://a.example");
    assert!(loaded.plugins.contains_key("twoFactor"));
    let database = loaded.database.unwrap();
    assert_eq!((database.url.as_deref(), database.max_connections), (Some("sqlite:x.db"), Some(7)));
    assert_eq!(loaded.advanced.cookies["session_token"].name.as_deref(), Some("sid"));
    let secrets: Vec<_> = loaded.secrets.unwrap().into_iter().map(|one| (one.version, one.value)).collect();
    assert_eq!(secrets, [(2, "new".to_owned()), (1, "old".to_owned())]);
}

#[test]
fn irregular_names_are_met_without_regard_to_case_and_underscores() {
    let loaded = toml(
        "baseURL = 'http://file'",
        [
            ("PORTCULLIS__BASE_URL__ALLOWED_HOSTS", r#"["a.example"]"#),
            ("PORTCULLIS__ADVANCED__DISABLE_CSRF_CHECK", "true"),
            ("PORTCULLIS__ADVANCED__IP_ADDRESS__IPV6_SUBNET", "56"),
            ("PORTCULLIS__ON_API_ERROR__ERROR_URL", "https://e.example"),
            ("PORTCULLIS__PASSWORD_HASH__MEMORY_KIB", "4096"),
            ("PORTCULLIS__ACCOUNT__ENCRYPT_OAUTH_TOKENS", "true"),
        ],
    )
    .unwrap()
    .settings;
    assert!(matches!(loaded.base_url, Some(config::BaseUrlSettings::Dynamic { .. })));
    assert_eq!(loaded.advanced.disable_csrf_check, Some(true));
    assert_eq!(loaded.advanced.ip_address.ipv6_subnet, Some(56));
    assert_eq!(loaded.on_api_error.error_url.as_deref(), Some("https://e.example"));
    assert_eq!(loaded.password_hash.memory_kib, Some(4096));
    assert_eq!(loaded.account.encrypt_oauth_tokens, Some(true));
}

#[test]
fn a_number_or_flag_is_text_where_text_is_wanted() {
    let number = "12345678901234567890123456789012";
    let loaded = toml(
        "",
        [
            ("PORTCULLIS__SECRET", number),
            ("PORTCULLIS__APP_NAME", "42"),
            ("PORTCULLIS__ADVANCED__COOKIE_PREFIX", "true"),
            ("PORTCULLIS__SECRETS__0__VERSION", "1"),
            ("PORTCULLIS__SECRETS__0__VALUE", "007e1"),
            ("PORTCULLIS__EMAIL_AND_PASSWORD__MIN_PASSWORD_LENGTH", "12"),
        ],
    )
    .unwrap()
    .settings;
    assert_eq!(loaded.secret.as_deref(), Some(number));
    assert_eq!(loaded.app_name.as_deref(), Some("42"));
    assert_eq!(loaded.advanced.cookie_prefix.as_deref(), Some("true"));
    assert_eq!(loaded.secrets.unwrap()[0].value, "007e1");
    assert_eq!(loaded.email_and_password.min_password_length, Some(12));
}

#[test]
fn a_wrong_type_is_said_without_the_value() {
    let error = toml("secret = 12345678", none()).unwrap_err();
    assert!(!error.contains("12345678"), "{error}");
    insta::assert_snapshot!(error, @"DIR/portcullis.toml: secret: invalid type: integer, expected a string");
    let error = toml("", [("PORTCULLIS__SESSION__EXPIRES_IN", "hunter2")]).unwrap_err();
    insta::assert_snapshot!(error, @"PORTCULLIS__SESSION__EXPIRES_IN: session.expiresIn: invalid type: string, expected a whole number");
}

#[test]
fn a_number_is_text_in_a_room_that_wants_text_and_an_error_of_a_room_names_the_variable() {
    let vars =
        [("PORTCULLIS__PLUGINS__TWO_FACTOR__ISSUER", "42"), ("PORTCULLIS__PLUGINS__JWT__X", "hunter2")];
    let mut loaded = toml("", vars).unwrap();
    assert_eq!(loaded.settings.plugins["twoFactor"]["issuer"], 42);
    let error = ConfigError::new("plugins.twoFactor.issuer", "invalid type: integer `42`, expected a string");
    assert!(loaded.mend(&error));
    assert_eq!(loaded.settings.plugins["twoFactor"]["issuer"], "42");
    assert!(!loaded.mend(&error), "it must not be tried for ever");
    let error = ConfigError::new("plugins.jwt.x", "invalid type: string \"hunter2\", expected u32");
    assert!(!loaded.mend(&error));
    assert_eq!(
        loaded.describe(&error),
        "PORTCULLIS__PLUGINS__JWT__X: plugins.jwt.x: invalid type: string, expected a whole number"
    );
}

#[test]
fn a_list_in_the_environment_has_no_gaps() {
    insta::assert_snapshot!(toml("", [("PORTCULLIS__SECRETS__1__VALUE", "x")]).unwrap_err(), @"PORTCULLIS__SECRETS__1__VALUE: the list has no item 0; count from 0 without gaps");
}

#[test]
fn one_option_is_not_set_by_two_variables() {
    let vars = [("PORTCULLIS__APP_NAME", "a"), ("PORTCULLIS__appName", "b")];
    insta::assert_snapshot!(toml("", vars).unwrap_err(), @"PORTCULLIS__appName: PORTCULLIS__APP_NAME sets the same option; keep one of them");
}

#[test]
fn variables_are_filled_into_values() {
    let loaded = toml(
        "appName = 'a ${NAME} $${NAME} $5 ${EMPTY}b'\n[plugins.twoFactor]\nissuer = '${NAME}'",
        [("NAME", "${x}"), ("EMPTY", "")],
    )
    .unwrap()
    .settings;
    assert_eq!(loaded.app_name.as_deref(), Some("a ${x} ${NAME} $5 b"));
    assert_eq!(loaded.plugins["twoFactor"]["issuer"], "${x}");
    insta::assert_snapshot!(toml("[plugins.x]\ny = ['${NONE}']", none()).unwrap_err(), @"DIR/portcullis.toml: plugins.x.y.0: the environment variable NONE is not set; set it, or write `$${` for the characters themselves");
    insta::assert_snapshot!(toml("appName = '${NAME'", [("NAME", "x")]).unwrap_err(), @"DIR/portcullis.toml: appName: `${` has no `}`; write `$${` for the characters themselves");
}

#[test]
fn a_key_that_ends_in_file_brings_the_content_of_that_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    at(&dir, "etc/s", "  from a file\n");
    at(
        &dir,
        "etc/p.toml",
        "[[secrets]]\nversion = 1\nvalueFile = 's'\n[database]\nurlFile = 's'\n[plugins.x]\nclientSecretFile = 's'\n[user.fields]\nimageFile = 'image_file'",
    );
    let loaded = load(Some(Path::new("etc/p.toml")), dir.path(), &none()).unwrap().settings;
    assert_eq!(loaded.secrets.unwrap()[0].value, "from a file");
    assert_eq!(loaded.database.unwrap().url.as_deref(), Some("from a file"));
    assert_eq!(loaded.plugins["x"]["clientSecret"], "from a file");
    assert_eq!(loaded.user.fields["imageFile"], "image_file");
}

#[test]
fn a_file_can_be_named_in_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    at(&dir, "s", "123\n");
    let loaded =
        from(&dir, [("BETTER_AUTH_SECRET_FILE", "s"), ("PORTCULLIS__DATABASE__URL_FILE", "s")]).unwrap();
    assert_eq!(loaded.settings.secret.as_deref(), Some("123"));
    assert_eq!(loaded.settings.database.unwrap().url.as_deref(), Some("123"));
    let error = from(&dir, [("BETTER_AUTH_SECRET_FILE", "s"), ("BETTER_AUTH_SECRET", "x")]).unwrap_err();
    insta::assert_snapshot!(error, @"BETTER_AUTH_SECRET_FILE: BETTER_AUTH_SECRET is set as well; keep one of them");
    insta::assert_snapshot!(from(&dir, [("PORTCULLIS__SECRET_FILE", "none")]).unwrap_err(), @"PORTCULLIS__SECRET_FILE: cannot read DIR/none: No such file or directory (os error 2); check the path and its permissions");
}

#[test]
fn a_missing_or_doubled_file_is_named() {
    insta::assert_snapshot!(toml("secretFile = 'none'", none()).unwrap_err(), @"DIR/portcullis.toml: secretFile: cannot read DIR/none: No such file or directory (os error 2); check the path and its permissions");
    insta::assert_snapshot!(toml("secretFile = 'x'\nsecret = 'y'", none()).unwrap_err(), @"DIR/portcullis.toml: secretFile: secret is there as well; keep one of them");
}

#[test]
fn versioned_secrets_and_origins_come_as_comma_lists() {
    let loaded = toml(
        "trustedOrigins = ['https://file.example']",
        [
            ("BETTER_AUTH_SECRETS", "2:aaa:x, 1:bbb"),
            ("BETTER_AUTH_TRUSTED_ORIGINS", "https://a.example, https://b.example,"),
        ],
    )
    .unwrap();
    assert!(!loaded.may_make_secret());
    let secrets: Vec<_> =
        loaded.settings.secrets.unwrap().into_iter().map(|one| (one.version, one.value)).collect();
    assert_eq!(secrets, [(2, "aaa:x".to_owned()), (1, "bbb".to_owned())]);
    let origins = loaded.settings.trusted_origins.unwrap();
    assert_eq!(origins[..3], ["https://file.example", "https://a.example", "https://b.example"]);
    let error = toml("", [("BETTER_AUTH_SECRETS", "hunter2")]).unwrap_err();
    insta::assert_snapshot!(error, @"BETTER_AUTH_SECRETS: must be `version:secret` pairs, such as `2:new…,1:old…`");
}

#[test]
fn the_shared_secret_of_tokens_comes_from_the_environment_where_it_signs() {
    const SHARED: &str = "a secret that services share, Q7x!";
    let hs256 = "secret = \"x\"\n[plugins.jwt]\nalgorithm = \"HS256\"\n";
    let loaded = toml(hs256, [("JWT_SECRET", SHARED)]).unwrap();
    assert_eq!(loaded.settings.plugins["jwt"]["secret"], SHARED);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let loaded =
        toml("secret = \"x\"", [("PORTCULLIS__PLUGINS__JWT__ALGORITHM", "HS256"), ("JWT_SECRET", SHARED)]);
    assert_eq!(loaded.unwrap().settings.plugins["jwt"]["secret"], SHARED);
    insta::assert_snapshot!(
        toml(hs256, [("JWT_SECRET", " a secret with a space before it, Q7x!")]).unwrap_err(),
        @"JWT_SECRET: has spaces around it, which services may take for a part of the secret"
    );

    // Elsewhere it is somebody else's, and what is not there is not switched on by it.
    let loaded = toml("secret = \"x\"\n[plugins.jwt]\n", [("JWT_SECRET", SHARED)]).unwrap();
    assert_eq!(loaded.settings.plugins["jwt"].get("secret"), None);
    assert!(loaded.warnings[0].starts_with("JWT_SECRET is set and has no effect"), "{:?}", loaded.warnings);
    let loaded = toml("secret = \"x\"\n[plugins.bearer]\n", [("JWT_SECRET", SHARED)]).unwrap();
    assert_eq!(loaded.settings.plugins.get("jwt"), None);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn variables_that_do_nothing_are_mentioned() {
    let loaded = toml(
        "",
        [
            ("PORTCULLIS_BASE_URL", "x"),
            ("PORTCULLIS_PORT", "tcp://10.0.0.1"),
            ("PORTCULLIS_SERVICE_HOST", "x"),
            ("PORTCULLIS_LOG", "x"),
        ],
    )
    .unwrap();
    insta::assert_snapshot!(loaded.warnings.join("\n"), @"PORTCULLIS_BASE_URL is set and has no effect; an option is PORTCULLIS__BASE_URL, with two underscores between sections");
}

#[cfg(not(feature = "test-mode"))]
#[test]
fn the_test_contract_does_nothing_in_a_normal_build() {
    let loaded = toml("", [("TEST_CLOCK", "1"), ("TEST_EGRESS", "http://127.0.0.1:1")]).unwrap();
    assert_eq!(loaded.environment, Environment::Development);
    assert_eq!(loaded.warnings.len(), 2);
}

#[cfg(feature = "test-mode")]
#[test]
fn under_the_test_contract_no_database_means_that_nothing_is_stored() {
    let loaded = toml("", [("TEST_CLOCK", "1"), ("TEST_EGRESS", "http://127.0.0.1:1")]).unwrap();
    assert_eq!(loaded.environment, Environment::Test);
    assert!(loaded.settings.database.is_none());
    let loaded = toml("", none()).unwrap();
    assert_eq!(loaded.environment, Environment::Development);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut vars = none();
    vars.0.insert("BETTER_AUTH_SECRET".into(), OsString::from_vec(vec![0xff]));
    assert_eq!(toml("", vars).unwrap_err(), "BETTER_AUTH_SECRET: is not UTF-8; set it to plain text");
}

#[test]
fn the_file_of_a_sqlite_url_is_found() {
    for (url, file) in [
        ("sqlite:x.db", Some("x.db")),
        ("sqlite:///srv/x.db?mode=rwc", Some("/srv/x.db")),
        ("sqlite::memory:", None),
        ("sqlite:", None),
        ("sqlite:x?mode=memory", None),
        ("postgres://h/d", None),
    ] {
        assert_eq!(sqlite_file(url), file.map(PathBuf::from), "{url}");
    }
}
