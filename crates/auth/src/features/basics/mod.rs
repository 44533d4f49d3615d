#![doc = include_str!("README.md")]

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portcullis_core::config::{ConfigError, Environment, Settings};
use portcullis_core::error::Error;
use portcullis_core::feature::Feature;
use portcullis_core::http::{Answer, Call, Routes};
use serde_json::{Value as Json, json};

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

/// The room.
#[derive(Debug)]
pub struct Basics;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Basics))
}

impl Feature for Basics {
    fn id(&self) -> &'static str {
        "basics"
    }

    fn routes(&self) -> Routes {
        Routes::new().get("/ok", ok).get("/error", error)
    }
}

async fn ok(_: Call) -> Result<Answer, Error> {
    Ok(Answer::value(json!({ "ok": true })))
}

/// Where a flow that went wrong sends a browser: to the operator's page, or to ours.
async fn error(call: Call) -> Result<Answer, Error> {
    let request = &call.request;
    let config = call.auth().config();
    let code = request.query_text("error").filter(|text| !text.is_empty()).unwrap_or("UNKNOWN");
    let safe = code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '\'' | '-' | '_'));
    let code = if safe { code } else { "UNKNOWN" };
    let description = request.query_text("error_description").filter(|text| !text.is_empty());

    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("error", code);
    if let Some(description) = description {
        query.append_pair("error_description", description);
    }
    let query = query.finish();
    let settings = &config.settings.on_api_error;
    if let Some(page) = &settings.error_url {
        let (page, fragment) = page.split_once('#').map_or((page.as_str(), None), |(p, f)| (p, Some(f)));
        let joint = if page.contains('?') { '&' } else { '?' };
        let fragment = fragment.map(|f| format!("#{f}")).unwrap_or_default();
        return Ok(Answer::redirect(&format!("{page}{joint}{query}{fragment}"))?.untyped());
    }
    if config.environment == Environment::Production && settings.customize_default_error_page.is_none() {
        return Ok(Answer::redirect(&format!("/?{query}"))?.untyped());
    }
    let page = page(&escaped(code), description.map(escaped).as_deref());
    // The page has a style and nothing that runs.
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    );
    Ok(Answer::html(page).with_header(HeaderName::from_static("content-security-policy"), policy))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn page(code: &str, description: Option<&str>) -> String {
    let description = description.map_or_else(
        || "We could not finish what you started. Go back and try again; if it happens again, tell the people who run this site the code above.".to_owned(),
        str::to_owned,
    );
    format!(include_str!("error.html"), code = code, description = description)
}
