//! The routes of the room: extract, serve, answer.

use portcullis_core::error::Error;
use portcullis_core::http::call::Sensitive;
use portcullis_core::http::{Answer, Call, Routes};
use portcullis_core::identity::SignedIn;
use serde_json::{Value as Json, json};

use super::service::{self, SignedUp};
use super::wire::{ChangePassword, SignIn, SignUp, VerifyPassword};

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/sign-up/email", sign_up_email)
        .form()
        .post("/sign-in/email", sign_in_email)
        .form()
        .post("/verify-password", verify_password)
        .post("/change-password", change_password)
}

async fn sign_up_email(call: Call<SignUp>) -> Result<Answer, Error> {
    let auth = call.auth().clone();
    match service::sign_up(call.request, call.body).await? {
        SignedUp::WithSession(current, cookies) => {
            let body = json!({ "token": current.session.token, "user": current.user.view(&auth) });
            Ok(Answer::value(body).with_cookies(cookies))
        }
        SignedUp::Challenged(challenge) => {
            Ok(Answer::value(Json::Object(challenge.body)).with_cookies(challenge.cookies))
        }
        SignedUp::WithoutSession(user) => Ok(Answer::value(json!({ "token": null, "user": user }))),
    }
}

async fn sign_in_email(call: Call<SignIn>) -> Result<Answer, Error> {
    let auth = call.auth().clone();
    let callback_url = call.body.callback_url.clone();
    match service::sign_in(call.request, call.body).await? {
        SignedIn::Session(current, cookies) => {
            Answer::signed_in(&auth, &current, callback_url.as_deref(), cookies)
        }
        SignedIn::Challenge(challenge) => {
            Ok(Answer::value(Json::Object(challenge.body)).with_cookies(challenge.cookies))
        }
    }
}

async fn verify_password(call: Call<VerifyPassword, Sensitive>) -> Result<Answer, Error> {
    service::verify_password(call.auth(), &call.session.user.id, &call.body.password).await?;
    Ok(Answer::value(json!({ "status": true })))
}

async fn change_password(call: Call<ChangePassword, Sensitive>) -> Result<Answer, Error> {
    let auth = call.auth().clone();
    let Sensitive(current) = call.session;
    let user = current.user.view(&auth);
    let (token, cookies) = service::change_password(&call.request, &current, call.body).await?;
    Ok(Answer::value(json!({ "token": token, "user": user })).with_cookies(cookies))
}
