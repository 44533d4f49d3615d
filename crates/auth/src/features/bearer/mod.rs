#![doc = include_str!("README.md")]

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use portcullis_core::config::{ConfigError, Settings, read};
use portcullis_core::crypto::{decode_uri_component, sign_value, verify_signed};
use portcullis_core::error::Error;
use portcullis_core::feature::Feature;
use portcullis_core::http::{Request, SetCookie};
use portcullis_core::seams::{ReadSession, Seams, SessionSent};
use serde::Deserialize;
use serde_json::Value as Json;

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

/// `plugins.bearer`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Accept only tokens with their signature, as they stand in the cookie. Default false.
    pub require_signature: bool,
}

/// The room.
#[derive(Debug)]
pub struct Bearer {
    options: Options,
}

/// Makes the room.
///
/// # Errors
/// An option that does not exist.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Bearer { options: read("plugins.bearer", options)? }))
}

impl Feature for Bearer {
    fn id(&self) -> &'static str {
        "bearer"
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.read_session.push(self.clone());
        seams.session_sent.push(self);
    }
}

impl ReadSession for Bearer {
    fn signed_token(&self, request: &Request) -> Option<String> {
        let value = request.header(header::AUTHORIZATION)?;
        let (scheme, token) = value.split_at_checked(7)?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer ") || token.is_empty() {
            return None;
        }
        let secret = request.auth.config().secrets.current();
        if !token.contains('.') {
            return (!self.options.require_signature).then(|| sign_value(secret, token));
        }
        let decoded = if token.contains('%') { decode_uri_component(token)? } else { token.to_owned() };
        verify_signed(secret, &decoded)?;
        Some(decoded)
    }
}

impl SessionSent for Bearer {
    fn headers(&self, cookie: &SetCookie) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let token = decode_uri_component(&cookie.value)
            .ok_or_else(|| Error::broken("session cookie is not UTF-8"))?;
        Ok(vec![
            (
                HeaderName::from_static("set-auth-token"),
                HeaderValue::from_str(&token).map_err(Error::broken)?,
            ),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("set-auth-token")),
        ])
    }
}
