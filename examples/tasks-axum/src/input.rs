//! What clients send, checked field by field: everything that is wrong is told at once, and nothing
//! that is not known is accepted.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value};

use crate::error::{Error, Problem};

/// What is wrong with a value: message and kind, in the words of Pydantic.
pub type Wrong = (String, &'static str);

/// Reads a value, or says what is wrong with it.
pub type Rule<T> = fn(&Value) -> Result<T, Wrong>;

/// How many unknown fields are named in an answer: it must not become much longer than the request.
const MAX_NAMED: usize = 20;

/// The fields of a JSON object in a request's body, read one after the other.
#[derive(Debug)]
pub struct Body {
    fields: Map<String, Value>,
    /// What was asked for.
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Body {
    fn new(headers: &HeaderMap, body: &[u8]) -> Result<Self, Error> {
        if body.is_empty() {
            return Err(whole("Field required", "missing"));
        }
        // What is not said to be JSON is not read as JSON.
        if is_json(headers) {
            match serde_json::from_slice(body) {
                Ok(Value::Object(fields)) => {
                    return Ok(Self { fields, known: Vec::new(), problems: Vec::new() });
                }
                Ok(_) => {}
                Err(_) => return Err(whole("JSON decode error", "json_invalid")),
            }
        }
        Err(whole(
            "Input should be a valid dictionary or object to extract fields from",
            "model_attributes_type",
        ))
    }

    /// A field that may be left out.
    pub fn optional<T>(&mut self, name: &'static str, rule: Rule<T>) -> Option<T> {
        self.known.push(name);
        match rule(self.fields.get(name)?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.problems.push(Problem::of("body", name, wrong));
                None
            }
        }
    }

    /// A field that must be there. Where it is not, the value is an empty one, and [`Body::finish`]
    /// fails.
    pub fn required<T: Default>(&mut self, name: &'static str, rule: Rule<T>) -> T {
        if !self.fields.contains_key(name) {
            self.problems.push(Problem::of("body", name, ("Field required".to_owned(), "missing")));
        }
        self.optional(name, rule).unwrap_or_default()
    }

    /// To be called before any value is used.
    ///
    /// # Errors
    /// All that is wrong, and fields that nobody asked for: who sends a `user_id` should learn that it
    /// does nothing.
    pub fn finish(mut self) -> Result<(), Error> {
        let known = &self.known;
        let unknown = self.fields.keys().filter(|name| !known.contains(&name.as_str()));
        for name in unknown.take(MAX_NAMED) {
            let wrong = ("Extra inputs are not permitted".to_owned(), "extra_forbidden");
            self.problems.push(Problem::of("body", name, wrong));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Error::Invalid(self.problems)) }
    }
}

/// The body as a whole is wrong.
fn whole(msg: &str, kind: &'static str) -> Error {
    Error::Invalid(vec![Problem { loc: vec!["body".to_owned()], msg: msg.to_owned(), kind }])
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<(HeaderMap, Bytes), Error> {
    let headers = request.headers().clone();
    match Bytes::from_request(request, state).await {
        Ok(body) => Ok((headers, body)),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Error::TooLarge),
        // The client went away before the end of it.
        Err(rejection) => {
            tracing::debug!(status = %rejection.into_response().status(), "a body ended early");
            Err(whole("JSON decode error", "json_invalid"))
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let (headers, body) = bytes(request, state).await?;
        Self::new(&headers, &body)
    }
}

/// A body that may be left out.
#[derive(Debug)]
pub struct MaybeBody(pub Option<Body>);

impl<S: Send + Sync> FromRequest<S> for MaybeBody {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let (headers, body) = bytes(request, state).await?;
        if body.is_empty() { Ok(Self(None)) } else { Body::new(&headers, &body).map(|body| Self(Some(body))) }
    }
}

/// A text of so many characters, which are more than blanks.
///
/// # Errors
/// What is wrong.
pub fn line<const MAX: usize>(value: &Value) -> Result<String, Wrong> {
    let text = text::<MAX>(value)?;
    if text.is_empty() {
        return Err(("String should have at least 1 character".to_owned(), "string_too_short"));
    }
    // What Python, JavaScript and Unicode each call blank: the separators U+001C to U+001F are for the first
    // alone, U+FEFF for the second.
    let blank = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c) || c == '\u{feff}';
    if text.chars().all(blank) {
        return Err(("Value error, must not be blank".to_owned(), "value_error"));
    }
    Ok(text)
}

/// A text of at most so many characters.
///
/// # Errors
/// What is wrong.
pub fn text<const MAX: usize>(value: &Value) -> Result<String, Wrong> {
    let Value::String(text) = value else {
        return Err(("Input should be a valid string".to_owned(), "string_type"));
    };
    if text.chars().count() > MAX {
        return Err((format!("String should have at most {MAX} characters"), "string_too_long"));
    }
    if text.contains('\0') {
        // PostgreSQL has no such texts.
        return Err(("Value error, must not contain U+0000".to_owned(), "value_error"));
    }
    Ok(text.clone())
}

/// The same, or `null`.
///
/// # Errors
/// What is wrong.
pub fn text_or_null<const MAX: usize>(value: &Value) -> Result<Option<String>, Wrong> {
    if value.is_null() { Ok(None) } else { text::<MAX>(value).map(Some) }
}

/// `true` or `false`.
///
/// # Errors
/// What is wrong.
pub fn flag(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| ("Input should be a valid boolean".to_owned(), "bool_type"))
}

/// The query's parameters. Those that nobody asks for are ignored; of two with one name the last counts.
#[derive(Debug)]
pub struct Params {
    pairs: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl Params {
    fn find(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rfind(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub fn number(&mut self, name: &'static str, range: RangeInclusive<i64>, without: i64) -> i64 {
        let Some(text) = self.find(name) else { return without };
        let (msg, kind) = match text.parse::<i64>() {
            Ok(number) if range.contains(&number) => return number,
            Ok(number) if number < *range.start() => {
                (format!("Input should be greater than or equal to {}", range.start()), "greater_than_equal")
            }
            Ok(_) => (format!("Input should be less than or equal to {}", range.end()), "less_than_equal"),
            Err(_) => (
                "Input should be a valid integer, unable to parse string as an integer".to_owned(),
                "int_parsing",
            ),
        };
        self.problems.push(Problem::of("query", name, (msg, kind)));
        without
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.find(name)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                let msg = "Input should be a valid boolean, unable to interpret input".to_owned();
                self.problems.push(Problem::of("query", name, (msg, "bool_parsing")));
                None
            }
        }
    }

    /// To be called before any value is used.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish(self) -> Result<(), Error> {
        if self.problems.is_empty() { Ok(()) } else { Err(Error::Invalid(self.problems)) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        // Pairs of texts fit any query.
        let pairs = Query::try_from_uri(&parts.uri).map(|Query(pairs)| pairs).unwrap_or_default();
        Ok(Self { pairs, problems: Vec::new() })
    }
}
