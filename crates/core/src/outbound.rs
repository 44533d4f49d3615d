//! The one HTTP client. So far it calls webhooks only: the operator wrote their URLs, so they may be on
//! private networks. Addresses that users or third parties name need a guard that this does not have.
//!
//! Calls are signed by the Standard Webhooks scheme (<https://www.standardwebhooks.com>) when there is a
//! secret, and one host gets a bounded number of them at a time: a slow one costs the requests that need
//! it their time and nobody else anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use serde_json::Value as Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use url::Url;

use crate::clock::Clock;
use crate::config::{SigningKey, WebhookConfig, is_private_channel};
use crate::crypto::{Random, hmac_sha256};
use crate::error::{self, Error};
use crate::metrics::Metrics;

/// The longest answer of a webhook that is read.
const MAX_ANSWER: usize = 1 << 20;

/// Notices that may be under way beside requests; further ones are dropped and the log says so.
const MAX_BESIDE: usize = 256;

/// Makes outbound requests: no redirects, bounded time, bounded answers, bounded numbers.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    metrics: Metrics,
    config: WebhookConfig,
    clock: Clock,
    random: Random,
    /// Turns by host. The hosts are those that the operator wrote, so there are few.
    turns: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    beside: Arc<Semaphore>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Builds the client; fails only if TLS cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
    pub fn new(
        metrics: Metrics,
        config: &WebhookConfig,
        clock: Clock,
        random: Random,
    ) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.timeout.min(Duration::from_secs(5)))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::broken)?;
        Ok(Self {
            client,
            metrics,
            config: config.clone(),
            clock,
            random,
            turns: Arc::default(),
            beside: Arc::new(Semaphore::new(MAX_BESIDE)),
        })
    }

    /// Where calls are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Posts JSON with headers to a URL that the operator wrote; only whether it was taken counts.
    ///
    /// # Errors
    /// When nobody answered, or with another status than 2xx.
    pub async fn deliver(&self, url: &Url, headers: &HeaderMap, body: &Json) -> Result<(), Error> {
        let request = self.client.post(url.clone()).timeout(Duration::from_secs(10));
        let request = request.headers(headers.clone()).json(body);
        let answer = Box::pin(request.send()).await.map_err(|e| Error::broken(e.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(Error::broken(format!("the answer was {status}"))) }
    }

    /// Posts JSON to a URL that the operator wrote and reads a JSON answer. The time counts from here,
    /// the wait for a turn included.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` when no turn came in time; broken for everything else.
    pub async fn webhook(&self, url: &Url, body: &Json) -> Result<Json, Error> {
        self.webhook_as(&self.webhook_id(), url, body).await
    }

    /// A new `webhook-id`.
    pub fn webhook_id(&self) -> String {
        format!("msg_{}", self.random.id())
    }

    /// As [`Outbound::webhook`], for a call that may be repeated: every try has the same id, by which the
    /// receiver knows it again.
    ///
    /// # Errors
    /// As there.
    pub async fn webhook_as(&self, id: &str, url: &Url, body: &Json) -> Result<Json, Error> {
        let turns = self.turns_of(url);
        let started = tokio::time::Instant::now();
        let turn = timeout(self.config.timeout, turns.acquire_owned()).await;
        let left = self.config.timeout.saturating_sub(started.elapsed());
        // A turn that comes at the very end comes too late: a call without time would only be one more
        // that the host works on for nobody.
        let (Ok(turn), true) = (turn, left >= self.config.timeout / 10) else {
            tracing::error!(
                host = url.host_str(),
                "a webhook call did not come to its turn in time: the host is slow, or webhooks.maxInFlight is low"
            );
            return Err(Error::from(error::SERVICE_UNAVAILABLE)
                .with_header(RETRY_AFTER, HeaderValue::from_static("1")));
        };
        let _turn = turn.map_err(Error::broken)?;
        match timeout(left, Box::pin(self.post(id, url, body))).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::broken("a webhook did not answer in time")),
        }
    }

    /// A place among the calls beside requests, if one is free.
    pub(crate) fn beside(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.beside).try_acquire_owned().ok()
    }

    fn turns_of(&self, url: &Url) -> Arc<Semaphore> {
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            if !is_private_channel(url) {
                tracing::warn!(
                    host = url.host_str(),
                    "webhooks travel in the clear: use https, or a host that is this machine"
                );
            }
            Arc::new(Semaphore::new(self.config.max_in_flight))
        };
        Arc::clone(turns.entry(host).or_insert_with(made))
    }

    async fn post(&self, id: &str, url: &Url, body: &Json) -> Result<Json, Error> {
        // The very bytes that are sent are signed.
        let body = serde_json::to_vec(body).map_err(Error::broken)?;
        let timestamp = self.clock.now().seconds();
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if !self.config.keys.is_empty() {
            request =
                request.header("webhook-signature", signatures(&self.config.keys, id, timestamp, &body));
        }
        let mut answer = request.body(body).send().await.map_err(|e| Error::broken(e.without_url()))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| Error::broken(e.without_url()))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(Error::broken("a webhook answered more than 1 MiB"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(Error::broken(format!("a webhook answered {status}")));
        }
        if bytes.is_empty() {
            return Ok(Json::Object(serde_json::Map::new()));
        }
        // serde's text would quote the answer.
        serde_json::from_slice(&bytes).map_err(|_| Error::broken("a webhook answered what is not JSON"))
    }
}

/// Standard Webhooks, "Signature scheme": `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one
/// for each key, with spaces between.
fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let of = |key: &SigningKey| {
        format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(hmac_sha256(key.expose(), &signed)))
    };
    keys.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, read};
    use serde_json::json;

    #[test]
    fn a_signature_is_the_one_of_the_standards_own_example() {
        // https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries (test vector of all
        // its libraries).
        let settings = read(
            "",
            json!({
                "secret": "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4",
                "webhooks": { "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
            }),
        );
        let config = Config::check(settings.unwrap(), Environment::Development).unwrap();
        let signed = signatures(
            &config.webhooks.keys,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
