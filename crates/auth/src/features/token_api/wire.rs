//! Bodies and refusals as FastAPI has them: `{"detail": "…"}`, and for 422
//! `{"detail": [{"loc": ["body", "email"], "msg": "…", "type": "…"}]}`.

use http::{HeaderValue, StatusCode, header};
use portcullis_core::error::{self, Code, Error, Refusal};
use portcullis_core::http::body::is_email;
use portcullis_core::http::{Fields, FromFields};
use serde_json::{Map, Value as Json, json};

/// The longest refresh token that is looked at; ours are a hundred letters.
const LONGEST_TOKEN: usize = 512;
/// What the ways in understand beside fields of the user, and what has no meaning without a browser.
const NOT_PASSED_ON: [&str; 5] =
    ["callbackURL", "errorCallbackURL", "newUserCallbackURL", "redirectTo", "rememberMe"];

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident $fields:tt)*) => {$(
        $(#[$doc])*
        pub(super) struct $name(Map<String, Json>);

        impl FromFields for $name {
            // That something is missing is said in this API's own words.
            const OPTIONAL: bool = true;
            const FIELDS: &'static [(&'static str, &'static str)] = &$fields;
            fn from_fields(fields: &mut Fields) -> Self {
                Self(fields.rest(&[]))
            }
        }
    )*};
}

bodies! {
    /// `POST /signup`; fields of the operator's and of rooms go along.
    SignUp [("email", "email"), ("password", "string"), ("name", "string?")]
    /// `POST /signin`.
    SignIn [("email", "string"), ("password", "string")]
    /// `POST /token/refresh`.
    Refresh [("refresh_token", "string")]
    /// `POST /signout`.
    SignOut [("refresh_token", "string?")]
}

/// What is wrong with a body.
#[derive(Default)]
struct Problems(Vec<Json>);

impl Problems {
    fn add(&mut self, field: &str, kind: &str, text: &str) {
        self.0.push(problem(&["body", field], kind, text));
    }

    /// A text that has to be there.
    fn text<'b>(&mut self, body: &'b Map<String, Json>, field: &str) -> &'b str {
        match body.get(field) {
            Some(Json::String(text)) => return text,
            None => self.add(field, "missing", "Field required"),
            Some(_) => self.add(field, "string_type", "Input should be a valid string"),
        }
        ""
    }

    fn none(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(unprocessable(self.0)) }
    }
}

fn problem(loc: &[&str], kind: &str, text: &str) -> Json {
    json!({ "loc": loc, "msg": text, "type": kind })
}

fn unprocessable(problems: Vec<Json>) -> Error {
    let mut refusal = Refusal::from(Code::bare(StatusCode::UNPROCESSABLE_ENTITY));
    refusal.body = Some(json!({ "detail": problems }));
    Error::Refused(Box::new(refusal))
}

impl SignUp {
    pub fn checked(self) -> Result<Map<String, Json>, Error> {
        let Self(mut body) = self;
        if body.get("name").is_some_and(Json::is_null) {
            body.remove("name");
        }
        let mut problems = Problems::default();
        let email = problems.text(&body, "email");
        if body.get("email").is_some_and(Json::is_string) && !is_email(email) {
            problems.add("email", "value_error", "value is not a valid email address");
        }
        if problems.text(&body, "password").is_empty() && body.get("password").is_some_and(Json::is_string) {
            problems.add("password", "string_too_short", "Password too short");
        }
        if body.contains_key("name") {
            problems.text(&body, "name");
        }
        problems.none()?;
        body.retain(|name, _| !NOT_PASSED_ON.contains(&name.as_str()));
        Ok(body)
    }
}

impl SignIn {
    pub fn checked(self) -> Result<Map<String, Json>, Error> {
        let Self(mut body) = self;
        let mut problems = Problems::default();
        let email = problems.text(&body, "email");
        if body.get("email").is_some_and(Json::is_string) && !is_email(email) {
            problems.add("email", "value_error", "value is not a valid email address");
        }
        problems.text(&body, "password");
        problems.none()?;
        body.retain(|name, _| name == "email" || name == "password");
        Ok(body)
    }
}

impl Refresh {
    pub fn checked(self) -> Result<String, Error> {
        let mut problems = Problems::default();
        let token = problems.text(&self.0, "refresh_token").to_owned();
        problems.none()?;
        // No token of ours, and nothing to hash.
        Ok(if token.len() > LONGEST_TOKEN { String::new() } else { token })
    }
}

impl SignOut {
    pub fn checked(self) -> Result<Option<String>, Error> {
        match self.0.get("refresh_token") {
            None | Some(Json::Null) => Ok(None),
            Some(_) => Refresh(self.0).checked().map(Some),
        }
    }
}

/// Says a refusal of this server in this API's words.
pub(super) fn reword(refusal: &mut Refusal) {
    if refusal.body.as_ref().is_some_and(|body| body.get("detail").is_some()) {
        return;
    }
    let Code { status, code, message } = &refusal.code;
    let of =
        |loc: &[&str], kind: &str| (StatusCode::UNPROCESSABLE_ENTITY, json!([problem(loc, kind, message)]));
    let (status, detail) = match &**code {
        code if code == error::BAD_REQUEST.code => of(&["body"], "json_invalid"),
        code if code == error::VALIDATION_ERROR.code => of(&["body"], "dict_type"),
        code if code == error::PASSWORD_TOO_SHORT.code => of(&["body", "password"], "string_too_short"),
        code if code == error::PASSWORD_TOO_LONG.code => of(&["body", "password"], "string_too_long"),
        code if code.starts_with("PASSWORD_") || code == error::INVALID_PASSWORD.code => {
            of(&["body", "password"], "value_error")
        }
        code if code == error::INVALID_EMAIL.code => of(&["body", "email"], "value_error"),
        // The message begins with the field's name.
        code if code == error::MISSING_FIELD.code || code == error::FIELD_NOT_ALLOWED.code => {
            of(&["body", message.split(' ').next().unwrap_or_default()], "value_error")
        }
        // Of other rooms' fields (`username`).
        code if code.ends_with("_ALREADY_TAKEN") => (StatusCode::CONFLICT, Json::from(&**message)),
        code if code.contains("USERNAME") => of(&["body", "username"], "value_error"),
        code if code == error::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL.code => {
            (StatusCode::CONFLICT, Json::from(&**message))
        }
        _ => {
            let text =
                if message.is_empty() { status.canonical_reason().unwrap_or_default() } else { message };
            (*status, Json::from(text))
        }
    };
    refusal.body = Some(json!({ "detail": detail }));
    if status == StatusCode::UNAUTHORIZED
        && !refusal.headers.iter().any(|(name, _)| name == header::WWW_AUTHENTICATE)
    {
        refusal.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    refusal.code.status = status;
}
