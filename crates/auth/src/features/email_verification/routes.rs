//! The routes of the room: extract, serve, answer.

use portcullis_core::error::Error;
use portcullis_core::http::call::Optional;
use portcullis_core::http::{Answer, Call, Routes};
use serde_json::{Value as Json, json};

use super::service::{self, Followed, Outcome};
use super::wire::{Ask, Follow};

pub(super) fn routes() -> Routes {
    Routes::new().post("/send-verification-email", send_verification_email).get("/verify-email", verify_email)
}

/// Mails the link that proves an address; without a session the answer does not say whether.
async fn send_verification_email(call: Call<Ask, Optional>) -> Result<Answer, Error> {
    service::send(&call.request, call.session.0.as_ref(), &call.body).await?;
    Ok(Answer::value(json!({ "status": true })))
}

/// Does what the mailed link is for: proves an address, or takes a change of it a step further.
async fn verify_email(call: Call) -> Result<Answer, Error> {
    let request = &call.request;
    let Follow { token, callback_url } = request.read_query()?;
    request.check_callback_url(callback_url.as_deref())?;
    let back = callback_url.as_deref().filter(|url| !url.is_empty());
    match (service::follow(request, &token, back).await?, back) {
        (Outcome::Refused(code), Some(back)) => Answer::redirect(&service::with_error(back, &code.code)?),
        (Outcome::Refused(code), None) => Err(code.into()),
        (Outcome::Done(Followed { cookies, .. }), Some(back)) => {
            Ok(Answer::redirect(back)?.with_cookies(cookies))
        }
        (Outcome::Done(Followed { cookies, body }), None) => {
            Ok(Answer::value(Json::Object(body)).with_cookies(cookies))
        }
    }
}
