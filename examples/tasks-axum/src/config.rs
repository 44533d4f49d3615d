//! What the environment says. It is read here once and is a value from then on.

use std::fmt;

use portcullis::config::Environment;
use portcullis_verify::MIN_SECRET_LEN;
use url::Url;

/// Where a front end in development is.
const FRONTEND: &str = "http://localhost:3000";

/// Everything that can be set.
#[derive(Clone)]
pub struct Config {
    /// Where to listen: `HOST`, `PORT`.
    pub host: String,
    /// 0 for any port that is free.
    pub port: u16,
    /// `DATABASE_URL`: of SQLite or PostgreSQL, for the tables of Portcullis and of the app.
    pub database_url: String,
    /// `BETTER_AUTH_URL`: the address that browsers see the auth routes at. Without it: this listener.
    pub auth_url: Option<String>,
    /// `AUTH_ISSUER`: `iss` of the tokens. Without it: the origin of the address above.
    pub issuer: Option<String>,
    /// `AUTH_AUDIENCE`: `aud` of the tokens, likewise.
    pub audience: Option<String>,
    /// `JWT_SECRET`: tokens are signed with this shared secret (HS256) instead of a key pair.
    pub jwt_secret: Option<String>,
    /// `BETTER_AUTH_SECRET`: signs cookies, seals what rests.
    pub secret: Option<String>,
    /// `FRONTEND_ORIGINS`: web pages that may call, with commas between.
    pub origins: Vec<String>,
    /// `PORTCULLIS_ENV`: `development` or `production`.
    pub environment: Environment,
}

/// Does not show the secrets, nor the database's password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("auth_url", &self.auth_url)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("origins", &self.origins)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Of the process's environment.
    ///
    /// # Errors
    /// Which variable is wrong, and how it should be.
    #[expect(clippy::disallowed_methods, reason = "the one place of this app that reads the environment")]
    pub fn from_env() -> Result<Self, String> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Of these variables. One that is empty counts as not set: compose files set what they do not fill.
    ///
    /// # Errors
    /// Which variable is wrong, and how it should be.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let port = match get("PORT") {
            None => 8000,
            Some(text) => text.parse().map_err(|_| format!("PORT is `{text}`: set a number up to 65535"))?,
        };
        let environment = match get("PORTCULLIS_ENV").as_deref() {
            None | Some("development") => Environment::Development,
            Some("production") => Environment::Production,
            Some(other) => {
                return Err(format!("PORTCULLIS_ENV is `{other}`: set `development` or `production`"));
            }
        };
        let database_url = get("DATABASE_URL").unwrap_or_else(|| "sqlite:tasks.db".to_owned());
        if !["sqlite:", "postgres:", "postgresql:"].iter().any(|known| database_url.starts_with(known)) {
            return Err("DATABASE_URL: write `sqlite:FILE` or `postgres://…`".to_owned());
        }
        let jwt_secret = get("JWT_SECRET");
        if jwt_secret.as_ref().is_some_and(|secret| secret.len() < MIN_SECRET_LEN) {
            return Err(format!(
                "JWT_SECRET is shorter than {MIN_SECRET_LEN} bytes: make one with `openssl rand -base64 32`"
            ));
        }
        let auth_url = get("BETTER_AUTH_URL");
        match &auth_url {
            Some(url) => drop(origin(url).map_err(|problem| format!("BETTER_AUTH_URL {problem}"))?),
            None if environment == Environment::Production => {
                return Err("BETTER_AUTH_URL is not set: browsers see the app at some https://…".to_owned());
            }
            None => {}
        }
        let origins = get("FRONTEND_ORIGINS").unwrap_or_else(|| FRONTEND.to_owned());
        let origins = origins.split(',').map(str::trim).filter(|one| !one.is_empty());
        // A slash at the end, or `*`, would silently match nothing that a browser sends.
        let origins = origins
            .map(|one| match origin(one) {
                Ok(origin) if origin == one => Ok(origin),
                _ => Err(format!("FRONTEND_ORIGINS has `{one}`: write origins such as {FRONTEND}")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            host: get("HOST").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port,
            database_url,
            auth_url,
            issuer: get("AUTH_ISSUER"),
            audience: get("AUTH_AUDIENCE"),
            jwt_secret,
            secret: get("BETTER_AUTH_SECRET"),
            origins,
            environment,
        })
    }
}

/// Scheme, host and port of an address, as browsers and tokens write them.
///
/// # Errors
/// That it is no address of the web.
pub fn origin(url: &str) -> Result<String, String> {
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
            Ok(parsed.origin().ascii_serialization())
        }
        _ => Err(format!("is `{url}`: write it as {FRONTEND}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let find = |name: &str| variables.iter().find(|(one, _)| *one == name);
        Config::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_has_to_be_set_in_development() {
        let config = read(&[("JWT_SECRET", ""), ("PORT", " ")]).unwrap();
        assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8000));
        assert_eq!(config.database_url, "sqlite:tasks.db");
        assert_eq!(config.origins, ["http://localhost:3000"]);
        assert!(config.jwt_secret.is_none() && config.secret.is_none() && config.auth_url.is_none());
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not_repeated() {
        let short = "x".repeat(MIN_SECRET_LEN - 1);
        for (name, value) in [
            ("PORT", "http"),
            ("PORTCULLIS_ENV", "prod"),
            ("DATABASE_URL", "mysql://me:hidden@localhost/tasks"),
            ("JWT_SECRET", short.as_str()),
            ("BETTER_AUTH_URL", "localhost:3000"),
            ("BETTER_AUTH_URL", "tasks"),
            ("FRONTEND_ORIGINS", "*"),
            ("FRONTEND_ORIGINS", "http://localhost:3000/"),
            ("FRONTEND_ORIGINS", "http://localhost:3000,localhost:3001"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains(&short) && !error.contains("hidden"), "{error}");
        }
        assert!(read(&[("JWT_SECRET", &"x".repeat(MIN_SECRET_LEN))]).is_ok());
        let error = read(&[("PORTCULLIS_ENV", "production")]).unwrap_err();
        assert!(error.starts_with("BETTER_AUTH_URL is not set"), "{error}");
    }

    #[test]
    fn the_secrets_are_not_shown() {
        let config = read(&[
            ("JWT_SECRET", "hidden-1-hidden-1-hidden-1-hidden"),
            ("BETTER_AUTH_SECRET", "hidden-2"),
            ("DATABASE_URL", "postgres://me:hidden-3@localhost/tasks"),
        ]);
        assert!(!format!("{:?}", config.unwrap()).contains("hidden"));
    }
}
