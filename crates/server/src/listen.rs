//! Accepts connections and ends them in an orderly way.
//!
//! `axum::serve` has no limit on connections nor on how slowly a request may arrive, so this uses
//! hyper directly.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::patience::{IDLE, Patient, Progress};

/// How long requests that are under way may take when the server is asked to stop.
pub const GRACE: Duration = Duration::from_secs(10);
/// Of one request head.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// `127.0.0.1:4000`, `0.0.0.0`, `localhost:80`, `[::1]:4000` → host and port.
pub fn address(text: &str, port: Option<u16>) -> Result<(String, u16), String> {
    address_or(text, port, 4000)
}

/// The same with another port for an address that has none.
pub fn address_or(text: &str, port: Option<u16>, default: u16) -> Result<(String, u16), String> {
    let wrong = || {
        format!("`{text}` is not an address; write one such as 127.0.0.1:4000, 0.0.0.0:4000 or [::1]:4000")
    };
    let (host, own) = if let Ok(address) = text.parse::<SocketAddr>() {
        (address.ip().to_string(), Some(address.port()))
    } else if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>() {
        (ip.to_string(), None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port.parse().map_err(|_| wrong())?)),
            None => (text.to_owned(), None),
        }
    };
    let host = if host.is_empty() { "0.0.0.0".to_owned() } else { host };
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':')) {
        return Err(wrong());
    }
    Ok((host, port.or(own).unwrap_or(default)))
}

/// Opens the port; `by` says where another one is chosen.
pub async fn bind(host: &str, port: u16, by: &str) -> Result<TcpListener, String> {
    TcpListener::bind((host, port)).await.map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} on {host} is in use; stop what listens there or choose another one {by}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} on {host} needs more rights; choose one above 1023 {by}")
        }
        _ => format!("cannot listen on {host} port {port}: {e}; choose another address {by}"),
    })
}

/// What answers requests.
pub trait Answers: Clone + Send + Sync + 'static {
    fn answer(&self, request: http::Request<Body>) -> impl Future<Output = Response> + Send;
}

impl Answers for Router {
    async fn answer(&self, request: http::Request<Body>) -> Response {
        let answer: Result<_, Infallible> = self.clone().oneshot(request).await;
        answer.into_response()
    }
}

/// Serves until `stop` is ready, then lets requests under way finish, for [`GRACE`] at most or until
/// `hurry` is ready. `test`: under the test contract, which only a test-mode build can be.
pub async fn serve(
    listener: TcpListener,
    routes: impl Answers,
    test: bool,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) {
    // Owned by every connection, so `acquire_owned` cannot fail: nobody closes it.
    let places = std::sync::Arc::new(Semaphore::new(max_connections()));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let place = std::sync::Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, peer) = listener.accept().await?;
            Ok::<_, io::Error>((place, stream, peer))
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                let watcher = graceful.watcher();
                let routes = routes.clone();
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, peer, routes, test, watcher).await;
                });
            }
            Err(error) => {
                // Out of file descriptors, or the client is gone already: nothing to do but wait a little.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    tracing::info!("stopping: requests under way may finish");
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(GRACE) => tracing::warn!("some requests did not finish in time"),
        () = hurry => tracing::warn!("asked twice to stop: not waiting any longer"),
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: impl Answers,
    test: bool,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let progress = Progress::default();
    let stream = TokioIo::new(Patient::new(stream, progress.clone()));
    let service = service_fn(move |request: http::Request<Incoming>| {
        progress.request_begins();
        let progress = progress.clone();
        let routes = routes.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = answer(&routes, request, test).await;
            progress.request_ends();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(stream, service);
    if let Err(error) = watcher.watch(connection).await {
        // A client that speaks no HTTP, is too slow or went away; hyper has answered what can be answered.
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(not(feature = "test-mode"))]
async fn answer(routes: &impl Answers, request: http::Request<Body>, _test: bool) -> Response {
    routes.answer(request).await
}

/// `x-test-now` (milliseconds) is the time of this request, and no part of it.
#[cfg(feature = "test-mode")]
async fn answer(routes: &impl Answers, mut request: http::Request<Body>, test: bool) -> Response {
    use portcullis::clock::{REQUEST_NOW, Timestamp};
    let now = request.headers_mut().remove("x-test-now").filter(|_| test);
    // As `Number(header)` in JavaScript: with a fraction or exponent, too.
    let now =
        now.and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok()).filter(|ms| ms.is_finite());
    match now {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; Timestamp clamps further")]
        Some(ms) => REQUEST_NOW.scope(Timestamp::from_millis(ms as i64), routes.answer(request)).await,
        None => routes.answer(request).await,
    }
}

/// What the process may open, less what the database and files need; 512 where that is unknown.
fn max_connections() -> usize {
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else { return 512 };
    let open = limits.lines().find_map(|line| {
        let soft = line.strip_prefix("Max open files")?.split_whitespace().next()?;
        // `unlimited` is as much as is of use.
        Some(soft.parse::<usize>().unwrap_or(usize::MAX))
    });
    open.map_or(512, |open| open.saturating_sub(128)).clamp(64, 16_384)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_port_and_an_option_overrides_it() {
        let of = |text, port| address(text, port).unwrap();
        assert_eq!(of("127.0.0.1:4000", None), ("127.0.0.1".into(), 4000));
        assert_eq!(of("127.0.0.1:4000", Some(0)), ("127.0.0.1".into(), 0));
        assert_eq!(of("0.0.0.0", None), ("0.0.0.0".into(), 4000));
        assert_eq!(of("[::1]:5", None), ("::1".into(), 5));
        assert_eq!(of("[::1]", None), ("::1".into(), 4000));
        assert_eq!(of("::1", Some(7)), ("::1".into(), 7));
        assert_eq!(of("localhost:80", None), ("localhost".into(), 80));
        assert_eq!(of(":80", None), ("0.0.0.0".into(), 80));
        for wrong in ["localhost:http", "a b", "http://x", "1.2.3.4:99999"] {
            assert!(address(wrong, None).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_together_with_the_way_out() {
        let taken = bind("127.0.0.1", 0, "").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port, "with --port N").await.unwrap_err();
        assert_eq!(
            error,
            format!(
                "port {port} on 127.0.0.1 is in use; stop what listens there or choose another one with --port N"
            )
        );
    }
}
