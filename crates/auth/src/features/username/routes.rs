//! The routes of the room: extract, serve, answer.

use std::sync::Arc;

use portcullis_core::error::Error;
use portcullis_core::http::{Answer, Call, Routes};
use portcullis_core::identity::SignedIn;
use serde_json::{Value as Json, json};

use super::options::Options;
use super::service;
use super::wire::{IsAvailable, SignIn};

pub(super) fn routes(options: &Arc<Options>) -> Routes {
    let (own, other) = (Arc::clone(options), Arc::clone(options));
    let sign_in_username = move |call| sign_in_username(Arc::clone(&own), call);
    let is_username_available = move |call| is_username_available(Arc::clone(&other), call);
    Routes::new()
        .post("/sign-in/username", sign_in_username)
        .post("/is-username-available", is_username_available)
}

/// Signs in with a user name and a password.
async fn sign_in_username(options: Arc<Options>, call: Call<SignIn>) -> Result<Answer, Error> {
    let auth = call.auth().clone();
    let callback_url = call.body.callback_url.clone();
    match service::sign_in(&options, &call.request, call.body).await? {
        SignedIn::Session(current, cookies) => {
            Answer::signed_in(&auth, &current, callback_url.as_deref(), cookies)
        }
        SignedIn::Challenge(challenge) => {
            Ok(Answer::value(Json::Object(challenge.body)).with_cookies(challenge.cookies))
        }
    }
}

/// Says whether a name is free.
async fn is_username_available(options: Arc<Options>, call: Call<IsAvailable>) -> Result<Answer, Error> {
    let available = service::is_available(&options, call.auth(), &call.body.username).await?;
    Ok(Answer::value(json!({ "available": available })))
}
