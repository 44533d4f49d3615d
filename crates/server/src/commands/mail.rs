//! `portcullis mail`: what waits in the outbox, what was given up, and what a mail looks like.

use std::process::ExitCode;

use portcullis::Auth;
use portcullis::error::Error;

use super::{Here, Opened, build, open};
use crate::cli::{Form, MailCommand};
use crate::say;

/// Rows that are listed at most.
const MOST: u64 = 1000;

/// Runs one of them.
pub async fn run(here: &Here<'_>, command: MailCommand) -> Result<ExitCode, String> {
    let mut loaded = here.load()?;
    if let MailCommand::Preview { kind, form, locale } = command {
        // A look at a template needs neither tables nor a secret that lasts.
        if loaded.settings.secrets.is_none() {
            loaded.settings.secret.get_or_insert_with(crate::secret_file::fresh);
        }
        loaded.settings.database = None;
        let auth = build(&mut loaded, false).await?;
        let text = preview(&auth, kind.as_deref(), form, locale.as_deref());
        auth.store().close().await;
        say::to_stdout(&text?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Opened { auth, .. } = open(&mut loaded).await?;
    let done = if auth.config().stateless {
        Err("nothing is stored without a database, so no mail waits in one; set database.url".to_owned())
    } else if auth.mailer().has_outbox() {
        match command {
            MailCommand::Retry { id } => retry(&auth, id.as_deref()).await,
            MailCommand::List | MailCommand::Preview { .. } => list(&auth).await,
        }
    } else {
        Err("no mail is sent, so there is no outbox; set mail.smtp, mail.send or a function such as emailAndPassword.sendResetPassword".to_owned())
    };
    auth.store().close().await;
    say::to_stdout(&done?)?;
    Ok(ExitCode::SUCCESS)
}

fn text(error: &Error) -> String {
    format!("the outbox cannot be used: {error}")
}

async fn list(auth: &Auth) -> Result<String, String> {
    let rows = auth.list_mails(MOST).await.map_err(|error| text(&error))?;
    let mut out = String::new();
    for row in rows {
        let state = match row.next_attempt_at {
            Some(at) => format!("next try {at}"),
            None => "given up".to_owned(),
        };
        let error = row.last_error.unwrap_or_default();
        let error: String = error.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        out.push_str(&format!(
            "{}\t{}\t{}\ttries {}\t{state}\t{error}\n",
            row.id, row.kind, row.created_at, row.attempts
        ));
    }
    Ok(out)
}

async fn retry(auth: &Auth, id: Option<&str>) -> Result<String, String> {
    match (auth.retry_mails(id).await.map_err(|error| text(&error))?, id) {
        (0, Some(id)) => {
            Err(format!("no mail that was given up has the id {id}; see `portcullis mail list`"))
        }
        (0, None) => Ok("no mail was given up\n".to_owned()),
        (1, _) => Ok("1 mail is tried again by the server\n".to_owned()),
        (count, _) => Ok(format!("{count} mails are tried again by the server\n")),
    }
}

fn preview(auth: &Auth, kind: Option<&str>, form: Form, locale: Option<&str>) -> Result<String, String> {
    let mailer = auth.mailer();
    let Some(kind) = kind else {
        let kinds: Vec<_> = mailer.kinds().collect();
        let locales: Vec<_> = mailer.locales().collect();
        return Ok(format!("mails: {}\nlanguages: {}\n", kinds.join(" "), locales.join(" ")));
    };
    if let Some(locale) = locale
        && !mailer.locales().any(|known| known == locale)
    {
        let known: Vec<_> = mailer.locales().collect();
        return Err(format!("there are no texts in the language {locale}; there are {}", known.join(", ")));
    }
    let mail = mailer.preview(auth.config(), kind, locale).map_err(|error| error.to_string())?;
    Ok(match form {
        Form::Html => mail.html,
        Form::Text => format!("Subject: {}\n\n{}\n", mail.subject, mail.text),
    })
}
