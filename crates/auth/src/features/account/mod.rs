#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{ConfigError, Settings};
use portcullis_core::database_hooks::{Model, Verb};
use portcullis_core::error::{self, Error};
use portcullis_core::feature::Feature;
use portcullis_core::http::call::{Fresh, SignedIn};
use portcullis_core::http::{Answer, Call, Fields, FromFields, Routes};
use portcullis_core::identity::{Account, to_json};
use portcullis_core::store::Agreed;
use serde_json::{Value as Json, json};

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

/// The room.
#[derive(Debug)]
pub struct Accounts;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Accounts))
}

impl Feature for Accounts {
    fn id(&self) -> &'static str {
        "account"
    }

    fn routes(&self) -> Routes {
        Routes::new().get("/list-accounts", list_accounts).post("/unlink-account", unlink_account)
    }
}

struct Unlink {
    account_id: String,
}

impl FromFields for Unlink {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("accountId", "string")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { account_id: fields.string("accountId") }
    }
}

async fn list_accounts(call: Call<(), SignedIn>) -> Result<Answer, Error> {
    let auth = call.auth();
    let accounts: Vec<Json> = Account::list_of(&mut auth.db(), &call.session.user.id)
        .await?
        .into_iter()
        .map(|account| {
            let mut account = to_json(auth.table(Account::KEY), account.into_row(), false);
            let scope = account.remove("scope");
            let scopes: Vec<&str> = scope
                .as_ref()
                .and_then(Json::as_str)
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .collect();
            account.insert("scopes".into(), json!(scopes));
            Json::Object(account)
        })
        .collect();
    Answer::json(accounts)
}

async fn unlink_account(call: Call<Unlink, Fresh>) -> Result<Answer, Error> {
    let auth = call.auth();
    let mine = Account::USER_ID.is(call.session.user.id.as_str());
    let this = mine.and(Account::ID.is(call.body.account_id.as_str()));
    let mut agreed = Agreed::new();
    Account::ask_delete(auth, &mut agreed, &this).await?;
    let kept = agreed.refuses(Model::Account, Verb::Delete);
    // One transaction: two requests that each unlink one of two accounts must not leave none.
    let mut tx = auth.begin_agreed(agreed).await?;
    let accounts = Account::list_of(&mut tx.db(), &call.session.user.id).await?;
    let settings = auth.config().settings.account.account_linking.as_ref();
    let may_unlink_all = settings.is_some_and(|linking| linking.allow_unlinking_all);
    if accounts.len() == 1 && !may_unlink_all {
        return Err(error::FAILED_TO_UNLINK_LAST_ACCOUNT.into());
    }
    if Account::delete(auth, &mut tx.db(), &this).await? == 0 && !kept {
        return Err(error::ACCOUNT_NOT_FOUND.into());
    }
    tx.commit().await?;
    Ok(Answer::value(json!({ "status": true })))
}
