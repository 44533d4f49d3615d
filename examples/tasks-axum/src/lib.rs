//! Tasks of users whom Portcullis signs in: auth server and API in one process. The README says what to
//! copy into an app of your own, and in which order.

pub mod auth;
pub mod config;
pub mod error;
pub mod input;
pub mod store;
pub mod tasks;
pub mod users;

use std::future::Future;
use std::net::SocketAddr;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use portcullis::Auth;
use portcullis::clock::Clock;
use portcullis_verify::{Verifier, VerifyLayer};
use serde_json::json;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

use config::Config;
use error::Error;
use store::Store;

/// What is wrong, in words for whoever starts the app.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// The longest body that is read.
pub const MAX_BODY: usize = 64 * 1024;

/// What the API is, for machines.
const OPENAPI: &str = include_str!("../openapi.json");

/// What handlers need.
#[derive(Debug, Clone)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The time, which a test sets.
    pub clock: Clock,
}

/// Every route of the API that needs a token.
pub fn protected() -> Vec<(String, MethodRouter<App>)> {
    let at = |prefix: &'static str| move |(path, methods): (&str, _)| (format!("{prefix}{path}"), methods);
    let routes = tasks::routes().into_iter().map(at("/api/v1/tasks"));
    let routes = routes.chain(tasks::routes().into_iter().map(at("/api/users/{user_id}/todos")));
    let routes = routes.chain(users::own().into_iter().map(at("/api/users/{user_id}")));
    routes.chain(users::admin().into_iter().map(at("/api/admin"))).collect()
}

/// Every route of the API that anybody may call.
pub fn public() -> Vec<(String, MethodRouter<App>)> {
    let health = get(async || Json(json!({ "status": "ok" })));
    let document = get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI));
    vec![("/api/health".to_owned(), health), ("/openapi.json".to_owned(), document)]
}

/// The API: handlers behind a layer that verifies tokens. It knows nothing of how they are made.
///
/// # Errors
/// An origin that is none.
pub fn api(app: App, verify: &VerifyLayer, origins: &[String]) -> Result<Router, StartError> {
    // Around methods, not around the router: an unknown path is 404 and an unknown method 405, with and
    // without a token.
    let protected =
        protected().into_iter().map(|(path, methods)| (path, methods.route_layer(verify.clone())));
    let router = protected
        .chain(public())
        .fold(Router::new(), |router, (path, methods)| router.route(&path, methods))
        .fallback(async || Error::NotFound("Not Found"))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // Outermost: preflights carry no token.
        .layer(cors(origins)?)
        .with_state(app);
    Ok(router)
}

/// Which web pages may call from a browser. The API takes no cookies, so there are no credentials to allow.
fn cors(origins: &[String]) -> Result<CorsLayer, StartError> {
    let origins = origins.iter().map(|one| HeaderValue::from_str(one)).collect::<Result<Vec<_>, _>>()?;
    let readable: [HeaderName; 2] = [header::WWW_AUTHENTICATE, header::RETRY_AFTER];
    Ok(CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers(readable))
}

/// Where the time is read; the system's, but for tests.
#[derive(Debug, Clone, Default)]
pub struct Clocks {
    /// Of the auth server and of the app.
    pub server: Clock,
    /// Of what verifies tokens.
    pub verifier: portcullis_verify::Clock,
}

/// Auth server and API, listening but not yet answering.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    auth: Auth,
    verifier: Verifier,
    router: Router,
}

impl Server {
    /// Takes the address, connects to the database, joins auth server and API.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn start(config: &Config, clocks: Clocks) -> Result<Self, StartError> {
        let listener = TcpListener::bind((config.host.as_str(), config.port))
            .await
            .map_err(|error| format!("cannot listen on {}:{}: {error}", config.host, config.port))?;
        let address = listener.local_addr()?;
        let auth = auth::server(config, address, clocks.server.clone()).await?;
        let store = Store::connect(&config.database_url).await?;
        let verifier = auth::verifier(config, address, clocks.verifier)?;
        let app = App { store, clock: clocks.server };
        let router = Router::new()
            .merge(api(app, &auth::layer(verifier.clone()), &config.origins)?)
            // It answers browsers on other origins by its own rules (`trustedOrigins`): with cookies.
            .nest("/api/auth", auth.router());
        Ok(Self { listener, address, auth, verifier, router })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The auth server.
    pub const fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Answers until `stop` comes, and finishes what was begun.
    ///
    /// # Errors
    /// The listener's.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        // The keys are fetched from this listener, which answers from now on. Without this the first
        // request would fetch them.
        let verifier = self.verifier;
        tokio::spawn(async move {
            if let Err(error) = verifier.warm_up().await {
                tracing::warn!(%error, "no keys yet; they are fetched when a token comes");
            }
        });
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await
    }
}
