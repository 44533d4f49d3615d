//! The engine of Portcullis: store, identity, cookies, cryptography and the seams at which features
//! meet. It knows no feature.

pub mod clock;
pub mod crypto;
pub mod error;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
