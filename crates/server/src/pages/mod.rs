//! Pages for people: `/dev/mailbox` (in `mailbox`), and `/`, which says what runs here and lets one sign up and in through the API.
//!
//! Everything it needs is in it, allowed by a nonce, so that its policy can forbid all else.

pub mod mailbox;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use portcullis::crypto::{Alphabet, Random};

use crate::about::About;

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome<'a> {
    about: &'a About,
    /// In production a visitor learns nothing about the machine.
    details: bool,
    version: &'static str,
    nonce: &'a str,
    style: &'static str,
    script: &'static str,
}

/// The page at `/`.
pub fn routes(about: About) -> Router {
    Router::new().route("/", get(welcome)).with_state(std::sync::Arc::new(about))
}

async fn welcome(State(about): State<std::sync::Arc<About>>) -> Response {
    let nonce = Random::system().text(24, Alphabet::Alphanumeric);
    let page = Welcome {
        about: &about,
        details: about.environment != "production",
        version: env!("CARGO_PKG_VERSION"),
        nonce: &nonce,
        style: include_str!("../../templates/welcome.css"),
        script: include_str!("../../templates/welcome.js"),
    };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    match page.render() {
        Ok(html) => (
            [
                (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
                (CACHE_CONTROL, "no-store".to_owned()),
                (CONTENT_SECURITY_POLICY, policy),
            ],
            html,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "the page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    fn about() -> About {
        About {
            environment: "development",
            origin: "http://localhost:4000".into(),
            base_path: "/api/auth".into(),
            data: "/srv/\"><script>alert(1)</script>.db (SQLite)".into(),
            secret: "from the configuration".into(),
            features: vec!["jwt".into()],
            config: "none".into(),
            passwords: true,
            sign_up: true,
            mailbox: true,
        }
    }

    async fn page(about: About) -> (http::HeaderMap, String) {
        let request = axum::extract::Request::get("/").body(axum::body::Body::empty()).unwrap();
        let (parts, body) = routes(about).oneshot(request).await.unwrap().into_parts();
        (parts.headers, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn only_what_carries_the_nonce_of_this_answer_may_run() {
        let (headers, html) = page(about()).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches(&format!("<script nonce=\"{nonce}\">")).count(), 1);
        assert_eq!(html.matches(&format!("<style nonce=\"{nonce}\">")).count(), 1);
        assert!(!html.contains(" style=") && !html.contains(" onclick="));
        let (again, _) = page(about()).await;
        assert_ne!(headers["content-security-policy"], again["content-security-policy"]);
    }

    #[tokio::test]
    async fn in_production_a_visitor_learns_nothing_about_the_machine() {
        let (_, html) =
            page(About { environment: "production", data: "/srv/secret-place.db".into(), ..about() }).await;
        assert!(!html.contains("secret-place"));
        assert!(!html.contains("<pre"));
        assert!(html.contains("id=\"credentials\""));
    }

    #[tokio::test]
    async fn where_nobody_may_sign_up_it_is_not_offered() {
        let (_, html) = page(About { sign_up: false, ..about() }).await;
        assert!(html.contains("id=\"credentials\"") && !html.contains("id=\"switch\""));
    }

    #[tokio::test]
    async fn without_passwords_there_is_no_form_but_the_way_to_one() {
        let (_, html) = page(About { passwords: false, ..about() }).await;
        assert!(!html.contains("id=\"credentials\""));
        assert!(html.contains("emailAndPassword"));
    }
}
