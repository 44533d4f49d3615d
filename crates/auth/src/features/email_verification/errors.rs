//! The room's own errors; those it shares are in the engine's table.

portcullis_core::errors! {
    /// There is neither a mailer nor `emailVerification.sendVerificationEmail`.
    VERIFICATION_EMAIL_NOT_ENABLED = 400 "Verification email isn't enabled";
    /// Who is signed in asks for another address than their own.
    EMAIL_MISMATCH = 400 "Email mismatch";
    /// Nothing is left to prove.
    EMAIL_ALREADY_VERIFIED = 400 "Email is already verified";
    /// The link is too old.
    TOKEN_EXPIRED = 401 "Token expired";
    /// The link is not of ours, or that of a change for another user.
    INVALID_TOKEN = 401 "Invalid token";
    /// Somebody else is signed in where the link of a change was followed.
    INVALID_USER = 401 "Invalid user";
}
