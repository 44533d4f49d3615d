//! A service that trusts the tokens of an auth server, by `portcullis-verify`: `service ORIGIN JWKS_URL` answers
//! `/me` with the e-mail address of the token's user.

use std::net::Ipv4Addr;

use axum::routing::get;
use axum::{Json, Router};
use portcullis_verify::{Claims, Verifier, VerifyLayer};
use serde_json::{Value, json};

#[derive(serde::Deserialize)]
struct User {
    email: String,
}

async fn me(user: Claims<User>) -> Json<Value> {
    Json(json!({ "email": user.email }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [origin, keys] = words.as_slice() else { return Err("usage: service ORIGIN JWKS_URL".into()) };
    let verifier = Verifier::builder().jwks_url(keys).issuer(origin).audience(origin).build()?;
    verifier.warm_up().await?;
    let router = Router::new()
        .route("/me", get(me))
        .layer(VerifyLayer::new(verifier))
        .route("/ok", get(async || "ok"));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
