//! The crate as a service uses it. One binary, so that it links once.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod hot_path;
#[cfg(test)]
mod http;
#[cfg(test)]
mod jwks;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod server;
