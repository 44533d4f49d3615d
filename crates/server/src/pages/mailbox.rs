//! `/dev/mailbox`: the mails that this process has rendered, for the developer at this machine. There is
//! no such page outside development, and for anybody who is not at this machine it is not there either.
//!
//! What a mail says was partly chosen by whoever signed up, so it is shown in a frame without scripts,
//! forms or an origin.

use std::net::SocketAddr;

use askama::Template;
use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis::Auth;
use portcullis::config::Environment;
use portcullis::crypto::{Alphabet, Random};
use portcullis::mail::Seen;

/// For a mail in its frame: no script, no form, nothing of this origin. Images as mail programs load them.
const MAIL_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; base-uri 'self'; form-action 'none'; frame-ancestors 'self'";

/// One line of the list.
struct Line {
    number: u64,
    subject: String,
    to: String,
    at: String,
    open: bool,
}

/// The mail that is looked at.
struct Shown {
    number: u64,
    subject: String,
    to: String,
    at: String,
    kind: String,
    locale: String,
    text: Vec<Part>,
}

/// A piece of the text form.
struct Part {
    text: String,
    is_link: bool,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct Page<'a> {
    lines: Vec<Line>,
    shown: Option<Shown>,
    nonce: &'a str,
    style: &'static str,
}

/// The routes; none outside development.
pub fn routes(auth: &Auth) -> Router {
    if auth.config().environment != Environment::Development {
        return Router::new();
    }
    Router::new()
        .route("/dev/mailbox", get(list))
        .route("/dev/mailbox/{number}", get(show))
        .route("/dev/mailbox/{number}/html", get(html))
        .layer(from_fn(only_from_here))
        .with_state(auth.clone())
}

/// A peer on this machine that names this machine as the host: so neither another machine, nor a tunnel to
/// the world, nor a page whose name was made to point here (DNS rebinding) gets in.
async fn only_from_here(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let near = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    if near && names_this_machine(request.headers()) {
        next.run(request).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-host"];
    if forwarded.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    host == "localhost" || host.ends_with(".localhost") || matches!(host, "127.0.0.1" | "[::1]")
}

fn line(seen: &Seen, open: Option<u64>) -> Line {
    Line {
        number: seen.number,
        subject: seen.mail.subject.clone(),
        to: seen.to.clone(),
        at: time(seen),
        open: open == Some(seen.number),
    }
}

/// `14:03:59`, in UTC: the day of a developer's mail is today.
fn time(seen: &Seen) -> String {
    seen.at.to_string().get(11..19).unwrap_or_default().to_owned()
}

/// The text with its links told apart.
fn parts(text: &str) -> Vec<Part> {
    text.split_inclusive(char::is_whitespace)
        .flat_map(|word| {
            let end = word.trim_end().len();
            let (link, rest) = word.split_at(end);
            let is_link = link.starts_with("http://") || link.starts_with("https://");
            [Part { text: link.to_owned(), is_link }, Part { text: rest.to_owned(), is_link: false }]
        })
        .filter(|part| !part.text.is_empty())
        .collect()
}

async fn list(State(auth): State<Auth>) -> Response {
    page(&auth, None)
}

async fn show(State(auth): State<Auth>, Path(number): Path<u64>) -> Response {
    page(&auth, Some(number))
}

fn page(auth: &Auth, number: Option<u64>) -> Response {
    let Some(mailbox) = auth.mailer().mailbox() else { return StatusCode::NOT_FOUND.into_response() };
    let all = mailbox.list();
    let shown = match number {
        None => all.first().cloned(),
        Some(number) => match mailbox.get(number) {
            Some(seen) => Some(seen),
            None => return StatusCode::NOT_FOUND.into_response(),
        },
    };
    let open = shown.as_ref().map(|seen| seen.number);
    let shown = shown.map(|seen| Shown {
        number: seen.number,
        subject: seen.mail.subject.clone(),
        to: seen.to.clone(),
        at: time(&seen),
        kind: seen.kind.clone(),
        locale: seen.mail.locale.clone(),
        text: parts(&seen.mail.text),
    });
    let nonce = Random::system().text(24, Alphabet::Alphanumeric);
    let page = Page {
        lines: all.iter().map(|seen| line(seen, open)).collect(),
        shown,
        nonce: &nonce,
        style: include_str!("../../templates/mailbox.css"),
    };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    match page.render() {
        Ok(html) => answer(html, &policy, "DENY"),
        Err(error) => {
            tracing::error!(%error, "the page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The mail itself, for the frame.
async fn html(State(auth): State<Auth>, Path(number): Path<u64>) -> Response {
    let Some(seen) = auth.mailer().mailbox().and_then(|mailbox| mailbox.get(number)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A link in a mail opens beside the mailbox, as it would in a mail program.
    let html = seen.mail.html.replacen("<head>", "<head>\n<base target=\"_blank\">", 1);
    answer(html, MAIL_POLICY, "SAMEORIGIN")
}

fn answer(html: String, policy: &str, frames: &'static str) -> Response {
    let Ok(policy) = HeaderValue::from_str(policy) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static(frames)),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str, more: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(more) = more {
            headers.insert(more, HeaderValue::from_static("x"));
        }
        names_this_machine(&headers)
    }

    #[test]
    fn only_this_machine_by_its_own_name_is_let_in() {
        for host in ["localhost", "localhost:4000", "127.0.0.1:4000", "[::1]:4000", "app.localhost:4000"] {
            assert!(named(host, None), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "127.0.0.1.example.com:80", "", "10.0.0.1:4000"]
        {
            assert!(!named(host, None), "{host}");
        }
        assert!(!named("localhost", Some("x-forwarded-for")) && !named("localhost", Some("forwarded")));
    }

    #[test]
    fn links_are_told_from_text_and_only_web_addresses_are_links() {
        let found = parts("a\nhttps://x.example/y?z=1&a=2\n javascript:alert(1) b");
        let links: Vec<_> = found.iter().filter(|part| part.is_link).map(|part| part.text.as_str()).collect();
        assert_eq!(links, ["https://x.example/y?z=1&a=2"]);
        let all: String = found.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(all, "a\nhttps://x.example/y?z=1&a=2\n javascript:alert(1) b");
    }
}
