//! `portcullis user`: what an operator does with users by hand. The engine's own rules for addresses
//! and passwords apply; sessions that a change makes wrong end with it.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use portcullis::Auth;
use portcullis::error::Error;
use portcullis::http::body::is_email;
use portcullis::identity::{Account, Action, Session, User, parse_input, password};
use portcullis::store::{Agreed, Query, Row};
use serde_json::{Map, Value as Json, json};

use super::{Here, Opened, open};
use crate::cli::UserCommand;
use crate::say;

/// Users read at once.
const PAGE: u64 = 500;
/// Filled in here; the rest of a new user are additional fields with their defaults.
const OWN: &[&str] = &["id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt"];

/// Runs one of them.
pub async fn run(here: &Here<'_>, command: UserCommand) -> Result<ExitCode, String> {
    let mut loaded = here.load()?;
    let Opened { auth, .. } = open(&mut loaded).await?;
    if auth.config().in_memory {
        return Err(
            "nothing is stored without a database, so there are no users; set database.url".to_owned()
        );
    }
    let done = match command {
        UserCommand::List => list(&auth).await,
        UserCommand::Show { email } => show(&auth, &email).await,
        UserCommand::Create { email, name, verified } => create(&auth, &email, name, verified).await,
        UserCommand::SetPassword { email } => set_password(&auth, &email).await,
        UserCommand::Delete { email } => delete(&auth, &email).await,
    };
    auth.store().close().await;
    say::to_stdout(&done?)?;
    Ok(ExitCode::SUCCESS)
}

/// What a client would be told, or the cause of what it would not be.
fn text(error: Error) -> String {
    match error {
        Error::Refused(refusal) => refusal.code.message.into_owned(),
        Error::Broken(source) => source.to_string(),
    }
}

async fn existing(auth: &Auth, email: &str) -> Result<User, String> {
    let user = User::by_email(&mut auth.db(), email).await.map_err(text)?;
    user.ok_or_else(|| format!("there is no user with the address {email}; see `portcullis user list`"))
}

/// Id, address and name; what a person chose may hold control characters, and a terminal obeys those.
fn line(user: &User) -> String {
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    format!("{}\t{}\t{}\n", plain(&user.id), plain(&user.email), plain(&user.name))
}

async fn list(auth: &Auth) -> Result<String, String> {
    let mut out = String::new();
    let mut seen = 0;
    loop {
        let page = Query::all().oldest_first(User::ID.key).limit(PAGE).offset(seen);
        let rows = auth.db().list(User::KEY, &page).await.map_err(|error| error.to_string())?;
        let more = u64::try_from(rows.len()).unwrap_or(PAGE);
        for row in rows {
            out.push_str(&line(&User::from_row(row).map_err(|error| error.to_string())?));
        }
        seen += more;
        if more < PAGE {
            return Ok(out);
        }
    }
}

async fn show(auth: &Auth, email: &str) -> Result<String, String> {
    let user = existing(auth, email).await?;
    let mut db = auth.db();
    let accounts = Account::list_of(&mut db, &user.id).await.map_err(text)?;
    let providers = accounts.into_iter().map(|account| Json::from(account.provider_id));
    let sessions = Session::list_active(auth, &mut db, &user.id).await.map_err(text)?;
    let shown = json!({
        "user": user.view(auth),
        "accounts": providers.collect::<Vec<_>>(),
        "sessions": sessions.len(),
    });
    Ok(format!("{shown:#}\n"))
}

async fn create(auth: &Auth, email: &str, name: Option<String>, verified: bool) -> Result<String, String> {
    if !is_email(email) {
        return Err(format!("{email} is not an e-mail address"));
    }
    let email = User::normal_email(email);
    if User::by_email(&mut auth.db(), &email).await.map_err(text)?.is_some() {
        return Err(format!("there is a user with the address {email} already"));
    }
    let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or_default().to_owned());
    let mut fields = parse_input(auth, User::KEY, OWN, &Map::new(), Action::Create).await.map_err(text)?;
    fields.set(User::EMAIL.key, email.as_str());
    fields.set(User::NAME.key, name);
    let hash = hashed(auth, &fields).await?;
    fields.set(User::EMAIL_VERIFIED.key, verified);
    let mut agreed = Agreed::new();
    let id = User::ask_create(auth, &mut agreed, &mut fields).await.map_err(text)?;
    Account::ask_create_credential(auth, &mut agreed, id.as_deref(), hash.clone()).await.map_err(text)?;
    let mut tx = auth.begin_agreed(agreed).await.map_err(|error| error.to_string())?;
    let user = User::create(auth, &mut tx.db(), fields).await.map_err(text)?;
    Account::create_credential(auth, &mut tx.db(), &user, hash).await.map_err(text)?;
    tx.commit().await.map_err(text)?;
    Ok(line(&user))
}

async fn set_password(auth: &Auth, email: &str) -> Result<String, String> {
    let user = existing(auth, email).await?;
    let hash = hashed(auth, &user.clone().into_row()).await?;
    let mut agreed = Agreed::new();
    match Account::credential_of(&mut auth.db(), &user.id).await.map_err(text)? {
        Some(_) => Account::ask_password(auth, &mut agreed, hash.clone()).await,
        None => Account::ask_create_credential(auth, &mut agreed, Some(&user.id), hash.clone()).await,
    }
    .map_err(text)?;
    Session::ask_delete_all(auth, &mut agreed, &user.id).await.map_err(text)?;
    let mut tx = auth.begin_agreed(agreed).await.map_err(|error| error.to_string())?;
    match Account::credential_of(&mut tx.db(), &user.id).await.map_err(text)? {
        Some(account) => {
            if !account.replace_password(auth, &mut tx.db(), hash).await.map_err(text)? {
                return Err(
                    "the password was changed by somebody else at the same moment; try again".to_owned()
                );
            }
        }
        None => {
            Account::create_credential(auth, &mut tx.db(), &user, hash).await.map_err(text)?;
        }
    }
    Session::delete_all(auth, &mut tx.db(), &user.id).await.map_err(text)?;
    tx.commit().await.map_err(text)?;
    Ok(format!("{} has a new password; all sessions have ended\n", user.email))
}

async fn delete(auth: &Auth, email: &str) -> Result<String, String> {
    let user = existing(auth, email).await?;
    let mut agreed = Agreed::new();
    User::ask_delete(auth, &mut agreed, &user.id).await.map_err(text)?;
    Session::end_ahead(auth, &user.id).await.map_err(text)?;
    let mut tx = auth.begin_agreed(agreed).await.map_err(|error| error.to_string())?;
    User::delete(auth, &mut tx.db(), &user.id).await.map_err(text)?;
    tx.commit().await.map_err(text)?;
    Ok(format!("{} is deleted\n", user.email))
}

/// Reads a new password of the user of this row and hashes it.
async fn hashed(auth: &Auth, row: &Row) -> Result<String, String> {
    let new = read_password()?;
    password::check_new_length(auth, &new).map_err(|error| {
        let config = auth.config();
        let (least, most) = (config.min_password_length, config.max_password_length);
        format!("{} (it must have {least} to {most} characters)", text(error))
    })?;
    password::check_new(auth, &new, row).await.map_err(text)?;
    auth.passwords().hash(&new).await.map_err(|error| text(error.into()))
}

/// From a terminal twice and unseen; otherwise one line of standard input.
fn read_password() -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read the password: {error}");
    if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("New password: ").map_err(failed)?;
        let second = rpassword::prompt_password("Once more: ").map_err(failed)?;
        return if first == second {
            Ok(first)
        } else {
            Err("the two passwords differ; try again".to_owned())
        };
    }
    let mut line = String::new();
    // More than any password may have; a stream without an end must not fill memory.
    std::io::stdin().take(64 << 10).read_to_string(&mut line).map_err(failed)?;
    let line = line.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(
            "no password came in; write it to standard input, such as with `printf %s … | portcullis user …`"
                .to_owned(),
        );
    }
    Ok(line.to_owned())
}
