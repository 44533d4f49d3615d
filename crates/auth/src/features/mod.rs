//! THE LIST: one line per room, in the order in which they meet a request.

use portcullis_core::auth::Room;

pub mod account;
#[cfg(feature = "anonymous")]
pub mod anonymous;
pub mod basics;
#[cfg(feature = "bearer")]
pub mod bearer;
pub mod email_password;
pub mod email_verification;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "multi-session")]
pub mod multi_session;
pub mod password_reset;
pub mod session;
#[cfg(feature = "token-api")]
pub mod token_api;
#[cfg(feature = "two-factor")]
pub mod two_factor;
pub mod user;
#[cfg(feature = "username")]
pub mod username;

#[cfg(all(test, feature = "testing"))]
mod tests;

/// Every room of this build. Base rooms have no plugin name and are always there.
pub const LIST: &[Room] = &[
    Room { plugin: None, make: basics::make },
    Room { plugin: None, make: email_password::make },
    Room { plugin: None, make: email_verification::make },
    Room { plugin: None, make: password_reset::make },
    Room { plugin: None, make: session::make },
    Room { plugin: None, make: account::make },
    Room { plugin: None, make: user::make },
    #[cfg(feature = "bearer")]
    Room { plugin: Some("bearer"), make: bearer::make },
    #[cfg(feature = "username")]
    Room { plugin: Some("username"), make: username::make },
    #[cfg(feature = "two-factor")]
    Room { plugin: Some("twoFactor"), make: two_factor::make },
    #[cfg(feature = "multi-session")]
    Room { plugin: Some("multiSession"), make: multi_session::make },
    #[cfg(feature = "jwt")]
    Room { plugin: Some("jwt"), make: jwt::make },
    // After jwt, which makes its access tokens.
    #[cfg(feature = "token-api")]
    Room { plugin: Some("tokenApi"), make: token_api::make },
    // After the others: a refusal of its webhook takes along the cookies that they have set.
    #[cfg(feature = "anonymous")]
    Room { plugin: Some("anonymous"), make: anonymous::make },
];
