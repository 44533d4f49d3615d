//! The crate as a service uses it.
