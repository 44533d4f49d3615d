//! `mail`: how mails are delivered, what they look like, and how often delivery is tried.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value as Json;
use url::Url;

use super::{ConfigError, Environment, Settings, read};
use crate::crypto::Secret;
use crate::hooks::Callback;

/// Ours: `mail`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct MailSettings {
    /// Sender, `Name <address>` or an address alone. Needed with `smtp` and `send`.
    pub from: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// The SMTP server: `smtps://user:password@host:465`, `smtp://host:587` (STARTTLS), or a table.
    pub smtp: Option<SmtpSetting>,
    /// Delivers a rendered mail in place of SMTP: `{kind, to, from, subject, html, text, …}`.
    pub send: Option<Callback>,
    /// Folder with the operator's own templates and texts.
    pub templates: Option<String>,
    /// Language where the reader's is not known or not there. Default `en`.
    pub default_locale: Option<String>,
    /// Name, logo and colour in the mails.
    pub brand: BrandSettings,
    /// How often delivery is tried.
    pub retry: RetrySettings,
    /// Ask the owner of a proven address before it is changed. Default true where there is a mailer.
    pub confirm_change_email: Option<bool>,
    /// Deleting oneself needs a mailed link. Default false.
    pub confirm_delete_user: Option<bool>,
    /// Tell a user that their password was changed. Default true where there is a mailer.
    pub notify_password_changed: Option<bool>,
}

/// Without `smtp`, which may hold a password.
impl fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSettings").field("from", &self.from).finish_non_exhaustive()
    }
}

/// `mail.smtp` as written: a URL, or a table of [`SmtpSettings`].
pub type SmtpSetting = Json;

/// `mail.smtp` as a table.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SmtpSettings {
    /// Everything in one, instead of the single options.
    pub url: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// Default 465 with `tls`, 587 with `starttls`, 25 with `none`.
    pub port: Option<u16>,
    /// Who signs in there.
    pub username: Option<String>,
    /// With which password; `passwordFile` names a file.
    pub password: Option<String>,
    /// `starttls` (default), `tls` or `none`.
    pub tls: Option<String>,
    /// `none` also to other machines: mails and password travel readable.
    pub allow_plaintext: bool,
    /// A certificate authority of your own, as PEM; `caFile` names a file.
    pub ca: Option<String>,
    /// Seconds for one delivery. Default 30.
    pub timeout_seconds: Option<u64>,
}

/// The password stays out.
impl fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// `mail.brand`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BrandSettings {
    /// Default: `appName`, or the host of `baseURL`.
    pub name: Option<String>,
    /// An https URL of an image, shown 32 pixels high.
    pub logo: Option<String>,
    /// The button's colour, `#rrggbb`.
    pub color: Option<String>,
}

/// `mail.retry`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrySettings {
    /// Tries before a mail is given up. Default 10.
    pub attempts: Option<u32>,
    /// Seconds before the second try; each further wait is twice as long. Default 10.
    pub first_wait_seconds: Option<u64>,
    /// The longest wait in seconds. Default 3600.
    pub longest_wait_seconds: Option<u64>,
    /// Days for which a mail that was given up is kept to be looked at. Default 7.
    pub keep_failed_days: Option<u64>,
}

/// `mail` as written: a table, or false for no mailer at all.
#[derive(Debug, Clone)]
pub enum MailSetting {
    /// `false`.
    Off,
    /// A table.
    On(Box<MailSettings>),
}

impl<'de> Deserialize<'de> for MailSetting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = MailSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of options, or false for no mailer")
            }
            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<MailSetting, E> {
                if on {
                    return Err(E::invalid_type(serde::de::Unexpected::Bool(true), &self));
                }
                Ok(MailSetting::Off)
            }
            // Not through a value in between: the error's path would end here.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MailSetting, A::Error> {
                let settings = MailSettings::deserialize(MapAccessDeserializer::new(map))?;
                Ok(MailSetting::On(Box::new(settings)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// How the connection to an SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// From the first byte.
    Tls,
    /// After `STARTTLS`, without which nothing is sent.
    StartTls,
    /// Not at all.
    None,
}

/// `mail.smtp`, checked.
#[derive(Clone)]
pub struct SmtpConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
    /// Protection.
    pub tls: SmtpTls,
    /// PEM of an authority of the operator's.
    pub ca: Option<String>,
}

impl fmt::Debug for SmtpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Who delivers.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Nobody: only functions of the operator's do.
    None,
    /// An SMTP server.
    Smtp(Box<SmtpConfig>),
    /// A function of the operator's that is given rendered mails.
    Send(Callback),
    /// Nobody, but a developer can read the mails (development only).
    Mailbox,
}

/// `mail`, checked.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// Who delivers.
    pub delivery: Delivery,
    /// Sender.
    pub from: Mailbox,
    /// Where answers go.
    pub reply_to: Option<Mailbox>,
    /// Folder of the operator's templates.
    pub templates: Option<String>,
    /// Language when no other fits.
    pub default_locale: String,
    /// Name in the mails.
    pub brand: String,
    /// Image in the mails.
    pub logo: Option<String>,
    /// Colour of the button.
    pub color: String,
    /// Tries.
    pub attempts: u32,
    /// First wait.
    pub first_wait: Duration,
    /// Longest wait.
    pub longest_wait: Duration,
    /// How long failures are kept.
    pub keep_failed: Duration,
    /// Time for one delivery.
    pub timeout: Duration,
    /// Was anything said about mail? (Not the defaults of development.)
    pub configured: bool,
    /// Changes of a proven address are confirmed by the mailer.
    pub confirm_change_email: bool,
    /// So is the end of an account.
    pub confirm_delete_user: bool,
    /// A changed password is told.
    pub notify_password_changed: bool,
}

fn refuse<T>(key: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(key, problem))
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError::new(key, "is not an address; write `auth@example.com` or `Example <auth@example.com>`")
    })
}

fn smtp(written: Json) -> Result<(SmtpConfig, Option<u64>), ConfigError> {
    let mut settings: SmtpSettings = match written {
        Json::String(url) => SmtpSettings { url: Some(url), ..SmtpSettings::default() },
        other => read("mail.smtp", other)?,
    };
    if let Some(url) = settings.url.take() {
        let one = settings.host.is_some() || settings.port.is_some() || settings.tls.is_some();
        if one {
            return refuse("mail.smtp.url", "stands beside host, port or tls; keep the one or the others");
        }
        // Not the parser's message: it may show the password.
        let wrong = "is not an SMTP URL; write smtps://host:465 or smtp://host:587, and percent-encode user and password";
        let Ok(url) = Url::parse(&url) else { return refuse("mail.smtp", wrong) };
        let tls = match url.scheme() {
            "smtps" => "tls",
            "smtp" => "starttls",
            _ => return refuse("mail.smtp", wrong),
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return refuse("mail.smtp", wrong);
        };
        settings.host = Some(host.trim_matches(['[', ']']).to_owned());
        settings.port = url.port();
        settings.tls = Some(tls.to_owned());
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("tls", "required") => {}
                ("tls", "none") if url.scheme() == "smtp" => settings.tls = Some("none".into()),
                _ => return refuse("mail.smtp", "has a query other than `tls=required` or `tls=none`"),
            }
        }
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8().map(|text| text.into_owned())
        };
        if !url.username().is_empty() {
            let (Ok(user), Ok(password)) =
                (decoded(url.username()), decoded(url.password().unwrap_or_default()))
            else {
                return refuse("mail.smtp", wrong);
            };
            settings.username.get_or_insert(user);
            settings.password.get_or_insert(password);
        }
    }
    let Some(host) = settings.host.filter(|host| !host.is_empty()) else {
        return refuse("mail.smtp.host", "is missing; name the server that takes your mail");
    };
    let tls = match settings.tls.as_deref() {
        None | Some("starttls") => SmtpTls::StartTls,
        Some("tls") => SmtpTls::Tls,
        Some("none") => SmtpTls::None,
        Some(_) => return refuse("mail.smtp.tls", "must be `starttls`, `tls` or `none`"),
    };
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if tls == SmtpTls::None && !local && !settings.allow_plaintext {
        return refuse(
            "mail.smtp.tls",
            "is `none` for another machine: links and password would travel readable; use `starttls` or `tls`, or say allowPlaintext = true",
        );
    }
    let credentials = match (settings.username, settings.password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some((user, Secret::new(password))),
        (Some(_), None) => return refuse("mail.smtp.password", "is missing beside mail.smtp.username"),
        (None, Some(_)) => return refuse("mail.smtp.username", "is missing beside mail.smtp.password"),
    };
    let port = settings.port.unwrap_or(match tls {
        SmtpTls::Tls => 465,
        SmtpTls::StartTls => 587,
        SmtpTls::None => 25,
    });
    Ok((SmtpConfig { host, port, credentials, tls, ca: settings.ca }, settings.timeout_seconds))
}

impl MailConfig {
    /// Checks `mail`.
    ///
    /// # Errors
    /// What cannot stand, by its key.
    pub fn check(all: &Settings, environment: Environment, brand: &str) -> Result<Self, ConfigError> {
        let configured = matches!(all.mail, Some(MailSetting::On(_)));
        let settings = match &all.mail {
            Some(MailSetting::On(settings)) => (**settings).clone(),
            _ => MailSettings::default(),
        };
        let mut timeout = None;
        let delivery = match (settings.smtp, settings.send) {
            (Some(_), Some(_)) => return refuse("mail.send", "stands beside mail.smtp; keep one of them"),
            (Some(written), None) => {
                let (smtp, seconds) = smtp(written)?;
                timeout = seconds;
                Delivery::Smtp(Box::new(smtp))
            }
            (None, Some(callback)) => Delivery::Send(callback),
            (None, None) if matches!(all.mail, Some(MailSetting::Off)) => Delivery::None,
            (None, None) if environment == Environment::Development => Delivery::Mailbox,
            (None, None) => Delivery::None,
        };
        let from = match &settings.from {
            Some(text) => mailbox("mail.from", text)?,
            None if matches!(delivery, Delivery::Smtp(_) | Delivery::Send(_)) => {
                return refuse(
                    "mail.from",
                    "is missing; write the sender, such as `Example <auth@example.com>`",
                );
            }
            None => Mailbox::new(
                Some(brand.to_owned()),
                Address::new("auth", "localhost")
                    .map_err(|e| ConfigError::new("mail.from", e.to_string()))?,
            ),
        };
        let reply_to = settings.reply_to.as_deref().map(|text| mailbox("mail.replyTo", text)).transpose()?;
        let logo = settings.brand.logo;
        if logo.as_deref().is_some_and(|url| !url.starts_with("https://")) {
            return refuse("mail.brand.logo", "must be an https URL: mail programs load no other images");
        }
        let color = settings.brand.color.unwrap_or_else(|| "#1f4b99".into());
        let hex = color.strip_prefix('#').unwrap_or_default();
        if hex.len() != 6 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
            return refuse("mail.brand.color", "must be a colour such as #1f4b99");
        }
        let retry = settings.retry;
        let bounded = |key: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) { Ok(value) } else { refuse(key, format!("must be 1 to {most}")) }
        };
        let attempts = bounded("mail.retry.attempts", u64::from(retry.attempts.unwrap_or(10)), 100)?;
        let first = bounded("mail.retry.firstWaitSeconds", retry.first_wait_seconds.unwrap_or(10), 86_400)?;
        let longest =
            bounded("mail.retry.longestWaitSeconds", retry.longest_wait_seconds.unwrap_or(3600), 86_400)?;
        let keep = bounded("mail.retry.keepFailedDays", retry.keep_failed_days.unwrap_or(7), 365)?;
        let timeout = bounded("mail.smtp.timeoutSeconds", timeout.unwrap_or(30), 300)?;
        let there = !matches!(delivery, Delivery::None);
        Ok(Self {
            delivery,
            from,
            reply_to,
            templates: settings.templates,
            default_locale: settings.default_locale.unwrap_or_else(|| "en".into()),
            brand: settings.brand.name.unwrap_or_else(|| brand.to_owned()),
            logo,
            color,
            attempts: u32::try_from(attempts).unwrap_or(10),
            first_wait: Duration::from_secs(first),
            longest_wait: Duration::from_secs(longest.max(first)),
            keep_failed: Duration::from_secs(keep.saturating_mul(86_400)),
            timeout: Duration::from_secs(timeout),
            configured,
            confirm_change_email: there && settings.confirm_change_email.unwrap_or(true),
            confirm_delete_user: there && settings.confirm_delete_user.unwrap_or(false),
            notify_password_changed: there && settings.notify_password_changed.unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_as(environment: Environment, mail: Json) -> Result<MailConfig, String> {
        read::<Settings>("", json!({ "mail": mail }))
            .and_then(|settings| MailConfig::check(&settings, environment, "App"))
            .map_err(|error| error.to_string())
    }

    fn smtp_of(mail: Json) -> Result<SmtpConfig, String> {
        let mail = json!({ "from": "auth@example.com", "smtp": mail });
        match check_as(Environment::Production, mail)?.delivery {
            Delivery::Smtp(smtp) => Ok(*smtp),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn urls_and_tables_say_the_same() {
        let url = smtp_of(json!("smtps://me%40x:p%20w@mail.example.com")).unwrap();
        let table = smtp_of(
            json!({ "host": "mail.example.com", "tls": "tls", "username": "me@x", "password": "p w" }),
        )
        .unwrap();
        for one in [url, table] {
            assert_eq!((one.host.as_str(), one.port, one.tls), ("mail.example.com", 465, SmtpTls::Tls));
            let (user, password) = one.credentials.unwrap();
            assert_eq!((user.as_str(), password.expose()), ("me@x", "p w"));
        }
        assert_eq!(
            smtp_of(json!("smtp://mail.example.com:2525?tls=required")).unwrap().tls,
            SmtpTls::StartTls
        );
        assert_eq!(smtp_of(json!("smtp://127.0.0.1:1025?tls=none")).unwrap().tls, SmtpTls::None);
        assert_eq!(smtp_of(json!("smtp://[::1]:1025?tls=none")).unwrap().host, "::1");
    }

    #[test]
    fn a_password_is_in_no_error_and_no_debug_text() {
        for written in [
            json!("smtp://me:hunter2@"),
            json!("http://me:hunter2@x"),
            json!("smtp//me:hunter2@x"),
            json!("smtp://me:hunter2@mail.example.com?tls=none"),
        ] {
            let text = smtp_of(written).unwrap_err();
            assert!(text.starts_with("mail.smtp") && !text.contains("hunter2"), "{text}");
        }
        for written in [
            json!("smtps://me:hunter2@mail.example.com"),
            json!({ "host": "h", "username": "u", "password": "hunter2" }),
        ] {
            let settings =
                read::<Settings>("", json!({ "mail": { "from": "a@b.c", "smtp": written } })).unwrap();
            let config = MailConfig::check(&settings, Environment::Production, "App").unwrap();
            assert!(!format!("{config:?}").contains("hunter2"));
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_cannot_stand_is_named() {
        for (mail, start) in [
            (json!({ "smtp": "smtp://localhost" }), "mail.from: is missing"),
            (json!({ "from": "x", "smtp": "smtp://localhost" }), "mail.from: is not an address"),
            (
                json!({ "from": "a@b.c\r\nBcc: x@y.z", "smtp": "smtp://localhost" }),
                "mail.from: is not an address",
            ),
            (
                json!({ "from": "a@b.c", "smtp": { "host": "mail.example.com", "tls": "none" } }),
                "mail.smtp.tls: is `none`",
            ),
            (json!({ "from": "a@b.c", "smtp": { "host": "h", "tls": "ssl" } }), "mail.smtp.tls: must be"),
            (
                json!({ "from": "a@b.c", "smtp": { "hots": "h" } }),
                "mail.smtp.hots: unknown option; did you mean `host`?",
            ),
            (
                json!({ "from": "a@b.c", "smtp": { "host": "h", "username": "u" } }),
                "mail.smtp.password: is missing",
            ),
            (json!({ "brand": { "color": "red" } }), "mail.brand.color"),
            (json!({ "brand": { "logo": "http://x/y.png" } }), "mail.brand.logo"),
            (json!({ "retry": { "attempts": 0 } }), "mail.retry.attempts"),
        ] {
            let text = check_as(Environment::Production, mail).unwrap_err();
            assert!(text.starts_with(start), "{text}");
        }
        let text = check_as(Environment::Production, json!({ "form": "x" })).unwrap_err();
        assert_eq!(text, "mail.form: unknown option; did you mean `from`?");
    }

    #[test]
    fn only_development_has_a_mailer_by_itself() {
        let delivery = |environment, mail: Json| check_as(environment, mail).unwrap().delivery;
        assert!(matches!(delivery(Environment::Development, json!({})), Delivery::Mailbox));
        assert!(matches!(delivery(Environment::Development, json!(false)), Delivery::None));
        assert!(matches!(delivery(Environment::Production, json!({})), Delivery::None));
        assert!(matches!(delivery(Environment::Test, json!({})), Delivery::None));
    }
}
