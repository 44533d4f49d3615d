//! Rules for passwords that every way in shares.

use super::account::Account;
use super::user::User;
use crate::auth::Auth;
use crate::crypto::{Verdict, hex_encode, sha256};
use crate::error::{self, Error};
use crate::http::Request;
use crate::mail::{Outgoing, PASSWORD_CHANGED};
use crate::seams::NewPassword;
use crate::store::{Db, Query, Row};

/// Length in UTF-16 units, as JavaScript counts it.
fn length(password: &str) -> usize {
    password.encode_utf16().count()
}

/// The length gate that stands before every hash, so that no request can buy much work with one.
pub fn check_length(auth: &Auth, password: &str) -> Result<(), Error> {
    if length(password) > auth.config().max_password_length {
        return Err(error::PASSWORD_TOO_LONG.into());
    }
    Ok(())
}

/// May it be a new one, by its length?
pub fn check_new_length(auth: &Auth, password: &str) -> Result<(), Error> {
    if length(password) < auth.config().min_password_length {
        return Err(error::PASSWORD_TOO_SHORT.into());
    }
    check_length(auth, password)
}

/// May this be a new password of the user of this row? Everything that sets a password asks this.
pub async fn check_new(auth: &Auth, password: &str, row: &Row) -> Result<(), Error> {
    check_new_length(auth, password)?;
    if auth.seams().check_password.is_empty() {
        return Ok(());
    }
    let context = names(auth, row);
    let new = NewPassword { password, context: &context };
    for seam in &auth.seams().check_password {
        seam.check(&new).await?;
    }
    Ok(())
}

/// What a user is called: every text by which users are told apart (the address, a user name), and the
/// display name.
fn names<'r>(auth: &Auth, row: &'r Row) -> Vec<&'r str> {
    let columns = &auth.table(User::KEY).columns;
    let telling = columns.iter().filter(|column| column.unique || column.key == User::NAME.key);
    telling.filter(|column| column.key != User::ID.key).filter_map(|column| row.text(&column.key)).collect()
}

/// A user's password as it was when it was proven right.
#[derive(Debug)]
pub struct Credential {
    account: String,
    hash: String,
}

impl Credential {
    /// Is it still the user's? Between the proof and the session it may have been changed or reset, and
    /// whoever did that ended all sessions there were.
    pub(super) async fn holds(&self, auth: &Auth) -> Result<bool, Error> {
        let row = auth.db().find(Account::KEY, &Account::ID.is(self.account.as_str())).await?;
        let account = row.map(Account::from_row).transpose()?;
        Ok(account.and_then(|account| account.password).as_ref() == Some(&self.hash))
    }
}

/// What tells the password that a user has from any they had; the same for all who have none. Also another one
/// when the same password is hashed anew.
///
/// # Errors
/// The database does not answer.
pub async fn fingerprint(auth: &Auth, user: &str) -> Result<String, Error> {
    let account = Account::credential_of(&mut auth.db(), user).await?;
    let hash = account.and_then(|account| account.password);
    Ok(hash.map_or_else(String::new, |hash| hex_encode(&sha256(hash))))
}

/// Proves a user by password, in the same time whether or not there is such a user or password.
///
/// `name` is what the client calls itself (address, user name).
/// A hash that is weaker than or of another kind than configured is replaced.
pub async fn prove(
    auth: &Auth,
    name: &str,
    user: Option<User>,
    password: &str,
) -> Result<Option<(User, Credential)>, Error> {
    let account = match &user {
        Some(user) => Account::credential_of(&mut auth.db(), &user.id).await?,
        None => None,
    };
    let found = user.zip(account.and_then(|account| account.password.clone().map(|hash| (account, hash))));
    let Some((user, (account, hash))) = found else {
        decoy(auth, name, password).await?;
        return Ok(None);
    };
    let proven = |hash: String| Some((user, Credential { account: account.id.clone(), hash }));
    match auth.passwords().verify(&hash, password).await? {
        Verdict::Wrong => Ok(None),
        Verdict::Right => Ok(proven(hash)),
        Verdict::RightButWeak => {
            let stronger = auth.passwords().hash(password).await?;
            if account.replace_password(auth, &mut auth.db(), stronger.clone()).await? {
                return Ok(proven(stronger));
            }
            // Somebody else was faster: another sign-in, or a change of the password. The newer one stays.
            let now = Account::credential_of(&mut auth.db(), &account.user_id).await?;
            let Some(newer) = now.and_then(|account| account.password) else { return Ok(None) };
            let right = auth.passwords().verify(&newer, password).await? != Verdict::Wrong;
            Ok(if right { proven(newer) } else { None })
        }
    }
}

/// Is this the user's password? A user without one costs the same and has none that is right.
pub async fn is_right(auth: &Auth, user: &str, password: &str) -> Result<bool, Error> {
    check_length(auth, password)?;
    let account = Account::credential_of(&mut auth.db(), user).await?;
    match account.and_then(|account| account.password) {
        Some(hash) => Ok(auth.passwords().verify(&hash, password).await? != Verdict::Wrong),
        None => {
            decoy(auth, user, password).await?;
            Ok(false)
        }
    }
}

/// Costs what a wrong password costs.
///
/// A database that came from elsewhere has hashes of several kinds, which take different times. If an
/// unknown user always cost one kind, the others would stand out; so the password is held against the
/// hash of some user there is, always the same one for the same name, and the outcome is forgotten.
async fn decoy(auth: &Auth, name: &str, password: &str) -> Result<(), Error> {
    let from = auth.id_drawn_by(name);
    let with_password = Account::PASSWORD.is_set();
    let mut db = auth.db();
    let near = Query::from(Account::ID.ge(from).and(with_password)).oldest_first(Account::ID.key).limit(1);
    let row = db.list(Account::KEY, &near).await?.into_iter().next();
    match row.map(Account::from_row).transpose()?.and_then(|account| account.password) {
        Some(hash) => {
            auth.passwords().verify(&hash, password).await?;
        }
        None => auth.passwords().pretend(password).await?,
    }
    Ok(())
}

/// Tells a user that their password was changed, in the transaction that changes it.
///
/// # Errors
/// The outbox cannot be written.
pub async fn tell_changed(request: &Request, db: &mut Db<'_>, user: &User) -> Result<(), Error> {
    let auth = &request.auth;
    if !auth.mailer().sends(PASSWORD_CHANGED) {
        return Ok(());
    }
    let message = serde_json::json!({ "user": user.for_webhook(auth) });
    auth.send_mail(db, Outgoing::new(PASSWORD_CHANGED, request, message).beside()).await
}
