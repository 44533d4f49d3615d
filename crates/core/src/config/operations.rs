//! Options of running a server: what it tells, and what it tidies up.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::ConfigError;

/// Ours: `metrics`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsSettings {
    /// Address for Prometheus, e.g. `127.0.0.1:9464`: `/metrics` is served there and nowhere else. Off by default.
    pub listen: Option<String>,
}

/// Ours: `purge`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PurgeSettings {
    /// Remove expired sessions and verifications in the background. Default true.
    pub enabled: Option<bool>,
    /// Seconds between two rounds, a fifth more or less. Default 300.
    pub interval: Option<u64>,
    /// Rows of a table that one statement removes. Default 500.
    pub batch: Option<u64>,
}

/// Better Auth's `telemetry`, of which nothing is ever sent to anybody, and ours.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Better Auth's; it has no effect, because nothing is ever sent to anybody but your own collector.
    pub enabled: Option<bool>,
    /// Better Auth's; it has no effect.
    pub debug: Option<bool>,
    /// OpenTelemetry collector (OTLP over HTTP, JSON), e.g. `http://127.0.0.1:4318`; traces go to `/v1/traces` below it.
    pub otlp_endpoint: Option<String>,
    /// Headers for the collector, e.g. an API key.
    pub otlp_headers: BTreeMap<String, String>,
    /// The name of this service in traces. Default `portcullis`.
    pub service_name: Option<String>,
    /// Share of requests that are traced unless the caller decides. Default 1.
    pub sample_ratio: Option<f64>,
}

/// What makes no sense.
pub(super) fn check(purge: &PurgeSettings, telemetry: &TelemetrySettings) -> Result<(), ConfigError> {
    if purge.interval == Some(0) {
        return Err(ConfigError::new(
            "purge.interval",
            "must be at least 1 second; to switch it off set purge.enabled to false",
        ));
    }
    if purge.batch.is_some_and(|rows| !(1..=10_000).contains(&rows)) {
        return Err(ConfigError::new("purge.batch", "must be between 1 and 10000 rows"));
    }
    telemetry.traces_url()?;
    if telemetry.sample_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
        return Err(ConfigError::new(
            "telemetry.sampleRatio",
            "must be between 0 (nothing) and 1 (everything)",
        ));
    }
    telemetry.headers().map(drop)
}

impl TelemetrySettings {
    /// Where traces go, when they go anywhere.
    ///
    /// # Errors
    /// `telemetry.otlpEndpoint` is no URL.
    pub fn traces_url(&self) -> Result<Option<Url>, ConfigError> {
        let Some(text) = self.otlp_endpoint.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        // Not the text itself: it may carry a password.
        let wrong = || {
            ConfigError::new(
                "telemetry.otlpEndpoint",
                "must be an http or https URL, e.g. http://127.0.0.1:4318",
            )
        };
        let mut url = Url::parse(text).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong());
        }
        // OTLP/HTTP: the signal's path is appended to the endpoint.
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Some(url))
    }

    /// Headers for the collector.
    ///
    /// # Errors
    /// `telemetry.otlpHeaders` holds what is no header.
    pub fn headers(&self) -> Result<http::HeaderMap, ConfigError> {
        let mut headers = http::HeaderMap::new();
        for (name, value) in &self.otlp_headers {
            let wrong =
                |_| ConfigError::new(format!("telemetry.otlpHeaders.{name}"), "is not an HTTP header");
            let key = http::HeaderName::from_bytes(name.as_bytes()).map_err(|e| wrong(e.to_string()))?;
            let mut value = http::HeaderValue::from_str(value).map_err(|e| wrong(e.to_string()))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(headers)
    }
}
