// Its examples need all features.
#![cfg_attr(all(feature = "jwks", feature = "axum", feature = "testing"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "jwks", feature = "axum", feature = "testing")),
    doc = "Verifies the JWTs of an auth server in any tower or axum service. See the README."
)]

mod algorithm;
mod claims;
mod clock;
mod der;
mod error;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "jwks")]
mod jwks;
mod jws;
mod key;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "jwks")]
mod outbound;
mod revocation;
#[cfg(feature = "testing")]
pub mod testing;
mod verifier;

pub use algorithm::Algorithm;
pub use claims::{Claims, Expect, Verified};
pub use clock::Clock;
pub use error::{ConfigError, Error, KeyError, Kind};
#[cfg(feature = "axum")]
pub use extract::{Holds, Requirement};
pub use jws::{Header, Jws, MAX_TOKEN_LEN, peek, verify_jwt};
pub use key::{Key, KeySet, MIN_SECRET_LEN, Skipped};
#[cfg(feature = "tower")]
pub use layer::{
    Guard, Rejection, RequireRole, RequireScope, Shape, VerifyLayer, VerifyService, bearer, shape,
};
#[cfg(feature = "jwks")]
pub use revocation::HttpRevocation;
pub use revocation::{Revocation, RevocationFailed};
pub use verifier::{Verifier, VerifierBuilder};
