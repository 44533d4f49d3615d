//! The room's own errors; those it shares are in the engine's table.

portcullis_core::errors! {
    /// There is neither a mailer nor `emailAndPassword.sendResetPassword`.
    RESET_PASSWORD_DISABLED = 400 "Reset password isn't enabled";
    /// No token, or one that is unknown, used or too old.
    INVALID_TOKEN = 400 "Invalid token";
}
