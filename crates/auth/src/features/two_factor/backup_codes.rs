//! Codes on paper, each good once. They are one column, so a use replaces the whole list under the
//! condition that it is still the one that was read: of two uses at once one wins.

use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::crypto::{Alphabet, constant_time_eq};
use portcullis_core::error::{Code, Error};
use portcullis_core::http::{Answer, Request};
use portcullis_core::identity::SessionUser;
use portcullis_core::store::Row;
use serde_json::{Value as Json, json};

use super::challenge::{ATTEMPTS, Answerer, check_lock};
use super::errors;
use super::options::{BackupCodeStorage, Options, StoreBackupCodes};
use super::otp::text_of;
use super::service;
use super::store::{Factor, is_enabled};
use super::wire::VerifyBackupCode;

/// New codes: as shown and as stored.
pub(super) async fn generate(auth: &Auth, options: &Options) -> Result<(Vec<String>, String), Error> {
    let settings = &options.backup_code_options;
    let codes: Vec<String> = match &settings.custom_backup_codes_generate {
        Some(callback) => {
            let name = "plugins.twoFactor.backupCodeOptions.customBackupCodesGenerate";
            let answer = callback.call(auth.outbound(), name, Vec::new()).await?;
            serde_json::from_value(answer)
                .map_err(|_| Error::broken(format!("{name} did not answer a list of texts")))?
        }
        None => (0..settings.amount.unwrap_or(10))
            .map(|_| {
                let code = auth.random().text(settings.length.unwrap_or(10), Alphabet::Alphanumeric);
                let (head, tail) = code.split_at_checked(5).unwrap_or((&code, ""));
                format!("{head}-{tail}")
            })
            .collect(),
    };
    let kept = stored(auth, options, &codes).await?;
    Ok((codes, kept))
}

async fn stored(auth: &Auth, options: &Options, codes: &[String]) -> Result<String, Error> {
    let list = Json::from(codes).to_string();
    match &options.backup_code_options.store_backup_codes {
        StoreBackupCodes::Named(BackupCodeStorage::Plain) => Ok(list),
        StoreBackupCodes::Named(BackupCodeStorage::Encrypted) => {
            Ok(auth.config().secrets.seal(auth.random(), &list)?)
        }
        StoreBackupCodes::Cipher { encrypt, .. } => {
            let name = "plugins.twoFactor.backupCodeOptions.storeBackupCodes.encrypt";
            text_of(auth, encrypt, name, &list).await
        }
    }
}

/// The codes that are left; `None` when what is stored is no list.
async fn left(auth: &Auth, options: &Options, kept: &str) -> Result<Option<Vec<String>>, Error> {
    let list = match &options.backup_code_options.store_backup_codes {
        StoreBackupCodes::Named(BackupCodeStorage::Plain) => kept.to_owned(),
        StoreBackupCodes::Named(BackupCodeStorage::Encrypted) => auth.config().secrets.open(kept)?,
        StoreBackupCodes::Cipher { decrypt, .. } => {
            let name = "plugins.twoFactor.backupCodeOptions.storeBackupCodes.decrypt";
            text_of(auth, decrypt, name, kept).await?
        }
    };
    match serde_json::from_str(&list) {
        Ok(codes) => Ok(Some(codes)),
        Err(error) => {
            // Only where the JSON breaks: the text itself holds codes.
            let (line, column) = (error.line(), error.column());
            tracing::error!(line, column, "stored backup codes are not a list of texts");
            Ok(None)
        }
    }
}

/// Judges a code and uses it up.
pub(super) async fn verify(
    request: &Request,
    options: &Options,
    answerer: Answerer,
    body: &VerifyBackupCode,
) -> Result<Answer, Error> {
    let auth = &request.auth;
    let Some(factor) = Factor::of(&mut auth.db(), &answerer.user().id).await? else {
        return Err(errors::BACKUP_CODES_NOT_ENABLED.into());
    };
    let guess = match answerer.challenge() {
        Some(pending) => {
            check_lock(request, options, &factor).await?;
            Some(pending.guess(request, options, Some(&factor), ATTEMPTS).await?)
        }
        None => None,
    };
    match take(auth, options, &factor, &body.code).await {
        Ok(Taken::Yes) => {
            if let Some(guess) = guess {
                guess.right(request).await?;
            }
        }
        Ok(Taken::Wrong) => {
            if let Some(guess) = guess {
                guess.wrong(request, options).await?;
            }
            return Err(errors::INVALID_BACKUP_CODE.into());
        }
        Ok(Taken::Late) => {
            if let Some(guess) = guess {
                guess.take_back(request).await?;
            }
            let message = "Failed to verify backup code. Please try again.";
            return Err(Code::message(StatusCode::CONFLICT, message).into());
        }
        Err(error) => {
            if let Some(guess) = guess {
                guess.take_back(request).await?;
            }
            return Err(error);
        }
    }
    if !body.disable_session {
        return answerer.finish(request, options, body.trust_device).await;
    }
    let user = answerer.user().view(auth);
    Ok(Answer::value(match &answerer {
        Answerer::Session(current) => json!({ "token": current.session.token, "user": user }),
        Answerer::Challenged(_) => json!({ "user": user }),
    }))
}

enum Taken {
    Yes,
    Wrong,
    /// The list was changed by somebody else at the same time.
    Late,
}

async fn take(auth: &Auth, options: &Options, factor: &Factor, code: &str) -> Result<Taken, Error> {
    let Some(codes) = left(auth, options, &factor.backup_codes).await? else { return Ok(Taken::Wrong) };
    let mut found = false;
    let mut others = Vec::with_capacity(codes.len());
    for known in codes {
        if constant_time_eq(known.as_bytes(), code.as_bytes()) {
            found = true;
        } else {
            others.push(known);
        }
    }
    if !found {
        return Ok(Taken::Wrong);
    }
    let kept = stored(auth, options, &others).await?;
    let same = Factor::BACKUP_CODES.is(factor.backup_codes.as_str());
    let changes = Row::new().with(Factor::BACKUP_CODES.key, kept);
    let won = factor.change_if_same(&mut auth.db(), same, changes).await?;
    Ok(if won { Taken::Yes } else { Taken::Late })
}

/// Replaces all codes.
pub(super) async fn regenerate(
    auth: &Auth,
    options: &Options,
    current: &SessionUser,
    password: Option<&str>,
) -> Result<Vec<String>, Error> {
    let user = &current.user;
    if !is_enabled(user) {
        return Err(errors::TWO_FACTOR_NOT_ENABLED.into());
    }
    service::check_password(auth, &user.id, password, options.backup_passwordless()).await?;
    let Some(factor) = Factor::of(&mut auth.db(), &user.id).await? else {
        return Err(errors::TWO_FACTOR_NOT_ENABLED.into());
    };
    let (codes, kept) = generate(auth, options).await?;
    let this = Factor::ID.is(factor.id.as_str());
    let changes = Row::new().with(Factor::BACKUP_CODES.key, kept);
    auth.db().update(Factor::KEY, &this, changes).await?;
    Ok(codes)
}
