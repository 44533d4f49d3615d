//! The routes of the room: extract, serve, answer.

use portcullis_core::error::Error;
use portcullis_core::http::call::SignedIn;
use portcullis_core::http::{Answer, Call, Fields, FromFields, Routes};
use serde_json::{Value as Json, json};

use super::service;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/multi-session/list-device-sessions", list_device_sessions)
        .post("/multi-session/set-active", set_active)
        .post("/multi-session/revoke", revoke)
}

struct Which(String);

impl FromFields for Which {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("sessionToken", "string")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self(fields.string("sessionToken"))
    }
}

/// Lists the sessions of the device, one for each user.
async fn list_device_sessions(call: Call) -> Result<Answer, Error> {
    let auth = call.auth();
    let sessions = service::list(&call.request, &mut auth.db()).await?;
    Answer::json(sessions.iter().map(|current| current.view(auth)).collect::<Vec<_>>())
}

/// Makes one of the device's sessions the one that counts.
async fn set_active(call: Call<Which>) -> Result<Answer, Error> {
    let (current, cookies) = service::set_active(&call.request, &call.body.0).await?;
    Ok(Answer::value(Json::Object(current.view(call.auth()))).with_cookies(cookies))
}

/// Ends one of the device's sessions; if it was the one that counts, another takes its place.
async fn revoke(call: Call<Which, SignedIn>) -> Result<Answer, Error> {
    let cookies = service::revoke(&call.request, &call.session, &call.body.0).await?;
    Ok(Answer::value(json!({ "status": true })).with_cookies(cookies))
}
