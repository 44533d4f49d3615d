//! The routes of the jwt room.

use std::sync::Arc;

use http::StatusCode;
use portcullis_core::error::{Code, Error};
use portcullis_core::http::call::{Anyone, Sensitive};
use portcullis_core::http::{Answer, Call, Routes};
use serde_json::json;

use super::keys::{Asker, Keys};
use super::service::{self, Further};

pub(super) fn routes(keys: &Arc<Keys>) -> Routes {
    let (published, signing) = (Arc::clone(keys), Arc::clone(keys));
    Routes::new()
        .get("/jwks", move |call| get_jwks(Arc::clone(&published), call))
        .at(&keys.rules.jwks_path)
        .get("/token", move |call| get_token(Arc::clone(&signing), call))
}

/// The public keys, for those who verify tokens.
async fn get_jwks(keys: Arc<Keys>, call: Call<(), Anyone>) -> Result<Answer, Error> {
    if keys.rules.written.jwks.remote_url.is_some() || keys.rules.shared.is_some() {
        return Err(Code::bare(StatusCode::NOT_FOUND).into());
    }
    let mut db = call.auth().db();
    Ok(Answer::value(service::jwks(&keys, Asker::of(&call.request), &mut db).await?))
}

/// A token for the caller. The store is asked: a revoked session gets none, whatever its cache says.
async fn get_token(keys: Arc<Keys>, call: Call<(), Sensitive>) -> Result<Answer, Error> {
    let mut db = call.auth().db();
    let token = service::token_for(&keys, &call.request, &mut db, &call.session, Further::default()).await?;
    Ok(Answer::value(json!({ "token": token })))
}
