//! The room's own errors. Its answers have the message as `detail`, and no code.

portcullis_core::errors! {
    /// No refresh token of ours, one that has expired, or one whose session has ended.
    INVALID_REFRESH_TOKEN = 401 "Invalid refresh token";
    /// No access token of this API, or one whose session has ended.
    INVALID_ACCESS_TOKEN = 401 "Invalid token";
    /// No `Authorization: Bearer`.
    MISSING_ACCESS_TOKEN = 401 "Missing or invalid authorization header";
    /// The password was right; the second factor is shown elsewhere, and `/token/exchange` gives the tokens.
    SECOND_FACTOR_REQUIRED = 403 "Second factor required";
}
