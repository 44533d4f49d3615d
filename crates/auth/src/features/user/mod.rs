#![doc = include_str!("README.md")]

use std::sync::Arc;

use http::StatusCode;
use portcullis_core::config::{ConfigError, Settings};
use portcullis_core::error::{self, Code, Error};
use portcullis_core::feature::Feature;
use portcullis_core::http::call::Sensitive;
use portcullis_core::http::{Answer, Call, Fields, FromFields, Routes, truthy};
use portcullis_core::identity::{Action, Handed, SessionUser, User, from_json, hand_over, parse_input};
use portcullis_core::seams::UserWrite;
use portcullis_core::store::Kind;
use serde_json::{Map, Value as Json, json};

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

/// The room.
#[derive(Debug)]
pub struct Users;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Users))
}

impl Feature for Users {
    fn id(&self) -> &'static str {
        "user"
    }

    fn routes(&self) -> Routes {
        Routes::new().post("/update-user", update_user)
    }
}

/// Any object: name, image, and the operator's and rooms' fields.
struct Changes(Map<String, Json>);

impl FromFields for Changes {
    const SHAPE: &'static str = "record";
    const FIELDS: &'static [(&'static str, &'static str)] = &[("name", "string?"), ("image", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self(fields.rest(&[]))
    }
}

async fn update_user(call: Call<Changes, Sensitive>) -> Result<Answer, Error> {
    let Call { request, body: Changes(mut body), session: Sensitive(current) } = call;
    let auth = &request.auth;
    let mut db = auth.db();
    for seam in &auth.seams().write_user {
        let mut write = UserWrite {
            request: &request,
            action: Action::Update,
            user: Some(&current.user),
            body: &mut body,
        };
        seam.amend(&mut db, &mut write).await?;
    }
    if body.get("email").is_some_and(truthy) {
        return Err(error::EMAIL_CAN_NOT_BE_UPDATED.into());
    }
    let mut changes = parse_input(auth.table(User::KEY), User::OWN, &body, Action::Update)?;
    for field in ["name", "image"] {
        let Some(value) = body.get(field) else { continue };
        // `null` takes a picture away; a name must stay a text.
        let value = from_json(Kind::Text, value).filter(|value| field == "image" || !value.is_null());
        let Some(value) = value else {
            let message = format!("[body.{field}] Invalid input: expected string");
            return Err(error::VALIDATION_ERROR.saying(message).into());
        };
        changes.set(field, value);
    }
    if changes.is_empty() {
        return Err(Code::message(StatusCode::BAD_REQUEST, "No fields to update").into());
    }
    let updated = match User::update(auth, &mut db, &current.user.id, changes.clone()).await {
        Ok(updated) => updated,
        Err(error) => return Err(User::write_failed(auth, &mut db, &changes, error).await),
    };
    let user = match updated {
        Some(user) => user,
        // Nothing is stored, so the session's own copy is the user.
        None if auth.config().stateless => {
            let mut row = current.user.clone().into_row();
            row.extend(changes);
            User::from_row(row)?
        }
        None => return Err(error::UNAUTHORIZED.into()),
    };
    let current = SessionUser { session: current.session, user };
    let cookies = hand_over(&request, &mut db, &current, Handed::default()).await?;
    Ok(Answer::value(json!({ "status": true })).with_cookies(cookies))
}
