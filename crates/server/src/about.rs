//! What runs here, said three times: by the start-up message, by the log, and by the page at `/`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis::config::{BaseUrl, Config, Delivery, Environment};
use serde_json::Value as Json;
use url::Url;

/// Facts for the operator; nothing in it is secret.
#[derive(Debug, Clone)]
pub struct About {
    /// `development`, `production` or `test`.
    pub environment: &'static str,
    /// `http://localhost:4000`.
    pub origin: String,
    /// `/api/auth`.
    pub base_path: String,
    /// Where the data is.
    pub data: String,
    /// Where the secret is from.
    pub secret: String,
    /// What is switched on.
    pub features: Vec<String>,
    /// Where the options are from.
    pub config: String,
    /// Can one sign in with a password?
    pub passwords: bool,
    /// And make an account with one?
    pub sign_up: bool,
    /// Are mails for the developer to read at `/dev/mailbox`?
    pub mailbox: bool,
}

impl About {
    /// Gathers the facts.
    pub fn new(
        config: &Config,
        listening: SocketAddr,
        directory: &Path,
        file: Option<&Path>,
        secret: Option<&Path>,
    ) -> Self {
        let settings = &config.settings;
        let passwords = settings.email_and_password.enabled.unwrap_or(false);
        let mut features: Vec<String> =
            passwords.then(|| "e-mail and password".to_owned()).into_iter().collect();
        features.extend(
            settings
                .plugins
                .iter()
                .filter(|(_, options)| !matches!(options, Json::Bool(false) | Json::Null))
                .map(|(name, _)| name.clone()),
        );
        Self {
            environment: match config.environment {
                Environment::Development => "development",
                Environment::Production => "production",
                Environment::Test => "test",
            },
            origin: origin(config, listening),
            base_path: config.base_path.clone(),
            data: data(settings.database.as_ref().and_then(|database| database.url.as_deref()), directory),
            secret: match secret {
                Some(path) => format!("{} (for development only)", absolute(directory, path).display()),
                None => "from the configuration".to_owned(),
            },
            features,
            config: match file {
                Some(file) => file.display().to_string(),
                None => format!("the defaults; {} is read when it is there", crate::load::DEFAULT_FILE),
            },
            passwords,
            sign_up: passwords && !settings.email_and_password.disable_sign_up,
            mailbox: matches!(config.mail.delivery, Delivery::Mailbox) && !config.base_path.is_empty(),
        }
    }

    /// The address of the routes.
    pub fn api(&self) -> String {
        format!("{}{}", self.origin, self.base_path)
    }

    /// A first request that works as it stands.
    pub fn first_request(&self) -> String {
        if self.sign_up {
            format!(
                "curl -i {}/sign-up/email \\\n  -H 'content-type: application/json' \\\n  -d '{}'",
                self.api(),
                r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#
            )
        } else {
            format!("curl -i {}/ok", self.api())
        }
    }

    /// Says it at start: for people, or as one line of the log where lines are read by machines.
    pub fn announce(&self, as_json: bool) {
        if as_json {
            let features = self.features.join(", ");
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                environment = self.environment,
                api = self.api(),
                data = self.data,
                secret = self.secret,
                config = self.config,
                features,
                "portcullis is running"
            );
        } else {
            crate::say::to_stderr(&self.message());
        }
    }

    fn message(&self) -> String {
        let mut out =
            format!("\nPortcullis {} is running ({}).\n\n", env!("CARGO_PKG_VERSION"), self.environment);
        let mut rows = vec![
            ("API", self.api()),
            ("Page", format!("{}/", self.origin)),
            ("Data", self.data.clone()),
            ("Secret", self.secret.clone()),
            ("Config", self.config.clone()),
            ("Features", if self.features.is_empty() { "none".to_owned() } else { self.features.join(", ") }),
        ];
        if self.mailbox {
            rows.insert(2, ("Mail", format!("{}/dev/mailbox", self.origin)));
        }
        for (name, value) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<9} {value}");
        }
        let request = self.first_request().replace('\n', "\n  ");
        let _ = write!(out, "\nTry it:\n\n  {request}\n\n");
        out
    }
}

fn origin(config: &Config, listening: SocketAddr) -> String {
    if let BaseUrl::Fixed(url) = &config.base_url {
        return url.origin().ascii_serialization();
    }
    if listening.ip().is_loopback() && listening.is_ipv4() || listening.ip().is_unspecified() {
        return format!("http://localhost:{}", listening.port());
    }
    format!("http://{listening}")
}

fn data(url: Option<&str>, directory: &Path) -> String {
    let Some(url) = url else { return "nothing is stored; sessions live in cookies".to_owned() };
    if let Some(path) = crate::load::sqlite_file(url) {
        return format!("{} (SQLite)", absolute(directory, &path).display());
    }
    match Url::parse(url) {
        // Without user and password.
        Ok(url) if url.has_host() => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or(""), url.path())
        }
        _ => "in memory; gone when the server stops".to_owned(),
    }
}

fn absolute(directory: &Path, path: &Path) -> PathBuf {
    let mut out = directory.to_path_buf();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        let shown =
            data(Some("postgres://app:hunter2@db.internal:5433/auth?sslmode=require"), Path::new("/"));
        assert_eq!(shown, "postgres://db.internal:5433/auth");
        assert_eq!(data(Some("sqlite:./x.db"), Path::new("/srv")), "/srv/x.db (SQLite)");
        assert_eq!(data(Some("sqlite::memory:"), Path::new("/srv")), "in memory; gone when the server stops");
        assert!(data(None, Path::new("/")).starts_with("nothing is stored"));
    }
}
