//! The one HTTP client of this crate: no redirects, bounded time, bounded answers, and only to URLs
//! that the operator wrote.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};
use tokio::time::timeout;

use crate::ConfigError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// A URL that may be asked.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    pub(crate) fn parse(url: &str, allow_http: bool) -> Result<Self, ConfigError> {
        let refused = |why: &str| Err(ConfigError::Url(why.to_owned()));
        let Ok(url) = Url::parse(url) else { return refused("it is no absolute URL") };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("it has a password in it, which would end up in logs");
        }
        match url.scheme() {
            "https" => {}
            "http" if allow_http || is_loopback(&url) => {}
            "http" => return refused("plain http to another machine; use https, or say `allow_http`"),
            _ => return refused("it is neither https nor http"),
        }
        Ok(Self(url))
    }

    /// Is it on this machine?
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    // A URL writes an IPv6 address in brackets.
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How much longer it may be used (RFC 9111 §4.2.1); `None` when nothing is said.
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// The client.
pub(crate) struct Http {
    client: reqwest::Client,
    timeout: Duration,
}

impl Http {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that makes an HTTP client")]
    pub(crate) fn new(timeout: Duration, endpoint: &Endpoint) -> Result<Self, ConfigError> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(timeout))
            .timeout(timeout)
            .user_agent(concat!("portcullis-verify/", env!("CARGO_PKG_VERSION")));
        // A proxy of the environment is another machine, and this one is not there.
        let client = if endpoint.is_loopback() { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| ConfigError::Client(error.without_url().to_string()))?;
        Ok(Self { client, timeout })
    }

    /// Gets a URL; an answer longer than `limit` is an error.
    ///
    /// # Errors
    /// A text for the log, without the URL and what was sent.
    pub(crate) async fn get(
        &self,
        endpoint: &Endpoint,
        bearer: Option<&str>,
        limit: usize,
    ) -> Result<Answer, String> {
        // reqwest bounds the whole, too; a server that trickles bytes is not left to it alone.
        match timeout(self.timeout, self.exchange(endpoint, bearer, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        bearer: Option<&str>,
        limit: usize,
    ) -> Result<Answer, String> {
        let mut request = self.client.get(endpoint.0.clone());
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
        let too_long = || format!("the answer is longer than {limit} bytes");
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            if body.len() + chunk.len() > limit {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status().as_u16(), fresh_for: fresh_for(response.headers()), body })
    }
}

/// `max-age` less `Age`; nothing of it where the answer must not be kept.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age") {
                // A number that cannot be read is stale (RFC 9111 §4.2.1).
                max_age = Some(argument.trim_matches('"').parse::<u64>().unwrap_or(0));
            }
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.parse::<u64>().ok());
    max_age.map(|seconds| Duration::from_secs(seconds.saturating_sub(age.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_or_for_who_says_so() {
        for url in ["https://a.example/x", "http://localhost:1/x", "http://127.0.0.1/x", "http://[::1]:2/x"] {
            assert!(Endpoint::parse(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/x",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "https://user:secret@a.example/",
            "/jwks",
            "",
        ] {
            assert!(Endpoint::parse(url, false).is_err(), "{url}");
        }
        assert!(Endpoint::parse("http://a.example/x", true).is_ok());
        assert!(Endpoint::parse("ftp://a.example/x", true).is_err());
    }

    #[test]
    fn how_long_an_answer_is_fresh() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            fresh_for(&headers).map(|time| time.as_secs())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("cache-control", "public")]), None);
        assert_eq!(of(&[("cache-control", "public, Max-Age=60")]), Some(60));
        assert_eq!(of(&[("cache-control", "max-age=60"), ("age", "50")]), Some(10));
        assert_eq!(of(&[("cache-control", "max-age=60"), ("age", "90")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=60, no-store")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=-1")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=99999999999999999999999")]), Some(0));
    }
}
