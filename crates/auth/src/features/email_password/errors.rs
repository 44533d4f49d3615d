//! The room's own errors; those it shares are in the engine's table.

portcullis_core::errors! {
    /// `emailAndPassword.enabled` is false, or `disableSignUp` true.
    EMAIL_PASSWORD_SIGN_UP_DISABLED = 400 "Email and password sign up is not enabled";
    /// `emailAndPassword.enabled` is false.
    EMAIL_PASSWORD_DISABLED = 400 "Email and password is not enabled";
}
