//! Users, as this app knows them. Names and addresses are changed at the auth server, not here.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::{MethodRouter, get, patch};

use crate::App;
use crate::auth::{Admin, CurrentUser};
use crate::error::{Error, Problem};
use crate::input::{Body, Params, flag};
use crate::store::User;

/// What users see of themselves, below `/api/users/{user_id}`.
pub fn own() -> [(&'static str, MethodRouter<App>); 1] {
    [("/profile", get(profile))]
}

/// What admins see of all, below `/api/admin`.
pub fn admin() -> [(&'static str, MethodRouter<App>); 2] {
    [("/users", get(list)), ("/users/{user_id}", patch(set_active))]
}

async fn profile(CurrentUser(user): CurrentUser) -> Json<User> {
    Json(user)
}

async fn list(_: Admin, State(app): State<App>, mut params: Params) -> Result<Json<Vec<User>>, Error> {
    let limit = params.number("limit", 1..=100, 50);
    let offset = params.number("offset", 0..=crate::tasks::MAX_OFFSET, 0);
    params.finish()?;
    Ok(Json(app.store.users(limit, offset).await?))
}

async fn set_active(
    Admin(admin): Admin,
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    mut body: Body,
) -> Result<Json<User>, Error> {
    let is_active = body.required("is_active", flag);
    body.finish()?;
    // PostgreSQL has no texts with U+0000.
    let Some(id) = id.ok().map(|Path(id)| id).filter(|id| !id.contains('\0')) else { return Err(NO_USER) };
    if id == admin.id && !is_active {
        let msg = "Value error, you cannot deactivate yourself".to_owned();
        return Err(Error::Invalid(vec![Problem::of("body", "is_active", (msg, "value_error"))]));
    }
    app.store.set_active(&id, is_active, app.clock.now()).await?.map(Json).ok_or(NO_USER)
}

const NO_USER: Error = Error::NotFound("User not found");
