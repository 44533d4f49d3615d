//! The routes of the room: extract, serve, answer.

use std::sync::Arc;

use portcullis_core::error::Error;
use portcullis_core::http::call::Sensitive;
use portcullis_core::http::{Answer, Call, Cookies, Routes};
use portcullis_core::identity::{How, SignedIn};
use serde_json::{Value as Json, json};

use super::options::Options;
use super::service;

pub(super) fn routes(options: &Arc<Options>) -> Routes {
    let (signing_in, deleting) = (Arc::clone(options), Arc::clone(options));
    Routes::new()
        .post("/sign-in/anonymous", move |call| sign_in_anonymous(Arc::clone(&signing_in), call))
        .post("/delete-anonymous-user", move |call| delete_anonymous_user(Arc::clone(&deleting), call))
}

async fn sign_in_anonymous(options: Arc<Options>, call: Call) -> Result<Answer, Error> {
    let auth = call.auth().clone();
    let mut cookies = Cookies::new();
    // From the store: the cookie cache may remember a user who is gone.
    let how = How { skip_refresh: true, ..How::authoritative(&auth) };
    let caller = call.request.session(how, &mut cookies).await?;
    let answer = match service::sign_in(&options, &call.request, caller.as_ref()).await? {
        SignedIn::Session(current, made) => {
            cookies.extend(made);
            Answer::value(json!({ "token": current.session.token, "user": current.user.view(&auth) }))
        }
        SignedIn::Challenge(challenge) => {
            cookies.extend(challenge.cookies);
            Answer::value(Json::Object(challenge.body))
        }
    };
    Ok(answer.with_cookies(cookies))
}

async fn delete_anonymous_user(options: Arc<Options>, call: Call<(), Sensitive>) -> Result<Answer, Error> {
    let cookies = service::delete(&options, &call.request, &call.session).await?;
    Ok(Answer::value(json!({ "success": true })).with_cookies(cookies))
}
