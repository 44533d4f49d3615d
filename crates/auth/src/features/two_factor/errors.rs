//! The room's errors.

portcullis_core::errors! {
    /// Better Auth's table has it; no route answers it.
    OTP_NOT_ENABLED = 400 "OTP not enabled";
    /// `otpOptions.sendOTP` is not set.
    OTP_NOT_CONFIGURED = 400 "OTP is not available";
    /// No code was sent, or it is too old, or it has been used.
    OTP_HAS_EXPIRED = 400 "OTP has expired";
    /// The user has no authenticator, or has not finished setting it up.
    TOTP_NOT_ENABLED = 400 "TOTP not enabled";
    /// The user has one; it must be switched off first.
    TOTP_ALREADY_ENABLED = 400 "TOTP is already enabled";
    /// `totpOptions.disable`.
    TOTP_NOT_CONFIGURED = 400 "TOTP is not available";
    /// The user has no second factor.
    TWO_FACTOR_NOT_ENABLED = 400 "Two factor isn't enabled";
    /// The user has no backup codes.
    BACKUP_CODES_NOT_ENABLED = 400 "Backup codes aren't enabled";
    /// Wrong, or used already.
    INVALID_BACKUP_CODE = 401 "Invalid backup code";
    /// Wrong, or used already.
    INVALID_CODE = 401 "Invalid code";
    /// The challenge, or the code that was sent, has been guessed at too often.
    TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE = 400 "Too many attempts. Please request a new code.";
    /// The account has been guessed at too often.
    ACCOUNT_TEMPORARILY_LOCKED = 429 "Too many failed verification attempts. Your account is temporarily locked. Please try again later.";
    /// No challenge, or it is over.
    INVALID_TWO_FACTOR_COOKIE = 401 "Invalid two factor cookie";
}
