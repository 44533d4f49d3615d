//! What can go wrong, in two kinds: the client is told ([`Error::Refused`]) or the log is
//! ([`Error::Broken`]). An error never becomes an absence: what may be missing is an `Option`.
//!
//! A room declares its codes as a table with [`errors!`](crate::errors): the constant's name is the
//! wire code, the text is Better Auth's message.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::store::StoreError;

/// One refusal as the wire has it: HTTP status, code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// HTTP status.
    pub status: StatusCode,
    /// `UPPER_SNAKE` code; empty for the few errors that carry only a message, or nothing at all.
    pub code: Cow<'static, str>,
    /// Human text, in English; empty together with `code` means an empty body.
    pub message: Cow<'static, str>,
}

impl Code {
    /// A code of an error table. Statuses are constants in the code, so a wrong one is a 500.
    pub const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        let status = match StatusCode::from_u16(status) {
            Ok(status) => status,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, code: Cow::Borrowed(code), message: Cow::Borrowed(message) }
    }

    /// The same code with another status: Better Auth answers some codes with several.
    #[must_use]
    pub fn at(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same code with another message (`<field> is not allowed to be set`).
    #[must_use]
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// An error without a body, e.g. a bare 404.
    pub const fn bare(status: StatusCode) -> Self {
        Self { status, code: Cow::Borrowed(""), message: Cow::Borrowed("") }
    }

    /// An error whose body has a message and no code.
    pub fn message(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: Cow::Borrowed(""), message: message.into() }
    }
}

/// Anything that ends a request early.
#[derive(Debug)]
pub enum Error {
    /// The client is told why.
    Refused(Box<Refusal>),
    /// The client sees a bare 500; the log sees the cause, once.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// A refusal and what travels with it.
#[derive(Debug)]
pub struct Refusal {
    /// Status, code, message.
    pub code: Code,
    /// Cookies that are sent along (a dead session clears its cookies).
    pub cookies: crate::http::Cookies,
    /// Further headers, such as `Retry-After`.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// A whole JSON body instead of `{message, code}`, where a hook of the operator gave one.
    pub body: Option<serde_json::Value>,
}

impl Error {
    /// Wraps the cause of a 500.
    pub fn broken(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken(source.into())
    }

    /// Sends cookies along with a refusal.
    #[must_use]
    pub fn with_cookies(mut self, cookies: crate::http::Cookies) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.cookies.extend(cookies);
        }
        self
    }

    /// Sends a header along with a refusal.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: http::HeaderValue) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.headers.push((name, value));
        }
        self
    }

    /// The constraint's name, when it is the database's word that a value which must be unique is taken.
    pub fn unique_constraint(&self) -> Option<&str> {
        let Self::Broken(source) = self else { return None };
        match source.downcast_ref()? {
            StoreError::Unique { constraint } => Some(constraint),
            _ => None,
        }
    }

    /// Is it the database's word that a value which must be unique is taken?
    pub fn is_unique(&self) -> bool {
        self.unique_constraint().is_some()
    }

    /// Is it the database's word that a row points to one that is not there?
    pub fn is_orphan(&self) -> bool {
        let Self::Broken(source) = self else { return false };
        source.downcast_ref().is_some_and(|error| matches!(error, StoreError::Orphan))
    }

    /// The refusal's code, when it is one.
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::Broken(_) => None,
        }
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::Refused(Box::new(code.into()))
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, cookies: crate::http::Cookies::default(), headers: Vec::new(), body: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{} {}", refusal.code.status.as_u16(), refusal.code.code),
            Self::Broken(source) => write!(f, "internal error: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Broken(source) => Some(source.as_ref()),
        }
    }
}

/// Declares a room's error table: `errors! { /// doc  NAME = 404 "Message"; }`.
///
/// The constant's name is the wire code. `TABLE` lists all rows, for the manual and its check.
#[macro_export]
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal $message:literal;)*) => {
        $($(#[$doc])* pub const $name: $crate::error::Code = $crate::error::Code::new($status, stringify!($name), $message);)*
        /// Every error of this table.
        pub const TABLE: &[$crate::error::Code] = &[$($name),*];
    };
}

errors! {
    /// No session, or none that is valid.
    UNAUTHORIZED = 401 "Unauthorized";
    /// The user is gone or unknown.
    USER_NOT_FOUND = 404 "User not found";
    /// The user could not be written.
    FAILED_TO_CREATE_USER = 422 "Failed to create user";
    /// The session could not be written.
    FAILED_TO_CREATE_SESSION = 401 "Failed to create session";
    /// The session vanished while it was being read.
    FAILED_TO_GET_SESSION = 401 "Failed to get session";
    /// A password that is empty or not a text.
    INVALID_PASSWORD = 400 "Invalid password";
    /// Not an e-mail address.
    INVALID_EMAIL = 400 "Invalid email";
    /// Unknown address or wrong password: the two are not told apart.
    INVALID_EMAIL_OR_PASSWORD = 401 "Invalid email or password";
    /// The address has not been proven and the operator requires it.
    EMAIL_NOT_VERIFIED = 403 "Email not verified";
    /// Below `emailAndPassword.minPasswordLength`.
    PASSWORD_TOO_SHORT = 400 "Password too short";
    /// Above `emailAndPassword.maxPasswordLength`.
    PASSWORD_TOO_LONG = 400 "Password too long";
    /// `passwordPolicy.requireLowercase`; the message names everything that is missing.
    PASSWORD_NEEDS_LOWERCASE = 400 "Password must contain a lowercase letter";
    /// `passwordPolicy.requireUppercase`; the message names everything that is missing.
    PASSWORD_NEEDS_UPPERCASE = 400 "Password must contain an uppercase letter";
    /// `passwordPolicy.requireDigit`; the message names everything that is missing.
    PASSWORD_NEEDS_DIGIT = 400 "Password must contain a digit";
    /// `passwordPolicy.requireSymbol`.
    PASSWORD_NEEDS_SYMBOL = 400 "Password must contain a symbol";
    /// `passwordPolicy.minClasses`; the message says how many and of what.
    PASSWORD_NEEDS_MORE_KINDS = 400 "Password must contain more kinds of characters";
    /// `passwordPolicy.rejectCommon`.
    PASSWORD_TOO_COMMON = 400 "Password is one of the most common ones. Please choose another.";
    /// `passwordPolicy.rejectContext`.
    PASSWORD_CONTAINS_CONTEXT = 400 "Password must not contain parts of your name, your email address or the name of this service";
    /// The address is taken.
    USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL = 422 "User already exists. Use another email.";
    /// `/update-user` never changes the address.
    EMAIL_CAN_NOT_BE_UPDATED = 400 "Email can not be updated";
    /// The user signs in another way only.
    CREDENTIAL_ACCOUNT_NOT_FOUND = 400 "Credential account not found";
    /// Too long since sign-in for this action.
    SESSION_EXPIRED = 400 "Session expired. Re-authenticate to perform this action.";
    /// Too long since sign-in for this action.
    SESSION_NOT_FRESH = 403 "Session is not fresh";
    /// Somebody must be able to sign in afterwards.
    FAILED_TO_UNLINK_LAST_ACCOUNT = 400 "You can't unlink your last account";
    /// No such account of this user.
    ACCOUNT_NOT_FOUND = 400 "Account not found";
    /// A page from elsewhere tried to sign its visitor in.
    CROSS_SITE_NAVIGATION_LOGIN_BLOCKED = 403 "Cross-site navigation login blocked. This request appears to be a CSRF attack.";
    /// `Origin` is not among the trusted ones.
    INVALID_ORIGIN = 403 "Invalid origin";
    /// A cookie came without an `Origin`.
    MISSING_OR_NULL_ORIGIN = 403 "Missing or null Origin";
    /// `callbackURL` points outside the trusted origins.
    INVALID_CALLBACK_URL = 403 "Invalid callbackURL";
    /// `redirectTo` points outside the trusted origins.
    INVALID_REDIRECT_URL = 403 "Invalid redirectURL";
    /// `errorCallbackURL` points outside the trusted origins.
    INVALID_ERROR_CALLBACK_URL = 403 "Invalid errorCallbackURL";
    /// `newUserCallbackURL` points outside the trusted origins.
    INVALID_NEW_USER_CALLBACK_URL = 403 "Invalid newUserCallbackURL";
    /// A field that clients may not write; the message names it.
    FIELD_NOT_ALLOWED = 400 "Field not allowed to be set";
    /// A required additional field; the message names it.
    MISSING_FIELD = 400 "Field is required";
    /// The body or query has the wrong shape; the message says where.
    VALIDATION_ERROR = 400 "Validation Error";
    /// `POST /get-session` without `session.deferSessionRefresh`.
    METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED = 405 "POST method requires deferSessionRefresh to be enabled in session config";
    /// `Content-Type` is not JSON.
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    /// The body is not what its content type says.
    BAD_REQUEST = 400 "Invalid JSON in request body";
    /// The body is above `http.maxBodyBytes`.
    PAYLOAD_TOO_LARGE = 413 "Request body is too large";
    /// One request too many; said without a code by Better Auth's own routes.
    TOO_MANY_REQUESTS = 429 "Too many requests. Please try again later.";
    /// The hash queue or the database is full or away; try again.
    SERVICE_UNAVAILABLE = 503 "The service is busy. Please try again.";
}
