//! `user.validateUserInfo`: the operator's word on who may come in.

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::fields::to_json;
use super::user::User;
use crate::error::{Code, Error};
use crate::http::Request;
use crate::store::Row;

/// Asks the operator about a user that is about to be made. A hook that fails refuses: nobody comes in
/// because a policy could not be asked.
///
/// `method` is Better Auth's name for the way in, e.g. `email-password`.
pub async fn check_new_user(request: &Request, fields: &Row, method: &str) -> Result<(), Error> {
    let auth = &request.auth;
    let Some(callback) = &auth.config().settings.user.validate_user_info else { return Ok(()) };
    let row = fields.clone().with(User::CREATED_AT.key, request.now).with(User::UPDATED_AT.key, request.now);
    let user = to_json(auth.table(User::KEY), row, true);
    let data = json!({ "user": user, "source": { "method": method, "action": "create-user" } });
    let args = vec![data, request.context_for_webhook()];
    let refusal = |code: String, message: String| {
        let mut refusal = Code::message(StatusCode::FORBIDDEN, message);
        refusal.code = code.into();
        Error::from(refusal)
    };
    let answer = match callback.call(auth.outbound(), "user.validateUserInfo", args).await {
        Ok(answer) => answer,
        Err(cause) => {
            tracing::error!(error = %cause, "validateUserInfo failed; the user is refused");
            return Err(refusal("validation_failed".into(), "User validation failed".into()));
        }
    };
    let text =
        |key: &str| answer.get(key).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    match text("error") {
        None => Ok(()),
        Some(code) => Err(refusal(code.clone(), text("errorDescription").unwrap_or(code))),
    }
}
