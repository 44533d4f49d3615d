//! The routes of the room: extract, serve, answer.

use portcullis_core::error::Error;
use portcullis_core::http::{Answer, Call, Routes};
use serde_json::json;

use super::service;
use super::wire::{Ask, Follow, Reset, ResetQuery};

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/request-password-reset", request_password_reset)
        .get("/reset-password/{token}", follow_link)
        .post("/reset-password", reset_password)
}

/// Mails a link, if there is such a user; the answer does not say whether.
async fn request_password_reset(call: Call<Ask>) -> Result<Answer, Error> {
    service::request(&call.request, &call.body).await?;
    let message = "If this email exists in our system, check your email for the reset link";
    Ok(Answer::value(json!({ "status": true, "message": message })))
}

/// Sends whoever follows the mailed link to the page that asks for the new password.
async fn follow_link(call: Call) -> Result<Answer, Error> {
    let request = &call.request;
    let Follow { callback_url } = request.read_query()?;
    request.check_callback_url(Some(&callback_url))?;
    let token = request.params.iter().find(|(name, _)| name == "token").map_or("", |(_, token)| token);
    Answer::redirect(&service::page(request, token, &callback_url).await?)
}

/// Gives the user of the token the new password.
async fn reset_password(call: Call<Reset>) -> Result<Answer, Error> {
    let ResetQuery { token } = call.request.read_query()?;
    let token = call.body.token.filter(|token| !token.is_empty()).or(token).unwrap_or_default();
    service::reset(&call.request, &token, &call.body.new_password).await?;
    Ok(Answer::value(json!({ "status": true })))
}
