//! The part that knows nothing of HTTP: tokens, keys, signatures and claims.

mod no_panic;
mod rfc;
mod wycheproof;
