//! `portcullis doctor`: looks at everything that can be looked at without changing anything, and says
//! what to do about what it finds. Exit code 1 when something would keep the server from working.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use portcullis::Auth;
use portcullis::config::{BaseUrl, Config, Environment};
use publicsuffix::{List, Psl};

use super::{Here, build, build_apart, writable};
use crate::load::Loaded;
use crate::{say, secret_file};

/// The Public Suffix List (publicsuffix.org, MPL 2.0), so that no network is needed. New suffixes are
/// rare; an old copy misses some and never refuses a domain that is fine.
const SUFFIXES: &[u8] = include_bytes!("../../data/public_suffix_list.dat");

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What was found, in order.
#[derive(Debug, Default)]
struct Report(Vec<(Level, &'static str, String)>);

impl Report {
    fn ok(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((Level::Ok, what, text.into()));
    }

    fn warn(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((Level::Warn, what, text.into()));
    }

    fn fail(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((Level::Fail, what, text.into()));
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (level, what, text) in &self.0 {
            let level = match level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{level:<5} {what:<9} {text}");
        }
        out
    }

    fn worst(&self) -> Level {
        self.0.iter().map(|(level, ..)| *level).max().unwrap_or(Level::Ok)
    }
}

/// Examines and prints.
pub async fn run(here: &Here<'_>) -> Result<ExitCode, String> {
    let mut report = Report::default();
    examine(here, &mut report).await;
    say::to_stdout(&report.text())?;
    Ok(if report.worst() == Level::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(here: &Here<'_>, report: &mut Report) {
    let mut loaded = match here.load() {
        Ok(loaded) => loaded,
        Err(error) => return report.fail("config", error),
    };
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    let file = file.unwrap_or_else(|| "no file, the defaults".to_owned());
    let surroundings = match loaded.environment {
        Environment::Production => "production",
        Environment::Development => "development; PORTCULLIS_ENV=production makes it strict",
        Environment::Test => "test",
    };
    report.ok("config", format!("{file} ({surroundings})"));
    for warning in &loaded.warnings {
        report.warn("config", warning);
    }
    made_up_secret(&mut loaded, report);
    match Config::check(loaded.settings.clone(), loaded.environment) {
        Err(error) => report.fail("config", loaded.describe(&error)),
        Ok(config) => {
            for warning in &config.warnings {
                report.warn("config", warning);
            }
            secret(&config, report);
            addresses(&config, report);
            cookies(&config, report);
            // What only the plugins know.
            if let Err(error) = build_apart(&mut loaded).await {
                return report.fail("config", error);
            }
            tokens(&config, report);
            database(&mut loaded, &config, report).await;
        }
    }
}

/// What the first start would make up is not made here: looking changes nothing.
fn made_up_secret(loaded: &mut Loaded, report: &mut Report) {
    if !loaded.may_make_secret() {
        return;
    }
    let path = secret_file::path(loaded);
    let shown = path.display();
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            report.ok("secret", format!("for development, in {shown}"));
            if readable_by_others(&path) {
                report.warn("secret", format!("{shown} can be read by other users; chmod 600 it"));
            }
            loaded.settings.secret = Some(text.trim().to_owned());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.warn("secret", format!("none yet; in development the first start makes one in {shown}, for production set BETTER_AUTH_SECRET"));
            loaded.settings.secret = Some(secret_file::fresh());
        }
        Err(error) => {
            report.fail("secret", format!("cannot read {shown}: {error}; check its owner and mode"))
        }
    }
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o077 != 0)
}

/// Elsewhere access lists say who may read, not mode bits.
#[cfg(not(unix))]
const fn readable_by_others(_: &Path) -> bool {
    false
}

/// Production refuses a weak one before this is reached.
fn secret(config: &Config, report: &mut Report) {
    let settings = &config.settings;
    let secrets = settings.secrets.iter().flatten().map(|one| one.value.as_str());
    let mut weak = false;
    for one in secrets.chain(settings.secret.as_deref()) {
        let distinct = one.chars().collect::<std::collections::BTreeSet<_>>().len();
        weak |= one.len() < 32 || distinct < 8;
    }
    if weak {
        report.warn(
            "secret",
            "is short or simple; production refuses it, make another with `portcullis secret`",
        );
    } else {
        report.ok("secret", "is long enough");
    }
}

fn addresses(config: &Config, report: &mut Report) {
    let production = config.environment == Environment::Production;
    match &config.base_url {
        BaseUrl::Fixed(url) if url.scheme() == "http" && production => {
            report.warn(
                "baseURL",
                "is http; passwords and cookies travel readable unless this is a private network",
            );
        }
        BaseUrl::Fixed(url) => report.ok("baseURL", url.origin().ascii_serialization()),
        BaseUrl::Dynamic { allowed_hosts, .. } if allowed_hosts.iter().any(|host| host == "*") => {
            report.warn(
                "baseURL",
                "any host is allowed: whoever sends a request chooses the links in mails; list your hosts",
            );
        }
        BaseUrl::Dynamic { allowed_hosts, .. } => {
            report.ok("baseURL", format!("one of {}", allowed_hosts.join(", ")))
        }
        BaseUrl::FromRequest => report.ok("baseURL", "is taken from each request; set it for production"),
    }
    for origin in config.trusted_origins.iter() {
        if matches!(origin.as_str(), "*" | "http://*" | "https://*" | "*://*") {
            report.warn("origins", format!("`{origin}` in trustedOrigins trusts every site; list yours"));
        }
    }
    if config.skip_csrf && config.environment != Environment::Test {
        report.warn("origins", "the origin check is off (advanced.disableCSRFCheck or disableOriginCheck); other sites can act for your users");
    }
}

fn cookies(config: &Config, report: &mut Report) {
    let before = report.0.len();
    if let BaseUrl::Fixed(url) = &config.base_url {
        let local = url.host_str().is_some_and(|host| host == "localhost" || host.ends_with(".localhost"));
        match (url.scheme(), config.secure_cookies) {
            ("https", false) => report.warn(
                "cookies",
                "are not Secure although baseURL is https; remove advanced.useSecureCookies",
            ),
            ("http", true) if !local => {
                report.fail("cookies", "are Secure, but baseURL is http: browsers drop them; use https or remove advanced.useSecureCookies");
            }
            _ => {}
        }
    }
    if let Some(domain) = &config.cookie_domain {
        cookie_domain(domain, &config.base_url, report);
    }
    if report.0.len() == before {
        report.ok(
            "cookies",
            if config.secure_cookies { "Secure" } else { "not Secure, as baseURL is not https" },
        );
    }
}

fn cookie_domain(domain: &str, base_url: &BaseUrl, report: &mut Report) {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    match List::from_bytes(SUFFIXES) {
        Err(error) => report.fail("cookies", format!("the list of public suffixes cannot be read: {error}")),
        Ok(list) => {
            let suffix = list.suffix(domain.as_bytes());
            if suffix.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == domain.as_bytes()) {
                report.fail("cookies", format!("the domain {domain} is a public suffix: browsers drop such cookies; use a domain of your own below it"));
            }
        }
    }
    if let BaseUrl::Fixed(url) = base_url
        && let Some(host) = url.host_str()
        && host != domain
        && !host.ends_with(&format!(".{domain}"))
    {
        report.fail(
            "cookies",
            format!(
                "the domain {domain} does not cover the host {host} of baseURL: browsers drop such cookies"
            ),
        );
    }
}

/// How services verify the tokens that users bring them.
fn tokens(config: &Config, report: &mut Report) {
    let jwt = match config.settings.plugins.get("jwt") {
        None | Some(serde_json::Value::Bool(false)) => return,
        Some(jwt) => jwt,
    };
    let text = |at: &str| jwt.pointer(at).and_then(serde_json::Value::as_str);
    if text("/algorithm") == Some("HS256") {
        return report.warn(
            "tokens",
            "are signed with JWT_SECRET (HS256): each service that verifies them can also make them, for any user, and a new secret has to reach all at once. \
             That is for a service of your own whose library cannot fetch keys; otherwise take plugins.jwt.algorithm away, and services verify with the public keys at /jwks, which hold no secret and can be rotated",
        );
    }
    let alg = text("/jwks/keyPairConfig/alg").unwrap_or("EdDSA");
    let keys = match (text("/jwks/remoteUrl"), text("/jwks/jwksPath")) {
        (Some(elsewhere), _) => elsewhere.to_owned(),
        (None, path) => config.base_path.clone() + path.unwrap_or("/jwks"),
    };
    report
        .ok("tokens", format!("are signed with {alg}; services verify them with the public keys at {keys}"));
}

async fn database(loaded: &mut Loaded, config: &Config, report: &mut Report) {
    if config.stateless {
        return report.ok("database", "none: sessions live in cookies, nothing is stored");
    }
    if config.in_memory {
        report.warn("database", "none: users are in the memory of the process and gone with it");
        return match build(loaded, false).await {
            Ok(auth) => secondary(&auth, report).await,
            Err(error) => report.fail("secondary storage", error),
        };
    }
    if let Some(file) = loaded.sqlite_file() {
        if let Err(error) = writable(&file) {
            return report.fail("data", error);
        }
        if !file.exists() {
            return report.ok("database", format!("{} is created at the first start", file.display()));
        }
        report.ok("data", format!("the directory of {} is writable", file.display()));
        if config.environment == Environment::Production && readable_by_others(&file) {
            report.warn("data", format!("{} can be read by other users; chmod 600 it", file.display()));
        }
    }
    let auth = match build(loaded, false).await {
        Ok(auth) => auth,
        Err(error) => return report.fail("database", error),
    };
    let started = Instant::now();
    match auth.store().ping().await {
        Ok(()) => report.ok("database", format!("answers in {} ms", started.elapsed().as_millis())),
        Err(error) => report.fail("database", format!("does not answer: {error}")),
    }
    match auth.store().migration_plan().await {
        Ok(plan) => {
            for warning in &plan.warnings {
                report.warn("tables", warning);
            }
            if !plan.triggers.is_empty() {
                report.warn(
                    "tables",
                    "have no triggers that tell of writes, so every session is read from the database; `portcullis migrate` makes them",
                );
            }
            let pending = plan.statements.len();
            if pending == 0 {
                report.ok("tables", "are up to date");
            } else if config.settings.migrate == Some(false) {
                report.fail("tables", format!("{pending} statements are missing; see `portcullis migrate --dry-run`, then run `portcullis migrate`"));
            } else {
                report.warn("tables", format!("{pending} statements are missing; the next start runs them, see `portcullis migrate --dry-run`"));
            }
        }
        Err(error) => report.fail("tables", error.to_string()),
    }
    secondary(&auth, report).await;
    auth.store().close().await;
}

/// Does the secondary storage answer, where there is one?
async fn secondary(auth: &Auth, report: &mut Report) {
    let Some(storage) = auth.secondary() else { return };
    let started = Instant::now();
    match storage.ping().await {
        Ok(()) => {
            report.ok("secondary storage", format!("answers in {} ms", started.elapsed().as_millis()));
        }
        Err(_) => report.fail(
            "secondary storage",
            "does not answer: check that it runs and that secondaryStorage is right; the log has more",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis::config::{Settings, read};
    use serde_json::json;

    fn found(settings: serde_json::Value, environment: Environment) -> String {
        let mut settings: Settings = read("", settings).unwrap();
        settings.secret.get_or_insert_with(secret_file::fresh);
        let config = Config::check(settings, environment).unwrap();
        let mut report = Report::default();
        secret(&config, &mut report);
        addresses(&config, &mut report);
        cookies(&config, &mut report);
        tokens(&config, &mut report);
        report.text()
    }

    #[test]
    fn a_sound_deployment_has_nothing_to_complain_about() {
        let report = found(
            json!({ "baseURL": "https://auth.example.co.uk", "advanced": { "crossSubDomainCookies": { "enabled": true, "domain": ".example.co.uk" } } }),
            Environment::Production,
        );
        insta::assert_snapshot!(report, @r#"
ok    secret    is long enough
ok    baseURL   https://auth.example.co.uk
ok    cookies   Secure
"#);
    }

    #[test]
    fn a_cookie_domain_is_held_against_the_public_suffix_list() {
        let of = |domain: &str| {
            found(
                json!({ "baseURL": "https://app.example.co.uk", "advanced": { "crossSubDomainCookies": { "enabled": true, "domain": domain } } }),
                Environment::Production,
            )
        };
        insta::assert_snapshot!(of("co.uk"), @r#"
ok    secret    is long enough
ok    baseURL   https://app.example.co.uk
FAIL  cookies   the domain co.uk is a public suffix: browsers drop such cookies; use a domain of your own below it
"#);
        insta::assert_snapshot!(of("github.io"), @r#"
ok    secret    is long enough
ok    baseURL   https://app.example.co.uk
FAIL  cookies   the domain github.io is a public suffix: browsers drop such cookies; use a domain of your own below it
FAIL  cookies   the domain github.io does not cover the host app.example.co.uk of baseURL: browsers drop such cookies
"#);
        insta::assert_snapshot!(of("ple.co.uk"), @r#"
ok    secret    is long enough
ok    baseURL   https://app.example.co.uk
FAIL  cookies   the domain ple.co.uk does not cover the host app.example.co.uk of baseURL: browsers drop such cookies
"#);
    }

    #[test]
    fn cookies_that_browsers_drop_are_found() {
        insta::assert_snapshot!(found(json!({ "baseURL": "http://auth.internal", "advanced": { "useSecureCookies": true } }), Environment::Production), @r#"
ok    secret    is long enough
warn  baseURL   is http; passwords and cookies travel readable unless this is a private network
FAIL  cookies   are Secure, but baseURL is http: browsers drop them; use https or remove advanced.useSecureCookies
"#);
        insta::assert_snapshot!(found(json!({ "secret": "short", "baseURL": "https://a.example", "advanced": { "useSecureCookies": false } }), Environment::Test), @r#"
warn  secret    is short or simple; production refuses it, make another with `portcullis secret`
ok    baseURL   https://a.example
warn  cookies   are not Secure although baseURL is https; remove advanced.useSecureCookies
"#);
    }

    #[test]
    fn how_tokens_are_verified_is_said_and_a_shared_secret_explained() {
        let of = |jwt: serde_json::Value| {
            let report = found(
                json!({ "baseURL": "https://a.example", "plugins": { "jwt": jwt } }),
                Environment::Production,
            );
            report.lines().last().unwrap().to_owned()
        };
        insta::assert_snapshot!(of(json!({})), @"ok    tokens    are signed with EdDSA; services verify them with the public keys at /api/auth/jwks");
        insta::assert_snapshot!(of(json!({ "jwks": { "keyPairConfig": { "alg": "RS256" }, "jwksPath": "/keys" } })), @"ok    tokens    are signed with RS256; services verify them with the public keys at /api/auth/keys");
        let shared = of(json!({ "algorithm": "HS256", "secret": "a secret that services share, Q7x!" }));
        assert!(shared.starts_with("warn  tokens ") && shared.contains("public keys at /jwks"), "{shared}");
        assert!(!shared.contains("services share"), "{shared}");
        assert!(!of(json!(false)).contains("tokens"));
    }

    #[test]
    fn what_lets_others_choose_the_host_is_found() {
        insta::assert_snapshot!(found(json!({ "baseURL": "https://a.example", "trustedOrigins": ["*"], "advanced": { "disableCSRFCheck": true } }), Environment::Production), @r#"
ok    secret    is long enough
ok    baseURL   https://a.example
warn  origins   `*` in trustedOrigins trusts every site; list yours
warn  origins   the origin check is off (advanced.disableCSRFCheck or disableOriginCheck); other sites can act for your users
ok    cookies   Secure
"#);
        insta::assert_snapshot!(found(json!({ "baseURL": { "allowedHosts": ["*"] } }), Environment::Development), @r#"
ok    secret    is long enough
warn  baseURL   any host is allowed: whoever sends a request chooses the links in mails; list your hosts
ok    cookies   not Secure, as baseURL is not https
"#);
    }
}
