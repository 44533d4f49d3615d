//! The routes of the room: extract, serve, answer.

use portcullis_core::error::Error;
use portcullis_core::http::call::Sensitive;
use portcullis_core::http::{Answer, Call, Cookies, Routes};
use portcullis_core::identity::How;
use serde_json::{Value as Json, json};

use super::delete::Deletion;
use super::wire::{ChangeEmail, Changes, Delete, Follow};
use super::{change_email, delete, errors, update};

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/update-user", update_user)
        .post("/change-email", change_address)
        .post("/delete-user", delete_user)
        .get("/delete-user/callback", delete_user_callback)
}

/// Changes name, picture and additional fields.
async fn update_user(call: Call<Changes, Sensitive>) -> Result<Answer, Error> {
    let Call { request, body: Changes(body), session: Sensitive(current) } = call;
    let cookies = update::update(&request, current, body).await?;
    Ok(Answer::value(json!({ "status": true })).with_cookies(cookies))
}

/// Begins the change of the address; the answer does not say whether the new one is taken.
async fn change_address(call: Call<ChangeEmail, Sensitive>) -> Result<Answer, Error> {
    let Call { request, body, session: Sensitive(current) } = call;
    let cookies = change_email::begin(&request, current, &body).await?;
    Ok(Answer::value(json!({ "status": true })).with_cookies(cookies))
}

fn deleted() -> Json {
    json!({ "success": true, "message": "User deleted" })
}

/// Deletes the caller, or mails a link that does.
async fn delete_user(call: Call<Delete, Sensitive>) -> Result<Answer, Error> {
    let Call { request, body, session: Sensitive(current) } = call;
    match delete::delete(&request, &current, body).await? {
        Deletion::Done(cookies) => Ok(Answer::value(deleted()).with_cookies(cookies)),
        Deletion::Mailed => {
            Ok(Answer::value(json!({ "success": true, "message": "Verification email sent" })))
        }
    }
}

/// Deletes whoever is signed in and follows the link that was mailed to them.
async fn delete_user_callback(call: Call) -> Result<Answer, Error> {
    let request = &call.request;
    let Follow { token, callback_url } = request.read_query()?;
    request.check_callback_url(callback_url.as_deref())?;
    if !request.auth.config().settings.user.delete_user.enabled {
        return Err(errors::NOT_FOUND.into());
    }
    let mut cookies = Cookies::new();
    let Some(current) = request.session(How::authoritative(&request.auth), &mut cookies).await? else {
        return Err(Error::from(errors::FAILED_TO_GET_USER_INFO).with_cookies(cookies));
    };
    let gone = delete::by_token(request, &current, &token).await;
    let cookies = gone.map_err(|error| error.with_cookies(cookies))?;
    let answer = match callback_url.as_deref().filter(|url| !url.is_empty()) {
        Some(back) => Answer::redirect(back)?,
        None => Answer::value(deleted()),
    };
    Ok(answer.with_cookies(cookies))
}
