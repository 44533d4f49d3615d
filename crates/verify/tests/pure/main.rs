//! The part that knows nothing of HTTP: tokens, keys, signatures and claims.

#[cfg(test)]
mod jose;
#[cfg(test)]
mod no_panic;
#[cfg(test)]
mod rfc;
#[cfg(test)]
mod wycheproof;
