//! `/health`: the process is up. `/ready`: it can also serve, that is, the database and the
//! secondary storage answer.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CACHE_CONTROL;
use portcullis::Auth;
use serde_json::json;

use crate::front::unavailable;

/// Longer than a healthy ping by far, shorter than what balancers wait for.
const PING: Duration = Duration::from_secs(2);

/// The two routes.
pub fn routes(auth: Auth) -> Router {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).with_state(auth)
}

async fn health() -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(json!({ "status": "ok" }))).into_response()
}

async fn ready(State(auth): State<Auth>) -> Response {
    match tokio::time::timeout(PING, auth.store().ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, "the database does not answer");
            return unavailable("The database does not answer.");
        }
        Err(_) => {
            tracing::error!("the database took more than 2 s for a ping");
            return unavailable("The database does not answer.");
        }
    }
    // The storage has said in the log why.
    if let Some(storage) = auth.secondary()
        && !matches!(tokio::time::timeout(PING, storage.ping()).await, Ok(Ok(())))
    {
        tracing::error!("the secondary storage does not answer");
        return unavailable("The secondary storage does not answer.");
    }
    ([(CACHE_CONTROL, "no-store")], Json(json!({ "status": "ready" }))).into_response()
}
