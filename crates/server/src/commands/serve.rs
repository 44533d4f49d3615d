//! `portcullis serve`: the server.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use portcullis::config::Environment;
use portcullis::metrics::Requests;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Here, Opened, open};
use crate::about::About;
use crate::cli::ServeArgs;
use crate::front::Front;
use crate::{background, listen, ops, pages, say, telemetry};

/// For the last spans to reach the collector.
const LAST_SPANS: Duration = Duration::from_secs(3);
const LISTEN: &str = "127.0.0.1:4000";

/// Serves until SIGTERM or SIGINT.
pub async fn run(here: &Here<'_>, args: &ServeArgs) -> Result<ExitCode, String> {
    let mut loaded = here.load()?;
    let text = args.listen.clone().or_else(|| loaded.settings.http.listen.clone());
    let (host, port) = listen::address(text.as_deref().unwrap_or(LISTEN), args.port).map_err(|error| {
        if args.listen.is_some() { format!("--listen: {error}") } else { format!("http.listen: {error}") }
    })?;
    // Before the database is touched: a second start by mistake must not migrate anything.
    let listener = listen::bind(&host, port, "with --port N").await?;
    let address = listener.local_addr().map_err(|error| format!("cannot tell the port: {error}"))?;
    let Opened { auth, secret_file } = open(&mut loaded).await?;
    let mut signals = Signals::new()?;

    let config = auth.config();
    let test = config.environment == Environment::Test;
    let about = About::new(config, address, &here.directory, loaded.file.as_deref(), secret_file.as_deref());
    let mut routes = Router::new().merge(ops::routes(auth.clone()));
    if !test && !config.base_path.is_empty() {
        // Under the test contract `/` is 404, as upstream; without a base path it is the API's.
        routes = routes.merge(pages::routes(about.clone())).merge(pages::mailbox::routes(&auth));
    }
    let own = ["/", "/health", "/ready"].map(str::to_owned);
    let of_engine = auth.routes().into_iter().map(|route| format!("{}{}", config.base_path, route.path));
    let requests = Arc::new(Requests::new(of_engine.chain(own).collect()));
    let (tracer, exporter) = telemetry::start(&auth).map_err(|error| error.to_string())?.unzip();
    let app = Arc::new(Front::new(&auth, routes, Arc::clone(&requests), tracer));
    // They end with this function.
    let mut beside = tokio::task::JoinSet::new();
    if let Some(listener) = background::metrics_listener(&auth).await? {
        beside.spawn(background::serve_metrics(listener, auth.clone(), requests));
    }
    beside.spawn(background::purge(auth.clone()));

    if !test {
        about.announce(here.logs_as_json()?);
    }
    say::to_stdout(&format!("listening on http://{address}\n"))?;
    let hurry = std::sync::Arc::new(tokio::sync::Notify::new());
    let second = std::sync::Arc::clone(&hurry);
    let stop = async move {
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            second.notify_one();
        });
    };
    listen::serve(listener, app, test, stop, hurry.notified()).await;
    auth.mailer().finish(listen::GRACE).await;
    beside.shutdown().await;
    if let Some(exporter) = exporter {
        // The last tracer went with the last connection; a collector that hangs does not hold up the end.
        let _ = tokio::time::timeout(LAST_SPANS, exporter).await;
    }
    auth.store().close().await;
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT.
#[cfg(unix)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, String> {
        let of = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C, where there are no signals.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, String> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    }
}
