//! Who calls. This is the file to copy: the auth server in your process, and handlers that know the user.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use portcullis::clock::Clock;
use portcullis::config::{ConfigError, Settings, read};
use portcullis::{Auth, StartError};
use portcullis_verify::{Algorithm, Claims, Verifier, VerifyLayer, shape};
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::config::{Config, origin};
use crate::error::Error;
use crate::store::User;

/// The settings of Portcullis, with Better Auth's names.
///
/// # Errors
/// One that cannot stand.
pub fn settings(config: &Config, address: SocketAddr) -> Result<Settings, ConfigError> {
    let tokens = json!({ "issuer": config.issuer, "audience": config.audience });
    let jwt = match &config.jwt_secret {
        None => json!({ "jwt": tokens }),
        // For services in a language without a good library for key pairs. Whoever verifies with the
        // secret can sign with it, too: without a reason leave it out.
        Some(secret) => json!({ "algorithm": "HS256", "secret": secret, "jwt": tokens }),
    };
    read(
        "",
        json!({
            "baseURL": auth_url(config, address),
            "secret": config.secret,
            "trustedOrigins": config.origins,
            "database": { "url": config.database_url },
            "emailAndPassword": { "enabled": true, "passwordPolicy": { "rejectCommon": true } },
            // Roles are given by whoever runs the server: nobody signs up as an admin.
            "user": { "additionalFields": { "role": { "type": "string", "required": false, "input": false } } },
            // `tokenApi` is for clients that are not the JavaScript SDK: tokens at sign-in, and to renew.
            "plugins": { "jwt": jwt, "tokenApi": {} },
        }),
    )
}

/// The auth server. Its routes go into the app with `nest("/api/auth", auth.router())`.
///
/// # Errors
/// What is wrong, and what to do.
pub async fn server(config: &Config, address: SocketAddr, clock: Clock) -> Result<Auth, StartError> {
    Auth::builder()
        .settings(settings(config, address)?)
        .environment(config.environment)
        .clock(clock)
        .build()
        .await
}

/// The address that browsers see the auth routes at.
fn auth_url(config: &Config, address: SocketAddr) -> String {
    config.auth_url.clone().unwrap_or_else(|| format!("http://localhost:{}", address.port()))
}

/// What tells good tokens from bad ones: whose they are, for whom, and the keys that they are signed with.
///
/// # Errors
/// What is wrong with the configuration.
pub fn verifier(
    config: &Config,
    address: SocketAddr,
    clock: portcullis_verify::Clock,
) -> Result<Verifier, Box<dyn std::error::Error + Send + Sync>> {
    let auth_origin = origin(&auth_url(config, address))?;
    let verifier = Verifier::builder()
        .issuer(config.issuer.as_ref().unwrap_or(&auth_origin))
        .audience(config.audience.as_ref().unwrap_or(&auth_origin))
        .clock(clock);
    let verifier = match &config.jwt_secret {
        // With a secret there is no key pair: a token that is signed otherwise is forged.
        Some(secret) => verifier.secret(Algorithm::HS256, secret),
        // From this very process, by the way that any other service takes: keys that are made later, by
        // this process or another one at the same database, are known without a restart.
        None => {
            let mut own = address;
            if own.ip().is_unspecified() {
                own.set_ip(match own {
                    SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                });
            }
            // Plain HTTP, and never off this machine.
            verifier.jwks_url(format!("http://{own}/api/auth/jwks")).allow_http()
        }
    };
    Ok(verifier.build()?)
}

/// The layer that goes around every route for which a token is needed.
pub fn layer(verifier: Verifier) -> VerifyLayer {
    VerifyLayer::new(verifier).shape(shape::fastapi)
}

/// What this app reads in tokens: `sub`, and the user's columns.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// The user's id, and the only one that counts: none from a URL or a body does.
    pub sub: String,
    /// Their address; `definePayload` may leave it out.
    pub email: Option<String>,
    /// Their name; likewise.
    pub name: Option<String>,
    /// Their roles, with commas between.
    pub role: Option<String>,
    /// When the token was made, in seconds since 1970.
    pub iat: i64,
}

/// Who calls, on paths of their own: take it first in a handler. 401 without a good token, 403 for a user
/// who was switched off, and for a path that names another user.
#[derive(Debug)]
pub struct CurrentUser(pub User);

impl FromRequestParts<App> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let claims = Claims::<Token>::from_request_parts(parts, app).await?;
        let params = RawPathParams::from_request_parts(parts, app).await;
        // What is not UTF-8 is no path of ours.
        let params = params.map_err(|_| Error::NotFound("Not Found"))?;
        // Before anything is looked up or written.
        if params.iter().any(|(name, id)| name == "user_id" && id != claims.sub) {
            return Err(Error::NotYours);
        }
        seen(&claims, app).await.map(Self)
    }
}

/// Who calls, and is an admin; anybody else is 403.
#[derive(Debug)]
pub struct Admin(pub User);

impl FromRequestParts<App> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let claims = Claims::<Token>::from_request_parts(parts, app).await?;
        let user = seen(&claims, app).await?;
        // As the token says it, not the table: a role that was taken away ends with the token.
        claims.token().require_any_role(&["admin"]).map_err(|_| Error::AdminOnly)?;
        Ok(Self(user))
    }
}

/// The user whom the token is about, with a row of their own in the app's database.
async fn seen(token: &Token, app: &App) -> Result<User, Error> {
    let user = app.store.seen(token, app.clock.now()).await?;
    if user.is_active { Ok(user) } else { Err(Error::Inactive) }
}
