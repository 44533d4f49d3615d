//! Functions of the operator: wherever Better Auth takes a JavaScript function, this takes a
//! [`Callback`], which is a webhook in a config file and a closure in Rust.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use crate::auth::Auth;
use crate::error::{Code, Error};
use crate::metrics::CallResult;
use crate::outbound::Outbound;

type Function = dyn Fn(&str, Vec<Json>) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = Result<Json, Error>> + Send>>;

/// A function of the operator's.
#[derive(Clone)]
pub enum Callback {
    /// `POST`ed to; the URL was written by the operator, so it may be on a private network.
    Webhook(Url),
    /// A Rust closure: `(callback name, arguments)`.
    Native(Arc<Function>),
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may carry a token of the operator's.
        f.write_str(match self {
            Self::Webhook(_) => "Callback::Webhook",
            Self::Native(_) => "Callback::Native",
        })
    }
}

impl<'de> Deserialize<'de> for Callback {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            webhook: String,
        }
        let Written { webhook } = Written::deserialize(deserializer)?;
        let url = Url::parse(&webhook).map_err(|e| serde::de::Error::custom(format!("webhook: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(serde::de::Error::custom("webhook: must be an http or https URL"));
        }
        Ok(Self::Webhook(url))
    }
}

impl Callback {
    /// Wraps a Rust closure.
    pub fn native<F, Fut>(function: F) -> Self
    where
        F: Fn(&str, Vec<Json>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Json, Error>> + Send + 'static,
    {
        Self::Native(Arc::new(move |name, args| Box::pin(function(name, args))))
    }

    /// Calls it under its dotted option name. `null` when it answers nothing.
    ///
    /// An answer `{"error": {status, message, code, body}}` is the operator's own refusal; an error
    /// without a status, a wrong answer or no answer is [`Error::Broken`].
    pub async fn call(&self, http: &Outbound, name: &str, args: Vec<Json>) -> Result<Json, Error> {
        self.call_as(http, &http.webhook_id(), name, args).await
    }

    /// As [`Callback::call`], for a call that may be made again: a webhook knows it by its `webhook-id`,
    /// which is the same each time.
    pub async fn call_as(
        &self,
        http: &Outbound,
        id: &str,
        name: &str,
        args: Vec<Json>,
    ) -> Result<Json, Error> {
        let started = Instant::now();
        let answer = self.ask(http, id, name, args).await;
        let result = match &answer {
            Ok(_) => CallResult::Ok,
            Err(Error::Refused(_)) => CallResult::Refused,
            Err(Error::Broken(_)) => CallResult::Failed,
        };
        http.metrics().callback(name, result, started.elapsed());
        answer
    }

    async fn ask(&self, http: &Outbound, id: &str, name: &str, args: Vec<Json>) -> Result<Json, Error> {
        match self {
            Self::Native(function) => function(name, args).await,
            Self::Webhook(url) => {
                let answer = http.webhook_as(id, url, &json!({ "callback": name, "args": args })).await?;
                result_of(name, answer)
            }
        }
    }

    /// Calls it where a failure must not fail the request that caused it (mail, notices): it is
    /// logged, and whoever waits for the mail can ask again.
    pub async fn tell(&self, http: &Outbound, name: &str, args: Vec<Json>) {
        if let Err(error) = self.call(http, name, args).await {
            tracing::error!(callback = name, %error, "callback failed");
        }
    }

    /// As [`Callback::tell`], beside the request, for what any request can cause in any number: when too
    /// many are under way it is dropped, and the log says so.
    pub(crate) fn notice(&self, auth: &Auth, name: &'static str, args: Vec<Json>) {
        let Some(place) = auth.outbound().beside() else {
            tracing::warn!(callback = name, "callback dropped: too many are under way");
            return;
        };
        let (callback, auth) = (self.clone(), auth.clone());
        tokio::spawn(async move {
            callback.tell(auth.outbound(), name, args).await;
            drop(place);
        });
    }
}

fn result_of(name: &str, answer: Json) -> Result<Json, Error> {
    let Json::Object(mut answer) = answer else {
        return Err(Error::broken(format!("webhook {name}: the answer is not an object")));
    };
    let Some(error) = answer.remove("error").filter(|error| !error.is_null()) else {
        return Ok(answer.remove("result").unwrap_or(Json::Null));
    };
    let text = |key: &str| error.get(key).and_then(Json::as_str).map(str::to_owned);
    let message = text("message").unwrap_or_default();
    let status = match error.get("status") {
        None | Some(Json::Null) => return Err(Error::broken(format!("webhook {name}: {message}"))),
        Some(Json::Number(number)) => {
            number.as_u64().and_then(|n| u16::try_from(n).ok()).and_then(|n| StatusCode::from_u16(n).ok())
        }
        Some(Json::String(symbol)) => symbolic_status(symbol),
        Some(_) => None,
    };
    let Some(status) = status else {
        return Err(Error::broken(format!("webhook {name}: unknown status")));
    };
    let mut code = Code::message(status, message);
    if let Some(wire) = text("code") {
        code.code = wire.into();
    }
    let mut refused = Error::from(code);
    if let Error::Refused(refusal) = &mut refused {
        refusal.body = error.get("body").filter(|body| body.is_object()).cloned();
    }
    Err(refused)
}

/// better-call's names for statuses: `FORBIDDEN`, `BAD_REQUEST`, …
fn symbolic_status(symbol: &str) -> Option<StatusCode> {
    (100..600).filter_map(|n| StatusCode::from_u16(n).ok()).find(|status| {
        status.canonical_reason().is_some_and(|reason| {
            reason.to_ascii_uppercase().replace([' ', '-'], "_").replace('\'', "") == symbol
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_with_a_status_is_the_operators_own_refusal() {
        let refused =
            result_of("x", json!({"error": {"status": "FORBIDDEN", "message": "no", "code": "NO"}}))
                .unwrap_err();
        let code = refused.code().unwrap();
        assert_eq!((code.status.as_u16(), &*code.code, &*code.message), (403, "NO", "no"));
        assert!(matches!(result_of("x", json!({"error": {"message": "boom"}})), Err(Error::Broken(_))));
        assert_eq!(result_of("x", json!({})).unwrap(), Json::Null);
    }
}
