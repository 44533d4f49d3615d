//! Auth as a tower service, without a framework around it: one function from request to response.
//!
//! `Auth::service` answers below the base path and 404 elsewhere, so it can stand behind any server
//! or layer that speaks `http`. This example asks it a question in memory and prints the answer.

use axum::body::{Body, to_bytes};
use http::{Request, Response};
use portcullis::Auth;
use tower::{Service, ServiceExt};

/// An auth server as a service; any layer of tower's fits around it.
pub async fn service(
    database: &str,
) -> Result<
    impl Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible> + Clone,
    Box<dyn std::error::Error>,
> {
    let auth = Auth::builder()
        .secret("replace-me-by-32-random-characters")
        .base_url("http://localhost:3000")
        .database(database)
        .email_and_password()
        .build()
        .await?;
    Ok(auth.service())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = service("sqlite::memory:").await?;
    let response = service.oneshot(Request::get("/api/auth/ok").body(Body::empty())?).await?;
    let (head, body) = response.into_parts();
    println!("{} {}", head.status, String::from_utf8_lossy(&to_bytes(body, 1024).await?));
    Ok(())
}
