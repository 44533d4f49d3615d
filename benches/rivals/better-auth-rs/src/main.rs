//! better-auth (the port to Rust) behind axum, configured by the same JSON file as the other contenders:
//!   rival-better-auth-rs --config FILE.json --port 0
//! Prints `listening on http://127.0.0.1:PORT` when ready; ends with 0 at SIGTERM.

mod schema;

use std::{error::Error, fs::File, io::BufReader, sync::Arc};

use axum::{Router, serve};
use better_auth::{
    AuthConfig, BetterAuth,
    integrations::axum::AxumIntegration,
    middleware::RateLimitConfig,
    plugins::{EmailPasswordPlugin, SessionManagementPlugin},
    seaorm::{Database, SeaOrmStore},
};
use schema::Schema;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = serde_json::Value::Null;
    let mut port = 0;
    let mut words = std::env::args().skip(1);
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key.as_str() {
            "--config" => config = serde_json::from_reader(BufReader::new(File::open(value)?))?,
            "--port" => port = value.parse()?,
            _ => return Err(format!("{key} is unknown").into()),
        }
    }
    let text = |pointer: &str| {
        config.pointer(pointer).and_then(|value| value.as_str()).ok_or(format!("no {pointer}"))
    };

    let mut url = text("/database/url")?.to_owned();
    if url.starts_with("sqlite:") {
        url.push_str("?mode=rwc");
    }
    let database = Database::connect(&url).await?;
    schema::migrate(&database).await?;

    let config = AuthConfig::new(text("/secret")?).base_url(text("/baseURL")?);
    let store = SeaOrmStore::<Schema>::new(config.clone(), database);
    let auth = Arc::new(
        BetterAuth::<Schema>::new(config)
            .store(store)
            .rate_limit(RateLimitConfig::new().enabled(false))
            .plugin(EmailPasswordPlugin::new().enable_signup(true))
            .plugin(SessionManagementPlugin::new())
            .build()
            .await?,
    );

    let app = Router::new().nest("/api/auth", auth.clone().axum_router()).with_state(auth);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        served = async { serve(listener, app).await } => served?,
        _ = end.recv() => {}
    }
    Ok(())
}
