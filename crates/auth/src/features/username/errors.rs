//! The room's own errors. Sign-in and `/is-username-available` answer the ones about the form of a
//! name with 422, sign-up and `/update-user` with 400.

portcullis_core::errors! {
    /// Unknown user name or wrong password: the two are not told apart.
    INVALID_USERNAME_OR_PASSWORD = 401 "Invalid username or password";
    /// Another user has it.
    USERNAME_IS_ALREADY_TAKEN = 400 "Username is already taken. Please try another.";
    /// Below `minUsernameLength`.
    USERNAME_TOO_SHORT = 400 "Username is too short";
    /// Above `maxUsernameLength`.
    USERNAME_TOO_LONG = 400 "Username is too long";
    /// The validator says no.
    INVALID_USERNAME = 400 "Username is invalid";
    /// The validator of displayed names says no.
    INVALID_DISPLAY_USERNAME = 400 "Display username is invalid";
    /// `immutableUsername`, and one is set.
    USERNAME_IS_IMMUTABLE = 400 "Username cannot be updated";
}
