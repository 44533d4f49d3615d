//! The ceiling: an axum handler that answers what a session read answers, byte for byte, and does
//! nothing for it. `bare FILE` serves the file's bytes on a free port and prints the address.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: bare FILE")?;
    let body = Bytes::from(std::fs::read(file)?);
    let answer = move || {
        let body = body.clone();
        async move { ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body) }
    };
    let router =
        Router::new().route("/api/auth/get-session", get(answer)).route("/api/auth/ok", get(async || "ok"));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
