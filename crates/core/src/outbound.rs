//! The one HTTP client. So far it calls webhooks only: the operator wrote their URLs, so they may be on
//! private networks. Addresses that users or third parties name need a guard that this does not have.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value as Json;
use url::Url;

use crate::error::Error;
use crate::metrics::Metrics;

/// The longest answer of a webhook that is read.
const MAX_ANSWER: usize = 1 << 20;

/// Makes outbound requests: no redirects, 10 s in all, bounded answers.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: reqwest::Client,
    metrics: Metrics,
}

impl Outbound {
    /// Builds the client; fails only if TLS cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
    pub fn new(metrics: Metrics) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10))
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::broken)?;
        Ok(Self { client, metrics })
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
        let request = self.client.post(url.clone()).headers(headers.clone()).json(body);
        let answer = request.send().await.map_err(|e| Error::broken(e.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(Error::broken(format!("the answer was {status}"))) }
    }

    /// Did nobody answer, or not to the end? Then trying again may help.
    pub fn found_nobody(error: &Error) -> bool {
        matches!(error, Error::Broken(source) if source.is::<reqwest::Error>())
    }

    /// Posts JSON to a URL that the operator wrote and reads a JSON answer.
    pub async fn webhook(&self, url: &Url, body: &Json) -> Result<Json, Error> {
        let mut answer = self
            .client
            .post(url.clone())
            .json(body)
            .send()
            .await
            .map_err(|e| Error::broken(e.without_url()))?;
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
        serde_json::from_slice(&bytes).map_err(Error::broken)
    }
}
