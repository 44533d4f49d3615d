//! The routes of the room: extract, serve, answer.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, StatusCode, header};
use portcullis_core::auth::Auth;
use portcullis_core::error::Error;
use portcullis_core::http::call::{Access, Sensitive};
use portcullis_core::http::{Answer, Call, Cookies, Request, Routes};
use portcullis_core::identity::SessionUser;
use serde_json::{Value as Json, json};

use super::options::Options;
use super::service::{self, Pair, SignedUp};
use super::wire::{self, Refresh, SignIn, SignOut, SignUp};

pub(super) fn routes(options: &Arc<Options>) -> Routes {
    let [up, inside, again, exchanged] = std::array::from_fn(|_| Arc::clone(options));
    Routes::new()
        .post("/signup", move |call| signup(Arc::clone(&up), call))
        .cookieless()
        .post("/signin", move |call| signin(Arc::clone(&inside), call))
        .cookieless()
        .post("/token/refresh", move |call| refresh(Arc::clone(&again), call))
        .cookieless()
        .post("/token/exchange", move |call| exchange(Arc::clone(&exchanged), call))
        .post("/signout", signout)
        .cookieless()
        .get("/me", me)
        .cookieless()
        .rewording(wire::reword)
}

/// Sign up with address and password
async fn signup(options: Arc<Options>, call: Call<SignUp>) -> Result<Answer, Error> {
    let body = call.body.checked()?;
    let mut answer = match service::sign_up(&options, &call.request, body).await? {
        SignedUp::In(pair) => tokens(&call.request.auth, &options, *pair),
        SignedUp::User(user) => no_store(json!({
            "access_token": null, "token_type": "bearer", "expires_in": null, "refresh_token": null, "user": user,
        })),
    };
    answer.status = StatusCode::CREATED;
    Ok(answer)
}

/// Sign in with address and password
async fn signin(options: Arc<Options>, call: Call<SignIn>) -> Result<Answer, Error> {
    let body = call.body.checked()?;
    let pair = service::sign_in(&options, &call.request, body).await?;
    Ok(tokens(&call.request.auth, &options, pair))
}

/// New tokens for a refresh token
async fn refresh(options: Arc<Options>, call: Call<Refresh>) -> Result<Answer, Error> {
    let token = call.body.checked()?;
    let pair = service::refresh(&options, &call.request, &token).await?;
    Ok(tokens(&call.request.auth, &options, pair))
}

/// Tokens for the session that a cookie (or `bearer`) presents: after a second factor, say
async fn exchange(options: Arc<Options>, call: Call<(), Sensitive>) -> Result<Answer, Error> {
    let Sensitive(current) = call.session;
    let pair = service::exchange(&options, &call.request, current).await?;
    Ok(tokens(&call.request.auth, &options, pair))
}

/// End the session of a refresh token, or of the access token
async fn signout(call: Call<SignOut>) -> Result<Answer, Error> {
    match call.body.checked()? {
        Some(token) => service::sign_out(&call.request, &token).await?,
        None => {
            let current = service::holder(&call.request).await?;
            service::end(&call.request, &current).await?;
        }
    }
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// The user of the access token
async fn me(call: Call<(), Holder>) -> Result<Answer, Error> {
    let user = call.session.0.user.view(call.auth());
    Ok(no_store(Json::Object(user)))
}

/// Whoever holds an access token whose session is still there.
struct Holder(SessionUser);

#[async_trait]
impl Access for Holder {
    const NAME: &'static str = "access token, its session from the store";
    async fn admit(request: &Request, _: &mut Cookies) -> Result<Self, Error> {
        service::holder(request).await.map(Self)
    }
}

fn tokens(auth: &Auth, options: &Options, pair: Pair) -> Answer {
    no_store(json!({
        "access_token": pair.access,
        "token_type": "bearer",
        "expires_in": options.access_token_expires_in,
        "refresh_token": pair.refresh,
        "user": pair.current.user.view(auth),
    }))
}

/// RFC 6749 §5.1.
fn no_store(body: Json) -> Answer {
    Answer::value(body).with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
