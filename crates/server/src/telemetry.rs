//! Traces for an OpenTelemetry collector: a span a request, as OTLP over HTTP in JSON
//! (opentelemetry-proto 1, `trace.proto`; W3C Trace Context for what the caller sends).
//!
//! Written by hand: it is one message with a dozen fields, and the crates for it bring a second HTTP stack
//! and a code generator. A span holds method, route template, status, request id and duration; never a
//! path as it was sent, a query, a header, an address or a body. A collector that is slow or away costs a
//! request nothing: the queue is bounded, and what does not fit is counted and dropped.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use portcullis::Auth;
use portcullis::clock::Clock;
use portcullis::config::ConfigError;
use portcullis::crypto::{Random, hex_encode};
use portcullis::metrics::{Metrics, Span as Fate};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;

/// The defaults of OpenTelemetry's batch span processor.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);

/// A request under way that is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    trace: String,
    span: String,
    parent: Option<String>,
    began: i64,
}

impl Context {
    /// For the log.
    pub fn trace_id(&self) -> &str {
        &self.trace
    }
}

/// A request that was answered.
struct Finished {
    context: Context,
    method: Method,
    route: Option<String>,
    status: StatusCode,
    took: Duration,
    request: String,
}

/// Decides what is traced and hands it to the exporter.
#[derive(Debug, Clone)]
pub struct Tracer {
    queue: mpsc::Sender<Finished>,
    random: Random,
    clock: Clock,
    metrics: Metrics,
    /// Of 2^32.
    share: u64,
}

/// Starts the exporter, if there is a collector. It ends when the last tracer is gone.
pub fn start(auth: &Auth) -> Result<Option<(Tracer, JoinHandle<()>)>, ConfigError> {
    let settings = &auth.config().settings.telemetry;
    let Some(url) = settings.traces_url()? else { return Ok(None) };
    let (sender, queue) = mpsc::channel(QUEUE);
    let ratio = settings.sample_ratio.unwrap_or(1.0).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^32")]
    let share = (ratio * 4_294_967_296.0) as u64;
    let tracer = Tracer {
        queue: sender,
        random: auth.random().clone(),
        clock: auth.clock().clone(),
        metrics: auth.metrics().clone(),
        share,
    };
    let exporter = Exporter {
        auth: auth.clone(),
        url,
        headers: settings.headers()?,
        service: settings.service_name.clone().unwrap_or_else(|| "portcullis".into()),
    };
    Ok(Some((tracer, tokio::spawn(exporter.run(queue)))))
}

impl Tracer {
    /// A request has come. Whether it is traced is the caller's decision, or ours when there is none.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Context> {
        let caller = headers.get("traceparent").and_then(|value| parent(value.to_str().ok()?));
        let sampled = match &caller {
            Some((_, _, sampled)) => *sampled,
            None => u64::from(u32::from_be_bytes(self.random.bytes())) < self.share,
        };
        if !sampled {
            return None;
        }
        let span = hex_encode(&self.random.bytes::<8>());
        let began = self.clock.now().millis();
        Some(match caller {
            Some((trace, parent, _)) => Context { trace, span, parent: Some(parent), began },
            None => Context { trace: hex_encode(&self.random.bytes::<16>()), span, parent: None, began },
        })
    }

    /// It was answered.
    pub fn end(
        &self,
        context: Context,
        method: Method,
        route: Option<&str>,
        status: StatusCode,
        took: Duration,
        request: &str,
    ) {
        let route = route.map(str::to_owned);
        let finished = Finished { context, method, route, status, took, request: request.to_owned() };
        if self.queue.try_send(finished).is_err() {
            self.metrics.spans(Fate::Dropped, 1);
        }
    }
}

/// `00-<trace>-<parent>-<flags>` (W3C Trace Context §3.2): trace, parent, sampled.
fn parent(text: &str) -> Option<(String, String, bool)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let some = |text: &str| text.bytes().any(|b| b != b'0');
    let good = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    // Later versions may have more parts, this one has none.
    if !good || !some(trace) || !some(span) || version == "00" && parts.next().is_some() {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some((trace.to_owned(), span.to_owned(), sampled))
}

struct Exporter {
    auth: Auth,
    url: Url,
    headers: HeaderMap,
    service: String,
}

impl Exporter {
    async fn run(self, mut queue: mpsc::Receiver<Finished>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut failing = false;
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut full = std::pin::pin!(tokio::time::sleep(DELAY));
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                tokio::select! {
                    () = &mut full => break,
                    came = queue.recv_many(&mut batch, room) => if came == 0 { break },
                }
            }
            let number = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let message = self.message(batch.drain(..));
            let sent = self.auth.outbound().deliver(&self.url, &self.headers, &message).await;
            self.auth.metrics().spans(if sent.is_ok() { Fate::Exported } else { Fate::Failed }, number);
            match sent {
                Ok(()) => failing = false,
                // Said once, and not for every batch of an outage.
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "the OpenTelemetry collector does not take spans; they are dropped");
                }
                Err(_) => {}
            }
        }
    }

    fn message(&self, spans: impl Iterator<Item = Finished>) -> Json {
        json!({ "resourceSpans": [{
            "resource": { "attributes": [
                text("service.name", &self.service),
                text("service.version", env!("CARGO_PKG_VERSION")),
            ]},
            "scopeSpans": [{ "scope": { "name": "portcullis" }, "spans": spans.map(span).collect::<Vec<_>>() }],
        }]})
    }
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn span(finished: Finished) -> Json {
    /// `SPAN_KIND_SERVER`, `STATUS_CODE_ERROR`.
    const SERVER: u8 = 2;
    const ERROR: u8 = 2;
    let Finished { context, method, route, status, took, request } = finished;
    let began = i128::from(context.began) * 1_000_000;
    let ended = began.saturating_add(i128::try_from(took.as_nanos()).unwrap_or(0));
    // OpenTelemetry's names of HTTP attributes (semantic conventions 1.23); the method is one of those
    // known there, because anybody can make one up.
    let known = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"].contains(&method.as_str());
    let method = if known { method.as_str() } else { "_OTHER" };
    let mut attributes = vec![
        text("http.request.method", method),
        json!({ "key": "http.response.status_code", "value": { "intValue": status.as_u16().to_string() } }),
        text("portcullis.request_id", &request),
    ];
    attributes.extend(route.as_deref().map(|route| text("http.route", route)));
    let mut span = json!({
        "traceId": context.trace,
        "spanId": context.span,
        "name": route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
        "kind": SERVER,
        "startTimeUnixNano": began.to_string(),
        "endTimeUnixNano": ended.to_string(),
        "attributes": attributes,
    });
    if let Some(map) = span.as_object_mut() {
        if let Some(parent) = context.parent {
            map.insert("parentSpanId".into(), parent.into());
        }
        if status.is_server_error() {
            map.insert("status".into(), json!({ "code": ERROR }));
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_believed() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(parent(&good), Some((trace.into(), "b7ad6b7169203331".into(), true)));
        assert_eq!(parent(&good.replace("-01", "-00")).map(|(_, _, sampled)| sampled), Some(false));
        assert!(parent(&format!("01-{trace}-b7ad6b7169203331-01-more")).is_some());
        for wrong in [
            "",
            "00",
            &format!("{good}-more"),
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            &good.replace(trace, &"0".repeat(32)),
            &good.replace("b7ad6b7169203331", &"0".repeat(16)),
            &good.replace(trace, "secret"),
            &good.replace("-01", "-1"),
        ] {
            assert_eq!(parent(wrong), None, "{wrong}");
        }
    }
}
