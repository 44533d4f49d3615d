//! rustauth behind axum, configured by the same JSON file as the other contenders:
//!   rival-rustauth --config FILE.json --port 0
//! Prints `listening on http://127.0.0.1:PORT` when ready; ends with 0 at SIGTERM.

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use axum::serve;
use rustauth::{
    RustAuth,
    db::{AuthSchemaOptions, DbAdapter, TableOptions, auth_schema},
    options::{AdvancedOptions, EmailPasswordOptions, ModelSchemaOptions, RateLimitOptions, RustAuthOptions},
    sqlx::{PostgresAdapter, SqliteAdapter},
};
use rustauth_axum::{RustAuthAxumExt, RustAuthAxumOptions};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Better Auth's tables and columns, so that all contenders are filled by the same statements. rustauth's
/// own are `users.email_verified` and the like; the names are all that differs.
fn named(table: &str, columns: &[(&str, &str)]) -> (TableOptions, ModelSchemaOptions) {
    let mut both = (TableOptions::default().with_name(table), ModelSchemaOptions::new().model_name(table));
    for (column, name) in columns {
        both.0 = both.0.with_field_name(*column, *name);
        both.1 = both.1.field_name(*column, *name);
    }
    both
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = serde_json::Value::Null;
    let mut port = 0;
    let mut words = std::env::args().skip(1);
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key.as_str() {
            "--config" => config = serde_json::from_reader(io::BufReader::new(std::fs::File::open(value)?))?,
            "--port" => port = value.parse()?,
            _ => return Err(format!("{key} is unknown").into()),
        }
    }
    let text = |pointer: &str| {
        config.pointer(pointer).and_then(|value| value.as_str()).ok_or(format!("no {pointer}"))
    };

    let times = [("created_at", "createdAt"), ("updated_at", "updatedAt")];
    let expires = ("expires_at", "expiresAt");
    let (user, user_names) = named("user", &[&times[..], &[("email_verified", "emailVerified")]].concat());
    let (session, session_names) = named(
        "session",
        &[
            &times[..],
            &[expires, ("ip_address", "ipAddress"), ("user_agent", "userAgent"), ("user_id", "userId")],
        ]
        .concat(),
    );
    let (account, account_names) = named(
        "account",
        &[
            &times[..],
            &[
                ("account_id", "accountId"),
                ("provider_id", "providerId"),
                ("user_id", "userId"),
                ("access_token", "accessToken"),
                ("refresh_token", "refreshToken"),
                ("id_token", "idToken"),
                ("access_token_expires_at", "accessTokenExpiresAt"),
                ("refresh_token_expires_at", "refreshTokenExpiresAt"),
            ],
        ]
        .concat(),
    );
    let (verification, verification_names) = named("verification", &[&times[..], &[expires]].concat());
    let schema = auth_schema(AuthSchemaOptions {
        user,
        session,
        account,
        verification,
        ..AuthSchemaOptions::default()
    });

    let url = text("/database/url")?;
    let adapter: Arc<dyn DbAdapter> = if url.starts_with("sqlite:") {
        Arc::new(SqliteAdapter::connect_with_schema(&format!("{url}?mode=rwc"), schema.clone()).await?)
    } else {
        Arc::new(PostgresAdapter::connect_with_schema(url, schema.clone()).await?)
    };
    adapter.run_migrations(&schema).await?;

    let base_path = "/api/auth";
    let mut options = RustAuthOptions::new()
        .secret(text("/secret")?)
        .base_url(format!("{}{base_path}", text("/baseURL")?))
        .base_path(base_path)
        .email_password(EmailPasswordOptions::new().enabled(true))
        .rate_limit(RateLimitOptions::memory().enabled(false))
        // Better Auth's name of the cookie; unlike it, rustauth reads the value as it is, not percent-encoded.
        .advanced(AdvancedOptions::new().cookie_prefix("better-auth"))
        .production(true);
    options.user.schema = user_names;
    options.session.schema = session_names;
    options.account.schema = account_names;
    options.verification.schema = verification_names;
    let auth = RustAuth::builder().options(options).adapter_arc(adapter).build().await?;

    let app = auth.mount_at_base_path(RustAuthAxumOptions::default())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        served = async { serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await } => served?,
        _ = end.recv() => {}
    }
    Ok(())
}
