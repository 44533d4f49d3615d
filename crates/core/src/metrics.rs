//! Counts and durations, in the text that Prometheus reads (exposition format 0.0.4).
//!
//! Counting is an atomic addition. Labels are words of the code or of the configuration: never a path as
//! it was sent, an address or a name. Where a label comes from outside this crate (the name of a
//! callback), its number is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::events::{Event, Kind, Reason};

/// The content type of what [`Auth::prometheus`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric, for the text and for the manual.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// With its unit.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

/// All metrics of the engine.
#[rustfmt::skip]
pub const FAMILIES: &[Family] = &[
    Family { name: "portcullis_build_info", kind: "gauge", labels: &["version"], help: "Always 1; which version runs." },
    Family { name: "process_start_time_seconds", kind: "gauge", labels: &[], help: "When the process started, in seconds since 1970." },
    Family { name: "portcullis_http_requests_total", kind: "counter", labels: &["route", "method", "status"], help: "Requests answered. The route is a template, the status a class such as 2xx." },
    Family { name: "portcullis_http_request_duration_seconds", kind: "histogram", labels: &["route", "method", "status"], help: "From the request's head to the answer's." },
    Family { name: "portcullis_sign_ins_total", kind: "counter", labels: &["method", "result"], help: "Attempts to sign in: success, challenged (a second factor is asked for), or why not." },
    Family { name: "portcullis_events_total", kind: "counter", labels: &["event"], help: "What happened to users and sessions, as the log has it under portcullis::events." },
    Family { name: "portcullis_rate_limit_refusals_total", kind: "counter", labels: &[], help: "Requests answered 429." },
    Family { name: "portcullis_password_hash_queue", kind: "gauge", labels: &[], help: "Password hashes that wait for a thread." },
    Family { name: "portcullis_password_hash_queue_limit", kind: "gauge", labels: &[], help: "How many may wait." },
    Family { name: "portcullis_password_hash_busy_threads", kind: "gauge", labels: &[], help: "Threads that hash a password." },
    Family { name: "portcullis_password_hash_threads", kind: "gauge", labels: &[], help: "Threads that may." },
    Family { name: "portcullis_password_hashes_total", kind: "counter", labels: &[], help: "Passwords hashed or compared." },
    Family { name: "portcullis_password_hashes_refused_total", kind: "counter", labels: &[], help: "Answered 503 because the queue was full." },
    Family { name: "portcullis_database_connections", kind: "gauge", labels: &["state"], help: "Connections of the pool: idle or in_use." },
    Family { name: "portcullis_database_connections_limit", kind: "gauge", labels: &[], help: "How many there may be." },
    Family { name: "portcullis_database_unavailable_total", kind: "counter", labels: &[], help: "Statements and transactions that found no database, no connection or a busy one." },
    Family { name: "portcullis_database_up", kind: "gauge", labels: &[], help: "0 from the moment the database is found to be away until it answers again." },
    Family { name: "portcullis_mails_total", kind: "counter", labels: &["result"], help: "Mails queued, sent, retried and given up (failed)." },
    Family { name: "portcullis_callback_calls_total", kind: "counter", labels: &["callback", "result"], help: "Calls of the operator's functions: ok, refused (by its answer) or failed." },
    Family { name: "portcullis_callback_duration_seconds", kind: "histogram", labels: &["callback"], help: "How long they took." },
    Family { name: "portcullis_purged_rows_total", kind: "counter", labels: &["table"], help: "Expired rows that were removed." },
    Family { name: "portcullis_spans_total", kind: "counter", labels: &["result"], help: "OpenTelemetry spans exported, dropped (the queue was full) and failed (the collector did not take them)." },
];

/// Upper bounds in seconds; the smallest is a session read, the largest the patience of a client.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Label values that one metric may have; beyond them all are one.
const MOST_LABELS: usize = 512;
const OTHER: &str = "(other)";

/// Durations by bucket.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            add(bucket);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(read).sum()
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Something for each set of label values.
#[derive(Debug)]
struct Labelled<T, const N: usize>(RwLock<BTreeMap<[Box<str>; N], Arc<T>>>);

impl<T, const N: usize> Default for Labelled<T, N> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Default, const N: usize> Labelled<T, N> {
    fn with(&self, labels: [&str; N], act: impl FnOnce(&T)) {
        let key: [Box<str>; N] = labels.map(Into::into);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let value = known.unwrap_or_else(|| {
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let key = if all.len() < MOST_LABELS { key } else { [OTHER; N].map(Into::into) };
            Arc::clone(all.entry(key).or_default())
        });
        act(&value);
    }

    fn all(&self) -> Vec<([Box<str>; N], Arc<T>)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(labels, value)| (labels.clone(), Arc::clone(value))).collect()
    }
}

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    /// Written to the outbox.
    Queued,
    /// Taken by the mail server.
    Sent,
    /// Not taken; it will be tried again.
    Retried,
    /// Given up.
    Failed,
}

/// What became of the call of a function of the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// It answered.
    Ok,
    /// It answered that it refuses.
    Refused,
    /// It did not answer, or nothing that can be understood.
    Failed,
}

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The collector has it.
    Exported,
    /// The queue was full.
    Dropped,
    /// The collector did not take it.
    Failed,
}

/// Tables that are purged.
pub(crate) const PURGED: [&str; 3] = ["session", "verification", "rateLimit"];

/// The counters of one engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Timestamp,
    events: [AtomicU64; Kind::NAMES.len()],
    sign_ins: Labelled<AtomicU64, 2>,
    callbacks: Labelled<AtomicU64, 2>,
    callback_times: Labelled<Histogram, 1>,
    mails: [AtomicU64; 4],
    spans: [AtomicU64; 3],
    purged: [AtomicU64; PURGED.len()],
}

impl Metrics {
    pub(crate) fn new(started: Timestamp) -> Self {
        Self(Arc::new(Inner {
            started,
            events: Default::default(),
            sign_ins: Labelled::default(),
            callbacks: Labelled::default(),
            callback_times: Labelled::default(),
            mails: Default::default(),
            spans: Default::default(),
            purged: Default::default(),
        }))
    }

    /// Counts what happened to a mail.
    pub fn mail(&self, what: Mail) {
        let at = match what {
            Mail::Queued => 0,
            Mail::Sent => 1,
            Mail::Retried => 2,
            Mail::Failed => 3,
        };
        self.0.mails.get(at).into_iter().for_each(add);
    }

    /// Mails so far: queued, sent, retried, failed.
    pub fn mails(&self) -> [u64; 4] {
        self.0.mails.each_ref().map(read)
    }

    /// Counts a call of a function of the operator's, by its dotted option name.
    pub fn callback(&self, name: &str, result: CallResult, took: Duration) {
        let result = match result {
            CallResult::Ok => "ok",
            CallResult::Refused => "refused",
            CallResult::Failed => "failed",
        };
        self.0.callbacks.with([name, result], add);
        self.0.callback_times.with([name], |times| times.observe(took));
    }

    /// Counts what happened to spans.
    pub fn spans(&self, what: Span, number: u64) {
        let at = match what {
            Span::Exported => 0,
            Span::Dropped => 1,
            Span::Failed => 2,
        };
        if let Some(counter) = self.0.spans.get(at) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    pub(crate) fn purged(&self, table: &str, rows: u64) {
        let at = PURGED.iter().position(|name| *name == table);
        if let Some(counter) = at.and_then(|at| self.0.purged.get(at)) {
            counter.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// Counts an attempt to sign in that ended in an error of ours.
    pub(crate) fn sign_in_broke(&self, method: &str) {
        self.0.sign_ins.with([method, "error"], add);
    }

    pub(crate) fn event(&self, event: &Event) {
        self.0.events.get(event.kind.index()).into_iter().for_each(add);
        let method = event.method.unwrap_or_default();
        match event.kind {
            Kind::SignedIn => self.0.sign_ins.with([method, "success"], add),
            Kind::Challenged => self.0.sign_ins.with([method, "challenged"], add),
            Kind::SignInFailed(reason) => self.0.sign_ins.with([method, reason.name()], add),
            _ => {}
        }
    }

    /// How often this has happened, for tests and for health pages.
    pub fn count_of(&self, kind: Kind) -> u64 {
        self.0.events.get(kind.index()).map_or(0, read)
    }
}

impl Auth {
    /// Everything the engine counts, as Prometheus reads it. Requests are counted by whoever serves them
    /// ([`Requests`]), and follow with [`Requests::prometheus`].
    pub fn prometheus(&self) -> String {
        let mut page = Page::default();
        let inner = &*self.metrics().0;
        let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        page.one("portcullis_build_info", &[env!("CARGO_PKG_VERSION")], 1);
        page.head("process_start_time_seconds");
        let millis = inner.started.millis();
        let _ = writeln!(
            page.0,
            "process_start_time_seconds {}.{:03}",
            millis.div_euclid(1000),
            millis.rem_euclid(1000)
        );

        page.head("portcullis_sign_ins_total");
        for ([method, result], count) in inner.sign_ins.all() {
            page.sample("portcullis_sign_ins_total", &[&method, &result], read(&count));
        }
        page.head("portcullis_events_total");
        for (name, count) in Kind::NAMES.iter().zip(&inner.events) {
            page.sample("portcullis_events_total", &[name], read(count));
        }
        page.one("portcullis_rate_limit_refusals_total", &[], self.metrics().count_of(Kind::RateLimited));

        let (passwords, config) = (self.passwords(), self.config());
        page.one("portcullis_password_hash_queue", &[], number(passwords.queued()));
        page.one("portcullis_password_hash_queue_limit", &[], number(config.hash_queue));
        page.one("portcullis_password_hash_busy_threads", &[], number(passwords.running()));
        page.one("portcullis_password_hash_threads", &[], number(config.hash_threads));
        page.one("portcullis_password_hashes_total", &[], passwords.computed());
        page.one("portcullis_password_hashes_refused_total", &[], passwords.refused());

        let pool = self.store().pool();
        page.head("portcullis_database_connections");
        page.sample("portcullis_database_connections", &["idle"], pool.idle);
        page.sample("portcullis_database_connections", &["in_use"], pool.in_use);
        page.one("portcullis_database_connections_limit", &[], pool.limit);
        page.one("portcullis_database_unavailable_total", &[], pool.unavailable);
        page.one("portcullis_database_up", &[], u64::from(!pool.down));

        page.each("portcullis_mails_total", &["queued", "sent", "retried", "failed"], &inner.mails);
        page.head("portcullis_callback_calls_total");
        for ([name, result], count) in inner.callbacks.all() {
            page.sample("portcullis_callback_calls_total", &[&name, &result], read(&count));
        }
        page.head("portcullis_callback_duration_seconds");
        for ([name], times) in inner.callback_times.all() {
            page.histogram("portcullis_callback_duration_seconds", &[&name], &times);
        }
        page.each("portcullis_purged_rows_total", &PURGED, &inner.purged);
        page.each("portcullis_spans_total", &["exported", "dropped", "failed"], &inner.spans);
        page.0
    }
}

const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"];
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", OTHER];

/// Requests by route, method and class of status, for whoever serves them. The routes are known at start;
/// what is none of them is `(other)`.
#[derive(Debug)]
pub struct Requests {
    routes: Vec<String>,
    /// By route, method and class; most of them never come to be.
    cells: Box<[OnceLock<Box<Histogram>>]>,
}

impl Requests {
    /// Counts these routes (templates such as `/api/auth/reset-password/{token}`).
    pub fn new(mut routes: Vec<String>) -> Self {
        routes.sort();
        routes.dedup();
        let cells = (routes.len() + 1) * (METHODS.len() + 1) * CLASSES.len();
        Self { routes, cells: (0..cells).map(|_| OnceLock::new()).collect() }
    }

    /// Counts a request that was answered.
    pub fn observe(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let route = route.and_then(|route| self.routes.binary_search_by(|known| (**known).cmp(route)).ok());
        let route = route.unwrap_or(self.routes.len());
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len());
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1).min(CLASSES.len() - 1);
        let at = (route * (METHODS.len() + 1) + method) * CLASSES.len() + class;
        if let Some(cell) = self.cells.get(at) {
            cell.get_or_init(Box::default).observe(took);
        }
    }

    /// Everything counted, as Prometheus reads it.
    pub fn prometheus(&self) -> String {
        const TOTAL: &str = "portcullis_http_requests_total";
        const TIME: &str = "portcullis_http_request_duration_seconds";
        let seen: Vec<([&str; 3], &Histogram)> = self
            .cells
            .iter()
            .enumerate()
            .filter_map(|(at, cell)| {
                let (rest, class) = (at / CLASSES.len(), at % CLASSES.len());
                let (route, method) = (rest / (METHODS.len() + 1), rest % (METHODS.len() + 1));
                let labels = [
                    self.routes.get(route).map_or(OTHER, String::as_str),
                    METHODS.get(method).copied().unwrap_or(OTHER),
                    CLASSES.get(class).copied().unwrap_or(OTHER),
                ];
                Some((labels, &**cell.get()?))
            })
            .collect();
        let mut page = Page::default();
        page.head(TOTAL);
        for (labels, times) in &seen {
            page.sample(TOTAL, labels, times.count());
        }
        page.head(TIME);
        for (labels, times) in &seen {
            page.histogram(TIME, labels, times);
        }
        page.0
    }
}

/// The text being written. Writing into a `String` cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str) {
        if let Some(family) = family(name) {
            let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {}", family.help, family.kind);
        }
    }

    fn labels(&mut self, name: &str, values: &[&str], last: Option<&str>) {
        let names = family(name).map_or(&[][..], |family| family.labels);
        let mut separator = '{';
        for (label, value) in names.iter().zip(values) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{separator}{label}=\"{value}\"");
            separator = ',';
        }
        if let Some(bound) = last {
            let _ = write!(self.0, "{separator}le=\"{bound}\"");
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
    }

    fn sample(&mut self, name: &str, labels: &[&str], value: u64) {
        self.0.push_str(name);
        self.labels(name, labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, labels: &[&str], value: u64) {
        self.head(name);
        self.sample(name, labels, value);
    }

    fn each(&mut self, name: &str, labels: &[&str], counters: &[AtomicU64]) {
        self.head(name);
        for (label, counter) in labels.iter().zip(counters) {
            self.sample(name, &[label], read(counter));
        }
    }

    fn histogram(&mut self, name: &str, labels: &[&str], times: &Histogram) {
        let mut below = 0;
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bucket, bound) in times.buckets.iter().zip(bounds) {
            below += read(bucket);
            let _ = write!(self.0, "{name}_bucket");
            self.labels(name, labels, Some(&bound));
            let _ = writeln!(self.0, " {below}");
        }
        let micros = read(&times.micros);
        let _ = write!(self.0, "{name}_sum");
        self.labels(name, labels, None);
        let _ = writeln!(self.0, " {}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let _ = write!(self.0, "{name}_count");
        self.labels(name, labels, None);
        let _ = writeln!(self.0, " {below}");
    }
}

fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// The metrics and events as the manual has them.
pub fn manual() -> String {
    let mut out = "| metric | kind | labels | what it tells |\n|---|---|---|---|\n".to_owned();
    for Family { name, kind, labels, help } in FAMILIES {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(out, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    let events: Vec<String> = Kind::NAMES.iter().map(|name| format!("`{name}`")).collect();
    let reasons: Vec<String> = Reason::ALL.iter().map(|reason| format!("`{}`", reason.name())).collect();
    let _ = writeln!(
        out,
        "\nEvents: {}.\n\nReasons of `sign_in_failed`: {}.",
        events.join(", "),
        reasons.join(", ")
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_upwards_and_its_sum_is_in_seconds() {
        let requests = Requests::new(vec!["/b/{x}".into(), "/a".into()]);
        for (path, millis) in [("/a", 1), ("/a", 3), ("/a", 20_000), ("/b/{x}", 7)] {
            requests.observe(Some(path), &Method::GET, StatusCode::OK, Duration::from_millis(millis));
        }
        let text = requests.prometheus();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
        let of = r#"{route="/a",method="GET",status="2xx""#;
        assert!(line(&format!(r#"_bucket{of},le="0.001"}}"#)).ends_with(" 1"), "{text}");
        assert!(line(&format!(r#"_bucket{of},le="10"}}"#)).ends_with(" 2"), "{text}");
        assert!(line(&format!(r#"_bucket{of},le="+Inf"}}"#)).ends_with(" 3"), "{text}");
        assert!(line(&format!("_sum{of}}}")).ends_with(" 20.004000"), "{text}");
        assert!(line(&format!("requests_total{of}}}")).ends_with(" 3"), "{text}");
    }

    #[test]
    fn what_is_no_route_or_no_known_method_is_one_label() {
        let requests = Requests::new(vec!["/a".into()]);
        let method = Method::from_bytes(b"MADE-UP").unwrap();
        for path in [None, Some("/x"), Some("/a/../../etc")] {
            requests.observe(path, &method, StatusCode::from_u16(999).unwrap(), Duration::ZERO);
        }
        let text = requests.prometheus();
        assert!(
            text.contains(r#"requests_total{route="(other)",method="(other)",status="(other)"} 3"#),
            "{text}"
        );
        assert_eq!(text.matches("requests_total{").count(), 1);
    }

    #[test]
    fn label_values_are_bounded_and_escaped() {
        let metrics = Metrics::new(Timestamp::from_millis(0));
        for number in 0..2 * MOST_LABELS {
            metrics.callback(&format!("a\"\\\n{number}"), CallResult::Ok, Duration::ZERO);
        }
        assert!(metrics.0.callbacks.all().len() <= MOST_LABELS + 1);
        let mut page = Page::default();
        page.labels("portcullis_callback_duration_seconds", &["a\"\\\n1"], None);
        assert_eq!(page.0, r#"{callback="a\"\\\n1"}"#);
    }

    #[test]
    fn the_manual_has_every_metric_and_event() {
        let manual_page = include_str!("../../../docs/operations.md");
        let (_, rest) = manual_page.split_once("<!-- metrics -->\n").expect("the region's begin");
        let (region, _) = rest.split_once("<!-- /metrics -->").expect("the region's end");
        assert_eq!(region.trim(), manual().trim(), "docs/operations.md must say exactly this");
    }
}
