//! Tasks. The user is always the token's; nothing else decides whose tasks are meant.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, patch};
use serde::Deserialize;
use uuid::Uuid;

use crate::App;
use crate::auth::CurrentUser;
use crate::error::Error;
use crate::input::{Body, MaybeBody, Params, flag, line, text_or_null};
use crate::store::{Changes, NewTask, Task};

/// The longest title.
const TITLE: usize = 200;
/// The longest description.
const DESCRIPTION: usize = 2000;
/// What every reader of JSON and both databases can count.
pub const MAX_OFFSET: i64 = (1 << 53) - 1;
/// No such task, or none of the caller's: nobody learns which.
const NO_TASK: Error = Error::NotFound("Task not found");

/// The routes, below whatever they are mounted at.
pub fn routes() -> [(&'static str, MethodRouter<App>); 3] {
    [
        ("", get(list).post(add)),
        ("/{id}", get(show).put(replace).patch(change).delete(remove)),
        ("/{id}/complete", patch(complete)),
    ]
}

async fn list(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    mut params: Params,
) -> Result<Json<Vec<Task>>, Error> {
    let completed = params.flag("completed");
    let limit = params.number("limit", 1..=100, 50);
    let offset = params.number("offset", 0..=MAX_OFFSET, 0);
    params.finish()?;
    Ok(Json(app.store.tasks(&user, completed, limit, offset).await?))
}

async fn add(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    body: Body,
) -> Result<(StatusCode, Json<Task>), Error> {
    let task = app.store.add(&user, new_task(body)?, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(task)))
}

async fn show(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    TaskId(id): TaskId,
) -> Result<Json<Task>, Error> {
    found(app.store.task(&user, id).await?)
}

async fn replace(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    TaskId(id): TaskId,
    body: Body,
) -> Result<Json<Task>, Error> {
    let NewTask { title, description, completed } = new_task(body)?;
    let changes = Changes { title: Some(title), description: Some(description), completed: Some(completed) };
    found(app.store.change(&user, id, changes, app.clock.now()).await?)
}

async fn change(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    TaskId(id): TaskId,
    mut body: Body,
) -> Result<Json<Task>, Error> {
    let changes = Changes {
        title: body.optional("title", line::<TITLE>),
        description: body.optional("description", text_or_null::<DESCRIPTION>),
        completed: body.optional("completed", flag),
    };
    body.finish()?;
    if changes == Changes::default() {
        // Nothing changes, so neither does when it last did.
        return found(app.store.task(&user, id).await?);
    }
    found(app.store.change(&user, id, changes, app.clock.now()).await?)
}

async fn remove(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    TaskId(id): TaskId,
) -> Result<StatusCode, Error> {
    if app.store.remove(&user, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(NO_TASK) }
}

/// Says what the state is to be, instead of turning it over: a request that is sent again changes nothing.
async fn complete(
    CurrentUser(user): CurrentUser,
    State(app): State<App>,
    TaskId(id): TaskId,
    MaybeBody(body): MaybeBody,
) -> Result<Json<Task>, Error> {
    let mut completed = None;
    if let Some(mut body) = body {
        completed = body.optional("completed", flag);
        body.finish()?;
    }
    let changes = Changes { completed: Some(completed.unwrap_or(true)), ..Changes::default() };
    found(app.store.change(&user, id, changes, app.clock.now()).await?)
}

/// There is no field for an id or an owner.
fn new_task(mut body: Body) -> Result<NewTask, Error> {
    let task = NewTask {
        title: body.required("title", line::<TITLE>),
        description: body.optional("description", text_or_null::<DESCRIPTION>).flatten(),
        completed: body.optional("completed", flag).unwrap_or_default(),
    };
    body.finish()?;
    Ok(task)
}

fn found(task: Option<Task>) -> Result<Json<Task>, Error> {
    task.map(Json).ok_or(NO_TASK)
}

/// The id in the path. What is no id is no task's.
struct TaskId(Uuid);

#[derive(Deserialize)]
struct TaskPath {
    id: String,
}

impl FromRequestParts<App> for TaskId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let path = Path::<TaskPath>::from_request_parts(parts, app).await;
        // An id has one spelling; the library reads four.
        let hyphenated = |TaskPath { id }: TaskPath| id.parse().ok().filter(|_| id.len() == 36);
        path.ok().and_then(|Path(path)| hyphenated(path)).map(Self).ok_or(NO_TASK)
    }
}
