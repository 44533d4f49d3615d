//! The room's own errors.

portcullis_core::errors! {
    /// This device has no such session.
    INVALID_SESSION_TOKEN = 401 "Invalid session token";
}
