//! The engine of Portcullis: store, identity, cookies, cryptography and the seams at which features
//! meet. It knows no feature.

pub mod auth;
pub mod cache;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod database_hooks;
pub mod error;
pub mod events;
pub mod feature;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[expect(clippy::expect_used, reason = "a target fails loudly")]
pub mod fuzzing;
pub mod hooks;
pub mod http;
pub mod identity;
pub mod mail;
pub mod metrics;
pub mod outbound;
pub mod purge;
pub mod seams;
pub mod secondary;
pub mod store;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::expect_used, reason = "a test may fail loudly")]
pub mod testing;
