//! The rules of what users change about themselves at once: name, picture, additional fields.

use http::StatusCode;
use portcullis_core::error::{self, Code, Error};
use portcullis_core::http::{Cookies, Request, truthy};
use portcullis_core::identity::{Action, Handed, SessionUser, User, from_json, hand_over, parse_input};
use portcullis_core::seams::UserWrite;
use portcullis_core::store::Kind;
use serde_json::{Map, Value as Json};

/// Writes what the client may write; the cookies hand the session with the new user over.
pub(super) async fn update(
    request: &Request,
    current: SessionUser,
    mut body: Map<String, Json>,
) -> Result<Cookies, Error> {
    let auth = &request.auth;
    let mut db = auth.db();
    for seam in &auth.seams().write_user {
        let mut write =
            UserWrite { request, action: Action::Update, user: Some(&current.user), body: &mut body };
        seam.amend(&mut db, &mut write).await?;
    }
    if body.get("email").is_some_and(truthy) {
        return Err(error::EMAIL_CAN_NOT_BE_UPDATED.into());
    }
    let mut changes = parse_input(auth, User::KEY, User::OWN, &body, Action::Update).await?;
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
    hand_over(request, &mut db, &current, Handed::default()).await
}
