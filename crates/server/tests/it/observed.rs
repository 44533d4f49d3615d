//! What an operator sees from outside: metrics, traces, events in the log; and what goes by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::client::{get, post};
use crate::postgres::pause;
use crate::process::{Server, portcullis};

const ADA: &str = r#"{"name":"Ada","email":"ada@example.com","password":"analytical engine"}"#;

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn with_metrics(directory: &Path, metrics: SocketAddr) -> Command {
    let mut command = portcullis(directory, &["--port", "0"]);
    command.env("PORTCULLIS__METRICS__LISTEN", metrics.to_string());
    // The usual number is one of cores.
    command.env("PORTCULLIS__DATABASE__MAX_CONNECTIONS", "4");
    command
}

fn sign_in(address: SocketAddr, email: &str, password: &str) -> u16 {
    let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
    post(address, "/api/auth/sign-in/email", "user-agent: probe/1\r\n", &body).status
}

/// `name{labels}` → value, after checking that the text is what Prometheus reads (format 0.0.4).
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().unwrap().to_owned()), "two helps: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "two types: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let name = series.split('{').next().unwrap();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|base| kinds.get(*base).is_some_and(|kind| kind == "histogram"));
            let family = of_histogram.unwrap_or(name);
            let kind = kinds.get(family).unwrap_or_else(|| panic!("no type before {line}"));
            assert!(helped.contains(family), "no help before {line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
            assert_eq!(kind == "histogram", of_histogram.is_some(), "{line}");
            if let Some((_, labels)) = series.split_once('{') {
                let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
                for pair in labels.split("\",") {
                    let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                    assert!(label.chars().all(|c| c.is_ascii_lowercase()), "{line}");
                    assert!(!value.trim_end_matches('"').contains('"'), "{line}");
                }
            }
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn what_prometheus_reads_counts_what_happened_and_shows_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = free_port();
    let server = Server::of(with_metrics(dir.path(), metrics));
    let address = server.address;
    assert_eq!(post(address, "/api/auth/sign-up/email", "", ADA).status, 200);
    assert_eq!(sign_in(address, "ada@example.com", "analytical engine"), 200);
    assert_eq!(sign_in(address, "ada@example.com", "difference engine"), 401);
    assert_eq!(sign_in(address, "nobody@example.com", "difference engine"), 401);
    for path in ["/api/auth/hunter2", "/hunter2", "/api/auth/reset-password/hunter2?callbackURL=/x"] {
        get(address, path, "");
    }
    assert_eq!(get(address, "/metrics", "").status, 404, "it is on the public port");

    let answer = get(metrics, "/metrics", "");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for hidden in ["hunter2", "ada@", "nobody@"] {
        assert!(!answer.body.contains(hidden), "{hidden} is in the metrics");
    }
    let samples = parsed(&answer.body);
    let of = |series: &str| *samples.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", answer.body));
    let route = r#"route="/api/auth/sign-in/email",method="POST",status="4xx""#;
    assert_eq!(of(&format!("portcullis_http_requests_total{{{route}}}")), 2.0);
    assert_eq!(of(&format!("portcullis_http_request_duration_seconds_count{{{route}}}")), 2.0);
    assert_eq!(of(&format!("portcullis_http_request_duration_seconds_bucket{{{route},le=\"+Inf\"}}")), 2.0);
    assert!(of(&format!("portcullis_http_request_duration_seconds_sum{{{route}}}")) > 0.0);
    let lost = r#"portcullis_http_requests_total{route="(other)",method="GET",status="4xx"}"#;
    assert_eq!(of(lost), 3.0, "two that are no route, and /metrics");
    let reset = r#"route="/api/auth/reset-password/{token}",method="GET",status="3xx""#;
    assert_eq!(of(&format!("portcullis_http_requests_total{{{reset}}}")), 1.0);
    for (method, result) in
        [("email", "success"), ("email", "wrong_password"), ("email", "unknown_user"), ("sign-up", "success")]
    {
        let series = format!("portcullis_sign_ins_total{{method=\"{method}\",result=\"{result}\"}}");
        assert_eq!(of(&series), 1.0, "{series}");
    }
    assert_eq!(of(r#"portcullis_events_total{event="signed_in"}"#), 2.0);
    assert_eq!(of(r#"portcullis_events_total{event="signed_up"}"#), 1.0);
    assert_eq!(of("portcullis_password_hashes_total"), 4.0);
    assert_eq!(of("portcullis_password_hash_queue"), 0.0);
    assert_eq!(of("portcullis_database_up"), 1.0);
    assert_eq!(of("portcullis_database_connections_limit"), 5.0);
    assert!(of(r#"portcullis_database_connections{state="idle"}"#) >= 1.0);
    assert!(of("process_start_time_seconds") > 1.7e9);
    assert_eq!(of(&format!("portcullis_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    let second = parsed(&get(metrics, "/metrics", "").body);
    assert_eq!(second.len(), samples.len(), "asking changes nothing");
    assert_eq!(get(metrics, "/", "").status, 404);
    assert_eq!(get(metrics, "/api/auth/ok", "").status, 404);
}

#[test]
fn a_port_for_metrics_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let said = crate::process::run_with(with_metrics(dir.path(), taken.local_addr().unwrap()), "");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("metrics.listen: port") && said.err.contains("is in use"), "{}", said.err);
}

#[test]
fn events_are_in_the_log_with_the_user_the_request_and_no_address_or_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("PORTCULLIS_LOG_FORMAT", "json");
    let server = Server::of(command);
    let answer = post(server.address, "/api/auth/sign-up/email", "user-agent: probe/1\r\n", ADA);
    let user = serde_json::from_str::<Json>(&answer.body).unwrap()["user"]["id"].as_str().unwrap().to_owned();
    let id = answer.header("x-request-id").unwrap().to_owned();
    let token = answer.cookie("better-auth.session_token");
    assert_eq!(sign_in(server.address, "nobody@example.com", "difference engine"), 401);
    assert_eq!(sign_in(server.address, "ada@example.com", "difference engine"), 401);
    let said = server.stop().err;
    let events: Vec<Json> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Json| line["target"] == "portcullis::events")
        .collect();
    let shown: Vec<(&str, &str, bool)> = events
        .iter()
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or("-");
            (text("event"), text("reason"), event["user"] == user.as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("signed_up", "-", true),
            ("signed_in", "-", true),
            ("sign_in_failed", "unknown_user", false),
            ("sign_in_failed", "wrong_password", true),
        ]
    );
    assert_eq!(events[0]["request_id"], id.as_str());
    assert_eq!(events[0]["user_agent"], "probe/1");
    assert_eq!(events[2].get("user"), None);
    let token = token.split('=').nth(1).unwrap().split('.').next().unwrap();
    for hidden in ["example.com", "engine", token] {
        assert!(!said.contains(hidden), "{hidden} is in the log");
    }
}

#[test]
fn an_id_or_a_trace_that_a_client_makes_up_does_not_get_into_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let headers = "x-request-id: hunter2\r\ntraceparent: hunter2\r\n";
    let id = get(server.address, "/api/auth/ok", headers).header("x-request-id").unwrap().to_owned();
    assert!(id.len() == 16 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
    assert!(!server.stop().err.contains("hunter2"));
}

/// A collector that keeps what it is sent.
fn collector() -> (SocketAddr, Receiver<(String, Json)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            let (head, body) = loop {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "half a request");
                bytes.extend(buffer.iter().take(read));
                let text = String::from_utf8(bytes.clone()).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let head = head.to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
                if body.len() >= length.parse().unwrap() {
                    break (head, body.to_owned());
                }
            };
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
                .unwrap();
            // The test may have seen enough.
            let _ = sender.send((head, serde_json::from_str(&body).unwrap()));
        }
    });
    (address, received)
}

#[test]
fn a_collector_gets_a_span_for_each_request_that_belongs_to_the_callers_trace() {
    let (address, received) = collector();
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b").env("OTEL_SERVICE_NAME", "door");
    let server = Server::of(command);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let header = |flags: &str| format!("traceparent: 00-{trace}-b7ad6b7169203331-{flags}\r\n");
    let id = get(server.address, "/api/auth/reset-password/hunter2?callbackURL=/hunter2", &header("01"));
    let id = id.header("x-request-id").unwrap().to_owned();
    get(server.address, "/api/auth/get-session", &header("00"));
    assert_eq!(post(server.address, "/api/auth/sign-up/email", "", ADA).status, 200);
    // What is left goes out at the end.
    assert_eq!(server.stop().code, Some(0));

    let (head, message) = received.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1") && head.contains("x-key: a b"), "{head}");
    let resource = &message["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "door");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 2, "one was not to be traced: {message:#}");
    let attribute = |span: &Json, key: &str| {
        let all = span["attributes"].as_array().unwrap();
        let one = all.iter().find(|one| one["key"] == key).unwrap()["value"].as_object().unwrap();
        one.values().next().unwrap().as_str().unwrap().to_owned()
    };
    let first = &spans[0];
    assert_eq!(first["traceId"], trace);
    assert_eq!(first["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(first["spanId"].as_str().unwrap().len(), 16);
    assert_eq!(first["name"], "GET /api/auth/reset-password/{token}");
    assert_eq!(attribute(first, "http.response.status_code"), "302");
    assert_eq!(attribute(first, "portcullis.request_id"), id);
    let second = &spans[1];
    assert_eq!(second["name"], "POST /api/auth/sign-up/email");
    assert_eq!(second.get("parentSpanId"), None);
    assert_ne!(second["traceId"], trace);
    let time = |key: &str| second[key].as_str().unwrap().parse::<u128>().unwrap();
    assert!(time("endTimeUnixNano") > time("startTimeUnixNano"));
    for hidden in ["hunter2", "ada@", "engine"] {
        assert!(!message.to_string().contains(hidden), "{hidden} is in a span");
    }
}

#[test]
fn a_collector_that_is_away_costs_no_request_anything() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", free_port()));
    let server = Server::of(command);
    for _ in 0..20 {
        assert_eq!(get(server.address, "/api/auth/ok", "").status, 200);
    }
    let said = server.stop();
    assert_eq!(said.code, Some(0));
    assert_eq!(
        said.err.matches("the OpenTelemetry collector does not take spans").count(),
        1,
        "{}",
        said.err
    );
}

#[test]
fn expired_sessions_go_by_themselves_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = free_port();
    let mut command = with_metrics(dir.path(), metrics);
    command.env("PORTCULLIS__SESSION__EXPIRES_IN", "1").env("PORTCULLIS__PURGE__INTERVAL", "1");
    let server = Server::of(command);
    assert_eq!(post(server.address, "/api/auth/sign-up/email", "", ADA).status, 200);
    // Without `rememberMe` a session lasts a day.
    let lasting = r#"{"email":"ada@example.com","password":"analytical engine","rememberMe":false}"#;
    let answer = post(server.address, "/api/auth/sign-in/email", "", lasting);
    let cookies =
        ["session_token", "dont_remember"].map(|name| answer.cookie(&format!("better-auth.{name}")));
    let begin = Instant::now();
    let purged =
        || parsed(&get(metrics, "/metrics", "").body)[r#"portcullis_purged_rows_total{table="session"}"#];
    while purged() < 1.0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing was purged");
        pause();
    }
    let session =
        get(server.address, "/api/auth/get-session", &format!("cookie: {}\r\n", cookies.join("; ")));
    assert!(session.body.contains("ada@example.com"), "{}", session.body);
    assert_eq!(purged(), 1.0);
}

#[test]
fn options_of_operation_that_make_no_sense_are_refused() {
    let refused = |variable: &str, value: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = portcullis(dir.path(), &["--port", "0"]);
        command.env(variable, value);
        let said = crate::process::run_with(command, "");
        assert_eq!(said.code, Some(1), "{variable}={value}");
        said.err
    };
    for (variable, value, says) in [
        ("PORTCULLIS__PURGE__INTERVAL", "0", "purge.interval: must be at least 1 second"),
        ("PORTCULLIS__PURGE__BATCH", "0", "purge.batch: must be between 1 and 10000"),
        ("PORTCULLIS__TELEMETRY__SAMPLE_RATIO", "1.5", "telemetry.sampleRatio: must be between 0"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "telemetry.otlpEndpoint: must be an http or https URL",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "OTEL_EXPORTER_OTLP_HEADERS: must be name=value"),
        ("PORTCULLIS__METRICS__LISTEN", "a b", "metrics.listen: `a b` is not an address"),
    ] {
        let error = refused(variable, value);
        assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
    }
}
