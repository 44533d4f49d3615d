//! What the server does besides answering: expired rows are purged, and Prometheus is served.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use portcullis::Auth;
use portcullis::config::Environment;
use portcullis::metrics::{self, Requests};
use portcullis::purge::BATCH;
use tokio::net::TcpListener;

use crate::listen;

/// Between two batches: time for others to write.
const PAUSE: Duration = Duration::from_millis(200);
/// Prometheus's registry of ports has this one for OpenTelemetry's exporter.
const METRICS_PORT: u16 = 9464;

/// Purges now and then, until it is dropped.
pub async fn purge(auth: Auth) {
    let settings = &auth.config().settings.purge;
    // Under the test contract a request brings its own time, by which a session may be alive that has
    // expired by the clock on the wall.
    if settings.enabled == Some(false) || auth.config().environment == Environment::Test {
        return;
    }
    let interval = Duration::from_secs(settings.interval.unwrap_or(300).clamp(1, 86_400));
    let batch = settings.batch.unwrap_or(BATCH);
    loop {
        // Processes that were started together do not stay together: between 4/5 and 6/5.
        let chance = f64::from(u32::from_be_bytes(auth.random().bytes())) / f64::from(u32::MAX);
        tokio::time::sleep(interval.mul_f64(0.8 + 0.4 * chance)).await;
        let mut rows = 0;
        loop {
            match auth.purge_expired(batch).await {
                Ok(purged) => {
                    rows += purged.rows();
                    if !purged.more {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "expired rows were not removed; the next round tries again");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        if rows > 0 {
            tracing::debug!(rows, "expired rows removed");
        }
    }
}

/// Opens the port for Prometheus, if there is to be one.
pub async fn metrics_listener(auth: &Auth) -> Result<Option<TcpListener>, String> {
    let Some(text) = &auth.config().settings.metrics.listen else { return Ok(None) };
    let of_option = |error: String| format!("metrics.listen: {error}");
    let (host, port) = listen::address_or(text, None, METRICS_PORT).map_err(of_option)?;
    let listener = listen::bind(&host, port, "there").await.map_err(of_option)?;
    let address = listener.local_addr().map_err(|error| of_option(error.to_string()))?;
    tracing::info!("metrics for Prometheus are at http://{address}/metrics");
    Ok(Some(listener))
}

/// Serves `/metrics` and nothing else, until it is dropped.
pub async fn serve_metrics(listener: TcpListener, auth: Auth, requests: Arc<Requests>) {
    let page = move || {
        let text = auth.prometheus() + &requests.prometheus();
        std::future::ready(([(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")], text))
    };
    let router = Router::new().route("/metrics", get(page));
    listen::serve(listener, router, false, std::future::pending(), std::future::pending()).await;
}
