//! Auth inside an axum app: the routes under `/api/auth`, and handlers that know who calls.
//!
//! Run it with `cargo run --example embed_axum`, then sign up:
//! `curl -i localhost:3000/api/auth/sign-up/email -H 'content-type: application/json'
//! -d '{"name":"Ada","email":"ada@example.com","password":"correct horse"}'`.

use axum::Router;
use axum::routing::get;
use portcullis::Auth;
use portcullis::extract::{CurrentSession, MaybeSession};

/// Answers 401 by itself when nobody is signed in.
async fn me(CurrentSession(current): CurrentSession) -> String {
    format!("Hello, {}", current.user.name)
}

async fn home(MaybeSession(current): MaybeSession) -> String {
    current.map_or_else(
        || "Hello, whoever you are".into(),
        |current| format!("Welcome back, {}", current.user.name),
    )
}

/// The app around an auth server.
pub fn app(auth: Auth) -> Router {
    Router::new()
        .nest("/api/auth", auth.router())
        .route("/", get(home))
        .route("/me", get(me))
        .with_state(auth)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let auth = Auth::builder()
        .secret("replace-me-by-32-random-characters")
        .base_url("http://localhost:3000")
        .database("sqlite::memory:")
        .email_and_password()
        .build()
        .await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(auth)).await?;
    Ok(())
}
