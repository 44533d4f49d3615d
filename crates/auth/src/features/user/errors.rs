//! The room's own errors; those it shares are in the engine's table.

portcullis_core::errors! {
    /// `user.changeEmail.enabled` is false.
    CHANGE_EMAIL_DISABLED = 400 "Change email is disabled";
    /// `user.deleteUser.enabled` is false.
    NOT_FOUND = 404 "Not found";
    /// The link was followed where nobody is signed in.
    FAILED_TO_GET_USER_INFO = 404 "Failed to get user info";
    /// The link is unknown, used, too old or somebody else's.
    INVALID_TOKEN = 404 "Invalid token";
}
