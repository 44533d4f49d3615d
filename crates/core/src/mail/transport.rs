//! The last step of a rendered mail: to an SMTP server, to a function of the operator's, or nowhere.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::json;

use super::{AT_ONCE, Rendered};
use crate::auth::Auth;
use crate::config::{ConfigError, Delivery, MailConfig, SmtpConfig, SmtpTls};
use crate::error::Error;
use crate::hooks::Callback;

/// Who delivers.
pub(super) enum Transport {
    /// Nobody.
    None,
    /// An SMTP server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// A function of the operator's.
    Send(Callback),
    /// The developer's mailbox.
    Mailbox,
}

/// Why a delivery failed.
pub(super) struct Failure {
    /// For the operator; without links and codes.
    pub text: String,
    /// Another try would fail alike.
    pub permanent: bool,
    /// What an operator's function said, for requests that pass it on.
    pub cause: Option<Error>,
}

impl Failure {
    pub(super) fn passing(cause: impl fmt::Display) -> Self {
        Self { text: short(cause), permanent: false, cause: None }
    }

    pub(super) fn lasting(cause: impl fmt::Display) -> Self {
        Self { text: short(cause), permanent: true, cause: None }
    }

    /// An operator's function that answers with a refusal of its own will do so again, unless it is busy,
    /// or so many calls wait for it that this one had no turn.
    pub(super) fn of(error: Error) -> Self {
        let (text, permanent) = match &error {
            Error::Refused(refusal) if refusal.code.status == StatusCode::SERVICE_UNAVAILABLE => {
                (short(&error), false)
            }
            Error::Refused(_) => (short(&error), true),
            Error::Broken(source) => (short(source), false),
        };
        Self { text, permanent, cause: Some(error) }
    }

    /// As the error of a request.
    pub(super) fn into_error(self) -> Error {
        self.cause.unwrap_or_else(|| Error::broken(self.text))
    }
}

/// One line, not too long: servers write what they like.
fn short(cause: impl fmt::Display) -> String {
    cause.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

impl Transport {
    pub(super) fn new(config: &MailConfig) -> Result<Self, ConfigError> {
        Ok(match &config.delivery {
            Delivery::None => Self::None,
            Delivery::Mailbox => Self::Mailbox,
            Delivery::Send(callback) => Self::Send(callback.clone()),
            Delivery::Smtp(smtp) => Self::Smtp(connection(smtp, config.timeout)?),
        })
    }

    /// Hands a mail over. `id` is the same for every try, so that a mail that arrives twice can be told.
    pub(super) async fn deliver(
        &self,
        auth: &Auth,
        kind: &str,
        id: &str,
        to: &str,
        mail: &Rendered,
    ) -> Result<(), Failure> {
        match self {
            Self::None => Err(Failure::passing("no mailer is configured (mail.smtp or mail.send)")),
            Self::Mailbox => {
                // Its purpose: a developer without a mail server follows the link from here.
                tracing::info!(kind, to, subject = mail.subject, link = mail.link, "mail (see /dev/mailbox)");
                Ok(())
            }
            Self::Send(callback) => {
                let config = &auth.config().mail;
                let message = json!({
                    "id": id,
                    "kind": kind,
                    "to": to,
                    "from": config.from.to_string(),
                    "replyTo": config.reply_to.as_ref().map(ToString::to_string),
                    "subject": mail.subject,
                    "html": mail.html,
                    "text": mail.text,
                    "locale": mail.locale,
                });
                let call = super::outbox::call_id(id);
                let told = callback.call_as(auth.outbound(), &call, "mail.send", vec![message]).await;
                told.map(drop).map_err(Failure::of)
            }
            Self::Smtp(smtp) => {
                let message = message(auth, id, to, mail)?;
                match smtp.send(message).await {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        let code = error.status().map(|code| code.to_string().parse().unwrap_or(0u16));
                        let permanent = code.is_some_and(is_final);
                        Err(Failure { text: short(chain(&error)), permanent, cause: None })
                    }
                }
            }
        }
    }
}

/// An answer that is about this mail. Those about the connection, the command or the credentials are the
/// operator's to mend, and then the mail is to arrive (RFC 5321 §4.2.2, RFC 4954 §6).
fn is_final(code: u16) -> bool {
    (550..=559).contains(&code)
}

/// lettre's own text says the phase; the cause says what the server or the network said.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

fn connection(
    smtp: &SmtpConfig,
    timeout: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, ConfigError> {
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.as_str())
        .port(smtp.port)
        .timeout(Some(timeout))
        .pool_config(
            PoolConfig::new()
                .max_size(u32::try_from(AT_ONCE).unwrap_or(1))
                .idle_timeout(Duration::from_secs(30)),
        );
    if smtp.tls != SmtpTls::None {
        let wrong = |key: &str, problem: String| ConfigError::new(key, problem);
        let mut parameters = TlsParameters::builder(smtp.host.clone());
        if let Some(pem) = &smtp.ca {
            let authority = Certificate::from_pem(pem.as_bytes()).map_err(|_| {
                wrong("mail.smtp.ca", "is not a certificate in PEM form; name its file with caFile".into())
            })?;
            parameters = parameters.add_root_certificate(authority);
        }
        let parameters = parameters
            .build_rustls()
            .map_err(|e| wrong("mail.smtp", format!("TLS cannot be set up: {}", chain(&e))))?;
        builder = builder.tls(match smtp.tls {
            SmtpTls::Tls => Tls::Wrapper(parameters),
            _ => Tls::Required(parameters),
        });
    }
    if let Some((user, password)) = &smtp.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

fn message(auth: &Auth, id: &str, to: &str, mail: &Rendered) -> Result<Message, Failure> {
    let config = &auth.config().mail;
    let address: Address =
        to.parse().map_err(|_| Failure::lasting("the recipient's address cannot be written to"))?;
    let now = auth.clock().now().millis();
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now).unwrap_or(0));
    // RFC 3834: no holiday replies to machines.
    let machine =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut builder = Message::builder()
        .from(config.from.clone())
        .to(Mailbox::new(None, address))
        .subject(mail.subject.as_str())
        .date(date)
        .message_id(Some(format!("<{id}@{}>", config.from.email.domain())))
        .raw_header(machine);
    if let Some(reply_to) = &config.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    builder
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(Failure::lasting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_about_the_mail_are_final_and_those_about_the_connection_are_not() {
        for code in [550, 552, 553, 554] {
            assert!(is_final(code), "{code}");
        }
        for code in [421, 450, 451, 452, 454, 500, 502, 503, 530, 534, 535, 538] {
            assert!(!is_final(code), "{code}");
        }
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let text = short(format!("a\r\nb\u{1b}[31m{}", "x".repeat(1000)));
        assert!(text.starts_with("a  b [31m") && text.len() == 300, "{text}");
    }
}
