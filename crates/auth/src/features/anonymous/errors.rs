//! The room's own errors.

portcullis_core::errors! {
    /// `generateRandomEmail` answered something that is no address.
    INVALID_EMAIL_FORMAT = 400 "Email was not generated in a valid format";
    /// The caller's session is an anonymous one already.
    ANONYMOUS_USERS_CANNOT_SIGN_IN_AGAIN_ANONYMOUSLY = 400 "Anonymous users cannot sign in again anonymously";
    /// `disableDeleteAnonymousUser`.
    DELETE_ANONYMOUS_USER_DISABLED = 400 "Deleting anonymous users is disabled";
    /// Real users are not deleted here.
    USER_IS_NOT_ANONYMOUS = 403 "User is not anonymous";
}
